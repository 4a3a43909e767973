//! Counts by day, party, clerk, service and procedure: of what was asked, and of dossiers taken in.
//!
//! Days are those of the machine clock, for both, so that they can be held against each other. A party has so many rows on one day;
//! what would be another is counted without its clerk and procedure.

use lgsp_proto::store_v1::CountsState;
use lgsp_proto::types::PartyId;

use super::super::counts::{ROWS_OF_A_DAY, day_of};
use super::super::keys;
use super::super::queries::{End, Queried};
use super::{Admitted, Contradiction, Draft};

pub(super) fn ask(queried: &Queried, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let procedure = queried.procedure.as_ref().map_or("", |code| code.as_str());
    let row = keys::Counted {
        day: day_of(queried.asked_at),
        party: &queried.party,
        actor: queried.actor.as_str(),
        service: &queried.service,
        procedure,
    };
    count(row, draft, |counts| match queried.end() {
        End::Answered => counts.answered += 1,
        End::Refused => counts.refused += 1,
        End::Failed => counts.failed += 1,
        End::Unknown => counts.unknown += 1,
    })
}

pub(super) fn take_in(admitted: &Admitted, draft: &mut Draft<'_>) -> Result<(), Contradiction> {
    let Some(opening) = &admitted.event.opening else { return Ok(()) };
    let row = keys::Counted {
        day: day_of(admitted.admitted_at),
        party: &admitted.event.by,
        actor: admitted.event.actor.as_str(),
        service: "",
        procedure: opening.procedure.as_str(),
    };
    count(row, draft, |counts| counts.dossiers += 1)
}

fn count(
    row: keys::Counted<'_>,
    draft: &mut Draft<'_>,
    change: impl FnOnce(&mut CountsState),
) -> Result<(), Contradiction> {
    if draft.fetch(&row)?.is_none() && !has_place(row.day, row.party, draft)? {
        return draft.update(&keys::Counted { actor: "", procedure: "", ..row }, change);
    }
    draft.update(&row, change)
}

/// Whether the party's day has one row more, which is taken.
fn has_place(day: u32, party: &PartyId, draft: &mut Draft<'_>) -> Result<bool, Contradiction> {
    let key = keys::CountedRows { day, party };
    let mut counted = draft.fetch(&key)?.unwrap_or_default();
    if counted.rows >= ROWS_OF_A_DAY {
        return Ok(false);
    }
    counted.rows += 1;
    draft.put(&key, &counted);
    Ok(true)
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use lgsp_journal::Position;

    use super::super::super::codec::Fact;
    use super::super::super::contract::sample::{DESK, asked, party};
    use super::super::super::overlay::Memory;
    use super::super::{fetch, project};
    use super::*;

    #[test]
    fn clerks_that_are_made_up_take_so_many_rows_and_every_question_stays_counted() {
        let mut memory = Memory::default();
        let mut ask = |number: u32, clerk: u32| {
            let mut queried = asked(u128::from(number).to_be_bytes(), None).envelope;
            queried.actor = format!("cb.{clerk}").parse().unwrap();
            let fact = Fact::Queried(Box::new(queried));
            let steps = project(&fact, Position(u64::from(number)), &memory).unwrap();
            memory.apply(steps.into_iter().flatten());
        };
        for number in 1..=ROWS_OF_A_DAY + 20 {
            ask(number, number);
        }
        // Whoever has a row keeps it.
        ask(ROWS_OF_A_DAY + 21, 7);
        let desk = party(DESK);
        let day = day_of(asked([0; 16], None).envelope.asked_at);
        let row = |actor: &str, procedure: &str| {
            let row = keys::Counted { day, party: &desk, actor, service: "dan-cu", procedure };
            fetch(&memory, &row).unwrap().map(|counts| counts.answered)
        };
        assert_eq!((row("cb.7", "1.001193"), row("cb.1000", "1.001193")), (Some(2), Some(1)));
        assert_eq!((row("cb.1001", "1.001193"), row("", "")), (None, Some(20)));
        let rows = fetch(&memory, &keys::CountedRows { day, party: &desk }).unwrap().unwrap().rows;
        assert_eq!(rows, ROWS_OF_A_DAY);
    }
}
