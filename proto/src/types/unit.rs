//! Codes of administrative units: provinces and communes, the two levels there are since 1 July 2025.
//!
//! Owns the form. Which units exist on a day, and who succeeded whom, is in the registry: the five digits of a commune do not name its
//! province.

use std::str::FromStr;

use super::malformed::{Malformed, compact, is_digits, rule};

/// The code of an administrative unit in QĐ 19/2025/QĐ-TTg: two digits for a province (`46`), five for a commune (`19753`).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnitCode(Box<str>);

/// The levels of local government.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum UnitLevel {
    /// Tỉnh or thành phố trực thuộc trung ương.
    Province,
    /// Xã, phường or đặc khu.
    Commune,
}

const PROVINCE_DIGITS: usize = 2;
const COMMUNE_DIGITS: usize = 5;

const FORM: Malformed = rule(
    "UNIT_CODE_FORM",
    "is not a code of an administrative unit: two digits for a province, five for a commune; \
     districts ended on 1 July 2025",
    "không phải mã đơn vị hành chính: hai chữ số cho cấp tỉnh, năm chữ số cho cấp xã; cấp huyện đã kết thúc từ ngày 01/7/2025",
);

impl UnitCode {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a province or a commune.
    pub fn level(&self) -> UnitLevel {
        if self.0.len() == PROVINCE_DIGITS { UnitLevel::Province } else { UnitLevel::Commune }
    }
}

impl FromStr for UnitCode {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 64)?;
        if !is_digits(text, PROVINCE_DIGITS) && !is_digits(text, COMMUNE_DIGITS) {
            return Err(FORM);
        }
        Ok(Self(text.into()))
    }
}

printed_as_text!(UnitCode);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_digits_are_a_province_and_five_a_commune() {
        assert_eq!("46".parse::<UnitCode>().unwrap().level(), UnitLevel::Province);
        assert_eq!("19753".parse::<UnitCode>().unwrap().level(), UnitLevel::Commune);
    }

    #[test]
    fn districts_and_other_texts_are_refused() {
        for text in ["4", "474", "1975", "197530", "4a", "1975x", "４６"] {
            assert_eq!(text.parse::<UnitCode>(), Err(FORM), "{text:?}");
        }
        assert_eq!("46 ".parse::<UnitCode>(), Err(Malformed::Blank));
        assert_eq!("".parse::<UnitCode>(), Err(Malformed::Empty));
    }

    proptest! {
        #[test]
        fn print_and_parse_give_the_same_unit(text in "[0-9]{2}|[0-9]{5}") {
            prop_assert_eq!(text.parse::<UnitCode>().unwrap().to_string(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<UnitCode>();
        }
    }
}
