//! Delivery over a stream: what is owed goes out, what is acknowledged comes in.
//!
//! Both directions go on side by side, so that a synced acknowledgement never holds up the next delivery. The first thing
//! that goes wrong ends the stream with its reason; what was under way on it is then owed again.

use std::time::Duration;

use lgsp_proto::v1::inbox_request::Request as Said;
use lgsp_proto::v1::inbox_response::Response as Answer;
use lgsp_proto::{Reason, Refusal, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::convert::{parked, reading, standing};
use super::{MESSAGE_BYTES_MAX, wire};
use crate::engine::Engine;
use crate::engine::access::Peer;
use crate::engine::inbox::{DeliveryName, Opening, Session};
use crate::engine::shares::Tally;
use crate::store::Stage;

/// Answers made ahead of what the connection takes: each may be a few megabytes.
const ANSWERS_AHEAD: usize = 4;

/// How long an open stream may take to say for whom. Until then nothing else bounds it.
const FIRST_WORD: Duration = Duration::from_secs(30);

pub(super) struct Inbox {
    pub(super) engine: Engine,
    pub(super) stopping: CancellationToken,
    /// The streams each system has open.
    pub(super) streams: Tally<String>,
}

type Answers = mpsc::Sender<Result<v1::InboxResponse, Status>>;

#[tonic::async_trait]
impl v1::inbox_server::Inbox for Inbox {
    type OpenStream = ReceiverStream<Result<v1::InboxResponse, Status>>;

    async fn open(&self, request: Request<Streaming<v1::InboxRequest>>) -> Result<Response<Self::OpenStream>, Status> {
        let peer = wire::peer(&request)?;
        let caller = wire::caller(&request);
        let (system, leaving) = (caller.system(), caller.leaving().clone());
        let counted = self.streams.count(&system).map_err(|refusal| refusal.detail("system", system))?;
        let (answers, stream) = mpsc::channel(ANSWERS_AHEAD);
        let (engine, stopping) = (self.engine.clone(), self.stopping.clone());
        // Ends when either side is done; a panic drops `answers`, which ends the stream without a reason.
        tokio::spawn(async move {
            let _counted = counted;
            let end = tokio::select! {
                end = serve(&engine, &peer, request.into_inner(), &answers) => end,
                // Ended in order: whoever has renewed opens the next over another connection, and is owed what was under way.
                () = leaving.cancelled() => return,
                () = stopping.cancelled() => Err(Refusal::new(Reason::ShuttingDown).into()),
                () = answers.closed() => return,
            };
            if let Err(status) = end {
                // A caller that does not read is not waited for.
                let _ = answers.send_timeout(Err(status), FIRST_WORD).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn backlog(&self, request: Request<v1::BacklogRequest>) -> Result<Response<v1::BacklogResponse>, Status> {
        let peer = wire::peer(&request)?;
        let parties = reading::backlog(request.get_ref())?;
        let mut answer = v1::BacklogResponse::default();
        for party in &parties {
            let (backlog, streams) = self.engine.backlog(&peer, &parties[0], party).await?;
            answer.parties.push(standing::backlog(party, &backlog, streams));
        }
        Ok(Response::new(answer))
    }

    async fn parked(&self, request: Request<v1::ParkedRequest>) -> Result<Response<v1::ParkedResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, query) = parked::query(request.get_ref())?;
        let page = self.engine.parked(&peer, &asking.party, &query).await?;
        Ok(Response::new(parked::page(page)))
    }

    async fn handle_parked(
        &self,
        request: Request<v1::HandleParkedRequest>,
    ) -> Result<Response<v1::HandleParkedResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, decision) = parked::decision(request.get_ref())?;
        let waiting = self.engine.handle_parked(&peer, &asking, decision).await?;
        Ok(Response::new(v1::HandleParkedResponse { waiting }))
    }

    async fn release(&self, request: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        let peer = wire::peer(&request)?;
        let parked::Release { asking, actor, ground, party, installation } = parked::release(request.get_ref())?;
        let released = self.engine.release(&peer, &asking, (actor, ground), (&party, &installation)).await?;
        Ok(Response::new(v1::ReleaseResponse { released }))
    }
}

/// Serves one stream until the caller closes its side.
async fn serve(
    engine: &Engine,
    peer: &Peer,
    mut requests: Streaming<v1::InboxRequest>,
    answers: &Answers,
) -> Result<(), Status> {
    let first = tokio::time::timeout(FIRST_WORD, next(&mut requests)).await;
    let Some(Said::Open(open)) = first.map_err(|_| protocol("the first message comes within 30 seconds"))?? else {
        return Err(protocol("the first message opens the stream"));
    };
    let reading::Open { parties, credit, instance, spool } = reading::open(&open)?;
    let opening = Opening { parties: &parties, credit, instance: &instance, spool };
    let session = engine.open_inbox(peer, opening).await?;
    let parties = session.parties().map(ToString::to_string).collect();
    let epoch = engine.epoch().await?;
    send(answers, Answer::Opened(v1::Opened { parties, epoch })).await;
    tokio::select! {
        end = deliver(engine, &session, answers) => end,
        end = listen(&session, &mut requests, answers) => end,
    }
}

/// Sends what is owed, for ever.
async fn deliver(engine: &Engine, session: &Session, answers: &Answers) -> Result<(), Status> {
    // A place first: what is leased must be on its way, not waiting in here.
    while let Ok(place) = answers.reserve().await {
        let delivery = session.next().await?;
        let delivery = standing::delivery(delivery, engine.clock().now());
        place.send(Ok(v1::InboxResponse { response: Some(Answer::Delivery(delivery)) }));
    }
    Ok(())
}

/// Takes what the caller says, until it has said everything.
async fn listen(
    session: &Session,
    requests: &mut Streaming<v1::InboxRequest>,
    answers: &Answers,
) -> Result<(), Status> {
    while let Some(said) = next(requests).await? {
        match said {
            Said::Open(_) => return Err(protocol("the stream is open already")),
            Said::Acknowledge(acknowledge) => {
                let (stage, names) = reading::acknowledge(&acknowledge)?;
                let names = session.acknowledge(stage, names).await?;
                send(answers, Answer::Acknowledged(acknowledged(stage, &names))).await;
            }
            Said::Credit(credit) => session.add_credit(reading::more_credit(&credit)?),
            Said::Decline(decline) => {
                let (declined, names) = reading::decline(&decline)?;
                let count = names.len();
                tracing::info!(count, reason = declined.reason, kind = ?declined.kind, "deliveries declined");
                session.decline(&declined, &names).await?;
                send(answers, Answer::Declined(v1::Declined { deliveries: decline.deliveries })).await;
            }
        }
    }
    Ok(())
}

/// The next message; `None` when the caller has said everything.
async fn next(requests: &mut Streaming<v1::InboxRequest>) -> Result<Option<Said>, Status> {
    match requests.message().await.map_err(|status| wire::in_our_words(status, MESSAGE_BYTES_MAX))? {
        None => Ok(None),
        Some(v1::InboxRequest { request: Some(said) }) => Ok(Some(said)),
        Some(v1::InboxRequest { request: None }) => Err(protocol("a message says something this version knows")),
    }
}

/// A caller that has gone away is noticed by the task that serves it.
async fn send(answers: &Answers, answer: Answer) {
    let _ = answers.send(Ok(v1::InboxResponse { response: Some(answer) })).await;
}

fn acknowledged(stage: Stage, names: &[DeliveryName]) -> v1::Acknowledged {
    let stage = match stage {
        Stage::TakenOver => v1::AcknowledgeStage::TakenOver,
        Stage::HandedOver => v1::AcknowledgeStage::HandedOver,
    };
    let named = |name: &DeliveryName| v1::DeliveryRef {
        party: name.party.to_string(),
        dossier_code: name.code.to_string(),
        sequence: name.sequence,
    };
    v1::Acknowledged { stage: stage.into(), deliveries: names.iter().map(named).collect() }
}

fn protocol(rule: &str) -> Status {
    Refusal::new(Reason::StreamProtocol).detail("rule", rule).into()
}
