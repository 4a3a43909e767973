//! A client that does not look at what it shows: a certificate that expired, one of another CA, or none at all.
//!
//! The adapter's own link refuses to start with such files, so that it cannot tell what the gateway would have said.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lgsp_certs::{Issued, Purpose, SigningKey, server_name};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{AlertDescription, ClientConfig, NamedGroup, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::support::Bus;

/// Longer than any answer takes; without it a call that is never answered would hang the suite.
const PATIENCE: Duration = Duration::from_secs(20);

/// A caller: what it shows, and what it signs with.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) channel: Channel,
    tls: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    shows: Option<Arc<Shown>>,
    key: Option<Arc<SigningKey>>,
    port: u16,
}

/// A certificate with its chain, and its key.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Caller {
    /// A caller of the bus with this certificate, or none.
    pub(crate) fn new(bus: &Bus, shows: Option<&Issued>) -> Self {
        Self::at(bus.port(), bus, shows)
    }

    /// A caller of the listener where systems join.
    pub(crate) fn joining(bus: &Bus, shows: Option<&Issued>) -> Self {
        Self::at(bus.enrolment_port(), bus, shows)
    }

    fn at(port: u16, bus: &Bus, shows: Option<&Issued>) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(bus.folder().join("ca/root.pem")).unwrap() {
            roots.add(root.unwrap()).unwrap();
        }
        let (roots, key) = (Arc::new(roots), shows.map(|issued| issued.key_pem.as_bytes()));
        let key = key.map(|pem| Arc::new(SigningKey::from_pem(pem).unwrap()));
        let shows = shows.map(|issued| {
            let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).map(Result::unwrap).collect();
            Arc::new(Shown { chain, key: PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap() })
        });
        let tls = Arc::new(config(&roots, shows.as_deref(), rustls::crypto::aws_lc_rs::default_provider()));
        let config = Arc::clone(&tls);
        let connector = tower::service_fn(move |_: http::Uri| {
            let config = Arc::clone(&config);
            async move { connect(port, config).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://bus").timeout(PATIENCE).connect_with_connector_lazy(connector);
        Self { channel, tls, roots, shows, key, port }
    }

    /// Signs as this caller; without a key there is nothing to sign with.
    pub(crate) fn sign(&self, purpose: Purpose, bytes: &[u8]) -> bytes::Bytes {
        self.key.as_ref().map(|key| key.sign(purpose, bytes).into()).unwrap_or_default()
    }

    /// With which words the gateway ends a connection of this caller; `None` when it serves it.
    pub(crate) async fn turned_away_with(&self) -> Option<AlertDescription> {
        let reading = async {
            let mut stream = connect(self.port, Arc::clone(&self.tls)).await?;
            // A server of HTTP/2 speaks first. Nothing is written, or the alert might be lost with the reset that answers it.
            stream.read_u8().await
        };
        let error = tokio::time::timeout(PATIENCE, reading).await.expect("the gateway speaks or hangs up").err()?;
        let tls = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => panic!("ended without an alert: {error}"),
        }
    }
}

impl Caller {
    /// The group in which keys are exchanged with a client that can do these, in its order of preference; `None` when the
    /// gateway will have none of them.
    pub(crate) async fn group_of(&self, offered: Vec<&'static dyn SupportedKxGroup>) -> Option<NamedGroup> {
        let provider = CryptoProvider { kx_groups: offered, ..rustls::crypto::aws_lc_rs::default_provider() };
        let config = config(&self.roots, self.shows.as_deref(), provider);
        let stream = connect(self.port, Arc::new(config)).await.ok()?;
        stream.get_ref().1.negotiated_key_exchange_group().map(SupportedKxGroup::name)
    }

    /// How many tickets the gateway has given before it speaks; it would send them first of all (RFC 8446 §4.6.1).
    pub(crate) async fn tickets(&self) -> u32 {
        let mut stream = connect(self.port, Arc::clone(&self.tls)).await.unwrap();
        tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("the gateway speaks").unwrap();
        stream.get_ref().1.tls13_tickets_received()
    }
}

async fn connect(port: u16, config: Arc<ClientConfig>) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    TlsConnector::from(config).connect(server_name("127.0.0.1").unwrap(), tcp).await
}

/// A configuration that trusts the bus, and shows what it is told to.
fn config(roots: &Arc<RootCertStore>, shows: Option<&Shown>, provider: CryptoProvider) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(Arc::clone(roots));
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some(Shown { chain, key }) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
