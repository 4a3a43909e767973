//! A population that nobody is: citizens with numbers of valid structure, made from a seed.
//!
//! Nothing is stored. A citizen follows from the seed and a place in the population, and the place follows from the number, so that a million of them
//! take no memory and every process that knows the seed knows the same people. Each bears the middle name "Thử" (a trial), which
//! no register would let pass for a person's.

use jiff::civil::Date;
use unicode_normalization::UnicodeNormalization as _;

/// The most citizens of a population: the last six digits of a number tell them apart.
pub const CITIZENS_MAX: u32 = 1_000_000;

/// The provinces' codes in personal numbers: the 63 of before July 2025 (domain.md §5.2).
const PROVINCES: [u16; 63] = [
    1, 2, 4, 6, 8, 10, 11, 12, 14, 15, 17, 19, 20, 22, 24, 25, 26, 27, 30, 31, 33, 34, 35, 36, 37, 38, 40, 42, 44, 45,
    46, 48, 49, 51, 52, 54, 56, 58, 60, 62, 64, 66, 67, 68, 70, 72, 74, 75, 77, 79, 80, 82, 83, 84, 86, 87, 89, 91, 92,
    93, 94, 95, 96,
];

/// Huế's, which half of the population has.
const HUE: u16 = 46;

/// Communes of Huế to live in, by the codes in force since July 2025.
const COMMUNES: [&str; 8] = ["19753", "19774", "19777", "19789", "19804", "19813", "19942", "20056"];

const FAMILIES: [&str; 10] = ["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Phan", "Võ", "Đặng", "Bùi", "Hồ"];

/// Given names; the tone stands where one school puts it and, in the next, where the other does.
const GIVEN: [&str; 16] = [
    "Hòa",
    "Hoà",
    "Thủy",
    "Thuỷ",
    "Thúy",
    "Thuý",
    "Khỏe",
    "Khoẻ",
    "Quý",
    "Quốc",
    "Giang",
    "Ánh",
    "Đức",
    "Yến",
    "Ngọc Hòa",
    "Thủy Tiên",
];

/// The most who live together.
const MEMBERS_MAX: u32 = 7;

/// How many live together, household after household.
const HOUSEHOLDS: [u32; 9] = [4, 1, 5, 2, 3, 7, 4, 6, 3];

/// A population: those of one seed, in their places `0..citizens`.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    seed: u64,
    citizens: u32,
}

/// One of them. No `Debug`: that a name is made up does not show in a log.
#[derive(Clone, Eq, PartialEq)]
pub struct Citizen {
    /// The place in the population.
    pub place: u32,
    /// 12 digits (NĐ 137/2015/NĐ-CP Art. 13).
    pub number: String,
    /// The 9 digits of the old identity card, of those who had one.
    pub old_number: Option<String>,
    /// As registered; now and then in decomposed Unicode.
    pub full_name: String,
    /// The day of birth; of some only the year is registered.
    pub born: Born,
    /// Whether a woman.
    pub is_female: bool,
    /// Where the citizen lives: the commune's code.
    pub commune: &'static str,
    /// House and street.
    pub street: String,
    /// The number of the household.
    pub household: String,
    /// The place of the household's head.
    pub head: u32,
    /// Whether anything is told of the citizen.
    pub state: State,
}

impl Citizen {
    /// The three keys, and what else is needed to ask about the citizen, as JSON.
    pub fn as_json(&self) -> serde_json::Value {
        let born = match self.born {
            Born::Day(day) => day.to_string(),
            Born::Year(year) => year.to_string(),
        };
        let state = match self.state {
            State::Current => "current",
            State::Deceased => "deceased",
            State::Locked => "locked",
            State::Doubled => "doubled",
        };
        serde_json::json!({
            "place": self.place, "personal_number": self.number, "old_number": self.old_number, "full_name": self.full_name,
            "date_of_birth": born, "sex": if self.is_female { "female" } else { "male" }, "state": state,
        })
    }
}

/// When a citizen was born, as far as it is registered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Born {
    /// The day.
    Day(Date),
    /// The year only.
    Year(i16),
}

/// Whether the register tells anything of a citizen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// It does.
    Current,
    /// Nobody lives under this number any more.
    Deceased,
    /// The entry is being corrected.
    Locked,
    /// Two entries bear this number.
    Doubled,
}

impl Population {
    /// The population of `seed`, of at most [`CITIZENS_MAX`].
    pub fn new(seed: u64, citizens: u32) -> Self {
        Self { seed, citizens: citizens.min(CITIZENS_MAX) }
    }

    /// How many there are.
    pub const fn citizens(self) -> u32 {
        self.citizens
    }

    /// The one at `place`; places go round.
    pub fn citizen(self, place: u32) -> Citizen {
        let place = place % self.citizens.max(1);
        let (home, head) = home(place);
        let (born_in, is_female) = self.role(home, place - head);
        let mut draw = Draw::of(self.seed, CITIZEN, place);
        let province = if draw.one_in(2) { HUE } else { draw.pick(&PROVINCES) };
        let digit = if born_in < 2000 { 0 } else { 2 } + u8::from(is_female);
        let month = 1 + i8::try_from(draw.below(12)).unwrap_or(0);
        let day = Date::new(born_in, month, 1 + i8::try_from(draw.below(28)).unwrap_or(0));
        let born = match day {
            Ok(day) if !draw.one_in(50) => Born::Day(day),
            _ => Born::Year(born_in),
        };
        let suffix = scattered(place);
        let number = format!("{province:03}{digit}{:02}{suffix:06}", born_in % 100);
        let old_number = (born_in < 2000 && draw.one_in(3)).then(|| format!("19{}{suffix:06}", draw.below(10)));
        let given = draw.pick(&GIVEN);
        let name = format!("{} {} Thử {given}", self.family(home, place - head), if is_female { "Thị" } else { "Văn" });
        let full_name = if draw.one_in(20) { name.nfd().collect() } else { name };
        let state = match draw.below(1_000) {
            0..10 => State::Deceased,
            10..15 => State::Locked,
            15..17 => State::Doubled,
            _ => State::Current,
        };
        Citizen {
            place,
            number,
            old_number,
            full_name,
            born,
            is_female,
            commune: COMMUNES[home as usize % COMMUNES.len()],
            street: format!("Số {} đường Diễn Tập", 1 + home % 900),
            household: format!("0{home:011}"),
            head,
            state,
        }
    }

    /// The year of birth and the sex of a household's member: a head, the head's spouse, and their children.
    fn role(self, home: u32, member: u32) -> (i16, bool) {
        let mut of_head = Draw::of(self.seed, HOUSEHOLD, home);
        let (head_born, head_is_female) = (1940 + of_head.year(55), of_head.one_in(3));
        let mut own = Draw::of(self.seed, MEMBER, home * MEMBERS_MAX + member);
        match member {
            0 => (head_born, head_is_female),
            1 => (head_born - 4 + own.year(9), !head_is_female),
            _ => ((head_born + 22 + own.year(14)).min(2024), own.one_in(2)),
        }
    }

    /// The family name: that of the man, for him and for the children.
    fn family(self, home: u32, member: u32) -> &'static str {
        let (_, head_is_female) = self.role(home, 0);
        let is_of_the_woman = if head_is_female { member == 0 } else { member == 1 };
        let household = if is_of_the_woman { WOMAN } else { MAN };
        Draw::of(self.seed, household, home).pick(&FAMILIES)
    }

    /// Whose number of 12 digits it is.
    pub fn by_number(self, number: &str) -> Option<Citizen> {
        self.at_suffix(number).filter(|citizen| citizen.number == number)
    }

    /// Whose number of 9 digits it was.
    pub fn by_old_number(self, number: &str) -> Option<Citizen> {
        self.at_suffix(number).filter(|citizen| citizen.old_number.as_deref() == Some(number))
    }

    /// Everybody of a citizen's household, in their places.
    pub fn household(self, citizen: &Citizen) -> Vec<Citizen> {
        let of = |place: &u32| home(*place) == home(citizen.place);
        (citizen.head..self.citizens).take_while(of).map(|place| self.citizen(place)).collect()
    }

    /// The head of a citizen's household, if it is somebody else.
    pub fn head(self, citizen: &Citizen) -> Option<Citizen> {
        (citizen.head != citizen.place).then(|| self.citizen(citizen.head))
    }

    /// Whom a citizen is married to: heads of households of two and more are.
    pub fn spouse(self, citizen: &Citizen) -> Option<Citizen> {
        let of_two = citizen.head + 1 < self.citizens && home(citizen.head + 1).1 == citizen.head;
        match citizen.place - citizen.head {
            0 if of_two => Some(self.citizen(citizen.head + 1)),
            1 => Some(self.citizen(citizen.head)),
            _ => None,
        }
    }

    /// A citizen's father and mother, of the children of a household.
    pub fn parents(self, citizen: &Citizen) -> Option<[Citizen; 2]> {
        if citizen.place - citizen.head < 2 {
            return None;
        }
        let [one, other] = [citizen.head, citizen.head + 1].map(|place| self.citizen(place));
        Some(if one.is_female { [other, one] } else { [one, other] })
    }

    fn at_suffix(self, number: &str) -> Option<Citizen> {
        let suffix = number.get(number.len().checked_sub(6)?..)?.parse().ok()?;
        let place = gathered(suffix);
        (place < self.citizens).then(|| self.citizen(place))
    }
}

// Multiplying by a number prime to 10^6 turns places into digits without a pattern to the eye, and its inverse turns them back.
const SCATTER: u64 = 381_937;
const GATHER: u64 = 737_873;

fn scattered(place: u32) -> u32 {
    times(place, SCATTER)
}

fn gathered(suffix: u32) -> u32 {
    times(suffix, GATHER)
}

fn times(number: u32, factor: u64) -> u32 {
    let product = u64::from(number) * factor % u64::from(CITIZENS_MAX);
    u32::try_from(product).unwrap_or_default()
}

/// The household of a place, and the place of its head.
fn home(place: u32) -> (u32, u32) {
    let round = HOUSEHOLDS.iter().sum::<u32>();
    let (rounds, mut left) = (place / round, place % round);
    let mut home = rounds * HOUSEHOLDS.len() as u32;
    let mut head = rounds * round;
    for members in HOUSEHOLDS {
        if left < members {
            break;
        }
        left -= members;
        head += members;
        home += 1;
    }
    (home, head)
}

/// Numbers without a pattern, from a seed (splitmix64).
struct Draw(u64);

// What is drawn for: so that nothing hangs on the same numbers as something else.
const CITIZEN: u64 = 1;
const HOUSEHOLD: u64 = 2;
const MEMBER: u64 = 3;
const MAN: u64 = 4;
const WOMAN: u64 = 5;

impl Draw {
    fn of(seed: u64, what: u64, which: u32) -> Self {
        let mut draw = Self(seed ^ (what << 56) ^ (u64::from(which) << 20));
        // One step apart from the next seed's.
        Self(draw.next())
    }

    /// A number of years below `limit`.
    fn year(&mut self, limit: usize) -> i16 {
        i16::try_from(self.below(limit)).unwrap_or_default()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or_default()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aws_lc_rs::digest::{Context, SHA256};
    use data_encoding::HEXLOWER;
    use lgsp_proto::types::{Date as Day, PersonalNumber, Sex};

    use super::*;

    #[test]
    fn a_number_leads_back_to_its_citizen_and_nobody_shares_one() {
        let all = Population::new(7, CITIZENS_MAX);
        let mut suffixes = BTreeSet::new();
        for place in (0..CITIZENS_MAX).step_by(97) {
            let citizen = all.citizen(place);
            assert!(all.by_number(&citizen.number).is_some_and(|found| found == citizen), "{place}");
            if let Some(old) = &citizen.old_number {
                assert!(all.by_old_number(old).is_some_and(|found| found == citizen), "{place}");
            }
            assert!(suffixes.insert(citizen.number[6..].to_owned()));
        }
        assert!(Population::new(7, 10).by_number(&all.citizen(11).number).is_none(), "not one of these ten");
        assert!(Population::new(8, CITIZENS_MAX).by_number(&all.citizen(11).number).is_none(), "another seed");
        for none in ["", "12345", "04608865432x", "046088654321000"] {
            assert!(all.by_number(none).is_none());
        }
    }

    #[test]
    fn numbers_agree_with_sex_and_birth_and_the_rare_cases_are_there() {
        let all = Population::new(7, 20_000);
        let (mut states, mut years, mut old, mut apart) = ([0; 4], 0, 0, 0);
        for place in 0..all.citizens() {
            let citizen = all.citizen(place);
            let number: PersonalNumber = citizen.number.parse().unwrap();
            let born: Day = match citizen.born {
                Born::Day(day) => day.to_string(),
                Born::Year(year) => format!("{year}-01-01"),
            }
            .parse()
            .unwrap();
            assert_eq!(
                number.cross_check(if citizen.is_female { Sex::Female } else { Sex::Male }, born),
                [],
                "{place}"
            );
            states[citizen.state as usize] += 1;
            years += u32::from(matches!(citizen.born, Born::Year(_)));
            old += u32::from(citizen.old_number.is_some());
            apart += u32::from(citizen.full_name.contains('\u{323}') || citizen.full_name.contains('\u{31b}'));
        }
        assert!(states.iter().all(|of| *of > 10) && states[0] > 19_000, "{states:?}");
        assert!(years > 200 && old > 1_000 && apart > 500, "{years} {old} {apart}");
    }

    #[test]
    fn households_are_of_one_to_seven_who_live_together_under_one_family_name() {
        let all = Population::new(7, 1_000);
        let mut sizes = BTreeSet::new();
        for place in 0..900 {
            let citizen = all.citizen(place);
            let household = all.household(&citizen);
            assert!(household.contains(&citizen));
            assert_eq!(household[0].place, citizen.head);
            assert!(household.iter().all(|one| one.household == citizen.household && one.commune == citizen.commune));
            sizes.insert(household.len());
        }
        assert_eq!(sizes, (1..=7).collect());
    }

    #[test]
    fn parents_are_a_generation_older_and_the_children_bear_the_fathers_name() {
        let all = Population::new(7, 1_000);
        let first = |name: &str| name.nfc().collect::<String>().split(' ').next().unwrap().to_owned();
        let year = |citizen: &Citizen| match citizen.born {
            Born::Day(day) => day.year(),
            Born::Year(year) => year,
        };
        let mut children = 0;
        for citizen in (0..900).map(|place| all.citizen(place)) {
            if let Some(spouse) = all.spouse(&citizen) {
                assert!(
                    all.spouse(&spouse).is_some_and(|back| back == citizen) && spouse.is_female != citizen.is_female
                );
            }
            if let Some([father, mother]) = all.parents(&citizen) {
                children += 1;
                assert!(mother.is_female && !father.is_female);
                assert_eq!(first(&father.full_name), first(&citizen.full_name));
                assert!([father, mother].iter().all(|parent| year(parent) + 15 < year(&citizen)));
            }
        }
        assert!(children > 300, "{children}");
    }

    #[test]
    fn the_same_seed_gives_the_same_people_in_every_version() {
        let all = Population::new(20_250_714, CITIZENS_MAX);
        let mut digest = Context::new(&SHA256);
        for citizen in (0..CITIZENS_MAX).step_by(199).map(|place| all.citizen(place)) {
            let Citizen { number, old_number, full_name, born, commune, street, household, .. } = citizen;
            let text = format!("{number}|{old_number:?}|{full_name}|{born:?}|{commune}|{street}|{household}\n");
            digest.update(text.as_bytes());
        }
        assert_eq!(
            HEXLOWER.encode(digest.finish().as_ref()),
            "fb66595c0a7bfc85eba53c6076cb4fc8f8594b502bd544c15cbfe7c984f0a994"
        );
    }
}
