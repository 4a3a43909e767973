//! The projection: what a record changes in the index. Pure, given what it can look up.
//!
//! The live committer, a rebuild and `lgsp fsck` all run this and nothing else, with [`lgsp_domain::apply`] for the state of
//! a dossier; so an index is right if and only if it is what replaying the journal makes. It decides nothing: a record
//! that contradicts what stands is reported, never repaired.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lgsp_domain::apply::{Inconsistent, apply};
use lgsp_domain::dossier::Dossier;
use lgsp_domain::numbering::{Counter, Lease};
use lgsp_journal::Position;
use lgsp_proto::store_v1;
use lgsp_proto::types::{DossierCode, PartyId};
use prost::Message;

use super::codec::{self, Admitted, EpochStarted, Fact, Held, NumbersLeased, day_number, unix_ms};
use super::keys::{self, Key, Owed};
use super::overlay::{Change, Read};
use super::{Acknowledgement, DocumentMeta, ReadError, Stage};

/// How many acknowledged deliveries go into one step: two keys each, with the counts and the follower's mark within the 64
/// operations that a batch of sled should have.
const DELIVERIES_PER_STEP: usize = 30;

/// A record that cannot follow what the index holds.
#[derive(Debug, thiserror::Error)]
pub(super) enum Contradiction {
    /// The event is not the dossier's next one.
    #[error(transparent)]
    Event(#[from] Inconsistent),
    /// Something given once was given again.
    #[error("{0} was given before")]
    Again(String),
    /// An event is sealed with another key than the dossier's.
    #[error("an event of {0} is sealed with another key than the dossier's")]
    OtherKey(DossierCode),
    /// An epoch does not follow the one before it.
    #[error("epoch {0} does not follow the one before it")]
    Epoch(u32),
    /// What the record builds on could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What `fact`, recorded at `position`, changes, as steps to be applied in order, each whole.
///
/// Most records are one step. A long acknowledgement is several, so that no batch grows long; each of them leaves the
/// index consistent, and projecting the record again over some of them yields the rest.
///
/// # Errors
/// [`Contradiction`]; the index and the journal are not of one mind, and neither must be changed.
pub(super) fn project(fact: &Fact, position: Position, index: &dyn Read) -> Result<Vec<Vec<Change>>, Contradiction> {
    let mut draft = Draft { index, written: BTreeMap::new(), step: BTreeMap::new(), steps: Vec::new() };
    match fact {
        Fact::Admitted(admitted) => admit(admitted, position, &mut draft)?,
        Fact::Acknowledged(acknowledgement) => acknowledge(acknowledgement, &mut draft)?,
        Fact::DocumentStored(meta) => store_document(meta, position, &mut draft)?,
        Fact::RegistryApplied(record) => {
            let number = record.version.number;
            draft.put_new(&keys::Registry(number), &at(position))?;
            draft.update(&keys::Totals, |totals| totals.newest_registry = totals.newest_registry.max(number))?;
        }
        // Two calls may bring the same certificate at once; the first record of it counts.
        Fact::CertificateSeen { digest, .. } => {
            let key = keys::Certificate(digest);
            if draft.fetch(&key)?.is_none() {
                draft.put(&key, &at(position));
            }
        }
        Fact::NumbersLeased(lease) => lease_numbers(lease, &mut draft)?,
        Fact::EpochStarted(started) => start_epoch(started, &mut draft)?,
    }
    draft.finish_step();
    Ok(draft.steps)
}

fn admit(admitted: &Admitted, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let event = &admitted.event;
    let before = dossier(draft, &event.code)?;
    if before.as_ref().is_some_and(|held| held.key_id != admitted.key_id) {
        return Err(Contradiction::OtherKey(event.code.clone()));
    }
    let after = Held { dossier: apply(before.as_ref().map(|held| &held.dossier), event)?, key_id: admitted.key_id };
    draft.put(&keys::Dossier(&event.code), &codec::state_of(&after));
    draft.put_new(&keys::Event(&event.code, event.sequence), &at(position))?;
    draft.put_new(&keys::Request(&event.by, &admitted.request_key), &at(position))?;
    if let Some(opening) = &event.opening {
        let named = store_v1::DossierNamed { code: event.code.to_string() };
        for alias in &opening.aliases {
            draft.put_new(&keys::Alias(alias.as_str()), &named)?;
        }
        update_numbers(draft, &keys::Numbers(event.code.party(), event.code.date()), |counter| {
            counter.saw(event.code.number());
        })?;
    }
    list(before.as_ref().map(|held| &held.dossier), &after.dossier, draft);
    attach_documents(admitted, draft)?;

    let recipients: BTreeSet<&PartyId> = event.recipients.iter().collect();
    for &party in &recipients {
        let owed = store_v1::Owed {
            code: event.code.to_string(),
            sequence: event.sequence,
            admitted_at_unix_ms: unix_ms(admitted.admitted_at),
        };
        draft.put(&keys::Delivery { stage: Owed::Waiting, party, position: position.0 }, &owed);
        draft.update(&keys::Backlog(party), |backlog| backlog.waiting += 1)?;
    }
    draft.update(&keys::Totals, |totals| {
        totals.events += 1;
        totals.dossiers += u64::from(before.is_none());
        totals.waiting += recipients.len() as u64;
    })
}

/// Moves the dossier to the front of every list it is in.
fn list(before: Option<&Dossier>, after: &Dossier, draft: &mut Draft<'_>) {
    let listed_before = before.map(lists).unwrap_or_default();
    for party in lists(after) {
        if let Some(before) = before.filter(|_| listed_before.contains(&party)) {
            if before.updated_at == after.updated_at {
                continue;
            }
            draft.remove(&keys::Listed { party, updated_at: before.updated_at, code: &before.code });
        }
        let key = keys::Listed { party, updated_at: after.updated_at, code: &after.code };
        draft.put(&key, &store_v1::Listed {});
    }
}

/// The lists a dossier is in: the list of all, and that of every party it concerns ([`Dossier::concerns`]).
fn lists(dossier: &Dossier) -> BTreeSet<Option<&PartyId>> {
    let places = &dossier.opening.places;
    let mut lists: BTreeSet<Option<&PartyId>> = dossier.informed.iter().map(Some).collect();
    lists.extend([&places.intake_desk, &places.competent_authority, &places.return_desk].map(Some));
    lists.extend([places.support_point.as_ref(), None]);
    lists
}

/// A document belongs to the first dossier that an event names it in.
fn attach_documents(admitted: &Admitted, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    for document in &admitted.event.outcome.documents {
        let key = keys::Document(document.document_id);
        if let Some(mut state) = draft.fetch(&key)?
            && state.dossier_code.is_empty()
        {
            state.dossier_code = admitted.event.code.to_string();
            draft.put(&key, &state);
        }
    }
    Ok(())
}

/// Moves deliveries on. What is not owed (any more) is passed over, so an acknowledgement may come twice.
fn acknowledge(acknowledgement: &Acknowledgement, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let party = &acknowledgement.party;
    for deliveries in acknowledgement.deliveries.chunks(DELIVERIES_PER_STEP) {
        let (mut left_waiting, mut taken_over, mut left_taken_over) = (0, 0, 0);
        for (code, sequence) in deliveries {
            let Some(recorded) = draft.fetch(&keys::Event(code, *sequence))? else { continue };
            let waiting = keys::Delivery { stage: Owed::Waiting, party, position: recorded.position };
            let taken = keys::Delivery { stage: Owed::TakenOver, party, position: recorded.position };
            let owed = draft.fetch(&waiting)?;
            match (acknowledgement.stage, owed) {
                (Stage::TakenOver, Some(owed)) => {
                    draft.remove(&waiting);
                    draft.put(&taken, &owed);
                    left_waiting += 1;
                    taken_over += 1;
                }
                (Stage::TakenOver, None) => {}
                (Stage::HandedOver, Some(_)) => {
                    draft.remove(&waiting);
                    left_waiting += 1;
                }
                (Stage::HandedOver, None) => {
                    if draft.fetch(&taken)?.is_some() {
                        draft.remove(&taken);
                        left_taken_over += 1;
                    }
                }
            }
        }
        if left_waiting + left_taken_over > 0 {
            draft.update(&keys::Backlog(party), |backlog| {
                backlog.waiting = backlog.waiting.saturating_sub(left_waiting);
                backlog.taken_over = (backlog.taken_over + taken_over).saturating_sub(left_taken_over);
            })?;
            draft.update(&keys::Totals, |totals| {
                totals.waiting = totals.waiting.saturating_sub(left_waiting);
                totals.taken_over = (totals.taken_over + taken_over).saturating_sub(left_taken_over);
            })?;
        }
        draft.finish_step();
    }
    Ok(())
}

fn store_document(meta: &DocumentMeta, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let state = store_v1::DocumentState { position: position.0, dossier_code: String::new() };
    draft.put_new(&keys::Document(meta.id), &state)?;
    draft.put(&keys::Content(&meta.party, &meta.sha256), &store_v1::DocumentNamed { document_id: meta.id });
    Ok(())
}

fn lease_numbers(lease: &NumbersLeased, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    update_numbers(draft, &keys::Numbers(&lease.authority, lease.day), |counter| {
        counter.saw_lease(Lease { desk: lease.desk.clone(), numbers: lease.numbers.clone() });
    })
}

fn start_epoch(started: &EpochStarted, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let mut state = epoch(draft)?;
    if started.number != state.number + 1 {
        return Err(Contradiction::Epoch(started.number));
    }
    state.number = started.number;
    state.lost.push(store_v1::LostNumbers {
        from_day: day_number(*started.lost.days.start()),
        to_day: day_number(*started.lost.days.end()),
        numbers_from: started.lost.from,
    });
    draft.put(&keys::Epoch, &state);
    Ok(())
}

fn update_numbers(
    draft: &mut Draft<'_>,
    key: &keys::Numbers<'_>,
    change: impl FnOnce(&mut Counter),
) -> Result<(), Contradiction> {
    let mut counter = counter_at(draft, key)?;
    change(&mut counter);
    let leases = counter.leases().iter().map(|lease| store_v1::NumberLease {
        desk: lease.desk.to_string(),
        first: lease.numbers.start,
        count: lease.numbers.end - lease.numbers.start,
    });
    let state = store_v1::NumbersState { highest: counter.highest(), leases: leases.collect() };
    draft.put(key, &state);
    Ok(())
}

/// How a dossier stands, and which key seals it.
///
/// # Errors
/// The index could not be read, or what it holds makes no sense.
pub(super) fn dossier(index: &dyn Read, code: &DossierCode) -> Result<Option<Held>, ReadError> {
    let key = keys::Dossier(code);
    let state = fetch(index, &key)?;
    state.map(|state| codec::held(code, &state).map_err(|error| damaged(&key, &error))).transpose()
}

/// The numbers that an authority has given out on one day.
///
/// # Errors
/// The index could not be read, or what it holds makes no sense.
pub(super) fn counter(index: &dyn Read, authority: &PartyId, day: jiff::civil::Date) -> Result<Counter, ReadError> {
    counter_at(index, &keys::Numbers(authority, day))
}

/// The epoch of the books, and the numbers lost with those before it.
///
/// # Errors
/// The index could not be read, or what it holds makes no sense.
pub(super) fn epoch(index: &(impl Read + ?Sized)) -> Result<store_v1::EpochState, ReadError> {
    let first = || store_v1::EpochState { number: 1, lost: Vec::new() };
    Ok(fetch(index, &keys::Epoch)?.unwrap_or_else(first))
}

/// The highest number of `day` that was, or may have been, given out in an earlier epoch; 0 when there is none.
///
/// # Errors
/// The index could not be read, or what it holds makes no sense.
pub(super) fn lost_upto(index: &dyn Read, day: jiff::civil::Date) -> Result<u32, ReadError> {
    let zone = |lost: &store_v1::LostNumbers| codec::lost_numbers(lost.from_day, lost.to_day, lost.numbers_from);
    let mut floor = 0;
    for lost in epoch(index)?.lost {
        floor = floor.max(zone(&lost).map_err(|error| damaged(&keys::Epoch, &error))?.floor(day));
    }
    Ok(floor)
}

fn counter_at(index: &dyn Read, key: &keys::Numbers<'_>) -> Result<Counter, ReadError> {
    let state = fetch(index, key)?.unwrap_or_default();
    let mut counter = Counter::default();
    counter.saw(state.highest);
    counter.saw(lost_upto(index, key.1)?);
    for lease in state.leases {
        let desk = lease.desk.parse().map_err(|_| damaged(key, &codec::Unreadable("desk")))?;
        let end = lease.first.checked_add(lease.count).ok_or_else(|| damaged(key, &codec::Unreadable("count")))?;
        counter.saw_lease(Lease { desk, numbers: lease.first..end });
    }
    Ok(counter)
}

/// The message stored under `key`.
///
/// # Errors
/// The index could not be read, or what it holds makes no sense.
pub(super) fn fetch<K: Key>(index: &(impl Read + ?Sized), key: &K) -> Result<Option<K::Value>, ReadError> {
    let bytes = index.get(&key.encode())?;
    bytes.map(|bytes| K::Value::decode(bytes).map_err(|error| damaged(key, &error))).transpose()
}

fn damaged(key: &impl Key, error: &dyn std::error::Error) -> ReadError {
    ReadError::Damaged(format!("{}: {error}", keys::describe(&key.encode())))
}

fn at(position: Position) -> store_v1::At {
    store_v1::At { position: position.0 }
}

/// The changes of one record while they are put together; it reads its own writes.
struct Draft<'a> {
    index: &'a dyn Read,
    /// What finished steps wrote.
    written: BTreeMap<Bytes, Option<Bytes>>,
    /// What the step under way writes.
    step: BTreeMap<Bytes, Option<Bytes>>,
    steps: Vec<Vec<Change>>,
}

impl Draft<'_> {
    fn fetch<K: Key>(&self, key: &K) -> Result<Option<K::Value>, ReadError> {
        fetch(self, key)
    }

    fn put<K: Key>(&mut self, key: &K, value: &K::Value) {
        self.step.insert(key.encode().into(), Some(value.encode_to_vec().into()));
    }

    /// Puts what may stand only once.
    fn put_new<K: Key>(&mut self, key: &K, value: &K::Value) -> Result<(), Contradiction> {
        let bytes = key.encode();
        if self.get(&bytes)?.is_some() {
            return Err(Contradiction::Again(keys::describe(&bytes)));
        }
        self.step.insert(bytes.into(), Some(value.encode_to_vec().into()));
        Ok(())
    }

    fn update<K: Key>(&mut self, key: &K, change: impl FnOnce(&mut K::Value)) -> Result<(), Contradiction> {
        let mut value = self.fetch(key)?.unwrap_or_default();
        change(&mut value);
        self.put(key, &value);
        Ok(())
    }

    fn remove(&mut self, key: &impl Key) {
        self.step.insert(key.encode().into(), None);
    }

    fn finish_step(&mut self) {
        if self.step.is_empty() {
            return;
        }
        let step = std::mem::take(&mut self.step);
        self.steps.push(step.iter().map(|(key, value)| Change { key: key.clone(), value: value.clone() }).collect());
        self.written.extend(step);
    }
}

impl Read for Draft<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.step.get(key).or_else(|| self.written.get(key)) {
            Some(change) => Ok(change.clone()),
            None => self.index.get(key),
        }
    }
}

#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod tests {
    use super::super::codec::Fact;
    use super::super::contract::sample::{AUTHORITY, acknowledgement, admission, opened, party};
    use super::super::overlay::Memory;
    use super::super::{Commit, Stage};
    use super::*;

    fn apply_all(memory: &mut Memory, position: u64, fact: &Fact) {
        let steps = project(fact, Position(position), memory).unwrap();
        memory.apply(steps.into_iter().flatten());
    }

    /// An index with `count` dossiers, of which the authority was told.
    fn filled(count: u32) -> Memory {
        let mut memory = Memory::default();
        for number in 1..=count {
            let fact = Fact::of(Commit::Admission(Box::new(admission(opened(number)))), 7);
            apply_all(&mut memory, u64::from(number), &fact);
        }
        memory
    }

    #[test]
    fn a_record_projected_again_over_some_of_its_steps_yields_the_rest() {
        const DOSSIERS: u32 = 100;
        let deliveries: Vec<_> = (1..=DOSSIERS).map(|number| (number, 1)).collect();
        for stage in [Stage::TakenOver, Stage::HandedOver] {
            let fact = Fact::Acknowledged(acknowledgement(AUTHORITY, stage, &deliveries));
            let position = Position(u64::from(DOSSIERS) + 1);
            let before = filled(DOSSIERS);
            let steps = project(&fact, position, &before).unwrap();
            assert_eq!(steps.len(), 4);
            let mut after = before.clone();
            after.apply(steps.iter().flatten().cloned());
            let counted = fetch(&after, &keys::Backlog(&party(AUTHORITY))).unwrap().unwrap();
            let taken_over = if stage == Stage::TakenOver { u64::from(DOSSIERS) } else { 0 };
            assert_eq!((counted.waiting, counted.taken_over), (0, taken_over));
            for done in 0..=steps.len() {
                let mut interrupted = before.clone();
                interrupted.apply(steps[..done].iter().flatten().cloned());
                apply_all(&mut interrupted, position.0, &fact);
                assert_eq!(interrupted, after, "after {done} of {} steps", steps.len());
            }
        }
    }

    #[test]
    fn no_step_is_longer_than_a_batch() {
        let deliveries: Vec<_> = (1..=200).map(|number| (number, 1)).collect();
        let fact = Fact::Acknowledged(acknowledgement(AUTHORITY, Stage::TakenOver, &deliveries));
        let steps = project(&fact, Position(201), &filled(200)).unwrap();
        assert!(steps.iter().all(|step| step.len() < 64), "{:?}", steps.iter().map(Vec::len).collect::<Vec<_>>());
    }

    #[test]
    fn a_record_that_contradicts_the_index_is_refused() {
        let memory = filled(1);
        let again = Fact::of(Commit::Admission(Box::new(admission(opened(1)))), 7);
        assert!(matches!(project(&again, Position(2), &memory), Err(Contradiction::Event(_))));
        let mut other = admission(opened(2));
        other.event.opening.as_mut().unwrap().aliases = opened(1).opening.unwrap().aliases;
        let other = Fact::of(Commit::Admission(Box::new(other)), 7);
        let refused = project(&other, Position(2), &memory);
        assert!(matches!(&refused, Err(Contradiction::Again(what)) if what == "alias/G22-1"), "{refused:?}");
    }
}
