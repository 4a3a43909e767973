//! An inbox and its streams.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::coming_back::Deciding;
use super::state::{Hopeless, Swept};
use super::*;
use crate::engine::clock::machine_now;
use crate::engine::parked::{Decision, ParkedQuery};
use crate::engine::testing::{BINH, House};
use crate::store::{Acknowledgement, Commit, Holder, InboxPosition, MAIN, Parked, ParkedAction, Stage, Waiting};

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

fn installation(instance: &str) -> Installation {
    Installation { system: "mot-cua-binh".into(), instance: instance.into() }
}

fn leased_by(state: &mut State, stream: StreamId, instance: &str) -> Option<(DossierCode, u32)> {
    let until = Instant::now() + Duration::from_secs(60);
    state.lease(stream, &installation(instance), until).map(|(code, queued)| (code, queued.sequence))
}

fn leased(state: &mut State, stream: StreamId) -> Option<(DossierCode, u32)> {
    leased_by(state, stream, MAIN)
}

/// Looks at the clock so much later, twice: what has expired rests first, and then flows again.
fn sweep(state: &mut State, later: u64) -> usize {
    let policy = Policy::default();
    let expired = state.sweep(&policy, Instant::now() + Duration::from_secs(later), 1.0).expired;
    let rested = Instant::now() + Duration::from_secs(later) + policy.pause;
    assert_eq!(state.sweep(&policy, rested, 1.0), Swept::default());
    expired
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
    assert_eq!(sweep(&mut state, 120), 1);
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
    state.rest(ME, &code(2), 1, until);
    assert_eq!(*lock(&mine.credit), 2);
    assert_eq!(sweep(&mut state, 120), 1);
    assert_eq!(*lock(&mine.credit), 3);
    // Declined, it cost nothing any more, and what was given back belongs to nobody.
    assert_eq!(sweep(&mut state, 300), 0);
    assert_eq!((*lock(&mine.credit), *lock(&others.credit)), (3, 0));
}

fn listen(inboxes: &Inboxes, party: &PartyId, stream: StreamId) -> Arc<Inbox> {
    inboxes.listen(std::slice::from_ref(party), stream, &Arc::default()).unwrap().remove(0)
}

#[test]
fn a_party_with_too_many_streams_gets_no_more_and_loses_none() {
    let inboxes = Inboxes::new(Policy::default());
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
    let inboxes = Inboxes::new(Policy::default());
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
        assert_eq!(sweep(&mut lock(&next.state), 120), 0);
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
    let inboxes = Inboxes::new(Policy::default());
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
    let (again, queued) = state.lease(ME, &installation(MAIN), until).unwrap();
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
    let stream = open(&house, &peer, &binh, 8, MAIN, b"").await.unwrap();
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
    let stream = open(&house, &peer, &binh, 1, MAIN, b"").await.unwrap();
    let next = open(&house, &peer, &binh, 1, MAIN, b"").await.unwrap();
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

async fn open(
    house: &House,
    peer: &Peer,
    party: &PartyId,
    credit: u32,
    instance: &str,
    spool: &'static [u8],
) -> Result<Session, Refusal> {
    let opening = Opening { parties: std::slice::from_ref(party), credit, instance, spool: Bytes::from_static(spool) };
    house.engine.open_inbox(peer, opening).await
}

/// A house in which dossiers 1 to `count` wait for Bình, and the system that acts for it.
async fn waiting_for_binh(count: u32) -> (House, Peer, PartyId) {
    let house = House::open().await;
    let binh: PartyId = BINH.parse().unwrap();
    for number in 1..=count {
        house.admit(number, |admission| admission.event.recipients = vec![binh.clone()]).await;
    }
    let peer = house.peer("mot-cua-binh");
    (house, peer, binh)
}

impl House {
    /// Tells Bình of one more event of the dossier.
    async fn tell_binh_more(&self, number: u32) {
        let binh: PartyId = BINH.parse().unwrap();
        let code = crate::store::contract::sample::code(number);
        self.progress(&code, |admission| admission.event.recipients = vec![binh.clone()]).await;
        self.engine.inner.inboxes.arrived(&[binh]);
    }
}

fn named(delivery: &Delivery) -> (u32, u32) {
    (delivery.dossier.code.number(), delivery.recorded.event.sequence)
}

fn name(delivery: &Delivery) -> DeliveryName {
    let (code, sequence) = (delivery.dossier.code.clone(), delivery.recorded.event.sequence);
    DeliveryName { party: delivery.party.clone(), code, sequence }
}

/// The next one, which must be there without anything else having to happen.
async fn next(stream: &Session) -> Delivery {
    tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("something flows").unwrap()
}

/// Whether nothing flows, whatever is known by now.
async fn is_quiet(stream: &Session) -> bool {
    stream.try_next().await.unwrap().is_none()
}

async fn take_over(stream: &Session, delivery: &Delivery) {
    let names = vec![name(delivery)];
    assert_eq!(stream.acknowledge(Stage::TakenOver, names.clone()).await.unwrap(), names);
}

fn declined(kind: lgsp_proto::v1::DeclineKind) -> Declined {
    Declined { kind, reason: "AGENCY_REFUSED".into() }
}

#[tokio::test]
async fn a_dossier_stays_with_the_installation_that_took_it_over_until_that_has_handed_it_over() {
    let (house, peer, binh) = waiting_for_binh(2).await;
    let one = open(&house, &peer, &binh, 8, "one", b"spool of one....").await.unwrap();
    let first = next(&one).await;
    assert_eq!(named(&first), (1, 1));
    take_over(&one, &first).await;
    drop(one);
    house.tell_binh_more(1).await;
    let two = open(&house, &peer, &binh, 8, "two", b"spool of two....").await.unwrap();
    // The other dossier is free; this one's next event is not for it.
    assert_eq!(named(&next(&two).await), (2, 1));
    assert!(is_quiet(&two).await);
    let one = open(&house, &peer, &binh, 8, "one", b"spool of one....").await.unwrap();
    let second = next(&one).await;
    assert_eq!((named(&second), second.attempt), ((1, 2), 1));
    drop(one);
    assert!(is_quiet(&two).await);
    // Once the agency has what was taken over, whoever is there gets the rest; a hand-over may be told on any stream.
    two.acknowledge(Stage::HandedOver, vec![name(&first)]).await.unwrap();
    assert_eq!(named(&next(&two).await), (1, 2));
}

#[tokio::test]
async fn a_replaced_spool_gets_everything_that_was_not_handed_over_in_order_and_nothing_else() {
    let (house, peer, binh) = waiting_for_binh(4).await;
    house.tell_binh_more(1).await;
    let old = open(&house, &peer, &binh, 8, MAIN, b"an old spool....").await.unwrap();
    let elsewhere = open(&house, &peer, &binh, 1, "elsewhere", b"another spool...").await.unwrap();
    let kept = next(&elsewhere).await;
    assert_eq!(named(&kept), (1, 1));
    take_over(&elsewhere, &kept).await;
    let (a, b, c) = (next(&old).await, next(&old).await, next(&old).await);
    assert_eq!([named(&a), named(&b), named(&c)], [(2, 1), (3, 1), (4, 1)]);
    for delivery in [&a, &b, &c] {
        take_over(&old, delivery).await;
    }
    house.tell_binh_more(2).await;
    let more = next(&old).await;
    assert_eq!(named(&more), (2, 2));
    take_over(&old, &more).await;
    old.acknowledge(Stage::HandedOver, vec![name(&b)]).await.unwrap();

    let refused = open(&house, &peer, &binh, 8, MAIN, b"a new spool.....").await.err().unwrap();
    assert_eq!(refused.reason(), Reason::InstanceInUse, "the old one is still there");
    drop(old);
    let new = open(&house, &peer, &binh, 8, MAIN, b"a new spool.....").await.unwrap();
    let mut again = Vec::new();
    for _ in 0..2 {
        let delivery = next(&new).await;
        take_over(&new, &delivery).await;
        again.push(named(&delivery));
    }
    let third = next(&new).await;
    take_over(&new, &third).await;
    again.push(named(&third));
    assert_eq!(again, [(2, 1), (4, 1), (2, 2)]);
    assert!(is_quiet(&new).await);
    // The same spool again gets nothing again.
    drop(new);
    let same = open(&house, &peer, &binh, 8, MAIN, b"a new spool.....").await.unwrap();
    assert!(is_quiet(&same).await);
}

#[tokio::test]
async fn a_delivery_refused_for_good_parks_its_dossier_and_no_other() {
    let (house, peer, binh) = waiting_for_binh(3).await;
    house.tell_binh_more(1).await;
    let stream = open(&house, &peer, &binh, 1, MAIN, b"").await.unwrap();
    let first = next(&stream).await;
    stream.decline(&declined(lgsp_proto::v1::DeclineKind::Permanent), &[name(&first)]).await.unwrap();
    for number in [2, 3] {
        let delivery = next(&stream).await;
        assert_eq!(named(&delivery), (number, 1));
        take_over(&stream, &delivery).await;
    }
    assert!(is_quiet(&stream).await);
    let backlog = house.engine.store().backlog(&binh).await.unwrap();
    assert_eq!((backlog.waiting, backlog.parked_dossiers, backlog.parked_deliveries), (0, 1, 2));

    let query = ParkedQuery { parties: vec![], dossier: None, limit: 9, after: None };
    let page = house.engine.parked(&peer, &binh, &query).await.unwrap();
    let parked = &page.dossiers[0].standing;
    assert_eq!((parked.parked.reason.as_str(), parked.parked.attempts, parked.waiting), ("AGENCY_REFUSED", 1, 2));
    // A person has it tried again: the stream that was there all the time gets it, and what follows.
    let decision = Decision {
        actor: "clerk.1".parse().unwrap(),
        party: binh.clone(),
        code: first.dossier.code.clone(),
        sequence: 1,
        action: ParkedAction::Retry,
        why: "repaired".into(),
    };
    assert_eq!(house.engine.handle_parked(&peer, &binh, decision.clone()).await.unwrap(), 2);
    let twice = house.engine.handle_parked(&peer, &binh, decision).await.unwrap_err();
    assert_eq!(twice.reason(), Reason::ParkedNotFound);
    for sequence in [1, 2] {
        let delivery = next(&stream).await;
        assert_eq!(named(&delivery), (1, sequence));
        take_over(&stream, &delivery).await;
    }
}

#[tokio::test]
async fn a_holder_that_gives_a_delivery_back_gives_back_the_later_ones_and_they_are_parked_in_order() {
    let (house, peer, binh) = waiting_for_binh(2).await;
    house.tell_binh_more(1).await;
    let stream = open(&house, &peer, &binh, 8, MAIN, b"a spool.........").await.unwrap();
    let (first, other) = (next(&stream).await, next(&stream).await);
    take_over(&stream, &first).await;
    let second = next(&stream).await;
    assert_eq!((named(&second), named(&other)), ((1, 2), (2, 1)));
    take_over(&stream, &second).await;
    stream.decline(&declined(lgsp_proto::v1::DeclineKind::Permanent), &[name(&first)]).await.unwrap();
    let backlog = house.engine.store().backlog(&binh).await.unwrap();
    assert_eq!((backlog.waiting, backlog.taken_over, backlog.parked_deliveries), (1, 0, 2));
    // Said again, because the answer was lost, it changes nothing.
    stream.decline(&declined(lgsp_proto::v1::DeclineKind::Permanent), &[name(&first)]).await.unwrap();
    assert!(is_quiet(&stream).await);
    take_over(&stream, &other).await;
    let decision = Decision {
        actor: "clerk.1".parse().unwrap(),
        party: binh.clone(),
        code: first.dossier.code.clone(),
        sequence: 1,
        action: ParkedAction::Skip,
        why: "on paper".into(),
    };
    assert_eq!(house.engine.handle_parked(&peer, &binh, decision).await.unwrap(), 1);
    assert_eq!(named(&next(&stream).await), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn rests_grow_between_failures_until_the_dossier_is_parked() {
    let (policy, now) = (Policy { attempts: 4, ..Policy::default() }, Instant::now());
    let mut state = state(&[(1, 1, 1), (2, 1, 2)]);
    let mut at = now;
    for (failures, rest) in [(1, 5), (2, 10), (3, 20)] {
        let until = at + policy.lease;
        assert!(state.lease(ME, &installation(MAIN), until).is_some(), "after {failures} failures");
        assert_eq!(state.sweep(&policy, until, 1.0), Swept { expired: 1, hopeless: vec![] });
        at = until + Duration::from_secs(rest);
        assert_eq!(state.next_sweep(), Some(at), "after {failures} failures");
        let _ = state.sweep(&policy, at - Duration::from_millis(1), 1.0);
        assert_eq!(leased(&mut state, ME), None);
        let _ = state.sweep(&policy, at, 1.0);
    }
    let until = at + policy.lease;
    let _ = state.lease(ME, &installation(MAIN), until);
    let hopeless = Hopeless { code: code(1), sequence: 1, failures: 4, stream: ME };
    assert_eq!(state.sweep(&policy, until, 1.0), Swept { expired: 1, hopeless: vec![hopeless] });
    assert_eq!(leased(&mut state, ME), None, "nobody gets it while that is written");
}

#[tokio::test]
async fn a_receiver_that_is_only_busy_is_never_the_reason_for_parking() {
    let policy = Policy { attempts: 1, ..Policy::default() };
    let mut state = state(&[(1, 1, 1)]);
    let now = Instant::now();
    for _ in 0..50 {
        assert_eq!(leased(&mut state, ME), Some((code(1), 1)));
        state.rest(ME, &code(1), 1, now);
        assert_eq!(state.sweep(&policy, now, 1.0), Swept::default());
    }
}

#[tokio::test]
async fn what_others_hold_never_fills_the_window_and_comes_back_unless_it_changed_meanwhile() {
    let mut state = State::new();
    for number in 1..=WINDOW as u32 {
        state.load(Waiting { position: InboxPosition(number.into()), code: code(number), sequence: 2 });
    }
    assert!(!state.wants_more());
    for number in 1..=WINDOW as u32 {
        assert_eq!(leased(&mut state, ME), Some((code(number), 2)));
        let generation = state.generation();
        state.put_aside(ME, (&code(number), 2), installation("other"), generation);
    }
    assert!(state.wants_more());
    assert_eq!(leased(&mut state, ME), None);
    assert_eq!(
        leased_by(&mut state, OTHER, "other"),
        Some((code(1), 2)),
        "for its holder it is there, the oldest first"
    );
    state.look_again(&code(7));
    assert_eq!(leased(&mut state, ME), Some((code(7), 2)));
    // What was looked up before something changed is looked up again.
    let before = state.generation();
    state.look_again(&code(8));
    state.put_aside(ME, (&code(7), 2), installation("other"), before);
    assert_eq!(leased(&mut state, ME), Some((code(7), 2)));
}

#[tokio::test]
async fn what_comes_back_is_read_again_in_order_and_what_is_under_way_stays_so() {
    let mut state = state(&[(5, 1, 2), (6, 2, 1), (7, 3, 1), (8, 3, 2)]);
    assert_eq!(leased(&mut state, ME), Some((code(1), 2)));
    state.settle(&code(1), 2);
    assert_eq!(leased(&mut state, ME), Some((code(2), 1)));
    state.reload();
    assert!(state.wants_more() && state.loaded_to.is_none());
    for (position, number, sequence) in [(4, 1, 1), (5, 1, 2), (6, 2, 1), (7, 3, 1), (8, 3, 2)] {
        state.load(Waiting { position: InboxPosition(position), code: code(number), sequence });
    }
    assert_eq!(leased(&mut state, OTHER), Some((code(1), 1)));
    assert_eq!(leased(&mut state, OTHER), Some((code(3), 1)));
    assert_eq!(leased(&mut state, OTHER), None, "the second one is with the first stream");
    assert!(state.begin_settling(ME, &code(2), 1));
}

/// How Bình's deliveries go on after one whose parking crossed the word that the agency has it.
async fn nothing_is_overtaken(house: &House, stream: &Session) {
    for sequence in [2, 3] {
        let delivery = next(stream).await;
        assert_eq!(named(&delivery), (1, sequence));
        take_over(stream, &delivery).await;
        stream.acknowledge(Stage::HandedOver, vec![name(&delivery)]).await.unwrap();
        house.tell_binh_more(1).await;
    }
    let backlog = house.engine.store().backlog(&BINH.parse().unwrap()).await.unwrap();
    assert_eq!((backlog.waiting, backlog.taken_over, backlog.parked_dossiers), (2, 0, 0));
}

fn parked_at(delivery: &Delivery) -> Parked {
    Parked {
        party: delivery.party.clone(),
        code: delivery.dossier.code.clone(),
        sequence: delivery.recorded.event.sequence,
        reason: "AGENCY_REFUSED".into(),
        kind: lgsp_proto::v1::DeclineKind::Permanent,
        attempts: 1,
        system: "mot-cua-binh".into(),
        at: machine_now(),
    }
}

#[tokio::test]
async fn a_parking_that_comes_after_the_hand_over_lets_the_rest_flow_in_order() {
    let (house, peer, binh) = waiting_for_binh(1).await;
    house.tell_binh_more(1).await;
    let stream = open(&house, &peer, &binh, 8, MAIN, b"").await.unwrap();
    let first = next(&stream).await;
    let inbox = Arc::clone(&stream.inboxes[0]);
    let deciding = Deciding::begin(&house.engine, &inbox, &first.dossier.code).await;
    // The agency has it by now: visible before the parking is looked at.
    let acknowledgement = Acknowledgement {
        party: binh.clone(),
        stage: Stage::HandedOver,
        deliveries: vec![(first.dossier.code.clone(), 1)],
        holder: Holder { installation: stream.owner.clone(), spool: Bytes::new() },
        at: machine_now(),
    };
    house.engine.store().commit(Commit::Acknowledgement(acknowledgement)).await.unwrap();
    house.engine.park(parked_at(&first), deciding).await.unwrap();
    house.tell_binh_more(1).await;
    nothing_is_overtaken(&house, &stream).await;
}

#[tokio::test]
async fn a_hand_over_that_crosses_a_parking_lets_the_rest_flow_in_order() {
    for decided_first in [true, false] {
        let (house, peer, binh) = waiting_for_binh(1).await;
        house.tell_binh_more(1).await;
        let stream = open(&house, &peer, &binh, 8, MAIN, b"").await.unwrap();
        let first = next(&stream).await;
        let inbox = Arc::clone(&stream.inboxes[0]);
        let other = open(&house, &peer, &binh, 0, "other", b"").await.unwrap();
        let handing_over = other.acknowledge(Stage::HandedOver, vec![name(&first)]);
        let parking = async {
            if !decided_first {
                // What was begun to be written is on its way to the disk by then.
                tokio::task::yield_now().await;
            }
            let deciding = Deciding::begin(&house.engine, &inbox, &first.dossier.code).await;
            house.engine.park(parked_at(&first), deciding).await.unwrap();
        };
        if decided_first {
            let ((), handed_over) = tokio::join!(parking, handing_over);
            assert_eq!(handed_over.unwrap(), [name(&first)]);
        } else {
            let (handed_over, ()) = tokio::join!(handing_over, parking);
            assert_eq!(handed_over.unwrap(), [name(&first)]);
        }
        house.tell_binh_more(1).await;
        nothing_is_overtaken(&house, &stream).await;
    }
}

#[tokio::test]
async fn nothing_is_decided_about_a_dossier_while_the_agency_is_said_to_have_something_of_it_nor_the_other_way_round() {
    let policy = Policy { attempts: 1, ..Policy::default() };
    let mut state = state(&[(1, 1, 1), (2, 2, 1)]);
    let now = Instant::now();
    assert_eq!(leased(&mut state, ME), Some((code(1), 1)));
    assert!(state.begin_handing_over(&[code(1), code(2)]) && state.begin_handing_over(&[code(1)]));
    state.end_handing_over(&[code(1), code(2)]);
    assert!(!state.begin_deciding(&code(1), now), "one of the two is still being written");
    // Time is over for it all the same; it is looked at again when that is written.
    let later = now + Duration::from_secs(120);
    assert_eq!(state.sweep(&policy, later, 1.0), Swept { expired: 1, hopeless: vec![] });
    state.end_handing_over(&[code(1)]);
    assert!(state.begin_deciding(&code(1), now));
    assert!(!state.begin_handing_over(&[code(2), code(1)]));
    assert!(state.begin_deciding(&code(2), now), "of what was refused nothing was noted");
}

#[tokio::test]
async fn what_came_after_waits_for_what_is_on_its_way_back() {
    let mut state = state(&[(2, 1, 2), (3, 2, 1)]);
    assert_eq!(leased(&mut state, ME), Some((code(1), 2)));
    let comebacks = state.comebacks();
    state.begin_coming_back();
    assert_ne!(state.comebacks(), comebacks, "whoever reads about what it has leased must look again");
    state.load(Waiting { position: InboxPosition(4), code: code(3), sequence: 7 });
    assert_eq!(leased(&mut state, OTHER), None);
    assert!(!state.is_idle());
    state.came_back();
    assert_eq!(leased(&mut state, OTHER), None, "it is read again, the oldest first");
    for (position, number, sequence) in [(1, 3, 6), (4, 3, 7)] {
        state.load(Waiting { position: InboxPosition(position), code: code(number), sequence });
    }
    assert_eq!(leased(&mut state, OTHER), Some((code(3), 6)));
}

#[tokio::test]
async fn what_a_dossier_is_parked_for_is_handed_over_and_the_rest_flows_to_a_stream_that_waits() {
    let (house, peer, binh) = waiting_for_binh(1).await;
    let stream = open(&house, &peer, &binh, 8, MAIN, b"").await.unwrap();
    let first = next(&stream).await;
    stream.decline(&declined(lgsp_proto::v1::DeclineKind::Permanent), &[name(&first)]).await.unwrap();
    house.tell_binh_more(1).await;
    // Both are parked. They flow again while somebody hands over what it was parked for.
    let other = open(&house, &peer, &binh, 0, "other", b"").await.unwrap();
    let (handed_over, second) = tokio::join!(other.acknowledge(Stage::HandedOver, vec![name(&first)]), next(&stream));
    assert_eq!(handed_over.unwrap(), [name(&first)]);
    assert_eq!(named(&second), (1, 2));
    assert!(lock(&stream.inboxes[0].state).handers_over == 0);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_parks_its_dossier_and_the_others_flow() {
    let (house, peer, binh) = waiting_for_binh(2).await;
    house.tell_binh_more(1).await;
    damage(&house, &crate::store::contract::sample::code(1));
    let stream = open(&house, &peer, &binh, 8, MAIN, b"").await.unwrap();
    assert_eq!(named(&next(&stream).await), (2, 1));
    house.engine.inner.tasks.close();
    house.engine.inner.tasks.wait().await;
    assert!(is_quiet(&stream).await);
    let query = ParkedQuery { parties: vec![], dossier: None, limit: 9, after: None };
    let page = house.engine.parked(&peer, &binh, &query).await.unwrap();
    let parked = &page.dossiers[0].standing;
    assert_eq!((page.dossiers.len(), parked.waiting), (1, 2));
    assert_eq!((parked.parked.sequence, parked.parked.reason.as_str()), (1, "UNREADABLE"));
}

/// Flips a bit of the first record of a dossier, on the disk.
fn damage(house: &House, code: &DossierCode) {
    let journal = house.folder().join("store/journal");
    let files = std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|ending| ending == "seg")) {
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(code.as_str().len()).position(|window| window == code.as_str().as_bytes());
        if let Some(at) = at {
            bytes[at] ^= 1;
            return std::fs::write(&path, bytes).unwrap();
        }
    }
    panic!("{code} is not in the journal");
}

#[tokio::test]
async fn an_installation_stays_away_until_what_it_had_is_taken_from_it_whoever_still_waits_for_that() {
    let (house, peer, binh) = waiting_for_binh(1).await;
    let stream = open(&house, &peer, &binh, 8, MAIN, b"a spool.........").await.unwrap();
    let first = next(&stream).await;
    take_over(&stream, &first).await;
    drop(stream);
    let (operator, asking) = (house.peer("van-hanh"), "H99.VH".parse().unwrap());
    let installation = installation(MAIN);
    {
        let who = ("van.hanh.1".parse().unwrap(), "BROKEN".to_owned());
        let releasing = house.engine.release(&operator, &asking, who, (&binh, &installation));
        tokio::pin!(releasing);
        // Begun, and then given up by whoever waited for it.
        tokio::select! {
            biased;
            _ = &mut releasing => panic!("a sync takes longer than nothing"),
            () = std::future::ready(()) => {}
        }
    }
    tokio::task::yield_now().await;
    for spool in [b"a spool.........".as_slice(), b""] {
        let refused = open(&house, &peer, &binh, 8, MAIN, spool).await.err().map(|refusal| refusal.reason());
        assert_eq!(refused, Some(Reason::InstanceInUse));
    }
    house.engine.inner.tasks.close();
    house.engine.inner.tasks.wait().await;
    let backlog = house.engine.store().backlog(&binh).await.unwrap();
    assert_eq!((backlog.waiting, backlog.taken_over), (1, 0));
}

#[tokio::test]
async fn what_was_parked_by_a_process_that_ended_before_its_holder_gave_it_back_is_released_first() {
    let (house, peer, binh) = waiting_for_binh(1).await;
    let stream = open(&house, &peer, &binh, 8, MAIN, b"a spool.........").await.unwrap();
    let first = next(&stream).await;
    take_over(&stream, &first).await;
    drop(stream);
    let parked = Parked {
        party: binh.clone(),
        code: first.dossier.code.clone(),
        sequence: 1,
        reason: "AGENCY_REFUSED".into(),
        kind: lgsp_proto::v1::DeclineKind::Permanent,
        attempts: 1,
        system: "mot-cua-binh".into(),
        at: machine_now(),
    };
    house.engine.store().commit(Commit::Parked(parked)).await.unwrap();
    let decision = Decision {
        actor: "clerk.1".parse().unwrap(),
        party: binh.clone(),
        code: first.dossier.code.clone(),
        sequence: 1,
        action: ParkedAction::Skip,
        why: "on paper".into(),
    };
    for action in [ParkedAction::Retry, ParkedAction::Skip] {
        let decision = Decision { action, ..decision.clone() };
        let refused = house.engine.handle_parked(&peer, &binh, decision).await.unwrap_err();
        assert_eq!(refused.reason().as_str(), "PARKED_HELD", "{action:?}");
        let holder = (refused.details()["system"].as_str(), refused.details()["instance"].as_str());
        assert_eq!(holder, ("mot-cua-binh", MAIN), "whom to release it from");
    }
    let (operator, asking) = (house.peer("van-hanh"), "H99.VH".parse().unwrap());
    let who = ("van.hanh.1".parse().unwrap(), "BROKEN".to_owned());
    let released = house.engine.release(&operator, &asking, who, (&binh, &installation(MAIN))).await;
    assert_eq!(released.unwrap(), 1);
    assert_eq!(house.engine.handle_parked(&peer, &binh, decision).await.unwrap(), 0);
    assert_eq!(house.engine.store().backlog(&binh).await.unwrap().parked_dossiers, 0);
}

#[tokio::test]
async fn a_new_spool_keeps_the_old_one_away_until_it_has_what_that_had_even_if_it_goes_away_itself() {
    let (house, peer, binh) = waiting_for_binh(1).await;
    let old = open(&house, &peer, &binh, 8, MAIN, b"an old spool....").await.unwrap();
    let first = next(&old).await;
    take_over(&old, &first).await;
    drop(old);
    {
        let opening = open(&house, &peer, &binh, 8, MAIN, b"a new spool.....");
        tokio::pin!(opening);
        tokio::select! {
            biased;
            _ = &mut opening => panic!("a sync takes longer than nothing"),
            () = std::future::ready(()) => {}
        }
    }
    tokio::task::yield_now().await;
    let refused = open(&house, &peer, &binh, 8, MAIN, b"an old spool....").await.err().map(|refusal| refusal.reason());
    assert_eq!(refused, Some(Reason::InstanceInUse));
    house.engine.inner.tasks.close();
    house.engine.inner.tasks.wait().await;
    let backlog = house.engine.store().backlog(&binh).await.unwrap();
    assert_eq!((backlog.waiting, backlog.taken_over), (1, 0));
}

#[tokio::test]
async fn what_is_acknowledged_while_the_store_is_read_is_not_loaded_again_and_costs_no_reading() {
    let mut state = state(&[(1, 1, 1)]);
    let waiting =
        |position, number, sequence| Waiting { position: InboxPosition(position), code: code(number), sequence };
    assert_eq!(leased(&mut state, ME), Some((code(1), 1)));
    state.more = true;
    // Read again from the oldest on, while one is acknowledged that is known here and one that is not.
    state.reload();
    let read_from = state.begin_refill();
    for number in [1, 3] {
        state.look_again(&code(number));
        state.settle(&code(number), 1);
    }
    state.end_refill(read_from, vec![waiting(1, 1, 1), waiting(2, 2, 1), waiting(3, 3, 1), waiting(4, 1, 2)]);
    assert!(!state.wants_more(), "what was read is what is owed");
    assert_eq!(leased(&mut state, ME), Some((code(2), 1)));
    assert_eq!(leased(&mut state, ME), Some((code(1), 2)));
    assert_eq!(leased(&mut state, ME), None);
    // What came back while the store was read may not be in what was read.
    state.more = true;
    let read_from = state.begin_refill();
    state.begin_coming_back();
    state.end_refill(read_from, vec![waiting(5, 4, 1)]);
    assert!(!state.queues.contains_key(&code(4)));
    state.came_back();
    assert!(state.wants_more() && state.loaded_to.is_none());
    assert_eq!(leased(&mut state, ME), None);
}

#[tokio::test]
async fn a_stream_that_ends_while_the_store_is_read_for_it_leaves_that_to_the_next() {
    let (house, peer, binh) = waiting_for_binh(1).await;
    let stream = open(&house, &peer, &binh, 1, MAIN, b"").await.unwrap();
    let other = open(&house, &peer, &binh, 1, MAIN, b"").await.unwrap();
    // As its future is when the line is cut.
    let refilling = Refilling::begin(&stream.inboxes[0]).expect("nothing was read yet");
    assert!(is_quiet(&other).await, "one reads for all");
    drop(refilling);
    drop(stream);
    assert_eq!(named(&next(&other).await), (1, 1));
}
