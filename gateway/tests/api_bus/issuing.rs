//! What the gateway certifies, and when it does not: whose certificates it renews, and whether its CA is in force.

use std::time::SystemTime;

use lgsp_certs::{CertificateAuthority, CertificateFacts, PrivateKey, RootAuthority};
use lgsp_proto::types::JoinToken;
use lgsp_proto::{Reason, v1};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

use super::certificates::pem;
use super::disk::free;
use super::joining::{certificates, issue, join, token_for};
use super::world::*;

async fn renew(system: &System) -> Result<v1::IssuedCertificate, tonic::Status> {
    renew_with(system, PrivateKey::generate().unwrap().signing_request().unwrap()).await
}

async fn renew_with(system: &System, signing_request: Vec<u8>) -> Result<v1::IssuedCertificate, tonic::Status> {
    let signing_request = signing_request.into();
    let renewed = within(certificates(system).renew(v1::RenewRequest { signing_request })).await?;
    Ok(renewed.into_inner().certificate.unwrap())
}

/// How it stands with the CA, by the local listener.
async fn ca(world: &World) -> String {
    let (_, body) = world.local("GET", "/status", "").await;
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    status["certifying"]["ca"].as_str().unwrap().to_owned()
}

/// Joins, or says why there was no CA to do it.
async fn joins(world: &World, token: &JoinToken) -> Result<(), String> {
    match join(world, token, &PrivateKey::generate().unwrap()).await {
        Ok(_) => Ok(()),
        Err(status) => {
            let refused = refusal(Err::<(), _>(status));
            assert_eq!(refused.reason(), Reason::CaNotConfigured);
            Err(refused.details()["cause"].clone())
        }
    }
}

/// Moves a file of the gateway's folder.
fn rename(world: &World, from: &str, to: &str) {
    std::fs::rename(world.folder().join(from), world.folder().join(to)).unwrap();
}

fn key_of(certificate: &[u8]) -> [u8; 32] {
    CertificateFacts::read(certificate).unwrap().key_sha256
}

#[tokio::test]
async fn only_renewals_that_come_to_something_are_counted() {
    let mut world = World::start().await;
    world.min_free_bytes = free(world.folder()) * 8;
    world.restart().await;
    let desk = world.system("mot-cua").await;
    for _ in 0..12 {
        assert_eq!(refusal(renew(&desk).await).reason(), Reason::ReadOnly, "there is no room even for that");
        assert_eq!(refusal(renew_with(&desk, b"none".to_vec()).await).reason(), Reason::SigningRequestInvalid);
    }
    world.min_free_bytes = 0;
    world.restart().await;
    let desk = world.system("mot-cua").await;
    for _ in 0..10 {
        assert_eq!(refusal(renew_with(&desk, b"none".to_vec()).await).reason(), Reason::SigningRequestInvalid);
        renew(&desk).await.unwrap();
    }
    assert_eq!(refusal(renew(&desk).await).reason(), Reason::QuotaExceeded);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_renewed_there_and_not_here() {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    world.write("agency.pem", agency.root_pem());
    world.trust = "[[tls.trust]]\nname = \"binh\"\nbundle = \"agency.pem\"\nsystems = [\"mot-cua-*\"]".into();
    world.restart().await;
    let theirs = world.issued(&agency, "mot-cua-binh", DAY, "theirs").await;
    // However often it asks: what it is told is not that it asks too often.
    for _ in 0..12 {
        let refused = refusal(renew(&theirs).await);
        assert_eq!(refused.reason(), Reason::RenewedElsewhere);
        assert_eq!(refused.details()["bundle"], "binh");
    }
    // The same system by the bus's own CA is renewed, and so is one by a root that stands beside ours in one bundle: that is
    // how a root is exchanged.
    renew(&world.system("mot-cua-binh").await).await.unwrap();
    let before = world.other_authority("before", DOMAIN);
    world.write("clients.pem", format!("{}{}", world.root_pem(), before.root_pem()));
    world.reload().await.unwrap();
    renew(&world.issued(&before, "mot-cua", DAY, "before").await).await.unwrap();
}

#[tokio::test]
async fn nothing_is_signed_by_a_ca_that_is_out_of_force_until_another_is_there() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let [first, second] = [issue(&operator, token_for("mot-cua")).await, issue(&operator, token_for("mot-cua")).await];
    assert_eq!(ca(&world).await, "signing");
    // No bundle has its root; and then it has again.
    let other = world.other_authority("other", DOMAIN);
    world.write("clients.pem", other.root_pem());
    world.reload().await.unwrap();
    assert_eq!(ca(&world).await, "ca_in_no_bundle");
    assert_eq!(joins(&world, &first).await, Err("ca_in_no_bundle".into()));
    let of_the_other = world.issued(&other, "van-hanh", DAY, "other-operator").await;
    assert_eq!(reason(renew(&of_the_other).await), Reason::CaNotConfigured);
    let no_token = within(certificates(&of_the_other).issue_token(token_for("mot-cua"))).await;
    assert_eq!(reason(no_token), Reason::CaNotConfigured);
    world.write("clients.pem", format!("{}{}", world.root_pem(), other.root_pem()));
    world.reload().await.unwrap();
    assert_eq!(joins(&world, &first).await, Ok(()));

    // Its key is revoked: what is connected under it is cut, and it signs nothing.
    world.engine().connections().revoke([key_of(world.authority().intermediate())]);
    assert_eq!(ca(&world).await, "ca_key_revoked");
    assert_eq!(joins(&world, &second).await, Err("ca_key_revoked".into()));
    // Another CA of the same root, in its place.
    let root = RootAuthority::open(&world.folder().join("ca/root")).unwrap();
    root.issue_authority(&world.folder().join("next"), SystemTime::now()).unwrap();
    replace_ca(&world, "next");
    assert_eq!(ca(&world).await, "signing");
    assert_eq!(joins(&world, &second).await, Ok(()));
    // With the root goes whatever it signed.
    world.engine().connections().revoke([key_of(world.authority().root())]);
    assert_eq!(ca(&world).await, "ca_key_revoked");
    replace_ca(&world, "other");
    assert_eq!(ca(&world).await, "signing");
}

/// Puts the files of another CA's folder in the place of the gateway's.
fn replace_ca(world: &World, folder: &str) {
    for file in ["ca.pem", "ca.key", "root.pem"] {
        rename(world, &format!("{folder}/{file}"), &format!("ca/{file}"));
    }
}

#[tokio::test]
async fn nothing_is_signed_by_a_ca_that_its_root_has_put_on_a_list() {
    let world = World::start().await;
    let token = issue(&world.system("van-hanh").await, token_for("mot-cua")).await;
    let root = RootAuthority::open(&world.folder().join("ca/root")).unwrap();
    let now = SystemTime::now();
    let list = root.revoke(Some(world.authority().intermediate()), now, now + DAY).unwrap();
    world.write("ca/root.crl", std::fs::read(list).unwrap());
    world.reload().await.unwrap();
    assert_eq!(ca(&world).await, "ca_on_revocation_list");
    assert_eq!(joins(&world, &token).await, Err("ca_on_revocation_list".into()));
}

#[tokio::test]
async fn a_key_that_is_taken_away_signs_nothing_until_it_is_back() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let token = issue(&operator, token_for("mot-cua")).await;
    renew(&operator).await.unwrap();
    for (there, away) in [("ca/ca.key", "away.key"), ("ca", "away")] {
        rename(&world, there, away);
        assert_eq!(ca(&world).await, "ca_files");
        assert_eq!(joins(&world, &token).await, Err("ca_files".into()));
        let refused = refusal(renew(&operator).await);
        assert_eq!((refused.reason(), refused.details()["cause"].as_str()), (Reason::CaNotConfigured, "ca_files"));
        rename(&world, away, there);
        assert_eq!(ca(&world).await, "signing");
        renew(&operator).await.unwrap();
    }
    assert_eq!(joins(&world, &token).await, Ok(()));
    // A CA that signs other names is none of ours.
    let foreign = world.folder().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    CertificateAuthority::create(&foreign, &"khac.test".parse().unwrap(), SystemTime::now()).unwrap();
    replace_ca(&world, "foreign");
    assert_eq!(ca(&world).await, "ca_of_another_domain");
    assert_eq!(refusal(renew(&operator).await).details()["cause"], "ca_of_another_domain");
}

/// A CA's certificate in the making, called so.
fn called(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, KeyPair::generate().unwrap())
}

#[tokio::test]
async fn the_local_listener_names_the_certificate_shown_and_a_list_that_its_ca_did_not_sign() {
    let mut world = World::start().await;
    let (params, key) = called("CA goc cua So");
    let root = CertifiedIssuer::self_signed(params, key).unwrap();
    // One name, two keys: a list by the one is none of the other's.
    let [ours, other] = [(); 2].map(|()| {
        let (params, key) = called("CA cua So");
        CertifiedIssuer::signed_by(params, key, &root).unwrap()
    });
    let list = CertificateRevocationListParams {
        this_update: (SystemTime::now() - DAY).into(),
        next_update: (SystemTime::now() + DAY).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    world.write("so.pem", root.pem());
    world.write("so.crl", list.signed_by(&other).unwrap().der());
    world.trust = "[[tls.trust]]\nname = \"so\"\nbundle = \"so.pem\"\ncrl = \"so.crl\"\nsystems = [\"*\"]".into();
    world.restart().await;
    let told = world.certificates().await;
    assert_eq!(told["own_sha256"], world.gateway().digest().to_string());
    assert!(told.get("revocation_lists_set_aside").is_none(), "{told}");

    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI(format!("spiffe://{DOMAIN}/system/mot-cua").try_into().unwrap())];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &ours).unwrap();
    world.write("leaf.pem", pem(&[leaf.der().clone(), ours.der().clone()]));
    world.write("leaf.key", key.serialize_pem());
    let desk = world.connected(world.load("leaf")).await;
    desk.submit(&aid("k-1")).await.unwrap();
    assert_eq!(world.certificates().await["revocation_lists_set_aside"], serde_json::json!(["so"]));
    world.replace_certificate(world.authority());
    world.reload().await.unwrap();
    assert_eq!(world.certificates().await["own_sha256"], world.gateway().digest().to_string());
}
