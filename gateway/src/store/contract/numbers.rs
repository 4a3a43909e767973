//! Numbers: each is given once, whoever asks and however often the store is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::reading::admit;
use super::sample::{AUTHORITY, DAY, DESK, RETURN_DESK, machine, opened, party};
use crate::store::{NumberError, Store};

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
                    if taker == 0 && round % 10 == 0 {
                        let lease = store.lease_numbers(&party(AUTHORITY), DAY, &party(DESK), 5, machine(0)).await;
                        taken.extend(lease.unwrap());
                    } else {
                        taken.push(store.take_number(&party(AUTHORITY), DAY).await.unwrap());
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
    assert_eq!(store.take_number(&party(AUTHORITY), DAY.tomorrow().unwrap()).await.unwrap(), 1);
    assert_eq!(store.take_number(&party("H57.21"), DAY).await.unwrap(), 1);
    store.close().await;
}

pub(super) async fn a_lease_is_its_desks_alone_and_survives(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("leases").await;
    let (authority, desk) = (party(AUTHORITY), party(DESK));
    let lease = store.lease_numbers(&authority, DAY, &desk, 10, machine(0)).await.unwrap();
    assert_eq!(lease, 1..11);
    store.close().await;

    let store = open("leases").await;
    let leased = async |desk: &str, number| store.is_leased(&authority, DAY, &party(desk), number).await.unwrap();
    assert!(leased(DESK, 1).await && leased(DESK, 10).await);
    assert!(!leased(DESK, 11).await);
    assert!(!leased(RETURN_DESK, 1).await);
    assert!(!store.is_leased(&authority, DAY.tomorrow().unwrap(), &desk, 1).await.unwrap());
    assert_eq!(store.take_number(&authority, DAY).await.unwrap(), 11);
    assert_eq!(store.lease_numbers(&authority, DAY, &desk, 2, machine(0)).await.unwrap(), 12..14);
    store.close().await;
}

pub(super) async fn a_number_that_was_recorded_is_not_taken_again(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("recorded_numbers").await;
    admit(&*store, opened(41)).await;
    store.close().await;
    let store = open("recorded_numbers").await;
    assert_eq!(store.take_number(&party(AUTHORITY), DAY).await.unwrap(), 42);
    store.close().await;
}

pub(super) async fn the_day_ends_at_its_last_number(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("last_number").await;
    admit(&*store, opened(99_998)).await;
    let lease = store.lease_numbers(&party(AUTHORITY), DAY, &party(DESK), 2, machine(0)).await;
    assert!(matches!(lease, Err(NumberError::Exhausted)), "{lease:?}");
    assert_eq!(store.take_number(&party(AUTHORITY), DAY).await.unwrap(), 99_999);
    let next = store.take_number(&party(AUTHORITY), DAY).await;
    assert!(matches!(next, Err(NumberError::Exhausted)), "{next:?}");
    store.close().await;
}
