//! The numbers given out by this process, ahead of what is recorded.
//!
//! A number taken is never taken again, whether or not the dossier it was for was ever admitted. The counters begin where
//! the index ends, so a restart gives out again only what was never recorded and therefore never answered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::civil::Date;
use lgsp_domain::numbering::Counter;
use lgsp_proto::types::PartyId;

use super::ReadError;

/// How many counters are kept before those are let go of that the index knows as well: a province has a few hundred
/// authorities, and yesterday's counters are rarely asked again.
const KEPT: usize = 4_096;

/// The counters in use.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<HashMap<(PartyId, Date), Counter>>);

impl Counters {
    /// Takes from the counter of `authority` on `day`, which `recorded` fetches from the index if it is not at hand.
    pub(super) fn take<T, E>(
        &self,
        authority: &PartyId,
        day: Date,
        recorded: impl Fn(&PartyId, Date) -> Result<Counter, ReadError>,
        take: impl FnOnce(&mut Counter) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<ReadError>,
    {
        // Nothing panics while it holds the lock; the index is read under it so that two callers cannot both begin.
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (authority.clone(), day);
        if !counters.contains_key(&key) {
            if counters.len() >= KEPT {
                // What the index knows can be fetched again; a counter that knows more must stay, or a number would be given twice.
                counters.retain(|(authority, day), counter| {
                    recorded(authority, *day).map_or(true, |known| *counter != known)
                });
            }
            let known = recorded(authority, day)?;
            counters.insert(key.clone(), known);
        }
        let counter = counters.entry(key).or_default();
        take(counter)
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use lgsp_domain::numbering::LAST_NUMBER;

    use super::super::NumberError;
    use super::*;

    #[test]
    fn letting_go_of_counters_never_gives_a_number_twice() {
        let counters = Counters::default();
        let authority: PartyId = "H57.1".parse().unwrap();
        let first = Date::constant(2000, 1, 1);
        // Half of the days were recorded up to what was taken, the other half had a commit fail.
        let recorded = |_: &PartyId, day: Date| {
            let mut counter = Counter::default();
            counter.saw(u32::from(day.day() % 2 == 0));
            Ok(counter)
        };
        let take = |day: Date| {
            let taken =
                counters.take(&authority, day, recorded, |counter| Ok::<_, NumberError>(counter.take(LAST_NUMBER)?));
            taken.unwrap()
        };
        let day = |number: usize| first.checked_add((number as i64).days()).unwrap();
        let before: Vec<u32> = (0..KEPT).map(|number| take(day(number))).collect();
        take(day(KEPT));
        for (number, taken) in before.into_iter().enumerate() {
            assert_eq!(take(day(number)), taken + 1, "on {}", day(number));
        }
    }
}
