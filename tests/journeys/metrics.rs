//! What Prometheus's own tool thinks of what the processes serve, and of the rules that the documents give.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use ::http::{HeaderMap, Method};
use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::agency::Agency;
use crate::place::Place;
use crate::{http, within};

const AUTHORITY: &str = "H99.101";
const SYSTEM: &str = "mot-cua";

/// Has `promtool` look at something.
async fn promtool(arguments: &[&str], input: &[u8]) {
    let mut tool = Command::new("promtool");
    tool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool
        .spawn()
        .expect("this test needs promtool, which Debian has in its package prometheus: apt-get install prometheus");
    tool.stdin.take().unwrap().write_all(input).await.unwrap();
    let ended = within("promtool", tool.wait_with_output()).await.unwrap();
    let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(ended.status.success(), "promtool {arguments:?}: {said}\n{}", String::from_utf8_lossy(input));
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_finds_no_fault_with_what_gateway_and_adapter_serve() {
    let place = Place::new().issuing(3600);
    let gateway = place.gateway().await;
    let authority = Agency::open(AUTHORITY).await;
    let adapter = place.adapter(SYSTEM, AUTHORITY, gateway.bus, authority.hook).await;
    for address in [gateway.local(), adapter.rest] {
        let page = http::send(address, Method::GET, "/metrics", HeaderMap::new(), Bytes::new()).await.with(200);
        assert!(page.starts_with(b"# TYPE target_info gauge\n"), "{}", String::from_utf8_lossy(&page));
        promtool(&["check", "metrics"], &page).await;
    }
    adapter.stop().await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_rules_of_the_architecture_fire_when_they_should_and_name_figures_that_there_are() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let figures = page.split("\n## Figures").nth(1).unwrap().split("\n## ").next().unwrap();
    let rules = figures.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let table: String = figures.lines().filter(|line| line.starts_with("| `lgsp_")).collect();
    let named = rules.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    for name in named.filter(|word| word.starts_with("lgsp_")) {
        assert!(table.contains(&format!("| `{name}` |")), "a rule asks for {name}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yml"), rules).unwrap();
    fs::write(folder.path().join("test.yml"), RULES_TEST).unwrap();
    promtool(&["check", "rules", folder.path().join("rules.yml").to_str().unwrap()], b"").await;
    promtool(&["test", "rules", folder.path().join("test.yml").to_str().unwrap()], b"").await;
}

/// Time begins at 0 there. One of each ends on day 61, and the adapter renews nothing: what is told on day 2, on day 40 and on day 59.
const RULES_TEST: &str = r#"
rule_files: [rules.yml]
evaluation_interval: 1h
tests:
  - interval: 1h
    input_series:
      - { series: 'lgsp_root_not_after_timestamp_seconds{job="gateway",instance="g",bundle="own",root="00"}', values: '5270400x1500' }
      - { series: 'lgsp_certificate_not_after_timestamp_seconds{job="gateway",instance="g",certificate="own"}', values: '5270400x1500' }
      - { series: 'lgsp_gateway_start_timestamp_seconds{job="gateway",instance="g"}', values: '0x1500' }
      - { series: 'lgsp_certificate_not_after_timestamp_seconds{job="adapter",instance="a",certificate="own"}', values: '5270400x1500' }
      - { series: 'lgsp_certificates_up_to_date{job="adapter",instance="a"}', values: '1x1500' }
    alert_rule_test:
      - { eval_time: 12h, alertname: LgspExpiresWithin60Days, exp_alerts: [] }
      - eval_time: 48h
        alertname: LgspExpiresWithin60Days
        exp_alerts:
          - exp_labels: { severity: warning, job: gateway, instance: g, bundle: own, root: "00" }
            exp_annotations: { summary: "A root or an issuing CA ends in 59d 0h 0m 0s: prepare the next one." }
      - { eval_time: 48h, alertname: LgspGatewayCertificateEnds, exp_alerts: [] }
      - eval_time: 960h
        alertname: LgspGatewayCertificateEnds
        exp_alerts:
          - exp_labels: { severity: warning, job: gateway, instance: g, certificate: own }
            exp_annotations: { summary: "The gateway's certificate ends in 21d 0h 0m 0s: nothing renews it but an operator." }
      - { eval_time: 960h, alertname: LgspCertificateNotRenewed, exp_alerts: [] }
      - eval_time: 1416h
        alertname: LgspCertificateNotRenewed
        exp_alerts:
          - exp_labels: { severity: critical, job: gateway, instance: g, certificate: own }
            exp_annotations: { summary: "A certificate or a revocation list ends in 2d 0h 0m 0s and nothing has replaced it." }
          - exp_labels: { severity: critical, job: adapter, instance: a, certificate: own }
            exp_annotations: { summary: "A certificate or a revocation list ends in 2d 0h 0m 0s and nothing has replaced it." }
      - { eval_time: 1416h, alertname: LgspCertificateFilesNotInForce, exp_alerts: [] }
"#;
