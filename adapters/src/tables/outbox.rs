//! A request as a row of `outbox`, with its documents from `outbox_document`.
//!
//! Owns reading them; what may stand in a request is [`crate::request`]'s to say. A document is read in pieces and never whole in
//! memory.

use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use lgsp_proto::types::FileName;
use lgsp_proto::{Reason, Refusal, Wrong};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Tables;
use super::session::{Failed, Session, text};
use super::view::Trouble;
use crate::json::DocumentJson;
use crate::problem::{LocalReason, Problem};
use crate::request::{
    Content, MAX_DOCUMENTS, MAX_TEXT_BYTES, Place, Request, WrittenJson, media_type_of, name_by_content,
};
use crate::spool::{CallId, call_id};

/// The longest piece of a document in memory.
const PIECE: i32 = 1 << 20;

/// A row, as it was read.
pub(super) struct Queued {
    pub(super) party: String,
    pub(super) key: String,
    actor: String,
    pub(super) kind: String,
    pub(super) dossier_code: Option<String>,
    /// `None` if it is too long to be read.
    body: Option<String>,
    offline: Option<String>,
    traceparent: Option<String>,
    /// When the agency queued it first, in seconds since 1970.
    pub(super) queued_at: i64,
    /// Tells the row that was read from what somebody has made of it since.
    pub(super) read: String,
}

/// Why a request is not ready.
pub(super) enum NotReady {
    /// It cannot be taken in.
    Problem(Problem),
    /// The database.
    Trouble(Trouble),
}

impl From<Problem> for NotReady {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Failed> for NotReady {
    fn from(failed: Failed) -> Self {
        Self::Trouble(failed.trouble())
    }
}

impl Queued {
    /// What is asked for, with the bound of a body in `$1`.
    ///
    /// The code of a submission that was answered before is not the agency's: the adapter wrote it there.
    pub(super) const COLUMNS: &str = "party, request_key, actor, kind, \
         CASE WHEN kind = 'event' OR instance IS NULL THEN dossier_code END, \
         CASE WHEN octet_length(body::text) <= $1::bigint THEN body::text END, offline, traceparent, \
         floor(extract(epoch FROM queued_at))::bigint, xmin::text";

    /// Reads what [`Queued::COLUMNS`] asks for.
    pub(super) fn of(row: &Row) -> Option<Self> {
        Some(Self {
            party: row.try_get(0).ok()?,
            key: row.try_get(1).ok()?,
            actor: row.try_get(2).ok()?,
            kind: row.try_get(3).ok()?,
            dossier_code: row.try_get(4).ok()?,
            body: row.try_get(5).ok()?,
            offline: row.try_get(6).ok()?,
            traceparent: row.try_get(7).ok()?,
            queued_at: row.try_get(8).ok()?,
            read: row.try_get(9).ok()?,
        })
    }

    /// What the spool knows it by.
    pub(super) fn id(&self) -> CallId {
        call_id(&self.party, &self.key)
    }

    /// Checks it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn request(&self, tables: &Tables) -> Result<Request, Problem> {
        let Some(body) = &self.body else {
            return Err(Refusal::new(Reason::MessageTooLarge).detail("limit_bytes", MAX_TEXT_BYTES).into());
        };
        if !body.trim_ascii_start().starts_with('{') {
            return Err(Problem::malformed("the body is not a JSON object"));
        }
        let is_submission = self.kind == "submission";
        let submission =
            || crate::json::read(body.as_bytes()).map_err(|error| Problem::of_json(&error).below("body", &[]));
        let event = || RawValue::from_string(body.clone()).map_err(|error| Problem::of_json(&error.into()));
        let json = WrittenJson {
            request_key: Some(self.key.clone()),
            party: Some(self.party.clone()),
            actor: Some(self.actor.clone()),
            dossier_code: self.dossier_code.clone(),
            offline: self.offline.clone(),
            traceparent: self.traceparent.clone(),
            submission: is_submission.then(submission).transpose()?,
            event: (!is_submission).then(event).transpose()?,
        };
        let parties = &tables.config.parties;
        let stranger = Wrong::new("không thuộc tables.parties", "is not one of tables.parties");
        Request::check(json, Place { parties, stranger, names: ["body", "body"] })
    }
}

impl Tables {
    /// Reads the documents that a request names and puts them into the spool, or only looks what they are if the spool knows the
    /// request. All that is wrong is said at once.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub(super) async fn bring_documents(
        &self,
        session: &Session,
        queued: &Queued,
        request: &mut Request,
        is_known: bool,
    ) -> Result<(), NotReady> {
        let mut documents = request.documents();
        if documents.iter().all(|(_, document)| document.file.is_none()) {
            return Ok(());
        }
        self.look(session, queued, &mut documents).await?;
        let mut read = HashMap::new();
        let mut faults = Vec::new();
        for (path, document) in documents {
            let Some(name) = document.file.take() else { continue };
            let content = match read.get(&name) {
                Some(content) => *content,
                None => {
                    let content = self.bring(session, queued, &name, is_known).await?;
                    read.insert(name, content);
                    content
                }
            };
            for field in name_by_content(document, content) {
                let what = Wrong::new("khác với nội dung", "is not that of the content");
                faults.push((format!("{path}.{field}"), what));
            }
        }
        unusable(faults)
    }

    /// Looks at the documents that are named, and completes what their rows say.
    async fn look(
        &self,
        session: &Session,
        queued: &Queued,
        documents: &mut [(String, &mut DocumentJson)],
    ) -> Result<(), NotReady> {
        let schema = &self.config.schema;
        let sql = format!(
            "SELECT name, media_type, octet_length(content)::bigint FROM {schema}.outbox_document \
             WHERE party = $1 AND request_key = $2 LIMIT {}",
            MAX_DOCUMENTS + 1
        );
        let rows = session.query(&sql, &[text(&queued.party), text(&queued.key)]).await?;
        if rows.len() > MAX_DOCUMENTS {
            let many = Wrong::new("có hơn 200 dòng cho yêu cầu này", "has more than 200 rows for this request");
            return unusable(vec![("outbox_document".to_owned(), many)]);
        }
        let lying = |row: &Row| {
            let length: i64 = row.try_get(2).ok()?;
            Some((row.try_get(0).ok()?, (row.try_get(1).ok()?, u64::try_from(length).unwrap_or(0))))
        };
        let lying: HashMap<String, (Option<String>, u64)> = rows.iter().filter_map(lying).collect();
        let (mut faults, mut named, mut bytes) = (Vec::new(), HashMap::new(), 0_u64);
        for (path, document) in documents {
            let Some(name) = document.file.clone() else { continue };
            let Some((media_type, length)) = lying.get(&name) else {
                let what = Wrong::new(
                    "không có trong outbox_document; tên được so từng ký tự",
                    "is not in outbox_document; names are compared letter by letter",
                );
                faults.push((format!("{path}.file"), what));
                continue;
            };
            let said = document.media_type.take().or_else(|| media_type.clone());
            document.media_type = said.or_else(|| media_type_of(&name).map(str::to_owned));
            if document.media_type.is_none() {
                let what = Wrong::new(
                    "bị thiếu, và đuôi tên không cho biết",
                    "is missing, and the name's ending does not say it",
                );
                faults.push((format!("{path}.media_type"), what));
            }
            // A name of a row need not be one of a file.
            if name.parse::<FileName>().is_ok() {
                document.file_name.get_or_insert_with(|| name.clone());
            }
            if named.insert(name, ()).is_none() {
                bytes = bytes.saturating_add(*length);
            }
            if *length > self.limits.document || bytes > self.limits.all {
                let limit = if *length > self.limits.document { self.limits.document } else { self.limits.all };
                let refusal = Refusal::new(Reason::DocumentTooLarge).detail("limit_bytes", limit);
                return Err(Problem::from(refusal)
                    .with_field(format!("{path}.file"), Wrong::new("quá dài", "is too long"))
                    .into());
            }
        }
        unusable(faults)
    }

    /// Reads one document to its end.
    async fn bring(
        &self,
        session: &Session,
        queued: &Queued,
        name: &String,
        is_known: bool,
    ) -> Result<Content, NotReady> {
        let schema = &self.config.schema;
        let sql = format!(
            "SELECT substring(content FROM $4 FOR $5) FROM {schema}.outbox_document \
             WHERE party = $1 AND request_key = $2 AND name = $3"
        );
        let spool = self.office.spool.documents();
        let mut upload = (!is_known).then(|| spool.put(&queued.party, self.limits.document));
        let (mut digest, mut size_bytes, mut from) = (Context::new(&SHA256), 0_u64, 1_i32);
        loop {
            let values = [
                text(&queued.party),
                text(&queued.key),
                text(name),
                (&from as _, Type::INT4),
                (&PIECE as _, Type::INT4),
            ];
            let rows = session.query(&sql, &values).await?;
            let piece: Option<&[u8]> = rows.first().and_then(|row| row.try_get(0).ok());
            let Some(piece) = piece else {
                // Somebody has removed it since it was looked at.
                let gone = Wrong::new("nêu tài liệu đã bị xoá", "names a document that went away");
                unusable(vec![("body".to_owned(), gone)])?;
                break;
            };
            if piece.is_empty() {
                break;
            }
            digest.update(piece);
            size_bytes += piece.len() as u64;
            from = from.saturating_add(PIECE);
            let is_taken = match &mut upload {
                Some(upload) => upload.chunk(Bytes::copy_from_slice(piece)).await.is_ok(),
                None => true,
            };
            // What it does not take, its end says.
            if !is_taken || piece.len() < PIECE as usize {
                break;
            }
        }
        match upload {
            Some(upload) => {
                let stored = upload.finish().await.map_err(|error| self.office.not_kept(error))?;
                Ok(Content { sha256: stored.sha256, size_bytes: stored.size_bytes })
            }
            None => {
                let sha256 = digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
                Ok(Content { sha256, size_bytes })
            }
        }
    }
}

fn unusable(faults: Vec<(String, Wrong)>) -> Result<(), NotReady> {
    if faults.is_empty() {
        return Ok(());
    }
    let problem = Problem::from(LocalReason::TablesDocumentUnusable);
    Err(faults.into_iter().fold(problem, |problem, (field, what)| problem.with_field(field, what)).into())
}
