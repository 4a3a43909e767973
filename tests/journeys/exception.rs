//! A desk gave out a code without a line, and what it took in is refused once the line is back: the code stays used, and a
//! clerk works the case off with `lgsp desk`.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use crate::agency::Agency;
use crate::line::{Condition, Line};
use crate::place::Place;
use crate::until;

const DESK: &str = "H57.101";
const PROCEDURE: &str = "1.001193";

#[tokio::test(flavor = "multi_thread")]
async fn a_code_given_out_in_vain_stands_in_a_list_until_a_clerk_says_what_became_of_it() {
    let place = Place::of_hue();
    let gateway = place.gateway().await;
    let line = Line::to(gateway.bus, Condition::Sound).await;
    let agency = Agency::open(DESK).await;
    let more = format!("[offline]\nblock = 10\ndays_ahead = 1\nauthorities = [\"{DESK}\"]\n");
    let adapter = place.installation("mot-cua-hue", DESK, line.near, agency.hook, &more).await;
    agency.use_adapter(adapter.rest);
    until("a desk that has numbers", async || {
        let numbers = adapter.status().await["offline"]["numbers"].as_array().cloned().unwrap_or_default();
        (numbers.iter().filter(|block| block["left"].as_u64() >= Some(10)).count() >= 2).then_some(())
    })
    .await;

    line.set(Condition::Cut);
    until("a desk that knows it is alone", async || {
        (adapter.status().await["offline"]["line_down"] == true).then_some(())
    })
    .await;
    let told = agency.submit("khai-sinh-1", &submission(PROCEDURE)).await;
    let code = told["dossier_code"].as_str().unwrap().to_owned();

    // Meanwhile the procedure has come to its end, and the desk cannot know.
    place.change_registry("procedures.toml", |text| {
        let yesterday = Timestamp::now().to_zoned(TimeZone::UTC).date().yesterday().unwrap();
        let code = format!("code = \"{PROCEDURE}\"\n");
        text.replacen(&code, &format!("{code}valid_to = {yesterday}\n"), 1)
    });
    let operator = place.profile("operator.toml", "van-hanh", "H57.VH", gateway.bus);
    place.run(&["registry", "apply", "registry", "--yes", "--profile", &operator]).await;
    line.set(Condition::Sound);
    until("the refusal", async || (adapter.status().await["offline"]["exceptions"] == 1).then_some(())).await;

    let at = adapter.rest.to_string();
    let desk = ["--as", DESK, "--adapter", &at];
    let list = async |more: &[&str]| {
        let listed = place.run(&[&["desk", "exceptions", "list"], &desk[..], more].concat()).await;
        listed["exceptions"].as_array().unwrap().clone()
    };
    let [open] = &list(&[]).await[..] else { panic!("one") };
    assert_eq!((&open["dossier_code"], &open["request_key"]), (&json!(code), &json!("khai-sinh-1")));
    assert_eq!(open["problem"]["reason"], "PROCEDURE_ABOLISHED");

    let handle = |key: &'static str| {
        let said = ["desk", "exceptions", "handle", key, "--actor", "cb01", "--note", "đã báo công dân"];
        [&said[..], &desk[..]].concat()
    };
    let unknown = place.refused(&handle("khai-sinh-2")).await;
    assert!(unknown.contains("NOT_FOUND"), "{unknown}");
    let done = place.run(&handle("khai-sinh-1")).await;
    assert_eq!((&done["handled"]["actor"], &done["handled"]["note"]), (&json!("cb01"), &json!("đã báo công dân")));
    assert_eq!(list(&[]).await, Vec::<Value>::new());
    assert_eq!(list(&["--handled"]).await.len(), 1);
    assert_eq!(adapter.status().await["offline"]["exceptions"], 0);

    // The number is used up: the next dossier gets another.
    let next = agency.submit("ket-hon-1", &submission("1.000894")).await;
    assert_ne!(next["dossier_code"], json!(code));
    adapter.stop().await;
    gateway.stop().await;
    place.fsck().await;
}

fn submission(procedure: &str) -> Value {
    let received_at = Timestamp::now() - SignedDuration::from_secs(60);
    json!({
        "procedure_code": procedure,
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "19753",
        "intake_channel": "direct",
        "return_channel": "direct",
        "received_at": received_at.to_string(),
        "components": [{ "code": "to-khai", "name": "Tờ khai", "originals": 1 }],
    })
}
