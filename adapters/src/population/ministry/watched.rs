//! A private file whose content is used, and looked at again while the adapter runs: a change counts within a second, one that cannot be
//! used changes nothing and is complained about once. Nothing of its content is repeated in an error.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::private_file;

/// How soon a changed file counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest file: some thousands of clerks.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// See the module.
pub(super) struct Watched<T> {
    file: PathBuf,
    read: fn(&str) -> Result<T, String>,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    content: Arc<T>,
    looked: Instant,
    /// What was said last about a file that cannot be used.
    problem: Option<String>,
}

impl<T> Watched<T> {
    /// # Errors
    /// It cannot be read, everybody may read it, or it is not what it should be.
    pub(super) fn open(file: &Path, read: fn(&str) -> Result<T, String>) -> io::Result<Self> {
        let content = content(file, read)?;
        let held = Held { content, looked: Instant::now(), problem: None };
        Ok(Self { file: file.to_owned(), read, held: Mutex::new(held) })
    }

    /// What it holds now, or held when it could last be used.
    pub(super) fn current(&self) -> Arc<T> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK_EVERY {
            held.looked = Instant::now();
            match content(&self.file, self.read) {
                Ok(content) => (held.content, held.problem) = (content, None),
                Err(error) => {
                    let problem = error.to_string();
                    if held.problem.as_ref() != Some(&problem) {
                        tracing::error!(file = %self.file.display(), %error, "a file cannot be used; what was good goes on");
                    }
                    held.problem = Some(problem);
                }
            }
        }
        held.content.clone()
    }
}

fn content<T>(file: &Path, read: fn(&str) -> Result<T, String>) -> io::Result<Arc<T>> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    // The group is left to whoever mounts secrets.
    if std::fs::metadata(file)?.permissions().mode() & 0o007 != 0 {
        return Err(invalid("everybody on this machine may use it; chmod 600 closes it".to_owned()));
    }
    let text = private_file::read(file, MAX_FILE_BYTES)?;
    read(&text).map(Arc::new).map_err(invalid)
}

/// A secret is the first line of its file.
pub(super) fn secret(text: &str) -> Result<zeroize::Zeroizing<String>, String> {
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(line.to_owned().into())
        }
        _ => Err("its first line is no secret of printable ASCII".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_changed_file_counts_and_one_that_cannot_be_used_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let put = |text: &str, mode| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        };
        put("first\n", 0o640);
        let watched = Watched::open(&file, secret).unwrap();
        let now = |watched: &Watched<zeroize::Zeroizing<String>>| {
            watched.held.lock().unwrap().looked -= LOOK_EVERY;
            watched.current().to_string()
        };
        put("second", 0o600);
        assert_eq!(now(&watched), "second");
        for (text, mode) in [("third", 0o604), ("\n", 0o600), ("có dấu", 0o600)] {
            put(text, mode);
            assert_eq!(now(&watched), "second", "{text}");
            assert!(Watched::open(&file, secret).is_err());
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(now(&watched), "second");
    }
}
