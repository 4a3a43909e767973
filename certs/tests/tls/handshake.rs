//! Who gets in: real TLS handshakes between the configurations this package makes and every kind of wrong peer.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use lgsp_certs::verify::LeafError;
use lgsp_certs::{Identity, Purpose, TlsFiles, Usage, VerifiedLeaf, server_name};
use rustls::{CertificateError, ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::support::{Authority, DAY};

pub(crate) type ServerStream = server::TlsStream<tokio::io::DuplexStream>;
pub(crate) type ClientStream = client::TlsStream<tokio::io::DuplexStream>;

/// Connects the two over a pipe. The client counts as in once it has read what the server says after its handshake: in
/// TLS 1.3 a refused client is done before it learns.
pub(crate) async fn meet(
    server: impl Into<Arc<ServerConfig>>,
    client: impl Into<Arc<ClientConfig>>,
    name: &str,
) -> (io::Result<ServerStream>, io::Result<ClientStream>) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let serve = async {
        let mut stream = TlsAcceptor::from(server.into()).accept(here).await?;
        stream.write_all(b"!").await?;
        stream.flush().await?;
        Ok(stream)
    };
    let connect = async {
        let mut stream = TlsConnector::from(client.into()).connect(server_name(name).unwrap(), there).await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    tokio::join!(serve, connect)
}

pub(crate) fn tls_error<T>(result: io::Result<T>) -> rustls::Error {
    let error = result.err().expect("the handshake should have been refused");
    error.into_inner().expect("a TLS error").downcast_ref::<rustls::Error>().expect("a TLS error").clone()
}

/// Any TLS 1.3 client that trusts `authority` and shows nothing.
fn client_without_certificate(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.ca.root_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[tokio::test]
async fn a_certified_system_is_let_in_and_known_by_name() {
    let authority = Authority::new();
    let (gateway, desk) = (authority.server(&["gateway.hue.test"]), authority.system("one-stop"));
    let (server, client) = meet(gateway.server_config(), desk.client_config(), "gateway.hue.test").await;
    let (server, client) = (server.unwrap(), client.unwrap());

    let leaf = VerifiedLeaf::of_client(server.get_ref().1).unwrap();
    assert_eq!(leaf.spiffe_id().unwrap().to_string(), "spiffe://lgsp.hue.test/system/one-stop");
    assert_eq!(leaf.digest(), desk.digest());
    assert_eq!(leaf.not_after(), desk.not_after());
    assert_eq!(leaf.certificate(), desk.certificate());

    let gateway_leaf = VerifiedLeaf::of_server(client.get_ref().1).unwrap();
    assert_eq!(gateway_leaf.digest(), gateway.digest());
    assert!(matches!(gateway_leaf.identity(), Identity::NoSpiffeId(known) if known.issuer.contains("lgsp.hue.test")));

    assert_eq!(server.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(server.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let group = server.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn what_a_verified_peer_signs_is_checked_with_its_leaf() {
    let authority = Authority::new();
    let (gateway, desk) = (authority.server(&["gateway.hue.test"]), authority.system("one-stop"));
    let (server, client) = meet(gateway.server_config(), desk.client_config(), "gateway.hue.test").await;
    let (server, client) = (server.unwrap(), client.unwrap());
    let seen_by_gateway = VerifiedLeaf::of_client(server.get_ref().1).unwrap();
    let seen_by_desk = VerifiedLeaf::of_server(client.get_ref().1).unwrap();

    let signature = desk.signing_key().sign(Purpose::Submission, b"body");
    seen_by_gateway.verifying_key().verify(Purpose::Submission, b"body", &signature).unwrap();
    assert!(seen_by_gateway.verifying_key().verify(Purpose::Entry, b"body", &signature).is_err());
    assert!(seen_by_desk.verifying_key().verify(Purpose::Submission, b"body", &signature).is_err());

    let receipt = gateway.signing_key().sign(Purpose::Receipt, b"receipt");
    seen_by_desk.verifying_key().verify(Purpose::Receipt, b"receipt", &receipt).unwrap();
}

#[tokio::test]
async fn an_unfinished_handshake_gives_no_leaf() {
    let authority = Authority::new();
    let gateway = authority.server(&["gateway.hue.test"]);
    let connection = rustls::ServerConnection::new(Arc::new(gateway.server_config())).unwrap();
    assert_eq!(VerifiedLeaf::of_client(&connection).unwrap_err(), LeafError::Unfinished);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let authority = Authority::new();
    let gateway = authority.server(&["gateway.hue.test"]);
    let (server, client) =
        meet(gateway.server_config(), client_without_certificate(&authority), "gateway.hue.test").await;
    assert_eq!(tls_error(server), rustls::Error::NoCertificatesPresented);
    assert!(client.is_err());
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let gateway = authority.server(&["gateway.hue.test"]);
    stranger.system("one-stop");
    // It trusts our gateway, and says it is a system of our domain: only the signature of our CA is missing.
    let files = TlsFiles { bundle: authority.files("").bundle, ..stranger.files("one-stop") };
    let desk = files.load(Usage::Client, SystemTime::now()).unwrap();
    let (server, client) = meet(gateway.server_config(), desk.client_config(), "gateway.hue.test").await;
    assert_eq!(tls_error(server), rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
    assert!(client.is_err());
}

#[tokio::test]
async fn an_expired_client_is_refused() {
    let authority = Authority::new();
    let gateway = authority.server(&["gateway.hue.test"]);
    let desk = authority.system_since("one-stop", SystemTime::now() - 2 * DAY);
    let (server, client) = meet(gateway.server_config(), desk.client_config(), "gateway.hue.test").await;
    let error = tls_error(server);
    assert!(matches!(error, rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{error:?}");
    assert!(client.is_err());
}

#[tokio::test]
async fn a_client_that_is_not_yet_valid_is_refused() {
    let authority = Authority::new();
    let gateway = authority.server(&["gateway.hue.test"]);
    let desk = authority.system_since("one-stop", SystemTime::now() + DAY);
    let (server, _) = meet(gateway.server_config(), desk.client_config(), "gateway.hue.test").await;
    let error = tls_error(server);
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_certificate_does_not_pass_for_a_system() {
    let authority = Authority::new();
    let gateway = authority.server(&["gateway.hue.test"]);
    let (server, client) = meet(gateway.server_config(), gateway.client_config(), "gateway.hue.test").await;
    let error = tls_error(server);
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. })),
        "{error:?}"
    );
    assert!(client.is_err());
}

#[tokio::test]
async fn a_system_does_not_pass_for_the_gateway() {
    let authority = Authority::new();
    let (desk, other) = (authority.system("one-stop"), authority.system("other"));
    let (_, client) = meet(other.server_config(), desk.client_config(), "gateway.hue.test").await;
    // Whether the purpose or the name is found wrong first is the library's business.
    assert!(matches!(tls_error(client), rustls::Error::InvalidCertificate(_)));
}

#[tokio::test]
async fn a_gateway_of_another_ca_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let gateway = stranger.server(&["gateway.hue.test"]);
    let desk = authority.system("one-stop");
    let (_, client) = meet(gateway.server_config(), desk.client_config(), "gateway.hue.test").await;
    assert_eq!(tls_error(client), rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
}

#[tokio::test]
async fn a_gateway_is_accepted_under_each_of_its_names_and_no_other() {
    let authority = Authority::new();
    let gateway = Arc::new(authority.server(&["gateway.hue.test", "127.0.0.1", "::1"]).server_config());
    let desk = Arc::new(authority.system("one-stop").client_config());
    for name in ["gateway.hue.test", "127.0.0.1", "::1"] {
        let (server, client) = meet(gateway.clone(), desk.clone(), name).await;
        assert!(server.is_ok() && client.is_ok(), "{name}");
    }
    for name in ["hue.test", "other.gateway.hue.test", "127.0.0.2", "::2"] {
        let (_, client) = meet(gateway.clone(), desk.clone(), name).await;
        let error = tls_error(client);
        assert!(
            matches!(error, rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
            "{name}: {error:?}"
        );
    }
}

#[tokio::test]
async fn no_connection_resumes_an_earlier_one() {
    let authority = Authority::new();
    let gateway = Arc::new(authority.server(&["gateway.hue.test"]).server_config());
    let mut eager = authority.system("one-stop").client_config();
    // A client that would like to resume, so that it is the server's part that is tested.
    eager.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let desk = Arc::new(eager);
    for _ in 0..2 {
        let (server, client) = meet(gateway.clone(), desk.clone(), "gateway.hue.test").await;
        assert_eq!(server.unwrap().get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.unwrap().get_ref().1.tls13_tickets_received(), 0);
    }
}

/// As a client of ten years ago would begin: TLS 1.2, two suites with ECDSA, P-256, and no word of supported versions.
fn hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[u8] = &[
        0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17, // supported_groups: secp256r1
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // ec_point_formats: uncompressed
        0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03, // signature_algorithms: ecdsa_secp256r1_sha256
    ];
    let mut hello = vec![0x03, 0x03];
    hello.extend([0x5a; 32]);
    // No session, ECDHE-ECDSA-AES128-GCM-SHA256 and AES256-GCM-SHA384, no compression.
    hello.extend([0x00, 0x00, 0x04, 0xc0, 0x2b, 0xc0, 0x2c, 0x01, 0x00]);
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend((hello.len() as u16 + 4).to_be_bytes());
    record.extend([0x01, 0x00]);
    record.extend((hello.len() as u16).to_be_bytes());
    record.extend(hello);
    record
}

#[test]
fn tls_1_2_is_refused() {
    let authority = Authority::new();
    let gateway = authority.server(&["gateway.hue.test"]);
    let joining = gateway.server_config_with_root(SystemTime::now()).unwrap();
    for config in [gateway.server_config(), joining] {
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        connection.read_tls(&mut hello_of_tls_1_2().as_slice()).unwrap();
        let error = connection.process_new_packets().unwrap_err();
        let expected = rustls::PeerIncompatible::SupportedVersionsExtensionRequired;
        assert_eq!(error, rustls::Error::PeerIncompatible(expected));
    }
}
