//! Whether files have changed since they were last looked at. When to look, and what to do then, is for the caller.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files of one configuration and how they looked last.
#[derive(Clone, Debug)]
pub struct Files {
    seen: Vec<(PathBuf, Option<Look>)>,
}

/// What tells one content from another without reading it: a file that was replaced has another inode, one that was
/// written into another time. Links are followed, so a swapped link to a folder is seen as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Look {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// These files as they look now. To be taken *before* they are read, so that a change in between is seen the next time.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { seen: paths.into_iter().map(|path| (path.clone(), Look::at(&path))).collect() }
    }

    /// Whether any of them looks otherwise than when this was asked last (or at the beginning). One that cannot be looked at
    /// counts as gone. As with [`Files::new`], ask before reading.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.seen {
            let now = Look::at(path);
            changed |= now != *seen;
            *seen = now;
        }
        changed
    }

    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.seen.iter().map(|(path, _)| path.as_path())
    }
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_has_changed_until_something_has_and_then_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        fs::write(&path, "one").unwrap();
        let mut files = Files::new([path.clone(), folder.path().join("missing.pem")]);
        assert!(!files.changed());
        fs::write(&path, "other").unwrap();
        assert!(files.changed() && !files.changed());
        fs::remove_file(&path).unwrap();
        assert!(files.changed() && !files.changed());
        fs::write(folder.path().join("missing.pem"), "there").unwrap();
        assert!(files.changed() && !files.changed());
    }

    #[test]
    fn a_file_replaced_by_one_of_the_same_length_and_time_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("a.pem"), folder.path().join("next"));
        fs::write(&path, "one").unwrap();
        fs::write(&next, "two").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&next).unwrap().set_modified(time).unwrap();
        let mut files = Files::new([path.clone()]);
        fs::rename(&next, &path).unwrap();
        assert!(files.changed());
    }

    #[test]
    fn a_link_to_a_folder_that_is_swapped_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["2026-01-01", "2026-09-01"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("key.pem"), "same").unwrap();
        }
        symlink("2026-01-01", at("current")).unwrap();
        let mut files = Files::new([at("current/key.pem")]);
        assert!(!files.changed());
        symlink("2026-09-01", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert!(files.changed());
    }
}
