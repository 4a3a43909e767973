//! What comes in: the adapter's webhooks, answered 2xx once they are in the books.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use http::StatusCode;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::desk::Desk;
use crate::demo::books::{Entry, Told};
use crate::demo::scenario::Step;

/// More than any webhook of the demo.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    let routes = Router::new().route("/", post(take)).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(desk);
    axum::serve(listener, routes).await
}

async fn take(State(desk): State<Arc<Desk>>, body: Bytes) -> (StatusCode, String) {
    let Event { data: hook } = match serde_json::from_slice(&body) {
        Ok(event) => event,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()),
    };
    match desk.told(hook) {
        Ok(()) => (StatusCode::NO_CONTENT, String::new()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    }
}

/// The CloudEvent around it. The demo's agencies are on this machine and check no signature.
#[derive(Deserialize)]
struct Event {
    data: Hook,
}

/// One webhook, as far as the agency reads it.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Hook {
    /// Something happened to a dossier of ours.
    #[serde(rename = "dossier.event")]
    Event { party: String, dossier_code: String, sequence: u32, event: Happened },
    /// A request of ours is admitted.
    #[serde(rename = "request.admitted")]
    Admitted { party: String, request_key: String, receipt: Receipt },
    /// A request of ours is refused.
    #[serde(rename = "request.refused")]
    Refused { party: String, request_key: String, problem: Problem },
}

#[derive(Deserialize)]
pub(super) struct Happened {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    party: String,
    request_key: String,
    body_sha256: String,
}

#[derive(Deserialize)]
pub(super) struct Receipt {
    dossier_code: String,
    sequence: u32,
}

#[derive(Deserialize)]
pub(super) struct Problem {
    reason: String,
}

impl Hook {
    /// The dossier of the plan that the event is about, by the key of whoever recorded it.
    pub(super) fn plan_number(&self) -> Option<u32> {
        match self {
            Self::Event { event, .. } => Step::dossier_of(&event.request_key),
            Self::Admitted { .. } | Self::Refused { .. } => None,
        }
    }

    /// What is booked of it.
    pub(super) fn into_entry(self) -> Entry {
        match self {
            Self::Event { party, dossier_code, sequence, event } => {
                let Happened { kind, status, party: by, body_sha256, .. } = event;
                let event = Told { kind, status, by, body: body_sha256 };
                Entry::Received { party, dossier: dossier_code, sequence, event }
            }
            Self::Admitted { party, request_key, receipt } => receipt.into_entry(party, request_key),
            Self::Refused { party, request_key, problem } => problem.into_entry(party, request_key),
        }
    }
}

impl Receipt {
    /// What is booked of a request that was admitted.
    pub(super) fn into_entry(self, party: String, key: String) -> Entry {
        Entry::Admitted { party, key, dossier: self.dossier_code, sequence: self.sequence }
    }
}

impl Problem {
    /// What is booked of a request that was refused.
    pub(super) fn into_entry(self, party: String, key: String) -> Entry {
        Entry::Refused { party, key, reason: self.reason }
    }
}
