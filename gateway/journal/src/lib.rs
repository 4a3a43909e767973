//! The journal: append-only segments that keep what was answered, and the keys that seal what is in them.
//!
//! It knows bytes and positions only; what a record means is the caller's. Three promises carry everything else:
//!
//! 1. [`Writer::append`] returns after the sync, so what it answered survives `kill -9` and a power cut;
//! 2. [`Reader`] serves nothing that a power cut could still take away, not even after a crash;
//! 3. damage is told from an unfinished write: the first stops [`open`] and is located, the second is trimmed.
//!
//! | module | owns |
//! |---|---|
//! | [`files`] | what the journal asks of a disk, and a real folder that answers it |
//! | `frame` | the bytes: segment header, frame, record |
//! | `segment` | walking a segment: scan, sparse index, cursor |
//! | `recovery` | opening: what is live, what is torn, what is damaged |
//! | `writer`, `reader` | appending with one sync, reading with checks |
//! | [`group`] | many callers, one sync |
//! | [`room`] | how full the disk is, and stopping before it is |
//! | [`verify()`] | reading everything, for `fsck` |
//! | [`copy`] | what can be copied of a journal that another process writes |
//! | [`seal`] | data keys, their destruction, sealed streams |
//! | [`fault`] | points at which a process under test dies (feature `faults`) |
//! | `testing` | a disk that records, fails and loses power; a real one that is small (feature `test-util`) |

pub mod copy;
pub mod fault;
pub mod files;
mod frame;
pub mod group;
mod position;
mod reader;
mod recovery;
pub mod room;
pub mod seal;
mod segment;
mod sidecar;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
mod verify;
mod writer;

pub use files::{Files, RealFiles};
pub use frame::{JournalId, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_RECORD_BYTES, RECORD_OVERHEAD};
pub use position::Position;
pub use reader::{ReadError, Reader, Replay};
pub use recovery::{DEFAULT_SEGMENT_BYTES, OpenError, Opened, Options, Recovered, open};
pub use verify::{Damage, Progress, Report, verify};
pub use writer::{AppendError, Writer};
