//! Epochs: what restored books may give out.

use std::sync::Arc;

use jiff::civil::Date;
use lgsp_domain::numbering::{LAST_NUMBER, NumberSource, NumberZone};

use super::reading::admit;
use super::sample::{AUTHORITY, DAY, DESK, block, leased, machine, opened, party};
use crate::store::{BlockWanted, Commit, CommitError, EpochStarted, NumberError, Store};

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

pub(super) async fn an_authority_goes_on_numbering_itself_in_a_new_epoch(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("own_epochs").await;
    let authority = party(AUTHORITY);
    admit(&*store, opened(7)).await;
    store.commit(Commit::Epoch(started(2, DAY, DAY, 10_001))).await.unwrap();
    store.close().await;

    let store = open("own_epochs").await;
    // Its range may begin below what the gateway's counter has to leave out: the counter was never in it.
    store.leave_number(&authority, DAY, 6_001).await.unwrap();
    let mut own = opened(6_001);
    own.opening.as_mut().unwrap().number_source = NumberSource::Own;
    admit(&*store, own).await;
    let given = store.leave_number(&authority, DAY, 7).await;
    assert!(matches!(given, Err(NumberError::Given(_))), "{given:?}");
    store.close().await;

    let store = open("own_epochs").await;
    store.leave_number(&authority, DAY, 6_000).await.unwrap();
    let next = store.take_number(&authority, DAY, LAST_NUMBER).await;
    assert!(matches!(next, Err(NumberError::Exhausted(_))), "nothing is left below the range: {next:?}");
    store.close().await;
}

pub(super) async fn an_epoch_is_later_than_the_one_before_it(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("epochs_in_order").await;
    // Most come by the clock, so their numbers have gaps.
    for (right, from) in [(2, 20_001), (1_784_707_200, 30_001)] {
        let wrong = [0, store.epoch().await.unwrap()];
        for wrong in wrong {
            let refused = store.commit(Commit::Epoch(started(wrong, DAY, DAY, 40_001))).await;
            assert!(matches!(refused, Err(CommitError::Conflict)), "epoch {wrong}: {refused:?}");
        }
        store.commit(Commit::Epoch(started(right, DAY, DAY, from))).await.unwrap();
    }
    assert_eq!(store.epoch().await.unwrap(), 1_784_707_200);
    assert_eq!(store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap(), 30_001, "the later zone counts");
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
