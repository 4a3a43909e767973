//! The only file of this module that touches the file system: opening without following anybody's links, writing whole or not at
//! all, moving, removing.
//!
//! Others write into these folders too, with other rights than the adapter's. So nothing here goes by a path: every step is
//! taken from a folder that is held open, and a symbolic link on the way is an error, never followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use lgsp_journal::fault;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// How deep a folder of somebody else's is removed.
const MAX_DEPTH: usize = 8;

/// How often a free name is looked for in [`Dir::move_to`].
const MAX_NAMESAKES: u32 = 10_000;

/// A folder, held open.
pub(super) struct Dir(OwnedFd);

/// Something in a folder.
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) is_folder: bool,
}

/// How a file was when it was looked at: if it is still so, nobody has written to it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Looks {
    inode: u64,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Looks {
    /// When the content was last written, in seconds since 1970; it stays when the file is moved.
    pub(super) fn written_at(&self) -> i64 {
        self.modified.0
    }
}

impl Dir {
    /// Opens a folder that the configuration names; links are the operator's own.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens a folder in this one.
    ///
    /// # Errors
    /// The system's; `NotADirectory` for a link.
    pub(super) fn sub(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::LOOP) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
            opened => Ok(Self(opened?)),
        }
    }

    /// As [`Dir::sub`]; makes it, durably, if it is not there.
    pub(super) fn make(&self, name: &str) -> io::Result<Self> {
        match self.sub(OsStr::new(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o770)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.sync()?;
        self.sub(OsStr::new(name))
    }

    /// As [`Dir::make`], for a folder that is the adapter's own: a file or link in its place is removed.
    pub(super) fn own(&self, name: &str) -> io::Result<Self> {
        match self.make(name) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                self.remove(OsStr::new(name))?;
                self.make(name)
            }
            made => made,
        }
    }

    /// What is in it, up to so much.
    pub(super) fn entries(&self, most: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() == most {
                break;
            }
            let is_folder = match entry.file_type() {
                FileType::Directory => true,
                // Some file systems do not say.
                FileType::Unknown => self.stat(&name).is_ok_and(|stat| is_a(FileType::Directory, &stat)),
                _ => false,
            };
            entries.push(Entry { name, is_folder });
        }
        Ok(entries)
    }

    /// How something in this folder looks just now.
    pub(super) fn looks(&self, name: &OsStr) -> io::Result<Looks> {
        let stat = self.stat(name)?;
        Ok(Looks {
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        })
    }

    /// What tells something from another of the same name.
    pub(super) fn inode(&self, name: &OsStr) -> io::Result<u64> {
        Ok(self.stat(name)?.st_ino)
    }

    /// When something was last changed or moved, in seconds since 1970 by the clock of whoever keeps the disk.
    pub(super) fn changed_at(&self, name: &OsStr) -> io::Result<i64> {
        Ok(self.stat(name)?.st_ctime)
    }

    /// Opens a file to be read.
    ///
    /// # Errors
    /// The system's; `InvalidInput` for what is no regular file, a link among them.
    pub(super) fn file(&self, name: &OsStr) -> io::Result<File> {
        // Without NONBLOCK a pipe would wait for whoever writes to it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file");
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP | Errno::NXIO) => return Err(no_file()),
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
    }

    /// A whole small file; `None` if it is longer than `limit`.
    pub(super) fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        self.file(OsStr::new(name))?.take(limit + 1).read_to_end(&mut content)?;
        Ok((content.len() as u64 <= limit).then_some(content))
    }

    /// Writes a file, whole or not at all: durable under its name when this returns. One that is there is replaced.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.write_with(name, |file| file.write_all(content))
    }

    /// As [`Dir::write`], with whatever `write` writes.
    pub(super) fn write_with(&self, name: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let draft = format!(".{name}.tmp");
        // Left by a process that was killed, or put there by somebody: in either case not ours to write to.
        self.remove(OsStr::new(&draft))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.0, &*draft, flags, Mode::from_raw_mode(0o660))?);
        let written = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| {
            fault::reached(fault::FOLDER_NAME)?;
            Ok(rustix::fs::renameat(&self.0, &*draft, &self.0, name)?)
        });
        if written.is_err() {
            // On a disk that is full, the room matters.
            let _ = self.remove(OsStr::new(&draft));
        }
        written?;
        fault::reached(fault::FOLDER_SYNC)?;
        self.sync()
    }

    /// Moves something into another folder, durably. If there is a namesake already, the name gets a number behind it.
    pub(super) fn move_to(&self, name: &OsStr, other: &Self, new_name: &str) -> io::Result<()> {
        for number in 1..=MAX_NAMESAKES {
            let free = if number == 1 { new_name.to_owned() } else { format!("{new_name}~{number}") };
            match rustix::fs::renameat_with(&self.0, name, &other.0, &*free, RenameFlags::NOREPLACE) {
                // Of two names for the same thing, the one that went first.
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                // A file system that cannot look first: a folder that is not empty it does not replace either.
                Err(Errno::INVAL | Errno::NOSYS) => match rustix::fs::renameat(&self.0, name, &other.0, &*free) {
                    Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                    moved => return moved.map_err(io::Error::from).and_then(|()| self.both_synced(other)),
                },
                moved => return moved.map_err(io::Error::from).and_then(|()| self.both_synced(other)),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a folder if it is empty; says whether it did.
    pub(super) fn remove_empty(&self, name: &OsStr) -> bool {
        rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR).is_ok()
    }

    /// Removes a file, or a folder with all that is in it.
    pub(super) fn remove_all(&self, name: &OsStr) -> io::Result<()> {
        self.remove_deep(name, MAX_DEPTH)
    }

    fn remove_deep(&self, name: &OsStr, depth: usize) -> io::Result<()> {
        match self.sub(name) {
            Ok(folder) if depth > 0 => {
                for entry in folder.entries(usize::MAX)? {
                    folder.remove_deep(&entry.name, depth - 1)?;
                }
                Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
            }
            Ok(_) => Err(io::Error::other("is nested too deep")),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => self.remove(name),
            Err(error) => Err(error),
        }
    }

    fn both_synced(&self, other: &Self) -> io::Result<()> {
        other.sync()?;
        self.sync()
    }

    /// Makes names durable.
    fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.0) {
            // Some network shares keep names by themselves, and know no such call for folders.
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::BADF) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn is_a(kind: FileType, stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn no_link_is_followed_neither_to_a_file_nor_to_a_folder_nor_when_something_is_written() {
        let place = tempfile::tempdir().unwrap();
        let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
        fs::create_dir_all(&ours).unwrap();
        fs::create_dir_all(&theirs).unwrap();
        fs::write(theirs.join("secret"), "secret").unwrap();
        symlink(theirs.join("secret"), ours.join("file")).unwrap();
        symlink(&theirs, ours.join("folder")).unwrap();
        symlink(theirs.join("new"), ours.join(".result.json.tmp")).unwrap();
        let dir = Dir::open(&ours).unwrap();
        assert_eq!(dir.file(name("file")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(dir.sub(name("folder")).err().unwrap().kind(), io::ErrorKind::NotADirectory);
        assert!(dir.make("folder").is_err());
        dir.own("folder").unwrap().write("result.json", b"ours").unwrap();
        dir.write("result.json", b"ours").unwrap();
        dir.write("file", b"ours").unwrap();
        assert_eq!(fs::read_dir(&theirs).unwrap().count(), 1);
        assert_eq!(fs::read(theirs.join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read(ours.join("file")).unwrap(), b"ours");
        symlink(&theirs, ours.join("folder/theirs")).unwrap();
        dir.remove_all(name("folder")).unwrap();
        assert!(theirs.join("secret").exists() && !ours.join("folder").exists());
    }

    #[test]
    fn a_pipe_is_no_file_and_nobody_waits_for_its_writer() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        rustix::fs::mknodat(&dir.0, "pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(dir.file(name("pipe")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_moved_onto_a_namesake_gets_a_number_and_replaces_nothing() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        let done = dir.make("done").unwrap();
        for content in ["1", "2", "3"] {
            dir.make("request").unwrap().write("request.json", content.as_bytes()).unwrap();
            dir.move_to(name("request"), &done, "request").unwrap();
        }
        for (moved, content) in [("request", "1"), ("request~2", "2"), ("request~3", "3")] {
            assert_eq!(
                fs::read_to_string(place.path().join("done").join(moved).join("request.json")).unwrap(),
                content
            );
        }
        done.remove_all(name("request~2")).unwrap();
        assert_eq!(done.entries(9).unwrap().len(), 2);
    }
}
