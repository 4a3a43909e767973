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
/// a rename, that cannot replace a key somebody still needs, even when two processes write at once.
///
/// # Errors
/// `AlreadyExists` when there is a file of that name; it is untouched. After any error nothing is at `path` that was
/// not there before.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = draft_of(path)?;
    let written = write_draft(&draft, bytes, mode).and_then(|()| fs::hard_link(&draft, path));
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
}
