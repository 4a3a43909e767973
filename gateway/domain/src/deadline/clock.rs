//! The clock of one dossier: when it started, what stops it, what has been promised, and whether that was kept.
//!
//! Owns the arithmetic of pauses, of restarts and of the one extension. Does not know which status or role opens a
//! pause: the deciding code calls a transition, records the resulting [`ClockParts`], and applying rebuilds the clock
//! from them without computing anything, so a corrected rule never moves a date that a citizen was given. Invariants:
//! the original date never changes once set; no transition makes a date earlier; time never runs backwards.
//!
//! # How a pause is measured
//!
//! In the unit of the limit. Working-day and working-hour limits are pushed by the *working time* the clock stood
//! still, so a pause over a weekend costs nobody anything and an afternoon costs an afternoon. Calendar-day limits
//! are pushed by the *time that passed*, rest days included, and end at the next opening if that is outside working
//! hours. A same-day limit starts afresh when the clock resumes, as if received then: a desk promises closing time,
//! not 08:01.
//!
//! A date that was still ahead when the clock stopped is still ahead when it resumes; one that was missed stays missed
//! and where it was, so that nobody becomes punctual by asking for something late.
//!
//! Refused alternatives: whole days (each short pause gives or takes up to a day, three pauses are not their union,
//! and an hour that was left at the stop may be gone at the resumption); remembering the remaining time and applying
//! it again (the same in working time, but it cannot tell 17:00 from 07:00 the next morning, so that pausing and
//! resuming at once would move the date); keeping the hour when a pushed calendar-day limit meets a weekend (Saturday
//! 16:00 would become Monday 16:00, and a longer pause, to Sunday 09:00, an earlier Monday 09:00).

use jiff::civil::DateTime;

use super::{Limit, counts_from, days_of, due, later};
use crate::calendar::{Calendar, CalendarNotCovering};

/// Which fact starts the clock of a procedure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartPolicy {
    /// The valid reception at the desk, wherever it is: the ordinary case.
    AtReceipt,
    /// The competent authority holding the full dossier; the way there is not counted (published so for some land
    /// procedures, e.g. 1.115507).
    AtAuthority,
}

/// What happens to the limit once a supplement is complete; both are in use, so each procedure says which.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SupplementPolicy {
    /// The clock goes on where it stood ("thời gian hoàn thiện hồ sơ không tính vào thời hạn giải quyết").
    Resume,
    /// The whole limit runs again from the moment of completion ("tính lại từ đầu").
    ///
    /// Only for a request made in time: after the date had passed it stays missed, or asking late would undo being
    /// late.
    Restart,
}

/// What stops the clock, by name, so that a late list can say who was being waited for.
///
/// The exclusions are those the procedures publish: supplement, financial obligation, transit of paper between places,
/// expertise, public notice, answers of other agencies.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PauseCause {
    /// The citizen was asked to add something (form 02).
    Supplement,
    /// A fee, tax or other financial obligation is being fixed or paid.
    FinancialObligation,
    /// Paper travels between the desk and the authority.
    PaperTransit,
    /// An expert opinion was asked for (*trưng cầu giám định*).
    Expertise,
    /// A public notice is posted (*niêm yết công khai*).
    PublicNotice,
    /// Another agency has to answer first.
    OtherAgency,
}

/// What the procedure in force says about time, fixed for the dossier when its clock is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// The published limit.
    pub limit: Limit,
    /// Which fact starts it.
    pub start: StartPolicy,
    /// What a completed supplement does to it.
    pub supplement: SupplementPolicy,
}

/// A date given to the citizen, with the count behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appointment {
    /// Where the count of the limit and of the pauses ends. Only this is pushed; it may be a Sunday or a midnight.
    pub counted_to: DateTime,
    /// The date that follows from it and that is promised: never earlier, and in working hours.
    pub falls: DateTime,
}

/// A pause that has not ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenPause {
    /// What is being waited for.
    pub cause: PauseCause,
    /// Since when.
    pub since: DateTime,
}

/// Everything a [`Clock`] remembers, as plain values for a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClockParts {
    /// The terms it runs under.
    pub terms: Terms,
    /// The instant from which the limit now counts; nothing before the start.
    pub counts_from: Option<DateTime>,
    /// The date first given; nothing before the start or without a limit.
    pub original_due: Option<DateTime>,
    /// That date with its pauses and restarts.
    pub promised: Option<Appointment>,
    /// The date of the one extension, with the pauses since.
    pub extended: Option<Appointment>,
    /// Open pauses, in the order they were opened, at most one per cause.
    pub open: Vec<OpenPause>,
    /// Since when a started clock stands still without interruption.
    pub stopped_since: Option<DateTime>,
    /// A supplement was completed under [`SupplementPolicy::Restart`] while another pause keeps the clock stopped.
    pub restarting: bool,
    /// The instant of the last transition.
    pub latest: Option<DateTime>,
}

/// The clock of one dossier. A value: every transition answers a new clock and leaves this one as it was.
///
/// It carries three dates, because three people ask:
/// - [`Clock::original_due`], printed on the receipt, is never changed by anything;
/// - [`Clock::promised`] is that date moved by the pauses (and restarts) the law does not count. It answers "on time?"
///   in the statistics, so an authority cannot become punctual by extending;
/// - [`Clock::due`] is what the citizen was last told: `promised`, or the later date of the one extension.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Clock(ClockParts);

impl Clock {
    /// A clock that waits for its start, e.g. for an online filing that nobody has accepted yet.
    pub fn new(terms: Terms) -> Self {
        Self(ClockParts {
            terms,
            counts_from: None,
            original_due: None,
            promised: None,
            extended: None,
            open: Vec::new(),
            stopped_since: None,
            restarting: false,
            latest: None,
        })
    }

    /// The clock that was recorded, taken at its word.
    pub fn from_parts(parts: ClockParts) -> Self {
        Self(parts)
    }

    /// Everything to be recorded.
    pub fn parts(&self) -> &ClockParts {
        &self.0
    }

    /// The terms it runs under.
    pub fn terms(&self) -> Terms {
        self.0.terms
    }

    /// Whether the clock has started, stopped or not.
    pub fn has_started(&self) -> bool {
        self.0.counts_from.is_some()
    }

    /// The date on the receipt, for ever; nothing before the start or without a limit.
    pub fn original_due(&self) -> Option<DateTime> {
        self.0.original_due
    }

    /// The date that on-time figures are measured by: the original with its pauses, without the extension.
    pub fn promised(&self) -> Option<DateTime> {
        self.0.promised.map(|appointment| appointment.falls)
    }

    /// The date now promised to the citizen. While the clock stands still it is the date as of the stop.
    pub fn due(&self) -> Option<DateTime> {
        // After a restart the recomputed date may lie beyond the extension; the citizen holds the later one.
        self.promised().max(self.0.extended.map(|appointment| appointment.falls))
    }

    /// Whether the one extension has been used.
    pub fn is_extended(&self) -> bool {
        self.0.extended.is_some()
    }

    /// Whose move it is while the clock stands still.
    pub fn open_pauses(&self) -> &[OpenPause] {
        &self.0.open
    }

    /// Since when a started clock has stood still; nothing while it runs.
    pub fn stopped_since(&self) -> Option<DateTime> {
        self.0.stopped_since
    }

    /// The instant of the last transition; the next one may not lie before it.
    pub fn latest(&self) -> Option<DateTime> {
        self.0.latest
    }

    /// Whether a result at `at` misses [`Clock::promised`]. A stopped clock does not become late while it stands.
    pub fn is_late(&self, at: DateTime) -> bool {
        self.0.is_past(self.promised(), at)
    }

    /// Whether at `at` the citizen waits beyond [`Clock::due`]. Differs from [`Clock::is_late`] only by the extension.
    pub fn is_overdue(&self, at: DateTime) -> bool {
        self.0.is_past(self.due(), at)
    }

    /// The desk has validly received the dossier: starts the clock under [`StartPolicy::AtReceipt`], otherwise nothing.
    ///
    /// # Errors
    /// The clock has started already, `at` lies before the last transition, or the calendar ends too early.
    pub fn receive(&self, at: DateTime, calendar: &Calendar) -> Result<Self, ClockError> {
        self.start(StartPolicy::AtReceipt, at, calendar)
    }

    /// The competent authority holds the full dossier: starts the clock under [`StartPolicy::AtAuthority`], otherwise
    /// nothing.
    ///
    /// # Errors
    /// The clock has started already, `at` lies before the last transition, or the calendar ends too early.
    pub fn arrive(&self, at: DateTime, calendar: &Calendar) -> Result<Self, ClockError> {
        self.start(StartPolicy::AtAuthority, at, calendar)
    }

    fn start(&self, fact: StartPolicy, at: DateTime, calendar: &Calendar) -> Result<Self, ClockError> {
        if self.0.terms.start != fact {
            return Ok(self.clone());
        }
        if self.has_started() {
            return Err(ClockError::AlreadyStarted);
        }
        let mut next = self.0.moved_to(at)?;
        next.run_whole_limit(at, calendar)?;
        next.original_due = next.promised.map(|appointment| appointment.falls);
        next.stopped_since = (!next.open.is_empty()).then_some(at);
        Ok(Self(next))
    }

    /// Stops the clock for this cause, too. Before the start it is only remembered.
    ///
    /// # Errors
    /// A pause for this cause is open, or `at` lies before the last transition.
    pub fn pause(&self, cause: PauseCause, at: DateTime) -> Result<Self, ClockError> {
        if let Some(pause) = self.0.open.iter().find(|pause| pause.cause == cause) {
            return Err(ClockError::AlreadyPaused { cause, since: pause.since });
        }
        let mut next = self.0.moved_to(at)?;
        next.open.push(OpenPause { cause, since: at });
        if self.has_started() {
            next.stopped_since.get_or_insert(at);
        }
        Ok(Self(next))
    }

    /// Ends the pause for this cause; the clock runs on once no other is open, its dates pushed by the time it stood.
    ///
    /// # Errors
    /// No pause for this cause is open, `at` lies before the last transition, or the calendar ends too early.
    pub fn resume(&self, cause: PauseCause, at: DateTime, calendar: &Calendar) -> Result<Self, ClockError> {
        let Some(position) = self.0.open.iter().position(|pause| pause.cause == cause) else {
            return Err(ClockError::NotPaused { cause });
        };
        let mut next = self.0.moved_to(at)?;
        next.open.remove(position);
        if let Some(since) = next.stopped_since {
            next.restarting |= cause == PauseCause::Supplement && next.terms.supplement == SupplementPolicy::Restart;
            if next.open.is_empty() {
                next.run_on(since, at, calendar)?;
            }
        }
        Ok(Self(next))
    }

    /// Gives the citizen a later date, with an apology and the reason (form 04). Once per dossier, and in time.
    ///
    /// The text of the reason belongs to the event, not to the clock, which only insists that there is one.
    /// NĐ 118/2025/NĐ-CP; "hẹn lại không quá một (01) lần", NĐ 61/2018/NĐ-CP Art. 19.
    ///
    /// # Errors
    /// See [`ClockError`]; nothing has changed, and only [`ClockError::NotLater`], [`ClockError::OutsideWorkingTime`]
    /// and [`ClockError::NoReason`] can be repaired by another request.
    pub fn extend(
        &self,
        new_due: DateTime,
        reason: &str,
        at: DateTime,
        calendar: &Calendar,
    ) -> Result<Self, ClockError> {
        if !self.has_started() {
            return Err(ClockError::NotStarted);
        }
        let due = self.due().ok_or(ClockError::Unlimited)?;
        let mut next = self.0.moved_to(at)?;
        if self.is_extended() {
            return Err(ClockError::AlreadyExtended);
        }
        // Where a stopped clock will stand is not known yet, so there is no date to extend; nor can it run out.
        if let Some(since) = next.stopped_since {
            return Err(ClockError::Stopped { since });
        }
        if at >= due {
            return Err(ClockError::TooLateToExtend { due });
        }
        if reason.trim().is_empty() {
            return Err(ClockError::NoReason);
        }
        if new_due <= due {
            return Err(ClockError::NotLater { due });
        }
        if !calendar.is_working_time(new_due)? {
            return Err(ClockError::OutsideWorkingTime { next: calendar.next_opening(new_due)? });
        }
        next.extended = Some(Appointment { counted_to: new_due, falls: new_due });
        Ok(Self(next))
    }
}

impl ClockParts {
    fn moved_to(&self, at: DateTime) -> Result<Self, ClockError> {
        match self.latest {
            Some(latest) if at < latest => Err(ClockError::Backwards { at, latest }),
            _ => Ok(Self { latest: Some(at), ..self.clone() }),
        }
    }

    fn is_past(&self, date: Option<DateTime>, at: DateTime) -> bool {
        let ran_until = self.stopped_since.map_or(at, |since| since.min(at));
        date.is_some_and(|date| ran_until > date)
    }

    /// Lets the whole limit count from `at`, the first time or again; a date already promised is never taken back.
    fn run_whole_limit(&mut self, at: DateTime, calendar: &Calendar) -> Result<(), CalendarNotCovering> {
        let limit = self.terms.limit;
        let from = counts_from(limit, at, calendar)?;
        self.counts_from = Some(from);
        if let Some(falls) = due(limit, at, calendar)? {
            let counted_to = match limit {
                Limit::CalendarDays(days) => later(from, days_of(days))?,
                Limit::WorkingDays(_) | Limit::WorkingHours(_) | Limit::SameDay { .. } | Limit::Unlimited => falls,
            };
            let before = self.promised.unwrap_or(Appointment { counted_to, falls });
            self.promised =
                Some(Appointment { counted_to: counted_to.max(before.counted_to), falls: falls.max(before.falls) });
        }
        Ok(())
    }

    /// Sets the clock, stopped since `since`, going again at `at`.
    fn run_on(&mut self, since: DateTime, at: DateTime, calendar: &Calendar) -> Result<(), CalendarNotCovering> {
        let afresh = self.restarting || matches!(self.terms.limit, Limit::SameDay { .. });
        self.stopped_since = None;
        self.restarting = false;
        if since == at {
            return Ok(());
        }
        let pushed = |date: Option<Appointment>| date.map(|date| self.pushed(date, since, at, calendar)).transpose();
        let (promised, extended) = (pushed(self.promised)?, pushed(self.extended)?);
        let was_ahead = self.promised.is_some_and(|date| since <= date.falls);
        self.extended = extended;
        if afresh && was_ahead {
            return self.run_whole_limit(at, calendar);
        }
        self.promised = promised;
        Ok(())
    }

    /// The date after a pause from `since` to `at`; the same date if it had been missed before.
    ///
    /// Where no time of the limit was left, only the night or weekend before the date, `at` bounds the count: what was
    /// ahead stays ahead. The count, not the date, is what pauses add up in, so many are worth their union.
    fn pushed(
        &self,
        date: Appointment,
        since: DateTime,
        at: DateTime,
        calendar: &Calendar,
    ) -> Result<Appointment, CalendarNotCovering> {
        if date.falls < since {
            return Ok(date);
        }
        // Before the limit counts there is nothing to stand still.
        let counts_from = self.counts_from.unwrap_or(since);
        let (from, to) = (since.max(counts_from), at.max(counts_from));
        let counted_to = match self.terms.limit {
            Limit::CalendarDays(_) => later(date.counted_to, to.duration_since(from).unsigned_abs())?,
            Limit::WorkingDays(_) | Limit::WorkingHours(_) | Limit::SameDay { .. } | Limit::Unlimited => {
                calendar.after_working_time(date.counted_to, calendar.working_time(from, to)?)?
            }
        }
        .max(at);
        Ok(Appointment { counted_to, falls: calendar.next_opening(counted_to)?.max(date.falls) })
    }
}

/// Why the clock refuses a transition. The clock it was asked of is unchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClockError {
    /// The fact that starts the clock has been reported before.
    #[error("the clock has already started")]
    AlreadyStarted,
    /// There is no date yet.
    #[error("the clock has not started")]
    NotStarted,
    /// A pause for this cause is open.
    #[error("the clock has been paused for {cause:?} since {since}")]
    AlreadyPaused {
        /// The cause.
        cause: PauseCause,
        /// Since when.
        since: DateTime,
    },
    /// No pause for this cause is open.
    #[error("the clock is not paused for {cause:?}")]
    NotPaused {
        /// The cause.
        cause: PauseCause,
    },
    /// Business time may repeat but not go back. How much skew between two systems to forgive, by passing
    /// [`Clock::latest`] instead, is the caller's decision.
    #[error("{at} lies before the last transition of the clock at {latest}")]
    Backwards {
        /// The refused instant.
        at: DateTime,
        /// The earliest instant allowed.
        latest: DateTime,
    },
    /// A dossier without limit has no date to extend.
    #[error("the procedure has no time limit")]
    Unlimited,
    /// A dossier is extended at most once.
    #[error("the date has been extended once already")]
    AlreadyExtended,
    /// A stopped clock has no date to extend; resume it first.
    #[error("the clock has been stopped since {since}")]
    Stopped {
        /// Since when.
        since: DateTime,
    },
    /// The date has been missed; an extension must be announced before.
    #[error("the due date {due} is not in the future")]
    TooLateToExtend {
        /// The date missed.
        due: DateTime,
    },
    /// The citizen must be told why.
    #[error("an extension needs a reason")]
    NoReason,
    /// An extension gives a later date.
    #[error("the new date is not later than the due date {due}")]
    NotLater {
        /// The date to beat.
        due: DateTime,
    },
    /// Nobody can hand out a result then.
    #[error("the new date lies outside working hours; the next opening is {next}")]
    OutsideWorkingTime {
        /// The next date that would do.
        next: DateTime,
    },
    /// The calendar ends before the date does.
    #[error(transparent)]
    Calendar(#[from] CalendarNotCovering),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{HalfDay, tests::national};

    const RESUMING: Terms =
        Terms { limit: Limit::WorkingDays(3), start: StartPolicy::AtReceipt, supplement: SupplementPolicy::Resume };
    const RESTARTING: Terms = Terms { supplement: SupplementPolicy::Restart, ..RESUMING };
    const CALENDAR_DAYS: Terms = Terms { limit: Limit::CalendarDays(10), ..RESUMING };
    const SAME_DAY: Terms = Terms { limit: Limit::SAME_DAY, ..RESUMING };

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    fn some(text: &str) -> Option<DateTime> {
        Some(at(text))
    }

    fn calendar() -> Calendar {
        national().build().unwrap()
    }

    fn received(terms: Terms, instant: &str) -> Clock {
        Clock::new(terms).receive(at(instant), &calendar()).unwrap()
    }

    impl Clock {
        fn paused(self, cause: PauseCause, from: &str, to: &str) -> Self {
            self.pause(cause, at(from)).unwrap().resume(cause, at(to), &calendar()).unwrap()
        }

        fn extended(&self, new_due: &str, now: &str) -> Result<Self, ClockError> {
            self.extend(at(new_due), "the land register is being moved", at(now), &calendar())
        }
    }

    #[test]
    fn a_fee_pause_over_a_weekend_costs_only_working_time() {
        // Monday 09:00 + 3 working days = Thursday 09:00; stood still Wednesday 16:00 to Monday 08:00: 1 + 8 + 8 + 1
        // hours.
        let clock = received(RESUMING, "2025-07-14 09:00");
        let clock = clock.paused(PauseCause::FinancialObligation, "2025-07-16 16:00", "2025-07-21 08:00");
        assert_eq!(clock.promised(), some("2025-07-21 11:00"));
        assert_eq!(clock.original_due(), some("2025-07-17 09:00"));
    }

    #[test]
    fn a_pause_while_everyone_sleeps_costs_nothing() {
        let clock = received(RESUMING, "2025-07-18 09:00");
        let clock = clock.paused(PauseCause::OtherAgency, "2025-07-18 17:30", "2025-07-21 06:00");
        assert_eq!(clock.due(), some("2025-07-23 09:00"));
    }

    #[test]
    fn a_calendar_day_limit_is_pushed_by_the_time_that_passed() {
        // 14 July + 10 days is Thursday 24 at nine; a day and a half later is Friday 25 at 21:00, so Monday's opening.
        let clock = received(CALENDAR_DAYS, "2025-07-14 09:00");
        let one_day = clock.clone().paused(PauseCause::PublicNotice, "2025-07-15 10:00", "2025-07-16 10:00");
        assert_eq!(one_day.due(), some("2025-07-25 09:00"));
        let longer = clock.paused(PauseCause::PublicNotice, "2025-07-15 10:00", "2025-07-16 22:00");
        assert_eq!(longer.due(), some("2025-07-28 07:00"));
        // The count goes on from Friday night, not from Monday: another day is still within the weekend.
        let again = longer.paused(PauseCause::PublicNotice, "2025-07-17 10:00", "2025-07-18 10:00");
        assert_eq!(again.due(), some("2025-07-28 07:00"));
    }

    #[test]
    fn a_pause_on_the_monday_that_stands_for_a_weekend_keeps_the_date_ahead() {
        // The ten days end on Saturday 19; due Monday 21, by which time the count itself has run out.
        let clock = received(CALENDAR_DAYS, "2025-07-09 16:00");
        assert_eq!(clock.due(), some("2025-07-21 16:00"));
        let clock = clock.paused(PauseCause::OtherAgency, "2025-07-21 10:00", "2025-07-23 10:00");
        assert_eq!(clock.due(), some("2025-07-23 10:00"));
        assert!(!clock.is_late(at("2025-07-23 10:00")));
    }

    #[test]
    fn a_pause_with_no_time_left_keeps_the_date_ahead_overnight() {
        let hours = Terms { limit: Limit::WorkingHours(8), ..RESUMING };
        let clock = received(hours, "2025-07-14 07:00");
        let clock = clock.paused(PauseCause::OtherAgency, "2025-07-14 17:00", "2025-07-14 18:00");
        assert_eq!(clock.due(), some("2025-07-15 07:00"));
    }

    #[test]
    fn a_pause_after_the_date_was_missed_no_longer_moves_it() {
        let clock = received(RESUMING, "2025-07-14 09:00");
        let clock = clock.paused(PauseCause::FinancialObligation, "2025-07-17 09:01", "2025-07-24 09:00");
        assert_eq!(clock.promised(), some("2025-07-17 09:00"));
        assert!(clock.is_late(at("2025-07-24 09:00")));
    }

    #[test]
    fn a_restarting_supplement_gives_the_whole_limit_again() {
        let clock = received(RESTARTING, "2025-07-14 09:00");
        let clock = clock.paused(PauseCause::Supplement, "2025-07-16 10:00", "2025-07-21 14:00");
        assert_eq!(clock.due(), some("2025-07-24 14:00"));
        assert_eq!(clock.original_due(), some("2025-07-17 09:00"));
    }

    #[test]
    fn only_a_supplement_restarts() {
        let clock = received(RESTARTING, "2025-07-14 09:00");
        let clock = clock.paused(PauseCause::FinancialObligation, "2025-07-16 10:00", "2025-07-16 11:00");
        assert_eq!(clock.due(), some("2025-07-17 10:00"));
    }

    #[test]
    fn a_restart_waits_for_the_last_open_pause() {
        let clock = received(RESTARTING, "2025-07-14 09:00");
        let clock = clock.pause(PauseCause::Supplement, at("2025-07-15 09:00")).unwrap();
        let clock = clock.pause(PauseCause::FinancialObligation, at("2025-07-15 10:00")).unwrap();
        let clock = clock.resume(PauseCause::Supplement, at("2025-07-16 09:00"), &calendar()).unwrap();
        assert_eq!(clock.stopped_since(), some("2025-07-15 09:00"));
        let clock = clock.resume(PauseCause::FinancialObligation, at("2025-07-21 14:00"), &calendar()).unwrap();
        assert_eq!(clock.due(), some("2025-07-24 14:00"));
        assert_eq!(clock.stopped_since(), None);
    }

    #[test]
    fn a_restart_does_not_take_back_a_date_that_pauses_had_earned() {
        // Where Saturday morning counts as a day, three days can be fewer hours than the three that were stood still.
        let calendar = national().weekday(jiff::civil::Weekday::Saturday, [HalfDay::MORNING]).build().unwrap();
        let through = |clock: Clock, cause, from, to| {
            clock.pause(cause, at(from)).unwrap().resume(cause, at(to), &calendar).unwrap()
        };
        let clock = Clock::new(RESTARTING).receive(at("2025-07-14 07:00"), &calendar).unwrap();
        let clock = through(clock, PauseCause::FinancialObligation, "2025-07-14 07:00", "2025-07-17 07:00");
        assert_eq!(clock.due(), some("2025-07-21 10:30"));
        let clock = through(clock, PauseCause::Supplement, "2025-07-17 07:00", "2025-07-17 08:00");
        assert_eq!(clock.due(), some("2025-07-21 10:30"));
    }

    #[test]
    fn asking_for_a_supplement_too_late_does_not_undo_being_late() {
        for terms in [RESTARTING, SAME_DAY] {
            let clock = received(terms, "2025-07-14 09:00");
            assert!(clock.is_late(at("2025-07-18 10:00")));
            let clock = clock.paused(PauseCause::Supplement, "2025-07-18 10:00", "2025-07-21 10:00");
            assert!(clock.is_late(at("2025-07-21 10:00")), "{terms:?}");
        }
    }

    #[test]
    fn a_same_day_limit_starts_afresh_when_it_resumes() {
        let clock = received(SAME_DAY, "2025-07-14 09:00");
        let before_cutoff = clock.clone().paused(PauseCause::Supplement, "2025-07-14 10:00", "2025-07-15 14:00");
        assert_eq!(before_cutoff.due(), some("2025-07-15 17:00"));
        let after_cutoff = clock.paused(PauseCause::Supplement, "2025-07-14 10:00", "2025-07-15 15:30");
        assert_eq!(after_cutoff.due(), some("2025-07-16 17:00"));
    }

    #[test]
    fn a_clock_that_starts_at_the_authority_does_not_count_the_way_there() {
        let terms = Terms { start: StartPolicy::AtAuthority, ..RESUMING };
        let clock = received(terms, "2025-07-14 09:00");
        assert!(!clock.has_started());
        let clock = clock.arrive(at("2025-07-15 10:00"), &calendar()).unwrap();
        assert_eq!(clock.original_due(), some("2025-07-18 10:00"));
        assert_eq!(clock.arrive(at("2025-07-15 11:00"), &calendar()), Err(ClockError::AlreadyStarted));
        let at_receipt = received(RESUMING, "2025-07-14 09:00");
        let arrived = at_receipt.arrive(at("2025-07-15 10:00"), &calendar());
        assert_eq!(arrived, Ok(at_receipt));
    }

    #[test]
    fn a_pause_from_before_the_start_stops_the_clock_from_its_start() {
        let waiting = Clock::new(RESUMING).pause(PauseCause::Supplement, at("2025-07-11 09:00")).unwrap();
        let clock = waiting.receive(at("2025-07-14 09:00"), &calendar()).unwrap();
        assert_eq!(clock.stopped_since(), some("2025-07-14 09:00"));
        let clock = clock.resume(PauseCause::Supplement, at("2025-07-14 10:00"), &calendar()).unwrap();
        assert_eq!(clock.due(), some("2025-07-17 10:00"));

        let over = Clock::new(RESTARTING).paused(PauseCause::Supplement, "2025-07-10 09:00", "2025-07-11 09:00");
        let clock = over.receive(at("2025-07-14 09:00"), &calendar()).unwrap();
        assert_eq!((clock.due(), clock.stopped_since()), (some("2025-07-17 09:00"), None));
    }

    #[test]
    fn calendar_time_does_not_stand_still_before_it_counts() {
        // Received Friday evening, so it counts from Monday 07:00; the weekend pause was over before that.
        let clock = received(CALENDAR_DAYS, "2025-07-18 18:00");
        let due = clock.due();
        let clock = clock.paused(PauseCause::Supplement, "2025-07-18 18:30", "2025-07-20 18:00");
        assert_eq!(clock.due(), due);
    }

    #[test]
    fn an_extension_moves_the_date_but_not_the_statistics() {
        let clock = received(RESUMING, "2025-07-14 09:00").extended("2025-07-21 09:00", "2025-07-17 08:59").unwrap();
        assert_eq!(clock.due(), some("2025-07-21 09:00"));
        assert_eq!(clock.promised(), some("2025-07-17 09:00"));
        assert_eq!(clock.original_due(), some("2025-07-17 09:00"));
        let friday = at("2025-07-18 09:00");
        assert!(clock.is_late(friday) && !clock.is_overdue(friday));
        assert!(clock.is_overdue(at("2025-07-21 09:01")));
    }

    #[test]
    fn a_pause_after_an_extension_pushes_both_dates() {
        let clock = received(RESUMING, "2025-07-14 09:00").extended("2025-07-21 09:00", "2025-07-15 09:00").unwrap();
        let clock = clock.paused(PauseCause::Expertise, "2025-07-16 09:00", "2025-07-16 11:00");
        assert_eq!((clock.promised(), clock.due()), (some("2025-07-17 11:00"), some("2025-07-21 11:00")));
    }

    #[test]
    fn a_restart_beyond_the_extension_wins_and_does_not_give_it_back() {
        let clock = received(RESTARTING, "2025-07-14 09:00").extended("2025-07-17 10:00", "2025-07-14 10:00").unwrap();
        let clock = clock.paused(PauseCause::Supplement, "2025-07-16 09:00", "2025-07-18 09:00");
        assert_eq!(clock.due(), some("2025-07-23 09:00"));
        assert_eq!(clock.extended("2025-07-25 09:00", "2025-07-18 10:00"), Err(ClockError::AlreadyExtended));
    }

    #[test]
    fn an_extension_is_refused_by_name() {
        let clock = received(RESUMING, "2025-07-14 09:00");
        let due = at("2025-07-17 09:00");
        assert_eq!(clock.extended("2025-07-21 09:00", "2025-07-17 09:00"), Err(ClockError::TooLateToExtend { due }));
        assert_eq!(clock.extended("2025-07-17 09:00", "2025-07-15 09:00"), Err(ClockError::NotLater { due }));
        let next = at("2025-07-21 07:00");
        assert_eq!(
            clock.extended("2025-07-19 09:00", "2025-07-15 09:00"),
            Err(ClockError::OutsideWorkingTime { next })
        );
        let silent = clock.extend(
            at("2025-07-21 09:00"),
            " 
",
            at("2025-07-15 09:00"),
            &calendar(),
        );
        assert_eq!(silent, Err(ClockError::NoReason));
        let since = at("2025-07-15 09:00");
        let stopped = clock.pause(PauseCause::OtherAgency, since).unwrap();
        assert_eq!(stopped.extended("2025-07-21 09:00", "2025-07-15 10:00"), Err(ClockError::Stopped { since }));
        let unlimited = received(Terms { limit: Limit::Unlimited, ..RESUMING }, "2025-07-14 09:00");
        assert_eq!(unlimited.extended("2025-07-21 09:00", "2025-07-15 09:00"), Err(ClockError::Unlimited));
        let waiting = Clock::new(RESUMING);
        assert_eq!(waiting.extended("2025-07-21 09:00", "2025-07-15 09:00"), Err(ClockError::NotStarted));
    }

    #[test]
    fn a_cause_pauses_once_and_ends_once() {
        let clock = received(RESUMING, "2025-07-14 09:00");
        let cause = PauseCause::PaperTransit;
        assert_eq!(clock.resume(cause, at("2025-07-15 09:00"), &calendar()), Err(ClockError::NotPaused { cause }));
        let since = at("2025-07-15 09:00");
        let stopped = clock.pause(cause, since).unwrap();
        assert_eq!(stopped.pause(cause, at("2025-07-15 10:00")), Err(ClockError::AlreadyPaused { cause, since }));
    }

    #[test]
    fn time_does_not_run_backwards() {
        let clock =
            received(RESUMING, "2025-07-14 09:00").pause(PauseCause::Supplement, at("2025-07-15 09:00")).unwrap();
        let (early, latest) = (at("2025-07-15 08:59"), at("2025-07-15 09:00"));
        let refusal = Err(ClockError::Backwards { at: early, latest });
        assert_eq!(clock.resume(PauseCause::Supplement, early, &calendar()), refusal);
        assert_eq!(clock.pause(PauseCause::OtherAgency, early), refusal);
    }

    #[test]
    fn a_stopped_clock_does_not_become_late() {
        let clock =
            received(RESUMING, "2025-07-14 09:00").pause(PauseCause::Supplement, at("2025-07-15 09:00")).unwrap();
        assert!(!clock.is_late(at("2025-09-15 09:00")));
    }

    #[test]
    fn a_clock_without_limit_runs_and_is_never_late() {
        let clock = received(Terms { limit: Limit::Unlimited, ..RESUMING }, "2025-07-14 09:00");
        let clock = clock.paused(PauseCause::Supplement, "2025-07-15 09:00", "2025-07-16 09:00");
        assert_eq!((clock.original_due(), clock.due()), (None, None));
        assert!(!clock.is_late(at("2026-07-15 09:00")) && !clock.is_overdue(at("2026-07-15 09:00")));
    }

    #[test]
    fn a_missing_year_leaves_the_clock_stopped_where_it_was() {
        let clock =
            received(RESUMING, "2026-12-24 09:00").pause(PauseCause::Supplement, at("2026-12-28 09:00")).unwrap();
        let answer = clock.resume(PauseCause::Supplement, at("2026-12-31 16:00"), &calendar());
        assert_eq!(answer, Err(ClockError::Calendar(CalendarNotCovering { year: 2027 })));
    }

    #[test]
    fn a_clock_comes_back_from_its_parts() {
        let clock = received(RESTARTING, "2025-07-14 09:00")
            .extended("2025-07-21 09:00", "2025-07-15 09:00")
            .unwrap()
            .pause(PauseCause::Supplement, at("2025-07-16 09:00"))
            .unwrap();
        let rebuilt = Clock::from_parts(clock.parts().clone());
        let ended = |clock: &Clock| clock.resume(PauseCause::Supplement, at("2025-07-18 09:00"), &calendar());
        assert_eq!(ended(&rebuilt), ended(&clock));
    }
}
