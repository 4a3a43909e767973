//! One open stream: what it gets next, and what it acknowledges.
//!
//! A delivery is with one stream until it is settled or given back; whatever ends, an error or a dropped future too, does one of
//! the two, unless nobody knows which is right. An acknowledgement that was begun is written to its end even if the stream is gone
//! by then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lgsp_domain::dossier::Dossier;
use lgsp_proto::types::{DossierCode, PartyId};
use lgsp_proto::{Reason, Refusal};
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::super::access::Peer;
use super::super::clock::machine_now;
use super::super::{Engine, commit_failed, read_failed};
use super::coming_back::{ComingBack, HandingOver};
use super::installations::InUse;
use super::state::{Hold, Queued, Swept};
use super::{DeliveryName, Inbox, Line, StreamId, lock};
use crate::store::{
    Acknowledgement, Bodies, Commit, CommitError, GivenBackWhy, Holder, Installation, QueryRecord, ReadError, Recorded,
    Stage,
};

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
    /// What was looked up for the dossier since the event before, for its authority; one more than [`LOOK_UPS_MAX`] if there is more.
    pub look_ups: Vec<QueryRecord>,
}

/// Look-ups that a delivery names; the others are listed with the dossier.
pub const LOOK_UPS_MAX: usize = 16;

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

/// One open stream of one system, for one or more parties. Dropping it gives back what it holds.
pub struct Session {
    pub(super) engine: Engine,
    pub(super) peer: Peer,
    pub(super) stream: StreamId,
    pub(super) owner: Installation,
    spool: Bytes,
    /// Shared with what is being written for this stream.
    in_use: Arc<InUse>,
    pub(super) inboxes: Vec<Arc<Inbox>>,
    pub(super) line: Arc<Line>,
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
        let mut system = String::new();
        for party in parties {
            self.authorize(peer, party)?.system().clone_into(&mut system);
        }
        let inboxes = &self.inner.inboxes;
        let owner = Installation { system, instance: instance.to_owned() };
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

    pub(super) async fn try_next(&self) -> Result<Option<Delivery>, Refusal> {
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
    /// Whether it is still the system that opened it, and may still act for a party.
    pub(super) fn check(&self, party: &PartyId) -> Result<(), Refusal> {
        let authorized = self.engine.authorize(&self.peer, party)?;
        if authorized.system() == self.owner.system {
            return Ok(());
        }
        // Bound to another system meanwhile. What this stream holds is in the former one's name: a new stream is opened.
        Err(Refusal::new(Reason::SystemUnknown).detail("system", &self.owner.system))
    }

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
            self.check(&inbox.party)?;
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
        let look_ups = match self.decides(party, &dossier) {
            true => store.look_ups(code, queued.sequence, LOOK_UPS_MAX + 1).await?,
            false => Vec::new(),
        };
        Ok(Delivery { party: party.clone(), recorded, dossier, attempt: queued.attempts, look_ups })
    }

    /// Whether a party is the dossier's authority, or its successor: whoever else is told has no business with what was looked up.
    fn decides(&self, party: &PartyId, dossier: &Dossier) -> bool {
        let authority = &dossier.opening.places.competent_authority;
        let succeeds = || {
            let today = self.engine.clock().now().date();
            self.engine.registry().is_ok_and(|registry| registry.succeeds(party, authority, today))
        };
        party == authority || succeeds()
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
            self.check(&inbox.party)?;
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
