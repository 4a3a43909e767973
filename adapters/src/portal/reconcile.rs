//! What the portal has of a period beside what it should have: missing, extra, or different in a code.
//!
//! Both sides are read anew each time. What is on its way is no difference: it was not handed over, and nobody has said that the portal
//! has it. Only codes, numbers and times are compared and told, never a name.

use lgsp_proto::reason::Bilingual;
use lgsp_proto::types::BusinessTime;
use lgsp_proto::v1::{Dossier, Filter, ListRequest};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::line::Failure;
use super::record::{COMPARED, Story};
use super::run::State;
use super::there::{Codes, codes, there};
use super::trouble::Trouble;
use super::{ACTOR, NotTold, Portal};
use crate::spool::{DeliveryId, Stage};
use crate::trouble::Trouble as _;

/// Dossiers on one page, of either side.
pub(super) const PAGE: u32 = 100;

/// The most dossiers of either side: a longer period is looked at in parts. Codes and times of all of them are in memory.
pub(super) const DOSSIERS_MAX: usize = 100_000;

/// What came of comparing both sides.
#[derive(Clone, Default, Serialize, ToSchema)]
#[schema(as = PortalReconciliation)]
pub(crate) struct ReconciledJson {
    /// Dossiers that were compared.
    compared: usize,
    /// Dossiers of which something is on its way to the portal, or that moved on since both sides were asked; they were not compared.
    under_way: usize,
    /// Dossiers of which the gateway keeps no content any more; they were not compared.
    erased: usize,
    /// What is not the same.
    differences: Vec<DifferenceJson>,
    /// How many of the differences were sent again, and taken.
    repaired: usize,
    /// Why comparing broke off, as a stable word; then the rest is what was found until then, and no extra ones are among it.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
    /// What is the matter, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem_vi: Option<&'static str>,
}

/// One dossier that is not the same on both sides.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = PortalDifference)]
struct DifferenceJson {
    dossier_code: String,
    /// `missing` there, `extra` there, `different`, or `unread`: the gateway does not give it, and the trouble says why.
    what: &'static str,
    /// The fields that differ, with both values; codes and times only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    fields: Vec<FieldJson>,
    /// Whether it was sent again, and taken.
    repaired: bool,
    /// Why not, or why it was not compared, as a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
}

/// One field that differs.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = PortalField)]
struct FieldJson {
    /// By the portal's name.
    field: &'static str,
    /// As it should be.
    ours: String,
    /// As the portal has it.
    portal: String,
}

/// Why comparing broke off.
#[derive(Clone, Copy, Debug)]
struct BrokenOff(Trouble);

impl From<Failure> for BrokenOff {
    fn from(failure: Failure) -> Self {
        match NotTold::from(failure) {
            NotTold::Trouble(trouble) => Self(trouble),
            NotTold::Refused | NotTold::NotOurs => Self(Trouble::Failing),
        }
    }
}

/// A dossier of ours, as a list names it.
struct Listed {
    code: String,
    sequence: u32,
}

impl Portal {
    /// Compares the dossiers received in a period, its end exclusive; with `repair` what is missing or different is sent again.
    pub(super) async fn reconcile(
        &self,
        period: [BusinessTime; 2],
        repair: bool,
        progress: &watch::Sender<State>,
    ) -> ReconciledJson {
        let mut report = ReconciledJson::default();
        if let Err(BrokenOff(trouble)) = self.compare_all(period, repair, progress, &mut report).await {
            let Bilingual { en, vi } = trouble.texts();
            (report.trouble, report.problem, report.problem_vi) = (Some(trouble.word()), Some(en), Some(vi));
        }
        report
    }

    async fn compare_all(
        &self,
        period: [BusinessTime; 2],
        repair: bool,
        progress: &watch::Sender<State>,
        report: &mut ReconciledJson,
    ) -> Result<(), BrokenOff> {
        let mut there = there(&self.line, period, |seen| progress.send_modify(|state| state.portals = seen)).await?;
        // All of them first: what moves on meanwhile changes its place in the list.
        let mut ours = Vec::new();
        for party in &self.config.parties {
            self.list(party.as_str(), period, |dossier| ours.push((party.as_str(), dossier))).await?;
            if ours.len() > DOSSIERS_MAX {
                return Err(BrokenOff(Trouble::PeriodTooLong));
            }
        }
        progress.send_modify(|state| state.ours = Some(ours.len()));
        for (party, dossier) in &ours {
            let portals = there.remove(&dossier.code);
            self.compare_one(party, dossier, portals, repair, report).await?;
            progress.send_modify(|state| state.looked_at += 1);
        }
        let extra = there.into_keys().map(|code| DifferenceJson::new(code, "extra"));
        report.differences.extend(extra);
        Ok(())
    }

    async fn compare_one(
        &self,
        party: &str,
        dossier: &Listed,
        portals: Option<Codes>,
        repair: bool,
        report: &mut ReconciledJson,
    ) -> Result<(), BrokenOff> {
        // Nobody tells the portal something newer between what is read here and what is sent again.
        let _turn = if repair { Some(self.turns.of(&dossier.code).await) } else { None };
        if self.is_under_way(party, &dossier.code, dossier.sequence) {
            report.under_way += 1;
            return Ok(());
        }
        let whole = match self.whole(party, &dossier.code, None, None).await {
            Ok(whole) => whole,
            Err(not_told) => {
                let trouble = of_one(not_told)?;
                report.differences.push(DifferenceJson {
                    trouble: Some(trouble.word()),
                    ..DifferenceJson::new(dossier.code.clone(), "unread")
                });
                return Ok(());
            }
        };
        if whole.sequence() != dossier.sequence {
            // What the portal was asked for before is no measure of it.
            report.under_way += 1;
            return Ok(());
        }
        let Some(story) = Story::of(&whole, party, None, None) else {
            report.erased += 1;
            return Ok(());
        };
        report.compared += 1;
        let ours = codes(&story.record());
        let fields: Vec<_> = portals.iter().flat_map(|portals| differing(&ours, portals)).collect();
        let what = match &portals {
            None => "missing",
            Some(_) if fields.is_empty() => {
                self.view.in_step(&dossier.code);
                return Ok(());
            }
            Some(_) => "different",
        };
        let mut difference = DifferenceJson { fields, ..DifferenceJson::new(dossier.code.clone(), what) };
        if repair {
            match self.tell_of(&whole, party).await {
                Ok(()) => {
                    self.view.in_step(&dossier.code);
                    difference.repaired = true;
                    report.repaired += 1;
                }
                Err(NotTold::Refused) => difference.trouble = Some("PORTAL_REFUSED"),
                Err(NotTold::NotOurs) => difference.trouble = Some(Trouble::NoDossier.word()),
                Err(NotTold::Trouble(trouble)) => difference.trouble = Some(trouble.word()),
            }
        }
        report.differences.push(difference);
        Ok(())
    }

    /// Names the dossiers of the period that the portal's party was told of.
    async fn list(
        &self,
        party: &str,
        [from, to]: [BusinessTime; 2],
        mut each: impl FnMut(Listed),
    ) -> Result<(), BrokenOff> {
        let (mut named, mut page_token) = (0, String::new());
        loop {
            let filter =
                Filter { received_from: Some(timestamp(from)), received_to: Some(timestamp(to)), ..Filter::default() };
            let request = ListRequest {
                acting_party: party.to_owned(),
                actor: ACTOR.to_owned(),
                filter: Some(filter),
                page_size: PAGE,
                page_token,
            };
            let request = self.office.link.request(request, None);
            let page = self.office.link.dossiers().list(request).await;
            let page = page.map_err(|_| BrokenOff(Trouble::NoDossier))?.into_inner();
            named += page.dossiers.len();
            if named > DOSSIERS_MAX {
                return Err(BrokenOff(Trouble::PeriodTooLong));
            }
            page.dossiers
                .into_iter()
                .map(|Dossier { code, sequence, .. }| Listed { code, sequence })
                .for_each(&mut each);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether the last event of a dossier has still to be told. It may have been said by the portal's own party, and then nobody tells it.
    fn is_under_way(&self, party: &str, code: &str, sequence: u32) -> bool {
        let id = DeliveryId { party: party.into(), dossier: code.into(), sequence };
        matches!(self.office.spool.stage(&id), Some(Stage::TakenOver(_) | Stage::Reserved))
    }
}

impl DifferenceJson {
    fn new(dossier_code: String, what: &'static str) -> Self {
        Self { dossier_code, what, fields: Vec::new(), repaired: false, trouble: None }
    }
}

/// What keeps one dossier from being compared; whatever keeps all of them from it, breaks off.
fn of_one(not_told: NotTold) -> Result<Trouble, BrokenOff> {
    match not_told {
        // It was archived since it was listed, or is another party's now.
        NotTold::NotOurs | NotTold::Refused => Ok(Trouble::NoDossier),
        NotTold::Trouble(trouble) if trouble.is_one_dossiers() => Ok(trouble),
        NotTold::Trouble(trouble) => Err(BrokenOff(trouble)),
    }
}

fn differing(ours: &Codes, portals: &Codes) -> Vec<FieldJson> {
    let pairs = COMPARED.into_iter().zip(ours.iter().zip(portals)).filter(|(_, (ours, portals))| ours != portals);
    pairs.map(|(field, (ours, portals))| FieldJson { field, ours: ours.clone(), portal: portals.clone() }).collect()
}

pub(super) fn timestamp(time: BusinessTime) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.unix_seconds(), nanos: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dossier_that_cannot_be_read_ends_no_comparison_and_a_gateway_that_is_away_does() {
        let of = |not_told| of_one(not_told).ok().map(super::super::trouble::Trouble::word);
        assert_eq!(of(NotTold::NotOurs), Some("PORTAL_NO_DOSSIER"));
        assert_eq!(of(NotTold::Trouble(Trouble::EventsMissing)), Some("PORTAL_EVENTS_MISSING"));
        assert_eq!(of(NotTold::Trouble(Trouble::DossierTooLarge)), Some("PORTAL_DOSSIER_TOO_LARGE"));
        assert_eq!(of(NotTold::Trouble(Trouble::NoDossier)), None);
    }
}
