//! Deciding: runs once, at admission, and turns what a party says into an [`Event`] or a [`Refusal`].
//!
//! [`submission`] opens dossiers, [`entry`] moves them on. What they read is given: parsed content facts, the dossier as it
//! stands, one registry version, the business time. They see neither texts nor people, write nothing and remember
//! nothing, so a refusal leaves no trace by construction.
//! Invariant: whatever is decided here, [`crate::apply`] can apply.

mod entry;
mod opening;
mod recipients;

use std::time::Duration;

use lgsp_proto::reason::Bilingual;
use lgsp_proto::types::{BusinessTime, Date, PartyId, ProcedureCode};
use lgsp_proto::{Reason, Refusal, Wrong};

use crate::deadline::clock::ClockError;
use crate::dossier::AttachedDocument;
use crate::event::Event;
use crate::registry::{Registry, Right};

pub use entry::{Entry, What, entry};
pub use opening::{Admissible, ComponentGiven, Submission, submission};
pub use recipients::MAX_RECIPIENTS;

/// How many documents one dossier may carry over its whole life; answers a sender that attaches without end.
pub const MAX_DOCUMENTS: usize = 100;

/// A decision to admit: the event, complete, and what the clerk should look at all the same.
///
/// Comes from [`Admissible::with_code`] and [`entry`] only.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct Decision {
    /// What is admitted; [`crate::apply::apply`] accepts it after the dossier it was decided for.
    pub event: Event,
    /// What is odd but no ground for refusal.
    pub warnings: Vec<Warning>,
}

/// Something odd that is no ground for refusal.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Warning {
    /// The sender's clock goes ahead of the gateway's, within the tolerance.
    ClockAhead,
    /// The procedure has no published limit, so the citizen can be promised no date.
    NoPublishedLimit,
    /// The registry names more subscribers than one event can be delivered to; the last ones were left out.
    SubscribersLeftOut,
    /// What a desk recorded came in much later: its line was cut, its clock goes behind, or it was dated back.
    ReceivedLate,
}

impl Warning {
    /// Every warning.
    pub const ALL: &'static [Self] =
        &[Self::ClockAhead, Self::NoPublishedLimit, Self::SubscribersLeftOut, Self::ReceivedLate];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClockAhead => "CLOCK_AHEAD",
            Self::NoPublishedLimit => "NO_PUBLISHED_LIMIT",
            Self::SubscribersLeftOut => "SUBSCRIBERS_LEFT_OUT",
            Self::ReceivedLate => "RECEIVED_LATE",
        }
    }

    /// The warning of a stable word; `None` for a word this version does not know.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|warning| warning.as_str() == word)
    }

    /// What the clerk reads.
    pub const fn text(self) -> Bilingual {
        match self {
            Self::ClockAhead => Bilingual {
                en: "The time given lies ahead of the gateway's clock; check the desk's clock.",
                vi: "Thời điểm khai báo đi trước đồng hồ của trục; kiểm tra đồng hồ của bộ phận.",
            },
            Self::NoPublishedLimit => Bilingual {
                en: "The procedure has no published time limit; no due date was computed.",
                vi: "Thủ tục chưa công bố thời hạn giải quyết; không tính ngày hẹn trả.",
            },
            Self::SubscribersLeftOut => Bilingual {
                en: "Too many subscribers are registered; some will not be told of this event.",
                vi: "Số đơn vị đăng ký nhận bản sao vượt giới hạn; một số đơn vị sẽ không được thông báo.",
            },
            Self::ReceivedLate => Bilingual {
                en: "The time given lies well before this came in; the deadline counts from the time given.",
                vi: "Thời điểm khai báo sớm hơn nhiều so với lúc trục nhận được; thời hạn tính từ thời điểm khai báo.",
            },
        }
    }
}

/// How far a business time may lie from the gateway's business clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeBounds {
    /// How far ahead: what clocks of well-kept machines may differ by.
    pub ahead: Duration,
    /// How far back: how long a desk may have worked without a line. A reception decides the deadline, so an older one is
    /// for the operator to look at.
    pub back: Duration,
    /// How far back without being flagged: what an adapter needs to forward what it has, and a clerk to type it.
    pub late: Duration,
}

impl Default for TimeBounds {
    /// Five minutes ahead; fifteen days back, which is a line cut at the beginning of the longest Tết holidays and mended
    /// in the week after. Flagged from an hour on.
    fn default() -> Self {
        Self {
            ahead: Duration::from_secs(5 * 60),
            back: Duration::from_secs(15 * 24 * 3600),
            late: Duration::from_secs(3600),
        }
    }
}

impl TimeBounds {
    /// Compares a time with the gateway's; one that is ahead within the tolerance, or far behind, is worth a warning.
    fn check(&self, at: BusinessTime, now: BusinessTime, field: &str) -> Result<Option<Warning>, Refusal> {
        let apart = at.duration_since(now);
        if apart.is_positive() && apart.unsigned_abs() > self.ahead {
            return Err(Refusal::new(Reason::TimeAhead)
                .field(field, Wrong::new("sau giờ hiện tại của trục", "lies ahead of the gateway's clock"))
                .detail("now", now));
        }
        if apart.is_negative() && apart.unsigned_abs() > self.back {
            let days = self.back.as_secs() / (24 * 3600);
            return Err(Refusal::new(Reason::TimeTooFarBack)
                .field(
                    field,
                    Wrong::new(format!("cách nay hơn {days} ngày"), format!("lies more than {days} days back")),
                )
                .detail("now", now));
        }
        Ok(match apart {
            ahead if ahead.is_positive() => Some(Warning::ClockAhead),
            behind if behind.unsigned_abs() > self.late => Some(Warning::ReceivedLate),
            _ => None,
        })
    }
}

/// The documents among `given` that the dossier does not carry yet, each once. `field` is where they were given.
fn new_documents(
    given: &[AttachedDocument],
    carried: &[AttachedDocument],
    field: &str,
) -> Result<Vec<AttachedDocument>, Refusal> {
    let mut new: Vec<AttachedDocument> = Vec::new();
    for document in given {
        let known = |other: &AttachedDocument| other.document_id == document.document_id;
        if !carried.iter().any(known) && !new.iter().any(known) {
            new.push(document.clone());
        }
    }
    if carried.len() + new.len() > MAX_DOCUMENTS {
        let problem = Wrong::new(
            format!("quá nhiều: một hồ sơ có tối đa {MAX_DOCUMENTS} tài liệu"),
            format!("a dossier carries at most {MAX_DOCUMENTS} documents"),
        );
        return Err(Refusal::new(Reason::FieldInvalid).field(field, problem));
    }
    Ok(new)
}

/// Default deny: without this grant, on that day, for that procedure, the party does nothing.
fn grant(
    registry: &Registry,
    party: &PartyId,
    right: Right,
    procedure: &ProcedureCode,
    on: Date,
) -> Result<(), Refusal> {
    match registry.grant(party, right, Some(procedure), on) {
        Ok(_) => Ok(()),
        Err(missing) => Err(missing.refusal().detail("party", party)),
    }
}

/// What the clock's objection is called on the wire.
fn clock_refusal(error: ClockError) -> Refusal {
    use ClockError::*;
    let refusal = match error {
        Calendar(missing) => return Refusal::new(Reason::CalendarNotCovering).detail("year", missing.year),
        AlreadyExtended => Reason::ExtensionUsed,
        Unlimited
        | Stopped { .. }
        | TooLateToExtend { .. }
        | NotLater { .. }
        | OutsideWorkingTime { .. }
        | NoReason => Reason::ExtensionNotAllowed,
        NotStarted => Reason::ExtensionNotAllowed,
        AlreadyPaused { .. } | NotPaused { .. } => Reason::PauseNotAllowed,
        Backwards { .. } => Reason::TimeTooFarBack,
        // The deciding code starts a clock once; a second start is its fault, not the caller's.
        AlreadyStarted => Reason::Internal,
    };
    Refusal::new(refusal).detail("why", error)
}

/// A list for a refusal's details.
fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
