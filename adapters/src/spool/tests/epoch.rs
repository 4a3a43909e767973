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
async fn after_a_restore_what_is_here_is_handed_over_and_nothing_is_said_of_it_until_it_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let id = |sequence| DeliveryId::from(delivery("D-1", sequence).r#ref.as_ref().unwrap());
    {
        let spool = open(folder.path());
        spool.epoch_seen(1).await.unwrap();
        for sequence in 1..=3 {
            take_over(&spool, &event("D-1", sequence, 7)).await.unwrap();
        }
        hand_over(&spool, &id(1)).await;
        spool.give_back(&id(3), "AGENCY_REFUSED", true).await.unwrap();
        spool.epoch_seen(2).await.unwrap();
    }
    for restate_after in [100, 0] {
        let spool = Spool::open(&Options { restate_after, ..options(folder.path()) }).unwrap();
        assert_eq!(spool.counts().not_handed_over, 1, "the gateway may never deliver it again");
        assert!(spool.unconfirmed(Position::ORIGIN, 10).is_empty(), "by that name the gateway may mean another event");
        assert!(spool.returned(Position::ORIGIN).is_empty());
    }
    {
        // Handed over before the gateway delivers it again, it is known then.
        let spool = open(folder.path());
        hand_over(&spool, &id(2)).await;
        assert!(spool.unconfirmed(Position::ORIGIN, 10).is_empty());
        for sequence in 1..=2 {
            let again = take_over(&spool, &event("D-1", sequence, 7)).await.unwrap();
            assert!(matches!(again, Stage::HandedOver { .. }), "{again:?}");
        }
        assert!(matches!(take_over(&spool, &event("D-1", 3, 7)).await.unwrap(), Stage::TakenOver(_)));
        spool.epoch_seen(3).await.unwrap();
        // Delivered again before it is handed over, the gateway is told.
        assert!(matches!(take_over(&spool, &event("D-1", 3, 7)).await.unwrap(), Stage::TakenOver(_)));
        assert_eq!(spool.counts().not_handed_over, 1);
    }
    let spool = Spool::open(&Options { restate_after: 0, ..options(folder.path()) }).unwrap();
    hand_over(&spool, &id(3)).await;
    assert_eq!(spool.unconfirmed(Position::ORIGIN, 10).len(), 1);
}

/// Calls of which nothing is left to be done, so that a tidying up is worth while.
async fn finish(spool: &Spool, count: u32) {
    for number in 0..count {
        let call = call(&format!("finished-{number}"), "x");
        spool.queue(call.clone()).await.unwrap();
        spool.answered(&call.id, &refused()).await.unwrap();
        spool.told(&call.id).await.unwrap();
    }
}

/// A spool on a disk, where three of many calls are kept and were admitted before the gateway was restored. One event of the
/// inbox has taken the name of another.
async fn with_much_that_is_finished(folder: &Path, disk: &Disk) {
    let much = Options { keep_outcomes: Duration::ZERO, ..options(folder) };
    let spool = Spool::open_over(&much, disk.files()).unwrap();
    spool.epoch_seen(1).await.unwrap();
    finish(&spool, 30).await;
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
        assert!(second > first);
        spool.handed_over(&id, u64::from_be_bytes([7; 8])).await.unwrap();
        assert_eq!(spool.pending("H57.101", 10), [second], "the agency has the first one only");
        second
    };
    let spool = open(folder.path());
    assert_eq!(spool.pending("H57.101", 10), [second]);
    hand_over(&spool, &id).await;
    assert_eq!(spool.pending("H57.101", 10), []);
    assert_eq!(spool.delivery_name(&id), "H57.101/D-1/2~0808080808080808");
}

#[tokio::test]
async fn what_is_served_anew_keeps_its_place_and_what_is_not_is_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let tidied = Options { restate_after: 5, keep_outcomes: Duration::ZERO, ..options(folder.path()) };
    let id = |sequence| DeliveryId::from(delivery("D-1", sequence).r#ref.as_ref().unwrap());
    let places = {
        let spool = open(folder.path());
        spool.epoch_seen(1).await.unwrap();
        finish(&spool, 30).await;
        for sequence in 1..=3 {
            take_over(&spool, &event("D-1", sequence, 7)).await.unwrap();
        }
        let places = spool.pending("H57.101", 10);
        spool.epoch_seen(2).await.unwrap();
        // By their names the gateway may mean other events, so nothing is given back to it.
        spool.give_back(&id(2), "AGENCY_REFUSED", true).await.unwrap();
        assert_eq!(spool.pending("H57.101", 10), places);
        // The backup has the first one only.
        assert_eq!(take_over(&spool, &event("D-1", 1, 7)).await.unwrap(), Stage::TakenOver(places[0]));
        let deliveries = parcels(&spool).into_iter().filter(|parcel| matches!(parcel, Parcel::Delivery(_)));
        assert_eq!(deliveries.collect::<Vec<_>>(), [Parcel::Delivery(places[0])], "one of the dossier at a time");
        places
    };
    for options in [&options(folder.path()), &tidied, &tidied] {
        let spool = Spool::open(options).unwrap();
        let order: Vec<u32> = spool.pending("H57.101", 10).into_iter().map(|at| sequence(&spool, at)).collect();
        assert_eq!(order, [1, 2, 3]);
        assert_eq!(spool.counts().not_handed_over, places.len());
    }
    {
        let spool = open(folder.path());
        hand_over(&spool, &id(1)).await;
        hand_over(&spool, &id(2)).await;
        finish(&spool, 30).await;
    }
    for options in [&options(folder.path()), &tidied, &tidied] {
        let spool = Spool::open(options).unwrap();
        let told: Vec<_> = spool.unconfirmed(Position::ORIGIN, 10).into_iter().map(|(_, told)| told).collect();
        assert_eq!(told, [id(1)]);
        assert_eq!(spool.counts().not_handed_over, 1);
    }
}

fn sequence(spool: &Spool, position: Position) -> u32 {
    spool.delivery(position).unwrap().r#ref.unwrap().sequence
}
