//! Pages, one way everywhere: `page_size`, `page_token`, `next_page_token`.
//!
//! Owns how a place in a list is written. A token is good for the list it came from, and says nothing to a caller; one that was
//! made up, or is of another list, is refused.

use data_encoding::BASE64URL_NOPAD;
use lgsp_proto::{Reason, Refusal, Wrong};

use crate::problem::Problem;

/// Elements on one page, at most and unless asked otherwise.
pub(super) const MOST: u32 = 200;
const USUAL: u32 = 50;

/// Which list a token is of.
#[derive(Clone, Copy)]
pub(super) enum List {
    Inbox,
    Requests,
    Exceptions,
    Attempts,
}

/// How many a caller wants.
///
/// # Errors
/// `FIELD_INVALID`.
pub(super) fn size(wanted: Option<u32>) -> Result<usize, Problem> {
    let size = wanted.unwrap_or(USUAL);
    if !(1..=MOST).contains(&size) {
        return Err(Refusal::new(Reason::FieldInvalid)
            .field(
                "page_size",
                Wrong::new(format!("không nằm trong khoảng 1 đến {MOST}"), format!("is not between 1 and {MOST}")),
            )
            .into());
    }
    Ok(size as usize)
}

/// Writes the place after which the next page begins.
pub(super) fn token(list: List, place: &[u8]) -> String {
    BASE64URL_NOPAD.encode(&[&[list as u8], place].concat())
}

/// The place in a token; an empty one is none.
///
/// # Errors
/// `PAGE_TOKEN_INVALID`.
pub(super) fn place(list: List, token: Option<&str>) -> Result<Option<Vec<u8>>, Problem> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
    match BASE64URL_NOPAD.decode(token.as_bytes()).ok().as_deref() {
        Some([of, place @ ..]) if *of == list as u8 => Ok(Some(place.to_owned())),
        _ => Err(Reason::PageTokenInvalid.into()),
    }
}

/// The same where a place is a number.
///
/// # Errors
/// As for [`place`].
pub(super) fn number(list: List, token: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(place) = place(list, token)? else { return Ok(None) };
    let place = place.try_into().map_err(|_| Problem::from(Reason::PageTokenInvalid))?;
    Ok(Some(u64::from_be_bytes(place)))
}
