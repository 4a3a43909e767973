//! A stock HTTP tool against a counterpart, over TLS: what the ground promises whatever the counterpart is.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::post;
use lgsp_rehearsal::behaviour::Behaviour;
use lgsp_rehearsal::rehearsal::{Counterpart, Rehearsal};
use lgsp_rehearsal::report::{Check, Verdict};
use lgsp_rehearsal::server::{Files, Server};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// Says how it treats a request, and wants to be asked politely.
struct Mirror;

const CHECKS: &[Check] = &[Check { id: "polite", vi: "Lịch sự", en: "It is polite" }];

impl Counterpart for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn checks(&self) -> &'static [Check] {
        CHECKS
    }

    fn routes(self: Arc<Self>, rehearsal: Arc<Rehearsal>) -> Router {
        let answer = move |Extension(behaviour): Extension<Behaviour>, body: String| async move {
            rehearsal.check("polite", if body == "please" { Ok(()) } else { Err("no please") });
            behaviour.to_string()
        };
        Router::new().route("/", post(answer))
    }
}

struct Stage {
    dir: tempfile::TempDir,
    url: String,
    rehearsal: Arc<Rehearsal>,
    _stop: tokio_util::sync::DropGuard,
}

impl Stage {
    async fn set(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::bind(0, &Files::in_folder(dir.path()).unwrap()).await.unwrap();
        let mirror = Arc::new(Mirror);
        let rehearsal = Rehearsal::new(&*mirror, script.parse().unwrap(), Duration::from_millis(2));
        let (url, stop) = (server.url(), CancellationToken::new());
        tokio::spawn(server.serve(rehearsal.routes(mirror), stop.clone()));
        Self { dir, url, rehearsal, _stop: stop.drop_guard() }
    }

    /// What curl prints, and how it ends.
    async fn curl(&self, path: &str, more: &[&str]) -> (i32, String) {
        curl(&self.dir.path().join("ca.pem"), &format!("{}{path}", self.url), more).await
    }
}

async fn curl(root: &Path, url: &str, more: &[&str]) -> (i32, String) {
    let mut command = Command::new("curl");
    command.args(["-sS", "-w", " %{http_code}", "--max-time", "30", "--cacert"]).arg(root).arg(url).args(more);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn curl_trusts_the_certificate_made_on_the_spot_and_no_other_root_does() {
    let stage = Stage::set("normal").await;
    assert_eq!(stage.curl("/", &["-d", "please"]).await, (0, "normal 200".to_owned()));
    let other = tempfile::tempdir().unwrap();
    Files::in_folder(other.path()).unwrap();
    let (code, _) = curl(&other.path().join("ca.pem"), &stage.url, &["-d", "please"]).await;
    assert_eq!(code, 60, "curl: the peer's certificate cannot be authenticated with known CA certificates");
    // The next start in the folder shows the same certificate.
    let before = std::fs::read(stage.dir.path().join("server.pem")).unwrap();
    Files::in_folder(stage.dir.path()).unwrap();
    assert_eq!(std::fs::read(stage.dir.path().join("server.pem")).unwrap(), before);
}

#[tokio::test]
async fn a_script_is_played_request_by_request_until_it_is_over() {
    let stage = Stage::set("normal:1,flaky:4,slow(3x):1,maintenance:1").await;
    let mut answers = Vec::new();
    for _ in 0..7 {
        answers.push(stage.curl("/", &["-d", "please"]).await);
    }
    tokio::time::timeout(Duration::from_secs(30), stage.rehearsal.over()).await.unwrap();
    // 52: the server returned nothing; with TLS some versions of curl call it a failure to receive (56).
    let is_broken = |answer: &(i32, String)| matches!(answer.0, 52 | 56) && answer.1.ends_with("000");
    assert!(is_broken(&answers[1]) && is_broken(&answers[3]), "{answers:?}");
    assert_eq!(answers[2], (0, " 502".to_owned()));
    let rest: Vec<&str> = [0, 4, 5, 6].map(|number: usize| answers[number].1.as_str()).to_vec();
    assert_eq!(rest, ["normal 200", "flaky 200", "slow(3x) 200", "maintenance 200"]);
    // Broken off after the work is not as if nothing had been done.
    let report = stage.rehearsal.report();
    assert_eq!((report.requests, report.behaviours["flaky"], report.checks[0].passed), (7, 4, 5));
    assert_eq!(report.verdict, Verdict::Ready);
}

#[tokio::test]
async fn another_script_is_played_while_it_runs_and_the_report_says_what_failed() {
    let stage = Stage::set("normal").await;
    assert_eq!(stage.curl("/_rehearsal/behaviour", &["-T", "-"]).await.1.split(' ').next_back(), Some("400"));
    let told = stage.curl("/_rehearsal/behaviour", &["-X", "PUT", "-d", "duplicate:1,slow(1ms)"]).await;
    assert_eq!(told, (0, " 204".to_owned()));
    assert_eq!(stage.curl("/", &["-d", "now!"]).await.1, "duplicate 200");
    assert_eq!(stage.curl("/", &["-d", "please"]).await.1, "slow(1ms) 200");
    let (_, report) = stage.curl("/_rehearsal/report", &["-w", ""]).await;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["verdict"], &report["checks"][0]["example"]), (&"not_ready".into(), &"no please".into()));
}
