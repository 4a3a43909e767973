//! The local interface of the agency's own system: REST and JSON over HTTP/1.1, for the machine next to it, or over TLS for others.
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
//! | `POST /v1/oauth/token`, `GET /.well-known/oauth-authorization-server` | access tokens for clients |
//!
//! While the line is down, `POST /v1/dossiers` is decided and numbered here (header `LGSP-Offline: never` has it wait instead).
//!
//! Every call but those about webhooks and for operators names the party (`LGSP-Party`); `caller` says which name the clerk's
//! account (`LGSP-Actor`). Who is let in, `access` knows.

mod body;
mod caller;
mod conditional;
mod describe;
mod documents;
mod dossiers;
mod exceptions;
mod inbox;
mod oauth;
mod pages;
mod portal;
mod queries;
mod ranges;
pub(crate) mod remote;
mod requests;
mod status;
mod stream;
mod uploads;
mod webhooks;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use lgsp_journal::Position;
use lgsp_proto::{Reason, Refusal, Wrong};
use lgsp_telemetry::Telemetry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use caller::Call;
pub(crate) use stream::MOST as MOST_STREAMS;

use crate::access::{Access, Origin};
use crate::folder::Folder;
use crate::identity::Known;
use crate::json::NotJson;
use crate::office::{Busy, Office};
use crate::portal::Portal;
use crate::problem::{LocalReason, Problem};
use crate::tables::Tables;
use crate::webhook::Webhooks;

/// The longest JSON body. A form of 1 MiB in Base64 fits, and what is larger is a document.
const MAX_JSON_BYTES: usize = 2 << 20;

/// The longest a caller may wait for something to happen, so that connections do not gather for ever.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Forms for access tokens that are read at one time.
const MAX_FORMS: usize = 32;

/// How much may be under way, apart for this machine and for others: whatever those do, the desk's own way stays open.
pub(crate) struct Rooms {
    here: Room,
    elsewhere: Room,
}

/// What may be under way at one time.
struct Room {
    /// Requests of who was let in.
    requests: Semaphore,
    /// Forms for access tokens: nobody knows yet whose they are.
    forms: Semaphore,
}

/// What the handlers work with.
pub(crate) struct Api {
    pub(crate) office: Arc<Office>,
    /// The folder watched beside this, for its status.
    pub(crate) folder: Option<Arc<Folder>>,
    /// The tables worked with beside this, for their status.
    pub(crate) tables: Option<Arc<Tables>>,
    /// The portal kept in step, if there is one.
    pub(crate) portal: Option<Arc<Portal>>,
    /// How the own certificate is.
    pub(crate) certificate: Arc<Known>,
    /// What is measured.
    pub(crate) telemetry: Telemetry,
    pub(crate) webhooks: Arc<Webhooks>,
    /// Who is let in.
    pub(crate) access: Access,
    /// The way in from other machines, if there is one, and where it is.
    pub(crate) remote: Option<(Arc<remote::Tls>, SocketAddr)>,
    /// Requests under way; one more is turned away.
    pub(crate) rooms: Rooms,
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

impl Rooms {
    /// With room for so many requests each.
    pub(crate) fn new(most: usize) -> Self {
        let room = || Room { requests: Semaphore::new(most), forms: Semaphore::new(MAX_FORMS) };
        Self { here: room(), elsewhere: room() }
    }

    fn of(&self, origin: &Origin) -> &Room {
        match origin {
            Origin::Here => &self.here,
            Origin::Elsewhere { .. } => &self.elsewhere,
        }
    }
}

/// The whole interface. Where a call comes from, [`ConnectInfo`] of [`Origin`] must say; without it nobody is let in.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let Routes { open, guarded, whole } = routes();
    let whole = Router::from(whole).route_layer(middleware::from_fn_with_state(api.clone(), for_all_parties));
    let guarded = Router::from(guarded)
        .merge(whole)
        .fallback(async || Problem::from(LocalReason::ResourceNotFound))
        .method_not_allowed_fallback(async || Problem::from(LocalReason::MethodNotAllowed))
        .layer(middleware::from_fn_with_state(api.clone(), guard));
    Router::from(open).merge(guarded).with_state(api)
}

/// The description of the whole interface: OpenAPI 3.1 in JSON, the same on every machine.
pub fn description() -> Bytes {
    let Routes { open, guarded, whole } = routes();
    let mut document = describe::begin();
    document.merge(guarded.into_openapi());
    document.merge(whole.into_openapi());
    document.merge(open.into_openapi());
    describe::printed(&document)
}

/// Every route, with its handler and its description.
struct Routes {
    /// Probes have nothing to show and must not be turned away because others are many; neither must who asks what there is.
    open: OpenApiRouter<Arc<Api>>,
    guarded: OpenApiRouter<Arc<Api>>,
    /// Guarded, and about all parties at once.
    whole: OpenApiRouter<Arc<Api>>,
}

fn routes() -> Routes {
    let open = OpenApiRouter::default()
        .routes(routes!(status::health))
        .routes(routes!(describe::describe))
        .routes(routes!(oauth::token))
        .routes(routes!(oauth::metadata));
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
        .routes(routes!(queries::look))
        .routes(routes!(queries::list))
        .routes(routes!(inbox::fetch))
        .routes(routes!(stream::stream))
        .routes(routes!(inbox::acknowledge))
        .routes(routes!(inbox::refuse))
        .routes(routes!(exceptions::list))
        .routes(routes!(exceptions::handle));
    let whole = OpenApiRouter::default()
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::attempts))
        .routes(routes!(webhooks::test))
        .routes(routes!(portal::show))
        .routes(routes!(portal::reconcile, portal::reconciliation))
        .routes(routes!(status::status))
        .routes(routes!(status::metrics));
    Routes { open, guarded, whole }
}

/// Lets in whom `access` knows, and no more at a time than there is room for.
async fn guard(State(api): State<Arc<Api>>, origin: Origin, mut request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let who = match api.access.admit(&origin, authorization) {
        Ok(who) => who,
        Err(denied) => return Problem::from(denied).into_response(),
    };
    let Ok(_room) = api.rooms.of(&origin).requests.try_acquire() else {
        return Problem::from(Reason::Overloaded)
            .with_detail("too many requests to the adapter at one time")
            .into_response();
    };
    request.extensions_mut().insert(who);
    next.run(request).await
}

/// Lets pass who may act for every party of the adapter.
async fn for_all_parties(State(api): State<Arc<Api>>, call: Call, request: Request, next: Next) -> Response {
    match api.office.acting.all().iter().try_for_each(|party| call.acts_for(&api, party)) {
        Ok(()) => next.run(request).await,
        // Which others there are, a client of one party need not know.
        Err(_) => Problem::from(LocalReason::ClientPartyMissing).into_response(),
    }
}

/// Reads the small bodies of the interface; what comes of it does not matter.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(body: &[u8]) {
    oauth::fuzz(body);
    let failed = [inbox::fuzz(body), exceptions::fuzz(body), webhooks::fuzz(body), queries::fuzz(body)];
    for error in failed.into_iter().flatten() {
        drop(not_readable(&error.into()).into_response());
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
    crate::json::read(&body).map_err(|error| not_readable(&error))
}

fn not_readable(error: &NotJson) -> Problem {
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
        Some(name) => Refusal::new(Reason::FieldInvalid)
            .field(name, Wrong::new("không đúng dạng", "is not what it should be"))
            .into(),
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
