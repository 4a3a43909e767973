//! The agency's own system: takes webhooks, keeps its own books, and answers as a test tells it to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::sync::watch;

use super::when;

/// One message that was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    pub id: String,
    pub traceparent: Option<String>,
    /// The CloudEvent, without its data.
    pub event: Value,
    /// Its data.
    pub body: Value,
    /// What was signed: the headers, and the bytes after them.
    pub headers: HeaderMap,
    pub bytes: Bytes,
    /// What it was answered.
    pub answer: StatusCode,
}

/// See the module.
#[derive(Clone)]
pub struct Agency {
    address: SocketAddr,
    books: Arc<Books>,
}

#[derive(Default)]
struct Books {
    posted: Mutex<Vec<Posted>>,
    /// What the next posts with this id are answered.
    answers: Mutex<HashMap<String, Vec<StatusCode>>>,
    /// Posts with these ids wait.
    held: watch::Sender<Vec<String>>,
    /// Told when something was posted.
    news: watch::Sender<()>,
}

impl Agency {
    pub async fn start() -> Self {
        let books = Arc::new(Books::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/lgsp", post(take)).with_state(books.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, books }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next posts with this id are answered so, one after the other; later ones 204.
    pub fn answer(&self, id: &str, answers: &[StatusCode]) {
        self.books.answers.lock().unwrap().insert(id.to_owned(), answers.to_vec());
    }

    /// Posts with this id get no answer until they are let go.
    pub fn hold(&self, id: &str) {
        self.books.held.send_modify(|held| held.push(id.to_owned()));
    }

    pub fn let_go(&self, id: &str) {
        self.books.held.send_modify(|held| held.retain(|other| other != id));
    }

    /// Everything that was posted, in order.
    pub fn posted(&self) -> Vec<Posted> {
        self.books.posted.lock().unwrap().clone()
    }

    /// The ids of what was taken, in order.
    pub fn taken(&self) -> Vec<String> {
        let posted = self.posted().into_iter().filter(|posted| posted.answer.is_success());
        posted.map(|posted| posted.id).collect()
    }

    /// Waits until so much was taken.
    pub async fn takes(&self, count: usize) -> Vec<String> {
        self.takes_as(|taken| taken.len() >= count).await
    }

    /// Waits until what was taken is as wanted.
    pub async fn takes_as(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        when(self.books.news.subscribe(), || Some(self.taken()).filter(|taken| wanted(taken))).await
    }
}

async fn take(State(books): State<Arc<Books>>, headers: HeaderMap, bytes: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let mut event: Value = serde_json::from_slice(&bytes).unwrap();
    let id = event["id"].as_str().unwrap().to_owned();
    assert_eq!(header("webhook-id"), Some(id.replace('.', "%2E")));
    let mut held = books.held.subscribe();
    held.wait_for(|held| !held.contains(&id)).await.unwrap();
    let answer = {
        let mut answers = books.answers.lock().unwrap();
        let next = answers.get_mut(&id).filter(|answers| !answers.is_empty());
        next.map_or(StatusCode::NO_CONTENT, |answers| answers.remove(0))
    };
    let body = event.as_object_mut().unwrap().remove("data").unwrap();
    let traceparent = header("traceparent");
    books.posted.lock().unwrap().push(Posted { id, traceparent, event, body, headers, bytes, answer });
    books.news.send_replace(());
    answer
}
