//! Nobody in uninvited: who has no certificate, a wrong one, or one without a name.

use bytes::Bytes;
use lgsp_proto::{Reason, Refusal, v1};
use rustls_pki_types::pem::PemObject as _;

use super::wire::{every_rpc, send};
use super::world::*;

#[tokio::test]
async fn without_a_certificate_no_call_gets_through() {
    let world = World::start().await;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(world.root_pem().as_bytes()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let mut tls =
        builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    assert!(is_locked_out(&world, tls).await);
}

#[tokio::test]
async fn a_certificate_of_another_ca_does_not_get_through_even_with_the_right_name() {
    let world = World::start().await;
    let impostor = world.impostor();
    // The names are right, the files are not those of the real system.
    let issued = impostor.issue_system(&"mot-cua".parse().unwrap(), DAY, std::time::SystemTime::now()).unwrap();
    let tls = world.credentials_of(&issued, "impostor-mot-cua").client_config();
    assert!(is_locked_out(&world, tls).await);
    assert!(!is_locked_out(&world, world.system("mot-cua").await.credentials.client_config()).await);
}

#[tokio::test]
async fn those_who_never_say_hello_keep_nobody_out() {
    let world = World::start().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(tokio::net::TcpStream::connect(world.bus()).await.unwrap());
    }
    let desk = world.system("mot-cua").await;
    assert!(!desk.submit(&aid("k-1")).await.unwrap().repeated);
}

/// Whether the transport itself turns a call away.
pub(crate) async fn is_locked_out(world: &World, tls: rustls::ClientConfig) -> bool {
    let Ok(channel) = connect(world.bus(), tls).await else { return true };
    match send(&channel, "/lgsp.v1.Dossiers/Get", Bytes::new()).await {
        Ok(()) => false,
        Err(status) => Refusal::from_status(&status).is_none(),
    }
}

#[tokio::test]
async fn a_certificate_whose_ca_may_not_vouch_for_it_is_told_so_by_every_rpc() {
    let world = World::start().await;
    let stranger = world.stranger().await;
    for rpc in every_rpc() {
        let refused = refusal(send(&stranger.channel, &rpc, Bytes::new()).await);
        assert_eq!(refused.reason(), Reason::CertificateNotVouched, "{rpc}");
        assert_eq!(refused.details()["bundle"], "client_bundle");
        assert_eq!(refused.details()["spiffe_id"], format!("spiffe://{NEIGHBOUR}/system/mot-cua"));
    }
    // Health and reflection need no more than the handshake.
    super::operations::assert_serving(&stranger.channel).await;
}

#[tokio::test]
async fn a_system_that_is_not_in_the_registry_is_told_so() {
    let world = World::start().await;
    let unknown = world.system("khong-co").await;
    assert_eq!(reason(unknown.submit(&aid("k-1")).await), Reason::SystemUnknown);
    assert_eq!(reason(unknown.get(AN, "H99.101-250714-0001", false).await), Reason::SystemUnknown);
    // One that was taken out of it is as unknown as one that never was in.
    let retired = world.system("da-nghi").await;
    assert_eq!(reason(retired.submit(&aid("k-1")).await), Reason::SystemUnknown);
}

#[tokio::test]
async fn acting_for_a_party_is_asked_of_every_service() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let (party, actor) = (BINH.to_owned(), "can.bo.1".to_owned());
    assert_eq!(reason(desk.get(BINH, "H99.101-250714-0001", false).await), Reason::ActsForMissing);
    let read = v1::ReadRegistryRequest {
        acting_party: party.clone(),
        actor: actor.clone(),
        version: 0,
        ..v1::ReadRegistryRequest::default()
    };
    assert_eq!(reason(within(desk.registry().read(read)).await), Reason::ActsForMissing);
    let state =
        v1::UploadStateRequest { acting_party: party.clone(), actor: actor.clone(), sha256: vec![0; 32].into() };
    assert_eq!(reason(within(desk.documents().upload_state(state)).await), Reason::ActsForMissing);
    let lease = v1::LeaseNumbersRequest {
        acting_party: party.clone(),
        actor: actor.clone(),
        spool: vec![1; 16].into(),
        wanted: vec![v1::NumbersWanted { authority: AN.into(), day: "2025-07-14".into(), more: 0 }],
    };
    assert_eq!(reason(within(desk.numbers().lease(lease)).await), Reason::ActsForMissing);
    let backlog = v1::BacklogRequest { parties: vec![AN.into(), party], actor };
    assert_eq!(reason(within(desk.inbox().backlog(backlog)).await), Reason::ActsForMissing);
    let (party, actor) = (BINH.to_owned(), "can.bo.1".to_owned());
    let parked = v1::ParkedRequest {
        acting_party: AN.into(),
        actor: actor.clone(),
        parties: vec![party.clone()],
        ..v1::ParkedRequest::default()
    };
    assert_eq!(reason(within(desk.inbox().parked(parked)).await), Reason::ActsForMissing);
    let decide = v1::HandleParkedRequest {
        acting_party: AN.into(),
        actor: actor.clone(),
        r#ref: Some(v1::DeliveryRef { party: party.clone(), dossier_code: "H99.101-250714-0001".into(), sequence: 1 }),
        action: v1::ParkedActionKind::Skip.into(),
        why: "thử".into(),
    };
    assert_eq!(reason(within(desk.inbox().handle_parked(decide)).await), Reason::ActsForMissing);
    // Taking from an installation what it has is for operators, whoever it acts for.
    let release = v1::ReleaseRequest {
        acting_party: AN.into(),
        actor,
        party: AN.into(),
        system: "mot-cua".into(),
        instance: String::new(),
        why: "DISK_LOST".into(),
    };
    assert_eq!(reason(within(desk.inbox().release(release)).await), Reason::GrantMissing);
}
