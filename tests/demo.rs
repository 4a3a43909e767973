//! The demo from end to end: the real binary, its processes, the summary and the report; and that a mistreated delivery
//! does not go unnoticed.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "support/output.rs"]
mod output;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

const LGSP: &str = env!("CARGO_BIN_EXE_lgsp");

/// A day small enough for a debug build, long enough that everything has ended.
const SMALL: [&str; 7] = ["demo", "--dossiers", "60", "--until", "2025-08-15", "--lang", "en"];

struct Run {
    output: Output,
    report: Value,
    folder: TempDir,
}

/// Runs a small day with these arguments besides.
fn run(arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut command = Command::new(LGSP);
    command.args(SMALL).arg("--report").arg(&report).args(arguments);
    if output::folder().is_some() {
        command.env("LGSP_LOG", output::LEVELS);
    }
    // A folder that is kept is kept where the test can tidy it up.
    let output = command.env("TMPDIR", folder.path()).output().unwrap();
    output::said("demo", [&output.stdout[..], &output.stderr].concat());
    output::keep("demo", folder.path());
    let report = std::fs::read(&report).unwrap_or_else(|_| panic!("no report: {}", text(&output.stderr)));
    Run { output, report: serde_json::from_slice(&report).unwrap(), folder }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn count(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no count {field} in {report}"))
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn a_small_day_ends_with_books_that_agree_and_figures_that_add_up() {
    let Run { output, report, folder } = run(&[]);
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let of = |field| count(&report, field);

    for difference in ["lost", "duplicated", "out_of_order", "unanswered", "unexplained", "altered"] {
        assert_eq!(of(difference), 0, "{difference}");
    }
    assert_eq!((of("requests_refused"), of("steps_not_done")), (0, 0));

    assert_eq!((of("submitted"), of("online"), of("non_territorial"), of("supported")), (60, 57, 19, 54));
    assert_eq!(of("returned") + of("refused") + of("withdrawn") + of("stopped") + of("open"), 60);
    assert_eq!(of("on_time") + of("late"), of("decided"));
    assert!(of("decided") >= of("returned") && of("returned") > 40);
    // One of everything, so that every way through is walked.
    for kind in ["refused", "withdrawn", "stopped", "supplemented", "fees", "recalled", "late"] {
        assert!(of(kind) > 0, "{kind}");
    }
    assert_eq!((sum(&report["by_status_evening"]), sum(&report["by_status_end"])), (60, 60));
    assert_ne!(report["by_status_evening"], report["by_status_end"]);

    // Every citizen is asked about before the dossier is handed in, and in the end both sides have the same dossiers.
    assert_eq!((of("identity_checks"), of("portal_dossiers"), of("portal_differences")), (60, 60, 0));
    assert!(of("catalogue_procedures") > 150 && of("national_complaints") == 0, "{report}");
    assert!(of("systems") >= 8 && of("parties") > of("systems"));
    assert!(of("deliveries") > of("events") && of("events") > 4 * of("submitted"));
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
    let memory = report["peak_rss_mb"].as_object().unwrap();
    let all = "the demo, the gateway, three national systems, an adapter and an agency each";
    assert_eq!(memory.len() as u64, 5 + 2 * of("systems"), "{all}");
    // Each counts the pages of the one binary that it has touched, and without optimisation that is a large one.
    assert!(memory["gateway"].as_u64().unwrap() < 200 && of("peak_rss_total_mb") < 70 * memory.len() as u64);

    let summary = text(&output.stdout);
    for said in [
        "RECEIVED ON 14 JULY 2025",
        "NON-TERRITORIAL",
        "Identities confirmed before reception",
        "The books agree",
        "illustrative",
    ] {
        assert!(summary.contains(said), "{said} is not in\n{summary}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "only the report is left behind");
}

#[test]
fn a_dropped_delivery_turns_the_day_red() {
    assert_red("drop", "lost");
}

#[test]
fn a_doubled_delivery_turns_the_day_red() {
    assert_red("double", "duplicated");
}

#[test]
fn a_swapped_delivery_turns_the_day_red() {
    assert_red("swap", "out_of_order");
}

/// One delivery of the whole day is mistreated: exactly one difference, of the right kind, and its own exit code.
fn assert_red(tamper: &str, found: &str) {
    let Run { output, report, folder: _folder } = run(&["--tamper", tamper]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    for difference in ["lost", "duplicated", "out_of_order", "unanswered", "unexplained", "altered"] {
        assert_eq!(count(&report, difference), u64::from(difference == found), "{difference}");
    }
    let summary = text(&output.stdout);
    assert!(summary.contains("THE BOOKS DIFFER") && summary.contains("  ! "), "{summary}");
    let stderr = text(&output.stderr);
    let kept = stderr.lines().find_map(|line| line.strip_prefix("Kept to look at: ")).unwrap();
    assert!(Path::new(kept).join("agencies/mot-cua-hue.books.jsonl").exists(), "{kept}");
}

#[test]
fn what_the_kept_demo_says_to_try_works_and_goes_on_working_after_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("hue");
    let mut demo = Kept::start(&place);
    let said = demo.until("lgsp fsck");
    let commands = commands(&said);
    // Three of them let another system join: see below.
    let (running, afterwards) = (&commands[..3], &commands[6..]);
    for command in running {
        let output = lgsp(command);
        assert!(output.status.success() && !output.stdout.is_empty(), "{command}: {}", text(&output.stderr));
    }
    let shown = text(&lgsp(running[0]).stdout);
    let code = running[0].split_whitespace().nth(2).unwrap();
    assert!(shown.contains(code), "{shown}");

    demo.signal("TERM");
    assert!(demo.child.wait().unwrap().success());
    for command in afterwards {
        let output = lgsp(command);
        assert!(output.status.success(), "{command}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn another_agencys_system_joins_the_running_demo_with_one_token_and_one_command() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("hue");
    let mut demo = Kept::start(&place);
    let said = demo.until("lgsp fsck");
    let commands = commands(&said);
    let [token, join, adapter] = commands[3..6] else { panic!("{said}") };
    let output = lgsp(token);
    assert!(output.status.success(), "{token}: {}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("lgsp-join-1."), "the token is in its file and nowhere else");
    let output = lgsp(&format!("{join} --listen-rest 127.0.0.1:0"));
    assert!(output.status.success(), "{join}: {}", text(&output.stderr));

    // Its adapter, of a system that nobody knew before, hands in a dossier and is told what became of it.
    let mut adapter = Joined::start(adapter);
    let now = said.split_once("--received-at ").unwrap().1.split_whitespace().next().unwrap();
    let submission = json!({
        "procedure_code": "1.001193",
        "applicant": { "kind": "citizen", "full_name": "Nguyễn Thử Nghiệm", "personal_number": "046085000001" },
        "locality": "19753", "intake_channel": "direct", "return_channel": "direct", "received_at": now,
        "components": [{ "code": "to-khai", "name": "Tờ khai", "originals": 1 }],
    });
    let taken = adapter.ask("POST", "/v1/dossiers", &submission.to_string());
    assert_eq!(taken["request_key"], "ho-so-moi", "{taken}");
    let outcome = adapter.ask("GET", "/v1/requests/ho-so-moi?wait_ms=60000", "");
    assert_eq!(outcome["state"], "admitted", "{outcome}");
    let code = outcome["dossier_code"].as_str().unwrap_or_else(|| panic!("{outcome}"));
    assert_eq!(adapter.ask("GET", &format!("/v1/dossiers/{code}"), "")["dossier"]["code"], code);
    assert_eq!(adapter.ask("GET", "/status", "")["certificate"]["system"], "phan-mem-moi");
    assert!(adapter.stop().success());

    // The demo was there all the while, and its books say how the newcomer came in.
    let audit = format!("audit list --about phan-mem-moi --json --profile {}/operator.toml", place.display());
    let audit = text(&lgsp(&audit).stdout);
    for kind in ["token_issued", "certificate_issued", "certificate_seen"] {
        assert!(audit.contains(kind), "{kind} is not in\n{audit}");
    }
    demo.signal("TERM");
    assert!(demo.child.wait().unwrap().success());
    for command in &commands[6..] {
        let output = lgsp(command);
        assert!(output.status.success(), "{command}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn nothing_outlives_a_demo_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Kept::start(&folder.path().join("hue"));
    demo.until("lgsp fsck");
    demo.killed_with_its_children();
}

#[test]
fn nothing_outlives_a_demo_that_is_killed_in_mid_play() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("hue");
    let mut demo = Kept::start(&place);
    wait_for_play(&place);
    demo.killed_with_its_children();
}

#[test]
fn a_national_system_that_ends_in_mid_play_is_named_and_everything_is_stopped() {
    for which in ["population", "portal"] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("hue");
        let mut demo = Kept::start(&place);
        wait_for_play(&place);
        let children = children_of(demo.child.id());
        let counterpart = children.iter().find(|process| {
            let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            text(&command).contains(&format!("rehearse\0{which}"))
        });
        let killed = Command::new("kill").args(["-s", "KILL", &counterpart.unwrap().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(demo.child.wait().unwrap().code(), Some(1));
        let said = demo.errors();
        assert!(said.contains(&format!("national-{which} has ended")), "{said}");
        all_gone(&children);
    }
}

#[test]
fn a_folder_that_holds_something_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "mine").unwrap();
    let output = Command::new(LGSP).args(SMALL).arg("--dir").arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not empty"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A demo that stays.
struct Kept {
    child: Child,
}

impl Kept {
    fn start(place: &Path) -> Self {
        let small = ["demo", "--dossiers", "20", "--until", "2025-07-18", "--lang", "en", "--keep", "--dir"];
        let child = Command::new(LGSP).args(small).arg(place).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self { child: child.unwrap() }
    }

    /// Everything it says until a line begins so.
    fn until(&mut self, beginning: &str) -> String {
        let mut said = String::new();
        for line in BufReader::new(self.child.stdout.as_mut().unwrap()).lines() {
            let line = line.unwrap();
            said.push_str(&line);
            said.push('\n');
            if line.trim().starts_with(beginning) {
                return said;
            }
        }
        panic!("it ended without saying {beginning}:\n{said}");
    }

    /// Kills it, and waits until none of its processes is left.
    fn killed_with_its_children(&mut self) {
        let children = children_of(self.child.id());
        assert!(children.len() > 20, "{children:?}");
        self.signal("KILL");
        self.child.wait().unwrap();
        all_gone(&children);
    }

    /// What it has said of its progress, and of what went wrong, until it ended.
    fn errors(&mut self) -> String {
        let mut said = Vec::new();
        self.child.stderr.as_mut().unwrap().read_to_end(&mut said).unwrap();
        text(&said)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The adapter of a system that has joined. It ends with us.
struct Joined {
    child: Child,
    rest: String,
    token: String,
}

impl Joined {
    /// Starts it by the command line that was printed.
    fn start(command: &str) -> Self {
        let mut started = Command::new(LGSP);
        started.args(command.split_whitespace()).arg("--until-stdin-closes");
        let mut child = started.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("instead of being ready: {line}"));
        let token = text(&lgsp(&command.replacen("adapter", "adapter token", 1)).stdout).trim().to_owned();
        Self { child, rest: ready["ready"]["rest"].as_str().unwrap().to_owned(), token }
    }

    /// What its local interface answers to a commune's clerk.
    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(&self.rest).unwrap();
        let (length, token) = (body.len(), &self.token);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             authorization: Bearer {token}\r\nlgsp-party: H57.101\r\nlgsp-actor: cb01\r\nidempotency-key: ho-so-moi\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{method} {path}: {answer}"))
    }

    fn stop(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The commands that a demo says to try, in their order.
fn commands(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.trim().strip_prefix("lgsp ")).collect()
}

/// Waits until every stand-in has begun: once somebody's books have a first line, all of them have been told to act.
fn wait_for_play(place: &Path) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !has_books(&place.join("agencies")) {
        assert!(Instant::now() < limit, "nobody writes into {}", place.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until none of these processes is left.
fn all_gone(processes: &BTreeSet<u32>) {
    let limit = Instant::now() + Duration::from_secs(60);
    let alive = |process: &&u32| Path::new(&format!("/proc/{process}")).exists();
    while let Some(process) = processes.iter().find(alive) {
        assert!(Instant::now() < limit, "process {process} has outlived the demo");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether somebody's books in the folder have a line.
fn has_books(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut books = files.filter(|file| file.file_name().to_string_lossy().ends_with(".books.jsonl"));
    books.any(|file| file.metadata().is_ok_and(|about| about.len() > 0))
}

/// Runs a command line as the demo prints it; no argument of it has a blank.
fn lgsp(command: &str) -> Output {
    Command::new(LGSP).args(command.split_whitespace()).output().unwrap()
}

fn children_of(parent: u32) -> BTreeSet<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |process: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == parent.to_string()))
    };
    processes.filter(is_child).collect()
}
