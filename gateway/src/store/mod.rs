//! The port through which the bus remembers.
//!
//! Two engines stand behind it: [`sled`](sled/index.html) on one node (a journal of our own, with sled as the indexes over it), and
//! PostgreSQL for replicas, to come. The port speaks of dossiers, events and deliveries; no key, no iterator and no
//! transaction of an engine leaks out of it.
//!
//! What every engine promises, and `contract` checks:
//! - what [`Store::commit`] has answered survives `kill -9` and a power cut, whole or not at all;
//! - reads see everything that was answered before they began;
//! - a commit that lost a race (another event on the dossier, the key, the alias, the code) is a [`CommitError::Conflict`]
//!   and wrote nothing.

mod archived;
mod audit;
mod certificates;
mod claims;
mod codec;
#[cfg(feature = "test-util")]
pub mod contract;
mod counters;
mod counts;
pub mod data_folder;
mod deliveries;
mod follower;
pub mod fsck;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod index;
mod index_folder;
mod keys;
mod overlay;
mod queries;
pub mod read_only;
mod records;
pub mod sled;
mod snapshot;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::civil::Date;
use lgsp_domain::dossier::Dossier;
use lgsp_domain::event::Event;
use lgsp_domain::numbering::{Block, Exhausted, Given, SpoolId};
use lgsp_journal::room::Shortage;
use lgsp_journal::seal::DataKey;
use lgsp_proto::types::{
    ActorId, BusinessTime, DossierCode, MediaType, PartyId, ProcedureCode, RequestKey, Sha256Digest, Status,
};
use lgsp_proto::v1;

pub use archived::{ArchiveOnRecord, Archived, Archiving, DossiersArchived, Material};
pub use audit::{AuditEntry, AuditPage, AuditQuery, Exported};
pub use certificates::{
    CertificateCursor, CertificateIssued, CertificatePage, CertificateQuery, CertificateRevoked, IssuedOver, KEYS_MAX,
    KnownCertificate, Token, TokenId, TokenIssued, TokenState, TokenWithdrawn,
};
pub use codec::{Admitted, EpochStarted, Fact, NumbersLeased, Unreadable};
pub use counts::{
    CountBy, CountName, Counts, CountsOf, CountsSum, CountsWanted, DAYS_MAX, LINES_MAX, ROWS_OF_A_DAY, day_of,
};
pub use deliveries::{
    GivenBack, GivenBackWhy, Handled, Holder, Installation, Lane, MAIN, Parked, ParkedAction, ParkedStanding, TakenOver,
};
pub use queries::{
    End, MatterLapsed, OpenMatter, Queried, QueriesOf, QueryEnded, QueryId, QueryPage, QueryProof, QueryRecord,
    intake_digest,
};

/// Where the bodies on a page of events are larger together than this, no other event stands on it: with the last one, at most a
/// record of the journal (4 MiB), the page still fits into the 16 MiB that a client takes for one answer.
pub const BODIES_BYTES: usize = 8 << 20;

/// What the bus remembers, and how it asks for it.
///
/// Within one process the caller sees to it that at most one commit per dossier, per request key and per alias is under
/// way; the engine guards against other processes.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes one commit, all or nothing. Durable, and visible to every read, when it returns `Ok`.
    async fn commit(&self, commit: Commit) -> Result<(), CommitError>;

    /// Records that a dossier's content is erased, then destroys its keys and those of its documents. When it returns `Ok` the
    /// record is durable and no body of the dossier can be opened again; what a crash leaves to destroy is destroyed when the
    /// store is opened. Answers the dossier's erasure as recorded, which is the earlier one if there was one.
    ///
    /// [`CommitError::Conflict`] when there is no such dossier, or something else is being recorded about it;
    /// [`CommitError::Unknown`] also when a key could not be destroyed: erase again.
    async fn erase(&self, erasure: Erasure) -> Result<Erased, CommitError>;

    /// The erasure of a dossier, if it was erased.
    async fn erasure(&self, code: &DossierCode) -> Result<Option<Erasure>, ReadError>;

    /// Erased dossiers in the order of their codes, after `after`, at most `limit`.
    async fn erased(&self, after: Option<&DossierCode>, limit: usize) -> Result<Vec<DossierCode>, ReadError>;

    /// What is left of a dossier that was archived; `None` when it was not.
    async fn archived(&self, code: &DossierCode) -> Result<Option<Archived>, ReadError>;

    /// Archive files on record, in the order of their records, after that of `after`, at most `limit`.
    async fn archives(&self, after: Option<u64>, limit: usize) -> Result<Vec<ArchiveOnRecord>, ReadError>;

    /// The identifiers of the documents that went with the dossiers archived by the record at `position`.
    async fn archived_documents(&self, position: u64) -> Result<Vec<u64>, ReadError>;

    /// All that goes into an archive for a dossier; `None` unless it is closed and nothing of it is owed to anybody.
    async fn material(&self, code: &DossierCode) -> Result<Option<Material>, ReadError>;

    /// A record as it was journalled, for an archive: content stays sealed.
    async fn record(&self, position: u64) -> Result<Bytes, ReadError>;

    /// Which journal this is.
    fn journal(&self) -> Result<[u8; 16], ReadError>;

    /// How a dossier stands; `None` also when it was archived.
    async fn dossier(&self, code: &DossierCode) -> Result<Option<Arc<Dossier>>, ReadError>;

    /// The dossier that carries `alias`.
    async fn by_alias(&self, alias: &str) -> Result<Option<DossierCode>, ReadError>;

    /// What was answered to `key` of `party`, for as long as the dossier is kept.
    async fn by_key(&self, party: &PartyId, key: &RequestKey) -> Result<Option<Answered>, ReadError>;

    /// One event of a dossier.
    async fn event(&self, code: &DossierCode, sequence: u32, bodies: Bodies) -> Result<Option<Recorded>, ReadError>;

    /// The events of a dossier after `after`, in order, at most `limit`; fewer where their bodies are larger together than
    /// [`BODIES_BYTES`], but at least one if there is one.
    async fn events(
        &self,
        code: &DossierCode,
        after: u32,
        limit: usize,
        bodies: Bodies,
    ) -> Result<Vec<Recorded>, ReadError>;

    /// The dossiers that concern a party, newest change first.
    async fn list(&self, query: &ListQuery) -> Result<Page, ReadError>;

    /// Takes the next number of `authority` on `day`, at most `last`. Never the same twice, by any number of callers and
    /// processes, and never one that the authority has chosen itself; a number whose commit failed may stay unused.
    async fn take_number(&self, authority: &PartyId, day: Date, last: u32) -> Result<u32, NumberError>;

    /// Leaves a number to the authority, which has chosen it itself, so that it is neither taken nor leased from then on, nor
    /// any above it. It is recorded with the dossier, and kept by this process until then.
    ///
    /// # Errors
    /// [`NumberError::Given`] when it was, or could have been, taken or leased before.
    async fn leave_number(&self, authority: &PartyId, day: Date, number: u32) -> Result<(), NumberError>;

    /// Leases the next numbers to a desk, durable when answered: as many as are wanted, or as many as there are.
    async fn lease_numbers(&self, wanted: &BlockWanted, now: SystemTime) -> Result<Range<u32>, NumberError>;

    /// The blocks of `epoch` that were leased to `desk`, whatever its spool, and have numbers that no dossier has come in under.
    async fn blocks(&self, authority: &PartyId, day: Date, desk: &PartyId, epoch: u32)
    -> Result<Vec<Block>, ReadError>;

    /// Whether `number` is in one of [`Store::blocks`]. A block of another epoch is void.
    async fn is_leased(
        &self,
        authority: &PartyId,
        day: Date,
        desk: &PartyId,
        epoch: u32,
        number: u32,
    ) -> Result<bool, ReadError>;

    /// The epoch of the books: 1, and a greater number every time they are restored from a backup.
    async fn epoch(&self) -> Result<u32, ReadError>;

    /// Deliveries not yet taken over by `party` and not parked, oldest first, after `after`, at most `limit`.
    async fn waiting(
        &self,
        party: &PartyId,
        after: Option<InboxPosition>,
        limit: usize,
    ) -> Result<Vec<Waiting>, ReadError>;

    /// What a party has waiting and taken over, in figures.
    async fn backlog(&self, party: &PartyId) -> Result<Backlog, ReadError>;

    /// The stage of one delivery; `None` when it is not owed (never was, or was handed over).
    async fn delivery_stage(
        &self,
        party: &PartyId,
        code: &DossierCode,
        sequence: u32,
    ) -> Result<Option<DeliveryStage>, ReadError>;

    /// How the deliveries of a dossier to `party` stand together.
    async fn lane(&self, party: &PartyId, code: &DossierCode) -> Result<Lane, ReadError>;

    /// What was taken over for `party` and not handed over, oldest first, after `after`; of at most `limit` looked at, so that
    /// nobody is kept from other work for long.
    async fn taken_over(
        &self,
        party: &PartyId,
        after: Option<InboxPosition>,
        limit: usize,
    ) -> Result<Vec<TakenOver>, ReadError>;

    /// The deliveries of a dossier from `from` on that were taken over for `party` and not handed over, in order.
    async fn taken_over_of(&self, party: &PartyId, code: &DossierCode, from: u32) -> Result<Vec<u32>, ReadError>;

    /// The dossiers parked for any of `parties`, or for anybody, the longest parked first, after `after`, at most `limit`.
    async fn parked(
        &self,
        parties: Option<&[PartyId]>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ParkedStanding>, ReadError>;

    /// A dossier as it is parked for `party`; `None` when it is not.
    async fn parked_dossier(&self, party: &PartyId, code: &DossierCode) -> Result<Option<ParkedStanding>, ReadError>;

    /// What was done about a dossier that was parked for `party`, oldest first, the newest `limit`; with the grounds, as far as
    /// they are not erased.
    async fn handled(&self, party: &PartyId, code: &DossierCode, limit: usize) -> Result<Vec<Handled>, ReadError>;

    /// A complete document that `party` uploaded.
    async fn document(&self, party: &PartyId, sha256: &Sha256Digest) -> Result<Option<DocumentMeta>, ReadError>;

    /// A complete document by its identifier.
    async fn document_by_id(&self, id: u64) -> Result<Option<DocumentMeta>, ReadError>;

    /// The registry version `number`, or the newest.
    async fn registry(&self, number: Option<u64>) -> Result<Option<RegistryRecord>, ReadError>;

    /// What was administered, newest first. A page may be short, or empty, and not be the last.
    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, ReadError>;

    /// Whether the certificate with this digest is on record.
    async fn knows_certificate(&self, digest: &Sha256Digest) -> Result<bool, ReadError>;

    /// A certificate on record (DER).
    async fn certificate(&self, digest: &Sha256Digest) -> Result<Option<Bytes>, ReadError>;

    /// The system that a certificate on record names; the gateway's own are recorded under [`OWN_NAME`].
    async fn certificate_holder(&self, digest: &Sha256Digest) -> Result<Option<String>, ReadError>;

    /// A join token as it stands; `None` when there never was one of this name.
    async fn token(&self, id: &TokenId) -> Result<Option<Token>, ReadError>;

    /// Tokens that are neither spent nor withdrawn and expire at or after `from`, the first to expire first, at most `limit`.
    async fn open_tokens(&self, from: SystemTime, limit: usize) -> Result<Vec<TokenIssued>, ReadError>;

    /// A certificate that was issued here or seen.
    async fn known_certificate(&self, digest: &Sha256Digest) -> Result<Option<KnownCertificate>, ReadError>;

    /// The certificates of a key that were issued here or seen, at most `limit`.
    async fn certificates_of_key(&self, key: &Sha256Digest, limit: usize) -> Result<Vec<Sha256Digest>, ReadError>;

    /// The certificates of a system that were issued here or seen, each with its key, in the order of their digests, after `after`,
    /// at most `limit`.
    async fn certificates_of_system(
        &self,
        system: &str,
        after: Option<&Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<(Sha256Digest, Sha256Digest)>, ReadError>;

    /// The certificates that were issued here or seen, in the order in which they expire.
    async fn certificates(&self, query: &CertificateQuery) -> Result<CertificatePage, ReadError>;

    /// When a key was put out of force; `None` while it is in force.
    async fn revocation(&self, key: &Sha256Digest) -> Result<Option<CertificateRevoked>, ReadError>;

    /// The keys out of force in their order, after `after`, at most `limit`.
    async fn revoked_keys(&self, after: Option<&Sha256Digest>, limit: usize) -> Result<Vec<Sha256Digest>, ReadError>;

    /// A query on record, with its content.
    async fn query(&self, id: &QueryId) -> Result<Option<QueryRecord>, ReadError>;

    /// Queries without content, newest first, before the position `before`, at most `limit`.
    async fn queries(&self, of: &QueriesOf, before: Option<u64>, limit: usize) -> Result<QueryPage, ReadError>;

    /// Queries without content that were recorded for a dossier after the event before `sequence` and before that event, newest first, at
    /// most `limit`.
    async fn look_ups(&self, code: &DossierCode, sequence: u32, limit: usize) -> Result<Vec<QueryRecord>, ReadError>;

    /// How often was asked, and how many dossiers were taken in.
    async fn counts(&self, wanted: &CountsWanted) -> Result<CountsSum, ReadError>;

    /// What was asked before `until` for dossiers that have not come in, oldest first, at most `limit`.
    async fn open_matters(&self, until: SystemTime, limit: usize) -> Result<Vec<OpenMatter>, ReadError>;

    /// Records that a matter has lapsed, then destroys its key. `false`, and nothing is done, when its dossier has come in.
    async fn lapse(&self, lapsed: MatterLapsed) -> Result<bool, CommitError>;

    /// The keyed hash by which a citizen is known in envelopes: equal for equal texts on this node, and of use to nobody who does
    /// not have its key.
    fn subject_hash(&self, text: &[u8]) -> Result<[u8; 32], ReadError>;

    /// A fresh data key for a document, durable before it is handed out; its identifier goes into [`DocumentMeta`].
    async fn new_key(&self) -> Result<(u64, DataKey), ReadError>;

    /// The data key `id`; `None` when it was destroyed.
    async fn key(&self, id: u64) -> Result<Option<DataKey>, ReadError>;

    /// Figures for operators.
    fn figures(&self) -> Figures;

    /// Finishes what waits, makes everything durable and lets go of the files. Later calls fail.
    async fn close(&self);
}

/// A block of numbers to be leased.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BlockWanted {
    /// In whose name.
    pub authority: PartyId,
    /// On which business day.
    pub day: Date,
    /// To whom.
    pub desk: PartyId,
    /// The spool that will give them out.
    pub spool: SpoolId,
    /// The epoch in which they are good.
    pub epoch: u32,
    /// How many; at least 1.
    pub count: u32,
    /// The last number that may be leased.
    pub last: u32,
}
/// Under which name the gateway's own certificates are on record. No system is called so: it is no name of one.
pub const OWN_NAME: &str = "(gateway)";

/// One atomic write.
#[derive(Clone, Debug)]
pub enum Commit {
    /// An event and all that comes with it.
    Admission(Box<Admission>),
    /// A party's acknowledgements.
    Acknowledgement(Acknowledgement),
    /// A document that is complete and durable in the document store.
    Document(DocumentMeta),
    /// A registry version.
    Registry(RegistryRecord),
    /// A certificate seen for the first time.
    Certificate {
        /// SHA-256 of the DER.
        digest: Sha256Digest,
        /// The certificate.
        der: Bytes,
        /// The system it names.
        system: String,
        /// When, by the machine clock.
        at: SystemTime,
    },
    /// A join token is issued.
    TokenIssued(TokenIssued),
    /// A join token is taken back. A [`CommitError::Conflict`] unless it is open.
    TokenWithdrawn(TokenWithdrawn),
    /// A certificate is issued. A [`CommitError::Conflict`] when the token over which it is issued is not open, or of an
    /// earlier epoch.
    CertificateIssued(CertificateIssued),
    /// Keys are put out of force.
    CertificateRevoked(CertificateRevoked),
    /// Deliveries that are owed again.
    GivenBack(GivenBack),
    /// A dossier is parked for a party, from a delivery on that must still be owed. One that is parked already from there or
    /// from before stays as it is.
    Parked(Parked),
    /// Something done about a parked dossier. A [`CommitError::Conflict`] when that delivery is not what it is parked for.
    Handled(Handled),
    /// The books were restored and begin a new epoch. Its number must be greater than the one in force; there may be epochs
    /// between them that were lost.
    Epoch(EpochStarted),
    /// Closed dossiers leave the indexes for an archive file that is durable. A [`CommitError::Conflict`] unless every one of
    /// them is still as it was written there, and nothing of it is owed.
    Archived(Archiving),
    /// The books were copied out of the node. A copy that is on record already stays as it is.
    Exported(Exported),
    /// What became of a question that was sent to a connector.
    Query(Box<QueryEnded>),
}

/// That a dossier's content is erased: who decided so, and by which ground.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Erasure {
    /// The dossier.
    pub code: DossierCode,
    /// The data keys that are destroyed. Filled in by the engine.
    pub key_ids: Vec<u64>,
    /// In whose name.
    pub party: PartyId,
    /// The operator.
    pub actor: ActorId,
    /// The system.
    pub system: String,
    /// The ground, a word that names a decision and no person.
    pub ground: String,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// What an erasure came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Erased {
    /// As it is on record.
    pub erasure: Erasure,
    /// Whether it had been recorded before.
    pub repeated: bool,
}

/// An event with its proof and its answer.
#[derive(Clone)]
pub struct Admission {
    /// What was decided. Its sequence must follow the dossier's.
    pub event: Event,
    /// The key the sender gave.
    pub request_key: RequestKey,
    /// The body bytes as received; sealed by the engine with the dossier's key.
    pub body: Bytes,
    /// SHA-256 of `body`.
    pub body_sha256: Sha256Digest,
    /// The sender's signature over the body.
    pub signature: Bytes,
    /// SHA-256 of the certificate whose key signed.
    pub certificate: Sha256Digest,
    /// The system whose certificate it is.
    pub system: String,
    /// W3C traceparent of the call, if it had one.
    pub traceparent: Option<String>,
    /// When it was admitted, by the machine clock.
    pub admitted_at: SystemTime,
    /// What the caller is answered.
    pub answer: Answer,
    /// When it was first admitted, if it comes back after a restore with the receipt it got then.
    pub first_admitted_at: Option<SystemTime>,
}

impl fmt::Debug for Admission {
    /// Leaves out the body: it names people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("event", &self.event)
            .field("request_key", &self.request_key)
            .field("body_sha256", &self.body_sha256)
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

/// What the caller of a submission or an entry gets, now and at every repeat.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// A serialized `lgsp.v1.Receipt`.
    pub receipt: Bytes,
    /// The gateway's signature over it.
    pub signature: Bytes,
    /// SHA-256 of the gateway certificate whose key signed.
    pub certificate: Sha256Digest,
    /// Warnings given with it: stable word and field.
    pub warnings: Vec<(String, String)>,
}

/// What a key was used for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answered {
    /// SHA-256 of the body it came with.
    pub body_sha256: Sha256Digest,
    /// The dossier.
    pub code: DossierCode,
    /// The event.
    pub sequence: u32,
    /// The answer.
    pub answer: Answer,
}

/// Whether the sealed bodies are wanted too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bodies {
    /// Open them.
    With,
    /// Leave them sealed.
    Without,
}

/// An event as it was recorded.
#[derive(Clone)]
pub struct Recorded {
    /// The clear envelope.
    pub event: v1::Event,
    /// The body, when asked for and not erased.
    pub body: Option<Bytes>,
    /// True when the dossier's key was destroyed.
    pub erased: bool,
    /// The sender's signature over the body.
    pub signature: Bytes,
    /// SHA-256 of the certificate whose key signed.
    pub certificate: Sha256Digest,
}

impl fmt::Debug for Recorded {
    /// Leaves out the body: it names people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("event", &self.event).field("erased", &self.erased).finish_non_exhaustive()
    }
}

/// Which dossiers are wanted.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Only those that concern this party; `None` for all, which only operators and auditors may ask.
    pub party: Option<PartyId>,
    /// Any of these; empty for all.
    pub statuses: Vec<Status>,
    /// Only this procedure.
    pub procedure: Option<ProcedureCode>,
    /// Only this authority.
    pub competent_authority: Option<PartyId>,
    /// Only this intake desk.
    pub intake_desk: Option<PartyId>,
    /// Received at or after.
    pub received_from: Option<BusinessTime>,
    /// Received before.
    pub received_to: Option<BusinessTime>,
    /// Only non-territorial ones.
    pub only_non_territorial: bool,
    /// Only those late at this time.
    pub only_late_at: Option<BusinessTime>,
    /// At most this many, 1–200.
    pub limit: usize,
    /// Where the previous page ended.
    pub cursor: Option<Cursor>,
}

/// Where a page ended: the last dossier that was looked at for it, by update time and code. Opaque to callers once encoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// That dossier's `updated_at`.
    pub updated_at: BusinessTime,
    /// Its code.
    pub code: DossierCode,
}

/// One page of dossiers.
#[derive(Clone, Debug)]
pub struct Page {
    /// The dossiers.
    pub dossiers: Vec<Arc<Dossier>>,
    /// Where to go on; `None` on the last page. A page may be short, or empty, and not be the last.
    pub next: Option<Cursor>,
}

/// Orders the deliveries of one party. Not comparable between parties.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InboxPosition(pub u64);

/// A delivery not yet taken over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// Where it stands in the party's inbox.
    pub position: InboxPosition,
    /// The dossier.
    pub code: DossierCode,
    /// The event.
    pub sequence: u32,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeliveryStage {
    /// Not yet taken over.
    Waiting(InboxPosition),
    /// Durable at the party's adapter, not yet with its own system.
    TakenOver,
    /// Waiting for a person.
    Parked,
}

/// A party's inbox in figures.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    /// Not yet taken over, and not parked.
    pub waiting: u64,
    /// Taken over, not yet handed over.
    pub taken_over: u64,
    /// When the oldest waiting one was admitted (Unix milliseconds).
    pub oldest_admitted_ms: Option<i64>,
    /// Dossiers parked.
    pub parked_dossiers: u64,
    /// Their deliveries.
    pub parked_deliveries: u64,
}

/// Acknowledgements of one party at one stage. Those that are not owed any more are ignored.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// The party.
    pub party: PartyId,
    /// What it says.
    pub stage: Stage,
    /// Which deliveries.
    pub deliveries: Vec<(DossierCode, u32)>,
    /// Who says so; what is taken over is held there.
    pub holder: Holder,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// What an acknowledgement says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The adapter has it, synced.
    TakenOver,
    /// The agency's own system has it.
    HandedOver,
}

/// A complete document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DocumentMeta {
    /// Its identifier in the document store.
    pub id: u64,
    /// Who uploaded it.
    pub party: PartyId,
    /// The clerk.
    pub actor: ActorId,
    /// The system.
    pub system: String,
    /// SHA-256 of the content.
    pub sha256: Sha256Digest,
    /// Size of the content.
    pub size_bytes: u64,
    /// What kind of content it is.
    pub media_type: MediaType,
    /// The data key that seals it.
    pub key_id: u64,
    /// When it was complete, by the machine clock.
    pub stored_at: SystemTime,
    /// The dossier it belongs to, once an event attached it. Ignored when committed.
    pub dossier: Option<DossierCode>,
}

/// A registry version as applied.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryRecord {
    /// Number, digest, when and by whom.
    pub version: v1::RegistryVersion,
    /// The files.
    pub files: Vec<v1::RegistryFile>,
}

/// Figures of a store. All are levels, read at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// Dossiers known, without those that were archived.
    pub dossiers: u64,
    /// Dossiers archived.
    pub archived: u64,
    /// Events recorded, those of archived dossiers as well.
    pub events: u64,
    /// Deliveries not yet taken over.
    pub waiting: u64,
    /// Deliveries taken over, not yet handed over.
    pub taken_over: u64,
    /// Deliveries of parked dossiers.
    pub parked: u64,
    /// Commits waiting for the committer.
    pub queued: u64,
    /// The last durable journal position.
    pub durable: u64,
    /// The journal position up to which the indexes are written.
    pub applied: u64,
    /// True when nothing can be written any more until a restart.
    pub read_only: bool,
    /// Why nothing is begun just now: the disk is nearly full. Ends by itself.
    pub shortage: Option<Shortage>,
}

/// Why a commit did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Lost a race. Nothing was written; read and decide again.
    #[error("another commit came first")]
    Conflict,
    /// Too many commits wait. Nothing was written.
    #[error("too many commits are waiting")]
    Full,
    /// The dossier's content was erased, and nothing more is recorded about it. Nothing was written.
    #[error("the dossier was erased")]
    Erased,
    /// The record is longer than the journal takes. Nothing was written.
    #[error("the record is too long")]
    TooLong,
    /// The disk is nearly full. Nothing was written; it goes on by itself when there is room.
    #[error(transparent)]
    Disk(#[from] Shortage),
    /// The store takes no writes any more. Nothing was written.
    #[error("the store is read-only")]
    ReadOnly,
    /// The write was begun and failed: whether it is durable is not known. Only the same request key can tell.
    #[error("the write failed, its outcome is unknown")]
    Unknown,
}

/// Why a read did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is stored does not make sense; `lgsp fsck` locates it.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A record is of a kind that this program does not know. Nothing is wrong with it; run the version that wrote it.
    #[error("record {position} was written by a later version")]
    Later {
        /// Where it stands.
        position: u64,
    },
    /// The engine failed.
    #[error("the store failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why no number was given.
#[derive(Debug, thiserror::Error)]
pub enum NumberError {
    /// The authority's numbers of the day are used up.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The number was given out otherwise.
    #[error(transparent)]
    Given(#[from] Given),
    /// The lease could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The counter could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use super::contract::sample::{admission, body, code, opened};
    use super::*;

    #[test]
    fn debug_output_shows_no_body() {
        let admission = admission(opened(1));
        let written = admission.body.clone();
        assert_eq!(written, body(&code(1), 1));
        let recorded = Recorded {
            event: v1::Event::default(),
            body: Some(written.clone()),
            erased: false,
            signature: Bytes::new(),
            certificate: admission.certificate,
        };
        let printed = format!("{:?} {recorded:?}", Commit::Admission(Box::new(admission)));
        let text = format!("{written:?}");
        assert!(!printed.contains(text.trim_matches(['b', '"'])), "{printed}");
    }
}
