//! A client that does not look at what it shows: a certificate that expired, one of another CA, or none at all.
//!
//! The adapter's own link refuses to start with such files, so that it cannot tell what the gateway would have said.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lgsp_certs::{Issued, Purpose, SigningKey, server_name};
use rustls::client::WebPkiServerVerifier;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
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
    key: Option<Arc<SigningKey>>,
    port: u16,
}

impl Caller {
    /// A caller of the bus with this certificate, or none.
    pub(crate) fn new(bus: &Bus, shows: Option<&Issued>) -> Self {
        let tls = Arc::new(config(bus, shows));
        let (port, config) = (bus.port(), Arc::clone(&tls));
        let connector = tower::service_fn(move |_: http::Uri| {
            let config = Arc::clone(&config);
            async move { connect(port, config).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://bus").timeout(PATIENCE).connect_with_connector_lazy(connector);
        let key = shows.map(|issued| Arc::new(SigningKey::from_pem(issued.key_pem.as_bytes()).unwrap()));
        Self { channel, tls, key, port }
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

async fn connect(port: u16, config: Arc<ClientConfig>) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    TlsConnector::from(config).connect(server_name("127.0.0.1").unwrap(), tcp).await
}

/// A configuration that trusts the bus, and shows what it is told to.
fn config(bus: &Bus, shows: Option<&Issued>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(bus.folder().join("ca/ca.pem")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_webpki_verifier(verifier);
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::pem_slice_iter(issued.certificate_pem.as_bytes()).map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
