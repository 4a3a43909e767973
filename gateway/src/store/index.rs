//! The projection: what a record changes in the index. Pure, given what it can look up.
//!
//! The live committer, a rebuild and `lgsp fsck` all run this and nothing else, with [`lgsp_domain::apply`] for the state of
//! a dossier; so an index is right if and only if it is what replaying the journal makes. It decides nothing: a record
//! that contradicts what stands is reported, never repaired.

mod archiving;
mod audit;
mod certificates;
mod counts;
mod deliveries;
mod queries;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lgsp_domain::apply::{Inconsistent, apply};
use lgsp_domain::dossier::Dossier;
use lgsp_domain::event::Event;
use lgsp_domain::numbering::{Block, Counter, DeskBlocks, NumberSource};
use lgsp_journal::Position;
use lgsp_proto::store_v1;
use lgsp_proto::types::{DossierCode, PartyId};
use prost::Message;

use super::codec::{self, Admitted, EpochStarted, Fact, Held, NumbersLeased, day_number, unix_ms};
use super::keys::{self, Key};
use super::overlay::{Change, Memory, Read};
use super::{DocumentMeta, ReadError};

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
    /// Something is said about a dossier that was never opened.
    #[error("{0} was never opened")]
    Nothing(DossierCode),
    /// An event of a dossier that was erased before.
    #[error("{0} was erased before")]
    Erased(DossierCode),
    /// An event of a dossier that was archived before.
    #[error("{0} was archived before")]
    Archived(DossierCode),
    /// A query or its dossier is sealed with another key than the matter's, or a matter lapses that is not open.
    #[error("a query and its dossier are not of one key")]
    OtherMatter,
    /// A certificate was issued over a token that is not open, or one that is not open was withdrawn.
    #[error("a join token that is not open was spent or withdrawn")]
    Token,
    /// An epoch is no later than the one before it.
    #[error("epoch {0} is no later than the one before it")]
    Epoch(u32),
    /// What the record builds on could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What `fact`, recorded at `position`, changes, as steps to be applied in order, each whole.
///
/// Most records are one step. What moves many deliveries is several, so that no batch grows long; each of them leaves the
/// index consistent, and projecting the record again over some of them yields the rest.
///
/// # Errors
/// [`Contradiction`]; the index and the journal are not of one mind, and neither must be changed.
pub(super) fn project(fact: &Fact, position: Position, index: &dyn Read) -> Result<Vec<Vec<Change>>, Contradiction> {
    let mut draft = Draft { index, written: BTreeMap::new(), step: BTreeMap::new(), steps: Vec::new() };
    match fact {
        Fact::Admitted(admitted) => admit(admitted, position, &mut draft)?,
        Fact::Acknowledged(acknowledgement) => deliveries::acknowledge(acknowledgement, &mut draft)?,
        Fact::DocumentStored(meta) => store_document(meta, position, &mut draft)?,
        Fact::RegistryApplied(record) => {
            let number = record.version.number;
            draft.put_new(&keys::Registry(number), &at(position))?;
            draft.update(&keys::Totals, |totals| totals.newest_registry = totals.newest_registry.max(number))?;
        }
        // Two calls may bring the same certificate at once; the first record of it counts.
        Fact::CertificateSeen { digest, der, system, at: seen_at } => {
            let key = keys::Certificate(digest);
            if draft.fetch(&key)?.is_some() {
                return Ok(Vec::new());
            }
            draft.put(&key, &at(position));
            certificates::see(digest, der, system, *seen_at, &mut draft)?;
        }
        Fact::TokenIssued(issued) => certificates::issue_token(issued, position, &mut draft)?,
        Fact::TokenWithdrawn(withdrawn) => certificates::withdraw(withdrawn, position, &mut draft)?,
        Fact::CertificateIssued(issued) => certificates::issue(issued, position, &mut draft)?,
        Fact::CertificateRevoked(revoked) => certificates::revoke(revoked, position, &mut draft)?,
        Fact::NumbersLeased(lease) => lease_numbers(lease, &mut draft)?,
        Fact::DossierErased(erasure) => erase(&erasure.code, position, &mut draft)?,
        Fact::GivenBack(given_back) => deliveries::give_back(given_back, &mut draft)?,
        Fact::DossierParked(parked) => deliveries::park(parked, position, &mut draft)?,
        Fact::ParkedHandled(handled) => deliveries::handle(handled, position, &mut draft)?,
        Fact::EpochStarted(started) => start_epoch(started, &mut draft)?,
        Fact::DossiersArchived(archived) => archiving::archive(archived, position, &mut draft)?,
        Fact::Exported(exported) => draft.put_new(&keys::Exported(&exported.identity), &at(position))?,
        Fact::Queried(queried) => queries::ask(queried, position, &mut draft)?,
        Fact::MatterLapsed(lapsed) => queries::lapse(lapsed, position, &mut draft)?,
    }
    if let Some(entry) = audit::entry(fact) {
        draft.put(&keys::Audited(position.0), &entry);
    }
    draft.finish_step();
    Ok(draft.steps)
}

/// Makes the steps of a record's projection in `memory`, and says whether `index` is what stands between two of them: it may
/// `differ` from what was there before by keys of theirs only, and holds them as after one of the steps. What cannot be read is
/// not.
pub(super) fn is_amid<'a>(
    memory: &mut Memory,
    steps: Vec<Vec<Change>>,
    index: &impl Read,
    mut differ: impl Iterator<Item = &'a Bytes>,
) -> bool {
    let keys: BTreeSet<Bytes> = steps.iter().flatten().map(|change| change.key.clone()).collect();
    let held: Result<Vec<_>, _> = keys.iter().map(|key| index.get(key)).collect();
    let held = held.ok().filter(|_| differ.all(|key| keys.contains(key)));
    let mut is_amid = false;
    for step in steps {
        memory.apply(step);
        let is_as_here =
            |held: &Vec<Option<Bytes>>| keys.iter().zip(held).all(|(key, held)| memory.0.get(key) == held.as_ref());
        is_amid = is_amid || held.as_ref().is_some_and(is_as_here);
    }
    is_amid
}

fn admit(admitted: &Admitted, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let event = &admitted.event;
    let before = dossier(draft, &event.code)?;
    if before.as_ref().is_some_and(|held| held.key_id != admitted.key_id) {
        return Err(Contradiction::OtherKey(event.code.clone()));
    }
    if before.is_none() && draft.fetch(&keys::Archived(&event.code))?.is_some() {
        return Err(Contradiction::Archived(event.code.clone()));
    }
    if before.is_some() && draft.fetch(&keys::Erased(&event.code))?.is_some() {
        return Err(Contradiction::Erased(event.code.clone()));
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
        enter_number(event, opening.number_source, draft)?;
        queries::come_in(admitted, draft)?;
        counts::take_in(admitted, draft)?;
    }
    list(before.as_ref().map(|held| &held.dossier), &after.dossier, draft);
    attach_documents(admitted, draft)?;

    let recipients: BTreeSet<&PartyId> = event.recipients.iter().collect();
    for &party in &recipients {
        let owed = store_v1::Owed {
            code: event.code.to_string(),
            sequence: event.sequence,
            admitted_at_unix_ms: unix_ms(admitted.admitted_at),
            held: None,
        };
        deliveries::owe(party, event, position, owed, draft)?;
    }
    draft.update(&keys::Totals, |totals| {
        totals.events += 1;
        totals.dossiers += u64::from(before.is_none());
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

fn store_document(meta: &DocumentMeta, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let state = store_v1::DocumentState { position: position.0, dossier_code: String::new() };
    draft.put_new(&keys::Document(meta.id), &state)?;
    draft.put(&keys::Content(&meta.party, &meta.sha256), &store_v1::DocumentNamed { document_id: meta.id });
    Ok(())
}

/// Only that it was erased: what is left of the dossier is its envelope, and stays where it is.
fn erase(code: &DossierCode, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    if draft.fetch(&keys::Dossier(code))?.is_none() && draft.fetch(&keys::Archived(code))?.is_none() {
        return Err(Contradiction::Nothing(code.clone()));
    }
    draft.put_new(&keys::Erased(code), &at(position))
}

/// Whose number it is was recorded with the dossier; the registry of today is not asked.
fn enter_number(event: &Event, source: NumberSource, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let (authority, day, number) = (event.code.party(), event.code.date(), event.code.number());
    update_numbers(draft, &keys::Numbers(authority, day), |counter| match source {
        NumberSource::Own => counter.saw_own(number),
        NumberSource::Taken | NumberSource::Leased | NumberSource::Unrecorded => counter.saw(number),
    })?;
    if source == NumberSource::Leased {
        update_blocks(draft, &keys::DeskBlocks { authority, desk: &event.by, day }, |blocks| blocks.used(number))?;
    }
    Ok(())
}

fn lease_numbers(lease: &NumbersLeased, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let NumbersLeased { authority, day, desk, numbers, .. } = lease;
    if numbers.is_empty() {
        return Ok(());
    }
    update_numbers(draft, &keys::Numbers(authority, *day), |counter| counter.saw(numbers.end - 1))?;
    update_blocks(draft, &keys::DeskBlocks { authority, desk, day: *day }, |blocks| {
        blocks.leased(lease.spool, lease.epoch, numbers.clone());
    })
}

fn start_epoch(started: &EpochStarted, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let mut state = epoch(draft)?;
    if started.number <= state.number {
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
    let own_from = counter.own_from().unwrap_or_default();
    draft.put(key, &store_v1::NumbersState { highest: counter.highest(), own_from });
    Ok(())
}

fn update_blocks(
    draft: &mut Draft<'_>,
    key: &keys::DeskBlocks<'_>,
    change: impl FnOnce(&mut DeskBlocks),
) -> Result<(), Contradiction> {
    let mut blocks = desk_blocks(draft, key)?;
    change(&mut blocks);
    if blocks.as_slice().is_empty() {
        draft.remove(key);
        return Ok(());
    }
    let leases = blocks.as_slice().iter().map(|block| store_v1::NumberLease {
        first: block.numbers.start,
        count: block.numbers.end - block.numbers.start,
        spool: codec::spool_bytes(block.spool),
        epoch: block.epoch,
        used: block.used,
    });
    draft.put(key, &store_v1::DeskBlocks { leases: leases.collect() });
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
    let counter = Counter::at(state.highest, (state.own_from != 0).then_some(state.own_from));
    Ok(counter.above(lost_upto(index, key.1)?))
}

/// The blocks of one desk that have numbers left, of any epoch.
///
/// # Errors
/// The index could not be read, or what it holds makes no sense.
pub(super) fn desk_blocks(index: &dyn Read, key: &keys::DeskBlocks<'_>) -> Result<DeskBlocks, ReadError> {
    let unreadable = |field| damaged(key, &codec::Unreadable(field));
    let block = |lease: store_v1::NumberLease| {
        let end = lease.first.checked_add(lease.count).ok_or_else(|| unreadable("count"))?;
        let spool = codec::spool("spool", &lease.spool).map_err(|error| damaged(key, &error))?;
        Ok(Block { spool, epoch: lease.epoch, numbers: lease.first..end, used: lease.used })
    };
    let leases = fetch(index, key)?.unwrap_or_default().leases;
    leases.into_iter().map(block).collect::<Result<_, _>>().map(DeskBlocks::of)
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
    use super::super::contract::sample::{
        AUTHORITY, PORTAL, acknowledgement, admission, at, code, handled, holder, machine, opened, parked, party,
        progressed,
    };
    use super::super::{Commit, GivenBack, GivenBackWhy, ParkedAction, Stage};
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
            assert_eq!(steps.len(), 5);
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

    /// An index with a dossier of sixty events, of which the portal was told.
    fn long() -> Memory {
        let mut memory = filled(1);
        for sequence in 2..=60u32 {
            let standing = dossier(&memory, &code(1)).unwrap().unwrap().dossier;
            let event = admission(progressed(&standing, at(i64::from(sequence))));
            apply_all(&mut memory, u64::from(sequence), &Fact::of(Commit::Admission(Box::new(event)), 7));
        }
        memory
    }

    #[test]
    fn parking_a_long_dossier_and_ending_that_are_whole_after_any_of_their_steps() {
        let all: Vec<_> = (1..=60).map(|sequence| (code(1), sequence)).collect();
        let taken: Vec<_> = (1..=30).map(|sequence| (1, sequence)).collect();
        let facts = [
            (Fact::Acknowledged(acknowledgement(PORTAL, Stage::TakenOver, &taken)), [30, 30, 0]),
            (Fact::DossierParked(parked(PORTAL, 1, 2)), [0, 30, 30]),
            (
                Fact::GivenBack(GivenBack {
                    party: party(PORTAL),
                    deliveries: all,
                    holder: holder("main", b""),
                    why: GivenBackWhy::SpoolReplaced,
                    at: machine(9),
                }),
                [1, 0, 59],
            ),
            (Fact::ParkedHandled(handled(PORTAL, 1, 2, ParkedAction::Skip)), [59, 0, 0]),
            (Fact::DossierParked(parked(PORTAL, 1, 1)), [0, 0, 59]),
            (Fact::ParkedHandled(handled(PORTAL, 1, 1, ParkedAction::Retry)), [59, 0, 0]),
            (Fact::DossierParked(parked(PORTAL, 1, 1)), [0, 0, 59]),
            // What it is parked for is handed over after all.
            (Fact::Acknowledged(acknowledgement(PORTAL, Stage::HandedOver, &[(1, 1)])), [58, 0, 0]),
        ];
        let mut before = long();
        for (number, (fact, expected)) in facts.into_iter().enumerate() {
            let position = Position(100 + number as u64);
            let steps = project(&fact, position, &before).unwrap();
            assert!(steps.len() > 1 && steps.iter().all(|step| step.len() < 64), "{fact:?}");
            let mut after = before.clone();
            after.apply(steps.iter().flatten().cloned());
            let counted = fetch(&after, &keys::Backlog(&party(PORTAL))).unwrap().unwrap();
            assert_eq!([counted.waiting, counted.taken_over, counted.parked_deliveries], expected, "{fact:?}");
            for done in 0..=steps.len() {
                let mut interrupted = before.clone();
                interrupted.apply(steps[..done].iter().flatten().cloned());
                apply_all(&mut interrupted, position.0, &fact);
                assert_eq!(interrupted, after, "after {done} of {} steps", steps.len());
            }
            before = after;
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
