//! What holds for every limit, reception and story of pauses, on calendars with Tết, swapped Saturdays and short
//! Fridays.

use jiff::civil::{DateTime, Weekday};
use proptest::prelude::*;

use super::{
    Limit,
    clock::{Clock, PauseCause, StartPolicy, SupplementPolicy, Terms},
    due, later,
};
use crate::calendar::{Calendar, HalfDay, tests::national};

const CAUSES: [PauseCause; 6] = [
    PauseCause::Supplement,
    PauseCause::FinancialObligation,
    PauseCause::PaperTransit,
    PauseCause::Expertise,
    PauseCause::PublicNotice,
    PauseCause::OtherAgency,
];

/// An instant from mid January 2025 on, so that a Saturday has a Friday before it and stories end within 2026.
fn instant() -> impl Strategy<Value = DateTime> {
    // Quarters of an hour, so that openings, closings and the cut-off are hit sharply and often; now and then a
    // second off.
    (0u32..480 * 96, prop_oneof![3 => Just(0u32), 1 => 0u32..900])
        .prop_map(|(quarter, seconds)| after("2025-01-13 00:00".parse().unwrap(), quarter * 900 + seconds))
}

fn after(at: DateTime, seconds: u32) -> DateTime {
    later(at, std::time::Duration::from_secs(seconds.into())).unwrap()
}

/// Zero is drawn often: transitions at the same instant are where unions and ties go wrong.
fn gap() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0u32), 2 => (0u32..96).prop_map(|quarter| quarter * 900), 2 => 0u32..6 * 86_400]
}

fn uniform() -> Calendar {
    national().build().unwrap()
}

fn calendar() -> impl Strategy<Value = Calendar> {
    prop_oneof![
        Just(uniform()),
        Just(national().saturday_reception(HalfDay::MORNING).build().unwrap()),
        Just(national().weekday(Weekday::Saturday, [HalfDay::MORNING]).build().unwrap()),
        Just(national().weekday(Weekday::Friday, [HalfDay::AFTERNOON]).build().unwrap()),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![
        (1u16..30).prop_map(Limit::WorkingDays),
        (1u16..45).prop_map(Limit::CalendarDays),
        (1u16..80).prop_map(Limit::WorkingHours),
        Just(Limit::SAME_DAY),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    let policy = prop_oneof![Just(SupplementPolicy::Resume), Just(SupplementPolicy::Restart)];
    (limit(), policy).prop_map(|(limit, supplement)| Terms { limit, start: StartPolicy::AtReceipt, supplement })
}

fn received(terms: Terms, at: DateTime, calendar: &Calendar) -> Clock {
    Clock::new(terms).receive(at, calendar).unwrap()
}

fn due_at(limit: Limit, at: DateTime, calendar: &Calendar) -> DateTime {
    due(limit, at, calendar).unwrap().unwrap()
}

/// One transition after a while: pauses if this cause is not open, resumes if it is.
type Toggle = (usize, u32);

fn story() -> impl Strategy<Value = Vec<Toggle>> {
    proptest::collection::vec((0..CAUSES.len(), gap()), 0..12)
}

/// Plays the story, then ends what is still open, and shows every clock on the way.
fn play(start: Clock, story: &[Toggle], calendar: &Calendar) -> Vec<Clock> {
    let mut clocks = vec![start];
    let mut step = |next: &dyn Fn(&Clock) -> Clock| clocks.push(next(clocks.last().unwrap()));
    for &(cause, gap) in story {
        step(&|clock| toggle(clock, CAUSES[cause], after(clock.latest().unwrap(), gap), calendar));
    }
    for cause in CAUSES {
        step(&|clock| match clock.open_pauses().iter().any(|pause| pause.cause == cause) {
            true => toggle(clock, cause, after(clock.latest().unwrap(), 3600), calendar),
            false => clock.clone(),
        });
    }
    clocks
}

fn toggle(clock: &Clock, cause: PauseCause, at: DateTime, calendar: &Calendar) -> Clock {
    match clock.open_pauses().iter().any(|pause| pause.cause == cause) {
        true => clock.resume(cause, at, calendar).unwrap(),
        false => clock.pause(cause, at).unwrap(),
    }
}

/// The stretches during which at least one pause was open, told from the pauses and not from what the clock makes of
/// them.
fn stops(clocks: &[Clock]) -> Vec<(DateTime, DateTime)> {
    let mut stops = Vec::new();
    let mut since = None;
    for clock in clocks {
        match (clock.open_pauses().is_empty(), since) {
            (false, None) => since = clock.latest(),
            (true, Some(from)) => {
                stops.push((from, clock.latest().unwrap()));
                since = None;
            }
            (false, Some(_)) | (true, None) => {}
        }
    }
    stops
}

proptest! {
    #[test]
    fn a_due_date_is_in_working_hours_and_after_the_reception(
        limit in limit(), at in instant(), calendar in calendar(),
    ) {
        let due = due_at(limit, at, &calendar);
        prop_assert!(calendar.is_working_time(due).unwrap(), "{due}");
        prop_assert!(at < due);
    }

    #[test]
    fn a_longer_limit_is_due_later(at in instant(), count in 1u16..60, calendar in calendar()) {
        let due = |limit| due_at(limit, at, &calendar);
        let pair = |limit: fn(u16) -> Limit| (due(limit(count)), due(limit(count + 1)));
        for (shorter, longer) in [pair(Limit::WorkingDays), pair(Limit::WorkingHours)] {
            prop_assert!(shorter <= longer);
        }
        // Two calendar days of one weekend end together.
        let (shorter, longer) = pair(Limit::CalendarDays);
        prop_assert!(shorter <= longer);
    }

    #[test]
    fn a_later_reception_is_not_due_earlier(limit in limit(), at in instant(), gap in gap(), calendar in calendar()) {
        let terms = Terms { limit, start: StartPolicy::AtReceipt, supplement: SupplementPolicy::Resume };
        let promised = |at| received(terms, at, &calendar).parts().promised.unwrap();
        let (first, second) = (promised(at), promised(after(at, gap)));
        // A count of calendar days that ends on a rest day keeps its hour on the working day after, see `due`.
        let (first_end, second_end) = (first.counted_to.date(), second.counted_to.date());
        let from_rest_day = !calendar.is_working_day(first_end).unwrap();
        let excused = from_rest_day && second_end <= calendar.working_day_after(first_end, 1).unwrap();
        prop_assert!(excused || first.falls <= second.falls, "{first:?} {second:?}");
        prop_assert!(!excused || matches!(limit, Limit::CalendarDays(_)));
    }

    #[test]
    fn working_time_undoes_its_addition(at in instant(), hours in 0u16..90, calendar in calendar()) {
        let span = super::hours_of(hours);
        let end = calendar.after_working_time(at, span).unwrap();
        prop_assert_eq!(calendar.working_time(at, end), Ok(span));
    }

    #[test]
    fn working_time_adds_up(at in instant(), gaps in (gap(), gap()), calendar in calendar()) {
        let (middle, end) = (after(at, gaps.0), after(after(at, gaps.0), gaps.1));
        let parts = calendar.working_time(at, middle).unwrap() + calendar.working_time(middle, end).unwrap();
        prop_assert_eq!(calendar.working_time(at, end), Ok(parts));
    }

    #[test]
    fn pausing_and_resuming_at_once_moves_no_date(
        terms in terms(), at in instant(), story in story(), gap in gap(), cause in 0..CAUSES.len(),
        calendar in calendar(),
    ) {
        let clock = play(received(terms, at, &calendar), &story, &calendar).pop().unwrap();
        let now = after(clock.latest().unwrap(), gap);
        let cause = CAUSES[cause];
        let after = clock.pause(cause, now).unwrap().resume(cause, now, &calendar).unwrap();
        let mut expected = clock.parts().clone();
        expected.latest = Some(now);
        prop_assert_eq!(after.parts(), &expected);
    }

    #[test]
    fn no_story_of_pauses_moves_a_date_earlier_or_out_of_working_hours(
        terms in terms(), at in instant(), story in story(), calendar in calendar(),
    ) {
        let clocks = play(received(terms, at, &calendar), &story, &calendar);
        for pair in clocks.windows(2) {
            prop_assert!(pair[0].due() <= pair[1].due(), "{pair:?}");
            prop_assert!(calendar.is_working_time(pair[1].due().unwrap()).unwrap());
            prop_assert_eq!(pair[0].original_due(), pair[1].original_due());
        }
    }

    #[test]
    fn a_dossier_on_time_when_it_stops_is_on_time_when_it_goes_on(
        terms in terms(), at in instant(), story in story(), calendar in calendar(),
    ) {
        for pair in play(received(terms, at, &calendar), &story, &calendar).windows(2) {
            let (before, now) = (&pair[0], pair[1].latest().unwrap());
            if before.stopped_since().is_some() {
                prop_assert_eq!(pair[1].is_late(now), before.is_late(now), "{:?}", pair);
            }
        }
    }

    #[test]
    fn overlapping_pauses_equal_their_union(
        limit in limit(), at in instant(), story in story(), calendar in calendar(),
    ) {
        let terms = Terms { limit, start: StartPolicy::AtReceipt, supplement: SupplementPolicy::Resume };
        let overlapping = play(received(terms, at, &calendar), &story, &calendar);
        let cause = PauseCause::OtherAgency;
        let union = stops(&overlapping).into_iter().fold(received(terms, at, &calendar), |clock, (from, to)| {
            clock.pause(cause, from).unwrap().resume(cause, to, &calendar).unwrap()
        });
        let overlapping = overlapping.last().unwrap();
        prop_assert_eq!(union.promised(), overlapping.promised());
        prop_assert_eq!(union.due(), overlapping.due());
    }

    #[test]
    fn two_pauses_that_touch_equal_one(
        limit in limit(), at in instant(), wait in gap(), gaps in (gap(), gap()), calendar in calendar(),
    ) {
        let terms = Terms { limit, start: StartPolicy::AtReceipt, supplement: SupplementPolicy::Resume };
        let clock = received(terms, at, &calendar);
        let (from, cause) = (after(at, wait), PauseCause::Expertise);
        let (middle, to) = (after(from, gaps.0), after(after(from, gaps.0), gaps.1));
        let pause = |clock: &Clock, from, to| clock.pause(cause, from).unwrap().resume(cause, to, &calendar).unwrap();
        prop_assert_eq!(pause(&pause(&clock, from, middle), middle, to).due(), pause(&clock, from, to).due());
    }

    /// Where every working day has the same hours; a half-day counted as a day makes days and hours incomparable.
    #[test]
    fn a_restart_never_gives_less_than_going_on(
        limit in limit(), at in instant(), wait in gap(), length in gap(),
    ) {
        let calendar = uniform();
        let ended = |supplement| {
            let clock = received(Terms { limit, start: StartPolicy::AtReceipt, supplement }, at, &calendar);
            let from = after(at, wait);
            let clock = clock.pause(PauseCause::Supplement, from).unwrap();
            clock.resume(PauseCause::Supplement, after(from, length), &calendar).unwrap().due().unwrap()
        };
        let (resumed, restarted) = (ended(SupplementPolicy::Resume), ended(SupplementPolicy::Restart));
        match limit {
            // A later hour of the same Monday, see `due`.
            Limit::CalendarDays(_) => prop_assert!(resumed.date() <= restarted.date(), "{resumed} {restarted}"),
            _ => prop_assert!(resumed <= restarted, "{resumed} {restarted}"),
        }
    }

    #[test]
    fn an_extension_changes_the_due_date_and_nothing_it_is_measured_by(
        terms in terms(), at in instant(), days in 1u16..20, story in story(), calendar in calendar(),
    ) {
        let clock = received(terms, at, &calendar);
        let new_due = due_at(Limit::WorkingDays(days), clock.due().unwrap(), &calendar);
        let extended = clock.extend(new_due, "the file is incomplete", at, &calendar).unwrap();
        prop_assert_eq!(extended.due(), Some(new_due));

        let plain = play(clock, &story, &calendar);
        let extended = play(extended, &story, &calendar);
        for (plain, extended) in plain.iter().zip(&extended) {
            prop_assert_eq!(plain.original_due(), extended.original_due());
            prop_assert_eq!(plain.promised(), extended.promised());
            prop_assert!(plain.due() <= extended.due());
        }
    }
}
