//! How far the portal is behind, for operators: what it does not have and since when, what failed and why. Dossiers appear by their codes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lgsp_proto::reason::Bilingual;
use serde::Serialize;
use utoipa::ToSchema;

use super::trouble::Trouble;
use crate::json::machine_time;
use crate::spool::now_ms;
use crate::trouble::{Trouble as _, TroubleJson, Troubles, Way};

/// The most dossiers whose trouble is remembered; with more, those that were tried last.
const DOSSIERS_MAX: usize = 1000;

/// What a dossier has that the portal refuses.
const REFUSED: &str = "PORTAL_REFUSED";

/// See the module.
#[derive(Default)]
pub(super) struct View(Mutex<Known>);

#[derive(Default)]
struct Known {
    troubles: Troubles<Trouble>,
    last_success_ms: Option<i64>,
    told: u64,
    failures: BTreeMap<&'static str, u64>,
    /// What is the matter with single dossiers, since when, and how often it was.
    dossiers: BTreeMap<String, Held>,
}

/// What is the matter with one dossier.
struct Held {
    word: &'static str,
    since_ms: i64,
    /// When it was last tried.
    tried_ms: i64,
    times: u64,
    /// When the first event was admitted that the portal did not take. It may be parked at the gateway by now, and so not in the spool.
    admitted_ms: Option<i64>,
}

/// How the portal is kept in step.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalStatus)]
pub(crate) struct PortalJson {
    /// When the oldest event was admitted that the portal does not have, as far as this adapter knows: of what has reached it, and of what
    /// was refused or parked since its start. Absent when the portal has all of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_admitted_at: Option<String>,
    /// For how long the portal has been behind with that; 0 when it has all.
    age_seconds: u64,
    /// When the portal last took an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<String>,
    /// Events that it took since the adapter's start.
    told: u64,
    /// Failures since the adapter's start, by reason.
    failures: BTreeMap<&'static str, u64>,
    /// What is the matter with the way there; empty while all is well.
    troubles: Vec<TroubleJson>,
    /// What is the matter with single dossiers.
    dossiers: Vec<DossierTroubleJson>,
    #[serde(skip)]
    pub(super) oldest_ms: Option<i64>,
}

/// What is the matter with one dossier.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalDossierTrouble)]
struct DossierTroubleJson {
    dossier_code: String,
    /// A stable word.
    trouble: &'static str,
    /// Since when.
    since: Option<String>,
    /// How often it was tried since.
    times: u64,
    /// What is the matter, and what to do.
    problem: &'static str,
    problem_vi: &'static str,
}

impl View {
    /// The portal has a dossier as it is.
    pub(super) fn told(&self, dossier: &str) {
        let mut known = self.known();
        known.told += 1;
        known.last_success_ms = Some(now_ms());
        known.troubles.went("portal", Way::Out, None);
        known.dossiers.remove(dossier);
    }

    /// It does not have it, because of the way there, the portal as a whole or the dossier. `admitted_ms` is of what was to be told.
    pub(super) fn failed(&self, dossier: &str, trouble: Trouble, admitted_ms: Option<i64>) {
        let mut known = self.known();
        if !trouble.is_one_dossiers() {
            known.troubles.went("portal", Way::Out, Some(trouble));
        }
        known.note(dossier, trouble.word(), admitted_ms, now_ms());
    }

    /// It refuses it.
    pub(super) fn refused(&self, dossier: &str, admitted_ms: Option<i64>) {
        self.known().note(dossier, REFUSED, admitted_ms, now_ms());
    }

    /// Somebody has seen that the portal has a dossier as it is, or has mended that.
    pub(super) fn in_step(&self, dossier: &str) {
        self.known().dossiers.remove(dossier);
    }

    /// `waiting_ms` is when the oldest event was admitted that waits here.
    pub(super) fn to_json(&self, waiting_ms: Option<i64>) -> PortalJson {
        let known = self.known();
        let oldest_ms = known.dossiers.values().filter_map(|held| held.admitted_ms).chain(waiting_ms).min();
        let age_ms = oldest_ms.map_or(0, |oldest| now_ms().saturating_sub(oldest).max(0));
        let dossier = |(code, held): (&String, &Held)| {
            let Bilingual { en, vi } = texts(held.word);
            DossierTroubleJson {
                dossier_code: code.clone(),
                trouble: held.word,
                since: machine_time(held.since_ms),
                times: held.times,
                problem: en,
                problem_vi: vi,
            }
        };
        PortalJson {
            oldest_admitted_at: oldest_ms.and_then(machine_time),
            age_seconds: u64::try_from(age_ms / 1000).unwrap_or_default(),
            last_success_at: known.last_success_ms.and_then(machine_time),
            told: known.told,
            failures: known.failures.clone(),
            troubles: known.troubles.to_json(),
            dossiers: known.dossiers.iter().map(dossier).collect(),
            oldest_ms,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No holder panics between two statements that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note(&mut self, dossier: &str, word: &'static str, admitted_ms: Option<i64>, now_ms: i64) {
        *self.failures.entry(word).or_default() += 1;
        if let Some(held) = self.dossiers.get_mut(dossier) {
            (held.word, held.times, held.tried_ms) = (word, held.times + 1, now_ms);
            held.admitted_ms = held.admitted_ms.into_iter().chain(admitted_ms).min();
            return;
        }
        if self.dossiers.len() >= DOSSIERS_MAX {
            // What only waits is in the spool, and in the figures from there; of what is refused nobody else here knows.
            let longest_ago = self.dossiers.iter().min_by_key(|(_, held)| (held.word == REFUSED, held.tried_ms));
            let code = longest_ago.map(|(code, _)| code.clone()).unwrap_or_default();
            self.dossiers.remove(&code);
        }
        let held = Held { word, since_ms: now_ms, tried_ms: now_ms, times: 1, admitted_ms };
        self.dossiers.insert(dossier.to_owned(), held);
    }
}

fn texts(word: &str) -> Bilingual {
    let known = Trouble::ALL.into_iter().find(|trouble| trouble.word() == word);
    known.map_or(
        Bilingual {
            en: "The portal refuses this dossier as it is; it is parked at the gateway: lgsp inbox list.",
            vi: "Cổng từ chối hồ sơ này; bản tin đang được giữ ở trục: lgsp inbox list.",
        },
        |trouble| trouble.texts(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dossiers_trouble_is_known_until_the_portal_has_it() {
        let view = View::default();
        view.failed("A", Trouble::Maintenance, Some(now_ms() - 90_000));
        view.failed("A", Trouble::TimedOut, Some(now_ms() - 80_000));
        view.refused("B", Some(now_ms() - 5_000));
        let json = serde_json::to_value(view.to_json(Some(now_ms() - 20_000))).unwrap();
        assert_eq!(
            (json["dossiers"][0]["trouble"].as_str(), json["dossiers"][0]["times"].as_u64()),
            (Some("PORTAL_TIMED_OUT"), Some(2))
        );
        assert_eq!(json["dossiers"][1]["trouble"], REFUSED);
        assert_eq!(json["failures"]["PORTAL_MAINTENANCE"], 1);
        assert!((89..=99).contains(&json["age_seconds"].as_u64().unwrap()));
        view.told("A");
        let json = serde_json::to_value(view.to_json(None)).unwrap();
        assert_eq!(json["dossiers"].as_array().unwrap().len(), 1);
        assert!(json["last_success_at"].is_string() && json["troubles"].as_array().unwrap().is_empty());
        // Nothing waits here any more, and the portal is behind all the same with what it refused.
        assert!((4..=9).contains(&json["age_seconds"].as_u64().unwrap()));
        view.failed("B", Trouble::EventsMissing, None);
        let json = serde_json::to_value(view.to_json(None)).unwrap();
        assert!(json["troubles"].as_array().unwrap().is_empty(), "nothing is the matter with the way there");
        view.in_step("B");
        let json = serde_json::to_value(view.to_json(None)).unwrap();
        assert_eq!((json["dossiers"].as_array().unwrap().len(), &json["age_seconds"]), (0, &0.into()));
    }

    #[test]
    fn of_more_dossiers_than_are_remembered_those_tried_longest_ago_give_way_before_those_refused() {
        let mut known = Known::default();
        known.note("refused", REFUSED, Some(1), 0);
        for number in 0..DOSSIERS_MAX as i64 {
            known.note(&format!("{number:04}"), "PORTAL_FAILING", Some(1000 + number), 1 + number);
        }
        assert_eq!(known.dossiers.len(), DOSSIERS_MAX);
        assert!(known.dossiers.contains_key("refused") && !known.dossiers.contains_key("0000"));
        assert!(known.dossiers.contains_key(&format!("{:04}", DOSSIERS_MAX - 1)), "the newest is seen");
    }
}
