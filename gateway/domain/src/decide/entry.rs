//! Moving a dossier on: one entry, checked against the table, the roles and the clock.
//!
//! The order of the checks is a promise: who may not know the dossier learns nothing else; who decided on an old view is
//! told so before anything else; then legality, role and grant, the guards of the row, and the clock.

use std::num::NonZeroU32;

use lgsp_proto::types::{ActorId, BusinessTime, Date, PartyId, ReturnChannel, Status};
use lgsp_proto::{Reason, Refusal, Wrong};

use super::recipients::Recipients;
use super::{Decision, TimeBounds, clock_refusal, grant, new_documents, words};
use crate::calendar::Calendar;
use crate::deadline::clock::{Clock, ClockError, PauseCause, SupplementPolicy};
use crate::dossier::{AttachedDocument, Dossier, HandOver};
use crate::event::{Event, Outcome};
use crate::registry::Registry;
use crate::roles::{concerns, goes_by_post, roles_of};
use crate::transition::{Act, Guard, Role, Target, Transition, acts_in, row};

/// What a party says about an existing dossier, as far as deciding needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// In whose name the system acts.
    pub acting_party: PartyId,
    /// Its clerk.
    pub actor: ActorId,
    /// The last event the caller has seen; `None` records whatever came in between.
    pub expected_sequence: Option<u32>,
    /// When it happened.
    pub occurred_at: BusinessTime,
    /// What happened.
    pub what: What,
}

/// What happened, with the facts that deciding needs. Texts stay in the signed body; that the compulsory ones are there
/// was checked when it was parsed ([`Act::requires`]).
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is the act of the same name")]
pub enum What {
    Accept,
    Refuse,
    RequestSupplement {
        /// The end of the term given to the citizen.
        until: BusinessTime,
    },
    ProvideSupplement {
        /// What the citizen brought.
        documents: Vec<AttachedDocument>,
    },
    ExpireSupplement,
    Withdraw,
    StartProcessing,
    RequestFee {
        /// How many fees.
        fees: NonZeroU32,
    },
    ConfirmPayment,
    Stop,
    Resolve {
        /// How many results.
        results: NonZeroU32,
        /// Their documents.
        documents: Vec<AttachedDocument>,
    },
    RecallResult,
    ReturnResult {
        /// How the result reached the citizen.
        channel: ReturnChannel,
    },
    Extend {
        /// The new date.
        new_due: BusinessTime,
    },
    Pause {
        /// Why the clock stops.
        cause: PauseCause,
    },
    Resume {
        /// Why the clock stood still.
        cause: PauseCause,
    },
    Progress,
}

impl What {
    /// The act that is recorded.
    pub const fn act(&self) -> Act {
        match self {
            Self::Accept => Act::Accept,
            Self::Refuse => Act::Refuse,
            Self::RequestSupplement { .. } => Act::RequestSupplement,
            Self::ProvideSupplement { .. } => Act::ProvideSupplement,
            Self::ExpireSupplement => Act::ExpireSupplement,
            Self::Withdraw => Act::Withdraw,
            Self::StartProcessing => Act::StartProcessing,
            Self::RequestFee { .. } => Act::RequestFee,
            Self::ConfirmPayment => Act::ConfirmPayment,
            Self::Stop => Act::Stop,
            Self::Resolve { .. } => Act::Resolve,
            Self::RecallResult => Act::RecallResult,
            Self::ReturnResult { .. } => Act::ReturnResult,
            Self::Extend { .. } => Act::Extend,
            Self::Pause { .. } => Act::Pause,
            Self::Resume { .. } => Act::Resume,
            Self::Progress => Act::Progress,
        }
    }

    fn documents(&self) -> &[AttachedDocument] {
        match self {
            Self::ProvideSupplement { documents } | Self::Resolve { documents, .. } => documents,
            _ => &[],
        }
    }

    fn cause(&self) -> Option<PauseCause> {
        match self {
            Self::Pause { cause } | Self::Resume { cause } => Some(*cause),
            _ => None,
        }
    }
}

/// Decides on one entry about `dossier`.
///
/// Limits and policies are those pinned in the dossier's clock when it was opened; roles and grants are those of
/// `registry` on the day of the act.
///
/// # Errors
/// In this order: `DOSSIER_NOT_FOUND`, `STALE_VERSION`, `ILLEGAL_TRANSITION`, `ROLE_MISSING` or `GRANT_MISSING`, the
/// reasons of the row's guards, `TIME_AHEAD` / `TIME_TOO_FAR_BACK`, then what the clock says (`EXTENSION_*`,
/// `PAUSE_NOT_ALLOWED`, `CALENDAR_NOT_COVERING`) and `FIELD_INVALID` for too many documents.
pub fn entry(
    dossier: &Dossier,
    entry: &Entry,
    registry: &Registry,
    now: BusinessTime,
    bounds: &TimeBounds,
) -> Result<Decision, Refusal> {
    let on = entry.occurred_at.date();
    let act = entry.what.act();
    if !concerns(dossier, &entry.acting_party, registry, on) {
        return Err(Reason::DossierNotFound.into());
    }
    if entry.expected_sequence.is_some_and(|expected| expected != dossier.sequence) {
        return Err(Refusal::new(Reason::StaleVersion).detail("sequence", dossier.sequence));
    }
    let row = row(act, Some(dossier.status)).ok_or_else(|| illegal(dossier.status))?;
    let role = role_for(row, dossier, &entry.acting_party, registry, on)?;
    for guard in row.guards {
        holds(*guard, dossier, entry, role)?;
    }
    if entry.occurred_at < dossier.updated_at {
        return Err(Refusal::new(Reason::TimeTooFarBack)
            .field(
                "occurred_at",
                Wrong::new("trước sự kiện gần nhất của hồ sơ", "lies before the dossier's last event"),
            )
            .detail("last_event", dossier.updated_at));
    }
    let odd_time = bounds.check(entry.occurred_at, now, "occurred_at")?;

    let status = target(row.to, dossier);
    let authority = registry.current_of(&dossier.opening.places.competent_authority, on);
    let calendar = registry.calendar_of(&authority);
    let clock = moved_clock(&dossier.clock, &entry.what, entry.occurred_at, calendar).map_err(clock_refusal)?;
    let documents = new_documents(entry.what.documents(), &dossier.documents, act.as_str())?;
    let (recipients, left_out) =
        Recipients::of_entry(dossier, status, entry.what.cause(), &entry.acting_party, registry, on).list();
    let event = Event {
        code: dossier.code.clone(),
        sequence: dossier.sequence + 1,
        act,
        by: entry.acting_party.clone(),
        role,
        actor: entry.actor.clone(),
        occurred_at: entry.occurred_at,
        status,
        hand_over: hand_over(dossier.hand_over, act, role, status),
        opening: None,
        outcome: Outcome {
            clock,
            resume_to: resume_to(dossier, act, status),
            supplement_until: supplement_until(dossier, &entry.what, status),
            resolved_at: resolved_at(dossier, act, entry.occurred_at),
            returned_at: (act == Act::ReturnResult).then_some(entry.occurred_at),
            documents,
        },
        recipients,
        registry_version: registry.version(),
    };
    Ok(Decision { event, warnings: odd_time.into_iter().chain(left_out).collect() })
}

/// The first role of the row that the party holds and has the grant for.
fn role_for(
    row: &Transition,
    dossier: &Dossier,
    party: &PartyId,
    registry: &Registry,
    on: Date,
) -> Result<Role, Refusal> {
    let held = roles_of(dossier, party, registry, on);
    let mut ungranted = None;
    for role in row.roles.iter().copied().filter(|role| held.contains(role)) {
        match grant(registry, party, role.right(), &dossier.opening.procedure, on) {
            Ok(()) => return Ok(role),
            Err(refusal) => ungranted = ungranted.or(Some(refusal)),
        }
    }
    Err(ungranted.unwrap_or_else(|| {
        let refusal = role_refusal(Refusal::new(Reason::RoleMissing), row.roles, &held);
        let successor = registry.current_of(party, on);
        if successor == *party { refusal } else { refusal.detail("successor", successor) }
    }))
}

/// Whether one guard of the row holds; else its refusal, with the facts that explain it.
fn holds(guard: Guard, dossier: &Dossier, entry: &Entry, role: Role) -> Result<(), Refusal> {
    let what = &entry.what;
    let cause = what.cause();
    let is_paper = cause == Some(PauseCause::PaperTransit);
    let is_open = dossier.clock.open_pauses().iter().any(|pause| Some(pause.cause) == cause);
    let fine = match guard {
        Guard::TermAhead => !matches!(what, What::RequestSupplement { until } if *until <= entry.occurred_at),
        Guard::SupplementPassed => dossier.supplement_until.is_none_or(|until| until < entry.occurred_at),
        Guard::FirstExtension => !dossier.clock.is_extended(),
        // The clock insists, and knows why not.
        Guard::ExtensionInTime => true,
        Guard::NamedCause => !matches!(cause, Some(PauseCause::Supplement | PauseCause::FinancialObligation)),
        Guard::PaperBeforeReception => is_paper,
        Guard::PaperUnlessAuthority => is_paper || role == Role::CompetentAuthority,
        Guard::CauseNotOpen => !is_open,
        Guard::CauseOpen => is_open,
        Guard::PostOnlyByPost => {
            let by_post = matches!(what, What::ReturnResult { channel: ReturnChannel::Post }) && goes_by_post(dossier);
            role != Role::Post || by_post
        }
    };
    if fine {
        return Ok(());
    }
    let refusal = Refusal::new(guard.reason());
    Err(match guard {
        Guard::TermAhead => refusal.field(
            "supplement_requested.until",
            Wrong::new("không sau thời điểm yêu cầu bổ sung", "does not lie after the request"),
        ),
        Guard::SupplementPassed => match dossier.supplement_until {
            Some(until) => refusal.detail("until", until),
            None => refusal,
        },
        Guard::FirstExtension | Guard::ExtensionInTime => refusal,
        Guard::NamedCause => refusal.detail("why", "supplements and fees have entries of their own"),
        Guard::PaperBeforeReception => refusal.detail("why", "before reception only paper in transit stops the clock"),
        Guard::CauseNotOpen | Guard::CauseOpen => {
            let open = dossier.clock.open_pauses().iter();
            refusal.detail("open", words(open.map(|pause| cause_word(pause.cause))))
        }
        Guard::PaperUnlessAuthority => role_refusal(refusal, &[Role::CompetentAuthority], &[role]),
        Guard::PostOnlyByPost => role_refusal(refusal, &[Role::ReturnDesk], &[role]),
    })
}

fn illegal(status: Status) -> Refusal {
    let allowed = words(acts_in(Some(status)).map(Act::as_str));
    Refusal::new(Reason::IllegalTransition).detail("status", status).detail("allowed", allowed)
}

fn role_refusal(refusal: Refusal, roles: &[Role], held: &[Role]) -> Refusal {
    let list = |roles: &[Role]| words(roles.iter().map(|role| role.as_str()));
    refusal.detail("roles", list(roles)).detail("held", list(held))
}

fn target(to: Target, dossier: &Dossier) -> Status {
    match to {
        Target::Fixed(status) => status,
        // 5 and 6 always keep where they came from; a dossier rebuilt from older books without it stays where it is.
        Target::Resume => dossier.resume_to.unwrap_or(dossier.status),
        Target::Same | Target::Opening => dossier.status,
    }
}

/// The clock insists on a reason for an extension; its text stays in the signed body, where parsing has found it.
const REASON_IN_BODY: &str = "in the signed entry";

/// What the act does to the clock. Its objections are the last word.
fn moved_clock(clock: &Clock, what: &What, at: BusinessTime, calendar: &Calendar) -> Result<Clock, ClockError> {
    let at = at.civil();
    match what {
        What::Accept => clock.arrive(at, calendar),
        What::RequestSupplement { .. } => clock.pause(PauseCause::Supplement, at),
        What::ProvideSupplement { .. } => clock.resume(PauseCause::Supplement, at, calendar),
        What::RequestFee { .. } => clock.pause(PauseCause::FinancialObligation, at),
        What::ConfirmPayment => clock.resume(PauseCause::FinancialObligation, at, calendar),
        What::Extend { new_due } => clock.extend(new_due.civil(), REASON_IN_BODY, at, calendar),
        What::Pause { cause } => clock.pause(*cause, at),
        What::Resume { cause } => clock.resume(*cause, at, calendar),
        // An end leaves the clock as it stands: what was open then stays on record as open.
        What::Refuse
        | What::ExpireSupplement
        | What::Withdraw
        | What::StartProcessing
        | What::Stop
        | What::Resolve { .. }
        | What::RecallResult
        | What::ReturnResult { .. }
        | What::Progress => Ok(clock.clone()),
    }
}

/// The hand-over after the act. Waiting ends when the authority's clerk takes the dossier up, be it only to ask for a
/// supplement; an end leaves it where it stood.
fn hand_over(before: Option<HandOver>, act: Act, role: Role, after: Status) -> Option<HandOver> {
    before.map(|before| match act {
        Act::ReturnResult => HandOver::Returned,
        _ if role == Role::CompetentAuthority && !after.is_terminal() => HandOver::Processing,
        _ => before,
    })
}

/// Where 5 and 6 come back to, see [`Target::Resume`].
fn resume_to(dossier: &Dossier, act: Act, after: Status) -> Option<Status> {
    match act {
        Act::RequestSupplement => {
            let restarts = dossier.clock.terms().supplement == SupplementPolicy::Restart;
            let at_work = dossier.status != Status::Registered;
            Some(if restarts && at_work { Status::Accepted } else { dossier.status })
        }
        Act::RequestFee => Some(dossier.status),
        _ if after == dossier.status => dossier.resume_to,
        _ => None,
    }
}

fn supplement_until(dossier: &Dossier, what: &What, after: Status) -> Option<BusinessTime> {
    match what {
        What::RequestSupplement { until } => Some(*until),
        _ if after == dossier.status => dossier.supplement_until,
        _ => None,
    }
}

fn resolved_at(dossier: &Dossier, act: Act, at: BusinessTime) -> Option<BusinessTime> {
    match act {
        Act::Resolve => Some(at),
        Act::RecallResult => None,
        _ => dossier.resolved_at,
    }
}

fn cause_word(cause: PauseCause) -> &'static str {
    match cause {
        PauseCause::Supplement => "supplement",
        PauseCause::FinancialObligation => "financial_obligation",
        PauseCause::PaperTransit => "paper_transit",
        PauseCause::Expertise => "expertise",
        PauseCause::PublicNotice => "public_notice",
        PauseCause::OtherAgency => "other_agency",
    }
}
