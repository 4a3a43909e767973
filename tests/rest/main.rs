//! The local interface against its own description: a stock generator of calls (schemathesis) reads the document that the
//! adapter serves, and calls a real adapter in front of a real gateway with whatever the document allows, and what it does not.
//!
//! No answer may be a server's fault, and none may be anything but what the document says.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/python.rs"]
mod environment;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use lgsp_adapters::access;
use lgsp_adapters::link::DocumentUpload;
use lgsp_adapters::{Config, Ready};
use lgsp_proto::v1;
use serde_json::{Value, json};
use tokio::sync::oneshot;
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
    let (Ready { rest, .. }, stop) = adapter(&bus, "").await;

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
    let (ready, stop) = adapter(&bus, remote).await;
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

/// An adapter of commune Binh's system in front of the bus.
async fn adapter(bus: &Bus, more: &str) -> (Ready, CancellationToken) {
    let address = bus.address("mot-cua-binh");
    let tls = address.tls;
    let config = format!(
        "gateway = \"{}\"\nparties = [\"H99.102\"]\n\
         [tls]\ncertificate = {:?}\nkey = {:?}\nbundle = {:?}\n\
         [spool]\nfolder = \"spool\"\nmin_free_mib = 0\n\
         [webhook]\nurl = \"http://127.0.0.1:9/nobody-listens\"\n\
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
