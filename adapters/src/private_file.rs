//! Small files with secrets in them: read within bounds, written durably, whole or not at all, for their owner alone. Whoever writes
//! one as root leaves it whose it was, or whose folder it is in: the adapter reads it under an account of its own.
//!
//! What a file holds is its user's business; nothing of it is repeated in an error.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use data_encoding::HEXLOWER;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::digest::random;

/// Whoever may give files away.
const ROOT: u32 = 0;

/// The text of a file.
///
/// # Errors
/// It cannot be read, has more than `most` bytes, or is no text.
pub(crate) fn read(file: &Path, most: u64) -> io::Result<Zeroizing<String>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    // With room for all of it at once, so that no copy is left where it would have grown.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(most).unwrap_or_default() + 1));
    File::open(file)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(invalid("it is too long"));
    }
    str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| invalid("it is not text"))
}

/// Puts a file in the place of the one that is there, if any.
///
/// # Errors
/// What the disk says. What was there still is, or what was to be written.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    put(file, text, |draft| fs::rename(draft, file))
}

/// Makes a file unless there is one: of two who make it at once, both find the same afterwards.
///
/// # Errors
/// What the disk says.
pub(crate) fn create(file: &Path, text: &str) -> io::Result<()> {
    put(file, text, |draft| match rustix::fs::renameat_with(CWD, draft, CWD, file, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => fs::remove_file(draft),
        // A file system that cannot look first.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(draft, file),
        moved => Ok(moved?),
    })
}

fn put(file: &Path, text: &str, name: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", HEXLOWER.encode(&random::<8>())));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut new| {
        new.write_all(text.as_bytes())?;
        give(&new, file)?;
        new.sync_all()?;
        name(Path::new(&draft))
    });
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written?;
    File::open(folder_of(file))?.sync_all()
}

/// Gives what root has written to the owner of the file in whose place it comes, or else of the folder.
fn give(new: &File, file: &Path) -> io::Result<()> {
    if new.metadata()?.uid() != ROOT {
        return Ok(());
    }
    let before = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::metadata(folder_of(file)),
        found => found,
    }?;
    if before.uid() == ROOT { Ok(()) } else { fchown(new, Some(before.uid()), Some(before.gid())) }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::chown;

    #[test]
    fn of_two_who_make_a_file_the_first_has_made_it_and_no_draft_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        create(&file, "first").unwrap();
        create(&file, "second").unwrap();
        assert_eq!(*read(&file, 100).unwrap(), "first");
        write(&file, "third").unwrap();
        assert_eq!(*read(&file, 100).unwrap(), "third");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(read(&file, 4).is_err(), "it is too long");
    }

    #[test]
    fn what_root_writes_in_the_place_of_anothers_file_stays_the_others() {
        let folder = tempfile::tempdir().unwrap();
        if fs::metadata(folder.path()).unwrap().uid() != 0 {
            // Nobody else gives files away, or has to.
            return;
        }
        let file = folder.path().join("secret");
        create(&file, "first").unwrap();
        chown(&file, Some(4711), Some(4712)).unwrap();
        write(&file, "second").unwrap();
        let of = |file: &Path| fs::metadata(file).map(|now| (now.uid(), now.gid(), now.mode() & 0o777)).unwrap();
        assert_eq!((of(&file), &**read(&file, 100).unwrap()), ((4711, 4712, 0o600), "second"));
        // A new one is of whose folder it is in.
        chown(folder.path(), Some(4711), Some(4712)).unwrap();
        let new = folder.path().join("new");
        create(&new, "first").unwrap();
        assert_eq!(of(&new), (4711, 4712, 0o600));
    }
}
