//! What runs have found, told step by step, so that it stays found when the seeds come to mean something else.

use std::time::Duration;

use bytes::Bytes;
use lgsp_certs::PrivateKey;
use lgsp_gateway::engine::Engine;
use lgsp_gateway::engine::certificates::{JoinAttempt, Joined, ToRevoke, TokenWanted};
use lgsp_gateway::engine::inbox::{Declined, DeliveryName, Opening};
use lgsp_gateway::store::{Stage, Store, TokenState};
use lgsp_journal::testing::{Disk, Fault};
use lgsp_proto::types::JoinToken;
use lgsp_proto::v1::DeclineKind;
use lgsp_proto::{Reason, Refusal};
use tokio::time::{sleep, timeout};

use crate::house::HOUSE;
use crate::node::{Door, LEASE, Running};
use crate::request::{Matter, Request};

const MORNING: i64 = 1_752_458_400;

/// A gateway that owes its first dossier to the commune Bình.
async fn with_a_delivery() -> (Running, Disk) {
    let (door, disk) = (Door::default(), Disk::new());
    door.start(&disk, MORNING).await.unwrap();
    let running = door.knock().unwrap();
    let matter = Matter::Submit {
        procedure: "1.000009".to_owned(),
        locality: "99002".to_owned(),
        return_desk: "H99.102".to_owned(),
        received_at: MORNING,
        alias: None,
        code: None,
    };
    let request = Request { party: "H99.101".to_owned(), key: "key-1".to_owned(), matter };
    let submitted = tokio::spawn({
        let engine = running.engine.clone();
        async move { request.call(&engine, HOUSE.peer("mot-cua"), None).await }
    });
    while !submitted.is_finished() {
        sleep(Duration::from_millis(1)).await;
        running.store.write_batch();
    }
    submitted.await.unwrap().unwrap();
    (running, disk)
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_taken_over_goes_to_nobody_else_before_a_restart() {
    let (running, disk) = with_a_delivery().await;

    let party = "H99.102".parse().unwrap();
    let open = async |instance: &'static str| {
        let parties = std::slice::from_ref(&party);
        let opening = Opening { parties, credit: 1, instance, spool: Bytes::from_static(instance.as_bytes()) };
        running.engine.open_inbox(&HOUSE.peer("mot-cua-binh"), opening).await.unwrap()
    };
    let (first, second) = (open("first").await, open("second").await);
    let delivery = first.next().await.unwrap();
    let code = delivery.recorded.event.dossier_code.parse().unwrap();
    let taken_over = vec![DeliveryName { party: party.clone(), code, sequence: 1 }];
    // The bytes are written, and the sync fails: they may be there after a restart.
    disk.fail_after(1, Fault::Error);
    let (acknowledged, ()) = tokio::join!(first.acknowledge(Stage::TakenOver, taken_over), async {
        sleep(Duration::from_millis(1)).await;
        running.store.write_batch();
    });
    assert_eq!(acknowledged.unwrap_err().reason(), Reason::OutcomeUnknown);
    drop(first);
    assert!(timeout(10 * LEASE, second.next()).await.is_err(), "it is perhaps with the first one");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_while_its_take_over_is_being_written_is_not_forgotten() {
    let (running, _disk) = with_a_delivery().await;
    let party: lgsp_proto::types::PartyId = "H99.102".parse().unwrap();
    let open = async || {
        let parties = std::slice::from_ref(&party);
        let opening = Opening { parties, credit: 1, instance: "main", spool: Bytes::from_static(b"spool") };
        running.engine.open_inbox(&HOUSE.peer("mot-cua-binh"), opening).await.unwrap()
    };
    let (first, second) = (open().await, open().await);
    let delivery = first.next().await.unwrap();
    let code: lgsp_proto::types::DossierCode = delivery.recorded.event.dossier_code.parse().unwrap();
    let name = DeliveryName { party: party.clone(), code: code.clone(), sequence: 1 };
    let refused = Declined { kind: DeclineKind::Permanent, reason: "AGENCY_REFUSED".to_owned() };
    let names = [name.clone()];
    let (taken_over, declined, ()) = tokio::join!(
        first.acknowledge(Stage::TakenOver, vec![name]),
        // Over the next stream, because the first one broke off.
        second.decline(&refused, &names),
        async {
            for _ in 0..9 {
                sleep(Duration::from_millis(1)).await;
                running.store.write_batch();
            }
        }
    );
    assert_eq!(taken_over.unwrap(), names);
    declined.unwrap();
    assert!(running.store.parked_dossier(&party, &code).await.unwrap().is_some(), "it is with nobody");
    assert_eq!(running.store.backlog(&party).await.unwrap().taken_over, 0);
}

/// Waits for a call, and writes what it needs written.
async fn drive<T: Send + 'static>(running: &Running, call: impl Future<Output = T> + Send + 'static) -> T {
    let call = tokio::spawn(call);
    while !call.is_finished() {
        sleep(Duration::from_millis(1)).await;
        running.store.write_batch();
    }
    call.await.unwrap()
}

async fn with_a_token() -> (Running, Disk, JoinToken) {
    let (door, disk) = (Door::default(), Disk::new());
    door.start(&disk, MORNING).await.unwrap();
    let running = door.knock().unwrap();
    let engine = running.engine.clone();
    let issued = drive(&running, async move {
        let (party, actor) = ("H99.VH".parse().unwrap(), "van-hanh-1".parse().unwrap());
        let wanted = TokenWanted {
            system: "so-nganh".parse().unwrap(),
            acts_for: Vec::new(),
            description: String::new(),
            valid: None,
        };
        engine.issue_token(&HOUSE.peer("van-hanh"), &party, &actor, wanted).await.unwrap().token
    });
    let token = issued.await;
    (running, disk, token)
}

fn joining(
    engine: &Engine,
    token: &JoinToken,
    key: &PrivateKey,
) -> impl Future<Output = Result<Joined, Refusal>> + Send + use<> {
    let attempt = JoinAttempt {
        id: *token.id(),
        secret: token.secret().to_vec().into(),
        signing_request: key.signing_request().unwrap().into(),
    };
    let engine = engine.clone();
    async move { engine.join(attempt).await }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_dies_while_somebody_joins_has_spent_the_token_on_him_or_not_at_all() {
    let (running, disk, token) = with_a_token().await;
    let [key, other] = [(); 2].map(|()| PrivateKey::generate().unwrap());
    let before = disk.operations();
    // Written, and dead before anybody was answered.
    let call = tokio::spawn(joining(&running.engine, &token, &key));
    sleep(Duration::from_millis(1)).await;
    running.store.write_batch();
    assert!(!call.is_finished(), "it was answered");
    running.store.kill();
    let (written, mut spent, mut open) = (disk.operations(), 0, 0);
    for operations in before..=written {
        let killed = disk.killed_after(operations);
        let in_the_dark = killed.power_cut_dropping_all();
        for left in [killed, in_the_dark] {
            let door = Door::default();
            door.start(&left, MORNING).await.unwrap();
            let running = door.knock().unwrap();
            let standing = running.store.token(token.id()).await.unwrap().unwrap();
            let join = async |key| {
                let joined = drive(&running, joining(&running.engine, &token, key)).await?;
                let issued = joined.chain.issued;
                Ok::<_, Refusal>((issued.digest, issued.intermediates))
            };
            // Whoever comes first with an open one has it.
            let (first, second) = if let TokenState::Spent(issued) = standing.state {
                spent += 1;
                assert_eq!(
                    join(&key).await.unwrap(),
                    (issued.digest, issued.intermediates),
                    "after {operations} writes"
                );
                (&key, &other)
            } else {
                open += 1;
                assert!(operations < written, "it was durable, and is not there");
                (&other, &key)
            };
            let joined = join(first).await.unwrap();
            assert_eq!(join(second).await.unwrap_err().reason(), Reason::TokenSpent);
            assert_eq!(join(first).await.unwrap(), joined);
        }
    }
    assert!(spent > 0 && open > 0, "{spent} spent, {open} open");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_certified_while_its_system_is_revoked_is_revoked_as_well() {
    let (running, _disk, token) = with_a_token().await;
    let [key, next] = [(); 2].map(|()| PrivateKey::generate().unwrap());
    let issued = drive(&running, joining(&running.engine, &token, &key)).await.unwrap().chain.issued;
    let chain: Vec<Bytes> = std::iter::once(issued.der).chain(issued.intermediates).collect();
    let (peer, request) = (HOUSE.joined(&chain, &key), next.signing_request().unwrap());
    let renewing = tokio::spawn({
        let engine = running.engine.clone();
        async move { engine.renew(&peer, &request).await }
    });
    // Signed, and waiting to be written, when everything of the system is put out of force.
    sleep(Duration::from_millis(1)).await;
    let engine = running.engine.clone();
    let revoked = drive(&running, async move {
        let (party, actor) = ("H99.VH".parse().unwrap(), "van-hanh-1".parse().unwrap());
        let everything = ToRevoke::System("so-nganh".to_owned());
        engine.revoke(&HOUSE.peer("van-hanh"), &party, &actor, everything, "KEY_STOLEN".to_owned(), true).await
    });
    let revoked = revoked.await.unwrap();
    let renewed = renewing.await.unwrap().unwrap();
    assert!(revoked.certificates.contains(&renewed.issued.digest), "the new one was left out");
    assert!([&key, &next].iter().all(|key| running.engine.connections().is_revoked(&key.key_sha256())));
}
