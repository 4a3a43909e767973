//! The join token: one line of text by which a system with nothing else finds the bus, knows it, and is let in once.
//!
//! Owns the text's form. What a token is worth (spent, expired, withdrawn) is the gateway's to know. Whoever reads the text can
//! join, so it leaves through [`JoinToken::to_text`] and nowhere else.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use super::malformed::{Malformed, rule};
use crate::v1;

/// A join token as its parts. Neither `Debug` nor any error shows its secret, which is wiped when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct JoinToken {
    enrolment_url: Box<str>,
    server_name: Option<Box<str>>,
    root_sha256: Vec<[u8; 32]>,
    id: [u8; 16],
    secret: Zeroizing<[u8; 32]>,
    system: Box<str>,
    expires_at: Timestamp,
}

/// Says what the rest is, so that a token in a wrong field or a later form is told from noise.
const PREFIX: &str = "lgsp-join-1.";
/// A token of ours has some 300 characters; what is longer is not looked at.
const MAX_CHARS: usize = 4096;
const MAX_URL: usize = 512;
/// An old and a new root beside each other, and room for a third party's.
const MAX_ROOTS: usize = 8;

const FORM: Malformed = rule(
    "JOIN_TOKEN_FORM",
    "is not a join token; copy it whole, from lgsp-join-1. to its last character",
    "không phải mã gia nhập; hãy chép đủ từ lgsp-join-1. đến ký tự cuối",
);
const DAMAGED: Malformed = rule(
    "JOIN_TOKEN_DAMAGED",
    "is a join token with characters missing or changed; copy it whole, or ask for a new one",
    "là mã gia nhập bị thiếu hoặc sai ký tự; hãy chép lại đủ hoặc xin mã mới",
);
const CONTENT: Malformed = rule(
    "JOIN_TOKEN_CONTENT",
    "is a join token that does not say where to join, by which root certificate, or as which system; ask for a new one",
    "là mã gia nhập không ghi rõ nơi gia nhập, chứng thư gốc hoặc tên hệ thống; hãy xin mã mới",
);
const LATER: Malformed = rule(
    "JOIN_TOKEN_VERSION",
    "is a join token of another version; a newer lgsp is needed",
    "là mã gia nhập của phiên bản khác; cần bản lgsp mới hơn",
);

impl JoinToken {
    /// A token of these parts, which the caller has drawn and will keep a digest of.
    ///
    /// # Errors
    /// When the parts could not be read back: the URL is not `https://…`, there is no root or more than eight, the name is not one
    /// a system can have, or the time is none a message can hold.
    pub fn new(
        enrolment_url: &str,
        server_name: Option<&str>,
        root_sha256: Vec<[u8; 32]>,
        id: [u8; 16],
        secret: Zeroizing<[u8; 32]>,
        system: &str,
        expires_at: Timestamp,
    ) -> Result<Self, Malformed> {
        let is_host = |host: &str| {
            !host.is_empty()
                && host.len() <= 255
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
        };
        let is_url = |url: &str| url.len() <= MAX_URL && url.strip_prefix("https://").is_some_and(is_host);
        let is_system = |name: &str| {
            let of_alphabet = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=63).contains(&name.len()) && name.bytes().all(of_alphabet) && !name.starts_with('-')
        };
        let is_whole = is_url(enrolment_url)
            && server_name.is_none_or(is_host)
            && (1..=MAX_ROOTS).contains(&root_sha256.len())
            && is_system(system);
        if !is_whole {
            return Err(CONTENT);
        }
        Ok(Self {
            enrolment_url: enrolment_url.into(),
            server_name: server_name.map(Into::into),
            root_sha256,
            id,
            secret,
            system: system.into(),
            expires_at,
        })
    }

    /// Where to join, e.g. `https://gw.lgsp.hue.test:7444`.
    pub fn enrolment_url(&self) -> &str {
        &self.enrolment_url
    }

    /// The name that the gateway's certificate must carry, when it is not the URL's host.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// SHA-256 of each root certificate that may stand behind the gateway's.
    pub fn root_sha256(&self) -> &[[u8; 32]] {
        &self.root_sha256
    }

    /// By what the token is listed and taken back. Not secret.
    pub fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// What lets its holder in. For the request, and for nothing else.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The system that joins with it.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// Until when it can be spent, by the gateway's clock.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The text to be handed over, wiped when dropped.
    pub fn to_text(&self) -> Zeroizing<String> {
        let message = self.message();
        let bytes = Zeroizing::new(message.encode_to_vec());
        wipe(message.secret);
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + BASE64URL_NOPAD.encode_len(bytes.len())));
        text.push_str(PREFIX);
        BASE64URL_NOPAD.encode_append(&bytes, &mut text);
        text
    }

    fn message(&self) -> v1::JoinToken {
        v1::JoinToken {
            enrolment_url: self.enrolment_url.to_string(),
            server_name: self.server_name.as_deref().unwrap_or_default().to_owned(),
            root_sha256: self.root_sha256.iter().map(|root| root.to_vec().into()).collect(),
            id: self.id.to_vec().into(),
            secret: self.secret.to_vec().into(),
            system: self.system.to_string(),
            expires_at: Some(prost_types::Timestamp {
                seconds: self.expires_at.as_second(),
                nanos: self.expires_at.subsec_nanosecond(),
            }),
        }
    }
}

impl FromStr for JoinToken {
    type Err = Malformed;

    /// Reads the text of a token. There is one text for one token: other spellings and unknown parts are refused.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Err(Malformed::Empty);
        }
        if text.len() > MAX_CHARS {
            return Err(Malformed::TooLong { max: MAX_CHARS });
        }
        if text.contains(char::is_whitespace) {
            return Err(Malformed::Blank);
        }
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(if text.starts_with("lgsp-join-") { LATER } else { FORM });
        };
        let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| DAMAGED)?);
        let token = v1::JoinToken::decode(&bytes[..]).map_err(|_| DAMAGED)?;
        let secret = <[u8; 32]>::try_from(&token.secret[..]).map(Zeroizing::new);
        wipe(token.secret);
        let roots: Result<Vec<[u8; 32]>, _> = token.root_sha256.iter().map(|root| root[..].try_into()).collect();
        let expires_at = token.expires_at.ok_or(CONTENT)?;
        let read = Self::new(
            &token.enrolment_url,
            Some(&*token.server_name).filter(|name| !name.is_empty()),
            roots.map_err(|_| CONTENT)?,
            token.id[..].try_into().map_err(|_| CONTENT)?,
            secret.map_err(|_| CONTENT)?,
            &token.system,
            Timestamp::new(expires_at.seconds, expires_at.nanos).map_err(|_| CONTENT)?,
        )?;
        if *read.to_text() != text { Err(DAMAGED) } else { Ok(read) }
    }
}

/// A message's bytes are nobody's to wipe unless one does it.
fn wipe(secret: bytes::Bytes) {
    if let Ok(mut secret) = secret.try_into_mut() {
        secret.zeroize();
    }
}

/// Shows what may be shown: where, who, until when, and the id by which the token can be taken back.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &data_encoding::HEXLOWER.encode(&self.id))
            .field("system", &self.system)
            .field("enrolment_url", &self.enrolment_url)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URL: &str = "https://gw.lgsp.hue.test:7444";

    fn token(url: &str, server_name: Option<&str>, roots: usize, system: &str) -> Result<JoinToken, Malformed> {
        let expires_at = Timestamp::new(1_752_454_800, 250_000_000).unwrap();
        JoinToken::new(url, server_name, vec![[7; 32]; roots], [1; 16], Zeroizing::new([0xAB; 32]), system, expires_at)
    }

    fn whole() -> JoinToken {
        token(URL, Some("gateway.hue.test"), 2, "mot-cua-phu-xuan").unwrap()
    }

    fn text_of(message: &v1::JoinToken) -> String {
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&message.encode_to_vec()))
    }

    #[test]
    fn a_token_reads_back_from_its_text() {
        let read: JoinToken = whole().to_text().parse().unwrap();
        assert_eq!(read, whole());
        assert_eq!((read.enrolment_url(), read.server_name()), (URL, Some("gateway.hue.test")));
        assert_eq!((read.id(), read.secret(), read.system()), (&[1; 16], &[0xAB; 32], "mot-cua-phu-xuan"));
        assert_eq!(read.root_sha256(), [[7; 32]; 2]);
        assert!(read.to_text().len() < 400, "it is copied by hand and sent by mail");
    }

    #[test]
    fn a_token_does_not_show_its_secret() {
        let shown = format!("{:?}", whole());
        for secret in ["171", "abab", "ABAB", &BASE64URL_NOPAD.encode(&[0xAB; 32])[..8]] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("mot-cua-phu-xuan"));
    }

    #[test]
    fn text_that_is_no_token_says_what_to_do() {
        let text = whole().to_text();
        let parse = |text: &str| text.parse::<JoinToken>();
        assert_eq!(parse(""), Err(Malformed::Empty));
        assert_eq!(parse(&format!("{}\n", *text)), Err(Malformed::Blank));
        assert_eq!(parse(&"x".repeat(MAX_CHARS + 1)), Err(Malformed::TooLong { max: MAX_CHARS }));
        assert_eq!(parse("eyJhbGciOi"), Err(FORM));
        assert_eq!(parse("lgsp-join-2.AAAA"), Err(LATER));
        for damaged in [&text[..text.len() - 1], &text[..40], "lgsp-join-1.", "lgsp-join-1.===="] {
            assert!(matches!(parse(damaged), Err(DAMAGED | CONTENT)), "{damaged}");
        }
    }

    #[test]
    fn a_token_has_one_text() {
        let mut bytes = whole().message().encode_to_vec();
        // Field 15, which no token has: a reader that skipped it would take another text for the same token.
        bytes.extend([0x78, 0x01]);
        assert_eq!(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes)).parse::<JoinToken>(), Err(DAMAGED));
    }

    #[test]
    fn a_token_without_what_it_is_for_is_refused() {
        assert_eq!(token("http://gw.hue.test", None, 1, "a"), Err(CONTENT));
        assert_eq!(token("https://", None, 1, "a"), Err(CONTENT));
        assert_eq!(token("https://gw.hue.test/path", None, 1, "a"), Err(CONTENT));
        assert_eq!(token("https://user@gw.hue.test", None, 1, "a"), Err(CONTENT));
        assert_eq!(token(URL, Some(""), 1, "a"), Err(CONTENT));
        assert_eq!(token(URL, None, 0, "a"), Err(CONTENT));
        assert_eq!(token(URL, None, 9, "a"), Err(CONTENT));
        for system in ["", "-a", "A", "a b", &"a".repeat(64)] {
            assert_eq!(token(URL, None, 1, system), Err(CONTENT), "{system}");
        }
        let short = |change: fn(&mut v1::JoinToken)| {
            let mut message = whole().message();
            change(&mut message);
            text_of(&message).parse::<JoinToken>()
        };
        assert_eq!(short(|token| token.secret.truncate(31)), Err(CONTENT));
        assert_eq!(short(|token| token.id.clear()), Err(CONTENT));
        assert_eq!(short(|token| token.root_sha256[0].truncate(20)), Err(CONTENT));
        assert_eq!(short(|token| token.expires_at = None), Err(CONTENT));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = text.parse::<JoinToken>();
            let _ = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes)).parse::<JoinToken>();
        }

        #[test]
        fn no_changed_character_leaves_the_same_token(at in any::<proptest::sample::Index>(), with in "[A-Za-z0-9_-]") {
            let text = whole().to_text();
            let at = PREFIX.len() + at.index(text.len() - PREFIX.len());
            let mut changed = text.to_string();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != *text);
            prop_assert_ne!(changed.parse::<JoinToken>().ok(), Some(whole()));
        }
    }
}
