//! The bytes of the journal: segment header, frame and record. Pure: no file is touched here.
//!
//! All numbers are little-endian, all check sums CRC32C. One frame holds one batch; a frame without records is a
//! *durable mark*, written by an orderly close.
//!
//! ```text
//! segment   NNNNNNNNNN.seg = header, frame, frame, …
//!
//! header    0 magic "LGSPJRNL"   8 version u32   12 zero u32      16 journal id [16]
//!          32 epoch u64         40 first position u64             48 durable position u64
//!          56 zero u32          60 crc of 0..60                                              64 bytes
//!
//! frame     0 magic "LGFR"       4 record count u32                8 epoch u64
//!          16 sequence u64      24 first position u64             32 durable position u64
//!          40 body length u32   44 crc of body   48 crc of journal id and 0..48              52 bytes
//!          52 body = record, record, …
//!
//! record    0 length u32         4 crc of position u64 and bytes   8 bytes
//! ```
//!
//! - *epoch*: which opening of the journal wrote it; a segment and its frames share one.
//! - *sequence*: 1, 2, 3, … within the segment.
//! - *durable position*, in a frame: the last position known to be synced when the frame was written, which is a fact even
//!   if the frame itself is torn, and the reason why its header has a check sum of its own. In a segment header: the last
//!   position the segment, or one before it, held when it was named, which happens after a sync.
//! - The frame header's check sum begins with the journal id and a record's with its position, so that neither another
//!   journal's bytes nor a record from elsewhere pass for the one looked for.

use std::fmt;

use crate::position::Position;

/// The longest record: a dossier's event with its signed body fits many times over, and one caller cannot make the others
/// wait for, or recovery hold, more than this.
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// The longest batch, each record counted with [`RECORD_OVERHEAD`]. A sync of 8 MiB takes milliseconds, not seconds, and
/// recovery reads a frame at a time.
pub const MAX_BATCH_BYTES: usize = 8 << 20;

/// The most records in a batch, so that answering one batch does not hold up the next.
pub const MAX_BATCH_RECORDS: usize = 8_192;

/// The bytes a record takes beside its own.
pub const RECORD_OVERHEAD: usize = 8;

pub(crate) const SEGMENT_HEADER: usize = 64;
pub(crate) const FRAME_HEADER: usize = 52;
pub(crate) const VERSION: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"LGSPJRNL";
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"LGFR";

/// Which journal a segment belongs to: 16 random bytes, chosen when the journal was created.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct JournalId(pub [u8; 16]);

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SegmentHeader {
    pub(crate) journal: JournalId,
    pub(crate) epoch: u64,
    pub(crate) first: Position,
    pub(crate) durable: Position,
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BadHeader {
    Damaged,
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.journal.0);
        bytes[32..40].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.durable.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BadHeader> {
        if bytes.len() < SEGMENT_HEADER || bytes[0..8] != SEGMENT_MAGIC {
            return Err(BadHeader::Damaged);
        }
        if u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(BadHeader::Damaged);
        }
        // Only after the check sum: a flipped bit in the version is damage, not the future.
        match u32_at(bytes, 8) {
            VERSION => {}
            other => return Err(BadHeader::Version(other)),
        }
        let mut journal = [0; 16];
        journal.copy_from_slice(&bytes[16..32]);
        Ok(Self {
            journal: JournalId(journal),
            epoch: u64_at(bytes, 32),
            first: Position(u64_at(bytes, 40)),
            durable: Position(u64_at(bytes, 48)),
        })
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameHeader {
    pub(crate) count: u32,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) first: Position,
    pub(crate) durable: Position,
    pub(crate) body_length: u32,
    pub(crate) body_crc: u32,
}

impl FrameHeader {
    /// The position after the frame's last record.
    pub(crate) fn end(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }

    /// Whether the frame holds records beyond `durable`.
    pub(crate) fn outlives(&self, durable: Position) -> bool {
        self.end() > durable.next()
    }

    pub(crate) fn encode(&self, journal: JournalId) -> [u8; FRAME_HEADER] {
        let mut bytes = [0; FRAME_HEADER];
        bytes[0..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable.0.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.body_length.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = frame_crc(journal, &bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header of `journal`, or says that there is none here.
    pub(crate) fn parse(bytes: &[u8], journal: JournalId) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER)?;
        if bytes[0..4] != FRAME_MAGIC || u32_at(bytes, 48) != frame_crc(journal, &bytes[..48]) {
            return None;
        }
        let header = Self {
            count: u32_at(bytes, 4),
            epoch: u64_at(bytes, 8),
            sequence: u64_at(bytes, 16),
            first: Position(u64_at(bytes, 24)),
            durable: Position(u64_at(bytes, 32)),
            body_length: u32_at(bytes, 40),
            body_crc: u32_at(bytes, 44),
        };
        (header.body_length as usize <= MAX_BATCH_BYTES).then_some(header)
    }
}

fn frame_crc(journal: JournalId, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&journal.0), bytes)
}

/// Appends one record to a frame's body.
pub(crate) fn push_record(body: &mut Vec<u8>, position: Position, record: &[u8]) {
    debug_assert!(record.len() <= MAX_RECORD_BYTES, "the writer checks lengths before it frames");
    body.extend_from_slice(&(record.len() as u32).to_le_bytes());
    body.extend_from_slice(&record_crc(position, record).to_le_bytes());
    body.extend_from_slice(record);
}

/// The length and the check sum in front of a record.
pub(crate) fn parse_record_header(bytes: &[u8]) -> (u32, u32) {
    (u32_at(bytes, 0), u32_at(bytes, 4))
}

pub(crate) fn record_crc(position: Position, record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&position.0.to_le_bytes()), record)
}

/// Reads a number that the caller knows to be there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// Reads a number that the caller knows to be there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: JournalId = JournalId(*b"sixteen bytes id");

    fn header() -> FrameHeader {
        FrameHeader {
            count: 3,
            epoch: 2,
            sequence: 9,
            first: Position(41),
            durable: Position(40),
            body_length: 100,
            body_crc: 7,
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_header_is_seen() {
        let segment = SegmentHeader { journal: ID, epoch: 5, first: Position(10), durable: Position(9) };
        let bytes = segment.encode();
        assert_eq!(SegmentHeader::parse(&bytes), Ok(segment));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::parse(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }

        let bytes = header().encode(ID);
        assert_eq!(FrameHeader::parse(&bytes, ID), Some(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::parse(&flipped, ID), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_journal_is_no_frame() {
        assert_eq!(FrameHeader::parse(&header().encode(ID), JournalId([0; 16])), None);
    }

    #[test]
    fn a_later_version_is_named_and_not_taken_for_damage() {
        let mut bytes = SegmentHeader { journal: ID, epoch: 1, first: Position(1), durable: Position(0) }.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::parse(&bytes), Err(BadHeader::Version(2)));
    }

    #[test]
    fn a_record_counts_only_at_its_position() {
        assert_ne!(record_crc(Position(1), b"same"), record_crc(Position(2), b"same"));
    }
}
