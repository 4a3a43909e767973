//! Delivered until acknowledged, in order per dossier, to any number of a party's connections.

use lgsp_proto::v1::inbox_request::Request as Say;
use lgsp_proto::v1::inbox_response::Response as Hear;
use lgsp_proto::{Reason, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::world::*;

/// One inbox stream. Dropped, it is gone without a word.
pub(crate) struct Inbox {
    pub(crate) say: mpsc::Sender<v1::InboxRequest>,
    hear: Streaming<v1::InboxResponse>,
}

impl Inbox {
    /// Opens the stream, and says nothing yet.
    async fn silent(system: &System) -> Self {
        let (say, said) = mpsc::channel(16);
        let hear = within(system.inbox().open(ReceiverStream::new(said))).await.unwrap().into_inner();
        Self { say, hear }
    }

    pub(crate) async fn open(system: &System, parties: &[&str], credit: u32) -> Self {
        let mut inbox = Self::silent(system).await;
        let parties: Vec<String> = parties.iter().map(ToString::to_string).collect();
        inbox.say(Say::Open(v1::OpenInbox { parties: parties.clone(), credit, ..v1::OpenInbox::default() })).await;
        let Hear::Opened(opened) = inbox.hear().await.unwrap() else { panic!("not opened") };
        assert_eq!(opened.parties, parties);
        inbox
    }

    pub(crate) async fn say(&self, request: Say) {
        self.say.send(v1::InboxRequest { request: Some(request) }).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Result<Hear, Status> {
        Ok(within(self.hear.message()).await?.expect("the stream goes on").response.unwrap())
    }

    /// Waits for the end of the stream: in order, or with an error.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        while within(self.hear.message()).await?.is_some() {}
        Ok(())
    }

    pub(crate) async fn delivery(&mut self) -> v1::Delivery {
        match self.hear().await.unwrap() {
            Hear::Delivery(delivery) => delivery,
            other => panic!("a delivery, not {other:?}"),
        }
    }

    pub(crate) async fn take_over(&mut self, delivery: &v1::Delivery) {
        let named = delivery.r#ref.clone().unwrap();
        let stage = v1::AcknowledgeStage::TakenOver.into();
        self.say(Say::Acknowledge(v1::Acknowledge { stage, deliveries: vec![named.clone()] })).await;
        match self.hear().await.unwrap() {
            Hear::Acknowledged(acknowledged) => assert_eq!(acknowledged.deliveries, [named]),
            other => panic!("an acknowledgement, not {other:?}"),
        }
    }
}

fn name(delivery: &v1::Delivery) -> (String, u32, u32) {
    let named = delivery.r#ref.as_ref().unwrap();
    (named.dossier_code.clone(), named.sequence, delivery.attempt)
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_on_the_next_stream_and_what_is_does_not() {
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let (first, second) = (desk.admitted(&aid_elsewhere("k-1")).await, desk.admitted(&aid_elsewhere("k-2")).await);

    let mut inbox = Inbox::open(&binh, &[BINH], 8).await;
    let (one, two) = (inbox.delivery().await, inbox.delivery().await);
    assert_eq!((name(&one), name(&two)), ((first, 1, 1), (second.clone(), 1, 1)));
    assert!(!one.event.as_ref().unwrap().body.is_empty());
    assert_eq!(one.dossier.as_ref().unwrap().status(), v1::Status::Filed);
    inbox.take_over(&one).await;
    drop(inbox);

    let binh = world.system("mot-cua-binh").await;
    let mut inbox = Inbox::open(&binh, &[BINH], 8).await;
    assert_eq!(name(&inbox.delivery().await).0, second);
    let backlog = v1::BacklogRequest { parties: vec![BINH.into()], actor: "can.bo.1".into() };
    let backlog = within(binh.inbox().backlog(backlog)).await.unwrap().into_inner();
    let [of_binh] = backlog.parties.as_slice() else { panic!("one party: {backlog:?}") };
    assert_eq!((of_binh.waiting, of_binh.taken_over), (1, 1));
    assert!(of_binh.oldest_admitted_at.is_some() && of_binh.streams >= 1);
}

#[tokio::test]
async fn deliveries_survive_a_restart_of_the_gateway() {
    let mut world = World::start().await;
    let code = world.system("mot-cua").await.admitted(&aid_elsewhere("k-1")).await;
    world.restart().await;
    let binh = world.system("mot-cua-binh").await;
    let mut inbox = Inbox::open(&binh, &[BINH], 1).await;
    assert_eq!(name(&inbox.delivery().await), (code, 1, 1));
}

#[tokio::test]
async fn a_dossiers_next_event_waits_for_the_one_before_and_other_dossiers_do_not() {
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let code = desk.admitted(&aid_elsewhere("k-1")).await;
    let withdrawn = v1::entry::What::Withdrawn(v1::Withdrawn::default());
    desk.record(&entry("k-2", AN, &code, withdrawn)).await.unwrap();
    let other = desk.admitted(&aid_elsewhere("k-3")).await;

    let mut inbox = Inbox::open(&binh, &[BINH], 8).await;
    let (one, beside) = (inbox.delivery().await, inbox.delivery().await);
    assert_eq!((name(&one), name(&beside)), ((code.clone(), 1, 1), (other, 1, 1)));
    inbox.take_over(&one).await;
    assert_eq!(name(&inbox.delivery().await), (code, 2, 1));
}

#[tokio::test]
async fn credit_bounds_what_is_under_way() {
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let mut inbox = Inbox::open(&binh, &[BINH], 1).await;
    let (first, second) = (desk.admitted(&aid_elsewhere("k-1")).await, desk.admitted(&aid_elsewhere("k-2")).await);
    let one = inbox.delivery().await;
    // The answer to an acknowledgement of something else comes before the second delivery: there is no credit for it.
    let stage = v1::AcknowledgeStage::TakenOver.into();
    let named = v1::DeliveryRef { sequence: 9, ..one.r#ref.clone().unwrap() };
    inbox.say(Say::Acknowledge(v1::Acknowledge { stage, deliveries: vec![named] })).await;
    match inbox.hear().await.unwrap() {
        Hear::Acknowledged(acknowledged) => assert!(acknowledged.deliveries.is_empty()),
        other => panic!("an acknowledgement, not {other:?}"),
    }
    inbox.say(Say::Credit(v1::Credit { more: 1 })).await;
    assert_eq!((name(&one).0, name(&inbox.delivery().await).0), (first, second));
}

#[tokio::test]
async fn a_declined_delivery_comes_again_after_a_pause() {
    let world = World::start_with("decline_pause_s = 1").await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let code = desk.admitted(&aid_elsewhere("k-1")).await;
    let mut inbox = Inbox::open(&binh, &[BINH], 1).await;
    let one = inbox.delivery().await;
    inbox
        .say(Say::Decline(v1::Decline {
            deliveries: vec![one.r#ref.unwrap()],
            reason: "DISK_FULL".into(),
            ..v1::Decline::default()
        }))
        .await;
    assert!(matches!(inbox.hear().await.unwrap(), Hear::Declined(_)));
    assert_eq!(name(&inbox.delivery().await), (code, 1, 2));
}

#[tokio::test]
async fn a_stream_that_breaks_the_rules_ends_with_the_rule() {
    let world = World::start().await;
    let binh = world.system("mot-cua-binh").await;
    let open = || Say::Open(v1::OpenInbox { parties: vec![BINH.into()], credit: 1, ..v1::OpenInbox::default() });

    let mut inbox = Inbox::silent(&binh).await;
    inbox.say(Say::Credit(v1::Credit { more: 1 })).await;
    assert_eq!(reason(inbox.hear().await), Reason::StreamProtocol);

    let mut inbox = Inbox::open(&binh, &[BINH], 1).await;
    inbox.say(open()).await;
    assert_eq!(reason(inbox.hear().await), Reason::StreamProtocol);

    let mut inbox = Inbox::open(&binh, &[BINH], 1).await;
    inbox.say.send(v1::InboxRequest { request: None }).await.unwrap();
    assert_eq!(reason(inbox.hear().await), Reason::StreamProtocol);

    let mut inbox = Inbox::open(&binh, &[BINH], 1).await;
    inbox.say(Say::Credit(v1::Credit { more: 0 })).await;
    let refused = refusal(inbox.hear().await);
    assert_eq!((refused.reason(), fields(&refused)), (Reason::FieldInvalid, vec!["credit.more"]));
}

#[tokio::test]
async fn nobody_opens_the_inbox_of_a_party_it_does_not_act_for() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let mut inbox = Inbox::silent(&desk).await;
    inbox
        .say(Say::Open(v1::OpenInbox { parties: vec![AN.into(), BINH.into()], credit: 1, ..v1::OpenInbox::default() }))
        .await;
    assert_eq!(reason(inbox.hear().await), Reason::ActsForMissing);
}

#[tokio::test]
async fn a_stream_is_told_that_the_gateway_stops() {
    let mut world = World::start().await;
    let binh = world.system("mot-cua-binh").await;
    let mut inbox = Inbox::open(&binh, &[BINH], 1).await;
    world.tell_to_stop();
    assert_eq!(reason(inbox.hear().await), Reason::ShuttingDown);
    world.ended().await.unwrap();
}

/// A submission whose delivery is some 900 KB.
fn bulky(key: &str) -> v1::Submission {
    v1::Submission { form: vec![b'.'; 900_000].into(), ..aid_elsewhere(key) }
}

#[tokio::test]
async fn a_stream_that_does_not_read_keeps_little_to_itself_and_the_others_go_on() {
    const DELIVERIES: usize = 24;
    /// What the gateway makes ahead for a stream, and what the connection holds on the way.
    const AHEAD: usize = 8;
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let mut stuck = Inbox::open(&binh, &[BINH], 1024).await;
    for number in 0..DELIVERIES {
        desk.admitted(&bulky(&format!("k-{number}"))).await;
    }
    // Its own connection, as a second machine of the agency has.
    let beside = world.system("mot-cua-binh").await;
    let mut inbox = Inbox::open(&beside, &[BINH], 1).await;
    for _ in 0..DELIVERIES - AHEAD {
        let delivery = inbox.delivery().await;
        inbox.take_over(&delivery).await;
    }
    // Another party is not concerned at all, nor is admission.
    let of_an = beside.admitted(&v1::Submission { acting_party: BINH.into(), ..aid("k-an") }).await;
    let mut inbox_of_an = Inbox::open(&desk, &[AN], 1).await;
    assert_eq!(name(&inbox_of_an.delivery().await).0, of_an);
    // Once it reads, what it holds is there.
    let late = stuck.delivery().await;
    assert!(!late.event.unwrap().body.is_empty());
}

#[tokio::test]
async fn a_stream_that_never_acknowledges_holds_its_credit_and_no_more() {
    let world = World::start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let mut lazy = Inbox::open(&binh, &[BINH], 3).await;
    let mut codes = Vec::new();
    for number in 0..8 {
        codes.push(desk.admitted(&aid_elsewhere(&format!("k-{number}"))).await);
    }
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(name(&lazy.delivery().await).0);
    }
    let mut inbox = Inbox::open(&world.system("mot-cua-binh").await, &[BINH], 1).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let delivery = inbox.delivery().await;
        inbox.take_over(&delivery).await;
        others.push(name(&delivery).0);
    }
    held.append(&mut others);
    held.sort_unstable();
    assert_eq!(held, codes);
}

#[tokio::test]
async fn a_system_with_too_many_streams_is_told_so_and_another_is_not() {
    let world = World::start_with("system_streams = 2").await;
    let binh = world.system("mot-cua-binh").await;
    let held = [Inbox::open(&binh, &[BINH], 1).await, Inbox::open(&binh, &[BINH], 1).await];
    let (_say, said) = mpsc::channel::<v1::InboxRequest>(1);
    let refused = within(binh.inbox().open(ReceiverStream::new(said))).await.map(drop);
    assert_eq!(reason(refused), Reason::QuotaExceeded);
    let _other = Inbox::open(&world.system("mot-cua").await, &[AN], 1).await;
    drop(held);
}
