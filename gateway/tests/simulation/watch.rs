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
//! | SIM-10 | When faults stop, everything is answered, delivered and handed over, and both sides hold the same; |
//! |       | what is parked holds up nothing else, and flows when it is retried. |
//! | SIM-11 | No number is given to two dossiers, whoever gave it, in whatever epoch; what is leased is its spool's alone. |
//! | SIM-12 | After a restore every receipt that anybody still has is in effect once, as it was, or its place was taken. |
//! | SIM-13 | What is parked reaches its party only once somebody decided so, and what was skipped never does. |
//! | SIM-14 | A token is good for one certificate of one key, ever, and for none once it was taken back or the books restored; |
//! |        | whoever joined with it and asks again gets the same one. |
//! | SIM-15 | A key whose revocation was answered is out of force after every crash, and nothing is certified for it or over it. |
//! |        | A restore loses the revocations after its backup: an operator says them again. |
//! | INV-… | Those of `lgsp fsck`, with its own code. |

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use lgsp_domain::numbering::SpoolId;
use lgsp_gateway::engine::inbox::{Delivery, DeliveryName};
use lgsp_gateway::engine::intake::Admitted;
use lgsp_gateway::store::sled::SteppedStore;
use lgsp_gateway::store::{Bodies, DeliveryStage, ParkedAction, Stage, Store};
use lgsp_proto::v1::DeclineKind;
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message as _;
use tokio::time::Instant;

use crate::machine::signed;
use crate::node::{LEASE, Running};
use crate::request::{Matter, Request};
use crate::spool::{Leased, Name};

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
    /// Every event that somebody was told of, answered or not.
    told: BTreeSet<(String, u32)>,
    /// To whom each code was given, by the gateway or by a desk.
    numbers: BTreeMap<String, (String, String)>,
    /// Whose the numbers are that were leased: spool and epoch.
    leased: BTreeMap<String, (SpoolId, u32)>,
    /// Receipts that the books do not hold since they were restored, and that somebody has.
    outstanding: BTreeMap<(String, String), Answer>,
    /// From which event on a dossier cannot come back as it was: an event is lost for good, or another one took its place.
    broken: BTreeMap<String, u32>,
    /// Dossiers that are parked for certain, for a party, from an event on.
    parked: BTreeMap<(String, String), u32>,
    /// How many people are deciding about a dossier just now: it may flow at any moment.
    deciding: BTreeMap<(String, String), usize>,
    skipped: BTreeSet<Name>,
    /// Somebody said so, and was not answered.
    perhaps_skipped: BTreeSet<Name>,
    /// The furthest each dossier was seen: event, when, due.
    furthest: BTreeMap<String, (u32, i64, Option<jiff::civil::DateTime>)>,
    pub(crate) tally: Tally,
}

#[derive(Clone, Debug)]
struct Answer {
    matter: Matter,
    receipt: Bytes,
    /// With its signature, as it is kept.
    signed: Vec<u8>,
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
    pub(crate) restores: u64,
    pub(crate) came_back: u64,
    pub(crate) given_offline: u64,
    pub(crate) parked: u64,
    pub(crate) skipped: u64,
    pub(crate) given_back: u64,
    pub(crate) joined: u64,
    pub(crate) renewed: u64,
    pub(crate) revoked: u64,
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
            (&mut self.restores, other.restores),
            (&mut self.came_back, other.came_back),
            (&mut self.given_offline, other.given_offline),
            (&mut self.parked, other.parked),
            (&mut self.skipped, other.skipped),
            (&mut self.given_back, other.given_back),
            (&mut self.joined, other.joined),
            (&mut self.renewed, other.renewed),
            (&mut self.revoked, other.revoked),
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
        let rare = [self.restores, self.came_back, self.given_offline, self.parked, self.skipped, self.given_back];
        let of_keys = [self.joined, self.renewed, self.revoked];
        let rare = rare.into_iter().chain(of_keys);
        all.iter().all(|count| *count > 20) && rare.into_iter().all(|count| count > 2)
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
                return self.refused_to_come_back(request, refusal.reason());
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
            signed: signed(&admitted.answer),
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
        if self.came_back(&name, &answer) {
            return;
        }
        if let Matter::Submit { code: given, .. } = &request.matter {
            if given.as_ref() != Some(&code) && self.leased.contains_key(&code) {
                self.violated("SIM-11", format!("{code} is leased, and was given to {} {}", name.0, name.1));
            }
            self.gave(&code, &name);
            match self.codes.insert(code.clone(), name.clone()) {
                None => self.given.push(code),
                // Sent again without its receipt, because that was lost before anybody had it.
                Some(other) if other == name => {}
                Some(other) => self.violated("SIM-3", format!("{code} was given to {} and to {}", other.1, name.1)),
            }
        }
        self.answers.insert(name.clone(), answer);
        self.fresh.push(name);
    }

    /// What was answered before a restore is answered again: true when this is it.
    fn came_back(&mut self, name: &(String, String), answer: &Answer) -> bool {
        let Answer { code, sequence, .. } = answer;
        let same = self.outstanding.get(name).is_some_and(|before| before.matter == answer.matter);
        if same && let Some(before) = self.outstanding.remove(name) {
            if before.receipt != answer.receipt {
                let what =
                    format!("{}/{} of {} {} is {code}/{sequence} now", before.code, before.sequence, name.0, name.1);
                self.violated("SIM-12", what);
            }
            self.tally.came_back += 1;
            self.answers.insert(name.clone(), before);
            self.fresh.push(name.clone());
            return true;
        }
        // A key that was used for something else meanwhile, or a place.
        let mut taken: Vec<(String, u32)> = Vec::new();
        for (other, before) in &self.outstanding {
            if other == name || (before.code == *code && before.sequence >= *sequence) {
                taken
                    .push((before.code.clone(), before.sequence.min(if other == name { u32::MAX } else { *sequence })));
            }
        }
        taken.into_iter().for_each(|(code, from)| self.is_broken(code, from));
        false
    }

    fn refused_to_come_back(&mut self, request: &Request, reason: Reason) {
        let Some(before) = self.outstanding.get(&request.name()).filter(|before| before.matter == request.matter)
        else {
            return;
        };
        let (code, sequence) = (before.code.clone(), before.sequence);
        match reason {
            // Others have to come back before.
            Reason::DossierNotFound => {}
            // Another dossier took its alias, another request its key.
            Reason::AliasTaken | Reason::KeyReused => self.is_broken(code, sequence),
            reason if is_last_word(reason) && !self.is_excused(&code, sequence) => {
                let what = format!("{code}/{sequence} of {} {}: {}", request.party, request.key, reason.as_str());
                self.violated("SIM-12", what);
            }
            _ => {}
        }
    }

    fn is_broken(&mut self, code: String, from: u32) {
        let known = self.broken.entry(code).or_insert(from);
        *known = (*known).min(from);
    }

    /// Whether an event cannot come back as it was, through nobody's mistake.
    pub(crate) fn is_excused(&self, code: &str, sequence: u32) -> bool {
        self.broken.get(code).is_some_and(|from| *from <= sequence)
    }

    /// Whether an event of the dossier is on its way back.
    pub(crate) fn is_outstanding(&self, code: &str) -> bool {
        self.outstanding.values().any(|answer| answer.code == code)
    }

    /// A code was given out, to a citizen who asked for something under a key.
    pub(crate) fn gave(&mut self, code: &str, name: &(String, String)) {
        let before = self.numbers.insert(code.to_owned(), name.clone());
        if let Some(other) = before.filter(|other| other != name) {
            self.violated("SIM-11", format!("{code} was given to {other:?}, and then to {name:?}"));
        }
    }

    /// Numbers were leased.
    pub(crate) fn leased(&mut self, spool: SpoolId, leased: &[Leased]) {
        for Leased { epoch, codes, .. } in leased {
            for code in codes {
                let before = self.leased.insert(code.clone(), (spool, *epoch));
                let is_taken = match before {
                    Some(before) => before != (spool, *epoch),
                    // Given out by the gateway itself, before it was leased.
                    None => self.numbers.contains_key(code),
                };
                if is_taken {
                    self.violated("SIM-11", format!("{code} was leased in epoch {epoch}, and was not free"));
                }
            }
        }
    }

    /// The books were restored: `store` is what they hold now, and `has` says whether anybody has a receipt.
    pub(crate) fn restored(&mut self, store: &SteppedStore, has: impl Fn(&(String, String), &[u8]) -> bool) {
        self.tally.restores += 1;
        self.fresh.clear();
        self.furthest.clear();
        let mut kept = BTreeMap::new();
        for (name, answer) in std::mem::take(&mut self.answers) {
            let found = now(store.by_key(&name.0.parse().unwrap(), &name.1.parse().unwrap()));
            match found {
                Err(error) => return self.violated("SIM-9", error.to_string()),
                Ok(Some(found)) if found.answer.receipt == answer.receipt => drop(kept.insert(name, answer)),
                Ok(_) => drop(self.outstanding.insert(name, answer)),
            }
        }
        self.answers = kept;
        self.note(format!("{} receipts are to come back", self.outstanding.len()));
        self.lost(has);
        // What was delivered and never answered is known to nobody who could bring it back.
        let (outstanding, mut gone) = (&self.outstanding, Vec::new());
        self.told.retain(|(code, sequence)| {
            let event = now(store.event(&code.parse().unwrap(), *sequence, Bodies::Without));
            let is_there = event.is_ok_and(|event| event.is_some());
            if !is_there && !outstanding.values().any(|answer| answer.code == *code && answer.sequence == *sequence) {
                gone.push((code.clone(), *sequence));
            }
            is_there
        });
        gone.into_iter().for_each(|(code, sequence)| self.is_broken(code, sequence));
        let is_over = |(party, code, sequence): &Name| {
            let (party, code) = (party.parse().unwrap(), code.parse().unwrap());
            let is_there = now(store.event(&code, *sequence, Bodies::Without)).is_ok_and(|event| event.is_some());
            is_there && now(store.delivery_stage(&party, &code, *sequence)).is_ok_and(|stage| stage.is_none())
        };
        self.handed_over.retain(is_over);
        self.skipped.retain(is_over);
        self.parked.retain(|(party, code), from| is_parked(store, party, code, *from));
    }

    /// What nobody has a receipt for does not come back.
    pub(crate) fn lost(&mut self, has: impl Fn(&(String, String), &[u8]) -> bool) {
        let mut gone = Vec::new();
        self.outstanding.retain(|name, answer| {
            let is_there = has(name, &answer.signed);
            if !is_there {
                gone.push((answer.code.clone(), answer.sequence));
            }
            is_there
        });
        gone.into_iter().for_each(|(code, sequence)| self.is_broken(code, sequence));
    }

    /// What is still to come back at the end, though it could.
    pub(crate) fn check_nothing_is_missing(&mut self) {
        let missing = self.outstanding.values().find(|answer| !self.is_excused(&answer.code, answer.sequence));
        if let Some(what) = missing.map(|answer| format!("{}/{} did not come back", answer.code, answer.sequence)) {
            self.violated("SIM-12", what);
        }
    }

    /// A receiver has said that it does not take a delivery; `was_under_way` if that was with it.
    pub(crate) fn declined(&mut self, name: &Name, kind: DeclineKind, was_under_way: bool, running: &Running) {
        self.note(format!("declined {kind:?} {}/{} by {}", name.1, name.2, name.0));
        let (party, code) = (name.0.parse().unwrap(), name.1.parse().unwrap());
        let parked = now(running.store.parked_dossier(&party, &code));
        let stage = now(running.store.delivery_stage(&party, &code, name.2));
        let (Ok(parked), Ok(stage)) = (parked, stage) else { return };
        match parked.map(|standing| standing.parked.sequence) {
            Some(from) if from <= name.2 => {
                self.tally.parked += u64::from(from == name.2);
                let of_dossier = (name.0.clone(), name.1.clone());
                if self.deciding.get(&of_dossier).is_none_or(|deciding| *deciding == 0) {
                    self.parked.insert(of_dossier, from);
                }
            }
            // It may have been handed over by another machine that had it, too late to be told.
            _ if was_under_way && kind == DeclineKind::Permanent && stage.is_some() => {
                self.violated("SIM-13", format!("{name:?} was refused for good and is not parked"));
            }
            _ => {}
        }
    }

    /// Whether a stream has a delivery, beyond doubt.
    pub(crate) fn is_under_way(&self, stream: u64, name: &Name) -> bool {
        let lease = self.leases.get(&(name.0.clone(), name.1.clone()));
        lease.is_some_and(|lease| lease.stream == stream && lease.sequence == name.2 && Instant::now() < lease.until)
    }

    /// Somebody decides about a parked dossier: from now on it may flow.
    pub(crate) fn deciding(&mut self, name: &Name, action: ParkedAction) {
        let of_dossier = (name.0.clone(), name.1.clone());
        self.parked.remove(&of_dossier);
        *self.deciding.entry(of_dossier).or_default() += 1;
        if action == ParkedAction::Skip {
            self.perhaps_skipped.insert(name.clone());
        }
    }

    /// That was answered, perhaps by a refusal.
    pub(crate) fn decided(&mut self, name: &Name, action: ParkedAction, refused: Option<Reason>) {
        self.note(format!("{action:?} of {name:?}: {refused:?}"));
        if let Some(deciding) = self.deciding.get_mut(&(name.0.clone(), name.1.clone())) {
            *deciding = deciding.saturating_sub(1);
        }
        if refused.is_none() && action == ParkedAction::Skip {
            self.tally.skipped += 1;
            self.skipped.insert(name.clone());
        }
    }

    /// Whether a party need not have a delivery, because it was or may have been skipped.
    pub(crate) fn may_be_skipped(&self, name: &Name) -> bool {
        self.perhaps_skipped.contains(name)
    }

    /// A gateway has started: what was parked is parked.
    pub(crate) fn check_parked(&mut self, running: &Running) {
        // Whoever was deciding died with the one before.
        self.deciding.clear();
        let forgotten =
            self.parked.iter().find(|((party, code), from)| !is_parked(&running.store, party, code, **from));
        if let Some(what) =
            forgotten.map(|((party, code), from)| format!("{code}/{from} is not parked for {party} any more"))
        {
            self.violated("SIM-13", what);
        }
    }

    /// A stream of `running` was handed a delivery.
    pub(crate) fn delivered(&mut self, stream: u64, delivery: &Delivery, mine: &[String], running: &Running) {
        let event = &delivery.recorded.event;
        let (party, code, sequence) = (delivery.party.to_string(), event.dossier_code.clone(), event.sequence);
        let what = format!("{code}/{sequence} to {party} on stream {stream}");
        self.tally.delivered += 1;
        self.told.insert((code.clone(), sequence));
        self.note(format!("delivered {what}"));
        let name = (party.clone(), code.clone(), sequence);
        if self.handed_over.contains(&name) {
            self.violated("SIM-6", &what);
        }
        let is_parked = is_parked(&running.store, &party, &code, sequence)
            || self.parked.get(&(party.clone(), code.clone())).is_some_and(|from| *from <= sequence);
        if is_parked || self.skipped.contains(&name) {
            self.violated("SIM-13", &what);
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
    pub(crate) fn acknowledging(&mut self, stream: u64, stage: Stage, name: &Name) {
        let of_dossier = (name.0.clone(), name.1.clone());
        // A hand-over ends what it was parked for.
        if stage == Stage::HandedOver && self.parked.get(&of_dossier) == Some(&name.2) {
            self.parked.remove(&of_dossier);
        }
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

    /// Something earlier of the dossier goes back, which ends the lease of what comes after it.
    pub(crate) fn goes_back(&mut self, name: &Name) {
        self.leases.remove(&(name.0.clone(), name.1.clone()));
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

/// Whether a dossier is parked for a party from that event on, or from an earlier one.
fn is_parked(store: &SteppedStore, party: &str, code: &str, sequence: u32) -> bool {
    let parked = now(store.parked_dossier(&party.parse().unwrap(), &code.parse().unwrap()));
    parked.is_ok_and(|standing| standing.is_some_and(|standing| standing.parked.sequence <= sequence))
}

/// What a read of the simulated store answers: it never waits.
pub(crate) fn now<T>(read: impl Future<Output = T>) -> T {
    match pin!(read).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read,
        Poll::Pending => unreachable!("a simulated store has everything in memory"),
    }
}
