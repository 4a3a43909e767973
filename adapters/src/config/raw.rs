//! A configuration file as keys and values, each read by itself: one that cannot be read does not hide the next.
//!
//! What is left over when everything was asked for is unknown, and a problem too.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{ENVIRONMENT_PREFIX, Problem, Problems};

/// The file, as far as it was not read yet, and the problems found so far.
pub(super) struct Raw {
    rest: Table,
    problems: Vec<Problem>,
}

/// One section, taken out of the file. Give it back with [`Raw::finish`].
pub(super) struct Section {
    name: &'static str,
    rest: Table,
    problems: Vec<Problem>,
}

impl Raw {
    /// # Errors
    /// The text is not TOML.
    pub(super) fn parse(text: &str) -> Result<Self, Problems> {
        text.parse().map(|rest| Self { rest, problems: Vec::new() }).map_err(|error: toml::de::Error| {
            let upto = error.span().map_or("", |span| text.get(..span.start).unwrap_or(text));
            let what = format!("line {} is not TOML: {}", upto.matches('\n').count() + 1, error.message());
            Problems(vec![Problem { key: String::new(), what, remedy: "see https://toml.io".to_owned() }])
        })
    }

    /// Puts the values of environment variables over those of the file. Variables of others are left alone.
    pub(super) fn override_with(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in environment {
            let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let path = path.to_ascii_lowercase();
            // A number is a number, everything else text: no key takes a number as text.
            let value = text.parse().map_or(Value::String(text), Value::Integer);
            let table = match path.split("__").collect::<Vec<_>>()[..] {
                [key] => Some((&mut self.rest, key)),
                [section, key] => {
                    let section = self.rest.entry(section).or_insert_with(|| Value::Table(Table::new()));
                    section.as_table_mut().map(|section| (section, key))
                }
                _ => None,
            };
            match table {
                Some((table, key)) => {
                    table.insert(key.to_owned(), value);
                }
                None => self.problems.push(Problem {
                    key: name,
                    what: "names no key".to_owned(),
                    remedy: format!("write {ENVIRONMENT_PREFIX}SECTION__KEY"),
                }),
            }
        }
    }

    /// Takes a section out; the empty name is what stands before the first one. A section that is not there is empty.
    pub(super) fn section(&mut self, name: &'static str) -> Section {
        let mut problems = Vec::new();
        let rest = if name.is_empty() {
            let is_section = |value: &Value| value.is_table();
            let (sections, top) = std::mem::take(&mut self.rest).into_iter().partition(|(_, value)| is_section(value));
            self.rest = sections;
            top
        } else {
            match self.rest.remove(name) {
                Some(Value::Table(table)) => table,
                None => Table::new(),
                Some(_) => {
                    let remedy = format!("write [{name}] and its keys below");
                    problems.push(Problem { key: name.to_owned(), what: "is not a section".to_owned(), remedy });
                    Table::new()
                }
            }
        };
        Section { name, rest, problems }
    }

    /// Takes note of what a section had wrong, and of what nobody asked for.
    pub(super) fn finish(&mut self, mut section: Section) {
        for key in std::mem::take(&mut section.rest).into_iter().map(|(key, _)| key) {
            section.problem(&key, "is not a key that is known here", "remove it, or look for a slip of the pen");
        }
        self.problems.append(&mut section.problems);
    }

    /// Every problem there is. Everything must have been asked for before.
    pub(super) fn problems(mut self) -> Vec<Problem> {
        let what = "is not a section that is known here".to_owned();
        let remedy = "remove it, or look for a slip of the pen".to_owned();
        let unknown = self.rest.into_iter().map(|(key, _)| Problem { key, what: what.clone(), remedy: remedy.clone() });
        self.problems.extend(unknown);
        self.problems
    }
}

impl Section {
    /// Whether nobody has set any key of it.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.problems.is_empty()
    }

    /// Takes a section inside of this one out, if it is there; `name` is its whole name. Give it back with [`Raw::finish`].
    pub(super) fn inner(&mut self, key: &str, name: &'static str) -> Option<Section> {
        match self.rest.remove(key)? {
            Value::Table(rest) => Some(Section { name, rest, problems: Vec::new() }),
            _ => {
                self.problem(key, "is not a section", format!("write [{name}] and its keys below"));
                None
            }
        }
    }

    /// Reads a key that must be there; `is` says what it is.
    pub(super) fn required<V: DeserializeOwned, T, E: ToString>(
        &mut self,
        key: &str,
        is: &str,
        check: impl FnOnce(V) -> Result<T, E>,
    ) -> Option<T> {
        match self.rest.remove(key) {
            Some(value) => self.check(key, value, check),
            None => {
                self.problem(key, "is missing", format!("set it: {is}"));
                None
            }
        }
    }

    /// Reads a key that may be left out. `None` is a problem, `Some(None)` a key that is not there.
    pub(super) fn optional<V: DeserializeOwned, T, E: ToString>(
        &mut self,
        key: &str,
        check: impl FnOnce(V) -> Result<T, E>,
    ) -> Option<Option<T>> {
        match self.rest.remove(key) {
            Some(value) => self.check(key, value, check).map(Some),
            None => Some(None),
        }
    }

    /// Reads a key that has a default.
    pub(super) fn or<V: DeserializeOwned, T, E: ToString>(
        &mut self,
        key: &str,
        default: T,
        check: impl FnOnce(V) -> Result<T, E>,
    ) -> Option<T> {
        self.optional(key, check).map(|found| found.unwrap_or(default))
    }

    /// Takes note of a problem of a key.
    pub(super) fn problem(&mut self, key: &str, what: impl ToString, remedy: impl Into<String>) {
        let key = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        self.problems.push(Problem { key, what: what.to_string(), remedy: remedy.into() });
    }

    fn check<V: DeserializeOwned, T, E: ToString>(
        &mut self,
        key: &str,
        value: Value,
        check: impl FnOnce(V) -> Result<T, E>,
    ) -> Option<T> {
        let kind = value.type_str();
        let Ok(value) = value.try_into::<V>() else {
            self.problem(
                key,
                format!("is a TOML {kind}, which does not belong there"),
                "see the example configuration",
            );
            return None;
        };
        match check(value) {
            Ok(checked) => Some(checked),
            Err(error) => {
                self.problem(key, error, "correct the value");
                None
            }
        }
    }
}
