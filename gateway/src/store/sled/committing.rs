//! Committing: claim, check, seal, write, project, answer.
//!
//! The order carries the promises. The claim comes before the check, so that nothing can slip in between; the projection
//! comes before the answer, so that whoever was answered is seen by every later read; the claim is let go of last.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::Date;
use lgsp_domain::numbering::Counter;
use lgsp_journal::group::{GroupCommit, Handle, Poisoned, SubmitError};
use lgsp_journal::room::Room;
use lgsp_journal::seal::KeyRing;
use lgsp_journal::{Position, Reader};
use lgsp_proto::store_v1::Totals;
use lgsp_proto::types::PartyId;
use prost::Message;
use tokio::sync::oneshot;
use tracing::error;

use super::super::claims::{Claim, Claims};
use super::super::codec::{self, Fact};
use super::super::counters::Counters;
use super::super::follower::{Follow, Follower};
use super::super::index::{self, fetch};
use super::super::keys::{self, Key, Owed};
use super::super::overlay::{Read, View};
use super::super::records::key_of;
use super::super::*;
use super::preparing::Preparing;

/// The open store.
pub(in crate::store) struct Inner<F: Follow = Follower> {
    pub(super) reader: Reader,
    pub(super) keys: Arc<KeyRing>,
    pub(super) preparing: Preparing,
    pub(super) index: F::Below,
    pub(super) follower: Arc<F>,
    pub(super) committer: Mutex<Option<GroupCommit<Pending>>>,
    pub(super) journal: Handle<Pending>,
    pub(super) claims: Claims,
    pub(super) counters: Counters,
    pub(super) projector: Arc<Projector<F>>,
    pub(super) room: Arc<Room>,
}

impl<F: Follow> std::fmt::Debug for Inner<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("durable", &self.reader.durable()).finish_non_exhaustive()
    }
}

/// A record on its way to the journal, with what it means.
#[derive(Debug)]
pub(in crate::store) struct Pending {
    bytes: Vec<u8>,
    fact: Fact,
}

impl AsRef<[u8]> for Pending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Turns records that are durable into changes that are visible. Runs on the committer's thread only, and while opening.
pub(super) struct Projector<F: Follow = Follower> {
    index: F::Below,
    follower: Arc<F>,
    totals: Mutex<Totals>,
    /// A record could not be projected: what is on disk is right, what is shown no longer is.
    broken: AtomicBool,
}

impl<F: Follow> Projector<F> {
    pub(super) fn new(index: F::Below, follower: Arc<F>) -> Result<Self, ReadError> {
        let view = View { overlay: follower.overlay(), base: &index };
        let totals = fetch(&view, &keys::Totals)?.unwrap_or_default();
        Ok(Self { index, follower, totals: Mutex::new(totals), broken: AtomicBool::new(false) })
    }

    /// Projects one record and makes it visible.
    pub(super) fn project(&self, position: Position, fact: &Fact) -> Result<(), index::Contradiction> {
        let view = View { overlay: self.follower.overlay(), base: &self.index };
        let steps = index::project(fact, position, &view)?;
        self.follower.push(position, steps);
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner) = fetch(&view, &keys::Totals)?.unwrap_or_default();
        Ok(())
    }

    /// Projects a batch that has just become durable.
    pub(super) fn apply(&self, batch: &[(Position, Pending)]) {
        for (position, pending) in batch {
            if self.is_broken() {
                return;
            }
            // sled may panic over its own files. Its state is not relied upon after that, only moved aside.
            let projected = catch_unwind(AssertUnwindSafe(|| self.project(*position, &pending.fact)));
            let failure = match projected {
                Ok(Ok(())) => continue,
                Ok(Err(contradiction)) => contradiction.to_string(),
                Err(_) => "the index panicked".to_owned(),
            };
            error!(%position, failure, "a durable record could not be projected; the store is read-only");
            self.broken.store(true, Ordering::Release);
        }
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire) || self.follower.has_failed()
    }
}

impl<F: Follow> Inner<F> {
    pub(super) async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        self.check_writable()?;
        self.check_room(&commit)?;
        let claim = self.claims.claim(claimed(&commit)).await;
        let (commit, key_id) = match self.check(commit) {
            Ok(Checked::Write(commit, key_id)) => (commit, key_id),
            Ok(Checked::Done) => return Ok(()),
            Ok(Checked::Conflict) => return Err(CommitError::Conflict),
            Ok(Checked::Erased) => return Err(CommitError::Erased),
            Err(error) => return Err(cannot_read(&error)),
        };
        let (commit, key_id) = match commit {
            Commit::Query(ended) => return self.record_query(*ended, claim).await,
            other => (other, key_id),
        };
        let (key_id, sealed_body) = match &commit {
            Commit::Admission(admission) => self.seal(admission, key_id)?,
            Commit::Handled(handled) => (0, self.seal_why(handled).map_err(|error| cannot_read(&error))?),
            _ => (0, Vec::new()),
        };
        self.write(Fact::of(commit, key_id), sealed_body, Some(claim)).await
    }

    /// Writes one record, and answers when it is durable and visible.
    pub(super) async fn write(
        &self,
        fact: Fact,
        sealed_body: Vec<u8>,
        claim: Option<Claim>,
    ) -> Result<(), CommitError> {
        let bytes = fact.record(sealed_body).encode_to_vec();
        let (answer, answered) = oneshot::channel();
        let (projector, follower) = (Arc::clone(&self.projector), Arc::clone(&self.follower));
        let done = move |written| {
            let outcome = match written {
                Ok(_) if projector.is_broken() => Err(CommitError::Unknown),
                Ok(position) => {
                    debug_assert!(follower.visible() >= position, "answered before it can be seen");
                    Ok(())
                }
                Err(Poisoned::OutcomeUnknown) => Err(CommitError::Unknown),
                Err(Poisoned::NotWritten) => Err(CommitError::ReadOnly),
            };
            drop(claim);
            // Whoever asked may be gone; what is written is written.
            let _ = answer.send(outcome);
        };
        self.journal.submit(Pending { bytes, fact }, done).map_err(refused)?;
        answered.await.unwrap_or(Err(CommitError::Unknown))
    }

    pub(super) fn check_writable(&self) -> Result<(), CommitError> {
        if self.reader.is_poisoned() || self.projector.is_broken() { Err(CommitError::ReadOnly) } else { Ok(()) }
    }

    /// What begins something needs more room than what ends it, or comes before it: an acknowledgement lets go of memory and of
    /// retries, so does what is parked, and without its certificate no gateway starts, nor a
    /// restored one without its epoch.
    fn check_room(&self, commit: &Commit) -> Result<(), CommitError> {
        let room = match commit {
            Commit::Acknowledgement(_)
            | Commit::GivenBack(_)
            | Commit::Parked(_)
            | Commit::Handled(_)
            | Commit::Epoch(_)
            | Commit::Archived(_)
            | Commit::Exported(_)
            // Nobody may be kept from putting a stolen key out of force.
            | Commit::TokenWithdrawn(_)
            | Commit::CertificateRevoked(_)
            | Commit::Certificate { .. } => self.room.for_the_end(),
            // Whoever cannot renew is out soon, and takes over nothing any more of what lies here.
            Commit::CertificateIssued(issued) if matches!(issued.over, IssuedOver::Renewal(_)) => self.room.for_the_end(),
            Commit::Admission(_)
            | Commit::Document(_)
            | Commit::Registry(_)
            | Commit::TokenIssued(_)
            | Commit::CertificateIssued(_) => self.room.for_more(),
            // It was asked; that must be known whatever the disk. Whoever begins one asks for more room first.
            Commit::Query(_) => self.room.for_the_end(),
        };
        Ok(room?)
    }

    /// Whether what the commit builds on still stands.
    fn check(&self, commit: Commit) -> Result<Checked, ReadError> {
        let view = self.view();
        let is_free = |key: Vec<u8>| Ok::<bool, ReadError>(view.get(&key)?.is_none());
        let mut key_id = None;
        let stands = match &commit {
            Commit::Admission(admission) => {
                let event = &admission.event;
                let held = self.held(&event.code)?;
                let last = held.as_ref().map_or(0, |held| held.dossier.sequence);
                if held.is_some() && fetch(&view, &keys::Erased(&event.code))?.is_some() {
                    return Ok(Checked::Erased);
                }
                let is_new = held.is_none();
                key_id = held.map(|held| held.key_id);
                if is_new {
                    // What was asked for it before is sealed already.
                    let matter = fetch(&view, &keys::Matter(&event.by, &intake_digest(&admission.request_key)))?;
                    key_id = matter.map(|matter| matter.key_id);
                }
                let mut stands = event.sequence == last + 1 && event.opening.is_some() == (last == 0);
                stands = stands && is_free(keys::Request(&event.by, &admission.request_key).encode())?;
                if let Some(opening) = &event.opening {
                    stands = stands && !self.is_archived(&event.code)?;
                    // Codes and aliases are names of one space: whoever asks by name must find one dossier.
                    stands = stands && is_free(keys::Alias(event.code.as_str()).encode())?;
                    for alias in &opening.aliases {
                        stands = stands && is_free(keys::Alias(alias.as_str()).encode())?;
                        stands = stands && !self.is_code(alias.as_str())?;
                    }
                }
                stands
            }
            Commit::Acknowledgement(acknowledgement) => {
                let owed = self.still_owed(acknowledgement)?;
                if owed.deliveries.is_empty() {
                    return Ok(Checked::Done);
                }
                return Ok(Checked::Write(Commit::Acknowledgement(owed), None));
            }
            Commit::GivenBack(given_back) => {
                let back = self.still_held(given_back)?;
                if back.deliveries.is_empty() {
                    return Ok(Checked::Done);
                }
                return Ok(Checked::Write(Commit::GivenBack(back), None));
            }
            Commit::Parked(parked) => {
                let lane = self.lane(&parked.party, &parked.code)?;
                let is_owed = self.delivery_stage(&parked.party, &parked.code, parked.sequence)?.is_some();
                if !is_owed || lane.parked.is_some_and(|from| from <= parked.sequence) {
                    return Ok(Checked::Done);
                }
                true
            }
            Commit::Handled(handled) => {
                let stage = self.delivery_stage(&handled.party, &handled.code, handled.sequence)?;
                let lane = self.lane(&handled.party, &handled.code)?;
                lane.parked == Some(handled.sequence) && stage == Some(DeliveryStage::Parked)
            }
            Commit::Document(meta) => is_free(keys::Document(meta.id).encode())?,
            Commit::Registry(record) => {
                let newest = fetch(&view, &keys::Totals)?.unwrap_or_default().newest_registry;
                record.version.number == newest + 1
            }
            Commit::Certificate { digest, .. } => {
                if self.knows_certificate(digest)? {
                    return Ok(Checked::Done);
                }
                true
            }
            Commit::TokenIssued(issued) => is_free(keys::Token(&issued.id).encode())?,
            Commit::TokenWithdrawn(withdrawn) => self.is_open(&withdrawn.id)?,
            Commit::CertificateIssued(issued) => match &issued.over {
                IssuedOver::Token(id) => self.is_open(id)? && self.is_of_this_epoch(id)?,
                IssuedOver::Renewal(_) => true,
            },
            Commit::CertificateRevoked(_) => true,
            Commit::Epoch(started) => started.number > index::epoch(&view)?.number,
            Commit::Archived(archiving) => self.may_be_archived(archiving)?,
            Commit::Query(ended) => is_free(keys::Query(&ended.envelope.id).encode())?,
            Commit::Exported(exported) => {
                if fetch(&view, &keys::Exported(&exported.identity))?.is_some() {
                    return Ok(Checked::Done);
                }
                true
            }
        };
        Ok(if stands { Checked::Write(commit, key_id) } else { Checked::Conflict })
    }

    /// Whether a dossier has `name` as its code.
    fn is_code(&self, name: &str) -> Result<bool, ReadError> {
        match name.parse() {
            Ok(code) => Ok(self.held(&code)?.is_some() || self.is_archived(&code)?),
            Err(_) => Ok(false),
        }
    }

    /// The acknowledgement without what it would not change.
    fn still_owed(&self, acknowledgement: &Acknowledgement) -> Result<Acknowledgement, ReadError> {
        let (view, party) = (self.view(), &acknowledgement.party);
        let mut seen = BTreeSet::new();
        let mut deliveries = Vec::new();
        for delivery @ (code, sequence) in &acknowledgement.deliveries {
            let Some(at) = fetch(&view, &keys::Event(code, *sequence))? else { continue };
            let is = |stage| {
                Ok::<_, ReadError>(fetch(&view, &keys::Delivery { stage, party, position: at.position })?.is_some())
            };
            let is_final = acknowledgement.stage == Stage::HandedOver;
            let owed = is(Owed::Waiting)? || (is_final && (is(Owed::TakenOver)? || is(Owed::Parked)?));
            if owed && seen.insert(at.position) {
                deliveries.push(delivery.clone());
            }
        }
        Ok(Acknowledgement { deliveries, ..acknowledgement.clone() })
    }

    /// What is given back, without what its holder does not have any more.
    fn still_held(&self, given_back: &GivenBack) -> Result<GivenBack, ReadError> {
        let (view, party) = (self.view(), &given_back.party);
        let holder = codec::deliveries::held(&given_back.holder);
        let mut deliveries = Vec::new();
        for delivery @ (code, sequence) in &given_back.deliveries {
            let Some(at) = fetch(&view, &keys::Event(code, *sequence))? else { continue };
            let key = keys::Delivery { stage: Owed::TakenOver, party, position: at.position };
            let held = fetch(&view, &key)?.and_then(|owed| owed.held);
            if held.is_some_and(|held| held == holder) {
                deliveries.push(delivery.clone());
            }
        }
        Ok(GivenBack { deliveries, ..given_back.clone() })
    }

    /// Seals a clerk's words with the dossier's key; nothing is left of them when the dossier was erased.
    fn seal_why(&self, handled: &Handled) -> Result<Vec<u8>, ReadError> {
        let Some(held) = self.held(&handled.code)? else { return Ok(Vec::new()) };
        let Some(key) = key_of(&self.keys, held.key_id)? else { return Ok(Vec::new()) };
        let context = codec::deliveries::why_context(handled.code.as_str(), handled.party.as_str());
        Ok(key.seal(context.as_bytes(), handled.why.as_bytes()))
    }

    /// Seals a body with the dossier's key, a fresh one for a dossier that is opened.
    fn seal(&self, admission: &Admission, key_id: Option<u64>) -> Result<(u64, Vec<u8>), CommitError> {
        let event = &admission.event;
        let (id, key) = match key_id {
            None => self.new_key().map_err(|error| cannot_read(&error))?,
            Some(id) => match key_of(&self.keys, id).map_err(|error| cannot_read(&error))? {
                Some(key) => (id, key),
                // Its key can be destroyed by a later backup's restore, too, and then there is no record of it.
                None => return Err(CommitError::Erased),
            },
        };
        let context = codec::body_context(event.code.as_str(), event.sequence);
        Ok((id, key.seal(context.as_bytes(), &admission.body)))
    }

    /// Does something with the counter of an authority's day; nobody else does at that moment.
    pub(super) fn of_counter<T>(
        &self,
        authority: &PartyId,
        day: Date,
        take: impl FnOnce(&mut Counter) -> Result<T, NumberError>,
    ) -> Result<T, NumberError> {
        self.counters.take(authority, day, |authority, day| self.recorded_counter(authority, day), take)
    }

    pub(super) fn figures(&self) -> Figures {
        let totals = *self.projector.totals.lock().unwrap_or_else(PoisonError::into_inner);
        Figures {
            dossiers: totals.dossiers,
            archived: totals.archived,
            events: totals.events,
            waiting: totals.waiting,
            taken_over: totals.taken_over,
            parked: totals.parked_deliveries,
            queued: self.journal.gauges().queue_depth(),
            durable: self.reader.durable().0,
            applied: self.follower.applied().0,
            read_only: self.check_writable().is_err(),
            shortage: self.room.for_more().err(),
        }
    }

    /// Finishes what waits and makes it durable, in the order in which it flows.
    pub(super) fn close(&self) {
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = committer.map(GroupCommit::stop) {
            // What was answered is durable; only the next start has more to look through.
            tracing::warn!(%error, "the journal was not closed in order");
        }
        self.follower.finish();
    }
}

/// What a check came to.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
enum Checked {
    /// Write this, sealed with this key of the dossier if it has one.
    Write(Commit, Option<u64>),
    /// It is so already.
    Done,
    Conflict,
    /// The dossier was erased.
    Erased,
}

/// The keys that only one commit under way may write.
fn claimed(commit: &Commit) -> Vec<Vec<u8>> {
    match commit {
        Commit::Admission(admission) => {
            let event = &admission.event;
            let aliases = event.opening.iter().flat_map(|opening| &opening.aliases);
            let mut claimed: Vec<Vec<u8>> = aliases.map(|alias| keys::Alias(alias.as_str()).encode()).collect();
            // Of a code and the same text as an alias of another dossier only one may be begun.
            claimed.extend(event.opening.is_some().then(|| keys::Alias(event.code.as_str()).encode()));
            claimed.push(keys::Dossier(&event.code).encode());
            claimed.push(keys::Request(&event.by, &admission.request_key).encode());
            claimed.extend(
                event
                    .opening
                    .is_some()
                    .then(|| keys::Matter(&event.by, &intake_digest(&admission.request_key)).encode()),
            );
            claimed
        }
        Commit::Document(meta) => vec![keys::Document(meta.id).encode()],
        Commit::Registry(_) => vec![keys::Totals.encode()],
        // Of two that decide about a parked dossier, only one may be begun.
        Commit::Parked(parked) => vec![keys::Lane(&parked.party, &parked.code).encode()],
        Commit::Handled(handled) => vec![keys::Lane(&handled.party, &handled.code).encode()],
        Commit::Epoch(_) => vec![keys::Epoch.encode()],
        Commit::Archived(archiving) => {
            archiving.archived.codes.iter().map(|code| keys::Dossier(code).encode()).collect()
        }
        Commit::Exported(exported) => vec![keys::Exported(&exported.identity).encode()],
        // With the dossier that comes in under the key, and with an erasure, only one of them may be under way.
        Commit::Query(ended) => {
            let Queried { party, intake, dossier, .. } = &ended.envelope;
            let matter = intake.iter().map(|intake| keys::Matter(party, intake).encode());
            matter.chain(dossier.iter().map(|code| keys::Dossier(code).encode())).collect()
        }
        Commit::TokenIssued(issued) => vec![keys::Token(&issued.id).encode()],
        Commit::TokenWithdrawn(withdrawn) => vec![keys::Token(&withdrawn.id).encode()],
        Commit::CertificateIssued(issued) => match &issued.over {
            // Of two that spend a token, or one that spends and one that withdraws it, only one may be begun.
            IssuedOver::Token(id) => vec![keys::Token(id).encode()],
            IssuedOver::Renewal(_) => Vec::new(),
        },
        // Said twice, these change nothing the second time.
        Commit::Acknowledgement(_)
        | Commit::GivenBack(_)
        | Commit::Certificate { .. }
        | Commit::CertificateRevoked(_) => Vec::new(),
    }
}

fn refused(error: SubmitError) -> CommitError {
    match error {
        SubmitError::Full => CommitError::Full,
        SubmitError::Stopped | SubmitError::Poisoned => CommitError::ReadOnly,
        SubmitError::TooLong => CommitError::TooLong,
    }
}

pub(super) fn cannot_read(error: &ReadError) -> CommitError {
    error!(error = error as &dyn std::error::Error, "a commit could not read what it builds on; nothing was written");
    CommitError::ReadOnly
}
