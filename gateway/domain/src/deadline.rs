//! How long an authority may take: limits, the dates they lead to, and the clock of one dossier ([`clock`]).
//!
//! Pure arithmetic over a [`Calendar`]; limits and policies come from the registry, instants from the caller.
//! Invariant: a due date lies in working hours, and nothing here ever moves one to an earlier date.
//!
//! A day of eight working hours is Art. 105 of the Labour Code 2019; that the day of reception is not counted and
//! that a term ending on a rest day moves to the next working day is the Civil Code 2015, Art. 147(2) and 148(5). The
//! Civil Code lets the last day run out to its end; the receipt prints an hour instead, that of the reception, which
//! is no later on a day of ordinary hours.

pub mod clock;

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, time};

use crate::calendar::{Calendar, CalendarNotCovering};

pub use clock::Clock;

/// The published time limit of a procedure, for one case and one channel.
///
/// Counts are positive; the registry refuses a limit of zero, which here would be due the moment it starts to count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// So many working days (*ngày làm việc*).
    WorkingDays(u16),
    /// So many calendar days (*ngày*); one that ends on a rest day moves to the next working day.
    CalendarDays(u16),
    /// So many working hours.
    WorkingHours(u16),
    /// Within the working day; the next one when received after `cutoff`.
    ///
    /// "Trả kết quả trong ngày làm việc; nếu tiếp nhận sau 15 giờ thì trả kết quả trong ngày làm việc tiếp theo", as
    /// civil-status procedures publish it (e.g. 1.001193). The cut-off moves the result; the reception keeps its date.
    SameDay {
        /// The last instant at which a reception still means today.
        cutoff: Time,
    },
    /// No limit is published: there is nothing to be late for.
    Unlimited,
}

impl Limit {
    /// The same-day limit with the usual cut-off of 15:00.
    pub const SAME_DAY: Self = Self::SameDay { cutoff: CUTOFF };
}

/// The hour after which a day's reception is tomorrow's work.
const CUTOFF: Time = time(15, 0, 0, 0);

/// Working hours within which an online filing must be accepted, refused or sent back for a supplement.
///
/// "Không quá 08 giờ làm việc kể từ khi Hệ thống thông tin giải quyết thủ tục hành chính tiếp nhận" (e.g. procedure
/// 1.003198), under NĐ 118/2025/NĐ-CP Art. 17.
const ACCEPTANCE: Limit = Limit::WorkingHours(8);

/// When a dossier received at `received` is due; nothing for [`Limit::Unlimited`].
///
/// A reception outside working hours counts from the next opening. The day of reception is not counted, and the due
/// time of day is that of the (so corrected) reception; where the day it falls on has other hours, the next opening.
///
/// A later reception is never due earlier, with one exception that follows from the rule itself: calendar days that
/// end on a rest day keep their hour on the working day after it, where a later reception may have an earlier hour.
///
/// # Errors
/// The calendar does not know a year that is needed; nothing may be promised to the citizen.
pub fn due(limit: Limit, received: DateTime, calendar: &Calendar) -> Result<Option<DateTime>, CalendarNotCovering> {
    let from = counts_from(limit, received, calendar)?;
    Ok(Some(match limit {
        Limit::WorkingDays(days) => {
            let day = calendar.working_day_after(from.date(), days)?;
            calendar.next_opening(day.to_datetime(from.time()))?
        }
        Limit::CalendarDays(days) => off_rest_days(later(from, days_of(days))?, calendar)?,
        Limit::WorkingHours(hours) => calendar.after_working_time(from, hours_of(hours))?,
        Limit::SameDay { cutoff } => same_day(received, cutoff, calendar)?,
        Limit::Unlimited => return Ok(None),
    }))
}

/// By when the authority must answer an online filing: eight working hours after its system received it.
///
/// This is not the due date of the result: it runs from filing to acceptance, the other from acceptance on.
///
/// # Errors
/// The calendar does not know a year that is needed.
pub fn acceptance_due(filed: DateTime, calendar: &Calendar) -> Result<DateTime, CalendarNotCovering> {
    Ok(due(ACCEPTANCE, filed, calendar)?.expect("eight working hours are a limit"))
}

/// When the paper of a dossier must have left the desk; its data goes at once (NĐ 118/2025/NĐ-CP Art. 18).
///
/// The default is the rule of NĐ 61/2018/NĐ-CP Art. 18 as amended by NĐ 107/2021: within the working day, or at the
/// beginning of the next one when received after 15:00.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PaperTransfer {
    /// The last instant at which a reception still means today's courier.
    pub cutoff: Time,
    /// What "the beginning of the next working day" means here.
    pub next_morning: Time,
}

impl Default for PaperTransfer {
    fn default() -> Self {
        Self { cutoff: CUTOFF, next_morning: time(8, 30, 0, 0) }
    }
}

/// By when paper received at `received` must have been handed over; a reception on a rest day or after closing is one
/// after the cut-off.
///
/// # Errors
/// The calendar does not know a year that is needed.
pub fn paper_transfer_due(
    received: DateTime,
    rule: PaperTransfer,
    calendar: &Calendar,
) -> Result<DateTime, CalendarNotCovering> {
    if let Some(closing) = closing_if_still_today(received, rule.cutoff, calendar)? {
        return Ok(closing);
    }
    let next = calendar.working_day_after(received.date(), 1)?;
    calendar.next_opening(next.to_datetime(rule.next_morning))
}

fn same_day(received: DateTime, cutoff: Time, calendar: &Calendar) -> Result<DateTime, CalendarNotCovering> {
    if let Some(closing) = closing_if_still_today(received, cutoff, calendar)? {
        return Ok(closing);
    }
    let next = calendar.working_day_after(received.date(), 1)?;
    Ok(calendar.closing(next)?.expect("a working day closes"))
}

/// The closing of the day of reception, unless that is a rest day, the cut-off has passed, or no time is left.
fn closing_if_still_today(
    received: DateTime,
    cutoff: Time,
    calendar: &Calendar,
) -> Result<Option<DateTime>, CalendarNotCovering> {
    let closing = calendar.closing(received.date())?;
    Ok(closing.filter(|closing| received.time() <= cutoff && received < *closing))
}

/// The instant from which `limit` counts. Only calendar days can count from a Saturday on which the desk merely
/// receives.
fn counts_from(limit: Limit, received: DateTime, calendar: &Calendar) -> Result<DateTime, CalendarNotCovering> {
    match limit {
        Limit::CalendarDays(_) => calendar.next_reception(received),
        Limit::WorkingDays(_) | Limit::WorkingHours(_) => calendar.counts_from(received),
        Limit::SameDay { .. } | Limit::Unlimited => Ok(received),
    }
}

/// `at` itself in working time; from a rest day the same hour of the next working day.
fn off_rest_days(at: DateTime, calendar: &Calendar) -> Result<DateTime, CalendarNotCovering> {
    let day = if calendar.is_working_day(at.date())? { at.date() } else { calendar.working_day_after(at.date(), 1)? };
    calendar.next_opening(day.to_datetime(at.time()))
}

/// Later by the wall clock, rest days included.
fn later(at: DateTime, by: Duration) -> Result<DateTime, CalendarNotCovering> {
    at.checked_add(by).map_err(|_| CalendarNotCovering { year: Date::MAX.year() })
}

/// Civil time has no daylight saving here (UTC+7 all year), so a day is always 24 hours.
fn days_of(days: u16) -> Duration {
    24 * hours_of(days)
}

fn hours_of(hours: u16) -> Duration {
    Duration::from_secs(3600 * u64::from(hours))
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{DayKind, HalfDay, tests::national};

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    fn due_at(limit: Limit, received: &str) -> DateTime {
        due(limit, at(received), &national().build().unwrap()).unwrap().unwrap()
    }

    #[test]
    fn an_online_filing_is_answered_within_eight_working_hours() {
        let calendar = national().build().unwrap();
        assert_eq!(acceptance_due(at("2025-07-18 16:00"), &calendar), Ok(at("2025-07-21 16:00")));
        assert_eq!(acceptance_due(at("2025-07-19 22:00"), &calendar), Ok(at("2025-07-21 17:00")));
    }

    #[test]
    fn paper_leaves_the_same_day_or_first_thing_next_morning() {
        let calendar = national().build().unwrap();
        let paper = |received| paper_transfer_due(at(received), PaperTransfer::default(), &calendar).unwrap();
        assert_eq!(paper("2025-07-14 15:00"), at("2025-07-14 17:00"));
        assert_eq!(paper("2025-07-14 15:00:01"), at("2025-07-15 08:30"));
        assert_eq!(paper("2025-07-14 19:00"), at("2025-07-15 08:30"));
        assert_eq!(paper("2025-08-29 16:00"), at("2025-09-03 08:30"));
        assert_eq!(paper("2025-08-30 09:00"), at("2025-09-03 08:30"));
    }

    #[test]
    fn three_oclock_sharp_is_still_today() {
        assert_eq!(due_at(Limit::SAME_DAY, "2025-07-14 15:00"), at("2025-07-14 17:00"));
        assert_eq!(due_at(Limit::SAME_DAY, "2025-07-14 15:00:01"), at("2025-07-15 17:00"));
        assert_eq!(due_at(Limit::SAME_DAY, "2025-07-14 05:00"), at("2025-07-14 17:00"));
    }

    #[test]
    fn a_short_day_ends_the_same_day_limit_at_its_own_closing() {
        let half = national().weekday(jiff::civil::Weekday::Friday, [HalfDay::MORNING]).build().unwrap();
        let same_day = |received| due(Limit::SAME_DAY, at(received), &half).unwrap().unwrap();
        assert_eq!(same_day("2025-07-18 10:00"), at("2025-07-18 11:30"));
        assert_eq!(same_day("2025-07-18 12:00"), at("2025-07-21 17:00"));
    }

    #[test]
    fn an_hour_the_due_day_does_not_work_moves_to_the_next_opening() {
        let half = national().weekday(jiff::civil::Weekday::Friday, [HalfDay::MORNING]).build().unwrap();
        let friday = due(Limit::WorkingDays(1), at("2025-07-17 15:00"), &half).unwrap();
        assert_eq!(friday, Some(at("2025-07-21 07:00")));
        let friday = due(Limit::CalendarDays(1), at("2025-07-17 15:00"), &half).unwrap();
        assert_eq!(friday, Some(at("2025-07-21 07:00")));
    }

    #[test]
    fn a_calendar_day_limit_after_a_rest_day_reception_counts_from_the_opening() {
        assert_eq!(due_at(Limit::CalendarDays(3), "2025-07-19 09:00"), at("2025-07-24 07:00"));
    }

    #[test]
    fn a_december_dossier_needs_the_calendar_of_the_next_year() {
        let only_2025 = Calendar::builder(2025..=2025).build().unwrap();
        let answer = due(Limit::WorkingDays(3), at("2025-12-30 15:30"), &only_2025);
        assert_eq!(answer, Err(CalendarNotCovering { year: 2026 }));
    }

    #[test]
    fn a_saturday_morning_reception_gives_the_authority_whole_working_days() {
        let police = national().saturday_reception(HalfDay::MORNING).build().unwrap();
        let on_saturday = |limit| due(limit, at("2025-07-19 09:00"), &police).unwrap().unwrap();
        assert_eq!(on_saturday(Limit::WorkingDays(1)), at("2025-07-21 17:00"));
        assert_eq!(on_saturday(Limit::WorkingHours(8)), at("2025-07-21 17:00"));
        assert_eq!(on_saturday(Limit::SAME_DAY), at("2025-07-21 17:00"));
        assert_eq!(on_saturday(Limit::CalendarDays(3)), at("2025-07-22 09:00"));
    }

    #[test]
    fn a_local_day_off_moves_only_the_agency_that_has_it() {
        let flooded = national().day("2025-07-15".parse().unwrap(), DayKind::DayOff).build().unwrap();
        assert_eq!(due(Limit::WorkingDays(1), at("2025-07-14 09:00"), &flooded), Ok(Some(at("2025-07-16 09:00"))));
        assert_eq!(due_at(Limit::WorkingDays(1), "2025-07-14 09:00"), at("2025-07-15 09:00"));
    }

    #[test]
    fn without_a_published_limit_nothing_is_due() {
        let calendar = national().build().unwrap();
        assert_eq!(due(Limit::Unlimited, at("2025-07-14 09:00"), &calendar), Ok(None));
    }
}
