//! The two clocks of the bus.
//!
//! The *business clock* is the time of the law: reception, codes, deadlines. It is an argument of every decision, so that
//! a day can be replayed. The *machine clock* is the time of the machines: receipts, leases, time-outs. The two are never
//! compared with each other.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use lgsp_proto::types::BusinessTime;

/// The time of the law.
#[derive(Debug)]
pub enum BusinessClock {
    /// Runs with the machine's clock.
    System,
    /// Stands where it was last set: a replay moves it on.
    Replay(AtomicI64),
}

impl BusinessClock {
    /// A clock that stands at `start` until it is set.
    pub fn replay(start: BusinessTime) -> Self {
        Self::Replay(AtomicI64::new(start.unix_seconds()))
    }

    /// Now, by the law's clock.
    pub fn now(&self) -> BusinessTime {
        let seconds = match self {
            Self::System => unix_seconds(machine_now()),
            Self::Replay(seconds) => seconds.load(Ordering::Acquire),
        };
        BusinessTime::from_unix_seconds(seconds).expect("a machine's clock and a set clock are within the calendar")
    }

    /// What this clock showed, as far as is known, when something that occurred at `occurred_at` was admitted at `admitted_at`:
    /// it runs with the machine's, except in a replay, of which nobody knows where it stood.
    pub fn at_admission(&self, admitted_at: SystemTime, occurred_at: BusinessTime) -> BusinessTime {
        match self {
            Self::System => BusinessTime::from_unix_seconds(unix_seconds(admitted_at)).unwrap_or(occurred_at),
            Self::Replay(_) => occurred_at,
        }
    }

    /// Moves a replay's clock on to `to`; it never goes back. Returns whether this clock can be set at all.
    pub fn advance(&self, to: BusinessTime) -> bool {
        match self {
            Self::System => false,
            Self::Replay(seconds) => {
                seconds.fetch_max(to.unix_seconds(), Ordering::AcqRel);
                true
            }
        }
    }
}

/// Now, by the machine's clock. The one place where the bus reads it.
pub fn machine_now() -> SystemTime {
    SystemTime::now()
}

/// Whole seconds since 1970; 0 before.
pub fn unix_seconds(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Whole milliseconds since 1970; 0 before.
pub fn unix_millis(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
