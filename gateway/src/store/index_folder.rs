//! The folder that sled lives in: opening it, distrusting it, moving it aside.
//!
//! Owns everything that is known about sled as a file format: its settings, its mark, its checkpoints. sled's own
//! `flush()` does not survive a power cut (it never calls fsync), so a checkpoint is `flush()` and then a sync of the
//! whole file system; and whatever sled says when it is opened is checked against a note beside it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use lgsp_journal::{JournalId, Position};
use lgsp_proto::store_v1;
use prost::Message;

use super::ReadError;
use super::codec::FORMAT;
use super::keys::{self, Key};
use super::overlay::{Base, Entries, Read};

/// What sled may keep in memory. The index is small state; the page cache does the rest.
const CACHE_BYTES: u64 = 16 << 20;

/// Entries between two reports of how many have been read.
const REPORT_EVERY: u64 = 50_000;

/// How many indexes that were moved aside are kept.
const KEPT_ASIDE: u32 = 3;

/// How long a store that was closed may take to let go of the index; usually it is milliseconds.
const LET_GO_WITHIN: Duration = Duration::from_secs(30);

/// Where the index is, beside the journal it is of.
#[derive(Clone, Debug)]
pub(super) struct IndexFolder {
    data: PathBuf,
    journal: JournalId,
}

/// The index as sled keeps it.
#[derive(Clone)]
pub(super) struct Sled(::sled::Db);

/// The index failed. Nothing is lost: it is made from the journal.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// sled said so.
    #[error("sled failed: {0}")]
    Sled(#[from] ::sled::Error),
    /// The file system said so.
    #[error("the folder of the index failed: {0}")]
    Io(#[from] io::Error),
    /// Another process, or a part of this one that is still closing, has it open.
    #[error("the index is open elsewhere")]
    Locked(#[source] io::Error),
    /// It can be opened and is not what it should be.
    #[error("{0}")]
    Distrusted(String),
    /// It cannot be read back.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl IndexFolder {
    /// The index of `journal` in the folder `data`.
    pub(super) fn new(data: &Path, journal: JournalId) -> Self {
        Self { data: data.to_owned(), journal }
    }

    /// Opens sled, beginning an empty index if there is none, and answers the last record it holds in full. Every entry is read
    /// first; `told` how many have been.
    ///
    /// # Errors
    /// [`IndexError::Locked`], and otherwise: it does not open, belongs to another journal or another form of the index, or holds less than its checkpoint or more
    /// than the journal's `durable` position: it is of no use, and [`IndexFolder::move_aside`] is next.
    pub(super) fn open(&self, durable: Position, told: &dyn Fn(u64)) -> Result<(Sled, Position), IndexError> {
        // sled may panic over a file that it does not understand, e.g. after a power cut.
        let opened = catch_unwind(AssertUnwindSafe(|| self.open_sled(told)));
        let (index, mark) = opened.map_err(|_| IndexError::Distrusted("sled panicked while opening".to_owned()))??;
        let noted = self.checkpoint();
        let applied = match mark {
            None if noted.is_none() && index.0.is_empty() => Position::ORIGIN,
            None => return Err(IndexError::Distrusted("the index has lost its mark".to_owned())),
            Some(mark) => self.trusted(&mark, "index")?,
        };
        if let Some(noted) = noted {
            let noted = self.trusted(&noted?, "checkpoint")?;
            if applied < noted {
                let what = format!("the index holds records up to {applied}, but its checkpoint says {noted}");
                return Err(IndexError::Distrusted(what));
            }
        }
        if applied > durable {
            let what = format!("the index holds records up to {applied}, but the journal ends at {durable}");
            return Err(IndexError::Distrusted(what));
        }
        Ok((index, applied))
    }

    fn open_sled(&self, told: &dyn Fn(u64)) -> Result<(Sled, Option<store_v1::Applied>), IndexError> {
        self.wait_until_let_go()?;
        let config = ::sled::Config::default()
            .path(self.path())
            .cache_capacity(CACHE_BYTES)
            .mode(::sled::Mode::HighThroughput)
            // Checkpoints are ours: a flush behind our back costs time and promises nothing.
            .flush_every_ms(None);
        let index = config.open().map_err(|error| match error {
            // sled has no error of its own for this.
            ::sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
                IndexError::Locked(error)
            }
            error => error.into(),
        })?;
        // After a kill sled may open and still have pages that it cannot read. Whoever met one later would get an error, and
        // another start would not help; found here, the index is made again.
        let mut entries = 0;
        for entry in index.iter() {
            entry?;
            entries += 1;
            if entries % REPORT_EVERY == 0 {
                told(entries);
            }
        }
        if entries % REPORT_EVERY > 0 {
            told(entries);
        }
        let mark = match index.get(keys::Applied.encode())? {
            Some(mark) => Some(store_v1::Applied::decode(&mark[..]).map_err(|error| unreadable("index", &error))?),
            None => None,
        };
        Ok((Sled(index), mark))
    }

    /// Waits until a store of this process that was just closed has let go of the index.
    ///
    /// sled ends some of its work after its last handle is dropped, and holds its lock until then. Other processes are kept out
    /// by the journal's lock, so whoever has this one is on its way out.
    fn wait_until_let_go(&self) -> Result<(), IndexError> {
        let file = match File::open(self.path().join("db")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (told, wait) = mpsc::channel();
        // A lock cannot be waited for with a limit, but a thread that does can.
        std::thread::Builder::new().name("lgsp-index-lock".to_owned()).spawn(move || {
            // Let go of at once: sled takes it itself.
            let _ = told.send(file.lock().and_then(|()| file.unlock()));
        })?;
        match wait.recv_timeout(LET_GO_WITHIN) {
            Ok(locked) => Ok(locked?),
            Err(_) => Err(IndexError::Locked(io::Error::from(io::ErrorKind::TimedOut))),
        }
    }

    /// Gives the index another name, so that an empty one can begin, and answers that name. Of these, a few are kept for
    /// whoever wants to know what happened; the last name is used again.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn move_aside(&self) -> io::Result<PathBuf> {
        let mut aside = self.data.join("index.damaged-1");
        for number in 2..=KEPT_ASIDE {
            if !aside.try_exists()? {
                break;
            }
            aside = self.data.join(format!("index.damaged-{number}"));
        }
        if aside.try_exists()? {
            fs::remove_dir_all(&aside)?;
        }
        fs::rename(self.path(), &aside)?;
        // The note last: without its index it only makes the next start try again, the other way round would hide a loss.
        match fs::remove_file(self.note()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::open(&self.data)?.sync_all()?;
        Ok(aside)
    }

    /// Whether there is an index at all.
    pub(super) fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Notes that the index is durable up to `applied`.
    ///
    /// # Errors
    /// The file system refuses; the older note may stand.
    pub(super) fn note_checkpoint(&self, applied: Position) -> io::Result<()> {
        let temporary = self.data.join("index.checkpoint.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&self.mark(applied))?;
        file.sync_all()?;
        fs::rename(&temporary, self.note())?;
        File::open(&self.data)?.sync_all()
    }

    /// How an index up to `applied` is marked.
    pub(super) fn mark(&self, applied: Position) -> Vec<u8> {
        let mark = store_v1::Applied { format: FORMAT, journal: self.journal.0.to_vec(), position: applied.0 };
        mark.encode_to_vec()
    }

    /// The last checkpoint, if one was noted.
    fn checkpoint(&self) -> Option<Result<store_v1::Applied, IndexError>> {
        match fs::read(self.note()) {
            Ok(bytes) => Some(store_v1::Applied::decode(&bytes[..]).map_err(|error| unreadable("checkpoint", &error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    fn trusted(&self, mark: &store_v1::Applied, whose: &str) -> Result<Position, IndexError> {
        if mark.format != FORMAT {
            return Err(IndexError::Distrusted(format!("the {whose} has form {}, not {FORMAT}", mark.format)));
        }
        if mark.journal != self.journal.0 {
            return Err(IndexError::Distrusted(format!("the {whose} belongs to another journal")));
        }
        Ok(Position(mark.position))
    }

    fn path(&self) -> PathBuf {
        self.data.join("index")
    }

    fn note(&self) -> PathBuf {
        self.data.join("index.checkpoint")
    }
}

fn unreadable(whose: &str, error: &prost::DecodeError) -> IndexError {
    IndexError::Distrusted(format!("the mark of the {whose} cannot be read: {error}"))
}

impl fmt::Debug for Sled {
    /// Without its contents, which sled itself would print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sled(..)")
    }
}

impl Sled {
    /// Whether nothing was ever written to it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes `changes` and the mark, all or nothing; durable with the next checkpoint.
    ///
    /// # Errors
    /// sled failed. The index must not be written to any more.
    pub(super) fn write<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
        mark: Option<Vec<u8>>,
    ) -> Result<(), IndexError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&key[..], &value[..]),
                None => batch.remove(&key[..]),
            }
        }
        if let Some(mark) = mark {
            batch.insert(keys::Applied.encode(), mark);
        }
        Ok(self.0.apply_batch(batch)?)
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// sled or the file system failed; nothing may be assumed about what was written since the last success.
    pub(super) fn make_durable(&self, folder: &IndexFolder) -> Result<(), IndexError> {
        self.0.flush()?;
        // sled writes its larger values to files of their own that it never syncs; this reaches them all.
        rustix::fs::syncfs(File::open(folder.path())?).map_err(io::Error::from)?;
        Ok(())
    }
}

impl Read for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let value = self.0.get(key).map_err(|error| ReadError::Engine(error.into()))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }
}

impl Base for Sled {
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Entries, ReadError> {
        let entry = |entry: Result<(::sled::IVec, ::sled::IVec), ::sled::Error>| {
            let (key, value) = entry.map_err(|error| ReadError::Engine(error.into()))?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        };
        self.0.range(from..to).take(limit).map(entry).collect()
    }
}
