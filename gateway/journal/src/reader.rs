//! Reading by position, with every record checked against its own check sum.
//!
//! The invariant is that nothing beyond the durable position is served, so no caller can act on what a power cut may undo.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;

use crate::files::Files;
use crate::frame::JournalId;
use crate::position::Position;
use crate::segment::{Cursor, Entry, Flaw, Found, Index, Source};
use crate::verify::{Report, survey};

/// Reads the durable records of a journal. Cheap to clone; every clone sees what the writer has made durable so far.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// Why a record could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No durable record has this position (yet).
    #[error("there is no record {position} yet")]
    NotWritten {
        /// The position asked for.
        position: Position,
    },
    /// The record was removed with its segment, see [`crate::Writer::forget`].
    #[error("record {position} was removed")]
    Forgotten {
        /// The position asked for.
        position: Position,
    },
    /// The bytes are not what was written. Other records may well be readable.
    #[error("segment {segment} is damaged at byte {offset}, at record {position}")]
    Damaged {
        /// The segment's number.
        segment: u64,
        /// Where in the segment's file.
        offset: u64,
        /// The record that is affected.
        position: Position,
    },
    /// The file could not be read.
    #[error("the journal could not be read")]
    Io(#[from] io::Error),
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Reads what can be read of a journal that does not open, or that another process has open, and writes nothing.
    ///
    /// Every record with a fitting check sum is served. Those beyond the last position *known* durable are served too, so
    /// unlike with an open journal a power cut could still take them. The report says what is damaged.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn rescue(files: Arc<dyn Files>) -> io::Result<(Self, Report)> {
        let (report, segments) = survey(&*files, &mut |_| ())?;
        let journal = report.journal.unwrap_or(JournalId([0; 16]));
        let shared = Shared::new(files, journal, segments, report.last);
        Ok((Self::new(Arc::new(shared)), report))
    }

    /// Which journal this is.
    #[must_use]
    pub fn journal(&self) -> JournalId {
        self.shared.journal
    }

    /// The last position that is durable; [`Position::ORIGIN`] if there is none.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.shared.durable()
    }

    /// The first position that is still there (or will be, if there is none).
    #[must_use]
    pub fn first(&self) -> Position {
        self.shared.first()
    }

    /// Whether a write or sync has failed, so that the journal is read-only until it is opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }

    /// Reads one record.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, position: Position) -> Result<Vec<u8>, ReadError> {
        if position == Position::ORIGIN || position > self.durable() {
            return Err(ReadError::NotWritten { position });
        }
        let (number, mut cursor) = self.cursor(position)?;
        let damaged = |flaw| damaged(number, flaw);
        loop {
            let Some(found) = cursor.step()? else { return Err(damaged(cursor.here())) };
            if found.position == position {
                return cursor.read(&found)?.map_err(damaged);
            }
        }
    }

    /// Reads the records from `from` on, in order, up to what is durable now. Call again with the next position for what has
    /// come since. The first error ends it.
    #[must_use]
    pub fn replay(&self, from: Position) -> Replay {
        Replay { reader: self.clone(), next: from.max(Position::FIRST), until: self.durable(), cursor: None }
    }

    /// A cursor at or a little before `position`, and the number of its segment.
    fn cursor(&self, position: Position) -> Result<(u64, Cursor), ReadError> {
        let Some((number, entry)) = self.shared.locate(position) else {
            return Err(ReadError::Forgotten { position });
        };
        let Some(entry) = entry else {
            let offset = crate::frame::SEGMENT_HEADER as u64;
            return Err(damaged(number, Flaw { offset, position }));
        };
        let source = match Source::open(&*self.shared.files, number) {
            // The writer is forgetting the segment, or has done so after we found it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && position < self.shared.forgotten() => {
                return Err(ReadError::Forgotten { position });
            }
            other => other?,
        };
        Ok((number, Cursor::new(source, self.shared.journal, entry)))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("journal", &self.shared.journal)
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

fn damaged(segment: u64, flaw: Flaw) -> ReadError {
    ReadError::Damaged { segment, offset: flaw.offset, position: flaw.position }
}

/// The records from a position on; see [`Reader::replay`].
#[derive(Debug)]
pub struct Replay {
    reader: Reader,
    next: Position,
    until: Position,
    cursor: Option<Standing>,
}

/// A cursor, the segment it is in, and the position at which the next segment takes over.
struct Standing {
    number: u64,
    cursor: Cursor,
    end: Option<Position>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Replay {
    fn read_next(&mut self) -> Result<Vec<u8>, ReadError> {
        loop {
            if self.cursor.as_ref().is_some_and(|standing| standing.end.is_some_and(|end| self.next >= end)) {
                self.cursor = None;
            }
            let standing = match &mut self.cursor {
                Some(standing) => standing,
                empty => {
                    let (number, cursor) = self.reader.cursor(self.next)?;
                    empty.insert(Standing { number, cursor, end: self.reader.shared.end_of(number) })
                }
            };
            match standing.cursor.step()? {
                Some(Found { position, .. }) if position < self.next => {}
                Some(found) => {
                    let number = standing.number;
                    return standing.cursor.read(&found)?.map_err(|flaw| damaged(number, flaw));
                }
                None => {
                    // The segment may have been the newest when we came, and be sealed by now.
                    let end = self.reader.shared.end_of(standing.number);
                    if end == standing.end || end.is_none_or(|end| self.next < end) {
                        return Err(damaged(standing.number, standing.cursor.here()));
                    }
                    standing.end = end;
                }
            }
        }
    }
}

impl Iterator for Replay {
    type Item = Result<(Position, Vec<u8>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next > self.until {
            return None;
        }
        let position = self.next;
        let record = self.read_next();
        self.next = if record.is_ok() { position.next() } else { self.until.next() };
        Some(record.map(|record| (position, record)))
    }
}

/// A segment as its readers know it.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first: Position,
    pub(crate) index: Index,
}

/// What the writer and the readers of one journal share.
pub(crate) struct Shared {
    pub(crate) files: Arc<dyn Files>,
    journal: JournalId,
    durable: AtomicU64,
    poisoned: AtomicBool,
    /// Records before this position are being forgotten: their segments may be gone while they are still listed.
    forgotten: AtomicU64,
    /// In order, never empty in an open journal. A segment's records end where the next one's begin.
    segments: RwLock<Vec<Segment>>,
}

impl Shared {
    pub(crate) fn new(files: Arc<dyn Files>, journal: JournalId, segments: Vec<Segment>, durable: Position) -> Self {
        Self {
            files,
            journal,
            durable: AtomicU64::new(durable.0),
            poisoned: AtomicBool::new(false),
            forgotten: AtomicU64::new(Position::FIRST.0),
            segments: RwLock::new(segments),
        }
    }

    pub(crate) fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub(crate) fn first(&self) -> Position {
        self.read().first().map_or(Position::FIRST, |segment| segment.first)
    }

    /// Lets readers see what has just become durable.
    pub(crate) fn advance(&self, durable: Position, entries: &mut Vec<Entry>) {
        if !entries.is_empty()
            && let Some(newest) = self.write().last_mut()
        {
            newest.index.0.append(entries);
        }
        // After the index: who sees the position must find the way to it.
        self.durable.store(durable.0, Ordering::Release);
    }

    /// The offset of the newest segment's last index entry.
    pub(crate) fn last_entry(&self) -> Option<u64> {
        self.read().last().and_then(|newest| newest.index.0.last().map(|entry| entry.offset))
    }

    /// Adds the next segment and answers the index of the one it seals.
    pub(crate) fn push(&self, segment: Segment) -> Index {
        let mut segments = self.write();
        let sealed = segments.last().map(|sealed| sealed.index.clone()).unwrap_or_default();
        segments.push(segment);
        sealed
    }

    /// Answers the oldest segment if another follows it and all its records are before `before`. From now on its file may be
    /// gone; it stays listed until [`Shared::forgot`].
    pub(crate) fn begin_forgetting(&self, before: Position) -> Option<u64> {
        let segments = self.read();
        let second = segments.get(1).filter(|second| second.first <= before)?;
        self.forgotten.fetch_max(second.first.0, Ordering::AcqRel);
        Some(segments[0].number)
    }

    /// Takes the segment out whose file is gone for certain.
    pub(crate) fn forgot(&self, number: u64) {
        self.write().retain(|segment| segment.number != number);
    }

    fn forgotten(&self) -> Position {
        Position(self.forgotten.load(Ordering::Acquire))
    }

    /// The segment that holds `position`, and where to begin walking in it.
    fn locate(&self, position: Position) -> Option<(u64, Option<Entry>)> {
        let segments = self.read();
        let after = segments.partition_point(|segment| segment.first <= position);
        let segment = &segments[after.checked_sub(1)?];
        Some((segment.number, segment.index.find(position)))
    }

    /// The position at which the segment after `number` takes over.
    fn end_of(&self, number: u64) -> Option<Position> {
        let segments = self.read();
        let after = segments.partition_point(|segment| segment.number <= number);
        segments.get(after).map(|segment| segment.first)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Segment>> {
        // No code panics while it holds the lock, and a list that is only pushed to and popped from stays whole anyway.
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Segment>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }
}
