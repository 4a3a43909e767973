//! Page tokens: where the previous page ended, tied to the question it answered.
//!
//! Opaque to callers, and no secret: what a page shows is decided by the caller's rights each time. The check catches a
//! token that was cut, edited, or sent with another filter or party, which would silently leave dossiers out.
//!
//! Layout: version (1 byte) ‖ `updated_at` in Unix seconds (8 bytes, big endian) ‖ dossier code (text) ‖ check (8 bytes).

use data_encoding::BASE64URL_NOPAD;
use lgsp_proto::types::{BusinessTime, PartyId};
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message as _;

use crate::store::Cursor;

const VERSION: u8 = 1;
const CHECK_BYTES: usize = 8;

/// The token of a page that ended at `cursor`, for `party` asking with `filter`.
pub(super) fn token(cursor: &Cursor, party: &PartyId, filter: &v1::Filter) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(cursor.updated_at.unix_seconds().to_be_bytes());
    bytes.extend(cursor.code.as_str().as_bytes());
    bytes.extend(check(&bytes, party, filter));
    BASE64URL_NOPAD.encode(&bytes)
}

/// Where the previous page ended.
///
/// # Errors
/// `PAGE_TOKEN_INVALID` when the token is none of ours, or belongs to another question.
pub(super) fn parse(token: &str, party: &PartyId, filter: &v1::Filter) -> Result<Cursor, Refusal> {
    let parsed = || {
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (cursor, given) = bytes.split_last_chunk::<CHECK_BYTES>()?;
        if *given != check(cursor, party, filter) {
            return None;
        }
        let (seconds, code) = cursor.strip_prefix(&[VERSION])?.split_first_chunk()?;
        let updated_at = BusinessTime::from_unix_seconds(i64::from_be_bytes(*seconds)).ok()?;
        Some(Cursor { updated_at, code: std::str::from_utf8(code).ok()?.parse().ok()? })
    };
    parsed().ok_or_else(|| Refusal::new(Reason::PageTokenInvalid))
}

fn check(cursor: &[u8], party: &PartyId, filter: &v1::Filter) -> [u8; CHECK_BYTES] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(b"lgsp.v1.page\n");
    for part in [party.as_str().as_bytes(), &filter.encode_to_vec(), cursor] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    *context.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        Cursor {
            updated_at: "2025-07-14T09:00:00+07:00".parse().unwrap(),
            code: "H57.101-250714-0001".parse().unwrap(),
        }
    }

    #[test]
    fn a_token_leads_back_to_where_the_page_ended() {
        let (party, filter) = ("H57.101".parse().unwrap(), v1::Filter { only_late: true, ..v1::Filter::default() });
        assert_eq!(parse(&token(&cursor(), &party, &filter), &party, &filter), Ok(cursor()));
    }

    #[test]
    fn a_token_of_another_question_or_none_of_ours_is_refused() {
        let (party, filter): (PartyId, _) = ("H57.101".parse().unwrap(), v1::Filter::default());
        let token = token(&cursor(), &party, &filter);
        let late = v1::Filter { only_late: true, ..v1::Filter::default() };
        let invalid = Err(Refusal::new(Reason::PageTokenInvalid));
        assert_eq!(parse(&token, &party, &late), invalid);
        assert_eq!(parse(&token, &"H57.102".parse().unwrap(), &filter), invalid);
        for at in 0..token.len() {
            let mut edited = token.clone().into_bytes();
            edited[at] = if edited[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(parse(std::str::from_utf8(&edited).unwrap(), &party, &filter), invalid, "{at}");
            assert_eq!(parse(&token[..at], &party, &filter), invalid, "{at}");
        }
    }
}
