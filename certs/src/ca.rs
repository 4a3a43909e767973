//! A development CA: one root key in a folder, issuing certificates to systems and servers.
//!
//! It signs; it keeps no list of what it signed, so it cannot revoke. Its trust domain is written in its own
//! certificate (X509-SVID §3.2: a URI name without a path), so a folder is all there is to it. Time is an argument.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, IpAddr, PrivateKeyDer, ServerName};
use zeroize::{Zeroize, Zeroizing};

use crate::files::{PUBLIC, SECRET, write_new};
use crate::identity::{CertificateDigest, SpiffeId, SystemName, TrustDomain};
use crate::{pem, x509};

/// A fresh certificate must hold for a peer whose clock is a little behind.
const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// Ten years: a development CA should not be what stops a machine one morning.
const CA_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// 9999-12-31T23:59:59Z in Unix seconds.
const END_OF_9999: u64 = 253_402_300_799;

/// Names of the two files in the CA's folder.
const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";

/// A CA that is ready to sign.
pub struct CertificateAuthority {
    issuer: Issuer<'static, CaKey>,
    certificate_pem: String,
    trust_domain: TrustDomain,
    not_after: SystemTime,
}

/// A certificate and its private key, just made and written nowhere yet.
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM, wiped when dropped.
    pub key_pem: Zeroizing<String>,
    /// SHA-256 of the certificate.
    pub digest: CertificateDigest,
    /// The last second of its validity.
    pub not_after: SystemTime,
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
    /// The signing library refused. Nothing was issued.
    #[error("the certificate could not be made")]
    Crypto(#[source] rcgen::Error),
}

impl CertificateAuthority {
    /// Makes a new CA and writes `ca.pem` and `ca.key` (mode 0600) into `dir`, which is made if need be.
    ///
    /// # Errors
    /// When either file exists, or cannot be written. Existing files are never touched. An interruption can leave
    /// `ca.key` without `ca.pem`: it has signed nothing and may be deleted.
    pub fn create(dir: &Path, trust_domain: &TrustDomain, now: SystemTime) -> Result<Self, CaError> {
        let (certificate_file, key_file) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        // Looked at first, so that a second `create` doesn't leave a key without a certificate behind.
        if certificate_file.exists() {
            return Err(CaError::Exists(certificate_file));
        }

        let key = CaKey::generate()?;
        let mut params = params(format!("lgsp development CA, {trust_domain}"), Validity::new(now, CA_VALIDITY)?)?;
        params.subject_alt_names = vec![uri(format!("spiffe://{trust_domain}"))?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(CaError::Crypto)?;

        make_folder(dir)?;
        write(&key_file, key.to_pem()?.as_bytes(), SECRET)?;
        write(&certificate_file, pem::encode("CERTIFICATE", certificate.der()).as_bytes(), PUBLIC)?;
        Self::open(dir)
    }

    /// Opens the CA in `dir`.
    ///
    /// # Errors
    /// When a file is missing or unreadable, is not what [`CertificateAuthority::create`] writes, or the two don't
    /// belong together.
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let (certificate_file, key_file) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        let bad_certificate = |problem| CaError::Content { file: certificate_file.clone(), problem };
        let bad_key = |problem| CaError::Content { file: key_file.clone(), problem };

        let certificate_pem =
            String::from_utf8(read(&certificate_file)?.to_vec()).map_err(|_| bad_certificate("is not PEM"))?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| bad_certificate("holds no PEM certificate"))?;
        let parsed = x509::parse(&der).map_err(|_| bad_certificate("holds no readable certificate"))?;
        if !parsed.is_ca() {
            return Err(bad_certificate("is not the certificate of a CA"));
        }
        let trust_domain = match x509::uris(&parsed).as_deref() {
            Ok([uri]) => uri.strip_prefix("spiffe://").and_then(|domain| domain.parse().ok()),
            _ => None,
        };
        let trust_domain = trust_domain.ok_or_else(|| bad_certificate("names no trust domain"))?;

        let key = CaKey::from_pem(&read(&key_file)?).ok_or_else(|| bad_key("holds no ECDSA P-256 private key"))?;
        if key.0.public_key().as_ref() != parsed.public_key().subject_public_key.as_ref() {
            return Err(bad_key("is not the key of ca.pem"));
        }
        let not_after = x509::time(parsed.validity().not_after);
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(CaError::Crypto)?;
        Ok(Self { issuer, certificate_pem, trust_domain, not_after })
    }

    /// The domain this CA vouches for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The CA's own certificate, PEM: what the others put in their bundle.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a client certificate for a system, with its SPIFFE id and a fresh key.
    ///
    /// # Errors
    /// When it would outlive the CA. Nothing was issued.
    pub fn issue_system(&self, name: &SystemName, validity: Duration, now: SystemTime) -> Result<Issued, CaError> {
        let validity = Validity::new(now, validity)?;
        let id = SpiffeId::new(self.trust_domain.clone(), name.clone());
        let mut params = params(name.to_string(), validity)?;
        params.subject_alt_names = vec![uri(id.to_string())?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, validity)
    }

    /// Issues a server certificate for these DNS names and IP addresses, with a fresh key.
    ///
    /// # Errors
    /// When there is no name, or it would outlive the CA. Nothing was issued.
    pub fn issue_server(
        &self,
        names: &[ServerName<'_>],
        validity: Duration,
        now: SystemTime,
    ) -> Result<Issued, CaError> {
        let validity = Validity::new(now, validity)?;
        let first = names.first().ok_or(CaError::NoServerName)?;
        let mut params = params(first.to_str().into_owned(), validity)?;
        params.subject_alt_names = names.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, validity)
    }

    fn issue(&self, mut params: CertificateParams, validity: Validity) -> Result<Issued, CaError> {
        if validity.not_after > self.not_after {
            return Err(CaError::OutlivesCa);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = CaKey::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(CaError::Crypto)?;
        Ok(Issued {
            certificate_pem: pem::encode("CERTIFICATE", certificate.der()).to_string(),
            key_pem: key.to_pem()?,
            digest: CertificateDigest::of(certificate.der()),
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
        f.debug_struct("CertificateAuthority").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
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

/// A key that signs certificates, or is about to be given away with one.
///
/// Apart from [`crate::SigningKey`] on purpose: that one signs nothing without a purpose's tag, this one must.
struct CaKey(EcdsaKeyPair);

impl CaKey {
    fn generate() -> Result<Self, CaError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Self).map_err(|_| refused())
    }

    fn from_pem(pem: &[u8]) -> Option<Self> {
        let mut der = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_der());
        der.zeroize();
        key.ok().map(Self)
    }

    fn to_pem(&self) -> Result<Zeroizing<String>, CaError> {
        let document = self.0.to_pkcs8v1().map_err(|_| refused())?;
        Ok(pem::encode("PRIVATE KEY", document.as_ref()))
    }
}

impl rcgen::PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// From when to when a certificate holds, in whole seconds as certificates have them.
#[derive(Clone, Copy)]
struct Validity {
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Validity {
    fn new(now: SystemTime, length: Duration) -> Result<Self, CaError> {
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| CaError::Time)?;
        let first = now.checked_sub(BACKDATED).ok_or(CaError::Time)?.as_secs();
        let last = now.checked_add(length).ok_or(CaError::Time)?.as_secs();
        if last > END_OF_9999 {
            return Err(CaError::Time);
        }
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        Ok(Self { not_before: at(first), not_after: at(last) })
    }
}

/// What every certificate has: a name for people, its time, a serial number nobody can guess (RFC 5280 §4.1.2.2).
fn params(common_name: String, validity: Validity) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params.distinguished_name = DistinguishedName::new();
    // 64 is what RFC 5280 allows a common name; nobody goes by it, the alternative names count.
    params.distinguished_name.push(DnType::CommonName, common_name.chars().take(64).collect::<String>());
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| refused())?;
    // Positive, and always of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
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

fn refused() -> CaError {
    CaError::Crypto(rcgen::Error::RingUnspecified)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// 14 July 2025, 01:00 UTC, with a fraction that no certificate can hold.
    fn monday() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_752_454_800_750)
    }

    fn trust_domain() -> TrustDomain {
        "lgsp.hue.test".parse().unwrap()
    }

    fn ca() -> (tempfile::TempDir, CertificateAuthority) {
        let folder = tempfile::tempdir().unwrap();
        let ca = CertificateAuthority::create(folder.path(), &trust_domain(), monday()).unwrap();
        (folder, ca)
    }

    fn der(issued: &Issued) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
    }

    fn mode(file: &Path) -> u32 {
        std::fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_keys_are_readable_by_their_owner_only() {
        let (folder, ca) = ca();
        assert_eq!(mode(&folder.path().join("ca.key")), 0o600);
        assert_eq!(mode(&folder.path().join("ca.pem")), 0o644);
        let leafs = folder.path().join("leafs");
        ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap().write_to(&leafs, "one-stop").unwrap();
        assert_eq!(mode(&leafs.join("one-stop.key")), 0o600);
        assert_eq!(mode(&leafs.join("one-stop.pem")), 0o644);
    }

    #[test]
    fn nothing_that_exists_is_overwritten() {
        let (folder, ca) = ca();
        let before = std::fs::read(folder.path().join("ca.key")).unwrap();
        let again = CertificateAuthority::create(folder.path(), &trust_domain(), monday()).unwrap_err();
        assert!(matches!(&again, CaError::Exists(file) if file.ends_with("ca.pem")), "{again}");
        assert_eq!(std::fs::read(folder.path().join("ca.key")).unwrap(), before);

        // A key that lost its certificate is somebody's key all the same.
        std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
        let again = CertificateAuthority::create(folder.path(), &trust_domain(), monday()).unwrap_err();
        assert!(matches!(&again, CaError::Exists(file) if file.ends_with("ca.key")), "{again}");
        assert!(!folder.path().join("ca.pem").exists());

        let issued = ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap();
        issued.write_to(folder.path(), "one-stop").unwrap();
        assert!(matches!(issued.write_to(folder.path(), "one-stop"), Err(CaError::Exists(_))));
    }

    #[test]
    fn an_opened_ca_is_the_one_that_was_created() {
        let (folder, ca) = ca();
        let opened = CertificateAuthority::open(folder.path()).unwrap();
        assert_eq!(opened.trust_domain(), &trust_domain());
        assert_eq!(opened.certificate_pem(), ca.certificate_pem());
        assert_eq!(opened.not_after, monday() - Duration::from_millis(750) + CA_VALIDITY);
    }

    #[test]
    fn a_folder_that_is_not_a_ca_is_named_with_the_reason() {
        let (folder, _ca) = ca();
        let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
        let (other, other_ca) = self::ca();
        let leaf = other_ca.issue_system(&"a".parse().unwrap(), DAY, monday()).unwrap();
        let refused = || CertificateAuthority::open(folder.path()).unwrap_err().to_string();

        std::fs::copy(other.path().join("ca.key"), &key).unwrap();
        assert_eq!(refused(), format!("{} is not the key of ca.pem", key.display()));
        std::fs::write(&key, "nothing").unwrap();
        assert_eq!(refused(), format!("{} holds no ECDSA P-256 private key", key.display()));
        std::fs::write(&certificate, &leaf.certificate_pem).unwrap();
        assert_eq!(refused(), format!("{} is not the certificate of a CA", certificate.display()));
        std::fs::write(&certificate, "nothing").unwrap();
        assert_eq!(refused(), format!("{} holds no PEM certificate", certificate.display()));
        std::fs::remove_file(&certificate).unwrap();
        assert_eq!(refused(), format!("cannot use {}", certificate.display()));
    }

    #[test]
    fn a_system_certificate_is_for_clients_and_a_server_certificate_for_servers() {
        let (_folder, ca) = ca();
        let system = der(&ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap());
        let parsed = x509::parse(&system).unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !parsed.is_ca());
        assert_eq!(x509::uris(&parsed).unwrap(), ["spiffe://lgsp.hue.test/system/one-stop"]);

        let names = ["gateway.hue.test", "127.0.0.1", "::1"].map(|name| crate::server_name(name).unwrap());
        let server = der(&ca.issue_server(&names, DAY, monday()).unwrap());
        let parsed = x509::parse(&server).unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth && !parsed.is_ca());
        assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 3);
        assert!(matches!(ca.issue_server(&[], DAY, monday()), Err(CaError::NoServerName)));
    }

    #[test]
    fn a_certificate_holds_from_a_little_before_now_to_its_end() {
        let (_folder, ca) = ca();
        let issued = ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap();
        let der = der(&issued);
        let validity = x509::parse(&der).unwrap().validity().clone();
        let second = monday() - Duration::from_millis(750);
        assert_eq!(x509::time(validity.not_before), second - BACKDATED);
        assert_eq!(x509::time(validity.not_after), second + DAY);
        assert_eq!(issued.not_after, second + DAY);
        assert_eq!(issued.digest, CertificateDigest::of(&der));
    }

    #[test]
    fn no_certificate_outlives_its_ca() {
        let (_folder, ca) = ca();
        let name = "one-stop".parse().unwrap();
        assert!(ca.issue_system(&name, CA_VALIDITY, monday()).is_ok());
        let longer = CA_VALIDITY + Duration::from_secs(1);
        assert!(matches!(ca.issue_system(&name, longer, monday()), Err(CaError::OutlivesCa)));
        for length in [Duration::from_secs(END_OF_9999), Duration::MAX] {
            assert!(matches!(ca.issue_system(&name, length, monday()), Err(CaError::Time)));
        }
        assert!(matches!(ca.issue_system(&name, DAY, UNIX_EPOCH), Err(CaError::Time)));
    }

    #[test]
    fn serial_numbers_are_random_and_of_full_length() {
        let (_folder, ca) = ca();
        let serials: std::collections::HashSet<Vec<u8>> = (0..32)
            .map(|_| {
                let der = der(&ca.issue_system(&"a".parse().unwrap(), DAY, monday()).unwrap());
                x509::parse(&der).unwrap().raw_serial().to_vec()
            })
            .collect();
        assert_eq!(serials.len(), 32);
        assert!(serials.iter().all(|serial| serial.len() == 16 && serial[0] & 0x80 == 0), "{serials:?}");
    }

    #[test]
    fn debug_output_shows_no_key() {
        let (_folder, ca) = ca();
        let issued = ca.issue_system(&"one-stop".parse().unwrap(), DAY, monday()).unwrap();
        let shown = format!("{ca:?} {issued:?}");
        assert!(!shown.contains("PRIVATE") && !shown.contains("issuer"), "{shown}");
    }
}
