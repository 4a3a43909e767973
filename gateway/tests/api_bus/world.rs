//! A gateway in a temporary folder, and the systems that call it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use lgsp_certs::{CertificateAuthority, Credentials, Issued, Purpose, TlsFiles, Usage, VerifyingKey, server_name};
use lgsp_gateway::app::{App, RunError};
use lgsp_gateway::config::Config;
use lgsp_gateway::engine::Engine;
use lgsp_gateway::tls::keeper::{NotReloaded, Reload};
use lgsp_proto::v1::audit_client::AuditClient;
use lgsp_proto::v1::documents_client::DocumentsClient;
use lgsp_proto::v1::dossiers_client::DossiersClient;
use lgsp_proto::v1::inbox_client::InboxClient;
use lgsp_proto::v1::numbers_client::NumbersClient;
use lgsp_proto::v1::operations_client::OperationsClient;
use lgsp_proto::v1::registry_client::RegistryClient;
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message as _;
use prost_types::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::output;

/// The bus's trust domain.
pub(crate) const DOMAIN: &str = "lgsp.mau.test";

/// Another trust domain, whose CA the bus accepts certificates of all the same.
pub(crate) const NEIGHBOUR: &str = "lgsp.lang-gieng.test";

/// The commune that takes in and decides, and its neighbour.
pub(crate) const AN: &str = "H99.101";
pub(crate) const BINH: &str = "H99.102";

/// Social aid in the invented province: decided by the commune, no compulsory paper.
pub(crate) const AID: &str = "1.000009";

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Nothing here takes longer; a test that hangs says so.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway. Dropped, it is told to stop, and its folder goes.
pub(crate) struct World {
    dir: tempfile::TempDir,
    ours: CertificateAuthority,
    neighbours: CertificateAuthority,
    running: Option<Running>,
    limits: String,
    /// Further lines of `[tls]`, and sections behind it, from the next start on.
    pub(crate) trust: String,
    /// What must stay free of the disk, from the next start on.
    pub(crate) min_free_bytes: u64,
}

struct Running {
    bus: SocketAddr,
    local: SocketAddr,
    enrol: SocketAddr,
    reload: Reload,
    engine: Arc<OnceLock<Engine>>,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), RunError>>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// A gateway whose configuration has these lines in `[limits]`.
    pub(crate) async fn start_with(limits: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), limits).await
    }

    /// A gateway in a folder that may have a store and documents already.
    pub(crate) async fn start_in(dir: tempfile::TempDir, limits: &str) -> Self {
        output::trace("api_bus");
        let now = SystemTime::now();
        let authority = |name: &str, domain: &str| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            CertificateAuthority::create(&folder, &domain.parse().unwrap(), now).unwrap()
        };
        let (ours, neighbours) = (authority("ca", DOMAIN), authority("neighbours", NEIGHBOUR));
        let bundle = format!("{}{}", ours.root_pem(), neighbours.root_pem());
        std::fs::write(dir.path().join("clients.pem"), bundle).unwrap();
        let names = [server_name("127.0.0.1").unwrap()];
        ours.issue_server(&names, DAY, now).unwrap().write_to(dir.path(), "gateway").unwrap();
        let mut world = Self {
            dir,
            ours,
            neighbours,
            running: None,
            limits: limits.to_owned(),
            trust: String::new(),
            min_free_bytes: 0,
        };
        world.run().await;
        world
    }

    pub(crate) fn config(&self) -> Config {
        let registry = Path::new(env!("CARGO_MANIFEST_DIR")).join("domain/tests/fixtures/registry");
        let text = format!(
            "name = \"{DOMAIN}\"\n\
             [listen]\nbus = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\nenrol = \"127.0.0.1:0\"\n\
             [ca]\ndir = \"ca\"\n\
             [tls]\ncertificate = \"gateway.pem\"\nkey = \"gateway.key\"\nclient_bundle = \"clients.pem\"\n{}\n\
             [store]\ndir = \"store\"\nnode_key = \"node.key\"\nmin_free_bytes = {}\n\
             [documents]\ndir = \"documents\"\nmax_bytes = 2000000\n\
             [business_clock]\nkind = \"replay\"\nstart = \"2025-07-14T09:00:00+07:00\"\n\
             [registry]\nfirst = {:?}\n\
             [limits]\n{}\n",
            self.trust, self.min_free_bytes, registry, self.limits
        );
        Config::parse(&text, self.dir.path(), []).unwrap()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it, on what its folder holds.
    pub(crate) async fn run(&mut self) {
        let app = App::build(self.config()).await.unwrap();
        let (bus, local) = (app.bus_address().unwrap(), app.local_address().unwrap());
        let enrol = app.enrolment_address().unwrap().unwrap();
        let (reload, engine, shutdown) = (app.reload(), app.engine(), CancellationToken::new());
        let (ready, is_ready) = oneshot::channel();
        let ended = tokio::spawn(app.run(shutdown.clone(), ready));
        self.running = Some(Running { bus, local, enrol, reload, engine, shutdown, ended });
        if within(is_ready).await.is_err() {
            panic!("the gateway does not start: {:?}", self.ended().await);
        }
    }

    /// Stops the gateway in order, and starts it again on the same folder.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.run().await;
    }

    pub(crate) async fn stop(&mut self) {
        self.tell_to_stop();
        self.ended().await.unwrap();
    }

    pub(crate) fn tell_to_stop(&self) {
        self.running().shutdown.cancel();
    }

    pub(crate) async fn ended(&mut self) -> Result<(), RunError> {
        within(self.running.take().unwrap().ended).await.unwrap()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the gateway runs")
    }

    pub(crate) fn bus(&self) -> SocketAddr {
        self.running().bus
    }

    /// Where this machine looks.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.running().local
    }

    /// Where systems join.
    pub(crate) fn enrolment(&self) -> SocketAddr {
        self.running().enrol
    }

    /// The engine behind the bus.
    pub(crate) fn engine(&self) -> &Engine {
        self.running().engine.get().expect("the gateway serves")
    }

    /// Puts another certificate of the gateway, by `authority`, in the place of the present one. It is in force once it is read.
    pub(crate) fn replace_certificate(&self, authority: &CertificateAuthority) {
        let issued = authority.issue_server(&[server_name("127.0.0.1").unwrap()], DAY, SystemTime::now()).unwrap();
        let next = tempfile::tempdir_in(self.dir.path()).unwrap();
        issued.write_to(next.path(), "gateway").unwrap();
        for file in ["gateway.pem", "gateway.key"] {
            std::fs::rename(next.path().join(file), self.dir.path().join(file)).unwrap();
        }
    }

    /// Writes a file into its folder, as a whole.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let next = self.dir.path().join(format!("{name}.next"));
        std::fs::write(&next, content).unwrap();
        std::fs::rename(next, self.dir.path().join(name)).unwrap();
    }

    /// Has the certificates read again now.
    pub(crate) async fn reload(&self) -> Result<(), NotReloaded> {
        within(self.running().reload.now()).await
    }

    /// The CA that made the certificates of the gateway and of the systems.
    pub(crate) fn authority(&self) -> &CertificateAuthority {
        &self.ours
    }

    /// A CA of its own in a folder of this name.
    pub(crate) fn other_authority(&self, folder: &str, domain: &str) -> CertificateAuthority {
        let folder = self.dir.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        CertificateAuthority::create(&folder, &domain.parse().unwrap(), SystemTime::now()).unwrap()
    }

    fn files(&self, stem: &str) -> TlsFiles {
        let file = |name: String| -> PathBuf { self.dir.path().join(name) };
        TlsFiles {
            certificate: file(format!("{stem}.pem")),
            key: file(format!("{stem}.key")),
            bundle: file("ca/root.pem".into()),
        }
    }

    /// A system with a certificate of the bus's CA.
    pub(crate) async fn system(&self, name: &str) -> System {
        self.certified(&self.ours, name).await
    }

    /// A system of the neighbours, with a certificate the bus accepts and an identity it does not know.
    pub(crate) async fn stranger(&self) -> System {
        self.certified(&self.neighbours, "mot-cua").await
    }

    pub(crate) async fn certified(&self, authority: &CertificateAuthority, name: &str) -> System {
        let credentials = self.issue(authority, name);
        let channel = connect(self.bus(), credentials.client_config()).await.unwrap();
        System { credentials, channel }
    }

    /// A system with a certificate that was made for it elsewhere.
    pub(crate) async fn connected_by(&self, credentials: Credentials) -> System {
        let channel = connect(self.bus(), credentials.client_config()).await.unwrap();
        System { credentials, channel }
    }

    fn issue(&self, authority: &CertificateAuthority, name: &str) -> Credentials {
        let stem = format!("{}-{name}", authority.trust_domain());
        if self.files(&stem).certificate.exists() {
            return self.files(&stem).load(Usage::Client, SystemTime::now()).unwrap();
        }
        let issued = authority.issue_system(&name.parse().unwrap(), DAY, SystemTime::now()).unwrap();
        self.credentials_of(&issued, &stem)
    }

    /// What was issued, with trust in the bus.
    pub(crate) fn credentials_of(&self, issued: &Issued, stem: &str) -> Credentials {
        issued.write_to(self.dir.path(), stem).unwrap();
        self.files(stem).load(Usage::Client, SystemTime::now()).unwrap()
    }

    /// A CA of the bus's own trust domain that nobody trusts.
    pub(crate) fn impostor(&self) -> CertificateAuthority {
        self.other_authority("impostor", DOMAIN)
    }

    /// The root that the gateway's certificate chains to.
    pub(crate) fn root_pem(&self) -> String {
        self.ours.root_pem()
    }

    /// A system's certificate and key from its folder, with trust in the bus.
    pub(crate) fn load(&self, stem: &str) -> Credentials {
        self.files(stem).load(Usage::Client, SystemTime::now()).unwrap()
    }

    /// The gateway's certificate as its file is now.
    pub(crate) fn gateway(&self) -> Credentials {
        self.files("gateway").load(Usage::Server, SystemTime::now()).unwrap()
    }

    /// Checks a receipt's signature with the gateway's certificate, and reads it.
    pub(crate) fn receipt(&self, signed: &v1::SignedReceipt) -> v1::Receipt {
        let gateway = self.gateway();
        assert_eq!(signed.certificate_sha256, gateway.digest().as_bytes()[..]);
        let key = VerifyingKey::from_certificate(gateway.certificate()).unwrap();
        key.verify(Purpose::Receipt, &signed.receipt, &signed.signature).unwrap();
        v1::Receipt::decode(signed.receipt.clone()).unwrap()
    }

    /// One request to the local listener: status code and body.
    pub(crate) async fn local(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.running().local).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.shutdown.cancel();
        }
        output::keep("api_bus", self.dir.path());
    }
}

/// Connects to the bus at once; a refused handshake shows at the first call only.
pub(crate) async fn connect(bus: SocketAddr, tls: rustls::ClientConfig) -> Result<Channel, tonic::transport::Error> {
    let tls = Arc::new(tls);
    let connector = tower::service_fn(move |_: http::Uri| {
        let tls = TlsConnector::from(Arc::clone(&tls));
        async move {
            let stream = TcpStream::connect(bus).await?;
            stream.set_nodelay(true)?;
            let stream = tls.connect(server_name("127.0.0.1").unwrap(), stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    within(Endpoint::from_static("http://bus").connect_with_connector(connector)).await
}

/// A system of an agency: its certificate and one connection.
pub(crate) struct System {
    pub(crate) credentials: Credentials,
    pub(crate) channel: Channel,
}

impl System {
    pub(crate) fn dossiers(&self) -> DossiersClient<Channel> {
        DossiersClient::new(self.channel.clone())
    }

    pub(crate) fn inbox(&self) -> InboxClient<Channel> {
        InboxClient::new(self.channel.clone())
    }

    pub(crate) fn documents(&self) -> DocumentsClient<Channel> {
        DocumentsClient::new(self.channel.clone())
    }

    pub(crate) fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone())
    }

    pub(crate) fn audit(&self) -> AuditClient<Channel> {
        AuditClient::new(self.channel.clone())
    }

    pub(crate) fn registry(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel.clone())
    }

    pub(crate) fn numbers(&self) -> NumbersClient<Channel> {
        NumbersClient::new(self.channel.clone())
    }

    fn sign(&self, purpose: Purpose, body: &[u8]) -> Bytes {
        self.credentials.signing_key().sign(purpose, body).into()
    }

    pub(crate) fn signed_submission(&self, submission: &v1::Submission) -> v1::SubmitRequest {
        let submission = Bytes::from(submission.encode_to_vec());
        v1::SubmitRequest {
            signature: self.sign(Purpose::Submission, &submission),
            submission,
            ..v1::SubmitRequest::default()
        }
    }

    pub(crate) async fn submit(&self, submission: &v1::Submission) -> Result<v1::SubmitResponse, Status> {
        let request = self.signed_submission(submission);
        Ok(within(self.dossiers().submit(request)).await?.into_inner())
    }

    /// Submits, and gives the code.
    pub(crate) async fn admitted(&self, submission: &v1::Submission) -> String {
        let receipt = self.submit(submission).await.unwrap().receipt.unwrap();
        v1::Receipt::decode(receipt.receipt).unwrap().dossier_code
    }

    pub(crate) async fn record(&self, entry: &v1::Entry) -> Result<v1::RecordResponse, Status> {
        let entry = Bytes::from(entry.encode_to_vec());
        let request =
            v1::RecordRequest { signature: self.sign(Purpose::Entry, &entry), entry, ..v1::RecordRequest::default() };
        Ok(within(self.dossiers().record(request)).await?.into_inner())
    }

    pub(crate) async fn get(&self, party: &str, dossier: &str, with_bodies: bool) -> Result<v1::GetResponse, Status> {
        let request = v1::GetRequest {
            acting_party: party.into(),
            actor: "can.bo.1".into(),
            dossier_code: dossier.into(),
            with_bodies,
            after_sequence: 0,
        };
        Ok(within(self.dossiers().get(request)).await?.into_inner())
    }
}

/// A synthetic request for aid at the desk of xã An, filed online so that it waits for the commune's clerk.
pub(crate) fn aid(key: &str) -> v1::Submission {
    v1::Submission {
        request_key: key.into(),
        acting_party: AN.into(),
        actor: "can.bo.1".into(),
        procedure_code: AID.into(),
        applicant: Some(v1::Applicant {
            kind: v1::ApplicantKind::Citizen.into(),
            full_name: "Trần Thị Thử".into(),
            personal_number: "046190000001".into(),
            date_of_birth: "1990-02-03".into(),
            sex: v1::Sex::Female.into(),
            ..v1::Applicant::default()
        }),
        locality: "99001".into(),
        intake_channel: v1::IntakeChannel::Online.into(),
        return_channel: v1::ReturnChannel::Direct.into(),
        received_at: at("2025-07-14T08:30:00+07:00"),
        components: vec![v1::Component { name: "Đơn đề nghị".into(), originals: 1, ..v1::Component::default() }],
        ..v1::Submission::default()
    }
}

/// The same of somebody in xã Bình: taken in at An, decided by Bình.
pub(crate) fn aid_elsewhere(key: &str) -> v1::Submission {
    v1::Submission { locality: "99002".into(), ..aid(key) }
}

/// An entry at 9 o'clock by a clerk of `party`.
pub(crate) fn entry(key: &str, party: &str, dossier: &str, what: v1::entry::What) -> v1::Entry {
    v1::Entry {
        request_key: key.into(),
        acting_party: party.into(),
        actor: "can.bo.2".into(),
        dossier_code: dossier.into(),
        expected_sequence: 0,
        occurred_at: at("2025-07-14T09:00:00+07:00"),
        what: Some(what),
    }
}

pub(crate) fn accepted() -> v1::entry::What {
    v1::entry::What::Accepted(v1::Accepted::default())
}

pub(crate) fn at(time: &str) -> Option<Timestamp> {
    let time: lgsp_proto::types::BusinessTime = time.parse().unwrap();
    Some(Timestamp { seconds: time.unix_seconds(), nanos: 0 })
}

/// Our refusal in a status; what the transport says itself is none.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> Refusal {
    let status = answer.unwrap_err();
    output::said("api_bus", format!("{status} {status:?}"));
    Refusal::from_status(&status).unwrap_or_else(|| panic!("no refusal of ours: {status:?}"))
}

#[track_caller]
pub(crate) fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> Reason {
    refusal(answer).reason()
}

/// The paths of the fields at fault.
pub(crate) fn fields(refusal: &Refusal) -> Vec<&str> {
    refusal.violations().iter().map(|violation| violation.field.as_str()).collect()
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it does not take that long")
}
