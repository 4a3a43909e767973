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

/// The most dossiers whose trouble is remembered. With more, the portal as a whole is the trouble.
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
    times: u64,
}

/// How the portal is kept in step.
#[derive(Serialize, ToSchema)]
#[schema(as = PortalStatus)]
pub(crate) struct PortalJson {
    /// When the oldest event was admitted that the portal does not have; absent when it has all.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_admitted_at: Option<String>,
    /// For how long the portal has been behind; 0 when it has all.
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

    /// It does not have it, because of the way there or the portal as a whole.
    pub(super) fn failed(&self, dossier: &str, trouble: Trouble) {
        let mut known = self.known();
        known.troubles.went("portal", Way::Out, Some(trouble));
        known.note(dossier, trouble.word());
    }

    /// It refuses it.
    pub(super) fn refused(&self, dossier: &str) {
        self.known().note(dossier, REFUSED);
    }

    pub(super) fn to_json(&self, oldest_ms: Option<i64>) -> PortalJson {
        let known = self.known();
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
    fn note(&mut self, dossier: &str, word: &'static str) {
        *self.failures.entry(word).or_default() += 1;
        let is_full = self.dossiers.len() >= DOSSIERS_MAX;
        match self.dossiers.get_mut(dossier) {
            Some(held) => (held.word, held.times) = (word, held.times + 1),
            None if is_full => {}
            None => _ = self.dossiers.insert(dossier.to_owned(), Held { word, since_ms: now_ms(), times: 1 }),
        }
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
        view.failed("A", Trouble::Maintenance);
        view.failed("A", Trouble::TimedOut);
        view.refused("B");
        let json = serde_json::to_value(view.to_json(Some(now_ms() - 90_000))).unwrap();
        assert_eq!(
            (json["dossiers"][0]["trouble"].as_str(), json["dossiers"][0]["times"].as_u64()),
            (Some("PORTAL_TIMED_OUT"), Some(2))
        );
        assert_eq!(json["dossiers"][1]["trouble"], REFUSED);
        assert_eq!(json["failures"]["PORTAL_MAINTENANCE"], 1);
        assert!((89..=99).contains(&json["age_seconds"].as_u64().unwrap()));
        view.told("A");
        let json = serde_json::to_value(view.to_json(None)).unwrap();
        assert_eq!((json["dossiers"].as_array().unwrap().len(), &json["age_seconds"]), (1, &0.into()));
        assert!(json["last_success_at"].is_string() && json["troubles"].as_array().unwrap().is_empty());
    }
}
