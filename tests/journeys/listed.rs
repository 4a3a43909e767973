//! What an issuing CA put on its list stays out when that CA is exchanged as the README says: at the gateway and at an adapter,
//! while everything runs, after a restart, and when the folder of that CA is gone. What its root put on its list is the whole CA.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_certs::{TlsFiles, Usage, server_name};
use lgsp_proto::v1::TrustRequest;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::agency::Agency;
use crate::place::{Gateway, Place};
use crate::{until, within};

/// The system of the adapter that is watched.
const SYSTEM: &str = "mot-cua-binh";
const DESK: &str = "H99.102";

/// Another, whose certificates are issued at the CA.
const OTHER: &str = "mot-cua";

#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuing_ca_revoked_stays_out_when_it_is_exchanged() {
    let place = Place::new().issuing(3600);
    let gateway = place.gateway().await;
    let agency = Agency::open(DESK).await;
    place.join(SYSTEM, DESK, &gateway, agency.hook).await;
    let adapter = place.joined_adapter(SYSTEM).await;

    // A desk's key and a gateway's are stolen.
    let issued = |ca: &str, stem: &str| place.issued_by(&place.authority(ca), stem, OTHER);
    let [desk, kept, unlisted] = ["stolen", "kept", "unlisted"].map(|stem| issued("ca", stem));
    place.ask_text(&["certs", "issue", "--ca", "ca", "--server", "127.0.0.1", "--out", "impostor"]).await;
    let impostor = files(&place, "impostor/127.0.0.1");
    assert!(is_let_in(&place, &gateway, &desk).await && is_believed(&place, &impostor).await);
    for file in ["tls/stolen.pem", "impostor/127.0.0.1.pem"] {
        place.ask_text(&["certs", "revoke", "--ca", "ca", file]).await;
    }
    is_out(&place, &gateway, &desk).await;
    until("an adapter that knows the impostor", async || (!is_believed(&place, &impostor).await).then_some(())).await;

    // Another issuing CA; its own first list tells that it is the one in use.
    place.ask_text(&["certs", "init", "ca-b", "--root", "ca/root"]).await;
    let of_b = issued("ca-b", "of-b");
    assert!(is_let_in(&place, &gateway, &of_b).await);
    place.issue_by("ca-b");
    place.ask_text(&["certs", "revoke", "--ca", "ca-b", "tls/of-b.pem"]).await;
    is_out(&place, &gateway, &of_b).await;
    assert!(!is_let_in(&place, &gateway, &desk).await, "the exchange has let a revoked desk in again");
    until("an adapter that was told again", async || (lists(&place).len() >= 2).then_some(())).await;
    assert!(!is_believed(&place, &impostor).await, "the exchange has made an adapter believe a revoked gateway");

    // The earlier CA no longer issues, and still revokes.
    assert!(is_let_in(&place, &gateway, &kept).await);
    place.ask_text(&["certs", "revoke", "--ca", "ca", "tls/kept.pem"]).await;
    is_out(&place, &gateway, &kept).await;

    // In the end its folder goes as well, and the gateway starts anew.
    adapter.stop().await;
    gateway.stop().await;
    place.issue_the_gateways_certificate_by(&place.authority("ca-b"));
    fs::rename(place.folder().join("ca"), place.folder().join("carried-away")).unwrap();
    let gateway = place.gateway().await;
    for (who, files) in [("stolen", &desk), ("kept", &kept), ("of-b", &of_b)] {
        assert!(!is_let_in(&place, &gateway, files).await, "{who}: the start has let a revoked certificate in again");
    }
    let new = issued("ca-b", "new");
    assert!(is_let_in(&place, &gateway, &new).await && is_let_in(&place, &gateway, &unlisted).await);

    // And if its key was stolen: its root says so, and all it signed is out.
    place.ask_text(&["certs", "revoke", "--ca", "carried-away/root", "carried-away/ca.pem"]).await;
    fs::copy(place.folder().join("carried-away/root/root.crl"), place.folder().join("ca-b/root.crl")).unwrap();
    is_out(&place, &gateway, &unlisted).await;
    assert!(is_let_in(&place, &gateway, &new).await);
    gateway.stop().await;
}

/// Waits until the gateway does not answer to this certificate.
async fn is_out(place: &Place, gateway: &Gateway, files: &TlsFiles) {
    until("a revocation that counts", async || (!is_let_in(place, gateway, files).await).then_some(())).await;
}

/// Whether the gateway answers to this certificate, on a connection of its own.
async fn is_let_in(place: &Place, gateway: &Gateway, files: &TlsFiles) -> bool {
    let link = place.link_with(files.clone(), gateway.bus);
    let request = TrustRequest { known_sha256: Bytes::new() };
    within("an answer about trust", link.certificates().trust(link.request(request, None))).await.is_ok()
}

/// Whether somebody who trusts whom the adapter trusts now would speak to this gateway.
async fn is_believed(place: &Place, gateway: &TlsFiles) -> bool {
    let now = SystemTime::now();
    // The set may be exchanged, and the one before removed, while it is read.
    let own = until("a set that is whole", async || {
        let file = |name| current(place).join(name);
        let own = TlsFiles { certificate: file("chain.pem"), key: file("key.pem"), bundle: file("bundle.pem") };
        own.load(Usage::Client, now).ok()?.with_revocation_lists(&lists(place)).ok()
    })
    .await;
    let gateway = gateway.load(Usage::Server, now).unwrap();
    let (client, server) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(Arc::new(own.client_config()));
    let acceptor = TlsAcceptor::from(Arc::new(gateway.server_config()));
    let name = server_name("127.0.0.1").unwrap();
    let met = async { tokio::join!(connector.connect(name, client), acceptor.accept(server)) };
    within("a handshake", met).await.0.is_ok()
}

/// The revocation lists that the adapter has in force.
fn lists(place: &Place) -> Vec<PathBuf> {
    let files = fs::read_dir(current(place)).into_iter().flatten().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|ending| ending == "crl")).collect()
}

fn current(place: &Place) -> PathBuf {
    place.folder().join(SYSTEM).join("identity/current").canonicalize().unwrap()
}

fn files(place: &Place, stem: &str) -> TlsFiles {
    let file = |ending| place.folder().join(format!("{stem}.{ending}"));
    TlsFiles { certificate: file("pem"), key: file("key"), bundle: place.folder().join("bundle.pem") }
}
