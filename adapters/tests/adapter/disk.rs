//! The spool's disk fills up: nothing new is taken in, what is here goes on; and if it does fail, the adapter says so and ends.

use std::fs::{self, File};
use std::io::Write as _;

use http::{Method, StatusCode};
use lgsp_adapters::RunError;
use lgsp_journal::testing::on_a_small_disk;
use lgsp_proto::v1::AcknowledgeStage;

use crate::support::{Adapter, PARTY, World, until};

const CALLER: [(&str, &str); 3] =
    [("lgsp-party", PARTY), ("lgsp-actor", "mot.cua"), ("content-type", "application/pdf")];

/// Of a disk that nobody has.
const TOO_MUCH: &str = "spool.min_free_mib = 1000000000";

#[tokio::test]
async fn on_a_disk_that_is_nearly_full_what_is_here_goes_on_and_nothing_new_is_taken_in() {
    let world = World::new().await;
    world.line.cut();
    let adapter = world.adapter().await;
    assert_eq!(adapter.submit("k1").await.status, StatusCode::ACCEPTED);
    adapter.stop().await.unwrap();

    let adapter = Adapter::start(world.config(TOO_MUCH)).await;
    let refused = adapter.submit("k2").await;
    assert_eq!(refused.status, StatusCode::INSUFFICIENT_STORAGE);
    assert!(refused.headers.contains_key("retry-after"));
    let problem = refused.json();
    assert_eq!((&problem["reason"], &problem["status"]), (&"SPOOL_DISK_FULL".into(), &507.into()));
    let number = |key: &str| -> u64 { problem["details"][key].as_str().unwrap().parse().unwrap() };
    assert!(number("free_bytes") < number("needed_bytes"));
    let document = adapter.call(Method::POST, "/v1/documents", &CALLER, &b"%PDF"[..]).await;
    assert_eq!((document.status, &document.json()["reason"]), (refused.status, &"SPOOL_DISK_FULL".into()));
    // The same request again is the one that is here already.
    assert_eq!(adapter.submit("k1").await.status, StatusCode::ACCEPTED);

    let health = adapter.get("/healthz").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    let health = health.json();
    assert!(health["status"].as_str().unwrap().contains("nearly full"), "{health}");
    assert!(health["status_vi"].as_str().unwrap().contains("đĩa sắp đầy"), "{health}");
    assert_eq!(adapter.status().await["writable"], true);

    world.line.mend();
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    // A delivery is declined with the reason, and stays with the gateway.
    world.gateway.deliver("H57.101-250714-0001", 1);
    let declined = world.gateway.when(|gateway| gateway.declined().pop()).await;
    assert_eq!(declined.reason, "SPOOL_DISK_FULL");
    assert!(world.gateway.acknowledged(AcknowledgeStage::TakenOver).is_empty());
    adapter.stop().await.unwrap();
    let adapter = world.adapter().await;
    assert_eq!(adapter.submit("k2").await.status, StatusCode::ACCEPTED);
}

#[test]
fn a_real_disk_that_is_full_to_the_last_byte_ends_the_adapter_and_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let test = "disk::a_real_disk_that_is_full_to_the_last_byte_ends_the_adapter_and_loses_nothing";
    on_a_small_disk(test, place.path(), || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(a_real_disk_is_full());
    });
}

async fn a_real_disk_is_full() {
    let world = World::new().await;
    world.line.cut();
    // Nobody watches the disk, so it is met as it is.
    let adapter = Adapter::start(world.config("spool.min_free_mib = 0")).await;
    assert_eq!(adapter.submit("k1").await.status, StatusCode::ACCEPTED);
    let ballast = world.folder.path().join("ballast");
    fill(&ballast);
    // The journal's last page may have room for some more.
    let mut keys = 0_u32..;
    let refused = until(async || {
        let answer = adapter.submit(&format!("k2-{}", keys.next().unwrap())).await;
        (answer.status != StatusCode::ACCEPTED).then_some(answer)
    })
    .await;
    assert_eq!((refused.status, &refused.json()["reason"]), (StatusCode::SERVICE_UNAVAILABLE, &"READ_ONLY".into()));
    let Err(RunError::SpoolBroken) = adapter.ended().await else { panic!("it goes on without a spool") };

    // Watched, with a reserve from better days: it opens on a disk without a free byte, and forwards.
    fs::remove_file(&ballast).unwrap();
    let adapter = Adapter::start(world.config("spool.min_free_mib = 16")).await;
    adapter.kill().await;
    fill(&ballast);
    let adapter = Adapter::start(world.config("spool.min_free_mib = 16")).await;
    assert_eq!(adapter.submit("k3").await.status, StatusCode::INSUFFICIENT_STORAGE);
    world.line.mend();
    assert_eq!(adapter.outcome("k1").await["state"], "admitted");
    fs::remove_file(&ballast).unwrap();
    until(async || (adapter.submit("k3").await.status == StatusCode::ACCEPTED).then_some(())).await;
    adapter.stop().await.unwrap();
}

/// Leaves not a byte.
fn fill(ballast: &std::path::Path) {
    let mut file = File::create(ballast).unwrap();
    for piece in [1 << 20, 4096, 1] {
        let zeros = vec![0; piece];
        while file.write_all(&zeros).is_ok() {}
    }
}
