//! The manifest of a backup: a text that says what it holds, and by its last line that it is whole.
//!
//! ```text
//! lgsp-backup 1
//! identity 00112233445566778899aabbccddeeff
//! taken_at_unix_ms 1752458400000
//! journal ffeeddccbbaa99887766554433221100
//! last_position 4711
//! epoch 1
//! file <sha256> <size> data/journal/0000000001.seg
//! …
//! end <sha256 of all lines before>
//! ```
//!
//! A stored format: a later version may add words before `file`, which a reader passes over, or raise the number, which it
//! refuses.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use super::write_whole;
use crate::engine::clock::unix_millis;

/// The manifest's name in a backup.
pub(super) const MANIFEST: &str = "MANIFEST";

const VERSION: &str = "lgsp-backup 1";

/// Names a backup: 16 random bytes.
pub type Identity = [u8; 16];

/// What a backup holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// Which backup it is.
    pub identity: Identity,
    /// When it was begun, by the machine clock.
    pub taken_at: SystemTime,
    /// Which journal.
    pub journal: [u8; 16],
    /// The last record.
    pub last_position: u64,
    /// The epoch of the books.
    pub epoch: u32,
    /// Every file, in the order in which it was copied.
    pub files: Vec<Entry>,
}

/// A file of the gateway in a backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// SHA-256 of its content, which is also where it is kept.
    pub sha256: [u8; 32],
    /// Its size.
    pub size: u64,
    /// Its place: `data/…`, `documents/…` or `node.key`.
    pub path: String,
}

/// Why a folder is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none, or it cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The manifest.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was cut short or changed.
    #[error("the manifest is damaged, at line {line}")]
    Damaged {
        /// Where it stops to make sense, from 1.
        line: usize,
    },
    /// A later version wrote it.
    #[error("it was written by a later version (form {0}); use that one")]
    Version(String),
}

impl Entry {
    /// Where its content is in the backup `dir`.
    pub fn stored_in(&self, dir: &Path) -> PathBuf {
        let name = HEXLOWER.encode(&self.sha256);
        dir.join("files").join(&name[..2]).join(name)
    }
}

impl Manifest {
    /// Reads the manifest of the backup `dir`.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn load(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|source| ManifestError::Io { path, source })?;
        Self::parse(&text)
    }

    /// Puts the manifest in force.
    pub(super) fn store(&self, dir: &Path) -> io::Result<()> {
        write_whole(&dir.join(MANIFEST), self.to_text().as_bytes())
    }

    fn to_text(&self) -> String {
        let Self { identity, taken_at, journal, last_position, epoch, files } = self;
        let mut text = format!(
            "{VERSION}\nidentity {}\ntaken_at_unix_ms {}\njournal {}\nlast_position {last_position}\nepoch {epoch}\n",
            HEXLOWER.encode(identity),
            unix_millis(*taken_at),
            HEXLOWER.encode(journal),
        );
        for Entry { sha256, size, path } in files {
            // A text can be written to.
            let _ = writeln!(text, "file {} {size} {path}", HEXLOWER.encode(sha256));
        }
        sealed(text)
    }

    fn parse(text: &str) -> Result<Self, ManifestError> {
        let first = text.lines().next().unwrap_or_default();
        if first != VERSION {
            return match first.strip_prefix("lgsp-backup ") {
                Some(version) => Err(ManifestError::Version(version.chars().take(20).collect())),
                None => Err(ManifestError::Damaged { line: 1 }),
            };
        }
        let last = text.lines().count();
        let damaged = |line| ManifestError::Damaged { line };
        let lines = unsealed(text).ok_or(damaged(last))?;
        let mut manifest = Self {
            identity: [0; 16],
            taken_at: SystemTime::UNIX_EPOCH,
            journal: [0; 16],
            last_position: 0,
            epoch: 0,
            files: Vec::new(),
        };
        for (number, line) in (2..).zip(lines.lines().skip(1)) {
            manifest.read_line(line).ok_or(damaged(number))?;
        }
        if manifest.identity == [0; 16] || manifest.epoch == 0 {
            return Err(damaged(last));
        }
        Ok(manifest)
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        let (word, value) = line.split_once(' ')?;
        match word {
            "identity" => self.identity = hex(value)?,
            "taken_at_unix_ms" => {
                self.taken_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(value.parse().ok()?))?;
            }
            "journal" => self.journal = hex(value)?,
            "last_position" => self.last_position = value.parse().ok()?,
            "epoch" => self.epoch = value.parse().ok()?,
            "file" => {
                let mut parts = value.splitn(3, ' ');
                let (sha256, size) = (hex(parts.next()?)?, parts.next()?.parse().ok()?);
                let path = parts.next().filter(|path| is_place(path))?.to_owned();
                self.files.push(Entry { sha256, size, path });
            }
            _ => {}
        }
        Some(())
    }
}

/// Reads a manifest of which only the line that says it is whole is in order. What is accepted names nothing outside of its
/// folder, and is written so that it can be read again.
#[cfg(feature = "fuzz")]
pub fn fuzz(text: &str) {
    if let Ok(manifest) = Manifest::parse(&sealed(text.to_owned())) {
        for Entry { path, .. } in &manifest.files {
            let inside = Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
            assert!(inside, "a restore would write outside of its folder");
        }
        let written = manifest.to_text();
        let again = Manifest::parse(&written).expect("what was written can be read");
        assert_eq!(again.to_text(), written);
    }
}

/// A text with the line that says it is whole.
pub(super) fn sealed(text: String) -> String {
    let end = HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref());
    text + "end " + &end + "\n"
}

/// The lines of a text before the one that says it is whole; `None` if it is not.
pub(super) fn unsealed(text: &str) -> Option<&str> {
    let end = text.rfind("end ").filter(|end| text.ends_with('\n') && text[..*end].ends_with('\n'))?;
    let sum = HEXLOWER.encode(digest(&SHA256, &text.as_bytes()[..end]).as_ref());
    (text[end..].trim_end() == format!("end {sum}")).then_some(&text[..end])
}

/// Whether a path stays where a restore may write, and can be written in a line again: a manifest may come from anywhere.
fn is_place(path: &str) -> bool {
    let inside = path == "node.key" || path.starts_with("data/") || path.starts_with("documents/");
    inside
        && !path.contains(char::is_control)
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = |path: &str| Entry { sha256: [7; 32], size: 5, path: path.to_owned() };
        Manifest {
            identity: [1; 16],
            taken_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_752_458_400_123),
            journal: [2; 16],
            last_position: 4711,
            epoch: 3,
            files: vec![entry("data/journal/0000000001.seg"), entry("documents/whole/00000000/0000000000001024")],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(Manifest::parse(&manifest().to_text()).unwrap(), manifest());
    }

    #[test]
    fn a_manifest_that_was_cut_short_or_changed_is_never_used() {
        let text = manifest().to_text();
        for length in 0..text.len() {
            assert!(Manifest::parse(&text[..length]).is_err(), "{length} of {} bytes", text.len());
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(Manifest::parse(&changed).is_err(), "byte {at}");
            }
        }
        let later = text.replace("lgsp-backup 1", "lgsp-backup 2");
        assert!(matches!(Manifest::parse(&later), Err(ManifestError::Version(version)) if version == "2"));
    }

    #[test]
    fn no_place_outside_of_the_gateways_folders_is_named() {
        for bad in ["/etc/passwd", "data/../../x", "data//x", "other/x", "data/.", "documents/"] {
            assert!(!is_place(bad), "{bad}");
        }
    }
}
