//! Restoring: a gateway's folders from a backup, as a new epoch of its books. All or nothing.
//!
//! A mark lies in the data folder from the first step to the last, and no gateway starts on a folder that has it. A restore
//! that was interrupted begins anew. What was admitted after the backup is not in it: the adapters still have it and send it
//! again, which the new epoch asks them to; what was given out meanwhile is not given out again (gateway/decisions/0015).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::ToSpan as _;
use jiff::civil::Date;
use lgsp_proto::types::{ActorId, BusinessTime, PartyId};

use super::epoch::{Before, BeginError, Beginning, begin, days_at_risk};
use super::manifest::Manifest;
use super::take::private_file;
use super::{EPOCH_FILE, MARKER, Progress, VerifyError, copy_hashed, make_folder, sync_folder, verify, write_whole};
use crate::config::{BusinessClock, Config};
use crate::engine::clock::unix_seconds;
use crate::store::data_folder::CannotRead;
use crate::store::fsck::{self, fsck};
use crate::store::read_only::ReadOnly;
use crate::store::sled::{Limits, OpenError, Options, SledStore};
use crate::store::{EpochStarted, Fact, ReadError, Store as _};

/// How far a replay's clock may be moved; it has nothing to do with the machine's.
const REPLAY_DAYS: i64 = 366;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The backup.
    pub from: PathBuf,
    /// Who restores.
    pub actor: ActorId,
    /// Where numbers go on; found from the books if not given.
    pub numbers_from: Option<u32>,
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
    /// The backup is not whole.
    #[error(transparent)]
    Backup(#[from] VerifyError),
    /// The node's key is neither in the backup nor where the configuration says. Without it nothing can be opened.
    #[error("there is no node key at {}, and none in the backup", path.display())]
    NoNodeKey {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
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
    let marker = data.join(MARKER);
    let begun_before = marker.exists();
    for folder in [data, &documents.join("whole")] {
        if !begun_before && !is_empty(folder) {
            return Err(RestoreError::NotEmpty { folder: folder.clone() });
        }
    }
    let manifest = verify(&ordered.from, progress)?;
    let brings_key = manifest.files.iter().any(|entry| entry.path == "node.key");
    if !brings_key && !config.store.node_key.exists() {
        return Err(RestoreError::NoNodeKey { path: config.store.node_key.clone() });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { path, source }
    };
    make_folder(data).map_err(failed(data))?;
    write_whole(&marker, MARK.as_bytes()).map_err(failed(&marker))?;
    if begun_before {
        clear(data, documents).map_err(failed(data))?;
    }
    copy_back(&ordered.from, &manifest, config, progress)?;

    progress(Progress::Indexing);
    let Named { systems, parties } = named(data, &config.store.node_key)?;
    let mut before = Before::load(&ordered.from).map_err(failed(&ordered.from))?;
    let epoch = begin_epoch(ordered, &manifest, config, (parties, before.clone()))?;
    // Before the mark goes: books of this epoch are used from then on.
    before.add(&ordered.from, &epoch).map_err(failed(&ordered.from))?;
    let note = data.join(EPOCH_FILE);
    write_whole(&note, format!("{}\n", epoch.number).as_bytes()).map_err(failed(&note))?;
    progress(Progress::Checking);
    let report = fsck(data, &config.store.node_key, |_| ())?;
    if report.is_sound() {
        fs::remove_file(&marker).and_then(|()| sync_folder(data)).map_err(failed(&marker))?;
    }
    Ok(Restored { manifest, epoch, systems, report })
}

/// What the mark says to whoever finds it.
const MARK: &str = "This data folder is being restored, and no gateway starts on it.\n\
    Run `lgsp restore` again to its end. If it ended with problems of the books that you accept, remove this file.\n";

/// Whether there is nothing in a folder, or no folder.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
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
    (parties, before): (BTreeSet<PartyId>, Before),
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

/// Who is named in the books.
#[derive(Default)]
struct Named {
    /// Every system that had something admitted.
    systems: BTreeSet<String>,
    /// Every party that something was taken over for.
    parties: BTreeSet<PartyId>,
}

fn named(data: &Path, node_key: &Path) -> Result<Named, RestoreError> {
    let mut named = Named::default();
    for record in ReadOnly::open(data, node_key)?.records() {
        match record?.1 {
            Fact::Admitted(admitted) => drop(named.systems.insert(admitted.system)),
            Fact::Acknowledged(acknowledged) => drop(named.parties.insert(acknowledged.party)),
            _ => {}
        }
    }
    Ok(named)
}
