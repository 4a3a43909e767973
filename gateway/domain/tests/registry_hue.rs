//! The registry of Hue in `gateway/registry/hue` holds together: it parses, and every procedure finds its authority.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::civil::{Date, date};
use lgsp_domain::deadline::Limit;
use lgsp_domain::registry::{PartyKind, Registry, Right};
use lgsp_domain::routing::route;
use lgsp_proto::types::{IntakeChannel, PartyId, ProcedureCode, UnitCode, UnitLevel};

/// The day that the demo replays.
const DAY: Date = date(2025, 7, 14);

fn hue() -> Registry {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry/hue");
    let mut files = BTreeMap::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml" || extension == "json") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
    Registry::parse(&files).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{} problems:\n{}", lines.len(), lines.join("\n"))
    })
}

fn party(text: &str) -> PartyId {
    text.parse().unwrap()
}

fn authority(registry: &Registry, procedure: &str, unit: &str, day: Date) -> String {
    let procedure: ProcedureCode = procedure.parse().unwrap();
    let found = route(registry, &procedure, None, &unit.parse().unwrap(), day).outcome;
    found.map_or_else(|none| panic!("{procedure} in {unit}: {none}"), |route| route.authority.to_string())
}

#[test]
fn it_holds_what_its_readme_says() {
    let hue = hue();
    let of_kind = |kind| hue.parties().filter(|party| party.kind == kind).count();
    assert_eq!(hue.procedures().count(), 104);
    assert_eq!(hue.units().filter(|unit| unit.code.level() == UnitLevel::Commune).count(), 40);
    assert_eq!(of_kind(PartyKind::Commune), 40);
    assert_eq!(of_kind(PartyKind::PostOffice), 166);
    assert_eq!(of_kind(PartyKind::Bank), 20);
    assert_eq!(of_kind(PartyKind::Police), 41);
    assert!(hue.note().unwrap().contains("minh hoạ"));
    let beyond: Vec<_> = hue.parties().filter(|one| !party("H57").is_ancestor_of(&one.id)).map(|one| &one.id).collect();
    assert_eq!(beyond, [&party("G01")], "owners of national databases");
}

/// Every procedure on a day on which it is in force, in every commune: nobody has to leave a desk without an answer.
#[test]
fn every_procedure_has_an_authority_that_may_decide_it_in_every_commune() {
    let hue = hue();
    let communes: Vec<&UnitCode> =
        hue.units().map(|unit| &unit.code).filter(|code| code.level() == UnitLevel::Commune).collect();
    let mut walked = 0;
    for procedure in hue.procedures() {
        let day = [DAY, date(2024, 6, 30), date(2026, 9, 1)].into_iter().find(|day| procedure.validity.contains(*day));
        let day = day.unwrap();
        for unit in &communes {
            let explanation = route(&hue, &procedure.code, None, unit, day);
            if hue.unit(unit, day).is_err() {
                // 2.000986 ended a year before the communes of today began; its dossiers are not of this registry.
                assert_eq!(procedure.code.as_str(), "2.000986");
                continue;
            }
            let found = explanation.outcome.unwrap_or_else(|none| panic!("{} in {unit}: {none}", procedure.code));
            assert!(explanation.steps[0].matched && explanation.steps[0].rule == found.rule);
            assert!(hue.grant(&found.authority, Right::Decide, Some(&procedure.code), day).is_ok());
            walked += 1;
        }
    }
    assert_eq!(walked, 103 * 40);
}

#[test]
fn matters_go_where_the_published_texts_say() {
    let hue = hue();
    for (procedure, unit, expected) in [
        ("1.001193", "19942", "H57.119"),    // birth, Phú Vang
        ("2.000815", "19753", "H57.101"),    // certified copy, Phú Xuân
        ("1.001612", "20137", "H57.136"),    // household business
        ("1.004222", "19942", "H57.CA.119"), // residence
        ("1.014061", "20182", "H57.CA.140"), // identity card
        ("3.000333", "20056", "H57.CA"),     // criminal record
        ("3.000346", "20056", "H57.CA"),     // driving licence
        ("1.001456", "20056", "H57.CA"),     // passport
        ("2.001583", "19789", "H57.01"),     // company
        ("1.013831", "19789", "H57.04.1"),   // land, province level
        ("1.013978", "19789", "H57.104"),    // land, commune level
        ("1.013225", "19789", "H57.104"),    // small buildings
        ("1.013236", "19789", "H57.02"),     // large buildings
        ("1.013236", "20137", "H57.16"),     // the same in the economic zone
        ("1.014397", "20137", "H57.16"),
        ("1.004628", "19789", "H57.08"),
        ("1.115149", "19789", "H57.03"),
        ("2.000639", "19789", "H57.BH"),
        ("1.010824", "19789", "H57.05"),
    ] {
        assert_eq!(authority(&hue, procedure, unit, DAY), expected, "{procedure} in {unit}");
    }
}

#[test]
fn the_linked_birth_procedure_changes_its_code_on_1_september_2026() {
    let hue = hue();
    assert_eq!(authority(&hue, "2.002621", "19942", date(2026, 8, 31)), "H57.119");
    let gone = route(&hue, &"2.002621".parse().unwrap(), None, &"19942".parse().unwrap(), date(2026, 9, 1));
    assert_eq!(gone.outcome.unwrap_err().successor.as_deref(), Some("3.000722"));
    assert_eq!(authority(&hue, "3.000722", "19942", date(2026, 9, 1)), "H57.119");
}

#[test]
fn limits_are_those_of_the_published_texts() {
    let hue = hue();
    let limit = |code: &str, case: Option<&str>, channel| {
        let case = case.map(|case| case.parse().unwrap());
        hue.procedure(&code.parse().unwrap(), DAY).unwrap().limit(case.as_ref(), channel)
    };
    assert_eq!(limit("1.001193", None, IntakeChannel::Online), Limit::SAME_DAY);
    assert_eq!(limit("1.004873", None, IntakeChannel::Direct), Limit::WorkingDays(3));
    assert_eq!(limit("1.012784", None, IntakeChannel::Direct), Limit::WorkingDays(22));
    assert_eq!(limit("1.012784", None, IntakeChannel::Online), Limit::WorkingDays(12));
    assert_eq!(limit("1.010041", Some("co-san-du-lieu"), IntakeChannel::Online), Limit::WorkingDays(1));
    assert_eq!(limit("1.010041", None, IntakeChannel::Online), Limit::WorkingDays(3));
    assert_eq!(limit("3.000333", None, IntakeChannel::Postal), Limit::CalendarDays(10));
    assert_eq!(limit("1.013065", None, IntakeChannel::Online), Limit::WorkingHours(8));
    assert_eq!(limit("1.004859", None, IntakeChannel::Online), Limit::Unlimited);
}

#[test]
fn only_the_marked_overlay_is_compulsory() {
    let hue = hue();
    let marked: BTreeSet<&str> = hue
        .procedures()
        .filter(|one| one.compulsory_components(None).next().is_some())
        .map(|one| one.code.as_str())
        .collect();
    let overlay = ["1.000656", "1.000894", "1.001193", "1.004222", "1.004873", "1.013225", "2.000635"];
    assert_eq!(marked, BTreeSet::from(overlay));
}

#[test]
fn each_party_but_the_agent_points_has_exactly_one_system() {
    let hue = hue();
    for party in hue.parties() {
        let systems: Vec<&str> = hue
            .systems()
            .filter(|system| hue.acts_for(system, &party.id, DAY))
            .map(|system| system.name.as_str())
            .collect();
        assert_eq!(systems.len(), usize::from(!party.support_point), "{}: {systems:?}", party.id);
    }
    assert_eq!(hue.systems().count(), 13);
    let one_stop = hue.system("mot-cua-hue", DAY).unwrap();
    assert_eq!(hue.parties_of_system(one_stop, DAY).count(), 31);
}

#[test]
fn desks_take_in_and_hand_out_and_agent_points_only_help() {
    let hue = hue();
    let birth = "1.001193".parse().unwrap();
    for party in hue.parties() {
        let may = |right| hue.grant(&party.id, right, Some(&birth), DAY).is_ok();
        assert_eq!(may(Right::Submit), party.desk, "{}", party.id);
        assert_eq!(may(Right::HandOut), party.desk, "{}", party.id);
        assert_eq!(may(Right::Support), party.support_point, "{}", party.id);
    }
    assert_eq!(hue.parties_with(Right::Subscribe, DAY).collect::<Vec<_>>(), [&party("H57.CDV")]);
    for right in [Right::Operate, Right::Registry, Right::Audit] {
        assert_eq!(hue.parties_with(right, DAY).collect::<Vec<_>>(), [&party("H57.VH")]);
    }
}

#[test]
fn non_territorial_is_counted_by_the_desks_own_unit() {
    let hue = hue();
    let crossing = |desk: &str, authority: &str| hue.is_non_territorial(&party(desk), &party(authority), DAY);
    assert!(crossing("H57.119", "H57.130"), "Phú Vang for A Lưới 1");
    assert!(crossing("H57.TT", "H57.119"), "the city's centre for a commune");
    assert!(crossing("H57.119", "H57.CA.130"), "for the police of another commune");
    assert!(!crossing("H57.119", "H57.119"), "at home");
    assert!(!crossing("H57.119", "H57.CA.119"), "for the police next door");
    assert!(!crossing("H57.119", "H57.01"), "for a department of its own city");
    assert!(!crossing("H57.TT", "H57.01"), "the centre for a department");
    assert!(!crossing("H57.CDV", "H57.119"), "the portal is nowhere");
}

#[test]
fn the_police_receive_on_saturday_mornings_and_nobody_works_on_national_day() {
    let hue = hue();
    let saturday = date(2025, 7, 19).at(9, 0, 0, 0);
    let received = |id| hue.calendar_of(&party(id)).next_reception(saturday).unwrap();
    assert_eq!(received("H57.CA.119"), saturday);
    assert_eq!(received("H57.119"), date(2025, 7, 21).at(7, 0, 0, 0));
    for id in ["H57.119", "H57.CA.119", "H57.01"] {
        assert!(!hue.calendar_of(&party(id)).is_working_day(date(2025, 9, 2)).unwrap());
        assert!(hue.calendar_of(&party(id)).is_working_day(date(2026, 8, 22)).unwrap(), "a swapped Saturday");
    }
}
