//! Backups and restores of a data folder, as a program uses them.
#![cfg(feature = "test-util")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lgsp_certs::tls::certificates_in;
use lgsp_certs::{CertificateAuthority, Issued, server_name};
use lgsp_domain::numbering::LAST_NUMBER;
use lgsp_gateway::backup::{
    BeginError, Care, Manifest, Ordered, RestoreError, Restored, Sources, Taken, restore, take, verify,
};
use lgsp_gateway::config::Config;
use lgsp_gateway::store::contract::sample::{self, AUTHORITY, DAY, opened, party};
use lgsp_gateway::store::sled::{Limits, OpenError, Options, SledStore};
use lgsp_gateway::store::{Bodies, Commit, OWN_NAME, RegistryRecord, Stage, Store};
use lgsp_journal::RealFiles;
use lgsp_journal::seal::{KeyId, KeyRing, NodeKey};
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::v1;
use tempfile::TempDir;

#[path = "../../tests/support/output.rs"]
mod output;

struct Place(TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        output::keep("backup", self.0.path());
    }
}

impl Place {
    fn new() -> Self {
        output::trace("backup");
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self) -> Config {
        let text = "name = \"bus.test\"\n[listen]\nlocal = \"127.0.0.1:0\"\n\
            [tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_bundle = \"b\"\n\
            [store]\ndir = \"data\"\nnode_key = \"node.key\"\n[documents]\ndir = \"documents\"\n\
            [business_clock]\nkind = \"replay\"\nstart = \"2025-07-14T08:00:00+07:00\"\n";
        Config::parse(text, self.0.path(), []).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn open(&self) -> Result<SledStore, OpenError> {
        let limits = Limits { segment_bytes: 4_000, ..Limits::default() };
        SledStore::open(&Options { dir: self.path("data"), node_key: self.path("node.key"), limits }, |_| ())
    }

    fn document(&self, name: &str, content: &[u8]) {
        let folder = self.path("documents/whole/00000000");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), content).unwrap();
    }

    fn backup(&self) -> Taken {
        self.backup_as(None)
    }

    fn backup_as(&self, node_key: Option<PathBuf>) -> Taken {
        let sources = Sources { data: self.path("data"), documents: self.path("documents"), node_key };
        take(&sources, &self.path("backup"), Care::Ordinary, SystemTime::now(), &|_| ()).unwrap()
    }

    fn backup_thoroughly(&self) -> Taken {
        let sources = Sources { data: self.path("data"), documents: self.path("documents"), node_key: None };
        take(&sources, &self.path("backup"), Care::Thorough, SystemTime::now(), &|_| ()).unwrap()
    }

    fn lose_everything(&self) {
        fs::remove_dir_all(self.path("data")).unwrap();
        let _ = fs::remove_dir_all(self.path("documents"));
    }

    fn ordered(&self) -> Ordered {
        Ordered {
            from: self.path("backup"),
            actor: "operator-1".parse().unwrap(),
            numbers_from: None,
            epoch: None,
            own_certificates: Vec::new(),
            now: SystemTime::now(),
        }
    }

    /// Restores on a thread of its own, as a command does.
    fn restore(&self) -> Result<Restored, RestoreError> {
        self.restore_as(&self.ordered())
    }

    fn restore_as(&self, ordered: &Ordered) -> Result<Restored, RestoreError> {
        std::thread::scope(|scope| scope.spawn(|| restore(ordered, &self.config(), &|_| ())).join().unwrap())
    }
}

async fn admit(store: &dyn Store, number: u32) {
    store.commit(Commit::Admission(Box::new(sample::admission(opened(number))))).await.unwrap();
}

/// How many of the dossiers 1, 2, 3 … are there, whole.
async fn dossiers(store: &dyn Store) -> u32 {
    for number in 1.. {
        match store.event(&sample::code(number), 1, Bodies::With).await.unwrap() {
            Some(event) => assert!(event.body.is_some(), "dossier {number} does not open"),
            None => return number - 1,
        }
    }
    unreachable!()
}

/// A restore whose books hold synthetic signatures ends with problems; whether the mark is left is another test's matter.
fn accept(place: &Place) {
    let _ = fs::remove_file(place.path("data/RESTORING"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_node_holds_everything_answered_before_it_began() {
    let place = Place::new();
    let store: Arc<SledStore> = Arc::new(place.open().unwrap());
    for number in 1..=20 {
        admit(&*store, number).await;
    }
    place.document("0000000000000001", b"sealed one");
    let writing = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 21..=300 {
                admit(&*store, number).await;
            }
        }
    });
    let mut last = Vec::new();
    while !writing.is_finished() {
        last.push(place.backup().manifest.last_position);
    }
    writing.await.unwrap();
    assert!(last[0] >= 20 && last.is_sorted(), "{last:?}");
    verify(&place.path("backup"), &|_| ()).unwrap();
    store.close().await;
    drop(store);

    let first = Manifest::load(&place.path("backup")).unwrap();
    place.lose_everything();
    let restored = place.restore().unwrap();
    assert_eq!((restored.epoch.number > 1, restored.epoch.lost.from), (true, 10_001));
    assert_eq!(restored.manifest, first);
    accept(&place);
    let store = place.open().unwrap();
    // One record a dossier, and one for the epoch.
    assert_eq!(u64::from(dossiers(&store).await), first.last_position);
    assert_eq!(store.epoch().await.unwrap(), restored.epoch.number);
    assert_eq!(store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap(), 10_001);
    assert_eq!(fs::read(place.path("documents/whole/00000000/0000000000000001")).unwrap(), b"sealed one");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_copies_only_what_is_new_and_lets_go_of_what_is_gone() {
    let place = Place::new();
    let store = place.open().unwrap();
    for number in 1..=30 {
        admit(&store, number).await;
    }
    place.document("0000000000000001", b"the first document");
    place.document("0000000000000002", b"the other document");
    let first = place.backup();
    assert_eq!(first.copied as usize, first.manifest.files.len());
    assert!(first.manifest.files.iter().filter(|entry| entry.path.ends_with(".seg")).count() > 3);
    assert_eq!(place.backup().copied, 0);
    admit(&store, 31).await;
    fs::remove_file(place.path("documents/whole/00000000/0000000000000002")).unwrap();
    let erased = first.manifest.files.iter().find(|entry| entry.path.ends_with("0000000000000002")).unwrap();
    assert!(erased.stored_in(&place.path("backup")).exists());
    let third = place.backup();
    assert!((1..=2).contains(&third.copied), "{} files copied", third.copied);
    assert!(!erased.stored_in(&place.path("backup")).exists(), "the backup keeps what was erased");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cas_have_revoked_comes_back_with_a_restore() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    store.close().await;
    drop(store);
    fs::create_dir(place.path("data/lists")).unwrap();
    for (name, text) in [("ca.pem", "whom a CA revoked"), ("ca.tmp", "what was being written")] {
        fs::write(place.path("data/lists").join(name), text).unwrap();
    }
    place.backup();
    place.lose_everything();
    place.restore().unwrap();
    assert_eq!(fs::read(place.path("data/lists/ca.pem")).unwrap(), b"whom a CA revoked");
    assert!(!place.path("data/lists/ca.tmp").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_destroyed_is_destroyed_in_the_next_backup_as_well() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    let (key, _) = store.new_key().await.unwrap();
    let before = place.backup().manifest;
    store.close().await;
    drop(store);
    let ring = || {
        let files = RealFiles::open(place.path("data/keys")).unwrap();
        KeyRing::open(Arc::new(files), &NodeKey::load(&place.path("node.key")).unwrap()).unwrap()
    };
    ring().destroy(KeyId(key)).unwrap();
    place.backup();
    let block = before.files.iter().find(|entry| entry.path.ends_with(".keys")).unwrap();
    assert!(!block.stored_in(&place.path("backup")).exists(), "the block with the key is still there");
    place.lose_everything();
    place.restore().unwrap();
    assert!(ring().get(KeyId(key)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_overwritten_and_no_gateway_starts_on_a_restore_that_was_interrupted() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    store.close().await;
    drop(store);
    place.backup();
    assert!(matches!(place.restore(), Err(RestoreError::NotEmpty { .. })), "the old folder is still there");
    place.lose_everything();

    // Interrupted at every file: what it leaves is marked, is never started on, and is begun anew.
    let files = Manifest::load(&place.path("backup")).unwrap().files.len();
    for stop_at in 1..=files {
        let copied = Cell::new(0);
        let interrupted = std::thread::scope(|scope| {
            let (ordered, config) = (place.ordered(), place.config());
            let copied = RefCell::new(copied);
            scope
                .spawn(move || {
                    restore(&ordered, &config, &|progress| {
                        if let lgsp_gateway::backup::Progress::Copied { .. } = progress {
                            let copied = copied.borrow();
                            copied.set(copied.get() + 1);
                            assert!(copied.get() < stop_at, "the power goes");
                        }
                    })
                })
                .join()
        });
        assert!(interrupted.is_err());
        assert!(matches!(place.open(), Err(OpenError::Restoring { .. })), "after {stop_at} files");
    }
    let restored = place.restore().unwrap();
    assert_eq!(restored.epoch.lost.from, 10_001, "no gateway has started on what was interrupted");
    accept(&place);
    let store = place.open().unwrap();
    assert_eq!(dossiers(&store).await, 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_that_is_run_with_another_documents_folder_removes_nothing_of_it() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    store.close().await;
    drop(store);
    place.document("0000000000000001", b"sealed one");
    place.backup();
    place.lose_everything();
    place.restore().unwrap();
    // Its books have problems, so its mark is left: as if it had been interrupted.
    assert!(place.path("data/RESTORING").exists());
    let theirs = place.path("others/whole/00000000/0000000000000001");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, b"another gateway's").unwrap();
    let mut config = place.config();
    config.documents.dir = place.path("others");
    let run = |config: &Config| {
        std::thread::scope(|scope| scope.spawn(|| restore(&place.ordered(), config, &|_| ())).join().unwrap())
    };
    let refused = run(&config).unwrap_err().to_string();
    assert_eq!(fs::read(&theirs).unwrap(), b"another gateway's");
    let own = place.path("documents");
    assert!(refused.contains(own.to_str().unwrap()), "{refused}");
    // A mark that an earlier version wrote, or half of one, does not say whose they are.
    fs::write(place.path("data/RESTORING"), "This data folder").unwrap();
    assert!(matches!(run(&config), Err(RestoreError::NotEmpty { .. })));
    assert!(matches!(run(&place.config()), Err(RestoreError::NotEmpty { .. })));
    assert_eq!(fs::read(&theirs).unwrap(), b"another gateway's");
    fs::remove_dir_all(own.join("whole")).unwrap();
    place.restore().unwrap();
    assert_eq!(fs::read(place.path("documents/whole/00000000/0000000000000001")).unwrap(), b"sealed one");
    // It says now whose they are.
    place.restore().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    store.close().await;
    drop(store);
    place.backup();
    place.lose_everything();
    fs::create_dir_all(place.path("documents")).unwrap();
    fs::write(place.path("documents/whole"), b"no folder").unwrap();
    assert!(matches!(place.restore(), Err(RestoreError::Io { path, .. }) if path == place.path("documents/whole")));
    assert!(!place.path("data").exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_changed_is_found_and_not_restored() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    store.close().await;
    drop(store);
    let taken = place.backup();
    place.lose_everything();
    for entry in &taken.manifest.files {
        let stored = entry.stored_in(&place.path("backup"));
        let bytes = fs::read(&stored).unwrap();
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        fs::write(&stored, &changed).unwrap();
        assert!(matches!(place.restore(), Err(RestoreError::Backup(_))), "{} was changed", entry.path);
        assert!(!place.path("data").exists());
        fs::write(&stored, bytes).unwrap();
    }
    verify(&place.path("backup"), &|_| ()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_key_travels_only_when_asked_for_and_nothing_is_restored_without_it() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    let without = place.backup();
    assert!(!without.manifest.files.iter().any(|entry| entry.path == "node.key"));
    store.close().await;
    drop(store);
    place.lose_everything();
    fs::rename(place.path("node.key"), place.path("kept.key")).unwrap();
    assert!(matches!(place.restore(), Err(RestoreError::NoNodeKey { .. })));
    assert!(!place.path("node.key").exists() && !place.path("data").exists());

    fs::rename(place.path("kept.key"), place.path("node.key")).unwrap();
    let first = place.restore().unwrap();
    accept(&place);
    place.backup_as(Some(place.path("node.key")));
    place.lose_everything();
    fs::remove_file(place.path("node.key")).unwrap();
    let restored = place.restore().unwrap();
    assert!(restored.epoch.number > first.epoch.number, "the second restore");
    assert_eq!(restored.epoch.lost.from, 20_001, "a further block");
    let mode = |path: &Path| std::os::unix::fs::MetadataExt::mode(&fs::metadata(path).unwrap()) & 0o777;
    assert_eq!(mode(&place.path("node.key")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_go_on_where_the_operator_says_but_never_below_what_is_known() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 41).await;
    store.close().await;
    drop(store);
    place.backup();
    place.lose_everything();
    for wrong in [41, 100_000] {
        let ordered = Ordered { numbers_from: Some(wrong), ..place.ordered() };
        assert!(
            matches!(place.restore_as(&ordered), Err(RestoreError::Epoch(BeginError::NoNumbers { known: 41, .. }))),
            "{wrong}"
        );
    }
    let now = SystemTime::now() + Duration::from_secs(1);
    place.restore_as(&Ordered { numbers_from: Some(42), now, ..place.ordered() }).unwrap();
    accept(&place);
    let store = place.open().unwrap();
    assert_eq!(store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap(), 42);
    store.close().await;
}

/// The number of the epoch and the first number it gives out.
async fn begun(place: &Place, restored: &Restored) -> (u32, u32) {
    accept(place);
    let store = place.open().unwrap();
    let number = store.take_number(&party(AUTHORITY), DAY, LAST_NUMBER).await.unwrap();
    assert_eq!(store.epoch().await.unwrap(), restored.epoch.number);
    store.close().await;
    (restored.epoch.number, number)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_backup_restored_twice_begins_two_epochs_that_share_no_number() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 41).await;
    store.close().await;
    drop(store);
    place.backup();
    let mut seen = Vec::new();
    for _ in 0..3 {
        place.lose_everything();
        let restored = place.restore().unwrap();
        seen.push(begun(&place, &restored).await);
    }
    assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "an adapter could not tell these epochs apart: {seen:?}");
    let numbers: Vec<u32> = seen.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [10_001, 20_001, 30_001]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_knows_nothing_of_a_later_restore_begins_a_later_epoch_all_the_same() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 41).await;
    store.close().await;
    drop(store);
    place.backup();
    fs::create_dir(place.path("older")).unwrap();
    copy_folder(&place.path("backup"), &place.path("older"));
    place.lose_everything();
    let first = place.restore().unwrap().epoch.number;
    place.lose_everything();
    let later = SystemTime::now() + Duration::from_secs(1);
    let ordered = Ordered { from: place.path("older"), now: later, ..place.ordered() };
    let second = place.restore_as(&ordered).unwrap().epoch.number;
    assert!(second > first, "{second} after {first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_note_can_be_left_the_operator_says_where_numbers_go_on() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 41).await;
    store.close().await;
    drop(store);
    place.backup();
    place.lose_everything();
    let note = place.path("backup/RESTORED");
    // What was noted is not believed once it was changed, and a folder that cannot be written takes no note.
    for unusable in ["changed", "not to be written"] {
        if unusable == "changed" {
            fs::write(&note, "lgsp-restores 1\n").unwrap();
        } else {
            fs::remove_file(&note).unwrap();
            fs::create_dir(place.path("backup/RESTORED.tmp")).unwrap();
        }
        assert!(matches!(place.restore(), Err(RestoreError::NoNote { .. })), "{unusable}");
        assert!(!place.path("data").exists(), "{unusable}");
    }
    let ordered = Ordered { numbers_from: Some(20_001), epoch: Some(7), ..place.ordered() };
    let restored = place.restore_as(&ordered).unwrap();
    assert_eq!(begun(&place, &restored).await, (7, 20_001));

    fs::remove_dir(place.path("backup/RESTORED.tmp")).unwrap();
    place.backup();
    place.lose_everything();
    let refused = place.restore_as(&Ordered { epoch: Some(7), ..place.ordered() });
    assert!(matches!(refused, Err(RestoreError::Epoch(BeginError::NoEpoch { epoch: 7, known: 7 }))), "{refused:?}");
    // A restore that was only tried, elsewhere, is nobody's: who knows that says so.
    let restored = place.restore_as(&place.ordered()).unwrap();
    assert_eq!(begun(&place, &restored).await.1, 30_001);
    place.lose_everything();
    let restored = place.restore_as(&Ordered { numbers_from: Some(30_001), ..place.ordered() }).unwrap();
    assert_eq!(begun(&place, &restored).await.1, 30_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_names_the_authorities_that_it_leaves_without_numbers_of_the_gateways() {
    let place = Place::new();
    let store = place.open().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("domain/tests/fixtures/registry");
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        // One leaves the gateway nothing of the zone, the other a single number.
        let own = |text: String, unit: &str, from: u32| {
            let desk = format!("unit = \"{unit}\", desk = true");
            text.replacen(&desk, &format!("{desk}, own_numbers_from = {from}"), 1)
        };
        let text = own(own(text, "99001", 10_001), "99002", 10_002);
        v1::RegistryFile { name: entry.file_name().into_string().unwrap(), content: text.into() }
    };
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(file).collect();
    let version = v1::RegistryVersion { number: 1, ..v1::RegistryVersion::default() };
    store.commit(Commit::Registry(RegistryRecord { version, files })).await.unwrap();
    store.close().await;
    drop(store);
    place.backup();
    place.lose_everything();
    let restored = place.restore().unwrap();
    assert_eq!((restored.epoch.lost.from, restored.without_numbers), (10_001, vec![party("H99.101")]));
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_rotted_in_the_backup_is_written_anew_by_whoever_reads_the_original() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    store.close().await;
    drop(store);
    let taken = place.backup();
    // What is read at every backup anyhow: the newest segment and the key blocks.
    let changing = taken.manifest.files.iter().filter(|entry| !entry.path.starts_with("documents/"));
    for entry in changing {
        rot(&entry.stored_in(&place.path("backup")));
        assert!(verify(&place.path("backup"), &|_| ()).is_err(), "{}", entry.path);
        assert_eq!(place.backup().copied, 1, "{}", entry.path);
        verify(&place.path("backup"), &|_| ()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rotted_unread_is_found_and_copied_again_by_a_thorough_backup() {
    let place = Place::new();
    let store = place.open().unwrap();
    for number in 1..=30 {
        admit(&store, number).await;
    }
    store.close().await;
    drop(store);
    place.document("0000000000000001", &[7; 20_000]);
    let taken = place.backup();
    let document = taken.manifest.files.iter().find(|entry| entry.path.starts_with("documents/")).unwrap();
    let segment = taken.manifest.files.iter().find(|entry| entry.path.ends_with(".seg")).unwrap();
    rot(&document.stored_in(&place.path("backup")));
    fs::remove_file(segment.stored_in(&place.path("backup"))).unwrap();
    assert_eq!(place.backup().copied, 1, "what is missing is seen at once");
    assert!(verify(&place.path("backup"), &|_| ()).is_err(), "only its middle is another one");
    assert_eq!(place.backup_thoroughly().copied, 1);
    assert_eq!(verify(&place.path("backup"), &|_| ()).unwrap().files, taken.manifest.files);
    assert_eq!(place.backup_thoroughly().copied, 0);
}

/// One bit in the middle of a file is another one.
fn rot(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_restores_at_once_one_is_turned_away_and_the_other_is_whole() {
    let place = Place::new();
    let store = place.open().unwrap();
    for number in 1..=20 {
        admit(&store, number).await;
    }
    store.close().await;
    drop(store);
    place.backup();
    place.lose_everything();
    fs::create_dir(place.path("copy")).unwrap();
    copy_folder(&place.path("backup"), &place.path("copy"));
    let (config, ordered) = (place.config(), place.ordered());
    let of_the_copy = Ordered { from: place.path("copy"), ..place.ordered() };
    let (first, refused) = std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            let refused = RefCell::new(Vec::new());
            // In the middle of its copying others begin, of the same backup and of another.
            let restored = restore(&ordered, &config, &|progress| {
                if let lgsp_gateway::backup::Progress::Copied { files: 2, .. } = progress {
                    for other in [&ordered, &of_the_copy] {
                        let second = std::thread::scope(|scope| {
                            scope.spawn(|| restore(other, &config, &|_| ())).join().unwrap()
                        });
                        refused.borrow_mut().push(second.err());
                    }
                }
            });
            (restored, refused.take())
        });
        first.join().unwrap()
    });
    let in_use = |error: &Option<RestoreError>| match error {
        Some(RestoreError::InUse { folder }) => folder.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.iter().map(in_use).collect::<Vec<_>>(), [place.path("backup"), place.path("data")]);
    first.unwrap();
    accept(&place);
    let store = place.open().unwrap();
    assert_eq!(dossiers(&store).await, 20);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_been_taken_over_is_owed_again_after_a_restore() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    let taken = sample::acknowledgement(AUTHORITY, Stage::TakenOver, &[(1, 1)]);
    store.commit(Commit::Acknowledgement(taken)).await.unwrap();
    assert_eq!(store.backlog(&party(AUTHORITY)).await.unwrap().taken_over, 1);
    store.close().await;
    drop(store);
    place.backup();
    place.lose_everything();
    place.restore().unwrap();
    accept(&place);
    let store = place.open().unwrap();
    let backlog = store.backlog(&party(AUTHORITY)).await.unwrap();
    assert_eq!((backlog.waiting, backlog.taken_over), (1, 0));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_later_version_is_refused_as_such_and_left_alone() {
    let place = Place::new();
    let store = place.open().unwrap();
    admit(&store, 1).await;
    place.backup();
    let manifest = place.path("backup/MANIFEST");
    let later = fs::read_to_string(&manifest).unwrap().replacen("lgsp-backup 1", "lgsp-backup 2", 1);
    fs::write(&manifest, &later).unwrap();
    let said = verify(&place.path("backup"), &|_| ()).unwrap_err().to_string();
    assert_eq!(said, "it was written by a later version (form 2); use that one");
    let sources = Sources { data: place.path("data"), documents: place.path("documents"), node_key: None };
    let refused = take(&sources, &place.path("backup"), Care::Ordinary, SystemTime::now(), &|_| ());
    assert!(refused.unwrap_err().to_string().contains("written by a later version"), "it would be overwritten");
    store.close().await;
    drop(store);
    place.lose_everything();
    let refused = place.restore().unwrap_err().to_string();
    assert!(refused.contains("written by a later version"), "{refused}");
    assert!(!place.path("data").exists());
    assert_eq!(fs::read_to_string(&manifest).unwrap(), later);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_can_be_the_gateways_own_certificate_is_put_on_record_as_such() {
    let place = Place::new();
    let store: Arc<SledStore> = Arc::new(place.open().unwrap());
    let ca = CertificateAuthority::create(&place.path("ca"), &"bus.test".parse().unwrap(), SystemTime::now()).unwrap();
    let system = ca.issue_system(&"desk".parse().unwrap(), Duration::from_secs(86_400), SystemTime::now()).unwrap();
    system.write_to(&place.path("tls"), "desk").unwrap();
    // An agency's own CA names hosts, and no system: only the books tell whose it is.
    let issue = || ca.issue_server(&[server_name("gw.test").unwrap()], Duration::from_secs(86_400), SystemTime::now());
    let (others, own) = (issue().unwrap(), issue().unwrap());
    for (issued, stem) in [(&others, "others"), (&own, "own")] {
        issued.write_to(&place.path("tls"), stem).unwrap();
    }
    let certificate = |stem: &str| place.path("tls").join(format!("{stem}.pem"));
    let digest = |issued: &Issued| Sha256Digest::from(*issued.digest.as_bytes());
    let der = certificates_in(&certificate("others")).unwrap()[0].to_vec().into();
    let seen = Commit::Certificate { digest: digest(&others), der, system: "cong".into(), at: SystemTime::now() };
    store.commit(seen).await.unwrap();
    store.close().await;
    drop(store);
    place.backup();
    place.lose_everything();

    let given = |file: PathBuf| Ordered { own_certificates: vec![file], ..place.ordered() };
    for file in [certificate("desk"), place.path("node.key"), place.path("ca/ca.pem")] {
        let refused = place.restore_as(&given(file.clone()));
        assert!(matches!(refused, Err(RestoreError::OwnCertificate { .. })), "{}: {refused:?}", file.display());
        assert!(!place.path("data").exists(), "nothing was begun");
    }
    let refused = place.restore_as(&given(certificate("others")));
    assert!(matches!(refused, Err(RestoreError::OwnCertificate { .. })), "{refused:?}");
    assert!(matches!(place.open(), Err(OpenError::Restoring { .. })), "no gateway starts on it");

    // The CA keeps it in DER.
    let kept = place.path("own.der");
    fs::write(&kept, &certificates_in(&certificate("own")).unwrap()[0]).unwrap();
    place.restore_as(&given(kept)).unwrap();
    let store = place.open().unwrap();
    assert_eq!(store.certificate_holder(&digest(&own)).await.unwrap().as_deref(), Some(OWN_NAME));
    assert_eq!(store.certificate_holder(&digest(&others)).await.unwrap().as_deref(), Some("cong"));
    store.close().await;
}
