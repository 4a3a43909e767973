//! Walking the bytes of one segment: the scan that judges it, the sparse index, the cursor that reads by position.
//!
//! Nothing here decides what damage means; [`crate::recovery`] and [`crate::verify`] do. A scan goes on behind damage, because
//! only a later frame can prove that the damaged bytes had once been durable.

use std::io;

use crate::files::{Files, ReadFile};
use crate::frame::{
    FRAME_HEADER, FRAME_MAGIC, FrameHeader, JournalId, MAX_RECORD_BYTES, RECORD_OVERHEAD, SEGMENT_HEADER,
    parse_record_header, record_crc,
};
use crate::position::Position;

/// The distance between index entries: a record is found by reading at most this much beside it, and a journal of 100 GiB
/// needs 40 MB of index.
pub(crate) const INDEX_SPACING: u64 = 64 << 10;

/// How much a [`Source`] reads at once.
const WINDOW: usize = 64 << 10;

pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:010}.seg")
}

/// The number of a segment, if the name is one.
pub(crate) fn parse_name(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let well_formed = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then(|| digits.parse().ok()).flatten()
}

/// Bytes that are not what was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Flaw {
    pub(crate) offset: u64,
    /// The first record that cannot be trusted.
    pub(crate) position: Position,
}

/// A file read through a window, so that a walk over small records does not ask the disk for each.
pub(crate) struct Source {
    file: Box<dyn ReadFile>,
    length: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl Source {
    pub(crate) fn open(files: &dyn Files, number: u64) -> io::Result<Self> {
        Self::of(files.open(&segment_name(number))?)
    }

    pub(crate) fn of(file: Box<dyn ReadFile>) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self { file, length, buffer: Vec::new(), start: 0 })
    }

    pub(crate) fn into_file(self) -> Box<dyn ReadFile> {
        self.file
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `offset` on, or `None` if the file ends before `length` of them.
    pub(crate) fn bytes(&mut self, offset: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let held = self.start..=self.start + self.buffer.len() as u64;
        if !(held.contains(&offset) && held.contains(&offset.saturating_add(length as u64))) {
            let left = self.length.saturating_sub(offset).min(WINDOW as u64) as usize;
            self.buffer.resize(length.max(left), 0);
            let read = self.file.read_at(offset, &mut self.buffer)?;
            self.buffer.truncate(read);
            self.start = offset;
        }
        let at = (offset - self.start) as usize;
        Ok(self.buffer.get(at..at + length))
    }
}

/// One entry in the sparse index: a record, and where the frame it is in ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) offset: u64,
    pub(crate) frame_end: u64,
}

/// Where to begin walking for a position: one entry for every [`INDEX_SPACING`] bytes, ordered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Index(pub(crate) Vec<Entry>);

impl Index {
    /// Whether a record at `offset` is far enough from the last entry to become one.
    pub(crate) fn is_due(&self, offset: u64) -> bool {
        self.0.last().is_none_or(|last| offset >= last.offset + INDEX_SPACING)
    }

    /// The last entry at or before `position`.
    pub(crate) fn find(&self, position: Position) -> Option<Entry> {
        let after = self.0.partition_point(|entry| entry.position <= position);
        after.checked_sub(1).map(|at| self.0[at])
    }
}

/// A frame beyond the durable position, as recovery needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailFrame {
    pub(crate) body: u64,
    pub(crate) header: FrameHeader,
}

/// What a walk over a whole segment found.
pub(crate) struct Scan {
    pub(crate) index: Index,
    /// The position after the last record that can be trusted to follow without a gap from the segment's first.
    pub(crate) end: Position,
    /// Where the last such frame ends.
    pub(crate) end_offset: u64,
    /// The last position that some frame header says was durable.
    pub(crate) durable: Position,
    /// The last frame's sequence number.
    pub(crate) sequence: u64,
    /// Valid frames beyond `durable` and before the first flaw.
    pub(crate) tail: Vec<TailFrame>,
    pub(crate) flaws: Vec<Flaw>,
    /// The position after the last record found anywhere, behind flaws too.
    pub(crate) furthest: Position,
}

/// Reads a segment from its first frame on, up to the position `until` (of the segment that supersedes the rest) or its end.
///
/// A frame counts if every check sum in it fits and if it follows the one before it. After a flaw the scan looks for the next
/// frame header of the same journal and epoch and goes on there.
pub(crate) fn scan(
    source: &mut Source,
    journal: JournalId,
    epoch: u64,
    first: Position,
    until: Option<Position>,
) -> io::Result<Scan> {
    let mut scan = Scan {
        index: Index::default(),
        end: first,
        end_offset: SEGMENT_HEADER as u64,
        durable: Position::ORIGIN,
        sequence: 0,
        tail: Vec::new(),
        flaws: Vec::new(),
        furthest: first,
    };
    let mut offset = SEGMENT_HEADER as u64;
    loop {
        if until.is_some_and(|until| scan.furthest >= until) {
            break;
        }
        let header = source.bytes(offset, FRAME_HEADER)?.and_then(|bytes| FrameHeader::parse(bytes, journal));
        let follows = |header: &FrameHeader| {
            // Behind a flaw there is a gap to jump; elsewhere a gap is itself a flaw.
            header.epoch == epoch
                && header.sequence > scan.sequence
                && header.first >= scan.furthest
                && (!scan.flaws.is_empty() || (header.sequence == scan.sequence + 1 && header.first == scan.furthest))
        };
        let Some(header) = header.filter(follows) else {
            if offset >= source.length() {
                break;
            }
            // One stretch of damage is one flaw, however many bytes it takes to get out of it.
            scan.flaws.push(Flaw { offset, position: scan.furthest });
            let Some(found) = next_header(source, offset + 1, journal, epoch)? else { break };
            // If only a frame's header is damaged its records are still where they were, each with its own check sum.
            scan.index.0.push(Entry {
                position: scan.furthest,
                offset: offset + FRAME_HEADER as u64,
                frame_end: found.max(offset + FRAME_HEADER as u64),
            });
            offset = found;
            continue;
        };
        // A fact when it was written, so it counts even if the body behind it is torn.
        scan.durable = scan.durable.max(header.durable);
        scan.tail.retain(|frame| frame.header.outlives(header.durable));

        let body = offset + FRAME_HEADER as u64;
        let frame_end = body + u64::from(header.body_length);
        let flaw = match source.bytes(body, header.body_length as usize)? {
            Some(bytes) => walk_body(bytes, &header, body, !scan.flaws.is_empty(), &mut scan.index),
            None => Some(Flaw { offset: body, position: header.first }),
        };
        scan.sequence = header.sequence;
        match flaw {
            Some(flaw) => scan.flaws.push(flaw),
            None if scan.flaws.is_empty() => {
                scan.end = header.end();
                scan.end_offset = frame_end;
                if header.count > 0 && header.outlives(scan.durable) {
                    scan.tail.push(TailFrame { body, header });
                }
            }
            None => {}
        }
        if frame_end > source.length() {
            break;
        }
        scan.furthest = header.end();
        offset = frame_end;
    }
    Ok(scan)
}

/// Checks a frame's body and notes its records in the index, the first one in any case if there may be damage `behind`
/// that no walk gets over; answers the first record that is not as written.
pub(crate) fn walk_body(
    body: &[u8],
    header: &FrameHeader,
    start: u64,
    behind: bool,
    index: &mut Index,
) -> Option<Flaw> {
    let frame_end = start + body.len() as u64;
    let mut at = 0;
    let mut flaw = None;
    for number in 0..u64::from(header.count) {
        let position = header.first.plus(number);
        let offset = start + at as u64;
        let Some(bytes) = body.get(at + RECORD_OVERHEAD..) else {
            return flaw.or(Some(Flaw { offset, position }));
        };
        let (length, crc) = parse_record_header(&body[at..]);
        let Some(record) = bytes.get(..length as usize) else {
            return flaw.or(Some(Flaw { offset, position }));
        };
        if record_crc(position, record) != crc {
            flaw = flaw.or(Some(Flaw { offset, position }));
        }
        if index.is_due(offset) || (number == 0 && behind) {
            index.0.push(Entry { position, offset, frame_end });
        }
        at += RECORD_OVERHEAD + record.len();
    }
    let whole = at == body.len() && crc32c::crc32c(body) == header.body_crc;
    flaw.or((!whole).then_some(Flaw { offset: start, position: header.first }))
}

/// The offset of the next frame header at or after `from`.
fn next_header(source: &mut Source, from: u64, journal: JournalId, epoch: u64) -> io::Result<Option<u64>> {
    let mut offset = from;
    loop {
        let left = source.length().saturating_sub(offset);
        if left < FRAME_HEADER as u64 {
            return Ok(None);
        }
        let window = left.min(WINDOW as u64) as usize;
        let Some(bytes) = source.bytes(offset, window)? else { return Ok(None) };
        let found = bytes.windows(FRAME_HEADER).position(|bytes| {
            bytes[..4] == FRAME_MAGIC && FrameHeader::parse(bytes, journal).is_some_and(|header| header.epoch == epoch)
        });
        match found {
            Some(at) => return Ok(Some(offset + at as u64)),
            // A header may lie across the border of two windows.
            None => offset += (window - FRAME_HEADER + 1) as u64,
        }
    }
}

/// Reads records of one segment in order, from an index entry on.
pub(crate) struct Cursor {
    source: Source,
    journal: JournalId,
    next: Entry,
}

/// A record that a [`Cursor`] stands on.
pub(crate) struct Found {
    pub(crate) position: Position,
    offset: u64,
    length: u32,
    crc: u32,
}

impl Cursor {
    pub(crate) fn new(source: Source, journal: JournalId, from: Entry) -> Self {
        Self { source, journal, next: from }
    }

    /// Where the cursor stands, for the message if it cannot go on.
    pub(crate) fn here(&self) -> Flaw {
        Flaw { offset: self.next.offset, position: self.next.position }
    }

    /// Steps to the next record without reading its bytes; `None` if there is none that can be trusted.
    pub(crate) fn step(&mut self) -> io::Result<Option<Found>> {
        while self.next.offset == self.next.frame_end {
            let header = self
                .source
                .bytes(self.next.offset, FRAME_HEADER)?
                .and_then(|bytes| FrameHeader::parse(bytes, self.journal));
            let Some(header) = header.filter(|header| header.first == self.next.position) else { return Ok(None) };
            self.next.offset += FRAME_HEADER as u64;
            self.next.frame_end = self.next.offset + u64::from(header.body_length);
        }
        let Some(bytes) = self.source.bytes(self.next.offset, RECORD_OVERHEAD)? else { return Ok(None) };
        let (length, crc) = parse_record_header(bytes);
        let end = self.next.offset + RECORD_OVERHEAD as u64 + u64::from(length);
        if length as usize > MAX_RECORD_BYTES || end > self.next.frame_end {
            return Ok(None);
        }
        let found = Found { position: self.next.position, offset: self.next.offset, length, crc };
        self.next.offset = end;
        self.next.position = self.next.position.next();
        Ok(Some(found))
    }

    /// The bytes of a record, or where they are damaged.
    pub(crate) fn read(&mut self, found: &Found) -> io::Result<Result<Vec<u8>, Flaw>> {
        let flaw = Flaw { offset: found.offset, position: found.position };
        let bytes = self.source.bytes(found.offset + RECORD_OVERHEAD as u64, found.length as usize)?;
        Ok(match bytes {
            Some(bytes) if record_crc(found.position, bytes) == found.crc => Ok(bytes.to_vec()),
            _ => Err(flaw),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_segments_are_left_alone() {
        assert_eq!(parse_name("0000000012.seg", ".seg"), Some(12));
        assert_eq!(parse_name(&segment_name(12_345_678_901), ".seg"), Some(12_345_678_901));
        for other in ["12.seg", "000000012x.seg", "0000000012.seg.tmp", "0000000012", "+000000012.seg"] {
            assert_eq!(parse_name(other, ".seg"), None, "{other}");
        }
    }

    #[test]
    fn the_index_finds_the_last_entry_before_a_position() {
        let entry = |position, offset| Entry { position: Position(position), offset, frame_end: offset + 10 };
        let index = Index(vec![entry(5, 64), entry(9, 70_000)]);
        assert_eq!(index.find(Position(4)), None);
        assert_eq!(index.find(Position(8)), Some(entry(5, 64)));
        assert_eq!(index.find(Position(9)), Some(entry(9, 70_000)));
        assert!(index.is_due(70_000 + INDEX_SPACING) && !index.is_due(70_000 + INDEX_SPACING - 1));
    }
}
