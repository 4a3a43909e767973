//! Archiving: only what is closed and owed to nobody leaves the lists, and what was promised of it stays.

use std::sync::Arc;

use lgsp_proto::types::Status;

use super::sample::{
    AUTHORITY, DESK, PORTAL, RETURN_DESK, acknowledgement, admission, asked, at, code, key, machine, opened, party,
    progressed, sha256,
};
use crate::store::{
    Archiving, Bodies, Commit, CommitError, DossiersArchived, ListQuery, QueriesOf, Stage, Store, intake_digest,
};

pub(super) async fn only_what_is_closed_and_owed_to_nobody_is_archived_and_its_names_stay(
    open: &impl AsyncFn(&str) -> Arc<dyn Store>,
) {
    let store = open("archiving").await;
    // Asked for it before it came in, and after.
    let first = admission(opened(1));
    let mut early = asked([1; 16], None);
    early.envelope.intake = Some(intake_digest(&first.request_key));
    early.intake_key = Some(first.request_key);
    store.commit(Commit::Query(Box::new(early))).await.unwrap();
    for number in 1..=2 {
        store.commit(Commit::Admission(Box::new(admission(opened(number))))).await.unwrap();
    }
    let conflicts = async |numbers: &[(u32, u32)]| {
        let refused = store.commit(Commit::Archived(archiving(numbers))).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    };
    store.commit(Commit::Query(Box::new(asked([2; 16], Some(code(1)))))).await.unwrap();
    // Still open.
    assert!(store.material(&code(1)).await.unwrap().is_none());
    conflicts(&[(1, 1)]).await;
    let standing = store.dossier(&code(1)).await.unwrap().unwrap();
    let mut closing = admission(progressed(&standing, at(60)));
    closing.event.status = Status::NotAccepted;
    store.commit(Commit::Admission(Box::new(closing))).await.unwrap();
    // Closed, and owed.
    assert!(store.material(&code(1)).await.unwrap().is_none());
    conflicts(&[(1, 2)]).await;
    for party in [AUTHORITY, RETURN_DESK, PORTAL, DESK] {
        let all = acknowledgement(party, Stage::HandedOver, &[(1, 1), (1, 2)]);
        store.commit(Commit::Acknowledgement(all)).await.unwrap();
    }
    let material = store.material(&code(1)).await.unwrap().unwrap();
    assert_eq!((material.dossier.sequence, material.records.len(), material.queries), (2, 4, 2));
    assert!(!material.erased);
    assert!(!store.record(material.records[0]).await.unwrap().is_empty());
    store.commit(Commit::Query(Box::new(asked([3; 16], Some(code(2)))))).await.unwrap();
    // Asked for since it was written.
    let written = Archiving { queries: vec![1], ..archiving(&[(1, 2)]) };
    let refused = store.commit(Commit::Archived(written)).await;
    assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    // Written as it stood before, or with another that may not go: neither goes.
    conflicts(&[(1, 1)]).await;
    conflicts(&[(1, 2), (2, 1)]).await;
    assert!(store.dossier(&code(1)).await.unwrap().is_some());

    store.commit(Commit::Archived(archiving(&[(1, 2)]))).await.unwrap();
    conflicts(&[(1, 2)]).await;
    store.close().await;
    let store = open("archiving").await;
    assert!(store.dossier(&code(1)).await.unwrap().is_none());
    assert!(store.events(&code(1), 0, 9, Bodies::Without).await.unwrap().is_empty());
    let archived = store.archived(&code(1)).await.unwrap().unwrap();
    assert_eq!((archived.archive.as_str(), archived.updated_at), ("archive-2026-11-0001.lgsp", at(60)));
    assert!(archived.parties.contains(&party(PORTAL)));
    assert!(store.archived(&code(2)).await.unwrap().is_none());
    let on_record = store.archives(None, 9).await.unwrap();
    assert_eq!((on_record.len(), on_record[0].dossiers, on_record[0].sha256), (1, 1, sha256(b"an archive")));
    assert!(store.archives(Some(on_record[0].position), 9).await.unwrap().is_empty());
    let figures = store.figures();
    assert_eq!((figures.dossiers, figures.archived, figures.events), (1, 1, 3));
    for party in [None, Some(party(DESK))] {
        let listed = store.list(&everything(party)).await.unwrap().dossiers;
        assert_eq!(listed.iter().map(|dossier| dossier.code.number()).collect::<Vec<_>>(), [2]);
    }
    // A query is found by its own name as ever, and with its content as long as there is the key.
    let found = store.query(&[1; 16]).await.unwrap().unwrap();
    assert!(found.content.is_some() && found.envelope.dossier == Some(code(1)));
    assert!(store.queries(&QueriesOf::Dossier(code(1)), None, 9).await.unwrap().queries.is_empty());
    // Its names lead to it as ever, and are nobody else's.
    assert_eq!(store.by_alias("G22-1").await.unwrap(), Some(code(1)));
    let answered = store.by_key(&party(AUTHORITY), &key(&code(1), 2).parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((answered.code, answered.sequence), (code(1), 2));
    let mut again = admission(opened(1));
    again.event.opening.as_mut().unwrap().aliases.clear();
    again.request_key = "another-key".parse().unwrap();
    let again = store.commit(Commit::Admission(Box::new(again))).await;
    assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
    store.close().await;
}

fn archiving(dossiers: &[(u32, u32)]) -> Archiving {
    let archived = DossiersArchived {
        codes: dossiers.iter().map(|(number, _)| code(*number)).collect(),
        archive: "archive-2026-11-0001.lgsp".to_owned(),
        sha256: sha256(b"an archive"),
        party: Some(party(PORTAL)),
        actor: "van.hanh.1".parse().unwrap(),
        system: "van-hanh".to_owned(),
        after_days: 365,
        at: machine(9),
    };
    let sequences = dossiers.iter().map(|(_, sequence)| *sequence).collect();
    Archiving {
        archived,
        sequences,
        queries: dossiers.iter().map(|(number, _)| if *number == 1 { 2 } else { 0 }).collect(),
    }
}

fn everything(party: Option<lgsp_proto::types::PartyId>) -> ListQuery {
    ListQuery {
        party,
        statuses: Vec::new(),
        procedure: None,
        competent_authority: None,
        intake_desk: None,
        received_from: None,
        received_to: None,
        only_non_territorial: false,
        only_late_at: None,
        limit: 10,
        cursor: None,
    }
}
