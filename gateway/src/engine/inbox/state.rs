//! What is known of one party's inbox: what is owed, what is under way, what rests, and what others hold. Pure but for
//! waking streams; the machine's time comes in as an argument.
//!
//! It is a window on the store and may be forgotten at any time: [`State::reload`] does so, and what is owed is read again.
//! Whoever looked something up in the store notes before how often something has come back ([`State::comebacks`]), and drops
//! what it found if that has changed; who holds a dossier may change more often than that ([`State::generation`]).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use lgsp_proto::types::DossierCode;
use tokio::time::Instant;

use super::policy::Policy;
use super::{Line, StreamId, WINDOW};
use crate::store::{InboxPosition, Installation, Waiting};

#[derive(Debug, Default)]
pub(super) struct State {
    /// Loaded deliveries of each dossier, in order; the first may be under way.
    pub(super) queues: HashMap<DossierCode, VecDeque<Queued>>,
    /// The first delivery of every dossier that anybody may have, as far as is known.
    ready: BTreeMap<InboxPosition, DossierCode>,
    /// Dossiers of which an installation holds an earlier delivery: only its streams get the next ones. Not counted as
    /// loaded, so that they never fill the window for everybody else; there are no more of them than installations hold.
    aside: HashMap<DossierCode, Installation>,
    /// The first delivery of each of these, by installation.
    held: HashMap<Installation, BTreeMap<InboxPosition, DossierCode>>,
    /// Dossiers whose first delivery is under way, being written about, or resting.
    pub(super) busy: HashMap<DossierCode, Busy>,
    /// Dossiers whose first delivery has failed before.
    failing: HashMap<DossierCode, Failing>,
    loaded: usize,
    pub(super) loaded_to: Option<InboxPosition>,
    /// Whether the store may hold more after `loaded_to`.
    pub(super) more: bool,
    /// What was acknowledged since the store began to be read, while it is.
    settled_meanwhile: Option<HashSet<(DossierCode, u32)>>,
    generation: u64,
    /// How often something older may have come back.
    comebacks: u64,
    /// Of how many records that is being written just now.
    coming_back: usize,
    /// Dossiers of which it is being written, on a stream that does not have them leased, that the agency has something; and
    /// how often.
    handing_over: HashMap<DossierCode, usize>,
    /// How many say so, or are about to.
    pub(super) handers_over: usize,
    pub(super) listeners: Vec<(StreamId, Arc<Line>)>,
}

/// From where on the store is read, and what was known then.
#[derive(Debug)]
pub(super) struct ReadFrom {
    pub(super) after: Option<InboxPosition>,
    comebacks: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) position: InboxPosition,
    pub(super) sequence: u32,
    /// How often it was handed to a stream.
    pub(super) attempts: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Busy {
    pub(super) hold: Hold,
    until: Instant,
}

/// Why nobody else gets a delivery now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hold {
    /// It is under way on this stream.
    Leased(StreamId),
    /// This stream has acknowledged it, and that is being written: whatever becomes of the stream, no other one may take it
    /// over as well.
    Settling(StreamId),
    /// It is being written that the dossier is parked, or that deliveries of it come back.
    Deciding,
    /// It was declined, or its lease expired, and it rests.
    Resting,
}

impl Hold {
    /// The stream whose credit it uses up.
    fn stream(self) -> Option<StreamId> {
        match self {
            Self::Leased(stream) | Self::Settling(stream) => Some(stream),
            Self::Deciding | Self::Resting => None,
        }
    }

    /// Whether it ends when something has been written, and not by itself.
    fn is_writing(self) -> bool {
        matches!(self, Self::Settling(_) | Self::Deciding)
    }
}

/// How often a delivery has failed. Kept in memory only: after a restart it is tried as often again.
#[derive(Clone, Copy, Debug)]
struct Failing {
    sequence: u32,
    failures: u32,
    until: Instant,
}

/// A delivery that has failed too often, or for good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Hopeless {
    pub(super) code: DossierCode,
    pub(super) sequence: u32,
    pub(super) failures: u32,
    /// The stream that had it last.
    pub(super) stream: StreamId,
}

/// What a look at the clock brought.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Swept {
    /// How many leases expired.
    pub(super) expired: usize,
    /// Those of them whose dossier is to be parked; nobody gets them meanwhile.
    pub(super) hopeless: Vec<Hopeless>,
}

impl State {
    /// Nothing known yet, so the store may hold something.
    pub(super) fn new() -> Self {
        Self { more: true, ..Self::default() }
    }

    pub(super) fn wants_more(&self) -> bool {
        self.more && self.loaded < WINDOW
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Changes whenever something older may have come back. Whoever read about a dossier before that does not hand it out, nor
    /// forget it.
    pub(super) fn comebacks(&self) -> u64 {
        self.comebacks
    }

    pub(super) fn wake(&self) {
        for (_, line) in &self.listeners {
            line.wake.notify_one();
        }
    }

    /// Whether nothing needs to stay in memory but how often something failed: nobody listens, nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        let is_written_about = self.busy.values().any(|busy| busy.hold.is_writing());
        let is_idle = self.listeners.is_empty() && !is_written_about;
        is_idle && self.handers_over == 0 && self.coming_back == 0
    }

    pub(super) fn remembers_failures(&self) -> bool {
        !self.failing.is_empty()
    }

    /// Begins to read from the store what comes after what is loaded. What arrives while it is read is asked for again.
    pub(super) fn begin_refill(&mut self) -> ReadFrom {
        self.more = false;
        self.settled_meanwhile = Some(HashSet::new());
        ReadFrom { after: self.loaded_to, comebacks: self.comebacks }
    }

    /// Takes in what was read, as far as it is still owed. All of it is read again when something older may have come back.
    pub(super) fn end_refill(&mut self, from: ReadFrom, waiting: Vec<Waiting>) {
        let settled = self.settled_meanwhile.take().unwrap_or_default();
        if from.comebacks != self.comebacks {
            self.more = true;
            return;
        }
        self.more |= waiting.len() == WINDOW;
        for delivery in waiting {
            let is_settled = !settled.is_empty() && settled.contains(&(delivery.code.clone(), delivery.sequence));
            if !is_settled {
                self.load(delivery);
            }
        }
    }

    /// Nothing came of reading.
    pub(super) fn give_up_refill(&mut self) {
        self.settled_meanwhile = None;
        self.more = true;
    }

    /// Takes in what was read from the store.
    pub(super) fn load(&mut self, delivery: Waiting) {
        let Waiting { position, code, sequence } = delivery;
        self.loaded_to = self.loaded_to.max(Some(position));
        let is_aside = self.aside.contains_key(&code);
        let queue = self.queues.entry(code.clone()).or_default();
        let place = queue.partition_point(|queued| queued.position < position);
        if queue.get(place).is_some_and(|queued| queued.position == position) {
            return;
        }
        let before = queue.front().map(|first| first.position);
        queue.insert(place, Queued { position, sequence, attempts: 0 });
        self.loaded += usize::from(!is_aside);
        if place > 0 || is_aside {
            return;
        }
        if let Some(before) = before {
            self.ready.remove(&before);
        }
        self.make_ready(&code);
    }

    /// Leases the oldest delivery that a stream of `owner` may have: its dossier has none under way, and nobody else holds an
    /// earlier one as far as is known. None while older ones are on their way back.
    pub(super) fn lease(
        &mut self,
        stream: StreamId,
        owner: &Installation,
        until: Instant,
    ) -> Option<(DossierCode, Queued)> {
        if self.coming_back > 0 {
            return None;
        }
        let free = self.ready.first_key_value();
        let held = self.held.get(owner).and_then(BTreeMap::first_key_value);
        let code = match (free, held) {
            (Some(free), Some(held)) => free.min(held).1.clone(),
            (one, other) => one.or(other)?.1.clone(),
        };
        self.take_back(&code);
        let first = self.queues.get_mut(&code).and_then(VecDeque::front_mut).expect("a ready dossier has a delivery");
        first.attempts += 1;
        let first = *first;
        self.ready.remove(&first.position);
        self.busy.insert(code.clone(), Busy { hold: Hold::Leased(stream), until });
        Some((code, first))
    }

    /// Keeps a dossier whose delivery `stream` has leased for the streams of `holder`, who holds an earlier one; unless what
    /// said so is not of this `generation` any more. It was not handed out, so it does not count as tried.
    pub(super) fn put_aside(
        &mut self,
        stream: StreamId,
        (code, sequence): (&DossierCode, u32),
        holder: Installation,
        generation: u64,
    ) {
        if !self.is_held(Hold::Leased(stream), code, sequence) {
            return;
        }
        if let Some(first) = self.queues.get_mut(code).and_then(VecDeque::front_mut) {
            first.attempts = first.attempts.saturating_sub(1);
        }
        self.release(code);
        if generation != self.generation {
            return;
        }
        let Some(first) = self.first(code) else { return };
        self.ready.remove(&first.position);
        self.loaded -= self.queues.get(code).map_or(0, VecDeque::len);
        self.held.entry(holder.clone()).or_default().insert(first.position, code.clone());
        self.aside.insert(code.clone(), holder);
    }

    /// Lets everybody have a dossier again that was put aside: its holder may not hold anything of it any more.
    pub(super) fn look_again(&mut self, code: &DossierCode) {
        self.generation += 1;
        if self.take_back(code) {
            self.make_ready(code);
        }
    }

    fn take_back(&mut self, code: &DossierCode) -> bool {
        let Some(holder) = self.aside.remove(code) else { return false };
        let Some(queue) = self.queues.get(code) else { return false };
        self.loaded += queue.len();
        if let (Some(first), Some(held)) = (queue.front(), self.held.get_mut(&holder)) {
            held.remove(&first.position);
            if held.is_empty() {
                self.held.remove(&holder);
            }
        }
        true
    }

    pub(super) fn is_held(&self, hold: Hold, code: &DossierCode, sequence: u32) -> bool {
        self.busy.get(code).is_some_and(|busy| busy.hold == hold)
            && self.first(code).is_some_and(|first| first.sequence == sequence)
    }

    /// Whether it is being written who has its first delivery, or what becomes of it.
    pub(super) fn is_being_written(&self, code: &DossierCode) -> bool {
        self.busy.get(code).is_some_and(|busy| busy.hold.is_writing())
    }

    /// Keeps what `stream` has leased from everybody else while its acknowledgement is written; whether it had it leased.
    pub(super) fn begin_settling(&mut self, stream: StreamId, code: &DossierCode, sequence: u32) -> bool {
        let is_leased = self.is_held(Hold::Leased(stream), code, sequence);
        if is_leased && let Some(busy) = self.busy.get_mut(code) {
            busy.hold = Hold::Settling(stream);
        }
        is_leased
    }

    /// Notes that it is written of these that the agency has something of them; false, and nothing noted, while something else is
    /// decided about one of them. So neither the one nor the other is written on a state that is about to change.
    pub(super) fn begin_handing_over(&mut self, codes: &[DossierCode]) -> bool {
        let is_decided = |code| self.busy.get(code).is_some_and(|busy| busy.hold == Hold::Deciding);
        if codes.iter().any(is_decided) {
            return false;
        }
        for code in codes {
            *self.handing_over.entry(code.clone()).or_default() += 1;
        }
        true
    }

    /// Ends what [`State::begin_handing_over`] began.
    pub(super) fn end_handing_over(&mut self, codes: &[DossierCode]) {
        for code in codes {
            if let Some(times) = self.handing_over.get_mut(code) {
                *times -= 1;
                if *times == 0 {
                    self.handing_over.remove(code);
                }
            }
        }
    }

    /// Nothing is leased until [`State::came_back`]: what is on its way to the disk makes older deliveries flow again, and those
    /// that come after them are there a moment sooner.
    pub(super) fn begin_coming_back(&mut self) {
        self.coming_back += 1;
        self.comebacks += 1;
    }

    /// Ends what [`State::begin_coming_back`] began; all that is owed is read again.
    pub(super) fn came_back(&mut self) {
        self.coming_back -= 1;
        self.reload();
    }

    /// Keeps a dossier from everybody while it is written what becomes of it; false when something else is being written about
    /// it just now. A lease of one of its deliveries ends.
    pub(super) fn begin_deciding(&mut self, code: &DossierCode, now: Instant) -> bool {
        let is_written_about = self.busy.get(code).is_some_and(|busy| busy.hold.is_writing());
        if is_written_about || self.handing_over.contains_key(code) {
            return false;
        }
        self.free(code);
        self.take_back(code);
        if let Some(first) = self.first(code) {
            self.ready.remove(&first.position);
        }
        self.busy.insert(code.clone(), Busy { hold: Hold::Deciding, until: now });
        true
    }

    /// Lets a delivery of `stream` rest until then, without a mark against it.
    pub(super) fn rest(&mut self, stream: StreamId, code: &DossierCode, sequence: u32, until: Instant) {
        if self.is_held(Hold::Leased(stream), code, sequence) {
            self.free(code);
            self.busy.insert(code.clone(), Busy { hold: Hold::Resting, until });
        }
    }

    /// Counts a failure of a dossier's delivery, and how long it rests for it; how often it has failed now.
    pub(super) fn count_failure(
        &mut self,
        code: &DossierCode,
        sequence: u32,
        policy: &Policy,
        (now, jitter): (Instant, f64),
    ) -> u32 {
        let before = self.failing.get(code).filter(|failing| failing.sequence == sequence);
        let failures = before.map_or(0, |failing| failing.failures).saturating_add(1);
        let until = now + policy.rest(failures, jitter);
        self.failing.insert(code.clone(), Failing { sequence, failures, until });
        failures
    }

    /// Lets a delivery rest that has failed, as long as its failures say.
    pub(super) fn rest_failed(&mut self, code: &DossierCode) {
        self.free(code);
        self.make_ready(code);
    }

    /// Ends whatever keeps a dossier's first delivery from everybody else, and gives the credit back that it used up.
    ///
    /// What is being decided about the dossier goes on.
    fn free(&mut self, code: &DossierCode) {
        if self.busy.get(code).is_some_and(|busy| busy.hold == Hold::Deciding) {
            return;
        }
        let Some(stream) = self.busy.remove(code).and_then(|busy| busy.hold.stream()) else { return };
        if let Some((_, line)) = self.listeners.iter().find(|(listener, _)| *listener == stream) {
            line.allow(1);
        }
    }

    fn first(&self, code: &DossierCode) -> Option<Queued> {
        self.queues.get(code).and_then(VecDeque::front).copied()
    }

    /// Gives a dossier's first delivery back: it is owed again, at its old place.
    pub(super) fn release(&mut self, code: &DossierCode) {
        self.free(code);
        if let Some(first) = self.first(code).filter(|_| !self.busy.contains_key(code)) {
            self.ready.insert(first.position, code.clone());
        }
    }

    /// Ends what [`State::begin_deciding`] began; the dossier's first delivery may flow as far as it is known here.
    pub(super) fn decided(&mut self, code: &DossierCode) {
        if self.busy.get(code).is_some_and(|busy| busy.hold == Hold::Deciding) {
            self.busy.remove(code);
            self.make_ready(code);
        }
    }

    /// Offers a dossier's first delivery, unless something holds it; one that has failed rests first.
    fn make_ready(&mut self, code: &DossierCode) {
        let Some(first) = self.first(code) else { return };
        if self.busy.contains_key(code) {
            return;
        }
        match self.failing.get(code) {
            Some(failing) if failing.sequence == first.sequence => {
                let busy = Busy { hold: Hold::Resting, until: failing.until };
                self.busy.insert(code.clone(), busy);
            }
            _ => {
                self.ready.insert(first.position, code.clone());
            }
        }
    }

    /// Forgets a delivery that is no longer owed, and makes the dossier's next one ready.
    pub(super) fn settle(&mut self, code: &DossierCode, sequence: u32) {
        if let Some(settled) = &mut self.settled_meanwhile {
            settled.insert((code.clone(), sequence));
        }
        if self.failing.get(code).is_some_and(|failing| failing.sequence == sequence) {
            self.failing.remove(code);
        }
        let Some(queue) = self.queues.get_mut(code) else { return };
        let Some(place) = queue.iter().position(|queued| queued.sequence == sequence) else { return };
        let settled = queue.remove(place).expect("it was found there");
        let is_empty = queue.is_empty();
        self.loaded -= usize::from(!self.aside.contains_key(code));
        if place == 0 {
            self.ready.remove(&settled.position);
            self.release(code);
        }
        if is_empty {
            self.queues.remove(code);
        }
    }

    /// Forgets all deliveries of a dossier: they do not flow any more.
    pub(super) fn forget(&mut self, code: &DossierCode) {
        self.generation += 1;
        self.take_back(code);
        self.free(code);
        self.failing.remove(code);
        if let Some(queue) = self.queues.remove(code) {
            self.loaded -= queue.len();
            if let Some(first) = queue.front() {
                self.ready.remove(&first.position);
            }
        }
    }

    /// Forgets all that is not under way, so that what is owed is read again from the oldest on: something older has come back.
    pub(super) fn reload(&mut self) {
        self.generation += 1;
        self.comebacks += 1;
        self.ready.clear();
        self.aside.clear();
        self.held.clear();
        self.busy.retain(|_, busy| busy.hold != Hold::Resting);
        let busy = &self.busy;
        self.queues.retain(|code, queue| {
            queue.truncate(1);
            busy.contains_key(code)
        });
        self.loaded = self.queues.len();
        (self.loaded_to, self.more) = (None, true);
    }

    /// Ends what was leased or rested too long. An expired lease is a failure like any other.
    pub(super) fn sweep(&mut self, policy: &Policy, now: Instant, jitter: f64) -> Swept {
        let over = self.ending().filter(|(_, busy)| busy.until <= now);
        let over: Vec<(DossierCode, Hold)> = over.map(|(code, busy)| (code.clone(), busy.hold)).collect();
        let mut swept = Swept::default();
        for (code, hold) in over {
            let (Hold::Leased(stream), Some(first)) = (hold, self.first(&code)) else {
                self.release(&code);
                continue;
            };
            swept.expired += 1;
            let failures = self.count_failure(&code, first.sequence, policy, (now, jitter));
            if failures >= policy.attempts && self.begin_deciding(&code, now) {
                swept.hopeless.push(Hopeless { code, sequence: first.sequence, failures, stream });
            } else {
                self.rest_failed(&code);
            }
        }
        swept
    }

    pub(super) fn next_sweep(&self) -> Option<Instant> {
        self.ending().map(|(_, busy)| busy.until).min()
    }

    /// What ends by itself; what is being written ends when it is.
    fn ending(&self) -> impl Iterator<Item = (&DossierCode, &Busy)> {
        self.busy.iter().filter(|(_, busy)| !busy.hold.is_writing())
    }
}
