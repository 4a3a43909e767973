//! Appending: one frame for a batch, one sync, then the answer.
//!
//! The invariant is that the durable position moves only after a sync that succeeded, and never again after one that failed.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use crate::fault;
use crate::files::{AppendFile, publish};
use crate::frame::{
    FRAME_HEADER, FrameHeader, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_RECORD_BYTES, RECORD_OVERHEAD, SEGMENT_HEADER,
    SegmentHeader, push_record,
};
use crate::position::Position;
use crate::reader::{Segment, Shared};
use crate::recovery::Options;
use crate::segment::{Entry, Index, segment_name};
use crate::sidecar::Sidecar;

/// The one who appends to a journal. There is no second one: the folder is locked, and this is not `Clone`.
pub struct Writer {
    shared: Arc<Shared>,
    file: Box<dyn AppendFile>,
    header: SegmentHeader,
    number: u64,
    offset: u64,
    sequence: u64,
    next: Position,
    /// The last position that a frame or header on disk says was durable.
    marked: Position,
    options: Options,
    /// The frame being put together; kept for its memory.
    frame: Vec<u8>,
    /// The index entries of that frame, which count only once it is durable.
    entries: Vec<Entry>,
}

/// Why a batch was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// A record is longer than [`MAX_RECORD_BYTES`]. Nothing was written; the writer can go on.
    #[error("a record of {bytes} bytes is longer than the limit of {MAX_RECORD_BYTES}")]
    RecordTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The batch has more than [`MAX_BATCH_RECORDS`] records or [`MAX_BATCH_BYTES`] bytes. Nothing was written; the writer can
    /// go on.
    #[error("a batch of {records} records and {bytes} bytes is longer than the limit")]
    BatchTooLong {
        /// Its records.
        records: usize,
        /// Its bytes, with [`RECORD_OVERHEAD`] for each record.
        bytes: usize,
    },
    /// Writing or syncing failed and the journal is poisoned. The outcome of *this* batch is unknown: the next start may find
    /// it whole, and then it counts, or not.
    #[error("the batch could not be made durable; whether it will be found after a restart is unknown")]
    Failed(#[source] io::Error),
    /// An earlier write or sync failed. Nothing was written, and nothing will be until the journal is opened again.
    #[error("the journal is poisoned by an earlier failure; nothing was written")]
    Poisoned,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        file: Box<dyn AppendFile>,
        header: &SegmentHeader,
        number: u64,
        offset: u64,
        sequence: u64,
        options: Options,
    ) -> Self {
        let next = shared.durable().next();
        Self {
            shared,
            file,
            header: *header,
            number,
            offset,
            sequence,
            next,
            marked: header.durable,
            options,
            frame: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Appends `records` as one frame, syncs, and answers their positions. An empty batch is answered with an empty range and
    /// writes nothing.
    ///
    /// When it returns `Ok`, the records survive a power cut and the reader serves them. A batch is found whole after a crash or
    /// not at all.
    ///
    /// # Errors
    /// See [`AppendError`]: the variants say what was written. After a failed write or sync there is no second try, because the
    /// kernel may have dropped the bytes and would report success for pages that are gone.
    pub fn append<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<Range<Position>, AppendError> {
        if self.shared.is_poisoned() {
            return Err(AppendError::Poisoned);
        }
        check_limits(records)?;
        let first = self.next;
        if records.is_empty() {
            return Ok(first..first);
        }
        self.frame.clear();
        self.frame.resize(FRAME_HEADER, 0);
        for (position, record) in (first.0..).map(Position).zip(records) {
            push_record(&mut self.frame, position, record.as_ref());
        }
        self.commit(records.len() as u32).map_err(|error| self.poison(error))?;
        Ok(first..self.next)
    }

    /// The position the next record will get.
    #[must_use]
    pub fn next(&self) -> Position {
        self.next
    }

    /// Removes the whole segments that hold only records before `before`, and answers the first position still there.
    ///
    /// The newest segment always stays. For a journal whose old records live on elsewhere, such as a spool.
    ///
    /// # Errors
    /// The disk's own error. Some segments may have been removed; the journal can go on, and another call removes the rest.
    pub fn forget(&mut self, before: Position) -> io::Result<Position> {
        while let Some(number) = self.shared.begin_forgetting(before) {
            let files = &self.shared.files;
            match files.remove(&segment_name(number)) {
                // An earlier call came this far.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
            // One at a time: a power cut must not leave a gap between segments.
            files.sync_dir()?;
            // Only now: while it is listed, a call after a failure begins with this segment again and passes over none.
            self.shared.forgot(number);
            let _ = files.remove(&crate::sidecar::sidecar_name(number));
        }
        Ok(self.shared.first())
    }

    /// Closes the journal in order: notes on disk that everything written is durable, so that the next start copies nothing.
    ///
    /// Without it (a crash, or just dropping the writer) nothing is lost, and the next start takes a little longer.
    ///
    /// # Errors
    /// `Poisoned` if an earlier write failed, `Failed` if the note could not be written; every answered record is durable in
    /// any case.
    pub fn close(mut self) -> Result<(), AppendError> {
        if self.shared.is_poisoned() {
            return Err(AppendError::Poisoned);
        }
        if self.marked == self.shared.durable() {
            return Ok(());
        }
        self.frame.clear();
        self.frame.resize(FRAME_HEADER, 0);
        self.write_frame(0).map_err(|error| self.poison(error))
    }

    fn commit(&mut self, count: u32) -> io::Result<()> {
        let longer = self.offset + self.frame.len() as u64 > self.options.segment_bytes;
        if longer && self.offset > SEGMENT_HEADER as u64 {
            self.roll_over()?;
        }
        self.note_entries();
        self.write_frame(count)?;
        self.next = self.next.plus(u64::from(count));
        self.shared.advance(self.next.previous(), &mut self.entries);
        Ok(())
    }

    /// Writes the frame whose body is in the buffer, and syncs.
    fn write_frame(&mut self, count: u32) -> io::Result<()> {
        let durable = self.shared.durable();
        let body = &self.frame[FRAME_HEADER..];
        let header = FrameHeader {
            count,
            epoch: self.header.epoch,
            sequence: self.sequence + 1,
            first: self.next,
            durable,
            body_length: body.len() as u32,
            body_crc: crc32c::crc32c(body),
        };
        self.frame[..FRAME_HEADER].copy_from_slice(&header.encode(self.header.journal));
        fault::reached(fault::JOURNAL_APPEND)?;
        self.file.append(&self.frame)?;
        fault::reached(fault::JOURNAL_SYNC)?;
        self.file.sync_data()?;
        fault::reached(fault::JOURNAL_ANSWER)?;
        self.sequence += 1;
        self.offset += self.frame.len() as u64;
        self.marked = durable;
        Ok(())
    }

    /// Begins the next segment. Everything before it is durable, and its header says so.
    fn roll_over(&mut self) -> io::Result<()> {
        let header = SegmentHeader { first: self.next, durable: self.next.previous(), ..self.header };
        self.file = publish(&*self.shared.files, &segment_name(self.number + 1), [&header.encode()[..]])?;
        let sealed = Sidecar {
            end: self.next,
            end_offset: self.offset,
            index: self.shared.push(Segment { number: self.number + 1, first: self.next, index: Index::default() }),
        };
        // Derived: if it cannot be written it is made again at the next start.
        let _ = sealed.store(&*self.shared.files, self.number, &self.header);
        self.number += 1;
        self.header = header;
        self.offset = SEGMENT_HEADER as u64;
        self.sequence = 0;
        self.marked = header.durable;
        Ok(())
    }

    /// Collects the index entries that the frame in the buffer brings.
    fn note_entries(&mut self) {
        self.entries.clear();
        let frame_end = self.offset + self.frame.len() as u64;
        let mut last = self.shared.last_entry();
        let mut at = FRAME_HEADER;
        let mut position = self.next;
        while at < self.frame.len() {
            let offset = self.offset + at as u64;
            if last.is_none_or(|last| offset >= last + crate::segment::INDEX_SPACING) {
                self.entries.push(Entry { position, offset, frame_end });
                last = Some(offset);
            }
            let (length, _) = crate::frame::parse_record_header(&self.frame[at..]);
            at += RECORD_OVERHEAD + length as usize;
            position = position.next();
        }
    }

    fn poison(&self, error: io::Error) -> AppendError {
        self.shared.poison();
        AppendError::Failed(error)
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("journal", &self.header.journal)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

fn check_limits<R: AsRef<[u8]>>(records: &[R]) -> Result<(), AppendError> {
    let mut bytes = 0;
    for record in records {
        let length = record.as_ref().len();
        if length > MAX_RECORD_BYTES {
            return Err(AppendError::RecordTooLong { bytes: length });
        }
        bytes += RECORD_OVERHEAD + length;
    }
    if records.len() > MAX_BATCH_RECORDS || bytes > MAX_BATCH_BYTES {
        return Err(AppendError::BatchTooLong { records: records.len(), bytes });
    }
    Ok(())
}
