//! Answers to whoever has asked before: entity tags, `If-None-Match` and `If-Match` (RFC 9110 §13).
//!
//! A dossier's tag begins with the number of its last event, so that it also serves as the state a caller has seen when it says
//! something about the dossier. The rest is the digest of the answer.

use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lgsp_proto::{Reason, Refusal, Wrong};
use serde::Serialize;

use crate::digest::sha256;
use crate::problem::Problem;

/// The tag of an answer that has no number.
pub(super) fn tag(answer: &[u8]) -> String {
    format!("\"{}\"", HEXLOWER.encode(&sha256(answer)[..8]))
}

/// Answers JSON, or that it is what the caller has. With the `sequence` of a dossier, that stands in the tag.
pub(super) fn answer(asked: &HeaderMap, value: &impl Serialize, sequence: Option<u32>) -> Response {
    let body = serde_json::to_vec(value).expect("our own types have text keys and finite numbers only");
    let tag = match sequence {
        Some(sequence) => format!("\"{sequence}-{}\"", HEXLOWER.encode(&sha256(&body)[..8])),
        None => tag(&body),
    };
    if has(asked, &tag) {
        return unchanged(&tag);
    }
    tagged((StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response(), &tag)
}

/// Whether the caller says that it has what goes by this tag.
pub(super) fn has(asked: &HeaderMap, tag: &str) -> bool {
    let tags = asked.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|tags| tags.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

/// 304.
pub(super) fn unchanged(tag: &str) -> Response {
    tagged(StatusCode::NOT_MODIFIED.into_response(), tag)
}

/// The answer with its tag, to be asked about each time.
pub(super) fn tagged(mut response: Response, tag: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// The last event that a caller has seen, by `If-Match`: a dossier's tag, or its number alone in quotes. `*` expects nothing.
///
/// # Errors
/// `FIELD_INVALID`: it is something else.
pub(super) fn expected_sequence(asked: &HeaderMap) -> Result<Option<u32>, Problem> {
    let Some(value) = asked.get(header::IF_MATCH) else { return Ok(None) };
    let read = |text: &str| {
        let quoted = text.strip_prefix('"')?.strip_suffix('"')?;
        let (number, digest) = quoted.split_once('-').unwrap_or((quoted, "0"));
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_digest = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        number.parse().ok().filter(|number| is_number && is_digest && *number > 0)
    };
    match value.to_str().ok() {
        Some("*") => Ok(None),
        Some(text) if asked.get_all(header::IF_MATCH).iter().count() == 1 && read(text).is_some() => Ok(read(text)),
        _ => {
            let what = Wrong::new(
                "không phải ETag của hồ sơ như GET /v1/dossiers/{code} đã trả",
                "is not the ETag of a dossier, as GET /v1/dossiers/{code} gave it",
            );
            Err(Refusal::new(Reason::FieldInvalid).field("If-Match", what).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_tag_is_found_among_several_weak_or_strong_and_no_other_is_taken_for_it() {
        for there in ["\"3-ab\"", "W/\"3-ab\"", "\"1\", \"3-ab\"", "*"] {
            assert!(has(&asked(header::IF_NONE_MATCH, there), "\"3-ab\""), "{there}");
        }
        for other in ["3-ab", "\"3\"", "\"3-abc\"", ""] {
            assert!(!has(&asked(header::IF_NONE_MATCH, other), "\"3-ab\""), "{other}");
        }
    }

    #[test]
    fn what_a_caller_has_seen_is_the_number_in_the_tag() {
        let seen = |text| expected_sequence(&asked(header::IF_MATCH, text)).ok();
        assert_eq!(seen("\"3-00ab00ab00ab00ab\""), Some(Some(3)));
        assert_eq!(seen("\"3\""), Some(Some(3)));
        assert_eq!(seen("*"), Some(None));
        for wrong in ["3", "W/\"3\"", "\"\"", "\"x\"", "\"+3\"", "\"0\"", "\"3-x y\"", "\"3\", \"4\"", "\"4294967296\""]
        {
            assert_eq!(seen(wrong), None, "{wrong}");
        }
    }
}
