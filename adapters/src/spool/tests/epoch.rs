//! What happens when the gateway was restored: it is sent what it may have lost, and events change their names.

use super::*;

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
    // A restart changes nothing.
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

/// A spool on a disk, where three of many calls are kept and were admitted before the gateway was restored. One event of the
/// inbox has taken the name of another.
async fn with_much_that_is_finished(folder: &Path, disk: &Disk) {
    let much = Options { keep_outcomes: Duration::ZERO, ..options(folder) };
    let spool = Spool::open_over(&much, disk.files()).unwrap();
    spool.epoch_seen(1).await.unwrap();
    for number in 0..30 {
        let call = call(&format!("finished-{number}"), "x");
        spool.queue(call.clone()).await.unwrap();
        spool.answered(&call.id, &refused()).await.unwrap();
        spool.told(&call.id).await.unwrap();
    }
    // The last one is so large that what is before it is written again on its own.
    let second = NewCall { body: vec![b'x'; 1 << 20].into(), ..entry("second", "D-1") };
    for call in [call("one", "1"), entry("first", "D-1"), second] {
        spool.queue(call.clone()).await.unwrap();
        spool.answered(&call.id, &admitted("D-1")).await.unwrap();
        spool.told(&call.id).await.unwrap();
    }
    take_over(&spool, &event("D-2", 1, 7)).await.unwrap();
    spool.epoch_seen(2).await.unwrap();
    take_over(&spool, &event("D-2", 1, 8)).await.unwrap();
}

fn still_to_be_sent_again(spool: &Spool) {
    assert_eq!((spool.epoch(), spool.counts().waiting), (2, 3));
    assert_eq!(drain(spool), ["one", "first", "second"]);
    let one = spool.begin_sending(&call_id("H57.101", "one")).unwrap().unwrap();
    assert!(one.earlier.is_some());
    let id = DeliveryId::from(event("D-2", 1, 8).r#ref.as_ref().unwrap());
    assert_eq!(spool.delivery_name(&id), "H57.101/D-2/1~0808080808080808");
}

#[tokio::test]
async fn a_tidying_up_wherever_it_stops_forgets_nothing_that_is_to_be_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new();
    with_much_that_is_finished(folder.path(), &disk).await;
    let before = disk.operations();
    let kept = |restate_after| Options { restate_after, keep_outcomes: Duration::ZERO, ..options(folder.path()) };
    still_to_be_sent_again(&Spool::open_over(&kept(5), disk.files()).unwrap());
    assert!(disk.operations() > before + 2, "nothing was tidied up");
    for operations in before..=disk.operations() {
        for crashed in disk.killed_after(operations).power_cuts() {
            // Once as it is, and once more tidied up.
            still_to_be_sent_again(&Spool::open_over(&kept(1_000), crashed.files()).unwrap());
            still_to_be_sent_again(&Spool::open_over(&kept(5), crashed.files()).unwrap());
        }
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
        hand_over(&spool, &id).await;
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

#[tokio::test]
async fn what_is_said_about_an_event_that_is_gone_settles_nothing_of_the_one_that_took_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let id = DeliveryId::from(delivery("D-1", 2).r#ref.as_ref().unwrap());
    let second = {
        let spool = open(folder.path());
        let Stage::TakenOver(first) = take_over(&spool, &event("D-1", 2, 7)).await.unwrap() else { panic!("not new") };
        let Stage::TakenOver(second) = take_over(&spool, &event("D-1", 2, 8)).await.unwrap() else { panic!("not new") };
        spool.handed_over(&id, first).await.unwrap();
        assert_eq!(spool.pending("H57.101", 10), [second], "the agency has the first one only");
        second
    };
    let spool = open(folder.path());
    assert_eq!(spool.pending("H57.101", 10), [second]);
    spool.handed_over(&id, second).await.unwrap();
    assert_eq!(spool.pending("H57.101", 10), []);
    assert_eq!(spool.delivery_name(&id), "H57.101/D-1/2~0808080808080808");
}
