//! What archiving dossiers changes: their entries go, a stub stays.
//!
//! The stub is written in the step in which the dossier's state goes, so that whoever looks finds the one or the other; what else
//! there is of the dossier goes after that, by what the stub remembers. Keys of requests, aliases and numbers stay for ever.

use lgsp_journal::Position;
use lgsp_proto::store_v1::{ArchiveNamed, ArchivedDocument, ArchivedState};
use lgsp_proto::types::{BusinessTime, DossierCode, PartyId};

use super::super::archived::DossiersArchived;
use super::super::codec::Held;
use super::super::keys;
use super::{Contradiction, Draft, dossier};
use crate::store::ReadError;

/// How many entries of a dossier go in one step, within the 64 operations that a batch of sled should have.
const REMOVED_PER_STEP: usize = 50;

/// Takes dossiers out of the indexes.
pub(super) fn archive(
    archived: &DossiersArchived,
    position: Position,
    draft: &mut Draft<'_>,
) -> Result<(), Contradiction> {
    for code in &archived.codes {
        let state = match draft.fetch(&keys::Archived(code))? {
            // Some of the steps were projected before.
            Some(state) if state.position == position.0 => state,
            Some(_) => return Err(Contradiction::Again(format!("the archiving of {code}"))),
            None => leave(code, position, draft)?,
        };
        sweep(code, &state, draft)?;
    }
    let dossiers = u32::try_from(archived.codes.len()).unwrap_or(u32::MAX);
    let (name, sha256) = (archived.archive.clone(), archived.sha256.as_bytes().to_vec());
    draft.put(&keys::Archive(position.0), &ArchiveNamed { name, sha256, dossiers });
    Ok(())
}

/// Puts the stub in the place of the dossier.
fn leave(code: &DossierCode, position: Position, draft: &mut Draft<'_>) -> Result<ArchivedState, Contradiction> {
    let held = dossier(draft, code)?.ok_or_else(|| Contradiction::Nothing(code.clone()))?;
    let Held { dossier, key_id } = &held;
    let parties: std::collections::BTreeSet<&PartyId> = dossier.told().collect();
    let mut documents = Vec::with_capacity(dossier.documents.len());
    for (number, document) in dossier.documents.iter().enumerate() {
        let id = document.document_id;
        if let Some(state) = draft.fetch(&keys::Document(id))? {
            documents.push(ArchivedDocument { document_id: id, position: state.position });
        }
        // Said while the dossier is still there to say its digests; what is not there any more is passed over.
        for party in &parties {
            let key = keys::Content(party, &document.sha256);
            if draft.fetch(&key)?.is_some_and(|named| named.document_id == id) {
                draft.remove(&key);
            }
        }
        if number % REMOVED_PER_STEP == REMOVED_PER_STEP - 1 {
            draft.finish_step();
        }
    }
    draft.finish_step();
    let state = ArchivedState {
        position: position.0,
        sequence: dossier.sequence,
        updated_at: dossier.updated_at.unix_seconds(),
        key_id: *key_id,
        documents,
        parties: parties.into_iter().map(PartyId::to_string).collect(),
    };
    draft.put(&keys::Archived(code), &state);
    draft.remove(&keys::Dossier(code));
    draft.update(&keys::Totals, |totals| {
        totals.dossiers = totals.dossiers.saturating_sub(1);
        totals.archived += 1;
    })?;
    draft.finish_step();
    Ok(state)
}

/// Removes what else the index holds of the dossier.
fn sweep(code: &DossierCode, state: &ArchivedState, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let damaged = || Contradiction::Read(ReadError::Damaged(format!("what is left of {code} cannot be read")));
    let updated_at = BusinessTime::from_unix_seconds(state.updated_at).map_err(|_| damaged())?;
    let parties: Vec<PartyId> =
        state.parties.iter().map(|party| party.parse()).collect::<Result<_, _>>().map_err(|_| damaged())?;
    let mut removed = 0;
    let mut remove = |draft: &mut Draft<'_>, key: Removed<'_>| {
        match key {
            Removed::Event(sequence) => draft.remove(&keys::Event(code, sequence)),
            Removed::Listed(party) => draft.remove(&keys::Listed { party, updated_at, code }),
            Removed::Document(id) => draft.remove(&keys::Document(id)),
        }
        removed += 1;
        if removed % REMOVED_PER_STEP == 0 {
            draft.finish_step();
        }
    };
    for party in parties.iter().map(Some).chain([None]) {
        remove(draft, Removed::Listed(party));
    }
    for sequence in 1..=state.sequence {
        remove(draft, Removed::Event(sequence));
    }
    for document in &state.documents {
        remove(draft, Removed::Document(document.document_id));
    }
    draft.finish_step();
    Ok(())
}

/// An entry that goes.
enum Removed<'a> {
    Event(u32),
    Listed(Option<&'a PartyId>),
    Document(u64),
}

#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod tests {
    use lgsp_proto::store_v1::Totals;
    use lgsp_proto::types::Status;

    use super::super::super::codec::Fact;
    use super::super::super::contract::sample::{
        AUTHORITY, DESK, PORTAL, RETURN_DESK, acknowledgement, admission, at, attached, code, document, machine,
        opened, party, progressed, sha256,
    };
    use super::super::super::keys::Key as _;
    use super::super::super::overlay::Memory;
    use super::super::super::{Commit, DocumentMeta, Stage};
    use super::super::{dossier, fetch, is_amid, project};
    use super::*;

    fn apply_all(memory: &mut Memory, position: u64, fact: &Fact) {
        let steps = project(fact, Position(position), memory).unwrap();
        memory.apply(steps.into_iter().flatten());
    }

    /// Two closed dossiers, of which nothing is owed; one has eighty events and seventy documents.
    fn closed() -> Memory {
        let mut memory = Memory::default();
        let mut position = 0;
        let mut enter = |memory: &mut Memory, fact: Fact| {
            position += 1;
            apply_all(memory, position, &fact);
        };
        let documents: Vec<DocumentMeta> = (1..=70).map(|id| document(id, DESK, &id.to_be_bytes())).collect();
        for meta in &documents {
            enter(&mut memory, Fact::DocumentStored(meta.clone()));
        }
        for number in 1..=2u32 {
            let mut first = admission(opened(number));
            if number == 1 {
                first.event.outcome.documents = documents.iter().map(attached).collect();
            }
            enter(&mut memory, Fact::of(Commit::Admission(Box::new(first)), 7));
            for sequence in 2..=(if number == 1 { 80u32 } else { 2 }) {
                let standing = dossier(&memory, &code(number)).unwrap().unwrap().dossier;
                let mut event = admission(progressed(&standing, at(i64::from(sequence))));
                event.event.status = Status::NotAccepted;
                enter(&mut memory, Fact::of(Commit::Admission(Box::new(event)), 7));
            }
            let all: Vec<_> = (1..=80).map(|sequence| (number, sequence)).collect();
            for party in [AUTHORITY, RETURN_DESK, PORTAL, DESK] {
                enter(&mut memory, Fact::Acknowledged(acknowledgement(party, Stage::HandedOver, &all)));
            }
        }
        memory
    }

    fn archived(codes: Vec<DossierCode>) -> Fact {
        Fact::DossiersArchived(DossiersArchived {
            codes,
            archive: "archive-2026-11-0001.lgsp".to_owned(),
            sha256: sha256(b"an archive"),
            party: None,
            actor: "retention".parse().unwrap(),
            system: "(gateway)".to_owned(),
            after_days: 365,
            at: machine(9),
        })
    }

    #[test]
    fn archiving_is_whole_after_any_of_its_steps_and_leaves_stub_keys_aliases_and_numbers() {
        let before = closed();
        let fact = archived(vec![code(1), code(2)]);
        let position = Position(1_000);
        let steps = project(&fact, position, &before).unwrap();
        assert!(steps.len() > 5 && steps.iter().all(|step| step.len() < 64), "{:?}", steps.len());
        let mut after = before.clone();
        after.apply(steps.iter().flatten().cloned());
        for done in 0..=steps.len() {
            let mut interrupted = before.clone();
            interrupted.apply(steps[..done].iter().flatten().cloned());
            // A check of the stopped folder knows it for what it is, and anything else for what that is.
            let is_amid = |index: &Memory| {
                let differ: Vec<_> = index.0.iter().filter(|(key, value)| before.0.get(*key) != Some(value)).collect();
                is_amid(&mut before.clone(), steps.clone(), index, differ.into_iter().map(|(key, _)| key))
            };
            assert_eq!(is_amid(&interrupted), done > 0, "after {done} of {} steps", steps.len());
            let mut forged = interrupted.clone();
            forged.0.insert(keys::Archived(&code(1)).encode().into(), bytes::Bytes::from_static(b"forged"));
            assert!(!is_amid(&forged));
            let mut invented = interrupted.clone();
            invented.0.insert(keys::Archived(&code(9)).encode().into(), bytes::Bytes::from_static(b"invented"));
            assert!(!is_amid(&invented));
            apply_all(&mut interrupted, position.0, &fact);
            assert_eq!(interrupted, after, "after {done} of {} steps", steps.len());
        }
        let kinds: std::collections::BTreeMap<u8, usize> = after.0.keys().fold(Default::default(), |mut kinds, key| {
            *kinds.entry(key[0]).or_default() += 1;
            kinds
        });
        // Totals, aliases, keys of requests, counts of inboxes, numbers, stubs, the archive, its entry of the audit, and that two
        // dossiers were taken in.
        assert_eq!(
            kinds,
            [(2, 1), (5, 2), (6, 82), (10, 4), (11, 1), (41, 2), (42, 1), (50, 1), (66, 1), (67, 1)].into()
        );
        let totals: Totals = fetch(&after, &keys::Totals).unwrap().unwrap();
        assert_eq!((totals.dossiers, totals.archived, totals.events), (0, 2, 82));
        let stub: ArchivedState = fetch(&after, &keys::Archived(&code(1))).unwrap().unwrap();
        assert_eq!((stub.sequence, stub.documents.len(), stub.documents[69].position), (80, 70, 70));
        assert!(stub.parties.contains(&party(PORTAL).to_string()));
    }

    #[test]
    fn what_is_archived_is_neither_archived_nor_opened_again_and_no_event_follows() {
        let mut memory = closed();
        let standing = dossier(&memory, &code(1)).unwrap().unwrap().dossier;
        apply_all(&mut memory, 1_000, &archived(vec![code(1)]));
        let refused = |fact: &Fact| project(fact, Position(1_001), &memory).unwrap_err().to_string();
        assert!(refused(&archived(vec![code(1)])).contains("given before"));
        assert!(refused(&archived(vec![code(9)])).contains("never opened"));
        for event in [opened(1), progressed(&standing, at(90))] {
            let fact = Fact::of(Commit::Admission(Box::new(admission(event))), 7);
            assert!(refused(&fact).contains("archived before"));
        }
    }
}
