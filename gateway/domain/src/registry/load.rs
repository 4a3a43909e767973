//! From files to declarations: reads every file of a registry and keeps what could be read, with its place.

use std::collections::{BTreeMap, BTreeSet};

use super::grant::Grant;
use super::hours::Draft;
use super::party::{Party, System};
use super::problem::{Problem, ProblemKind};
use super::procedure::Procedure;
use super::rule::Rule;
use super::service::{self, SCHEMA_SUFFIX};
use super::source::{Entry, Placed, Problems, Source};
use super::unit::Unit;

/// The files of a registry, by name.
pub(super) const PARTIES: &str = "parties.toml";
pub(super) const UNITS: &str = "units.toml";
pub(super) const PROCEDURES: &str = "procedures.toml";
pub(super) const ROUTES: &str = "routes.toml";
pub(super) const GRANTS: &str = "grants.toml";
pub(super) const SYSTEMS: &str = "systems.toml";
pub(super) const CALENDARS: &str = "calendars.toml";
pub(super) const SERVICES: &str = "services.toml";

const FILES: [&str; 8] = [PARTIES, UNITS, PROCEDURES, ROUTES, GRANTS, SYSTEMS, CALENDARS, SERVICES];

/// The entries of one file.
pub(super) struct Declared<T> {
    /// Those that could be read.
    pub(super) entries: Vec<Placed<T>>,
    /// The identifiers of all, also of those that could not; `None` when the file itself could not be read, so that nobody
    /// complains of references into it.
    pub(super) names: Option<BTreeSet<String>>,
}

impl<T> Declared<T> {
    /// Whether a reference to `name` leads nowhere, as far as can be told.
    pub(super) fn lacks(&self, name: &str) -> bool {
        self.names.as_ref().is_some_and(|names| !names.contains(name))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.value)
    }
}

/// Everything that the files declare.
pub(super) struct Declarations {
    pub(super) note: Option<String>,
    pub(super) parties: Declared<Party>,
    pub(super) units: Declared<Unit>,
    pub(super) procedures: Declared<Procedure>,
    pub(super) rules: Declared<Rule>,
    pub(super) grants: Declared<Grant>,
    pub(super) systems: Declared<System>,
    pub(super) calendars: Declared<Draft>,
    /// Without names when there is no such file: a registry from before there were services may name any in its grants.
    pub(super) services: Declared<service::Draft>,
}

impl Declarations {
    pub(super) fn read(files: &BTreeMap<String, Vec<u8>>, problems: &Problems) -> Self {
        let is_known = |name: &String| FILES.contains(&name.as_str()) || name.ends_with(SCHEMA_SUFFIX);
        for name in files.keys().filter(|name| !is_known(name)) {
            problems.add(whole_file(
                name,
                ProblemKind::UnknownFile,
                format!("sổ đăng ký không có tệp này; các tệp: {}", FILES.join(", ")),
                format!("is no file of a registry; the files are: {}", FILES.join(", ")),
            ));
        }
        let (note, parties) = read(files, PARTIES, "party", "id", Party::read, problems);
        Self {
            note,
            parties,
            units: read(files, UNITS, "unit", "code", Unit::read, problems).1,
            procedures: read(files, PROCEDURES, "procedure", "code", Procedure::read, problems).1,
            rules: read(files, ROUTES, "route", "id", Rule::read, problems).1,
            grants: read(files, GRANTS, "grant", "id", Grant::read, problems).1,
            systems: read(files, SYSTEMS, "system", "name", System::read, problems).1,
            calendars: read(files, CALENDARS, "calendar", "id", Draft::read, problems).1,
            services: match files.contains_key(SERVICES) {
                true => read(files, SERVICES, "service", "name", service::Draft::read, problems).1,
                false => Declared { entries: Vec::new(), names: None },
            },
        }
    }
}

fn read<T>(
    files: &BTreeMap<String, Vec<u8>>,
    name: &'static str,
    table: &'static str,
    key: &str,
    read_one: fn(&Entry<'_>) -> Option<T>,
    problems: &Problems,
) -> (Option<String>, Declared<T>) {
    let unreadable = || (None, Declared { entries: Vec::new(), names: None });
    let Some(bytes) = files.get(name) else {
        if [PARTIES, SYSTEMS].contains(&name) {
            problems.add(whole_file(name, ProblemKind::MissingFile, "thiếu tệp này", "is missing"));
            return unreadable();
        }
        return (None, Declared { entries: Vec::new(), names: Some(BTreeSet::new()) });
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        problems.add(whole_file(name, ProblemKind::Syntax, "không phải văn bản UTF-8", "is not UTF-8 text"));
        return unreadable();
    };
    let source = Source::new(name, text, problems);
    let Some(parsed) = source.parse() else { return unreadable() };

    let root = source.root(&parsed);
    let note = root.optional_text("note");
    let (mut entries, mut names) = (Vec::new(), BTreeSet::new());
    for entry in root.tables(table) {
        names.extend(entry.name(key).map(str::to_owned));
        let value = read_one(&entry);
        let place = entry.finish();
        entries.extend(value.map(|value| Placed { place, value }));
    }
    root.finish();
    (note, Declared { entries, names: Some(names) })
}

fn whole_file(name: &str, kind: ProblemKind, vi: impl Into<String>, en: impl Into<String>) -> Problem {
    Problem { kind, file: name.to_owned(), path: String::new(), line: None, vi: vi.into(), en: en.into() }
}
