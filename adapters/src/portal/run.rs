//! Comparing as a part of the adapter: it takes as long as it takes, and goes on when whoever asked for it has gone.
//!
//! One comparison at a time. Whoever asks for the one that is under way joins it. What came of the last one is kept until the next
//! begins, and the adapter's end ends it: what was sent again by then stays sent, and the same may be asked for anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lgsp_proto::types::BusinessTime;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::Portal;
use super::reconcile::ReconciledJson;
use crate::json::machine_time;
use crate::spool::now_ms;

/// How long an answer waits for the end of the comparison, well below what callers wait for an answer.
const WAITS: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Default)]
pub(super) struct Comparisons {
    last: Mutex<Option<Arc<Run>>>,
    begun: Notify,
}

/// One comparison.
pub(super) struct Run {
    /// Its name as well: no two begin at the same.
    started_ms: i64,
    period: [BusinessTime; 2],
    repair: bool,
    state: watch::Sender<State>,
}

/// How far it is.
#[derive(Clone, Default)]
pub(super) struct State {
    /// Dossiers that the portal has named so far.
    pub(super) portals: usize,
    /// Dossiers of ours, once they are known, and how many of them were looked at.
    pub(super) ours: Option<usize>,
    pub(super) looked_at: usize,
    report: Option<ReconciledJson>,
}

/// How a comparison stands.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalComparison)]
pub(crate) struct ComparisonJson {
    /// When it began. No two comparisons began at the same time.
    started_at: Option<String>,
    /// The first moment of reception.
    received_from: String,
    /// The moment after the last one.
    received_to: String,
    /// Whether what is missing or different is sent again.
    repair: bool,
    /// Whether it still goes on.
    running: bool,
    /// Dossiers that the portal has named so far.
    portal_dossiers: usize,
    /// Dossiers that the gateway has of the period; absent until they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway_dossiers: Option<usize>,
    /// How many of those were looked at.
    looked_at: usize,
    /// What came of it; absent until its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<ReconciledJson>,
}

/// Another comparison is under way; nothing was begun.
#[derive(Debug)]
pub(crate) struct AnotherRuns;

impl Portal {
    /// Begins to compare the dossiers received in a period, its end exclusive, or joins who does; with `repair` what is missing or
    /// different is sent again. Answers when it is over, or how far it is after a moment.
    ///
    /// # Errors
    /// [`AnotherRuns`].
    pub(crate) async fn compare(&self, period: [BusinessTime; 2], repair: bool) -> Result<ComparisonJson, AnotherRuns> {
        let run = self.comparisons.begin(period, repair)?;
        Ok(run.after_a_moment().await)
    }

    /// The comparison under way, or the last one; answers as [`Portal::compare`] does. `None`: there was none since the adapter's start.
    pub(crate) async fn comparison(&self) -> Option<ComparisonJson> {
        let last = self.comparisons.last().clone();
        Some(last?.after_a_moment().await)
    }

    /// Compares whenever it was asked for, until `stop`.
    pub(crate) async fn run_comparisons(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            loop {
                self.comparisons.begun.notified().await;
                let wanted = self.comparisons.last().clone().filter(|run| run.is_under_way());
                if let Some(run) = wanted {
                    let report = self.reconcile(run.period, run.repair, &run.state).await;
                    run.state.send_modify(|state| state.report = Some(report));
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }
}

impl Comparisons {
    fn begin(&self, period: [BusinessTime; 2], repair: bool) -> Result<Arc<Run>, AnotherRuns> {
        let mut last = self.last();
        let mut started_ms = now_ms();
        if let Some(run) = &*last {
            if run.is_under_way() {
                let is_the_same = (run.period, run.repair) == (period, repair);
                return if is_the_same { Ok(run.clone()) } else { Err(AnotherRuns) };
            }
            started_ms = started_ms.max(run.started_ms + 1);
        }
        let run = Arc::new(Run { started_ms, period, repair, state: watch::Sender::default() });
        self.begun.notify_one();
        Ok(last.insert(run).clone())
    }

    fn last(&self) -> MutexGuard<'_, Option<Arc<Run>>> {
        // No holder panics between two statements that belong together.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    fn is_under_way(&self) -> bool {
        self.state.borrow().report.is_none()
    }

    async fn after_a_moment(&self) -> ComparisonJson {
        let mut state = self.state.subscribe();
        // Over or not: what is answered says which.
        let _ = tokio::time::timeout(WAITS, state.wait_for(|state| state.report.is_some())).await;
        let State { portals, ours, looked_at, report } = self.state.borrow().clone();
        let [from, to] = self.period.map(|time| time.to_string());
        ComparisonJson {
            started_at: machine_time(self.started_ms),
            received_from: from,
            received_to: to,
            repair: self.repair,
            running: report.is_none(),
            portal_dossiers: portals,
            gateway_dossiers: ours,
            looked_at,
            report,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_what_is_under_way_joins_it_and_another_comparison_waits_for_its_end() {
        let comparisons = Comparisons::default();
        let day = |day: &str| format!("2025-07-{day}T00:00:00+07:00").parse::<BusinessTime>().unwrap();
        let (first, other) = ([day("14"), day("15")], [day("14"), day("16")]);
        let run = comparisons.begin(first, true).unwrap();
        assert!(Arc::ptr_eq(&run, &comparisons.begin(first, true).unwrap()));
        assert!(comparisons.begin(first, false).is_err() && comparisons.begin(other, true).is_err());
        run.state.send_modify(|state| state.report = Some(ReconciledJson::default()));
        let again = comparisons.begin(first, true).unwrap();
        assert!(!Arc::ptr_eq(&run, &again), "what is over is not joined");
        assert!(again.started_ms > run.started_ms);
    }
}
