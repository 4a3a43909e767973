//! Comparing the names of persons and places that two people typed.
//!
//! Owns only the key to compare by. What the clerk typed is what is stored and sent; the key is for our own comparing.

use unicode_normalization::UnicodeNormalization;

/// The key under which two spellings of one name are equal: Unicode NFC, upper case, blanks collapsed, and one placement of tone marks.
///
/// Vietnamese has two schools for the tone in *oa*, *oe*, *uy*: `hòa`, `khỏe`, `thủy` and `hoà`, `khoẻ`, `thuỷ`. The key has the mark on
/// the second vowel. Tones themselves are kept: `Hoà` and `Hoá` are two people.
///
/// The key of a person's name is as personal as the name.
pub fn name_key(name: &str) -> String {
    let upper: String = name.nfd().collect::<String>().to_uppercase();
    let mut letters: Vec<char> = upper.nfd().collect();
    for at in 0..letters.len().saturating_sub(2) {
        let [first, tone, second] = [letters[at], letters[at + 1], letters[at + 2]];
        let second_is_bare = letters.get(at + 3).is_none_or(|next| !is_mark(*next));
        if matches!((first, second), ('O', 'A' | 'E') | ('U', 'Y')) && is_tone(tone) && second_is_bare {
            letters.swap(at + 1, at + 2);
        }
    }
    let composed: String = letters.into_iter().nfc().collect();
    composed.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The five written tones: huyền, sắc, ngã, hỏi, nặng.
fn is_tone(c: char) -> bool {
    matches!(c, '\u{300}' | '\u{301}' | '\u{303}' | '\u{309}' | '\u{323}')
}

/// Marks that change a letter after it: a vowel that carries one is another letter (`Ă`), or has a tone already.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_schools_of_tone_placement_meet() {
        for (old, new) in [
            ("Hòa", "Hoà"),
            ("Khóa", "Khoá"),
            ("Thủy", "Thuỷ"),
            ("khỏe", "khoẻ"),
            ("Lụy", "Luỵ"),
            ("Tũy", "Tuỹ"),
            ("THUẬN HÓA", "Thuận Hoá"),
            ("Qúy", "Quý"),
        ] {
            assert_eq!(name_key(old), name_key(new));
        }
        assert_eq!(name_key("thuận hóa"), "THUẬN HOÁ");
    }

    #[test]
    fn tones_and_letters_still_tell_names_apart() {
        for (one, other) in
            [("Hoà", "Hoá"), ("Hoà", "Hoa"), ("Thúy", "Thùy"), ("Đoàn", "Doàn"), ("Hương", "Hường"), ("Tùa", "Tuà")]
        {
            assert_ne!(name_key(one), name_key(other));
        }
    }

    #[test]
    fn composed_and_decomposed_text_meet() {
        let decomposed: String = "Nguyễn Thị Thuỷ".nfd().collect();
        assert_ne!(decomposed, "Nguyễn Thị Thuỷ");
        assert_eq!(name_key(&decomposed), name_key("Nguyễn Thị Thủy"));
    }

    #[test]
    fn blanks_collapse_and_case_does_not_matter() {
        assert_eq!(name_key("  nguyễn\u{a0}\t văn  đức\n"), "NGUYỄN VĂN ĐỨC");
        assert_eq!(name_key(" \n"), "");
    }

    #[test]
    fn a_vowel_with_a_mark_of_its_own_keeps_its_tone() {
        for name in ["HOẶC", "HUẾ", "NGUYỆT", "THUỞ", "MÙA", "HOÀN", "QUỲNH"] {
            assert_eq!(name_key(name), name);
        }
        // Twice toned is no Vietnamese word; it is left alone, so that no mark lands on a marked vowel.
        assert_eq!(name_key("HÒÁ"), "HÒÁ");
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key(
            name in any::<String>(),
            vietnamese in "[aàáăeèouùúưyýhntqđ \u{300}\u{301}\u{303}\u{309}\u{323}]{0,24}",
        ) {
            for name in [name, vietnamese] {
                let key = name_key(&name);
                prop_assert_eq!(name_key(&key), key);
            }
        }

        #[test]
        fn case_and_composition_never_matter(name in "[aàáảãạăâeèéẻẽẹêoòóỏõọôơuùúủũụưyỳýỷỹỵbcdđghklmnpqrstvx ]{0,24}") {
            prop_assert_eq!(name_key(&name.to_uppercase()), name_key(&name));
            prop_assert_eq!(name_key(&name.nfd().collect::<String>()), name_key(&name));
        }
    }
}
