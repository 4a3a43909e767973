//! The CA in the box: a root that may be carried away, and issuing CAs that certify systems and servers.
//!
//! Everybody trusts roots only; whoever shows a leaf shows its issuing CA with it. The trust domain is written in the CAs'
//! own certificates (X509-SVID §3.2: a URI name without a path). Time is an argument. Over the bus, what is revoked
//! is a key, and that is the gateway's business; the lists made here are for gateways' certificates and for other readers.

mod books;
mod root;
mod signer;
#[cfg(test)]
mod tests;
mod validity;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, IpAddr, ServerName};
use zeroize::Zeroizing;

use crate::files::{PUBLIC, SECRET, write_new};
use crate::identity::{CertificateDigest, SpiffeId, SystemName, TrustDomain, sha256};
use crate::keys::{CaKey, NoKey};
use crate::request::SigningRequest;
use crate::{hex, pem, x509};

pub use books::{Books, RevokedCertificate};
pub use root::RootAuthority;
use signer::Signer;
use validity::Validity;
pub use validity::renew_from;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An issuing CA that is ready to sign, in a folder with `ca.pem`, `ca.key` and its root's `root.pem`.
pub struct CertificateAuthority {
    signer: Signer,
    root: CertificateDer<'static>,
}

/// A certificate and its private key, just made and written nowhere yet but in the CA's books (the certificate).
pub struct Issued {
    /// The certificate and behind it the issuing CA's, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM, wiped when dropped.
    pub key_pem: Zeroizing<String>,
    /// SHA-256 of the certificate.
    pub digest: CertificateDigest,
    /// The last second of its validity.
    pub not_after: SystemTime,
}

/// A certificate for a key that somebody else holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certified {
    /// The leaf first, then the issuing CA; not the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// SHA-256 of the leaf.
    pub digest: CertificateDigest,
    /// SHA-256 of the key (`SubjectPublicKeyInfo`, DER).
    pub key_sha256: [u8; 32],
    /// The first second of its validity: a little before now.
    pub not_before: SystemTime,
    /// The last second of its validity.
    pub not_after: SystemTime,
    /// From when on it should be renewed.
    pub renew_from: SystemTime,
}

/// Why the CA could not be made, opened or used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of this name is there already. It is untouched.
    #[error("{} exists already and will not be overwritten", .0.display())]
    Exists(PathBuf),
    /// A file could not be read or written.
    #[error("cannot use {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} {problem}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The certificate would be valid for longer than the CA.
    #[error("the certificate would outlive its CA; a shorter validity, or a new CA, is needed")]
    OutlivesCa,
    /// A server certificate needs a name to be found by.
    #[error("a server certificate needs at least one DNS name or IP address")]
    NoServerName,
    /// Before 1970 or after 9999, which is as far as a certificate can say (RFC 5280 §4.1.2.5).
    #[error("the validity is not within the years 1970 to 9999")]
    Time,
    /// Only its issuer can revoke a certificate. Nothing was revoked.
    #[error("the certificate was not issued by this CA")]
    NotIssuedHere,
    /// No key could be made. Nothing was issued.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// The signing library refused. Nothing was issued.
    #[error("the certificate could not be made")]
    Crypto(#[source] rcgen::Error),
}

impl CertificateAuthority {
    /// Makes a root in `dir/root` and an issuing CA of it in `dir`: the short way, for development and tests.
    ///
    /// # Errors
    /// As [`RootAuthority::create`] and [`RootAuthority::issue_authority`]. An interruption between the two leaves a root
    /// in `dir/root` that can be used.
    pub fn create(dir: &Path, trust_domain: &TrustDomain, now: SystemTime) -> Result<Self, CaError> {
        for file in ["ca.pem", "ca.key", "root.pem"].map(|file| dir.join(file)) {
            if file.exists() {
                return Err(CaError::Exists(file));
            }
        }
        RootAuthority::create(&dir.join("root"), trust_domain, now)?.issue_authority(dir, now)
    }

    /// Opens the issuing CA in `dir`. The root's key is not needed.
    ///
    /// # Errors
    /// When a file is missing or unreadable, is not what [`RootAuthority::issue_authority`] writes, or they don't
    /// belong together.
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let signer = Signer::open(dir, "ca")?;
        let root_file = dir.join("root.pem");
        let root = signer::certificate(&root_file)?;
        let is_ours = x509::parse(&root)
            .and_then(|root| Ok(root.is_ca() && x509::is_signed_by(&x509::parse(&signer.certificate)?, &root)));
        if is_ours != Ok(true) {
            return Err(CaError::Content { file: root_file, problem: "is not the root that signed ca.pem" });
        }
        Ok(Self { signer, root })
    }

    /// The domain this CA vouches for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.signer.trust_domain
    }

    /// The root certificate: what the others put in their bundle.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The root certificate, PEM.
    pub fn root_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.root).to_string()
    }

    /// The certificate that signs leafs, and that they carry with them.
    pub fn intermediate(&self) -> &CertificateDer<'static> {
        &self.signer.certificate
    }

    /// The last second of the issuing CA's validity: no leaf ends later.
    pub fn not_after(&self) -> SystemTime {
        self.signer.not_after
    }

    /// What this folder remembers.
    pub fn books(&self) -> Books {
        self.signer.books()
    }

    /// Issues a client certificate for a system, with its SPIFFE id and a fresh key.
    ///
    /// # Errors
    /// When it would outlive the CA, or the folder cannot take it into its books. Nothing was given to anybody.
    pub fn issue_system(&self, name: &SystemName, validity: Duration, now: SystemTime) -> Result<Issued, CaError> {
        let validity = Validity::new(now, validity)?;
        self.issue(self.for_system(name, validity)?, validity)
    }

    /// Issues a server certificate for these DNS names and IP addresses, with a fresh key.
    ///
    /// # Errors
    /// When there is no name, or as for [`issue_system`](Self::issue_system).
    pub fn issue_server(
        &self,
        names: &[ServerName<'_>],
        validity: Duration,
        now: SystemTime,
    ) -> Result<Issued, CaError> {
        let validity = Validity::new(now, validity)?;
        let first = names.first().ok_or(CaError::NoServerName)?;
        let mut params = leaf(first.to_str().into_owned(), validity)?;
        params.subject_alt_names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, validity)
    }

    /// Certifies somebody else's key as that of a system. Nothing in the request but its key counts. When the CA ends
    /// sooner than `validity`, and not before tomorrow, the certificate ends with it.
    ///
    /// The folder's books are left alone: whoever calls this (a gateway, with its journal) keeps its own.
    ///
    /// # Errors
    /// [`CaError::OutlivesCa`] when the CA has less than a day to live.
    pub fn sign_request(
        &self,
        request: &SigningRequest,
        name: &SystemName,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Certified, CaError> {
        let validity = Validity::new(now, validity)?.within(self.signer.not_after, now, DAY)?;
        let leaf = self.signer.sign(self.for_system(name, validity)?, request, false)?;
        Ok(Certified {
            digest: CertificateDigest::of(&leaf),
            chain: vec![leaf, self.signer.certificate.clone()],
            key_sha256: request.key_sha256(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            renew_from: renew_from(validity.not_before, validity.not_after),
        })
    }

    /// A revocation list (RFC 5280 §5), DER. `number` must be higher than in any list before (§5.2.3).
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
        self.signer.revocation_list(revoked, number, this_update, next_update)
    }

    /// Notes a certificate of this CA as revoked, for good, and writes the list `ca.crl` anew; without a certificate, only
    /// the latter. Said again, it changes nothing but the list's dates. Gives back the list's file.
    ///
    /// # Errors
    /// When the certificate is not this CA's, or a file cannot be written. When the latter is the list, the revocation is
    /// noted and the next list has it.
    pub fn revoke(
        &self,
        certificate: Option<&CertificateDer<'_>>,
        now: SystemTime,
        next_update: SystemTime,
    ) -> Result<PathBuf, CaError> {
        self.signer.revoke(certificate, now, next_update)
    }

    fn for_system(&self, name: &SystemName, validity: Validity) -> Result<CertificateParams, CaError> {
        let id = SpiffeId::new(self.signer.trust_domain.clone(), name.clone());
        let mut params = leaf(name.to_string(), validity)?;
        params.subject_alt_names = vec![uri(id.to_string())?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }

    fn issue(&self, params: CertificateParams, validity: Validity) -> Result<Issued, CaError> {
        if validity.not_after > self.signer.not_after {
            return Err(CaError::OutlivesCa);
        }
        let key = CaKey::generate()?;
        let key_pem = key.to_pem()?;
        let certificate = self.signer.sign(params, &key, true)?;
        let certificate_pem = [&certificate, &self.signer.certificate].map(|der| pem::encode("CERTIFICATE", der));
        Ok(Issued {
            certificate_pem: certificate_pem.iter().map(|pem| pem.as_str()).collect(),
            key_pem,
            digest: CertificateDigest::of(&certificate),
            not_after: validity.not_after,
        })
    }
}

impl Issued {
    /// Writes `<stem>.key` (mode 0600) and `<stem>.pem` into `dir`, which is made if need be.
    ///
    /// # Errors
    /// When either exists or cannot be written. Existing files are never touched; an interruption can leave the key
    /// without its certificate.
    pub fn write_to(&self, dir: &Path, stem: &str) -> Result<(), CaError> {
        let certificate_file = dir.join(format!("{stem}.pem"));
        if certificate_file.exists() {
            return Err(CaError::Exists(certificate_file));
        }
        make_folder(dir)?;
        write(&dir.join(format!("{stem}.key")), self.key_pem.as_bytes(), SECRET)?;
        write(&certificate_file, self.certificate_pem.as_bytes(), PUBLIC)
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("trust_domain", &self.signer.trust_domain).finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("digest", &self.digest)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What every certificate has: a name for people, its time, a serial number nobody can guess (RFC 5280 §4.1.2.2).
fn params(common_name: String, validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params.distinguished_name = DistinguishedName::new();
    // 64 is what RFC 5280 allows a common name; nobody goes by a leaf's, the alternative names count.
    params.distinguished_name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| NoKey)?;
    // Positive, and always of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn leaf(common_name: String, validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = params(common_name, validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// Eight digits that tell this CA's name from that of another of the same domain: lists and chains are looked up by name
/// (RFC 5280 §4.1.2.4 and §6.3), so two keys must not share one.
fn mark(key: &CaKey) -> String {
    hex::encode(&sha256(&key.subject_public_key_info())[..4])
}

fn uri(text: String) -> Result<SanType, CaError> {
    Ok(SanType::URI(text.try_into().map_err(CaError::Crypto)?))
}

fn alternative_name(name: &ServerName<'_>) -> Result<SanType, CaError> {
    match name {
        ServerName::DnsName(dns) => Ok(SanType::DnsName(dns.as_ref().try_into().map_err(CaError::Crypto)?)),
        ServerName::IpAddress(IpAddr::V4(ip)) => Ok(SanType::IpAddress(std::net::Ipv4Addr::from(*ip).into())),
        ServerName::IpAddress(IpAddr::V6(ip)) => Ok(SanType::IpAddress(std::net::Ipv6Addr::from(*ip).into())),
        // The type is open for kinds of names to come.
        _ => Err(CaError::NoServerName),
    }
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, CaError> {
    std::fs::read(file).map(Zeroizing::new).map_err(|source| CaError::File { file: file.into(), source })
}

fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    write_new(file, bytes, mode).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CaError::Exists(file.into()),
        _ => CaError::File { file: file.into(), source },
    })
}

fn make_folder(dir: &Path) -> Result<(), CaError> {
    std::fs::create_dir_all(dir).map_err(|source| CaError::File { file: dir.into(), source })
}
