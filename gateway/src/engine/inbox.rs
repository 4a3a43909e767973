//! Delivery: the duty to hand one event to one party, until that party acknowledges it.
//!
//! A party's connections share its inbox. One dossier's deliveries go one after the other, different dossiers side by
//! side; what is under way is *leased* to one stream until it is acknowledged, declined, the lease expires or the stream
//! ends. Leases are not recorded: after a restart everything unacknowledged is simply owed again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lgsp_domain::dossier::Dossier;
use lgsp_proto::types::{DossierCode, PartyId};
use lgsp_proto::{Reason, Refusal};
use tokio::sync::{Notify, futures::Notified};
use tokio::time::Instant;

use super::access::Peer;
use super::clock::machine_now;
use super::{Engine, commit_failed, read_failed};
use crate::store::{Acknowledgement, Backlog, Bodies, Commit, InboxPosition, Recorded, Stage, Waiting};

/// How many deliveries of one party are kept in memory; the rest waits in the store. Bounds what a party that does not
/// fetch can cost.
const WINDOW: usize = 2048;

/// The inboxes of the parties that somebody listens for.
#[derive(Debug)]
pub struct Inboxes {
    parties: Mutex<HashMap<PartyId, Arc<Inbox>>>,
    streams: AtomicU64,
    lease: Duration,
    decline_pause: Duration,
}

/// Names a stream within this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct StreamId(u64);

/// One party's inbox.
#[derive(Debug)]
struct Inbox {
    party: PartyId,
    state: Mutex<State>,
    /// Held while deliveries are read from the store, so that two streams do not read the same ones.
    refill: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Loaded deliveries of each dossier, in order; the first may be under way.
    queues: HashMap<DossierCode, VecDeque<Queued>>,
    /// The first delivery of every dossier that has none under way.
    ready: BTreeMap<InboxPosition, DossierCode>,
    /// Dossiers whose first delivery is under way or held back.
    busy: HashMap<DossierCode, Busy>,
    loaded: usize,
    loaded_to: Option<InboxPosition>,
    /// Whether the store may hold more after `loaded_to`.
    more: bool,
    listeners: Vec<(StreamId, Arc<Notify>)>,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    position: InboxPosition,
    sequence: u32,
    /// How often it was handed to a stream.
    attempts: u32,
}

#[derive(Clone, Copy, Debug)]
struct Busy {
    /// `None` while it is held back after having been declined.
    holder: Option<StreamId>,
    until: Instant,
}

/// A delivery handed to a stream.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For whom.
    pub party: PartyId,
    /// The event, with its body.
    pub recorded: Recorded,
    /// How the dossier stands now.
    pub dossier: Arc<Dossier>,
    /// 1 for the first time.
    pub attempt: u32,
}

/// Names one delivery to one party.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryName {
    /// The party.
    pub party: PartyId,
    /// The dossier.
    pub code: DossierCode,
    /// The event.
    pub sequence: u32,
}

impl Inboxes {
    /// No inboxes yet. `lease`: how long a delivery may be under way; `decline_pause`: how long a declined one rests.
    pub fn new(lease: Duration, decline_pause: Duration) -> Self {
        Self { parties: Mutex::default(), streams: AtomicU64::new(0), lease, decline_pause }
    }

    /// Tells the listeners of `recipients` that something new is durable.
    pub fn arrived(&self, recipients: &[PartyId]) {
        let parties = lock(&self.parties);
        for party in recipients {
            if let Some(inbox) = parties.get(party) {
                let mut state = lock(&inbox.state);
                state.more = true;
                state.wake();
            }
        }
    }

    /// How many streams are open for `party`.
    pub fn streams_of(&self, party: &PartyId) -> usize {
        lock(&self.parties).get(party).map_or(0, |inbox| lock(&inbox.state).listeners.len())
    }

    fn listen(&self, party: &PartyId, stream: StreamId, wake: &Arc<Notify>) -> Arc<Inbox> {
        let mut parties = lock(&self.parties);
        let inbox = parties.entry(party.clone()).or_insert_with(|| Arc::new(Inbox::new(party.clone())));
        lock(&inbox.state).listeners.push((stream, Arc::clone(wake)));
        Arc::clone(inbox)
    }

    fn leave(&self, inbox: &Inbox, stream: StreamId) {
        let mut parties = lock(&self.parties);
        let mut state = lock(&inbox.state);
        state.listeners.retain(|(listener, _)| *listener != stream);
        let leased = state.busy.iter().filter(|(_, busy)| busy.holder == Some(stream));
        let leased: Vec<DossierCode> = leased.map(|(code, _)| code.clone()).collect();
        for code in &leased {
            state.release(code);
        }
        state.wake();
        if state.listeners.is_empty() {
            // Nobody listens: everything is in the store, nothing needs to stay in memory.
            parties.remove(&inbox.party);
        }
    }
}

impl Inbox {
    fn new(party: PartyId) -> Self {
        Self {
            party,
            state: Mutex::new(State { more: true, ..State::default() }),
            refill: tokio::sync::Mutex::default(),
        }
    }

    /// Reads more deliveries from the store when few are left in memory.
    async fn refill(&self, engine: &Engine) -> Result<(), Refusal> {
        if !lock(&self.state).wants_more() {
            return Ok(());
        }
        let _one_at_a_time = self.refill.lock().await;
        let after = {
            let mut state = lock(&self.state);
            if !state.wants_more() {
                return Ok(());
            }
            // Cleared before reading: what arrives while we read sets it again.
            state.more = false;
            state.loaded_to
        };
        let read = engine.inner.store.waiting(&self.party, after, WINDOW).await;
        let mut state = lock(&self.state);
        let waiting = read.map_err(|error| {
            state.more = true;
            read_failed(error)
        })?;
        state.more |= waiting.len() == WINDOW;
        for delivery in waiting {
            state.load(delivery);
        }
        Ok(())
    }
}

impl State {
    fn wants_more(&self) -> bool {
        self.more && self.loaded < WINDOW
    }

    fn wake(&self) {
        for (_, wake) in &self.listeners {
            wake.notify_one();
        }
    }

    fn load(&mut self, delivery: Waiting) {
        self.loaded_to = self.loaded_to.max(Some(delivery.position));
        self.loaded += 1;
        let Waiting { position, code, sequence } = delivery;
        let queue = self.queues.entry(code.clone()).or_default();
        queue.push_back(Queued { position, sequence, attempts: 0 });
        if queue.len() == 1 {
            self.ready.insert(position, code);
        }
    }

    /// Leases the oldest delivery whose dossier has none under way.
    fn lease(&mut self, stream: StreamId, until: Instant) -> Option<(DossierCode, Queued)> {
        let (_, code) = self.ready.pop_first()?;
        let first = self.queues.get_mut(&code).and_then(VecDeque::front_mut).expect("a ready dossier has a delivery");
        first.attempts += 1;
        let first = *first;
        self.busy.insert(code.clone(), Busy { holder: Some(stream), until });
        Some((code, first))
    }

    fn is_leased_to(&self, stream: StreamId, code: &DossierCode, sequence: u32) -> bool {
        self.busy.get(code).is_some_and(|busy| busy.holder == Some(stream))
            && self.first(code).is_some_and(|first| first.sequence == sequence)
    }

    fn first(&self, code: &DossierCode) -> Option<Queued> {
        self.queues.get(code).and_then(VecDeque::front).copied()
    }

    /// Gives a dossier's first delivery back: it is owed again, at its old place.
    fn release(&mut self, code: &DossierCode) {
        self.busy.remove(code);
        if let Some(first) = self.first(code) {
            self.ready.insert(first.position, code.clone());
        }
    }

    /// Forgets a delivery that is no longer owed, and makes the dossier's next one ready.
    fn settle(&mut self, code: &DossierCode, sequence: u32) {
        let Some(queue) = self.queues.get_mut(code) else { return };
        let Some(place) = queue.iter().position(|queued| queued.sequence == sequence) else { return };
        let settled = queue.remove(place).expect("it was found there");
        self.loaded -= 1;
        if place == 0 {
            self.ready.remove(&settled.position);
            self.busy.remove(code);
            if let Some(next) = queue.front() {
                self.ready.insert(next.position, code.clone());
            }
        }
        if queue.is_empty() {
            self.queues.remove(code);
        }
    }

    /// Gives back what was leased or held too long; returns whose leases expired.
    fn sweep(&mut self, now: Instant) -> Vec<StreamId> {
        let over = self.busy.iter().filter(|(_, busy)| busy.until <= now);
        let over: Vec<(DossierCode, Option<StreamId>)> = over.map(|(code, busy)| (code.clone(), busy.holder)).collect();
        for (code, _) in &over {
            self.release(code);
        }
        over.into_iter().filter_map(|(_, holder)| holder).collect()
    }

    fn next_sweep(&self) -> Option<Instant> {
        self.busy.values().map(|busy| busy.until).min()
    }
}

/// One open stream of one system, for one or more parties. Dropping it gives back what it holds.
pub struct Session {
    engine: Engine,
    system: String,
    stream: StreamId,
    inboxes: Vec<Arc<Inbox>>,
    wake: Arc<Notify>,
    credit: Mutex<u32>,
    /// Whose turn it is among the parties, so that a busy one does not starve the others.
    turn: AtomicU64,
}

impl Engine {
    /// Opens the inboxes of `parties` for `peer`, with credit for that many deliveries under way.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], for the first party that is at fault.
    pub fn open_inbox(&self, peer: &Peer, parties: &[PartyId], credit: u32) -> Result<Session, Refusal> {
        for party in parties {
            let _ = self.authorize(peer, party)?;
        }
        let inboxes = &self.inner.inboxes;
        let stream = StreamId(inboxes.streams.fetch_add(1, Ordering::Relaxed));
        let wake = Arc::new(Notify::new());
        Ok(Session {
            inboxes: parties.iter().map(|party| inboxes.listen(party, stream, &wake)).collect(),
            engine: self.clone(),
            system: peer.system().to_owned(),
            stream,
            wake,
            credit: Mutex::new(credit),
            turn: AtomicU64::new(0),
        })
    }

    /// What waits for `party`.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; operators may ask for every party.
    pub async fn backlog(&self, peer: &Peer, asking: &PartyId, party: &PartyId) -> Result<(Backlog, usize), Refusal> {
        let authorized = self.authorize(peer, asking)?;
        if party != authorized.party() && !authorized.oversees() {
            let _ = self.authorize(peer, party)?;
        }
        let backlog = self.inner.store.backlog(party).await.map_err(read_failed)?;
        Ok((backlog, self.inner.inboxes.streams_of(party)))
    }
}

impl Session {
    /// The parties served.
    pub fn parties(&self) -> impl Iterator<Item = &PartyId> {
        self.inboxes.iter().map(|inbox| &inbox.party)
    }

    /// Waits for the next delivery, and for credit to send it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `INTERNAL` when the store cannot be read.
    pub async fn next(&self) -> Result<Delivery, Refusal> {
        loop {
            let woken = self.wake.notified();
            if let Some(delivery) = self.try_next().await? {
                return Ok(delivery);
            }
            self.rest(woken).await;
        }
    }

    async fn try_next(&self) -> Result<Option<Delivery>, Refusal> {
        self.sweep();
        if *lock(&self.credit) == 0 {
            return Ok(None);
        }
        let turn = usize::try_from(self.turn.fetch_add(1, Ordering::Relaxed) % self.inboxes.len().max(1) as u64);
        let turn = turn.expect("smaller than the number of inboxes");
        for inbox in self.inboxes.iter().cycle().skip(turn).take(self.inboxes.len()) {
            inbox.refill(&self.engine).await?;
            let until = Instant::now() + self.engine.inner.inboxes.lease;
            let Some((code, queued)) = lock(&inbox.state).lease(self.stream, until) else { continue };
            // Counted before reading, so that the lease and its credit are always one.
            *lock(&self.credit) -= 1;
            let lease = Leased { session: self, inbox, code: &code, kept: false };
            let delivery = self.read(&inbox.party, &code, queued).await?;
            lease.keep();
            return Ok(Some(delivery));
        }
        Ok(None)
    }

    async fn read(&self, party: &PartyId, code: &DossierCode, queued: Queued) -> Result<Delivery, Refusal> {
        let store = &self.engine.inner.store;
        let recorded = store.event(code, queued.sequence, Bodies::With).await.map_err(read_failed)?;
        let dossier = store.dossier(code).await.map_err(read_failed)?;
        let (Some(recorded), Some(dossier)) = (recorded, dossier) else {
            tracing::error!(dossier.code = %code, sequence = queued.sequence, "a delivery names an event that is not there");
            return Err(Refusal::new(Reason::Internal));
        };
        Ok(Delivery { party: party.clone(), recorded, dossier, attempt: queued.attempts })
    }

    /// Until woken, or until the next lease expires.
    async fn rest(&self, woken: Notified<'_>) {
        let next_sweep = self.inboxes.iter().filter_map(|inbox| lock(&inbox.state).next_sweep()).min();
        match next_sweep {
            Some(at) => tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(at) => {}
            },
            None => woken.await,
        }
    }

    fn sweep(&self) {
        let now = Instant::now();
        for inbox in &self.inboxes {
            let mut state = lock(&inbox.state);
            let expired = state.sweep(now);
            if expired.is_empty() {
                continue;
            }
            tracing::warn!(party.id = %inbox.party, count = expired.len(), "leases expired");
            state.wake();
            drop(state);
            let own = expired.iter().filter(|stream| **stream == self.stream).count();
            *lock(&self.credit) += u32::try_from(own).expect("no more than the credit given");
        }
    }

    /// Records acknowledgements; those that this stream does not hold are left out of what is returned.
    ///
    /// # Errors
    /// Those of a commit; then nothing was acknowledged, or a repeat will tell.
    pub async fn acknowledge(&self, stage: Stage, names: Vec<DeliveryName>) -> Result<Vec<DeliveryName>, Refusal> {
        let mut acknowledged = Vec::with_capacity(names.len());
        for inbox in &self.inboxes {
            let of_party = names.iter().filter(|name| name.party == inbox.party);
            // Taking over needs the lease: a stale one must not take what another stream has by now. Handing over does
            // not, it may come over a later stream.
            let held = |name: &&DeliveryName| {
                stage == Stage::HandedOver || lock(&inbox.state).is_leased_to(self.stream, &name.code, name.sequence)
            };
            let accepted: Vec<DeliveryName> = of_party.filter(held).cloned().collect();
            if accepted.is_empty() {
                continue;
            }
            let acknowledgement = Acknowledgement {
                party: inbox.party.clone(),
                stage,
                deliveries: accepted.iter().map(|name| (name.code.clone(), name.sequence)).collect(),
                system: self.system.clone(),
                at: machine_now(),
            };
            let committed = self.engine.inner.store.commit(Commit::Acknowledgement(acknowledgement)).await;
            committed.map_err(|error| commit_failed(&error))?;
            let mut state = lock(&inbox.state);
            for name in &accepted {
                if state.is_leased_to(self.stream, &name.code, name.sequence) {
                    *lock(&self.credit) += 1;
                }
                state.settle(&name.code, name.sequence);
            }
            state.wake();
            drop(state);
            acknowledged.extend(accepted);
        }
        Ok(acknowledged)
    }

    /// Holds back deliveries the receiver cannot take now; they come again after a pause.
    pub fn decline(&self, names: &[DeliveryName]) {
        let until = Instant::now() + self.engine.inner.inboxes.decline_pause;
        for inbox in &self.inboxes {
            let mut state = lock(&inbox.state);
            for name in names.iter().filter(|name| name.party == inbox.party) {
                if state.is_leased_to(self.stream, &name.code, name.sequence) {
                    state.busy.insert(name.code.clone(), Busy { holder: None, until });
                    *lock(&self.credit) += 1;
                }
            }
        }
        self.wake.notify_one();
    }

    /// Allows that many more deliveries under way.
    pub fn add_credit(&self, more: u32) {
        let mut credit = lock(&self.credit);
        *credit = credit.saturating_add(more);
        drop(credit);
        self.wake.notify_one();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for inbox in &self.inboxes {
            self.engine.inner.inboxes.leave(inbox, self.stream);
        }
    }
}

/// A lease whose delivery has not been handed out yet; gives itself back unless it is kept.
struct Leased<'a> {
    session: &'a Session,
    inbox: &'a Inbox,
    code: &'a DossierCode,
    kept: bool,
}

impl Leased<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        if !self.kept {
            lock(&self.inbox.state).release(self.code);
            *lock(&self.session.credit) += 1;
        }
    }
}

/// These locks only guard memory that is consistent between any two statements, and no holder panics by design; one
/// that does must not take the whole bus with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: StreamId = StreamId(1);
    const OTHER: StreamId = StreamId(2);

    fn code(number: u32) -> DossierCode {
        format!("H57.101-250714-{number:04}").parse().unwrap()
    }

    fn state(deliveries: &[(u64, u32, u32)]) -> State {
        let mut state = State::default();
        for (position, dossier, sequence) in deliveries {
            state.load(Waiting { position: InboxPosition(*position), code: code(*dossier), sequence: *sequence });
        }
        state
    }

    fn leased(state: &mut State, stream: StreamId) -> Option<(DossierCode, u32)> {
        let until = Instant::now() + Duration::from_secs(60);
        state.lease(stream, until).map(|(code, queued)| (code, queued.sequence))
    }

    #[tokio::test]
    async fn a_dossiers_next_delivery_waits_for_the_one_before() {
        let mut state = state(&[(1, 1, 1), (2, 1, 2), (3, 2, 1)]);
        assert_eq!(leased(&mut state, ME), Some((code(1), 1)));
        assert_eq!(leased(&mut state, ME), Some((code(2), 1)));
        assert_eq!(leased(&mut state, ME), None);
        state.settle(&code(1), 1);
        assert_eq!(leased(&mut state, ME), Some((code(1), 2)));
    }

    #[tokio::test]
    async fn a_stale_lease_cannot_acknowledge() {
        let mut state = state(&[(1, 1, 1)]);
        let _ = leased(&mut state, ME);
        let later = Instant::now() + Duration::from_secs(120);
        assert_eq!(state.sweep(later), vec![ME]);
        assert_eq!(leased(&mut state, OTHER), Some((code(1), 1)));
        assert!(!state.is_leased_to(ME, &code(1), 1));
        assert!(state.is_leased_to(OTHER, &code(1), 1));
    }

    #[tokio::test]
    async fn what_is_given_back_keeps_its_place_and_counts_its_attempts() {
        let mut state = state(&[(1, 1, 1), (2, 2, 1)]);
        let _ = leased(&mut state, ME);
        state.release(&code(1));
        let until = Instant::now() + Duration::from_secs(60);
        let (again, queued) = state.lease(ME, until).unwrap();
        assert_eq!((again, queued.attempts), (code(1), 2));
    }
}
