//! The local interface of the agency's own system: REST and JSON over HTTP/1.1, for the machine or network next to it.
//!
//! Asynchronous from the start: what is to be sent is answered with 202 once it is in the spool; what became of it is asked
//! for, waited for, or told by webhook. Questions about dossiers and routes are passed on to the gateway as they come.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/documents` | 201, the document's digest |
//! | `POST /v1/dossiers` | 202, the request's key and location |
//! | `POST /v1/dossiers/{code}/events` | 202, likewise |
//! | `GET /v1/requests/{key}?wait_ms=` | how the request stands, and its outcome |
//! | `GET /v1/dossiers`, `GET /v1/dossiers/{code}` | from the gateway |
//! | `GET /v1/dossiers/{code}/documents/{sha256}` | from the gateway, streamed |
//! | `GET /v1/route?procedure=&locality=` | from the gateway |
//! | `GET /v1/inbox?party=&limit=&wait_ms=`, `POST /v1/inbox/ack` | what waits for a party, and that it has it |
//! | `GET /v1/exceptions`, `POST /v1/exceptions/{key}/handled` | codes given out without a line in vain, and what was done |
//! | `GET /v1/webhooks`, `GET /v1/webhooks/attempts?party=&dossier_code=` | how webhooks do, and the last posts |
//! | `POST /v1/webhooks/test` | posts something to try with, and says what became of it |
//! | `GET /healthz`, `GET /status` | for operators |
//! | `GET /metrics` | for Prometheus |
//!
//! While the line is down, `POST /v1/dossiers` is decided and numbered here (header `LGSP-Offline: never` has it wait instead).
//!
//! Every call but those about webhooks and for operators names the party (`LGSP-Party`) and the clerk's account (`LGSP-Actor`).

mod body;
mod caller;
mod documents;
mod dossiers;
mod exceptions;
mod inbox;
mod requests;
mod status;
mod webhooks;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use lgsp_proto::Reason;
use lgsp_telemetry::Telemetry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::folder::Folder;
use crate::identity::Known;
use crate::office::Office;
use crate::problem::{LocalReason, Problem};
use crate::webhook::Webhooks;

/// The longest JSON body. A form of 1 MiB in Base64 fits, and what is larger is a document.
const MAX_JSON_BYTES: usize = 2 << 20;

/// The longest a caller may wait for something to happen, so that connections do not gather for ever.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What the handlers work with.
pub(crate) struct Api {
    pub(crate) office: Arc<Office>,
    /// The folder watched beside this, for its status.
    pub(crate) folder: Option<Arc<Folder>>,
    /// How the own certificate is.
    pub(crate) certificate: Arc<Known>,
    /// What is measured.
    pub(crate) telemetry: Telemetry,
    pub(crate) webhooks: Arc<Webhooks>,
    /// What a caller must show; `None` lets everybody in who reaches the port.
    pub(crate) token: Option<Box<str>>,
    /// Requests under way; one more is turned away.
    pub(crate) requests: Semaphore,
    /// Whoever waits is sent home when the adapter stops.
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
}

/// The whole interface.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let guarded = Router::new()
        .route("/v1/documents", post(documents::upload))
        .route("/v1/dossiers", post(requests::submit).get(dossiers::list))
        .route("/v1/dossiers/{code}", get(dossiers::show))
        .route("/v1/dossiers/{code}/events", post(requests::record))
        .route("/v1/dossiers/{code}/documents/{sha256}", get(documents::download))
        .route("/v1/requests/{key}", get(requests::show))
        .route("/v1/exceptions", get(exceptions::list))
        .route("/v1/exceptions/{key}/handled", post(exceptions::handle))
        .route("/v1/route", get(dossiers::route))
        .route("/v1/inbox", get(inbox::fetch))
        .route("/v1/inbox/ack", post(inbox::acknowledge))
        .route("/v1/inbox/refuse", post(inbox::refuse))
        .route("/v1/webhooks", get(webhooks::list))
        .route("/v1/webhooks/attempts", get(webhooks::attempts))
        .route("/v1/webhooks/test", post(webhooks::test))
        .route("/status", get(status::status))
        .route("/metrics", get(status::metrics))
        .fallback(async || Problem::from(LocalReason::ResourceNotFound))
        .method_not_allowed_fallback(async || Problem::from(LocalReason::MethodNotAllowed))
        .layer(middleware::from_fn_with_state(api.clone(), guard));
    // Probes have nothing to show and must not be turned away because others are many.
    Router::new().route("/healthz", get(status::health)).merge(guarded).with_state(api)
}

/// Lets in who has the token, and no more at a time than there is room for.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if let Some(token) = &api.token
        && !shows(request.headers(), token)
    {
        return Problem::from(LocalReason::TokenInvalid).into_response();
    }
    let Ok(_room) = api.requests.try_acquire() else {
        return Problem::from(Reason::Overloaded)
            .with_detail("too many requests to the adapter at one time")
            .into_response();
    };
    next.run(request).await
}

fn shows(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    shown.is_some_and(|shown| aws_lc_rs::constant_time::verify_slices_are_equal(shown, token.as_bytes()).is_ok())
}

/// Reads the small bodies of the interface; what comes of it does not matter.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(body: &[u8]) {
    let failed = [inbox::fuzz(body), exceptions::fuzz(body), webhooks::fuzz(body)];
    for error in failed.into_iter().flatten() {
        drop(not_readable(&error).into_response());
    }
}

/// Answers JSON.
fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("our own types have text keys and finite numbers only");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Reads a JSON body.
///
/// # Errors
/// Says where it is not what it should be; the content itself is not repeated.
async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let body = body::whole(body, MAX_JSON_BYTES).await?;
    serde_json::from_slice(&body).map_err(|error| not_readable(&error))
}

fn not_readable(error: &serde_json::Error) -> Problem {
    Problem::of_json(error)
}

/// A path or query that axum could not read. What it says of it may repeat what was sent.
fn bad_request(rejection: impl std::fmt::Display) -> Problem {
    let message = rejection.to_string();
    // A parameter of ours is named first, as in "limit: invalid digit found in string".
    let named = message.rsplit_once(": ").and_then(|(before, _)| before.rsplit(": ").next());
    let is_word = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let detail = match named.filter(is_word) {
        Some(name) => format!("the parameter {name} is not what it should be"),
        None => "the path or the query cannot be read".to_owned(),
    };
    Problem::malformed(detail)
}

/// Waits until `ready` gives something, for as long as the caller wants, or until the adapter stops.
async fn wait_for<T>(api: &Api, wait_ms: Option<u64>, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let until = tokio::time::Instant::now() + Duration::from_millis(wait_ms.unwrap_or(0)).min(MAX_WAIT);
    let mut changes = api.office.spool.changes();
    loop {
        changes.mark_unchanged();
        if let Some(found) = ready() {
            return Some(found);
        }
        tokio::select! {
            changed = changes.changed() => changed.ok()?,
            () = tokio::time::sleep_until(until) => return None,
            () = api.stop.cancelled() => return None,
        }
    }
}
