//! The plan of the day, made before anything runs: which dossiers come in where, and what everybody will do with them.
//!
//! It is drawn from the registry with a seed, so that it can be told again; [`matters`] draws the dossiers, [`people`] says who hands
//! them in and [`identity`] what the desk asks about them first, [`course`] what becomes of each. It knows nothing of sockets. The figures of the summary never come from here.
//! Invariant: a step lies at least one tick after the one before it, so that whoever takes it has been told by then.

mod course;
mod identity;
mod matters;
mod people;

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use lgsp_domain::registry::Registry;
use lgsp_proto::types::PartyId;
use serde::{Deserialize, Serialize};

use super::city::system_of;
use super::ticks::Ticks;
pub(super) use identity::Check;
pub(super) use people::Citizen;

/// What is to be replayed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// How many dossiers are received on the day.
    pub(super) dossiers: usize,
    /// The seed of everything drawn.
    pub(super) seed: u64,
}

/// The whole plan, a share for each system.
pub(super) struct Scenario {
    /// By the system's name.
    pub(super) shares: BTreeMap<String, Share>,
}

/// What one system will do: the file its agency is given.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Share {
    /// In the order of their times.
    pub(super) steps: Vec<Step>,
}

/// One thing one party will do.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Step {
    /// The dossier's number in the plan; its code is not known before the bus has given it one.
    pub(super) dossier: u32,
    /// Which event of the dossier it will be. 1 opens it; every other waits until the one before it has been seen.
    pub(super) sequence: u32,
    /// When, by the business clock.
    pub(super) at: DateTime,
    /// In whose name.
    pub(super) party: String,
    /// By which clerk.
    pub(super) actor: String,
    /// What.
    pub(super) act: Act,
}

impl Step {
    /// The request key of the step. Whoever is told of the event finds the dossier of the plan by it.
    pub(super) fn key(&self) -> String {
        format!("hs-{:05}-{:02}", self.dossier, self.sequence)
    }

    /// The dossier's number in the plan, from a request key.
    pub(super) fn dossier_of(key: &str) -> Option<u32> {
        key.strip_prefix("hs-")?.split_once('-')?.0.parse().ok()
    }
}

/// What a step says; one for each kind of event.
#[derive(Clone, Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub(super) enum Act {
    /// A desk takes a dossier in.
    Submit(Box<Filing>),
    Accept,
    Refuse,
    RequestSupplement {
        until: DateTime,
    },
    ProvideSupplement {
        paper: Paper,
    },
    ExpireSupplement,
    Withdraw,
    StartProcessing,
    RequestFee {
        name: String,
        amount_vnd: u64,
    },
    ConfirmPayment {
        amount_vnd: u64,
    },
    Stop,
    Resolve {
        result: Paper,
    },
    RecallResult,
    Return {
        channel: String,
    },
    Extend {
        new_due: DateTime,
    },
    Progress {
        step: String,
    },
}

/// What the desk hands in.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Filing {
    pub(super) procedure: String,
    pub(super) case: Option<String>,
    pub(super) citizen: Citizen,
    pub(super) locality: String,
    pub(super) intake_channel: String,
    pub(super) return_channel: String,
    pub(super) support_point: Option<String>,
    pub(super) return_desk: Option<String>,
    pub(super) papers: Vec<Paper>,
    pub(super) summary: String,
    pub(super) return_address: Option<String>,
    /// What is asked about the citizen before it is handed in.
    pub(super) check: Check,
}

/// A paper with its (invented) content.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Paper {
    /// The component's code in the registry, where it has one.
    pub(super) code: Option<String>,
    pub(super) name: String,
    pub(super) file_name: String,
    pub(super) text: String,
}

/// How many clerks a party has.
const CLERKS: i64 = 12;

/// The accounts of a party's clerks.
pub(super) fn clerks_of(party: &PartyId) -> impl Iterator<Item = String> {
    (1..=CLERKS).map(|number| clerk_of(party, number))
}

fn clerk_of(party: &PartyId, number: i64) -> String {
    format!("cb{number:02}.{party}")
}

impl Scenario {
    /// Draws the plan.
    ///
    /// # Errors
    /// The registry cannot carry it: no desks, no routes, a party that no system acts for, a calendar that ends too early.
    pub(super) fn draw(wish: Wish, registry: &Registry, ticks: &Ticks) -> anyhow::Result<Self> {
        let matters = matters::draw(wish, registry)?;
        let courses = course::Courses::new(wish.seed, registry, ticks, &matters)?;
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        for (number, matter) in (1..).zip(&matters) {
            for step in courses.of(number, matter)? {
                shares.entry(system_of(&step.party.parse()?, registry)?).or_default().steps.push(step);
            }
        }
        // Whoever is only told has books too.
        for system in registry.systems() {
            shares.entry(system.name.clone()).or_default();
        }
        for share in shares.values_mut() {
            share.steps.sort_by_key(|step| (step.at, step.dossier, step.sequence));
        }
        Ok(Self { shares })
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::staging::hue::registry;

    fn drawn(dossiers: usize) -> (Scenario, Ticks) {
        let registry = registry().unwrap();
        let centre = "H57.TT".parse().unwrap();
        let ticks = Ticks::new(date(2025, 9, 30), registry.calendar_of(&centre)).unwrap();
        let wish = Wish { dossiers, seed: 20_250_714 };
        (Scenario::draw(wish, &registry, &ticks).unwrap(), ticks)
    }

    fn by_dossier(scenario: &Scenario) -> BTreeMap<u32, Vec<&Step>> {
        let mut dossiers: BTreeMap<u32, Vec<&Step>> = BTreeMap::new();
        for step in scenario.shares.values().flat_map(|share| &share.steps) {
            dossiers.entry(step.dossier).or_default().push(step);
        }
        dossiers.values_mut().for_each(|steps| steps.sort_by_key(|step| step.sequence));
        dossiers
    }

    // Drawing rehearses every step with `decide`, so that this also shows the whole day to be lawful.
    #[test]
    fn every_step_lies_a_tick_after_the_one_before_it() {
        let (scenario, ticks) = drawn(3425);
        let dossiers = by_dossier(&scenario);
        assert_eq!(dossiers.len(), 3425);
        for steps in dossiers.values() {
            for (number, step) in (1..).zip(steps) {
                assert_eq!(step.sequence, number);
            }
            for pair in steps.windows(2) {
                assert!(pair[1].at > ticks.at_or_after(pair[0].at).unwrap());
            }
        }
    }

    #[test]
    fn authorities_answer_as_real_ones_do() {
        let (scenario, _) = drawn(3425);
        let dossiers = by_dossier(&scenario);
        let with = |wanted: fn(&Act) -> bool| {
            dossiers.values().filter(|steps| steps.iter().any(|step| wanted(&step.act))).count()
        };
        for (act, low, high) in [
            (with(|act| matches!(act, Act::Refuse)), 95, 110),
            (with(|act| matches!(act, Act::RequestSupplement { .. })), 180, 220),
            (with(|act| matches!(act, Act::ExpireSupplement)), 30, 36),
            (with(|act| matches!(act, Act::RequestFee { .. })), 150, 175),
            (with(|act| matches!(act, Act::ConfirmPayment { .. })), 150, 175),
            (with(|act| matches!(act, Act::Withdraw)), 30, 36),
            (with(|act| matches!(act, Act::Stop)), 15, 18),
            (with(|act| matches!(act, Act::Extend { .. })), 15, 36),
            (with(|act| matches!(act, Act::RecallResult)), 25, 36),
            (with(|act| matches!(act, Act::Resolve { .. })), 3_100, 3_300),
            (with(|act| matches!(act, Act::Return { .. })), 3_050, 3_300),
        ] {
            assert!((low..=high).contains(&act), "{act} is not within {low}–{high}");
        }
    }

    #[test]
    fn a_small_day_has_one_of_everything() {
        let (scenario, _) = drawn(60);
        let dossiers = by_dossier(&scenario);
        let any = |wanted: fn(&Act) -> bool| dossiers.values().flatten().any(|step| wanted(&step.act));
        assert!(any(|act| matches!(act, Act::Refuse)));
        assert!(any(|act| matches!(act, Act::ExpireSupplement)));
        assert!(any(|act| matches!(act, Act::ConfirmPayment { .. })));
        assert!(any(|act| matches!(act, Act::Withdraw)));
        assert!(any(|act| matches!(act, Act::Stop)));
        assert!(any(|act| matches!(act, Act::RecallResult)));
        assert!(any(|act| matches!(act, Act::Return { channel } if channel == "post")));
    }

    #[test]
    fn any_seed_gives_a_lawful_day() {
        let registry = registry().unwrap();
        let ticks = Ticks::new(date(2025, 12, 31), registry.calendar_of(&"H57.TT".parse().unwrap())).unwrap();
        for seed in 0..12 {
            Scenario::draw(Wish { dossiers: 100, seed }, &registry, &ticks).unwrap();
        }
    }

    #[test]
    fn the_same_seed_plans_the_same_day() {
        let text = || serde_json::to_string(&drawn(100).0.shares).unwrap();
        assert!(text() == text());
    }

    #[test]
    fn a_key_names_its_dossier() {
        assert_eq!(Step::dossier_of("hs-00042-03"), Some(42));
        assert_eq!(Step::dossier_of("someone-elses"), None);
    }
}
