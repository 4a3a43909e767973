//! The index is only an index: whatever becomes of it, it is made again from the journal, and is the same.
#![cfg(feature = "test-util")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod store_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lgsp_gateway::store::contract::sample::{AUTHORITY, DESK, PORTAL, acknowledgement, code, opened, party};
use lgsp_gateway::store::data_folder::FolderError;
use lgsp_gateway::store::fsck::{Invariant, fsck};
use lgsp_gateway::store::sled::{Limits, OpenError, Options, Progress, SledStore};
use lgsp_gateway::store::{Bodies, Commit, ReadError, Stage, Store};
use lgsp_journal::seal::{KeyId, KeyRing, NodeKey};
use lgsp_journal::{Files, RealFiles};
use store_support::{admit, fill, node_key, open, rebuilt, seen, try_open};

const PARTIES: [&str; 3] = [AUTHORITY, DESK, PORTAL];

/// Fills a data folder, closes it in order, and answers what could be seen in it.
async fn filled(dir: &Path) -> String {
    let (store, _) = open(dir);
    fill(&*store, 20).await;
    let taken: Vec<_> = (1..=15).map(|number| (number, 1)).collect();
    store.commit(Commit::Acknowledgement(acknowledgement(AUTHORITY, Stage::TakenOver, &taken))).await.unwrap();
    let seen = seen(&*store, 20, &PARTIES).await;
    store.close().await;
    seen
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Opens a folder whose index is of no use: it must be moved aside, made again, and show what was seen before.
async fn is_made_again(dir: &Path, before: &str) {
    let (store, progress) = open(dir);
    assert!(rebuilt(&progress), "{progress:?}");
    assert!(
        progress.iter().any(|step| matches!(step, Progress::CatchingUp { applied, durable } if applied == durable))
    );
    assert!(dir.join("index.damaged-1").exists());
    assert_eq!(seen(&*store, 20, &PARTIES).await, before);
    store.close().await;
    let (store, progress) = open(dir);
    assert!(!rebuilt(&progress), "{progress:?}");
    assert_eq!(seen(&*store, 20, &PARTIES).await, before);
    store.close().await;
}

#[tokio::test]
async fn an_orderly_close_leaves_nothing_to_catch_up_with() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    let (store, progress) = open(folder.path());
    assert!(!progress.iter().any(|step| matches!(step, Progress::CatchingUp { .. })), "{progress:?}");
    assert_eq!(seen(&*store, 20, &PARTIES).await, before);
    store.close().await;
}

#[tokio::test]
async fn opening_says_how_far_it_has_read_the_index() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let (store, progress) = open(folder.path());
    let read: Vec<u64> = progress
        .iter()
        .filter_map(|step| if let Progress::IndexRead { entries } = step { Some(*entries) } else { None })
        .collect();
    assert!(matches!(read[..], [entries] if entries > 20), "{progress:?}");
    store.close().await;
}

#[tokio::test]
async fn a_missing_index_is_made_from_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    is_made_again(folder.path(), &before).await;
}

#[tokio::test]
async fn a_missing_index_that_never_had_a_checkpoint_is_no_news() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    fs::remove_file(folder.path().join("index.checkpoint")).unwrap();
    let (store, progress) = open(folder.path());
    assert!(!rebuilt(&progress), "{progress:?}");
    assert_eq!(seen(&*store, 20, &PARTIES).await, before);
    store.close().await;
}

#[tokio::test]
async fn an_index_that_does_not_open_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    for name in ["db", "conf"] {
        let file = folder.path().join("index").join(name);
        let mut bytes = fs::read(&file).unwrap();
        bytes.iter_mut().skip(3).step_by(7).for_each(|byte| *byte ^= 0x5a);
        fs::write(&file, bytes).unwrap();
    }
    is_made_again(folder.path(), &before).await;
}

/// Takes a page from under the index that sled does not look at when it opens: a kill can leave one like that.
fn spoil_a_page(dir: &Path) {
    let index = sled::open(dir.join("index")).unwrap();
    // sled keeps so large a page in a file of its own.
    index.insert([99], vec![7; 1 << 20]).unwrap();
    index.flush().unwrap();
    drop(index);
    // When it opens once more it notes where its pages are, and does not look for them the next time.
    drop(sled::open(dir.join("index")).unwrap());
    for blob in fs::read_dir(dir.join("index").join("blobs")).unwrap() {
        fs::remove_file(blob.unwrap().path()).unwrap();
    }
    let index = sled::open(dir.join("index")).expect("sled opens it all the same");
    assert!(index.iter().any(|entry| entry.is_err()), "sled can read all of it");
}

#[tokio::test]
async fn an_index_that_opens_and_cannot_be_read_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    spoil_a_page(folder.path());
    is_made_again(folder.path(), &before).await;
}

#[tokio::test]
async fn fsck_says_that_an_index_is_of_no_use_and_calls_it_no_problem() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    spoil_a_page(folder.path());
    let report = fsck(folder.path(), &node_key(folder.path()), |_| ()).unwrap();
    assert!(report.problems.iter().all(|problem| problem.invariant != Invariant::Index), "{:?}", report.problems);
    assert_eq!(report.compared, None);
    assert!(report.index_unusable.is_some_and(|why| why.contains("sled")));
}

#[tokio::test]
async fn an_index_with_less_than_its_checkpoint_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    fill(&*store, 5).await;
    store.close().await;
    copy(&folder.path().join("index"), &folder.path().join("older"));
    let (store, _) = open(folder.path());
    for number in 6..=20 {
        admit(&*store, opened(number)).await.unwrap();
    }
    let before = seen(&*store, 20, &PARTIES).await;
    store.close().await;
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    fs::rename(folder.path().join("older"), folder.path().join("index")).unwrap();
    is_made_again(folder.path(), &before).await;
}

#[tokio::test]
async fn an_index_ahead_of_the_journal_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    copy(&folder.path().join("journal"), &folder.path().join("older"));
    let (store, _) = open(folder.path());
    admit(&*store, opened(21)).await.unwrap();
    store.close().await;
    fs::remove_dir_all(folder.path().join("journal")).unwrap();
    fs::rename(folder.path().join("older"), folder.path().join("journal")).unwrap();
    is_made_again(folder.path(), &before).await;
}

#[tokio::test]
async fn an_index_of_another_journal_is_moved_aside() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = filled(folder.path()).await;
    filled(other.path()).await;
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    copy(&other.path().join("index"), &folder.path().join("index"));
    is_made_again(folder.path(), &before).await;
}

/// Fills a data folder of which two snapshots are taken on the way, and answers what could be seen in it and where they were
/// taken, the newest first.
async fn photographed(dir: &Path) -> (String, Vec<u64>) {
    let store = Arc::new(SledStore::open(&with_snapshots(dir), |_| ()).unwrap());
    fill(&*store, 20).await;
    let before = seen(&*store, 20, &PARTIES).await;
    store.close().await;
    let names = fs::read_dir(dir.join("snapshots")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.filter_map(|name| name.to_str().unwrap().strip_suffix(".snapshot")?.parse().ok());
    let mut positions: Vec<u64> = names.collect();
    positions.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(positions.len(), 2);
    (before, positions)
}

/// Small segments, so that the first one is not looked at when the journal is opened.
fn with_snapshots(dir: &Path) -> Options {
    let Options { dir, node_key, limits } = store_support::options(dir);
    Options { dir, node_key, limits: Limits { snapshot_every: 5, segment_bytes: 4_096, ..limits } }
}

fn snapshot(dir: &Path, position: u64) -> PathBuf {
    dir.join("snapshots").join(format!("{position:020}.snapshot"))
}

/// Opens a folder whose index is gone, and answers from which record on the journal was read.
async fn rebuilt_from(dir: &Path, before: &str) -> (u64, Vec<Progress>) {
    fs::remove_dir_all(dir.join("index")).unwrap();
    let (store, progress) = open(dir);
    assert!(rebuilt(&progress), "{progress:?}");
    assert_eq!(seen(&*store, 20, &PARTIES).await, before);
    store.close().await;
    let loaded = progress.iter().find_map(|step| match step {
        Progress::SnapshotLoaded { position, entries, of } if entries == of => Some(*position),
        _ => None,
    });
    let caught_up = progress.iter().any(|step| matches!(step, Progress::CatchingUp { applied: 40, durable: 40 }));
    assert_eq!(caught_up, loaded != Some(40));
    (loaded.map_or(1, |position| position + 1), progress)
}

#[tokio::test]
async fn a_rebuild_reads_only_what_came_after_the_newest_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let (before, positions) = photographed(folder.path()).await;
    // What a rebuild must not need: if a record before the snapshot were read, it would be found damaged.
    let segment = folder.path().join("journal").join("0000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let sound = bytes.clone();
    bytes[64 + 52 + 8 + 40] ^= 1;
    fs::write(&segment, bytes).unwrap();
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    let (store, progress) = open(folder.path());
    assert!(rebuilt(&progress), "{progress:?}");
    assert!(store.event(&code(1), 1, Bodies::With).await.is_err(), "the damage is not where it should be");
    assert_eq!(store.dossier(&code(1)).await.unwrap().unwrap().sequence, 2);
    store.close().await;
    fs::write(&segment, sound).unwrap();
    assert_eq!(rebuilt_from(folder.path(), &before).await.0, positions[0] + 1);
    let report = fsck(folder.path(), &node_key(folder.path()), |_| ()).unwrap();
    assert_eq!((report.snapshots, report.snapshots_unusable), (2, 0));
}

#[tokio::test]
async fn a_damaged_snapshot_is_passed_over_for_the_one_before_and_then_for_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (before, positions) = photographed(folder.path()).await;
    let spoil = |position| {
        let file = snapshot(folder.path(), position);
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    };
    spoil(positions[0]);
    let (from, progress) = rebuilt_from(folder.path(), &before).await;
    assert_eq!(from, positions[1] + 1);
    assert!(progress.iter().any(|step| matches!(step, Progress::SnapshotPassedOver { .. })), "{progress:?}");
    spoil(positions[1]);
    assert_eq!(rebuilt_from(folder.path(), &before).await.0, 1);
    let report = fsck(folder.path(), &node_key(folder.path()), |_| ()).unwrap();
    assert_eq!((report.snapshots, report.snapshots_unusable), (0, 2));
    assert!(!report.problems.iter().any(|problem| problem.invariant == Invariant::Index), "{:?}", report.problems);
}

#[tokio::test]
async fn a_snapshot_of_another_journal_is_passed_over() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (before, positions) = photographed(folder.path()).await;
    let (_, of_other) = photographed(other.path()).await;
    for position in positions {
        fs::remove_file(snapshot(folder.path(), position)).unwrap();
    }
    for position in of_other {
        fs::copy(snapshot(other.path(), position), snapshot(folder.path(), position)).unwrap();
    }
    assert_eq!(rebuilt_from(folder.path(), &before).await.0, 1);
}

#[tokio::test]
async fn fsck_finds_a_snapshot_that_says_something_else_than_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (_, positions) = photographed(folder.path()).await;
    let file = snapshot(folder.path(), positions[0]);
    let mut bytes = fs::read(&file).unwrap();
    // An alias that the journal does not know, under a digest that is right.
    let at = bytes.windows(6).rposition(|window| window == b"\x05G22-1").unwrap();
    bytes[at + 5] = b'z';
    let end = bytes.len() - 32;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes[..end]);
    bytes[end..].copy_from_slice(digest.as_ref());
    fs::write(&file, bytes).unwrap();
    let report = fsck(folder.path(), &node_key(folder.path()), |_| ()).unwrap();
    let found = |what: &str| report.problems.iter().any(|p| p.invariant == Invariant::Index && p.what.contains(what));
    assert!(found("in the snapshot") && found("alias/G22-z"));
}

#[tokio::test]
async fn a_journal_of_a_later_version_is_refused_as_such_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let segments = folder.path().join("journal");
    {
        let files = std::sync::Arc::new(RealFiles::open(&segments).unwrap());
        let mut journal = lgsp_journal::open(files, lgsp_journal::Options::default()).unwrap();
        // A record of a kind that is not known here: field 99 of the oneof.
        journal.writer.append(&[b"\x9a\x06\x00"]).unwrap();
    }
    let (opened, _) = try_open(folder.path());
    let refused = opened.unwrap_err();
    assert!(matches!(refused, OpenError::Damaged(ReadError::Later { .. })), "{refused:?}");
    assert!(refused.to_string().contains("written by a later version"), "{refused}");
    assert!(!folder.path().join("index.damaged-1").exists());
    let report = fsck(folder.path(), &node_key(folder.path()), |_| ()).unwrap();
    assert!(report.problems.iter().any(|problem| problem.what.contains("written by a later version")));

    // A segment of a form that is not known here.
    let mut names: Vec<_> = fs::read_dir(&segments).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|extension| extension == "seg"));
    names.sort();
    let newest = names.last().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(newest, bytes).unwrap();
    let (opened, _) = try_open(folder.path());
    let refused = opened.unwrap_err();
    let said = std::error::Error::source(&refused).unwrap().to_string();
    assert!(matches!(refused, OpenError::Journal(_)) && said.contains("written by a later version"), "{said}");
    let said = fsck(folder.path(), &node_key(folder.path()), |_| ()).unwrap();
    let of_segment: Vec<&str> =
        said.problems.iter().map(|problem| &*problem.what).filter(|what| what.contains("segment")).collect();
    assert!(
        matches!(of_segment[..], [one] if one.contains("was written by a later version (form 2)")),
        "{of_segment:?}"
    );
    assert_eq!(said.dossiers, report.dossiers, "what is before it is checked all the same");
}

#[tokio::test]
async fn only_a_few_damaged_indexes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    for _ in 0..5 {
        fs::remove_dir_all(folder.path().join("index")).unwrap();
        let (store, progress) = open(folder.path());
        assert!(rebuilt(&progress));
        store.close().await;
    }
    assert!(folder.path().join("index.damaged-3").exists());
    assert!(!folder.path().join("index.damaged-4").exists());
}

#[tokio::test]
async fn a_store_that_was_dropped_is_caught_up_with() {
    let folder = tempfile::tempdir().unwrap();
    let before = {
        let (store, _) = open(folder.path());
        fill(&*store, 20).await;
        seen(&*store, 20, &PARTIES).await
        // Dropped: no checkpoint, and whatever the follower had not come to is not in the index.
    };
    let (store, progress) = open(folder.path());
    assert!(!rebuilt(&progress), "{progress:?}");
    assert_eq!(seen(&*store, 20, &PARTIES).await, before);
    store.close().await;
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let (second, _) = try_open(folder.path());
    match second {
        Err(OpenError::Folder(FolderError::InUse { process, .. })) => assert_eq!(process, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    // And the one who has it goes on.
    fill(&*store, 1).await;
    store.close().await;
}

#[tokio::test]
async fn a_body_whose_key_was_destroyed_is_erased_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    {
        let keys: std::sync::Arc<dyn Files> = std::sync::Arc::new(RealFiles::open(folder.path().join("keys")).unwrap());
        let ring = KeyRing::open(keys, &NodeKey::load(&node_key(folder.path())).unwrap()).unwrap();
        // Dossiers take keys in the order in which they are opened, from the first block's first.
        ring.destroy(KeyId(1_024)).unwrap();
    }
    let (store, _) = open(folder.path());
    for bodies in [Bodies::With, Bodies::Without] {
        for recorded in store.events(&code(1), 0, 9, bodies).await.unwrap() {
            assert_eq!((recorded.body, recorded.erased), (None, true));
            assert_eq!(recorded.event.dossier_code, code(1).as_str());
        }
        assert!(!store.event(&code(2), 1, bodies).await.unwrap().unwrap().erased);
    }
    assert_eq!(store.dossier(&code(1)).await.unwrap().unwrap().sequence, 2);
    assert_eq!(store.backlog(&party(PORTAL)).await.unwrap().waiting, 40);
    store.close().await;
}
