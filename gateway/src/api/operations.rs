//! What operators do to the books.

use std::pin::Pin;

use lgsp_proto::v1;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::convert::operating;
use super::wire;
use crate::engine::Engine;
use crate::engine::archiving::Progress;

/// Answers of a run that may wait to be read.
const ANSWERS_AHEAD: usize = 64;

pub(super) struct Operations {
    pub(super) engine: Engine,
    pub(super) stopping: CancellationToken,
}

#[tonic::async_trait]
impl v1::operations_server::Operations for Operations {
    async fn erase(&self, request: Request<v1::EraseRequest>) -> Result<Response<v1::EraseResponse>, Status> {
        let peer = wire::peer(&request)?;
        let operating::Erase { asking, dossier, ground } = operating::erase(request.get_ref())?;
        let erased = self.engine.erase(&peer, &asking.party, &asking.actor, &dossier, ground).await?;
        Ok(Response::new(operating::erased(&erased)))
    }

    type ArchiveStream = Pin<Box<dyn Stream<Item = Result<v1::ArchiveResponse, Status>> + Send>>;

    async fn archive(&self, request: Request<v1::ArchiveRequest>) -> Result<Response<Self::ArchiveStream>, Status> {
        let peer = wire::peer(&request)?;
        let operating::Archive { asking, after_days } = operating::archive(request.get_ref())?;
        let order = self.engine.order_archiving(&peer, &asking.party, &asking.actor, after_days)?;
        let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
        let (engine, stop) = (self.engine.clone(), self.stopping.child_token());
        // It ends with the node, and soon after whoever asked has gone away.
        tokio::spawn(async move {
            let _asked = stop.clone().drop_guard();
            let told = |progress: &Progress| match sender.try_send(Ok(operating::archived(progress, false))) {
                Err(TrySendError::Closed(_)) => stop.cancel(),
                // Who reads slowly is told less, but never less than what was archived.
                Err(TrySendError::Full(_)) | Ok(()) => {}
            };
            let ended = engine.archive(&order, &stop, &told).await;
            let done = !stop.is_cancelled();
            let last = ended.map(|progress| operating::archived(&progress, done)).map_err(Status::from);
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
