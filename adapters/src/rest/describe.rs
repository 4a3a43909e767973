//! The description of this interface: OpenAPI 3.1, generated from the handlers and their types.
//!
//! Owns what the types do not say of themselves: who may call, which refusals a call can meet (`refusals`), the forms of codes and
//! texts (`forms`), what a field means that says nothing of its own (`words`), and what is around the posts of webhooks (`posts`). The routes are not its own: the router and the
//! document come from one list (`rest::routes`).

mod forms;
mod posts;
mod refusals;
mod words;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::{Value, json};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ObjectBuilder, OpenApi, Required, Type};
use utoipa::{IntoParams, OpenApi as _};

pub(super) use refusals::{
    Always, AskedOfService, FromGateway, Listed, LookedAt, OfPortal, Open, Ranged, TakingIn, Tried, Unchanged,
    UploadedTo, Uploading, Waiting,
};

use super::{Api, conditional};
use crate::handover::OutcomeJson;
use crate::problem::explain;
use crate::webhook::{CloudEvent, TestJson};

/// What the whole interface is, for whoever meets it first.
const ABOUT: &str = "\
The local interface of the adapter: an agency's own system hands dossiers in, says what happens to them, and fetches what \
waits for it. Giao diện tại chỗ của bộ kết nối, dành cho phần mềm của cơ quan.

**Asynchronous.** What is to be sent is answered with 202 once it is on the adapter's disk. What became of it is under \
`GET /v1/requests/{key}`, at once or as soon as there is an outcome (`wait_ms`), or told by webhook.

**Once.** Every request to be sent carries an `Idempotency-Key`, unique for the party. The same again under the same key has \
one effect and one answer, however often it is sent; after a time-out, send the same again.

**Who.** Every call names the party in whose name it is made (`LGSP-Party`). What is said or looked at about a dossier is said or \
looked at by somebody: it names the clerk's account as well (`LGSP-Actor`). What a system does on its own account does not: \
uploading, asking what became of its requests, emptying its inbox.

**Let in.** On the adapter's own machine by its token; from another one, over TLS, by the client's certificate or an access token, \
and for the client's parties only. What is not about one party (webhooks, status, figures) is for clients that act for all of them.

**Why not.** A refusal is a problem of RFC 9457 with a stable `reason`, every field at fault, and what to do, in Vietnamese and \
English. Its `type` identifies and leads nowhere.

**How it grows.** Under `/v1`, fields, words of lists, parameters that may be left out, paths and reasons may be added; nothing \
is taken away or changes its meaning. Ignore fields you do not know.";

#[derive(utoipa::OpenApi)]
#[openapi(
    components(schemas(CloudEvent, OutcomeJson, TestJson)),
    info(title = "lgsp adapter", version = "1", license(name = "to be told by whoever runs it")),
    tags(
        (name = "dossiers", description = "Handing dossiers in, saying what happens to them, asking how they stand. Hồ sơ."),
        (name = "documents", description = "Contents of papers, up and down. Tài liệu."),
        (name = "queries", description = "Questions to data services, answered while the citizen stands there. Khai thác dữ liệu."),
        (name = "inbox", description = "What the bus delivers to a party. Hộp thư đến."),
        (name = "exceptions", description = "Numbers given out without a line and refused later. Trường hợp cần xử lý."),
        (name = "webhooks", description = "How the posts to the agency's own system do. Webhook."),
        (name = "portal", description = "How the national portal is kept in step. Đồng bộ cổng."),
        (name = "access", description = "Tokens for clients. Truy cập."),
        (name = "operators", description = "How the adapter is. Vận hành."),
    )
)]
struct About;

/// What the list of routes begins with.
pub(super) fn begin() -> OpenApi {
    let mut document = About::openapi();
    document.info.description = Some(ABOUT.to_owned());
    document.info.license = None;
    document
}

/// The finished document.
pub(super) fn finish(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("a description has text keys only");
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "On the adapter's own machine: the content of its token file (`rest.token_file`), unless `rest.token` is \
                `none`. `lgsp adapter token` prints it.",
        },
        "client": {
            "type": "oauth2",
            "description": "A client with a secret (`lgsp adapter client add`): an access token for ten minutes, for its parties.",
            "flows": { "clientCredentials": { "tokenUrl": "/v1/oauth/token", "scopes": {} } },
        },
        "certificate": {
            "type": "mutualTLS",
            "description": "A client with a certificate, where the adapter listens for other machines (`[remote]`): for its parties.",
        },
    });
    document["security"] = json!([{ "token": [] }, { "client": [] }, { "certificate": [] }]);
    bytes_are_bytes(&mut document);
    flattened_may_be_absent(&mut document);
    document["components"]["schemas"]["Problem"]["properties"]["explain"]["examples"] = explain::all().into();
    words::apply(&mut document);
    forms::apply(&mut document);
    posts::apply(&mut document);
    document
}

/// A content that is no JSON is bytes, not a list of numbers.
fn bytes_are_bytes(value: &mut Value) {
    for (name, content) in fields(value.get_mut("content")) {
        if !name.ends_with("json") {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        }
    }
    match value {
        Value::Object(all) => all.values_mut().for_each(bytes_are_bytes),
        Value::Array(all) => all.iter_mut().for_each(bytes_are_bytes),
        _ => {}
    }
}

/// Fields that stand beside the others only at times are described as null otherwise; they are not there at all.
fn flattened_may_be_absent(document: &mut Value) {
    for (_, schema) in fields(document.pointer_mut("/components/schemas")) {
        for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
            if part["oneOf"][1] == json!({ "type": "null" }) {
                *part = json!({ "anyOf": [part["oneOf"][0], { "type": "object" }] });
            }
        }
    }
}

/// What `GET /v1/openapi.json` answers with.
pub(super) fn printed(document: &OpenApi) -> Bytes {
    serde_json::to_vec_pretty(&finish(document)).expect("it has text keys only").into()
}

/// `GET /v1/openapi.json`: this very description. It holds no secrets, so no token is asked for.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "operators", operation_id = "describe",
    summary = "This description", description = "No token is asked for: it holds no secrets, and tools fetch it.",
    security(()),
    params(IfNoneMatch),
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Object, headers(("ETag" = String, description = "For `If-None-Match`"))),
        Unchanged,
    ),
)]
pub(super) async fn describe(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let tag = conditional::tag(&api.description);
    if conditional::has(&headers, &tag) {
        return conditional::unchanged(&tag);
    }
    let answer = ([(header::CONTENT_TYPE, "application/json")], api.description.clone()).into_response();
    conditional::tagged(answer, &tag)
}

/// The fields of an object, if there is one.
fn fields(object: Option<&mut Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    object.and_then(Value::as_object_mut).into_iter().flatten()
}

/// Every parameter of every operation.
fn parameters(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let operations = fields(document.get_mut("paths")).flat_map(|(_, path)| fields(Some(path)));
    operations
        .flat_map(|(_, operation)| operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten())
}

/// The header that names the party.
pub(super) struct PartyHeader;

/// The headers of a call in a party's name.
pub(super) struct CallerHeaders;

/// The header by which a caller says what it has.
pub(super) struct IfNoneMatch;

/// The header by which a caller says what it has seen of a dossier.
pub(super) struct IfMatch;

/// The headers of a request that is to be sent, once.
pub(super) struct RequestHeaders;

impl IntoParams for PartyHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header(
            "LGSP-Party",
            true,
            "The party in whose name the call is made: its electronic identifier (mã định danh).",
        )]
    }
}

impl IntoParams for CallerHeaders {
    fn into_params(found: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut headers = PartyHeader::into_params(found);
        headers.extend([
            header("LGSP-Actor", true, "The account of the clerk (cán bộ) who has it done; not a person's name."),
            header(
                "traceparent",
                false,
                "W3C trace context. What is sent, and all that follows from it, belongs to this trace; one that cannot be read \
                 is as good as none, and a new one begins.",
            ),
        ]);
        headers
    }
}

impl IntoParams for RequestHeaders {
    fn into_params(found: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut headers = CallerHeaders::into_params(found);
        let what = "Names the request, unique for the party. The same again is the same request; anything else under it is refused.";
        headers.push(header("Idempotency-Key", true, what));
        headers
    }
}

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header("If-None-Match", false, "The `ETag` of an earlier answer: 304 if it is still that.")]
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "The dossier's `ETag`, or the number of its last event in quotes: if anything has been said since, this is \
                    refused with `STALE_VERSION` (in the outcome). The same as `expected_sequence`.";
        vec![header("If-Match", false, what)]
    }
}

fn header(name: &str, is_required: bool, what: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).build();
    Parameter::builder()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(if is_required { Required::True } else { Required::False })
        .description(Some(what))
        .schema(Some(schema))
        .build()
}
