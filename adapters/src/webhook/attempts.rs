//! What became of the last posts: for the agency's developer, who sees from it what to mend. In memory and bounded; no content.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::outcome::Outcome;

/// How many posts are remembered, of all URLs together.
const KEPT: usize = 1000;

/// One post.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Which one since the start, from 1.
    pub(crate) number: u64,
    pub(crate) at_ms: i64,
    /// Which URL.
    pub(crate) place: usize,
    /// The event's id, the same however often it is posted.
    pub(crate) id: String,
    /// Its type.
    pub(crate) kind: String,
    pub(crate) party: String,
    pub(crate) dossier_code: Option<String>,
    /// Which try of this event, since the start.
    pub(crate) attempt: u32,
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
}

/// How one URL does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    pub(crate) last_taken_ms: Option<i64>,
    pub(crate) last_failure: Option<(i64, Outcome)>,
    /// The first failure since anything was last taken.
    pub(crate) failing_since_ms: Option<i64>,
}

/// See the module.
pub(crate) struct Attempts(Mutex<Inner>);

struct Inner {
    noted: u64,
    /// The latest first.
    last: VecDeque<Attempt>,
    health: Vec<Health>,
}

impl Attempts {
    pub(super) fn new(places: usize) -> Self {
        Self(Mutex::new(Inner { noted: 0, last: VecDeque::new(), health: vec![Health::default(); places] }))
    }

    /// Takes note of a post; `counts` says whether it says how the URL does. The number is given here.
    pub(super) fn note(&self, mut attempt: Attempt, counts: bool) {
        let mut inner = self.inner();
        inner.noted += 1;
        attempt.number = inner.noted;
        if counts && let Some(health) = inner.health.get_mut(attempt.place) {
            if attempt.outcome == Outcome::Taken {
                (health.last_taken_ms, health.failing_since_ms) = (Some(attempt.at_ms), None);
            } else {
                health.last_failure = Some((attempt.at_ms, attempt.outcome));
                health.failing_since_ms.get_or_insert(attempt.at_ms);
            }
        }
        inner.last.truncate(KEPT - 1);
        inner.last.push_front(attempt);
    }

    /// The latest posts with a number below `before` that are `wanted`, the latest first.
    pub(crate) fn page(&self, before: u64, most: usize, wanted: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        let inner = self.inner();
        let earlier = inner.last.iter().filter(|attempt| attempt.number < before && wanted(attempt));
        earlier.take(most).cloned().collect()
    }

    pub(crate) fn health(&self, place: usize) -> Health {
        self.inner().health.get(place).cloned().unwrap_or_default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // No holder panics between two statements that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(at_ms: i64, outcome: Outcome) -> Attempt {
        let (id, party) = (format!("H57.101/A-1/{at_ms}"), "H57.101".to_owned());
        let kind = "vn.lgsp.dossier.accepted.v1".to_owned();
        let duration = Duration::from_millis(3);
        Attempt { number: 0, at_ms, place: 0, id, kind, party, dossier_code: None, attempt: 1, outcome, duration }
    }

    #[test]
    fn only_so_many_are_remembered_and_they_come_in_pages_the_latest_first() {
        let attempts = Attempts::new(1);
        for at_ms in 1..=KEPT as i64 + 5 {
            attempts.note(attempt(at_ms, Outcome::Taken), true);
        }
        let all = attempts.page(u64::MAX, usize::MAX, |_| true);
        assert_eq!((all.len(), all[0].number, all[KEPT - 1].number), (KEPT, KEPT as u64 + 5, 6));
        let page = attempts.page(all[1].number, 2, |attempt| attempt.at_ms % 2 == 0);
        assert_eq!(page.iter().map(|attempt| attempt.at_ms).collect::<Vec<_>>(), [1002, 1000]);
    }

    #[test]
    fn a_url_is_failing_since_its_first_failure_and_until_it_takes_something() {
        let attempts = Attempts::new(1);
        for (at_ms, outcome) in [(1, Outcome::Taken), (2, Outcome::TimedOut), (3, Outcome::BrokenOff)] {
            attempts.note(attempt(at_ms, outcome), true);
        }
        let health = attempts.health(0);
        assert_eq!((health.last_taken_ms, health.failing_since_ms), (Some(1), Some(2)));
        assert_eq!(health.last_failure, Some((3, Outcome::BrokenOff)));
        // A trial is none of the events that wait.
        attempts.note(attempt(4, Outcome::Taken), false);
        assert_eq!(attempts.health(0).failing_since_ms, Some(2));
        attempts.note(attempt(5, Outcome::Taken), true);
        assert_eq!(attempts.health(0).failing_since_ms, None);
    }
}
