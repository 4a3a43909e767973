//! Who is not let in: every call needs a certificate of the bus's CA that names a registered system, and the registry must
//! let that system act for the party.

use std::time::SystemTime;

use lgsp_adapters::link::{CallError, Link};
use lgsp_certs::{CertificateAuthority, TrustDomain};
use lgsp_proto::{Reason, v1};

use crate::support::{Bus, refused, submission, submit};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_or_none_gets_nowhere() {
    let bus = Bus::start().await;
    let domain: TrustDomain = "bus.test".parse().unwrap();
    let stranger = CertificateAuthority::create(&bus.folder().join("stranger"), &domain, SystemTime::now()).unwrap();
    // The same names, another key: the handshake must fail, so nothing of ours can answer.
    let link = Link::new(&bus.address_of(&stranger, "mot-cua-binh")).unwrap();
    let error = submit(&link, &submission()).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown(_)), "{error}");

    // Without a client certificate the server ends the connection before it reads a request.
    let anonymous = anonymous_handshake(&bus).await;
    assert!(anonymous.is_err(), "a connection without a certificate was served");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_system_a_former_one_and_a_foreign_party_are_told_so() {
    let bus = Bus::start().await;
    let refusal = refused(submit(&bus.link("la"), &submission()).await, Reason::SystemUnknown);
    assert_eq!(refusal.details()["system"], "la");
    let former = v1::Submission { acting_party: "H99.101".into(), ..submission() };
    refused(submit(&bus.link("da-nghi"), &former).await, Reason::SystemUnknown);
    let refusal = refused(submit(&bus.link("mot-cua"), &submission()).await, Reason::ActsForMissing);
    assert_eq!(refusal.details()["party"], "H99.102");
    // A department is nobody's desk: it may act, but not submit.
    let department = v1::Submission { acting_party: "H99.01".into(), ..submission() };
    let refusal = refused(submit(&bus.link("so-nganh"), &department).await, Reason::GrantMissing);
    assert!(refusal.details().contains_key("owner"), "{refusal}");
    bus.stop().await;
}

/// Connects without a client certificate and tries to read an HTTP/2 preface.
async fn anonymous_handshake(bus: &Bus) -> std::io::Result<()> {
    use rustls_pki_types::pem::PemObject as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls_pki_types::CertificateDer::from_pem_file(bus.folder().join("ca/root.pem")).unwrap();
    roots.add(ca).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", bus.port())).await?;
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = lgsp_certs::server_name("localhost").unwrap();
    let mut stream = connector.connect(name, tcp).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).await.map(drop)
}
