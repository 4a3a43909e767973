//! When two spellings are one name, as the register compares them: normal form, case, blanks, and where the tone mark stands.
//!
//! A syllable has one tone. So it is taken off its vowel and put behind the syllable: "Hoà" and "Hòa" become the same, and what differs in
//! a letter or a tone stays different.

use unicode_normalization::UnicodeNormalization as _;

/// Grave, acute, tilde, hook above, dot below: the five tones that are written.
const TONES: [char; 5] = ['\u{300}', '\u{301}', '\u{303}', '\u{309}', '\u{323}'];

/// The same for all spellings of a name.
pub(super) fn key(name: &str) -> String {
    let syllable = |syllable: &str| {
        let (tones, letters): (String, String) = syllable.to_uppercase().nfd().partition(|c| TONES.contains(c));
        letters + &tones
    };
    name.split_whitespace().map(syllable).collect::<Vec<_>>().join(" ")
}

/// Whether it is in upper case and composed, as it has to be sent.
pub(super) fn is_as_sent(name: &str) -> bool {
    name == name.to_uppercase() && name.nfc().eq(name.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_one_and_other_names_are_not() {
        for (one, other) in [("Nguyễn Thị Hoà", "NGUYỄN  THỊ HÒA "), ("Thuỷ", "THU\u{309}Y"), ("Quý", "QÚY")]
        {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in [("Hoà", "Hoa"), ("Hoà", "Hoá"), ("Đức", "Duc"), ("Quốc", "Quôc"), ("An Na", "Anna")]
        {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
    }

    #[test]
    fn it_is_sent_in_upper_case_and_composed() {
        assert!(is_as_sent("NGUYỄN THỊ HOÀ"));
        let apart: String = "NGUYỄN".nfd().collect();
        assert!(!is_as_sent("Nguyễn Thị Hoà") && !is_as_sent(&apart));
    }
}
