//! What a scanner that knows nothing of us finds out about the bus's TLS: sslyze, in an environment of its own.
//!
//! It cannot see hybrid key exchange, and of clients it does not know whom we let in: the first is tried here with a client
//! of our own, the second is [`crate::matrix`].

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lgsp_certs::TlsFiles;
use rustls::NamedGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use serde_json::Value;

use crate::client::Caller;
use crate::environment::python;
use crate::support::Bus;

const REQUIREMENTS: &str = "tests/security/tls_scan/requirements.txt";
const FRIENDLY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/tls_scan/friendly.py");

/// A scan takes a few seconds; on a machine that is busy, perhaps a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// Everything the scanner looks for, but for what concerns HTTP pages.
const SCANS: [&str; 16] = [
    "sslv2",
    "sslv3",
    "tlsv1",
    "tlsv1_1",
    "tlsv1_2",
    "tlsv1_3",
    "certinfo",
    "compression",
    "early_data",
    "elliptic_curves",
    "heartbleed",
    "openssl_ccs",
    "reneg",
    "resum",
    "robot",
    "ems",
];

/// The suites of TLS 1.3 (RFC 8446 §B.4) that we speak; all of them authenticate what they encrypt.
const SUITES: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_finds_tls_1_3_on_the_bus_and_no_weakness() {
    let bus = Bus::start().await;
    let mut found = scan(bus.port(), None, &SCANS).await;
    assert_eq!(found["connectivity_result"]["client_auth_requirement"], "REQUIRED");
    // What is found out for certain only by those who are let in.
    let inside = scan(bus.port(), Some(bus.address("mot-cua-binh").tls), &["early_data", "reneg", "resum"]).await;
    for name in ["tls_1_3_early_data", "session_renegotiation", "session_resumption"] {
        found["scan_result"][name] = inside["scan_result"][name].clone();
    }
    assert_eq!(weaknesses(&found), Vec::<String>::new());
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_finds_no_weakness_where_systems_join_and_is_asked_for_no_certificate() {
    let bus = Bus::start().await;
    let found = scan(bus.enrolment_port(), None, &SCANS).await;
    assert_eq!(weaknesses(&found), Vec::<String>::new());
    assert_eq!(found["connectivity_result"]["client_auth_requirement"], "DISABLED");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scanner_finds_what_is_wrong_with_a_server_that_is_too_friendly() {
    let bus = Bus::start().await;
    let python = environment().await;
    let certificate = bus.folder().join("tls/gateway.pem");
    let friendly = Friendly::start(&python, &certificate, &bus.folder().join("tls/gateway.key"));
    let found = scan(friendly.port, None, &SCANS).await;
    let weak = weaknesses(&found);
    for word in ["tls_1_2", "resumption"] {
        assert!(weak.iter().any(|weakness| weakness.contains(word)), "{word} is not among {weak:?}");
    }
    assert_eq!(found["connectivity_result"]["client_auth_requirement"], "DISABLED");
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_exchanged_so_that_a_quantum_computer_of_tomorrow_reads_nothing_of_today() {
    let bus = Bus::start().await;
    let issued = bus.issue("mot-cua-binh");
    let caller = Caller::new(&bus, Some(&issued));
    let (hybrid, x25519, p256) = (kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1);
    // A client that offers the hybrid sends a share for X25519 beside it, and the gateway has the choice.
    assert_eq!(caller.group_of(vec![hybrid, x25519, p256]).await, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(caller.group_of(vec![hybrid]).await, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(caller.group_of(vec![x25519]).await, Some(NamedGroup::X25519));
    assert_eq!(caller.group_of(vec![p256]).await, Some(NamedGroup::secp256r1));
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_ticket_to_come_back_without_showing_a_certificate() {
    let bus = Bus::start().await;
    let caller = Caller::new(&bus, Some(&bus.issue("mot-cua-binh")));
    assert_eq!(caller.tickets().await, 0);
    bus.stop().await;
}

/// What a scan tells that should not be so, one line each.
fn weaknesses(found: &Value) -> Vec<String> {
    let mut weak = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            weak.push(what);
        }
    };
    let scans = &found["scan_result"];
    let result = |scan: &str| scans[scan]["result"].clone();
    for (name, scan) in scans.as_object().unwrap().iter().filter(|(_, scan)| scan["status"] != "NOT_SCHEDULED") {
        let why =
            scan["error_trace"].as_str().and_then(|trace| trace.trim_end().lines().next_back()).unwrap_or_default();
        expect(scan["status"] == "COMPLETED", format!("{name} was not found out: {} {why}", scan["error_reason"]));
    }
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2"] {
        let spoken = result(&format!("{version}_cipher_suites"))["is_tls_version_supported"] != false;
        expect(!spoken, format!("{version} is spoken"));
    }
    let accepted = result("tls_1_3_cipher_suites")["accepted_cipher_suites"].take();
    let accepted: Vec<&str> =
        list(&accepted).iter().filter_map(|suite| suite["cipher_suite"]["name"].as_str()).collect();
    expect(!accepted.is_empty(), "tls_1_3 is not spoken".to_owned());
    expect(accepted.iter().all(|suite| SUITES.contains(suite)), format!("suites: {accepted:?}"));

    expect(result("tls_compression")["supports_compression"] == false, "compression".to_owned());
    expect(result("tls_1_3_early_data")["supports_early_data"] == false, "early data".to_owned());
    expect(result("heartbleed")["is_vulnerable_to_heartbleed"] == false, "heartbleed".to_owned());
    expect(result("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"] == false, "ccs injection".to_owned());
    expect(result("robot")["robot_result"] == "NOT_VULNERABLE_RSA_NOT_SUPPORTED", "robot, or rsa".to_owned());
    let renegotiation = result("session_renegotiation");
    expect(renegotiation["is_vulnerable_to_client_renegotiation_dos"] == false, "renegotiation".to_owned());
    let resumption = result("session_resumption");
    for kind in ["session_id_resumption_result", "tls_ticket_resumption_result"] {
        // What it tries are the two ways before 1.3; of that one's tickets see below.
        expect(resumption[kind] == "SERVER_IS_TLS_1_3_ONLY", format!("resumption: {kind} {}", resumption[kind]));
    }

    let curves = result("elliptic_curves")["supported_curves"].take();
    let curves: Vec<&str> = list(&curves).iter().filter_map(|curve| curve["name"].as_str()).collect();
    let good = |curve: &&str| ["X25519", "secp256r1", "secp384r1"].contains(curve);
    expect(!curves.is_empty() && curves.iter().all(good), format!("curves: {curves:?}"));

    let deployments = result("certificate_info")["certificate_deployments"].take();
    for deployment in list(&deployments) {
        let leaf = &deployment["received_certificate_chain"][0];
        let (key, hash) = (&leaf["public_key"], &leaf["signature_hash_algorithm"]["name"]);
        expect(key["ec_curve_name"] == "secp256r1", format!("certificate: key {key}"));
        expect(hash == "sha256", format!("certificate: hash {hash}"));
    }
    expect(list(&deployments).len() == 1, "certificates: more or fewer than one".to_owned());
    weak
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Scans a port of this machine, as somebody who shows a certificate or has none.
async fn scan(port: u16, shown: Option<TlsFiles>, scans: &[&str]) -> Value {
    let told = tempfile::NamedTempFile::new().unwrap();
    let mut scanner = tokio::process::Command::new(environment().await);
    scanner.args(["-m", "sslyze", "--quiet", "--mozilla_config=disable", "--sni=localhost", "--json_out"]);
    scanner.arg(told.path());
    if let Some(TlsFiles { certificate, key, .. }) = shown {
        scanner.arg("--cert").arg(certificate).arg("--key").arg(key);
    }
    scanner.args(scans.iter().map(|scan| format!("--{scan}"))).arg(format!("127.0.0.1:{port}"));
    scanner.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, scanner.output()).await.expect("the scanner ends in good time").unwrap();
    let mut told: Value = serde_json::from_slice(&std::fs::read(told.path()).unwrap())
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&ended.stderr)));
    let found = told["server_scan_results"][0].take();
    assert_eq!(found["scan_status"], "COMPLETED", "{found}");
    found
}

async fn environment() -> PathBuf {
    let python = tokio::task::spawn_blocking(|| python("tls-scan", REQUIREMENTS)).await.unwrap();
    python.unwrap_or_else(|missing| panic!("{missing}"))
}

/// A server with every fault that a test needs.
struct Friendly {
    process: Child,
    port: u16,
}

impl Friendly {
    fn start(python: &Path, certificate: &Path, key: &Path) -> Self {
        let mut server = Command::new(python);
        server.arg(FRIENDLY).arg(certificate).arg(key).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = server.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Friendly {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
