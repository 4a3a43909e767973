//! Documents: streamed in chunks at constant memory, sealed on disk under a key of their own, resumable.
//!
//! A document belongs to the party that uploaded it and, once an event names it, to that dossier. A digest grants
//! nothing: it is looked up among the party's own uploads, or among the documents of a dossier the party may know.
//!
//! On disk, `whole/` holds complete documents by identifier and `partial/` what is under way; a file moves from one to the other only when it
//! is synced and its digest was checked, and is on record only after that.

mod file;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lgsp_journal::room::Room;
use lgsp_journal::seal::DataKey;
use lgsp_proto::types::{ActorId, MediaType, PartyId, Sha256Digest};
use lgsp_proto::{Reason, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::file::{Partial, Whole};
use super::access::{Authorized, Peer};
use super::clock::machine_now;
use super::lanes::{Held, Lane};
use super::shares::{Counted, Tally};
use super::{Engine, commit_failed, disk_full, read_failed};
use crate::store::{Commit, DocumentMeta};

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
        Ok(Self { dir, uploads: Streams::new(), downloads: Streams::new(), room })
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

    /// Documents as they are sealed, each with its length.
    pub(super) fn sealed(&self, ids: &[u64]) -> std::io::Result<Vec<(File, u64)>> {
        ids.iter().map(|id| Whole::sealed(&self.dir, *id)).collect()
    }

    /// Removes documents that went into an archive, and notes that all of them up to the record at `position` are removed.
    /// Answers `false`, with nothing removed, while a backup reads them.
    pub(super) async fn remove_archived(
        &self,
        journal: [u8; 16],
        position: u64,
        ids: Vec<u64>,
    ) -> Result<bool, Refusal> {
        let dir = self.dir.clone();
        blocking(move || {
            let removed = Whole::remove_archived(&dir, &ids)?;
            if removed {
                file::note_removed(&dir, &journal, position)?;
            }
            Ok(removed)
        })
        .await
    }

    /// Up to which record the documents of archived dossiers are removed, as far as is known.
    pub(super) async fn removed_upto(&self, journal: [u8; 16]) -> Option<u64> {
        let dir = self.dir.clone();
        blocking(move || Ok(file::removed_upto(&dir, &journal))).await.ok().flatten()
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
    lane: Arc<Held>,
}

enum Step {
    Chunk(Bytes),
    Finish,
}

/// Why an upload ended early.
#[derive(Debug, thiserror::Error)]
enum UploadError {
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
        let name = party.to_string();
        let _let_go = timeout(WRITER_PATIENCE, self.inner.lanes.hold([Lane::Document(&name, sha256.as_bytes())])).await;
        let (dir, party, sha256) = (self.inner.documents.dir.clone(), party.clone(), *sha256);
        let offset = blocking(move || Ok(Partial::durable_bytes(&dir, &party, &sha256)?)).await?;
        Ok(UploadState { offset, complete: false })
    }

    /// Lets an upload in.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `DOCUMENT_TOO_LARGE`, `DOCUMENT_OFFSET_WRONG`, `OVERLOADED`.
    pub async fn begin_upload(&self, peer: &Peer, announced: Announced) -> Result<Upload, Refusal> {
        let _ = self.authorize(peer, &announced.party)?;
        let max = self.inner.settings.document_bytes_max;
        if announced.size_bytes > max {
            return Err(Refusal::new(Reason::DocumentTooLarge).detail("max_bytes", max));
        }
        self.inner.documents.room.for_more().map_err(|shortage| disk_full(&shortage))?;
        let permit = self.inner.documents.uploads.place(&announced.party)?;
        let party = announced.party.to_string();
        let lane = self.inner.lanes.hold([Lane::Document(&party, announced.sha256.as_bytes())]).await;
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
        let lane = Arc::new(lane);
        let writer = tokio::task::spawn_blocking({
            let lane = Arc::clone(&lane);
            move || {
                let _held = (permit, lane);
                write(partial, steps)
            }
        });
        let system = peer.system().to_owned();
        Ok(Upload::Open(UploadSession { engine: self.clone(), announced, system, key_id, chunks, writer, lane }))
    }

    /// Streams a document of a dossier, from `offset`.
    ///
    /// # Errors
    /// `DOSSIER_NOT_FOUND`, `DOCUMENT_NOT_FOUND`, `CONTENT_ERASED`, `OVERLOADED`, those of [`Engine::authorize`].
    pub async fn download(
        &self,
        peer: &Peer,
        party: &PartyId,
        dossier: &str,
        sha256: &Sha256Digest,
        offset: u64,
    ) -> Result<Download, Refusal> {
        let authorized = self.authorize(peer, party)?;
        let meta = self.document_of(&authorized, dossier, sha256).await?;
        let key = self.inner.store.key(meta.key_id).await.map_err(read_failed)?;
        let key = key.ok_or_else(|| Refusal::new(Reason::ContentErased))?;
        let permit = self.inner.documents.downloads.place(party)?;
        let dir = self.inner.documents.dir.clone();
        let (id, size) = (meta.id, meta.size_bytes);
        let whole = blocking(move || Whole::open(&dir, id, size, key, offset)).await?;
        let (sender, chunks) = mpsc::channel(QUEUE);
        let handle = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            for chunk in whole {
                let failed = chunk.is_err();
                let sending = timeout(READER_PATIENCE, sender.send(chunk.map_err(UploadError::refusal)));
                if !matches!(handle.block_on(sending), Ok(Ok(()))) || failed {
                    return;
                }
            }
        });
        Ok(Download { meta, chunks })
    }

    async fn document_of(
        &self,
        authorized: &Authorized,
        dossier: &str,
        sha256: &Sha256Digest,
    ) -> Result<DocumentMeta, Refusal> {
        let code = self.resolve(dossier).await?;
        let dossier = self.inner.store.dossier(&code).await.map_err(read_failed)?;
        if dossier.is_none() {
            return Err(self.not_here(authorized, &code).await);
        }
        let known = dossier.filter(|dossier| authorized.may_know(dossier));
        let known = known.ok_or_else(|| Refusal::new(Reason::DossierNotFound))?;
        let attached = known.documents.iter().find(|document| document.sha256 == *sha256);
        let attached = attached.ok_or_else(|| Refusal::new(Reason::DocumentNotFound))?;
        let meta = self.inner.store.document_by_id(attached.document_id).await.map_err(read_failed)?;
        meta.ok_or_else(|| {
            tracing::error!(dossier.code = %code, "an attached document is not on record");
            Refusal::new(Reason::Internal)
        })
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
        let Self { engine, announced, system, key_id, chunks, mut writer, lane } = self;
        let store = Arc::clone(&engine.inner.store);
        let work = async move {
            let _lane = lane;
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
            store.commit(Commit::Document(meta.clone())).await.map_err(|error| commit_failed(&error))?;
            Ok(meta)
        };
        engine.to_the_end(work).await
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
mod tests {
    use super::*;
    use crate::engine::testing::{AN, House};

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
