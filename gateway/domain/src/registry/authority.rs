//! Who may do what under a registry on a day, and who gains or loses what when it becomes another one.
//!
//! Both registries are asked, not their files compared: a grant may lie under another name, by another pattern or with a
//! predecessor and still allow the same. What is told is per holder, with everything that one right is gained or lost for. What
//! grants to call say together grows as a product, so the comparing has an end: beyond it they are told as they stand, and marked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use lgsp_proto::types::PartyId;

use super::call::Names;
use super::grant::Procedures;
use super::{Registry, Right, System};

/// Something that somebody may do after a change and could not before, or the other way round.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct AuthorityChange {
    /// Who.
    pub holder: Holder,
    /// Whether it is gained; lost if not.
    pub gained: bool,
    /// Which right; `None` for acting for parties.
    pub right: Option<Right>,
    /// For what: parties, procedures, or service, purposes, fields and procedures of a call; with `as granted` at its end when it
    /// is what a grant says, which another one may allow as well.
    pub scope: String,
}

/// Somebody who may do something.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Holder {
    /// A system, by its name.
    System(String),
    /// A party.
    Party(PartyId),
}

/// What `date` changes hands when `new` takes the place of `old`: systems first, each holder's losses before its gains.
pub fn gains_and_losses(old: &Registry, new: &Registry, date: Date) -> Vec<AuthorityChange> {
    let mut changes = acting(old, new, date);
    let mut questions_left = QUESTIONS_MAX;
    let parties: BTreeSet<&PartyId> = old.parties().chain(new.parties()).map(|party| &party.id).collect();
    for party in parties {
        for right in Right::ALL.iter().copied().filter(|right| *right != Right::Call) {
            let (before, after) = (procedures(old, party, right, date), procedures(new, party, right, date));
            for (gained, scope) in before.changed_to(&after) {
                changes.push(AuthorityChange {
                    holder: Holder::Party(party.clone()),
                    gained,
                    right: Some(right),
                    scope,
                });
            }
        }
        changes.extend(calls(old, new, party, date, &mut questions_left));
    }
    changes.sort();
    changes
}

/// The rights without which a registry cannot be put right again, or nobody let onto the bus.
pub const KEEPING: [Right; 3] = [Right::Registry, Right::Operate, Right::Certify];

/// The rights that keep the bus in order and that nobody could use any more if `new` took the place of `old`.
pub fn out_of_reach(old: &Registry, new: &Registry, date: Date) -> Vec<Right> {
    let kept = kept_by(new, date, |_| true);
    kept_by(old, date, |_| true).into_iter().filter(|right| !kept.contains(right)).collect()
}

/// The rights that keep the bus in order and that a system which `counts`, by its name, can use on that day.
pub fn kept_by(registry: &Registry, date: Date, counts: impl Fn(&str) -> bool) -> Vec<Right> {
    let is_kept = |right: &Right| using(registry, *right, date).any(|system| counts(&system.name));
    KEEPING.into_iter().filter(is_kept).collect()
}

/// The systems that can use any right that keeps the bus in order, by name.
pub fn keepers(registry: &Registry, date: Date) -> BTreeSet<&str> {
    KEEPING.into_iter().flat_map(|right| using(registry, right, date)).map(|system| system.name.as_str()).collect()
}

/// The systems that can use a right on that day: each acts for a party that holds it.
fn using(registry: &Registry, right: Right, date: Date) -> impl Iterator<Item = &System> {
    let systems = move || registry.systems().filter(move |system| system.validity.contains(date));
    registry
        .parties_with(right, date)
        .flat_map(move |party| systems().filter(move |system| registry.acts_for(system, party, date)))
}

fn acting(old: &Registry, new: &Registry, date: Date) -> Vec<AuthorityChange> {
    let acted_for = |registry: &Registry| -> BTreeMap<String, BTreeSet<PartyId>> {
        let parties = |system| registry.parties_of_system(system, date).cloned().collect();
        registry.systems().map(|system| (system.name.clone(), parties(system))).collect()
    };
    let (before, after) = (acted_for(old), acted_for(new));
    let (mut changes, none) = (Vec::new(), BTreeSet::new());
    for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
        let (had, has) = (before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none));
        for (gained, parties) in [(false, had.difference(has)), (true, has.difference(had))] {
            let scope = joined(parties);
            if !scope.is_empty() {
                changes.push(AuthorityChange { holder: Holder::System(name.clone()), gained, right: None, scope });
            }
        }
    }
    changes
}

/// Names that something is allowed for: those listed, and whether every other one is allowed as well.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Reach {
    any: bool,
    listed: BTreeSet<String>,
}

impl Reach {
    fn includes(&self, name: &str) -> bool {
        self.any || self.listed.contains(name)
    }

    /// What is lost and what is gained on the way from this reach to `other`, in words; nothing where they allow the same.
    fn changed_to(&self, other: &Self) -> impl Iterator<Item = (bool, String)> + use<> {
        let (lost, gained) = (self.beyond(other), other.beyond(self));
        lost.map(|scope| (false, scope)).into_iter().chain(gained.map(|scope| (true, scope)))
    }

    /// What this one allows and `other` does not: everything, everything but some, or some.
    fn beyond(&self, other: &Self) -> Option<String> {
        let more: BTreeSet<&String> = self.listed.iter().filter(|name| !other.includes(name)).collect();
        match (self.any, other.any) {
            (true, true) => None,
            (true, false) if other.listed.is_empty() => Some("any".to_owned()),
            (true, false) => Some(format!("any but {}", joined(&other.listed))),
            (false, _) => (!more.is_empty()).then(|| joined(more)),
        }
    }
}

/// The procedures for which a party holds a right on that day.
fn procedures(registry: &Registry, party: &PartyId, right: Right, date: Date) -> Reach {
    let mut reach = Reach::default();
    let Ok(party) = registry.party_in_force(party, date) else { return reach };
    let held = registry.grants().iter().filter(|grant| grant.right == right && registry.holds_on(party, grant, date));
    for grant in held {
        match &grant.procedures {
            Procedures::Any => reach.any = true,
            Procedures::Listed(codes) => reach.listed.extend(codes.iter().map(ToString::to_string)),
            Procedures::Fields(fields) => {
                let of_fields = registry.procedures().filter(|procedure| fields.contains(&procedure.field));
                reach.listed.extend(of_fields.map(|procedure| procedure.code.to_string()));
            }
        }
    }
    reach
}

/// How many questions about calls are compared for one change of registries: a second or so of work.
const QUESTIONS_MAX: usize = 500_000;

/// A purpose, field and procedure that a service may be asked for; `None` stands for every one that no grant names.
type Question<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

/// What a service may be asked, once it is spelled out.
type Asked<'a> = BTreeSet<Question<'a>>;

/// Names, and `None` for every other one.
type Named<'a> = BTreeSet<Option<&'a str>>;

/// A grant to call, without its name, owner and dates: service, purposes, fields, procedures.
type HeldCall = (String, Reach, Reach, Reach);

fn calls(
    old: &Registry,
    new: &Registry,
    party: &PartyId,
    date: Date,
    questions_left: &mut usize,
) -> Vec<AuthorityChange> {
    let (before, after) = (held_calls(old, party, date), held_calls(new, party, date));
    let services: BTreeSet<&str> = before.symmetric_difference(&after).map(|(service, ..)| service.as_str()).collect();
    let mut changes = Vec::new();
    for service in services {
        let of_service = |held: &'_ &HeldCall| held.0 == service;
        let before: Vec<&HeldCall> = before.iter().filter(of_service).collect();
        let after: Vec<&HeldCall> = after.iter().filter(of_service).collect();
        for (gained, scope) in calls_of_service(service, &before, &after, questions_left) {
            let holder = Holder::Party(party.clone());
            changes.push(AuthorityChange { holder, gained, right: Some(Right::Call), scope });
        }
    }
    changes
}

/// What of one service is lost and gained, in words.
fn calls_of_service(
    service: &str,
    before: &[&HeldCall],
    after: &[&HeldCall],
    questions_left: &mut usize,
) -> Vec<(bool, String)> {
    let named = |part: fn(&HeldCall) -> &Reach| -> Named<'_> {
        let names = before.iter().chain(after).flat_map(|held| part(held).listed.iter().map(String::as_str).map(Some));
        names.chain([None]).collect()
    };
    let all = [named(|held| &held.1), named(|held| &held.2), named(|held| &held.3)];
    let questions = before.iter().chain(after).fold(0, |sum: usize, held| sum.saturating_add(questions_of(held, &all)));
    let Some(left) = questions_left.checked_sub(questions) else {
        return as_granted(before, after);
    };
    *questions_left = left;
    let (had, has) = (spelled_out(before, &all), spelled_out(after, &all));
    let changed = [(false, &had - &has), (true, &has - &had)];
    let in_words = |(gained, asked): &(bool, Asked<'_>)| -> Vec<(bool, String)> {
        in_words(asked, &all).into_iter().map(|words| (*gained, format!("{service}; {words}"))).collect()
    };
    changed.iter().flat_map(in_words).collect()
}

/// How many questions a grant allows, of all that there are.
fn questions_of((_, purposes, fields, procedures): &HeldCall, all: &[Named<'_>; 3]) -> usize {
    let number = |reach: &Reach, all: &Named<'_>| if reach.any { all.len() } else { reach.listed.len() };
    let numbers = [purposes, fields, procedures].into_iter().zip(all).map(|(reach, all)| number(reach, all));
    numbers.fold(1, usize::saturating_mul)
}

/// The grants that are on one side only, as they stand.
fn as_granted(before: &[&HeldCall], after: &[&HeldCall]) -> Vec<(bool, String)> {
    let words = |reach: &Reach| if reach.any { "any".to_owned() } else { joined(&reach.listed) };
    let told = |(service, purposes, fields, procedures): &HeldCall| {
        let [purposes, fields, procedures] = [purposes, fields, procedures].map(words);
        format!("{service}; purposes {purposes}; fields {fields}; procedures {procedures}; as granted")
    };
    let only = |these: &[&HeldCall], others: &[&HeldCall], gained| -> Vec<(bool, String)> {
        these.iter().filter(|held| !others.contains(held)).map(|held| (gained, told(held))).collect()
    };
    [only(before, after, false), only(after, before, true)].concat()
}

fn held_calls(registry: &Registry, party: &PartyId, date: Date) -> BTreeSet<HeldCall> {
    let Ok(party) = registry.party_in_force(party, date) else { return BTreeSet::new() };
    let reach = |names: &Names| match names {
        Names::Any => Reach { any: true, ..Reach::default() },
        Names::Listed(names) => Reach { any: false, listed: names.clone() },
    };
    let held = registry.grants().iter().filter(|grant| registry.holds_on(party, grant, date));
    held.filter_map(|grant| {
        let scope = grant.call.as_ref()?;
        let procedures = match &grant.procedures {
            Procedures::Listed(codes) => Reach { any: false, listed: codes.iter().map(ToString::to_string).collect() },
            Procedures::Any | Procedures::Fields(_) => Reach { any: true, ..Reach::default() },
        };
        Some((scope.service.clone(), reach(&scope.purposes), reach(&scope.fields), procedures))
    })
    .collect()
}

/// Every question that the grants of a service allow, of all that differ in what some grant says.
fn spelled_out<'a>(held: &[&HeldCall], [purposes, fields, procedures]: &[Named<'a>; 3]) -> Asked<'a> {
    let allowed = |reach: &Reach, name: &Option<&str>| name.map_or(reach.any, |name| reach.includes(name));
    let mut asked = Asked::new();
    for (_, of_purposes, of_fields, of_procedures) in held {
        for purpose in purposes.iter().filter(|name| allowed(of_purposes, name)) {
            for field in fields.iter().filter(|name| allowed(of_fields, name)) {
                let of_these = procedures.iter().filter(|name| allowed(of_procedures, name));
                asked.extend(of_these.map(|procedure| (*purpose, *field, *procedure)));
            }
        }
    }
    asked
}

/// Few lines instead of many questions: fields that go with the same procedures stand together, then purposes with the same of both.
fn in_words(questions: &Asked<'_>, [purposes, fields, procedures]: &[Named<'_>; 3]) -> Vec<String> {
    let mut of_field: BTreeMap<(Option<&str>, Option<&str>), Named<'_>> = BTreeMap::new();
    for (purpose, field, procedure) in questions {
        of_field.entry((*purpose, *field)).or_default().insert(*procedure);
    }
    let mut of_procedures: BTreeMap<(Option<&str>, Named<'_>), Named<'_>> = BTreeMap::new();
    for ((purpose, field), procedures) in of_field {
        of_procedures.entry((purpose, procedures)).or_default().insert(field);
    }
    let mut of_both: BTreeMap<(Named<'_>, Named<'_>), Named<'_>> = BTreeMap::new();
    for ((purpose, procedures), fields) in of_procedures {
        of_both.entry((procedures, fields)).or_default().insert(purpose);
    }
    of_both
        .into_iter()
        .map(|((of_procedures, of_fields), of_purposes)| {
            format!(
                "purposes {}; fields {}; procedures {}",
                words(&of_purposes, purposes),
                words(&of_fields, fields),
                words(&of_procedures, procedures)
            )
        })
        .collect()
}

/// Some of all names, as briefly as it can be said.
fn words(some: &Named<'_>, all: &Named<'_>) -> String {
    if !some.contains(&None) {
        return joined(some.iter().flatten());
    }
    let rest = joined(all.difference(some).flatten());
    if rest.is_empty() { "any".to_owned() } else { format!("any but {rest}") }
}

fn joined<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}
