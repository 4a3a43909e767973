//! What waits for a party, as it comes: server-sent events, for a system that can neither be called nor wants to ask.
//!
//! Reading acknowledges nothing. What is not acknowledged comes again with the next stream, from the oldest on; a stream shows each
//! delivery once. It ends when the adapter stops or the reader goes away, and holds no more than one page in memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header;
use lgsp_journal::Position;
use lgsp_proto::Reason;
use lgsp_proto::types::PartyId;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::caller::Call;
use super::describe::Listed;
use super::inbox::{named, party_of, readable};
use super::{Api, bad_request};
use crate::json::DeliveryJson;
use crate::problem::Problem;

/// Streams at a time; one more is turned away.
pub(crate) const MOST: usize = 64;

/// How often a stream on which nothing happens says that it is there, so that nobody in between takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Deliveries read from the spool at a time.
const PAGE: usize = 20;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    /// Left out, the party of the header.
    party: Option<String>,
}

/// `GET /v1/inbox/stream`: what waits, and then what comes.
#[utoipa::path(
    get, path = "/v1/inbox/stream", tag = "inbox", operation_id = "stream_inbox",
    summary = "What waits for a party, and then what comes",
    description = "Server-sent events: `event` is the delivery's type, `id` its `delivery_id`, `data` the delivery as `GET /v1/inbox` \
        shows it. Lines that begin with a colon say that the stream is alive. Reading acknowledges nothing: `POST /v1/inbox/ack` does, \
        and what was not acknowledged comes again with the next stream, whatever `Last-Event-ID` says.",
    params(
        ("LGSP-Party" = Option<String>, Header, description = "The party, unless `party` names it"),
        StreamQuery,
    ),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream"), Listed),
)]
pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    query: Result<Query<StreamQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Query(StreamQuery { party }) = query.map_err(bad_request)?;
    let party = party_of(&api, party.as_deref(), &headers)?;
    let Ok(room) = Arc::clone(&api.streams).try_acquire_owned() else {
        return Err(Problem::from(Reason::Overloaded).with_detail("too many streams of the inbox at one time"));
    };
    let (sender, events) = mpsc::channel(1);
    tokio::spawn(feed(api, party, sender, room));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // A proxy that collects answers would keep events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(events).map(Ok::<_, std::convert::Infallible>))).into_response())
}

/// Writes what is there and what comes, until nobody reads any more or the adapter stops.
async fn feed(api: Arc<Api>, party: PartyId, events: mpsc::Sender<Bytes>, _room: OwnedSemaphorePermit) {
    let mut changes = api.office.spool.changes();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut after = Position::ORIGIN;
    loop {
        changes.mark_unchanged();
        let page = readable(&api, &party, after, PAGE);
        let is_all = page.is_empty();
        for (position, delivery) in page {
            after = position;
            let delivery = named(&api, delivery);
            let sent = tokio::select! {
                sent = events.send(event(&delivery)) => sent.is_ok(),
                () = api.stop.cancelled() => false,
            };
            if !sent {
                return;
            }
        }
        if !is_all {
            continue;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = heartbeat.tick() => {
                // A reader that is slow needs no proof that the stream is alive.
                if matches!(events.try_send(Bytes::from_static(b":\n\n")), Err(mpsc::error::TrySendError::Closed(_))) {
                    return;
                }
            }
            () = events.closed() => return,
            () = api.stop.cancelled() => return,
        }
    }
}

/// One delivery. Neither its name nor its JSON has a line break in it.
fn event(delivery: &DeliveryJson) -> Bytes {
    let data = serde_json::to_string(delivery).expect("our own types have text keys and finite numbers only");
    let (id, kind) = delivery.name();
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n").into()
}
