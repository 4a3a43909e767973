//! Numbers: each is given once, whoever asks and however often the store is opened.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use lgsp_domain::numbering::{LAST_NUMBER, NumberSource, SpoolId};

use super::reading::admit;
use super::sample::{AUTHORITY, DAY, DESK, RETURN_DESK, block, leased, machine, opened, party};
use crate::store::{BlockWanted, NumberError, Store};

pub(super) async fn no_number_is_taken_twice(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    const TAKERS: usize = 8;
    const EACH: usize = 40;
    let store = open("numbers").await;
    let takers: Vec<_> = (0..TAKERS)
        .map(|taker| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for round in 0..EACH {
                    if taker % 4 == 0 && round % 10 == 0 {
                        // Some desks have two spools at work.
                        let desk = if taker == 0 { DESK } else { RETURN_DESK };
                        let spool = SpoolId::new([(round % 20) as u8; 16]);
                        let wanted = BlockWanted { spool, ..block(desk, 5) };
                        taken.extend(store.lease_numbers(&wanted, machine(0)).await.unwrap());
                    } else {
                        taken.push(store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap());
                    }
                }
                taken
            })
        })
        .collect();
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.unwrap());
    }
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "a number was given twice");
    // Another day and another authority begin anew.
    let tomorrow = DAY.tomorrow().unwrap();
    assert_eq!(store.take_number(&party(AUTHORITY), tomorrow, LAST_NUMBER).await.unwrap(), 1);
    assert_eq!(store.take_number(&party("H57.21"), DAY, LAST_NUMBER).await.unwrap(), 1);
    store.close().await;
}

pub(super) async fn a_lease_is_its_desks_alone_and_survives(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("leases").await;
    let authority = party(AUTHORITY);
    assert_eq!(store.lease_numbers(&block(DESK, 10), machine(0)).await.unwrap(), 1..11);
    store.close().await;

    let store = open("leases").await;
    assert!(leased(&*store, DESK, 1, 1).await && leased(&*store, DESK, 1, 10).await);
    assert!(!leased(&*store, DESK, 1, 11).await);
    assert!(!leased(&*store, RETURN_DESK, 1, 1).await);
    assert!(!store.is_leased(&authority, DAY.tomorrow().unwrap(), &party(DESK), 1, 1).await.unwrap());
    assert_eq!(store.take_number(&authority, DAY, LAST_NUMBER).await.unwrap(), 11);
    assert_eq!(store.lease_numbers(&block(DESK, 2), machine(0)).await.unwrap(), 12..14);
    store.close().await;
}

pub(super) async fn a_block_is_good_in_its_epoch_only_and_says_whose_spool_it_is(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("epochs").await;
    let other = SpoolId::new([9; 16]);
    store.lease_numbers(&block(DESK, 3), machine(0)).await.unwrap();
    store.lease_numbers(&BlockWanted { spool: other, ..block(DESK, 2) }, machine(0)).await.unwrap();
    store.lease_numbers(&BlockWanted { epoch: 2, ..block(DESK, 4) }, machine(0)).await.unwrap();
    store.close().await;

    let store = open("epochs").await;
    let of_epoch = async |epoch| {
        let blocks = store.blocks(&party(AUTHORITY), DAY, &party(DESK), epoch).await.unwrap();
        blocks.into_iter().map(|block| (block.spool.unwrap(), block.numbers)).collect::<Vec<_>>()
    };
    let spool = block(DESK, 1).spool;
    assert_eq!(of_epoch(1).await, [(spool, 1..4), (other, 4..6)]);
    assert_eq!(of_epoch(2).await, [(spool, 6..10)]);
    assert!(leased(&*store, DESK, 2, 6).await && !leased(&*store, DESK, 1, 6).await);
    assert!(!leased(&*store, DESK, 2, 1).await, "a block of an earlier epoch is void");
    // Void or not, its numbers are never given again.
    assert_eq!(store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap(), 10);
    store.close().await;
}

pub(super) async fn a_block_counts_what_came_in_and_goes_when_all_has(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("used_blocks").await;
    store.lease_numbers(&block(DESK, 3), machine(0)).await.unwrap();
    let unused = async || {
        let blocks = store.blocks(&party(AUTHORITY), DAY, &party(DESK), 1).await.unwrap();
        blocks.iter().map(|block| block.unused()).collect::<Vec<_>>()
    };
    for (number, left) in [(2, vec![2]), (1, vec![1]), (3, vec![])] {
        let mut event = opened(number);
        event.opening.as_mut().unwrap().number_source = NumberSource::Leased;
        admit(&*store, event).await;
        assert_eq!(unused().await, left, "after number {number}");
    }
    assert_eq!(store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap(), 4);
    store.close().await;
}

pub(super) async fn a_number_that_was_recorded_is_not_taken_again(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("recorded_numbers").await;
    admit(&*store, opened(41)).await;
    // From before it was kept who chose a number: it counts as taken.
    let mut old = opened(43);
    old.opening.as_mut().unwrap().number_source = NumberSource::Unrecorded;
    admit(&*store, old).await;
    store.close().await;
    let store = open("recorded_numbers").await;
    assert_eq!(store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap(), 44);
    store.close().await;
}

pub(super) async fn a_number_of_the_authoritys_own_raises_no_counter_and_is_never_given(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("own_numbers").await;
    let authority = party(AUTHORITY);
    let take = async |store: &dyn Store, last| store.take_number(&authority, DAY, last).await;
    assert_eq!(take(&*store, 6).await.unwrap(), 1);
    let given = store.leave_number(&authority, DAY, 1).await;
    assert!(matches!(given, Err(NumberError::Given(_))), "{given:?}");
    store.leave_number(&authority, DAY, 7).await.unwrap();
    let mut own = opened(7);
    own.opening.as_mut().unwrap().number_source = NumberSource::Own;
    admit(&*store, own).await;
    store.close().await;

    let store = open("own_numbers").await;
    // Even if the registry has taken the range back by now.
    let lease = async |store: &dyn Store, count| -> Result<Range<u32>, NumberError> {
        store.lease_numbers(&block(DESK, count), machine(0)).await
    };
    assert_eq!(take(&*store, LAST_NUMBER).await.unwrap(), 1, "number 1 was never recorded");
    assert_eq!(lease(&*store, 9).await.unwrap(), 2..7);
    assert!(matches!(take(&*store, LAST_NUMBER).await, Err(NumberError::Exhausted(_))));
    assert!(matches!(lease(&*store, 1).await, Err(NumberError::Exhausted(_))));
    store.close().await;
}

pub(super) async fn the_day_ends_at_its_last_number(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("last_number").await;
    admit(&*store, opened(99_996)).await;
    assert_eq!(store.lease_numbers(&block(DESK, 2), machine(0)).await.unwrap(), 99_997..99_999);
    assert_eq!(store.lease_numbers(&block(DESK, 2), machine(0)).await.unwrap(), 99_999..100_000, "what was left");
    let next = store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await;
    assert!(matches!(next, Err(NumberError::Exhausted(_))), "{next:?}");
    store.close().await;
}
