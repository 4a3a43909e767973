//! Leases of numbers: what is asked for, and what a spool holds.

use std::collections::HashSet;

use lgsp_domain::numbering::SpoolId;
use lgsp_proto::types::{Date, PartyId};
use lgsp_proto::{Refusal, Wrong, v1};
use prost_types::Timestamp;

use super::{Fields, reading};
use crate::engine::numbers::{Holding, LeaseRequest, Wanted};

/// Authorities and days in one request: every authority a desk knows, for some days ahead.
const WANTED_MAX: usize = 512;

/// Reads a request for numbers.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn lease(request: &v1::LeaseNumbersRequest) -> Result<LeaseRequest, Refusal> {
    let mut fields = Fields::default();
    let asking = reading::asking(&mut fields, &request.acting_party, &request.actor);
    let spool = match <[u8; 16]>::try_from(&request.spool[..]) {
        Ok(bytes) => Some(SpoolId::new(bytes)),
        Err(_) => fields.problem("spool", Wrong::new("không dài 16 byte", "is not 16 bytes")),
    };
    let mut seen = HashSet::new();
    let wanted = if request.wanted.is_empty() {
        fields.problem("wanted", Wrong::new("đang để trống", "is empty"))
    } else {
        fields.list("wanted", &request.wanted, WANTED_MAX, |fields, field, one| wanted(fields, field, one, &mut seen))
    };
    let read = asking.zip(spool).zip(wanted);
    let ((asking, spool), wanted) = fields.finish(read)?;
    Ok(LeaseRequest { desk: asking.party, spool, wanted })
}

fn wanted(
    fields: &mut Fields,
    field: &str,
    wanted: &v1::NumbersWanted,
    seen: &mut HashSet<(PartyId, Date)>,
) -> Option<Wanted> {
    let authority = fields.required::<PartyId>(&format!("{field}.authority"), &wanted.authority);
    let day = day(fields, &format!("{field}.day"), &wanted.day);
    let (authority, day) = authority.zip(day)?;
    if !seen.insert((authority.clone(), day)) {
        return fields.problem(
            field,
            Wrong::new(
                "nêu lại cơ quan và ngày đã nêu trước đó",
                "names an authority and a day that were named before",
            ),
        );
    }
    Some(Wanted { authority, day, more: wanted.more })
}

/// A day as ISO 8601 writes it, and no other way that a parser may know.
fn day(fields: &mut Fields, field: &str, text: &str) -> Option<Date> {
    let day = text.parse::<Date>().ok().filter(|day| day.to_string() == text && (2000..2100).contains(&day.year()));
    day.or_else(|| {
        fields.problem(
            field,
            Wrong::new(
                "không phải ngày trong thế kỷ này, ví dụ 2025-07-14",
                "is not a day of this century like 2025-07-14",
            ),
        )
    })
}

/// Writes what a spool holds.
pub(crate) fn response(holding: &Holding) -> v1::LeaseNumbersResponse {
    let blocks = holding.blocks.iter().map(|(authority, day, block)| v1::NumberBlock {
        authority: authority.to_string(),
        day: day.to_string(),
        first: block.numbers.start,
        count: block.numbers.end - block.numbers.start,
    });
    v1::LeaseNumbersResponse {
        blocks: blocks.collect(),
        epoch: holding.epoch,
        now: Some(Timestamp { seconds: holding.now.unix_seconds(), nanos: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_a_request_for_numbers_is_named() {
        let wanted =
            |authority: &str, day: &str| v1::NumbersWanted { authority: authority.into(), day: day.into(), more: 1 };
        let good = v1::LeaseNumbersRequest {
            acting_party: "H99.101".into(),
            actor: "can.bo.1".into(),
            spool: vec![1; 16].into(),
            wanted: vec![wanted("H99.101", "2025-07-14"), wanted("H99.101", "2025-07-15")],
        };
        assert_eq!(lease(&good).unwrap().wanted.len(), 2);
        let fields = |request: &v1::LeaseNumbersRequest| {
            let refusal = lease(request).unwrap_err();
            refusal.violations().iter().map(|violation| violation.field.clone()).collect::<Vec<_>>()
        };
        let bad = v1::LeaseNumbersRequest {
            spool: vec![1; 15].into(),
            wanted: vec![
                wanted("h99", "2025-02-29"),
                wanted("H99.101", "2025-07-14T08:00"),
                wanted("H99.101", "2025-07-14"),
                wanted("H99.101", "2025-07-14"),
                wanted("H99.101", "1999-12-31"),
            ],
            ..good.clone()
        };
        let named = ["spool", "wanted[0].authority", "wanted[0].day", "wanted[1].day", "wanted[3]", "wanted[4].day"];
        assert_eq!(fields(&bad), named);
        assert_eq!(fields(&v1::LeaseNumbersRequest { wanted: Vec::new(), ..good.clone() }), ["wanted"]);
        let many = (0..=WANTED_MAX).map(|_| wanted("H99.101", "2025-07-14")).collect();
        assert_eq!(fields(&v1::LeaseNumbersRequest { wanted: many, ..good }), ["wanted"]);
    }
}
