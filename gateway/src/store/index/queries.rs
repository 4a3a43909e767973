//! Queries in the index: found by name, listed by party and by the key of their dossier; and the matters that wait for one.

use lgsp_journal::Position;
use lgsp_proto::store_v1;

use super::super::codec::unix_ms;
use super::super::keys;
use super::super::queries::{MatterLapsed, Queried, intake_digest};
use super::{Admitted, Contradiction, Draft, at, dossier};

pub(super) fn ask(queried: &Queried, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    draft.put_new(&keys::Query(&queried.id), &at(position))?;
    let listed = store_v1::Listed {};
    draft.put(&keys::QueryListed { party: None, position: position.0 }, &listed);
    draft.put(&keys::QueryListed { party: Some(&queried.party), position: position.0 }, &listed);
    super::counts::ask(queried, draft)?;
    if queried.key_id == 0 {
        return Ok(());
    }
    draft.put(&keys::QueryUnder { key_id: queried.key_id, position: position.0 }, &listed);
    let sealed_by = match (&queried.dossier, &queried.intake) {
        (Some(code), _) => dossier(draft, code)?.map(|held| held.key_id),
        (None, Some(intake)) => {
            let key = keys::Matter(&queried.party, intake);
            let matter = draft.fetch(&key)?;
            if matter.is_none() {
                let since_unix_ms = unix_ms(queried.asked_at);
                let state =
                    store_v1::MatterState { key_id: queried.key_id, since_unix_ms, dossier_code: String::new() };
                draft.put(&key, &state);
                let open = keys::OpenMatter { since_ms: since_unix_ms, party: &queried.party, intake };
                draft.put(&open, &listed);
            }
            matter.map(|matter| matter.key_id)
        }
        (None, None) => None,
    };
    // A dossier that was archived meanwhile says nothing any more.
    match sealed_by.is_none_or(|key| key == queried.key_id) {
        true => Ok(()),
        false => Err(Contradiction::OtherMatter),
    }
}

/// The dossier that was asked about has come in: from here on its matter is found by it.
pub(super) fn come_in(admitted: &Admitted, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let (party, intake) = (&admitted.event.by, intake_digest(&admitted.request_key));
    let key = keys::Matter(party, &intake);
    let Some(mut matter) = draft.fetch(&key)? else { return Ok(()) };
    if matter.key_id != admitted.key_id || !matter.dossier_code.is_empty() {
        return Err(Contradiction::OtherMatter);
    }
    draft.remove(&keys::OpenMatter { since_ms: matter.since_unix_ms, party, intake: &intake });
    matter.dossier_code = admitted.event.code.to_string();
    draft.put(&key, &matter);
    Ok(())
}

pub(super) fn lapse(lapsed: &MatterLapsed, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let key = keys::Matter(&lapsed.party, &lapsed.intake);
    let open = draft.fetch(&key)?.filter(|matter| matter.dossier_code.is_empty() && matter.key_id == lapsed.key_id);
    let Some(matter) = open else { return Err(Contradiction::OtherMatter) };
    draft.remove(&key);
    draft.remove(&keys::OpenMatter { since_ms: matter.since_unix_ms, party: &lapsed.party, intake: &lapsed.intake });
    draft.put(&keys::LapsedMatter(position.0), &store_v1::LapsedState { key_id: lapsed.key_id });
    Ok(())
}
