//! A department's developer registers a data service from a schema file, and a desk gets its first answer: everything by the command
//! line, with software of the department that is a few lines long.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use serde_json::json;

use super::gateway::begin;
use super::support::{HUE, Place, eventually};

const SERVICES: &str = r#"
[[service]]
name = "thua-dat"
version = 1
owner = "H57.01"
title = "Tra cứu thửa đất"
title_en = "Look up a parcel"
request = "thua-dat.request.schema.json"
reply = "thua-dat.reply.schema.json"
purposes = ["tham-dinh"]
timeout_ms = 5000
"#;

const GRANT: &str = r#"
[[grant]]
id = "xa-thua-dat"
kind = "commune"
right = "call"
service = "thua-dat"
purposes = ["tham-dinh"]
fields = ["area_m2"]
procedures = "any"
owner = "H57.01"
"#;

const REQUEST: &str =
    r#"{ "type": "object", "required": ["parcel"], "properties": { "parcel": { "type": "string" } } }"#;

const REPLY: &str =
    r#"{ "type": "object", "properties": { "area_m2": { "type": "number" }, "owner": { "type": "string" } } }"#;

/// The department's software: knows one parcel, fails over 5/0, does not keep to its schema for 9/9, and has no answer for 0/0.
fn software() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut never_answered = Vec::new();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let asked: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let (status, body) = match asked["parcel"].as_str() {
                Some("17/4") => ("200 OK", r#"{"area_m2": 120.50, "owner": "không nói"}"#),
                Some("9/9") => ("200 OK", r#"{"area_m2": "120"}"#),
                Some("5/0") => ("500 Internal Server Error", ""),
                Some("0/0") => {
                    never_answered.push(stream);
                    continue;
                }
                _ => ("404 Not Found", ""),
            };
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all((head + body).as_bytes()).unwrap();
        }
    });
    address
}

/// The registry of Hue with the department's service.
fn registry(place: &Place) {
    let folder = place.path().join("next");
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(HUE).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let grants = fs::read_to_string(folder.join("grants.toml")).unwrap();
    place.write("next/grants.toml", &(grants + GRANT));
    let services = fs::read_to_string(folder.join("services.toml")).unwrap();
    place.write("next/services.toml", &(services + SERVICES));
    place.write("next/thua-dat.request.schema.json", REQUEST);
    place.write("next/thua-dat.reply.schema.json", &REPLY.replace("number", "numbers"));
}

#[test]
fn a_departments_developer_registers_a_service_and_a_desk_is_answered() {
    let (place, gateway) = begin();
    registry(&place);
    let wrong = place.lgsp(&["registry", "check", "next"]);
    assert_eq!(wrong.code, 3, "{wrong:#?}");
    assert!(wrong.out.contains("thua-dat.reply.schema.json") && wrong.out.contains("area_m2/type"), "{wrong:#?}");
    place.write("next/thua-dat.reply.schema.json", REPLY);
    let applied = place.lgsp(&["registry", "apply", "next", "--yes", "--profile", "operator.toml"]).ok();
    assert!(applied.starts_with("Applied version 2: 2 change(s)"), "{applied}");

    let as_desk = |words: &[&str]| place.lgsp(&[&["query"], words, &["--profile", "desk.toml"]].concat());
    let services = as_desk(&["services"]).ok();
    assert!(services.contains("thua-dat/1") && services.contains("tham-dinh: area_m2"), "{services}");
    place.write("parcel.json", r#"{"parcel":"17/4"}"#);
    let ask = ["ask", "thua-dat", "parcel.json", "--purpose", "tham-dinh"];
    assert!(as_desk(&ask).failed(3).contains("SERVICE_NOT_SERVED"));
    assert_eq!(as_desk(&["list"]).ok(), "Nothing was asked\n");

    let configuration = format!(
        "gateway = \"https://{}\"\nserver_name = \"gw.lgsp.hue.test\"\nparties = [\"H57.01\"]\n\
         [tls]\ncertificate = \"pki/so-nganh.pem\"\nkey = \"pki/so-nganh.key\"\nbundle = \"ca/root.pem\"\n\
         [spool]\nfolder = \"spool\"\n[rest]\nlisten = \"127.0.0.1:0\"\n[offline]\nenabled = false\n\
         [connector]\nparty = \"H57.01\"\n[connector.services]\n\"thua-dat/1\" = \"http://{}/\"\n",
        gateway.at("bus"),
        software(),
    );
    place.write("adapter.toml", &configuration);
    let _adapter = place.start("adapter", "adapter.toml");
    let served = || {
        let services = as_desk(&["services", "--json"]).json()["services"].clone();
        services.as_array().unwrap().iter().any(|one| one["service"] == "thua-dat" && one["connectors"] == 1)
    };
    eventually("the service is served", served);

    let told = as_desk(&[&ask[..], &["--json"]].concat()).json();
    assert_eq!((&told["reply"], &told["signature"]), (&json!({ "area_m2": 120.5 }), &json!("verified")));
    let shown = as_desk(&ask).ok();
    assert!(shown.contains("\"area_m2\": 120.5") && !shown.contains("không nói"), "{shown}");
    place.write("parcel.json", r#"{"parcel":"1/1"}"#);
    assert!(as_desk(&ask).failed(3).contains("SUBJECT_NOT_FOUND"));
    let denied = as_desk(&[&ask[..], &["--fields", "owner"]].concat()).failed(3);
    assert!(denied.contains("GRANT_MISSING") && denied.contains("H57.01"), "{denied}");

    let listed = as_desk(&["list", "--json"]).json();
    let outcomes: Vec<_> = listed["queries"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["SUBJECT_NOT_FOUND", "ANSWERED", "ANSWERED"]);
    assert!(as_desk(&["list"]).ok().contains("tham-dinh"));
    let id = told["query_id"].as_str().unwrap();
    let one = as_desk(&["show", id, "--json"]).json();
    assert_eq!(
        (&one["outcome"], &one["party"], &one["actor"]),
        (&json!("ANSWERED"), &json!("H57.102"), &json!("cb.thu"))
    );
    assert!(as_desk(&["show", id]).ok().contains("thua-dat/1"));
    let figures = as_desk(&["figures", "--json"]).json();
    let line = &figures["lines"][0];
    assert_eq!(
        [&line["party"], &line["clerk"], &line["questions"], &line["answered"], &line["refused"], &line["dossiers"]],
        [&json!("H57.102"), &json!("cb.thu"), &json!(3), &json!(2), &json!(1), &json!(0)]
    );
    let table = as_desk(&["figures", "--by", "service"]).ok();
    assert!(table.starts_with("Service   Questions") && table.contains("thua-dat  3"), "{table}");
    let table = place.lgsp(&["query", "figures", "--lang", "vi", "--profile", "operator.toml"]).ok();
    assert!(table.contains("Cán bộ") && table.contains("cb.thu"), "{table}");
    as_desk(&["figures", "--from", "2025-07-14"]).failed(2);
    // What is asked for a dossier is shown with it, to the desk that asked and to the authority.
    super::gateway::submit(&place, &[]).ok();
    let code = "H57.101-250714-0001";
    place.write("parcel.json", r#"{"parcel":"17/4"}"#);
    let asked = as_desk(&[&ask[..], &["--dossier", code, "--json"]].concat()).json();
    for profile in ["desk.toml", "authority.toml"] {
        let shown = place.lgsp(&["dossier", "show", code, "--profile", profile]).ok();
        assert!(shown.contains("Looked up") && shown.contains(asked["query_id"].as_str().unwrap()), "{shown}");
        let shown = place.lgsp(&["dossier", "show", code, "--profile", profile, "--json"]).json();
        assert_eq!(
            (&shown["look_ups"][0]["reply_sha256"], shown["look_ups"].as_array().unwrap().len()),
            (&asked["reply_sha256"], 1)
        );
    }
    // To somebody else it is as if it had never been.
    let foreign = place.lgsp(&["query", "show", id, "--profile", "authority.toml"]);
    assert!(foreign.failed(3).contains("QUERY_NOT_FOUND"));
    as_desk(&["show", "x"]).failed(2);
    an_owner_finds_out_why_its_software_did_not_answer(&place);
}

/// Whoever asked passes the id of the question on; with it the owner looks into its adapter's log, or asks the operator.
fn an_owner_finds_out_why_its_software_did_not_answer(place: &Place) {
    let ask = |parcel: &str, lang: &str, code: i32| {
        place.write("parcel.json", &json!({ "parcel": parcel }).to_string());
        let words = ["query", "ask", "thua-dat", "parcel.json", "--purpose", "tham-dinh", "--profile", "desk.toml"];
        place.lgsp(&[&words[..], &["--lang", lang]].concat()).failed(code)
    };
    let id_in = |said: &str| said.split_once("query_id: ").unwrap().1.lines().next().unwrap().to_owned();
    let line_of = |node: &str, id: &str| {
        eventually("the question is in the log", || fs::read_to_string(place.log(node)).unwrap().contains(id));
        let log = fs::read_to_string(place.log(node)).unwrap();
        log.lines().find(|line| line.contains(id)).unwrap().to_owned()
    };
    let failed = ask("5/0", "en", 3);
    let line = line_of("adapter", &id_in(&failed));
    assert!(failed.contains("SERVICE_FAILED") && line.contains("500") && line.contains("software failed"), "{line}");
    let line = line_of("gateway", &id_in(&ask("9/9", "en", 3)));
    assert!(line.contains("payload.area_m2") && line.contains("does not fit its schema"), "{line}");
    let late = ask("0/0", "vi", 4);
    assert!(late.contains("Chưa rõ kết quả: QUERY_OUTCOME_UNKNOWN"), "{late}");
    assert!(late.contains("lgsp explain QUERY_OUTCOME_UNKNOWN") && !late.contains("chứng thư"), "{late}");
    let line = line_of("adapter", &id_in(&late));
    assert!(line.contains("no answer in the question's own time"), "{line}");
    // A purpose that there is not is told with those that there are.
    let words = ["query", "ask", "thua-dat", "parcel.json", "--purpose", "to-mo", "--profile", "desk.toml"];
    let refused = place.lgsp(&words).failed(3);
    assert!(refused.contains("purpose: is no purpose of this service; there are: tham-dinh"), "{refused}");
}
