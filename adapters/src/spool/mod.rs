//! The spool: what the agency's system wants sent, and what is to be given to it, durable on this machine.
//!
//! A call is answered to the agency's system, and a delivery acknowledged to the gateway, only after its record is synced.
//! The truth is the journal; the state in memory is what a replay of it gives. Contents are read from the journal when
//! they are needed, so memory holds a few hundred bytes for each call and delivery under way.
//!
//! | module | owns |
//! |---|---|
//! | `opening`, `replay` | from a folder to a spool: the journal read, and tidied up |
//! | `calls` | what goes to the gateway, and its answers |
//! | `deliveries` | what comes from the gateway, until the agency's own system has it |
//! | `epoch` | what is sent again after the gateway's books were restored |
//! | `offline`, `numbers` | what was taken in without a line, and the numbers it was given |
//! | `documents` | documents on their way |
//! | `state` | which call and delivery stands where |
//! | `writing`, `records`, `seal` | a record: to the disk, in bytes, under the spool's key |

mod calls;
mod deliveries;
mod documents;
mod epoch;
#[cfg(test)]
mod formats;
mod numbers;
mod offline;
mod opening;
mod records;
mod replay;
mod seal;
mod state;
mod writing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lgsp_journal::group::{GroupCommit, Handle};
use lgsp_journal::room::{Room, Shortage};
use lgsp_journal::{JournalId, Position, Reader};
use lgsp_proto::spool_v1 as stored;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use calls::{CallOverview, CallView, NewCall, Outcome, QueueError, QueuedCall, Standing};
pub(crate) use deliveries::TakeOverError;
pub(crate) use documents::{Documents, Piece, PutError, Stored};
pub(crate) use epoch::{StreamEnd, Told};
pub(crate) use offline::{Exception, HandleError, Handling, OfflineFound};
pub use opening::OpenError;
pub(crate) use opening::Options;
pub(crate) use records::{call_id, fingerprint};
pub use replay::RecordError;
use seal::SpoolKey;
pub use seal::SpoolKeyError;
pub(crate) use state::{CallId, CallKind, DeliveryId, Parcel, Returned, SentBefore, Stage};
use state::{Progress, State};
pub(crate) use writing::Broken;
use writing::Item;

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
    /// What is known of the epoch of the gateway we speak with now.
    epoch_told: Mutex<Told>,
    /// When a later epoch was first heard of, or the start that found what was to be sent again because of one.
    restored: Mutex<Option<Instant>>,
}

/// What the committer's thread and the callers share.
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
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

    /// Why a call that is not known yet would not be taken in just now: to be asked before its documents are put here.
    pub(crate) fn no_room(&self) -> Option<QueueError> {
        let is_full = self.shared.state().unanswered >= self.max_outgoing;
        if is_full { Some(QueueError::Full) } else { self.shortage().map(QueueError::Disk) }
    }

    /// What was taken over at a position and waits for the agency's system, named without being read.
    pub(crate) fn pending_at(&self, position: Position) -> Option<DeliveryId> {
        self.shared.state().pending.get(&position).map(|pending| pending.id.clone())
    }

    /// The documents that wait for their dossiers.
    pub(crate) fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Which spool this is, chosen at random when it was made: numbers are leased to one spool only, and what was taken over
    /// into another one is owed again.
    pub(crate) fn id(&self) -> JournalId {
        self.reader.journal()
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
        // A dossier may be admitted long after its documents were brought, and the time of its outcome begins only then.
        let needed = |party: &str, sha256: &[u8; 32]| self.shared.state().may_send_document(party, sha256);
        self.documents.expire(self.keep_outcomes, needed);
    }

    /// The record at `position`.
    fn read(&self, position: Position) -> Result<stored::SpoolRecord, RecordError> {
        replay::read(&self.reader, &self.key, position)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

/// The machine clock in milliseconds: for ages and retention, never for business.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Reads a record that opened, and applies it to an empty state.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(record: &lgsp_proto::spool_v1::SpoolRecord) {
    if let Ok(change) = records::change(record) {
        state::State::new(&std::collections::HashMap::new()).apply(Position(1), &change);
    }
}

fn forget_before(keep: Duration) -> i64 {
    now_ms().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
