//! What changes from one registry to another, for whoever has to approve it.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::Registry;
use super::grant::{Grant, Holders, Procedures};
use super::hours::{DeclaredCalendar, print_hours};
use super::party::{Party, System};
use super::procedure::{Procedure, print_limit};
use super::rule::{Authority, Matter, Rule};
use super::service::Service;
use super::unit::Unit;
use super::validity::Validity;
use crate::calendar::DayKind;
use crate::deadline::clock::{StartPolicy, SupplementPolicy};

/// What happens to an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
}

/// One entry that differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// What happens to it.
    pub kind: ChangeKind,
    /// What it is: `party`, `unit`, `procedure`, `route`, `grant`, `system`, `calendar` or `service`.
    pub entity: &'static str,
    /// Its identifier.
    pub id: String,
    /// What is said about it now, or its keys with their old and new values.
    pub summary: String,
}

/// Every entry in which the two differ, by entity and identifier. Comments and layout of the files do not count.
pub fn diff(old: &Registry, new: &Registry) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(old.parties(), new.parties(), &mut changes);
    compare(old.units(), new.units(), &mut changes);
    compare(old.procedures(), new.procedures(), &mut changes);
    compare(old.rules().iter(), new.rules().iter(), &mut changes);
    compare(old.grants().iter(), new.grants().iter(), &mut changes);
    compare(old.systems(), new.systems(), &mut changes);
    compare(old.calendars(), new.calendars(), &mut changes);
    compare(old.services().iter(), new.services().iter(), &mut changes);
    changes
}

/// A procedure as its keys and values in words.
pub(super) fn procedure_keys(procedure: &Procedure) -> Vec<(&'static str, String)> {
    procedure.keys()
}

/// An entry as its keys and values in words.
trait Entity {
    const NAME: &'static str;

    fn id(&self) -> String;

    fn keys(&self) -> Vec<(&'static str, String)>;
}

fn compare<'a, T: Entity + 'a>(
    old: impl Iterator<Item = &'a T>,
    new: impl Iterator<Item = &'a T>,
    changes: &mut Vec<Change>,
) {
    let (old, new) = (numbered(old), numbered(new));
    for (key, before) in &old {
        let (kind, summary) = match new.get(key) {
            None => (ChangeKind::Removed, said(*before)),
            Some(after) if before.keys() != after.keys() => (ChangeKind::Changed, differences(*before, *after)),
            Some(_) => continue,
        };
        changes.push(Change { kind, entity: T::NAME, id: key.0.clone(), summary });
    }
    for (key, after) in new.iter().filter(|(key, _)| !old.contains_key(key)) {
        changes.push(Change { kind: ChangeKind::Added, entity: T::NAME, id: key.0.clone(), summary: said(*after) });
    }
}

/// By identifier; versions of one unit or procedure are told apart by their order in time.
fn numbered<'a, T: Entity + 'a>(all: impl Iterator<Item = &'a T>) -> BTreeMap<(String, usize), &'a T> {
    let mut numbered = BTreeMap::new();
    for one in all {
        let id = one.id();
        let version = (0..).find(|version| !numbered.contains_key(&(id.clone(), *version))).unwrap_or_default();
        numbered.insert((id, version), one);
    }
    numbered
}

fn said(one: &impl Entity) -> String {
    let keys = one.keys().into_iter().filter(|(_, value)| !value.is_empty());
    keys.map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join("; ")
}

fn differences(before: &impl Entity, after: &impl Entity) -> String {
    let pairs = before.keys().into_iter().zip(after.keys()).filter(|(old, new)| old != new);
    let shown = |value: &str| if value.is_empty() { "–".to_owned() } else { value.to_owned() };
    pairs
        .map(|((key, old), (_, new))| format!("{key}: {} → {}", shown(&old), shown(&new)))
        .collect::<Vec<_>>()
        .join("; ")
}

impl Entity for Party {
    const NAME: &'static str = "party";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        with_validity(
            vec![
                ("name", self.name.clone()),
                ("name_en", text(self.name_en.as_ref())),
                ("kind", self.kind.to_string()),
                ("unit", text(self.unit.as_ref())),
                ("territory", list(&self.territory)),
                ("desk", flag(self.desk)),
                ("support_point", flag(self.support_point)),
                ("calendar", self.calendar.clone()),
                ("own_numbers_from", text(self.own_numbers_from)),
                ("quota", self.quota.print()),
                ("successor", text(self.successor.as_ref())),
            ],
            self.validity,
        )
    }
}

impl Entity for Unit {
    const NAME: &'static str = "unit";

    fn id(&self) -> String {
        self.code.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        with_validity(
            vec![
                ("name", self.name.clone()),
                ("parent", text(self.parent.as_ref())),
                ("successor", text(self.successor.as_ref())),
            ],
            self.validity,
        )
    }
}

impl Entity for Procedure {
    const NAME: &'static str = "procedure";

    fn id(&self) -> String {
        self.code.to_string()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let limits = self.limits.iter().map(|one| {
            let case = one.case.as_ref().map(|case| format!("{case} "));
            let channel = one.channel.map(|channel| format!("{} ", channel.as_str()));
            format!("{}{}{}", text(case), text(channel), print_limit(one.limit))
        });
        let cases = self.cases.iter().map(|case| format!("{} ({})", case.code, case.name));
        let components = self.components.iter().map(|one| {
            let compulsory = if one.compulsory { ", compulsory" } else { "" };
            let cases = if one.cases.is_empty() { String::new() } else { format!(" for {}", list(&one.cases)) };
            format!("{} ({}{compulsory}{cases})", text(one.code.as_ref()), one.name)
        });
        let fees = self.fees.iter().map(|fee| {
            let channel = fee.channel.map(|channel| format!(" {}", channel.as_str()));
            format!("{} {} đ{}", fee.name, fee.amount_vnd, text(channel))
        });
        let start = match self.start {
            StartPolicy::AtReceipt => "receipt",
            StartPolicy::AtAuthority => "authority",
        };
        let supplement = match self.supplement {
            SupplementPolicy::Resume => "resume",
            SupplementPolicy::Restart => "restart",
        };
        with_validity(
            vec![
                ("name", self.name.clone()),
                ("field", self.field.clone()),
                ("level", self.level.to_string()),
                ("decision", text(self.decision.as_ref())),
                ("limit", joined(limits)),
                ("start", start.to_owned()),
                ("supplement", supplement.to_owned()),
                ("case", joined(cases)),
                ("component", joined(components)),
                ("fee", joined(fees)),
                ("results", list(&self.results)),
                ("successor", text(self.successor.as_ref())),
            ],
            self.validity,
        )
    }
}

impl Entity for Rule {
    const NAME: &'static str = "route";

    fn id(&self) -> String {
        self.id.clone()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let (procedures, fields, level) = match &self.matter {
            Matter::Procedures(codes) => (list(codes), String::new(), String::new()),
            Matter::Fields { fields, level } => (String::new(), list(fields), text(*level)),
            Matter::Level(level) => (String::new(), String::new(), level.to_string()),
        };
        let (authority, of_unit) = match &self.authority {
            Authority::Party(party) => (party.to_string(), String::new()),
            Authority::OfUnit(kind) => (String::new(), kind.to_string()),
        };
        with_validity(
            vec![
                ("procedures", procedures),
                ("fields", fields),
                ("level", level),
                ("case", text(self.case.as_ref())),
                ("units", list(&self.units)),
                ("authority", authority),
                ("authority_of_unit", of_unit),
                ("basis", text(self.basis.as_ref())),
            ],
            self.validity,
        )
    }
}

impl Entity for Grant {
    const NAME: &'static str = "grant";

    fn id(&self) -> String {
        self.id.clone()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let (parties, kind) = match &self.holders {
            Holders::Parties(patterns) => (list(patterns), String::new()),
            Holders::Kind(kind) => (String::new(), kind.to_string()),
        };
        let procedures = match &self.procedures {
            Procedures::Any => "any".to_owned(),
            Procedures::Listed(codes) => list(codes),
            Procedures::Fields(fields) => list(fields),
        };
        with_validity(
            vec![
                ("parties", parties),
                ("kind", kind),
                ("right", self.right.to_string()),
                ("procedures", procedures),
                ("service", text(self.call.as_ref().map(|call| &call.service))),
                ("purposes", text(self.call.as_ref().map(|call| &call.purposes))),
                ("fields", text(self.call.as_ref().map(|call| &call.fields))),
                ("owner", self.owner.to_string()),
            ],
            self.validity,
        )
    }
}

impl Entity for System {
    const NAME: &'static str = "system";

    fn id(&self) -> String {
        self.name.clone()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        with_validity(
            vec![
                ("description", self.description.clone()),
                ("acts_for", list(&self.acts_for)),
                ("certificates", list(&self.certificates)),
                ("spiffe_ids", list(&self.spiffe_ids)),
                ("quota", self.quota.print()),
            ],
            self.validity,
        )
    }
}

impl Entity for DeclaredCalendar {
    const NAME: &'static str = "calendar";

    fn id(&self) -> String {
        self.id.clone()
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let days = self.days.iter().map(|day| {
            let kind = match day.kind {
                DayKind::Holiday => "holiday",
                DayKind::DayOff => "day-off",
                DayKind::Worked => "worked",
            };
            format!("{} {kind} ({})", day.date, day.name)
        });
        let years = self.calendar.years();
        vec![
            ("name", self.name.clone()),
            ("years", format!("{}–{}", years.start(), years.end())),
            ("hours", print_hours(&self.hours)),
            ("saturday_morning", text(self.saturday_morning.map(|half| print_hours(&[half])))),
            ("days", joined(days)),
        ]
    }
}

impl Entity for Service {
    const NAME: &'static str = "service";

    fn id(&self) -> String {
        Service::id(self)
    }

    /// A schema by its fields: what a grant can name is what whoever approves it looks for.
    fn keys(&self) -> Vec<(&'static str, String)> {
        with_validity(
            vec![
                ("owner", self.owner.to_string()),
                ("title", self.title.clone()),
                ("title_en", text(self.title_en.as_ref())),
                ("request", format!("{}: {}", self.request_file, list(self.request.fields()))),
                ("reply", format!("{}: {}", self.reply_file, list(self.reply.fields()))),
                ("purposes", list(&self.purposes)),
                ("timeout_ms", self.timeout.as_millis().to_string()),
                ("concurrency", self.concurrency.to_string()),
                ("cache_s", self.cache.as_secs().to_string()),
                ("needs", list(&self.needs)),
                ("subject", list(&self.subject)),
            ],
            self.validity,
        )
    }
}

fn with_validity(mut keys: Vec<(&'static str, String)>, validity: Validity) -> Vec<(&'static str, String)> {
    keys.push(("valid_from", text(validity.from)));
    keys.push(("valid_to", text(validity.to)));
    keys
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn flag(value: bool) -> String {
    if value { "true".to_owned() } else { String::new() }
}

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    joined(values.into_iter().map(|value| value.to_string()))
}

fn joined(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(", ")
}
