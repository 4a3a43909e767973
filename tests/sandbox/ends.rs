//! Starting and ending: the printed page, ports that are taken, Ctrl-C, a kill, and going on from a folder.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PATIENCE, Sandbox, lgsp, nothing_runs_for, signal_process_of, something_runs_for};

/// Each line of JSON among lines of anything.
fn documents(text: &str) -> Vec<Value> {
    let stream = text.split('\n').flat_map(|line| serde_json::Deserializer::from_str(line).into_iter::<Value>());
    stream.filter_map(Result::ok).filter(Value::is_object).collect()
}

#[test]
fn every_command_does_what_is_printed_beside_it_in_both_languages() {
    for (lang, began, ended) in [("en", "Submitted", "Returned"), ("vi", "Nộp hồ sơ", "Trả kết quả")] {
        let sandbox = Sandbox::start(&["--lang", lang]);
        assert_eq!(sandbox.commands.len(), 7, "{:#?}", sandbox.commands);
        let all: Vec<&str> = sandbox.commands.iter().map(|(_, command)| &**command).collect();
        let out = sandbox.shell(&all.join("\n"));
        let [document, taken, request, dossier, inbox, changed, shown, back] = &documents(&out)[..] else {
            panic!("{out}")
        };
        assert_eq!(document["file_name"], "to-khai.txt");
        assert_eq!(taken["location"], format!("/v1/requests/{}", taken["request_key"].as_str().unwrap()));
        assert_eq!(
            (&request["state"], &request["receipt"]["competent_authority"]),
            (&"admitted".into(), &"H57.102".into())
        );
        let code = request["dossier_code"].as_str().unwrap();
        assert_eq!(dossier["dossier"]["code"], code);
        assert_eq!(dossier["dossier"]["documents"][0]["sha256"], document["sha256"]);
        assert_eq!(inbox["deliveries"][0]["event"]["type"], "accepted");
        assert_eq!(inbox["deliveries"][0]["dossier_code"], code);
        assert_eq!((&changed["scenario"], &shown["scenario"]), (&"supplement".into(), &"supplement".into()));
        assert_eq!(back["scenario"], "normal");
        // The trail is a table for people.
        assert!(out.lines().last().unwrap().contains("H57."), "{out}");

        let events = sandbox.events(code, 5);
        assert_eq!((events.first().map(String::as_str), events.last().map(String::as_str)), (Some(began), Some(ended)));
        let line = sandbox.sees(&[code, ended]);
        for part in ["H57.TT → H57.101, H57.102", "[10 ", "(normal)"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let folder = sandbox.folder.clone();
        assert!(something_runs_for(&folder) && folder.exists());
        assert!(sandbox.end("INT").success(), "Ctrl-C is the ordinary end");
        nothing_runs_for(&folder);
        assert!(!folder.exists(), "a temporary folder stays");
    }
}

#[test]
fn a_second_signal_ends_the_sandbox_at_once_with_its_processes() {
    let sandbox = Sandbox::start(&[]);
    let folder = sandbox.folder.clone();
    // It is asked to stop, and does not hear it.
    signal_process_of("simulated.toml", &folder, "STOP");
    sandbox.signal("INT");
    let first = Instant::now();
    // The other adapter is gone: the first signal has been taken up.
    nothing_runs_for(&folder.join("adapter.toml"));
    assert!(!sandbox.end("INT").success());
    assert!(first.elapsed() < Duration::from_secs(20), "it has waited for a process that does not answer");
    nothing_runs_for(&folder);
    assert!(!folder.exists(), "a temporary folder stays");
}

#[test]
fn an_adapter_that_is_too_busy_for_the_sandboxs_own_questions_is_asked_again() {
    let sandbox = Sandbox::start(&["--json"]);
    let ready: Value = serde_json::from_str(&sandbox.lines()[0]).unwrap();
    let adapter = ready["rest"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    // A developer who tries how much the adapter bears: more long polls than it takes at one time.
    let ask = |wait_ms: u32| {
        let mut stream = TcpStream::connect(&adapter).unwrap();
        let question = format!("GET /v1/inbox?party=H57.101&wait_ms={wait_ms} HTTP/1.1\r\nHost: {adapter}\r\n\r\n");
        stream.write_all(question.as_bytes()).unwrap();
        stream
    };
    let polls: Vec<TcpStream> = (0..300).map(|_| ask(20_000)).collect();
    sandbox.sees(&["\"what\":\"asked_again\"", "503"]);
    drop(polls);
    // It goes on where it was: what the gateway refuses still shows.
    let nowhere = r#"{"procedure_code":"1.001193","locality":"00001","applicant":{"kind":"citizen","full_name":"Nguyễn Thị Thử"},
        "intake_channel":"direct","return_channel":"direct"}"#;
    let until = Instant::now() + PATIENCE;
    loop {
        let taken = sandbox.shell(&format!(
            "curl -s http://{adapter}/v1/dossiers -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01' \
             -H 'Idempotency-Key: sau-do' -d '{nowhere}'"
        ));
        if !taken.contains("OVERLOADED") {
            break;
        }
        assert!(Instant::now() < until, "{taken}");
        std::thread::sleep(Duration::from_millis(50));
    }
    sandbox.sees(&["\"refused\"", "\"sau-do\""]);
    assert!(sandbox.end("INT").success());
}

#[test]
fn a_page_of_a_browser_cannot_post_what_the_adapters_post() {
    let sandbox = Sandbox::start(&[]);
    let configuration = std::fs::read_to_string(sandbox.folder.join("simulated.toml")).unwrap();
    let hook = configuration.split('"').find(|word| word.ends_with("/simulated")).unwrap();
    let post = |header: &str| sandbox.shell(&format!("curl -s -w '%{{http_code}}' {header} -d '{{}}' {hook}"));
    assert!(post("-H 'Origin: http://evil.test'").ends_with("403"));
    assert_eq!(post(""), "204", "so that nothing else was refused above");
}

#[test]
fn a_killed_sandbox_leaves_no_process_and_the_next_one_goes_on_from_its_folder() {
    let kept = tempfile::tempdir().unwrap();
    let dir = kept.path().join("sandbox");
    let dir = dir.to_str().unwrap();
    let sandbox = Sandbox::start(&["--dir", dir, "--scenario", "fee"]);
    let code = sandbox.hand_in();
    sandbox.sees(&[&code, "your turn: fee_paid"]);
    assert!(something_runs_for(&sandbox.folder));
    let folder = sandbox.folder.clone();
    assert!(!sandbox.end("KILL").success());
    nothing_runs_for(&folder);

    // Another scenario now: the dossier keeps its own.
    let sandbox = Sandbox::start(&["--dir", dir]);
    sandbox.take_turn(&code, "fee_paid");
    let events = sandbox.events(&code, 3);
    assert_eq!(events, ["Fee paid", "Resolved", "Returned"]);
    assert!(sandbox.sees(&[&code, "Returned"]).contains("(fee)"));
    let later = sandbox.hand_in();
    assert_ne!(later, code);
    assert_eq!(sandbox.events(&later, 5).last().unwrap(), "Returned");
    assert!(sandbox.end("TERM").success());
    assert!(folder.join("chronicle.jsonl").exists());
}

#[test]
fn a_late_dossier_goes_on_being_late_after_another_start() {
    let kept = tempfile::tempdir().unwrap();
    let dir = kept.path().join("sandbox");
    let dir = dir.to_str().unwrap();
    // Slow enough that it is on its way when everything dies.
    let sandbox = Sandbox::start(&["--dir", dir, "--scenario", "late", "--pace", "3000"]);
    let code = sandbox.hand_in();
    sandbox.events(&code, 2);
    sandbox.end("KILL");
    let sandbox = Sandbox::start(&["--dir", dir]);
    let line = sandbox.sees(&[&code, "Returned", "dated", "(late)"]);
    assert!(line.contains("[10 "), "{line}");
    assert_eq!(sandbox.events(&code, 4), ["Processing started", "Extended", "Resolved", "Returned"]);
}

#[test]
fn a_folder_has_one_sandbox_at_a_time() {
    let kept = tempfile::tempdir().unwrap();
    let dir = kept.path().join("sandbox");
    let sandbox = Sandbox::start(&["--dir", dir.to_str().unwrap()]);
    let second = lgsp().args(["sandbox", "--port", "0", "--dir", dir.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(second.status.code() == Some(2) && said.contains("another sandbox runs with"), "{said}");
    // The first is none the worse for it.
    let code = sandbox.hand_in();
    assert_eq!(sandbox.events(&code, 5).last().unwrap(), "Returned");
}

#[test]
fn every_example_of_the_help_text_starts() {
    let help = String::from_utf8(lgsp().args(["sandbox", "--help"]).output().unwrap().stdout).unwrap();
    let examples = help.split("Examples:\n").nth(1).unwrap().lines().take_while(|line| line.starts_with("  "));
    let words: Vec<Vec<&str>> =
        examples.map(|line| line.trim().strip_prefix("lgsp sandbox").unwrap().split_whitespace().collect()).collect();
    assert_eq!(words[0], ["--list"]);
    assert!(words.len() > 2);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("sandbox");
    for words in &words[1..] {
        // On ports of the system's choice, and in a folder of the test's.
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "sandbox" { folder.to_str().unwrap() } else { *word }).collect();
        assert!(Sandbox::start(&words).end("INT").success(), "{words:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_what_to_do_before_anything_is_made() {
    // Below those that the system gives out by itself, so that nobody is given the one beside it meanwhile.
    let from = 20_000 + u16::try_from(std::process::id() % 8_000).unwrap();
    let held = |port| TcpListener::bind(("127.0.0.1", port)).ok();
    let both_free = |port: &u16| held(port - 1).is_some() && held(*port).is_some();
    let port = (from..from + 500).step_by(2).find(both_free).unwrap();
    let _holder = held(port).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("sandbox");
    // The REST API's own port, and the one beside it.
    for wanted in [port, port - 1] {
        for (lang, says) in
            [("en", "choose another port: lgsp sandbox --port"), ("vi", "chọn cổng khác: lgsp sandbox --port")]
        {
            let wanted = wanted.to_string();
            let refused = lgsp()
                .args(["sandbox", "--lang", lang, "--port", &wanted, "--dir", folder.to_str().unwrap()])
                .output()
                .unwrap();
            let said = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(2), "{said}");
            assert!(said.contains(says) && said.contains(&port.to_string()), "{said}");
            assert!(!folder.exists());
        }
    }
}

#[test]
fn a_folder_that_holds_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "mine").unwrap();
    let refused = lgsp().args(["sandbox", "--port", "0", "--dir", dir.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn for_programs_everything_is_a_document_a_line() {
    let sandbox = Sandbox::start(&["--json", "--scenario", "withdrawn"]);
    let ready: Value = serde_json::from_str(&sandbox.lines()[0]).unwrap();
    assert_eq!((&ready["type"], &ready["party"]), (&"ready".into(), &"H57.101".into()));
    let [api, control] = ["rest", "control"].map(|name| ready[name].as_str().unwrap().to_owned());
    let described = sandbox.shell(&format!("curl -s {}", ready["openapi"].as_str().unwrap()));
    assert_eq!(serde_json::from_str::<Value>(&described).unwrap()["openapi"], "3.1.0");
    sandbox.shell(&format!(
        "curl -s {api}/v1/dossiers -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01' -H 'Idempotency-Key: mot' -d '{}'",
        r#"{"procedure_code":"1.001193","locality":"19774","applicant":{"kind":"citizen","full_name":"Nguyễn Thị Thử"},
            "intake_channel":"direct","return_channel":"direct","components":[{"code":"to-khai","originals":1}]}"#
    ));
    let turn = sandbox.wait("our turn", |lines| {
        let all = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.into_iter().find(|line| line["type"] == "your_turn")
    });
    assert_eq!((&turn["event"], &turn["scenario"]), (&"withdrawn".into(), &"withdrawn".into()));
    sandbox.shell(turn["command"].as_str().unwrap());
    let last = sandbox.wait("it is withdrawn", |lines| {
        let all = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.into_iter().find(|line| line["type"] == "event" && line["event"] == "withdrawn")
    });
    is_as_described(&ready, &[]);
    is_as_described(&turn, &[]);
    is_as_described(&last, &["due_at"]);
    assert_eq!((&last["from"], &last["status"]), (&"H57.101".into(), &"withdrawn".into()));
    assert!(last["sequence"] == 4 && last["admitted_at"].is_string() && last["to"][0] == "H57.102", "{last}");
    // This lies nowhere, which the gateway says.
    let nowhere = r#"{"procedure_code":"1.001193","locality":"00001","applicant":{"kind":"citizen","full_name":"Nguyễn Thị Thử"},
        "intake_channel":"direct","return_channel":"direct"}"#;
    sandbox.shell(&format!(
        "curl -s {api}/v1/dossiers -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01' -H 'Idempotency-Key: ba' -d '{nowhere}'"
    ));
    let refused = sandbox.wait("a refusal", |lines| {
        let all = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.into_iter().find(|line| line["type"] == "refused" && line["request_key"] == "ba")
    });
    is_as_described(&refused, &[]);
    let unknown = sandbox.shell(&format!("curl -s -X POST {control}/scenario/earthquake"));
    assert!(unknown.contains("no such scenario") && unknown.contains("outage"), "{unknown}");
    let page = sandbox.shell(&format!("curl -s -X POST -H 'Origin: http://evil.test' {control}/scenario/late"));
    assert!(page.contains("not for pages"), "{page}");
    assert!(sandbox.shell(&format!("curl -s {control}/scenario")).contains("withdrawn"));
}

/// The pages about the sandbox, and what stands in the first column of their tables.
fn pages() -> [(String, Vec<String>); 2] {
    ["docs/sandbox.md", "docs/sandbox.vi.md"].map(|name| {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let rows = rows.map(str::to_owned).collect();
        (page, rows)
    })
}

#[test]
fn both_pages_about_the_sandbox_name_every_scenario_and_the_same_commands() {
    let list = lgsp().args(["sandbox", "--list"]).output().unwrap().stdout;
    let list = String::from_utf8(list).unwrap();
    let scenarios: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let [(en, of_en), (vi, of_vi)] = pages();
    assert_eq!(of_en[..scenarios.len()], scenarios);
    assert_eq!(of_en, of_vi);
    let commands = |page: &str| -> Vec<String> {
        page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
    };
    assert_eq!(commands(&en), commands(&vi));
}

/// That a document for programs holds what both pages say, and no more; `may` lists what is not always there.
#[track_caller]
fn is_as_described(document: &Value, may: &[&str]) {
    let kind = document["type"].as_str().unwrap();
    for (page, _) in pages() {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{kind}` | `"))).unwrap();
        let described: Vec<&str> = row.split('`').skip(3).step_by(2).collect();
        let fields = document.as_object().unwrap();
        for field in fields.keys().filter(|field| *field != "type") {
            assert!(described.contains(&field.as_str()), "{kind} has {field}");
        }
        for field in described.iter().filter(|field| !may.contains(field)) {
            assert!(fields.contains_key(*field), "{kind} has no {field}");
        }
    }
}

#[test]
fn every_scenario_is_explained_in_a_line_in_both_languages() {
    for (lang, word) in [("en", "supplement is requested"), ("vi", "yêu cầu bổ sung")] {
        let out = lgsp().args(["sandbox", "--list", "--lang", lang]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success() && text.contains(word), "{text}");
        for name in ["normal", "supplement", "expired", "refused", "fee", "late", "duplicate", "outage", "recalled"] {
            assert_eq!(
                text.lines().filter(|line| line.starts_with(&format!("{name} "))).count(),
                1,
                "{name} in {text}"
            );
        }
    }
}
