//! Tokens, lists and revocation, as an operator meets them.

use std::fs;

use crate::support::Place;

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
    operator(&["certs", "token", "--system", "xa-moi", "--valid", "soon"]).failed(2);
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
    assert_ne!(desk().code, 0);
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
