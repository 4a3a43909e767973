//! A client that shares no code with us: Python, grpcio, and stubs generated from `proto/` as any agency would. If it gets
//! along, the language of the bus is what `proto/` says and not what our own crates happen to agree on.
//!
//! The packages come from the package index Python is set up with, once, into a virtual environment in the target folder.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/python.rs"]
mod environment;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lgsp_proto::v1;
use serde_json::{Value, json};

use support::{Bus, MORNING};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/client.py");
const REQUIREMENTS: &str = "tests/python/requirements.txt";
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");

/// More than the client ever needs; each of its calls has a shorter limit of its own.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_python_client_submits_reads_back_and_understands_what_it_is_told() {
    let python = tokio::task::spawn_blocking(|| environment::python("python-client", REQUIREMENTS)).await.unwrap();
    let python = python.unwrap_or_else(|missing| panic!("{missing}"));
    let bus = Bus::start().await;
    let generated = bus.folder().join("generated");
    generate(&python, &generated);

    let seen = run_client(&python, &bus, &generated).await;
    let code = seen["code"].as_str().unwrap();
    assert_eq!(
        seen["receipt"],
        json!({
            "signed_by_the_gateway": true,
            "still_signed_when_changed": false,
            "names_the_gateways_certificate": true,
            "is_about_what_was_sent": true,
            "competent_authority": "H99.101",
        })
    );
    assert_eq!(seen["repeat"], json!({ "repeated": true, "same_receipt": true }));
    assert_eq!(
        seen["state"],
        json!({
            "code": code,
            "status": "STATUS_FILED",
            "competent_authority": "H99.101",
            "events": ["EVENT_KIND_SUBMITTED"],
            "body_is_what_was_sent": true,
        })
    );

    let refusal = &seen["refusal"];
    assert_eq!((&refusal["code"], &refusal["reason"]), (&json!("INVALID_ARGUMENT"), &json!("FIELD_INVALID")));
    assert_eq!((&refusal["domain"], &refusal["locale"]), (&json!("lgsp.v1"), &json!("vi")));
    assert_eq!(refusal["fields"], json!(["applicant.personal_number", "locality"]));
    for remedy in ["remedy_vi", "remedy_en"] {
        assert!(refusal["metadata"][remedy].as_str().is_some_and(|text| !text.is_empty()), "{refusal}");
    }

    // What it said it did is what the gateway has: one dossier, seen by the authority as well.
    let request = v1::GetRequest {
        acting_party: "H99.101".into(),
        actor: "clerk-an-1".into(),
        dossier_code: code.into(),
        ..Default::default()
    };
    let found = bus.link("mot-cua").dossiers().get(request).await.unwrap().into_inner();
    assert_eq!(found.events[0].event.as_ref().unwrap().system, "mot-cua-binh");
    assert_eq!(bus.status().await["store"]["dossiers"], 1);
    bus.stop().await;
}

/// Runs the client as the system of commune Binh, and gives what it saw.
async fn run_client(python: &Path, bus: &Bus, generated: &Path) -> Value {
    let tls = bus.address("mot-cua-binh").tls;
    let mut client = tokio::process::Command::new(python);
    client.arg(CLIENT).arg("--generated").arg(generated).arg("--gateway").arg(format!("127.0.0.1:{}", bus.port()));
    client.arg("--certificate").arg(tls.certificate).arg("--key").arg(tls.key).arg("--bundle").arg(tls.bundle);
    client.arg("--gateway-certificate").arg(bus.folder().join("tls/gateway.pem")).args(["--received-at", MORNING]);
    client.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, client.output()).await.expect("the client ends in good time").unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// Generates the stubs from `proto/`, with Python's own compiler.
fn generate(python: &Path, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let language = fs::read_dir(Path::new(PROTO).join("lgsp/v1")).unwrap().map(|file| file.unwrap().path());
    let mut compiler = Command::new(python);
    compiler.args(["-m", "grpc_tools.protoc"]).arg(format!("-I{PROTO}"));
    compiler.arg("--python_out").arg(folder).arg("--grpc_python_out").arg(folder).args(language);
    let ended = compiler.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
