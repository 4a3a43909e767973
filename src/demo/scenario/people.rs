//! Who hands in a dossier: citizens of the rehearsal's population, whom the demo's population database knows by the same seed.
//!
//! They are nobody: numbers of valid structure, and a middle name that no register would let pass for a person's.

use std::iter;

use anyhow::Context as _;
use lgsp_rehearsal::population::citizens::{self, Born, CITIZENS_MAX, Population, State};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use crate::demo::random::Draw;

/// Who asks. Invented throughout.
#[derive(Clone, Deserialize, Serialize)]
pub(in crate::demo) struct Citizen {
    /// As a clerk types it: composed.
    pub(in crate::demo) full_name: String,
    pub(in crate::demo) personal_number: String,
    /// yyyy-mm-dd.
    pub(in crate::demo) date_of_birth: String,
    pub(in crate::demo) sex: String,
    pub(in crate::demo) address: String,
    /// The code of the commune where the citizen lives, by what the citizen says.
    pub(in crate::demo) commune: String,
}

/// Places from one applicant to the next are this far apart, so that not whole households come: prime to [`CITIZENS_MAX`].
const STRIDE: u64 = 618_033;
/// Whoever was born later does not come alone.
const BORN_LATEST: i16 = 2006;

/// So many citizens, no two the same, who come to a desk themselves: grown up, born on a known day, told of by the register.
///
/// # Errors
/// The population has no more of them.
pub(super) fn applicants(seed: u64, count: usize) -> anyhow::Result<Vec<Citizen>> {
    let population = Population::new(seed, CITIZENS_MAX);
    let first = Draw::new(seed, u64::MAX - 2).below(CITIZENS_MAX as usize) as u64;
    let places = iter::successors(Some(first), |place| Some((place + STRIDE) % u64::from(CITIZENS_MAX)));
    let citizens = places.take(CITIZENS_MAX as usize).map(|place| population.citizen(place as u32));
    let found: Vec<Citizen> = citizens.filter_map(|citizen| Citizen::of(&citizen)).take(count).collect();
    (found.len() == count).then_some(found).context("the population has too few citizens for so many dossiers")
}

impl Citizen {
    fn of(citizen: &citizens::Citizen) -> Option<Self> {
        let Born::Day(born) = citizen.born else { return None };
        let comes = citizen.state == State::Current && born.year() <= BORN_LATEST;
        comes.then(|| Self {
            full_name: citizen.full_name.nfc().collect(),
            personal_number: citizen.number.clone(),
            date_of_birth: born.to_string(),
            sex: if citizen.is_female { "female" } else { "male" }.to_owned(),
            address: citizen.street.clone(),
            commune: citizen.commune.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lgsp_proto::types::{Date, PersonalNumber, Sex};

    use super::*;

    #[test]
    fn applicants_are_grown_up_citizens_whom_the_register_knows_and_nobody_comes_twice() {
        let population = Population::new(7, CITIZENS_MAX);
        let applicants = applicants(7, 20_000).unwrap();
        let numbers: BTreeSet<&str> = applicants.iter().map(|citizen| citizen.personal_number.as_str()).collect();
        assert_eq!(numbers.len(), 20_000);
        for citizen in &applicants {
            let number: PersonalNumber = citizen.personal_number.parse().unwrap();
            let born: Date = citizen.date_of_birth.parse().unwrap();
            let sex = if citizen.sex == "female" { Sex::Female } else { Sex::Male };
            assert_eq!(number.cross_check(sex, born), []);
            let known = population.by_number(&citizen.personal_number).unwrap();
            assert!(known.state == State::Current && born.year() <= i32::from(BORN_LATEST).try_into().unwrap());
        }
    }
}
