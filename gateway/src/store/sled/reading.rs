//! Reading: the index says where, the journal says what.
//!
//! Every read goes through the overlay first. A record that the index names and the journal does not have, or that is not of
//! the kind the index says, is damage and is said so; nothing is guessed.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use jiff::civil::Date;
use lgsp_domain::dossier::Dossier;
use lgsp_domain::numbering::{Counter, DeskBlocks};
use lgsp_journal::Position;
use lgsp_journal::seal::{DataKey, KeyId};
use lgsp_proto::store_v1::record::Kind;
use lgsp_proto::store_v1::{self, Record};
use lgsp_proto::types::{BusinessTime, DossierCode, PartyId, RequestKey, Sha256Digest};
use prost::Message;

use super::super::codec::{self, Fact, Held, Unreadable};
use super::super::follower::Follow;
use super::super::index::{self, fetch};
use super::super::keys::{self, Key, Listed, Owed};
use super::super::overlay::{Base, View};
use super::super::records::{self, unreadable};
use super::super::*;
use super::committing::Inner;

/// How many dossiers one page looks at before it says where to go on, so that a rare filter does not hold a thread for
/// minutes.
const LOOKED_AT: usize = 2_000;

/// How many list entries are fetched at a time.
const SLICE: usize = 256;

impl<F: Follow> Inner<F> {
    pub(super) fn view(&self) -> View<'_, F::Below> {
        View { overlay: self.follower.overlay(), base: &self.index }
    }

    pub(super) fn held(&self, code: &DossierCode) -> Result<Option<Held>, ReadError> {
        index::dossier(&self.view(), code)
    }

    pub(super) fn dossier(&self, code: &DossierCode) -> Result<Option<Arc<Dossier>>, ReadError> {
        Ok(self.held(code)?.map(|held| Arc::new(held.dossier)))
    }

    pub(super) fn by_alias(&self, alias: &str) -> Result<Option<DossierCode>, ReadError> {
        let named = fetch(&self.view(), &keys::Alias(alias))?;
        named.map(|named| named.code.parse().map_err(|_| not_a_code("alias"))).transpose()
    }

    pub(super) fn by_key(&self, party: &PartyId, key: &RequestKey) -> Result<Option<Answered>, ReadError> {
        let Some(at) = fetch(&self.view(), &keys::Request(party, key))? else { return Ok(None) };
        let position = Position(at.position);
        let stored = self.admission(position)?;
        let event = stored.event.as_ref().ok_or_else(|| unreadable(position, Unreadable("event")))?;
        let code = event.dossier_code.parse();
        Ok(Some(Answered {
            body_sha256: codec::digest("body_sha256", &event.body_sha256).map_err(|e| unreadable(position, e))?,
            code: code.map_err(|_| unreadable(position, Unreadable("dossier_code")))?,
            sequence: event.sequence,
            answer: codec::answer(&stored).map_err(|error| unreadable(position, error))?,
        }))
    }

    pub(super) fn event(
        &self,
        code: &DossierCode,
        sequence: u32,
        bodies: Bodies,
    ) -> Result<Option<Recorded>, ReadError> {
        let at = fetch(&self.view(), &keys::Event(code, sequence))?;
        at.map(|at| self.recorded(Position(at.position), bodies)).transpose()
    }

    pub(super) fn events(
        &self,
        code: &DossierCode,
        after: u32,
        limit: usize,
        bodies: Bodies,
    ) -> Result<Vec<Recorded>, ReadError> {
        // Bounded as in [`waiting`]: a caller that goes on after a gap would never see what was in it.
        let last = self.held(code)?.map_or(0, |held| held.dossier.sequence);
        let from = keys::after(keys::Event(code, after).encode());
        let to = keys::after(keys::Event(code, last).encode());
        let (mut events, mut bytes) = (Vec::new(), 0);
        for (_, at) in self.view().range(&from, &to, limit)? {
            let at = store_v1::At::decode(at).map_err(|_| ReadError::Damaged("an event's position".to_owned()))?;
            let recorded = self.recorded(Position(at.position), bodies)?;
            bytes += recorded.body.as_ref().map_or(0, Bytes::len);
            events.push(recorded);
            if bytes >= BODIES_BYTES {
                break;
            }
        }
        Ok(events)
    }

    fn recorded(&self, position: Position, bodies: Bodies) -> Result<Recorded, ReadError> {
        records::recorded(position, self.admission(position)?, &self.keys, bodies)
    }

    pub(super) fn list(&self, query: &ListQuery) -> Result<Page, ReadError> {
        let party = query.party.as_ref();
        let first = Listed::first(party);
        let to = keys::behind(&first);
        let mut from = match &query.cursor {
            Some(Cursor { updated_at, code }) => keys::after(Listed { party, updated_at: *updated_at, code }.encode()),
            None => first,
        };
        let mut page = Page { dossiers: Vec::new(), next: None };
        let mut looked_at = 0;
        loop {
            let slice = self.view().range(&from, &to, SLICE)?;
            let is_last = slice.len() < SLICE;
            for (key, _) in slice {
                let Some((updated_at, code)) = Listed::decode(party, &key) else {
                    return Err(ReadError::Damaged(keys::describe(&key)));
                };
                if page.dossiers.len() == query.limit || looked_at == LOOKED_AT {
                    // There is at least this one more.
                    return Ok(page);
                }
                looked_at += 1;
                page.next = Some(Cursor { updated_at, code: code.clone() });
                // A dossier that has moved on meanwhile stands elsewhere in the list, and is found there.
                let dossier = self.dossier(&code)?.filter(|dossier| dossier.updated_at == updated_at);
                page.dossiers.extend(dossier.filter(|dossier| matches(query, dossier)));
                from = keys::after(key.to_vec());
            }
            if is_last {
                page.next = None;
                return Ok(page);
            }
        }
    }

    pub(super) fn recorded_counter(&self, authority: &PartyId, day: Date) -> Result<Counter, ReadError> {
        index::counter(&self.view(), authority, day)
    }

    pub(super) fn desk_blocks(&self, authority: &PartyId, day: Date, desk: &PartyId) -> Result<DeskBlocks, ReadError> {
        index::desk_blocks(&self.view(), &keys::DeskBlocks { authority, desk, day })
    }

    pub(super) fn epoch(&self) -> Result<u32, ReadError> {
        Ok(index::epoch(&self.view())?.number)
    }

    pub(super) fn highest_number(&self, days: &RangeInclusive<Date>) -> Result<u32, ReadError> {
        let (view, first) = (self.view(), keys::Numbers::first());
        let numbers = codec::day_number(*days.start())..=codec::day_number(*days.end());
        let mut highest = 0;
        for lost in index::epoch(&view)?.lost {
            if lost.from_day <= *numbers.end() && *numbers.start() <= lost.to_day {
                highest = highest.max(lost.numbers_from.saturating_sub(1));
            }
        }
        let (mut from, to) = (first.clone(), keys::behind(&first));
        loop {
            let slice = view.range(&from, &to, SLICE)?;
            let is_last = slice.len() < SLICE;
            for (key, value) in slice {
                if keys::Numbers::day_of(&key).is_some_and(|day| numbers.contains(&day)) {
                    let state = store_v1::NumbersState::decode(value).map_err(|_| {
                        ReadError::Damaged(format!("{}: `numbers` cannot be read", keys::describe(&key)))
                    })?;
                    highest = highest.max(state.highest);
                }
                from = keys::after(key.to_vec());
            }
            if is_last {
                return Ok(highest);
            }
        }
    }

    pub(super) fn waiting(
        &self,
        party: &PartyId,
        after: Option<InboxPosition>,
        limit: usize,
    ) -> Result<Vec<Waiting>, ReadError> {
        waiting(&self.view(), self.follower.visible(), party, after, limit)
    }

    pub(super) fn backlog(&self, party: &PartyId) -> Result<Backlog, ReadError> {
        let count = fetch(&self.view(), &keys::Backlog(party))?.unwrap_or_default();
        let first = keys::Delivery::first(Owed::Waiting, party);
        let oldest = self.view().range(&first, &keys::behind(&first), 1)?.pop();
        let oldest = oldest
            .map(|(key, value)| store_v1::Owed::decode(value).map_err(|_| ReadError::Damaged(keys::describe(&key))));
        Ok(Backlog {
            waiting: count.waiting,
            taken_over: count.taken_over,
            oldest_admitted_ms: oldest.transpose()?.map(|owed| owed.admitted_at_unix_ms),
            parked_dossiers: count.parked_dossiers,
            parked_deliveries: count.parked_deliveries,
        })
    }

    pub(super) fn delivery_stage(
        &self,
        party: &PartyId,
        code: &DossierCode,
        sequence: u32,
    ) -> Result<Option<DeliveryStage>, ReadError> {
        let Some(at) = fetch(&self.view(), &keys::Event(code, sequence))? else { return Ok(None) };
        let owed = |stage| fetch(&self.view(), &keys::Delivery { stage, party, position: at.position });
        if owed(Owed::Waiting)?.is_some() {
            return Ok(Some(DeliveryStage::Waiting(InboxPosition(at.position))));
        }
        if owed(Owed::TakenOver)?.is_some() {
            return Ok(Some(DeliveryStage::TakenOver));
        }
        Ok(owed(Owed::Parked)?.map(|_| DeliveryStage::Parked))
    }

    pub(super) fn document(&self, party: &PartyId, sha256: &Sha256Digest) -> Result<Option<DocumentMeta>, ReadError> {
        match fetch(&self.view(), &keys::Content(party, sha256))? {
            Some(named) => self.document_by_id(named.document_id),
            None => Ok(None),
        }
    }

    pub(super) fn document_by_id(&self, id: u64) -> Result<Option<DocumentMeta>, ReadError> {
        let Some(state) = fetch(&self.view(), &keys::Document(id))? else { return Ok(None) };
        let position = Position(state.position);
        let Fact::DocumentStored(meta) = self.fact(position)? else {
            return Err(unreadable(position, Unreadable("document_stored")));
        };
        let dossier = match state.dossier_code.as_str() {
            "" => None,
            code => Some(code.parse().map_err(|_| not_a_code("document"))?),
        };
        Ok(Some(DocumentMeta { dossier, ..meta }))
    }

    pub(super) fn registry(&self, number: Option<u64>) -> Result<Option<RegistryRecord>, ReadError> {
        let number = match number {
            Some(number) => number,
            None => fetch(&self.view(), &keys::Totals)?.unwrap_or_default().newest_registry,
        };
        let Some(at) = fetch(&self.view(), &keys::Registry(number))? else { return Ok(None) };
        match self.fact(Position(at.position))? {
            Fact::RegistryApplied(record) => Ok(Some(record)),
            _ => Err(unreadable(Position(at.position), Unreadable("registry_applied"))),
        }
    }

    pub(super) fn knows_certificate(&self, digest: &Sha256Digest) -> Result<bool, ReadError> {
        Ok(fetch(&self.view(), &keys::Certificate(digest))?.is_some())
    }

    pub(super) fn certificate(&self, digest: &Sha256Digest) -> Result<Option<Bytes>, ReadError> {
        let Some(at) = fetch(&self.view(), &keys::Certificate(digest))? else { return Ok(None) };
        match self.fact(Position(at.position))? {
            Fact::CertificateSeen { der, .. } => Ok(Some(der)),
            _ => Err(unreadable(Position(at.position), Unreadable("certificate_seen"))),
        }
    }

    pub(super) fn certificate_holder(&self, digest: &Sha256Digest) -> Result<Option<String>, ReadError> {
        let Some(at) = fetch(&self.view(), &keys::Certificate(digest))? else { return Ok(None) };
        match self.fact(Position(at.position))? {
            Fact::CertificateSeen { system, .. } => Ok(Some(system)),
            _ => Err(unreadable(Position(at.position), Unreadable("certificate_seen"))),
        }
    }

    pub(super) fn new_key(&self) -> Result<(u64, DataKey), ReadError> {
        let (KeyId(id), key) = self.keys.next().map_err(|error| ReadError::Engine(error.into()))?;
        if F::IN_BACKGROUND {
            self.preparing.after(id, &self.keys);
        }
        Ok((id, key))
    }

    pub(super) fn key(&self, id: u64) -> Result<Option<DataKey>, ReadError> {
        records::key_of(&self.keys, id)
    }

    pub(super) fn fact(&self, position: Position) -> Result<Fact, ReadError> {
        records::decode(position, &self.bytes(position)?).map(|(_, fact)| fact)
    }

    fn admission(&self, position: Position) -> Result<store_v1::Admission, ReadError> {
        let record = Record::decode(&self.bytes(position)?[..]);
        match record.map_err(|_| unreadable(position, Unreadable("record")))?.kind {
            Some(Kind::Admission(admission)) => Ok(admission),
            _ => Err(unreadable(position, Unreadable("admission"))),
        }
    }

    pub(super) fn bytes(&self, position: Position) -> Result<Vec<u8>, ReadError> {
        self.reader.read(position).map_err(records::journal_failed)
    }
}

/// The deliveries that waited for `party` when everything up to the record `visible` could be seen.
///
/// No more than that: while this reads, later ones are being written, and it might find one of them and miss the one before.
/// Who goes on after the last one would never get it.
fn waiting(
    view: &impl Base,
    visible: Position,
    party: &PartyId,
    after: Option<InboxPosition>,
    limit: usize,
) -> Result<Vec<Waiting>, ReadError> {
    let behind = |position| keys::after(keys::Delivery { stage: Owed::Waiting, party, position }.encode());
    let from = match after {
        Some(InboxPosition(position)) => behind(position),
        None => keys::Delivery::first(Owed::Waiting, party),
    };
    let waiting = |(key, value): (Bytes, Bytes)| {
        let damaged = || ReadError::Damaged(keys::describe(&key));
        let owed = store_v1::Owed::decode(value).map_err(|_| damaged())?;
        Ok(Waiting {
            position: InboxPosition(keys::Delivery::position_of(&key).ok_or_else(damaged)?),
            code: owed.code.parse().map_err(|_| damaged())?,
            sequence: owed.sequence,
        })
    };
    view.range(&from, &behind(visible.0), limit)?.into_iter().map(waiting).collect()
}

fn matches(query: &ListQuery, dossier: &Dossier) -> bool {
    let opening = &dossier.opening;
    let received = opening.received_at;
    (query.statuses.is_empty() || query.statuses.contains(&dossier.status))
        && query.procedure.as_ref().is_none_or(|procedure| opening.procedure == *procedure)
        && query.competent_authority.as_ref().is_none_or(|party| opening.places.competent_authority == *party)
        && query.intake_desk.as_ref().is_none_or(|party| opening.places.intake_desk == *party)
        && query.received_from.is_none_or(|from| received >= from)
        && query.received_to.is_none_or(|to| received < to)
        && (!query.only_non_territorial || opening.non_territorial)
        && query.only_late_at.is_none_or(|at| is_late(dossier, at))
}

/// Whether the citizen waits beyond the date promised, or waited: a dossier that is over is measured when it was over.
fn is_late(dossier: &Dossier, at: BusinessTime) -> bool {
    let ended = dossier.resolved_at.or_else(|| dossier.status.is_terminal().then_some(dossier.updated_at));
    dossier.clock.is_late(ended.map_or(at, |ended| ended.min(at)).civil())
}

fn not_a_code(whose: &str) -> ReadError {
    ReadError::Damaged(format!("the code of {whose} is none"))
}

#[cfg(test)]
mod tests {
    use super::super::super::overlay::{Change, Memory};
    use super::*;

    #[test]
    fn a_delivery_that_is_written_while_its_inbox_is_read_is_left_for_the_next_time() {
        let party: PartyId = "H57.101".parse().unwrap();
        let written = |index: &mut Memory, position| {
            let key = keys::Delivery { stage: Owed::Waiting, party: &party, position }.encode().into();
            let owed = store_v1::Owed { code: "H57.101-250714-0001".into(), ..store_v1::Owed::default() };
            index.apply([Change { key, value: Some(owed.encode_to_vec().into()) }]);
        };
        let read = |index: &Memory, visible, after| {
            let waiting = waiting(index, Position(visible), &party, after, 9).unwrap();
            waiting.iter().map(|delivery| delivery.position.0).collect::<Vec<_>>()
        };
        let mut index = Memory::default();
        // What a reader can meet that began after record 3: records 4 and 6 were written behind its back, and it had passed
        // the place of 4 by then.
        written(&mut index, 3);
        written(&mut index, 6);
        assert_eq!(read(&index, 3, None), [3]);
        written(&mut index, 4);
        assert_eq!(read(&index, 6, Some(InboxPosition(3))), [4, 6]);
    }
}
