//! Documents up, into the spool; documents of a dossier down, from the gateway.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use lgsp_proto::types::{FileName, MediaType, Sha256Digest};
use lgsp_proto::v1::download_response::Response as Part;
use lgsp_proto::v1::{DocumentHead, DownloadRequest, DownloadResponse};
use lgsp_proto::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt as _;

use super::body::drain;
use super::{Api, bad_request, json};
use crate::json::Fields;
use crate::office::Caller;
use crate::problem::{LocalReason, Problem};
use crate::spool::PutError;

/// A document that is now in the spool. Name it so in a submission or an entry.
#[derive(Serialize)]
struct DocumentJson {
    sha256: String,
    size_bytes: u64,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    /// What people call it; comes back in the answer, for the submission.
    file_name: Option<String>,
}

/// `POST /v1/documents`: the content as the body, what it is as `Content-Type`.
pub(super) async fn upload(
    State(api): State<Arc<Api>>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Query(UploadQuery { file_name }) = query.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let mut fields = Fields::default();
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // A document's type is kept without parameters such as charset.
    let content_type = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    let media_type = fields.required::<MediaType>("Content-Type", content_type);
    fields.optional::<FileName>("file_name", file_name.as_deref());
    let media_type = fields.finish(media_type)?.ok_or(Reason::Internal)?;

    let limit = api.office.max_document_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        drain(body).await;
        return Err(too_large(limit));
    }
    let mut upload = api.office.spool.documents().put(party.as_str(), limit);
    let mut body = body;
    while let Some(frame) = body.frame().await {
        // Dropping the upload leaves nothing behind.
        let frame = frame.map_err(|_| Problem::malformed("the body broke off"))?;
        if let Ok(bytes) = frame.into_data()
            && upload.chunk(bytes).await.is_err()
        {
            drain(body).await;
            break;
        }
    }
    let stored = upload.finish().await.map_err(|error| match error {
        PutError::TooLarge => too_large(limit),
        PutError::Full => Problem::from(Reason::Overloaded).with_detail(error.to_string()),
        PutError::Disk(shortage) => Problem::of_shortage(&shortage),
        PutError::BrokenOff | PutError::Io(_) => {
            tracing::error!(%error, "a document cannot be kept");
            Problem::from(Reason::ReadOnly).with_detail("the adapter cannot write the document")
        }
    })?;
    let document = DocumentJson {
        sha256: HEXLOWER.encode(&stored.sha256),
        size_bytes: stored.size_bytes,
        media_type: media_type.as_str().to_owned(),
        file_name,
    };
    Ok(json(StatusCode::CREATED, &document))
}

/// `GET /v1/dossiers/{code}/documents/{sha256}`: the content, as the gateway streams it.
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path((code, sha256)) = path.map_err(bad_request)?;
    let caller = Caller::read(&api, &headers)?;
    let mut fields = Fields::default();
    let digest = fields.required::<Sha256Digest>("sha256", Some(&sha256));
    let digest = fields.finish(digest)?.ok_or(Reason::Internal)?;
    let request = DownloadRequest {
        acting_party: caller.party.as_str().to_owned(),
        actor: caller.actor.as_str().to_owned(),
        dossier_code: code,
        sha256: Bytes::copy_from_slice(digest.as_bytes()),
        offset: 0,
    };
    let request = api.office.link.stream_request(request, Some(&caller.trace));
    let mut parts = api.office.link.documents().download(request).await.map_err(Problem::of_status)?.into_inner();
    let head = match parts.message().await.map_err(Problem::of_status)? {
        Some(DownloadResponse { response: Some(Part::Head(head)) }) => head,
        // Not what the service describes: whoever answered is not our gateway.
        Some(_) | None => return Err(LocalReason::GatewayUnreachable.into()),
    };
    let DocumentHead { size_bytes, media_type, .. } = head;
    let content = parts.map(|part| match part {
        Ok(DownloadResponse { response: Some(Part::Chunk(chunk)) }) => Ok(chunk),
        Ok(_) => Ok(Bytes::new()),
        Err(_) => Err(std::io::Error::other("the gateway broke off")),
    });
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_LENGTH, size_bytes.to_string()),
        (header::ETAG, format!("\"{}\"", HEXLOWER.encode(digest.as_bytes()))),
        // It is somebody's paper, not a page: a browser must not guess, and nobody in between keep it.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(content)).into_response())
}

fn too_large(limit: u64) -> Problem {
    Refusal::new(Reason::DocumentTooLarge).detail("limit_bytes", limit).into()
}
