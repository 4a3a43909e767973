//! Snapshots of the index: what bounds how much of the journal a rebuild has to read.
//!
//! One file holds every entry of the index as of one record. It is a shortcut and never the truth: it is written beside a
//! running store, named only when it is durable, and believed only if it is whole, of this journal, of this form of the index,
//! and taken at a record that the journal still has. Whatever else is found is passed over, and the journal is read instead.
//!
//! ```text
//! PPPPPPPPPPPPPPPPPPPP.snapshot = head, entry, entry, …, tail           P = the position, in decimal; numbers little-endian
//!
//! head   0 magic "LGSPSNAP"   8 version u32   12 form of the index u32   16 journal id [16]   32 position u64
//!       40 SHA-256 of the record at that position [32]                   72 crc of 0..72       76 bytes
//! entry  key length u32, value length u32, key, value; the keys in order, none twice
//! tail   0 entries u64   8 SHA-256 of everything before it [32]                                40 bytes
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;
use lgsp_journal::files::{AppendFile, ReadFile};
use lgsp_journal::room::Room;
use lgsp_journal::{Files, Position, Reader, fault};
use tracing::{info, warn};

use super::ReadError;
use super::codec::FORMAT;
use super::keys;
use super::overlay::Base;

/// Snapshots that are kept: the newest, and the one before it should the newest turn out to be damaged.
const KEPT: usize = 2;

/// Entries that are written at a time, between two batches of the index: a millisecond or so.
const SLICE: usize = 1_024;

/// Bytes between two syncs of a file under way, so that none of them holds up the follower for long.
const SYNC_EVERY: usize = 8 << 20;

/// Values from before the snapshot's record that may wait to be written, some 40 MB. Beyond it the snapshot is given up: what
/// changes that fast is better photographed later.
const BEFORE_MAX: usize = 200_000;

/// Entries that may be written into snapshots for one record. An entry costs about a twentieth of what replaying a record
/// does. With two to three entries a record a rebuild replays at most about an eighth of what its snapshot stands for; and
/// what writing them costs stays in proportion to what the records cost.
const ENTRIES_PER_RECORD: u64 = 16;

/// Bytes that are read at a time.
const READ_AT_ONCE: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"LGSPSNAP";
const VERSION: u32 = 1;
const HEAD: usize = 76;
const TAIL: usize = 40;
const SHA: usize = 32;
const SUFFIX: &str = ".snapshot";
const TEMPORARY: &str = ".snapshot.tmp";

/// The snapshots of one journal's index.
#[derive(Clone)]
pub(super) struct Snapshots {
    files: Arc<dyn Files>,
    journal: Reader,
}

/// A snapshot that is whole and of this journal.
pub(super) struct Snapshot {
    file: Box<dyn ReadFile>,
    length: u64,
    pub(super) position: Position,
    pub(super) entries: u64,
}

/// Why a snapshot is not used. Nothing is lost by it: the journal is read from further back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// A later version wrote it.
    #[error("it was written by a later version (form {0})")]
    Later(u32),
    /// It is of another form of the index.
    #[error("it is of form {0} of the index, not {FORMAT}")]
    OtherForm(u32),
    /// It belongs to another journal, or to another past of this one.
    #[error("it does not belong to this journal")]
    Foreign,
    /// It is not what was written.
    #[error("it is damaged")]
    Damaged,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The record it was taken at cannot be read.
    #[error("the record it was taken at cannot be read: {0}")]
    Record(#[from] lgsp_journal::ReadError),
}

impl Snapshots {
    /// The snapshots in `files`, which may be a folder of their own.
    pub(super) fn new(files: Arc<dyn Files>, journal: Reader) -> Self {
        Self { files, journal }
    }

    /// The positions of all snapshots there are, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn positions(&self) -> io::Result<Vec<Position>> {
        let names = self.files.list()?;
        let mut positions: Vec<Position> = names.iter().filter_map(|name| position_of(name)).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        Ok(positions)
    }

    /// Removes what a crash left half written, and what was taken of records that this journal no longer has.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for name in self.files.list()? {
            let is_beyond = position_of(&name).is_some_and(|position| position > self.journal.durable());
            if name.ends_with(TEMPORARY) || is_beyond {
                self.files.remove(&name)?;
            }
        }
        Ok(())
    }

    /// The snapshot at `position`, read whole and checked.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub(super) fn open(&self, position: Position) -> Result<Snapshot, Unusable> {
        let snapshot = self.look_at(position)?;
        let mut hash = Context::new(&SHA256);
        let end = snapshot.length - SHA as u64;
        let mut at = 0;
        let mut buffer = vec![0; READ_AT_ONCE];
        while at < end {
            let wanted = READ_AT_ONCE.min(usize::try_from(end - at).unwrap_or(READ_AT_ONCE));
            read_exactly(&*snapshot.file, at, &mut buffer[..wanted])?;
            hash.update(&buffer[..wanted]);
            at += wanted as u64;
        }
        let mut noted = [0; SHA];
        read_exactly(&*snapshot.file, end, &mut noted)?;
        if hash.finish().as_ref() != noted {
            return Err(Unusable::Damaged);
        }
        Ok(snapshot)
    }

    /// As [`Snapshots::open`], but only head and tail are read.
    fn look_at(&self, position: Position) -> Result<Snapshot, Unusable> {
        let file = self.files.open(&name_of(position))?;
        let length = file.length()?;
        if length < (HEAD + TAIL) as u64 {
            return Err(Unusable::Damaged);
        }
        let mut head = [0; HEAD];
        read_exactly(&*file, 0, &mut head)?;
        // The check sum lies where the first version put it; a later one keeps its place, or is damage to this one.
        if head[0..8] != MAGIC || u32_at(&head, 72) != crc32c::crc32c(&head[..72]) {
            return Err(Unusable::Damaged);
        }
        if u32_at(&head, 8) != VERSION {
            return Err(Unusable::Later(u32_at(&head, 8)));
        }
        if u32_at(&head, 12) != FORMAT {
            return Err(Unusable::OtherForm(u32_at(&head, 12)));
        }
        let of_this_journal = head[16..32] == self.journal.journal().0 && u64_at(&head, 32) == position.0;
        if !of_this_journal || position > self.journal.durable() {
            return Err(Unusable::Foreign);
        }
        if head[40..72] != *digest(&SHA256, &self.journal.read(position)?).as_ref() {
            return Err(Unusable::Foreign);
        }
        let mut tail = [0; TAIL];
        read_exactly(&*file, length - TAIL as u64, &mut tail)?;
        Ok(Snapshot { file, length, position, entries: u64_at(&tail, 0) })
    }

    /// Begins a snapshot of the index as of `position`.
    fn begin(&self, position: Position) -> Result<Draft, Unusable> {
        let record = digest(&SHA256, &self.journal.read(position)?);
        let temporary = format!("{:020}{TEMPORARY}", position.0);
        match self.files.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = self.files.create(&temporary)?;
        let hash = Context::new(&SHA256);
        let mut draft = Draft { position, temporary, file, hash, buffer: Vec::new(), unsynced: 0, entries: 0 };
        let mut head = [0; HEAD];
        head[0..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[12..16].copy_from_slice(&FORMAT.to_le_bytes());
        head[16..32].copy_from_slice(&self.journal.journal().0);
        head[32..40].copy_from_slice(&position.0.to_le_bytes());
        head[40..72].copy_from_slice(record.as_ref());
        let crc = crc32c::crc32c(&head[..72]);
        head[72..76].copy_from_slice(&crc.to_le_bytes());
        draft.buffer.extend_from_slice(&head);
        Ok(draft)
    }

    /// Gives a finished draft its name, durably, and lets go of snapshots that are too old to be needed.
    fn publish(&self, draft: Draft) -> io::Result<u64> {
        let (position, temporary) = (draft.position, draft.temporary.clone());
        let entries = draft.finish()?;
        fault::reached(fault::SNAPSHOT_NAME)?;
        self.files.rename(&temporary, &name_of(position))?;
        fault::reached(fault::SNAPSHOT_FOLDER)?;
        self.files.sync_dir()?;
        for old in self.positions()?.into_iter().skip(KEPT) {
            self.files.remove(&name_of(old))?;
        }
        Ok(entries)
    }
}

impl Snapshot {
    /// Its entries, in order.
    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { snapshot: self, at: HEAD as u64, buffer: Vec::new(), used: 0 }
    }
}

/// Walks the entries of a snapshot.
pub(super) struct Entries<'a> {
    snapshot: &'a Snapshot,
    /// What of the file is in the buffer or behind us.
    at: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Entries<'_> {
    /// Sees to it that `wanted` bytes are in the buffer; false at the end.
    fn fill(&mut self, wanted: usize) -> Result<bool, Unusable> {
        let end = self.snapshot.length - TAIL as u64;
        let there = self.buffer.len() - self.used;
        if there >= wanted {
            return Ok(true);
        }
        let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        if there + left < wanted {
            return if there + left == 0 { Ok(false) } else { Err(Unusable::Damaged) };
        }
        let more = left.min(READ_AT_ONCE.max(wanted - there));
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.resize(there + more, 0);
        read_exactly(&*self.snapshot.file, self.at, &mut self.buffer[there..])?;
        self.at += more as u64;
        Ok(true)
    }

    fn take(&mut self, length: usize) -> Bytes {
        let taken = Bytes::copy_from_slice(&self.buffer[self.used..self.used + length]);
        self.used += length;
        taken
    }

    fn entry(&mut self) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        if !self.fill(8)? {
            return Ok(None);
        }
        let lengths = self.take(8);
        let (key, value) = (u32_at(&lengths, 0) as usize, u32_at(&lengths, 4) as usize);
        if !self.fill(key.saturating_add(value))? {
            return Err(Unusable::Damaged);
        }
        Ok(Some((self.take(key), self.take(value))))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Bytes, Bytes), Unusable>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entry().transpose()
    }
}

/// A snapshot that is being written.
struct Draft {
    position: Position,
    temporary: String,
    file: Box<dyn AppendFile>,
    hash: Context,
    buffer: Vec<u8>,
    unsynced: usize,
    entries: u64,
}

impl Draft {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        // Keys are a few dozen bytes, values a few kilobytes at most.
        self.buffer.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(value);
        self.entries += 1;
    }

    fn write(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.file.append(&self.buffer)?;
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        fault::reached(fault::SNAPSHOT_WRITE)?;
        if self.unsynced >= SYNC_EVERY {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.buffer.extend_from_slice(&self.entries.to_le_bytes());
        self.hash.update(&self.buffer);
        let digest = self.hash.finish();
        self.buffer.extend_from_slice(digest.as_ref());
        self.file.append(&self.buffer)?;
        self.file.sync_data()?;
        Ok(self.entries)
    }
}

/// Takes snapshots beside the follower, a slice at a time.
///
/// sled has no view of a moment, and the follower must not stand still for as long as reading everything takes. So before
/// the follower changes an entry that was not written yet, its value is put aside here, and is written in its place: the file
/// holds the index exactly as it was when the snapshot began.
pub(super) struct Photographer {
    snapshots: Snapshots,
    /// A snapshot is only a shortcut: it must never take the room that a record needs.
    room: Arc<Room>,
    /// Records between two snapshots, at least.
    every: u64,
    /// See [`ENTRIES_PER_RECORD`].
    entries_per_record: u64,
    /// Entries that are written at a time.
    slice: usize,
    /// The next one is due when the index has this record.
    due: Position,
    under_way: Option<Exposure>,
}

/// A snapshot under way.
struct Exposure {
    draft: Draft,
    /// Everything before this key is written.
    from: Vec<u8>,
    /// Values of entries from there on that have changed since; `None` for what was not there.
    before: BTreeMap<Bytes, Option<Bytes>>,
}

impl Photographer {
    /// Goes on after the newest snapshot there is. One is due when more records have come since the last than `every`, and than a
    /// sixteenth of the entries it held: see [`ENTRIES_PER_RECORD`].
    pub(super) fn new(snapshots: Snapshots, every: u64, room: Arc<Room>) -> Self {
        // Whoever is in a hurry to see one is so whatever it costs.
        let hurried = fault::snapshot_every().map(|every| (every, u64::MAX));
        let (every, entries_per_record) = hurried.unwrap_or((every, ENTRIES_PER_RECORD));
        let newest = snapshots.positions().ok().and_then(|positions| positions.first().copied());
        let last = newest.and_then(|position| snapshots.look_at(position).ok());
        let due = last.map_or(Position(every), |last| after(last.position, every, last.entries / entries_per_record));
        Self { snapshots, room, every, entries_per_record, slice: SLICE, due, under_way: None }
    }

    /// Whether there is something to be written.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Puts aside what is about to be overwritten. To be called before every change of the index.
    ///
    /// # Errors
    /// The index could not be read.
    pub(super) fn put_aside<'a>(
        &mut self,
        index: &impl Base,
        keys: impl IntoIterator<Item = &'a Bytes>,
    ) -> Result<(), ReadError> {
        let Some(exposure) = &mut self.under_way else { return Ok(()) };
        for key in keys {
            if key[..] >= exposure.from[..] && !exposure.before.contains_key(key) {
                exposure.before.insert(key.clone(), index.get(key)?);
            }
        }
        if exposure.before.len() > BEFORE_MAX {
            let position = exposure.draft.position;
            self.give_up(position, &"too much changes meanwhile");
        }
        Ok(())
    }

    /// Goes on a little: begins a snapshot if one is due, writes a slice of one that is under way. The index holds everything
    /// up to `applied`, and nothing beyond it if it `is_whole`.
    ///
    /// # Errors
    /// The index could not be read. That a snapshot cannot be written is no error: it is only a shortcut.
    pub(super) fn go_on(&mut self, index: &impl Base, applied: Position, is_whole: bool) -> Result<(), ReadError> {
        let is_due = self.under_way.is_none() && is_whole && applied >= self.due;
        if is_due || self.under_way.is_some() {
            // Asked again at every slice: the file is as large as the index, and what it has taken so far is given back.
            if let Err(shortage) = self.room.for_more() {
                let position = self.under_way.as_ref().map_or(applied, |exposure| exposure.draft.position);
                self.give_up(position, &shortage);
                return Ok(());
            }
        }
        if is_due {
            match self.snapshots.begin(applied) {
                Ok(draft) => {
                    self.under_way = Some(Exposure { draft, from: Vec::new(), before: BTreeMap::new() });
                }
                Err(failure) => self.give_up(applied, &failure),
            }
        }
        let Some(exposure) = &mut self.under_way else { return Ok(()) };
        let position = exposure.draft.position;
        let is_last = exposure.write_slice(index, self.slice)?;
        if let Err(failure) = exposure.draft.write() {
            self.give_up(position, &failure);
        } else if is_last && let Some(Exposure { draft, .. }) = self.under_way.take() {
            match self.snapshots.publish(draft) {
                Ok(entries) => {
                    self.due = after(position, self.every, entries / self.entries_per_record);
                    info!(%position, entries, "a snapshot of the index was taken");
                }
                Err(failure) => self.give_up(position, &failure),
            }
        }
        Ok(())
    }

    /// Leaves a snapshot; the next one is tried when as many records have come again.
    fn give_up(&mut self, position: Position, failure: &dyn std::fmt::Display) {
        warn!(%position, %failure, "a snapshot of the index could not be taken; a rebuild reads more of the journal");
        if let Some(Exposure { draft, .. }) = self.under_way.take() {
            // If not now, then when the store is opened.
            let _ = self.snapshots.files.remove(&draft.temporary);
        }
        self.due = Position(position.0 + self.every);
    }
}

impl Exposure {
    /// Puts the next entries into the draft; true when they were the last ones.
    fn write_slice(&mut self, index: &impl Base, limit: usize) -> Result<bool, ReadError> {
        let end = [u8::MAX];
        let below = index.range(&self.from, &end, limit)?;
        let next = below.last().filter(|_| below.len() == limit).map(|(last, _)| keys::after(last.to_vec()));
        let later = self.before.split_off(next.as_deref().unwrap_or(&end));
        let before = std::mem::replace(&mut self.before, later);
        let mut slice: BTreeMap<Bytes, Option<Bytes>> =
            below.into_iter().map(|(key, value)| (key, Some(value))).collect();
        slice.extend(before);
        for (key, value) in slice {
            if let Some(value) = value
                && keys::is_projected(&key)
            {
                self.draft.push(&key, &value);
            }
        }
        let is_last = next.is_none();
        self.from = next.unwrap_or_else(|| end.to_vec());
        Ok(is_last)
    }
}

/// When the snapshot after one that was taken at `position` is due; what that one cost is reckoned in records.
fn after(position: Position, every: u64, its_price: u64) -> Position {
    Position(position.0 + every.max(its_price))
}

fn name_of(position: Position) -> String {
    format!("{:020}{SUFFIX}", position.0)
}

fn position_of(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_one = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| digits.parse().ok().map(Position)).flatten()
}

fn read_exactly(file: &dyn ReadFile, offset: u64, buffer: &mut [u8]) -> Result<(), Unusable> {
    if file.read_at(offset, buffer)? == buffer.len() { Ok(()) } else { Err(Unusable::Damaged) }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Snapshots of bytes, for a fuzzer.
#[cfg(feature = "fuzz")]
pub(super) mod fuzz {
    use super::*;

    struct Held(Vec<u8>);

    impl ReadFile for Held {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
            let read = buffer.len().min(self.0.len() - from);
            buffer[..read].copy_from_slice(&self.0[from..from + read]);
            Ok(read)
        }

        fn length(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
    }

    /// A snapshot with these bytes between a head and a tail that hold.
    pub(in crate::store) fn of_entries(entries: Vec<u8>) -> Snapshot {
        let bytes = [vec![0; HEAD], entries, vec![0; TAIL]].concat();
        let length = bytes.len() as u64;
        Snapshot { file: Box::new(Held(bytes)), length, position: Position(0), entries: 0 }
    }
}

#[cfg(test)]
mod tests {
    use lgsp_journal::testing::Disk;
    use lgsp_journal::{Opened, Options};
    use proptest::prelude::*;

    use super::super::overlay::{Change, Memory, Read as _};
    use super::*;

    /// A journal of fifty records.
    fn journal(disk: &Disk) -> Opened {
        let mut journal = lgsp_journal::open(disk.files(), Options::default()).unwrap();
        for record in 0..50u8 {
            journal.writer.append(&[[record]]).unwrap();
        }
        journal
    }

    fn key(number: u8) -> Bytes {
        Bytes::copy_from_slice(&[3, number])
    }

    fn change(number: u8, value: Option<u8>) -> Change {
        Change { key: key(number), value: value.map(|value| Bytes::copy_from_slice(&[value])) }
    }

    fn photographer(disk: &Disk, journal: &Opened, slice: usize) -> (Photographer, Snapshots) {
        let snapshots = Snapshots::new(disk.files(), journal.reader.clone());
        let room = Arc::new(Room::watch("/", 0));
        (Photographer { slice, ..Photographer::new(snapshots.clone(), 1, room) }, snapshots)
    }

    /// Takes a snapshot of `index` as of `position`, in one go.
    fn take(disk: &Disk, journal: &Opened, index: &Memory, position: u64) -> Snapshots {
        let (mut photographer, snapshots) = photographer(disk, journal, 1_000);
        photographer.go_on(index, Position(position), true).unwrap();
        assert!(!photographer.is_busy());
        snapshots
    }

    fn entries(snapshot: &Snapshot) -> Vec<(Bytes, Bytes)> {
        snapshot.entries().map(Result::unwrap).collect()
    }

    fn index() -> Memory {
        let mut index = Memory::default();
        index.apply((0..20).map(|number| change(number, Some(number))));
        index
    }

    proptest! {
        #[test]
        fn a_snapshot_is_the_index_of_one_moment_whatever_changes_while_it_is_written(
            at_first in prop::collection::vec((any::<u8>(), any::<u8>()), 0..200),
            later in prop::collection::vec(prop::collection::vec((any::<u8>(), prop::option::of(any::<u8>())), 0..6), 0..60),
            slice in 1usize..40,
        ) {
            let disk = Disk::new();
            let journal = journal(&disk);
            let mut index = Memory::default();
            index.apply(at_first.iter().map(|(number, value)| change(*number, Some(*value))));
            // What the follower marks its progress with is no part of the index.
            index.0.insert(Bytes::from_static(&[1]), Bytes::from_static(b"mark"));
            let expected: Vec<_> =
                index.0.iter().filter(|(key, _)| keys::is_projected(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
            let (mut photographer, snapshots) = photographer(&disk, &journal, slice);
            photographer.go_on(&index, Position(3), true).unwrap();
            let mut later = later.into_iter();
            while photographer.is_busy() {
                let changes: Vec<Change> =
                    later.next().unwrap_or_default().into_iter().map(|(number, value)| change(number, value)).collect();
                photographer.put_aside(&index, changes.iter().map(|change| &change.key)).unwrap();
                index.apply(changes);
                photographer.go_on(&index, Position(4), true).unwrap();
            }
            let snapshot = snapshots.open(Position(3)).unwrap();
            prop_assert_eq!(snapshot.entries, expected.len() as u64);
            prop_assert_eq!(entries(&snapshot), expected);
        }
    }

    #[test]
    fn every_crash_while_one_is_taken_leaves_it_whole_or_not_at_all() {
        let disk = Disk::new();
        let opened = journal(&disk);
        take(&disk, &opened, &index(), 2);
        take(&disk, &opened, &index(), 22);
        let before = disk.operations();
        let expected: Vec<_> = index().0.into_iter().collect();
        take(&disk, &opened, &index(), 42);
        assert!(disk.operations() > before + 4);
        let mut seen = std::collections::BTreeSet::new();
        for operations in before..=disk.operations() {
            for crashed in disk.killed_after(operations).power_cuts() {
                let opened = lgsp_journal::open(crashed.files(), Options::default()).unwrap();
                let snapshots = Snapshots::new(crashed.files(), opened.reader);
                snapshots.tidy().unwrap();
                let positions = snapshots.positions().unwrap();
                assert!(positions.len() >= KEPT, "{positions:?} after {operations}");
                for position in &positions {
                    assert_eq!(entries(&snapshots.open(*position).unwrap()), expected);
                }
                seen.insert(positions);
            }
        }
        assert!(seen.contains(&vec![Position(22), Position(2)]) && seen.contains(&vec![Position(42), Position(22)]));
    }

    #[test]
    fn what_is_damaged_foreign_or_of_the_future_is_told_apart_and_not_used() {
        let disk = Disk::new();
        let journal_here = journal(&disk);
        let snapshots = take(&disk, &journal_here, &index(), 5);
        let name = name_of(Position(5));
        let sound = disk.contents(&name);
        let open_with = |change: &dyn Fn(&mut Vec<u8>)| {
            disk.tamper(&name, |bytes| {
                *bytes = sound.clone();
                change(bytes);
            });
            snapshots.open(Position(5)).map(|_| ())
        };
        let with_head = |change: &dyn Fn(&mut Vec<u8>)| {
            open_with(&|bytes| {
                change(bytes);
                let crc = crc32c::crc32c(&bytes[..72]);
                bytes[72..76].copy_from_slice(&crc.to_le_bytes());
            })
        };
        assert!(open_with(&|_| ()).is_ok());
        for at in (0..sound.len()).step_by(7) {
            let opened = open_with(&|bytes| bytes[at] ^= 0x20);
            assert!(matches!(opened, Err(Unusable::Damaged)), "byte {at}: {opened:?}");
        }
        assert!(matches!(open_with(&|bytes| bytes.truncate(HEAD + 9)), Err(Unusable::Damaged)));
        let later = with_head(&|bytes| bytes[8] = 2).unwrap_err();
        assert!(matches!(later, Unusable::Later(2)) && later.to_string().contains("a later version"));
        assert!(matches!(with_head(&|bytes| bytes[12] ^= 0x40), Err(Unusable::OtherForm(_))));
        assert!(matches!(with_head(&|bytes| bytes[16] ^= 1), Err(Unusable::Foreign)));
        // The same journal, but with another past: a record of another content stands where this one was taken.
        assert!(matches!(with_head(&|bytes| bytes[40] ^= 1), Err(Unusable::Foreign)));
    }

    #[test]
    fn a_snapshot_of_records_that_the_journal_no_longer_has_is_removed() {
        let disk = Disk::new();
        let opened = journal(&disk);
        let before = disk.killed_after(disk.operations());
        let mut ahead = opened;
        ahead.writer.append(&[[51u8]]).unwrap();
        take(&disk, &ahead, &index(), 51);
        let beyond = disk.contents(&name_of(Position(51)));
        let mut file = before.files().create(&name_of(Position(51))).unwrap();
        file.append(&beyond).unwrap();
        let opened = lgsp_journal::open(before.files(), Options::default()).unwrap();
        let snapshots = Snapshots::new(before.files(), opened.reader);
        assert!(matches!(snapshots.open(Position(51)), Err(Unusable::Foreign)));
        snapshots.tidy().unwrap();
        assert_eq!(snapshots.positions().unwrap(), []);
    }

    #[test]
    fn on_a_disk_that_is_nearly_full_none_is_begun_and_one_under_way_is_given_up() {
        let disk = Disk::new();
        let journal = journal(&disk);
        let (mut photographer, snapshots) = photographer(&disk, &journal, 4);
        let (index, before) = (index(), disk.names());
        let (enough, full) = (Arc::clone(&photographer.room), Arc::new(Room::watch("/", u64::MAX / 4)));
        photographer.room = Arc::clone(&full);
        photographer.go_on(&index, Position(3), true).unwrap();
        assert!(!photographer.is_busy() && disk.names() == before, "begun without room");

        photographer.room = Arc::clone(&enough);
        photographer.go_on(&index, Position(9), true).unwrap();
        assert!(photographer.is_busy() && disk.names().len() == before.len() + 1);
        photographer.room = full;
        photographer.go_on(&index, Position(10), true).unwrap();
        assert!(!photographer.is_busy() && disk.names() == before, "what it had taken of the disk is given back");

        photographer.room = enough;
        photographer.go_on(&index, Position(30), true).unwrap();
        while photographer.is_busy() {
            photographer.go_on(&index, Position(30), true).unwrap();
        }
        assert_eq!(snapshots.positions().unwrap(), [Position(30)]);
    }

    #[test]
    fn a_disk_that_refuses_costs_the_snapshot_and_nothing_else() {
        for failing in 0..6 {
            let disk = Disk::new();
            let journal = journal(&disk);
            let (mut photographer, snapshots) = photographer(&disk, &journal, 1_000);
            let index = index();
            disk.fail_after(failing, lgsp_journal::testing::Fault::Full);
            photographer.go_on(&index, Position(3), true).unwrap();
            assert!(!photographer.is_busy());
            photographer.go_on(&index, Position(9), true).unwrap();
            let newest = snapshots.positions().unwrap()[0];
            assert_eq!(entries(&snapshots.open(newest).unwrap()), index.0.clone().into_iter().collect::<Vec<_>>());
            assert_eq!(index.get(&key(1)).unwrap(), Some(Bytes::from_static(&[1])));
        }
    }
}
