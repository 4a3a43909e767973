//! Each scenario from the first command to the last event.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{Sandbox, opened};

#[test]
fn each_scenario_shows_the_developer_the_answers_the_law_has() {
    let sandbox = Sandbox::start(&[]);
    let begun = ["Submitted", "Accepted", "Processing started"];
    let ended = ["Resolved", "Returned"];
    for (scenario, ours, events) in [
        ("normal", None, [&begun[..], &ended].concat()),
        (
            "supplement",
            Some("supplement_provided"),
            [&["Submitted", "Supplement requested", "Supplement provided"], &begun[1..], &ended].concat(),
        ),
        ("expired", None, vec!["Submitted", "Supplement requested", "Supplement expired"]),
        ("refused", None, vec!["Submitted", "Refused"]),
        ("fee", Some("fee_paid"), [&begun[..], &["Fee requested", "Fee paid"], &ended].concat()),
        ("late", None, [&begun[..], &["Extended"], &ended].concat()),
        (
            "paused",
            None,
            [&begun[..], &["Progress inside the authority", "Clock paused", "Clock resumed"], &ended].concat(),
        ),
        ("stopped", None, [&begun[..], &["Stopped"]].concat()),
        ("recalled", None, [&begun[..], &["Resolved", "Result recalled", "Resolved", "Returned"]].concat()),
        ("withdrawn", Some("withdrawn"), [&begun[..], &["Withdrawn"]].concat()),
        ("duplicate", None, [&begun[..], &ended].concat()),
    ] {
        sandbox.scenario(scenario);
        if scenario == "late" {
            sandbox.sees(&["the gateway was restarted"]);
        }
        let code = sandbox.hand_in();
        if let Some(event) = ours {
            let taken = sandbox.take_turn(&code, event);
            assert!(taken.contains("\"request_key\""), "{taken}");
        }
        assert_eq!(sandbox.events(&code, events.len()), events, "{scenario}");
        assert!(sandbox.sees(&[&code, events.last().unwrap()]).ends_with(&format!("({scenario})")));
        let dossier = look(&sandbox, &code);
        assert_eq!(dossier["dossier"]["clock"]["late"], scenario == "late", "{scenario}: {dossier}");
        assert_eq!(dossier["dossier"]["clock"]["extended"], scenario == "late", "{scenario}");
        if scenario == "refused" {
            let why = sandbox.shell(&format!(
                "curl -s '{}/v1/dossiers/{code}?bodies=true' -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01'",
                api(&sandbox)
            ));
            assert!(why.contains("không thuộc trường hợp"), "{why}");
        }
    }
}

#[test]
fn the_same_request_again_is_the_same_receipt() {
    let sandbox = Sandbox::start(&["--scenario", "duplicate"]);
    let printed = |number| &sandbox.commands.iter().find(|(title, _)| title.starts_with(number)).unwrap().1;
    let lines = format!("{}\n{2}\n{1}\n{2}\n{1}\n", printed('1'), printed('3'), printed('2'));
    let out = sandbox.shell(&lines);
    let documents = out.lines().flat_map(|line| serde_json::Deserializer::from_str(line).into_iter::<Value>());
    let requests: Vec<Value> = documents.filter_map(Result::ok).filter(|one| one["receipt"].is_object()).collect();
    assert_eq!(requests[0]["receipt"], requests.last().unwrap()["receipt"], "{out}");
    assert!(requests.len() >= 2);
    let code = requests[0]["dossier_code"].as_str().unwrap();
    assert_eq!(sandbox.events(code, 5).iter().filter(|event| *event == "Submitted").count(), 1);
}

#[test]
fn in_an_outage_the_answer_holds_a_code_and_nothing_answered_is_lost() {
    let sandbox = Sandbox::start(&["--scenario", "outage", "--outage", "1"]);
    sandbox.sees(&["the line between your adapter and the gateway is cut"]);
    let printed: Vec<&str> =
        sandbox.commands.iter().filter(|(title, _)| title.starts_with(['1', '2'])).map(|(_, it)| &**it).collect();
    let out = sandbox.shell(&printed.join("\n"));
    let taken: Value = serde_json::from_str(&out[out.find("{\"request_key").unwrap()..]).unwrap();
    assert_eq!(taken["offline"], true, "{taken}");
    assert_eq!(taken["competent_authority"], "H57.102");
    let code = taken["dossier_code"].as_str().unwrap();
    for note in ["a request waits", "the line is back", "kill -9", "the gateway runs again", "normal again"] {
        sandbox.sees(&[note]);
    }
    let events = sandbox.events(code, 5);
    assert_eq!(events, ["Submitted", "Accepted", "Processing started", "Resolved", "Returned"]);
    assert!(sandbox.sees(&[code, "Returned"]).ends_with("(outage)"));
    assert_eq!(look(&sandbox, code)["dossier"]["code"], code);
    // What comes after is ordinary.
    let next = sandbox.hand_in();
    assert_eq!(sandbox.events(&next, 5).last().unwrap(), "Returned");
    assert!(sandbox.sees(&[&next, "Returned"]).ends_with("(normal)"));
}

#[test]
fn another_scenario_ends_an_outage_and_mends_the_line() {
    let sandbox = Sandbox::start(&["--scenario", "outage"]);
    sandbox.sees(&["the line between your adapter and the gateway is cut"]);
    sandbox.scenario("refused");
    sandbox.sees(&["the line is back"]);
    let code = sandbox.hand_in();
    assert_eq!(sandbox.events(&code, 2), ["Submitted", "Refused"]);
}

#[test]
fn who_decides_gets_dossiers_handed_in_and_the_printed_commands_decide_them() {
    let sandbox = Sandbox::start(&["--role", "authority"]);
    // The first blocks are the story; then come other scenarios, and the trail.
    let story: Vec<&str> = sandbox.commands[..4].iter().map(|(_, it)| &**it).collect();
    let out = sandbox.shell(&format!("{}\necho; echo \"$CODE\"", story.join("\n")));
    let code = out.lines().last().unwrap();
    assert!(out.contains("\"type\":\"submitted\"") && out.contains("to-khai"), "{out}");
    let ended = sandbox.decide(code);
    assert_eq!(ended, ["Submitted", "Accepted", "Processing started", "Resolved", "Returned"]);

    for (scenario, asked) in [
        ("supplement", "Supplement provided"),
        ("expired", "Supplement expired"),
        ("refused", "Refused"),
        ("fee", "Fee paid"),
        ("late", "Extended"),
        ("paused", "Clock resumed"),
        ("stopped", "Stopped"),
        ("recalled", "Result recalled"),
        ("withdrawn", "Withdrawn"),
    ] {
        sandbox.scenario(scenario);
        if scenario == "late" {
            sandbox.sees(&["the gateway was restarted"]);
        }
        let before = opened(&sandbox.lines()).len();
        sandbox.shell(&sandbox.commands[0].1);
        let code = sandbox.wait("one more is handed in", |lines| opened(lines).get(before).cloned());
        let events = sandbox.decide(&code);
        assert!(events.iter().any(|event| event == asked), "{scenario}: {events:?}");
        assert_eq!(look(&sandbox, &code)["dossier"]["clock"]["late"], scenario == "late", "{scenario}");
    }
}

#[test]
fn a_request_that_is_refused_shows_with_the_reason_and_what_to_do() {
    let sandbox = Sandbox::start(&[]);
    sandbox.shell(&format!(
        "curl -s {}/v1/dossiers -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01' -H 'Idempotency-Key: sai-gio' -d '{}'",
        api(&sandbox),
        r#"{"procedure_code":"1.001193","locality":"19774","applicant":{"kind":"citizen","full_name":"Nguyễn Thị Thử"},
            "received_at":"2099-01-01T00:00:00Z","intake_channel":"direct","return_channel":"direct",
            "components":[{"code":"to-khai","originals":1}]}"#
    ));
    let line = sandbox.sees(&["sai-gio", "refused: TIME_AHEAD"]);
    assert!(line.contains("received_at"), "{line}");
}

#[test]
fn a_desk_that_is_its_own_authority_is_decided_for_too_and_hands_out_itself() {
    let sandbox = Sandbox::start(&[]);
    let out = sandbox.shell(&format!(
        "curl -s {0}/v1/dossiers -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01' -H 'Idempotency-Key: tai-cho' -d '{1}'
         curl -s '{0}/v1/requests/tai-cho?wait_ms=20000' -H 'LGSP-Party: H57.101'",
        api(&sandbox),
        r#"{"procedure_code":"1.001193","locality":"19753","applicant":{"kind":"citizen","full_name":"Nguyễn Thị Thử"},
            "intake_channel":"direct","return_channel":"direct","components":[{"code":"to-khai","originals":1}]}"#
    ));
    let request: Value =
        serde_json::from_str(&out[out.find("{\"request_key\":\"tai-cho\",\"state\":\"adm").unwrap()..]).unwrap();
    let code = request["dossier_code"].as_str().unwrap();
    assert_eq!(request["receipt"]["competent_authority"], "H57.101");
    sandbox.take_turn(code, "returned");
    assert_eq!(sandbox.events(code, 4), ["Submitted", "Processing started", "Resolved", "Returned"]);
}

#[test]
fn whoever_met_a_busy_adapter_has_their_turn_when_it_has_room_again() {
    let sandbox = Sandbox::start(&["--pace", "2000"]);
    let out = sandbox.shell(&format!(
        "curl -s {0}/v1/dossiers -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01' -H 'Idempotency-Key: tai-cho' -d '{1}'",
        api(&sandbox),
        r#"{"procedure_code":"1.001193","locality":"19753","applicant":{"kind":"citizen","full_name":"Nguyễn Thị Thử"},
            "intake_channel":"direct","return_channel":"direct","components":[{"code":"to-khai","originals":1}]}"#
    ));
    assert!(out.contains("tai-cho"), "{out}");
    let submitted = sandbox.sees(&["  Submitted  "]);
    let code = submitted.split("  ").nth(1).unwrap();
    // The authority's clerk is about to go on at this adapter, and there is no room.
    let adapter = api(&sandbox).strip_prefix("http://").unwrap().to_owned();
    let question =
        format!("GET /v1/inbox?party=H57.101&wait_ms=20000 HTTP/1.1\r\nHost: {adapter}\r\nLGSP-Party: H57.101\r\n\r\n");
    let ask = || {
        let mut stream = TcpStream::connect(&adapter).unwrap();
        stream.write_all(question.as_bytes()).unwrap();
        stream
    };
    let polls: Vec<TcpStream> = (0..300).map(|_| ask()).collect();
    sandbox.sees(&["asks the adapter again", code, "503"]);
    drop(polls);
    let events = sandbox.events(code, 3);
    assert_eq!(events, ["Submitted", "Processing started", "Resolved"]);
}

/// Where the developer's adapter is.
fn api(sandbox: &Sandbox) -> String {
    let line = sandbox.lines().into_iter().find(|line| line.starts_with("- your adapter")).unwrap();
    line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned()
}

fn look(sandbox: &Sandbox, code: &str) -> Value {
    let asked = format!("curl -s {}/v1/dossiers/{code} -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01'", api(sandbox));
    serde_json::from_str(&sandbox.shell(&asked)).unwrap()
}
