//! Numbers of dossier codes: given in the name of the competent authority, per business day, never twice.
//!
//! A [`Counter`] is the state of one authority's day. Numbers are taken one by one, or leased to a desk in blocks, so
//! that a desk can give out real codes while its line is down. Numbers may be left unused; none is used twice
//! (TT 03/2025/TT-VPCP and the practice since QĐ 20/2020: the code is issued in the competent authority's name).

use std::ops::{Range, RangeInclusive};

use lgsp_proto::types::{Date, PartyId};

/// The largest number of a day: the code's last part has four digits and widens to five.
pub const LAST_NUMBER: u32 = 99_999;

/// The numbers one authority has given out on one business day.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counter {
    /// The highest number taken or leased.
    highest: u32,
    leases: Vec<Lease>,
}

/// A block of numbers that only one desk may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The desk.
    pub desk: PartyId,
    /// Its numbers.
    pub numbers: Range<u32>,
}

/// Days on which numbers were given out that the books no longer know: they were restored from a backup.
///
/// What was given out between the backup and the loss cannot be known, so on these days the gateway's own numbers go on
/// beyond it. Codes that come back with a receipt keep theirs, wherever they lie.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NumberZone {
    /// The days concerned.
    pub days: RangeInclusive<Date>,
    /// The first number that may be given out on them.
    pub from: u32,
}

impl NumberZone {
    /// The highest number of `day` that is not to be given out any more; 0 when the day is not concerned.
    pub fn floor(&self, day: Date) -> u32 {
        if self.days.contains(&day) { self.from.saturating_sub(1) } else { 0 }
    }

    /// Where numbers go on above `known`, the highest one that the books know on the days concerned: at the next block of
    /// [`NumberZone::BLOCK`], so that a restored day can be told by looking, and at least [`NumberZone::ROOM`] beyond it.
    ///
    /// # Errors
    /// [`Exhausted`] when no such block is left below [`LAST_NUMBER`].
    pub fn beyond(known: u32) -> Result<u32, Exhausted> {
        let block = known.saturating_add(Self::ROOM) / Self::BLOCK + 1;
        let from = block.saturating_mul(Self::BLOCK).saturating_add(1);
        if from <= LAST_NUMBER { Ok(from) } else { Err(Exhausted) }
    }

    /// How long the blocks are.
    pub const BLOCK: u32 = 10_000;

    /// How many numbers of one authority's day may have been given out and lost, at least: more than any authority takes in on
    /// a day, and than its desks lease ahead.
    pub const ROOM: u32 = 5_000;
}

/// The authority has no numbers left for the day.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the numbers of the day are used up")]
pub struct Exhausted;

impl Counter {
    /// The highest number taken or leased so far; 0 when none was.
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// The blocks leased so far.
    pub fn leases(&self) -> &[Lease] {
        &self.leases
    }

    /// Takes the next number.
    ///
    /// # Errors
    /// [`Exhausted`] beyond [`LAST_NUMBER`]; nothing was taken.
    pub fn take(&mut self) -> Result<u32, Exhausted> {
        let next = self.highest.checked_add(1).filter(|next| *next <= LAST_NUMBER).ok_or(Exhausted)?;
        self.highest = next;
        Ok(next)
    }

    /// Leases the next `count` numbers to `desk`.
    ///
    /// # Errors
    /// [`Exhausted`] when the block does not fit below [`LAST_NUMBER`]; nothing was leased.
    pub fn lease(&mut self, desk: PartyId, count: u32) -> Result<Range<u32>, Exhausted> {
        let first = self.highest + 1;
        let last = self.highest.checked_add(count).filter(|last| *last <= LAST_NUMBER).ok_or(Exhausted)?;
        self.highest = last;
        self.leases.push(Lease { desk, numbers: first..last + 1 });
        Ok(first..last + 1)
    }

    /// Whether `number` was leased to `desk`.
    pub fn is_leased_to(&self, desk: &PartyId, number: u32) -> bool {
        self.leases.iter().any(|lease| lease.desk == *desk && lease.numbers.contains(&number))
    }

    /// Replays a number seen in a record; never lowers what is known.
    pub fn saw(&mut self, number: u32) {
        self.highest = self.highest.max(number);
    }

    /// Replays a lease seen in a record.
    pub fn saw_lease(&mut self, lease: Lease) {
        self.highest = self.highest.max(lease.numbers.end.saturating_sub(1));
        self.leases.push(lease);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(id: &str) -> PartyId {
        id.parse().unwrap()
    }

    #[test]
    fn a_number_is_taken_once_whatever_is_leased_in_between() {
        let mut counter = Counter::default();
        assert_eq!(counter.take(), Ok(1));
        assert_eq!(counter.lease(desk("H57.101"), 3), Ok(2..5));
        assert_eq!(counter.take(), Ok(5));
        assert!(counter.is_leased_to(&desk("H57.101"), 4));
        assert!(!counter.is_leased_to(&desk("H57.101"), 5));
        assert!(!counter.is_leased_to(&desk("H57.102"), 4));
    }

    #[test]
    fn the_day_ends_at_five_digits_and_takes_nothing_more() {
        let mut counter = Counter::default();
        counter.saw(LAST_NUMBER - 1);
        assert_eq!(counter.lease(desk("H57.101"), 2), Err(Exhausted));
        assert_eq!(counter.take(), Ok(LAST_NUMBER));
        assert_eq!(counter.take(), Err(Exhausted));
        assert_eq!(counter.highest(), LAST_NUMBER);
    }

    #[test]
    fn a_restored_day_goes_on_in_a_later_block_with_room_for_what_was_lost() {
        for (known, from) in
            [(0, 10_001), (37, 10_001), (4_999, 10_001), (5_000, 20_001), (9_999, 20_001), (10_001, 20_001)]
        {
            assert_eq!(NumberZone::beyond(known), Ok(from), "above {known}");
        }
        assert_eq!(NumberZone::beyond(LAST_NUMBER), Err(Exhausted));
        let day = |day| Date::constant(2025, 7, day);
        let zone = NumberZone { days: day(14)..=day(17), from: 10_001 };
        assert_eq!([13, 14, 17, 18].map(|of| zone.floor(day(of))), [0, 10_000, 10_000, 0]);
    }

    #[test]
    fn replaying_in_any_order_never_lowers_the_counter() {
        let mut counter = Counter::default();
        counter.saw(9);
        counter.saw(4);
        counter.saw_lease(Lease { desk: desk("H57.101"), numbers: 2..4 });
        assert_eq!(counter.take(), Ok(10));
    }
}
