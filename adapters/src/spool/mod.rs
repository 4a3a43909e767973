//! The spool: what the agency's system wants sent, and what is to be given to it, durable on this machine.
//!
//! A call is answered to the agency's system, and a delivery acknowledged to the gateway, only after its record is synced.
//! The truth is the journal; the state in memory is what a replay of it gives. Contents are read from the journal when
//! they are needed, so memory holds a few hundred bytes for each call and delivery under way.

mod documents;
#[cfg(test)]
mod formats;
mod numbers;
mod offline;
mod records;
mod replay;
mod seal;
mod state;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use lgsp_journal::group::{self, GroupCommit, Handle};
use lgsp_journal::room::{Room, Shortage};
use lgsp_journal::{Files, MAX_RECORD_BYTES, Opened, Position, ReadError, Reader, RealFiles};
use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};
use lgsp_proto::types::PartyId;
use lgsp_proto::v1;
use prost::Message;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::digest::sha256;
use crate::lanes::Lanes;
use crate::trace::TraceParent;
pub(crate) use documents::{Documents, PutError};
pub(crate) use offline::{Exception, HandleError, Handling, OfflineFound};
pub(crate) use records::call_id;
use replay::{read, replay, restate};
use seal::SpoolKey;
pub use seal::SpoolKeyError;
pub(crate) use state::{CallId, CallKind, DeliveryId, Parcel, Returned, Stage};
use state::{Change, Progress, State};

/// What may be on its way to the disk at one time, in KiB. Whoever comes when that is used up waits.
const ROOM_KIB: u32 = 32 << 10;

/// The longest body of a call; with a form of 1 MiB and a thousand components there is still room.
pub(crate) const MAX_BODY_BYTES: usize = 2 << 20;

/// What a record has beside the delivery in it: its name, its time, the seal.
const RECORD_OVERHEAD: usize = 1024;

/// How the spool is kept.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Its folder, made if need be. One process at a time.
    pub(crate) folder: PathBuf,
    /// Calls that may wait for the gateway's answer.
    pub(crate) max_outgoing: NonZeroUsize,
    /// Deliveries that may wait for the agency's own system.
    pub(crate) max_incoming: NonZeroUsize,
    /// How long the outcome of a call can be asked for.
    pub(crate) keep_outcomes: Duration,
    /// Bytes of documents that may wait for their dossiers.
    pub(crate) max_document_bytes: u64,
    /// What must stay free of the folder's disk, or nothing new is taken in; 0 for as much as there is.
    pub(crate) min_free_bytes: u64,
    /// Finished records at the start that are worth writing the unfinished ones again for.
    pub(crate) restate_after: u64,
    /// To which place things are carried for each party.
    pub(crate) places: HashMap<PartyId, usize>,
}

/// Why the spool does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or its key file.
    #[error("the spool in {} cannot be opened", folder.display())]
    Folder {
        /// The spool's folder.
        folder: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// There is no key to open it with.
    #[error("the spool's key cannot be used")]
    Key(#[from] SpoolKeyError),
    /// The journal is damaged, or of a later version.
    #[error("the spool's journal cannot be opened")]
    Journal(#[from] lgsp_journal::OpenError),
    /// A record cannot be read back.
    #[error("a record of the spool cannot be read")]
    Record(#[from] RecordError),
    /// The unfinished records could not be written again.
    #[error("the spool could not be tidied up")]
    Restate(#[from] lgsp_journal::AppendError),
}

/// Why a record cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The journal does not give it.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// It was sealed with another key, or changed.
    #[error("record {0} was not sealed with this spool's key")]
    Seal(Position),
    /// A later version wrote it.
    #[error("record {0} was written by a later version")]
    Unknown(Position),
}

/// The disk failed. Whether the record will be found after a restart is unknown; nothing more is taken in until then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the spool cannot write any more")]
pub(crate) struct Broken;

/// Why a call was not taken in. Nothing was promised.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum QueueError {
    /// Too many calls wait for the gateway.
    #[error("too many calls wait for the gateway")]
    Full,
    /// The disk is nearly full.
    #[error(transparent)]
    Disk(#[from] Shortage),
    /// The key was used with other content.
    #[error("the key was used with other content")]
    KeyReused,
    /// The body is longer than [`MAX_BODY_BYTES`].
    #[error("the body is longer than the limit")]
    TooLarge,
    /// The disk failed.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Why a delivery was not taken over. It must not be acknowledged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TakeOverError {
    /// Too many deliveries wait for the agency's own system.
    #[error("too many deliveries wait for the agency's own system")]
    Full,
    /// The disk is nearly full.
    #[error(transparent)]
    Disk(#[from] Shortage),
    /// It does not name itself.
    #[error("the delivery has no name")]
    Nameless,
    /// It does not fit into a record.
    #[error("the delivery is longer than a record of the spool")]
    TooLarge,
    /// It, or an earlier one of its dossier, goes back to the gateway.
    #[error("the dossier's deliveries go back to the gateway")]
    Returning(Box<Returned>),
    /// The disk failed.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A call to be queued. No `Debug`: the body names the citizen.
#[derive(Clone)]
pub(crate) struct NewCall {
    pub(crate) id: CallId,
    pub(crate) kind: CallKind,
    /// The code or alias an entry is about.
    pub(crate) dossier: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) trace: TraceParent,
    /// What the citizen is told without a line.
    pub(crate) offline: Option<stored::OfflineIntake>,
}

/// A call as it was queued. No `Debug`, as above.
#[derive(Clone)]
pub(crate) struct QueuedCall {
    pub(crate) kind: CallKind,
    pub(crate) body: Bytes,
    pub(crate) trace: Option<TraceParent>,
    /// The receipt it got before the gateway's books were restored.
    pub(crate) earlier: Option<v1::SignedReceipt>,
}

/// The gateway's final answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Admitted(v1::SubmitResponse),
    /// A serialized `google.rpc.Status`.
    Refused(Bytes),
}

/// How a call stands.
#[derive(Clone, Debug)]
pub(crate) struct CallView {
    pub(crate) standing: Standing,
    pub(crate) attempts: u32,
    pub(crate) last_error: Option<Box<str>>,
    pub(crate) queued_at_ms: i64,
}

/// How far a call has come, for whoever asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    Queued,
    Sending,
    /// Where the answer is kept.
    Answered(Position),
}

/// What the operator wants to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) waiting: usize,
    pub(crate) oldest_waiting_ms: Option<i64>,
    pub(crate) admitted: usize,
    pub(crate) refused: usize,
    pub(crate) not_handed_over: usize,
    pub(crate) oldest_not_handed_over_ms: Option<i64>,
    pub(crate) unconfirmed: usize,
    pub(crate) returned: usize,
    /// Taken in without a line, and not answered by the gateway yet.
    pub(crate) offline_waiting: usize,
    /// Numbers given out whose intake was refused, and that no clerk has worked off.
    pub(crate) exceptions: usize,
}

/// See the module.
pub(crate) struct Spool {
    shared: Arc<Shared>,
    reader: Reader,
    key: SpoolKey,
    journal: Handle<Item>,
    committer: Mutex<Option<GroupCommit<Item>>>,
    room: Arc<Semaphore>,
    disk: Arc<Room>,
    documents: Documents,
    max_outgoing: usize,
    max_incoming: usize,
    keep_outcomes: Duration,
    broken: CancellationToken,
    /// Whether the epoch is known to be that of the gateway we speak with now.
    epoch_is_certain: AtomicBool,
    /// When a later epoch was first heard of, or the start that found what was to be sent again because of one.
    restored: Mutex<Option<Instant>>,
}

/// What the committer's thread and the callers share.
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

/// A record on its way to the disk.
struct Item {
    sealed: Vec<u8>,
    change: Change,
}

impl AsRef<[u8]> for Item {
    fn as_ref(&self) -> &[u8] {
        &self.sealed
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No holder panics between two statements that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|number| *number = number.wrapping_add(1));
    }

    /// Runs on the committer's thread once a batch is durable, before anybody is answered.
    fn applied(&self, batch: &[(Position, Item)]) {
        let mut state = self.state();
        for (position, item) in batch {
            if state.apply(*position, &item.change) {
                state.enqueue(*position, &item.change);
            }
        }
        drop(state);
        self.changed();
    }
}

impl Spool {
    /// Opens the spool, reads what is unfinished, and tidies up what is not. Blocks while it reads.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing that was answered is lost by it.
    pub(crate) fn open(options: &Options) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder { folder: options.folder.clone(), source };
        let files = RealFiles::open(options.folder.join("journal")).map_err(folder)?;
        Self::open_over(options, Arc::new(files))
    }

    /// As [`Spool::open`], with the journal in `files`.
    fn open_over(options: &Options, files: Arc<dyn Files>) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder { folder: options.folder.clone(), source };
        // First of all: on a full disk the rest needs what this gives up.
        let disk = Arc::new(Room::reserve(&options.folder, options.min_free_bytes).map_err(folder)?);
        let key = SpoolKey::open(&options.folder)?;
        let documents = options.folder.join("documents");
        let documents = Documents::open(documents, key.clone(), options.max_document_bytes, disk.clone());
        let documents = documents.map_err(folder)?;
        let Opened { mut writer, reader, recovered } = lgsp_journal::open(files, lgsp_journal::Options::default())?;
        if recovered.torn_bytes > 0 || recovered.copied > 0 {
            tracing::info!(recovered.copied, recovered.torn_bytes, "spool recovered after a crash");
        }

        let (mut state, from) = replay(&reader, &key, &options.places, Position::FIRST)?;
        let forget_before = forget_before(options.keep_outcomes);
        state.forget(forget_before);
        let needed = state.needed(forget_before);
        let marks = state.marks();
        let finished = state.records.saturating_sub((needed.len() + marks.len()) as u64);
        let mut first = from;
        if finished > options.restate_after && finished > needed.len() as u64 {
            first = restate(&mut writer, &reader, &key, &needed, marks)?;
            (state, _) = replay(&reader, &key, &options.places, first)?;
            tracing::info!(kept = needed.len(), finished, "spool tidied up");
        }
        if first > reader.first()
            && let Err(error) = writer.forget(first)
        {
            tracing::warn!(%error, "old segments of the spool could not be removed");
        }
        // Documents of what was admitted go first when room is needed, the oldest first.
        for (party, sha256) in state.admitted_documents() {
            documents.retire(&party, &sha256, state.names_document(&party, &sha256));
        }
        state.enqueue_all();
        let restored = (state.again > 0).then(Instant::now);

        let shared = Arc::new(Shared { state: Mutex::new(state), changes: watch::Sender::new(0) });
        let applied = shared.clone();
        // Room is given out in KiB, at least one for a record, so the queue behind it can never be full.
        let limits = group::Limits {
            queue_records: ROOM_KIB as usize + 1,
            queue_bytes: 2 * ROOM_KIB as usize * 1024,
            ..group::Limits::default()
        };
        let committer = GroupCommit::start(writer, limits, move |batch: &[(Position, Item)]| applied.applied(batch));
        let committer = committer.map_err(folder)?;
        // While there is room, what the next opening may need is set aside.
        let _ = disk.for_more();
        Ok(Self {
            shared,
            reader,
            key,
            journal: committer.handle(),
            committer: Mutex::new(Some(committer)),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
            disk,
            documents,
            max_outgoing: options.max_outgoing.get(),
            max_incoming: options.max_incoming.get(),
            keep_outcomes: options.keep_outcomes,
            broken: CancellationToken::new(),
            epoch_is_certain: AtomicBool::new(false),
            restored: Mutex::new(restored),
        })
    }

    /// Takes in nothing more, writes what waits, and closes. Blocks until that is done.
    pub(crate) fn close(&self) {
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = committer.map(GroupCommit::stop) {
            tracing::warn!(%error, "the spool was not closed in order; what was answered is safe");
        }
    }

    /// Wakes at every change of the state.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Cancelled when the disk has failed. Nothing can be promised any more; a restart looks what is there.
    pub(crate) fn broken(&self) -> &CancellationToken {
        &self.broken
    }

    /// Why nothing new is taken in just now: the disk is nearly full. Forwarding goes on, and makes room.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        self.disk.for_more().err()
    }

    /// The documents that wait for their dossiers.
    pub(crate) fn documents(&self) -> &Documents {
        &self.documents
    }

    // What the agency's own system wants sent.

    /// Takes a call in: durable when this returns. The same call again is the same call.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn queue(&self, call: NewCall) -> Result<CallView, QueueError> {
        if call.body.len() > MAX_BODY_BYTES {
            return Err(QueueError::TooLarge);
        }
        let body_sha256 = sha256(&call.body);
        let mut changes = self.changes();
        let reservation = loop {
            changes.mark_unchanged();
            {
                let mut state = self.shared.state();
                match state.calls.get(&call.id) {
                    Some(known) if known.body_sha256 != body_sha256 => return Err(QueueError::KeyReused),
                    Some(known) => {
                        if let Some(view) = view(known) {
                            return Ok(view);
                        }
                        // The same call is being made durable for somebody else; wait for what becomes of it.
                    }
                    None if state.unanswered >= self.max_outgoing => return Err(QueueError::Full),
                    None => {
                        self.disk.for_more()?;
                        state.reserve_call(&call.id, call.kind, body_sha256);
                        break CallReservation { shared: &self.shared, id: &call.id };
                    }
                }
            }
            // The sender lives as long as the spool.
            let _ = changes.changed().await;
        };
        let queued_at_ms = now_ms();
        self.write(Kind::Queued(stored::Queued {
            call: match call.kind {
                CallKind::Submit => stored::CallKind::Submit,
                CallKind::Record => stored::CallKind::Record,
            } as i32,
            acting_party: call.id.party.to_string(),
            request_key: call.id.key.to_string(),
            body: call.body.to_vec(),
            traceparent: call.trace.as_str().to_owned(),
            queued_at_unix_ms: queued_at_ms,
            dossier_code: call.dossier.clone().unwrap_or_default(),
            offline: call.offline.clone(),
        }))
        .await?;
        drop(reservation);
        let view = self.call(&call.id);
        Ok(view.unwrap_or(CallView { standing: Standing::Queued, attempts: 0, last_error: None, queued_at_ms }))
    }

    /// How a call stands; `None` if it is not known, or not any more.
    pub(crate) fn call(&self, id: &CallId) -> Option<CallView> {
        self.shared.state().calls.get(id).and_then(view)
    }

    /// The answer kept at `position`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(crate) fn outcome(&self, position: Position) -> Result<Outcome, RecordError> {
        let Some(Kind::Answered(answered)) = self.read(position)?.kind else {
            return Err(RecordError::Unknown(position));
        };
        match answered.outcome {
            Some(stored::answered::Outcome::Admitted(response)) => v1::SubmitResponse::decode(&response[..])
                .map(Outcome::Admitted)
                .map_err(|_| RecordError::Unknown(position)),
            Some(stored::answered::Outcome::Refused(status)) => Ok(Outcome::Refused(status.into())),
            None => Err(RecordError::Unknown(position)),
        }
    }

    /// Looks at the calls to be sent, or changes their lanes.
    pub(crate) fn outgoing<R>(&self, with: impl FnOnce(&mut Lanes<CallId>) -> R) -> R {
        with(&mut self.shared.state().outgoing)
    }

    /// What is to be sent for a call, and notes that it is being sent.
    ///
    /// # Errors
    /// See [`RecordError`]. `Ok(None)` when it is not waiting.
    pub(crate) fn begin_sending(&self, id: &CallId) -> Result<Option<QueuedCall>, RecordError> {
        let (position, earlier) = {
            let mut state = self.shared.state();
            let Some(call) = state.calls.get_mut(id) else { return Ok(None) };
            let Progress::Waiting { sending, attempts, earlier, .. } = &mut call.progress else { return Ok(None) };
            *sending = true;
            *attempts = attempts.saturating_add(1);
            (call.position, *earlier)
        };
        self.shared.changed();
        let earlier = match earlier.map(|earlier| self.outcome(earlier.position)).transpose()? {
            Some(Outcome::Admitted(answer)) => answer.receipt,
            Some(Outcome::Refused(_)) | None => None,
        };
        let Some(Kind::Queued(queued)) = self.read(position)?.kind else { return Err(RecordError::Unknown(position)) };
        let kind = match queued.call() {
            stored::CallKind::Submit => CallKind::Submit,
            stored::CallKind::Record => CallKind::Record,
            stored::CallKind::Unspecified => return Err(RecordError::Unknown(position)),
        };
        let (trace, body) = (TraceParent::parse(&queued.traceparent), queued.body.into());
        Ok(Some(QueuedCall { kind, trace, body, earlier }))
    }

    /// Notes that sending came to nothing for now. Kept in memory only: it is for whoever asks.
    pub(crate) fn not_sent(&self, id: &CallId, error: &str) {
        {
            let mut state = self.shared.state();
            let Some(call) = state.calls.get_mut(id) else { return };
            if let Progress::Waiting { sending, last_error, .. } = &mut call.progress {
                *sending = false;
                *last_error = Some(error.into());
            }
        }
        self.shared.changed();
    }

    /// Keeps the gateway's final answer: durable when this returns.
    ///
    /// # Errors
    /// [`Broken`]; the call will be sent again after the restart, which is safe.
    pub(crate) async fn answered(&self, id: &CallId, outcome: &Outcome) -> Result<(), Broken> {
        let admitted = matches!(outcome, Outcome::Admitted(_));
        let outcome = match outcome {
            Outcome::Admitted(response) => stored::answered::Outcome::Admitted(response.encode_to_vec()),
            Outcome::Refused(status) => stored::answered::Outcome::Refused(status.to_vec()),
        };
        self.write(Kind::Answered(stored::Answered {
            acting_party: id.party.to_string(),
            request_key: id.key.to_string(),
            outcome: Some(outcome),
            answered_at_unix_ms: now_ms(),
        }))
        .await?;
        self.release_documents(id, admitted);
        Ok(())
    }

    /// The gateway has decided a call, so of the documents it names it has what it wants. Those of an admitted one are kept as
    /// long as there is room: a gateway that is restored may have lost them.
    fn release_documents(&self, id: &CallId, admitted: bool) {
        let documents = self.shared.state().calls.get(id).map(|call| call.documents.clone()).unwrap_or_default();
        for sha256 in documents.iter() {
            let named = self.shared.state().names_document(&id.party, sha256);
            if admitted {
                self.documents.retire(&id.party, sha256, named);
            } else if let Err(error) = self.documents.release(&id.party, sha256, named) {
                tracing::warn!(party.id = %id.party, %error, "a document stays in the spool until it expires");
            }
        }
    }

    /// Notes that the agency's own system was told of an outcome: durable when this returns.
    ///
    /// # Errors
    /// [`Broken`]; it will be told again.
    pub(crate) async fn told(&self, id: &CallId) -> Result<(), Broken> {
        let (acting_party, request_key) = (id.party.to_string(), id.key.to_string());
        self.write(Kind::Told(stored::Told { acting_party, request_key })).await.map(drop)
    }

    /// The trace a call belongs to.
    pub(crate) fn trace_of(&self, id: &CallId) -> Option<TraceParent> {
        let position = self.shared.state().calls.get(id).map(|call| call.position)?;
        match self.read(position).ok()?.kind? {
            Kind::Queued(queued) => TraceParent::parse(&queued.traceparent),
            _ => None,
        }
    }

    /// Notes the epoch of the gateway we speak with: durable when this returns. If it has grown, whatever was admitted before is
    /// sent again, before anything new about the same dossier.
    ///
    /// # Errors
    /// [`Broken`]; it will be noted after the restart.
    pub(crate) async fn epoch_seen(&self, epoch: u32) -> Result<(), Broken> {
        let known = self.epoch();
        if epoch > known {
            self.write_epoch(epoch).await?;
            if known != 0 {
                let again = self.shared.state().again;
                tracing::warn!(epoch, again, "the gateway was restored; what it had admitted is sent again");
            }
        }
        self.epoch_is_certain.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes that the gateway is in a later epoch than the one known.
    async fn write_epoch(&self, epoch: u32) -> Result<(), Broken> {
        // The first one seen says nothing about what was before it.
        if self.epoch() != 0 {
            *self.restored.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.write(Kind::EpochSeen(stored::EpochSeen { epoch })).await.map(drop)
    }

    /// For how long it has been known that the gateway was restored; `None` when that was before this start, and nothing was
    /// left to be sent again then.
    pub(crate) fn restored_for(&self) -> Option<Duration> {
        self.restored.lock().unwrap_or_else(PoisonError::into_inner).map(|restored| restored.elapsed())
    }

    /// The gateway's epoch; 0 while it is not known.
    pub(crate) fn epoch(&self) -> u32 {
        self.shared.state().epoch
    }

    /// Notes whether the epoch known is that of the gateway we speak with.
    pub(crate) fn set_epoch_certain(&self, certain: bool) {
        self.epoch_is_certain.store(certain, Ordering::Release);
    }

    /// Whether the gateway we speak with may have been restored without our knowing.
    pub(crate) fn is_epoch_certain(&self) -> bool {
        self.epoch_is_certain.load(Ordering::Acquire)
    }

    /// Whether a dossier was known here in an epoch before this one, so that the gateway may be waiting for it to come back.
    pub(crate) fn may_come_back(&self, dossier: &str) -> bool {
        let state = self.shared.state();
        state.epoch > 1 && state.knows_dossier(dossier)
    }

    // What the gateway delivers.

    /// Takes deliveries over in the order of the calls. A delivery is durable, and may be acknowledged as the stage says, when
    /// the future that this returns is done. The same delivery again is the same delivery.
    ///
    /// # Errors
    /// See [`TakeOverError`].
    pub(crate) async fn take_over(
        &self,
        delivery: &v1::Delivery,
    ) -> Result<impl Future<Output = Result<Stage, TakeOverError>> + Send + 'static + use<>, TakeOverError> {
        let id = DeliveryId::from(delivery.r#ref.as_ref().ok_or(TakeOverError::Nameless)?);
        if delivery.encoded_len() > MAX_RECORD_BYTES - RECORD_OVERHEAD {
            return Err(TakeOverError::TooLarge);
        }
        let fingerprint = records::fingerprint(delivery.event.as_ref());
        let is_new = {
            let mut state = self.shared.state();
            if let Some(returned) = state.returned.get(&(id.party.clone(), id.dossier.clone())) {
                return Err(TakeOverError::Returning(Box::new(returned.clone())));
            }
            let is_known = state.deliveries.contains_key(&id);
            let is_new = !is_known || state.is_another(&id, fingerprint);
            if is_new && state.pending.len() + state.arriving >= self.max_incoming {
                return Err(TakeOverError::Full);
            }
            if is_new {
                self.disk.for_more()?;
            }
            if !is_known {
                state.reserve_delivery(&id);
            }
            is_new
        };
        let shared = self.shared.clone();
        let writing = if is_new {
            let reservation = DeliveryReservation { shared: shared.clone(), id: id.clone() };
            let record = stored::TakenOver { delivery: delivery.encode_to_vec(), taken_over_at_unix_ms: now_ms() };
            Some((reservation, self.submit(Kind::TakenOver(record)).await?))
        } else {
            None
        };
        Ok(async move {
            if let Some((reservation, written)) = writing {
                written.durable().await?;
                drop(reservation);
            }
            let mut changes = shared.changes.subscribe();
            loop {
                changes.mark_unchanged();
                match shared.state().deliveries.get(&id) {
                    Some(Stage::Reserved) => {}
                    Some(stage) => return Ok(*stage),
                    None => return Err(Broken.into()),
                }
                // The same delivery is being made durable for an earlier stream. The sender lives as long as the spool.
                let _ = changes.changed().await;
            }
        })
    }

    /// The delivery taken over at `position`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(crate) fn delivery(&self, position: Position) -> Result<v1::Delivery, RecordError> {
        let Some(Kind::TakenOver(taken_over)) = self.read(position)?.kind else {
            return Err(RecordError::Unknown(position));
        };
        v1::Delivery::decode(&taken_over.delivery[..]).map_err(|_| RecordError::Unknown(position))
    }

    /// Looks at what is to be carried to a place, or changes its lanes.
    pub(crate) fn parcels<R>(&self, place: usize, with: impl FnOnce(&mut Lanes<Parcel>) -> R) -> R {
        with(&mut self.shared.state().parcels[place])
    }

    /// What waits for a party's system, the oldest first.
    pub(crate) fn pending(&self, party: &str, limit: usize) -> Vec<Position> {
        let state = self.shared.state();
        let of_party = state.pending.iter().filter(|(_, pending)| &*pending.id.party == party);
        of_party.map(|(position, _)| *position).take(limit).collect()
    }

    /// How far a delivery has come; `None` if it was never here.
    pub(crate) fn stage(&self, id: &DeliveryId) -> Option<Stage> {
        self.shared.state().deliveries.get(id).copied()
    }

    /// What a delivery is called towards the agency's own system. An event that took the place of another one, because the
    /// gateway's books were restored, has a name of its own.
    pub(crate) fn delivery_name(&self, id: &DeliveryId) -> String {
        format!("{}/{}/{}{}", id.party, id.dossier, id.sequence, self.shared.state().suffix(id))
    }

    /// Notes that the agency's own system has a delivery: durable when this returns.
    ///
    /// # Errors
    /// [`Broken`]; it will be handed over again after the restart.
    pub(crate) async fn handed_over(&self, id: &DeliveryId) -> Result<(), Broken> {
        let record = stored::HandedOver {
            party: id.party.to_string(),
            dossier_code: id.dossier.to_string(),
            sequence: id.sequence,
            handed_over_at_unix_ms: now_ms(),
            fingerprint: self.shared.state().fingerprint(id),
        };
        self.write(Kind::HandedOver(record)).await.map(drop)
    }

    /// What was handed over after `after` and the gateway does not know of.
    pub(crate) fn unconfirmed(&self, after: Position, limit: usize) -> Vec<(Position, DeliveryId)> {
        let state = self.shared.state();
        let later = state.unconfirmed.range(after.next()..).take(limit);
        later.map(|(position, id)| (*position, id.clone())).collect()
    }

    /// Notes that the gateway knows of a hand-over.
    ///
    /// # Errors
    /// [`Broken`]; the gateway will be told again, which is safe.
    pub(crate) async fn confirmed(&self, id: &DeliveryId) -> Result<(), Broken> {
        if !matches!(self.stage(id), Some(Stage::HandedOver { confirmed: None, .. })) {
            return Ok(());
        }
        let (party, dossier_code) = (id.party.to_string(), id.dossier.to_string());
        self.write(Kind::Confirmed(stored::Confirmed { party, dossier_code, sequence: id.sequence })).await.map(drop)
    }

    /// Gives a delivery back to the gateway, with all later ones of its dossier that are here: durable when this returns, and
    /// told to the gateway until it knows. What is not here any more is not given back.
    ///
    /// # Errors
    /// [`Broken`]; it is handed over, or given back, after the restart.
    pub(crate) async fn give_back(&self, id: &DeliveryId, reason: &str, permanent: bool) -> Result<(), Broken> {
        if !self.shared.state().begin_returning(id, &reason.into(), permanent) {
            return Ok(());
        }
        // What was being taken over before this began comes before it in the journal, and so goes back with it.
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            if !self.shared.state().is_arriving(id) {
                break;
            }
            // The sender lives as long as the spool.
            let _ = changes.changed().await;
        }
        self.write_returned(id, reason, permanent, false).await
    }

    /// Notes that the gateway knows what was given back: from now on it may be taken over anew.
    ///
    /// # Errors
    /// [`Broken`]; the gateway will be told again, which is safe.
    pub(crate) async fn given_back(&self, id: &DeliveryId) -> Result<(), Broken> {
        let known = self.shared.state().returned.get(&(id.party.clone(), id.dossier.clone())).cloned();
        match known {
            Some(known) if known.id == *id && known.position != Position::ORIGIN => {
                self.write_returned(id, &known.reason, known.permanent, true).await
            }
            _ => Ok(()),
        }
    }

    async fn write_returned(
        &self,
        id: &DeliveryId,
        reason: &str,
        permanent: bool,
        given_back: bool,
    ) -> Result<(), Broken> {
        let record = stored::Returned {
            party: id.party.to_string(),
            dossier_code: id.dossier.to_string(),
            sequence: id.sequence,
            reason: reason.to_owned(),
            permanent,
            given_back,
            at_unix_ms: now_ms(),
        };
        self.write(Kind::Returned(record)).await.map(drop)
    }

    /// What goes back since `after` and the gateway does not know of, in the order in which it was recorded.
    pub(crate) fn returned(&self, after: Position) -> Vec<Returned> {
        let state = self.shared.state();
        let mut later: Vec<_> = state.returned.values().filter(|returned| returned.position > after).cloned().collect();
        later.sort_unstable_by_key(|returned| returned.position);
        later
    }

    /// The spool's own identity, chosen at random when it was made.
    pub(crate) fn identity(&self) -> [u8; 16] {
        self.reader.journal().0
    }

    /// What the operator wants to know.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.shared.state();
        let answered = |wanted| {
            let is = move |progress: &Progress| matches!(progress, Progress::Answered { admitted, .. } if *admitted == wanted);
            state.calls.values().filter(|call| is(&call.progress)).count()
        };
        Counts {
            waiting: state.unanswered + state.again,
            oldest_waiting_ms: state.oldest_unanswered_ms(),
            admitted: answered(true),
            refused: answered(false),
            not_handed_over: state.pending.len(),
            oldest_not_handed_over_ms: state.pending.first_key_value().map(|(_, pending)| pending.at_ms),
            unconfirmed: state.unconfirmed.len(),
            returned: state.returned.len(),
            offline_waiting: state.calls.values().filter(|call| call.is_waiting() && call.offline.is_some()).count(),
            exceptions: state.open_exceptions(),
        }
    }

    /// Forgets outcomes whose time is over, and documents that nobody has named within that time.
    pub(crate) fn tidy_up(&self) {
        self.shared.state().forget(forget_before(self.keep_outcomes));
        let needed = |party: &str, sha256: &[u8; 32]| self.shared.state().names_document(party, sha256);
        self.documents.expire(self.keep_outcomes, needed);
    }

    /// Writes a record: durable when this returns.
    async fn write(&self, kind: Kind) -> Result<Position, Broken> {
        self.submit(kind).await?.durable().await
    }

    /// Puts a record in its place behind those before it.
    async fn submit(&self, kind: Kind) -> Result<Written, Broken> {
        let record = stored::SpoolRecord { kind: Some(kind) };
        let change = records::change(&record).map_err(|_| Broken)?;
        let sealed = self.key.seal_record(&record.encode_to_vec());
        let kib = u32::try_from(sealed.len().div_ceil(1024)).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        let room = self.room.clone().acquire_many_owned(kib).await.map_err(|_| Broken)?;
        let (answer, answered) = oneshot::channel();
        let done = move |result| {
            drop(room);
            // Nobody waits any more when a caller has gone away; the record counts all the same.
            let _ = answer.send(result);
        };
        let written = Written { answered, broken: self.broken.clone() };
        match self.journal.submit(Item { sealed, change }, done) {
            Ok(()) => Ok(written),
            Err(_) => Err(written.broken()),
        }
    }

    fn read(&self, position: Position) -> Result<stored::SpoolRecord, RecordError> {
        read(&self.reader, &self.key, position)
    }
}

/// A record that has its place and is on its way to the disk.
struct Written {
    answered: oneshot::Receiver<Result<Position, group::Poisoned>>,
    broken: CancellationToken,
}

impl Written {
    async fn durable(self) -> Result<Position, Broken> {
        match self.answered.await {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(_)) | Err(_) => {
                self.broken.cancel();
                Err(Broken)
            }
        }
    }

    fn broken(self) -> Broken {
        self.broken.cancel();
        Broken
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

/// Gives a call's place back, unless it has become durable meanwhile.
struct CallReservation<'a> {
    shared: &'a Shared,
    id: &'a CallId,
}

impl Drop for CallReservation<'_> {
    fn drop(&mut self) {
        self.shared.state().release_call(self.id);
        self.shared.changed();
    }
}

/// Gives a delivery's place back, unless it has become durable meanwhile.
struct DeliveryReservation {
    shared: Arc<Shared>,
    id: DeliveryId,
}

impl Drop for DeliveryReservation {
    fn drop(&mut self) {
        self.shared.state().release_delivery(&self.id);
        self.shared.changed();
    }
}

/// `None` while nothing was promised.
fn view(call: &state::Call) -> Option<CallView> {
    let (standing, attempts, last_error) = match &call.progress {
        Progress::Reserved => return None,
        // It was admitted and is sent again all the same; whoever asks is told what holds.
        Progress::Waiting { earlier: Some(earlier), .. } => (Standing::Answered(earlier.position), 0, None),
        Progress::Waiting { sending: false, attempts, last_error, .. } => {
            (Standing::Queued, *attempts, last_error.clone())
        }
        Progress::Waiting { sending: true, attempts, last_error, .. } => {
            (Standing::Sending, *attempts, last_error.clone())
        }
        Progress::Answered { position, .. } => (Standing::Answered(*position), 0, None),
    };
    Some(CallView { standing, attempts, last_error, queued_at_ms: call.at_ms })
}

/// The machine clock in milliseconds: for ages and retention, never for business.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn forget_before(keep: Duration) -> i64 {
    now_ms().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
