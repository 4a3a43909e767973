//! Opening a journal: what is live, what an unfinished write left, what is damaged.
//!
//! The rule has one number in it, the last position *known durable*: the largest that any valid frame or segment header
//! names. Bytes at or below it were synced once, so if they do not check they are damaged: [`open`] stops and says where.
//! Bytes above it were never known to be synced, so if they do not check they are the torn tail of a crash.
//!
//! What checks above it may have been answered, or may sit in the page cache of a process that was killed; the next power cut
//! would show which. So that tail is copied to a new segment and synced before anything is served from it. The new segment
//! gets its name after the sync, so a crash while recovering leaves either the old state or the new one, and it supersedes by
//! its first position whatever the segment before it holds from there on. Every opening begins a new segment, with a new
//! epoch: no file of an earlier life is ever written to.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::files::{Files, TEMPORARY, publish};
use crate::frame::{BadHeader, FRAME_HEADER, FrameHeader, JournalId, SEGMENT_HEADER, SegmentHeader};
use crate::position::Position;
use crate::reader::{Reader, Segment, Shared};
use crate::segment::{Flaw, Index, Scan, Source, parse_name, scan, segment_name, walk_body};
use crate::sidecar::Sidecar;
use crate::writer::Writer;

/// Where a segment ends if nobody says otherwise: large enough that a day of a province fits in a few files, small enough that
/// reading the newest one whole at every start takes well under a second.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

/// How a journal is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment is closed before a frame that would make it longer than this. (A single frame may be longer.)
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: DEFAULT_SEGMENT_BYTES }
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Opened {
    /// The only one who appends.
    pub writer: Writer,
    /// Reads what is durable; cloned freely.
    pub reader: Reader,
    /// What opening had to do, for the log.
    pub recovered: Recovered,
}

/// What opening had to do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// There was no journal, and one was begun.
    pub created: bool,
    /// Records that were whole but not known to be durable. They are now.
    pub copied: u64,
    /// Bytes of an unfinished write, never answered, that were given up.
    pub torn_bytes: u64,
}

/// Why a journal does not open. Nothing but leftovers of unfinished writes was removed, and nothing was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Bytes that had been durable are not what was written. Restore the segment from a backup, or read the rest with
    /// [`Reader::rescue`].
    #[error("segment {segment} is damaged at byte {offset}, at record {position}, which had been durable")]
    Corrupt {
        /// The segment's number.
        segment: u64,
        /// Where in the segment's file.
        offset: u64,
        /// The first record that is affected.
        position: Position,
    },
    /// A segment between others is not there.
    #[error("segment {segment} is missing")]
    Missing {
        /// The segment's number.
        segment: u64,
    },
    /// A segment belongs to another journal.
    #[error("segment {segment} belongs to another journal")]
    Foreign {
        /// The segment's number.
        segment: u64,
    },
    /// A segment was written in a format this program does not know, most likely by a later one.
    #[error("segment {segment} was written by a later version (form {version})")]
    Version {
        /// The segment's number.
        segment: u64,
        /// The version it names.
        version: u32,
    },
    /// The folder could not be read or written.
    #[error("the journal's folder could not be read or written")]
    Io(#[from] io::Error),
}

impl OpenError {
    fn corrupt(segment: u64, flaw: Flaw) -> Self {
        Self::Corrupt { segment, offset: flaw.offset, position: flaw.position }
    }
}

/// Opens the journal in `files`, beginning one if there is none.
///
/// When it returns, everything the reader serves is durable: a power cut at the next instant loses none of it.
///
/// # Errors
/// See [`OpenError`].
pub fn open(files: Arc<dyn Files>, options: Options) -> Result<Opened, OpenError> {
    // A process killed between giving a name and syncing it left a name that a power cut may still take back. Whatever is
    // built on what we see now must not outlive what we see.
    files.sync_dir()?;
    let numbers = take_stock(&*files)?;
    let Some(&newest) = numbers.last() else { return create(files, options) };

    let headers = read_headers(&*files, &numbers)?;
    let mut segments = Vec::with_capacity(headers.len() + 1);
    for (at, &(number, header)) in headers.iter().enumerate() {
        if let Some(&(_, next)) = headers.get(at + 1) {
            let index = sealed_index(&*files, number, &header, next.first)?;
            segments.push(Segment { number, first: header.first, index });
        }
    }

    // Headers are never empty here: there is a newest segment.
    let header = headers[headers.len() - 1].1;
    let epoch = headers.iter().map(|(_, header)| header.epoch).max().unwrap_or(0) + 1;
    let mut source = Source::open(&*files, newest)?;
    let found = scan(&mut source, header.journal, header.epoch, header.first, None)?;
    let durable = judge(newest, &header, &found)?;

    let tail: Vec<_> = found.tail.iter().filter(|frame| frame.header.outlives(durable)).collect();
    let first = tail.first().map_or(found.end, |frame| frame.header.first);
    let begun = SegmentHeader { journal: header.journal, epoch, first, durable: found.end.previous() };
    let mut frames: Vec<u8> = begun.encode().to_vec();
    let mut index = Index::default();
    let changed = || io::Error::new(io::ErrorKind::InvalidData, "the disk answered differently when asked twice");
    for (sequence, frame) in (1..).zip(&tail) {
        // A record carries its position in its check sum, not its place, so bodies move as they are.
        let header = FrameHeader { epoch, sequence, durable, ..frame.header };
        let body = source.bytes(frame.body, header.body_length as usize)?.ok_or_else(changed)?;
        frames.extend_from_slice(&header.encode(begun.journal));
        if walk_body(body, &header, frames.len() as u64, false, &mut index).is_some() {
            return Err(changed().into());
        }
        frames.extend_from_slice(body);
    }
    // A segment that keeps no record of its own gives its name to its successor, so restarts do not pile up files.
    let superseded = first == header.first;
    let number = if superseded { newest } else { newest + 1 };
    let file = publish(&*files, &segment_name(number), [&frames[..]])?;

    if !superseded {
        // Entries of the dead tail stay: nobody looks for a position where the next segment has it.
        let index = found.index;
        let end_offset = tail.first().map_or(found.end_offset, |frame| frame.body - FRAME_HEADER as u64);
        // Derived: if it cannot be written it is made again at the next start.
        let _ = Sidecar { end: first, end_offset, index: index.clone() }.store(&*files, newest, &header);
        segments.push(Segment { number: newest, first: header.first, index });
    }
    segments.push(Segment { number, first, index });

    let shared = Arc::new(Shared::new(files, header.journal, segments, found.end.previous()));
    let recovered = Recovered {
        created: false,
        copied: found.end.0 - first.0,
        torn_bytes: source.length().saturating_sub(found.end_offset),
    };
    let writer =
        Writer::new(Arc::clone(&shared), file, &begun, number, frames.len() as u64, tail.len() as u64, options);
    Ok(Opened { writer, reader: Reader::new(shared), recovered })
}

/// Begins a journal: the first segment, under a fresh id.
fn create(files: Arc<dyn Files>, options: Options) -> Result<Opened, OpenError> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("no randomness for the journal's id"))?;
    let begun = SegmentHeader { journal: JournalId(id), epoch: 1, first: Position::FIRST, durable: Position::ORIGIN };
    let file = publish(&*files, &segment_name(1), [&begun.encode()[..]])?;
    let segments = vec![Segment { number: 1, first: begun.first, index: Index::default() }];
    let shared = Arc::new(Shared::new(files, begun.journal, segments, Position::ORIGIN));
    let writer = Writer::new(Arc::clone(&shared), file, &begun, 1, SEGMENT_HEADER as u64, 0, options);
    Ok(Opened { writer, reader: Reader::new(shared), recovered: Recovered { created: true, ..Recovered::default() } })
}

/// Lists the segments in order and clears away what unfinished work left.
fn take_stock(files: &dyn Files) -> Result<Vec<u64>, OpenError> {
    let names = files.list()?;
    let numbers = segment_numbers(&names);
    for name in &names {
        let unfinished = name
            .strip_suffix(TEMPORARY)
            .is_some_and(|name| parse_name(name, ".seg").is_some() || parse_name(name, ".idx").is_some());
        let orphan = parse_name(name, ".idx").is_some_and(|number| numbers.binary_search(&number).is_err());
        if unfinished || orphan {
            files.remove(name)?;
        }
    }
    if let Some(gap) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Err(OpenError::Missing { segment: gap[0] + 1 });
    }
    Ok(numbers)
}

/// The numbers of the segments among `names`, in order.
pub(crate) fn segment_numbers(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| parse_name(name, ".seg")).collect();
    numbers.sort_unstable();
    numbers
}

/// Reads the header of every segment and checks that each can follow the one before it.
fn read_headers(files: &dyn Files, numbers: &[u64]) -> Result<Vec<(u64, SegmentHeader)>, OpenError> {
    let mut headers: Vec<(u64, SegmentHeader)> = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let before = headers.last().map(|(_, header)| *header);
        let position = before.map_or(Position::FIRST, |before| before.first);
        let damaged = OpenError::corrupt(number, Flaw { offset: 0, position });
        let mut bytes = [0; SEGMENT_HEADER];
        let read = files.open(&segment_name(number))?.read_at(0, &mut bytes)?;
        // A segment gets its name after its header was synced, so even an empty file is damage and not a beginning.
        let header = match SegmentHeader::parse(&bytes[..read]) {
            Ok(header) => header,
            Err(BadHeader::Damaged) => return Err(damaged),
            Err(BadHeader::Version(version)) => return Err(OpenError::Version { segment: number, version }),
        };
        if let Some(before) = before {
            if header.journal != before.journal {
                return Err(OpenError::Foreign { segment: number });
            }
            if header.first < before.first || header.epoch < before.epoch {
                return Err(damaged);
            }
        }
        headers.push((number, header));
    }
    Ok(headers)
}

/// The index of a segment that another one follows: from its sidecar, or by reading it.
///
/// Every record below the next segment's first was durable before that segment was named.
fn sealed_index(files: &dyn Files, number: u64, header: &SegmentHeader, next: Position) -> Result<Index, OpenError> {
    let mut source = Source::open(files, number)?;
    if let Some(sidecar) = Sidecar::load(files, number, header)
        && sidecar.end == next
        && sidecar.end_offset <= source.length()
    {
        return Ok(sidecar.index);
    }
    let found = scan(&mut source, header.journal, header.epoch, header.first, Some(next))?;
    if found.end < next {
        return Err(OpenError::corrupt(number, first_flaw(&found)));
    }
    let sidecar = Sidecar { end: next, end_offset: found.end_offset, index: found.index };
    // Derived: if it cannot be written it is made again at the next start.
    let _ = sidecar.store(files, number, header);
    Ok(sidecar.index)
}

/// Tells damage from a torn tail in the newest segment; answers the last position known durable.
pub(crate) fn judge(number: u64, header: &SegmentHeader, found: &Scan) -> Result<Position, OpenError> {
    let durable = found.durable.max(header.durable);
    if durable >= found.end {
        return Err(OpenError::corrupt(number, first_flaw(found)));
    }
    Ok(durable)
}

/// Where the records stop that can be trusted.
pub(crate) fn first_flaw(found: &Scan) -> Flaw {
    found.flaws.first().copied().unwrap_or(Flaw { offset: found.end_offset, position: found.end })
}
