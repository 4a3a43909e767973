//! From a token to an adapter that runs: the agency's side, with the real binary at a real gateway that issues certificates.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use lgsp_adapters::link::{Address, Link, Timings};
use lgsp_certs::TlsFiles;
use lgsp_proto::v1::IssueTokenRequest;
use serde_json::Value;

use super::support::{Place, Running, eventually, output};

/// A gateway that issues certificates for so many seconds, in `place`.
fn issuing_gateway(place: &Place, leaf_life_s: u32) -> Running {
    place.certificates(&["van-hanh"]);
    place.lgsp(&["certs", "issue", "--ca", "ca", "--server", "127.0.0.1", "--out", "pki"]).ok();
    let text = fs::read_to_string(place.configuration()).unwrap();
    let text = text
        .replace("pki/gw.lgsp.hue.test", "pki/127.0.0.1")
        .replace("[listen]\n", "[listen]\nenrol = \"127.0.0.1:0\"\n");
    place.write("gateway.toml", &format!("{text}[ca]\ndir = \"ca\"\nleaf_life_s = {leaf_life_s}\n"));
    place.start("gateway", "gateway.toml")
}

/// A token for `system`, as the operator gets it.
fn token(place: &Place, gateway: &Running, system: &str, acts_for: &[&str]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = |name: &str| place.path().join(name);
        let address = Address {
            gateway: format!("https://{}", gateway.at("bus")).parse().unwrap(),
            server_name: None,
            tls: TlsFiles {
                certificate: file("pki/van-hanh.pem"),
                key: file("pki/van-hanh.key"),
                bundle: file("ca/root.pem"),
            },
            timings: Timings::default(),
        };
        let request = IssueTokenRequest {
            acting_party: "H57.VH".into(),
            actor: "cb.thu".into(),
            system: system.into(),
            acts_for: acts_for.iter().map(ToString::to_string).collect(),
            description: "Phần mềm thử".into(),
            valid_seconds: 600,
        };
        let link = Link::new(&address).unwrap();
        let token = link.certificates().issue_token(request).await.unwrap().into_inner().token;
        output::tokens_in("cli", &token);
        token
    })
}

/// The header with the token of the adapter that has joined.
fn bearer(place: &Place) -> String {
    let token = place.lgsp(&["adapter", "token", "--config", "moi/adapter.toml"]).ok();
    format!("Authorization: Bearer {}", token.trim())
}

fn status(place: &Place, adapter: &Running) -> Value {
    let url = format!("http://{}/status", adapter.at("rest"));
    let body = Command::new("curl").args(["-s", &url, "-H", &bearer(place)]).output().unwrap().stdout;
    serde_json::from_slice(&body).unwrap()
}

/// Hands a dossier in at the adapter, and gives what became of it.
fn hand_in(place: &Place, adapter: &Running, key: &str) -> Value {
    let submission = r#"{
        "procedure_code": "1.001193",
        "applicant": { "kind": "citizen", "full_name": "Nguyễn Thử Nghiệm", "personal_number": "046085000001" },
        "locality": "19753", "intake_channel": "direct", "return_channel": "direct",
        "received_at": "2025-07-14T09:00:00+07:00",
        "components": [{ "code": "to-khai", "name": "Tờ khai", "originals": 1 }]
    }"#;
    place.write("submission.json", submission);
    let (rest, who) = (adapter.at("rest"), "-H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01'");
    let who = format!("{who} -H '{}'", bearer(place));
    place
        .shell(&format!("curl -s http://{rest}/v1/dossiers {who} -H 'Idempotency-Key: {key}' -d @submission.json"))
        .ok();
    place.shell(&format!("curl -s 'http://{rest}/v1/requests/{key}?wait_ms=20000' {who}")).json()
}

#[test]
fn one_token_and_one_command_make_an_adapter_whose_dossiers_cross() {
    let place = Place::new();
    let gateway = issuing_gateway(&place, 3600);
    let token = token(&place, &gateway, "phan-mem-moi", &["H57.101"]);
    let joined =
        place.lgsp(&["adapter", "join", &token, "--dir", "moi", "--listen-rest", "127.0.0.1:0", "--json"]).json();
    assert_eq!((&joined["system"], &joined["acts_for"][0]), (&"phan-mem-moi".into(), &"H57.101".into()), "{joined}");
    place.lgsp(&["adapter", "--config", "moi/adapter.toml", "--check"]).ok();

    let adapter = place.start("adapter", "moi/adapter.toml");
    let outcome = hand_in(&place, &adapter, "ho-so-1");
    assert_eq!(outcome["state"], "admitted", "{outcome}");
    eventually("the adapter is connected", || status(&place, &adapter)["connected"] == true);
    assert_eq!(status(&place, &adapter)["certificate"]["system"], "phan-mem-moi");
    // A second one by mistake says who has the spool.
    let second = place.lgsp(&["adapter", "--config", "moi/adapter.toml"]).failed(2);
    let words = format!("in use by process {}", adapter.id());
    assert!(second.contains(&words) && second.contains("spool.folder of its own"), "{second}");
    // And who has its address.
    let own = fs::read_to_string(place.path().join("moi/adapter.toml")).unwrap();
    let beside = own.replace("127.0.0.1:0", adapter.at("rest")).replace("\"spool\"", "\"spool-2\"");
    assert!(beside.contains("spool-2") && beside.contains(adapter.at("rest")), "{beside}");
    place.write("moi/second.toml", &beside);
    let second = place.lgsp(&["adapter", "--config", "moi/second.toml"]).failed(2);
    assert!(second.contains("Give this one a rest.listen of its own"), "{second}");
    assert!(adapter.stop().success());
    let log = fs::read_to_string(place.log("adapter")).unwrap() + &fs::read_to_string(place.log("gateway")).unwrap();
    assert!(!log.contains("PRIVATE KEY") && !log.contains(&token[20..]), "neither key nor token is logged");
}

#[test]
fn whoever_is_killed_while_joining_joins_with_the_same_token() {
    let place = Place::new();
    let gateway = issuing_gateway(&place, 3600);
    let points = ["join.key", "join.answer", "identity.file", "identity.force", "identity.folder", "join.config"];
    let passes = points.into_iter().flat_map(|point| {
        let files = if point == "identity.file" { 3 } else { 1 };
        (1..=files).map(move |pass| format!("{point}:{pass}"))
    });
    for point in passes {
        let token = token(&place, &gateway, "phan-mem-moi", &["H57.101"]);
        let dir = format!("at-{}", point.replace(':', "-"));
        let command = format!("lgsp adapter join {token} --dir {dir}");
        assert_ne!(place.shell(&format!("LGSP_FAULT_AT={point} {command}")).code, 0, "{point}");
        assert!(!place.path().join(&dir).join("adapter.toml").exists(), "{point}");
        place.shell(&command).ok();
        place.lgsp(&["adapter", "--config", &format!("{dir}/adapter.toml"), "--check"]).ok();
        let left_over = place.path().join(&dir).join("identity/joining");
        assert!(!left_over.exists(), "{point}: no key is left behind");
        // Said once more there is nothing left to do; anywhere else it is spent, since no other key gets that certificate.
        let said = place.shell(&command).ok();
        assert!(said.contains("has joined with this token"), "{said}");
        let said = place.shell(&format!("{command}-2")).failed(3);
        assert!(said.contains("TOKEN_SPENT"), "{said}");
    }
}

#[test]
fn a_token_comes_from_a_file_or_standard_input_and_a_damaged_one_is_explained() {
    let place = Place::new();
    let gateway = issuing_gateway(&place, 3600);
    let one = token(&place, &gateway, "phan-mem-moi", &["H57.101"]);
    let mut file = fs::File::create(place.path().join("token.txt")).unwrap();
    // As a mail has folded it.
    let (begin, rest) = one.split_at(60);
    writeln!(file, "{begin}\n  {rest}").unwrap();
    let said = place.lgsp(&["adapter", "join", "token.txt", "--dir", "a", "--lang", "vi"]).ok();
    assert!(said.contains("Đã tham gia trục") && said.contains("lgsp adapter --config a/adapter.toml"), "{said}");
    let before = fs::read(place.path().join("a/adapter.toml")).unwrap();

    // Said again, it is done already, and nobody is suspected of theft.
    let said = place.lgsp(&["adapter", "join", "token.txt", "--dir", "a"]).ok();
    assert!(said.contains("has joined with this token") && said.contains("--config a/adapter.toml"), "{said}");

    // Again with a new token, by another way: the configuration stays as it is.
    let two = token(&place, &gateway, "phan-mem-moi", &[]);
    fs::write(place.path().join("token.txt"), &two).unwrap();
    // One line is read: the token is pasted into a terminal.
    let said = place.shell("(cat token.txt; echo; echo more) | lgsp adapter join - --dir a").ok();
    assert!(said.contains("Joined again; the spool was kept"), "{said}");
    assert_eq!(fs::read(place.path().join("a/adapter.toml")).unwrap(), before);

    let damaged = &two[..two.len() - 9];
    for (text, part) in
        [(damaged, "copy it whole"), ("lgsp-join-9.abc", "newer lgsp"), ("nowhere.txt", "neither a join token")]
    {
        let said = place.lgsp(&["adapter", "join", text, "--dir", "b"]).failed(2);
        assert!(said.contains(part) && !said.contains(&damaged[30..]), "{said}");
    }
    let other = token(&place, &gateway, "phan-mem-khac", &["H57.102"]);
    let said = place.lgsp(&["adapter", "join", &other, "--dir", "a"]).failed(2);
    assert!(said.contains("phan-mem-moi") && said.contains("phan-mem-khac"), "{said}");
    assert!(!place.path().join("b").join("identity/current").exists());
}

#[test]
fn a_token_may_go_to_a_file_of_its_owners_and_nowhere_else() {
    let place = Place::new();
    let gateway = issuing_gateway(&place, 3600);
    place.profile("operator.toml", gateway.at("bus"), "van-hanh", "H57.VH");
    // This gateway goes by its address.
    let profile = fs::read_to_string(place.path().join("operator.toml")).unwrap();
    place.write("operator.toml", &profile.replace("gw.lgsp.hue.test", "127.0.0.1"));
    let file = place.path().join("token.txt");
    let command = "lgsp certs token --system phan-mem-moi --to token.txt --profile operator.toml";

    // Refused: there is no token, and no file that looks like one.
    let said = place.shell(&format!("{command} --acts-for H57.999")).failed(3);
    assert!(!file.exists(), "{said}");
    let said = place.shell(&format!("{command} --acts-for H57.101")).ok();
    let token = fs::read_to_string(&file).unwrap();
    assert!(token.starts_with("lgsp-join-1.") && !said.contains("lgsp-join-1."), "{said}");
    assert!(said.contains("lgsp adapter join token.txt --dir phan-mem-moi"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // Another one does not take its place, and is not made.
    let said = place.shell(command).failed(2);
    assert!(said.contains("token.txt") && fs::read_to_string(&file).unwrap() == token, "{said}");
    let tokens = place.shell("lgsp certs list --json --profile operator.toml").json();
    assert_eq!(tokens["tokens"].as_array().map(Vec::len), Some(1), "{tokens}");
    place.lgsp(&["adapter", "join", "token.txt", "--dir", "moi"]).ok();
}

#[test]
fn an_adapter_renews_by_itself_at_a_real_gateway() {
    let place = Place::new();
    let gateway = issuing_gateway(&place, 8);
    let token = token(&place, &gateway, "phan-mem-moi", &["H57.101"]);
    place.lgsp(&["adapter", "join", &token, "--dir", "moi", "--listen-rest", "127.0.0.1:0"]).ok();
    let config = fs::read_to_string(place.path().join("moi/adapter.toml")).unwrap();
    place.write("moi/adapter.toml", &config.replace("[tls]\n", "[tls]\npoll_ms = 100\n"));
    let adapter = place.start("adapter", "moi/adapter.toml");
    let key = || fs::read(place.path().join("moi/identity/current/key.pem")).unwrap();
    let first = key();
    eventually("two renewals", || status(&place, &adapter)["certificate"]["renewals"].as_u64() >= Some(2));
    assert_ne!(key(), first);
    let outcome = hand_in(&place, &adapter, "ho-so-1");
    assert_eq!(outcome["state"], "admitted", "{outcome}");
    assert!(adapter.stop().success());
}

#[test]
fn a_running_adapter_takes_up_another_certificate_when_it_is_told_to_look() {
    let place = Place::new();
    let gateway = issuing_gateway(&place, 3600);
    let first = token(&place, &gateway, "phan-mem-moi", &["H57.101"]);
    place.lgsp(&["adapter", "join", &first, "--dir", "moi", "--listen-rest", "127.0.0.1:0"]).ok();
    let config = fs::read_to_string(place.path().join("moi/adapter.toml")).unwrap();
    place.write("moi/adapter.toml", &config.replace("[tls]\n", "[tls]\npoll_ms = 3600000\n"));
    let adapter = place.start("adapter", "moi/adapter.toml");
    let before = status(&place, &adapter)["certificate"]["sha256"].clone();
    let second = token(&place, &gateway, "phan-mem-moi", &[]);
    place.lgsp(&["adapter", "join", &second, "--dir", "moi"]).ok();
    assert_eq!(status(&place, &adapter)["certificate"]["sha256"], before, "it looks once an hour");
    adapter.hang_up();
    eventually("the new certificate is in force", || status(&place, &adapter)["certificate"]["sha256"] != before);
    let outcome = hand_in(&place, &adapter, "ho-so-1");
    assert_eq!(outcome["state"], "admitted", "{outcome}");
    assert!(adapter.stop().success());
}
