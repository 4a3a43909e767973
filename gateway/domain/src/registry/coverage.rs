//! Walks every route of a finished registry, so that a hole is found by whoever writes the files and not by a citizen.
//!
//! For each procedure and case, each unit, and each day on which anything changes, the routes are asked exactly as at
//! admission ([`crate::routing`]). What is found is reported once per route, with examples.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use lgsp_proto::types::{CaseCode, PartyId, ProcedureCode, UnitCode, UnitLevel};

use super::grant::Right;
use super::load::Declarations;
use super::party::PartyKind;
use super::problem::{Fault, ProblemKind};
use super::rule::{Authority, Rule};
use super::source::Problems;
use super::{Procedure, Registry};
use crate::routing::Question;

/// Checks that every route can win, wins alone, and leads to somebody who may decide.
pub(super) fn check(registry: &Registry, declared: &Declarations, problems: &Problems) {
    ambiguous_authorities(registry, declared, problems);
    let mut found = Found::default();
    for day in days_of_change(registry) {
        let units: Vec<&UnitCode> =
            registry.units().filter(|unit| unit.validity.contains(day)).map(|unit| &unit.code).collect();
        for procedure in registry.procedures().filter(|procedure| procedure.validity.contains(day)) {
            let cases = procedure.cases.iter().map(|case| Some(&case.code));
            for case in std::iter::once(None).chain(cases) {
                for unit in &units {
                    found.walk(registry, procedure, case, unit, day);
                }
            }
        }
    }
    found.report(registry, declared, problems);
}

/// What the walk has met, by the position of the rule in the file.
#[derive(Default)]
struct Found {
    won: BTreeSet<usize>,
    tied: BTreeMap<(usize, usize), String>,
    without_authority: BTreeMap<usize, BTreeSet<UnitCode>>,
    gone: BTreeMap<usize, String>,
    without_grant: BTreeMap<(usize, PartyId), BTreeSet<ProcedureCode>>,
    may_decide: BTreeMap<(PartyId, ProcedureCode, Date), bool>,
}

impl Found {
    fn walk(
        &mut self,
        registry: &Registry,
        procedure: &Procedure,
        case: Option<&CaseCode>,
        unit: &UnitCode,
        day: Date,
    ) {
        let Ok(question) = Question::new(registry, &procedure.code, case, unit, day) else { return };
        let claims = registry.rules().iter().enumerate();
        let claims = claims.filter_map(|(index, rule)| question.claim(rule).ok().map(|rank| (rank, index, rule)));
        let claims: Vec<_> = claims.collect();
        let Some(best) = claims.iter().map(|(rank, ..)| *rank).max() else { return };
        let mut winners = claims.iter().filter(|(rank, ..)| *rank == best);
        let Some((_, index, rule)) = winners.next() else { return };
        self.won.insert(*index);
        for (_, other, _) in winners {
            self.won.insert(*other);
            self.tied.entry((*index, *other)).or_insert_with(|| format!("{}, {unit}, {day}", procedure.code));
        }
        match question.authority(rule) {
            Ok(authority) => {
                let key = (authority.clone(), procedure.code.clone(), day);
                let may = *self
                    .may_decide
                    .entry(key)
                    .or_insert_with(|| registry.grant(&authority, Right::Decide, Some(&procedure.code), day).is_ok());
                if !may {
                    self.without_grant.entry((*index, authority)).or_default().insert(procedure.code.clone());
                }
            }
            Err(no_route) => self.has_no_authority(*index, rule, unit, no_route.en),
        }
    }

    /// A matter of the whole province has no commune, and that is no fault of the files.
    fn has_no_authority(&mut self, index: usize, rule: &Rule, unit: &UnitCode, why: String) {
        match rule.authority {
            Authority::OfUnit(_) if unit.level() == UnitLevel::Commune => {
                self.without_authority.entry(index).or_default().insert(unit.clone());
            }
            Authority::OfUnit(_) => {}
            Authority::Party(_) => {
                self.gone.entry(index).or_insert(why);
            }
        }
    }

    fn report(mut self, registry: &Registry, declared: &Declarations, problems: &Problems) {
        let place = |index: usize| &declared.rules.entries[index].place;
        // A route with a slip in it would only be blamed a second time for what follows from the slip.
        let sound = |index: &usize| !problems.blame(place(*index));
        let never = (0..registry.rules().len()).filter(|index| !self.won.contains(index));
        let never: Vec<usize> = never.filter(sound).collect();
        self.tied.retain(|(first, second), _| sound(first) && sound(second));
        self.without_authority.retain(|index, _| sound(index));
        self.gone.retain(|index, _| sound(index));
        self.without_grant.retain(|(index, _), _| sound(index));
        for index in never {
            let rule = &registry.rules()[index];
            let fault = Fault::new(
                format!(
                    "quy tắc \"{}\" không bao giờ được áp dụng: không khớp thủ tục nào hoặc luôn thua quy tắc cụ thể hơn",
                    rule.id
                ),
                format!(
                    "the route \"{}\" never wins: it fits no procedure, or a more specific route always wins",
                    rule.id
                ),
            );
            problems.add(place(index).problem("", ProblemKind::RouteNeverWins, fault));
        }
        for ((first, second), example) in &self.tied {
            let (first, second_id) = (&registry.rules()[*first].id, &registry.rules()[*second].id);
            let fault = Fault::new(
                format!(
                    "hai quy tắc \"{first}\" và \"{second_id}\" cụ thể như nhau cho cùng một việc (ví dụ {example})"
                ),
                format!(
                    "the routes \"{first}\" and \"{second_id}\" are equally specific for one matter (e.g. {example})"
                ),
            );
            problems.add(place(*second).problem("", ProblemKind::TiedRoutes, fault));
        }
        for (index, units) in &self.without_authority {
            let units = few(units);
            let fault = Fault::new(
                format!("không có cơ quan loại này phụ trách các đơn vị: {units}"),
                format!("no party of this kind is competent for the units {units}"),
            );
            problems.add(place(*index).problem("authority_of_unit", ProblemKind::NoAuthority, fault));
        }
        for (index, why) in &self.gone {
            let fault = Fault::new(format!("cơ quan được dẫn tới không có hiệu lực: {why}"), why.clone());
            problems.add(place(*index).problem("authority", ProblemKind::AuthorityWithoutGrant, fault));
        }
        for ((index, authority), codes) in &self.without_grant {
            let codes = few(codes);
            let fault = Fault::new(
                format!("cơ quan {authority} chưa được cấp quyền \"decide\" cho các thủ tục: {codes}"),
                format!("the party {authority} has no grant \"decide\" for the procedures {codes}"),
            );
            problems.add(place(*index).problem("", ProblemKind::AuthorityWithoutGrant, fault));
        }
    }
}

/// Two parties of one kind that name the same unit, where a route chooses by unit.
fn ambiguous_authorities(registry: &Registry, declared: &Declarations, problems: &Problems) {
    let kinds: BTreeSet<PartyKind> = registry
        .rules()
        .iter()
        .filter_map(|rule| match rule.authority {
            Authority::OfUnit(kind) => Some(kind),
            Authority::Party(_) => None,
        })
        .collect();
    let asked: Vec<_> = declared.parties.entries.iter().filter(|entry| kinds.contains(&entry.value.kind)).collect();
    for (index, later) in asked.iter().enumerate() {
        for earlier in &asked[..index] {
            let (one, other) = (&earlier.value, &later.value);
            let shared = one.territory.iter().find(|unit| other.territory.contains(unit));
            let rivals = one.id != other.id && one.kind == other.kind && one.validity.overlaps(other.validity);
            if let Some(unit) = shared.filter(|_| rivals) {
                let fault = Fault::new(
                    format!("{} và {} cùng loại \"{}\" và cùng phụ trách đơn vị {unit}", one.id, other.id, one.kind),
                    format!(
                        "{} and {} are both of kind \"{}\" and competent for the unit {unit}",
                        one.id, other.id, one.kind
                    ),
                );
                problems.add(later.place.problem("territory", ProblemKind::AmbiguousAuthority, fault));
            }
        }
    }
}

/// Every day on which an entry begins to hold or has just ended, and the day before the first of them.
///
/// Between two such days nothing changes, so these few stand for all.
fn days_of_change(registry: &Registry) -> BTreeSet<Date> {
    let parties = registry.parties().map(|party| party.validity);
    let units = registry.units().map(|unit| unit.validity);
    let procedures = registry.procedures().map(|procedure| procedure.validity);
    let rules = registry.rules().iter().map(|rule| rule.validity);
    let grants = registry.grants().iter().map(|grant| grant.validity);
    let all = parties.chain(units).chain(procedures).chain(rules).chain(grants);
    let mut days: BTreeSet<Date> = all.flat_map(|validity| validity.turns()).collect();
    let before = days.first().map_or(date(2025, 7, 1), |first| first.yesterday().unwrap_or(*first));
    days.insert(before);
    days
}

/// The first few of them, and how many there are in all.
fn few<T: ToString>(all: &BTreeSet<T>) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if all.len() > SHOWN { format!(", … ({})", all.len()) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
