//! The gateway: one engine on one simulated disk, started, killed and started again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lgsp_domain::decide::TimeBounds;
use lgsp_domain::numbering::LeaseLimits;
use lgsp_gateway::backup::{Beginning, begin as begin_epoch};
use lgsp_gateway::engine::clock::BusinessClock;
use lgsp_gateway::engine::documents::Documents;
use lgsp_gateway::engine::inbox::Policy;
use lgsp_gateway::engine::shares::Quota;
use lgsp_gateway::engine::{Engine, Settings};
use lgsp_gateway::store::sled::{Limits, SteppedStore};
use lgsp_gateway::store::{Commit, EpochStarted, Store};
use lgsp_journal::testing::Disk;
use tokio_util::sync::CancellationToken;

use crate::house::HOUSE;
use crate::request::time;

/// How long a delivery may be under way.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// A gateway that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<SteppedStore>,
    /// Cancelled in the moment it dies: from then on nobody hears anything from it.
    pub(crate) died: CancellationToken,
}

/// The gateway as the network finds it: whoever calls meets the one that runs at that moment.
#[derive(Clone, Default)]
pub(crate) struct Door {
    running: Arc<Mutex<Option<Running>>>,
    restored: Arc<AtomicU64>,
}

impl Door {
    pub(crate) fn knock(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often its books were restored. No connection lasts as long as a restore does, so nothing that was under way arrives.
    pub(crate) fn restored(&self) -> u64 {
        self.restored.load(Ordering::Acquire)
    }

    /// Takes the gateway away as a crash does, if it runs. What its disk holds then is the caller's business.
    pub(crate) fn kill(&self) {
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        running.died.cancel();
        running.store.kill();
    }

    /// Begins a new epoch of the books on `disk`, which are those of a backup; the store is left to be looked at, and ended.
    pub(crate) async fn restore(
        &self,
        disk: &Disk,
        beginning: impl FnOnce(&SteppedStore) -> Beginning,
    ) -> Result<(EpochStarted, Arc<SteppedStore>), String> {
        self.restored.fetch_add(1, Ordering::AcqRel);
        let store = Arc::new(open(disk)?);
        let begun = tokio::spawn({
            let (store, beginning) = (Arc::clone(&store), beginning(&store));
            async move { begin_epoch(store.as_ref(), beginning).await.map_err(|error| error.to_string()) }
        });
        while !begun.is_finished() {
            tokio::task::yield_now().await;
            store.write_batch();
        }
        Ok((begun.await.map_err(|error| error.to_string())??, store))
    }

    /// Starts the gateway on `disk`, its business clock at `now`.
    pub(crate) async fn start(&self, disk: &Disk, now: i64) -> Result<(), String> {
        let store = Arc::new(open(disk)?);
        let documents = Documents::open(HOUSE.documents()).map_err(|error| error.to_string())?;
        let settings = Settings {
            time_bounds: TimeBounds::default(),
            deliveries: Policy {
                lease: LEASE,
                pause: Duration::from_secs(20),
                pause_max: Duration::from_secs(300),
                attempts: 4,
            },
            document_bytes_max: 1 << 20,
            admissions: 512,
            party_quota: Quota { per_second: 10_000, at_once: 1_000 },
            // Few, so that they run out.
            leases: LeaseLimits { days: 3, block: 3, hold: 6 },
        };
        let clock = BusinessClock::replay(time(now));
        let port: Arc<dyn Store> = Arc::clone(&store) as _;
        let engine = Engine::start_repeatable(port, documents, HOUSE.signer.clone(), clock, settings).await;
        let engine = engine.map_err(|error| format!("the engine does not start: {error}"))?;
        engine.certify_with(HOUSE.certifying());
        let ready = tokio::spawn({
            let (engine, store) = (engine.clone(), Arc::clone(&store));
            async move { begin(&engine, store.as_ref()).await }
        });
        while !ready.is_finished() {
            tokio::task::yield_now().await;
            store.write_batch();
        }
        ready.await.map_err(|error| error.to_string())??;
        let running = Running { engine, store, died: CancellationToken::new() };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }
}

fn open(disk: &Disk) -> Result<SteppedStore, String> {
    let store = SteppedStore::open(disk.files(), disk.files(), &HOUSE.node_key(), Limits::default());
    store.map_err(|error| format!("the store does not open: {error}"))
}

/// What a gateway puts on record before it is ready, unless it is there already: its certificate, and a registry.
async fn begin(engine: &Engine, store: &dyn Store) -> Result<(), String> {
    let (digest, der) = (HOUSE.certificate, HOUSE.certificate_der.clone());
    if !store.knows_certificate(&digest).await.map_err(|error| error.to_string())? {
        let commit =
            Commit::Certificate { digest, der, system: "gateway".to_owned(), at: std::time::SystemTime::UNIX_EPOCH };
        store.commit(commit).await.map_err(|error| error.to_string())?;
    }
    if engine.registry().is_err() {
        let applied = engine.apply_first_registry(HOUSE.registry.clone()).await;
        applied.map_err(|refusal| format!("no registry: {refusal}"))?;
    }
    Ok(())
}
