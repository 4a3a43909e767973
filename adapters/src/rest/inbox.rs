//! What waits for a party whose system cannot be called: fetched, and acknowledged when it has it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, v1};
use serde::{Deserialize, Serialize};

use super::{Api, bad_request, json, read_json, wait_for};
use crate::json::{DeliveryJson, Fields};
use crate::office::{Caller, DeliveryNameJson};
use crate::problem::Problem;
use crate::spool::DeliveryId;

/// The most deliveries in one answer.
const MAX_DELIVERIES: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchQuery {
    /// Left out, the party of the header.
    party: Option<String>,
    /// 1–200; left out, 50.
    limit: Option<usize>,
    /// How long to wait if nothing is there, at most a minute.
    wait_ms: Option<u64>,
}

/// What waits, the oldest first; of one dossier, in the order of its events.
#[derive(Serialize)]
struct InboxJson {
    deliveries: Vec<DeliveryJson>,
}

/// Which deliveries the agency's system has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckJson {
    deliveries: Vec<DeliveryNameJson>,
}

/// Which deliveries the agency's system will not take, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefuseJson {
    deliveries: Vec<DeliveryNameJson>,
    /// A stable word; no personal data.
    reason: String,
}

/// The same again: they go back, durably.
#[derive(Serialize)]
struct RefusedJson {
    refused: Vec<DeliveryNameJson>,
}

/// The same again: they are marked, durably.
#[derive(Serialize)]
struct AcknowledgedJson {
    acknowledged: Vec<DeliveryNameJson>,
}

/// `GET /v1/inbox`: what waits for a party.
pub(super) async fn fetch(
    State(api): State<Arc<Api>>,
    query: Result<Query<FetchQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(FetchQuery { party, limit, wait_ms }) = query.map_err(bad_request)?;
    let party = match party {
        Some(text) => {
            let mut fields = Fields::default();
            let party = fields.required::<PartyId>("party", Some(&text));
            let party = fields.finish(party)?.ok_or(Reason::Internal)?;
            api.office.acts_for(&party)?;
            party
        }
        None => Caller::party(&api, &headers)?,
    };
    let limit = limit.unwrap_or(50).clamp(1, MAX_DELIVERIES);
    let mut told = HashSet::new();
    let found = wait_for(&api, wait_ms, || {
        let found = api.office.readable(&party, limit, &mut told);
        (!found.is_empty()).then_some(found)
    });
    let named = |delivery: v1::Delivery| {
        let id = DeliveryId::from(&delivery.r#ref.clone().unwrap_or_default());
        let name = api.office.spool.delivery_name(&id);
        DeliveryJson::new(delivery, name, None)
    };
    let deliveries = found.await.unwrap_or_default().into_iter().map(named).collect();
    Ok(json(StatusCode::OK, &InboxJson { deliveries }))
}

/// `POST /v1/inbox/ack`: the agency's system has these. Durable when answered; once more does no harm.
pub(super) async fn acknowledge(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let party = Caller::party(&api, &headers)?;
    let AckJson { deliveries } = read_json(body).await?;
    api.office.acknowledge(&party, &deliveries).await?;
    Ok(json(StatusCode::OK, &AcknowledgedJson { acknowledged: deliveries }))
}

/// `POST /v1/inbox/refuse`: the agency's system will not take these as they are. They go back to the gateway, with all later
/// ones of their dossiers, and wait there for a person. Durable when answered.
pub(super) async fn refuse(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
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
