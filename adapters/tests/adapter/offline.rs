//! The desk without a line: what the citizen is told at once, and what becomes of it when the line is back.

use std::time::SystemTime;

use http::{Method, StatusCode};
use lgsp_proto::types::{BusinessTime, Date};
use lgsp_proto::{Reason, v1};
use prost::Message;
use serde_json::{Value, json};

use crate::support::{Adapter, Answer, OTHER_PARTY, PARTY, World, submission};

/// The desk decides 1.001193 itself; 1.000111 goes to the department, which the desk never sent anything to before.
pub fn registry() -> Vec<(String, String)> {
    let year = now().date().year();
    let files = [
        (
            "parties.toml",
            r#"party = [
                { id = "H57.101", name = "UBND phường Phú Xuân", kind = "commune", unit = "19753", desk = true, own_numbers_from = 50001 },
                { id = "H57.12", name = "Sở Tư pháp", kind = "department", unit = "46" },
            ]"#
            .to_owned(),
        ),
        (
            "units.toml",
            r#"unit = [
                { code = "46", name = "Thành phố Huế" },
                { code = "19753", name = "Phường Phú Xuân", parent = "46" },
            ]"#
            .to_owned(),
        ),
        (
            "procedures.toml",
            r#"
            [[procedure]]
            code = "1.001193"
            name = "Đăng ký khai sinh"
            field = "Hộ tịch"
            level = "commune"
            decision = "1/QĐ"
            limit = "3wd"
            [[procedure]]
            code = "1.000111"
            name = "Cấp phiếu lý lịch"
            field = "Lý lịch"
            level = "province"
            decision = "2/QĐ"
            limit = "5wd"
            "#
            .to_owned(),
        ),
        (
            "routes.toml",
            r#"
            [[route]]
            id = "xa"
            level = "commune"
            authority_of_unit = "commune"
            basis = "x"
            [[route]]
            id = "so"
            level = "province"
            authority = "H57.12"
            basis = "x"
            "#
            .to_owned(),
        ),
        (
            "grants.toml",
            r#"
            [[grant]]
            id = "tiep-nhan"
            kind = "commune"
            right = "submit"
            procedures = "any"
            owner = "H57.12"
            [[grant]]
            id = "giai-quyet"
            parties = ["H57.101", "H57.12"]
            right = "decide"
            procedures = "any"
            owner = "H57.12"
            "#
            .to_owned(),
        ),
        (
            "systems.toml",
            "[[system]]\nname = \"one-stop\"\ndescription = \"x\"\nacts_for = [\"H57.101\", \"H57.12\"]\n".to_owned(),
        ),
        (
            "calendars.toml",
            format!(
                "[[calendar]]\nid = \"default\"\nname = \"x\"\nyears = [{}, {year}, {}]\nhours = [\"07:00-11:30\", \"13:30-17:00\"]\n",
                year - 1,
                year + 1
            ),
        ),
    ];
    files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect()
}

fn now() -> BusinessTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    BusinessTime::from_unix_seconds(i64::try_from(since.as_secs()).unwrap()).unwrap()
}

fn today() -> Date {
    now().date()
}

/// A dossier for the desk's own authority, received a minute ago.
pub fn dossier() -> Value {
    let mut json = submission();
    let received = now().unix_seconds() - 60;
    json["received_at"] = BusinessTime::from_unix_seconds(received).unwrap().to_string().into();
    json["intake_channel"] = "direct".into();
    json
}

/// A dossier for the department.
pub fn dossier_for_the_department() -> Value {
    let mut json = dossier();
    json["procedure_code"] = "1.000111".into();
    json
}

pub fn code(number: u32) -> String {
    let day = today();
    format!("{PARTY}-{:02}{:02}{:02}-{number:04}", day.year() - 2000, day.month(), day.day())
}

pub fn said(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

pub async fn world() -> World {
    let world = World::new().await;
    world.gateway.apply_registry(7, registry());
    world
}

/// An adapter that has synced and leased; two numbers a day, so that they run out.
async fn prepared(world: &World) -> Adapter {
    let adapter = Adapter::start(world.config("offline.block = 2\noffline.days_ahead = 1")).await;
    adapter.until(|status| status["offline"]["numbers"].as_array().is_some_and(|numbers| numbers.len() == 2)).await;
    adapter
}

pub async fn without_a_line(world: &World) -> Adapter {
    let adapter = prepared(world).await;
    cut(world, &adapter).await;
    adapter
}

async fn cut(world: &World, adapter: &Adapter) {
    world.line.cut();
    adapter.until(|status| status["offline"]["line_down"] == true).await;
}

fn keys(world: &World) -> Vec<String> {
    world.gateway.attempts().into_iter().map(|attempt| attempt.key).collect()
}

#[tokio::test]
async fn a_desk_without_a_line_tells_the_citizen_code_authority_and_due_date() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    let answered = adapter.post("/v1/dossiers", "k1", &dossier()).await;
    let told = answered.json();
    assert_eq!(answered.status, StatusCode::ACCEPTED, "{told}");
    assert_eq!(told["offline"], true);
    assert_eq!((&told["dossier_code"], &told["registry_version"]), (&code(1).into(), &7.into()));
    assert_eq!(told["competent_authority"], PARTY);
    assert!(said(&told["due_at"]) > said(&told["received_at"]));
    assert_eq!(told["slip"]["form"], "01");
    assert_eq!(told["slip"]["desk_name"], "UBND phường Phú Xuân");
    assert_eq!(told["slip"]["procedure_name"], "Đăng ký khai sinh");
    assert!(told["registry_age_seconds"].is_u64());

    // What only this machine knows it tells.
    let shown = adapter.get(&format!("/v1/dossiers/{}", code(1))).await;
    assert_eq!(shown.status, StatusCode::OK);
    let shown = shown.json();
    assert_eq!((&shown["dossier"]["status"], &shown["dossier"]["request_key"]), (&"queued".into(), &"k1".into()));
    assert_eq!(adapter.get("/v1/requests/k1").await.json()["dossier_code"], code(1));
    let other = [("lgsp-party", OTHER_PARTY), ("lgsp-actor", "mot.cua")];
    let path = format!("/v1/dossiers/{}", code(1));
    assert_eq!(adapter.call(Method::GET, &path, &other, "").await.status, StatusCode::SERVICE_UNAVAILABLE);
    // And what it does not know it says at once.
    let unknown = adapter.get("/v1/dossiers/H57.12-250714-0001").await;
    assert_eq!(
        (unknown.status, &unknown.json()["reason"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"GATEWAY_UNREACHABLE".into())
    );
    assert!(unknown.headers.contains_key("retry-after"));

    world.line.mend();
    let outcome = adapter.outcome("k1").await;
    assert_eq!((&outcome["state"], &outcome["dossier_code"]), (&"admitted".into(), &code(1).into()));
    adapter.until(|status| status["offline"]["line_down"] == false && status["offline"]["waiting"] == 0).await;
}

#[tokio::test]
async fn what_the_gateway_would_refuse_is_refused_here_with_the_same_words() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    let with = |field: &str, value: Value| {
        let mut json = dossier();
        json[field] = value;
        json
    };
    let far_back = BusinessTime::from_unix_seconds(now().unix_seconds() - 20 * 24 * 3600).unwrap().to_string();
    let ahead = BusinessTime::from_unix_seconds(now().unix_seconds() + 3600).unwrap().to_string();
    for (json, reason, field) in [
        (with("procedure_code", "1.999999".into()), "PROCEDURE_UNKNOWN", "procedure_code"),
        (with("case_code", "x".into()), "CASE_UNKNOWN", "case_code"),
        (with("locality", "19774".into()), "UNIT_UNKNOWN", "locality"),
        (with("return_desk", "H57.99".into()), "PARTY_UNKNOWN", "return_desk"),
        (with("return_desk", OTHER_PARTY.into()), "GRANT_MISSING", "return_desk"),
        (with("received_at", far_back.into()), "TIME_TOO_FAR_BACK", "received_at"),
        (with("received_at", ahead.into()), "TIME_AHEAD", "received_at"),
        (with("dossier_code", "H57.12-250714-0001".into()), "CODE_NOT_LEASED", "dossier_code"),
        (with("dossier_code", code(2).into()), "CODE_NOT_LEASED", "dossier_code"),
        (with("aliases", json!(["a", "a"])), "FIELD_INVALID", "aliases"),
    ] {
        let refused = adapter.post("/v1/dossiers", "k1", &json).await;
        let problem = refused.json();
        let expected = if reason == "GRANT_MISSING" { StatusCode::FORBIDDEN } else { StatusCode::UNPROCESSABLE_ENTITY };
        assert_eq!(refused.status, expected, "{problem}");
        assert_eq!(problem["reason"], reason);
        assert_eq!(problem["fields"][0]["field"], field, "{problem}");
    }
    let headers = [("lgsp-party", OTHER_PARTY), ("lgsp-actor", "mot.cua"), ("idempotency-key", "k1")];
    let refused = adapter.call(Method::POST, "/v1/dossiers", &headers, dossier().to_string()).await;
    assert_eq!(refused.json()["reason"], "GRANT_MISSING");
    // Nothing was taken in, and no number was used.
    assert_eq!(adapter.get("/v1/requests/k1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(adapter.post("/v1/dossiers", "k1", &dossier()).await.json()["dossier_code"], code(1));
}

#[tokio::test]
async fn a_desk_without_numbers_gives_a_provisional_one_that_the_dossier_goes_by() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    let mut provisional = Vec::new();
    for key in ["k1", "k2"] {
        let told = adapter.post("/v1/dossiers", key, &dossier_for_the_department()).await.json();
        assert!(told["dossier_code"].is_null() && told["message_vi"].is_string() && told["message_en"].is_string());
        assert_eq!(told["competent_authority"], OTHER_PARTY);
        provisional.push(said(&told["provisional_number"]).to_owned());
    }
    assert!(provisional[0].starts_with(&format!("TN-{PARTY}-")) && provisional[0] != provisional[1], "{provisional:?}");
    // Two numbers of its own authority were leased; the third dossier finds none.
    for (key, expected) in [("k3", Some(1)), ("k4", Some(2)), ("k5", None)] {
        let told = adapter.post("/v1/dossiers", key, &dossier()).await.json();
        assert_eq!(told["dossier_code"].as_str().map(str::to_owned), expected.map(code));
        assert_eq!(told["provisional_number"].is_string(), expected.is_none());
    }
    assert_eq!(adapter.get(&format!("/v1/dossiers/{}", provisional[0])).await.json()["dossier"]["status"], "queued");

    world.line.mend();
    let outcome = adapter.outcome("k1").await;
    assert_eq!((&outcome["state"], said(&outcome["provisional_number"])), (&"admitted".into(), &*provisional[0]));
    let attempts = world.gateway.sees_attempts(1).await;
    let body = v1::Submission::decode(attempts[0].body.clone()).unwrap();
    assert_eq!((body.aliases, body.dossier_code), (vec![provisional[0].clone()], String::new()));
}

#[tokio::test]
async fn what_was_taken_in_goes_out_in_order_when_the_line_is_back() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    let accepted = |at: BusinessTime| json!({"type": "accepted", "occurred_at": at.to_string()});
    let told = adapter.post("/v1/dossiers", "k1", &dossier()).await.json();
    let first = said(&told["dossier_code"]).to_owned();
    let told = adapter.post("/v1/dossiers", "k2", &dossier_for_the_department()).await.json();
    let second = said(&told["provisional_number"]).to_owned();
    adapter.post(&format!("/v1/dossiers/{second}/events"), "e2", &accepted(now())).await;
    adapter.post(&format!("/v1/dossiers/{first}/events"), "e1", &accepted(now())).await;
    adapter.post("/v1/dossiers", "k3", &dossier()).await;

    // The first is held by the gateway: nothing of the lane may pass it, what has nothing to do with it does.
    world.gateway.answer_next([Answer::Hold]);
    world.line.mend();
    world.gateway.sees_attempts(1).await;
    assert_eq!(keys(&world), ["k1"]);
    adapter.post("/v1/dossiers/H57.12-250714-0009/events", "other", &accepted(now())).await;
    assert_eq!(adapter.outcome("other").await["state"], "admitted");
    assert_eq!(keys(&world), ["k1", "other"]);
    // A refusal does not stop the others. Before the epoch is told again, it might be that of books that were restored.
    adapter.until(|status| status["epoch"] == 1).await;
    world.gateway.answer_next([Answer::Refuse(Reason::NoRoute)]);
    world.gateway.let_go();
    for key in ["k1", "k2", "e2", "e1", "k3"] {
        let state = if key == "k2" { "refused" } else { "admitted" };
        assert_eq!(adapter.outcome(key).await["state"], state, "{key}");
    }
    assert_eq!(keys(&world), ["k1", "other", "k2", "e2", "e1", "k3"]);
}

#[tokio::test]
async fn the_same_request_gets_the_same_number_and_a_kill_gives_none_twice() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    let json = dossier();
    let first = adapter.post("/v1/dossiers", "k1", &json).await.json();
    assert_eq!(first["dossier_code"], code(1));
    let again = adapter.post("/v1/dossiers", "k1", &json).await.json();
    assert_eq!((&again["dossier_code"], &again["due_at"]), (&first["dossier_code"], &first["due_at"]));
    let mut other = json.clone();
    other["summary"] = "khác".into();
    assert_eq!(adapter.post("/v1/dossiers", "k1", &other).await.json()["reason"], "KEY_REUSED");
    adapter.kill().await;

    // Registry and numbers are still there, though the line is not.
    let adapter = Adapter::start(world.config("offline.block = 2\noffline.days_ahead = 1")).await;
    adapter.until(|status| status["offline"]["line_down"] == true).await;
    assert_eq!(adapter.status().await["offline"]["registry"]["version"], 7);
    assert_eq!(adapter.post("/v1/dossiers", "k1", &json).await.json()["dossier_code"], code(1));
    assert_eq!(adapter.post("/v1/dossiers", "k2", &json).await.json()["dossier_code"], code(2));
    world.line.mend();
    for (key, number) in [("k1", 1), ("k2", 2)] {
        assert_eq!(adapter.outcome(key).await["dossier_code"], code(number));
    }
    // The same once more, with the line: what was told stays told.
    assert_eq!(adapter.post("/v1/dossiers", "k1", &json).await.json()["dossier_code"], code(1));
    // And what was used is replaced.
    let enough = |status: &Value| {
        let numbers = status["offline"]["numbers"].as_array().unwrap();
        numbers.iter().all(|one| one["left"].as_u64().unwrap() >= 2)
    };
    adapter.until(enough).await;
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_found_at_the_next_asking() {
    let world = world().await;
    world.gateway.lose_leases(1);
    let adapter = prepared(&world).await;
    cut(&world, &adapter).await;
    let mut codes = Vec::new();
    for key in ["k1", "k2", "k3", "k4"] {
        codes.push(said(&adapter.post("/v1/dossiers", key, &dossier()).await.json()["dossier_code"]).to_owned());
    }
    assert_eq!(codes, [code(1), code(2), code(3), code(4)]);
}

#[tokio::test]
async fn blocks_of_a_former_epoch_are_void() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    assert_eq!(adapter.post("/v1/dossiers", "k1", &dossier()).await.json()["dossier_code"], code(1));
    // One number is left of the block, and the gateway is restored meanwhile.
    world.gateway.begin_epoch(2);
    world.line.mend();
    let of_today = |status: &Value| {
        let numbers = status["offline"]["numbers"].as_array().unwrap().clone();
        numbers.into_iter().find(|one| one["day"] == today().to_string()).map(|one| one["left"].clone())
    };
    adapter.until(|status| of_today(status) == Some(2.into())).await;
    cut(&world, &adapter).await;
    assert_eq!(adapter.post("/v1/dossiers", "k2", &dossier()).await.json()["dossier_code"], code(10_003));
}

#[tokio::test]
async fn a_desk_that_had_all_its_numbers_has_them_anew_as_soon_as_it_hears_of_a_restore() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    world.gateway.begin_epoch(2);
    world.line.mend();
    let left = |status: &Value| -> Vec<Value> {
        status["offline"]["numbers"].as_array().into_iter().flatten().map(|one| one["left"].clone()).collect()
    };
    adapter.until(|status| status["epoch"] == 2 && left(status) == [json!(2), json!(2)]).await;
    cut(&world, &adapter).await;
    assert_eq!(adapter.post("/v1/dossiers", "k1", &dossier()).await.json()["dossier_code"], code(10_003));
}

#[tokio::test]
async fn a_code_given_in_vain_stands_in_the_list_until_a_clerk_has_worked_it_off() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    adapter.post("/v1/dossiers", "k1", &dossier()).await;
    adapter.post("/v1/dossiers", "k2", &dossier_for_the_department()).await;
    world.gateway.answer_next([Answer::Refuse(Reason::AliasTaken), Answer::Refuse(Reason::NoRoute)]);
    world.line.mend();
    assert_eq!(adapter.outcome("k1").await["state"], "refused");
    let outcome = adapter.outcome("k2").await;
    assert_eq!((&outcome["state"], outcome["provisional_number"].is_string()), (&"refused".into(), true));
    assert_eq!(adapter.status().await["offline"]["exceptions"], 2);
    adapter.kill().await;

    let adapter = Adapter::start(world.config("offline.block = 2\noffline.days_ahead = 1")).await;
    let page = adapter.get("/v1/exceptions?page_size=1").await.json();
    assert_eq!(page["exceptions"][0]["request_key"], "k1");
    assert_eq!(page["exceptions"][0]["dossier_code"], code(1));
    assert_eq!(page["exceptions"][0]["problem"]["reason"], "ALIAS_TAKEN");
    let next = format!("/v1/exceptions?page_size=1&page_token={}", said(&page["next_page_token"]));
    let page = adapter.get(&next).await.json();
    assert_eq!((&page["exceptions"][0]["request_key"], &page["next_page_token"]), (&"k2".into(), &Value::Null));

    let handled = json!({"actor": "can.bo", "note": "đã báo công dân"});
    for (key, body, status, reason) in [
        ("k9", &handled, 404, "EXCEPTION_NOT_FOUND"),
        ("k1", &json!({}), 422, "FIELD_INVALID"),
        ("k1", &json!({"note": "x", "replaced_by_request_key": "k9"}), 422, "FIELD_INVALID"),
    ] {
        let refused = adapter.post(&format!("/v1/exceptions/{key}/handled"), "-", body).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["reason"]), (status, &reason.into()));
    }
    for _ in 0..2 {
        let done = adapter.post("/v1/exceptions/k1/handled", "-", &handled).await;
        assert_eq!(done.status, StatusCode::OK);
        assert_eq!(done.json()["handled"]["actor"], "can.bo");
    }
    let otherwise = adapter.post("/v1/exceptions/k1/handled", "-", &json!({"note": "khác"})).await;
    assert_eq!((otherwise.status, &otherwise.json()["reason"]), (StatusCode::CONFLICT, &"EXCEPTION_HANDLED".into()));
    assert_eq!(adapter.status().await["offline"]["exceptions"], 1);
    let open = adapter.get("/v1/exceptions").await.json();
    assert_eq!(open["exceptions"].as_array().unwrap().len(), 1);
    let all = adapter.get("/v1/exceptions?handled=true").await.json();
    assert_eq!(all["exceptions"][0]["handled"]["note"], "đã báo công dân");
}

#[tokio::test]
async fn a_clock_that_differs_is_flagged_where_it_matters() {
    let world = world().await;
    world.gateway.set_clock_ahead(600);
    let adapter = without_a_line(&world).await;
    let clock = adapter.status().await["offline"]["clock"].clone();
    assert_eq!((&clock["exceeded"], &clock["tolerance_seconds"]), (&true.into(), &120.into()));
    assert!((590.0..=601.0).contains(&clock["skew_seconds"].as_f64().unwrap()), "{clock}");
    let told = adapter.post("/v1/dossiers", "k1", &dossier()).await.json();
    assert_eq!(told["warnings"][0]["reason"], "DESK_CLOCK_SKEWED");
}

#[tokio::test]
async fn a_desk_whose_clock_shows_another_day_leaves_the_code_to_the_gateway() {
    let world = world().await;
    world.gateway.set_clock_ahead(-13 * 3600);
    let adapter = world.adapter().await;
    let status = adapter.until(|status| status["offline"]["clock"]["exceeded"] == true).await;
    assert_eq!(status["offline"]["numbers"], json!([]));
    cut(&world, &adapter).await;
    let told = adapter.post("/v1/dossiers", "k1", &dossier()).await.json();
    assert!(told["code_pending"] == true && told["offline"].is_null(), "{told}");
    // Started anew without a line it cannot compare them, and there is nothing that speaks for its clock.
    adapter.kill().await;
    let adapter = world.adapter().await;
    adapter.until(|status| status["offline"]["line_down"] == true).await;
    let told = adapter.post("/v1/dossiers", "k2", &dossier()).await.json();
    assert!(told["code_pending"] == true && told["offline"].is_null(), "{told}");
}

#[tokio::test]
async fn a_caller_who_wants_the_gateways_word_waits_for_it() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    let headers = |offline| {
        [("lgsp-party", PARTY), ("lgsp-actor", "mot.cua"), ("idempotency-key", "k1"), ("lgsp-offline", offline)]
    };
    let wrong = adapter.call(Method::POST, "/v1/dossiers", &headers("perhaps"), dossier().to_string()).await;
    assert_eq!(wrong.json()["fields"][0]["field"], "LGSP-Offline");
    let waits = adapter.call(Method::POST, "/v1/dossiers", &headers("never"), dossier().to_string()).await;
    assert_eq!(waits.status, StatusCode::ACCEPTED);
    let waits = waits.json();
    assert!(waits["code_pending"] == true && waits["offline"].is_null() && waits["dossier_code"].is_null());
    world.line.mend();
    assert_eq!(adapter.outcome("k1").await["dossier_code"], "H57.12-250714-0001");
}

#[tokio::test]
async fn without_a_registry_a_dossier_waits_for_its_code() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    cut(&world, &adapter).await;
    let told = adapter.post("/v1/dossiers", "k1", &dossier()).await.json();
    assert!(told["code_pending"] == true && told["offline"].is_null());
    // The reception is the desk's, said or not.
    let mut unsaid = dossier();
    unsaid.as_object_mut().unwrap().remove("received_at");
    for _ in 0..2 {
        assert_eq!(adapter.post("/v1/dossiers", "k2", &unsaid).await.status, StatusCode::ACCEPTED);
    }
    world.line.mend();
    assert_eq!(adapter.outcome("k2").await["state"], "admitted");
    let attempts = world.gateway.attempts();
    let body = &attempts.iter().find(|attempt| attempt.key == "k2").unwrap().body;
    let received = v1::Submission::decode(body.clone()).unwrap().received_at.unwrap();
    assert!((now().unix_seconds() - received.seconds).abs() < 60);
}

#[tokio::test]
async fn a_registry_that_cannot_be_read_keeps_the_former() {
    let world = world().await;
    let adapter = prepared(&world).await;
    let mut tomorrow = registry();
    tomorrow[0].1 += "\nof_tomorrow = 1\n";
    world.gateway.apply_registry(8, tomorrow);
    world.line.shake();
    let registry =
        adapter.until(|status| status["offline"]["registry"]["problem"].is_string()).await["offline"]["registry"]
            .clone();
    assert_eq!(registry["version"], 7);
    assert!(said(&registry["problem"]).contains("version 8"));
    cut(&world, &adapter).await;
    assert_eq!(adapter.post("/v1/dossiers", "k1", &dossier()).await.json()["dossier_code"], code(1));
    // It was told what it had, so that the same files did not come again.
    assert!(world.gateway.known_versions().contains(&7));
}

#[tokio::test]
async fn an_authority_whose_own_software_numbers_is_passed_on_as_it_said() {
    let world = world().await;
    let adapter = without_a_line(&world).await;
    let mut json = dossier();
    json["dossier_code"] = code(50_001).into();
    let told = adapter.post("/v1/dossiers", "k1", &json).await.json();
    assert_eq!((&told["dossier_code"], &told["offline"]), (&code(50_001).into(), &true.into()));
    assert_eq!(adapter.post("/v1/dossiers", "k2", &dossier()).await.json()["dossier_code"], code(1));
    world.line.mend();
    assert_eq!(adapter.outcome("k1").await["dossier_code"], code(50_001));
}
