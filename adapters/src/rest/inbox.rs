//! What waits for a party whose system cannot be called: fetched, and acknowledged when it has it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use lgsp_journal::Position;
use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, v1};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Call;
use super::describe::{Listed, PartyHeader, TakingIn};
use super::pages::{self, List};
use super::{Api, bad_request, json, read_json, wait_for};
use crate::json::{DeliveryJson, Fields};
use crate::office::{Caller, DeliveryNameJson};
use crate::problem::Problem;
use crate::spool::DeliveryId;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchQuery {
    /// Left out, the party of the header.
    party: Option<String>,
    page_size: Option<u32>,
    /// From the page before. What was read and is not acknowledged yet is passed over; without a token it comes again.
    page_token: Option<String>,
    /// How long to wait if nothing is there, at most a minute.
    wait_ms: Option<u64>,
}

/// What waits, the oldest first; of one dossier, in the order of its events.
#[derive(Serialize, ToSchema)]
#[schema(as = Inbox)]
struct InboxJson {
    deliveries: Vec<DeliveryJson>,
    /// Absent if nothing is here. On the last page too: with it, one may wait for what comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// Which deliveries the agency's system has.
#[derive(Deserialize, ToSchema)]
#[schema(as = Acknowledge)]
#[serde(deny_unknown_fields)]
struct AckJson {
    deliveries: Vec<DeliveryNameJson>,
}

/// Which deliveries the agency's system will not take, and why.
#[derive(Deserialize, ToSchema)]
#[schema(as = Refuse)]
#[serde(deny_unknown_fields)]
struct RefuseJson {
    deliveries: Vec<DeliveryNameJson>,
    /// A stable word; no personal data.
    reason: String,
}

/// The same again: they go back, durably.
#[derive(Serialize, ToSchema)]
#[schema(as = Refused)]
struct RefusedJson {
    refused: Vec<DeliveryNameJson>,
}

/// The same again: they are marked, durably.
#[derive(Serialize, ToSchema)]
#[schema(as = Acknowledged)]
struct AcknowledgedJson {
    acknowledged: Vec<DeliveryNameJson>,
}

/// `GET /v1/inbox`: what waits for a party.
#[utoipa::path(
    get, path = "/v1/inbox", tag = "inbox", operation_id = "fetch_inbox",
    summary = "What waits for a party",
    description = "The oldest first; of one dossier, in the order of its events. What was read comes again until it is \
        acknowledged.",
    params(
        ("LGSP-Party" = Option<String>, Header, description = "The party, unless `party` names it"),
        FetchQuery,
    ),
    responses((status = 200, description = "What waits; nothing, if nothing came in that time", body = InboxJson), Listed),
)]
pub(super) async fn fetch(
    State(api): State<Arc<Api>>,
    query: Result<Query<FetchQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Query(FetchQuery { party, page_size, page_token, wait_ms }) = query.map_err(bad_request)?;
    let party = party_of(&api, party.as_deref(), &headers)?;
    let size = pages::size(page_size)?;
    let after = Position(pages::number(List::Inbox, page_token.as_deref())?.unwrap_or(0));
    let found = wait_for(&api, wait_ms, || {
        let found = readable(&api, &party, after, size);
        (!found.is_empty()).then_some(found)
    });
    let found = found.await.unwrap_or_default();
    let last = found.last().map(|(position, _)| *position).or((after > Position::ORIGIN).then_some(after));
    let next_page_token = last.map(|Position(place)| pages::token(List::Inbox, &place.to_be_bytes()));
    let deliveries = found.into_iter().map(|(_, delivery)| named(&api, delivery)).collect();
    Ok(json(StatusCode::OK, &InboxJson { deliveries, next_page_token }))
}

/// The party that the parameter names, or else the header.
///
/// # Errors
/// None does, or the adapter does not act for it.
pub(super) fn party_of(api: &Api, named: Option<&str>, headers: &Call) -> Result<PartyId, Problem> {
    let Some(text) = named else { return Caller::party(api, headers) };
    let mut fields = Fields::default();
    let party = fields.required::<PartyId>("party", Some(text));
    let party = fields.finish(party)?.ok_or(Reason::Internal)?;
    headers.acts_for(api, &party)?;
    Ok(party)
}

/// What waits after a place. What cannot be read is remembered, so that a later page knows what it keeps back.
pub(super) fn readable(api: &Api, party: &PartyId, after: Position, size: usize) -> Vec<(Position, v1::Delivery)> {
    api.office.readable(party, after, size, &api.unreadable)
}

pub(super) fn named(api: &Api, delivery: v1::Delivery) -> DeliveryJson {
    let id = DeliveryId::from(&delivery.r#ref.clone().unwrap_or_default());
    let name = api.office.spool.delivery_name(&id);
    DeliveryJson::new(delivery, name, None)
}

/// `POST /v1/inbox/ack`: the agency's system has these. Durable when answered; once more does no harm.
#[utoipa::path(
    post, path = "/v1/inbox/ack", tag = "inbox", operation_id = "acknowledge_deliveries",
    summary = "The agency's system has these",
    description = "Durable when answered; once more does no harm. If one is not there, nothing is done about any.",
    params(PartyHeader),
    request_body = AckJson,
    responses((status = 200, description = "They are marked", body = AcknowledgedJson), TakingIn),
)]
pub(super) async fn acknowledge(State(api): State<Arc<Api>>, headers: Call, body: Body) -> Result<Response, Problem> {
    let party = Caller::party(&api, &headers)?;
    let AckJson { deliveries } = read_json(body).await?;
    api.office.acknowledge(&party, &deliveries).await?;
    Ok(json(StatusCode::OK, &AcknowledgedJson { acknowledged: deliveries }))
}

/// `POST /v1/inbox/refuse`: the agency's system will not take these as they are. They go back to the gateway, with all later
/// ones of their dossiers, and wait there for a person. Durable when answered.
#[utoipa::path(
    post, path = "/v1/inbox/refuse", tag = "inbox", operation_id = "refuse_deliveries",
    summary = "The agency's system will not take these as they are",
    description = "They go back to the gateway, with all later ones of their dossiers, and wait there for a person. Durable when \
        answered.",
    params(PartyHeader),
    request_body = RefuseJson,
    responses((status = 200, description = "They go back", body = RefusedJson), TakingIn),
)]
pub(super) async fn refuse(State(api): State<Arc<Api>>, headers: Call, body: Body) -> Result<Response, Problem> {
    let party = Caller::party(&api, &headers)?;
    let RefuseJson { deliveries, reason } = read_json(body).await?;
    api.office.refuse(&party, &deliveries, &reason).await?;
    Ok(json(StatusCode::OK, &RefusedJson { refused: deliveries }))
}

#[cfg(feature = "fuzz")]
pub(super) fn fuzz(body: &[u8]) -> Option<serde_json::Error> {
    drop(serde_json::from_slice::<RefuseJson>(body));
    serde_json::from_slice::<AckJson>(body).err()
}
