//! The embedded engine holds what the port promises, on a real folder.
#![cfg(feature = "test-util")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lgsp_gateway::store::contract::{self, sample};
use lgsp_gateway::store::sled::{Limits, Options, SledStore, SteppedStore};
use lgsp_gateway::store::{Commit, ListQuery, Store};
use lgsp_journal::seal::NodeKey;
use lgsp_journal::testing::Disk;

#[path = "../../tests/support/output.rs"]
#[expect(clippy::unwrap_used, reason = "what cannot be kept cannot be searched")]
mod output;

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_holds_the_contract() {
    output::trace("store_contract");
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &str| {
        let dir = folder.path().join(name);
        let options = Options { node_key: dir.join("node.key"), dir, limits: Limits::default() };
        Arc::new(SledStore::open(&options, |_| ()).unwrap()) as Arc<dyn Store>
    };
    contract::holds(open).await;
    output::keep("store_contract", folder.path());
}

/// The engine that simulations run on is the embedded one but for its threads, its disk and its index.
#[tokio::test]
async fn the_stepped_engine_holds_the_contract() {
    let disks = Mutex::new(HashMap::<String, Disk>::new());
    let key = NodeKey::load_or_create(&tempfile::tempdir().unwrap().path().join("node.key")).unwrap();
    let open = async |name: &str| {
        let disk = disks.lock().unwrap().entry(name.to_owned()).or_default().clone();
        let store = Arc::new(SteppedStore::open(disk.files(), disk.files(), &key, Limits::default()).unwrap());
        let writing = Arc::downgrade(&store);
        tokio::spawn(async move {
            while let Some(store) = writing.upgrade() {
                store.write_batch();
                drop(store);
                tokio::task::yield_now().await;
            }
        });
        store as Arc<dyn Store>
    };
    contract::holds(open).await;
}

/// A filter that fits nothing recent must not hold a thread until it has looked at everything there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_after_bounded_work_and_the_cursor_goes_on() {
    const DOSSIERS: u32 = 2_500;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let options = Options { node_key: dir.join("node.key"), dir, limits: Limits::default() };
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&options, |_| ()).unwrap());
    let mut commits = tokio::task::JoinSet::new();
    for number in 1..=DOSSIERS {
        let store = Arc::clone(&store);
        let admission = Commit::Admission(Box::new(sample::admission(sample::opened(number))));
        commits.spawn(async move { store.commit(admission).await });
    }
    while let Some(committed) = commits.join_next().await {
        committed.unwrap().unwrap();
    }
    // Only the very first one was received so early.
    let mut query = ListQuery {
        party: Some(sample::party(sample::DESK)),
        statuses: Vec::new(),
        procedure: None,
        competent_authority: None,
        intake_desk: None,
        received_from: None,
        received_to: Some(sample::at(2)),
        only_non_territorial: false,
        only_late_at: None,
        limit: 10,
        cursor: None,
    };
    let first = store.list(&query).await.unwrap();
    assert!(first.dossiers.is_empty());
    query.cursor = Some(first.next.expect("there is more to look at"));
    let second = store.list(&query).await.unwrap();
    assert_eq!(second.dossiers.iter().map(|dossier| dossier.code.number()).collect::<Vec<_>>(), [1]);
    assert_eq!(second.next, None);
    store.close().await;
}
