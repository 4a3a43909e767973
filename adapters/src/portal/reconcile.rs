//! What the portal has of a period beside what it should have: missing, extra, or different in a code.
//!
//! Both sides are read anew each time. What is on its way is no difference: it was not handed over, and nobody has said that the portal
//! has it. Only codes, numbers and times are compared and told, never a name.

use std::collections::BTreeMap;

use lgsp_proto::reason::Bilingual;
use lgsp_proto::types::BusinessTime;
use lgsp_proto::v1::{Dossier, Filter, ListRequest};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::line::Failure;
use super::record::{COMPARED, Story, stamp};
use super::trouble::Trouble;
use super::{ACTOR, LOOK_UP, NotTold, Portal};
use crate::spool::{DeliveryId, Stage};
use crate::trouble::Trouble as _;

/// Dossiers on one page, of either side.
const PAGE: u32 = 100;

/// The most pages of either side: a period with more is looked at in parts.
const PAGES_MAX: u32 = 1000;

/// What came of comparing both sides.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = PortalReconciliation)]
pub(crate) struct ReconciledJson {
    /// Dossiers that were compared.
    compared: usize,
    /// Dossiers of which something is on its way to the portal; they were not compared.
    under_way: usize,
    /// Dossiers of which the gateway keeps no content any more; they were not compared.
    erased: usize,
    /// What is not the same.
    differences: Vec<DifferenceJson>,
    /// How many of the differences were sent again, and taken.
    repaired: usize,
    /// Why the sides could not be compared, as a stable word; then the rest says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
    /// What is the matter, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem_vi: Option<&'static str>,
}

/// One dossier that is not the same on both sides.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalDifference)]
struct DifferenceJson {
    dossier_code: String,
    /// `missing` there, `extra` there, or `different`.
    what: &'static str,
    /// The fields that differ, with both values; codes and times only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    fields: Vec<FieldJson>,
    /// Whether it was sent again, and taken.
    repaired: bool,
    /// Why not, as a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'static str>,
}

/// One field that differs.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalField)]
struct FieldJson {
    /// By the portal's name.
    field: &'static str,
    /// As it should be.
    ours: String,
    /// As the portal has it.
    portal: String,
}

/// Why the sides could not be compared.
#[derive(Clone, Copy, Debug)]
struct NotReconciled(Trouble);

impl From<NotTold> for NotReconciled {
    fn from(not_told: NotTold) -> Self {
        match not_told {
            NotTold::Trouble(trouble) => Self(trouble),
            NotTold::Refused => Self(Trouble::Failing),
            NotTold::NotOurs => Self(Trouble::NoDossier),
        }
    }
}

impl From<Failure> for NotReconciled {
    fn from(failure: Failure) -> Self {
        NotTold::from(failure).into()
    }
}

impl Portal {
    /// Compares the dossiers received in a period, its end exclusive; with `repair` what is missing or different is sent again.
    pub(crate) async fn reconcile(&self, period: [BusinessTime; 2], repair: bool) -> ReconciledJson {
        self.compared(period, repair).await.unwrap_or_else(|NotReconciled(trouble)| {
            let Bilingual { en, vi } = trouble.texts();
            let (trouble, problem, problem_vi) = (Some(trouble.word()), Some(en), Some(vi));
            ReconciledJson { trouble, problem, problem_vi, ..ReconciledJson::default() }
        })
    }

    async fn compared(&self, [from, to]: [BusinessTime; 2], repair: bool) -> Result<ReconciledJson, NotReconciled> {
        let mut there = self.there(from, to).await?;
        let mut report = ReconciledJson::default();
        for party in &self.config.parties {
            for dossier in self.ours(party.as_str(), from, to).await? {
                let portals = there.remove(&dossier.code);
                if self.is_under_way(party.as_str(), &dossier) {
                    report.under_way += 1;
                    continue;
                }
                self.compare(party.as_str(), &dossier, portals, repair, &mut report).await?;
            }
        }
        let extra = there.into_keys().map(|dossier_code| DifferenceJson {
            dossier_code,
            what: "extra",
            fields: Vec::new(),
            repaired: false,
            trouble: None,
        });
        report.differences.extend(extra);
        Ok(report)
    }

    async fn compare(
        &self,
        party: &str,
        dossier: &Dossier,
        portals: Option<Value>,
        repair: bool,
        report: &mut ReconciledJson,
    ) -> Result<(), NotReconciled> {
        let found = self.dossier(party, &dossier.code, None).await?;
        let sequence = found.dossier.as_ref().map_or(0, |dossier| dossier.sequence);
        let Some(story) = Story::until(sequence, &found, party, None, None) else {
            report.erased += 1;
            return Ok(());
        };
        report.compared += 1;
        let ours = story.record();
        let fields: Vec<_> = portals.iter().flat_map(|portals| differing(&ours, portals)).collect();
        let what = match &portals {
            None => "missing",
            Some(_) if fields.is_empty() => return Ok(()),
            Some(_) => "different",
        };
        let mut difference =
            DifferenceJson { dossier_code: dossier.code.clone(), what, fields, repaired: false, trouble: None };
        if repair {
            match self.tell_of(&found, party, sequence).await {
                Ok(()) => {
                    difference.repaired = true;
                    report.repaired += 1;
                }
                Err(NotTold::Refused) => difference.trouble = Some("PORTAL_REFUSED"),
                Err(other) => difference.trouble = Some(NotReconciled::from(other).0.word()),
            }
        }
        report.differences.push(difference);
        Ok(())
    }

    /// What the portal has, by code.
    async fn there(&self, from: BusinessTime, to: BusinessTime) -> Result<BTreeMap<String, Value>, NotReconciled> {
        let mut there = BTreeMap::new();
        let (from, to) = (timestamp(from), timestamp(to));
        for page in 1..=PAGES_MAX {
            let asked = json!([{
                "TuNgay": stamp(Some(&from)), "DenNgay": stamp(Some(&to)), "Trang": page, "SoLuong": PAGE,
            }]);
            let answer = self.line.call(LOOK_UP, None, &asked).await?;
            let Value::Array(dossiers) = answer.data else { return Err(NotReconciled(Trouble::Unreadable)) };
            let is_last = dossiers.is_empty() || answer.total.is_none_or(|total| u64::from(page * PAGE) >= total);
            for dossier in dossiers {
                let Some(code) = dossier["MaHoSo"].as_str() else { return Err(NotReconciled(Trouble::Unreadable)) };
                there.insert(code.to_owned(), dossier);
            }
            if is_last {
                return Ok(there);
            }
        }
        Err(NotReconciled(Trouble::Unreadable))
    }

    /// The dossiers of the period that the portal's party was told of.
    async fn ours(&self, party: &str, from: BusinessTime, to: BusinessTime) -> Result<Vec<Dossier>, NotReconciled> {
        let (mut ours, mut page_token) = (Vec::new(), String::new());
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
            let page = page.map_err(|_| NotReconciled(Trouble::NoDossier))?.into_inner();
            ours.extend(page.dossiers);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(ours);
            }
        }
    }

    /// Whether the last event of a dossier has still to be told. It may have been said by the portal's own party, and then nobody tells it.
    fn is_under_way(&self, party: &str, dossier: &Dossier) -> bool {
        let id = DeliveryId { party: party.into(), dossier: dossier.code.as_str().into(), sequence: dossier.sequence };
        matches!(self.office.spool.stage(&id), Some(Stage::TakenOver(_) | Stage::Reserved))
    }
}

fn differing(ours: &Value, portals: &Value) -> Vec<FieldJson> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let of = |field: &'static str| FieldJson { field, ours: text(&ours[field]), portal: text(&portals[field]) };
    COMPARED.into_iter().map(of).filter(|field| field.ours != field.portal).collect()
}

fn timestamp(time: BusinessTime) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.unix_seconds(), nanos: 0 }
}
