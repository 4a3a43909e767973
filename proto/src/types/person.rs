//! Numbers that identify a citizen: the 12-digit personal identification number and the 9-digit number of the old identity card.
//!
//! Owns their form and what the 12 digits say about their bearer. They are personal data: `Debug` shows the first three digits, there is
//! no `Display`, no error or warning carries a digit, and `as_str` is the one way out.

use std::fmt;
use std::str::FromStr;

use super::Date;
use super::malformed::{Malformed, compact, is_digits, rule};

/// Either number by which an applicant may be known.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PersonalNumber {
    /// The personal identification number, 12 digits.
    Citizen(CitizenNumber),
    /// The number of the old identity card, 9 digits.
    Card(CardNumber),
}

/// The personal identification number (*số định danh cá nhân*), 12 digits `AAA G YY NNNNNN`.
///
/// NĐ 137/2015/NĐ-CP Art. 13 and TT 59/2021/TT-BCA: `AAA` is the province or country where the birth was registered, in the codes of the
/// 63 provinces; `G` century of birth and sex; `YY` the year in it; the rest is random. There is no check digit, so a
/// mistyped number is found by [`cross_check`](Self::cross_check) or not at all.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CitizenNumber(Box<str>);

/// The number of an old identity card (*chứng minh nhân dân*), 9 digits without a structure to rely on.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CardNumber(Box<str>);

/// Sex as the register of births and the personal number know it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Sex {
    /// Nam.
    Male,
    /// Nữ.
    Female,
}

/// What looks wrong about a number next to what the applicant declared. A reason to look again, never to refuse: registers have errors too.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum NumberWarning {
    /// The first three digits are none of the 63 provinces; they may be a country, for a birth registered abroad.
    #[error("the number begins with no province code; right only for a birth registered abroad")]
    UnknownProvince,
    /// The fourth digit says the other sex.
    #[error("the number says another sex than declared")]
    SexDiffers,
    /// The fourth to sixth digits say another year of birth.
    #[error("the number says another year of birth than declared")]
    BirthYearDiffers,
}

const FORM: Malformed = rule(
    "PERSONAL_NUMBER_FORM",
    "is neither a personal number of 12 digits nor an identity card number of 9 digits",
    "không phải số định danh cá nhân gồm 12 chữ số, cũng không phải số chứng minh nhân dân gồm 9 chữ số",
);
const CITIZEN_FORM: Malformed = rule(
    "CITIZEN_NUMBER_FORM",
    "is not a personal number of 12 digits",
    "không phải số định danh cá nhân gồm 12 chữ số",
);
const CARD_FORM: Malformed = rule(
    "CARD_NUMBER_FORM",
    "is not an identity card number of 9 digits",
    "không phải số chứng minh nhân dân gồm 9 chữ số",
);

/// A wrong number is most often one digit too long or short, so the length gets its own rule above and this only bounds the look.
const MAX_CHARS: usize = 64;

/// Codes of the 63 provinces before the merger of 1 July 2025. Personal numbers keep them.
#[rustfmt::skip]
const PROVINCES: [u16; 63] = [
     1,  2,  4,  6,  8, 10, 11, 12, 14, 15, 17, 19, 20, 22, 24, 25, 26, 27, 30, 31, 33, 34, 35, 36, 37, 38, 40, 42, 44, 45, 46, 48,
    49, 51, 52, 54, 56, 58, 60, 62, 64, 66, 67, 68, 70, 72, 74, 75, 77, 79, 80, 82, 83, 84, 86, 87, 89, 91, 92, 93, 94, 95, 96,
];

impl PersonalNumber {
    /// The digits. Personal data: for the sealed body and the database asked, not for logs.
    pub fn as_str(&self) -> &str {
        match self {
            PersonalNumber::Citizen(number) => number.as_str(),
            PersonalNumber::Card(number) => number.as_str(),
        }
    }

    /// Compares the number with what was declared; a card number says nothing and so nothing is wrong with it.
    pub fn cross_check(&self, sex: Sex, date_of_birth: Date) -> Vec<NumberWarning> {
        match self {
            PersonalNumber::Citizen(number) => number.cross_check(sex, date_of_birth),
            PersonalNumber::Card(_) => Vec::new(),
        }
    }
}

impl CitizenNumber {
    /// The 12 digits. Personal data: for the sealed body and the database asked, not for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first three digits: the province (or country) where the birth was registered, e.g. `046` for Huế.
    pub fn province(&self) -> &str {
        &self.0[..3]
    }

    /// Whether [`province`](Self::province) is one of the 63 provinces.
    pub fn has_known_province(&self) -> bool {
        PROVINCES.contains(&self.digits(0, 3))
    }

    /// The sex: even fourth digits are men, odd ones women.
    pub fn sex(&self) -> Sex {
        if self.digits(3, 4).is_multiple_of(2) { Sex::Male } else { Sex::Female }
    }

    /// The first year of the hundred the bearer was born in: 1900 for the fourth digits 0 and 1, 2000 for 2 and 3, and so on.
    pub fn century(&self) -> u16 {
        1900 + self.digits(3, 4) / 2 * 100
    }

    /// The year of birth.
    pub fn birth_year(&self) -> u16 {
        self.century() + self.digits(4, 6)
    }

    /// Compares the number with what was declared. Empty if nothing looks wrong.
    pub fn cross_check(&self, sex: Sex, date_of_birth: Date) -> Vec<NumberWarning> {
        let mut warnings = Vec::new();
        if !self.has_known_province() {
            warnings.push(NumberWarning::UnknownProvince);
        }
        if self.sex() != sex {
            warnings.push(NumberWarning::SexDiffers);
        }
        if i32::from(self.birth_year()) != i32::from(date_of_birth.year()) {
            warnings.push(NumberWarning::BirthYearDiffers);
        }
        warnings
    }

    fn digits(&self, from: usize, to: usize) -> u16 {
        self.0.bytes().take(to).skip(from).fold(0, |value, digit| value * 10 + u16::from(digit - b'0'))
    }
}

impl CardNumber {
    /// The 9 digits. Personal data: for the sealed body and the database asked, not for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NumberWarning {
    /// The sentence that `Display` gives in English, in Vietnamese.
    pub fn vietnamese(&self) -> &'static str {
        match self {
            NumberWarning::UnknownProvince => {
                "ba chữ số đầu không phải mã tỉnh; chỉ đúng nếu khai sinh được đăng ký ở nước ngoài"
            }
            NumberWarning::SexDiffers => "giới tính theo số định danh khác với giới tính đã khai",
            NumberWarning::BirthYearDiffers => "năm sinh theo số định danh khác với năm sinh đã khai",
        }
    }
}

impl FromStr for PersonalNumber {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        match text.len() {
            12 => text.parse().map(PersonalNumber::Citizen).map_err(|_| FORM),
            9 => text.parse().map(PersonalNumber::Card).map_err(|_| FORM),
            _ => Err(FORM),
        }
    }
}

impl FromStr for CitizenNumber {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        if !is_digits(text, 12) {
            return Err(CITIZEN_FORM);
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for CardNumber {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        if !is_digits(text, 9) {
            return Err(CARD_FORM);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<&str> for PersonalNumber {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl TryFrom<&str> for CitizenNumber {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl TryFrom<&str> for CardNumber {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl fmt::Debug for PersonalNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        masked(f, "PersonalNumber", self.as_str())
    }
}

impl fmt::Debug for CitizenNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        masked(f, "CitizenNumber", self.as_str())
    }
}

impl fmt::Debug for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        masked(f, "CardNumber", self.as_str())
    }
}

/// The first three digits are a place, shared by hundreds of thousands; the rest is the person.
fn masked(f: &mut fmt::Formatter<'_>, name: &str, digits: &str) -> fmt::Result {
    write!(f, "{name}({}…)", &digits[..3])
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    // Invented persons.
    const WOMAN_OF_2001: &str = "046301123456";
    const MAN_OF_1988: &str = "046088654321";
    const OLD_CARD: &str = "191234567";

    fn citizen(text: &str) -> CitizenNumber {
        text.parse().unwrap()
    }

    #[test]
    fn twelve_digits_tell_place_sex_and_year() {
        let woman = citizen(WOMAN_OF_2001);
        assert_eq!(
            (woman.province(), woman.sex(), woman.century(), woman.birth_year()),
            ("046", Sex::Female, 2000, 2001)
        );
        let man = citizen(MAN_OF_1988);
        assert_eq!((man.province(), man.sex(), man.century(), man.birth_year()), ("046", Sex::Male, 1900, 1988));
        assert_eq!(citizen("046999000000").birth_year(), 2399);
    }

    #[test]
    fn length_decides_between_number_and_card() {
        assert_eq!(WOMAN_OF_2001.parse(), Ok(PersonalNumber::Citizen(citizen(WOMAN_OF_2001))));
        assert_eq!(OLD_CARD.parse(), Ok(PersonalNumber::Card(OLD_CARD.parse().unwrap())));
        assert_eq!(OLD_CARD.parse::<PersonalNumber>().unwrap().as_str(), OLD_CARD);
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        for text in [
            "04630112345",
            "0463011234567",
            "19123456",
            "1912345678",
            "04630112345a",
            "19123456x",
            "٠٤٦٣٠١١",
            "046-301-1234",
        ] {
            assert_eq!(text.parse::<PersonalNumber>(), Err(FORM), "{text:?}");
        }
        assert_eq!("046301 123456".parse::<PersonalNumber>(), Err(Malformed::Blank));
        assert_eq!("".parse::<PersonalNumber>(), Err(Malformed::Empty));
        assert_eq!("0".repeat(65).parse::<PersonalNumber>(), Err(Malformed::TooLong { max: 64 }));
        assert_eq!(OLD_CARD.parse::<CitizenNumber>(), Err(CITIZEN_FORM));
        assert_eq!(WOMAN_OF_2001.parse::<CardNumber>(), Err(CARD_FORM));
    }

    #[test]
    fn a_number_that_fits_its_bearer_gives_no_warning() {
        assert_eq!(citizen(WOMAN_OF_2001).cross_check(Sex::Female, date(2001, 5, 17)), []);
        assert_eq!(citizen(MAN_OF_1988).cross_check(Sex::Male, date(1988, 1, 1)), []);
    }

    #[test]
    fn each_contradiction_is_named() {
        use NumberWarning::*;
        let number: PersonalNumber = "046201123456".parse().unwrap();
        assert_eq!(number.cross_check(Sex::Female, date(2001, 5, 17)), [SexDiffers]);
        assert_eq!(number.cross_check(Sex::Male, date(1901, 5, 17)), [BirthYearDiffers]);
        assert_eq!(number.cross_check(Sex::Male, date(2002, 5, 17)), [BirthYearDiffers]);
        let abroad = citizen("003201123456");
        assert_eq!(abroad.cross_check(Sex::Male, date(2001, 5, 17)), [UnknownProvince]);
        assert_eq!(abroad.cross_check(Sex::Female, date(2002, 5, 17)), [UnknownProvince, SexDiffers, BirthYearDiffers]);
        for warning in [UnknownProvince, SexDiffers, BirthYearDiffers] {
            assert_ne!(warning.to_string(), warning.vietnamese());
        }
    }

    #[test]
    fn an_old_card_cannot_contradict_anybody() {
        let card: PersonalNumber = OLD_CARD.parse().unwrap();
        assert_eq!(card.cross_check(Sex::Female, date(1950, 1, 1)), []);
    }

    #[test]
    fn there_are_sixty_three_provinces_in_order() {
        assert!(PROVINCES.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(citizen(WOMAN_OF_2001).has_known_province());
    }

    #[test]
    fn debug_stops_after_three_digits() {
        let number: PersonalNumber = WOMAN_OF_2001.parse().unwrap();
        assert_eq!(format!("{number:?}"), "PersonalNumber(046…)");
        assert_eq!(format!("{:?}", citizen(WOMAN_OF_2001)), "CitizenNumber(046…)");
        assert_eq!(format!("{:?}", OLD_CARD.parse::<CardNumber>()), "Ok(CardNumber(191…))");
    }

    #[test]
    fn no_refusal_repeats_a_digit_of_the_number() {
        let error = "046301123456789".parse::<PersonalNumber>().unwrap_err();
        for text in [error.to_string(), error.vietnamese(), format!("{error:?}")] {
            assert!(!text.contains("046") && !text.contains("123"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn print_and_parse_give_the_same_number(text in "[0-9]{12}|[0-9]{9}") {
            let number: PersonalNumber = text.parse().unwrap();
            prop_assert_eq!(number.as_str(), &text);
            let printed = format!("{number:?}");
            prop_assert!(!printed.contains(&text[3..]));
        }

        #[test]
        fn a_number_agrees_with_its_own_reading(text in "[0-9]{12}") {
            let number = citizen(&text);
            let born = date(number.birth_year().try_into().unwrap(), 1, 1);
            let warnings = number.cross_check(number.sex(), born);
            prop_assert!(warnings.iter().all(|warning| *warning == NumberWarning::UnknownProvince));
            prop_assert_eq!(warnings.is_empty(), number.has_known_province());
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in "[0-9đ]{8,13}") {
            for text in [text, near] {
                if let Ok(number) = text.parse::<PersonalNumber>() {
                    prop_assert_eq!(number.as_str(), text);
                }
            }
        }
    }
}
