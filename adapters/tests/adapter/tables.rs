//! Tables in the agency's own PostgreSQL: the same journeys as over REST, by rows alone, with a real database.

use std::fs;
use std::path::Path;

use lgsp_proto::v1::AcknowledgeStage::{HandedOver, TakenOver};
use lgsp_proto::{Reason, v1};
use prost::Message;
use serde_json::{Value, json};

use crate::offline;
use crate::support::gateway::sha256;
use crate::support::postgres::Postgres;
use crate::support::{Adapter, Answer, OTHER_PARTY, PARTY, World, accepted, decided, submission, until};

const PDF: &[u8] = b"%PDF-1.7 a form, synthetic";

/// The agency's software: it sees the database, and nothing else. It has a role of its own, with the rights that the schema names.
struct Agency {
    postgres: Postgres,
}

impl Agency {
    /// A database with the tables in it.
    fn new() -> Self {
        let agency = Self::without_tables();
        agency.install();
        agency
    }

    fn without_tables() -> Self {
        let postgres = Postgres::start();
        postgres.sql("CREATE ROLE lgsp_adapter LOGIN; CREATE ROLE ung_dung LOGIN");
        Self { postgres }
    }

    fn install(&self) {
        let script = lgsp_adapters::tables::script(&"lgsp".parse().unwrap(), "lgsp_adapter");
        self.postgres.sql(&script);
        // As the script's comment has it.
        let grants = script.split("-- What the agency's own software needs").nth(1).unwrap();
        let grants = grants.lines().filter_map(|line| line.strip_prefix("--   "));
        self.postgres.sql(&grants.map(|line| line.split("    --").next().unwrap()).collect::<String>());
    }

    fn configuration(&self, more: &str) -> String {
        format!(
            "tables.host = {:?}\ntables.port = {}\ntables.database = \"postgres\"\ntables.parties = [\"{PARTY}\"]\n{more}",
            self.postgres.socket(),
            self.postgres.port()
        )
    }

    async fn adapter(&self, world: &World) -> Adapter {
        self.adapter_with(world, "").await
    }

    async fn adapter_with(&self, world: &World, more: &str) -> Adapter {
        Adapter::start(world.config(&self.configuration(more))).await
    }

    /// What the software itself says.
    fn sql(&self, statement: &str) -> String {
        self.try_sql(statement).unwrap_or_else(|said| panic!("{statement}\n{said}"))
    }

    fn try_sql(&self, statement: &str) -> Result<String, String> {
        self.postgres.try_sql("ung_dung", statement)
    }

    fn put(&self, key: &str, submission: &Value, documents: &[(&str, &[u8])]) {
        let documents = documents.iter().map(|(name, content)| {
            let content = data_encoding::HEXLOWER.encode(content);
            format!(
                "INSERT INTO lgsp.outbox_document (party, request_key, name, content) \
                 VALUES ('{PARTY}', '{key}', '{name}', '\\x{content}');"
            )
        });
        let documents: String = documents.collect();
        self.sql(&format!(
            "{documents} INSERT INTO lgsp.outbox (party, request_key, actor, kind, body) \
             VALUES ('{PARTY}', '{key}', 'mot.cua', 'submission', $json${submission}$json$)"
        ));
    }

    fn say(&self, key: &str, code: &str, event: &Value) {
        self.sql(&format!(
            "INSERT INTO lgsp.outbox (party, request_key, actor, kind, dossier_code, body) \
             VALUES ('{PARTY}', '{key}', 'mot.cua', 'event', '{code}', $json${event}$json$)"
        ));
    }

    fn state(&self, key: &str) -> String {
        self.sql(&format!("SELECT state FROM lgsp.outbox WHERE request_key = '{key}'"))
    }

    fn result(&self, key: &str) -> Value {
        let result = self.sql(&format!("SELECT result FROM lgsp.outbox WHERE request_key = '{key}'"));
        serde_json::from_str(&result).unwrap()
    }

    /// What became of a request.
    async fn outcome(&self, key: &str) -> Value {
        until(async || matches!(&*self.state(key), "admitted" | "refused").then_some(())).await;
        let result = self.result(key);
        assert_eq!(result["state"], self.state(key), "{result}");
        result
    }

    /// What lies in the inbox and was not handled, of a kind, in order: dossier and number.
    fn inbox(&self, kind: &str) -> Vec<String> {
        let rows = self.sql(&format!(
            "SELECT dossier_code || ' ' || coalesce(sequence, 0) FROM lgsp.inbox WHERE type LIKE '{kind}' \
             AND handled_at IS NULL AND refused_reason IS NULL ORDER BY number"
        ));
        rows.lines().map(str::to_owned).collect()
    }
}

async fn troubled(adapter: &Adapter, way: &str, word: &str) {
    let is_it = |status: &Value| {
        let troubles = status["tables"]["troubles"].as_array().cloned().unwrap_or_default();
        troubles.iter().any(|one| {
            one["way"] == way && one["trouble"] == word && one["problem"].is_string() && one["problem_vi"].is_string()
        })
    };
    adapter.until(is_it).await;
}

async fn well(adapter: &Adapter) {
    adapter.until(|status| status["tables"]["troubles"].is_null() && status["tables"]["active"] == true).await;
}

#[tokio::test]
async fn a_dossier_with_its_document_goes_by_table_and_comes_back_with_its_receipt() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter(&world).await;
    let mut dossier = submission();
    let document = json!({ "file": "tờ khai.PDF" });
    dossier["components"] = json!([{ "code": "to-khai", "originals": 1, "document": document }]);
    agency.put("k1", &dossier, &[("tờ khai.PDF", PDF)]);
    let outcome = agency.outcome("k1").await;
    assert_eq!((&outcome["state"], &outcome["request_key"]), (&"admitted".into(), &"k1".into()), "{outcome}");
    // The same that REST tells, and the code in a column of its own.
    assert_eq!(outcome["receipt"], adapter.get("/v1/requests/k1").await.json()["receipt"]);
    let code = agency.sql("SELECT dossier_code FROM lgsp.outbox WHERE taken_in_at <= answered_at");
    assert_eq!(outcome["receipt"]["dossier_code"], code);
    assert_eq!(agency.inbox("vn.lgsp.request.admitted.v1"), [format!("{code} 0")]);

    let [attempt] = &world.gateway.attempts()[..] else { panic!("one attempt") };
    let body = v1::Submission::decode(attempt.body.clone()).unwrap();
    let document = body.components[0].document.clone().unwrap();
    assert_eq!((&*document.media_type, &*document.file_name), ("application/pdf", "tờ khai.PDF"));
    assert_eq!(world.gateway.document(PARTY, &document.sha256).unwrap(), PDF);
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn every_kind_of_answer_of_the_gateway_is_written_into_the_row() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter(&world).await;
    // Before the epoch is told no refusal is final: it might be that of an old copy.
    adapter.until(|status| status["epoch"] == 1).await;
    world.gateway.answer_next([Answer::Refuse(Reason::NoRoute)]);
    agency.put("k1", &submission(), &[]);
    let refused = agency.outcome("k1").await;
    assert_eq!((&refused["state"], &refused["problem"]["reason"]), (&"refused".into(), &"NO_ROUTE".into()));
    assert!(refused["problem"]["remedy"]["vi"].is_string() && refused["problem"]["message_vi"].is_string());

    agency.put("k2", &submission(), &[]);
    let code = agency.outcome("k2").await["dossier_code"].as_str().unwrap().to_owned();
    agency.say("e1", &code, &accepted());
    let accepted = agency.outcome("e1").await;
    assert_eq!((&accepted["state"], &accepted["receipt"]["dossier_code"]), (&"admitted".into(), &Value::from(&*code)));
    let decided = json!({
        "type": "resolved", "occurred_at": "2025-07-14T12:00:00+07:00",
        "results": [{ "name": "Thông báo", "document": { "file": "thong bao" } }],
    });
    agency.sql(&format!(
        "INSERT INTO lgsp.outbox_document VALUES ('{PARTY}', 'e2', 'thong bao', 'image/png', 'PNG'); \
         INSERT INTO lgsp.outbox (party, request_key, actor, kind, dossier_code, body) \
         VALUES ('{PARTY}', 'e2', 'mot.cua', 'event', '{code}', $json${decided}$json$)"
    ));
    assert_eq!(agency.outcome("e2").await["state"], "admitted");
    let attempt = world.gateway.attempts().pop().unwrap();
    let Some(v1::entry::What::Resolved(resolved)) = v1::Entry::decode(attempt.body).unwrap().what else { panic!() };
    let document = resolved.results[0].document.clone().unwrap();
    assert_eq!(&*document.media_type, "image/png");
    assert_eq!(world.gateway.document(PARTY, &document.sha256).unwrap(), b"PNG");
    // A restored gateway may think otherwise: the row says so, and the inbox shows it anew.
    agency.sql("UPDATE lgsp.inbox SET handled_at = now()");
    world.gateway.answer_next([(); 4].map(|()| Answer::Refuse(Reason::GrantMissing)));
    world.gateway.begin_epoch(2);
    world.line.shake();
    until(async || (agency.state("k2") == "refused").then_some(())).await;
    assert_eq!(agency.result("k2")["problem"]["reason"], "GRANT_MISSING");
    until(async || agency.inbox("vn.lgsp.request.refused.v1").contains(&format!("{code} 0")).then_some(())).await;
}

#[tokio::test]
async fn what_cannot_be_taken_in_is_answered_in_its_own_row_and_stops_no_other() {
    let world = World::new().await;
    let agency = Agency::new();
    let change = |path: &str, value: Value| {
        let mut changed = submission();
        changed[path] = value;
        changed
    };
    let with_document = |document: Value| change("components", json!([{ "code": "to-khai", "document": document }]));
    let document = "body.components[0].document";
    let of = |field: &str| vec![format!("{document}.{field}")];
    let digest = json!({ "file": "a.pdf", "sha256": "ab".repeat(32), "size_bytes": 1 });
    let large = vec![0; (1 << 20) + 1];
    let cases: Vec<(&str, Value, &str, Vec<String>)> = vec![
        ("list", json!([1]), "MALFORMED", vec![]),
        ("text", json!("a"), "MALFORMED", vec![]),
        ("unknown", change("colour", 7.into()), "MALFORMED", vec!["body.colour".into()]),
        ("shape", change("applicant", "a".into()), "MALFORMED", vec!["body.applicant".into()]),
        ("below", change("locality", "x".into()), "FIELD_INVALID", vec!["body.locality".into()]),
        ("gone", with_document(json!({ "file": "b.pdf" })), "TABLES_DOCUMENT_UNUSABLE", of("file")),
        ("ending", with_document(json!({ "file": "a.dat" })), "TABLES_DOCUMENT_UNUSABLE", of("media_type")),
        ("digest", with_document(digest), "TABLES_DOCUMENT_UNUSABLE", [of("sha256"), of("size_bytes")].concat()),
        ("large", with_document(json!({ "file": "large.pdf" })), "DOCUMENT_TOO_LARGE", of("file")),
        ("wordy", change("summary", "x".repeat(2 << 20).into()), "MESSAGE_TOO_LARGE", vec![]),
    ];
    for (key, body, ..) in &cases {
        // Too long for a command line, some of it.
        let script = agency.postgres.file("insert.sql", format!("{body}").as_bytes());
        let insert = format!(
            "INSERT INTO lgsp.outbox (party, request_key, actor, kind, body) \
             VALUES ('{PARTY}', '{key}', 'mot.cua', 'submission', pg_read_file('{}')::jsonb)",
            script.display()
        );
        agency.postgres.sql(&insert);
        for (name, content) in [("a.pdf", PDF), ("a.dat", PDF), ("large.pdf", &large)] {
            let content = agency.postgres.file("content", content);
            let file = content.display();
            agency.postgres.sql(&format!(
                "INSERT INTO lgsp.outbox_document VALUES ('{PARTY}', '{key}', '{name}', NULL, pg_read_binary_file('{file}'))"
            ));
        }
    }
    let row = |columns: &str, values: &str| {
        let body = submission();
        agency.sql(&format!(
            "INSERT INTO lgsp.outbox (body, party, request_key, {columns}) VALUES ($json${body}$json$, {values})"
        ));
    };
    row("actor, kind", &format!("'{OTHER_PARTY}', 'stranger', 'mot.cua', 'submission'"));
    row("actor, kind", &format!("'{PARTY}', 'nobody', '', 'submission'"));
    row("actor, kind, offline", &format!("'{PARTY}', 'offline', 'mot.cua', 'submission', 'perhaps'"));
    row("actor, kind, dossier_code", &format!("'{PARTY}', 'coded', 'mot.cua', 'submission', 'H57.101-1'"));
    agency.say("codeless", "", &accepted());
    agency.sql("UPDATE lgsp.outbox SET dossier_code = NULL WHERE request_key = 'codeless'");
    let fields = [("stranger", "party"), ("nobody", "actor"), ("offline", "offline")];
    let fields = fields.into_iter().chain([("coded", "dossier_code"), ("codeless", "dossier_code")]);
    let cases = cases.into_iter().map(|(key, _, reason, fields)| (key, reason, fields));
    let cases: Vec<_> =
        cases.chain(fields.map(|(key, field)| (key, "FIELD_INVALID", vec![field.to_owned()]))).collect();
    // Last of all, and nothing is wrong with it.
    agency.put("k1", &submission(), &[]);
    let adapter = agency.adapter_with(&world, "spool.max_document_mib = 1").await;
    assert_eq!(agency.outcome("k1").await["state"], "admitted");
    for (key, reason, fields) in &cases {
        let refused = agency.outcome(key).await;
        let problem = &refused["problem"];
        assert_eq!(
            (&refused["state"], &problem["reason"]),
            (&"refused".into(), &Value::from(*reason)),
            "{key}: {refused}"
        );
        let named: Vec<_> =
            problem["fields"].as_array().into_iter().flatten().map(|field| field["field"].clone()).collect();
        assert_eq!(named, *fields, "{key}: {refused}");
        let remedy = &problem["remedy"];
        let texts = [&remedy["en"], &remedy["vi"], &problem["message_vi"]];
        assert!(texts.iter().all(|text| !text.as_str().unwrap().is_empty()));
    }
    let status = adapter.status().await;
    assert_eq!(status["tables"]["rejected"], cases.len(), "{status}");
    assert_eq!((world.gateway.effects(), world.gateway.uploads().len()), (vec!["k1".to_owned()], 0));
    // Mended, and queued again under its key.
    agency.sql("UPDATE lgsp.outbox SET body = jsonb_set(body, '{locality}', '\"19753\"'), state = 'queued' WHERE request_key = 'below'");
    until(async || (agency.state("below") == "admitted").then_some(())).await;
    // The same key with another body is refused, and the first one stands.
    agency.sql("UPDATE lgsp.outbox SET body = jsonb_set(body, '{summary}', '\"x\"'), state = 'queued' WHERE request_key = 'k1'");
    until(async || (agency.result("k1")["problem"]["reason"] == "KEY_REUSED").then_some(())).await;
    assert_eq!(world.gateway.effects(), ["below", "k1"]);
}

#[tokio::test]
async fn without_a_line_the_row_has_the_code_and_the_slip_and_later_the_receipt() {
    let world = offline::world().await;
    let agency = Agency::new();
    let more = "offline.block = 2\noffline.days_ahead = 1";
    let adapter = agency.adapter_with(&world, more).await;
    adapter.until(|status| status["offline"]["numbers"].as_array().is_some_and(|numbers| numbers.len() == 2)).await;
    world.line.cut();
    adapter.until(|status| status["offline"]["line_down"] == true).await;
    agency.put("k1", &offline::dossier(), &[]);
    agency.put("k2", &offline::dossier_for_the_department(), &[]);
    until(async || (agency.state("k2") == "taken_in").then_some(())).await;
    let told = agency.sql("SELECT state, dossier_code, slip->'slip'->>'form', provisional_number FROM lgsp.outbox WHERE request_key = 'k1'");
    assert_eq!(told, format!("taken_in|{}|01|", offline::code(1)));
    assert!(agency.sql("SELECT provisional_number FROM lgsp.outbox WHERE request_key = 'k2'").starts_with("TN-"));
    adapter.kill().await;
    let _adapter = agency.adapter_with(&world, more).await;
    world.line.mend();
    for key in ["k1", "k2"] {
        assert_eq!(agency.outcome(key).await["state"], "admitted");
    }
    assert_eq!(agency.sql("SELECT dossier_code FROM lgsp.outbox WHERE request_key = 'k1'"), offline::code(1));
    assert_eq!(world.gateway.effects(), ["k1", "k2"]);
}

#[tokio::test]
async fn deliveries_are_rows_in_the_order_of_their_dossier_and_handed_over_when_they_are_committed() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter(&world).await;
    for sequence in [1, 2, 10] {
        world.gateway.deliver("D-1", sequence);
        world.gateway.deliver("D-2", sequence);
    }
    world.gateway.hears(HandedOver, 6).await;
    for dossier in ["D-1", "D-2"] {
        let inbox = agency.inbox("vn.lgsp.dossier.%");
        let of_dossier: Vec<_> = inbox.iter().filter(|row| row.starts_with(dossier)).collect();
        assert_eq!(of_dossier, [1, 2, 10].map(|sequence| format!("{dossier} {sequence}")).iter().collect::<Vec<_>>());
    }
    let body: Value =
        serde_json::from_str(&agency.sql("SELECT body FROM lgsp.inbox WHERE dossier_code = 'D-1' AND sequence = 2"))
            .unwrap();
    assert_eq!(
        (&body["delivery_id"], &body["body"]),
        (&format!("{PARTY}/D-1/2").into(), &json!({ "type": "accepted", "note": "đủ" }))
    );
    assert_eq!(
        agency.sql("SELECT delivery_id FROM lgsp.inbox WHERE dossier_code = 'D-1' AND sequence = 2"),
        format!("{PARTY}/D-1/2")
    );
    // It was acknowledged, and whoever would refuse it now is told so at once.
    let said = agency.try_sql("UPDATE lgsp.inbox SET refused_reason = 'WRONG_AUTHORITY'").unwrap_err();
    assert!(said.contains("cannot be refused any more") && said.contains("tables.acknowledge"), "{said}");
    // What was handled and cleared away does not come again, whatever is started anew.
    agency.sql("DELETE FROM lgsp.inbox");
    adapter.kill().await;
    let adapter = agency.adapter(&world).await;
    world.gateway.deliver("D-1", 11);
    until(async || (agency.inbox("%") == ["D-1 11"]).then_some(())).await;
    adapter.until(|status| status["incoming"]["not_handed_over"] == 0).await;
}

#[tokio::test]
async fn a_delivery_can_wait_for_the_agency_to_handle_or_to_refuse_it_and_the_next_of_its_dossier_waits_with_it() {
    let world = World::new().await;
    let agency = Agency::new();
    let handled = "tables.acknowledge = \"handled\"\ntables.poll_ms = 3600000";
    let adapter = agency.adapter_with(&world, handled).await;
    for (dossier, sequence) in [("D-1", 1), ("D-1", 2), ("D-2", 1), ("D-2", 2)] {
        world.gateway.deliver(dossier, sequence);
    }
    let shows = async |rows: &[&str]| {
        until(async || {
            let mut inbox = agency.inbox("%");
            inbox.sort_unstable();
            (inbox == rows).then_some(())
        })
        .await;
    };
    shows(&["D-1 1", "D-2 1"]).await;
    // A start changes nothing about it.
    adapter.kill().await;
    let adapter = agency.adapter_with(&world, handled).await;
    adapter.until(|status| status["tables"]["active"] == true && status["incoming"]["not_handed_over"] == 4).await;
    assert!(world.gateway.acknowledged(HandedOver).is_empty());
    agency.sql("UPDATE lgsp.inbox SET handled_at = now() WHERE dossier_code = 'D-1'");
    assert_eq!(world.gateway.hears(HandedOver, 1).await, ["D-1/1"]);
    shows(&["D-1 2", "D-2 1"]).await;
    // What is no word is said so, and another word does.
    agency.sql("UPDATE lgsp.inbox SET refused_reason = 'bà A đã mất' WHERE dossier_code = 'D-2'");
    let problem = async || {
        until(async || {
            Some(agency.sql("SELECT problem->>'reason' FROM lgsp.inbox WHERE dossier_code = 'D-2'"))
                .filter(|one| !one.is_empty())
        })
        .await
    };
    assert_eq!(problem().await, "FIELD_INVALID");
    agency.sql("UPDATE lgsp.inbox SET refused_reason = 'WRONG_AUTHORITY' WHERE dossier_code = 'D-2'");
    let declined = world.gateway.hears_no(1).await;
    assert_eq!((&*declined[0].reason, &*declined[0].name), ("WRONG_AUTHORITY", "D-2/1"));
    until(async || {
        (agency.sql("SELECT settled_at IS NOT NULL, problem IS NULL FROM lgsp.inbox WHERE dossier_code = 'D-2'")
            == "t|t")
            .then_some(())
    })
    .await;
    // Sent again by a person, it is shown again.
    adapter.until(|status| status["incoming"]["returned"] == 0).await;
    world.gateway.deliver("D-2", 1);
    shows(&["D-1 2", "D-2 1"]).await;
    agency.sql("UPDATE lgsp.inbox SET handled_at = now()");
    world.gateway.hears(HandedOver, 3).await;
}

#[tokio::test]
async fn a_deliverys_documents_are_there_before_it_is() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter_with(&world, "tables.documents = true").await;
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let (here, gone) = (sha256(&content), sha256(b"erased"));
    world.gateway.keep_document(PARTY, &here, &content);
    let result = |sha256: &bytes::Bytes| {
        let document = v1::DocumentRef {
            sha256: sha256.clone(),
            size_bytes: content.len() as u64,
            media_type: "application/pdf".into(),
            file_name: "Nguyễn Thử Nghiệm.pdf".into(),
        };
        v1::Result { document: Some(document), ..v1::Result::default() }
    };
    let resolved = v1::Resolved { results: vec![result(&here), result(&gone)], ..v1::Resolved::default() };
    world.gateway.deliver_entry("D-1", 1, v1::entry::What::Resolved(resolved));
    world.gateway.hears(HandedOver, 1).await;
    let rows = agency.sql(
        "SELECT media_type, encode(sha256(content), 'hex') = d.sha256, d.problem->>'reason' \
         FROM lgsp.inbox_document d JOIN lgsp.inbox USING (delivery_id) ORDER BY content IS NULL",
    );
    assert_eq!(rows, "application/pdf|t|\napplication/pdf||DOCUMENT_NOT_FOUND");
    drop(adapter);
}

#[tokio::test]
async fn a_document_that_is_withheld_because_of_who_asks_is_waited_for() {
    let world = World::new().await;
    let agency = Agency::new();
    let (content, sha256) = (b"%PDF-1.7", sha256(b"%PDF-1.7"));
    world.gateway.keep_document(PARTY, &sha256, content);
    world.gateway.withhold_documents(Some(Reason::CertificateRevoked));
    let adapter = agency.adapter_with(&world, "tables.documents = true").await;
    world.gateway.deliver_entry("D-1", 1, decided(&[&sha256]));
    troubled(&adapter, "out", "TABLES_NO_DOCUMENTS").await;
    world.gateway.withhold_documents(None);
    world.gateway.hears(HandedOver, 1).await;
    assert_eq!(agency.sql("SELECT content IS NOT NULL, problem IS NULL FROM lgsp.inbox_document"), "t|t");
}

#[tokio::test]
async fn a_document_that_is_damaged_at_the_gateway_is_not_waited_for_while_others_come() {
    let world = World::new().await;
    let agency = Agency::new();
    let (fine, damaged) = (sha256(b"%PDF-1.7"), sha256(b"what it was"));
    world.gateway.keep_document(PARTY, &fine, b"%PDF-1.7");
    world.gateway.keep_document(PARTY, &damaged, b"what it is");
    let adapter = agency.adapter_with(&world, "tables.documents = true").await;
    world.gateway.deliver_entry("D-1", 1, decided(&[&damaged, &fine]));
    let mut sequence = 0;
    until(async || {
        sequence += 1;
        world.gateway.deliver_entry("D-2", sequence, decided(&[&fine]));
        let heard = world.gateway.hears(HandedOver, sequence as usize).await;
        heard.contains(&"D-1/1".to_owned()).then_some(())
    })
    .await;
    let sql = "SELECT content IS NOT NULL, d.problem->>'reason' FROM lgsp.inbox_document d \
               JOIN lgsp.inbox USING (delivery_id) WHERE dossier_code = 'D-1' ORDER BY content IS NULL";
    assert_eq!(agency.sql(sql), "t|\nf|INTERNAL");
    drop(adapter);
}

#[tokio::test]
async fn documents_of_which_nothing_comes_hold_up_no_delivery_but_their_own() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter_with(&world, "tables.documents = true").await;
    let (silent, fine) = (sha256(b"nothing"), sha256(b"%PDF-1.7"));
    world.gateway.keep_document(PARTY, &silent, b"nothing");
    world.gateway.keep_document(PARTY, &fine, b"%PDF-1.7");
    world.gateway.fall_silent_about(&silent);
    world.gateway.deliver_entry("D-1", 1, decided(&[&silent]));
    world.gateway.hears(TakenOver, 1).await;
    world.gateway.deliver_entry("E-1", 1, decided(&[&fine]));
    assert_eq!(world.gateway.hears(HandedOver, 1).await, ["E-1/1"]);
    for dossier in 2..=10 {
        world.gateway.deliver_entry(&format!("D-{dossier}"), 1, decided(&[&silent]));
    }
    world.gateway.hears(TakenOver, 11).await;
    world.gateway.deliver("E-2", 1);
    assert_eq!(world.gateway.hears(HandedOver, 2).await, ["E-1/1", "E-2/1"]);
    adapter.kill().await;
}

#[tokio::test]
async fn a_rule_of_the_agencys_own_holds_up_its_row_and_no_other_and_in_the_end_it_goes_back() {
    let world = World::new().await;
    let agency = Agency::new();
    agency.postgres.sql("ALTER TABLE lgsp.inbox ADD CHECK (dossier_code <> 'D-1')");
    let adapter = agency.adapter_with(&world, "webhook.attempts = 3").await;
    world.gateway.deliver("D-1", 1);
    world.gateway.deliver("D-2", 1);
    assert_eq!(world.gateway.hears(HandedOver, 1).await, ["D-2/1"]);
    let declined = world.gateway.hears_no(1).await;
    assert_eq!(&*declined[0].reason, "AGENCY_FAILING");
    drop(adapter);
}

#[tokio::test]
async fn a_rule_of_the_agencys_own_that_lets_no_answer_into_a_row_stops_no_other_row() {
    let world = World::new().await;
    let agency = Agency::new();
    agency.postgres.sql("ALTER TABLE lgsp.outbox ADD CHECK (request_key <> 'k1' OR state = 'queued')");
    let adapter = agency.adapter_with(&world, "tables.poll_ms = 20").await;
    agency.put("k1", &submission(), &[]);
    agency.put("k2", &submission(), &[]);
    assert_eq!(agency.outcome("k2").await["state"], "admitted");
    troubled(&adapter, "in", "TABLES_FAILING").await;
    agency.postgres.sql("ALTER TABLE lgsp.outbox DROP CONSTRAINT outbox_check");
    assert_eq!(agency.outcome("k1").await["state"], "admitted");
    well(&adapter).await;
    let mut effects = world.gateway.effects();
    effects.sort_unstable();
    assert_eq!(effects, ["k1", "k2"]);
}

#[tokio::test]
async fn an_inbox_that_nobody_handles_keeps_the_rest_in_the_spool() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter_with(&world, "tables.max_inbox = 2\ntables.poll_ms = 20").await;
    for sequence in 1..=3 {
        world.gateway.deliver("D-1", sequence);
    }
    troubled(&adapter, "out", "TABLES_INBOX_FULL").await;
    assert_eq!((agency.inbox("%").len(), &adapter.status().await["incoming"]["not_handed_over"]), (2, &1.into()));
    agency.sql("UPDATE lgsp.inbox SET handled_at = now() WHERE sequence = 1");
    until(async || (agency.inbox("%") == ["D-1 2", "D-1 3"]).then_some(())).await;
    adapter.until(|status| status["incoming"]["not_handed_over"] == 0).await;
}

#[tokio::test]
async fn a_row_wakes_the_adapter_and_without_that_it_looks_by_itself() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter_with(&world, "tables.poll_ms = 3600000").await;
    well(&adapter).await;
    agency.put("k1", &submission(), &[]);
    assert_eq!(agency.outcome("k1").await["state"], "admitted");
    adapter.stop().await.unwrap();
    agency.postgres.sql("DROP TRIGGER outbox_wakes ON lgsp.outbox");
    let adapter = agency.adapter_with(&world, "tables.poll_ms = 20").await;
    well(&adapter).await;
    agency.put("k2", &submission(), &[]);
    assert_eq!(agency.outcome("k2").await["state"], "admitted");
}

#[tokio::test]
async fn a_database_that_dies_and_comes_back_loses_nothing_and_holds_up_nobody_else() {
    let world = World::new().await;
    let mut agency = Agency::new();
    let adapter = agency.adapter(&world).await;
    well(&adapter).await;
    world.line.cut();
    agency.put("k1", &submission(), &[]);
    until(async || (agency.state("k1") == "taken_in").then_some(())).await;
    agency.put("k2", &submission(), &[]);
    agency.postgres.kill();
    troubled(&adapter, "in", "TABLES_UNREACHABLE").await;
    world.line.mend();
    world.gateway.deliver("D-1", 1);
    world.gateway.hears(TakenOver, 1).await;
    troubled(&adapter, "out", "TABLES_UNREACHABLE").await;
    // Another party's way in goes on.
    adapter.post_as(OTHER_PARTY, "/v1/dossiers", "r1", &submission()).await;
    world.gateway.when(|gateway| gateway.effects().contains(&"r1".to_owned()).then_some(())).await;
    agency.postgres.start_again();
    for key in ["k1", "k2"] {
        assert_eq!(agency.outcome(key).await["state"], "admitted");
    }
    world.gateway.hears(HandedOver, 1).await;
    assert_eq!(agency.inbox("vn.lgsp.dossier.%"), ["D-1 1"]);
    well(&adapter).await;
    let mut effects = world.gateway.effects();
    effects.sort_unstable();
    assert_eq!(effects, ["k1", "k2", "r1"]);
}

#[tokio::test]
async fn a_connection_that_is_cut_before_or_after_a_commit_leaves_one_row_and_one_dossier() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter(&world).await;
    well(&adapter).await;
    // Before: what was written is undone, the first time.
    agency.postgres.sql(
        "CREATE SEQUENCE once; GRANT USAGE ON SEQUENCE once TO lgsp_adapter; \
         CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
         IF nextval('once') <= 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); END IF; RETURN NULL; END $$; \
         CREATE TRIGGER cut AFTER UPDATE ON lgsp.outbox FOR EACH ROW EXECUTE FUNCTION cut(); \
         CREATE TRIGGER cut AFTER INSERT ON lgsp.inbox FOR EACH ROW EXECUTE FUNCTION cut()",
    );
    agency.put("k1", &submission(), &[]);
    assert_eq!(agency.outcome("k1").await["state"], "admitted");
    world.gateway.deliver("D-1", 1);
    world.gateway.hears(HandedOver, 1).await;
    assert!(agency.postgres.sql("SELECT last_value FROM once").parse::<u32>().unwrap() > 2, "nothing was cut");
    agency.postgres.sql("DROP FUNCTION cut() CASCADE");
    // After: a commit that waits for a standby that is not there is durable, and nobody is answered.
    let cut_where_it_waits = async || {
        let waiting = "FROM pg_stat_activity WHERE application_name = 'lgsp adapter' AND wait_event = 'SyncRep'";
        until(async || (agency.postgres.sql(&format!("SELECT count(*) {waiting}")) != "0").then_some(())).await;
        agency.postgres.sql("ALTER SYSTEM RESET synchronous_standby_names");
        agency.postgres.sql(&format!("SELECT count(pg_terminate_backend(pid)) {waiting}"));
        agency.postgres.sql("SELECT pg_reload_conf()");
    };
    let wait = || {
        agency.postgres.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        agency.postgres.sql(
            "ALTER ROLE postgres SET synchronous_commit = local; ALTER ROLE ung_dung SET synchronous_commit = local",
        );
        agency.postgres.sql("SELECT pg_reload_conf()");
    };
    wait();
    agency.put("k2", &submission(), &[]);
    cut_where_it_waits().await;
    assert_eq!(agency.outcome("k2").await["state"], "admitted");
    wait();
    world.gateway.deliver("D-1", 2);
    cut_where_it_waits().await;
    world.gateway.hears(HandedOver, 2).await;
    assert_eq!(agency.inbox("vn.lgsp.dossier.%"), ["D-1 1", "D-1 2"]);
    assert_eq!(
        (world.gateway.effects(), agency.inbox("vn.lgsp.request.%").len()),
        (vec!["k1".to_owned(), "k2".to_owned()], 2)
    );
}

#[tokio::test]
async fn what_is_the_matter_with_the_database_is_said_with_its_remedy_and_ends_by_itself() {
    let world = World::new().await;
    let agency = Agency::without_tables();
    let adapter = agency.adapter_with(&world, "tables.poll_ms = 20").await;
    troubled(&adapter, "in", "TABLES_MISSING").await;
    agency.install();
    well(&adapter).await;
    let cut = || {
        agency.postgres.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'lgsp adapter'",
        )
    };
    for (spoil, mend, word) in [
        ("UPDATE lgsp.version SET version = 2", "UPDATE lgsp.version SET version = 1", "TABLES_OTHER_VERSION"),
        (
            "REVOKE SELECT ON lgsp.outbox FROM lgsp_adapter",
            "GRANT SELECT ON lgsp.outbox TO lgsp_adapter",
            "TABLES_DENIED",
        ),
        ("ALTER ROLE lgsp_adapter NOLOGIN", "ALTER ROLE lgsp_adapter LOGIN", "TABLES_LOGIN_REFUSED"),
        (
            "ALTER TABLE lgsp.outbox RENAME actor TO clerk",
            "ALTER TABLE lgsp.outbox RENAME clerk TO actor",
            "TABLES_MISSING",
        ),
    ] {
        agency.postgres.sql(spoil);
        cut();
        troubled(&adapter, "in", word).await;
        agency.postgres.sql(mend);
        well(&adapter).await;
    }
    // Nothing can be written: what is queued waits, and is taken in once.
    agency.postgres.sql("ALTER ROLE lgsp_adapter SET default_transaction_read_only = on");
    cut();
    agency.put("k1", &submission(), &[]);
    world.gateway.deliver("D-1", 1);
    troubled(&adapter, "in", "TABLES_READ_ONLY").await;
    troubled(&adapter, "out", "TABLES_READ_ONLY").await;
    agency.postgres.sql("ALTER ROLE lgsp_adapter RESET default_transaction_read_only");
    cut();
    assert_eq!(agency.outcome("k1").await["state"], "admitted");
    world.gateway.hears(HandedOver, 1).await;
    assert_eq!(world.gateway.effects(), ["k1"]);
    well(&adapter).await;
}

#[tokio::test]
async fn what_the_adapter_has_no_room_for_stays_queued_until_it_has() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter_with(&world, "spool.min_free_mib = 1000000000").await;
    agency.put("k1", &submission(), &[]);
    let status = adapter.until(|status| status["tables"]["held_back"] == "SPOOL_DISK_FULL").await;
    assert_eq!((&status["tables"]["not_taken_in"], &status["tables"]["rejected"]), (&1.into(), &0.into()));
    assert_eq!(agency.state("k1"), "queued");
    adapter.stop().await.unwrap();
    let _adapter = agency.adapter(&world).await;
    assert_eq!(agency.outcome("k1").await["state"], "admitted");
}

#[tokio::test]
async fn of_two_adapters_one_takes_in_and_the_other_goes_on_when_it_is_gone() {
    let world = World::new().await;
    let agency = Agency::new();
    let first = agency.adapter(&world).await;
    well(&first).await;
    let spool = world.folder.path().join("second");
    let more = "tables.poll_ms = 20\nexchange.instance = \"second\"";
    let mut config = world.config(&agency.configuration(more));
    config.spool.folder = spool;
    let second = Adapter::start(config).await;
    second.until(|status| status["tables"]["looks"] == 0 && status["tables"]["troubles"].is_null()).await;
    agency.put("k1", &submission(), &[]);
    agency.outcome("k1").await;
    assert_eq!(agency.sql("SELECT instance FROM lgsp.outbox"), "main");
    assert_eq!(second.status().await["tables"]["active"], false);
    first.kill().await;
    second.until(|status| status["tables"]["active"] == true).await;
    agency.put("k2", &submission(), &[]);
    agency.outcome("k2").await;
    assert_eq!(agency.sql("SELECT instance FROM lgsp.outbox WHERE request_key = 'k2'"), "second");
    assert_eq!(world.gateway.effects(), ["k1", "k2"]);
}

#[tokio::test]
async fn rows_of_a_database_that_was_restored_are_answered_again_and_have_their_effect_once() {
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter_with(&world, "tables.poll_ms = 20").await;
    for key in ["k1", "k2"] {
        agency.put(key, &submission(), &[]);
        agency.outcome(key).await;
    }
    adapter.until(|status| status["outgoing"]["waiting"] == 0).await;
    // As an older copy has them: one was not taken in yet, the other was.
    adapter.stop().await.unwrap();
    agency.postgres.sql(
        "UPDATE lgsp.outbox SET result = NULL, dossier_code = NULL, answered_at = NULL, \
         state = CASE request_key WHEN 'k1' THEN 'queued' ELSE 'taken_in' END",
    );
    let _adapter = agency.adapter(&world).await;
    for key in ["k1", "k2"] {
        assert_eq!(agency.outcome(key).await["receipt"]["request_key"], key);
    }
    assert_eq!(world.gateway.effects(), ["k1", "k2"]);
}

#[tokio::test]
async fn over_the_network_the_adapter_speaks_to_the_database_that_its_bundle_vouches_for_and_to_no_other() {
    let world = World::new().await;
    let agency = Agency::new();
    let files = world.certificates.server_for(&lgsp_certs::server_name("127.0.0.1").unwrap(), "database");
    let [certificate, key] = [&files.certificate, &files.key].map(|file| fs::read(file).unwrap());
    let certificate = agency.postgres.file("server.pem", &certificate);
    let key = agency.postgres.file("server.key", &key);
    agency.postgres.sql("ALTER ROLE lgsp_adapter PASSWORD 'synthetic'");
    let [password, wrong] = ["synthetic\n", "another"].map(|password| {
        let file = world.folder.path().join(format!("password-{}", password.len()));
        fs::write(&file, password).unwrap();
        file
    });
    let strangers = crate::support::Certificates::of("other.test");
    let adapter = async |bundle: &std::path::Path, password: &std::path::Path| {
        let more = format!("tables.bundle = {bundle:?}\ntables.password_file = {password:?}");
        let host = format!("{:?}", agency.postgres.socket());
        Adapter::start(world.config(&agency.configuration(&more).replace(&host, "\"127.0.0.1\""))).await
    };
    let expect = async |bundle: &std::path::Path, password: &std::path::Path, word: &str| {
        let adapter = adapter(bundle, password).await;
        troubled(&adapter, "in", word).await;
        adapter.stop().await.unwrap();
    };
    // It has no TLS yet, and without TLS no password is sent.
    expect(&files.bundle, &password, "TABLES_TLS_FAILED").await;
    agency.postgres.sql(&format!("ALTER SYSTEM SET ssl_cert_file = '{}'", certificate.display()));
    agency.postgres.sql(&format!("ALTER SYSTEM SET ssl_key_file = '{}'", key.display()));
    agency.postgres.sql("ALTER SYSTEM SET ssl = on");
    agency.postgres.sql("SELECT pg_reload_conf()");
    expect(&strangers.files("any").bundle, &password, "TABLES_TLS_FAILED").await;
    expect(&files.bundle, &wrong, "TABLES_LOGIN_REFUSED").await;
    let _adapter = adapter(&files.bundle, &password).await;
    agency.put("k1", &submission(), &[]);
    assert_eq!(agency.outcome("k1").await["state"], "admitted");
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'lgsp adapter'";
    assert_eq!(agency.postgres.sql(encrypted), "t");
}

#[tokio::test]
async fn every_statement_that_the_documentation_shows_does_what_it_says() {
    let shown = ["tables.md", "tables.vi.md"].map(|name| {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap();
        let blocks = page.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
        blocks.collect::<Vec<_>>()
    });
    assert_eq!(shown[0], shown[1]);
    let [hand_in, look, with_document, event, mend, read, handle, clear_inbox_and_outbox, refuse] = &shown[0][..]
    else {
        panic!("{} statements", shown[0].len())
    };
    let world = World::new().await;
    let agency = Agency::new();
    let adapter = agency.adapter_with(&world, "tables.acknowledge = \"handled\"").await;
    adapter.until(|status| status["epoch"] == 1).await;
    agency.sql(hand_in);
    agency.outcome("ho-so-1").await;
    assert!(agency.sql(look).starts_with("admitted|H57."), "{}", agency.sql(look));
    agency.sql(with_document);
    agency.outcome("ho-so-2").await;
    assert_eq!(world.gateway.uploads().len(), 1);
    agency.sql(event);
    assert_eq!(agency.outcome("rut-ho-so-2").await["state"], "admitted");
    assert_eq!(world.gateway.effects(), ["ho-so-1", "ho-so-2", "rut-ho-so-2"]);
    // Nothing is wrong with it; then something is.
    agency.sql(mend);
    assert_eq!(agency.state("ho-so-1"), "admitted");
    let broken = hand_in.replace("ho-so-1", "ho-so-3").replace("19774", "x");
    agency.sql(&broken);
    assert_eq!(agency.outcome("ho-so-3").await["state"], "refused");
    agency.sql(&mend.replace("ho-so-1", "ho-so-3"));
    until(async || (agency.state("ho-so-3") == "admitted").then_some(())).await;

    world.gateway.deliver("H57.101-250714-0009", 1);
    until(async || agency.sql(read).contains("H57.101-250714-0009").then_some(())).await;
    until(async || (agency.sql(read).lines().count() == 5).then_some(())).await;
    agency.sql(handle);
    assert_eq!(agency.sql(read), "");
    world.gateway.hears(HandedOver, 1).await;
    world.gateway.deliver("H57.101-250714-0009", 2);
    until(async || (!agency.sql(read).is_empty()).then_some(())).await;
    agency.sql(refuse);
    assert_eq!(world.gateway.hears_no(1).await[0].reason, "WRONG_AUTHORITY");
    agency.sql(&clear_inbox_and_outbox.replace("30 days", "0 days"));
    assert_eq!(agency.sql("SELECT count(*) FROM lgsp.outbox"), "0");
}

#[tokio::test]
async fn a_row_that_names_no_time_is_the_same_request_out_of_a_new_spool_and_its_time_is_when_it_was_queued() {
    let world = World::new().await;
    let agency = Agency::new();
    let mut dossier = submission();
    dossier.as_object_mut().unwrap().remove("received_at");
    agency.put("k1", &dossier, &[]);
    agency.postgres.sql("UPDATE lgsp.outbox SET queued_at = '2025-07-14T09:00:00.7+07:00'");
    world.gateway.answer_next([Answer::CutAfter(world.line.clone())]);
    let adapter = agency.adapter(&world).await;
    until(async || (world.gateway.effects() == ["k1"]).then_some(())).await;
    let body = v1::Submission::decode(world.gateway.attempts()[0].body.clone()).unwrap();
    assert_eq!(body.received_at.unwrap().seconds, 1_752_458_400);
    until(async || (agency.state("k1") == "taken_in").then_some(())).await;
    // The adapter's disk is lost; as the documentation has it.
    adapter.kill().await;
    fs::remove_dir_all(world.spool_folder()).unwrap();
    agency.sql("UPDATE lgsp.outbox SET state = 'queued' WHERE state = 'taken_in'");
    world.line.mend();
    let _adapter = agency.adapter(&world).await;
    let outcome = agency.outcome("k1").await;
    assert_eq!((&outcome["state"], &outcome["repeated"]), (&"admitted".into(), &true.into()), "{outcome}");
}

#[tokio::test]
async fn that_a_key_is_in_use_replaces_nothing_that_another_adapter_had_admitted() {
    let world = World::new().await;
    let agency = Agency::new();
    let first = agency.adapter(&world).await;
    agency.put("k1", &submission(), &[]);
    agency.outcome("k1").await;
    until(async || (agency.inbox("vn.lgsp.request.admitted.v1").len() == 1).then_some(())).await;
    first.kill().await;
    let mut config = world.config(&agency.configuration("exchange.instance = \"second\""));
    config.spool.folder = world.folder.path().join("second");
    let second = Adapter::start(config).await;
    second.until(|status| status["epoch"] == 1).await;
    world.line.cut();
    agency.sql("UPDATE lgsp.outbox SET body = jsonb_set(body, '{summary}', '\"x\"'), state = 'queued'");
    until(async || (agency.state("k1") == "taken_in").then_some(())).await;
    // As if the first had come to write its answer only now.
    agency.postgres.sql("UPDATE lgsp.outbox SET state = 'admitted', instance = 'main'");
    // What is said is seen, though it changes no row; the inbox has its word before.
    agency.postgres.sql(
        "CREATE SEQUENCE said; CREATE FUNCTION said() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
         PERFORM nextval('said'); RETURN NULL; END $$; \
         CREATE TRIGGER said AFTER UPDATE ON lgsp.outbox FOR EACH STATEMENT EXECUTE FUNCTION said()",
    );
    world.line.mend();
    until(async || (agency.postgres.sql("SELECT is_called FROM said") == "t").then_some(())).await;
    assert_eq!(second.get("/v1/requests/k1").await.json()["problem"]["reason"], "KEY_REUSED");
    assert_eq!(agency.sql("SELECT state, instance FROM lgsp.outbox"), "admitted|main");
    assert_eq!(agency.sql("SELECT type FROM lgsp.inbox"), "vn.lgsp.request.admitted.v1");
}

const HANDLED: &str = "tables.acknowledge = \"handled\"\ntables.poll_ms = 20";

#[tokio::test]
async fn a_delivery_that_could_not_be_refused_can_still_be_handled() {
    let world = World::new().await;
    let agency = Agency::new();
    let _adapter = agency.adapter_with(&world, HANDLED).await;
    for (dossier, clear) in [("D-1", ""), ("D-2", ", refused_reason = NULL")] {
        world.gateway.deliver(dossier, 1);
        until(async || (agency.inbox("%") == [format!("{dossier} 1")]).then_some(())).await;
        agency.sql("UPDATE lgsp.inbox SET refused_reason = 'bà A đã mất' WHERE settled_at IS NULL");
        until(async || (agency.sql("SELECT count(*) FROM lgsp.inbox WHERE problem IS NOT NULL") == "1").then_some(()))
            .await;
        agency.sql(&format!("UPDATE lgsp.inbox SET handled_at = now() {clear} WHERE dossier_code = '{dossier}'"));
        until(async || world.gateway.acknowledged(HandedOver).contains(&format!("{dossier}/1")).then_some(())).await;
        until(async || {
            (agency.sql("SELECT bool_and(problem IS NULL AND settled_at IS NOT NULL) FROM lgsp.inbox") == "t")
                .then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_delivery_whose_row_is_gone_before_it_was_handled_is_put_there_again() {
    let world = World::new().await;
    let agency = Agency::new();
    let _adapter = agency.adapter_with(&world, HANDLED).await;
    world.gateway.deliver("D-1", 1);
    until(async || (agency.inbox("%") == ["D-1 1"]).then_some(())).await;
    // As a copy of before has it; what is said about another row of the dossier wakes its lane.
    agency.sql("DELETE FROM lgsp.inbox");
    agency.postgres.sql(&format!(
        "INSERT INTO lgsp.inbox (delivery_id, type, party, dossier_code, sequence, body, handled_at, instance) \
         VALUES ('other', 'other', '{PARTY}', 'D-1', 1, '{{}}', now(), 'main')"
    ));
    until(async || (agency.inbox("%") == ["D-1 1"]).then_some(())).await;
    agency.sql("UPDATE lgsp.inbox SET handled_at = now()");
    assert_eq!(world.gateway.hears(HandedOver, 1).await, ["D-1/1"]);
}

#[tokio::test]
async fn a_delivery_that_another_adapter_has_put_there_is_settled_by_the_one_it_came_to_after() {
    let world = World::new().await;
    let agency = Agency::new();
    let first = agency.adapter_with(&world, HANDLED).await;
    world.gateway.deliver("D-1", 1);
    until(async || (agency.inbox("%") == ["D-1 1"]).then_some(())).await;
    first.kill().await;
    let mut config = world.config(&agency.configuration(&format!("{HANDLED}\nexchange.instance = \"second\"")));
    config.spool.folder = world.folder.path().join("second");
    let second = Adapter::start(config).await;
    well(&second).await;
    world.gateway.deliver("D-1", 1);
    until(async || (agency.sql("SELECT instance FROM lgsp.inbox") == "second").then_some(())).await;
    agency.sql("UPDATE lgsp.inbox SET handled_at = now()");
    world.gateway.hears(HandedOver, 1).await;
    until(async || (agency.sql("SELECT settled_at IS NOT NULL FROM lgsp.inbox") == "t").then_some(())).await;
}

#[tokio::test]
async fn a_row_that_is_mended_while_it_is_taken_in_is_told_that_the_bus_has_what_it_was_before() {
    let world = World::new().await;
    let agency = Agency::new();
    // Whoever reads its documents is overtaken by the agency's own software.
    agency.postgres.sql(
        "ALTER TABLE lgsp.outbox_document RENAME TO papers; \
         CREATE FUNCTION lgsp.mend() RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$ BEGIN \
         UPDATE lgsp.outbox SET body = jsonb_set(body, '{summary}', '\"mended\"') WHERE NOT body ? 'summary'; RETURN true; END $$; \
         CREATE VIEW lgsp.outbox_document AS SELECT * FROM lgsp.papers WHERE lgsp.mend(); \
         GRANT ALL ON lgsp.outbox_document TO lgsp_adapter, ung_dung",
    );
    let _adapter = agency.adapter_with(&world, "tables.poll_ms = 20").await;
    let mut dossier = submission();
    dossier["components"] = json!([{ "code": "to-khai", "originals": 1, "document": { "file": "to-khai.pdf" } }]);
    agency.put("k1", &dossier, &[("to-khai.pdf", PDF)]);
    until(async || (agency.inbox("vn.lgsp.request.admitted.v1").len() == 1).then_some(())).await;
    let refused = agency.outcome("k1").await;
    assert_eq!((&refused["state"], &refused["problem"]["reason"]), (&"refused".into(), &"KEY_REUSED".into()));
    let body = v1::Submission::decode(world.gateway.attempts()[0].body.clone()).unwrap();
    assert_eq!((&*body.summary, world.gateway.effects()), ("", vec!["k1".to_owned()]));
}

#[tokio::test]
async fn a_whole_look_of_rows_that_nobody_may_answer_stops_none_behind_them() {
    let world = World::new().await;
    let agency = Agency::new();
    agency.postgres.sql("ALTER TABLE lgsp.outbox ADD CHECK (request_key NOT LIKE 'bad%' OR state = 'queued')");
    agency.sql(&format!(
        "INSERT INTO lgsp.outbox (party, request_key, actor, kind, body) \
         SELECT '{PARTY}', 'bad' || n, 'mot.cua', 'submission', '{{\"colour\": 7}}' FROM generate_series(1, 201) AS n"
    ));
    agency.put("k1", &submission(), &[]);
    let adapter = agency.adapter_with(&world, "tables.poll_ms = 20").await;
    assert_eq!(agency.outcome("k1").await["state"], "admitted");
    troubled(&adapter, "in", "TABLES_FAILING").await;
    // It is the same adapter all the time, and nobody else's turn.
    assert_eq!(adapter.status().await["tables"]["active"], true);
}
