//! What this package reads out of a certificate, in one place. Nothing read here is trusted for having been read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

pub(crate) fn time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    if time.timestamp() < 0 { UNIX_EPOCH - seconds } else { UNIX_EPOCH + seconds }
}
