//! A data service of an owner whose developer knows HTTP: the registry names it, an adapter serves it, and its own software
//! answers. From the question of a desk to that software and back, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use lgsp_adapters::link::Link;
use lgsp_adapters::{Config, run};
use lgsp_proto::v1::ask_request::Matter;
use lgsp_proto::{Reason, Refusal, v1};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use crate::support::{Bus, registry_files, submission, submit};

/// What the owner's software was asked, and what it says next.
#[derive(Default)]
struct Owner {
    asked: Mutex<Vec<(HeaderMap, Value)>>,
    says: Mutex<BTreeMap<String, (u16, String)>>,
}

/// The software of the police, on this machine: it looks up by number.
async fn owner() -> (Arc<Owner>, SocketAddr) {
    async fn answer(State(owner): State<Arc<Owner>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let number = asked["personal_number"].as_str().unwrap().to_owned();
        owner.asked.lock().unwrap().push((headers, asked));
        let known = owner.says.lock().unwrap().get(&number).cloned();
        let (status, body) = known.unwrap_or((404, String::new()));
        (StatusCode::from_u16(status).unwrap(), body)
    }
    let owner = Arc::new(Owner::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/dan-cu", post(answer)).with_state(owner.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (owner, address)
}

/// Declares the services of the invented province.
async fn declare(bus: &Bus) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/domain/tests/fixtures/services");
    let mut files = registry_files();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let (name, content) = (path.file_name().unwrap().to_str().unwrap(), std::fs::read(&path).unwrap());
        match files.iter_mut().find(|file| file.name == name) {
            Some(grants) => grants.content = [&grants.content[..], &content[..]].concat().into(),
            None => files.push(v1::RegistryFile { name: name.to_owned(), content: content.into() }),
        }
    }
    let (acting_party, actor) = ("H99.VH".to_owned(), "operator-1".to_owned());
    let apply = v1::ApplyRegistryRequest { acting_party, actor, files, base_version: 1, ..Default::default() };
    bus.link("van-hanh").registry().apply(apply).await.unwrap();
}

/// An adapter of a system and its party, until it is dropped; with these further lines of configuration.
async fn adapter(bus: &Bus, (system, party): (&str, &str), more: &str) -> (DropGuard, tempfile::TempDir, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let address = bus.address(system);
    let text = format!(
        "gateway = \"{}\"\nserver_name = {:?}\nparties = [{party:?}]\n\
         [tls]\ncertificate = {:?}\nkey = {:?}\nbundle = {:?}\n\
         [spool]\nfolder = \"spool\"\nmin_free_mib = 1\n[rest]\nlisten = \"127.0.0.1:0\"\ntoken = \"none\"\n\
         [exchange]\nbackoff_first_ms = 20\nbackoff_limit_ms = 200\n[offline]\nenabled = false\n{more}\n",
        address.gateway,
        address.server_name.as_deref().unwrap_or("localhost"),
        address.tls.certificate,
        address.tls.key,
        address.tls.bundle,
    );
    let config = Config::parse(&text, folder.path(), []).unwrap_or_else(|problems| panic!("{problems}"));
    let (stop, (ready, is_ready)) = (CancellationToken::new(), oneshot::channel());
    tokio::spawn(run(config, stop.clone(), ready));
    let rest = is_ready.await.unwrap().rest;
    (stop.drop_guard(), folder, rest)
}

/// The lines by which the police answer `dan-cu` from that address.
fn serving(owner: SocketAddr) -> String {
    format!("[connector]\nparty = \"H99.CA\"\n[connector.services]\n\"dan-cu/1\" = \"http://{owner}/dan-cu\"")
}

/// Posts a question to an adapter's REST interface.
async fn post_query(rest: SocketAddr, question: &Value) -> (u16, Value) {
    call(rest, "POST /v1/queries", &question.to_string()).await
}

/// Calls an adapter's REST interface for a clerk of H99.102.
async fn call(rest: SocketAddr, what: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(rest).await.unwrap();
    let request = format!(
        "{what} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         LGSP-Party: H99.102\r\nLGSP-Actor: clerk-1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn asking(number: &str) -> v1::AskRequest {
    v1::AskRequest {
        acting_party: "H99.102".into(),
        actor: "clerk-1".into(),
        service: "dan-cu".into(),
        purpose: "doi-chieu".into(),
        procedure_code: "1.000009".into(),
        matter: Some(Matter::IntakeKey("ho-so-sap-nop-1".into())),
        payload: json!({ "personal_number": number, "full_name": "TRẦN THỊ THỬ" }).to_string().into(),
        ..Default::default()
    }
}

async fn ask(desk: &Link, number: &str) -> Result<v1::AskResponse, Status> {
    Ok(desk.queries().ask(desk.request(asking(number), None)).await?.into_inner())
}

/// Until a connector serves it.
async fn served(desk: &Link) {
    let is_served = async {
        loop {
            let request = v1::ServicesRequest { acting_party: "H99.102".into(), actor: "clerk-1".into() };
            let services = desk.queries().services(request).await.unwrap().into_inner().services;
            if services.iter().any(|one| one.owner == "H99.CA" && one.connectors == 1) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_served).await.expect("it is served in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owners_own_software_answers_a_desk_with_what_is_granted_and_no_more() {
    let bus = Bus::start().await;
    declare(&bus).await;
    let desk = bus.link("mot-cua-binh");
    let (owner, address) = owner().await;
    let police = adapter(&bus, ("cong-an", "H99.CA"), &serving(address)).await;
    served(&desk).await;

    let known = json!({ "full_name": "TRẦN THỊ THỬ", "date_of_birth": "1990-02-03", "residence": { "commune_code": "99002",
        "detail": "Thôn 2" }, "religion": "không" });
    owner.says.lock().unwrap().insert("046190000001".into(), (200, known.to_string()));
    let told = ask(&desk, "046190000001").await.unwrap();
    let told: Value = serde_json::from_slice(&told.reply).unwrap();
    assert_eq!(told, json!({ "full_name": "TRẦN THỊ THỬ", "residence": { "commune_code": "99002" } }));
    let (headers, asked) = owner.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked["personal_number"], "046190000001");
    let said = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(said("lgsp-fields"), "children.full_name,full_name,residence.commune_code");
    let who = ["lgsp-service", "lgsp-party", "lgsp-actor", "lgsp-purpose", "lgsp-procedure-code"].map(said);
    assert_eq!(who, ["dan-cu/1", "H99.102", "clerk-1", "doi-chieu", "1.000009"]);
    assert_eq!(said("lgsp-query-id").len(), 32);

    let refusals = [
        ("046190000002", 404, "", Reason::SubjectNotFound),
        ("046190000003", 400, r#"{"reason":"MISMATCH"}"#, Reason::SubjectMismatch),
        ("046190000004", 503, "bảo trì", Reason::ServiceMaintenance),
        ("046190000005", 200, "<html>", Reason::ServiceFailed),
    ];
    for (number, status, body, reason) in refusals {
        owner.says.lock().unwrap().insert(number.into(), (status, body.into()));
        let refused = ask(&desk, number).await.unwrap_err();
        assert_eq!(Refusal::from_status(&refused).unwrap().reason(), reason, "{number}");
    }
    drop(police);
    bus.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desks_software_asks_its_adapter_and_hears_what_it_may_and_why_not() {
    let bus = Bus::start().await;
    declare(&bus).await;
    let (owner, address) = owner().await;
    let police = adapter(&bus, ("cong-an", "H99.CA"), &serving(address)).await;
    let (_desk, _folder, rest) = adapter(&bus, ("mot-cua-binh", "H99.102"), "").await;
    served(&bus.link("mot-cua-binh")).await;
    owner.says.lock().unwrap().insert("046190000001".into(), (200, r#"{"full_name":"TRẦN THỊ THỬ"}"#.into()));
    let question = |number: &str| {
        json!({ "service": "dan-cu", "purpose": "doi-chieu", "procedure_code": "1.000009", "intake_key": "ho-so-1",
            "payload": { "personal_number": number, "full_name": "TRẦN THỊ THỬ" } })
    };
    let (status, told) = post_query(rest, &question("046190000001")).await;
    assert_eq!((status, &told["reply"], &told["version"]), (200, &json!({ "full_name": "TRẦN THỊ THỬ" }), &json!(1)));
    assert_eq!(told["query_id"].as_str().unwrap().len(), 32);
    let id = told["query_id"].as_str().unwrap();
    let (status, snapshot) = call(rest, &format!("GET /v1/queries/{id}"), "").await;
    assert_eq!((status, &snapshot["reply"], &snapshot["query"]["outcome"]), (200, &told["reply"], &json!("ANSWERED")));
    assert_eq!(snapshot["payload"]["personal_number"], "046190000001");
    let (status, refused) = call(rest, "GET /v1/queries/00000000000000000000000000000000", "").await;
    assert_eq!((status, &refused["reason"]), (404, &json!("QUERY_NOT_FOUND")));
    let (status, refused) = call(rest, "GET /v1/queries/1", "").await;
    assert_eq!((status, &refused["fields"][0]["field"]), (422, &json!("query_id")));
    let (status, refused) = call(rest, "GET /v1/dossiers/H99.101-250714-0001/queries", "").await;
    assert_eq!((status, &refused["reason"]), (404, &json!("DOSSIER_NOT_FOUND")));
    let (status, refused) = post_query(rest, &question("046190000009")).await;
    assert_eq!((status, &refused["reason"]), (404, &json!("SUBJECT_NOT_FOUND")));
    assert!(refused["details"]["query_id"].is_string() && refused["remedy"]["vi"].is_string(), "{refused}");

    // Handed in under the key, the dossier has both, the newest first.
    let mut submission = submission();
    submission.request_key = "ho-so-1".into();
    submission.procedure_code = "1.000009".into();
    let code = submit(&bus.link("mot-cua-binh"), &submission).await.unwrap().receipt.dossier_code;
    let (status, page) = call(rest, &format!("GET /v1/dossiers/{code}/queries?page_size=9"), "").await;
    let outcomes: Vec<_> = page["queries"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!((status, outcomes), (200, vec![json!("SUBJECT_NOT_FOUND"), json!("ANSWERED")]));

    let mut both = question("046190000001");
    both["dossier_code"] = json!("H99.101-250714-0001");
    let (status, refused) = post_query(rest, &both).await;
    assert_eq!((status, &refused["fields"][0]["field"]), (422, &json!("intake_key")));
    let mut list = question("046190000001");
    list["payload"] = json!([]);
    assert_eq!(post_query(rest, &list).await.1["fields"][0]["field"], "payload");
    drop(police);
    bus.stop().await;
}
