//! What is asked about whom: a question's document, read and put into the form in which databases are asked.
//!
//! All three keys are always there: number, name and date (or year) of birth. What cannot be anybody's is not asked: nobody has a number
//! that is none, and nobody was born on a day that there never was.

use std::borrow::Cow;

use jiff::civil::Date;
use lgsp_domain::person_name;
use lgsp_proto::types::{NumberWarning, PersonalNumber, Sex};
use lgsp_proto::v1::{Question, ServiceRefusal};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::connector::source::failed;

/// The three keys, as the request's document has them.
#[derive(Deserialize)]
pub(super) struct KeysJson<'a> {
    #[serde(borrow)]
    personal_number: Cow<'a, str>,
    #[serde(borrow)]
    full_name: Cow<'a, str>,
    #[serde(borrow)]
    date_of_birth: Cow<'a, str>,
}

/// The three keys. No `Debug`: all of it is personal.
pub(super) struct Asked {
    pub(super) number: PersonalNumber,
    /// As it was typed, in upper case and NFC.
    pub(super) name: String,
    pub(super) born: Born,
}

/// When somebody was born, as far as it is registered.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Born {
    Day(Date),
    Year(i16),
}

/// One of a household, as the request names it.
#[derive(Deserialize)]
pub(super) struct MemberJson {
    pub(super) personal_number: String,
    pub(super) full_name: String,
}

/// The members of a household that are asked about.
#[derive(Deserialize)]
pub(super) struct MembersJson {
    pub(super) members: Vec<MemberJson>,
}

/// Reads a part of a question's document.
///
/// # Errors
/// It is not what the service's schema says, or no schema of ours.
pub(super) fn read<T: DeserializeOwned>(question: &Question) -> Result<T, ServiceRefusal> {
    serde_json::from_slice(&question.payload).map_err(|_| failed(question, "the request is not of the service's form"))
}

impl Asked {
    /// The keys of a question.
    ///
    /// # Errors
    /// Nobody can be meant, or the request is not what the service's schema says.
    pub(super) fn of(question: &Question) -> Result<Self, ServiceRefusal> {
        let keys: KeysJson<'_> = serde_json::from_slice(&question.payload)
            .map_err(|_| failed(question, "the request is not of the service's form"))?;
        let number = keys.personal_number.parse().map_err(|_| ServiceRefusal::NotFound)?;
        let born = Born::read(&keys.date_of_birth).ok_or(ServiceRefusal::Mismatch)?;
        let name = person_name::as_asked(&keys.full_name);
        if name.is_empty() { Err(ServiceRefusal::Mismatch) } else { Ok(Self { number, name, born }) }
    }

    /// Whether somebody of this name and birth can be the one who is meant. A year of birth is that of every day in it.
    pub(super) fn is_of(&self, name: &str, born: Option<Born>) -> bool {
        let is_born = born.is_some_and(|born| match (self.born, born) {
            (Born::Day(asked), Born::Day(born)) => asked == born,
            (asked, born) => asked.year() == born.year(),
        });
        is_born && person_name::is_same(&self.name, name)
    }

    /// What looks wrong about the number next to what else was said; nothing of it says anything about the register.
    pub(super) fn warnings(&self, sex: Option<Sex>) -> Vec<NumberWarning> {
        let PersonalNumber::Citizen(number) = &self.number else { return Vec::new() };
        let date = match self.born {
            Born::Day(date) => Some(date),
            Born::Year(year) => Date::new(year, 1, 1).ok(),
        };
        let Some(date) = date else { return Vec::new() };
        number.cross_check(sex.unwrap_or(number.sex()), date)
    }
}

impl Born {
    /// `yyyy-mm-dd`, or `yyyy`.
    pub(super) fn read(text: &str) -> Option<Self> {
        match text.len() {
            4 => Self::of(text, None),
            10 if text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-' => {
                Self::of(text.get(..4)?, Some((text.get(5..7)?, text.get(8..)?)))
            }
            _ => None,
        }
    }

    /// `yyyyMMdd`, or `yyyy`, as the ministry writes them.
    pub(super) fn read_wire(text: &str) -> Option<Self> {
        match text.len() {
            4 => Self::of(text, None),
            8 => Self::of(text.get(..4)?, Some((text.get(4..6)?, text.get(6..)?))),
            _ => None,
        }
    }

    fn year(self) -> i16 {
        match self {
            Self::Day(date) => date.year(),
            Self::Year(year) => year,
        }
    }

    fn of(year: &str, day: Option<(&str, &str)>) -> Option<Self> {
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i16>().ok()).flatten();
        let year = number(year)?;
        let Some((month, day)) = day else { return (year > 0).then_some(Self::Year(year)) };
        let part = |text| number(text).and_then(|number| i8::try_from(number).ok());
        Date::new(year, part(month)?, part(day)?).ok().filter(|_| year > 0).map(Self::Day)
    }
}

impl std::fmt::Display for Born {
    /// As our replies have it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Day(date) => write!(f, "{date}"),
            Self::Year(year) => write!(f, "{year:04}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn asked(number: &str, name: &str, born: &str) -> Result<Asked, ServiceRefusal> {
        let payload =
            serde_json::json!({ "personal_number": number, "full_name": name, "date_of_birth": born, "sex": "male" });
        Asked::of(&Question { payload: Bytes::from(payload.to_string()), ..Question::default() })
    }

    #[test]
    fn a_day_or_a_year_of_birth_is_read_in_both_forms_and_is_not_the_other() {
        let day = Born::read("1988-02-29");
        assert!(day.is_some() && day == Born::read_wire("19880229"));
        assert_eq!(day.map(|day| day.to_string()).as_deref(), Some("1988-02-29"));
        let year = Born::read("1988");
        assert!(year.is_some() && year == Born::read_wire("1988") && year != day);
        for none in ["", "88", "1989-02-29", "1988-2-29", "1988/02/29", "+198", "0000", "19é8", "1988-02-é"] {
            assert!(Born::read(none).is_none(), "{none}");
        }
        for none in ["", "1988-02-29", "19890229", "1988022", "1988é2é"] {
            assert!(Born::read_wire(none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_can_be_nobodys_is_not_asked() {
        let ask = asked("046088654321", "  trần  văn Thử", "1988-05-05");
        assert!(ask.is_ok_and(|asked| asked.name == "TRẦN VĂN THỬ"));
        assert_eq!(asked("04608865432x", "Thử", "1988").err(), Some(ServiceRefusal::NotFound));
        assert_eq!(asked("046088654321", "Thử", "1988-13-01").err(), Some(ServiceRefusal::Mismatch));
        assert_eq!(asked("046088654321", " ", "1988").err(), Some(ServiceRefusal::Mismatch));
        let no_form = Question { payload: Bytes::from_static(b"{}"), ..Question::default() };
        assert_eq!(Asked::of(&no_form).err(), Some(ServiceRefusal::Failed));
    }

    #[test]
    fn the_number_is_compared_with_what_was_said_and_an_old_one_says_nothing() {
        let of = |number, born, sex| asked(number, "Thử", born).ok().map(|asked| asked.warnings(sex)).unwrap();
        assert_eq!(of("046088654321", "1988", None), []);
        assert_eq!(of("046088654321", "1988-01-02", Some(Sex::Female)), [NumberWarning::SexDiffers]);
        assert_eq!(of("003088654321", "1989", None), [NumberWarning::UnknownProvince, NumberWarning::BirthYearDiffers]);
        assert_eq!(of("191234567", "1889", Some(Sex::Male)), []);
    }
}
