//! How the adapter is, for operators and probes. No personal data, no dossier.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::{Api, json};
use crate::spool::now_ms;

/// Whether the adapter can keep its promises.
#[derive(Serialize)]
struct HealthJson {
    status: &'static str,
}

/// What waits where, and since when.
#[derive(Serialize)]
struct StatusJson {
    gateway: String,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_seconds: Option<u64>,
    /// How many connections were made since the start.
    connections: u64,
    parties: Vec<String>,
    outgoing: OutgoingJson,
    incoming: IncomingJson,
    /// Whether the spool can be written.
    writable: bool,
    uptime_seconds: u64,
}

/// Calls on their way to the gateway, and those answered whose outcome is still kept.
#[derive(Serialize)]
struct OutgoingJson {
    waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
    admitted: usize,
    refused: usize,
}

/// Deliveries on their way to the agency's own system.
#[derive(Serialize)]
struct IncomingJson {
    not_handed_over: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
    /// Handed over, and the gateway does not know it yet.
    unconfirmed: usize,
    /// Dossiers of which something goes back to the gateway, and it does not know it yet.
    returned: usize,
}

/// `GET /healthz`: 200 while the adapter can keep its promises. A line that is down is no reason to restart it.
pub(super) async fn health(State(api): State<Arc<Api>>) -> Response {
    if api.spool.broken().is_cancelled() {
        return json(StatusCode::SERVICE_UNAVAILABLE, &HealthJson { status: "the spool cannot write any more" });
    }
    json(StatusCode::OK, &HealthJson { status: "ok" })
}

/// `GET /status`: what waits where.
pub(super) async fn status(State(api): State<Arc<Api>>) -> Response {
    let counts = api.spool.counts();
    let connectivity = *api.link.connectivity().borrow();
    let status = StatusJson {
        gateway: api.link.gateway().to_string(),
        connected: connectivity.connected_since.is_some(),
        connected_seconds: connectivity.connected_since.map(|since| seconds_since(unix_ms(since))),
        connections: connectivity.connections,
        parties: api.parties.iter().map(ToString::to_string).collect(),
        outgoing: OutgoingJson {
            waiting: counts.waiting,
            oldest_seconds: counts.oldest_waiting_ms.map(seconds_since),
            admitted: counts.admitted,
            refused: counts.refused,
        },
        incoming: IncomingJson {
            not_handed_over: counts.not_handed_over,
            oldest_seconds: counts.oldest_not_handed_over_ms.map(seconds_since),
            unconfirmed: counts.unconfirmed,
            returned: counts.returned,
        },
        writable: !api.spool.broken().is_cancelled(),
        uptime_seconds: api.started.elapsed().as_secs(),
    };
    json(StatusCode::OK, &status)
}

fn seconds_since(unix_ms: i64) -> u64 {
    u64::try_from(now_ms().saturating_sub(unix_ms) / 1000).unwrap_or(0)
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}
