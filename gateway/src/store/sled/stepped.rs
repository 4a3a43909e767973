//! The embedded engine on one thread and in memory: the same checks, the same records, the same journal, but nothing moves
//! unless it is told to. For simulations, the one place where memory may stand for a disk.
//!
//! The index is never written anywhere: everything stays in the overlay, and opening makes it again from the journal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use lgsp_journal::group::{self, GroupCommit};
use lgsp_journal::room::Room;
use lgsp_journal::seal::{KeyRing, NodeKey};
use lgsp_journal::{Files, Position};

use super::super::follower::Follow;
use super::super::fsck;
use super::super::overlay::{Change, Memory, Overlay};
use super::super::*;
use super::committing::{Inner, Pending, Projector};
use super::{Embedded, Limits, OpenError};

/// The embedded engine for simulations.
pub type SteppedStore = Embedded<InMemory>;

/// An index of which everything is on its way, for ever.
#[derive(Debug, Default)]
pub struct InMemory {
    overlay: Overlay,
    visible: AtomicU64,
    steps: AtomicU64,
}

impl Follow for InMemory {
    type Below = Memory;

    const IN_BACKGROUND: bool = false;

    fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    fn visible(&self) -> Position {
        Position(self.visible.load(Ordering::Acquire))
    }

    fn applied(&self) -> Position {
        self.visible()
    }

    fn has_failed(&self) -> bool {
        false
    }

    fn push(&self, position: Position, steps: Vec<Vec<Change>>) {
        let first = self.steps.fetch_add(steps.len() as u64, Ordering::AcqRel) + 1;
        self.overlay.apply(first, &steps);
        self.visible.store(position.0, Ordering::Release);
    }

    fn finish(&self) {}
}

impl SteppedStore {
    /// Opens a store whose journal and keys are on a disk of a test's making. What is committed waits until
    /// [`SteppedStore::write_batch`] is called.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        journal: Arc<dyn Files>,
        keys: Arc<dyn Files>,
        node_key: &NodeKey,
        limits: Limits,
    ) -> Result<Self, OpenError> {
        let keys = KeyRing::open(keys, node_key).map_err(|error| OpenError::Keys(error.into()))?;
        let journal = lgsp_journal::open(journal, lgsp_journal::Options { segment_bytes: limits.segment_bytes })?;
        let follower = Arc::new(InMemory::default());
        let projector = Arc::new(Projector::new(Memory::default(), Arc::clone(&follower))?);
        for record in journal.reader.replay(Position::FIRST) {
            let (position, bytes) = record.map_err(records::journal_failed)?;
            let (_, fact) = records::decode(position, &bytes)?;
            let projected = projector.project(position, &fact);
            projected.map_err(|error| ReadError::Damaged(format!("record {position}: {error}")))?;
        }
        let hook = Arc::clone(&projector);
        let queue = group::Limits { queue_records: limits.queue, ..group::Limits::default() };
        let apply = move |batch: &[(Position, Pending)]| hook.apply(batch);
        let committer = GroupCommit::by_hand(journal.writer, queue, apply);
        let inner = Inner {
            reader: journal.reader,
            keys: Arc::new(keys),
            preparing: Default::default(),
            index: Memory::default(),
            follower,
            journal: committer.handle(),
            committer: Mutex::new(Some(committer)),
            claims: Default::default(),
            counters: Default::default(),
            projector,
            room: Arc::new(Room::watch("/", 0)),
        };
        Ok(Self { inner: ArcSwapOption::from_pointee(inner) })
    }

    /// Writes, syncs, shows and answers one batch of what waits; whether anything waited. A failure is what those who waited
    /// are told.
    pub fn write_batch(&self) -> bool {
        self.inner.load_full().is_some_and(|inner| inner.write_batch())
    }

    /// Lets go of everything as a process does that is killed: nothing is finished, nobody is answered.
    pub fn kill(&self) {
        let Some(inner) = self.inner.swap(None) else { return };
        if let Some(committer) = inner.committer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            committer.abandon();
        }
    }

    /// What `lgsp fsck` says about this store; nothing once it is closed.
    pub fn check(&self) -> Option<fsck::Report> {
        let inner = self.inner.load_full()?;
        Some(fsck::check_open(&inner.reader, &inner.keys, inner.view()))
    }
}

impl Inner<InMemory> {
    fn write_batch(&self) -> bool {
        let mut committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        committer.as_mut().is_some_and(|committer| committer.write_batch().unwrap_or(false))
    }
}
