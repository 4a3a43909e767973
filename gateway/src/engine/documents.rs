//! Documents: streamed in chunks at constant memory, sealed on disk under a key of their own, resumable.
//!
//! A document belongs to the party that uploaded it and, once an event names it, to that dossier. A digest grants
//! nothing: it is looked up among the party's own uploads, or among the documents of a dossier the party may know.
//!
//! On disk, `whole/` holds complete documents by identifier and `partial/` what is under way; a file moves from one to the other only when it
//! is synced and its digest was checked, and is on record only after that. One that does not get there is not left behind.

mod file;
mod under_way;

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lgsp_journal::room::Room;
use lgsp_journal::seal::DataKey;
use lgsp_proto::types::{ActorId, DossierCode, MediaType, PartyId, Sha256Digest};
use lgsp_proto::{Reason, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::file::{Partial, Whole};
use self::under_way::{Held, UnderWay};
use super::access::{Authorized, Peer};
use super::clock::machine_now;
use super::shares::{Counted, Tally};
use super::{Engine, commit_failed, disk_full, read_failed};
use crate::archive::Head;
use crate::store::{Commit, CommitError, DocumentMeta, ReadError};

/// How many uploads may be under way at once, and how many downloads; each costs a thread that waits on the disk and a few
/// chunks.
const STREAMS_MAX: usize = 64;

/// How many of them may be one party's.
const STREAMS_OF_PARTY: usize = STREAMS_MAX / 4;

/// How long a download waits for its reader to take a chunk. One that has stopped reading must not keep a thread.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// How long whoever asks for the state of an upload waits for the one before to let go of the file.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// How many received messages may wait for the disk.
const QUEUE: usize = 4;

/// The folder of documents.
#[derive(Clone, Debug)]
pub struct Documents {
    dir: PathBuf,
    uploads: Streams,
    downloads: Streams,
    under_way: UnderWay,
    room: Arc<Room>,
}

/// Streams of one kind: so many in all, so many of one party.
#[derive(Clone, Debug)]
struct Streams {
    all: Arc<Semaphore>,
    of_party: Arc<Tally<PartyId>>,
}

/// The place of one stream.
struct Place {
    _place: OwnedSemaphorePermit,
    _counted: Counted<PartyId>,
}

impl Streams {
    fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(STREAMS_MAX)), of_party: Arc::new(Tally::new(STREAMS_OF_PARTY)) }
    }

    fn place(&self, party: &PartyId) -> Result<Place, Refusal> {
        let counted = self.of_party.count(party).map_err(|refusal| refusal.detail("party", party))?;
        let place = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Refusal::new(Reason::Overloaded))?;
        Ok(Place { _place: place, _counted: counted })
    }
}

impl Documents {
    /// Opens the folder, makes it if need be, and sweeps uploads that nobody has gone on with for a week.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(dir: PathBuf) -> std::io::Result<Self> {
        file::prepare(&dir, machine_now())?;
        let room = Arc::new(Room::watch(&dir, 0));
        let (uploads, downloads) = (Streams::new(), Streams::new());
        Ok(Self { dir, uploads, downloads, under_way: UnderWay::default(), room })
    }

    /// Takes nothing in when less than `bytes` of the folder's disk are free.
    #[must_use]
    pub fn keeping_free(self, bytes: u64) -> Self {
        Self { room: Arc::new(Room::watch(&self.dir, bytes)), ..self }
    }

    /// The room there is.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// A complete document is on record, or it is certain that it is not: then it is an upload again, so that only its last chunk
    /// has to come once more.
    async fn settle(&self, meta: &DocumentMeta, on_record: bool) {
        let (dir, id, party, sha256) = (self.dir.clone(), meta.id, meta.party.clone(), meta.sha256);
        let settled =
            move || Ok(if on_record { file::closed(&dir, id) } else { file::reopen(&dir, id, &party, &sha256) }?);
        if blocking(settled).await.is_err() {
            tracing::warn!(document.id = id, on_record, "what is left of an upload is seen to at the next start");
        }
    }

    /// Documents as they are sealed, each with its length.
    pub(super) fn sealed(&self, ids: &[u64]) -> std::io::Result<Vec<(File, u64)>> {
        ids.iter().map(|id| Whole::sealed(&self.dir, *id)).collect()
    }

    /// Removes documents that are in an archive, durably. Answers `false`, with nothing removed, while a backup reads them.
    pub(super) async fn remove_archived(&self, ids: Vec<u64>) -> Result<bool, Refusal> {
        let dir = self.dir.clone();
        blocking(move || Ok(Whole::remove_archived(&dir, &ids)?)).await
    }

    /// Whether any of these documents is there.
    pub(super) async fn is_any_there(&self, ids: &[u64]) -> Result<bool, Refusal> {
        let (dir, ids) = (self.dir.clone(), ids.to_vec());
        blocking(move || Ok(Whole::is_any_there(&dir, &ids)?)).await
    }

    /// Notes that all archived documents up to the record at `position` are removed.
    pub(super) async fn note_removed(&self, books: Head, position: u64) -> Result<(), Refusal> {
        let dir = self.dir.clone();
        blocking(move || Ok(file::note_removed(&dir, &books, position)?)).await
    }

    /// Up to which record the documents of archived dossiers are removed, as far as is known.
    pub(super) async fn removed_upto(&self, books: Head) -> Option<u64> {
        let dir = self.dir.clone();
        blocking(move || Ok(file::removed_upto(&dir, &books))).await.ok().flatten()
    }

    /// Removes complete documents for good. Those that are not there are no error.
    pub(super) async fn remove(&self, ids: Vec<u64>) -> Result<(), Refusal> {
        let dir = self.dir.clone();
        blocking(move || Ok(ids.iter().try_for_each(|id| Whole::remove(&dir, *id))?)).await
    }
}

/// Keeps the documents of a folder from being removed because they were archived, as long as the answer is held. Waits for a
/// removal that is under way.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn keep(dir: &Path) -> std::io::Result<Option<File>> {
    file::keep(dir)
}

/// The content of a document that lies sealed in `file`, chunk by chunk.
///
/// # Errors
/// It cannot be read, is not what was sealed, or was written by a later version.
pub fn open_sealed(
    file: impl Read + Seek,
    size_bytes: u64,
    key: DataKey,
) -> std::io::Result<impl Iterator<Item = std::io::Result<Bytes>>> {
    let whole = Whole::over(file, size_bytes, key, 0).map_err(UploadError::into_io)?;
    Ok(whole.map(|chunk| chunk.map_err(UploadError::into_io)))
}

/// What a party is about to upload.
#[derive(Clone, Debug)]
pub struct Announced {
    /// In whose name.
    pub party: PartyId,
    /// The clerk.
    pub actor: ActorId,
    /// SHA-256 of the whole content.
    pub sha256: Sha256Digest,
    /// Size of the whole content.
    pub size_bytes: u64,
    /// What kind of content it is.
    pub media_type: MediaType,
    /// Where the bytes to come start.
    pub offset: u64,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UploadState {
    /// Where to go on.
    pub offset: u64,
    /// Whether the document is there and free to be attached.
    pub complete: bool,
}

/// An upload that was let in.
pub enum Upload {
    /// The party uploaded this content before and has not attached it yet: nothing to send.
    Already(DocumentMeta),
    /// Send on.
    Open(UploadSession),
}

/// An upload under way. Dropping it keeps what is whole chunks, for a later resume.
pub struct UploadSession {
    engine: Engine,
    announced: Announced,
    system: String,
    key_id: u64,
    chunks: mpsc::Sender<Step>,
    writer: JoinHandle<Result<(), UploadError>>,
    /// Shared with the writer: another upload of this content begins only when neither needs the file any more.
    held: Arc<Held>,
}

enum Step {
    Chunk(Bytes),
    Finish,
}

/// Why an upload ended early, or a download.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("the content does not have the size or digest announced")]
    Mismatch,
    #[error("the upload does not go on where it ended")]
    Offset(u64),
    #[error("the document folder failed")]
    Io(#[from] std::io::Error),
    #[error("a stored chunk cannot be opened")]
    Damaged,
    #[error("the document was written by a later version")]
    Later,
}

impl UploadError {
    fn into_io(self) -> std::io::Error {
        match self {
            Self::Io(error) => error,
            error => std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()),
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::Mismatch => Refusal::new(Reason::DocumentDigestMismatch),
            Self::Offset(offset) => Refusal::new(Reason::DocumentOffsetWrong).detail("offset", offset),
            Self::Io(_) | Self::Damaged | Self::Later => {
                tracing::error!(error = &self as &dyn std::error::Error, "an upload failed");
                Refusal::new(Reason::ReadOnly)
            }
        }
    }

    /// Why a document that is on record cannot be read. Nothing was to be written, so there is nothing to send again later.
    fn unreadable(self) -> Refusal {
        tracing::error!(error = &self as &dyn std::error::Error, "a document on record cannot be read");
        Refusal::new(Reason::Internal)
    }
}

impl Engine {
    /// Where `party` should go on with an upload.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`].
    pub async fn upload_state(
        &self,
        peer: &Peer,
        party: &PartyId,
        sha256: &Sha256Digest,
    ) -> Result<UploadState, Refusal> {
        let _ = self.authorize(peer, party)?;
        if let Some(free) = self.free_document(party, sha256).await? {
            return Ok(UploadState { offset: free.size_bytes, complete: true });
        }
        // What a broken line left may still be on its way to the disk: asked too soon, it would be less than there is. An upload
        // that goes on meanwhile is not waited for.
        let _let_go = timeout(WRITER_PATIENCE, self.inner.documents.under_way.hold(party, sha256)).await;
        let (dir, party, sha256) = (self.inner.documents.dir.clone(), party.clone(), *sha256);
        let offset = blocking(move || Ok(Partial::durable_bytes(&dir, &party, &sha256)?)).await?;
        Ok(UploadState { offset, complete: false })
    }

    /// Lets an upload in.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `DOCUMENT_TOO_LARGE`, `DOCUMENT_OFFSET_WRONG`, `OVERLOADED`.
    pub async fn begin_upload(&self, peer: &Peer, announced: Announced) -> Result<Upload, Refusal> {
        let authorized = self.authorize(peer, &announced.party)?;
        let max = self.inner.settings.document_bytes_max;
        if announced.size_bytes > max {
            return Err(Refusal::new(Reason::DocumentTooLarge).detail("max_bytes", max));
        }
        self.inner.documents.room.for_more().map_err(|shortage| disk_full(&shortage))?;
        let permit = self.inner.documents.uploads.place(&announced.party)?;
        let held = self.inner.documents.under_way.hold(&announced.party, &announced.sha256).await;
        if let Some(free) = self.free_document(&announced.party, &announced.sha256).await? {
            return Ok(Upload::Already(free));
        }
        let fresh = self.inner.store.new_key().await.map_err(read_failed)?;
        let (dir, about) = (self.inner.documents.dir.clone(), announced.clone());
        let store = Arc::clone(&self.inner.store);
        let handle = tokio::runtime::Handle::current();
        let key_of = move |id: u64| -> Option<DataKey> { handle.block_on(store.key(id)).ok().flatten() };
        let partial = blocking(move || Partial::open(&dir, &about, fresh, key_of)).await?;
        let key_id = partial.key_id();
        let (chunks, steps) = mpsc::channel(QUEUE);
        let held = Arc::new(held);
        let writer = tokio::task::spawn_blocking({
            let held = Arc::clone(&held);
            move || {
                let _held = (permit, held);
                write(partial, steps)
            }
        });
        let system = authorized.system().to_owned();
        Ok(Upload::Open(UploadSession { engine: self.clone(), announced, system, key_id, chunks, writer, held }))
    }

    /// Streams a document of a dossier, from `offset`.
    ///
    /// # Errors
    /// `DOSSIER_NOT_FOUND`, `DOCUMENT_NOT_FOUND`, `CONTENT_ERASED`, `OVERLOADED`, `INTERNAL` when the file is damaged or
    /// lost, those of [`Engine::authorize`].
    pub async fn download(
        &self,
        peer: &Peer,
        party: &PartyId,
        dossier: &str,
        sha256: &Sha256Digest,
        offset: u64,
    ) -> Result<Download, Refusal> {
        let authorized = self.authorize(peer, party)?;
        let code = self.resolve(dossier).await?;
        let meta = self.document_of(&authorized, &code, sha256).await?;
        let key = self.inner.store.key(meta.key_id).await.map_err(read_failed)?;
        let key = key.ok_or_else(|| Refusal::new(Reason::ContentErased))?;
        let permit = self.inner.documents.downloads.place(party)?;
        let dir = self.inner.documents.dir.clone();
        let (id, size) = (meta.id, meta.size_bytes);
        let opened = blocking(move || Ok(Whole::open(&dir, id, size, key, offset))).await?;
        let whole = match opened {
            Ok(whole) => whole,
            Err(error) => return Err(self.cannot_be_opened(&authorized, &code, meta.key_id, error).await?),
        };
        let (sender, chunks) = mpsc::channel(QUEUE);
        let handle = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            for chunk in whole {
                let failed = chunk.is_err();
                let sending = timeout(READER_PATIENCE, sender.send(chunk.map_err(UploadError::unreadable)));
                if !matches!(handle.block_on(sending), Ok(Ok(()))) || failed {
                    return;
                }
            }
        });
        Ok(Download { meta, chunks })
    }

    /// Why a document's file cannot be opened whose key was there a moment ago: an erasure goes for the key, and then for the file;
    /// archiving goes for the file alone.
    pub(super) async fn cannot_be_opened(
        &self,
        authorized: &Authorized,
        code: &DossierCode,
        key_id: u64,
        error: UploadError,
    ) -> Result<Refusal, Refusal> {
        let is_lost = matches!(&error, UploadError::Io(error) if error.kind() == ErrorKind::NotFound);
        if is_lost && self.was_archived(code).await? {
            return Ok(self.not_here(authorized, code).await);
        }
        if is_lost && self.inner.store.key(key_id).await.map_err(read_failed)?.is_none() {
            return Ok(Refusal::new(Reason::ContentErased));
        }
        Ok(error.unreadable())
    }

    /// Removes the complete documents that a crash kept from getting on record, which nothing would ever name.
    pub(super) async fn sweep_unrecorded(&self) -> Result<(), ReadError> {
        let dir = self.inner.documents.dir.clone();
        // A short list, and nothing is served yet. What cannot be listed now is for the next start.
        let closing = file::closing(&dir).unwrap_or_default();
        for id in closing {
            let on_record = self.inner.store.document_by_id(id).await?.is_some();
            let dir = dir.clone();
            let swept = move || {
                if !on_record {
                    Whole::remove(&dir, id)?;
                }
                Ok(file::closed(&dir, id)?)
            };
            if blocking(swept).await.is_err() {
                tracing::warn!(document.id = id, on_record, "what a crash left of an upload could not be removed");
            }
        }
        Ok(())
    }

    async fn document_of(
        &self,
        authorized: &Authorized,
        code: &DossierCode,
        sha256: &Sha256Digest,
    ) -> Result<DocumentMeta, Refusal> {
        let dossier = self.inner.store.dossier(code).await.map_err(read_failed)?;
        if dossier.is_none() {
            return Err(self.not_here(authorized, code).await);
        }
        let known = dossier.filter(|dossier| authorized.may_know(dossier));
        let known = known.ok_or_else(|| Refusal::new(Reason::DossierNotFound))?;
        let attached = known.documents.iter().find(|document| document.sha256 == *sha256);
        let attached = attached.ok_or_else(|| Refusal::new(Reason::DocumentNotFound))?;
        self.attached_document(authorized, code, attached.document_id).await
    }

    /// A document that was attached to a dossier here a moment ago.
    pub(super) async fn attached_document(
        &self,
        authorized: &Authorized,
        code: &DossierCode,
        id: u64,
    ) -> Result<DocumentMeta, Refusal> {
        match self.inner.store.document_by_id(id).await.map_err(read_failed)? {
            Some(meta) => Ok(meta),
            None if self.was_archived(code).await? => Err(self.not_here(authorized, code).await),
            None => {
                tracing::error!(dossier.code = %code, "an attached document is not on record");
                Err(Refusal::new(Reason::Internal))
            }
        }
    }

    /// A document that `party` uploaded and no dossier has yet.
    async fn free_document(&self, party: &PartyId, sha256: &Sha256Digest) -> Result<Option<DocumentMeta>, Refusal> {
        let found = self.inner.store.document(party, sha256).await.map_err(read_failed)?;
        Ok(found.filter(|meta| meta.dossier.is_none()))
    }
}

impl UploadSession {
    /// Takes the next bytes; waits when the disk is behind, and breaks off when it is nearly full.
    ///
    /// # Errors
    /// Why the upload ended; what was whole is kept.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        // What came so far is kept, so that the sender goes on from there once there is room.
        self.engine.inner.documents.room.for_more().map_err(|shortage| disk_full(&shortage))?;
        if self.chunks.send(Step::Chunk(chunk)).await.is_ok() {
            return Ok(());
        }
        Err(writer_ended(&mut self.writer).await.err().unwrap_or_else(|| Refusal::new(Reason::DocumentDigestMismatch)))
    }

    /// Checks the digest and puts the document on record. Durable when it returns `Ok`.
    ///
    /// # Errors
    /// `DOCUMENT_DIGEST_MISMATCH`: what was sent is thrown away. Those of a commit.
    pub async fn finish(self) -> Result<DocumentMeta, Refusal> {
        let Self { engine, announced, system, key_id, chunks, mut writer, held } = self;
        let store = Arc::clone(&engine.inner.store);
        let tasks = engine.clone();
        let work = async move {
            let _held = held;
            // A writer that has ended already says why when it is joined.
            let _ = chunks.send(Step::Finish).await;
            writer_ended(&mut writer).await?;
            let meta = DocumentMeta {
                id: key_id,
                party: announced.party,
                actor: announced.actor,
                system,
                sha256: announced.sha256,
                size_bytes: announced.size_bytes,
                media_type: announced.media_type,
                key_id,
                stored_at: machine_now(),
                dossier: None,
            };
            let committed = store.commit(Commit::Document(meta.clone())).await;
            // What nobody knows is seen to at the next start.
            if !matches!(committed, Err(CommitError::Unknown)) {
                engine.inner.documents.settle(&meta, committed.is_ok()).await;
            }
            committed.map_err(|error| commit_failed(&error))?;
            Ok(meta)
        };
        tasks.to_the_end(work).await
    }
}

/// A document on its way down.
pub struct Download {
    /// What it is.
    pub meta: DocumentMeta,
    /// Its bytes from the offset on; an error ends it.
    pub chunks: mpsc::Receiver<Result<Bytes, Refusal>>,
}

fn write(mut partial: Partial, mut steps: mpsc::Receiver<Step>) -> Result<(), UploadError> {
    while let Some(step) = steps.blocking_recv() {
        match step {
            Step::Chunk(bytes) => partial.push(&bytes)?,
            Step::Finish => return partial.complete(),
        }
    }
    // The caller went away: whole chunks are kept, synced, for a resume.
    partial.keep()
}

async fn writer_ended(writer: &mut JoinHandle<Result<(), UploadError>>) -> Result<(), Refusal> {
    match writer.await {
        Ok(ended) => ended.map_err(UploadError::refusal),
        Err(panicked) => {
            tracing::error!(%panicked, "a document writer panicked");
            Err(Refusal::new(Reason::Internal))
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(UploadError::refusal),
        Err(panicked) => {
            tracing::error!(%panicked, "the document folder panicked");
            Err(Refusal::new(Reason::Internal))
        }
    }
}

#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod tests {
    use super::*;
    use crate::engine::lanes::Lanes;
    use crate::engine::testing::{AN, BINH, House};
    use crate::store::Erasure;
    use crate::store::contract::sample;

    fn announced(party: &str, content: &[u8], offset: usize) -> Announced {
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        Announced {
            party: party.parse().unwrap(),
            actor: "can.bo.1".parse().unwrap(),
            sha256: Sha256Digest::try_from(sha256.as_ref()).unwrap(),
            size_bytes: content.len() as u64,
            media_type: "application/pdf".parse().unwrap(),
            offset: offset as u64,
        }
    }

    /// Begins an upload of which nothing is there yet.
    async fn begun(house: &House, peer: &Peer, announced: Announced) -> UploadSession {
        let Upload::Open(upload) = house.engine.begin_upload(peer, announced).await.unwrap() else {
            panic!("nothing was uploaded yet")
        };
        upload
    }

    /// Within the time in which whatever has to wait for an upload would not be done.
    async fn at_once<T>(work: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(20), work).await.expect("it waits for the upload")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_under_way_keeps_nothing_else_waiting_whatever_lane_that_takes() {
        let house = House::open_with(Lanes::one()).await;
        let (peer, content) = (house.peer("mot-cua"), Bytes::from(vec![7; 1000]));
        let mut slow = begun(&house, &peer, announced(AN, &content, 0)).await;
        slow.write(content.slice(..10)).await.unwrap();
        // Whatever is decided takes a lane of the one pool there is.
        at_once(house.change_registry("systems.toml", "acts_for = [\"H99.102\"]", "acts_for = [\"H99.104\"]")).await;
        let mut other = at_once(begun(&house, &peer, announced(AN, &content[1..], 0))).await;
        other.write(content.slice(1..)).await.unwrap();
        at_once(other.finish()).await.unwrap();
        slow.write(content.slice(10..)).await.unwrap();
        assert_eq!(at_once(slow.finish()).await.unwrap().size_bytes, 1000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_document_that_cannot_be_read_is_our_failure_and_not_a_gateway_that_takes_nothing() {
        let house = House::open().await;
        let (peer, binh) = (house.peer("mot-cua-binh"), BINH.parse::<PartyId>().unwrap());
        let content = Bytes::from(vec![7; 100_000]);
        let mut upload = begun(&house, &peer, announced(BINH, &content, 0)).await;
        upload.write(content.clone()).await.unwrap();
        let meta = upload.finish().await.unwrap();
        house
            .admit(1, |admission| {
                admission.event.recipients = vec![binh.clone()];
                admission.event.outcome.documents = vec![sample::attached(&meta)];
            })
            .await;
        let code = sample::code(1).to_string();
        let read = || async {
            let mut download = house.engine.download(&peer, &binh, &code, &meta.sha256, 0).await?;
            let mut bytes = 0;
            while let Some(chunk) = download.chunks.recv().await {
                bytes += chunk?.len();
            }
            Ok::<usize, Refusal>(bytes)
        };
        assert_eq!(read().await.unwrap(), content.len());
        let path = house.folder().join(format!("documents/whole/{:08}/{:016}", meta.id >> 12, meta.id));
        let mut stored = std::fs::read(&path).unwrap();
        *stored.last_mut().unwrap() ^= 1;
        std::fs::write(&path, stored).unwrap();
        assert_eq!(read().await.unwrap_err().reason(), Reason::Internal, "its last chunk is damaged");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read().await.unwrap_err().reason(), Reason::Internal, "it is lost");
        // The same, when an erasure came between the key and the file.
        let erasure = Erasure {
            code: sample::code(1),
            key_ids: Vec::new(),
            party: binh.clone(),
            actor: "van.hanh.1".parse().unwrap(),
            system: "van-hanh".into(),
            ground: "TEST".into(),
            at: machine_now(),
        };
        house.engine.store().erase(erasure).await.unwrap();
        let gone = UploadError::Io(ErrorKind::NotFound.into());
        let authorized = house.engine.authorize(&peer, &binh).unwrap();
        let refusal = house.engine.cannot_be_opened(&authorized, &sample::code(1), meta.key_id, gone).await.unwrap();
        assert_eq!(refusal.reason(), Reason::ContentErased);
    }

    /// The complete documents, and how many of them are said to be on their way to the record.
    fn files(house: &House) -> (usize, usize) {
        let (mut files, mut closing) = (0, 0);
        for entry in std::fs::read_dir(house.folder().join("documents/whole")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files += std::fs::read_dir(path).unwrap().count() } else { closing += 1 }
        }
        (files, closing)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_before_the_record_leaves_no_file_and_one_after_it_loses_none() {
        let house = House::open().await;
        let (peer, contents) = (house.peer("mot-cua"), [Bytes::from(vec![7; 100]), Bytes::from(vec![8; 100])]);
        let mut ids = Vec::new();
        for content in &contents {
            let mut upload = begun(&house, &peer, announced(AN, content, 0)).await;
            upload.write(content.clone()).await.unwrap();
            if ids.is_empty() {
                let meta = upload.finish().await.unwrap();
                assert_eq!(files(&house), (1, 0));
                ids.push(meta.id);
            } else {
                // Complete, and the machine stops.
                ids.push(upload.key_id);
                assert!(upload.chunks.send(Step::Finish).await.is_ok());
                writer_ended(&mut upload.writer).await.unwrap();
                assert_eq!(files(&house), (2, 1));
            }
        }
        // The first one's record was written, and its mark not removed.
        std::fs::write(house.folder().join(format!("documents/whole/closing-{:016}", ids[0])), b"").unwrap();
        house.engine.sweep_unrecorded().await.unwrap();
        assert_eq!(files(&house), (1, 0));
        let known = house.folder().join(format!("documents/whole/{:08}/{:016}", ids[0] >> 12, ids[0]));
        assert!(known.exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_that_cannot_be_put_on_record_is_resumed_and_leaves_no_file_that_nobody_knows() {
        let house = House::open().await;
        let (peer, content) = (house.peer("mot-cua"), Bytes::from(vec![7; 100_000]));
        let mut upload = begun(&house, &peer, announced(AN, &content, 0)).await;
        upload.write(content.clone()).await.unwrap();
        house.engine.store().close().await;
        assert_eq!(upload.finish().await.unwrap_err().reason(), Reason::ReadOnly);
        assert_eq!(files(&house), (0, 0));
        let dir = house.folder().join("documents");
        let (party, sha256) = (AN.parse().unwrap(), announced(AN, &content, 0).sha256);
        assert_eq!(Partial::durable_bytes(&dir, &party, &sha256).unwrap(), 64 << 10, "all but the last chunk");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_goes_on_only_when_the_one_before_has_let_go_of_the_file() {
        const PIECE: usize = 8 << 20;
        let content = Bytes::from(vec![7; QUEUE * PIECE + 1]);
        let house = House::open().await;
        let peer = house.peer("mot-cua");
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
        let announced = |offset: usize| Announced {
            party: AN.parse().unwrap(),
            actor: "can.bo.1".parse().unwrap(),
            sha256: Sha256Digest::try_from(sha256.as_ref()).unwrap(),
            size_bytes: content.len() as u64,
            media_type: "application/pdf".parse().unwrap(),
            offset: offset as u64,
        };
        let Upload::Open(mut before) = house.engine.begin_upload(&peer, announced(0)).await.unwrap() else {
            panic!("nothing was uploaded yet")
        };
        for piece in content.chunks(PIECE) {
            before.write(content.slice_ref(piece)).await.unwrap();
        }
        // The line is cut while messages still wait for the disk.
        drop(before);
        let durable = QUEUE * PIECE;
        let Upload::Open(mut after) = house.engine.begin_upload(&peer, announced(durable)).await.unwrap() else {
            panic!("it was never finished")
        };
        after.write(content.slice(durable..)).await.unwrap();
        assert_eq!(after.finish().await.unwrap().size_bytes, content.len() as u64);
    }

    #[tokio::test]
    async fn one_party_takes_a_part_of_the_streams_and_uploads_none_of_the_downloads() {
        let (one, other) = ("H99.101".parse().unwrap(), "H99.102".parse().unwrap());
        let house = House::open().await;
        let documents = &house.engine.inner.documents;
        let held: Vec<Place> = (0..STREAMS_OF_PARTY).map(|_| documents.uploads.place(&one).unwrap()).collect();
        let reason = |place: Result<Place, Refusal>| place.err().map(|refusal| refusal.reason());
        assert_eq!(reason(documents.uploads.place(&one)), Some(Reason::QuotaExceeded));
        assert_eq!(reason(documents.uploads.place(&other)), None);
        assert_eq!(reason(documents.downloads.place(&one)), None);
        drop(held);
        assert_eq!(reason(documents.uploads.place(&one)), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_state_of_an_upload_is_told_when_what_came_is_on_the_disk() {
        let house = House::open().await;
        let (peer, party) = (house.peer("mot-cua"), AN.parse().unwrap());
        let content = Bytes::from(vec![7; 9 << 20]);
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
        let sha256 = Sha256Digest::try_from(sha256.as_ref()).unwrap();
        let announced = Announced {
            party: AN.parse().unwrap(),
            actor: "can.bo.1".parse().unwrap(),
            sha256,
            size_bytes: content.len() as u64,
            media_type: "application/pdf".parse().unwrap(),
            offset: 0,
        };
        let Upload::Open(mut upload) = house.engine.begin_upload(&peer, announced).await.unwrap() else {
            panic!("nothing was uploaded yet")
        };
        upload.write(content.slice(..8 << 20)).await.unwrap();
        drop(upload);
        let state = house.engine.upload_state(&peer, &party, &sha256).await.unwrap();
        // All that came but the last chunk, which waits for what follows it.
        assert_eq!(state.offset, (8 << 20) - (64 << 10));
    }
}
