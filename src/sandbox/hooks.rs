//! What the adapters post: to the simulated people, and to the developer.
//!
//! The developer's webhook goes through here unchanged, byte by byte with its headers, so that the signature stays good; that
//! a post was not taken is shown, and in the scenario `duplicate` every post that was taken is sent once more. A browser's page
//! that finds the port posts nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::from_fn;
use axum::routing::post;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::Value;
use tokio::net::TcpListener;

use super::control::refuse_pages;
use super::live::Live;
use super::people::People;
use super::place::PORTAL;
use super::scenario::Scenario;
use crate::failure::Failure;
use crate::local::is_here;
use crate::staging::http::Client;

/// As much as an adapter posts.
const MAX_BODY_BYTES: usize = 8 << 20;
/// A little less than the adapter waits, so that it is told why.
const PATIENCE: Duration = Duration::from_secs(8);
const PATIENCE_AGAIN: Duration = Duration::from_secs(1);

/// Where the developer wants what comes in.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: String,
    client: Client,
    path: String,
}

impl Target {
    /// Reads the URL of `--webhook`.
    ///
    /// # Errors
    /// It is none of this machine's kind.
    pub(super) fn parse(url: &str) -> anyhow::Result<Self> {
        let parts = url.strip_prefix("http://").map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
        let Some((address, path)) = parts.filter(|(address, _)| is_here(address) && url.parse::<http::Uri>().is_ok())
        else {
            return Err(Failure::usage_in(
                format!("--webhook {url}: cần địa chỉ http:// trên máy này, ví dụ http://127.0.0.1:9000/lgsp"),
                format!("--webhook {url}: wants an http:// URL on this machine, such as http://127.0.0.1:9000/lgsp"),
            ));
        };
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { url: url.to_owned(), client: Client::new(address), path: path.to_owned() })
    }
}

#[derive(Clone)]
struct Hooks {
    people: Arc<People>,
    target: Option<Target>,
}

/// Serves until the sandbox ends.
pub(super) async fn serve(listener: TcpListener, people: Arc<People>, target: Option<Target>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/simulated", post(simulated))
        .route("/developer", post(developer))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(refuse_pages))
        .with_state(Hooks { people, target });
    axum::serve(listener, routes).await
}

/// The simulated people act on what the portal is told; everybody else has the same event.
async fn simulated(State(hooks): State<Hooks>, body: Bytes) -> (StatusCode, String) {
    let event: Value = match serde_json::from_slice(&body) {
        Ok(event) => event,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()),
    };
    let data = &event["data"];
    if data["type"] != "dossier.event" || data["party"] != PORTAL {
        return (StatusCode::NO_CONTENT, String::new());
    }
    match hooks.people.told(data) {
        Ok(()) => (StatusCode::NO_CONTENT, String::new()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    }
}

async fn developer(State(hooks): State<Hooks>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    let Some(target) = &hooks.target else { return (StatusCode::NOT_FOUND, Bytes::new()) };
    let event: Value = serde_json::from_slice(&body).unwrap_or_default();
    let kind = event["type"].as_str().unwrap_or_default().to_owned();
    let dossier = event["subject"].as_str();
    let (status, answer) = pass_on(target, &headers, &body).await;
    if !status.is_success() {
        let why = match status {
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => String::from_utf8_lossy(&answer).into_owned(),
            status => status.to_string(),
        };
        hooks.people.live.webhook_failed(&target.url, &kind, dossier, &why);
        return (status, answer);
    }
    let scenario = dossier.map_or_else(|| *hooks.people.scenario.borrow(), |code| hooks.people.scenario_of(code));
    if scenario == Scenario::Duplicate {
        let id = event["id"].as_str().unwrap_or_default().to_owned();
        let again = tokio::spawn(once_more(target.clone(), headers, body, id, hooks.people.live.clone()));
        // In order, unless the developer's software takes so long that the adapter would give up meanwhile.
        let _ = tokio::time::timeout(PATIENCE_AGAIN, again).await;
    }
    (status, answer)
}

async fn once_more(target: Target, headers: HeaderMap, body: Bytes, id: String, live: Live) {
    let (again, _) = pass_on(&target, &headers, &body).await;
    live.note(
        "posted_twice",
        format!("webhook {id} đã gửi hai lần; lần hai được trả lời {again}"),
        format!("webhook {id} was posted twice; the second time was answered {again}"),
    );
}

async fn pass_on(target: &Target, headers: &HeaderMap, body: &Bytes) -> (StatusCode, Bytes) {
    // All but what belongs to this one connection.
    let mut passed = headers.clone();
    for own in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        passed.remove(own);
    }
    let sent = target.client.send(Method::POST, &target.path, passed, body.clone());
    match tokio::time::timeout(PATIENCE, sent).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => (StatusCode::BAD_GATEWAY, Bytes::from(error.root_cause().to_string())),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, Bytes::from_static(b"no answer in time")),
    }
}
