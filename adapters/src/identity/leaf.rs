//! What the own certificate says: whom it names and how long. It is ours; nothing here is proof of anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lgsp_certs::{SpiffeId, SystemName, TrustDomain};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

use crate::digest::{random, sha256};

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Leaf {
    /// The system it names; none in a certificate of an agency's own CA.
    pub(crate) system: Option<SystemName>,
    /// The bus of which it is that system.
    pub(crate) trust_domain: Option<TrustDomain>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    pub(crate) key_sha256: [u8; 32],
}

impl Leaf {
    /// Reads a certificate, DER; `None` if it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let name = rest.is_empty().then(|| name(&certificate))?;
        Some(Self {
            system: name.as_ref().map(|name| name.system().clone()),
            trust_domain: name.map(|name| name.trust_domain().clone()),
            not_before: time(certificate.validity().not_before),
            not_after: time(certificate.validity().not_after),
            key_sha256: sha256(certificate.public_key().raw),
        })
    }

    /// Two thirds of its life: from then on it should be renewed.
    pub(crate) fn renew_from(&self) -> SystemTime {
        self.not_before + self.not_after.duration_since(self.not_before).unwrap_or_default() * 2 / 3
    }
}

/// Some time after `from`, within a tenth of what is left then: what was issued in one morning is not renewed in one minute.
pub(crate) fn some_time_after(from: SystemTime, not_after: SystemTime) -> SystemTime {
    let fraction = f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX);
    from + not_after.duration_since(from).unwrap_or_default().mul_f64(fraction / 10.0)
}

fn name(certificate: &X509Certificate<'_>) -> Option<SpiffeId> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.parse().ok(),
        _ => None,
    })
}

fn time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    if time.timestamp() < 0 { UNIX_EPOCH - seconds } else { UNIX_EPOCH + seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_after_two_thirds_and_not_long_after_that() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let leaf =
            Leaf { system: None, trust_domain: None, not_before: at(1000), not_after: at(4000), key_sha256: [0; 32] };
        assert_eq!(leaf.renew_from(), at(3000));
        for _ in 0..100 {
            let due = some_time_after(at(3000), at(4000));
            assert!((at(3000)..=at(3100)).contains(&due));
        }
        assert_eq!(some_time_after(at(4000), at(3000)), at(4000), "one that has expired is due at once");
    }
}
