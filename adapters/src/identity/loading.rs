//! Reading the files in force as one set, and noticing that they have changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lgsp_certs::reload::Files;
use lgsp_certs::tls::{TlsFileError, TlsProblem};
use lgsp_certs::{Credentials, TlsFiles, Usage};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::folder::{Folder, files_in, revocation_lists_in};
use super::leaf::Leaf;
use crate::config;
use crate::link::Address;

/// What the own certificate, and the gateway's, are judged by.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The set in force in a folder.
    Folder(Folder),
    /// Files that somebody else exchanges, and revocation lists about gateways.
    Files(TlsFiles, Vec<PathBuf>),
}

impl Source {
    /// Where the configuration has it.
    pub(crate) fn of(address: &Address, identity: &config::Identity) -> Self {
        match &identity.folder {
            Some(folder) => Self::Folder(Folder::at(folder)),
            None => Self::Files(address.tls.clone(), identity.revocation_lists.clone()),
        }
    }

    /// Loads what is there at this moment and belongs together: a link is followed once for all.
    ///
    /// # Errors
    /// Names the first file that cannot be used.
    pub(crate) fn load(&self, now: SystemTime) -> Result<(Credentials, Leaf), TlsFileError> {
        match self {
            Self::Folder(folder) => {
                // Without a link the loading will say what is missing.
                let set = folder.current().ok().flatten();
                set.map_or_else(|| load(&folder.files(), &[], now), |set| load_set(&set, now))
            }
            Self::Files(files, lists) => load(files, lists, now),
        }
    }

    /// As [`Source::load`], and a certificate that has expired, or is not valid yet, is taken too: nobody lets us in with it, or
    /// this machine's clock is wrong. All that needs no gateway works, and certificate or clock can be mended.
    ///
    /// # Errors
    /// As for [`Source::load`].
    pub(crate) fn load_whatever_the_time(&self, now: SystemTime) -> Result<(Credentials, Leaf), TlsFileError> {
        match self.load(now) {
            Err(TlsFileError { file, problem: problem @ (TlsProblem::Expired(_) | TlsProblem::NotYetValid(_)) }) => {
                let leaf = fs::read(&file).ok().and_then(|pem| Leaf::read(&CertificateDer::from_pem_slice(&pem).ok()?));
                self.load(leaf.ok_or(TlsFileError { file, problem })?.not_after)
            }
            loaded => loaded,
        }
    }

    /// The files as they look now; see [`Files::changed`].
    pub(crate) fn watched(&self) -> Files {
        let (files, lists) = match self {
            Self::Folder(folder) => (folder.files(), &[][..]),
            Self::Files(files, lists) => (files.clone(), &lists[..]),
        };
        Files::new([files.certificate, files.key, files.bundle].into_iter().chain(lists.iter().cloned()))
    }
}

/// Loads a set by its own path, with the revocation lists in it.
pub(crate) fn load_set(set: &Path, now: SystemTime) -> Result<(Credentials, Leaf), TlsFileError> {
    let lists = revocation_lists_in(set)
        .map_err(|error| TlsFileError { file: set.to_owned(), problem: TlsProblem::Unreadable(error) })?;
    load(&files_in(set), &lists, now)
}

fn load(files: &TlsFiles, lists: &[PathBuf], now: SystemTime) -> Result<(Credentials, Leaf), TlsFileError> {
    let credentials = files.load(Usage::Client, now)?.with_revocation_lists(lists)?;
    let unreadable = || TlsFileError { file: files.certificate.clone(), problem: TlsProblem::BadCertificate };
    let leaf = Leaf::read(credentials.certificate()).ok_or_else(unreadable)?;
    Ok((credentials, leaf))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use lgsp_certs::CertificateAuthority;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn one_that_is_not_valid_at_this_time_is_loaded_for_an_adapter_and_for_nobody_else() {
        let scratch = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(scratch.path(), &"lgsp.hue.test".parse().unwrap(), now).unwrap();
        let issued = ca.issue_system(&"one-stop".parse().unwrap(), DAY, now).unwrap();
        issued.write_to(scratch.path(), "a").unwrap();
        let file = |name: &str| scratch.path().join(name);
        let files = TlsFiles { certificate: file("a.pem"), key: file("a.key"), bundle: file("root.pem") };
        let later = now + 2 * DAY;
        let key = files.key.clone();
        let source = Source::Files(files, Vec::new());
        assert!(matches!(source.load(later), Err(TlsFileError { problem: TlsProblem::Expired(_), .. })));
        // A clock without a battery begins anew.
        let earlier = SystemTime::UNIX_EPOCH;
        assert!(matches!(source.load(earlier), Err(TlsFileError { problem: TlsProblem::NotYetValid(_), .. })));
        for time in [earlier, later] {
            let (credentials, leaf) = source.load_whatever_the_time(time).unwrap();
            assert_eq!((credentials.digest(), leaf.not_after), (issued.digest, issued.not_after));
            assert_eq!(leaf.system.unwrap().as_str(), "one-stop");
        }
        // Any other fault is one in either case.
        fs::remove_file(key).unwrap();
        assert!(source.load_whatever_the_time(later).is_err());
    }
}
