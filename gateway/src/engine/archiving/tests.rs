use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use lgsp_journal::seal::{KeyRing, NodeKey};
use lgsp_journal::testing::{Disk, Fault};
use lgsp_proto::types::Sha256Digest;

use super::*;
use crate::archive::ArchiveError;
use crate::engine::documents::{Announced, Upload, UploadError};
use crate::engine::testing::{AN, House};
use crate::store::contract::sample::{
    self, AUTHORITY, DESK, PORTAL, RETURN_DESK, acknowledgement, attached, body, code,
};
use crate::store::read_only::history_of;
use crate::store::sled::{Limits as StoreLimits, SledStore};
use crate::store::{Bodies, DocumentMeta, Erasure, Stage, Store};

/// Closed long ago, with a document; closed long ago; closed, and something of it is owed; not closed.
const DOSSIERS: u32 = 4;

/// A house on a disk of its own, the index aside.
async fn house_on(disk: &Disk, key: &NodeKey, documents: Option<&Path>, limit: usize) -> House {
    house_with(disk, key, documents, limit, disk.files()).await
}

async fn house_with(
    disk: &Disk,
    key: &NodeKey,
    documents: Option<&Path>,
    limit: usize,
    archives: Arc<dyn Files>,
) -> House {
    let dir = tempfile::tempdir().unwrap();
    if let Some(documents) = documents {
        copy(documents, &dir.path().join("documents"));
    }
    let store = open(disk, key, &dir.path().join("store"));
    let house = House::on(dir, store).await;
    let archives = Archives::new(house.folder().to_owned(), 0, None).on(archives);
    house.engine.archive_into(archives.of_at_most(Limits { dossiers: limit, ..LIMITS }));
    house.engine.clock().advance(sample::at(40 * DAY_S));
    house
}

fn open(disk: &Disk, key: &NodeKey, index: &Path) -> SledStore {
    let limits = StoreLimits { segment_bytes: 16_384, ..StoreLimits::default() };
    SledStore::open_on(disk.files(), disk.files(), key, index, limits, |_| ()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// How many complete documents there are.
fn documents(house: &House) -> usize {
    let groups = std::fs::read_dir(house.folder().join("documents/whole")).unwrap();
    groups.map(|group| std::fs::read_dir(group.unwrap().path()).unwrap().count()).sum()
}

fn the_document() -> Bytes {
    Bytes::from((0..200_000u32).map(|at| (at % 251) as u8).collect::<Vec<_>>())
}

async fn upload(house: &House) -> DocumentMeta {
    let content = the_document();
    let announced = Announced {
        party: AN.parse().unwrap(),
        actor: "can.bo.1".parse().unwrap(),
        sha256: sample::sha256(&content),
        size_bytes: content.len() as u64,
        media_type: "application/pdf".parse().unwrap(),
        offset: 0,
    };
    let Upload::Open(mut upload) = house.engine.begin_upload(&house.peer("mot-cua"), announced).await.unwrap() else {
        panic!("nothing was uploaded yet")
    };
    upload.write(content).await.unwrap();
    upload.finish().await.unwrap()
}

/// The dossiers of [`DOSSIERS`].
async fn fill(house: &House) -> DocumentMeta {
    let store = house.engine.store();
    let document = upload(house).await;
    for number in 1..=DOSSIERS {
        let attached = if number == 1 { vec![attached(&document)] } else { Vec::new() };
        house.admit(number, |admission| admission.event.outcome.documents = attached).await;
        if number < DOSSIERS {
            house.progress(&code(number), |admission| admission.event.status = Status::NotAccepted).await;
        }
    }
    for party in [AUTHORITY, RETURN_DESK, PORTAL, DESK] {
        let deliveries = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (4, 1)];
        let all = acknowledgement(party, Stage::HandedOver, &deliveries);
        store.commit(Commit::Acknowledgement(all)).await.unwrap();
        if party != PORTAL {
            let rest = acknowledgement(party, Stage::HandedOver, &[(3, 2)]);
            store.commit(Commit::Acknowledgement(rest)).await.unwrap();
        }
    }
    document
}

/// What was begun at the start has removed the documents that archives have.
async fn swept(house: &House) {
    drop(house.engine.inner.archives.get().unwrap().folder.lock().await);
}

async fn archive(house: &House, after_days: u32) -> Result<Progress, Refusal> {
    let order = Order { gently: false, ..Order::of_the_gateway(after_days) };
    house.engine.archive(&order, &CancellationToken::new(), &|_| ()).await
}

fn node_key() -> NodeKey {
    let dir = tempfile::tempdir().unwrap();
    NodeKey::load_or_create(&dir.path().join("node.key")).unwrap()
}

/// Whether a dossier is in an archive; in either case all of it is there.
async fn is_archived(store: &dyn Store, disk: &Disk, key: &NodeKey, number: u32) -> bool {
    let code = code(number);
    let bodies: Vec<Bytes> = (1..=2).map(|sequence| body(&code, sequence)).collect();
    match (store.dossier(&code).await.unwrap(), store.archived(&code).await.unwrap()) {
        (Some(dossier), None) => {
            assert_eq!(dossier.sequence, 2);
            let events = store.events(&code, 0, 9, Bodies::With).await.unwrap();
            assert_eq!(events.into_iter().map(|event| event.body.unwrap()).collect::<Vec<_>>(), bodies);
            false
        }
        (None, Some(archived)) => {
            assert!(store.events(&code, 0, 9, Bodies::With).await.unwrap().is_empty());
            let archive = Archive::read(disk.files().open(&archived.archive).unwrap()).unwrap();
            archive.verify().unwrap();
            let on_record = store.archives(None, 9).await.unwrap();
            assert!(on_record.iter().any(|one| one.name == archived.archive && one.sha256 == archive.sha256));
            let keys = KeyRing::open(disk.files(), key).unwrap();
            let records = archive.records(archive.dossier(code.as_str()).unwrap()).unwrap();
            let history = history_of(&records, &keys).unwrap().unwrap();
            assert_eq!(history.events.into_iter().map(|event| event.body.unwrap()).collect::<Vec<_>>(), bodies);
            true
        }
        other => panic!("{code} is in neither, or in both: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_crash_comes_a_dossier_is_whole_here_or_in_an_archive_on_record() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1).await;
    fill(&house).await;
    let pristine = tempfile::tempdir().unwrap();
    copy(&house.folder().join("documents"), pristine.path());
    let before = disk.operations();
    assert_eq!(archive(&house, 30).await.unwrap().archived, 2);
    let answered = disk.operations();
    assert_eq!(documents(&house), 0);
    house.engine.stop().await;

    let mut seen = [0; 3];
    for operations in before..=answered {
        let killed = disk.killed_after(operations);
        let cut = killed.power_cut_dropping_all();
        for (disk, goes_on) in [(killed, true), (cut, operations % 8 == 0)] {
            let index = tempfile::tempdir().unwrap();
            let store = open(&disk, &key, index.path());
            let one = is_archived(&store, &disk, &key, 1).await;
            let other = is_archived(&store, &disk, &key, 2).await;
            assert_eq!(store.figures().archived, u64::from(one) + u64::from(other));
            seen[usize::from(one) + usize::from(other)] += 1;
            store.close().await;
            if !goes_on {
                continue;
            }
            // A node that starts on it removes what the archive has, and the next run does the rest and sweeps.
            let house = house_on(&disk, &key, Some(pristine.path()), 1).await;
            swept(&house).await;
            assert_eq!(documents(&house), usize::from(!one), "after {operations}");
            let left = archive(&house, 30).await.unwrap().archived;
            assert_eq!(left, 2 - u64::from(one) - u64::from(other), "after {operations}");
            assert_eq!(documents(&house), 0);
            let store = house.engine.store();
            assert!(
                is_archived(store.as_ref(), &disk, &key, 1).await && is_archived(store.as_ref(), &disk, &key, 2).await
            );
            let on_record: BTreeSet<_> =
                store.archives(None, 9).await.unwrap().into_iter().map(|one| one.name).collect();
            let there: BTreeSet<_> = disk.names().into_iter().filter(|name| name.starts_with("archive-")).collect();
            assert_eq!(there, on_record, "after {operations}");
            house.engine.stop().await;
        }
    }
    assert!(seen.iter().all(|states| *states > 1), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_closed_long_enough_and_owed_to_nobody_is_archived() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    fill(&house).await;
    assert_eq!(archive(&house, 41).await.unwrap(), Progress::default());
    let archived = archive(&house, 30).await.unwrap();
    assert_eq!((archived.looked_at, archived.archived), (3, 2));
    let store = house.engine.store();
    assert!(store.dossier(&code(3)).await.unwrap().is_some() && store.dossier(&code(4)).await.unwrap().is_some());
    assert_eq!((store.figures().dossiers, store.figures().archived), (2, 2));
    // What was owed is handed over, and then it goes as well, into a file of its own.
    let rest = acknowledgement(PORTAL, Stage::HandedOver, &[(3, 2)]);
    store.commit(Commit::Acknowledgement(rest)).await.unwrap();
    assert_eq!(archive(&house, 30).await.unwrap().archived, 1);
    let names: Vec<_> = store.archives(None, 9).await.unwrap().into_iter().map(|archive| archive.name).collect();
    assert_eq!(names, ["archive-2025-08-0001.lgsp", "archive-2025-08-0002.lgsp"]);
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_while_the_file_is_written_keeps_the_dossier_here() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    fill(&house).await;
    let store = house.engine.store();
    let done = AtomicBool::new(false);
    let engine = house.engine.clone();
    let handle = tokio::runtime::Handle::current();
    // One more event of the first dossier, when both have been written and nothing is recorded yet.
    let told = |progress: &Progress| {
        if progress.written == 2 && !done.swap(true, Ordering::Relaxed) {
            let engine = engine.clone();
            tokio::task::block_in_place(|| {
                handle.block_on(async move {
                    let dossier = engine.store().dossier(&code(1)).await.unwrap().unwrap();
                    let mut event = sample::admission(sample::progressed(&dossier, sample::at(2_000)));
                    event.event.status = Status::NotAccepted;
                    engine.store().commit(Commit::Admission(Box::new(event))).await.unwrap();
                    // Nothing is owed of it any more; only its last event is another.
                    for party in [RETURN_DESK, PORTAL, DESK] {
                        let all = acknowledgement(party, Stage::HandedOver, &[(1, 3)]);
                        engine.store().commit(Commit::Acknowledgement(all)).await.unwrap();
                    }
                });
            });
        }
    };
    let order = Order { gently: false, ..Order::of_the_gateway(30) };
    let archived = house.engine.archive(&order, &CancellationToken::new(), &told).await.unwrap();
    assert!(done.into_inner());
    assert_eq!(archived.archived, 0);
    assert_eq!(store.dossier(&code(1)).await.unwrap().unwrap().sequence, 3);
    assert!(!disk.names().iter().any(|name| name.starts_with("archive-")), "{:?}", disk.names());
    assert_eq!(archive(&house, 30).await.unwrap().archived, 2);
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_several_records_and_what_one_of_them_cannot_take_goes_into_the_next_file() {
    const ALL: u32 = RECORDED_TOGETHER as u32 + 5;
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    let store = house.engine.store();
    for number in 1..=ALL {
        house.admit(number, |_| ()).await;
        house.progress(&code(number), |admission| admission.event.status = Status::NotAccepted).await;
        for party in [AUTHORITY, RETURN_DESK, PORTAL, DESK] {
            let all = acknowledgement(party, Stage::HandedOver, &[(number, 1), (number, 2)]);
            store.commit(Commit::Acknowledgement(all)).await.unwrap();
        }
    }
    // One of the second record's is heard of once more when all are written.
    let told = |progress: &Progress| {
        if progress.written == u64::from(ALL) && progress.archived == 0 {
            let closed = |admission: &mut crate::store::Admission| admission.event.status = Status::NotAccepted;
            let handle = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| handle.block_on(house.progress(&code(ALL), closed)));
        }
    };
    let order = Order { gently: false, ..Order::of_the_gateway(30) };
    let archived = house.engine.archive(&order, &CancellationToken::new(), &told).await.unwrap();
    assert_eq!(archived.archived, RECORDED_TOGETHER as u64);
    assert_eq!(archive(&house, 30).await.unwrap().archived, 4);
    let on_record = store.archives(None, 9).await.unwrap();
    let on_record: Vec<_> = on_record.iter().map(|one| (one.name.as_str(), one.dossiers)).collect();
    assert_eq!(on_record, [("archive-2025-08-0001.lgsp", 25), ("archive-2025-08-0002.lgsp", 4)]);
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_or_whose_disk_fails_leaves_everything_as_it_was() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    fill(&house).await;
    let stop = CancellationToken::new();
    let order = Order { gently: false, ..Order::of_the_gateway(30) };
    let told = |progress: &Progress| {
        if progress.written == 1 {
            stop.cancel()
        }
    };
    assert_eq!(house.engine.archive(&order, &stop, &told).await.unwrap().archived, 0);
    let store = house.engine.store();
    assert_eq!((store.figures().archived, documents(&house)), (0, 1));
    assert!(!disk.names().iter().any(|name| name.starts_with("archive-")), "{:?}", disk.names());

    // tidy's sync of the folder, the file, its head, and then the disk is full.
    disk.fail_after(3, Fault::Full);
    assert_eq!(archive(&house, 30).await.unwrap_err().reason(), Reason::ReadOnly);
    assert_eq!((store.figures().archived, store.figures().read_only, documents(&house)), (0, false, 1));
    assert_eq!(archive(&house, 30).await.unwrap().archived, 2);
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_reads_back_otherwise_than_it_was_written_is_not_recorded() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    fill(&house).await;
    // The disk spoils a byte of the first dossier's document when both are written.
    let done = AtomicBool::new(false);
    let told = |progress: &Progress| {
        if progress.written == 2 && !done.swap(true, Ordering::Relaxed) {
            disk.tamper("archive-2025-08-0001.lgsp.tmp", |bytes| bytes[100_000] ^= 1);
        }
    };
    let order = Order { gently: false, ..Order::of_the_gateway(30) };
    let refused = house.engine.archive(&order, &CancellationToken::new(), &told).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::ReadOnly);
    assert_eq!((house.engine.store().figures().archived, documents(&house)), (0, 1));
    assert!(!disk.names().iter().any(|name| name.starts_with("archive-")), "{:?}", disk.names());
    assert_eq!(archive(&house, 30).await.unwrap().archived, 2);
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_stay_while_a_backup_reads_them_and_go_with_the_next_run() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    fill(&house).await;
    let backup = crate::engine::documents::keep(&house.folder().join("documents")).unwrap().unwrap();
    assert_eq!(archive(&house, 30).await.unwrap().archived, 2);
    assert_eq!(documents(&house), 1);
    drop(backup);
    assert_eq!(archive(&house, 30).await.unwrap().archived, 0);
    assert_eq!(documents(&house), 0);
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_dossier_is_erased_with_its_keys_and_its_code_and_alias_stay_taken() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    let document = fill(&house).await;
    archive(&house, 30).await.unwrap();
    let store = house.engine.store();
    // The code alone: with another key, and other aliases.
    let mut again = sample::admission(sample::opened(1));
    again.event.opening.as_mut().unwrap().aliases.clear();
    again.request_key = "another-key".parse().unwrap();
    let again = store.commit(Commit::Admission(Box::new(again))).await;
    assert!(matches!(again, Err(CommitError::Conflict)), "{again:?}");
    let mut other = sample::admission(sample::opened(9));
    other.event.opening.as_mut().unwrap().aliases = vec![code(1).as_str().parse().unwrap()];
    let squatted = store.commit(Commit::Admission(Box::new(other))).await;
    assert!(matches!(squatted, Err(CommitError::Conflict)), "{squatted:?}");
    assert_eq!(store.by_alias("G22-1").await.unwrap(), Some(code(1)));
    let request = sample::key(&code(1), 2).parse().unwrap();
    assert_eq!(store.by_key(&sample::party(AUTHORITY), &request).await.unwrap().unwrap().sequence, 2);

    let erasure = Erasure {
        code: code(1),
        key_ids: Vec::new(),
        party: sample::party(PORTAL),
        actor: "van.hanh.1".parse().unwrap(),
        system: "van-hanh".to_owned(),
        ground: "QD-123/2026".to_owned(),
        at: sample::machine(7),
    };
    let erased = store.erase(erasure).await.unwrap();
    assert_eq!(erased.erasure.key_ids.len(), 2);
    assert!(store.key(document.key_id).await.unwrap().is_none());
    let archived = store.archived(&code(1)).await.unwrap().unwrap();
    let archive = Archive::read(disk.files().open(&archived.archive).unwrap()).unwrap();
    archive.verify().unwrap();
    let keys = KeyRing::open(disk.files(), &key).unwrap();
    for (number, is_erased) in [(1, true), (2, false)] {
        let records = archive.records(archive.dossier(code(number).as_str()).unwrap()).unwrap();
        let history = history_of(&records, &keys).unwrap().unwrap();
        assert!(history.events.iter().all(|event| event.erased == is_erased), "{number}");
    }
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_changed_or_cut_short_anywhere_is_never_believed() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    fill(&house).await;
    let order = Order { gently: false, ..Order::of_the_gateway(30) };
    let names = std::sync::Mutex::new(Vec::new());
    let told = |progress: &Progress| names.lock().unwrap().extend(progress.archive.clone());
    house.engine.archive(&order, &CancellationToken::new(), &told).await.unwrap();
    let Written { name, sha256, bytes, .. } = names.into_inner().unwrap().remove(0);
    let whole = disk.contents(&name);
    assert_eq!(whole.len() as u64, bytes);
    let sha = sample::sha256(&whole[..whole.len() - 32]);
    assert_eq!((sha, Sha256Digest::try_from(&whole[whole.len() - 32..]).unwrap()), (sha256, sha256));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(&name);
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Archive::open(&path).and_then(|archive| archive.verify())
    };
    read(&whole).unwrap();
    let step = whole.len() / 300 + 1;
    for at in (0..whole.len()).step_by(step).chain(0..36).chain(whole.len() - 80..whole.len()) {
        assert!(read(&whole[..at]).is_err(), "cut at {at}");
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        assert!(read(&flipped).is_err(), "flipped at {at}");
    }
    let mut later = whole;
    later[8] = 3;
    let crc = crc32c::crc32c(&later[..32]);
    later[32..36].copy_from_slice(&crc.to_le_bytes());
    let refused = read(&later).unwrap_err();
    assert!(matches!(refused, ArchiveError::Later(3)), "{refused}");
    assert!(refused.to_string().contains("written by a later version"));
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_operation_fails_and_whoever_orders_another_run_what_may_be_on_record_keeps_its_archive() {
    let key = node_key();
    let mut unknown = 0;
    for skipped in 0.. {
        let disk = Disk::new();
        let house = house_on(&disk, &key, None, 1_000).await;
        fill(&house).await;
        disk.fail_after(skipped, Fault::Error);
        let first = archive(&house, 30).await;
        let is_unknown = first.as_ref().is_err_and(|refused| refused.reason() == Reason::OutcomeUnknown);
        let again = archive(&house, 30).await;
        if is_unknown {
            unknown += 1;
            assert_eq!(again.unwrap_err().reason(), Reason::ReadOnly, "after {skipped}");
        }
        let is_over = first.is_ok();
        house.engine.stop().await;
        for disk in [disk.killed(), disk.power_cut_dropping_all()] {
            let index = tempfile::tempdir().unwrap();
            let store = open(&disk, &key, index.path());
            let _ = is_archived(&store, &disk, &key, 2).await;
            let is_gone = is_archived(&store, &disk, &key, 1).await;
            assert!(is_gone || documents(&house) == 1, "after {skipped}");
            store.close().await;
        }
        if is_over {
            break;
        }
    }
    // The record's own sync, at least.
    assert!(unknown > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_go_only_when_the_archive_on_record_is_there_to_have_them() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    fill(&house).await;
    let backup = crate::engine::documents::keep(&house.folder().join("documents")).unwrap().unwrap();
    assert_eq!(archive(&house, 30).await.unwrap().archived, 2);
    drop(backup);
    let name = house.engine.store().archives(None, 9).await.unwrap().remove(0).name;
    house.engine.stop().await;
    let whole = disk.contents(&name);
    let documents_kept = house.folder().join("documents");

    // Carried away, another one in its place, and there again.
    for (kept, there) in [(1, None), (1, Some(whole.len() - 1)), (0, Some(0))] {
        disk.remove_file(&name);
        let mut bytes = whole.clone();
        if let Some(at @ 1..) = there {
            bytes[at] ^= 1;
        }
        let mut file = disk.files().create(&name).unwrap();
        file.append(&bytes).unwrap();
        if there.is_none() {
            disk.remove_file(&name);
        }
        let house = house_on(&disk, &key, Some(&documents_kept), 1_000).await;
        swept(&house).await;
        assert_eq!(documents(&house), kept, "{there:?}");
        house.engine.stop().await;
        if there.is_none() {
            drop(disk.files().create(&name).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dossier_that_cannot_be_read_stays_and_keeps_no_other_from_its_archive() {
    for damage in ["a record", "a document"] {
        let (disk, key) = (Disk::new(), node_key());
        let house = house_on(&disk, &key, None, 1_000).await;
        let document = fill(&house).await;
        let (rotten, other) = if damage == "a record" { (code(2), code(1)) } else { (code(1), code(2)) };
        if damage == "a record" {
            rot(&disk, rotten.as_str());
        } else {
            // It opens, and cannot be read.
            let path = find_document(&house, document.id);
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        }
        for left in [1, 0] {
            let archived = archive(&house, 30).await.unwrap();
            assert_eq!(archived.archived, left, "{damage}");
            assert!(!disk.names().iter().any(|name| name.ends_with(TEMPORARY)), "{damage}: {:?}", disk.names());
        }
        let store = house.engine.store();
        assert!(store.archived(&other).await.unwrap().is_some(), "{damage}");
        assert!(store.archived(&rotten).await.unwrap().is_none(), "{damage}");
        house.engine.stop().await;
    }
}

/// Spoils the first record that names a dossier.
fn rot(disk: &Disk, code: &str) {
    for name in disk.names() {
        let at = disk.contents(&name).windows(code.len()).position(|bytes| bytes == code.as_bytes());
        if let Some(at) = at {
            disk.tamper(&name, |bytes| bytes[at] ^= 1);
            return;
        }
    }
    panic!("{code} is nowhere");
}

fn find_document(house: &House, id: u64) -> std::path::PathBuf {
    let groups = std::fs::read_dir(house.folder().join("documents/whole")).unwrap();
    let files = groups.flat_map(|group| std::fs::read_dir(group.unwrap().path()).unwrap());
    let mut files = files.map(|file| file.unwrap().path());
    let path = files.next().unwrap();
    assert!(files.next().is_none(), "document {id} is the only one");
    path
}

/// A folder in which the node is told to stop when an archive has just got its name.
struct StoppedAtTheName {
    files: Arc<dyn Files>,
    stop: CancellationToken,
}

impl Files for StoppedAtTheName {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn lgsp_journal::files::AppendFile>> {
        self.files.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
        self.files.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.stop.cancel();
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.files.sync_dir()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_is_not_kept_by_an_archive_that_is_read_back() {
    let (disk, key, stop) = (Disk::new(), node_key(), CancellationToken::new());
    let files = StoppedAtTheName { files: disk.files(), stop: stop.clone() };
    let house = house_with(&disk, &key, None, 1_000, Arc::new(files)).await;
    fill(&house).await;
    let order = Order { gently: false, ..Order::of_the_gateway(30) };
    assert_eq!(house.engine.archive(&order, &stop, &|_| ()).await.unwrap().archived, 0);
    assert!(stop.is_cancelled());
    assert!(!disk.names().iter().any(|name| name.starts_with("archive-")), "{:?}", disk.names());
    assert_eq!(archive(&house, 30).await.unwrap().archived, 2);
    house.engine.stop().await;
}

#[test]
fn what_is_read_is_heard_to_stop() {
    let stop = CancellationToken::new();
    let mut heard = Heard { of: &b"two"[..], stop: stop.clone() };
    heard.read_exact(&mut [0; 1]).unwrap();
    stop.cancel();
    assert!(heard.read_exact(&mut [0; 1]).is_err());
}

#[test]
fn a_record_takes_few_dossiers_and_fewer_that_weigh_much() {
    let together = |weights: &[usize]| {
        let dossiers: Vec<_> = (1..)
            .zip(weights)
            .map(|(number, weight)| Kept { code: code(number), sequence: 1, queries: 0, weight: *weight })
            .collect();
        recorded_together(&dossiers).map(<[Kept]>::len).collect::<Vec<_>>()
    };
    assert_eq!(together(&[1; 60]), [25, 25, 10]);
    assert_eq!(together(&[1_000, 1_000, 1, 5_000, 1, 1_999, 1]), [2, 1, 1, 2, 1]);
    assert!(together(&[]).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_at_once_that_another_run_is_under_way() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    fill(&house).await;
    let ordered = Order { party: Some(sample::party(PORTAL)), gently: false, ..Order::of_the_gateway(30) };
    let refused = std::sync::Mutex::new(None);
    let told = |_: &Progress| {
        let (handle, stop) = (tokio::runtime::Handle::current(), CancellationToken::new());
        let second = house.engine.archive(&ordered, &stop, &|_| ());
        let second = tokio::task::block_in_place(|| {
            handle.block_on(async { tokio::time::timeout(Duration::from_secs(20), second).await.unwrap() })
        });
        *refused.lock().unwrap() = Some(second.unwrap_err());
    };
    let order = Order { gently: false, ..Order::of_the_gateway(30) };
    house.engine.archive(&order, &CancellationToken::new(), &told).await.unwrap();
    let refused = refused.into_inner().unwrap().unwrap();
    assert_eq!((refused.reason(), refused.details()["cause"].as_str()), (Reason::Overloaded, "archive_run"));
    house.engine.archive(&ordered, &CancellationToken::new(), &|_| ()).await.unwrap();
    house.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_a_dossier_while_it_is_archived_is_told_where_it_is() {
    let (disk, key) = (Disk::new(), node_key());
    let house = house_on(&disk, &key, None, 1_000).await;
    let document = fill(&house).await;
    let (engine, party) = (&house.engine, "H99.VH".parse().unwrap());
    let authorized = engine.authorize(&house.peer("van-hanh"), &party).unwrap();
    // What the first read of each finds, and then it is archived.
    let before = engine.store().dossier(&code(1)).await.unwrap().unwrap();
    let all = engine.events_of(&authorized, Arc::clone(&before), 0, Bodies::Without).await.unwrap();
    assert_eq!(all.events.len(), 2);
    assert_eq!(archive(&house, 30).await.unwrap().archived, 2);
    for after in [0, 1] {
        let view = engine.events_of(&authorized, Arc::clone(&before), after, Bodies::Without).await;
        assert_eq!(view.unwrap_err().reason(), Reason::DossierArchived, "after {after}");
    }
    let meta = engine.attached_document(&authorized, &code(1), document.id).await;
    assert_eq!(meta.unwrap_err().reason(), Reason::DossierArchived);
    let lost = UploadError::Io(io::ErrorKind::NotFound.into());
    let refused = engine.cannot_be_opened(&authorized, &code(1), document.key_id, lost).await.unwrap();
    assert_eq!(refused.reason(), Reason::DossierArchived);
    house.engine.stop().await;
}
