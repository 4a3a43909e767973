//! A document's file: what lies on the disk, byte by byte.
//!
//! ```text
//! 0        8                16                    64
//! +--------+----------------+---------------------+----------------------- - -
//! | LGSPDOC1 | key id (u64 BE) | head of the stream | sealed chunks of 64 KiB
//! +--------+----------------+---------------------+----------------------- - -
//! ```
//!
//! While a complete document is on its way to the record, `whole/closing-<key id>` says so: what a crash leaves there is looked up
//! at the next start, and a file that no record names is removed. There are never more of these than uploads under way.
//!
//! Chunks are sealed one by one ([`lgsp_journal::seal::stream`]), so that a document streams at constant memory and an
//! upload goes on at a chunk's border. The last chunk is always sent again at a resume: only it closes the file.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use lgsp_journal::fault;
use lgsp_journal::seal::DataKey;
use lgsp_journal::seal::stream::{CHUNK, ChunkOpener, ChunkSealer, HEADER, Header, SEALED_CHUNK, StreamError};
use lgsp_proto::types::{PartyId, Sha256Digest};

use super::{Announced, UploadError};
use crate::archive::Head;

/// The last byte is the version.
const MAGIC: &[u8; 8] = b"LGSPDOC1";

/// Magic and key id, before the stream's own head.
const PREFACE: usize = 16;

/// Where the first chunk begins.
const CHUNKS_AT: u64 = (PREFACE + HEADER) as u64;

/// How the name of a document's mark begins whose record is being written.
const CLOSING: &str = "closing-";

/// The file whose lock keeps documents from being removed because they were archived.
const KEPT: &str = "kept.lock";

/// The file that notes up to which record the documents of archived dossiers are removed: the journal, the epoch, and the
/// position. A hint: without it they are looked for again. A restore begins an epoch, so what was noted before it is none.
const REMOVED: &str = "archived-upto";

/// How long an upload that nobody goes on with is kept.
const PARTIAL_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes the folders, and sweeps what is left of uploads nobody goes on with.
pub(super) fn prepare(dir: &Path, now: SystemTime) -> io::Result<()> {
    fs::create_dir_all(dir.join("whole"))?;
    fs::create_dir_all(dir.join("partial"))?;
    // Documents are said to be durable; so must be the folder they lie in, on the first day as well.
    sync_folder(dir)?;
    if let Some(around) = dir.parent().filter(|around| !around.as_os_str().is_empty()) {
        sync_folder(around)?;
    }
    // Whoever reads all documents, a backup, holds this, so that none of them is archived and removed meanwhile.
    OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(KEPT))?;
    for entry in fs::read_dir(dir.join("partial"))? {
        let entry = entry?;
        let age = now.duration_since(entry.metadata()?.modified()?).unwrap_or_default();
        if age > PARTIAL_KEPT {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// An upload under way.
pub(super) struct Partial {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    key_id: u64,
    /// Taken when the last chunk is sealed.
    sealer: Option<ChunkSealer>,
    /// Content that does not fill a chunk yet.
    pending: Vec<u8>,
    hash: digest::Context,
    /// Content received so far.
    received: u64,
    announced: Announced,
}

impl Partial {
    /// How much of an upload can be resumed: whole chunks, never the last one.
    pub(super) fn durable_bytes(dir: &Path, party: &PartyId, sha256: &Sha256Digest) -> io::Result<u64> {
        match fs::metadata(partial_path(dir, party, sha256)) {
            Ok(metadata) => Ok(whole_chunks(metadata.len()) * CHUNK as u64),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Begins or resumes an upload; `fresh` is the key for a new file, `key_of` finds the one of a file begun before.
    pub(super) fn open(
        dir: &Path,
        announced: &Announced,
        fresh: (u64, DataKey),
        key_of: impl Fn(u64) -> Option<DataKey>,
    ) -> Result<Self, UploadError> {
        let path = partial_path(dir, &announced.party, &announced.sha256);
        if announced.offset == 0 {
            return Self::create(dir, path, announced, fresh);
        }
        match Self::resume(dir, path, announced, key_of) {
            Err(UploadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Err(UploadError::Offset(0)),
            other => other,
        }
    }

    fn create(dir: &Path, path: PathBuf, announced: &Announced, fresh: (u64, DataKey)) -> Result<Self, UploadError> {
        let (key_id, key) = fresh;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let head = Header::generate();
        file.write_all(MAGIC)?;
        file.write_all(&key_id.to_be_bytes())?;
        file.write_all(head.bytes())?;
        let sealer = ChunkSealer::new(&key, &context(key_id), &head);
        Ok(Self::begun(dir, path, file, key_id, sealer, announced))
    }

    fn resume(
        dir: &Path,
        path: PathBuf,
        announced: &Announced,
        key_of: impl Fn(u64) -> Option<DataKey>,
    ) -> Result<Self, UploadError> {
        let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        // A last chunk that came whole but was never closed is sent again.
        let last = announced.size_bytes.saturating_sub(1) / CHUNK as u64;
        let chunks = whole_chunks(length).min(last);
        if announced.offset != chunks * CHUNK as u64 {
            return Err(ends_at(&file, chunks));
        }
        // What a power cut took the content of, but not the length, cannot be gone on with, and is sent again.
        let known = read_head(&mut file).ok().and_then(|(key_id, head)| Some((key_id, head, key_of(key_id)?)));
        let Some((key_id, head, key)) = known else { return Err(ends_at(&file, 0)) };
        let count = u32::try_from(chunks).map_err(|_| UploadError::Damaged)?;
        let sealer = ChunkSealer::resume(&key, &context(key_id), &head, count);
        let mut partial = Self::begun(dir, path, file, key_id, sealer, announced);
        let mut opener = ChunkOpener::new(&key, &context(key_id), &head);
        let mut sealed = vec![0; SEALED_CHUNK];
        for whole in 0..chunks {
            partial.file.read_exact(&mut sealed)?;
            let Ok(chunk) = opener.open(&sealed) else { return Err(ends_at(&partial.file, whole)) };
            partial.hash.update(&chunk);
        }
        partial.received = announced.offset;
        partial.file.set_len(CHUNKS_AT + chunks * SEALED_CHUNK as u64)?;
        partial.file.seek(SeekFrom::End(0))?;
        Ok(partial)
    }

    fn begun(dir: &Path, path: PathBuf, file: File, key_id: u64, sealer: ChunkSealer, announced: &Announced) -> Self {
        Self {
            dir: dir.to_owned(),
            path,
            file,
            key_id,
            sealer: Some(sealer),
            pending: Vec::with_capacity(CHUNK),
            hash: digest::Context::new(&digest::SHA256),
            received: 0,
            announced: announced.clone(),
        }
    }

    pub(super) fn key_id(&self) -> u64 {
        self.key_id
    }

    /// Takes more content.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), UploadError> {
        self.received += bytes.len() as u64;
        if self.received > self.announced.size_bytes {
            return Err(self.throw_away());
        }
        self.hash.update(bytes);
        while !bytes.is_empty() {
            // A full chunk is sealed only when more follows: the last one is sealed as such.
            if self.pending.len() == CHUNK {
                let sealer = self.sealer.as_mut().expect("taken only by the last chunk");
                let sealed = sealer.seal(&self.pending)?;
                self.file.write_all(&sealed)?;
                self.pending.clear();
            }
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Keeps the whole chunks for a resume.
    pub(super) fn keep(self) -> Result<(), UploadError> {
        Ok(self.file.sync_data()?)
    }

    /// Closes the file: checks size and digest, syncs, and moves it among the complete ones.
    pub(super) fn complete(mut self) -> Result<(), UploadError> {
        let digest = self.hash.clone().finish();
        if self.received != self.announced.size_bytes || digest.as_ref() != self.announced.sha256.as_bytes() {
            return Err(self.throw_away());
        }
        let sealer = self.sealer.take().expect("taken only here");
        let sealed = sealer.seal_last(&self.pending)?;
        self.file.write_all(&sealed)?;
        self.file.sync_all()?;
        let whole = whole_path(&self.dir, self.key_id);
        let folder = whole.parent().expect("a file in a folder");
        fs::create_dir_all(folder)?;
        // Durable before the file has its name, and the name as durable as the content before anything is said about it.
        File::create(closing_path(&self.dir, self.key_id))?;
        sync_folder(&self.dir.join("whole"))?;
        fs::rename(&self.path, &whole)?;
        sync_folder(folder)?;
        Ok(())
    }

    /// Content that is not what was announced is of no use for a resume.
    fn throw_away(&self) -> UploadError {
        match fs::remove_file(&self.path) {
            Ok(()) => UploadError::Mismatch,
            Err(error) => UploadError::Io(error),
        }
    }
}

/// Notes that a complete document is on record.
pub(super) fn closed(dir: &Path, id: u64) -> io::Result<()> {
    fs::remove_file(closing_path(dir, id))
}

/// Makes a complete document that did not get on record an upload again, which goes on with its last chunk.
pub(super) fn reopen(dir: &Path, id: u64, party: &PartyId, sha256: &Sha256Digest) -> io::Result<()> {
    fs::rename(whole_path(dir, id), partial_path(dir, party, sha256))?;
    closed(dir, id)
}

/// The complete documents of which it is not known whether they got on record. Asked before anything is uploaded.
pub(super) fn closing(dir: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir.join("whole"))? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(CLOSING));
        ids.extend(id.and_then(|id| id.parse::<u64>().ok()));
    }
    Ok(ids)
}

/// A complete document, read chunk by chunk.
pub(super) struct Whole<R = File> {
    file: R,
    /// Taken by the last chunk.
    opener: Option<ChunkOpener>,
    left: u64,
    skip: usize,
}

impl Whole {
    /// Opens document `id` at `offset`.
    pub(super) fn open(dir: &Path, id: u64, size: u64, key: DataKey, offset: u64) -> Result<Self, UploadError> {
        Self::over(File::open(whole_path(dir, id))?, size, key, offset)
    }

    /// Document `id` as it is sealed, and its length.
    pub(super) fn sealed(dir: &Path, id: u64) -> io::Result<(File, u64)> {
        let file = File::open(whole_path(dir, id))?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// Removes documents that are in an archive, unless somebody holds them: then nothing is removed, and the answer is `false`.
    pub(super) fn remove_archived(dir: &Path, ids: &[u64]) -> io::Result<bool> {
        let kept = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(KEPT))?;
        match kept.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        for id in ids {
            fault::reached(fault::ARCHIVE_REMOVE)?;
            Self::remove(dir, *id)?;
        }
        // What is noted next must not outlive a name: those that were gone before may have come back with a power cut.
        let folders: BTreeSet<PathBuf> =
            ids.iter().filter_map(|id| Some(whole_path(dir, *id).parent()?.to_owned())).collect();
        for folder in folders {
            match sync_folder(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }

    /// Whether any of these documents is there.
    pub(super) fn is_any_there(dir: &Path, ids: &[u64]) -> io::Result<bool> {
        for id in ids {
            if whole_path(dir, *id).try_exists()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes document `id`, if it is there. Either its content was sealed with a key that is gone, or it is in an archive and
    /// is removed again until it was noted, so nothing depends on when the disk forgets the name.
    pub(super) fn remove(dir: &Path, id: u64) -> io::Result<()> {
        match fs::remove_file(whole_path(dir, id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Keeps documents from being removed because they are in an archive, as long as it is held; nothing where no gateway that
/// archives has ever run.
pub(super) fn keep(dir: &Path) -> io::Result<Option<File>> {
    match File::open(dir.join(KEPT)) {
        Ok(kept) => kept.lock_shared().map(|()| Some(kept)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Up to which record of the journal, in this epoch, the documents of archived dossiers were removed.
pub(super) fn removed_upto(dir: &Path, books: &Head) -> Option<u64> {
    let noted = fs::read_to_string(dir.join(REMOVED)).ok()?;
    noted.trim_end().strip_prefix(&of_books(books))?.parse().ok()
}

/// Notes that they were removed up to the record at `position`.
pub(super) fn note_removed(dir: &Path, books: &Head, position: u64) -> io::Result<()> {
    let temporary = dir.join(format!("{REMOVED}.tmp"));
    fs::write(&temporary, format!("{}{position}\n", of_books(books)))?;
    fs::rename(temporary, dir.join(REMOVED))
}

/// How a note begins that was made for these books.
fn of_books(books: &Head) -> String {
    format!("{} {} ", HEXLOWER.encode(&books.journal), books.epoch)
}

impl<R: Read + Seek> Whole<R> {
    /// Reads a document out of `file`, at `offset`.
    pub(super) fn over(mut file: R, size: u64, key: DataKey, offset: u64) -> Result<Self, UploadError> {
        let (key_id, head) = read_head(&mut file)?;
        let offset = offset.min(size);
        // Reading at the very end still opens the last chunk, so that a cut-off file is noticed.
        let number = offset.min(size.saturating_sub(1)) / CHUNK as u64;
        file.seek(SeekFrom::Start(CHUNKS_AT + number * SEALED_CHUNK as u64))?;
        let count = u32::try_from(number).map_err(|_| UploadError::Damaged)?;
        let opener = ChunkOpener::at(&key, &context(key_id), &head, count);
        let begins = number * CHUNK as u64;
        let skip = usize::try_from(offset - begins).expect("within a chunk");
        Ok(Self { file, opener: Some(opener), left: size - begins, skip })
    }

    fn next_chunk(&mut self) -> Result<Option<Bytes>, UploadError> {
        let Some(mut opener) = self.opener.take() else { return Ok(None) };
        let chunk = if self.left > CHUNK as u64 {
            let mut sealed = vec![0; SEALED_CHUNK];
            self.file.read_exact(&mut sealed)?;
            let chunk = opener.open(&sealed)?;
            self.opener = Some(opener);
            chunk
        } else {
            let mut sealed = Vec::with_capacity(SEALED_CHUNK);
            self.file.read_to_end(&mut sealed)?;
            opener.open_last(&sealed)?
        };
        self.left -= chunk.len() as u64;
        let skip = std::mem::take(&mut self.skip);
        Ok(Some(Bytes::from(chunk).slice(skip..)))
    }
}

impl<R: Read + Seek> Iterator for Whole<R> {
    type Item = Result<Bytes, UploadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_chunk().transpose()
    }
}

impl From<StreamError> for UploadError {
    fn from(error: StreamError) -> Self {
        if error == StreamError::Later { Self::Later } else { Self::Damaged }
    }
}

fn read_head(file: &mut impl Read) -> Result<(u64, Header), UploadError> {
    let mut head = [0; PREFACE + HEADER];
    file.read_exact(&mut head)?;
    let (magic, rest) = head.split_at(MAGIC.len());
    let (key_id, stream) = rest.split_at(8);
    let (name, version) = magic.split_at(MAGIC.len() - 1);
    if name == &MAGIC[..MAGIC.len() - 1] && (MAGIC[7] + 1..=b'9').contains(&version[0]) {
        return Err(UploadError::Later);
    }
    if magic != MAGIC {
        return Err(UploadError::Damaged);
    }
    Ok((u64::from_be_bytes(key_id.try_into().expect("eight bytes")), Header::parse(stream)?))
}

/// Binds the chunks to the document they belong to.
fn context(key_id: u64) -> Vec<u8> {
    [b"lgsp.v1.document\n".as_slice(), &key_id.to_be_bytes()].concat()
}

/// Cuts an upload off behind its first `chunks` chunks, so that [`Partial::durable_bytes`] says from now on where to go on.
fn ends_at(file: &File, chunks: u64) -> UploadError {
    match file.set_len(CHUNKS_AT + chunks * SEALED_CHUNK as u64) {
        Ok(()) => UploadError::Offset(chunks * CHUNK as u64),
        Err(error) => UploadError::Io(error),
    }
}

fn whole_chunks(length: u64) -> u64 {
    length.saturating_sub(CHUNKS_AT) / SEALED_CHUNK as u64
}

/// A party's upload of one content: the party's identifier holds letters, digits and dots only.
fn partial_path(dir: &Path, party: &PartyId, sha256: &Sha256Digest) -> PathBuf {
    dir.join("partial").join(format!("{party}-{sha256}"))
}

/// Complete documents lie in folders of up to 4,096, so that no folder grows without end.
fn whole_path(dir: &Path, id: u64) -> PathBuf {
    dir.join("whole").join(format!("{:08}", id >> 12)).join(format!("{id:016}"))
}

/// Says that a document's record is being written.
fn closing_path(dir: &Path, id: u64) -> PathBuf {
    dir.join("whole").join(format!("{CLOSING}{id:016}"))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use lgsp_journal::RealFiles;
    use lgsp_journal::seal::{KeyId, KeyRing, NodeKey};
    use tempfile::TempDir;

    struct Folder {
        dir: TempDir,
        ring: KeyRing,
    }

    impl Folder {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let keys = dir.path().join("keys");
            let node = NodeKey::load_or_create(&dir.path().join("node.key")).unwrap();
            let ring = KeyRing::open(Arc::new(RealFiles::open(&keys).unwrap()), &node).unwrap();
            prepare(dir.path(), SystemTime::now()).unwrap();
            Self { dir, ring }
        }

        fn partial(&self, content: &[u8], offset: u64) -> Result<Partial, UploadError> {
            let (id, key) = self.ring.next().unwrap();
            let announced = Announced {
                party: "H57.101".parse().unwrap(),
                actor: "clerk-1".parse().unwrap(),
                sha256: sha256(content),
                size_bytes: content.len() as u64,
                media_type: "application/pdf".parse().unwrap(),
                offset,
            };
            Partial::open(self.dir.path(), &announced, (id.0, key), |id| self.ring.get(KeyId(id)).ok())
        }

        fn read(&self, id: u64, size: usize, offset: u64) -> Result<Vec<u8>, UploadError> {
            let key = self.ring.get(KeyId(id)).unwrap();
            let whole = Whole::open(self.dir.path(), id, size as u64, key, offset)?;
            let mut content = Vec::new();
            for chunk in whole {
                content.extend_from_slice(&chunk?);
            }
            Ok(content)
        }
    }

    fn sha256(content: &[u8]) -> Sha256Digest {
        Sha256Digest::try_from(digest::digest(&digest::SHA256, content).as_ref()).unwrap()
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    #[test]
    fn what_was_removed_is_noted_for_these_books_in_this_epoch() {
        let folder = Folder::new();
        let (dir, books) = (folder.dir.path(), Head { journal: [7; 16], epoch: 2 });
        assert_eq!(removed_upto(dir, &books), None);
        note_removed(dir, &books, 41).unwrap();
        assert_eq!(removed_upto(dir, &books), Some(41));
        // A restored journal ends earlier and gives its positions again.
        assert_eq!(removed_upto(dir, &Head { epoch: 3, ..books }), None);
        assert_eq!(removed_upto(dir, &Head { journal: [8; 16], ..books }), None);
        // As noted before epochs were.
        fs::write(dir.join(REMOVED), format!("{} 41\n", HEXLOWER.encode(&books.journal))).unwrap();
        assert_eq!(removed_upto(dir, &books), None);
    }

    #[test]
    fn what_went_up_comes_down_from_any_offset() {
        let folder = Folder::new();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let content = content(length);
            let mut partial = folder.partial(&content, 0).unwrap();
            for piece in content.chunks(50_000) {
                partial.push(piece).unwrap();
            }
            let id = partial.key_id();
            partial.complete().unwrap();
            for offset in [0, 1, CHUNK - 1, CHUNK, length].into_iter().filter(|offset| *offset <= length) {
                assert_eq!(folder.read(id, length, offset as u64).unwrap(), content[offset..], "{length} at {offset}");
            }
        }
    }

    #[test]
    fn a_document_of_a_later_version_is_told_from_a_damaged_one() {
        let folder = Folder::new();
        let content = content(100);
        let mut partial = folder.partial(&content, 0).unwrap();
        partial.push(&content).unwrap();
        let id = partial.key_id();
        partial.complete().unwrap();
        let path = whole_path(folder.dir.path(), id);
        let sound = fs::read(&path).unwrap();
        // Ours, and the stream's within it.
        for version_at in [7, PREFACE + 7] {
            let mut changed = sound.clone();
            changed[version_at] = b'2';
            fs::write(&path, &changed).unwrap();
            let error = folder.read(id, content.len(), 0).unwrap_err();
            assert!(matches!(error, UploadError::Later), "{error}");
            assert!(error.to_string().contains("written by a later version"));
            changed[version_at] = b'0';
            fs::write(&path, &changed).unwrap();
            assert!(matches!(folder.read(id, content.len(), 0), Err(UploadError::Damaged)));
        }
        fs::write(&path, &sound).unwrap();
        assert_eq!(folder.read(id, content.len(), 0).unwrap(), content);
    }

    #[test]
    fn an_upload_that_broke_off_goes_on_at_the_last_whole_chunk() {
        let folder = Folder::new();
        let content = content(2 * CHUNK + 700);
        let mut partial = folder.partial(&content, 0).unwrap();
        partial.push(&content[..CHUNK + 9]).unwrap();
        partial.keep().unwrap();
        let party = "H57.101".parse().unwrap();
        let offset = Partial::durable_bytes(folder.dir.path(), &party, &sha256(&content)).unwrap();
        assert_eq!(offset, CHUNK as u64);
        assert!(matches!(folder.partial(&content, 2 * CHUNK as u64), Err(UploadError::Offset(at)) if at == offset));
        let mut partial = folder.partial(&content, offset).unwrap();
        partial.push(&content[CHUNK..]).unwrap();
        let id = partial.key_id();
        partial.complete().unwrap();
        assert_eq!(folder.read(id, content.len(), 0).unwrap(), content);
    }

    #[test]
    fn what_a_power_cut_spoiled_is_sent_again() {
        let folder = Folder::new();
        let content = content(3 * CHUNK);
        let party = "H57.101".parse().unwrap();
        let path = partial_path(folder.dir.path(), &party, &sha256(&content));
        let durable = || Partial::durable_bytes(folder.dir.path(), &party, &sha256(&content)).unwrap();
        let keep = |offset: usize| {
            let mut partial = folder.partial(&content, offset as u64).unwrap();
            partial.push(&content[offset..]).unwrap();
            partial.keep().unwrap();
        };
        let spoil = |at: u64| {
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[0; 64]).unwrap();
        };
        let ends_at = |offset: usize| {
            let asked = durable();
            let refused = folder.partial(&content, asked).err();
            assert!(matches!(refused, Some(UploadError::Offset(at)) if at == offset as u64), "{refused:?} at {asked}");
            assert_eq!(durable(), offset as u64);
        };
        keep(0);
        assert_eq!(durable(), 2 * CHUNK as u64);
        spoil(CHUNKS_AT + SEALED_CHUNK as u64);
        ends_at(CHUNK);
        keep(CHUNK);
        spoil(8);
        ends_at(0);
        // Closed, and killed before it got its name: the last chunk is there, and is sent again.
        let mut partial = folder.partial(&content, 0).unwrap();
        partial.push(&content).unwrap();
        let sealed = partial.sealer.take().unwrap().seal_last(&partial.pending).unwrap();
        partial.file.write_all(&sealed).unwrap();
        drop(partial);
        ends_at(2 * CHUNK);
    }

    #[test]
    fn other_content_than_announced_is_refused_and_thrown_away() {
        let folder = Folder::new();
        let announced = content(100);
        let mut partial = folder.partial(&announced, 0).unwrap();
        partial.push(&[7; 100]).unwrap();
        assert!(matches!(partial.complete(), Err(UploadError::Mismatch)));
        let mut partial = folder.partial(&announced, 0).unwrap();
        assert!(matches!(partial.push(&[7; 101]), Err(UploadError::Mismatch)));
        assert_eq!(fs::read_dir(folder.dir.path().join("partial")).unwrap().count(), 0);
    }

    #[test]
    fn nothing_readable_lies_on_the_disk_and_a_cut_file_is_noticed() {
        let folder = Folder::new();
        let content = b"Nguyen Van Minh Hoa, a synthetic person".repeat(3000);
        let mut partial = folder.partial(&content, 0).unwrap();
        partial.push(&content).unwrap();
        let id = partial.key_id();
        partial.complete().unwrap();
        let path = whole_path(folder.dir.path(), id);
        let stored = fs::read(&path).unwrap();
        assert!(!stored.windows(16).any(|window| window == &content[..16]));
        fs::write(&path, &stored[..stored.len() - 1]).unwrap();
        assert!(matches!(folder.read(id, content.len(), 0), Err(UploadError::Damaged)));
    }
}
