//! The spool's promises, over real folders and over disks that fail.

mod calls;
mod deliveries;
mod epoch;
mod keeping;
mod offline;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;

use bytes::Bytes;
use lgsp_journal::testing::{Disk, Fault};
use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message as _;

use super::*;
use crate::trace::TraceParent;

fn options(folder: &Path) -> Options {
    Options {
        folder: folder.to_owned(),
        max_outgoing: NonZeroUsize::new(3).unwrap(),
        max_incoming: NonZeroUsize::new(3).unwrap(),
        keep_outcomes: Duration::from_secs(3600),
        max_document_bytes: 1 << 20,
        min_free_bytes: 0,
        restate_after: 100,
        places: HashMap::from([("H57.101".parse().unwrap(), 0)]),
    }
}

fn open(folder: &Path) -> Spool {
    Spool::open(&options(folder)).unwrap()
}

fn call(key: &str, body: &str) -> NewCall {
    NewCall {
        id: call_id("H57.101", key),
        kind: CallKind::Submit,
        dossier: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
        trace: TraceParent::begin(),
        offline: None,
    }
}

fn entry(key: &str, dossier: &str) -> NewCall {
    NewCall { kind: CallKind::Record, dossier: Some(dossier.to_owned()), ..call(key, key) }
}

fn delivery(dossier: &str, sequence: u32) -> v1::Delivery {
    let reference = v1::DeliveryRef { party: "H57.101".into(), dossier_code: dossier.into(), sequence };
    v1::Delivery { r#ref: Some(reference), attempt: 1, ..v1::Delivery::default() }
}

fn admitted(dossier: &str) -> Outcome {
    let receipt = v1::Receipt { dossier_code: dossier.to_owned(), ..v1::Receipt::default() }.encode_to_vec().into();
    let receipt = Some(v1::SignedReceipt { receipt, ..v1::SignedReceipt::default() });
    Outcome::Admitted(v1::SubmitResponse { receipt, ..v1::SubmitResponse::default() })
}

fn refused() -> Outcome {
    Outcome::Refused(Bytes::copy_from_slice(Refusal::new(Reason::NoRoute).to_status().details()))
}

async fn take_over(spool: &Spool, delivery: &v1::Delivery) -> Result<Stage, TakeOverError> {
    spool.take_over(delivery).await?.await
}

/// The agency's system has what now stands under that name.
async fn hand_over(spool: &Spool, id: &DeliveryId) {
    let Some(Stage::TakenOver(position)) = spool.stage(id) else { panic!("it is not here to be handed over") };
    spool.handed_over(id, position).await.unwrap();
}

/// What would be sent now, in order.
fn waiting(spool: &Spool) -> Vec<String> {
    spool.outgoing(|lanes| {
        let jobs = std::iter::from_fn(|| lanes.take(std::time::Instant::now()));
        jobs.map(|job| job.item.key.to_string()).collect()
    })
}

fn parcels(spool: &Spool) -> Vec<Parcel> {
    spool.parcels(0, |lanes| std::iter::from_fn(|| lanes.take(std::time::Instant::now())).map(|job| job.item).collect())
}

#[tokio::test]
async fn two_processes_cannot_share_a_spool() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    assert!(Spool::open(&options(folder.path())).is_err());
}

/// A spool on a disk whose next sync fails.
fn on_a_failing_disk(folder: &Path) -> Spool {
    let disk = Disk::new();
    let spool = Spool::open_over(&options(folder), disk.files()).unwrap();
    disk.fail_after(1, Fault::Error);
    spool
}

#[tokio::test]
async fn what_the_disk_did_not_take_is_not_promised() {
    let folder = tempfile::tempdir().unwrap();
    let spool = on_a_failing_disk(folder.path());
    assert_eq!(spool.queue(call("one", "1")).await.unwrap_err(), QueueError::Broken(Broken));
    assert!(spool.call(&call_id("H57.101", "one")).is_none());
    assert!(waiting(&spool).is_empty());
    assert!(spool.broken().is_cancelled());
    // Nor is anything that comes later.
    assert_eq!(spool.queue(call("two", "2")).await.unwrap_err(), QueueError::Broken(Broken));

    let folder = tempfile::tempdir().unwrap();
    let spool = on_a_failing_disk(folder.path());
    assert_eq!(take_over(&spool, &delivery("D", 1)).await.unwrap_err(), TakeOverError::Broken(Broken));
    assert!(parcels(&spool).is_empty());
}

#[tokio::test]
async fn what_was_answered_survives_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new();
    let spool = Spool::open_over(&options(folder.path()), disk.files()).unwrap();
    spool.queue(call("one", "1")).await.unwrap();
    take_over(&spool, &delivery("D", 1)).await.unwrap();
    for cut in disk.power_cuts() {
        let spool = Spool::open_over(&options(folder.path()), cut.files()).unwrap();
        assert_eq!(waiting(&spool), ["one"]);
        assert_eq!(spool.pending("H57.101", 10).len(), 1);
    }
}
