//! The registry's copy on this machine: one file, replaced in one step, so that a crash leaves the former or the new one.
//!
//! The copy is checked by the digest the gateway gave with it, when it comes and when it is read back. One that this program
//! cannot read never takes the place of one that it can. When it was last found to be in force is the file's time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use lgsp_domain::registry::Registry;
use lgsp_proto::v1::ReadRegistryResponse;
use prost::Message;

use super::unix_ms;
use crate::digest::sha256;

const FILE: &str = "registry.bin";
const NEW: &str = "registry.new";

/// See the module.
pub(crate) struct Copy {
    folder: PathBuf,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    registry: Option<Arc<Registry>>,
    synced_at_ms: Option<i64>,
    problem: Option<String>,
}

/// How the copy is.
#[derive(Clone, Debug)]
pub(crate) struct CopyView {
    pub(crate) version: Option<u64>,
    /// When it was last known to be the version in force.
    pub(crate) synced_at_ms: Option<i64>,
    /// Why there is no newer one, or none.
    pub(crate) problem: Option<String>,
}

/// Why what came did not take the place of the copy there was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// It is not what its digest says.
    #[error("the registry's files do not have the digest they came with")]
    Digest,
    /// This program cannot read it.
    #[error("registry version {version} has {count} problem(s) here; the first: {first}")]
    Unreadable { version: u64, count: usize, first: String },
    /// Not a copy at all.
    #[error("the file is no registry")]
    NoRegistry,
    /// The disk.
    #[error("the registry's copy cannot be kept on this machine")]
    Disk(#[from] io::Error),
}

impl Copy {
    /// Reads the copy in `folder`, which is made if need be. One that cannot be read is as none, until the next sync.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut held = Held::default();
        match read_back(&folder) {
            Ok(Some((registry, synced_at_ms))) => {
                held = Held { registry: Some(Arc::new(registry)), synced_at_ms: Some(synced_at_ms), problem: None };
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the registry's copy cannot be read; it is fetched anew");
                held.problem = Some(error.to_string());
            }
        }
        Ok(Self { folder, held: Mutex::new(held) })
    }

    /// The registry last synced.
    pub(crate) fn registry(&self) -> Option<Arc<Registry>> {
        self.held().registry.clone()
    }

    /// How the copy is.
    pub(crate) fn view(&self) -> CopyView {
        let held = self.held();
        CopyView {
            version: held.registry.as_ref().map(|registry| registry.version()),
            synced_at_ms: held.synced_at_ms,
            problem: held.problem.clone(),
        }
    }

    /// Takes what the gateway answered: durable when this returns. Blocks.
    ///
    /// # Errors
    /// See [`CopyError`]; the former copy stays.
    pub(crate) fn take(&self, answer: ReadRegistryResponse) -> Result<(), CopyError> {
        let taken = self.taken(&answer);
        let mut held = self.held();
        match taken {
            Ok(registry) => {
                if let Some(registry) = registry {
                    tracing::info!(version = registry.version(), "registry synced");
                    held.registry = Some(Arc::new(registry));
                }
                held.synced_at_ms = Some(unix_ms(SystemTime::now()));
                held.problem = None;
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                if held.problem.as_ref() != Some(&text) {
                    tracing::warn!(%error, "the registry could not be synced; the former copy stays in use");
                }
                held.problem = Some(text);
                Err(error)
            }
        }
    }

    /// The gateway did not give it; the former copy stays.
    pub(crate) fn not_synced(&self, why: String) {
        let mut held = self.held();
        if held.problem.as_ref() != Some(&why) {
            tracing::warn!(why, "the registry could not be synced; the former copy stays in use");
        }
        held.problem = Some(why);
    }

    fn taken(&self, answer: &ReadRegistryResponse) -> Result<Option<Registry>, CopyError> {
        let number = answer.version.as_ref().map_or(0, |version| version.number);
        let known = self.held().registry.as_ref().map(|registry| registry.version());
        if answer.files.is_empty() && known == Some(number) {
            // As in force as before; only the time is new.
            File::options().write(true).open(self.folder.join(FILE))?.set_modified(SystemTime::now())?;
            return Ok(None);
        }
        let registry = parse(answer)?;
        let mut file = File::create(self.folder.join(NEW))?;
        file.write_all(&answer.encode_to_vec())?;
        file.sync_all()?;
        fs::rename(self.folder.join(NEW), self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(Some(registry))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No holder panics between two statements that belong together.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_back(folder: &std::path::Path) -> Result<Option<(Registry, i64)>, CopyError> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let answer = ReadRegistryResponse::decode(&bytes[..]).map_err(|_| CopyError::NoRegistry)?;
    Ok(Some((parse(&answer)?, unix_ms(fs::metadata(&path)?.modified()?))))
}

fn parse(answer: &ReadRegistryResponse) -> Result<Registry, CopyError> {
    let version = answer.version.as_ref().ok_or(CopyError::NoRegistry)?;
    let files: BTreeMap<_, _> = answer.files.iter().map(|file| (file.name.clone(), file.content.to_vec())).collect();
    let registry = Registry::parse(&files).map_err(|problems| CopyError::Unreadable {
        version: version.number,
        count: problems.len(),
        first: problems.first().map_or_else(String::new, ToString::to_string),
    })?;
    if sha256(&registry.digest_input())[..] != version.sha256[..] {
        return Err(CopyError::Digest);
    }
    Ok(registry.with_version(version.number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lgsp_proto::v1::{RegistryFile, RegistryVersion};

    /// The smallest registry: a calendar, and nobody.
    fn answer(number: u64, more: &str) -> ReadRegistryResponse {
        let calendars = "[[calendar]]\nid = \"default\"\nname = \"x\"\nyears = [2025]\nhours = [\"07:00-11:30\"]\n";
        let empty = ["parties.toml", "units.toml", "procedures.toml", "routes.toml", "grants.toml", "systems.toml"];
        let mut files: BTreeMap<String, Vec<u8>> = empty.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        files.insert("calendars.toml".into(), format!("{calendars}{more}").into_bytes());
        let mut input = Vec::new();
        for part in files.iter().flat_map(|(name, content)| [name.as_bytes(), content]) {
            input.extend((part.len() as u64).to_be_bytes());
            input.extend(part);
        }
        let version = RegistryVersion { number, sha256: sha256(&input).to_vec().into(), ..RegistryVersion::default() };
        let files = files.into_iter().map(|(name, content)| RegistryFile { name, content: content.into() });
        ReadRegistryResponse { version: Some(version), files: files.collect() }
    }

    #[test]
    fn a_copy_survives_a_restart_and_says_how_old_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Copy::open(folder.path().to_owned()).unwrap();
        assert!(copy.registry().is_none() && copy.view().version.is_none());
        copy.take(answer(3, "")).unwrap();
        let copy = Copy::open(folder.path().to_owned()).unwrap();
        let view = copy.view();
        assert_eq!((view.version, view.problem), (Some(3), None));
        assert!(unix_ms(SystemTime::now()) - view.synced_at_ms.unwrap() < 60_000);
        // The version that is known comes without files.
        copy.take(ReadRegistryResponse { files: Vec::new(), ..answer(3, "") }).unwrap();
        assert_eq!(copy.registry().unwrap().version(), 3);
    }

    #[test]
    fn what_cannot_be_read_keeps_the_former_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Copy::open(folder.path().to_owned()).unwrap();
        copy.take(answer(3, "")).unwrap();
        assert!(matches!(copy.take(answer(4, "of_tomorrow = 1\n")), Err(CopyError::Unreadable { version: 4, .. })));
        let mut garbled = answer(4, "");
        garbled.version.as_mut().unwrap().sha256 = vec![0; 32].into();
        assert!(matches!(copy.take(garbled), Err(CopyError::Digest)));
        for copy in [&copy, &Copy::open(folder.path().to_owned()).unwrap()] {
            assert_eq!(copy.registry().unwrap().version(), 3);
        }
        assert!(copy.view().problem.unwrap().contains("digest"));
        copy.take(answer(5, "")).unwrap();
        assert_eq!((copy.view().version, copy.view().problem), (Some(5), None));
    }

    #[test]
    fn a_copy_that_was_garbled_on_the_disk_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        Copy::open(folder.path().to_owned()).unwrap().take(answer(3, "")).unwrap();
        fs::write(folder.path().join(FILE), b"\xff\xff").unwrap();
        let copy = Copy::open(folder.path().to_owned()).unwrap();
        assert!(copy.registry().is_none());
        assert!(copy.view().problem.is_some());
        copy.take(answer(3, "")).unwrap();
        assert_eq!(copy.view().version, Some(3));
    }
}
