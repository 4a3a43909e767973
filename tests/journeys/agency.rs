//! A stand-in for an agency's own software: it knows the adapter's REST API and webhooks, and nothing else.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http::{self, Answer};
use crate::support::fresh_key;
use crate::within;

/// An agency that is one party.
pub(crate) struct Agency {
    party: &'static str,
    /// Where the adapter's webhooks go.
    pub(crate) hook: SocketAddr,
    books: Arc<Books>,
    rest: Mutex<Option<SocketAddr>>,
}

/// What the webhooks told, in the order in which they came.
#[derive(Default)]
struct Books {
    told: watch::Sender<Vec<Value>>,
    /// Out of order: every webhook gets an error, and nothing is booked.
    down: AtomicBool,
    /// Every webhook is refused for good, and nothing is booked.
    refuses: AtomicBool,
}

impl Agency {
    /// An agency whose webhook listens already.
    pub(crate) async fn open(party: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = listener.local_addr().unwrap();
        let books = Arc::new(Books::default());
        let routes = Router::new().route("/lgsp", post(take)).with_state(books.clone());
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { party, hook, books, rest: Mutex::new(None) }
    }

    /// Where its adapter is from now on.
    pub(crate) fn use_adapter(&self, rest: SocketAddr) {
        *self.rest.lock().unwrap() = Some(rest);
    }

    /// Takes the agency's software down, or brings it back.
    pub(crate) fn set_down(&self, down: bool) {
        self.books.down.store(down, Ordering::SeqCst);
    }

    /// Has the agency's software refuse everything for good, or not any more.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.books.refuses.store(refuses, Ordering::SeqCst);
    }

    /// One call to the adapter, in the party's name.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in [("lgsp-party", self.party), ("lgsp-actor", "clerk-1")].iter().chain(more) {
            headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let rest = self.rest.lock().unwrap().expect("the agency has an adapter");
        http::send(rest, method, path, headers, body.into()).await
    }

    /// Uploads a document, and gives what a submission or an entry names it by.
    pub(crate) async fn upload(&self, content: impl Into<Bytes>) -> Value {
        let headers = [("content-type", "application/pdf")];
        self.call(Method::POST, "/v1/documents?file_name=giay-to.pdf", &headers, content).await.json(201)
    }

    /// Downloads a document of a dossier.
    pub(crate) async fn download(&self, code: &str, document: &Value) -> Bytes {
        let path = format!("/v1/dossiers/{code}/documents/{}", document["sha256"].as_str().unwrap());
        self.call(Method::GET, &path, &[], Bytes::new()).await.with(200)
    }

    /// Hands a dossier in; the adapter answers 202.
    pub(crate) async fn submit(&self, key: &str, submission: &Value) -> Value {
        self.post("/v1/dossiers", key, submission).await
    }

    /// Says something about a dossier, and waits until its adapter has told that it was admitted.
    pub(crate) async fn say(&self, code: &str, at: &str, mut what: Value) {
        let key = fresh_key();
        what["occurred_at"] = at.into();
        self.post(&format!("/v1/dossiers/{code}/events"), &key, &what).await;
        let outcome = self.outcome(&key).await;
        assert_eq!(outcome["type"], "request.admitted", "{outcome}");
    }

    /// Hands something to the adapter under a key; it answers 202.
    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Value {
        self.call(Method::POST, path, &[("idempotency-key", key)], body.to_string()).await.json(202)
    }

    /// How a request stands, as far as the adapter knows.
    pub(crate) async fn request(&self, key: &str) -> Value {
        self.ask(&format!("/v1/requests/{key}")).await
    }

    /// How a dossier stands, from the gateway.
    pub(crate) async fn show(&self, code: &str) -> Value {
        self.ask(&format!("/v1/dossiers/{code}")).await
    }

    /// Asks the adapter for JSON.
    pub(crate) async fn ask(&self, path: &str) -> Value {
        self.call(Method::GET, path, &[], Bytes::new()).await.json(200)
    }

    /// Waits for the webhook that tells what became of a request.
    pub(crate) async fn outcome(&self, key: &str) -> Value {
        self.told(|hook| hook["request_key"] == key).await
    }

    /// Waits for the webhook of an event.
    pub(crate) async fn event(&self, code: &str, sequence: u32) -> Value {
        let wanted = json!(["dossier.event", code, sequence]);
        self.told(|hook| json!([hook["type"], hook["dossier_code"], hook["sequence"]]) == wanted).await
    }

    async fn told(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut told = self.books.told.subscribe();
        let told = within("a webhook", told.wait_for(|told| told.iter().any(&wanted))).await.unwrap();
        told.iter().find(|hook| wanted(hook)).unwrap().clone()
    }

    /// Everything it was told, in order.
    pub(crate) fn told_so_far(&self) -> Vec<Value> {
        self.books.told.borrow().clone()
    }

    /// Everything it was told, in order: what happened to which dossier with which number, and whether that was told to it as
    /// somebody else's doing or as the outcome of its own.
    pub(crate) fn story(&self) -> Vec<String> {
        let line = |hook: &Value| {
            let (event, whose) = match hook["type"].as_str().unwrap() {
                "dossier.event" => (&hook["event"], "theirs"),
                "request.admitted" => (&hook["receipt"], "ours"),
                _ => panic!("{hook}"),
            };
            format!("{} {} {whose}", event["sequence"], event["type"].as_str().unwrap())
        };
        self.books.told.borrow().iter().map(line).collect()
    }
}

/// A webhook: in the books first, answered then.
async fn take(State(books): State<Arc<Books>>, body: Bytes) -> StatusCode {
    if books.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if books.refuses.load(Ordering::SeqCst) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    let mut event: Value = serde_json::from_slice(&body).unwrap();
    // A refusal is about no dossier, and the gateway does not say when it refused.
    let of_dossier = event["type"] != "vn.lgsp.request.refused.v1";
    assert_eq!((event["subject"].is_string(), event["time"].is_string()), (of_dossier, of_dossier), "{event}");
    assert_eq!(event["subject"], event["data"]["dossier_code"]);
    books.told.send_modify(|told| told.push(event["data"].take()));
    StatusCode::NO_CONTENT
}
