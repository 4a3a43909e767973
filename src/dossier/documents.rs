//! Documents named on the command line, `CODE=PATH` or `PATH`: hashed, uploaded, and referred to by their content.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use aws_lc_rs::digest;
use lgsp_adapters::link::{DocumentUpload, Link, Profile, UploadError};
use lgsp_proto::types::FileName;
use lgsp_proto::v1::DocumentRef;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_stream::StreamExt as _;
use tokio_util::io::ReaderStream;

use crate::failure::Failure;

/// What the service takes in one message at most.
const CHUNK: usize = 256 << 10;

/// A file, and the code of the component it is, where it has one.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    /// The component's or result's code; empty for a free one.
    pub(super) code: String,
    path: PathBuf,
}

impl FromStr for NamedFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (code, path) = text.split_once('=').unwrap_or(("", text));
        if path.is_empty() { Err("names no file".into()) } else { Ok(Self { code: code.into(), path: path.into() }) }
    }
}

impl NamedFile {
    /// The file's name, as the citizen knows it.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Brings the file to the gateway unless it has it, at constant memory.
    pub(super) async fn upload(&self, link: &Link, profile: &Profile) -> anyhow::Result<DocumentRef> {
        let (sha256, size_bytes) = hash(&self.path)?;
        let upload = DocumentUpload {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            sha256,
            size_bytes,
            media_type: media_type(&self.path).to_owned(),
        };
        let failed = |error| Failure::of_link(error, link, None);
        if let Some(offset) = link.missing_from(&upload, None).await.map_err(failed)? {
            let content = open_at(&self.path, offset).await.with_context(|| self.path.display().to_string())?;
            link.upload(&upload, offset, content, None).await.map_err(|error| match error {
                UploadError::Call(error) => failed(error),
                UploadError::Read(error) => Failure::of_file(&self.path, &error),
            })?;
        }
        // A name that cannot be a file name on the bus is left out; the content is what counts.
        let file_name = self.name().parse::<FileName>().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let sha256 = sha256.to_vec().into();
        Ok(DocumentRef { sha256, size_bytes, media_type: upload.media_type, file_name })
    }
}

/// The content from `offset` on.
async fn open_at(
    path: &Path,
    offset: u64,
) -> std::io::Result<impl tokio_stream::Stream<Item = std::io::Result<bytes::Bytes>> + use<>> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(offset)).await?;
    // Bounded, so that a file growing meanwhile does not stream for ever; the gateway checks the digest.
    let rest = file.metadata().await?.len().saturating_sub(offset);
    Ok(ReaderStream::with_capacity(file.take(rest), CHUNK).map(|chunk| chunk))
}

fn hash(path: &Path) -> anyhow::Result<([u8; 32], u64)> {
    let unusable = |error: std::io::Error| Failure::of_file(path, &error);
    let mut file = std::fs::File::open(path).map_err(unusable)?;
    let (mut context, mut size, mut chunk) = (digest::Context::new(&digest::SHA256), 0, vec![0; CHUNK]);
    loop {
        let read = file.read(&mut chunk).map_err(unusable)?;
        if read == 0 {
            break;
        }
        context.update(&chunk[..read]);
        size += read as u64;
    }
    Ok((context.finish().as_ref().try_into().context("SHA-256 has 32 bytes")?, size))
}

/// By the name's ending: what scanners and offices make.
fn media_type(path: &Path) -> &'static str {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "pdf" => "application/pdf",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "tif" | "tiff" => "image/tiff",
        "xml" => "application/xml",
        "json" => "application/json",
        "txt" => "text/plain",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        _ => "application/octet-stream",
    }
}
