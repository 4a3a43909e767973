//! What the agency's own system sees of the adapter: answers, refusals, limits.

use http::{Method, StatusCode};
use lgsp_proto::{Reason, v1};
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::gateway::sha256;
use crate::support::{Adapter, PARTY, World, accepted, submission};

const CALLER: [(&str, &str); 2] = [("lgsp-party", PARTY), ("lgsp-actor", "mot.cua")];

fn fields(problem: &Value) -> Vec<&str> {
    let fields = problem["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    for field in fields {
        // In both languages, whichever way it came to be refused.
        let [vi, en] = ["problem_vi", "problem"].map(|name| field[name].as_str().unwrap());
        assert!(!vi.is_ascii() && en.is_ascii(), "{field}");
    }
    fields.iter().map(|field| field["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_malformed_is_refused_at_once_with_every_field() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let mut body = submission();
    body["locality"] = "Huế".into();
    body["applicant"]["personal_number"] = "123".into();
    let refused = adapter.post("/v1/dossiers", "k1", &body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let problem = refused.json();
    assert_eq!(problem["reason"], "FIELD_INVALID");
    assert_eq!(problem["status"], 422);
    assert_eq!(fields(&problem), ["applicant.personal_number", "locality"]);
    assert_eq!(problem["remedy"]["vi"], Reason::FieldInvalid.texts().remedy.vi);
    assert!(!problem.to_string().contains("\"123\""));
    // Nothing was taken in, so the key is free.
    assert_eq!(adapter.get("/v1/requests/k1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(adapter.submit("k1").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn every_way_to_ask_wrongly_has_its_own_answer() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let with = |more: &[(&'static str, &'static str)]| [&CALLER[..], more].concat();
    let large = vec![b' '; (2 << 20) + 1];
    for (method, path, headers, body, status, reason) in [
        (Method::POST, "/v1/dossiers", with(&[("idempotency-key", "k")]), &b"{"[..], 400, "MALFORMED"),
        (Method::POST, "/v1/dossiers", with(&[("idempotency-key", "k")]), b"{\"colour\":1}", 400, "MALFORMED"),
        (Method::POST, "/v1/dossiers", with(&[("idempotency-key", "k")]), b"7", 400, "MALFORMED"),
        (Method::POST, "/v1/dossiers", with(&[("idempotency-key", "k")]), &large, 413, "MESSAGE_TOO_LARGE"),
        (Method::POST, "/v1/dossiers", with(&[]), b"{}", 422, "FIELD_INVALID"),
        (Method::POST, "/v1/dossiers", with(&[("idempotency-key", "a b")]), b"{}", 422, "FIELD_INVALID"),
        (
            Method::POST,
            "/v1/dossiers/A-1/events",
            with(&[("idempotency-key", "k")]),
            b"{\"type\":\"x\"}",
            400,
            "MALFORMED",
        ),
        (Method::POST, "/v1/documents", with(&[]), b"x", 422, "FIELD_INVALID"),
        (Method::GET, "/v1/requests/unknown", with(&[]), b"", 404, "REQUEST_NOT_FOUND"),
        (Method::GET, "/v1/requests/unknown", vec![], b"", 422, "FIELD_INVALID"),
        (Method::GET, "/v1/requests/k?wait=1", with(&[]), b"", 400, "MALFORMED"),
        (Method::GET, "/v1/dossiers?status=done", with(&[]), b"", 422, "FIELD_INVALID"),
        (Method::GET, "/v1/route", with(&[]), b"", 422, "FIELD_INVALID"),
        (Method::GET, "/v1/requests?state=done", with(&[]), b"", 422, "FIELD_INVALID"),
        (Method::GET, "/v1/requests?state=queued,", with(&[]), b"", 422, "FIELD_INVALID"),
        (Method::GET, "/v1/requests?page_token=AQ", with(&[]), b"", 422, "PAGE_TOKEN_INVALID"),
        (Method::GET, "/v1/requests?colour=1", with(&[]), b"", 400, "MALFORMED"),
        (Method::GET, "/v1/exceptions?page_token=17", with(&[]), b"", 422, "PAGE_TOKEN_INVALID"),
        (Method::GET, "/v1/inbox?page_token=!", with(&[]), b"", 422, "PAGE_TOKEN_INVALID"),
        (Method::GET, "/v1/inbox?party=H99", with(&[]), b"", 403, "ACTS_FOR_MISSING"),
        (Method::GET, "/v1/webhooks/attempts?page_token=17", with(&[]), b"", 422, "PAGE_TOKEN_INVALID"),
        (Method::POST, "/v1/webhooks/test", with(&[]), b"{}", 404, "WEBHOOK_NOT_FOUND"),
        (Method::POST, "/v1/webhooks/test", with(&[]), b"[]", 400, "MALFORMED"),
        (Method::GET, "/v2/dossiers", with(&[]), b"", 404, "RESOURCE_NOT_FOUND"),
        (Method::PUT, "/v1/dossiers", with(&[]), b"", 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, "/v1/dossiers/%FF", with(&[]), b"", 400, "MALFORMED"),
    ] {
        let refused = adapter.call(method.clone(), path, &headers, body.to_vec()).await;
        let problem = refused.json();
        let what = format!("{method} {path}: {problem}");
        assert_eq!(refused.status.as_u16(), status, "{what}");
        assert_eq!(refused.headers["content-type"], "application/problem+json", "{what}");
        assert_eq!((&problem["reason"], &problem["status"]), (&reason.into(), &status.into()), "{what}");
        for text in [&problem["title"], &problem["message_vi"], &problem["remedy"]["en"], &problem["remedy"]["vi"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{what}");
            assert!(!text.as_str().unwrap().contains(".proto"), "whoever speaks JSON has none: {what}");
        }
    }
    assert_eq!(
        fields(&adapter.call(Method::POST, "/v1/dossiers", &[], "{}").await.json()),
        ["LGSP-Party", "LGSP-Actor", "Idempotency-Key"]
    );
    assert!(world.gateway.attempts().is_empty());
}

#[tokio::test]
async fn the_place_of_an_answer_has_the_key_as_it_was_given_wherever_a_path_can() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    for (key, segment) in [("ho-so_2025.07", "ho-so_2025.07"), ("a:1", "a%3A1")] {
        let taken = adapter.submit(key).await;
        let location = format!("/v1/requests/{segment}");
        assert_eq!(taken.headers["location"], location.as_str());
        assert_eq!(taken.json()["location"], location.as_str());
        assert_eq!(adapter.call(Method::GET, &location, &CALLER, "").await.status, StatusCode::OK, "{location}");
    }
}

#[tokio::test]
async fn a_party_that_the_adapter_does_not_act_for_is_refused() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let refused = adapter.post_as("H57.99", "/v1/dossiers", "k1", &submission()).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::FORBIDDEN, &"ACTS_FOR_MISSING".into()));
}

#[tokio::test]
async fn a_key_is_used_for_one_request_and_repeats_give_one_answer() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    adapter.submit("k1").await;
    adapter.outcome("k1").await;
    let again = adapter.submit("k1").await;
    assert_eq!((again.status, &again.json()["state"]), (StatusCode::ACCEPTED, &"admitted".into()));
    let mut other = submission();
    other["locality"] = "19759".into();
    let refused = adapter.post("/v1/dossiers", "k1", &other).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::CONFLICT, &"KEY_REUSED".into()));
    // Submissions and entries share their keys; parties do not.
    let refused = adapter.post("/v1/dossiers/A-1/events", "k1", &accepted()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let taken = adapter.post_as(crate::support::OTHER_PARTY, "/v1/dossiers", "k1", &other).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED);
    let outcome = [("lgsp-party", crate::support::OTHER_PARTY)];
    let path = "/v1/requests/k1?wait_ms=30000";
    assert_eq!(adapter.call(Method::GET, path, &outcome, "").await.json()["state"], "admitted");
    assert_eq!(world.gateway.effects(), ["k1", "k1"], "one for each party");
}

#[tokio::test]
async fn a_full_spool_says_so_and_takes_in_again_when_there_is_room() {
    let world = World::new().await;
    world.line.cut();
    let adapter = Adapter::start(world.config("spool.max_outgoing = 2")).await;
    adapter.submit("k1").await;
    adapter.submit("k2").await;
    let refused = adapter.submit("k3").await;
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::SERVICE_UNAVAILABLE, &"OVERLOADED".into()));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(adapter.submit("k2").await.status, StatusCode::ACCEPTED);
    world.line.mend();
    adapter.outcome("k1").await;
    adapter.outcome("k2").await;
    assert_eq!(adapter.submit("k3").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_refused_and_not_kept() {
    let world = World::new().await;
    let adapter = Adapter::start(world.config("spool.max_document_mib = 1")).await;
    let headers = [&CALLER[..], &[("content-type", "application/pdf")]].concat();
    let refused = adapter.call(Method::POST, "/v1/documents", &headers, vec![0; (1 << 20) + 1]).await;
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"DOCUMENT_TOO_LARGE".into())
    );
    assert_eq!(refused.json()["details"]["limit_bytes"], "1048576");
    // Without saying so beforehand.
    let chunked = [&headers[..], &[("transfer-encoding", "chunked")]].concat();
    let refused = adapter.call(Method::POST, "/v1/documents", &chunked, vec![0; 3 << 20]).await;
    assert_eq!(refused.json()["reason"], "DOCUMENT_TOO_LARGE");
    let kept = adapter.call(Method::POST, "/v1/documents", &headers, vec![0; 1 << 20]).await;
    assert_eq!(kept.status, StatusCode::CREATED);
}

#[tokio::test]
async fn only_who_has_the_token_gets_in_and_probes_need_none() {
    let world = World::new().await;
    let file = world.folder.path().join("token");
    std::fs::write(&file, "a-secret\n").unwrap();
    let mut adapter = Adapter::start(world.config(&format!("rest.token_file = {file:?}"))).await;
    for token in [None, Some("another"), Some("a-secret-and-more"), Some("")] {
        adapter.token = token.map(str::to_owned);
        let refused = adapter.get("/status").await;
        assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::UNAUTHORIZED, &"TOKEN_INVALID".into()));
        assert_eq!(adapter.submit("k1").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(adapter.get("/healthz").await.status, StatusCode::OK);
    adapter.token = Some("a-secret".into());
    assert_eq!(adapter.get("/status").await.status, StatusCode::OK);
}

#[tokio::test]
async fn questions_are_passed_on_and_refusals_come_back_as_they_are() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let found = adapter.get("/v1/dossiers/H57.12-250714-0001").await.json();
    assert_eq!(found["dossier"]["status"], "processing");
    assert_eq!(found["dossier"]["status_vi"], "Đang xử lý");
    assert_eq!(found["events"][0]["type"], "submitted");
    let missing = adapter.get("/v1/dossiers/H57.12-250714-0002").await;
    assert_eq!((missing.status, &missing.json()["reason"]), (StatusCode::NOT_FOUND, &"DOSSIER_NOT_FOUND".into()));

    let page = adapter.get("/v1/dossiers?status=processing,resolved&procedure=1.001193.000.00.00.H57").await.json();
    let statuses: Vec<_> = page["dossiers"].as_array().unwrap().iter().map(|d| d["status"].clone()).collect();
    assert_eq!(statuses, ["processing", "resolved"]);
    assert_eq!(page["dossiers"][0]["procedure_code"], "1.001193");
    assert_eq!(page["next_page_token"], "next");

    let route = adapter.get("/v1/route?procedure=1.001193&locality=19753").await.json();
    assert_eq!((&route["competent_authority"], &route["rule"]), (&"H57.12".into(), &"1.001193 in 19753".into()));

    let content: Vec<u8> = (0..200_000).map(|at| (at % 251) as u8).collect();
    world.gateway.keep_document(PARTY, &sha256(&content), &content);
    let digest = data_encoding::HEXLOWER.encode(&sha256(&content));
    let document = adapter.get(&format!("/v1/dossiers/H57.12-250714-0001/documents/{digest}")).await;
    assert_eq!(document.headers["content-type"], "application/pdf");
    assert_eq!(document.body, content);
    let missing = adapter.get(&format!("/v1/dossiers/H57.12-250714-0001/documents/{}", "ab".repeat(32))).await;
    assert_eq!((missing.status, &missing.json()["reason"]), (StatusCode::NOT_FOUND, &"DOCUMENT_NOT_FOUND".into()));
}

#[tokio::test]
async fn what_only_the_gateway_knows_is_not_guessed_while_the_line_is_down() {
    let world = World::new().await;
    world.line.cut();
    let adapter = world.adapter().await;
    let refused = adapter.get("/v1/dossiers/H57.12-250714-0001").await;
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"GATEWAY_UNREACHABLE".into())
    );
    assert_eq!(adapter.get("/healthz").await.status, StatusCode::OK, "a line that is down is no reason to restart");
    world.line.mend();
    adapter.until(|status| status["connected"] == true).await;
    assert_eq!(adapter.get("/v1/dossiers/H57.12-250714-0001").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_status_says_what_waits_where() {
    let world = World::new().await;
    world.line.cut();
    let adapter = world.adapter().await;
    adapter.submit("k1").await;
    let status = adapter.status().await;
    assert_eq!((&status["connected"], &status["outgoing"]["waiting"]), (&false.into(), &1.into()));
    assert_eq!(status["parties"], json!([PARTY, crate::support::OTHER_PARTY]));
    assert_eq!(status["gateway"], format!("https://{}", world.line.address()));
    world.line.mend();
    adapter.outcome("k1").await;
    let status = adapter.until(|status| status["outgoing"]["waiting"] == 0).await;
    assert_eq!((&status["outgoing"]["admitted"], &status["connected"]), (&1.into(), &true.into()));
}

#[tokio::test]
async fn the_description_is_served_to_anybody_and_every_path_in_it_is_there() {
    let world = World::new().await;
    let file = world.folder.path().join("token");
    std::fs::write(&file, "a-secret\n").unwrap();
    let mut adapter = Adapter::start(world.config(&format!("rest.token_file = {file:?}"))).await;
    let served = adapter.get("/v1/openapi.json").await;
    assert_eq!(
        (served.status, &served.headers["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    assert_eq!(served.body, lgsp_adapters::description());
    let described = served.json();
    assert_eq!(described["openapi"], "3.1.0");

    adapter.token = Some("a-secret".into());
    for (path, operations) in described["paths"].as_object().unwrap() {
        let path = path.replace("{code}", "A-1").replace("{key}", "k").replace("{sha256}", &"ab".repeat(32));
        for method in ["get", "post", "put", "patch", "delete"] {
            let method_of = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = adapter.call(method_of, &path, &[], "").await;
            let is_described = operations.get(method).is_some();
            assert_eq!(answer.status != StatusCode::METHOD_NOT_ALLOWED, is_described, "{method} {path}");
            // What is not allowed without its headers says so as described.
            if is_described && !answer.status.is_success() {
                let statuses = &operations[method]["responses"];
                assert!(statuses.get(answer.status.as_str()).is_some(), "{method} {path}: {}", answer.status);
                // This adapter has no portal, and says so.
                if !path.starts_with("/v1/portal") {
                    assert_ne!(answer.json()["reason"], "RESOURCE_NOT_FOUND", "{method} {path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_page_has_one_size_everywhere_and_a_bad_one_is_named() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    for list in ["dossiers", "requests", "inbox", "exceptions"] {
        for size in ["0", "201", "-1", "many", "4294967296"] {
            let refused = adapter.get(&format!("/v1/{list}?page_size={size}")).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{list} {size}");
            assert_eq!(fields(&refused.json()), ["page_size"], "{list} {size}");
        }
        for size in ["1", "200"] {
            assert_eq!(
                adapter.get(&format!("/v1/{list}?page_size={size}")).await.status,
                StatusCode::OK,
                "{list} {size}"
            );
        }
    }
}

#[tokio::test]
async fn the_partys_requests_are_listed_by_state_and_page_by_page() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    for key in ["k1", "k2"] {
        adapter.submit(key).await;
        adapter.outcome(key).await;
    }
    world.line.cut();
    for key in ["k3", "k4", "k5"] {
        adapter.submit(key).await;
    }
    let listed = async |query: String| {
        let page = adapter.get(&format!("/v1/requests?{query}")).await.json();
        let keys =
            page["requests"].as_array().unwrap().iter().map(|one| one["request_key"].as_str().unwrap().to_owned());
        (keys.collect::<Vec<_>>(), page["next_page_token"].as_str().map(str::to_owned))
    };
    assert_eq!(listed(String::new()).await, (["k5", "k4", "k3", "k2", "k1"].map(String::from).to_vec(), None));
    assert_eq!(listed("state=admitted".into()).await.0, ["k2", "k1"]);
    assert_eq!(listed("state=queued,sending".into()).await.0, ["k5", "k4", "k3"]);
    assert_eq!(listed("state=refused".into()).await.0, [""; 0]);
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let (keys, next) = listed(format!("page_size=2&page_token={token}")).await;
        assert!(keys.len() <= 2);
        all.extend(keys);
        let Some(next) = next else { break };
        token = next;
    }
    assert_eq!(all, ["k5", "k4", "k3", "k2", "k1"]);
    // Another party's are its own.
    let other = [("lgsp-party", crate::support::OTHER_PARTY)];
    assert_eq!(adapter.call(Method::GET, "/v1/requests", &other, "").await.json()["requests"], json!([]));
    let first = adapter.get("/v1/requests?state=admitted&page_size=1").await.json()["requests"][0].clone();
    assert_eq!((&first["kind"], &first["state"]), (&"submission".into(), &"admitted".into()));
    assert!(first["dossier_code"].is_string() && first["queued_at"].is_string(), "{first}");
}

#[tokio::test]
async fn who_has_seen_the_answer_is_told_that_it_is_the_same() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    for path in [
        "/v1/dossiers/H57.12-250714-0001",
        "/v1/dossiers/H57.12-250714-0001?after=1",
        "/v1/route?procedure=1.001193&locality=19753",
        "/v1/openapi.json",
    ] {
        let first = adapter.get(path).await;
        let tag = first.headers["etag"].to_str().unwrap();
        let again = adapter.call(Method::GET, path, &[&CALLER[..], &[("if-none-match", tag)]].concat(), "").await;
        assert_eq!(
            (again.status, &again.body[..], &again.headers["etag"]),
            (StatusCode::NOT_MODIFIED, &b""[..], &first.headers["etag"])
        );
        let other = [&CALLER[..], &[("if-none-match", "\"another\"")]].concat();
        assert_eq!(adapter.call(Method::GET, path, &other, "").await.body, first.body, "{path}");
    }
}

#[tokio::test]
async fn what_a_caller_has_seen_goes_along_with_what_it_says() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let found = adapter.get("/v1/dossiers/H57.12-250714-0001").await;
    let (tag, sequence) = (found.headers["etag"].to_str().unwrap(), found.json()["dossier"]["sequence"].clone());
    let say = async |key: &'static str, tag: &str, body: Value| {
        let headers = [&CALLER[..], &[("idempotency-key", key), ("if-match", tag)]].concat();
        adapter.call(Method::POST, "/v1/dossiers/H57.12-250714-0001/events", &headers, body.to_string()).await
    };
    assert_eq!(say("k1", tag, accepted()).await.status, StatusCode::ACCEPTED);
    adapter.outcome("k1").await;
    let sent = v1::Entry::decode(world.gateway.attempts()[0].body.clone()).unwrap();
    assert_eq!((json!(sent.expected_sequence), sequence), (json!(3), json!(3)));
    let mut other = accepted();
    other["expected_sequence"] = 77.into();
    let refused = say("k2", tag, other).await;
    assert_eq!(
        (refused.status, fields(&refused.json())),
        (StatusCode::UNPROCESSABLE_ENTITY, vec!["expected_sequence"])
    );
    let refused = say("k2", "W/\"3\"", accepted()).await;
    assert_eq!((refused.status, fields(&refused.json())), (StatusCode::UNPROCESSABLE_ENTITY, vec!["If-Match"]));
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content: Vec<u8> = (0..200_000).map(|at| (at % 251) as u8).collect();
    world.gateway.keep_document(PARTY, &sha256(&content), &content);
    let digest = data_encoding::HEXLOWER.encode(&sha256(&content));
    let path = format!("/v1/dossiers/H57.12-250714-0001/documents/{digest}");
    let ask = async |more: &[(&str, &str)]| adapter.call(Method::GET, &path, &[&CALLER[..], more].concat(), "").await;
    let tag = format!("\"{digest}\"");
    let whole = ask(&[]).await;
    assert_eq!(
        (whole.status, &whole.headers["accept-ranges"], &whole.headers["etag"]),
        (StatusCode::OK, &"bytes".parse().unwrap(), &tag.parse().unwrap())
    );

    for (range, part, named) in [
        ("bytes=150000-", &content[150_000..], "bytes 150000-199999/200000"),
        ("bytes=49999-100001", &content[49_999..=100_001], "bytes 49999-100001/200000"),
        ("bytes=-70000", &content[130_000..], "bytes 130000-199999/200000"),
        ("bytes=0-0", &content[..1], "bytes 0-0/200000"),
    ] {
        let answer = ask(&[("range", range), ("if-range", &tag)]).await;
        assert_eq!(
            (answer.status, &answer.headers["content-range"]),
            (StatusCode::PARTIAL_CONTENT, &named.parse().unwrap())
        );
        assert!(answer.body == part, "{range}");
    }
    // Of something else, the whole.
    assert_eq!(ask(&[("range", "bytes=150000-"), ("if-range", "\"other\"")]).await.body, content);
    let beyond = ask(&[("range", "bytes=200000-")]).await;
    assert_eq!(
        (beyond.status, &beyond.headers["content-range"]),
        (StatusCode::RANGE_NOT_SATISFIABLE, &"bytes */200000".parse().unwrap())
    );
    assert_eq!(beyond.json()["reason"], "RANGE_NOT_SATISFIABLE");
    assert_eq!(ask(&[("if-none-match", &tag)]).await.status, StatusCode::NOT_MODIFIED);
}
