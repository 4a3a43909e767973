//! What can be copied of a journal while another process writes to it, without its lock.
//!
//! A segment that another one follows never changes again. The newest is only appended to, so its bytes up to the end of its
//! last whole frame are a journal that opens by itself, and hold everything that was answered before they were looked at. A
//! gateway that restarts meanwhile may put another file in the newest one's place; so that one is handed out open.

use std::io;

use crate::files::{Files, ReadFile};
use crate::frame::{BadHeader, JournalId, SEGMENT_HEADER, SegmentHeader};
use crate::position::Position;
use crate::recovery::{OpenError, judge, segment_numbers};
use crate::segment::{Flaw, Source, scan, segment_name};

/// What a copy of a journal is made of.
pub struct Copyable {
    /// Which journal it is.
    pub journal: JournalId,
    /// The last record in the copy.
    pub last: Position,
    /// The names of the segments that do not change any more, in order; each is copied whole.
    pub sealed: Vec<String>,
    /// The newest segment.
    pub newest: Newest,
}

/// The segment that is being written.
pub struct Newest {
    /// Its name.
    pub name: String,
    /// How much of it is to be copied.
    pub length: u64,
    /// The file itself: by its name another one may be found by now.
    pub file: Box<dyn ReadFile>,
}

/// Looks at the journal in `files` and says what to copy. Reads the newest segment only.
///
/// # Errors
/// See [`OpenError`]; the journal is damaged or there is none. Nothing was changed.
pub fn copyable(files: &dyn Files) -> Result<Copyable, OpenError> {
    let mut numbers = segment_numbers(&files.list()?);
    let Some(number) = numbers.pop() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no journal").into());
    };
    let name = segment_name(number);
    let file = files.open(&name)?;
    let mut bytes = [0; SEGMENT_HEADER];
    let read = file.read_at(0, &mut bytes)?;
    let header = SegmentHeader::parse(&bytes[..read]).map_err(|bad| match bad {
        BadHeader::Damaged => OpenError::Corrupt {
            segment: number,
            offset: 0,
            position: Flaw { offset: 0, position: Position::FIRST }.position,
        },
        BadHeader::Version(version) => OpenError::Version { segment: number, version },
    })?;
    let mut source = Source::of(file)?;
    let found = scan(&mut source, header.journal, header.epoch, header.first, None)?;
    judge(number, &header, &found)?;
    Ok(Copyable {
        journal: header.journal,
        last: found.end.previous(),
        sealed: numbers.into_iter().map(segment_name).collect(),
        newest: Newest { name, length: found.end_offset, file: source.into_file() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Disk;
    use crate::{Options, open};

    fn copy(from: &Disk) -> (Disk, Position) {
        let (source, copy) = (from.files(), Disk::new());
        let files = copy.files();
        let Copyable { last, sealed, newest, .. } = copyable(&*source).unwrap();
        let write = |name: &str, file: &dyn ReadFile, length: u64| {
            let mut bytes = vec![0; length as usize];
            assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
            files.create(name).unwrap().append(&bytes).unwrap();
        };
        for name in sealed {
            let file = source.open(&name).unwrap();
            write(&name, &*file, file.length().unwrap());
        }
        write(&newest.name, &*newest.file, newest.length);
        (copy, last)
    }

    #[test]
    fn whatever_the_writer_does_meanwhile_a_copy_opens_and_holds_what_was_answered_before() {
        let disk = Disk::new();
        let options = Options { segment_bytes: 600 };
        let mut opened = open(disk.files(), options).unwrap();
        for round in 0..40_u8 {
            let answered = opened.writer.append(&[[round; 50]]).map(|_| opened.reader.durable()).unwrap();
            if round % 9 == 8 {
                // A restart, which may put another file in the newest one's place.
                opened = open(disk.files(), options).unwrap();
            }
            // Any unfinished write at the end is left out.
            let newest = copyable(&*disk.files()).unwrap().newest.name;
            let torn = disk.killed();
            torn.tamper(&newest, |bytes| bytes.extend_from_slice(b"half a frame"));
            let (copied, last) = copy(&torn);
            assert!(last >= answered);
            let copied = open(copied.files(), options).unwrap();
            assert_eq!(copied.recovered.torn_bytes, 0);
            for position in 1..=answered.0 {
                let record = copied.reader.read(Position(position)).unwrap();
                assert_eq!(record, [position as u8 - 1; 50]);
            }
        }
    }

    #[test]
    fn a_damaged_journal_is_not_copied_as_if_it_were_whole() {
        let disk = Disk::new();
        let mut opened = open(disk.files(), Options::default()).unwrap();
        for round in 0..3_u8 {
            opened.writer.append(&[[round; 50]]).unwrap();
        }
        let name = copyable(&*disk.files()).unwrap().newest.name;
        disk.tamper(&name, |bytes| bytes[SEGMENT_HEADER + 100] ^= 1);
        assert!(matches!(copyable(&*disk.files()), Err(OpenError::Corrupt { .. })));
    }
}
