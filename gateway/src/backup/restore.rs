//! Restoring: a gateway's folders from a backup, as a new epoch of its books. All or nothing.
//!
//! A mark lies in the data folder from the first step to the last, and no gateway starts on a folder that has it. A restore
//! that was interrupted begins anew. What was admitted after the backup is not in it: the adapters still have it and send it
//! again, which the new epoch asks them to; what was given out meanwhile is not given out again (gateway/decisions/0015), and
//! neither is what an earlier restore of the same backup gave out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::ToSpan as _;
use jiff::civil::Date;
use lgsp_domain::registry::Registry;
use lgsp_journal::RealFiles;
use lgsp_proto::types::{ActorId, BusinessTime, PartyId};

use super::begun::Begun;
use super::epoch::{BeginError, Beginning, begin, days_at_risk};
use super::manifest::Manifest;
use super::own::OwnCertificate;
use super::take::private_file;
use super::{EPOCH_FILE, MARKER, Progress, VerifyError, copy_hashed, make_folder, sync_folder, verify, write_whole};
use crate::config::{BusinessClock, Config};
use crate::engine::clock::unix_seconds;
use crate::engine::registry::by_name;
use crate::store::data_folder::{self, CannotRead};
use crate::store::fsck::{self, fsck};
use crate::store::read_only::ReadOnly;
use crate::store::sled::{Limits, OpenError, Options, SledStore};
use crate::store::{CommitError, EpochStarted, Fact, ReadError, RegistryRecord, Store as _};

/// How far a replay's clock may be moved; it has nothing to do with the machine's.
const REPLAY_DAYS: i64 = 366;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The backup.
    pub from: PathBuf,
    /// Who restores.
    pub actor: ActorId,
    /// Where numbers go on; if not given, found from the books and from what was begun from this backup before. Whoever gives it
    /// answers for every earlier restore.
    pub numbers_from: Option<u32>,
    /// The number of the new epoch; if not given, the seconds since 1970, so that it is greater than that of any restore before,
    /// whichever backup that was of.
    pub epoch: Option<u32>,
    /// Certificates of the gateway's own that came into force after the backup, PEM or DER: what they signed counts again.
    pub own_certificates: Vec<PathBuf>,
    /// Now, by the machine clock.
    pub now: SystemTime,
}

/// A restore that came to its end.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// The new epoch, as it is recorded.
    pub epoch: EpochStarted,
    /// Every system that ever had something admitted: those whose spools may send again.
    pub systems: BTreeSet<String>,
    /// Authorities whose own range begins so low that the gateway has no number of theirs to give on the days concerned. They go
    /// on numbering themselves; for others the range has to begin higher in the registry, where none of its numbers is in use.
    pub without_numbers: Vec<PartyId>,
    /// What a check of the books found. When it is not sound, the mark is left: no gateway starts on the folder.
    pub report: fsck::Report,
}

/// Why nothing was restored, or not to the end. Unless it says otherwise the folders are as they were, or begun and marked:
/// run it again.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something already. Move it away; nothing is ever overwritten.
    #[error("{} is not empty", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// A restore that was interrupted had begun with another folder for the documents. Run it again with that one; what is in
    /// the other is not its own to remove.
    #[error("a restore had begun with the documents in {}", begun.display())]
    OtherDocuments {
        /// The folder of documents that it had begun with.
        begun: PathBuf,
    },
    /// The backup is not whole.
    #[error(transparent)]
    Backup(#[from] VerifyError),
    /// The node's key is neither in the backup nor where the configuration says. Without it nothing can be opened.
    #[error("there is no node key at {}, and none in the backup", path.display())]
    NoNodeKey {
        /// Where it should be.
        path: PathBuf,
    },
    /// Another restore is under way into the data folder, or from the backup; or a backup into it.
    #[error("{} is in use by another backup or restore", folder.display())]
    InUse {
        /// The folder of the data, or that of the backup.
        folder: PathBuf,
    },
    /// What was begun from the backup before cannot be read, or what is begun now could not be noted: the next restore would give
    /// the same numbers. Restore from a folder that can be written, or say where numbers go on.
    #[error("{} cannot be read and written", path.display())]
    NoNote {
        /// The note.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written, or a folder cannot be read.
    #[error("{} cannot be read and written", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The restored store does not open.
    #[error("the restored store does not open")]
    Store(#[from] OpenError),
    /// The restored store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new epoch could not be begun.
    #[error(transparent)]
    Epoch(#[from] BeginError),
    /// A certificate that was said to be the gateway's own cannot be, or cannot be told to be. Leave it out.
    #[error("{} {problem}", file.display())]
    OwnCertificate {
        /// The file.
        file: PathBuf,
        /// What is the matter with it.
        problem: String,
    },
    /// A certificate of the gateway's own could not be recorded.
    #[error("a certificate of the gateway's own could not be recorded")]
    NotOnRecord(#[source] CommitError),
    /// The books could not be checked.
    #[error("the restored books cannot be checked")]
    Check(#[from] CannotRead),
}

/// Restores a backup to where `config` says. Blocks; to be called without a gateway on the folders.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(ordered: &Ordered, config: &Config, progress: &dyn Fn(Progress)) -> Result<Restored, RestoreError> {
    let (data, documents) = (&config.store.dir, &config.documents.dir);
    let own = ordered.own_certificates.iter().map(|file| OwnCertificate::read(file)).collect::<Result<Vec<_>, _>>()?;
    let whole = documents.join("whole");
    if !data.join(MARKER).exists() {
        refuse_unless_empty(data)?;
        refuse_unless_empty(&whole)?;
    }
    let _alone = hold_backup(&ordered.from)?;
    let manifest = verify(&ordered.from, progress)?;
    let brings_key = manifest.files.iter().any(|entry| entry.path == "node.key");
    if !brings_key && !config.store.node_key.exists() {
        return Err(RestoreError::NoNodeKey { path: config.store.node_key.clone() });
    }
    let begun = match Begun::load(&ordered.from) {
        Ok(begun) => Some(begun),
        // Who says where numbers go on knows of every restore before.
        Err(_) if ordered.numbers_from.is_some() => None,
        Err(source) => return Err(RestoreError::NoNote { path: Begun::path(&ordered.from), source }),
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { path, source }
    };
    make_folder(data).map_err(failed(data))?;
    let mut mark = Mark::hold(data)?;
    let documents = &std::path::absolute(documents).map_err(failed(documents))?;
    if mark.has_begun().map_err(failed(data))? {
        match mark.documents().map_err(failed(data))? {
            Some(begun) if begun != *documents => return Err(RestoreError::OtherDocuments { begun }),
            Some(_) => {}
            // It was not whole when the process ended, and then nothing was copied, or it is an earlier version's.
            None => refuse_unless_empty(&whole)?,
        }
        clear(data, documents).map_err(failed(data))?;
    } else if let Err(error) = refuse_unless_empty(data).and_then(|()| refuse_unless_empty(&whole)) {
        // Another restore has come to its end since this was looked at first.
        mark.remove().map_err(failed(data))?;
        return Err(error);
    }
    mark.begin(documents).map_err(failed(data))?;
    copy_back(&ordered.from, &manifest, config, progress)?;
    // Books in which nobody has handed anything in have no keys yet.
    let keys = data.join(data_folder::KEYS);
    make_folder(&keys).map_err(failed(&keys))?;

    progress(Progress::Indexing);
    let Recorded { systems, parties, registry } = recorded(data, &config.store.node_key)?;
    let epoch = begin_epoch(ordered, &manifest, config, parties, begun.clone().unwrap_or_default(), &own)?;
    let note = data.join(EPOCH_FILE);
    write_whole(&note, format!("{}\n", epoch.number).as_bytes()).map_err(failed(&note))?;
    progress(Progress::Checking);
    let report = fsck(data, &config.store.node_key, |_| ())?;
    let without_numbers = registry.map_or_else(Vec::new, |registry| ending_below(epoch.lost.from, &registry));
    // Before any gateway may start, even one whose operator accepts what is wrong with the books.
    if let Some(mut begun) = begun {
        begun.add(&ordered.from, &epoch).map_err(failed(&Begun::path(&ordered.from)))?;
    }
    if report.is_sound() {
        mark.remove().map_err(failed(data))?;
    }
    Ok(Restored { manifest, epoch, systems, without_numbers, report })
}

/// Keeps other backups into this folder, and other restores from it, out. A folder that cannot be written has none of them.
fn hold_backup(dir: &Path) -> Result<Option<RealFiles>, RestoreError> {
    if !dir.is_dir() {
        return Ok(None);
    }
    match RealFiles::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(RestoreError::InUse { folder: dir.to_owned() }),
        held => Ok(held.ok()),
    }
}

/// What the mark says to whoever finds it.
const MARK: &str = "This data folder is being restored, and no gateway starts on it.\n\
    Run `lgsp restore` again to its end. If it ended with problems of the books that you accept, remove this file.\n";

/// How the mark's line begins that says where the documents go: what lies elsewhere was never the restore's own.
const MARK_DOCUMENTS: &[u8] = b"documents ";

/// The mark of a data folder that is being restored, held so that nobody else restores into it. A process that ends, however it
/// ends, leaves the mark and lets go of it. Until it says something the folder is as it was.
struct Mark {
    folder: PathBuf,
    /// Locked.
    file: File,
}

impl Mark {
    fn hold(folder: &Path) -> Result<Self, RestoreError> {
        let path = folder.join(MARKER);
        let file = File::options().create(true).append(true).mode(0o600).open(&path);
        let held = file.and_then(|file| match file.try_lock() {
            // Whoever held it may have come to its end since it was opened, and removed it.
            Ok(()) => Ok(is_named(&file, &path)?.then_some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        });
        match held.map_err(|source| RestoreError::Io { path, source })? {
            Some(file) => Ok(Self { folder: folder.to_owned(), file }),
            None => Err(RestoreError::InUse { folder: folder.to_owned() }),
        }
    }

    /// Whether a restore had begun here before and did not come to its end: what is in the folder is what it left.
    fn has_begun(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() > 0)
    }

    /// The folder of documents that the restore had begun with; `None` if the mark does not say.
    fn documents(&self) -> io::Result<Option<PathBuf>> {
        let mark = fs::read(self.folder.join(MARKER))?;
        let line = mark.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(MARK_DOCUMENTS));
        let folder = line.and_then(|line| line.strip_suffix(b"\n"));
        Ok(folder.map(|folder| OsStr::from_bytes(folder).into()))
    }

    fn begin(&mut self, documents: &Path) -> io::Result<()> {
        if self.documents()?.is_none() {
            self.file.set_len(0)?;
            let folder = documents.as_os_str().as_bytes();
            self.file.write_all(&[MARK.as_bytes(), MARK_DOCUMENTS, folder, b"\n"].concat())?;
        }
        self.file.sync_all()?;
        sync_folder(&self.folder)
    }

    /// Removes it, durably: what it stood for is whole, or was never begun.
    fn remove(self) -> io::Result<()> {
        fs::remove_file(self.folder.join(MARKER))?;
        sync_folder(&self.folder)
    }
}

/// Whether `path` leads to this open file.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.ino() == file.metadata()?.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A folder must hold nothing but the mark, or not be there. One that cannot be read may hold anything.
fn refuse_unless_empty(folder: &Path) -> Result<(), RestoreError> {
    let failed = |source| RestoreError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        if entry.map_err(failed)?.file_name() != MARKER {
            return Err(RestoreError::NotEmpty { folder: folder.to_owned() });
        }
    }
    Ok(())
}

/// Removes what a restore that was interrupted has left, but for its mark.
fn clear(data: &Path, documents: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path.file_name().is_some_and(|name| name != MARKER) {
            fs::remove_file(&path)?;
        }
    }
    match fs::remove_dir_all(documents.join("whole")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_back(
    from: &Path,
    manifest: &Manifest,
    config: &Config,
    progress: &dyn Fn(Progress),
) -> Result<(), RestoreError> {
    let mut bytes = 0;
    for (number, entry) in (1..).zip(&manifest.files) {
        let target = match entry.path.split_once('/') {
            Some(("data", rest)) => config.store.dir.join(rest),
            Some(("documents", rest)) => config.documents.dir.join(rest),
            // The key that is there is the operator's to keep; if it is another one, the store will not open.
            _ if config.store.node_key.exists() => continue,
            _ => config.store.node_key.clone(),
        };
        let copied = (|| {
            let folder = target.parent().unwrap_or(Path::new(""));
            make_folder(folder)?;
            let mut file = private_file(&target)?;
            copy_hashed(&mut File::open(entry.stored_in(from))?, u64::MAX, &mut file)?;
            file.sync_all()?;
            sync_folder(folder)
        })();
        copied.map_err(|source| RestoreError::Io { path: target.clone(), source })?;
        bytes += entry.size;
        progress(Progress::Copied { files: number, bytes });
    }
    Ok(())
}

/// Opens the restored store, begins the new epoch, and closes it again.
fn begin_epoch(
    ordered: &Ordered,
    manifest: &Manifest,
    config: &Config,
    parties: BTreeSet<PartyId>,
    before: Begun,
    own: &[OwnCertificate],
) -> Result<EpochStarted, RestoreError> {
    let (dir, node_key) = (config.store.dir.clone(), config.store.node_key.clone());
    let store = SledStore::open_marked(&Options { dir, node_key, limits: Limits::default() }, |_| ())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|source| RestoreError::Io { path: config.store.dir.clone(), source })?;
    runtime.block_on(async {
        let begun = async {
            let days = days_lost(manifest.taken_at, ordered.now, config);
            let known = store.highest_number(&days)?;
            let beginning = Beginning {
                number: ordered.epoch,
                backup: manifest.identity,
                taken_at: manifest.taken_at,
                actor: ordered.actor.clone(),
                now: ordered.now,
                days,
                known,
                numbers_from: ordered.numbers_from,
                before,
                parties,
            };
            for certificate in own {
                certificate.put_on_record(&store, ordered.now).await?;
            }
            Ok(begin(&store, beginning).await?)
        };
        let begun = begun.await;
        store.close().await;
        begun
    })
}

fn days_lost(taken_at: SystemTime, now: SystemTime, config: &Config) -> RangeInclusive<Date> {
    let bounds = &config.limits.time_bounds;
    let day = |at: SystemTime| BusinessTime::from_unix_seconds(unix_seconds(at)).map_or(Date::MAX, BusinessTime::date);
    match config.business_clock {
        BusinessClock::System => days_at_risk(day(taken_at), day(now), bounds),
        BusinessClock::Replay { start } => {
            let last = start.date().checked_add(REPLAY_DAYS.days()).unwrap_or(start.date());
            *days_at_risk(start.date(), start.date(), bounds).start()..=last
        }
    }
}

/// What a look through all records finds.
#[derive(Default)]
struct Recorded {
    /// Every system that had something admitted.
    systems: BTreeSet<String>,
    /// Every party that something was taken over for.
    parties: BTreeSet<PartyId>,
    /// The last version of the registry.
    registry: Option<RegistryRecord>,
}

fn recorded(data: &Path, node_key: &Path) -> Result<Recorded, RestoreError> {
    let mut recorded = Recorded::default();
    for record in ReadOnly::open(data, node_key)?.records() {
        match record?.1 {
            Fact::Admitted(admitted) => drop(recorded.systems.insert(admitted.system)),
            Fact::Acknowledged(acknowledged) => drop(recorded.parties.insert(acknowledged.party)),
            Fact::RegistryApplied(registry) => recorded.registry = Some(registry),
            _ => {}
        }
    }
    Ok(recorded)
}

/// The authorities in whose name the gateway may give no number from `from` on.
fn ending_below(from: u32, registry: &RegistryRecord) -> Vec<PartyId> {
    // One that cannot be read is told by the gateway, which does not start with it.
    let Ok(registry) = Registry::parse(&by_name(&registry.files)) else { return Vec::new() };
    let ids = registry.parties().map(|party| party.id.clone());
    ids.filter(|id| registry.last_number_of(id) < from).collect()
}
