//! What needs no gateway: certificates, configurations, registry folders, routes; and a gateway that is not there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::support::{HUE, LGSP, Place};

#[test]
fn a_certificate_says_whose_it_is_for_how_long_and_its_digest() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue"]);
    let issued =
        place.lgsp(&["certs", "issue", "--ca", "ca", "--system", "so-nganh", "--days", "90", "--out", "pki"]).ok();
    let shown = place.lgsp(&["certs", "show", "pki/so-nganh.pem", "--json"]).json();
    assert_eq!(shown[0]["names"][0], "spiffe://lgsp.hue.test/system/so-nganh");
    assert_eq!(shown[0]["valid_now"], true);
    assert!(issued.contains(shown[0]["sha256"].as_str().unwrap()), "{issued}");

    let server = place.lgsp(&["certs", "show", "pki/gw.lgsp.hue.test.pem", "--lang", "vi"]).ok();
    for text in ["Định danh", "gw.lgsp.hue.test, 127.0.0.1", "đang có hiệu lực", "SHA-256"] {
        assert!(server.contains(text), "{text} in {server}");
    }
    for ca in ["ca/ca.pem", "ca/root.pem"] {
        let ca = place.lgsp(&["certs", "show", ca, "--json"]).json();
        assert_eq!((&ca[0]["is_ca"], &ca[0]["names"][0]), (&true.into(), &"spiffe://lgsp.hue.test".into()));
    }
}

#[test]
fn the_roots_key_goes_where_it_is_told_and_makes_further_issuing_cas() {
    let place = Place::new();
    let there = |file: &str| place.path().join(file).exists();
    place.lgsp(&["certs", "init", "ca", "--trust-domain", "lgsp.hue.test", "--root-to", "medium"]).ok();
    assert!(there("medium/root.key") && !there("ca/root/root.key") && there("ca/root.pem"));

    let said = place.lgsp(&["certs", "init", "ca", "--root", "medium"]).failed(2);
    assert!(said.contains("exists already"), "{said}");
    let said = place.lgsp(&["certs", "init", "ca-2030", "--root", "medium", "--lang", "vi"]).ok();
    assert!(said.contains("medium/root.key, hãy cất riêng"), "{said}");
    let root = |ca: &str| fs::read(place.path().join(ca).join("root.pem")).unwrap();
    assert_eq!(root("ca"), root("ca-2030"));

    let issued = place.lgsp(&["certs", "list", "--ca", "medium", "--json"]).json();
    assert_eq!(issued.as_array().unwrap().len(), 3, "two CAs, and the root itself: {issued}");
    for args in
        [&["ca-3"][..], &["ca-3", "--root", "medium", "--trust-domain", "x.test"], &["ca-3", "--root", "nowhere"]]
    {
        place.lgsp(&[&["certs", "init"], args].concat()).failed(2);
        assert!(!there("ca-3"), "{args:?}");
    }
}

#[test]
fn a_ca_that_was_begun_and_not_finished_says_how_to_go_on() {
    let place = Place::new();
    let init = ["certs", "init", "ca", "--trust-domain", "lgsp.hue.test"];
    let go_on = ["certs", "init", "ca", "--root", "ca/root"];
    let remove = |file: &str| fs::remove_file(place.path().join(file)).unwrap();
    place.lgsp(&init).ok();
    for file in ["ca/ca.pem", "ca/ca.key", "ca/root.pem"] {
        remove(file);
    }
    // Stopped after the root.
    let said = place.lgsp(&init).failed(2);
    assert!(said.contains("lgsp certs init ca --root ca/root"), "{said}");
    place.lgsp(&go_on).ok();
    // Stopped between the root's copy and the CA.
    remove("ca/ca.pem");
    remove("ca/ca.key");
    place.lgsp(&go_on).ok();
    // Stopped between a key and its certificate.
    remove("ca/ca.pem");
    for words in [&init, &go_on] {
        let said = place.lgsp(words).failed(2);
        assert!(said.contains("ca.key exists already") && said.contains("has signed nothing"), "{said}");
    }
    remove("ca/ca.key");
    place.lgsp(&go_on).ok();
    place.lgsp(&["certs", "issue", "--ca", "ca", "--system", "a", "--out", "pki"]).ok();
    // Another root's CA is in nobody's way by mistake.
    place.lgsp(&["certs", "init", "other", "--trust-domain", "lgsp.hue.test"]).ok();
    remove("ca/ca.pem");
    remove("ca/ca.key");
    let said = place.lgsp(&["certs", "init", "ca", "--root", "other/root"]).failed(2);
    assert!(said.contains("ca/root.pem exists already"), "{said}");
}

#[test]
fn what_a_ca_issued_is_listed_with_what_will_expire_and_what_was_revoked() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue"]);
    place.lgsp(&["certs", "issue", "--ca", "ca", "--system", "so-nganh", "--days", "20", "--out", "pki"]).ok();
    let list = |more: &[&str]| {
        let listed = place.lgsp(&[&["certs", "list", "--ca", "ca", "--json"], more].concat()).json();
        let entries = listed.as_array().unwrap().clone();
        entries.iter().map(|entry| (entry["names"][0].clone(), entry["state"].clone())).collect::<Vec<_>>()
    };
    let entry = |name: &str, state: &str| (name.into(), state.into());
    let gateway = "gw.lgsp.hue.test";
    let so_nganh = entry("spiffe://lgsp.hue.test/system/so-nganh", "in_force");
    let ends = list(&[]);
    let own = entry("spiffe://lgsp.hue.test", "in_force");
    assert_eq!(ends.len(), 5);
    assert_eq!(ends[3..], [own.clone(), own], "the CA itself, and last its root");
    let told = place.lgsp(&["certs", "list", "--ca", "ca"]).ok();
    assert_eq!(told.matches("CA spiffe://lgsp.hue.test").count(), 2, "{told}");
    assert_eq!(list(&[])[0], so_nganh, "what ends first is told first");
    assert_eq!(list(&["--expiring", "30d"]), [so_nganh]);
    assert_eq!(list(&["--expiring", "19"]), []);
    assert!(list(&[]).contains(&entry(gateway, "in_force")));

    let said = place.lgsp(&["certs", "revoke", "--ca", "ca", "pki/gw.lgsp.hue.test.pem"]).ok();
    assert!(said.contains("gw.lgsp.hue.test") && said.contains("ca/ca.crl"), "{said}");
    assert!(said.contains("[ca] dir leads to ca or once did") && said.contains("--key-sha256 "), "{said}");
    assert!(list(&[]).contains(&entry(gateway, "revoked")));
    assert!(!list(&["--expiring", "9999d"]).contains(&entry(gateway, "revoked")));
    let before = fs::read(place.path().join("ca/ca.crl")).unwrap();
    place.lgsp(&["certs", "crl", "--ca", "ca", "--days", "7"]).ok();
    assert_ne!(fs::read(place.path().join("ca/ca.crl")).unwrap(), before);

    let said = place.lgsp(&["certs", "revoke", "--ca", "ca", "ca/ca.pem"]).failed(2);
    assert!(said.contains("not issued by this CA"), "{said}");
    let said = place.lgsp(&["certs", "revoke", "--ca", "ca/root", "ca/ca.pem"]).ok();
    assert!(said.contains("into the folder that the gateway's [ca] dir leads to"), "{said}");
    assert!(place.path().join("ca/root/root.crl").exists());
    assert!(place.lgsp(&["certs", "list", "--ca", "pki"]).failed(2).contains("not the folder of a CA"));
    place.lgsp(&["certs", "list", "--ca", "ca", "--expiring", "soon"]).failed(2);
}

#[test]
fn keys_are_for_their_owner_only_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.certificates(&["mot-cua-hue"]);
    for key in ["ca/ca.key", "ca/root/root.key", "pki/mot-cua-hue.key"] {
        assert_eq!(fs::metadata(place.path().join(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }
    let before = fs::read(place.path().join("pki/mot-cua-hue.key")).unwrap();
    let said = place.lgsp(&["certs", "issue", "--ca", "ca", "--system", "mot-cua-hue", "--out", "pki"]).failed(2);
    assert!(said.contains("mot-cua-hue.pem exists already"), "{said}");
    // Nobody has the key of a second one, so there is none in the list.
    let listed = place.lgsp(&["certs", "list", "--ca", "ca"]).ok();
    assert_eq!(listed.matches("mot-cua-hue").count(), 1, "{listed}");
    assert!(place.lgsp(&["certs", "init", "ca", "--trust-domain", "x.test"]).failed(2).contains("exists already"));
    assert_eq!(fs::read(place.path().join("pki/mot-cua-hue.key")).unwrap(), before);
}

#[test]
fn a_certificate_is_for_a_system_or_a_server_and_not_for_both_or_none() {
    let place = Place::new();
    place.certificates(&[]);
    place.lgsp(&["certs", "issue", "--ca", "ca"]).failed(2);
    place.lgsp(&["certs", "issue", "--ca", "ca", "--system", "a", "--server", "b"]).failed(2);
    assert!(place.lgsp(&["certs", "issue", "--ca", "ca", "--server", "a b"]).failed(2).contains("\"a b\""));
    assert!(place.lgsp(&["certs", "show", "ca/ca.key"]).failed(2).contains("no PEM certificate"));
}

#[test]
fn a_configuration_with_five_mistakes_reports_five() {
    let place = Place::new();
    place.write(
        "gateway.toml",
        "name = \"Not A Domain\"\nlisten.bus = \"here\"\nlisten.colour = \"red\"\n\
         [tls]\ncertificate = \"a.pem\"\nclient_bundle = \"ca.pem\"\n\
         [store]\ndir = \"data\"\nnode_key = \"data/node.key\"\n[documents]\ndir = \"documents\"\n",
    );
    let said = place.lgsp(&["gateway", "--config", "gateway.toml", "--check"]).failed(2);
    for key in ["name ", "listen.bus ", "listen.colour ", "tls.key ", "store.node_key "] {
        assert!(said.lines().any(|line| line.trim_start().starts_with(key)), "{key} in {said}");
    }
    assert!(said.contains("5 problem(s)"), "{said}");
}

#[test]
fn an_adapters_configuration_with_four_mistakes_reports_four() {
    let place = Place::new();
    place.write(
        "adapter.toml",
        "gateway = \"http://gw\"\nparties = [\"H57.101\", \"H57.101\"]\n\
         [tls]\ncertificate = \"a.pem\"\nbundle = \"ca.pem\"\n[spool]\nfolder = \"spool\"\n[rest]\nlisten = \"0.0.0.0:1\"\n",
    );
    let said = place.lgsp(&["adapter", "--config", "adapter.toml"]).failed(2);
    for key in ["gateway: ", "parties: ", "tls.key: ", "rest.listen: "] {
        assert!(said.lines().any(|line| line.trim_start().starts_with(key)), "{key} in {said}");
    }
    assert!(said.contains("4 problem(s)"), "{said}");
}

#[test]
fn the_effective_configuration_is_printed_with_the_environment_in_it_and_reads_back() {
    let place = Place::new();
    place.configuration();
    let line = "LGSP_GATEWAY__LISTEN__BUS=0.0.0.0:7443 lgsp gateway --config gateway.toml --print-config";
    let printed = place.shell(line).ok();
    assert!(printed.contains("bus = \"0.0.0.0:7443\""), "{printed}");
    place.write("again.toml", &printed);
    assert_eq!(place.lgsp(&["gateway", "--config", "again.toml", "--print-config"]).ok(), printed);

    place.write(
        "adapter.toml",
        "gateway = \"https://gw:7443\"\nserver_name = \"gw.lgsp.hue.test\"\nparties = [\"H57.101\"]\n\
         [tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\nbundle = \"ca.pem\"\n[timings]\ncall_timeout_ms = 1234\n\
         [spool]\nfolder = \"spool\"\nkeep_outcomes_hours = 3\nmax_document_mib = 5\n\
         [rest]\nlisten = \"127.0.0.1:8481\"\ntoken_file = \"token\"\n\
         [webhook]\nurl = \"http://127.0.0.1:9000/a\"\nparties = { \"H57.101\" = \"http://127.0.0.1:9000/b\" }\n\
         [exchange]\ncredit = 7\n",
    );
    let line = "LGSP_ADAPTER__EXCHANGE__AT_ONCE=3 lgsp adapter --config adapter.toml --print-config";
    let printed = place.shell(line).ok();
    for given in
        ["call_timeout_ms = 1234", "keep_outcomes_hours = 3", "max_document_mib = 5", "credit = 7", "at_once = 3"]
    {
        assert!(printed.contains(given), "{given} in {printed}");
    }
    place.write("again.toml", &printed);
    assert_eq!(place.lgsp(&["adapter", "--config", "again.toml", "--print-config"]).ok(), printed);
}

#[test]
fn a_registry_folder_is_checked_offline_and_every_problem_has_its_place() {
    let place = Place::new();
    assert_eq!(place.lgsp(&["registry", "check", HUE]).ok(), format!("{HUE}: no problems\n"));

    let folder = place.path().join("broken");
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(HUE).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let (parties, systems) = (folder.join("parties.toml"), folder.join("systems.toml"));
    let text = fs::read_to_string(&parties).unwrap();
    let line = text.lines().position(|line| line.contains("id = \"H57.101\"")).unwrap() + 1;
    fs::write(&parties, text.replacen("id = \"H57.101\"", "id = \"x.y\"", 1)).unwrap();
    let text = fs::read_to_string(&systems).unwrap() + "\n[[system]]\nname = \"may\"\nacts_fro = [\"H57.101\"]\n";
    fs::write(&systems, text).unwrap();

    let words = ["registry", "check", folder.to_str().unwrap()];
    let ended = place.lgsp(&words);
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert!(ended.out.lines().any(|said| said.starts_with(&format!("parties.toml:{line} party["))), "{}", ended.out);
    assert!(ended.out.contains("systems.toml:") && ended.out.contains("acts_fro"), "{}", ended.out);
    let json = place.lgsp(&[&words[..], &["--json"]].concat());
    assert_eq!(json.code, 3);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(json["problems"].as_array().unwrap().len() >= 3, "{json}");
    let vi = place.lgsp(&[&words[..], &["--lang", "vi"]].concat());
    assert!(vi.out.trim_end().ends_with("lỗi"), "{}", vi.out);
}

#[test]
fn a_route_is_explained_offline_in_both_languages() {
    let place = Place::new();
    let words = ["dossier", "route", "--procedure", "1.001193", "--locality", "19753", "--registry", HUE];
    let words = [&words[..], &["--at", "2025-07-14"]].concat();
    let json = place.lgsp(&[&words[..], &["--json"]].concat()).json();
    assert_eq!((&json["competent_authority"], &json["rule"]), (&"H57.101".into(), &"cap-xa".into()));
    let en = place.lgsp(&words).ok();
    assert!(en.contains("Competent authority  H57.101 UBND phường Phú Xuân"), "{en}");
    let vi = place.shell(&format!("LC_ALL=vi_VN.UTF-8 lgsp {}", words.join(" "))).ok();
    assert!(vi.contains("Cơ quan có thẩm quyền  H57.101 UBND phường Phú Xuân"), "{vi}");
    // The rules that are for something else are counted, and shown when asked for.
    assert!(en.contains("--all") && !en.contains("is for other procedures"), "{en}");
    assert!(place.lgsp(&[&words[..], &["--all"]].concat()).ok().contains("is for other procedures"));
}

#[test]
fn a_missing_route_has_a_reason_and_an_exit_code() {
    let place = Place::new();
    let words = ["dossier", "route", "--procedure", "1.001193", "--locality", "00000", "--registry", HUE];
    let ended = place.lgsp(&[&words[..], &["--at", "2025-07-14"]].concat());
    assert_eq!(ended.code, 3, "{ended:#?}");
    assert!(ended.out.starts_with("No authority: UNIT_UNKNOWN"), "{}", ended.out);
}

#[test]
fn entries_of_a_registry_are_looked_up_in_the_words_of_its_files() {
    let place = Place::new();
    let shown = place.lgsp(&["registry", "show", "party", "H57.101", "--registry", HUE, "--json"]).json();
    assert_eq!((&shown[0]["kind"], &shown[0]["unit"]), (&"commune".into(), &"19753".into()));
    let systems = place.lgsp(&["registry", "show", "system", "--registry", HUE]).ok();
    assert!(systems.starts_with("name ") && systems.contains("mot-cua-hue"), "{systems}");
    // Whoever sees identifiers below H57 is told that they are illustrative.
    assert!(systems.contains("minh ho"), "{systems}");
    for kind in ["party", "procedure", "unit", "route", "grant", "system"] {
        let all = place.lgsp(&["registry", "show", kind, "--registry", HUE, "--json"]).json();
        assert!(all.as_array().unwrap().len() > 5, "{kind}");
    }
    let said = place.lgsp(&["registry", "show", "party", "H57.999", "--registry", HUE]).failed(2);
    assert!(said.contains("H57.999"), "{said}");
}

#[test]
fn without_an_answer_the_outcome_is_unknown_and_the_way_to_send_again_is_told() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue"]);
    // Bound and let go: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.profile("desk.toml", &nobody.to_string(), "mot-cua-hue", "H57.101");
    let words = ["dossier", "submit", "--procedure", "1.001193", "--locality", "19753", "--applicant", "Trần Thử"];
    let words = [&words[..], &["--received-at", "2025-07-14T09:00:00+07:00", "--profile", "desk.toml"]].concat();
    let said = place.lgsp(&words).failed(4);
    assert!(said.contains("--request-key cli-") && said.contains("--received-at 2025-07-14T09:00:00+07:00"), "{said}");
    // The same again has the same key, so that it is admitted once.
    assert_eq!(place.lgsp(&words).failed(4), said);
    assert!(!said.contains("Trần"), "{said}");
    let question = place.lgsp(&["dossier", "show", "H57.101-250714-0001", "--profile", "desk.toml"]).failed(4);
    assert!(!question.contains("--request-key"), "{question}");
}

#[test]
fn an_adapter_that_is_not_there_is_no_failure_of_ours() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = Place::new().lgsp(&["desk", "exceptions", "list", "--as", "H57.101", "--adapter", &nobody]).failed(4);
    assert!(said.contains(&nobody) && said.contains("--adapter"), "{said}");
}

#[test]
fn a_profile_that_lacks_something_says_all_of_it() {
    let place = Place::new();
    let said = place.lgsp(&["dossier", "list", "--gateway", "https://gw:7443"]).failed(2);
    for missing in ["--certificate", "--key", "--bundle", "--as", "--actor"] {
        assert!(said.contains(missing), "{missing} in {said}");
    }
    let vietnamese = |words: &[&str]| place.lgsp(&[&["--lang", "vi", "dossier", "list"], words].concat()).failed(2);
    let said = vietnamese(&["--gateway", "http://gw", "--actor", "Nguyễn Văn A"]);
    assert!(said.contains("gateway \"http://gw\" không bắt đầu bằng https://"), "{said}");
    assert!(said.contains("bundle còn thiếu: nêu bằng --bundle") && said.contains("khoảng trắng"), "{said}");
    assert!(!said.contains("missing") && said.lines().count() == 6, "{said}");
    // What is in the file, and in the files that it names.
    place.certificates(&["mot-cua-hue"]);
    place.write("broken.toml", "gatewey = \"https://gw:7443\"\n");
    let said = vietnamese(&["--profile", "broken.toml"]);
    assert!(said.contains("hồ sơ kết nối broken.toml không phải TOML hợp lệ hoặc có khoá lạ"), "{said}");
    place.profile("desk.toml", "127.0.0.1:1", "mot-cua-hue", "H57.101");
    fs::copy(place.path().join("ca/ca.key"), place.path().join("pki/mot-cua-hue.key")).unwrap();
    let said = vietnamese(&["--profile", "desk.toml"]);
    assert!(said.contains("không dùng được") && said.contains("khoá không thuộc chứng thư"), "{said}");
    let said = place.lgsp(&["dossier", "list", "--profile", "desk.toml"]).failed(2);
    assert!(said.contains("the key does not belong to the certificate"), "{said}");
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_to_look_at_in_the_language_asked_for() {
    let place = Place::new();
    place.certificates(&["mot-cua-hue"]);
    place.profile("desk.toml", "127.0.0.1:1", "mot-cua-hue", "H57.101");
    place.write("no-key.toml", &fs::read_to_string(place.path().join("desk.toml")).unwrap().replace(".key", ".none"));
    let missing = [
        (&["gateway", "--config", "nowhere.toml"][..], "nowhere.toml"),
        (&["adapter", "--config", "nowhere.toml", "--check"], "nowhere.toml"),
        (&["dossier", "list", "--profile", "nowhere.toml"], "nowhere.toml"),
        (&["dossier", "list", "--profile", "no-key.toml"], "pki/mot-cua-hue.none"),
        (&["dossier", "submit", "--file", "nowhere.json", "--profile", "desk.toml"], "nowhere.json"),
        (&["registry", "check", "nowhere"], "nowhere"),
        (&["certs", "show", "nowhere.pem"], "nowhere.pem"),
        (&["webhook", "list", "--adapter", "127.0.0.1:1", "--token-file", "nowhere.token"], "nowhere.token"),
    ];
    for (words, file) in missing {
        let said = place.lgsp(&[words, &["--lang", "vi"]].concat()).failed(2);
        assert!(said.contains(file) && said.contains("không có tệp hoặc thư mục này"), "{words:?}: {said}");
        assert!(!said.contains("os error"), "{words:?}: {said}");
        let said = place.lgsp(words).failed(2);
        assert!(
            said.contains(file) && said.contains("check the path") && !said.contains("os error"),
            "{words:?}: {said}"
        );
    }
    // What may be a damaged token is not repeated.
    let said = place.lgsp(&["adapter", "join", "nowhere.txt", "--dir", "new", "--lang", "vi"]).failed(2);
    assert!(said.contains("không có tệp hoặc thư mục này") && !said.contains("nowhere"), "{said}");
    let said = place.lgsp(&["certs", "show", "pki", "--lang", "vi"]).failed(2);
    assert!(said.contains("pki: là thư mục; nêu một tệp"), "{said}");
    let taken = ["certs", "token", "--system", "a", "--to", "desk.toml", "--profile", "desk.toml", "--lang", "vi"];
    assert!(place.lgsp(&taken).failed(2).contains("desk.toml: đã có; nêu tên khác"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let place = Place::new();
    let mut command = Command::new(LGSP);
    command.current_dir(place.path()).args(["registry", "show", "procedure", "--registry", HUE, "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "[\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let help = Place::new().lgsp(&["--help"]).ok();
    for code in 0..=5 {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {code}  "))), "{code} in {help}");
    }
}
