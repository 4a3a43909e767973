//! Nobody puts the bus, or the last of those who keep it in order, out of force by mistake.

use std::time::Duration;

use lgsp_certs::{CertificateFacts, PrivateKey};
use lgsp_proto::v1::revoke_request::What;
use lgsp_proto::{Reason, Refusal, v1};
use tonic::Status;

use super::joining::{asked_of, certificates, credentials, issue, join, list, revoke, speaks, system, token_for};
use super::world::*;

fn key(certificate: &[u8]) -> [u8; 32] {
    CertificateFacts::read(certificate).unwrap().key_sha256
}

fn of_key(key: [u8; 32]) -> What {
    What::KeySha256(key.to_vec().into())
}

fn of_system(name: &str) -> What {
    What::System(name.into())
}

async fn say(operator: &System, request: v1::RevokeRequest) -> Result<v1::RevokeResponse, Status> {
    Ok(within(certificates(operator).revoke(request)).await?.into_inner())
}

/// The refusal of a revocation that would lock somebody out.
async fn asked_back(operator: &System, what: What) -> Refusal {
    let refused = refusal(say(operator, revoke(what)).await);
    assert_eq!(refused.reason(), Reason::RevocationLocksOut);
    refused
}

fn meant(what: What) -> v1::RevokeRequest {
    v1::RevokeRequest { despite_lockout: true, ..revoke(what) }
}

/// A second operators' system, in the registry and not yet on the bus.
async fn second_operator(world: &World) {
    let first = "{ name = \"van-hanh\", description = \"Vận hành\", acts_for = [\"H99.VH\"] },";
    let second = first.replace("van-hanh", "van-hanh-2");
    world.change("systems.toml", first, &format!("{first}\n{second}")).await;
}

async fn joined(world: &World, operator: &System, name: &str) -> System {
    let (token, key) = (issue(operator, token_for(name)).await, PrivateKey::generate().unwrap());
    let issued = join(world, &token, &key).await.unwrap().certificate.unwrap();
    // Who joins again has other files.
    let stem = data_encoding::HEXLOWER.encode(&key.key_sha256());
    system(world, credentials(world, &stem, &key, &issued)).await
}

#[tokio::test]
async fn who_would_put_the_issuing_ca_or_the_gateways_own_key_out_of_force_is_asked_first() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let [issuing, root] = [world.authority().intermediate(), world.authority().root()].map(|ca| key(ca));
    let own = key(world.gateway().certificate());
    for (key, detail) in [(issuing, "issuing_ca"), (root, "issuing_ca"), (own, "own_key")] {
        let refused = asked_back(&operator, of_key(key)).await;
        assert_eq!(refused.details().keys().collect::<Vec<_>>(), [detail]);
        assert!(!world.engine().connections().is_revoked(&key));
    }
    assert!(speaks(&operator).await);
    // Other keys nobody asks about, nor about these when it is meant so.
    say(&operator, revoke(of_key([7; 32]))).await.unwrap();
    say(&operator, meant(of_key(own))).await.unwrap();
    assert!(say(&operator, revoke(of_key(own))).await.unwrap().repeated, "what is done is done");
    // That cuts whoever says it as well.
    let _ = say(&operator, meant(of_key(issuing))).await;
    assert!(world.engine().connections().is_revoked(&issuing));
}

#[tokio::test]
async fn who_would_put_the_ca_behind_his_own_certificate_out_of_force_is_asked_first() {
    let mut world = World::start().await;
    let agency = world.other_authority("agency", DOMAIN);
    world.write("agency.pem", agency.root_pem());
    world.trust = "[[tls.trust]]\nname = \"agency\"\nbundle = \"agency.pem\"\nsystems = [\"*\"]".into();
    world.restart().await;
    let theirs = world.issued(&agency, "van-hanh", DAY, "theirs").await;
    let ours = world.system("van-hanh").await;
    for ca in [agency.intermediate(), agency.root()] {
        let refused = asked_back(&theirs, of_key(key(ca))).await;
        assert_eq!(refused.details().keys().collect::<Vec<_>>(), ["your_ca"]);
    }
    say(&ours, revoke(of_key(key(agency.root())))).await.unwrap();
    assert!(!speaks(&theirs).await && speaks(&ours).await);
}

#[tokio::test]
async fn the_last_system_with_a_key_that_may_keep_the_bus_in_order_is_not_put_out_by_mistake() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    issue(&operator, token_for("van-hanh")).await;
    let own = key(operator.credentials.certificate());
    for what in [of_system("van-hanh"), of_key(own)] {
        let refused = asked_back(&operator, what).await;
        assert_eq!(refused.details()["nobody_could"], "registry,operate,certify");
    }
    // Nothing has happened, and its token is still open.
    assert_eq!(asked_of(&operator, list("H99.VH")).await.tokens.len(), 1);
    // A second one counts from when it has a key, and not from when the registry names it.
    second_operator(&world).await;
    let _ = asked_back(&operator, of_system("van-hanh")).await;
    let second = joined(&world, &operator, "van-hanh-2").await;
    say(&second, revoke(of_system("van-hanh"))).await.unwrap();
    assert!(!speaks(&operator).await);
    let refused = asked_back(&second, of_system("van-hanh-2")).await;
    assert_eq!(refused.details()["nobody_could"], "registry,operate,certify");
    let _ = say(&second, meant(of_system("van-hanh-2"))).await;
    assert!(!speaks(&second).await);
}

#[tokio::test]
async fn of_two_operators_who_put_each_other_out_at_once_one_stays() {
    let world = World::start().await;
    let first = world.system("van-hanh").await;
    second_operator(&world).await;
    let second = joined(&world, &first, "van-hanh-2").await;
    let cutting = world.engine().as_if_cutting().await;
    let mut both = [(&first, "van-hanh-2"), (&second, "van-hanh")].map(|(operator, other)| {
        let mut client = certificates(operator);
        tokio::spawn(async move { client.revoke(revoke(of_system(other))).await })
    });
    // Both may, and wait for their turn.
    for call in &mut both {
        tokio::time::timeout(Duration::from_secs(1), call).await.unwrap_err();
    }
    drop(cutting);
    for call in both {
        let _ = within(call).await.unwrap();
    }
    // The second's call was cut with its connection; what it had begun has ended once the next is through.
    drop(world.engine().as_if_cutting().await);
    let out = [&first, &second]
        .map(|operator| world.engine().connections().is_revoked(&key(operator.credentials.certificate())));
    assert_eq!(out.iter().filter(|is_out| **is_out).count(), 1, "{out:?}");
}

#[tokio::test]
async fn who_would_leave_the_bus_to_a_system_that_has_no_key_is_told_so_before() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    second_operator(&world).await;
    let (acting_party, actor) = ("H99.VH".to_owned(), "van.hanh.1".to_owned());
    let apply = async |system: &System, retired: &str| {
        let (acting_party, actor) = (acting_party.clone(), actor.clone());
        let read =
            v1::ReadRegistryRequest { acting_party: acting_party.clone(), actor: actor.clone(), ..Default::default() };
        let read = within(system.registry().read(read)).await.unwrap().into_inner();
        let (mut files, base_version) = (read.files, read.version.unwrap().number);
        let systems = files.iter_mut().find(|file| file.name == "systems.toml").unwrap();
        let text = std::str::from_utf8(&systems.content).unwrap();
        let named = format!("name = \"{retired}\", description = \"Vận hành\", acts_for = [\"H99.VH\"]");
        assert!(text.contains(&named), "{text}");
        systems.content = text.replace(&named, &named.replace("H99.VH", "H99.TTO")).into();
        let plan = v1::PlanRegistryRequest {
            acting_party: acting_party.clone(),
            actor: actor.clone(),
            files: files.clone(),
            ..Default::default()
        };
        let plan = within(system.registry().plan(plan)).await.unwrap().into_inner();
        let told: Vec<_> = plan.lock_outs.into_iter().filter(|one| one.for_everybody).map(|one| one.right).collect();
        let apply = v1::ApplyRegistryRequest { acting_party, actor, files, base_version, ..Default::default() };
        (told, within(system.registry().apply(apply)).await)
    };
    // By the registry there would be one left; it has never joined.
    let (told, applied) = apply(&operator, "van-hanh").await;
    assert_eq!(told, ["registry", "operate", "certify"]);
    let refused = refusal(applied);
    assert_eq!(refused.reason(), Reason::RegistryLocksOut);
    assert_eq!(refused.details()["nobody_could"], "registry,operate,certify");
    // Having joined it is somebody, until its key is revoked.
    let second = joined(&world, &operator, "van-hanh-2").await;
    say(&operator, revoke(of_system("van-hanh-2"))).await.unwrap();
    assert_eq!(apply(&operator, "van-hanh").await.0, ["registry", "operate", "certify"]);
    assert!(!speaks(&second).await);
    let second = joined(&world, &operator, "van-hanh-2").await;
    let (told, applied) = apply(&second, "van-hanh").await;
    assert!(told.is_empty(), "{told:?}");
    applied.unwrap();
}
