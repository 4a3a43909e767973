//! Reading the audit.

use lgsp_journal::Position;
use lgsp_proto::store_v1;
use lgsp_proto::v1::AuditKind;
use prost::Message;

use super::super::codec;
use super::super::follower::Follow;
use super::super::keys::{self, Audited, Key};
use super::super::overlay::Base;
use super::super::{AuditEntry, AuditPage, AuditQuery, ReadError};
use super::committing::Inner;

/// How many entries one page looks at before it says where to go on, so that a rare filter does not hold a thread for long.
const LOOKED_AT: usize = 2_000;

/// How many entries are fetched at a time.
const SLICE: usize = 256;

impl<F: Follow> Inner<F> {
    pub(super) fn audit(&self, query: &AuditQuery) -> Result<AuditPage, ReadError> {
        audit(&self.view(), self.follower.visible(), query, LOOKED_AT)
    }
}

/// The page of `view` as of the record `visible`; later ones may be half written while this reads.
fn audit(
    view: &impl Base,
    visible: Position,
    query: &AuditQuery,
    looked_at_most: usize,
) -> Result<AuditPage, ReadError> {
    let mut page = AuditPage::default();
    let Some(newest) = query.before.map_or(Some(visible.0), |before| before.checked_sub(1)) else { return Ok(page) };
    let mut from = Audited(newest.min(visible.0)).encode();
    let to = keys::behind(&Audited::first());
    let mut looked_at = 0;
    loop {
        let slice = view.range(&from, &to, SLICE)?;
        let is_last = slice.len() < SLICE;
        for (key, value) in slice {
            if page.entries.len() == query.limit || looked_at == looked_at_most {
                // There is at least this one more.
                return Ok(page);
            }
            let damaged = || ReadError::Damaged(keys::describe(&key));
            let position = Audited::position_of(&key).ok_or_else(damaged)?;
            let stored = store_v1::Audited::decode(value).map_err(|_| damaged())?;
            looked_at += 1;
            page.next = Some(position);
            page.entries.extend(Some(entry(position, stored)).filter(|entry| query.wants(entry)));
            from = keys::after(key.to_vec());
        }
        if is_last {
            page.next = None;
            return Ok(page);
        }
    }
}

fn entry(position: u64, stored: store_v1::Audited) -> AuditEntry {
    AuditEntry {
        position,
        kind: AuditKind::try_from(stored.kind).unwrap_or_default(),
        at: (stored.at_unix_ms != 0).then(|| codec::system_time(stored.at_unix_ms)),
        acting_party: stored.acting_party,
        actor: stored.actor,
        system: stored.system,
        subject: stored.subject,
        ground: stored.ground,
        facts: stored.facts.into_iter().map(|fact| (fact.name, fact.value)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::overlay::{Change, Memory};
    use super::*;

    /// An index with entries at these positions, of which every seventh is about the one system.
    fn filled(positions: impl Iterator<Item = u64>) -> Memory {
        let mut index = Memory::default();
        let change = |position: u64| {
            let subject = if position % 7 == 0 { "mot-cua" } else { "another" }.to_owned();
            let value = store_v1::Audited { subject, at_unix_ms: 1, ..store_v1::Audited::default() };
            Change { key: Audited(position).encode().into(), value: Some(value.encode_to_vec().into()) }
        };
        index.apply(positions.map(change));
        index
    }

    fn query(about: Option<&str>, before: Option<u64>, limit: usize) -> AuditQuery {
        let about = about.map(str::to_owned);
        AuditQuery { kinds: Vec::new(), since: None, until: None, by_actor: None, about, limit, before }
    }

    #[test]
    fn pages_run_from_the_newest_entry_to_the_first_and_leave_none_out() {
        let index = filled(1..=1_000);
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = audit(&index, Position(1_000), &query(None, before, 300), 10_000).unwrap();
            found.extend(page.entries.iter().map(|entry| entry.position));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, (1..=1_000).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_page_that_finds_little_looks_at_so_much_and_says_where_to_go_on() {
        let index = filled(1..=1_000);
        let about = |before| audit(&index, Position(1_000), &query(Some("mot-cua"), before, 50), 100).unwrap();
        let page = about(None);
        assert_eq!((page.entries.len(), page.next), (14, Some(901)));
        assert_eq!(about(page.next).entries[0].position, 896);
        assert!(about(Some(0)).entries.is_empty());
    }

    #[test]
    fn an_entry_that_is_being_written_is_left_for_the_next_time() {
        let page = audit(&filled([3, 4, 6].into_iter()), Position(4), &query(None, None, 9), 9).unwrap();
        assert_eq!(page.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), [4, 3]);
        assert_eq!(page.next, None);
    }
}
