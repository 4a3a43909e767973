//! Reading an archive file: whole, to believe it, or one dossier of it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use lgsp_journal::files::ReadFile;
use lgsp_proto::store_v1::{ArchiveIndex, DocumentInArchive, DossierInArchive};
use lgsp_proto::types::Sha256Digest;
use prost::Message as _;

use super::{AT_ONCE, HEAD, Head, INDEX, MAGIC, PART, RECORD, SHA, TAIL, VERSION, is_named_so};
use crate::store::DossiersArchived;

/// The longest index: of a thousand dossiers it has a few hundred kilobytes.
const INDEX_MAX: u64 = 256 << 20;

/// An archive file, its head and its index read.
pub struct Archive {
    file: Box<dyn ReadFile>,
    length: u64,
    version: u32,
    /// Of which books it is.
    pub head: Head,
    /// What is in it.
    pub index: ArchiveIndex,
    /// The SHA-256 at its end; what it says was not checked.
    pub sha256: Sha256Digest,
}

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// A later version wrote it.
    #[error("it was written by a later version (form {0})")]
    Later(u32),
    /// It is whole, and not the one on record.
    #[error("it is not the archive on record: {0}")]
    Foreign(&'static str),
}

impl ArchiveError {
    /// Whether there is just no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// A dossier found in an archive.
pub struct Found {
    /// The archive's file.
    pub path: PathBuf,
    /// The archive.
    pub archive: Archive,
    /// The dossier, by what the index says.
    pub dossier: DossierInArchive,
}

/// Archives that cannot be read, and why.
pub type Unread = Vec<(PathBuf, ArchiveError)>;

/// A file on a real disk; whoever reads it may have no lock on its folder.
struct OnDisk(File);

impl ReadFile for OnDisk {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Archive {
    /// Opens the archive at `path`. Head and index are read; [`Archive::verify`] reads the rest.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        Self::read(Box::new(OnDisk(File::open(path)?)))
    }

    /// As [`Archive::open`], of a file that is open.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn read(file: Box<dyn ReadFile>) -> Result<Self, ArchiveError> {
        let length = file.length()?;
        let mut head = [0; HEAD];
        exactly(&*file, 0, &mut head)?;
        // The check sum lies where the first version put it; a later one keeps its place, or is damage to this one.
        if head[0..8] != MAGIC || u32_at(&head, 32) != crc32c::crc32c(&head[..32]) {
            return Err(ArchiveError::Damaged("its head is none"));
        }
        let version = u32_at(&head, 8);
        if !(1..=VERSION).contains(&version) {
            return Err(ArchiveError::Later(version));
        }
        let mut tail = [0; TAIL];
        let end = length.checked_sub(TAIL as u64).ok_or(ArchiveError::Damaged("it is cut short"))?;
        exactly(&*file, end, &mut tail)?;
        let begins = u64_at(&tail, 0);
        let mut part = [0; PART];
        exactly(&*file, begins, &mut part)?;
        let long = u64_at(&part, 1);
        let behind = begins.checked_add(PART as u64).and_then(|at| at.checked_add(long));
        if part[0] != INDEX || long > INDEX_MAX || behind != Some(end) {
            return Err(ArchiveError::Damaged("its index is not where it should be"));
        }
        let mut index = vec![0; usize::try_from(long).expect("bounded")];
        exactly(&*file, begins + PART as u64, &mut index)?;
        let index = ArchiveIndex::decode(&index[..]).map_err(|_| ArchiveError::Damaged("its index cannot be read"))?;
        let journal = head[16..32].try_into().expect("sixteen bytes");
        let sha256 = Sha256Digest::try_from(&tail[8..]).expect("SHA-256 has 32 bytes");
        Ok(Self { file, length, version, head: Head { journal, epoch: u32_at(&head, 12) }, index, sha256 })
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// Whether it has the queries that were made for its dossiers.
    pub fn has_queries(&self) -> bool {
        self.version >= 2
    }

    /// Reads the whole file, and each dossier's records.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn verify(&self) -> Result<(), ArchiveError> {
        let end = self.length - SHA as u64;
        if self.digest(0, end)? != self.sha256 {
            return Err(ArchiveError::Damaged("its digest is another"));
        }
        for dossier in &self.index.dossiers {
            let _ = self.records(dossier)?;
        }
        Ok(())
    }

    /// Whether it is whole, the one on record, and holds what the record names.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn is_on_record(&self, journal: [u8; 16], record: &DossiersArchived) -> Result<(), ArchiveError> {
        if self.head.journal != journal {
            return Err(ArchiveError::Foreign("it belongs to another journal"));
        }
        if self.sha256 != record.sha256 {
            return Err(ArchiveError::Foreign("its digest is another"));
        }
        let held: HashSet<&str> = self.index.dossiers.iter().map(|dossier| dossier.dossier_code.as_str()).collect();
        if !record.codes.iter().all(|code| held.contains(code.as_str())) {
            return Err(ArchiveError::Foreign("it lacks a dossier"));
        }
        self.verify()
    }

    /// The dossier with this code or alias, if it is in it.
    pub fn dossier(&self, name: &str) -> Option<&DossierInArchive> {
        let is_it = |one: &&DossierInArchive| one.dossier_code == name || one.aliases.iter().any(|alias| alias == name);
        self.index.dossiers.iter().find(is_it)
    }

    /// The records of a dossier, each with its position in the journal, as journalled.
    ///
    /// # Errors
    /// They are not what was written.
    pub fn records(&self, dossier: &DossierInArchive) -> Result<Vec<(u64, Vec<u8>)>, ArchiveError> {
        let end = dossier.offset.checked_add(dossier.length).filter(|end| *end <= self.length);
        let end = end.ok_or(ArchiveError::Damaged("a dossier lies outside of it"))?;
        let digest = self.digest(dossier.offset, end)?;
        if digest.as_bytes()[..] != dossier.sha256[..] {
            return Err(ArchiveError::Damaged("the records of a dossier are others"));
        }
        let (mut at, mut records) = (dossier.offset, Vec::new());
        while at < end {
            let mut part = [0; PART + 8];
            exactly(&*self.file, at, &mut part)?;
            let long = u64_at(&part, 1).checked_sub(8).filter(|long| *long <= end - at);
            let (RECORD, Some(long)) = (part[0], long) else {
                return Err(ArchiveError::Damaged("a record is none"));
            };
            let mut bytes = vec![0; usize::try_from(long).expect("within a dossier")];
            exactly(&*self.file, at + part.len() as u64, &mut bytes)?;
            records.push((u64_at(&part, PART), bytes));
            at += part.len() as u64 + long;
        }
        Ok(records)
    }

    /// A document as it was sealed, as a file of its own; nothing when it had been erased before.
    pub fn document(self, document: &DocumentInArchive) -> Option<Sealed> {
        let end = document.offset.checked_add(document.length).filter(|end| *end <= self.length)?;
        (document.length > 0).then(|| Sealed { file: self.file, begins: document.offset, end, at: document.offset })
    }

    fn digest(&self, from: u64, to: u64) -> Result<Sha256Digest, ArchiveError> {
        let (mut hash, mut at, mut buffer) = (Context::new(&SHA256), from, vec![0; AT_ONCE]);
        while at < to {
            let wanted = AT_ONCE.min(usize::try_from(to - at).unwrap_or(AT_ONCE));
            exactly(&*self.file, at, &mut buffer[..wanted])?;
            hash.update(&buffer[..wanted]);
            at += wanted as u64;
        }
        Ok(Sha256Digest::try_from(hash.finish().as_ref()).expect("SHA-256 has 32 bytes"))
    }
}

/// A sealed document inside of an archive, read as if it were a file.
pub struct Sealed {
    file: Box<dyn ReadFile>,
    begins: u64,
    end: u64,
    at: u64,
}

impl Read for Sealed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(self.at, &mut buffer[..wanted])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Sealed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let at = match to {
            SeekFrom::Start(at) => self.begins.checked_add(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
        };
        self.at = at.filter(|at| *at >= self.begins).ok_or_else(outside)?;
        Ok(self.at - self.begins)
    }
}

/// The archive files of a folder, in the order of their names; none if there is no folder.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_named_so) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Looks for the dossier with this code or alias in the archives of a folder, the newest first. Only their indexes are read;
/// archives that cannot be read are answered as well, so that nobody takes "not found" for "not there".
///
/// # Errors
/// The folder cannot be read.
pub fn find(folder: &Path, name: &str) -> io::Result<(Option<Found>, Unread)> {
    let mut unread = Vec::new();
    for path in list(folder)?.into_iter().rev() {
        match Archive::open(&path) {
            Ok(archive) => {
                if let Some(dossier) = archive.dossier(name).cloned() {
                    return Ok((Some(Found { path, archive, dossier }), unread));
                }
            }
            Err(error) => unread.push((path, error)),
        }
    }
    Ok((None, unread))
}

fn exactly(file: &dyn ReadFile, at: u64, buffer: &mut [u8]) -> Result<(), ArchiveError> {
    if file.read_at(at, buffer)? == buffer.len() { Ok(()) } else { Err(ArchiveError::Damaged("it is cut short")) }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
