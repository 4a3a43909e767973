//! When a service is left alone: it has failed too often of late, and everybody who asks would wait for nothing.
//!
//! Pure: moments come in. What counts as a failure is decided by whoever asks; a service that says "nobody of that name" is well.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What is looked back at.
const WINDOW: Duration = Duration::from_secs(20);

/// Ends kept of it, so that a busy service costs no more memory than a quiet one.
const KEPT: usize = 64;

/// From how many failures on in the window a service may be left alone.
const FAILURES_LEAST: usize = 5;

/// For how long.
const ALONE: Duration = Duration::from_secs(5);

/// Whether questions are passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// They are.
    Open,
    /// They are not, for so long.
    Suspended(Duration),
    /// One is, to see; or one is under way already, and the others are not for so long.
    Trying,
}

/// How a question ended, as far as that says something about the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// It is well.
    Well,
    /// It failed.
    Failed,
    /// Nothing: whoever asked waited less than the service may take. Else callers in a hurry would put it out for everybody.
    Unsaid,
}

/// The state of one service.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// When questions ended, and whether in failure; the oldest first.
    ends: VecDeque<(Instant, bool)>,
    /// Until when it is left alone; set until a trial went well.
    until: Option<Instant>,
    is_trying: bool,
}

impl Breaker {
    /// How it stands.
    pub(super) fn flow(&self, now: Instant) -> Flow {
        match self.until {
            None => Flow::Open,
            Some(until) if now < until => Flow::Suspended(until - now),
            Some(_) if self.is_trying => Flow::Suspended(ALONE),
            Some(_) => Flow::Trying,
        }
    }

    /// A question is passed on, as [`Breaker::flow`] said it may be; answers whether it is the trial.
    pub(super) fn begin(&mut self) -> bool {
        self.is_trying = self.until.is_some();
        self.is_trying
    }

    /// A question has ended, the trial or another; answers whether the service is left alone from now on.
    pub(super) fn end(&mut self, is_trial: bool, ended: Ended, now: Instant) -> bool {
        if is_trial {
            self.is_trying = false;
            match ended {
                Ended::Well => *self = Self::default(),
                Ended::Failed => self.until = Some(now + ALONE),
                // The next one is the trial.
                Ended::Unsaid => {}
            }
            return ended == Ended::Failed;
        }
        // What was under way before it was left alone decides nothing any more.
        if self.until.is_some() || ended == Ended::Unsaid {
            return false;
        }
        let failed = ended == Ended::Failed;
        self.ends.push_back((now, failed));
        while self.ends.len() > KEPT || self.ends.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.ends.pop_front();
        }
        let failures = self.ends.iter().filter(|(_, failed)| *failed).count();
        if failures < FAILURES_LEAST || failures * 2 < self.ends.len() {
            return false;
        }
        self.ends.clear();
        self.until = Some(now + ALONE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(times: usize, now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..times {
            assert!(!breaker.begin());
            breaker.end(false, Ended::Failed, now);
        }
        breaker
    }

    #[test]
    fn a_service_is_left_alone_when_half_of_what_it_was_asked_of_late_has_failed() {
        let now = Instant::now();
        assert_eq!(failing(FAILURES_LEAST - 1, now).flow(now), Flow::Open);
        assert_eq!(failing(FAILURES_LEAST, now).flow(now), Flow::Suspended(ALONE));
        let mut mixed = Breaker::default();
        for number in 0..60 {
            mixed.end(false, if number % 3 == 0 { Ended::Failed } else { Ended::Well }, now);
        }
        assert_eq!(mixed.flow(now), Flow::Open);
        let mut slow = failing(FAILURES_LEAST - 1, now);
        let later = now + WINDOW + Duration::from_secs(1);
        assert!(!slow.end(false, Ended::Failed, later), "what is long ago does not count");
    }

    #[test]
    fn one_trial_decides_whether_it_comes_back() {
        let now = Instant::now();
        let mut breaker = failing(FAILURES_LEAST, now);
        let later = now + ALONE;
        assert_eq!(breaker.flow(later), Flow::Trying);
        assert!(breaker.begin());
        assert_eq!(breaker.flow(later), Flow::Suspended(ALONE));
        assert!(breaker.end(true, Ended::Failed, later));
        assert_eq!(breaker.flow(later), Flow::Suspended(ALONE));
        assert_eq!(breaker.flow(later + ALONE), Flow::Trying);
        assert!(breaker.begin());
        assert!(!breaker.end(true, Ended::Well, later + ALONE));
        assert_eq!(breaker.flow(later + ALONE), Flow::Open);
    }

    #[test]
    fn what_was_under_way_before_decides_no_trial() {
        let now = Instant::now();
        let mut breaker = failing(FAILURES_LEAST, now);
        assert!(!breaker.end(false, Ended::Well, now));
        assert_eq!(breaker.flow(now), Flow::Suspended(ALONE));
        let later = now + ALONE;
        assert!(breaker.begin());
        for ended in [Ended::Well, Ended::Failed] {
            assert!(!breaker.end(false, ended, later));
            assert_eq!(breaker.flow(later), Flow::Suspended(ALONE));
        }
    }

    #[test]
    fn who_waits_too_short_says_nothing_about_the_service() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            assert!(!breaker.end(false, Ended::Unsaid, now));
        }
        assert_eq!(breaker.flow(now), Flow::Open);
        let mut breaker = failing(FAILURES_LEAST, now);
        let later = now + ALONE;
        assert!(breaker.begin());
        assert!(!breaker.end(true, Ended::Unsaid, later));
        assert_eq!(breaker.flow(later), Flow::Trying);
    }
}
