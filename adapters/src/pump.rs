//! Does the work that lies in [`Lanes`]: so much at once, failures tried again, nothing forgotten.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::lanes::{Job, Lanes};

/// What became of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// Finished, one way or the other; the lane goes on.
    Done,
    /// To be tried again; other lanes are not concerned.
    Again,
    /// No answer came. If nobody else was answered meanwhile, trying other lanes is of no use for the moment.
    LineDown,
    /// The other end has said when to come again; it means all of us, and nothing has failed.
    Later(Duration),
    /// As [`Verdict::Later`], but it means this one only: others get through meanwhile.
    LaterAlone(Duration),
}

/// A kind of work in lanes.
pub(crate) trait Work: Send + Sync + 'static {
    /// What lies in a lane.
    type Item: Clone + Send + 'static;

    /// Looks at the lanes or changes them.
    fn lanes<R>(&self, with: impl FnOnce(&mut Lanes<Self::Item>) -> R) -> R;

    /// Wakes when something may have been put into a lane.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Does one thing. Must be safe to do again after being dropped half way.
    fn perform(&self, job: Job<Self::Item>) -> impl Future<Output = Verdict> + Send;
}

/// What is known of the other end.
#[derive(Default)]
struct Line {
    /// How often it failed in a row.
    failures: u32,
    down_until: Option<Instant>,
    /// When anything was last answered.
    answered: Option<Instant>,
}

/// A job that has come to its end, for now.
struct Finished {
    lane: Arc<str>,
    attempt: u32,
    began: Instant,
    verdict: Verdict,
}

/// Works until `stop`, then finishes what is under way.
pub(crate) async fn run<W: Work>(work: Arc<W>, at_once: NonZeroUsize, backoff: Backoff, stop: CancellationToken) {
    let mut changes = work.changes();
    let mut under_way = JoinSet::new();
    let mut line = Line::default();
    loop {
        changes.mark_unchanged();
        while under_way.len() < at_once.get()
            && let Some(job) = work.lanes(|lanes| lanes.take(Instant::now()))
        {
            let work = work.clone();
            under_way.spawn(async move {
                let (lane, attempt, began) = (job.lane.clone(), job.attempt, Instant::now());
                Finished { lane, attempt, began, verdict: work.perform(job).await }
            });
        }
        let full = under_way.len() >= at_once.get();
        let due = work.lanes(|lanes| lanes.next_due(Instant::now())).filter(|_| !full);
        tokio::select! {
            () = stop.cancelled() => break,
            Some(finished) = under_way.join_next() => {
                // A panic is a bug in one job. Its lane stays taken, so that its order is kept; a restart tries again.
                let Ok(finished) = finished else { continue };
                settle(&*work, &finished, backoff, &mut line);
            }
            Ok(()) = changes.changed(), if !full => {}
            () = sleep_until(due), if due.is_some() => {}
        }
    }
    while under_way.join_next().await.is_some() {}
}

fn settle<W: Work>(work: &W, finished: &Finished, backoff: Backoff, line: &mut Line) {
    let Finished { lane, attempt, began, verdict } = finished;
    let now = Instant::now();
    match verdict {
        Verdict::Done => {
            (line.failures, line.answered) = (0, Some(now));
            work.lanes(|lanes| lanes.done(lane));
        }
        Verdict::Again => work.lanes(|lanes| lanes.retry(lane, now + backoff.delay(*attempt))),
        Verdict::Later(wait) => {
            line.answered = Some(now);
            let until = now + (*wait).min(backoff.limit);
            work.lanes(|lanes| {
                lanes.retry(lane, until);
                lanes.pause(until);
            });
        }
        Verdict::LaterAlone(wait) => {
            line.answered = Some(now);
            work.lanes(|lanes| lanes.postpone(lane, now + (*wait).min(backoff.limit)));
        }
        // Somebody was answered since this one began: it is this one that gets no answer, and only its own lane waits.
        Verdict::LineDown if line.answered.is_some_and(|answered| answered >= *began) => {
            work.lanes(|lanes| lanes.retry(lane, now + backoff.delay(*attempt)));
        }
        Verdict::LineDown => {
            // Many calls fail together when a line goes down; that is one failure of the line.
            if line.down_until.is_none_or(|until| now >= until) {
                line.failures += 1;
                line.down_until = Some(now + backoff.delay(line.failures));
            }
            let until = line.down_until.unwrap_or(now);
            work.lanes(|lanes| {
                // One that has failed more often than the line waits longer, so that it is not always the first to try.
                lanes.retry(lane, until.max(now + backoff.delay(*attempt)));
                lanes.pause(until);
            });
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Calls(Mutex<Lanes<u8>>);

    impl Work for Calls {
        type Item = u8;

        fn lanes<R>(&self, with: impl FnOnce(&mut Lanes<u8>) -> R) -> R {
            with(&mut self.0.lock().unwrap())
        }

        fn changes(&self) -> watch::Receiver<u64> {
            watch::channel(0).1
        }

        async fn perform(&self, _: Job<u8>) -> Verdict {
            Verdict::Done
        }
    }

    #[test]
    fn a_call_that_fails_more_often_than_the_line_waits_longer_than_the_others() {
        let calls = Calls(Mutex::default());
        calls.lanes(|lanes| lanes.push(&"a".into(), 1));
        calls.lanes(|lanes| lanes.push(&"b".into(), 2));
        let began = Instant::now();
        let job = calls.lanes(|lanes| lanes.take(began)).unwrap();
        let backoff = Backoff { first: Duration::from_secs(1), limit: Duration::from_secs(3600) };
        let unanswered = Finished { lane: job.lane, attempt: 10, began, verdict: Verdict::LineDown };
        settle(&calls, &unanswered, backoff, &mut Line::default());
        assert_eq!(calls.lanes(|lanes| lanes.take(began)), None, "nobody was answered, so all wait");
        let soon = Instant::now() + backoff.first;
        assert_eq!(calls.lanes(|lanes| lanes.take(soon)).map(|job| job.item), Some(2));
        assert_eq!(calls.lanes(|lanes| lanes.take(soon)), None, "it has failed ten times");
        assert_eq!(calls.lanes(|lanes| lanes.take(soon + backoff.limit)).map(|job| job.item), Some(1));
    }

    /// One call that is never answered, while others are.
    struct OneIsNeverAnswered {
        lanes: Mutex<Lanes<u8>>,
        changes: watch::Sender<u64>,
        done: watch::Sender<Vec<u8>>,
    }

    impl Work for OneIsNeverAnswered {
        type Item = u8;

        fn lanes<R>(&self, with: impl FnOnce(&mut Lanes<u8>) -> R) -> R {
            with(&mut self.lanes.lock().unwrap())
        }

        fn changes(&self) -> watch::Receiver<u64> {
            self.changes.subscribe()
        }

        async fn perform(&self, job: Job<u8>) -> Verdict {
            if job.item == 0 {
                self.done.subscribe().wait_for(|done| !done.is_empty()).await.unwrap();
                return Verdict::LineDown;
            }
            self.done.send_modify(|done| done.push(job.item));
            Verdict::Done
        }
    }

    #[tokio::test]
    async fn a_call_that_is_never_answered_while_others_are_holds_up_its_own_lane_only() {
        let (changes, done) = (watch::Sender::new(0), watch::Sender::default());
        let work = Arc::new(OneIsNeverAnswered { lanes: Mutex::default(), changes, done });
        work.lanes(|lanes| {
            lanes.push(&"a".into(), 0);
            lanes.push(&"b".into(), 1);
        });
        // Longer than anybody waits here: what is paused stays so.
        let hours = Backoff { first: Duration::from_secs(7200), limit: Duration::from_secs(7200) };
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(work.clone(), NonZeroUsize::new(2).unwrap(), hours, stop.clone()));
        while work.lanes(|lanes| lanes.next_due(Instant::now())).is_none() {
            tokio::task::yield_now().await;
        }
        work.lanes(|lanes| lanes.push(&"c".into(), 2));
        work.changes.send_modify(|number| *number += 1);
        let mut done = work.done.subscribe();
        let both = done.wait_for(|done| *done == [1, 2]);
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("the others go on").unwrap();
        stop.cancel();
        running.await.unwrap();
    }

    #[test]
    fn when_told_to_come_later_all_calls_wait_that_long() {
        let calls = Calls(Mutex::default());
        calls.lanes(|lanes| lanes.push(&"a".into(), 1));
        calls.lanes(|lanes| lanes.push(&"b".into(), 2));
        let begun = Instant::now();
        let job = calls.lanes(|lanes| lanes.take(begun)).unwrap();
        let wait = Duration::from_secs(5);
        let later = Finished { lane: job.lane, attempt: 1, began: begun, verdict: Verdict::Later(wait) };
        settle(&calls, &later, Backoff::default(), &mut Line::default());
        let ended = Instant::now();
        assert_eq!(calls.lanes(|lanes| lanes.take(begun + wait - Duration::from_millis(1))), None);
        let due = [(); 2].map(|()| calls.lanes(|lanes| lanes.take(ended + wait)).map(|job| job.item));
        assert_eq!(due, [Some(2), Some(1)]);
    }

    #[test]
    fn when_one_is_told_to_come_later_the_others_go_on_and_nothing_counts_as_failed() {
        let calls = Calls(Mutex::default());
        calls.lanes(|lanes| lanes.push(&"a".into(), 1));
        calls.lanes(|lanes| lanes.push(&"b".into(), 2));
        let begun = Instant::now();
        let job = calls.lanes(|lanes| lanes.take(begun)).unwrap();
        let wait = Duration::from_secs(5);
        let later = Finished { lane: job.lane, attempt: 1, began: begun, verdict: Verdict::LaterAlone(wait) };
        settle(&calls, &later, Backoff::default(), &mut Line::default());
        let ended = Instant::now();
        assert_eq!(calls.lanes(|lanes| lanes.take(ended)).map(|job| job.item), Some(2));
        assert_eq!(calls.lanes(|lanes| lanes.take(begun + wait - Duration::from_millis(1))), None);
        assert_eq!(calls.lanes(|lanes| lanes.take(ended + wait)).map(|job| (job.item, job.attempt)), Some((1, 1)));
    }
}
