//! The link by itself, as the command line uses it.

use std::time::SystemTime;

use bytes::Bytes;
use lgsp_adapters::link::{Address, CallError, Profile, Proof, ReceiptProblem, Timings, TurnedAway, connect};
use lgsp_certs::{TlsFiles, Usage};
use lgsp_proto::{Reason, v1};
use prost::Message;

use crate::support::{Answer, Certificates, Gateway, PARTY, World};

fn profile(world: &World) -> Profile {
    Profile {
        address: Address {
            gateway: format!("https://{}", world.line.address()).parse().unwrap(),
            server_name: None,
            tls: world.tls.clone(),
            timings: Timings::default(),
        },
        acting_party: PARTY.parse().unwrap(),
        actor: "mot.cua".parse().unwrap(),
    }
}

fn body(key: &str) -> Bytes {
    let submission =
        v1::Submission { request_key: key.into(), acting_party: PARTY.into(), ..v1::Submission::default() };
    submission.encode_to_vec().into()
}

#[tokio::test]
async fn a_submission_gets_a_receipt_that_proves_itself() {
    let world = World::new().await;
    let link = connect(&profile(&world)).unwrap();
    let admitted = link.submit(body("k1"), None).await.unwrap();
    assert_eq!((admitted.proof, admitted.repeated), (Proof::Verified, false));
    assert_eq!(admitted.receipt.request_key, "k1");
    assert!(link.submit(body("k1"), None).await.unwrap().repeated);
}

#[tokio::test]
async fn every_failure_says_whether_to_send_again() {
    let world = World::new().await;
    let link = connect(&profile(&world)).unwrap();
    world.gateway.answer_next([
        Answer::Refuse(Reason::NoRoute),
        Answer::Refuse(Reason::ReadOnly),
        Answer::Stranger(tonic::Code::Unavailable),
        Answer::ForgedReceipt,
        Answer::WrongReceipt,
        Answer::ReceiptForOtherBytes,
        Answer::CutBefore(world.line.clone()),
    ]);
    let mut failed = Vec::new();
    // The first one is refused for good; the others are about a request of their own.
    for key in ["k1", "k2", "k2", "k2", "k2", "k2", "k2"] {
        failed.push(link.submit(body(key), None).await.unwrap_err());
    }
    assert!(
        matches!(&failed[0], CallError::Refused(refused) if refused.refusal().unwrap().reason() == Reason::NoRoute)
    );
    assert!(
        matches!(&failed[1], CallError::NotNow(refused) if refused.refusal().unwrap().reason() == Reason::ReadOnly)
    );
    assert!(matches!(failed[2], CallError::Unknown(_)));
    assert!(matches!(failed[3], CallError::Receipt(ReceiptProblem::Signature)));
    assert!(matches!(failed[4], CallError::Receipt(ReceiptProblem::OfAnotherRequest)));
    assert!(matches!(failed[5], CallError::Receipt(ReceiptProblem::OfAnotherRequest)));
    assert!(matches!(failed[6], CallError::Unknown(_)));
    let finals: Vec<_> = failed.iter().map(CallError::is_final).collect();
    assert_eq!(finals, [true, false, false, false, false, false, false]);
    assert!(link.submit(Bytes::from_static(b"\xff"), None).await.unwrap_err().is_final());
}

#[tokio::test]
async fn a_receipt_of_a_certificate_not_met_is_kept_for_later() {
    let world = World::new().await;
    let link = connect(&profile(&world)).unwrap();
    link.submit(body("k1"), None).await.unwrap();
    // A replica with a certificate of its own gives the receipt that the first one signed.
    let replica = Gateway::replica(&world.gateway, world.certificates.server("replica")).await;
    let other = connect(&profile(&world)).unwrap();
    world.line.lead_to(replica.address());
    let admitted = other.submit(body("k1"), None).await.unwrap();
    assert_eq!((admitted.proof, admitted.repeated), (Proof::CertificateNotMet, true));
}

#[tokio::test]
async fn new_credentials_take_new_calls_and_what_is_under_way_ends_where_it_began() {
    let world = World::new().await;
    let link = connect(&profile(&world)).unwrap();
    link.submit(body("k1"), None).await.unwrap();
    world.gateway.answer_next([Answer::Hold]);
    let held = tokio::spawn({
        let link = link.clone();
        async move { link.submit(body("k2"), None).await }
    });
    world.gateway.sees_attempts(2).await;

    let before = link.certificate();
    let renewed = world.certificates.system("one-stop-renewed").load(Usage::Client, SystemTime::now()).unwrap();
    link.adopt(&renewed);
    assert_eq!(link.certificate(), renewed.digest());
    // The gateway checks the signature against the certificate of the connection: it must be the new one of both.
    link.submit(body("k3"), None).await.unwrap();
    // And what was sent under the old key goes out again under the new one.
    let again = link.submit(body("k1"), None).await.unwrap();
    assert_eq!((again.proof, again.repeated), (Proof::Verified, true), "the gateway met before is still known");
    world.gateway.let_go();
    let held = held.await.unwrap().unwrap();
    assert_eq!((held.proof, held.repeated), (Proof::Verified, false));
    assert_eq!(world.gateway.certificates(), [before, renewed.digest()]);
    assert_eq!(world.gateway.effects(), ["k1", "k2", "k3"]);
}

#[tokio::test]
async fn credentials_are_tried_beside_the_link_and_a_failure_there_is_not_seen_on_it() {
    let world = World::new().await;
    let link = connect(&profile(&world)).unwrap();
    link.submit(body("k1"), None).await.unwrap();
    let strange = Certificates::new();
    let files = TlsFiles { bundle: strange.files("any").bundle, ..world.tls.clone() };
    let beside = link.beside(&files.load(Usage::Client, SystemTime::now()).unwrap());
    assert!(matches!(beside.submit(body("k2"), None).await.unwrap_err(), CallError::Unknown(_)));
    assert_eq!(beside.connectivity().borrow().turned_away, Some(TurnedAway::GatewayUnknown));
    let seen = *link.connectivity().borrow();
    assert_eq!((seen.connections, seen.down, seen.turned_away), (1, false, None));
}

#[tokio::test]
async fn a_certificate_that_the_gateway_turns_away_is_told_as_such() {
    let world = World::new().await;
    // Of a CA that the gateway does not know: said by an alert, after the handshake of our side.
    let strange = Certificates::new();
    let mut profile = profile(&world);
    profile.address.tls = TlsFiles { bundle: world.tls.bundle.clone(), ..strange.system("one-stop") };
    let link = connect(&profile).unwrap();
    assert!(matches!(link.submit(body("k1"), None).await.unwrap_err(), CallError::Unknown(_)));
    assert_eq!(link.connectivity().borrow().turned_away, Some(TurnedAway::NotAccepted));
    // And over once there is a good one.
    link.adopt(&world.tls.load(Usage::Client, SystemTime::now()).unwrap());
    assert_eq!(link.connectivity().borrow().turned_away, None);
    world.gateway.answer_next([Answer::Refuse(Reason::CertificateRevoked)]);
    assert!(link.submit(body("k1"), None).await.unwrap_err().is_final());
    assert_eq!(link.connectivity().borrow().turned_away, Some(TurnedAway::Revoked));
    link.submit(body("k2"), None).await.unwrap();
    assert_eq!(link.connectivity().borrow().turned_away, None);
}

#[tokio::test]
async fn a_gateway_under_another_name_is_not_spoken_to() {
    let world = World::new().await;
    let mut profile = profile(&world);
    profile.address.server_name = Some("gateway.lgsp.hue.test".into());
    let link = connect(&profile).unwrap();
    assert!(matches!(link.submit(body("k1"), None).await.unwrap_err(), CallError::Unknown(_)));
    assert!(world.gateway.attempts().is_empty());
}
