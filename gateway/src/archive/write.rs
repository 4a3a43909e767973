//! Writing an archive file: part by part at constant memory, and named only when it is durable.

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256};
use lgsp_journal::files::AppendFile;
use lgsp_journal::{Files, fault};
use lgsp_proto::store_v1::{ArchiveIndex, DocumentInArchive, DossierInArchive};
use lgsp_proto::types::{DossierCode, Sha256Digest};
use prost::Message as _;

use super::{AT_ONCE, DOCUMENT, HEAD, INDEX, MAGIC, PART, RECORD, SUFFIX, TAIL, TEMPORARY, VERSION};
use crate::store::{Material, ReadError};

/// Bytes between two syncs of a file under way, so that none of them holds up the journal's for long.
const SYNC_EVERY: u64 = 8 << 20;

/// Of which books an archive is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// The journal.
    pub journal: [u8; 16],
    /// The epoch in which it was written.
    pub epoch: u32,
}

/// An archive that is being written.
pub struct Draft {
    name: String,
    file: Box<dyn AppendFile>,
    hash: Context,
    at: u64,
    unsynced: u64,
    index: ArchiveIndex,
    dossiers: Vec<Kept>,
}

/// A dossier in an archive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Its code.
    pub code: DossierCode,
    /// Its last event.
    pub sequence: u32,
    /// Its queries.
    pub queries: u32,
    /// What it takes to record it: events and documents, each for every party that was told.
    pub weight: usize,
}

/// An archive that is durable under its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// The SHA-256 at its end.
    pub sha256: Sha256Digest,
    /// How long it is.
    pub bytes: u64,
    /// What is in it.
    pub dossiers: Vec<Kept>,
}

/// Why an archive was not written. What there is of it is swept.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A record cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A document cannot be read.
    #[error("a document cannot be read: {0}")]
    Document(#[source] io::Error),
}

impl Draft {
    /// Begins the archive `name` in a folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(files: &dyn Files, name: &str, head: Head, at_unix_ms: i64) -> Result<Self, DraftError> {
        let temporary = temporary_of(name);
        match files.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut draft = Self {
            name: name.to_owned(),
            file: files.create(&temporary)?,
            hash: Context::new(&SHA256),
            at: 0,
            unsynced: 0,
            index: ArchiveIndex { dossiers: Vec::new(), at_unix_ms },
            dossiers: Vec::new(),
        };
        let mut bytes = [0; HEAD];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&head.epoch.to_le_bytes());
        bytes[16..32].copy_from_slice(&head.journal);
        let crc = crc32c::crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        draft.append(&bytes)?;
        Ok(draft)
    }

    /// How long it is by now.
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// How many dossiers it holds by now.
    pub fn dossiers(&self) -> usize {
        self.index.dossiers.len()
    }

    /// Which they are, in their order.
    pub fn codes(&self) -> impl DoubleEndedIterator<Item = &DossierCode> {
        self.dossiers.iter().map(|kept| &kept.code)
    }

    /// Adds a dossier: `record` gives its records by position, `documents` its sealed documents with their lengths, in the order of
    /// [`Material::documents`]; none of them when it was erased.
    ///
    /// # Errors
    /// The draft is of no use after one.
    pub fn dossier<R: Read>(
        &mut self,
        material: &Material,
        record: impl Fn(u64) -> Result<bytes::Bytes, ReadError>,
        documents: Vec<(R, u64)>,
    ) -> Result<(), DraftError> {
        let dossier = &material.dossier;
        let (offset, mut own) = (self.at, Context::new(&SHA256));
        for position in &material.records {
            let bytes = record(*position)?;
            let part = [&part(RECORD, 8 + bytes.len() as u64)[..], &position.to_le_bytes(), &bytes].concat();
            own.update(&part);
            self.append(&part)?;
        }
        let length = self.at - offset;
        let mut sealed = documents.into_iter();
        let mut kept = Vec::with_capacity(material.documents.len());
        for meta in &material.documents {
            let (offset, length) = match sealed.next() {
                Some((mut file, length)) => {
                    self.append(&part(DOCUMENT, length))?;
                    let offset = self.at;
                    self.copy(&mut file, length)?;
                    (offset, length)
                }
                None => (0, 0),
            };
            kept.push(DocumentInArchive {
                document_id: meta.id,
                key_id: meta.key_id,
                sha256: meta.sha256.as_bytes().to_vec(),
                size_bytes: meta.size_bytes,
                media_type: meta.media_type.to_string(),
                offset,
                length,
            });
        }
        self.index.dossiers.push(DossierInArchive {
            dossier_code: dossier.code.to_string(),
            aliases: dossier.opening.aliases.iter().map(ToString::to_string).collect(),
            sequence: dossier.sequence,
            updated_at: dossier.updated_at.unix_seconds(),
            key_id: material.key_id,
            offset,
            length,
            sha256: own.finish().as_ref().to_vec(),
            documents: kept,
            queries: material.queries,
        });
        self.dossiers.push(Kept {
            code: dossier.code.clone(),
            sequence: dossier.sequence,
            queries: material.queries,
            weight: (dossier.sequence as usize + dossier.documents.len()) * dossier.told().count(),
        });
        fault::reached(fault::ARCHIVE_WRITE)?;
        Ok(())
    }

    /// Closes the file, and gives it its name when it is durable.
    ///
    /// # Errors
    /// The file may have either name, or both be gone.
    pub fn finish(mut self, files: &dyn Files) -> Result<Written, DraftError> {
        let index = self.index.encode_to_vec();
        let begins = self.at;
        self.append(&part(INDEX, index.len() as u64))?;
        self.append(&index)?;
        self.append(&begins.to_le_bytes())?;
        let Self { name, mut file, hash, at, dossiers, .. } = self;
        let digest = hash.finish();
        file.append(digest.as_ref())?;
        fault::reached(fault::ARCHIVE_SYNC)?;
        file.sync_data()?;
        fault::reached(fault::ARCHIVE_NAME)?;
        files.rename(&temporary_of(&name), &name)?;
        fault::reached(fault::ARCHIVE_FOLDER)?;
        files.sync_dir()?;
        let sha256 = Sha256Digest::try_from(digest.as_ref()).expect("SHA-256 has 32 bytes");
        Ok(Written { name, sha256, bytes: at + (TAIL - 8) as u64, dossiers })
    }

    /// Gives the file up, and removes what there is of it.
    pub fn give_up(self, files: &dyn Files) {
        let temporary = temporary_of(&self.name);
        drop(self.file);
        // If it stays, the next run removes it.
        if let Err(error) = files.remove(&temporary) {
            tracing::warn!(%error, archive = temporary, "an unfinished archive could not be removed");
        }
    }

    fn copy(&mut self, from: &mut impl Read, length: u64) -> Result<(), DraftError> {
        let (mut left, mut buffer) = (length, vec![0; AT_ONCE]);
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(AT_ONCE));
            from.read_exact(&mut buffer[..wanted]).map_err(DraftError::Document)?;
            self.append(&buffer[..wanted])?;
            left -= wanted as u64;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DraftError> {
        self.hash.update(bytes);
        self.file.append(bytes)?;
        self.at += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

fn part(kind: u8, length: u64) -> [u8; PART] {
    let mut bytes = [kind; PART];
    bytes[1..].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn temporary_of(name: &str) -> String {
    format!("{}{TEMPORARY}", name.trim_end_matches(SUFFIX))
}
