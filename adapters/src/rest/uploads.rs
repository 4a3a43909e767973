//! Documents in pieces: the semantics of draft-ietf-httpbis-resumable-upload-09, with the length said at the beginning and a
//! beginning without content.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use lgsp_proto::types::{FileName, MediaType, PartyId};
use lgsp_proto::{Reason, Wrong};

use super::body::drain;
use super::caller::Call;
use super::describe::{PartyHeader, UploadedTo, Uploading};
use super::documents::{DocumentJson, UploadQuery, media_type_of};
use super::{Api, bad_request, json};
use crate::json::Fields;
use crate::office::{Begun, Caller, PIECE_BYTES, Progress};
use crate::problem::{LocalReason, Problem};

const LENGTH: &str = "Upload-Length";
const OFFSET: &str = "Upload-Offset";

/// `POST /v1/document-uploads`: begins.
#[utoipa::path(
    post, path = "/v1/document-uploads", tag = "documents", operation_id = "begin_upload",
    summary = "Begins to upload a document in pieces",
    description = "For a line that breaks off (draft-ietf-httpbis-resumable-upload-09): the answer names where the content goes, by \
        PATCH, piece by piece; HEAD says how far it is. What is not complete after a day is forgotten.",
    params(
        PartyHeader,
        ("Upload-Length" = u64, Header, description = "The content's length"),
        ("Content-Type" = String, Header, description = "What the document is"),
        UploadQuery,
    ),
    responses(
        (status = 201, description = "It is begun", headers(("Location" = String, description = "Where the content goes"))),
        Uploading,
    ),
)]
pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Query(UploadQuery { file_name }) = query.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let mut fields = Fields::default();
    let media_type = fields.required::<MediaType>("Content-Type", media_type_of(&headers));
    fields.optional::<FileName>("file_name", file_name.as_deref());
    let size_bytes = number(&headers, LENGTH, &mut fields);
    let (media_type, size_bytes) = fields.finish((media_type, size_bytes))?;
    let media_type = media_type.ok_or(Reason::Internal)?.as_str().to_owned();
    let begun = Begun { size_bytes: size_bytes.ok_or(Reason::Internal)?, media_type, file_name };
    let id = api.office.begin_upload(&party, &begun).await?;
    let location = HeaderValue::from_str(&format!("/v1/document-uploads/{id}")).map_err(|_| Reason::Internal)?;
    let mut response = StatusCode::CREATED.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    Ok(tell(response, 0, false))
}

/// `HEAD /v1/document-uploads/{upload}`: how far it is.
#[utoipa::path(
    head, path = "/v1/document-uploads/{upload}", tag = "documents", operation_id = "show_upload",
    summary = "How far an upload is",
    params(PartyHeader, ("upload" = String, Path, description = "As `Location` named it")),
    responses(
        (status = 204, description = "Go on there", headers(
            ("Upload-Offset" = String, description = "How many bytes are here, durably"),
            ("Upload-Complete" = String, description = "`?1` when it is a document"),
            ("Upload-Length" = String, description = "How many there will be"),
        )),
        UploadedTo,
    ),
)]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    upload: Result<Path<String>, PathRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Path(upload) = upload.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let Progress { begun, offset, complete } = api.office.upload(&party, &upload).await?;
    let mut response = tell(StatusCode::NO_CONTENT.into_response(), offset, complete.is_some());
    response.headers_mut().insert("upload-length", begun.size_bytes.into());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `PATCH /v1/document-uploads/{upload}`: adds what follows. When all is there, the answer is the document.
#[utoipa::path(
    patch, path = "/v1/document-uploads/{upload}", tag = "documents", operation_id = "add_to_upload",
    summary = "Adds content to an upload",
    description = "From `Upload-Offset` on, as much as comes; what came before the line broke off counts. With the last byte it \
        becomes a document, and the answer is that of `POST /v1/documents`; the same again gives the same answer.",
    params(
        PartyHeader,
        ("Upload-Offset" = u64, Header, description = "Where this begins: as HEAD says"),
        ("upload" = String, Path, description = "As `Location` named it"),
    ),
    request_body(content((Vec<u8> = "application/partial-upload")), description = "The next bytes"),
    responses(
        (status = 201, description = "It is complete: name it so", body = DocumentJson),
        (status = 204, description = "It is kept as far as `Upload-Offset`", headers(
            ("Upload-Offset" = String, description = "How many bytes are here, durably"),
            ("Upload-Complete" = String, description = "`?0`"),
        )),
        UploadedTo,
    ),
)]
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    upload: Result<Path<String>, PathRejection>,
    headers: Call,
    body: Body,
) -> Result<Response, Problem> {
    let Path(upload) = upload.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let mut fields = Fields::default();
    let at = number(&headers, OFFSET, &mut fields);
    let at = fields.finish(at)?.ok_or(Reason::Internal)?;
    // To its end, even if the caller goes away: what came counts.
    tokio::spawn(async move { add_to_the_end(&api, &party, &upload, at, body).await })
        .await
        .map_err(|_| Reason::Internal)?
}

async fn add_to_the_end(
    api: &Api,
    party: &PartyId,
    upload: &str,
    at: u64,
    mut body: Body,
) -> Result<Response, Problem> {
    let turn = api.office.turn_to_upload(&api.busy, party, upload).await;
    let Progress { begun, mut offset, complete } = api.office.upload(party, upload).await?;
    if at != offset {
        // Nobody has to wait for what is thrown away.
        drop(turn);
        drain(body).await;
        let refused = Problem::from(LocalReason::UploadOffsetWrong).into_response();
        return Ok(tell(refused, offset, complete.is_some()));
    }
    let mut piece = Vec::new();
    let mut is_whole = true;
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame.transpose(),
            () = turn.over.cancelled() => {
                is_whole = false;
                break;
            }
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_) => {
                is_whole = false;
                break;
            }
        };
        let Ok(bytes) = frame.into_data() else { continue };
        if offset + (piece.len() + bytes.len()) as u64 > begun.size_bytes {
            drop(turn);
            drain(body).await;
            let what = format!("more content than {LENGTH} said");
            return Err(Problem::from(LocalReason::UploadOffsetWrong).with_detail(what));
        }
        piece.extend_from_slice(&bytes);
        if piece.len() as u64 >= PIECE_BYTES {
            let length = piece.len() as u64;
            api.office.add_to_upload(party, upload, offset, std::mem::take(&mut piece).into()).await?;
            offset += length;
        }
    }
    if !piece.is_empty() {
        let length = piece.len() as u64;
        api.office.add_to_upload(party, upload, offset, piece.into()).await?;
        offset += length;
    }
    if !is_whole {
        // Also for one whose turn another took: it may be the one that is alive.
        let refused = Problem::malformed("the body broke off; what came is kept").into_response();
        return Ok(tell(refused, offset, false));
    }
    if offset < begun.size_bytes {
        return Ok(tell(StatusCode::NO_CONTENT.into_response(), offset, false));
    }
    let stored = match complete {
        Some(stored) => stored,
        None => api.office.complete_upload(party, upload).await?,
    };
    let document = DocumentJson::new(&stored, begun.media_type, begun.file_name);
    Ok(tell(json(StatusCode::CREATED, &document), offset, true))
}

/// `DELETE /v1/document-uploads/{upload}`: nobody wants it any more.
#[utoipa::path(
    delete, path = "/v1/document-uploads/{upload}", tag = "documents", operation_id = "drop_upload",
    summary = "Drops an upload", description = "What has become a document stays one.",
    params(PartyHeader, ("upload" = String, Path, description = "As `Location` named it")),
    responses((status = 204, description = "It is gone"), UploadedTo),
)]
pub(super) async fn discard(
    State(api): State<Arc<Api>>,
    upload: Result<Path<String>, PathRejection>,
    headers: Call,
) -> Result<Response, Problem> {
    let Path(upload) = upload.map_err(bad_request)?;
    let party = Caller::party(&api, &headers)?;
    let _turn = api.office.turn_to_upload(&api.busy, &party, &upload).await;
    api.office.upload(&party, &upload).await?;
    api.office.drop_upload(&party, &upload);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn tell(mut response: Response, offset: u64, is_complete: bool) -> Response {
    let headers = response.headers_mut();
    headers.insert("upload-offset", offset.into());
    headers.insert("upload-complete", HeaderValue::from_static(if is_complete { "?1" } else { "?0" }));
    response
}

fn number(headers: &HeaderMap, name: &str, fields: &mut Fields) -> Option<u64> {
    let text = headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let number = text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse().ok());
    if number.is_none() {
        let no_number = || Wrong::new("không phải số nguyên", "is not a whole number");
        fields.problem(name, if text.is_some() { no_number() } else { Wrong::missing() });
    }
    number
}
