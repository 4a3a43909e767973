//! Bringing a document to the gateway: asked for first, resumed where it broke off, at constant memory.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lgsp_proto::v1::entry::What;
use lgsp_proto::v1::upload_request::Request as Part;
use lgsp_proto::v1::{self, StartUpload, UploadRequest, UploadStateRequest};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};

use super::{CallError, Link};
use crate::trace::TraceParent;

/// The slowest line an upload is given time for, in bytes a second; a mountain commune's on a bad day.
const SLOWEST: u64 = 16 << 10;

/// A document about to be uploaded.
#[derive(Clone, Debug)]
pub struct DocumentUpload {
    /// In whose name.
    pub acting_party: String,
    /// By whom.
    pub actor: String,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// The content's length.
    pub size_bytes: u64,
    /// What it is.
    pub media_type: String,
}

/// Why a document is not with the gateway.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The gateway's answer, or none.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The content could not be read here.
    #[error("the document cannot be read")]
    Read(#[from] io::Error),
}

/// The documents that a body names, ready to be uploaded in its sender's name; a body that is none of ours names none.
pub(crate) fn documents_of(is_submission: bool, body: &[u8]) -> Vec<DocumentUpload> {
    let (party, actor, references) = if is_submission {
        let Ok(submission) = v1::Submission::decode(body) else { return Vec::new() };
        let references = submission.components.into_iter().filter_map(|component| component.document).collect();
        (submission.acting_party, submission.actor, references)
    } else {
        let Ok(entry) = v1::Entry::decode(body) else { return Vec::new() };
        let references: Vec<_> = match entry.what {
            Some(What::SupplementProvided(what)) => what.components.into_iter().filter_map(|c| c.document).collect(),
            Some(What::Resolved(what)) => what.results.into_iter().filter_map(|result| result.document).collect(),
            _ => Vec::new(),
        };
        (entry.acting_party, entry.actor, references)
    };
    let upload = |reference: v1::DocumentRef| {
        Some(DocumentUpload {
            acting_party: party.clone(),
            actor: actor.clone(),
            sha256: reference.sha256[..].try_into().ok()?,
            size_bytes: reference.size_bytes,
            media_type: reference.media_type,
        })
    };
    references.into_iter().filter_map(upload).collect()
}

impl Link {
    /// Whether the gateway has the document, or from where it wants the rest.
    ///
    /// # Errors
    /// As for any call; asking changes nothing.
    pub async fn missing_from(
        &self,
        document: &DocumentUpload,
        trace: Option<&TraceParent>,
    ) -> Result<Option<u64>, CallError> {
        let request = UploadStateRequest {
            acting_party: document.acting_party.clone(),
            actor: document.actor.clone(),
            sha256: Bytes::copy_from_slice(&document.sha256),
        };
        let answer =
            self.documents().upload_state(self.request(request, trace)).await.map_err(CallError::from_status)?;
        let state = answer.into_inner();
        Ok((!state.complete).then_some(state.offset))
    }

    /// Uploads the content from `offset` on, as [`Link::missing_from`] gave it; answered when it is durable there.
    ///
    /// # Errors
    /// What was sent so far may have been kept: ask again from where to go on.
    pub async fn upload(
        &self,
        document: &DocumentUpload,
        offset: u64,
        content: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        trace: Option<&TraceParent>,
    ) -> Result<(), UploadError> {
        let start = StartUpload {
            acting_party: document.acting_party.clone(),
            actor: document.actor.clone(),
            sha256: Bytes::copy_from_slice(&document.sha256),
            size_bytes: document.size_bytes,
            media_type: document.media_type.clone(),
            offset,
        };
        // Two chunks in the making: one travels while the next is read.
        let (sender, parts) = mpsc::channel(2);
        let broken = Arc::new(Mutex::new(None));
        let reading = tokio::spawn(send(start, content, sender, broken.clone()));

        let mut request = self.stream_request(ReceiverStream::new(parts), trace);
        let rest = document.size_bytes.saturating_sub(offset);
        request.set_timeout(self.shared.way.timings.call_timeout + Duration::from_secs(rest / SLOWEST));
        let answer = self.documents().upload(request).await;
        reading.abort();
        // A content that could not be read looks to the gateway like one that ended early; here the cause is known.
        if let Some(error) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(UploadError::Read(error));
        }
        answer.map(drop).map_err(|status| CallError::from_status(status).into())
    }
}

/// Feeds an upload, until it ends or nobody listens any more.
async fn send(
    start: StartUpload,
    content: impl Stream<Item = io::Result<Bytes>> + Send,
    sender: mpsc::Sender<UploadRequest>,
    broken: Arc<Mutex<Option<io::Error>>>,
) {
    tokio::pin!(content);
    if sender.send(UploadRequest { request: Some(Part::Start(start)) }).await.is_err() {
        return;
    }
    while let Some(chunk) = content.next().await {
        match chunk {
            Ok(chunk) => {
                if sender.send(UploadRequest { request: Some(Part::Chunk(chunk)) }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return;
            }
        }
    }
}
