//! Archiving: dossiers that were closed long ago leave the indexes and the document folder for a file.
//!
//! The order never changes: the file is written and durable → it is read back → the record → the documents are removed. So
//! wherever a crash comes, a dossier is whole here or whole in an archive on record; what is left of a file nobody recorded is
//! swept by the next run, what is left of recorded documents by the next start. It is done quietly: one file at a time, of bounded
//! size, never while a disk is nearly full, and given up when the node stops.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lgsp_domain::registry::Right;
use lgsp_journal::files::ReadFile;
use lgsp_journal::room::{Room, Shortage};
use lgsp_journal::{Files, RealFiles, fault};
use lgsp_proto::types::{ActorId, BusinessTime, DossierCode, PartyId, Status};
use lgsp_proto::{Reason, Refusal, Wrong};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::{Authorized, Peer};
use super::clock::{machine_now, unix_millis};
use super::{Engine, commit_failed, disk_full, read_failed};
use crate::archive::{
    Archive, ArchiveError, Draft, DraftError, Head, Kept, TEMPORARY, Written, is_named_so, name_of, number_of,
};
use crate::store::{
    ArchiveOnRecord, Archiving, Commit, CommitError, Cursor, DossiersArchived, ListQuery, Material, OWN_NAME, ReadError,
};

/// How large an archive becomes before the next one is begun.
pub const LIMITS: Limits = Limits { dossiers: 1_000, bytes: 1 << 30 };

/// Dossiers that are looked up together.
const PAGE: usize = 200;

/// Archives on record that are looked up together.
const SLICE: usize = 1_000;

/// Dossiers that one record takes out of the indexes.
const RECORDED_TOGETHER: usize = 25;

/// What they may weigh together: events and documents, each for every party that was told. One alone may weigh more.
const WEIGHT_TOGETHER: usize = 2_000;

/// In the background, the time that is spent at rest for each that is spent at work: every other use of disk and processor
/// comes first.
const REST: u32 = 3;

const DAY_S: i64 = 24 * 3600;

/// Where archives are written, and by which rule.
pub struct Archives {
    dir: PathBuf,
    room: Room,
    after_days: Option<u32>,
    limits: Limits,
    /// One run at a time, and no other while the start still removes what archives have.
    folder: Arc<Mutex<Folder>>,
}

/// The folder of archives, as far as this process knows it.
#[derive(Default)]
struct Folder {
    /// Once a run has needed it.
    files: Option<Arc<dyn Files>>,
    /// Whether a record is durable that names an archive here, nobody knows before the restart that it takes. Until then nothing
    /// may be removed that it may name: no run follows.
    in_doubt: bool,
}

impl fmt::Debug for Archives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archives").field("dir", &self.dir).field("after_days", &self.after_days).finish_non_exhaustive()
    }
}

/// How large an archive becomes. It ends with the dossier that reaches either of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Dossiers in a file.
    pub dossiers: usize,
    /// Its bytes.
    pub bytes: u64,
}

impl Archives {
    /// Archives in the folder `dir`, which is made when the first one is written. Nothing is written when less than `min_free` bytes
    /// of its disk are free. `after_days` is the rule for whoever gives none.
    pub fn new(dir: PathBuf, min_free: u64, after_days: Option<u32>) -> Self {
        Self { room: Room::watch(&dir, min_free), dir, after_days, limits: LIMITS, folder: Arc::default() }
    }

    /// The same with other limits.
    #[must_use]
    pub fn of_at_most(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same on a disk of a test's making.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn on(self, files: Arc<dyn Files>) -> Self {
        let folder = Folder { files: Some(files), ..Folder::default() };
        Self { folder: Arc::new(Mutex::new(folder)), ..self }
    }
}

impl Archives {
    /// The folder, opened by whoever needs it first.
    async fn files(&self, folder: &mut Folder) -> Result<Arc<dyn Files>, DraftError> {
        if let Some(files) = &folder.files {
            return Ok(Arc::clone(files));
        }
        let dir = self.dir.clone();
        let files = blocking(move || Ok(RealFiles::open(dir)?)).await?;
        Ok(Arc::<dyn Files>::clone(folder.files.insert(Arc::new(files))))
    }
}

/// What became of the documents of one record.
#[derive(Clone, Copy)]
enum Swept {
    Gone,
    /// They stay, and others may go.
    Stay,
    /// None can be removed just now.
    Later,
}

/// What is to be archived, and who said so.
#[derive(Clone, Debug)]
pub struct Order {
    party: Option<PartyId>,
    actor: ActorId,
    system: String,
    after_days: u32,
    /// Whether there is time.
    gently: bool,
}

impl Order {
    /// The gateway's own, by its configuration.
    pub fn of_the_gateway(after_days: u32) -> Self {
        let actor = "retention".parse().expect("a valid account identifier");
        Self { party: None, actor, system: OWN_NAME.to_owned(), after_days, gently: true }
    }
}

/// How far a run has come.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Dossiers looked at that were closed long enough ago.
    pub looked_at: u64,
    /// Those written to a file.
    pub written: u64,
    /// Those archived for good.
    pub archived: u64,
    /// A file that is complete and on record, told once.
    pub archive: Option<Written>,
}

/// Whoever follows a run.
pub type Told<'a> = &'a (dyn Fn(&Progress) + Send + Sync);

impl Engine {
    /// Says where archives go, and begins to remove the documents they have that a crash has left. The first word counts. Nothing
    /// waits for it: archives may be many, and on a disk that is slow.
    pub fn archive_into(&self, archives: Archives) {
        let Ok(mut folder) = Arc::clone(&archives.folder).try_lock_owned() else { return };
        if self.inner.archives.set(archives).is_err() {
            return;
        }
        let engine = self.clone();
        self.inner.tasks.spawn(async move { engine.sweep_archived(&mut folder, &CancellationToken::new()).await });
    }

    /// Lets an operator order a run.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], `GRANT_MISSING`; `FIELD_INVALID` when neither the order nor the configuration says after
    /// how many days.
    pub fn order_archiving(
        &self,
        peer: &Peer,
        party: &PartyId,
        actor: &ActorId,
        after_days: Option<u32>,
    ) -> Result<Order, Refusal> {
        let authorized = self.authorize(peer, party)?;
        authorized.require(Right::Operate, None)?;
        let configured = self.inner.archives.get().and_then(|archives| archives.after_days);
        let after_days = after_days.or(configured).ok_or_else(|| {
            let problem = Wrong::new(
                "bị thiếu, và retention.archive_after_days chưa được đặt",
                "is missing, and retention.archive_after_days is not set",
            );
            Refusal::new(Reason::FieldInvalid).field("after_days", problem)
        })?;
        let (party, actor, system) = (Some(party.clone()), actor.clone(), authorized.system().to_owned());
        Ok(Order { party, actor, system, after_days, gently: false })
    }

    /// Archives everything that an order is about, file by file, until there is no more or `stop` is cancelled. What was told to be
    /// archived is.
    ///
    /// # Errors
    /// `READ_ONLY` when a disk is nearly full or fails, those of a commit; what was archived before stays so. `OVERLOADED` for an
    /// operator while another run is under way, or the start still removes what archives have.
    pub async fn archive(&self, order: &Order, stop: &CancellationToken, told: Told<'_>) -> Result<Progress, Refusal> {
        let archives = self.inner.archives.get().ok_or_else(|| Refusal::new(Reason::ReadOnly))?;
        let mut folder = match archives.folder.try_lock() {
            Ok(folder) => folder,
            // Whoever waits for an answer is told at once: a run in the background takes its time.
            Err(_) if order.party.is_some() => {
                return Err(Refusal::new(Reason::Overloaded).detail("cause", "archive_run"));
            }
            Err(_) => tokio::select! {
                folder = archives.folder.lock() => folder,
                () = stop.cancelled() => return Ok(Progress::default()),
            },
        };
        // Before anything is removed: what the books say is not all that may be on record.
        if folder.in_doubt {
            return Err(writing_failed());
        }
        self.check_writing()?;
        let files = archives.files(&mut folder).await.map_err(failed)?;
        self.sweep_archived(&mut folder, stop).await;
        let mut run = Run {
            engine: self,
            archives,
            folder: &mut folder,
            files,
            order,
            stop,
            told,
            search: Search::before(self.clock().now(), order.after_days),
            progress: Progress::default(),
        };
        run.tidy().await?;
        while run.file().await? {}
        Ok(run.progress)
    }

    /// Removes the files of archived documents that are still there: after a run, and what a crash has left. While a backup
    /// reads the documents they stay, and so they do while their archive is not where it should be; the next run looks again.
    async fn sweep_archived(&self, folder: &mut Folder, stop: &CancellationToken) {
        if let Err(error) = self.try_sweep(folder, stop).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "archived documents were not all looked for");
        }
    }

    async fn try_sweep(&self, folder: &mut Folder, stop: &CancellationToken) -> Result<(), ReadError> {
        let (store, documents) = (&self.inner.store, &self.inner.documents);
        let books = Head { journal: store.journal()?, epoch: store.epoch().await? };
        let mut after = documents.removed_upto(books).await;
        // What comes behind documents that stay is removed, but not noted: these are looked for again.
        let (mut none_stays, mut goes_on) = (true, true);
        while goes_on {
            let slice = store.archives(after, SLICE).await?;
            goes_on = slice.len() == SLICE;
            let mut removed_upto = None;
            for archive in slice {
                // Left off when the engine stops: the next start goes on.
                if self.inner.tasks.is_closed() || stop.is_cancelled() {
                    goes_on = false;
                    break;
                }
                after = Some(archive.position);
                match self.remove_archived(folder, books.journal, &archive).await {
                    Swept::Gone => removed_upto = none_stays.then_some(archive.position).or(removed_upto),
                    Swept::Stay => none_stays = false,
                    Swept::Later => {
                        goes_on = false;
                        break;
                    }
                }
            }
            if let Some(position) = removed_upto
                && let Err(refusal) = documents.note_removed(books, position).await
            {
                tracing::warn!(%refusal, "the documents of archives will be looked for once more");
            }
        }
        Ok(())
    }

    /// Removes the documents of one record, if the archive that it names has them.
    async fn remove_archived(&self, folder: &mut Folder, journal: [u8; 16], archive: &ArchiveOnRecord) -> Swept {
        let (documents, name) = (&self.inner.documents, &archive.name);
        let ids = match self.inner.store.archived_documents(archive.position).await {
            Ok(ids) => ids,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, archive = name, "which documents were archived cannot be read; they stay");
                return Swept::Stay;
            }
        };
        let removed = async {
            // An archive may be carried away once its documents are gone, and not before.
            if documents.is_any_there(&ids).await?
                && let Err(error) = self.look_at(folder, journal, archive).await
            {
                tracing::warn!(%error, archive = name, "archived documents stay: their archive is not there to have them");
                return Ok(Swept::Stay);
            }
            Ok::<_, Refusal>(if documents.remove_archived(ids).await? { Swept::Gone } else { Swept::Later })
        };
        match removed.await {
            Ok(swept) => {
                if matches!(swept, Swept::Later) {
                    tracing::info!(archive = name, "archived documents stay while a backup reads them");
                }
                swept
            }
            Err(refusal) => {
                tracing::warn!(%refusal, archive = name, "archived documents could not be removed");
                Swept::Later
            }
        }
    }

    /// Whether the file is there that a record names, by its head and its end; that it is whole was seen before it was recorded.
    async fn look_at(
        &self,
        folder: &mut Folder,
        journal: [u8; 16],
        archive: &ArchiveOnRecord,
    ) -> Result<(), DraftError> {
        let missing = || DraftError::Io(io::ErrorKind::NotFound.into());
        let archives = self.inner.archives.get().ok_or_else(missing)?;
        // A folder that is not mounted is not made.
        if folder.files.is_none() && !archives.dir.is_dir() {
            return Err(missing());
        }
        let files = archives.files(folder).await?;
        let (name, sha256) = (archive.name.clone(), archive.sha256);
        let looked = move || {
            let wrong = |error: ArchiveError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            let found = Archive::read(files.open(&name)?).map_err(wrong)?;
            let is_it = found.head.journal == journal && found.sha256 == sha256;
            if is_it { Ok(()) } else { Err(wrong(ArchiveError::Foreign("its digest is another")).into()) }
        };
        blocking(looked).await
    }

    /// The refusal for a dossier that is not here: archived, for those who may know of it, or not found.
    pub(super) async fn not_here(&self, authorized: &Authorized, code: &DossierCode) -> Refusal {
        let store = &self.inner.store;
        match store.archived(code).await {
            Ok(Some(archived)) if authorized.oversees() || authorized.may_know_of(&archived.parties) => {
                let refusal = Refusal::new(Reason::DossierArchived);
                let refusal = refusal.detail("dossier_code", code).detail("archive", &archived.archive);
                match store.erasure(code).await {
                    Ok(erasure) => refusal.detail("erased", erasure.is_some()),
                    Err(error) => read_failed(error),
                }
            }
            Ok(_) => Refusal::new(Reason::DossierNotFound),
            Err(error) => read_failed(error),
        }
    }

    /// Whether a dossier that was here when it was looked up has been archived since.
    pub(super) async fn was_archived(&self, code: &DossierCode) -> Result<bool, Refusal> {
        Ok(self.inner.store.archived(code).await.map_err(read_failed)?.is_some())
    }

    /// Nothing is archived once a write has failed: whether the last record is durable, only a restart tells.
    fn check_writing(&self) -> Result<(), Refusal> {
        if self.inner.store.figures().read_only { Err(writing_failed()) } else { Ok(()) }
    }

    /// Whether a dossier has this code, archived or not.
    pub(super) async fn is_given(&self, code: &DossierCode) -> Result<bool, Refusal> {
        let store = &self.inner.store;
        Ok(store.dossier(code).await.map_err(read_failed)?.is_some()
            || store.archived(code).await.map_err(read_failed)?.is_some())
    }
}

/// A run under way.
struct Run<'a> {
    engine: &'a Engine,
    archives: &'a Archives,
    folder: &'a mut Folder,
    files: Arc<dyn Files>,
    order: &'a Order,
    stop: &'a CancellationToken,
    told: Told<'a>,
    search: Search,
    progress: Progress,
}

impl Run<'_> {
    /// Removes what was written of archives that never came on record, by this journal in this epoch. What an earlier epoch has
    /// left, when archives lie apart from the books, is an operator's to judge.
    async fn tidy(&self) -> Result<(), Refusal> {
        let (head, on_record) = (self.head().await?, self.names_on_record().await?);
        let files = Arc::clone(&self.files);
        let tidied = blocking(move || {
            for name in files.list()? {
                let of_ours = || Archive::read(files.open(&name).ok()?).ok().filter(|archive| archive.head == head);
                let is_left = name.ends_with(TEMPORARY)
                    || (is_named_so(&name) && !on_record.contains(&name) && of_ours().is_some());
                if is_left {
                    tracing::info!(archive = name, "an archive that was never recorded is removed");
                    files.remove(&name)?;
                }
            }
            Ok(files.sync_dir()?)
        });
        tidied.await.map_err(failed)
    }

    /// Writes and records one archive; whether there may be more to archive.
    ///
    /// A dossier that cannot be read stays, and keeps no other from being archived: the file that it was to be added to is begun
    /// anew without it, and the next run tries it again.
    async fn file(&mut self) -> Result<bool, Refusal> {
        let mut draft = None;
        let mut is_full = false;
        while !is_full {
            let code = match self.next().await {
                Ok(Some(code)) => code,
                Ok(None) => break,
                Err(refusal) => {
                    self.give_up(draft).await;
                    return Err(refusal);
                }
            };
            self.progress.looked_at += 1;
            if let Err(refusal) = self.may_go_on() {
                self.give_up(draft).await;
                return refusal.map_or(Ok(false), Err);
            }
            let begun = Instant::now();
            match self.engine.inner.store.material(&code).await {
                Ok(Some(material)) => draft = self.add(draft, material).await?,
                Ok(None) => {}
                Err(error) => cannot_be_read(&code, &error.into()),
            }
            self.progress.written = self.progress.archived;
            if let Some(draft) = &draft {
                self.progress.written += draft.dossiers() as u64;
                is_full =
                    draft.dossiers() >= self.archives.limits.dossiers || draft.bytes() >= self.archives.limits.bytes;
            }
            (self.told)(&self.progress);
            self.rest(begun.elapsed()).await;
        }
        if self.stop.is_cancelled() {
            self.give_up(draft).await;
            return Ok(false);
        }
        let Some(draft) = draft else { return Ok(false) };
        let files = Arc::clone(&self.files);
        let written = blocking(move || draft.finish(&*files)).await.map_err(failed)?;
        self.record(written).await?;
        Ok(is_full)
    }

    /// The next dossier that was closed long enough ago. Going through those that were not is work as well.
    async fn next(&mut self) -> Result<Option<DossierCode>, Refusal> {
        while self.search.found.is_empty() && !self.search.is_over && !self.stop.is_cancelled() {
            let begun = Instant::now();
            self.search.page(self.engine).await?;
            self.rest(begun.elapsed()).await;
        }
        Ok(self.search.found.pop_front())
    }

    /// Adds a dossier to the archive under way, which is begun if there is none, and given up if the dossier turns out unreadable.
    async fn add(&mut self, draft: Option<Draft>, material: Material) -> Result<Option<Draft>, Refusal> {
        let ids: Vec<u64> =
            if material.erased { Vec::new() } else { material.documents.iter().map(|document| document.id).collect() };
        // All of them are open before anything is written, so whoever removes one meanwhile takes nothing from us.
        let documents = self.engine.inner.documents.clone();
        let sealed = match blocking(move || documents.sealed(&ids).map_err(DraftError::Document)).await {
            Ok(sealed) => sealed,
            Err(error) => {
                cannot_be_read(&material.dossier.code, &error);
                return Ok(draft);
            }
        };
        let heard = |(file, length)| (Heard { of: file, stop: self.stop.clone() }, length);
        let sealed = sealed.into_iter().map(heard).collect();
        let code = material.dossier.code.clone();
        let draft = match draft {
            Some(draft) => draft,
            None => self.begin().await?,
        };
        let (store, files) = (Arc::clone(&self.engine.inner.store), Arc::clone(&self.files));
        let handle = tokio::runtime::Handle::current();
        let added = blocking(move || {
            let mut draft = draft;
            match draft.dossier(&material, |position| handle.block_on(store.record(position)), sealed) {
                Ok(()) => Ok(Ok(draft)),
                Err(error) => {
                    let codes: Vec<_> = draft.codes().rev().cloned().collect();
                    draft.give_up(&*files);
                    match error {
                        DraftError::Io(_) => Err(error),
                        DraftError::Read(_) | DraftError::Document(_) => Ok(Err((error, codes))),
                    }
                }
            }
        });
        match added.await.map_err(failed)? {
            Ok(draft) => Ok(Some(draft)),
            Err((error, codes)) => {
                if !self.stop.is_cancelled() {
                    cannot_be_read(&code, &error);
                }
                // The others are gone through once more, and written to the file that is begun next.
                self.progress.looked_at -= codes.len() as u64;
                codes.into_iter().for_each(|code| self.search.found.push_front(code));
                Ok(None)
            }
        }
    }

    async fn begin(&self) -> Result<Draft, Refusal> {
        let (head, day) = (self.head().await?, self.engine.clock().now().date());
        let mut names = self.names_on_record().await?;
        let (files, at) = (Arc::clone(&self.files), unix_millis(machine_now()));
        let begun = blocking(move || {
            names.extend(files.list()?);
            let last = names.iter().filter_map(|name| number_of(day, name)).max().unwrap_or(0);
            Draft::begin(&*files, &name_of(day, last + 1), head, at)
        });
        begun.await.map_err(failed)
    }

    /// Reads the file back, records what is in it, and lets go of the documents.
    ///
    /// A few dossiers at a time: every record is projected while all other commits wait. So after a crash in between the rest of
    /// them is still here, and the next run writes them to another file.
    async fn record(&mut self, written: Written) -> Result<(), Refusal> {
        if !self.read_back(&written).await? {
            return Ok(());
        }
        let mut archived = 0;
        for some in recorded_together(&written.dossiers) {
            if self.stop.is_cancelled() {
                break;
            }
            // Whoever gives this up while it is under way knows as little.
            self.folder.in_doubt = true;
            let archiving = Commit::Archived(self.archiving(&written, some));
            let committed = self.engine.inner.store.commit(archiving).await;
            self.folder.in_doubt = matches!(committed, Err(CommitError::Unknown));
            match committed {
                Ok(()) => archived += some.len() as u64,
                Err(CommitError::Conflict) => {
                    tracing::info!(
                        archive = written.name,
                        "something was recorded meanwhile; these are archived later"
                    );
                }
                Err(error) => {
                    if archived == 0 && !self.folder.in_doubt {
                        self.remove(&written.name).await;
                    }
                    return Err(commit_failed(&error));
                }
            }
        }
        self.progress.archived += archived;
        self.progress.written = self.progress.archived;
        if archived == 0 {
            self.remove(&written.name).await;
            return Ok(());
        }
        self.engine.sweep_archived(self.folder, self.stop).await;
        tracing::info!(archive = written.name, dossiers = archived, bytes = written.bytes, "dossiers archived");
        self.progress.archive = Some(written);
        (self.told)(&self.progress);
        self.progress.archive = None;
        Ok(())
    }

    /// Sees to it that the file is what was written, as it will be read for as long as it is kept. When the node stops meanwhile it is
    /// removed, and the answer is `false`.
    async fn read_back(&self, written: &Written) -> Result<bool, Refusal> {
        let (files, head) = (Arc::clone(&self.files), self.head().await?);
        let (name, expected) = (written.name.clone(), self.archiving(written, &written.dossiers).archived);
        let stop = self.stop.clone();
        let read = blocking(move || {
            let wrong = |error: ArchiveError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            let file = Heard { of: files.open(&name)?, stop };
            let archive = Archive::read(Box::new(file)).map_err(wrong)?;
            archive.is_on_record(head.journal, &expected).map_err(wrong)?;
            Ok(fault::reached(fault::ARCHIVE_RECORD)?)
        });
        if let Err(error) = read.await {
            self.remove(&written.name).await;
            return if self.stop.is_cancelled() { Ok(false) } else { Err(failed(error)) };
        }
        Ok(true)
    }

    fn archiving(&self, written: &Written, dossiers: &[Kept]) -> Archiving {
        let (codes, sequences) = dossiers.iter().map(|kept| (kept.code.clone(), kept.sequence)).unzip();
        let Order { party, actor, system, after_days, .. } = self.order.clone();
        let (archive, sha256, at) = (written.name.clone(), written.sha256, machine_now());
        Archiving {
            archived: DossiersArchived { codes, archive, sha256, party, actor, system, after_days, at },
            sequences,
            queries: dossiers.iter().map(|kept| kept.queries).collect(),
        }
    }

    /// Whether the node still has room and time; the refusal is absent when it just stops.
    fn may_go_on(&self) -> Result<(), Option<Refusal>> {
        if self.stop.is_cancelled() {
            return Err(None);
        }
        self.engine.check_writing().map_err(Some)?;
        let full = |shortage: Shortage| Err(Some(disk_full(&shortage)));
        self.engine.shortage().map_or(Ok(()), full)?;
        self.archives.room.for_more().or_else(full)
    }

    async fn rest(&self, worked: Duration) {
        if self.order.gently {
            tokio::select! {
                () = tokio::time::sleep(worked * REST) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn head(&self) -> Result<Head, Refusal> {
        let store = &self.engine.inner.store;
        let journal = store.journal().map_err(read_failed)?;
        Ok(Head { journal, epoch: store.epoch().await.map_err(read_failed)? })
    }

    async fn names_on_record(&self) -> Result<BTreeSet<String>, Refusal> {
        let (mut names, mut after) = (BTreeSet::new(), None);
        loop {
            let slice = self.engine.inner.store.archives(after, SLICE).await.map_err(read_failed)?;
            after = slice.last().map(|archive| archive.position);
            let is_last = slice.len() < SLICE;
            names.extend(slice.into_iter().map(|archive| archive.name));
            if is_last {
                return Ok(names);
            }
        }
    }

    async fn give_up(&self, draft: Option<Draft>) {
        let Some(draft) = draft else { return };
        let files = Arc::clone(&self.files);
        let _ = blocking(move || {
            draft.give_up(&*files);
            Ok(())
        })
        .await;
    }

    async fn remove(&self, name: &str) {
        let (files, removed) = (Arc::clone(&self.files), name.to_owned());
        let done = blocking(move || {
            files.remove(&removed)?;
            Ok(files.sync_dir()?)
        });
        if let Err(error) = done.await {
            tracing::warn!(%error, archive = name, "an archive that was not recorded could not be removed");
        }
    }
}

/// Goes through the dossiers that nothing has happened to for long, and that are closed.
struct Search {
    upto: BusinessTime,
    cursor: Option<Cursor>,
    found: VecDeque<DossierCode>,
    is_over: bool,
}

impl Search {
    fn before(now: BusinessTime, days: u32) -> Self {
        let upto = now.unix_seconds() - i64::from(days) * DAY_S;
        let moment = |seconds| BusinessTime::from_unix_seconds(seconds).ok();
        // A page begins behind its cursor: behind anything of the second after.
        let code = "H00-250101-0001".parse().ok();
        let cursor = moment(upto + 1).zip(code).map(|(updated_at, code)| Cursor { updated_at, code });
        Self { upto: moment(upto).unwrap_or(now), cursor, found: VecDeque::new(), is_over: moment(upto).is_none() }
    }

    /// Looks at one page more.
    async fn page(&mut self, engine: &Engine) -> Result<(), Refusal> {
        let query = ListQuery {
            party: None,
            statuses: Status::ALL.into_iter().filter(|status| status.is_terminal()).collect(),
            procedure: None,
            competent_authority: None,
            intake_desk: None,
            received_from: None,
            received_to: None,
            only_non_territorial: false,
            only_late_at: None,
            limit: PAGE,
            cursor: self.cursor.take(),
        };
        let page = engine.inner.store.list(&query).await.map_err(read_failed)?;
        let due = page.dossiers.iter().filter(|dossier| dossier.updated_at <= self.upto);
        self.found.extend(due.map(|dossier| dossier.code.clone()));
        self.is_over = page.next.is_none();
        self.cursor = page.next;
        Ok(())
    }
}

/// What one record takes at a time, of all that is in a file.
fn recorded_together(dossiers: &[Kept]) -> impl Iterator<Item = &[Kept]> {
    let mut weight = 0;
    let mut some = 0;
    dossiers.chunk_by(move |one, next| {
        (some, weight) = (some + 1, weight + one.weight);
        let goes_along = some < RECORDED_TOGETHER && weight + next.weight <= WEIGHT_TOGETHER;
        if !goes_along {
            (some, weight) = (0, 0);
        }
        goes_along
    })
}

/// A file that is read until the node stops: a large one is not waited for.
struct Heard<F> {
    of: F,
    stop: CancellationToken,
}

fn heard(stop: &CancellationToken) -> io::Result<()> {
    if stop.is_cancelled() { Err(io::Error::other("the node stops")) } else { Ok(()) }
}

impl<F: Read> Read for Heard<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        heard(&self.stop)?;
        self.of.read(buffer)
    }
}

impl ReadFile for Heard<Box<dyn ReadFile>> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        heard(&self.stop)?;
        self.of.read_at(offset, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        self.of.length()
    }
}

/// Runs work on files where it holds up nobody else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DraftError> + Send + 'static,
) -> Result<T, DraftError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| Err(DraftError::Io(io::Error::other(panicked))))
}

fn writing_failed() -> Refusal {
    Refusal::new(Reason::ReadOnly).detail("cause", "write_failed")
}

fn cannot_be_read(code: &DossierCode, error: &DraftError) {
    let error = error as &dyn std::error::Error;
    tracing::error!(error, dossier.code = %code, "the dossier cannot be read, and is not archived");
}

fn failed(error: DraftError) -> Refusal {
    match error {
        DraftError::Read(error) => read_failed(error),
        DraftError::Io(error) | DraftError::Document(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "an archive could not be written");
            Refusal::new(Reason::ReadOnly).detail("cause", "archive")
        }
    }
}

#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod tests;
