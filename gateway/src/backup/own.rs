//! Certificates of the gateway's own that a backup does not know: they came into force after it was taken.
//!
//! The receipts signed by them are good for nothing in the restored books until they are on record. Whose a certificate is, its
//! operator says; invariant: none that names a system, or is on record as another's, ever counts as the gateway's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_certs::tls::certificates_in;
use lgsp_certs::verify::Identity;
use lgsp_certs::{CertificateDigest, CertificateFacts, VerifyingKey};
use lgsp_proto::types::Sha256Digest;
use rustls::pki_types::CertificateDer;

use super::restore::RestoreError;
use crate::store::{Commit, OWN_NAME, Store};

/// A certificate by which the gateway may have signed receipts.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    file: PathBuf,
    digest: Sha256Digest,
    der: Bytes,
}

impl OwnCertificate {
    /// Reads one in DER, or the first of a file in PEM. How long it was good does not matter: receipts hold for ever.
    ///
    /// # Errors
    /// It cannot be read, or cannot be the gateway's: it names a system or no host, or its key signs nothing on the bus.
    pub(super) fn read(file: &Path) -> Result<Self, RestoreError> {
        let wrong = |problem: &str| refused(file, problem);
        let bytes = fs::read(file).map_err(|source| RestoreError::Io { path: file.to_owned(), source })?;
        let der = if CertificateFacts::read(&bytes).is_ok() {
            CertificateDer::from(bytes)
        } else {
            certificates_in(file).map_err(|_| wrong("holds no certificate"))?.swap_remove(0)
        };
        let facts = CertificateFacts::read(&der).map_err(|_| wrong("holds no certificate"))?;
        if facts.hosts.is_empty() || !matches!(Identity::of(&der), Ok(Identity::NoSpiffeId(_))) {
            return Err(wrong("is not the certificate of a gateway"));
        }
        VerifyingKey::from_certificate(&der).map_err(|_| wrong("has a key that signs nothing on the bus"))?;
        let digest = Sha256Digest::from(*CertificateDigest::of(&der).as_bytes());
        Ok(Self { file: file.to_owned(), digest, der: Bytes::copy_from_slice(&der) })
    }

    /// Puts it on record, unless it is there.
    ///
    /// # Errors
    /// It is on record as a system's; or those of the store.
    pub(super) async fn put_on_record(&self, store: &dyn Store, at: SystemTime) -> Result<(), RestoreError> {
        match store.certificate_holder(&self.digest).await?.as_deref() {
            Some(OWN_NAME) => return Ok(()),
            Some(_) => return Err(refused(&self.file, "is on record as the certificate of a system")),
            None => {}
        }
        let (digest, der, system) = (self.digest, self.der.clone(), OWN_NAME.to_owned());
        let committed = store.commit(Commit::Certificate { digest, der, system, at }).await;
        committed.map_err(RestoreError::NotOnRecord)?;
        Ok(())
    }
}

fn refused(file: &Path, problem: &str) -> RestoreError {
    RestoreError::OwnCertificate { file: file.to_owned(), problem: problem.to_owned() }
}
