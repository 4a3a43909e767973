//! What was committed is there, for good, and nothing else is.

use std::sync::Arc;

use lgsp_domain::apply::apply;

use super::sample::{self, AUTHORITY, DESK, PORTAL, STRANGER, admission, at, code, opened, party, progressed};
use crate::store::{Bodies, Commit, CommitError, InboxPosition, Store};

/// Commits an admission that must succeed.
pub(super) async fn admit(store: &dyn Store, event: lgsp_domain::event::Event) {
    store.commit(Commit::Admission(Box::new(admission(event)))).await.unwrap();
}

/// Commits the opening of a dossier and an event that follows.
pub(super) async fn admit_two(store: &dyn Store, number: u32) {
    admit(store, opened(number)).await;
    let dossier = store.dossier(&code(number)).await.unwrap().unwrap();
    admit(store, progressed(&dossier, at(1_000 + i64::from(number)))).await;
}

pub(super) async fn what_was_committed_is_read_back(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("read_back").await;
    let first = admission(opened(1));
    store.commit(Commit::Admission(Box::new(first.clone()))).await.unwrap();
    let standing = apply(None, &first.event).unwrap();
    assert_eq!(*store.dossier(&code(1)).await.unwrap().unwrap(), standing);
    let second = admission(progressed(&standing, at(500)));
    store.commit(Commit::Admission(Box::new(second.clone()))).await.unwrap();
    let standing = apply(Some(&standing), &second.event).unwrap();
    assert_eq!(*store.dossier(&code(1)).await.unwrap().unwrap(), standing);

    assert_eq!(store.by_alias("G22-1").await.unwrap(), Some(code(1)));
    let answered = store.by_key(&party(AUTHORITY), &second.request_key).await.unwrap().unwrap();
    assert_eq!((answered.code, answered.sequence), (code(1), 2));
    assert_eq!((answered.answer, answered.body_sha256), (second.answer, second.body_sha256));

    let recorded = store.event(&code(1), 2, Bodies::With).await.unwrap().unwrap();
    assert_eq!(recorded.body, Some(second.body));
    assert_eq!((recorded.signature, recorded.certificate), (second.signature, second.certificate));
    assert!(!recorded.erased);
    let event = recorded.event;
    assert_eq!((event.dossier_code.as_str(), event.sequence), (code(1).as_str(), 2));
    assert_eq!(event.kind, lgsp_proto::v1::EventKind::Progressed as i32);
    assert_eq!(event.status, lgsp_proto::v1::Status::Processing as i32);
    assert_eq!(event.hand_over, lgsp_proto::v1::HandOver::Processing as i32);
    assert_eq!(event.role, lgsp_proto::v1::Role::CompetentAuthority as i32);
    assert_eq!((event.party.as_str(), event.actor.as_str()), (AUTHORITY, "clerk.2"));
    assert_eq!(event.occurred_at.unwrap().seconds, at(500).unix_seconds());
    assert_eq!(event.admitted_at, Some(second.admitted_at.into()));
    assert_eq!(event.due_at.unwrap().seconds, at(1 + 3 * 86_400).unix_seconds());
    assert_eq!((event.system, event.request_key), (second.system, second.request_key.to_string()));
    assert_eq!(&event.body_sha256[..], second.body_sha256.as_bytes());
    assert_eq!(Some(event.traceparent), second.traceparent);

    let figures = store.figures();
    assert_eq!((figures.dossiers, figures.events, figures.waiting, figures.taken_over), (1, 2, 6, 0));
    assert!(!figures.read_only);
    store.close().await;
}

pub(super) async fn events_come_in_order_and_in_pages(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("pages_of_events").await;
    // Another dossier on either side, whose events must not be among them.
    for number in [1, 2, 3] {
        admit(&*store, opened(number)).await;
    }
    for second in 0..4 {
        let dossier = store.dossier(&code(2)).await.unwrap().unwrap();
        admit(&*store, progressed(&dossier, at(100 + second))).await;
    }
    let sequences = async |after, limit| {
        let events = store.events(&code(2), after, limit, Bodies::Without).await.unwrap();
        events.iter().map(|recorded| recorded.event.sequence).collect::<Vec<_>>()
    };
    assert_eq!(sequences(0, 100).await, [1, 2, 3, 4, 5]);
    assert_eq!(sequences(0, 2).await, [1, 2]);
    assert_eq!(sequences(2, 2).await, [3, 4]);
    assert_eq!(sequences(5, 2).await, [0; 0]);
    store.close().await;
}

pub(super) async fn a_page_of_large_bodies_holds_fewer_events_and_one_at_least(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("large_bodies").await;
    let mut event = opened(1);
    for second in 0..5 {
        let mut large = admission(event);
        large.body = vec![b'x'; 3 << 20].into();
        store.commit(Commit::Admission(Box::new(large))).await.unwrap();
        event = progressed(&store.dossier(&code(1)).await.unwrap().unwrap(), at(100 + second));
    }
    let sequences = async |after, bodies| {
        let events = store.events(&code(1), after, 100, bodies).await.unwrap();
        events.iter().map(|recorded| recorded.event.sequence).collect::<Vec<_>>()
    };
    assert_eq!(sequences(0, Bodies::Without).await, [1, 2, 3, 4, 5]);
    // 9 MiB are more than there may be, and each page goes on behind the one before.
    assert_eq!(sequences(0, Bodies::With).await, [1, 2, 3]);
    assert_eq!(sequences(3, Bodies::With).await, [4, 5]);
    store.close().await;
}

pub(super) async fn bodies_are_opened_only_when_asked_for(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("bodies").await;
    admit_two(&*store, 1).await;
    for recorded in store.events(&code(1), 0, 9, Bodies::Without).await.unwrap() {
        assert_eq!((recorded.body, recorded.erased), (None, false));
    }
    let with = store.events(&code(1), 0, 9, Bodies::With).await.unwrap();
    let bodies: Vec<_> = with.into_iter().map(|recorded| recorded.body.unwrap()).collect();
    assert_eq!(bodies, [sample::body(&code(1), 1), sample::body(&code(1), 2)]);
    store.close().await;
}

pub(super) async fn nothing_is_known_of_what_was_never_committed(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("empty").await;
    assert_eq!(store.dossier(&code(1)).await.unwrap(), None);
    assert_eq!(store.by_alias("G22-1").await.unwrap(), None);
    assert_eq!(store.by_key(&party(DESK), &"k".parse().unwrap()).await.unwrap(), None);
    assert!(store.event(&code(1), 1, Bodies::With).await.unwrap().is_none());
    assert!(store.events(&code(1), 0, 9, Bodies::With).await.unwrap().is_empty());
    assert!(store.waiting(&party(DESK), None, 9).await.unwrap().is_empty());
    assert_eq!(store.backlog(&party(DESK)).await.unwrap(), Default::default());
    assert_eq!(store.delivery_stage(&party(DESK), &code(1), 1).await.unwrap(), None);
    assert_eq!(store.document(&party(DESK), &sample::sha256(b"x")).await.unwrap(), None);
    assert_eq!(store.document_by_id(1).await.unwrap(), None);
    assert_eq!(store.registry(None).await.unwrap(), None);
    assert_eq!(store.registry(Some(1)).await.unwrap(), None);
    assert!(!store.knows_certificate(&sample::sha256(b"x")).await.unwrap());
    assert_eq!(store.certificate(&sample::sha256(b"x")).await.unwrap(), None);
    assert!(!sample::leased(&*store, DESK, 1, 1).await);
    // What one dossier has, another does not.
    admit(&*store, opened(1)).await;
    assert_eq!(store.dossier(&code(2)).await.unwrap(), None);
    assert!(store.event(&code(1), 2, Bodies::With).await.unwrap().is_none());
    assert_eq!(store.by_key(&party(STRANGER), &sample::key(&code(1), 1).parse().unwrap()).await.unwrap(), None);
    store.close().await;
}

pub(super) async fn closing_and_opening_changes_nothing(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("reopened").await;
    for number in 1..=5 {
        admit_two(&*store, number).await;
    }
    let before = store.dossier(&code(3)).await.unwrap();
    let waiting = store.waiting(&party(PORTAL), Some(InboxPosition(0)), 100).await.unwrap();
    let figures = store.figures();
    store.close().await;

    let store = open("reopened").await;
    assert_eq!(store.dossier(&code(3)).await.unwrap(), before);
    assert_eq!(store.waiting(&party(PORTAL), Some(InboxPosition(0)), 100).await.unwrap(), waiting);
    let recorded = store.event(&code(3), 2, Bodies::With).await.unwrap().unwrap();
    assert_eq!(recorded.body, Some(sample::body(&code(3), 2)));
    let again = store.figures();
    assert_eq!(
        (again.dossiers, again.events, again.waiting, again.taken_over),
        (figures.dossiers, figures.events, figures.waiting, figures.taken_over)
    );
    // And it goes on where it was.
    admit(&*store, progressed(&before.unwrap(), at(9_000))).await;
    assert!(matches!(
        store.commit(Commit::Admission(Box::new(admission(opened(3))))).await,
        Err(CommitError::Conflict)
    ));
    store.close().await;
}

pub(super) async fn a_closed_store_refuses(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("closed").await;
    admit(&*store, opened(1)).await;
    store.close().await;
    let commit = store.commit(Commit::Admission(Box::new(admission(opened(2))))).await;
    assert!(matches!(commit, Err(CommitError::ReadOnly)), "{commit:?}");
    assert!(store.dossier(&code(1)).await.is_err());
    assert!(store.take_number(&party(AUTHORITY), sample::DAY, 9).await.is_err());
    assert!(store.figures().read_only);
    // A second time is once too often, and harmless.
    store.close().await;
}
