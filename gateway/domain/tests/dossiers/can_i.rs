//! Whether somebody may do something: every condition, in order, with what meets it or whom to ask.

use lgsp_domain::can_i::{Act, Call, Condition, Outcome, Question, Step, can_i};
use lgsp_domain::registry::{Registry, Right};
use lgsp_proto::types::{Date, ProcedureCode};

use super::support::*;

fn today() -> Date {
    at(MORNING).date()
}

fn ask(registry: &Registry, system: &str, who: &str, act: Option<Act<'_>>) -> Vec<Step> {
    can_i(registry, &Question { system, party: &party(who), act }, today())
}

fn act(right: Right, procedure: Option<&ProcedureCode>) -> Option<Act<'_>> {
    Some(Act { right, procedure, dossier: None, call: None })
}

/// What meets each condition, or the reason and whom to ask.
fn told(steps: &[Step]) -> Vec<(Condition, String)> {
    let one = |step: &Step| match &step.outcome {
        Outcome::Met { by } => by.clone(),
        Outcome::Missing { reason, owner } => {
            format!("{reason} {}", owner.as_ref().map_or("nobody", |owner| owner.id.as_str()))
        }
    };
    steps.iter().map(|step| (step.condition, one(step))).collect()
}

fn pairs(expected: &[(Condition, &str)]) -> Vec<(Condition, String)> {
    expected.iter().map(|(condition, text)| (*condition, (*text).to_owned())).collect()
}

#[test]
fn what_is_allowed_names_the_entries_it_is_allowed_by() {
    let code: ProcedureCode = ORDINARY.parse().unwrap();
    let steps = ask(&registry(), "mot-cua", COMMUNE, act(Right::Submit, Some(&code)));
    assert!(steps.iter().all(Step::is_met));
    let expected = [
        (Condition::System, "systems.toml: mot-cua"),
        (Condition::ActsFor, "systems.toml: mot-cua, acts_for H99.101"),
        (Condition::PartyInForce, "parties.toml: H99.101"),
        (Condition::ProcedureInForce, "procedures.toml: 1.000009"),
        (Condition::Grant, "grants.toml: xa-tiep-nhan"),
    ];
    assert_eq!(told(&steps), pairs(&expected));
    assert_eq!(told(&ask(&registry(), "mot-cua", COMMUNE, None)), pairs(&expected[..3]));
}

#[test]
fn every_missing_condition_names_the_refusal_and_whom_to_ask() {
    let code: ProcedureCode = ABOLISHED.parse().unwrap();
    let steps = ask(&registry(), "la", MERGED_COMMUNE, act(Right::Submit, Some(&code)));
    assert_eq!(
        told(&steps),
        pairs(&[
            (Condition::System, "SYSTEM_UNKNOWN H99.VH"),
            (Condition::ActsFor, "ACTS_FOR_MISSING H99.VH"),
            (Condition::PartyInForce, "PARTY_UNKNOWN H99.VH"),
            (Condition::ProcedureInForce, "PROCEDURE_ABOLISHED H99.VH"),
            (Condition::Grant, "GRANT_MISSING H99.VH"),
        ])
    );
    let police: ProcedureCode = "1.000002".parse().unwrap();
    let steps = ask(&registry(), "so-nganh", SUCCEEDING_DEPARTMENT, act(Right::Decide, Some(&police)));
    assert_eq!(told(&steps)[3..], pairs(&[(Condition::Grant, "GRANT_MISSING H99.CA")]));
    let last = steps.last().unwrap();
    assert_eq!(last.en, "H99.01 lacks the right \"decide\" for the procedure 1.000002");
    assert_eq!(last.vi, "H99.01 chưa có quyền \"decide\" cho thủ tục 1.000002");
}

#[test]
fn the_right_for_a_procedure_is_not_the_role_in_every_dossier_of_it() {
    let dossier = Story::open(&submission(ORDINARY)).dossier;
    let decide = Act { right: Right::Decide, procedure: None, dossier: Some(&dossier), call: None };
    let steps = ask(&registry(), "mot-cua", COMMUNE, Some(decide.clone()));
    let role = format!("{}: competent_authority", dossier.code);
    assert_eq!(told(&steps)[3..], pairs(&[(Condition::Grant, "grants.toml: xa-giai-quyet"), (Condition::Role, &role)]));
    // Another commune holds the same grant, and this dossier is not its own.
    let steps = ask(&registry(), "mot-cua-binh", OTHER_COMMUNE, Some(decide));
    assert_eq!(
        told(&steps)[3..],
        pairs(&[(Condition::Grant, "grants.toml: xa-giai-quyet"), (Condition::Role, "ROLE_MISSING H99.101")])
    );
}

#[test]
fn a_call_names_the_grants_it_is_allowed_by_or_the_fields_that_are_missing() {
    let grant = "[[grant]]\nid = \"hoi-dan-cu\"\nparty = \"H99.101\"\nright = \"call\"\nservice = \"dan-cu-037\"\n\
                 purposes = [\"doi-chieu\"]\nfields = [\"ho-ten\"]\nprocedures = \"any\"\nowner = \"H99.CA\"\n\n";
    let before = "[[grant]]\nid = \"xa-tiep-nhan\"";
    let registry = registry_edited(&[("grants.toml", before, &format!("{grant}{before}"))]);
    let ask_for = |fields: &[String]| {
        let call = Some(Call { service: "dan-cu-037", purpose: "doi-chieu", fields });
        let act = Act { right: Right::Call, procedure: None, dossier: None, call };
        ask(&registry, "mot-cua", COMMUNE, Some(act)).pop().unwrap()
    };
    let step = ask_for(&["ho-ten".to_owned()]);
    assert_eq!(told(&[step]), pairs(&[(Condition::Grant, "grants.toml: hoi-dan-cu")]));
    let step = ask_for(&["ho-ten".to_owned(), "noi-o".to_owned()]);
    assert_eq!(told(std::slice::from_ref(&step)), pairs(&[(Condition::Grant, "GRANT_MISSING H99.CA")]));
    assert!(step.en.contains("for the fields noi-o"), "{}", step.en);
}
