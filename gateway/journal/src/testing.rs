//! A disk for tests: it records every operation, fails when told to, and can be looked at in every state a crash may leave.
//!
//! The model is harsher than a real file system is known to be. A write that was not synced may be kept, dropped, cut short, or
//! partly zero; each change of a name may be kept or dropped by itself, whatever became of the others; and a write whose
//! sync failed stays in doubt even if a later sync succeeds, as Linux has it. Killing the process keeps everything, but what was
//! not synced *stays* not synced for the next process, until it syncs or the power fails.
//!
//! What only a real disk shows, filling up to its last byte, is tried on a small one: [`on_a_small_disk`].

mod small_disk;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{AppendFile, Files, ReadFile};
pub use small_disk::on_a_small_disk;

/// A disk in memory. Clones are handles to the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

/// How an operation fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Nothing is done and an error is returned. A failed sync leaves the bytes in doubt for good.
    Error,
    /// An append writes half of its bytes and then finds the disk full; any other operation fails as with
    /// [`Fault::Error`].
    Full,
}

#[derive(Debug, Default)]
struct State {
    /// The disk when recording began.
    base: World,
    /// The disk as processes see it now.
    now: World,
    log: Vec<Operation>,
    faults: Vec<(usize, Fault)>,
    attempts: usize,
}

/// What a process may ask of the disk that changes it.
#[derive(Clone, Debug)]
enum Operation {
    Create { name: String },
    Append { file: usize, bytes: Vec<u8> },
    Sync { file: usize, succeeds: bool },
    Rename { from: String, to: String },
    Remove { name: String },
    SyncDir,
}

/// What is on the platter, and what is still on its way there.
#[derive(Clone, Debug, Default)]
struct World {
    files: Vec<Contents>,
    /// The names as processes see them.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// The bytes as processes see them.
    bytes: Vec<u8>,
    /// Writes that no sync has vouched for, in order.
    pending: Vec<Write>,
}

#[derive(Clone, Debug)]
struct Write {
    start: usize,
    end: usize,
    /// Its sync failed: no later one vouches for it.
    in_doubt: bool,
}

#[derive(Clone, Debug)]
enum NameChange {
    Give { name: String, file: usize },
    Move { from: String, to: String, file: usize },
    Take { name: String },
}

/// What may become of a write that was not synced when the power fails.
#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Dropped,
    /// The first half arrived, and the file ends there unless a later write arrived.
    CutShort,
    /// The file has its full length, but only the first half has its bytes.
    TailZero,
    /// The file has its full length, but only the second half has its bytes.
    HeadZero,
}

const FATES: [Fate; 5] = [Fate::Kept, Fate::Dropped, Fate::CutShort, Fate::TailZero, Fate::HeadZero];

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk as an interface.
    #[must_use]
    pub fn files(&self) -> Arc<dyn Files> {
        Arc::new(self.clone())
    }

    /// How many operations have changed the disk since recording began.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.state().log.len()
    }

    /// The disk as it is if the process is killed after the first `operations` of those recorded. What was not synced stays
    /// so. Recording begins anew.
    #[must_use]
    pub fn killed_after(&self, operations: usize) -> Self {
        let state = self.state();
        let mut world = state.base.clone();
        for operation in &state.log[..operations] {
            world.apply(operation);
        }
        Self::begin(world)
    }

    /// The disk if the process is killed now. Recording begins anew.
    #[must_use]
    pub fn killed(&self) -> Self {
        Self::begin(self.state().now.clone())
    }

    /// The disk after a power cut now. `choose(n)` is asked for a number below `n` for each write and name in doubt.
    #[must_use]
    pub fn power_cut(&self, mut choose: impl FnMut(usize) -> usize) -> Self {
        Self::begin(self.state().now.power_cut(&mut choose))
    }

    /// The harshest power cut: everything that was not synced is gone.
    #[must_use]
    pub fn power_cut_dropping_all(&self) -> Self {
        // The options are listed with the dropped one second, for writes and names alike.
        self.power_cut(|_| 1)
    }

    /// Every disk that a power cut now may leave, each only once.
    #[must_use]
    pub fn power_cuts(&self) -> Vec<Self> {
        let now = self.state().now.clone();
        let mut seen = BTreeSet::new();
        let mut disks = Vec::new();
        let mut choices = Choices::default();
        loop {
            let world = now.power_cut(&mut |options| choices.choose(options));
            if seen.insert(world.visible()) {
                disks.push(Self::begin(world));
            }
            if !choices.advance() {
                return disks;
            }
        }
    }

    /// Makes the operation that comes after `skipped` others fail, whether or not it would change the disk.
    pub fn fail_after(&self, skipped: usize, fault: Fault) {
        let mut state = self.state();
        let at = state.attempts + skipped;
        state.faults.push((at, fault));
    }

    /// How many operations were asked for since recording began, failed ones included; for choosing what to fail.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.state().attempts
    }

    /// The names of all files.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.state().now.names.keys().cloned().collect()
    }

    /// The bytes of a file.
    ///
    /// # Panics
    /// There is no such file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.now.files[state.now.names[name]].bytes.clone()
    }

    /// Changes a file behind everyone's back, as a failing medium does.
    ///
    /// # Panics
    /// There is no such file.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.now.names[name];
        change(&mut state.now.files[file].bytes);
    }

    /// Takes a file away behind everyone's back.
    ///
    /// # Panics
    /// There is no such file.
    pub fn remove_file(&self, name: &str) {
        let mut state = self.state();
        state.now.names.remove(name).expect("the file is there");
        state.now.durable_names.remove(name);
    }

    fn begin(world: World) -> Self {
        Self(Arc::new(Mutex::new(State { base: world.clone(), now: world, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.state();
        let attempt = state.attempts;
        state.attempts += 1;
        let fault = state.faults.iter().find(|(at, _)| *at == attempt).map(|(_, fault)| *fault);
        let done = match (fault, operation) {
            (None, operation) => Some(operation),
            (Some(_), Operation::Sync { file, .. }) => Some(Operation::Sync { file, succeeds: false }),
            (Some(Fault::Full), Operation::Append { file, mut bytes }) => {
                bytes.truncate(bytes.len() / 2);
                Some(Operation::Append { file, bytes })
            }
            (Some(_), _) => None,
        };
        if let Some(done) = done {
            state.now.apply(&done);
            state.log.push(done);
        }
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(io::Error::other("injected failure")),
            Some(Fault::Full) => Err(io::Error::new(io::ErrorKind::StorageFull, "injected full disk")),
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        let not_found = || io::Error::new(io::ErrorKind::NotFound, name.to_owned());
        self.state().now.names.get(name).copied().ok_or_else(not_found)
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn AppendFile>> {
        if self.find(name).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, name.to_owned()));
        }
        self.perform(Operation::Create { name: name.to_owned() })?;
        Ok(Box::new(DiskFile { disk: self.clone(), file: self.find(name)? }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(DiskFile { disk: self.clone(), file: self.find(name)? }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.find(from)?;
        self.perform(Operation::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.perform(Operation::Remove { name: name.to_owned() })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.perform(Operation::SyncDir)
    }
}

struct DiskFile {
    disk: Disk,
    file: usize,
}

impl AppendFile for DiskFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.perform(Operation::Append { file: self.file, bytes: bytes.to_owned() })
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.disk.perform(Operation::Sync { file: self.file, succeeds: true })
    }
}

impl ReadFile for DiskFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let bytes = &state.now.files[self.file].bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().now.files[self.file].bytes.len() as u64)
    }
}

impl World {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { name } => {
                let file = self.files.len();
                self.files.push(Contents::default());
                self.change_name(NameChange::Give { name: name.clone(), file });
            }
            Operation::Append { file, bytes } => {
                let contents = &mut self.files[*file];
                let start = contents.bytes.len();
                contents.bytes.extend_from_slice(bytes);
                contents.pending.push(Write { start, end: contents.bytes.len(), in_doubt: false });
            }
            Operation::Sync { file, succeeds: true } => self.files[*file].pending.retain(|write| write.in_doubt),
            Operation::Sync { file, succeeds: false } => {
                self.files[*file].pending.iter_mut().for_each(|write| write.in_doubt = true);
            }
            Operation::Rename { from, to } => {
                let file = self.names[from];
                self.change_name(NameChange::Move { from: from.clone(), to: to.clone(), file });
            }
            Operation::Remove { name } => self.change_name(NameChange::Take { name: name.clone() }),
            Operation::SyncDir => {
                self.durable_names = self.names.clone();
                self.pending_names.clear();
            }
        }
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn power_cut(&self, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let mut names = self.durable_names.clone();
        for change in &self.pending_names {
            if choose(2) == 0 {
                change.apply(&mut names);
            }
        }
        let mut files = vec![Contents::default(); self.files.len()];
        // A file that no name leads to is gone; asking for its fate would only multiply the same state.
        for &file in names.values() {
            files[file] = self.files[file].power_cut(choose);
        }
        Self { files, durable_names: names.clone(), names, pending_names: Vec::new() }
    }

    /// Everything a process could find out about this disk.
    fn visible(&self) -> Vec<(String, Vec<u8>)> {
        self.names.iter().map(|(name, file)| (name.clone(), self.files[*file].bytes.clone())).collect()
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Give { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Move { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Take { name } => {
                names.remove(name);
            }
        }
    }
}

impl Contents {
    fn power_cut(&self, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let mut bytes = self.bytes.clone();
        // The file reaches as far as the last byte that is durable or arrived.
        let mut reach = match self.pending.last() {
            Some(last) if last.end == bytes.len() => 0,
            _ => bytes.len(),
        };
        for (at, write) in self.pending.iter().enumerate() {
            let before = if at == 0 { 0 } else { self.pending[at - 1].end };
            if write.start > before {
                reach = reach.max(write.start);
            }
            let middle = write.start + (write.end - write.start) / 2;
            let (zeroed, reached) = match FATES[choose(FATES.len())] {
                Fate::Kept => (write.end..write.end, write.end),
                Fate::Dropped => (write.start..write.end, 0),
                Fate::CutShort => (middle..write.end, middle),
                Fate::TailZero => (middle..write.end, write.end),
                Fate::HeadZero => (write.start..middle, write.end),
            };
            bytes[zeroed].fill(0);
            reach = reach.max(reached);
        }
        bytes.truncate(reach);
        Self { bytes, pending: Vec::new() }
    }
}

/// All ways through a number of choices, one after the other.
///
/// [`Choices::choose`] is called as often as there are choices on this way; [`Choices::advance`] goes to the next one. It is
/// public because tests that crash more than once need the same walk.
#[derive(Debug, Default)]
pub struct Choices {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    /// The choice among `options` on this way.
    pub fn choose(&mut self, options: usize) -> usize {
        if self.at == self.made.len() {
            self.made.push((0, options));
        }
        self.at += 1;
        self.made[self.at - 1].0
    }

    /// Goes to the next way; `false` when all have been gone.
    pub fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, options)) = self.made.pop() {
            if choice + 1 < options {
                self.made.push((choice + 1, options));
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_is_kept_and_the_rest_is_in_doubt() {
        let disk = Disk::new();
        let mut file = disk.create("x").unwrap();
        file.append(b"ab").unwrap();
        file.sync_data().unwrap();
        assert!(disk.power_cut_dropping_all().names().is_empty(), "the name was not synced");
        disk.sync_dir().unwrap();
        file.append(b"cd").unwrap();
        let left: Vec<Vec<u8>> = disk.power_cuts().iter().map(|disk| disk.contents("x")).collect();
        assert_eq!(left, [&b"abcd"[..], b"ab", b"abc", b"abc\0", b"ab\0d"]);
        assert_eq!(disk.killed().power_cut_dropping_all().contents("x"), b"ab", "killing syncs nothing");
    }

    #[test]
    fn a_failed_sync_leaves_its_bytes_in_doubt_for_good() {
        let disk = Disk::new();
        let mut file = disk.create("x").unwrap();
        disk.sync_dir().unwrap();
        file.append(b"ab").unwrap();
        disk.fail_after(0, Fault::Error);
        file.sync_data().unwrap_err();
        file.append(b"cd").unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.contents("x"), b"abcd");
        assert_eq!(disk.power_cut_dropping_all().contents("x"), b"\0\0cd");
    }

    #[test]
    fn a_prefix_is_the_disk_as_it_was() {
        let disk = Disk::new();
        let mut file = disk.create("x").unwrap();
        file.append(b"ab").unwrap();
        disk.rename("x", "y").unwrap();
        assert_eq!(disk.killed_after(1).contents("x"), b"");
        assert_eq!(disk.killed_after(2).contents("x"), b"ab");
        assert_eq!(disk.killed_after(3).names(), ["y"]);
    }

    #[test]
    fn choices_go_every_way_once() {
        let mut choices = Choices::default();
        let mut ways = Vec::new();
        loop {
            let first = choices.choose(2);
            ways.push((first, if first == 0 { choices.choose(3) } else { 9 }));
            if !choices.advance() {
                break;
            }
        }
        assert_eq!(ways, [(0, 0), (0, 1), (0, 2), (1, 9)]);
    }
}
