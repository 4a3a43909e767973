//! A request as it lies in its folder: `request.json`, and the documents it names by their file names.
//!
//! Owns reading and checking; whatever is wrong is a [`Problem`] that names every field at fault at once. What a submission or an
//! entry is, is `json`'s to say: the same as over REST.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use lgsp_proto::types::{ActorId, FileName, PartyId, RequestKey};
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::runtime::Handle;

use super::disk::Dir;
use crate::json::{DocumentJson, EntryJson, Fields, SubmissionJson};
use crate::office::Caller;
use crate::problem::{LocalReason, Problem};
use crate::spool::{CallId, Documents, PutError, call_id};
use crate::trace::TraceParent;

/// The file that says what is wanted.
pub(super) const REQUEST: &str = "request.json";

/// The longest `request.json`, as the longest body over REST.
const MAX_REQUEST_BYTES: u64 = 2 << 20;

/// The longest piece of a document in memory.
const PIECE: usize = 64 << 10;

/// What files are by their endings (IANA's media types). Of several endings of a type the first is the adapter's own.
const ENDINGS: [(&str, &str); 15] = [
    ("pdf", "application/pdf"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("xml", "application/xml"),
    ("json", "application/json"),
    ("txt", "text/plain"),
    ("zip", "application/zip"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("p7m", "application/pkcs7-mime"),
];

/// `request.json`, before anything of it was checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestJson {
    /// Names the request, as `Idempotency-Key` does. Compulsory.
    request_key: Option<String>,
    /// In whose name. Compulsory.
    party: Option<String>,
    /// The clerk's account. Compulsory.
    actor: Option<String>,
    /// The dossier that an event is about.
    dossier_code: Option<String>,
    /// `allowed` or `never`: whether the adapter may decide by itself while the line is down; left out, `allowed`.
    offline: Option<String>,
    /// The trace it belongs to (W3C Trace Context).
    traceparent: Option<String>,
    /// As the body of `POST /v1/dossiers`.
    submission: Option<SubmissionJson>,
    /// As the body of `POST /v1/dossiers/{code}/events`.
    event: Option<Box<RawValue>>,
}

/// A request whose form has been checked; of its documents nothing has been read yet. No `Debug`: it names the citizen.
pub(super) struct Request {
    pub(super) caller: Caller,
    pub(super) key: RequestKey,
    what: What,
}

enum What {
    Submission { submission: Box<SubmissionJson>, allowed: bool },
    Event { dossier_code: String, entry: EntryJson },
}

/// What is to be done, with every document in it named by its content.
pub(super) enum Ready {
    Submit { submission: Box<v1::Submission>, allowed: bool },
    Record { dossier_code: String, entry: Box<v1::Entry> },
}

/// How much may be read for one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// One document.
    pub(super) document: u64,
    /// All of a request.
    pub(super) all: u64,
}

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
        match folder.read(REQUEST, MAX_REQUEST_BYTES) {
            Ok(Some(text)) => Ok(Self::parse(&text, parties)?),
            Ok(None) => Err(Refusal::new(Reason::MessageTooLarge).detail("limit_bytes", MAX_REQUEST_BYTES).into()),
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
        let json: RequestJson = serde_json::from_slice(text).map_err(|error| Problem::of_json(&error))?;
        let mut fields = Fields::default();
        let key = fields.required::<RequestKey>("request_key", json.request_key.as_deref());
        let party = fields.required::<PartyId>("party", json.party.as_deref());
        if party.as_ref().is_some_and(|party| !parties.contains(party)) {
            fields.problem(
                "party",
                Wrong::new("không thuộc các cơ quan của thư mục này", "is not one of this folder's parties"),
            );
        }
        let actor = fields.required::<ActorId>("actor", json.actor.as_deref());
        // The standard wants a new trace rather than an error.
        let trace = json.traceparent.as_deref().and_then(TraceParent::parse).unwrap_or_else(TraceParent::begin);
        let allowed = match json.offline.as_deref() {
            None | Some("allowed") => true,
            Some("never") => false,
            Some(_) => {
                fields.problem(
                    "offline",
                    Wrong::new("không phải allowed cũng không phải never", "is neither allowed nor never"),
                );
                false
            }
        };
        let what = match (json.submission, json.event) {
            (Some(submission), None) => {
                if json.dossier_code.is_some() {
                    fields.problem(
                        "dossier_code",
                        Wrong::new(
                            "thuộc về sự kiện; mã do bộ phận tự cấp đặt trong submission",
                            "belongs to an event; a code of the desk's own stands in the submission",
                        ),
                    );
                }
                Some(What::Submission { submission: Box::new(submission), allowed })
            }
            (None, Some(event)) => {
                if json.offline.is_some() {
                    fields.problem("offline", Wrong::new("thuộc về submission", "belongs to a submission"));
                }
                if json.dossier_code.is_none() {
                    fields.problem("dossier_code", Wrong::missing());
                }
                let entry = EntryJson::read(event.get().as_bytes()).map_err(|error| {
                    Problem::of_json(&error).with_field("event", Wrong::new("không đọc được", "cannot be read"))
                })?;
                Some(What::Event { dossier_code: json.dossier_code.unwrap_or_default(), entry })
            }
            (None, None) => {
                fields.problem("submission", Wrong::new("bị thiếu, và event cũng vậy", "is missing, and so is event"));
                None
            }
            (Some(_), Some(_)) => {
                fields.problem(
                    "event",
                    Wrong::new(
                        "và submission cùng có mặt; mỗi yêu cầu chỉ gồm một",
                        "and submission are both there; a request is one of them",
                    ),
                );
                None
            }
        };
        let (key, party, actor, what) = fields.finish((key, party, actor, what))?;
        let whole = || Some(Self { caller: Caller { party: party?, actor: actor?, trace }, key: key?, what: what? });
        Ok(whole().ok_or(Reason::Internal)?)
    }

    /// What the spool knows it by.
    pub(super) fn id(&self) -> CallId {
        call_id(self.caller.party.as_str(), self.key.as_str())
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
        let party = self.caller.party.clone();
        let (part, mut documents) = match &mut self.what {
            What::Submission { submission, .. } => ("submission", submission.documents_mut()),
            What::Event { entry, .. } => ("event", entry.documents_mut()),
        };
        let files = open(folder, part, &mut documents, limits)?;
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
            let (sha256, size) = (HEXLOWER.encode(&content.sha256), content.size_bytes);
            for (field, differs) in [
                ("sha256", document.sha256.as_ref().is_some_and(|said| *said != sha256)),
                ("size_bytes", document.size_bytes.is_some_and(|said| said != size)),
            ] {
                if differs {
                    is_faulty = true;
                    faults = faults.with_field(
                        format!("{part}.{path}.{field}"),
                        Wrong::new("khác với tệp", "is not that of the file"),
                    );
                }
            }
            (document.sha256, document.size_bytes) = (Some(sha256), Some(size));
        }
        if is_faulty {
            return Err(faults.into());
        }
        let Self { caller, key, what } = self;
        let below = |refusal: Refusal, part| Problem::from(refusal).below(part, &["dossier_code"]);
        let ready = match what {
            What::Submission { submission, allowed } => {
                let submission = submission.into_proto(&key, &caller.party, &caller.actor);
                let submission = submission.map_err(|refusal| Problem::from(refusal).below(part, &[]))?;
                Ready::Submit { submission: Box::new(submission), allowed }
            }
            What::Event { dossier_code, entry } => {
                let entry = entry.into_proto(&dossier_code, &key, &caller.party, &caller.actor);
                Ready::Record { entry: Box::new(entry.map_err(|refusal| below(refusal, part))?), dossier_code }
            }
        };
        Ok((caller, key, ready))
    }
}

/// Opens every file that is named, and completes what its name says. All that is wrong is said at once.
fn open(
    folder: &Dir,
    part: &str,
    documents: &mut [(String, &mut DocumentJson)],
    limits: Limits,
) -> Result<HashMap<String, File>, NotReady> {
    let mut files = HashMap::new();
    let mut faults = Vec::new();
    let mut bytes = 0_u64;
    for (path, document) in documents {
        let Some(name) = document.file.clone() else { continue };
        let mut fault = |field: &str, what: Wrong| faults.push((format!("{part}.{path}.{field}"), what));
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
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        let by_ending = ENDINGS.iter().find(|(known, _)| Some(*known) == ending.as_deref());
        match (&document.media_type, by_ending) {
            (Some(_), _) => {}
            (None, Some((_, media_type))) => document.media_type = Some((*media_type).to_owned()),
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
                        .with_field(format!("{part}.{path}.file"), Wrong::new("quá dài", "is too long"))
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

/// The ending that files of a media type have.
pub(super) fn ending_of(media_type: &str) -> Option<&'static str> {
    ENDINGS.iter().find(|(_, known)| *known == media_type).map(|(ending, _)| *ending)
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

/// What a document turned out to be.
#[derive(Clone, Copy)]
struct Content {
    sha256: [u8; 32],
    size_bytes: u64,
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
