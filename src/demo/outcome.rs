//! How the day ended: figures from the journal, the reconciliation, and the report that programs read.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::figures::{ByStatus, Figures};
use super::national::Catalogue;
use super::portal::Portal;
use super::reconcile::{Difference, Reconciliation};

/// Everything that is known when it is over.
pub(super) struct Outcome {
    pub(super) until: Date,
    pub(super) figures: Figures,
    pub(super) reconciliation: Reconciliation,
    pub(super) national: National,
    /// Systems that took part, each a process with its adapter.
    pub(super) systems: u64,
    /// Steps of the plan that fell due and could not be done, because what comes before them never arrived.
    pub(super) not_done: u64,
    /// From the start to the reconciliation, the plan included.
    pub(super) took: Duration,
    /// The most memory that each process has had, in bytes.
    pub(super) memory: BTreeMap<String, u64>,
}

/// What came of the national systems.
pub(super) struct National {
    pub(super) catalogue: Catalogue,
    pub(super) portal: Portal,
    /// What their adapters did wrong towards them, in their words.
    pub(super) complaints: Vec<String>,
}

impl Outcome {
    /// Whether the day went as it must: the books agree, the portal has what the bus has, no national system complains, and nothing that
    /// was lawful was refused or left undone.
    pub(super) fn agrees(&self) -> bool {
        let is_done = self.reconciliation.refused == 0 && self.not_done == 0;
        is_done && self.reconciliation.agrees() && self.national.agrees()
    }

    /// The report for programs. `decided` counts dossiers with a result (statuses 9 and 10), `refused` those not accepted
    /// (3), `open` those that something will still happen to; with `withdrawn` and `stopped` they add up to `submitted`.
    pub(super) fn report(&self) -> Value {
        use lgsp_proto::types::Status;
        let Figures { end, evening, .. } = &self.figures;
        let count = |difference| self.reconciliation.count(difference);
        let memory: Map<String, Value> =
            self.memory.iter().map(|(name, bytes)| (name.clone(), megabytes(*bytes).into())).collect();
        let mut report = json!({
            "submitted": self.figures.submitted,
            "decided": end.decided(),
            "returned": end.count(Status::Returned),
            "refused": end.count(Status::NotAccepted),
            "withdrawn": end.count(Status::Withdrawn),
            "stopped": end.count(Status::Stopped),
            "open": end.open(),
            "lost": count(Difference::Lost),
            "duplicated": count(Difference::Duplicated),
            "out_of_order": count(Difference::OutOfOrder),
            "unanswered": count(Difference::Unanswered),
            "unexplained": count(Difference::Unexplained),
            "altered": count(Difference::Altered),
            "requests_refused": self.reconciliation.refused,
            "steps_not_done": self.not_done,
            "non_territorial": self.figures.non_territorial,
            "online": self.figures.online,
            "supported": self.figures.supported,
            "on_time": self.figures.on_time,
            "late": self.figures.late,
            "supplemented": self.figures.supplemented,
            "fees": self.figures.fees,
            "extended": self.figures.extended,
            "recalled": self.figures.recalled,
            "by_status_evening": by_status(evening),
            "by_status_end": by_status(end),
            "hand_over_median_minutes": self.figures.hand_over.median.as_secs() / 60,
            "hand_over_90_percent_minutes": self.figures.hand_over.ninth_of_ten.as_secs() / 60,
            "parties": self.figures.parties,
            "systems": self.systems,
            "events": self.figures.events,
            "deliveries": self.figures.deliveries,
            "until": self.until.to_string(),
            "seconds": (self.took.as_secs_f64() * 10.0).round() / 10.0,
            "peak_rss_mb": memory,
            "peak_rss_total_mb": megabytes(self.memory.values().sum()),
        });
        let National { catalogue, portal, complaints } = &self.national;
        for (name, count) in [
            ("identity_checks", self.reconciliation.identity_checks),
            ("identity_checks_asked_again", self.reconciliation.asked_again),
            ("catalogue_procedures", catalogue.procedures),
            ("portal_dossiers", portal.dossiers),
            ("portal_differences", portal.differences.len() as u64),
            ("national_complaints", complaints.len() as u64),
        ] {
            report[name] = count.into();
        }
        report
    }

    /// Writes the report to `path`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write_report(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.report())? + "\n";
        std::fs::write(path, text).with_context(|| format!("the report {} cannot be written", path.display()))
    }
}

impl National {
    fn agrees(&self) -> bool {
        self.portal.differences.is_empty() && self.complaints.is_empty()
    }
}

fn by_status(counts: &ByStatus) -> Map<String, Value> {
    counts.iter().map(|(status, count)| (status.as_str().to_owned(), count.into())).collect()
}

/// Rounded up: a limit is kept or not.
fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
