//! From a submission to a receipt, and how it stands afterwards.

use lgsp_proto::{Reason, v1};
use prost::Message as _;

use super::world::*;

#[tokio::test]
async fn what_was_submitted_is_receipted_and_read_back_by_those_it_concerns() {
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let submission = aid_elsewhere("k-1");
    let response = desk.submit(&submission).await.unwrap();
    assert!(!response.repeated && response.warnings.is_empty());

    let receipt = world.receipt(response.receipt.as_ref().unwrap());
    assert_eq!(receipt.dossier_code, "H99.102-250714-0001");
    assert_eq!((receipt.sequence, receipt.kind()), (1, v1::EventKind::Submitted));
    assert_eq!((receipt.request_key.as_str(), receipt.acting_party.as_str()), ("k-1", AN));
    assert_eq!((receipt.competent_authority.as_str(), receipt.non_territorial), (BINH, true));
    assert_eq!((receipt.registry_version, receipt.gateway.as_str()), (1, DOMAIN));
    assert!(receipt.acceptance_due_at.is_some());

    for (system, party) in [(&desk, AN), (&binh, BINH)] {
        let got = system.get(party, &receipt.dossier_code, true).await.unwrap();
        let dossier = got.dossier.unwrap();
        assert_eq!((dossier.status(), dossier.hand_over()), (v1::Status::Filed, v1::HandOver::Waiting));
        assert_eq!((dossier.intake_desk.as_str(), dossier.competent_authority.as_str()), (AN, BINH));
        assert_eq!(dossier.return_channel(), v1::ReturnChannel::Direct);
        assert_eq!((dossier.sequence, dossier.route_rule.as_str()), (1, "cap-xa"));
        let [recorded] = got.events.as_slice() else { panic!("one event: {:?}", got.events) };
        assert_eq!(recorded.body, submission.encode_to_vec());
        assert_eq!(recorded.certificate_sha256, desk.credentials.digest().as_bytes()[..]);
        assert_eq!(recorded.event.as_ref().unwrap().system, "mot-cua");
    }
    let without = desk.get(AN, &receipt.dossier_code, false).await.unwrap();
    assert!(without.events[0].body.is_empty());

    let stranger = world.system("cong-an").await;
    assert_eq!(reason(stranger.get("H99.CA", &receipt.dossier_code, false).await), Reason::DossierNotFound);
}

#[tokio::test]
async fn a_request_is_admitted_once_whatever_happens_in_between() {
    let mut world = World::start().await;
    let desk = world.system("mot-cua").await;
    let first = desk.submit(&aid("k-1")).await.unwrap();
    let again = desk.submit(&aid("k-1")).await.unwrap();
    assert_eq!((again.repeated, &again.receipt), (true, &first.receipt));
    let other = v1::Submission { summary: "khác".into(), ..aid("k-1") };
    let refused = refusal(desk.submit(&other).await);
    assert_eq!((refused.reason(), fields(&refused)), (Reason::KeyReused, vec!["request_key"]));

    world.restart().await;
    let desk = world.system("mot-cua").await;
    let again = desk.submit(&aid("k-1")).await.unwrap();
    assert_eq!((again.repeated, &again.receipt), (true, &first.receipt));
    assert_eq!(desk.admitted(&aid("k-2")).await, "H99.101-250714-0002");
}

#[tokio::test]
async fn an_entry_moves_the_dossier_on_and_keeps_its_trace() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let code = desk.admitted(&aid("k-1")).await;
    let mut request = tonic::Request::new({
        let entry = entry("k-2", AN, &code, accepted());
        let body = bytes::Bytes::from(entry.encode_to_vec());
        let key = desk.credentials.signing_key();
        v1::RecordRequest {
            signature: key.sign(lgsp_certs::Purpose::Entry, &body).into(),
            entry: body,
            ..v1::RecordRequest::default()
        }
    });
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.metadata_mut().insert("traceparent", trace.parse().unwrap());
    let response = within(desk.dossiers().record(request)).await.unwrap().into_inner();
    let receipt = world.receipt(&response.receipt.unwrap());
    assert_eq!((receipt.sequence, receipt.status()), (2, v1::Status::Accepted));

    let got = desk.get(AN, &code, false).await.unwrap();
    assert_eq!(got.dossier.unwrap().status(), v1::Status::Accepted);
    assert_eq!(got.events[1].event.as_ref().unwrap().traceparent, trace);

    let refused = refusal(desk.record(&entry("k-3", AN, &code, accepted())).await);
    assert_eq!(refused.reason(), Reason::IllegalTransition);
    let stale = v1::Entry { expected_sequence: 1, ..entry("k-4", AN, &code, accepted()) };
    assert_eq!(reason(desk.record(&stale).await), Reason::StaleVersion);
}

#[tokio::test]
async fn what_is_odd_is_warned_of_in_both_languages_at_every_repeat() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let mut submission = aid("k-1");
    submission.applicant.as_mut().unwrap().sex = v1::Sex::Male.into();
    for _ in 0..2 {
        let warnings = desk.submit(&submission).await.unwrap().warnings;
        let [warning] = warnings.as_slice() else { panic!("one warning: {warnings:?}") };
        assert_eq!(warning.reason, "SEX_DOES_NOT_MATCH_NUMBER");
        assert_eq!(warning.field, "applicant.personal_number");
        assert!(!warning.message_vi.is_empty() && !warning.message_en.is_empty());
    }
}

#[tokio::test]
async fn a_refused_submission_leaves_nothing_behind() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let change = |change: fn(&mut v1::Submission)| {
        let mut submission = aid("k-1");
        change(&mut submission);
        submission
    };
    for (bad, expected, field) in [
        (change(|s| s.locality = "x".into()), Reason::FieldInvalid, "locality"),
        (change(|s| s.procedure_code = "1.999999".into()), Reason::ProcedureUnknown, "procedure_code"),
        (change(|s| s.procedure_code = "1.000004".into()), Reason::ProcedureAbolished, "procedure_code"),
        (change(|s| s.locality = "99003".into()), Reason::UnitCeased, "locality"),
        (change(|s| s.procedure_code = "1.000001".into()), Reason::ComponentMissing, "components"),
        (change(|s| s.received_at = at("2025-07-14T10:00:00+07:00")), Reason::TimeAhead, "received_at"),
        (change(|s| s.received_at = at("2025-01-14T10:00:00+07:00")), Reason::TimeTooFarBack, "received_at"),
    ] {
        let refused = refusal(desk.submit(&bad).await);
        assert_eq!((refused.reason(), fields(&refused)), (expected, vec![field]), "{refused}");
    }
    let of_another = v1::Submission { acting_party: BINH.into(), ..aid("k-1") };
    assert_eq!(reason(desk.submit(&of_another).await), Reason::ActsForMissing);
    let mut forged = desk.signed_submission(&aid("k-1"));
    forged.signature = desk.signed_submission(&aid("k-2")).signature;
    assert_eq!(reason(within(desk.dossiers().submit(forged)).await), Reason::SignatureInvalid);

    let (_, status) = world.local("GET", "/status", "").await;
    assert!(status.contains("\"dossiers\":0") && status.contains("\"events\":0"), "{status}");
    assert!(!desk.submit(&aid("k-1")).await.unwrap().repeated);
}

#[tokio::test]
async fn a_list_goes_on_where_the_page_ended_and_only_for_the_same_question() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let mut codes = Vec::new();
    for key in ["k-1", "k-2", "k-3"] {
        codes.push(desk.admitted(&aid(key)).await);
    }
    let mut request = v1::ListRequest {
        acting_party: AN.into(),
        actor: "can.bo.1".into(),
        filter: Some(v1::Filter { statuses: vec![v1::Status::Filed.into()], ..v1::Filter::default() }),
        page_size: 2,
        page_token: String::new(),
    };
    let first = within(desk.dossiers().list(request.clone())).await.unwrap().into_inner();
    request.page_token = first.next_page_token.clone();
    let second = within(desk.dossiers().list(request.clone())).await.unwrap().into_inner();
    assert_eq!((first.dossiers.len(), second.dossiers.len(), second.next_page_token.as_str()), (2, 1, ""));
    let mut listed: Vec<_> = first.dossiers.into_iter().chain(second.dossiers).map(|dossier| dossier.code).collect();
    listed.sort_unstable();
    assert_eq!(listed, codes);

    request.filter = None;
    assert_eq!(reason(within(desk.dossiers().list(request)).await), Reason::PageTokenInvalid);
}

#[tokio::test]
async fn a_route_is_explained_and_so_is_that_there_is_none() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let explain = async |procedure: &str| {
        let request = v1::ExplainRouteRequest {
            acting_party: AN.into(),
            actor: "can.bo.1".into(),
            procedure_code: procedure.into(),
            locality: "99002".into(),
            ..v1::ExplainRouteRequest::default()
        };
        within(desk.dossiers().explain_route(request)).await.unwrap().into_inner()
    };
    let found = explain(AID).await;
    assert_eq!((found.competent_authority.as_str(), found.rule.as_str()), (BINH, "cap-xa"));
    assert_eq!((found.competent_authority_name.as_str(), found.registry_version), ("UBND xã Bình", 1));
    assert!(found.steps[0].matched && found.no_route.is_none());
    let none = explain("1.000006").await;
    assert_eq!((none.competent_authority.as_str(), none.no_route.unwrap().reason.as_str()), ("", "NO_ROUTE"));
}

#[tokio::test]
async fn a_party_that_floods_is_told_when_to_come_again_and_the_others_are_admitted() {
    let world = World::start_with("party_per_second = 1").await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let mut refused = None;
    for number in 0..20 {
        if let Err(status) = desk.submit(&aid(&format!("k-{number}"))).await {
            refused = Some((number, status));
            break;
        }
    }
    let (number, status) = refused.expect("twenty in a moment are more than one a second");
    let refused = refusal(Err::<(), _>(status));
    assert_eq!((refused.reason(), &*refused.details()["party"]), (Reason::QuotaExceeded, AN));
    let wait = refused.retry_after().unwrap();
    assert!(wait.as_secs() <= 1, "{wait:?}");
    let other = v1::Submission { acting_party: BINH.into(), ..aid_elsewhere("k-other") };
    binh.admitted(&other).await;
    // Nothing was processed, so the same key is free; and what was admitted before is answered once its turn comes.
    tokio::time::sleep(wait).await;
    desk.admitted(&aid(&format!("k-{number}"))).await;
}
