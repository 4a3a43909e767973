//! Closed dossiers moved to an archive through the command line, by a gateway that is killed at every step of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::SystemTime;

use lgsp_gateway::store::sled::{Limits, Options, SledStore};
use lgsp_gateway::store::{Acknowledgement, Commit, Holder, Installation, Stage, Store as _};
use lgsp_proto::types::DossierCode;
use serde_json::{Value, json};

use super::gateway::{begin, record, submit};
use super::support::{Place, Running};

const CODE: &str = "H57.101-250714-0001";
const OPEN: &str = "H57.101-250714-0002";

/// Everybody has handed over what they were told of the dossier. The gateway is stopped.
fn settle(place: &Place, code: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (dir, node_key) = (place.path().join("data"), place.path().join("node.key"));
        let store = SledStore::open(&Options { dir, node_key, limits: Limits::default() }, |_| ()).unwrap();
        let code: DossierCode = code.parse().unwrap();
        let dossier = store.dossier(&code).await.unwrap().unwrap();
        for party in dossier.told() {
            let installation = Installation { system: "thu".to_owned(), instance: "main".to_owned() };
            let acknowledgement = Acknowledgement {
                party: party.clone(),
                stage: Stage::HandedOver,
                deliveries: (1..=dossier.sequence).map(|sequence| (code.clone(), sequence)).collect(),
                holder: Holder { installation, spool: Default::default() },
                at: SystemTime::now(),
            };
            store.commit(Commit::Acknowledgement(acknowledgement)).await.unwrap();
        }
        store.close().await;
    });
}

/// A year later.
fn set_clock(gateway: &Running) {
    let body = "{\"now\":\"2026-07-14T09:30:00+07:00\"}";
    let mut stream = TcpStream::connect(gateway.at("local")).unwrap();
    let head =
        "PUT /business-clock HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn profiles(place: &Place, gateway: &Running) {
    for (name, system, party) in [
        ("desk.toml", "mot-cua-hue", "H57.102"),
        ("authority.toml", "mot-cua-hue", "H57.101"),
        ("department.toml", "so-nganh", "H57.01"),
        ("operator.toml", "van-hanh", "H57.VH"),
    ] {
        place.profile(name, gateway.at("bus"), system, party);
    }
}

fn sound(place: &Place) -> Value {
    let report = place.lgsp(&["fsck", "data", "--node-key", "node.key", "--json"]).json();
    assert_eq!(report["problems"], json!([]), "{report}");
    report
}

fn documents(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { documents(&path) } else { 1 }).sum()
}

#[test]
fn a_closed_dossier_is_archived_whatever_kills_the_gateway_and_can_be_shown_as_it_was() {
    let (place, gateway) = begin();
    submit(&place, &[]).ok();
    submit(&place, &["--summary", "khác", "--request-key", "k-2"]).ok();
    record(&place, "authority.toml", CODE, "refused", &["--reason", "Không thuộc thẩm quyền"]).ok();
    let before = place.lgsp(&["dossier", "show", CODE, "--profile", "desk.toml", "--json"]).json();
    assert!(gateway.stop().success());
    settle(&place, CODE);
    let backup = |to: &str| place.lgsp(&["backup", "--config", "gateway.toml", "--to", to, "--json"]).json();
    backup("before");

    // The last of them comes when it is on record already: then the next start ends it.
    let points = ["write", "sync", "name", "folder", "record", "remove"];
    for point in points {
        let gateway = place.gateway_dying_at(&format!("archive.{point}:1"));
        set_clock(&gateway);
        profiles(&place, &gateway);
        place.lgsp(&["archive", "run", "--after-days", "365", "--profile", "operator.toml"]).failed(4);
        assert!(!gateway.ended().success(), "it did not die at {point}");
        let report = sound(&place);
        let archived = u64::from(point == "remove");
        assert_eq!(report["archived_dossiers"], archived, "killed at {point}");
        assert_eq!(report["archives"], archived, "killed at {point}");
        // The other dossier's document is the same content, but a file of its own.
        assert_eq!(documents(&place.path().join("documents/whole")), 2, "killed at {point}");
    }

    let gateway = place.start("gateway", "gateway.toml");
    set_clock(&gateway);
    profiles(&place, &gateway);
    assert_eq!(documents(&place.path().join("documents/whole")), 1);
    let run = ["archive", "run", "--after-days", "365", "--profile", "operator.toml"];
    assert_eq!(place.lgsp(&run).ok(), "Nothing to archive\n");
    assert!(place.lgsp(&["archive", "run", "--profile", "operator.toml"]).failed(3).contains("after_days"));
    let said = place.lgsp(&["archive", "run", "--after-days", "1", "--profile", "desk.toml"]).failed(3);
    assert!(said.contains("GRANT_MISSING"), "{said}");

    // Asked for it, the gateway says where it is; what was answered before is answered again.
    let said = place.lgsp(&["dossier", "show", CODE, "--profile", "desk.toml", "--lang", "vi"]).failed(3);
    assert!(said.contains("DOSSIER_ARCHIVED") && said.contains("lgsp archive show"), "{said}");
    assert!(said.contains("archive-2026-07-0001.lgsp"), "{said}");
    assert!(submit(&place, &[]).ok().contains(&format!("{CODE} (admitted before)")));
    let said = place.lgsp(&["dossier", "show", CODE, "--profile", "department.toml"]).failed(3);
    assert!(said.contains("DOSSIER_NOT_FOUND"), "{said}");
    place.lgsp(&["dossier", "show", OPEN, "--profile", "desk.toml"]).ok();

    // The files need no key, and no gateway.
    let listed = place.lgsp(&["archive", "list", "data/archives", "--dossiers", "--json"]).json();
    let archive = &listed["archives"][0];
    assert_eq!(
        (&archive["dossiers"], &archive["documents"], &archive["codes"]),
        (&1.into(), &1.into(), &json!([CODE]))
    );
    let file = "data/archives/archive-2026-07-0001.lgsp";
    let verified = place.lgsp(&["archive", "verify", file]).ok();
    assert!(verified.contains("whole, 1 dossier(s)") && verified.contains(archive["sha256"].as_str().unwrap()));
    assert_eq!(place.lgsp(&["archive", "verify", "data/archives"]).ok(), verified, "all that are in the folder");
    assert!(place.lgsp(&["archive", "verify", "pki"]).failed(2).contains("holds no archives"));
    let listed = place.lgsp(&["archive", "list", "data/archives", "--lang", "vi"]).ok();
    assert!(
        listed.contains("Tệp lưu trữ") && listed.contains("14/07/2026") | listed.contains("archive-2026-07-0001.lgsp")
    );

    // With the keys, while the gateway runs: everything that happened, the content, and the document.
    let show = |more: &[&str]| {
        let words = ["archive", "show", CODE, "--data", "data", "--node-key", "node.key"];
        place.lgsp(&[&words[..], more].concat())
    };
    let shown = show(&["--json", "--bodies"]).json();
    assert_eq!(shown["archive"], "archive-2026-07-0001.lgsp");
    assert_eq!(shown["dossier"]["status"], before["dossier"]["status"]);
    let body = |event: &Value| data_encoding::BASE64.decode(event["body_base64"].as_str().unwrap().as_bytes()).unwrap();
    let events = shown["events"].as_array().unwrap();
    assert!(String::from_utf8_lossy(&body(&events[0])).contains("Nguyễn Văn Thử"));
    assert!(String::from_utf8_lossy(&body(&events[1])).contains("Không thuộc thẩm quyền"));
    assert_eq!(show(&["--json"]).json()["events"], before["events"]);
    let sha256 = before["dossier"]["documents"][0]["sha256"].as_str().unwrap();
    show(&["--document", sha256, "--out", "again.pdf"]).ok();
    assert_eq!(fs::read(place.path().join("again.pdf")).unwrap(), fs::read(place.path().join("to-khai.pdf")).unwrap());
    assert!(show(&["--document", &"0".repeat(64), "--out", "none.pdf"]).failed(2).contains("no document"));
    let unknown = place.lgsp(&["archive", "show", OPEN, "--data", "data", "--node-key", "node.key"]).failed(2);
    assert!(unknown.contains("hold no dossier"), "{unknown}");

    // A backup takes it along, and another one takes nothing new but the record of the one before.
    // The repeat has brought its document once more, which nobody has attached.
    let now_there = documents(&place.path().join("documents/whole"));
    assert_eq!(backup("copy")["archives_not_included"], Value::Null);
    assert!(backup("copy")["copied_files"].as_u64().unwrap() <= 1);
    assert!(fs::read_to_string(place.path().join("copy/MANIFEST")).unwrap().contains(file));

    // Erased, it is erased there too.
    let words = ["dossier", "erase", CODE, "--ground", "QD-123/2026", "--profile", "operator.toml", "--json"];
    assert_eq!(place.lgsp(&words).json()["keys_destroyed"], 2);
    let shown = show(&["--json", "--bodies"]).json();
    assert_eq!((&shown["erased"], &shown["events"][0]["body_base64"]), (&true.into(), &Value::Null));
    assert!(show(&["--lang", "vi"]).ok().contains("Nội dung đã bị xoá vĩnh viễn."));
    assert!(show(&["--document", sha256, "--out", "gone.pdf"]).failed(3).contains("erased for good"));
    assert!(!place.path().join("gone.pdf").exists());

    assert!(gateway.stop().success());
    let report = sound(&place);
    assert_eq!((&report["archived_dossiers"], &report["erased_dossiers"]), (&1.into(), &1.into()));
    // Carried away it is no problem; damaged it is.
    fs::rename(place.path().join("data/archives"), place.path().join("away")).unwrap();
    assert_eq!(sound(&place)["archives_elsewhere"], 1);
    let away = ["fsck", "data", "--node-key", "node.key", "--archives", "away"];
    assert!(place.lgsp(&away).ok().contains("1 checked, 0 elsewhere"));
    let file = place.path().join("away/archive-2026-07-0001.lgsp");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let ended = place.lgsp(&away);
    assert!(ended.code == 3 && ended.out.contains("INV-11"), "{ended:?}");
    let ended = place.lgsp(&["archive", "verify", "away/archive-2026-07-0001.lgsp"]);
    assert!(ended.code == 3 && ended.out.contains("damaged"), "{ended:?}");
    let ended = place.lgsp(&["archive", "verify", "away"]);
    assert!(ended.code == 3 && ended.out.contains("damaged"), "{ended:?}");

    // Restored from before, the dossier is here again with its document; from after, it is in the archive that came along.
    for (from, archived, documents_there) in [("before", 0, 2), ("copy", 1, now_there)] {
        let config = fs::read_to_string(place.path().join("gateway.toml")).unwrap();
        let into = |dir: &str| format!("dir = \"{from}-restored/{dir}\"");
        let config = config.replace("dir = \"data\"", &into("data")).replace("dir = \"documents\"", &into("documents"));
        place.write("restored.toml", &config);
        place.lgsp(&["restore", "--from", from, "--config", "restored.toml", "--actor", "van.hanh.1"]).ok();
        let data = format!("{from}-restored/data");
        let report = place.lgsp(&["fsck", &data, "--node-key", "node.key", "--json"]).json();
        assert_eq!((&report["archived_dossiers"], &report["archives"]), (&archived.into(), &archived.into()), "{from}");
        assert_eq!(documents(&place.path().join(format!("{from}-restored/documents/whole"))), documents_there);
        if archived == 1 {
            let shown =
                place.lgsp(&["archive", "show", CODE, "--data", &data, "--node-key", "node.key", "--json"]).json();
            assert_eq!(shown["events"], before["events"]);
        }
    }
}

#[test]
fn what_was_looked_up_for_a_dossier_is_shown_out_of_its_archive() {
    let place = Place::new();
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/tests/fixtures/archived/v2");
    // A clone leaves the key open to others, which a key must not be.
    place.shell(&format!("cp -r {kept} kept && chmod 600 kept/node.key")).ok();
    let [data, node_key] = ["store", "node.key"].map(|name| place.path().join("kept").join(name).display().to_string());
    let show = |more: &[&str]| {
        let words = ["archive", "show", "H99.102-250714-0001", "--data", &data, "--node-key", &node_key];
        place.lgsp(&[&words[..], more].concat())
    };
    let shown = show(&["--json", "--bodies"]).json();
    let look_up = &shown["look_ups"][0];
    assert_eq!(
        (&look_up["service"], &look_up["dossier_code"], &look_up["payload"]["personal_number"]),
        (&json!("dan-cu"), &json!("H99.102-250714-0001"), &json!("046190000001"))
    );
    assert!(look_up["reply"]["residence"].is_object(), "{look_up}");
    // Without its content, unless that is asked for.
    let without = show(&["--json"]).json();
    assert_eq!(
        (&without["look_ups"][0]["reply"], &without["look_ups"][0]["outcome"]),
        (&Value::Null, &json!("ANSWERED"))
    );
    assert!(show(&[]).ok().contains("Looked up"));
}
