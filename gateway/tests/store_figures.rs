//! Figures of starting and of taking snapshots, for ARCHITECTURE.md. Not asserted: a machine's speed is no promise of ours.
//!
//! `LGSP_FIGURES=1 cargo test -p lgsp-gateway --test store_figures -- --nocapture` measures at full size; without it the same
//! is done small, so that it does not rot.
#![cfg(feature = "test-util")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::print_stderr, reason = "figures are what this is for")]

mod store_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lgsp_gateway::store::contract::sample::{AUTHORITY, PORTAL, acknowledgement, opened};
use lgsp_gateway::store::sled::{Limits, Options, Progress, SledStore};
use lgsp_gateway::store::{Commit, Stage, Store};
use store_support::{admit, options, output};

/// Opens dossiers, and has two parties take them over and hand them on.
async fn live(store: &Arc<SledStore>, numbers: std::ops::RangeInclusive<u32>) {
    let mut callers = Vec::new();
    for caller in 0..16 {
        let (store, numbers) = (Arc::clone(store), numbers.clone());
        callers.push(tokio::spawn(async move {
            for number in numbers.filter(|number| number % 16 == caller) {
                admit(&*store, opened(number)).await.unwrap();
                for (party, stage) in
                    [(AUTHORITY, Stage::TakenOver), (AUTHORITY, Stage::HandedOver), (PORTAL, Stage::HandedOver)]
                {
                    let deliveries = acknowledgement(party, stage, &[(number, 1)]);
                    store.commit(Commit::Acknowledgement(deliveries)).await.unwrap();
                }
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
}

fn opened_in(options: &Options, what: &str) -> Arc<SledStore> {
    output::trace("store_figures");
    let begun = Instant::now();
    let store = SledStore::open(options, |step| {
        if let Progress::SnapshotLoaded { position, entries, of } = step
            && entries == of
        {
            eprintln!(
                "  a snapshot of {entries} entries, taken at record {position}, was loaded after {:?}",
                begun.elapsed()
            );
        }
    })
    .unwrap();
    eprintln!("{what}: open after {:?}, {:?}", begun.elapsed(), store.figures());
    Arc::new(store)
}

fn lose_index(dir: &Path) {
    std::fs::remove_dir_all(dir.join("index")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn starting_with_and_without_an_index_and_snapshots() {
    let full = std::env::var_os("LGSP_FIGURES").is_some();
    let dossiers: u32 = if full { 17_000 } else { 100 };
    let folder = tempfile::tempdir().unwrap();
    let plain =
        Options { limits: Limits { snapshot_every: u64::MAX >> 1, ..Limits::default() }, ..options(folder.path()) };
    let often = Options { limits: Limits { snapshot_every: u64::from(dossiers), ..plain.limits }, ..plain.clone() };

    let store = opened_in(&plain, "empty");
    let begun = Instant::now();
    live(&store, 1..=dossiers).await;
    eprintln!("{dossiers} dossiers and three acknowledgements each in {:?}", begun.elapsed());
    store.close().await;
    opened_in(&plain, "with its index").close().await;
    lose_index(folder.path());
    opened_in(&plain, "without index or snapshot").close().await;

    // One more record makes a snapshot due.
    let store = opened_in(&often, "before a snapshot");
    let begun = Instant::now();
    live(&store, dossiers + 1..=dossiers + dossiers / 4).await;
    eprintln!("{} more while a snapshot is taken in {:?}", dossiers / 4, begun.elapsed());
    store.close().await;
    let size = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
    let sizes: Vec<u64> = std::fs::read_dir(folder.path().join("snapshots")).unwrap().map(size).collect();
    eprintln!("snapshot files: {sizes:?} bytes");
    lose_index(folder.path());
    opened_in(&plain, "without index, with a snapshot").close().await;
}
