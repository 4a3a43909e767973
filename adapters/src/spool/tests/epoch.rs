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
