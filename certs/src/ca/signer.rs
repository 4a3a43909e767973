//! The part that root and issuing CA share: a key with its certificate in a folder, which signs certificates and lists.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, PublicKeyData, RevokedCertParams,
    SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::books::{Books, RevokedCertificate};
use super::{CaError, make_folder, read, write};
use crate::files::{PUBLIC, SECRET, replace};
use crate::identity::TrustDomain;
use crate::keys::CaKey;
use crate::{pem, x509};

pub(super) struct Signer {
    dir: PathBuf,
    stem: &'static str,
    issuer: Issuer<'static, CaKey>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) trust_domain: TrustDomain,
    pub(super) not_after: SystemTime,
}

impl Signer {
    /// Makes the folder and a fresh key, asks for a certificate of it, and writes `<stem>.key`, then `<stem>.pem`.
    pub(super) fn create(
        dir: &Path,
        stem: &'static str,
        certify: impl FnOnce(&CaKey) -> Result<CertificateDer<'static>, CaError>,
    ) -> Result<Self, CaError> {
        let certificate_file = dir.join(format!("{stem}.pem"));
        // Looked at first, so that a second `create` doesn't leave a key without a certificate behind.
        if certificate_file.exists() {
            return Err(CaError::Exists(certificate_file));
        }
        make_folder(dir)?;
        let key = CaKey::generate()?;
        let certificate = certify(&key)?;
        write(&dir.join(format!("{stem}.key")), key.to_pem()?.as_bytes(), SECRET)?;
        write(&certificate_file, pem::encode("CERTIFICATE", &certificate).as_bytes(), PUBLIC)?;
        Self::open(dir, stem)
    }

    pub(super) fn open(dir: &Path, stem: &'static str) -> Result<Self, CaError> {
        let certificate_file = dir.join(format!("{stem}.pem"));
        let key_file = dir.join(format!("{stem}.key"));
        let bad_certificate = |problem| CaError::Content { file: certificate_file.clone(), problem };
        let bad_key = |problem| CaError::Content { file: key_file.clone(), problem };

        let certificate = certificate(&certificate_file)?;
        let parsed = x509::parse(&certificate).map_err(|_| bad_certificate("holds no readable certificate"))?;
        if !parsed.is_ca() {
            return Err(bad_certificate("is not the certificate of a CA"));
        }
        // X509-SVID §3.2: a CA's URI name is its trust domain, without a path.
        let trust_domain = match x509::uris(&parsed).as_deref() {
            Ok([uri]) => uri.strip_prefix("spiffe://").and_then(|domain| domain.parse().ok()),
            _ => None,
        };
        let trust_domain = trust_domain.ok_or_else(|| bad_certificate("names no trust domain"))?;

        let key = CaKey::from_pem(&read(&key_file)?).map_err(|_| bad_key("holds no ECDSA P-256 private key"))?;
        if key.point() != parsed.public_key().subject_public_key.as_ref() {
            return Err(bad_key("is not the key of the certificate beside it"));
        }
        let not_after = x509::time(parsed.validity().not_after);
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(CaError::Crypto)?;
        Ok(Self { dir: dir.to_owned(), stem, issuer, certificate, trust_domain, not_after })
    }

    pub(super) fn certificate_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.certificate).to_string()
    }

    pub(super) fn books(&self) -> Books {
        Books::of(&self.dir)
    }

    /// Signs a certificate for the key; it is in the folder's books when this returns, if it is to be.
    pub(super) fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        kept: bool,
    ) -> Result<CertificateDer<'static>, CaError> {
        params.use_authority_key_identifier_extension = true;
        let serial = params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default();
        let signed = params.signed_by(key, &self.issuer).map_err(CaError::Crypto)?;
        if kept {
            self.books().record(signed.der(), &serial)?;
        }
        Ok(signed.der().clone())
    }

    pub(super) fn revocation_list(
        &self,
        revoked: &[RevokedCertificate],
        number: u64,
        this_update: SystemTime,
        next_update: SystemTime,
    ) -> Result<Vec<u8>, CaError> {
        let revoked_certs = revoked
            .iter()
            .map(|revoked| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&revoked.serial),
                revocation_time: revoked.at.into(),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let list = CertificateRevocationListParams {
            this_update: this_update.into(),
            next_update: next_update.into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer).map_err(CaError::Crypto)?.der().to_vec())
    }

    /// Notes `certificate` as revoked, if one is given, and writes the list anew. Gives back the list's file.
    pub(super) fn revoke(
        &self,
        certificate: Option<&CertificateDer<'_>>,
        now: SystemTime,
        next_update: SystemTime,
    ) -> Result<PathBuf, CaError> {
        let serial = certificate.map(|certificate| self.serial_of(certificate)).transpose()?;
        let file = self.dir.join(format!("{}.crl", self.stem));
        self.books().revoke(serial.as_deref(), now, |revoked| {
            let list = self.revocation_list(revoked, next_number(&file, now)?, now, next_update)?;
            replace(&file, &list, PUBLIC).map_err(|source| CaError::File { file: file.clone(), source })?;
            Ok(file.clone())
        })
    }

    fn serial_of(&self, certificate: &CertificateDer<'_>) -> Result<Vec<u8>, CaError> {
        let ours = x509::parse(&self.certificate).map_err(|_| CaError::NotIssuedHere)?;
        let parsed = x509::parse(certificate).map_err(|_| CaError::NotIssuedHere)?;
        if !x509::is_signed_by(&parsed, &ours) {
            return Err(CaError::NotIssuedHere);
        }
        Ok(parsed.raw_serial().to_vec())
    }
}

/// Rises with every list (RFC 5280 §5.2.3), also when the list before has gone missing.
fn next_number(file: &Path, now: SystemTime) -> Result<u64, CaError> {
    let by_clock = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| CaError::Time)?.as_secs();
    let before = match std::fs::read(file) {
        Ok(der) => x509::list_number(&der),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(CaError::File { file: file.to_owned(), source }),
    };
    Ok(before.map_or(by_clock, |number| by_clock.max(number.saturating_add(1))))
}

pub(super) fn certificate(file: &Path) -> Result<CertificateDer<'static>, CaError> {
    let bad = |problem| CaError::Content { file: file.to_owned(), problem };
    CertificateDer::from_pem_slice(&read(file)?).map_err(|_| bad("holds no PEM certificate"))
}
