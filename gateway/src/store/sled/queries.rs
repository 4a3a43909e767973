//! Queries: recording them under the right key, finding them again, and letting go of those that no dossier came for.

use lgsp_journal::Position;
use lgsp_journal::seal::DataKey;
use lgsp_proto::store_v1::record::Kind;
use lgsp_proto::store_v1::{self, Record};
use prost::Message;

use super::super::claims::Claim;
use super::super::codec::{self, Fact, Unreadable};
use super::super::follower::Follow;
use super::super::index::fetch;
use super::super::keys::{self, Key as _};
use super::super::overlay::Base as _;
use super::super::records::{asked, decode, key_of, unreadable};
use super::super::*;
use super::committing::{Inner, cannot_read};
use super::erasing::destroy;

/// Lapsed matters that are looked at together when the store is opened.
const SLICE: usize = 1_000;

impl<F: Follow> Inner<F> {
    /// Which key seals a query's content: that of its dossier, also of one that has come in under the intake key by now, or that of
    /// the matter; a fresh one when there is none yet. Nothing is kept when the dossier's content was erased meanwhile, or when
    /// the query has no matter.
    pub(super) fn key_for_query(&self, ended: &mut QueryEnded) -> Result<Option<(u64, DataKey)>, ReadError> {
        let envelope = &mut ended.envelope;
        if let (None, Some(key)) = (&envelope.dossier, &ended.intake_key) {
            envelope.dossier = self.by_key(&envelope.party, key)?.map(|answered| answered.code);
        }
        let id = match (&envelope.dossier, &envelope.intake) {
            (Some(code), _) => match self.held(code)? {
                Some(held) => held.key_id,
                // Archived in between: what belongs to it stays here, and cannot be found by it any more.
                None => return Ok(None),
            },
            (None, Some(intake)) => match fetch(&self.view(), &keys::Matter(&envelope.party, intake))? {
                Some(matter) => matter.key_id,
                None => return self.new_key().map(Some),
            },
            (None, None) => return Ok(None),
        };
        Ok(key_of(&self.keys, id)?.map(|key| (id, key)))
    }

    /// Writes a query whose name is claimed and free.
    pub(super) async fn record_query(&self, mut ended: QueryEnded, claim: Claim) -> Result<(), CommitError> {
        let key = self.key_for_query(&mut ended).map_err(|error| cannot_read(&error))?;
        let QueryEnded { envelope, payload, reply, .. } = ended;
        let content = store_v1::QueryContent { payload: payload.into(), reply: reply.into() }.encode_to_vec();
        let (key_id, sealed) = match key {
            Some((id, key)) => (id, key.seal(&codec::queries::content_context(&envelope.id), &content)),
            None => (0, Vec::new()),
        };
        self.write(Fact::Queried(Box::new(Queried { key_id, ..envelope })), sealed, Some(claim)).await
    }

    pub(super) fn query(&self, id: &QueryId) -> Result<Option<QueryRecord>, ReadError> {
        let Some(at) = fetch(&self.view(), &keys::Query(id))? else { return Ok(None) };
        self.query_at(at.position, Bodies::With).map(Some)
    }

    fn query_at(&self, position: u64, bodies: Bodies) -> Result<QueryRecord, ReadError> {
        let (Record { kind: Some(Kind::Queried(stored)) }, Fact::Queried(mut envelope)) =
            decode(Position(position), &self.bytes(Position(position))?)?
        else {
            return Err(unreadable(Position(position), Unreadable("queried")));
        };
        if let (None, Some(intake)) = (&envelope.dossier, &envelope.intake) {
            let matter = fetch(&self.view(), &keys::Matter(&envelope.party, intake))?;
            let matter = matter.filter(|matter| matter.key_id == envelope.key_id);
            envelope.dossier = matter.and_then(|matter| matter.dossier_code.parse().ok());
        }
        asked(Position(position), *envelope, stored, &self.keys, bodies)
    }

    pub(super) fn queries(&self, of: &QueriesOf, before: Option<u64>, limit: usize) -> Result<QueryPage, ReadError> {
        let visible = self.follower.visible().0;
        let newest = before.map_or(Some(visible), |before| before.checked_sub(1)).map(|newest| newest.min(visible));
        let Some(newest) = newest else { return Ok(QueryPage::default()) };
        let (from, first) = match of {
            QueriesOf::All => Self::listed(None, newest),
            QueriesOf::Party(party) => Self::listed(Some(party), newest),
            QueriesOf::Dossier(code) => {
                let Some(held) = self.held(code)? else { return Ok(QueryPage::default()) };
                let key = keys::QueryUnder { key_id: held.key_id, position: newest };
                (key.encode(), keys::QueryUnder::first(held.key_id))
            }
        };
        let entries = self.view().range(&from, &keys::behind_all(&first), limit + 1)?;
        let mut page = QueryPage::default();
        for (number, (key, _)) in entries.into_iter().enumerate() {
            let position = keys::inverted_position_of(&key).ok_or_else(|| ReadError::Damaged(keys::describe(&key)))?;
            if number == limit {
                page.next = Some(position + 1);
                break;
            }
            page.queries.push(self.query_at(position, Bodies::Without)?);
        }
        Ok(page)
    }

    pub(super) fn look_ups(
        &self,
        code: &DossierCode,
        sequence: u32,
        limit: usize,
    ) -> Result<Vec<QueryRecord>, ReadError> {
        let Some(held) = self.held(code)? else { return Ok(Vec::new()) };
        let at =
            |sequence| Ok::<_, ReadError>(fetch(&self.view(), &keys::Event(code, sequence))?.map(|at| at.position));
        let Some(upto) = at(sequence)? else { return Ok(Vec::new()) };
        let after = at(sequence.saturating_sub(1))?.unwrap_or_default();
        let [from, to] = [upto, after].map(|position| keys::QueryUnder { key_id: held.key_id, position }.encode());
        let entries = self.view().range(&from, &to, limit)?;
        let position =
            |key: &Bytes| keys::inverted_position_of(key).ok_or_else(|| ReadError::Damaged(keys::describe(key)));
        entries.iter().map(|(key, _)| self.query_at(position(key)?, Bodies::Without)).collect()
    }

    fn listed(party: Option<&PartyId>, newest: u64) -> (Vec<u8>, Vec<u8>) {
        (keys::QueryListed { party, position: newest }.encode(), keys::QueryListed::first(party))
    }

    /// Matters without a dossier that were begun before `until`, the oldest first.
    pub(super) fn open_matters(&self, until: SystemTime, limit: usize) -> Result<Vec<OpenMatter>, ReadError> {
        let to = keys::OpenMatter::from(codec::unix_ms(until));
        let entries = self.view().range(&keys::OpenMatter::first(), &to, limit)?;
        let mut open = Vec::with_capacity(entries.len());
        for (key, _) in entries {
            let damaged = || ReadError::Damaged(keys::describe(&key));
            let (since_ms, party, intake) = keys::OpenMatter::decode(&key).ok_or_else(damaged)?;
            let Some(state) = fetch(&self.view(), &keys::Matter(&party, &intake))? else { continue };
            open.push(OpenMatter { party, intake, key_id: state.key_id, since: codec::system_time(since_ms) });
        }
        Ok(open)
    }

    /// Records that a matter has lapsed, then destroys its key. A dossier that has come in, or comes in meanwhile, keeps it.
    pub(super) async fn lapse(&self, lapsed: MatterLapsed) -> Result<bool, CommitError> {
        self.check_writable()?;
        self.room.for_the_end()?;
        let key = keys::Matter(&lapsed.party, &lapsed.intake);
        let claim = self.claims.claim(vec![key.encode()]).await;
        let state = fetch(&self.view(), &key).map_err(|error| cannot_read(&error))?;
        if state.is_none_or(|state| !state.dossier_code.is_empty() || state.key_id != lapsed.key_id) {
            return Ok(false);
        }
        let id = lapsed.key_id;
        self.write(Fact::MatterLapsed(lapsed), Vec::new(), Some(claim)).await?;
        let keys = Arc::clone(&self.keys);
        match tokio::task::spawn_blocking(move || destroy(&keys, id, true)).await {
            Ok(Ok(())) => Ok(true),
            failed => {
                tracing::error!(key = id, ?failed, "the key of a lapsed matter could not be destroyed");
                Err(CommitError::Unknown)
            }
        }
    }

    /// Destroys the keys that a crash has left after their matter had lapsed, or that a backup brought back.
    pub(super) fn finish_lapses(&self) -> Result<(), ReadError> {
        let (mut from, to) = (keys::LapsedMatter(0).encode(), keys::LapsedMatter::end());
        loop {
            let slice = self.view().range(&from, &to, SLICE)?;
            for (key, value) in &slice {
                let state = store_v1::LapsedState::decode(value.clone());
                let state = state.map_err(|_| ReadError::Damaged(keys::describe(key)))?;
                match destroy(&self.keys, state.key_id, false) {
                    Err(lgsp_journal::seal::KeyError::Damaged { .. }) => {
                        tracing::error!(key = state.key_id, "a key of a lapsed matter is damaged");
                    }
                    destroyed => destroyed.map_err(|error| ReadError::Engine(error.into()))?,
                }
                from = keys::after(key.to_vec());
            }
            if slice.len() < SLICE {
                return Ok(());
            }
        }
    }
}
