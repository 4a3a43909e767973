//! Agencies that write and read rows of their own PostgreSQL, and nothing else: a dossier's whole life through tables, each adapter
//! killed after each of its steps and the database as well; and a request and a delivery with the adapter dying between any two of
//! their steps. The effect is had once.

use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::place::{Adapter, Place};
use crate::postgres::Postgres;
use crate::until;

const FORM: &[u8] = b"%PDF-1.7 the form, synthetic";
const LEASE: &[u8] = b"%PDF-1.7 what was missing, synthetic";
const NOTICE: &[u8] = b"%PDF-1.7 the result, synthetic";

/// An agency's software, which sees its tables only, and the adapter on the other side. It marks as handled what it has read, so the
/// next of a dossier comes.
struct Agency<'a> {
    place: &'a Place,
    system: &'static str,
    party: &'static str,
    schema: &'static str,
    gateway: SocketAddr,
    adapter: Option<Adapter>,
}

impl<'a> Agency<'a> {
    /// An adapter that finds no tables at first, and goes on when somebody has installed them.
    async fn open(
        place: &'a Place,
        [system, party, schema]: [&'static str; 3],
        gateway: SocketAddr,
        postgres: &Postgres,
    ) -> Self {
        let mut agency = Self { place, system, party, schema, gateway, adapter: None };
        agency.start(postgres, None).await;
        if system == "cong-an" {
            // As somebody would who reads it first.
            postgres.sql(&place.ask_text(&["adapter", "tables", "schema", "--schema", schema]).await);
        }
        let config = format!("{system}.toml");
        let installed = ["adapter", "tables", "install", "--config", &config, "--as", "postgres"];
        let stranger = ["adapter", "tables", "install", "--config", &config, "--as", "nobody_here", "--lang", "vi"];
        let said = place.failed(&stranger).await;
        assert!(said.contains("TABLES_LOGIN_REFUSED") && said.contains("từ chối đăng nhập"), "{said}");
        for _ in 0..2 {
            assert!(place.ask_text(&installed).await.contains(schema), "once more changes nothing");
        }
        agency
    }

    async fn start(&mut self, postgres: &Postgres, fault: Option<&str>) {
        let started =
            self.place.adapter_by_tables(self.system, self.party, self.gateway, postgres, self.schema, fault).await;
        self.adapter = Some(started);
    }

    /// SIGKILL, wherever it is, and started again.
    async fn killed(&mut self, postgres: &Postgres) {
        self.adapter.take().unwrap().kill().await;
        self.start(postgres, None).await;
    }

    /// Waits until it has died of its fault, and starts it again.
    async fn died(&mut self, postgres: &Postgres) {
        self.adapter.take().unwrap().died().await;
        self.start(postgres, None).await;
    }

    /// Started again with a fault to come.
    async fn armed(&mut self, postgres: &Postgres, fault: &str) {
        self.adapter.take().unwrap().stop().await;
        self.start(postgres, Some(fault)).await;
    }

    /// Puts a request there, as docs/tables.md says: all of it in one transaction.
    fn put(&self, postgres: &Postgres, key: &str, code: Option<&str>, body: &Value, file: Option<(&str, &[u8])>) {
        let Self { party, schema, .. } = self;
        let (kind, code) = code.map_or(("submission", "NULL".to_owned()), |code| ("event", format!("'{code}'")));
        let document = file.map(|(name, content)| {
            let content = HEXLOWER.encode(content);
            format!(
                "INSERT INTO {schema}.outbox_document (party, request_key, name, content) \
                 VALUES ('{party}', '{key}', '{name}', '\\x{content}');"
            )
        });
        postgres.sql(&format!(
            "INSERT INTO {schema}.outbox (party, request_key, actor, kind, dossier_code, body) \
             VALUES ('{party}', '{key}', 'clerk-1', '{kind}', {code}, $json${body}$json$); {}",
            document.unwrap_or_default()
        ));
    }

    fn say(&self, postgres: &Postgres, key: &str, code: &str, at: &str, event: &Value, file: Option<(&str, &[u8])>) {
        let mut event = event.clone();
        event["occurred_at"] = at.into();
        self.put(postgres, key, Some(code), &event, file);
    }

    /// The last answer to a request.
    async fn admitted(&self, postgres: &Postgres, key: &str) -> Value {
        let schema = self.schema;
        let answer = until("an answer", async || {
            let row = format!(
                "SELECT result FROM {schema}.outbox WHERE request_key = '{key}' AND state IN ('admitted', 'refused')"
            );
            Some(postgres.sql(&row)).filter(|result| !result.is_empty())
        })
        .await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["state"], "admitted", "{answer}");
        answer
    }

    /// Waits for the delivery of an event, and for those before it; gives it, and the documents beside it by digest.
    async fn event(&self, postgres: &Postgres, code: &str, sequence: u32) -> (Value, Vec<String>) {
        let schema = self.schema;
        let body = until("a delivery", async || {
            let row =
                format!("SELECT body FROM {schema}.inbox WHERE dossier_code = '{code}' AND sequence = {sequence}");
            let body = Some(postgres.sql(&row)).filter(|body| !body.is_empty());
            postgres.sql(&format!(
                "UPDATE {schema}.inbox SET handled_at = now() WHERE handled_at IS NULL AND dossier_code = '{code}' \
                 AND sequence <= {sequence}"
            ));
            body
        })
        .await;
        let files = postgres.sql(&format!(
            "SELECT sha256 FROM {schema}.inbox_document JOIN {schema}.inbox USING (delivery_id) \
             WHERE dossier_code = '{code}' AND sequence = {sequence} AND encode(sha256(content), 'hex') = sha256"
        ));
        (serde_json::from_str(&body).unwrap(), files.lines().map(str::to_owned).collect())
    }

    /// The events of a dossier that lie in the inbox, in the order in which they came.
    fn inbox(&self, postgres: &Postgres, code: &str) -> Vec<String> {
        let rows = postgres.sql(&format!(
            "SELECT sequence FROM {}.inbox WHERE dossier_code = '{code}' AND sequence IS NOT NULL ORDER BY number",
            self.schema
        ));
        rows.lines().map(str::to_owned).collect()
    }

    /// Waits until nothing is under way, and stops.
    async fn stop(mut self) {
        let adapter = self.adapter.take().unwrap();
        adapter.settled().await;
        adapter.stop().await;
    }
}

const BINH: [&str; 3] = ["mot-cua-binh", "H99.102", "binh"];
const POLICE: [&str; 3] = ["cong-an", "H99.CA.101", "cong_an"];
const CENTRE: [&str; 3] = ["mot-cua", "H99.TT", "mot_cua"];

#[tokio::test(flavor = "multi_thread")]
async fn a_dossiers_whole_life_goes_by_rows_with_each_adapter_and_the_database_killed_after_each_step() {
    let place = Place::new();
    let mut postgres = Postgres::start();
    postgres.sql("CREATE ROLE lgsp_adapter LOGIN");
    let gateway = place.gateway().await;
    let mut desk = Agency::open(&place, BINH, gateway.bus, &postgres).await;
    let mut authority = Agency::open(&place, POLICE, gateway.bus, &postgres).await;
    let mut centre = Agency::open(&place, CENTRE, gateway.bus, &postgres).await;

    desk.put(&postgres, "residence-1", None, &submission(), Some(("to-khai.pdf", FORM)));
    desk.killed(&postgres).await;
    let admitted = desk.admitted(&postgres, "residence-1").await;
    let code = admitted["dossier_code"].as_str().unwrap().to_owned();
    assert_eq!(admitted["receipt"]["competent_authority"], "H99.CA.101");
    let (first, files) = authority.event(&postgres, &code, 1).await;
    assert_eq!(files, [first["body"]["components"][0]["document"]["sha256"].as_str().unwrap()]);

    let at = "2025-07-14T10:00:00+07:00";
    gateway.set_clock(at).await;
    authority.say(&postgres, "accept", &code, at, &json!({ "type": "accepted" }), None);
    postgres.kill();
    authority.killed(&postgres).await;
    postgres.start_again();
    authority.admitted(&postgres, "accept").await;
    assert_eq!(desk.event(&postgres, &code, 2).await.0["dossier"]["status"], "accepted");

    let at = "2025-07-16T09:00:00+07:00";
    gateway.set_clock(at).await;
    let missing = json!({
        "type": "supplement_requested", "reason": "Thiếu hợp đồng thuê nhà (giả lập)", "items": ["Hợp đồng thuê nhà"],
        "until": "2025-07-31T17:00:00+07:00",
    });
    authority.say(&postgres, "missing", &code, at, &missing, None);
    desk.killed(&postgres).await;
    assert_eq!(desk.event(&postgres, &code, 3).await.0["body"]["items"], json!(["Hợp đồng thuê nhà"]));

    let at = "2025-07-18T09:00:00+07:00";
    gateway.set_clock(at).await;
    let components = json!([{ "name": "Hợp đồng thuê nhà", "document": { "file": "hop-dong.pdf" }, "copies": 1 }]);
    let brought = json!({ "type": "supplement_provided", "components": components });
    desk.say(&postgres, "brought", &code, at, &brought, Some(("hop-dong.pdf", LEASE)));
    postgres.kill();
    postgres.start_again();
    desk.admitted(&postgres, "brought").await;
    authority.event(&postgres, &code, 4).await;

    let at = "2025-07-22T15:00:00+07:00";
    gateway.set_clock(at).await;
    let results = json!([{ "name": "Thông báo", "document": { "file": "thong-bao.pdf" } }]);
    let decided = json!({ "type": "resolved", "results": results });
    authority.say(&postgres, "decided", &code, at, &decided, Some(("thong-bao.pdf", NOTICE)));
    centre.killed(&postgres).await;
    for sequence in 1..=4 {
        centre.event(&postgres, &code, sequence).await;
    }
    let (resolved, files) = centre.event(&postgres, &code, 5).await;
    assert_eq!(files, [resolved["body"]["results"][0]["document"]["sha256"].as_str().unwrap()]);

    let at = "2025-07-24T08:30:00+07:00";
    gateway.set_clock(at).await;
    centre.say(&postgres, "returned", &code, at, &json!({ "type": "returned", "channel": "direct" }), None);
    centre.admitted(&postgres, "returned").await;
    desk.event(&postgres, &code, 5).await;
    assert_eq!(desk.event(&postgres, &code, 6).await.0["dossier"]["status"], "returned");
    authority.event(&postgres, &code, 6).await;

    // What a party did itself it was answered, what others did was delivered, each once.
    let told = [(&desk, "2 3 5 6"), (&authority, "1 4 6"), (&centre, "1 2 3 4 5")];
    for (agency, theirs) in told {
        assert_eq!(agency.inbox(&postgres, &code).join(" "), theirs, "as told to {}", agency.party);
    }
    assert_eq!((gateway.figure("dossiers").await, gateway.figure("events").await), (1, 6));
    for agency in [desk, authority, centre] {
        agency.stop().await;
    }
    gateway.stop().await;
    place.fsck().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_dies_between_any_two_steps_of_a_row_has_its_effect_once_and_answers_it() {
    let place = Place::new();
    let postgres = Postgres::start();
    postgres.sql("CREATE ROLE lgsp_adapter LOGIN");
    let gateway = place.gateway().await;
    let mut desk = Agency::open(&place, BINH, gateway.bus, &postgres).await;
    let mut authority = Agency::open(&place, POLICE, gateway.bus, &postgres).await;
    // Taken in and durable, then said so; answered and durable, then said so.
    for (number, point) in
        ["journal.sync:2", "journal.answer:2", "tables.taken:1", "tables.told:1"].into_iter().enumerate()
    {
        desk.armed(&postgres, point).await;
        let key = format!("request-{number}");
        desk.put(&postgres, &key, None, &submission(), Some(("to-khai.pdf", FORM)));
        desk.died(&postgres).await;
        let answer = desk.admitted(&postgres, &key).await;
        assert_eq!(answer["request_key"], key, "{point}");
        assert_eq!(gateway.figure("dossiers").await, number as u64 + 1, "{point}");
        let code = answer["dossier_code"].as_str().unwrap();
        authority.event(&postgres, code, 1).await;
        desk.adapter.as_ref().unwrap().settled().await;
    }
    let outcomes =
        "SELECT count(*), count(DISTINCT request_key) FROM binh.inbox WHERE type = 'vn.lgsp.request.admitted.v1'";
    assert_eq!(postgres.sql(outcomes), "4|4");
    // Delivered and committed, then noted; handled and noted, then settled in the row.
    for (number, point) in ["tables.delivered:1", "tables.settled:1"].into_iter().enumerate() {
        authority.armed(&postgres, point).await;
        let key = format!("delivery-{number}");
        desk.put(&postgres, &key, None, &submission(), Some(("to-khai.pdf", FORM)));
        let code = desk.admitted(&postgres, &key).await["dossier_code"].as_str().unwrap().to_owned();
        if point.starts_with("tables.settled") {
            authority.event(&postgres, &code, 1).await;
        }
        authority.died(&postgres).await;
        let (delivery, files) = authority.event(&postgres, &code, 1).await;
        assert_eq!((&delivery["dossier_code"], files.len()), (&Value::from(&*code), 1), "{point}");
        assert_eq!(authority.inbox(&postgres, &code), ["1"], "{point}");
        until("a settled row", async || {
            let rows =
                format!("SELECT count(*) FROM cong_an.inbox WHERE dossier_code = '{code}' AND settled_at IS NULL");
            (postgres.sql(&rows) == "0").then_some(())
        })
        .await;
        authority.adapter.as_ref().unwrap().settled().await;
    }
    // Refused and noted, then settled in the row.
    authority.armed(&postgres, "tables.settled:1").await;
    desk.put(&postgres, "refused", None, &submission(), Some(("to-khai.pdf", FORM)));
    let code = desk.admitted(&postgres, "refused").await["dossier_code"].as_str().unwrap().to_owned();
    until("a delivery", async || (authority.inbox(&postgres, &code) == ["1"]).then_some(())).await;
    postgres.sql(&format!("UPDATE cong_an.inbox SET refused_reason = 'WRONG_AUTHORITY' WHERE dossier_code = '{code}'"));
    authority.died(&postgres).await;
    let settled =
        format!("SELECT settled_at IS NOT NULL, problem IS NULL FROM cong_an.inbox WHERE dossier_code = '{code}'");
    until("a settled row", async || (postgres.sql(&settled) == "t|t").then_some(())).await;
    until("a parked delivery", async || (gateway.figure("deliveries_parked").await == 1).then_some(())).await;
    assert_eq!(gateway.figure("events").await, 7);
    for agency in [desk, authority] {
        agency.stop().await;
    }
    gateway.stop().await;
    place.fsck().await;
}

/// Somebody moves to commune An, and says so in commune Binh. Whoever it is is invented.
fn submission() -> Value {
    json!({
        "procedure_code": "1.000002",
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "99001",
        "intake_channel": "direct",
        "return_desk": "H99.TT",
        "return_channel": "direct",
        "received_at": "2025-07-14T08:00:00+07:00",
        "components": [{ "name": "Tờ khai", "document": { "file": "to-khai.pdf" }, "originals": 1 }],
    })
}
