//! What operators do to the books.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use lgsp_proto::v1;
use tokio::sync::mpsc;
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

type Answer = Result<v1::ArchiveResponse, Status>;

/// Tells of the archives that were not told of yet; whether there is room for more.
fn tell(sender: &mpsc::Sender<Answer>, files: &mut VecDeque<v1::ArchiveResponse>) -> bool {
    while let Some(file) = files.front() {
        if sender.try_send(Ok(file.clone())).is_err() {
            return false;
        }
        files.pop_front();
    }
    true
}

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

    type ArchiveStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn archive(&self, request: Request<v1::ArchiveRequest>) -> Result<Response<Self::ArchiveStream>, Status> {
        let peer = wire::peer(&request)?;
        let operating::Archive { asking, after_days } = operating::archive(request.get_ref())?;
        let order = self.engine.order_archiving(&peer, &asking.party, &asking.actor, after_days)?;
        let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
        let (engine, stop) = (self.engine.clone(), self.stopping.child_token());
        // It ends with the node, and soon after whoever asked has gone away.
        tokio::spawn(async move {
            let _asked = stop.clone().drop_guard();
            // Who reads slowly is told less, but never less than which archives there are.
            let files = Mutex::new(VecDeque::new());
            let told = |progress: &Progress| {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = operating::archived(progress, false);
                if progress.archive.is_some() {
                    files.push_back(answer);
                    tell(&sender, &mut files);
                } else if tell(&sender, &mut files) {
                    let _ = sender.try_send(Ok(answer));
                }
            };
            let archiving = engine.archive(&order, &stop, &told);
            tokio::pin!(archiving);
            let ended = tokio::select! {
                ended = &mut archiving => ended,
                () = sender.closed() => {
                    stop.cancel();
                    archiving.await
                }
            };
            let done = !stop.is_cancelled();
            let untold = std::mem::take(&mut *files.lock().unwrap_or_else(PoisonError::into_inner));
            for file in untold {
                let _ = sender.send(Ok(file)).await;
            }
            let last = ended.map(|progress| operating::archived(&progress, done)).map_err(Status::from);
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_there_was_no_room_to_tell_of_is_told_before_anything_else() {
        let (sender, mut answers) = mpsc::channel(2);
        let file = |name: &str| v1::ArchiveResponse { archive: name.into(), ..Default::default() };
        let mut files: VecDeque<_> = ["one", "two", "three"].map(file).into();
        assert!(!tell(&sender, &mut files));
        assert_eq!(files.len(), 1);
        let mut told = || answers.try_recv().unwrap().unwrap().archive;
        assert_eq!([told(), told()], ["one", "two"]);
        assert!(tell(&sender, &mut files));
        assert_eq!(told(), "three");
        assert!(files.is_empty());
    }
}
