//! Numbers of dossier codes: given in the name of the competent authority, per business day, never twice.
//!
//! A [`Counter`] is the state of one authority's day. Numbers are taken one by one, or leased to a desk in blocks
//! ([`DeskBlocks`]), so that a desk can give out real codes while its line is down; an authority whose own software numbers
//! its intakes keeps a range that the counter never enters. Numbers may be left unused; none is used twice
//! (TT 03/2025/TT-VPCP and the practice since QĐ 20/2020: the code is issued in the competent authority's name).

use std::ops::{Range, RangeInclusive};

use lgsp_proto::types::Date;

/// The largest number of a day: the code's last part has four digits and widens to five.
pub const LAST_NUMBER: u32 = 99_999;

/// Spools of one desk that may hold numbers at once, each as many as one may hold: some installations side by side, or one that
/// lost its disk a few times. Answers software that opens a new spool at every start.
const SPOOLS_OF_A_DESK: u32 = 4;

/// Blocks with numbers left that one desk may hold of an authority's day; they are read and written together. Answers a desk
/// that leases numbers one by one.
const BLOCKS_OF_A_DESK: usize = 256;

/// Who chose a dossier's number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NumberSource {
    /// Not recorded: the dossier is from before this was kept, and its number counts as taken.
    Unrecorded,
    /// The gateway's counter.
    Taken,
    /// A desk, from a block leased to it.
    Leased,
    /// The authority's own software, from the range that the registry leaves to it.
    Own,
}

/// The identity of the spool that gives out a block's numbers; another one does not know which were given out.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SpoolId([u8; 16]);

impl SpoolId {
    /// The identity in these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The numbers one authority has given out on one business day.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counter {
    /// The highest number taken or leased.
    highest: u32,
    /// The highest number that may have been taken or leased and is not known any more ([`NumberZone`]).
    floor: u32,
    /// The lowest number that the authority chose itself.
    own_from: Option<u32>,
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

/// There is no number left that may be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the numbers of the day are used up")]
pub struct Exhausted;

/// The number was taken or leased before, or could have been.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the number was given out before")]
pub struct Given;

impl Counter {
    /// A counter that stands where it is known to stand.
    pub const fn at(highest: u32, own_from: Option<u32>) -> Self {
        Self { highest, floor: 0, own_from }
    }

    /// The same, giving out no number up to `floor`.
    pub const fn above(self, floor: u32) -> Self {
        Self { floor, ..self }
    }

    /// The highest number taken or leased so far, as far as is known; 0 when none was.
    pub const fn highest(&self) -> u32 {
        self.highest
    }

    /// The lowest number that the authority has chosen itself. The counter stays below it whatever the registry says by
    /// now: a range that was given up later has numbers in it that are in use.
    pub const fn own_from(&self) -> Option<u32> {
        self.own_from
    }

    /// Takes the next number, at most `last`.
    ///
    /// # Errors
    /// [`Exhausted`]; nothing was taken.
    pub fn take(&mut self, last: u32) -> Result<u32, Exhausted> {
        self.next(1, last).map(|numbers| numbers.start)
    }

    /// Takes a block of the next numbers, at most `last`: `count` of them, or as many as there are.
    ///
    /// # Errors
    /// [`Exhausted`] when there is none; nothing was taken.
    pub fn lease(&mut self, count: u32, last: u32) -> Result<Range<u32>, Exhausted> {
        self.next(count, last)
    }

    fn next(&mut self, count: u32, last: u32) -> Result<Range<u32>, Exhausted> {
        let own = self.own_from.map_or(LAST_NUMBER, |own| own.saturating_sub(1));
        let before = self.highest.max(self.floor);
        let left = last.min(own).min(LAST_NUMBER).saturating_sub(before).min(count);
        if left == 0 {
            return Err(Exhausted);
        }
        self.highest = before + left;
        Ok(before + 1..before + left + 1)
    }

    /// Leaves `number` to the authority, which has chosen it itself. What may have been lost does not stand against it: the
    /// counter was never in a range of the authority's own, and its software knows what it has chosen.
    ///
    /// # Errors
    /// [`Given`] when the counter is known to have passed it; nothing changed.
    pub fn leave_to_authority(&mut self, number: u32) -> Result<(), Given> {
        if number <= self.highest {
            return Err(Given);
        }
        self.saw_own(number);
        Ok(())
    }

    /// Replays a number that was taken or leased; never lowers what is known.
    pub fn saw(&mut self, number: u32) {
        self.highest = self.highest.max(number);
    }

    /// Replays a number that the authority chose itself.
    pub fn saw_own(&mut self, number: u32) {
        self.own_from = Some(self.own_from.map_or(number, |lowest| lowest.min(number)));
    }
}

/// A block of numbers that only one desk may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// The spool that gives them out; `None` on a block from before this was kept.
    pub spool: Option<SpoolId>,
    /// The epoch in which it is good: a restore begins another one and voids it.
    pub epoch: u32,
    /// The numbers.
    pub numbers: Range<u32>,
    /// How many dossiers have come in under them.
    pub used: u32,
}

impl Block {
    /// How many of its numbers no dossier has come in under.
    pub fn unused(&self) -> u32 {
        self.numbers.end.saturating_sub(self.numbers.start).saturating_sub(self.used)
    }
}

/// The blocks of one desk, of one authority's day, in the order they were leased. A block whose numbers have all come in is let
/// go of, and a block that goes on where the one before it ends is one with it, so that the list stays short.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeskBlocks(Vec<Block>);

impl DeskBlocks {
    /// Blocks as they were kept.
    pub fn of(blocks: Vec<Block>) -> Self {
        Self(blocks)
    }

    /// The blocks that have numbers left.
    pub fn as_slice(&self) -> &[Block] {
        &self.0
    }

    /// Whether `number` is in a block of `epoch`.
    pub fn has(&self, number: u32, epoch: u32) -> bool {
        self.0.iter().any(|block| block.epoch == epoch && block.numbers.contains(&number))
    }

    /// Replays a lease.
    pub fn leased(&mut self, spool: Option<SpoolId>, epoch: u32, numbers: Range<u32>) {
        match self.0.last_mut() {
            Some(last) if (last.spool, last.epoch, last.numbers.end) == (spool, epoch, numbers.start) => {
                last.numbers.end = numbers.end;
            }
            _ => self.0.push(Block { spool, epoch, numbers, used: 0 }),
        }
    }

    /// Replays a dossier that came in under one of the numbers.
    pub fn used(&mut self, number: u32) {
        if let Some(at) = self.0.iter().position(|block| block.numbers.contains(&number)) {
            self.0[at].used += 1;
            if self.0[at].unused() == 0 {
                self.0.remove(at);
            }
        }
    }
}

/// How many numbers are leased, and how far ahead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LeaseLimits {
    /// Calendar days after today for which numbers are leased.
    pub days: u32,
    /// The largest block.
    pub block: u32,
    /// How many numbers a spool may hold, of one authority's day, that no dossier has come in under.
    pub hold: u32,
}

impl Default for LeaseLimits {
    /// Today and three days, which on a Friday is the weekend and Monday; blocks of 200; a thousand held, more than the busiest
    /// desk takes in for one authority in a day.
    fn default() -> Self {
        Self { days: 3, block: 200, hold: 1_000 }
    }
}

impl LeaseLimits {
    /// How many of `more` numbers may be added to what a desk holds.
    pub fn grantable(&self, held: &[Block], spool: SpoolId, more: u32) -> u32 {
        if held.len() >= BLOCKS_OF_A_DESK {
            return 0;
        }
        let unused = |blocks: &mut dyn Iterator<Item = &Block>| -> u32 { blocks.map(Block::unused).sum() };
        let of_spool = unused(&mut held.iter().filter(|block| block.spool == Some(spool)));
        let of_desk = unused(&mut held.iter());
        let room = self.hold.saturating_sub(of_spool);
        let room = room.min(self.hold.saturating_mul(SPOOLS_OF_A_DESK).saturating_sub(of_desk));
        more.min(self.block).min(room)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_taken_once_whatever_is_leased_in_between() {
        let mut counter = Counter::default();
        assert_eq!(counter.take(LAST_NUMBER), Ok(1));
        assert_eq!(counter.lease(3, LAST_NUMBER), Ok(2..5));
        assert_eq!(counter.take(LAST_NUMBER), Ok(5));
    }

    #[test]
    fn the_day_ends_at_five_digits_and_a_lease_gives_what_is_left() {
        let mut counter = Counter::at(LAST_NUMBER - 2, None);
        assert_eq!(counter.lease(9, LAST_NUMBER), Ok(LAST_NUMBER - 1..LAST_NUMBER + 1));
        assert_eq!(counter.lease(1, LAST_NUMBER), Err(Exhausted));
        assert_eq!(counter.take(u32::MAX), Err(Exhausted));
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
        assert_eq!(counter.take(LAST_NUMBER), Ok(10));
    }

    #[test]
    fn a_number_of_the_authority_never_raises_the_counter_and_is_never_reached_by_it() {
        let mut counter = Counter::at(3, None);
        assert_eq!(counter.leave_to_authority(3), Err(Given));
        counter.leave_to_authority(50_007).unwrap();
        counter.leave_to_authority(50_001).unwrap();
        assert_eq!(counter.take(LAST_NUMBER), Ok(4));
        // The registry has taken the range back; the numbers in use stay out of reach.
        counter.saw(49_999);
        assert_eq!(counter.lease(9, LAST_NUMBER), Ok(50_000..50_001));
        assert_eq!(counter.take(LAST_NUMBER), Err(Exhausted));
    }

    #[test]
    fn a_restored_day_leaves_its_low_numbers_to_nobody_but_an_authority_that_chooses_itself() {
        let mut counter = Counter::at(40, None).above(10_000);
        assert_eq!(counter.highest(), 40, "what may have been given out is not known to have been");
        assert_eq!(counter.leave_to_authority(40), Err(Given));
        assert_eq!(counter.take(5_000), Err(Exhausted));
        assert_eq!((counter.take(LAST_NUMBER), counter.lease(2, LAST_NUMBER)), (Ok(10_001), Ok(10_002..10_004)));
        assert_eq!(counter.leave_to_authority(10_003), Err(Given));
        let mut low = Counter::at(40, None).above(10_000);
        low.leave_to_authority(5_001).unwrap();
        assert_eq!(low.take(LAST_NUMBER), Err(Exhausted));
    }

    #[test]
    fn a_block_is_good_in_its_epoch_only_and_leaves_when_all_of_it_has_come_in() {
        let mut blocks = DeskBlocks::default();
        blocks.leased(Some(MINE), 1, 1..3);
        blocks.leased(Some(MINE), 1, 3..4);
        blocks.leased(None, 1, 4..5);
        assert!(blocks.has(3, 1) && !blocks.has(3, 2) && !blocks.has(5, 1));
        assert_eq!(blocks.as_slice().len(), 2, "what goes on where the last one ends is one block");
        blocks.used(2);
        assert_eq!(blocks.as_slice()[0].unused(), 2);
        blocks.used(1);
        blocks.used(3);
        let [left] = blocks.as_slice() else { panic!("one block is left: {blocks:?}") };
        assert_eq!(left.numbers, 4..5);
    }

    const MINE: SpoolId = SpoolId::new([1; 16]);

    fn held(blocks: &[(u8, u32, u32)]) -> Vec<Block> {
        let block = |&(spool, count, used): &(u8, u32, u32)| Block {
            spool: Some(SpoolId::new([spool; 16])),
            epoch: 1,
            numbers: 1..count + 1,
            used,
        };
        blocks.iter().map(block).collect()
    }

    #[test]
    fn a_spool_gets_no_more_than_a_block_and_no_more_than_it_may_hold() {
        let limits = LeaseLimits { days: 3, block: 20, hold: 50 };
        let grantable = |blocks: &[(u8, u32, u32)], more| limits.grantable(&held(blocks), MINE, more);
        assert_eq!(grantable(&[], 7), 7);
        assert_eq!(grantable(&[], 70), 20);
        assert_eq!(grantable(&[(1, 40, 0)], 70), 10);
        assert_eq!(grantable(&[(1, 40, 15)], 70), 20, "what has come in is no hoard");
        assert_eq!(grantable(&[(1, 50, 0)], 1), 0);
        // A desk whose disk died begins anew, but not for ever.
        assert_eq!(grantable(&[(2, 50, 0)], 70), 20);
        assert_eq!(grantable(&[(2, 50, 0), (3, 50, 0), (4, 50, 0), (5, 45, 0)], 70), 5);
        assert_eq!(grantable(&[(1, 2, 1); BLOCKS_OF_A_DESK], 1), 0);
    }

    #[derive(Clone, Copy, Debug)]
    enum Move {
        Take,
        Lease(u32),
        Own(u32),
        /// The process is killed: what was not recorded is forgotten.
        Crash,
    }

    fn moves() -> impl Strategy<Value = Vec<(Move, bool)>> {
        let one = prop_oneof![
            4 => Just(Move::Take),
            2 => (1u32..9).prop_map(Move::Lease),
            2 => (1u32..80).prop_map(Move::Own),
            1 => Just(Move::Crash),
        ];
        prop::collection::vec((one, any::<bool>()), 1..80)
    }

    proptest! {
        /// Whatever is taken, leased and chosen, recorded or not, under a range that moves: no recorded number twice.
        #[test]
        fn no_number_is_recorded_twice(
            moves in moves(),
            lasts in prop::collection::vec(1u32..70, 1..5),
            floor in prop_oneof![Just(0), 1u32..40],
        ) {
            let (mut live, mut recorded) = (Counter::default().above(floor), Counter::default().above(floor));
            let mut used = std::collections::BTreeSet::new();
            for (at, (one, is_recorded)) in moves.into_iter().enumerate() {
                let last = lasts[at % lasts.len()];
                match one {
                    Move::Take => if let (Ok(number), true) = (live.take(last), is_recorded) {
                        prop_assert!(number > floor, "{} may have been lost", number);
                        prop_assert!(used.insert(number), "{} was taken twice", number);
                        recorded.saw(number);
                    },
                    // A lease that was not recorded was not answered either.
                    Move::Lease(count) => if let (Ok(numbers), true) = (live.lease(count, last), is_recorded) {
                        for number in numbers {
                            prop_assert!(used.insert(number), "{} was leased again", number);
                            recorded.saw(number);
                        }
                    },
                    // That one dossier has one code, the store sees to; here a number chosen twice is refused by hand.
                    Move::Own(number) => if !used.contains(&number) && live.leave_to_authority(number).is_ok() && is_recorded {
                        used.insert(number);
                        recorded.saw_own(number);
                    },
                    Move::Crash => live = recorded,
                }
            }
        }
    }
}
