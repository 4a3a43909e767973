//! Work in lanes: within a lane one thing after the other, lanes side by side.
//!
//! Pure: times come in as arguments, and nothing here waits. The invariant is that a lane's next item is not given out
//! before the previous one was called done; a failed item stays at the head of its lane.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Items by lane.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    lanes: HashMap<Arc<str>, Lane<T>>,
    ready: VecDeque<Arc<str>>,
    delayed: BTreeSet<(Instant, Arc<str>)>,
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Lane<T> {
    items: VecDeque<T>,
    /// How often the head was tried in vain.
    failures: u32,
    /// Whether the head was given out and nobody has said yet what became of it.
    taken: bool,
    /// How many items were put before a head that was given out: it goes behind them if it fails.
    overtaken: usize,
    /// It is tried again at once if it fails: what it was given out under has changed meanwhile.
    hurried: bool,
}

/// The head of a lane, to be done now. The lane waits until it is told what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Job<T> {
    pub(crate) lane: Arc<str>,
    pub(crate) item: T,
    /// 1 at the first try.
    pub(crate) attempt: u32,
}

impl<T> Lane<T> {
    fn of(items: VecDeque<T>) -> Self {
        Self { items, failures: 0, taken: false, overtaken: 0, hurried: false }
    }
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new(), delayed: BTreeSet::new(), paused_until: None }
    }
}

impl<T: Clone> Lanes<T> {
    /// Puts an item at the end of its lane.
    pub(crate) fn push(&mut self, lane: &Arc<str>, item: T) {
        match self.lanes.get_mut(lane) {
            Some(existing) => existing.items.push_back(item),
            None => {
                self.lanes.insert(lane.clone(), Lane::of([item].into()));
                self.ready.push_back(lane.clone());
            }
        }
    }

    /// Puts items at the beginning of a lane, in this order. A head that was given out stays what it is until it is told what
    /// became of it; if it failed, they go before it.
    pub(crate) fn put_first(&mut self, lane: &Arc<str>, items: Vec<T>) {
        let count = items.len();
        let entry = match self.lanes.get_mut(lane) {
            Some(entry) => entry,
            None => {
                self.lanes.insert(lane.clone(), Lane::of(items.into()));
                self.ready.push_back(lane.clone());
                return;
            }
        };
        let at = usize::from(entry.taken);
        for (offset, item) in items.into_iter().enumerate() {
            entry.items.insert(at + offset, item);
        }
        if entry.taken {
            entry.overtaken += count;
        } else {
            entry.failures = 0;
        }
    }

    /// The next item that may be done at `now`, the longest ready lane first.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Job<T>> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        while let Some((due, _)) = self.delayed.first()
            && *due <= now
        {
            self.ready.extend(self.delayed.pop_first().map(|(_, lane)| lane));
        }
        let lane = self.ready.pop_front()?;
        let entry = self.lanes.get_mut(&lane)?;
        let item = entry.items.front()?.clone();
        entry.taken = true;
        Some(Job { attempt: entry.failures + 1, item, lane })
    }

    /// The head of the lane is done; the next one may follow.
    pub(crate) fn done(&mut self, lane: &Arc<str>) {
        let Some(entry) = self.lanes.get_mut(lane) else { return };
        entry.items.pop_front();
        (entry.failures, entry.taken, entry.overtaken, entry.hurried) = (0, false, 0, false);
        if entry.items.is_empty() {
            self.lanes.remove(lane);
        } else {
            self.ready.push_back(lane.clone());
        }
    }

    /// The head of the lane failed; it is tried again at `due`.
    pub(crate) fn retry(&mut self, lane: &Arc<str>, due: Instant) {
        if let Some(entry) = self.lanes.get_mut(lane) {
            entry.failures = entry.failures.saturating_add(1);
        }
        self.postpone(lane, due);
    }

    /// The head of the lane was not tried, or came at the wrong moment; it is given out again at `due`, no failure counted.
    pub(crate) fn postpone(&mut self, lane: &Arc<str>, due: Instant) {
        if let Some(entry) = self.lanes.get_mut(lane) {
            entry.taken = false;
            if entry.overtaken > 0
                && let Some(head) = entry.items.pop_front()
            {
                let behind = std::mem::take(&mut entry.overtaken);
                entry.items.insert(behind, head);
                entry.failures = 0;
            }
            if std::mem::take(&mut entry.hurried) {
                entry.failures = 0;
                self.ready.push_back(lane.clone());
            } else {
                self.delayed.insert((due, lane.clone()));
            }
        }
    }

    /// Everything that waits to be tried again is tried now, as if it had never failed, and what was given out is once it has
    /// failed. A pause stays.
    pub(crate) fn hurry(&mut self) {
        for (_, lane) in std::mem::take(&mut self.delayed) {
            if let Some(entry) = self.lanes.get_mut(&lane) {
                entry.failures = 0;
            }
            self.ready.push_back(lane);
        }
        self.lanes.values_mut().for_each(|lane| lane.hurried = lane.taken);
    }

    /// The lane's head is tried now if it waits to be tried again, and if it was given out, once it has failed.
    pub(crate) fn wake(&mut self, lane: &str) {
        let waits = self.delayed.iter().find(|(_, delayed)| &**delayed == lane).cloned();
        if let Some(waits) = waits {
            self.delayed.remove(&waits);
            self.ready.push_back(waits.1);
        } else if let Some(entry) = self.lanes.get_mut(lane) {
            entry.hurried = entry.taken;
        }
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.items.len()).sum()
    }

    /// Nothing is given out before `until`.
    pub(crate) fn pause(&mut self, until: Instant) {
        self.paused_until = Some(until);
    }

    /// When [`Lanes::take`] may give something that it does not give at `now`; `None` if that takes more than waiting.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        let paused = self.paused_until.filter(|until| *until > now && !self.ready.is_empty());
        let delayed = self.delayed.first().map(|(due, _)| self.paused_until.map_or(*due, |until| until.max(*due)));
        match (paused, delayed) {
            (Some(paused), Some(delayed)) => Some(paused.min(delayed)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn lane(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn a_lane_goes_one_after_the_other_and_lanes_side_by_side() {
        let (now, mut lanes) = (Instant::now(), Lanes::default());
        lanes.push(&lane("a"), 1);
        lanes.push(&lane("a"), 2);
        lanes.push(&lane("b"), 3);
        assert_eq!(lanes.take(now).unwrap().item, 1);
        assert_eq!(lanes.take(now).unwrap().item, 3);
        assert_eq!(lanes.take(now), None);
        lanes.done(&lane("a"));
        assert_eq!(lanes.take(now).unwrap().item, 2);
        lanes.done(&lane("a"));
        lanes.done(&lane("b"));
        assert_eq!(lanes.take(now), None);
    }

    #[test]
    fn a_failed_head_is_tried_again_in_its_time_and_holds_nobody_else_up() {
        let (now, mut lanes) = (Instant::now(), Lanes::default());
        let later = now + Duration::from_secs(5);
        lanes.push(&lane("a"), 1);
        lanes.push(&lane("a"), 2);
        lanes.push(&lane("b"), 3);
        assert_eq!(lanes.take(now).unwrap().attempt, 1);
        lanes.retry(&lane("a"), later);
        assert_eq!(lanes.take(now).unwrap().item, 3);
        assert_eq!(lanes.take(now), None);
        assert_eq!(lanes.next_due(now), Some(later));
        assert_eq!(lanes.take(later), Some(Job { lane: lane("a"), item: 1, attempt: 2 }));
        lanes.done(&lane("a"));
        assert_eq!(lanes.take(later).map(|job| (job.item, job.attempt)), Some((2, 1)));
    }

    #[test]
    fn one_lane_is_woken_and_the_others_sleep_on() {
        let (now, mut lanes) = (Instant::now(), Lanes::default());
        for (name, item) in [("a", 1), ("b", 2)] {
            lanes.push(&lane(name), item);
            lanes.take(now).unwrap();
            lanes.postpone(&lane(name), now + Duration::from_secs(3600));
        }
        lanes.wake("b");
        lanes.wake("nobody");
        assert_eq!(lanes.take(now).map(|job| job.item), Some(2));
        assert_eq!(lanes.take(now), None);
        // Woken while it is under way, it does not go to sleep.
        lanes.wake("b");
        lanes.postpone(&lane("b"), now + Duration::from_secs(3600));
        assert_eq!(lanes.take(now).map(|job| job.item), Some(2));
    }

    #[test]
    fn what_is_put_first_goes_before_all_that_waits_and_a_head_under_way_goes_behind_it_only_if_it_fails() {
        let (now, mut lanes) = (Instant::now(), Lanes::default());
        let done = |lanes: &mut Lanes<i32>| {
            let job = lanes.take(now).unwrap();
            lanes.done(&job.lane);
            job.item
        };
        lanes.push(&lane("a"), 9);
        lanes.put_first(&lane("a"), vec![1, 2]);
        lanes.put_first(&lane("b"), vec![3]);
        assert_eq!([done(&mut lanes), done(&mut lanes)], [1, 3]);
        assert_eq!([done(&mut lanes), done(&mut lanes)], [2, 9]);

        lanes.push(&lane("a"), 9);
        assert_eq!(lanes.take(now).unwrap().item, 9);
        lanes.put_first(&lane("a"), vec![1, 2]);
        lanes.retry(&lane("a"), now);
        assert_eq!([done(&mut lanes), done(&mut lanes), done(&mut lanes)], [1, 2, 9]);

        lanes.push(&lane("a"), 9);
        lanes.take(now).unwrap();
        lanes.put_first(&lane("a"), vec![1]);
        lanes.done(&lane("a"));
        assert_eq!(done(&mut lanes), 1);
        assert_eq!(lanes.take(now), None);
    }

    #[test]
    fn what_waits_is_tried_at_once_when_it_is_hurried_and_what_is_under_way_when_it_has_failed() {
        let (now, mut lanes) = (Instant::now(), Lanes::default());
        let later = now + Duration::from_secs(3600);
        for (name, item) in [("a", 1), ("b", 2)] {
            lanes.push(&lane(name), item);
            lanes.take(now).unwrap();
        }
        lanes.retry(&lane("a"), later);
        lanes.hurry();
        assert_eq!(lanes.take(now), Some(Job { lane: lane("a"), item: 1, attempt: 1 }));
        assert_eq!(lanes.take(now), None, "it is under way");
        for name in ["b", "a"] {
            lanes.retry(&lane(name), later);
        }
        assert_eq!(lanes.take(now), Some(Job { lane: lane("b"), item: 2, attempt: 1 }));
        assert_eq!(lanes.take(now), None, "nobody has hurried since");
        lanes.retry(&lane("b"), later);
        assert_eq!(lanes.next_due(now), Some(later), "once was enough");
    }

    #[test]
    fn a_pause_stops_all_lanes_until_it_ends() {
        let (now, mut lanes) = (Instant::now(), Lanes::default());
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(5));
        lanes.push(&lane("a"), 1);
        lanes.push(&lane("b"), 2);
        lanes.take(now).unwrap();
        lanes.retry(&lane("a"), soon);
        lanes.pause(later);
        assert_eq!(lanes.take(soon), None);
        assert_eq!(lanes.next_due(now), Some(later));
        assert!(lanes.take(later).is_some() && lanes.take(later).is_some());
        assert_eq!(lanes.next_due(later), None);
    }

    proptest! {
        #[test]
        fn every_item_is_done_once_and_in_its_lanes_order(
            items in prop::collection::vec(0_u8..5, 1..60),
            fails in prop::collection::vec(any::<bool>(), 200),
        ) {
            let (mut now, mut lanes) = (Instant::now(), Lanes::default());
            for (number, name) in items.iter().enumerate() {
                lanes.push(&lane(&name.to_string()), number);
            }
            let (mut done, mut fails) = (HashMap::<_, Vec<_>>::new(), fails.into_iter());
            loop {
                let mut started = Vec::new();
                while let Some(job) = lanes.take(now) {
                    prop_assert!(started.iter().all(|other: &Job<usize>| other.lane != job.lane));
                    started.push(job);
                }
                if started.is_empty() {
                    let Some(due) = lanes.next_due(now) else { break };
                    now = due;
                }
                for job in started {
                    if fails.next() == Some(true) {
                        lanes.retry(&job.lane, now + Duration::from_secs(1));
                    } else {
                        lanes.done(&job.lane);
                        done.entry(job.lane).or_default().push(job.item);
                    }
                }
            }
            prop_assert_eq!(done.values().map(Vec::len).sum::<usize>(), items.len());
            prop_assert!(done.values().all(|lane| lane.is_sorted()));
        }
    }
}
