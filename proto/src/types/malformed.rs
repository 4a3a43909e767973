//! Why a text is not the value it should be: the one error of every parser in this folder.
//!
//! The caller of all of them asks the same question (which rule was broken, in words for the sender), so there is one answer type.
//! It is built from constants and limits only and never from the input, which may be a personal number.

/// A rule of form, in both languages of the bus.
///
/// The texts are predicates: they read on from the name of a field ("party has a blank").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Stable name, for programs: `PARTY_ID_FORM`.
    pub name: &'static str,
    /// What is wrong and what is expected, in English.
    pub english: &'static str,
    /// The same in Vietnamese.
    pub vietnamese: &'static str,
}

/// The first rule that a text breaks. It was not accepted, and nothing of it is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// Nothing was given, or (in free text) only blanks.
    #[error("is empty")]
    Empty,
    /// A code or key has a blank somewhere; blanks are not trimmed, since the bytes that came are the bytes that were signed.
    #[error("has a blank; send it without any")]
    Blank,
    /// More than `max` characters.
    #[error("is longer than {max} characters")]
    TooLong {
        /// The most characters allowed.
        max: usize,
    },
    /// A rule of the type itself.
    #[error("{}", .0.english)]
    Rule(Rule),
}

impl Malformed {
    /// Stable name of the broken rule, in the form that `FieldViolation.reason` asks for.
    pub fn rule(&self) -> &'static str {
        match self {
            Malformed::Empty => "EMPTY",
            Malformed::Blank => "BLANK",
            Malformed::TooLong { .. } => "TOO_LONG",
            Malformed::Rule(rule) => rule.name,
        }
    }

    /// The sentence that `Display` gives in English, in Vietnamese.
    pub fn vietnamese(&self) -> String {
        match self {
            Malformed::Empty => "đang để trống".to_owned(),
            Malformed::Blank => "có khoảng trắng; hãy gửi lại không có khoảng trắng".to_owned(),
            Malformed::TooLong { max } => format!("dài quá {max} ký tự"),
            Malformed::Rule(rule) => rule.vietnamese.to_owned(),
        }
    }
}

/// A rule of one type, ready to be returned.
pub(super) const fn rule(name: &'static str, english: &'static str, vietnamese: &'static str) -> Malformed {
    Malformed::Rule(Rule { name, english, vietnamese })
}

/// What every code and key must pass before its own rule: something is there, not too much of it, and no blanks.
///
/// Looks at no more than `max` + 1 characters, however long the text is.
pub(super) fn compact(text: &str, max: usize) -> Result<(), Malformed> {
    if text.is_empty() {
        return Err(Malformed::Empty);
    }
    if text.chars().nth(max).is_some() {
        return Err(Malformed::TooLong { max });
    }
    if text.contains(char::is_whitespace) {
        return Err(Malformed::Blank);
    }
    Ok(())
}

/// Whether the text is `count` ASCII digits, no more and no fewer.
pub(super) fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_is_refused_wherever_it_stands() {
        for text in [" H57", "H57 ", "H 57", "H57\n", "H57\u{a0}"] {
            assert_eq!(compact(text, 10), Err(Malformed::Blank), "{text:?}");
        }
    }

    #[test]
    fn length_is_counted_in_characters_and_has_a_limit() {
        assert_eq!(compact("đđđ", 3), Ok(()));
        assert_eq!(compact("đđđđ", 3), Err(Malformed::TooLong { max: 3 }));
        assert_eq!(compact("", 3), Err(Malformed::Empty));
    }

    #[test]
    fn every_refusal_speaks_both_languages() {
        let own = rule("OWN_RULE", "must be so", "phải như thế");
        for malformed in [Malformed::Empty, Malformed::Blank, Malformed::TooLong { max: 64 }, own] {
            assert!(!malformed.to_string().is_empty());
            assert!(!malformed.vietnamese().is_empty());
            assert_ne!(malformed.to_string(), malformed.vietnamese());
        }
        assert_eq!(own.rule(), "OWN_RULE");
        assert_eq!(Malformed::TooLong { max: 64 }.vietnamese(), "dài quá 64 ký tự");
    }
}
