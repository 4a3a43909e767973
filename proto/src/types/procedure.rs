//! Codes of administrative procedures, and of the cases a procedure distinguishes.
//!
//! Owns the form; which procedures are in force, and which cases they have, is in the registry.

use std::str::FromStr;

use super::PartyId;
use super::malformed::{Malformed, compact, is_digits, rule};

/// The code of a procedure in the national procedure database, e.g. `1.001193` (birth registration).
///
/// A digit from 1 to 6 and six digits. Provinces write their own identifier behind it (`1.002835.000.00.00.H56`, `2.002621.H56`); parsing
/// takes that off, so that one procedure has one code. The few entries of the national list that are not of this form
/// (`1.0133611`, `1.014955-Xoa`) are slips of that list and are refused.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProcedureCode(Box<str>);

/// Digits and dot of the national code.
const NATIONAL_CHARS: usize = 8;
/// The national code, a dot and the longest party identifier.
const MAX_CHARS: usize = NATIONAL_CHARS + 1 + 35;

const FORM: Malformed = rule(
    "PROCEDURE_CODE_FORM",
    "is not a code of the national procedure database: a digit from 1 to 6, a dot and six digits, for example 1.001193",
    "không đúng dạng mã thủ tục hành chính quốc gia: một chữ số từ 1 đến 6, dấu chấm và sáu chữ số, ví dụ 1.001193",
);
const SUFFIX: Malformed = rule(
    "PROCEDURE_CODE_SUFFIX",
    "has something behind the national code that is not a party identifier such as H56 or 000.00.00.H56",
    "có phần sau mã thủ tục quốc gia không phải là mã định danh như H56 hoặc 000.00.00.H56",
);

impl ProcedureCode {
    /// The national code, without suffix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProcedureCode {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, MAX_CHARS)?;
        let (national, rest) = text.split_at_checked(NATIONAL_CHARS).ok_or(FORM)?;
        match national.split_once('.') {
            Some(("1" | "2" | "3" | "4" | "5" | "6", number)) if is_digits(number, 6) => {}
            _ => return Err(FORM),
        }
        if !rest.is_empty() {
            // Without the dot it is a slip in the code itself (`1.0133611`, `1.014955-Xoa`).
            let suffix = rest.strip_prefix('.').ok_or(FORM)?;
            suffix.parse::<PartyId>().or_else(|_| PartyId::from_legacy(suffix)).map_err(|_| SUFFIX)?;
        }
        Ok(Self(national.into()))
    }
}

printed_as_text!(ProcedureCode);

/// Names a case of a procedure that has limits or papers of its own, e.g. `nha-o-rieng-le`: our handle, 1 to 40 of `a-z 0-9 -`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CaseCode(Box<str>);

const CASE_CHARS: Malformed =
    rule("CASE_CODE_CHARACTERS", "has a character other than a-z, 0-9 and -", "có ký tự ngoài a-z, 0-9 và dấu -");

impl CaseCode {
    /// The handle as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CaseCode {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 40)?;
        if !text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
            return Err(CASE_CHARS);
        }
        Ok(Self(text.into()))
    }
}

printed_as_text!(CaseCode);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> Result<String, Malformed> {
        text.parse::<ProcedureCode>().map(|code| code.to_string())
    }

    #[test]
    fn suffixes_are_taken_off() {
        for (text, national) in [
            ("1.001193", "1.001193"),
            ("6.000001", "6.000001"),
            ("1.002835.000.00.00.H56", "1.002835"),
            ("1.000656.000.00.00.H29", "1.000656"),
            ("2.002621.H56", "2.002621"),
            ("2.002621.H56.14", "2.002621"),
        ] {
            assert_eq!(code(text), Ok(national.to_owned()));
        }
        assert_eq!("2.002621.H56".parse::<ProcedureCode>(), "2.002621".parse());
    }

    #[test]
    fn slips_of_the_national_list_are_refused() {
        for text in [
            "1.0133611",
            "1.014955-Xoa",
            "2.009182739",
            "7.001193",
            "0.001193",
            "1.00119",
            "1001193",
            "1.00119a",
            "1,001193",
        ] {
            assert_eq!(code(text), Err(FORM), "{text:?}");
        }
        assert_eq!(code("1.00119đ3"), Err(FORM));
    }

    #[test]
    fn a_suffix_must_name_a_party() {
        for text in ["1.001193.", "1.001193.h56", "1.001193.1", "1.001193.000.00.H56", "1.001193.Xoa"] {
            assert_eq!(code(text), Err(SUFFIX), "{text:?}");
        }
    }

    #[test]
    fn blanks_and_excess_are_named() {
        assert_eq!(code(""), Err(Malformed::Empty));
        assert_eq!(code("1.001193 "), Err(Malformed::Blank));
        assert_eq!(code(&"1".repeat(45)), Err(Malformed::TooLong { max: 44 }));
    }

    #[test]
    fn a_case_is_a_short_slug() {
        assert_eq!("nha-o-2".parse::<CaseCode>().unwrap().as_str(), "nha-o-2");
        for text in ["Nha", "nhà", "nha_o", "a.b"] {
            assert_eq!(text.parse::<CaseCode>(), Err(CASE_CHARS), "{text:?}");
        }
        assert_eq!("".parse::<CaseCode>(), Err(Malformed::Empty));
        assert_eq!("a".repeat(41).parse::<CaseCode>(), Err(Malformed::TooLong { max: 40 }));
    }

    proptest! {
        #[test]
        fn print_and_parse_give_the_same_code(
            national in "[1-6]\\.[0-9]{6}",
            suffix in "(\\.[A-Z][0-9]{2}|\\.[0-9]{3}\\.[0-9]{2}\\.[0-9]{2}\\.[A-Z][0-9]{2})?",
        ) {
            let parsed: ProcedureCode = format!("{national}{suffix}").parse().unwrap();
            prop_assert_eq!(parsed.as_str(), &national);
            prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in "[0-7][.,][0-9]{4,8}(\\.|-|đ)?[A-Z0-9.]{0,14}") {
            for text in [text, near] {
                if let Ok(parsed) = text.parse::<ProcedureCode>() {
                    prop_assert!(text.starts_with(parsed.as_str()) && parsed.as_str().len() == NATIONAL_CHARS);
                }
                let _ = text.parse::<CaseCode>();
            }
        }
    }
}
