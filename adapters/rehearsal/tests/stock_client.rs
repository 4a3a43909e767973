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
use lgsp_rehearsal::rehearsal::{AT_ONCE, Bounds, CONNECTION_KEPT, Counterpart, MAINTENANCE_TRICKLE, Rehearsal};
use lgsp_rehearsal::report::{Check, Verdict};
use lgsp_rehearsal::server::{Files, Server};
use tokio::process::Command;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Says how it treats a request, and wants to be asked politely. To "together" it says nothing before three are under way.
struct Mirror {
    three: Arc<Barrier>,
}

const CHECKS: &[Check] =
    &[Check { id: "polite", vi: "Lịch sự", en: "It is polite" }, AT_ONCE, CONNECTION_KEPT, MAINTENANCE_TRICKLE];

/// More than fits between a server and whoever reads slowly.
const LONG: usize = 64 << 20;

/// Small, so that few requests are too many.
const BOUNDS: Bounds = Bounds { at_once: 2, trickle: 3 };

impl Counterpart for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn checks(&self) -> &'static [Check] {
        CHECKS
    }

    fn routes(self: Arc<Self>, rehearsal: Arc<Rehearsal>) -> Router {
        let three = Arc::clone(&self.three);
        let answer = async move |Extension(behaviour): Extension<Behaviour>, body: String| {
            if body == "together" {
                three.wait().await;
            }
            rehearsal.check("polite", if body == "please" { Ok(()) } else { Err("no please") });
            if body == "at length" { "x".repeat(LONG) } else { behaviour.to_string() }
        };
        Router::new().route("/", post(answer))
    }
}

struct Stage {
    dir: tempfile::TempDir,
    url: String,
    rehearsal: Arc<Rehearsal>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stage {
    async fn set(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::bind(0, &Files::in_folder(dir.path()).unwrap()).await.unwrap();
        let mirror = Arc::new(Mirror { three: Arc::new(Barrier::new(3)) });
        let rehearsal = Rehearsal::within(&*mirror, script.parse().unwrap(), Duration::from_millis(2), BOUNDS);
        let (url, stop) = (server.url(), CancellationToken::new());
        let serving = tokio::spawn(server.serve(rehearsal.routes(mirror), stop.clone()));
        Self { dir, url, rehearsal, stop, serving }
    }

    /// How often a check has held, and how often it has not.
    fn outcome(&self, id: &str) -> (u64, u64) {
        let report = self.rehearsal.report();
        let check = report.checks.iter().find(|check| check.id == id).unwrap();
        (check.passed, check.failed)
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
    // Broken off after the work is not as if nothing had been done, and neither is 502.
    let report = stage.rehearsal.report();
    assert_eq!((report.requests, report.behaviours["flaky"], report.checks[0].passed), (7, 4, 6));
    // But for the connections: each curl opened one.
    assert!(report.checks.iter().all(|check| check.holds() != (check.id == CONNECTION_KEPT.id)), "{report:?}");
}

#[tokio::test]
async fn after_each_way_of_being_flaky_there_is_once_a_turn_that_is_answered() {
    let stage = Stage::set("flaky:8").await;
    let mut turns = Vec::new();
    for _ in 0..8 {
        let (_, said) = stage.curl("/", &["-d", "please"]).await;
        turns.push(said.rsplit(' ').next().unwrap().to_owned());
    }
    assert_eq!(turns, ["000", "502", "000", "200", "000", "000", "502", "200"]);
    // Of the lines that broke two did so after the work.
    assert_eq!(stage.outcome("polite"), (6, 0));
}

#[tokio::test]
async fn who_asks_too_much_at_one_time_is_found_out() {
    let stage = Stage::set("normal").await;
    let together = || stage.curl("/", &["-d", "together"]);
    tokio::join!(together(), together(), together());
    assert_eq!(stage.outcome("at-once"), (2, 1));
    // One after the other there are as many as one likes.
    for _ in 0..4 {
        stage.curl("/", &["-d", "please"]).await;
    }
    assert_eq!(stage.outcome("at-once"), (6, 1));
}

#[tokio::test]
async fn who_opens_a_connection_for_each_request_is_found_out() {
    let stage = Stage::set("normal").await;
    for requests in 1..=5 {
        stage.curl("/", &["-d", "please"]).await;
        assert_eq!(stage.outcome("connection-kept"), (0, u64::from(requests == 5)), "{requests}");
    }
    let stage = Stage::set("normal").await;
    let url = format!("{}/", stage.url);
    stage.curl("/", &["-d", "please", &url, &url, &url, &url]).await;
    assert_eq!((stage.rehearsal.report().requests, stage.outcome("connection-kept")), (5, (1, 0)));
}

#[tokio::test]
async fn who_keeps_asking_during_maintenance_is_found_out() {
    let stage = Stage::set("maintenance").await;
    for _ in 0..5 {
        stage.curl("/", &["-d", "please"]).await;
    }
    assert_eq!(stage.outcome("maintenance-trickle"), (3, 2));
    assert_eq!(stage.rehearsal.report().verdict, Verdict::NotReady);
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

#[tokio::test]
async fn the_last_answer_of_a_script_is_told_to_its_end() {
    let mut stage = Stage::set("normal:2").await;
    stage.curl("/", &["-d", "please"]).await;
    let curl = tokio::spawn({
        let (root, url) = (stage.dir.path().join("ca.pem"), stage.url.clone());
        async move { curl(&root, &url, &["-d", "at length"]).await }
    });
    tokio::time::timeout(Duration::from_secs(30), stage.rehearsal.over()).await.unwrap();
    stage.stop.cancel();
    (&mut stage.serving).await.unwrap();
    let (code, said) = curl.await.unwrap();
    assert_eq!((code, said.len()), (0, LONG + " 200".len()));
}
