//! What the declarations say about each other: references, identifiers, periods, successors, calendars.
//!
//! Everything here can be told from the entries alone. What takes the finished registry (can every route be walked?) is in
//! [`super::coverage`].

use std::collections::BTreeMap;
use std::fmt::Display;

use lgsp_proto::types::UnitLevel;

use super::binding;
use super::grant::{Holders, Procedures};
use super::hours::{DeclaredCalendar, Draft};
use super::load::{CALENDARS, Declarations, Declared};
use super::party::{DEFAULT_CALENDAR, OWN_NUMBERS_FROM_LEAST, Party, PartyPattern};
use super::problem::{Fault, Problem, ProblemKind};
use super::rule::{Authority, Matter};
use super::source::{Placed, Problems};
use super::validity::{Successions, Validity};
use crate::numbering::LAST_NUMBER;

/// Checks the declarations against each other and builds the calendars.
pub(super) fn check(declared: &Declarations, problems: &Problems) -> BTreeMap<String, DeclaredCalendar> {
    unique(&declared.parties, |party| party.id.to_string(), "id", problems);
    unique(&declared.rules, |rule| rule.id.clone(), "id", problems);
    unique(&declared.grants, |grant| grant.id.clone(), "id", problems);
    unique(&declared.systems, |system| system.name.clone(), "name", problems);
    unique(&declared.calendars, |calendar| calendar.id.clone(), "id", problems);
    apart(&declared.units, |unit| (unit.code.to_string(), unit.validity), problems);
    apart(&declared.procedures, |procedure| (procedure.code.to_string(), procedure.validity), problems);
    successors(&declared.parties, |party| (&party.id, party.validity, party.successor.as_ref()), problems);
    successors(&declared.units, |unit| (&unit.code, unit.validity, unit.successor.as_ref()), problems);
    successors(
        &declared.procedures,
        |procedure| (&procedure.code, procedure.validity, procedure.successor.as_ref()),
        problems,
    );
    parties(declared, problems);
    units(declared, problems);
    rules(declared, problems);
    grants(declared, problems);
    for system in &declared.systems.entries {
        patterns(&system.value.acts_for, "acts_for", system, declared, problems);
    }
    for service in &declared.services.entries {
        refers(service, "owner", service.value.owner(), &declared.parties, "cơ quan", "party", problems);
    }
    binding::check(&declared.systems, problems);
    calendars(&declared.calendars, problems)
}

fn parties(declared: &Declarations, problems: &Problems) {
    for entry in &declared.parties.entries {
        let party = &entry.value;
        for unit in party.unit.iter().chain(&party.territory) {
            let key = if party.unit.as_ref() == Some(unit) { "unit" } else { "territory" };
            refers(entry, key, unit, &declared.units, "đơn vị hành chính", "unit", problems);
        }
        refers(entry, "calendar", &party.calendar, &declared.calendars, "lịch làm việc", "calendar", problems);
        own_numbers(entry, problems);
    }
}

/// A range of its own leaves the gateway at least the four-digit half of the day, and the authority at least one number. An
/// organisation that takes nothing in has nothing to number.
fn own_numbers(entry: &Placed<Party>, problems: &Problems) {
    let Some(from) = entry.value.own_numbers_from else { return };
    let fault = if !(OWN_NUMBERS_FROM_LEAST..=LAST_NUMBER).contains(&from) {
        Fault::new(
            format!("phải nằm trong khoảng {OWN_NUMBERS_FROM_LEAST} đến {LAST_NUMBER}; các số nhỏ hơn do trục cấp"),
            format!("must be {OWN_NUMBERS_FROM_LEAST} to {LAST_NUMBER}; the numbers below are the gateway's to give"),
        )
    } else if !entry.value.desk {
        Fault::new(
            "chỉ dành cho cơ quan có bộ phận một cửa (desk = true)",
            "is only for a party that takes dossiers in (desk = true)",
        )
    } else {
        return;
    };
    problems.add(entry.place.problem("own_numbers_from", ProblemKind::Contradiction, fault));
}

fn units(declared: &Declarations, problems: &Problems) {
    for entry in &declared.units.entries {
        let unit = &entry.value;
        let fault = match (unit.code.level(), &unit.parent) {
            (UnitLevel::Commune, None) => Some(Fault::new(
                "đơn vị cấp xã phải thuộc một tỉnh (parent)",
                "is a commune and needs its province (parent)",
            )),
            (UnitLevel::Province, Some(_)) => {
                Some(Fault::new("đơn vị cấp tỉnh không có parent", "is a province and has no parent"))
            }
            (UnitLevel::Commune, Some(parent)) if parent.level() == UnitLevel::Commune => {
                Some(Fault::new("parent phải là đơn vị cấp tỉnh", "has a parent that is no province"))
            }
            _ => None,
        };
        if let Some(fault) = fault {
            problems.add(entry.place.problem("parent", ProblemKind::UnitTree, fault));
        } else if let Some(parent) = &unit.parent {
            refers(entry, "parent", parent, &declared.units, "đơn vị hành chính", "unit", problems);
        }
    }
}

fn rules(declared: &Declarations, problems: &Problems) {
    for entry in &declared.rules.entries {
        let rule = &entry.value;
        match &rule.matter {
            Matter::Procedures(codes) => {
                for code in codes {
                    refers(entry, "procedures", code, &declared.procedures, "thủ tục", "procedure", problems);
                    let mut versions = declared.procedures.values().filter(|one| one.code == *code).peekable();
                    let Some(case) = rule.case.as_ref().filter(|_| versions.peek().is_some()) else { continue };
                    if !versions.any(|one| one.case(case).is_some()) {
                        let fault = Fault::new(
                            format!("thủ tục {code} không có trường hợp \"{case}\""),
                            format!("names the case \"{case}\", which procedure {code} does not have"),
                        );
                        problems.add(entry.place.problem("case", ProblemKind::UnknownReference, fault));
                    }
                }
            }
            Matter::Fields { fields, .. } => known_fields(entry, fields, declared, problems),
            Matter::Level(_) => {}
        }
        for unit in &rule.units {
            refers(entry, "units", unit, &declared.units, "đơn vị hành chính", "unit", problems);
        }
        if let Authority::Party(party) = &rule.authority {
            refers(entry, "authority", party, &declared.parties, "cơ quan", "party", problems);
        }
    }
}

fn grants(declared: &Declarations, problems: &Problems) {
    for entry in &declared.grants.entries {
        let grant = &entry.value;
        if let Holders::Parties(named) = &grant.holders {
            patterns(named, "parties", entry, declared, problems);
        }
        match &grant.procedures {
            Procedures::Any => {}
            Procedures::Listed(codes) => {
                for code in codes {
                    refers(entry, "procedures", code, &declared.procedures, "thủ tục", "procedure", problems);
                }
            }
            Procedures::Fields(fields) => known_fields(entry, fields, declared, problems),
        }
        refers(entry, "owner", &grant.owner, &declared.parties, "cơ quan", "party", problems);
    }
}

fn calendars(drafts: &Declared<Draft>, problems: &Problems) -> BTreeMap<String, DeclaredCalendar> {
    if drafts.lacks(DEFAULT_CALENDAR) {
        problems.add(Problem {
            kind: ProblemKind::UnknownReference,
            file: CALENDARS.to_owned(),
            path: String::new(),
            line: None,
            vi: format!("phải khai lịch làm việc \"{DEFAULT_CALENDAR}\", dùng cho mọi cơ quan không nêu lịch riêng"),
            en: format!(
                "must declare the calendar \"{DEFAULT_CALENDAR}\", which every party without one of its own uses"
            ),
        });
    }
    let all: Vec<&Draft> = drafts.values().collect();
    let mut built = BTreeMap::new();
    for entry in &drafts.entries {
        if let Some(lender) = &entry.value.days_of {
            refers(entry, "days_of", lender, drafts, "lịch làm việc", "calendar", problems);
            if all.iter().any(|draft| draft.id == *lender && draft.days_of.is_some()) {
                let fault = Fault::new(
                    "lịch được mượn ngày nghỉ lại mượn của lịch khác; hãy mượn thẳng lịch gốc",
                    "takes its days from a calendar that takes its own from another; name the original",
                );
                problems.add(entry.place.problem("days_of", ProblemKind::Contradiction, fault));
            }
        }
        match entry.value.build(&all) {
            Ok(calendar) => {
                built.insert(calendar.id.clone(), calendar);
            }
            Err(faults) => {
                for fault in faults {
                    problems.add(entry.place.problem("", ProblemKind::Calendar, fault));
                }
            }
        }
    }
    built
}

fn unique<T>(declared: &Declared<T>, name: fn(&T) -> String, key: &str, problems: &Problems) {
    let mut seen = BTreeMap::new();
    for entry in &declared.entries {
        let name = name(&entry.value);
        if let Some(first) = seen.insert(name.clone(), &entry.place) {
            let at = first.line();
            let fault = Fault::new(
                format!("\"{name}\" đã được khai ở dòng {at}"),
                format!("\"{name}\" is already declared on line {at}"),
            );
            problems.add(entry.place.problem(key, ProblemKind::Duplicate, fault));
        }
    }
}

/// Versions of one unit or procedure may follow each other, not overlap.
fn apart<T>(declared: &Declared<T>, version: fn(&T) -> (String, Validity), problems: &Problems) {
    let mut seen: BTreeMap<String, Vec<(Validity, u32)>> = BTreeMap::new();
    for entry in &declared.entries {
        let (name, validity) = version(&entry.value);
        let before = seen.entry(name.clone()).or_default();
        if let Some((_, at)) = before.iter().find(|(other, _)| other.overlaps(validity)) {
            let fault = Fault::new(
                format!("\"{name}\" có hai bản cùng hiệu lực; bản kia ở dòng {at}"),
                format!("\"{name}\" has two versions in force on the same day; the other is on line {at}"),
            );
            problems.add(entry.place.problem("", ProblemKind::Overlap, fault));
        }
        before.push((validity, entry.place.line()));
    }
}

fn successors<T, K: Clone + Display + Ord>(
    declared: &Declared<T>,
    parts: fn(&T) -> (&K, Validity, Option<&K>),
    problems: &Problems,
) {
    let successions = Successions::of(declared.values().map(|value| {
        let (key, validity, successor) = parts(value);
        (key.clone(), validity, successor.cloned())
    }));
    for entry in &declared.entries {
        let (key, validity, Some(successor)) = parts(&entry.value) else { continue };
        let add = |kind, fault| problems.add(entry.place.problem("successor", kind, fault));
        if declared.lacks(&successor.to_string()) {
            let fault =
                Fault::new(format!("\"{successor}\" chưa được khai"), format!("\"{successor}\" is nowhere declared"));
            add(ProblemKind::UnknownReference, fault);
        }
        if validity.to.is_none() {
            let fault = Fault::new(
                "có kế thừa nhưng không có ngày hết hiệu lực (valid_to)",
                "has a successor but no end (valid_to)",
            );
            add(ProblemKind::SuccessorWithoutEnd, fault);
        }
        if successions.is_circular(key) {
            let fault = Fault::new("chuỗi kế thừa quay lại chính nó", "is its own successor in the end");
            add(ProblemKind::SuccessorCycle, fault);
        }
    }
}

fn refers<T, U>(
    entry: &Placed<T>,
    key: &str,
    name: &impl ToString,
    target: &Declared<U>,
    what_vi: &str,
    what_en: &str,
    problems: &Problems,
) {
    let name = name.to_string();
    if target.lacks(&name) {
        let fault = Fault::new(
            format!("{what_vi} \"{name}\" chưa được khai"),
            format!("refers to the {what_en} \"{name}\", which is nowhere declared"),
        );
        problems.add(entry.place.problem(key, ProblemKind::UnknownReference, fault));
    }
}

fn patterns<T>(named: &[PartyPattern], key: &str, entry: &Placed<T>, declared: &Declarations, problems: &Problems) {
    for pattern in named {
        match pattern {
            PartyPattern::One(party) => refers(entry, key, party, &declared.parties, "cơ quan", "party", problems),
            PartyPattern::Below(_) if declared.parties.names.is_none() => {}
            PartyPattern::Below(_) => {
                if !declared.parties.values().any(|party| pattern.matches(&party.id)) {
                    let fault = Fault::new(
                        format!("không có cơ quan nào thuộc \"{pattern}\""),
                        format!("no party lies below \"{pattern}\""),
                    );
                    problems.add(entry.place.problem(key, ProblemKind::PatternMatchesNothing, fault));
                }
            }
        }
    }
}

fn known_fields<T>(entry: &Placed<T>, fields: &[String], declared: &Declarations, problems: &Problems) {
    if declared.procedures.names.is_none() {
        return;
    }
    for field in fields {
        if !declared.procedures.values().any(|procedure| procedure.field == *field) {
            let fault = Fault::new(
                format!("không có thủ tục nào thuộc lĩnh vực \"{field}\""),
                format!("no procedure belongs to the field \"{field}\""),
            );
            problems.add(entry.place.problem("fields", ProblemKind::UnknownReference, fault));
        }
    }
}
