//! What a word means: `lgsp explain`, and the commands that name it when they refuse.

use super::examples::examples;
use super::support::{HUE, Place};

#[test]
fn every_example_of_explain_prints_a_page() {
    let place = Place::new();
    let lines = examples(&place.lgsp(&["explain", "--help"]).ok());
    assert!(lines.len() > 4, "{lines:?}");
    for line in lines {
        assert!(!place.shell(&line).ok().is_empty(), "{line}");
    }
}

#[test]
fn a_word_is_explained_in_both_languages_and_for_programs() {
    let place = Place::new();
    let [en, vi] = ["en", "vi"].map(|lang| place.lgsp(&["explain", "unit-ceased", "--lang", lang]).ok());
    assert!(en.starts_with("UNIT_CEASED (reason)\n") && en.contains("\n  Cause: "), "{en}");
    assert!(vi.starts_with("UNIT_CEASED (lý do từ chối)\n") && vi.contains("\n  Nguyên nhân: "), "{vi}");
    let json = place.lgsp(&["explain", "supplement_requested", "--json"]).json();
    let kinds: Vec<_> = json.as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["event", "status"]);
    assert_eq!(json[0]["cloud_event"], "vn.lgsp.dossier.supplement_requested.v1");
    assert_eq!(json[1]["number"], 5);
    assert!(place.lgsp(&["explain", "clock-ahead"]).ok().starts_with("CLOCK_AHEAD (warning)\n"));
}

#[test]
fn a_word_that_is_none_leads_to_those_that_are() {
    let place = Place::new();
    let told = place.lgsp(&["explain", "GRANT_MISING"]).failed(2);
    assert!(told.contains("GRANT_MISSING"), "{told}");
    let told = place.lgsp(&["explain", "xyzzy", "--lang", "vi"]).failed(2);
    assert!(told.contains("lgsp explain"), "{told}");
}

#[test]
fn a_route_that_is_none_names_the_command_that_explains_it() {
    let place = Place::new();
    let words = ["dossier", "route", "--procedure", "1.999999", "--locality", "19753", "--registry", HUE];
    let ended = place.lgsp(&words);
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert!(ended.out.contains("\nExplained by: lgsp explain PROCEDURE_UNKNOWN\n"), "{}", ended.out);
    let json: serde_json::Value = serde_json::from_str(&place.lgsp(&[&words[..], &["--json"]].concat()).out).unwrap();
    assert_eq!(json["explain"], "lgsp explain PROCEDURE_UNKNOWN");
}
