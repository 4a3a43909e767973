//! When the business clock stands still for a moment: the steps in which the demo moves it on.
//!
//! At each tick everybody does what is due by then. 14 July goes by half hours; later days, on which less happens, by three
//! ticks each, and only on working days.

use anyhow::Context as _;
use jiff::civil::{Date, DateTime, date, time};
use jiff::{Span, ToSpan};
use lgsp_domain::calendar::Calendar;

/// The day that is replayed.
pub(super) const DAY: Date = date(2025, 7, 14);
/// Where the business clock stands when the gateway starts.
pub(super) const START: DateTime = DAY.at(7, 0, 0, 0);
/// The evening for which the first figures are given; nothing is received on the day after it.
pub(super) const EVENING: DateTime = DAY.at(22, 0, 0, 0);

/// The ticks, in order.
#[derive(Clone, Debug)]
pub(super) struct Ticks(Vec<DateTime>);

impl Ticks {
    /// Those from the morning of the day to the evening of `until`.
    ///
    /// # Errors
    /// The calendar does not know a year on the way.
    pub(super) fn new(until: Date, calendar: &Calendar) -> anyhow::Result<Self> {
        let mut ticks = Vec::new();
        let mut at = START + Span::new().minutes(30);
        while at.time() <= time(17, 30, 0, 0) {
            ticks.push(at);
            at += Span::new().minutes(30);
        }
        ticks.extend([DAY.at(19, 0, 0, 0), DAY.at(20, 30, 0, 0), EVENING]);
        let mut day = DAY.tomorrow()?;
        while day <= until {
            if calendar.is_working_day(day).context("the registry's calendar ends before the demo does")? {
                ticks.extend([day.at(10, 0, 0, 0), day.at(14, 30, 0, 0), day.at(17, 30, 0, 0)]);
            }
            day = day.checked_add(1.day())?;
        }
        Ok(Self(ticks))
    }

    /// Every tick.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = DateTime> {
        self.0.iter().copied()
    }

    /// The tick at which what is due at `at` is done; none when that is after the end.
    pub(super) fn at_or_after(&self, at: DateTime) -> Option<DateTime> {
        self.0.get(self.0.partition_point(|tick| *tick < at)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar() -> Calendar {
        Calendar::builder(2025..=2025).build().unwrap()
    }

    #[test]
    fn the_day_goes_by_half_hours_and_the_weekend_is_left_out() {
        let ticks = Ticks::new(date(2025, 7, 21), &calendar()).unwrap();
        assert_eq!(ticks.iter().next(), Some(date(2025, 7, 14).at(7, 30, 0, 0)));
        assert_eq!(ticks.iter().filter(|tick| tick.date() == DAY).count(), 24);
        assert!(ticks.iter().all(|tick| tick.date().day() != 19 && tick.date().day() != 20));
        assert_eq!(ticks.iter().last(), Some(date(2025, 7, 21).at(17, 30, 0, 0)));
    }

    #[test]
    fn a_time_is_done_at_the_next_tick_and_after_the_end_never() {
        let ticks = Ticks::new(date(2025, 7, 15), &calendar()).unwrap();
        let noon = DAY.at(12, 0, 0, 0);
        assert_eq!(ticks.at_or_after(noon), Some(noon));
        assert_eq!(ticks.at_or_after(DAY.at(22, 0, 1, 0)), Some(date(2025, 7, 15).at(10, 0, 0, 0)));
        assert_eq!(ticks.at_or_after(date(2025, 7, 15).at(17, 30, 1, 0)), None);
    }
}
