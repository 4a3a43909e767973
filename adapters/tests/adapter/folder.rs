//! The watched folder: the same journeys as over REST, by files alone.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use http::StatusCode;
use lgsp_journal::testing::on_a_small_disk;
use lgsp_proto::v1::AcknowledgeStage::{HandedOver, TakenOver};
use lgsp_proto::{Reason, v1};
use prost::Message;
use serde_json::{Value, json};

use crate::offline;
use crate::support::gateway::sha256;
use crate::support::{Adapter, Answer, OTHER_PARTY, PARTY, World, accepted, decided, submission, until};

const PDF: &[u8] = b"%PDF-1.7 a form, synthetic";

/// The agency's software: it sees the folder, and nothing else.
struct Agency {
    dir: PathBuf,
}

impl Agency {
    fn at(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    fn of(world: &World) -> Self {
        Self::at(world.folder.path().join("agency"))
    }

    /// What goes into the adapter's configuration.
    fn configuration(&self, more: &str) -> String {
        let dir = &self.dir;
        format!(
            "folder.dir = {dir:?}\nfolder.parties = [\"{PARTY}\"]\nfolder.poll_ms = 5\nfolder.settle_ms = 10\n{more}"
        )
    }

    async fn adapter(&self, world: &World) -> Adapter {
        Adapter::start(world.config(&self.configuration(""))).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a request under a name that says that it is not whole, and renames it.
    fn put(&self, name: impl AsRef<Path>, request: &Value, files: &[(&str, &[u8])]) {
        self.put_text(name, request.to_string().as_bytes(), files);
    }

    fn put_text(&self, name: impl AsRef<Path>, request: &[u8], files: &[(&str, &[u8])]) {
        let outbox = self.path("outbox");
        fs::create_dir_all(&outbox).unwrap();
        let draft = outbox.join(".draft");
        fs::create_dir(&draft).unwrap();
        for (file, content) in files {
            fs::write(draft.join(file), content).unwrap();
        }
        fs::write(draft.join("request.json"), request).unwrap();
        fs::rename(draft, outbox.join(name)).unwrap();
    }

    fn json(&self, path: &str) -> Option<Value> {
        // It appears whole.
        Some(serde_json::from_slice(&fs::read(self.path(path)).ok()?).unwrap())
    }

    /// The answer to a request, once it is as wanted.
    async fn answer(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(async || self.json(&format!("answers/{name}/result.json")).filter(&wanted)).await
    }

    async fn outcome(&self, name: &str) -> Value {
        self.answer(name, |answer| answer["state"] == "admitted" || answer["state"] == "refused").await
    }

    async fn error(&self, name: &str) -> Value {
        until(async || self.json(&format!("answers/{name}/error.json"))).await
    }

    /// Waits until something is there.
    async fn sees(&self, path: &str) {
        until(async || self.path(path).exists().then_some(())).await;
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort_unstable();
        names
    }
}

fn handed_in(key: &str) -> Value {
    json!({ "request_key": key, "party": PARTY, "actor": "mot.cua", "submission": submission() })
}

fn with_document(key: &str, document: Value) -> Value {
    let mut request = handed_in(key);
    request["submission"]["components"] = json!([{ "code": "to-khai", "originals": 1, "document": document }]);
    request
}

fn said(key: &str, code: &str, event: &Value) -> Value {
    json!({ "request_key": key, "party": PARTY, "actor": "mot.cua", "dossier_code": code, "event": event })
}

#[tokio::test]
async fn a_dossier_with_its_document_goes_by_folder_and_comes_back_with_its_receipt() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    // What somebody has left where the answer belongs is in nobody's way.
    agency.sees("answers").await;
    fs::write(agency.path("answers/ho-so-1"), "mine").unwrap();
    agency.put("ho-so-1", &with_document("k1", json!({ "file": "tờ khai.PDF" })), &[("tờ khai.PDF", PDF)]);
    let outcome = agency.outcome("ho-so-1").await;
    assert_eq!((&outcome["state"], &outcome["request_key"]), (&"admitted".into(), &"k1".into()), "{outcome}");
    assert_eq!((&outcome["party"], &outcome["receipt"]["request_key"]), (&PARTY.into(), &"k1".into()));
    // The same that REST tells.
    assert_eq!(outcome["receipt"], adapter.get("/v1/requests/k1").await.json()["receipt"]);
    agency.sees("done/ho-so-1/request.json").await;
    assert!(agency.names("outbox").is_empty());

    let [attempt] = &world.gateway.attempts()[..] else { panic!("one attempt") };
    let body = v1::Submission::decode(attempt.body.clone()).unwrap();
    let document = body.components[0].document.clone().unwrap();
    assert_eq!((&*document.media_type, &*document.file_name), ("application/pdf", "tờ khai.PDF"));
    assert_eq!(world.gateway.document(PARTY, &document.sha256).unwrap(), PDF);
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn every_kind_of_answer_of_the_gateway_is_written_back() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    // Before the epoch is told no refusal is final: it might be that of an old copy.
    adapter.until(|status| status["epoch"] == 1).await;
    world.gateway.answer_next([Answer::Refuse(Reason::NoRoute)]);
    agency.put("1", &handed_in("k1"), &[]);
    let refused = agency.outcome("1").await;
    assert_eq!((&refused["state"], &refused["problem"]["reason"]), (&"refused".into(), &"NO_ROUTE".into()));
    assert!(refused["problem"]["remedy"]["vi"].is_string() && refused["problem"]["message_vi"].is_string());

    agency.put("2", &handed_in("k2"), &[]);
    let code = agency.outcome("2").await["dossier_code"].as_str().unwrap().to_owned();
    agency.put("3", &said("e1", &code, &accepted()), &[]);
    let accepted = agency.outcome("3").await;
    assert_eq!((&accepted["state"], &accepted["receipt"]["dossier_code"]), (&"admitted".into(), &Value::from(&*code)));
    let brought = json!({
        "type": "supplement_provided", "occurred_at": "2025-07-14T11:00:00+07:00",
        "components": [{ "name": "Hợp đồng", "copies": 1, "document": { "file": "hop-dong.bin", "media_type": "image/png" } }],
    });
    agency.put("4", &said("e2", &code, &brought), &[("hop-dong.bin", b"lease")]);
    assert_eq!(agency.outcome("4").await["state"], "admitted");
    let decided = json!({
        "type": "resolved", "occurred_at": "2025-07-14T12:00:00+07:00",
        "results": [{ "name": "Thông báo", "document": { "file": "thong-bao.pdf" } }],
    });
    agency.put("5", &said("e3", &code, &decided), &[("thong-bao.pdf", PDF)]);
    assert_eq!(agency.outcome("5").await["state"], "admitted");
    let attempt = world.gateway.attempts().pop().unwrap();
    let Some(v1::entry::What::Resolved(resolved)) = v1::Entry::decode(attempt.body).unwrap().what else { panic!() };
    let document = resolved.results[0].document.clone().unwrap();
    assert_eq!(world.gateway.document(PARTY, &document.sha256).unwrap(), PDF);
    until(async || (agency.names("done") == ["1", "2", "3", "4", "5"]).then_some(())).await;
    assert!(agency.names("rejected").is_empty());
}

#[tokio::test]
async fn what_is_being_written_is_left_alone() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    // Nothing settles in the time of a test.
    let adapter =
        Adapter::start(world.config(&agency.configuration("").replace("settle_ms = 10", "settle_ms = 3600000"))).await;
    agency.sees("outbox").await;
    for name in [".ho-so", "ho-so.tmp", "HO-SO.TMP", "in-place"] {
        fs::create_dir(agency.path("outbox").join(name)).unwrap();
    }
    fs::write(agency.path("outbox/in-place/request.json"), "{").unwrap();
    let looks = |status: &Value| status["folder"]["looks"].as_u64().unwrap();
    let status = adapter.until(|status| status["folder"]["not_taken_in"] == 1).await;
    let status = adapter.until(|later| looks(later) >= looks(&status) + 3).await;
    assert_eq!((&status["folder"]["rejected"], &status["folder"]["not_taken_in"]), (&0.into(), &1.into()));
    adapter.stop().await.unwrap();

    let adapter = agency.adapter(&world).await;
    assert_eq!(agency.error("in-place").await["problem"]["reason"], "MALFORMED");
    adapter.until(|status| status["folder"]["not_taken_in"] == 0).await;
    assert_eq!(agency.names("outbox"), ["HO-SO.TMP", "ho-so.tmp"]);
    assert!(world.gateway.attempts().is_empty());
}

#[tokio::test]
async fn what_cannot_be_taken_in_is_answered_with_reason_field_and_remedy_and_nothing_is_sent() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = Adapter::start(world.config(&agency.configuration("spool.max_document_mib = 1"))).await;
    let file = |file: &str| with_document("k", json!({ "file": file })).to_string();
    let change = |path: &str, value: Value| {
        let mut request = handed_in("k");
        *request.pointer_mut(path).unwrap() = value;
        request.to_string()
    };
    let large = vec![0; (1 << 20) + 1];
    let digest = with_document("k", json!({ "file": "a.pdf", "sha256": "ab".repeat(32), "size_bytes": 1 })).to_string();
    let document = "submission.components[0].document";
    let of = |field: &str| format!("{document}.{field}");
    let cases: Vec<(&str, String, &str, Vec<String>)> = vec![
        ("json", "{\"party\": 7".into(), "MALFORMED", vec!["party".into()]),
        ("unknown", "{\"colour\": 7}".into(), "MALFORMED", vec!["colour".into()]),
        (
            "empty",
            "{}".into(),
            "FIELD_INVALID",
            ["request_key", "party", "actor", "submission"].map(String::from).into(),
        ),
        ("party", change("/party", OTHER_PARTY.into()), "FIELD_INVALID", vec!["party".into()]),
        ("below", change("/submission/locality", "x".into()), "FIELD_INVALID", vec!["submission.locality".into()]),
        ("gone", file("b.pdf"), "FOLDER_FILE_UNUSABLE", vec![of("file")]),
        ("letters", file("A.pdf"), "FOLDER_FILE_UNUSABLE", vec![of("file")]),
        ("traversal", file("../../agency/secret.pdf"), "FOLDER_FILE_UNUSABLE", vec![of("file")]),
        ("windows", file("..\\secret.pdf"), "FOLDER_FILE_UNUSABLE", vec![of("file")]),
        ("absolute", file("/etc/passwd"), "FOLDER_FILE_UNUSABLE", vec![of("file")]),
        ("link", file("link.pdf"), "FOLDER_FILE_UNUSABLE", vec![of("file")]),
        ("a-folder", file("sub.pdf"), "FOLDER_FILE_UNUSABLE", vec![of("file")]),
        ("itself", file("request.json"), "FOLDER_FILE_UNUSABLE", vec![of("file")]),
        ("ending", file("a.dat"), "FOLDER_FILE_UNUSABLE", vec![of("media_type")]),
        ("large", file("large.pdf"), "DOCUMENT_TOO_LARGE", vec![of("file")]),
        ("digest", digest, "FOLDER_FILE_UNUSABLE", vec![of("sha256"), of("size_bytes")]),
        ("wordy", " ".repeat(2 << 20) + "{}", "MESSAGE_TOO_LARGE", vec![]),
    ];
    fs::write(agency.path("secret.pdf"), "secret").unwrap();
    for (name, request, ..) in &cases {
        let draft = agency.path(&format!("outbox/{name}.tmp"));
        fs::create_dir_all(draft.join("sub.pdf")).unwrap();
        for (file, content) in [("a.pdf", PDF), ("a.dat", PDF), ("large.pdf", &large)] {
            fs::write(draft.join(file), content).unwrap();
        }
        symlink(agency.path("secret.pdf"), draft.join("link.pdf")).unwrap();
        fs::write(draft.join("request.json"), request).unwrap();
        fs::rename(&draft, agency.path(&format!("outbox/{name}"))).unwrap();
    }
    for (name, _, reason, fields) in cases {
        let error = agency.error(name).await;
        let problem = &error["problem"];
        assert_eq!((&error["state"], &problem["reason"]), (&"rejected".into(), &reason.into()), "{name}: {error}");
        let named: Vec<_> =
            problem["fields"].as_array().into_iter().flatten().map(|field| field["field"].clone()).collect();
        assert_eq!(named, fields, "{name}: {error}");
        let remedy = &problem["remedy"];
        assert!(
            [&remedy["en"], &remedy["vi"], &problem["message_vi"]]
                .iter()
                .all(|text| !text.as_str().unwrap().is_empty())
        );
        agency.sees(&format!("rejected/{name}")).await;
    }
    adapter.until(|status| status["folder"]["rejected"] == 17).await;
    assert!(
        agency.names("outbox").is_empty() && world.gateway.attempts().is_empty() && world.gateway.uploads().is_empty()
    );
}

#[tokio::test]
async fn an_error_leaves_no_answer_to_an_earlier_request_of_the_same_name_beside_it() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let _adapter = agency.adapter(&world).await;
    for (name, key) in [("1", "k1"), ("2", "k2"), ("3", "k3")] {
        agency.put(name, &handed_in(key), &[]);
        agency.outcome(name).await;
        agency.sees(&format!("done/{name}")).await;
    }
    agency.put_text("1", b"{", &[]);
    agency.put("2", &with_document("k4", json!({ "file": "gone.pdf" })), &[]);
    // What has been said of this key stays true.
    agency.put("3", &with_document("k3", json!({ "file": "gone.pdf" })), &[]);
    for name in ["1", "2", "3"] {
        agency.error(name).await;
        agency.sees(&format!("rejected/{name}")).await;
    }
    let answers = ["1", "2", "3"].map(|name| agency.names(&format!("answers/{name}")));
    assert_eq!(answers, [&["error.json"][..], &["error.json"], &["error.json", "result.json"]]);
}

#[tokio::test]
async fn what_is_no_folder_of_a_request_is_answered_under_a_name_that_can_be_used() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    agency.sees("outbox").await;
    let outbox = agency.path("outbox");
    fs::write(outbox.join("request.json"), "{}").unwrap();
    symlink(agency.path("answers"), outbox.join("link")).unwrap();
    fs::create_dir(outbox.join("con.ho-so")).unwrap();
    fs::create_dir(outbox.join(OsStr::from_bytes(b"h\xf4 so"))).unwrap();
    fs::create_dir(outbox.join("many.tmp")).unwrap();
    for number in 0..=201 {
        fs::write(outbox.join(format!("many.tmp/{number}")), "").unwrap();
    }
    fs::rename(outbox.join("many.tmp"), outbox.join("many")).unwrap();
    adapter.until(|status| status["folder"]["rejected"] == 5).await;
    let names = agency.names("answers");
    assert_eq!(([&*names[0], &names[1], &names[4]], names.len()), (["link", "many", "request.json"], 5), "{names:?}");
    assert!(names[2..4].iter().all(|name| name.starts_with("name-")), "{names:?}");
    for name in &names {
        let error = agency.error(name).await;
        assert_eq!(error["problem"]["reason"], "FOLDER_ENTRY_INVALID", "{name}");
        assert_eq!(error["problem"]["fields"][0]["field"], "name", "{name}");
    }
    assert_eq!(agency.names("rejected"), names);
    assert!(agency.names("outbox").is_empty() && agency.path("answers").is_dir(), "a link was moved, not followed");
}

#[tokio::test]
async fn without_a_line_the_answer_has_the_code_and_the_slip_and_later_the_receipt() {
    let world = offline::world().await;
    let agency = Agency::of(&world);
    let more = agency.configuration("offline.block = 2\noffline.days_ahead = 1");
    let adapter = Adapter::start(world.config(&more)).await;
    adapter.until(|status| status["offline"]["numbers"].as_array().is_some_and(|numbers| numbers.len() == 2)).await;
    world.line.cut();
    adapter.until(|status| status["offline"]["line_down"] == true).await;
    let of = |key: &str, submission: Value| json!({ "request_key": key, "party": PARTY, "actor": "mot.cua", "submission": submission });
    let mut never = of("k3", offline::dossier());
    never["offline"] = "never".into();
    agency.put("1", &of("k1", offline::dossier()), &[]);
    agency.put("2", &of("k2", offline::dossier_for_the_department()), &[]);
    agency.put("3", &never, &[]);
    let told = agency.answer("1", |_| true).await;
    assert_eq!((&told["state"], &told["dossier_code"]), (&"queued".into(), &offline::code(1).into()));
    assert_eq!(
        (&told["offline"]["slip"]["form"], &told["offline"]["competent_authority"]),
        (&"01".into(), &PARTY.into())
    );
    let told = agency.answer("2", |_| true).await;
    assert!(told["provisional_number"].as_str().unwrap().starts_with("TN-"), "{told}");
    assert_eq!(told["offline"]["provisional_number"], told["provisional_number"]);
    let told = agency.answer("3", |_| true).await;
    assert!(told["code_pending"] == true && told["offline"].is_null(), "{told}");
    // It waits in the outbox, and a start does not change what was told.
    assert_eq!(agency.names("outbox"), ["1", "2", "3"]);
    adapter.kill().await;
    let adapter = Adapter::start(world.config(&more)).await;
    adapter.until(|status| status["folder"]["under_way"] == 3).await;
    assert_eq!(agency.json("answers/1/result.json").unwrap()["dossier_code"], offline::code(1));
    world.line.mend();
    for (name, code) in [("1", Some(offline::code(1))), ("2", None), ("3", None)] {
        let outcome = agency.outcome(name).await;
        assert_eq!(outcome["state"], "admitted");
        assert!(code.is_none_or(|code| outcome["dossier_code"] == code), "{outcome}");
    }
    assert_eq!(world.gateway.effects(), ["k1", "k2", "k3"]);
}

#[tokio::test]
async fn what_is_done_goes_after_its_time_and_what_waits_or_was_rejected_stays() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    agency.put("done", &handed_in("k1"), &[]);
    agency.outcome("done").await;
    agency.put_text("wrong", b"{", &[]);
    agency.error("wrong").await;
    world.line.cut();
    agency.put("waits", &handed_in("k2"), &[]);
    agency.answer("waits", |_| true).await;
    agency.sees("done/done").await;
    adapter.stop().await.unwrap();
    // Its time is over at once; clocks of file systems count seconds here.
    let mut config = world.config(&agency.configuration(""));
    config.folder.as_mut().unwrap().keep = std::time::Duration::ZERO;
    until(async || {
        let adapter = Adapter::start(config.clone()).await;
        adapter.until(|status| status["folder"]["looks"] != 0).await;
        adapter.stop().await.unwrap();
        agency.names("done").is_empty().then_some(())
    })
    .await;
    assert_eq!(agency.names("answers"), ["waits", "wrong"]);
    assert_eq!((agency.names("rejected"), agency.names("outbox")), (vec!["wrong".into()], vec!["waits".into()]));
}

#[tokio::test]
async fn the_request_that_the_page_shows_is_taken_in_as_it_stands() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let _adapter = agency.adapter(&world).await;
    let shown = ["docs/folder.md", "docs/folder.vi.md"].map(|name| {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap();
        let blocks = page.split("```json\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
        blocks.into_iter().find(|block| block.contains("\"submission\"")).unwrap()
    });
    assert_eq!(shown[0], shown[1]);
    agency.put_text("ho-so-1", shown[0].as_bytes(), &[("to-khai.pdf", PDF)]);
    assert_eq!(agency.outcome("ho-so-1").await["state"], "admitted");
}

#[tokio::test]
async fn the_same_request_under_another_name_gets_the_same_answer_and_another_under_its_key_is_rejected() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    let request = with_document("k1", json!({ "file": "a.pdf" }));
    agency.put("1", &request, &[("a.pdf", PDF)]);
    let first = agency.outcome("1").await;
    agency.sees("done/1").await;
    agency.put("2", &request, &[("a.pdf", PDF)]);
    assert_eq!(agency.outcome("2").await["receipt"], first["receipt"]);
    agency.sees("done/2").await;
    agency.put("3", &request, &[("a.pdf", b"%PDF-1.7 another")]);
    let error = agency.error("3").await;
    assert_eq!((&error["problem"]["reason"], &error["request_key"]), (&"KEY_REUSED".into(), &"k1".into()));
    // The name of one that is done may be used again, and nothing of it is lost.
    agency.put("1", &handed_in("k2"), &[]);
    agency.answer("1", |answer| answer["request_key"] == "k2" && answer["state"] == "admitted").await;
    agency.sees("done/1~2").await;
    assert_eq!(world.gateway.effects(), ["k1", "k2"]);
    drop(adapter);
}

#[tokio::test]
async fn a_request_that_came_by_rest_is_answered_in_the_folder_of_its_party_as_well() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    adapter.submit("k1").await;
    let name = until(async || agency.names("answers").pop()).await;
    assert!(name.starts_with("key-"));
    assert_eq!(agency.outcome(&name).await["request_key"], "k1");
    // Removed while it waits, a request is answered all the same.
    world.line.cut();
    agency.put("1", &handed_in("k2"), &[]);
    agency.answer("1", |_| true).await;
    fs::remove_dir_all(agency.path("outbox/1")).unwrap();
    adapter.kill().await;
    let _adapter = agency.adapter(&world).await;
    world.line.mend();
    assert_eq!(agency.outcome("1").await["state"], "admitted");
    assert_eq!(agency.names("answers").len(), 2);
}

#[tokio::test]
async fn what_a_restored_gateway_refuses_is_told_under_the_old_name_unless_that_is_another_requests_by_now() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    adapter.until(|status| status["epoch"] == 1).await;
    // By REST, so that who is answered where is looked up before a name is used again.
    adapter.submit("k0").await;
    let of_rest = until(async || agency.names("answers").pop()).await;
    for (name, key) in [("1", "k1"), ("1", "k2"), ("3", "k3")] {
        agency.put(name, &handed_in(key), &[]);
        agency.answer(name, |answer| answer["request_key"] == key && answer["state"] == "admitted").await;
        until(async || agency.names("outbox").is_empty().then_some(())).await;
    }
    world.gateway.answer_next([(); 4].map(|()| Answer::Refuse(Reason::GrantMissing)));
    world.gateway.begin_epoch(2);
    world.line.shake();
    for (name, key) in [(&*of_rest, "k0"), ("1", "k2"), ("3", "k3")] {
        let refused = agency.answer(name, |answer| answer["state"] == "refused").await;
        assert_eq!((&refused["request_key"], &refused["problem"]["reason"]), (&key.into(), &"GRANT_MISSING".into()));
    }
    let is_k1s = |name: &String| name.starts_with("key-") && *name != of_rest;
    let name = until(async || agency.names("answers").into_iter().find(is_k1s)).await;
    let refused = agency.answer(&name, |answer| answer["state"] == "refused").await;
    assert_eq!(refused["request_key"], "k1");
    assert_eq!(agency.names("answers").len(), 4);
}

#[tokio::test]
async fn deliveries_are_files_in_the_order_of_their_dossier_and_handed_over_when_they_are_durable() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    for sequence in [1, 2, 10] {
        world.gateway.deliver("D-1", sequence);
        world.gateway.deliver("../D-2", sequence);
    }
    assert_eq!(world.gateway.hears(TakenOver, 6).await.len(), 6);
    world.gateway.hears(HandedOver, 6).await;
    let names = agency.names("inbox/D-1");
    let sequences: Vec<_> = names.iter().map(|name| name.split('-').next().unwrap()).collect();
    assert_eq!(sequences, ["000001", "000002", "000010"]);
    let delivery = agency.json(&format!("inbox/D-1/{}", names[1])).unwrap();
    assert_eq!((&delivery["delivery_id"], &delivery["sequence"]), (&format!("{PARTY}/D-1/2").into(), &2.into()));
    assert_eq!(delivery["body"], json!({ "type": "accepted", "note": "đủ" }));
    assert!(agency.names("inbox").iter().any(|name| name.starts_with("code-")) && agency.names("inbox").len() == 2);

    // What the agency has removed does not come again, whatever is started anew.
    fs::remove_dir_all(agency.path("inbox/D-1")).unwrap();
    adapter.kill().await;
    let adapter = agency.adapter(&world).await;
    world.gateway.deliver("D-1", 11);
    until(async || (agency.names("inbox/D-1").len() == 1).then_some(())).await;
    assert!(agency.names("inbox/D-1")[0].starts_with("000011-"));
    adapter.until(|status| status["incoming"]["not_handed_over"] == 0).await;
}

#[tokio::test]
async fn a_deliverys_documents_lie_beside_it_before_it_is_there_itself() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = Adapter::start(world.config(&agency.configuration("folder.documents = true"))).await;
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let (here, gone) = (sha256(&content), sha256(b"erased"));
    world.gateway.keep_document(PARTY, &here, &content);
    let result = |sha256: &bytes::Bytes| {
        let document = v1::DocumentRef {
            sha256: sha256.clone(),
            size_bytes: content.len() as u64,
            media_type: "application/pdf".into(),
            file_name: "Nguyễn Thử Nghiệm.pdf".into(),
        };
        v1::Result { document: Some(document), ..v1::Result::default() }
    };
    let resolved = v1::Resolved { results: vec![result(&here), result(&gone)], ..v1::Resolved::default() };
    world.gateway.deliver_entry("D-1", 1, v1::entry::What::Resolved(resolved.clone()));
    world.gateway.deliver("D-1", 2);
    world.gateway.hears(HandedOver, 2).await;
    let names = agency.names("inbox/D-1");
    let [files, delivery, second] = &names[..] else { panic!("{names:?}") };
    assert_eq!(files.strip_suffix(".files"), delivery.strip_suffix(".json"));
    assert!(second.starts_with("000002-") && second.ends_with(".json"));
    let folder = format!("inbox/D-1/{files}");
    let [here, gone] = [here, gone].map(|sha256| data_encoding::HEXLOWER.encode(&sha256));
    assert_eq!(fs::read(agency.path(&format!("{folder}/{here}.pdf"))).unwrap(), content);
    let problem = agency.json(&format!("{folder}/{gone}.problem.json")).unwrap();
    assert_eq!(problem["reason"], "DOCUMENT_NOT_FOUND");
    assert_eq!(agency.names(&folder).len(), 2);

    // Not asked for, they are not fetched.
    adapter.kill().await;
    world.gateway.deliver_entry("D-2", 1, v1::entry::What::Resolved(resolved));
    let adapter = Adapter::start(world.config(&agency.configuration("folder.documents = false"))).await;
    until(async || (!agency.names("inbox/D-2").is_empty()).then_some(())).await;
    assert_eq!(agency.names("inbox/D-2").len(), 1, "the delivery alone");
    drop(adapter);
}

#[tokio::test]
async fn a_document_that_is_withheld_because_of_who_asks_is_waited_for() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let sha256 = sha256(PDF);
    world.gateway.keep_document(PARTY, &sha256, PDF);
    world.gateway.withhold_documents(Some(Reason::SystemUnknown));
    let adapter = Adapter::start(world.config(&agency.configuration("folder.documents = true"))).await;
    world.gateway.deliver_entry("D-1", 1, decided(&[&sha256]));
    let trouble = |status: &Value| status["folder"]["troubles"][0]["trouble"].clone();
    adapter.until(|status| trouble(status) == "FOLDER_NO_DOCUMENTS").await;
    world.gateway.withhold_documents(None);
    world.gateway.hears(HandedOver, 1).await;
    let names = agency.names("inbox/D-1");
    let [files, _] = &names[..] else { panic!("{names:?}") };
    let name = data_encoding::HEXLOWER.encode(&sha256);
    assert_eq!(agency.names(&format!("inbox/D-1/{files}")), [format!("{name}.pdf")]);
}

#[tokio::test]
async fn a_document_that_is_damaged_at_the_gateway_is_not_waited_for_while_others_come() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let (fine, damaged) = (sha256(PDF), sha256(b"what it was"));
    world.gateway.keep_document(PARTY, &fine, PDF);
    world.gateway.keep_document(PARTY, &damaged, b"what it is");
    let adapter = Adapter::start(world.config(&agency.configuration("folder.documents = true"))).await;
    world.gateway.deliver_entry("D-1", 1, decided(&[&damaged, &fine]));
    let mut sequence = 0;
    let names = until(async || {
        sequence += 1;
        world.gateway.deliver_entry("D-2", sequence, decided(&[&fine]));
        world.gateway.hears(HandedOver, sequence as usize).await;
        let names = agency.names("inbox/D-1");
        (names.len() == 2).then_some(names)
    });
    let folder = format!("inbox/D-1/{}", names.await[0]);
    let [fine, damaged] = [fine, damaged].map(|sha256| data_encoding::HEXLOWER.encode(&sha256));
    assert_eq!(fs::read(agency.path(&format!("{folder}/{fine}.pdf"))).unwrap(), PDF);
    let problem = agency.json(&format!("{folder}/{damaged}.problem.json")).unwrap();
    assert_eq!(problem["reason"], "INTERNAL");
    drop(adapter);
}

#[tokio::test]
async fn documents_of_which_nothing_comes_hold_up_no_delivery_but_their_own() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = Adapter::start(world.config(&agency.configuration("folder.documents = true"))).await;
    let silent = sha256(PDF);
    world.gateway.keep_document(PARTY, &silent, PDF);
    world.gateway.fall_silent_about(&silent);
    for dossier in 1..=10 {
        world.gateway.deliver_entry(&format!("D-{dossier}"), 1, decided(&[&silent]));
    }
    world.gateway.hears(TakenOver, 10).await;
    world.gateway.deliver("D-11", 1);
    assert_eq!(world.gateway.hears(HandedOver, 1).await, ["D-11/1"]);
    adapter.kill().await;
}

#[tokio::test]
async fn an_inbox_that_nobody_empties_keeps_the_rest_in_the_spool() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = Adapter::start(world.config(&agency.configuration("folder.max_inbox = 2"))).await;
    for sequence in 1..=3 {
        world.gateway.deliver("D-1", sequence);
    }
    let trouble = |status: &Value| status["folder"]["troubles"][0]["trouble"].clone();
    // That the second was handed over is put down while the third is tried.
    let is_full = |status: &Value| trouble(status) == "FOLDER_INBOX_FULL" && status["incoming"]["not_handed_over"] == 1;
    adapter.until(is_full).await;
    assert_eq!(agency.names("inbox/D-1").len(), 2);
    fs::remove_file(agency.path("inbox/D-1").join(&agency.names("inbox/D-1")[0])).unwrap();
    adapter.until(|status| status["incoming"]["not_handed_over"] == 0 && trouble(status).is_null()).await;
    assert!(agency.names("inbox/D-1")[1].starts_with("000003-"));
}

#[tokio::test]
async fn a_folder_that_is_gone_is_said_and_goes_on_by_itself_when_it_is_back() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = agency.adapter(&world).await;
    agency.put("1", &handed_in("k1"), &[]);
    agency.outcome("1").await;
    let away = world.folder.path().join("away");
    fs::rename(&agency.dir, &away).unwrap();
    let trouble = |status: &Value| status["folder"]["troubles"][0]["trouble"].clone();
    adapter.until(|status| trouble(status) == "FOLDER_GONE").await;
    // What a share that is not mounted leaves in its place is not taken for it.
    fs::create_dir(&agency.dir).unwrap();
    world.gateway.deliver("D-1", 1);
    world.gateway.hears(TakenOver, 1).await;
    let status =
        adapter.until(|status| status["folder"]["troubles"].as_array().is_some_and(|all| all.len() == 2)).await;
    assert!(status["folder"]["troubles"][1]["problem_vi"].is_string());
    assert_eq!(fs::read_dir(&agency.dir).unwrap().count(), 0);
    assert_eq!(adapter.get("/healthz").await.status, StatusCode::OK);
    fs::remove_dir(&agency.dir).unwrap();
    fs::rename(&away, &agency.dir).unwrap();
    world.gateway.hears(HandedOver, 1).await;
    agency.put("2", &handed_in("k2"), &[]);
    assert_eq!(agency.outcome("2").await["state"], "admitted");
    adapter.until(|status| trouble(status).is_null()).await;
}

#[tokio::test]
async fn what_the_adapter_has_no_room_for_stays_in_the_outbox_until_it_has() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = Adapter::start(world.config(&agency.configuration("spool.min_free_mib = 1000000000"))).await;
    agency.put("1", &with_document("k1", json!({ "file": "a.pdf" })), &[("a.pdf", PDF)]);
    let status = adapter.until(|status| status["folder"]["held_back"] == "SPOOL_DISK_FULL").await;
    assert_eq!((&status["folder"]["not_taken_in"], &status["folder"]["rejected"]), (&1.into(), &0.into()));
    assert!(agency.names("answers").is_empty());
    adapter.stop().await.unwrap();
    let _adapter = agency.adapter(&world).await;
    assert_eq!(agency.outcome("1").await["state"], "admitted");
}

#[tokio::test]
async fn of_a_request_for_which_the_spool_has_no_room_no_document_is_put_there() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let adapter = Adapter::start(world.config(&agency.configuration("spool.max_outgoing = 1"))).await;
    world.line.cut();
    agency.put("1", &handed_in("k1"), &[]);
    agency.answer("1", |answer| answer["state"] == "queued").await;
    agency.put("2", &with_document("k2", json!({ "file": "a.pdf" })), &[("a.pdf", PDF)]);
    adapter.until(|status| status["folder"]["held_back"] == "OVERLOADED").await;
    assert_eq!(fs::read_dir(world.spool_folder().join("documents")).unwrap().count(), 0);
    world.line.mend();
    assert_eq!(agency.outcome("2").await["state"], "admitted");
}

#[test]
fn a_folder_on_a_full_disk_keeps_what_it_has_and_gets_the_rest_when_there_is_room() {
    let place = tempfile::tempdir().unwrap();
    let test = "folder::a_folder_on_a_full_disk_keeps_what_it_has_and_gets_the_rest_when_there_is_room";
    on_a_small_disk(test, place.path(), || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(a_full_disk());
    });
}

async fn a_full_disk() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    // The spool is on another disk: it is the folder's that is full.
    let spool = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut config = world.config(&agency.configuration(""));
    config.spool.folder = spool.path().join("spool");
    let adapter = Adapter::start(config).await;
    agency.put("1.tmp", &handed_in("k1"), &[]);
    let ballast = world.folder.path().join("ballast");
    fill(&ballast);
    fs::rename(agency.path("outbox/1.tmp"), agency.path("outbox/1")).unwrap();
    world.gateway.deliver("D-1", 1);
    let full = |status: &Value| {
        let troubles = status["folder"]["troubles"].as_array().cloned().unwrap_or_default();
        troubles.iter().filter(|trouble| trouble["trouble"] == "FOLDER_DISK_FULL").count() == 2
    };
    adapter.until(full).await;
    assert_eq!(adapter.get("/healthz").await.status, StatusCode::OK);
    fs::remove_file(&ballast).unwrap();
    assert_eq!(agency.outcome("1").await["state"], "admitted");
    world.gateway.hears(HandedOver, 1).await;
    assert_eq!((world.gateway.effects(), agency.names("inbox/D-1").len()), (vec!["k1".to_owned()], 1));
    adapter.until(|status| status["folder"]["troubles"].is_null()).await;
    adapter.stop().await.unwrap();
}

/// Leaves not a byte.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    for piece in [1 << 20, 4096, 1] {
        let zeros = vec![0; piece];
        while file.write_all(&zeros).is_ok() {}
    }
}

#[tokio::test]
async fn a_request_that_names_no_time_is_the_same_out_of_a_new_spool_and_its_time_is_when_it_was_written() {
    let world = World::new().await;
    let agency = Agency::of(&world);
    let mut request = handed_in("k1");
    request["submission"].as_object_mut().unwrap().remove("received_at");
    agency.put("ho-so-1", &request, &[]);
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_752_458_400);
    let file = fs::File::options().write(true).open(agency.path("outbox/ho-so-1/request.json")).unwrap();
    file.set_modified(written).unwrap();
    world.gateway.answer_next([Answer::CutAfter(world.line.clone())]);
    let adapter = agency.adapter(&world).await;
    until(async || (world.gateway.effects() == ["k1"]).then_some(())).await;
    let body = v1::Submission::decode(world.gateway.attempts()[0].body.clone()).unwrap();
    assert_eq!(body.received_at.unwrap().seconds, 1_752_458_400);
    adapter.kill().await;
    fs::remove_dir_all(world.spool_folder()).unwrap();
    world.line.mend();
    let _adapter = agency.adapter(&world).await;
    let outcome = agency.outcome("ho-so-1").await;
    assert_eq!((&outcome["state"], &outcome["repeated"]), (&"admitted".into(), &true.into()), "{outcome}");
}
