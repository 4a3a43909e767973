//! Archiving: what goes into a file, whether it may, and what is left of it afterwards.
//!
//! Invariant: only a dossier that is closed and of which nothing is owed to anybody leaves the indexes, and it leaves them as
//! it was written to the file: its last event is still its last.

use lgsp_journal::Position;
use lgsp_proto::store_v1::{ArchiveNamed, ArchivedState};
use prost::Message as _;

use super::super::codec::{Fact, Held, Unreadable};
use super::super::follower::Follow;
use super::super::index::fetch;
use super::super::keys::{self, Key as _, Owed};
use super::super::overlay::Base as _;
use super::super::records::unreadable;
use super::super::*;
use super::committing::Inner;

/// Queries that are looked up together.
const SLICE: usize = 1_000;

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl<F: Follow> Inner<F> {
    /// Whether every dossier may still go as it was written.
    pub(super) fn may_be_archived(&self, archiving: &Archiving) -> Result<bool, ReadError> {
        let Archiving { archived, sequences, queries } = archiving;
        for ((code, sequence), queries) in archived.codes.iter().zip(sequences).zip(queries) {
            let held = self.held(code)?.filter(|held| held.dossier.sequence == *sequence);
            match held {
                // What was asked for it since it was written would be missing from the file.
                Some(held) if self.is_at_rest(&held)? && small(self.asked_for(&held)?.len()) == *queries => {}
                _ => return Ok(false),
            }
        }
        Ok([sequences.len(), queries.len()] == [archived.codes.len(); 2])
    }

    /// Whether a dossier is closed and nobody is owed anything of it.
    fn is_at_rest(&self, held: &Held) -> Result<bool, ReadError> {
        let (view, dossier) = (self.view(), &held.dossier);
        if !dossier.status.is_terminal() {
            return Ok(false);
        }
        for party in dossier.told() {
            if fetch(&view, &keys::Lane(party, &dossier.code))?.is_some() {
                return Ok(false);
            }
            for sequence in 1..=dossier.sequence {
                let Some(at) = fetch(&view, &keys::Event(&dossier.code, sequence))? else { return Ok(false) };
                for stage in [Owed::Waiting, Owed::TakenOver, Owed::Parked] {
                    if fetch(&view, &keys::Delivery { stage, party, position: at.position })?.is_some() {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Where the queries for a dossier stand, those made before it came in included.
    fn asked_for(&self, held: &Held) -> Result<Vec<u64>, ReadError> {
        let first = keys::QueryUnder::first(held.key_id);
        let (mut from, to) = (first.clone(), keys::behind_all(&first));
        let mut positions = Vec::new();
        loop {
            let slice = self.view().range(&from, &to, SLICE)?;
            for (key, _) in &slice {
                let damaged = || ReadError::Damaged(keys::describe(key));
                positions.push(keys::inverted_position_of(key).ok_or_else(damaged)?);
                from = keys::after(key.to_vec());
            }
            if slice.len() < SLICE {
                return Ok(positions);
            }
        }
    }

    pub(super) fn material(&self, code: &DossierCode) -> Result<Option<Material>, ReadError> {
        let Some(held) = self.held(code)? else { return Ok(None) };
        if !self.is_at_rest(&held)? {
            return Ok(None);
        }
        let view = self.view();
        let mut records = Vec::new();
        for sequence in 1..=held.dossier.sequence {
            records.extend(fetch(&view, &keys::Event(code, sequence))?.map(|at| at.position));
        }
        let mut documents = Vec::new();
        for document in &held.dossier.documents {
            let Some(state) = fetch(&view, &keys::Document(document.document_id))? else { continue };
            records.push(state.position);
            documents.extend(self.document_by_id(document.document_id)?);
        }
        let asked = self.asked_for(&held)?;
        let queries = small(asked.len());
        records.extend(asked);
        records.sort_unstable();
        records.dedup();
        let erased = fetch(&view, &keys::Erased(code))?.is_some();
        let Held { dossier, key_id } = held;
        Ok(Some(Material { dossier: Arc::new(dossier), key_id, records, queries, documents, erased }))
    }

    pub(super) fn archived(&self, code: &DossierCode) -> Result<Option<Archived>, ReadError> {
        let Some(state) = self.archived_state(code)? else { return Ok(None) };
        let unclear = |field| unreadable(Position(state.position), Unreadable(field));
        let on_record = self.archiving_at(state.position)?;
        Ok(Some(Archived {
            code: code.clone(),
            archive: on_record.archive,
            at: on_record.at,
            updated_at: BusinessTime::from_unix_seconds(state.updated_at).map_err(|_| unclear("updated_at"))?,
            parties: state
                .parties
                .iter()
                .map(|party| party.parse().map_err(|_| unclear("parties")))
                .collect::<Result<_, _>>()?,
        }))
    }

    /// Whether a dossier was archived; without a look at the journal.
    pub(super) fn is_archived(&self, code: &DossierCode) -> Result<bool, ReadError> {
        Ok(self.archived_state(code)?.is_some())
    }

    fn archived_state(&self, code: &DossierCode) -> Result<Option<ArchivedState>, ReadError> {
        fetch(&self.view(), &keys::Archived(code))
    }

    /// The keys that seal an archived dossier and its documents.
    pub(super) fn keys_of_archived(&self, code: &DossierCode) -> Result<Option<Vec<u64>>, ReadError> {
        let Some(state) = self.archived_state(code)? else { return Ok(None) };
        let mut ids = vec![state.key_id];
        for document in state.documents {
            match self.fact(Position(document.position))? {
                Fact::DocumentStored(meta) => ids.push(meta.key_id),
                _ => return Err(unreadable(Position(document.position), Unreadable("document_stored"))),
            }
        }
        Ok(Some(ids))
    }

    pub(super) fn archives(&self, after: Option<u64>, limit: usize) -> Result<Vec<ArchiveOnRecord>, ReadError> {
        let first = keys::Archive::first();
        let from = after.map_or(first.clone(), |position| keys::after(keys::Archive(position).encode()));
        let entries = self.view().range(&from, &keys::behind(&first), limit)?;
        let archive = |(key, value): (Bytes, Bytes)| {
            let damaged = || ReadError::Damaged(keys::describe(&key));
            let named = ArchiveNamed::decode(value).map_err(|_| damaged())?;
            Ok(ArchiveOnRecord {
                position: keys::Archive::position_of(&key).ok_or_else(damaged)?,
                name: named.name,
                sha256: Sha256Digest::try_from(&named.sha256[..]).map_err(|_| damaged())?,
                dossiers: named.dossiers,
            })
        };
        entries.into_iter().map(archive).collect()
    }

    pub(super) fn archived_documents(&self, position: u64) -> Result<Vec<u64>, ReadError> {
        let mut ids = Vec::new();
        for code in self.archiving_at(position)?.codes {
            let state = self.archived_state(&code)?;
            ids.extend(state.into_iter().flat_map(|state| state.documents).map(|document| document.document_id));
        }
        Ok(ids)
    }

    fn archiving_at(&self, position: u64) -> Result<DossiersArchived, ReadError> {
        match self.fact(Position(position))? {
            Fact::DossiersArchived(archived) => Ok(archived),
            _ => Err(unreadable(Position(position), Unreadable("dossiers_archived"))),
        }
    }
}
