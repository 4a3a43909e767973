//! The folder in which a system keeps what it is known by: `current` leads to a sub-folder with key, chain, roots and
//! revocation lists that belong together.
//!
//! A new set is written whole and synced beside the old one; then one rename puts it in force. Whoever reads follows the link
//! once and sees one set or the other; a process killed at any step leaves a set that can be used, and at most one too many.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use lgsp_certs::TlsFiles;
use lgsp_journal::fault;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use zeroize::Zeroizing;

use crate::digest::random;

/// The link to the set in force.
pub(super) const CURRENT: &str = "current";
/// Its next place, before it takes the name.
const NEXT: &str = "next";
/// Held by who writes.
const LOCK: &str = "lock";
/// Keys of those who are joining.
const JOINING: &str = "joining";
/// The name of the token that was joined with last.
const JOINED: &str = "joined";

const KEY: &str = "key.pem";
const CHAIN: &str = "chain.pem";
const BUNDLE: &str = "bundle.pem";
const CRL: &str = "crl";

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folder(PathBuf);

/// What a system is known by and whom it trusts. `Debug` shows no key.
#[derive(Clone, Eq, PartialEq)]
pub struct Set {
    /// The private key, PKCS#8 PEM.
    pub key: Zeroizing<String>,
    /// The certificate, followed by its intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots that gateways chain to.
    pub roots: Vec<CertificateDer<'static>>,
    /// Revocation lists about certificates of gateways.
    pub revocation_lists: Vec<CertificateRevocationListDer<'static>>,
}

/// A set that is durable and not in force. Nobody else writes to the folder while it is there; dropped, it is removed.
#[derive(Debug)]
pub struct Draft {
    folder: PathBuf,
    name: String,
    in_force: bool,
    /// Given back when the file is closed.
    _lock: File,
}

impl Folder {
    /// The folder at `path`, which need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The files of the set in force, by way of the link: what they are at the moment of reading.
    pub fn files(&self) -> TlsFiles {
        files_in(&self.0.join(CURRENT))
    }

    /// The sub-folder of the set in force; `None` if there is none.
    ///
    /// # Errors
    /// When the folder cannot be read, or `current` is no link.
    pub fn current(&self) -> io::Result<Option<PathBuf>> {
        match fs::read_link(self.0.join(CURRENT)) {
            Ok(target) => Ok(Some(self.0.join(target))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the set in force; `None` if there is none.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else than it should.
    pub fn read(&self) -> io::Result<Option<Set>> {
        self.current()?.as_deref().map(Set::read).transpose()
    }

    /// Writes a new set, durably, beside the one in force. Waits while somebody else writes.
    ///
    /// # Errors
    /// What the disk says. The set in force is untouched.
    pub fn write(&self, set: &Set, now: SystemTime) -> io::Result<Draft> {
        make_folder(&self.0)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.0.join(LOCK))?;
        lock.lock()?;
        let moment = Timestamp::try_from(now).map_err(io::Error::other)?;
        let name = format!("{}-{}", moment.strftime("%Y%m%dT%H%M%SZ"), HEXLOWER.encode(&random::<4>()));
        // From here on a failure removes what was written.
        let draft = Draft { folder: self.0.clone(), name, in_force: false, _lock: lock };
        make_folder(&draft.path())?;
        set.write(&draft.path())?;
        sync_folder(&self.0)?;
        Ok(draft)
    }

    /// Where the key lies with which somebody joins over a token, until the certificate is here.
    pub(super) fn joining_key(&self, token_id: &[u8]) -> io::Result<PathBuf> {
        let folder = self.0.join(JOINING);
        make_folder(&folder)?;
        // The key is to be there after a power cut, so its folders must be.
        sync_folder(&self.0)?;
        if let Some(parent) = self.0.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        Ok(self.joining_file(token_id))
    }

    /// Whether somebody has begun to join over a token.
    pub(super) fn has_joining_key(&self, token_id: &[u8]) -> bool {
        self.joining_file(token_id).exists()
    }

    fn joining_file(&self, token_id: &[u8]) -> PathBuf {
        self.0.join(JOINING).join(format!("{}.pem", HEXLOWER.encode(token_id)))
    }

    /// Notes that all is done that this token was for, and removes the keys of those who were joining. Until then the same token,
    /// said again, gives the same certificate; from then on [`Folder::has_joined`] says that nothing is left to do.
    ///
    /// # Errors
    /// What the disk says. It may be asked again.
    pub fn joined(&self, token_id: &[u8]) -> io::Result<()> {
        let next = self.0.join(format!("{JOINED}.{NEXT}"));
        fs::write(&next, HEXLOWER.encode(token_id))?;
        File::open(&next)?.sync_all()?;
        fs::rename(&next, self.0.join(JOINED))?;
        sync_folder(&self.0)?;
        match fs::remove_dir_all(self.0.join(JOINING)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => sync_folder(&self.0),
        }
    }

    /// Whether this token was the last that was joined with here, to the end.
    pub fn has_joined(&self, token_id: &[u8]) -> bool {
        fs::read_to_string(self.0.join(JOINED)).is_ok_and(|noted| noted == HEXLOWER.encode(token_id))
    }
}

impl Draft {
    /// Its sub-folder.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Puts the set in force, durably, and removes all older ones but the last, which somebody may just be reading.
    ///
    /// # Errors
    /// What the disk says. One of the two sets is in force, whole; which one, reading tells.
    pub fn put_in_force(mut self) -> io::Result<()> {
        let current = self.folder.join(CURRENT);
        let before = fs::read_link(&current).ok();
        let next = self.folder.join(NEXT);
        // What somebody left behind who was killed between the two.
        match fs::remove_file(&next) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&self.name, &next)?;
        fault::reached(fault::IDENTITY_FORCE)?;
        fs::rename(&next, &current)?;
        self.in_force = true;
        fault::reached(fault::IDENTITY_FOLDER)?;
        sync_folder(&self.folder)?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_kept = name == *self.name || before.as_deref().is_some_and(|before| before == Path::new(&name));
            let is_set = name.to_str().is_some_and(is_set_name) && entry.file_type()?.is_dir();
            if is_set && !is_kept {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.in_force {
            // What stays is removed when a later set is put in force.
            let _ = fs::remove_dir_all(self.path());
        }
    }
}

impl Set {
    fn write(&self, folder: &Path) -> io::Result<()> {
        write_file(&folder.join(KEY), self.key.as_bytes(), 0o600)?;
        write_file(&folder.join(CHAIN), pem("CERTIFICATE", &self.chain).as_bytes(), 0o644)?;
        write_file(&folder.join(BUNDLE), pem("CERTIFICATE", &self.roots).as_bytes(), 0o644)?;
        for (number, list) in self.revocation_lists.iter().enumerate() {
            // So many digits that their order as names is theirs.
            write_file(&folder.join(format!("{number:03}.{CRL}")), pem("X509 CRL", [list]).as_bytes(), 0o644)?;
        }
        sync_folder(folder)
    }

    fn read(folder: &Path) -> io::Result<Self> {
        let key = Zeroizing::new(fs::read_to_string(folder.join(KEY))?);
        let certificates = |name: &str| {
            let pem = fs::read(folder.join(name))?;
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            let damaged = || io::Error::new(ErrorKind::InvalidData, format!("{name} holds no certificates"));
            read.ok().filter(|read| !read.is_empty()).ok_or_else(damaged)
        };
        let mut lists = Vec::new();
        for file in revocation_lists_in(folder)? {
            let list = CertificateRevocationListDer::from_pem_slice(&fs::read(file)?);
            lists.push(list.map_err(|_| io::Error::new(ErrorKind::InvalidData, "a revocation list is damaged"))?);
        }
        Ok(Self { key, chain: certificates(CHAIN)?, roots: certificates(BUNDLE)?, revocation_lists: lists })
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Set").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

/// The files of revocation lists in a set's folder, in their order.
pub(super) fn revocation_lists_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == CRL) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The files of a set.
pub(super) fn files_in(folder: &Path) -> TlsFiles {
    let file = |name| folder.join(name);
    TlsFiles { certificate: file(CHAIN), key: file(KEY), bundle: file(BUNDLE) }
}

/// `20261122T101500Z-0a1b2c3d`.
fn is_set_name(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = name.split_once('T').and_then(|(date, rest)| Some((date, rest.split_once("Z-")?)));
    parts.is_some_and(|(date, (time, suffix))| [date, time, suffix].into_iter().all(digits))
}

fn pem<'a, T: AsRef<[u8]> + 'a>(label: &str, ders: impl IntoIterator<Item = &'a T>) -> String {
    let mut text = String::new();
    for der in ders {
        text += &format!("-----BEGIN {label}-----\n");
        let encoded = BASE64.encode(der.as_ref());
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            text += line;
            text.push('\n');
            rest = more;
        }
        text += &format!("-----END {label}-----\n");
    }
    text
}

/// Writes a file that is not there yet, and syncs it.
pub(super) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    fault::reached(fault::IDENTITY_FILE)?;
    file.sync_all()
}

/// For its owner alone; one that is there stays as it is.
fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn set(mark: u8) -> Set {
        Set {
            key: format!("-----BEGIN PRIVATE KEY-----\nkey {mark}\n-----END PRIVATE KEY-----\n").into(),
            chain: vec![vec![mark; 100].into(), vec![mark; 3].into()],
            roots: vec![vec![mark, 1].into()],
            revocation_lists: (0..12).map(|number| vec![mark, number].into()).collect(),
        }
    }

    fn sets(folder: &Folder) -> usize {
        let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| is_set_name(name.to_str().unwrap())).count()
    }

    fn put(folder: &Folder, mark: u8) {
        folder.write(&set(mark), SystemTime::now()).unwrap().put_in_force().unwrap();
    }

    #[test]
    fn what_was_put_in_force_is_read_and_two_sets_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path().join("identity"));
        assert_eq!(folder.read().unwrap(), None);
        for mark in 0..4 {
            put(&folder, mark);
            assert_eq!(folder.read().unwrap(), Some(set(mark)));
        }
        assert_eq!(sets(&folder), 2);
        let key = fs::metadata(folder.files().key).unwrap().permissions().mode();
        assert_eq!(key & 0o777, 0o600);
        assert!(!format!("{:?}", set(7)).contains("PRIVATE"));
    }

    #[test]
    fn a_draft_changes_nothing_until_it_is_put_in_force_and_leaves_nothing_when_it_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path());
        put(&folder, 1);
        let draft = folder.write(&set(2), SystemTime::now()).unwrap();
        assert_eq!(Set::read(&draft.path()).unwrap(), set(2));
        assert_eq!(folder.read().unwrap(), Some(set(1)));
        drop(draft);
        assert_eq!((folder.read().unwrap(), sets(&folder)), (Some(set(1)), 1));
    }

    #[test]
    fn what_killed_writers_left_behind_is_in_nobodys_way_and_goes_with_the_next_set() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path());
        put(&folder, 1);
        // One died between its files, one between making the link and renaming it.
        for name in ["20260101T000000Z-00000001", "20990101T000000Z-00000002"] {
            make_folder(&scratch.path().join(name)).unwrap();
            fs::write(scratch.path().join(name).join(KEY), "half").unwrap();
        }
        symlink("20990101T000000Z-00000002", scratch.path().join(NEXT)).unwrap();
        assert_eq!(folder.read().unwrap(), Some(set(1)));
        put(&folder, 2);
        assert_eq!((folder.read().unwrap(), sets(&folder)), (Some(set(2)), 2));
        assert!(!scratch.path().join(NEXT).is_symlink());
    }

    #[test]
    fn two_who_write_at_once_do_so_one_after_the_other() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::at(scratch.path());
        let writers: Vec<_> = (0..8)
            .map(|mark| {
                let folder = folder.clone();
                std::thread::spawn(move || put(&folder, mark))
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let last = folder.read().unwrap().unwrap();
        assert!((0..8).any(|mark| last == set(mark)));
        assert_eq!(sets(&folder), 2);
    }
}
