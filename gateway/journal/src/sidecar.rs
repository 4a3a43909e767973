//! The index of a sealed segment, kept beside it so that opening a journal does not read every segment whole.
//!
//! A sidecar is derived: one that is missing, damaged or of another segment is made again. It vouches for the continuity of its
//! segment, not for its bytes; those are checked when they are read.
//!
//! ```text
//! NNNNNNNNNN.idx   0 magic "LGSPJIDX"   8 version u32   12 entry count u32   16 journal id [16]
//!                 32 epoch u64         40 first u64     48 end position u64  56 end offset u64
//!                 64 entry = position u64, offset u64, frame end u64; …      then crc u32 of all before
//! ```

use std::io;

use crate::files::{Files, publish, read_whole};
use crate::frame::{SegmentHeader, u32_at, u64_at};
use crate::position::Position;
use crate::segment::{Entry, Index};

const MAGIC: [u8; 8] = *b"LGSPJIDX";
const VERSION: u32 = 1;
const HEAD: usize = 64;
const ENTRY: usize = 24;

/// No sidecar is longer: the index of a segment of 150 GiB. What is longer is not one, and is not read into memory.
const LIMIT: u64 = 64 << 20;

/// What is known of a sealed segment without reading it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Sidecar {
    pub(crate) end: Position,
    pub(crate) end_offset: u64,
    pub(crate) index: Index,
}

pub(crate) fn sidecar_name(number: u64) -> String {
    format!("{number:010}.idx")
}

impl Sidecar {
    /// Reads the sidecar of the segment with this header, or nothing if it cannot be relied on.
    pub(crate) fn load(files: &dyn Files, number: u64, segment: &SegmentHeader) -> Option<Self> {
        let bytes = read_whole(files, &sidecar_name(number), LIMIT).ok()?;
        Self::parse(&bytes, segment)
    }

    fn parse(bytes: &[u8], segment: &SegmentHeader) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<4>().map(|(content, crc)| (content, u32::from_le_bytes(*crc)))?;
        if content.len() < HEAD || crc32c::crc32c(content) != crc {
            return None;
        }
        let (head, entries) = content.split_at(HEAD);
        let belongs = head[0..8] == MAGIC
            && u32_at(head, 8) == VERSION
            && head[16..32] == segment.journal.0
            && u64_at(head, 32) == segment.epoch
            && u64_at(head, 40) == segment.first.0;
        if !belongs || entries.len() != u32_at(head, 12) as usize * ENTRY {
            return None;
        }
        let entries = entries.chunks_exact(ENTRY).map(|entry| Entry {
            position: Position(u64_at(entry, 0)),
            offset: u64_at(entry, 8),
            frame_end: u64_at(entry, 16),
        });
        Some(Self { end: Position(u64_at(head, 48)), end_offset: u64_at(head, 56), index: Index(entries.collect()) })
    }

    /// Writes the sidecar. An error means that it will be made again at the next start, and nothing else.
    pub(crate) fn store(&self, files: &dyn Files, number: u64, segment: &SegmentHeader) -> io::Result<()> {
        publish(files, &sidecar_name(number), [&self.encode(segment)[..]]).map(drop)
    }

    fn encode(&self, segment: &SegmentHeader) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.index.0.len() * ENTRY + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.index.0.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&segment.journal.0);
        for number in [segment.epoch, segment.first.0, self.end.0, self.end_offset] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for entry in &self.index.0 {
            for number in [entry.position.0, entry.offset, entry.frame_end] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::JournalId;

    #[test]
    fn a_sidecar_counts_only_whole_and_for_its_own_segment() {
        let segment =
            SegmentHeader { journal: JournalId([7; 16]), epoch: 3, first: Position(10), durable: Position(9) };
        let entry = Entry { position: Position(10), offset: 116, frame_end: 200 };
        let sidecar = Sidecar { end: Position(12), end_offset: 200, index: Index(vec![entry]) };
        let bytes = sidecar.encode(&segment);
        assert_eq!(Sidecar::parse(&bytes, &segment).as_ref(), Some(&sidecar));

        assert_eq!(Sidecar::parse(&bytes, &SegmentHeader { epoch: 4, ..segment }), None);
        for length in 0..bytes.len() {
            assert_eq!(Sidecar::parse(&bytes[..length], &segment), None, "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Sidecar::parse(&flipped, &segment), None, "byte {at}");
        }
    }
}
