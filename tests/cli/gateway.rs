//! A clerk's day through the command line: a gateway is started, a dossier handed in, found again, decided; the gateway is
//! stopped and its books are checked.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use lgsp_adapters::link::{Address, DocumentUpload, Link, Timings};
use lgsp_certs::TlsFiles;
use serde_json::{Value, json};

use super::support::{Ended, HUE, Place, Running, eventually};

/// A birth to be registered in Phú Xuân; whoever asks is invented.
pub(crate) fn submission() -> String {
    json!({
        "procedure_code": "1.001193",
        "applicant": {
            "kind": "citizen", "full_name": "Nguyễn Văn Thử", "personal_number": "046090000017",
            "date_of_birth": "1990-05-06", "sex": "male",
        },
        "locality": "19753",
        "intake_channel": "online",
        "return_channel": "direct",
        "received_at": "2025-07-14T09:00:00+07:00",
        "summary": "Đăng ký khai sinh",
        "form": { "so_con": 1 },
    })
    .to_string()
}

/// A gateway with a desk, an authority and an operator, and a form to hand in.
pub(crate) fn begin() -> (Place, Running) {
    let place = Place::new();
    place.certificates(&["mot-cua-hue", "so-nganh", "van-hanh"]);
    let gateway = place.gateway();
    place.profile("desk.toml", gateway.at("bus"), "mot-cua-hue", "H57.102");
    place.profile("authority.toml", gateway.at("bus"), "mot-cua-hue", "H57.101");
    place.profile("department.toml", gateway.at("bus"), "so-nganh", "H57.01");
    place.profile("operator.toml", gateway.at("bus"), "van-hanh", "H57.VH");
    place.write("to-khai.pdf", "%PDF-1.7 a form");
    (place, gateway)
}

pub(crate) fn submit(place: &Place, more: &[&str]) -> Ended {
    let words = [
        "dossier",
        "submit",
        "--profile",
        "desk.toml",
        "--procedure",
        "1.001193",
        "--locality",
        "19753",
        "--applicant",
        "Nguyễn Văn Thử",
        "--document",
        "to-khai=to-khai.pdf",
        "--received-at",
        "2025-07-14T09:00:00+07:00",
    ];
    place.lgsp(&[&words[..], more].concat())
}

pub(crate) fn record(place: &Place, profile: &str, code: &str, kind: &str, more: &[&str]) -> Ended {
    let words = ["dossier", "record", code, "--profile", profile, "--at", "2025-07-14T09:20:00+07:00", "--type", kind];
    place.lgsp(&[&words[..], more].concat())
}

#[test]
fn a_dossier_goes_from_desk_to_authority_and_its_books_hold() {
    let (place, gateway) = begin();
    let receipt = submit(&place, &["--json"]).json();
    let code = receipt["dossier_code"].as_str().unwrap();
    assert_eq!(code, "H57.101-250714-0001");
    assert_eq!((&receipt["competent_authority"], &receipt["non_territorial"]), (&"H57.101".into(), &true.into()));
    assert_eq!(receipt["signature_checked"], true);

    // Sent once more it is the same dossier, and says so to a person.
    let again = submit(&place, &[]).ok();
    assert!(again.contains("H57.101-250714-0001 (admitted before)"), "{again}");
    for text in ["Due ", "2025-07-14 1", "H57.101 (non-territorial)", "checked (lgsp.hue.test)"] {
        assert!(again.contains(text), "{text} in {again}");
    }

    let shown = place.lgsp(&["dossier", "show", code, "--profile", "authority.toml", "--json"]).json();
    assert_eq!((&shown["dossier"]["status"], &shown["events"][0]["type"]), (&"registered".into(), &"submitted".into()));
    let listed =
        place.lgsp(&["dossier", "list", "--profile", "authority.toml", "--status", "registered", "--json"]).json();
    assert_eq!(listed["dossiers"][0]["code"], code);

    record(&place, "authority.toml", code, "accepted", &[]).ok();
    record(&place, "authority.toml", code, "processing-started", &[]).ok();
    record(&place, "authority.toml", code, "resolved", &["--result", "Giấy khai sinh"]).ok();
    let shown = place.lgsp(&["dossier", "show", code, "--profile", "desk.toml", "--lang", "vi"]).ok();
    for text in ["Đã xử lý xong", "Nộp hồ sơ", "Tiếp nhận", "Bắt đầu xử lý", "Có kết quả", "14/07/2025 09:20"]
    {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    let rest = place.lgsp(&["dossier", "list", "--profile", "authority.toml", "--status", "registered"]).ok();
    assert_eq!(rest, "No dossiers\n");

    assert!(gateway.stop().success());
    let clean = place.lgsp(&["fsck", "data", "--node-key", "node.key", "--json"]).json();
    assert_eq!(clean["problems"], json!([]), "{clean}");
    let stored = place.lgsp(&["dossier", "show", code, "--data", "data", "--node-key", "node.key", "--json"]).json();
    assert_eq!((&stored["dossier"]["status"], stored["events"].as_array().unwrap().len()), (&"resolved".into(), 4));
    assert_eq!(stored["dossier"]["competent_authority"], "H57.101");
}

#[test]
fn an_operator_erases_a_closed_dossier_and_its_books_hold() {
    let (place, gateway) = begin();
    let code = "H57.101-250714-0001";
    submit(&place, &[]).ok();
    let erase = |profile: &str, more: &[&str]| {
        let words = ["dossier", "erase", code, "--ground", "QD-123/2026", "--profile", profile];
        place.lgsp(&[&words[..], more].concat())
    };
    assert!(erase("operator.toml", &[]).failed(3).contains("DOSSIER_OPEN"));
    assert!(!place.lgsp(&["dossier", "show", code, "--profile", "desk.toml"]).ok().contains("erased"));
    record(&place, "authority.toml", code, "refused", &["--reason", "Không thuộc thẩm quyền"]).ok();
    assert!(erase("authority.toml", &[]).failed(3).contains("GRANT_MISSING"));

    let erased = erase("operator.toml", &["--json"]).json();
    assert_eq!((&erased["ground"], &erased["repeated"]), (&"QD-123/2026".into(), &false.into()));
    let again = erase("operator.toml", &["--lang", "vi"]).ok();
    assert!(again.contains("Hồ sơ đã được xoá từ trước."), "{again}");
    assert!(record(&place, "authority.toml", code, "accepted", &[]).failed(3).contains("CONTENT_ERASED"));
    let shown = place.lgsp(&["dossier", "show", code, "--profile", "desk.toml", "--json"]).json();
    assert_eq!((&shown["dossier"]["status"], &shown["events"][1]["type"]), (&"not_accepted".into(), &"refused".into()));
    let show = |more: &[&str]| place.lgsp(&[&["dossier", "show", code], more].concat());
    assert_eq!((&shown["events"][0]["erased"], &shown["events"][1]["erased"]), (&true.into(), &true.into()));
    assert!(show(&["--profile", "desk.toml"]).ok().contains("erased for good"));
    assert!(show(&["--profile", "desk.toml", "--lang", "vi"]).ok().contains("đã bị xoá vĩnh viễn"));

    assert!(gateway.stop().success());
    let clean = place.lgsp(&["fsck", "data", "--node-key", "node.key", "--json"]).json();
    assert_eq!((&clean["problems"], &clean["erased_dossiers"]), (&json!([]), &1.into()), "{clean}");
    let stored = place.lgsp(&["dossier", "show", code, "--data", "data", "--node-key", "node.key", "--json"]).json();
    assert_eq!(stored["events"], shown["events"]);
}

#[test]
fn nothing_is_released_from_a_system_that_nobody_has_entered() {
    let (place, _gateway) = begin();
    let release = |system: &str| {
        let words = ["inbox", "release", "--party", "H57.101", "--system", system, "--why", "DISK_LOST"];
        place.lgsp(&[&words[..], &["--profile", "operator.toml"]].concat())
    };
    let said = release("mot-cua-heu").failed(3);
    assert!(said.contains("FIELD_INVALID") && said.contains("- system: is no system of the registry"), "{said}");
    assert_eq!(release("mot-cua-hue").ok(), "0 deliveries are owed again\n");
}

#[test]
fn a_list_goes_on_where_it_ended() {
    let (place, _gateway) = begin();
    for number in 1..=3 {
        let summary = format!("khai sinh {number}");
        submit(&place, &["--summary", &summary]).ok();
    }
    let list = |more: &[&str]| {
        let words = ["dossier", "list", "--profile", "desk.toml", "--limit", "2", "--json"];
        place.lgsp(&[&words[..], more].concat()).json()
    };
    let first = list(&[]);
    let rest = list(&["--page-token", first["next_page_token"].as_str().unwrap()]);
    let codes = |page: &Value| -> Vec<String> {
        let dossiers = page["dossiers"].as_array().unwrap();
        dossiers.iter().map(|dossier| dossier["code"].as_str().unwrap().to_owned()).collect()
    };
    let mut all = [codes(&first), codes(&rest)].concat();
    assert_eq!((codes(&first).len(), &rest["next_page_token"]), (2, &Value::Null));
    all.sort();
    assert_eq!(all, ["H57.101-250714-0001", "H57.101-250714-0002", "H57.101-250714-0003"]);
}

#[test]
fn a_refusal_says_why_and_what_to_do_in_the_language_asked_for() {
    let (place, _gateway) = begin();
    let code = "H57.101-250714-0001";
    submit(&place, &[]).ok();

    let said = record(&place, "authority.toml", code, "returned", &["--channel", "direct"]).failed(3);
    assert!(said.starts_with("Refused: ILLEGAL_TRANSITION\n  This may not happen"), "{said}");
    assert!(said.contains("What to do: See the details"), "{said}");
    let said = record(&place, "authority.toml", code, "returned", &["--channel", "direct", "--lang", "vi"]).failed(3);
    assert!(said.starts_with("Bị từ chối: ILLEGAL_TRANSITION\n  Việc này không hợp lệ"), "{said}");
    assert!(said.contains("Cần làm: "), "{said}");

    // Every field at fault, none of its content.
    let said = submit(&place, &["--number", "12345", "--born", "yesterday"]).failed(3);
    for field in ["applicant.personal_number: ", "applicant.date_of_birth: "] {
        assert!(said.contains(field), "{field} in {said}");
    }
    assert!(!said.contains("12345") && !said.contains("yesterday"), "{said}");
    let said = submit(&place, &["--number", "12345", "--born", "yesterday", "--lang", "vi"]).failed(3);
    assert!(said.contains("applicant.date_of_birth: không phải ngày dạng yyyy-mm-dd"), "{said}");
    assert!(!said.contains(" is "), "{said}");

    // The same key with other content.
    submit(&place, &["--request-key", "k-1", "--summary", "a"]).ok();
    assert!(submit(&place, &["--request-key", "k-1", "--summary", "b"]).failed(3).contains("KEY_REUSED"));

    // Whom it does not concern may not know that it is there; a system acts for its own parties only.
    let said = place.lgsp(&["dossier", "show", code, "--profile", "department.toml"]).failed(3);
    assert!(said.contains("DOSSIER_NOT_FOUND"), "{said}");
    let said = place.lgsp(&["dossier", "list", "--profile", "desk.toml", "--as", "H57.01"]).failed(3);
    assert!(said.contains("ACTS_FOR_MISSING"), "{said}");
    assert!(place.lgsp(&["registry", "plan", HUE, "--profile", "desk.toml"]).failed(3).contains("GRANT_MISSING"));
}

#[test]
fn the_gateways_route_is_the_folders_route() {
    let (place, _gateway) = begin();
    for (procedure, locality) in [("1.001193", "19753"), ("1.001193", "46")] {
        let words = ["dossier", "route", "--procedure", procedure, "--locality", locality, "--json", "--all"];
        let words = [&words[..], &["--at", "2025-07-14"]].concat();
        let parse = |ended: Ended| -> (i32, Value) { (ended.code, serde_json::from_str(&ended.out).unwrap()) };
        let (code, mut here) = parse(place.lgsp(&[&words[..], &["--registry", HUE]].concat()));
        let (there_code, there) = parse(place.lgsp(&[&words[..], &["--profile", "desk.toml"]].concat()));
        here["registry_version"] = 1.into();
        assert_eq!((code, here), (there_code, there));
    }
}

#[test]
fn a_registry_is_planned_confirmed_and_applied() {
    let (place, _gateway) = begin();
    let folder = place.path().join("next");
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(HUE).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let apply =
        |more: &[&str]| place.lgsp(&[&["registry", "apply", "next", "--profile", "operator.toml"], more].concat());
    assert_eq!(apply(&[]).ok(), "No changes against version 1\n");

    let systems = folder.join("systems.toml");
    let text = fs::read_to_string(&systems).unwrap();
    let more = "\n[[system]]\nname = \"thu-nghiem\"\ndescription = \"Thử nghiệm\"\nacts_for = [\"H57.101\"]\n";
    fs::write(&systems, text.clone() + more).unwrap();
    let planned = place.lgsp(&["registry", "plan", "next", "--profile", "operator.toml"]).ok();
    assert!(planned.contains("+ added") && planned.contains("thu-nghiem"), "{planned}");
    assert!(planned.ends_with("1 change(s) against version 1\n"), "{planned}");

    // Nobody is there to be asked.
    assert!(apply(&[]).failed(2).contains("--yes"));
    assert_eq!(apply(&["--yes"]).ok(), "Applied version 2: 1 change(s)\n");
    let shown = place.lgsp(&["registry", "show", "system", "thu-nghiem", "--profile", "desk.toml", "--json"]).json();
    assert_eq!(shown[0]["acts_for"], json!(["H57.101"]));

    fs::write(&systems, text + "\n[[system]]\nname = \"B A D\"\n").unwrap();
    let ended = apply(&["--yes"]);
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert!(ended.out.starts_with("systems.toml:"), "{}", ended.out);
    let whole = place.lgsp(&["registry", "show", "--profile", "operator.toml", "--json"]).json();
    assert_eq!((&whole["version"], &whole["applied_by_system"]), (&2.into(), &"van-hanh".into()));
}

/// A folder with the registry of Hue and a passage of one file replaced.
fn next(place: &Place, file: &str, from: &str, to: &str) {
    let folder = place.path().join("next");
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(HUE).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let text = fs::read_to_string(folder.join(file)).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    fs::write(folder.join(file), text.replace(from, to)).unwrap();
}

#[test]
fn a_plan_shows_who_gains_and_who_loses_before_what_changes_in_both_languages() {
    let (place, _gateway) = begin();
    next(&place, "grants.toml", "kind = \"commune\"\nright = \"submit\"", "party = \"H57.15\"\nright = \"submit\"");
    let plan = ["registry", "plan", "next", "--profile", "operator.toml"];
    let planned = place.lgsp(&plan).ok();
    let lines: Vec<&str> = planned.lines().collect();
    assert!(lines[1].starts_with("- loses  H57.101, H57.102, ") && lines[1].contains("(+"), "{planned}");
    assert!(lines[2].starts_with("+ gains  H57.15 "), "{planned}");
    assert!(planned.find("- loses") < planned.find("~ changed"), "{planned}");
    let vietnamese = place.lgsp(&[&plan[..], &["--lang", "vi"]].concat()).ok();
    assert!(vietnamese.contains("- mất") && vietnamese.contains("+ được"), "{vietnamese}");
    let json = place.lgsp(&[&plan[..], &["--json"]].concat()).json();
    let lost = json["authority"].as_array().unwrap().iter().filter(|one| one["gained"] == false);
    assert_eq!(lost.count(), 40, "every commune");
}

#[test]
fn a_lock_out_is_warned_of_and_applied_only_on_purpose_and_any_version_comes_back() {
    let (place, _gateway) = begin();
    // Somebody else takes the certificates over, and no system acts for them.
    next(&place, "grants.toml", "party = \"H57.VH\"\nright = \"certify\"", "party = \"H57.BC\"\nright = \"certify\"");
    let systems = place.path().join("next/systems.toml");
    let text = fs::read_to_string(&systems).unwrap();
    let kept: Vec<&str> = text.split("[[system]]").filter(|one| !one.contains("\"H57.BC\"")).collect();
    fs::write(&systems, kept.join("[[system]]")).unwrap();
    let with = |words: &[&str]| place.lgsp(&[words, &["--profile", "operator.toml"]].concat());
    let planned = with(&["registry", "plan", "next"]).ok();
    assert!(planned.contains("WARNING: after this nobody could use the right \"certify\" any more"), "{planned}");
    let refused = with(&["registry", "apply", "next", "--yes"]).failed(3);
    assert!(refused.contains("REGISTRY_LOCKS_OUT") && refused.contains("--yes-lock-out"), "{refused}");
    with(&["registry", "apply", "next", "--yes", "--yes-lock-out"]).ok();
    let versions = with(&["registry", "versions", "--json"]).json();
    assert_eq!(versions["versions"][0]["accepted_lock_out"], "certify");
    let audited = with(&["audit", "list", "--kind", "registry-applied", "--json"]).ok();
    assert!(audited.contains("accepted_lock_out"), "{audited}");
    let said = with(&["registry", "rollback", "1", "--yes"]).ok();
    assert!(said.starts_with("Applied version 3 (as version 1): "), "{said}");
    assert!(with(&["registry", "rollback", "7", "--yes"]).failed(3).contains("REGISTRY_VERSION_UNKNOWN"));

    let versions = with(&["registry", "versions", "--json"]).json();
    let of = |at: usize, key: &str| versions["versions"][at][key].clone();
    assert_eq!(
        [of(0, "version"), of(0, "rolled_back_to"), of(0, "acting_party")],
        [json!(3), json!(1), json!("H57.VH")]
    );
    assert_eq!(of(0, "sha256"), of(2, "sha256"));
    let one = with(&["registry", "versions", "--limit", "1"]);
    assert!(one.out.lines().count() == 2 && one.err.contains("--page-token"), "{one:#?}");
    with(&["registry", "read", "--version", "2", "--out", "two"]).ok();
    for file in fs::read_dir(place.path().join("next")).unwrap().map(|file| file.unwrap().path()) {
        let read = place.path().join("two").join(file.file_name().unwrap());
        assert!(
            fs::read(&file).unwrap() == fs::read(read).unwrap_or_default()
                || !file.to_str().unwrap().ends_with(".toml")
        );
    }
    with(&["registry", "read", "--out", "two"]).failed(2);
}

#[test]
fn can_i_says_by_what_or_what_is_missing_and_whom_to_ask() {
    let (place, _gateway) = begin();
    let ask = |words: &[&str]| place.lgsp(&[&["can-i"], words, &["--profile", "desk.toml"]].concat());
    let said = ask(&["submit", "--procedure", "1.001193"]).ok();
    assert!(said.starts_with("Allowed (registry version 1)\n") && said.contains("grants.toml: xa-tiep-nhan"), "{said}");
    let said = ask(&["registry"]);
    assert_eq!(said.code, 3);
    assert!(said.out.starts_with("Not allowed") && said.out.contains("GRANT_MISSING; ask "), "{said:#?}");
    assert!(said.out.contains("(H57.15)"), "{said:#?}");
    let json = ask(&["call", "--service", "dan-cu-037", "--purpose", "doi-chieu", "--fields", "ho-ten", "--json"]);
    let answer: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &answer["allowed"]), (3, &json!(false)));
    let unknown = ask(&["decide", "--dossier", "H57.101-250714-9999"]).failed(3);
    assert!(unknown.contains("DOSSIER_NOT_FOUND"), "{unknown}");
    let others = ask(&["submit", "--system", "van-hanh"]).failed(3);
    assert!(others.contains("GRANT_MISSING") && others.contains("owner_name"), "{others}");
}

/// What the adapter's REST interface answers.
fn rest(adapter: &Running, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(adapter.at("rest")).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nLGSP-Party: H57.102\r\nLGSP-Actor: cb.thu\r\n\
         Idempotency-Key: rest-1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

/// The same without what is not there: a program may be told of it or not.
fn said(json: &Value) -> Value {
    match json {
        Value::Object(entries) => {
            let there = |value: &Value| !value.is_null() && *value != json!([]);
            let said = entries.iter().map(|(key, value)| (key.clone(), said(value)));
            Value::Object(said.filter(|(_, value)| there(value)).collect())
        }
        Value::Array(values) => values.iter().map(said).collect(),
        other => other.clone(),
    }
}

#[test]
fn an_adapter_beside_its_gateway_reads_and_writes_the_same_json_and_stops_in_order() {
    let (place, gateway) = begin();
    place.write(
        "adapter.toml",
        &format!(
            "gateway = \"https://{}\"\nserver_name = \"gw.lgsp.hue.test\"\nparties = [\"H57.102\"]\n\
             [tls]\ncertificate = \"pki/mot-cua-hue.pem\"\nkey = \"pki/mot-cua-hue.key\"\nbundle = \"ca/root.pem\"\n\
             [spool]\nfolder = \"spool\"\n[rest]\nlisten = \"127.0.0.1:0\"\ntoken = \"none\"\n",
            gateway.at("bus")
        ),
    );
    let adapter = place.start("adapter", "adapter.toml");

    // What the one shows, the other shows.
    let code = submit(&place, &[]).ok().split_whitespace().nth(1).unwrap().to_owned();
    record(&place, "authority.toml", &code, "supplement-requested", &["--reason", "x", "--until", "2025-07-20"]).ok();
    let cli = |words: &[&str]| said(&place.lgsp(&[words, &["--profile", "desk.toml", "--json"]].concat()).json());
    let (status, shown) = rest(&adapter, "GET", &format!("/v1/dossiers/{code}"), "");
    assert_eq!((status, said(&shown)), (200, cli(&["dossier", "show", &code])));
    let (status, route) = rest(&adapter, "GET", "/v1/route?procedure=1.001193&locality=19753", "");
    assert_eq!(
        (status, said(&route)),
        (200, cli(&["dossier", "route", "--procedure", "1.001193", "--locality", "19753"]))
    );

    // What the one takes, the other takes, down to the bytes that are signed: the same key with other ones is refused.
    let file = submission().replace("1.001193", "2.000815");
    place.write("submission.json", &file);
    let (status, queued) = rest(&adapter, "POST", "/v1/dossiers", &file);
    assert_eq!(status, 202, "{queued}");
    let (status, outcome) = rest(&adapter, "GET", "/v1/requests/rest-1?wait_ms=20000", "");
    assert_eq!((status, &outcome["state"]), (200, &"admitted".into()), "{outcome}");
    let again = ["dossier", "submit", "--file", "submission.json", "--request-key", "rest-1"];
    let again = cli(&again);
    assert_eq!((&again["repeated"], &again["dossier_code"]), (&true.into(), &outcome["dossier_code"]));

    assert!(adapter.stop().success());
    assert!(gateway.stop().success());
}

#[test]
fn books_cannot_be_checked_under_a_running_gateway_and_a_damaged_one_is_found() {
    let (place, gateway) = begin();
    submit(&place, &[]).ok();
    let fsck = |more: &[&str]| place.lgsp(&[&["fsck", "data"], more].concat());
    assert!(fsck(&[]).failed(4).starts_with("Cannot check: "));
    assert!(gateway.stop().success());
    // The key lies beside the folder, where it is looked for.
    assert!(fsck(&[]).ok().ends_with("All is well\n"));
    assert!(fsck(&["--node-key", "nowhere"]).failed(4).starts_with("Cannot check: "));

    let mut segments: Vec<_> =
        fs::read_dir(place.path().join("data/journal")).unwrap().map(|one| one.unwrap().path()).collect();
    segments.retain(|path| path.is_file());
    segments.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let segment = segments.last().unwrap();
    let mut bytes = fs::read(segment).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 1;
    fs::write(segment, bytes).unwrap();
    let ended = fsck(&[]);
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert!(ended.out.contains("INV-0"), "{}", ended.out);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_calls_under_way() {
    let (place, gateway) = begin();
    let file = |name: &str| place.path().join(name);
    let address = Address {
        gateway: format!("https://{}", gateway.at("bus")).parse().unwrap(),
        server_name: Some("gw.lgsp.hue.test".to_owned()),
        tls: TlsFiles {
            certificate: file("pki/mot-cua-hue.pem"),
            key: file("pki/mot-cua-hue.key"),
            bundle: file("ca/root.pem"),
        },
        timings: Timings::default(),
    };
    let link = Link::new(&address).unwrap();
    let document = DocumentUpload {
        acting_party: "H57.101".to_owned(),
        actor: "cb.thu".to_owned(),
        sha256: [7; 32],
        size_bytes: 1 << 20,
        media_type: "application/pdf".to_owned(),
    };
    // An upload of which not one byte comes keeps the gateway from ending by itself.
    let upload = tokio::spawn(async move { link.upload(&document, 0, tokio_stream::pending(), None).await });
    let ended = tokio::task::spawn_blocking(move || {
        let begun = || fs::read_dir(place.path().join("documents/partial")).is_ok_and(|files| files.count() > 0);
        eventually("the upload was let in", begun);
        gateway.signal();
        let heard = || fs::read_to_string(place.log("gateway")).unwrap().contains("another one ends at once");
        eventually("the first signal was heard", heard);
        gateway.stop()
    });
    assert_eq!(ended.await.unwrap().code(), Some(1));
    upload.abort();
}

#[test]
fn a_node_does_not_outlive_whoever_holds_its_standard_input() {
    let place = Place::new();
    place.certificates(&[]);
    place.configuration();
    let (theirs, ours) = std::io::pipe().unwrap();
    let more = ["--until-stdin-closes", "--log-format", "json"];
    let gateway = place.start_with("gateway", "gateway.toml", &more, Stdio::from(theirs));
    drop(ours);
    assert!(gateway.ended().success());
    let log = fs::read_to_string(place.log("gateway")).unwrap();
    let said = |line: &str| serde_json::from_str::<Value>(line).unwrap()["fields"]["message"].clone();
    assert!(log.lines().map(said).any(|message| message == "stopped"), "{log}");
}

#[test]
fn a_hangup_has_the_certificates_read_again_and_nobody_notices() {
    let (place, gateway) = begin();
    let log = || fs::read_to_string(place.log("gateway")).unwrap();
    let in_force = || log().matches("new certificates are in force").count();
    gateway.hang_up();
    eventually("the same files are read again", || in_force() == 1);
    submit(&place, &[]).ok();
    // What cannot be used is told, with the file, and what was in force stays in force.
    let bundle = place.path().join("ca/root.pem");
    let good = fs::read(&bundle).unwrap();
    place.write("ca/root.pem", "nothing");
    gateway.hang_up();
    eventually("the problem is told", || {
        log().contains("new certificates cannot be used") && log().contains("root.pem")
    });
    fs::write(&bundle, good).unwrap();
    submit(&place, &[]).ok();
    eventually("the good file is seen", || in_force() >= 2);
    assert!(gateway.stop().success());
}
