//! How often was asked, and how many dossiers were taken in, as the port tells it: added up from the index, by day.
//!
//! Names parties, accounts, services and procedures, never a citizen. A row more for a party and day than [`ROWS_OF_A_DAY`] is counted
//! without its clerk and procedure, so sums by party, service and day stay whole whatever somebody makes up as names of clerks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use lgsp_proto::types::PartyId;

use super::codec;

/// Rows that a party has on one day. Answers a system that names a new clerk with every question.
pub const ROWS_OF_A_DAY: u32 = 1_000;

/// Days of one sum.
pub const DAYS_MAX: u32 = 100;

/// Lines of one sum; what comes behind them is added up in one more.
pub const LINES_MAX: usize = 5_000;

/// What is added up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CountBy {
    /// Each clerk of each party.
    Clerk,
    /// Each party.
    Party,
    /// Each procedure.
    Procedure,
    /// Each service.
    Service,
    /// Each day.
    Day,
}

/// Whose counts are wanted.
#[derive(Clone, Debug)]
pub enum CountsOf {
    /// Everybody's.
    All,
    /// Those of a party.
    Party(PartyId),
    /// Those of services, by name, whoever asked. Dossiers are none of them.
    Services(BTreeSet<String>),
}

/// Which counts are wanted.
#[derive(Clone, Debug)]
pub struct CountsWanted {
    /// Whose.
    pub of: CountsOf,
    /// Added up how.
    pub by: CountBy,
    /// The first and the last day, in days since 1970-01-01 in Vietnam. At most [`DAYS_MAX`] of them are looked at.
    pub days: (u32, u32),
}

/// How often was asked, with which end, and how many dossiers were taken in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Answered.
    pub answered: u64,
    /// The service gave a reason, and was well.
    pub refused: u64,
    /// The service failed.
    pub failed: u64,
    /// Asked, and nobody knows what became of it.
    pub unknown: u64,
    /// Dossiers taken in.
    pub dossiers: u64,
}

impl Counts {
    /// Adds what another row says.
    pub fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.dossiers += other.dossiers;
    }
}

/// What a line is about; what it is not about is absent.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct CountName {
    /// The day.
    pub day: Option<u32>,
    /// The party.
    pub party: Option<String>,
    /// The clerk. Empty for those of a party that are counted without their names.
    pub clerk: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// The procedure. Empty for none, and for those that are counted without their codes.
    pub procedure: Option<String>,
}

/// The sum.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CountsSum {
    /// Line by line, in the order of their names.
    pub lines: BTreeMap<CountName, Counts>,
    /// What has no line of its own any more.
    pub others: Counts,
}

impl CountsSum {
    /// Adds a row to its line.
    pub(super) fn enter(&mut self, name: CountName, counts: Counts) {
        if let Some(line) = self.lines.get_mut(&name) {
            return line.add(counts);
        }
        if self.lines.len() == LINES_MAX {
            return self.others.add(counts);
        }
        self.lines.insert(name, counts);
    }
}

/// The day of a moment in Vietnam, in days since 1970-01-01; the first one for anything before it.
pub fn day_of(at: SystemTime) -> u32 {
    const DAY_MS: i64 = 24 * 3600 * 1_000;
    let in_vietnam = codec::unix_ms(at).saturating_add(7 * 3600 * 1_000);
    u32::try_from(in_vietnam.div_euclid(DAY_MS)).unwrap_or(if in_vietnam < 0 { 0 } else { u32::MAX })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_vietnam() {
        let at = |seconds| day_of(UNIX_EPOCH + Duration::from_secs(seconds));
        // 2025-07-13T16:59:59Z and a second later, which is the 14th there.
        assert_eq!((at(1_752_425_999), at(1_752_426_000)), (20_282, 20_283));
        assert_eq!(day_of(UNIX_EPOCH - Duration::from_secs(7 * 24 * 3600)), 0);
    }

    #[test]
    fn a_sum_has_so_many_lines_and_loses_nothing() {
        let (mut sum, one) = (CountsSum::default(), Counts { answered: 1, ..Counts::default() });
        for round in 0..2 {
            for number in 0..LINES_MAX + 3 {
                let clerk = Some(format!("cb.{number:05}"));
                sum.enter(CountName { clerk, ..CountName::default() }, one);
            }
            assert_eq!((sum.lines.len(), sum.others.answered), (LINES_MAX, 3 * (round + 1)));
        }
        assert!(sum.lines.values().all(|line| line.answered == 2));
    }
}
