//! The numbers this spool may give out by itself: blocks that the gateway leased to it, and its own provisional ones.
//!
//! Pure; no clock, so that no clock set wrongly ever makes a number come twice. The invariant: a number is given out once,
//! whatever crashes. It counts as used as soon as a durable call carries it; between giving and writing it is held back in
//! memory, and nobody has been told of it yet.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use lgsp_proto::spool_v1::BlockLeased;
use lgsp_proto::types::{Date, DossierCode};

/// How many days behind the newest leased one are remembered. Far more than a reception may lie back, and counted from a
/// day that the gateway leased for: by then it has long stopped leasing for what is forgotten.
const KEPT_DAYS: i32 = 60;

/// The numbers of all desks of the spool.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    blocks: BTreeMap<Place, Vec<Block>>,
    /// The next provisional number of a desk's day.
    provisional: BTreeMap<(Arc<str>, i32), u32>,
    /// The newest epoch seen; blocks of earlier ones are void.
    epoch: u32,
}

/// Whose numbers, in whose name, of which day.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    desk: Arc<str>,
    authority: Arc<str>,
    day: i32,
}

/// A leased block, and the first of it that was not given out.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: u32,
    count: u32,
    epoch: u32,
    next: u32,
}

impl Block {
    fn end(self) -> u32 {
        self.first.saturating_add(self.count)
    }

    fn holds(self, number: u32) -> bool {
        (self.first..self.end()).contains(&number)
    }

    fn left(self) -> u32 {
        self.end().saturating_sub(self.next)
    }
}

impl Numbers {
    /// Takes note of a durable block, or of how far one was used up. Says whether it was news.
    pub(crate) fn leased(&mut self, leased: &BlockLeased) -> bool {
        if leased.authority.is_empty() {
            self.used_provisional(&leased.desk, leased.day, leased.next.saturating_sub(1));
            return false;
        }
        self.seen_epoch(leased.epoch);
        let place = Place { desk: (&*leased.desk).into(), authority: (&*leased.authority).into(), day: leased.day };
        let blocks = self.blocks.entry(place).or_default();
        let news = Block {
            first: leased.first,
            count: leased.count,
            epoch: leased.epoch,
            next: leased.next.max(leased.first),
        };
        match blocks.iter_mut().find(|block| block.first == news.first && block.epoch == news.epoch) {
            Some(known) => {
                known.next = known.next.max(news.next);
                return false;
            }
            None => blocks.push(news),
        }
        self.forget();
        true
    }

    /// What of a block is not on record yet, as blocks. The gateway may tell several that go on from one another as one, and
    /// leave out what has come in: numbers are compared, not blocks.
    pub(crate) fn news_of(&self, told: &BlockLeased) -> Vec<BlockLeased> {
        let place = Place { desk: (&*told.desk).into(), authority: (&*told.authority).into(), day: told.day };
        let known = self.blocks.get(&place).map(Vec::as_slice).unwrap_or_default();
        let mut known: Vec<_> = known.iter().filter(|block| block.epoch == told.epoch).collect();
        known.sort_unstable_by_key(|block| block.first);
        let part = |first: u32, end: u32| BlockLeased { first, count: end - first, next: first, ..told.clone() };
        let (mut from, end) = (told.first, told.first.saturating_add(told.count));
        let mut news = Vec::new();
        for block in known {
            if block.first > from && from < end {
                news.push(part(from, block.first.min(end)));
            }
            from = from.max(block.end());
        }
        if from < end {
            news.push(part(from, end));
        }
        news
    }

    /// Takes note of an epoch: what was leased in earlier ones is void.
    pub(crate) fn seen_epoch(&mut self, epoch: u32) {
        self.epoch = self.epoch.max(epoch);
    }

    /// The newest epoch seen; 0 before the first.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A durable call carries this code, so neither it nor a lower one of its block is given out any more.
    pub(crate) fn used(&mut self, desk: &str, code: &DossierCode) {
        let Some(blocks) = self.blocks.get_mut(&place(desk, code.party().as_str(), code.date())) else { return };
        for block in blocks.iter_mut().filter(|block| block.holds(code.number())) {
            block.next = block.next.max(code.number() + 1);
        }
    }

    /// As [`Numbers::used`], for a provisional number.
    pub(crate) fn used_provisional(&mut self, desk: &str, day: i32, number: u32) {
        let next = self.provisional.entry((desk.into(), day)).or_insert(1);
        *next = (*next).max(number.saturating_add(1));
    }

    /// Gives out the next number; `None` when no block has one left.
    pub(crate) fn take(&mut self, desk: &str, authority: &str, day: Date) -> Option<u32> {
        let epoch = self.epoch;
        let blocks = self.blocks.get_mut(&place(desk, authority, day))?;
        let block = blocks.iter_mut().find(|block| block.epoch == epoch && block.left() > 0)?;
        let number = block.next;
        block.next += 1;
        Some(number)
    }

    /// Gives out the next provisional number of a desk's day.
    pub(crate) fn take_provisional(&mut self, desk: &str, day: Date) -> u32 {
        let next = self.provisional.entry((desk.into(), day_number(day))).or_insert(1);
        let number = *next;
        *next += 1;
        number
    }

    /// How many numbers are left.
    pub(crate) fn left(&self, desk: &str, authority: &str, day: Date) -> u32 {
        let blocks = self.blocks.get(&place(desk, authority, day)).map(Vec::as_slice).unwrap_or_default();
        blocks.iter().filter(|block| block.epoch == self.epoch).map(|block| block.left()).sum()
    }

    /// The numbers left over all, by desk, authority and day, for the days asked for.
    pub(crate) fn overview(&self, days: RangeInclusive<Date>) -> Vec<(Arc<str>, Arc<str>, Date, u32)> {
        let (from, to) = (day_number(*days.start()), day_number(*days.end()));
        let in_days = self.blocks.keys().filter(|place| (from..=to).contains(&place.day));
        let line = |place: &Place| {
            let day = date_of(place.day)?;
            Some((place.desk.clone(), place.authority.clone(), day, self.left(&place.desk, &place.authority, day)))
        };
        in_days.filter_map(line).collect()
    }

    /// Whether numbers of any of these days were leased or given out, of whatever epoch.
    pub(crate) fn know_any_of(&self, days: RangeInclusive<Date>) -> bool {
        let days = day_number(*days.start())..=day_number(*days.end());
        let mut known = self.blocks.keys().map(|place| place.day).chain(self.provisional.keys().map(|(_, day)| *day));
        known.any(|day| days.contains(&day))
    }

    /// Whether this spool gives out that number itself, or has done so; then nobody else may.
    pub(crate) fn holds(&self, code: &DossierCode) -> bool {
        let day = day_number(code.date());
        let of_day =
            self.blocks.iter().filter(|(place, _)| place.day == day && &*place.authority == code.party().as_str());
        of_day.flat_map(|(_, blocks)| blocks).any(|block| block.holds(code.number()))
    }

    /// What a restart needs to know beyond the calls, as records.
    pub(crate) fn marks(&self) -> Vec<BlockLeased> {
        let leased = self.blocks.iter().flat_map(|(place, blocks)| blocks.iter().map(move |block| (place, *block)));
        let leased = leased.map(|(place, block)| BlockLeased {
            desk: place.desk.to_string(),
            authority: place.authority.to_string(),
            day: place.day,
            first: block.first,
            count: block.count,
            epoch: block.epoch,
            next: block.next,
        });
        let provisional = self.provisional.iter().map(|((desk, day), next)| BlockLeased {
            desk: desk.to_string(),
            day: *day,
            next: *next,
            ..BlockLeased::default()
        });
        leased.chain(provisional).collect()
    }

    /// Lets go of days that nobody can take a dossier in for any more.
    fn forget(&mut self) {
        let Some(newest) = self.blocks.keys().map(|place| place.day).max() else { return };
        self.blocks.retain(|place, _| place.day >= newest - KEPT_DAYS);
        self.provisional.retain(|(_, day), _| *day >= newest - KEPT_DAYS);
    }
}

fn place(desk: &str, authority: &str, day: Date) -> Place {
    Place { desk: desk.into(), authority: authority.into(), day: day_number(day) }
}

const EPOCH_DAY: Date = Date::constant(1970, 1, 1);

/// Days since 1970-01-01, as blocks are recorded.
pub(crate) fn day_number(day: Date) -> i32 {
    i32::try_from(day.duration_since(EPOCH_DAY).as_hours() / 24).expect("a date lies within the calendar")
}

fn date_of(day: i32) -> Option<Date> {
    EPOCH_DAY.checked_add(jiff::Span::new().try_days(day).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Date = Date::constant(2025, 7, 14);

    fn block(first: u32, count: u32, epoch: u32) -> BlockLeased {
        BlockLeased {
            desk: "H57.101".into(),
            authority: "H57.12".into(),
            day: day_number(DAY),
            first,
            count,
            epoch,
            next: first,
        }
    }

    fn take(numbers: &mut Numbers) -> Option<u32> {
        numbers.take("H57.101", "H57.12", DAY)
    }

    #[test]
    fn numbers_are_given_out_once_block_after_block() {
        let mut numbers = Numbers::default();
        assert_eq!(take(&mut numbers), None);
        assert!(numbers.leased(&block(5, 2, 1)) && numbers.leased(&block(20, 1, 1)));
        assert_eq!(numbers.left("H57.101", "H57.12", DAY), 3);
        assert_eq!([take(&mut numbers), take(&mut numbers), take(&mut numbers)], [Some(5), Some(6), Some(20)]);
        assert_eq!(take(&mut numbers), None);
        // The same block again, as a gateway lists it that knows nothing of what was given out.
        assert!(!numbers.leased(&block(5, 2, 1)));
        assert_eq!(take(&mut numbers), None);
        // Another desk, authority or day has its own.
        assert_eq!(numbers.take("H57.102", "H57.12", DAY), None);
    }

    #[test]
    fn a_used_number_is_never_given_out_whatever_order_the_records_come_in() {
        let mut numbers = Numbers::default();
        numbers.leased(&block(5, 10, 1));
        numbers.used("H57.101", &"H57.12-250714-0007".parse().unwrap());
        assert_eq!(take(&mut numbers), Some(8));
        let marks = numbers.marks();
        let mut restarted = Numbers::default();
        for mark in &marks {
            restarted.leased(mark);
        }
        assert_eq!(take(&mut restarted), Some(9));
        assert!(restarted.holds(&"H57.12-250714-0005".parse().unwrap()));
        assert!(!restarted.holds(&"H57.12-250714-0004".parse().unwrap()));
        assert!(!restarted.holds(&"H57.12-250715-0005".parse().unwrap()));
    }

    #[test]
    fn of_what_the_gateway_tells_only_new_numbers_count() {
        let mut numbers = Numbers::default();
        let news = |numbers: &Numbers, told: BlockLeased| -> Vec<_> {
            numbers.news_of(&told).iter().map(|block| (block.first, block.count, block.next)).collect()
        };
        assert_eq!(news(&numbers, block(5, 3, 1)), [(5, 3, 5)]);
        numbers.leased(&block(5, 3, 1));
        numbers.leased(&block(20, 2, 1));
        take(&mut numbers);
        assert_eq!(news(&numbers, block(5, 3, 1)), []);
        // Told as one with what follows, or without what has come in, or around what is known.
        assert_eq!(news(&numbers, block(5, 6, 1)), [(8, 3, 8)]);
        assert_eq!(news(&numbers, block(6, 2, 1)), []);
        assert_eq!(news(&numbers, block(6, 20, 1)), [(8, 12, 8), (22, 4, 22)]);
        assert_eq!(news(&numbers, block(1, 3, 1)), [(1, 3, 1)]);
        assert_eq!(news(&numbers, block(5, 3, 2)), [(5, 3, 5)]);
    }

    #[test]
    fn a_new_epoch_voids_the_blocks_of_the_former() {
        let mut numbers = Numbers::default();
        numbers.leased(&block(5, 10, 1));
        numbers.seen_epoch(2);
        assert_eq!((take(&mut numbers), numbers.left("H57.101", "H57.12", DAY)), (None, 0));
        numbers.leased(&block(10_001, 10, 2));
        assert_eq!(take(&mut numbers), Some(10_001));
        // One of before that arrives late changes nothing.
        numbers.leased(&block(30, 10, 1));
        assert_eq!(take(&mut numbers), Some(10_002));
    }

    #[test]
    fn provisional_numbers_go_on_after_a_restart() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.take_provisional("H57.101", DAY), 1);
        assert_eq!(numbers.take_provisional("H57.101", DAY), 2);
        let mut restarted = Numbers::default();
        for mark in numbers.marks() {
            restarted.leased(&mark);
        }
        assert_eq!(restarted.take_provisional("H57.101", DAY), 3);
        assert_eq!(restarted.take_provisional("H57.102", DAY), 1);
    }

    #[test]
    fn days_are_forgotten_only_when_the_gateway_is_long_past_them() {
        let mut numbers = Numbers::default();
        numbers.leased(&block(1, 5, 1));
        let later = |days: i32| BlockLeased { day: day_number(DAY) + days, ..block(1, 5, 1) };
        numbers.leased(&later(KEPT_DAYS));
        assert_eq!(numbers.marks().len(), 2);
        numbers.leased(&later(KEPT_DAYS + 1));
        assert_eq!(numbers.marks().len(), 2);
        assert_eq!(take(&mut numbers), None);
    }

    #[test]
    fn a_day_is_a_number_and_back() {
        assert_eq!((day_number(EPOCH_DAY), day_number(Date::constant(1970, 1, 2))), (0, 1));
        assert_eq!(date_of(day_number(DAY)), Some(DAY));
        assert_eq!(day_number(Date::constant(1969, 12, 31)), -1);
    }
}
