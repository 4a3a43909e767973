//! A committer without a thread, for tests that say themselves when it writes, and when it dies.
//!
//! It takes the same turns as the thread does, with the same code; only who calls for the next one differs.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::{Applied, Ending, GroupCommit, Handle, Limits, Queue, Turn};
use crate::writer::{AppendError, Writer};

/// The turns still to be taken; none for a committer with a thread.
#[derive(Default)]
pub(super) struct Turns(Option<Box<dyn FnMut() -> Result<bool, AppendError> + Send>>);

impl Turns {
    /// Takes one turn; whether there was one to take.
    pub(super) fn take(&mut self) -> Result<bool, AppendError> {
        self.0.as_mut().map_or(Ok(false), |turn| turn())
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turns").field(&self.0.is_some()).finish()
    }
}

impl<T: AsRef<[u8]> + Send + 'static> GroupCommit<T> {
    /// A committer that writes only in [`GroupCommit::write_batch`] and [`GroupCommit::stop`], on the thread that calls.
    #[must_use]
    pub fn by_hand(writer: Writer, limits: Limits, mut applied: impl Applied<T>) -> Self {
        let handle = Handle { queue: Arc::new(Queue::new(limits, &writer)) };
        let queue = Arc::clone(&handle.queue);
        let mut writer = Some(writer);
        let turn = move || {
            let Some(open) = &mut writer else { return Ok(false) };
            if queue.lock().is_idle() {
                return Ok(false);
            }
            let ending = Ending(&queue);
            match queue.take_turn() {
                Turn::Commit(items, done) => queue.commit(open, &mut applied, items, done)?,
                Turn::Close => writer.take().map_or(Ok(()), Writer::close)?,
            }
            mem::forget(ending);
            Ok(true)
        };
        Self { handle, thread: None, by_hand: Turns(Some(Box::new(turn))) }
    }

    /// Writes, syncs, applies and answers one batch of what waits; whether anything waited.
    ///
    /// # Errors
    /// As for a committer with a thread: the journal is poisoned, and everybody has been told.
    pub fn write_batch(&mut self) -> Result<bool, AppendError> {
        self.by_hand.take()
    }

    /// Ends as a crash does: what waits is not written, and nothing is closed.
    pub fn abandon(mut self) {
        self.by_hand = Turns::default();
        drop(Ending(&self.handle.queue));
    }
}
