//! Dossiers that left the indexes for an archive file: what is said about them, and what is left of them.

use std::sync::Arc;
use std::time::SystemTime;

use lgsp_domain::dossier::Dossier;
use lgsp_proto::types::{ActorId, BusinessTime, DossierCode, PartyId, Sha256Digest};

use super::DocumentMeta;

/// Closed dossiers were written to an archive file and left the indexes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DossiersArchived {
    /// Which.
    pub codes: Vec<DossierCode>,
    /// The file's name.
    pub archive: String,
    /// The SHA-256 at its end, over everything before it.
    pub sha256: Sha256Digest,
    /// In whose name; `None` when the gateway did it by itself.
    pub party: Option<PartyId>,
    /// Who did it.
    pub actor: ActorId,
    /// Whose system.
    pub system: String,
    /// The rule: nothing had happened to them for so many days.
    pub after_days: u32,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// Dossiers to be recorded as archived. The file is durable and was read back.
#[derive(Clone, Debug)]
pub struct Archiving {
    /// What is to be recorded.
    pub archived: DossiersArchived,
    /// The last event of each, as it was written to the file, in the order of the codes.
    pub sequences: Vec<u32>,
    /// How many queries of each were written with it, in the same order.
    pub queries: Vec<u32>,
}

/// What is left of an archived dossier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Archived {
    /// The dossier.
    pub code: DossierCode,
    /// The file it is in.
    pub archive: String,
    /// When that was recorded, by the machine clock.
    pub at: SystemTime,
    /// When its last event happened.
    pub updated_at: BusinessTime,
    /// Everybody it concerned.
    pub parties: Vec<PartyId>,
}

/// An archive file on record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArchiveOnRecord {
    /// The record that names it.
    pub position: u64,
    /// Its name.
    pub name: String,
    /// The SHA-256 at its end.
    pub sha256: Sha256Digest,
    /// How many dossiers it took in.
    pub dossiers: u32,
}

/// All that goes into an archive for one dossier.
#[derive(Clone, Debug)]
pub struct Material {
    /// How it stands.
    pub dossier: Arc<Dossier>,
    /// The data key that seals its bodies.
    pub key_id: u64,
    /// The positions of its records: its events, those of its documents, and the queries made for it.
    pub records: Vec<u64>,
    /// How many of them are queries.
    pub queries: u32,
    /// Its documents.
    pub documents: Vec<DocumentMeta>,
    /// Whether its content was erased: then there are no document files.
    pub erased: bool,
}
