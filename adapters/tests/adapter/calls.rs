//! What the agency's system wants sent arrives: once, in order, whatever happens on the way.

use data_encoding::HEXLOWER;
use http::{Method, StatusCode};
use lgsp_proto::{Reason, Refusal};
use serde_json::json;

use crate::support::gateway::sha256;
use crate::support::{Adapter, Answer, DAY, OTHER_PARTY, PARTY, World, accepted, submission, until};

#[tokio::test]
async fn a_dossier_is_answered_at_once_and_admitted_later() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers =
        [("lgsp-party", PARTY), ("lgsp-actor", "mot.cua"), ("idempotency-key", "k:1"), ("traceparent", trace)];
    let answered = adapter.call(Method::POST, "/v1/dossiers", &headers, submission().to_string()).await;
    assert_eq!(answered.status, StatusCode::ACCEPTED);
    assert_eq!(answered.headers["location"], "/v1/requests/k%3A1");
    assert_eq!(answered.headers["traceparent"], trace);
    assert_eq!(answered.json()["request_key"], "k:1");

    let outcome = adapter.outcome("k%3A1").await;
    assert_eq!(outcome["state"], "admitted");
    assert_eq!(outcome["dossier_code"], "H57.12-250714-0001");
    assert_eq!(outcome["receipt"]["request_key"], "k:1");
    let [attempt] = &world.gateway.attempts()[..] else { panic!() };
    assert_eq!(attempt.traceparent.as_deref(), Some(trace));
    assert!(adapter.status().await["connected"].as_bool().unwrap());
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_with_the_adapter_has_its_effect_once() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    world.gateway.answer_next([Answer::CutAfter(world.line.clone())]);
    adapter.submit("k1").await;
    world.gateway.when(|gateway| (gateway.effects() == ["k1"]).then_some(())).await;
    assert_eq!(adapter.status().await["outgoing"]["waiting"], 1);
    adapter.kill().await;

    world.line.mend();
    let adapter = world.adapter().await;
    let outcome = adapter.outcome("k1").await;
    assert_eq!((&outcome["state"], &outcome["repeated"]), (&"admitted".into(), &true.into()));
    assert_eq!(world.gateway.effects(), ["k1"]);
    let attempts = world.gateway.attempts();
    assert!(attempts.len() >= 2);
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]), "the same key, bytes and trace each time");
}

#[tokio::test]
async fn what_was_taken_in_before_a_kill_is_sent_after_it() {
    let world = World::new().await;
    world.line.cut();
    let adapter = world.adapter().await;
    for number in 0..20 {
        assert_eq!(adapter.submit(&format!("k{number:02}")).await.status, StatusCode::ACCEPTED);
    }
    adapter.kill().await;
    world.line.mend();
    let adapter = world.adapter().await;
    for number in 0..20 {
        assert_eq!(adapter.outcome(&format!("k{number:02}")).await["state"], "admitted");
    }
    assert_eq!(world.gateway.effects().len(), 20);
}

#[tokio::test]
async fn a_final_refusal_ends_the_call_with_its_reason() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    // Before that, the refusal might be that of books that were restored and lack what comes back.
    adapter.until(|status| status["epoch"] == 1).await;
    world.gateway.answer_next([Answer::Refuse(Reason::NoRoute)]);
    adapter.submit("k1").await;
    let outcome = adapter.outcome("k1").await;
    assert_eq!(outcome["state"], "refused");
    assert_eq!(outcome["problem"]["reason"], "NO_ROUTE");
    assert_eq!(outcome["problem"]["status"], 422);
    assert_eq!(outcome["problem"]["message_vi"], Reason::NoRoute.texts().what.vi);
    assert_eq!(world.gateway.attempts().len(), 1);

    // It stays the outcome of this key, over a restart too.
    adapter.stop().await.unwrap();
    let adapter = world.adapter().await;
    assert_eq!(adapter.submit("k1").await.json()["state"], "refused");
    assert_eq!(world.gateway.attempts().len(), 1);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_the_same_bytes() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    world.gateway.answer_next([
        Answer::Refuse(Reason::ReadOnly),
        Answer::Refuse(Reason::OutcomeUnknown),
        Answer::Stranger(tonic::Code::Unavailable),
        Answer::Stranger(tonic::Code::PermissionDenied),
        Answer::ForgedReceipt,
        Answer::WrongReceipt,
    ]);
    adapter.submit("k1").await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    let attempts = world.gateway.attempts();
    assert_eq!(attempts.len(), 7);
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]));
}

#[tokio::test]
async fn while_it_waits_a_call_says_why() {
    let world = World::new().await;
    world.line.cut();
    let adapter = world.adapter().await;
    adapter.submit("k1").await;
    let waiting = until(async || {
        let json = adapter.get("/v1/requests/k1").await.json();
        (json["state"] == "queued" && json["last_error"].is_string()).then_some(json)
    })
    .await;
    assert_eq!(waiting["last_error"], "no answer from the gateway");
    assert!(waiting["attempts"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn entries_of_a_dossier_go_one_after_the_other_and_other_dossiers_go_ahead() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    world.gateway.answer_next([Answer::Hold]);
    adapter.post("/v1/dossiers/A-1/events", "a1", &accepted()).await;
    world.gateway.sees_attempts(1).await;
    for (dossier, key) in [("A-1", "a2"), ("A-1", "a3"), ("B-1", "b1")] {
        let answered = adapter.post(&format!("/v1/dossiers/{dossier}/events"), key, &accepted()).await;
        assert_eq!(answered.status, StatusCode::ACCEPTED);
    }
    assert_eq!(adapter.outcome("b1").await["dossier_code"], "B-1");
    let keys = |attempts: Vec<crate::support::gateway::Attempt>| -> Vec<String> {
        attempts.into_iter().map(|attempt| attempt.key).collect()
    };
    assert_eq!(keys(world.gateway.attempts()), ["a1", "b1"]);
    // A refusal of one does not stop the next.
    world.gateway.answer_next([Answer::Refuse(Reason::IllegalTransition)]);
    world.gateway.let_go();
    assert_eq!(adapter.outcome("a3").await["state"], "admitted");
    assert_eq!(adapter.outcome("a2").await["state"], "refused");
    assert_eq!(keys(world.gateway.attempts()), ["a1", "b1", "a2", "a3"]);
}

#[tokio::test]
async fn an_entry_that_may_pass_later_keeps_its_place_before_the_next() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    world.gateway.answer_next([Answer::Refuse(Reason::ReadOnly), Answer::Refuse(Reason::Overloaded)]);
    adapter.post("/v1/dossiers/A-1/events", "a1", &accepted()).await;
    adapter.post("/v1/dossiers/A-1/events", "a2", &accepted()).await;
    adapter.outcome("a2").await;
    let keys: Vec<_> = world.gateway.attempts().into_iter().map(|attempt| attempt.key).collect();
    assert_eq!(keys, ["a1", "a1", "a1", "a2"]);
}

fn with_document(content: &[u8]) -> serde_json::Value {
    let mut submission = submission();
    submission["components"] = json!([{
        "code": "to-khai", "name": "Tờ khai", "originals": 1, "copies": 0,
        "document": {
            "sha256": HEXLOWER.encode(&sha256(content)), "size_bytes": content.len(), "media_type": "application/pdf"
        }
    }]);
    submission
}

async fn upload(adapter: &Adapter, content: &[u8]) -> serde_json::Value {
    let headers = [("lgsp-party", PARTY), ("lgsp-actor", "mot.cua"), ("content-type", "application/pdf")];
    let path = "/v1/documents?file_name=t%E1%BB%9D%20khai.pdf";
    let answered = adapter.call(Method::POST, path, &headers, content.to_vec()).await;
    assert_eq!(answered.status, StatusCode::CREATED);
    answered.json()
}

#[tokio::test]
async fn documents_arrive_before_the_dossier_that_names_them_and_stay_in_case_the_gateway_loses_them() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content: Vec<u8> = (0..300_000).map(|at| (at % 251) as u8).collect();
    let document = upload(&adapter, &content).await;
    assert_eq!(document["size_bytes"], 300_000);
    assert_eq!(document["file_name"], "tờ khai.pdf");
    assert_eq!(document["sha256"], HEXLOWER.encode(&sha256(&content)));

    adapter.post("/v1/dossiers", "k1", &with_document(&content)).await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    assert_eq!(world.gateway.document(PARTY, &sha256(&content)).unwrap(), content);
    let left = || std::fs::read_dir(world.spool_folder().join("documents")).unwrap().count();
    assert_eq!(left(), 1, "there is room for it");
}

#[tokio::test]
async fn documents_are_brought_eight_at_a_time_and_what_has_none_passes_them() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    world.gateway.hold_uploads(true);
    for at in 0..20_u8 {
        upload(&adapter, &[at; 100]).await;
        adapter.post("/v1/dossiers", &format!("k{at}"), &with_document(&[at; 100])).await;
    }
    world.gateway.when(|gateway| (gateway.uploads_under_way() == 8).then_some(())).await;
    adapter.submit("without").await;
    assert_eq!(adapter.outcome("without").await["state"], "admitted");
    world.gateway.hold_uploads(false);
    for at in 0..20 {
        assert_eq!(adapter.outcome(&format!("k{at}")).await["state"], "admitted");
    }
    assert_eq!((world.gateway.uploads().len(), world.gateway.most_uploads()), (20, 8));
}

#[tokio::test]
async fn a_limit_of_one_call_or_one_party_holds_nobody_else_up() {
    let world = World::new().await;
    let mut config = world.config("");
    config.exchange.backoff.limit = DAY;
    let adapter = Adapter::start(config).await;
    let over = |detail: &str, value: &str| {
        let refusal = Refusal::new(Reason::QuotaExceeded).detail(detail, value);
        // Longer than anybody waits here.
        Answer::RefuseWith(refusal.detail(lgsp_proto::RETRY_AFTER_MS, 3_600_000))
    };
    world.gateway.answer_next([over("at_once", "16")]);
    adapter.submit("one-of-many").await;
    world.gateway.sees_attempts(1).await;
    adapter.submit("another").await;
    assert_eq!(adapter.outcome("another").await["state"], "admitted");

    world.gateway.answer_next([over("party", PARTY)]);
    adapter.submit("too-fast").await;
    until(async || adapter.get("/v1/requests/too-fast").await.json()["last_error"].is_string().then_some(())).await;
    adapter.submit("not-even-tried").await;
    assert_eq!(
        adapter.post_as(OTHER_PARTY, "/v1/dossiers", "theirs", &submission()).await.status,
        StatusCode::ACCEPTED
    );
    world.gateway.when(|gateway| gateway.effects().contains(&"theirs".to_owned()).then_some(())).await;
    let tried: Vec<_> = world.gateway.attempts().into_iter().map(|attempt| attempt.key).collect();
    assert!(!tried.contains(&"not-even-tried".to_owned()), "{tried:?}");
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_it_broke_off() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content: Vec<u8> = (0..1_000_000).map(|at| (at % 249) as u8).collect();
    upload(&adapter, &content).await;
    world.gateway.cut_upload_at(400_000, &world.line);
    adapter.post("/v1/dossiers", "k1", &with_document(&content)).await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    assert_eq!(world.gateway.document(PARTY, &sha256(&content)).unwrap(), content);
    let [first, second] = world.gateway.uploads()[..] else { panic!("{:?}", world.gateway.uploads()) };
    assert_eq!(first, 0);
    assert!(second >= 400_000, "{second}");
}

#[tokio::test]
async fn a_gateway_that_forgot_its_part_of_an_upload_is_brought_the_whole_and_the_call_is_not_refused() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content: Vec<u8> = (0..300_000).map(|at| (at % 247) as u8).collect();
    upload(&adapter, &content).await;
    world.gateway.keep_document(PARTY, &sha256(&content), &content[..100_000]);
    world.gateway.forget_parts_at_the_next_upload();
    adapter.post("/v1/dossiers", "k1", &with_document(&content)).await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    assert_eq!(world.gateway.document(PARTY, &sha256(&content)).unwrap(), content);
    assert_eq!(world.gateway.uploads(), [100_000, 0]);
}

#[tokio::test]
async fn a_document_that_goes_to_other_dossiers_each_time_it_is_brought_is_brought_once_more() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    upload(&adapter, b"a form that many hand in").await;
    world.gateway.answer_next([Reason::DocumentUnknown, Reason::DocumentOfAnotherDossier].map(Answer::Refuse));
    adapter.post("/v1/dossiers", "k1", &with_document(b"a form that many hand in")).await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
}

#[tokio::test]
async fn a_document_that_nobody_brought_is_named_in_the_refusal() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    adapter.post("/v1/dossiers", "k1", &with_document(b"never uploaded")).await;
    assert_eq!(adapter.outcome("k1").await["problem"]["reason"], "DOCUMENT_UNKNOWN");
}

#[tokio::test]
async fn calls_and_deliveries_go_on_after_the_gateway_was_restarted() {
    let mut world = World::new().await;
    let adapter = world.adapter().await;
    adapter.submit("before").await;
    adapter.outcome("before").await;
    world.gateway.when(|gateway| (gateway.streams() == 1).then_some(())).await;

    world.gateway.restart(&world.line).await;
    adapter.submit("after").await;
    assert_eq!(adapter.outcome("after").await["state"], "admitted");
    world.gateway.deliver("D-1", 1);
    let inbox = adapter.get("/v1/inbox?wait_ms=30000").await.json();
    assert_eq!(inbox["deliveries"][0]["dossier_code"], "D-1");
    assert!(adapter.status().await["connections"].as_u64().unwrap() >= 2);
}

#[tokio::test]
async fn a_line_that_fell_silent_is_noticed_and_replaced() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    adapter.submit("before").await;
    adapter.outcome("before").await;
    world.line.fall_silent();
    // Long before the call's own deadline, which is half a minute.
    let asked = std::time::Instant::now();
    adapter.submit("after").await;
    assert_eq!(adapter.outcome("after").await["state"], "admitted");
    assert!(asked.elapsed() < std::time::Duration::from_secs(15));
    world.gateway.deliver("D-1", 1);
    let inbox = adapter.get("/v1/inbox?wait_ms=30000").await.json();
    assert_eq!(inbox["deliveries"][0]["dossier_code"], "D-1");
}

#[tokio::test]
async fn a_gateway_of_another_authority_is_told_nothing() {
    let world = World::new().await;
    let stranger = crate::support::Certificates::new();
    let impostor = crate::support::Gateway::start(stranger.server("gateway")).await;
    world.line.lead_to(impostor.address());
    let adapter = world.adapter().await;
    adapter.submit("k1").await;
    until(async || {
        let json = adapter.get("/v1/requests/k1").await.json();
        (json["attempts"].as_u64().unwrap() >= 3).then_some(())
    })
    .await;
    assert_eq!(adapter.status().await["connected"], false);
    assert!(impostor.attempts().is_empty());
    // The right one again: what waited is sent.
    world.line.lead_to(world.gateway.address());
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
}

#[tokio::test]
async fn stopping_in_order_leaves_what_waits_for_the_next_start() {
    let world = World::new().await;
    world.line.cut();
    let adapter = world.adapter().await;
    adapter.submit("k1").await;
    // Whoever waits for the outcome is sent home, and the stop waits for nobody.
    let (waiting, ()) = tokio::join!(adapter.get("/v1/requests/k1?wait_ms=60000"), async {
        adapter.until(|status| status["outgoing"]["waiting"] == 1).await;
        adapter.begin_to_stop();
    });
    assert_ne!(waiting.json()["state"], "admitted");
    adapter.stop().await.unwrap();
    world.line.mend();
    let adapter = world.adapter().await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
}

#[tokio::test]
async fn a_call_waits_for_a_certificate_that_is_let_in_and_is_not_refused_for_good() {
    // All that a gateway has against a certificate, and against the system it names.
    for reason in [
        Reason::CertificateRevoked,
        Reason::CertificateNotVouched,
        Reason::CertificateWithoutIdentity,
        Reason::SystemUnknown,
    ] {
        let world = World::new().await;
        let adapter = world.adapter().await;
        // Before the epoch is known, no refusal would be final anyway.
        adapter.until(|status| status["epoch"] == 1).await;
        world.gateway.answer_next([Answer::Refuse(reason), Answer::Refuse(reason)]);
        adapter.submit("k1").await;
        assert_eq!(adapter.outcome("k1").await["state"], "admitted", "{reason}");
        assert_eq!(world.gateway.sees_attempts(3).await.len(), 3, "{reason}");
    }
}

#[tokio::test]
async fn an_adapter_whose_system_is_not_in_the_registry_says_so() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    adapter.until(|status| status["epoch"] == 1).await;
    world.gateway.shut_out(Some(Reason::SystemUnknown));
    world.line.shake();
    adapter.submit("k1").await;
    let status = adapter.until(|status| status["certificate"]["turned_away"] == "not_known").await;
    assert!(status["certificate"]["problem_vi"].as_str().unwrap().contains("systems.toml"), "{status}");
    world.gateway.shut_out(None);
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
}
