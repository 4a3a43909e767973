//! The loops and use cases around the domain: who may speak, what is decided, what is told to whom.
//!
//! One file per step of a dossier's life: [`access`] (who speaks), [`intake`] (decide and commit), [`inbox`] (deliver
//! until acknowledged), [`reading`] (how it stands), [`documents`], [`registry`] (the declared registry and its
//! versions), [`receipt`] (what the gateway signs), `earlier` (what comes back after a restore). [`clock`] and [`lanes`] serve them.

pub mod access;
pub mod clock;
pub mod documents;
mod earlier;
pub mod inbox;
pub mod intake;
pub mod lanes;
pub mod reading;
pub mod receipt;
pub mod registry;
#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lgsp_domain::decide::TimeBounds;
use lgsp_domain::registry::Registry;
use lgsp_proto::{Reason, Refusal};
use tokio_util::task::TaskTracker;

use crate::engine::access::SeenCertificates;
use crate::engine::clock::BusinessClock;
use crate::engine::documents::Documents;
use crate::engine::inbox::Inboxes;
use crate::engine::lanes::Lanes;
use crate::engine::receipt::ReceiptSigner;
use crate::store::{CommitError, ReadError, Store};

/// The bus without its sockets. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    registry: ArcSwapOption<Registry>,
    clock: BusinessClock,
    lanes: Lanes,
    inboxes: Inboxes,
    documents: Documents,
    signer: ReceiptSigner,
    certificates: SeenCertificates,
    settings: Settings,
    tasks: TaskTracker,
}

/// What an operator may set about the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How far business time may lie ahead and back.
    pub time_bounds: TimeBounds,
    /// How long a delivery may be under way before it is delivered again.
    pub lease: Duration,
    /// How long a declined delivery waits before it is delivered again.
    pub decline_pause: Duration,
    /// The largest document.
    pub document_bytes_max: u64,
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
        let registry = registry::in_force(store.as_ref()).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                inboxes: Inboxes::new(settings.lease, settings.decline_pause),
                registry: ArcSwapOption::new(registry.map(Arc::new)),
                lanes: Lanes::new(),
                certificates: SeenCertificates::default(),
                tasks: TaskTracker::new(),
                store,
                documents,
                signer,
                clock,
                settings,
            }),
        })
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
        CommitError::ReadOnly => Reason::ReadOnly,
        CommitError::Unknown => Reason::OutcomeUnknown,
    })
}
