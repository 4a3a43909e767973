//! Adding up the counts of a few days.

use lgsp_proto::store_v1;
use prost::Message;

use super::super::follower::Follow;
use super::super::keys::{self, Counted};
use super::super::overlay::Base as _;
use super::super::*;
use super::committing::Inner;

/// Rows that are fetched at a time.
const SLICE: usize = 1_024;

impl<F: Follow> Inner<F> {
    pub(super) fn counts(&self, wanted: &CountsWanted) -> Result<CountsSum, ReadError> {
        let mut sum = CountsSum::default();
        let (first, last) = wanted.days;
        let last = last.min(first.saturating_add(DAYS_MAX - 1));
        match &wanted.of {
            CountsOf::All | CountsOf::Services(_) => {
                let to = Counted::from(last.saturating_add(1));
                self.add_up(Counted::from(first), &to, wanted, &mut sum)?;
            }
            CountsOf::Party(party) => {
                for day in first..=last {
                    let from = Counted::of(day, party);
                    let to = keys::behind(&from);
                    self.add_up(from, &to, wanted, &mut sum)?;
                }
            }
        }
        Ok(sum)
    }

    fn add_up(
        &self,
        mut from: Vec<u8>,
        to: &[u8],
        wanted: &CountsWanted,
        sum: &mut CountsSum,
    ) -> Result<(), ReadError> {
        loop {
            let slice = self.view().range(&from, to, SLICE)?;
            let is_last = slice.len() < SLICE;
            for (key, value) in slice {
                let damaged = || ReadError::Damaged(keys::describe(&key));
                let row = Counted::decode(&key).ok_or_else(damaged)?;
                let counts = store_v1::CountsState::decode(value).map_err(|_| damaged())?;
                if wants(wanted, &row) {
                    sum.enter(name(wanted.by, &row), read(&counts));
                }
                from = keys::after(key.to_vec());
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// A row's day, and its party, clerk, service and procedure.
type Row<'a> = (u32, [&'a str; 4]);

fn wants(wanted: &CountsWanted, (_, [_, _, service, _]): &Row<'_>) -> bool {
    match &wanted.of {
        CountsOf::Services(names) => names.contains(*service),
        // Dossiers are taken in through no service.
        CountsOf::All | CountsOf::Party(_) => wanted.by != CountBy::Service || !service.is_empty(),
    }
}

fn name(by: CountBy, (day, [party, clerk, service, procedure]): &Row<'_>) -> CountName {
    let some = |text: &str| Some(text.to_owned());
    let nothing = CountName::default();
    match by {
        CountBy::Clerk => CountName { party: some(party), clerk: some(clerk), ..nothing },
        CountBy::Party => CountName { party: some(party), ..nothing },
        CountBy::Procedure => CountName { procedure: some(procedure), ..nothing },
        CountBy::Service => CountName { service: some(service), ..nothing },
        CountBy::Day => CountName { day: Some(*day), ..nothing },
    }
}

fn read(counts: &store_v1::CountsState) -> Counts {
    let store_v1::CountsState { answered, refused, failed, unknown, dossiers } = *counts;
    Counts { answered, refused, failed, unknown, dossiers }
}
