//! What the agency's system wants sent: taken in, and asked about afterwards.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lgsp_proto::types::RequestKey;
use lgsp_proto::{Reason, Wrong};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Call;
use super::conditional;
use super::describe::{IfMatch, Listed, PartyHeader, RequestHeaders, TakingIn, Waiting};
use super::pages::{self, List};
use super::{Api, MAX_JSON_BYTES, bad_request, body, json, not_readable, read_json, wait_for};
use crate::json::{EntryJson, Fields, SubmissionJson};
use crate::office::{
    Caller, OfflineJson, RequestJson, RequestOverviewJson, RequestPlace, RequestState, TakenIn, unreadable,
};
use crate::problem::Problem;
use crate::spool::{CallView, Outcome, Standing, call_id};
use crate::trace::{self, TraceParent};

/// The answer 202: the request is in the spool, and will be sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Accepted)]
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

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitQuery {
    /// How long to wait for the outcome, at most a minute.
    wait_ms: Option<u64>,
}

/// All that is set must hold.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// One or more of `queued`, `sending`, `admitted`, `refused`, with commas between them.
    state: Option<String>,
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// One page of requests.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestPage)]
struct PageJson {
    /// The requests of this page.
    requests: Vec<RequestOverviewJson>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// `POST /v1/dossiers`: hands a new dossier in.
#[utoipa::path(
    post, path = "/v1/dossiers", tag = "dossiers", operation_id = "submit_dossier",
    summary = "Hands a new dossier in",
    description = "Answered once it is on the adapter's disk; the dossier's code comes with the outcome. While the line is \
        down, it is decided and numbered here. Upload the documents it names first.",
    params(
        RequestHeaders,
        ("LGSP-Offline" = Option<String>, Header, description = "Left out, `allowed`: without a line it may be decided here. `never`: it waits instead."),
    ),
    request_body = SubmissionJson,
    responses(
        (status = 202, description = "It is kept, and will be sent", body = AcceptedJson, headers(
            ("Location" = String, description = "Where to ask what became of it"),
            ("traceparent" = String, description = "The trace it belongs to"),
        )),
        TakingIn,
    ),
)]
pub(super) async fn submit(State(api): State<Arc<Api>>, headers: Call, body: Body) -> Result<Response, Problem> {
    let (caller, key) = Caller::read_with_key(&api, &headers)?;
    let submission: SubmissionJson = read_json(body).await?;
    let submission = submission.into_proto(&key, &caller.party, &caller.actor)?;
    let allowed = is_allowed(&headers)?;
    let trace = caller.trace.clone();
    let TakenIn { view, offline, code_pending } = api.office.take_in(caller, key.clone(), submission, allowed).await?;
    accepted(&api, &key, &trace, &view, offline, code_pending)
}

/// `POST /v1/dossiers/{code}/events`: says something about a dossier.
#[utoipa::path(
    post, path = "/v1/dossiers/{code}/events", tag = "dossiers", operation_id = "record_event",
    summary = "Says something about a dossier",
    description = "Answered once it is on the adapter's disk. Whether the law allows it now is the gateway's to say, and comes \
        with the outcome. What is said about one dossier is sent in the order it came in.",
    params(RequestHeaders, IfMatch, ("code" = String, Path, description = "The dossier's code, or another it goes by")),
    request_body = EntryJson,
    responses(
        (status = 202, description = "It is kept, and will be sent", body = AcceptedJson, headers(
            ("Location" = String, description = "Where to ask what became of it"),
            ("traceparent" = String, description = "The trace it belongs to"),
        )),
        TakingIn,
    ),
)]
pub(super) async fn record(
    State(api): State<Arc<Api>>,
    code: Result<Path<String>, PathRejection>,
    headers: Call,
    body: Body,
) -> Result<Response, Problem> {
    let Path(code) = code.map_err(bad_request)?;
    let (caller, key) = Caller::read_with_key(&api, &headers)?;
    let mut entry = EntryJson::read(&body::whole(body, MAX_JSON_BYTES).await?).map_err(|error| not_readable(&error))?;
    if let Some(sequence) = conditional::expected_sequence(&headers)? {
        entry.expect(sequence)?;
    }
    let entry = entry.into_proto(&code, &key, &caller.party, &caller.actor)?;
    let view = api.office.record(&caller, &key, code, &entry).await?;
    accepted(&api, &key, &caller.trace, &view, None, false)
}

/// `GET /v1/requests/{key}`: how a request stands; with `wait_ms`, as soon as it has an outcome.
#[utoipa::path(
    get, path = "/v1/requests/{key}", tag = "dossiers", operation_id = "show_request",
    summary = "How a request stands, and its outcome",
    params(PartyHeader, ("key" = String, Path, description = "The request's key"), WaitQuery),
    responses((status = 200, description = "How it stands", body = RequestJson), Waiting),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    key: Result<Path<String>, PathRejection>,
    query: Result<Query<WaitQuery>, QueryRejection>,
    headers: Call,
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

/// `GET /v1/requests`: a party's requests.
#[utoipa::path(
    get, path = "/v1/requests", tag = "dossiers", operation_id = "list_requests",
    summary = "The party's requests",
    description = "The latest first, as long as they are kept. What was answered is under `GET /v1/requests/{key}`.",
    params(PartyHeader, ListQuery),
    responses((status = 200, description = "One page", body = PageJson), Listed),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Query(ListQuery { state, page_size, page_token }) = query.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let mut fields = Fields::default();
    let words = state.as_deref().filter(|words| !words.is_empty()).into_iter().flat_map(|words| words.split(','));
    let states: Vec<_> = words
        .filter_map(|word| {
            let state = RequestState::ALL.into_iter().find(|state| state.as_str() == word);
            if state.is_none() {
                fields.problem(
                    "state",
                    Wrong::new(
                        "không thuộc: queued, sending, admitted, refused",
                        "is not one of queued, sending, admitted, refused",
                    ),
                );
            }
            state
        })
        .collect();
    let states = fields.finish(states)?;
    let place = pages::place(List::Requests, page_token.as_deref())?.map(|place| read_place(&place)).transpose()?;
    let (requests, next) = api.office.requests(&party, &states, place.as_ref(), pages::size(page_size)?);
    let next_page_token =
        next.map(|(at_ms, key)| pages::token(List::Requests, &[&at_ms.to_be_bytes(), key.as_bytes()].concat()));
    Ok(json(StatusCode::OK, &PageJson { requests, next_page_token }))
}

fn read_place(place: &[u8]) -> Result<RequestPlace, Problem> {
    let read = place.split_first_chunk().and_then(|(at_ms, key)| {
        let key: RequestKey = std::str::from_utf8(key).ok()?.parse().ok()?;
        Some((i64::from_be_bytes(*at_ms), key.as_str().to_owned()))
    });
    read.ok_or_else(|| Reason::PageTokenInvalid.into())
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
            fields.problem(
                OFFLINE,
                Wrong::new("không phải allowed cũng không phải never", "is neither allowed nor never"),
            );
            Err(fields.finish(()).err().unwrap_or_else(|| Reason::Internal.into()).into())
        }
    }
}
