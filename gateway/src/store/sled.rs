//! The embedded engine: a journal that decides, and sled as the index over it.
//!
//! A commit is checked against what stands, sealed, written to the journal with one sync shared by many, projected into
//! the overlay, and only then answered; sled follows behind. So everything that was answered is in the journal, every read
//! sees it at once, and sled may lose or break whatever it likes: it is made again from the journal.
//!
//! ```text
//! commit ─ claim ─ check ─ seal ─▶ journal (sync) ─▶ projection ─▶ overlay ─▶ answer
//!                                                                     └─▶ follower ─▶ sled (checkpoints)
//! ```

mod archiving;
mod auditing;
mod certificates;
mod committing;
mod counts;
mod deliveries;
mod erasing;
mod opening;
mod preparing;
mod queries;
mod reading;
#[cfg(feature = "test-util")]
mod stepped;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use jiff::civil::Date;
use lgsp_domain::dossier::Dossier;
use lgsp_journal::Position;
use lgsp_journal::seal::DataKey;
use lgsp_proto::types::{DossierCode, PartyId, RequestKey, Sha256Digest};

use super::codec::{Fact, NumbersLeased};
use super::follower::{Follow, Follower};
use super::*;
use committing::Inner;
pub use opening::{Limits, OpenError, Options, Progress};
#[cfg(feature = "test-util")]
pub use stepped::SteppedStore;

/// The embedded engine.
pub type SledStore = Embedded<Follower>;

/// The embedded engine with an index that follows in one way or another: behind the journal in sled, or, in simulations,
/// in memory only.
#[derive(Debug)]
#[expect(private_bounds, reason = "no way to follow comes from outside")]
pub struct Embedded<F: Follow> {
    /// Empty once closed.
    inner: ArcSwapOption<Inner<F>>,
}

/// The store was closed; nothing was read or written.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
struct Closed;

impl From<Closed> for ReadError {
    fn from(closed: Closed) -> Self {
        ReadError::Engine(closed.into())
    }
}

impl From<Closed> for CommitError {
    fn from(_: Closed) -> Self {
        CommitError::ReadOnly
    }
}

#[expect(private_bounds, reason = "no way to follow comes from outside")]
impl<F: Follow> Embedded<F> {
    fn inner(&self) -> Result<Arc<Inner<F>>, Closed> {
        self.inner.load_full().ok_or(Closed)
    }

    /// The highest number that is known to have been, or may have been, given out on any of `days`, of any authority.
    ///
    /// # Errors
    /// The index could not be read.
    pub fn highest_number(&self, days: &std::ops::RangeInclusive<Date>) -> Result<u32, ReadError> {
        self.inner()?.highest_number(days)
    }

    /// Runs a read that walks many keys or opens bodies where it holds up nobody else.
    async fn walk<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Inner<F>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let inner = self.inner()?;
        if !F::IN_BACKGROUND {
            return read(&inner);
        }
        let walked = tokio::task::spawn_blocking(move || read(&inner)).await;
        walked.map_err(|error| ReadError::Engine(error.into()))?
    }
}

// A point read touches a page or two, mostly in memory, and runs where it is called.
#[async_trait]
impl<F: Follow> Store for Embedded<F> {
    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.inner()?.commit(commit).await
    }

    async fn erase(&self, erasure: Erasure) -> Result<Erased, CommitError> {
        self.inner()?.erase(erasure).await
    }

    async fn erasure(&self, code: &DossierCode) -> Result<Option<Erasure>, ReadError> {
        self.inner()?.erasure(code)
    }

    async fn erased(&self, after: Option<&DossierCode>, limit: usize) -> Result<Vec<DossierCode>, ReadError> {
        self.inner()?.erased(after, limit)
    }

    async fn archived(&self, code: &DossierCode) -> Result<Option<Archived>, ReadError> {
        self.inner()?.archived(code)
    }

    async fn archives(&self, after: Option<u64>, limit: usize) -> Result<Vec<ArchiveOnRecord>, ReadError> {
        self.inner()?.archives(after, limit)
    }

    async fn archived_documents(&self, position: u64) -> Result<Vec<u64>, ReadError> {
        self.walk(move |inner| inner.archived_documents(position)).await
    }

    async fn material(&self, code: &DossierCode) -> Result<Option<Material>, ReadError> {
        let code = code.clone();
        self.walk(move |inner| inner.material(&code)).await
    }

    async fn record(&self, position: u64) -> Result<Bytes, ReadError> {
        Ok(self.inner()?.bytes(Position(position))?.into())
    }

    fn journal(&self) -> Result<[u8; 16], ReadError> {
        Ok(self.inner()?.reader.journal().0)
    }

    async fn dossier(&self, code: &DossierCode) -> Result<Option<Arc<Dossier>>, ReadError> {
        self.inner()?.dossier(code)
    }

    async fn by_alias(&self, alias: &str) -> Result<Option<DossierCode>, ReadError> {
        self.inner()?.by_alias(alias)
    }

    async fn by_key(&self, party: &PartyId, key: &RequestKey) -> Result<Option<Answered>, ReadError> {
        self.inner()?.by_key(party, key)
    }

    async fn event(&self, code: &DossierCode, sequence: u32, bodies: Bodies) -> Result<Option<Recorded>, ReadError> {
        self.inner()?.event(code, sequence, bodies)
    }

    async fn events(
        &self,
        code: &DossierCode,
        after: u32,
        limit: usize,
        bodies: Bodies,
    ) -> Result<Vec<Recorded>, ReadError> {
        let code = code.clone();
        self.walk(move |inner| inner.events(&code, after, limit, bodies)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, ReadError> {
        let query = query.clone();
        self.walk(move |inner| inner.list(&query)).await
    }

    async fn take_number(&self, authority: &PartyId, day: Date, last: u32) -> Result<u32, NumberError> {
        let inner = self.inner().map_err(ReadError::from)?;
        inner.of_counter(authority, day, |counter| Ok(counter.take(last)?))
    }

    async fn leave_number(&self, authority: &PartyId, day: Date, number: u32) -> Result<(), NumberError> {
        let inner = self.inner().map_err(ReadError::from)?;
        inner.of_counter(authority, day, |counter| Ok(counter.leave_to_authority(number)?))
    }

    async fn lease_numbers(&self, wanted: &BlockWanted, now: SystemTime) -> Result<Range<u32>, NumberError> {
        let inner = self.inner().map_err(ReadError::from)?;
        inner.check_writable()?;
        inner.room.for_more().map_err(CommitError::from)?;
        let BlockWanted { authority, day, desk, spool, epoch, count, last } = wanted.clone();
        let numbers = inner.of_counter(&authority, day, |counter| Ok::<_, NumberError>(counter.lease(count, last)?))?;
        let spool = Some(spool);
        let lease = NumbersLeased { authority, day, desk, spool, epoch, numbers: numbers.clone(), at: now };
        inner.write(Fact::NumbersLeased(lease), Vec::new(), None).await?;
        Ok(numbers)
    }

    async fn blocks(
        &self,
        authority: &PartyId,
        day: Date,
        desk: &PartyId,
        epoch: u32,
    ) -> Result<Vec<Block>, ReadError> {
        let blocks = self.inner()?.desk_blocks(authority, day, desk)?;
        Ok(blocks.as_slice().iter().filter(|block| block.epoch == epoch).cloned().collect())
    }

    async fn is_leased(
        &self,
        authority: &PartyId,
        day: Date,
        desk: &PartyId,
        epoch: u32,
        number: u32,
    ) -> Result<bool, ReadError> {
        Ok(self.inner()?.desk_blocks(authority, day, desk)?.has(number, epoch))
    }

    async fn epoch(&self) -> Result<u32, ReadError> {
        self.inner()?.epoch()
    }

    async fn waiting(
        &self,
        party: &PartyId,
        after: Option<InboxPosition>,
        limit: usize,
    ) -> Result<Vec<Waiting>, ReadError> {
        let party = party.clone();
        self.walk(move |inner| inner.waiting(&party, after, limit)).await
    }

    async fn backlog(&self, party: &PartyId) -> Result<Backlog, ReadError> {
        self.inner()?.backlog(party)
    }

    async fn delivery_stage(
        &self,
        party: &PartyId,
        code: &DossierCode,
        sequence: u32,
    ) -> Result<Option<DeliveryStage>, ReadError> {
        self.inner()?.delivery_stage(party, code, sequence)
    }

    async fn lane(&self, party: &PartyId, code: &DossierCode) -> Result<Lane, ReadError> {
        self.inner()?.lane(party, code)
    }

    async fn taken_over(
        &self,
        party: &PartyId,
        after: Option<InboxPosition>,
        limit: usize,
    ) -> Result<Vec<TakenOver>, ReadError> {
        let party = party.clone();
        self.walk(move |inner| inner.taken_over(&party, after, limit)).await
    }

    async fn taken_over_of(&self, party: &PartyId, code: &DossierCode, from: u32) -> Result<Vec<u32>, ReadError> {
        self.inner()?.taken_over_of(party, code, from)
    }

    async fn parked(
        &self,
        parties: Option<&[PartyId]>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ParkedStanding>, ReadError> {
        let parties = parties.map(<[PartyId]>::to_vec);
        self.walk(move |inner| inner.parked(parties.as_deref(), after, limit)).await
    }

    async fn parked_dossier(&self, party: &PartyId, code: &DossierCode) -> Result<Option<ParkedStanding>, ReadError> {
        self.inner()?.parked_dossier(party, code)
    }

    async fn handled(&self, party: &PartyId, code: &DossierCode, limit: usize) -> Result<Vec<Handled>, ReadError> {
        let (party, code) = (party.clone(), code.clone());
        self.walk(move |inner| inner.handled(&party, &code, limit)).await
    }

    async fn document(&self, party: &PartyId, sha256: &Sha256Digest) -> Result<Option<DocumentMeta>, ReadError> {
        self.inner()?.document(party, sha256)
    }

    async fn document_by_id(&self, id: u64) -> Result<Option<DocumentMeta>, ReadError> {
        self.inner()?.document_by_id(id)
    }

    async fn registry(&self, number: Option<u64>) -> Result<Option<RegistryRecord>, ReadError> {
        self.walk(move |inner| inner.registry(number)).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, ReadError> {
        let query = query.clone();
        self.walk(move |inner| inner.audit(&query)).await
    }

    async fn knows_certificate(&self, digest: &Sha256Digest) -> Result<bool, ReadError> {
        self.inner()?.knows_certificate(digest)
    }

    async fn certificate(&self, digest: &Sha256Digest) -> Result<Option<Bytes>, ReadError> {
        self.inner()?.certificate(digest)
    }

    async fn certificate_holder(&self, digest: &Sha256Digest) -> Result<Option<String>, ReadError> {
        self.inner()?.certificate_holder(digest)
    }

    async fn token(&self, id: &TokenId) -> Result<Option<Token>, ReadError> {
        self.inner()?.token(id)
    }

    async fn open_tokens(&self, from: SystemTime, limit: usize) -> Result<Vec<TokenIssued>, ReadError> {
        self.walk(move |inner| inner.open_tokens(from, limit)).await
    }

    async fn known_certificate(&self, digest: &Sha256Digest) -> Result<Option<KnownCertificate>, ReadError> {
        self.inner()?.known_certificate(digest)
    }

    async fn certificates_of_key(&self, key: &Sha256Digest, limit: usize) -> Result<Vec<Sha256Digest>, ReadError> {
        self.inner()?.certificates_of_key(key, limit)
    }

    async fn certificates_of_system(
        &self,
        system: &str,
        after: Option<&Sha256Digest>,
        limit: usize,
    ) -> Result<Vec<(Sha256Digest, Sha256Digest)>, ReadError> {
        let (system, after) = (system.to_owned(), after.copied());
        self.walk(move |inner| inner.certificates_of_system(&system, after.as_ref(), limit)).await
    }

    async fn certificates(&self, query: &CertificateQuery) -> Result<CertificatePage, ReadError> {
        let query = query.clone();
        self.walk(move |inner| inner.certificates(&query)).await
    }

    async fn revocation(&self, key: &Sha256Digest) -> Result<Option<CertificateRevoked>, ReadError> {
        self.inner()?.revocation(key)
    }

    async fn revoked_keys(&self, after: Option<&Sha256Digest>, limit: usize) -> Result<Vec<Sha256Digest>, ReadError> {
        let after = after.copied();
        self.walk(move |inner| inner.revoked_keys(after.as_ref(), limit)).await
    }

    async fn query(&self, id: &QueryId) -> Result<Option<QueryRecord>, ReadError> {
        let id = *id;
        self.walk(move |inner| inner.query(&id)).await
    }

    async fn queries(&self, of: &QueriesOf, before: Option<u64>, limit: usize) -> Result<QueryPage, ReadError> {
        let of = of.clone();
        self.walk(move |inner| inner.queries(&of, before, limit)).await
    }

    async fn look_ups(&self, code: &DossierCode, sequence: u32, limit: usize) -> Result<Vec<QueryRecord>, ReadError> {
        let code = code.clone();
        self.walk(move |inner| inner.look_ups(&code, sequence, limit)).await
    }

    async fn counts(&self, wanted: &CountsWanted) -> Result<CountsSum, ReadError> {
        let wanted = wanted.clone();
        self.walk(move |inner| inner.counts(&wanted)).await
    }

    async fn open_matters(&self, until: SystemTime, limit: usize) -> Result<Vec<OpenMatter>, ReadError> {
        self.walk(move |inner| inner.open_matters(until, limit)).await
    }

    async fn lapse(&self, lapsed: MatterLapsed) -> Result<bool, CommitError> {
        self.inner()?.lapse(lapsed).await
    }

    fn subject_hash(&self, text: &[u8]) -> Result<[u8; 32], ReadError> {
        Ok(self.inner()?.keys.keyed_hash("subject", text))
    }

    async fn new_key(&self) -> Result<(u64, DataKey), ReadError> {
        self.inner()?.new_key()
    }

    async fn key(&self, id: u64) -> Result<Option<DataKey>, ReadError> {
        self.inner()?.key(id)
    }

    fn figures(&self) -> Figures {
        self.inner().map_or_else(|Closed| Figures { read_only: true, ..Figures::default() }, |inner| inner.figures())
    }

    async fn close(&self) {
        let Some(inner) = self.inner.swap(None) else { return };
        // Joins threads and syncs files; whoever else still reads keeps its part open until it is done.
        let closed = tokio::task::spawn_blocking(move || inner.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "closing the store panicked");
        }
    }
}
