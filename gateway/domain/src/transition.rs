//! The one table: which act may happen in which status, who may record it, what it needs and where it leads.
//!
//! Who may do what is decided by *role at that stage*, never by name of party. [`crate::decide`] follows this table, the
//! API asks it which fields are compulsory, and the generated tests use it as their oracle; nothing else knows a
//! transition. It knows no dossier, no registry and no time.
//!
//! Numbers are those of the national status list (1 filed, 2 accepted, 3 refused, 4 processing, 5 supplement, 6 fee,
//! 7 withdrawn, 8 stopped, 9 resolved, 10 returned); 3, 7, 8 and 10 are ends: no row starts there.

use lgsp_proto::Reason;
use lgsp_proto::types::Status;

use self::Target::{Fixed, Opening, Resume, Same};

/// In which capacity a party acts on a dossier at its present stage.
///
/// A party may hold several: a commune that takes in a dossier it decides itself is desk and authority. Numbers are those
/// of `lgsp.v1.Role`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// The citizen, who speaks through the intake desk.
    Citizen = 1,
    /// Where the dossier was officially taken in (nơi tiếp nhận).
    IntakeDesk = 2,
    /// Who decides it (cơ quan có thẩm quyền).
    CompetentAuthority = 3,
    /// The payment platform.
    Payment = 4,
    /// The public postal service.
    Post = 5,
    /// Where the citizen gets the result (nơi trả kết quả).
    ReturnDesk = 6,
}

impl Role {
    /// Every role, in the order of the numbers.
    pub const ALL: &'static [Self] =
        &[Role::Citizen, Role::IntakeDesk, Role::CompetentAuthority, Role::Payment, Role::Post, Role::ReturnDesk];

    /// The number in `lgsp.v1.Role`.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The role of a number; `None` for one this version does not know.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.number() == number)
    }

    /// A stable word for details and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Citizen => "citizen",
            Role::IntakeDesk => "intake_desk",
            Role::CompetentAuthority => "competent_authority",
            Role::Payment => "payment",
            Role::Post => "post",
            Role::ReturnDesk => "return_desk",
        }
    }
}

/// What can be recorded about a dossier. Numbers are those of `lgsp.v1.EventKind`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Act {
    /// A desk takes the dossier in.
    Submit = 1,
    /// The authority's clerk has received it.
    Accept = 2,
    /// Refused at reception (form 03).
    Refuse = 3,
    /// The citizen must add something (form 02).
    RequestSupplement = 4,
    /// The citizen has added it.
    ProvideSupplement = 5,
    /// The term for adding it ran out.
    ExpireSupplement = 6,
    /// The citizen takes the dossier back.
    Withdraw = 7,
    /// The authority begins to work on it.
    StartProcessing = 8,
    /// A financial obligation is to be met.
    RequestFee = 9,
    /// It has been met.
    ConfirmPayment = 10,
    /// Stopped without a result (form 05).
    Stop = 11,
    /// Decided; the result is there.
    Resolve = 12,
    /// The result is taken back before it was handed out.
    RecallResult = 13,
    /// The result is handed to the citizen.
    ReturnResult = 14,
    /// Apology and a new date (form 04).
    Extend = 15,
    /// The clock stops for a named cause.
    Pause = 16,
    /// The named cause has ended.
    Resume = 17,
    /// A step inside the authority (form 06).
    Progress = 18,
}

impl Act {
    /// Every act, in the order of the numbers.
    pub const ALL: &'static [Self] = &[
        Act::Submit,
        Act::Accept,
        Act::Refuse,
        Act::RequestSupplement,
        Act::ProvideSupplement,
        Act::ExpireSupplement,
        Act::Withdraw,
        Act::StartProcessing,
        Act::RequestFee,
        Act::ConfirmPayment,
        Act::Stop,
        Act::Resolve,
        Act::RecallResult,
        Act::ReturnResult,
        Act::Extend,
        Act::Pause,
        Act::Resume,
        Act::Progress,
    ];

    /// The number in `lgsp.v1.EventKind`.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The act of a number; `None` for one this version does not know.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|act| act.number() == number)
    }

    /// A stable word: the field of `lgsp.v1.Entry` that records the act, so that a refusal's details name what to send.
    pub const fn as_str(self) -> &'static str {
        match self {
            Act::Submit => "submitted",
            Act::Accept => "accepted",
            Act::Refuse => "refused",
            Act::RequestSupplement => "supplement_requested",
            Act::ProvideSupplement => "supplement_provided",
            Act::ExpireSupplement => "supplement_expired",
            Act::Withdraw => "withdrawn",
            Act::StartProcessing => "processing_started",
            Act::RequestFee => "fee_requested",
            Act::ConfirmPayment => "fee_paid",
            Act::Stop => "stopped",
            Act::Resolve => "resolved",
            Act::RecallResult => "result_recalled",
            Act::ReturnResult => "returned",
            Act::Extend => "extended",
            Act::Pause => "paused",
            Act::Resume => "resumed",
            Act::Progress => "progressed",
        }
    }

    /// The fields without which the act says nothing; the same in every status.
    pub fn requires(self) -> &'static [Requirement] {
        TABLE.iter().find(|row| row.act == self).map_or(&[], |row| row.requires)
    }
}

/// Where a transition leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// To this status.
    Fixed(Status),
    /// To 2 when filed directly or by post at a desk that is itself competent, otherwise to 1.
    Opening,
    /// From 5 and 6, to the status they were entered from. What was asked in 1 goes back to 1: an answered question is no
    /// reception. A supplement asked in 2 or 4 goes back to 2 where the procedure restarts its clock ("theo nghị định").
    Resume,
    /// Nowhere: the status stays.
    Same,
}

/// A field of the entry that must be there. The API refuses its absence with `FIELD_INVALID` before anything is decided.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Requirement {
    /// Why, in words for the citizen.
    Reason,
    /// Until when the citizen may supplement.
    SupplementUntil,
    /// At least one fee.
    Fees,
    /// The payment's reference.
    PaymentReference,
    /// At least one result.
    Results,
    /// How the result reached the citizen.
    ReturnChannel,
    /// The new date.
    NewDue,
    /// Why the clock stops or stopped.
    PauseCause,
    /// The step taken.
    Step,
}

impl Requirement {
    /// The field's name inside the act's message of `lgsp.v1.Entry`.
    pub const fn field(self) -> &'static str {
        match self {
            Requirement::Reason => "reason",
            Requirement::SupplementUntil => "until",
            Requirement::Fees => "fees",
            Requirement::PaymentReference => "payment_reference",
            Requirement::Results => "results",
            Requirement::ReturnChannel => "channel",
            Requirement::NewDue => "new_due_at",
            Requirement::PauseCause => "cause",
            Requirement::Step => "step",
        }
    }

    /// The field's path in `lgsp.v1.Entry` when `act` is recorded, e.g. `refused.reason`.
    pub fn path(self, act: Act) -> String {
        format!("{}.{}", act.as_str(), self.field())
    }
}

/// What must hold besides status and role.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Guard {
    /// The term given to the citizen lies after the request.
    TermAhead,
    /// The term given to the citizen has passed.
    SupplementPassed,
    /// The date has not been extended before.
    FirstExtension,
    /// The clock runs, its date has not passed, and the new one is a later working hour.
    ExtensionInTime,
    /// The cause is none that has entries of its own (supplement, fee).
    NamedCause,
    /// Before reception only paper on its way stops the clock.
    PaperBeforeReception,
    /// Desk and post speak only of the paper they send and carry.
    PaperUnlessAuthority,
    /// The clock does not stand still for this cause yet.
    CauseNotOpen,
    /// The clock stands still for this cause.
    CauseOpen,
    /// The post hands out only what goes by post.
    PostOnlyByPost,
}

impl Guard {
    /// The reason given when it does not hold.
    pub const fn reason(self) -> Reason {
        match self {
            Guard::TermAhead => Reason::FieldInvalid,
            Guard::SupplementPassed => Reason::SupplementStillOpen,
            Guard::FirstExtension => Reason::ExtensionUsed,
            Guard::ExtensionInTime => Reason::ExtensionNotAllowed,
            Guard::NamedCause | Guard::PaperBeforeReception | Guard::CauseNotOpen | Guard::CauseOpen => {
                Reason::PauseNotAllowed
            }
            Guard::PaperUnlessAuthority | Guard::PostOnlyByPost => Reason::RoleMissing,
        }
    }
}

/// One row: this act in this status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transition {
    /// What is recorded.
    pub act: Act,
    /// In which status; `None` when there is no dossier yet.
    pub from: Option<Status>,
    /// Where it leads.
    pub to: Target,
    /// Who may record it. A party that holds several of these acts in the first it holds.
    pub roles: &'static [Role],
    /// What the entry must say.
    pub requires: &'static [Requirement],
    /// What else must hold.
    pub guards: &'static [Guard],
    /// Where the rule comes from.
    pub source: &'static str,
}

/// An act with everything that is the same in each status it may happen in; [`Rule::in_status`] makes a row of it.
struct Rule {
    act: Act,
    roles: &'static [Role],
    requires: &'static [Requirement],
    guards: &'static [Guard],
    source: &'static str,
}

impl Rule {
    const fn in_status(&self, from: Status, to: Target) -> Transition {
        let Self { act, roles, requires, guards, source } = *self;
        Transition { act, from: Some(from), to, roles, requires, guards, source }
    }

    const fn and(self, guards: &'static [Guard]) -> Self {
        Self { guards, ..self }
    }
}

const fn rule(act: Act, roles: &'static [Role], requires: &'static [Requirement], source: &'static str) -> Rule {
    Rule { act, roles, requires, guards: &[], source }
}

const AUTHORITY: &[Role] = &[Role::CompetentAuthority];

const ACCEPT: Rule = rule(Act::Accept, AUTHORITY, &[], "NĐ 118/2025/NĐ-CP Art. 17, 18");
const REFUSE: Rule =
    rule(Act::Refuse, AUTHORITY, &[Requirement::Reason], "NĐ 118/2025/NĐ-CP Art. 17; TT 03/2025/TT-VPCP form 03");
/// A term that is over before it begins would let the authority close the dossier at once.
const REQUEST_SUPPLEMENT: Rule = rule(
    Act::RequestSupplement,
    AUTHORITY,
    &[Requirement::Reason, Requirement::SupplementUntil],
    "TT 03/2025/TT-VPCP form 02",
)
.and(&[Guard::TermAhead]);
/// Late is not too late: as long as the authority has not closed the dossier, what the citizen brings is taken.
const PROVIDE_SUPPLEMENT: Rule =
    rule(Act::ProvideSupplement, &[Role::Citizen, Role::IntakeDesk], &[], "NĐ 118/2025/NĐ-CP Art. 17");
/// No reason asked: that nothing came is the reason.
const EXPIRE_SUPPLEMENT: Rule =
    rule(Act::ExpireSupplement, AUTHORITY, &[], "NĐ 118/2025/NĐ-CP Art. 17; term as in NĐ 63/2024/NĐ-CP")
        .and(&[Guard::SupplementPassed]);
/// In every status before a decision, 4 and 6 included: the request is the applicant's until it has been answered.
/// Citizens owe no reason.
const WITHDRAW: Rule = rule(Act::Withdraw, &[Role::Citizen], &[], "national status 7; before the decision");
const START_PROCESSING: Rule = rule(Act::StartProcessing, AUTHORITY, &[], "NĐ 118/2025/NĐ-CP Art. 18");
const REQUEST_FEE: Rule = rule(Act::RequestFee, AUTHORITY, &[Requirement::Fees], "national status 6");
/// The platform, or the desk that took cash: the intake desk issued the notice and keeps the cash book. Not the authority,
/// which asked for the money, nor the return desk, which has no part before there is a result.
const CONFIRM_PAYMENT: Rule = rule(
    Act::ConfirmPayment,
    &[Role::Payment, Role::IntakeDesk],
    &[Requirement::PaymentReference],
    "national status 6",
);
/// An end, not a pause: form 05 closes the matter, and what goes on is a new dossier. Waiting has named pauses.
const STOP: Rule = rule(Act::Stop, AUTHORITY, &[Requirement::Reason], "TT 03/2025/TT-VPCP form 05");
/// From 2 as well: same-day procedures are decided at the counter without a separate step of work.
const RESOLVE: Rule = rule(Act::Resolve, AUTHORITY, &[Requirement::Results], "NĐ 118/2025/NĐ-CP Art. 22");
const RECALL_RESULT: Rule =
    rule(Act::RecallResult, AUTHORITY, &[Requirement::Reason], "before it is handed out; national status 9");
const RETURN_RESULT: Rule = rule(
    Act::ReturnResult,
    &[Role::ReturnDesk, Role::Post],
    &[Requirement::ReturnChannel],
    "NĐ 118/2025/NĐ-CP Art. 22",
)
.and(&[Guard::PostOnlyByPost]);
const EXTEND: Rule = rule(
    Act::Extend,
    AUTHORITY,
    &[Requirement::Reason, Requirement::NewDue],
    "TT 03/2025/TT-VPCP form 04; NĐ 61/2018/NĐ-CP Art. 19",
)
.and(&[Guard::FirstExtension, Guard::ExtensionInTime]);
/// Published limits exclude these times by name (e.g. decision 2252/QĐ-VP, procedure 1.115492).
const PAUSE: Rule = rule(
    Act::Pause,
    &[Role::CompetentAuthority, Role::IntakeDesk],
    &[Requirement::PauseCause],
    "published limits, e.g. 1.115492",
)
.and(&[Guard::NamedCause, Guard::PaperUnlessAuthority, Guard::CauseNotOpen]);
const PAUSE_BEFORE_RECEPTION: Rule =
    PAUSE.and(&[Guard::NamedCause, Guard::PaperBeforeReception, Guard::PaperUnlessAuthority, Guard::CauseNotOpen]);
/// Also in 5 and 6, because a pause must not outlast its cause while the dossier waits for something else. The post may
/// say that the paper has arrived.
const RESUME: Rule = rule(
    Act::Resume,
    &[Role::CompetentAuthority, Role::IntakeDesk, Role::Post],
    &[Requirement::PauseCause],
    "published limits, e.g. 1.115492",
)
.and(&[Guard::NamedCause, Guard::PaperUnlessAuthority, Guard::CauseOpen]);
const PROGRESS: Rule = rule(Act::Progress, AUTHORITY, &[Requirement::Step], "TT 03/2025/TT-VPCP form 06");

/// Every transition there is; what is not here is illegal.
///
/// After the status table of the national synchronisation service and the one-stop practice around it; where those have
/// gaps, the choice is argued at the rule above.
pub const TABLE: &[Transition] = &[
    Transition {
        act: Act::Submit,
        from: None,
        to: Opening,
        roles: &[Role::IntakeDesk],
        requires: &[],
        guards: &[],
        source: "NĐ 118/2025/NĐ-CP Art. 14, 15, 17",
    },
    ACCEPT.in_status(Status::Registered, Fixed(Status::Accepted)),
    REFUSE.in_status(Status::Registered, Fixed(Status::NotAccepted)),
    REQUEST_SUPPLEMENT.in_status(Status::Registered, Fixed(Status::SupplementRequested)),
    REQUEST_SUPPLEMENT.in_status(Status::Accepted, Fixed(Status::SupplementRequested)),
    REQUEST_SUPPLEMENT.in_status(Status::Processing, Fixed(Status::SupplementRequested)),
    PROVIDE_SUPPLEMENT.in_status(Status::SupplementRequested, Resume),
    EXPIRE_SUPPLEMENT.in_status(Status::SupplementRequested, Fixed(Status::NotAccepted)),
    WITHDRAW.in_status(Status::Registered, Fixed(Status::Withdrawn)),
    WITHDRAW.in_status(Status::Accepted, Fixed(Status::Withdrawn)),
    WITHDRAW.in_status(Status::Processing, Fixed(Status::Withdrawn)),
    WITHDRAW.in_status(Status::SupplementRequested, Fixed(Status::Withdrawn)),
    WITHDRAW.in_status(Status::PaymentRequested, Fixed(Status::Withdrawn)),
    START_PROCESSING.in_status(Status::Accepted, Fixed(Status::Processing)),
    REQUEST_FEE.in_status(Status::Accepted, Fixed(Status::PaymentRequested)),
    REQUEST_FEE.in_status(Status::Processing, Fixed(Status::PaymentRequested)),
    CONFIRM_PAYMENT.in_status(Status::PaymentRequested, Resume),
    STOP.in_status(Status::Accepted, Fixed(Status::Stopped)),
    STOP.in_status(Status::Processing, Fixed(Status::Stopped)),
    STOP.in_status(Status::SupplementRequested, Fixed(Status::Stopped)),
    STOP.in_status(Status::PaymentRequested, Fixed(Status::Stopped)),
    RESOLVE.in_status(Status::Accepted, Fixed(Status::Resolved)),
    RESOLVE.in_status(Status::Processing, Fixed(Status::Resolved)),
    RECALL_RESULT.in_status(Status::Resolved, Fixed(Status::Processing)),
    RETURN_RESULT.in_status(Status::Resolved, Fixed(Status::Returned)),
    EXTEND.in_status(Status::Accepted, Same),
    EXTEND.in_status(Status::Processing, Same),
    PAUSE_BEFORE_RECEPTION.in_status(Status::Registered, Same),
    PAUSE.in_status(Status::Accepted, Same),
    PAUSE.in_status(Status::Processing, Same),
    RESUME.in_status(Status::Registered, Same),
    RESUME.in_status(Status::Accepted, Same),
    RESUME.in_status(Status::Processing, Same),
    RESUME.in_status(Status::SupplementRequested, Same),
    RESUME.in_status(Status::PaymentRequested, Same),
    PROGRESS.in_status(Status::Accepted, Same),
    PROGRESS.in_status(Status::Processing, Same),
];

/// The row of an act in a status; `None` when the act is illegal there.
pub fn row(act: Act, from: Option<Status>) -> Option<&'static Transition> {
    TABLE.iter().find(|row| row.act == act && row.from == from)
}

/// What may be recorded in a status, by whomever.
pub fn acts_in(from: Option<Status>) -> impl Iterator<Item = Act> {
    TABLE.iter().filter(move |row| row.from == from).map(|row| row.act)
}

/// What the table says to one role: where the act leads, or the reason it is refused. Guards are not asked here.
///
/// # Errors
/// `ILLEGAL_TRANSITION` when nobody may record the act in this status, else `ROLE_MISSING` when this role may not.
pub fn expected(act: Act, from: Option<Status>, role: Role) -> Result<Target, Reason> {
    let row = row(act, from).ok_or(Reason::IllegalTransition)?;
    if row.roles.contains(&role) { Ok(row.to) } else { Err(Reason::RoleMissing) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lgsp_proto::v1;

    use super::*;

    #[test]
    fn an_act_has_at_most_one_row_in_a_status() {
        for (index, row) in TABLE.iter().enumerate() {
            let same = |other: &Transition| other.act == row.act && other.from == row.from;
            assert!(!TABLE[..index].iter().any(same), "{row:?}");
            assert!(!row.roles.is_empty() && !row.source.is_empty(), "{row:?}");
        }
    }

    #[test]
    fn an_act_asks_for_the_same_fields_in_every_status() {
        for row in TABLE {
            assert_eq!(row.requires, row.act.requires(), "{row:?}");
        }
    }

    #[test]
    fn nothing_starts_at_an_end_and_every_other_status_leads_on() {
        for status in Status::ALL {
            assert_eq!(acts_in(Some(status)).next().is_none(), status.is_terminal(), "{status}");
        }
    }

    #[test]
    fn every_act_can_happen_and_every_status_can_be_reached() {
        for act in Act::ALL {
            assert!(TABLE.iter().any(|row| row.act == *act), "{act:?}");
        }
        let mut reached = BTreeSet::from([Status::Registered, Status::Accepted]);
        loop {
            let next = TABLE.iter().filter(|row| row.from.is_some_and(|from| reached.contains(&from)));
            let found: BTreeSet<_> =
                next.filter_map(|row| if let Fixed(to) = row.to { Some(to) } else { None }).collect();
            let before = reached.len();
            reached.extend(found);
            if reached.len() == before {
                break;
            }
        }
        assert_eq!(reached.len(), Status::ALL.len());
    }

    #[test]
    fn only_what_waits_for_the_citizen_resumes() {
        for row in TABLE.iter().filter(|row| row.to == Resume) {
            assert!(matches!(row.from, Some(Status::SupplementRequested | Status::PaymentRequested)), "{row:?}");
        }
    }

    #[test]
    fn numbers_and_words_are_those_of_the_wire() {
        for act in Act::ALL {
            let kind = v1::EventKind::try_from(act.number()).unwrap();
            assert_eq!(kind.as_str_name(), format!("EVENT_KIND_{}", act.as_str().to_uppercase()));
            assert_eq!(Act::from_number(act.number()), Some(*act));
        }
        assert!(v1::EventKind::try_from(Act::ALL.len() as i32 + 1).is_err(), "an event kind without an act");
        for role in Role::ALL {
            let wire = v1::Role::try_from(role.number()).unwrap();
            assert_eq!(wire.as_str_name(), format!("ROLE_{}", role.as_str().to_uppercase()));
            assert_eq!(Role::from_number(role.number()), Some(*role));
        }
        assert!(v1::Role::try_from(Role::ALL.len() as i32 + 1).is_err(), "a role the table does not know");
        assert_eq!((Act::from_number(0), Role::from_number(0)), (None, None));
    }

    #[test]
    fn legality_is_asked_before_the_role() {
        assert_eq!(
            expected(Act::Accept, Some(Status::Registered), Role::CompetentAuthority),
            Ok(Fixed(Status::Accepted))
        );
        assert_eq!(expected(Act::Accept, Some(Status::Registered), Role::Post), Err(Reason::RoleMissing));
        assert_eq!(expected(Act::Accept, Some(Status::Returned), Role::Post), Err(Reason::IllegalTransition));
        assert_eq!(expected(Act::Submit, Some(Status::Registered), Role::IntakeDesk), Err(Reason::IllegalTransition));
        assert_eq!(expected(Act::Submit, None, Role::IntakeDesk), Ok(Opening));
    }

    #[test]
    fn a_field_is_named_as_the_entry_names_it() {
        assert_eq!(Requirement::Reason.path(Act::Refuse), "refused.reason");
        assert_eq!(Requirement::NewDue.path(Act::Extend), "extended.new_due_at");
    }
}
