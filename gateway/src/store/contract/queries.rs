//! Queries: found again, listed, and erased with the dossier they were made for, also when it came later.

use std::sync::Arc;

use super::reading::admit;
use super::sample::{
    AUTHORITY, DESK, PORTAL, STRANGER, admission, asked, at, code, machine, opened, party, progressed,
};
use crate::store::{
    Admission, Commit, CommitError, CountBy, CountName, Counts, CountsOf, CountsWanted, Erasure, MatterLapsed,
    QueriesOf, QueryEnded, QueryId, Store, day_of, intake_digest,
};

const ID: QueryId = [1; 16];

async fn ask(store: &dyn Store, ended: QueryEnded) {
    store.commit(Commit::Query(Box::new(ended))).await.unwrap();
}

/// The opening of the dossier `number`, and a query that its desk made for it before, under the key it comes in with.
fn before(number: u32, id: u8) -> (Admission, QueryEnded) {
    let admission = admission(opened(number));
    let mut ended = asked([id; 16], None);
    ended.envelope.intake = Some(intake_digest(&admission.request_key));
    ended.intake_key = Some(admission.request_key.clone());
    (admission, ended)
}

async fn listed(store: &dyn Store, of: QueriesOf) -> Vec<u8> {
    let page = store.queries(&of, None, 100).await.unwrap();
    assert_eq!(page.next, None);
    assert!(page.queries.iter().all(|query| query.content.is_none()));
    page.queries.iter().map(|query| query.envelope.id[0]).collect()
}

fn erasure() -> Erasure {
    Erasure {
        code: code(1),
        key_ids: Vec::new(),
        party: party(PORTAL),
        actor: "operator.2".parse().unwrap(),
        system: "van-hanh".to_owned(),
        ground: "QD-7/2026".to_owned(),
        at: machine(30),
    }
}

pub(super) async fn a_query_is_found_again_and_listed_by_whom_and_for_what_it_was_made(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("queries").await;
    admit(&*store, opened(1)).await;
    ask(&*store, asked(ID, Some(code(1)))).await;
    let mut refused = asked([2; 16], Some(code(1)));
    refused.envelope.refused = Some("SUBJECT_NOT_FOUND".to_owned());
    (refused.envelope.proof, refused.envelope.reply_sha256) = (None, None);
    refused.reply = bytes::Bytes::new();
    ask(&*store, refused.clone()).await;
    let mut foreign = asked([3; 16], None);
    foreign.envelope.party = party(STRANGER);
    ask(&*store, foreign).await;
    let again = store.commit(Commit::Query(Box::new(asked(ID, Some(code(1)))))).await;
    assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");

    let store = {
        store.close().await;
        open("queries").await
    };
    let found = store.query(&ID).await.unwrap().unwrap();
    let expected = asked(ID, Some(code(1)));
    assert_eq!(found.content, Some((expected.payload, expected.reply)));
    assert_ne!(found.envelope.key_id, 0);
    let mut envelope = found.envelope;
    envelope.key_id = 0;
    assert_eq!(envelope, expected.envelope);
    let found = store.query(&[2; 16]).await.unwrap().unwrap();
    assert_eq!(found.envelope.refused.as_deref(), Some("SUBJECT_NOT_FOUND"));
    assert_eq!(found.content, Some((refused.payload, refused.reply)));
    // What belongs to no dossier is not kept.
    let found = store.query(&[3; 16]).await.unwrap().unwrap();
    assert_eq!((found.content, found.erased, found.envelope.key_id), (None, false, 0));
    assert!(store.query(&[9; 16]).await.unwrap().is_none());

    assert_eq!(listed(&*store, QueriesOf::All).await, [3, 2, 1]);
    assert_eq!(listed(&*store, QueriesOf::Party(party(DESK))).await, [2, 1]);
    assert!(listed(&*store, QueriesOf::Party(party(AUTHORITY))).await.is_empty());
    assert_eq!(listed(&*store, QueriesOf::Dossier(code(1))).await, [2, 1]);
    let first = store.queries(&QueriesOf::All, None, 2).await.unwrap();
    assert_eq!(first.queries.len(), 2);
    let second = store.queries(&QueriesOf::All, first.next, 2).await.unwrap();
    assert_eq!((second.queries[0].envelope.id[0], second.queries.len(), second.next), (1, 1, None));
    let (one, same, other) = (store.subject_hash(b"1"), store.subject_hash(b"1"), store.subject_hash(b"2"));
    assert!(one.as_ref().unwrap() == same.as_ref().unwrap() && one.unwrap() != other.unwrap());
}

pub(super) async fn what_is_asked_before_a_dossier_is_sealed_with_the_key_that_it_will_have(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("queries_before").await;
    let (admission, early) = before(1, 1);
    ask(&*store, early.clone()).await;
    ask(&*store, QueryEnded { envelope: before(1, 2).1.envelope, ..early.clone() }).await;
    // Another party's key of the same text is another matter.
    let mut foreign = before(1, 3).1;
    foreign.envelope.party = party(STRANGER);
    ask(&*store, foreign).await;
    assert_eq!(store.query(&ID).await.unwrap().unwrap().envelope.dossier, None);
    store.commit(Commit::Admission(Box::new(admission))).await.unwrap();
    ask(&*store, asked([4; 16], Some(code(1)))).await;
    // Said with the intake key although the dossier is there.
    ask(&*store, before(1, 5).1).await;
    assert_eq!(store.query(&ID).await.unwrap().unwrap().envelope.dossier, Some(code(1)));
    assert_eq!(listed(&*store, QueriesOf::Dossier(code(1))).await, [5, 4, 2, 1]);

    let since = async |sequence, limit| {
        let found = store.look_ups(&code(1), sequence, limit).await.unwrap();
        assert!(found.iter().all(|query| query.content.is_none()));
        found.iter().map(|query| query.envelope.id[0]).collect::<Vec<_>>()
    };
    assert_eq!(since(1, 9).await, [2, 1]);
    assert_eq!(since(1, 1).await, [2]);
    assert!(since(2, 9).await.is_empty());
    let standing = store.dossier(&code(1)).await.unwrap().unwrap();
    let next = super::sample::admission(progressed(&standing, at(60)));
    store.commit(Commit::Admission(Box::new(next))).await.unwrap();
    assert_eq!((since(1, 9).await, since(2, 9).await), (vec![2, 1], vec![5, 4]));

    store.erase(erasure()).await.unwrap();
    for id in [1, 2, 4, 5] {
        let found = store.query(&[id; 16]).await.unwrap().unwrap();
        assert!(found.erased && found.content.is_none(), "query {id}");
    }
    assert!(store.query(&[3; 16]).await.unwrap().unwrap().content.is_some());
    // What is asked of a dossier in that very moment is on record, and nothing of its content is.
    ask(&*store, asked([6; 16], Some(code(1)))).await;
    assert_eq!(store.query(&[6; 16]).await.unwrap().unwrap().envelope.key_id, 0);
}

pub(super) async fn of_a_dossier_and_a_query_for_it_at_once_both_have_one_key(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("queries_at_once").await;
    for number in 1..=20 {
        let (admission, early) = before(number, u8::try_from(number).unwrap());
        let (query, dossier) = tokio::join!(
            store.commit(Commit::Query(Box::new(early))),
            store.commit(Commit::Admission(Box::new(admission)))
        );
        query.and(dossier).unwrap();
        assert_eq!(listed(&*store, QueriesOf::Dossier(code(number))).await.len(), 1);
    }
}

pub(super) async fn what_no_dossier_came_for_lapses_and_what_one_came_for_does_not(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("queries_lapsed").await;
    let (admission, early) = before(1, 1);
    ask(&*store, early).await;
    ask(&*store, before(2, 2).1).await;
    let matters = store.open_matters(machine(1_000), 10).await.unwrap();
    assert_eq!(matters.len(), 2);
    assert!(store.open_matters(matters[0].since, 10).await.unwrap().is_empty());
    store.commit(Commit::Admission(Box::new(admission))).await.unwrap();
    let mut lapsed = 0;
    for matter in matters {
        let end = MatterLapsed { party: matter.party, intake: matter.intake, key_id: matter.key_id, at: machine(9) };
        lapsed += u32::from(store.lapse(end.clone()).await.unwrap());
        assert!(!store.lapse(end).await.unwrap());
    }
    assert_eq!(lapsed, 1);
    let store = {
        store.close().await;
        open("queries_lapsed").await
    };
    assert!(store.open_matters(machine(1_000), 10).await.unwrap().is_empty());
    assert!(store.query(&ID).await.unwrap().unwrap().content.is_some());
    assert!(store.query(&[2; 16]).await.unwrap().unwrap().erased);
    // Asked again, and handed in after all: it has another key.
    ask(&*store, before(2, 3).1).await;
    store.commit(Commit::Admission(Box::new(before(2, 0).0))).await.unwrap();
    assert_eq!(listed(&*store, QueriesOf::Dossier(code(2))).await, [3]);
}

pub(super) async fn questions_and_dossiers_are_added_up_by_whom_for_what_and_when(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    const DAY_S: u64 = 24 * 3600;
    let store = open("queries_counted").await;
    let ended = async |id: u8, refused: Option<&str>, change: &dyn Fn(&mut QueryEnded)| {
        let mut ended = asked([id; 16], None);
        if refused.is_some() {
            (ended.envelope.proof, ended.envelope.reply_sha256) = (None, None);
            ended.envelope.refused = refused.map(str::to_owned);
        }
        change(&mut ended);
        ask(&*store, ended).await;
    };
    ended(1, None, &|_| ()).await;
    ended(2, Some("SUBJECT_NOT_FOUND"), &|_| ()).await;
    ended(3, Some("SERVICE_MAINTENANCE"), &|_| ()).await;
    ended(4, Some("QUERY_OUTCOME_UNKNOWN"), &|_| ()).await;
    ended(5, None, &|ended| ended.envelope.actor = "clerk.2".parse().unwrap()).await;
    ended(6, None, &|ended| ended.envelope.party = party(STRANGER)).await;
    ended(7, None, &|ended| ended.envelope.service = "thua-dat".to_owned()).await;
    ended(8, None, &|ended| ended.envelope.procedure = None).await;
    ended(9, None, &|ended| ended.envelope.asked_at = machine(9 + DAY_S)).await;
    admit(&*store, opened(1)).await;
    admit(&*store, opened(2)).await;
    let taken_in = day_of(admission(opened(1)).admitted_at);
    assert_eq!(taken_in, day_of(machine(1)), "all but one of it is on one day");

    let store = {
        store.close().await;
        open("queries_counted").await
    };
    let sum = async |of: CountsOf, by: CountBy| {
        let wanted = CountsWanted { of, by, days: (taken_in, taken_in + 1) };
        store.counts(&wanted).await.unwrap().lines
    };
    let lines = async |of: CountsOf, by: CountBy| {
        let told = |(name, counts): (CountName, Counts)| {
            let CountName { day, party, clerk, service, procedure } = name;
            let day = day.map(|day| (day - taken_in).to_string());
            let name: Vec<_> = [day, party, clerk, service, procedure].into_iter().flatten().collect();
            let Counts { answered, refused, failed, unknown, dossiers } = counts;
            (name.join(" "), [answered, refused, failed, unknown, dossiers])
        };
        sum(of, by).await.into_iter().map(told).collect::<Vec<_>>()
    };
    let named = |name: &str, counts| (name.to_owned(), counts);
    assert_eq!(
        lines(CountsOf::All, CountBy::Party).await,
        [named(DESK, [5, 1, 1, 1, 2]), named(STRANGER, [1, 0, 0, 0, 0])]
    );
    let desk = || CountsOf::Party(party(DESK));
    assert_eq!(
        lines(desk(), CountBy::Clerk).await,
        [named(&format!("{DESK} clerk.1"), [4, 1, 1, 1, 2]), named(&format!("{DESK} clerk.2"), [1, 0, 0, 0, 0])]
    );
    assert_eq!(
        lines(desk(), CountBy::Procedure).await,
        [named("", [1, 0, 0, 0, 0]), named("1.001193", [4, 1, 1, 1, 2])]
    );
    assert_eq!(
        lines(desk(), CountBy::Service).await,
        [named("dan-cu", [4, 1, 1, 1, 0]), named("thua-dat", [1, 0, 0, 0, 0])]
    );
    assert_eq!(lines(desk(), CountBy::Day).await, [named("0", [4, 1, 1, 1, 2]), named("1", [1, 0, 0, 0, 0])]);
    // Whoever asked it, and no dossiers.
    let owned = || CountsOf::Services(["dan-cu".to_owned()].into());
    assert_eq!(lines(owned(), CountBy::Party).await, [named(DESK, [4, 1, 1, 1, 0]), named(STRANGER, [1, 0, 0, 0, 0])]);
    let none = CountsWanted { of: CountsOf::All, by: CountBy::Day, days: (taken_in + 2, taken_in + 9) };
    assert!(store.counts(&none).await.unwrap().lines.is_empty());
}
