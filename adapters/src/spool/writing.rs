//! A record on its way to the disk: sealed, in its place behind those before it, and only counting once it is synced.
//!
//! Whoever writes waits for room first, so that what is under way is bounded. After a failed sync nothing is written any more.

use lgsp_journal::{Position, group};
use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};
use prost::Message;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::state::Change;
use super::{Spool, records};

/// What may be on its way to the disk at one time, in KiB. Whoever comes when that is used up waits.
pub(super) const ROOM_KIB: u32 = 32 << 10;

/// The disk failed. Whether the record will be found after a restart is unknown; nothing more is taken in until then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the spool cannot write any more")]
pub(crate) struct Broken;

/// A record on its way to the disk.
pub(super) struct Item {
    sealed: Vec<u8>,
    pub(super) change: Change,
}

impl AsRef<[u8]> for Item {
    fn as_ref(&self) -> &[u8] {
        &self.sealed
    }
}

/// Room is given out in KiB, at least one for a record, so the queue behind it can never be full.
pub(super) fn queue_limits() -> group::Limits {
    group::Limits {
        queue_records: ROOM_KIB as usize + 1,
        queue_bytes: 2 * ROOM_KIB as usize * 1024,
        ..group::Limits::default()
    }
}

impl Spool {
    /// Writes a record: durable when this returns.
    pub(super) async fn write(&self, kind: Kind) -> Result<Position, Broken> {
        self.submit(kind).await?.durable().await
    }

    /// Puts a record in its place behind those before it.
    pub(super) async fn submit(&self, kind: Kind) -> Result<Written, Broken> {
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
}

/// A record that has its place and is on its way to the disk.
pub(super) struct Written {
    answered: oneshot::Receiver<Result<Position, group::Poisoned>>,
    broken: CancellationToken,
}

impl Written {
    pub(super) async fn durable(self) -> Result<Position, Broken> {
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
