//! What records change about deliveries: owed, taken over, given back, handed over, parked, and flowing again.
//!
//! Invariant: a delivery that is owed stands in one of the three trees and is counted there; the deliveries of a parked
//! dossier, from the one that failed on, stand in the tree of the parked ones, so that whoever reads what waits never meets
//! them. A dossier has few events, so its deliveries are found by going through them.
//!
//! Nothing here panics over a record that comes too late: what is not (any more) where it should be is passed over.

use lgsp_domain::event::Event;
use lgsp_journal::Position;
use lgsp_proto::store_v1::{self, LaneState};
use lgsp_proto::types::{DossierCode, PartyId};

use super::super::codec::deliveries::held;
use super::super::keys::{self, Owed};
use super::super::{Acknowledgement, GivenBack, Handled, Parked, ParkedAction, Stage};
use super::{Contradiction, Draft};

/// How many deliveries of different dossiers go into one step: three keys each, with the counts and the follower's mark
/// within the 64 operations that a batch of sled should have.
const DELIVERIES_PER_STEP: usize = 20;

/// How many deliveries of one dossier go into one step: two keys each, with what parks the dossier beside them.
const MOVED_PER_STEP: usize = 25;

/// How the counts of a party change.
#[derive(Default)]
struct Counted {
    waiting: i64,
    taken_over: i64,
    parked: i64,
    dossiers: i64,
}

impl Counted {
    fn of(&mut self, stage: Owed) -> &mut i64 {
        match stage {
            Owed::Waiting => &mut self.waiting,
            Owed::TakenOver => &mut self.taken_over,
            Owed::Parked => &mut self.parked,
        }
    }

    fn moved(&mut self, from: Owed, to: Owed) {
        *self.of(from) -= 1;
        *self.of(to) += 1;
    }

    fn write(self, party: &PartyId, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
        let Self { waiting, taken_over, parked, dossiers } = self;
        if (waiting, taken_over, parked, dossiers) == (0, 0, 0, 0) {
            return Ok(());
        }
        draft.update(&keys::Backlog(party), |backlog| {
            backlog.waiting = backlog.waiting.saturating_add_signed(waiting);
            backlog.taken_over = backlog.taken_over.saturating_add_signed(taken_over);
            backlog.parked_deliveries = backlog.parked_deliveries.saturating_add_signed(parked);
            backlog.parked_dossiers = backlog.parked_dossiers.saturating_add_signed(dossiers);
        })?;
        draft.update(&keys::Totals, |totals| {
            totals.waiting = totals.waiting.saturating_add_signed(waiting);
            totals.taken_over = totals.taken_over.saturating_add_signed(taken_over);
            totals.parked_deliveries = totals.parked_deliveries.saturating_add_signed(parked);
        })
    }
}

/// A new delivery: it waits, with the others of its dossier if that is parked.
pub(super) fn owe(
    party: &PartyId,
    event: &Event,
    position: Position,
    owed: store_v1::Owed,
    draft: &mut Draft<'_>,
) -> Result<(), Contradiction> {
    let stage = free_stage(&lane(party, &event.code, draft)?, event.sequence);
    draft.put(&keys::Delivery { stage, party, position: position.0 }, &owed);
    let mut counted = Counted::default();
    *counted.of(stage) += 1;
    counted.write(party, draft)
}

/// Moves deliveries on. What is not owed (any more) is passed over, so an acknowledgement may come twice.
pub(super) fn acknowledge(acknowledgement: &Acknowledgement, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let party = &acknowledgement.party;
    let holder = held(&acknowledgement.holder);
    for deliveries in acknowledgement.deliveries.chunks(DELIVERIES_PER_STEP) {
        let mut counted = Counted::default();
        let mut unparked = Vec::new();
        for (code, sequence) in deliveries {
            let mut lane = lane(party, code, draft)?;
            // Said before what it was parked for is looked for: when some of the steps are projected again it is gone, and
            // the dossier is still parked.
            if acknowledgement.stage == Stage::HandedOver && is_parked(&lane) && lane.parked_sequence == *sequence {
                unparked.push(code);
            }
            let Some((position, stage, owed)) = find(party, code, *sequence, draft)? else { continue };
            match (acknowledgement.stage, stage) {
                (Stage::TakenOver, Owed::Waiting) => {
                    draft.remove(&keys::Delivery { stage, party, position });
                    let taken = keys::Delivery { stage: Owed::TakenOver, party, position };
                    draft.put(&taken, &store_v1::Owed { held: Some(holder.clone()), ..owed });
                    lane.held = Some(holder.clone());
                    lane.taken_over += 1;
                    counted.moved(Owed::Waiting, Owed::TakenOver);
                }
                (Stage::TakenOver, Owed::TakenOver | Owed::Parked) => continue,
                (Stage::HandedOver, stage) => {
                    draft.remove(&keys::Delivery { stage, party, position });
                    *counted.of(stage) -= 1;
                    lane.taken_over -= u64::from(stage == Owed::TakenOver && lane.taken_over > 0);
                }
            }
            put_lane(party, code, lane, draft);
        }
        counted.write(party, draft)?;
        draft.finish_step();
        // The agency has what it was parked for, so there is nothing left for a person to decide.
        for code in unparked {
            flow_again(party, code, draft)?;
        }
    }
    Ok(())
}

/// Owes again what was taken over, each at its old place.
pub(super) fn give_back(given_back: &GivenBack, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let party = &given_back.party;
    for deliveries in given_back.deliveries.chunks(DELIVERIES_PER_STEP) {
        let mut counted = Counted::default();
        for (code, sequence) in deliveries {
            let Some((position, Owed::TakenOver, owed)) = find(party, code, *sequence, draft)? else { continue };
            let mut lane = lane(party, code, draft)?;
            let stage = free_stage(&lane, *sequence);
            draft.remove(&keys::Delivery { stage: Owed::TakenOver, party, position });
            draft.put(&keys::Delivery { stage, party, position }, &store_v1::Owed { held: None, ..owed });
            lane.taken_over = lane.taken_over.saturating_sub(1);
            put_lane(party, code, lane, draft);
            counted.moved(Owed::TakenOver, stage);
        }
        counted.write(party, draft)?;
        draft.finish_step();
    }
    Ok(())
}

/// Parks a dossier for a party: what waits from the failed delivery on waits for a person now.
pub(super) fn park(parked: &Parked, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let Parked { party, code, sequence, .. } = parked;
    let mut lane = lane(party, code, draft)?;
    let mut counted = Counted::default();
    // It is parked by this record already when some of its steps are projected again.
    if lane.parked_position != position.0 {
        let is_earlier = is_parked(&lane) && lane.parked_sequence <= *sequence;
        if is_earlier || find(party, code, *sequence, draft)?.is_none() {
            return Ok(());
        }
        if is_parked(&lane) {
            unlist(party, lane.parked_position, draft);
        } else {
            counted.dossiers += 1;
        }
        lane.parked_position = position.0;
        lane.parked_sequence = *sequence;
        let named = store_v1::ParkedNamed { party: party.to_string(), code: code.to_string() };
        for list in [None, Some(party)] {
            draft.put(&keys::Parked { party: list, position: position.0 }, &named);
        }
        put_lane(party, code, lane, draft);
    }
    let counted = move_all(party, code, *sequence, (Owed::Waiting, Owed::Parked), counted, draft)?;
    counted.write(party, draft)?;
    draft.finish_step();
    Ok(())
}

/// Does what a person decided about a parked dossier.
pub(super) fn handle(handled: &Handled, position: Position, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let Handled { party, code, sequence, .. } = handled;
    draft.put(&keys::Handled { party, code, position: position.0 }, &super::at(position));
    let lane = lane(party, code, draft)?;
    if is_parked(&lane) && lane.parked_sequence == *sequence {
        if handled.action == ParkedAction::Skip
            && let Some((position, Owed::Parked, _)) = find(party, code, *sequence, draft)?
        {
            draft.remove(&keys::Delivery { stage: Owed::Parked, party, position });
            Counted { parked: -1, ..Counted::default() }.write(party, draft)?;
        }
        draft.finish_step();
        flow_again(party, code, draft)?;
    }
    draft.finish_step();
    Ok(())
}

/// Ends a parking: what was parked waits again, each at its old place.
///
/// That it is over is written last, so that projecting the record again over some of the steps finds the rest.
fn flow_again(party: &PartyId, code: &DossierCode, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let parked = lane(party, code, draft)?;
    if !is_parked(&parked) {
        return Ok(());
    }
    let moving = (Owed::Parked, Owed::Waiting);
    let mut counted = move_all(party, code, parked.parked_sequence, moving, Counted::default(), draft)?;
    counted.dossiers -= 1;
    counted.write(party, draft)?;
    unlist(party, parked.parked_position, draft);
    put_lane(party, code, LaneState { parked_position: 0, parked_sequence: 0, ..parked }, draft);
    draft.finish_step();
    Ok(())
}

/// Moves the deliveries of a dossier from an event on between two trees; the last step is left to the caller to finish.
fn move_all(
    party: &PartyId,
    code: &DossierCode,
    first: u32,
    (from, to): (Owed, Owed),
    mut counted: Counted,
    draft: &mut Draft<'_>,
) -> Result<Counted, Contradiction> {
    let last = draft.fetch(&keys::Dossier(code))?.map_or(0, |dossier| dossier.sequence);
    let mut moved = 0;
    for sequence in first..=last {
        let Some((position, stage, owed)) = find(party, code, sequence, draft)? else { continue };
        if stage != from {
            continue;
        }
        if moved == MOVED_PER_STEP {
            std::mem::take(&mut counted).write(party, draft)?;
            draft.finish_step();
            moved = 0;
        }
        draft.remove(&keys::Delivery { stage: from, party, position });
        draft.put(&keys::Delivery { stage: to, party, position }, &owed);
        counted.moved(from, to);
        moved += 1;
    }
    Ok(counted)
}

/// Where a delivery stands; `None` when it is not owed.
fn find(
    party: &PartyId,
    code: &DossierCode,
    sequence: u32,
    draft: &Draft<'_>,
) -> Result<Option<(u64, Owed, store_v1::Owed)>, Contradiction> {
    let Some(recorded) = draft.fetch(&keys::Event(code, sequence))? else { return Ok(None) };
    let position = recorded.position;
    for stage in [Owed::Waiting, Owed::TakenOver, Owed::Parked] {
        if let Some(owed) = draft.fetch(&keys::Delivery { stage, party, position })? {
            return Ok(Some((position, stage, owed)));
        }
    }
    Ok(None)
}

/// Where a delivery stands that nobody has.
fn free_stage(lane: &LaneState, sequence: u32) -> Owed {
    if is_parked(lane) && sequence >= lane.parked_sequence { Owed::Parked } else { Owed::Waiting }
}

fn is_parked(lane: &LaneState) -> bool {
    lane.parked_position != 0
}

fn lane(party: &PartyId, code: &DossierCode, draft: &Draft<'_>) -> Result<LaneState, Contradiction> {
    Ok(draft.fetch(&keys::Lane(party, code))?.unwrap_or_default())
}

fn put_lane(party: &PartyId, code: &DossierCode, mut lane: LaneState, draft: &mut Draft<'_>) {
    let key = keys::Lane(party, code);
    if lane.taken_over == 0 {
        lane.held = None;
    }
    if lane == LaneState::default() { draft.remove(&key) } else { draft.put(&key, &lane) }
}

fn unlist(party: &PartyId, position: u64, draft: &mut Draft<'_>) {
    for list in [None, Some(party)] {
        draft.remove(&keys::Parked { party: list, position });
    }
}
