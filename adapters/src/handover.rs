//! Carries deliveries and outcomes on to the agency's own system, by whichever [`Carrier`] it is set up with: in order per dossier, dossiers side by side,
//! again until it says that it has them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use lgsp_journal::Position;
use lgsp_proto::v1;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::json::{DeliveryJson, ReceiptJson, WarningJson, print_time};
use crate::lanes::{Job, Lanes};
use crate::problem::Problem;
use crate::pump::{Verdict, Work};
use crate::spool::{CallId, DeliveryId, Outcome, Parcel, RecordError, Spool, Stage, Standing, fingerprint};
use crate::trace::TraceParent;

/// When something that the agency's system has not handled yet is looked at again, if nobody wakes its lane.
const UNHANDLED_AGAIN: Duration = Duration::from_secs(30);

/// Carries what belongs to one place.
pub(crate) struct HandOver<C> {
    pub(crate) spool: Arc<Spool>,
    pub(crate) place: usize,
    pub(crate) carrier: C,
    pub(crate) blames: Blames,
}

/// A way out to the agency's own system.
pub(crate) trait Carrier: Send + Sync + 'static {
    /// Carries one message. When this returns `Ok`, the agency's system has it, durably as far as that way can tell.
    ///
    /// # Errors
    /// See [`NotTaken`]; the agency's system may have it all the same, and knows by the message's id when it comes again.
    fn carry(&self, message: &Message) -> impl Future<Output = Result<(), NotTaken>> + Send;
}

/// What is held against the deliveries of one place.
pub(crate) struct Blames {
    /// After so many failures that are held against a delivery, it goes back to the gateway.
    attempts: u32,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// How much the agency's system has taken, as a clock of its doing well.
    taken: u64,
    deliveries: HashMap<Position, Held>,
}

/// What is held against one delivery.
struct Held {
    times: u32,
    /// What had been taken when it was last tried.
    taken: u64,
}

/// Why the agency's system does not have it, as far as we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Nobody listens there.
    #[error("the agency's system cannot be reached")]
    Unreachable,
    /// The connection broke, or what came back is not HTTP.
    #[error("the agency's system broke off")]
    BrokenOff,
    /// It does not answer.
    #[error("the agency's system did not answer in time")]
    TimedOut,
    /// It says no.
    #[error("the agency's system answered {0}")]
    Status(StatusCode),
    /// It does not take this one, by a rule of its own.
    #[error("the agency's system does not take it")]
    ByItsOwnRule,
    /// It will never take this one as it is.
    #[error("the agency's system refuses it")]
    ForGood,
    /// It has it, and has not said yet what becomes of it.
    #[error("the agency's system has not handled it yet")]
    NotYet,
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Blame {
    /// The line, the agency's system as a whole, or how it is set up: nothing is wrong with the message.
    Line,
    /// This message, if others were taken meanwhile: it may be what makes the agency's system hang or crash. Else the line.
    ThisIfOthersPass,
    /// This message, as far as we know; it may be taken later.
    This,
    /// This message, and it will never be taken as it is.
    ThisForGood,
}

impl NotTaken {
    /// What it is about. Answers of proxies, of logins and of an address that leads nowhere say nothing of the message (RFC
    /// 9110, section 15; RFC 6585; RFC 8470).
    pub(crate) fn blames(self) -> Blame {
        let status = match self {
            NotTaken::Status(status) => status,
            NotTaken::Unreachable | NotTaken::NotYet => return Blame::Line,
            NotTaken::ByItsOwnRule => return Blame::This,
            NotTaken::ForGood => return Blame::ThisForGood,
            NotTaken::BrokenOff | NotTaken::TimedOut => return Blame::ThisIfOthersPass,
        };
        match status.as_u16() {
            400 | 413 | 415 | 422 => Blame::ThisForGood,
            401 | 403 | 404 | 405 | 408 | 425 | 429 | 502 | 503 | 504 => Blame::Line,
            400..=599 => Blame::This,
            _ => Blame::Line,
        }
    }
}

/// A message for the agency's own system.
pub(crate) struct Message {
    /// What it is known by: the same however often it comes.
    pub(crate) id: String,
    /// What it is about.
    pub(crate) about: About,
    /// What it tells.
    pub(crate) what: What,
    /// The dossier, as far as it is known.
    pub(crate) dossier_code: Option<String>,
    /// When the gateway admitted it, RFC 3339; it does not say when it refuses.
    pub(crate) time: Option<String>,
    /// 1 at the first try since the start.
    pub(crate) attempt: u32,
    /// The trace it belongs to.
    pub(crate) trace: Option<TraceParent>,
    /// The JSON document.
    pub(crate) body: Vec<u8>,
}

/// What a message tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum What {
    /// An event: the number of its kind, as the gateway gave it.
    Event(i32),
    /// A request was admitted.
    Admitted,
    /// A request was refused.
    Refused,
}

/// What a message is about.
pub(crate) enum About {
    /// An event of a dossier, for one party.
    Delivery(DeliveryId),
    /// The outcome of a request of the agency's system.
    Outcome(CallId),
}

/// What the agency's system is told when the gateway has answered a request.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestOutcome)]
pub(crate) struct OutcomeJson<'a> {
    /// `request.admitted` or `request.refused`.
    #[serde(rename = "type")]
    kind: &'static str,
    party: &'a str,
    request_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_code: Option<String>,
    /// What the gateway signed; of what was admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<WarningJson>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
    /// 1 at the first try to tell it since the start.
    attempt: u32,
}

impl<C: Carrier> Work for HandOver<C> {
    type Item = Parcel;

    fn lanes<R>(&self, with: impl FnOnce(&mut Lanes<Parcel>) -> R) -> R {
        self.spool.parcels(self.place, with)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.spool.changes()
    }

    async fn perform(&self, job: Job<Parcel>) -> Verdict {
        let taken_before = self.blames.taken();
        let posted = match &job.item {
            Parcel::Delivery(position) => self.delivery(*position, job.attempt).await,
            Parcel::Outcome(id) => self.outcome(id, job.attempt).await,
        };
        match posted {
            Ok(()) => Verdict::Done,
            Err(error) => {
                if let (Parcel::Delivery(position), NotCarried::NotTaken(error)) = (&job.item, &error)
                    && let Some((reason, permanent)) = self.blames.judge(*position, error.blames(), taken_before)
                {
                    return self.give_back(*position, reason, permanent).await;
                }
                if let NotCarried::NotTaken(NotTaken::NotYet) = error {
                    // Whoever learns that it has been handled wakes the lane.
                    return Verdict::LaterAlone(UNHANDLED_AGAIN);
                }
                if job.attempt.is_power_of_two() && job.attempt > 2 {
                    tracing::warn!(lane = %job.lane, job.attempt, %error, "still not handed over");
                }
                match error {
                    NotCarried::NotTaken(NotTaken::Unreachable) => Verdict::LineDown,
                    _ => Verdict::Again,
                }
            }
        }
    }
}

/// Why something has to be carried again.
#[derive(Debug, thiserror::Error)]
enum NotCarried {
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the spool cannot write any more")]
    Broken,
}

impl<C: Carrier> HandOver<C> {
    async fn delivery(&self, position: Position, attempt: u32) -> Result<(), NotCarried> {
        let delivery = self.spool.delivery(position)?;
        let id = DeliveryId::from(delivery.r#ref.as_ref().unwrap_or(&v1::DeliveryRef::default()));
        if self.spool.stage(&id) != Some(Stage::TakenOver(position)) {
            // The agency's system has fetched it meanwhile, it has gone back to the gateway, or another event took its place.
            self.blames.forget(position);
            return Ok(());
        }
        let fingerprint = fingerprint(delivery.event.as_ref());
        let event = delivery.event.as_ref().and_then(|recorded| recorded.event.as_ref());
        let message = Message {
            id: self.spool.delivery_name(&id),
            about: About::Delivery(id.clone()),
            what: What::Event(event.map_or(0, |event| event.kind)),
            dossier_code: Some(id.dossier.to_string()),
            time: event.and_then(|event| print_time(event.admitted_at.as_ref()?)),
            attempt,
            trace: event.and_then(|event| TraceParent::parse(&event.traceparent)),
            body: to_json(&DeliveryJson::new(delivery, self.spool.delivery_name(&id), Some(attempt))),
        };
        self.carry(&message).await?;
        self.blames.forget(position);
        self.spool.handed_over(&id, fingerprint).await.map_err(|_| NotCarried::Broken)
    }

    /// Gives a delivery back to the gateway, and with it the later ones of its dossier: they must not overtake it.
    async fn give_back(&self, position: Position, reason: &'static str, permanent: bool) -> Verdict {
        let Ok(delivery) = self.spool.delivery(position) else { return Verdict::Again };
        let id = DeliveryId::from(&delivery.r#ref.unwrap_or_default());
        if self.spool.stage(&id) != Some(Stage::TakenOver(position)) {
            return Verdict::Done;
        }
        tracing::warn!(
            party.id = %id.party, dossier.code = %id.dossier, id.sequence, reason, "a delivery goes back to the gateway"
        );
        match self.spool.give_back(&id, reason, permanent).await {
            // The gateway was restored and may mean another event by that name: it stays until it is served anew.
            Ok(()) if self.spool.stage(&id) == Some(Stage::TakenOver(position)) => Verdict::Again,
            Ok(()) => Verdict::Done,
            Err(_) => Verdict::Again,
        }
    }

    async fn outcome(&self, id: &CallId, attempt: u32) -> Result<(), NotCarried> {
        let Some(Standing::Answered(position)) = self.spool.call(id).map(|call| call.standing) else { return Ok(()) };
        let mut json = OutcomeJson {
            kind: "request.refused",
            party: &id.party,
            request_key: &id.key,
            dossier_code: None,
            receipt: None,
            warnings: Vec::new(),
            problem: None,
            attempt,
        };
        let mut what = What::Refused;
        match self.spool.outcome(position)? {
            Outcome::Admitted(response) => {
                (json.kind, what) = ("request.admitted", What::Admitted);
                json.receipt = response.receipt.as_ref().and_then(ReceiptJson::new);
                json.dossier_code = json.receipt.as_ref().map(|receipt| receipt.dossier_code.clone());
                json.warnings = response.warnings.into_iter().map(WarningJson::new).collect();
            }
            Outcome::Refused(status) => json.problem = Some(Problem::of_kept(&status)),
        }
        let trace = self.spool.trace_of(id);
        let name = format!("{}/request/{}", id.party, id.key);
        let message = Message {
            id: name,
            about: About::Outcome(id.clone()),
            what,
            dossier_code: json.dossier_code.clone(),
            time: json.receipt.as_ref().and_then(|receipt| receipt.admitted_at.clone()),
            attempt,
            trace,
            body: to_json(&json),
        };
        self.carry(&message).await?;
        self.spool.told(id).await.map_err(|_| NotCarried::Broken)
    }

    async fn carry(&self, message: &Message) -> Result<(), NotTaken> {
        self.carrier.carry(message).await?;
        self.blames.one_more_taken();
        Ok(())
    }
}

impl Blames {
    pub(crate) fn new(attempts: u32) -> Self {
        Self { attempts, ledger: Mutex::default() }
    }

    /// How much the agency's system has taken so far.
    fn taken(&self) -> u64 {
        self.ledger().taken
    }

    fn one_more_taken(&self) {
        self.ledger().taken += 1;
    }

    /// Whether a failure is reason enough to give the delivery back, and whether for good. `taken_before` is what had been taken
    /// when the try began.
    fn judge(&self, position: Position, blame: Blame, taken_before: u64) -> Option<(&'static str, bool)> {
        let mut ledger = self.ledger();
        let taken = ledger.taken;
        match blame {
            Blame::Line => return None,
            Blame::ThisForGood => {
                ledger.deliveries.remove(&position);
                return Some(("AGENCY_REFUSED", true));
            }
            Blame::This | Blame::ThisIfOthersPass => {}
        }
        let held = ledger.deliveries.entry(position).or_insert(Held { times: 0, taken: taken_before });
        let others_passed = taken > std::mem::replace(&mut held.taken, taken);
        if blame == Blame::This || others_passed {
            held.times += 1;
        }
        if held.times < self.attempts {
            return None;
        }
        ledger.deliveries.remove(&position);
        Some(("AGENCY_FAILING", false))
    }

    fn forget(&self, position: Position) {
        self.ledger().deliveries.remove(&position);
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // No holder panics between two statements that belong together.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have text keys and finite numbers only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_about_the_message_is_held_against_it() {
        let blames = |status| NotTaken::Status(StatusCode::from_u16(status).unwrap()).blames();
        for status in [400, 413, 415, 422] {
            assert_eq!(blames(status), Blame::ThisForGood, "{status}");
        }
        for status in [301, 401, 403, 404, 405, 408, 425, 429, 502, 503, 504] {
            assert_eq!(blames(status), Blame::Line, "{status}");
        }
        for status in [402, 409, 410, 423, 500, 501, 507] {
            assert_eq!(blames(status), Blame::This, "{status}");
        }
        assert_eq!(NotTaken::Unreachable.blames(), Blame::Line);
        assert_eq!(NotTaken::NotYet.blames(), Blame::Line);
        assert_eq!(NotTaken::ByItsOwnRule.blames(), Blame::This);
        assert_eq!(NotTaken::ForGood.blames(), Blame::ThisForGood);
        for error in [NotTaken::BrokenOff, NotTaken::TimedOut] {
            assert_eq!(error.blames(), Blame::ThisIfOthersPass);
        }
    }

    #[test]
    fn silence_is_held_against_a_delivery_only_if_others_were_taken_since_its_last_try() {
        let blames = Blames::new(2);
        let fails = |number, blame| blames.judge(Position(number), blame, blames.taken());
        // The agency's system hangs as a whole.
        for _ in 0..10 {
            assert_eq!(fails(1, Blame::ThisIfOthersPass), None);
        }
        blames.one_more_taken();
        // Many taken between two tries say no more than one.
        blames.one_more_taken();
        assert_eq!(fails(1, Blame::ThisIfOthersPass), None);
        assert_eq!(fails(1, Blame::ThisIfOthersPass), None);
        assert_eq!(fails(1, Blame::Line), None);
        // Nothing was taken since this one began for the first time.
        assert_eq!(fails(2, Blame::ThisIfOthersPass), None);
        blames.one_more_taken();
        assert_eq!(fails(1, Blame::ThisIfOthersPass), Some(("AGENCY_FAILING", false)));
        assert_eq!(fails(2, Blame::ThisIfOthersPass), None);
        // A failure that names the message counts whatever became of others.
        assert_eq!(fails(2, Blame::This), Some(("AGENCY_FAILING", false)));
    }

    #[test]
    fn what_was_taken_while_the_first_try_lasted_counts_against_it() {
        let blames = Blames::new(1);
        let before = blames.taken();
        blames.one_more_taken();
        assert_eq!(blames.judge(Position(1), Blame::ThisIfOthersPass, before), Some(("AGENCY_FAILING", false)));
        assert_eq!(blames.judge(Position(2), Blame::ThisForGood, before), Some(("AGENCY_REFUSED", true)));
    }
}
