//! Puts an adapter together, and takes it apart again in order.
//!
//! Up: link, spool, port, loops, ready. Down: nothing new is taken in, what is under way is finished within its time, the
//! spool is closed. Whatever that leaves unfinished is in the spool, and goes on at the next start.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Extension;
use axum::extract::ConnectInfo;
use axum::serve::ListenerExt as _;
use lgsp_certs::{Credentials, SpiffeId};
use lgsp_journal::fault;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, AccessFileError, Origin};
use crate::acting::Acting;
use crate::config::{Config, WebhookUrl};
use crate::connector::{Connector, posted};
use crate::folder::{self, ToFolder};
use crate::forward::Forward;
use crate::handover::{Blames, HandOver};
use crate::identity::{self, Folder, Leaf, Source};
use crate::link::{ConnectError, Link};
use crate::office::{Busy, Office};
use crate::offline::{Copy, Desk, Keeper};
use crate::population;
use crate::portal::{Portal, ToPortal};
use crate::procedures;
use crate::pump;
use crate::receive::Receive;
use crate::rest::remote::{Remote, Tls};
use crate::rest::{self, Api, Rooms};
use crate::spool::{self, Spool};
use crate::tables::{self, Tables, ToTables};
use crate::telemetry;
use crate::webhook::{self, Webhooks};

/// How often outcomes whose time is over are looked for.
const TIDY_UP_EVERY: Duration = Duration::from_secs(600);

/// Finished records at a start that are worth tidying up for.
const RESTATE_AFTER: u64 = 4096;

/// What a started adapter tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ready {
    /// Where the local interface listens.
    pub rest: SocketAddr,
    /// And where for other machines, if it does.
    pub remote: Option<SocketAddr>,
}

/// Why an adapter did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The way to the gateway cannot even be tried.
    #[error("the link to the gateway cannot be set up")]
    Link(#[from] ConnectError),
    /// There is no identity yet.
    #[error("there is no identity in {} yet; join first: lgsp adapter join", folder.display())]
    NotJoined {
        /// Where it should be.
        folder: PathBuf,
    },
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] spool::OpenError),
    /// The folder of the registry's copy.
    #[error("the registry's copy cannot be kept in {}", folder.display())]
    Copy {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// Who may call cannot be read.
    #[error(transparent)]
    Access(#[from] AccessFileError),
    /// The certificate for other machines.
    #[error("[remote] cannot be served")]
    Remote(#[from] lgsp_certs::tls::TlsFileError),
    /// The files of the connector to the population database.
    #[error("[population] cannot be served")]
    Population(#[from] population::NotUsable),
    /// The secrets that webhooks are signed with.
    #[error("the webhook secrets in {} cannot be used", file.display())]
    WebhookSecrets {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The CA certificates of https webhooks.
    #[error("webhook.bundle cannot be used")]
    WebhookBundle(#[source] lgsp_certs::tls::TlsFileError),
    /// The CA certificates of the portal.
    #[error("portal.bundle cannot be used")]
    PortalBundle(#[source] lgsp_certs::tls::TlsFileError),
    /// The national procedure database.
    #[error(transparent)]
    Procedures(#[from] procedures::OpenError),
    /// The port.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The disk failed while the adapter ran. What was answered is safe; a restart looks what else is there.
    #[error("the spool cannot write any more; restart the adapter once the disk is well")]
    SpoolBroken,
    /// A part of the adapter ended by a mistake of ours. What was answered is safe.
    #[error("a part of the adapter ended unexpectedly")]
    PartEnded,
}

/// Runs an adapter until `stop`; `ready` is told when it serves.
///
/// # Errors
/// See [`RunError`]. Everything that was answered is on disk in any case.
pub async fn run(config: Config, stop: CancellationToken, ready: oneshot::Sender<Ready>) -> Result<(), RunError> {
    let source = Source::of(&config.address, &config.identity);
    let (credentials, leaf) = load(&source, &config)?;
    let link = Link::with(&config.address, &credentials).map_err(ConnectError::from)?;
    let (places, urls) = places(&config);
    let (keep_outcomes, restate_after) = fault::spool_keeps().unwrap_or((config.spool.keep_outcomes, RESTATE_AFTER));
    let options = spool::Options {
        folder: config.spool.folder.clone(),
        max_outgoing: config.spool.max_outgoing,
        max_incoming: config.spool.max_incoming,
        keep_outcomes,
        max_document_bytes: config.spool.max_documents_bytes,
        min_free_bytes: config.spool.min_free_bytes,
        restate_after,
        places: places.clone(),
    };
    let opening = tokio::task::spawn_blocking(move || Spool::open(&options));
    let spool = Arc::new(opening.await.map_err(|_| RunError::PartEnded)??);
    let national = config.procedures.clone().map(procedures::serving).transpose()?;
    // The spool's folder is there now, and with it a place for the secrets.
    let access = Access::open(&config.rest, &config.spool.folder)?;
    let webhooks = Webhooks::open(&config.webhook, &urls, &places, &event_source(&leaf, &config.exchange.instance));
    let webhooks = Arc::new(webhooks.map_err(|error| match error {
        webhook::OpenError::Secrets(source) => {
            RunError::WebhookSecrets { file: config.webhook.secret_file.clone(), source }
        }
        webhook::OpenError::Bundle(error) => RunError::WebhookBundle(error),
    })?);
    let folder = config.spool.folder.join("registry");
    let copied = folder.clone();
    let opening = tokio::task::spawn_blocking(move || Copy::open(copied));
    let copy = opening.await.map_err(|_| RunError::PartEnded)?;
    let copy = copy.map_err(|source| RunError::Copy { folder, source })?;
    let desk = Arc::new(Desk::new(config.offline.clone(), copy));
    let population = config.population.as_ref().map(population::serving).transpose()?;
    let (listener, bound) = listen(config.rest.listen).await?;
    let remote = match &config.remote {
        Some(remote) => Some((Tls::load(remote)?, listen(remote.listen).await?)),
        None => None,
    };

    // Its own, so that a part that ends takes the others down in order as well.
    let stopping = stop.child_token();
    let mut parts = JoinSet::new();
    let acting = Arc::new(Acting::new(config.parties.clone()));
    let keeper = identity::Keeper::new(link.clone(), source, &config.identity, &leaf);
    let office = Arc::new(Office {
        spool: spool.clone(),
        link: link.clone(),
        desk: desk.clone(),
        acting: acting.clone(),
        max_document_bytes: config.spool.max_document_bytes,
    });
    let watched = config
        .folder
        .as_ref()
        .map(|watched| folder::Folder::new(watched, &config.spool, config.exchange.backoff, office.clone()));
    let shared =
        config.tables.as_ref().map(|shared| Tables::new(shared, &config.spool, &config.exchange, office.clone()));
    let portal = config.portal.as_ref().map(|portal| Portal::new(portal, office.clone())).transpose();
    let portal = portal.map_err(RunError::PortalBundle)?;
    let api = Arc::new(Api {
        office,
        portal: portal.clone(),
        folder: watched.clone(),
        tables: shared.clone(),
        certificate: keeper.known(),
        telemetry: telemetry::instruments(),
        webhooks: webhooks.clone(),
        access,
        remote: remote.as_ref().map(|(tls, (_, bound))| (tls.clone(), *bound)),
        rooms: Rooms::new(config.rest.max_requests.get()),
        streams: Arc::new(Semaphore::new(rest::MOST_STREAMS)),
        stop: stopping.clone(),
        started: Instant::now(),
        busy: Busy::default(),
        unreadable: Mutex::default(),
        description: rest::description(),
    });
    parts.spawn(serve(listener, api.clone(), stopping.clone()));
    let mut bound_remote = None;
    if let Some((tls, (listener, bound))) = remote {
        parts.spawn(tls.clone().watch(config.identity.poll, stopping.clone()));
        let begun = Remote::begin(listener, tls, stopping.clone());
        let (remote, accepting) = begun.map_err(|source| RunError::Listen { address: bound, source })?;
        parts.spawn(accepting);
        parts.spawn(serve_remote(remote, api, stopping.clone()));
        bound_remote = Some(bound);
    }
    parts.spawn(keeper.run(stopping.clone()));
    let exchange = &config.exchange;
    let forward = Arc::new(Forward::new(spool.clone(), link.clone()));
    parts.spawn(pump::run(forward, exchange.at_once, exchange.backoff, stopping.clone()));
    for (place, carrier) in webhooks.all.iter().cloned().enumerate() {
        let (spool, blames) = (spool.clone(), Blames::new(config.webhook.attempts.get()));
        let hand_over = Arc::new(HandOver { spool, place, carrier, blames });
        parts.spawn(pump::run(hand_over, config.webhook.at_once, exchange.backoff, stopping.clone()));
    }
    if let Some(folder) = watched {
        let (carrier, blames) = (ToFolder(folder.clone()), Blames::new(config.webhook.attempts.get()));
        let hand_over = Arc::new(HandOver { spool: spool.clone(), place: webhooks.all.len(), carrier, blames });
        parts.spawn(pump::run(hand_over, folder::AT_ONCE, exchange.backoff, stopping.clone()));
        parts.spawn(folder.run(stopping.clone()));
    }
    if let Some(tables) = shared {
        let (carrier, blames) = (ToTables(tables.clone()), Blames::new(config.webhook.attempts.get()));
        let place = webhooks.all.len() + usize::from(config.folder.is_some());
        let hand_over = Arc::new(HandOver { spool: spool.clone(), place, carrier, blames });
        parts.spawn(pump::run(hand_over, tables::AT_ONCE, exchange.backoff, stopping.clone()));
        parts.spawn(tables.run(stopping.clone()));
    }
    if let (Some(portal), Some(way)) = (portal, &config.portal) {
        let (carrier, blames) = (ToPortal(portal.clone()), Blames::new(config.webhook.attempts.get()));
        let place = webhooks.all.len() + usize::from(config.folder.is_some()) + usize::from(config.tables.is_some());
        let hand_over = Arc::new(HandOver { spool: spool.clone(), place, carrier, blames });
        parts.spawn(pump::run(hand_over, way.at_once, exchange.backoff, stopping.clone()));
        parts.spawn(portal.run_comparisons(stopping.clone()));
    }
    if config.offline.enabled {
        let keeper = Keeper {
            desk,
            spool: spool.clone(),
            link: link.clone(),
            parties: config.parties.clone(),
            backoff: exchange.backoff,
        };
        parts.spawn(keeper.run(stopping.clone()));
    }
    if let Some(connector) = config.connector.clone() {
        let connector = Connector::new(posted::serving(connector), link.clone(), exchange.backoff);
        parts.spawn(connector.run(stopping.clone()));
    }
    if let Some(serving) = population {
        parts.spawn(Connector::new(serving, link.clone(), exchange.backoff).run(stopping.clone()));
    }
    if let Some(serving) = national {
        let connector = Connector::new(serving, link.clone(), exchange.backoff);
        parts.spawn(connector.run(stopping.clone()));
    }
    let receive = Receive {
        spool: spool.clone(),
        link,
        acting,
        instance: config.exchange.instance.clone(),
        credit: exchange.credit,
        backoff: exchange.backoff,
    };
    parts.spawn(receive.run(stopping.clone()));
    parts.spawn(tidy_up(spool.clone(), stopping.clone()));

    tracing::info!(rest = %bound, gateway = %config.address.gateway, parties = config.parties.len(), "adapter ready");
    // Whoever started us may not care.
    let _ = ready.send(Ready { rest: bound, remote: bound_remote });

    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = spool.broken().cancelled() => Err(RunError::SpoolBroken),
        Some(_) = parts.join_next() => if stop.is_cancelled() { Ok(()) } else { Err(RunError::PartEnded) },
    };
    stopping.cancel();
    let finish = async { while parts.join_next().await.is_some() {} };
    if tokio::time::timeout(config.stop_grace, finish).await.is_err() {
        tracing::warn!("not everything under way was finished in time; it goes on at the next start");
        parts.shutdown().await;
    }
    // The last one closes the spool, and that waits for the disk.
    let closing = tokio::task::spawn_blocking(move || spool.close());
    closing.await.map_err(|_| RunError::PartEnded)?;
    tracing::info!("adapter stopped");
    ended
}

/// What this system is known by. An adapter whose certificate has expired, or whose clock is behind, works on without a line until
/// that is mended.
fn load(source: &Source, config: &Config) -> Result<(Credentials, Leaf), RunError> {
    if let Some(folder) = &config.identity.folder
        && Folder::at(folder).current().is_ok_and(|current| current.is_none())
    {
        return Err(RunError::NotJoined { folder: folder.clone() });
    }
    let now = SystemTime::now();
    let (credentials, leaf) = source.load_whatever_the_time(now).map_err(ConnectError::from)?;
    if leaf.not_after < now {
        let until = jiff::Timestamp::try_from(leaf.not_after).unwrap_or_default();
        tracing::error!(%until, "the certificate has expired; join with a new token: lgsp adapter join. The spool is kept");
    } else if now < leaf.not_before {
        let from = jiff::Timestamp::try_from(leaf.not_before).unwrap_or_default();
        tracing::error!(%from, "the certificate is not valid yet, or this machine's clock is behind; check the clock. The spool is kept");
    }
    Ok((credentials, leaf))
}

/// What events name as their source: this adapter's system, as its certificate does. One without such a name has the instance's;
/// an event's id is unique either way.
fn event_source(leaf: &Leaf, instance: &str) -> String {
    match (&leaf.trust_domain, &leaf.system) {
        (Some(domain), Some(system)) => SpiffeId::new(domain.clone(), system.clone()).to_string(),
        _ => format!("urn:lgsp:adapter:{instance}"),
    }
}

/// Gives every URL a number, and every party the number of its URL. Behind them come the folder, the tables and the portal, with
/// their parties.
fn places(config: &Config) -> (HashMap<lgsp_proto::types::PartyId, usize>, Vec<WebhookUrl>) {
    let in_folder = config.folder.as_ref().map_or(&[][..], |folder| &folder.parties[..]);
    let in_tables = config.tables.as_ref().map_or(&[][..], |tables| &tables.parties[..]);
    let at_portal = config.portal.as_ref().map_or(&[][..], |portal| &portal.parties[..]);
    let url_of = |party| {
        let has_another = [in_folder, in_tables, at_portal].into_iter().any(|parties| parties.contains(party));
        let default = config.webhook.url.as_ref().filter(|_| !has_another);
        config.webhook.parties.get(party).or(default)
    };
    let mut urls = BTreeMap::new();
    for url in config.parties.iter().filter_map(url_of) {
        let next = urls.len();
        urls.entry(url.clone()).or_insert(next);
    }
    let place = |party| Some((Clone::clone(party), *urls.get(url_of(party)?)?));
    let mut places: HashMap<_, _> = config.parties.iter().filter_map(place).collect();
    places.extend(in_folder.iter().map(|party| (party.clone(), urls.len())));
    let behind = urls.len() + usize::from(config.folder.is_some());
    places.extend(in_tables.iter().map(|party| (party.clone(), behind)));
    let behind = behind + usize::from(config.tables.is_some());
    places.extend(at_portal.iter().map(|party| (party.clone(), behind)));
    let mut numbered: Vec<_> = urls.into_iter().collect();
    numbered.sort_unstable_by_key(|(_, number)| *number);
    (places, numbered.into_iter().map(|(url, _)| url).collect())
}

async fn serve(listener: TcpListener, api: Arc<Api>, stop: CancellationToken) {
    // Small answers must not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a local connection keeps Nagle's delay");
        }
    });
    // Told to the guard: this is the loopback interface, by the configuration.
    let router = rest::router(api).layer(Extension(ConnectInfo(Origin::Here)));
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "the local interface ended");
    }
}

async fn serve_remote(remote: Remote, api: Arc<Api>, stop: CancellationToken) {
    let router = rest::router(api).into_make_service_with_connect_info::<Origin>();
    let serving = axum::serve(remote, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "the way in from other machines ended");
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let at = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(at)?;
    let bound = listener.local_addr().map_err(at)?;
    Ok((listener, bound))
}

async fn tidy_up(spool: Arc<Spool>, stop: CancellationToken) {
    let mut every = tokio::time::interval(TIDY_UP_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                let spool = spool.clone();
                // A panic in there is reported by its own message; the next round tries again.
                let _ = tokio::task::spawn_blocking(move || spool.tidy_up()).await;
            }
        }
    }
}
