//! Who has what was taken over, what comes back, and what waits for a person.

use std::sync::Arc;

use super::reading::{admit, admit_two};
use super::sample::{
    AUTHORITY, PORTAL, acknowledgement, at, code, handled, holder, machine, parked, party, progressed,
};
use crate::store::{
    Acknowledgement, Commit, CommitError, DeliveryStage, GivenBack, GivenBackWhy, Holder, ParkedAction, Stage, Store,
};

async fn take_over(store: &dyn Store, holder: Holder, deliveries: &[(u32, u32)]) {
    let taken = Acknowledgement { holder, ..acknowledgement(PORTAL, Stage::TakenOver, deliveries) };
    store.commit(Commit::Acknowledgement(taken)).await.unwrap();
}

async fn hand_over(store: &dyn Store, deliveries: &[(u32, u32)]) {
    let handed = acknowledgement(PORTAL, Stage::HandedOver, deliveries);
    store.commit(Commit::Acknowledgement(handed)).await.unwrap();
}

async fn give_back(store: &dyn Store, holder: Holder, deliveries: &[(u32, u32)]) {
    let deliveries = deliveries.iter().map(|(number, sequence)| (code(*number), *sequence)).collect();
    let why = GivenBackWhy::SpoolReplaced;
    let back = GivenBack { party: party(PORTAL), deliveries, holder, why, at: machine(12) };
    store.commit(Commit::GivenBack(back)).await.unwrap();
}

async fn park(store: &dyn Store, number: u32, sequence: u32) {
    store.commit(Commit::Parked(parked(PORTAL, number, sequence))).await.unwrap();
}

async fn waiting(store: &dyn Store) -> Vec<(u32, u32)> {
    let waiting = store.waiting(&party(PORTAL), None, 1_000).await.unwrap();
    waiting.iter().map(|waiting| (waiting.code.number(), waiting.sequence)).collect()
}

async fn admit_next(store: &dyn Store, number: u32, seconds: i64) {
    let dossier = store.dossier(&code(number)).await.unwrap().unwrap();
    admit(store, progressed(&dossier, at(seconds))).await;
}

/// Waiting, taken over, parked deliveries, parked dossiers.
async fn counts(store: &dyn Store) -> (u64, u64, u64, u64) {
    let backlog = store.backlog(&party(PORTAL)).await.unwrap();
    (backlog.waiting, backlog.taken_over, backlog.parked_deliveries, backlog.parked_dossiers)
}

pub(super) async fn what_was_taken_over_has_a_holder_until_it_is_handed_over(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("holder").await;
    admit_two(&*store, 1).await;
    admit_two(&*store, 2).await;
    let portal = party(PORTAL);
    assert_eq!(store.lane(&portal, &code(1)).await.unwrap().holder, None);
    let one = holder("one", b"spool of one....");
    take_over(&*store, one.clone(), &[(1, 1), (1, 2)]).await;
    assert_eq!(store.lane(&portal, &code(1)).await.unwrap().holder, Some(one.clone()));
    assert_eq!(store.lane(&portal, &code(2)).await.unwrap().holder, None);
    assert_eq!(store.lane(&party(AUTHORITY), &code(1)).await.unwrap().holder, None);
    hand_over(&*store, &[(1, 1)]).await;
    store.close().await;

    let store = open("holder").await;
    assert_eq!(store.lane(&portal, &code(1)).await.unwrap().holder, Some(one.clone()));
    let taken = store.taken_over(&portal, None, 9).await.unwrap();
    assert_eq!(taken.iter().map(|taken| (taken.sequence, &taken.holder)).collect::<Vec<_>>(), [(2, &one)]);
    assert_eq!(store.taken_over_of(&portal, &code(1), 1).await.unwrap(), [2]);
    hand_over(&*store, &[(1, 2)]).await;
    assert_eq!(store.lane(&portal, &code(1)).await.unwrap().holder, None);
    store.close().await;
}

pub(super) async fn what_is_given_back_waits_at_its_old_place(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("given_back").await;
    for number in 1..=3 {
        admit_two(&*store, number).await;
    }
    let (one, two) = (holder("one", b"spool of one...."), holder("two", b"spool of two...."));
    take_over(&*store, one.clone(), &[(1, 1), (1, 2), (3, 1)]).await;
    take_over(&*store, two.clone(), &[(2, 1)]).await;
    hand_over(&*store, &[(3, 1)]).await;
    // Neither what another one has nor what the agency has comes back.
    give_back(&*store, one.clone(), &[(1, 1), (1, 2), (2, 1), (3, 1), (3, 2), (9, 1)]).await;
    give_back(&*store, one, &[(1, 1)]).await;
    assert_eq!(waiting(&*store).await, [(1, 1), (1, 2), (2, 2), (3, 2)]);
    assert_eq!(counts(&*store).await, (4, 1, 0, 0));
    assert_eq!(store.lane(&party(PORTAL), &code(1)).await.unwrap().holder, None);
    store.close().await;
}

pub(super) async fn a_parked_dossier_waits_for_a_person_and_no_other_does(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("parked").await;
    admit_two(&*store, 1).await;
    admit_two(&*store, 2).await;
    hand_over(&*store, &[(1, 1)]).await;
    park(&*store, 1, 2).await;
    admit_next(&*store, 1, 2_000).await;
    // Parked already, from before; and what is not owed is never parked.
    park(&*store, 1, 3).await;
    park(&*store, 2, 9).await;
    for reopened in [false, true] {
        let store = if reopened { open("parked").await } else { Arc::clone(&store) };
        assert_eq!(waiting(&*store).await, [(2, 1), (2, 2)]);
        assert_eq!(counts(&*store).await, (2, 0, 2, 1));
        assert_eq!(store.lane(&party(PORTAL), &code(1)).await.unwrap().parked, Some(2));
        let stage = store.delivery_stage(&party(PORTAL), &code(1), 3).await.unwrap();
        assert_eq!(stage, Some(DeliveryStage::Parked));
        let standing = store.parked_dossier(&party(PORTAL), &code(1)).await.unwrap().unwrap();
        assert_eq!((&standing.parked, standing.waiting), (&parked(PORTAL, 1, 2), 2));
        assert_eq!(store.parked(None, None, 9).await.unwrap(), std::slice::from_ref(&standing));
        assert_eq!(store.parked(Some(&[party(AUTHORITY)]), None, 9).await.unwrap(), []);
        assert_eq!(store.parked(Some(&[party(PORTAL)]), Some(standing.position), 9).await.unwrap(), []);
        store.close().await;
    }
}

pub(super) async fn a_retried_dossier_waits_again_and_a_skipped_delivery_never(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("handled").await;
    for number in [1, 2] {
        admit_two(&*store, number).await;
        park(&*store, number, 1).await;
    }
    let portal = party(PORTAL);
    assert_eq!((waiting(&*store).await, counts(&*store).await), (vec![], (0, 0, 4, 2)));
    let retry = handled(PORTAL, 1, 1, ParkedAction::Retry);
    let wrong = handled(PORTAL, 1, 2, ParkedAction::Skip);
    assert!(matches!(store.commit(Commit::Handled(wrong)).await, Err(CommitError::Conflict)));
    store.commit(Commit::Handled(retry.clone())).await.unwrap();
    assert_eq!((waiting(&*store).await, counts(&*store).await), (vec![(1, 1), (1, 2)], (2, 0, 2, 1)));
    assert!(matches!(store.commit(Commit::Handled(retry.clone())).await, Err(CommitError::Conflict)), "once");
    store.commit(Commit::Handled(handled(PORTAL, 2, 1, ParkedAction::Skip))).await.unwrap();
    store.close().await;

    let store = open("handled").await;
    assert_eq!((waiting(&*store).await, counts(&*store).await), (vec![(1, 1), (1, 2), (2, 2)], (3, 0, 0, 0)));
    assert_eq!(store.delivery_stage(&portal, &code(2), 1).await.unwrap(), None);
    assert_eq!(store.parked(None, None, 9).await.unwrap(), []);
    let history = store.handled(&portal, &code(1), 9).await.unwrap();
    assert_eq!(format!("{history:?}"), format!("{:?}", [&retry]));
    assert_eq!(history[0].why, retry.why);
    assert!(!format!("{history:?}").contains(&retry.why));
    store.close().await;
}

pub(super) async fn what_a_dossier_is_parked_for_can_still_be_given_back_or_handed_over(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("parked_late").await;
    let one = holder("one", b"spool of one....");
    for number in [1, 2] {
        admit_two(&*store, number).await;
        admit_next(&*store, number, 2_000).await;
        take_over(&*store, one.clone(), &[(number, 1), (number, 2)]).await;
    }
    // Its holder gives back what it had, from the second event on: parked first, so that nothing slips through in between.
    park(&*store, 1, 2).await;
    give_back(&*store, one.clone(), &[(1, 2)]).await;
    assert_eq!(counts(&*store).await, (1, 3, 2, 1));
    // What lies before it is not concerned.
    give_back(&*store, one.clone(), &[(1, 1)]).await;
    assert_eq!(waiting(&*store).await, [(1, 1), (2, 3)]);
    // When that fails too, the dossier is parked from there.
    park(&*store, 1, 1).await;
    assert_eq!(counts(&*store).await, (1, 2, 3, 1));
    let standing = store.parked(None, None, 9).await.unwrap();
    assert_eq!((standing.len(), standing[0].parked.sequence, standing[0].waiting), (1, 1, 3));
    // The agency has what the other one was parked for after all.
    park(&*store, 2, 2).await;
    hand_over(&*store, &[(2, 2)]).await;
    assert_eq!(waiting(&*store).await, [(2, 3)]);
    assert_eq!(counts(&*store).await, (1, 1, 3, 1));
    store.close().await;
}
