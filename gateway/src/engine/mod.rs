//! The loops and use cases around the domain: who may speak, what is decided, what is told to whom.
//!
//! One file per step of a dossier's life: [`access`] (who speaks), [`intake`] (decide and commit), [`inbox`] (deliver
//! until acknowledged), [`parked`] (what waits for a person), [`reading`] (how it stands), [`queries`] (live questions to data services), [`erasing`], [`archiving`], [`documents`],
//! [`registry`] (the declared registry and its versions), [`can_i`] (what would be allowed), [`audit`] (who administered what), [`numbers`] (leased ahead, or an authority's own), [`receipt`] (what
//! the gateway signs), [`certificates`] (joining, renewing, revoking), `earlier` (what comes back after a restore). [`clock`], [`connections`], [`lanes`] and [`shares`] serve them.

pub mod access;
pub mod archiving;
pub mod audit;
pub mod can_i;
pub mod certificates;
pub mod clock;
pub mod connections;
pub mod documents;
mod earlier;
pub mod erasing;
pub mod inbox;
pub mod intake;
pub mod lanes;
pub mod numbers;
pub mod parked;
pub mod queries;
pub mod reading;
pub mod receipt;
pub mod registry;
pub mod shares;
#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod testing;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use lgsp_domain::decide::TimeBounds;
use lgsp_domain::numbering::LeaseLimits;
use lgsp_domain::registry::Registry;
use lgsp_journal::room::Shortage;
use lgsp_proto::{Reason, Refusal};
use tokio_util::task::TaskTracker;

use crate::engine::access::SeenCertificates;
use crate::engine::archiving::Archives;
use crate::engine::certificates::Certifying;
use crate::engine::clock::BusinessClock;
use crate::engine::connections::Connections;
use crate::engine::documents::Documents;
use crate::engine::inbox::{Inboxes, Policy};
use crate::engine::lanes::Lanes;
use crate::engine::queries::Queries;
use crate::engine::receipt::ReceiptSigner;
use crate::engine::shares::{Quota, Shares};
use crate::store::{CommitError, ReadError, Store};
use crate::telemetry::counts::Counts;

/// The bus without its sockets. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    registry: ArcSwapOption<Registry>,
    clock: BusinessClock,
    shares: Shares,
    lanes: Lanes,
    inboxes: Inboxes,
    queries: Queries,
    documents: Documents,
    signer: ReceiptSigner,
    certificates: SeenCertificates,
    connections: Arc<Connections>,
    /// Held for reading while a certificate is recorded, alone while keys are put out of force.
    revoking: tokio::sync::RwLock<()>,
    /// Held while a revocation looks whom it would lock out and cuts whom it knows: no disk is written under it.
    cutting: tokio::sync::Mutex<()>,
    archives: OnceLock<Archives>,
    certifying: OnceLock<Certifying>,
    settings: Settings,
    tasks: TaskTracker,
    counts: Arc<Counts>,
}

/// What an operator may set about the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How far business time may lie ahead and back.
    pub time_bounds: TimeBounds,
    /// How long deliveries may be under way, and what happens when they fail.
    pub deliveries: inbox::Policy,
    /// The largest document.
    pub document_bytes_max: u64,
    /// How many admissions are worked on at once.
    pub admissions: usize,
    /// What of them one party may take of which the registry says nothing else.
    pub party_quota: Quota,
    /// How many numbers are leased, and how far ahead.
    pub leases: LeaseLimits,
}

impl Engine {
    /// Puts the engine together and takes the registry in force from the store.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a registry this version cannot parse: then nothing may be decided.
    pub async fn start(
        store: Arc<dyn Store>,
        documents: Documents,
        signer: ReceiptSigner,
        clock: BusinessClock,
        settings: Settings,
    ) -> Result<Self, StartError> {
        Self::start_with(store, documents, signer, clock, settings, Lanes::new(), Inboxes::new).await
    }

    /// As [`Engine::start`], with nothing left to chance: what shares a lane does so in every run. For simulations.
    ///
    /// # Errors
    /// As [`Engine::start`].
    #[cfg(feature = "test-util")]
    pub async fn start_repeatable(
        store: Arc<dyn Store>,
        documents: Documents,
        signer: ReceiptSigner,
        clock: BusinessClock,
        settings: Settings,
    ) -> Result<Self, StartError> {
        Self::start_with(store, documents, signer, clock, settings, Lanes::with_secret(0), Inboxes::repeatable).await
    }

    async fn start_with(
        store: Arc<dyn Store>,
        documents: Documents,
        signer: ReceiptSigner,
        clock: BusinessClock,
        settings: Settings,
        lanes: Lanes,
        inboxes: fn(Policy) -> Inboxes,
    ) -> Result<Self, StartError> {
        let registry = registry::in_force(store.as_ref()).await?;
        let engine = Self {
            inner: Arc::new(Inner {
                inboxes: inboxes(settings.deliveries),
                queries: Queries::new(settings.party_quota),
                registry: ArcSwapOption::new(registry.map(Arc::new)),
                shares: Shares::new(settings.admissions, settings.party_quota),
                lanes,
                certificates: SeenCertificates::default(),
                connections: Arc::default(),
                revoking: tokio::sync::RwLock::default(),
                cutting: tokio::sync::Mutex::default(),
                archives: OnceLock::new(),
                certifying: OnceLock::new(),
                tasks: TaskTracker::new(),
                counts: Arc::default(),
                store,
                documents,
                signer,
                clock,
                settings,
            }),
        };
        engine.recall_revoked().await?;
        engine.sweep_unrecorded().await?;
        engine.begin_sweep().await?;
        Ok(engine)
    }

    /// The registry in force.
    ///
    /// # Errors
    /// `REGISTRY_MISSING` before the first one is applied.
    pub fn registry(&self) -> Result<Arc<Registry>, Refusal> {
        self.inner.registry.load_full().ok_or_else(|| Refusal::new(Reason::RegistryMissing))
    }

    /// The epoch of the books; see [`Store::epoch`].
    ///
    /// # Errors
    /// `INTERNAL` when the store cannot be read.
    pub async fn epoch(&self) -> Result<u32, Refusal> {
        self.inner.store.epoch().await.map_err(read_failed)
    }

    /// The business clock.
    pub fn clock(&self) -> &BusinessClock {
        &self.inner.clock
    }

    /// The store, for figures and health.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Why nothing new is begun just now: a disk is nearly full, the store's or the documents'.
    pub fn shortage(&self) -> Option<Shortage> {
        self.inner.store.figures().shortage.or_else(|| self.inner.documents.room().for_more().err())
    }

    /// Asked before a number is taken, so that those who try again and again do not use them up.
    fn check_room(&self) -> Result<(), Refusal> {
        self.inner.store.figures().shortage.as_ref().map_or(Ok(()), |shortage| Err(disk_full(shortage)))
    }

    /// The open connections, and the keys that may have none.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.inner.connections
    }

    /// What is counted while the gateway works.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.inner.counts
    }

    /// The inboxes, for figures.
    pub fn inboxes(&self) -> &Inboxes {
        &self.inner.inboxes
    }

    /// Finishes the admissions under way, then closes the store. No call may come after it.
    pub async fn stop(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.store.close().await;
    }

    /// Begins `work`, which runs to its end even if the caller goes away in between: a lane must be held until what was
    /// committed is visible, whoever still listens.
    fn to_the_end<T: Send + 'static, W>(&self, work: W) -> impl Future<Output = Result<T, Refusal>> + use<T, W>
    where
        W: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let running = self.inner.tasks.spawn(work);
        async move {
            running.await.unwrap_or_else(|panicked| {
                tracing::error!(%panicked, "an admission panicked");
                Err(Refusal::new(Reason::OutcomeUnknown))
            })
        }
    }
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The registry in force cannot be parsed; `lgsp registry plan` on its files says why.
    #[error("registry version {version} cannot be parsed: {problems} problems, the first at {first}")]
    Registry {
        /// The version.
        version: u64,
        /// How many problems it has.
        problems: usize,
        /// Where the first one is.
        first: String,
    },
}

/// A read that failed is nobody's fault but ours: the log has the cause, the caller gets the reason.
fn read_failed(error: ReadError) -> Refusal {
    tracing::error!(error = &error as &dyn std::error::Error, "the store could not be read");
    Refusal::new(Reason::Internal)
}

/// What a caller may assume after a commit that did not succeed.
fn commit_failed(error: &CommitError) -> Refusal {
    Refusal::new(match error {
        CommitError::Conflict => Reason::StaleVersion,
        CommitError::Full => Reason::Overloaded,
        CommitError::Erased => Reason::ContentErased,
        CommitError::TooLong => Reason::MessageTooLarge,
        CommitError::Disk(shortage) => return disk_full(shortage),
        CommitError::ReadOnly => return Refusal::new(Reason::ReadOnly).detail("cause", "write_failed"),
        CommitError::Unknown => Reason::OutcomeUnknown,
    })
}

/// Nothing is begun while the disk is nearly full; nothing has failed either.
fn disk_full(shortage: &Shortage) -> Refusal {
    let Shortage { free_bytes, needed_bytes } = shortage;
    let refusal = Refusal::new(Reason::ReadOnly).detail("cause", "disk_full");
    refusal.detail("free_bytes", free_bytes).detail("needed_bytes", needed_bytes)
}
