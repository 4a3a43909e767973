//! Queries as the port tells them: that a question was sent to a connector, and what became of it.
//!
//! The envelope names no citizen: whom a question was about is a keyed hash. What was asked and told is sealed with the key of the
//! dossier, or with the one that its dossier will have, so that erasing the dossier erases its look-ups.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_proto::Reason;
use lgsp_proto::types::{ActorId, DossierCode, PartyId, ProcedureCode, RequestKey, Sha256Digest};

/// Names one query: 16 random bytes.
pub type QueryId = [u8; 16];

/// A question that was sent to a connector, with its end: the envelope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Queried {
    /// Its name.
    pub id: QueryId,
    /// The service.
    pub service: String,
    /// Its version.
    pub version: u32,
    /// Why it was asked.
    pub purpose: String,
    /// For which procedure.
    pub procedure: Option<ProcedureCode>,
    /// For which dossier; also when it came in under `intake` meanwhile.
    pub dossier: Option<DossierCode>,
    /// SHA-256 of the request key under which the dossier was to be handed in.
    pub intake: Option<Sha256Digest>,
    /// In whose name.
    pub party: PartyId,
    /// The clerk.
    pub actor: ActorId,
    /// The system that asked.
    pub system: String,
    /// The system that was asked.
    pub connector: String,
    /// The fields that could be told.
    pub fields: Vec<String>,
    /// Why it was not answered, by the reason's word; `None` when it was.
    pub refused: Option<String>,
    /// When it was sent, by the machine clock.
    pub asked_at: SystemTime,
    /// When its end was known.
    pub ended_at: SystemTime,
    /// SHA-256 of the reply as told.
    pub reply_sha256: Option<Sha256Digest>,
    /// Keyed hash of whom it was about; see [`Store::subject_hash`](super::Store::subject_hash).
    pub subject: Option<[u8; 32]>,
    /// The registry it was decided by.
    pub registry_version: u64,
    /// W3C traceparent of the call, if it had one.
    pub traceparent: Option<String>,
    /// The proof given with the answer.
    pub proof: Option<QueryProof>,
    /// The data key that seals the content; 0 when nothing is kept. Filled in by the engine.
    pub key_id: u64,
}

/// How a question ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// It was answered.
    Answered,
    /// The service gave a reason, and is well.
    Refused,
    /// The service failed.
    Failed,
    /// Nobody knows.
    Unknown,
}

impl End {
    /// By the reason that whoever asked was told.
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::QueryOutcomeUnknown => Self::Unknown,
            Reason::ServiceFailed | Reason::ServiceMaintenance => Self::Failed,
            _ => Self::Refused,
        }
    }
}

impl Queried {
    /// How it ended.
    pub fn end(&self) -> End {
        // A reason that this version does not know is the service's own.
        let end_of = |word| Reason::parse(word).map_or(End::Refused, End::of);
        self.refused.as_deref().map_or(End::Answered, end_of)
    }
}

/// What the gateway signed about an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueryProof {
    /// A serialized `lgsp.v1.QueryAnswer`.
    pub answer: Bytes,
    /// The gateway's signature over it.
    pub signature: Bytes,
    /// SHA-256 of the gateway certificate whose key signed.
    pub certificate: Sha256Digest,
}

/// A query to be recorded, with its content.
#[derive(Clone)]
pub struct QueryEnded {
    /// The envelope.
    pub envelope: Queried,
    /// The request key that `intake` is the digest of.
    pub intake_key: Option<RequestKey>,
    /// What was asked.
    pub payload: Bytes,
    /// What was told; empty when nothing was.
    pub reply: Bytes,
}

impl fmt::Debug for QueryEnded {
    /// Leaves out the content: it names people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryEnded").field("envelope", &self.envelope).finish_non_exhaustive()
    }
}

/// A query as it is on record.
#[derive(Clone)]
pub struct QueryRecord {
    /// Where it stands in the journal.
    pub position: u64,
    /// The envelope, with the dossier that came in under its intake key, if one has.
    pub envelope: Queried,
    /// What was asked and told; `None` when it was erased, was not kept, or was not asked for.
    pub content: Option<(Bytes, Bytes)>,
    /// Its content was erased.
    pub erased: bool,
}

impl fmt::Debug for QueryRecord {
    /// Leaves out the content: it names people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, envelope, erased, .. } = self;
        let mut shown = f.debug_struct("QueryRecord");
        shown.field("position", position).field("envelope", envelope).field("erased", erased).finish_non_exhaustive()
    }
}

/// Whose queries are listed.
#[derive(Clone, Debug)]
pub enum QueriesOf {
    /// Everybody's.
    All,
    /// Those that a party made.
    Party(PartyId),
    /// Those for a dossier, those made before it came in included.
    Dossier(DossierCode),
}

/// One page of queries.
#[derive(Clone, Debug, Default)]
pub struct QueryPage {
    /// The newest first, without content.
    pub queries: Vec<QueryRecord>,
    /// Before which position to go on; `None` on the last page.
    pub next: Option<u64>,
}

/// What was asked for a dossier that is not there yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenMatter {
    /// Who asked, and would hand the dossier in.
    pub party: PartyId,
    /// SHA-256 of the request key.
    pub intake: Sha256Digest,
    /// The key that seals it.
    pub key_id: u64,
    /// When the first question was asked.
    pub since: SystemTime,
}

/// That no dossier came in under an intake key, so that what was asked for it goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MatterLapsed {
    /// Who had asked.
    pub party: PartyId,
    /// SHA-256 of the request key.
    pub intake: Sha256Digest,
    /// The key that is destroyed.
    pub key_id: u64,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// How an intake key is known once it was used: by its digest, for the key itself may be anything.
pub fn intake_digest(key: &RequestKey) -> Sha256Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_str().as_bytes());
    Sha256Digest::try_from(digest.as_ref()).expect("SHA-256 has 32 bytes")
}
