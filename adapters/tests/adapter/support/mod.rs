//! A world in which an adapter can be tried: a certificate authority, a gateway that misbehaves on demand, a line that can
//! be cut, and an agency's own system. All over real sockets on the loopback interface.
//!
//! The gateway here is no gateway: it admits whatever is well signed, and stands for answers that the real one gives too
//! seldom to be tested with.

#[path = "../../../../tests/support/output.rs"]
pub mod output;

#[path = "../../../../tests/support/postgres.rs"]
pub mod postgres;

pub mod agency;
pub mod authority;
pub mod gateway;
pub mod line;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use lgsp_adapters::{Config, RunError, SpoolOpenError};
use lgsp_certs::{CertificateAuthority, Credentials, TlsFiles, Usage, server_name};
use lgsp_proto::v1;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use agency::Agency;
pub use authority::Authority;
pub use gateway::{Answer, Gateway};
pub use line::Line;

pub const PARTY: &str = "H57.101";
pub const OTHER_PARTY: &str = "H57.12";

/// Longer than anything takes on a busy machine, and short enough to see that something hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a certificate authority in it.
pub struct Certificates {
    folder: tempfile::TempDir,
    ca: CertificateAuthority,
}

impl Certificates {
    pub fn new() -> Self {
        Self::of("lgsp.hue.test")
    }

    /// Those of the bus of this name.
    pub fn of(trust_domain: &str) -> Self {
        output::trace("adapter");
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(folder.path(), &trust_domain.parse().unwrap(), now).unwrap();
        Self { folder, ca }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn files(&self, stem: &str) -> TlsFiles {
        let file = |name: String| self.folder.path().join(name);
        TlsFiles {
            certificate: file(format!("{stem}.pem")),
            key: file(format!("{stem}.key")),
            bundle: file("root.pem".into()),
        }
    }

    /// Certificate and key of a system, under `<name>.*`.
    pub fn system(&self, name: &str) -> TlsFiles {
        let issued = self.ca.issue_system(&name.parse().unwrap(), DAY, SystemTime::now()).unwrap();
        issued.write_to(self.folder.path(), name).unwrap();
        self.files(name)
    }

    /// As [`Certificates::system`], of a certificate whose day was yesterday.
    pub fn system_of_yesterday(&self, name: &str) -> TlsFiles {
        let issued = self.ca.issue_system(&name.parse().unwrap(), DAY / 2, SystemTime::now() - DAY).unwrap();
        issued.write_to(self.folder.path(), name).unwrap();
        self.files(name)
    }

    /// Credentials of a gateway, under `<stem>.*`.
    pub fn server(&self, stem: &str) -> Credentials {
        let files = self.server_for(&server_name("127.0.0.1").unwrap(), stem);
        files.load(Usage::Server, SystemTime::now()).unwrap()
    }

    /// Certificate and key of a server of this name, under `<stem>.*`.
    pub fn server_for(&self, name: &ServerName<'static>, stem: &str) -> TlsFiles {
        let issued = self.ca.issue_server(std::slice::from_ref(name), DAY, SystemTime::now()).unwrap();
        issued.write_to(self.folder.path(), stem).unwrap();
        self.files(stem)
    }

    /// As [`Certificates::server_for`], of a certificate whose day was yesterday.
    pub fn server_of_yesterday(&self, name: &ServerName<'static>, stem: &str) -> TlsFiles {
        let issued = self.ca.issue_server(std::slice::from_ref(name), DAY / 2, SystemTime::now() - DAY).unwrap();
        issued.write_to(self.folder.path(), stem).unwrap();
        self.files(stem)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        output::keep("adapter", self.folder.path());
    }
}

pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything there is.
pub struct World {
    pub certificates: Certificates,
    pub gateway: Gateway,
    pub line: Line,
    pub agency: Agency,
    pub tls: TlsFiles,
    pub folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        output::keep("adapter", self.folder.path());
    }
}

impl World {
    pub async fn new() -> Self {
        let certificates = Certificates::new();
        let gateway = Gateway::start(certificates.server("gateway")).await;
        let line = Line::to(gateway.address()).await;
        let tls = certificates.system("one-stop");
        Self { gateway, line, agency: Agency::start().await, tls, certificates, folder: tempfile::tempdir().unwrap() }
    }

    /// The configuration, with whatever a test adds to it.
    pub fn config(&self, more: &str) -> Config {
        let TlsFiles { certificate, key, bundle } = &self.tls;
        let spool = self.spool_folder();
        // Who gets in is for `access` to try.
        let token = if more.contains("rest.token") { "" } else { "rest.token = \"none\"" };
        let text = format!(
            r#"
            gateway = "https://{}"
            parties = ["{PARTY}", "{OTHER_PARTY}"]
            tls = {{ certificate = {certificate:?}, key = {key:?}, bundle = {bundle:?} }}
            timings.connect_timeout_ms = 2000
            timings.keep_alive_interval_ms = 200
            timings.keep_alive_timeout_ms = 1000
            rest.listen = "127.0.0.1:0"
            {token}
            spool.folder = {spool:?}
            exchange.backoff_first_ms = 5
            exchange.backoff_limit_ms = 50
            {more}
            "#,
            self.line.address(),
        );
        Config::parse(&text, Path::new("/"), []).unwrap()
    }

    /// An adapter whose things are fetched.
    pub async fn adapter(&self) -> Adapter {
        Adapter::start(self.config("")).await
    }

    /// An adapter that carries everything to the agency's system.
    pub async fn pushing_adapter(&self) -> Adapter {
        Adapter::start(self.pushing_config()).await
    }

    pub fn pushing_config(&self) -> Config {
        self.config(&format!("webhook.url = \"http://{}/lgsp\"", self.agency.address()))
    }

    pub fn spool_folder(&self) -> PathBuf {
        self.folder.path().join("spool")
    }
}

/// A running adapter, as the agency's system sees it.
pub struct Adapter {
    address: SocketAddr,
    /// Where other machines reach it.
    pub remote: Option<SocketAddr>,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
    /// Its own, so that it can be ended with everything that runs in it.
    runtime: Option<Runtime>,
    pub token: Option<String>,
}

pub struct Answered {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

/// A page of figures.
pub struct Metrics {
    pub text: String,
}

impl Metrics {
    /// The value of a series, as it is written on the page.
    pub fn value(&self, series: &str) -> f64 {
        let line = self.text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not among\n{}", self.text)).parse().unwrap()
    }
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} {:?}", self.status, self.body))
    }
}

impl Adapter {
    pub async fn start(config: Config) -> Self {
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Another test that starts a program just now has a copy of this process's locks until that program runs: nobody's.
        let nobodys = |error: &RunError| matches!(error, RunError::Spool(SpoolOpenError::InUse { process: None, .. }));
        let begun = Instant::now();
        let (started, running) = loop {
            let (ready, started) = oneshot::channel();
            let running = runtime.spawn(lgsp_adapters::run(config.clone(), stop.clone(), ready));
            if let Ok(started) = started.await {
                break (started, running);
            }
            let ended = running.await.unwrap();
            let again = ended.as_ref().is_err_and(nobodys) && begun.elapsed() < PATIENCE;
            assert!(again, "{ended:?}");
            tokio::task::yield_now().await;
        };
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            address: started.rest,
            remote: started.remote,
            client,
            stop,
            running,
            runtime: Some(runtime),
            token: None,
        }
    }

    /// Ends the adapter where it stands, in the middle of whatever it does.
    pub async fn kill(mut self) {
        end(self.runtime.take().unwrap()).await;
    }

    pub async fn stop(mut self) -> Result<(), RunError> {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, &mut self.running).await.unwrap().unwrap();
        end(self.runtime.take().unwrap()).await;
        ended
    }

    /// Waits for it to end by itself.
    pub async fn ended(mut self) -> Result<(), RunError> {
        let ended = tokio::time::timeout(PATIENCE, &mut self.running).await.unwrap().unwrap();
        end(self.runtime.take().unwrap()).await;
        ended
    }

    /// Asks it to stop, and goes on watching.
    pub fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answered {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await.unwrap().unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if !head.status.is_success() {
            output::said("adapter", &body);
        }
        Answered { status: head.status, headers: head.headers, body }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens an answer that goes on, and gives what it begins with.
    pub async fn open(&self, path: &str) -> (StatusCode, Body) {
        let request = Request::builder().uri(format!("http://{}{path}", self.address)).header("lgsp-party", PARTY);
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await.unwrap().unwrap();
        (answer.status(), Body::new(answer.into_body()))
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.call(Method::GET, path, &[("lgsp-party", PARTY), ("lgsp-actor", "mot.cua")], "").await
    }

    pub async fn post(&self, path: &str, key: &str, body: &Value) -> Answered {
        self.post_as(PARTY, path, key, body).await
    }

    pub async fn post_as(&self, party: &str, path: &str, key: &str, body: &Value) -> Answered {
        let headers = [("lgsp-party", party), ("lgsp-actor", "mot.cua"), ("idempotency-key", key)];
        self.call(Method::POST, path, &headers, body.to_string()).await
    }

    pub async fn submit(&self, key: &str) -> Answered {
        self.post("/v1/dossiers", key, &submission()).await
    }

    /// How a request stands once it has an outcome.
    pub async fn outcome(&self, key: &str) -> Value {
        let answered = self.get(&format!("/v1/requests/{key}?wait_ms=30000")).await;
        assert_eq!(answered.status, StatusCode::OK);
        let json = answered.json();
        assert!(json["state"] == "admitted" || json["state"] == "refused", "{json}");
        json
    }

    /// Hands a dossier in, and waits for its outcome.
    pub async fn outcome_of(&self, key: &str, submission: &Value) -> Value {
        self.post("/v1/dossiers", key, submission).await;
        self.outcome(key).await
    }

    pub async fn status(&self) -> Value {
        self.get("/status").await.json()
    }

    /// What it tells Prometheus.
    pub async fn metrics(&self) -> Metrics {
        let answered = self.get("/metrics").await;
        assert_eq!(answered.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Metrics { text: String::from_utf8(answered.body.to_vec()).unwrap() }
    }

    /// Waits until the status is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        until(async || {
            let status = self.status().await;
            wanted(&status).then_some(status)
        })
        .await
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends a runtime; waiting for it would block the caller's.
async fn end(runtime: Runtime) {
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
}

/// Looks at once and at all `news` until what is wanted is there, or it takes too long.
async fn when<T>(mut news: watch::Receiver<()>, look: impl Fn() -> Option<T>) -> T {
    let looking = async {
        loop {
            news.mark_unchanged();
            if let Some(found) = look() {
                return found;
            }
            news.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it comes in time")
}

/// Asks again and again until there is an answer, or it takes too long: for what is seen from outside only, over HTTP.
pub async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it comes in time")
}

/// A submission that is well formed. The citizen is made up.
pub fn submission() -> Value {
    json!({
        "procedure_code": "1.001193",
        "applicant": { "kind": "citizen", "full_name": "Nguyễn Thử Nghiệm", "personal_number": "046085000001" },
        "locality": "19753",
        "intake_channel": "online",
        "return_channel": "direct",
        "received_at": "2025-07-14T09:00:00+07:00"
    })
}

pub fn accepted() -> Value {
    json!({"type": "accepted", "occurred_at": "2025-07-14T10:00:00+07:00"})
}

/// A decision that names documents, each known by the digest of a PDF.
pub fn decided(documents: &[&Bytes]) -> v1::entry::What {
    let result = |sha256: &&Bytes| {
        let media_type = "application/pdf".into();
        let document = v1::DocumentRef { sha256: (*sha256).clone(), size_bytes: 1, media_type, ..Default::default() };
        v1::Result { document: Some(document), ..Default::default() }
    };
    v1::entry::What::Resolved(v1::Resolved { results: documents.iter().map(result).collect(), ..Default::default() })
}
