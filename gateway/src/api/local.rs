//! The listener for this machine: is it alive, is it ready and why not, how does it stand. HTTP/1.1, loopback, no TLS.
//!
//! It answers from the first moment on, also while a large store is being opened. It tells figures and identifiers, never
//! content; and it changes nothing, except that a replay's clock may be moved on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use http::StatusCode;
use lgsp_proto::types::BusinessTime;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::store::Figures;

/// How far the node has come.
#[derive(Clone)]
pub(crate) enum Stage {
    /// Not there yet; what it is doing.
    Starting(String),
    /// There.
    Serving(Engine),
    /// On its way out; figures can still be read.
    Stopping(Engine),
}

impl Stage {
    /// Why the node cannot keep its promises now.
    pub(crate) fn not_ready(&self) -> Option<String> {
        match self {
            Self::Starting(doing) => Some(format!("starting: {doing}")),
            Self::Stopping(_) => Some("stopping".to_owned()),
            Self::Serving(engine) if engine.store().figures().read_only => {
                Some("the store is read-only after a failed write; restart the node".to_owned())
            }
            Self::Serving(engine) => engine.registry().err().map(|missing| missing.to_string()),
        }
    }

    fn engine(&self) -> Option<&Engine> {
        match self {
            Self::Starting(_) => None,
            Self::Serving(engine) | Self::Stopping(engine) => Some(engine),
        }
    }
}

/// What the local listener tells about.
#[derive(Clone)]
pub(crate) struct Node {
    /// The bus's name.
    pub(crate) name: String,
    /// When the process began.
    pub(crate) begun: Instant,
    /// How far it has come.
    pub(crate) stage: watch::Receiver<Stage>,
    /// Whether the business clock may be moved.
    pub(crate) replay: bool,
}

/// Serves `tcp` until `stop` is cancelled.
///
/// # Errors
/// None in ordinary life.
pub(crate) async fn serve(tcp: TcpListener, node: Node, stop: CancellationToken) -> std::io::Result<()> {
    // Small answers must not wait for the acknowledgement of the one before.
    let tcp = tcp.tap_io(|stream| _ = stream.set_nodelay(true));
    axum::serve(tcp, routes(node)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn routes(node: Node) -> Router {
    let routes = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/status", get(status));
    // Not there at all unless it is a replay: the law's clock is nobody's to set.
    let routes = if node.replay { routes.route("/business-clock", put(set_business_clock)) } else { routes };
    routes.with_state(Arc::new(node))
}

async fn readyz(State(node): State<Arc<Node>>) -> Response {
    match node.stage.borrow().not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

#[derive(Serialize)]
struct Status {
    gateway: String,
    version: &'static str,
    uptime_seconds: u64,
    ready: bool,
    /// Why it is not ready; absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready: Option<String>,
    #[serde(flatten)]
    engine: Option<EngineStatus>,
}

#[derive(Serialize)]
struct EngineStatus {
    business_time: String,
    /// 0 when there is none.
    registry_version: u64,
    store: StoreStatus,
    /// Open inbox streams of every party that has any.
    streams: BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct StoreStatus {
    dossiers: u64,
    events: u64,
    deliveries_waiting: u64,
    deliveries_taken_over: u64,
    deliveries_parked: u64,
    commits_queued: u64,
    journal_durable: u64,
    index_applied: u64,
    read_only: bool,
}

async fn status(State(node): State<Arc<Node>>) -> Json<Status> {
    let stage = node.stage.borrow().clone();
    let not_ready = stage.not_ready();
    Json(Status {
        gateway: node.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: node.begun.elapsed().as_secs(),
        ready: not_ready.is_none(),
        not_ready,
        engine: stage.engine().map(engine_status),
    })
}

fn engine_status(engine: &Engine) -> EngineStatus {
    let registry = engine.registry().ok();
    let streams = registry.iter().flat_map(|registry| registry.parties()).filter_map(|party| {
        let open = engine.inboxes().streams_of(&party.id);
        (open > 0).then(|| (party.id.to_string(), open))
    });
    let Figures { dossiers, events, waiting, taken_over, parked, queued, durable, applied, read_only } =
        engine.store().figures();
    EngineStatus {
        business_time: engine.clock().now().to_string(),
        registry_version: registry.as_ref().map_or(0, |registry| registry.version()),
        streams: streams.collect(),
        store: StoreStatus {
            dossiers,
            events,
            deliveries_waiting: waiting,
            deliveries_taken_over: taken_over,
            deliveries_parked: parked,
            commits_queued: queued,
            journal_durable: durable,
            index_applied: applied,
            read_only,
        },
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BusinessClock {
    /// RFC 3339 with its offset.
    now: String,
}

/// Moves a replay's clock on; it never goes back. Answers where it stands then.
async fn set_business_clock(State(node): State<Arc<Node>>, Json(wanted): Json<BusinessClock>) -> Response {
    let stage = node.stage.borrow().clone();
    let Stage::Serving(engine) = stage else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the node does not serve\n").into_response();
    };
    let to: BusinessTime = match wanted.now.parse() {
        Ok(to) => to,
        Err(malformed) => return (StatusCode::BAD_REQUEST, format!("now {malformed}\n")).into_response(),
    };
    engine.clock().advance(to);
    Json(BusinessClock { now: engine.clock().now().to_string() }).into_response()
}

/// How often the store is asked whether it still writes: it has no way to call us, and a probe every second is cheap.
pub(crate) const HEALTH_LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::SystemTime;

    use lgsp_certs::{CertificateAuthority, TlsFiles, Usage, server_name};
    use lgsp_proto::types::Sha256Digest;
    use lgsp_proto::v1;

    use super::*;
    use crate::config::Limits;
    use crate::engine::Settings;
    use crate::engine::clock::BusinessClock as Clock;
    use crate::engine::documents::Documents;
    use crate::engine::receipt::ReceiptSigner;
    use crate::store::sled::{self, Options, SledStore};

    async fn engine(dir: &Path) -> Engine {
        let now = SystemTime::now();
        let authority = CertificateAuthority::create(dir, &"lgsp.mau.test".parse().unwrap(), now).unwrap();
        let names = [server_name("localhost").unwrap()];
        authority.issue_server(&names, Duration::from_secs(60), now).unwrap().write_to(dir, "gateway").unwrap();
        let file = |name| dir.join(name);
        let tls = TlsFiles { certificate: file("gateway.pem"), key: file("gateway.key"), bundle: file("ca.pem") };
        let credentials = tls.load(Usage::Server, now).unwrap();
        let certificate = Sha256Digest::from(*credentials.digest().as_bytes());
        let signer = ReceiptSigner::new(Arc::clone(credentials.signing_key()), certificate, "lgsp.mau.test".into());
        let options =
            Options { dir: dir.join("store"), node_key: dir.join("node.key"), limits: sled::Limits::default() };
        let store = Arc::new(SledStore::open(&options, |_| {}).unwrap());
        let documents = Documents::open(dir.join("documents")).unwrap();
        let limits = Limits::default();
        let settings =
            Settings { time_bounds: limits.time_bounds, deliveries: limits.deliveries, document_bytes_max: 1 };
        Engine::start(store, documents, signer, Clock::System, settings).await.unwrap()
    }

    fn registry() -> Vec<v1::RegistryFile> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("domain/tests/fixtures/registry");
        crate::app::registry_files(&dir).unwrap()
    }

    #[tokio::test]
    async fn ready_means_that_there_is_a_registry_and_that_the_store_still_writes() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path()).await;
        let not_ready = |stage: Stage| stage.not_ready().unwrap_or_default();
        assert!(not_ready(Stage::Starting("opening the store".into())).contains("opening the store"));
        assert!(not_ready(Stage::Serving(engine.clone())).contains("REGISTRY_MISSING"));
        engine.apply_first_registry(registry()).await.unwrap();
        assert_eq!(not_ready(Stage::Serving(engine.clone())), "");
        assert_eq!(not_ready(Stage::Stopping(engine.clone())), "stopping");
        // A store that was closed under the engine writes as little as a poisoned one.
        engine.store().close().await;
        assert!(not_ready(Stage::Serving(engine)).contains("read-only"));
    }
}
