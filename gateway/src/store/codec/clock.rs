//! A dossier's clock, taken apart and put together again without computing a date.

use jiff::civil::{DateTime, Time};
use lgsp_domain::deadline::Limit;
use lgsp_domain::deadline::clock::{Appointment, Clock, ClockParts, OpenPause, StartPolicy, SupplementPolicy, Terms};
use lgsp_proto::store_v1;
use lgsp_proto::store_v1::limit::Measure;

use super::Unreadable;
use super::values::{civil, civil_seconds, civil_some, pause_cause, pause_cause_number};

pub(super) fn clock_record(clock: &Clock) -> store_v1::ClockState {
    let parts = clock.parts();
    let seconds = |time: Option<DateTime>| time.map(civil_seconds);
    store_v1::ClockState {
        limit: Some(limit_record(parts.terms.limit)),
        start: match parts.terms.start {
            StartPolicy::AtReceipt => store_v1::StartPolicy::AtReceipt.into(),
            StartPolicy::AtAuthority => store_v1::StartPolicy::AtAuthority.into(),
        },
        supplement: match parts.terms.supplement {
            SupplementPolicy::Resume => store_v1::SupplementPolicy::Resume.into(),
            SupplementPolicy::Restart => store_v1::SupplementPolicy::Restart.into(),
        },
        counts_from: seconds(parts.counts_from),
        original_due: seconds(parts.original_due),
        promised: parts.promised.map(appointment_record),
        extended: parts.extended.map(appointment_record),
        open: parts
            .open
            .iter()
            .map(|pause| store_v1::OpenPause {
                cause: pause_cause_number(pause.cause),
                since: civil_seconds(pause.since),
            })
            .collect(),
        stopped_since: seconds(parts.stopped_since),
        restarting: parts.restarting,
        latest: seconds(parts.latest),
    }
}

pub(super) fn clock(stored: &store_v1::ClockState) -> Result<Clock, Unreadable> {
    Ok(Clock::from_parts(ClockParts {
        terms: Terms {
            limit: limit(stored.limit.as_ref().ok_or(Unreadable("limit"))?)?,
            start: match store_v1::StartPolicy::try_from(stored.start) {
                Ok(store_v1::StartPolicy::AtReceipt) => StartPolicy::AtReceipt,
                Ok(store_v1::StartPolicy::AtAuthority) => StartPolicy::AtAuthority,
                Ok(store_v1::StartPolicy::Unspecified) | Err(_) => return Err(Unreadable("start")),
            },
            supplement: match store_v1::SupplementPolicy::try_from(stored.supplement) {
                Ok(store_v1::SupplementPolicy::Resume) => SupplementPolicy::Resume,
                Ok(store_v1::SupplementPolicy::Restart) => SupplementPolicy::Restart,
                Ok(store_v1::SupplementPolicy::Unspecified) | Err(_) => return Err(Unreadable("supplement")),
            },
        },
        counts_from: civil_some("counts_from", stored.counts_from)?,
        original_due: civil_some("original_due", stored.original_due)?,
        promised: stored.promised.as_ref().map(appointment).transpose()?,
        extended: stored.extended.as_ref().map(appointment).transpose()?,
        open: stored
            .open
            .iter()
            .map(|pause| {
                Ok(OpenPause { cause: pause_cause("cause", pause.cause)?, since: civil("since", pause.since)? })
            })
            .collect::<Result<_, Unreadable>>()?,
        stopped_since: civil_some("stopped_since", stored.stopped_since)?,
        restarting: stored.restarting,
        latest: civil_some("latest", stored.latest)?,
    }))
}

fn limit_record(limit: Limit) -> store_v1::Limit {
    let measure = match limit {
        Limit::WorkingDays(days) => Some(Measure::WorkingDays(days.into())),
        Limit::CalendarDays(days) => Some(Measure::CalendarDays(days.into())),
        Limit::WorkingHours(hours) => Some(Measure::WorkingHours(hours.into())),
        Limit::SameDay { cutoff } => Some(Measure::SameDayCutoff(seconds_of_day(cutoff))),
        Limit::Unlimited => None,
    };
    store_v1::Limit { measure }
}

fn limit(stored: &store_v1::Limit) -> Result<Limit, Unreadable> {
    let count = |count: u32| u16::try_from(count).map_err(|_| Unreadable("limit"));
    Ok(match stored.measure {
        Some(Measure::WorkingDays(days)) => Limit::WorkingDays(count(days)?),
        Some(Measure::CalendarDays(days)) => Limit::CalendarDays(count(days)?),
        Some(Measure::WorkingHours(hours)) => Limit::WorkingHours(count(hours)?),
        Some(Measure::SameDayCutoff(seconds)) => Limit::SameDay { cutoff: time_of_day(seconds)? },
        None => Limit::Unlimited,
    })
}

fn seconds_of_day(time: Time) -> u32 {
    // The fields of a time of day are never negative.
    (i32::from(time.hour()) * 3_600 + i32::from(time.minute()) * 60 + i32::from(time.second())).unsigned_abs()
}

fn time_of_day(seconds: u32) -> Result<Time, Unreadable> {
    let part = |value: u32| i8::try_from(value).map_err(|_| Unreadable("same_day_cutoff"));
    Time::new(part(seconds / 3_600)?, part(seconds / 60 % 60)?, part(seconds % 60)?, 0)
        .map_err(|_| Unreadable("same_day_cutoff"))
}

fn appointment_record(appointment: Appointment) -> store_v1::Appointment {
    store_v1::Appointment { counted_to: civil_seconds(appointment.counted_to), falls: civil_seconds(appointment.falls) }
}

fn appointment(stored: &store_v1::Appointment) -> Result<Appointment, Unreadable> {
    Ok(Appointment { counted_to: civil("counted_to", stored.counted_to)?, falls: civil("falls", stored.falls)? })
}
