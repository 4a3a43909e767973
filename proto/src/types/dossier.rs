//! Dossier codes of both generations, and the foreign codes a dossier may also go by.
//!
//! Owns how a code is written and read. Which number comes next is the allocator's to say, and whether a date lies ahead of today is
//! the business clock's.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::malformed::{Malformed, compact, is_digits, rule};
use super::{Date, PartyId};

/// The public number of a dossier (*mã số hồ sơ*): party, day of reception and number of the day, e.g. `H57.99.01-250714-0001`.
///
/// TT 01/2018/TT-VPCP Art. 19, replaced by TT 03/2025/TT-VPCP. The party is the competent authority. Codes of the first generation
/// begin with its QCVN 102:2016/BTTTT identifier (`000.00.14.H56-250714-0001`), those since 2020 with that of QĐ 20/2020/QĐ-TTg.
///
/// The text is kept as given, since it is printed on a receipt in somebody's hand: two codes are equal if their texts are. Use
/// [`canonical`](Self::canonical) to find that two texts name one dossier.
#[derive(Clone)]
pub struct DossierCode {
    text: Box<str>,
    party: PartyId,
    date: Date,
    number: u32,
    generation: Generation,
}

/// Which of the two identifiers of its party a dossier code begins with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Generation {
    /// QCVN 102:2016/BTTTT, `000.00.14.H56`.
    Legacy,
    /// QĐ 20/2020/QĐ-TTg, `H56.14`.
    Current,
}

/// Why no code can be issued. No number was used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CannotIssue {
    /// Numbers of a day begin at 1.
    #[error("numbers of a day begin at 1")]
    NumberZero,
    /// The party has used all 99,999 numbers of the day.
    #[error("all 99,999 numbers of the day are used")]
    DayIsFull,
    /// The code has two digits for the year, which mean 2000 to 2099.
    #[error("a dossier code can only carry a date from 2000 to 2099")]
    Year,
}

const MAX_NUMBER: u32 = 99_999;
/// The longest party identifier and `-YYMMDD-NNNNN`.
const MAX_CHARS: usize = 35 + 13;

const FORM: Malformed = rule(
    "DOSSIER_CODE_FORM",
    "is not a dossier code: party identifier, day as YYMMDD and a number of 4 or 5 digits, for example H57.99.01-250714-0001",
    "không đúng dạng mã số hồ sơ: mã định danh, ngày dạng YYMMDD và số thứ tự 4 hoặc 5 chữ số, ví dụ H57.99.01-250714-0001",
);
const PARTY: Malformed = rule(
    "DOSSIER_CODE_PARTY",
    "is not a dossier code: it does not begin with a party identifier such as H56.14 or 000.00.14.H56",
    "không đúng dạng mã số hồ sơ: phần đầu không phải mã định danh như H56.14 hoặc 000.00.14.H56",
);
const DATE: Malformed =
    rule("DOSSIER_CODE_DATE", "has a date that is not in the calendar", "có ngày không tồn tại trong lịch");
const NUMBER_ZERO: Malformed = rule(
    "DOSSIER_CODE_NUMBER",
    "has the number zero; numbers of a day begin at 1",
    "có số thứ tự bằng không; số thứ tự trong ngày bắt đầu từ 1",
);

impl DossierCode {
    /// Writes the code of dossier `number` that `party` received on `date`: 4 digits, and 5 from the ten-thousandth on.
    ///
    /// # Errors
    ///
    /// [`CannotIssue`] if the number or the year has no place in a code.
    pub fn issue(party: &PartyId, date: Date, number: u32) -> Result<Self, CannotIssue> {
        match number {
            0 => return Err(CannotIssue::NumberZero),
            1..=MAX_NUMBER => {}
            _ => return Err(CannotIssue::DayIsFull),
        }
        if !(2000..=2099).contains(&date.year()) {
            return Err(CannotIssue::Year);
        }
        let (year, month, day) = (date.year() - 2000, date.month(), date.day());
        let text = format!("{party}-{year:02}{month:02}{day:02}-{number:04}").into();
        Ok(Self { text, party: party.clone(), date, number, generation: Generation::Current })
    }

    /// The code as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The competent authority, by its identifier of today's form (see [`PartyId::from_legacy`] for what that is worth).
    pub fn party(&self) -> &PartyId {
        &self.party
    }

    /// The day of reception.
    pub fn date(&self) -> Date {
        self.date
    }

    /// The number of the dossier in its party's day, 1 to 99,999.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The form the code is written in.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The same code as [`issue`](Self::issue) would write it: today's identifier, no needless zero.
    pub fn canonical(&self) -> Self {
        Self::issue(&self.party, self.date, self.number)
            .expect("a parsed code has a number and a year that can be issued")
    }
}

impl FromStr for DossierCode {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        let mut parts = text.split('-');
        let (Some(party), Some(day), Some(number), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FORM);
        };
        if !is_digits(day, 6) || !(is_digits(number, 4) || is_digits(number, 5)) {
            return Err(FORM);
        }
        let (party, generation) = if party.starts_with(|c: char| c.is_ascii_digit()) {
            (PartyId::from_legacy(party).map_err(|_| PARTY)?, Generation::Legacy)
        } else {
            (party.parse().map_err(|_| PARTY)?, Generation::Current)
        };
        let date = date_of(day).ok_or(DATE)?;
        match number.parse() {
            Ok(0) => Err(NUMBER_ZERO),
            Ok(number) => Ok(Self { text: text.into(), party, date, number, generation }),
            Err(_) => Err(FORM),
        }
    }
}

printed_as_text!(DossierCode);

// Everything else in a code follows from its text, so the text alone decides equality, order and hash.
impl PartialEq for DossierCode {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for DossierCode {}

impl PartialOrd for DossierCode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DossierCode {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for DossierCode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// The date behind six digits `YYMMDD`, whose century is the present one: the scheme began in 2018.
fn date_of(day: &str) -> Option<Date> {
    let digits: u32 = day.parse().ok()?;
    let (year, month, day) = (2000 + digits / 10_000, digits / 100 % 100, digits % 100);
    Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
}

/// A code that another system knows a dossier by: a previous code, that of an interlinked flow, a ministry's own.
///
/// 1 to 64 visible ASCII characters; what they mean is the other system's business.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Alias(Box<str>);

const ALIAS_CHARS: Malformed = rule(
    "ALIAS_CHARACTERS",
    "has a character that is not a visible ASCII one",
    "có ký tự không thuộc nhóm ký tự ASCII in được",
);

impl Alias {
    /// The code as the other system writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Alias {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 64)?;
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ALIAS_CHARS);
        }
        Ok(Self(text.into()))
    }
}

printed_as_text!(Alias);

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> DossierCode {
        text.parse().unwrap()
    }

    #[test]
    fn both_generations_are_read() {
        let current = code("H57.99.01-250714-0001");
        assert_eq!(current.party().as_str(), "H57.99.01");
        assert_eq!((current.date(), current.number()), (date(2025, 7, 14), 1));
        assert_eq!(current.generation(), Generation::Current);

        let legacy = code("000.00.14.H56-250714-12345");
        assert_eq!(legacy.party().as_str(), "H56.14");
        assert_eq!((legacy.date(), legacy.number()), (date(2025, 7, 14), 12_345));
        assert_eq!(legacy.generation(), Generation::Legacy);

        assert_eq!(code("H57.A1-250714-0001").party().as_str(), "H57.A1");
    }

    #[test]
    fn a_code_on_a_receipt_is_not_rewritten_but_can_be_compared() {
        let legacy = code("000.00.14.H56-250714-0001");
        assert_eq!(legacy.to_string(), "000.00.14.H56-250714-0001");
        assert_eq!(legacy.canonical(), code("H56.14-250714-0001"));
        assert_ne!(legacy, legacy.canonical());
        assert_eq!(code("H57-250714-00001").canonical(), code("H57-250714-0001"));
    }

    #[test]
    fn anything_else_is_refused_with_the_broken_rule() {
        for (text, expected) in [
            ("", Malformed::Empty),
            ("H57-250714-0001 ", Malformed::Blank),
            ("H57-250714", FORM),
            ("H57-250714-0001-1", FORM),
            ("H57-250714-001", FORM),
            ("H57-250714-000001", FORM),
            ("H57-25071-0001", FORM),
            ("H57-250714-00+1", FORM),
            ("H57-+50714-0001", FORM),
            ("h57-250714-0001", PARTY),
            ("-250714-0001", PARTY),
            ("00.00.14.H56-250714-0001", PARTY),
            ("H57-250229-0001", DATE),
            ("H57-251301-0001", DATE),
            ("H57-250700-0001", DATE),
            ("H57-250714-0000", NUMBER_ZERO),
        ] {
            assert_eq!(text.parse::<DossierCode>(), Err(expected), "{text:?}");
        }
        assert_eq!("H".repeat(49).parse::<DossierCode>(), Err(Malformed::TooLong { max: 48 }));
    }

    #[test]
    fn the_leap_day_exists_in_leap_years_only() {
        assert_eq!(code("H57-240229-0001").date(), date(2024, 2, 29));
        assert_eq!("H57-230229-0001".parse::<DossierCode>(), Err(DATE));
    }

    #[test]
    fn numbers_have_four_digits_and_widen_to_five() {
        let party: PartyId = "H57.01".parse().unwrap();
        let issue = |number| DossierCode::issue(&party, date(2025, 7, 14), number);
        assert_eq!(issue(1).unwrap().as_str(), "H57.01-250714-0001");
        assert_eq!(issue(9_999).unwrap().as_str(), "H57.01-250714-9999");
        assert_eq!(issue(10_000).unwrap().as_str(), "H57.01-250714-10000");
        assert_eq!(issue(99_999).unwrap().as_str(), "H57.01-250714-99999");
        assert_eq!(issue(100_000), Err(CannotIssue::DayIsFull));
        assert_eq!(issue(0), Err(CannotIssue::NumberZero));
        assert_eq!(DossierCode::issue(&party, date(1999, 12, 31), 1), Err(CannotIssue::Year));
        assert_eq!(DossierCode::issue(&party, date(2100, 1, 1), 1), Err(CannotIssue::Year));
    }

    #[test]
    fn the_longest_party_still_has_room_for_its_code() {
        let party: PartyId = "H57.0001.0001.0001.0001.0001.0001".parse().unwrap();
        let longest = DossierCode::issue(&party, date(2025, 7, 14), 99_999).unwrap();
        assert_eq!(code(longest.as_str()), longest);
    }

    #[test]
    fn an_alias_is_visible_ascii() {
        assert_eq!("G22.99.8-1/2025#7".parse::<Alias>().unwrap().as_str(), "G22.99.8-1/2025#7");
        assert_eq!("a b".parse::<Alias>(), Err(Malformed::Blank));
        assert_eq!("mã".parse::<Alias>(), Err(ALIAS_CHARS));
        assert_eq!("a\u{7}".parse::<Alias>(), Err(ALIAS_CHARS));
        assert_eq!("x".repeat(65).parse::<Alias>(), Err(Malformed::TooLong { max: 64 }));
        assert_eq!("".parse::<Alias>(), Err(Malformed::Empty));
    }

    fn days() -> impl Strategy<Value = Date> {
        (2000i16..=2099, 1i8..=12, 1i8..=31).prop_filter_map("not in the calendar", |(y, m, d)| Date::new(y, m, d).ok())
    }

    proptest! {
        #[test]
        fn what_is_issued_is_read_back(
            party in "[A-Z][0-9]{2}(\\.[0-9A-Z]{1,4}){0,6}",
            day in days(),
            number in 1u32..=99_999,
        ) {
            let party: PartyId = party.parse().unwrap();
            let issued = DossierCode::issue(&party, day, number).unwrap();
            let read = code(issued.as_str());
            prop_assert_eq!(&read, &issued);
            prop_assert_eq!((read.party(), read.date(), read.number()), (&party, day, number));
            prop_assert_eq!(read.generation(), Generation::Current);
            prop_assert_eq!(read.canonical(), issued);
        }

        #[test]
        fn an_old_code_keeps_its_text_and_names_the_same_dossier(
            party in "[0-9]{3}\\.[0-9]{2}\\.[0-9]{2}\\.[A-Z][0-9]{2}",
            day in days(),
            number in 1u32..=99_999,
        ) {
            let text = format!("{party}-{:02}{:02}{:02}-{number:04}", day.year() - 2000, day.month(), day.day());
            let read = code(&text);
            prop_assert_eq!(read.as_str(), &text);
            let expected = DossierCode::issue(&PartyId::from_legacy(&party).unwrap(), day, number).unwrap();
            prop_assert_eq!(read.canonical(), expected);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in "[A-H0-9.]{0,14}-[0-9]{5,7}-[0-9]{3,6}") {
            for text in [text, near] {
                if let Ok(read) = text.parse::<DossierCode>() {
                    prop_assert_eq!(read.as_str(), &text);
                    prop_assert_eq!(read.canonical().canonical(), read.canonical());
                }
                if let Ok(alias) = text.parse::<Alias>() {
                    prop_assert_eq!(alias.as_str(), text);
                }
            }
        }
    }
}
