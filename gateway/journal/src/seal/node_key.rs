//! The node key: the one secret an operator keeps apart from the data, and backs up.
//!
//! It seals nothing itself. Every use derives a key of its own by HKDF (RFC 5869) under a purpose, so that no two uses can be
//! played against each other.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::hkdf;
use thiserror::Error;
use zeroize::Zeroizing;

use super::random;

/// The key of this node. Wiped from memory when dropped.
pub struct NodeKey(Zeroizing<[u8; 32]>);

/// Why a node key could not be had.
#[derive(Debug, Error)]
pub enum NodeKeyError {
    /// The file may be read by anyone, or written by others than its owner.
    #[error("{} is open to others than its owner (mode {mode:03o}); set it to 600", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a key: 64 hexadecimal digits and a line end.
    #[error("{} does not hold a node key", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read or written.
    #[error("{} could not be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The length of the file: 64 digits and a line end.
const FILE_LENGTH: usize = 65;

impl NodeKey {
    /// A key from bytes kept elsewhere.
    #[must_use]
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Reads the key from `path`, or makes one and keeps it there, readable by the owner only.
    ///
    /// The file gets its name in one step after it was synced, and only if nobody else was first, so of two processes that
    /// start together both use the same key.
    ///
    /// # Errors
    /// See [`NodeKeyError`]. A file that is not a key is never replaced: what it sealed would be lost.
    pub fn load_or_create(path: &Path) -> Result<Self, NodeKeyError> {
        match Self::load(path) {
            Err(NodeKeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(path).map_err(|source| NodeKeyError::Io { path: path.to_owned(), source })?;
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    /// Reads the key from `path`.
    ///
    /// # Errors
    /// See [`NodeKeyError`].
    pub fn load(path: &Path) -> Result<Self, NodeKeyError> {
        let failed = |source| NodeKeyError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode() & 0o777;
        // A group may read: that is how Kubernetes mounts a secret for a user that is not root.
        if mode & 0o037 != 0 {
            return Err(NodeKeyError::TooOpen { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new([0; FILE_LENGTH + 1]);
        let mut length = 0;
        let mut file = file.take(text.len() as u64);
        loop {
            match file.read(&mut text[length..]).map_err(failed)? {
                0 => break,
                read => length += read,
            }
        }
        parse_hex(text[..length].trim_ascii_end())
            .map(Self)
            .ok_or_else(|| NodeKeyError::Malformed { path: path.to_owned() })
    }

    /// The key for one purpose. The same purpose gives the same key, another one a key that says nothing about it.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        expand(b"lgsp node key v1", &self.0, &[purpose.as_bytes()])
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

/// HKDF with SHA-256: extract with `salt`, expand with `info`, its parts one after the other.
pub(super) fn expand(salt: &[u8], secret: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, hkdf::HKDF_SHA256)
        .and_then(|derivation| derivation.fill(&mut *derived))
        .expect("HKDF-SHA256 gives 32 bytes");
    derived
}

fn create(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // A name of its own, so that two processes do not write to one file.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{:016x}.tmp", u64::from_le_bytes(random())));
    let temporary = PathBuf::from(temporary);

    let secret = Zeroizing::new(random::<32>());
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_LENGTH));
    for byte in secret.iter() {
        text.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    text.push(b'\n');

    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(&text).and_then(|()| file.sync_all());
    // A link, unlike a rename, does not replace the key of a process that was faster.
    let named = written.and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    });
    let removed = fs::remove_file(&temporary);
    named.and(removed)?;
    File::open(folder)?.sync_all()
}

fn parse_hex(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if text.len() != 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Zeroizing::new([0; 32]);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let made = NodeKey::load_or_create(&path).unwrap();
        let found = NodeKey::load_or_create(&path).unwrap();
        assert_eq!(made.derive("x"), found.derive("x"));
        assert_ne!(made.derive("x"), made.derive("y"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no leftover");
        assert_eq!(format!("{made:?}"), "NodeKey(..)");
    }

    #[test]
    fn processes_that_start_together_use_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..8).map(|_| scope.spawn(|| NodeKey::load_or_create(&path).unwrap())).collect();
            starting.into_iter().map(|key| key.join().unwrap().derive("x")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_file_that_is_no_key_or_open_to_all_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        for wrong in [&b""[..], &[b'a'; 63], &[b'a'; 66], &[b'g'; 64]] {
            fs::write(&path, wrong).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(NodeKey::load_or_create(&path), Err(NodeKeyError::Malformed { .. })));
            assert_eq!(fs::read(&path).unwrap(), wrong);
        }
        fs::write(&path, [b'a'; 64]).unwrap();
        NodeKey::load(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(NodeKey::load(&path), Err(NodeKeyError::TooOpen { mode: 0o644, .. })));
    }

    #[test]
    fn derivation_is_hkdf_as_published() {
        // RFC 5869 takes any length of input; ours is fixed, so this vector was computed with Python's hmac module:
        // PRK = HMAC(salt, 32 × 0x0b), OKM = HMAC(PRK, "purpose" ‖ 0x01).
        let okm = NodeKey::from_bytes(Zeroizing::new([0x0b; 32])).derive("purpose");
        let hex: String = okm.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba1764f8d57e0d2330dbc6a1903025ab87e778dceac0cdebaa0c505c7fb19364");
    }
}
