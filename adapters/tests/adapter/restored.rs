//! The gateway was restored, and its books come back bit by bit: what it refuses meanwhile is not told as its last word.

use lgsp_proto::Reason;
use lgsp_proto::v1::AcknowledgeStage::TakenOver;
use serde_json::Value;

use crate::offline::{dossier, dossier_for_the_department, said, without_a_line};
use crate::support::{Adapter, Answer, OTHER_PARTY, PARTY, World, accepted};

/// The gateway comes back with older books, and the adapter knows.
async fn restore(world: &World, adapter: &Adapter) {
    world.gateway.begin_epoch(2);
    world.line.shake();
    adapter.until(|status| status["epoch"] == 2 && status["outgoing"]["waiting"] == 0).await;
}

/// Says something about a dossier that is refused at first, and is admitted when the rest of the books is back.
async fn is_refused_until_the_books_are_back(world: &World, adapter: &Adapter, name: &str, reason: Reason) {
    let before = world.gateway.attempts().len();
    world.gateway.answer_next([Answer::Refuse(reason)]);
    let key = format!("{reason}-{before}");
    adapter.post(&format!("/v1/dossiers/{name}/events"), &key, &accepted()).await;
    world.gateway.sees_attempts(before + 3).await;
    let waiting = adapter.get(&format!("/v1/requests/{key}")).await.json();
    assert!(waiting["problem"] == Value::Null, "{reason} is told as final: {waiting}");
    world.gateway.forget_refusals();
    assert_eq!(adapter.outcome(&key).await["state"], "admitted", "{reason}");
}

#[tokio::test]
async fn an_entry_that_builds_on_what_another_adapter_brings_back_waits_for_it() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    world.gateway.deliver("A-1", 1);
    world.gateway.hears(TakenOver, 1).await;
    restore(&world, &adapter).await;
    for reason in [Reason::IllegalTransition, Reason::StaleVersion, Reason::RoleMissing, Reason::DossierNotFound] {
        is_refused_until_the_books_are_back(&world, &adapter, "A-1", reason).await;
    }
    // What has nothing to do with the order of entries is final, and so is what is about a dossier that was never known here.
    for (key, dossier, reason) in
        [("e1", "A-1", Reason::GrantMissing), ("e2", "H57.12-250714-0009", Reason::IllegalTransition)]
    {
        world.gateway.answer_next([Answer::Refuse(reason)]);
        adapter.post(&format!("/v1/dossiers/{dossier}/events"), key, &accepted()).await;
        assert_eq!(adapter.outcome(key).await["problem"]["reason"], reason.as_str());
    }
}

#[tokio::test]
async fn a_dossier_spoken_of_by_another_name_than_its_code_is_waited_for_too() {
    let world = crate::offline::world().await;
    let adapter = without_a_line(&world).await;
    let mut provisional = Vec::new();
    for key in ["k0", "k1"] {
        let told = adapter.post("/v1/dossiers", key, &dossier_for_the_department()).await.json();
        provisional.push(said(&told["provisional_number"]).to_owned());
    }
    let mut with_alias = dossier();
    with_alias["aliases"] = serde_json::json!(["HS-2025-17"]);
    world.line.mend();
    adapter.outcome("k1").await;
    assert_eq!(adapter.outcome_of("k2", &with_alias).await["state"], "admitted");
    restore(&world, &adapter).await;
    for name in [&*provisional[0], "HS-2025-17"] {
        is_refused_until_the_books_are_back(&world, &adapter, name, Reason::DossierNotFound).await;
    }
    // The number that was told here is known for longer than the others are given to come back.
    adapter.stop().await.unwrap();
    let adapter = world.adapter().await;
    adapter.until(|status| status["epoch"] == 2).await;
    is_refused_until_the_books_are_back(&world, &adapter, &provisional[1], Reason::DossierNotFound).await;
}

fn keys(world: &World) -> Vec<String> {
    world.gateway.attempts().into_iter().map(|attempt| attempt.key).collect()
}

#[tokio::test]
async fn nothing_new_is_said_about_a_dossier_before_it_is_known_whether_its_books_come_back_first() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let code = adapter.outcome_of("k1", &dossier()).await["receipt"]["dossier_code"].as_str().unwrap().to_owned();
    let events = format!("/v1/dossiers/{code}/events");
    adapter.post(&events, "e1", &accepted()).await;
    adapter.outcome("e1").await;
    // It comes back with older books, and the stream says so last of all.
    world.gateway.keep_streams_waiting(true);
    world.gateway.begin_epoch(2);
    world.line.shake();
    adapter.until(|status| status["epoch"].is_null()).await;
    adapter.post(&events, "e2", &accepted()).await;
    // What is about nothing that was there goes out all the same.
    assert_eq!(adapter.outcome_of("k2", &dossier()).await["state"], "admitted");
    assert_eq!(keys(&world), ["k1", "e1", "k2"]);
    world.gateway.keep_streams_waiting(false);
    assert_eq!(adapter.outcome("e2").await["state"], "admitted");
    let keys = keys(&world);
    let place = |key| keys.iter().rposition(|one| one == key).unwrap();
    assert!(place("k1") > 2 && place("k1") < place("e1") && place("e1") < place("e2"), "{keys:?}");
}

#[tokio::test]
async fn an_adapter_that_is_let_in_for_nobody_waits_for_no_epoch() {
    let world = World::new().await;
    world.gateway.forbid(PARTY, true);
    world.gateway.forbid(OTHER_PARTY, true);
    let adapter = world.adapter().await;
    adapter.until(|status| status["parties_refused"].as_array().is_some_and(|parties| parties.len() == 2)).await;
    adapter.post("/v1/dossiers/A-1/events", "e1", &accepted()).await;
    assert_eq!(adapter.outcome("e1").await["state"], "admitted");
}

#[tokio::test]
async fn an_adapter_whose_certificate_was_refused_still_has_to_be_told_the_epoch() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    adapter.until(|status| status["epoch"] == 1).await;
    for reason in [Reason::CertificateNotVouched, Reason::SystemUnknown] {
        world.gateway.shut_out(Some(reason));
        world.line.shake();
        adapter.until(|status| status["certificate"]["turned_away"].is_string()).await;
        assert_eq!(adapter.status().await["epoch"], Value::Null, "{reason}");
        world.gateway.shut_out(None);
        adapter.until(|status| status["epoch"] == 1).await;
    }
    // The operator restores and then mends the bundle: entries wait until the stream has told of the restore.
    world.gateway.shut_out(Some(Reason::CertificateNotVouched));
    world.line.shake();
    adapter.until(|status| status["certificate"]["turned_away"].is_string()).await;
    world.gateway.keep_streams_waiting(true);
    world.gateway.begin_epoch(2);
    world.gateway.shut_out(None);
    adapter.post("/v1/dossiers/A-1/events", "e1", &accepted()).await;
    assert_eq!(adapter.outcome_of("k1", &dossier()).await["state"], "admitted");
    assert_eq!(keys(&world), ["k1"]);
    world.gateway.keep_streams_waiting(false);
    assert_eq!(adapter.outcome("e1").await["state"], "admitted");
}

#[tokio::test]
async fn what_names_a_dossier_otherwise_than_by_its_code_waits_as_well_until_the_dossier_is_back() {
    let world = crate::offline::world().await;
    let adapter = without_a_line(&world).await;
    let told = adapter.post("/v1/dossiers", "k0", &dossier_for_the_department()).await.json();
    let provisional = said(&told["provisional_number"]).to_owned();
    world.line.mend();
    adapter.outcome("k0").await;
    adapter.until(|status| status["epoch"] == 1).await;
    world.gateway.answer_next([Answer::Hold]);
    world.gateway.begin_epoch(2);
    world.line.shake();
    adapter.until(|status| status["epoch"] == 2).await;
    world.gateway.sees_attempts(2).await;
    for (key, name) in [("provisional", &*provisional), ("perhaps", "HS-2025-17"), ("another", "H57.12-250714-0009")] {
        adapter.post(&format!("/v1/dossiers/{name}/events"), key, &accepted()).await;
    }
    assert_eq!(adapter.outcome("another").await["state"], "admitted");
    // They were begun before the other one, so they would have come first.
    assert_eq!(keys(&world), ["k0", "k0", "another"]);
    world.gateway.let_go();
    for key in ["provisional", "perhaps"] {
        assert_eq!(adapter.outcome(key).await["state"], "admitted", "{key}");
    }
}

#[tokio::test]
async fn a_gateway_with_an_older_epoch_than_the_one_known_is_not_believed() {
    let world = World::new().await;
    world.gateway.begin_epoch(3);
    let adapter = world.adapter().await;
    adapter.until(|status| status["epoch"] == 3).await;
    world.gateway.begin_epoch(2);
    world.line.shake();
    let status = adapter.until(|status| status["epoch_behind"] == 2).await;
    assert_eq!(status["epoch"], Value::Null);
    // It may be an old copy: what it lost is not to be overwritten.
    adapter.post("/v1/dossiers/A-1/events", "e1", &accepted()).await;
    assert_eq!(adapter.outcome_of("k1", &dossier()).await["state"], "admitted");
    assert_eq!(keys(&world), ["k1"]);
    world.gateway.begin_epoch(4);
    world.line.shake();
    let status = adapter.until(|status| status["epoch"] == 4).await;
    assert_eq!(status["epoch_behind"], Value::Null);
    assert_eq!(adapter.outcome("e1").await["state"], "admitted");
}
