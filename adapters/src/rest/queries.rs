//! Questions to data services, passed on to the gateway and answered at once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use data_encoding::HEXLOWER;
use http::StatusCode;
use lgsp_proto::types::{DossierCode, ProcedureCode, RequestKey};
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::caller::Call;
use super::describe::{AskedOfService, CallerHeaders, FromGateway, LookedAt};
use super::{Api, bad_request, json, pages, read_json};
use crate::json::{Fields, print_time};
use crate::office::{Asked, Caller};
use crate::problem::Problem;

/// A question to a data service.
#[derive(Deserialize, ToSchema)]
#[schema(as = Ask)]
#[serde(deny_unknown_fields)]
struct AskJson {
    /// The service, such as `dan-cu`.
    service: String,
    /// Which version of the service; left out, the newest in force.
    #[schema(minimum = 0)]
    version: Option<u32>,
    /// Why it is asked (mục đích khai thác); one of the service's purposes.
    purpose: String,
    /// For which procedure; left out with a dossier, the dossier's.
    procedure_code: Option<String>,
    /// For which dossier.
    dossier_code: Option<String>,
    /// Or the key of the request with which the dossier will be handed in.
    intake_key: Option<String>,
    /// The fields wanted, as paths of leaves; left out, all that are granted.
    #[serde(default)]
    #[schema(max_items = 256)]
    fields: Vec<String>,
    /// The request, by the service's schema.
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
}

/// What a data service answered.
#[derive(Serialize, ToSchema)]
#[schema(as = Answered)]
struct AnsweredJson {
    /// Names this question, in hexadecimal digits; it is on record under it.
    query_id: String,
    /// When it was answered.
    answered_at: Option<String>,
    /// The service.
    service: String,
    /// Its version.
    version: u32,
    /// What could be told.
    fields: Vec<String>,
    /// SHA-256 of the reply's bytes as the gateway signed for them, in hexadecimal digits.
    reply_sha256: String,
    /// The reply, cut to what is granted.
    #[schema(value_type = Object)]
    reply: Box<RawValue>,
}

/// `POST /v1/queries`: asks a data service, once.
#[utoipa::path(
    post, path = "/v1/queries", tag = "queries", operation_id = "ask",
    summary = "Ask a data service, and wait for its answer",
    description = "About a person it is asked for a procedure, and a dossier or the key of the request that will hand one in. \
                   It has no idempotency key: the same again is another question, and on record as such. A refusal with \
                   `query_id` among its details is the service's own; without it nothing was asked.",
    params(CallerHeaders),
    request_body = AskJson,
    responses((status = 200, description = "What may be told of the service's answer", body = AnsweredJson), AskedOfService),
)]
pub(super) async fn ask(State(api): State<Arc<Api>>, headers: Call, body: Body) -> Result<Response, Problem> {
    let caller = Caller::read(&api, &headers)?;
    let asked = asked(read_json(body).await?)?;
    let told = api.office.ask(&caller, asked).await?;
    let reply = String::from_utf8(told.reply.to_vec()).ok().and_then(|text| RawValue::from_string(text).ok());
    let answer = AnsweredJson {
        query_id: HEXLOWER.encode(&told.answer.query_id),
        answered_at: told.answer.answered_at.as_ref().and_then(print_time),
        service: told.answer.service,
        version: told.answer.version,
        fields: told.answer.fields,
        reply_sha256: HEXLOWER.encode(&told.answer.reply_sha256),
        // The gateway has read it before.
        reply: reply.ok_or(Reason::Internal)?,
    };
    Ok(json(StatusCode::OK, &answer))
}

/// A question that was asked before.
#[derive(Serialize, ToSchema)]
#[schema(as = QueryOnRecord)]
struct QueryJson {
    /// Names this question, in hexadecimal digits.
    query_id: String,
    /// The service.
    service: String,
    /// Its version.
    version: u32,
    /// Why it was asked.
    purpose: String,
    /// For which procedure.
    #[serde(skip_serializing_if = "Option::is_none")]
    procedure_code: Option<String>,
    /// For which dossier, as far as there is one by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_code: Option<String>,
    /// In whose name it was asked.
    party: String,
    /// The clerk's account (cán bộ).
    actor: String,
    /// What could be told.
    fields: Vec<String>,
    /// `ANSWERED`, or the reason for which it was not.
    outcome: String,
    /// When it was asked.
    asked_at: Option<String>,
    /// When its end was known.
    ended_at: Option<String>,
    /// SHA-256 of the reply's bytes as it was told, in hexadecimal digits; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_sha256: Option<String>,
}

impl QueryJson {
    fn new(query: v1::QueryOnRecord) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let service = query.service.unwrap_or_default();
        Self {
            query_id: HEXLOWER.encode(&query.query_id),
            service: service.name,
            version: service.version,
            purpose: query.purpose,
            procedure_code: some(query.procedure_code),
            dossier_code: some(query.dossier_code),
            party: query.acting_party,
            actor: query.actor,
            fields: query.fields,
            outcome: some(query.outcome).unwrap_or_else(|| "ANSWERED".to_owned()),
            asked_at: query.asked_at.as_ref().and_then(print_time),
            ended_at: query.ended_at.as_ref().and_then(print_time),
            reply_sha256: some(HEXLOWER.encode(&query.reply_sha256)),
        }
    }
}

/// A question that was asked before, with what was told then.
#[derive(Serialize, ToSchema)]
#[schema(as = Snapshot)]
struct SnapshotJson {
    query: QueryJson,
    /// What was asked; `null` when it was erased, or not kept because it was for no dossier.
    #[schema(value_type = Option<Object>, required)]
    payload: Option<Box<RawValue>>,
    /// What was told at the time; `null` as well when nothing was.
    #[schema(value_type = Option<Object>, required)]
    reply: Option<Box<RawValue>>,
    /// Whether the content was erased with the dossier's.
    erased: bool,
}

/// One page of a dossier's look-ups.
#[derive(Serialize, ToSchema)]
#[schema(as = QueryPage)]
struct QueriesJson {
    /// The newest first, without content.
    queries: Vec<QueryJson>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// `GET /v1/queries/{query_id}`: an earlier question, with what was told then.
#[utoipa::path(
    get, path = "/v1/queries/{query_id}", tag = "queries", operation_id = "look_at_query",
    summary = "An earlier question, with what was asked and told at the time",
    description = "For the party that asked, and for the authority of the dossier it was asked for.",
    params(CallerHeaders, ("query_id" = String, Path, description = "The question, in hexadecimal digits")),
    responses((status = 200, description = "The question and its answer", body = SnapshotJson), LookedAt),
)]
pub(super) async fn look(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(bad_request)?;
    let caller = Caller::read(&api, &headers)?;
    let query_id = HEXLOWER.decode(id.to_lowercase().as_bytes()).ok().filter(|id| id.len() == 16).ok_or_else(|| {
        let wrong = Wrong::new("không phải 32 chữ số thập lục phân", "is not 32 hexadecimal digits");
        Refusal::new(Reason::FieldInvalid).field("query_id", wrong)
    })?;
    let request = v1::LookRequest {
        acting_party: caller.party.as_str().to_owned(),
        actor: caller.actor.as_str().to_owned(),
        query_id: query_id.into(),
    };
    let request = api.office.link.request(request, Some(&caller.trace));
    let found = api.office.link.queries().look(request).await.map_err(Problem::of_status)?.into_inner();
    let document = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| serde_json::from_str(text).ok());
    let answer = SnapshotJson {
        payload: document(&found.payload),
        reply: document(&found.reply),
        erased: found.erased,
        query: QueryJson::new(found.query.unwrap_or_default()),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// `GET /v1/dossiers/{code}/queries`: what was looked up for a dossier.
#[utoipa::path(
    get, path = "/v1/dossiers/{code}/queries", tag = "queries", operation_id = "list_queries",
    summary = "What was looked up for a dossier",
    description = "For its authority all of it, what was asked before it came in included; for others what they asked themselves, and then a                    page may be short and not be the last.",
    params(CallerHeaders, ("code" = String, Path, description = "The dossier's code, or another it goes by"), PageQuery),
    responses((status = 200, description = "One page", body = QueriesJson), FromGateway),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    code: Result<Path<String>, PathRejection>,
    query: Result<Query<PageQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Path(code) = code.map_err(bad_request)?;
    let Query(PageQuery { page_size, page_token }) = query.map_err(bad_request)?;
    let caller = Caller::read(&api, &headers)?;
    let request = v1::ListQueriesRequest {
        acting_party: caller.party.as_str().to_owned(),
        actor: caller.actor.as_str().to_owned(),
        dossier_code: code,
        page_size: u32::try_from(pages::size(page_size)?).unwrap_or(pages::MOST),
        page_token: page_token.unwrap_or_default(),
    };
    let request = api.office.link.request(request, Some(&caller.trace));
    let page = api.office.link.queries().list(request).await.map_err(Problem::of_status)?.into_inner();
    let answer = QueriesJson {
        queries: page.queries.into_iter().map(QueryJson::new).collect(),
        next_page_token: Some(page.next_page_token).filter(|token| !token.is_empty()),
    };
    Ok(json(StatusCode::OK, &answer))
}

fn asked(ask: AskJson) -> Result<Asked, Problem> {
    let mut fields = Fields::default();
    let procedure = fields.optional::<ProcedureCode>("procedure_code", ask.procedure_code.as_deref());
    let dossier = fields.optional::<DossierCode>("dossier_code", ask.dossier_code.as_deref());
    let intake = fields.optional::<RequestKey>("intake_key", ask.intake_key.as_deref());
    if dossier.is_some() && intake.is_some() {
        fields.problem(
            "intake_key",
            Wrong::new(
                "đi cùng dossier_code; mỗi câu hỏi chỉ cho một trong hai",
                "is beside dossier_code; a question is for one of them",
            ),
        );
    }
    let (procedure, dossier, intake) = fields.finish((procedure, dossier, intake))?;
    let payload = ask.payload.get();
    if !payload.starts_with('{') {
        return Err(Refusal::new(Reason::FieldInvalid)
            .field("payload", Wrong::new("không phải đối tượng JSON", "is not a JSON object"))
            .into());
    }
    Ok(Asked {
        service: ask.service,
        version: ask.version.filter(|version| *version != 0),
        purpose: ask.purpose,
        procedure,
        dossier,
        intake,
        fields: ask.fields,
        payload: payload.as_bytes().to_vec(),
    })
}

/// Reads a body; what comes of it does not matter.
#[cfg(feature = "fuzz")]
pub(super) fn fuzz(body: &[u8]) -> Option<serde_json::Error> {
    serde_json::from_slice::<AskJson>(body).map(asked).err()
}
