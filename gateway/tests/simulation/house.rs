//! What all runs share: the registry of the invented province, and real keys for the gateway and its systems.
//!
//! Keys are random. No choice of a run depends on them, nor on the machine's clock.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lgsp_certs::{
    CertificateAuthority, CertificateDigest, Credentials, PrivateKey, Purpose, SigningKey, TlsFiles, Usage,
    VerifiedLeaf, server_name,
};
use lgsp_gateway::engine::access::Peer;
use lgsp_gateway::engine::certificates::{Authority, Certifying, Doors, TrustFiles};
use lgsp_gateway::engine::receipt::ReceiptSigner;
use lgsp_journal::seal::NodeKey;
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::v1;
use rustls::{ClientConnection, ServerConnection};

use crate::output;

const DOMAIN: &str = "lgsp.mau.test";

/// The systems of the runs; the last one is the operator's.
pub(crate) const SYSTEMS: [&str; 4] = ["mot-cua", "mot-cua-binh", "cong-dich-vu", "van-hanh"];

pub(crate) struct House {
    pub(crate) signer: ReceiptSigner,
    /// SHA-256 of the gateway's certificate, and the certificate.
    pub(crate) certificate: Sha256Digest,
    pub(crate) certificate_der: Bytes,
    pub(crate) registry: Vec<v1::RegistryFile>,
    node_key: PathBuf,
    systems: BTreeMap<&'static str, (Peer, Arc<SigningKey>)>,
    gateway: Credentials,
    dir: tempfile::TempDir,
}

/// The one house of this process.
pub(crate) static HOUSE: LazyLock<House> = LazyLock::new(House::build);

impl House {
    fn build() -> Self {
        output::trace("simulation");
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(dir.path(), &DOMAIN.parse().unwrap(), now).unwrap();
        let day = Duration::from_secs(24 * 3600);
        let names = [server_name("localhost").unwrap()];
        ca.issue_server(&names, day, now).unwrap().write_to(dir.path(), "gateway").unwrap();
        let gateway = files(dir.path(), "gateway").load(Usage::Server, now).unwrap();
        let certificate = Sha256Digest::from(*gateway.digest().as_bytes());
        let signer = ReceiptSigner::new(Arc::clone(gateway.signing_key()), certificate, DOMAIN.into());
        let systems = SYSTEMS.map(|name| {
            ca.issue_system(&name.parse().unwrap(), day, now).unwrap().write_to(dir.path(), name).unwrap();
            let client = files(dir.path(), name).load(Usage::Client, now).unwrap();
            let leaf = Arc::new(shake_hands(&gateway, &client));
            (name, (Peer::of(leaf, &DOMAIN.parse().unwrap()), Arc::clone(client.signing_key())))
        });
        let node_key = dir.path().join("node.key");
        let _ = NodeKey::load_or_create(&node_key).unwrap();
        let certificate_der = Bytes::copy_from_slice(gateway.certificate());
        // A static is never dropped, so what it made is kept at its beginning.
        output::keep("simulation", dir.path());
        Self {
            signer,
            certificate,
            certificate_der,
            registry: registry(),
            node_key,
            systems: systems.into(),
            gateway,
            dir,
        }
    }

    pub(crate) fn peer(&self, system: &str) -> Peer {
        self.systems[system].0.clone()
    }

    pub(crate) fn sign(&self, system: &str, purpose: Purpose, body: &[u8]) -> Bytes {
        self.systems[system].1.sign(purpose, body).into()
    }

    pub(crate) fn node_key(&self) -> NodeKey {
        NodeKey::load(&self.node_key).unwrap()
    }

    /// What the gateway certifies with.
    pub(crate) fn certifying(&self) -> Certifying {
        let dir = self.dir.path().to_path_buf();
        let day = Duration::from_secs(24 * 3600);
        let authority = Authority::open(dir.clone(), day, day).unwrap();
        let doors = Doors {
            enrolment_url: Some("https://bus.mau.test:7443".to_owned()),
            bus_url: "https://bus.mau.test:8443".to_owned(),
            server_name: None,
        };
        Certifying::new(Some(authority), doors, TrustFiles::new(|| None, Some(dir), None))
    }

    /// A system that has joined, as the gateway knows it by its certificate.
    pub(crate) fn joined(&self, chain: &[Bytes], key: &PrivateKey) -> Peer {
        let stem = data_encoding::HEXLOWER.encode(CertificateDigest::of(&chain[0]).as_bytes());
        let pem = |der: &Bytes| {
            let text = data_encoding::BASE64_MIME.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", text.trim_end())
        };
        let dir = self.dir.path();
        std::fs::write(dir.join(format!("{stem}.pem")), chain.iter().map(pem).collect::<String>()).unwrap();
        // A key's file is never written over, and the runs of this process share the folder.
        let written = key.write_to(&dir.join(format!("{stem}.key")));
        assert!(written.is_ok() || dir.join(format!("{stem}.key")).exists());
        let client = files(dir, &stem).load(Usage::Client, SystemTime::now()).unwrap();
        Peer::of(Arc::new(shake_hands(&self.gateway, &client)), &DOMAIN.parse().unwrap())
    }

    /// The folder of documents: nobody uploads any, so all runs share it.
    pub(crate) fn documents(&self) -> PathBuf {
        self.dir.path().join("documents")
    }
}

fn files(dir: &Path, stem: &str) -> TlsFiles {
    let file = |name: &str| dir.join(name);
    TlsFiles { certificate: file(&format!("{stem}.pem")), key: file(&format!("{stem}.key")), bundle: file("root.pem") }
}

/// The client as the server knows it after a handshake.
fn shake_hands(server: &Credentials, client: &Credentials) -> VerifiedLeaf {
    let mut server = ServerConnection::new(Arc::new(server.server_config())).unwrap();
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
    VerifiedLeaf::of_client(&server).unwrap()
}

fn registry() -> Vec<v1::RegistryFile> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("domain/tests/fixtures/registry");
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<v1::RegistryFile> = entries
        .map(|path| v1::RegistryFile {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            content: std::fs::read(&path).unwrap().into(),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}
