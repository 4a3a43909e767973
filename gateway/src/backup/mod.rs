//! Backups: taken of a running gateway without stopping it, and restored as a new epoch.
//!
//! A backup is a folder: `files/` holds contents by their SHA-256, `MANIFEST` says which of them are which file of the
//! gateway. It is written last and in one step, so whatever interrupts a backup, the one before it stays whole; contents
//! that no manifest names are removed after that. `RESTORED` notes which epochs were begun from it. [`take`] makes and renews one, [`verify`] reads all of it, [`restore`]
//! makes a gateway's folders from it.

mod announced;
mod begun;
mod epoch;
mod manifest;
mod own;
mod restore;
mod take;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

#[cfg(feature = "fuzz")]
pub use manifest::fuzz as fuzz_manifest;

pub(crate) use announced::announced;
pub use begun::Begun;
pub use epoch::{BeginError, Beginning, begin, days_at_risk};
pub use manifest::{Entry, Identity, Manifest, ManifestError};
pub use restore::{Ordered, RestoreError, Restored, restore};
pub use take::{Care, Sources, TakeError, Taken, take};

/// In a data folder: it is being restored, and no gateway may start on it.
pub(crate) const MARKER: &str = "RESTORING";

/// In a data folder that was restored: the number of its epoch, for backups. The journal has the truth.
const EPOCH_FILE: &str = "epoch";

/// How far a backup or a restore has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Contents copied, or found unchanged.
    Copied {
        /// Files so far.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Contents of the backup read and found right.
    Verified {
        /// Files so far.
        files: u64,
        /// Files there are.
        of: u64,
    },
    /// The indexes are being made.
    Indexing,
    /// The books are being checked.
    Checking,
}

/// A content of a backup is not what the manifest says.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A content is missing or was changed. Take a new backup with [`Care::Thorough`]; restore from another one.
    #[error("{path} is not in the backup as it was copied: {what}")]
    Content {
        /// Which file of the gateway.
        path: String,
        /// What is wrong.
        what: String,
    },
}

/// Reads a whole backup and compares it with its manifest.
///
/// # Errors
/// See [`VerifyError`]; the first thing that is wrong.
pub fn verify(dir: &Path, progress: &dyn Fn(Progress)) -> Result<Manifest, VerifyError> {
    let manifest = Manifest::load(dir)?;
    let of = manifest.files.len() as u64;
    for (number, entry) in (1..).zip(&manifest.files) {
        let wrong = |what: String| VerifyError::Content { path: entry.path.clone(), what };
        let read = digest_of(&entry.stored_in(dir)).map_err(|error| wrong(error.to_string()))?;
        if read != (entry.sha256, entry.size) {
            return Err(wrong("its size or digest is another".to_owned()));
        }
        progress(Progress::Verified { files: number, of });
    }
    Ok(manifest)
}

/// SHA-256 and size of a file.
fn digest_of(path: &Path) -> io::Result<([u8; 32], u64)> {
    let mut file = File::open(path)?;
    copy_hashed(&mut file, u64::MAX, &mut io::sink())
}

/// Copies up to `limit` bytes, and gives the SHA-256 and the number of what was copied.
fn copy_hashed(from: &mut dyn Read, limit: u64, to: &mut dyn Write) -> io::Result<([u8; 32], u64)> {
    let (mut context, mut size, mut buffer) = (Context::new(&SHA256), 0, vec![0; 256 << 10]);
    while size < limit {
        let room = buffer.len().min(usize::try_from(limit - size).unwrap_or(usize::MAX));
        let read = match from.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        context.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
    let digest = context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok((digest, size))
}

/// Makes a folder and all around it, with durable names.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() || folder == Path::new("") {
        return Ok(());
    }
    let around = folder.parent().unwrap_or(Path::new(""));
    make_folder(around)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(around),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(if folder == Path::new("") { Path::new(".") } else { folder })?.sync_all()
}

/// Writes a small file in one step, durably.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary: PathBuf = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_folder(path.parent().unwrap_or(Path::new("")))
}
