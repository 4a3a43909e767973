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
    /// Nobody answers at the other end, so trying other lanes is of no use for the moment.
    LineDown,
    /// The other end has said when to come again; it means all of us, and nothing has failed.
    Later(Duration),
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

/// Works until `stop`, then finishes what is under way.
pub(crate) async fn run<W: Work>(work: Arc<W>, at_once: NonZeroUsize, backoff: Backoff, stop: CancellationToken) {
    let mut changes = work.changes();
    let mut under_way = JoinSet::new();
    let mut line_failures = 0;
    let mut line_down_until = None;
    loop {
        changes.mark_unchanged();
        while under_way.len() < at_once.get()
            && let Some(job) = work.lanes(|lanes| lanes.take(Instant::now()))
        {
            let work = work.clone();
            under_way.spawn(async move {
                let lane = job.lane.clone();
                let attempt = job.attempt;
                (lane, attempt, work.perform(job).await)
            });
        }
        let full = under_way.len() >= at_once.get();
        let due = work.lanes(|lanes| lanes.next_due(Instant::now())).filter(|_| !full);
        tokio::select! {
            () = stop.cancelled() => break,
            Some(finished) = under_way.join_next() => {
                // A panic is a bug in one job. Its lane stays taken, so that its order is kept; a restart tries again.
                let Ok((lane, attempt, verdict)) = finished else { continue };
                settle(&*work, &lane, attempt, verdict, backoff, &mut line_failures, &mut line_down_until);
            }
            Ok(()) = changes.changed(), if !full => {}
            () = sleep_until(due), if due.is_some() => {}
        }
    }
    while under_way.join_next().await.is_some() {}
}

fn settle<W: Work>(
    work: &W,
    lane: &Arc<str>,
    attempt: u32,
    verdict: Verdict,
    backoff: Backoff,
    line_failures: &mut u32,
    line_down_until: &mut Option<Instant>,
) {
    let now = Instant::now();
    match verdict {
        Verdict::Done => {
            *line_failures = 0;
            work.lanes(|lanes| lanes.done(lane));
        }
        Verdict::Again => work.lanes(|lanes| lanes.retry(lane, now + backoff.delay(attempt))),
        Verdict::Later(wait) => {
            let until = now + wait.min(backoff.limit);
            work.lanes(|lanes| {
                lanes.retry(lane, until);
                lanes.pause(until);
            });
        }
        Verdict::LineDown => {
            // Many calls fail together when a line goes down; that is one failure of the line.
            if line_down_until.is_none_or(|until| now >= until) {
                *line_failures += 1;
                *line_down_until = Some(now + backoff.delay(*line_failures));
            }
            let until = line_down_until.unwrap_or(now);
            work.lanes(|lanes| {
                lanes.retry(lane, until);
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
    fn when_told_to_come_later_all_calls_wait_that_long() {
        let calls = Calls(Mutex::default());
        calls.lanes(|lanes| lanes.push(&"a".into(), 1));
        calls.lanes(|lanes| lanes.push(&"b".into(), 2));
        let begun = Instant::now();
        let job = calls.lanes(|lanes| lanes.take(begun)).unwrap();
        let wait = Duration::from_secs(5);
        settle(&calls, &job.lane, 1, Verdict::Later(wait), Backoff::default(), &mut 0, &mut None);
        let ended = Instant::now();
        assert_eq!(calls.lanes(|lanes| lanes.take(begun + wait - Duration::from_millis(1))), None);
        let due = [(); 2].map(|()| calls.lanes(|lanes| lanes.take(ended + wait)).map(|job| job.item));
        assert_eq!(due, [Some(2), Some(1)]);
    }
}
