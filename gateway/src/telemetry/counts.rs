//! What happened since the start, counted where it happens: a word out of a closed set each time.

use std::io;

use lgsp_proto::{Reason, Refusal};
use lgsp_telemetry::{Tally, certificates};
use rustls::{CertificateError, Error};

use crate::engine::connections::Revoked;
use crate::engine::queries::outcome;

/// The counters of a gateway.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) handshakes_refused: Tally,
    pub(crate) calls_refused: Tally,
    pub(crate) quota_refusals: Tally,
    pub(crate) reloads: Tally,
    pub(crate) queries: Tally,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            handshakes_refused: Tally::of(HANDSHAKES),
            calls_refused: Tally::of(Reason::ALL.iter().map(|reason| reason.as_str())),
            quota_refusals: Tally::of(QUOTAS),
            reloads: Tally::of([certificates::IN_FORCE, certificates::FAILED]),
            queries: Tally::of(outcome::ALL),
        }
    }
}

impl Counts {
    /// A call was refused.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.calls_refused.count(refusal.reason().as_str());
        if refusal.reason() == Reason::QuotaExceeded {
            self.quota_refusals.count(quota_of(refusal));
        }
    }

    /// A connection did not come about.
    pub(crate) fn handshake_failed(&self, error: &io::Error) {
        self.handshakes_refused.count(why(error));
    }

    /// A handshake was not finished in time.
    pub(crate) fn handshake_late(&self) {
        self.handshakes_refused.count(LATE);
    }
}

const PARTY_RATE: &str = "party_rate";
const PARTY_AT_ONCE: &str = "party_at_once";
const SYSTEM_RATE: &str = "system_rate";
const SYSTEM_AT_ONCE: &str = "system_at_once";
const OTHER: &str = "other";
const QUOTAS: [&str; 5] = [PARTY_RATE, PARTY_AT_ONCE, SYSTEM_RATE, SYSTEM_AT_ONCE, OTHER];

/// Whose share was used up, and which, as the refusal tells its caller.
fn quota_of(refusal: &Refusal) -> &'static str {
    let told = |key: &str| refusal.details().contains_key(key);
    match (told("party"), told("system"), told("per_second"), told("at_once")) {
        (true, _, true, _) => PARTY_RATE,
        (true, _, _, true) => PARTY_AT_ONCE,
        (_, true, true, _) => SYSTEM_RATE,
        (_, true, _, true) => SYSTEM_AT_ONCE,
        _ => OTHER,
    }
}

const NO_CERTIFICATE: &str = "no_certificate";
const EXPIRED: &str = "expired";
const NOT_YET_VALID: &str = "not_yet_valid";
const UNKNOWN_CA: &str = "unknown_ca";
const REVOKED: &str = "revoked";
const CERTIFICATE: &str = "certificate";
const REFUSED_BY_PEER: &str = "refused_by_peer";
const TLS: &str = "tls";
const TOO_MANY: &str = "too_many";
const LATE: &str = "late";
const BROKEN: &str = "broken";
const HANDSHAKES: [&str; 11] = [
    NO_CERTIFICATE,
    EXPIRED,
    NOT_YET_VALID,
    UNKNOWN_CA,
    REVOKED,
    CERTIFICATE,
    REFUSED_BY_PEER,
    TLS,
    TOO_MANY,
    LATE,
    BROKEN,
];

/// A system has as many connections open as it may.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} has too many connections open")]
pub(crate) struct TooMany(pub(crate) String);

/// Why there is no connection, in one of the words.
fn why(error: &io::Error) -> &'static str {
    let Some(cause) = error.get_ref() else { return BROKEN };
    if cause.is::<Revoked>() {
        return REVOKED;
    }
    if cause.is::<TooMany>() {
        return TOO_MANY;
    }
    match cause.downcast_ref::<Error>() {
        Some(Error::NoCertificatesPresented) => NO_CERTIFICATE,
        Some(Error::InvalidCertificate(problem)) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => EXPIRED,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => NOT_YET_VALID,
            CertificateError::UnknownIssuer => UNKNOWN_CA,
            CertificateError::Revoked => REVOKED,
            _ => CERTIFICATE,
        },
        Some(Error::AlertReceived(_)) => REFUSED_BY_PEER,
        Some(_) => TLS,
        // After the handshake itself: no bundle accepts what it showed.
        None if error.kind() == io::ErrorKind::Other => CERTIFICATE,
        None => BROKEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tally: &Tally) -> Vec<(&'static str, u64)> {
        tally.each().filter(|(_, times)| *times > 0).collect()
    }

    #[test]
    fn a_refusal_is_counted_by_its_reason_and_one_for_a_share_by_the_share() {
        let counts = Counts::default();
        let quota = |whose: &str, which: &str| Refusal::new(Reason::QuotaExceeded).detail(whose, "x").detail(which, 1);
        counts.refused(&Refusal::new(Reason::GrantMissing));
        counts.refused(&quota("party", "per_second"));
        counts.refused(&quota("party", "at_once"));
        counts.refused(&quota("system", "per_second"));
        counts.refused(&quota("system", "at_once"));
        counts.refused(&quota("system", "streams_max"));
        assert_eq!(told(&counts.calls_refused), [("GRANT_MISSING", 1), ("QUOTA_EXCEEDED", 5)]);
        assert_eq!(told(&counts.quota_refusals), QUOTAS.map(|word| (word, 1)));
    }

    #[test]
    fn a_connection_that_never_was_is_counted_by_what_was_in_its_way() {
        let tls = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let certificate = |problem| tls(Error::InvalidCertificate(problem));
        let cases = [
            (tls(Error::NoCertificatesPresented), NO_CERTIFICATE),
            (certificate(CertificateError::Expired), EXPIRED),
            (certificate(CertificateError::NotValidYet), NOT_YET_VALID),
            (certificate(CertificateError::UnknownIssuer), UNKNOWN_CA),
            (certificate(CertificateError::Revoked), REVOKED),
            (io::Error::other(Revoked), REVOKED),
            (certificate(CertificateError::BadSignature), CERTIFICATE),
            (tls(Error::AlertReceived(rustls::AlertDescription::UnknownCA)), REFUSED_BY_PEER),
            (tls(Error::DecryptError), TLS),
            (io::Error::other(TooMany("mot-cua".into())), TOO_MANY),
            (io::ErrorKind::UnexpectedEof.into(), BROKEN),
        ];
        for (error, word) in cases {
            assert_eq!(why(&error), word, "{error}");
            assert!(HANDSHAKES.contains(&word));
        }
    }
}
