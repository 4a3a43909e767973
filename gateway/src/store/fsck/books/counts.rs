//! INV-14, its second half: what is counted of a party's day is what happened on it.
//!
//! Only sums are compared: by which clerk and for which procedure stands in the records, and which of them have a row of their own is
//! the index's.

use std::collections::BTreeMap;

use super::*;
use crate::store::counts::day_of;
use crate::store::queries::Queried;

/// Questions and dossiers of each party's day.
#[derive(Default)]
pub(super) struct Counted(BTreeMap<(u32, PartyId), [u64; 2]>);

impl Counted {
    pub(super) fn question(&mut self, queried: &Queried) {
        self.0.entry((day_of(queried.asked_at), queried.party.clone())).or_default()[0] += 1;
    }

    pub(super) fn event(&mut self, admitted: &Admitted) {
        if admitted.event.opening.is_some() {
            self.0.entry((day_of(admitted.admitted_at), admitted.event.by.clone())).or_default()[1] += 1;
        }
    }

    pub(super) fn close(&self, index: &Memory, report: &mut Report) {
        let mut counted: BTreeMap<(u32, PartyId), [u64; 2]> = BTreeMap::new();
        let (from, to) = (keys::Counted::from(0), keys::behind_all(&keys::Counted::all()));
        for (key, value) in index.0.range(Bytes::from(from)..to.into()) {
            let row = keys::Counted::decode(key).and_then(|(day, [party, ..])| {
                Some(((day, party.parse().ok()?), CountsState::decode(value.clone()).ok()?))
            });
            let Some((of, counts)) = row else {
                report.found(Invariant::Query, None, format!("{} cannot be read", keys::describe(key)));
                continue;
            };
            let sums = counted.entry(of).or_default();
            sums[0] += counts.answered + counts.refused + counts.failed + counts.unknown;
            sums[1] += counts.dossiers;
        }
        for of in self.0.keys().chain(counted.keys().filter(|of| !self.0.contains_key(of))) {
            let [happened, counted] = [self.0.get(of), counted.get(of)].map(|sums| sums.copied().unwrap_or_default());
            if happened != counted {
                let (day, party) = of;
                let what = format!(
                    "{party} has {} queries and {} dossiers on day {day}, and {} and {} are counted",
                    happened[0], happened[1], counted[0], counted[1]
                );
                report.found(Invariant::Query, None, what);
            }
        }
    }
}
