//! What a developer's own webhook gets, and what shows when it is not there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::Sandbox;

/// One post: its headers by lower-case name, and its body.
#[derive(Clone, Debug, PartialEq)]
struct Post {
    id: String,
    signature: String,
    event: Value,
}

/// Answers every post with 204 from now on.
fn receive(listener: TcpListener) -> Arc<Mutex<Vec<Post>>> {
    let posts = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&posts);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || while take(&stream, &kept).is_some() {});
        }
    });
    posts
}

fn take(stream: &TcpStream, posts: &Mutex<Vec<Post>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut id, mut signature, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim().split_once(": ") else {
            if line.trim().is_empty() {
                break;
            } else {
                continue;
            };
        };
        match name.to_ascii_lowercase().as_str() {
            "webhook-id" => id = value.to_owned(),
            "webhook-signature" => signature = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    posts.lock().unwrap().push(Post { id, signature, event: serde_json::from_slice(&body).unwrap() });
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()
}

#[test]
fn with_duplicate_every_post_comes_twice_alike_and_signed() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/lgsp", listener.local_addr().unwrap());
    let posts = receive(listener);
    let sandbox = Sandbox::start(&["--webhook", &url, "--scenario", "duplicate"]);
    let code = sandbox.hand_in();
    assert_eq!(sandbox.events(&code, 5).last().unwrap(), "Returned");
    // The request's outcome and four events of others, each twice.
    sandbox.wait("five posts came twice", |lines| {
        (lines.iter().filter(|line| line.contains("was posted twice")).count() >= 5).then_some(())
    });
    let posts = posts.lock().unwrap().clone();
    assert_eq!(posts.len(), 10, "{posts:#?}");
    let mut kinds = Vec::new();
    for first in &posts {
        let alike: Vec<&Post> = posts.iter().filter(|post| post.id == first.id).collect();
        assert_eq!(alike, [first, first], "twice, and alike");
        assert!(first.signature.starts_with("v1,"));
        let kind = first.event["type"].as_str().unwrap().to_owned();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.sort();
    let expected =
        ["dossier.accepted", "dossier.processing_started", "dossier.resolved", "dossier.returned", "request.admitted"];
    assert_eq!(kinds, expected.map(|kind| format!("vn.lgsp.{kind}.v1")));
}

#[test]
fn a_webhook_that_is_not_there_is_told_with_why_and_gets_everything_once_it_is() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sandbox = Sandbox::start(&["--webhook", &format!("http://{address}/")]);
    let code = sandbox.hand_in();
    let failed = sandbox.sees(&[&code, "webhook", "vn.lgsp.request.admitted.v1", "it comes again"]);
    assert!(failed.to_lowercase().contains("refused"), "{failed}");
    let posts = receive(TcpListener::bind(address).unwrap());
    sandbox.events(&code, 5);
    sandbox.wait("everything is taken", |_| {
        let taken = posts.lock().unwrap().iter().filter(|post| post.event["subject"] == *code).count();
        (taken >= 5).then_some(())
    });
    // In order, however it came.
    let posts = posts.lock().unwrap();
    let of_dossier = posts.iter().filter_map(|post| post.event["data"]["sequence"].as_u64());
    assert_eq!(of_dossier.collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[test]
fn a_webhook_that_is_no_address_on_this_machine_is_refused() {
    let elsewhere = ["http://192.0.2.1:9000/lgsp", "http://may.example/lgsp", "http://127.0.0.1:9000@192.0.2.1/lgsp"];
    for url in [&["https://127.0.0.1:9000/", "127.0.0.1:9000", "http:///lgsp"][..], &elsewhere].concat() {
        let refused = crate::support::lgsp().args(["sandbox", "--port", "0", "--webhook", url]).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && said.contains("http://127.0.0.1:9000/lgsp"), "{url}: {said}");
    }
}
