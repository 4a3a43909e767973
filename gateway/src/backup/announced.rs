//! That the books are copied out, said to the gateway: a note in the data folder, which becomes a record of the journal.
//!
//! A backup reads the folder beside the gateway, so the gateway would not know. The note is durable before anything is copied;
//! a running gateway takes it within seconds, a stopped one when it starts. Who copies the files by other means leaves none:
//! against somebody who may read the folder as its owner there is no note that helps.
//!
//! ```text
//! lgsp-export 1
//! what backup
//! at_unix_ms 1752458400000
//! end <sha256 of all lines before>
//! ```
//!
//! The file's name is the copy's identity, its owner is who copied. A stored format: a later version may add lines that begin with
//! other words, which a reader passes over, or raise the number, which it refuses.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use rustix::fs::{Mode, OFlags, mkdirat, openat, renameat};
use rustix::io::Errno;

use super::manifest::{Identity, sealed, unsealed};
use crate::engine::clock::unix_millis;
use crate::store::{Exported, OWN_NAME};

/// Where the notes are in a data folder.
const FOLDER: &str = "exports";

const VERSION: &str = "lgsp-export 1";

/// What is said of a backup.
pub(super) const BACKUP: &str = "backup";

/// A note that was found.
#[derive(Debug)]
pub(crate) struct Note {
    path: PathBuf,
    /// What it says; `None` when it cannot be read, or a later version wrote it.
    pub(crate) exported: Option<Exported>,
}

impl Note {
    /// Removes it, once it is on record.
    ///
    /// # Errors
    /// It is still there, and recording it again changes nothing.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Says that the books in the folder `data` are about to be copied. Durable when it returns `Ok`.
///
/// # Errors
/// The note cannot be left; then nothing may be copied.
pub(super) fn announce(data: &Path, what: &str, identity: &Identity, at: SystemTime) -> io::Result<()> {
    // By handles, and never through a link: whoever copies may be root, and the folder belongs to the gateway's user.
    let data = File::open(data)?;
    match mkdirat(&data, FOLDER, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => {}
        made => {
            made?;
            data.sync_all()?;
        }
    }
    let no_link = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(&data, FOLDER, OFlags::RDONLY | OFlags::DIRECTORY | no_link, Mode::empty())?;
    let folder = File::from(folder);
    // Whoever may write to the data folder takes the notes away, also when somebody else left the first one.
    let owner = data.metadata()?;
    if folder.metadata()?.uid() != owner.uid() {
        fchown(&folder, Some(owner.uid()), Some(owner.gid()))?;
    }
    let name = HEXLOWER.encode(identity);
    let (temporary, text) =
        (format!("{name}.tmp"), format!("{VERSION}\nwhat {what}\nat_unix_ms {}\n", unix_millis(at)));
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | no_link;
    let mut note = File::from(openat(&folder, temporary.as_str(), new, Mode::from_raw_mode(0o600))?);
    note.write_all(sealed(text).as_bytes())?;
    // It says nothing that is not in the journal soon, and the gateway may run as somebody else.
    note.set_permissions(fs::Permissions::from_mode(0o644))?;
    note.sync_all()?;
    renameat(&folder, temporary.as_str(), &folder, name.as_str())?;
    folder.sync_all()
}

/// The notes in the data folder that are not on record yet, in no order.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn announced(data: &Path) -> io::Result<Vec<Note>> {
    let entries = match fs::read_dir(data.join(FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut notes = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // One that is being written has another name until it is whole.
        if path.extension().is_none() {
            notes.push(Note { exported: read(&path), path });
        }
    }
    Ok(notes)
}

fn read(path: &Path) -> Option<Exported> {
    let identity = HEXLOWER.decode(path.file_name()?.to_str()?.as_bytes()).ok()?.try_into().ok()?;
    let actor = format!("uid-{}", fs::metadata(path).ok()?.uid()).parse().ok()?;
    let text = fs::read_to_string(path).ok()?;
    let mut lines = unsealed(&text)?.lines();
    if lines.next() != Some(VERSION) {
        return None;
    }
    let (mut what, mut at) = (None, None);
    for line in lines {
        match line.split_once(' ')? {
            ("what", word) => what = Some(word).filter(|word| is_word(word)),
            ("at_unix_ms", ms) => at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms.parse().ok()?)),
            _ => {}
        }
    }
    Some(Exported { what: what?.to_owned(), identity, party: None, actor, system: OWN_NAME.to_owned(), at: at? })
}

/// It is shown to operators as it is.
fn is_word(word: &str) -> bool {
    (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_as_it_was_left_and_one_that_was_changed_says_nothing() {
        let data = tempfile::tempdir().unwrap();
        assert!(announced(data.path()).unwrap().is_empty());
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_752_458_400_007);
        announce(data.path(), BACKUP, &[7; 16], at).unwrap();
        let notes = announced(data.path()).unwrap();
        let exported = notes[0].exported.as_ref().unwrap();
        assert_eq!((exported.what.as_str(), exported.identity, exported.at), ("backup", [7; 16], at));
        let uid = fs::metadata(data.path()).unwrap().uid();
        assert_eq!(exported.actor.as_str(), format!("uid-{uid}"));

        let path = notes[0].path();
        let text = fs::read(path).unwrap();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            fs::write(path, changed).unwrap();
            assert!(announced(data.path()).unwrap()[0].exported.is_none(), "byte {at}");
        }
        fs::write(path, sealed(format!("{VERSION}\nwhat backup\nat_unix_ms 5\nwhy drill\n"))).unwrap();
        assert!(announced(data.path()).unwrap()[0].exported.is_some(), "a later version may add lines");
        fs::write(path, sealed("lgsp-export 2\nwhat backup\nat_unix_ms 5\n".to_owned())).unwrap();
        assert!(announced(data.path()).unwrap()[0].exported.is_none(), "a later form may mean anything");
        notes[0].remove().unwrap();
        assert!(announced(data.path()).unwrap().is_empty());
    }

    #[test]
    fn a_note_is_left_through_no_link_that_the_owner_of_the_folder_has_laid() {
        use std::os::unix::fs::symlink;
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(elsewhere.path(), data.path().join(FOLDER)).unwrap();
        assert!(announce(data.path(), BACKUP, &[7; 16], SystemTime::UNIX_EPOCH).is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is left elsewhere");

        fs::remove_file(data.path().join(FOLDER)).unwrap();
        fs::create_dir(data.path().join(FOLDER)).unwrap();
        let victim = elsewhere.path().join("shadow");
        fs::write(&victim, "root's own").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        let name = HEXLOWER.encode(&[7; 16]);
        symlink(&victim, data.path().join(FOLDER).join(format!("{name}.tmp"))).unwrap();
        assert!(announce(data.path(), BACKUP, &[7; 16], SystemTime::UNIX_EPOCH).is_err());
        // One in the note's own place gives way to the note.
        symlink(&victim, data.path().join(FOLDER).join(HEXLOWER.encode(&[8; 16]))).unwrap();
        announce(data.path(), BACKUP, &[8; 16], SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"root's own");
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
