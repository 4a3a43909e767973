//! What the gateway delivers arrives at the agency's own system: once, in order per dossier, whatever happens on the way.

use http::StatusCode;
use lgsp_proto::Reason;
use lgsp_proto::v1::AcknowledgeStage::{HandedOver, TakenOver};
use lgsp_proto::v1::DeclineKind;
use serde_json::json;

use crate::support::gateway::Declined;
use crate::support::{Adapter, Answer, OTHER_PARTY, PARTY, World};

fn id(dossier: &str, sequence: u32) -> String {
    format!("{PARTY}/{dossier}/{sequence}")
}

#[tokio::test]
async fn a_delivery_is_taken_over_handed_over_and_both_are_acknowledged() {
    let world = World::new().await;
    let adapter = world.pushing_adapter().await;
    world.gateway.deliver("D-1", 3);
    world.agency.takes(1).await;
    assert_eq!(world.gateway.hears(TakenOver, 1).await, ["D-1/3"]);
    assert_eq!(world.gateway.hears(HandedOver, 1).await, ["D-1/3"]);
    assert_eq!(world.gateway.parties(), [PARTY, OTHER_PARTY]);

    let [posted] = &world.agency.posted()[..] else { panic!() };
    assert_eq!(posted.id, id("D-1", 3));
    assert_eq!(posted.traceparent.as_deref(), Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    assert_eq!(posted.body["type"], "dossier.event");
    assert_eq!(posted.body["event"]["type"], "accepted");
    assert_eq!(posted.body["dossier"]["code"], "D-1");
    assert_eq!(posted.body["body"], json!({"type": "accepted", "note": "đủ"}));
    assert_eq!(posted.body["attempt"], 1);
    adapter.until(|status| status["incoming"]["unconfirmed"] == 0).await;
}

#[tokio::test]
async fn one_dossier_that_does_not_get_through_holds_up_no_other_and_keeps_its_order() {
    let world = World::new().await;
    let _adapter = world.pushing_adapter().await;
    world.agency.hold(&id("A-1", 1));
    for sequence in 1..=3 {
        world.gateway.deliver("A-1", sequence);
        world.gateway.deliver("B-1", sequence);
    }
    assert_eq!(world.agency.takes(3).await, [id("B-1", 1), id("B-1", 2), id("B-1", 3)]);
    // Durable here, so the gateway need not keep the rest back.
    assert_eq!(world.gateway.hears(TakenOver, 6).await.len(), 6);
    world.agency.let_go(&id("A-1", 1));
    assert_eq!(world.agency.takes(6).await[3..], [id("A-1", 1), id("A-1", 2), id("A-1", 3)]);
}

#[tokio::test]
async fn an_agency_that_fails_gets_it_again_until_it_takes_it() {
    let world = World::new().await;
    let _adapter = world.pushing_adapter().await;
    let refusals = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE];
    world.agency.answer(&id("A-1", 1), &refusals);
    world.gateway.deliver("A-1", 1);
    world.gateway.deliver("A-1", 2);
    assert_eq!(world.agency.takes(2).await, [id("A-1", 1), id("A-1", 2)]);
    let attempts: Vec<_> = world.agency.posted().iter().map(|posted| posted.body["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 1]);
    world.gateway.hears(HandedOver, 2).await;
}

#[tokio::test]
async fn a_delivery_that_comes_twice_is_handed_over_once_and_acknowledged_again() {
    let world = World::new().await;
    let _adapter = world.pushing_adapter().await;
    world.gateway.deliver("A-1", 1);
    world.gateway.deliver("A-1", 1);
    world.agency.takes(1).await;
    world.gateway.hears(HandedOver, 1).await;
    // And once more when it has long been handed over.
    world.gateway.deliver("A-1", 1);
    let heard = world.gateway.hears(HandedOver, 2).await;
    assert!(heard.iter().all(|name| name == "A-1/1"));
    world.gateway.deliver("A-1", 2);
    assert_eq!(world.agency.takes(2).await, [id("A-1", 1), id("A-1", 2)]);
    assert_eq!(world.agency.posted().len(), 2);
}

#[tokio::test]
async fn what_was_taken_over_before_a_kill_is_handed_over_after_it_and_only_that() {
    let world = World::new().await;
    let adapter = world.pushing_adapter().await;
    world.gateway.deliver("A-1", 1);
    world.agency.takes(1).await;
    world.gateway.hears(HandedOver, 1).await;
    world.agency.hold(&id("B-1", 1));
    world.gateway.deliver("B-1", 1);
    world.gateway.deliver("B-1", 2);
    world.gateway.hears(TakenOver, 3).await;
    adapter.kill().await;
    world.agency.let_go(&id("B-1", 1));

    // The gateway thinks that all of it was taken over; what it delivers again is known.
    let _adapter = world.pushing_adapter().await;
    // The killed adapter's own post may have been taken in its last moment, and is then sent again, under the same id.
    let taken = world.agency.takes_as(|taken| taken.contains(&id("B-1", 2))).await;
    assert_eq!(taken[0], id("A-1", 1));
    assert!(taken.is_sorted() && taken.iter().filter(|taken| **taken == id("A-1", 1)).count() == 1, "{taken:?}");
    world.gateway.hears(HandedOver, 3).await;
}

#[tokio::test]
async fn what_was_handed_over_while_the_line_was_down_is_told_when_it_is_back() {
    let world = World::new().await;
    let adapter = world.pushing_adapter().await;
    world.agency.hold(&id("A-1", 1));
    world.gateway.deliver("A-1", 1);
    world.gateway.hears(TakenOver, 1).await;
    world.line.cut();
    adapter.until(|status| status["connected"] == false).await;
    world.agency.let_go(&id("A-1", 1));
    world.agency.takes(1).await;
    adapter.until(|status| status["incoming"]["unconfirmed"] == 1).await;
    // Over a restart too.
    adapter.stop().await.unwrap();
    let adapter = world.pushing_adapter().await;
    assert_eq!(world.gateway.acknowledged(HandedOver), <[&str; 0]>::default());
    world.line.mend();
    assert_eq!(world.gateway.hears(HandedOver, 1).await[0], "A-1/1");
    adapter.until(|status| status["incoming"]["unconfirmed"] == 0).await;
    assert_eq!(world.agency.posted().len(), 1);
}

#[tokio::test]
async fn the_outcome_of_a_request_is_told_before_its_dossiers_events() {
    let world = World::new().await;
    let adapter = world.pushing_adapter().await;
    let answer = world.agency.clone();
    answer.answer(&format!("{PARTY}/request/k1"), &[StatusCode::BAD_GATEWAY]);
    adapter.submit("k1").await;
    adapter.outcome("k1").await;
    world.gateway.deliver("H57.12-250714-0001", 2);
    assert_eq!(world.agency.takes(2).await, [format!("{PARTY}/request/k1"), id("H57.12-250714-0001", 2)]);
    let told = &world.agency.posted()[1].body;
    assert_eq!((&told["type"], &told["request_key"]), (&"request.admitted".into(), &"k1".into()));
    assert_eq!(told["dossier_code"], "H57.12-250714-0001");

    world.gateway.answer_next([Answer::Refuse(Reason::ProcedureUnknown)]);
    adapter.submit("k2").await;
    world.agency.takes(3).await;
    let told = &world.agency.posted()[3].body;
    assert_eq!((&told["type"], &told["problem"]["reason"]), (&"request.refused".into(), &"PROCEDURE_UNKNOWN".into()));
    // Told is told: not again after a restart.
    adapter.until(|status| status["outgoing"]["waiting"] == 0).await;
    adapter.stop().await.unwrap();
    let adapter = world.pushing_adapter().await;
    world.gateway.deliver("E-1", 1);
    world.agency.takes_as(|taken| taken.contains(&id("E-1", 1))).await;
    let taken = world.agency.taken();
    assert_eq!(taken.iter().filter(|id| id.contains("/request/")).count(), 2, "{taken:?}");
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_spool_declines_and_goes_on_when_there_is_room() {
    let world = World::new().await;
    let adapter = Adapter::start(world.config("spool.max_incoming = 2")).await;
    for dossier in ["A-1", "B-1", "C-1"] {
        world.gateway.deliver(dossier, 1);
    }
    assert_eq!(world.gateway.hears_no(1).await, [declined("C-1/1", "SPOOL_FULL", DeclineKind::Busy)]);
    assert_eq!(world.gateway.hears(TakenOver, 2).await.len(), 2);

    let ack = json!({"deliveries": [{"dossier_code": "A-1", "sequence": 1}]});
    adapter.post("/v1/inbox/ack", "unused", &ack).await;
    world.gateway.deliver("C-1", 1);
    assert_eq!(world.gateway.hears(TakenOver, 3).await[2], "C-1/1");
}

#[tokio::test]
async fn a_stream_names_the_installation_and_its_spool() {
    let world = World::new().await;
    let adapter = Adapter::start(world.config("exchange.instance = \"hue-2\"")).await;
    let opened = world.gateway.when(|gateway| gateway.opened().first().cloned()).await;
    assert_eq!((opened.instance.as_str(), opened.spool.len()), ("hue-2", 16));
    adapter.stop().await.unwrap();
    let _adapter = world.adapter().await;
    let again = world.gateway.when(|gateway| gateway.opened().get(1).cloned()).await;
    assert_eq!((again.instance.as_str(), again.spool), ("main", opened.spool), "the spool is the same after a restart");
}

#[tokio::test]
async fn what_the_agency_refuses_for_good_goes_back_with_all_that_follows_it_and_holds_up_no_other() {
    let world = World::new().await;
    let adapter = world.pushing_adapter().await;
    world.gateway.forget_declines(true);
    world.agency.hold(&id("A-1", 1));
    world.agency.answer(&id("A-1", 1), &[StatusCode::UNPROCESSABLE_ENTITY]);
    for sequence in 1..=2 {
        world.gateway.deliver("A-1", sequence);
        world.gateway.deliver("B-1", sequence);
    }
    world.gateway.hears(TakenOver, 4).await;
    world.agency.let_go(&id("A-1", 1));
    let refused = declined("A-1/1", "AGENCY_REFUSED", DeclineKind::Permanent);
    assert_eq!(world.gateway.hears_no(1).await, std::slice::from_ref(&refused));
    assert_eq!(world.agency.takes(2).await, [id("B-1", 1), id("B-1", 2)]);
    adapter.until(|status| status["incoming"]["returned"] == 1 && status["incoming"]["not_handed_over"] == 0).await;
    // What comes before the gateway knows is not taken.
    world.gateway.deliver("A-1", 2);
    let busy = declined("A-1/2", "EARLIER_ONE_RETURNED", DeclineKind::Busy);
    assert_eq!(world.gateway.hears_no(2).await[1], busy);

    // The gateway is told until it says that it knows, over a restart too.
    adapter.stop().await.unwrap();
    world.gateway.forget_deliveries();
    world.gateway.forget_declines(false);
    let adapter = world.pushing_adapter().await;
    assert_eq!(world.gateway.hears_no(3).await[2], refused);
    adapter.until(|status| status["incoming"]["returned"] == 0).await;
    // A person had it tried again: it is taken over anew, in order.
    world.gateway.deliver("A-1", 1);
    world.gateway.deliver("A-1", 2);
    assert_eq!(world.agency.takes(4).await[2..], [id("A-1", 1), id("A-1", 2)]);
    assert_eq!(world.gateway.declined().len(), 3);
}

#[tokio::test]
async fn what_the_agency_fails_over_goes_back_after_so_many_times_and_a_line_that_fails_is_not_counted() {
    let world = World::new().await;
    let config = format!("webhook.url = \"http://{}/lgsp\"\nwebhook.attempts = 3", world.agency.address());
    let _adapter = Adapter::start(world.config(&config)).await;
    let (line, fails) = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR);
    world.agency.answer(&id("A-1", 1), &[line, fails, line, line, fails, line, fails]);
    world.gateway.deliver("A-1", 1);
    let failing = declined("A-1/1", "AGENCY_FAILING", DeclineKind::Transient);
    assert_eq!(world.gateway.hears_no(1).await, [failing]);
    assert_eq!(world.agency.posted().len(), 7);
}

#[tokio::test]
async fn a_party_that_fetches_can_refuse_a_delivery() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    for sequence in 1..=2 {
        world.gateway.deliver("A-1", sequence);
    }
    world.gateway.hears(TakenOver, 2).await;
    let refuse = |reason: &str| json!({"deliveries": [{"dossier_code": "A-1", "sequence": 1}], "reason": reason});
    let refused = adapter.post("/v1/inbox/refuse", "unused", &refuse("bà A đã mất")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let answer = adapter.post("/v1/inbox/refuse", "unused", &refuse("WRONG_AUTHORITY")).await;
    assert_eq!(answer.json()["refused"], json!([{"dossier_code": "A-1", "sequence": 1}]));
    let expected = declined("A-1/1", "WRONG_AUTHORITY", DeclineKind::Permanent);
    assert_eq!(world.gateway.hears_no(1).await, [expected]);
    adapter.until(|status| status["incoming"]["not_handed_over"] == 0).await;
    // It is not there to be refused, or acknowledged, once more.
    assert_eq!(
        adapter.post("/v1/inbox/refuse", "unused", &refuse("WRONG_AUTHORITY")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

fn declined(name: &str, reason: &str, kind: DeclineKind) -> Declined {
    Declined { name: name.into(), reason: reason.into(), kind }
}

#[tokio::test]
async fn a_party_without_a_webhook_fetches_and_acknowledges() {
    let world = World::new().await;
    let config = world
        .config(&format!("webhook.parties = {{ \"{OTHER_PARTY}\" = \"http://{}/lgsp\" }}", world.agency.address()));
    let adapter = Adapter::start(config).await;
    for sequence in 1..=3 {
        world.gateway.deliver("A-1", sequence);
        world.gateway.hears(TakenOver, sequence as usize).await;
    }
    // Page by page, without acknowledging; and from the last place on, what is yet to come.
    let mut path = "/v1/inbox?page_size=2".to_owned();
    for expected in [&[1, 2][..], &[3], &[]] {
        let page = adapter.get(&path).await.json();
        let sequences: Vec<_> = page["deliveries"].as_array().unwrap().iter().map(|d| d["sequence"].clone()).collect();
        assert_eq!(sequences, expected);
        path = format!("/v1/inbox?page_size=2&page_token={}", page["next_page_token"].as_str().unwrap());
    }
    world.gateway.deliver("A-1", 4);
    let next = adapter.get(&format!("{path}&wait_ms=30000")).await.json();
    assert_eq!(next["deliveries"][0]["sequence"], 4);
    let inbox = adapter.get("/v1/inbox?page_size=2").await.json();
    let sequences: Vec<_> = inbox["deliveries"].as_array().unwrap().iter().map(|d| d["sequence"].clone()).collect();
    assert_eq!(sequences, [1, 2]);
    assert_eq!(inbox["deliveries"][0]["body"]["type"], "accepted");
    let other = adapter.get(&format!("/v1/inbox?party={OTHER_PARTY}")).await.json();
    assert_eq!(other["deliveries"], json!([]));

    // What is not in the inbox refuses the whole, and marks nothing.
    let wrong = json!({"deliveries": [{"dossier_code": "A-1", "sequence": 1}, {"dossier_code": "Z-9", "sequence": 1}]});
    let refused = adapter.post("/v1/inbox/ack", "unused", &wrong).await;
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &"DELIVERY_UNKNOWN".into())
    );
    assert_eq!(refused.json()["fields"][0]["field"], "deliveries[1]");

    // Nor does the name of an event that stood there before the gateway was restored.
    let name = inbox["deliveries"][0]["delivery_id"].as_str().unwrap().to_owned();
    let of_before = json!({"dossier_code": "A-1", "sequence": 1, "delivery_id": format!("{name}~0011223344556677")});
    for path in ["ack", "refuse"] {
        let mut stale = json!({ "deliveries": [of_before] });
        if path == "refuse" {
            stale["reason"] = "UNREADABLE".into();
        }
        let refused = adapter.post(&format!("/v1/inbox/{path}"), "unused", &stale).await;
        assert_eq!(refused.json()["fields"][0]["field"], "deliveries[0].delivery_id", "{path}");
    }

    let first = json!({"dossier_code": "A-1", "sequence": 1, "delivery_id": name});
    let ack = json!({"deliveries": [first, {"dossier_code": "A-1", "sequence": 2}]});
    for _ in 0..2 {
        assert_eq!(adapter.post("/v1/inbox/ack", "unused", &ack).await.json()["acknowledged"], ack["deliveries"]);
    }
    let mut heard = world.gateway.hears(HandedOver, 2).await;
    heard.sort_unstable();
    assert_eq!(heard, ["A-1/1", "A-1/2"]);
    let inbox = adapter.get("/v1/inbox").await.json();
    assert_eq!(inbox["deliveries"].as_array().unwrap().len(), 2);
    assert!(world.agency.posted().is_empty());
}

#[tokio::test]
async fn an_agency_that_is_down_gets_everything_in_order_when_it_is_back() {
    let world = World::new().await;
    // A port that nobody listens on, until the agency's system comes back to it.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let adapter = Adapter::start(world.config(&format!("webhook.url = \"http://{address}/lgsp\""))).await;
    for sequence in 1..=5 {
        world.gateway.deliver("A-1", sequence);
    }
    adapter.until(|status| status["incoming"]["not_handed_over"] == 5).await;
    let agency = crate::support::Line::at(address, world.agency.address()).await;
    let expected: Vec<_> = (1..=5).map(|sequence| id("A-1", sequence)).collect();
    assert_eq!(world.agency.takes(5).await, expected);
    drop(agency);
}
