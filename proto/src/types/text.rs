//! Free text with a bound, for what people write: names, reasons, notes.
//!
//! Owns the bound and the alphabet. The content may name a person, so it is not printed: no `Display`, and `Debug` tells the length only.

use std::fmt;
use std::str::FromStr;

use super::malformed::{Malformed, rule};

/// 1 to `MAX` characters of which at least one is not a blank; of control characters only line feed and tab.
///
/// Kept as typed, blanks at the ends included. Personal data until somebody proves otherwise: it leaves through [`as_str`](Self::as_str).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Text<const MAX: usize>(Box<str>);

const CONTROL: Malformed = rule(
    "TEXT_CONTROL_CHARACTER",
    "has a control character; only line feed and tab are allowed",
    "có ký tự điều khiển; chỉ cho phép xuống dòng (LF) và tab",
);

impl<const MAX: usize> Text<MAX> {
    /// The text as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> FromStr for Text<MAX> {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.chars().nth(MAX).is_some() {
            return Err(Malformed::TooLong { max: MAX });
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(CONTROL);
        }
        if text.trim().is_empty() {
            return Err(Malformed::Empty);
        }
        Ok(Self(text.into()))
    }
}

impl<const MAX: usize> TryFrom<&str> for Text<MAX> {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} characters)", self.0.chars().count())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_clerk_types_is_kept_as_typed() {
        let typed = " Thiếu bản chính\n\tgiấy chứng sinh ";
        assert_eq!(typed.parse::<Text<100>>().unwrap().as_str(), typed);
    }

    #[test]
    fn the_bound_counts_characters_and_not_bytes() {
        assert!("ế".repeat(5).parse::<Text<5>>().is_ok());
        assert_eq!("ế".repeat(6).parse::<Text<5>>(), Err(Malformed::TooLong { max: 5 }));
    }

    #[test]
    fn only_blanks_is_empty() {
        for text in ["", " ", "\n\t ", "\u{a0}"] {
            assert_eq!(text.parse::<Text<5>>(), Err(Malformed::Empty), "{text:?}");
        }
    }

    #[test]
    fn control_characters_are_refused() {
        for text in ["a\0", "a\r\n", "\u{1b}[31m", "a\u{85}"] {
            assert_eq!(text.parse::<Text<9>>(), Err(CONTROL), "{text:?}");
        }
    }

    #[test]
    fn debug_does_not_tell_the_content() {
        let text: Text<20> = "Nguyễn Văn A".parse().unwrap();
        assert_eq!(format!("{text:?}"), "Text(12 characters)");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_change(text in any::<String>()) {
            if let Ok(parsed) = text.parse::<Text<20>>() {
                prop_assert_eq!(parsed.as_str(), &text);
                prop_assert!((1..=20).contains(&text.chars().count()));
            }
        }
    }
}
