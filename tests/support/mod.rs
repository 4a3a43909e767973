//! A real gateway on real sockets, with certificates minted on the spot and the small synthetic registry of the domain's
//! tests. Shared by the suites that cross packages.
#![expect(clippy::unwrap_used, reason = "a harness that cannot be set up fails its test")]
#![allow(dead_code, reason = "each suite uses its own part")]

pub(crate) mod output;
pub(crate) mod scan;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lgsp_adapters::link::{Address, Admitted, CallError, Link, Timings};
use lgsp_certs::{CertificateAuthority, Issued, TlsFiles, TrustDomain, server_name};
use lgsp_gateway::app::App;
use lgsp_gateway::config::Config;
use lgsp_proto::types::BusinessTime;
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Where the business clock stands when a bus starts: Monday morning.
pub(crate) const MORNING: &str = "2025-07-14T08:00:00+07:00";

/// The registry it starts with.
const REGISTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/domain/tests/fixtures/registry");

/// Under the name of the suite what it says is kept: several share this module.
const SUITE: &str = env!("CARGO_CRATE_NAME");

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A gateway under test. Dropping it stops it hard; [`Bus::stop`] stops it in order.
pub(crate) struct Bus {
    dir: TempDir,
    ca: CertificateAuthority,
    /// Its configuration, for its next start.
    pub(crate) config: String,
    address: SocketAddr,
    enrolment: Option<SocketAddr>,
    local: SocketAddr,
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Bus {
    /// Starts a gateway with the synthetic registry, its business clock at [`MORNING`].
    pub(crate) async fn start() -> Self {
        Self::start_with(|config, _| config).await
    }

    /// The same with another configuration: `change` gets the usual one, and the folder it is for.
    pub(crate) async fn start_with(change: impl FnOnce(String, &Path) -> String) -> Self {
        output::trace(SUITE);
        let dir = tempfile::tempdir().unwrap();
        let domain: TrustDomain = "bus.test".parse().unwrap();
        let ca = CertificateAuthority::create(&dir.path().join("ca"), &domain, SystemTime::now()).unwrap();
        certify(&ca, dir.path());
        let config = format!(
            r#"
            name = "bus.test"
            [listen]
            bus = "127.0.0.1:0"
            local = "127.0.0.1:0"
            enrol = "127.0.0.1:0"
            [tls]
            certificate = "tls/gateway.pem"
            key = "tls/gateway.key"
            client_bundle = "ca/root.pem"
            [ca]
            dir = "ca"
            [store]
            dir = "data"
            node_key = "node.key"
            [documents]
            dir = "documents"
            max_bytes = 1048576
            [business_clock]
            kind = "replay"
            start = "{MORNING}"
            [registry]
            first = {REGISTRY:?}
            "#
        );
        let config = change(config, dir.path());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let (shutdown, running) = (CancellationToken::new(), None);
        let mut bus = Self { dir, ca, config, address: nowhere, enrolment: None, local: nowhere, shutdown, running };
        bus.run().await;
        bus
    }

    /// Starts it on what its folder holds, at any ports.
    pub(crate) async fn run(&mut self) {
        let config = Config::parse(&self.config, self.dir.path(), []).unwrap_or_else(|problems| panic!("{problems}"));
        let app = App::build(config).await.unwrap();
        (self.address, self.local) = (app.bus_address().unwrap(), app.local_address().unwrap());
        self.enrolment = app.enrolment_address().unwrap();
        self.shutdown = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let stop = self.shutdown.clone();
        self.running = Some(tokio::spawn(async move { app.run(stop, ready).await.unwrap() }));
        is_ready.await.unwrap();
    }

    /// Puts another certificate of the gateway in the place of the present one, for its next start.
    pub(crate) fn certify_anew(&self) {
        std::fs::remove_dir_all(self.dir.path().join("tls")).unwrap();
        certify(&self.ca, self.dir.path());
    }

    /// Stops it in order; [`Bus::run`] starts it again.
    pub(crate) async fn halt(&mut self) {
        self.tell_to_stop();
        self.running.take().unwrap().await.unwrap();
    }

    /// Tells it to stop, as an operator would, and does not wait.
    pub(crate) fn tell_to_stop(&self) {
        self.shutdown.cancel();
    }

    /// A link as `system`, with a certificate of the bus's own CA.
    pub(crate) fn link(&self, system: &str) -> Link {
        Link::new(&self.address_of(&self.ca, system)).unwrap()
    }

    /// Where to connect as `system`, with a certificate of the bus's own CA.
    pub(crate) fn address(&self, system: &str) -> Address {
        self.address_of(&self.ca, system)
    }

    /// Where to connect, with a certificate for `system` by `ca`.
    pub(crate) fn address_of(&self, ca: &CertificateAuthority, system: &str) -> Address {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let stem = format!("{system}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = self.dir.path().join("clients");
        let issued = ca.issue_system(&system.parse().unwrap(), DAY, SystemTime::now()).unwrap();
        issued.write_to(&folder, &stem).unwrap();
        let file = |ending: &str| -> PathBuf { folder.join(format!("{stem}.{ending}")) };
        let bundle = self.dir.path().join("ca/root.pem");
        Address {
            gateway: format!("https://127.0.0.1:{}", self.address.port()).parse().unwrap(),
            server_name: None,
            tls: TlsFiles { certificate: file("pem"), key: file("key"), bundle },
            timings: Timings::default(),
        }
    }

    /// The CA whose certificates it knows.
    pub(crate) fn ca(&self) -> &CertificateAuthority {
        &self.ca
    }

    /// A certificate for `system` by the bus's own CA, written nowhere.
    pub(crate) fn issue(&self, system: &str) -> Issued {
        self.ca.issue_system(&system.parse().unwrap(), DAY, SystemTime::now()).unwrap()
    }

    /// The folder of this bus; `ca/`, `tls/` and `data/` are in it.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The bus's port on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The port on loopback where systems join.
    pub(crate) fn enrolment_port(&self) -> u16 {
        self.enrolment.expect("systems can join here").port()
    }

    /// Moves the business clock on.
    pub(crate) async fn set_clock(&self, now: BusinessTime) {
        let body = format!(r#"{{"now":"{now}"}}"#);
        let request = format!(
            "PUT /business-clock HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.local(&request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The store's figures, as operators see them.
    pub(crate) async fn status(&self) -> serde_json::Value {
        let answer = self.local("GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        serde_json::from_str(body).unwrap()
    }

    async fn local(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.local).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Stops it as an operator would, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        self.running.take().unwrap().await.unwrap();
    }
}

/// A key and a certificate for the gateway in this folder.
fn certify(ca: &CertificateAuthority, folder: &Path) {
    let names = [server_name("localhost").unwrap(), server_name("127.0.0.1").unwrap()];
    let server = ca.issue_server(&names, DAY, SystemTime::now()).unwrap();
    server.write_to(&folder.join("tls"), "gateway").unwrap();
}

impl Drop for Bus {
    fn drop(&mut self) {
        output::keep(SUITE, self.dir.path());
        self.shutdown.cancel();
    }
}

/// The registry that a bus starts with, as it is planned and applied.
pub(crate) fn registry_files() -> Vec<v1::RegistryFile> {
    let files = std::fs::read_dir(REGISTRY).unwrap().map(|file| file.unwrap().path());
    let file = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        v1::RegistryFile { name, content: std::fs::read(&path).unwrap().into() }
    };
    files.map(file).collect()
}

/// A business time on the wire.
pub(crate) fn at(time: &str) -> prost_types::Timestamp {
    let time: BusinessTime = time.parse().unwrap();
    prost_types::Timestamp { seconds: time.unix_seconds(), nanos: 0 }
}

/// A request key nobody used before.
pub(crate) fn fresh_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("key-{:06}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A submission that is in order: a birth in commune An (authority H99.101), taken in at commune Binh on paper, to be
/// handed out at the province's centre. The person is synthetic.
pub(crate) fn submission() -> v1::Submission {
    v1::Submission {
        request_key: fresh_key(),
        acting_party: "H99.102".into(),
        actor: "clerk-binh-1".into(),
        procedure_code: "1.000001".into(),
        applicant: Some(v1::Applicant {
            kind: v1::ApplicantKind::Citizen.into(),
            full_name: "NGƯỜI KIỂM THỬ".into(),
            personal_number: "046301123456".into(),
            date_of_birth: "2001-05-20".into(),
            sex: v1::Sex::Female.into(),
            ..Default::default()
        }),
        locality: "99001".into(),
        intake_channel: v1::IntakeChannel::Direct.into(),
        return_desk: "H99.TT".into(),
        return_channel: v1::ReturnChannel::Direct.into(),
        received_at: Some(at(MORNING)),
        components: vec![v1::Component {
            code: "to-khai".into(),
            name: "Tờ khai".into(),
            originals: 1,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Sends a submission.
pub(crate) async fn submit(link: &Link, submission: &v1::Submission) -> Result<Admitted, CallError> {
    link.submit(Bytes::from(submission.encode_to_vec()), None).await
}

/// Sends an entry.
pub(crate) async fn record(link: &Link, entry: &v1::Entry) -> Result<Admitted, CallError> {
    link.record(Bytes::from(entry.encode_to_vec()), None).await
}

/// The bus's own refusal in an error.
pub(crate) fn refusal(error: &CallError) -> &Refusal {
    match error {
        CallError::Refused(refused) | CallError::NotNow(refused) => refused.refusal().unwrap(),
        other => panic!("not a refusal of the bus: {other}"),
    }
}

/// Asserts that `answer` is refused for `reason`, and gives the refusal.
#[track_caller]
pub(crate) fn refused(answer: Result<Admitted, CallError>, reason: Reason) -> Refusal {
    match answer {
        Ok(admitted) => panic!("admitted instead of {reason}: {:?}", admitted.receipt),
        Err(error) => {
            let refusal = refusal(&error);
            assert_eq!(refusal.reason(), reason, "{refusal}");
            output::said(SUITE, format!("{error} {error:?}"));
            refusal.clone()
        }
    }
}
