//! The names a certificate gives to a system: its SPIFFE id and the digest of the certificate itself.
//!
//! Every value here is well formed by construction, and printing and parsing are inverse. Whether a name is *true*
//! is not decided here: that takes a handshake ([`crate::verify`]).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

/// Name of a system on the bus, e.g. `one-stop-hue`: `[a-z0-9][a-z0-9-]{0,62}`.
///
/// The alphabet is that of a DNS label and of a file name on every machine, so the name can be used as both.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SystemName(Box<str>);

/// Domain within which a CA vouches for names, e.g. `lgsp.hue.test`: 1–255 of `a-z`, `0-9`, `.`, `-`, `_`
/// (SPIFFE-ID §2.1).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TrustDomain(Box<str>);

/// Identity of a system, `spiffe://<trust domain>/system/<name>`.
///
/// The form is compared byte by byte, so only this one spelling is accepted: no upper case, no percent encoding, no
/// port, no trailing slash.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    system: SystemName,
}

/// SHA-256 of a certificate's DER form; prints as 64 lower-case hex digits.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CertificateDigest([u8; 32]);

/// The rule a name broke.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// More bytes than the form allows.
    #[error("is longer than {limit} characters")]
    TooLong {
        /// The most characters the form allows.
        limit: usize,
    },
    /// A system name begins with a hyphen.
    #[error("begins with a hyphen")]
    LeadingHyphen,
    /// A character outside the alphabet.
    #[error("has {character:?} at position {position}; allowed are {allowed}")]
    IllegalCharacter {
        /// The first such character.
        character: char,
        /// Its position, counted in characters from 1.
        position: usize,
        /// The alphabet, for people.
        allowed: &'static str,
    },
}

impl NameError {
    /// The sentence that `Display` gives in English, in Vietnamese.
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Empty => "đang để trống".to_owned(),
            Self::TooLong { limit } => format!("dài quá {limit} ký tự"),
            Self::LeadingHyphen => "bắt đầu bằng dấu gạch nối".to_owned(),
            Self::IllegalCharacter { character, position, allowed } => {
                format!("có {character:?} ở vị trí {position}; chỉ được dùng {allowed}")
            }
        }
    }
}

/// The rule a SPIFFE id broke.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SpiffeIdError {
    /// It is some other kind of URI.
    #[error("does not begin with spiffe://")]
    Scheme,
    /// The part between `spiffe://` and the path.
    #[error("the trust domain {0}")]
    TrustDomain(NameError),
    /// The path names something other than a system.
    #[error("the path is not /system/<name>")]
    Path,
    /// The last part of the path.
    #[error("the system name {0}")]
    System(NameError),
}

impl SystemName {
    const LIMIT: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TrustDomain {
    const LIMIT: usize = 255;

    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SpiffeId {
    /// The id of `system` within `trust_domain`.
    pub fn new(trust_domain: TrustDomain, system: SystemName) -> Self {
        Self { trust_domain, system }
    }

    /// The domain whose CA vouches for this id.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The system that is named.
    pub fn system(&self) -> &SystemName {
        &self.system
    }
}

impl CertificateDigest {
    /// Digest of the certificate with this DER form.
    pub fn of(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// The digest that was stored as these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for SystemName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text, Self::LIMIT, "a-z, 0-9 and -", |c| matches!(c, 'a'..='z' | '0'..='9' | '-'))?;
        if text.starts_with('-') {
            return Err(NameError::LeadingHyphen);
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for TrustDomain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
        check(text, Self::LIMIT, "a-z, 0-9, ., - and _", allowed)?;
        Ok(Self(text.into()))
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        let trust_domain = domain.parse().map_err(SpiffeIdError::TrustDomain)?;
        let name = path.strip_prefix("system/").ok_or(SpiffeIdError::Path)?;
        if name.contains('/') {
            return Err(SpiffeIdError::Path);
        }
        Ok(Self { trust_domain, system: name.parse().map_err(SpiffeIdError::System)? })
    }
}

impl fmt::Display for SystemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/system/{}", self.trust_domain, self.system)
    }
}

impl fmt::Display for CertificateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateDigest({self})")
    }
}

/// A SPIFFE id that is not a system's of any bus but well formed (SPIFFE-ID §2), e.g. one that SPIRE gave. What begins
/// like a system's id and is none is refused here too: it was meant to be one.
pub(crate) fn foreign_id(text: &str) -> Option<&str> {
    // SPIFFE-ID §2.3: nobody need support more.
    let rest = text.strip_prefix("spiffe://").filter(|_| text.len() <= 2048)?;
    let (domain, path) = rest.split_once('/')?;
    domain.parse::<TrustDomain>().ok()?;
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    let is_ours = path.split('/').next() == Some("system");
    (!is_ours && path.split('/').all(is_segment)).then_some(text)
}

fn check(text: &str, limit: usize, allowed: &'static str, is_allowed: fn(char) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some((index, character)) = text.chars().enumerate().find(|(_, c)| !is_allowed(*c)) {
        return Err(NameError::IllegalCharacter { character, position: index + 1, allowed });
    }
    // From here on the text is ASCII, so bytes are characters.
    if text.len() > limit {
        return Err(NameError::TooLong { limit });
    }
    Ok(())
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_says_which_rule_it_broke() {
        assert_eq!("".parse::<SystemName>(), Err(NameError::Empty));
        assert_eq!("-hue".parse::<SystemName>(), Err(NameError::LeadingHyphen));
        assert_eq!("a".repeat(64).parse::<SystemName>(), Err(NameError::TooLong { limit: 63 }));
        assert!("a".repeat(63).parse::<SystemName>().is_ok());
        assert_eq!(
            "huế".parse::<SystemName>().unwrap_err().to_string(),
            "has 'ế' at position 3; allowed are a-z, 0-9 and -"
        );
        assert!(matches!("Hue".parse::<SystemName>(), Err(NameError::IllegalCharacter { position: 1, .. })));
        assert_eq!("d".repeat(256).parse::<TrustDomain>(), Err(NameError::TooLong { limit: 255 }));
    }

    #[test]
    fn an_id_has_exactly_one_spelling() {
        let refused = |text: &str| text.parse::<SpiffeId>().unwrap_err();
        assert_eq!(refused("https://lgsp.hue.test/system/a"), SpiffeIdError::Scheme);
        assert_eq!(refused("SPIFFE://lgsp.hue.test/system/a"), SpiffeIdError::Scheme);
        assert_eq!(refused("spiffe:///system/a"), SpiffeIdError::TrustDomain(NameError::Empty));
        for domain in ["Lgsp.hue.test", "lgsp.hue.test:443", "u@lgsp.hue.test", "lgsp%2ehue"] {
            let error = refused(&format!("spiffe://{domain}/system/a"));
            assert!(
                matches!(error, SpiffeIdError::TrustDomain(NameError::IllegalCharacter { .. })),
                "{domain}: {error}"
            );
        }
        for path in ["", "/", "/system", "/system/a/b", "/system/a/", "/ns/a", "//system/a", "/System/a"] {
            assert_eq!(refused(&format!("spiffe://lgsp.hue.test{path}")), SpiffeIdError::Path, "{path}");
        }
        assert_eq!(refused("spiffe://lgsp.hue.test/system/"), SpiffeIdError::System(NameError::Empty));
        for name in ["a?q", "a#f", "a%61", "a b"] {
            let error = refused(&format!("spiffe://lgsp.hue.test/system/{name}"));
            assert!(matches!(error, SpiffeIdError::System(NameError::IllegalCharacter { .. })), "{name}: {error}");
        }
    }

    #[test]
    fn a_foreign_id_is_well_formed_and_not_nearly_ours() {
        for id in ["spiffe://gov.test/ns/a/sa/b", "spiffe://gov.test/a", "spiffe://gov.test/System/A_1.x"] {
            assert_eq!(foreign_id(id), Some(id));
        }
        for id in [
            "spiffe://gov.test",
            "spiffe://gov.test/",
            "spiffe://gov.test/a/",
            "spiffe://gov.test/a//b",
            "spiffe://gov.test/../b",
            "spiffe://gov.test/a%61",
            "spiffe://Gov.test/a",
            "https://gov.test/a",
            "spiffe://gov.test/system",
            "spiffe://gov.test/system/A",
            "spiffe://gov.test/system/a/b",
        ] {
            assert_eq!(foreign_id(id), None, "{id}");
        }
        assert_eq!(foreign_id(&format!("spiffe://gov.test/{}", "a".repeat(2048))), None);
    }

    #[test]
    fn a_digest_is_sha_256_in_hex() {
        // FIPS 180-4, the example "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(CertificateDigest::of(b"abc").to_string(), expected);
    }

    proptest! {
        #[test]
        fn what_parses_prints_as_it_was(text in "spiffe://[a-z0-9._-]{1,40}/system/[a-z0-9][a-z0-9-]{0,62}") {
            prop_assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }

        #[test]
        fn any_text_is_either_refused_or_printed_unchanged(text in "(spiffe://)?[a-c/:%.]{0,6}(/system/)?\\PC{0,6}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
