//! Numbers that were given out without a line and whose intake the gateway refused later: each stays here until a clerk says
//! what became of it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use lgsp_proto::types::{ActorId, RequestKey, Text};
use lgsp_proto::{Reason, Refusal, Wrong};
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Call;
use super::describe::{CallerHeaders, Listed, PartyHeader, Waiting};
use super::pages::{self, List};
use super::{Api, bad_request, json, read_json};
use crate::json::{Fields, machine_time, print_time};
use crate::office::{Caller, unreadable};
use crate::problem::{LocalReason, Problem};
use crate::spool::{Exception, HandleError, Handling, call_id};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Whether those worked off come along, as long as they are kept.
    #[serde(default)]
    handled: bool,
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// One page, the earliest refusal first.
#[derive(Serialize, ToSchema)]
#[schema(as = ExceptionPage)]
struct PageJson {
    exceptions: Vec<ExceptionJson>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Exception)]
struct ExceptionJson {
    request_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provisional_number: Option<String>,
    procedure_code: String,
    competent_authority: String,
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    registry_version: u64,
    taken_in_at: Option<String>,
    refused_at: Option<String>,
    /// Why the gateway refused it.
    problem: Problem,
    #[serde(skip_serializing_if = "Option::is_none")]
    handled: Option<HandledJson>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Handled)]
struct HandledJson {
    actor: String,
    note: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by_request_key: Option<String>,
    at: Option<String>,
}

/// What a clerk did about an exception.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = Handle)]
#[serde(deny_unknown_fields, default)]
struct HandleJson {
    /// The clerk's account; left out, that of the header.
    actor: Option<String>,
    /// What was done: 1 to 1,000 characters. Compulsory.
    #[schema(required, nullable = false)]
    note: Option<String>,
    /// The request that took its place, if one did.
    replaced_by_request_key: Option<String>,
}

/// `GET /v1/exceptions`: what a clerk has to work off.
#[utoipa::path(
    get, path = "/v1/exceptions", tag = "exceptions", operation_id = "list_exceptions",
    summary = "What a clerk has to work off",
    description = "Dossiers that were given a number without a line, and that the gateway refused later. The earliest refusal first.",
    params(PartyHeader, ListQuery),
    responses((status = 200, description = "One page", body = PageJson), Listed),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Query(ListQuery { handled, page_size, page_token }) = query.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let size = pages::size(page_size)?;
    let after = pages::number(List::Exceptions, page_token.as_deref())?.unwrap_or(0);
    let found = api.office.spool.exceptions(&party, after, handled, size + 1);
    let mut found = found.map_err(|error| unreadable(&error))?;
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|last| pages::token(List::Exceptions, &last.place.to_be_bytes()));
    let page = PageJson { exceptions: found.into_iter().map(ExceptionJson::new).collect(), next_page_token: next };
    Ok(json(StatusCode::OK, &page))
}

/// `POST /v1/exceptions/{key}/handled`: a clerk has worked one off. Durable when answered.
#[utoipa::path(
    post, path = "/v1/exceptions/{key}/handled", tag = "exceptions", operation_id = "handle_exception",
    summary = "A clerk has worked one off",
    description = "Durable when answered; the same again does no harm.",
    params(CallerHeaders, ("key" = String, Path, description = "The request's key")),
    request_body = HandleJson,
    responses((status = 200, description = "It is noted", body = ExceptionJson), Waiting),
)]
pub(super) async fn handle(
    State(api): State<Arc<Api>>,
    key: Result<Path<String>, PathRejection>,
    headers: Call,
    body: Body,
) -> Result<Response, Problem> {
    let Path(key) = key.map_err(bad_request)?;
    let caller = Caller::read(&api, &headers)?;
    let given: HandleJson = read_json(body).await?;
    let mut fields = Fields::default();
    let actor = fields.optional::<ActorId>("actor", given.actor.as_deref());
    fields.required::<Text<1000>>("note", given.note.as_deref());
    let replaced_by =
        fields.optional::<RequestKey>("replaced_by_request_key", given.replaced_by_request_key.as_deref());
    fields.finish(())?;
    let note = given.note.unwrap_or_default();
    let handling = Handling { actor: actor.unwrap_or(caller.actor), note, replaced_by };
    let id = call_id(caller.party.as_str(), &key);
    api.office.spool.handle_exception(&id, &handling).await.map_err(|error| match error {
        HandleError::Unknown => LocalReason::ExceptionNotFound.into(),
        HandleError::Already => LocalReason::ExceptionHandled.into(),
        HandleError::NoSuchReplacement => {
            let problem = Wrong::new(
                "không phải khoá của yêu cầu nào khác của cơ quan tại đây",
                "is the key of no other request of this party here",
            );
            Refusal::new(Reason::FieldInvalid).field("replaced_by_request_key", problem).into()
        }
        HandleError::Broken(broken) => Problem::from(Reason::ReadOnly).with_detail(broken.to_string()),
    })?;
    let exception = api.office.spool.exception(&id).map_err(|error| unreadable(&error))?;
    let exception = exception.ok_or(LocalReason::ExceptionNotFound)?;
    Ok(json(StatusCode::OK, &ExceptionJson::new(exception)))
}

impl ExceptionJson {
    fn new(exception: Exception) -> Self {
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let Exception { intake, handled, .. } = exception;
        Self {
            request_key: exception.request_key.to_string(),
            dossier_code: said(intake.dossier_code),
            provisional_number: said(intake.provisional_number),
            procedure_code: exception.procedure,
            competent_authority: intake.competent_authority,
            received_at: exception.received_at.as_ref().and_then(print_time),
            due_at: intake.due_at.and_then(|seconds| print_time(&Timestamp { seconds, nanos: 0 })),
            registry_version: intake.registry_version,
            taken_in_at: machine_time(exception.queued_at_ms),
            refused_at: machine_time(exception.refused_at_ms),
            problem: Problem::of_kept(&exception.refusal),
            handled: handled.map(|handled| HandledJson {
                actor: handled.actor,
                note: handled.note,
                replaced_by_request_key: said(handled.replaced_by_request_key),
                at: machine_time(handled.at_unix_ms),
            }),
        }
    }
}

#[cfg(feature = "fuzz")]
pub(super) fn fuzz(body: &[u8]) -> Option<serde_json::Error> {
    serde_json::from_slice::<HandleJson>(body).err()
}
