//! Documents that come in pieces, over a line that breaks off and to an adapter that is killed.

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::gateway::sha256;
use crate::support::{Adapter, Answered, OTHER_PARTY, PARTY, PATIENCE, World, until};

const PDF: &str = "application/pdf";

fn content() -> Vec<u8> {
    (0..300_000).map(|at| (at % 251) as u8).collect()
}

async fn begin(adapter: &Adapter, length: &str) -> Answered {
    let headers = [("lgsp-party", PARTY), ("upload-length", length), ("content-type", PDF)];
    adapter.call(Method::POST, "/v1/document-uploads?file_name=to-khai.pdf", &headers, "").await
}

async fn began(adapter: &Adapter, length: usize) -> String {
    let begun = begin(adapter, &length.to_string()).await;
    assert_eq!((begun.status, &begun.headers["upload-offset"]), (StatusCode::CREATED, &"0".parse().unwrap()));
    begun.headers["location"].to_str().unwrap().to_owned()
}

async fn add(adapter: &Adapter, upload: &str, at: usize, bytes: &[u8]) -> Answered {
    let headers =
        [("lgsp-party", PARTY), ("upload-offset", &at.to_string()), ("content-type", "application/partial-upload")];
    adapter.call(Method::PATCH, upload, &headers, bytes.to_vec()).await
}

async fn head(adapter: &Adapter, party: &str, upload: &str) -> Answered {
    adapter.call(Method::HEAD, upload, &[("lgsp-party", party)], "").await
}

fn is_at(answer: &Answered, status: u16, offset: usize, complete: &str) {
    let told = [&answer.headers["upload-offset"], &answer.headers["upload-complete"]];
    assert_eq!(
        (answer.status.as_u16(), told),
        (status, [&offset.to_string().parse().unwrap(), &complete.parse().unwrap()])
    );
}

fn is_the_document(answer: &Answered, content: &[u8]) {
    is_at(answer, 201, content.len(), "?1");
    let document = answer.json();
    assert_eq!(document["sha256"], data_encoding::HEXLOWER.encode(&sha256(content)));
    assert_eq!((&document["size_bytes"], &document["media_type"]), (&content.len().into(), &PDF.into()));
    assert_eq!(document["file_name"], "to-khai.pdf");
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_after_the_adapter_was_killed_and_is_a_document_like_any_other() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content = content();
    let upload = began(&adapter, content.len()).await;
    is_at(&add(&adapter, &upload, 0, &content[..100_000]).await, 204, 100_000, "?0");
    adapter.kill().await;

    let adapter = world.adapter().await;
    is_at(&head(&adapter, PARTY, &upload).await, 204, 100_000, "?0");
    is_at(&add(&adapter, &upload, 100_000, &content[100_000..250_000]).await, 204, 250_000, "?0");
    is_the_document(&add(&adapter, &upload, 250_000, &content[250_000..]).await, &content);
    adapter.kill().await;

    // Who did not hear of it hears the same again.
    let adapter = world.adapter().await;
    is_at(&head(&adapter, PARTY, &upload).await, 204, content.len(), "?1");
    is_the_document(&add(&adapter, &upload, content.len(), b"").await, &content);
    let mut dossier = crate::support::submission();
    let document: Value = add(&adapter, &upload, content.len(), b"").await.json();
    dossier["components"] = serde_json::json!([{ "code": "to-khai", "document": document }]);
    adapter.post("/v1/dossiers", "k1", &dossier).await;
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    // The pieces are gone: what is left is the document, the beginning and the end.
    let files = std::fs::read_dir(world.spool_folder().join("documents")).unwrap().count();
    assert!(files <= 3, "{files}");
}

#[tokio::test]
async fn what_came_before_the_line_broke_off_counts() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content = content();
    let upload = began(&adapter, content.len()).await;
    let mut line = TcpStream::connect(adapter.address()).await.unwrap();
    let head_of = format!(
        "PATCH {upload} HTTP/1.1\r\nhost: a\r\nlgsp-party: {PARTY}\r\nupload-offset: 0\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    line.write_all(head_of.as_bytes()).await.unwrap();
    line.write_all(&content[..200_000]).await.unwrap();
    line.shutdown().await.unwrap();
    until(async || (head(&adapter, PARTY, &upload).await.headers["upload-offset"] == "200000").then_some(())).await;
    is_the_document(&add(&adapter, &upload, 200_000, &content[200_000..]).await, &content);
}

#[tokio::test]
async fn an_upload_is_one_partys_and_goes_on_at_one_place_only() {
    let world = World::new().await;
    let adapter = Adapter::start(world.config("spool.max_document_mib = 1")).await;
    let upload = began(&adapter, 10).await;
    is_at(&add(&adapter, &upload, 0, b"01234").await, 204, 5, "?0");
    for (at, bytes) in [(0, &b"01234"[..]), (4, b"4"), (6, b"6")] {
        let refused = add(&adapter, &upload, at, bytes).await;
        is_at(&refused, 409, 5, "?0");
        assert_eq!(refused.json()["reason"], "UPLOAD_OFFSET_WRONG");
    }
    assert_eq!(
        add(&adapter, &upload, 5, b"567890").await.json()["reason"],
        "UPLOAD_OFFSET_WRONG",
        "more than was said"
    );
    is_at(&head(&adapter, PARTY, &upload).await, 204, 5, "?0");
    assert_eq!(head(&adapter, OTHER_PARTY, &upload).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        adapter.call(Method::DELETE, &upload, &[("lgsp-party", OTHER_PARTY)], "").await.json()["reason"],
        "UPLOAD_NOT_FOUND"
    );
    assert_eq!(
        adapter.call(Method::DELETE, &upload, &[("lgsp-party", PARTY)], "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(head(&adapter, PARTY, &upload).await.status, StatusCode::NOT_FOUND);
    assert_eq!(std::fs::read_dir(world.spool_folder().join("documents")).unwrap().count(), 0);

    let refused = begin(&adapter, "1048577").await;
    assert_eq!(
        (refused.status, &refused.json()["reason"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"DOCUMENT_TOO_LARGE".into())
    );
    for wrong in ["-1", "+1", "1.0", "x"] {
        assert_eq!(begin(&adapter, wrong).await.json()["fields"][0]["field"], "Upload-Length", "{wrong}");
    }
    for _ in 0..64 {
        began(&adapter, 10).await;
    }
    assert_eq!(begin(&adapter, "10").await.json()["reason"], "OVERLOADED");
}

#[tokio::test]
async fn uploads_that_are_complete_leave_room_for_more() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let mut uploads = Vec::new();
    for number in 0..65 {
        let upload = began(&adapter, 1).await;
        is_the_document(&add(&adapter, &upload, 0, &[number]).await, &[number]);
        uploads.push(upload);
    }
    // Who did not hear of it still does.
    is_at(&head(&adapter, PARTY, &uploads[0]).await, 204, 1, "?1");
}

#[tokio::test]
async fn a_line_that_is_dead_and_does_not_know_it_keeps_nobody_from_going_on() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content = content();
    let upload = began(&adapter, content.len()).await;
    let mut dead = TcpStream::connect(adapter.address()).await.unwrap();
    let head_of = format!(
        "PATCH {upload} HTTP/1.1\r\nhost: a\r\nlgsp-party: {PARTY}\r\nupload-offset: 0\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    dead.write_all(head_of.as_bytes()).await.unwrap();
    dead.write_all(&content[..100_000]).await.unwrap();
    // It says nothing more, and is not closed. Whoever comes now learns how far it came, once that is kept.
    let mut at = 0;
    loop {
        let answer = add(&adapter, &upload, at, &content[at..]).await;
        if answer.status == StatusCode::CREATED {
            is_the_document(&answer, &content);
            break;
        }
        at = answer.headers["upload-offset"].to_str().unwrap().parse().unwrap();
    }
}

/// Begins to add at a place, and is heard, but says nothing more.
async fn silent(adapter: &Adapter, upload: &str, at: usize, length: usize) -> TcpStream {
    let mut line = TcpStream::connect(adapter.address()).await.unwrap();
    let head_of = format!(
        "PATCH {upload} HTTP/1.1\r\nhost: a\r\nlgsp-party: {PARTY}\r\nupload-offset: {at}\r\n\
         content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
    );
    line.write_all(head_of.as_bytes()).await.unwrap();
    assert!(told(&mut line).await.starts_with("HTTP/1.1 100 "));
    line
}

/// The next head of an answer.
async fn told(line: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let whole = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(line.read_u8().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, whole).await.unwrap();
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn who_loses_its_turn_is_told_how_far_it_is() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content = content();
    let upload = began(&adapter, content.len()).await;
    is_at(&add(&adapter, &upload, 0, &content[..100_000]).await, 204, 100_000, "?0");
    let mut earlier = silent(&adapter, &upload, 100_000, 200_000).await;
    is_the_document(&add(&adapter, &upload, 100_000, &content[100_000..]).await, &content);
    let told = told(&mut earlier).await;
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("upload-offset: 100000\r\n"), "{told}");
}

#[tokio::test]
async fn what_is_thrown_away_keeps_nobody_from_going_on() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let content = content();
    let upload = began(&adapter, content.len()).await;
    let _elsewhere = silent(&adapter, &upload, 7, 1000).await;
    is_the_document(&add(&adapter, &upload, 0, &content).await, &content);
}
