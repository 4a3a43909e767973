//! Opening: the journal first, then the index, then what the index lacks.
//!
//! An index that does not open, or that is not of this journal, is moved aside and made again. A journal that does not open
//! is never touched: that is for an operator, with `lgsp fsck` saying where.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use lgsp_journal::group::{self, GroupCommit};
use lgsp_journal::room::Room;
use lgsp_journal::seal::{KeyRing, NodeKey};
use lgsp_journal::{Files, Opened, Position, Recovered};

use super::super::data_folder::{self, FolderError};
use super::super::follower::Follower;
use super::super::index_folder::{IndexError, IndexFolder, Sled};
use super::super::overlay::Change;
use super::super::snapshot::{Photographer, Snapshots};
use super::super::*;
use super::SledStore;
use super::committing::{Inner, Pending, Projector};

/// Records between two reports of progress.
const REPORT_EVERY: u64 = 5_000;

/// Entries of a snapshot that are written at a time. They come in the order of their keys, which sled takes in larger batches
/// than scattered ones.
const LOAD_PART: usize = 512;

/// Entries of a snapshot between two reports of progress.
const LOAD_REPORT_EVERY: u64 = 50_000;

/// Where a store is and how it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder: `journal/`, `keys/`, `index/`. Created if missing.
    pub dir: PathBuf,
    /// The file of the node's key, under which the data keys are wrapped. Created if missing.
    pub node_key: PathBuf,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of a store.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Commits that may wait for the committer; the next one is told [`CommitError::Full`].
    pub queue: usize,
    /// Where a segment of the journal ends, in bytes.
    pub segment_bytes: u64,
    /// Records between two snapshots of the index, at least.
    pub snapshot_every: u64,
    /// What must stay free of the disk, or nothing new is written; 0 for as much as there is.
    pub min_free_bytes: u64,
}

/// Records between two snapshots, at least: few enough to replay at a start, many enough that a province writes the file a few
/// times a day.
const SNAPSHOT_EVERY: u64 = 20_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 8_192,
            segment_bytes: lgsp_journal::DEFAULT_SEGMENT_BYTES,
            snapshot_every: SNAPSHOT_EVERY,
            min_free_bytes: 0,
        }
    }
}

/// How opening goes on, for whoever waits.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The journal is open.
    JournalOpened {
        /// Its last durable record.
        durable: u64,
        /// Records after the last known durable one that were found whole, copied and synced.
        copied: u64,
        /// Bytes of an unfinished write that were left behind.
        torn_bytes: u64,
    },
    /// The index is read whole before anybody relies on it.
    IndexRead {
        /// Entries read so far.
        entries: u64,
    },
    /// The index was of no use and is made again from the journal.
    Rebuilding {
        /// Why.
        why: String,
        /// What became of the old one.
        aside: PathBuf,
    },
    /// A snapshot is of no use; an older one is tried, or the journal is read from its beginning.
    SnapshotPassedOver {
        /// The record it was taken at.
        position: u64,
        /// Why.
        why: String,
    },
    /// The index is made from a snapshot.
    SnapshotLoaded {
        /// The record it was taken at: only later ones are read from the journal.
        position: u64,
        /// Entries taken from it so far.
        entries: u64,
        /// Entries it has.
        of: u64,
    },
    /// Erased dossiers are looked at again, for what a crash or a restored key has left of them.
    ErasuresChecked {
        /// Dossiers looked at so far.
        dossiers: u64,
    },
    /// Records that the index lacked have been applied.
    CatchingUp {
        /// The last applied record.
        applied: u64,
        /// The last one there is.
        durable: u64,
    },
}

/// Why the store does not open. Nothing was changed but leftovers of unfinished writes.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal does not open: it is damaged, or another process has it.
    #[error("the journal does not open")]
    Journal(#[from] lgsp_journal::OpenError),
    /// The keys do not open.
    #[error("the keys do not open")]
    Keys(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The data folder cannot be used, or another process has it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A restore into the folder was begun and did not come to its end.
    #[error("{} is being restored: run `lgsp restore` again to its end, and see its file RESTORING", dir.display())]
    Restoring {
        /// The data folder.
        dir: PathBuf,
    },
    /// There is no thread to be had.
    #[error("no thread could be started")]
    Thread(#[source] io::Error),
    /// The journal contradicts itself; `lgsp fsck` locates it.
    #[error(transparent)]
    Damaged(#[from] ReadError),
}

/// The parts of a data folder.
struct Parts<'a> {
    journal: Arc<dyn Files>,
    snapshots: Arc<dyn Files>,
    keys: KeyRing,
    dir: &'a Path,
    limits: Limits,
    room: Arc<Room>,
}

impl SledStore {
    /// Opens the store in a data folder, recovering the journal and catching up the index.
    ///
    /// Blocks; `progress` is told how far it has come.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: &Options, progress: impl Fn(Progress)) -> Result<Self, OpenError> {
        if options.dir.join(crate::backup::MARKER).exists() {
            return Err(OpenError::Restoring { dir: options.dir.clone() });
        }
        Self::open_marked(options, progress)
    }

    /// As [`SledStore::open`], for the restore that has marked the folder.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open_marked(options: &Options, progress: impl Fn(Progress)) -> Result<Self, OpenError> {
        // First of all: on a full disk the rest needs what this gives up.
        let room = Room::reserve(&options.dir, options.limits.min_free_bytes);
        let room = room.map_err(|source| FolderError::Io { folder: options.dir.clone(), source })?;
        // The journal's lock keeps every other process out of the whole data folder.
        let journal = data_folder::hold(&options.dir, data_folder::JOURNAL)?;
        let keys = data_folder::hold(&options.dir, data_folder::KEYS)?;
        let snapshots = data_folder::hold(&options.dir, data_folder::SNAPSHOTS)?;
        let node_key = NodeKey::load_or_create(&options.node_key).map_err(|error| OpenError::Keys(error.into()))?;
        let keys = KeyRing::open(keys, &node_key).map_err(|error| OpenError::Keys(error.into()))?;
        Self::open_parts(
            Parts { journal, snapshots, keys, dir: &options.dir, limits: options.limits, room: Arc::new(room) },
            &progress,
        )
    }

    /// Opens a store whose journal, snapshots and keys are on disks of a test's making; the index is in the folder `dir`.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[cfg(feature = "test-util")]
    pub fn open_on(
        journal: Arc<dyn Files>,
        keys: Arc<dyn Files>,
        node_key: &NodeKey,
        dir: &Path,
        limits: Limits,
        progress: impl Fn(Progress),
    ) -> Result<Self, OpenError> {
        let keys = KeyRing::open(keys, node_key).map_err(|error| OpenError::Keys(error.into()))?;
        // The snapshots keep to names of their own.
        let snapshots = Arc::clone(&journal);
        let room = Arc::new(Room::watch(dir, limits.min_free_bytes));
        Self::open_parts(Parts { journal, snapshots, keys, dir, limits, room }, &progress)
    }

    fn open_parts(parts: Parts<'_>, progress: &dyn Fn(Progress)) -> Result<Self, OpenError> {
        let options = lgsp_journal::Options { segment_bytes: parts.limits.segment_bytes };
        let journal = lgsp_journal::open(parts.journal, options)?;
        let Recovered { copied, torn_bytes, .. } = journal.recovered;
        progress(Progress::JournalOpened { durable: journal.reader.durable().0, copied, torn_bytes });
        let snapshots = Snapshots::new(parts.snapshots, journal.reader.clone());
        if let Err(error) = snapshots.tidy() {
            tracing::warn!(%error, "the folder of snapshots cannot be tidied");
        }
        let at = Where {
            folder: IndexFolder::new(parts.dir, journal.reader.journal()),
            snapshots,
            limits: parts.limits,
            room: Arc::clone(&parts.room),
        };
        let (index, projector, follower) = open_index(parts.dir, &at, &journal, progress)?;
        let hook = Arc::clone(&projector);
        let limits = group::Limits { queue_records: parts.limits.queue, ..group::Limits::default() };
        let committer =
            GroupCommit::start(journal.writer, limits, move |batch: &[(Position, Pending)]| hook.apply(batch))
                .map_err(OpenError::Thread)?;
        let inner = Inner {
            reader: journal.reader,
            keys: Arc::new(parts.keys),
            preparing: Default::default(),
            index,
            follower,
            journal: committer.handle(),
            committer: Mutex::new(Some(committer)),
            claims: Default::default(),
            counters: Default::default(),
            projector,
            room: parts.room,
        };
        inner.finish_erasures(progress).map_err(|error| OpenError::Keys(error.into()))?;
        inner.finish_lapses().map_err(|error| OpenError::Keys(error.into()))?;
        // While there is room, what the next opening may need is set aside.
        let _ = inner.room.for_more();
        Ok(Self { inner: ArcSwapOption::from_pointee(inner) })
    }
}

/// What stands between the journal and its readers.
type Index = (Sled, Arc<Projector>, Arc<Follower>);

/// Where the index is, what helps to make it again, and how often that is taken.
struct Where {
    folder: IndexFolder,
    snapshots: Snapshots,
    limits: Limits,
    room: Arc<Room>,
}

/// Opens the index and brings it up to the journal; if that cannot be done, makes it again.
fn open_index(dir: &Path, at: &Where, journal: &Opened, progress: &dyn Fn(Progress)) -> Result<Index, OpenError> {
    let in_the_folder = |source| OpenError::Folder(FolderError::Io { folder: dir.to_owned(), source });
    let (mut with_snapshots, mut made_again) = (true, false);
    loop {
        let why = match caught_up(at, journal, with_snapshots, progress) {
            Ok(index) => return Ok(index),
            Err(NotCaughtUp::Locked(source)) => return Err(in_the_folder(source)),
            Err(NotCaughtUp::Thread(source)) => return Err(OpenError::Thread(source)),
            Err(NotCaughtUp::Record(error)) => return Err(error.into()),
            // An index made of nothing but the journal cannot be wrong about the past, so the journal contradicts itself.
            Err(NotCaughtUp::New(why)) => return Err(ReadError::Damaged(why).into()),
            Err(NotCaughtUp::FromSnapshot(why)) => {
                with_snapshots = false;
                why
            }
            // Not even an empty one opens.
            Err(NotCaughtUp::Index(why)) if made_again => return Err(ReadError::Damaged(why).into()),
            Err(NotCaughtUp::Index(why)) => why,
        };
        made_again = true;
        let aside = at.folder.move_aside().map_err(in_the_folder)?;
        progress(Progress::Rebuilding { why, aside });
    }
}

/// Why an index is not where the journal is.
enum NotCaughtUp {
    /// It is open elsewhere and not ours to move.
    Locked(io::Error),
    /// There is no thread for it.
    Thread(io::Error),
    /// It cannot be trusted, or failed on the way, or a record contradicts it.
    Index(String),
    /// The same, of one that was just made from a snapshot.
    FromSnapshot(String),
    /// The same, of one that was just begun.
    New(String),
    /// A record cannot be read. No other index would help.
    Record(ReadError),
}

fn caught_up(
    at: &Where,
    journal: &Opened,
    with_snapshots: bool,
    progress: &dyn Fn(Progress),
) -> Result<Index, NotCaughtUp> {
    let durable = journal.reader.durable();
    let Where { folder, snapshots, limits, room } = at;
    let (index, mut applied) = folder.open(durable, &|entries| progress(Progress::IndexRead { entries })).map_err(
        |failure| match failure {
            IndexError::Locked(error) => NotCaughtUp::Locked(error),
            failure => NotCaughtUp::Index(failure.to_string()),
        },
    )?;
    let is_new = index.is_empty();
    let photographer = Photographer::new(snapshots.clone(), limits.snapshot_every, Arc::clone(room));
    let follower = Follower::start(index.clone(), folder.clone(), applied, Some(photographer));
    let follower = Arc::new(follower.map_err(NotCaughtUp::Thread)?);
    let mut blame: fn(String) -> NotCaughtUp = if is_new { NotCaughtUp::New } else { NotCaughtUp::Index };
    if is_new
        && with_snapshots
        && let Some(position) = load(snapshots, &follower, progress)?
    {
        applied = position;
        blame = NotCaughtUp::FromSnapshot;
    }
    let replayed = catch_unwind(AssertUnwindSafe(|| {
        let projector =
            Projector::new(index.clone(), Arc::clone(&follower)).map_err(|error| blame(error.to_string()))?;
        for record in journal.reader.replay(applied.next()) {
            let (position, bytes) = record.map_err(|error| NotCaughtUp::Record(records::journal_failed(error)))?;
            let (_, fact) = records::decode(position, &bytes).map_err(NotCaughtUp::Record)?;
            projector
                .project(position, &fact)
                .map_err(|contradiction| blame(format!("record {position}: {contradiction}")))?;
            if follower.has_failed() {
                return Err(blame("sled failed while it was catching up".to_owned()));
            }
            if (position.0 - applied.0) % REPORT_EVERY == 0 || position == durable {
                progress(Progress::CatchingUp { applied: position.0, durable: durable.0 });
            }
        }
        Ok(projector)
    }));
    let projector = replayed.map_err(|_| blame("sled panicked".to_owned()))??;
    follower.opened();
    Ok((index, Arc::new(projector), follower))
}

/// Fills an empty index from the newest snapshot that can be used, and answers the record it was taken at; nothing if there is
/// none. The mark comes with the last part, so an index that is only half filled is known as such and made again.
fn load(
    snapshots: &Snapshots,
    follower: &Follower,
    progress: &dyn Fn(Progress),
) -> Result<Option<Position>, NotCaughtUp> {
    let positions = snapshots.positions().unwrap_or_else(|error| {
        tracing::warn!(%error, "the folder of snapshots cannot be read");
        Vec::new()
    });
    for position in positions {
        let snapshot = match snapshots.open(position) {
            Ok(snapshot) => snapshot,
            Err(why) => {
                progress(Progress::SnapshotPassedOver { position: position.0, why: why.to_string() });
                continue;
            }
        };
        let told = |entries| {
            progress(Progress::SnapshotLoaded { position: position.0, entries, of: snapshot.entries });
        };
        let mut loaded = 0;
        let mut part = Vec::with_capacity(LOAD_PART);
        for entry in snapshot.entries() {
            let (key, value) = entry.map_err(|why| NotCaughtUp::FromSnapshot(why.to_string()))?;
            part.push(Change { key, value: Some(value) });
            loaded += 1;
            if part.len() == LOAD_PART {
                follower.load(std::mem::take(&mut part), None);
            }
            if loaded % LOAD_REPORT_EVERY == 0 {
                told(loaded);
            }
        }
        follower.load(part, Some(position));
        told(loaded);
        return Ok(Some(position));
    }
    Ok(None)
}
