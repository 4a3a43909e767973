//! Each act with all its fields, and with each field it cannot do without left out in turn, by the domain's own table.

use std::collections::BTreeSet;

use prost_types::Timestamp;

use super::*;

const LATER: Timestamp = Timestamp { seconds: 1_753_063_200, nanos: 0 };

/// One message per kind of entry, complete.
fn complete() -> Vec<Said> {
    let text = || "Thiếu giấy chứng sinh".to_owned();
    let component = v1::Component {
        name: text(),
        document: Some(v1::DocumentRef { sha256: vec![1; 32].into(), size_bytes: 4, ..Default::default() }),
        ..v1::Component::default()
    };
    let paper = v1::Result { name: text(), document: component.document.clone(), ..v1::Result::default() };
    let fee = v1::Fee { code: "LP".into(), name: text(), amount_vnd: 8000 };
    vec![
        Said::Accepted(v1::Accepted { note: text() }),
        Said::Refused(v1::Refused { reason: text() }),
        Said::SupplementRequested(v1::SupplementRequested { reason: text(), items: vec![text()], until: Some(LATER) }),
        Said::SupplementProvided(v1::SupplementProvided { components: vec![component], note: text() }),
        Said::SupplementExpired(v1::SupplementExpired { reason: text() }),
        Said::Withdrawn(v1::Withdrawn { reason: text() }),
        Said::ProcessingStarted(v1::ProcessingStarted { note: text() }),
        Said::FeeRequested(v1::FeeRequested { fees: vec![fee] }),
        Said::FeePaid(v1::FeePaid { payment_reference: "TT-1".into(), amount_vnd: 8000 }),
        Said::Stopped(v1::Stopped { reason: text() }),
        Said::Resolved(v1::Resolved { results: vec![paper.clone(), paper], note: text() }),
        Said::ResultRecalled(v1::ResultRecalled { reason: text() }),
        Said::Returned(v1::Returned { channel: v1::ReturnChannel::Direct.into(), note: text() }),
        Said::Extended(v1::Extended { reason: text(), new_due_at: Some(LATER) }),
        Said::Paused(v1::Paused { cause: v1::PauseCause::Expertise.into(), reason: text() }),
        Said::Resumed(v1::Resumed { cause: v1::PauseCause::Expertise.into() }),
        Said::Progressed(v1::Progressed { step: text(), unit: text(), note: text() }),
    ]
}

/// The same message without one field.
fn without(mut said: Said, requirement: Requirement) -> Said {
    match (&mut said, requirement) {
        (Said::Refused(v1::Refused { reason }), Requirement::Reason)
        | (Said::SupplementRequested(v1::SupplementRequested { reason, .. }), Requirement::Reason)
        | (Said::SupplementExpired(v1::SupplementExpired { reason }), Requirement::Reason)
        | (Said::Withdrawn(v1::Withdrawn { reason }), Requirement::Reason)
        | (Said::Stopped(v1::Stopped { reason }), Requirement::Reason)
        | (Said::ResultRecalled(v1::ResultRecalled { reason }), Requirement::Reason)
        | (Said::Extended(v1::Extended { reason, .. }), Requirement::Reason)
        // Blanks say as little as nothing.
        | (Said::Paused(v1::Paused { reason, .. }), Requirement::Reason) => *reason = " \n".into(),
        (Said::SupplementRequested(asked), Requirement::SupplementUntil) => asked.until = None,
        (Said::FeeRequested(asked), Requirement::Fees) => asked.fees.clear(),
        (Said::FeePaid(paid), Requirement::PaymentReference) => paid.payment_reference.clear(),
        (Said::Resolved(resolved), Requirement::Results) => resolved.results.clear(),
        (Said::Returned(returned), Requirement::ReturnChannel) => returned.channel = 0,
        (Said::Extended(extended), Requirement::NewDue) => extended.new_due_at = None,
        (Said::Paused(v1::Paused { cause, .. }), Requirement::PauseCause)
        | (Said::Resumed(v1::Resumed { cause }), Requirement::PauseCause) => *cause = 0,
        (Said::Progressed(progressed), Requirement::Step) => progressed.step.clear(),
        (said, requirement) => panic!("{said:?} has no field for {requirement:?}"),
    }
    said
}

fn entry(what: Option<Said>) -> v1::Entry {
    v1::Entry {
        request_key: "k-1".into(),
        acting_party: "H57.101".into(),
        actor: "can.bo.1".into(),
        dossier_code: "H57.101-250714-0001".into(),
        expected_sequence: 0,
        occurred_at: Some(LATER),
        what,
    }
}

fn parse(message: &v1::Entry) -> Result<Signed<RecordedEntry>, Refusal> {
    signed(
        v1::RecordRequest {
            entry: message.encode_to_vec().into(),
            signature: bytes::Bytes::new(),
            ..v1::RecordRequest::default()
        },
        None,
    )
}

fn problems(message: &v1::Entry) -> Vec<String> {
    let refusal = parse(message).unwrap_err();
    assert_eq!(refusal.reason(), Reason::FieldInvalid);
    refusal.violations().iter().map(|violation| violation.field.clone()).collect()
}

#[test]
fn every_act_but_submission_can_be_said_and_is_read_as_itself() {
    let mut said: BTreeSet<Act> = BTreeSet::from([Act::Submit]);
    for message in complete() {
        let act = act_of(&message);
        let read = parse(&entry(Some(message))).unwrap();
        assert_eq!(read.content.entry.what.act(), act);
        said.insert(act);
    }
    assert_eq!(said.into_iter().collect::<Vec<_>>(), Act::ALL);
}

#[test]
fn each_field_an_act_cannot_do_without_is_missed_by_its_path() {
    let mut missed = 0;
    for message in complete() {
        let act = act_of(&message);
        for requirement in act.requires() {
            let message = without(message.clone(), *requirement);
            assert_eq!(problems(&entry(Some(message))), [requirement.path(act)]);
            missed += 1;
        }
    }
    assert!(missed > 10, "the table asks for nothing any more");
}

#[test]
fn an_entry_without_anything_is_told_all_it_lacks() {
    let empty = v1::Entry::default();
    assert_eq!(problems(&empty), ["request_key", "acting_party", "actor", "dossier_code", "occurred_at", "what"]);
}

#[test]
fn the_documents_of_results_and_supplements_are_named_by_their_paths() {
    let paths = |at: usize| {
        let read = parse(&entry(Some(complete().swap_remove(at)))).unwrap();
        read.documents.into_iter().map(|document| document.field).collect::<Vec<_>>()
    };
    assert_eq!(paths(10), ["resolved.results[0].document", "resolved.results[1].document"]);
    assert_eq!(paths(3), ["supplement_provided.components[0].document"]);
}

#[test]
fn what_an_act_says_is_checked_for_form() {
    let long = "x".repeat(5000);
    let bad = |what| problems(&entry(Some(what)));
    assert_eq!(bad(Said::Refused(v1::Refused { reason: long.clone() })), ["refused.reason"]);
    assert_eq!(bad(Said::Accepted(v1::Accepted { note: long })), ["accepted.note"]);
    assert_eq!(bad(Said::Returned(v1::Returned { channel: 4, note: String::new() })), ["returned.channel"]);
    assert_eq!(bad(Said::Paused(v1::Paused { cause: 7, reason: String::new() })), ["paused.cause"]);
    let fees = vec![v1::Fee::default()];
    assert_eq!(
        bad(Said::FeeRequested(v1::FeeRequested { fees })),
        ["fee_requested.fees[0].name", "fee_requested.fees[0].amount_vnd"]
    );
    let results = vec![v1::Result { code: "c".repeat(65), ..v1::Result::default() }];
    assert_eq!(
        bad(Said::Resolved(v1::Resolved { results, note: String::new() })),
        ["resolved.results[0].code", "resolved.results[0].name"]
    );
    let items = vec![String::new()];
    let asked = v1::SupplementRequested { reason: "vì".into(), items, until: Some(LATER) };
    assert_eq!(bad(Said::SupplementRequested(asked)), ["supplement_requested.items[0]"]);
}

#[test]
fn an_expected_sequence_of_zero_expects_nothing() {
    let expecting = |sequence| {
        let message = v1::Entry { expected_sequence: sequence, ..entry(Some(complete().remove(0))) };
        parse(&message).unwrap().content.entry.expected_sequence
    };
    assert_eq!((expecting(0), expecting(3)), (None, Some(3)));
}
