//! An inbox and its streams.

use super::*;
use crate::engine::testing::{BINH, House};

const ME: StreamId = StreamId(1);
const OTHER: StreamId = StreamId(2);

fn code(number: u32) -> DossierCode {
    format!("H57.101-250714-{number:04}").parse().unwrap()
}

fn state(deliveries: &[(u64, u32, u32)]) -> State {
    let mut state = State::default();
    for (position, dossier, sequence) in deliveries {
        state.load(Waiting { position: InboxPosition(*position), code: code(*dossier), sequence: *sequence });
    }
    state
}

fn leased(state: &mut State, stream: StreamId) -> Option<(DossierCode, u32)> {
    let until = Instant::now() + Duration::from_secs(60);
    state.lease(stream, until).map(|(code, queued)| (code, queued.sequence))
}

#[tokio::test]
async fn a_dossiers_next_delivery_waits_for_the_one_before() {
    let mut state = state(&[(1, 1, 1), (2, 1, 2), (3, 2, 1)]);
    assert_eq!(leased(&mut state, ME), Some((code(1), 1)));
    assert_eq!(leased(&mut state, ME), Some((code(2), 1)));
    assert_eq!(leased(&mut state, ME), None);
    state.settle(&code(1), 1);
    assert_eq!(leased(&mut state, ME), Some((code(1), 2)));
}

#[tokio::test]
async fn a_stale_lease_cannot_acknowledge() {
    let mut state = state(&[(1, 1, 1)]);
    let _ = leased(&mut state, ME);
    let later = Instant::now() + Duration::from_secs(120);
    assert_eq!(state.sweep(later), 1);
    assert_eq!(leased(&mut state, OTHER), Some((code(1), 1)));
    assert!(!state.begin_settling(ME, &code(1), 1));
    assert!(state.begin_settling(OTHER, &code(1), 1));
}

/// Has `stream` listen without any credit left.
fn listening(state: &mut State, stream: StreamId) -> Arc<Line> {
    let line = Arc::new(Line::default());
    state.listeners.push((stream, Arc::clone(&line)));
    line
}

#[tokio::test]
async fn a_stream_gets_its_credit_back_whoever_ends_its_lease() {
    let mut state = state(&[(1, 1, 1), (2, 2, 1), (3, 3, 1)]);
    let (mine, others) = (listening(&mut state, ME), listening(&mut state, OTHER));
    for _ in 0..3 {
        let _ = leased(&mut state, ME);
    }
    // The other stream says that the agency has it, which needs no lease; then it sees that time is over; then this
    // stream declines.
    state.settle(&code(1), 1);
    assert_eq!(*lock(&mine.credit), 1);
    let until = Instant::now() + Duration::from_secs(300);
    state.decline(ME, &code(2), 1, until);
    assert_eq!(*lock(&mine.credit), 2);
    assert_eq!(state.sweep(Instant::now() + Duration::from_secs(120)), 1);
    assert_eq!(*lock(&mine.credit), 3);
    // Declined, it cost nothing any more, and what was given back belongs to nobody.
    assert_eq!(state.sweep(until), 0);
    assert_eq!((*lock(&mine.credit), *lock(&others.credit)), (3, 0));
}

fn listen(inboxes: &Inboxes, party: &PartyId, stream: StreamId) -> Arc<Inbox> {
    inboxes.listen(std::slice::from_ref(party), stream, &Arc::default()).unwrap().remove(0)
}

#[test]
fn a_party_with_too_many_streams_gets_no_more_and_loses_none() {
    let inboxes = Inboxes::new(Duration::from_secs(60), Duration::from_secs(60));
    let (full, free): (PartyId, PartyId) = ("H57.101".parse().unwrap(), "H57.102".parse().unwrap());
    let streams: Vec<Arc<Inbox>> = (0..64).map(|number| listen(&inboxes, &full, StreamId(number))).collect();
    let both = [free.clone(), full.clone()];
    let refused = inboxes.listen(&both, StreamId(64), &Arc::default()).unwrap_err();
    assert_eq!(refused.reason(), Reason::Overloaded);
    assert_eq!((inboxes.streams_of(&full), inboxes.streams_of(&free)), (64, 0), "all or none");
    inboxes.leave(&streams[0], StreamId(0));
    assert_eq!(inboxes.listen(&both, StreamId(64), &Arc::default()).unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_being_acknowledged_goes_to_nobody_else_until_that_is_written() {
    let inboxes = Inboxes::new(Duration::from_secs(60), Duration::from_secs(60));
    let party: PartyId = "H57.101".parse().unwrap();
    let name = DeliveryName { party: party.clone(), code: code(1), sequence: 1 };
    let waiting = || Waiting { position: InboxPosition(1), code: code(1), sequence: 1 };
    for durable in [false, true] {
        let inbox = listen(&inboxes, &party, ME);
        lock(&inbox.state).load(waiting());
        let _ = leased(&mut lock(&inbox.state), ME);
        assert!(lock(&inbox.state).begin_settling(ME, &code(1), 1));
        inboxes.leave(&inbox, ME);
        let next = listen(&inboxes, &party, OTHER);
        assert_eq!(lock(&next.state).sweep(Instant::now() + Duration::from_secs(120)), 0);
        assert_eq!(leased(&mut lock(&next.state), OTHER), None, "it is on its way to the disk");
        inboxes.settled(&inbox, ME, std::slice::from_ref(&name), durable);
        let again = leased(&mut lock(&next.state), OTHER);
        assert_eq!(again, (!durable).then_some((code(1), 1)));
        inboxes.leave(&next, OTHER);
        assert!(lock(&inboxes.parties).is_empty());
    }
}

#[tokio::test]
async fn a_late_acknowledgement_lets_go_of_no_later_inbox() {
    let inboxes = Inboxes::new(Duration::from_secs(60), Duration::from_secs(60));
    let party: PartyId = "H57.101".parse().unwrap();
    let name = DeliveryName { party: party.clone(), code: code(1), sequence: 1 };
    // Handing over needs no lease, so nothing keeps the first inbox.
    let before = listen(&inboxes, &party, ME);
    inboxes.leave(&before, ME);
    let _after = listen(&inboxes, &party, OTHER);
    inboxes.settled(&before, ME, &[name], true);
    assert_eq!(inboxes.streams_of(&party), 1);
}

#[tokio::test]
async fn what_is_given_back_keeps_its_place_and_counts_its_attempts() {
    let mut state = state(&[(1, 1, 1), (2, 2, 1)]);
    let _ = leased(&mut state, ME);
    state.release(&code(1));
    let until = Instant::now() + Duration::from_secs(60);
    let (again, queued) = state.lease(ME, until).unwrap();
    assert_eq!((again, queued.attempts), (code(1), 2));
}

#[tokio::test]
async fn a_stream_gets_and_takes_over_nothing_more_once_its_system_may_not_act_for_the_party() {
    let house = House::open().await;
    let binh: PartyId = BINH.parse().unwrap();
    for number in [1, 2] {
        house.admit(number, |admission| admission.event.recipients = vec![binh.clone()]).await;
    }
    let peer = house.peer("mot-cua-binh");
    let stream = house.engine.open_inbox(&peer, std::slice::from_ref(&binh), 8).unwrap();
    let first = stream.next().await.unwrap().recorded.event;
    house.change_registry("systems.toml", "acts_for = [\"H99.102\"]", "acts_for = [\"H99.104\"]").await;

    let name = DeliveryName { party: binh.clone(), code: first.dossier_code.parse().unwrap(), sequence: 1 };
    let taken_over = stream.acknowledge(Stage::TakenOver, vec![name]).await;
    assert_eq!(taken_over.unwrap_err().reason(), Reason::ActsForMissing);
    assert_eq!(stream.next().await.unwrap_err().reason(), Reason::ActsForMissing);
    assert_eq!(house.engine.store().backlog(&binh).await.unwrap().waiting, 2);
}

#[tokio::test]
async fn a_stream_that_ends_while_its_acknowledgement_is_written_keeps_nothing_from_the_next() {
    let house = House::open().await;
    let binh: PartyId = BINH.parse().unwrap();
    for number in [1, 2] {
        house.admit(number, |admission| admission.event.recipients = vec![binh.clone()]).await;
    }
    let peer = house.peer("mot-cua-binh");
    let open = || house.engine.open_inbox(&peer, std::slice::from_ref(&binh), 1).unwrap();
    let (stream, next) = (open(), open());
    let code: DossierCode = stream.next().await.unwrap().recorded.event.dossier_code.parse().unwrap();
    let name = DeliveryName { party: binh.clone(), code: code.clone(), sequence: 1 };
    {
        let acknowledging = stream.acknowledge(Stage::TakenOver, vec![name.clone()]);
        tokio::pin!(acknowledging);
        // Begun, and then given up by whoever waited for it.
        tokio::select! {
            biased;
            _ = &mut acknowledging => panic!("a sync takes longer than nothing"),
            () = std::future::ready(()) => {}
        }
    }
    drop(stream);
    let other = next.next().await.unwrap();
    assert_ne!(other.recorded.event.dossier_code, code.as_str());
    house.engine.stop().await;
    assert!(lock(&next.inboxes[0].state).queues.keys().all(|owed| *owed != code));
}
