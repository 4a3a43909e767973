//! The composition root: builds the parts, and owns the order in which they start and stop.
//!
//! Starting: bind → tell this machine how far we are → open the store → engine → first registry → serve → ready.
//! Stopping is the way back: not ready → no new calls → calls under way end, within the grace period → inbox streams end →
//! engine and store. Every task that outlives a call is spawned here, and what its end means is said here.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lgsp_certs::reload::Files;
use lgsp_certs::tls::{NoOwnRoot, TlsFileError};
use lgsp_certs::{CaError, CertificateFacts, TrustDomain};
use lgsp_domain::registry::SCHEMA_SUFFIX;
use lgsp_proto::{Refusal, v1};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::enrolment;
use crate::api::local::{self, HEALTH_LOOK, Node, Stage};
use crate::api::{Bus, Health};
use crate::backup;
use crate::config::{self, Config};
use crate::engine::archiving::{Archives, Order};
use crate::engine::certificates::{Authority, Certifying, Doors, TrustFiles};
use crate::engine::clock::{BusinessClock, machine_now};
use crate::engine::documents::Documents;
use crate::engine::{Engine, Settings, StartError as EngineError};
use crate::store::Store;
use crate::store::sled::{Limits, OpenError, Options, Progress, SledStore};
use crate::telemetry::Metrics;
use crate::tls::keeper::{self, Asked, Keeper, Reload};
use crate::tls::standing::Standing;
use crate::tls::{Generation, Loaded};

/// How often it is looked whether what was asked for dossiers has waited for them long enough.
const LAPSES_LOOK: Duration = Duration::from_secs(600);

/// How often it is looked whether the books were copied out.
const EXPORTS_LOOK: Duration = Duration::from_secs(2);

/// A gateway that has its sockets and its certificate, and nothing else yet.
pub struct App {
    config: Config,
    bus: TcpListener,
    local: TcpListener,
    /// Where systems join.
    enrol: Option<TcpListener>,
    /// What signs their certificates.
    authority: Option<Authority>,
    certificates: Certificates,
    reload: Reload,
    engine: Arc<OnceLock<Engine>>,
}

/// What was loaded, and what is needed to load the next.
struct Certificates {
    loaded: Loaded,
    /// As they looked before they were read.
    files: Files,
    standing: Arc<Standing>,
    asked: Asked,
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
    /// Whoever joins could not know the gateway by its root.
    #[error("nobody could join: {0}")]
    NoOwnRoot(#[from] NoOwnRoot),
    /// The issuing CA cannot be used.
    #[error("the issuing CA (ca.dir) cannot be used")]
    Ca(#[from] CaError),
    /// The issuing CA signs names that nobody here has.
    #[error("the issuing CA (ca.dir) is of the trust domain {found}, and the bus of {ours}")]
    CaOfAnother {
        /// The CA's.
        found: TrustDomain,
        /// The bus's.
        ours: TrustDomain,
    },
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
    /// [`RunError::Tls`], [`RunError::Ca`], [`RunError::CaOfAnother`], [`RunError::NoOwnRoot`], [`RunError::Listen`].
    pub async fn build(config: Config) -> Result<Self, RunError> {
        let (files, now) = (keeper::files_of(&config.tls), machine_now());
        let loaded = Loaded::load(&config.tls, now)?;
        let (reload, asked) = Reload::new();
        let standing = Arc::new(Standing::of(&loaded, now));
        let certificates = Certificates { loaded, files, standing, asked };
        let authority = authority(&config)?;
        let bus = bind("listen.bus", config.listen.bus).await?;
        let local = bind("listen.local", config.listen.local).await?;
        let enrol = match config.listen.enrol {
            Some(address) => {
                // Found out now, and not when somebody joins.
                let _ = certificates.loaded.credentials().server_config_with_root(now)?;
                Some(bind("listen.enrol", address).await?)
            }
            None => None,
        };
        Ok(Self { config, bus, local, enrol, authority, certificates, reload, engine: Arc::default() })
    }

    /// Where systems join, if they can.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn enrolment_address(&self) -> io::Result<Option<SocketAddr>> {
        self.enrol.as_ref().map(TcpListener::local_addr).transpose()
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

    /// Where the engine will be once the bus serves.
    #[cfg(feature = "test-util")]
    pub fn engine(&self) -> Arc<OnceLock<Engine>> {
        Arc::clone(&self.engine)
    }

    /// Asks for the certificates to be read again, without waiting until it is seen that they changed.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Runs until `shutdown` is cancelled and everything has ended; `ready` is told when the bus serves.
    ///
    /// # Errors
    /// Why it could not start, or ended by itself. What was answered is durable all the same.
    pub async fn run(self, shutdown: CancellationToken, ready: oneshot::Sender<()>) -> Result<(), RunError> {
        let doors = self.doors()?;
        let Self { config, bus, local, enrol, authority, certificates, engine: told, .. } = self;
        let Certificates { loaded, files, standing, asked } = certificates;
        let (stage, watched) = watch::channel(Stage::Starting("opening the store".to_owned()));
        let metrics = Arc::new(Metrics::new());
        let node = Node {
            name: config.name.to_string(),
            begun: Instant::now(),
            started_at: machine_now(),
            metrics: Arc::clone(&metrics),
            stage: watched,
            certificates: Arc::clone(&standing),
            replay: matches!(config.business_clock, config::BusinessClock::Replay { .. }),
        };
        // The local listener is the last to go, so that probes can follow the node to its end.
        let local_stop = CancellationToken::new();
        let _local_stops_with_us = local_stop.clone().drop_guard();
        let local = tokio::spawn(local::serve(local, node, local_stop));

        let (engine, generation) = start(&config, loaded, &stage).await?;
        let unkept = !generation.loaded().keep(&config.tls);
        let (current, generations) = watch::channel(generation);
        metrics.follow(generations.clone());
        let own_root = {
            let generations = generations.clone();
            move || generations.borrow().loaded().credentials().own_root(machine_now()).cloned()
        };
        let (dir, more) = config.ca.as_ref().map(|ca| (ca.dir.clone(), ca.more_roots.clone())).unzip();
        let lists = {
            let generations = generations.clone();
            move |roots: &[CertificateDer<'_>]| generations.borrow().loaded().lists_under(roots)
        };
        let in_force = {
            let generations = generations.clone();
            move || generations.borrow().in_force()
        };
        let trust = TrustFiles::new(own_root, dir, more.flatten()).and_lists(lists);
        engine.certify_with(Certifying::new(authority, doors, trust).under(in_force));
        let _ = told.set(engine.clone());
        let stopping = CancellationToken::new();
        let services = Bus::new(&engine, &config.limits, &stopping).await;
        let health = services.health();
        stage.send_replace(Stage::Serving(engine.clone()));
        let served = {
            let (limits, stopping, engine) = (config.limits.clone(), stopping.clone(), engine.clone());
            tokio::spawn(async move {
                let bus_ends = stopping.child_token();
                let enrolment = async {
                    if let Some(tcp) = enrol {
                        let (engine, stop) = (engine.clone(), bus_ends.clone());
                        enrolment::serve(tcp, generations.clone(), engine, &limits, stop).await;
                    }
                };
                let bus = async {
                    services.serve(bus, engine.clone(), generations.clone(), &limits, stopping).await;
                    bus_ends.cancel();
                };
                tokio::join!(bus, enrolment);
            })
        };
        // Ends with the node. Should it panic, what is in force stays in force.
        let keeping = {
            let (tls, ours) = (config.tls.clone(), config.name.clone());
            let keeper = Keeper { tls, ours, engine: engine.clone(), current, standing, files, unkept };
            tokio::spawn(keeper.run(asked, stopping.clone()))
        };
        let archiving = config.retention.archive_after_days.map(|days| {
            let (engine, every, stopping) = (engine.clone(), config.retention.archive_every, stopping.clone());
            tokio::spawn(archive_in_background(engine, days, every, stopping))
        });
        let unattached = u64::from(config.queries.unattached_days) * 24 * 3600;
        let lapsing =
            tokio::spawn(lapse_in_background(engine.clone(), Duration::from_secs(unattached), stopping.clone()));
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
        // A key that it has not destroyed yet, the next start destroys.
        let not_waited_for = lapsing.abort_handle();
        if tokio::time::timeout(grace, lapsing).await.is_err() {
            not_waited_for.abort();
        }
        // It may be writing a certificate down.
        _ = tokio::time::timeout(grace, keeping).await;
        engine.stop().await;
        tracing::info!("stopped");
        ended
    }
}

/// What signs, if anything does.
fn authority(config: &Config) -> Result<Option<Authority>, RunError> {
    let Some(ca) = &config.ca else { return Ok(None) };
    let authority = Authority::open(ca.dir.clone(), ca.leaf_life, ca.token_valid)?;
    let (found, ours) = (authority.trust_domain(), &config.name);
    if found == *ours { Ok(Some(authority)) } else { Err(RunError::CaOfAnother { found, ours: ours.clone() }) }
}

impl App {
    /// Where others find the gateway: as an operator says, or by its certificate and the ports it listens on.
    fn doors(&self) -> Result<Doors, RunError> {
        let listen = &self.config.listen;
        let port = |tcp: &TcpListener, key, address| {
            let bound = tcp.local_addr().map_err(|source| RunError::Listen { key, address, source });
            bound.map(|bound| self.url(bound))
        };
        let told = |key: fn(&config::Ca) -> &Option<String>| self.config.ca.as_ref().and_then(|ca| key(ca).clone());
        let bus = port(&self.bus, "listen.bus", listen.bus)?;
        let enrol = self.enrol.as_ref().zip(listen.enrol).map(|(tcp, address)| port(tcp, "listen.enrol", address));
        Ok(Doors {
            enrolment_url: enrol.transpose()?.map(|url| told(|ca| &ca.enrol_url).unwrap_or(url)),
            bus_url: told(|ca| &ca.bus_url).unwrap_or(bus),
            server_name: told(|ca| &ca.server_name),
        })
    }

    fn url(&self, at: SocketAddr) -> String {
        let facts = CertificateFacts::read(self.certificates.loaded.credentials().certificate()).ok();
        let host = facts.and_then(|facts| facts.hosts.into_iter().next()).unwrap_or_else(|| at.ip().to_string());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        format!("https://{host}:{}", at.port())
    }
}

/// The two servers under way. Neither ends before it is told to; if one does, the node stops.
struct Parts {
    served: JoinHandle<()>,
    local: JoinHandle<io::Result<()>>,
}

/// What ended the node's work, and what is left to drain.
struct Ending {
    served: Option<JoinHandle<()>>,
    result: Result<(), RunError>,
}

impl Parts {
    async fn until(mut self, shutdown: &CancellationToken) -> Ending {
        tokio::select! {
            () = shutdown.cancelled() => Ending { served: Some(self.served), result: Ok(()) },
            ended = &mut self.served => Ending { served: None, result: Err(by_itself("bus", ended.map(Ok::<_, io::Error>))) },
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
async fn start(
    config: &Config,
    loaded: Loaded,
    stage: &watch::Sender<Stage>,
) -> Result<(Engine, Arc<Generation>), RunError> {
    let store: Arc<dyn Store> = Arc::new(open_store(&config.store, stage).await?);
    let started = start_on(&store, config, loaded).await;
    if started.is_err() {
        store.close().await;
    }
    started
}

async fn start_on(
    store: &Arc<dyn Store>,
    config: &Config,
    loaded: Loaded,
) -> Result<(Engine, Arc<Generation>), RunError> {
    keeper::put_on_record(store.as_ref(), loaded.credentials()).await.map_err(RunError::OwnCertificate)?;
    let signer = loaded.signer(&config.name);
    let documents = open_documents(config.documents.dir.clone()).await?;
    let documents = documents.keeping_free(config.store.min_free_bytes);
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
    let generation = Generation::new(loaded, config.name.clone(), engine.connections());
    Ok((engine, Arc::new(generation)))
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

/// The files of a registry in a folder, by name: `*.toml`, and the schemas of its services.
pub(crate) fn registry_files(dir: &Path) -> io::Result<Vec<v1::RegistryFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && (name.ends_with(".toml") || name.ends_with(SCHEMA_SUFFIX))
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

/// Lets go of what was asked for dossiers that have not come in for `after`, now and then, until the node stops. What fails is tried
/// again the next time.
async fn lapse_in_background(engine: Engine, after: Duration, stopping: CancellationToken) {
    loop {
        // First of all, for what came due while the node was down.
        match engine.lapse_matters(after).await {
            Ok(0) => {}
            Ok(lapsed) => tracing::info!(lapsed, "what was asked for dossiers that never came in is erased"),
            Err(refusal) => {
                tracing::warn!(%refusal, "what was asked for dossiers that never came in could not be erased")
            }
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LAPSES_LOOK) => {}
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
