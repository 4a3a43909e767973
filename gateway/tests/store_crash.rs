//! Killed or cut off after any write: what was answered is there in full, and what was not is there in full or not at all.
#![cfg(feature = "test-util")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod store_support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lgsp_gateway::store::contract::sample::{
    self, AUTHORITY, DAY, DESK, PORTAL, acknowledgement, admission, at, code, opened, party, progressed,
};
use lgsp_gateway::store::sled::{Limits, Progress, SledStore};
use lgsp_gateway::store::{BlockWanted, Bodies, Commit, CommitError, Stage, Store};
use lgsp_journal::seal::NodeKey;
use lgsp_journal::testing::{Disk, Fault};
use store_support::{admit, fill, output, seen};

fn node_key(dir: &Path) -> NodeKey {
    output::trace("store_crash");
    let file = dir.join("node.key");
    let key = NodeKey::load_or_create(&file).unwrap();
    output::key("store_crash", &file);
    key
}

/// Opens the store whose journal and keys are on `disk`. Both keep to names of their own.
fn open(disk: &Disk, key: &NodeKey, index: &Path) -> Arc<SledStore> {
    open_told(disk, key, index).0
}

/// As [`open`], and whether the index was made from a snapshot.
fn open_told(disk: &Disk, key: &NodeKey, index: &Path) -> (Arc<SledStore>, bool) {
    // Small segments and many snapshots, so that rolling over and taking one are among what is interrupted.
    let limits = Limits { segment_bytes: 4_096, snapshot_every: 3, ..Limits::default() };
    let from_snapshot = AtomicBool::new(false);
    let told = |progress| {
        if matches!(progress, Progress::SnapshotLoaded { .. }) {
            from_snapshot.store(true, Ordering::Relaxed);
        }
    };
    let store = SledStore::open_on(disk.files(), disk.files(), key, index, limits, told).unwrap();
    (Arc::new(store), from_snapshot.into_inner())
}

/// Something that was answered, and how many writes there had been by then.
struct AnsweredAt {
    operations: usize,
    what: What,
}

enum What {
    Event(u32, u32),
    TakenOver(u32),
    Leased(u32),
}

/// A short working life: dossiers, events, acknowledgements, a lease.
async fn live(store: &dyn Store, disk: &Disk) -> Vec<AnsweredAt> {
    let mut answered = Vec::new();
    let mut note = |what| answered.push(AnsweredAt { operations: disk.operations(), what });
    for number in 1..=4 {
        admit(store, opened(number)).await.unwrap();
        note(What::Event(number, 1));
        let dossier = store.dossier(&code(number)).await.unwrap().unwrap();
        admit(store, progressed(&dossier, at(100))).await.unwrap();
        note(What::Event(number, 2));
        let taken = acknowledgement(AUTHORITY, Stage::TakenOver, &[(number, 1)]);
        store.commit(Commit::Acknowledgement(taken)).await.unwrap();
        note(What::TakenOver(number));
    }
    let wanted = BlockWanted { authority: party("H57.30"), ..sample::block(DESK, 7) };
    let leased = store.lease_numbers(&wanted, sample::machine(1)).await.unwrap();
    note(What::Leased(leased.end - 1));
    answered
}

/// Checks a reopened store against what had been answered when its disk stood still.
async fn holds(store: &dyn Store, answered: &[AnsweredAt], operations: usize) {
    for AnsweredAt { what, .. } in answered.iter().filter(|answered| answered.operations <= operations) {
        match *what {
            What::Event(number, sequence) => {
                let recorded = store.event(&code(number), sequence, Bodies::With).await.unwrap();
                let recorded = recorded.unwrap_or_else(|| panic!("event {number}/{sequence} was answered and is gone"));
                assert_eq!(recorded.body, Some(sample::body(&code(number), sequence)));
            }
            What::TakenOver(number) => {
                let stage = store.delivery_stage(&party(AUTHORITY), &code(number), 1).await.unwrap();
                assert_eq!(stage, Some(lgsp_gateway::store::DeliveryStage::TakenOver));
            }
            What::Leased(number) => {
                assert!(store.is_leased(&party("H57.30"), DAY, &party(DESK), 1, number).await.unwrap());
            }
        }
    }
    for number in 1..=4 {
        is_whole(store, number).await;
    }
}

/// A dossier, answered or not, is there with all that belongs to it, or not at all.
async fn is_whole(store: &dyn Store, number: u32) {
    let code = code(number);
    let dossier = store.dossier(&code).await.unwrap();
    let last = dossier.as_ref().map_or(0, |dossier| dossier.sequence);
    assert_eq!(store.by_alias(&format!("G22-{number}")).await.unwrap().is_some(), last > 0);
    for sequence in 1..=2 {
        let is_there = sequence <= last;
        let recorded = store.event(&code, sequence, Bodies::With).await.unwrap();
        assert_eq!(recorded.and_then(|recorded| recorded.body).is_some(), is_there);
        let by = party(if sequence == 1 { DESK } else { AUTHORITY });
        let key = sample::key(&code, sequence).parse().unwrap();
        assert_eq!(store.by_key(&by, &key).await.unwrap().is_some(), is_there);
        assert_eq!(store.delivery_stage(&party(PORTAL), &code, sequence).await.unwrap().is_some(), is_there);
    }
    // Life goes on at the next number, with whatever is there.
    match dossier {
        Some(dossier) => admit(store, progressed(&dossier, at(9_000))).await.unwrap(),
        None => admit(store, opened(number)).await.unwrap(),
    }
}

#[tokio::test]
async fn whatever_was_answered_survives_a_kill_and_a_power_cut_after_every_write() {
    let folder = tempfile::tempdir().unwrap();
    let key = node_key(folder.path());
    let disk = Disk::new();
    let index = folder.path().join("first");
    let store = open(&disk, &key, &index);
    let answered = live(&*store, &disk).await;
    let total = disk.operations();
    drop(store);
    assert!(total > 20, "the disk has seen only {total} operations");
    let mut from_snapshots = 0;

    for operations in 0..=total {
        let killed = disk.killed_after(operations);
        let cut = killed.power_cut_dropping_all();
        for (name, disk) in [("killed", killed), ("cut", cut)] {
            // Without an index, as after losing it.
            let index = folder.path().join(format!("{name}-{operations}"));
            let (store, from_snapshot) = open_told(&disk, &key, &index);
            from_snapshots += u32::from(from_snapshot);
            holds(&*store, &answered, operations).await;
            store.close().await;
            // And the life that went on is there as well.
            let store = open(&disk, &key, &index);
            assert_eq!(store.figures().dossiers, 4);
            store.close().await;
        }
    }
    assert!(from_snapshots > 20, "only {from_snapshots} were made from a snapshot");
}

#[tokio::test]
async fn an_index_that_got_further_than_the_disk_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let key = node_key(folder.path());
    let disk = Disk::new();
    let index = folder.path().join("index-of-all");
    let store = open(&disk, &key, &index);
    let answered = live(&*store, &disk).await;
    let operations = answered[4].operations;
    store.close().await;

    let older = disk.killed_after(operations);
    let store = open(&older, &key, &index);
    assert!(index.join("index.damaged-1").exists());
    assert_eq!(store.figures().dossiers, 2);
    holds(&*store, &answered, operations).await;
    store.close().await;
}

#[tokio::test]
async fn a_failed_sync_makes_the_store_read_only_until_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = node_key(folder.path());
    let disk = Disk::new();
    let store = open(&disk, &key, folder.path());
    fill(&*store, 2).await;
    let before = seen(&*store, 2, &[PORTAL]).await;

    // The first operation of the next commit is the append, the second the sync.
    disk.fail_after(1, Fault::Error);
    let failed = admit(&*store, opened(3)).await;
    assert!(matches!(failed, Err(CommitError::Unknown)), "{failed:?}");
    let refused = admit(&*store, opened(4)).await;
    assert!(matches!(refused, Err(CommitError::ReadOnly)), "{refused:?}");
    let refused = store.lease_numbers(&sample::block(DESK, 1), sample::machine(1)).await;
    assert!(refused.is_err());
    assert!(store.figures().read_only);
    // What was answered is still shown, and what was not is not.
    assert_eq!(seen(&*store, 2, &[PORTAL]).await, before);
    assert_eq!(store.dossier(&code(3)).await.unwrap(), None);
    store.close().await;

    // The bytes happened to reach the disk: now it counts, and the same key tells.
    let store = open(&disk.killed(), &key, folder.path());
    let answered = store.by_key(&party(DESK), &admission(opened(3)).request_key).await.unwrap();
    assert_eq!(answered.map(|answered| answered.code), Some(code(3)));
    admit(&*store, opened(4)).await.unwrap();
    store.close().await;
}
