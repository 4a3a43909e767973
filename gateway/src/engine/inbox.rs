//! Delivery: the duty to hand one event to one party, until that party acknowledges it.
//!
//! A party's connections share its inbox. One dossier's deliveries go one after the other, different dossiers side by
//! side; what is under way is *leased* to one stream until it is acknowledged, declined, the lease expires or the stream
//! ends. Leases are not recorded: after a restart everything unacknowledged is simply owed again.
//!
//! A dossier of which an installation has taken something over, and not handed it over yet, goes on to that installation only.
//! What its disk lost, what it gives back, and what an operator takes from it is owed again; what fails for good or too often
//! waits, with its dossier, for a person ([`super::parked`]).
//!
//! Whoever gives a lease back, the stream that held it gets its credit back: a stream is owed as many deliveries as it has
//! allowed, whatever the party's other streams do.

mod coming_back;
mod installations;
mod policy;
mod state;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lgsp_domain::dossier::Dossier;
use lgsp_proto::types::{DossierCode, PartyId};
use lgsp_proto::{Reason, Refusal};
use tokio::sync::{Notify, futures::Notified};
use tokio::time::Instant;

use super::access::Peer;
use super::clock::machine_now;
use super::{Engine, commit_failed, read_failed};
use crate::store::{
    Acknowledgement, Backlog, Bodies, Commit, CommitError, GivenBackWhy, Holder, InboxPosition, Installation,
    ReadError, Recorded, Stage, Waiting,
};
pub(super) use coming_back::ComingBack;
pub use coming_back::Declined;
use coming_back::HandingOver;
use installations::{InUse, Installations};
pub use policy::Policy;
use state::{Hold, Queued, ReadFrom, State, Swept};

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
    installations: Installations,
    policy: Policy,
    /// Where jitter comes from.
    chance: fn() -> f64,
}

/// Names a stream within this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct StreamId(u64);

/// What a stream and the inboxes it listens to know of one another.
#[derive(Debug, Default)]
struct Line {
    wake: Notify,
    /// The system at the other end.
    system: String,
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
    /// Tells that something is written that was being written.
    written: Notify,
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

/// How a receiver opens its inbox.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// For whom.
    pub parties: &'a [PartyId],
    /// How many deliveries may be under way.
    pub credit: u32,
    /// Which of the system's installations it is.
    pub instance: &'a str,
    /// Its spool; empty when it keeps nothing between streams.
    pub spool: Bytes,
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
    /// No inboxes yet.
    pub fn new(policy: Policy) -> Self {
        let installations = Installations::default();
        Self { parties: Mutex::default(), streams: AtomicU64::new(0), installations, policy, chance }
    }

    /// As [`Inboxes::new`], with nothing left to chance.
    #[cfg(feature = "test-util")]
    pub(super) fn repeatable(policy: Policy) -> Self {
        Self { chance: || 1.0, ..Self::new(policy) }
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
        forget_idle(&mut parties, inbox, &mut state);
    }

    /// Keeps an installation away while what it has is taken from it.
    ///
    /// # Errors
    /// `INSTANCE_IN_USE` while it is connected.
    pub(super) fn keep_out(&self, installation: &Installation) -> Result<impl Drop + use<>, Refusal> {
        self.installations.keep_out(installation)
    }

    /// Something older than what was read is on its way back to `party`. Its inbox is made, if there is none: one that somebody
    /// makes meanwhile might read too soon.
    fn begin_coming_back(&self, party: &PartyId) -> Arc<Inbox> {
        let mut parties = lock(&self.parties);
        let inbox = parties.entry(party.clone()).or_insert_with(|| Arc::new(Inbox::new(party.clone())));
        lock(&inbox.state).begin_coming_back();
        Arc::clone(inbox)
    }

    fn came_back(&self, inbox: &Inbox) {
        let mut parties = lock(&self.parties);
        let mut state = lock(&inbox.state);
        state.came_back();
        state.wake();
        forget_idle(&mut parties, inbox, &mut state);
    }

    /// It is written that the agency has something of these dossiers, or not.
    fn handed_over(&self, inbox: &Inbox, codes: &[DossierCode]) {
        let mut parties = lock(&self.parties);
        let mut state = lock(&inbox.state);
        state.end_handing_over(codes);
        state.handers_over -= 1;
        forget_idle(&mut parties, inbox, &mut state);
        inbox.written.notify_waiters();
    }

    /// It is written what becomes of a dossier: parked as a whole, or as the store says.
    fn decided(&self, inbox: &Inbox, code: &DossierCode, is_parked: bool) {
        let mut parties = lock(&self.parties);
        let mut state = lock(&inbox.state);
        state.decided(code);
        if is_parked {
            state.forget(code);
        } else {
            state.reload();
        }
        state.wake();
        forget_idle(&mut parties, inbox, &mut state);
        inbox.written.notify_waiters();
    }

    /// Ends the acknowledgement of `names`, given on `stream`: what is `durable` is forgotten, the rest is owed again.
    fn settled(&self, inbox: &Inbox, stream: StreamId, names: &[DeliveryName], durable: bool) {
        let mut parties = lock(&self.parties);
        let mut state = lock(&inbox.state);
        for name in names {
            if durable {
                state.look_again(&name.code);
                state.settle(&name.code, name.sequence);
            } else if state.is_held(Hold::Settling(stream), &name.code, name.sequence) {
                state.release(&name.code);
            }
        }
        state.wake();
        forget_idle(&mut parties, inbox, &mut state);
        inbox.written.notify_waiters();
    }
}

/// Lets go of an inbox that is no longer needed, but for how often something has failed: a receiver that comes and goes must
/// not get it for ever. A later inbox of the same party is not it.
fn forget_idle(parties: &mut HashMap<PartyId, Arc<Inbox>>, inbox: &Inbox, state: &mut State) {
    let is_it = parties.get(&inbox.party).is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), inbox));
    if !is_it || !state.is_idle() {
        return;
    }
    if state.remembers_failures() {
        state.reload();
    } else {
        parties.remove(&inbox.party);
    }
}

impl Inbox {
    fn new(party: PartyId) -> Self {
        Self { party, state: Mutex::new(State::new()), refill: tokio::sync::Mutex::default(), written: Notify::new() }
    }

    /// The system at the other end of an open stream.
    fn system_of(&self, stream: StreamId) -> Option<String> {
        let state = lock(&self.state);
        state.listeners.iter().find(|(open, _)| *open == stream).map(|(_, line)| line.system.clone())
    }

    /// Reads more deliveries from the store when few are left in memory.
    async fn refill(&self, engine: &Engine) -> Result<(), Refusal> {
        if !lock(&self.state).wants_more() {
            return Ok(());
        }
        let _one_at_a_time = self.refill.lock().await;
        let Some((refilling, after)) = Refilling::begin(self) else { return Ok(()) };
        let waiting = engine.inner.store.waiting(&self.party, after, WINDOW).await.map_err(read_failed)?;
        refilling.end(waiting);
        Ok(())
    }
}

/// The store is being read for an inbox. However that ends, also with the stream that does it, the inbox knows whether there may
/// be more.
struct Refilling<'a> {
    inbox: &'a Inbox,
    /// Taken when it has been read.
    from: Option<ReadFrom>,
}

impl<'a> Refilling<'a> {
    /// Begins, if there may be something to read and there is room for it.
    fn begin(inbox: &'a Inbox) -> Option<(Self, Option<InboxPosition>)> {
        let mut state = lock(&inbox.state);
        let from = state.wants_more().then(|| state.begin_refill())?;
        let after = from.after;
        Some((Self { inbox, from: Some(from) }, after))
    }

    fn end(mut self, waiting: Vec<Waiting>) {
        if let Some(from) = self.from.take() {
            lock(&self.inbox.state).end_refill(from, waiting);
        }
    }
}

impl Drop for Refilling<'_> {
    fn drop(&mut self) {
        if self.from.is_some() {
            let mut state = lock(&self.inbox.state);
            state.give_up_refill();
            state.wake();
        }
    }
}

/// One open stream of one system, for one or more parties. Dropping it gives back what it holds.
pub struct Session {
    engine: Engine,
    peer: Peer,
    stream: StreamId,
    owner: Installation,
    spool: Bytes,
    /// Shared with what is being written for this stream.
    in_use: Arc<InUse>,
    inboxes: Vec<Arc<Inbox>>,
    line: Arc<Line>,
    /// Whose turn it is among the parties, so that a busy one does not starve the others.
    turn: AtomicU64,
}

impl Engine {
    /// Opens the inboxes of some parties for an installation of `peer`. What it had taken over into another spool and not
    /// handed over is owed again before it gets anything.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], for the first party that is at fault; `OVERLOADED` when a party has too many streams;
    /// `INSTANCE_IN_USE` while the installation is connected with another spool; those of a commit.
    pub async fn open_inbox(&self, peer: &Peer, opening: Opening<'_>) -> Result<Session, Refusal> {
        let Opening { parties, credit, instance, spool } = opening;
        for party in parties {
            let _ = self.authorize(peer, party)?;
        }
        let inboxes = &self.inner.inboxes;
        let owner = Installation { system: peer.system().to_owned(), instance: instance.to_owned() };
        let in_use = Arc::new(inboxes.installations.enter(&owner, &spool)?);
        if !spool.is_empty() {
            let (engine, in_use) = (self.clone(), Arc::clone(&in_use));
            let (parties, owner, spool) = (parties.to_vec(), owner.clone(), spool.clone());
            // To its end, and in use until then, even if the receiver goes away.
            let taking_back = async move {
                let _in_use = in_use;
                for party in &parties {
                    // A receiver that named no spool keeps what it has.
                    let lost = |holder: &Holder| !holder.spool.is_empty() && holder.spool != spool;
                    engine.take_back(party, &owner, lost, &GivenBackWhy::SpoolReplaced).await?;
                }
                Ok(())
            };
            self.to_the_end(taking_back).await?;
        }
        let stream = StreamId(inboxes.streams.fetch_add(1, Ordering::Relaxed));
        let line = Line { credit: Mutex::new(credit), system: owner.system.clone(), ..Line::default() };
        let line = Arc::new(line);
        let listening = inboxes.listen(parties, stream, &line)?;
        let (engine, peer, turn) = (self.clone(), peer.clone(), AtomicU64::new(0));
        Ok(Session { inboxes: listening, engine, peer, stream, owner, spool, in_use, line, turn })
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

    /// Whether a dossier flows again when these are handed over, because it was parked for one of them.
    async fn unparks(&self, acknowledgement: &Acknowledgement) -> Result<bool, Refusal> {
        if acknowledgement.stage != Stage::HandedOver {
            return Ok(false);
        }
        for (code, sequence) in &acknowledgement.deliveries {
            let lane = self.inner.store.lane(&acknowledgement.party, code).await.map_err(read_failed)?;
            if lane.parked == Some(*sequence) {
                return Ok(true);
            }
        }
        Ok(false)
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
    /// the registry changes. `INTERNAL` when the store cannot be read; what is damaged of it only parks its dossier.
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
            if let Some(delivery) = self.next_of(inbox).await? {
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    /// The next delivery of one inbox that this stream may have.
    async fn next_of(&self, inbox: &Arc<Inbox>) -> Result<Option<Delivery>, Refusal> {
        loop {
            let until = Instant::now() + self.engine.inner.inboxes.policy.lease;
            let (code, queued, (generation, comebacks)) = {
                let mut state = lock(&inbox.state);
                let Some((code, queued)) = state.lease(self.stream, &self.owner, until) else { return Ok(None) };
                // Counted before reading, so that the lease and its credit are always one.
                *lock(&self.line.credit) -= 1;
                (code, queued, (state.generation(), state.comebacks()))
            };
            let lease = Leased { session: self, inbox, code: &code, sequence: queued.sequence, kept: false };
            let _ = self.engine.authorize(&self.peer, &inbox.party)?;
            let lane = match self.engine.inner.store.lane(&inbox.party, &code).await {
                Ok(lane) => lane,
                Err(error) => {
                    self.cannot_read(inbox, &code, queued, error)?;
                    continue;
                }
            };
            if lane.parked.is_some_and(|from| from <= queued.sequence) {
                let mut state = lock(&inbox.state);
                // Unless it flows again by now.
                if state.comebacks() == comebacks {
                    state.forget(&code);
                }
                continue;
            }
            if let Some(holder) = lane.holder.filter(|holder| holder.installation != self.owner) {
                let mut state = lock(&inbox.state);
                state.put_aside(self.stream, (&code, queued.sequence), holder.installation, generation);
                // Its holder may be waiting for just this.
                state.wake();
                continue;
            }
            let delivery = match self.read(&inbox.party, &code, queued).await {
                Ok(delivery) => delivery,
                Err(error) => {
                    self.cannot_read(inbox, &code, queued, error)?;
                    continue;
                }
            };
            if lock(&inbox.state).comebacks() != comebacks {
                // What nobody had when this was leased may be owed before it by now.
                continue;
            }
            lease.keep();
            return Ok(Some(delivery));
        }
    }

    async fn read(&self, party: &PartyId, code: &DossierCode, queued: Queued) -> Result<Delivery, ReadError> {
        let store = &self.engine.inner.store;
        let recorded = store.event(code, queued.sequence, Bodies::With).await?;
        let dossier = store.dossier(code).await?;
        let (Some(recorded), Some(dossier)) = (recorded, dossier) else {
            return Err(ReadError::Damaged("a delivery names an event that is not there".to_owned()));
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
        let policy = &self.engine.inner.inboxes.policy;
        for inbox in &self.inboxes {
            let mut state = lock(&inbox.state);
            let Swept { expired, hopeless } = state.sweep(policy, now, (self.engine.inner.inboxes.chance)());
            if expired > 0 {
                tracing::warn!(party.id = %inbox.party, count = expired, "leases expired");
                state.wake();
            }
            drop(state);
            self.park_hopeless(inbox, hopeless);
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
            // Taking over needs the lease: a stale one must not take what another stream has by now. Handing over does not, it
            // may come over a later stream.
            let (mut accepted, mut unleased) = (Vec::with_capacity(of_party.len()), Vec::new());
            {
                let mut state = lock(&inbox.state);
                for name in of_party {
                    let is_leased = state.begin_settling(self.stream, &name.code, name.sequence);
                    if !is_leased && stage == Stage::HandedOver {
                        unleased.push(name.code.clone());
                    }
                    if is_leased || stage == Stage::HandedOver {
                        accepted.push(name.clone());
                    }
                }
            }
            if !accepted.is_empty() {
                writing.push(self.write(inbox, stage, accepted.clone(), unleased));
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
    /// be durable by then. The `unleased` dossiers wait until nothing else is decided about them.
    fn write(
        &self,
        inbox: &Arc<Inbox>,
        stage: Stage,
        names: Vec<DeliveryName>,
        unleased: Vec<DossierCode>,
    ) -> impl Future<Output = Result<Settling, Refusal>> + use<> {
        let acknowledgement = Acknowledgement {
            party: inbox.party.clone(),
            stage,
            deliveries: names.iter().map(|name| (name.code.clone(), name.sequence)).collect(),
            holder: Holder { installation: self.owner.clone(), spool: self.spool.clone() },
            at: machine_now(),
        };
        let (engine, inbox, stream) = (self.engine.clone(), Arc::clone(inbox), self.stream);
        let in_use = Arc::clone(&self.in_use);
        let handing_over = (!unleased.is_empty()).then(|| HandingOver::announce(&engine, &inbox, unleased));
        let settling = Settling { engine: engine.clone(), inbox, stream, names, durable: false, _in_use: in_use };
        let work = async move {
            let _handing_over = match handing_over {
                Some(announced) => Some(announced.begin().await),
                None => None,
            };
            let unparks = engine.unparks(&acknowledgement).await?;
            let _coming_back = unparks.then(|| ComingBack::begin(&engine, &acknowledgement.party));
            if let Err(error) = engine.inner.store.commit(Commit::Acknowledgement(acknowledgement)).await {
                if matches!(error, CommitError::Unknown) {
                    settling.leave_held();
                }
                return Err(commit_failed(&error));
            }
            Ok(settling.written())
        };
        self.engine.to_the_end(work)
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
    /// Until this is written, nobody comes with another spool.
    _in_use: Arc<InUse>,
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

/// A fraction at random, for what should not happen at the same moment.
/// Anything from 0 to 1.
fn chance() -> f64 {
    let mut random = [0; 4];
    // Without randomness there is no jitter, which does no more harm than that.
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return 1.0;
    }
    f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)
}

/// These locks only guard memory that is consistent between any two statements, and no holder panics by design; one
/// that does must not take the whole bus with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod tests;
