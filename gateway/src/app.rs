//! The composition root: builds the parts, and owns the order in which they start and stop.
//!
//! Starting: bind → tell this machine how far we are → open the store → engine → first registry → serve → ready.
//! Stopping is the way back: not ready → no new calls → calls under way end, within the grace period → inbox streams end →
//! engine and store. Every task that outlives a call is spawned here, and what its end means is said here.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use lgsp_certs::tls::TlsFileError;
use lgsp_certs::{Credentials, Usage};
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::{Refusal, v1};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::local::{self, HEALTH_LOOK, Node, Stage};
use crate::api::{Bus, Health, SharedTls};
use crate::backup;
use crate::config::{self, Config};
use crate::engine::archiving::{Archives, Order};
use crate::engine::clock::{BusinessClock, machine_now};
use crate::engine::documents::Documents;
use crate::engine::receipt::ReceiptSigner;
use crate::engine::{Engine, Settings, StartError as EngineError};
use crate::store::sled::{Limits, OpenError, Options, Progress, SledStore};
use crate::store::{Commit, CommitError, OWN_NAME, ReadError, Store};

/// How often it is looked whether the books were copied out.
const EXPORTS_LOOK: Duration = Duration::from_secs(2);

/// A gateway that has its sockets and its certificate, and nothing else yet.
pub struct App {
    config: Config,
    bus: TcpListener,
    local: TcpListener,
    credentials: Credentials,
    tls: SharedTls,
}

/// Why a gateway could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key})")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The store cannot be opened.
    #[error("the store in {} cannot be opened", dir.display())]
    Store {
        /// Its folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The folder of documents cannot be used.
    #[error("the document folder {} cannot be used", dir.display())]
    Documents {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The engine does not start on what the store holds.
    #[error("the engine does not start")]
    Engine(#[from] EngineError),
    /// The gateway's own certificate could not be put on record.
    #[error("the gateway's certificate could not be put on record")]
    OwnCertificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The first registry cannot be read.
    #[error("the first registry in {} cannot be read", dir.display())]
    FirstRegistry {
        /// Its folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The first registry was refused.
    #[error("the first registry was refused")]
    RegistryRefused(#[source] Refusal),
    /// A server ended by itself.
    #[error("the {0} listener ended by itself")]
    Ended(&'static str, #[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

impl App {
    /// Binds the sockets and loads the certificate: what an operator most often gets wrong is told at once.
    ///
    /// # Errors
    /// [`RunError::Tls`], [`RunError::Listen`].
    pub async fn build(config: Config) -> Result<Self, RunError> {
        let credentials = config.tls.load(Usage::Server, machine_now())?;
        let tls = Arc::new(ArcSwap::from_pointee(credentials.server_config()));
        let bus = bind("listen.bus", config.listen.bus).await?;
        let local = bind("listen.local", config.listen.local).await?;
        Ok(Self { config, bus, local, credentials, tls })
    }

    /// Where the bus listens; tells the port when the configuration asked for any.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn bus_address(&self) -> io::Result<SocketAddr> {
        self.bus.local_addr()
    }

    /// Where the local listener is.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.local.local_addr()
    }

    /// The TLS configuration of new connections, to be swapped when certificates change.
    pub fn tls(&self) -> SharedTls {
        Arc::clone(&self.tls)
    }

    /// Runs until `shutdown` is cancelled and everything has ended; `ready` is told when the bus serves.
    ///
    /// # Errors
    /// Why it could not start, or ended by itself. What was answered is durable all the same.
    pub async fn run(self, shutdown: CancellationToken, ready: oneshot::Sender<()>) -> Result<(), RunError> {
        let Self { config, bus, local, credentials, tls } = self;
        let (stage, watched) = watch::channel(Stage::Starting("opening the store".to_owned()));
        let node = Node {
            name: config.name.to_string(),
            begun: Instant::now(),
            stage: watched,
            replay: matches!(config.business_clock, config::BusinessClock::Replay { .. }),
        };
        // The local listener is the last to go, so that probes can follow the node to its end.
        let local_stop = CancellationToken::new();
        let _local_stops_with_us = local_stop.clone().drop_guard();
        let local = tokio::spawn(local::serve(local, node, local_stop));

        let engine = start(&config, &credentials, &stage).await?;
        let stopping = CancellationToken::new();
        let services = Bus::new(&engine, &config.limits, &stopping).await;
        let health = services.health();
        stage.send_replace(Stage::Serving(engine.clone()));
        let served = {
            let (limits, stopping, name) = (config.limits.clone(), stopping.clone(), config.name.clone());
            tokio::spawn(async move { services.serve(bus, tls, name, &limits, stopping).await })
        };
        let archiving = config.retention.archive_after_days.map(|days| {
            let (engine, every, stopping) = (engine.clone(), config.retention.archive_every, stopping.clone());
            tokio::spawn(archive_in_background(engine, days, every, stopping))
        });
        let exports = tokio::spawn(note_exports(engine.clone(), config.store.dir.clone(), stopping.clone()));
        let looking = tokio::spawn(follow_readiness(stage.subscribe(), health.clone()));
        let serving = stage.borrow().not_ready().is_none();
        health.set(serving).await;
        tracing::info!("ready");
        let _ = ready.send(());

        let ended = Parts { served, local }.until(&shutdown).await;
        looking.abort();
        stage.send_replace(Stage::Stopping(engine.clone()));
        health.set(false).await;
        tracing::info!(grace_s = config.limits.grace.as_secs(), "stopping");
        stopping.cancel();
        let grace = config.limits.grace;
        let ended = ended.drained(grace).await;
        if let Some(archiving) = archiving {
            // It gives up what it is at, and is not waited for when a disk hangs. Should it have panicked, nothing but archiving
            // came to an end.
            let given_up = archiving.abort_handle();
            if tokio::time::timeout(grace, archiving).await.is_err() {
                tracing::warn!("archiving did not end within the grace period");
                given_up.abort();
            }
        }
        // What it has not noted yet, the next start does.
        let not_waited_for = exports.abort_handle();
        if tokio::time::timeout(grace, exports).await.is_err() {
            not_waited_for.abort();
        }
        engine.stop().await;
        tracing::info!("stopped");
        ended
    }
}

/// The two servers under way. Neither ends before it is told to; if one does, the node stops.
struct Parts {
    served: JoinHandle<Result<(), tonic::transport::Error>>,
    local: JoinHandle<io::Result<()>>,
}

/// What ended the node's work, and what is left to drain.
struct Ending {
    served: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
    result: Result<(), RunError>,
}

impl Parts {
    async fn until(mut self, shutdown: &CancellationToken) -> Ending {
        tokio::select! {
            () = shutdown.cancelled() => Ending { served: Some(self.served), result: Ok(()) },
            ended = &mut self.served => Ending { served: None, result: Err(by_itself("bus", ended)) },
            ended = &mut self.local => Ending { served: Some(self.served), result: Err(by_itself("local", ended)) },
        }
    }
}

impl Ending {
    /// Waits for the calls under way, but not for ever.
    async fn drained(self, grace: Duration) -> Result<(), RunError> {
        if let Some(mut served) = self.served
            && tokio::time::timeout(grace, &mut served).await.is_err()
        {
            tracing::warn!("some calls did not end within the grace period");
            served.abort();
        }
        self.result
    }
}

fn by_itself<E: std::error::Error + Send + Sync + 'static>(
    which: &'static str,
    ended: Result<Result<(), E>, JoinError>,
) -> RunError {
    RunError::Ended(
        which,
        match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.into()),
            Err(panicked) => Some(panicked.into()),
        },
    )
}

/// From nothing to an engine with a registry, or without one if none was given.
async fn start(config: &Config, credentials: &Credentials, stage: &watch::Sender<Stage>) -> Result<Engine, RunError> {
    let store: Arc<dyn Store> = Arc::new(open_store(&config.store, stage).await?);
    let started = start_on(&store, config, credentials).await;
    if started.is_err() {
        store.close().await;
    }
    started
}

async fn start_on(store: &Arc<dyn Store>, config: &Config, credentials: &Credentials) -> Result<Engine, RunError> {
    let certificate = Sha256Digest::from(*credentials.digest().as_bytes());
    record_own_certificate(store.as_ref(), credentials, certificate).await?;
    let documents = open_documents(config.documents.dir.clone()).await?;
    let documents = documents.keeping_free(config.store.min_free_bytes);
    let signer = ReceiptSigner::new(Arc::clone(credentials.signing_key()), certificate, config.name.to_string());
    let clock = match config.business_clock {
        config::BusinessClock::System => BusinessClock::System,
        config::BusinessClock::Replay { start } => BusinessClock::replay(start),
    };
    let settings = Settings {
        time_bounds: config.limits.time_bounds,
        deliveries: config.limits.deliveries,
        document_bytes_max: config.documents.max_bytes,
        admissions: config.limits.admissions,
        party_quota: config.limits.party,
        leases: config.limits.leases,
    };
    let engine = Engine::start(Arc::clone(store), documents, signer, clock, settings).await?;
    let config::Retention { archive_after_days, archive_dir, .. } = &config.retention;
    engine.archive_into(Archives::new(archive_dir.clone(), config.store.min_free_bytes, *archive_after_days));
    if let (Err(_), Some(dir)) = (engine.registry(), &config.first_registry) {
        apply_first_registry(&engine, dir).await?;
    }
    Ok(engine)
}

/// Opening reads as much as was written since the last checkpoint, so it has a thread of its own and says how far it is.
async fn open_store(config: &config::Store, stage: &watch::Sender<Stage>) -> Result<SledStore, RunError> {
    let limits = Limits { min_free_bytes: config.min_free_bytes, ..Limits::default() };
    let options = Options { dir: config.dir.clone(), node_key: config.node_key.clone(), limits };
    let stage = stage.clone();
    let progress = move |progress: Progress| {
        let doing = in_words(&progress);
        tracing::info!(?progress, "opening the store");
        stage.send_replace(Stage::Starting(doing));
    };
    let opened = tokio::task::spawn_blocking(move || SledStore::open(&options, progress)).await;
    let opened = opened.expect("opening a store does not panic, and is not aborted");
    opened.map_err(|source| RunError::Store { dir: config.dir.clone(), source })
}

fn in_words(progress: &Progress) -> String {
    match progress {
        Progress::JournalOpened { durable, .. } => format!("the journal is open, its last record is {durable}"),
        Progress::IndexRead { entries } => format!("reading the index: {entries} entries"),
        Progress::ErasuresChecked { dossiers } => format!("looking at erased dossiers again: {dossiers}"),
        Progress::Rebuilding { why, .. } => format!("making the index again: {why}"),
        Progress::SnapshotPassedOver { position, why } => {
            format!("passing over the snapshot at record {position}: {why}")
        }
        Progress::SnapshotLoaded { position, entries, of } => {
            format!("making the index from the snapshot at record {position}: {entries} of {of} entries")
        }
        Progress::CatchingUp { applied, durable } => format!("bringing the index up to date: {applied} of {durable}"),
    }
}

async fn open_documents(dir: PathBuf) -> Result<Documents, RunError> {
    let opened = tokio::task::spawn_blocking({
        let dir = dir.clone();
        move || Documents::open(dir)
    });
    let opened = opened.await.expect("opening a folder does not panic, and is not aborted");
    opened.map_err(|source| RunError::Documents { dir, source })
}

/// Puts our certificate on record before the first receipt it signs, as it is done for everybody else's.
async fn record_own_certificate(
    store: &dyn Store,
    credentials: &Credentials,
    digest: Sha256Digest,
) -> Result<(), RunError> {
    let unread = |error: ReadError| RunError::OwnCertificate(error.into());
    if store.knows_certificate(&digest).await.map_err(unread)? {
        return Ok(());
    }
    let der = Bytes::copy_from_slice(credentials.certificate());
    let commit = Commit::Certificate { digest, der, system: OWN_NAME.to_owned() };
    store.commit(commit).await.map_err(|error: CommitError| RunError::OwnCertificate(error.into()))
}

async fn apply_first_registry(engine: &Engine, dir: &Path) -> Result<(), RunError> {
    let files = registry_files(dir).map_err(|source| RunError::FirstRegistry { dir: dir.to_owned(), source })?;
    match engine.apply_first_registry(files).await {
        Ok(version) => {
            tracing::info!(version = version.number, dir = %dir.display(), "first registry applied");
            Ok(())
        }
        Err(refusal) => Err(RunError::RegistryRefused(refusal)),
    }
}

/// The `*.toml` files of a folder, by name.
pub(crate) fn registry_files(dir: &Path) -> io::Result<Vec<v1::RegistryFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml")
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            files.push(v1::RegistryFile { name: name.to_owned(), content: std::fs::read(&path)?.into() });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Keeps the health service true to the node. Aborted when the node stops.
async fn follow_readiness(stage: watch::Receiver<Stage>, health: Health) {
    let mut look = tokio::time::interval(HEALTH_LOOK);
    let mut serving = None;
    loop {
        look.tick().await;
        let now = stage.borrow().not_ready().is_none();
        if serving.replace(now) != Some(now) {
            health.set(now).await;
        }
    }
}

/// Archives what is due, now and then, until the node stops. What fails is tried again the next time.
async fn archive_in_background(engine: Engine, after_days: u32, every: Duration, stopping: CancellationToken) {
    let order = Order::of_the_gateway(after_days);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        if let Err(refusal) = engine.archive(&order, &stopping, &|_| ()).await {
            tracing::warn!(%refusal, "closed dossiers could not be archived");
        }
    }
}

/// Puts on record that the books were copied out beside the bus, as the notes in the data folder say, until the node stops.
async fn note_exports(engine: Engine, data: PathBuf, stopping: CancellationToken) {
    // What cannot be recorded or removed is tried again, and told of once.
    let mut told = HashSet::new();
    loop {
        let dir = data.clone();
        let found = tokio::task::spawn_blocking(move || backup::announced(&dir)).await;
        let notes = found.unwrap_or_else(|panicked| Err(panicked.into()));
        let notes = notes.unwrap_or_else(|error| {
            if told.insert(data.clone()) {
                tracing::warn!(%error, "the notes of copied books cannot be read");
            }
            Vec::new()
        });
        for note in notes {
            let done = match note.exported.clone() {
                None => Err("it is damaged, or of a later version".to_owned()),
                Some(exported) => match engine.note_export(exported).await {
                    Ok(()) => note.remove().map_err(|error| error.to_string()),
                    Err(refusal) => Err(refusal.to_string()),
                },
            };
            if let Err(why) = done
                && told.insert(note.path().to_owned())
            {
                tracing::warn!(why, note = %note.path().display(), "a note of copied books stays");
            }
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(EXPORTS_LOOK) => {}
        }
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { key, address, source })
}
