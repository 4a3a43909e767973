//! Messages of the audit.

use std::time::SystemTime;

use data_encoding::BASE64URL_NOPAD;
use lgsp_proto::types::ActorId;
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use prost_types::Timestamp;

use super::Fields;
use super::reading::{Asking, asking};
use crate::engine::receipt::machine_timestamp;
use crate::store::{AuditEntry, AuditPage, AuditQuery};

/// Entries on one page when the caller does not say, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: u32 = 500;

/// More kinds than there are.
const KINDS_MAX: usize = 64;

/// The longest name that an entry may be asked for: a digest in hexadecimal, a system's name, a code.
const SUBJECT_MAX: usize = 255;

/// What begins a page token, so that none of another list is taken for one.
const TOKEN: &[u8] = b"audit";

/// Reads a question for entries.
///
/// # Errors
/// `FIELD_INVALID`, `PAGE_TOKEN_INVALID`.
pub(crate) fn query(request: &v1::ListAuditRequest) -> Result<(Asking, AuditQuery), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let kinds = fields.list("kinds", &request.kinds, KINDS_MAX, |fields, field, number| fields.number(field, *number));
    let since = moment(&mut fields, "since", request.since.as_ref());
    let until = moment(&mut fields, "until", request.until.as_ref());
    let by_actor = fields.optional::<ActorId>("by_actor", &request.by_actor);
    let about = match request.subject.as_str() {
        "" => Some(None),
        subject if subject.len() <= SUBJECT_MAX && subject.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some(Some(subject.to_owned()))
        }
        _ => fields.problem(
            "subject",
            Wrong::new(
                format!("không phải tên gồm tối đa {SUBJECT_MAX} ký tự ASCII nhìn thấy được"),
                format!("is not a name of at most {SUBJECT_MAX} visible ASCII characters"),
            ),
        ),
    };
    let limit = match request.page_size {
        0 => Some(PAGE_DEFAULT),
        size @ 1..=PAGE_MAX => usize::try_from(size).ok(),
        _ => fields.page_too_long(PAGE_MAX),
    };
    let read = (|| {
        let (kinds, since, until) = (kinds?, since?, until?);
        let query = AuditQuery { kinds, since, until, by_actor: by_actor?, about: about?, limit: limit?, before: None };
        Some((asking?, query))
    })();
    let (asking, mut query) = fields.finish(read)?;
    if !request.page_token.is_empty() {
        query.before = Some(before(&request.page_token)?);
    }
    Ok((asking, query))
}

/// A moment of the machine clock that may be absent.
fn moment(fields: &mut Fields, field: &str, at: Option<&Timestamp>) -> Option<Option<SystemTime>> {
    let Some(at) = at else { return Some(None) };
    match SystemTime::try_from(*at) {
        Ok(moment) if (0..1_000_000_000).contains(&at.nanos) => Some(Some(moment)),
        _ => fields.problem(
            field,
            Wrong::new("không phải thời điểm mà đồng hồ có thể chỉ", "is no moment that a clock can show"),
        ),
    }
}

/// A page token is a place in the list of all; what a page shows is decided by the caller's rights each time.
fn token(position: u64) -> String {
    BASE64URL_NOPAD.encode(&[TOKEN, &position.to_be_bytes()].concat())
}

fn before(token: &str) -> Result<u64, Refusal> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok();
    let position = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes.strip_prefix(TOKEN)?).ok());
    position.map(u64::from_be_bytes).ok_or_else(|| Refusal::new(Reason::PageTokenInvalid))
}

/// The answer to [`query`].
pub(crate) fn page(page: AuditPage) -> v1::ListAuditResponse {
    v1::ListAuditResponse {
        entries: page.entries.into_iter().map(entry).collect(),
        next_page_token: page.next.map(token).unwrap_or_default(),
    }
}

fn entry(entry: AuditEntry) -> v1::AuditEntry {
    v1::AuditEntry {
        position: entry.position,
        kind: entry.kind.into(),
        at: entry.at.map(machine_timestamp),
        acting_party: entry.acting_party,
        actor: entry.actor,
        system: entry.system,
        subject: entry.subject,
        ground: entry.ground,
        facts: entry.facts.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::ListAuditRequest {
        v1::ListAuditRequest {
            acting_party: "H57.1".into(),
            actor: "auditor.1".into(),
            ..v1::ListAuditRequest::default()
        }
    }

    #[test]
    fn a_page_token_is_the_place_before_which_to_go_on_and_nothing_else_is_one() {
        let with = |token: String| query(&v1::ListAuditRequest { page_token: token, ..request() });
        assert_eq!(with(token(7)).unwrap().1.before, Some(7));
        for other in ["7".to_owned(), BASE64URL_NOPAD.encode(&7u64.to_be_bytes())] {
            assert_eq!(with(other).unwrap_err().reason(), Reason::PageTokenInvalid);
        }
    }

    #[test]
    fn every_problem_of_a_question_is_named() {
        let asked = v1::ListAuditRequest {
            actor: "bà A".into(),
            kinds: vec![1, 0, 99],
            since: Some(Timestamp { seconds: 1, nanos: -1 }),
            by_actor: "bà A".into(),
            subject: "bà A".into(),
            page_size: 501,
            ..request()
        };
        let refusal = query(&asked).unwrap_err();
        let paths: Vec<_> = refusal.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(paths, ["actor", "kinds[1]", "kinds[2]", "since", "by_actor", "subject", "page_size"]);
    }
}
