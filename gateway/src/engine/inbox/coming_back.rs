//! What comes back, and what is parked: written first, then known here.
//!
//! While it is written what becomes of a dossier, nobody gets a delivery of it; afterwards the inbox reads again what is owed
//! of it. Parking comes before giving back, so that nothing slips through between the two.

use std::sync::Arc;

use lgsp_proto::types::{DossierCode, PartyId};
use lgsp_proto::{Refusal, v1};
use tokio::time::Instant;

use super::super::clock::machine_now;
use super::super::{Engine, commit_failed, read_failed};
use super::state::{Hopeless, Queued, State};
use super::{DeliveryName, Inbox, Session, lock};
use crate::store::{
    Commit, DeliveryStage, GivenBack, GivenBackWhy, Holder, InboxPosition, Installation, Parked, ReadError,
};

/// How many deliveries are looked at at a time when what an installation holds is searched for, and go into one record.
const AT_A_TIME: usize = 1_000;

/// What it says when a lease has expired.
const LEASE_EXPIRED: &str = "LEASE_EXPIRED";

/// What it says when the gateway cannot read what it is to deliver.
const UNREADABLE: &str = "UNREADABLE";

/// Why a receiver does not take something.
#[derive(Clone, Debug)]
pub struct Declined {
    /// How it is meant.
    pub kind: v1::DeclineKind,
    /// The receiver's word.
    pub reason: String,
}

impl Session {
    /// Holds back what the receiver does not take, and takes back what it had taken over and does not hand over, the later
    /// deliveries of the dossier included. What fails too often or for good is parked. Durable where it has to be when
    /// this returns; what is not with this stream any more is passed over, so that the same may be said again.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`] and of a commit; what was not written may be declined again.
    pub async fn decline(&self, declined: &Declined, names: &[DeliveryName]) -> Result<(), Refusal> {
        for name in names {
            let Some(inbox) = self.inboxes.iter().find(|inbox| inbox.party == name.party) else { continue };
            self.check(&inbox.party)?;
            if !self.decline_leased(inbox, declined, name).await? {
                self.decline_taken_over(inbox, declined, name).await?;
            }
        }
        Ok(())
    }

    /// Whether the delivery was under way on this stream.
    async fn decline_leased(
        &self,
        inbox: &Arc<Inbox>,
        declined: &Declined,
        name: &DeliveryName,
    ) -> Result<bool, Refusal> {
        let policy = self.engine.inner.inboxes.policy;
        let now = Instant::now();
        let failures = {
            let mut state = lock(&inbox.state);
            if !state.is_held(super::state::Hold::Leased(self.stream), &name.code, name.sequence) {
                return Ok(false);
            }
            if declined.kind == v1::DeclineKind::Busy {
                state.rest(self.stream, &name.code, name.sequence, now + policy.pause);
                self.line.wake.notify_one();
                return Ok(true);
            }
            let failures =
                state.count_failure(&name.code, name.sequence, &policy, (now, (self.engine.inner.inboxes.chance)()));
            let is_hopeless = declined.kind == v1::DeclineKind::Permanent || failures >= policy.attempts;
            if !is_hopeless || !state.begin_deciding(&name.code, now) {
                state.rest_failed(&name.code);
                self.line.wake.notify_one();
                return Ok(true);
            }
            failures
        };
        let deciding = Deciding::begun(&self.engine, inbox, &name.code);
        let parked = self.parked(declined, name, failures);
        let engine = self.engine.clone();
        let writing = async move { engine.park(parked, deciding).await };
        self.engine.to_the_end(writing).await?;
        Ok(true)
    }

    /// Takes back what this installation has taken over, if it has.
    async fn decline_taken_over(
        &self,
        inbox: &Arc<Inbox>,
        declined: &Declined,
        name: &DeliveryName,
    ) -> Result<(), Refusal> {
        let store = &self.engine.inner.store;
        let (party, code, sequence) = (&name.party, &name.code, name.sequence);
        // That it was taken over may just be being written, over an earlier stream that has ended.
        until_written(inbox, code).await;
        let stage = store.delivery_stage(party, code, sequence).await.map_err(read_failed)?;
        let holder = store.lane(party, code).await.map_err(read_failed)?.holder;
        let holder = holder.filter(|holder| holder.installation == self.owner);
        let (Some(DeliveryStage::TakenOver), Some(holder)) = (stage, holder) else { return Ok(()) };

        let deciding = Deciding::begin(&self.engine, inbox, code).await;
        let policy = self.engine.inner.inboxes.policy;
        let now = Instant::now();
        let failures = match declined.kind {
            v1::DeclineKind::Busy => 0,
            _ => lock(&inbox.state).count_failure(code, sequence, &policy, (now, (self.engine.inner.inboxes.chance)())),
        };
        let is_hopeless = declined.kind == v1::DeclineKind::Permanent || failures >= policy.attempts;
        let parked = is_hopeless.then(|| self.parked(declined, name, failures));
        let engine = self.engine.clone();
        let (party, code) = (party.clone(), code.clone());
        let writing = async move {
            if let Some(parked) = parked {
                engine.write_parked(parked).await?;
            }
            let later = engine.inner.store.taken_over_of(&party, &code, sequence).await.map_err(read_failed)?;
            let deliveries = later.into_iter().map(|sequence| (code.clone(), sequence)).collect();
            let back = GivenBack { party, deliveries, holder, why: GivenBackWhy::Declined, at: machine_now() };
            engine.inner.store.commit(Commit::GivenBack(back)).await.map_err(|error| commit_failed(&error))?;
            drop(deciding);
            Ok(())
        };
        self.engine.to_the_end(writing).await
    }

    fn parked(&self, declined: &Declined, name: &DeliveryName, attempts: u32) -> Parked {
        Parked {
            party: name.party.clone(),
            code: name.code.clone(),
            sequence: name.sequence,
            reason: declined.reason.clone(),
            kind: declined.kind,
            attempts,
            system: self.owner.system.clone(),
            at: machine_now(),
        }
    }

    /// Sees to a delivery of this stream's that cannot be read, so that the party's other dossiers flow: what is damaged is parked,
    /// what only a later version can read rests.
    ///
    /// # Errors
    /// `INTERNAL` when it is not this delivery's fault.
    pub(super) fn cannot_read(
        &self,
        inbox: &Arc<Inbox>,
        code: &DossierCode,
        queued: Queued,
        error: ReadError,
    ) -> Result<(), Refusal> {
        if matches!(error, ReadError::Engine(_)) {
            return Err(read_failed(error));
        }
        tracing::error!(
            party.id = %inbox.party, dossier.code = %code, sequence = queued.sequence,
            error = &error as &dyn std::error::Error, "a delivery cannot be read"
        );
        let (now, inboxes) = (Instant::now(), &self.engine.inner.inboxes);
        let failures = {
            let mut state = lock(&inbox.state);
            let jitter = (inboxes.chance)();
            // Should it not be possible to park it either, it rests longer and longer.
            let failures = state.count_failure(code, queued.sequence, &inboxes.policy, (now, jitter));
            let is_damaged = matches!(error, ReadError::Damaged(_));
            if !is_damaged || !state.begin_deciding(code, now) {
                state.rest_failed(code);
                return Ok(());
            }
            failures
        };
        let deciding = Deciding::begun(&self.engine, inbox, code);
        let declined = Declined { kind: v1::DeclineKind::Permanent, reason: UNREADABLE.to_owned() };
        let name = DeliveryName { party: inbox.party.clone(), code: code.clone(), sequence: queued.sequence };
        let (engine, parked) = (self.engine.clone(), self.parked(&declined, &name, failures));
        // Runs by itself. If it fails the delivery is read again when it has rested.
        drop(self.engine.to_the_end(async move { engine.park(parked, deciding).await }));
        Ok(())
    }

    /// Parks what ran out of its leases too often; nobody waits for it.
    pub(super) fn park_hopeless(&self, inbox: &Arc<Inbox>, hopeless: Vec<Hopeless>) {
        for Hopeless { code, sequence, failures, stream } in hopeless {
            let deciding = Deciding::begun(&self.engine, inbox, &code);
            let parked = Parked {
                party: inbox.party.clone(),
                code,
                sequence,
                reason: LEASE_EXPIRED.to_owned(),
                kind: v1::DeclineKind::Transient,
                attempts: failures,
                system: inbox.system_of(stream).unwrap_or_default(),
                at: machine_now(),
            };
            let engine = self.engine.clone();
            // Runs by itself. If it fails the delivery flows again, and the next lease that expires says the same.
            drop(self.engine.to_the_end(async move { engine.park(parked, deciding).await }));
        }
    }
}

impl Engine {
    /// Parks a dossier that is being decided about. When the delivery was handed over a moment before it is not parked, and flows.
    pub(super) async fn park(&self, parked: Parked, deciding: Deciding) -> Result<(), Refusal> {
        let (party, code, sequence) = (parked.party.clone(), parked.code.clone(), parked.sequence);
        self.write_parked(parked).await?;
        let lane = self.inner.store.lane(&party, &code).await.map_err(read_failed)?;
        if lane.parked.is_some_and(|from| from <= sequence) {
            deciding.parked();
        }
        Ok(())
    }

    async fn write_parked(&self, parked: Parked) -> Result<(), Refusal> {
        let Parked { party, code, sequence, reason, attempts, system, .. } = &parked;
        tracing::warn!(
            party.id = %party, dossier.code = %code, sequence, reason, attempts, system, "a dossier is parked for a party"
        );
        self.inner.store.commit(Commit::Parked(parked)).await.map_err(|error| commit_failed(&error))
    }

    /// Takes back all that `installation` holds for `party` in spools that are `lost`; how many deliveries.
    pub(in super::super) async fn take_back(
        &self,
        party: &PartyId,
        installation: &Installation,
        lost: impl Fn(&Holder) -> bool,
        why: &GivenBackWhy,
    ) -> Result<u64, Refusal> {
        let store = &self.inner.store;
        let mut after: Option<InboxPosition> = None;
        let mut count = 0;
        loop {
            let looked_at = store.taken_over(party, after, AT_A_TIME).await.map_err(read_failed)?;
            let is_last = looked_at.len() < AT_A_TIME;
            after = looked_at.last().map(|last| last.position).or(after);
            let mut by_holder: Vec<(Holder, Vec<(DossierCode, u32)>)> = Vec::new();
            for taken in looked_at {
                if taken.holder.installation != *installation || !lost(&taken.holder) {
                    continue;
                }
                let delivery = (taken.code, taken.sequence);
                match by_holder.iter_mut().find(|(holder, _)| *holder == taken.holder) {
                    Some((_, deliveries)) => deliveries.push(delivery),
                    None => by_holder.push((taken.holder, vec![delivery])),
                }
            }
            for (holder, deliveries) in by_holder {
                count += deliveries.len() as u64;
                let back = GivenBack { party: party.clone(), deliveries, holder, why: why.clone(), at: machine_now() };
                let (engine, coming_back) = (self.clone(), ComingBack::begin(self, party));
                // To its end, so that the inbox learns of it even if whoever asked goes away.
                let writing = async move {
                    let _coming_back = coming_back;
                    let committed = engine.inner.store.commit(Commit::GivenBack(back)).await;
                    committed.map_err(|error| commit_failed(&error))
                };
                self.to_the_end(writing).await?;
            }
            if is_last {
                break;
            }
        }
        if count > 0 {
            tracing::warn!(
                party.id = %party, system = installation.system, instance = installation.instance, count, ?why,
                "deliveries that were taken over are owed again"
            );
        }
        Ok(count)
    }
}

/// Waits until nothing is being written about a dossier.
async fn until_written(inbox: &Inbox, code: &DossierCode) {
    until(inbox, |state| !state.is_being_written(code)).await;
}

/// Tries again each time something has been written.
async fn until(inbox: &Inbox, mut done: impl FnMut(&mut State) -> bool) {
    loop {
        let written = inbox.written.notified();
        tokio::pin!(written);
        // Enlisted before looking, so that what ends in between is not missed.
        written.as_mut().enable();
        if done(&mut lock(&inbox.state)) {
            return;
        }
        written.await;
    }
}

/// Nobody gets a delivery of a dossier while this lives. However it ends, the inbox then goes by what is in the store.
pub(super) struct Deciding {
    engine: Engine,
    inbox: Arc<Inbox>,
    code: DossierCode,
    is_parked: bool,
}

impl Deciding {
    /// Takes up what [`super::state::State::begin_deciding`] has begun.
    fn begun(engine: &Engine, inbox: &Arc<Inbox>, code: &DossierCode) -> Self {
        Self { engine: engine.clone(), inbox: Arc::clone(inbox), code: code.clone(), is_parked: false }
    }

    /// Begins once nothing else is being written about the dossier.
    pub(super) async fn begin(engine: &Engine, inbox: &Arc<Inbox>, code: &DossierCode) -> Self {
        until(inbox, |state| state.begin_deciding(code, Instant::now())).await;
        Self::begun(engine, inbox, code)
    }

    /// All of the dossier's deliveries are parked, so there is nothing to read again.
    fn parked(mut self) {
        self.is_parked = true;
    }
}

impl Drop for Deciding {
    fn drop(&mut self) {
        self.engine.inner.inboxes.decided(&self.inbox, &self.code, self.is_parked);
    }
}

/// Once begun, nothing is decided about some dossiers while this lives: it is being written that the agency has something of
/// them, on a stream that has it not leased.
pub(super) struct HandingOver {
    engine: Engine,
    inbox: Arc<Inbox>,
    codes: Vec<DossierCode>,
    is_begun: bool,
}

impl HandingOver {
    /// Keeps the inbox, though the stream may end before it begins.
    pub(super) fn announce(engine: &Engine, inbox: &Arc<Inbox>, codes: Vec<DossierCode>) -> Self {
        lock(&inbox.state).handers_over += 1;
        Self { engine: engine.clone(), inbox: Arc::clone(inbox), codes, is_begun: false }
    }

    /// Begins once nothing is decided about any of them.
    pub(super) async fn begin(mut self) -> Self {
        let (inbox, codes) = (Arc::clone(&self.inbox), &self.codes);
        until(&inbox, |state| state.begin_handing_over(codes)).await;
        self.is_begun = true;
        self
    }
}

impl Drop for HandingOver {
    fn drop(&mut self) {
        let codes = if self.is_begun { self.codes.as_slice() } else { &[] };
        self.engine.inner.inboxes.handed_over(&self.inbox, codes);
    }
}

/// A party gets nothing while this lives, because something is being written that makes older deliveries flow again. However it
/// ends, the inbox then goes by what is in the store.
pub(in super::super) struct ComingBack {
    engine: Engine,
    inbox: Arc<Inbox>,
}

impl ComingBack {
    pub(in super::super) fn begin(engine: &Engine, party: &PartyId) -> Self {
        Self { inbox: engine.inner.inboxes.begin_coming_back(party), engine: engine.clone() }
    }
}

impl Drop for ComingBack {
    fn drop(&mut self) {
        self.engine.inner.inboxes.came_back(&self.inbox);
    }
}
