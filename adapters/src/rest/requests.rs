//! What the agency's system wants sent: taken in, and asked about afterwards.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lgsp_proto::Reason;
use lgsp_proto::types::RequestKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{Api, MAX_JSON_BYTES, bad_request, body, json, not_readable, read_json, wait_for};
use crate::json::{EntryJson, Fields, SubmissionJson};
use crate::office::{Caller, OfflineJson, TakenIn, unreadable};
use crate::problem::Problem;
use crate::spool::{CallView, Outcome, Standing, call_id};
use crate::trace::{self, TraceParent};

/// The answer 202: the request is in the spool, and will be sent.
#[derive(Serialize)]
struct AcceptedJson<'a> {
    request_key: &'a str,
    state: &'static str,
    location: &'a str,
    /// The line is down and no code could be given out: it follows with the gateway's answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    code_pending: bool,
    /// What the citizen can be told already when the line is down.
    #[serde(flatten)]
    offline: Option<OfflineJson>,
}

/// The header by which a caller says whether the adapter may decide by itself.
const OFFLINE: &str = "LGSP-Offline";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    /// How long to wait for the outcome, at most a minute.
    wait_ms: Option<u64>,
}

/// `POST /v1/dossiers`: hands a new dossier in.
pub(super) async fn submit(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let (caller, key) = Caller::read_with_key(&api, &headers)?;
    let submission: SubmissionJson = read_json(body).await?;
    let submission = submission.into_proto(&key, &caller.party, &caller.actor)?;
    let allowed = is_allowed(&headers)?;
    let trace = caller.trace.clone();
    let TakenIn { view, offline, code_pending } = api.office.take_in(caller, key.clone(), submission, allowed).await?;
    accepted(&api, &key, &trace, &view, offline, code_pending)
}

/// `POST /v1/dossiers/{code}/events`: says something about a dossier.
pub(super) async fn record(
    State(api): State<Arc<Api>>,
    code: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Path(code) = code.map_err(bad_request)?;
    let (caller, key) = Caller::read_with_key(&api, &headers)?;
    let entry = EntryJson::read(&body::whole(body, MAX_JSON_BYTES).await?).map_err(|error| not_readable(&error))?;
    let entry = entry.into_proto(&code, &key, &caller.party, &caller.actor)?;
    let view = api.office.record(&caller, &key, code, &entry).await?;
    accepted(&api, &key, &caller.trace, &view, None, false)
}

/// `GET /v1/requests/{key}`: how a request stands; with `wait_ms`, as soon as it has an outcome.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    key: Result<Path<String>, PathRejection>,
    query: Result<Query<WaitQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(key) = key.map_err(bad_request)?;
    let Query(WaitQuery { wait_ms }) = query.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let id = call_id(party.as_str(), &key);
    wait_for(&api, wait_ms, || {
        let call = api.office.spool.call(&id);
        // An unknown one will not become known by waiting.
        call.is_none_or(|call| matches!(call.standing, Standing::Answered(_))).then_some(())
    })
    .await;
    Ok(json(StatusCode::OK, &api.office.request(&id)?))
}

/// What a segment of a path cannot hold as it is; the others are unreserved (RFC 3986 §2.3), and stay as they were given.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The answer 202.
fn accepted(
    api: &Api,
    key: &RequestKey,
    trace: &TraceParent,
    view: &CallView,
    offline: Option<OfflineJson>,
    code_pending: bool,
) -> Result<Response, Problem> {
    let location = format!("/v1/requests/{}", utf8_percent_encode(key.as_str(), RESERVED));
    let state = match view.standing {
        Standing::Queued => "queued",
        Standing::Sending => "sending",
        Standing::Answered(position) => match api.office.spool.outcome(position) {
            Ok(Outcome::Admitted(_)) => "admitted",
            Ok(Outcome::Refused(_)) => "refused",
            Err(error) => return Err(unreadable(&error)),
        },
    };
    let answer = AcceptedJson { request_key: key.as_str(), state, location: &location, code_pending, offline };
    let mut response = json(StatusCode::ACCEPTED, &answer).into_response();
    let ascii = |text: &str| HeaderValue::from_str(text).map_err(|_| Reason::Internal);
    response.headers_mut().insert(header::LOCATION, ascii(&location)?);
    response.headers_mut().insert(trace::HEADER, ascii(trace.as_str())?);
    Ok(response)
}

/// Whether the caller lets the adapter decide by itself.
///
/// # Errors
/// The header says something else.
fn is_allowed(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(OFFLINE).map(|value| value.as_bytes()) {
        None | Some(b"allowed") => Ok(true),
        Some(b"never") => Ok(false),
        Some(_) => {
            let mut fields = Fields::default();
            fields.problem(OFFLINE, "is neither allowed nor never");
            Err(fields.finish(()).err().unwrap_or_else(|| Reason::Internal.into()).into())
        }
    }
}
