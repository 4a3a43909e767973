//! Archive files: closed dossiers with all that was recorded about them, taken out of the indexes and the document folder.
//!
//! A file holds, for each dossier, its records as journalled and its documents as sealed on disk, so nothing in it is open: the
//! data keys stay in the gateway's key ring, and a dossier whose key is destroyed is erased in every copy of every archive. A
//! file gets its name when it is durable, never changes after that, and is believed if it is whole.
//!
//! ```text
//! archive-YYYY-MM-NNNN.lgsp = head, part, part, …, index, tail                              numbers little-endian
//!
//! head   0 magic "LGSPARCH"   8 version u32   12 epoch u32   16 journal id [16]   32 crc of 0..32          36 bytes
//! part   kind u8, length u64, content                               of a dossier first its records, then its documents
//!   1    a record: position u64, and the record as journalled (lgsp.store.v1.Record)
//!   2    a document: its file as in the document folder
//!   3    the index (lgsp.store.v1.ArchiveIndex), last of all
//! tail   0 where the index's part begins u64   8 SHA-256 of everything before it [32]                      40 bytes
//! ```
//!
//! [`Draft`] writes one, [`Archive`] reads one. When a file is written, and what follows from it, is the engine's (`archiving`).

mod read;
mod write;

use jiff::civil::Date;

pub use read::{Archive, ArchiveError, Found, Sealed, Unread, find, list};
pub use write::{Draft, DraftError, Head, Kept, Written};

const MAGIC: [u8; 8] = *b"LGSPARCH";
/// The form that is written. Of the first, which is read as well, a dossier's records are without the queries made for it.
const VERSION: u32 = 2;
const HEAD: usize = 36;
/// Kind and length of a part.
const PART: usize = 9;
const TAIL: usize = 40;
const SHA: usize = 32;

const RECORD: u8 = 1;
const DOCUMENT: u8 = 2;
const INDEX: u8 = 3;

/// Bytes that are read or copied at a time.
const AT_ONCE: usize = 256 << 10;

/// The end of the names of archives.
pub(crate) const SUFFIX: &str = ".lgsp";

/// The end of the name of one that is being written.
pub(crate) const TEMPORARY: &str = ".lgsp.tmp";

/// The name of archive `number` of a month.
pub(crate) fn name_of(day: Date, number: u32) -> String {
    format!("archive-{:04}-{:02}-{number:04}{SUFFIX}", day.year(), day.month())
}

/// The number of an archive of that month; `None` when the name is of another month, or of no archive.
pub(crate) fn number_of(day: Date, name: &str) -> Option<u32> {
    let number = name.strip_suffix(SUFFIX)?.strip_prefix(&format!("archive-{:04}-{:02}-", day.year(), day.month()))?;
    number.parse().ok()
}

/// Whether a file of this name is, or will be, an archive.
pub(crate) fn is_named_so(name: &str) -> bool {
    name.starts_with("archive-") && name.ends_with(SUFFIX) && !name.contains('/')
}
