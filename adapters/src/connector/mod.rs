//! Answers questions to the data services of one owner, over a stream that it opens to the gateway.
//!
//! Owns the stream, the time a question has and what of a reply may be told; a [`source::Source`] stands behind each service: the owner's own
//! software on this machine (`[connector]`, [`posted`]), or a connector to a national database. A question is answered once or not at all, and never kept:
//! one that cannot be answered in its time is nobody's any more. The reply is cut here to the fields that may be told, before it
//! leaves the owner's machine; the gateway cuts it again.

mod answering;
mod ended;
pub(crate) mod posted;
pub(crate) mod source;

use std::sync::Arc;

use lgsp_proto::v1::serve_request::Request as Up;
use lgsp_proto::v1::serve_response::Response as Down;
use lgsp_proto::v1::{OpenServing, ServeRequest, ServeResponse, ServiceRef};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::backoff::Backoff;
use crate::link::Link;
use source::Serving;

/// The account in whose name the adapter itself serves.
const ACTOR: &str = "adapter";

/// Serves the services of one owner.
pub(crate) struct Connector {
    serving: Arc<Serving>,
    link: Link,
    backoff: Backoff,
}

impl Connector {
    pub(crate) fn new(serving: Serving, link: Link, backoff: Backoff) -> Self {
        Self { serving: Arc::new(serving), link, backoff }
    }

    /// Serves until `stop`, over as many streams as it takes, one after the other.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.stream(&mut failures) => ended,
            };
            failures += 1;
            let why = ended.as_ref().err().map(ended::Why::of);
            let (text, of) = why.as_ref().map_or(("it was ended", ""), |why| (&why.text, &why.details));
            // A line may break; what is refused is told at once, for somebody has to mend it.
            let is_told = failures > 2 || why.as_ref().is_some_and(|why| why.is_final);
            if failures.is_power_of_two() && is_told {
                tracing::warn!(failures, why = text, of, "no stream for the questions to our data services");
            } else {
                tracing::debug!(failures, why = text, of, "a connector's stream ended");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.backoff.delay(failures)) => {}
            }
        }
    }

    /// One stream, from opening it to its end.
    async fn stream(&self, failures: &mut u32) -> Result<(), Status> {
        let (sender, requests) = mpsc::channel(8);
        let services = self.serving.sources.keys();
        let services = services.map(|(name, version)| ServiceRef { name: name.clone(), version: *version });
        let at_once = u32::try_from(self.serving.at_once.get()).unwrap_or(u32::MAX);
        let (party, actor) = (self.serving.party.to_string(), ACTOR.to_owned());
        let open = OpenServing { party, actor, services: services.collect(), at_once };
        // There is room: nothing was sent before.
        let _ = sender.send(ServeRequest { request: Some(Up::Open(open)) }).await;
        let mut belief = self.link.belief();
        let request = self.link.stream_request(ReceiverStream::new(requests), None);
        let mut questions = self.link.queries().serve(request).await?.into_inner();
        // What is under way when the stream ends is given up with it: nobody waits for it any more.
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                message = questions.message(), if under_way.len() < self.serving.at_once.get() => match message? {
                    Some(ServeResponse { response: Some(Down::Question(question)) }) => {
                        let serving = Arc::clone(&self.serving);
                        under_way.spawn(async move { answering::answered(&serving, question).await });
                    }
                    Some(ServeResponse { response: Some(Down::Opened(opened)) }) => {
                        *failures = 0;
                        tracing::info!(services = opened.services.len(), "our data services are served");
                    }
                    Some(ServeResponse { response: None }) => {}
                    None => return Ok(()),
                },
                Some(answered) = under_way.join_next() => {
                    let Ok(Some(answer)) = answered else { continue };
                    // The gateway does not read any more; the stream's own end will say why.
                    if sender.send(ServeRequest { request: Some(Up::Answer(answer)) }).await.is_err() {
                        return questions.message().await.map(drop);
                    }
                }
                // Whoever was let in by former roots or lists has to prove anew who it is.
                () = belief.changed() => return Ok(()),
            }
        }
    }
}
