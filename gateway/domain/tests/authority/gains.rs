//! Who gains and loses what: what is told is exactly what asking both registries about everything gives.

use std::collections::{BTreeMap, BTreeSet};

use lgsp_domain::registry::{AuthorityChange, Holder, gains_and_losses, out_of_reach};

use super::*;

const PARTIES: [&str; 4] = ["H99.1", "H99.2", "H99.3", "H99.4"];
const PROCEDURES: [&str; 3] = ["1.000001", "1.000002", "1.000003"];
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A code that no grant names: what holds for it, holds for any.
const UNNAMED: &str = "6.999999";

/// Four parties, of which one has ended and passed everything on to the last; three procedures of two fields.
fn small(grants: &str, systems: &str) -> Registry {
    let parties = "
party = [
  { id = \"H99.1\", name = \"x\", kind = \"commune\" },
  { id = \"H99.2\", name = \"x\", kind = \"commune\" },
  { id = \"H99.3\", name = \"x\", kind = \"department\", valid_to = 2025-06-30, successor = \"H99.4\" },
  { id = \"H99.4\", name = \"x\", kind = \"department\" },
]";
    let procedure = |(code, field)| {
        format!(
            "[[procedure]]\ncode = \"{code}\"\nname = \"x\"\nfield = \"{field}\"\nlevel = \"commune\"\nlimit = \"5wd\"\n"
        )
    };
    let procedures: String = PROCEDURES.into_iter().zip(["Một", "Một", "Hai"]).map(procedure).collect();
    let files = [
        ("parties.toml", parties.to_owned()),
        ("procedures.toml", procedures),
        ("grants.toml", grants.to_owned()),
        ("systems.toml", systems.to_owned()),
        ("calendars.toml", include_str!("../fixtures/registry/calendars.toml").to_owned()),
    ];
    Registry::parse(&files.map(|(name, text)| (name.to_owned(), text.into_bytes())).into()).unwrap()
}

/// The names that a scope's words stand for, among these.
fn expanded<'a>(words: &str, all: &[&'a str]) -> BTreeSet<&'a str> {
    let named = |words: &str| words.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
    match words.strip_prefix("any") {
        Some("") => all.iter().copied().collect(),
        Some(but) => {
            let but = named(but.strip_prefix(" but ").unwrap());
            all.iter().copied().filter(|name| !but.contains(*name)).collect()
        }
        None => {
            let named = named(words);
            assert!(named.iter().all(|name| all.contains(&name.as_str())), "{words}");
            all.iter().copied().filter(|name| named.contains(*name)).collect()
        }
    }
}

/// Holder, right, for what; and whether it is gained.
type Fact = (String, String, String, bool);

fn told(changes: &[AuthorityChange]) -> Vec<Fact> {
    let procedures: Vec<&str> = PROCEDURES.into_iter().chain([UNNAMED]).collect();
    let names: Vec<&str> = NAMES.into_iter().chain(["unnamed"]).collect();
    let mut facts = Vec::new();
    for AuthorityChange { holder, gained, right, scope } in changes {
        let holder = match holder {
            Holder::System(name) => name.clone(),
            Holder::Party(id) => id.to_string(),
        };
        let mut fact = |right: &str, what: String| facts.push((holder.clone(), right.to_owned(), what, *gained));
        match right {
            None => expanded(scope, &PARTIES).into_iter().for_each(|party| fact("acts-for", party.to_owned())),
            Some(Right::Call) => {
                let mut parts = scope.split("; ");
                let service = parts.next().unwrap();
                let mut part = |key: &str, all| expanded(parts.next().unwrap().strip_prefix(key).unwrap(), all);
                let (of_purposes, of_fields) = (part("purposes ", &names), part("fields ", &names));
                let of_procedures = part("procedures ", &procedures);
                for purpose in of_purposes {
                    for field in &of_fields {
                        of_procedures
                            .iter()
                            .for_each(|code| fact("call", format!("{service} {purpose} {field} {code}")));
                    }
                }
            }
            Some(right) => {
                expanded(scope, &procedures).into_iter().for_each(|code| fact(right.as_str(), code.to_owned()));
            }
        }
    }
    facts.sort();
    facts
}

/// Everything that is allowed, found by asking for it.
fn allowed(registry: &Registry) -> BTreeSet<(String, String, String)> {
    let mut allowed = BTreeSet::new();
    for who in PARTIES {
        let id = party(who);
        for system in registry.systems().filter(|system| registry.acts_for(system, &id, DAY)) {
            allowed.insert((system.name.clone(), "acts-for".to_owned(), who.to_owned()));
        }
        for code in PROCEDURES.into_iter().chain([UNNAMED]) {
            let procedure: ProcedureCode = code.parse().unwrap();
            for right in Right::ALL.iter().filter(|right| **right != Right::Call) {
                if registry.grant(&id, *right, Some(&procedure), DAY).is_ok() {
                    allowed.insert((who.to_owned(), right.to_string(), code.to_owned()));
                }
            }
            for service in ["s", "t"] {
                for purpose in NAMES.into_iter().chain(["unnamed"]) {
                    for field in NAMES.into_iter().chain(["unnamed"]) {
                        let fields = [field.to_owned()];
                        let wanted = Wanted { service, purpose, fields: &fields, procedure: Some(&procedure) };
                        if registry.may_call(&id, wanted, DAY).is_ok() {
                            let what = format!("{service} {purpose} {field} {code}");
                            allowed.insert((who.to_owned(), "call".to_owned(), what));
                        }
                    }
                }
            }
        }
    }
    allowed
}

fn names(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    let listed = proptest::sample::subsequence(of, 1..=of.len());
    prop_oneof![Just("\"any\"".to_owned()), listed.prop_map(|names| format!("{names:?}"))]
}

fn holders() -> impl Strategy<Value = String> {
    let one = proptest::sample::select(vec![
        "party = \"H99.1\"",
        "parties = [\"H99.2\", \"H99.3\"]",
        "party = \"H99.4\"",
        "kind = \"commune\"",
        "kind = \"department\"",
    ]);
    one.prop_map(str::to_owned)
}

fn grant() -> impl Strategy<Value = String> {
    let procedures = || names(&PROCEDURES).prop_map(|names| format!("procedures = {names}\n"));
    let narrowed = prop_oneof![procedures(), Just("fields = [\"Một\"]\n".to_owned())];
    let about = proptest::sample::select(vec!["submit", "decide"]);
    let plain = proptest::sample::select(vec!["operate", "certify"]);
    let service = proptest::sample::select(vec!["s", "t"]);
    let what = prop_oneof![
        (about, narrowed).prop_map(|(right, rest)| format!("right = \"{right}\"\n{rest}")),
        plain.prop_map(|right| format!("right = \"{right}\"\n")),
        (service, names(&NAMES), names(&NAMES), procedures()).prop_map(|(service, purposes, fields, procedures)| {
            format!("right = \"call\"\nservice = \"{service}\"\npurposes = {purposes}\nfields = {fields}\n{procedures}")
        }),
    ];
    let days = proptest::sample::select(vec!["", "valid_to = 2025-07-01\n", "valid_from = 2025-07-14\n"]);
    (holders(), what, days).prop_map(|(holders, what, days)| format!("{holders}\n{what}{days}owner = \"H99.1\"\n"))
}

/// The files that differ, so that a failing case can be read.
fn written() -> impl Strategy<Value = (String, String)> {
    let grants = proptest::collection::vec(grant(), 0..6).prop_map(|grants| {
        let numbered = grants.iter().enumerate().map(|(at, rest)| format!("[[grant]]\nid = \"g{at}\"\n{rest}"));
        numbered.collect::<String>()
    });
    let parties = proptest::sample::subsequence(&PARTIES, 0..=4);
    let systems = proptest::collection::btree_map(proptest::sample::select(vec!["one", "two"]), parties, 0..=2);
    let systems = systems.prop_map(|systems: BTreeMap<&str, Vec<&str>>| {
        let one = |(name, parties): (&&str, &Vec<&str>)| {
            format!("[[system]]\nname = \"{name}\"\ndescription = \"x\"\nacts_for = {parties:?}\n")
        };
        systems.iter().map(one).collect::<String>()
    });
    (grants, systems)
}

proptest! {
    #[test]
    fn what_is_told_is_what_asking_about_everything_gives(old in written(), new in written()) {
        let (old, new) = (small(&old.0, &old.1), small(&new.0, &new.1));
        let (before, after) = (allowed(&old), allowed(&new));
        let fact = |gained| move |(who, right, what): &(String, String, String)| {
            (who.clone(), right.clone(), what.clone(), gained)
        };
        let lost = before.difference(&after).map(fact(false));
        let mut expected: Vec<Fact> = lost.chain(after.difference(&before).map(fact(true))).collect();
        expected.sort();
        prop_assert_eq!(told(&gains_and_losses(&old, &new, DAY)), expected);
    }

    #[test]
    fn nothing_changes_hands_where_nothing_changes(written in written()) {
        let registry = small(&written.0, &written.1);
        prop_assert_eq!(gains_and_losses(&registry, &registry, DAY), vec![]);
    }
}

#[test]
fn it_is_told_by_holder_and_not_by_what_the_files_say() {
    let systems = "[[system]]\nname = \"one\"\ndescription = \"x\"\nacts_for = [\"H99.1\"]\n";
    let more = "[[system]]\nname = \"one\"\ndescription = \"x\"\nacts_for = [\"H99.1\", \"H99.2\", \"H99.4\"]\n";
    let by_kind =
        "[[grant]]\nid = \"x\"\nkind = \"commune\"\nright = \"submit\"\nprocedures = \"any\"\nowner = \"H99.1\"\n";
    let by_name = "[[grant]]\nid = \"y\"\nparty = \"H99.1\"\nright = \"submit\"\nprocedures = \"any\"\nowner = \"H99.4\"\n
                   [[grant]]\nid = \"z\"\nparty = \"H99.2\"\nright = \"submit\"\nprocedures = [\"1.000002\"]\nowner = \"H99.4\"\n";
    let changes = gains_and_losses(&small(by_kind, systems), &small(by_name, more), DAY);
    let told: Vec<String> = changes
        .iter()
        .map(|change| format!("{:?} {} {:?} {}", change.holder, change.gained, change.right, change.scope))
        .collect();
    assert_eq!(
        told,
        [
            // H99.3 has ended, and what it left behind is H99.4's.
            "System(\"one\") true None H99.2, H99.3, H99.4",
            "Party(PartyId(H99.2)) false Some(Submit) any but 1.000002",
        ]
    );
}

#[test]
fn a_right_is_out_of_reach_when_no_system_acts_for_anybody_who_holds_it() {
    let grant = |right: &str| {
        format!("[[grant]]\nid = \"{right}\"\nparty = \"H99.1\"\nright = \"{right}\"\nowner = \"H99.1\"\n")
    };
    let system = |party: &str| format!("[[system]]\nname = \"one\"\ndescription = \"x\"\nacts_for = [\"{party}\"]\n");
    let whole = small(&(grant("operate") + &grant("registry") + &grant("audit")), &system("H99.1"));
    assert_eq!(out_of_reach(&whole, &whole, DAY), []);
    assert_eq!(out_of_reach(&whole, &small(&grant("registry"), &system("H99.1")), DAY), [Right::Operate]);
    let nobody_acts = small(&(grant("operate") + &grant("registry")), &system("H99.2"));
    assert_eq!(out_of_reach(&whole, &nobody_acts, DAY), [Right::Registry, Right::Operate]);
    // Nobody could before.
    assert_eq!(out_of_reach(&nobody_acts, &nobody_acts, DAY), []);
}

#[test]
fn what_would_be_too_much_to_compare_is_told_as_it_was_granted_and_says_so() {
    let listed = |word: &str, number: usize| {
        let names: Vec<String> = (0..number).map(|at| format!("\"{word}{at}\"")).collect();
        format!("[{}]", names.join(", "))
    };
    let call = |id: &str, purposes: &str, fields: &str| {
        format!(
            "[[grant]]\nid = \"{id}\"\nkind = \"commune\"\nright = \"call\"\nservice = \"s\"\npurposes = {purposes}\n\
             fields = {fields}\nprocedures = \"any\"\nowner = \"H99.1\"\n"
        )
    };
    let some = call("some", &listed("p", 800), &listed("f", 800));
    let other_service = |text: String| text.replace("\"s\"", "\"t\"");
    let (before, after) = (
        some.clone() + &other_service(call("other", "[\"p1\"]", "[\"f1\"]")),
        some + &call("all", "\"any\"", "\"any\""),
    );
    let changes = gains_and_losses(&small(&before, ""), &small(&after, ""), DAY);
    let told: Vec<String> = changes.iter().map(|change| format!("{} {}", change.gained, change.scope)).collect();
    let of_each = [
        "false t; purposes p1; fields f1; procedures any",
        "true s; purposes any; fields any; procedures any; as granted",
    ];
    assert_eq!(told, [of_each, of_each].concat());
}
