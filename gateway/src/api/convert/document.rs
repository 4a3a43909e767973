//! What is said about documents around their bytes.

use bytes::Bytes;
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::{Refusal, Wrong, v1};

use super::Fields;
use super::reading::{Asking, asking, dossier_name};
use crate::engine::documents::Announced;
use crate::store::DocumentMeta;

/// Reads what is about to be uploaded.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn announced(start: &v1::StartUpload) -> Result<Announced, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &start.acting_party, &start.actor);
    let sha256 = fields.digest("sha256", &start.sha256);
    let media_type = fields.required("media_type", &start.media_type);
    if start.size_bytes == 0 {
        fields.problem::<()>("size_bytes", Wrong::new("bằng 0", "is 0"));
    }
    if start.offset > start.size_bytes {
        fields.problem::<()>("offset", Wrong::new("nằm sau điểm cuối", "lies behind the end"));
    }
    let read = (|| {
        let Asking { party, actor } = asking?;
        Some(Announced {
            party,
            actor,
            sha256: sha256?,
            size_bytes: start.size_bytes,
            media_type: media_type?,
            offset: start.offset,
        })
    })();
    fields.finish(read)
}

/// Reads whose upload is asked for.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn upload_state(request: &v1::UploadStateRequest) -> Result<(Asking, Sha256Digest), Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let sha256 = fields.digest("sha256", &request.sha256);
    let read = asking.zip(sha256);
    fields.finish(read)
}

/// A document that somebody wants.
pub(crate) struct Wanted {
    pub(crate) asking: Asking,
    pub(crate) dossier: String,
    pub(crate) sha256: Sha256Digest,
    pub(crate) offset: u64,
}

/// Reads which document is wanted.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn wanted(request: &v1::DownloadRequest) -> Result<Wanted, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let dossier = dossier_name(&mut fields, "dossier_code", &request.dossier_code);
    let sha256 = fields.digest("sha256", &request.sha256);
    let offset = request.offset;
    let read = (|| Some(Wanted { asking: asking?, dossier: dossier?, sha256: sha256?, offset }))();
    fields.finish(read)
}

/// What comes before the bytes of a document.
pub(crate) fn head(meta: &DocumentMeta) -> v1::DocumentHead {
    v1::DocumentHead {
        sha256: Bytes::copy_from_slice(meta.sha256.as_bytes()),
        size_bytes: meta.size_bytes,
        media_type: meta.media_type.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_says_whose_it_is_and_what() {
        let refusal = announced(&v1::StartUpload { offset: 1, ..v1::StartUpload::default() }).unwrap_err();
        let fields: Vec<_> = refusal.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["acting_party", "actor", "sha256", "media_type", "size_bytes", "offset"]);
    }
}
