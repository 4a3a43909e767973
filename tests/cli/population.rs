//! A citizen stands at a desk and is confirmed: desk, gateway, the ministry's adapter, and a replica in a PostgreSQL of the test's own.
//! All people here are invented.

#[path = "../support/postgres.rs"]
mod postgres;

use serde_json::{Value, json};

use super::gateway::begin;
use super::support::{Place, Running, eventually};
use postgres::Postgres;

/// A replica, made by the script that the command line prints.
fn replica(place: &Place) -> Postgres {
    let postgres = Postgres::start();
    postgres.sql("CREATE ROLE lgsp_adapter LOGIN");
    let script = place.lgsp(&["adapter", "population", "schema"]).ok();
    postgres.sql(&script);
    assert!(place.lgsp(&["adapter", "population", "schema", "--schema", "dc"]).ok().contains("dc.citizen"));
    place.lgsp(&["adapter", "population", "schema", "--schema", "a b"]).failed(2);
    postgres.sql(
        "INSERT INTO dan_cu.citizen (number, full_name, date_of_birth, sex, religion, residence_province, residence_commune, father_name) \
         VALUES ('046088654321', 'Trần Văn Thử', '1988-05-05', 'male', '01', '46', '19774', 'Trần Văn Cha')",
    );
    postgres
}

fn connector(place: &Place, gateway: &Running, postgres: &Postgres) -> Running {
    place.lgsp(&["certs", "issue", "--ca", "ca", "--system", "dan-cu", "--out", "pki"]).ok();
    let configuration = format!(
        "gateway = \"https://{}\"\nserver_name = \"gw.lgsp.hue.test\"\nparties = [\"G01\"]\n\
         [tls]\ncertificate = \"pki/dan-cu.pem\"\nkey = \"pki/dan-cu.key\"\nbundle = \"ca/root.pem\"\n\
         [spool]\nfolder = \"spool\"\n[rest]\nlisten = \"127.0.0.1:0\"\ntoken = \"none\"\n[offline]\nenabled = false\n\
         [population]\nparty = \"G01\"\n\
         [population.replica]\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\n",
        gateway.at("bus"),
        postgres.socket(),
        postgres.port(),
    );
    place.write("dan-cu.toml", &configuration);
    place.start("adapter", "dan-cu.toml")
}

#[test]
fn a_desk_confirms_a_citizen_and_hears_what_is_granted_and_no_more() {
    let (place, gateway) = begin();
    let postgres = replica(&place);
    let adapter = connector(&place, &gateway, &postgres);
    let as_desk = |words: &[&str]| place.lgsp(&[&["query"], words, &["--profile", "desk.toml"]].concat());
    let served = || {
        let services = as_desk(&["services", "--json"]).json();
        services["services"].as_array().unwrap().iter().filter(|one| one["connectors"] == json!(1)).count() == 4
    };
    eventually("the four services are served", served);

    let matter = ["--procedure", "1.001193", "--intake-key", "ho-so-1"];
    let ask = |service: &str, asked: &Value, more: &[&str]| {
        place.write("asked.json", &asked.to_string());
        let words = ["ask", service, "asked.json", "--purpose", "xac-nhan-danh-tinh"];
        as_desk(&[&words[..], &matter[..], more].concat())
    };
    // As the clerk types it: another case, and the name's blanks.
    let man = json!({ "personal_number": "046088654321", "full_name": "TRẦN văn  thử", "date_of_birth": "1988-05-05" });
    let told = ask("dan-cu-tra-cuu", &man, &["--json"]).json();
    let expected = json!({
        "full_name": "Trần Văn Thử", "date_of_birth": "1988-05-05", "sex": "male",
        "residence": { "province_code": "46", "commune_code": "19774" },
    });
    assert_eq!((&told["reply"], &told["signature"]), (&expected, &json!("verified")));
    assert!(ask("dan-cu-tra-cuu", &man, &["--fields", "religion"]).failed(3).contains("GRANT_MISSING"));

    let mut claimed = man.clone();
    claimed["residence_commune_code"] = "19775".into();
    let verdicts = ask("dan-cu-doi-chieu", &claimed, &["--json"]).json();
    assert_eq!(verdicts["reply"]["all_match"], false);
    assert_eq!(verdicts["reply"]["residence_commune_code"], "mismatch");
    assert!(!verdicts.to_string().contains("19774"), "{verdicts}");
    assert_eq!(ask("dan-cu-xac-nhan-so", &man, &["--json"]).json()["reply"], json!({ "confirmed": true }));

    let mut wrong = man.clone();
    wrong["date_of_birth"] = "1988-05-06".into();
    assert!(ask("dan-cu-tra-cuu", &wrong, &[]).failed(3).contains("SUBJECT_MISMATCH"));
    wrong["personal_number"] = "046088654322".into();
    assert!(ask("dan-cu-tra-cuu", &wrong, &[]).failed(3).contains("SUBJECT_NOT_FOUND"));
    // Without a dossier nobody is asked.
    place.write("asked.json", &man.to_string());
    let idle = ["ask", "dan-cu-tra-cuu", "asked.json", "--purpose", "xac-nhan-danh-tinh", "--procedure", "1.001193"];
    as_desk(&idle).failed(3);
    let listed = as_desk(&["list", "--json"]).json();
    let outcomes: Vec<_> = listed["queries"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["SUBJECT_NOT_FOUND", "SUBJECT_MISMATCH", "ANSWERED", "ANSWERED", "ANSWERED"]);

    // Whoever fills a replica hears what comes first, be it the tables or the right to write them.
    let url =
        format!("host={} port={} user=lgsp_adapter dbname=postgres", postgres.socket().display(), postgres.port());
    for schema in ["nowhere", "dan_cu"] {
        let words = ["rehearse", "population", "--citizens", "10", "--postgres", &url, "--schema", schema];
        let said = place.lgsp(&words).failed(2);
        assert!(
            said.contains(&format!("{schema}.citizen")) && said.contains("lgsp adapter population schema"),
            "{said}"
        );
    }

    // It tells no portal, and says so, however its address is written.
    let [rest, secure] = ["http", "https"].map(|scheme| format!("{scheme}://{}", adapter.at("rest")));
    let asked = place.lgsp(&["adapter", "portal", "status", "--adapter", &rest]).failed(3);
    assert!(asked.contains("[portal]") && !asked.contains("/v1/"), "{asked}");
    assert!(place.lgsp(&["adapter", "portal", "status", "--adapter", &secure]).failed(2).contains("HOST:PORT"));

    // Neither side has written anybody down.
    for node in ["adapter", "gateway"] {
        let log = std::fs::read_to_string(place.log(node)).unwrap();
        for private in ["046088654321", "Thử", "thử", "1988-05-05"] {
            assert!(!log.contains(private), "{node}: {private}");
        }
    }
}
