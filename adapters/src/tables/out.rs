//! The way out: a delivery is a row of `inbox`, an outcome a row as well, and the last word in the request's own.

use std::sync::Arc;
use std::time::Duration;

use lgsp_journal::fault;
use lgsp_proto::types::Sha256Digest;
use tokio_postgres::types::Type;

use super::Tables;
use super::round::{reached, to_json};
use super::session::{Failed, Session, text};
use super::view::Trouble;
use crate::config::Acknowledge;
use crate::handover::{About, Carrier, Message, NotTaken};
use crate::office::Caller;
use crate::papers::{self, AtGateway, Instead, NameJson, PACE, Paper, documents_named};
use crate::problem::Problem;
use crate::trouble::Way;
use crate::webhook::event_type;

/// The largest document put beside a delivery: it is one value of one row, and whole in memory.
const MAX_DOCUMENT_BYTES: u64 = 32 << 20;

/// How long a statement may take at least where documents go over the same connection.
const WITH_DOCUMENTS: Duration = Duration::from_secs(60);

/// The way out to the agency's tables.
pub(crate) struct ToTables(pub(crate) Arc<Tables>);

/// Why something is not there yet.
enum NotThere {
    Failed(Failed),
    /// It lies there, and the agency has not said what becomes of it.
    Unhandled,
    /// Others take their time with their papers.
    NoPlace,
    /// It waits for papers of its own; others need not.
    NoPapers,
}

impl From<Failed> for NotThere {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<Trouble> for NotThere {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(Failed::Trouble(trouble))
    }
}

impl Carrier for ToTables {
    /// Writes it: taken when it is committed, or when the agency has handled it, as the configuration says.
    async fn carry(&self, message: &Message) -> Result<(), NotTaken> {
        let tables = &self.0;
        let trouble = match tables.carry(message).await {
            Ok(()) => {
                tables.view.went(Way::Out, None);
                return Ok(());
            }
            Err(NotThere::Unhandled | NotThere::NoPlace) => return Err(NotTaken::NotYet),
            Err(NotThere::NoPapers) => {
                tables.view.went(Way::Out, Some(Trouble::NoDocuments));
                return Err(NotTaken::NotYet);
            }
            Err(NotThere::Failed(Failed::NotTaken)) => return Err(NotTaken::ByItsOwnRule),
            Err(NotThere::Failed(Failed::Trouble(trouble))) => trouble,
        };
        tables.view.went(Way::Out, Some(trouble));
        // Whatever is the matter with a database is not the message's fault, and concerns all of them.
        Err(NotTaken::Unreachable)
    }
}

impl Tables {
    async fn carry(&self, message: &Message) -> Result<(), NotThere> {
        let delivery = match &message.about {
            About::Delivery(id) => Some(id),
            About::Outcome(_) => None,
        };
        let waits = delivery.is_some() && self.config.acknowledge == Acknowledge::Handled;
        let session = self.carrying().await?;
        if waits && self.lies_there(&session, &message.id).await? {
            return self.is_handled(&session, &message.id).await;
        }
        if delivery.is_some() && self.view.inbox() >= self.config.max_inbox.get() {
            return Err(Trouble::InboxFull.into());
        }
        if let Some(id) = delivery
            && self.config.documents
        {
            self.put_documents_beside(message, &id.party, &id.dossier).await?;
        }
        // Fetching takes long; the connection of before may be gone.
        let session = self.carrying().await?;
        self.insert(&session, message, !waits).await?;
        match &message.about {
            About::Outcome(id) => {
                self.write_answer(&session, id, None).await?;
                Ok(reached(fault::TABLES_TOLD)?)
            }
            About::Delivery(_) => {
                reached(fault::TABLES_DELIVERED)?;
                if waits { self.is_handled(&session, &message.id).await } else { Ok(()) }
            }
        }
    }

    /// Inserts a message, once: come again, it is the same row. It is shown to the agency anew if it refused it and a person has sent
    /// it again, or if a restored gateway has answered a request otherwise. That its key is in use already is said of no request that
    /// another adapter had admitted.
    async fn insert(&self, session: &Session, message: &Message, is_settled: bool) -> Result<(), Failed> {
        let schema = &self.config.schema;
        let sql = format!(
            "INSERT INTO {schema}.inbox AS known (delivery_id, type, party, dossier_code, sequence, request_key, body, settled_at, \
             instance) VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, CASE WHEN $8 THEN now() END, $9) \
             ON CONFLICT (delivery_id) DO UPDATE SET type = excluded.type, body = excluded.body, received_at = now(), \
             handled_at = NULL, refused_reason = NULL, problem = NULL, settled_at = excluded.settled_at, \
             instance = excluded.instance \
             WHERE known.type <> excluded.type AND NOT ($10 AND known.instance <> excluded.instance) \
             OR known.refused_reason IS NOT NULL AND known.settled_at IS NOT NULL"
        );
        let is_key_reused = match &message.about {
            About::Outcome(id) => self.office.request(id).is_ok_and(|request| request.is_key_reused()),
            About::Delivery(_) => false,
        };
        let (party, sequence, key) = match &message.about {
            About::Delivery(id) => (&id.party, i32::try_from(id.sequence).ok(), None),
            About::Outcome(id) => (&id.party, None, Some(&*id.key)),
        };
        let (kind, party) = (event_type(message.what), &**party);
        let body = String::from_utf8_lossy(&message.body);
        let values = [
            text(&message.id),
            text(&kind),
            text(&party),
            text(&message.dossier_code),
            (&sequence as _, Type::INT4),
            text(&key),
            text(&body),
            (&is_settled as _, Type::BOOL),
            text(&self.instance),
            (&is_key_reused as _, Type::BOOL),
        ];
        if session.execute(&sql, &values).await? > 0 {
            self.view.delivered();
        }
        Ok(())
    }

    /// Whether a delivery lies in the inbox for the agency to say what becomes of it; then it is for this adapter to hear it. It is
    /// looked at each time: a row can be cleared away, or be of before a restore.
    async fn lies_there(&self, session: &Session, name: &String) -> Result<bool, Failed> {
        let schema = &self.config.schema;
        let sql = format!(
            "SELECT instance = $2 OR settled_at IS NOT NULL FROM {schema}.inbox WHERE delivery_id = $1 \
             AND NOT (refused_reason IS NOT NULL AND settled_at IS NOT NULL)"
        );
        let rows = session.query(&sql, &[text(name), text(&self.instance)]).await?;
        let is_ours = rows.first().map(|row| row.try_get(0).unwrap_or(false));
        if is_ours == Some(false) {
            let sql = format!("UPDATE {schema}.inbox SET instance = $2 WHERE delivery_id = $1 AND settled_at IS NULL");
            session.execute(&sql, &[text(name), text(&self.instance)]).await?;
        }
        Ok(is_ours.is_some())
    }

    async fn is_handled(&self, session: &Session, name: &String) -> Result<(), NotThere> {
        let schema = &self.config.schema;
        let sql = format!("SELECT handled_at IS NOT NULL FROM {schema}.inbox WHERE delivery_id = $1");
        let rows = session.query(&sql, &[text(name)]).await?;
        let is_handled = rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false));
        if is_handled { Ok(()) } else { Err(NotThere::Unhandled) }
    }

    /// The connection that carries; made if there is none.
    async fn carrying(&self) -> Result<Arc<Session>, Trouble> {
        let mut carrying = self.carrying.lock().await;
        if let Some(session) = carrying.as_ref().filter(|session| !session.is_over()) {
            return Ok(session.clone());
        }
        let mut config = self.config.clone();
        if config.documents {
            // What is said beside a document waits until that has gone over.
            config.timeout = config.timeout.max(WITH_DOCUMENTS);
        }
        let session = Arc::new(Session::open(&config).await?);
        session.check(&self.config.schema).await?;
        Ok(carrying.insert(session).clone())
    }

    /// Puts every document that a delivery names beside it, before it is there itself: then who sees it sees them. What is there is
    /// not fetched again.
    async fn put_documents_beside(&self, message: &Message, party: &str, dossier: &str) -> Result<(), NotThere> {
        let mut documents = documents_named(&message.body);
        let caller = papers::caller(party, message.trace.as_ref());
        let Some(caller) = caller.filter(|_| !documents.is_empty()) else { return Ok(()) };
        let schema = &self.config.schema;
        let sql = format!("SELECT sha256 FROM {schema}.inbox_document WHERE delivery_id = $1");
        let rows = self.carrying().await?.query(&sql, &[text(&message.id)]).await?;
        let there: Vec<&str> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        documents.retain(|document| !there.contains(&&*document.sha256));
        if documents.is_empty() {
            return Ok(());
        }
        let Some(_place) = self.papers.place().await else { return Err(NotThere::NoPlace) };
        let mut all_there = true;
        for NameJson { sha256, media_type } in documents {
            let Ok(digest) = sha256.parse::<Sha256Digest>() else { continue };
            let (content, problem) = match self.fetch(&caller, dossier, digest.as_bytes()).await {
                Ok(content) => {
                    self.papers.came(&message.id, &sha256);
                    (Some(content), None)
                }
                Err(problem) => match self.papers.judge(&message.id, &sha256, problem) {
                    Instead::Put(problem) => (None, Some(to_json(&problem))),
                    // Its others are fetched all the same.
                    Instead::WaitAlone => {
                        all_there = false;
                        continue;
                    }
                    Instead::Wait => return Err(Trouble::NoDocuments.into()),
                },
            };
            let sql = format!(
                "INSERT INTO {schema}.inbox_document (delivery_id, sha256, media_type, content, problem) \
                 VALUES ($1, $2, $3, $4, $5::jsonb) ON CONFLICT DO NOTHING"
            );
            let values =
                [text(&message.id), text(&sha256), text(&media_type), (&content as _, Type::BYTEA), text(&problem)];
            // It may have taken longer than a connection lasts.
            self.carrying().await?.execute(&sql, &values).await?;
        }
        if all_there { Ok(()) } else { Err(NotThere::NoPapers) }
    }

    /// A document of a dossier, whole.
    async fn fetch(&self, caller: &Caller, dossier: &str, sha256: &[u8; 32]) -> Result<Vec<u8>, Problem> {
        let source = AtGateway { office: &self.office, caller, dossier, sha256, download: None };
        let mut paper = Paper::begin(source, sha256, PACE).await?;
        let mut content = Vec::new();
        let is_too_large = |bytes: u64| bytes > MAX_DOCUMENT_BYTES;
        let mut too_large = is_too_large(paper.size());
        while !too_large && let Some(chunk) = paper.chunk().await? {
            content.extend_from_slice(&chunk);
            too_large = is_too_large(content.len() as u64);
        }
        if too_large {
            let refusal = lgsp_proto::Refusal::new(lgsp_proto::Reason::DocumentTooLarge);
            return Err(refusal.detail("limit_bytes", MAX_DOCUMENT_BYTES).into());
        }
        Ok(content)
    }
}
