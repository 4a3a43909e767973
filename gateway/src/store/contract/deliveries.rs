//! A delivery is owed from the commit that names it until it is acknowledged.

use std::sync::Arc;
use std::time::SystemTime;

use super::reading::{admit, admit_two};
use super::sample::{AUTHORITY, DESK, PORTAL, STRANGER, acknowledgement, admission, code, machine, opened, party};
use crate::store::{Backlog, Commit, DeliveryStage, Stage, Store};

async fn acknowledge(store: &dyn Store, by: &str, stage: Stage, deliveries: &[(u32, u32)]) {
    store.commit(Commit::Acknowledgement(acknowledgement(by, stage, deliveries))).await.unwrap();
}

async fn waiting(store: &dyn Store, by: &str) -> Vec<(u32, u32)> {
    let waiting = store.waiting(&party(by), None, 1_000).await.unwrap();
    waiting.iter().map(|waiting| (waiting.code.number(), waiting.sequence)).collect()
}

async fn counts(store: &dyn Store, by: &str) -> (u64, u64) {
    let backlog = store.backlog(&party(by)).await.unwrap();
    (backlog.waiting, backlog.taken_over)
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

pub(super) async fn a_delivery_waits_until_it_is_taken_over_and_then_handed_over(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("stages").await;
    let admitted = admission(opened(1));
    store.commit(Commit::Admission(Box::new(admitted.clone()))).await.unwrap();
    let authority = party(AUTHORITY);
    let position = store.waiting(&authority, None, 9).await.unwrap()[0].position;
    let stage = async || store.delivery_stage(&authority, &code(1), 1).await.unwrap();
    assert_eq!(stage().await, Some(DeliveryStage::Waiting(position)));
    let backlog = store.backlog(&authority).await.unwrap();
    let oldest_admitted_ms = Some(unix_ms(admitted.admitted_at));
    assert_eq!(backlog, Backlog { waiting: 1, oldest_admitted_ms, ..Backlog::default() });

    acknowledge(&*store, AUTHORITY, Stage::TakenOver, &[(1, 1)]).await;
    assert_eq!(stage().await, Some(DeliveryStage::TakenOver));
    assert_eq!(waiting(&*store, AUTHORITY).await, []);
    let backlog = store.backlog(&authority).await.unwrap();
    assert_eq!(backlog, Backlog { taken_over: 1, ..Backlog::default() });
    assert_eq!((store.figures().waiting, store.figures().taken_over), (2, 1));

    acknowledge(&*store, AUTHORITY, Stage::HandedOver, &[(1, 1)]).await;
    assert_eq!(stage().await, None);
    assert_eq!(store.backlog(&authority).await.unwrap(), Backlog::default());
    assert_eq!((store.figures().waiting, store.figures().taken_over), (2, 0));

    // A system of its own may skip the first stage.
    acknowledge(&*store, PORTAL, Stage::HandedOver, &[(1, 1)]).await;
    assert_eq!(counts(&*store, PORTAL).await, (0, 0));
    assert_eq!((store.figures().waiting, store.figures().taken_over), (1, 0));
    store.close().await;

    let store = open("stages").await;
    assert_eq!(store.delivery_stage(&authority, &code(1), 1).await.unwrap(), None);
    assert_eq!((store.figures().waiting, store.figures().taken_over), (1, 0));
    store.close().await;
}

pub(super) async fn deliveries_come_in_the_order_of_admission_after_a_position(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("inbox").await;
    for number in [3, 1, 2] {
        admit_two(&*store, number).await;
    }
    assert_eq!(waiting(&*store, PORTAL).await, [(3, 1), (3, 2), (1, 1), (1, 2), (2, 1), (2, 2)]);
    let portal = party(PORTAL);
    let first = store.waiting(&portal, None, 2).await.unwrap();
    let next = store.waiting(&portal, Some(first[1].position), 3).await.unwrap();
    let named: Vec<_> = next.iter().map(|waiting| (waiting.code.number(), waiting.sequence)).collect();
    assert_eq!(named, [(1, 1), (1, 2), (2, 1)]);
    // One taken out of the middle leaves the others in place.
    acknowledge(&*store, PORTAL, Stage::TakenOver, &[(1, 1)]).await;
    assert_eq!(waiting(&*store, PORTAL).await, [(3, 1), (3, 2), (1, 2), (2, 1), (2, 2)]);
    let oldest = store.backlog(&portal).await.unwrap().oldest_admitted_ms;
    assert_eq!(oldest, Some(unix_ms(machine(3))));
    store.close().await;
}

pub(super) async fn acknowledging_what_is_not_owed_changes_nothing(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("not_owed").await;
    admit(&*store, opened(1)).await;
    // Never opened, not yet recorded, told to somebody else, recorded by itself.
    acknowledge(&*store, AUTHORITY, Stage::TakenOver, &[(7, 1), (1, 2)]).await;
    acknowledge(&*store, STRANGER, Stage::HandedOver, &[(1, 1)]).await;
    acknowledge(&*store, DESK, Stage::TakenOver, &[(1, 1)]).await;
    assert_eq!((store.figures().waiting, store.figures().taken_over), (3, 0));
    // Twice in one, and once more.
    acknowledge(&*store, AUTHORITY, Stage::TakenOver, &[(1, 1), (1, 1)]).await;
    acknowledge(&*store, AUTHORITY, Stage::TakenOver, &[(1, 1)]).await;
    assert_eq!(counts(&*store, AUTHORITY).await, (0, 1));
    acknowledge(&*store, AUTHORITY, Stage::HandedOver, &[(1, 1)]).await;
    acknowledge(&*store, AUTHORITY, Stage::HandedOver, &[(1, 1)]).await;
    acknowledge(&*store, AUTHORITY, Stage::TakenOver, &[(1, 1)]).await;
    assert_eq!(counts(&*store, AUTHORITY).await, (0, 0));
    assert_eq!((store.figures().waiting, store.figures().taken_over), (2, 0));
    store.close().await;
}

pub(super) async fn a_long_acknowledgement_counts_every_delivery_once(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    const DOSSIERS: u32 = 150;
    let store = open("long").await;
    for number in 1..=DOSSIERS {
        admit(&*store, opened(number)).await;
    }
    let taken: Vec<_> = (1..=DOSSIERS - 10).map(|number| (number, 1)).collect();
    acknowledge(&*store, AUTHORITY, Stage::TakenOver, &taken).await;
    assert_eq!(counts(&*store, AUTHORITY).await, (10, 140));
    let all: Vec<_> = (1..=DOSSIERS).map(|number| (number, 1)).collect();
    acknowledge(&*store, AUTHORITY, Stage::HandedOver, &all).await;
    assert_eq!(counts(&*store, AUTHORITY).await, (0, 0));
    assert_eq!(counts(&*store, PORTAL).await, (150, 0));
    store.close().await;

    let store = open("long").await;
    assert_eq!(counts(&*store, AUTHORITY).await, (0, 0));
    assert_eq!(waiting(&*store, AUTHORITY).await, []);
    assert_eq!(waiting(&*store, PORTAL).await, all);
    store.close().await;
}

pub(super) async fn a_party_has_nothing_to_do_with_the_inbox_of_another(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("two_inboxes").await;
    // Two identifiers of which one begins the other.
    let mut event = opened(1);
    event.recipients = ["H57.20", "H57.200", "H57.2"].map(party).to_vec();
    admit(&*store, event).await;
    acknowledge(&*store, "H57.20", Stage::TakenOver, &[(1, 1)]).await;
    assert_eq!(waiting(&*store, "H57.20").await, []);
    assert_eq!(waiting(&*store, "H57.200").await, [(1, 1)]);
    assert_eq!(waiting(&*store, "H57.2").await, [(1, 1)]);
    assert_eq!(counts(&*store, "H57.200").await, (1, 0));
    assert_eq!(waiting(&*store, DESK).await, []);
    store.close().await;
}
