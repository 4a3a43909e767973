//! The local interface of the agency's own system: REST and JSON over HTTP/1.1, for the machine or network next to it.
//!
//! Asynchronous from the start: what is to be sent is answered with 202 once it is in the spool; what became of it is asked
//! for, waited for, or told by webhook. Questions about dossiers and routes are passed on to the gateway as they come.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/documents` | 201, the document's digest |
//! | `POST /v1/document-uploads`, `HEAD`, `PATCH`, `DELETE` of its location | a document in pieces |
//! | `POST /v1/dossiers` | 202, the request's key and location |
//! | `POST /v1/dossiers/{code}/events` | 202, likewise |
//! | `GET /v1/requests/{key}?wait_ms=` | how the request stands, and its outcome |
//! | `GET /v1/requests?state=` | the party's requests |
//! | `GET /v1/dossiers`, `GET /v1/dossiers/{code}` | from the gateway |
//! | `GET /v1/dossiers/{code}/documents/{sha256}` | from the gateway, streamed |
//! | `GET /v1/route?procedure=&locality=` | from the gateway |
//! | `POST /v1/queries` | a data service's answer, from the gateway |
//! | `GET /v1/inbox?party=&page_size=&page_token=&wait_ms=`, `POST /v1/inbox/ack` | what waits for a party, and that it has it |
//! | `GET /v1/inbox/stream` | the same as it comes, as server-sent events |
//! | `GET /v1/exceptions`, `POST /v1/exceptions/{key}/handled` | codes given out without a line in vain, and what was done |
//! | `GET /v1/webhooks`, `GET /v1/webhooks/attempts?party=&dossier_code=` | how webhooks do, and the last posts |
//! | `POST /v1/webhooks/test` | posts something to try with, and says what became of it |
//! | `GET /healthz`, `GET /status` | for operators |
//! | `GET /metrics` | for Prometheus |
//! | `GET /v1/openapi.json` | all this, for programs |
//!
//! While the line is down, `POST /v1/dossiers` is decided and numbered here (header `LGSP-Offline: never` has it wait instead).
//!
//! Every call but those about webhooks and for operators names the party (`LGSP-Party`) and the clerk's account (`LGSP-Actor`).

mod body;
mod caller;
mod conditional;
mod describe;
mod documents;
mod dossiers;
mod exceptions;
mod inbox;
mod pages;
mod queries;
mod ranges;
mod requests;
mod status;
mod stream;
mod uploads;
mod webhooks;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use lgsp_journal::Position;
use lgsp_proto::{Reason, Refusal};
use lgsp_telemetry::Telemetry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use stream::MOST as MOST_STREAMS;

use crate::folder::Folder;
use crate::identity::Known;
use crate::office::{Busy, Office};
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
    /// Streams of the inbox under way; one more is turned away.
    pub(crate) streams: Arc<Semaphore>,
    /// Whoever waits is sent home when the adapter stops.
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
    /// Uploads that somebody adds to.
    pub(crate) busy: Busy,
    /// Where deliveries stand that cannot be read from the spool, as far as somebody asked for them.
    pub(crate) unreadable: Mutex<HashSet<Position>>,
    /// What `GET /v1/openapi.json` answers with: see [`description`].
    pub(crate) description: Bytes,
}

/// The whole interface.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let Routes { open, guarded } = routes();
    let guarded = Router::from(guarded)
        .fallback(async || Problem::from(LocalReason::ResourceNotFound))
        .method_not_allowed_fallback(async || Problem::from(LocalReason::MethodNotAllowed))
        .layer(middleware::from_fn_with_state(api.clone(), guard));
    Router::from(open).merge(guarded).with_state(api)
}

/// The description of the whole interface: OpenAPI 3.1 in JSON, the same on every machine.
pub fn description() -> Bytes {
    let Routes { open, guarded } = routes();
    let mut document = describe::begin();
    document.merge(guarded.into_openapi());
    document.merge(open.into_openapi());
    describe::printed(&document)
}

/// Every route, with its handler and its description.
struct Routes {
    /// Probes have nothing to show and must not be turned away because others are many; neither must who asks what there is.
    open: OpenApiRouter<Arc<Api>>,
    guarded: OpenApiRouter<Arc<Api>>,
}

fn routes() -> Routes {
    let open = OpenApiRouter::default().routes(routes!(status::health)).routes(routes!(describe::describe));
    let guarded = OpenApiRouter::default()
        .routes(routes!(requests::submit, dossiers::list))
        .routes(routes!(dossiers::show))
        .routes(routes!(requests::record))
        .routes(routes!(requests::list))
        .routes(routes!(requests::show))
        .routes(routes!(documents::upload))
        .routes(routes!(uploads::begin))
        .routes(routes!(uploads::show, uploads::add, uploads::discard))
        .routes(routes!(documents::download))
        .routes(routes!(dossiers::route))
        .routes(routes!(queries::ask))
        .routes(routes!(inbox::fetch))
        .routes(routes!(stream::stream))
        .routes(routes!(inbox::acknowledge))
        .routes(routes!(inbox::refuse))
        .routes(routes!(exceptions::list))
        .routes(routes!(exceptions::handle))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::attempts))
        .routes(routes!(webhooks::test))
        .routes(routes!(status::status))
        .routes(routes!(status::metrics));
    Routes { open, guarded }
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
    let failed = [inbox::fuzz(body), exceptions::fuzz(body), webhooks::fuzz(body), queries::fuzz(body)];
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
    if body.trim_ascii_start().first() != Some(&b'{') {
        // A list of its fields' values would be read as well, and a missing one for what may be left out.
        return Err(Problem::malformed("the body is not a JSON object"));
    }
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
    match named.filter(is_word) {
        Some(name) if message.contains("unknown field `") => {
            Problem::malformed(format!("there is no parameter {name}"))
        }
        Some(name) => Refusal::new(Reason::FieldInvalid).field(name, "is not what it should be").into(),
        None => Problem::malformed("the path or the query cannot be read"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_one_that_is_described() {
        // `routes!` takes path and method from the description; a route put in beside it would have none.
        let router = include_str!("mod.rs").split("mod tests").next().unwrap();
        assert!(!router.contains(".route(") && !router.contains(".nest("), "put it into routes() with routes!");
        let described: serde_json::Value = serde_json::from_slice(&description()).unwrap();
        let methods = |path: &str| described["paths"][path].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(methods("/v1/dossiers"), ["get", "post"]);
    }
}
