//! Queries over the wire: those who ask, and the streams of those who answer.

use std::time::Duration;

use lgsp_proto::v1::serve_request::Request as Said;
use lgsp_proto::v1::serve_response::Response as Answer;
use lgsp_proto::{Reason, Refusal, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::convert::{queries, query_figures, reading};
use super::{MESSAGE_BYTES_MAX, layers, wire};
use crate::engine::Engine;
use crate::engine::access::Peer;
use crate::engine::queries::serving::Serving;
use crate::engine::shares::Tally;

/// Questions put on a connection ahead of what it takes: one that waits here may be too late when it goes.
const QUESTIONS_AHEAD: usize = 1;

/// How long an open stream may take to say what it serves. Until then nothing else bounds it.
const FIRST_WORD: Duration = Duration::from_secs(30);

pub(super) struct Queries {
    pub(super) engine: Engine,
    pub(super) stopping: CancellationToken,
    /// The streams each system has open.
    pub(super) streams: Tally<String>,
}

type Answers = mpsc::Sender<Result<v1::ServeResponse, Status>>;

#[tonic::async_trait]
impl v1::queries_server::Queries for Queries {
    type ServeStream = ReceiverStream<Result<v1::ServeResponse, Status>>;

    async fn ask(&self, request: Request<v1::AskRequest>) -> Result<Response<v1::AskResponse>, Status> {
        let peer = wire::peer(&request)?;
        let within = layers::time_of_call(request.metadata().get("grpc-timeout").and_then(|time| time.to_str().ok()));
        let traceparent = wire::traceparent(&request);
        let ask = queries::ask(request.into_inner(), Some(within), traceparent)?;
        let told = self.engine.ask(peer, ask).await?;
        Ok(Response::new(queries::told(told)))
    }

    async fn serve(
        &self,
        request: Request<Streaming<v1::ServeRequest>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        let peer = wire::peer(&request)?;
        let caller = wire::caller(&request);
        let (system, leaving) = (caller.system(), caller.leaving().clone());
        let counted = self.streams.count(&system).map_err(|refusal| refusal.detail("system", system))?;
        let (answers, stream) = mpsc::channel(QUESTIONS_AHEAD);
        let (engine, stopping) = (self.engine.clone(), self.stopping.clone());
        // Ends when either side is done; a panic drops `answers`, which ends the stream without a reason.
        tokio::spawn(async move {
            let _counted = counted;
            let end = tokio::select! {
                end = serve(&engine, &peer, request.into_inner(), &answers) => end,
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

    async fn services(&self, request: Request<v1::ServicesRequest>) -> Result<Response<v1::ServicesResponse>, Status> {
        let peer = wire::peer(&request)?;
        let request = request.get_ref();
        let asking = reading::only_asking(&request.acting_party, &request.actor)?;
        let offered = self.engine.services(&peer, &asking.party)?;
        Ok(Response::new(v1::ServicesResponse { services: offered.into_iter().map(queries::offered).collect() }))
    }

    async fn look(&self, request: Request<v1::LookRequest>) -> Result<Response<v1::LookResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, id) = queries::look(request.get_ref())?;
        let record = self.engine.look_at_query(&peer, &asking.party, &id).await?;
        Ok(Response::new(queries::looked(record)))
    }

    async fn list(
        &self,
        request: Request<v1::ListQueriesRequest>,
    ) -> Result<Response<v1::ListQueriesResponse>, Status> {
        let peer = wire::peer(&request)?;
        let listing = queries::list(request.get_ref())?;
        let page = self.engine.list_queries(&peer, &listing.party, listing.dossier.as_deref(), listing.page).await?;
        Ok(Response::new(queries::listed(page)))
    }

    async fn figures(&self, request: Request<v1::FiguresRequest>) -> Result<Response<v1::FiguresResponse>, Status> {
        let peer = wire::peer(&request)?;
        let figures = self.engine.query_figures(&peer, query_figures::wanted(request.get_ref())?).await?;
        Ok(Response::new(query_figures::told(figures)))
    }
}

/// Serves one stream until the connector closes its side.
async fn serve(
    engine: &Engine,
    peer: &Peer,
    mut requests: Streaming<v1::ServeRequest>,
    answers: &Answers,
) -> Result<(), Status> {
    let first = tokio::time::timeout(FIRST_WORD, next(&mut requests)).await;
    let Some(Said::Open(open)) = first.map_err(|_| protocol("the first message comes within 30 seconds"))?? else {
        return Err(protocol("the first message opens the stream"));
    };
    let serving = engine.open_serving(peer, queries::offer(&open)?)?;
    send(answers, Answer::Opened(v1::ServingOpened { services: open.services })).await;
    tokio::select! {
        end = pass_on(&serving, answers) => end,
        end = listen(&serving, &mut requests) => end,
    }
}

/// Sends what is asked, for ever.
async fn pass_on(serving: &Serving, answers: &Answers) -> Result<(), Status> {
    // A place first: a question that waits in here would grow old.
    while let Ok(place) = answers.reserve().await {
        let question = serving.next().await;
        place.send(Ok(v1::ServeResponse { response: Some(Answer::Question(question)) }));
    }
    Ok(())
}

/// Takes what the connector answers, until it has said everything.
async fn listen(serving: &Serving, requests: &mut Streaming<v1::ServeRequest>) -> Result<(), Status> {
    while let Some(said) = next(requests).await? {
        match said {
            Said::Open(_) => return Err(protocol("the stream is open already")),
            Said::Answer(answer) => {
                let (id, answer) = queries::answer(answer)?;
                serving.answer(&id, answer)?;
            }
        }
    }
    Ok(())
}

/// The next message; `None` when the connector has said everything.
async fn next(requests: &mut Streaming<v1::ServeRequest>) -> Result<Option<Said>, Status> {
    match requests.message().await.map_err(|status| wire::in_our_words(status, MESSAGE_BYTES_MAX))? {
        None => Ok(None),
        Some(v1::ServeRequest { request: Some(said) }) => Ok(Some(said)),
        Some(v1::ServeRequest { request: None }) => Err(protocol("a message says something this version knows")),
    }
}

/// A connector that has gone away is noticed by the task that serves it.
async fn send(answers: &Answers, answer: Answer) {
    let _ = answers.send(Ok(v1::ServeResponse { response: Some(answer) })).await;
}

fn protocol(rule: &str) -> Status {
    Refusal::new(Reason::StreamProtocol).detail("rule", rule).into()
}
