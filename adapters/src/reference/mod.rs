//! The reference of an agency's developer: every event, status and reason, made from what the code itself goes by.
//!
//! Owns the form of an entry and how it is looked up; what an entry says comes from [`lgsp_proto::Reason`], the adapter's own reasons, and
//! the domain's table of transitions. `lgsp explain` prints it, and `docs/reference` is [`markdown::page`] of it, compared by a test.

mod events;
pub mod markdown;
mod reasons;
mod statuses;
mod warnings;

use lgsp_proto::reason::Bilingual;
use serde_json::{Map, Value, json};

pub use crate::problem::LocalReason;
pub use events::{event_name, events};
pub use reasons::reasons;
pub use statuses::statuses;
pub use warnings::warnings;

/// What an entry is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Why something was refused.
    Reason,
    /// What happened to a dossier.
    Event,
    /// Where a dossier stands.
    Status,
    /// What is odd and no ground for refusal.
    Warning,
}

impl Kind {
    /// The word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Event => "event",
            Self::Status => "status",
            Self::Warning => "warning",
        }
    }
}

/// Everything about one word.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is about.
    pub kind: Kind,
    /// The stable word.
    pub word: String,
    /// What people call it; of a reason, what happened.
    pub name: Bilingual,
    /// The rest, in the order in which a person reads it.
    pub rows: Vec<Row>,
    /// What else it goes by: numbers, types, names.
    also: Vec<String>,
}

/// One thing said about a word.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name for programs.
    pub key: &'static str,
    /// The name for people.
    pub label: Bilingual,
    /// What is said.
    pub says: Says,
}

/// What is said, in as many languages as it takes.
#[derive(Clone, Debug)]
pub enum Says {
    /// A word or a command: the same in both languages.
    Code(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Words, each for itself.
    Codes(Vec<String>),
    /// A sentence: English, Vietnamese.
    Text([String; 2]),
    /// Sentences: English, Vietnamese.
    Texts(Vec<[String; 2]>),
}

/// A language of the bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// English.
    English,
    /// Tiếng Việt.
    Vietnamese,
}

impl Language {
    /// The text in this language.
    pub fn pick<T>(self, english: T, vietnamese: T) -> T {
        match self {
            Self::English => english,
            Self::Vietnamese => vietnamese,
        }
    }

    /// A fixed sentence in this language.
    pub fn say(self, text: Bilingual) -> &'static str {
        self.pick(text.en, text.vi)
    }
}

impl Row {
    /// What is said, line by line; nothing where there is nothing to say.
    pub fn lines(&self, language: Language) -> Vec<String> {
        let of = |[en, vi]: &[String; 2]| language.pick(en, vi).clone();
        match &self.says {
            Says::Code(code) => vec![code.clone()],
            Says::Number(number) => vec![number.to_string()],
            Says::Flag(flag) => vec![language.pick(["no", "yes"], ["không", "có"])[usize::from(*flag)].to_owned()],
            Says::Codes(codes) if codes.is_empty() => Vec::new(),
            Says::Codes(codes) => vec![codes.join(", ")],
            Says::Text(text) => vec![of(text)],
            Says::Texts(texts) => texts.iter().map(of).collect(),
        }
    }
}

impl Entry {
    /// For programs: both languages at once.
    pub fn to_json(&self) -> Value {
        let text = |[en, vi]: &[String; 2]| json!({ "en": en, "vi": vi });
        let mut object = Map::new();
        object.insert("kind".to_owned(), self.kind.as_str().into());
        object.insert("word".to_owned(), self.word.as_str().into());
        object.insert("name".to_owned(), json!({ "en": self.name.en, "vi": self.name.vi }));
        for row in &self.rows {
            let value = match &row.says {
                Says::Code(code) => code.as_str().into(),
                Says::Number(number) => (*number).into(),
                Says::Flag(flag) => (*flag).into(),
                Says::Codes(codes) => codes.clone().into(),
                Says::Text(both) => text(both),
                Says::Texts(all) => all.iter().map(text).collect(),
            };
            object.insert(row.key.to_owned(), value);
        }
        Value::Object(object)
    }

    fn goes_by(&self, word: &str) -> bool {
        plain(&self.word) == word || self.also.iter().any(|also| plain(also) == word)
    }
}

/// Every entry: reasons, events, statuses, warnings.
pub fn all() -> Vec<Entry> {
    [reasons(), events(), statuses(), warnings()].concat()
}

/// The entries of a word, as it stands in an answer, a webhook or a table; letters may be small or large. An event and the status
/// it leads to often share one.
pub fn find(word: &str) -> Vec<Entry> {
    let word = plain(word);
    all().into_iter().filter(|entry| entry.goes_by(&word)).collect()
}

/// Words that somebody may have meant, the nearest first.
pub fn like(word: &str) -> Vec<String> {
    let word = plain(word);
    let distance = |entry: &Entry| {
        let other = plain(&entry.word);
        if !word.is_empty() && (other.contains(&word) || word.contains(&other)) { 1 } else { edits(&word, &other) }
    };
    let mut near: Vec<_> = all().iter().map(|entry| (distance(entry), entry.word.clone())).collect();
    near.retain(|(distance, other)| *distance <= 1.max(other.len() / 3));
    near.sort();
    near.dedup();
    near.into_iter().map(|(_, word)| word).take(5).collect()
}

/// A word as it is compared: `urn:lgsp:problem:unit-ceased` is `UNIT_CEASED`.
fn plain(word: &str) -> String {
    let word = word.trim();
    let word = word.strip_prefix("urn:lgsp:problem:").unwrap_or(word);
    word.to_lowercase().replace('-', "_")
}

/// How many letters have to be put in, taken out or changed.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut before = row[0];
        row[0] = index + 1;
        for (column, same) in other.iter().enumerate() {
            let change = before + usize::from(letter != *same);
            before = row[column + 1];
            row[column + 1] = change.min(row[column] + 1).min(before + 1);
        }
    }
    row[other.len()]
}

fn row(key: &'static str, en: &'static str, vi: &'static str, says: Says) -> Row {
    Row { key, label: Bilingual { en, vi }, says }
}

fn said(text: Bilingual) -> Says {
    Says::Text([text.en.to_owned(), text.vi.to_owned()])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_entry_speaks_both_languages() {
        for entry in all() {
            assert!(entry.name.en.is_ascii() && !entry.name.en.is_empty(), "{entry:?}");
            for row in &entry.rows {
                let [en, vi] = [Language::English, Language::Vietnamese].map(|language| row.lines(language));
                assert_eq!(en.len(), vi.len(), "{} of {}", row.key, entry.word);
                assert!(en.iter().chain(&vi).all(|line| !line.is_empty()), "{} of {}", row.key, entry.word);
            }
        }
    }

    #[test]
    fn a_word_is_found_however_it_is_written() {
        for word in ["UNIT_CEASED", "unit_ceased", "unit-ceased", "urn:lgsp:problem:unit-ceased"] {
            assert_eq!(
                find(word).iter().map(|entry| entry.word.as_str()).collect::<Vec<_>>(),
                ["UNIT_CEASED"],
                "{word}"
            );
        }
        let kinds = |word: &str| find(word).iter().map(|entry| entry.kind).collect::<Vec<_>>();
        assert_eq!(kinds("accepted"), [Kind::Event, Kind::Status]);
        assert_eq!(kinds("vn.lgsp.dossier.accepted.v1"), [Kind::Event]);
        assert_eq!((kinds("5"), kinds("Đang xử lý")), (vec![Kind::Status], vec![Kind::Status]));
        assert_eq!(kinds("nonsense"), []);
    }

    #[test]
    fn a_word_nearly_right_leads_to_the_right_one() {
        assert_eq!(like("UNIT_CEASD")[0], "UNIT_CEASED");
        assert!(like("supplement").iter().any(|word| word == "supplement_requested"));
        assert!(like("xyzzy").is_empty());
    }

    #[test]
    fn words_of_one_kind_are_not_shared() {
        let words: Vec<_> = all().iter().map(|entry| (entry.kind.as_str(), entry.word.clone())).collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
    }
}
