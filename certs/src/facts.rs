//! What a certificate says about itself, for books and lists. Nothing here has been verified.

use std::net::IpAddr;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::extensions::GeneralName;

use crate::x509::{self, Malformed};

/// What people and books ask a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// SHA-256 of the `SubjectPublicKeyInfo`, DER.
    pub key_sha256: [u8; 32],
    /// The issuer's distinguished name, as text.
    pub issuer: String,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
    /// The DNS names and IP addresses among its alternative names, in their order.
    pub hosts: Vec<String>,
}

impl CertificateFacts {
    /// Reads one certificate, DER.
    ///
    /// # Errors
    /// The bytes are not one well-formed certificate.
    pub fn read(der: &[u8]) -> Result<Self, Malformed> {
        let certificate = x509::parse(der)?;
        let names = certificate.subject_alternative_name().map_err(|_| Malformed)?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let host = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        };
        let key = digest(&SHA256, certificate.public_key().raw);
        Ok(Self {
            key_sha256: key.as_ref().try_into().expect("SHA-256 has 32 bytes"),
            issuer: certificate.issuer().to_string(),
            not_before: x509::time(certificate.validity().not_before),
            not_after: x509::time(certificate.validity().not_after),
            hosts: names.iter().filter_map(host).collect(),
        })
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let sixteen = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four().or_else(|_| sixteen()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{CertificateAuthority, server_name};

    #[test]
    fn a_certificate_tells_its_hosts_and_how_long_it_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ca = CertificateAuthority::create(dir.path(), &"lgsp.hue.test".parse().unwrap(), now).unwrap();
        let names = ["gw.lgsp.hue.test", "127.0.0.1", "::1"].map(|name| server_name(name).unwrap());
        let issued = ca.issue_server(&names, Duration::from_secs(3600), now).unwrap();
        issued.write_to(dir.path(), "gw").unwrap();
        let files = crate::TlsFiles {
            certificate: dir.path().join("gw.pem"),
            key: dir.path().join("gw.key"),
            bundle: dir.path().join("ca.pem"),
        };
        let credentials = files.load(crate::Usage::Server, now).unwrap();
        let facts = CertificateFacts::read(credentials.certificate()).unwrap();
        assert_eq!(facts.hosts, ["gw.lgsp.hue.test", "127.0.0.1", "::1"]);
        assert!(facts.not_before <= now && facts.not_after == issued.not_after);
        let mut longer = credentials.certificate().to_vec();
        longer.push(0);
        assert_eq!(CertificateFacts::read(&longer), Err(Malformed));
    }
}
