//! Another way in and out: a folder that the agency's software and the adapter both look into. For agencies that cannot call REST.
//!
//! | in it | who writes | what |
//! |---|---|---|
//! | `outbox/<name>/` | the agency | a request: `request.json` and its documents, renamed in when it is whole |
//! | `answers/<name>/` | the adapter | `result.json`, written anew at each stage; or `error.json`, when nothing was taken in |
//! | `done/<name>/`, `rejected/<name>/` | the adapter | the request, once its last answer is durable |
//! | `inbox/<dossier_code>/<sequence>-<id>.json` | the adapter | a delivery; the agency removes what it has |
//!
//! Nothing about a request is kept but in the spool and in the folder itself, so a process that is killed anywhere finds out where
//! it was: a request in the outbox is taken in again, which is the same call by its key, and answered again, which is the same file.
//! A delivery counts as handed over once its file is durable under its name.
//!
//! | module | owns |
//! |---|---|
//! | `round` | looking at the outbox: what is new, what is settled, what is taken in or rejected |
//! | `request` | `request.json` and its documents |
//! | `out`, `documents` | deliveries and outcomes written, and documents beside them |
//! | `answers` | `result.json` and `error.json` |
//! | `names` | what may be called how |
//! | `disk` | the file system, without following anybody's links |
//! | `view` | the part of `/status` |
//!
//! It is looked at every so often, because a share on the network does not tell when something has come.

mod answers;
mod disk;
mod documents;
mod names;
mod out;
mod request;
mod round;
mod view;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config;
use crate::office::Office;
use crate::papers::Papers;
use crate::request::Limits;
use crate::spool::CallId;
use crate::trouble::Way;
use disk::Dir;
pub(crate) use out::ToFolder;
use round::{Round, Seen};
use view::View;
pub(crate) use view::{FolderJson, Trouble};

/// What is in the folder.
const PARTS: [&str; 5] = ["outbox", "answers", "inbox", "done", "rejected"];

/// Files written at one time.
pub(crate) const AT_ONCE: NonZeroUsize = NonZeroUsize::new(8).expect("it is not zero");

/// The note in the spool's folder that says which folder was set up.
const NOTE: &str = "folder";

/// See the module.
pub(crate) struct Folder {
    config: config::Folder,
    note: PathBuf,
    limits: Limits,
    backoff: Backoff,
    office: Arc<Office>,
    papers: Papers,
    /// What was taken in and waits. Held while a request is taken in and its first answer written, so that the last one comes after it.
    requests: Mutex<Requests>,
    /// Whether all of the outbox was looked at since the start: before that nobody knows which request an outcome belongs to.
    looked: watch::Sender<bool>,
    view: View,
}

/// Requests between being taken in and their last answer.
#[derive(Default)]
struct Requests {
    /// Under which names each is to be answered; usually one.
    waiting: HashMap<CallId, BTreeSet<String>>,
    /// Those that need not be looked at again: they wait, and were told so. With what tells each from another of its name.
    names: HashMap<String, u64>,
    /// What could not be moved out of the outbox.
    stuck: HashSet<std::ffi::OsString>,
    /// Who is answered under which name, read from `answers` when an outcome comes that nobody here waits for.
    answered: Option<HashMap<CallId, String>>,
}

/// The folder, open.
struct Open {
    outbox: Dir,
    answers: Dir,
    inbox: Dir,
    done: Dir,
    rejected: Dir,
}

impl Folder {
    /// A folder for what its configuration says. Nothing is touched before it is looked at.
    pub(crate) fn new(
        config: &config::Folder,
        spool: &config::Spool,
        backoff: Backoff,
        office: Arc<Office>,
    ) -> Arc<Self> {
        Arc::new(Self {
            config: config.clone(),
            note: spool.folder.join(NOTE),
            limits: Limits::of(spool),
            backoff,
            office,
            papers: Papers::new(),
            requests: Mutex::default(),
            looked: watch::Sender::new(false),
            view: View::default(),
        })
    }

    /// For `/status`.
    pub(crate) fn to_json(&self) -> FolderJson {
        self.view.to_json()
    }

    /// Looks at the outbox until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut seen, mut failures) = (Seen::default(), 0);
        loop {
            let (folder, stopping) = (self.clone(), stop.clone());
            let handle = tokio::runtime::Handle::current();
            let looking = tokio::task::spawn_blocking(move || {
                let round = folder.round(&handle, &mut seen, &stopping);
                (round, seen)
            });
            // A panic is a mistake of ours, and has been reported as one; what it was about is found again.
            let (round, after) = looking.await.unwrap_or_else(|_| (Err(Trouble::Failing), Seen::default()));
            seen = after;
            let pause = match &round {
                Ok(Round { goes_on: true, .. }) => std::time::Duration::ZERO,
                Ok(Round { held_back: None, .. }) => {
                    failures = 0;
                    self.config.poll
                }
                Ok(_) | Err(_) => {
                    failures += 1;
                    self.backoff.delay(failures).max(self.config.poll)
                }
            };
            self.view.went(Way::In, round.err());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Opens the folder. What is in it is made once: a share that is not mounted leaves an empty folder in its place, and nobody
    /// would look into what was written there.
    fn open(&self) -> io::Result<Open> {
        let folder = Dir::open(&self.config.dir)?;
        let dir = self.config.dir.as_os_str().as_bytes();
        if fs::read(&self.note).ok().as_deref() != Some(dir) {
            for part in PARTS {
                folder.make(part)?;
            }
            let mut note = File::create(&self.note)?;
            note.write_all(dir)?;
            note.sync_all()?;
        }
        let part = |number: usize| folder.sub(OsStr::new(PARTS[number]));
        Ok(Open { outbox: part(0)?, answers: part(1)?, inbox: part(2)?, done: part(3)?, rejected: part(4)? })
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        // What a panic left half done is found again in the outbox.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a `request.json`, and the name of a request's folder; what comes of it does not matter.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(text: &[u8], party: &lgsp_proto::types::PartyId) {
    if let Ok(name) = names::usable(OsStr::from_bytes(text)) {
        assert!(!name.contains(['/', '\\', '\0']) && name != "." && name != "..", "a name stays in its folder");
    }
    if let Err(problem) = request::Request::parse(text, std::slice::from_ref(party)) {
        assert!(!problem.may_pass(), "what cannot be read now cannot be read later");
    }
}
