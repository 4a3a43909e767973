//! What is said about a document: the digest of its bytes, its media type, the name of its file.
//!
//! Owns their form. Computing a digest, and whether the bytes are what the media type says, belong to whoever holds the bytes.

use std::fmt;
use std::str::FromStr;

use super::malformed::{Malformed, compact, rule};

/// The SHA-256 of some bytes. Written as 64 hexadecimal digits, lower case; capitals are read.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sha256Digest([u8; 32]);

const DIGEST_FORM: Malformed = rule(
    "DIGEST_FORM",
    "is not a SHA-256 digest: 64 hexadecimal digits, or 32 bytes",
    "không phải giá trị băm SHA-256: 64 chữ số thập lục phân, hoặc 32 byte",
);

impl Sha256Digest {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Sha256Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Sha256Digest {
    type Error = Malformed;

    fn try_from(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Err(Malformed::Empty);
        }
        bytes.try_into().map(Self).map_err(|_| DIGEST_FORM)
    }
}

impl FromStr for Sha256Digest {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 64)?;
        let mut bytes = [0; 32];
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(DIGEST_FORM) };
        if pairs.len() != bytes.len() {
            return Err(DIGEST_FORM);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = hex_digit(*high).ok_or(DIGEST_FORM)? << 4 | hex_digit(*low).ok_or(DIGEST_FORM)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<&str> for Sha256Digest {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

fn hex_digit(c: u8) -> Option<u8> {
    char::from(c).to_digit(16).and_then(|digit| digit.try_into().ok())
}

/// A media type without parameters, lower case, at most 100 characters: `application/pdf` (names as in RFC 6838 §4.2).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MediaType(Box<str>);

const MEDIA_TYPE_FORM: Malformed = rule(
    "MEDIA_TYPE_FORM",
    "is not a media type in lower case without parameters, for example application/pdf",
    "không phải kiểu nội dung viết thường, không có tham số, ví dụ application/pdf",
);

impl MediaType {
    /// The media type as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediaType {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 100)?;
        match text.split_once('/') {
            Some((kind, subtype)) if is_restricted_name(kind) && is_restricted_name(subtype) => Ok(Self(text.into())),
            _ => Err(MEDIA_TYPE_FORM),
        }
    }
}

printed_as_text!(MediaType);

/// `restricted-name` of RFC 6838 §4.2, in lower case.
fn is_restricted_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.bytes().next().is_some_and(plain) && name.bytes().all(|b| plain(b) || b"!#$&-^_.+".contains(&b))
}

/// The name a citizen or clerk gave to a file: 1 to 255 bytes of UTF-8 that cannot lead out of a folder or disguise themselves.
///
/// No `/`, no `\`, no control characters, none of those that reverse the direction of writing (`exe.fdp` shown as `pdf.exe`), no blank
/// at either end, and neither `.` nor `..`. Often a person's name is in it, so it is not printed: it leaves through
/// [`as_str`](Self::as_str).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FileName(Box<str>);

const FILE_NAME_LENGTH: Malformed =
    rule("FILE_NAME_LENGTH", "is longer than 255 bytes in UTF-8", "dài quá 255 byte (UTF-8)");
const FILE_NAME_FORM: Malformed = rule(
    "FILE_NAME_FORM",
    "is not a plain file name: no / or \\, no control or direction characters, no blank at either end, and neither . nor ..",
    "không phải tên tệp hợp lệ: không có / hoặc \\, không có ký tự điều khiển hay đổi chiều chữ, không có khoảng trắng ở đầu hoặc cuối, \
     và không phải . hoặc ..",
);

impl FileName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Err(Malformed::Empty);
        }
        if text.len() > 255 {
            return Err(FILE_NAME_LENGTH);
        }
        if text.contains(is_unsafe_in_a_name) || text.trim() != text || matches!(text, "." | "..") {
            return Err(FILE_NAME_FORM);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<&str> for FileName {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileName({} bytes)", self.0.len())
    }
}

fn is_unsafe_in_a_name(c: char) -> bool {
    // The last two ranges are the embeddings, overrides and isolates of the bidirectional algorithm.
    c.is_control() || matches!(c, '/' | '\\' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_read_in_either_case_and_written_in_lower() {
        let digest: Sha256Digest = EMPTY_SHA256.parse().unwrap();
        assert_eq!(digest.as_bytes()[..2], [0xe3, 0xb0]);
        assert_eq!(EMPTY_SHA256.to_uppercase().parse(), Ok(digest));
        assert_eq!(digest.to_string(), EMPTY_SHA256);
        assert_eq!(format!("{digest:?}"), format!("Sha256Digest({EMPTY_SHA256})"));
        assert_eq!(Sha256Digest::try_from(&digest.as_bytes()[..]), Ok(digest));
    }

    #[test]
    fn other_lengths_and_letters_are_no_digest() {
        for text in [
            &EMPTY_SHA256[..62],
            &EMPTY_SHA256[..63],
            &EMPTY_SHA256.replace('b', "g"),
            &EMPTY_SHA256.replace("e3", "+3"),
        ] {
            assert_eq!(text.parse::<Sha256Digest>(), Err(DIGEST_FORM), "{text:?}");
        }
        assert_eq!(format!("{EMPTY_SHA256}0").parse::<Sha256Digest>(), Err(Malformed::TooLong { max: 64 }));
        assert_eq!("".parse::<Sha256Digest>(), Err(Malformed::Empty));
        assert_eq!(Sha256Digest::try_from(&[0u8; 31][..]), Err(DIGEST_FORM));
        assert_eq!(Sha256Digest::try_from(&[0u8; 33][..]), Err(DIGEST_FORM));
        assert_eq!(Sha256Digest::try_from(&[][..]), Err(Malformed::Empty));
    }

    #[test]
    fn media_types_are_two_names_in_lower_case() {
        for text in [
            "application/pdf",
            "image/svg+xml",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ] {
            assert_eq!(text.parse::<MediaType>().unwrap().as_str(), text);
        }
        for text in
            ["pdf", "application/", "/pdf", "Application/pdf", "a/b/c", "text/html;charset=utf-8", "*/*", "a/-b", "a/đ"]
        {
            assert_eq!(text.parse::<MediaType>(), Err(MEDIA_TYPE_FORM), "{text:?}");
        }
        assert_eq!("text/html; charset=utf-8".parse::<MediaType>(), Err(Malformed::Blank));
        assert_eq!(format!("a/{}", "b".repeat(99)).parse::<MediaType>(), Err(Malformed::TooLong { max: 100 }));
    }

    #[test]
    fn file_names_may_be_vietnamese_but_not_paths() {
        for text in ["Giấy khai sinh (bản sao).pdf", "a", "...", ".env", "a b.pdf"] {
            assert_eq!(text.parse::<FileName>().unwrap().as_str(), text);
        }
        for text in [
            "../x",
            "a/b",
            "a\\b",
            "C:\\x",
            ".",
            "..",
            "a\0.pdf",
            "a\n",
            " a",
            "a ",
            "\u{a0}a",
            "anh\u{202e}fdp.exe",
            "\u{2066}a",
        ] {
            assert_eq!(text.parse::<FileName>(), Err(FILE_NAME_FORM), "{text:?}");
        }
    }

    #[test]
    fn file_names_are_bounded_in_bytes() {
        assert!("ế".repeat(85).parse::<FileName>().is_ok());
        assert_eq!("ế".repeat(86).parse::<FileName>(), Err(FILE_NAME_LENGTH));
        assert_eq!("".parse::<FileName>(), Err(Malformed::Empty));
    }

    #[test]
    fn debug_does_not_tell_a_file_name() {
        assert_eq!(format!("{:?}", "cccd-nguyen-van-a.jpg".parse::<FileName>().unwrap()), "FileName(21 bytes)");
    }

    proptest! {
        #[test]
        fn print_and_parse_give_the_same_digest(bytes in any::<[u8; 32]>()) {
            let digest = Sha256Digest::from(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }

        #[test]
        fn print_and_parse_give_the_same_media_type(text in "[a-z0-9][a-z0-9!#$&^_.+-]{0,40}/[a-z0-9][a-z0-9!#$&^_.+-]{0,40}") {
            prop_assert_eq!(text.parse::<MediaType>().unwrap().to_string(), text);
        }

        #[test]
        fn no_text_makes_them_panic(text in any::<String>(), near in "[0-9a-fA-Fđ]{60,66}") {
            for text in [text, near] {
                let _ = (text.parse::<Sha256Digest>(), text.parse::<MediaType>());
                if let Ok(name) = text.parse::<FileName>() {
                    prop_assert_eq!(std::path::Path::new(name.as_str()).file_name(), Some(text.as_ref()));
                }
            }
        }
    }
}
