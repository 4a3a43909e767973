//! From when to when a certificate holds, read from its DER.

use std::time::SystemTime;

use crate::x509::{self, Malformed};

/// The first and the last moment at which a certificate holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetime {
    /// The first.
    pub not_before: SystemTime,
    /// The last.
    pub not_after: SystemTime,
}

impl Lifetime {
    /// Reads it. This says nothing about whether the certificate is to be trusted.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn of(der: &[u8]) -> Result<Self, Malformed> {
        let parsed = x509::parse(der)?;
        let validity = parsed.validity();
        Ok(Self { not_before: x509::time(validity.not_before), not_after: x509::time(validity.not_after) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_lifetime_is_read_as_it_was_written() {
        let day = |year, day| rcgen::date_time_ymd(year, 1, day);
        let mut params = rcgen::CertificateParams::default();
        (params.not_before, params.not_after) = (day(2025, 1), day(2025, 11));
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let Lifetime { not_before, not_after } = Lifetime::of(certificate.der()).unwrap();
        assert_eq!(not_after.duration_since(not_before).unwrap(), Duration::from_secs(10 * 24 * 3600));
        assert_eq!(SystemTime::from(day(2025, 1)), not_before);
        assert_eq!(Lifetime::of(b"no certificate"), Err(Malformed));
    }
}
