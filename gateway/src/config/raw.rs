//! The configuration file as it was written: a tree of keys, each taken once; what nobody took is a problem.
//!
//! Derived deserialisation would stop at the first key it does not like. Here every key is read on its own, so that one
//! start shows all that is wrong.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{ENVIRONMENT_PREFIX, Problem, Problems, Wrong};

/// The file, less what was taken from it, and the problems found so far.
pub(super) struct Raw {
    root: Table,
    problems: Vec<Problem>,
}

impl Raw {
    pub(super) fn parse(text: &str) -> Result<Self, Problems> {
        match text.parse() {
            Ok(root) => Ok(Self { root, problems: Vec::new() }),
            Err(error) => {
                let at = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
                let what = format!("line {at} is not TOML: {}", error.message());
                Err(Problems(vec![Problem::new("", what, "see https://toml.io")]))
            }
        }
    }

    /// Sets the keys that environment variables name; variables of others are left alone.
    pub(super) fn override_with(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        for (variable, text) in environment {
            let Some(path) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
            // `8` and `true` are what they look like; everything else is text, without the quotes TOML would ask for.
            let value = match text.parse::<Value>() {
                Ok(value @ (Value::Integer(_) | Value::Boolean(_))) => value,
                _ => Value::String(text),
            };
            let set = match keys.as_slice() {
                [key] => {
                    self.root.insert(key.clone(), value);
                    true
                }
                [section, key] => {
                    let section = self.root.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
                    section.as_table_mut().map(|table| table.insert(key.clone(), value)).is_some()
                }
                _ => false,
            };
            if !set {
                let remedy = "name a key like LGSP_GATEWAY__LISTEN__BUS";
                self.problems.push(Problem::new(variable, "names no key", remedy));
            }
        }
    }

    /// A section; an absent one is empty.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        let keys = match self.root.remove(name) {
            Some(Value::Table(keys)) => keys,
            None => Table::new(),
            Some(_) => {
                self.problems.push(Problem::new(name, "is no section", format!("write [{name}] on a line of its own")));
                Table::new()
            }
        };
        Section { name: name.into(), keys, problems: &mut self.problems }
    }

    /// What stands outside of the sections; to be asked for after all of them.
    pub(super) fn rest(&mut self) -> Section<'_> {
        Section { name: "".into(), keys: std::mem::take(&mut self.root), problems: &mut self.problems }
    }

    /// The configuration, unless there is a problem.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<T, Problems> {
        match config {
            Some(config) if self.problems.is_empty() => Ok(config),
            _ => Err(Problems(self.problems)),
        }
    }
}

/// A section of the file. Each value is given out once; what is left when the section is dropped is unknown.
pub(super) struct Section<'a> {
    name: Cow<'static, str>,
    keys: Table,
    problems: &'a mut Vec<Problem>,
}

impl Section<'_> {
    /// Whether nothing is written in it, or nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A key that must be there; `what` says what it is for.
    pub(super) fn required<R, T>(
        &mut self,
        key: &str,
        what: &str,
        check: impl FnOnce(R) -> Result<T, Wrong>,
    ) -> Option<T>
    where
        R: DeserializeOwned + Expected,
    {
        match self.keys.remove(key) {
            Some(value) => self.checked(key, value, check),
            None => {
                self.problem(key, "is missing", format!("set it: {what}"));
                None
            }
        }
    }

    /// A key with a default.
    pub(super) fn or_default<R, T>(
        &mut self,
        key: &str,
        default: impl FnOnce() -> T,
        check: impl FnOnce(R) -> Result<T, Wrong>,
    ) -> Option<T>
    where
        R: DeserializeOwned + Expected,
    {
        match self.keys.remove(key) {
            Some(value) => self.checked(key, value, check),
            None => Some(default()),
        }
    }

    /// A key that may be absent. The outer `None` is a problem.
    pub(super) fn optional<R, T>(&mut self, key: &str, check: impl FnOnce(R) -> Result<T, Wrong>) -> Option<Option<T>>
    where
        R: DeserializeOwned + Expected,
    {
        match self.keys.remove(key) {
            Some(value) => self.checked(key, value, check).map(Some),
            None => Some(None),
        }
    }

    /// Reads each section of an array of them, `[[section.key]]`; an absent one is empty. Problems name them by number, the
    /// first is 1.
    pub(super) fn each<T>(&mut self, key: &str, mut read: impl FnMut(&mut Section<'_>) -> Option<T>) -> Option<Vec<T>> {
        let tables = match self.keys.remove(key) {
            None => Vec::new(),
            Some(value) => value.try_into::<Vec<Table>>().ok().or_else(|| {
                let remedy = format!("write [[{}]] on a line of its own", path(&self.name, key));
                self.problem(key, "is no list of sections", remedy);
                None
            })?,
        };
        let mut all = Some(Vec::new());
        for (number, keys) in tables.into_iter().enumerate() {
            let name = format!("{}[{}]", path(&self.name, key), number + 1).into();
            let one = read(&mut Section { name, keys, problems: self.problems });
            // On to the next all the same: every problem is told.
            all = all.zip(one).map(|(mut all, one)| {
                all.push(one);
                all
            });
        }
        all
    }

    /// Reports a problem of a key.
    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(path(&self.name, key), what, remedy));
    }

    fn checked<R, T>(&mut self, key: &str, value: Value, check: impl FnOnce(R) -> Result<T, Wrong>) -> Option<T>
    where
        R: DeserializeOwned + Expected,
    {
        let Ok(value) = value.try_into() else {
            self.problem(key, "is of another type", format!("write {}", R::EXPECTED));
            return None;
        };
        match check(value) {
            Ok(checked) => Some(checked),
            Err((what, remedy)) => {
                self.problem(key, what, remedy);
                None
            }
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for key in self.keys.keys() {
            let remedy = "remove it, or look for a slip of the pen";
            self.problems.push(Problem::new(path(&self.name, key), "is not a key of this version", remedy));
        }
    }
}

/// How a value of a type is written.
pub(super) trait Expected {
    const EXPECTED: &'static str;
}

impl Expected for String {
    const EXPECTED: &'static str = "a text in quotes";
}

impl Expected for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
}

fn path(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}
