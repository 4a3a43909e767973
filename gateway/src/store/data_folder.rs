//! A data folder as files: its parts by name, and who else has them open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lgsp_journal::files::{AppendFile, ReadFile};
use lgsp_journal::seal::{KeyRing, KeyRingError, NodeKey, NodeKeyError};
use lgsp_journal::{Files, Reader, RealFiles};

/// The journal's part of a data folder. Who holds it holds the whole folder.
pub(crate) const JOURNAL: &str = "journal";

/// The data keys' part of a data folder.
pub(crate) const KEYS: &str = "keys";

/// Where archives are unless the configuration says otherwise.
pub(crate) const ARCHIVES: &str = "archives";

/// The part of a data folder with the revocation lists that outlive the folders of their CAs.
pub(crate) const LISTS: &str = "lists";

/// The snapshots' part of a data folder. All of it may be lost: it is made again in time.
pub(super) const SNAPSHOTS: &str = "snapshots";

/// Why a part of a data folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it open.
    #[error("{} is in use by {}", folder.display(), process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}")))]
    InUse {
        /// Which.
        folder: PathBuf,
        /// The process, where the system tells.
        process: Option<u32>,
    },
    /// There is nothing there.
    #[error("there is no {}", folder.display())]
    Missing {
        /// What was looked for.
        folder: PathBuf,
    },
    /// It cannot be read or written.
    #[error("{} cannot be used", folder.display())]
    Io {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a data folder cannot be looked at. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CannotRead {
    /// It is not there, or another process has it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The node's key cannot be read.
    #[error("the node's key cannot be read")]
    NodeKey(#[from] NodeKeyError),
    /// The data keys do not open with it.
    #[error("the data keys do not open")]
    Keys(#[from] KeyRingError),
    /// The journal cannot be read at all.
    #[error("the journal cannot be read")]
    Journal(#[source] io::Error),
}

/// What is in a data folder that no gateway has open.
pub(super) struct Stopped {
    pub(super) reader: Reader,
    /// What the journal is made of and where it is damaged: it was read whole.
    pub(super) journal: lgsp_journal::Report,
    pub(super) keys: KeyRing,
    /// Where snapshots of the index are, if there are any.
    pub(super) snapshots: Option<Arc<dyn Files>>,
}

/// Reads the data folder `dir` as it was left, and keeps every other process out.
///
/// # Errors
/// See [`CannotRead`].
pub(super) fn open_stopped(dir: &Path, node_key: &Path) -> Result<Stopped, CannotRead> {
    let journal = hold_existing(dir, JOURNAL)?;
    let keys = KeyRing::open(hold_existing(dir, KEYS)?, &NodeKey::load(node_key)?)?;
    let (reader, journal) = Reader::rescue(journal).map_err(CannotRead::Journal)?;
    // Never missed: an older version took none.
    let snapshots = hold_existing(dir, SNAPSHOTS).ok();
    Ok(Stopped { reader, journal, keys, snapshots })
}

/// The data keys of the data folder `dir`, for reading only; a gateway may be running on it.
///
/// # Errors
/// See [`CannotRead`].
pub fn keys_of(dir: &Path, node_key: &Path) -> Result<KeyRing, CannotRead> {
    let folder = dir.join(KEYS);
    if !folder.is_dir() {
        return Err(FolderError::Missing { folder }.into());
    }
    let files = RealFiles::read_only(&folder).map_err(|source| FolderError::Io { folder, source })?;
    Ok(KeyRing::open(Arc::new(AsItIs(files)), &NodeKey::load(node_key)?)?)
}

/// A folder that somebody else may be writing to: what has no name yet is theirs.
struct AsItIs(RealFiles);

impl Files for AsItIs {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.0.list()?;
        names.retain(|name| !name.ends_with(".tmp"));
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        self.0.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
        self.0.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

/// Opens a part of the data folder `dir`, creating it if it is missing, and keeps every other process out.
///
/// # Errors
/// See [`FolderError`].
pub(super) fn hold(dir: &Path, part: &str) -> Result<Arc<dyn Files>, FolderError> {
    let folder = dir.join(part);
    match RealFiles::open(&folder) {
        Ok(files) => Ok(Arc::new(files)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let process = RealFiles::holder(&folder);
            Err(FolderError::InUse { folder, process })
        }
        Err(source) => Err(FolderError::Io { folder, source }),
    }
}

/// As [`hold`], for a folder that must be there already.
///
/// # Errors
/// See [`FolderError`].
fn hold_existing(dir: &Path, part: &str) -> Result<Arc<dyn Files>, FolderError> {
    let folder = dir.join(part);
    if !folder.is_dir() {
        return Err(FolderError::Missing { folder });
    }
    hold(dir, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_names_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let _held = hold(folder.path(), JOURNAL).unwrap();
        match hold(folder.path(), JOURNAL).err() {
            Some(FolderError::InUse { process, .. }) => assert_eq!(process, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_made_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let missing = hold_existing(folder.path(), JOURNAL);
        assert!(matches!(missing.err(), Some(FolderError::Missing { .. })));
        assert!(!folder.path().join(JOURNAL).exists());
    }
}
