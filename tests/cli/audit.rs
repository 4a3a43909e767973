//! Who administered what, as an operator asks for it at the command line.

use serde_json::{Value, json};

use super::gateway::begin;
use super::support::{Place, eventually};

fn listed(place: &Place, words: &[&str]) -> Vec<Value> {
    let all = [&["audit", "list", "--json", "--profile", "operator.toml"], words].concat();
    place.lgsp(&all).json()["entries"].as_array().unwrap().clone()
}

#[test]
fn an_operator_sees_who_administered_what_and_a_desk_does_not() {
    let (place, gateway) = begin();
    let first = listed(&place, &["--kind", "registry-applied"]);
    assert_eq!((first.len(), &first[0]["actor"], &first[0]["facts"]["version"]), (1, &json!("bootstrap"), &json!("1")));
    assert_eq!(listed(&place, &["--by", "bootstrap", "--since", "1h", "--about", "registry"]), first);
    assert_eq!(listed(&place, &["--until", "1h"]), [] as [Value; 0]);

    // A backup says so by itself, before anything is copied.
    place.lgsp(&["backup", "--config", "gateway.toml", "--to", "backup"]).ok();
    eventually("the backup is on record", || listed(&place, &["--kind", "exported"]).len() == 1);
    let newest = &listed(&place, &["--limit", "1"])[0];
    assert_eq!((&newest["kind"], &newest["subject"]), (&json!("exported"), &json!("backup")));

    let told = |lang: &str, more: &[&str]| {
        place.lgsp(&[&["--lang", lang, "audit", "list", "--profile", "operator.toml"], more].concat()).ok()
    };
    let (vietnamese, english) = (told("vi", &[]), told("en", &[]));
    assert!(
        vietnamese.starts_with("Vị trí") && vietnamese.contains("áp dụng sổ đăng ký  registry (1)"),
        "{vietnamese}"
    );
    assert!(english.starts_with("Position") && english.contains("books copied out"), "{english}");
    assert!(english.lines().all(|line| line.chars().count() <= 100), "{english}");
    let (all, in_full) = (listed(&place, &["--all"]).len(), told("en", &["--details"]));
    assert_eq!(english.lines().count(), 1 + all);
    assert!(in_full.contains(newest["facts"]["identity"].as_str().unwrap()), "{in_full}");

    let refused = place.lgsp(&["audit", "list", "--profile", "desk.toml"]).failed(3);
    assert!(refused.contains("GRANT_MISSING") && refused.contains("audit"), "{refused}");
    let unknown = place.lgsp(&["audit", "list", "--kind", "erased", "--profile", "operator.toml"]).failed(2);
    assert!(unknown.contains("dossier-erased"), "{unknown}");
    assert!(gateway.stop().success());
}
