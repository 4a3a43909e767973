//! What the gateway delivers.

use super::*;

fn delivery_named(dossier: &str, sequence: u32) -> DeliveryId {
    DeliveryId { party: "H57.101".into(), dossier: dossier.into(), sequence }
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
        hand_over(&spool, &id).await;
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
