//! The catalogue follows the national one: a counterpart in a process of its own, an adapter before it, a gateway, and the operator's
//! commands. A decree comes into force on the way: 2.002621 ends, and 3.000722 takes its place.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::support::{Ended, HUE, LGSP, Place, Running, eventually};

/// The national side, until it is dropped.
struct National {
    child: Child,
    url: String,
}

impl National {
    fn start(place: &Place, more: &[&str]) -> Self {
        let mut command = Command::new(LGSP);
        command
            .args(["rehearse", "procedures", "--json", "--port", "0", "--dir", "rehearsal", "--count", "160"])
            .args(more)
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(place.log("national")).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let of = |key: &str| told["ready"][key].as_str().unwrap().to_owned();
        place.write("tthc.password", &format!("{}\n", of("password")));
        assert_eq!(of("user"), "tinh-dien-tap");
        Self { url: of("url"), child }
    }

    /// Tells it something, with a stock tool.
    fn tell(&self, place: &Place, what: &str, text: &str) {
        let url = &self.url;
        place.shell(&format!("curl -sf --cacert rehearsal/ca.pem -X PUT -d '{text}' {url}/_rehearsal/{what}")).ok();
    }

    fn report(&self, place: &Place) -> Value {
        place.shell(&format!("curl -sf --cacert rehearsal/ca.pem {}/_rehearsal/report", self.url)).json()
    }

    /// What a check found.
    fn check(&self, place: &Place, id: &str) -> (u64, u64) {
        let report = self.report(place);
        let check = report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap().clone();
        (check["passed"].as_u64().unwrap(), check["failed"].as_u64().unwrap())
    }
}

impl Drop for National {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The registry of a day on which nobody in Hue had heard of 3.000722.
fn before_the_decree(place: &Place) {
    let folder = place.path().join("hue");
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(HUE).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let mut procedures = fs::read_to_string(folder.join("procedures.toml")).unwrap();
    let begin = procedures.find("[[procedure]]\ncode = \"3.000722\"").unwrap();
    let end = begin + procedures[begin..].find("\n# ").unwrap();
    procedures.replace_range(begin..end, "");
    let ends = "valid_to = 2026-08-31     # NĐ 301/2026 có hiệu lực từ 01/9/2026\nsuccessor = \"3.000722\"\n";
    assert!(procedures.contains(ends));
    place.write("hue/procedures.toml", &procedures.replace(ends, ""));
    // And nobody was granted anything for it.
    let grants = fs::read_to_string(folder.join("grants.toml")).unwrap();
    assert!(grants.contains("\"3.000722\", "));
    place.write("hue/grants.toml", &grants.replace("\"3.000722\", ", ""));
}

/// A gateway with that registry whose business clock begins on that day.
fn gateway(place: &Place, day: &str) -> Running {
    let text = fs::read_to_string(place.configuration()).unwrap();
    let folder = place.path().join("hue");
    let text = text.replace("2025-07-14", day).replace(&format!("{HUE:?}"), &format!("{folder:?}"));
    place.write("gateway.toml", &text);
    place.start("gateway", "gateway.toml")
}

fn profiles(place: &Place, gateway: &Running) {
    place.profile("desk.toml", gateway.at("bus"), "mot-cua-hue", "H57.102");
    place.profile("authority.toml", gateway.at("bus"), "mot-cua-hue", "H57.101");
    place.profile("operator.toml", gateway.at("bus"), "van-hanh", "H57.VH");
}

fn adapter(place: &Place, gateway: &Running, national: &National) -> Running {
    let (bus, url) = (gateway.at("bus"), &national.url);
    let text = format!(
        "gateway = \"https://{bus}\"\nserver_name = \"gw.lgsp.hue.test\"\nparties = [\"G22\"]\n\
         [tls]\ncertificate = \"pki/ket-noi-thu-tuc.pem\"\nkey = \"pki/ket-noi-thu-tuc.key\"\nbundle = \"ca/root.pem\"\n\
         [spool]\nfolder = \"spool\"\n[rest]\nlisten = \"127.0.0.1:0\"\ntoken = \"none\"\n[offline]\nenabled = false\n\
         [exchange]\nbackoff_first_ms = 20\nbackoff_limit_ms = 200\n\
         [procedures]\nparty = \"G22\"\nurl = \"{url}\"\nbundle = \"rehearsal/ca.pem\"\nuser = \"tinh-dien-tap\"\n\
         password_file = \"tthc.password\"\nunit = \"H57\"\ntimeout_ms = 5000\n"
    );
    place.write("adapter.toml", &text);
    let adapter = place.start("adapter", "adapter.toml");
    let served = || {
        let told = place.lgsp(&["query", "services", "--profile", "operator.toml", "--json"]).json();
        told["services"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["owner"] == "G22" && one["connectors"] == 1)
            .count()
    };
    eventually("both services are served", || served() == 2);
    adapter
}

fn pull(place: &Place) -> Value {
    let words = ["registry", "national", "pull", "--out", "national", "--profile", "operator.toml", "--json"];
    place.lgsp(&words).json()
}

fn against(place: &Place, action: &str, from: &str, more: &[&str]) -> Ended {
    place.lgsp(&[&["registry", "national", action, "national", "hue", "--from", from], more].concat())
}

fn submit(place: &Place, procedure: &str, at: &str) -> Ended {
    let words = ["dossier", "submit", "--profile", "desk.toml", "--locality", "19753", "--applicant", "Nguyễn Văn Thử"];
    place.lgsp(&[&words[..], &["--procedure", procedure, "--received-at", at, "--json"]].concat())
}

fn changes(told: &Value) -> Vec<String> {
    let one = |change: &Value| format!("{} {}", change["change"].as_str().unwrap(), change["code"].as_str().unwrap());
    told["changes"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn the_catalogue_follows_the_national_one_and_a_dossier_keeps_the_version_it_was_received_under() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue", "van-hanh", "ket-noi-thu-tuc"]);
    before_the_decree(&place);
    let national = National::start(&place, &["--day", "2026-08-15"]);
    let bus = gateway(&place, "2026-08-31");
    profiles(&place, &bus);
    let connector = adapter(&place, &bus, &national);

    let first = pull(&place);
    assert_eq!(first["asked"], first["procedures"]);
    let slips: Vec<_> = first["left_out"].as_array().unwrap().iter().map(|one| one["code"].clone()).collect();
    assert_eq!(slips, ["1.0133611", "1.014955-Xoa", "2.009182739"]);
    let snapshot = fs::read(place.path().join("national").join(first["file"].as_str().unwrap())).unwrap();
    let same = against(&place, "diff", "2026-08-31", &["--json"]).json();
    assert_eq!(changes(&same), [""; 0], "{same:#}");

    let old = submit(&place, "2.002621", "2026-08-31T09:10:00+07:00").json();
    let code = old["dossier_code"].as_str().unwrap().to_owned();

    // The decree comes into force while the other side is at its worst; what was fetched is not fetched again.
    national.tell(&place, "day", "2026-09-01");
    national.tell(&place, "behaviour", "expired-session:2,maintenance:1,flaky:4,wrong-schema:1,duplicate:1,normal");
    let second = pull(&place);
    let asked = second["asked"].as_u64().unwrap();
    assert!((5..40).contains(&asked) && second["left_out"] == first["left_out"], "{second:#}");
    assert_ne!(second["sha256"], first["sha256"]);
    assert_eq!(pull(&place)["asked"], 0);
    assert_eq!(fs::read(place.path().join("national").join(first["file"].as_str().unwrap())).unwrap(), snapshot);
    for id in ["one-session", "session-known", "unit-named", "service-named", "codes-as-listed", "details-once"] {
        let (passed, failed) = national.check(&place, id);
        assert!(passed > 0 && failed == 0, "{id}: {passed} passed, {failed} failed\n{:#}", national.report(&place));
    }
    assert!(national.check(&place, "session-renewed").0 > 0);
    assert!(national.check(&place, "login-well-formed").0 <= 4, "one log-in for a session, whatever is asked at once");

    let shown = against(&place, "diff", "2026-09-01", &["--json"]).json();
    let followed = changes(&shown);
    let expected = ["changed 1.000689", "changed 1.001193", "changed 1.004873", "replaced 2.002621", "new 3.000722"]
        .map(str::to_owned);
    assert_eq!(followed, expected, "{shown:#}");
    let text = against(&place, "diff", "2026-09-01", &[]).ok();
    assert!(text.contains("replaced 2.002621 → 3.000722, until 2026-08-31"), "{text}");
    assert!(text.contains("    limit: same-day 15:00 → 2wd") && text.contains("1.014955-Xoa: is no code"), "{text}");
    let untouched = fs::read_to_string(place.path().join("hue/procedures.toml")).unwrap();

    let taken = against(&place, "take", "2026-09-01", &[]).ok();
    assert!(taken.contains("Wrote procedures.toml in hue") && taken.contains("Nothing is applied yet"), "{taken}");
    let written = fs::read_to_string(place.path().join("hue/procedures.toml")).unwrap();
    assert!(written.len() > untouched.len() && written.contains("# Mã dùng 2023-2025"));
    assert!(against(&place, "take", "2026-09-01", &[]).ok().contains("Nothing to write"), "taken once is taken");
    place.lgsp(&["registry", "check", "hue"]).ok();
    let versions = place.lgsp(&["registry", "versions", "--profile", "operator.toml", "--json"]).json();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 1, "taking applies nothing");
    let applied = place.lgsp(&["registry", "apply", "hue", "--yes", "--profile", "operator.toml"]).ok();
    assert!(applied.starts_with("Applied version 2: 8 change(s)"), "{applied}");

    // Still the last day of August: what has been decided for tomorrow changes nothing today.
    submit(&place, "2.002621", "2026-08-31T09:20:00+07:00").ok();
    drop(connector);
    drop(bus);
    let bus = gateway(&place, "2026-09-01");
    profiles(&place, &bus);
    let refused = submit(&place, "2.002621", "2026-09-01T09:10:00+07:00").failed(3);
    assert!(refused.contains("PROCEDURE_ABOLISHED") && refused.contains("3.000722"), "{refused}");
    submit(&place, "3.000722", "2026-09-01T09:10:00+07:00").ok();
    let accept = ["dossier", "record", &code, "--profile", "authority.toml", "--type", "accepted"];
    place.lgsp(&[&accept[..], &["--at", "2026-09-01T09:20:00+07:00"]].concat()).ok();
    let kept = place.lgsp(&["dossier", "show", &code, "--profile", "desk.toml", "--json"]).json();
    assert!(kept.to_string().contains("\"2.002621\"") && !kept.to_string().contains("3.000722"), "{kept:#}");
}

/// The overlay's agencies are a part of what is shown and taken, and what would be no registry is not written.
fn a_route_is_shown_before_it_is_taken(place: &Place) {
    let mode = |name: &str| fs::metadata(place.path().join(name)).unwrap().permissions().mode();
    place.write("usual", "");
    assert_eq!(mode("national/current.toml"), mode("usual"), "whoever may look may look");
    let routes = || fs::read_to_string(place.path().join("hue/routes.toml")).unwrap();
    let overlay = |party: &str| {
        let text = format!("[[procedure]]\ncode = \"1.000656\"\nauthority = \"{party}\"\n");
        place.write("national/overlay.toml", &text);
    };
    let before = routes();
    overlay("H57.16");
    let refused = against(place, "take", "2026-08-31", &[]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    let said = ["Nothing was written", "H57.16 has no grant"].map(|words| refused.out.contains(words));
    assert_eq!(said, [true, true], "{refused:#?}");
    assert_eq!(routes(), before);
    overlay("H57.102");
    let shown = against(place, "diff", "2026-08-31", &[]).ok();
    assert!(shown.contains("route 1.000656: – → H57.102, from 2026-08-31"), "{shown}");
    let json = against(place, "diff", "2026-08-31", &["--json"]).json();
    assert_eq!(json["routes"][0]["after"], "H57.102", "{json:#}");
    assert_eq!(routes(), before, "shown is not taken");
    assert!(against(place, "take", "2026-08-31", &[]).ok().contains("routes.toml in hue"));
    assert_ne!(routes(), before);
    fs::remove_file(place.path().join("national/overlay.toml")).unwrap();
}

#[test]
fn a_pull_that_was_cut_off_goes_on_where_it_was() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue", "van-hanh", "ket-noi-thu-tuc"]);
    before_the_decree(&place);
    let national = National::start(&place, &["--behave", "normal:60,maintenance"]);
    let bus = gateway(&place, "2026-08-31");
    profiles(&place, &bus);
    let _connector = adapter(&place, &bus, &national);
    let words = ["registry", "national", "pull", "--profile", "operator.toml"];
    let stopped = place.lgsp(&words).failed(3);
    assert!(stopped.contains("SERVICE_MAINTENANCE"), "{stopped}");
    assert!(place.lgsp(&["registry", "national", "diff", "national", "hue"]).failed(2).contains("no snapshot yet"));
    let lines = fs::read_to_string(place.path().join("national/pull.jsonl")).unwrap();
    let there = lines.lines().filter(|line| !line.is_empty()).count();
    assert!((50..60).contains(&there), "{there}");
    // It died in the middle of a letter.
    let torn = [lines.as_bytes(), b"{\"TENTTHC\":\"\xe1\xbb"].concat();
    fs::write(place.path().join("national/pull.jsonl"), torn).unwrap();
    national.tell(&place, "behaviour", "normal");
    let told = pull(&place);
    assert_eq!(told["kept"].as_u64().unwrap(), there as u64, "{told:#}");
    assert!(!place.path().join("national/pull.jsonl").exists());
    assert_eq!(pull(&place)["file"], told["file"], "equal catalogues are one file");
    a_route_is_shown_before_it_is_taken(&place);
    // Whoever changes a snapshot is found out.
    let file = place.path().join("national").join(told["file"].as_str().unwrap());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("Cấp Xã", "Cấp Bộ", 1)).unwrap();
    assert!(place.lgsp(&["registry", "national", "diff", "national", "hue"]).failed(2).contains("pull again"));
    assert_eq!(told["left_out"][0]["code"], json!("1.0133611"));
}

#[test]
fn a_pull_waits_for_a_service_that_is_left_alone_after_it_failed() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue", "van-hanh", "ket-noi-thu-tuc"]);
    before_the_decree(&place);
    // Ten log-ins and questions go well, and then three of four fail: the gateway leaves the service alone, and more than once.
    let national = National::start(&place, &["--behave", "normal:10,flaky:16,normal"]);
    let bus = gateway(&place, "2026-08-31");
    profiles(&place, &bus);
    let _connector = adapter(&place, &bus, &national);
    let told = pull(&place);
    assert!(told["procedures"].as_u64().unwrap() > 100, "{told:#}");
    let log = fs::read_to_string(place.log("gateway")).unwrap();
    assert!(log.contains("left alone"), "it was never suspended: {log}");
}
