//! `lgsp rehearse population`: the built binary as a process of its own, and a stock HTTP client that asks it over TLS.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;

use crate::support::{LGSP, Place};

/// A counterpart that runs; killed when dropped.
struct Rehearsal {
    place: Place,
    child: Child,
    out: BufReader<ChildStdout>,
    ready: Value,
    asked: u32,
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is asked, and in which way it is asked wrongly.
#[derive(Clone, Copy, Default)]
struct Wrong {
    clock_ms: i64,
    key: bool,
    id_again: bool,
    clerk: Option<&'static str>,
    procedure: Option<&'static str>,
}

impl Rehearsal {
    fn begin(more: &[&str]) -> Self {
        let place = Place::new();
        let words = [
            "rehearse",
            "population",
            "--port",
            "0",
            "--dir",
            "kit",
            "--takes",
            "1",
            "--json",
            "--report",
            "report.json",
        ];
        let mut command = Command::new(LGSP);
        let command = command.args(words).args(more).current_dir(place.path()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let ready = serde_json::from_str::<Value>(&line).unwrap()["ready"].clone();
        Self { place, child, out, ready, asked: 0 }
    }

    fn citizens(&self, count: &str) -> Vec<Value> {
        let told = self.place.lgsp(&["rehearse", "population", "--sample", count]).ok();
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn fact(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    /// What curl prints after a request: the body, and the status behind it. Options come before the URL.
    fn curl(&self, path: &str, options: &[&str]) -> String {
        let url = format!("{}{path}", self.fact("url"));
        let mut curl = Command::new("curl");
        let curl = curl.args(["-sS", "--max-time", "30", "-w", " %{http_code}", "--cacert", self.fact("ca")]);
        let output = curl.args(options).arg(url).current_dir(self.place.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same question so many times, each under its own id and all over one connection: what curl prints after each.
    fn ask_in_a_row(&mut self, citizen: &Value, times: usize) -> Vec<String> {
        let [number, name, born] = keys(citizen);
        let mut curl = Command::new("curl");
        for time in 0..times {
            let options = self.question(LOOK_UP, [&number, &name, &born], "", Wrong::default());
            curl.args((time > 0).then_some("--next"));
            curl.args(["-sS", "--max-time", "30", "-w", " %{http_code}\u{1e}", "--cacert", self.fact("ca")]);
            curl.args(options).arg(format!("{}/dancu", self.fact("url")));
        }
        let output = curl.current_dir(self.place.path()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.split_terminator('\u{1e}').map(str::to_owned).collect()
    }

    /// The options of a question.
    fn question(&mut self, operation: [&str; 2], keys: [&str; 3], members: &str, wrong: Wrong) -> Vec<String> {
        self.asked += u32::from(!wrong.id_again);
        let [operation, service] = operation;
        let [number, name, born] = keys;
        let which = if number.len() == 9 { "SoCMND" } else { "SoDinhDanh" };
        let day = if born.len() == 4 { "Nam" } else { "NgayThangNam" };
        let body = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><m:{operation} xmlns=\"http://dancuquocgia.bca\" \
             xmlns:m=\"http://dancuquocgia.bca\"><MaYeuCau>q{}</MaYeuCau><MaDVC>{}</MaDVC><MaTichHop>{service}</MaTichHop>\
             <MaCanBo>{}</MaCanBo><MaDonVi>H57.101</MaDonVi><TaiKhoan>thu</TaiKhoan><SoDienThoai>0</SoDienThoai><{which}>{number}</{which}>\
             <HoVaTen>{name}</HoVaTen><NgayThangNamSinh><{day}>{born}</{day}></NgayThangNamSinh>{members}</m:{operation}></s:Body></s:Envelope>",
            self.asked,
            wrong.procedure.unwrap_or("1.001193"),
            wrong.clerk.unwrap_or("CB-1"),
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let stamp = (i64::try_from(now).unwrap() + wrong.clock_ms).to_string();
        let [api_key, secret] = ["api_key_file", "secret_file"]
            .map(|file| fs::read_to_string(self.place.path().join(self.fact(file))).unwrap());
        let signed = format!("{}{}rehearsal{stamp}{secret}", self.fact("url"), self.fact("path"));
        let signed = HEXLOWER.encode(digest(&SHA256, signed.as_bytes()).as_ref());
        let basic = BASE64.encode(format!("rehearsal:{signed}").as_bytes());
        let api_key = if wrong.key { "another" } else { api_key.as_str() };
        let headers = [
            "Content-Type: text/xml; charset=utf-8".to_owned(),
            format!("X-Road-Client: {}", self.fact("client")),
            format!("ApiKey: {api_key}"),
            format!("Timestamp: {stamp}"),
            format!("Authorization: Basic {basic}"),
        ];
        let headers = headers.into_iter().flat_map(|header| ["-H".to_owned(), header]);
        headers.chain(["--data-binary".to_owned(), body]).collect()
    }

    fn ask_with(&mut self, operation: [&str; 2], citizen: &Value, members: &str, wrong: Wrong) -> String {
        let [number, name, born] = keys(citizen);
        let options = self.question(operation, [&number, &name, &born], members, wrong);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.curl("/dancu", &options)
    }

    fn ask(&mut self, citizen: &Value) -> String {
        self.ask_with(LOOK_UP, citizen, "", Wrong::default())
    }

    /// Ends it, and says how: the code and the report.
    fn end(mut self) -> (i32, Value) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let code = self.child.wait().unwrap().code().unwrap();
        let mut said = String::new();
        self.out.read_to_string(&mut said).unwrap();
        let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        let file: Value = serde_json::from_slice(&fs::read(self.place.path().join("report.json")).unwrap()).unwrap();
        assert_eq!(said["report"], file, "the file says what was printed");
        (code, file)
    }
}

const LOOK_UP: [&str; 2] = ["TraCuuThongTinCongDan", "037"];

/// Number, name and date of birth as they are sent.
fn keys(citizen: &Value) -> [String; 3] {
    let text = |name: &str| citizen[name].as_str().unwrap().to_owned();
    // "Ễ" and the like in one piece: what a keyboard writes.
    let name = text("full_name").to_uppercase();
    [text("personal_number"), name, text("date_of_birth").replace('-', "")]
}

/// The first who is as wanted; composed, so that the name can be sent as it stands.
fn first(citizens: &[Value], state: &str) -> Value {
    let is_composed = |name: &str| !name.chars().any(|c| ('\u{300}'..='\u{36f}').contains(&c));
    let is_it = |one: &&Value| one["state"] == state && is_composed(one["full_name"].as_str().unwrap());
    citizens.iter().find(is_it).unwrap().clone()
}

fn outcome<'a>(report: &'a Value, id: &str) -> [&'a Value; 2] {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {report:#}"));
    [&check["passed"], &check["failed"]]
}

#[test]
fn curl_asks_about_a_citizen_over_tls_and_all_three_keys_must_match() {
    let mut rehearsal = Rehearsal::begin(&[]);
    let citizens = rehearsal.citizens("5000");
    let current = first(&citizens, "current");
    let number = current["personal_number"].as_str().unwrap().to_owned();
    let told = rehearsal.ask(&current);
    assert!(
        told.contains(&format!("<SoDinhDanh>{number}</SoDinhDanh>")) && told.contains("<MaYeuCau>q1</MaYeuCau>"),
        "{told}"
    );
    assert!(told.ends_with(" 200"), "{told}");
    let mut other = current.clone();
    other["date_of_birth"] = "1901-01-01".into();
    assert!(rehearsal.ask(&other).contains("<MaLoi>KHONG_KHOP</MaLoi>"));
    let mut nobody = current.clone();
    nobody["personal_number"] = format!("9{}", &number[1..]).into();
    assert!(rehearsal.ask(&nobody).contains("<MaLoi>KHONG_TIM_THAY</MaLoi>"));
    assert!(rehearsal.ask(&first(&citizens, "deceased")).contains("<MaLoi>BI_KHOA</MaLoi>"));
    assert!(rehearsal.ask(&first(&citizens, "doubled")).contains("<MaLoi>NHIEU_KET_QUA</MaLoi>"));
    let confirm = ["XacNhanSoDinhDanhVaCMND", "033"];
    assert!(rehearsal.ask_with(confirm, &current, "", Wrong::default()).contains("<KetQua>true</KetQua>"));
    assert!(rehearsal.ask_with(confirm, &other, "", Wrong::default()).contains("<KetQua>false</KetQua>"));
    let member = |citizen: &Value| {
        let [number, name, _] = keys(citizen);
        format!("<ThanhVien><SoDinhDanh>{number}</SoDinhDanh><HoVaTen>{name}</HoVaTen></ThanhVien>")
    };
    let members = format!("<DanhSachThanhVien>{}{}</DanhSachThanhVien>", member(&current), member(&citizens[4_000]));
    let told = rehearsal.ask_with(["XacThucThongTinHoGiaDinh", "034"], &current, &members, Wrong::default());
    let results: Vec<&str> = told.split("<KetQua>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(results, ["false", "true", "false"], "{told}");
    assert!(rehearsal.curl("/dancu", &["-d", "<!DOCTYPE x><x/>"]).contains("<faultcode>soap:Client</faultcode>"));
}

#[test]
fn what_a_connector_does_wrong_is_in_the_report_without_anybodys_data() {
    let mut rehearsal = Rehearsal::begin(&[]);
    let citizen = first(&rehearsal.citizens("50"), "current");
    let mut wrongly = |wrong| rehearsal.ask_with(LOOK_UP, &citizen, "", wrong);
    let usual = Wrong::default();
    assert!(wrongly(usual).contains("<CongDan>"));
    assert!(wrongly(Wrong { key: true, ..usual }).contains("SAI_CHU_KY"));
    assert!(wrongly(Wrong { clock_ms: -301_000, ..usual }).contains("LECH_DONG_HO"));
    assert!(wrongly(Wrong { id_again: true, ..usual }).contains("<CongDan>"));
    assert!(wrongly(Wrong { clerk: Some(""), ..usual }).contains("CAN_BO_KHONG_DUOC_PHEP"));
    assert!(wrongly(Wrong { procedure: Some("9.999999"), ..usual }).contains("DVC_KHONG_DUOC_PHEP"));
    let mut lower = citizen.clone();
    lower["personal_number"] = "046".into();
    rehearsal.ask(&lower);
    let said = rehearsal.curl("/elsewhere", &["-d", "x"]);
    assert!(said.ends_with(" 404"), "{said}");
    let (code, report) = rehearsal.end();
    assert_eq!((code, &report["verdict"]), (1, &"not_ready".into()));
    for (id, failed) in [
        ("headers-present", 1),
        ("signature-right", 0),
        ("clock-within-bounds", 1),
        ("request-id-new", 1),
        ("clerk-mapped", 1),
        ("keys-complete", 1),
        ("operation-agreed", 1),
        ("element-order", 0),
        // Each curl opened a connection of its own.
        ("connection-kept", 1),
    ] {
        assert_eq!(outcome(&report, id)[1], failed, "{id} in {report:#}");
    }
    let report = report.to_string();
    for key in keys(&citizen) {
        assert!(!report.contains(&key));
    }
}

#[test]
fn a_connector_that_meets_the_whole_script_and_does_all_of_it_right_is_ready() {
    let script = "normal:2,slow(3x):1,slow(20ms):1,flaky:4,wrong-schema:4,duplicate:2,clock-skew(10m):1,maintenance:2";
    let mut rehearsal = Rehearsal::begin(&["--behave", script]);
    let citizen = first(&rehearsal.citizens("50"), "current");
    let mut answers = rehearsal.ask_in_a_row(&citizen, 4);
    // While lines break each question has one of its own: on one that was used before curl would ask a second time.
    answers.extend((0..4).map(|_| rehearsal.ask(&citizen)));
    answers.extend(rehearsal.ask_in_a_row(&citizen, 9));
    let has = |at: usize, what: &str| answers[at].contains(what);
    let is_right = |at: usize| has(at, &format!("<MaYeuCau>q{}</MaYeuCau>", at + 1)) && has(at, "<CongDan>");
    assert!((0..4).all(is_right), "{answers:#?}");
    // A line that breaks after the work, 502, one that breaks before it, and one that holds.
    assert!(has(4, " 000") && has(5, " 502") && has(6, " 000") && is_right(7), "{answers:#?}");
    assert!(has(8, "Response") && !has(8, "<CongDan>") && has(9, "<Moi>") && is_right(9), "{answers:#?}");
    assert!(has(10, "http://tempuri.org/") && has(11, "It works!"), "{answers:#?}");
    // What was said to somebody before; then the same twice.
    assert!(has(12, "<CongDan>") && !is_right(12), "{answers:#?}");
    assert_eq!(answers[13].matches("<CongDan>").count(), 2, "{answers:#?}");
    assert!(has(14, "LECH_DONG_HO") && (has(15, "maintenance\n 503") ^ has(15, "BAO_TRI")), "{answers:#?}");
    assert!((has(16, "maintenance\n 503") ^ has(16, "BAO_TRI")) && has(15, "BAO_TRI") != has(16, "BAO_TRI"));
    // With its last request the script is over, and so is the rehearsal.
    let mut said = String::new();
    rehearsal.out.read_to_string(&mut said).unwrap();
    let report = serde_json::from_str::<Value>(said.lines().last().unwrap()).unwrap()["report"].clone();
    assert_eq!(report["verdict"], "ready", "{report:#}");
    assert_eq!(rehearsal.child.wait().unwrap().code(), Some(0));
    assert_eq!(outcome(&report, "met-flaky"), [&Value::from(4), &0.into()]);
}

#[test]
fn a_question_that_is_asked_again_when_the_line_broke_or_the_gateway_failed_is_found_out() {
    let mut rehearsal = Rehearsal::begin(&["--behave", "flaky"]);
    let citizen = first(&rehearsal.citizens("50"), "current");
    let again = Wrong { id_again: true, ..Wrong::default() };
    assert!(rehearsal.ask(&citizen).ends_with(" 000"));
    assert!(rehearsal.ask_with(LOOK_UP, &citizen, "", again).ends_with(" 502"));
    let (code, report) = rehearsal.end();
    assert_eq!((code, outcome(&report, "request-id-new")), (1, [&Value::from(1), &1.into()]));
}

#[test]
fn the_script_is_changed_while_it_runs_and_what_was_never_met_is_not_passed() {
    let mut rehearsal = Rehearsal::begin(&["--behave", "normal:1,flaky"]);
    let citizen = first(&rehearsal.citizens("50"), "current");
    assert!(rehearsal.ask(&citizen).contains("<CongDan>"));
    assert!(rehearsal.curl("/_rehearsal/behaviour", &["-X", "PUT", "-d", "normal:9"]).ends_with(" 204"));
    assert!(rehearsal.ask(&citizen).contains("<CongDan>"));
    let (code, report) = rehearsal.end();
    assert_eq!((code, &report["verdict"]), (1, &"not_seen".into()));
    assert_eq!(outcome(&report, "met-flaky"), [&Value::from(0), &0.into()]);
}

#[test]
fn with_mutual_tls_only_a_client_with_a_certificate_is_answered() {
    let rehearsal = Rehearsal::begin(&["--mutual-tls"]);
    let status =
        |options: &[&str]| rehearsal.curl("/_rehearsal/report", options).rsplit(' ').next().unwrap().to_owned();
    assert_eq!(status(&[]), "403");
    let [certificate, key] = ["client_certificate", "client_key"].map(|name| rehearsal.fact(name));
    assert_eq!(status(&["--cert", certificate, "--key", key]), "200");
}

#[test]
fn a_script_that_cannot_be_read_is_told_before_anything_is_made() {
    let place = Place::new();
    let said = place.lgsp(&["rehearse", "population", "--behave", "quick"]).failed(2);
    assert!(said.contains("'quick' is no behaviour"), "{said}");
    let said = place.lgsp(&["--lang", "vi", "rehearse", "population", "--behave", "normal:0"]).failed(2);
    assert!(said.contains("không phải kịch bản hợp lệ"), "{said}");
}
