//! Documents of dossiers, from the gateway.

use bytes::Bytes;
use lgsp_proto::v1::download_response::Response as Part;
use lgsp_proto::v1::{DocumentHead, DownloadRequest, DownloadResponse};
use tonic::Streaming;

use super::{Caller, Office};
use crate::problem::{LocalReason, Problem};

/// A document as the gateway streams it.
pub(crate) struct Download {
    parts: Streaming<DownloadResponse>,
}

impl Office {
    /// Begins to fetch a document of a dossier, from a place in it on.
    ///
    /// # Errors
    /// The gateway's refusal; `GATEWAY_UNREACHABLE`.
    pub(crate) async fn fetch(
        &self,
        caller: &Caller,
        dossier_code: &str,
        sha256: &[u8; 32],
        offset: u64,
    ) -> Result<(DocumentHead, Download), Problem> {
        let request = DownloadRequest {
            acting_party: caller.party.as_str().to_owned(),
            actor: caller.actor.as_str().to_owned(),
            dossier_code: dossier_code.to_owned(),
            sha256: Bytes::copy_from_slice(sha256),
            offset,
        };
        let request = self.link.stream_request(request, Some(&caller.trace));
        let mut parts = self.link.documents().download(request).await.map_err(Problem::of_status)?.into_inner();
        match parts.message().await.map_err(Problem::of_status)? {
            Some(DownloadResponse { response: Some(Part::Head(head)) }) => Ok((head, Download { parts })),
            // Not what the service describes: whoever answered is not our gateway.
            Some(_) | None => Err(LocalReason::GatewayUnreachable.into()),
        }
    }
}

impl Download {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// As for [`Office::fetch`]; what came so far is of no use.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        match self.parts.message().await.map_err(Problem::of_status)? {
            Some(DownloadResponse { response: Some(Part::Chunk(chunk)) }) => Ok(Some(chunk)),
            Some(_) => Ok(Some(Bytes::new())),
            None => Ok(None),
        }
    }
}
