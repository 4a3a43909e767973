//! Delivery: the duty to hand one event to one party, until that party acknowledges it.
//!
//! A party's connections share its inbox. One dossier's deliveries go one after the other, different dossiers side by
//! side; what is under way is *leased* to one stream until it is acknowledged, declined, the lease expires or the stream
//! ends. Leases are not recorded: after a restart everything unacknowledged is simply owed again.
//!
//! Whoever gives a lease back, the stream that held it gets its credit back: a stream is owed as many deliveries as it has
//! allowed, whatever the party's other streams do.

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
use crate::store::{Acknowledgement, Backlog, Bodies, Commit, CommitError, InboxPosition, Recorded, Stage, Waiting};

/// How many deliveries of one party are kept in memory; the rest waits in the store. Bounds what a party that does not
/// fetch can cost.
const WINDOW: usize = 2048;

/// How many streams one party may have open: a few for every machine of a large agency. Each is woken for every delivery,
/// so a system that opens streams without end would cost the others their time.
const STREAMS_MAX: usize = 64;

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

/// What a stream and the inboxes it listens to know of one another.
#[derive(Debug, Default)]
struct Line {
    wake: Notify,
    /// How many more deliveries may be under way.
    credit: Mutex<u32>,
}

impl Line {
    fn allow(&self, more: u32) {
        let mut credit = lock(&self.credit);
        *credit = credit.saturating_add(more);
        drop(credit);
        self.wake.notify_one();
    }
}

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
    /// Dossiers whose first delivery is under way, acknowledged or held back.
    busy: HashMap<DossierCode, Busy>,
    loaded: usize,
    loaded_to: Option<InboxPosition>,
    /// Whether the store may hold more after `loaded_to`.
    more: bool,
    listeners: Vec<(StreamId, Arc<Line>)>,
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
    hold: Hold,
    until: Instant,
}

/// Why nobody else gets a delivery now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hold {
    /// It is under way on this stream.
    Leased(StreamId),
    /// This stream has acknowledged it, and that is being written: whatever becomes of the stream, no other one may take it
    /// over as well.
    Settling(StreamId),
    /// It was declined, and rests.
    Declined,
}

impl Hold {
    /// The stream whose credit it uses up.
    fn stream(self) -> Option<StreamId> {
        match self {
            Self::Leased(stream) | Self::Settling(stream) => Some(stream),
            Self::Declined => None,
        }
    }
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

    /// Has a stream listen for all of `parties`, or for none when one of them has too many already.
    fn listen(&self, wanted: &[PartyId], stream: StreamId, line: &Arc<Line>) -> Result<Vec<Arc<Inbox>>, Refusal> {
        let mut parties = lock(&self.parties);
        let open = |party| parties.get(party).map_or(0, |inbox: &Arc<Inbox>| lock(&inbox.state).listeners.len());
        if let Some(full) = wanted.iter().find(|party| open(party) >= STREAMS_MAX) {
            return Err(Refusal::new(Reason::Overloaded).detail("party", full).detail("streams_max", STREAMS_MAX));
        }
        let listening = wanted.iter().map(|party| {
            let inbox = parties.entry(party.clone()).or_insert_with(|| Arc::new(Inbox::new(party.clone())));
            lock(&inbox.state).listeners.push((stream, Arc::clone(line)));
            Arc::clone(inbox)
        });
        Ok(listening.collect())
    }

    fn leave(&self, inbox: &Inbox, stream: StreamId) {
        let mut parties = lock(&self.parties);
        let mut state = lock(&inbox.state);
        state.listeners.retain(|(listener, _)| *listener != stream);
        let leased = state.busy.iter().filter(|(_, busy)| busy.hold == Hold::Leased(stream));
        let leased: Vec<DossierCode> = leased.map(|(code, _)| code.clone()).collect();
        for code in &leased {
            state.release(code);
        }
        state.wake();
        forget_idle(&mut parties, inbox, &state);
    }

    /// Ends the acknowledgement of `names`, given on `stream`: what is `durable` is forgotten, the rest is owed again.
    fn settled(&self, inbox: &Inbox, stream: StreamId, names: &[DeliveryName], durable: bool) {
        let mut parties = lock(&self.parties);
        let mut state = lock(&inbox.state);
        for name in names {
            if durable {
                state.settle(&name.code, name.sequence);
            } else if state.is_held(Hold::Settling(stream), &name.code, name.sequence) {
                state.release(&name.code);
            }
        }
        state.wake();
        forget_idle(&mut parties, inbox, &state);
    }
}

/// Lets go of an inbox that is no longer needed. A later one of the same party is not it.
fn forget_idle(parties: &mut HashMap<PartyId, Arc<Inbox>>, inbox: &Inbox, state: &State) {
    let is_it = parties.get(&inbox.party).is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), inbox));
    if is_it && state.is_idle() {
        parties.remove(&inbox.party);
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
        for (_, line) in &self.listeners {
            line.wake.notify_one();
        }
    }

    /// Whether nothing needs to stay in memory: nobody listens, and everything that is owed is in the store.
    fn is_idle(&self) -> bool {
        let is_settling = |busy: &Busy| matches!(busy.hold, Hold::Settling(_));
        self.listeners.is_empty() && !self.busy.values().any(is_settling)
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
        self.busy.insert(code.clone(), Busy { hold: Hold::Leased(stream), until });
        Some((code, first))
    }

    fn is_held(&self, hold: Hold, code: &DossierCode, sequence: u32) -> bool {
        self.busy.get(code).is_some_and(|busy| busy.hold == hold)
            && self.first(code).is_some_and(|first| first.sequence == sequence)
    }

    /// Keeps what `stream` has leased from everybody else while its acknowledgement is written; whether it had it leased.
    fn begin_settling(&mut self, stream: StreamId, code: &DossierCode, sequence: u32) -> bool {
        let is_leased = self.is_held(Hold::Leased(stream), code, sequence);
        if is_leased && let Some(busy) = self.busy.get_mut(code) {
            busy.hold = Hold::Settling(stream);
        }
        is_leased
    }

    /// Holds a delivery of `stream` back until then.
    fn decline(&mut self, stream: StreamId, code: &DossierCode, sequence: u32, until: Instant) {
        if self.is_held(Hold::Leased(stream), code, sequence) {
            self.free(code);
            self.busy.insert(code.clone(), Busy { hold: Hold::Declined, until });
        }
    }

    /// Ends whatever keeps a dossier's first delivery from everybody else, and gives the credit back that it used up.
    fn free(&mut self, code: &DossierCode) {
        let Some(stream) = self.busy.remove(code).and_then(|busy| busy.hold.stream()) else { return };
        if let Some((_, line)) = self.listeners.iter().find(|(listener, _)| *listener == stream) {
            line.allow(1);
        }
    }

    fn first(&self, code: &DossierCode) -> Option<Queued> {
        self.queues.get(code).and_then(VecDeque::front).copied()
    }

    /// Gives a dossier's first delivery back: it is owed again, at its old place.
    fn release(&mut self, code: &DossierCode) {
        self.free(code);
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
        if queue.is_empty() {
            self.queues.remove(code);
        }
        if place == 0 {
            self.ready.remove(&settled.position);
            self.release(code);
        }
    }

    /// Gives back what was leased or held too long; returns how many leases expired.
    fn sweep(&mut self, now: Instant) -> usize {
        let over = self.ending().filter(|(_, busy)| busy.until <= now);
        let over: Vec<(DossierCode, Hold)> = over.map(|(code, busy)| (code.clone(), busy.hold)).collect();
        for (code, _) in &over {
            self.release(code);
        }
        over.iter().filter(|(_, hold)| *hold != Hold::Declined).count()
    }

    fn next_sweep(&self) -> Option<Instant> {
        self.ending().map(|(_, busy)| busy.until).min()
    }

    /// What ends by itself; an acknowledgement ends when it is written.
    fn ending(&self) -> impl Iterator<Item = (&DossierCode, &Busy)> {
        self.busy.iter().filter(|(_, busy)| !matches!(busy.hold, Hold::Settling(_)))
    }
}

/// One open stream of one system, for one or more parties. Dropping it gives back what it holds.
pub struct Session {
    engine: Engine,
    peer: Peer,
    stream: StreamId,
    inboxes: Vec<Arc<Inbox>>,
    line: Arc<Line>,
    /// Whose turn it is among the parties, so that a busy one does not starve the others.
    turn: AtomicU64,
}

impl Engine {
    /// Opens the inboxes of `parties` for `peer`, with credit for that many deliveries under way.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], for the first party that is at fault; `OVERLOADED` when a party has too many streams.
    pub fn open_inbox(&self, peer: &Peer, parties: &[PartyId], credit: u32) -> Result<Session, Refusal> {
        for party in parties {
            let _ = self.authorize(peer, party)?;
        }
        let inboxes = &self.inner.inboxes;
        let stream = StreamId(inboxes.streams.fetch_add(1, Ordering::Relaxed));
        let line = Arc::new(Line { credit: Mutex::new(credit), ..Line::default() });
        Ok(Session {
            inboxes: inboxes.listen(parties, stream, &line)?,
            engine: self.clone(),
            peer: peer.clone(),
            stream,
            line,
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
    /// Those of [`Engine::authorize`] once the system may no longer act for the party: a stream stays open for months, and
    /// the registry changes. `INTERNAL` when the store cannot be read.
    pub async fn next(&self) -> Result<Delivery, Refusal> {
        loop {
            let woken = self.line.wake.notified();
            if let Some(delivery) = self.try_next().await? {
                return Ok(delivery);
            }
            self.rest(woken).await;
        }
    }

    async fn try_next(&self) -> Result<Option<Delivery>, Refusal> {
        self.sweep();
        if *lock(&self.line.credit) == 0 {
            return Ok(None);
        }
        let turn = usize::try_from(self.turn.fetch_add(1, Ordering::Relaxed) % self.inboxes.len().max(1) as u64);
        let turn = turn.expect("smaller than the number of inboxes");
        for inbox in self.inboxes.iter().cycle().skip(turn).take(self.inboxes.len()) {
            inbox.refill(&self.engine).await?;
            let until = Instant::now() + self.engine.inner.inboxes.lease;
            let Some((code, queued)) = lock(&inbox.state).lease(self.stream, until) else { continue };
            // Counted before reading, so that the lease and its credit are always one.
            *lock(&self.line.credit) -= 1;
            let lease = Leased { session: self, inbox, code: &code, sequence: queued.sequence, kept: false };
            let _ = self.engine.authorize(&self.peer, &inbox.party)?;
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
            if expired > 0 {
                tracing::warn!(party.id = %inbox.party, count = expired, "leases expired");
                state.wake();
            }
        }
    }

    /// Records acknowledgements; those that this stream does not hold are left out of what is returned.
    ///
    /// # Errors
    /// Those of a commit; then nothing was acknowledged, or a repeat will tell.
    pub async fn acknowledge(&self, stage: Stage, names: Vec<DeliveryName>) -> Result<Vec<DeliveryName>, Refusal> {
        let mut acknowledged = Vec::with_capacity(names.len());
        // All parties' are written side by side: they share a sync instead of waiting for one each.
        let mut writing = Vec::new();
        for inbox in &self.inboxes {
            let of_party: Vec<&DeliveryName> = names.iter().filter(|name| name.party == inbox.party).collect();
            if of_party.is_empty() {
                continue;
            }
            let _ = self.engine.authorize(&self.peer, &inbox.party)?;
            let accepted: Vec<DeliveryName> = {
                let mut state = lock(&inbox.state);
                // Taking over needs the lease: a stale one must not take what another stream has by now. Handing over does
                // not, it may come over a later stream.
                let of_party = of_party.into_iter().filter(|name| {
                    let is_leased = state.begin_settling(self.stream, &name.code, name.sequence);
                    is_leased || stage == Stage::HandedOver
                });
                of_party.cloned().collect()
            };
            if !accepted.is_empty() {
                writing.push(self.write(inbox, stage, accepted.clone()));
                acknowledged.extend(accepted);
            }
        }
        // Let go of together with the answer, so that it comes before the deliveries it makes way for.
        let mut written = Vec::with_capacity(writing.len());
        for end in writing {
            written.push(end.await?);
        }
        Ok(acknowledged)
    }

    /// Begins to write an acknowledgement; it goes on to its end even if the stream ends meanwhile, because what it says may
    /// be durable by then.
    fn write(
        &self,
        inbox: &Arc<Inbox>,
        stage: Stage,
        names: Vec<DeliveryName>,
    ) -> impl Future<Output = Result<Settling, Refusal>> + use<> {
        let acknowledgement = Acknowledgement {
            party: inbox.party.clone(),
            stage,
            deliveries: names.iter().map(|name| (name.code.clone(), name.sequence)).collect(),
            system: self.peer.system().to_owned(),
            at: machine_now(),
        };
        let engine = self.engine.clone();
        let settling =
            Settling { engine: engine.clone(), inbox: Arc::clone(inbox), stream: self.stream, names, durable: false };
        let work = async move {
            match engine.inner.store.commit(Commit::Acknowledgement(acknowledgement)).await {
                Ok(()) => Ok(settling.written()),
                Err(error) => {
                    if matches!(error, CommitError::Unknown) {
                        settling.leave_held();
                    }
                    Err(commit_failed(&error))
                }
            }
        };
        self.engine.to_the_end(work)
    }

    /// Holds back deliveries the receiver cannot take now; they come again after a pause.
    pub fn decline(&self, names: &[DeliveryName]) {
        let until = Instant::now() + self.engine.inner.inboxes.decline_pause;
        for inbox in &self.inboxes {
            let mut state = lock(&inbox.state);
            for name in names.iter().filter(|name| name.party == inbox.party) {
                state.decline(self.stream, &name.code, name.sequence, until);
            }
        }
        self.line.wake.notify_one();
    }

    /// Allows that many more deliveries under way.
    pub fn add_credit(&self, more: u32) {
        self.line.allow(more);
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
    sequence: u32,
    kept: bool,
}

impl Leased<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.inbox.state);
        // It may have expired meanwhile, and be with another stream.
        if !self.kept && state.is_held(Hold::Leased(self.session.stream), self.code, self.sequence) {
            state.release(self.code);
            state.wake();
        }
    }
}

/// An acknowledgement being written. When this is dropped its deliveries are forgotten or owed again, unless nobody knows which
/// of the two is right ([`Settling::leave_held`]).
#[must_use]
struct Settling {
    engine: Engine,
    inbox: Arc<Inbox>,
    stream: StreamId,
    names: Vec<DeliveryName>,
    durable: bool,
}

impl Settling {
    fn written(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Whether it is durable is not known: this stream may have taken over what it names. Nothing can be written before the
    /// restart that tells, and until then nobody else gets it.
    fn leave_held(mut self) {
        self.names.clear();
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.engine.inner.inboxes.settled(&self.inbox, self.stream, &self.names, self.durable);
    }
}

/// These locks only guard memory that is consistent between any two statements, and no holder panics by design; one
/// that does must not take the whole bus with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod tests;
