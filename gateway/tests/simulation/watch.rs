//! The watcher: sees every answer and every delivery, whoever else may lose it, and says what must not have happened.
//!
//! | id | what must hold |
//! |---|---|
//! | SIM-1 | What was answered is in effect, with that receipt, for every reader from then on. |
//! | SIM-2 | The same key is given the same receipt, however often it is sent. |
//! | SIM-3 | A code is given to one submission. |
//! | SIM-4 | A party gets a dossier's events in order: each only once all before it are taken over, durably. |
//! |       | Its own system hears of them in order, too, from all its machines together. |
//! | SIM-5 | A delivery is under way on one stream at a time, and no longer once it is taken over. |
//! | SIM-6 | What was acknowledged as handed over never comes again. |
//! | SIM-7 | Nobody gets what is not his. |
//! | SIM-8 | A dossier moves forward: its events' numbers and times, and the date promised to the citizen. |
//! | SIM-9 | The gateway starts after every crash, and never fails within. |
//! | SIM-10 | When faults stop, everything is answered, delivered and handed over, and both sides hold the same. |
//! | INV-… | Those of `lgsp fsck`, with its own code. |

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use lgsp_gateway::engine::inbox::{Delivery, DeliveryName};
use lgsp_gateway::engine::intake::Admitted;
use lgsp_gateway::store::{Bodies, DeliveryStage, Stage, Store};
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message as _;
use tokio::time::Instant;

use crate::node::{LEASE, Running};
use crate::request::{Matter, Request};
use crate::spool::Name;

/// Something that must not have happened.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) id: String,
    pub(crate) what: String,
}

/// What has been seen in a run so far.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) log: Vec<String>,
    pub(crate) violation: Option<Violation>,
    /// The answer to each key of a party.
    answers: BTreeMap<(String, String), Answer>,
    /// Those not yet looked up in the store that gave them.
    fresh: Vec<(String, String)>,
    /// Which key each code was given to.
    codes: BTreeMap<String, (String, String)>,
    /// The codes in the order in which they were given.
    given: Vec<String>,
    /// Deliveries under way, by party and dossier.
    leases: BTreeMap<(String, String), Lease>,
    /// Streams whose delivery was given to another one while they acknowledged it: right only if nothing was written.
    overtaken: BTreeMap<(u64, Name), String>,
    handed_over: BTreeSet<Name>,
    /// The furthest each dossier was seen: event, when, due.
    furthest: BTreeMap<String, (u32, i64, Option<jiff::civil::DateTime>)>,
    pub(crate) tally: Tally,
}

#[derive(Clone, Debug)]
struct Answer {
    matter: Matter,
    receipt: Bytes,
    code: String,
    sequence: u32,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    stream: u64,
    sequence: u32,
    until: Instant,
    /// Its acknowledgement has been begun and not been answered.
    acknowledging: bool,
}

/// How much there was to go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) answered: u64,
    pub(crate) repeated: u64,
    pub(crate) refused: u64,
    pub(crate) delivered: u64,
    pub(crate) kills: u64,
    pub(crate) power_cuts: u64,
    pub(crate) disk_failures: u64,
    pub(crate) lines_cut: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.steps, other.steps),
            (&mut self.answered, other.answered),
            (&mut self.repeated, other.repeated),
            (&mut self.refused, other.refused),
            (&mut self.delivered, other.delivered),
            (&mut self.kills, other.kills),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.disk_failures, other.disk_failures),
            (&mut self.lines_cut, other.lines_cut),
        ];
        for (sum, more) in sums {
            *sum += more;
        }
    }

    /// Whether everything happened that runs are made for.
    pub(crate) fn is_rich(&self) -> bool {
        let all = [
            self.answered,
            self.repeated,
            self.refused,
            self.delivered,
            self.kills,
            self.power_cuts,
            self.disk_failures,
            self.lines_cut,
        ];
        all.iter().all(|count| *count > 20)
    }
}

impl Watch {
    pub(crate) fn note(&mut self, line: impl Into<String>) {
        self.log.push(line.into());
    }

    /// Only the first one counts: the others may follow from it.
    pub(crate) fn violated(&mut self, id: &str, what: impl Into<String>) {
        let violation = Violation { id: id.to_owned(), what: what.into() };
        self.note(format!("violated {}: {}", violation.id, violation.what));
        self.violation.get_or_insert(violation);
    }

    /// The gateway has answered; whether that reaches anybody is another matter.
    pub(crate) fn answered(&mut self, request: &Request, outcome: &Result<Admitted, Refusal>) {
        let name = (request.party.clone(), request.key.clone());
        let admitted = match outcome {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.tally.refused += 1;
                self.note(format!("refused {} {}: {}", name.0, name.1, refusal.reason().as_str()));
                if refusal.reason() == Reason::Internal {
                    self.violated("SIM-9", format!("{} {} met an internal error", name.0, name.1));
                }
                let is_answered = self.answers.get(&name).is_some_and(|before| before.matter == request.matter);
                if is_answered && is_last_word(refusal.reason()) {
                    self.violated("SIM-2", format!("{} {} was answered, and then refused", name.0, name.1));
                }
                return;
            }
        };
        let receipt = match v1::Receipt::decode(&admitted.answer.receipt[..]) {
            Ok(receipt) => receipt,
            Err(error) => return self.violated("SIM-1", format!("a receipt that cannot be read: {error}")),
        };
        let (code, sequence) = (receipt.dossier_code, receipt.sequence);
        self.tally.answered += 1;
        self.tally.repeated += u64::from(admitted.repeated);
        self.note(format!("answered {} {}: {code}/{sequence}", name.0, name.1));
        let answer = Answer {
            matter: request.matter.clone(),
            receipt: admitted.answer.receipt.clone(),
            code: code.clone(),
            sequence,
        };
        if let Some(before) = self.answers.get(&name) {
            if before.receipt != answer.receipt {
                let what =
                    format!("{} {} got {}/{} and {code}/{sequence}", name.0, name.1, before.code, before.sequence);
                self.violated("SIM-2", what);
            }
            return;
        }
        if matches!(request.matter, Matter::Submit { .. }) {
            match self.codes.insert(code.clone(), name.clone()) {
                None => self.given.push(code),
                Some(other) => self.violated("SIM-3", format!("{code} was given to {} and to {}", other.1, name.1)),
            }
        }
        self.answers.insert(name.clone(), answer);
        self.fresh.push(name);
    }

    /// A stream of `running` was handed a delivery.
    pub(crate) fn delivered(&mut self, stream: u64, delivery: &Delivery, mine: &[String], running: &Running) {
        let event = &delivery.recorded.event;
        let (party, code, sequence) = (delivery.party.to_string(), event.dossier_code.clone(), event.sequence);
        let what = format!("{code}/{sequence} to {party} on stream {stream}");
        self.tally.delivered += 1;
        self.note(format!("delivered {what}"));
        if self.handed_over.contains(&(party.clone(), code.clone(), sequence)) {
            self.violated("SIM-6", &what);
        }
        if !mine.contains(&party) || !delivery.dossier.concerns(&delivery.party) || event.party == party {
            self.violated("SIM-7", &what);
        }
        for earlier in 1..=sequence {
            match now(running.store.delivery_stage(&delivery.party, &delivery.dossier.code, earlier)) {
                Err(error) => self.violated("SIM-9", format!("{what}: {error}")),
                Ok(Some(DeliveryStage::Waiting(_))) if earlier < sequence => {
                    self.violated("SIM-4", format!("{what}, before event {earlier} was taken over"));
                }
                // A gateway that serves again what was taken over and given back will have to be asked whether it was.
                Ok(stage) if earlier == sequence && !matches!(stage, Some(DeliveryStage::Waiting(_))) => {
                    self.violated("SIM-5", format!("{what}, though it is {stage:?}"));
                }
                Ok(_) => {}
            }
        }
        let lease = Lease { stream, sequence, until: Instant::now() + LEASE, acknowledging: false };
        let name = (party.clone(), code.clone(), sequence);
        // Another event's lease has ended by now, or the order was broken, which was looked at above.
        if let Some(other) = self.leases.insert((party, code), lease)
            && other.sequence == sequence
        {
            let what = format!("{what}, while it is under way on stream {}", other.stream);
            if other.acknowledging {
                self.overtaken.insert((other.stream, name), what);
            } else if Instant::now() < other.until {
                self.violated("SIM-5", what);
            }
        }
    }

    /// The stream has begun to acknowledge the delivery. From then on nobody else may have it, unless its lease had ended: a
    /// hand-over may be told later than that, and does not hold the delivery any more.
    pub(crate) fn acknowledging(&mut self, stream: u64, name: &Name) {
        let lease = self.leases.get_mut(&(name.0.clone(), name.1.clone()));
        if let Some(lease) = lease.filter(|lease| lease.stream == stream && lease.sequence == name.2) {
            lease.acknowledging = Instant::now() < lease.until;
        }
    }

    /// The gateway has refused an acknowledgement.
    pub(crate) fn not_acknowledged(&mut self, stream: u64, name: &Name, reason: Reason) {
        self.note(format!("not acknowledged {}/{}: {}", name.1, name.2, reason.as_str()));
        if let Some(what) = self.overtaken.remove(&(stream, name.clone()))
            && reason == Reason::OutcomeUnknown
        {
            self.violated("SIM-5", what);
        }
        self.release(stream, name);
    }

    /// The stream no longer holds the delivery.
    pub(crate) fn release(&mut self, stream: u64, name: &Name) {
        let key = (name.0.clone(), name.1.clone());
        if self.leases.get(&key).is_some_and(|lease| lease.stream == stream && lease.sequence == name.2) {
            self.leases.remove(&key);
        }
    }

    /// The gateway has answered an acknowledgement of `name`; what it did not count is not among `counted`.
    pub(crate) fn acknowledged(&mut self, stream: u64, stage: Stage, name: &Name, counted: &[DeliveryName]) {
        if let Some(what) = self.overtaken.remove(&(stream, name.clone())) {
            self.violated("SIM-5", what);
        }
        self.release(stream, name);
        if counted.is_empty() {
            return;
        }
        self.note(format!("acknowledged {stage:?} {}/{} by {}", name.1, name.2, name.0));
        if stage == Stage::HandedOver {
            self.handed_over.insert(name.clone());
        }
    }

    /// The stream has ended, by whatever end.
    pub(crate) fn ended(&mut self, stream: u64) {
        self.note(format!("stream {stream} ended"));
        self.leases.retain(|_, lease| lease.stream != stream);
        self.overtaken.retain(|(overtaken, _), _| *overtaken != stream);
    }

    /// Looks up what was answered since the last step, or all of it.
    pub(crate) fn check_answers(&mut self, running: &Running, all: bool) {
        let fresh = std::mem::take(&mut self.fresh);
        let names = if all { self.answers.keys().cloned().collect() } else { fresh };
        for (party, key) in names {
            let Answer { receipt, code, sequence, .. } = self.answers[&(party.clone(), key.clone())].clone();
            let what = format!("{party} {key}: {code}/{sequence}");
            let by_key = now(running.store.by_key(&party.parse().unwrap(), &key.parse().unwrap()));
            let code = code.parse().unwrap();
            let event = now(running.store.event(&code, sequence, Bodies::Without));
            let dossier = now(running.store.dossier(&code));
            let (Ok(by_key), Ok(event), Ok(dossier)) = (by_key, event, dossier) else {
                return self.violated("SIM-9", format!("{what} cannot be read"));
            };
            let found = by_key.is_some_and(|found| found.answer.receipt == receipt)
                && event.is_some_and(|found| found.event.request_key == key && found.event.party == party);
            let Some(dossier) = dossier.filter(|dossier| found && dossier.sequence >= sequence) else {
                return self.violated("SIM-1", what);
            };
            let at = (dossier.sequence, dossier.updated_at.unix_seconds(), dossier.clock.due());
            if let Some(before) = self.furthest.insert(code.to_string(), at)
                && (at.0 < before.0 || at.1 < before.1 || (at.2.is_some() && at.2 < before.2))
            {
                self.violated("SIM-8", format!("{code} went from {before:?} to {at:?}"));
            }
        }
    }

    /// Has `lgsp fsck` look at the gateway.
    pub(crate) fn check_store(&mut self, running: &Running) {
        let Some(report) = running.store.check() else { return };
        for problem in report.problems {
            self.violated(problem.invariant.id(), problem.what);
        }
    }

    /// The codes given so far, the last one last.
    pub(crate) fn codes(&self) -> Vec<String> {
        self.given.clone()
    }

    pub(crate) fn answered_keys(&self) -> impl Iterator<Item = &(String, String)> {
        self.answers.keys()
    }
}

/// Whether a refusal for this reason ends a request: to all others the answer is to send it again.
pub(crate) fn is_last_word(reason: Reason) -> bool {
    !reason.is_transient()
}

/// What a read of the simulated store answers: it never waits.
pub(crate) fn now<T>(read: impl Future<Output = T>) -> T {
    match pin!(read).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => unreachable!("a simulated store has everything in memory"),
    }
}
