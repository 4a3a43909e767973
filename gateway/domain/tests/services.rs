//! Data services in the registry: what they declare, what is refused of them, and what grants may name of them.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use jiff::civil::{Date, date};
use lgsp_domain::registry::{ChangeKind, Names, NoService, Problem, ProblemKind, Registry, Wanted, diff};
use lgsp_proto::Reason;
use lgsp_proto::types::{PartyId, ProcedureCode};

const DAY: Date = date(2025, 7, 14);

type Files = BTreeMap<String, Vec<u8>>;

macro_rules! fixture {
    ($folder:literal: $($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("fixtures/", $folder, "/", $name)))),*]
    };
}

/// The invented province without its services.
fn bare() -> Files {
    let files = fixture!("registry": "parties.toml", "units.toml", "procedures.toml", "routes.toml", "grants.toml",
        "systems.toml", "calendars.toml");
    files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}

fn files() -> Files {
    let mut files = bare();
    files.get_mut("grants.toml").unwrap().extend_from_slice(include_bytes!("fixtures/services/grants.toml"));
    let services = fixture!("services": "services.toml", "dan-cu.request.schema.json", "dan-cu.reply.schema.json",
        "dan-cu-2.reply.schema.json", "thua-dat.request.schema.json", "thua-dat.reply.schema.json");
    files.extend(services.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())));
    files
}

/// The files with one text replaced wherever it stands in a file; it must stand there.
fn edited(file: &str, from: &str, to: &str) -> Files {
    let mut files = files();
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert!(text.contains(from), "{from:?} in {file}");
    files.insert(file.to_owned(), text.replace(from, to).into_bytes());
    files
}

/// What is wrong, as kind, file and path.
fn wrong(files: &Files) -> Vec<(ProblemKind, String, String)> {
    let problems = Registry::parse(files).map(drop).unwrap_err();
    let both = |problem: &Problem| problem.en.is_ascii() && !problem.vi.is_ascii();
    assert!(problems.iter().all(both), "{problems:#?}");
    problems.into_iter().map(|problem| (problem.kind, problem.file, problem.path)).collect()
}

fn party(text: &str) -> PartyId {
    text.parse().unwrap()
}

#[test]
fn whoever_names_no_version_gets_the_newest_in_force_and_old_and_new_stand_side_by_side() {
    let registry = Registry::parse(&files()).unwrap();
    let version = |wanted, day| registry.service("dan-cu", wanted, day).map(|service| service.version);
    assert_eq!(version(None, DAY), Ok(1));
    assert_eq!(version(None, date(2025, 10, 1)), Ok(2));
    assert_eq!(version(Some(1), date(2025, 10, 1)), Ok(1));
    let refused = NoService { name: "dan-cu".into(), version: Some(1) };
    assert_eq!(version(Some(1), date(2026, 1, 1)), Err(refused.clone()));
    assert_eq!(refused.refusal().reason(), Reason::ServiceUnknown);
    assert!(registry.service("dan-cu-x", None, DAY).is_err());
}

#[test]
fn the_fields_of_a_service_are_the_leaves_of_its_reply_and_a_grant_opens_those_it_names() {
    let registry = Registry::parse(&files()).unwrap();
    let service = registry.service("dan-cu", None, DAY).unwrap();
    assert_eq!(service.reply.fields().len(), 6);
    let aid: ProcedureCode = "1.000009".parse().unwrap();
    let wanted = Wanted { service: "dan-cu", purpose: "doi-chieu", fields: &[], procedure: Some(&aid) };
    let may = |who: &str| registry.may_call(&party(who), wanted, DAY).unwrap().fields;
    let told: Vec<String> = service.fields_among(&may("H99.101")).into_iter().collect();
    assert_eq!(told, ["children.full_name", "full_name", "residence.commune_code"]);
    assert_eq!(may("H99.TT"), Names::Any);
    assert_eq!(service.fields_among(&Names::Any), *service.reply.fields());
    let newer = registry.service("dan-cu", Some(2), date(2025, 10, 1)).unwrap();
    assert_eq!(newer.fields_among(&may("H99.101")).into_iter().collect::<Vec<_>>(), ["full_name"]);
}

#[test]
fn a_grant_that_names_an_unknown_service_purpose_or_field_is_a_problem_of_the_registry() {
    let unknown = |from: &str, to: &str| wrong(&edited("grants.toml", from, to));
    let at = |key: &str, grant: usize| {
        vec![(ProblemKind::UnknownReference, "grants.toml".to_owned(), format!("grant[{grant}].{key}"))]
    };
    let first = unknown("service = \"thua-dat\"", "service = \"thua-rung\"");
    let number = first[0].2.trim_start_matches("grant[").split(']').next().unwrap().parse::<usize>().unwrap();
    assert_eq!(first, at("service", number));
    assert_eq!(unknown("[\"tham-dinh\"]", "[\"tham-dinh\", \"to-mo\"]"), at("purposes", number));
    assert_eq!(unknown("\"residence.commune_code\"", "\"residence\", \"is_alive\""), at("fields", number - 2));
}

#[test]
fn a_registry_from_before_there_were_services_may_grant_the_call_of_any() {
    let mut files = bare();
    files.get_mut("grants.toml").unwrap().extend_from_slice(include_bytes!("fixtures/services/grants.toml"));
    let registry = Registry::parse(&files).unwrap();
    assert!(registry.services().is_empty() && registry.service("dan-cu", None, DAY).is_err());
    files.insert("services.toml".into(), Vec::new());
    assert_eq!(wrong(&files).len(), 3);
}

#[test]
fn a_schema_that_is_not_there_or_not_one_is_told_with_its_place() {
    let place = |problems: Vec<(ProblemKind, String, String)>| {
        problems.into_iter().map(|(kind, file, path)| (kind, format!("{file} {path}"))).collect::<Vec<_>>()
    };
    let schema = edited("dan-cu.reply.schema.json", "\"type\": \"array\"", "\"type\": \"array\", \"contains\": {}");
    let at = "dan-cu.reply.schema.json /properties/children/contains";
    assert_eq!(place(wrong(&schema)), [(ProblemKind::Schema, at.to_owned())]);
    // One file of two services is told of once.
    let shared = edited("dan-cu.request.schema.json", "\"type\": \"object\"", "\"type\": \"thing\"");
    assert_eq!(place(wrong(&shared)), [(ProblemKind::Schema, "dan-cu.request.schema.json /type".to_owned())]);
    let mut missing = files();
    missing.remove("thua-dat.reply.schema.json");
    let at = "services.toml service[2].reply".to_owned();
    assert_eq!(place(wrong(&missing)), [(ProblemKind::UnknownReference, at)]);
    let mut surplus = files();
    surplus.insert("cu.schema.json".into(), b"{}".to_vec());
    assert_eq!(place(wrong(&surplus)), [(ProblemKind::UnknownFile, "cu.schema.json ".to_owned())]);
}

#[test]
fn a_service_that_contradicts_itself_is_refused() {
    let of = |from: &str, to: &str| {
        wrong(&edited("services.toml", from, to)).into_iter().map(|(kind, _, path)| (kind, path)).collect::<Vec<_>>()
    };
    let one = |kind, path: &str| vec![(kind, path.to_owned())];
    let unbound = of("concurrency = 4\nneeds = [\"dossier\", \"procedure\", \"actor\"]", "needs = [\"dossier\"]");
    assert_eq!(unbound, one(ProblemKind::Contradiction, "service[0].needs"));
    let subject = "needs = [\"dossier\", \"procedure\", \"actor\"]\nsubject = [\"personal_number\"]\nvalid_from";
    let named = of(subject, &subject.replace("personal_number", "number"));
    assert_eq!(named, one(ProblemKind::UnknownReference, "service[1].subject"));
    assert_eq!(of("version = 2", "version = 1"), one(ProblemKind::Duplicate, "service[1].version"));
    assert_eq!(of("owner = \"H99.01\"", "owner = \"H99.77\""), one(ProblemKind::UnknownReference, "service[2].owner"));
    let kept = of("timeout_ms = 20000", "timeout_ms = 20000\ncache_s = 60");
    assert_eq!(kept, one(ProblemKind::Contradiction, "service[0].cache_s"));
    let slow = of("[\"tham-dinh\"]\ntimeout_ms = 2000", "[\"tham-dinh\"]\ntimeout_ms = 60000");
    assert!(slow.contains(&(ProblemKind::Malformed, "service[2].timeout_ms".to_owned())), "{slow:?}");
    let idle = of("[\"tham-dinh\"]", "[]");
    assert!(idle.contains(&(ProblemKind::MissingKey, "service[2].purposes".to_owned())), "{idle:?}");
}

#[test]
fn what_changes_about_a_service_is_shown_before_it_applies() {
    let (before, after) = (
        Registry::parse(&files()).unwrap(),
        Registry::parse(&edited("thua-dat.reply.schema.json", "\"use\"", "\"purpose\"")).unwrap(),
    );
    let changes = diff(&before, &after);
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((change.kind, change.entity, change.id.as_str()), (ChangeKind::Changed, "service", "thua-dat/1"));
    assert!(change.summary.contains("area_m2, use → ") && change.summary.contains("area_m2, purpose"), "{change:?}");
    let new = diff(&Registry::parse(&bare()).unwrap(), &before);
    assert_eq!(new.iter().filter(|change| change.entity == "service").count(), 3);
}
