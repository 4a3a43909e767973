//! The first connection: a system that knows the gateway by a fingerprint only.

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use lgsp_certs::tls::NoOwnRoot;
use lgsp_certs::{TlsFiles, Usage, joining_config, server_name};
use rustls::{CertificateError, Error};

use crate::handshake::{meet, tls_error};
use crate::support::{Authority, DAY};

const GATEWAY: &str = "gateway.hue.test";

fn fingerprint(authority: &Authority) -> [u8; 32] {
    digest(&SHA256, authority.ca.root()).as_ref().try_into().unwrap()
}

#[tokio::test]
async fn a_gateway_is_known_by_the_fingerprint_of_its_root() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let gateway = Arc::new(authority.server(&[GATEWAY]).server_config_with_root(SystemTime::now()).unwrap());
    for known in [vec![fingerprint(&authority)], vec![fingerprint(&stranger), fingerprint(&authority)]] {
        let (server, client) = meet(gateway.clone(), joining_config(&known), GATEWAY).await;
        assert!(server.is_ok());
        assert_eq!(client.unwrap().get_ref().1.peer_certificates().unwrap().last(), Some(authority.ca.root()));
    }
    for known in [vec![], vec![fingerprint(&stranger)]] {
        let (_, client) = meet(gateway.clone(), joining_config(&known), GATEWAY).await;
        assert_eq!(tls_error(client.map(drop)), Error::InvalidCertificate(CertificateError::UnknownIssuer));
    }
}

#[tokio::test]
async fn a_gateway_under_another_name_is_not_joined() {
    let authority = Authority::new();
    let gateway = authority.server(&[GATEWAY]).server_config_with_root(SystemTime::now()).unwrap();
    let (_, client) = meet(gateway, joining_config(&[fingerprint(&authority)]), "other.hue.test").await;
    let error = tls_error(client.map(drop));
    assert!(matches!(error, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })), "{error:?}");
}

/// Whoever sits between has the root's certificate too: everybody has. What he lacks is a chain that leads to it.
#[tokio::test]
async fn a_root_sent_along_by_somebody_else_vouches_for_nothing() {
    let (authority, impostor) = (Authority::new(), Authority::new());
    impostor.server(&[GATEWAY]);
    let forged = impostor.path().join("forged.pem");
    let own = std::fs::read_to_string(impostor.files("gateway").certificate).unwrap();
    std::fs::write(&forged, format!("{own}{}", authority.ca.root_pem())).unwrap();
    let files = TlsFiles { certificate: forged, ..impostor.files("gateway") };
    let forged =
        files.load(Usage::Server, SystemTime::now()).unwrap().server_config_with_root(SystemTime::now()).unwrap();
    let (_, client) = meet(forged, joining_config(&[fingerprint(&authority)]), GATEWAY).await;
    assert_eq!(tls_error(client.map(drop)), Error::InvalidCertificate(CertificateError::UnknownIssuer));
}

#[tokio::test]
async fn an_expired_gateway_is_not_joined() {
    let authority = Authority::new();
    let then = SystemTime::now() - 2 * DAY;
    let issued = authority.ca.issue_server(&[server_name(GATEWAY).unwrap()], DAY, then).unwrap();
    issued.write_to(authority.path(), "gateway").unwrap();
    let gateway = authority.files("gateway").load(Usage::Server, then).unwrap();
    let config = gateway.server_config_with_root(then).unwrap();
    let (_, client) = meet(config, joining_config(&[fingerprint(&authority)]), GATEWAY).await;
    let error = tls_error(client.map(drop));
    assert!(matches!(error, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{error:?}");
}

#[test]
fn a_listener_for_joining_needs_its_root_at_hand() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let gateway = authority.server(&[GATEWAY]);
    assert_eq!(gateway.own_root(SystemTime::now()), Some(authority.ca.root()));
    let elsewhere = TlsFiles { bundle: stranger.files("").bundle, ..authority.files("gateway") };
    let elsewhere = elsewhere.load(Usage::Server, SystemTime::now()).unwrap();
    assert_eq!(elsewhere.server_config_with_root(SystemTime::now()).unwrap_err(), NoOwnRoot);
    // It may be in another bundle than the first.
    let known = elsewhere.knowing(vec![stranger.ca.root().clone(), authority.ca.root().clone()]);
    assert_eq!(known.own_root(SystemTime::now()), Some(authority.ca.root()));
    // The root behind the chain in the certificate's own file will do.
    let file = authority.path().join("with-root.pem");
    let chain = std::fs::read_to_string(authority.files("gateway").certificate).unwrap();
    std::fs::write(&file, format!("{chain}{}", authority.ca.root_pem())).unwrap();
    let files = TlsFiles { certificate: file, bundle: stranger.files("").bundle, ..authority.files("gateway") };
    let whole = files.load(Usage::Server, SystemTime::now()).unwrap();
    assert_eq!(whole.own_root(SystemTime::now()), Some(authority.ca.root()));
}
