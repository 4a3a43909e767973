//! The clients of docs/examples, each against a real adapter and a real gateway, and killed where it hurts.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::ROOT;
use super::line::{Line, Lost};
use super::stand_in::{Answers, StandIn};
use super::window::Program;

const EXAMPLES: &str = "docs/examples";

/// A client in a folder of its own.
struct Client {
    name: &'static str,
    words: Vec<String>,
    folder: PathBuf,
}

impl Client {
    fn new(place: &Path, name: &'static str, words: &[&str]) -> Self {
        let folder = place.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tờ khai.pdf"), format!("%PDF-1.7 {name}")).unwrap();
        let words = words.iter().map(|word| match word.strip_prefix("./") {
            Some(file) => format!("{ROOT}/{EXAMPLES}/{file}"),
            None => (*word).to_owned(),
        });
        Self { name, words: words.collect(), folder }
    }

    fn start(&self, adapter: &str, actor: &str, words: &[&str]) -> Child {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(words).current_dir(&self.folder);
        command.env("LGSP_API", adapter).env("LGSP_ACTOR", actor).env("LC_ALL", "C.UTF-8");
        for name in ["LGSP_PARTY", "LGSP_TOKEN_FILE"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run(&self, adapter: &str, actor: &str, words: &[&str]) -> Output {
        self.start(adapter, actor, words).wait_with_output().unwrap()
    }

    /// What it prints when all goes well.
    fn prints(&self, adapter: &str, words: &[&str]) -> String {
        let ended = self.run(adapter, "cb01", words);
        assert!(ended.status.success(), "{:?} {words:?}: {}", self.words, String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    /// What it had printed when it was killed, once a message of its was lost.
    fn killed(&self, lost: Lost, path: &'static str, adapter: &str, words: &[&str]) -> String {
        let line = Line::losing(lost, path, adapter);
        let mut client = self.start(&format!("http://{}", line.address), "cb01", words);
        let waiting = line.lost();
        client.kill().unwrap();
        client.wait().unwrap();
        drop(waiting);
        let mut said = String::new();
        client.stdout.unwrap().read_to_string(&mut said).unwrap();
        said
    }

    /// Hands in, is killed, goes on; takes over, is killed, goes on. Gives the dossier's code.
    fn does_its_work(&self, adapter: &str) -> String {
        let record = format!("4711-{}", self.name);
        let submit = ["submit", &record, "tờ khai.pdf"];
        // The adapter has it, and the client cannot know.
        assert_eq!(self.killed(Lost::Answer, "/v1/dossiers", adapter, &submit), "");
        // A refusal now says nothing about what the adapter has: the client finds it, and takes no second key for it.
        let ended = self.run(adapter, "not an account", &submit);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let told = String::from_utf8(ended.stdout).unwrap();
        let (code, due) = told.strip_prefix(&format!("{record}: ")).unwrap().trim().split_once(", due ").unwrap();
        assert!(code.starts_with("H57.102-") && due.starts_with("20"), "{told}");
        assert_eq!(self.prints(adapter, &submit), format!("{record}: {code}, admitted before\n"));

        // It has stored the event, and the adapter does not know that.
        let receive = ["receive", code];
        let before = self.killed(Lost::Request, "/v1/inbox/ack", adapter, &receive);
        let all = before + &self.prints(adapter, &receive);
        let events = ["2 accepted", "3 processing_started", "4 resolved", "5 returned"];
        let expected: String = events.iter().map(|event| format!("{code} {event}\n")).collect();
        assert_eq!(all, expected, "each event has its effect once");
        // What was stored can be read back, by whoever goes on with it.
        let stored: BTreeSet<u64> = self.stored().iter().filter_map(|event| event["sequence"].as_u64()).collect();
        assert_eq!(stored, BTreeSet::from([2, 3, 4, 5]), "{}", self.name);
        code.to_owned()
    }

    /// The deliveries that it keeps: each as it came, or the page that it came in.
    fn stored(&self) -> Vec<serde_json::Value> {
        let texts: Vec<String> = if self.folder.join("store").exists() {
            let files = fs::read_dir(self.folder.join("store/events")).unwrap();
            files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
        } else {
            let all =
                "import sqlite3; [print(*row) for row in sqlite3.connect('lgsp.db').execute('SELECT json FROM event')]";
            let ended = Command::new("python3").args(["-c", all]).current_dir(&self.folder).output().unwrap();
            String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect()
        };
        let read = |text: &String| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let pages = texts.iter().map(read);
        pages.map(|page: serde_json::Value| page.pointer("/deliveries/0").cloned().unwrap_or(page)).collect()
    }

    /// Is refused, says what to correct, and takes a new key for the corrected request.
    fn is_refused_and_corrects(&self, adapter: &str) {
        let record = format!("4712-{}", self.name);
        let submit = ["submit", &record, "tờ khai.pdf"];
        fs::write(self.folder.join("tờ khai.pdf"), format!("%PDF-1.7 {record}")).unwrap();
        let ended = self.run(adapter, "not an account", &submit);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && ended.stdout.is_empty(), "{said}");
        assert!(said.contains("a clerk has to correct") && said.contains("LGSP-Actor"), "{said}");
        assert!(self.prints(adapter, &submit).starts_with(&format!("{record}: H57.102-")));
    }
}

/// All that a test can run, each in its folder; Java's is compiled.
fn clients(place: &Path) -> [Client; 3] {
    let java = place.join("classes");
    let source = format!("{ROOT}/{EXAMPLES}/java/Client.java");
    let mut javac = Command::new("javac");
    let compiled = javac.args(["-encoding", "UTF-8", "-Xlint:all", "-Werror", "-d"]).arg(&java).arg(source).output();
    let compiled = compiled.expect("this test needs a JDK, 17 or later: apt-get install default-jdk-headless");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    [
        Client::new(place, "curl", &["./curl/client.sh"]),
        Client::new(place, "python", &["python3", "./python/client.py"]),
        Client::new(place, "java", &["java", "-cp", java.to_str().unwrap(), "Client"]),
    ]
}

#[test]
fn the_clients_of_the_examples_hand_in_once_and_take_over_once_even_when_they_are_killed() {
    let place = tempfile::tempdir().unwrap();
    let sandbox = Program::start("sandbox".into(), "lgsp sandbox --port 0 --pace 50 --json", place.path());
    sandbox.shows(|said| said.contains("\"type\":\"ready\""));
    let adapter = sandbox.said();
    let adapter = adapter.split("\"rest\":\"").nth(1).unwrap().split('"').next().unwrap();

    let clients = clients(place.path());
    let codes: BTreeSet<String> = clients.iter().map(|client| client.does_its_work(adapter)).collect();
    // Each of them handed in one dossier, whatever the adapter was asked.
    let listed = sandbox.said();
    let submitted: BTreeSet<_> = listed.lines().filter(|line| line.contains("\"event\":\"submitted\"")).collect();
    assert_eq!((submitted.len(), codes.len()), (clients.len(), clients.len()), "{listed}");
    clients.iter().for_each(|client| client.is_refused_and_corrects(adapter));
}

/// What an adapter answers that has lost its spool, while the gateway has the key with other content.
fn another_has_the_key(request: &str) -> (u16, String) {
    if request.starts_with("POST /v1/documents?") {
        (201, r#"{"sha256":"ab","size_bytes":1,"media_type":"application/pdf"}"#.to_owned())
    } else if request == "POST /v1/dossiers" {
        (202, r#"{"state":"queued"}"#.to_owned())
    } else {
        let problem = r#"{"reason":"KEY_REUSED","title":"The key is taken","remedy":{"en":"Find the other."}}"#;
        (200, format!(r#"{{"state":"refused","problem":{problem}}}"#))
    }
}

/// The name of the document in a request, as whoever reads a form's fields has it.
fn file_name(request: &str) -> String {
    let coded = request.split_once("?file_name=").unwrap().1.split(' ').next().unwrap().replace('+', " ");
    let mut parts = coded.split('%');
    let mut name = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        name.push(u8::from_str_radix(&part[..2], 16).unwrap());
        name.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(name).unwrap()
}

#[test]
fn a_document_has_the_name_of_its_file_whatever_is_in_it() {
    let place = tempfile::tempdir().unwrap();
    for client in clients(place.path()) {
        let adapter = StandIn::answering(another_has_the_key);
        for name in ["tờ khai & đơn 100%.pdf", "a+b=c.pdf"] {
            fs::write(client.folder.join(name), "%PDF-1.7").unwrap();
            let ended = client.run(&format!("http://{}", adapter.address), "cb01", &["submit", "4714", name]);
            let asked = adapter.asked();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(
                asked.first().map(|request| file_name(request)).as_deref(),
                Some(name),
                "{}: {said}",
                client.name
            );
        }
    }
}

#[test]
fn a_key_that_the_gateway_knows_with_other_content_is_never_left_for_another_and_the_bytes_stay_the_same() {
    let place = tempfile::tempdir().unwrap();
    for client in clients(place.path()) {
        let adapter = StandIn::answering(another_has_the_key);
        let mut handed_in = Vec::new();
        for _ in 0..2 {
            let ended = client.run(&format!("http://{}", adapter.address), "cb01", &["submit", "4713", "tờ khai.pdf"]);
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(!ended.status.success() && said.contains("4713-1"), "{}: {said}", client.name);
            handed_in.extend(adapter.asked().into_iter().filter(|request| request.starts_with("POST /v1/dossiers ")));
        }
        let parts = handed_in.iter().map(|request| request.split_once("\r\n\r\n").unwrap());
        let (heads, bodies): (Vec<_>, Vec<_>) = parts.unzip();
        assert!(heads.iter().all(|head| head.to_lowercase().contains("idempotency-key: 4713-1\r\n")), "{heads:?}");
        assert!(bodies.len() == 2 && bodies[0] == bodies[1], "{bodies:?}");
        // Without it the adapter writes the moment it takes the request in, which is another one the next time.
        assert!(bodies[0].contains("\"received_at\""), "{}", bodies[0]);
    }
}

/// One event that has come, and no right to say that it is taken over.
fn nothing_is_acknowledged(request: &str) -> (u16, String) {
    match request.starts_with("GET /v1/inbox?") {
        true => {
            let event = r#"{"type":"returned","status":"returned"}"#;
            let delivery = r#""delivery_id":"d1","dossier_code":"H57.102-250714-0001","sequence":5"#;
            (200, format!(r#"{{"deliveries":[{{{delivery},"event":{event}}}]}}"#))
        }
        false => unknown_caller(request),
    }
}

fn unknown_caller(_: &str) -> (u16, String) {
    let remedy = r#"{"vi":"Xuất trình mã.","en":"Show the token."}"#;
    (401, format!(r#"{{"reason":"TOKEN_INVALID","title":"The token is not valid","status":401,"remedy":{remedy}}}"#))
}

#[test]
fn whoever_takes_events_over_hears_why_it_may_not() {
    let place = tempfile::tempdir().unwrap();
    for client in clients(place.path()) {
        for answers in [unknown_caller as Answers, nothing_is_acknowledged] {
            let adapter = StandIn::answering(answers);
            let address = format!("http://{}", adapter.address);
            let ended = client.run(&address, "cb01", &["receive", "H57.102-250714-0001"]);
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(!ended.status.success() && said.contains("TOKEN_INVALID"), "{}: {said}", client.name);
            assert!(said.contains("Show the token."), "{}: {said}", client.name);
        }
    }
}
