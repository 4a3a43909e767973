//! Working calendars as the files declare them.

use jiff::civil::Date;

use super::problem::{Fault, ProblemKind};
use super::procedure::{parse_time, print_time};
use super::source::{Entry, FromText};
use crate::calendar::{Calendar, CalendarProblem, DayKind, HalfDay};

/// A `[[calendar]]` of the files, and the calendar it makes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeclaredCalendar {
    /// Its identifier; parties refer to it.
    pub id: String,
    /// What it is, for people.
    pub name: String,
    /// Half-days of an ordinary day.
    pub hours: Vec<HalfDay>,
    /// A Saturday morning on which dossiers are taken in.
    pub saturday_morning: Option<HalfDay>,
    /// Its own days and those of the calendar it takes days from.
    pub days: Vec<NamedDay>,
    /// The finished calendar.
    pub calendar: Calendar,
}

/// A date that does not follow its weekday.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedDay {
    /// The date.
    pub date: Date,
    /// What it is instead.
    pub kind: DayKind,
    /// Why.
    pub name: String,
}

/// A calendar as far as its own entry tells: its days may be those of another.
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) days_of: Option<String>,
    name: String,
    years: Vec<i16>,
    hours: Vec<HalfDay>,
    saturday_morning: Option<HalfDay>,
    days: Vec<NamedDay>,
}

impl Draft {
    pub(super) fn read(entry: &Entry<'_>) -> Option<Self> {
        let id = entry.text("id");
        let name = entry.text("name");
        let years = entry.numbers("years");
        let hours: Vec<Hours> = entry.values("hours");
        let saturday_morning = entry.optional::<Hours>("saturday_morning");
        let days_of = entry.optional_text("days_of");
        let days = read_days(entry);
        let hours: Vec<HalfDay> = hours.into_iter().map(|hours| hours.0).collect();
        let usual = vec![HalfDay::MORNING, HalfDay::AFTERNOON];
        Some(Self {
            id: id?,
            days_of,
            name: name?,
            years: years?,
            hours: if entry.has("hours") { hours } else { usual },
            saturday_morning: saturday_morning.map(|hours| hours.0),
            days,
        })
    }

    /// Builds the calendar with its own days and, before them, those of the calendar it refers to.
    pub(super) fn build(&self, others: &[&Draft]) -> Result<DeclaredCalendar, Vec<Fault>> {
        let lender = self.days_of.as_ref().and_then(|id| others.iter().find(|other| other.id == *id));
        let own = |day: &&NamedDay| !self.days.iter().any(|mine| mine.date == day.date);
        let lent = lender.into_iter().flat_map(|lender| lender.days.iter().filter(own));
        let days: Vec<NamedDay> = lent.chain(&self.days).cloned().collect();
        // A gap would be a year without holidays; the calendar knows only a first and a last year.
        let mut years = self.years.clone();
        years.sort_unstable();
        if years.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            return Err(vec![Fault::new(
                "các năm trong years phải liên tiếp, mỗi năm một lần",
                "the years must follow one another",
            )]);
        }
        // No year at all is an empty range, which the calendar refuses itself.
        let (first, last) = (years.first().copied().unwrap_or(1), years.last().copied().unwrap_or(0));
        let builder = Calendar::builder(first..=last)
            .hours(self.hours.iter().copied())
            .days(days.iter().map(|day| (day.date, day.kind)));
        let builder = match self.saturday_morning {
            Some(morning) => builder.saturday_reception(morning),
            None => builder,
        };
        let calendar = builder.build().map_err(|problems| problems.into_iter().map(fault).collect::<Vec<_>>())?;
        Ok(DeclaredCalendar {
            id: self.id.clone(),
            name: self.name.clone(),
            hours: self.hours.clone(),
            saturday_morning: self.saturday_morning,
            days,
            calendar,
        })
    }
}

fn fault(problem: CalendarProblem) -> Fault {
    let vi = match problem {
        CalendarProblem::NoYears => "phải nêu ít nhất một năm (years)".to_owned(),
        CalendarProblem::NoWorkingDay => "không ngày nào trong tuần có giờ làm việc".to_owned(),
        CalendarProblem::OrdinaryHours => "giờ làm việc (hours) trống, chồng nhau hoặc sai thứ tự".to_owned(),
        CalendarProblem::Hours { .. } => "giờ của một ngày trong tuần chồng nhau hoặc sai thứ tự".to_owned(),
        CalendarProblem::SaturdayTwice => "sáng thứ bảy vừa là giờ làm việc vừa là giờ chỉ tiếp nhận".to_owned(),
        CalendarProblem::OutsideYears { date } => format!("ngày {date} nằm ngoài các năm đã khai (years)"),
        CalendarProblem::Contradiction { date } => format!("ngày {date} khai hai lần khác nhau"),
    };
    Fault::new(vi, problem.to_string())
}

fn read_days(entry: &Entry<'_>) -> Vec<NamedDay> {
    let mut days: Vec<NamedDay> = Vec::new();
    for entry in entry.tables("days") {
        let date = entry.required_date("date");
        let kind = entry.value::<Kind>("kind");
        let name = entry.text("name");
        if let (Some(date), Some(kind), Some(name)) = (date, kind, name) {
            if days.iter().any(|day| day.date == date) {
                let fault = Fault::new(format!("ngày {date} khai hai lần"), format!("{date} is declared twice"));
                entry.problem("date", ProblemKind::Duplicate, fault);
            } else {
                days.push(NamedDay { date, kind: kind.0, name });
            }
        }
        entry.finish();
    }
    days
}

/// `holiday`, `day-off`, `worked`.
struct Kind(DayKind);

impl FromText for Kind {
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "holiday" => Ok(Self(DayKind::Holiday)),
            "day-off" => Ok(Self(DayKind::DayOff)),
            "worked" => Ok(Self(DayKind::Worked)),
            _ => Err(Fault::new(
                format!("\"{text}\" không thuộc các giá trị: holiday, day-off, worked"),
                format!("\"{text}\" is none of: holiday, day-off, worked"),
            )),
        }
    }
}

/// `07:00-11:30`.
struct Hours(HalfDay);

impl FromText for Hours {
    fn from_text(text: &str) -> Result<Self, Fault> {
        let half_day = text
            .split_once('-')
            .and_then(|(opens, closes)| Some(HalfDay { opens: parse_time(opens)?, closes: parse_time(closes)? }));
        half_day.map(Self).ok_or_else(|| {
            Fault::new(
                format!("\"{text}\" không phải giờ làm việc; ví dụ 07:00-11:30"),
                format!("\"{text}\" is no stretch of working hours; write e.g. 07:00-11:30"),
            )
        })
    }
}

/// Writes half-days the way the files do.
pub(super) fn print_hours(hours: &[HalfDay]) -> String {
    let half_days: Vec<String> =
        hours.iter().map(|half| format!("{}-{}", print_time(half.opens), print_time(half.closes))).collect();
    half_days.join(", ")
}
