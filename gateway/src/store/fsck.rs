//! Checking a whole data folder: is what is on disk what was answered, and is what is shown what is on disk?
//!
//! It reads everything and repairs nothing. The journal is checked byte by byte, then replayed twice over: through the
//! projection, whose result must equal the index, and through `books`, which know the invariants and not the projection,
//! so that a fault of the projection is found as well. It needs the folder for itself.

mod books;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lgsp_domain::apply::Inconsistent;
use lgsp_journal::seal::KeyRing;
use lgsp_journal::{Damage, Position, Reader};

use super::DossiersArchived;
use super::codec::Fact;
use super::data_folder::{ARCHIVES, CannotRead, Stopped, open_stopped};
use super::index::{self, Contradiction};
use super::index_folder::{IndexError, IndexFolder, Sled};
use super::keys;
use super::overlay::{Base, Change, Entries, Memory};
use super::records;
use super::snapshot::Snapshots;
use books::Books;

/// Problems that are told one by one; the rest is only counted.
const TOLD: usize = 1_000;

/// Records between two reports of progress.
const REPORT_EVERY: u64 = 5_000;

/// Entries of the index that are compared at a time.
const SLICE: usize = 1_024;

/// What a sound data folder holds, each with a name that never changes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Invariant {
    /// Every record is there, unchanged, and can be read.
    Journal,
    /// The events of a dossier are numbered without a gap, and each follows the one before it.
    Sequence,
    /// No code and no alias is given twice.
    Code,
    /// Every delivery is waiting, parked, taken over, or handed over or skipped, and counted as such.
    Delivery,
    /// A request key of a party leads to one event.
    Key,
    /// No number of a day is given twice, leased or not, and none above the counter.
    Number,
    /// A body that can be opened is the one that was signed for and receipted.
    Body,
    /// The certificate behind every signature is on record.
    Certificate,
    /// Every signature is one, by the key of its certificate.
    Signature,
    /// Every document an event attaches is on record.
    Document,
    /// The index is what replaying the journal makes of it.
    Index,
    /// Only what is closed and owed to nobody was archived, and an archive that is at hand is the one on record.
    Archive,
    /// Every administrative act has its entry in the audit, and nothing else has one.
    Audit,
    /// A query is on record once, sealed with the key of its dossier, and what was told is what was signed; and it is counted once.
    Query,
    /// A join token was issued before it was spent or withdrawn, and only one of these happened to it, once.
    Token,
}

impl Invariant {
    /// Its stable name.
    pub const fn id(self) -> &'static str {
        match self {
            Invariant::Journal => "INV-0",
            Invariant::Sequence => "INV-1",
            Invariant::Code => "INV-2",
            Invariant::Delivery => "INV-3",
            Invariant::Key => "INV-4",
            Invariant::Number => "INV-5",
            Invariant::Body => "INV-6",
            Invariant::Certificate => "INV-7",
            Invariant::Signature => "INV-8",
            Invariant::Document => "INV-9",
            Invariant::Index => "INV-10",
            Invariant::Archive => "INV-11",
            Invariant::Audit => "INV-13",
            Invariant::Token => "INV-12",
            Invariant::Query => "INV-14",
        }
    }

    /// What it says, in a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Invariant::Journal => "every record is there, unchanged, and can be read",
            Invariant::Sequence => "the events of a dossier are numbered without a gap",
            Invariant::Code => "no code and no alias is given twice",
            Invariant::Delivery => "every delivery is waiting, parked, taken over, or handed over or skipped",
            Invariant::Key => "a request key leads to one event",
            Invariant::Number => "no number is given twice, and none lies above the counter",
            Invariant::Body => "a body is the one that was signed for and receipted",
            Invariant::Certificate => "the certificate behind every signature is on record",
            Invariant::Signature => "every signature is one, by the key of its certificate",
            Invariant::Document => "every attached document is on record",
            Invariant::Index => "the index is what replaying the journal makes of it",
            Invariant::Archive => "what is archived was closed, and an archive at hand is the one on record",
            Invariant::Audit => "every administrative act is an entry of the audit",
            Invariant::Query => {
                "a query is on record and counted once, sealed with its dossier's key, and what was told was signed for"
            }
            Invariant::Token => "a join token is spent or withdrawn once, in the epoch it was issued in",
        }
    }
}

/// Something that is not as it should be. Names codes, parties and positions, never a person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What is broken.
    pub invariant: Invariant,
    /// The record at which it shows; `None` when it is not about one.
    pub position: Option<u64>,
    /// What was found.
    pub what: String,
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Every byte of the journal has been read.
    JournalRead {
        /// The last record.
        last: u64,
    },
    /// Records have been replayed.
    Replayed {
        /// Up to this one.
        position: u64,
        /// The last one.
        last: u64,
    },
    /// The index is being compared.
    Comparing,
    /// An archive file is being read.
    Archive {
        /// The how-manieth.
        number: u64,
        /// How many are on record.
        of: u64,
    },
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the journal is made of, and where it is damaged.
    pub journal: lgsp_journal::Report,
    /// Records replayed.
    pub records: u64,
    /// Dossiers opened.
    pub dossiers: u64,
    /// Events recorded.
    pub events: u64,
    /// Deliveries still owed.
    pub owed: u64,
    /// Documents stored.
    pub documents: u64,
    /// Events whose body was opened and checked.
    pub bodies: u64,
    /// Queries on record.
    pub queries: u64,
    /// Events whose body, and queries whose content, was erased with its dossier's key.
    pub erased: u64,
    /// The record up to which there was an index to compare; `None` when there was no usable one.
    pub compared: Option<u64>,
    /// Why the index is of no use, if it is: the next start makes it again from the journal, so it is no problem.
    pub index_unusable: Option<String>,
    /// Snapshots of the index that were compared as well.
    pub snapshots: u64,
    /// Snapshots that cannot be used: a rebuild passes over them, so they are no problem.
    pub snapshots_unusable: u64,
    /// Dossiers whose content was erased by a decision.
    pub erased_dossiers: u64,
    /// Keys of such dossiers that are not destroyed yet: opening the store does it.
    pub keys_to_destroy: u64,
    /// Dossiers that were archived.
    pub archived_dossiers: u64,
    /// Archive files that were read and are those on record.
    pub archives: u64,
    /// Archive files that are not where they were looked for: kept elsewhere, which is no problem.
    pub archives_elsewhere: u64,
    /// Everything that is not as it should be, in the order in which it was found.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn found(&mut self, invariant: Invariant, position: impl Into<Option<Position>>, what: impl Into<String>) {
        if self.problems.len() == TOLD {
            self.more += 1;
            return;
        }
        let position = position.into().map(|position: Position| position.0);
        self.problems.push(Problem { invariant, position, what: what.into() });
    }
}

/// Checks the data folder `dir`, whose data keys are wrapped with the key in the file `node_key`.
///
/// # Errors
/// See [`CannotRead`]: nothing was checked. What is found wrong is no error but in the [`Report`].
pub fn fsck(dir: &Path, node_key: &Path, progress: impl Fn(Progress)) -> Result<Report, CannotRead> {
    fsck_with(dir, node_key, &dir.join(ARCHIVES), progress)
}

/// As [`fsck`], with the archives in a folder of their own.
///
/// # Errors
/// See [`CannotRead`].
pub fn fsck_with(
    dir: &Path,
    node_key: &Path,
    archives: &Path,
    progress: impl Fn(Progress),
) -> Result<Report, CannotRead> {
    let Stopped { reader, journal, keys, snapshots } = open_stopped(dir, node_key)?;
    progress(Progress::JournalRead { last: journal.last.0 });

    let mut report = Report { journal, ..Report::default() };
    for damage in report.journal.damage.clone() {
        let Damage { segment, offset, .. } = damage;
        let what = match damage.written_by {
            Some(form) => {
                format!("segment {segment} was written by a later version (form {form}): check it with that one")
            }
            None => format!("segment {segment} is damaged at byte {offset}"),
        };
        report.found(Invariant::Journal, damage.position, what);
    }
    let mut check = Check {
        books: Books::default(),
        memory: Memory::default(),
        keys: Arc::new(keys),
        archives: Vec::new(),
        differences: Vec::new(),
        report,
    };
    let index = check.open_index(dir, &reader);
    let snapshots = snapshots.map(|files| Snapshots::new(files, reader.clone()));
    check.replay(&reader, index.as_ref(), snapshots.as_ref(), &progress);
    check.read_archives(archives, reader.journal().0, &progress);
    let Check { books, memory, mut report, .. } = check;
    books.close(&memory, &mut report);
    Ok(report)
}

/// Checks an open store that stands still: its journal as far as it is durable, and what its readers see.
#[cfg(feature = "test-util")]
pub(super) fn check_open(reader: &Reader, keys: &Arc<KeyRing>, index: impl Base) -> Report {
    let last = reader.durable();
    let journal = lgsp_journal::Report { last, ..lgsp_journal::Report::default() };
    let report = Report { journal, ..Report::default() };
    let mut check = Check {
        books: Books::default(),
        memory: Memory::default(),
        keys: Arc::clone(keys),
        archives: Vec::new(),
        differences: Vec::new(),
        report,
    };
    check.replay(reader, Some(&(index, last)), None, &|_| ());
    let Check { books, memory, mut report, .. } = check;
    books.close(&memory, &mut report);
    report
}

/// A check under way.
struct Check {
    books: Books,
    /// What the projection makes of the journal.
    memory: Memory,
    keys: Arc<KeyRing>,
    /// The archives on record.
    archives: Vec<(Position, DossiersArchived)>,
    /// By which keys the index differs from what it should be at its mark, and how, until the record behind it has been looked at.
    differences: Vec<(Bytes, String)>,
    report: Report,
}

impl Check {
    /// The index and the record it is at, if there is one to compare.
    fn open_index(&mut self, dir: &Path, reader: &Reader) -> Option<(Sled, Position)> {
        let folder = IndexFolder::new(dir, reader.journal());
        if !folder.exists() {
            return None;
        }
        match folder.open(self.report.journal.last, &|_| ()) {
            Ok(index) => Some(index),
            Err(error @ IndexError::Locked(_)) => {
                self.report.found(Invariant::Index, None, error.to_string());
                None
            }
            // What a start distrusts it makes again; to find it in that state after a kill is nothing wrong.
            Err(error) => {
                self.report.index_unusable = Some(error.to_string());
                None
            }
        }
    }

    fn replay(
        &mut self,
        reader: &Reader,
        index: Option<&(impl Base, Position)>,
        snapshots: Option<&Snapshots>,
        progress: &dyn Fn(Progress),
    ) {
        let last = self.report.journal.last;
        let taken: Vec<Position> = snapshots.and_then(|snapshots| snapshots.positions().ok()).unwrap_or_default();
        let compare_at = index.map(|(_, applied)| *applied);
        if compare_at == Some(Position::ORIGIN) {
            self.compare(index);
        }
        let mut from = reader.first();
        while from <= last {
            for record in reader.replay(from) {
                // A record that cannot be read does not hide those behind it.
                let position = record.as_ref().map_or(from, |(position, _)| *position);
                from = position.next();
                match record {
                    Ok((_, bytes)) => self.record(position, &bytes, index.map(|(index, _)| index)),
                    Err(error) => {
                        self.report.found(Invariant::Journal, position, records::journal_failed(error).to_string());
                        break;
                    }
                }
                if compare_at == Some(position) {
                    progress(Progress::Comparing);
                    self.compare(index);
                }
                if let Some(snapshots) = snapshots
                    && taken.contains(&position)
                {
                    progress(Progress::Comparing);
                    self.compare_snapshot(snapshots, position);
                }
                if position.0 % REPORT_EVERY == 0 || position == last {
                    progress(Progress::Replayed { position: position.0, last: last.0 });
                }
            }
        }
        // No record behind the mark explains them.
        self.tell_differences();
    }

    fn tell_differences(&mut self) {
        for (_, what) in self.differences.drain(..) {
            self.report.found(Invariant::Index, None, what);
        }
    }

    /// Makes a record's changes to what the projection has made so far. If the index differs from that, it may hold the first
    /// steps of this record without its mark: whatever stopped the gateway stopped it between two of them, and the next start makes
    /// them all again.
    fn apply(&mut self, steps: Vec<Vec<Change>>, index: Option<&impl Base>) {
        let Some(index) = index.filter(|_| !self.differences.is_empty()) else {
            return self.memory.apply(steps.into_iter().flatten());
        };
        if !index::is_amid(&mut self.memory, steps, index, self.differences.iter().map(|(key, _)| key)) {
            return self.tell_differences();
        }
        self.differences.clear();
    }

    fn record(&mut self, position: Position, bytes: &[u8], index: Option<&impl Base>) {
        self.report.records += 1;
        let (record, fact) = match records::decode(position, bytes) {
            Ok(read) => read,
            Err(error) => return self.report.found(Invariant::Journal, position, error.to_string()),
        };
        self.books.enter(position, &record, &fact, &self.keys, &mut self.report);
        if let Fact::DossiersArchived(archived) = &fact {
            self.enter_archive(position, archived);
        }
        match index::project(&fact, position, &self.memory) {
            Ok(steps) => self.apply(steps, index),
            Err(contradiction) => {
                let invariant = match &contradiction {
                    Contradiction::Event(Inconsistent::OpenedTwice { .. }) => Invariant::Code,
                    Contradiction::Event(_) => Invariant::Sequence,
                    Contradiction::Again(_) => Invariant::Key,
                    Contradiction::OtherKey(_) | Contradiction::Erased(_) => Invariant::Body,
                    Contradiction::Nothing(_) => Invariant::Sequence,
                    Contradiction::Epoch(_) => Invariant::Number,
                    Contradiction::Archived(_) => Invariant::Archive,
                    Contradiction::Token => Invariant::Token,
                    Contradiction::OtherMatter => Invariant::Query,
                    Contradiction::Read(_) => Invariant::Index,
                };
                self.report.found(invariant, position, contradiction.to_string());
            }
        }
    }

    /// Several records may have taken dossiers into one file.
    fn enter_archive(&mut self, position: Position, archived: &DossiersArchived) {
        let Some((_, known)) = self.archives.iter_mut().rev().find(|(_, known)| known.archive == archived.archive)
        else {
            return self.archives.push((position, archived.clone()));
        };
        if known.sha256 != archived.sha256 {
            let what = format!("{} has another digest than in an earlier record", archived.archive);
            self.report.found(Invariant::Archive, position, what);
        }
        known.codes.extend(archived.codes.iter().cloned());
    }

    /// Reads every archive on record that is in `folder`; what is not there is kept elsewhere.
    fn read_archives(&mut self, folder: &Path, journal: [u8; 16], progress: &dyn Fn(Progress)) {
        let Self { archives, books, report, .. } = self;
        let of = archives.len() as u64;
        for (number, (position, on_record)) in (1..).zip(archives) {
            progress(Progress::Archive { number, of });
            let wrong = match crate::archive::Archive::open(&folder.join(&on_record.archive)) {
                Err(error) if error.is_missing() => {
                    report.archives_elsewhere += 1;
                    continue;
                }
                Err(error) => Some(error.to_string()),
                Ok(archive) => match archive.is_on_record(journal, on_record) {
                    Err(error) => Some(error.to_string()),
                    Ok(()) => books.lacks_queries(&archive, &on_record.codes),
                },
            };
            match wrong {
                None => report.archives += 1,
                Some(why) => {
                    let what = format!("{}: {why}", on_record.archive);
                    report.found(Invariant::Archive, *position, what);
                }
            }
        }
    }

    /// Compares the index with what the projection has made so far, which is up to the record the index is at.
    fn compare(&mut self, index: Option<&(impl Base, Position)>) {
        let Some((index, applied)) = index else { return };
        self.report.compared = Some(applied.0);
        let (mut slice, mut from, mut is_last) = (Entries::new().into_iter(), Vec::new(), false);
        let entries = std::iter::from_fn(|| {
            loop {
                if let Some((key, value)) = slice.next() {
                    from = keys::after(key.to_vec());
                    return Some(Ok((key, value)));
                }
                if is_last {
                    return None;
                }
                match index.range(&from, &[u8::MAX], SLICE) {
                    Ok(read) => {
                        is_last = read.len() < SLICE;
                        slice = read.into_iter();
                    }
                    Err(error) => {
                        is_last = true;
                        return Some(Err(error.to_string()));
                    }
                }
            }
        });
        self.differences = differences(&self.memory, entries);
    }

    /// Compares a snapshot with what the projection has made so far. One that a rebuild would pass over is only counted.
    fn compare_snapshot(&mut self, snapshots: &Snapshots, position: Position) {
        match snapshots.open(position) {
            Ok(snapshot) => {
                self.report.snapshots += 1;
                let entries = snapshot.entries().map(|entry| entry.map_err(|error| error.to_string()));
                for (_, what) in differences(&self.memory, entries) {
                    self.report.found(Invariant::Index, None, format!("in the snapshot at record {position}, {what}"));
                }
            }
            Err(_) => self.report.snapshots_unusable += 1,
        }
    }
}

/// By which keys entries differ from what the projection has made so far, and how.
fn differences(memory: &Memory, entries: impl Iterator<Item = Result<(Bytes, Bytes), String>>) -> Vec<(Bytes, String)> {
    let mut found = Vec::new();
    let mut expected = memory.0.iter().peekable();
    for entry in entries {
        let (key, value) = match entry {
            Ok(entry) => entry,
            Err(error) => {
                found.push((Bytes::new(), error));
                return found;
            }
        };
        if !keys::is_projected(&key) {
            continue;
        }
        while let Some((missing, _)) = expected.next_if(|(expected, _)| **expected < key) {
            found.push((missing.clone(), format!("{} is missing", keys::describe(missing))));
        }
        let what = match expected.next_if(|(expected, _)| **expected == key) {
            Some((_, expected)) if *expected == value => continue,
            Some(_) => "is not what the journal says",
            None => "is nothing the journal knows of",
        };
        let what = format!("{} {what}", keys::describe(&key));
        found.push((key, what));
    }
    found.extend(expected.map(|(missing, _)| (missing.clone(), format!("{} is missing", keys::describe(missing)))));
    found
}
