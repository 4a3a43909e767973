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
mod session;
mod state;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lgsp_proto::types::{DossierCode, PartyId};
use lgsp_proto::{Reason, Refusal};
use tokio::sync::Notify;

use super::access::Peer;
use super::{Engine, read_failed};
use crate::store::{Backlog, InboxPosition, Installation, Waiting};
pub(super) use coming_back::ComingBack;
pub use coming_back::Declined;
use installations::Installations;
pub use policy::Policy;
pub use session::{Delivery, LOOK_UPS_MAX, Opening, Session};
use state::{Hold, ReadFrom, State};

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

impl Engine {
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
