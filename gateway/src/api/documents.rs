//! Documents over streams, up and down, a chunk at a time: memory does not grow with the document.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use lgsp_proto::v1::download_response::Response as Part;
use lgsp_proto::v1::upload_request::Request as Said;
use lgsp_proto::{Reason, Refusal, v1};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::convert::document;
use super::{CHUNK_BYTES_MAX, wire};
use crate::engine::Engine;
use crate::engine::documents::{Upload, UploadSession};
use crate::store::DocumentMeta;

/// How long an upload may be silent. A line that is cut without a word must not hold one of the few places.
const SILENCE: Duration = Duration::from_secs(30);

/// The slowest line that uploads are made for, in bytes a second: a bad telephone. One that sends a byte now and then is never
/// silent, and would hold a place for ever.
const SLOWEST: u64 = 8 * 1024;

pub(super) struct Documents {
    pub(super) engine: Engine,
}

#[tonic::async_trait]
impl v1::documents_server::Documents for Documents {
    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadRequest>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        let peer = wire::peer(&request)?;
        let mut messages = request.into_inner();
        let Some(Said::Start(start)) = next(&mut messages).await? else {
            return Err(protocol("the first message starts the upload"));
        };
        let announced = document::announced(&start)?;
        let left = announced.size_bytes - announced.offset;
        match self.engine.begin_upload(&peer, announced).await? {
            Upload::Already(meta) => Ok(uploaded(&meta, true)),
            Upload::Open(session) => {
                let received = at_a_bearable_rate(left, receive(session, left, &mut messages)).await?;
                Ok(uploaded(&received, false))
            }
        }
    }

    async fn upload_state(
        &self,
        request: Request<v1::UploadStateRequest>,
    ) -> Result<Response<v1::UploadStateResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, sha256) = document::upload_state(request.get_ref())?;
        let state = self.engine.upload_state(&peer, &asking.party, &sha256).await?;
        Ok(Response::new(v1::UploadStateResponse { offset: state.offset, complete: state.complete }))
    }

    type DownloadStream = Pin<Box<dyn Stream<Item = Result<v1::DownloadResponse, Status>> + Send>>;

    async fn download(&self, request: Request<v1::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let peer = wire::peer(&request)?;
        let wanted = document::wanted(request.get_ref())?;
        let document::Wanted { asking, dossier, sha256, offset } = wanted;
        let download = self.engine.download(&peer, &asking.party, &dossier, &sha256, offset).await?;
        let head = part(Part::Head(document::head(&download.meta)));
        let chunks = ReceiverStream::new(download.chunks).map(|chunk| match chunk {
            Ok(bytes) => part(Part::Chunk(bytes)),
            Err(refusal) => Err(refusal.into()),
        });
        Ok(Response::new(Box::pin(tokio_stream::once(head).chain(chunks))))
    }
}

/// Gives up on what takes longer than `bytes` take on the slowest line, and some more. What was whole is kept for a resume.
async fn at_a_bearable_rate<T>(bytes: u64, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let time = 2 * SILENCE + Duration::from_secs(bytes / SLOWEST);
    let slow = |_| protocol("an upload brings 8 KiB a second, or goes on later");
    tokio::time::timeout(time, work).await.map_err(slow)?
}

/// Takes chunks until the caller has sent all, which is `left` bytes; an error drops the session, which keeps what is whole.
async fn receive(
    mut session: UploadSession,
    mut left: u64,
    messages: &mut Streaming<v1::UploadRequest>,
) -> Result<DocumentMeta, Status> {
    while let Some(said) = next(messages).await? {
        match said {
            // An empty chunk moves nothing on, and would let an upload last for ever.
            Said::Chunk(chunk) if chunk.is_empty() => return Err(protocol("a chunk has bytes")),
            Said::Chunk(chunk) => {
                left = left.saturating_sub(chunk.len() as u64);
                session.write(chunk).await?;
            }
            Said::Start(_) => return Err(protocol("the upload has started already")),
        }
    }
    if left > 0 {
        // A caller that hung up looks just like one that has sent all. What came is not judged, so that it can be resumed.
        return Err(Refusal::new(Reason::DocumentDigestMismatch).detail("missing_bytes", left).into());
    }
    Ok(session.finish().await?)
}

/// The next message; `None` when the caller has sent all.
async fn next(messages: &mut Streaming<v1::UploadRequest>) -> Result<Option<Said>, Status> {
    let message = tokio::time::timeout(SILENCE, messages.message()).await;
    let message = message.map_err(|_| protocol("an upload is never silent for 30 seconds"))?;
    match message.map_err(|status| wire::in_our_words(status, CHUNK_BYTES_MAX))? {
        None => Ok(None),
        Some(v1::UploadRequest { request: Some(said) }) => Ok(Some(said)),
        Some(v1::UploadRequest { request: None }) => Err(protocol("a message starts the upload or carries bytes")),
    }
}

fn uploaded(meta: &DocumentMeta, repeated: bool) -> Response<v1::UploadResponse> {
    let sha256 = Bytes::copy_from_slice(meta.sha256.as_bytes());
    Response::new(v1::UploadResponse { sha256, size_bytes: meta.size_bytes, repeated })
}

fn part(part: Part) -> Result<v1::DownloadResponse, Status> {
    Ok(v1::DownloadResponse { response: Some(part) })
}

fn protocol(rule: &str) -> Status {
    Refusal::new(Reason::StreamProtocol).detail("rule", rule).into()
}

#[cfg(test)]
mod tests {
    use lgsp_proto::{Reason, Refusal};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_trickle_does_not_hold_its_place_for_ever() {
        let begun = tokio::time::Instant::now();
        let trickle = async {
            // Never silent, and never through.
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let ended = at_a_bearable_rate::<()>(1 << 20, trickle).await.unwrap_err();
        assert_eq!(Refusal::from_status(&ended).unwrap().reason(), Reason::StreamProtocol);
        assert_eq!(begun.elapsed().as_secs(), 60 + 128);
    }
}
