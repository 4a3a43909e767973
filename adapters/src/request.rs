//! A request as agencies write it down that cannot call REST: who wants what under which key, and documents named by what they
//! are called beside it, in a folder or a table.
//!
//! Owns what such a request says and its checks, every fault named at once; what a submission or an entry is, is `json`'s to say,
//! the same as over REST. Where its documents lie and how they are read is each way in's.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use lgsp_proto::types::{ActorId, PartyId, RequestKey};
use lgsp_proto::{Reason, Wrong, v1};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{DocumentJson, EntryJson, Fields, SubmissionJson};
use crate::office::{Caller, Office, TakenIn};
use crate::problem::Problem;
use crate::spool::{CallId, call_id};
use crate::trace::TraceParent;

/// The longest text of a request, as the longest body over REST.
pub(crate) const MAX_TEXT_BYTES: u64 = 2 << 20;

/// The most documents that lie beside a request.
pub(crate) const MAX_DOCUMENTS: usize = 200;

/// The longest of all documents of one request together.
pub(crate) const MAX_DOCUMENTS_BYTES: u64 = 1 << 30;

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

/// A request before anything of it was checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenJson {
    /// Names the request, as `Idempotency-Key` does. Compulsory.
    pub(crate) request_key: Option<String>,
    /// In whose name. Compulsory.
    pub(crate) party: Option<String>,
    /// The clerk's account. Compulsory.
    pub(crate) actor: Option<String>,
    /// The dossier that an event is about.
    pub(crate) dossier_code: Option<String>,
    /// `allowed` or `never`: whether the adapter may decide by itself while the line is down; left out, `allowed`.
    pub(crate) offline: Option<String>,
    /// The trace it belongs to (W3C Trace Context).
    pub(crate) traceparent: Option<String>,
    /// As the body of `POST /v1/dossiers`.
    pub(crate) submission: Option<SubmissionJson>,
    /// As the body of `POST /v1/dossiers/{code}/events`.
    pub(crate) event: Option<Box<RawValue>>,
}

/// Where requests are written down.
pub(crate) struct Place<'a> {
    /// The parties that it speaks for.
    pub(crate) parties: &'a [PartyId],
    /// What is said of a party that is none of them.
    pub(crate) stranger: Wrong,
    /// Under which names the submission and the event stand there.
    pub(crate) names: [&'static str; 2],
}

/// A request whose form has been checked; of its documents nothing has been read yet. No `Debug`: it names the citizen.
pub(crate) struct Request {
    pub(crate) caller: Caller,
    pub(crate) key: RequestKey,
    what: What,
    /// Under which name that stands in the request.
    part: &'static str,
}

enum What {
    Submission { submission: Box<SubmissionJson>, allowed: bool },
    Event { dossier_code: String, entry: EntryJson },
}

/// What is to be done, with every document in it named by its content.
pub(crate) enum Ready {
    Submit { submission: Box<v1::Submission>, allowed: bool },
    Record { dossier_code: String, entry: Box<v1::Entry> },
}

/// How much may be read for one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// One document.
    pub(crate) document: u64,
    /// All of a request.
    pub(crate) all: u64,
}

impl Limits {
    /// What a spool takes.
    pub(crate) fn of(spool: &crate::config::Spool) -> Self {
        Self { document: spool.max_document_bytes, all: MAX_DOCUMENTS_BYTES.min(spool.max_documents_bytes) }
    }
}

/// What a document turned out to be.
#[derive(Clone, Copy)]
pub(crate) struct Content {
    pub(crate) sha256: [u8; 32],
    pub(crate) size_bytes: u64,
}

impl Request {
    /// Checks what was written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(json: WrittenJson, place: Place<'_>) -> Result<Self, Problem> {
        let [submission_name, event_name] = place.names;
        let mut fields = Fields::default();
        let key = fields.required::<RequestKey>("request_key", json.request_key.as_deref());
        let party = fields.required::<PartyId>("party", json.party.as_deref());
        if party.as_ref().is_some_and(|party| !place.parties.contains(party)) {
            fields.problem("party", place.stranger);
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
                Some((What::Submission { submission: Box::new(submission), allowed }, submission_name))
            }
            (None, Some(event)) => {
                if json.offline.is_some() {
                    fields.problem("offline", Wrong::new("thuộc về submission", "belongs to a submission"));
                }
                if json.dossier_code.is_none() {
                    fields.problem("dossier_code", Wrong::missing());
                }
                let entry = EntryJson::read(event.get().as_bytes()).map_err(|error| {
                    let problem = Problem::of_json(&error).below(event_name, &[]);
                    match error.field.is_empty() {
                        true => problem.with_field(event_name, Wrong::new("không đọc được", "cannot be read")),
                        false => problem,
                    }
                })?;
                Some((What::Event { dossier_code: json.dossier_code.unwrap_or_default(), entry }, event_name))
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
        let whole = || {
            let (what, part) = what?;
            Some(Self { caller: Caller { party: party?, actor: actor?, trace }, key: key?, what, part })
        };
        Ok(whole().ok_or(Reason::Internal)?)
    }

    /// What the spool knows it by.
    pub(crate) fn id(&self) -> CallId {
        call_id(self.caller.party.as_str(), self.key.as_str())
    }

    /// The documents it names, each with its path in the request.
    pub(crate) fn documents(&mut self) -> Vec<(String, &mut DocumentJson)> {
        let mut documents = match &mut self.what {
            What::Submission { submission, .. } => submission.documents_mut(),
            What::Event { entry, .. } => entry.documents_mut(),
        };
        for (path, _) in &mut documents {
            *path = format!("{}.{path}", self.part);
        }
        documents
    }

    /// What is to be done, once its documents are named by their contents.
    ///
    /// # Errors
    /// What is wrong with the submission or the event.
    pub(crate) fn ready(self) -> Result<(Caller, RequestKey, Ready), Problem> {
        let Self { caller, key, what, part } = self;
        let ready = match what {
            What::Submission { submission, allowed } => {
                let submission = submission.into_proto(&key, &caller.party, &caller.actor);
                let submission = submission.map_err(|refusal| Problem::from(refusal).below(part, &[]))?;
                Ready::Submit { submission: Box::new(submission), allowed }
            }
            What::Event { dossier_code, entry } => {
                let entry = entry.into_proto(&dossier_code, &key, &caller.party, &caller.actor);
                let entry = entry.map_err(|refusal| Problem::from(refusal).below(part, &["dossier_code"]))?;
                Ready::Record { entry: Box::new(entry), dossier_code }
            }
        };
        Ok((caller, key, ready))
    }
}

impl Ready {
    /// Has it done. Durable when this returns `Ok`. `written_at` is when it was written down, in seconds since 1970: the same each
    /// time that it is read.
    ///
    /// # Errors
    /// As the office says.
    pub(crate) async fn take_in(
        self,
        office: &Arc<Office>,
        caller: Caller,
        key: RequestKey,
        written_at: i64,
    ) -> Result<TakenIn, Problem> {
        match self {
            Self::Submit { submission, allowed } => {
                office.take_in_written(caller, key, *submission, allowed, Some(written_at)).await
            }
            Self::Record { dossier_code, entry } => {
                let view = office.record(&caller, &key, dossier_code, &entry).await?;
                Ok(TakenIn { view, offline: None, code_pending: false })
            }
        }
    }
}

/// Puts what a document turned out to be in the place of its name; gives the fields of it that said otherwise.
pub(crate) fn name_by_content(document: &mut DocumentJson, content: Content) -> Vec<&'static str> {
    let (sha256, size) = (HEXLOWER.encode(&content.sha256), content.size_bytes);
    let said = [
        ("sha256", document.sha256.as_ref().is_some_and(|said| *said != sha256)),
        ("size_bytes", document.size_bytes.is_some_and(|said| said != size)),
    ];
    (document.sha256, document.size_bytes) = (Some(sha256), Some(size));
    said.into_iter().filter_map(|(field, differs)| differs.then_some(field)).collect()
}

/// The media type that the ending of a file's name stands for.
pub(crate) fn media_type_of(name: &str) -> Option<&'static str> {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase())?;
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, media_type)| *media_type)
}

/// The ending that files of a media type have.
pub(crate) fn ending_of(media_type: &str) -> Option<&'static str> {
    ENDINGS.iter().find(|(_, known)| *known == media_type).map(|(ending, _)| *ending)
}
