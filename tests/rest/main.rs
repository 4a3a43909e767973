//! The local interface against its own description: a stock generator of calls (schemathesis) reads the document that the
//! adapter serves, and calls a real adapter in front of a real gateway with whatever the document allows, and what it does not.
//!
//! No answer may be a server's fault, and none may be anything but what the document says. Nor may a post of a webhook, which is held
//! against the document by another's validator, as the document is against the standard.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/python.rs"]
mod environment;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lgsp_adapters::access;
use lgsp_adapters::link::DocumentUpload;
use lgsp_adapters::{Config, Ready};
use lgsp_proto::v1;
use lgsp_proto::v1::entry::What;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use support::Bus;

const REQUIREMENTS: &str = "tests/rest/requirements.txt";

/// What the generator is told beside the document.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rest/schemathesis.toml");

/// A document, of synthetic content.
const PAPER: &[u8] = b"%PDF-1.7 to khai";

/// Calls it makes at least, or something is wrong with the test.
const CALLS: usize = 1000;

const TOKEN: &str = "what-the-agency-was-given";

/// The generator ends by itself long before.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_generated_calls_find_no_deviation_from_the_description_and_no_fault_of_the_server() {
    let python = tokio::task::spawn_blocking(|| environment::python("rest-client", REQUIREMENTS)).await.unwrap();
    let python = python.unwrap_or_else(|missing| panic!("{missing}"));
    let bus = Bus::start().await;
    let (Ready { rest, .. }, stop) = adapter(&bus, "127.0.0.1:9/nobody-listens", "").await;

    // What the configuration names: the first dossier of the morning, with its paper.
    hand_in(&bus).await;

    let report = bus.folder().join("report");
    let mut generator = tokio::process::Command::new(python.with_file_name("schemathesis"));
    generator.args(["--config-file", CONFIG, "run"]).arg(format!("http://{rest}/v1/openapi.json"));
    // Where its configuration finds hooks.py.
    generator.env("PYTHONPATH", Path::new(CONFIG).parent().unwrap()).env("PYTHONDONTWRITEBYTECODE", "1");
    generator.arg("--header").arg(format!("Authorization: Bearer {TOKEN}"));
    generator.args(["--report", "ndjson", "--no-color", "--report-dir"]).arg(&report);
    generator.current_dir(bus.folder()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, generator.output()).await.expect("it ends in good time").unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    let calls = calls(&report);
    assert!(calls >= CALLS, "only {calls} calls: {said}");
    stop.cancel();
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_one_and_every_post_of_a_webhook_is_as_it_says() {
    let python = tokio::task::spawn_blocking(|| environment::python("rest-client", REQUIREMENTS)).await.unwrap();
    let python = python.unwrap_or_else(|missing| panic!("{missing}"));
    let bus = Bus::start().await;
    let mut agency = Agency::open().await;
    let (Ready { rest, .. }, stop) = adapter(&bus, &format!("{}/lgsp", agency.hook), "").await;

    let handed_in = json!({
        "procedure_code": "1.000009", "locality": "99001", "intake_channel": "direct", "return_channel": "direct",
        "applicant": { "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456" },
        "received_at": support::MORNING, "form": { "so": 1.50 },
    });
    post(rest, "/v1/dossiers", "ho-so-1", &handed_in).await;
    let admitted = agency.told("vn.lgsp.request.admitted.v1").await;
    let mut unknown = handed_in.clone();
    unknown["procedure_code"] = "1.999999".into();
    post(rest, "/v1/dossiers", "ho-so-2", &unknown).await;
    let refused = agency.told("vn.lgsp.request.refused.v1").await;
    assert_eq!(refused["data"]["problem"]["reason"], "PROCEDURE_UNKNOWN");
    post(rest, "/v1/webhooks/test", "", &json!({})).await;
    agency.told("vn.lgsp.webhook.test.v1").await;

    // What others say of this dossier, and a dossier of others.
    let code = admitted["subject"].as_str().unwrap();
    let neighbour = bus.link("mot-cua");
    for what in [
        What::Accepted(v1::Accepted { note: "đủ".into() }),
        What::SupplementRequested(v1::SupplementRequested {
            reason: "Thiếu giấy tờ (giả lập)".into(),
            items: vec!["Giấy tờ".into()],
            until: Some(support::at("2025-07-31T17:00:00+07:00")),
        }),
    ] {
        let entry = v1::Entry {
            request_key: support::fresh_key(),
            acting_party: "H99.101".into(),
            actor: "clerk-an-1".into(),
            dossier_code: code.into(),
            occurred_at: Some(support::at(support::MORNING)),
            what: Some(what),
            ..Default::default()
        };
        support::record(&neighbour, &entry).await.unwrap();
    }
    agency.told("vn.lgsp.dossier.supplement_requested.v1").await;
    let submission = v1::Submission {
        acting_party: "H99.101".into(),
        actor: "clerk-an-1".into(),
        locality: "99002".into(),
        ..support::submission()
    };
    support::submit(&neighbour, &submission).await.unwrap();
    agency.told("vn.lgsp.dossier.submitted.v1").await;

    let (document, posts) = (bus.folder().join("openapi.json"), bus.folder().join("posts.jsonl"));
    fs::write(&document, lgsp_adapters::description()).unwrap();
    fs::write(&posts, agency.posts()).unwrap();
    let judge = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rest/posts.py");
    let mut judging = tokio::process::Command::new(python);
    judging.arg(judge).args([&document, &posts]).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let ended = tokio::time::timeout(PATIENCE, judging.output()).await.expect("it ends in good time").unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let types: BTreeMap<String, u32> = serde_json::from_slice(&ended.stdout).unwrap();
    let types: Vec<_> = types.keys().map(|kind| kind.trim_start_matches("vn.lgsp.")).collect();
    let expected = [
        "dossier.accepted.v1",
        "dossier.submitted.v1",
        "dossier.supplement_requested.v1",
        "request.admitted.v1",
        "request.refused.v1",
        "webhook.test.v1",
    ];
    assert_eq!(types, expected);
    stop.cancel();
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_oauth_client_gets_a_token_over_tls_and_hands_in_a_dossier_with_it() {
    let python = tokio::task::spawn_blocking(|| environment::python("rest-client", REQUIREMENTS)).await.unwrap();
    let python = python.unwrap_or_else(|missing| panic!("{missing}"));
    let bus = Bus::start().await;
    let clients = bus.folder().join("clients.toml");
    let (secret, proof) = access::new_secret();
    let client = access::Client { name: "mot-cua-binh".into(), parties: vec!["H99.102".parse().unwrap()], proof };
    access::add_client(&clients, client).unwrap();
    // The bus's own server certificate has the machine's address in it.
    let remote = "[remote]\nlisten = \"127.0.0.1:0\"\ncertificate = \"tls/gateway.pem\"\nkey = \"tls/gateway.key\"\n";
    let (ready, stop) = adapter(&bus, "127.0.0.1:9/nobody-listens", remote).await;
    let submission = json!({
        "procedure_code": "1.000001", "locality": "99001", "received_at": "2025-07-14T08:00:00+07:00",
        "applicant": { "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456" },
        "intake_channel": "direct", "return_channel": "direct", "return_desk": "H99.TT",
        "components": [{ "code": "to-khai", "originals": 1 }],
    });
    let mut client = tokio::process::Command::new(python);
    client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rest/oauth_client.py"));
    client.arg(format!("https://{}", ready.remote.unwrap())).arg(bus.folder().join("ca/root.pem"));
    client.args(["mot-cua-binh", &secret, "H99.102", &submission.to_string()]).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, client.output()).await.expect("it ends in good time").unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let outcome: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(outcome["state"], "admitted", "{outcome}");
    stop.cancel();
    bus.stop().await;
}

#[test]
fn the_command_prints_what_the_adapter_serves() {
    let printed = Command::new(env!("CARGO_BIN_EXE_lgsp")).arg("openapi").output().unwrap();
    assert!(printed.status.success());
    assert_eq!(printed.stdout, lgsp_adapters::description());
}

#[test]
fn every_command_that_a_refusal_names_is_there() {
    let description: Value = serde_json::from_slice(&lgsp_adapters::description()).unwrap();
    let commands =
        description["components"]["schemas"]["Problem"]["properties"]["explain"]["examples"].as_array().unwrap();
    assert!(commands.len() > 4, "{commands:?}");
    for command in commands.iter().map(|command| command.as_str().unwrap()) {
        let words: Vec<_> = command.split(' ').skip(1).collect();
        // What is to be filled in comes after the command's own words.
        let is_own =
            |word: &&&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-');
        let own = words.iter().take_while(is_own);
        let told = Command::new(env!("CARGO_BIN_EXE_lgsp")).args(own).arg("--help").output().unwrap();
        assert!(told.status.success(), "{command}");
        let help = String::from_utf8_lossy(&told.stdout).into_owned();
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{command}");
        }
    }
}

/// An adapter of commune Binh's system in front of the bus, with its webhook there.
async fn adapter(bus: &Bus, hook: &str, more: &str) -> (Ready, CancellationToken) {
    let address = bus.address("mot-cua-binh");
    let tls = address.tls;
    let config = format!(
        "gateway = \"{}\"\nparties = [\"H99.102\"]\n\
         [tls]\ncertificate = {:?}\nkey = {:?}\nbundle = {:?}\n\
         [spool]\nfolder = \"spool\"\nmin_free_mib = 0\n\
         [webhook]\nurl = \"http://{hook}\"\n\
         [rest]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\nclients_file = \"clients.toml\"\n{more}",
        address.gateway, tls.certificate, tls.key, tls.bundle
    );
    fs::write(bus.folder().join("token"), TOKEN).unwrap();
    let config = Config::parse(&config, bus.folder(), []).unwrap_or_else(|problems| panic!("{problems}"));
    let stop = CancellationToken::new();
    let (ready, is_ready) = oneshot::channel();
    tokio::spawn(lgsp_adapters::run(config, stop.clone(), ready));
    (is_ready.await.unwrap(), stop)
}

/// An agency's own software: it takes whatever is posted.
struct Agency {
    hook: SocketAddr,
    posts: watch::Receiver<Vec<Value>>,
}

impl Agency {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = listener.local_addr().unwrap();
        let (booked, posts) = watch::channel(Vec::new());
        let take = async move |headers: HeaderMap, body: Bytes| {
            let headers: BTreeMap<&str, &str> =
                headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            let event: Value = serde_json::from_slice(&body).unwrap();
            let post = json!({ "headers": headers, "event": event });
            booked.send_modify(|posts| posts.push(post));
        };
        let routes = Router::new().route("/lgsp", axum::routing::post(take));
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { hook, posts }
    }

    /// Waits for an event of this type.
    async fn told(&mut self, kind: &str) -> Value {
        let find =
            |posts: &[Value]| posts.iter().map(|post| &post["event"]).find(|event| event["type"] == kind).cloned();
        let told = self.posts.wait_for(|posts| find(posts).is_some());
        let posts = tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("no {kind}")).unwrap();
        find(&posts).unwrap()
    }

    /// All that came, a line each.
    fn posts(&self) -> String {
        self.posts.borrow().iter().map(|post| format!("{post}\n")).collect()
    }
}

/// Posts to the adapter, which takes it.
async fn post(rest: SocketAddr, path: &str, key: &str, body: &Value) {
    let request = Request::post(format!("http://{rest}{path}"))
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("lgsp-party", "H99.102")
        .header("lgsp-actor", "clerk-binh-1")
        .header("idempotency-key", key)
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let answer = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}

/// One dossier of commune Binh, with a document.
async fn hand_in(bus: &Bus) {
    let link = bus.link("mot-cua-binh");
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, PAPER);
    let document = DocumentUpload {
        acting_party: "H99.102".into(),
        actor: "clerk-binh-1".into(),
        sha256: sha256.as_ref().try_into().unwrap(),
        size_bytes: PAPER.len() as u64,
        media_type: "application/pdf".into(),
    };
    link.upload(&document, 0, tokio_stream::once(Ok(Bytes::from_static(PAPER))), None).await.unwrap();
    let mut submission = support::submission();
    submission.components[0].document = Some(v1::DocumentRef {
        sha256: Bytes::copy_from_slice(&document.sha256),
        size_bytes: document.size_bytes,
        media_type: document.media_type,
        ..Default::default()
    });
    let admitted = support::submit(&link, &submission).await.unwrap();
    let named = fs::read_to_string(CONFIG).unwrap();
    for name in [&admitted.receipt.dossier_code, &data_encoding::HEXLOWER.encode(&document.sha256)] {
        assert!(named.contains(name), "{CONFIG} does not name {name}");
    }
}

/// How many calls the report tells of.
fn calls(folder: &Path) -> usize {
    let file = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).next().expect("a report");
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| interactions(&line)).sum()
}

fn interactions(line: &Value) -> usize {
    line.to_string().matches("\"status_code\":").count()
}
