//! What this package reads out of a certificate, in one place. Nothing read here is trusted for having been read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

/// The bytes are not one DER certificate, or an extension this package reads is malformed or given twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a well-formed X.509 certificate")]
pub struct Malformed;

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Malformed> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Malformed),
    }
}

/// Every URI among the subject's alternative names.
pub(crate) fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, Malformed> {
    let Some(names) = certificate.subject_alternative_name().map_err(|_| Malformed)? else {
        return Ok(Vec::new());
    };
    let mut uris = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            // A name we cannot read might be the one another reader goes by.
            GeneralName::Invalid(..) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(uris)
}

/// How a P-256 key with its point uncompressed begins as `SubjectPublicKeyInfo` (RFC 5480 §2): everything but the point.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The point of a P-256 key in the one spelling the bus takes, so that a key has one hash.
pub(crate) fn p256_point(spki: &[u8]) -> Option<&[u8]> {
    spki.strip_prefix(P256).filter(|point| point.len() == 65 && point[0] == 4)
}

/// Whether `issuer` names itself as `certificate`'s issuer and its P-256 key made the signature. No other rule of a
/// chain is looked at.
pub(crate) fn is_signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && p256_point(issuer.public_key().raw).is_some_and(|point| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
                .verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
                .is_ok()
        })
}

/// The number of a revocation list (RFC 5280 §5.2.3), as far as it is one of ours.
pub(crate) fn list_number(der: &[u8]) -> Option<u64> {
    let (_, list) = x509_parser::parse_x509_crl(der).ok()?;
    u64::try_from(list.crl_number()?).ok()
}

/// Until when a revocation list is current, if it says so.
pub(crate) fn next_update(der: &[u8]) -> Option<SystemTime> {
    let (_, list) = x509_parser::parse_x509_crl(der).ok()?;
    list.next_update().map(time)
}

pub(crate) fn time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    if time.timestamp() < 0 { UNIX_EPOCH - seconds } else { UNIX_EPOCH + seconds }
}
