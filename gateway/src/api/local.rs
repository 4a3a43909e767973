//! The listener for this machine: is it alive, is it ready and why not, how does it stand. HTTP/1.1, loopback, no TLS.
//!
//! It answers from the first moment on, also while a large store is being opened. It tells figures and identifiers, never
//! content; and it changes nothing, except that a replay's clock may be moved on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use lgsp_journal::room::Shortage;
use lgsp_proto::types::BusinessTime;
use lgsp_telemetry::{Format, Page};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::engine::certificates::{CertificateFigures, NotSigning};
use crate::engine::clock::machine_now;
use crate::store::Figures;
use crate::telemetry::Metrics;
use crate::tls::standing::{Standing, Told, seconds_until};

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
                Some(
                    "the store is read-only after a failed write; restart the node / kho dữ liệu chỉ còn đọc được vì một lần \
                     ghi hỏng; hãy kiểm tra đĩa và khởi động lại nút"
                        .to_owned(),
                )
            }
            Self::Serving(engine) => match engine.shortage() {
                Some(shortage) => Some(nearly_full(&shortage)),
                None => engine.registry().err().map(|missing| missing.to_string()),
            },
        }
    }

    pub(crate) fn engine(&self) -> Option<&Engine> {
        match self {
            Self::Starting(_) => None,
            Self::Serving(engine) | Self::Stopping(engine) => Some(engine),
        }
    }
}

fn nearly_full(Shortage { free_bytes, needed_bytes }: &Shortage) -> String {
    let [free, needed] = [free_bytes, needed_bytes].map(|bytes| bytes >> 20);
    format!(
        "the disk is nearly full ({free} MiB free, {needed} MiB needed): reads and deliveries go on, nothing new is taken in; \
         free some space, the node goes on by itself / đĩa sắp đầy (còn {free} MiB, cần {needed} MiB): vẫn đọc và giao được, \
         chưa nhận thêm; hãy giải phóng dung lượng, nút sẽ tự tiếp tục"
    )
}

/// What the local listener tells about.
#[derive(Clone)]
pub(crate) struct Node {
    /// The bus's name.
    pub(crate) name: String,
    /// When the process began.
    pub(crate) begun: Instant,
    /// The same by the machine's clock.
    pub(crate) started_at: SystemTime,
    /// What it measures.
    pub(crate) metrics: Arc<Metrics>,
    /// How far it has come.
    pub(crate) stage: watch::Receiver<Stage>,
    /// How it stands with the certificates.
    pub(crate) certificates: Arc<Standing>,
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
        .route("/status", get(status))
        .route("/metrics", get(metrics));
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
    certificates: CertificatesStatus,
    #[serde(flatten)]
    engine: Option<EngineStatus>,
}

/// Times are seconds until then, less than nothing afterwards.
#[derive(Serialize)]
struct CertificatesStatus {
    /// SHA-256 of the own certificate, in hexadecimal.
    own_sha256: String,
    /// Of the own certificate (`own`), the first of its issuing CAs (`issuing`), the CA of `[ca]` (`ca`), and the first root of each bundle to end
    /// (`bundle:` and its name).
    expires_in_seconds: BTreeMap<String, i64>,
    /// Of the first certificate to end among those of open connections; absent when none is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_expires_in_seconds: Option<i64>,
    connections: usize,
    loaded_seconds_ago: i64,
    /// Why the files as they are now are not in force; absent when they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The bundles that have a revocation list past its time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stale_revocation_lists: Vec<String>,
    /// The bundles that have a revocation list that was not signed by the issuing CA it names, and so counts for nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revocation_lists_set_aside: Vec<String>,
}

#[derive(Serialize)]
struct EngineStatus {
    business_time: String,
    /// 0 when there is none.
    registry_version: u64,
    store: StoreStatus,
    /// Absent when the store cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    certifying: Option<CertifyingStatus>,
    /// Open inbox streams of every party that has any.
    streams: BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct StoreStatus {
    dossiers: u64,
    archived: u64,
    events: u64,
    deliveries_waiting: u64,
    deliveries_taken_over: u64,
    deliveries_parked: u64,
    commits_queued: u64,
    journal_durable: u64,
    index_applied: u64,
    read_only: bool,
    /// Absent unless the disk is nearly full.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskStatus>,
}

/// What came of certifying since the start, and the tokens that are good now.
#[derive(Serialize)]
struct CertifyingStatus {
    /// `signing`, or why nothing is signed now: a word of [`NotSigning`].
    ca: &'static str,
    issued: u64,
    renewed: u64,
    /// By reason.
    joins_refused: BTreeMap<&'static str, u64>,
    tokens_open: usize,
}

#[derive(Serialize)]
struct DiskStatus {
    free_bytes: u64,
    needed_bytes: u64,
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
        certificates: certificates_status(&node.certificates, stage.engine()),
        engine: match stage.engine() {
            Some(engine) => Some(engine_status(engine).await),
            None => None,
        },
    })
}

fn certificates_status(standing: &Standing, engine: Option<&Engine>) -> CertificatesStatus {
    let (told, now) = (standing.told(), machine_now());
    let Told { loaded_at, problem, ends, stale_lists, own, lists_set_aside } = told;
    let connections = engine.map(Engine::connections);
    let client = connections.and_then(|connections| connections.soonest_end());
    CertificatesStatus {
        own_sha256: own.to_string(),
        expires_in_seconds: ends.into_iter().map(|end| (end.what.clone(), end.left(now))).collect(),
        client_expires_in_seconds: client.map(|end| seconds_until(end, now)),
        connections: connections.map_or(0, |connections| connections.count()),
        loaded_seconds_ago: seconds_until(now, loaded_at),
        problem,
        stale_revocation_lists: stale_lists,
        revocation_lists_set_aside: lists_set_aside,
    }
}

async fn engine_status(engine: &Engine) -> EngineStatus {
    let ca = engine.signs_certificates().await.map_or_else(NotSigning::as_str, |()| "signing");
    let certifying = engine.certificate_figures().await.ok().map(|figures| {
        let CertificateFigures { issued, renewed, joins_refused, tokens_open } = figures;
        CertifyingStatus { ca, issued, renewed, joins_refused, tokens_open }
    });
    let registry = engine.registry().ok();
    let streams = registry.iter().flat_map(|registry| registry.parties()).filter_map(|party| {
        let open = engine.inboxes().streams_of(&party.id);
        (open > 0).then(|| (party.id.to_string(), open))
    });
    let Figures { dossiers, archived, events, waiting, taken_over, parked, .. } = engine.store().figures();
    let Figures { queued, durable, applied, read_only, .. } = engine.store().figures();
    EngineStatus {
        business_time: engine.clock().now().to_string(),
        registry_version: registry.as_ref().map_or(0, |registry| registry.version()),
        certifying,
        streams: streams.collect(),
        store: StoreStatus {
            dossiers,
            archived,
            events,
            deliveries_waiting: waiting,
            deliveries_taken_over: taken_over,
            deliveries_parked: parked,
            commits_queued: queued,
            journal_durable: durable,
            index_applied: applied,
            read_only,
            disk: engine
                .shortage()
                .map(|Shortage { free_bytes, needed_bytes }| DiskStatus { free_bytes, needed_bytes }),
        },
    }
}

/// The figures for Prometheus, in the form it asks for.
async fn metrics(State(node): State<Arc<Node>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let Page { content_type, body } = node.metrics.page(&node, Format::for_accept(accept)).await;
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
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

    use lgsp_certs::{CertificateAuthority, TlsFiles, Usage, server_name};
    use lgsp_domain::numbering::{LAST_NUMBER, SpoolId};
    use lgsp_proto::types::{PartyId, Sha256Digest};
    use lgsp_proto::v1;

    use super::*;
    use crate::config::Limits;
    use crate::engine::Settings;
    use crate::engine::clock::BusinessClock as Clock;
    use crate::engine::documents::Documents;
    use crate::engine::receipt::ReceiptSigner;
    use crate::store::sled::{self, Options, SledStore};
    #[cfg(feature = "test-util")]
    use crate::store::{BlockWanted, CommitError, NumberError};

    async fn engine(dir: &Path) -> Engine {
        let options =
            Options { dir: dir.join("store"), node_key: dir.join("node.key"), limits: sled::Limits::default() };
        engine_on(dir, SledStore::open(&options, |_| {}).unwrap()).await
    }

    async fn engine_on(dir: &Path, store: SledStore) -> Engine {
        let store = Arc::new(store);
        let now = SystemTime::now();
        let authority = CertificateAuthority::create(dir, &"lgsp.mau.test".parse().unwrap(), now).unwrap();
        let names = [server_name("localhost").unwrap()];
        authority.issue_server(&names, Duration::from_secs(60), now).unwrap().write_to(dir, "gateway").unwrap();
        let file = |name| dir.join(name);
        let tls = TlsFiles { certificate: file("gateway.pem"), key: file("gateway.key"), bundle: file("root.pem") };
        let credentials = tls.load(Usage::Server, now).unwrap();
        let certificate = Sha256Digest::from(*credentials.digest().as_bytes());
        let signer = ReceiptSigner::new(Arc::clone(credentials.signing_key()), certificate, "lgsp.mau.test".into());
        let documents = Documents::open(dir.join("documents")).unwrap();
        let limits = Limits::default();
        let settings = Settings {
            time_bounds: limits.time_bounds,
            deliveries: limits.deliveries,
            document_bytes_max: 1,
            admissions: limits.admissions,
            party_quota: limits.party,
            leases: limits.leases,
        };
        Engine::start(store, documents, signer, Clock::System, settings).await.unwrap()
    }

    #[cfg(feature = "test-util")]
    fn standing(dir: &Path) -> Arc<Standing> {
        use crate::config::{Tls, TrustFiles};

        let trust = TrustFiles {
            name: "own".to_owned(),
            bundle: dir.join("root.pem"),
            crls: Vec::new(),
            trust_domain: "lgsp.mau.test".parse().unwrap(),
            systems: Vec::new(),
        };
        let (certificate, key) = (dir.join("gateway.pem"), dir.join("gateway.key"));
        let tls = Tls { certificate, key, trust: vec![trust], ca: None, kept: None };
        let now = SystemTime::now();
        Arc::new(Standing::of(&crate::tls::Loaded::load(&tls, now).unwrap(), now))
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

    #[cfg(feature = "test-util")]
    #[tokio::test]
    async fn after_a_failed_sync_the_node_says_that_it_only_reads_and_it_does_read() {
        use lgsp_journal::seal::NodeKey;
        use lgsp_journal::testing::{Disk, Fault};

        let dir = tempfile::tempdir().unwrap();
        let (disk, keys) = (Disk::new(), Disk::new());
        let node_key = NodeKey::load_or_create(&dir.path().join("node.key")).unwrap();
        let store =
            SledStore::open_on(disk.files(), keys.files(), &node_key, dir.path(), sled::Limits::default(), |_| ());
        let engine = engine_on(dir.path(), store.unwrap()).await;
        engine.apply_first_registry(registry()).await.unwrap();
        let (_keep, stage) = watch::channel(Stage::Serving(engine.clone()));
        let node = Node {
            name: "lgsp.mau.test".into(),
            begun: Instant::now(),
            started_at: SystemTime::now(),
            metrics: Arc::new(Metrics::new()),
            stage,
            certificates: standing(dir.path()),
            replay: false,
        };
        let ready = async || {
            let response = readyz(State(Arc::new(node.clone()))).await;
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
            (status, String::from_utf8(body.into()).unwrap())
        };
        assert_eq!(ready().await.0, StatusCode::OK);

        // The append goes well, the sync behind it does not.
        disk.fail_after(1, Fault::Error);
        let write = async || {
            let party: PartyId = "H99.101".parse().unwrap();
            let wanted = BlockWanted {
                authority: party.clone(),
                day: jiff::civil::date(2025, 7, 14),
                desk: party,
                spool: SpoolId::new([1; 16]),
                epoch: 1,
                count: 3,
                last: LAST_NUMBER,
            };
            engine.store().lease_numbers(&wanted, SystemTime::now()).await
        };
        assert!(matches!(write().await, Err(NumberError::Commit(CommitError::Unknown))));
        assert!(matches!(write().await, Err(NumberError::Commit(CommitError::ReadOnly))));
        let (status, why) = ready().await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(why.contains("read-only after a failed write") && why.contains("khởi động lại nút"), "{why}");
        assert!(engine.store().registry(None).await.unwrap().is_some());
    }
}
