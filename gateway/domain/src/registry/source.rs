//! Reading one TOML file entry by entry, remembering where everything stood.
//!
//! Knows TOML and places, nothing about parties or routes. Every key has to be asked for: what nobody asked for is
//! reported as unknown, so a misspelt `valid_too` cannot silently make a rule eternal.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use jiff::civil::Date;
use lgsp_proto::types::Malformed;
use toml::de::{DeTable, DeValue};

use super::problem::{Fault, Problem, ProblemKind};
use super::validity::Validity;

/// All that was found wrong so far, in the order it was found.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// As [`Problems::add`], unless it was said before: one file may be looked at for several entries.
    pub(super) fn add_once(&self, problem: Problem) {
        if !self.0.borrow().contains(&problem) {
            self.add(problem);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Whether something is wrong with that entry already.
    pub(super) fn blame(&self, place: &Place) -> bool {
        self.0.borrow().iter().any(|problem| {
            let rest = problem.path.strip_prefix(&place.path);
            problem.file == place.file && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// Where an entry stands, for problems that only show when it is compared with others.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: String,
    path: String,
    line: u32,
    keys: BTreeMap<String, u32>,
}

impl Place {
    /// The line the entry begins on.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// A problem of this entry; of one of its keys when `key` is not empty.
    pub(super) fn problem(&self, key: &str, kind: ProblemKind, fault: Fault) -> Problem {
        let path = if key.is_empty() { self.path.clone() } else { format!("{}.{key}", self.path) };
        let line = self.keys.get(key).copied().unwrap_or(self.line);
        Problem { kind, file: self.file.clone(), path, line: Some(line), vi: fault.vi, en: fault.en }
    }
}

/// An entry together with its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// A value written as a text.
pub(super) trait FromText: Sized {
    fn from_text(text: &str) -> Result<Self, Fault>;
}

impl<T: FromStr<Err = Malformed>> FromText for T {
    fn from_text(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|malformed: Malformed| {
            Fault::new(format!("\"{text}\" {}", malformed.vietnamese()), format!("\"{text}\" {malformed}"))
        })
    }
}

/// One file: its text, its lines, and the list that problems go to.
pub(super) struct Source<'t> {
    name: &'t str,
    text: &'t str,
    /// Byte offsets at which the lines begin.
    lines: Vec<usize>,
    problems: &'t Problems,
}

impl<'t> Source<'t> {
    pub(super) fn new(name: &'t str, text: &'t str, problems: &'t Problems) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { name, text, lines: std::iter::once(0).chain(newlines).collect(), problems }
    }

    /// Parses the text as TOML; every error of syntax becomes a problem.
    pub(super) fn parse(&self) -> Option<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.problems.add(Problem {
                kind: ProblemKind::Syntax,
                file: self.name.to_owned(),
                path: String::new(),
                line: error.span().map(|span| self.line(span.start)),
                vi: format!("không đúng cú pháp TOML: {}", error.message()),
                en: format!("is not TOML: {}", error.message()),
            });
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// The file as an entry, whose keys are those that stand before the first table.
    pub(super) fn root<'a>(&'a self, table: &'a DeTable<'t>) -> Entry<'a> {
        self.entry(String::new(), 1, table)
    }

    fn entry<'a>(&'a self, path: String, line: u32, table: &'a DeTable<'t>) -> Entry<'a> {
        let keys = table.iter().map(|(key, _)| (key.get_ref().to_string(), self.line(key.span().start))).collect();
        let place = Place { file: self.name.to_owned(), path, line, keys };
        Entry { source: self, place, table, asked: RefCell::default() }
    }

    fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.lines.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }
}

/// One table of the file, with the keys that were asked for.
pub(super) struct Entry<'a> {
    source: &'a Source<'a>,
    place: Place,
    table: &'a DeTable<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Entry<'a> {
    /// Reports a problem of the entry, or of one of its keys when `key` is not empty.
    pub(super) fn problem(&self, key: &str, kind: ProblemKind, fault: Fault) {
        self.source.problems.add(self.place.problem(key, kind, fault));
    }

    /// Whether the key is there, whatever stands behind it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text that must be there and not be blank.
    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        self.required(key)?;
        self.optional_text(key)
    }

    /// A text that may be missing but not blank.
    pub(super) fn optional_text(&self, key: &'static str) -> Option<String> {
        match self.ask(key)? {
            DeValue::String(text) if !text.trim().is_empty() => Some(text.to_string()),
            DeValue::String(_) => {
                self.problem(key, ProblemKind::Malformed, Fault::new("đang để trống", "is empty"));
                None
            }
            _ => self.wrong_type(key, "một chuỗi trong ngoặc kép", "a text in quotes"),
        }
    }

    /// A value written as a text, which must be there.
    pub(super) fn value<T: FromText>(&self, key: &'static str) -> Option<T> {
        self.required(key)?;
        self.optional(key)
    }

    /// A value written as a text, which may be missing.
    pub(super) fn optional<T: FromText>(&self, key: &'static str) -> Option<T> {
        let text = self.optional_text(key)?;
        self.parsed(key, &text)
    }

    /// A list of values written as texts; empty when the key is missing.
    pub(super) fn values<T: FromText>(&self, key: &'static str) -> Vec<T> {
        self.texts(key).iter().filter_map(|text| self.parsed(key, text)).collect()
    }

    /// A list of texts; empty when the key is missing.
    pub(super) fn texts(&self, key: &'static str) -> Vec<String> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let texts: Option<Vec<String>> = value
            .as_array()
            .map(|items| items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)))
            .and_then(Iterator::collect);
        texts
            .or_else(|| {
                self.wrong_type(
                    key,
                    "một danh sách chuỗi, ví dụ [\"a\", \"b\"]",
                    "a list of texts, e.g. [\"a\", \"b\"]",
                )
            })
            .unwrap_or_default()
    }

    /// `true` or `false`; false when the key is missing.
    pub(super) fn flag(&self, key: &'static str) -> bool {
        match self.ask(key) {
            Some(DeValue::Boolean(flag)) => *flag,
            Some(_) => self.wrong_type(key, "true hoặc false", "true or false").unwrap_or_default(),
            None => false,
        }
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self, key: &'static str) -> Option<u64> {
        self.required(key)?;
        let number =
            self.ask(key)?.as_integer().and_then(|digits| u64::from_str_radix(digits.as_str(), digits.radix()).ok());
        number.or_else(|| self.wrong_type(key, "một số nguyên không âm", "a whole number, not negative"))
    }

    /// A list of whole numbers, which must be there.
    pub(super) fn numbers(&self, key: &'static str) -> Option<Vec<i16>> {
        self.required(key)?;
        let numbers = self.ask(key)?.as_array().and_then(|items| {
            items.iter().map(|item| item.get_ref().as_integer()?.as_str().parse().ok()).collect::<Option<Vec<_>>>()
        });
        numbers.or_else(|| self.wrong_type(key, "một danh sách số nguyên", "a list of whole numbers"))
    }

    /// A date without quotes, e.g. `2025-07-01`.
    pub(super) fn date(&self, key: &'static str) -> Option<Date> {
        let value = self.ask(key)?;
        let written = match value {
            DeValue::Datetime(datetime) if datetime.time.is_none() && datetime.offset.is_none() => datetime.date,
            _ => None,
        };
        // TOML knows no 29 February 2025 either, but only the calendar is sure.
        let date = written.and_then(|date| {
            Date::new(i16::try_from(date.year).ok()?, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()
        });
        date.or_else(|| {
            self.wrong_type(
                key,
                "một ngày không có ngoặc kép, ví dụ 2025-07-01",
                "a date without quotes, e.g. 2025-07-01",
            )
        })
    }

    /// A date that must be there.
    pub(super) fn required_date(&self, key: &'static str) -> Option<Date> {
        self.required(key)?;
        self.date(key)
    }

    /// `valid_from` and `valid_to`.
    pub(super) fn validity(&self) -> Validity {
        let validity = Validity { from: self.date("valid_from"), to: self.date("valid_to") };
        if validity.is_never() {
            let fault = Fault::new(
                "ngày hết hiệu lực (valid_to) trước ngày có hiệu lực (valid_from)",
                "ends (valid_to) before it begins (valid_from)",
            );
            self.problem("valid_to", ProblemKind::NeverValid, fault);
        }
        validity
    }

    /// The tables of an array, `[[key]]` or `key = [{ … }, … ]`; none when the key is missing.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Entry<'a>> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.wrong_type::<()>(key, "một danh sách bảng [[…]]", "a list of tables [[…]]");
            return Vec::new();
        };
        let prefix = if self.place.path.is_empty() { String::new() } else { format!("{}.", self.place.path) };
        let mut entries = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => {
                    let line = self.source.line(item.span().start);
                    entries.push(self.source.entry(format!("{prefix}{key}[{index}]"), line, table));
                }
                None => {
                    self.wrong_type::<()>(key, "một danh sách bảng [[…]]", "a list of tables [[…]]");
                }
            }
        }
        entries
    }

    /// One table, `key = { … }`; `None` when the key is missing.
    pub(super) fn table(&self, key: &'static str) -> Option<Entry<'a>> {
        let value = self.ask(key)?;
        let Some(table) = value.as_table() else {
            return self.wrong_type(key, "một bảng { … }", "a table { … }");
        };
        let path = if self.place.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place.path) };
        let line = self.place.keys.get(key).copied().unwrap_or(self.place.line);
        Some(self.source.entry(path, line, table))
    }

    /// Makes keys known that may be there and were not read.
    pub(super) fn ask_for(&self, keys: &[&'static str]) {
        self.asked.borrow_mut().extend(keys);
    }

    /// Whether the key holds one text, where it may also hold tables.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    /// What stands behind `id` or `code`, even if the rest of the entry cannot be read.
    pub(super) fn name(&self, key: &str) -> Option<&str> {
        self.table.get(key)?.get_ref().as_str()
    }

    /// Reports every key that nobody asked for, and gives the place for later.
    pub(super) fn finish(self) -> Place {
        for (key, _) in self.table.iter() {
            let key: &str = key.get_ref();
            if !self.asked.borrow().contains(key) {
                let known = self.asked.borrow().iter().copied().collect::<Vec<_>>().join(", ");
                let fault = Fault::new(
                    format!("không có khoá này; các khoá dùng được: {known}"),
                    format!("is no key of this table; the keys are: {known}"),
                );
                self.problem(key, ProblemKind::UnknownKey, fault);
            }
        }
        self.place
    }

    fn ask(&self, key: &'static str) -> Option<&'a DeValue<'a>> {
        self.asked.borrow_mut().insert(key);
        self.table.get(key).map(|value| value.get_ref())
    }

    fn required(&self, key: &'static str) -> Option<()> {
        if self.ask(key).is_none() {
            let fault = Fault::new(format!("thiếu khoá \"{key}\""), format!("the key \"{key}\" is missing"));
            self.problem("", ProblemKind::MissingKey, fault);
            return None;
        }
        Some(())
    }

    fn parsed<T: FromText>(&self, key: &str, text: &str) -> Option<T> {
        T::from_text(text).map_err(|fault| self.problem(key, ProblemKind::Malformed, fault)).ok()
    }

    fn wrong_type<T>(&self, key: &str, vi: &str, en: &str) -> Option<T> {
        let fault = Fault::new(format!("phải là {vi}"), format!("must be {en}"));
        self.problem(key, ProblemKind::WrongType, fault);
        None
    }
}
