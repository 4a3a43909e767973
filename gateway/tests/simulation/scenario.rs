//! What runs have found, told step by step, so that it stays found when the seeds come to mean something else.

use std::time::Duration;

use bytes::Bytes;
use lgsp_gateway::engine::inbox::{Declined, DeliveryName, Opening};
use lgsp_gateway::store::{Stage, Store};
use lgsp_journal::testing::{Disk, Fault};
use lgsp_proto::Reason;
use lgsp_proto::v1::DeclineKind;
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
