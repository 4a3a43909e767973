//! What is asked while the ministry says that it is being maintained: one question a second, to see whether it is back. The others hear the
//! same without being asked, so that a service that starts again does not meet everybody at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long it is left alone.
const REST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Maintenance(Mutex<Option<Instant>>);

impl Maintenance {
    /// Whether a question may be asked now. During maintenance the first one after the rest may, and begins another rest.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *until {
            Some(rests) if now < rests => return false,
            Some(_) => *until = Some(now + REST),
            None => {}
        }
        true
    }

    /// The ministry has said that it is maintained, or anything else.
    pub(super) fn heard(&self, is_maintained: bool, now: Instant) {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *until = is_maintained.then_some(now + REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn during_maintenance_one_question_a_second_finds_out_whether_it_is_over() {
        let (maintenance, now) = (Maintenance::default(), Instant::now());
        let asked = |after: Duration| (0..5).filter(|_| maintenance.may_ask(now + after)).count();
        assert_eq!(asked(Duration::ZERO), 5);
        maintenance.heard(true, now);
        assert_eq!(asked(REST / 2), 0);
        assert_eq!(asked(REST), 1);
        assert_eq!(asked(REST * 3 / 2), 0);
        assert_eq!(asked(REST * 2), 1);
        maintenance.heard(false, now);
        assert_eq!(asked(REST * 2), 5);
    }
}
