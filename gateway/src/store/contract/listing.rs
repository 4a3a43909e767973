//! A party's list: what concerns it, newest change first, page by page.

use std::sync::Arc;

use lgsp_proto::types::Status;

use super::reading::admit;
use super::sample::{AUTHORITY, DESK, PORTAL, RETURN_DESK, STRANGER, at, code, opened, party, progressed};
use crate::store::{ListQuery, Page, Store};

fn all_of(id: &str) -> ListQuery {
    ListQuery {
        party: Some(party(id)),
        statuses: Vec::new(),
        procedure: None,
        competent_authority: None,
        intake_desk: None,
        received_from: None,
        received_to: None,
        only_non_territorial: false,
        only_late_at: None,
        limit: 100,
        cursor: None,
    }
}

fn numbers(page: &Page) -> Vec<u32> {
    page.dossiers.iter().map(|dossier| dossier.code.number()).collect()
}

pub(super) async fn a_party_lists_what_concerns_it_newest_change_first(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("list").await;
    for number in 1..=4 {
        admit(&*store, opened(number)).await;
    }
    let dossier = store.dossier(&code(2)).await.unwrap().unwrap();
    admit(&*store, progressed(&dossier, at(900))).await;
    for id in [DESK, AUTHORITY, RETURN_DESK, PORTAL] {
        let page = store.list(&all_of(id)).await.unwrap();
        assert_eq!(numbers(&page), [2, 4, 3, 1], "{id}");
        assert_eq!(page.next, None);
    }
    assert_eq!(numbers(&store.list(&all_of(STRANGER)).await.unwrap()), [0; 0]);
    let everything = ListQuery { party: None, ..all_of(DESK) };
    assert_eq!(numbers(&store.list(&everything).await.unwrap()), [2, 4, 3, 1]);
    // Who is told of it later has it in the list from then on.
    let dossier = store.dossier(&code(1)).await.unwrap().unwrap();
    let mut told = progressed(&dossier, at(950));
    told.recipients.push(party(STRANGER));
    admit(&*store, told).await;
    assert_eq!(numbers(&store.list(&all_of(STRANGER)).await.unwrap()), [1]);
    store.close().await;
}

pub(super) async fn pages_neither_lose_nor_repeat(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    const DOSSIERS: u32 = 23;
    let store = open("pages").await;
    for number in 1..=DOSSIERS {
        let mut event = opened(number);
        // Three at a time change at the same moment.
        event.occurred_at = at(i64::from(number / 3));
        admit(&*store, event).await;
    }
    for limit in [1, 4, 23, 100] {
        let mut query = ListQuery { limit, ..all_of(DESK) };
        let mut seen = Vec::new();
        loop {
            let page = store.list(&query).await.unwrap();
            assert!(page.dossiers.len() <= limit);
            seen.extend(page.dossiers.iter().map(|dossier| (dossier.updated_at, dossier.code.clone())));
            let Some(next) = page.next else { break };
            query.cursor = Some(next);
        }
        assert_eq!(seen.len(), DOSSIERS as usize, "in pages of {limit}");
        assert!(seen.is_sorted_by(|a, b| a.0 > b.0 || (a.0 == b.0 && a.1 < b.1)), "in pages of {limit}");
    }
    store.close().await;
}

pub(super) async fn every_filter_filters(open: &impl AsyncFn(&str) -> Arc<dyn Store>) {
    let store = open("filters").await;
    let mut other = opened(1);
    let opening = other.opening.as_mut().unwrap();
    opening.non_territorial = false;
    opening.procedure = "2.000635".parse().unwrap();
    opening.places.competent_authority = party("H57.30");
    opening.places.intake_desk = party("H57.103");
    other.by = party("H57.103");
    admit(&*store, other).await;
    admit(&*store, opened(2)).await;
    let dossier = store.dossier(&code(2)).await.unwrap().unwrap();
    admit(&*store, progressed(&dossier, at(900))).await;
    // Over before it was late; the third is open, and received three days after the others.
    let mut over = opened(3);
    over.status = Status::Withdrawn;
    admit(&*store, over).await;
    let mut later = opened(4);
    later.opening.as_mut().unwrap().received_at = at(3 * 86_400);
    later.outcome.clock = super::sample::clock(3 * 86_400);
    admit(&*store, later).await;

    let found = async |query: ListQuery| {
        let mut numbers = numbers(&store.list(&query).await.unwrap());
        numbers.sort_unstable();
        numbers
    };
    let all = || all_of(PORTAL);
    assert_eq!(found(all()).await, [1, 2, 3, 4]);
    let statuses = vec![Status::Processing, Status::Withdrawn];
    assert_eq!(found(ListQuery { statuses, ..all() }).await, [2, 3]);
    assert_eq!(found(ListQuery { procedure: Some("2.000635".parse().unwrap()), ..all() }).await, [1]);
    assert_eq!(found(ListQuery { competent_authority: Some(party("H57.30")), ..all() }).await, [1]);
    assert_eq!(found(ListQuery { intake_desk: Some(party(DESK)), ..all() }).await, [2, 3, 4]);
    assert_eq!(found(ListQuery { only_non_territorial: true, ..all() }).await, [2, 3, 4]);
    assert_eq!(found(ListQuery { received_from: Some(at(2)), received_to: Some(at(4)), ..all() }).await, [2, 3]);
    assert_eq!(found(ListQuery { only_late_at: Some(at(4 * 86_400)), ..all() }).await, [1, 2]);
    assert_eq!(found(ListQuery { only_late_at: Some(at(86_400)), ..all() }).await, [0; 0]);
    store.close().await;
}
