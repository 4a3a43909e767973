//! When an agency works: half-days of the week, holidays, days swapped by the government, and arithmetic over them.
//!
//! Owns the question "is this a working instant, and how much working time lies between two". Does not know what a
//! limit or a dossier is ([`crate::deadline`]), nor where the dates come from (the registry reads them).
//! Invariant: nothing is guessed. A year whose holidays were not declared is an error, never a year without holidays.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use jiff::civil::{Date, DateTime, Time, Weekday, time};

/// A computation needed a year whose holidays the calendar was never told.
///
/// Nothing was computed. The holidays of a year are announced late in the year before, so a limit handed in in December
/// may need a calendar that does not exist yet: someone has to declare it, because a guess would promise a wrong day.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the working calendar does not cover the year {year}")]
pub struct CalendarNotCovering {
    /// The first year that was needed and is missing.
    pub year: i16,
}

/// One uninterrupted stretch of work (*buổi*), both ends included: at 11:30:00 sharp the desk is still open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HalfDay {
    /// When it opens, local time.
    pub opens: Time,
    /// When it closes, local time; later than `opens`.
    pub closes: Time,
}

impl HalfDay {
    /// The usual morning of a Vietnamese office, 07:00–11:30.
    pub const MORNING: Self = Self { opens: time(7, 0, 0, 0), closes: time(11, 30, 0, 0) };
    /// The usual afternoon, 13:30–17:00.
    pub const AFTERNOON: Self = Self { opens: time(13, 30, 0, 0), closes: time(17, 0, 0, 0) };

    fn contains(self, at: Time) -> bool {
        self.opens <= at && at <= self.closes
    }
}

/// Why a date does not follow its weekday.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DayKind {
    /// A statutory paid holiday (Labour Code 2019, Art. 112).
    Holiday,
    /// A rest day by swap or compensation (Labour Code 2019, Art. 111(3); the yearly notice on Tết and National Day).
    DayOff,
    /// A rest day worked in exchange for a [`DayKind::DayOff`], with the hours of an ordinary day.
    Worked,
}

/// The working time of one agency over the years it was declared for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Calendar {
    years: RangeInclusive<i16>,
    /// Hours of an ordinary day, which a swapped Saturday takes over.
    ordinary: Vec<HalfDay>,
    /// Monday first; an empty list is a rest day.
    week: [Vec<HalfDay>; 7],
    saturday_reception: Option<HalfDay>,
    days: BTreeMap<Date, DayKind>,
}

impl Calendar {
    /// Starts a calendar for these years: Monday to Friday, 07:00–11:30 and 13:30–17:00, no holiday yet.
    pub fn builder(years: RangeInclusive<i16>) -> CalendarBuilder {
        CalendarBuilder {
            years,
            ordinary: vec![HalfDay::MORNING, HalfDay::AFTERNOON],
            weekdays: Vec::new(),
            saturday_reception: None,
            days: Vec::new(),
        }
    }

    /// The years this calendar can answer for.
    pub fn years(&self) -> RangeInclusive<i16> {
        self.years.clone()
    }

    /// Whether `date` counts as a working day.
    ///
    /// # Errors
    /// `date` lies in a year that was not declared.
    pub fn is_working_day(&self, date: Date) -> Result<bool, CalendarNotCovering> {
        Ok(!self.hours(date)?.is_empty())
    }

    /// Whether `at` lies in working hours, opening and closing included.
    ///
    /// # Errors
    /// `at` lies in a year that was not declared.
    pub fn is_working_time(&self, at: DateTime) -> Result<bool, CalendarNotCovering> {
        Ok(self.hours(at.date())?.iter().any(|half| half.contains(at.time())))
    }

    /// The earliest working instant not before `at`: `at` itself in working hours, otherwise the next opening.
    ///
    /// # Errors
    /// No opening lies between `at` and the end of the declared years.
    pub fn next_opening(&self, at: DateTime) -> Result<DateTime, CalendarNotCovering> {
        first_open(at, |date| self.hours(date))
    }

    /// The earliest instant not before `at` at which the desk takes dossiers in: working hours and
    /// [`CalendarBuilder::saturday_reception`].
    ///
    /// # Errors
    /// No such instant lies between `at` and the end of the declared years.
    pub fn next_reception(&self, at: DateTime) -> Result<DateTime, CalendarNotCovering> {
        first_open(at, |date| match self.hours(date)? {
            [] => Ok(self.reception_only(date)),
            hours => Ok(hours),
        })
    }

    /// When work ends on `date`, or nothing on a rest day.
    ///
    /// # Errors
    /// `date` lies in a year that was not declared.
    pub fn closing(&self, date: Date) -> Result<Option<DateTime>, CalendarNotCovering> {
        Ok(self.hours(date)?.last().map(|half| date.to_datetime(half.closes)))
    }

    /// The `count`-th working day after `date`, `date` itself not counted; `date` when `count` is zero.
    ///
    /// # Errors
    /// That day lies beyond the declared years.
    pub fn working_day_after(&self, date: Date, count: u16) -> Result<Date, CalendarNotCovering> {
        let (mut date, mut left) = (date, count);
        while left > 0 {
            date = tomorrow(date)?;
            if self.is_working_day(date)? {
                left -= 1;
            }
        }
        Ok(date)
    }

    /// How much working time lies between two instants; none when `to` is not later than `from`.
    ///
    /// # Errors
    /// The stretch between them leaves the declared years.
    pub fn working_time(&self, from: DateTime, to: DateTime) -> Result<Duration, CalendarNotCovering> {
        let mut worked = Duration::ZERO;
        let mut date = from.date();
        while date.to_datetime(Time::midnight()) < to {
            for half in self.hours(date)? {
                let opens = date.to_datetime(half.opens).max(from);
                let closes = date.to_datetime(half.closes).min(to);
                if opens < closes {
                    worked += closes.duration_since(opens).unsigned_abs();
                }
            }
            date = tomorrow(date)?;
        }
        Ok(worked)
    }

    /// The earliest instant by which `span` of working time has passed since `from`; `from` itself when `span` is zero.
    ///
    /// What ends with the working day ends at its closing, not at the opening of the next one.
    ///
    /// # Errors
    /// The span does not fit into the declared years.
    pub fn after_working_time(&self, from: DateTime, span: Duration) -> Result<DateTime, CalendarNotCovering> {
        if span.is_zero() {
            return Ok(from);
        }
        let (mut date, mut left) = (from.date(), span);
        loop {
            for half in self.hours(date)? {
                let starts = date.to_datetime(half.opens).max(from);
                let closes = date.to_datetime(half.closes);
                if closes <= starts {
                    continue;
                }
                let available = closes.duration_since(starts).unsigned_abs();
                if left <= available {
                    return Ok(starts.saturating_add(left));
                }
                left -= available;
            }
            date = tomorrow(date)?;
        }
    }

    /// The working instant that stands for a reception at `at` in limits counted in working time.
    ///
    /// In working hours it is `at`, outside them the next opening. Where that is a reception-only Saturday morning it
    /// is the closing before: the desk did receive that day, so the first working day after it counts whole, yet no
    /// dossier handed in on Saturday is due before one handed in on Friday.
    ///
    /// # Errors
    /// That instant lies outside the declared years.
    pub fn counts_from(&self, at: DateTime) -> Result<DateTime, CalendarNotCovering> {
        let received = self.next_reception(at)?;
        let mut date = received.date();
        if self.is_working_day(date)? {
            return Ok(received);
        }
        loop {
            date = yesterday(date)?;
            if let Some(closing) = self.closing(date)? {
                return Ok(closing);
            }
        }
    }

    /// The morning on which the desk merely receives, if this rest day is a Saturday like any other.
    fn reception_only(&self, date: Date) -> &[HalfDay] {
        match &self.saturday_reception {
            Some(morning) if date.weekday() == Weekday::Saturday && !self.days.contains_key(&date) => {
                std::slice::from_ref(morning)
            }
            _ => &[],
        }
    }

    fn hours(&self, date: Date) -> Result<&[HalfDay], CalendarNotCovering> {
        if !self.years.contains(&date.year()) {
            return Err(CalendarNotCovering { year: date.year() });
        }
        Ok(match self.days.get(&date) {
            Some(DayKind::Holiday | DayKind::DayOff) => &[],
            Some(DayKind::Worked) => &self.ordinary,
            None => &self.week[weekday_index(date.weekday())],
        })
    }
}

/// Collects what the registry declares and checks it as a whole.
#[derive(Clone, Debug)]
pub struct CalendarBuilder {
    years: RangeInclusive<i16>,
    ordinary: Vec<HalfDay>,
    weekdays: Vec<(Weekday, Vec<HalfDay>)>,
    saturday_reception: Option<HalfDay>,
    days: Vec<(Date, DayKind)>,
}

impl CalendarBuilder {
    /// The hours of an ordinary day, Monday to Friday, and of swapped Saturdays.
    pub fn hours(mut self, half_days: impl IntoIterator<Item = HalfDay>) -> Self {
        self.ordinary = half_days.into_iter().collect();
        self
    }

    /// Other working hours for one weekday; none makes it a rest day. A Saturday given hours here is a working day.
    pub fn weekday(mut self, weekday: Weekday, half_days: impl IntoIterator<Item = HalfDay>) -> Self {
        self.weekdays.push((weekday, half_days.into_iter().collect()));
        self
    }

    /// A Saturday morning on which dossiers are taken in but no working day is counted, as commune police publish for
    /// residence ("thứ 2 đến thứ 6 và sáng thứ 7").
    ///
    /// The limits of those procedures are still published in working days of eight hours, so half a morning does not
    /// count as one; an agency that does count it declares Saturday with [`CalendarBuilder::weekday`].
    pub fn saturday_reception(mut self, morning: HalfDay) -> Self {
        self.saturday_reception = Some(morning);
        self
    }

    /// A date that does not follow its weekday.
    pub fn day(mut self, date: Date, kind: DayKind) -> Self {
        self.days.push((date, kind));
        self
    }

    /// Many of them, in any order.
    pub fn days(mut self, days: impl IntoIterator<Item = (Date, DayKind)>) -> Self {
        self.days.extend(days);
        self
    }

    /// Checks the declaration and makes the calendar.
    ///
    /// # Errors
    /// Every problem found, not just the first.
    pub fn build(self) -> Result<Calendar, Vec<CalendarProblem>> {
        let mut problems = Vec::new();
        if self.years.is_empty() {
            problems.push(CalendarProblem::NoYears);
        }
        let week = self.week(&mut problems);
        let days = self.exceptions(&mut problems);
        if well_ordered(&self.ordinary).is_none() {
            problems.push(CalendarProblem::OrdinaryHours);
        }
        if let Some(morning) = self.saturday_reception {
            if morning.closes <= morning.opens {
                problems.push(CalendarProblem::Hours { weekday: Weekday::Saturday });
            }
            if !week[weekday_index(Weekday::Saturday)].is_empty() {
                problems.push(CalendarProblem::SaturdayTwice);
            }
        }
        if week.iter().all(Vec::is_empty) {
            problems.push(CalendarProblem::NoWorkingDay);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let Self { years, ordinary, saturday_reception, .. } = self;
        Ok(Calendar { years, ordinary, week, saturday_reception, days })
    }

    fn week(&self, problems: &mut Vec<CalendarProblem>) -> [Vec<HalfDay>; 7] {
        let mut week: [Vec<HalfDay>; 7] = Default::default();
        week[..5].fill(self.ordinary.clone());
        for (weekday, half_days) in &self.weekdays {
            if !half_days.is_empty() && well_ordered(half_days).is_none() {
                problems.push(CalendarProblem::Hours { weekday: *weekday });
            }
            week[weekday_index(*weekday)] = half_days.clone();
        }
        week
    }

    fn exceptions(&self, problems: &mut Vec<CalendarProblem>) -> BTreeMap<Date, DayKind> {
        let mut days = BTreeMap::new();
        for &(date, kind) in &self.days {
            if !self.years.contains(&date.year()) {
                problems.push(CalendarProblem::OutsideYears { date });
            }
            if days.insert(date, kind).is_some_and(|before| before != kind) {
                problems.push(CalendarProblem::Contradiction { date });
            }
        }
        days
    }
}

/// What is wrong with a declared calendar.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CalendarProblem {
    /// The range of years is empty.
    #[error("no year is covered")]
    NoYears,
    /// No weekday has working hours, so no limit would ever end.
    #[error("no weekday has working hours")]
    NoWorkingDay,
    /// The ordinary hours are missing, or a half-day ends before it begins, or two overlap or stand in the wrong order.
    #[error("the ordinary working hours are empty, overlap or are out of order")]
    OrdinaryHours,
    /// The same for the hours of one weekday.
    #[error("the working hours of {weekday:?} overlap or are out of order")]
    Hours {
        /// The weekday whose hours are wrong.
        weekday: Weekday,
    },
    /// Saturday is declared both as a working day and as a morning of reception only.
    #[error("Saturday has both working hours and a reception-only morning")]
    SaturdayTwice,
    /// A date outside the years the calendar says it covers: one of the two is a slip of the pen.
    #[error("{date} lies outside the covered years")]
    OutsideYears {
        /// The date in question.
        date: Date,
    },
    /// A date is declared twice, differently.
    #[error("{date} is declared twice, differently")]
    Contradiction {
        /// The date in question.
        date: Date,
    },
}

/// The earliest instant not before `at` within these hours, ends included.
fn first_open<'a>(
    at: DateTime,
    hours: impl Fn(Date) -> Result<&'a [HalfDay], CalendarNotCovering>,
) -> Result<DateTime, CalendarNotCovering> {
    let (mut date, mut not_before) = (at.date(), at.time());
    loop {
        if let Some(half) = hours(date)?.iter().find(|half| not_before <= half.closes) {
            return Ok(date.to_datetime(not_before.max(half.opens)));
        }
        (date, not_before) = (tomorrow(date)?, Time::midnight());
    }
}

/// Proves that the half-days are there, in order and apart, or answers nothing.
fn well_ordered(half_days: &[HalfDay]) -> Option<()> {
    let each = half_days.iter().all(|half| half.opens < half.closes);
    let apart = half_days.windows(2).all(|pair| pair[0].closes <= pair[1].opens);
    (!half_days.is_empty() && each && apart).then_some(())
}

fn weekday_index(weekday: Weekday) -> usize {
    usize::from(weekday.to_monday_zero_offset().unsigned_abs())
}

fn tomorrow(date: Date) -> Result<Date, CalendarNotCovering> {
    date.tomorrow().map_err(|_| CalendarNotCovering { year: date.year() + 1 })
}

fn yesterday(date: Date) -> Result<Date, CalendarNotCovering> {
    date.yesterday().map_err(|_| CalendarNotCovering { year: date.year() - 1 })
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::civil::date;

    use super::*;

    /// The national calendar of 2025 and 2026 as the government announced it.
    pub(crate) fn national() -> CalendarBuilder {
        let days = include_str!("../tests/data/holidays_2025_2026.csv").lines().skip(2).map(|line| {
            let (date, rest) = line.split_once(',').unwrap();
            let kind = match rest.split_once(',').unwrap().0 {
                "holiday" => DayKind::Holiday,
                "day_off" => DayKind::DayOff,
                "working_day" => DayKind::Worked,
                other => panic!("unknown kind of day {other}"),
            };
            (date.parse().unwrap(), kind)
        });
        Calendar::builder(2025..=2026).days(days)
    }

    fn calendar() -> Calendar {
        national().build().unwrap()
    }

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_swapped_saturday_is_worked_and_its_friday_is_not() {
        assert_eq!(calendar().is_working_day(date(2025, 4, 26)), Ok(true));
        assert_eq!(calendar().is_working_day(date(2025, 5, 2)), Ok(false));
        assert_eq!(calendar().is_working_day(date(2025, 4, 19)), Ok(false));
        assert_eq!(calendar().closing(date(2025, 4, 26)), Ok(Some(at("2025-04-26 17:00"))));
    }

    #[test]
    fn closing_time_sharp_is_still_open_and_a_second_later_is_tomorrow() {
        assert_eq!(calendar().next_opening(at("2025-07-14 17:00")), Ok(at("2025-07-14 17:00")));
        assert_eq!(calendar().next_opening(at("2025-07-14 17:00:01")), Ok(at("2025-07-15 07:00")));
        assert_eq!(calendar().next_opening(at("2025-07-14 11:30:01")), Ok(at("2025-07-14 13:30")));
        assert_eq!(calendar().next_opening(at("2025-07-14 05:00")), Ok(at("2025-07-14 07:00")));
    }

    #[test]
    fn working_time_skips_lunch_nights_and_holidays() {
        let calendar = calendar();
        assert_eq!(calendar.working_time(at("2025-07-14 11:00"), at("2025-07-14 14:00")), Ok(HOUR));
        assert_eq!(calendar.working_time(at("2025-08-29 16:00"), at("2025-09-03 08:00")), Ok(2 * HOUR));
        assert_eq!(calendar.working_time(at("2025-07-14 00:00"), at("2025-07-16 00:00")), Ok(16 * HOUR));
        assert_eq!(calendar.working_time(at("2025-07-15 09:00"), at("2025-07-14 09:00")), Ok(Duration::ZERO));
    }

    #[test]
    fn what_ends_with_the_day_ends_at_closing() {
        assert_eq!(calendar().after_working_time(at("2025-07-14 07:00"), 8 * HOUR), Ok(at("2025-07-14 17:00")));
        assert_eq!(calendar().after_working_time(at("2025-07-14 17:00"), HOUR), Ok(at("2025-07-15 08:00")));
    }

    #[test]
    fn leaving_the_declared_years_is_an_error_and_not_a_guess() {
        let calendar = calendar();
        let missing = Err(CalendarNotCovering { year: 2027 });
        assert_eq!(calendar.working_day_after(date(2026, 12, 30), 5).map(drop), missing);
        assert_eq!(calendar.after_working_time(at("2026-12-31 16:00"), 2 * HOUR).map(drop), missing);
        assert_eq!(calendar.working_time(at("2026-12-31 16:00"), at("2027-01-04 09:00")).map(drop), missing);
        assert_eq!(calendar.next_opening(at("2026-12-31 17:01")).map(drop), missing);
        assert_eq!(calendar.is_working_day(date(2024, 12, 31)), Err(CalendarNotCovering { year: 2024 }));
    }

    #[test]
    fn midnight_at_the_end_of_the_last_year_needs_no_further_year() {
        assert_eq!(calendar().working_time(at("2026-12-31 16:00"), at("2027-01-01 00:00")), Ok(HOUR));
    }

    #[test]
    fn a_reception_only_saturday_stands_for_the_closing_before_it() {
        let police = national().saturday_reception(HalfDay::MORNING).build().unwrap();
        assert_eq!(police.is_working_day(date(2025, 7, 19)), Ok(false));
        assert_eq!(police.next_reception(at("2025-07-18 17:05")), Ok(at("2025-07-19 07:00")));
        for instant in ["2025-07-18 17:05", "2025-07-19 05:00", "2025-07-19 09:00"] {
            assert_eq!(police.counts_from(at(instant)), Ok(at("2025-07-18 17:00")));
        }
        assert_eq!(police.counts_from(at("2025-07-19 12:00")), Ok(at("2025-07-21 07:00")));
        // A worked Saturday is an ordinary day, and one declared a day off has no reception.
        assert_eq!(police.counts_from(at("2025-04-26 09:00")), Ok(at("2025-04-26 09:00")));
        let closed = national().saturday_reception(HalfDay::MORNING).day(date(2025, 7, 19), DayKind::DayOff);
        assert_eq!(closed.build().unwrap().counts_from(at("2025-07-19 09:00")), Ok(at("2025-07-21 07:00")));
    }

    #[test]
    fn a_bad_declaration_names_every_problem() {
        let backwards = HalfDay { opens: time(12, 0, 0, 0), closes: time(8, 0, 0, 0) };
        let problems = Calendar::builder(2025..=2025)
            .hours([HalfDay::AFTERNOON, HalfDay::MORNING])
            .weekday(Weekday::Saturday, [backwards])
            .saturday_reception(HalfDay::MORNING)
            .day(date(2026, 1, 1), DayKind::Holiday)
            .day(date(2025, 1, 1), DayKind::Holiday)
            .day(date(2025, 1, 1), DayKind::Worked)
            .build()
            .unwrap_err();
        assert_eq!(
            problems,
            [
                CalendarProblem::Hours { weekday: Weekday::Saturday },
                CalendarProblem::OutsideYears { date: date(2026, 1, 1) },
                CalendarProblem::Contradiction { date: date(2025, 1, 1) },
                CalendarProblem::OrdinaryHours,
                CalendarProblem::SaturdayTwice,
            ]
        );
        #[expect(clippy::reversed_empty_ranges, reason = "the mistake under test")]
        let empty = Calendar::builder(2026..=2025).hours([]).build();
        let expected = vec![CalendarProblem::NoYears, CalendarProblem::OrdinaryHours, CalendarProblem::NoWorkingDay];
        assert_eq!(empty, Err(expected));
    }
}
