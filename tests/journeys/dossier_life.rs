//! Any desk takes a dossier, the competent authority decides it, and any desk hands back the result: three agencies, each with
//! its own adapter, and what each of them was told, in which order.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::agency::Agency;
use crate::place::{Adapter, Place};

const FORM: &str = "%PDF-1.7 the form, synthetic";
const LEASE: &str = "%PDF-1.7 what was missing, synthetic";
const NOTICE: &str = "%PDF-1.7 the result, synthetic";

#[tokio::test(flavor = "multi_thread")]
async fn a_dossier_goes_from_any_desk_through_its_authority_to_any_other_desk() {
    let place = Place::new();
    let gateway = place.gateway().await;
    // The commune where the citizen walks up, the police of another commune, who decide, the centre that hands out.
    let (desk, desk_adapter) = agency(&place, "mot-cua-binh", "H99.102", gateway.bus).await;
    let (authority, authority_adapter) = agency(&place, "cong-an", "H99.CA.101", gateway.bus).await;
    let (centre, centre_adapter) = agency(&place, "mot-cua", "H99.TT", gateway.bus).await;

    // 14 July: handed in with one document.
    let form = desk.upload(FORM).await;
    let accepted = desk.submit("residence-1", &submission(&form)).await;
    let admitted = desk.outcome("residence-1").await;
    assert_eq!(admitted["type"], "request.admitted", "{admitted}");
    assert_eq!(admitted["receipt"]["competent_authority"], "H99.CA.101");
    let code = admitted["dossier_code"].as_str().unwrap();
    // Who has no webhook asks where the 202 pointed to, and is told the same.
    assert_eq!(desk.ask(accepted["location"].as_str().unwrap()).await["receipt"], admitted["receipt"]);

    // The authority is told, and has the document.
    let first = authority.event(code, 1).await;
    assert_eq!((&first["event"]["type"], &first["event"]["party"]), (&json!("submitted"), &json!("H99.102")));
    assert_eq!(first["body"]["components"][0]["document"], form);
    assert_eq!(authority.download(code, &first["body"]["components"][0]["document"]).await, FORM);

    let at = "2025-07-14T10:00:00+07:00";
    gateway.set_clock(at).await;
    authority.say(code, at, json!({ "type": "accepted" })).await;
    assert_eq!(desk.event(code, 2).await["dossier"]["status"], "accepted");

    // 16 July: something is missing. 18 July: it is brought.
    let at = "2025-07-16T09:00:00+07:00";
    gateway.set_clock(at).await;
    let missing = json!({
        "type": "supplement_requested", "reason": "Thiếu hợp đồng thuê nhà (giả lập)", "items": ["Hợp đồng thuê nhà"],
        "until": "2025-07-31T17:00:00+07:00",
    });
    authority.say(code, at, missing).await;
    let asked = desk.event(code, 3).await;
    assert_eq!(asked["body"]["items"], json!(["Hợp đồng thuê nhà"]));

    let at = "2025-07-18T09:00:00+07:00";
    gateway.set_clock(at).await;
    let lease = desk.upload(LEASE).await;
    let components = json!([{ "name": "Hợp đồng thuê nhà", "document": lease, "copies": 1 }]);
    desk.say(code, at, json!({ "type": "supplement_provided", "components": components })).await;
    let brought = authority.event(code, 4).await;
    assert_eq!(authority.download(code, &brought["body"]["components"][0]["document"]).await, LEASE);

    // 22 July: decided. 24 July: the centre, which had no part in it so far, hands out what it downloads.
    let at = "2025-07-22T15:00:00+07:00";
    gateway.set_clock(at).await;
    let notice = authority.upload(NOTICE).await;
    let results = json!([{ "name": "Thông báo", "document": notice }]);
    authority.say(code, at, json!({ "type": "resolved", "results": results })).await;
    let resolved = centre.event(code, 5).await;
    assert_eq!(centre.download(code, &resolved["body"]["results"][0]["document"]).await, NOTICE);

    let at = "2025-07-24T08:30:00+07:00";
    gateway.set_clock(at).await;
    centre.say(code, at, json!({ "type": "returned", "channel": "direct" })).await;
    assert_eq!(desk.event(code, 6).await["dossier"]["status"], "returned");
    authority.event(code, 6).await;

    // Every party has the whole story, once, in its order.
    for adapter in [&desk_adapter, &authority_adapter, &centre_adapter] {
        adapter.settled().await;
    }
    let story = [
        ("submitted", "H99.102"),
        ("accepted", "H99.CA.101"),
        ("supplement_requested", "H99.CA.101"),
        ("supplement_provided", "H99.102"),
        ("resolved", "H99.CA.101"),
        ("returned", "H99.TT"),
    ];
    for (agency, party) in [(&desk, "H99.102"), (&authority, "H99.CA.101"), (&centre, "H99.TT")] {
        let line = |(number, (what, by)): (usize, (&str, &str))| {
            format!("{} {what} {}", number + 1, if by == party { "ours" } else { "theirs" })
        };
        let expected: Vec<String> = story.into_iter().enumerate().map(line).collect();
        assert_eq!(agency.story(), expected, "as told to {party}");
    }

    // And the gateway's books say the same, to whoever has a part in it.
    let shown = desk.show(code).await;
    let told: Vec<_> =
        shown["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(told, story.map(|(what, _)| what));
    let dossier = &shown["dossier"];
    assert_eq!((&dossier["status"], &dossier["hand_over"]), (&json!("returned"), &json!("returned")));
    assert_eq!(dossier["non_territorial"], true);
    assert_eq!((&dossier["clock"]["late"], dossier["documents"].as_array().unwrap().len()), (&json!(false), 3));

    for adapter in [desk_adapter, authority_adapter, centre_adapter] {
        adapter.stop().await;
    }
    gateway.stop().await;
    let books = place.fsck().await;
    assert_eq!((&books["dossiers"], &books["events"], &books["documents"]), (&json!(1), &json!(6), &json!(3)));
}

/// An agency with its adapter.
async fn agency(place: &Place, system: &str, party: &'static str, gateway: SocketAddr) -> (Agency, Adapter) {
    let agency = Agency::open(party).await;
    let adapter = place.adapter(system, party, gateway, agency.hook).await;
    agency.use_adapter(adapter.rest);
    (agency, adapter)
}

/// Somebody moves to commune An, and says so in commune Binh. Whoever it is is invented.
fn submission(form: &Value) -> Value {
    json!({
        "procedure_code": "1.000002",
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "99001",
        "intake_channel": "direct",
        "return_desk": "H99.TT",
        "return_channel": "direct",
        "received_at": "2025-07-14T08:00:00+07:00",
        "components": [{ "name": "Tờ khai", "document": form, "originals": 1 }],
    })
}
