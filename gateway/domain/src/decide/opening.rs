//! Opening a dossier: everything that must hold before the citizen gets a receipt.
//!
//! Problems are looked for all at once and each names its field. The first one, in the order the checks are written,
//! gives the reason and the details; so a caller mends the whole request in one go and programs still see one stable
//! reason. The code comes last and from outside, because only an allocator may say which number is free.

use jiff::SignedDuration;
use lgsp_proto::types::{
    ActorId, Alias, BusinessTime, CaseCode, Date, DossierCode, IntakeChannel, PartyId, ProcedureCode, ReturnChannel,
    Status, UnitCode,
};
use lgsp_proto::{Reason, Refusal, Wrong};

use super::recipients::Recipients;
use super::{Decision, TimeBounds, Warning, clock_refusal, grant, new_documents, words};
use crate::calendar::Calendar;
use crate::deadline::clock::{Clock, ClockError, Terms};
use crate::deadline::{Limit, acceptance_due};
use crate::dossier::{AttachedDocument, HandOver, Opening, Places};
use crate::event::{Event, Outcome};
use crate::numbering::NumberSource;
use crate::registry::{NoParty, NoProcedure, NoUnit, Procedure, Registry, Right};
use crate::routing::{Route, route};
use crate::transition::{Act, Role};

/// What an intake desk says about a new dossier, as far as deciding needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submission {
    /// The intake desk, in whose name the system acts.
    pub acting_party: PartyId,
    /// Its clerk.
    pub actor: ActorId,
    /// Under which procedure.
    pub procedure: ProcedureCode,
    /// In which case of it; `None` for the ordinary one.
    pub case: Option<CaseCode>,
    /// The unit the matter belongs to.
    pub locality: UnitCode,
    /// How it came in.
    pub intake_channel: IntakeChannel,
    /// How the result goes out.
    pub return_channel: ReturnChannel,
    /// The agent point that helped to file.
    pub support_point: Option<PartyId>,
    /// Where the citizen wants the result; `None` for the intake desk.
    pub return_desk: Option<PartyId>,
    /// When the desk received it. Its day is the day of the rules, of the route and of the code.
    pub received_at: BusinessTime,
    /// The papers and data items given.
    pub components: Vec<ComponentGiven>,
    /// Their documents, as the document store knows them.
    pub documents: Vec<AttachedDocument>,
    /// Other codes it carries.
    pub aliases: Vec<Alias>,
    /// A number that the desk already gave out.
    pub code: Option<DossierCode>,
}

/// One component, as far as deciding needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ComponentGiven {
    /// Its code in the procedure; `None` for a free one.
    pub code: Option<String>,
    /// Whether a document is attached; otherwise it is paper that was not digitised.
    pub has_document: bool,
}

/// Proof that [`submission`] found nothing against a new dossier.
///
/// There is no other constructor, and the only way on is [`Admissible::with_code`].
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Admissible {
    by: PartyId,
    actor: ActorId,
    status: Status,
    opening: Opening,
    clock: Clock,
    documents: Vec<AttachedDocument>,
    recipients: Vec<PartyId>,
    registry_version: u64,
    given_code: Option<DossierCode>,
    warnings: Vec<Warning>,
}

impl Admissible {
    /// In whose name the code is issued: the competent authority, wherever the dossier was taken in (the practice since
    /// QĐ 20/2020/QĐ-TTg; TT 03/2025/TT-VPCP).
    pub fn authority(&self) -> &PartyId {
        &self.opening.places.competent_authority
    }

    /// The day whose counter gives the number: that of reception.
    pub fn day(&self) -> Date {
        self.opening.received_at.date()
    }

    /// The desk that took it in; a number it gave out itself must have been leased to it.
    pub fn desk(&self) -> &PartyId {
        &self.by
    }

    /// The facts fixed when the dossier is opened: for a desk that decides on its own while its line is down.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The deadline of the new dossier.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What is odd but no ground for refusal.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The number that the desk already gave out, if it did. It fits the authority and the day; whether it was leased to
    /// the desk and is unused, the allocator knows.
    pub fn given_code(&self) -> Option<&DossierCode> {
        self.given_code.as_ref()
    }

    /// The same, with a number that `source` chose. Unless this is said, a number that came with the submission is taken for one
    /// of a leased block, and any other for one of the gateway's counter.
    pub fn numbered_by(mut self, source: NumberSource) -> Self {
        self.opening.number_source = source;
        self
    }

    /// The decision under this code.
    ///
    /// # Errors
    /// `CODE_NOT_LEASED` when the code is of another authority or day, or not the one that the desk gave out.
    pub fn with_code(self, code: DossierCode) -> Result<Decision, Refusal> {
        if !fits(&code, self.authority(), self.day()) || self.given_code.as_ref().is_some_and(|given| *given != code) {
            return Err(code_does_not_fit(self.authority(), self.day()));
        }
        let event = Event {
            code,
            sequence: 1,
            act: Act::Submit,
            by: self.by,
            role: Role::IntakeDesk,
            actor: self.actor,
            occurred_at: self.opening.received_at,
            status: self.status,
            hand_over: self.opening.non_territorial.then_some(HandOver::Waiting),
            opening: Some(self.opening),
            outcome: Outcome {
                clock: self.clock,
                resume_to: None,
                supplement_until: None,
                resolved_at: None,
                returned_at: None,
                documents: self.documents,
            },
            recipients: self.recipients,
            registry_version: self.registry_version,
        };
        Ok(Decision { event, warnings: self.warnings })
    }
}

/// Decides on a new dossier.
///
/// Every rule is that of the day of reception: procedure, case, unit, parties and grants as they were in force then
/// (NĐ 118/2025/NĐ-CP Art. 14, 15, 17).
///
/// # Errors
/// `TIME_AHEAD` and `TIME_TOO_FAR_BACK` come alone, because the other rules hang on the day. Else everything found, under
/// the reason of the first: `PROCEDURE_UNKNOWN` / `_ABOLISHED` / `_NOT_YET_IN_FORCE`, `PARTY_UNKNOWN`, `GRANT_MISSING`,
/// `CASE_UNKNOWN`, `COMPONENT_MISSING`, `UNIT_UNKNOWN` / `UNIT_CEASED`, `FIELD_INVALID`; and when all this is in order,
/// `NO_ROUTE`, `CODE_NOT_LEASED` or `CALENDAR_NOT_COVERING`.
pub fn submission(
    given: &Submission,
    registry: &Registry,
    now: BusinessTime,
    bounds: &TimeBounds,
) -> Result<Admissible, Refusal> {
    let odd_time = bounds.check(given.received_at, now, "received_at")?;
    let Checked { procedure, documents } = check(given, registry, now, bounds)?;
    let on = given.received_at.date();
    let Route { authority, rule } = find_route(given, registry, on)?;
    if given.code.as_ref().is_some_and(|code| !fits(code, &authority, on)) {
        return Err(code_does_not_fit(&authority, on));
    }
    let direct = given.intake_channel != IntakeChannel::Online;
    let status = if direct && given.acting_party == authority { Status::Accepted } else { Status::Registered };
    let terms = procedure.terms(given.case.as_ref(), given.intake_channel);
    let (clock, acceptance_due) = deadlines(given, terms, status, registry.calendar_of(&authority))?;
    let opening = Opening {
        aliases: given.aliases.clone(),
        procedure: given.procedure.clone(),
        case: given.case.clone(),
        locality: given.locality.clone(),
        intake_channel: given.intake_channel,
        return_channel: given.return_channel,
        non_territorial: registry.is_non_territorial(&given.acting_party, &authority, on),
        places: Places {
            support_point: given.support_point.clone(),
            intake_desk: given.acting_party.clone(),
            competent_authority: authority,
            return_desk: given.return_desk.clone().unwrap_or_else(|| given.acting_party.clone()),
        },
        received_at: given.received_at,
        acceptance_due,
        route_rule: rule,
        number_source: if given.code.is_some() { NumberSource::Leased } else { NumberSource::Taken },
    };
    let (recipients, left_out) = Recipients::of_opening(&opening, &given.acting_party, registry).list();
    let no_limit = (terms.limit == Limit::Unlimited).then_some(Warning::NoPublishedLimit);
    Ok(Admissible {
        by: given.acting_party.clone(),
        actor: given.actor.clone(),
        status,
        opening,
        clock,
        documents,
        recipients,
        registry_version: registry.version(),
        given_code: given.code.clone(),
        warnings: [odd_time, no_limit, left_out].into_iter().flatten().collect(),
    })
}

/// What the checks found out on their way.
struct Checked<'a> {
    procedure: &'a Procedure,
    documents: Vec<AttachedDocument>,
}

/// Everything that can be wrong with the request itself, at once.
fn check<'a>(
    given: &Submission,
    registry: &'a Registry,
    now: BusinessTime,
    bounds: &TimeBounds,
) -> Result<Checked<'a>, Refusal> {
    let on = given.received_at.date();
    let mut problems = Problems::default();
    let procedure = problems.note(registry.procedure(&given.procedure, on).map_err(no_procedure));
    let desks = [
        (Some(&given.acting_party), Right::Submit, "acting_party"),
        (given.support_point.as_ref(), Right::Support, "support_point"),
        (given.return_desk.as_ref(), Right::HandOut, "return_desk"),
    ];
    for (party, right, field) in desks {
        let Some(party) = party else { continue };
        let known = problems.note(registry.party_in_force(party, on).map_err(|absent| no_party(absent, field)));
        // Without a procedure there is nothing to hold a grant for, and its own problem has been noted.
        if known.is_some() && procedure.is_some() {
            let missing = |refusal: Refusal| refusal.field(field, lacks(right));
            problems.note(grant(registry, party, right, &given.procedure, on).map_err(missing));
        }
    }
    if let Some(procedure) = procedure {
        let case = given.case.as_ref();
        if problems.note(known_case(procedure, case)).is_some() {
            problems.note(compulsory_components(procedure, case, given));
        }
    }
    problems.note(registry.unit(&given.locality, on).map_err(no_unit));
    let documents = problems.note(new_documents(&given.documents, &[], "components"));
    problems.note(foreign_aliases(given, registry, now, bounds));
    problems.into_result()?;
    let (procedure, documents) = procedure.zip(documents).expect("a check that gave nothing has left a problem");
    Ok(Checked { procedure, documents })
}

/// An alias is what somebody else calls the dossier. A code in the name of a party of ours, of a day on which numbers may still be
/// given, may be on another citizen's paper at this moment, or be this very dossier's own.
fn foreign_aliases(
    given: &Submission,
    registry: &Registry,
    now: BusinessTime,
    bounds: &TimeBounds,
) -> Result<(), Refusal> {
    let back = SignedDuration::try_from(bounds.back).unwrap_or(SignedDuration::MAX);
    let first = now.checked_add(-back).map_or(Date::MIN, BusinessTime::date);
    let is_ours = |alias: &Alias| {
        alias.as_str().parse().is_ok_and(|code: DossierCode| {
            code == code.canonical() && code.date() >= first && registry.party(code.party()).is_some()
        })
    };
    let ours = given.aliases.iter().enumerate().filter(|(_, alias)| is_ours(alias)).map(|(at, _)| at);
    let refused = ours.fold(None, |refusal: Option<Refusal>, at| {
        let refusal = refusal.unwrap_or_else(|| Refusal::new(Reason::FieldInvalid));
        Some(refusal.field(
            format!("aliases[{at}]"),
            Wrong::new("là mã mà trục có thể cấp cho hồ sơ khác", "is a code that the bus may give to another dossier"),
        ))
    });
    refused.map_or(Ok(()), Err)
}

fn known_case(procedure: &Procedure, case: Option<&CaseCode>) -> Result<(), Refusal> {
    match case {
        Some(case) if procedure.case(case).is_none() => {
            let cases = words(procedure.cases.iter().map(|known| known.code.as_str()));
            let refusal = Refusal::new(Reason::CaseUnknown)
                .field("case_code", Wrong::new("không phải trường hợp của thủ tục", "is no case of the procedure"));
            Err(refusal.detail("cases", cases))
        }
        _ => Ok(()),
    }
}

/// A compulsory component may come on paper to a desk, but not online, where there is no paper.
fn compulsory_components(procedure: &Procedure, case: Option<&CaseCode>, given: &Submission) -> Result<(), Refusal> {
    let paper_will_do = given.intake_channel != IntakeChannel::Online;
    let there = |code: &str| {
        let is_it = |one: &&ComponentGiven| one.code.as_deref() == Some(code);
        given.components.iter().filter(is_it).any(|one| one.has_document || paper_will_do)
    };
    let compulsory = procedure.compulsory_components(case).filter_map(|component| component.code.as_deref());
    let missing = words(compulsory.filter(|code| !there(code)));
    if missing.is_empty() {
        return Ok(());
    }
    let problem =
        Wrong::new(format!("bắt buộc nhưng còn thiếu: {missing}"), format!("compulsory and missing: {missing}"));
    Err(Refusal::new(Reason::ComponentMissing).field("components", problem).detail("components", missing))
}

/// The route, asked when everything it depends on is known to be in order.
fn find_route(given: &Submission, registry: &Registry, on: Date) -> Result<Route, Refusal> {
    let explanation = route(registry, &given.procedure, given.case.as_ref(), &given.locality, on);
    explanation.outcome.map_err(|none| {
        Refusal::new(none.reason)
            .field("locality", Wrong::new(none.vi.clone(), none.en.clone()))
            .detail("why_en", none.en)
            .detail("why_vi", none.vi)
    })
}

/// The clock of the new dossier, by the calendar of the authority that has to keep to it, and until when an online filing
/// must be answered.
///
/// The desk's reception starts the ordinary clock, whoever the authority is. Where the procedure counts from the
/// authority's reception, a desk that is itself the authority starts it at once; otherwise acceptance does.
fn deadlines(
    given: &Submission,
    terms: Terms,
    status: Status,
    calendar: &Calendar,
) -> Result<(Clock, Option<BusinessTime>), Refusal> {
    let received = given.received_at.civil();
    let mut clock = Clock::new(terms).receive(received, calendar).map_err(clock_refusal)?;
    if status == Status::Accepted {
        clock = clock.arrive(received, calendar).map_err(clock_refusal)?;
    }
    if given.intake_channel != IntakeChannel::Online {
        return Ok((clock, None));
    }
    let answer_due = acceptance_due(received, calendar).map_err(ClockError::from).map_err(clock_refusal)?;
    Ok((clock, BusinessTime::try_from(answer_due).ok()))
}

/// Other spellings of a code (the identifier of the first generation, a needless zero) are none here: each would give the
/// same number to one more dossier.
fn fits(code: &DossierCode, authority: &PartyId, day: Date) -> bool {
    code.party() == authority && code.date() == day && *code == code.canonical()
}

fn code_does_not_fit(authority: &PartyId, day: Date) -> Refusal {
    Refusal::new(Reason::CodeNotLeased)
        .field(
            "dossier_code",
            Wrong::new(
                "không thuộc cơ quan có thẩm quyền và ngày tiếp nhận",
                "is not of the competent authority and the day of reception",
            ),
        )
        .detail("authority", authority)
        .detail("day", day)
}

fn lacks(right: Right) -> Wrong {
    Wrong::new(
        format!("chưa có quyền \"{right}\" đối với thủ tục"),
        format!("lacks the grant \"{right}\" for the procedure"),
    )
}

fn no_procedure(absent: NoProcedure) -> Refusal {
    let problem = Wrong::new(absent.vietnamese(), absent.to_string());
    let (reason, successor) = match absent {
        NoProcedure::Unknown => (Reason::ProcedureUnknown, None),
        NoProcedure::NotYet { .. } => (Reason::ProcedureNotYetInForce, None),
        NoProcedure::Abolished { successor } => (Reason::ProcedureAbolished, successor),
    };
    replaced(Refusal::new(reason), "procedure_code", problem, successor)
}

fn no_unit(absent: NoUnit) -> Refusal {
    let problem = Wrong::new(absent.vietnamese(), absent.to_string());
    let (reason, successor) = match absent {
        NoUnit::Unknown | NoUnit::NotYet { .. } => (Reason::UnitUnknown, None),
        NoUnit::Ceased { successor } => (Reason::UnitCeased, successor),
    };
    replaced(Refusal::new(reason), "locality", problem, successor)
}

fn no_party(absent: NoParty, field: &str) -> Refusal {
    let problem = Wrong::new(absent.vietnamese(), absent.to_string());
    let successor = match absent {
        NoParty::Unknown | NoParty::NotYet { .. } => None,
        NoParty::Gone { successor } => successor,
    };
    replaced(Refusal::new(Reason::PartyUnknown), field, problem, successor)
}

/// Names the field, and what to use instead: in its text too, because only the first problem keeps its details.
fn replaced(refusal: Refusal, field: &str, problem: Wrong, successor: Option<impl ToString>) -> Refusal {
    match successor.map(|successor| successor.to_string()) {
        None => refusal.field(field, problem),
        Some(successor) => {
            let (vi, en) = (problem.vi(), problem.en());
            let instead = Wrong::new(format!("{vi}; dùng {successor}"), format!("{en}; use {successor}"));
            refusal.field(field, instead).detail("successor", successor)
        }
    }
}

/// Gathers refusals into one: the reason and details of the first, the fields of all.
#[derive(Default)]
struct Problems(Option<Refusal>);

impl Problems {
    /// Keeps the value, or notes what is wrong.
    fn note<T>(&mut self, outcome: Result<T, Refusal>) -> Option<T> {
        match (outcome, self.0.take()) {
            (Ok(value), noted) => {
                self.0 = noted;
                Some(value)
            }
            (Err(first), None) => {
                self.0 = Some(first);
                None
            }
            (Err(next), Some(noted)) => {
                let fields = next.violations().iter();
                self.0 = Some(fields.fold(noted, |all, one| all.field(one.field.as_str(), one.problem.clone())));
                None
            }
        }
    }

    fn into_result(self) -> Result<(), Refusal> {
        self.0.map_or(Ok(()), Err)
    }
}
