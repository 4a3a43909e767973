//! An engine in a temporary folder under the registry of the invented province, and systems that call it, for the tests of
//! the engine's own steps.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lgsp_certs::{CertificateAuthority, Credentials, TlsFiles, Usage, VerifiedLeaf, server_name};
use lgsp_domain::decide::TimeBounds;
use lgsp_domain::numbering::LeaseLimits;
use lgsp_proto::types::{DossierCode, Sha256Digest};
use lgsp_proto::v1;
use rustls::{ClientConnection, ServerConnection};

use super::access::Peer;
use super::clock::BusinessClock;
use super::documents::Documents;
use super::inbox::{Inboxes, Policy};
use super::lanes::Lanes;
use super::receipt::ReceiptSigner;
use super::registry::{Proposal, Terms};
use super::shares::Quota;
use super::{Engine, Settings};
use crate::store::contract::sample;
use crate::store::sled::{Limits, Options, SledStore};
use crate::store::{Admission, Commit};

const DOMAIN: &str = "lgsp.mau.test";

/// The communes of the registry, and the party that keeps it.
pub(super) const AN: &str = "H99.101";
pub(super) const BINH: &str = "H99.102";
pub(super) const OPERATOR: &str = "H99.VH";

pub(super) struct House {
    pub(super) engine: Engine,
    ca: CertificateAuthority,
    gateway: Credentials,
    dir: tempfile::TempDir,
}

impl House {
    pub(super) async fn open() -> Self {
        Self::open_with(Lanes::new()).await
    }

    pub(super) async fn open_with(lanes: Lanes) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, node_key) = (dir.path().join("store"), dir.path().join("node.key"));
        let store = SledStore::open(&Options { dir: store, node_key, limits: Limits::default() }, |_| ()).unwrap();
        Self::build(dir, store, lanes).await
    }

    /// The same on a store that may hold something, with documents that may be there.
    pub(super) async fn on(dir: tempfile::TempDir, store: SledStore) -> Self {
        Self::build(dir, store, Lanes::new()).await
    }

    async fn build(dir: tempfile::TempDir, store: SledStore, lanes: Lanes) -> Self {
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(dir.path(), &DOMAIN.parse().unwrap(), now).unwrap();
        let names = [server_name("localhost").unwrap()];
        ca.issue_server(&names, Duration::from_secs(3600), now).unwrap().write_to(dir.path(), "gateway").unwrap();
        let gateway = files(dir.path(), "gateway").load(Usage::Server, now).unwrap();
        let certificate = Sha256Digest::from(*gateway.digest().as_bytes());
        let signer = ReceiptSigner::new(Arc::clone(gateway.signing_key()), certificate, DOMAIN.into());
        let documents = Documents::open(dir.path().join("documents")).unwrap();
        let clock = BusinessClock::replay("2025-07-14T09:00:00+07:00".parse().unwrap());
        let settings = Settings {
            time_bounds: TimeBounds::default(),
            deliveries: Policy { pause: Duration::from_secs(60), ..Policy::default() },
            document_bytes_max: 64 << 20,
            admissions: 16,
            party_quota: Quota { per_second: 1000, at_once: 16 },
            leases: LeaseLimits::default(),
        };
        let engine = Engine::start_with(Arc::new(store), documents, signer, clock, settings, lanes, Inboxes::new);
        let engine = engine.await.unwrap();
        if engine.registry().is_err() {
            engine.apply_first_registry(registry()).await.unwrap();
        }
        Self { engine, ca, gateway, dir }
    }

    /// Where everything of it lies.
    pub(super) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A system, known by its certificate from a finished handshake.
    pub(super) fn peer(&self, system: &str) -> Peer {
        let now = SystemTime::now();
        let issued = self.ca.issue_system(&system.parse().unwrap(), Duration::from_secs(3600), now).unwrap();
        issued.write_to(self.dir.path(), system).unwrap();
        let client = files(self.dir.path(), system).load(Usage::Client, now).unwrap();
        let mut server = ServerConnection::new(Arc::new(self.gateway.server_config())).unwrap();
        let mut client =
            ClientConnection::new(Arc::new(client.client_config()), server_name("localhost").unwrap()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut there).unwrap();
            }
            let mut there = Cursor::new(there);
            while server.read_tls(&mut there).unwrap() > 0 {
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut back).unwrap();
            }
            let mut back = Cursor::new(back);
            while client.read_tls(&mut back).unwrap() > 0 {
                client.process_new_packets().unwrap();
            }
        }
        let leaf = VerifiedLeaf::of_client(&server).unwrap();
        Peer::of(Arc::new(leaf), &DOMAIN.parse().unwrap())
    }

    /// Applies the registry with `from` replaced by `to` in `file`.
    pub(super) async fn change_registry(&self, file: &str, from: &str, to: &str) {
        let files = edited(file, from, to);
        let (peer, base) = (self.peer("van-hanh"), self.engine.registry().unwrap().version());
        let actor = "van.hanh.1".parse().unwrap();
        let terms = Terms { base_version: base, ..Terms::default() };
        let operator = OPERATOR.parse().unwrap();
        self.engine.apply_registry(&peer, &operator, &actor, Proposal::Files(files), terms).await.unwrap();
    }

    /// Commits one more event of a dossier after `change`, as if it had been decided.
    pub(super) async fn progress(&self, code: &DossierCode, change: impl FnOnce(&mut Admission)) {
        let dossier = self.engine.inner.store.dossier(code).await.unwrap().unwrap();
        let later = sample::at(1_000 + i64::from(dossier.sequence));
        let mut admission = sample::admission(sample::progressed(&dossier, later));
        change(&mut admission);
        self.engine.inner.store.commit(Commit::Admission(Box::new(admission))).await.unwrap();
    }

    /// Commits the sample dossier `number` after `change`, as if it had been decided.
    pub(super) async fn admit(&self, number: u32, change: impl FnOnce(&mut Admission)) {
        let mut admission = sample::admission(sample::opened(number));
        change(&mut admission);
        self.engine.inner.store.commit(Commit::Admission(Box::new(admission))).await.unwrap();
    }
}

fn files(dir: &Path, stem: &str) -> TlsFiles {
    let file = |name: &str| -> PathBuf { dir.join(name) };
    TlsFiles { certificate: file(&format!("{stem}.pem")), key: file(&format!("{stem}.key")), bundle: file("root.pem") }
}

/// The registry with `from` replaced by `to` in `file`.
pub(super) fn edited(file: &str, from: &str, to: &str) -> Vec<v1::RegistryFile> {
    let mut files = registry();
    let file = files.iter_mut().find(|one| one.name == file).unwrap();
    let text = std::str::from_utf8(&file.content).unwrap();
    assert!(text.contains(from));
    file.content = text.replace(from, to).into();
    files
}

pub(super) fn registry() -> Vec<v1::RegistryFile> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("domain/tests/fixtures/registry");
    crate::app::registry_files(&dir).unwrap()
}
