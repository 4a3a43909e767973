//! Two connectors meet their counterparts, which share no code with them: each a process of its own, over HTTPS, and a gateway and a desk behind
//! the connector. At the end it is the counterpart that says whether the connector is ready. All people here are invented.

use std::cell::OnceCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::gateway::{begin, record, submit};
use super::support::{LGSP, Place, Running, eventually};

/// The national side, killed when dropped.
struct There {
    child: Child,
    out: BufReader<ChildStdout>,
    ready: Value,
}

impl Drop for There {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl There {
    fn start(place: &Place, which: &str, more: &[&str]) -> Self {
        let words = ["rehearse", which, "--json", "--port", "0", "--dir", "there"];
        let mut command = Command::new(LGSP);
        let command = command.args(words).args(more).current_dir(place.path()).stdin(Stdio::null());
        let log = fs::File::create(place.log("there")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, out, ready: told["ready"].clone() }
    }

    fn fact(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.ready))
    }

    /// Asks the rehearsal itself, with a stock tool.
    fn own(&self, place: &Place, what: &str) -> String {
        let (url, ca) = (self.fact("url"), self.fact("ca"));
        place.shell(&format!("curl -sf --cacert {ca} {url}/_rehearsal/{what}")).ok()
    }

    fn behave(&self, place: &Place, script: &str) {
        self.own(place, &format!("behaviour -X PUT -d '{script}'"));
    }

    /// Ends it, and what it says of the connector: that, if anything, is its last word.
    fn verdict(mut self) -> (Option<i32>, Value) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.out.read_to_string(&mut said).unwrap();
        (code, serde_json::from_str::<Value>(said.lines().last().unwrap()).unwrap()["report"].clone())
    }
}

fn connector(place: &Place, gateway: &Running, system: &str, party: &str, section: &str) -> Running {
    place.lgsp(&["certs", "issue", "--ca", "ca", "--system", system, "--out", "pki"]).ok();
    let configuration = format!(
        "gateway = \"https://{}\"\nserver_name = \"gw.lgsp.hue.test\"\nparties = [\"{party}\"]\n\
         [tls]\ncertificate = \"pki/{system}.pem\"\nkey = \"pki/{system}.key\"\nbundle = \"ca/root.pem\"\n\
         [spool]\nfolder = \"spool\"\n[rest]\nlisten = \"127.0.0.1:0\"\ntoken = \"none\"\n[offline]\nenabled = false\n\
         [exchange]\nbackoff_first_ms = 20\nbackoff_limit_ms = 200\n{section}",
        gateway.at("bus"),
    );
    place.write("adapter.toml", &configuration);
    place.start("adapter", "adapter.toml")
}

/// A desk that asks about citizens, and counts what it asks.
struct Desk<'a> {
    place: &'a Place,
    asked: u64,
}

impl Desk<'_> {
    /// The reply, or the reason why there is none. While the gateway leaves a service alone that has failed too often, nothing is asked, and
    /// the desk comes again.
    fn ask(&mut self, service: &str, asked: &Value) -> Result<Value, String> {
        self.asked += 1;
        self.place.write("asked.json", &asked.to_string());
        let [purpose, procedure] = match service {
            "dan-cu-ho-gia-dinh" => ["xac-nhan-ho-gia-dinh", "1.001776"],
            _ => ["xac-nhan-danh-tinh", "1.001193"],
        };
        let words =
            ["query", "ask", service, "asked.json", "--profile", "desk.toml", "--json", "--intake-key", "ho-so-1"];
        let told = OnceCell::new();
        eventually("the service is asked", || {
            let ended = self.place.lgsp(&[&words[..], &["--purpose", purpose, "--procedure", procedure]].concat());
            !ended.err.contains("SERVICE_SUSPENDED") && told.set(ended).is_ok()
        });
        let ended = told.into_inner().unwrap();
        if ended.code == 0 { Ok(ended.json()["reply"].clone()) } else { Err(ended.err) }
    }

    fn answered(&mut self, service: &str, asked: &Value) -> Value {
        self.ask(service, asked).unwrap_or_else(|why| panic!("{service}: {why}"))
    }

    #[track_caller]
    fn refused(&mut self, service: &str, asked: &Value, reason: &str) {
        let told = self.ask(service, asked);
        assert!(told.as_ref().is_err_and(|why| why.contains(reason)), "{reason}: {told:?}");
    }
}

/// The three keys of a citizen.
fn keys(citizen: &Value) -> Value {
    let [number, name, born] = ["personal_number", "full_name", "date_of_birth"].map(|key| citizen[key].clone());
    json!({ "personal_number": number, "full_name": name, "date_of_birth": born })
}

fn with(asked: &Value, key: &str, value: impl Into<Value>) -> Value {
    let mut asked = asked.clone();
    asked[key] = value.into();
    asked
}

#[test]
fn the_population_connector_asks_each_question_once_whatever_comes_back_and_is_ready() {
    let (place, gateway) = begin();
    let there = There::start(&place, "population", &["--citizens", "2000", "--behave", "normal"]);
    let clerks = "[[clerk]]\nparty = \"H57.102\"\nactor = \"cb.thu\"\nstaff = \"CB-000123\"\nunit = \"DV-0456\"\n\
                  account = \"cb01.phuxuan\"\nphone = \"0234000000\"\n";
    place.write("clerks.toml", clerks);
    place.shell("chmod 600 clerks.toml").ok();
    let [url, path, ca] = ["url", "path", "ca"].map(|name| there.fact(name));
    let [client, user, key, secret] = ["client", "user", "api_key_file", "secret_file"].map(|name| there.fact(name));
    let section = format!(
        "[population]\nparty = \"G01\"\n[population.ministry]\nurl = \"{url}{path}\"\nbundle = \"{ca}\"\nclient = \"{client}\"\n\
         api_key_file = \"{key}\"\nuser = \"{user}\"\nsecret_file = \"{secret}\"\nclerks_file = \"clerks.toml\"\n"
    );
    let _adapter = connector(&place, &gateway, "dan-cu", "G01", &section);
    let served = || {
        let told = place.lgsp(&["query", "services", "--profile", "desk.toml", "--json"]).json();
        told["services"].as_array().unwrap().iter().filter(|one| one["connectors"] == json!(1)).count() == 4
    };
    eventually("the four services are served", served);

    let sample = place.lgsp(&["rehearse", "population", "--citizens", "2000", "--sample", "2000"]).ok();
    let citizens: Vec<Value> = sample.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |citizen: &Value, key: &str| citizen[key].as_str().unwrap_or_default().to_owned();
    let first = |is_meant: &dyn Fn(&Value) -> bool| citizens.iter().find(|one| is_meant(one)).unwrap().clone();
    let is_current = |one: &Value| one["state"] == "current";
    let mut desk = Desk { place: &place, asked: 0 };
    let look_up = "dan-cu-tra-cuu";

    // Typed as a clerk does, and told as it is registered; the tone of a syllable stands where either school puts it.
    let man = first(&|one| is_current(one) && text(one, "full_name").ends_with(" Thử Hoà"));
    let asked = keys(&man);
    let reply = desk.answered(look_up, &with(&asked, "full_name", text(&man, "full_name").to_lowercase()));
    assert_eq!([&reply["full_name"], &reply["sex"]], [&man["full_name"], &man["sex"]]);
    assert_eq!((&reply["date_of_birth"], &reply["residence"]["province_code"]), (&man["date_of_birth"], &json!("46")));
    let other_school = text(&man, "full_name").replace("Hoà", "Hòa");
    assert_eq!(desk.answered(look_up, &with(&asked, "full_name", other_school)), reply);
    // A name in pieces, as some registers have it; only the year of birth; the number of an old identity card.
    let in_pieces = first(&|one| is_current(one) && text(one, "full_name").contains("\u{309}"));
    desk.answered(look_up, &keys(&in_pieces));
    let old = first(&|one| is_current(one) && text(one, "date_of_birth").len() == 4);
    assert_eq!(desk.answered(look_up, &keys(&old))["date_of_birth"], old["date_of_birth"]);
    let carded = first(&|one| is_current(one) && one["old_number"].is_string());
    let by_card = desk.answered(look_up, &with(&keys(&carded), "personal_number", carded["old_number"].clone()));
    assert_eq!(by_card["full_name"], carded["full_name"]);

    let residence = reply["residence"]["commune_code"].clone();
    let claimed = with(&with(&asked, "sex", man["sex"].clone()), "residence_commune_code", residence);
    assert_eq!(desk.answered("dan-cu-doi-chieu", &claimed)["all_match"], true);
    let verdicts = desk.answered("dan-cu-doi-chieu", &with(&claimed, "residence_commune_code", "19999"));
    assert_eq!((&verdicts["sex"], &verdicts["residence_commune_code"]), (&json!("match"), &json!("mismatch")));
    assert_eq!(desk.answered("dan-cu-xac-nhan-so", &asked), json!({ "confirmed": true }));
    let another_day = with(&asked, "date_of_birth", "1901-01-01");
    assert_eq!(desk.answered("dan-cu-xac-nhan-so", &another_day), json!({ "confirmed": false }));

    // The first household has four, of whom the fifth citizen is none.
    let member = |one: &Value| json!({ "personal_number": one["personal_number"], "full_name": one["full_name"] });
    let home = json!([member(&citizens[0]), member(&citizens[1]), member(&citizens[2])]);
    let household = desk.answered("dan-cu-ho-gia-dinh", &with(&keys(&citizens[0]), "members", home));
    assert_eq!(household["confirmed"], true, "{household}");
    let mixed = json!([member(&citizens[4]), member(&citizens[3])]);
    let household = desk.answered("dan-cu-ho-gia-dinh", &with(&keys(&citizens[0]), "members", mixed));
    let each: Vec<_> = household["members"].as_array().unwrap().iter().map(|one| one["confirmed"].clone()).collect();
    assert_eq!((&household["confirmed"], &each[..]), (&json!(false), &[json!(false), json!(true)][..]));

    desk.refused(look_up, &another_day, "SUBJECT_MISMATCH");
    let nobody = format!("9{}", &text(&man, "personal_number")[1..]);
    desk.refused(look_up, &with(&asked, "personal_number", nobody), "SUBJECT_NOT_FOUND");
    desk.refused(look_up, &keys(&first(&|one| one["state"] == "locked")), "SUBJECT_LOCKED");
    desk.refused(look_up, &keys(&first(&|one| one["state"] == "deceased")), "SUBJECT_LOCKED");

    // Each behaviour in its turns, one question for each turn: `Some` is a reason, `None` an answer.
    let failed = Some("SERVICE_FAILED");
    for (script, turns) in [
        ("flaky:4,normal", &[failed, failed, failed, None][..]),
        ("wrong-schema:4,normal", &[failed, None, failed, failed]),
        ("duplicate:2,normal", &[failed, None]),
        ("clock-skew(10m):1,normal", &[failed]),
        ("slow(40x):1,slow(9000ms):1,normal", &[None, Some("QUERY_OUTCOME_UNKNOWN")]),
    ] {
        there.behave(&place, script);
        for (turn, reason) in turns.iter().enumerate() {
            match (desk.ask(look_up, &asked), reason) {
                (Ok(told), None) => assert_eq!(told, reply, "{script}, {turn}"),
                (Err(why), Some(reason)) => assert!(why.contains(reason), "{script}, {turn}: {why}"),
                (told, reason) => panic!("{script}, {turn}: {reason:?} is expected, and it was {told:?}"),
            }
        }
    }
    // While it is closed everybody hears that it is, asked or not.
    there.behave(&place, "maintenance:2,normal");
    let (before, mut closed) = (desk.asked, 0);
    let told = loop {
        match desk.ask(look_up, &asked) {
            Ok(told) => break told,
            Err(why) => assert!(why.contains("SERVICE_MAINTENANCE"), "{why}"),
        }
        closed += 1;
        assert!(closed < 500, "it never came back");
    };
    assert_eq!((told, desk.asked - before), (reply, closed + 1));
    let asked_there = desk.asked - closed + 2;

    let (code, report) = there.verdict();
    assert_eq!((&report["verdict"], code), (&json!("ready"), Some(0)), "{report:#}");
    // Two of the closed time's questions found out that it is closed; every other question came there, and came once.
    assert_eq!(
        (&report["requests"], &report["behaviours"]["maintenance"]),
        (&json!(asked_there), &json!(2)),
        "{report:#}"
    );
    let logs = ["adapter", "gateway", "there"].map(|node| fs::read_to_string(place.log(node)).unwrap()).concat();
    for private in ["personal_number", "full_name"].map(|key| text(&man, key)) {
        assert!(!(logs.clone() + &report.to_string()).contains(&private), "somebody is written down");
    }
}

#[test]
fn the_portal_connector_loses_nothing_and_says_nothing_wrong_and_is_ready() {
    let (place, gateway) = begin();
    // The first insert arrives twice, the session ends with the update that this leads to, and the line breaks under what follows.
    let script = "normal:1,duplicate:1,expired-session:2,flaky:4,normal";
    let there = There::start(&place, "portal", &["--behave", script]);
    place.write("portal.password", &format!("{}\n", there.fact("password")));
    place.shell("chmod 600 portal.password").ok();
    let [url, login, service, user, ca] = ["url", "login", "service", "user", "ca"].map(|name| there.fact(name));
    let section = format!(
        "[portal]\nservice_url = \"{url}{service}\"\nlogin_url = \"{url}{login}\"\nusername = \"{user}\"\n\
         password_file = \"portal.password\"\nbundle = \"{ca}\"\ndestination = \"G22\"\nunit = \"H57\"\nparties = [\"H57.CDV\"]\n\
         timeout_ms = 5000\n"
    );
    let adapter = connector(&place, &gateway, "cong-dich-vu", "H57.CDV", &section);
    let statuses = || {
        let told: Value = serde_json::from_str(&there.own(&place, "dossiers")).unwrap();
        let one =
            |one: &Value| format!("{} {}", one["MaHoSo"].as_str().unwrap(), one["TrangThaiHoSo"].as_str().unwrap());
        told.as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    let reconciled = |more: &[&str]| {
        let words = ["adapter", "portal", "reconcile", "--from", "2025-07-14", "--to", "2025-07-15", "--json"];
        place.lgsp(&[&words[..], &["--adapter", adapter.at("rest")], more].concat())
    };

    let receive = |key: &str| {
        let receipt = submit(&place, &["--summary", key, "--json"]).json();
        receipt["dossier_code"].as_str().unwrap().to_owned()
    };
    let mut codes = vec![receive("ho-so-1")];
    let scripted = || {
        let report: Value = serde_json::from_str(&there.own(&place, "report")).unwrap();
        report["behaviours"]["flaky"] == json!(4)
    };
    eventually("the script is played", scripted);
    codes.extend(["ho-so-2", "ho-so-3"].map(receive));
    record(&place, "authority.toml", &codes[0], "accepted", &[]).ok();
    record(&place, "authority.toml", &codes[0], "processing-started", &[]).ok();
    record(&place, "authority.toml", &codes[0], "resolved", &["--result", "Giấy khai sinh"]).ok();
    record(&place, "authority.toml", &codes[1], "accepted", &[]).ok();
    let expected =
        |last: &str| vec![format!("{} 9", codes[0]), format!("{} 2", codes[1]), format!("{} {last}", codes[2])];
    eventually("the portal has all of it", || statuses() == expected("1"));

    // It loses a dossier, as one that was restored from a backup has; the next event brings it back.
    there.own(&place, &format!("dossiers/{} -X DELETE", codes[2]));
    let missing = reconciled(&[]);
    assert!(missing.code == 1 && missing.out.contains("missing") && missing.out.contains(&codes[2]), "{missing:?}");
    record(&place, "authority.toml", &codes[2], "accepted", &[]).ok();
    eventually("what was lost is there again", || statuses() == expected("2"));
    let settled = || place.lgsp(&["adapter", "portal", "status", "--json", "--adapter", adapter.at("rest")]).json();
    eventually("nothing is on its way", || settled()["age_seconds"] == json!(0));
    let same = reconciled(&[]).json();
    assert_eq!((&same["differences"], &same["compared"]), (&json!([]), &json!(3)), "{same:#}");

    let (code, report) = there.verdict();
    assert_eq!((&report["verdict"], code), (&json!("ready"), Some(0)), "{report:#}");
}
