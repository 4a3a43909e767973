//! When two spellings of a Vietnamese name are one name.
//!
//! The same name reaches us composed or decomposed, in any case, with odd blanks, and with the tone of a syllable over either of two
//! vowels (*hoà* and *hòa*, *Thuỷ* and *Thủy*): all that is one name. Tones and letters themselves are not: *Hoa* is not *Hoà*, *Dung*
//! is not *Dũng*, and a name typed without marks (*không dấu*) is no match for one with them. Names are personal data: nothing here
//! prints one.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::canonical_combining_class;

/// Grave, acute, hook above, tilde, dot below: *huyền, sắc, hỏi, ngã, nặng*. Circumflex, breve and horn make other letters.
const TONES: [char; 5] = ['\u{300}', '\u{301}', '\u{309}', '\u{303}', '\u{323}'];

/// Marks that make another vowel of one, so that a run of vowels goes on behind them.
const LETTER_MARKS: [char; 3] = ['\u{302}', '\u{306}', '\u{31b}'];

/// No syllable has more vowels in a row; a longer run is something else, and stays as it is.
const VOWELS_MAX: usize = 3;

/// Whether both are the same name. Two empty ones are none.
pub fn is_same(one: &str, other: &str) -> bool {
    let key = key(one);
    !key.is_empty() && key == self::key(other)
}

/// What all spellings of a name have in common: equal keys are equal names. Made for comparing only; nobody writes it like that.
pub fn key(name: &str) -> String {
    let mut key = String::with_capacity(name.len() + 8);
    for word in words(name) {
        if !key.is_empty() {
            key.push(' ');
        }
        tones_behind(&word.to_uppercase().nfd().collect::<Vec<_>>(), &mut key);
    }
    // A tone that was moved stands behind a circumflex or a breve, where Unicode has the dot below before them.
    if key.is_ascii() { key } else { key.nfd().collect() }
}

/// A name as a database is asked for it: as it was typed, in upper case and NFC, with single blanks. The tones stay where they are.
pub fn as_asked(name: &str) -> String {
    let mut asked = String::with_capacity(name.len());
    for word in words(name) {
        if !asked.is_empty() {
            asked.push(' ');
        }
        asked.extend(word.to_uppercase().nfc());
    }
    asked
}

/// The words of a name, without what nobody sees, and with the one letter that older software writes as its doubles.
fn words(name: &str) -> impl Iterator<Item = String> {
    let is_seen = |c: &char| !matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    let as_meant = |c| match c {
        // Eth and African D look like Đ, and come from conversions of the old Vietnamese encodings.
        'Ð' | 'Ɖ' => 'Đ',
        'ð' | 'ɖ' => 'đ',
        c => c,
    };
    let word = move |word: &str| word.chars().filter(is_seen).map(as_meant).collect::<String>();
    name.split_whitespace().map(word).filter(|word| !word.is_empty())
}

/// Writes a decomposed word with the tone of each run of vowels behind the run.
///
/// The tone belongs to the syllable, and where it is put is a custom: over the first vowel (*hòa*) or the second (*hoà*) in the open
/// rimes oa, oe and uy. Elsewhere there is one right place, and another one is a slip that makes no other word (*qúy* for *quý*). The one
/// exception is *gi*: *giạ* is gi + ạ, *gịa* is g + ịa, and they are two words. A word with a mark of another script is no Vietnamese
/// syllable, and stays as it is.
fn tones_behind(word: &[char], into: &mut String) {
    if word.iter().any(|c| canonical_combining_class(*c) != 0 && !is_mark(*c)) {
        into.extend(word);
        return;
    }
    let mut at = 0;
    while at < word.len() {
        let run = word[at..].iter().take_while(|c| is_vowel(**c) || is_mark(**c)).count();
        let (marks, rest) = word[at..].split_at(run);
        let vowels = marks.iter().filter(|c| is_vowel(**c)).count();
        let tones = marks.iter().filter(|c| TONES.contains(c)).count();
        let is_gi = at > 0 && word[at - 1] == 'G' && marks.first() == Some(&'I') && vowels > 1;
        if tones == 1 && (1..=VOWELS_MAX).contains(&vowels) && !is_gi {
            into.extend(marks.iter().filter(|c| !TONES.contains(c)));
            into.extend(marks.iter().filter(|c| TONES.contains(c)));
        } else {
            into.extend(marks);
        }
        into.extend(rest.first());
        at += run + 1;
    }
}

fn is_vowel(c: char) -> bool {
    matches!(c, 'A' | 'E' | 'I' | 'O' | 'U' | 'Y')
}

fn is_mark(c: char) -> bool {
    TONES.contains(&c) || LETTER_MARKS.contains(&c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_two_places_of_a_tone_are_one_name() {
        for (old, new) in [
            ("Hòa", "Hoà"),
            ("Hóa", "Hoá"),
            ("Khỏe", "Khoẻ"),
            ("Thủy", "Thuỷ"),
            ("Túy", "Tuý"),
            ("Nguyễn Thị Thùy Hòa", "NGUYỄN THỊ THUỲ HOÀ"),
            // One right place, and a slip.
            ("Quý", "Qúy"),
            ("Huế", "Húê"),
            ("Lúa", "Luá"),
            ("Hoàn", "Hòan"),
        ] {
            assert!(is_same(old, new), "{old} {new}");
        }
    }

    #[test]
    fn other_tones_letters_and_words_are_other_names() {
        for (one, other) in [
            ("Hoa", "Hoà"),
            ("Hoá", "Hoà"),
            ("Dung", "Dũng"),
            ("Dung", "Đung"),
            ("An", "Ân"),
            ("Hung", "Hưng"),
            ("Lan Anh", "Lananh"),
            ("Nguyễn Văn", "Nguyen Van"),
            ("Văn Nguyễn", "Nguyễn Văn"),
            // gi + ạ, and g + ịa.
            ("Giạ", "Gịa"),
            // A tone does not go over into the next syllable.
            ("HoàngAnh", "HoangÀnh"),
            ("", " "),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
        assert!(is_same("Giá", "GIÁ") && is_same("Già", "già"));
    }

    #[test]
    fn forms_cases_blanks_and_doubles_of_a_letter_do_not_count() {
        let name = "Đặng Thị Thuỷ Tiên";
        let decomposed: String = name.nfd().collect();
        for same in ["ĐẶNG THỊ THUỶ TIÊN", "  đặng\u{a0}thị \t thuỷ tiên\u{200b}", "Ðặng Thị Thủy Tiên", &*decomposed]
        {
            assert!(is_same(name, same), "{same}");
        }
    }

    #[test]
    fn asked_is_what_was_typed_in_upper_case() {
        let decomposed: String = "  Nguyễn  thị Hòa ".nfd().collect();
        assert_eq!(as_asked(&decomposed), "NGUYỄN THỊ HÒA");
        assert_eq!(as_asked("Nguyễn Thị Hoà"), "NGUYỄN THỊ HOÀ");
        assert_eq!(as_asked("\u{feff}  "), "");
    }

    /// A syllable, with its tone over the first and over the second of its two vowels.
    fn syllable() -> impl Strategy<Value = (String, String)> {
        let initial = prop::sample::select(vec!["", "h", "kh", "th", "x", "ng", "đ", "t", "qu", "l"]);
        let rime = prop::sample::select(vec![["o", "a"], ["o", "e"], ["u", "y"]]);
        (initial, rime, 0..TONES.len()).prop_map(|(initial, [first, second], tone)| {
            let (initial, first) = if initial == "qu" { ("q", "u") } else { (initial, first) };
            let tone = TONES[tone];
            (format!("{initial}{first}{tone}{second}"), format!("{initial}{first}{second}{tone}"))
        })
    }

    /// Vowels, tones, and marks of other scripts that Unicode puts before a tone, behind it, and nowhere.
    fn odd_syllables() -> impl Strategy<Value = String> {
        let odd =
            ['A', 'y', 'I', 'g', 'B', '\u{301}', '\u{323}', '\u{302}', '\u{31b}', '\u{327}', '\u{596}', '\u{34f}', ' '];
        prop::collection::vec(prop::sample::select(odd.to_vec()), 1..8).prop_map(|odd| odd.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn a_key_is_its_own_key_whatever_marks_come_along(text in odd_syllables()) {
            let key = key(&text);
            prop_assert_eq!(self::key(&key), key);
        }
    }

    proptest! {
        #[test]
        fn wherever_the_tones_stand_it_is_the_same_name_and_without_them_it_is_another(
            name in prop::collection::vec((syllable(), any::<bool>()), 1..6),
        ) {
            let old: Vec<_> = name.iter().map(|((old, _), _)| &**old).collect();
            let mixed: Vec<_> = name.iter().map(|((old, new), is_new)| if *is_new { &**new } else { old }).collect();
            let (old, mixed) = (old.join(" "), mixed.join("  ").nfc().collect::<String>());
            prop_assert!(is_same(&old, &mixed));
            prop_assert!(is_same(&old, &as_asked(&mixed)));
            let plain: String = old.chars().filter(|c| !TONES.contains(c)).collect();
            prop_assert!(!is_same(&old, &plain));
        }

        #[test]
        fn any_text_has_one_key_and_is_asked_as_the_same_name(text in "\\PC{0,40}") {
            let key = key(&text);
            prop_assert_eq!(&self::key(&key), &key);
            // Not every letter of the world comes back from upper case the same in both forms; Vietnamese ones do.
            if text.chars().all(|c| c.is_ascii() || ('\u{c0}'..='\u{1b0}').contains(&c) || ('\u{1ea0}'..='\u{1ef9}').contains(&c)) {
                prop_assert_eq!(self::key(&as_asked(&text)), key);
            }
        }
    }
}
