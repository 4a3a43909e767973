//! How the adapter is, for operators and probes. No personal data, no dossier.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use lgsp_journal::room::Shortage;
use serde::Serialize;

use super::{Api, json};
use crate::spool::now_ms;

/// Whether the adapter can keep its promises.
#[derive(Serialize)]
struct HealthJson {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_vi: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskJson>,
}

/// There is too little room on the spool's disk.
#[derive(Serialize)]
struct DiskJson {
    free_bytes: u64,
    needed_bytes: u64,
}

impl DiskJson {
    fn of(api: &Api) -> Option<Self> {
        let shortage = api.spool.shortage();
        shortage.map(|Shortage { free_bytes, needed_bytes }| Self { free_bytes, needed_bytes })
    }
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
    /// Absent unless the disk is nearly full: then nothing new is taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskJson>,
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
        let status = "the spool cannot write any more; restart the adapter once the disk is well";
        let status_vi = Some("hàng đợi không ghi được nữa; hãy khởi động lại bộ kết nối khi đĩa đã ổn");
        return json(StatusCode::SERVICE_UNAVAILABLE, &HealthJson { status, status_vi, disk: None });
    }
    if let disk @ Some(_) = DiskJson::of(&api) {
        let status = "the disk is nearly full: what is here goes on, nothing new is taken in; free some space";
        let status_vi = Some("đĩa sắp đầy: hồ sơ đã nhận vẫn được chuyển, chưa nhận thêm; hãy giải phóng dung lượng");
        return json(StatusCode::SERVICE_UNAVAILABLE, &HealthJson { status, status_vi, disk });
    }
    json(StatusCode::OK, &HealthJson { status: "ok", status_vi: None, disk: None })
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
        disk: DiskJson::of(&api),
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
