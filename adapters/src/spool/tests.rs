//! The spool's promises, over real folders.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use lgsp_journal::testing::{Disk, Fault};
use lgsp_proto::{Reason, Refusal};

use super::*;

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
async fn what_was_taken_in_is_there_after_a_restart_with_its_bytes_and_its_trace() {
    let folder = tempfile::tempdir().unwrap();
    let one = call("one", "a body");
    {
        let spool = open(folder.path());
        spool.queue(one.clone()).await.unwrap();
        assert_eq!(spool.call(&one.id).unwrap().standing, Standing::Queued);
    }
    let spool = open(folder.path());
    assert_eq!(waiting(&spool), ["one"]);
    let queued = spool.begin_sending(&one.id).unwrap().unwrap();
    assert_eq!((queued.kind, queued.body, queued.trace), (CallKind::Submit, one.body, Some(one.trace)));
    assert_eq!(spool.call(&one.id).unwrap().standing, Standing::Sending);
}

#[tokio::test]
async fn nothing_that_was_taken_in_lies_readable_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    spool.queue(call("one", "Nguyen Thu Nghiem")).await.unwrap();
    spool.close();
    for entry in std::fs::read_dir(folder.path().join("journal")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"Nguyen"));
    }
}

#[tokio::test]
async fn one_key_is_one_call_and_other_content_under_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(open(folder.path()));
    // At the same time, so that all but one find it not yet durable.
    let same: Vec<_> = (0..8)
        .map(|_| {
            let spool = spool.clone();
            tokio::spawn(async move { spool.queue(call("one", "a body")).await })
        })
        .collect();
    for queued in same {
        assert_eq!(queued.await.unwrap().unwrap().standing, Standing::Queued);
    }
    assert_eq!(spool.queue(call("one", "another body")).await.unwrap_err(), QueueError::KeyReused);
    assert_eq!(spool.counts().waiting, 1);
    assert_eq!(waiting(&spool), ["one"]);
    // Keys are scoped to the party.
    let mut other = call("one", "another body");
    other.id = call_id("H57.102", "one");
    spool.queue(other).await.unwrap();
}

#[tokio::test]
async fn an_answer_ends_a_call_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (call("one", "1"), call("two", "2"));
    {
        let spool = open(folder.path());
        spool.queue(one.clone()).await.unwrap();
        spool.queue(two.clone()).await.unwrap();
        spool.answered(&one.id, &admitted("H57.12-250714-0001")).await.unwrap();
        spool.answered(&two.id, &refused()).await.unwrap();
    }
    let spool = open(folder.path());
    assert_eq!(waiting(&spool), <[&str; 0]>::default());
    for (id, outcome) in [(&one.id, admitted("H57.12-250714-0001")), (&two.id, refused())] {
        let Standing::Answered(position) = spool.call(id).unwrap().standing else { panic!() };
        match (spool.outcome(position).unwrap(), outcome) {
            (Outcome::Refused(status), Outcome::Refused(_)) => {
                let status = tonic_types::pb::Status::decode(status).unwrap();
                assert!(!status.details.is_empty());
            }
            (found, kept) => assert_eq!(found, kept),
        }
    }
    assert_eq!((spool.counts().admitted, spool.counts().refused), (1, 1));
    // The same call again gives the same answer, and is not sent again.
    assert!(matches!(spool.queue(one).await.unwrap().standing, Standing::Answered(_)));
    assert_eq!(waiting(&spool), <[&str; 0]>::default());
}

#[tokio::test]
async fn a_full_spool_takes_nothing_more_until_something_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    for key in ["1", "2", "3"] {
        spool.queue(call(key, key)).await.unwrap();
    }
    assert_eq!(spool.queue(call("4", "4")).await.unwrap_err(), QueueError::Full);
    // What is in already is still answered for.
    spool.queue(call("3", "3")).await.unwrap();
    spool.answered(&call_id("H57.101", "1"), &refused()).await.unwrap();
    spool.queue(call("4", "4")).await.unwrap();

    for sequence in 1..=3 {
        take_over(&spool, &delivery("D", sequence)).await.unwrap();
    }
    assert_eq!(take_over(&spool, &delivery("D", 4)).await.unwrap_err(), TakeOverError::Full);
    take_over(&spool, &delivery("D", 3)).await.unwrap();
}

#[tokio::test]
async fn entries_of_a_dossier_keep_their_order_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let spool = open(folder.path());
        for (key, dossier) in [("a1", "A"), ("a2", "A"), ("b1", "B")] {
            spool.queue(entry(key, dossier)).await.unwrap();
        }
    }
    let spool = open(folder.path());
    assert_eq!(waiting(&spool), ["a1", "b1"]);
    spool.answered(&call_id("H57.101", "a1"), &refused()).await.unwrap();
    spool.outgoing(|lanes| lanes.done(&"A".into()));
    assert_eq!(waiting(&spool), ["a2"]);
}

#[tokio::test]
async fn a_delivery_is_carried_once_however_often_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let id = DeliveryId { party: "H57.101".into(), dossier: "D".into(), sequence: 1 };
    let position = {
        let spool = open(folder.path());
        let Stage::TakenOver(position) = take_over(&spool, &delivery("D", 1)).await.unwrap() else { panic!() };
        assert_eq!(take_over(&spool, &delivery("D", 1)).await.unwrap(), Stage::TakenOver(position));
        assert_eq!(parcels(&spool), [Parcel::Delivery(position)]);
        position
    };
    {
        // Not handed over before the crash, so it is carried again.
        let spool = open(folder.path());
        assert_eq!(parcels(&spool), [Parcel::Delivery(position)]);
        assert_eq!(spool.delivery(position).unwrap(), delivery("D", 1));
        spool.handed_over(&id).await.unwrap();
        assert_eq!(spool.pending("H57.101", 10), []);
    }
    let spool = open(folder.path());
    assert_eq!(parcels(&spool), []);
    assert!(matches!(take_over(&spool, &delivery("D", 1)).await.unwrap(), Stage::HandedOver { .. }));
    assert_eq!(parcels(&spool), []);
    // The gateway is told until it knows.
    let unconfirmed: Vec<_> = spool.unconfirmed(Position::ORIGIN, 10).into_iter().map(|(_, id)| id).collect();
    assert_eq!(unconfirmed, std::slice::from_ref(&id));
    spool.confirmed(&id).await.unwrap();
    assert_eq!(spool.unconfirmed(Position::ORIGIN, 10), []);
    drop(spool);
    assert_eq!(open(folder.path()).unconfirmed(Position::ORIGIN, 10), []);
}

#[tokio::test]
async fn outcomes_and_deliveries_of_one_dossier_are_carried_in_the_order_they_came() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second, lane) = {
        let spool = open(folder.path());
        spool.queue(call("one", "1")).await.unwrap();
        spool.answered(&call_id("H57.101", "one"), &admitted("D")).await.unwrap();
        take_over(&spool, &delivery("D", 2)).await.unwrap();
        let job = spool.parcels(0, |lanes| lanes.take(std::time::Instant::now())).unwrap();
        spool.parcels(0, |lanes| lanes.done(&job.lane));
        (job.item, parcels(&spool), job.lane)
    };
    assert_eq!(first, Parcel::Outcome(call_id("H57.101", "one")));
    assert!(matches!(second[..], [Parcel::Delivery(_)]));

    // Told, and then a restart: only the delivery is left.
    let spool = open(folder.path());
    let job = spool.parcels(0, |lanes| lanes.take(std::time::Instant::now())).unwrap();
    assert_eq!((job.item, job.lane.clone()), (first, lane));
    spool.told(&call_id("H57.101", "one")).await.unwrap();
    drop(spool);
    assert_eq!(parcels(&open(folder.path())), second);
}

#[tokio::test]
async fn a_spool_that_is_tidied_up_keeps_what_is_unfinished_in_order_and_forgets_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    {
        let spool = open(folder.path());
        spool.queue(entry("a1", "A")).await.unwrap();
        // Six records for each round trip, so that what is finished is far more than what is not.
        for number in 0..30 {
            let key = format!("done-{number}");
            let id = call_id("H57.101", &key);
            spool.queue(call(&key, "x")).await.unwrap();
            spool.answered(&id, &refused()).await.unwrap();
            spool.told(&id).await.unwrap();
            take_over(&spool, &delivery(&key, 1)).await.unwrap();
            let id = DeliveryId { party: "H57.101".into(), dossier: key.as_str().into(), sequence: 1 };
            spool.handed_over(&id).await.unwrap();
            spool.confirmed(&id).await.unwrap();
        }
        spool.queue(entry("a2", "A")).await.unwrap();
        take_over(&spool, &delivery("D", 7)).await.unwrap();
    }
    let nothing_kept = Options { keep_outcomes: Duration::ZERO, ..options(folder.path()) };
    let size = |folder: &Path| -> u64 {
        std::fs::read_dir(folder.join("journal")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    let before = size(folder.path());
    drop(Spool::open(&nothing_kept).unwrap());
    assert!(size(folder.path()) < before / 10, "{} of {before} bytes are left", size(folder.path()));

    let spool = Spool::open(&nothing_kept).unwrap();
    assert_eq!(waiting(&spool), ["a1"]);
    spool.outgoing(|lanes| lanes.done(&"A".into()));
    assert_eq!(waiting(&spool), ["a2"]);
    let [Parcel::Delivery(position)] = parcels(&spool)[..] else { panic!() };
    assert_eq!(spool.delivery(position).unwrap(), delivery("D", 7));
    assert!(spool.call(&call_id("H57.101", "done-1")).is_none());
    assert!(spool.begin_sending(&call_id("H57.101", "a1")).unwrap().is_some());
}

#[tokio::test]
async fn an_interrupted_tidying_up_changes_nothing() {
    let mut written = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        {
            let spool = open(folder.path());
            spool.queue(call("done", "x")).await.unwrap();
            spool.answered(&call_id("H57.101", "done"), &refused()).await.unwrap();
            spool.queue(entry("a1", "A")).await.unwrap();
            spool.queue(entry("a2", "A")).await.unwrap();
            for sequence in 1..=2 {
                take_over(&spool, &delivery("D", sequence)).await.unwrap();
            }
            let id = DeliveryId { party: "H57.101".into(), dossier: "D".into(), sequence: 1 };
            spool.handed_over(&id).await.unwrap();
        }
        let all = {
            // As restating does it, but without the mark at the end.
            let files = Arc::new(RealFiles::open(folder.path().join("journal")).unwrap());
            let Opened { mut writer, reader, .. } =
                lgsp_journal::open(files, lgsp_journal::Options::default()).unwrap();
            let key = SpoolKey::open(folder.path()).unwrap();
            let (state, _) = replay(&reader, &key, &options(folder.path()).places, Position::FIRST).unwrap();
            let needed = state.needed(0);
            let records: Vec<_> = needed.iter().map(|position| reader.read(*position).unwrap()).collect();
            writer.append(&records[..written]).unwrap();
            records.len()
        };
        let spool = open(folder.path());
        assert_eq!((spool.counts().waiting, spool.counts().refused), (2, 1), "{written} records");
        assert_eq!((spool.counts().not_handed_over, spool.counts().unconfirmed), (1, 1), "{written} records");
        assert_eq!(waiting(&spool), ["a1"]);
        if written == all {
            break;
        }
        written += 1;
    }
    assert_eq!(written, 6);
}

#[tokio::test]
async fn a_key_whose_answer_was_forgotten_can_be_used_again_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { keep_outcomes: Duration::ZERO, places: HashMap::new(), ..options(folder.path()) };
    {
        let spool = Spool::open(&options).unwrap();
        spool.queue(call("one", "1")).await.unwrap();
        spool.answered(&call_id("H57.101", "one"), &refused()).await.unwrap();
        // The clock has to move on by a millisecond for something to be older than now.
        let answered_at = now_ms();
        while now_ms() <= answered_at {
            tokio::task::yield_now().await;
        }
        spool.tidy_up();
        assert!(spool.call(&call_id("H57.101", "one")).is_none());
        spool.queue(call("one", "other content")).await.unwrap();
    }
    let spool = Spool::open(&options).unwrap();
    assert_eq!(waiting(&spool), ["one"]);
    assert_eq!(spool.begin_sending(&call_id("H57.101", "one")).unwrap().unwrap().body, "other content");
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

fn delivery_named(dossier: &str, sequence: u32) -> DeliveryId {
    DeliveryId { party: "H57.101".into(), dossier: dossier.into(), sequence }
}

#[tokio::test]
async fn what_goes_back_takes_the_later_ones_along_and_is_told_until_the_gateway_knows_over_any_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = delivery_named("D-1", 1);
    {
        let spool = open(folder.path());
        for (dossier, sequence) in [("D-1", 1), ("D-2", 1), ("D-1", 2)] {
            take_over(&spool, &delivery(dossier, sequence)).await.unwrap();
        }
        spool.give_back(&first, "AGENCY_REFUSED", true).await.unwrap();
    }
    for restate_after in [100, 0] {
        let spool = Spool::open(&Options { restate_after, ..options(folder.path()) }).unwrap();
        let [returned] = &spool.returned(Position::ORIGIN)[..] else { panic!("one goes back") };
        assert_eq!((&returned.id, &*returned.reason, returned.permanent), (&first, "AGENCY_REFUSED", true));
        assert_eq!(spool.pending("H57.101", 9).len(), 1, "only the other dossier is left");
        for sequence in [1, 2, 3] {
            let refused = take_over(&spool, &delivery("D-1", sequence)).await;
            assert!(matches!(refused, Err(TakeOverError::Returning(_))), "{refused:?}");
        }
    }
    {
        let spool = open(folder.path());
        spool.given_back(&first).await.unwrap();
    }
    let spool = open(folder.path());
    assert_eq!(spool.returned(Position::ORIGIN), []);
    for sequence in [1, 2] {
        assert!(matches!(take_over(&spool, &delivery("D-1", sequence)).await, Ok(Stage::TakenOver(_))));
    }
    assert_eq!(spool.pending("H57.101", 9).len(), 3);
}

#[tokio::test]
async fn what_is_being_taken_over_while_an_earlier_one_goes_back_goes_back_too() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    take_over(&spool, &delivery("D-1", 1)).await.unwrap();
    let (one, two) = (delivery_named("D-1", 1), delivery("D-1", 2));
    // It has its place in the journal, and nobody waits for its sync yet.
    let taking = spool.take_over(&two).await.unwrap();
    let (returned, taken) = tokio::join!(spool.give_back(&one, "AGENCY_REFUSED", true), taking);
    returned.unwrap();
    drop(taken);
    assert_eq!(spool.pending("H57.101", 9), []);
    assert!(matches!(take_over(&spool, &two).await, Err(TakeOverError::Returning(_))));
}

/// Everything that would be sent, each after what is before it in its lane has an answer.
fn drain(spool: &Spool) -> Vec<String> {
    let mut sent = Vec::new();
    spool.outgoing(|lanes| {
        while let Some(job) = lanes.take(std::time::Instant::now()) {
            sent.push(job.item.key.to_string());
            lanes.done(&job.lane);
        }
    });
    sent
}

#[tokio::test]
async fn what_was_admitted_in_an_earlier_epoch_is_sent_again_before_anything_new_about_its_dossier() {
    let folder = tempfile::tempdir().unwrap();
    let (one, first, second) = (call("one", "1"), entry("first", "D-1"), entry("second", "D-1"));
    let (refused_one, new) = (call("refused", "2"), entry("new", "D-1"));
    {
        let spool = open(folder.path());
        spool.epoch_seen(1).await.unwrap();
        for (call, outcome) in
            [(&one, admitted("D-1")), (&first, admitted("D-1")), (&refused_one, refused()), (&second, admitted("D-1"))]
        {
            spool.queue(call.clone()).await.unwrap();
            spool.answered(&call.id, &outcome).await.unwrap();
            spool.told(&call.id).await.unwrap();
        }
        assert!(drain(&spool).len() == 4, "each was to be sent once");
        spool.queue(new.clone()).await.unwrap();
        spool.epoch_seen(1).await.unwrap();
        assert_eq!(spool.counts().waiting, 1, "the same epoch changes nothing");
        spool.epoch_seen(2).await.unwrap();
        assert_eq!(drain(&spool), ["one", "first", "second", "new"]);
        assert!(matches!(spool.call(&one.id).unwrap().standing, Standing::Answered(_)), "it still holds");
    }
    // A restart, and a tidying up at the start, change nothing.
    for restate_after in [100, 0] {
        let spool = Spool::open(&Options { restate_after, ..options(folder.path()) }).unwrap();
        assert_eq!((spool.epoch(), spool.counts().waiting), (2, 4));
        assert_eq!(drain(&spool), ["one", "first", "second", "new"]);
        let earlier = spool.begin_sending(&one.id).unwrap().unwrap().earlier.unwrap();
        assert_eq!(v1::Receipt::decode(earlier.receipt).unwrap().dossier_code, "D-1");
        assert!(spool.begin_sending(&new.id).unwrap().unwrap().earlier.is_none());
    }
    {
        // Admitted again, it is nothing new for the agency; refused now, it is.
        let spool = open(folder.path());
        spool.answered(&one.id, &admitted("D-1")).await.unwrap();
        spool.answered(&first.id, &refused()).await.unwrap();
        assert_eq!(parcels(&spool), [Parcel::Outcome(first.id.clone())]);
    }
    let spool = open(folder.path());
    assert_eq!((spool.counts().waiting, drain(&spool)), (2, vec!["second".to_owned(), "new".to_owned()]));
}

fn admitted_as(dossier: &str, sequence: u32) -> Outcome {
    let Outcome::Admitted(mut response) = admitted(dossier) else { unreachable!() };
    let signed = response.receipt.as_mut().unwrap();
    let receipt = v1::Receipt { sequence, ..v1::Receipt::decode(&signed.receipt[..]).unwrap() };
    signed.receipt = receipt.encode_to_vec().into();
    Outcome::Admitted(response)
}

#[tokio::test]
async fn what_was_answered_out_of_order_is_sent_again_in_the_order_of_the_dossiers_events() {
    let folder = tempfile::tempdir().unwrap();
    let (opened, accepted) = (call("opened", "1"), entry("accepted", "D-1"));
    {
        let spool = open(folder.path());
        spool.epoch_seen(1).await.unwrap();
        spool.queue(opened.clone()).await.unwrap();
        spool.queue(accepted.clone()).await.unwrap();
        spool.answered(&accepted.id, &admitted_as("D-1", 2)).await.unwrap();
        spool.answered(&opened.id, &admitted_as("D-1", 1)).await.unwrap();
        let _ = drain(&spool);
        spool.epoch_seen(2).await.unwrap();
        assert_eq!(drain(&spool), ["opened", "accepted"]);
        // The first is back when the gateway is restored once more.
        spool.answered(&opened.id, &admitted_as("D-1", 1)).await.unwrap();
        spool.epoch_seen(3).await.unwrap();
    }
    for restate_after in [100, 0] {
        let spool = Spool::open(&Options { restate_after, ..options(folder.path()) }).unwrap();
        assert_eq!(drain(&spool), ["opened", "accepted"]);
    }
}

#[tokio::test]
async fn what_was_admitted_before_any_epoch_was_seen_is_sent_again_unless_it_is_the_first() {
    for (epoch, sent) in [(1, 0), (2, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(folder.path());
        let one = call("one", "1");
        spool.queue(one.clone()).await.unwrap();
        spool.answered(&one.id, &admitted("D-1")).await.unwrap();
        let _ = drain(&spool);
        spool.epoch_seen(epoch).await.unwrap();
        assert_eq!(drain(&spool).len(), sent, "epoch {epoch}");
    }
}

#[tokio::test]
async fn a_new_epoch_lets_go_of_what_was_not_handed_over_and_says_nothing_of_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let id = |sequence| DeliveryId::from(delivery("D-1", sequence).r#ref.as_ref().unwrap());
    {
        let spool = open(folder.path());
        spool.epoch_seen(1).await.unwrap();
        for sequence in 1..=3 {
            take_over(&spool, &event("D-1", sequence, 7)).await.unwrap();
        }
        spool.handed_over(&id(1)).await.unwrap();
        spool.give_back(&id(3), "AGENCY_REFUSED", true).await.unwrap();
        spool.epoch_seen(2).await.unwrap();
        // It was being posted just then.
        spool.handed_over(&id(2)).await.unwrap();
    }
    for restate_after in [100, 0] {
        let spool = Spool::open(&Options { restate_after, ..options(folder.path()) }).unwrap();
        assert_eq!(spool.counts().not_handed_over, 0);
        assert!(spool.unconfirmed(Position::ORIGIN, 10).is_empty(), "by that name the gateway may mean another event");
        assert!(spool.returned(Position::ORIGIN).is_empty());
        assert_eq!(spool.stage(&id(2)), None);
    }
    let spool = open(folder.path());
    assert!(matches!(take_over(&spool, &event("D-1", 1, 7)).await.unwrap(), Stage::HandedOver { .. }), "it is known");
    for sequence in 2..=3 {
        assert!(matches!(take_over(&spool, &event("D-1", sequence, 7)).await.unwrap(), Stage::TakenOver(_)));
    }
}

fn event(dossier: &str, sequence: u32, body: u8) -> v1::Delivery {
    let event = v1::Event { body_sha256: vec![body; 32].into(), ..v1::Event::default() };
    let event = v1::RecordedEvent { event: Some(event), ..v1::RecordedEvent::default() };
    v1::Delivery { event: Some(event), ..delivery(dossier, sequence) }
}

#[tokio::test]
async fn another_event_under_a_known_name_is_a_delivery_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let id = DeliveryId::from(delivery("D-1", 2).r#ref.as_ref().unwrap());
    {
        let spool = open(folder.path());
        take_over(&spool, &event("D-1", 2, 7)).await.unwrap();
        spool.handed_over(&id).await.unwrap();
        spool.confirmed(&id).await.unwrap();
    }
    for restate_after in [100, 0] {
        let spool = Spool::open(&Options { restate_after, ..options(folder.path()) }).unwrap();
        let again = take_over(&spool, &event("D-1", 2, 7)).await.unwrap();
        assert!(matches!(again, Stage::HandedOver { .. }), "the very same was handed over: {again:?}");
        assert_eq!(spool.delivery_name(&id), "H57.101/D-1/2");
    }
    let position = {
        let spool = open(folder.path());
        let Stage::TakenOver(first) = take_over(&spool, &event("D-1", 2, 8)).await.unwrap() else { panic!("not new") };
        // Restored once more, and yet another one stands there: the one in between never happened.
        let Stage::TakenOver(second) = take_over(&spool, &event("D-1", 2, 9)).await.unwrap() else { panic!("not new") };
        assert!(second > first);
        assert_eq!(spool.pending("H57.101", 10), [second]);
        second
    };
    let spool = open(folder.path());
    assert_eq!(spool.pending("H57.101", 10), [position]);
    assert_eq!(spool.delivery_name(&id), "H57.101/D-1/2~0909090909090909");
    assert_eq!(parcels(&spool), [Parcel::Delivery(position)]);
}

const DAY: lgsp_proto::types::Date = lgsp_proto::types::Date::constant(2025, 7, 14);

/// A block of three numbers for H57.101 in the name of H57.12.
fn block(first: u32) -> v1::NumberBlock {
    v1::NumberBlock { authority: "H57.12".into(), day: DAY.to_string(), first, count: 3 }
}

fn desk() -> PartyId {
    "H57.101".parse().unwrap()
}

fn take(spool: &Spool) -> Option<String> {
    let number = spool.take_number(&desk(), &"H57.12".parse().unwrap(), DAY)?;
    Some(format!("H57.12-250714-{number:04}"))
}

/// Everything that is left to give out.
fn left(spool: &Spool) -> Vec<String> {
    std::iter::from_fn(|| take(spool)).collect()
}

/// Takes a dossier in as a desk without a line does; gives the code, or the provisional number when there was none.
async fn take_in(spool: &Spool, key: &str) -> String {
    let code = take(spool);
    let provisional = if code.is_none() { spool.take_provisional(&desk(), DAY) } else { String::new() };
    let intake = stored::OfflineIntake {
        dossier_code: code.clone().unwrap_or_default(),
        provisional_number: provisional.clone(),
        competent_authority: "H57.12".into(),
        ..stored::OfflineIntake::default()
    };
    let body = v1::Submission { request_key: key.into(), ..v1::Submission::default() }.encode_to_vec().into();
    spool.queue(NewCall { offline: Some(intake), body, ..call(key, key) }).await.unwrap();
    code.unwrap_or(provisional)
}

#[tokio::test]
async fn a_number_that_was_told_is_never_told_again_wherever_the_crash() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { max_outgoing: NonZeroUsize::new(100).unwrap(), ..options(folder.path()) };
    let disk = Disk::new();
    let mut told: Vec<(usize, String)> = Vec::new();
    let mut cuts = Vec::new();
    {
        let spool = Spool::open_over(&options, disk.files()).unwrap();
        spool.leased(&desk(), 1, &[block(5)]).await.unwrap();
        for key in ["1", "2", "3", "4"] {
            let number = take_in(&spool, key).await;
            told.push((disk.operations(), number));
            cuts.push((told.len(), disk.power_cuts()));
            if key == "2" {
                spool.leased(&desk(), 1, &[block(5), block(20)]).await.unwrap();
            }
        }
    }
    let before: Vec<_> = told.iter().map(|(_, number)| number.as_str()).collect();
    assert_eq!(before, ["H57.12-250714-0005", "H57.12-250714-0006", "H57.12-250714-0007", "H57.12-250714-0020"]);
    let check = async |disk: &Disk, told: &[(usize, String)], what: &str| {
        let spool = Spool::open_over(&options, disk.files()).unwrap();
        // The gateway lists what it leased, whatever became of it here.
        spool.leased(&desk(), 1, &[block(5), block(20)]).await.unwrap();
        let again = left(&spool);
        assert!(told.iter().all(|(_, number)| !again.contains(number)), "{what}: {told:?} and again {again:?}");
        assert!(spool.counts().offline_waiting >= told.len(), "{what}");
    };
    for operations in 0..=disk.operations() {
        let told = told.iter().filter(|(at, _)| *at <= operations).cloned().collect::<Vec<_>>();
        check(&disk.killed_after(operations), &told, &format!("killed after {operations}")).await;
    }
    for (count, cuts) in cuts {
        for cut in cuts {
            check(&cut, &told[..count], &format!("power cut after {count}")).await;
        }
    }
}

#[tokio::test]
async fn a_provisional_number_is_unique_over_restarts_and_tidying_up() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { keep_outcomes: Duration::ZERO, restate_after: 0, places: HashMap::new(), ..options(folder.path()) };
    let mut given = std::collections::BTreeSet::new();
    for key in ["1", "2", "3", "4"] {
        let spool = Spool::open(&options).unwrap();
        let number = take_in(&spool, key).await;
        assert!(number.starts_with("TN-H57.101-250714-") && number.ends_with(&format!("-{key:0>4}")), "{number}");
        assert!(given.insert(number));
        spool.answered(&call_id("H57.101", key), &admitted("H57.12-250714-0001")).await.unwrap();
    }
}

#[tokio::test]
async fn tidying_up_keeps_how_far_numbers_were_used_wherever_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Options { places: HashMap::new(), keep_outcomes: Duration::ZERO, ..options(folder.path()) };
    let disk = Disk::new();
    {
        let spool = Spool::open_over(&kept, disk.files()).unwrap();
        spool.leased(&desk(), 7, &[block(5)]).await.unwrap();
        for (key, outcome) in [("1", admitted("H57.12-250714-0005")), ("2", refused())] {
            take_in(&spool, key).await;
            spool.answered(&call_id("H57.101", key), &outcome).await.unwrap();
        }
        // Much that is finished, so that there is something to tidy up.
        for number in 0..20 {
            let key = format!("done-{number}");
            spool.queue(call(&key, "x")).await.unwrap();
            spool.answered(&call_id("H57.101", &key), &refused()).await.unwrap();
        }
    }
    let tidying = Options { restate_after: 1, ..kept };
    let disk = disk.killed();
    drop(Spool::open_over(&tidying, disk.files()).unwrap());
    assert!(disk.operations() > 0);
    let check = |disk: &Disk, what: &str| {
        let spool = Spool::open_over(&tidying, disk.files()).unwrap();
        assert_eq!((spool.counts().exceptions, spool.counts().admitted), (1, 0), "{what}");
        assert_eq!(spool.shared.state().numbers.epoch(), 7, "{what}");
        assert_eq!(left(&spool), ["H57.12-250714-0007"], "{what}");
    };
    for operations in 0..=disk.operations() {
        check(&disk.killed_after(operations), &format!("killed after {operations}"));
    }
    disk.power_cuts().iter().for_each(|cut| check(cut, "power cut"));
}

#[tokio::test]
async fn a_number_given_in_vain_stays_listed_until_a_clerk_has_worked_it_off() {
    let folder = tempfile::tempdir().unwrap();
    let kept =
        Options { keep_outcomes: Duration::ZERO, restate_after: 0, places: HashMap::new(), ..options(folder.path()) };
    let id = call_id("H57.101", "1");
    {
        let spool = Spool::open(&kept).unwrap();
        spool.leased(&desk(), 1, &[block(5)]).await.unwrap();
        take_in(&spool, "1").await;
        spool.answered(&id, &refused()).await.unwrap();
    }
    let handling = |note: &str, replaced_by: Option<&str>| Handling {
        actor: "can.bo".parse().unwrap(),
        note: note.to_owned(),
        replaced_by: replaced_by.map(|key| key.parse().unwrap()),
    };
    {
        // Its time is long over, and it was tidied up meanwhile.
        let spool = Spool::open(&kept).unwrap();
        spool.tidy_up();
        let listed = spool.exceptions(&desk(), 0, false, 10).unwrap();
        let [exception] = &listed[..] else { panic!("{}", listed.len()) };
        assert_eq!(exception.intake.dossier_code, "H57.12-250714-0005");
        assert!(exception.handled.is_none());
        assert!(spool.exceptions(&"H57.12".parse().unwrap(), 0, true, 10).unwrap().is_empty());
        assert!(spool.exceptions(&desk(), exception.place, true, 10).unwrap().is_empty());

        let unknown = call_id("H57.101", "2");
        assert_eq!(spool.handle_exception(&unknown, &handling("x", None)).await, Err(HandleError::Unknown));
        let replaced = handling("x", Some("2"));
        assert_eq!(spool.handle_exception(&id, &replaced).await, Err(HandleError::NoSuchReplacement));
        spool.queue(call("2", "2")).await.unwrap();
        let replaced = handling("đã nộp lại", Some("2"));
        spool.handle_exception(&id, &replaced).await.unwrap();
        spool.handle_exception(&id, &replaced).await.unwrap();
        assert_eq!(spool.handle_exception(&id, &handling("khác", None)).await, Err(HandleError::Already));
        assert_eq!(spool.counts().exceptions, 0);
    }
    // Worked off, it has its time like any outcome. The number stays used.
    let spool = Spool::open(&Options { keep_outcomes: Duration::from_secs(3600), ..kept }).unwrap();
    let [exception] = &spool.exceptions(&desk(), 0, true, 10).unwrap()[..] else { panic!() };
    let handled = exception.handled.as_ref().unwrap();
    assert_eq!((&*handled.note, &*handled.replaced_by_request_key), ("đã nộp lại", "2"));
    assert_eq!(left(&spool), ["H57.12-250714-0006", "H57.12-250714-0007"]);
}

#[tokio::test]
async fn what_was_taken_in_without_a_line_goes_in_order_with_what_was_said_about_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { max_outgoing: NonZeroUsize::new(100).unwrap(), ..options(folder.path()) };
    {
        let spool = Spool::open(&options).unwrap();
        spool.leased(&desk(), 1, &[block(5)]).await.unwrap();
        let code = take_in(&spool, "1").await;
        spool.queue(entry("1-entry", &code)).await.unwrap();
        take_in(&spool, "2").await;
        spool.queue(entry("1-later", &code)).await.unwrap();
        spool.queue(entry("other", "H57.12-250714-9999")).await.unwrap();
        spool.queue(call("online", "x")).await.unwrap();
    }
    // A refusal does not block the lane, and entries stay behind each other when their submission is through.
    let spool = Spool::open(&options).unwrap();
    let lane = "H57.101//offline".into();
    assert_eq!(waiting(&spool), ["1", "other", "online"]);
    for (key, next) in [("1", "1-entry"), ("1-entry", "2"), ("2", "1-later")] {
        spool.answered(&call_id("H57.101", key), &refused()).await.unwrap();
        spool.outgoing(|lanes| lanes.done(&lane));
        assert_eq!(waiting(&spool), [next]);
    }
    // Then the dossier is one like any other.
    spool.answered(&call_id("H57.101", "1-later"), &refused()).await.unwrap();
    spool.queue(entry("1-last", "H57.12-250714-0005")).await.unwrap();
    assert_eq!(waiting(&spool), ["1-last"]);
}
