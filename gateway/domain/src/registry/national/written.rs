//! A plan carried into the text of `procedures.toml`.
//!
//! Only the entries that change are touched: comments, order and everything else stay. What is written is read back and held against
//! the plan before it leaves here, so a file laid out in a way that this does not understand is refused and never spoilt.

use std::fmt::Write as _;

use lgsp_proto::types::ProcedureCode;
use toml::Value;

use super::super::load::PROCEDURES;
use super::super::procedure::{Procedure, print_limit};
use super::super::source::{Problems, Source};
use super::plan::Plan;
use crate::deadline::clock::{StartPolicy, SupplementPolicy};

/// How an entry begins.
const HEAD: &str = "[[procedure]]";

/// The text of a registry's file cannot carry a plan; nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotWritten {
    /// The entry of a procedure was not found, or could not be changed without changing others.
    #[error("procedures.toml: the entry of {0} is not written as `[[procedure]]` with a line for each key")]
    Entry(ProcedureCode),
    /// What was written reads otherwise than planned.
    #[error("procedures.toml would not say what was planned")]
    Otherwise,
    /// The entry of a route was not found, or could not be changed without changing others.
    #[error("routes.toml: the route {0} is not written as `[[route]]` with a line for each key")]
    Route(String),
    /// What was written reads otherwise than planned.
    #[error("routes.toml would not say what was planned")]
    RoutesOtherwise,
}

impl Plan {
    /// The text of `procedures.toml` with everything that changes.
    ///
    /// # Errors
    /// The file cannot be changed so; the text is as it was.
    pub fn carried(&self, text: &str) -> Result<String, NotWritten> {
        let before = read(text).ok_or(NotWritten::Otherwise)?;
        let mut blocks = blocks(text, HEAD);
        let mut expected = before;
        for change in &self.changes {
            let lost = || NotWritten::Entry(change.code.clone());
            match &change.before {
                Some((now, then)) => {
                    let of = |block: &String| read(block).is_some_and(|read| read.first() == Some(now));
                    let at = blocks.iter().position(of).ok_or_else(lost)?;
                    let place = expected.iter().position(|one| one == now).ok_or_else(lost)?;
                    let (body, behind) = split(&blocks[at]);
                    let mut body = ended(body, then);
                    expected[place] = then.clone();
                    if let Some(after) = &change.after {
                        body = format!("{body}\n{}", entry(after));
                        expected.push(after.clone());
                    }
                    blocks[at] = format!("{body}{behind}");
                }
                None => {
                    let after = change.after.as_ref().ok_or_else(lost)?;
                    let gap = if blocks.last().is_some_and(|last| !last.ends_with('\n')) { "\n\n" } else { "\n" };
                    blocks.push(format!("{gap}{}", entry(after)));
                    expected.push(after.clone());
                }
            }
        }
        let text = blocks.concat();
        let mut found = read(&text).ok_or(NotWritten::Otherwise)?;
        let order = |one: &Procedure, other: &Procedure| {
            (&one.code, one.validity.from).cmp(&(&other.code, other.validity.from))
        };
        found.sort_by(order);
        expected.sort_by(order);
        if found == expected { Ok(text) } else { Err(NotWritten::Otherwise) }
    }
}

/// Every procedure of a text; `None` if one cannot be read.
fn read(text: &str) -> Option<Vec<Procedure>> {
    let problems = Problems::default();
    let source = Source::new(PROCEDURES, text, &problems);
    let parsed = source.parse()?;
    let root = source.root(&parsed);
    let all = root.tables("procedure").iter().map(Procedure::read).collect();
    if problems.is_empty() { all } else { None }
}

/// What stands before the first entry, and each entry with what stands behind it.
pub(super) fn blocks(text: &str, head: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with(head) {
            blocks.push(String::new());
        }
        blocks.last_mut().expect("there is one from the start").push_str(line);
    }
    blocks
}

/// An entry, and the blank lines and comments behind it, which belong to the next.
pub(super) fn split(block: &str) -> (&str, &str) {
    let mut end = 0;
    let mut at = 0;
    for line in block.split_inclusive('\n') {
        at += line.len();
        let bare = line.trim();
        if !bare.is_empty() && !bare.starts_with('#') {
            end = at;
        }
    }
    block.split_at(end)
}

/// An entry with the last day and the successor of `then`.
fn ended(body: &str, then: &Procedure) -> String {
    let mut lines = String::new();
    if let Some(to) = then.validity.to {
        let _ = writeln!(lines, "valid_to = {to}");
    }
    if let Some(successor) = &then.successor {
        let _ = writeln!(lines, "successor = \"{successor}\"");
    }
    headed(body, &["valid_to", "successor"], &lines)
}

/// An entry with these lines right under its head, in the place of what it says of those keys.
pub(super) fn headed(body: &str, keys: &[&str], lines: &str) -> String {
    let says = |line: &str, key: &&str| {
        line.trim_start().strip_prefix(*key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut kept = body.split_inclusive('\n').filter(|line| !keys.iter().any(|key| says(line, key)));
    let mut text = kept.next().unwrap_or_default().to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(lines);
    text.extend(kept);
    text
}

/// A procedure as an entry.
fn entry(one: &Procedure) -> String {
    let mut text = format!("{HEAD}\n");
    let quoted = |words: &str| Value::from(words).to_string();
    let mut line = |key: &str, value: String| _ = writeln!(text, "{key} = {value}");
    line("code", quoted(one.code.as_str()));
    line("name", quoted(&one.name));
    line("field", quoted(&one.field));
    line("level", quoted(one.level.as_str()));
    if let Some(decision) = &one.decision {
        line("decision", quoted(decision));
    }
    match one.limits.as_slice() {
        [only] if only.case.is_none() && only.channel.is_none() => line("limit", quoted(&print_limit(only.limit))),
        several => {
            let rows = several.iter().map(|one| {
                let case = one.case.as_ref().map(|case| format!("case = \"{case}\", "));
                let channel = one.channel.map(|channel| format!("channel = \"{}\", ", channel.as_str()));
                let limit = quoted(&print_limit(one.limit));
                format!("{}{}limit = {limit}", case.unwrap_or_default(), channel.unwrap_or_default())
            });
            line("limit", tables(rows));
        }
    }
    if one.start == StartPolicy::AtAuthority {
        line("start", quoted("authority"));
    }
    if one.supplement == SupplementPolicy::Resume {
        line("supplement", quoted("resume"));
    }
    if !one.cases.is_empty() {
        let rows = one.cases.iter().map(|case| format!("code = \"{}\", name = {}", case.code, quoted(&case.name)));
        line("case", tables(rows));
    }
    if !one.components.is_empty() {
        let rows = one.components.iter().map(|one| {
            let code = one.code.as_ref().map(|code| format!("code = {}, ", quoted(code))).unwrap_or_default();
            let compulsory = if one.compulsory { ", compulsory = true" } else { "" };
            let cases: Vec<String> = one.cases.iter().map(|case| format!("\"{case}\"")).collect();
            let cases = if cases.is_empty() { String::new() } else { format!(", cases = [{}]", cases.join(", ")) };
            format!("{code}name = {}{compulsory}{cases}", quoted(&one.name))
        });
        line("component", tables(rows));
    }
    if !one.fees.is_empty() {
        let rows = one.fees.iter().map(|fee| {
            let channel = fee.channel.map(|channel| format!(", channel = \"{}\"", channel.as_str()));
            format!("name = {}, amount_vnd = {}{}", quoted(&fee.name), fee.amount_vnd, channel.unwrap_or_default())
        });
        line("fee", tables(rows));
    }
    if !one.results.is_empty() {
        line("results", Value::from(one.results.clone()).to_string());
    }
    if let Some(from) = one.validity.from {
        line("valid_from", from.to_string());
    }
    if let Some(to) = one.validity.to {
        line("valid_to", to.to_string());
    }
    if let Some(successor) = &one.successor {
        line("successor", quoted(successor.as_str()));
    }
    text
}

fn tables(rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.map(|row| format!("  {{ {row} }},\n")).collect();
    format!("[\n{rows}]")
}
