//! What waits for a party whose system cannot be called: fetched, and acknowledged when it has it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use lgsp_journal::Position;
use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, Refusal, v1};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::caller::{Caller, acts_for};
use super::{Api, bad_request, json, read_json, wait_for};
use crate::json::{DeliveryJson, Fields};
use crate::problem::Problem;
use crate::spool::{DeliveryId, Stage};

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

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct DeliveryNameJson {
    dossier_code: String,
    sequence: u32,
    /// As it came with the delivery. After a restore of the gateway another event may stand under the same code and sequence;
    /// with this, what is said about the one is never taken for the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<String>,
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
            acts_for(&api, &party)?;
            party
        }
        None => Caller::party(&api, &headers)?,
    };
    let limit = limit.unwrap_or(50).clamp(1, MAX_DELIVERIES);
    let mut told = HashSet::new();
    let found = wait_for(&api, wait_ms, || {
        let found = readable(&api, &party, limit, &mut told);
        (!found.is_empty()).then_some(found)
    });
    let named = |delivery: v1::Delivery| {
        let id = DeliveryId::from(&delivery.r#ref.clone().unwrap_or_default());
        let name = api.spool.delivery_name(&id);
        DeliveryJson::new(delivery, name, None)
    };
    let deliveries = found.await.unwrap_or_default().into_iter().map(named).collect();
    Ok(json(StatusCode::OK, &InboxJson { deliveries }))
}

/// What waits for a party and can be read, the oldest first. What cannot be keeps back what follows of its own dossier, and of no
/// other; each is `told` to the operator once.
fn readable(api: &Api, party: &PartyId, limit: usize, told: &mut HashSet<Position>) -> Vec<v1::Delivery> {
    let mut deliveries = Vec::new();
    // Only when something is left out, what follows has to make up for it.
    for most in [limit, usize::MAX] {
        let mut kept_back = HashSet::new();
        deliveries.clear();
        for position in api.spool.pending(party.as_str(), most) {
            if deliveries.len() == limit {
                break;
            }
            // It has been handed over or has gone back meanwhile.
            let Some(id) = api.spool.pending_at(position) else { continue };
            if kept_back.contains(&id.dossier) {
                continue;
            }
            match api.spool.delivery(position) {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => {
                    if told.insert(position) {
                        tracing::error!(
                            party.id = %party, dossier.code = %id.dossier, id.sequence, %error,
                            "a delivery cannot be read from the spool and keeps its dossier back"
                        );
                    }
                    kept_back.insert(id.dossier);
                }
            }
        }
        if kept_back.is_empty() {
            break;
        }
    }
    deliveries
}

/// `POST /v1/inbox/ack`: the agency's system has these. Durable when answered; once more does no harm.
pub(super) async fn acknowledge(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let party = Caller::party(&api, &headers)?;
    let AckJson { deliveries } = read_json(body).await?;
    check_pending(&api, &party, &deliveries, |stage| matches!(stage, Stage::TakenOver(_) | Stage::HandedOver { .. }))?;
    let id = |name: &DeliveryNameJson| delivery_id(&party, name);
    // Side by side, so that they share syncs.
    let mut marking = JoinSet::new();
    for id in deliveries.iter().map(id) {
        let (spool, event) = (api.spool.clone(), api.spool.fingerprint(&id));
        marking.spawn(async move { spool.handed_over(&id, event).await });
    }
    while let Some(marked) = marking.join_next().await {
        if !matches!(marked, Ok(Ok(()))) {
            return Err(Problem::from(Reason::ReadOnly).with_detail("the spool cannot write any more"));
        }
    }
    Ok(json(StatusCode::OK, &AcknowledgedJson { acknowledged: deliveries }))
}

/// `POST /v1/inbox/refuse`: the agency's system will not take these as they are. They go back to the gateway, with all later
/// ones of their dossiers, and wait there for a person. Durable when answered.
pub(super) async fn refuse(State(api): State<Arc<Api>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let party = Caller::party(&api, &headers)?;
    let RefuseJson { deliveries, reason } = read_json(body).await?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !(1..=64).contains(&reason.len()) || !reason.chars().all(is_word) {
        let what = "is not a word of 1 to 64 of A-Z a-z 0-9 _ - .";
        return Err(Refusal::new(Reason::FieldInvalid).field("reason", what).into());
    }
    check_pending(&api, &party, &deliveries, |stage| matches!(stage, Stage::TakenOver(_)))?;
    for id in deliveries.iter().map(|name| delivery_id(&party, name)) {
        let (spool, reason, name) = (api.spool.clone(), reason.clone(), id.clone());
        // To its end, even if the caller goes away: what was begun keeps the dossier's next deliveries out.
        let returned = tokio::spawn(async move { spool.give_back(&name, &reason, true).await }).await;
        if !matches!(returned, Ok(Ok(()))) {
            return Err(Problem::from(Reason::ReadOnly).with_detail("the spool cannot write any more"));
        }
        if matches!(api.spool.stage(&id), Some(Stage::TakenOver(_))) {
            let what = "the gateway was restored and has not delivered this again yet; refuse it then";
            return Err(Problem::from(Reason::EarlierEventsMissing).with_detail(what));
        }
    }
    Ok(json(StatusCode::OK, &RefusedJson { refused: deliveries }))
}

fn delivery_id(party: &PartyId, name: &DeliveryNameJson) -> DeliveryId {
    DeliveryId { party: party.as_str().into(), dossier: name.dossier_code.as_str().into(), sequence: name.sequence }
}

/// All are looked at before anything is done about any, so that a refusal means that nothing was.
fn check_pending(
    api: &Api,
    party: &PartyId,
    deliveries: &[DeliveryNameJson],
    is_fine: impl Fn(Stage) -> bool,
) -> Result<(), Problem> {
    let mut unknown = Refusal::new(Reason::DeliveryUnknown);
    for (number, name) in deliveries.iter().enumerate() {
        let id = delivery_id(party, name);
        let stale = |given: &String| *given != api.spool.delivery_name(&id);
        if !api.spool.stage(&id).is_some_and(&is_fine) {
            unknown = unknown.field(format!("deliveries[{number}]"), "is not in this party's inbox");
        } else if name.delivery_id.as_ref().is_some_and(stale) {
            let what = "is of an event that is gone; fetch what took its place";
            unknown = unknown.field(format!("deliveries[{number}].delivery_id"), what);
        }
    }
    if unknown.violations().is_empty() { Ok(()) } else { Err(unknown.into()) }
}

#[cfg(feature = "fuzz")]
pub(super) fn fuzz(body: &[u8]) -> Option<serde_json::Error> {
    drop(serde_json::from_slice::<RefuseJson>(body));
    serde_json::from_slice::<AckJson>(body).err()
}
