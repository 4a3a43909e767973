//! Tokens, lists and revocation, as an operator meets them.

use std::fs;

use crate::support::{HUE, Place};

/// A gateway that certifies, and an operator's profile.
fn certifying(place: &Place) -> crate::support::Running {
    place.certificates(&["van-hanh", "mot-cua-hue"]);
    let text = fs::read_to_string(place.configuration()).unwrap();
    let text = text.replace("local = \"127.0.0.1:0\"", "local = \"127.0.0.1:0\"\nenrol = \"127.0.0.1:0\"");
    place.write("gateway.toml", &format!("{text}[ca]\ndir = \"ca\"\n"));
    let gateway = place.start("gateway", "gateway.toml");
    place.profile("operator.toml", gateway.at("bus"), "van-hanh", "H57.VH");
    place.profile("desk.toml", gateway.at("bus"), "mot-cua-hue", "H57.101");
    gateway
}

#[test]
fn an_operator_hands_out_a_token_sees_it_and_takes_it_back() {
    let place = Place::new();
    let gateway = certifying(&place);
    let operator = |words: &[&str]| place.lgsp(&[words, &["--profile", "operator.toml"]].concat());
    let words = ["certs", "token", "--system", "xa-moi", "--acts-for", "H57.110,H57.111", "--valid", "2h"];
    let told = operator(&[&words[..], &["--json"]].concat()).json();
    let (token, id) = (told["token"].as_str().unwrap(), told["token_id"].as_str().unwrap());
    assert!(token.starts_with("lgsp-join-1."), "{told}");
    assert_eq!(told["command"], "lgsp adapter join - --dir xa-moi");
    assert_eq!(told["registry_version"], 2);
    let listed = operator(&["certs", "list", "--json"]).json();
    assert_eq!((&listed["tokens"][0]["token_id"], &listed["tokens"][0]["system"]), (&id.into(), &"xa-moi".into()));
    let text = operator(&["certs", "list"]).ok();
    assert!(text.contains(id) && text.contains("Open join token") && text.contains("(gateway)"), "{text}");
    assert!(operator(&["--lang", "vi", "certs", "list"]).ok().contains("Mã tham gia còn mở"));
    // In words, the token stands on a line of its own, and nowhere else.
    let text = operator(&["certs", "token", "--system", "xa-moi"]).ok();
    assert_eq!(text.matches("lgsp-join-1.").count(), 1, "{text}");
    assert!(text.lines().any(|line| line.starts_with("lgsp-join-1.")), "{text}");
    assert!(!fs::read_to_string(place.log("gateway")).unwrap().contains("lgsp-join-1."));

    assert!(operator(&["certs", "withdraw", id]).ok().starts_with("Withdrawn at"));
    assert!(operator(&["certs", "withdraw", id]).ok().starts_with("It had been withdrawn before"));
    let unknown = operator(&["certs", "withdraw", &"0".repeat(32)]).failed(3);
    assert!(unknown.contains("TOKEN_NOT_FOUND"), "{unknown}");
    let refused = place.lgsp(&["certs", "token", "--system", "mot-cua-hue", "--profile", "desk.toml"]).failed(3);
    assert!(refused.contains("GRANT_MISSING") && refused.contains("certify"), "{refused}");
    operator(&["certs", "withdraw", "5f0c"]).failed(2);
    // As much of the beginning as is typed means an open one, and one only.
    let listed = operator(&["certs", "list", "--json"]).json();
    let other = listed["tokens"][0]["token_id"].as_str().unwrap();
    let none = operator(&["certs", "withdraw", &id[..8]]).failed(2);
    assert!(none.contains("No open join token begins with") && other != id, "{none}");
    assert!(operator(&["certs", "withdraw", &other[..9].to_uppercase()]).ok().starts_with("Withdrawn at"));
    assert_eq!(operator(&["certs", "list", "--json"]).json()["tokens"], serde_json::json!([]));
    operator(&["certs", "token", "--system", "xa-moi", "--valid", "soon"]).failed(2);
    // A party that is none is the command's fault, and not the registry's.
    let wrong = ["certs", "token", "--system", "xa-kia", "--acts-for", "H57.110,H57.999,H58.*"];
    let said = operator(&wrong).failed(3);
    assert!(said.starts_with("Refused: PARTY_UNKNOWN"), "{said}");
    assert!(said.contains("acts_for[1]: H57.999") && said.contains("acts_for[2]: H58.*"), "{said}");
    let said = operator(&[&wrong[..], &["--lang", "vi"]].concat()).failed(3);
    assert!(
        said.contains("acts_for[1]: H57.999 không ứng với cơ quan nào") && !said.contains("systems.toml"),
        "{said}"
    );
    operator(&["registry", "show", "party"]).ok();
    gateway.stop();
}

#[test]
fn a_gateway_whose_certificate_comes_from_elsewhere_is_not_taken_for_one_that_does_not_answer() {
    let place = Place::new();
    let gateway = certifying(&place);
    place.lgsp(&["certs", "init", "ca-b", "--trust-domain", "lgsp.hue.test"]).ok();
    let text = fs::read_to_string(place.path().join("desk.toml")).unwrap();
    place.write("strange.toml", &text.replace("ca/root.pem", "ca-b/root.pem"));
    let said = place.lgsp(&["dossier", "list", "--profile", "strange.toml"]).failed(4);
    assert!(said.contains("comes from no CA of the bundle") && !said.contains("try again"), "{said}");
    place.write("renamed.toml", &text.replace("gw.lgsp.hue.test", "other.hue.test"));
    let said = place.lgsp(&["dossier", "list", "--profile", "renamed.toml", "--lang", "vi"]).failed(4);
    assert!(said.contains("chứng thư của cổng mang tên khác"), "{said}");
    // And one of a CA that the gateway does not know.
    place.lgsp(&["certs", "issue", "--ca", "ca-b", "--system", "mot-cua-hue", "--out", "pki-b"]).ok();
    place.write("stranger.toml", &text.replace("pki/", "pki-b/"));
    let said = place.lgsp(&["dossier", "list", "--profile", "stranger.toml"]).failed(3);
    assert!(said.contains("does not accept the profile's certificate"), "{said}");
    gateway.stop();
}

#[test]
fn a_system_is_put_out_of_force_and_the_list_says_so() {
    let place = Place::new();
    let gateway = certifying(&place);
    let operator = |words: &[&str]| place.lgsp(&[words, &["--profile", "operator.toml"]].concat());
    let desk = || place.lgsp(&["dossier", "list", "--profile", "desk.toml"]);
    desk().ok();
    let key = place.lgsp(&["certs", "show", "pki/mot-cua-hue.pem", "--json"]).json()[0]["key_sha256"].clone();
    let words = ["certs", "revoke", "--key-sha256", key.as_str().unwrap(), "--ground", "KEY_STOLEN"];
    assert!(operator(&words).ok().contains("The key is good in no certificate any more"));
    assert!(operator(&words).ok().contains("It had been revoked before"));
    // A certificate that is out of force is no fault of the network, and asking again does not help.
    let said = desk().failed(3);
    assert!(said.contains("because of a certificate") && said.contains("was revoked"), "{said}");
    let said = place.lgsp(&["dossier", "list", "--profile", "desk.toml", "--lang", "vi"]).failed(3);
    assert!(said.contains("vì chứng thư") && said.contains("đã bị thu hồi"), "{said}");
    let unknown = operator(&["certs", "revoke", "--system", "xa-moi", "--ground", "X"]).failed(3);
    assert!(unknown.contains("CERTIFICATE_NOT_FOUND"), "{unknown}");
    // On the books stand the gateway's own, which is of no system, and those who have called: not the one put out of force.
    let expiring = operator(&["certs", "list", "--expiring", "400d", "--json"]).json();
    let of = |entry: &serde_json::Value| entry["system"].as_str().map(str::to_owned);
    let mut systems: Vec<_> = expiring["certificates"].as_array().unwrap().iter().map(of).collect();
    systems.sort();
    assert_eq!(systems, [None, Some("van-hanh".to_owned())], "{expiring}");
    assert!(operator(&["certs", "list", "--expiring", "1d"]).ok().contains("no such certificate"));
    operator(&["certs", "revoke", "--ground", "X"]).failed(2);
    // A file is of a CA's folder; beside anything else it would be passed over without a word.
    for words in [
        &["certs", "revoke", "pki/van-hanh.pem", "--system", "xa-moi", "--ground", "X"][..],
        &["certs", "revoke", "pki/van-hanh.pem", "--ground", "X"],
        &["certs", "revoke", "pki/van-hanh.pem"],
    ] {
        assert!(operator(words).failed(2).contains("FILE"), "{words:?}");
    }
    operator(&["certs", "list"]).ok();
    operator(&["certs", "revoke", "--system", "a", "--key-sha256", &"0".repeat(64), "--ground", "X"]).failed(2);
    // The last who may keep the bus in order is asked whether he means himself.
    let himself = ["certs", "revoke", "--system", "van-hanh", "--ground", "X"];
    let asked = operator(&himself).failed(3);
    assert!(
        asked.contains("REVOCATION_LOCKS_OUT") && asked.contains("nobody_could: registry,operate,certify"),
        "{asked}"
    );
    assert!(asked.contains("--despite-lockout"), "{asked}");
    operator(&["certs", "list"]).ok();
    // Nobody is left to be told how it went: the answer may be lost with the connection.
    let _ = operator(&[&himself[..], &["--despite-lockout"]].concat());
    assert_ne!(operator(&["certs", "list"]).code, 0);
    place.lgsp(&["certs", "revoke", "--ca", "ca"]).failed(2);
    place.lgsp(&["certs", "revoke", "--ca", "ca", "pki/gw.lgsp.hue.test.pem"]).ok();
    assert!(place.lgsp(&["certs", "list", "--ca", "ca"]).ok().contains("REVOKED"));
    gateway.stop();
}

#[test]
fn the_certificate_of_a_profile_is_renewed_over_itself_with_another_key() {
    let place = Place::new();
    let gateway = certifying(&place);
    let operator = |words: &[&str]| place.lgsp(&[words, &["--profile", "operator.toml"]].concat());
    let digest = || place.lgsp(&["certs", "show", "pki/van-hanh.pem", "--json"]).json()[0].clone();
    let files = ["pki/van-hanh.pem", "pki/van-hanh.key"].map(|file| place.path().join(file));
    let first = digest();
    for pass in 1..=2 {
        let before = digest();
        let key = fs::read_to_string(&files[1]).unwrap();
        let renewed = operator(&["certs", "renew", "--json"]).json();
        assert_eq!(renewed["system"], "van-hanh");
        assert_eq!(digest()["not_after"], renewed["not_after"], "what the profile names is the new one");
        assert_ne!(before["key_sha256"], digest()["key_sha256"]);
        operator(&["certs", "list"]).ok();
        // Those from before are there, as a pair.
        let folder = place.path().join("pki/van-hanh.identity");
        let sets = fs::read_dir(&folder)
            .unwrap()
            .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("key.pem")).ok());
        let keys: Vec<_> = sets.collect();
        assert!(keys.contains(&key), "pass {pass}");
        assert!(!String::from_utf8_lossy(&fs::read(place.log("gateway")).unwrap()).contains("PRIVATE"));
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&files[1]).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let listed = operator(&["certs", "list", "--system", "van-hanh", "--all", "--json"]).json();
    let digests: Vec<_> = listed["certificates"].as_array().unwrap().iter().map(|one| &one["sha256"]).collect();
    assert!(digests.len() == 3 && digests.contains(&&first["sha256"]), "{listed}");
    assert!(operator(&["certs", "renew"]).ok().contains("Renewed, with a new key"));
    gateway.stop();
}

#[test]
fn whoever_is_killed_while_renewing_has_a_pair_that_is_good_and_renews_again() {
    let place = Place::new();
    let gateway = certifying(&place);
    let operator = |words: &[&str]| place.lgsp(&[words, &["--profile", "operator.toml"]].concat());
    let is_linked = || place.path().join("pki/van-hanh.pem").is_symlink();
    // The first set is of the present files; from the fourth on, the files are links, and the set is the new one.
    let steps = [("identity.file:2", false), ("identity.force", false), ("identity.folder", false)];
    let linked = ["identity.file:5", "identity.file:2", "identity.force", "identity.folder"].map(|step| (step, true));
    for (step, linked) in steps.into_iter().chain(linked) {
        let renew = format!("LGSP_FAULT_AT={step} lgsp certs renew --profile operator.toml");
        assert_ne!(place.shell(&renew).code, 0, "{step}");
        assert_eq!(is_linked(), linked, "{step}");
        operator(&["certs", "list"]).ok();
    }
    operator(&["certs", "renew"]).ok();
    operator(&["certs", "list"]).ok();
    let sets = fs::read_dir(place.path().join("pki/van-hanh.identity")).unwrap();
    let sets = sets.filter(|entry| entry.as_ref().unwrap().path().join("key.pem").exists());
    assert_eq!(sets.count(), 3, "the present, by its name and by the link, and the last");
    gateway.stop();
}

#[test]
fn a_certificate_that_the_bus_did_not_issue_is_not_renewed_and_stays_as_it_is() {
    let place = Place::new();
    let gateway = certifying(&place);
    gateway.stop();
    // The department has a CA of its own, whose certificates the bus takes and binds to a system of its registry.
    place.lgsp(&["certs", "init", "so-ca", "--trust-domain", "so.hue.test"]).ok();
    place.lgsp(&["certs", "issue", "--ca", "so-ca", "--system", "van-hanh-so", "--out", "pki"]).ok();
    place.shell(&format!("cp -r {HUE} registry")).ok();
    let systems = fs::read_to_string(place.path().join("registry/systems.toml")).unwrap();
    let bound = "name = \"van-hanh\"\nspiffe_ids = [\"spiffe://so.hue.test/system/van-hanh-so\"]";
    place.write("registry/systems.toml", &systems.replace("name = \"van-hanh\"", bound));
    let text = fs::read_to_string(place.path().join("gateway.toml")).unwrap();
    let trust = "[[tls.trust]]\nname = \"so\"\nbundle = \"so-ca/root.pem\"\ntrust_domain = \"so.hue.test\"\nsystems = [\"*\"]\n";
    let text = text.replace(&format!("{HUE:?}"), "\"registry\"").replace("dir = \"data\"", "dir = \"data-2\"");
    place.write("gateway.toml", &format!("{text}{trust}"));
    let gateway = place.start("gateway", "gateway.toml");
    place.profile("so.toml", gateway.at("bus"), "van-hanh-so", "H57.VH");
    place.profile("operator.toml", gateway.at("bus"), "van-hanh", "H57.VH");
    place.lgsp(&["certs", "list", "--profile", "so.toml"]).ok();
    let read = |file: &str| fs::read(place.path().join(file)).unwrap();
    let before = (read("pki/van-hanh-so.pem"), read("pki/van-hanh-so.key"));
    let said = place.lgsp(&["certs", "renew", "--profile", "so.toml"]).failed(2);
    assert!(said.contains("not of the bus's CA") && said.contains("nothing was changed"), "{said}");
    let said = place.lgsp(&["--lang", "vi", "certs", "renew", "--profile", "so.toml"]).failed(2);
    assert!(said.contains("không do CA của trục cấp"), "{said}");
    assert_eq!((read("pki/van-hanh-so.pem"), read("pki/van-hanh-so.key")), before);
    // Somebody else's link is left to him, and nothing is asked for.
    let pki = place.path().join("pki");
    fs::rename(pki.join("van-hanh.pem"), pki.join("secret.pem")).unwrap();
    std::os::unix::fs::symlink("secret.pem", pki.join("van-hanh.pem")).unwrap();
    let said = place.lgsp(&["certs", "renew", "--profile", "operator.toml"]).failed(2);
    assert!(said.contains("pki/van-hanh.pem") && said.contains("something else"), "{said}");
    gateway.stop();
    // A gateway that issues none says so, with what to do.
    place.configuration();
    let gateway = place.start("gateway", "gateway.toml");
    fs::remove_file(pki.join("van-hanh.pem")).unwrap();
    fs::rename(pki.join("secret.pem"), pki.join("van-hanh.pem")).unwrap();
    place.profile("operator.toml", gateway.at("bus"), "van-hanh", "H57.VH");
    let said = place.lgsp(&["certs", "renew", "--profile", "operator.toml"]).failed(3);
    assert!(said.contains("CA_NOT_CONFIGURED") && said.contains("[ca] dir"), "{said}");
    assert!(!pki.join("van-hanh.identity").exists());
    gateway.stop();
}

#[test]
fn a_plan_warns_of_a_system_that_goes_before_its_certificate() {
    let place = Place::new();
    let gateway = certifying(&place);
    let operator = |words: &[&str]| place.lgsp(&[words, &["--profile", "operator.toml"]].concat());
    operator(&["registry", "read", "--out", "next"]).ok();
    let systems = fs::read_to_string(place.path().join("next/systems.toml")).unwrap();
    place.write("next/systems.toml", &systems.replace("name = \"mot-cua-hue\"", "name = \"mot-cua-khac\""));
    // Nobody has seen a certificate of it yet.
    let plan = operator(&["registry", "plan", "next"]).ok();
    assert!(plan.contains("- removed") && !plan.contains("WARNING"), "{plan}");
    place.lgsp(&["dossier", "list", "--profile", "desk.toml"]).ok();
    let plan = operator(&["registry", "plan", "next"]).ok();
    let warnings: Vec<_> = plan.lines().filter(|line| line.starts_with("WARNING")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("system mot-cua-hue goes while its certificate"), "{plan}");
    let told = &operator(&["registry", "plan", "next", "--json"]).json()["still_certified"][0];
    let until = place.lgsp(&["certs", "show", "pki/mot-cua-hue.pem", "--json"]).json()[0]["not_after"].clone();
    let seconds = |time: &serde_json::Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!((&told["system"], seconds(&told["not_after"])), (&"mot-cua-hue".into(), seconds(&until)));
    // Out of force, there is nothing left to warn of.
    operator(&["certs", "revoke", "--system", "mot-cua-hue", "--ground", "GONE"]).ok();
    assert!(!operator(&["registry", "plan", "next", "--lang", "vi"]).ok().contains("CẢNH BÁO"));
    gateway.stop();
}
