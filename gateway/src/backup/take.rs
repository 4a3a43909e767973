//! Taking a backup, of a gateway that runs or of one that is stopped.
//!
//! The order makes it whole: the journal first, then the keys, the documents, and the archives. A key and a document are durable before
//! any record names them, so whatever a copied record names is there when its turn comes. Nothing is locked: segments are
//! only appended to, key blocks and documents are replaced or removed in one step.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use lgsp_journal::copy::{Copyable, copyable};
use lgsp_journal::files::ReadFile;
use lgsp_journal::{OpenError, RealFiles};

use super::announced::{BACKUP, announce};
use super::manifest::{Entry, Identity, Manifest, ManifestError};
use super::{EPOCH_FILE, MARKER, Progress, copy_hashed, digest_of, make_folder, sync_folder};
use crate::engine::documents::keep;
use crate::store::data_folder::{ARCHIVES, JOURNAL, KEYS, LISTS};

/// How much of a file's beginning and end tells it from another of the same name and size: every file that is not compared
/// whole begins or ends with bytes that are random or depend on all before them.
const PROBE: u64 = 4096;

/// How often a copy is begun anew because the gateway reorganised its files in between.
const ATTEMPTS: u32 = 3;

/// Where the gateway's files are.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The data folder. Archives that are kept elsewhere are not copied.
    pub data: PathBuf,
    /// The documents' folder.
    pub documents: PathBuf,
    /// The node's key, if it is to be in the backup: then the backup alone opens everything.
    pub node_key: Option<PathBuf>,
}

/// How much of what the backup holds already is read again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Care {
    /// The beginning and the end of what never changes: enough to tell it from another file, not to find a bit that rotted.
    Ordinary,
    /// All of it, and what is not as it was copied is copied again.
    Thorough,
}

/// A backup that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What it holds.
    pub manifest: Manifest,
    /// Files that were copied, because they are new or have changed.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
}

/// Why no backup was taken. The one before it, if there is one, is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The data folder is being restored.
    #[error("{} is being restored; run `lgsp restore` again to its end first", folder.display())]
    Restoring {
        /// The data folder.
        folder: PathBuf,
    },
    /// The backup's folder lies among the gateway's own.
    #[error("{} lies inside a folder that is backed up", folder.display())]
    Inside {
        /// The backup's folder.
        folder: PathBuf,
    },
    /// Another process writes to the backup.
    #[error("another backup into {} is under way", folder.display())]
    InUse {
        /// The backup's folder.
        folder: PathBuf,
    },
    /// The gateway cannot be told that its books are copied. Nothing was copied.
    #[error("the backup cannot be noted for the audit in {}{}", folder.display(), remedy(source))]
    Unnoted {
        /// The data folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be copied.
    #[error("the journal cannot be copied")]
    Journal(#[from] OpenError),
    /// The folder holds a backup that this version does not understand.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file cannot be read, or the backup cannot be written.
    #[error("{} cannot be copied", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Takes a backup into the folder `to`, which may hold an earlier one: then only what is new is copied, and what is gone, a
/// destroyed key above all, goes from the backup as well. What has rotted in it is written anew where `care` finds it.
///
/// # Errors
/// See [`TakeError`].
pub fn take(
    sources: &Sources,
    to: &Path,
    care: Care,
    now: SystemTime,
    progress: &dyn Fn(Progress),
) -> Result<Taken, TakeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TakeError::Io { path, source }
    };
    if sources.data.join(MARKER).exists() {
        return Err(TakeError::Restoring { folder: sources.data.clone() });
    }
    make_folder(to).map_err(failed(to))?;
    let real = to.canonicalize().map_err(failed(to))?;
    let within = |folder: &Path| folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
    if within(&sources.data) || within(&sources.documents) {
        return Err(TakeError::Inside { folder: to.to_owned() });
    }
    let _alone = RealFiles::open(to).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => TakeError::InUse { folder: to.to_owned() },
        _ => TakeError::Io { path: to.to_owned(), source },
    })?;
    let before = match Manifest::load(to) {
        Ok(manifest) => manifest.files,
        Err(ManifestError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
        // A manifest that was damaged names nothing that could be relied upon.
        Err(ManifestError::Damaged { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let before: HashMap<String, Entry> = before.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    let mut identity = [0; 16];
    let no_randomness = |_| TakeError::Io { path: to.to_owned(), source: io::Error::other("no randomness") };
    rand::fill(&mut identity).map_err(no_randomness)?;
    // Before the first byte is copied: whatever becomes of the backup, that the books went out is known.
    announce(&sources.data, BACKUP, &identity, now)
        .map_err(|source| TakeError::Unnoted { folder: sources.data.clone(), source })?;
    let mut attempt = 1;
    loop {
        let mut copying =
            Copying { to, care, before: &before, files: Vec::new(), copied: 0, copied_bytes: 0, progress };
        match copying.everything(sources, identity, now) {
            Ok(manifest) => {
                let Copying { copied, copied_bytes, .. } = copying;
                manifest.store(to).map_err(failed(to))?;
                sweep(to, &manifest).map_err(failed(to))?;
                return Ok(Taken { manifest, copied, copied_bytes });
            }
            // A segment or a folder that was listed has gone since.
            Err(TakeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A backup under way.
struct Copying<'a> {
    to: &'a Path,
    care: Care,
    before: &'a HashMap<String, Entry>,
    files: Vec<Entry>,
    copied: u64,
    copied_bytes: u64,
    progress: &'a dyn Fn(Progress),
}

impl Copying<'_> {
    fn everything(&mut self, sources: &Sources, identity: Identity, now: SystemTime) -> Result<Manifest, TakeError> {
        // A document that was archived after its dossier's last record was copied as being here must still be here; so until they
        // are copied none is removed.
        let kept = keep(&sources.documents);
        let _kept = kept.map_err(|source| TakeError::Io { path: sources.documents.clone(), source })?;
        let journal = sources.data.join(JOURNAL);
        let files = RealFiles::read_only(&journal).map_err(|source| TakeError::Io { path: journal.clone(), source })?;
        // The epoch before the journal: a restore writes them the other way round.
        let epoch = epoch_of(&sources.data);
        let Copyable { journal: id, last, sealed, newest } = copyable(&files)?;
        for name in sealed {
            self.unchanging(&journal.join(&name), format!("data/{JOURNAL}/{name}"))?;
        }
        let mut file = Reading { file: &*newest.file, at: 0 };
        self.copy(&journal.join(&newest.name), &mut file, newest.length, format!("data/{JOURNAL}/{}", newest.name))?;
        if sources.data.join(EPOCH_FILE).exists() {
            self.changing(&sources.data.join(EPOCH_FILE), format!("data/{EPOCH_FILE}"))?;
        }
        let keys = sources.data.join(KEYS);
        for path in listed(&keys)? {
            if let Some(name) = named(&path).filter(|name| name.ends_with(".keys")) {
                self.changing(&path, format!("data/{KEYS}/{name}"))?;
            }
        }
        // A gateway without a CA of its own has none.
        let lists = sources.data.join(LISTS);
        for path in if lists.is_dir() { listed(&lists)? } else { Vec::new() } {
            if let Some(name) = named(&path).filter(|name| name.ends_with(".pem")) {
                self.changing(&path, format!("data/{LISTS}/{name}"))?;
            }
        }
        let whole = sources.documents.join("whole");
        if whole.is_dir() {
            for folder in listed(&whole)? {
                let Some(group) = named(&folder).filter(|_| folder.is_dir()).map(str::to_owned) else { continue };
                for path in listed(&folder)? {
                    let Some(name) = named(&path) else { continue };
                    match self.unchanging(&path, format!("documents/whole/{group}/{name}")) {
                        // Erased since it was listed; its key is destroyed.
                        Err(TakeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                        other => other?,
                    }
                }
            }
        }
        // An archive is durable before any record names it, and does not change.
        let archives = sources.data.join(ARCHIVES);
        let in_archives = |source| TakeError::Io { path: archives.clone(), source };
        for path in crate::archive::list(&archives).map_err(in_archives)? {
            let Some(name) = named(&path) else { continue };
            match self.unchanging(&path, format!("data/{ARCHIVES}/{name}")) {
                // One that was not recorded, and is given up.
                Err(TakeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        if let Some(node_key) = &sources.node_key {
            self.changing(node_key, "node.key".to_owned())?;
        }
        let files = std::mem::take(&mut self.files);
        Ok(Manifest { identity, taken_at: now, journal: id.0, last_position: last.0, epoch, files })
    }

    /// A file that never changes once it has its name: if the backup has it, it is not copied again.
    fn unchanging(&mut self, path: &Path, place: String) -> Result<(), TakeError> {
        let failed = |source| TakeError::Io { path: path.to_owned(), source };
        let size = fs::metadata(path).map_err(failed)?.len();
        if let Some(known) = self.before.get(&place).filter(|known| known.size == size)
            && is_alike(path, &known.stored_in(self.to), size).map_err(failed)?
            && (self.care == Care::Ordinary || is_whole(known, self.to))
        {
            self.files.push(known.clone());
            self.tell();
            return Ok(());
        }
        self.changing(path, place)
    }

    /// A small file that may be replaced at any time, by one of the same size.
    fn changing(&mut self, path: &Path, place: String) -> Result<(), TakeError> {
        let mut file = File::open(path).map_err(|source| TakeError::Io { path: path.to_owned(), source })?;
        self.copy(path, &mut file, u64::MAX, place)
    }

    /// Copies up to `limit` bytes, durably, to where their digest says.
    fn copy(&mut self, path: &Path, file: &mut dyn Read, limit: u64, place: String) -> Result<(), TakeError> {
        let copied = (|| {
            let files = self.to.join("files");
            make_folder(&files)?;
            let temporary = files.join("unfinished");
            let mut copy = private_file(&temporary)?;
            let (sha256, size) = copy_hashed(file, limit, &mut copy)?;
            let entry = Entry { sha256, size, path: place };
            let stored = entry.stored_in(self.to);
            if is_whole(&entry, self.to) {
                fs::remove_file(&temporary)?;
            } else {
                copy.sync_all()?;
                let folder = stored.parent().expect("a content is in a folder");
                make_folder(folder)?;
                fs::rename(&temporary, &stored)?;
                sync_folder(folder)?;
                self.copied += 1;
                self.copied_bytes += size;
            }
            Ok(entry)
        })();
        self.files.push(copied.map_err(|source| TakeError::Io { path: path.to_owned(), source })?);
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        (self.progress)(Progress::Copied { files: self.files.len() as u64, bytes: self.copied_bytes });
    }
}

/// What a restore noted in the data folder; 1 if none has been there.
fn epoch_of(data: &Path) -> u32 {
    fs::read_to_string(data.join(EPOCH_FILE)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1)
}

/// A segment handed out open, as something to be read.
struct Reading<'a> {
    file: &'a dyn ReadFile,
    at: u64,
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Whether the backup `to` has this content as it was copied.
fn is_whole(entry: &Entry, to: &Path) -> bool {
    // One that cannot be read is not.
    digest_of(&entry.stored_in(to)).is_ok_and(|read| read == (entry.sha256, entry.size))
}

/// A fresh file that only its owner may read: a backup holds what the data folder holds.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().write(true).create_new(true).mode(0o600).open(path),
    }
}

/// Whether two files of this size begin and end alike.
fn is_alike(one: &Path, other: &Path, size: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let (one, other) = match (File::open(one)?, File::open(other)) {
        (one, Ok(other)) if other.metadata()?.len() == size => (one, other),
        _ => return Ok(false),
    };
    let length = usize::try_from(PROBE.min(size)).expect("a few thousand");
    let (mut here, mut there) = (vec![0; length], vec![0; length]);
    for at in [0, size - length as u64] {
        one.read_exact_at(&mut here, at)?;
        other.read_exact_at(&mut there, at)?;
        if here != there {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The files in a folder, in order.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, TakeError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort_unstable();
        Ok(paths)
    };
    read().map_err(|source| TakeError::Io { path: folder.to_owned(), source })
}

fn named(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Removes contents that the manifest in force does not name.
fn sweep(to: &Path, manifest: &Manifest) -> io::Result<()> {
    let named: HashSet<String> = manifest.files.iter().map(|entry| HEXLOWER.encode(&entry.sha256)).collect();
    for folder in fs::read_dir(to.join("files"))? {
        let folder = folder?.path();
        if !folder.is_dir() {
            fs::remove_file(&folder)?;
            continue;
        }
        for content in fs::read_dir(&folder)? {
            let content = content?;
            if !content.file_name().to_str().is_some_and(|name| named.contains(name)) {
                fs::remove_file(content.path())?;
            }
        }
        sync_folder(&folder)?;
    }
    Ok(())
}

/// What helps when the note cannot be left.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run it as the gateway's user",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make some room on its disk first, the note is small"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; its disk is read-only, and must be writable for the note",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_leave_the_note_is_told_what_helps_and_nothing_that_does_not() {
        let said = |kind: io::ErrorKind| TakeError::Unnoted { folder: "data".into(), source: kind.into() }.to_string();
        assert!(said(io::ErrorKind::PermissionDenied).ends_with("in data; run it as the gateway's user"));
        for (kind, helps) in [(io::ErrorKind::StorageFull, "room"), (io::ErrorKind::ReadOnlyFilesystem, "writable")] {
            assert!(said(kind).contains(helps) && !said(kind).contains("user"), "{}", said(kind));
        }
    }
}
