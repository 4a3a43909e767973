//! The revocation lists of the bus's own CAs, kept as long as these last: a CA that is exchanged takes its folder away, and not
//! what it put out of force.
//!
//! One file for each CA, beside the store: its certificate, the roots it was used under, its newest lists, and the folder it was
//! last seen in, which goes on being looked at, so that a CA that no longer issues can still revoke. Invariant: a list that has
//! counted counts until the certificate of its CA ends, or until a newer one of that CA is there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use data_encoding::{BASE64, HEXLOWER};
use lgsp_certs::CertificateFacts;
use lgsp_certs::tls::{TlsFileError, TlsProblem, lists_by, newest_lists};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::engine::certificates::revocation_lists;

use super::sha256;

type List = CertificateRevocationListDer<'static>;

/// How a file begins that this version understands.
const FORM: &str = "lists kept by lgsp, form 1\n";

/// What the line begins with that names the folder.
const FOLDER: &str = "folder ";

/// The own CAs that were ever used and have not ended, by the names of their files.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(BTreeMap<String, Ca>);

/// An issuing CA, or a root.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Ca {
    /// Where it was seen last.
    folder: PathBuf,
    certificate: CertificateDer<'static>,
    /// Those in the folder beside it. One of them signed it, or is it.
    roots: Vec<CertificateDer<'static>>,
    lists: Vec<List>,
}

impl Kept {
    /// What an earlier process has kept in `dir`, which need not be there.
    ///
    /// # Errors
    /// Names the first file that cannot be used.
    pub(super) fn read(dir: &Path) -> Result<Self, TlsFileError> {
        let at = |file: &Path, problem| TlsFileError { file: file.to_owned(), problem };
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            entries => entries.map_err(|error| at(dir, TlsProblem::Unreadable(error)))?,
        };
        let mut kept = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(|error| at(dir, TlsProblem::Unreadable(error)))?.path();
            let Some(name) = name_of(&path) else { continue };
            kept.insert(name.to_owned(), Ca::read(&path).map_err(|problem| at(&path, problem))?);
        }
        Ok(Self(kept))
    }

    /// From now on the CA in this folder is one of them, and so are its roots.
    pub(super) fn take_in(
        &mut self,
        folder: &Path,
        certificate: &CertificateDer<'_>,
        roots: &[CertificateDer<'static>],
    ) {
        // Where the link leads now; later it leads elsewhere.
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let of = |certificate: &CertificateDer<'_>| format!("{}.pem", HEXLOWER.encode(&sha256(certificate)));
        for certificate in std::iter::once(certificate).chain(roots) {
            let lists = self.0.remove(&of(certificate)).map(|known| known.lists).unwrap_or_default();
            let (folder, certificate) = (folder.clone(), certificate.clone().into_owned());
            self.0.insert(of(&certificate), Ca { folder, certificate, roots: roots.to_vec(), lists });
        }
    }

    /// Looks into the folders of all of them for newer lists, and lets go of what has ended.
    ///
    /// A folder that is gone has none, and a file that is no list is left to whoever complains of it.
    pub(super) fn look(&mut self, now: SystemTime) {
        let has_ended = |ca: &Ca| CertificateFacts::read(&ca.certificate).is_ok_and(|facts| facts.not_after < now);
        self.0.retain(|_, ca| !has_ended(ca));
        for ca in self.0.values_mut() {
            let mut lists = std::mem::take(&mut ca.lists);
            for file in revocation_lists(&ca.folder).unwrap_or_default() {
                lists.extend(lists_by(&file, &ca.certificate).unwrap_or_default());
            }
            ca.lists = newest_lists(lists, std::slice::from_ref(&ca.certificate));
        }
    }

    /// The lists of CAs that were used under one of these roots.
    pub(super) fn lists_under(&self, roots: &[CertificateDer<'_>]) -> Vec<List> {
        let under = self.0.values().filter(|ca| ca.roots.iter().any(|root| roots.contains(root)));
        under.flat_map(|ca| ca.lists.iter().cloned()).collect()
    }

    /// The folders that are looked into.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.values().map(|ca| ca.folder.as_path())
    }

    /// Writes them down in `dir`, durably.
    ///
    /// # Errors
    /// Those of the disk. Each file is as it was, or as it is to be.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        for (name, ca) in &self.0 {
            let (path, text) = (dir.join(name), ca.to_text());
            if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
                continue;
            }
            let draft = path.with_extension("tmp");
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
        }
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            // Whatever is not here any more has ended.
            if name_of(&path).is_some_and(|name| !self.0.contains_key(name)) {
                fs::remove_file(&path)?;
            }
        }
        File::open(dir)?.sync_all()
    }
}

impl Ca {
    fn read(file: &Path) -> Result<Self, TlsProblem> {
        let text = fs::read_to_string(file).map_err(TlsProblem::Unreadable)?;
        let other_form = || TlsProblem::Unreadable(io::Error::other("it is not of a form that this version knows"));
        let rest = text.strip_prefix(FORM).and_then(|rest| rest.strip_prefix(FOLDER)).ok_or_else(other_form)?;
        let (folder, pem) = rest.split_once('\n').ok_or_else(other_form)?;
        let mut certificates = all_in::<CertificateDer<'static>>(pem)?;
        if certificates.is_empty() {
            return Err(TlsProblem::NoCertificate);
        }
        let certificate = certificates.remove(0);
        Ok(Self { folder: folder.into(), certificate, roots: certificates, lists: all_in(pem)? })
    }

    fn to_text(&self) -> String {
        let mut text = format!("{FORM}{FOLDER}{}\n", self.folder.display());
        let certificates = std::iter::once(&self.certificate).chain(&self.roots).map(|der| ("CERTIFICATE", &**der));
        for (label, der) in certificates.chain(self.lists.iter().map(|der| ("X509 CRL", &**der))) {
            _ = write!(text, "-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der));
        }
        text
    }
}

fn all_in<T: PemObject>(pem: &str) -> Result<Vec<T>, TlsProblem> {
    T::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|_| TlsProblem::BrokenPem)
}

/// The name of a file of ours; what is written but not yet in its place is none.
fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str().filter(|name| name.ends_with(".pem"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lgsp_certs::{CertificateAuthority, RootAuthority};

    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    fn sorted(lists: &[List]) -> Vec<&[u8]> {
        let mut all: Vec<&[u8]> = lists.iter().map(AsRef::as_ref).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn lists_outlive_the_folders_of_their_cas_and_end_with_these() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let now = SystemTime::now();
        let domain = "lgsp.hue.test".parse().unwrap();
        let root = RootAuthority::create(&at("root"), &domain, now).unwrap();
        let ca = root.issue_authority(&at("ca"), now).unwrap();
        ca.revoke(None, now, now + YEAR).unwrap();
        fs::copy(root.revoke(None, now, now + YEAR).unwrap(), at("ca/root.crl")).unwrap();
        let other = CertificateAuthority::create(&at("other"), &domain, now).unwrap();
        fs::copy(other.revoke(None, now, now + YEAR).unwrap(), at("ca/other.crl")).unwrap();
        fs::write(at("ca/junk.crl"), "junk").unwrap();

        let mut kept = Kept::default();
        kept.take_in(&at("ca"), ca.intermediate(), std::slice::from_ref(ca.root()));
        kept.look(now);
        let roots = [ca.root().clone()];
        let lists = kept.lists_under(&roots);
        assert_eq!((lists.len(), kept.lists_under(&[other.root().clone()]).len()), (2, 0));
        kept.write(&at("lists")).unwrap();
        fs::remove_dir_all(at("ca")).unwrap();

        let mut again = Kept::read(&at("lists")).unwrap();
        again.look(now);
        assert_eq!((sorted(&again.lists_under(&roots)), &again.0), (sorted(&lists), &kept.0));
        // The issuing CA ends years before its root.
        again.look(ca.not_after() + Duration::from_secs(1));
        again.write(&at("lists")).unwrap();
        assert_eq!((again.lists_under(&roots).len(), fs::read_dir(at("lists")).unwrap().count()), (1, 1));
        assert!(Kept::read(&at("nowhere")).unwrap().0.is_empty());
    }

    #[test]
    fn a_file_that_this_version_does_not_understand_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.pem");
        for text in ["lists kept by lgsp, form 2\nfolder /ca\n", "lists kept by lgsp, form 1\nfolder /ca\n", ""] {
            fs::write(&file, text).unwrap();
            assert_eq!(Kept::read(folder.path()).unwrap_err().file, file);
        }
        // What a crash has left of a file that was being written is not one.
        fs::rename(&file, folder.path().join("x.tmp")).unwrap();
        assert!(Kept::read(folder.path()).is_ok());
    }
}
