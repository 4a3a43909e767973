//! Epochs: what restored books may give out.

use std::sync::Arc;

use jiff::civil::Date;
use lgsp_domain::numbering::{LAST_NUMBER, NumberZone};

use super::reading::admit;
use super::sample::{AUTHORITY, DAY, DESK, block, leased, machine, opened, party};
use crate::store::{BlockWanted, Commit, CommitError, EpochStarted, Store};

pub(super) async fn a_new_epoch_goes_on_beyond_what_may_have_been_lost_and_voids_blocks(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("epochs").await;
    let authority = party(AUTHORITY);
    let next = async |store: &dyn Store, day| store.take_number(&authority, day, LAST_NUMBER).await.unwrap();
    admit(&*store, opened(7)).await;
    let lease = store.lease_numbers(&block(DESK, 5), machine(0)).await.unwrap();
    assert!(leased(&*store, DESK, 1, lease.start).await);
    assert_eq!(store.epoch().await.unwrap(), 1);
    let later = DAY.tomorrow().unwrap();
    store.commit(Commit::Epoch(started(2, DAY, later, 10_001))).await.unwrap();
    store.close().await;

    // A restored gateway takes its first number after a start.
    let store = open("epochs").await;
    assert_eq!(store.epoch().await.unwrap(), 2);
    assert!(!leased(&*store, DESK, 2, lease.start).await, "a block of an earlier epoch");
    assert_eq!(next(&*store, DAY).await, 10_001);
    assert_eq!(next(&*store, later).await, 10_001);
    assert_eq!(next(&*store, later.tomorrow().unwrap()).await, 1);
    // What comes back with its receipt keeps its number, and changes nothing about where numbers go on.
    admit(&*store, opened(9)).await;
    let wanted = BlockWanted { epoch: 2, ..block(DESK, 3) };
    assert_eq!(store.lease_numbers(&wanted, machine(0)).await.unwrap(), 10_002..10_005);
    assert!(leased(&*store, DESK, 2, 10_003).await);
    store.close().await;

    let store = open("epochs").await;
    assert_eq!(next(&*store, DAY).await, 10_005);
    store.close().await;
}

pub(super) async fn an_epoch_follows_the_one_before_it(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("epochs_in_order").await;
    for wrong in [0, 1] {
        let refused = store.commit(Commit::Epoch(started(wrong, DAY, DAY, 10_001))).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "epoch {wrong}: {refused:?}");
    }
    // Between the second and the fourth one was lost.
    for right in [2, 4] {
        store.commit(Commit::Epoch(started(right, DAY, DAY, 10_000 * right + 1))).await.unwrap();
    }
    assert_eq!(store.epoch().await.unwrap(), 4);
    let late = store.commit(Commit::Epoch(started(3, DAY, DAY, 50_001))).await;
    assert!(matches!(late, Err(CommitError::Conflict)), "{late:?}");
    assert_eq!(store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap(), 40_001, "the later zone counts");
    store.close().await;
}

fn started(number: u32, first: Date, last: Date, from: u32) -> EpochStarted {
    EpochStarted {
        number,
        backup: [7; 16],
        backup_taken_at: machine(0),
        actor: "operator-1".parse().unwrap(),
        at: machine(1),
        lost: NumberZone { days: first..=last, from },
    }
}
