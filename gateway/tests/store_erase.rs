//! Erasing one dossier: its content is gone for good, everything else stays, and the books still check.
#![cfg(feature = "test-util")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod store_support;

use lgsp_gateway::store::contract::sample::{
    self, AUTHORITY, DESK, PORTAL, acknowledgement, admission, at, attached, code, document, handled, opened, parked,
    party, progressed,
};
use lgsp_gateway::store::fsck::{Invariant, fsck};
use lgsp_gateway::store::read_only::ReadOnly;
use lgsp_gateway::store::sled::{Limits, SledStore};
use lgsp_gateway::store::{Bodies, Commit, CommitError, Erasure, ParkedAction, Stage, Store};
use lgsp_journal::seal::{KEYS_PER_BLOCK, NodeKey};
use lgsp_journal::testing::{Disk, Fault};
use store_support::{admit, node_key, open};

fn erasure(number: u32) -> Erasure {
    Erasure {
        code: code(number),
        key_ids: Vec::new(),
        party: party(PORTAL),
        actor: "van.hanh.1".parse().unwrap(),
        system: "van-hanh".to_owned(),
        ground: "QD-123/2026".to_owned(),
        at: sample::machine(7),
    }
}

/// Opens dossier `number` with a document that is sealed with a key of its own, and answers the key.
async fn admit_with_document(store: &dyn Store, number: u32) -> u64 {
    let (id, _) = store.new_key().await.unwrap();
    let meta = lgsp_gateway::store::DocumentMeta { key_id: id, ..document(id, DESK, b"to khai") };
    store.commit(Commit::Document(meta.clone())).await.unwrap();
    let mut event = opened(number);
    event.outcome.documents = vec![attached(&meta)];
    admit(store, event).await.unwrap();
    id
}

async fn is_erased(store: &dyn Store, number: u32) -> bool {
    let events = store.events(&code(number), 0, 9, Bodies::With).await.unwrap();
    let erased = events.iter().all(|recorded| recorded.erased && recorded.body.is_none());
    let whole = events.iter().all(|recorded| !recorded.erased && recorded.body.is_some());
    assert!(erased != whole, "a dossier is erased in part: {events:?}");
    erased
}

/// How an erased dossier 1 and a dossier 2 that was not must stand.
async fn stands(store: &dyn Store, document: u64) {
    assert!(is_erased(store, 1).await && !is_erased(store, 2).await);
    assert!(store.key(document).await.unwrap().is_none());
    // The envelope stays, what is owed stays owed, and a repeat gets its receipt.
    let dossier = store.dossier(&code(1)).await.unwrap().unwrap();
    assert_eq!(dossier.sequence, 1);
    assert_eq!(store.waiting(&party(AUTHORITY), None, 9).await.unwrap().len(), 2);
    assert_eq!(store.by_alias("G22-1").await.unwrap(), Some(code(1)));
    let key = admission(opened(1)).request_key;
    assert_eq!(store.by_key(&party(DESK), &key).await.unwrap().unwrap().code, code(1));
    assert_eq!(store.erased(None, 9).await.unwrap(), [code(1)]);
    assert_eq!(store.erased(Some(&code(1)), 9).await.unwrap(), []);
    // Nothing more is recorded about it, and saying it again changes nothing.
    let refused = admit(store, progressed(&dossier, at(50))).await;
    assert!(matches!(refused, Err(CommitError::Erased)), "{refused:?}");
    let again = store.erase(Erasure { ground: "QD-999/2026".to_owned(), ..erasure(1) }).await.unwrap();
    assert_eq!((again.repeated, again.erasure.ground.as_str()), (true, "QD-123/2026"));
}

#[tokio::test]
async fn an_erased_dossier_has_no_content_left_and_its_neighbours_keep_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let document = admit_with_document(&*store, 1).await;
    admit(&*store, opened(2)).await.unwrap();
    let erased = store.erase(erasure(1)).await.unwrap();
    assert!(!erased.repeated);
    assert_eq!((erased.erasure.key_ids.len(), erased.erasure.key_ids[1]), (2, document));
    stands(&*store, document).await;
    store.close().await;
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let (store, _) = open(folder.path());
    stands(&*store, document).await;
    // What still waited is handed over without a body.
    let handed = acknowledgement(AUTHORITY, Stage::HandedOver, &[(1, 1)]);
    store.commit(Commit::Acknowledgement(handed)).await.unwrap();
    assert_eq!(store.waiting(&party(AUTHORITY), None, 9).await.unwrap().len(), 1);
    store.close().await;

    let report = fsck(folder.path(), &node_key(folder.path()), |_| ()).unwrap();
    // The sample dossiers do without certificates.
    let others: Vec<_> = report.problems.iter().filter(|p| p.invariant != Invariant::Certificate).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!((report.erased_dossiers, report.erased, report.keys_to_destroy), (1, 1, 0));
    let history = ReadOnly::open(folder.path(), &node_key(folder.path())).unwrap().history("G22-1").unwrap().unwrap();
    assert!(history.events[0].erased);
}

#[tokio::test]
async fn an_erased_dossier_that_is_parked_can_still_be_decided_about_and_no_ground_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for number in 1..=2 {
        admit(&*store, opened(number)).await.unwrap();
        store.commit(Commit::Parked(parked(AUTHORITY, number, 1))).await.unwrap();
    }
    let decide = |number, action| Commit::Handled(handled(AUTHORITY, number, 1, action));
    store.commit(decide(1, ParkedAction::Retry)).await.unwrap();
    store.commit(Commit::Parked(parked(AUTHORITY, 1, 1))).await.unwrap();
    store.erase(erasure(1)).await.unwrap();
    for number in 1..=2 {
        store.commit(decide(number, ParkedAction::Skip)).await.unwrap();
    }
    store.close().await;
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let (store, _) = open(folder.path());
    assert!(store.parked(None, None, 9).await.unwrap().is_empty());
    assert!(store.waiting(&party(AUTHORITY), None, 9).await.unwrap().is_empty());
    let mut grounds = Vec::new();
    for number in 1..=2 {
        let done = store.handled(&party(AUTHORITY), &code(number), 9).await.unwrap();
        grounds.push(done.into_iter().map(|handled| handled.why).collect::<Vec<_>>());
    }
    let ground = handled(AUTHORITY, 2, 1, ParkedAction::Skip).why;
    assert_eq!(grounds, [vec![String::new(), String::new()], vec![ground]]);
    store.close().await;
    let report = fsck(folder.path(), &node_key(folder.path()), |_| ()).unwrap();
    let others: Vec<_> = report.problems.iter().filter(|p| p.invariant != Invariant::Certificate).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test]
async fn an_erasure_that_a_crash_interrupts_is_finished_at_the_next_start_or_was_never_begun() {
    let folder = tempfile::tempdir().unwrap();
    let key = NodeKey::load_or_create(&node_key(folder.path())).unwrap();
    let disk = Disk::new();
    let open_at = |disk: &Disk, index: String| {
        let limits = Limits { segment_bytes: 4_096, ..Limits::default() };
        SledStore::open_on(disk.files(), disk.files(), &key, &folder.path().join(index), limits, |_| ()).unwrap()
    };
    let store = open_at(&disk, "first".to_owned());
    let document = admit_with_document(&store, 1).await;
    admit(&store, opened(2)).await.unwrap();
    let before = disk.operations();
    store.erase(erasure(1)).await.unwrap();
    let answered = disk.operations();
    store.close().await;

    let (mut never_begun, mut finished) = (0, 0);
    for operations in before..=answered {
        let killed = disk.killed_after(operations);
        let cut = killed.power_cut_dropping_all();
        for (name, disk) in [("killed", killed), ("cut", cut)] {
            let store = open_at(&disk, format!("{name}-{operations}"));
            let recorded = store.erasure(&code(1)).await.unwrap().is_some();
            assert_eq!(is_erased(&store, 1).await, recorded, "{name} after {operations}");
            assert_eq!(store.key(document).await.unwrap().is_none(), recorded, "{name} after {operations}");
            assert!(!is_erased(&store, 2).await);
            assert!(recorded || operations < answered, "an answered erasure is gone: {name} after {operations}");
            *(if recorded { &mut finished } else { &mut never_begun }) += 1;
            store.close().await;
        }
    }
    assert!(never_begun > 0 && finished > 4, "{never_begun} {finished}");
}

#[tokio::test]
async fn a_key_that_cannot_be_destroyed_leaves_the_outcome_open_and_erasing_again_settles_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = NodeKey::load_or_create(&node_key(folder.path())).unwrap();
    let disk = Disk::new();
    let limits = Limits::default();
    let store = SledStore::open_on(disk.files(), disk.files(), &key, folder.path(), limits, |_| ()).unwrap();
    admit(&store, opened(1)).await.unwrap();
    // The record takes two operations, append and sync; the next one is the key ring's.
    disk.fail_after(2, Fault::Full);
    let failed = store.erase(erasure(1)).await;
    assert!(matches!(failed, Err(CommitError::Unknown)), "{failed:?}");
    // The decision stands from its record on, even while the key could still seal.
    let dossier = store.dossier(&code(1)).await.unwrap().unwrap();
    let refused = admit(&store, progressed(&dossier, at(50))).await;
    assert!(matches!(refused, Err(CommitError::Erased)), "{refused:?}");
    assert!(store.erase(erasure(1)).await.unwrap().repeated);
    assert!(is_erased(&store, 1).await);
    let unknown = store.erase(erasure(9)).await;
    assert!(matches!(unknown, Err(CommitError::Conflict)), "{unknown:?}");
    store.close().await;
}

#[tokio::test]
async fn a_damaged_block_of_keys_of_an_erased_dossier_does_not_keep_the_store_from_opening() {
    let folder = tempfile::tempdir().unwrap();
    let key = NodeKey::load_or_create(&node_key(folder.path())).unwrap();
    let disk = Disk::new();
    let open = || SledStore::open_on(disk.files(), disk.files(), &key, folder.path(), Limits::default(), |_| ());
    let store = open().unwrap();
    admit(&store, opened(1)).await.unwrap();
    // The newest block is looked at when the keys are opened; this is about one of those before.
    for _ in 0..KEYS_PER_BLOCK {
        store.new_key().await.unwrap();
    }
    admit(&store, opened(2)).await.unwrap();
    admit(&store, opened(3)).await.unwrap();
    // The keys of the one are in the damaged block, and the other's erasure is what a crash has left.
    store.erase(erasure(1)).await.unwrap();
    let before = disk.contents("00000002.keys");
    store.erase(erasure(2)).await.unwrap();
    disk.tamper("00000002.keys", |bytes| *bytes = before);
    disk.tamper("00000001.keys", |bytes| bytes[40] ^= 1);
    store.close().await;

    let store = open().unwrap();
    assert!(is_erased(&store, 2).await, "the rest of what a crash has left is finished all the same");
    assert!(!is_erased(&store, 3).await);
    assert_eq!(store.dossier(&code(1)).await.unwrap().unwrap().sequence, 1);
    // Who wants to be certain of the damaged one is told that it is not.
    assert!(matches!(store.erase(erasure(1)).await, Err(CommitError::Unknown)));
    store.close().await;
}

#[tokio::test]
async fn a_record_longer_than_the_journal_takes_is_refused_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let mut long = admission(opened(1));
    long.body = vec![7; lgsp_journal::MAX_RECORD_BYTES].into();
    let refused = store.commit(Commit::Admission(Box::new(long))).await;
    assert!(matches!(refused, Err(CommitError::TooLong)), "{refused:?}");
    assert!(!store.figures().read_only);
    admit(&*store, opened(1)).await.unwrap();
    store.close().await;
}
