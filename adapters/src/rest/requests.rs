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
use prost::Message;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::offline::{self, OfflineJson, TakenIn};
use super::spooled::{not_queued, unreadable};
use super::{Api, MAX_JSON_BYTES, bad_request, body, json, not_readable, read_json, wait_for};
use crate::json::{EntryJson, ReceiptJson, SubmissionJson, WarningJson, machine_time};
use crate::problem::{LocalReason, Problem};
use crate::spool::{CallKind, CallView, NewCall, Outcome, Standing, call_id};
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

/// How a request stands.
#[derive(Serialize)]
struct RequestJson<'a> {
    request_key: &'a str,
    /// `queued`, `sending`, `admitted` or `refused`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_code: Option<String>,
    /// What was given out instead of a code, without a line and without numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    provisional_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptJson>,
    /// Whether the gateway had admitted this very request before.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_at: Option<String>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<&'a str>,
}

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
    let allowed = offline::is_allowed(&headers)?;
    let trace = caller.trace.clone();
    let TakenIn { view, offline, code_pending } =
        offline::take_in(api.clone(), caller, key.clone(), submission, allowed).await?;
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
    let call = NewCall {
        id: call_id(caller.party.as_str(), key.as_str()),
        kind: CallKind::Record,
        dossier: Some(code),
        body: entry.encode_to_vec().into(),
        trace: caller.trace.clone(),
        offline: None,
    };
    let view = api.spool.queue(call).await.map_err(not_queued)?;
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
        let call = api.spool.call(&id);
        // An unknown one will not become known by waiting.
        call.is_none_or(|call| matches!(call.standing, Standing::Answered(_))).then_some(())
    })
    .await;
    let call = api.spool.call(&id).ok_or(LocalReason::RequestNotFound)?;
    let intake = match api.spool.submission(&id) {
        Ok(kept) => kept.and_then(|(_, intake)| intake),
        // How it stands is known all the same.
        Err(error) => {
            tracing::error!(%error, "a request cannot be read from the spool");
            api.spool.known_intake(&id)
        }
    };
    let (code, provisional) = match intake {
        Some(intake) => (intake.dossier_code, intake.provisional_number),
        None => (String::new(), String::new()),
    };
    let mut answer = RequestJson {
        request_key: &key,
        state: "queued",
        dossier_code: Some(code).filter(|code| !code.is_empty()),
        provisional_number: Some(provisional).filter(|number| !number.is_empty()),
        receipt: None,
        repeated: None,
        warnings: Vec::new(),
        problem: None,
        queued_at: machine_time(call.queued_at_ms),
        attempts: call.attempts,
        last_error: call.last_error.as_deref(),
    };
    match call.standing {
        Standing::Queued => {}
        Standing::Sending => answer.state = "sending",
        Standing::Answered(position) => match api.spool.outcome(position).map_err(|error| unreadable(&error))? {
            Outcome::Admitted(response) => {
                answer.state = "admitted";
                answer.receipt = response.receipt.as_ref().and_then(ReceiptJson::new);
                if let Some(receipt) = &answer.receipt {
                    answer.dossier_code = Some(receipt.dossier_code.clone());
                }
                answer.repeated = Some(response.repeated);
                answer.warnings = response.warnings.into_iter().map(WarningJson::new).collect();
            }
            Outcome::Refused(status) => {
                answer.state = "refused";
                answer.problem = Some(Problem::of_kept(&status));
            }
        },
    }
    Ok(json(StatusCode::OK, &answer))
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
        Standing::Answered(position) => match api.spool.outcome(position) {
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
