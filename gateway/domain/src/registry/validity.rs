//! From when until when something holds, and who takes over what has ended.
//!
//! Both end days belong to the period, as decrees write it ("từ ngày … đến hết ngày …"). Chains of successors are
//! followed by date: what ends next month has no successor today.

use std::collections::BTreeMap;

use jiff::civil::Date;

/// The days on which an entry of the registry holds, both ends included; open where an end is `None`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Validity {
    /// The first day (*ngày có hiệu lực*).
    pub from: Option<Date>,
    /// The last day.
    pub to: Option<Date>,
}

impl Validity {
    /// Whether the entry holds on that day.
    pub fn contains(self, date: Date) -> bool {
        self.from.is_none_or(|from| from <= date) && !self.is_over(date)
    }

    /// Whether its last day has passed.
    pub fn is_over(self, date: Date) -> bool {
        self.to.is_some_and(|to| to < date)
    }

    /// Whether there is a day on which both hold.
    pub fn overlaps(self, other: Self) -> bool {
        let begins_in_time = |late: Self, early: Self| match (late.from, early.to) {
            (Some(from), Some(to)) => from <= to,
            _ => true,
        };
        begins_in_time(self, other) && begins_in_time(other, self)
    }

    pub(super) fn is_never(self) -> bool {
        matches!((self.from, self.to), (Some(from), Some(to)) if to < from)
    }

    /// The days on which this validity changes the state of things: its first, and the first after its last.
    pub(super) fn turns(self) -> impl Iterator<Item = Date> {
        [self.from, self.to.and_then(|to| to.tomorrow().ok())].into_iter().flatten()
    }
}

/// Who takes over from whom, and after which day.
#[derive(Clone, Debug)]
pub(super) struct Successions<K>(BTreeMap<K, (Date, K)>);

impl<K: Clone + Ord> Successions<K> {
    /// Collects what ends and names a successor.
    pub(super) fn of(ends: impl Iterator<Item = (K, Validity, Option<K>)>) -> Self {
        Self(ends.filter_map(|(key, validity, successor)| Some((key, (validity.to?, successor?)))).collect())
    }

    /// Whoever stands in the place of `key` on that day: itself, or the last of its successors.
    ///
    /// Ends even on a circle, which validation refuses.
    pub(super) fn current<'a>(&'a self, key: &'a K, date: Date) -> &'a K {
        let mut current = key;
        for _ in 0..self.0.len() {
            match self.0.get(current) {
                Some((last, by)) if *last < date => current = by,
                _ => break,
            }
        }
        current
    }

    /// The successor that stands in the place of `key` on that day, if any has taken it.
    pub(super) fn named<'a>(&'a self, key: &'a K, date: Date) -> Option<&'a K> {
        Some(self.current(key, date)).filter(|current| *current != key)
    }

    /// Everyone whose place `key` has taken by that day, without `key` itself.
    pub(super) fn predecessors<'a>(&'a self, key: &'a K, date: Date) -> impl Iterator<Item = &'a K> {
        self.0.keys().filter(move |old| *old != key && self.current(old, date) == key)
    }

    /// Whether following the successors of `key`, whenever they take over, leads back to it.
    pub(super) fn is_circular(&self, key: &K) -> bool {
        let mut current = key;
        for _ in 0..self.0.len() {
            match self.0.get(current) {
                Some((_, by)) if by == key => return true,
                Some((_, by)) => current = by,
                None => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn validity(from: Option<Date>, to: Option<Date>) -> Validity {
        Validity { from, to }
    }

    #[test]
    fn both_end_days_belong_to_the_period() {
        let july = validity(Some(date(2025, 7, 1)), Some(date(2025, 7, 31)));
        assert!(july.contains(date(2025, 7, 1)) && july.contains(date(2025, 7, 31)));
        assert!(!july.contains(date(2025, 6, 30)) && !july.contains(date(2025, 8, 1)));
    }

    #[test]
    fn a_merger_is_followed_only_from_the_day_after_the_last() {
        let ends = [("a", validity(None, Some(date(2025, 6, 30))), Some("b")), ("b", Validity::default(), None)];
        let successions = Successions::of(ends.into_iter());
        assert_eq!(successions.current(&"a", date(2025, 6, 30)), &"a");
        assert_eq!(successions.current(&"a", date(2025, 7, 1)), &"b");
        assert_eq!(successions.predecessors(&"b", date(2025, 7, 1)).collect::<Vec<_>>(), [&"a"]);
        assert_eq!(successions.predecessors(&"b", date(2025, 6, 30)).count(), 0);
    }

    #[test]
    fn a_circle_is_seen_and_does_not_hang() {
        let end = validity(None, Some(date(2025, 6, 30)));
        let successions =
            Successions::of([("a", end, Some("b")), ("b", end, Some("a")), ("c", end, Some("a"))].into_iter());
        assert!(successions.is_circular(&"a") && successions.is_circular(&"b") && !successions.is_circular(&"c"));
        successions.current(&"a", date(2026, 1, 1));
    }

    fn any_validity() -> impl Strategy<Value = Validity> {
        let day = || proptest::option::of((1i8..=28).prop_map(|day| date(2025, 2, day)));
        (day(), day()).prop_map(|(from, to)| validity(from, to)).prop_filter("ends after it begins", |v| !v.is_never())
    }

    proptest! {
        #[test]
        fn overlapping_means_sharing_a_day(a in any_validity(), b in any_validity()) {
            let days = (31i64..90).map(|offset| date(2025, 1, 1).saturating_add(jiff::Span::new().days(offset - 2)));
            let shared = days.into_iter().any(|day| a.contains(day) && b.contains(day));
            prop_assert_eq!(a.overlaps(b), shared);
        }
    }
}
