//! Opening a spool: its parts in the order in which a full disk, a crash and a lost key show, and its journal tidied up.
//!
//! Nothing that was answered is lost by an opening that fails, or that is interrupted anywhere.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lgsp_journal::group::GroupCommit;
use lgsp_journal::room::Room;
use lgsp_journal::{Files, Opened, Position, RealFiles};
use lgsp_proto::types::PartyId;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::documents::Documents;
use super::replay::{RecordError, replay, restate};
use super::seal::{SpoolKey, SpoolKeyError};
use super::writing::{Item, ROOM_KIB, queue_limits};
use super::{Shared, Spool, Told, forget_before};

/// How the spool is kept.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Its folder, made if need be. One process at a time.
    pub(crate) folder: PathBuf,
    /// Calls that may wait for the gateway's answer.
    pub(crate) max_outgoing: NonZeroUsize,
    /// Deliveries that may wait for the agency's own system.
    pub(crate) max_incoming: NonZeroUsize,
    /// How long the outcome of a call can be asked for.
    pub(crate) keep_outcomes: Duration,
    /// Bytes of documents that may wait for their dossiers.
    pub(crate) max_document_bytes: u64,
    /// What must stay free of the folder's disk, or nothing new is taken in; 0 for as much as there is.
    pub(crate) min_free_bytes: u64,
    /// Finished records at the start that are worth writing the unfinished ones again for.
    pub(crate) restate_after: u64,
    /// To which place things are carried for each party.
    pub(crate) places: HashMap<PartyId, usize>,
}

/// Why the spool does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or its key file.
    #[error("the spool in {} cannot be opened", folder.display())]
    Folder {
        /// The spool's folder.
        folder: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// Another adapter has it open; two would hand over everything twice.
    #[error("the spool in {} is in use by {}", folder.display(), process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}")))]
    InUse {
        /// The spool's folder.
        folder: PathBuf,
        /// The process, where the system tells.
        process: Option<u32>,
    },
    /// There is no key to open it with.
    #[error("the spool's key cannot be used")]
    Key(#[from] SpoolKeyError),
    /// The journal is damaged, or of a later version.
    #[error("the spool's journal cannot be opened")]
    Journal(#[from] lgsp_journal::OpenError),
    /// A record cannot be read back.
    #[error("a record of the spool cannot be read")]
    Record(#[from] RecordError),
    /// The unfinished records could not be written again.
    #[error("the spool could not be tidied up")]
    Restate(#[from] lgsp_journal::AppendError),
}

impl Spool {
    /// Opens the spool, reads what is unfinished, and tidies up what is not. Blocks while it reads.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing that was answered is lost by it.
    pub(crate) fn open(options: &Options) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder { folder: options.folder.clone(), source };
        let journal = options.folder.join("journal");
        let files = RealFiles::open(&journal).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => {
                OpenError::InUse { folder: options.folder.clone(), process: RealFiles::holder(&journal) }
            }
            _ => folder(error),
        })?;
        Self::open_over(options, Arc::new(files))
    }

    /// As [`Spool::open`], with the journal in `files`.
    pub(super) fn open_over(options: &Options, files: Arc<dyn Files>) -> Result<Self, OpenError> {
        let folder = |source| OpenError::Folder { folder: options.folder.clone(), source };
        // First of all: on a full disk the rest needs what this gives up.
        let disk = Arc::new(Room::reserve(&options.folder, options.min_free_bytes).map_err(folder)?);
        let key = SpoolKey::open(&options.folder)?;
        let documents = options.folder.join("documents");
        let documents = Documents::open(documents, key.clone(), options.max_document_bytes, disk.clone());
        let documents = documents.map_err(folder)?;
        let Opened { mut writer, reader, recovered } = lgsp_journal::open(files, lgsp_journal::Options::default())?;
        if recovered.torn_bytes > 0 || recovered.copied > 0 {
            tracing::info!(recovered.copied, recovered.torn_bytes, "spool recovered after a crash");
        }

        let (mut state, from) = replay(&reader, &key, &options.places, Position::FIRST)?;
        let forget_before = forget_before(options.keep_outcomes);
        state.forget(forget_before);
        let needed = state.needed(forget_before);
        let marks = state.marks();
        let finished = state.records.saturating_sub((needed.len() + marks.len()) as u64);
        let mut first = from;
        if finished > options.restate_after && finished > needed.len() as u64 {
            first = restate(&mut writer, &reader, &key, &needed, marks)?;
            (state, _) = replay(&reader, &key, &options.places, first)?;
            tracing::info!(kept = needed.len(), finished, "spool tidied up");
        }
        if first > reader.first()
            && let Err(error) = writer.forget(first)
        {
            tracing::warn!(%error, "old segments of the spool could not be removed");
        }
        // Documents of what was admitted go first when room is needed, the oldest first.
        for (party, sha256) in state.admitted_documents() {
            documents.retire(&party, &sha256, state.names_document(&party, &sha256));
        }
        state.enqueue_all();
        let restored = (state.again > 0).then(Instant::now);

        let shared = Arc::new(Shared { state: Mutex::new(state), changes: watch::Sender::new(0) });
        let applied = shared.clone();
        let committer =
            GroupCommit::start(writer, queue_limits(), move |batch: &[(Position, Item)]| applied.applied(batch));
        let committer = committer.map_err(folder)?;
        // While there is room, what the next opening may need is set aside.
        let _ = disk.for_more();
        Ok(Self {
            shared,
            reader,
            key,
            journal: committer.handle(),
            committer: Mutex::new(Some(committer)),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
            disk,
            documents,
            max_outgoing: options.max_outgoing.get(),
            max_incoming: options.max_incoming.get(),
            keep_outcomes: options.keep_outcomes,
            broken: CancellationToken::new(),
            epoch_told: Mutex::new(Told::Nothing { since: Instant::now() }),
            restored: Mutex::new(restored),
        })
    }
}
