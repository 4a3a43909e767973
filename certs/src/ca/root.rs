//! The root: the one certificate everybody trusts. It signs issuing CAs and nothing else, so its key can be carried away.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;

use super::books::{Books, RevokedCertificate};
use super::signer::Signer;
use super::validity::Validity;
use super::{CaError, CertificateAuthority, DAY, make_folder, mark, params, uri, write};
use crate::files::PUBLIC;
use crate::identity::TrustDomain;

/// Ten years: whoever trusts it has its certificate in a file, which somebody must go and change.
pub(super) const ROOT_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Five years: long enough to be forgotten, so the gateway beside it tells its end in `/status` and its log.
pub(super) const ISSUING_VALIDITY: Duration = Duration::from_secs(1825 * 24 * 60 * 60);

/// The root of a trust domain, in a folder with `root.pem` and `root.key`.
pub struct RootAuthority(Signer);

impl RootAuthority {
    /// Makes a new root and writes `root.pem` and `root.key` (mode 0600) into `dir`, which is made if need be.
    ///
    /// # Errors
    /// When either file exists, or cannot be written. Existing files are never touched. An interruption can leave
    /// `root.key` without `root.pem`: it has signed nothing and may be deleted.
    pub fn create(dir: &Path, trust_domain: &TrustDomain, now: SystemTime) -> Result<Self, CaError> {
        let validity = Validity::new(now, ROOT_VALIDITY)?;
        let signer = Signer::create(dir, "root", |key| {
            let mut params = params(format!("lgsp root {}, {trust_domain}", mark(key)), validity)?;
            params.subject_alt_names = vec![uri(format!("spiffe://{trust_domain}"))?];
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            Ok(params.self_signed(key).map_err(CaError::Crypto)?.der().clone())
        })?;
        Ok(Self(signer))
    }

    /// Opens the root in `dir`.
    ///
    /// # Errors
    /// When a file is missing or unreadable, is not what [`RootAuthority::create`] writes, or the two don't belong
    /// together.
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        Signer::open(dir, "root").map(Self)
    }

    /// Makes an issuing CA of this root: `ca.key` (mode 0600), `root.pem` and `ca.pem` in `dir`, which is made if need be.
    ///
    /// # Errors
    /// When any of the files exists, or cannot be written, or the root has less than a day to live. Existing files are
    /// never touched. An interruption can leave `root.pem` alone, and this goes on from there, or a key without `ca.pem`: that has
    /// signed nothing and may be deleted.
    pub fn issue_authority(&self, dir: &Path, now: SystemTime) -> Result<CertificateAuthority, CaError> {
        let validity = Validity::new(now, ISSUING_VALIDITY)?.within(self.0.not_after, now, DAY)?;
        let root_file = dir.join("root.pem");
        let pem = self.0.certificate_pem();
        // This root's without a CA beside it is of an attempt that was interrupted here.
        let was_begun =
            !dir.join("ca.pem").exists() && std::fs::read(&root_file).is_ok_and(|there| there == pem.as_bytes());
        if root_file.exists() && !was_begun {
            return Err(CaError::Exists(root_file));
        }
        make_folder(dir)?;
        if !was_begun {
            write(&root_file, pem.as_bytes(), PUBLIC)?;
        }
        let made = Signer::create(dir, "ca", |key| {
            let domain = &self.0.trust_domain;
            let mut params = params(format!("lgsp issuing CA {}, {domain}", mark(key)), validity)?;
            params.subject_alt_names = vec![uri(format!("spiffe://{domain}"))?];
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            self.0.sign(params, key, true)
        });
        if made.is_err() && !was_begun {
            // It was not there before, and without a CA beside it, it would only be in the way of the next try.
            let _ = std::fs::remove_file(&root_file);
        }
        made?;
        CertificateAuthority::open(dir)
    }

    /// The domain this root vouches for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.0.trust_domain
    }

    /// The root certificate: what the others put in their bundle.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.certificate
    }

    /// The last second of its validity.
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// What this folder remembers.
    pub fn books(&self) -> Books {
        self.0.books()
    }

    /// A revocation list about issuing CAs (RFC 5280 §5), DER.
    ///
    /// # Errors
    /// When the signing library refuses. Nothing was written.
    pub fn revocation_list(
        &self,
        revoked: &[RevokedCertificate],
        number: u64,
        this_update: SystemTime,
        next_update: SystemTime,
    ) -> Result<Vec<u8>, CaError> {
        self.0.revocation_list(revoked, number, this_update, next_update)
    }

    /// As [`CertificateAuthority::revoke`], for an issuing CA of this root; the list is `root.crl`.
    ///
    /// # Errors
    /// As there.
    pub fn revoke(
        &self,
        certificate: Option<&CertificateDer<'_>>,
        now: SystemTime,
        next_update: SystemTime,
    ) -> Result<PathBuf, CaError> {
        self.0.revoke(certificate, now, next_update)
    }
}

impl fmt::Debug for RootAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootAuthority").field("trust_domain", &self.0.trust_domain).finish_non_exhaustive()
    }
}
