//! By which roots the gateway is known, and what is out of force of what they signed.
//!
//! Read from files at every question, because they change while the gateway runs. While they cannot be read, the last answer
//! goes on: an empty one would lock everybody out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lgsp_certs::tls::{lists_in, newest_lists};
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::{Reason, Refusal};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::super::Engine;
use super::super::access::Peer;
use super::sha256;

/// Where roots and revocation lists lie.
pub struct TrustFiles {
    /// The root behind the gateway's certificate in force; it is always among those told.
    own: Box<dyn Fn() -> Option<CertificateDer<'static>> + Send + Sync>,
    /// The folder of the issuing CA: its `root.pem`, and every `*.crl` in it.
    authority: Option<PathBuf>,
    /// More roots, e.g. the one that comes next.
    more: Option<PathBuf>,
    /// Lists that count though they are in no file there any more, of CAs under these roots.
    lists: Arc<ListsUnder>,
    last: Arc<Mutex<Option<TrustSet>>>,
}

type ListsUnder = dyn Fn(&[CertificateDer<'_>]) -> Vec<CertificateRevocationListDer<'static>> + Send + Sync;

/// Roots and revocation lists, DER.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustSet {
    /// The roots, in the order of their bytes, each once.
    pub roots: Vec<Bytes>,
    /// The revocation lists, likewise.
    pub revocation_lists: Vec<Bytes>,
    /// Over both, each after its length in eight bytes.
    pub sha256: Sha256Digest,
}

impl TrustFiles {
    /// The root `own` behind the gateway's certificate, that of the CA in `authority`, and the certificates of the file `more`.
    pub fn new(
        own: impl Fn() -> Option<CertificateDer<'static>> + Send + Sync + 'static,
        authority: Option<PathBuf>,
        more: Option<PathBuf>,
    ) -> Self {
        Self { own: Box::new(own), authority, more, lists: Arc::new(|_| Vec::new()), last: Arc::default() }
    }

    /// Tells of these revocation lists as well, which are asked for with the roots that are told.
    #[must_use]
    pub fn and_lists(
        mut self,
        lists: impl Fn(&[CertificateDer<'_>]) -> Vec<CertificateRevocationListDer<'static>> + Send + Sync + 'static,
    ) -> Self {
        self.lists = Arc::new(lists);
        self
    }

    /// What they hold now.
    pub(super) async fn read(&self) -> Result<TrustSet, Refusal> {
        let (own, authority, more) = ((self.own)(), self.authority.clone(), self.more.clone());
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = before.map(|set| set.revocation_lists).unwrap_or_default();
        let kept = Arc::clone(&self.lists);
        let read = move || read(own, authority.as_deref(), more.as_deref(), &before, &*kept);
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.unwrap_or_else(|panicked| Err(panicked.to_string()));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(set) => Ok(last.insert(set).clone()),
            Err(why) => {
                tracing::error!(why, "the roots to trust cannot be read; the last ones go on");
                last.clone().ok_or_else(|| Refusal::new(Reason::Internal))
            }
        }
    }
}

/// A list that cannot be used is left out: every adapter would refuse the whole set for it, the roots included. In
/// its place the lists told `before` go on, as far as no newer one of their issuers is there.
fn read(
    own: Option<CertificateDer<'_>>,
    authority: Option<&Path>,
    more: Option<&Path>,
    before: &[Bytes],
    kept: &ListsUnder,
) -> Result<TrustSet, String> {
    let mut roots: Vec<Bytes> = own.iter().map(|root| Bytes::copy_from_slice(root)).collect();
    let at = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    for file in authority.map(|dir| dir.join("root.pem")).into_iter().chain(more.map(Path::to_path_buf)) {
        for root in CertificateDer::pem_file_iter(&file).map_err(|error| at(&file, &error))? {
            let root = root.map_err(|error| at(&file, &error))?;
            roots.push(Bytes::copy_from_slice(&root));
        }
    }
    let issuing = authority.map(|dir| dir.join("ca.pem"));
    let issuing = issuing.and_then(|file| CertificateDer::from_pem_file(file).ok());
    let under: Vec<CertificateDer<'static>> = roots.iter().map(|root| root.to_vec().into()).collect();
    let issuers: Vec<_> = under.iter().cloned().chain(issuing).collect();
    let mut lists = Vec::new();
    for file in authority.map(revocation_lists).transpose()?.unwrap_or_default() {
        match lists_in(std::slice::from_ref(&file), &under) {
            Ok(found) => lists.extend(found),
            // Told to the operator where the same files count for the gateway itself.
            Err(_) => lists.extend(before.iter().map(|list| CertificateRevocationListDer::from(list.to_vec()))),
        }
    }
    if roots.is_empty() {
        return Err("there is no root behind the gateway's certificate".to_owned());
    }
    lists.extend(kept(&under));
    let lists = newest_lists(lists, &issuers);
    let mut lists: Vec<Bytes> = lists.iter().map(|list| Bytes::copy_from_slice(list)).collect();
    for part in [&mut roots, &mut lists] {
        part.sort_unstable();
        part.dedup();
    }
    Ok(TrustSet { sha256: digest(&roots, &lists), roots, revocation_lists: lists })
}

/// The `*.crl` files of a folder, by name.
pub(crate) fn revocation_lists(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        files.extend(path.extension().is_some_and(|extension| extension == "crl").then_some(path));
    }
    files.sort();
    Ok(files)
}

fn digest(roots: &[Bytes], lists: &[Bytes]) -> Sha256Digest {
    let mut all = Vec::new();
    for part in roots.iter().chain(lists) {
        all.extend((part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    sha256(&all)
}

impl Engine {
    /// Whom to trust. Any system of the registry may ask.
    ///
    /// # Errors
    /// `SYSTEM_UNKNOWN`; `INTERNAL` when the files could never be read.
    pub async fn trust(&self, peer: &Peer) -> Result<TrustSet, Refusal> {
        let _ = self.caller(peer)?;
        self.certifying()?.trust.read().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lgsp_certs::CertificateAuthority;
    use std::time::{Duration, SystemTime};

    #[test]
    fn adapters_are_told_the_newest_list_and_no_junk_whatever_lies_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let authority = CertificateAuthority::create(folder.path(), &"lgsp.hue.test".parse().unwrap(), now).unwrap();
        let list = |number| {
            let made = authority.revocation_list(&[], number, now, now + Duration::from_secs(60)).unwrap();
            Bytes::from(made)
        };
        let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
        let told = |before: &[Bytes]| read(None, Some(folder.path()), None, before, &|_| Vec::new()).unwrap();
        // A signature is never the same twice.
        let (old, new) = (list(3), list(7));
        write("ca.crl", &new);
        write("ca-old.crl", &old);
        let first = told(&[]);
        assert_eq!((&first.revocation_lists, first.roots.len()), (&vec![new], 1));
        // The roots go on being told, and so does what was known to be revoked.
        write("junk.crl", b"junk");
        assert_eq!(told(&[]), first);
        write("ca.crl", b"junk");
        assert_eq!(told(&[]).revocation_lists, [old]);
        assert_eq!(told(&first.revocation_lists), first);
    }
}
