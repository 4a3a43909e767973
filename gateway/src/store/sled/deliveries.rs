//! Reading what is on its way: who has it, what is parked, and what was done about that.

use bytes::Bytes;
use lgsp_journal::Position;
use lgsp_proto::store_v1::record::Kind;
use lgsp_proto::store_v1::{self, Record};
use lgsp_proto::types::{DossierCode, PartyId};
use prost::Message;

use super::super::codec::Unreadable;
use super::super::codec::deliveries as codec;
use super::super::follower::Follow;
use super::super::index::fetch;
use super::super::keys::{self, Key, Owed};
use super::super::overlay::Base;
use super::super::records::{key_of, unreadable};
use super::super::*;
use super::committing::Inner;

impl<F: Follow> Inner<F> {
    pub(super) fn lane(&self, party: &PartyId, code: &DossierCode) -> Result<Lane, ReadError> {
        let state = fetch(&self.view(), &keys::Lane(party, code))?.unwrap_or_default();
        Ok(Lane {
            holder: state.held.map(|held| codec::holder(&held.system, &held.instance, &held.spool)),
            parked: (state.parked_position != 0).then_some(state.parked_sequence),
        })
    }

    pub(super) fn taken_over(
        &self,
        party: &PartyId,
        after: Option<InboxPosition>,
        limit: usize,
    ) -> Result<Vec<TakenOver>, ReadError> {
        let stage = Owed::TakenOver;
        let first = keys::Delivery::first(stage, party);
        let to = keys::behind(&first);
        let from = match after {
            Some(InboxPosition(position)) => keys::after(keys::Delivery { stage, party, position }.encode()),
            None => first,
        };
        let taken_over = |(key, value): (Bytes, Bytes)| {
            let damaged = || ReadError::Damaged(keys::describe(&key));
            let owed = store_v1::Owed::decode(value).map_err(|_| damaged())?;
            let held = owed.held.ok_or_else(damaged)?;
            Ok(TakenOver {
                position: InboxPosition(keys::Delivery::position_of(&key).ok_or_else(damaged)?),
                code: owed.code.parse().map_err(|_| damaged())?,
                sequence: owed.sequence,
                holder: codec::holder(&held.system, &held.instance, &held.spool),
            })
        };
        self.view().range(&from, &to, limit)?.into_iter().map(taken_over).collect()
    }

    pub(super) fn taken_over_of(&self, party: &PartyId, code: &DossierCode, from: u32) -> Result<Vec<u32>, ReadError> {
        self.stages_of(party, code, from, DeliveryStage::TakenOver)
    }

    fn stages_of(
        &self,
        party: &PartyId,
        code: &DossierCode,
        from: u32,
        wanted: DeliveryStage,
    ) -> Result<Vec<u32>, ReadError> {
        let last = self.held(code)?.map_or(0, |held| held.dossier.sequence);
        let mut found = Vec::new();
        for sequence in from..=last {
            if self.delivery_stage(party, code, sequence)? == Some(wanted) {
                found.push(sequence);
            }
        }
        Ok(found)
    }

    pub(super) fn parked(
        &self,
        parties: Option<&[PartyId]>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ParkedStanding>, ReadError> {
        let mut positions = Vec::new();
        let lists = parties.map_or_else(|| vec![None], |parties| parties.iter().map(Some).collect());
        for party in lists {
            let first = keys::Parked::first(party);
            let to = keys::behind(&first);
            let from = match after {
                Some(position) => keys::after(keys::Parked { party, position }.encode()),
                None => first,
            };
            for (key, _) in self.view().range(&from, &to, limit)? {
                let position = key.last_chunk::<8>().ok_or_else(|| ReadError::Damaged(keys::describe(&key)))?;
                positions.push(u64::from_be_bytes(*position));
            }
        }
        positions.sort_unstable();
        positions.truncate(limit);
        positions.into_iter().map(|position| self.parked_standing(Position(position))).collect()
    }

    pub(super) fn parked_dossier(
        &self,
        party: &PartyId,
        code: &DossierCode,
    ) -> Result<Option<ParkedStanding>, ReadError> {
        let lane = fetch(&self.view(), &keys::Lane(party, code))?.unwrap_or_default();
        let position = Some(Position(lane.parked_position)).filter(|_| lane.parked_position != 0);
        position.map(|position| self.parked_standing(position)).transpose()
    }

    fn parked_standing(&self, position: Position) -> Result<ParkedStanding, ReadError> {
        let Some(Kind::DossierParked(stored)) = self.stored(position)? else {
            return Err(unreadable(position, Unreadable("dossier_parked")));
        };
        let parked = codec::parked(&stored).map_err(|error| unreadable(position, error))?;
        let waiting = self.stages_of(&parked.party, &parked.code, parked.sequence, DeliveryStage::Parked)?.len() as u64;
        Ok(ParkedStanding { position: position.0, parked, waiting })
    }

    pub(super) fn handled(&self, party: &PartyId, code: &DossierCode, limit: usize) -> Result<Vec<Handled>, ReadError> {
        let first = keys::Handled::first(party, code);
        let mut entries = self.view().range(&first, &keys::behind(&first), usize::MAX)?;
        entries.drain(..entries.len().saturating_sub(limit));
        entries
            .into_iter()
            .map(|(key, value)| {
                let at = store_v1::At::decode(value).map_err(|_| ReadError::Damaged(keys::describe(&key)))?;
                self.handled_at(Position(at.position))
            })
            .collect()
    }

    fn handled_at(&self, position: Position) -> Result<Handled, ReadError> {
        let Some(Kind::ParkedHandled(stored)) = self.stored(position)? else {
            return Err(unreadable(position, Unreadable("parked_handled")));
        };
        let handled = codec::handled(&stored).map_err(|error| unreadable(position, error))?;
        let key = match self.held(&handled.code)? {
            Some(held) => key_of(&self.keys, held.key_id)?,
            None => None,
        };
        let Some(key) = key.filter(|_| !stored.sealed_why.is_empty()) else { return Ok(handled) };
        let context = codec::why_context(handled.code.as_str(), handled.party.as_str());
        let why = key.open(context.as_bytes(), &stored.sealed_why).ok().and_then(|why| String::from_utf8(why).ok());
        let why = why.ok_or_else(|| unreadable(position, Unreadable("sealed_why")))?;
        Ok(Handled { why, ..handled })
    }

    fn stored(&self, position: Position) -> Result<Option<Kind>, ReadError> {
        let record = Record::decode(&self.bytes(position)?[..]);
        Ok(record.map_err(|_| unreadable(position, Unreadable("record")))?.kind)
    }
}
