//! The inbox as a stream of server-sent events: what waits, what comes, and what is not acknowledged by being read.

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt as _;
use lgsp_proto::v1::AcknowledgeStage::TakenOver;
use serde_json::{Value, json};

use crate::support::{Adapter, PATIENCE, World};

/// A reader of a stream.
struct Events {
    body: Body,
    read: String,
}

impl Events {
    async fn open(adapter: &Adapter) -> Self {
        let (status, body) = adapter.open("/v1/inbox/stream").await;
        assert_eq!(status, StatusCode::OK);
        Self { body, read: String::new() }
    }

    /// More of it; `false` when it has ended.
    async fn more(&mut self) -> bool {
        let frame =
            tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("a stream says something now and then");
        let Some(Ok(frame)) = frame else { return false };
        self.read.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        true
    }

    /// The next event: its name, its type, and what it says.
    async fn next(&mut self) -> (String, String, Value) {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let lines: Vec<_> = event.lines().map(|line| line.split_once(": ").unwrap_or((line, ""))).collect();
                let said =
                    |name: &str| lines.iter().find(|(field, _)| *field == name).map(|(_, text)| (*text).to_owned());
                let found = said("data").map(|data| (said("id").unwrap(), said("event").unwrap(), data));
                self.read = rest.to_owned();
                if let Some((id, kind, data)) = found {
                    return (id, kind, serde_json::from_str(&data).unwrap());
                }
                // A heartbeat.
                continue;
            }
            assert!(self.more().await, "the stream ended");
        }
    }

    async fn sequence(&mut self) -> u64 {
        self.next().await.2["sequence"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn what_waits_and_what_comes_is_streamed_once_and_again_until_it_is_acknowledged() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    for sequence in 1..=2 {
        world.gateway.deliver("A-1", sequence);
        world.gateway.hears(TakenOver, sequence as usize).await;
    }
    let mut events = Events::open(&adapter).await;
    let (id, kind, first) = events.next().await;
    assert_eq!(
        (&kind[..], &first["delivery_id"], &first["dossier_code"]),
        ("dossier.event", &json!(id), &json!("A-1"))
    );
    assert_eq!(first, adapter.get("/v1/inbox").await.json()["deliveries"][0], "the same as is fetched");
    assert_eq!(events.sequence().await, 2);
    world.gateway.deliver("A-1", 3);
    assert_eq!(events.sequence().await, 3);
    drop(events);

    // Nothing was acknowledged by being read.
    let mut events = Events::open(&adapter).await;
    assert_eq!(events.sequence().await, 1);
    let ack = json!({"deliveries": [{"dossier_code": "A-1", "sequence": 1}, {"dossier_code": "A-1", "sequence": 2}]});
    assert_eq!(adapter.post("/v1/inbox/ack", "unused", &ack).await.status, StatusCode::OK);
    let mut events = Events::open(&adapter).await;
    assert_eq!(events.sequence().await, 3);
}

#[tokio::test]
async fn a_stream_too_many_is_turned_away_and_all_end_with_the_adapter() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut events = Events::open(&adapter).await;
        // It says at once that it is there.
        assert!(events.more().await);
        streams.push(events);
    }
    let refused = adapter.get("/v1/inbox/stream").await;
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::SERVICE_UNAVAILABLE, &"OVERLOADED".into()));
    // Other calls go on.
    assert_eq!(adapter.get("/v1/inbox").await.status, StatusCode::OK);
    adapter.begin_to_stop();
    let ended = async {
        for events in &mut streams {
            while events.more().await {}
        }
    };
    // Long before they would say once more that they are alive.
    tokio::time::timeout(PATIENCE / 3, ended).await.expect("they end");
    adapter.stop().await.unwrap();
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_its_place_to_another() {
    let world = World::new().await;
    let adapter = world.adapter().await;
    // More than there is room for, one after the other.
    for _ in 0..70 {
        let mut events = loop {
            let (status, body) = adapter.open("/v1/inbox/stream").await;
            // The adapter hears of a closed connection when it gets to it.
            if status == StatusCode::OK {
                break Events { body, read: String::new() };
            }
            tokio::task::yield_now().await;
        };
        assert!(events.more().await);
    }
}
