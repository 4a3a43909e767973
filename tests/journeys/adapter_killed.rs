//! The adapter is killed between its 202 and the gateway's answer, once before the gateway has heard of it and once after.
//! Started again, it goes on where it was: the effect is had once, and the agency is told.

use ::http::Method;
use lgsp_proto::v1;
use serde_json::{Value, json};

use crate::agency::Agency;
use crate::line::{Condition, Line};
use crate::place::{Gateway, Place};
use crate::until;

const FORM: &str = "%PDF-1.7 a form, synthetic";

/// The desk, and the system that speaks for it.
const DESK: &str = "H99.102";
const SYSTEM: &str = "mot-cua-binh";

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_gateway_heard_of_it_the_adapter_sends_it_when_it_is_back() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let line = Line::to(gateway.bus, Condition::Cut).await;
    let desk = Agency::open(DESK).await;

    let adapter = place.adapter(SYSTEM, DESK, line.near, desk.hook).await;
    desk.use_adapter(adapter.rest);
    let form = desk.upload(FORM).await;
    assert_eq!(desk.submit("birth-1", &submission(Some(&form))).await["request_key"], "birth-1");
    adapter.kill().await;
    assert_eq!(gateway.figure("dossiers").await, 0);

    line.set(Condition::Sound);
    let adapter = place.adapter(SYSTEM, DESK, line.near, desk.hook).await;
    desk.use_adapter(adapter.rest);
    let outcome = desk.outcome("birth-1").await;
    assert_eq!(desk.request("birth-1").await["repeated"], false);
    one_effect(&place, &gateway, &desk, &outcome, &submission(Some(&form))).await;

    // The document came along: the authority has it.
    let authority = Agency::open("H99.101").await;
    let authority_adapter = place.adapter("mot-cua", "H99.101", gateway.bus, authority.hook).await;
    authority.use_adapter(authority_adapter.rest);
    let code = outcome["dossier_code"].as_str().unwrap();
    let delivery = authority.event(code, 1).await;
    assert_eq!(authority.download(code, &delivery["body"]["components"][0]["document"]).await, FORM);

    for adapter in [adapter, authority_adapter] {
        adapter.settled().await;
        adapter.stop().await;
    }
    gateway.stop().await;
    place.fsck().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_gateways_answer_was_on_its_way_the_adapter_gets_it_by_asking_again() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let line = Line::to(gateway.bus, Condition::Sound).await;
    let desk = Agency::open(DESK).await;

    let adapter = place.adapter(SYSTEM, DESK, line.near, desk.hook).await;
    desk.use_adapter(adapter.rest);
    until("a connection", async || (adapter.status().await["connected"] == true).then_some(())).await;
    line.set(Condition::Deaf);
    desk.submit("birth-1", &submission(None)).await;
    until("an admission", async || (gateway.figure("dossiers").await == 1).then_some(())).await;
    assert_eq!(desk.request("birth-1").await["state"], "sending");
    adapter.kill().await;

    line.set(Condition::Sound);
    let adapter = place.adapter(SYSTEM, DESK, line.near, desk.hook).await;
    desk.use_adapter(adapter.rest);
    let outcome = desk.outcome("birth-1").await;
    assert_eq!(desk.request("birth-1").await["repeated"], true);
    one_effect(&place, &gateway, &desk, &outcome, &submission(None)).await;

    adapter.settled().await;
    adapter.stop().await;
    gateway.stop().await;
    place.fsck().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_a_delivery_the_agency_did_not_take_the_adapter_hands_it_over_when_it_is_back() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let authority = Agency::open("H99.101").await;
    authority.set_down(true);
    let adapter = place.adapter("mot-cua", "H99.101", gateway.bus, authority.hook).await;
    let desk = place.link(SYSTEM, gateway.bus);
    let admitted = crate::support::submit(&desk, &crate::support::submission()).await.unwrap();

    // The gateway has let it go, the agency does not have it: it is the adapter's alone.
    until("a take-over", async || (gateway.figure("deliveries_taken_over").await == 1).then_some(())).await;
    assert_eq!(adapter.status().await["incoming"]["not_handed_over"], 1);
    adapter.kill().await;

    authority.set_down(false);
    let adapter = place.adapter("mot-cua", "H99.101", gateway.bus, authority.hook).await;
    authority.event(&admitted.receipt.dossier_code, 1).await;
    adapter.settled().await;
    assert_eq!(authority.story(), ["1 submitted theirs"]);
    assert_eq!(gateway.figure("deliveries_taken_over").await, 0);

    adapter.stop().await;
    gateway.stop().await;
    place.fsck().await;
}

/// One dossier, one event, one thing for the authority to do, one webhook to the desk; and asking again changes nothing.
async fn one_effect(place: &Place, gateway: &Gateway, desk: &Agency, outcome: &Value, submission: &Value) {
    assert_eq!(outcome["type"], "request.admitted", "{outcome}");
    let again = [("idempotency-key", "birth-1")];
    let again = desk.call(Method::POST, "/v1/dossiers", &again, submission.to_string()).await.json(202);
    assert_eq!(again["state"], "admitted");
    assert_eq!(desk.request("birth-1").await["receipt"], outcome["receipt"]);

    assert_eq!((gateway.figure("dossiers").await, gateway.figure("events").await), (1, 1));
    let asked = v1::BacklogRequest { parties: vec!["H99.101".into()], actor: "clerk-an-1".into() };
    let backlog = place.link("mot-cua", gateway.bus).inbox().backlog(asked).await.unwrap().into_inner();
    assert_eq!(backlog.parties[0].waiting, 1);
    assert_eq!(desk.story(), ["1 submitted ours"]);
}

/// A birth in commune An, taken in at commune Binh.
fn submission(form: Option<&Value>) -> Value {
    let mut component = json!({ "code": "to-khai", "name": "Tờ khai", "originals": 1 });
    if let Some(form) = form {
        component["document"] = form.clone();
    }
    json!({
        "procedure_code": "1.000001",
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "99001",
        "intake_channel": "direct",
        "return_channel": "direct",
        "received_at": "2025-07-14T08:00:00+07:00",
        "components": [component],
    })
}
