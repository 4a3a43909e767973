//! Reading everything and checking every check sum and the continuity between them, for `fsck`. Nothing is written, no lock is
//! needed, and one damaged place does not hide the next.

use std::io;

use crate::files::Files;
use crate::frame::{BadHeader, FRAME_HEADER, FrameHeader, JournalId, SEGMENT_HEADER, SegmentHeader};
use crate::position::Position;
use crate::reader::Segment;
use crate::recovery::{first_flaw, segment_numbers};
use crate::segment::{Flaw, Source, scan, segment_name};

/// How far [`verify`] has come; told after each segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Segments read so far.
    pub segments: usize,
    /// Segments there are.
    pub of: usize,
    /// Bytes read so far.
    pub bytes: u64,
    /// The last record found so far.
    pub position: Position,
}

/// A place where the bytes are not what was written, below a position that was durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Damage {
    /// The segment's number.
    pub segment: u64,
    /// Where in the segment's file; 0 means its header.
    pub offset: u64,
    /// The first record that is affected.
    pub position: Position,
    /// Set when the bytes are as they were written, by a version that writes this form, which this one does not know.
    pub written_by: Option<u32>,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Which journal it is; `None` if there is no segment whose header can be read.
    pub journal: Option<JournalId>,
    /// Segments there are.
    pub segments: usize,
    /// The first position there is.
    pub first: Position,
    /// The last position found; [`Position::ORIGIN`] if there is none.
    pub last: Position,
    /// The last position known durable. What lies between it and `last` the next start will make durable.
    pub durable: Position,
    /// Bytes at the very end that an unfinished write left. Not damage: the next start gives them up.
    pub torn_bytes: u64,
    /// Every damaged place, in order.
    pub damage: Vec<Damage>,
}

/// Reads the whole journal in `files` and reports what it finds.
///
/// It may run beside an open journal: what is being written meanwhile looks like a torn end.
///
/// # Errors
/// The folder could not be read; damage is not an error but a finding.
pub fn verify(files: &dyn Files, progress: &mut dyn FnMut(Progress)) -> io::Result<Report> {
    survey(files, progress).map(|(report, _)| report)
}

/// Reads the whole journal, and keeps the way to every record that can be read.
pub(crate) fn survey(files: &dyn Files, progress: &mut dyn FnMut(Progress)) -> io::Result<(Report, Vec<Segment>)> {
    let numbers = segment_numbers(&files.list()?);
    let heads = read_heads(files, &numbers)?;
    let mut report = Report { segments: numbers.len(), first: Position::FIRST, ..Report::default() };
    report.journal = heads.iter().find_map(|head| head.header).map(|header| header.journal);
    let mut segments: Vec<Segment> = Vec::new();
    let mut bytes = 0;

    for (at, head) in heads.iter().enumerate() {
        if at > 0 && heads[at - 1].number + 1 != head.number {
            let segment = heads[at - 1].number + 1;
            report.damage.push(Damage { segment, offset: 0, position: report.last.next(), written_by: None });
        }
        if !head.sound {
            let (segment, position, written_by) = (head.number, report.last.next(), head.version);
            report.damage.push(Damage { segment, offset: 0, position, written_by });
        }
        let Some(header) = head.header else { continue };
        if segments.is_empty() {
            report.first = header.first;
        }

        let newest = at + 1 == heads.len();
        let until = heads.get(at + 1).and_then(|next| next.header).map(|next| next.first);
        let mut source = Source::open(files, head.number)?;
        let found = scan(&mut source, header.journal, header.epoch, header.first, until)?;
        report.durable = report.durable.max(header.durable).max(found.durable);

        // Below this position everything was durable once; from it on, a flaw is only the end of an unfinished write.
        let live_end = match until {
            Some(until) => until,
            None if newest => report.durable.next(),
            None => found.furthest,
        };
        let (mut damaged, torn): (Vec<Flaw>, Vec<Flaw>) = found.flaws.iter().partition(|flaw| flaw.position < live_end);
        if found.furthest < live_end && damaged.is_empty() {
            damaged.push(first_flaw(&found));
        }
        let end = match (until, damaged.is_empty(), torn.is_empty()) {
            (Some(until), _, _) => until,
            (None, true, _) => found.end,
            (None, false, true) => found.furthest,
            (None, false, false) => live_end,
        };
        if newest && !torn.is_empty() {
            report.torn_bytes = source.length().saturating_sub(torn[0].offset);
        }
        let segment = head.number;
        let here = |flaw: &Flaw| Damage { segment, offset: flaw.offset, position: flaw.position, written_by: None };
        report.damage.extend(damaged.iter().map(here));
        segments.push(Segment { number: head.number, first: header.first, index: found.index });
        report.last = end.previous();
        bytes += source.length();
        progress(Progress { segments: at + 1, of: heads.len(), bytes, position: report.last });
    }
    Ok((report, segments))
}

/// A segment's header as far as it can be made out.
struct Head {
    number: u64,
    header: Option<SegmentHeader>,
    /// Whether it is as it was written, in the form that is known here.
    sound: bool,
    /// The form, if it is another one.
    version: Option<u32>,
}

fn read_heads(files: &dyn Files, numbers: &[u64]) -> io::Result<Vec<Head>> {
    let mut read = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let mut bytes = [0; SEGMENT_HEADER + FRAME_HEADER];
        let length = files.open(&segment_name(number))?.read_at(0, &mut bytes)?;
        read.push((number, SegmentHeader::parse(&bytes[..length.min(SEGMENT_HEADER)]), bytes));
    }
    let journal = read.iter().find_map(|(_, header, _)| header.ok()).map(|header| header.journal);
    let heads = read.into_iter().map(|(number, header, bytes)| match header {
        Ok(header) if Some(header.journal) == journal => {
            Head { number, header: Some(header), sound: true, version: None }
        }
        Ok(_) => Head { number, header: None, sound: false, version: None },
        Err(BadHeader::Version(version)) => Head { number, header: None, sound: false, version: Some(version) },
        Err(BadHeader::Damaged) => Head { number, header: guess_header(&bytes, journal), sound: false, version: None },
    });
    Ok(heads.collect())
}

/// Makes out a damaged segment header from the first frame behind it, so that one flipped bit does not hide a whole segment.
fn guess_header(bytes: &[u8; SEGMENT_HEADER + FRAME_HEADER], journal: Option<JournalId>) -> Option<SegmentHeader> {
    let mut named = [0; 16];
    named.copy_from_slice(&bytes[16..32]);
    [journal, Some(JournalId(named))].into_iter().flatten().find_map(|journal| {
        let frame = FrameHeader::parse(&bytes[SEGMENT_HEADER..], journal)?;
        Some(SegmentHeader { journal, epoch: frame.epoch, first: frame.first, durable: frame.durable })
    })
}
