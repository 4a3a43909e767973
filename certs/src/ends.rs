//! When what a process stands on ends: its roots, and the lists of what they revoked. For figures and warnings; nothing is refused by it.

use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::extensions::ParsedExtension;

use crate::identity::sha256;
use crate::x509;

/// The moments at which the parts of a bundle end, each with a mark by which an operator finds it: 16 hexadecimal digits.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ends {
    /// Each root by the beginning of its SHA-256, as `openssl x509 -fingerprint -sha256` shows it, and when it ends.
    pub roots: Vec<(String, SystemTime)>,
    /// Each revocation list that says so, by the beginning of the key identifier of its issuer (of the SHA-256 of the issuer's name
    /// where there is none), and when there is to be a newer one.
    pub lists: Vec<(String, SystemTime)>,
}

impl Ends {
    /// Those of these roots and lists. What cannot be read is left out: loading has refused it.
    pub fn of(roots: &[CertificateDer<'_>], lists: &[CertificateRevocationListDer<'_>]) -> Self {
        let root = |der: &CertificateDer<'_>| {
            let parsed = x509::parse(der).ok()?;
            Some((mark(&sha256(der)), x509::time(parsed.validity().not_after)))
        };
        Self { roots: roots.iter().filter_map(root).collect(), lists: lists.iter().filter_map(list).collect() }
    }
}

fn list(der: &CertificateRevocationListDer<'_>) -> Option<(String, SystemTime)> {
    let (_, list) = x509_parser::parse_x509_crl(der).ok()?;
    let next = x509::time(list.next_update()?);
    let by_key = list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(by) => by.key_identifier.as_ref().map(|key| mark(key.0)),
        _ => None,
    });
    Some((by_key.unwrap_or_else(|| mark(&sha256(list.issuer().as_raw()))), next))
}

fn mark(bytes: &[u8]) -> String {
    crate::hex::encode(&bytes[..bytes.len().min(8)])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::CertificateAuthority;
    use crate::tls::certificates_in;

    #[test]
    fn a_list_is_found_by_its_issuers_key_and_a_root_by_its_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ca = CertificateAuthority::create(dir.path(), &"lgsp.hue.test".parse().unwrap(), now).unwrap();
        let roots = certificates_in(&dir.path().join("root.pem")).unwrap();
        let next = now + Duration::from_secs(3600);
        let lists = [1, 2].map(|number| ca.revocation_list(&[], number, now, next).unwrap().into());
        let ends = Ends::of(&roots, &lists);
        let root = x509::parse(&roots[0]).unwrap();
        assert_eq!(ends.roots, [(mark(&sha256(&roots[0])), x509::time(root.validity().not_after))]);
        assert_eq!(ends.roots[0].0.len(), 16);
        // Both are of one issuer, so its mark is the same whatever the number.
        assert_eq!(ends.lists[0], ends.lists[1]);
        assert_eq!(ends.lists[0].1, next);
        let issuing = certificates_in(&dir.path().join("ca.pem")).unwrap();
        let issuing = x509::parse(&issuing[0]).unwrap();
        let own = issuing.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(mark(key.0)),
            _ => None,
        });
        assert_eq!(own.as_ref(), Some(&ends.lists[0].0));
    }
}
