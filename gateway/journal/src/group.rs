//! Group commit: many callers share one sync, on one plain thread.
//!
//! The committer takes everything that waits, up to a batch, appends it, syncs once, shows the batch to the [`Applied`] hook, and
//! only then answers the callers. So whoever has been answered finds what was applied, and nobody is answered for bytes that a
//! power cut could take. While one batch is being synced the next one gathers; there is no timer.

#[cfg(any(test, feature = "test-util"))]
mod by_hand;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use thiserror::Error;

use crate::frame::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_RECORD_BYTES, RECORD_OVERHEAD};
use crate::position::Position;
use crate::writer::{AppendError, Writer};

/// How much may wait and how much goes into one sync.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records that may wait. Beyond it a submit is refused, so that a slow disk is felt at once and memory stays bounded.
    pub queue_records: usize,
    /// Bytes that may wait, for the same reason.
    pub queue_bytes: usize,
    /// Records in one batch; at most [`MAX_BATCH_RECORDS`].
    pub batch_records: usize,
    /// Bytes in one batch, each record counted with [`RECORD_OVERHEAD`]; at most [`MAX_BATCH_BYTES`]. A single record that
    /// is longer goes alone.
    pub batch_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { queue_records: 16_384, queue_bytes: 64 << 20, batch_records: 1_024, batch_bytes: 4 << 20 }
    }
}

/// Is shown each batch after its sync and before its callers are answered, in order of position.
///
/// It runs on the committer's thread: while it runs nothing is synced. If it panics, the committer ends as if the disk had
/// failed, because nobody can say any more what was applied.
pub trait Applied<T>: FnMut(&[(Position, T)]) + Send + 'static {}

impl<T, F: FnMut(&[(Position, T)]) + Send + 'static> Applied<T> for F {}

/// Why a submitted record has no position.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Poisoned {
    /// Writing or syncing its batch failed. A restart may find the record, and then it counts, or not.
    #[error("the record could not be made durable; whether it will be found after a restart is unknown")]
    OutcomeUnknown,
    /// An earlier batch failed while it waited. It was not written.
    #[error("the journal is poisoned by an earlier failure; the record was not written")]
    NotWritten,
}

/// Why a record was not taken in. It was not written and `done` will not be called.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SubmitError {
    /// Too much is waiting. Try again later.
    #[error("too many records are waiting to be written")]
    Full,
    /// The record is longer than [`MAX_RECORD_BYTES`].
    #[error("the record is longer than the limit of {MAX_RECORD_BYTES} bytes")]
    TooLong,
    /// The committer is stopping or has stopped.
    #[error("the journal is closed")]
    Stopped,
    /// The journal is poisoned: read-only until it is opened again.
    #[error("the journal is poisoned by an earlier failure")]
    Poisoned,
}

/// What an operator wants to know, readable at any time without a lock.
#[derive(Debug, Default)]
pub struct Gauges {
    queue_depth: AtomicU64,
    last_batch: AtomicU64,
    batches: AtomicU64,
    durable: AtomicU64,
    poisoned: AtomicBool,
}

impl Gauges {
    /// Records waiting to be written.
    pub fn queue_depth(&self) -> u64 {
        self.queue_depth.load(Ordering::Relaxed)
    }

    /// Records in the last batch.
    pub fn last_batch(&self) -> u64 {
        self.last_batch.load(Ordering::Relaxed)
    }

    /// Batches written, and so syncs made, since the start.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// The last durable position.
    pub fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// Whether writing has ended for good.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }
}

/// The committer: owns the writer and its thread. Dropping it stops it in order and waits.
#[derive(Debug)]
pub struct GroupCommit<T> {
    handle: Handle<T>,
    thread: Option<JoinHandle<Result<(), AppendError>>>,
    #[cfg(any(test, feature = "test-util"))]
    by_hand: by_hand::Turns,
}

impl<T: AsRef<[u8]> + Send + 'static> GroupCommit<T> {
    /// Starts the committer's thread.
    ///
    /// # Errors
    /// The system has no thread to give. The writer is dropped, which loses nothing.
    pub fn start(writer: Writer, limits: Limits, applied: impl Applied<T>) -> io::Result<Self> {
        let handle = Handle { queue: Arc::new(Queue::new(limits, &writer)) };
        let queue = Arc::clone(&handle.queue);
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || queue.run(writer, applied))?;
        Ok(Self {
            handle,
            thread: Some(thread),
            #[cfg(any(test, feature = "test-util"))]
            by_hand: by_hand::Turns::default(),
        })
    }
}

impl<T> GroupCommit<T> {
    /// A handle for submitting; cloned freely.
    #[must_use]
    pub fn handle(&self) -> Handle<T> {
        self.handle.clone()
    }

    /// Takes in nothing more, writes and answers everything that waits, closes the journal in order, and waits for that.
    ///
    /// # Errors
    /// As [`Writer::close`]: everything that was answered is durable in any case.
    pub fn stop(mut self) -> Result<(), AppendError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), AppendError> {
        self.handle.queue.end(SubmitError::Stopped);
        #[cfg(any(test, feature = "test-util"))]
        while self.by_hand.take()? {}
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(closed)) => closed,
            // The hook panicked; the queue was poisoned on the way out.
            Some(Err(_)) => Err(AppendError::Poisoned),
            None => Ok(()),
        }
    }
}

impl<T> Drop for GroupCommit<T> {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `stop`.
        let _ = self.end();
    }
}

/// Submits records to a committer.
#[derive(Debug)]
pub struct Handle<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue) }
    }
}

impl<T: AsRef<[u8]>> Handle<T> {
    /// Puts `item` in the queue, to be appended as the bytes it shows, and returns at once.
    ///
    /// If this returns `Ok`, `done` is called once, on the committer's thread, so it should only pass the answer on, and not
    /// panic. (It is dropped uncalled in one case: the [`Applied`] hook panicked. Then the outcome is unknown.) Records are
    /// written in the order in which they were taken in.
    ///
    /// # Errors
    /// See [`SubmitError`]: the record was not written and will not be.
    pub fn submit(
        &self,
        item: T,
        done: impl FnOnce(Result<Position, Poisoned>) + Send + 'static,
    ) -> Result<(), SubmitError> {
        let length = item.as_ref().len();
        if length > MAX_RECORD_BYTES {
            return Err(SubmitError::TooLong);
        }
        let bytes = length + RECORD_OVERHEAD;
        let queue = &*self.queue;
        let mut state = queue.lock();
        if let Some(end) = state.end {
            return Err(end);
        }
        let full = state.waiting.len() >= queue.limits.queue_records || state.bytes + bytes > queue.limits.queue_bytes;
        // An empty queue takes one record however small its limits are.
        if full && !state.waiting.is_empty() {
            return Err(SubmitError::Full);
        }
        state.bytes += bytes;
        state.waiting.push_back(Waiting { item, bytes, done: Box::new(done) });
        queue.gauges.queue_depth.store(state.waiting.len() as u64, Ordering::Relaxed);
        queue.wake.notify_one();
        Ok(())
    }
}

impl<T> Handle<T> {
    /// The committer's gauges.
    #[must_use]
    pub fn gauges(&self) -> &Gauges {
        &self.queue.gauges
    }
}

type Done = Box<dyn FnOnce(Result<Position, Poisoned>) + Send>;

struct Waiting<T> {
    item: T,
    bytes: usize,
    done: Done,
}

struct State<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
    /// What further submits are told, once there is an end.
    end: Option<SubmitError>,
}

impl<T> State<T> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.end.is_none()
    }
}

struct Queue<T> {
    limits: Limits,
    gauges: Gauges,
    state: Mutex<State<T>>,
    wake: Condvar,
}

/// What the committer does next.
enum Turn<T> {
    Commit(Vec<T>, Vec<Done>),
    Close,
}

impl<T: AsRef<[u8]>> Queue<T> {
    fn new(limits: Limits, writer: &Writer) -> Self {
        let gauges = Gauges::default();
        gauges.durable.store(writer.next().previous().0, Ordering::Release);
        let state = State { waiting: VecDeque::new(), bytes: 0, end: None };
        Self { limits, gauges, state: Mutex::new(state), wake: Condvar::new() }
    }

    fn run(&self, mut writer: Writer, mut applied: impl Applied<T>) -> Result<(), AppendError> {
        // However this ends, nobody waits for ever; poisoned unless the end was orderly.
        let ending = Ending(self);
        loop {
            match self.take_turn() {
                Turn::Commit(items, done) => self.commit(&mut writer, &mut applied, items, done)?,
                Turn::Close => {
                    mem::forget(ending);
                    return writer.close();
                }
            }
        }
    }

    /// Waits until there is something to do, and takes it.
    fn take_turn(&self) -> Turn<T> {
        let mut state =
            self.wake.wait_while(self.lock(), |state| state.is_idle()).unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() {
            return Turn::Close;
        }
        let records = self.limits.batch_records.clamp(1, MAX_BATCH_RECORDS);
        let mut room = self.limits.batch_bytes.min(MAX_BATCH_BYTES);
        let (mut items, mut done) = (Vec::new(), Vec::new());
        while items.len() < records
            && state.waiting.front().is_some_and(|next| items.is_empty() || next.bytes <= room)
            && let Some(next) = state.waiting.pop_front()
        {
            room = room.saturating_sub(next.bytes);
            state.bytes -= next.bytes;
            items.push(next.item);
            done.push(next.done);
        }
        self.gauges.queue_depth.store(state.waiting.len() as u64, Ordering::Relaxed);
        Turn::Commit(items, done)
    }

    fn commit(
        &self,
        writer: &mut Writer,
        applied: &mut impl Applied<T>,
        items: Vec<T>,
        done: Vec<Done>,
    ) -> Result<(), AppendError> {
        let positions = match writer.append(&items) {
            Ok(positions) => positions,
            Err(error) => {
                let reason = match error {
                    AppendError::Failed(_) => Poisoned::OutcomeUnknown,
                    _ => Poisoned::NotWritten,
                };
                // First the gauge, so that who is answered already finds the journal poisoned.
                self.gauges.poisoned.store(true, Ordering::Release);
                done.into_iter().for_each(|done| done(Err(reason)));
                return Err(error);
            }
        };
        let batch: Vec<(Position, T)> = (positions.start.0..).map(Position).zip(items).collect();
        applied(&batch);
        self.gauges.last_batch.store(batch.len() as u64, Ordering::Relaxed);
        self.gauges.batches.fetch_add(1, Ordering::Relaxed);
        self.gauges.durable.store(positions.end.previous().0, Ordering::Release);
        for ((position, _), done) in batch.iter().zip(done) {
            done(Ok(*position));
        }
        Ok(())
    }
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic runs under the lock except a caller's `as_ref`, before anything is changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, reason: SubmitError) {
        let mut state = self.lock();
        state.end = state.end.or(Some(reason));
        self.wake.notify_one();
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

/// Poisons the queue when the committer ends out of order, and answers everyone who waits.
struct Ending<'a, T>(&'a Queue<T>);

impl<T> Drop for Ending<'_, T> {
    fn drop(&mut self) {
        self.0.gauges.poisoned.store(true, Ordering::Release);
        let waiting = {
            let mut state = self.0.lock();
            state.end = Some(SubmitError::Poisoned);
            state.bytes = 0;
            mem::take(&mut state.waiting)
        };
        self.0.gauges.queue_depth.store(0, Ordering::Relaxed);
        for waiting in waiting {
            (waiting.done)(Err(Poisoned::NotWritten));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;
    use crate::testing::{Disk, Fault};
    use crate::{Opened, Options, Reader, open};

    fn begin(disk: &Disk) -> (Writer, Reader) {
        let Opened { writer, reader, .. } = open(disk.files(), Options::default()).unwrap();
        (writer, reader)
    }

    /// How long a test waits for what is bound to happen.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Holds every batch back in the hook until the test lets it go, or ends.
    struct Gate {
        reached: Receiver<()>,
        open: Sender<()>,
    }

    fn gate() -> (Gate, impl Applied<Vec<u8>>) {
        let (reach, reached) = channel();
        let (open, opened) = channel();
        let hook = move |_: &[(Position, Vec<u8>)]| {
            let _ = reach.send(());
            let _ = opened.recv();
        };
        (Gate { reached, open }, hook)
    }

    impl Gate {
        fn wait(&self) {
            self.reached.recv_timeout(LIMIT).expect("a batch comes to the hook");
        }

        fn let_go(&self) {
            self.open.send(()).unwrap();
        }
    }

    fn pass<E: Send + 'static>(answers: &Sender<E>) -> impl FnOnce(E) + Send + 'static {
        let answers = answers.clone();
        move |answer| drop(answers.send(answer))
    }

    #[test]
    fn what_waits_during_one_sync_shares_the_next() {
        let (writer, reader) = begin(&Disk::new());
        // Declared first, dropped last: a test that fails lets the committer go before it waits for it.
        let group;
        let (gate, hook) = gate();
        group = GroupCommit::start(writer, Limits::default(), hook).unwrap();
        let handle = group.handle();
        let (answers, answered) = channel();
        handle.submit(b"first".to_vec(), pass(&answers)).unwrap();
        gate.wait();
        assert!(answered.try_recv().is_err(), "nobody is answered before the hook is through");
        for _ in 0..5 {
            handle.submit(b"more".to_vec(), pass(&answers)).unwrap();
        }
        assert_eq!(handle.gauges().queue_depth(), 5);
        gate.let_go();
        gate.wait();
        gate.let_go();
        let positions: Vec<_> = (0..6).map(|_| answered.recv().unwrap().unwrap().0).collect();
        assert_eq!(positions, [1, 2, 3, 4, 5, 6]);
        assert_eq!((handle.gauges().batches(), handle.gauges().last_batch()), (2, 5));
        assert_eq!((handle.gauges().queue_depth(), handle.gauges().durable()), (0, Position(6)));
        assert_eq!(reader.read(Position(6)).unwrap(), b"more");
        group.stop().unwrap();
    }

    #[test]
    fn a_full_queue_refuses_and_a_batch_keeps_to_its_limits() {
        let (writer, _) = begin(&Disk::new());
        // Declared first, dropped last: a test that fails lets the committer go before it waits for it.
        let group;
        let (gate, hook) = gate();
        let limits = Limits { queue_records: 4, queue_bytes: 100, batch_records: 2, batch_bytes: 30 };
        group = GroupCommit::start(writer, limits, hook).unwrap();
        let handle = group.handle();
        let (answers, answered) = channel();
        let submit = |bytes: usize| handle.submit(vec![0; bytes], pass(&answers));
        assert_eq!(submit(MAX_RECORD_BYTES + 1), Err(SubmitError::TooLong));
        submit(90).unwrap();
        gate.wait();
        for bytes in [5, 5, 20] {
            submit(bytes).unwrap();
        }
        assert_eq!(submit(60), Err(SubmitError::Full), "too many bytes wait");
        submit(20).unwrap();
        assert_eq!(submit(1), Err(SubmitError::Full), "too many records wait");
        // 90 alone; 5 and 5; then 20 and 20 would be too many bytes for one batch.
        let mut sizes = Vec::new();
        for _ in 0..3 {
            gate.let_go();
            gate.wait();
            sizes.push(handle.gauges().last_batch());
        }
        gate.let_go();
        group.stop().unwrap();
        assert_eq!(sizes, [1, 2, 1]);
        assert_eq!(answered.try_iter().count(), 5);
        assert_eq!(submit(1), Err(SubmitError::Stopped));
    }

    #[test]
    fn a_failed_sync_answers_who_was_in_it_and_who_waited_differently() {
        let disk = Disk::new();
        let (writer, reader) = begin(&disk);
        // Declared first, dropped last: a test that fails lets the committer go before it waits for it.
        let group;
        let (gate, hook) = gate();
        group = GroupCommit::start(writer, Limits { batch_records: 1, ..Limits::default() }, hook).unwrap();
        let handle = group.handle();
        let (answers, answered) = channel();
        for _ in 0..3 {
            handle.submit(b"x".to_vec(), pass(&answers)).unwrap();
        }
        gate.wait();
        // The second batch is appended, and its sync fails.
        disk.fail_after(1, Fault::Error);
        gate.let_go();
        let all: Vec<_> = (0..3).map(|_| answered.recv_timeout(LIMIT).unwrap()).collect();
        assert_eq!(all, [Ok(Position(1)), Err(Poisoned::OutcomeUnknown), Err(Poisoned::NotWritten)]);
        assert!(handle.gauges().is_poisoned() && reader.is_poisoned());
        assert_eq!(reader.read(Position(1)).unwrap(), b"x");
        assert!(matches!(group.stop(), Err(AppendError::Failed(_))));
        assert_eq!(handle.submit(b"x".to_vec(), |_| ()), Err(SubmitError::Poisoned));
    }

    #[test]
    fn stopping_answers_everyone_and_leaves_nothing_to_copy() {
        let disk = Disk::new();
        let (writer, _) = begin(&disk);
        let group = GroupCommit::start(writer, Limits::default(), |_: &[(Position, Vec<u8>)]| ()).unwrap();
        let (answers, answered) = channel();
        for number in 0..100_u8 {
            group.handle().submit(vec![number], pass(&answers)).unwrap();
        }
        group.stop().unwrap();
        assert!(answered.try_iter().map(|answer| answer.unwrap().0).eq(1..=100));
        let opened = open(disk.killed().files(), Options::default()).unwrap();
        assert_eq!((opened.recovered.copied, opened.reader.durable()), (0, Position(100)));
    }

    #[test]
    fn a_hook_that_panics_poisons_instead_of_going_on() {
        let (writer, _) = begin(&Disk::new());
        let group = GroupCommit::start(writer, Limits::default(), |_: &[(Position, Vec<u8>)]| panic!("bug")).unwrap();
        let handle = group.handle();
        let (answers, answered) = channel();
        handle.submit(b"x".to_vec(), pass(&answers)).unwrap();
        drop(answers);
        assert!(answered.recv().is_err(), "the answer is dropped: the outcome is unknown");
        assert!(matches!(group.stop(), Err(AppendError::Poisoned)));
        assert_eq!(handle.submit(b"x".to_vec(), |_| ()), Err(SubmitError::Poisoned));
    }
}
