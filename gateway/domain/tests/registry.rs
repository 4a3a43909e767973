//! What a registry answers, and what it refuses, shown on the invented province in `fixtures/registry`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use lgsp_domain::deadline::Limit;
use lgsp_domain::deadline::clock::{StartPolicy, SupplementPolicy};
use lgsp_domain::registry::{
    ChangeKind, MissingGrant, NoParty, NoProcedure, NoUnit, Owner, Problem, ProblemKind, Registry, Right, diff,
};
use lgsp_domain::routing::{Explanation, route};
use lgsp_proto::Reason;
use lgsp_proto::types::{CaseCode, IntakeChannel, PartyId, ProcedureCode, UnitCode};
use proptest::prelude::*;

const DAY: Date = date(2025, 7, 14);

type Files = BTreeMap<String, Vec<u8>>;

fn files() -> Files {
    let files = [
        ("parties.toml", include_str!("fixtures/registry/parties.toml")),
        ("units.toml", include_str!("fixtures/registry/units.toml")),
        ("procedures.toml", include_str!("fixtures/registry/procedures.toml")),
        ("routes.toml", include_str!("fixtures/registry/routes.toml")),
        ("grants.toml", include_str!("fixtures/registry/grants.toml")),
        ("systems.toml", include_str!("fixtures/registry/systems.toml")),
        ("calendars.toml", include_str!("fixtures/registry/calendars.toml")),
    ];
    files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}

fn registry() -> Registry {
    Registry::parse(&files()).unwrap()
}

/// The files with one text replaced; the text must stand there exactly once.
fn edited(mut files: Files, file: &str, from: &str, to: &str) -> Files {
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {file}");
    files.insert(file.to_owned(), text.replace(from, to).into_bytes());
    files
}

/// The files with something added at the end of one.
fn extended(mut files: Files, file: &str, more: &str) -> Files {
    files.get_mut(file).unwrap().extend_from_slice(more.as_bytes());
    files
}

fn party(text: &str) -> PartyId {
    text.parse().unwrap()
}

fn procedure(text: &str) -> ProcedureCode {
    text.parse().unwrap()
}

fn unit(text: &str) -> UnitCode {
    text.parse().unwrap()
}

fn case(text: &str) -> CaseCode {
    text.parse().unwrap()
}

mod answers {
    use super::*;

    #[test]
    fn a_ceased_unit_names_its_successor_and_a_divided_one_does_not() {
        let registry = registry();
        assert!(registry.unit(&unit("99003"), date(2025, 6, 30)).is_ok());
        let merged = registry.unit(&unit("99003"), date(2025, 7, 1)).unwrap_err();
        assert_eq!(merged, NoUnit::Ceased { successor: Some(unit("99002")) });
        let divided = registry.unit(&unit("99004"), date(2025, 9, 1)).unwrap_err();
        assert_eq!(divided, NoUnit::Ceased { successor: None });
        assert_eq!(registry.unit(&unit("99999"), DAY).unwrap_err(), NoUnit::Unknown);
    }

    #[test]
    fn a_merged_party_is_followed_from_the_day_of_the_merger() {
        let registry = registry();
        let (old, new) = (party("H99.02"), party("H99.01"));
        let (before, after) = (date(2025, 7, 31), date(2025, 8, 1));
        assert_eq!(registry.current_of(&old, before), old);
        assert_eq!(registry.current_of(&old, after), new);
        assert!(registry.succeeds(&new, &old, after) && !registry.succeeds(&new, &old, before));
        assert!(!registry.succeeds(&new, &new, after), "nobody succeeds itself");
        assert!(registry.party_in_force(&old, before).is_ok());
        assert_eq!(registry.party_in_force(&old, after).unwrap_err(), NoParty::Gone { successor: Some(new) });
        assert_eq!(registry.party_in_force(&party("H99.77"), DAY).unwrap_err(), NoParty::Unknown);
    }

    #[test]
    fn grants_pass_to_the_successor_and_end_with_the_party() {
        let registry = registry();
        let (old, new, water) = (party("H99.02"), party("H99.01"), procedure("1.000007"));
        let may = |who, day| registry.grant(who, Right::Decide, Some(&water), day).map(|grant| grant.id.as_str());
        let (before, after) = (date(2025, 7, 31), date(2025, 8, 1));
        assert_eq!(may(&old, before), Ok("so-nuoc-giai-quyet"));
        assert_eq!(may(&new, after), Ok("so-nuoc-giai-quyet"));
        assert!(may(&new, before).is_err() && may(&old, after).is_err());
    }

    #[test]
    fn a_missing_grant_names_the_right_and_whom_to_ask() {
        let registry = registry();
        let ask = |who, right, what: Option<&str>| {
            let what = what.map(procedure);
            registry.grant(&party(who), right, what.as_ref(), DAY).map(drop)
        };
        let missing = |who, right, what: Option<&str>, id, name: &str| {
            let owner = Some(Owner { id: party(id), name: name.into() });
            Err(MissingGrant { party: party(who), right, procedure: what.map(procedure), owner })
        };
        for (who, right, what, id, name) in [
            ("H99.09", Right::Submit, Some("1.000001"), "H99.VH", "Đơn vị vận hành"),
            ("H99.09", Right::Decide, Some("1.000002"), "H99.CA", "Công an tỉnh"),
            ("H99.77", Right::Submit, None, "H99.VH", "Đơn vị vận hành"),
        ] {
            assert_eq!(ask(who, right, what), missing(who, right, what, id, name));
        }
        let refusal = ask("H99.09", Right::Decide, Some("1.000002")).unwrap_err().refusal();
        assert_eq!(refusal.reason(), Reason::GrantMissing);
        let told = |key: &str| refusal.details()[key].as_str();
        assert_eq!((told("right"), told("procedure"), told("owner")), ("decide", "1.000002", "H99.CA"));
        assert_eq!(told("owner_name"), "Công an tỉnh");
        assert_eq!(told("can_i"), "lgsp can-i decide --party H99.09 --procedure 1.000002");
    }

    #[test]
    fn a_grant_is_for_its_procedures_fields_and_days_only() {
        let registry = registry();
        let may = |who, right, what: Option<&str>, day| {
            let what = what.map(procedure);
            registry.grant(&party(who), right, what.as_ref(), day).is_ok()
        };
        assert!(may("H99.101", Right::Decide, Some("1.000001"), DAY), "by field");
        assert!(!may("H99.101", Right::Decide, Some("1.000003"), DAY), "another field");
        assert!(may("H99.101", Right::Submit, Some("1.000003"), DAY), "any procedure");
        assert!(may("H99.CA.101", Right::Decide, Some("1.000002"), DAY), "by pattern");
        assert!(!may("H99.CA.101", Right::Decide, Some("1.000001"), DAY), "not listed");
        assert!(
            may("H99.VH", Right::Audit, None, date(2025, 7, 1)) && may("H99.VH", Right::Audit, None, date(2025, 9, 30))
        );
        assert!(
            !may("H99.VH", Right::Audit, None, date(2025, 6, 30))
                && !may("H99.VH", Right::Audit, None, date(2025, 10, 1))
        );
    }

    #[test]
    fn the_parties_with_a_right_come_in_the_order_of_identifiers() {
        let registry = registry();
        let with = |right, day| registry.parties_with(right, day).map(PartyId::as_str).collect::<Vec<_>>();
        assert_eq!(with(Right::Submit, DAY), ["H99.101", "H99.102", "H99.104", "H99.CDV", "H99.TT"]);
        assert_eq!(with(Right::Submit, date(2025, 9, 1)), ["H99.101", "H99.102", "H99.CDV", "H99.TT"]);
        assert_eq!(with(Right::Subscribe, DAY), ["H99.CDV"]);
        assert_eq!(with(Right::Support, DAY), ["H99.BD.001"]);
        assert!(with(Right::Audit, date(2025, 10, 1)).is_empty());
    }

    #[test]
    fn a_system_acts_for_its_parties_and_what_they_have_taken_over() {
        let registry = registry();
        let acts = |system, who, day| registry.acts_for(registry.system(system, day).unwrap(), &party(who), day);
        let (before, after) = (date(2025, 6, 30), date(2025, 7, 1));
        assert!(acts("cong-an", "H99.CA", DAY) && acts("cong-an", "H99.CA.101", DAY));
        assert!(!acts("cong-an", "H99.101", DAY));
        assert!(acts("mot-cua-cu", "H99.103", before) && !acts("mot-cua-binh", "H99.103", before));
        assert!(acts("mot-cua-binh", "H99.103", after) && !acts("mot-cua-cu", "H99.103", after));
        assert!(!acts("buu-chinh", "H99.BD.777", DAY), "a pattern does not invent parties");
        assert!(registry.system("da-nghi", before).is_some() && registry.system("da-nghi", after).is_none());
        let binh = registry.system("mot-cua-binh", after).unwrap();
        let parties: Vec<&str> = registry.parties_of_system(binh, after).map(PartyId::as_str).collect();
        assert_eq!(parties, ["H99.102", "H99.103"]);
    }

    #[test]
    fn a_procedure_says_why_it_is_not_there() {
        let registry = registry();
        let why = |code| registry.procedure(&procedure(code), DAY).unwrap_err();
        assert_eq!(why("1.000004"), NoProcedure::Abolished { successor: Some(procedure("1.000001")) });
        assert_eq!(why("1.000005"), NoProcedure::NotYet { from: date(2026, 1, 1) });
        assert_eq!(why("1.999999"), NoProcedure::Unknown);
    }

    #[test]
    fn the_version_of_the_day_counts() {
        let registry = registry();
        let limit = |day| registry.procedure(&procedure("1.000009"), day).unwrap().limit(None, IntakeChannel::Direct);
        assert_eq!(limit(date(2025, 7, 31)), Limit::WorkingDays(10));
        assert_eq!(limit(date(2025, 8, 1)), Limit::WorkingDays(5));
    }

    #[test]
    fn the_narrowest_limit_wins() {
        let registry = registry();
        let found = registry.procedure(&procedure("1.000003"), DAY).unwrap();
        let (home, works) = (case("nha-o"), case("cong-trinh"));
        for (case, channel, days) in [
            (None, IntakeChannel::Direct, 20),
            (None, IntakeChannel::Postal, 22),
            (Some(&works), IntakeChannel::Postal, 22),
            (Some(&home), IntakeChannel::Direct, 15),
            (Some(&home), IntakeChannel::Postal, 15),
            (Some(&home), IntakeChannel::Online, 10),
        ] {
            assert_eq!(found.limit(case, channel), Limit::CalendarDays(days), "{case:?} {channel:?}");
        }
    }

    #[test]
    fn compulsory_components_depend_on_the_case() {
        let registry = registry();
        let found = registry.procedure(&procedure("1.000003"), DAY).unwrap();
        let codes = |case: Option<&CaseCode>| {
            found.compulsory_components(case).map(|one| one.code.clone().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(codes(None), ["don"]);
        assert_eq!(codes(Some(&case("nha-o"))), ["don"]);
        assert_eq!(codes(Some(&case("cong-trinh"))), ["don", "ban-ve"]);
        let birth = registry.procedure(&procedure("1.000001"), DAY).unwrap();
        assert_eq!(birth.compulsory_components(None).count(), 1, "published prose is never compulsory");
    }

    #[test]
    fn policies_have_the_defaults_of_the_format() {
        let registry = registry();
        let terms = |code| registry.procedure(&procedure(code), DAY).unwrap().terms(None, IntakeChannel::Direct);
        assert_eq!(terms("1.000001").start, StartPolicy::AtReceipt);
        assert_eq!(terms("1.000001").supplement, SupplementPolicy::Restart);
        assert_eq!(terms("1.000007").start, StartPolicy::AtAuthority);
        assert_eq!(terms("1.000007").supplement, SupplementPolicy::Resume);
        assert_eq!(terms("1.000008").limit, Limit::Unlimited);
    }

    #[test]
    fn an_unknown_party_works_by_the_default_calendar() {
        let registry = registry();
        let saturday = date(2025, 7, 19).at(8, 0, 0, 0);
        let next = |id| registry.calendar_of(&party(id)).next_reception(saturday).unwrap();
        assert_eq!(next("H99.CA.101"), saturday);
        assert_eq!(next("H99.CA"), next("H99.77"));
        assert_ne!(next("H99.77"), saturday);
    }

    #[test]
    fn a_number_is_given_from_outside_and_the_digest_input_is_the_files() {
        let registry = registry();
        assert_eq!((registry.version(), registry.clone().with_version(7).version()), (0, 7));
        assert_eq!(registry.files(), &files());
        let comment = Registry::parse(&extended(files(), "units.toml", "\n# x\n")).unwrap();
        assert_ne!(registry.digest_input(), comment.digest_input());
        let input = registry.digest_input();
        assert_eq!(input, registry.with_version(7).digest_input());
    }
}

mod routes {
    use super::*;

    fn ask(what: &str, of: Option<&str>, locality: &str, day: Date) -> Explanation {
        let of = of.map(case);
        route(&registry(), &procedure(what), of.as_ref(), &unit(locality), day)
    }

    fn found(what: &str, of: Option<&str>, locality: &str, day: Date) -> (String, String) {
        let route = ask(what, of, locality, day).outcome.unwrap();
        (route.rule, route.authority.to_string())
    }

    fn pair(rule: &str, authority: &str) -> (String, String) {
        (rule.to_owned(), authority.to_owned())
    }

    #[test]
    fn the_field_beats_the_level_and_the_procedure_beats_the_field() {
        assert_eq!(found("1.000001", None, "99001", DAY), pair("cap-xa", "H99.101"));
        assert_eq!(found("1.000002", None, "99001", DAY), pair("cu-tru", "H99.CA.101"));
        assert_eq!(found("1.000003", None, "99001", DAY), pair("xay-dung", "H99.01"));
        assert_eq!(found("1.000003", Some("nha-o"), "99001", DAY), pair("xay-dung", "H99.01"));
        assert_eq!(found("1.000003", Some("cong-trinh"), "99001", DAY), pair("xay-dung-cong-trinh-xa-an", "H99.CA"));
        assert_eq!(found("1.000003", Some("cong-trinh"), "99002", DAY), pair("xay-dung", "H99.01"));
    }

    #[test]
    fn a_commune_that_merged_still_resolves_for_last_weeks_dossier() {
        assert_eq!(found("1.000001", None, "99003", date(2025, 6, 30)), pair("cap-xa", "H99.103"));
        let after = ask("1.000001", None, "99003", date(2025, 7, 1)).outcome.unwrap_err();
        assert_eq!((after.reason, after.successor.as_deref()), (Reason::UnitCeased, Some("99002")));
    }

    #[test]
    fn a_rule_leads_to_the_successor_of_a_party_that_merged() {
        assert_eq!(found("1.000007", None, "99001", date(2025, 7, 31)), pair("nuoc", "H99.02"));
        assert_eq!(found("1.000007", None, "99001", date(2025, 8, 1)), pair("nuoc", "H99.01"));
    }

    #[test]
    fn a_matter_of_the_whole_province_goes_to_the_province_party_of_the_kind() {
        assert_eq!(found("1.000002", None, "99", DAY), pair("cu-tru", "H99.CA"));
        let none = ask("1.000001", None, "99", DAY).outcome.unwrap_err();
        assert_eq!(none.reason, Reason::NoRoute);
        assert!(none.en.contains("no party of kind \"commune\""), "{}", none.en);
    }

    #[test]
    fn the_reason_there_is_no_route_is_named() {
        for (what, of, locality, reason) in [
            ("1.000006", None, "99001", Reason::NoRoute),
            ("1.999999", None, "99001", Reason::ProcedureUnknown),
            ("1.000004", None, "99001", Reason::ProcedureAbolished),
            ("1.000005", None, "99001", Reason::ProcedureNotYetInForce),
            ("1.000001", Some("nha-o"), "99001", Reason::CaseUnknown),
            ("1.000001", None, "99999", Reason::UnitUnknown),
            ("1.000001", None, "99003", Reason::UnitCeased),
        ] {
            assert_eq!(ask(what, of, locality, DAY).outcome.unwrap_err().reason, reason, "{what} {of:?} {locality}");
        }
        let abolished = ask("1.000004", None, "99001", DAY).outcome.unwrap_err();
        assert_eq!(abolished.successor.as_deref(), Some("1.000001"));
    }

    #[test]
    fn the_explanation_names_the_winner_first_and_every_rule_once() {
        let explained = ask("1.000002", None, "99001", DAY);
        let rules: Vec<(&str, bool)> = explained.steps.iter().map(|step| (step.rule.as_str(), step.matched)).collect();
        assert_eq!(
            rules,
            [
                ("cu-tru", true),
                ("cap-xa", true),
                ("xay-dung", false),
                ("xay-dung-cong-trinh-xa-an", false),
                ("nuoc", false),
            ]
        );
        assert_eq!(explained.steps[0].why_en, "applies: by field; the authority is H99.CA.101 (basis: nghị định mẫu)");
        assert_eq!(explained.steps[1].why_vi, "khớp nhưng kém cụ thể hơn (theo cấp thực hiện) quy tắc cu-tru");
        let other_case = ask("1.000003", Some("nha-o"), "99001", DAY);
        assert!(other_case.steps.iter().any(|step| step.why_en == "is for another case"));
    }

    #[test]
    fn a_desk_is_non_territorial_when_its_own_unit_lies_outside() {
        let registry = registry();
        for (desk, authority, expected) in [
            ("H99.101", "H99.101", false),
            ("H99.101", "H99.102", true),
            ("H99.101", "H99.CA.101", false),
            ("H99.101", "H99.01", false),
            ("H99.TT", "H99.101", true),
            ("H99.TT", "H99.01", false),
            ("H99.CDV", "H99.101", false),
            ("H99.101", "H99.VH", false),
        ] {
            let crosses = registry.is_non_territorial(&party(desk), &party(authority), DAY);
            assert_eq!(crosses, expected, "{desk} for {authority}");
        }
    }
}

mod problems {
    use super::*;

    fn problems(files: &Files) -> Vec<Problem> {
        Registry::parse(files).expect_err("these files are broken")
    }

    fn kinds(problems: &[Problem]) -> BTreeSet<ProblemKind> {
        problems.iter().map(|problem| problem.kind).collect()
    }

    /// Entries that cannot be read, in six of the files.
    fn unreadable() -> Files {
        let mut files = files();
        files.remove("systems.toml");
        files.insert("ghi-chu.txt".to_owned(), Vec::new());
        let files = edited(files, "calendars.toml", "days_of = \"default\"", "days_of = default");
        let files = edited(files, "parties.toml", "id = \"H99.01\"", "id = \"h99.01\"");
        let files = edited(files, "parties.toml", "name = \"Cổng dịch vụ công\", ", "");
        let files = edited(files, "units.toml", "valid_to = 2025-08-31", "valid_too = 2025-08-31");
        let files = edited(files, "units.toml", "name = \"Xã An\"", "name = 99");
        let files = edited(
            files,
            "procedures.toml",
            "limit = \"5wd\"\n\n# Tính",
            "limit = [{ channel = \"online\", limit = \"5wd\" }]\n\n# Tính",
        );
        let files = edited(files, "grants.toml", "party = \"H99.01\"", "party = \"H99.01\"\nkind = \"department\"");
        edited(files, "grants.toml", "valid_to = 2025-09-30", "valid_to = 2025-06-30")
    }

    /// Entries that can be read and do not fit together.
    fn contradictory() -> Files {
        let files =
            edited(files(), "parties.toml", "name = \"Sở Không Quyền\"", "name = \"Sở Lạ\", successor = \"H99.01\"");
        let files = edited(
            files,
            "parties.toml",
            "id = \"H99.CA.102\"",
            "id = \"H99.CA.102\", valid_to = 2025-08-31, successor = \"H99.CA.102\"",
        );
        let files = edited(
            files,
            "parties.toml",
            "unit = \"99001\", calendar = \"police\"",
            "unit = \"99001\", territory = [\"99001\", \"99002\"]",
        );
        let files = edited(files, "units.toml", "name = \"Xã Bình\", parent = \"99\"", "name = \"Xã Bình\"");
        let files = edited(files, "procedures.toml", "valid_from = 2025-08-01", "valid_from = 2025-07-31");
        let files =
            edited(files, "calendars.toml", "saturday_morning = \"07:00-11:30\"", "saturday_morning = \"11:30-07:00\"");
        let files = edited(files, "systems.toml", "acts_for = [\"H99.TTO\"]", "acts_for = [\"H99.TTO.*\", \"H99.77\"]");
        let mut files = edited(files, "systems.toml", "name = \"da-nghi\"", "name = \"mot-cua\"");
        let service = "[[service]]\nname = \"s\"\nversion = 1\nowner = \"H99.VH\"\ntitle = \"T\"\npurposes = [\"p\"]\n\
                       timeout_ms = 1\nrequest = \"s.schema.json\"\nreply = \"s.schema.json\"\n";
        files.insert("services.toml".to_owned(), service.as_bytes().to_vec());
        files.insert("s.schema.json".to_owned(), b"{\"type\":\"array\"}".to_vec());
        extended(
            files,
            "routes.toml",
            "[[route]]\nid = \"ngang\"\nfields = [\"Cư trú\"]\nauthority = \"H99.CA\"\n\
             [[route]]\nid = \"thua\"\nfields = [\"Cư trú\"]\nlevel = \"ministry\"\nauthority = \"H99.01\"\n\
             [[route]]\nid = \"khong-quyen\"\nprocedures = [\"1.000008\"]\nauthority = \"H99.09\"\n\
             [[route]]\nid = \"khong-ai\"\nprocedures = [\"1.000009\"]\nauthority_of_unit = \"land-office\"\n",
        )
    }

    #[test]
    fn every_kind_of_problem_is_found_and_all_of_one_registry_at_once() {
        let (unreadable, contradictory) = (problems(&unreadable()), problems(&contradictory()));
        let (first, second) = (kinds(&unreadable), kinds(&contradictory));
        let expected_first = [
            ProblemKind::UnknownFile,
            ProblemKind::MissingFile,
            ProblemKind::Syntax,
            ProblemKind::UnknownKey,
            ProblemKind::MissingKey,
            ProblemKind::WrongType,
            ProblemKind::Malformed,
            ProblemKind::Contradiction,
            ProblemKind::NeverValid,
            ProblemKind::Limit,
        ];
        let expected_second = [
            ProblemKind::Duplicate,
            ProblemKind::Overlap,
            ProblemKind::UnknownReference,
            ProblemKind::SuccessorCycle,
            ProblemKind::SuccessorWithoutEnd,
            ProblemKind::UnitTree,
            ProblemKind::Calendar,
            ProblemKind::Schema,
            ProblemKind::PatternMatchesNothing,
            ProblemKind::AmbiguousAuthority,
            ProblemKind::NoAuthority,
            ProblemKind::AuthorityWithoutGrant,
            ProblemKind::TiedRoutes,
            ProblemKind::RouteNeverWins,
        ];
        assert!(first.is_superset(&expected_first.into()), "{unreadable:#?}");
        assert!(second.is_superset(&expected_second.into()), "{contradictory:#?}");
        assert_eq!(first.union(&second).count(), ProblemKind::ALL.len());
    }

    #[test]
    fn every_problem_speaks_both_languages_and_says_where() {
        for problem in problems(&unreadable()).into_iter().chain(problems(&contradictory())) {
            assert!(!problem.vi.is_empty() && !problem.en.is_empty() && problem.vi != problem.en, "{problem}");
            assert!(!problem.file.is_empty());
            assert!(problem.line.is_none() || problem.line > Some(0));
        }
    }

    /// One slip, one problem, in its place: nothing is reported twice, and nothing else is blamed.
    #[test]
    fn a_slip_is_one_problem_on_its_line() {
        use ProblemKind::*;
        let slips: &[(&str, &str, &str, ProblemKind, &str)] = &[
            ("parties.toml", "kind = \"portal\"", "kind = \"gate\"", Malformed, "party[10].kind"),
            (
                "parties.toml",
                "kind = \"portal\", desk = true",
                "kind = \"portal\", desk = \"yes\"",
                WrongType,
                "party[10].desk",
            ),
            (
                "parties.toml",
                "kind = \"operator\" }",
                "kind = \"operator\", calendar = \"lunar\" }",
                UnknownReference,
                "party[14].calendar",
            ),
            (
                "parties.toml",
                "territory = [\"99002\", \"99003\"",
                "territory = [\"99002\", \"99009\"",
                UnknownReference,
                "party[8].territory",
            ),
            (
                "parties.toml",
                "unit = \"99001\", desk = true",
                "unit = \"99001\", desk = true, own_numbers_from = 5000",
                Contradiction,
                "party[0].own_numbers_from",
            ),
            (
                "parties.toml",
                "kind = \"payment\" }",
                "kind = \"payment\", own_numbers_from = 50001 }",
                Contradiction,
                "party[11].own_numbers_from",
            ),
            (
                "parties.toml",
                "unit = \"99001\", desk = true",
                "unit = \"99001\", desk = true, own_numbers_from = \"50001\"",
                WrongType,
                "party[0].own_numbers_from",
            ),
            ("units.toml", "name = \"Tỉnh Mẫu\"", "name = \"Tỉnh Mẫu\", parent = \"99\"", UnitTree, "unit[0].parent"),
            ("units.toml", "successor = \"99002\"", "successor = \"99009\"", UnknownReference, "unit[3].successor"),
            ("procedures.toml", "amount_vnd = 20000", "amount_vnd = -1", WrongType, "procedure[1].fee[0].amount_vnd"),
            (
                "procedures.toml",
                "{ limit = \"20d\" }",
                "{ limit = \"20 ngày\" }",
                Malformed,
                "procedure[2].limit[0].limit",
            ),
            (
                "procedures.toml",
                "{ channel = \"postal\", limit = \"22d\" }",
                "{ limit = \"22d\" }",
                Limit,
                "procedure[2].limit[1]",
            ),
            (
                "procedures.toml",
                "cases = [\"cong-trinh\"]",
                "cases = [\"nha-tam\"]",
                UnknownReference,
                "procedure[2].component[1].cases",
            ),
            (
                "procedures.toml",
                "{ code = \"to-khai\", name = \"Tờ khai\", compulsory = true }",
                "{ name = \"Tờ khai\", compulsory = true }",
                Contradiction,
                "procedure[0].component[0].compulsory",
            ),
            (
                "procedures.toml",
                "successor = \"1.000001\"",
                "successor = \"1.000099\"",
                UnknownReference,
                "procedure[3].successor",
            ),
            ("procedures.toml", "start = \"authority\"", "start = \"later\"", Malformed, "procedure[6].start"),
            ("routes.toml", "basis = \"nghị định mẫu\"", "authority = \"H99.CA\"", Contradiction, "route[1]"),
            (
                "routes.toml",
                "fields = [\"Cư trú\"]",
                "fields = [\"Cư trú\", \"Cu tru\"]",
                UnknownReference,
                "route[1].fields",
            ),
            ("routes.toml", "case = \"cong-trinh\"", "case = \"nha-tam\"", UnknownReference, "route[3].case"),
            ("routes.toml", "id = \"nuoc\"", "id = \"cap-xa\"", Duplicate, "route[4].id"),
            ("grants.toml", "right = \"audit\"", "right = \"look\"", Malformed, "grant[14].right"),
            (
                "grants.toml",
                "party = \"H99.TTO\"\nright = \"payment\"\nprocedures = \"any\"",
                "party = \"H99.TTO\"\nright = \"payment\"",
                MissingKey,
                "grant[10]",
            ),
            (
                "grants.toml",
                "right = \"audit\"",
                "right = \"audit\"\nfields = [\"Cư trú\"]",
                Contradiction,
                "grant[14]",
            ),
            ("grants.toml", "owner = \"H99.CA\"", "owner = \"H99.77\"", UnknownReference, "grant[6].owner"),
            (
                "grants.toml",
                "[\"H99.CA\", \"H99.CA.*\"]",
                "[\"H99.CA\", \"H99.CA.*\", \"H99.CB.*\"]",
                PatternMatchesNothing,
                "grant[6].parties",
            ),
            ("systems.toml", "name = \"van-hanh\"", "name = \"Vận hành\"", Malformed, "system[8].name"),
            ("calendars.toml", "years = [2025, 2026]\nhours", "years = [2025, 2027]\nhours", Calendar, "calendar[0]"),
            ("calendars.toml", "2026-01-02", "2026-01-01", Duplicate, "calendar[0].days[3].date"),
            ("calendars.toml", "days_of = \"default\"", "days_of = \"lunar\"", UnknownReference, "calendar[1].days_of"),
            ("calendars.toml", "date = 2026-01-10", "date = 2026-02-30", Syntax, ""),
        ];
        for (file, from, to, kind, path) in slips {
            let broken = edited(files(), file, from, to);
            let found = problems(&broken);
            let text = String::from_utf8(files()[*file].clone()).unwrap();
            let at = text[..text.find(from).unwrap()].matches('\n').count() + 1;
            let [problem] = found.as_slice() else { panic!("{to}: {found:#?}") };
            assert_eq!((problem.kind, problem.path.as_str()), (*kind, *path), "{to}: {problem}");
            // An entry is blamed where it begins, at most four lines above; a key on the lines that were replaced.
            let lines =
                if path.ends_with(']') { at.saturating_sub(4)..=at } else { at..=at + to.matches('\n').count() };
            assert!(lines.contains(&(problem.line.unwrap() as usize)), "{problem} should be on line {at}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_blames_nobody_for_referring_to_it() {
        let mut files = files();
        files.insert("units.toml".to_owned(), b"unit = [".to_vec());
        let found = problems(&files);
        assert!(
            found.iter().all(|problem| problem.kind == ProblemKind::Syntax && problem.file == "units.toml"),
            "{found:#?}"
        );
    }

    #[test]
    fn a_registry_needs_parties_systems_and_a_calendar_and_nothing_else() {
        let found = problems(&Files::new());
        let missing: Vec<(&str, ProblemKind)> = found.iter().map(|one| (one.file.as_str(), one.kind)).collect();
        assert_eq!(
            missing,
            [
                ("parties.toml", ProblemKind::MissingFile),
                ("systems.toml", ProblemKind::MissingFile),
                ("calendars.toml", ProblemKind::UnknownReference),
            ]
        );
        let smallest = [
            ("parties.toml", "[[party]]\nid = \"H99.01\"\nname = \"Sở\"\nkind = \"department\"\n"),
            ("systems.toml", "[[system]]\nname = \"so\"\ndescription = \"Sở\"\nacts_for = [\"H99.01\"]\n"),
            ("calendars.toml", "[[calendar]]\nid = \"default\"\nname = \"Lịch\"\nyears = [2025]\n"),
        ];
        let smallest = smallest.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
        assert!(Registry::parse(&smallest).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_bytes_make_the_parser_panic(index in 0usize..7, junk in proptest::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>()) {
            let mut files = files();
            let name = files.keys().nth(index).unwrap().clone();
            let content = files.get_mut(&name).unwrap();
            let at = at.index(content.len());
            content.splice(at..at, junk);
            let _ = Registry::parse(&files);
        }
    }
}

mod order {
    use super::*;

    /// A route as the test writes it: how it names its procedures, where, and to whom it leads.
    #[derive(Clone, Debug)]
    struct Written {
        matter: &'static str,
        units: &'static str,
        authority: &'static str,
    }

    /// From the least to the most specific, in the order that the documentation of `routing` gives.
    const MATTERS: [&str; 5] = [
        "level = \"commune\"",
        "fields = [\"Hộ tịch\"]",
        "fields = [\"Hộ tịch\", \"Cư trú\"]\nlevel = \"commune\"",
        "procedures = [\"1.000001\"]",
        "procedures = [\"1.000002\", \"1.000008\"]",
    ];
    const UNITS: [&str; 3] = ["", "units = [\"99\"]", "units = [\"99001\"]"];
    const AUTHORITIES: [&str; 4] = ["H99.01", "H99.02", "H99.CA", "H99.09"];

    fn written() -> impl Strategy<Value = Vec<Written>> {
        let all: Vec<Written> = MATTERS
            .into_iter()
            .flat_map(|matter| UNITS.into_iter().map(move |units| Written { matter, units, authority: "" }))
            .collect();
        let some = proptest::sample::subsequence(all, 1..=15).prop_shuffle();
        let authorities = proptest::collection::vec(proptest::sample::select(&AUTHORITIES[..]), 15);
        (some, authorities).prop_map(|(some, authorities)| {
            let led = some.into_iter().zip(authorities);
            led.map(|(written, authority)| Written { authority, ..written }).collect()
        })
    }

    fn with_routes(routes: &[Written]) -> Files {
        let mut files = extended(
            files(),
            "grants.toml",
            "[[grant]]\nid = \"tat-ca\"\nparty = \"H99.*\"\nright = \"decide\"\nprocedures = \"any\"\nowner = \"H99.VH\"\n",
        );
        let text: Vec<String> = routes
            .iter()
            .map(|route| {
                let Written { matter, units, authority } = route;
                format!("[[route]]\nid = \"{}\"\n{matter}\n{units}\nauthority = \"{authority}\"\n", id(route))
            })
            .collect();
        files.insert("routes.toml".to_owned(), text.join("\n").into_bytes());
        files
    }

    /// Procedures of level commune, one for each way in which the routes above can tell them apart.
    const CODES: [&str; 5] = ["1.000001", "1.000002", "1.000004", "1.000008", "1.000009"];
    /// A day on which all of them are in force.
    const IN_FORCE: Date = date(2025, 6, 30);
    const LOCALITIES: [&str; 3] = ["99001", "99002", "99"];

    fn id(Written { matter, units, .. }: &Written) -> String {
        format!("{matter} {units}").replace(['\n', '"'], " ")
    }

    /// The documented precedence, written down a second time, without dates and cases.
    fn expected<'a>(routes: &'a [Written], code: &str, locality: &str) -> Option<&'a Written> {
        let claims = routes.iter().filter_map(|route| {
            let matter = MATTERS.iter().position(|one| *one == route.matter).unwrap();
            let named = match matter {
                0 => true,
                1 => ["1.000001", "1.000004", "1.000008"].contains(&code),
                2 => code != "1.000009",
                3 => code == "1.000001",
                _ => ["1.000002", "1.000008"].contains(&code),
            };
            let territory = UNITS.iter().position(|one| *one == route.units).unwrap();
            let here = territory < 2 || locality == "99001";
            (named && here).then_some(((matter.min(3), territory), route))
        });
        claims.max_by_key(|(rank, _)| *rank).map(|(_, route)| route)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn the_most_specific_route_wins_whatever_the_order_of_the_file(routes in written()) {
            let matters = || CODES.iter().flat_map(|code| LOCALITIES.iter().map(move |locality| (*code, *locality)));
            let winners: BTreeSet<String> =
                matters().filter_map(|(code, locality)| expected(&routes, code, locality)).map(id).collect();
            let losers: BTreeSet<String> = routes.iter().map(id).filter(|id| !winners.contains(id)).collect();
            match Registry::parse(&with_routes(&routes)) {
                Ok(registry) => {
                    prop_assert!(losers.is_empty(), "{losers:?} never win");
                    for (code, locality) in matters() {
                        let found = route(&registry, &procedure(code), None, &unit(locality), IN_FORCE).outcome.ok();
                        let expected = expected(&routes, code, locality).map(|route| (id(route), party(route.authority)));
                        prop_assert_eq!(found.map(|route| (route.rule, route.authority)), expected);
                    }
                }
                Err(problems) => {
                    prop_assert!(problems.iter().all(|one| one.kind == ProblemKind::RouteNeverWins), "{problems:?}");
                    prop_assert_eq!(problems.len(), losers.len());
                    prop_assert!(losers.iter().all(|loser| problems.iter().any(|one| one.en.contains(loser))));
                }
            }
        }

        #[test]
        fn the_order_of_entries_changes_nothing(shift in 1usize..5) {
            let text = String::from_utf8(files()["routes.toml"].clone()).unwrap();
            let mut blocks: Vec<&str> = text.split_inclusive("\n\n").filter(|block| block.contains("[[route]]")).collect();
            blocks.rotate_left(shift);
            let mut turned = files();
            turned.insert("routes.toml".to_owned(), blocks.join("\n").into_bytes());
            prop_assert!(diff(&registry(), &Registry::parse(&turned).unwrap()).is_empty());
        }
    }
}

mod changes {
    use super::*;

    #[test]
    fn a_registry_does_not_differ_from_itself_nor_by_a_comment() {
        assert!(diff(&registry(), &registry()).is_empty());
        let comment = Registry::parse(&extended(files(), "parties.toml", "\n# ghi chú\n")).unwrap();
        assert!(diff(&registry(), &comment).is_empty());
    }

    #[test]
    fn what_is_added_changed_and_removed_is_told_with_its_values() {
        let changed = edited(files(), "procedures.toml", "limit = \"same-day 15:00\"", "limit = \"2wd\"");
        let changed = edited(changed, "parties.toml", "name = \"Sở Đất\"", "name = \"Sở Đất và Nước\"");
        let changed = edited(changed, "grants.toml", "valid_to = 2025-09-30", "");
        let changed =
            edited(changed, "systems.toml", "acts_for = [\"H99.CDV\"]", "acts_for = [\"H99.CDV\", \"H99.TTO\"]");
        let changed =
            edited(changed, "calendars.toml", "{ date = 2025-09-01, kind = \"holiday\", name = \"Quốc khánh\" },", "");
        let changed = edited(
            changed,
            "units.toml",
            "  { code = \"99004\"",
            "  { code = \"99005\", name = \"Xã Mới\", parent = \"99\", valid_from = 2030-01-01, valid_to = 2030-01-01 },\n  { code = \"99004\"",
        );
        let changed = edited(changed, "routes.toml", "basis = \"nghị định mẫu\"\n", "");
        // No land office and no commune exist for that one day, and a route that leads nowhere would be refused.
        let changed = edited(
            changed,
            "parties.toml",
            "territory = [\"99002\", \"99003\", \"99004\"]",
            "territory = [\"99002\", \"99003\", \"99004\", \"99005\"]",
        );
        let changed = edited(
            changed,
            "parties.toml",
            "unit = \"99002\", desk = true }",
            "unit = \"99002\", territory = [\"99002\", \"99005\"], desk = true }",
        );
        let changed = Registry::parse(&changed).unwrap();
        let changes = diff(&registry(), &changed);
        let told: Vec<(ChangeKind, &str, &str, &str)> =
            changes.iter().map(|one| (one.kind, one.entity, one.id.as_str(), one.summary.as_str())).collect();
        use ChangeKind::*;
        assert_eq!(told[0], (Changed, "party", "H99.01", "name: Sở Đất → Sở Đất và Nước"));
        assert!(told.contains(&(Changed, "procedure", "1.000001", "limit: same-day 15:00 → 2wd")));
        assert!(told.contains(&(Changed, "grant", "kiem-tra", "valid_to: 2025-09-30 → –")));
        assert!(told.contains(&(Changed, "system", "cong-dich-vu", "acts_for: H99.CDV → H99.CDV, H99.TTO")));
        assert!(told.contains(&(Changed, "route", "cu-tru", "basis: nghị định mẫu → –")));
        let new = "name = Xã Mới; parent = 99; valid_from = 2030-01-01; valid_to = 2030-01-01";
        assert!(told.contains(&(Added, "unit", "99005", new)), "{told:#?}");
        assert!(told.iter().any(|(kind, entity, id, _)| (*kind, *entity, *id) == (Changed, "calendar", "police")));
        let back = diff(&changed, &registry());
        assert_eq!(back.len(), changes.len());
        assert!(back.iter().any(|one| one.kind == Removed && one.id == "99005"));
    }
}
