//! A request as it lies in its folder: `request.json`, and the documents it names by their file names.
//!
//! Owns reading the two; what may stand in `request.json` is [`crate::request`]'s to say. Whatever is wrong is a [`Problem`] that
//! names every field at fault at once.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use lgsp_proto::types::{FileName, PartyId, RequestKey};
use lgsp_proto::{Reason, Refusal, Wrong};
use tokio::runtime::Handle;

use super::disk::Dir;
use crate::json::DocumentJson;
use crate::office::Caller;
use crate::problem::{LocalReason, Problem};
use crate::request::{Content, Limits, MAX_TEXT_BYTES, Place, Ready, WrittenJson, media_type_of, name_by_content};
use crate::spool::{CallId, Documents, PutError};

/// The file that says what is wanted.
pub(super) const REQUEST: &str = "request.json";

/// The longest piece of a document in memory.
const PIECE: usize = 64 << 10;

/// A request whose form has been checked; of its documents nothing has been read yet.
pub(super) struct Request(crate::request::Request);

/// Why a request is not ready.
pub(super) enum NotReady {
    /// It cannot be taken in.
    Problem(Problem),
    /// The disk it lies on.
    Disk(io::Error),
}

impl From<Problem> for NotReady {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Refusal> for NotReady {
    fn from(refusal: Refusal) -> Self {
        Self::Problem(refusal.into())
    }
}

impl Request {
    /// Reads what is wanted.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub(super) fn read(folder: &Dir, parties: &[PartyId]) -> Result<Self, NotReady> {
        match folder.read(REQUEST, MAX_TEXT_BYTES) {
            Ok(Some(text)) => Ok(Self::parse(&text, parties)?),
            Ok(None) => Err(Refusal::new(Reason::MessageTooLarge).detail("limit_bytes", MAX_TEXT_BYTES).into()),
            Err(error) => Err(unusable(&error).map_or(NotReady::Disk(error), |problem| {
                Problem::from(LocalReason::FolderFileUnusable).with_field(REQUEST, problem).into()
            })),
        }
    }

    /// Reads the text of `request.json`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &[u8], parties: &[PartyId]) -> Result<Self, Problem> {
        // As some editors on Windows begin a file.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let json: WrittenJson = crate::json::read(text).map_err(|error| Problem::of_json(&error))?;
        let place = Place {
            parties,
            stranger: Wrong::new("không thuộc các cơ quan của thư mục này", "is not one of this folder's parties"),
            names: ["submission", "event"],
        };
        crate::request::Request::check(json, place).map(Self)
    }

    /// What the spool knows it by.
    pub(super) fn id(&self) -> CallId {
        self.0.id()
    }

    /// The key it came with.
    pub(super) fn key(&self) -> &RequestKey {
        &self.0.key
    }

    /// Reads the documents, puts them into `spool` if there is one to put them into, and gives what is to be done.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub(super) fn ready(
        mut self,
        folder: &Dir,
        limits: Limits,
        spool: Option<(&Documents, &Handle)>,
    ) -> Result<(Caller, RequestKey, Ready), NotReady> {
        let party = self.0.caller.party.clone();
        let mut documents = self.0.documents();
        let files = open(folder, &mut documents, limits)?;
        let mut read = HashMap::new();
        let mut faults = Problem::from(LocalReason::FolderFileUnusable);
        let mut is_faulty = false;
        for (path, document) in documents {
            let Some(name) = document.file.take() else { continue };
            let content = match read.get(&name) {
                Some(content) => *content,
                None => {
                    let file = files.get(&name).ok_or(Reason::Internal).map_err(Problem::from)?;
                    let content = bring(file, limits.document, spool.map(|(to, on)| (to, on, party.as_str())))?;
                    read.insert(name, content);
                    content
                }
            };
            for field in name_by_content(document, content) {
                is_faulty = true;
                faults =
                    faults.with_field(format!("{path}.{field}"), Wrong::new("khác với tệp", "is not that of the file"));
            }
        }
        if is_faulty {
            return Err(faults.into());
        }
        Ok(self.0.ready()?)
    }
}

/// Opens every file that is named, and completes what its name says. All that is wrong is said at once.
fn open(
    folder: &Dir,
    documents: &mut [(String, &mut DocumentJson)],
    limits: Limits,
) -> Result<HashMap<String, File>, NotReady> {
    let mut files = HashMap::new();
    let mut faults = Vec::new();
    let mut bytes = 0_u64;
    for (path, document) in documents {
        let Some(name) = document.file.clone() else { continue };
        let mut fault = |field: &str, what: Wrong| faults.push((format!("{path}.{field}"), what));
        if name.parse::<FileName>().is_err() || name.starts_with('.') || name == REQUEST {
            fault(
                "file",
                Wrong::new(
                    "không phải tên tệp đơn giản nằm cạnh request.json",
                    "is not the plain name of a file beside request.json",
                ),
            );
            continue;
        }
        match (&document.media_type, media_type_of(&name)) {
            (Some(_), _) => {}
            (None, Some(media_type)) => document.media_type = Some(media_type.to_owned()),
            (None, None) => fault(
                "media_type",
                Wrong::new("bị thiếu, và đuôi tệp không cho biết", "is missing, and the file's ending does not say it"),
            ),
        }
        document.file_name.get_or_insert_with(|| name.clone());
        if files.contains_key(&name) {
            continue;
        }
        let opened = folder.file(OsStr::new(&name)).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((length, file)) => {
                bytes = bytes.saturating_add(length);
                if length > limits.document || bytes > limits.all {
                    let limit = if length > limits.document { limits.document } else { limits.all };
                    let refusal = Refusal::new(Reason::DocumentTooLarge).detail("limit_bytes", limit);
                    return Err(Problem::from(refusal)
                        .with_field(format!("{path}.file"), Wrong::new("quá dài", "is too long"))
                        .into());
                }
                files.insert(name, file);
            }
            Err(error) => match unusable(&error) {
                Some(what) => fault("file", what),
                None => return Err(NotReady::Disk(error)),
            },
        }
    }
    if faults.is_empty() {
        return Ok(files);
    }
    let problem = Problem::from(LocalReason::FolderFileUnusable);
    Err(faults.into_iter().fold(problem, |problem, (field, what)| problem.with_field(field, what)).into())
}

/// What is wrong with a file that cannot be opened, as far as that is its own fault.
fn unusable(error: &io::Error) -> Option<Wrong> {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Some(Wrong::new("không có; tên được so từng ký tự", "is not there; names are compared letter by letter"))
        }
        io::ErrorKind::InvalidInput => Some(Wrong::new("không phải tệp thường", "is not a regular file")),
        io::ErrorKind::PermissionDenied => {
            Some(Wrong::new("bộ kết nối không được phép đọc", "may not be read by the adapter"))
        }
        _ => None,
    }
}

/// Reads a document to its end, and puts it into the spool if there is one to put it into.
fn bring(mut file: &File, limit: u64, spool: Option<(&Documents, &Handle, &str)>) -> Result<Content, NotReady> {
    let mut upload = spool.map(|(documents, handle, party)| (documents.put(party, limit), handle));
    let (mut digest, mut size_bytes) = (Context::new(&SHA256), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let length = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(NotReady::Disk(error)),
        };
        size_bytes += length as u64;
        if size_bytes > limit {
            return Err(Refusal::new(Reason::DocumentTooLarge).detail("limit_bytes", limit).into());
        }
        digest.update(&piece[..length]);
        if let Some((upload, handle)) = &mut upload
            && handle.block_on(upload.chunk(Bytes::copy_from_slice(&piece[..length]))).is_err()
        {
            break;
        }
    }
    let Some((upload, handle)) = upload else {
        let sha256 = digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        return Ok(Content { sha256, size_bytes });
    };
    match handle.block_on(upload.finish()) {
        Ok(stored) => Ok(Content { sha256: stored.sha256, size_bytes: stored.size_bytes }),
        Err(PutError::TooLarge) => Err(Refusal::new(Reason::DocumentTooLarge).detail("limit_bytes", limit).into()),
        Err(PutError::Disk(shortage)) => Err(Problem::of_shortage(&shortage).into()),
        Err(PutError::Full) => Err(Problem::from(Reason::Overloaded).with_detail("too many documents wait").into()),
        Err(error @ (PutError::BrokenOff | PutError::Io(_))) => {
            tracing::error!(%error, "a document cannot be kept");
            Err(Problem::from(Reason::ReadOnly).with_detail("the adapter cannot write the document").into())
        }
    }
}
