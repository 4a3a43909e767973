//! Of two commits that exclude each other one wins, and the other wrote nothing.

use std::sync::Arc;

use super::reading::admit;
use super::sample::{AUTHORITY, DESK, PORTAL, admission, at, code, opened, party, progressed};
use crate::store::{Admission, Bodies, Commit, CommitError, Store};

async fn conflicts(store: &dyn Store, admission: Admission) {
    let figures = store.figures();
    let outcome = store.commit(Commit::Admission(Box::new(admission))).await;
    assert!(matches!(outcome, Err(CommitError::Conflict)), "{outcome:?}");
    assert_eq!(store.figures().events, figures.events, "a commit that lost wrote an event");
    assert_eq!(store.figures().durable, figures.durable, "a commit that lost wrote a record");
}

pub(super) async fn an_event_that_is_not_the_next_one_conflicts(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("sequences").await;
    admit(&*store, opened(1)).await;
    let dossier = store.dossier(&code(1)).await.unwrap().unwrap();
    let mut event = progressed(&dossier, at(100));
    event.sequence = 3;
    conflicts(&*store, admission(event)).await;
    let second = progressed(&dossier, at(100));
    admit(&*store, second.clone()).await;
    let mut late = admission(second);
    late.request_key = "another-key".parse().unwrap();
    conflicts(&*store, late).await;
    assert_eq!(store.dossier(&code(1)).await.unwrap().unwrap().sequence, 2);
    // An event of a dossier that nobody opened.
    let mut foreign = progressed(&dossier, at(100));
    foreign.code = code(9);
    conflicts(&*store, admission(foreign)).await;
    store.close().await;
}

pub(super) async fn a_key_is_used_once_by_a_party(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("keys").await;
    let first = admission(opened(1));
    store.commit(Commit::Admission(Box::new(first.clone()))).await.unwrap();
    let mut second = admission(opened(2));
    second.request_key = first.request_key.clone();
    conflicts(&*store, second.clone()).await;
    assert_eq!(store.dossier(&code(2)).await.unwrap(), None);
    assert_eq!(store.by_alias("G22-2").await.unwrap(), None);
    // The same key of another party is another key.
    second.event.by = party(PORTAL);
    store.commit(Commit::Admission(Box::new(second))).await.unwrap();
    assert_eq!(store.by_key(&party(DESK), &first.request_key).await.unwrap().unwrap().code, code(1));
    assert_eq!(store.by_key(&party(PORTAL), &first.request_key).await.unwrap().unwrap().code, code(2));
    store.close().await;
}

pub(super) async fn an_alias_names_one_dossier(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("aliases").await;
    admit(&*store, opened(1)).await;
    let mut second = opened(2);
    second.opening.as_mut().unwrap().aliases = opened(1).opening.unwrap().aliases;
    conflicts(&*store, admission(second)).await;
    assert_eq!(store.by_alias("G22-1").await.unwrap(), Some(code(1)));
    store.close().await;
}

pub(super) async fn a_code_is_given_once(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("codes").await;
    admit(&*store, opened(1)).await;
    let mut again = admission(opened(1));
    again.request_key = "another-key".parse().unwrap();
    again.event.opening.as_mut().unwrap().aliases.clear();
    conflicts(&*store, again).await;
    store.close().await;
}

pub(super) async fn no_code_is_the_alias_of_another_dossier(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("codes and aliases").await;
    let aliased = |number: u32, alias: u32| {
        let mut event = opened(number);
        event.opening.as_mut().unwrap().aliases = vec![code(alias).as_str().parse().unwrap()];
        event
    };
    admit(&*store, opened(1)).await;
    conflicts(&*store, admission(aliased(2, 1))).await;
    admit(&*store, aliased(2, 3)).await;
    conflicts(&*store, admission(opened(3))).await;
    assert_eq!(store.by_alias(code(3).as_str()).await.unwrap(), Some(code(2)));
    // Begun at once, one of the two is first.
    let commit = |event| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.commit(Commit::Admission(Box::new(admission(event)))).await })
    };
    let (as_code, as_alias) = (commit(opened(5)), commit(aliased(4, 5)));
    let outcomes = [as_code.await.unwrap(), as_alias.await.unwrap()];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    store.close().await;
}

pub(super) async fn of_many_at_once_exactly_one_wins(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    const RIVALS: usize = 16;
    let store = open("rivals").await;
    admit(&*store, opened(1)).await;
    let dossier = store.dossier(&code(1)).await.unwrap().unwrap();
    let rivals: Vec<_> = (0..RIVALS)
        .map(|rival| {
            let (store, mut admission) = (Arc::clone(&store), admission(progressed(&dossier, at(100))));
            admission.request_key = format!("rival-{rival}").parse().unwrap();
            tokio::spawn(async move { store.commit(Commit::Admission(Box::new(admission))).await })
        })
        .collect();
    let mut won = 0;
    for rival in rivals {
        match rival.await.unwrap() {
            Ok(()) => won += 1,
            Err(CommitError::Conflict) => {}
            Err(other) => panic!("a rival got {other}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(store.events(&code(1), 0, 99, Bodies::Without).await.unwrap().len(), 2);
    assert_eq!(store.backlog(&party(AUTHORITY)).await.unwrap().waiting, 1);
    store.close().await;
}

/// Whoever reads what was admitted may act on it at once, be it before the one who admitted it has heard so.
pub(super) async fn what_follows_from_something_visible_is_no_conflict(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("what follows").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=200 {
        let (opening, following) = (Arc::clone(&store), Arc::clone(&store));
        tasks.spawn(async move { opening.commit(Commit::Admission(Box::new(admission(opened(number))))).await });
        tasks.spawn(async move {
            let dossier = loop {
                match following.dossier(&code(number)).await.unwrap() {
                    Some(dossier) => break dossier,
                    None => tokio::task::yield_now().await,
                }
            };
            following.commit(Commit::Admission(Box::new(admission(progressed(&dossier, at(100)))))).await
        });
    }
    while let Some(committed) = tasks.join_next().await {
        committed.unwrap().unwrap();
    }
    store.close().await;
}
