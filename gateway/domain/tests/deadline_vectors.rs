//! The published deadline vectors, all of them, on the national calendar of 2025 and 2026.

#![expect(clippy::unwrap_used, reason = "a malformed line of the test data shall stop the test")]

use jiff::civil::DateTime;
use lgsp_domain::{
    calendar::{Calendar, DayKind},
    deadline::{Limit, due},
};

const VECTORS: &str = include_str!("data/deadline_vectors.csv");
const HOLIDAYS: &str = include_str!("data/holidays_2025_2026.csv");

#[test]
fn all_eighteen_vectors_are_due_when_they_should_be() {
    let calendar = national_calendar();
    let vectors: Vec<&str> = rows(VECTORS).collect();
    assert_eq!(vectors.len(), 18);
    let wrong: Vec<String> = vectors.into_iter().filter_map(|vector| complaint(vector, &calendar)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn complaint(vector: &str, calendar: &Calendar) -> Option<String> {
    let [unit, n, received, expected] = columns(vector);
    let n: u16 = n.parse().unwrap();
    let limit = match unit {
        "working_day" => Limit::WorkingDays(n),
        "calendar_day" => Limit::CalendarDays(n),
        "hour" => Limit::WorkingHours(n),
        "same_day" => Limit::SAME_DAY,
        other => panic!("unknown unit {other}"),
    };
    let expected: DateTime = expected.parse().unwrap();
    let answer = due(limit, received.parse().unwrap(), calendar);
    (answer != Ok(Some(expected))).then(|| format!("{vector}: got {answer:?}"))
}

fn national_calendar() -> Calendar {
    let days = rows(HOLIDAYS).map(|row| {
        let [date, kind] = columns(row);
        let kind = match kind {
            "holiday" => DayKind::Holiday,
            "day_off" => DayKind::DayOff,
            "working_day" => DayKind::Worked,
            other => panic!("unknown kind of day {other}"),
        };
        (date.parse().unwrap(), kind)
    });
    Calendar::builder(2025..=2026).days(days).build().unwrap()
}

/// The lines after the comment and the header.
fn rows(csv: &'static str) -> impl Iterator<Item = &'static str> {
    csv.lines().filter(|line| !line.starts_with('#')).skip(1)
}

/// The first columns; the ones we read are never quoted.
fn columns<const N: usize>(row: &str) -> [&str; N] {
    let all: Vec<&str> = row.split(',').take(N).collect();
    all.try_into().unwrap()
}
