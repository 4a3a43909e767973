//! What the province lays over the national catalogue, `overlay.toml`.
//!
//! The national text says what the law is; this says how the province does it. It may be stricter than the law, never laxer: a
//! duration of its own that is longer than the published one is refused where both are known.

use std::collections::{BTreeMap, BTreeSet};

use lgsp_proto::types::{PartyId, ProcedureCode};

use super::super::problem::{Fault, Problem, ProblemKind};
use super::super::procedure::{Level, LimitText, Slug};
use super::super::source::{Entry, Problems, Source};
use crate::deadline::Limit;
use crate::deadline::clock::{StartPolicy, SupplementPolicy};

/// How the file is called.
pub const OVERLAY: &str = "overlay.toml";

/// The province's own part of the catalogue.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overlay {
    /// The fields of which new procedures are followed by themselves.
    pub fields: BTreeSet<String>,
    /// What is said about single procedures.
    pub procedures: BTreeMap<ProcedureCode, Local>,
}

/// What the province says about one procedure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Local {
    /// Whether the one-stop desks take it in (*một cửa*). What they do not is none of the bus's business and is left out.
    pub one_stop: bool,
    /// The level, where the national entry names none.
    pub level: Option<Level>,
    /// The province's own duration, in place of every published one.
    pub limit: Option<Limit>,
    /// What starts its clock.
    pub start: Option<StartPolicy>,
    /// What a completed supplement does to its clock.
    pub supplement: Option<SupplementPolicy>,
    /// The competent agency, where the routes by field and level would lead elsewhere.
    pub authority: Option<PartyId>,
    /// Our handles for components, by their published names, and whether each is compulsory.
    pub components: BTreeMap<String, (String, bool)>,
    /// Our handles for cases, by their published names.
    pub cases: BTreeMap<String, String>,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            one_stop: true,
            level: None,
            limit: None,
            start: None,
            supplement: None,
            authority: None,
            components: BTreeMap::new(),
            cases: BTreeMap::new(),
        }
    }
}

impl Overlay {
    /// Reads the file.
    ///
    /// # Errors
    /// Every problem in it, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let problems = Problems::default();
        let source = Source::new(OVERLAY, text, &problems);
        let mut overlay = Self::default();
        if let Some(parsed) = source.parse() {
            let root = source.root(&parsed);
            overlay.fields = root.texts("fields").into_iter().collect();
            for entry in root.tables("procedure") {
                let code = entry.value::<ProcedureCode>("code");
                let local = Local::read(&entry);
                if let Some(code) = code
                    && overlay.procedures.insert(code, local).is_some()
                {
                    let fault = Fault::new("thủ tục này đã được khai ở trên", "is declared above already");
                    entry.problem("code", ProblemKind::Duplicate, fault);
                }
                entry.finish();
            }
            root.finish();
        }
        if problems.is_empty() { Ok(overlay) } else { Err(problems.into_vec()) }
    }

    /// What is said about a procedure.
    pub fn of(&self, code: &ProcedureCode) -> Local {
        self.procedures.get(code).cloned().unwrap_or_default()
    }
}

impl Local {
    fn read(entry: &Entry<'_>) -> Self {
        let named = |key: &'static str| {
            let mut named = BTreeMap::new();
            for entry in entry.tables(key) {
                let (code, name, compulsory) =
                    (entry.value::<Slug>("code"), entry.text("name"), entry.flag("compulsory"));
                named.extend(name.zip(code).map(|(name, code)| (name, (code.0, compulsory))));
                entry.finish();
            }
            named
        };
        let cases = named("case").into_iter().map(|(name, (code, _))| (name, code)).collect();
        Self {
            one_stop: !entry.has("one_stop") || entry.flag("one_stop"),
            level: entry.optional("level"),
            limit: entry.optional::<LimitText>("limit").map(|limit| limit.0),
            start: entry.optional("start"),
            supplement: entry.optional("supplement"),
            authority: entry.optional("authority"),
            components: named("component"),
            cases,
        }
    }
}
