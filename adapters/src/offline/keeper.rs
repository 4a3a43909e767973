//! Keeps what a desk needs without a line fresh while there is one: the registry's copy, numbers ahead, the clocks compared.
//!
//! A round at every connect and every few minutes. What fails is tried again; nothing here holds up anything else.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::ToSpan as _;
use lgsp_domain::registry::{Registry, Right};
use lgsp_proto::types::{Date, PartyId};
use lgsp_proto::v1::{
    LeaseNumbersRequest, LeaseNumbersResponse, NumbersWanted, ReadRegistryRequest, ReadRegistryResponse,
};
use lgsp_proto::{Reason, Refusal};
use tokio_util::sync::CancellationToken;

use super::{Desk, unix_ms, wall_clock};
use crate::backoff::Backoff;
use crate::link::{CallError, Link, Refused};
use crate::spool::Spool;

/// The account in whose name the adapter itself asks.
const ACTOR: &str = "adapter";

/// The most wishes in one request that the gateway takes.
const MAX_WANTED: usize = 512;

/// The most authorities a desk keeps numbers of; beyond the most frequent ones a provisional number will do.
const MAX_AUTHORITIES: usize = 64;

/// See the module.
pub(crate) struct Keeper {
    pub(crate) desk: Arc<Desk>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) link: Link,
    pub(crate) parties: Vec<PartyId>,
    pub(crate) backoff: Backoff,
}

/// Why a round was not finished.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the registry could not be taken over")]
    Registry,
    #[error("the spool cannot write any more")]
    Broken,
}

impl Keeper {
    /// Keeps things fresh until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failures: u32 = 0;
        let mut told = HashSet::new();
        loop {
            let mut line = self.link.connectivity();
            let round = tokio::select! {
                () = stop.cancelled() => return,
                round = self.round(&mut told) => round,
            };
            let wait = match round {
                Ok(()) => {
                    failures = 0;
                    self.desk.config.refresh
                }
                Err(error) => {
                    failures += 1;
                    if failures.is_power_of_two() && failures > 4 && !self.link.is_down() {
                        tracing::warn!(failures, %error, "registry and numbers are not fresh");
                    }
                    self.backoff.delay(failures).max(Duration::from_millis(10)).min(self.desk.config.refresh)
                }
            };
            let then = *line.borrow_and_update();
            let connected = async {
                while line.changed().await.is_ok() {
                    let now = *line.borrow_and_update();
                    if !now.down && (then.down || now.connections != then.connections) {
                        return;
                    }
                }
                std::future::pending().await
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = connected => {}
            }
        }
    }

    async fn round(&self, told: &mut HashSet<(PartyId, String)>) -> Result<(), NotKept> {
        self.sync_registry().await?;
        let Some(registry) = self.desk.copy.registry() else { return Ok(()) };
        let today = wall_clock().date();
        loop {
            let epoch = self.spool.epoch();
            for desk in self.parties.iter().filter(|party| registry.grant(party, Right::Submit, None, today).is_ok()) {
                self.lease_for(desk, &registry, today, told).await?;
            }
            // A restored gateway may have told so only with its answer, and voided what was reckoned with when it was asked.
            if self.spool.epoch() == epoch {
                return Ok(());
            }
        }
    }

    async fn sync_registry(&self) -> Result<(), NotKept> {
        let answer = match self.read_registry().await {
            Ok(answer) => answer,
            Err(error) => {
                // A line that is down is shown as such, and is no answer.
                if let CallError::Refused(refused) | CallError::NotNow(refused) = &error {
                    self.desk.copy.not_synced(refused.to_string());
                }
                return Err(error.into());
            }
        };
        let desk = self.desk.clone();
        // Parsing a province's registry and syncing it to the disk take their time.
        match tokio::task::spawn_blocking(move || desk.copy.take(answer)).await {
            // What this program cannot read it will not be able to read in a moment either; the former stays and says so.
            Ok(Ok(()) | Err(super::CopyError::Unreadable { .. })) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotKept::Registry),
        }
    }

    /// Asks in the name of one party after the other: the registry is the same for all, and one that we may not act for any
    /// more must not keep it from the others.
    async fn read_registry(&self) -> Result<ReadRegistryResponse, CallError> {
        let mut parties = self.parties.iter();
        loop {
            let Some(party) = parties.next() else { return Ok(ReadRegistryResponse::default()) };
            let request = ReadRegistryRequest {
                acting_party: party.to_string(),
                actor: ACTOR.to_owned(),
                version: 0,
                known_version: self.desk.copy.registry().map_or(0, |registry| registry.version()),
            };
            let answer = self.link.registry().read(self.link.request(request, None)).await;
            match answer.map_err(CallError::from_status) {
                Err(CallError::Refused(refused)) if is_shut_out(&refused) && parties.len() > 0 => {}
                Err(error) => return Err(error),
                Ok(answer) => return Ok(answer.into_inner()),
            }
        }
    }

    /// Sees to it that a desk has numbers for the days ahead. Asks for today's in any case, if only to compare the clocks.
    async fn lease_for(
        &self,
        desk: &PartyId,
        registry: &Registry,
        today: Date,
        told: &mut HashSet<(PartyId, String)>,
    ) -> Result<(), NotKept> {
        let days =
            (0..=i64::from(self.desk.config.days_ahead)).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        let authorities = self.authorities(desk, registry, today);
        if let Some(any) = authorities.first()
            && (self.desk.skew_ms().is_none() || !self.desk.knows_the_day())
        {
            // Nothing is asked for but the time: on another day than the gateway's there is nothing to lease.
            let asking = NumbersWanted { authority: any.to_string(), day: today.to_string(), more: 0 };
            match self.lease(desk, vec![asking]).await {
                Err(NotKept::Call(CallError::Refused(refused))) => {
                    tell(told, desk, "the time", &refused);
                    // Without the time nothing can be leased for it, and the other desks are not to wait for that.
                    return Ok(());
                }
                asked => asked?,
            }
        }
        if !self.desk.knows_the_day() {
            return Ok(());
        }
        let wish = |(day, authority): (Date, &PartyId)| {
            let left = self.spool.numbers_left(desk, authority, day);
            let more = if left < self.desk.config.block { self.desk.config.block } else { 0 };
            let wanted = NumbersWanted { authority: authority.to_string(), day: day.to_string(), more };
            (more > 0 || day == today).then_some(wanted)
        };
        let wanted: Vec<_> =
            days.flat_map(|day| authorities.iter().map(move |one| (day, one))).filter_map(wish).collect();
        for wanted in wanted.chunks(MAX_WANTED) {
            match self.lease(desk, wanted.to_vec()).await {
                Ok(()) => {}
                Err(NotKept::Call(CallError::Refused(refused))) if is_shut_out(&refused) => {
                    tell(told, desk, "any", &refused);
                    return Ok(());
                }
                // One that is refused must not cost the desk the others.
                Err(NotKept::Call(CallError::Refused(_))) => {
                    for one in wanted {
                        match self.lease(desk, vec![one.clone()]).await {
                            Ok(()) => {}
                            Err(NotKept::Call(CallError::Refused(refused))) => {
                                tell(told, desk, &format!("{} {}", one.authority, one.day), &refused);
                            }
                            Err(error) => return Err(error),
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The authorities whose numbers a desk may need: itself, those named in the configuration, those it sends to.
    fn authorities(&self, desk: &PartyId, registry: &Registry, today: Date) -> Vec<PartyId> {
        let own = registry.grant(desk, Right::Decide, None, today).is_ok().then(|| desk.clone());
        let recent = self.spool.recent_authorities(desk);
        let recent = recent.iter().filter_map(|authority| authority.parse().ok());
        let mut seen = BTreeSet::new();
        let all = own.into_iter().chain(self.desk.config.authorities.iter().cloned()).chain(recent);
        let in_force = all.filter(|authority| registry.party_in_force(authority, today).is_ok());
        in_force.filter(|authority| seen.insert(authority.clone())).take(MAX_AUTHORITIES).collect()
    }

    async fn lease(&self, desk: &PartyId, wanted: Vec<NumbersWanted>) -> Result<(), NotKept> {
        let request = LeaseNumbersRequest {
            acting_party: desk.to_string(),
            actor: ACTOR.to_owned(),
            spool: self.spool.id().0.to_vec().into(),
            wanted,
        };
        let asked = unix_ms(SystemTime::now());
        let answer = self.link.numbers().lease(self.link.request(request, None)).await;
        let answered = unix_ms(SystemTime::now());
        let LeaseNumbersResponse { blocks, epoch, now } = answer.map_err(CallError::from_status)?.into_inner();
        if let Some(now) = now {
            // The gateway read its clock about half way.
            let ours = asked + (answered - asked) / 2;
            self.desk.compared(now.seconds * 1000 + i64::from(now.nanos / 1_000_000) - ours);
        }
        let new = self.spool.leased(desk, epoch, &blocks).await.map_err(|_| NotKept::Broken)?;
        if new > 0 {
            tracing::debug!(party.id = %desk, blocks = new, "numbers leased");
        }
        Ok(())
    }
}

/// Whether we may not act for the party at all.
fn is_shut_out(refused: &Refused) -> bool {
    refused.refusal().map(Refusal::reason) == Some(Reason::ActsForMissing)
}

/// Says once for each desk what it gets no numbers of.
fn tell(told: &mut HashSet<(PartyId, String)>, desk: &PartyId, of: &str, refused: &Refused) {
    if told.insert((desk.clone(), of.to_owned())) {
        tracing::info!(party.id = %desk, of, %refused, "no numbers are leased");
    }
}
