//! Questions to data services, passed on to the gateway and answered at once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use data_encoding::HEXLOWER;
use http::StatusCode;
use lgsp_proto::types::{DossierCode, ProcedureCode, RequestKey};
use lgsp_proto::{Reason, Refusal, Wrong};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::caller::Call;
use super::describe::{AskedOfService, CallerHeaders};
use super::{Api, json, read_json};
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
