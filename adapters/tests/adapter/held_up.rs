//! What is wrong with one party, one document, one call or one delivery costs the others nothing.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use http::{Method, StatusCode};
use lgsp_proto::v1::AcknowledgeStage::{HandedOver, TakenOver};
use lgsp_proto::v1::DeclineKind;
use serde_json::{Value, json};

use crate::offline::{code, dossier, registry, without_a_line};
use crate::support::gateway::{Declined, sha256};
use crate::support::{Adapter, OTHER_PARTY, PARTY, World, until};

fn id(dossier: &str, sequence: u32) -> String {
    format!("{PARTY}/{dossier}/{sequence}")
}

#[tokio::test]
async fn a_party_the_system_may_not_act_for_costs_the_others_nothing_and_comes_back_by_itself() {
    let world = World::new().await;
    world.gateway.forbid(OTHER_PARTY, true);
    let adapter = world.pushing_adapter().await;
    world.gateway.deliver("A-1", 1);
    assert_eq!(world.agency.takes(1).await, [id("A-1", 1)]);
    assert_eq!(world.gateway.parties(), [PARTY]);
    let status = adapter.until(|status| status["parties_refused"] == json!([OTHER_PARTY])).await;
    assert_eq!(status["epoch"], 1, "what the gateway says is final for the others");

    world.gateway.forbid(OTHER_PARTY, false);
    until(async || (world.gateway.parties() == [PARTY, OTHER_PARTY]).then_some(())).await;
    adapter.until(|status| status["parties_refused"].is_null()).await;

    // The same in the middle of a stream, and for the party that is named first.
    world.gateway.forbid(PARTY, true);
    until(async || (world.gateway.parties() == [OTHER_PARTY]).then_some(())).await;
    // For nobody any more: it goes on asking.
    world.gateway.forbid(OTHER_PARTY, true);
    adapter.until(|status| status["parties_refused"] == json!([PARTY, OTHER_PARTY])).await;
    world.gateway.forbid(PARTY, false);
    until(async || (world.gateway.parties() == [PARTY]).then_some(())).await;
}

#[tokio::test]
async fn what_a_party_gives_back_is_told_on_a_stream_that_serves_it() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    world.gateway.deliver("A-1", 1);
    world.gateway.deliver("B-1", 1);
    world.gateway.hears(TakenOver, 2).await;
    world.gateway.forbid(PARTY, true);
    until(async || (world.gateway.parties() == [OTHER_PARTY]).then_some(())).await;
    let refuse = json!({"deliveries": [{"dossier_code": "A-1", "sequence": 1}], "reason": "WRONG_AUTHORITY"});
    assert_eq!(adapter.post("/v1/inbox/refuse", "unused", &refuse).await.status, StatusCode::OK);
    let ack = json!({"deliveries": [{"dossier_code": "B-1", "sequence": 1}]});
    assert_eq!(adapter.post("/v1/inbox/ack", "unused", &ack).await.status, StatusCode::OK);

    // What is delivered once more would be declined once more.
    world.gateway.forget_deliveries();
    world.gateway.forbid(PARTY, false);
    assert_eq!(world.gateway.hears_no(1).await, [declined("A-1/1", "WRONG_AUTHORITY", DeclineKind::Permanent)]);
    // Told again where the first time was not confirmed before the stream changed.
    let told = world.gateway.hears(HandedOver, 1).await;
    assert!(told.iter().all(|name| name == "B-1/1"), "{told:?}");
    adapter.until(|status| status["incoming"]["returned"] == 0 && status["incoming"]["unconfirmed"] == 0).await;
}

fn declined(name: &str, reason: &str, kind: DeclineKind) -> Declined {
    Declined { name: name.into(), reason: reason.into(), kind }
}

#[tokio::test]
async fn a_desk_that_may_not_be_acted_for_leaves_the_other_its_registry_and_its_numbers() {
    let world = World::new().await;
    let both_take_in = |(name, content): (String, String)| {
        (
            name,
            content.replace(
                "kind = \"commune\"\n            right",
                "parties = [\"H57.101\", \"H57.12\"]\n            right",
            ),
        )
    };
    world.gateway.apply_registry(7, registry().into_iter().map(both_take_in));
    world.gateway.forbid(PARTY, true);
    let adapter = Adapter::start(world.config("offline.refresh_seconds = 1")).await;
    let numbers_of = |status: &Value, party: &str| {
        let numbers = status["offline"]["numbers"].as_array().unwrap();
        numbers.iter().any(|one| one["desk"] == party)
    };
    let status = adapter.until(|status| numbers_of(status, OTHER_PARTY)).await;
    assert_eq!(status["offline"]["registry"]["version"], 7);
    assert!(!numbers_of(&status, PARTY));

    // Where there is nobody to ask for it any more, that is said.
    world.gateway.forbid(OTHER_PARTY, true);
    let status = adapter.until(|status| status["offline"]["registry"]["problem"].is_string()).await;
    let problem = status["offline"]["registry"]["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("may not act for this party"), "{problem}");
    world.gateway.forbid(OTHER_PARTY, false);
    adapter.until(|status| status["offline"]["registry"]["problem"].is_null()).await;
}

/// Turns one byte of a file into another.
fn spoil(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// The files of a folder whose names end so.
fn bytes_of(folder: &Path, end: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wanted = files.filter(|path| path.to_str().unwrap().ends_with(end));
    wanted.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_document_that_cannot_be_read_back_costs_its_own_dossier_and_not_the_desks_day() {
    let world = crate::offline::world().await;
    let adapter = without_a_line(&world).await;
    let content = vec![7; 200_000];
    let headers = [("lgsp-party", PARTY), ("lgsp-actor", "mot.cua"), ("content-type", "application/pdf")];
    let uploaded = adapter.call(Method::POST, "/v1/documents", &headers, content.clone()).await;
    assert_eq!(uploaded.status, StatusCode::CREATED);
    let mut with_document = dossier();
    with_document["components"] = json!([{
        "code": "to-khai", "name": "Tờ khai", "originals": 1, "copies": 0,
        "document": {
            "sha256": uploaded.json()["sha256"], "size_bytes": content.len(), "media_type": "application/pdf"
        }
    }]);
    let [(document, sealed)] = &bytes_of(&world.spool_folder().join("documents"), "")[..] else { panic!() };
    spoil(document, sealed.len() as u64 / 2);
    adapter.post("/v1/dossiers", "k1", &with_document).await;
    adapter.post("/v1/dossiers", "k2", &dossier()).await;

    world.line.mend();
    let outcome = adapter.outcome("k1").await;
    assert_eq!((&outcome["state"], &outcome["problem"]["reason"]), (&"refused".into(), &"DOCUMENT_UNKNOWN".into()));
    assert_eq!(adapter.outcome("k2").await["dossier_code"], code(2));
    // A clerk sees it, and can bring the document once more.
    let exceptions = adapter.get("/v1/exceptions").await.json();
    assert_eq!(exceptions["exceptions"][0]["dossier_code"], code(1));
    assert!(bytes_of(&world.spool_folder().join("documents"), "").is_empty());
    assert!(world.gateway.document(PARTY, &sha256(&content)).is_none_or(|brought| brought != content));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_back_is_told_and_shown_to_a_clerk_and_the_next_go_on() {
    let world = crate::offline::world().await;
    let adapter = without_a_line(&world).await;
    let journal = world.spool_folder().join("journal");
    let before = bytes_of(&journal, ".seg");
    // Far longer than all that the adapter may write down by itself meanwhile: numbers, a registry, an epoch.
    let mut long = dossier();
    long["form"] = "mẫu ".repeat(50_000).into();
    adapter.post("/v1/dossiers", "k1", &long).await;
    let after = bytes_of(&journal, ".seg");
    adapter.post("/v1/dossiers", "k2", &dossier()).await;
    // The middle of what was added lies in the first dossier, whatever else was.
    let [(segment, now)] = &after[..] else { panic!() };
    let then = &before[0].1;
    let begin = then.iter().zip(now).position(|(then, now)| then != now).unwrap_or(then.len());
    spoil(segment, u64::midpoint(begin as u64, now.iter().rposition(|byte| *byte != 0).unwrap() as u64));

    world.line.mend();
    let outcome = adapter.outcome("k1").await;
    let told = (&outcome["state"], &outcome["problem"]["reason"]);
    assert_eq!(told, (&"refused".into(), &"SPOOL_RECORD_DAMAGED".into()), "{outcome}");
    assert_eq!(adapter.outcome("k2").await["dossier_code"], code(2));
    let exceptions = adapter.get("/v1/exceptions").await.json();
    let exception = &exceptions["exceptions"][0];
    assert_eq!((&exception["dossier_code"], &exception["request_key"]), (&code(1).into(), &"k1".into()));
    let handled = json!({"note": "đã tiếp nhận lại"});
    assert_eq!(adapter.post("/v1/exceptions/k1/handled", "-", &handled).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_back_keeps_back_its_own_dossier_and_no_other() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    adapter.until(|status| status["epoch"] == 1).await;
    let journal = world.spool_folder().join("journal");
    let before = bytes_of(&journal, ".seg");
    let mut heard = 0;
    let mut deliver = async |dossier: &str, sequence| {
        world.gateway.deliver(dossier, sequence);
        heard += 1;
        world.gateway.hears(TakenOver, heard).await;
    };
    deliver("A-1", 1).await;
    let [(segment, now)] = &bytes_of(&journal, ".seg")[..] else { panic!() };
    let then = &before[0].1;
    let begin = then.iter().zip(now).position(|(then, now)| then != now).unwrap_or(then.len());
    for (dossier, sequence) in [("A-1", 2), ("B-1", 1), ("B-1", 2)] {
        deliver(dossier, sequence).await;
    }
    spoil(segment, u64::midpoint(begin as u64, now.iter().rposition(|byte| *byte != 0).unwrap() as u64));
    for (limit, rest) in [(50, &["B-1/1", "B-1/2"][..]), (1, &["B-1/1"])] {
        let inbox = adapter.get(&format!("/v1/inbox?page_size={limit}")).await;
        assert_eq!(inbox.status, StatusCode::OK);
        let inbox = inbox.json();
        let named = |one: &Value| format!("{}/{}", one["dossier_code"].as_str().unwrap(), one["sequence"]);
        let there: Vec<_> = inbox["deliveries"].as_array().unwrap().iter().map(named).collect();
        assert_eq!(there, rest, "limit {limit}");
    }
    // A page that begins behind it knows what it keeps back.
    let page = adapter.get("/v1/inbox?page_size=1").await.json();
    let next = format!("/v1/inbox?page_token={}", page["next_page_token"].as_str().unwrap());
    deliver("A-1", 3).await;
    let next = adapter.get(&next).await.json();
    let named = |one: &Value| format!("{}/{}", one["dossier_code"].as_str().unwrap(), one["sequence"]);
    assert_eq!(next["deliveries"].as_array().unwrap().iter().map(named).collect::<Vec<_>>(), ["B-1/2"]);
}

#[tokio::test]
async fn a_delivery_that_hangs_the_agencys_system_goes_back_while_others_are_taken() {
    let world = World::new().await;
    let config = format!(
        "webhook.url = \"http://{}/lgsp\"\nwebhook.attempts = 3\nwebhook.timeout_ms = 30",
        world.agency.address()
    );
    let adapter = Adapter::start(world.config(&config)).await;
    world.agency.hold(&id("A-1", 1));
    world.gateway.deliver("A-1", 1);
    world.gateway.hears(TakenOver, 1).await;
    // Others are taken all the while.
    let mut others = 0;
    while world.gateway.declined().is_empty() {
        others += 1;
        assert!(others < 500, "it is never given back");
        world.gateway.deliver("B-1", others);
        world.agency.takes(others as usize).await;
    }
    assert_eq!(world.gateway.declined(), [declined("A-1/1", "AGENCY_FAILING", DeclineKind::Transient)]);
    adapter.until(|status| status["incoming"]["not_handed_over"] == 0).await;
}
