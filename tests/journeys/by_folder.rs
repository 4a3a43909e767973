//! Agencies that write and read files, and nothing else: a dossier's whole life through watched folders, each adapter killed after
//! each of its steps; and a request and a delivery with the adapter dying between any two of their steps. The effect is had once.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::place::{Adapter, Place};
use crate::until;

const FORM: &[u8] = b"%PDF-1.7 the form, synthetic";
const LEASE: &[u8] = b"%PDF-1.7 what was missing, synthetic";
const NOTICE: &[u8] = b"%PDF-1.7 the result, synthetic";

/// An agency's software, which sees its folder only, and the adapter on the other side.
struct Agency<'a> {
    place: &'a Place,
    system: &'static str,
    party: &'static str,
    gateway: SocketAddr,
    dir: PathBuf,
    adapter: Option<Adapter>,
}

impl<'a> Agency<'a> {
    async fn open(place: &'a Place, system: &'static str, party: &'static str, gateway: SocketAddr) -> Self {
        let dir = place.folder().join(folder_of(system));
        fs::create_dir(&dir).unwrap();
        let mut agency = Self { place, system, party, gateway, dir, adapter: None };
        agency.start(None).await;
        until("an outbox", async || agency.dir.join("outbox").exists().then_some(())).await;
        agency
    }

    async fn start(&mut self, fault: Option<&str>) {
        let folder = folder_of(self.system);
        let adapter = self.place.adapter_by_folder(self.system, self.party, self.gateway, &folder, fault).await;
        self.adapter = Some(adapter);
    }

    /// SIGKILL, wherever it is, and started again.
    async fn killed(&mut self) {
        self.adapter.take().unwrap().kill().await;
        self.start(None).await;
    }

    /// Waits until it has died of its fault, and starts it again.
    async fn died(&mut self) {
        self.adapter.take().unwrap().died().await;
        self.start(None).await;
    }

    /// Started again with a fault to come.
    async fn armed(&mut self, fault: &str) {
        self.adapter.take().unwrap().stop().await;
        self.start(Some(fault)).await;
    }

    /// Puts a request there as docs/folder.md says.
    fn put(&self, name: &str, mut request: Value, file: Option<(&str, &[u8])>) {
        request["party"] = self.party.into();
        request["actor"] = "clerk-1".into();
        request["request_key"] = name.into();
        let draft = self.dir.join("outbox").join(format!("{name}.tmp"));
        fs::create_dir(&draft).unwrap();
        fs::write(draft.join("request.json"), request.to_string()).unwrap();
        if let Some((file, content)) = file {
            fs::write(draft.join(file), content).unwrap();
        }
        fs::rename(&draft, draft.with_extension("")).unwrap();
    }

    fn say(&self, name: &str, code: &str, at: &str, mut event: Value, file: Option<(&str, &[u8])>) {
        event["occurred_at"] = at.into();
        self.put(name, json!({ "dossier_code": code, "event": event }), file);
    }

    fn json(&self, path: &str) -> Option<Value> {
        Some(serde_json::from_slice(&fs::read(self.dir.join(path)).ok()?).unwrap())
    }

    /// The last answer to a request, whose folder is done with then.
    async fn admitted(&self, name: &str) -> Value {
        let answer = until("an answer", async || {
            let answer = self.json(&format!("answers/{name}/result.json"));
            answer.filter(|answer| answer["state"] == "admitted" || answer["state"] == "refused")
        })
        .await;
        assert_eq!(answer["state"], "admitted", "{answer}");
        until("a request that is done", async || self.dir.join("done").join(name).exists().then_some(())).await;
        assert!(!self.dir.join("outbox").join(name).exists());
        answer
    }

    /// What lies in the inbox about a dossier.
    fn inbox(&self, code: &str) -> Vec<String> {
        let files = fs::read_dir(self.dir.join("inbox").join(code)).into_iter().flatten();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".json") && !name.starts_with('.'));
        names.sort_unstable();
        names
    }

    /// Waits for the delivery of an event; gives it, and the folder of its documents.
    async fn event(&self, code: &str, sequence: u32) -> (Value, PathBuf) {
        let begins = format!("{sequence:06}-");
        let name =
            until("a delivery", async || self.inbox(code).into_iter().find(|name| name.starts_with(&begins))).await;
        let path = format!("inbox/{code}/{name}");
        (self.json(&path).unwrap(), self.dir.join(path).with_extension("files"))
    }

    /// Waits until nothing is under way, and stops.
    async fn stop(mut self) {
        let adapter = self.adapter.take().unwrap();
        adapter.settled().await;
        adapter.stop().await;
    }
}

fn folder_of(system: &str) -> String {
    format!("folder-{system}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dossiers_whole_life_goes_by_files_with_each_adapter_killed_after_each_step() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let mut desk = Agency::open(&place, "mot-cua-binh", "H99.102", gateway.bus).await;
    let mut authority = Agency::open(&place, "cong-an", "H99.CA.101", gateway.bus).await;
    let mut centre = Agency::open(&place, "mot-cua", "H99.TT", gateway.bus).await;

    desk.put("residence-1", submission(), Some(("to-khai.pdf", FORM)));
    desk.killed().await;
    let admitted = desk.admitted("residence-1").await;
    let code = admitted["dossier_code"].as_str().unwrap().to_owned();
    assert_eq!(admitted["receipt"]["competent_authority"], "H99.CA.101");
    let (first, files) = authority.event(&code, 1).await;
    let sha256 = first["body"]["components"][0]["document"]["sha256"].as_str().unwrap();
    assert_eq!(fs::read(files.join(format!("{sha256}.pdf"))).unwrap(), FORM);

    let at = "2025-07-14T10:00:00+07:00";
    gateway.set_clock(at).await;
    authority.say("accept", &code, at, json!({ "type": "accepted" }), None);
    authority.killed().await;
    authority.admitted("accept").await;
    assert_eq!(desk.event(&code, 2).await.0["dossier"]["status"], "accepted");

    let at = "2025-07-16T09:00:00+07:00";
    gateway.set_clock(at).await;
    let missing = json!({
        "type": "supplement_requested", "reason": "Thiếu hợp đồng thuê nhà (giả lập)", "items": ["Hợp đồng thuê nhà"],
        "until": "2025-07-31T17:00:00+07:00",
    });
    authority.say("missing", &code, at, missing, None);
    desk.killed().await;
    assert_eq!(desk.event(&code, 3).await.0["body"]["items"], json!(["Hợp đồng thuê nhà"]));

    let at = "2025-07-18T09:00:00+07:00";
    gateway.set_clock(at).await;
    let components = json!([{ "name": "Hợp đồng thuê nhà", "document": { "file": "hop-dong.pdf" }, "copies": 1 }]);
    let brought = json!({ "type": "supplement_provided", "components": components });
    desk.say("brought", &code, at, brought, Some(("hop-dong.pdf", LEASE)));
    desk.killed().await;
    desk.admitted("brought").await;
    authority.event(&code, 4).await;

    let at = "2025-07-22T15:00:00+07:00";
    gateway.set_clock(at).await;
    let results = json!([{ "name": "Thông báo", "document": { "file": "thong-bao.pdf" } }]);
    let decided = json!({ "type": "resolved", "results": results });
    authority.say("decided", &code, at, decided, Some(("thong-bao.pdf", NOTICE)));
    centre.killed().await;
    let (resolved, files) = centre.event(&code, 5).await;
    let sha256 = resolved["body"]["results"][0]["document"]["sha256"].as_str().unwrap();
    assert_eq!(fs::read(files.join(format!("{sha256}.pdf"))).unwrap(), NOTICE);

    let at = "2025-07-24T08:30:00+07:00";
    gateway.set_clock(at).await;
    centre.say("returned", &code, at, json!({ "type": "returned", "channel": "direct" }), None);
    centre.admitted("returned").await;
    assert_eq!(desk.event(&code, 6).await.0["dossier"]["status"], "returned");
    authority.event(&code, 6).await;

    // What a party did itself it was answered, what others did was delivered, each once.
    for (agency, theirs) in [(&desk, [2, 3, 5, 6].as_slice()), (&authority, &[1, 4, 6]), (&centre, &[1, 2, 3, 4, 5])] {
        let told: Vec<u32> = agency.inbox(&code).iter().map(|name| name[..6].parse().unwrap()).collect();
        assert_eq!(told, theirs, "as told to {}", agency.party);
    }
    assert_eq!((gateway.figure("dossiers").await, gateway.figure("events").await), (1, 6));
    for agency in [desk, authority, centre] {
        agency.stop().await;
    }
    gateway.stop().await;
    place.fsck().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_dies_between_any_two_steps_of_a_request_has_its_effect_once_and_answers_it() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let mut desk = Agency::open(&place, "mot-cua-binh", "H99.102", gateway.bus).await;
    // Taken in, told so, told what became of it, moved away: each write before its name, and before that is durable.
    let points = [
        "folder.taken:1",
        "folder.name:1",
        "folder.sync:1",
        "folder.name:2",
        "folder.sync:2",
        "folder.move:1",
        "folder.told:1",
    ];
    for (number, point) in points.into_iter().enumerate() {
        desk.armed(point).await;
        let name = format!("request-{number}");
        desk.put(&name, submission(), Some(("to-khai.pdf", FORM)));
        desk.died().await;
        let answer = desk.admitted(&name).await;
        assert_eq!(answer["request_key"], name, "{point}");
        assert_eq!(gateway.figure("dossiers").await, number as u64 + 1, "{point}");
        desk.adapter.as_ref().unwrap().settled().await;
    }
    // One answer for each, under its own name and no other.
    let count = |part: &str| fs::read_dir(desk.dir.join(part)).unwrap().count();
    assert_eq!(["outbox", "answers", "done", "rejected"].map(count), [0, points.len(), points.len(), 0]);
    assert_eq!(gateway.figure("events").await, points.len() as u64);
    desk.stop().await;
    gateway.stop().await;
    place.fsck().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_dies_between_any_two_steps_of_a_delivery_leaves_one_file_and_hands_it_over() {
    let place = Place::new();
    let gateway = place.gateway().await;
    let desk = Agency::open(&place, "mot-cua-binh", "H99.102", gateway.bus).await;
    let mut authority = Agency::open(&place, "cong-an", "H99.CA.101", gateway.bus).await;
    // The document is written first, then the delivery.
    let points = ["folder.name:1", "folder.sync:1", "folder.name:2", "folder.sync:2", "folder.delivered:1"];
    for (number, point) in points.into_iter().enumerate() {
        authority.armed(point).await;
        let name = format!("request-{number}");
        desk.put(&name, submission(), Some(("to-khai.pdf", FORM)));
        let code = desk.admitted(&name).await["dossier_code"].as_str().unwrap().to_owned();
        authority.died().await;
        let (delivery, files) = authority.event(&code, 1).await;
        assert_eq!(delivery["dossier_code"], code, "{point}");
        assert_eq!((authority.inbox(&code).len(), fs::read_dir(files).unwrap().count()), (1, 1), "{point}");
        authority.adapter.as_ref().unwrap().settled().await;
    }
    for agency in [desk, authority] {
        agency.stop().await;
    }
    gateway.stop().await;
    place.fsck().await;
}

/// Somebody moves to commune An, and says so in commune Binh. Whoever it is is invented.
fn submission() -> Value {
    json!({ "submission": {
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
        "components": [{ "name": "Tờ khai", "document": { "file": "to-khai.pdf" }, "originals": 1 }],
    } })
}
