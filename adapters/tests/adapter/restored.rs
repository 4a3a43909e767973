//! The gateway was restored, and its books come back bit by bit: what it refuses meanwhile is not told as its last word.

use lgsp_proto::Reason;
use lgsp_proto::v1::AcknowledgeStage::TakenOver;
use serde_json::Value;

use crate::offline::{dossier, dossier_for_the_department, said, without_a_line};
use crate::support::{Adapter, Answer, World, accepted};

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
