//! The thread that brings committed changes into sled, and the checkpoints that make sled durable.
//!
//! sled is behind the journal and never ahead of it: steps arrive after their record was synced, in order, and every
//! batch carries the position it completes. What sled loses in a power cut is therefore found by its own mark and made
//! again from the journal. Nothing is dropped: when too much waits, the committer waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use lgsp_journal::{Position, fault};
use tracing::{error, warn};

use super::index_folder::{IndexError, IndexFolder, Sled};
use super::overlay::{Base, Change, Overlay};
use super::snapshot::Photographer;

/// Operations in one batch, with the mark. Larger batches over scattered keys cost sled gigabytes of memory.
const BATCH: usize = 64;

/// Changes that may wait for sled; a large one counts as many: see [`weight`].
///
/// Usually some 10 MB: enough to ride out a checkpoint, little enough to restart from. After a start that had to make the index
/// again some 100 MB, until that has drained: should sled be slower than the replay, nobody has to wait for it, since
/// everything can be read from here.
const ROOM: Room = Room { usually: 50_000, at_first: 500_000 };

#[derive(Clone, Copy, Debug)]
struct Room {
    usually: usize,
    at_first: usize,
}

/// What a change of ordinary size has, in bytes.
const ORDINARY: usize = 256;

/// What changes count for among those that may wait: one each, and more where they are large, so that the memory is bounded and
/// not the number only.
fn weight(changes: &[Change]) -> usize {
    let bytes = |change: &Change| change.key.len() + change.value.as_ref().map_or(0, Bytes::len);
    changes.iter().map(|change| 1 + bytes(change) / ORDINARY).sum()
}

/// Records between two checkpoints: what a start after a power cut has to replay, in a second or so.
const CHECKPOINT_EVERY: u64 = 20_000;

/// How long nothing has to come in before what sled has is made durable.
const IDLE: Duration = Duration::from_secs(2);

/// What stands between the journal and whoever reads through its index.
pub(super) trait Follow: Send + Sync + 'static {
    /// The index below the overlay.
    type Below: Base + Clone + Send + Sync + 'static;

    /// Whether threads may work beside the caller's. In a simulation none does.
    const IN_BACKGROUND: bool;

    /// What is on its way.
    fn overlay(&self) -> &Overlay;

    /// The last record that readers see in full.
    fn visible(&self) -> Position;

    /// The last record that the index below holds in full.
    fn applied(&self) -> Position;

    /// Whether following has ended for good.
    fn has_failed(&self) -> bool;

    /// Makes the changes of the record at `position` visible, and hands them on.
    fn push(&self, position: Position, steps: Vec<Vec<Change>>);

    /// Brings everything into the index below, durably, and ends.
    fn finish(&self);
}

impl Follow for Follower {
    type Below = Sled;

    const IN_BACKGROUND: bool = true;

    fn overlay(&self) -> &Overlay {
        Follower::overlay(self)
    }

    fn visible(&self) -> Position {
        Follower::visible(self)
    }

    fn applied(&self) -> Position {
        Follower::applied(self)
    }

    fn has_failed(&self) -> bool {
        Follower::has_failed(self)
    }

    fn push(&self, position: Position, steps: Vec<Vec<Change>>) {
        Follower::push(self, position, steps);
    }

    fn finish(&self) {
        Follower::finish(self);
    }
}

/// Feeds sled. Dropping it without [`Follower::finish`] abandons what waits, as a crash would.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    overlay: Overlay,
    queue: Mutex<Queue>,
    room_usually: usize,
    /// Something waits, or the end has come.
    work: Condvar,
    /// There is room again.
    room: Condvar,
    /// The last record that readers see in full.
    visible: AtomicU64,
    applied: AtomicU64,
    /// sled failed: nothing is followed any more.
    failed: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    steps: VecDeque<Step>,
    /// The number of the last step.
    last_step: u64,
    changes: usize,
    /// Changes that may wait now.
    limit: usize,
    /// Whether the store is open, so that what waits from before that may drain.
    is_open: bool,
    /// Whether too much waited before the store was open.
    is_crowded: bool,
    end: Option<End>,
}

impl Queue {
    /// Whether sled may be written to. Before the store is open that waits, as long as there is room: sled keeps its readers out
    /// while it writes a batch, and whoever replays the journal reads all the time.
    fn may_write(&self) -> bool {
        !self.steps.is_empty() && (self.is_open || self.is_crowded || self.end.is_some())
    }
}

/// How the follower ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// With everything written and durable.
    Finish,
    /// Right away.
    Abandon,
}

#[derive(Debug)]
struct Step {
    number: u64,
    changes: Vec<Change>,
    /// The record that is complete with this step.
    completes: Option<Position>,
}

impl Follower {
    /// Starts following into `index`, which holds everything up to `applied`; `photographer` takes its snapshots.
    ///
    /// # Errors
    /// No thread could be started.
    pub(super) fn start(
        index: Sled,
        folder: IndexFolder,
        applied: Position,
        photographer: Option<Photographer>,
    ) -> io::Result<Self> {
        Self::start_with(ROOM, index, folder, applied, photographer)
    }

    fn start_with(
        room: Room,
        index: Sled,
        folder: IndexFolder,
        applied: Position,
        photographer: Option<Photographer>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            overlay: Overlay::default(),
            queue: Mutex::new(Queue { limit: room.at_first, ..Queue::default() }),
            room_usually: room.usually,
            work: Condvar::new(),
            room: Condvar::new(),
            visible: AtomicU64::new(applied.0),
            applied: AtomicU64::new(applied.0),
            failed: AtomicBool::new(false),
        });
        // What a killed process left may only be in the page cache, so the first checkpoint is owed from the start.
        let writer = Writer {
            shared: Arc::clone(&shared),
            index,
            folder,
            durable: Position::ORIGIN,
            is_whole: true,
            photographer,
        };
        let thread = std::thread::Builder::new().name("lgsp-follower".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// What is on its way.
    pub(super) fn overlay(&self) -> &Overlay {
        &self.shared.overlay
    }

    /// The last record that readers see in full.
    pub(super) fn visible(&self) -> Position {
        Position(self.shared.visible.load(Ordering::Acquire))
    }

    /// The last record that sled holds in full.
    pub(super) fn applied(&self) -> Position {
        Position(self.shared.applied.load(Ordering::Acquire))
    }

    /// Whether sled has failed. What was pushed is still in the overlay and stays readable.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Makes the changes of the record at `position` visible, and hands them on. Waits while too much is on its way.
    pub(super) fn push(&self, position: Position, mut steps: Vec<Vec<Change>>) {
        if steps.is_empty() {
            // The position moves on even if nothing else does.
            steps.push(Vec::new());
        }
        self.push_steps(steps, Some(position));
    }

    /// Says that the store is open. From when what waits now has drained, as much may wait as usually.
    pub(super) fn opened(&self) {
        self.shared.queue().is_open = true;
        self.shared.work.notify_one();
    }

    /// Hands on a part of a snapshot, as [`Follower::push`] does a record. The last part names the record it was taken at.
    pub(super) fn load(&self, part: Vec<Change>, taken_at: Option<Position>) {
        self.push_steps(vec![part], taken_at);
    }

    fn push_steps(&self, steps: Vec<Vec<Change>>, position: Option<Position>) {
        let shared = &self.shared;
        let mut queue = shared.queue();
        while queue.changes > queue.limit && !self.has_failed() {
            queue.is_crowded = true;
            shared.work.notify_one();
            queue = shared.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let first = queue.last_step + 1;
        shared.overlay.apply(first, &steps);
        if let Some(position) = position {
            shared.visible.store(position.0, Ordering::Release);
        }
        queue.last_step += steps.len() as u64;
        let last = queue.last_step;
        for (number, changes) in (first..).zip(steps) {
            queue.changes += weight(&changes);
            queue.steps.push_back(Step { number, changes, completes: position.filter(|_| number == last) });
        }
        shared.work.notify_one();
    }

    /// Writes everything that waits, makes it durable, and ends.
    pub(super) fn finish(&self) {
        self.end(End::Finish);
    }

    fn end(&self, end: End) {
        self.shared.queue().end.get_or_insert(end);
        self.shared.work.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic over there has been noted as a failure.
            let _ = thread.join();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end(End::Abandon);
    }
}

impl Shared {
    // Nothing panics while it holds the lock.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The follower's side of it.
struct Writer {
    shared: Arc<Shared>,
    index: Sled,
    folder: IndexFolder,
    /// The position of the last checkpoint.
    durable: Position,
    /// Whether the index holds nothing of records after the last it holds in full.
    is_whole: bool,
    photographer: Option<Photographer>,
}

/// What to do next.
enum Next {
    Write(Vec<Step>),
    /// Nothing waits, and a snapshot is under way.
    Photograph,
    Checkpoint,
    End(End),
}

impl Writer {
    fn run(mut self) {
        let alarm = Alarm(Arc::clone(&self.shared));
        match self.follow() {
            Ok(()) => alarm.disarm(),
            Err(failure) => error!(%failure, "the index failed; the store is read-only until a restart"),
        }
    }

    fn follow(&mut self) -> Result<(), IndexError> {
        loop {
            match self.next() {
                Next::Write(steps) => {
                    self.write(&steps)?;
                    self.photograph()?;
                    if self.applied().0 - self.durable.0 >= CHECKPOINT_EVERY {
                        self.checkpoint()?;
                    }
                }
                Next::Photograph => self.photograph()?,
                Next::Checkpoint => self.checkpoint()?,
                Next::End(End::Finish) => return self.checkpoint(),
                Next::End(End::Abandon) => return Ok(()),
            }
        }
    }

    /// Waits for steps and takes as many as fit into one batch, or the first alone.
    fn next(&self) -> Next {
        let mut queue = self.shared.queue();
        loop {
            match queue.end {
                Some(End::Abandon) => return Next::End(End::Abandon),
                Some(End::Finish) if queue.steps.is_empty() => return Next::End(End::Finish),
                _ if queue.may_write() => return Next::Write(self.take(&mut queue)),
                _ if self.photographer.as_ref().is_some_and(Photographer::is_busy) => return Next::Photograph,
                _ => {}
            }
            if self.applied() == self.durable {
                queue = self.shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            } else {
                let (still, timeout) =
                    self.shared.work.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
                queue = still;
                if timeout.timed_out() && queue.steps.is_empty() && queue.end.is_none() {
                    return Next::Checkpoint;
                }
            }
        }
    }

    fn take(&self, queue: &mut Queue) -> Vec<Step> {
        let mut taken: Vec<Step> = Vec::new();
        let mut keys: BTreeSet<Bytes> = BTreeSet::new();
        while let Some(step) = queue.steps.front() {
            // Keys that many steps write (the counts) are written once.
            let fresh = step.changes.iter().filter(|change| !keys.contains(&change.key)).count();
            if !taken.is_empty() && keys.len() + fresh >= BATCH {
                break;
            }
            keys.extend(step.changes.iter().map(|change| change.key.clone()));
            taken.extend(queue.steps.pop_front());
        }
        queue.changes -= taken.iter().map(|step| weight(&step.changes)).sum::<usize>();
        if queue.changes <= queue.limit / 2 {
            queue.is_crowded = false;
        }
        if queue.is_open && queue.changes <= self.shared.room_usually {
            queue.limit = self.shared.room_usually;
        }
        taken
    }

    fn write(&mut self, steps: &[Step]) -> Result<(), IndexError> {
        let mut latest: BTreeMap<&Bytes, &Option<Bytes>> = BTreeMap::new();
        for change in steps.iter().flat_map(|step| &step.changes) {
            latest.insert(&change.key, &change.value);
        }
        let complete = steps.iter().rev().find_map(|step| step.completes);
        if let Some(photographer) = &mut self.photographer {
            photographer.put_aside(&self.index, latest.keys().copied())?;
        }
        self.is_whole = steps.last().is_none_or(|step| step.completes.is_some());
        self.index.write(latest, complete.map(|position| self.folder.mark(position)))?;
        if let Some(position) = complete {
            self.shared.applied.store(position.0, Ordering::Release);
        }
        // Only now: a reader that no longer finds a change in the overlay finds it below.
        if let Some(last) = steps.last() {
            self.shared.overlay.retire(steps.iter().flat_map(|step| &step.changes), last.number);
        }
        self.shared.room.notify_all();
        Ok(())
    }

    /// Goes on with a snapshot, if there is one to be taken.
    fn photograph(&mut self) -> Result<(), IndexError> {
        let applied = self.applied();
        if let Some(photographer) = &mut self.photographer {
            photographer.go_on(&self.index, applied, self.is_whole)?;
        }
        Ok(())
    }

    /// Makes durable what sled holds, and notes how far that is.
    fn checkpoint(&mut self) -> Result<(), IndexError> {
        let applied = self.applied();
        if applied == self.durable {
            return Ok(());
        }
        fault::reached(fault::CHECKPOINT_FLUSH)?;
        self.index.make_durable(&self.folder)?;
        fault::reached(fault::CHECKPOINT_NOTE)?;
        if let Err(failure) = self.folder.note_checkpoint(applied) {
            // The note only makes a later loss visible sooner; the mark inside sled is still there.
            warn!(%failure, "a checkpoint could not be noted");
        }
        self.durable = applied;
        Ok(())
    }

    fn applied(&self) -> Position {
        Position(self.shared.applied.load(Ordering::Acquire))
    }
}

/// Says that following has ended without being asked to, whether by an error or by a panic inside sled.
struct Alarm(Arc<Shared>);

impl Alarm {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.failed.store(true, Ordering::Release);
        self.0.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lgsp_journal::JournalId;

    use super::super::overlay::{Base, Read, View};
    use super::*;

    fn open(dir: &Path) -> (Sled, IndexFolder, Position) {
        let folder = IndexFolder::new(dir, JournalId([7; 16]));
        let (index, applied) = folder.open(Position(u64::MAX)).unwrap();
        (index, folder, applied)
    }

    fn change(key: u32, value: Option<u64>) -> Change {
        let value = value.map(|value| Bytes::copy_from_slice(&value.to_be_bytes()));
        Change { key: Bytes::copy_from_slice(&[&[3], &key.to_be_bytes()[..]].concat()), value }
    }

    #[test]
    fn what_is_on_its_way_is_bounded_visible_and_never_dropped() {
        const LIMIT: usize = 500;
        let dir = tempfile::tempdir().unwrap();
        let (index, folder, applied) = open(dir.path());
        let room = Room { usually: LIMIT, at_first: LIMIT };
        let follower = Follower::start_with(room, index.clone(), folder, applied, None).unwrap();
        for position in 1..=1_000u64 {
            let first = position as u32 * 3;
            // Ten keys of its own, and one that every record changes.
            let mut step: Vec<Change> =
                (0..10).map(|key| change(1_000_000 + first * 10 + key, Some(position))).collect();
            step.push(change(0, Some(position)));
            follower.push(Position(position), vec![step, vec![change(1, Some(position))]]);
            assert!(follower.overlay().len() <= LIMIT + 12);
            let view = View { overlay: follower.overlay(), base: &index };
            assert_eq!(view.get(&change(0, None).key).unwrap(), change(0, Some(position)).value);
            assert_eq!(view.get(&change(1, None).key).unwrap(), change(1, Some(position)).value);
        }
        follower.finish();
        assert!(follower.overlay().is_empty());
        assert!(!follower.has_failed());
        assert_eq!(follower.applied(), Position(1_000));
        assert_eq!(index.range(&[3], &[4], 20_000).unwrap().len(), 10_002);
        drop((follower, index));
        let (index, _, applied) = open(dir.path());
        assert_eq!(applied, Position(1_000));
        assert_eq!(index.range(&[3], &[4], 20_000).unwrap().len(), 10_002);
    }

    #[test]
    fn what_is_large_counts_as_many() {
        let large = Change { value: Some(Bytes::from(vec![0; 100 * ORDINARY])), ..change(0, None) };
        assert_eq!((weight(&[change(0, None)]), weight(&[large, change(1, Some(1))])), (1, 102));
    }

    #[test]
    fn a_record_that_changes_nothing_still_moves_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        let (index, folder, applied) = open(dir.path());
        let follower = Follower::start(index, folder, applied, None).unwrap();
        follower.push(Position(1), Vec::new());
        follower.finish();
        drop(follower);
        assert_eq!(open(dir.path()).2, Position(1));
    }

    #[test]
    fn more_may_wait_until_what_opening_left_has_drained() {
        let dir = tempfile::tempdir().unwrap();
        let (index, folder, applied) = open(dir.path());
        let room = Room { usually: 50, at_first: 900 };
        let follower = Follower::start_with(room, index.clone(), folder.clone(), applied, None).unwrap();
        let shared = Arc::clone(&follower.shared);
        let writer = Writer { shared, index, folder, durable: Position::ORIGIN, is_whole: true, photographer: None };
        let mut queue = Queue { limit: room.at_first, ..Queue::default() };
        let mut after_one = |is_open, waiting: usize| {
            let steps = (0..waiting).map(|key| Step {
                number: 1,
                changes: vec![change(u32::try_from(key).unwrap(), Some(0))],
                completes: None,
            });
            (queue.steps, queue.changes, queue.is_open) = (steps.collect(), waiting, is_open);
            writer.take(&mut queue);
            queue.limit
        };
        // While the store is being opened little may wait at times, but much more is to come.
        assert_eq!(after_one(false, 70), 900);
        assert_eq!(after_one(true, 500), 900);
        assert_eq!(after_one(true, 70), 50);
        assert_eq!(after_one(true, 500), 50);
    }

    #[test]
    fn sled_is_left_alone_until_the_store_is_open_or_too_much_waits() {
        let waiting = |is_open, is_crowded, end| {
            let step = Step { number: 1, changes: vec![change(1, Some(1))], completes: Some(Position(1)) };
            Queue { steps: VecDeque::from([step]), is_open, is_crowded, end, ..Queue::default() }.may_write()
        };
        assert!(!waiting(false, false, None));
        assert!(waiting(true, false, None));
        assert!(waiting(false, true, None));
        assert!(waiting(false, false, Some(End::Finish)));

        let dir = tempfile::tempdir().unwrap();
        let (index, folder, applied) = open(dir.path());
        let room = Room { usually: 10, at_first: 100 };
        let follower = Follower::start_with(room, index.clone(), folder, applied, None).unwrap();
        for position in 1..=1_000u32 {
            follower.push(Position(position.into()), vec![vec![change(position, Some(1))]]);
            assert!(follower.overlay().len() <= 102);
        }
        follower.opened();
        follower.finish();
        assert_eq!(index.range(&[3], &[4], 2_000).unwrap().len(), 1_000);
    }

    #[test]
    fn a_mark_never_runs_ahead_of_a_record_that_is_only_begun() {
        let steps: VecDeque<Step> = [(1, None), (2, Some(Position(1))), (3, None), (4, Some(Position(2)))]
            .into_iter()
            .map(|(number, completes)| {
                let changes = (0..40).map(|key| change(number * 100 + key, Some(0))).collect();
                Step { number: u64::from(number), changes, completes }
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let (index, folder, applied) = open(dir.path());
        let follower = Follower::start(index.clone(), folder.clone(), applied, None).unwrap();
        let shared = Arc::clone(&follower.shared);
        let durable = Position::ORIGIN;
        let mut writer = Writer { shared, index, folder, durable, is_whole: true, photographer: None };
        let mut queue = Queue { changes: 160, steps, ..Queue::default() };
        let mut marks = Vec::new();
        while !queue.steps.is_empty() {
            let batch = writer.take(&mut queue);
            assert!(batch.iter().map(|step| step.changes.len()).sum::<usize>() < BATCH);
            writer.write(&batch).unwrap();
            marks.push(follower.applied().0);
        }
        assert_eq!(marks, [0, 1, 1, 2]);
        assert_eq!(queue.changes, 0);
    }
}
