//! A second connection of the portal, beside its adapter: slow, and careless with what it acknowledges. What it takes over it
//! does hand over, so whatever it says besides must change nothing.

use std::collections::BTreeSet;

use anyhow::Context as _;
use lgsp_adapters::link::Link;
use lgsp_proto::v1::inbox_request::Request as Say;
use lgsp_proto::v1::inbox_response::Response as Hear;
use lgsp_proto::v1::{self, AcknowledgeStage};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::agency::Agencies;
use crate::history::Bearer;

/// Takes part until `enough`, and then until everything it has taken over is acknowledged as handed over.
pub(crate) async fn take_part(
    link: Link,
    agencies: Agencies,
    party: &str,
    enough: CancellationToken,
) -> anyhow::Result<u32> {
    let (say, said) = mpsc::channel(256);
    let open = v1::OpenInbox {
        parties: vec![party.to_owned()],
        credit: 3,
        instance: "second".into(),
        ..v1::OpenInbox::default()
    };
    say.send(request(Say::Open(open))).await?;
    let mut hear = link.inbox().open(ReceiverStream::new(said)).await?.into_inner();
    // What it never had, before anything else.
    let never = v1::DeliveryRef { party: party.to_owned(), dossier_code: "H57.101-251001-99999".into(), sequence: 1 };
    let (mut taken, mut open) = (0, BTreeSet::new());
    loop {
        let heard = tokio::select! {
            heard = hear.message() => heard?.context("the gateway ended the stream")?,
            () = enough.cancelled(), if open.is_empty() => return Ok(taken),
        };
        match heard.response.context("an empty message")? {
            Hear::Delivery(delivery) => {
                let named = delivery.r#ref.clone().context("a delivery without a name")?;
                if enough.is_cancelled() {
                    // It does not take this one; the stream's end gives it back.
                    continue;
                }
                taken += 1;
                open.insert((named.dossier_code.clone(), named.sequence));
                let event =
                    delivery.event.and_then(|recorded| recorded.event).context("a delivery without an event")?;
                let hook = json!({
                    "party": named.party, "dossier_code": named.dossier_code, "sequence": named.sequence,
                    "event": {
                        "request_key": event.request_key,
                        "body_sha256": data_encoding::HEXLOWER.encode(&event.body_sha256),
                    },
                });
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
                agencies.told(&hook, Bearer { system: "second".into(), life: 0 }, true);
                // Twice each, and something false in between.
                for stage in [AcknowledgeStage::TakenOver, AcknowledgeStage::TakenOver, AcknowledgeStage::HandedOver] {
                    say.send(acknowledge(stage, vec![named.clone()])).await?;
                }
                say.send(acknowledge(AcknowledgeStage::HandedOver, vec![never.clone(), named])).await?;
            }
            Hear::Acknowledged(done) if done.stage() == AcknowledgeStage::HandedOver => {
                for done in done.deliveries {
                    open.remove(&(done.dossier_code, done.sequence));
                }
            }
            _ => {}
        }
    }
}

fn request(request: Say) -> v1::InboxRequest {
    v1::InboxRequest { request: Some(request) }
}

fn acknowledge(stage: AcknowledgeStage, deliveries: Vec<v1::DeliveryRef>) -> v1::InboxRequest {
    request(Say::Acknowledge(v1::Acknowledge { stage: stage.into(), deliveries }))
}
