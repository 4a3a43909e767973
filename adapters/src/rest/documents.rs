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
use lgsp_proto::Reason;
use lgsp_proto::types::{FileName, MediaType, Sha256Digest};
use lgsp_proto::v1::download_response::Response as Part;
use lgsp_proto::v1::{DocumentHead, DownloadRequest, DownloadResponse};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt as _;
use tonic::Streaming;
use utoipa::{IntoParams, ToSchema};

use super::body::drain;
use super::caller::Call;
use super::conditional;
use super::describe::{CallerHeaders, PartyHeader, Ranged, Unchanged, Uploading};
use super::ranges::Range;
use super::{Api, bad_request, json};
use crate::json::Fields;
use crate::office::Caller;
use crate::problem::{LocalReason, Problem};
use crate::spool::{PutError, Stored};
use crate::trace::TraceParent;

/// A document that is now in the spool. Name it so in a submission or an entry.
#[derive(Serialize, ToSchema)]
#[schema(as = StoredDocument)]
pub(super) struct DocumentJson {
    sha256: String,
    size_bytes: u64,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    /// What people call it; comes back in the answer, for the submission.
    pub(super) file_name: Option<String>,
}

/// `POST /v1/documents`: the content as the body, what it is as `Content-Type`.
#[utoipa::path(
    post, path = "/v1/documents", tag = "documents", operation_id = "upload_document",
    summary = "Keeps a document for a submission or an entry",
    description = "The content is the body, of any media type; `Content-Type` says what it is. A document that nothing names \
        is thrown away after a while.",
    params(PartyHeader, UploadQuery),
    request_body(content(
        (Vec<u8> = "application/pdf"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "application/octet-stream"),
    ), description = "The content"),
    responses((status = 201, description = "It is kept: name it so", body = DocumentJson), Uploading),
)]
pub(super) async fn upload(
    State(api): State<Arc<Api>>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    headers: Call,
    body: Body,
) -> Result<Response, Problem> {
    let Query(UploadQuery { file_name }) = query.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let mut fields = Fields::default();
    let media_type = fields.required::<MediaType>("Content-Type", media_type_of(&headers));
    fields.optional::<FileName>("file_name", file_name.as_deref());
    let media_type = fields.finish(media_type)?.ok_or(Reason::Internal)?;

    let limit = api.office.max_document_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        drain(body).await;
        return Err(api.office.not_kept(PutError::TooLarge));
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
    let stored = upload.finish().await.map_err(|error| api.office.not_kept(error))?;
    let document = DocumentJson::new(&stored, media_type.as_str().to_owned(), file_name);
    Ok(json(StatusCode::CREATED, &document))
}

/// `GET /v1/dossiers/{code}/documents/{sha256}`: the content, as the gateway streams it.
#[utoipa::path(
    get, path = "/v1/dossiers/{code}/documents/{sha256}", tag = "documents", operation_id = "download_document",
    summary = "A document of a dossier",
    description = "As the gateway streams it; of the media type it was uploaded with. What broke off is gone on with by `Range`.",
    params(
        CallerHeaders,
        ("Range" = Option<String>, Header, description = "One range of bytes: `bytes=65536-` goes on where a download broke off. Several at once count as none"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` of what is there already; if it is another, the whole comes"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer: 304 if it is still that"),
        ("code" = String, Path, description = "The dossier's code, or another it goes by"),
        ("sha256" = String, Path, description = "SHA-256 of the content"),
    ),
    responses(
        (status = 200, description = "The content", body = Vec<u8>, content_type = "*/*", headers(
            ("ETag" = String, description = "The content's digest, in quotes"),
            ("Accept-Ranges" = String, description = "`bytes`"),
        )),
        (status = 206, description = "The part that was asked for", body = Vec<u8>, content_type = "*/*", headers(
            ("ETag" = String, description = "The content's digest, in quotes"),
            ("Content-Range" = String, description = "Which bytes, of how many"),
        )),
        Unchanged,
        Ranged,
    ),
)]
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Path((code, sha256)) = path.map_err(bad_request)?;
    let caller = Caller::read(&api, &headers)?;
    let mut fields = Fields::default();
    let digest = fields.required::<Sha256Digest>("sha256", Some(&sha256));
    let digest = fields.finish(digest)?.ok_or(Reason::Internal)?;
    let tag = format!("\"{digest}\"");
    let wanted = Range::asked(&headers, &tag);
    let ask = |offset| {
        let request = DownloadRequest {
            acting_party: caller.party.as_str().to_owned(),
            actor: caller.actor.as_str().to_owned(),
            dossier_code: code.clone(),
            sha256: Bytes::copy_from_slice(digest.as_bytes()),
            offset,
        };
        begin(&api, request, &caller.trace)
    };
    let begin = wanted.map_or(0, Range::begin);
    let (DocumentHead { size_bytes, media_type, .. }, mut parts) = ask(begin).await?;
    if conditional::has(&headers, &tag) {
        return Ok(conditional::unchanged(&tag));
    }
    let (status, first, length) = match wanted.map(|range| range.of(size_bytes)) {
        None => (StatusCode::OK, 0, size_bytes),
        Some(Some((first, length))) => (StatusCode::PARTIAL_CONTENT, first, length),
        Some(None) => {
            let refused = Problem::from(LocalReason::RangeNotSatisfiable).into_response();
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{size_bytes}"))], refused).into_response());
        }
    };
    if first != begin {
        // Counted from its end, which only the first answer told.
        (_, parts) = ask(first).await?;
    }
    let mut left = length;
    let content = parts.map_while(move |part| {
        let mut chunk = match part {
            Ok(DownloadResponse { response: Some(Part::Chunk(chunk)) }) => chunk,
            Ok(_) => Bytes::new(),
            Err(_) => return Some(Err(std::io::Error::other("the gateway broke off"))),
        };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let is_over = left == 0 && length > 0;
        left -= chunk.len() as u64;
        (!is_over).then_some(Ok(chunk))
    });
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ETAG, tag),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        // It is somebody's paper, not a page: a browser must not guess, and nobody in between keep it.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    let mut response = (status, headers, Body::from_stream(content)).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{size_bytes}", first + length - 1);
        response.headers_mut().insert(header::CONTENT_RANGE, range.parse().map_err(|_| Reason::Internal)?);
    }
    Ok(response)
}

/// What the gateway says of a document, and its content as it comes.
async fn begin(
    api: &Api,
    request: DownloadRequest,
    trace: &TraceParent,
) -> Result<(DocumentHead, Streaming<DownloadResponse>), Problem> {
    let request = api.office.link.stream_request(request, Some(trace));
    let mut parts = api.office.link.documents().download(request).await.map_err(Problem::of_status)?.into_inner();
    match parts.message().await.map_err(Problem::of_status)? {
        Some(DownloadResponse { response: Some(Part::Head(head)) }) => Ok((head, parts)),
        // Not what the service describes: whoever answered is not our gateway.
        Some(_) | None => Err(LocalReason::GatewayUnreachable.into()),
    }
}

/// What a document is. Its type is kept without parameters such as charset.
pub(super) fn media_type_of(headers: &HeaderMap) -> Option<&str> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.map(|value| value.split(';').next().unwrap_or_default().trim())
}

impl DocumentJson {
    pub(super) fn new(stored: &Stored, media_type: String, file_name: Option<String>) -> Self {
        Self { sha256: HEXLOWER.encode(&stored.sha256), size_bytes: stored.size_bytes, media_type, file_name }
    }
}
