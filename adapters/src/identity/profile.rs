//! Renewing the certificate of a connection profile, which names two files: they become links into a folder like the adapter's,
//! so that one rename exchanges key and chain together.
//!
//! Whoever reads the files finds a pair that belongs together at every moment, and those from before stay in the folder.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lgsp_certs::{Credentials, TlsFiles};
use lgsp_proto::Reason;
use zeroize::Zeroizing;

use super::folder::{CURRENT, Folder, Set, files_in};
use super::leaf::Leaf;
use super::renewal::{Failed, ask_for_another, blocking, put_in_force};
use crate::link::{CallError, Link};

/// The ending of the folder beside a key that was renewed.
const FOLDER: &str = "identity";

/// What a renewal gave.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The system that the certificate names.
    pub system: String,
    /// The last moment of the new certificate's validity.
    pub not_after: SystemTime,
    /// Where key and certificate lie from now on, and those before them.
    pub folder: PathBuf,
}

/// Why a certificate was not renewed. The present one is in force as before.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// It is of a CA that is not the bus's, which has to renew it.
    #[error("the certificate is not of this bus's CA, which therefore cannot renew it")]
    OtherCa,
    /// Files that somebody else exchanges, by links of his own, are not ours to exchange.
    #[error("{0} is a link that something else made, and that has to renew what it leads to")]
    NotOurLink(PathBuf),
    /// The gateway did not answer, or refused.
    #[error(transparent)]
    Call(CallError),
    /// Anything else, in Vietnamese and English.
    #[error("{}", .0[1])]
    Failed([String; 2]),
}

/// Renews the certificate that `link` shows and that was loaded from `files` as `present`, over itself and with a new key: first
/// tried by a call made with it, then exchanged for both files at once.
///
/// # Errors
/// See [`RenewError`].
pub async fn renew(link: &Link, files: &TlsFiles, present: &Credentials) -> Result<Renewed, RenewError> {
    let system = Leaf::read(present.certificate()).and_then(|leaf| leaf.system).ok_or(RenewError::OtherCa)?;
    let place = Place::of(files)?;
    let before = Set {
        key: Zeroizing::new(fs::read_to_string(&files.key).map_err(disk)?),
        chain: present.chain().to_vec(),
        roots: present.root_certificates().to_vec(),
        revocation_lists: Vec::new(),
    };
    let before = match place.is_linked {
        true => place.folder.read().map_err(disk)?.unwrap_or(before),
        false => before,
    };
    let issued = ask_for_another(link, &before).await.map_err(of_asking)?;
    let adopting = (place.clone(), before.clone());
    blocking(move || adopting.0.take_over(&adopting.1)).await.map_err(disk)?;
    let set = Set { key: issued.key, chain: issued.chain, ..before };
    let (_, leaf) = put_in_force(link, &place.folder, set).await.map_err(failed)?;
    Ok(Renewed { system: system.to_string(), not_after: leaf.not_after, folder: place.folder.path().to_owned() })
}

/// Two files, and the folder that they are links into, or will be.
#[derive(Clone)]
struct Place {
    files: TlsFiles,
    folder: Folder,
    is_linked: bool,
}

impl Place {
    /// # Errors
    /// When one of the files is a link to anywhere else.
    fn of(files: &TlsFiles) -> Result<Self, RenewError> {
        let [certificate, key] = [&files.certificate, &files.key].map(|file| folder_behind(file));
        let (certificate, key) = (certificate?, key?);
        let is_linked = certificate.is_some() && certificate == key;
        let folder = key.or(certificate).unwrap_or_else(|| files.key.with_extension(FOLDER));
        Ok(Self { files: files.clone(), folder: Folder::at(folder), is_linked })
    }

    /// Makes the files links into the folder, which holds what they held. Killed at any step, each file reads as before, and
    /// the next renewal goes on from there.
    fn take_over(&self, present: &Set) -> io::Result<()> {
        if self.is_linked {
            return Ok(());
        }
        self.folder.write(present, SystemTime::now())?.put_in_force()?;
        let inside = files_in(&self.folder.path().canonicalize()?.join(CURRENT));
        for (file, target) in [(&self.files.key, inside.key), (&self.files.certificate, inside.certificate)] {
            link(file, &target)?;
        }
        Ok(())
    }
}

/// The folder of which `file` is in the set in force, by a link of ours or by its own path; `None` for a plain file.
fn folder_behind(file: &Path) -> Result<Option<PathBuf>, RenewError> {
    let folder_of = |path: &Path| {
        let set = path.parent().filter(|set| set.file_name() == Some(OsStr::new(CURRENT)))?;
        // Where one stands in the folder itself, its path is empty.
        set.parent().map(|folder| Path::new(".").join(folder))
    };
    if let Some(folder) = folder_of(file) {
        return Ok(Some(folder));
    }
    match fs::read_link(file) {
        Ok(target) => {
            let target = file.parent().unwrap_or(Path::new("")).join(target);
            folder_of(&target).map(Some).ok_or_else(|| RenewError::NotOurLink(file.to_owned()))
        }
        // It is no link.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(None),
        Err(error) => Err(disk(error)),
    }
}

/// Puts a link in the place of `file`, by one rename. Relative, where both are in one folder: they may be moved together.
fn link(file: &Path, target: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize()?;
    let mut next = file.as_os_str().to_owned();
    next.push(".next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target.strip_prefix(&parent).unwrap_or(target), &next)?;
    fs::rename(&next, file)?;
    fs::File::open(parent)?.sync_all()
}

fn of_asking(error: Failed) -> RenewError {
    match error {
        Failed::Call(CallError::Refused(refused))
            if refused.refusal().map(|refusal| refusal.reason()) == Some(Reason::CertificateWithoutIdentity) =>
        {
            RenewError::OtherCa
        }
        Failed::RenewedElsewhere(_) => RenewError::OtherCa,
        Failed::Call(error) | Failed::IssuesNone(error) => RenewError::Call(error),
        error => failed(error),
    }
}

fn failed(error: Failed) -> RenewError {
    RenewError::Failed(error.texts())
}

fn disk(error: io::Error) -> RenewError {
    failed(Failed::Disk(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use lgsp_certs::{CertificateAuthority, Usage};

    #[test]
    fn files_become_links_that_read_as_before_and_whatever_was_begun_is_gone_on_with() {
        let scratch = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(scratch.path(), &"lgsp.hue.test".parse().unwrap(), now).unwrap();
        let day = Duration::from_secs(24 * 3600);
        ca.issue_system(&"van-hanh".parse().unwrap(), day, now).unwrap().write_to(scratch.path(), "a").unwrap();
        let file = |name: &str| scratch.path().join(name);
        let files = TlsFiles { certificate: file("a.pem"), key: file("a.key"), bundle: file("root.pem") };
        let digest = || files.load(Usage::Client, now).unwrap().digest();
        let before = digest();
        let credentials = files.load(Usage::Client, now).unwrap();
        let set = || Set {
            key: Zeroizing::new(fs::read_to_string(&files.key).unwrap()),
            chain: credentials.chain().to_vec(),
            roots: credentials.root_certificates().to_vec(),
            revocation_lists: Vec::new(),
        };
        // Killed after the first of the two links.
        let place = Place::of(&files).unwrap();
        assert!(!place.is_linked);
        place.folder.write(&set(), now).unwrap().put_in_force().unwrap();
        link(&files.key, Path::new("a.identity/current/key.pem")).unwrap();
        assert_eq!(digest(), before);
        let place = Place::of(&files).unwrap();
        assert!(!place.is_linked);
        place.take_over(&set()).unwrap();
        assert_eq!(digest(), before);
        assert_eq!(fs::read_link(&files.certificate).unwrap(), Path::new("a.identity/current/chain.pem"));
        assert!(Place::of(&files).unwrap().is_linked);
        // A profile that names the files of an adapter's folder itself.
        let own = place.folder.files();
        let place = Place::of(&own).unwrap();
        assert!(place.is_linked && place.folder.path() == Path::new(".").join(file("a.identity")));
        // What somebody else exchanges is left to him.
        symlink("root.pem", file("elsewhere.pem")).unwrap();
        let other = TlsFiles { certificate: file("elsewhere.pem"), ..files.clone() };
        assert!(matches!(Place::of(&other), Err(RenewError::NotOurLink(_))));
    }
}
