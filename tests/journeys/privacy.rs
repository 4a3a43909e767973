//! A day on which everything is logged, much goes wrong, and every mistake has a citizen's data in it: nothing of them, no key, and no secret of a webhook or
//! token of a REST API, is found in what the processes logged, in what callers and operators were told went wrong, or in figures.
//!
//! With `LGSP_SCAN` naming the folder that a whole test run has left its output in (`LGSP_TEST_OUTPUT`), that is searched as well.

use std::fs;
use std::path::{Path, PathBuf};

use ::http::{HeaderMap, Method};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::agency::Agency;
use crate::place::Place;
use crate::support::output::{headed, keep_in};
use crate::support::scan::{Finding, Scan};
use crate::{http, until};

const DESK: &str = "H99.102";
const DESK_SYSTEM: &str = "mot-cua-binh";
const AUTHORITY: &str = "H99.101";
const SYSTEM: &str = "mot-cua";

/// A citizen who was never born: what must be found nowhere.
const NAME: &str = "Đinh Thị Canh Chừng";
const NUMBER: &str = "046195123457";
const BORN: &str = "1995-03-07";
const PHONE: &str = "0905123457";
const EMAIL: &str = "canh.chung@mau.example";
const ADDRESS: &str = "17 kiệt Canh Chừng";
const CITIZEN: [&str; 6] = [NAME, NUMBER, BORN, PHONE, EMAIL, ADDRESS];

/// The suites that leave output when a run is asked to: each must have, or the search has nothing to say about it.
const SUITES: [&str; 19] = [
    "adapter",
    "api_bus",
    "backup",
    "certs",
    "cli",
    "contract",
    "demo",
    "faults",
    "journeys",
    "python",
    "rest",
    "security",
    "simulation",
    "store_contract",
    "store_crash",
    "store_erase",
    "store_figures",
    "store_fsck",
    "store_index",
];

/// What `.ci/run` has printed: every test by name with what it said, the fuzzing, and the README's demo.
const PRINTED: [&str; 3] = ["cargo.log", "fuzz.log", "demo-in-full.log"];

fn submission() -> Value {
    json!({
        "procedure_code": "1.000009",
        "applicant": {
            "kind": "citizen", "full_name": NAME, "personal_number": NUMBER, "date_of_birth": BORN, "sex": "female",
            "phone": PHONE, "email": EMAIL, "address": ADDRESS,
        },
        "locality": "99001",
        "intake_channel": "direct",
        "return_channel": "direct",
        "return_address": ADDRESS,
        "summary": format!("{NAME} xin trợ cấp"),
        "form": { "ho_ten": NAME, "dien_thoai": PHONE },
        "received_at": "2025-07-14T08:00:00+07:00",
        "components": [{ "name": format!("Đơn của {NAME}"), "originals": 1 }],
    })
}

/// The submission with something else at a place.
fn with(pointer: &str, value: Value) -> Value {
    let mut submission = submission();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    submission.pointer_mut(parent).unwrap()[name] = value;
    submission
}

/// The token of the day, with a slip of the pen behind it.
const MISTYPED: &str = "Bearer ma-truy-cap-cua-phan-mem-71c4e9.";

/// What was said outside of logs, to be searched with them.
struct Said(PathBuf);

impl Said {
    fn keep(&self, what: &str, text: &[u8]) {
        let number = fs::read_dir(&self.0).unwrap().count();
        fs::write(self.0.join(format!("said-{number:04}.txt")), headed(what, text)).unwrap();
    }
}

/// Everything that desks get wrong, each time with somebody's data in it. All of it is refused.
async fn mistakes(desk: &Agency, said: &Said) {
    let broken = submission().to_string().replace("\"locality\"", "\"locality");
    let bodies = [
        with("/applicant/full_name", json!(format!("{NAME}\u{7}"))).to_string(),
        with("/applicant/personal_number", json!(format!("{NUMBER}9"))).to_string(),
        with("/applicant/personal_number", json!(46_195_123_457_u64)).to_string(),
        with("/applicant/date_of_birth", json!(NAME)).to_string(),
        with("/applicant/kind", json!(NAME)).to_string(),
        with("/applicant/phone", json!([PHONE])).to_string(),
        with("/applicant", json!(NAME)).to_string(),
        with("/applicant/ten_khac", json!(NAME)).to_string(),
        with(&format!("/applicant/{NAME}"), json!(1)).to_string(),
        with("/locality", json!(ADDRESS)).to_string(),
        with("/procedure_code", json!(NAME)).to_string(),
        with("/aliases", json!([NAME])).to_string(),
        with("/received_at", json!(BORN)).to_string(),
        with("/components/0/originals", json!(NAME)).to_string(),
        with("/form_base64", json!(NAME)).to_string(),
        with("/return_desk", json!(NAME)).to_string(),
        broken,
        format!("{NAME} {NUMBER}"),
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let key = format!("bad-{number}");
        let answer = desk.call(Method::POST, "/v1/dossiers", &[("idempotency-key", &key)], body).await;
        assert!(answer.status.is_client_error(), "mistake {number}: {}", answer.status);
        said.keep(&format!("mistake {number}"), &answer.body);
    }
    let body = submission().to_string();
    let name = NAME.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let elsewhere = [
        (Method::GET, format!("/v1/dossiers/{name}"), vec![]),
        (Method::GET, format!("/v1/requests/{NUMBER}"), vec![]),
        (Method::GET, format!("/v1/dossiers?status={name}"), vec![]),
        (Method::GET, format!("/v1/dossiers?page_size={name}"), vec![]),
        (Method::GET, format!("/v1/requests/k-1?wait_ms={name}"), vec![]),
        (Method::GET, format!("/v1/route?{name}={name}"), vec![]),
        (Method::GET, format!("/v1/route?procedure={name}&locality={NUMBER}"), vec![]),
        (Method::POST, format!("/v1/documents?file_name={name}%0A.pdf"), vec![("content-type", "application/pdf")]),
        (Method::POST, "/v1/dossiers".to_owned(), vec![("idempotency-key", EMAIL)]),
        (Method::POST, format!("/v1/dossiers/{name}/events"), vec![("idempotency-key", "bad-event")]),
        (Method::PUT, format!("/v1/{name}"), vec![]),
        (Method::GET, "/v1/inbox".to_owned(), vec![("authorization", MISTYPED)]),
    ];
    for (number, (method, path, headers)) in elsewhere.into_iter().enumerate() {
        let answer = desk.call(method, &path, &headers, body.clone()).await;
        assert!(!answer.status.is_success(), "{path}: {}", answer.status);
        said.keep(&format!("elsewhere {number}"), &answer.body);
    }
}

/// The same, by people at a command line.
async fn mistakes_at_the_command_line(place: &Place, operator: &str, code: &str, said: &Said) {
    for (number, file) in [
        with("/applicant/personal_number", json!(46_195_123_457_u64)),
        with("/components/0/originals", json!(NAME)),
        with("/applicant/kind", json!(NAME)),
        with("/locality", json!(ADDRESS)),
        with("/applicant/ten_khac", json!(NAME)),
        with(&format!("/applicant/{NAME}"), json!(1)),
        json!(NAME),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("file-{number}.json");
        place.leave(&name, &file.to_string());
        let error = place.failed(&["dossier", "submit", "--file", &name, "--profile", operator]).await;
        said.keep(&format!("file {number}"), error.as_bytes());
    }
    let why = format!("đã gọi cho {NAME}, {PHONE}");
    let skip = ["inbox", "skip", code, "--party", AUTHORITY, "--why", &why, "--profile", operator];
    let erase = ["dossier", "erase", code, "--ground", NAME, "--profile", operator];
    let release = ["inbox", "release", "--party", AUTHORITY, "--system", SYSTEM, "--why", NAME, "--profile", operator];
    for words in [&erase[..], &release[..]] {
        said.keep("a command refused", place.failed(words).await.as_bytes());
    }
    place.ask(&[&skip[..], &["--json"]].concat()).await;
    place.ask(&["audit", "list", "--json", "--all", "--profile", operator]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_is_said_on_a_day_that_goes_wrong_nor_in_a_whole_run() {
    let output = tempfile::tempdir().unwrap();
    let said = Said(output.path().to_owned());
    let place = Place::new().talkative().guarded();
    let gateway = place.gateway().await;
    let (desk, authority) = (Agency::open(DESK).await, Agency::open(AUTHORITY).await);
    let desk_adapter = place.adapter(DESK_SYSTEM, DESK, gateway.bus, desk.hook).await;
    let adapter = place.adapter(SYSTEM, AUTHORITY, gateway.bus, authority.hook).await;
    desk.use_adapter(desk_adapter.rest);
    authority.use_adapter(adapter.rest);

    // One goes well, one is refused by the agency and waits for a person, one comes while the agency is down.
    let document = desk.upload(format!("%PDF-1.7 {NAME} {NUMBER}")).await;
    let mut first = submission();
    first["components"][0]["document"] = document.clone();
    desk.submit("k-1", &first).await;
    let admitted = desk.outcome("k-1").await;
    assert_eq!(admitted["type"], "request.admitted", "{}", admitted["problem"]);
    let code = admitted["dossier_code"].as_str().unwrap().to_owned();
    authority.event(&code, 1).await;
    let asked = json!({
        "type": "supplement_requested", "reason": format!("{NAME} vắng mặt"), "items": [NAME],
        "until": "2025-07-31T17:00:00+07:00",
    });
    authority.say(&code, "2025-07-14T08:00:00+07:00", asked).await;
    authority.refuse(true);
    desk.submit("k-2", &submission()).await;
    let parked = desk.outcome("k-2").await["dossier_code"].as_str().unwrap().to_owned();
    until("a parked dossier", async || (gateway.figure("deliveries_parked").await == 1).then_some(())).await;
    authority.refuse(false);
    authority.set_down(true);
    desk.submit("k-3", &submission()).await;
    desk.outcome("k-3").await;

    // A secret is changed while posts fail and come again, signed with both.
    let change = ["webhook", "secret", "--config", "mot-cua.toml", "--begin"];
    said.keep("a secret changed", place.ask_text(&change).await.as_bytes());
    mistakes(&desk, &said).await;
    // The bus itself refuses what an adapter would not have sent.
    let link = place.link(DESK_SYSTEM, gateway.bus);
    for wrong in wrong_submissions() {
        let refused = crate::support::submit(&link, &wrong).await.unwrap_err();
        said.keep("a refusal of the bus", format!("{refused} {refused:?}").as_bytes());
    }
    let operator = place.profile("operator.toml", "van-hanh", "H99.VH", gateway.bus);
    mistakes_at_the_command_line(&place, &operator, &parked, &said).await;
    authority.set_down(false);
    adapter.settled().await;

    for (whose, address) in [("gateway", gateway.local()), ("desk", desk_adapter.rest), ("authority", adapter.rest)] {
        for path in ["/status", "/metrics", "/nothing"] {
            let answer = http::send(address, Method::GET, path, HeaderMap::new(), Bytes::new()).await;
            said.keep(&format!("{path} of the {whose}"), &answer.body);
        }
    }
    desk_adapter.kill().await;
    let again = place.adapter(DESK_SYSTEM, DESK, gateway.bus, desk.hook).await;
    for adapter in [adapter, again] {
        adapter.stop().await;
    }
    gateway.stop().await;
    said.keep("fsck", place.fsck().await.to_string().as_bytes());

    keep_in(output.path(), "day", place.folder());
    let mut scan = Scan::new();
    CITIZEN.iter().for_each(|datum| scan.bytes_of("the citizen of this day", datum.as_bytes()));
    // The CA, the gateway, its node, two adapters and an operator; a webhook's secret of each adapter, one of them changed; the token.
    let secrets = scan.keys_in(&output.path().join("secrets"));
    assert!(secrets.keys >= 6 && secrets.webhook >= 3 && secrets.rest >= 1, "only {secrets:?} are looked for");
    let found = scan.folder(output.path());
    assert!(found.is_empty(), "{}", told(&found));
    // It was a day of which much was said.
    let logs: String = logs_in(output.path()).map(|log| fs::read_to_string(log).unwrap()).collect();
    assert!(logs.contains("DEBUG") && logs.contains(&parked), "{} bytes", logs.len());

    if let Some(run) = std::env::var_os("LGSP_SCAN") {
        search_run(Path::new(&run), scan);
    }
}

/// Searches what a whole run has left.
fn search_run(run: &Path, mut scan: Scan) {
    let secrets = scan.keys_in(&run.join("secrets"));
    (scan.files, scan.bytes) = (0, 0);
    let found = scan.folder(run);
    let names: Vec<String> =
        fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let has_left =
        |suite: &str| names.iter().any(|name| name.strip_prefix(suite).is_some_and(|rest| rest.starts_with('-')));
    let missing: Vec<&str> = SUITES.into_iter().filter(|suite| !has_left(suite)).collect();
    assert!(missing.is_empty(), "the suites {missing:?} have left nothing in {}", run.display());
    let missing: Vec<&str> = PRINTED.into_iter().filter(|name| !names.iter().any(|one| one == name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {}", run.display());
    println!(
        "searched {} files, {} MB, for {} things, {secrets:?} of the run among them",
        scan.files,
        scan.bytes >> 20,
        scan.looked_for
    );
    assert!(secrets.keys >= 20 && secrets.webhook >= 10 && secrets.rest >= 1, "only {secrets:?} are looked for");
    assert!(found.is_empty(), "{}", told(&found));
}

fn told(found: &[Finding]) -> String {
    let lines = found.iter().take(40).map(|finding| format!("\n{finding}"));
    format!("{} things were said that must not be:{}", found.len(), lines.collect::<String>())
}

fn logs_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "log"))
}

/// What the gateway refuses, with a citizen's data where it is wrong.
fn wrong_submissions() -> Vec<lgsp_proto::v1::Submission> {
    use lgsp_proto::v1::{Applicant, Submission};
    let applicant = || Applicant {
        full_name: NAME.into(),
        personal_number: NUMBER.into(),
        phone: PHONE.into(),
        ..crate::support::submission().applicant.unwrap()
    };
    let of = |applicant| Submission { applicant: Some(applicant), ..crate::support::submission() };
    vec![
        of(Applicant { full_name: format!("{NAME}\u{7}"), ..applicant() }),
        of(Applicant { personal_number: format!("{NUMBER}{NUMBER}"), ..applicant() }),
        of(Applicant { date_of_birth: NAME.into(), ..applicant() }),
        Submission { locality: NAME.into(), ..of(applicant()) },
        Submission { aliases: vec![NAME.into()], ..of(applicant()) },
        Submission { procedure_code: NAME.into(), ..of(applicant()) },
        Submission { request_key: NAME.into(), ..of(applicant()) },
        Submission { acting_party: NAME.into(), ..of(applicant()) },
        Submission { return_desk: "H99.XX".into(), ..of(applicant()) },
        Submission { procedure_code: "9.999999".into(), ..of(applicant()) },
    ]
}
