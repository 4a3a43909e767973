//! Writing certificate and key files: whole or not at all, and a new one never over an existing one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Mode of a private key.
pub(crate) const SECRET: u32 = 0o600;
/// Mode of a certificate.
pub(crate) const PUBLIC: u32 = 0o644;

/// Writes `bytes` to a new file at `path` and syncs it.
///
/// The bytes go to a neighbour first, with `mode` from its first moment on, and get their name by a hard link: unlike
/// a rename, that cannot replace a key somebody still needs, even when two processes write at once. Where there are no
/// links, as on a memory stick, they are written at `path` itself.
///
/// # Errors
/// `AlreadyExists` when there is a file of that name; it is untouched. After any error nothing is at `path` that was
/// not there before, unless there are no links and the machine stopped in the middle.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_new_by(path, bytes, mode, |draft, path| fs::hard_link(draft, path))
}

fn write_new_by(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    link: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let draft = draft_of(path)?;
    let linked = write_draft(&draft, bytes, mode).and_then(|()| match link(&draft, path) {
        // What FAT and exFAT answer is the first (link(2)).
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(false),
        other => other.map(|()| true),
    });
    let written = linked.and_then(|linked| if linked { Ok(()) } else { write_in_place(path, bytes, mode) });
    // The draft goes in both cases; only the link decides whether the file is there.
    let removed = fs::remove_file(&draft);
    written?;
    removed?;
    File::open(folder_of(path))?.sync_all()
}

/// Writes `bytes` to `path` and syncs it, over what is there.
///
/// # Errors
/// After any error `path` is as it was, or has the new bytes in full.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = draft_of(path)?;
    if let Err(error) = write_draft(&draft, bytes, mode).and_then(|()| fs::rename(&draft, path)) {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A name beside `path` that nobody else uses.
fn draft_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut suffix = [0; 8];
    aws_lc_rs::rand::fill(&mut suffix).map_err(|_| io::Error::other("no randomness for a file name"))?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{:016x}", u64::from_be_bytes(suffix)));
    Ok(folder_of(path).join(draft))
}

/// Writes a file that must not be there yet, and takes it away again when that fails.
fn write_in_place(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn write_draft(draft: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn where_there_are_no_links_a_file_is_written_all_the_same_and_never_over_another() {
        const EPERM: i32 = 1;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        let write = |bytes: &[u8]| write_new_by(&path, bytes, SECRET, |_, _| Err(io::Error::from_raw_os_error(EPERM)));
        write(b"one").unwrap();
        assert_eq!(write(b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn an_existing_file_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write_new(&path, b"first", SECRET).unwrap();
        let error = write_new(&path, b"second", SECRET).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crl");
        replace(&path, b"first", PUBLIC).unwrap();
        replace(&path, b"second", PUBLIC).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        // A folder stands in the way of the name, so the last step fails.
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        replace(&taken, b"third", PUBLIC).unwrap_err();
        assert!(taken.is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no draft is left behind");
    }
}
