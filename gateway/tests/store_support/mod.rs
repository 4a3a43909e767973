//! What the tests of the embedded engine share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use lgsp_domain::event::Event;
use lgsp_gateway::store::contract::sample::{admission, at, code, opened, progressed};
use lgsp_gateway::store::sled::{Limits, OpenError, Options, Progress, SledStore};
use lgsp_gateway::store::{Bodies, Commit, CommitError, Figures, Recorded, Store};

#[path = "../../../tests/support/output.rs"]
pub(crate) mod output;

/// Under this name what a suite says is kept.
const SUITE: &str = env!("CARGO_CRATE_NAME");

/// Options for a data folder.
pub(crate) fn options(dir: &Path) -> Options {
    Options { dir: dir.to_owned(), node_key: node_key(dir), limits: Limits::default() }
}

/// Where the node's key of a data folder is.
pub(crate) fn node_key(dir: &Path) -> PathBuf {
    dir.join("node.key")
}

/// Opens the store of a data folder, and says what opening did.
pub(crate) fn try_open(dir: &Path) -> (Result<SledStore, OpenError>, Vec<Progress>) {
    output::trace(SUITE);
    let progress = Mutex::new(Vec::new());
    let opened = SledStore::open(&options(dir), |step| progress.lock().unwrap().push(step));
    output::key(SUITE, &node_key(dir));
    if let Err(error) = &opened {
        output::said(SUITE, format!("{error} {error:?}"));
    }
    (opened, progress.into_inner().unwrap())
}

/// Opens the store of a data folder.
pub(crate) fn open(dir: &Path) -> (Arc<SledStore>, Vec<Progress>) {
    let (opened, progress) = try_open(dir);
    (Arc::new(opened.unwrap()), progress)
}

/// Whether opening had to make the index again.
pub(crate) fn rebuilt(progress: &[Progress]) -> bool {
    progress.iter().any(|step| matches!(step, Progress::Rebuilding { .. }))
}

pub(crate) async fn admit(store: &dyn Store, event: Event) -> Result<(), CommitError> {
    store.commit(Commit::Admission(Box::new(admission(event)))).await
}

/// Opens dossiers with the numbers `1..=count`, and adds an event to each.
pub(crate) async fn fill(store: &dyn Store, count: u32) {
    for number in 1..=count {
        admit(store, opened(number)).await.unwrap();
        let dossier = store.dossier(&code(number)).await.unwrap().unwrap();
        admit(store, progressed(&dossier, at(1_000 + i64::from(number)))).await.unwrap();
    }
}

/// Everything a reader can see of the dossiers `1..=count`, as text that can be compared.
pub(crate) async fn seen(store: &dyn Store, count: u32, parties: &[&str]) -> String {
    let mut seen = String::new();
    for number in 1..=count {
        let code = code(number);
        let dossier = store.dossier(&code).await.unwrap();
        let events: Vec<Recorded> = store.events(&code, 0, 100, Bodies::With).await.unwrap();
        let alias = store.by_alias(&format!("G22-{number}")).await.unwrap();
        seen += &format!("{dossier:?}\n{events:?}\n{alias:?}\n");
    }
    for party in parties {
        let party = party.parse().unwrap();
        let waiting = store.waiting(&party, None, 10_000).await.unwrap();
        let backlog = store.backlog(&party).await.unwrap();
        seen += &format!("{waiting:?}\n{backlog:?}\n");
    }
    let Figures { dossiers, events, waiting, taken_over, .. } = store.figures();
    seen + &format!("{dossiers} {events} {waiting} {taken_over}\n")
}
