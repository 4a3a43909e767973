//! What the journal asks of a disk, as an interface, and the real folder that answers it.
//!
//! The interface is as small as the promises allow: a file is created, appended to, synced and given its final name; it
//! is never written twice at one place and never appended to by a later process. That is what lets a test record the
//! operations and generate every state a crash may leave (feature `test-util`).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::fault;

/// A flat folder of files.
///
/// Nothing is durable until it is synced, and contents and names are synced apart: [`AppendFile::sync_data`] makes the
/// bytes of one file durable, [`Files::sync_dir`] every name given, changed or removed so far.
pub trait Files: Send + Sync {
    /// The names of all files, in no particular order.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file for appending.
    ///
    /// # Errors
    /// `AlreadyExists`, or the disk's own error; the file may or may not exist afterwards.
    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound`, or the disk's own error.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>>;

    /// Gives a file a new name in one step, replacing whoever bore it. Open handles follow the file.
    ///
    /// # Errors
    /// The disk's own error; either name may be in force afterwards, never neither.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, or the disk's own error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all changes of names durable.
    ///
    /// # Errors
    /// The disk's own error; nothing may be assumed about names changed since the last success.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A file being written, always at its end.
pub trait AppendFile: Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// The disk's own error; any part of `bytes` may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// The disk's own error. What was not durable before may be lost *even if a later sync succeeds*: the kernel may have
    /// dropped the dirty pages. Do not try again.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// A file being read.
pub trait ReadFile: Send {
    /// Fills as much of `buffer` as the file holds from `offset` on; less than its length means the end was met.
    ///
    /// # Errors
    /// The disk's own error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The file's length now.
    ///
    /// # Errors
    /// The disk's own error.
    fn length(&self) -> io::Result<u64>;
}

/// The end of names that are not in force yet. What bears it when a journal or key ring is opened is a leftover.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Writes a file under a temporary name, makes it durable, and only then gives it its name, durably.
///
/// So a name, wherever it is seen, vouches that the bytes the file had when it was named are on disk. The handle is
/// returned for what will be appended next.
pub(crate) fn publish<'a>(
    files: &dyn Files,
    name: &str,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> io::Result<Box<dyn AppendFile>> {
    let temporary = format!("{name}{TEMPORARY}");
    match files.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = files.create(&temporary)?;
    for part in parts {
        file.append(part)?;
    }
    fault::reached(fault::PUBLISH_SYNC)?;
    file.sync_data()?;
    fault::reached(fault::PUBLISH_NAME)?;
    files.rename(&temporary, name)?;
    fault::reached(fault::PUBLISH_FOLDER)?;
    files.sync_dir()?;
    Ok(file)
}

/// Reads a small file whole, refusing one longer than `limit`.
pub(crate) fn read_whole(files: &dyn Files, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let file = files.open(name)?;
    let length = file.length()?;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is longer than expected")));
    }
    // The limit is a constant of this crate and fits.
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// A folder of a real file system, held by one process at a time.
#[derive(Debug)]
pub struct RealFiles {
    folder: PathBuf,
    directory: File,
    /// Present if this process may write. The kernel lets go of it when the process ends, however it ends.
    lock: Option<File>,
}

/// The name of the lock file. It stays behind, empty, and means nothing by itself: the lock is the kernel's.
const LOCK: &str = "lock";

/// How long a folder that was let go of may still look held. A program that starts another one shares its locks with it until that is
/// under way: a few milliseconds, in which nobody can be told from somebody who stays.
const LET_GO_WITHIN: Duration = Duration::from_millis(500);

/// The kernel tells nobody when a lock is let go of without making them wait for ever.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl RealFiles {
    /// Opens `folder` for reading and writing, creating it if needed, and keeps every other process out.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds the folder; otherwise the disk's own error. Nothing in the folder was
    /// changed.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        create_folder(&folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(folder.join(LOCK))?;
        let asked = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if asked.elapsed() < LET_GO_WITHIN => thread::sleep(LOOK_AGAIN),
                Err(TryLockError::WouldBlock) => {
                    let what = format!("{} is in use by another process", folder.display());
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, what));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(Self { directory: File::open(&folder)?, folder, lock: Some(lock) })
    }

    /// The process that holds `folder`, as far as the kernel tells (Linux, the same container): for people, who may then end it.
    pub fn holder(folder: &Path) -> Option<u32> {
        let file = folder.join(LOCK);
        let inode = format!(":{}", fs::metadata(&file).ok()?.ino());
        let locks = fs::read_to_string("/proc/locks").ok()?;
        // "1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF"
        let processes = locks.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(5)?.ends_with(&inode)).then(|| fields.get(4)?.parse().ok()).flatten()
        });
        // Another file system may have a file of that number, so the process is asked what it has open.
        let file = file.canonicalize().ok()?;
        processes.into_iter().find(|process: &u32| {
            let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            open.into_iter().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
        })
    }

    /// Opens `folder` for reading only, whoever else has it open; whatever would change it is refused.
    ///
    /// # Errors
    /// The folder does not exist or cannot be read.
    pub fn read_only(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        Ok(Self { directory: File::open(&folder)?, folder, lock: None })
    }

    fn writable(&self, name: &str) -> io::Result<PathBuf> {
        if self.lock.is_none() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the folder was opened for reading only"));
        }
        Ok(self.folder.join(name))
    }
}

impl Files for RealFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        let path = self.writable(name)?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(RealFile(File::open(self.folder.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.writable(from)?, self.writable(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.writable(name)?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.writable("")?;
        self.directory.sync_all()
    }
}

struct RealFile(File);

impl AppendFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl ReadFile for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Creates a folder and makes its name durable, so that what is synced inside it later can be found again.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = RealFiles::open(folder.path()).unwrap();
        assert_eq!(RealFiles::open(folder.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        RealFiles::open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_is_let_go_of_in_a_moment_can_be_had() {
        let folder = tempfile::tempdir().unwrap();
        let held = RealFiles::open(folder.path()).unwrap();
        let (path, started) = (folder.path().to_owned(), std::sync::Barrier::new(2));
        thread::scope(|scope| {
            let next = scope.spawn(|| {
                started.wait();
                RealFiles::open(path)
            });
            started.wait();
            thread::sleep(LOOK_AGAIN * 4);
            drop(held);
            next.join().unwrap().unwrap();
        });
    }

    #[test]
    fn reading_only_needs_no_lock_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let held = RealFiles::open(folder.path().join("a/b")).unwrap();
        held.create("x").unwrap().append(b"bytes").unwrap();
        let reading = RealFiles::read_only(folder.path().join("a/b")).unwrap();
        assert_eq!(read_whole(&reading, "x", 5).unwrap(), b"bytes");
        assert!(read_whole(&reading, "x", 4).is_err());
        for refused in [reading.create("y").err(), reading.rename("x", "y").err(), reading.remove("x").err()] {
            assert_eq!(refused.unwrap().kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn publishing_replaces_a_file_whole() {
        let folder = tempfile::tempdir().unwrap();
        let files = RealFiles::open(folder.path()).unwrap();
        files.create("x.tmp").unwrap().append(b"left by a crash").unwrap();
        publish(&files, "x", [&b"one"[..]]).unwrap();
        publish(&files, "x", [&b"two"[..], b" parts"]).unwrap();
        assert_eq!(read_whole(&files, "x", 100).unwrap(), b"two parts");
        assert!(!files.list().unwrap().contains(&"x.tmp".to_owned()));
    }
}
