//! Questions about dossiers and routes, passed on to the gateway.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use lgsp_proto::types::{PartyId, ProcedureCode, Status};
use lgsp_proto::v1::{ExplainRouteRequest, Filter, GetRequest, ListRequest};
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Call;
use super::conditional;
use super::describe::{CallerHeaders, FromGateway, IfNoneMatch, Unchanged};
use super::pages;
use super::{Api, bad_request, json};
use crate::json::{BodyJson, DossierJson, EventJson, Fields, RouteJson, print_time};
use crate::office::{Caller, unreadable};
use crate::problem::Problem;
use crate::spool::OfflineFound;

/// One dossier with its events.
#[derive(Serialize, ToSchema)]
#[schema(as = DossierWithEvents)]
struct DossierWithEventsJson {
    dossier: Option<DossierJson>,
    events: Vec<RecordedEventJson>,
}

/// A dossier that was taken in without a line and waits to be forwarded.
#[derive(Serialize, ToSchema)]
#[schema(as = QueuedDossier)]
struct QueuedDossierJson {
    dossier: QueuedJson,
    /// None yet: the gateway has not admitted it.
    #[schema(value_type = Vec<Object>, max_items = 0)]
    events: [(); 0],
}

#[derive(Serialize, ToSchema)]
#[schema(as = Queued)]
struct QueuedJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provisional_number: Option<String>,
    /// Always `queued`.
    status: &'static str,
    offline: bool,
    request_key: String,
    procedure_code: String,
    locality: String,
    intake_desk: String,
    competent_authority: String,
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    registry_version: u64,
}

impl QueuedDossierJson {
    fn new(found: OfflineFound) -> Self {
        let OfflineFound { request_key, submission, intake } = found;
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let dossier = QueuedJson {
            code: said(intake.dossier_code),
            provisional_number: said(intake.provisional_number),
            status: "queued",
            offline: true,
            request_key: request_key.to_string(),
            procedure_code: submission.procedure_code,
            locality: submission.locality,
            intake_desk: submission.acting_party,
            competent_authority: intake.competent_authority,
            received_at: submission.received_at.as_ref().and_then(print_time),
            due_at: intake.due_at.and_then(|seconds| print_time(&Timestamp { seconds, nanos: 0 })),
            registry_version: intake.registry_version,
        };
        Self { dossier, events: [] }
    }
}

/// An event, with what was said when that was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedEvent)]
struct RecordedEventJson {
    #[serde(flatten)]
    event: Option<EventJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    body: Option<BodyJson>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    erased: bool,
}

/// What is known of a dossier, by the gateway or only here.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownDossier)]
#[serde(untagged)]
enum ShownJson {
    Admitted(Box<DossierWithEventsJson>),
    Queued(Box<QueuedDossierJson>),
}

/// One page of dossiers.
#[derive(Serialize, ToSchema)]
#[schema(as = DossierPage)]
struct PageJson {
    dossiers: Vec<DossierJson>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    /// Whether what was said comes along. It names the citizen, so only a party to the dossier gets it.
    #[serde(default)]
    bodies: bool,
    /// Only events after this sequence number.
    #[serde(default)]
    after: u32,
}

/// All that is set must hold.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// One or more, with commas between them.
    status: Option<String>,
    procedure: Option<String>,
    /// The competent authority.
    authority: Option<String>,
    intake_desk: Option<String>,
    received_from: Option<String>,
    /// Exclusive.
    received_to: Option<String>,
    /// Only those handed in outside the authority's territory.
    #[serde(default)]
    non_territorial: bool,
    /// Past their due date and not resolved.
    #[serde(default)]
    late: bool,
    page_size: Option<u32>,
    page_token: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteQuery {
    /// Which procedure. Compulsory.
    #[param(required, nullable = false)]
    procedure: Option<String>,
    /// Its case, where it has several.
    #[serde(default)]
    case: String,
    /// The commune or province the matter belongs to.
    #[serde(default)]
    locality: String,
    /// Left out, now.
    at: Option<String>,
}

/// `GET /v1/dossiers/{code}`: how one dossier stands, with its events.
#[utoipa::path(
    get, path = "/v1/dossiers/{code}", tag = "dossiers", operation_id = "show_dossier",
    summary = "How one dossier stands, with its events",
    description = "From the gateway; one that was taken in without a line and is not with the gateway yet, from here: it is \
        `queued` and has no events.",
    params(CallerHeaders, IfNoneMatch, ("code" = String, Path, description = "The dossier's code, or another it goes by"), ShowQuery),
    responses(
        (status = 200, description = "The dossier", body = ShownJson, headers(
            ("ETag" = Option<String>, description = "Begins with the number of the last event; absent while it is `queued`. For `If-Match`, when something is said about the dossier"),
        )),
        Unchanged,
        FromGateway,
    ),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    code: Result<Path<String>, PathRejection>,
    query: Result<Query<ShowQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Path(code) = code.map_err(bad_request)?;
    let Query(ShowQuery { bodies, after }) = query.map_err(bad_request)?;
    let caller = Caller::read(&api, &headers)?;
    // What was taken in here without a line and is not with the gateway yet, only this machine knows.
    let queued = api.office.spool.offline_by_name(&caller.party, &code).map_err(|error| unreadable(&error))?;
    if let Some(found) = queued {
        return Ok(json(StatusCode::OK, &ShownJson::Queued(Box::new(QueuedDossierJson::new(found)))));
    }
    let request = GetRequest {
        acting_party: caller.party.as_str().to_owned(),
        actor: caller.actor.as_str().to_owned(),
        dossier_code: code,
        with_bodies: bodies,
        after_sequence: after,
    };
    let request = api.office.link.request(request, Some(&caller.trace));
    let found = api.office.link.dossiers().get(request).await.map_err(Problem::of_status)?.into_inner();
    let events = found.events.into_iter().map(|recorded| {
        let kind = recorded.event.as_ref().map_or(0, |event| event.kind);
        RecordedEventJson {
            body: bodies.then(|| BodyJson::new(kind, &recorded.body)),
            event: recorded.event.map(EventJson::new),
            erased: recorded.erased,
        }
    });
    let sequence = found.dossier.as_ref().map(|dossier| dossier.sequence);
    let answer = ShownJson::Admitted(Box::new(DossierWithEventsJson {
        dossier: found.dossier.map(DossierJson::new),
        events: events.collect(),
    }));
    Ok(conditional::answer(&headers, &answer, sequence))
}

/// `GET /v1/dossiers`: the dossiers the party has to do with, the latest change first.
#[utoipa::path(
    get, path = "/v1/dossiers", tag = "dossiers", operation_id = "list_dossiers",
    summary = "The dossiers the party has to do with",
    description = "The latest change first. All that is set must hold.",
    params(CallerHeaders, ListQuery),
    responses((status = 200, description = "One page", body = PageJson), FromGateway),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(bad_request)?;
    let caller = Caller::read(&api, &headers)?;
    let mut fields = Fields::default();
    let words = query.status.as_deref().filter(|words| !words.is_empty());
    let statuses = words.into_iter().flat_map(|words| words.split(','));
    let statuses = statuses.filter_map(|word| fields.required::<Status>("status", Some(word)));
    let statuses = statuses.map(|status| i32::from(status.number())).collect();
    let procedure = fields.optional::<ProcedureCode>("procedure", query.procedure.as_deref());
    let authority = fields.optional::<PartyId>("authority", query.authority.as_deref());
    let intake_desk = fields.optional::<PartyId>("intake_desk", query.intake_desk.as_deref());
    let filter = Filter {
        statuses,
        procedure_code: procedure.map_or_else(String::new, |code| code.to_string()),
        competent_authority: authority.map_or_else(String::new, |party| party.to_string()),
        intake_desk: intake_desk.map_or_else(String::new, |party| party.to_string()),
        received_from: fields.optional_time("received_from", query.received_from.as_deref()),
        received_to: fields.optional_time("received_to", query.received_to.as_deref()),
        only_non_territorial: query.non_territorial,
        only_late: query.late,
    };
    let request = ListRequest {
        acting_party: caller.party.as_str().to_owned(),
        actor: caller.actor.as_str().to_owned(),
        filter: Some(fields.finish(filter)?),
        page_size: u32::try_from(pages::size(query.page_size)?).unwrap_or(pages::MOST),
        page_token: query.page_token.unwrap_or_default(),
    };
    let request = api.office.link.request(request, Some(&caller.trace));
    let page = api.office.link.dossiers().list(request).await.map_err(Problem::of_status)?.into_inner();
    let answer = PageJson {
        dossiers: page.dossiers.into_iter().map(DossierJson::new).collect(),
        next_page_token: Some(page.next_page_token).filter(|token| !token.is_empty()),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// `GET /v1/route`: which authority would be competent, and which rule says so.
#[utoipa::path(
    get, path = "/v1/route", tag = "dossiers", operation_id = "explain_route",
    summary = "Which authority would be competent, and which rule says so",
    description = "Where nobody is, `no_route` says why.",
    params(CallerHeaders, IfNoneMatch, RouteQuery),
    responses(
        (status = 200, description = "The route, and the rules looked at", body = RouteJson, headers(
            ("ETag" = String, description = "For `If-None-Match`"),
        )),
        Unchanged,
        FromGateway,
    ),
)]
pub(super) async fn route(
    State(api): State<Arc<Api>>,
    query: Result<Query<RouteQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(bad_request)?;
    let caller = Caller::read(&api, &headers)?;
    let mut fields = Fields::default();
    let procedure = fields.required::<ProcedureCode>("procedure", query.procedure.as_deref());
    let at = fields.optional_time("at", query.at.as_deref());
    let request = ExplainRouteRequest {
        acting_party: caller.party.as_str().to_owned(),
        actor: caller.actor.as_str().to_owned(),
        procedure_code: fields.finish(procedure)?.map_or_else(String::new, |code| code.to_string()),
        case_code: query.case,
        locality: query.locality,
        at,
    };
    let request = api.office.link.request(request, Some(&caller.trace));
    let route = api.office.link.dossiers().explain_route(request).await.map_err(Problem::of_status)?.into_inner();
    Ok(conditional::answer(&headers, &RouteJson::new(route), None))
}
