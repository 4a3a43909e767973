//! The gateway is killed under load, again and again, and started on the same folder. Desks and authority do what any client
//! must: without an answer, send the same bytes again. What was answered is there once, in order, and delivered once it was
//! said to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lgsp_adapters::link::{Admitted, CallError, Link, Proof};
use lgsp_proto::v1::entry::What;
use lgsp_proto::v1::inbox_request::Request as Say;
use lgsp_proto::v1::inbox_response::Response as Hear;
use lgsp_proto::v1::{self, AcknowledgeStage};
use prost::Message as _;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::place::{Gateway, Place};
use crate::support::{MORNING, at, fresh_key, submission};
use crate::within;

/// Callers at one time, and what each of them does, one call after the other.
const CALLERS: usize = 8;
const DOSSIERS_EACH: usize = 8;
const DOSSIERS: usize = CALLERS * DOSSIERS_EACH;
/// Of every dossier: the submission and what the authority says about it.
const EVENTS: usize = 5;

/// After how many answers the gateway is killed. The callers are never done by then.
const KILLS: [u64; 6] = [10, 60, 110, 160, 210, 260];

/// The desk that takes in, the authority that decides, and the centre that will hand out: it is told everything.
const DESK: &str = "H99.102";
const AUTHORITY: &str = "H99.101";
const CENTRE: &str = "H99.TT";

/// The gateway between two kills.
#[derive(Clone)]
struct Life {
    number: usize,
    desk: Link,
    /// The system that speaks for authority and centre.
    others: Link,
}

/// What the callers share.
struct Load {
    life: watch::Receiver<Life>,
    answered: watch::Sender<u64>,
    interrupted: AtomicU64,
}

/// A call and the answer it got in the end.
struct Answered {
    is_submission: bool,
    key: String,
    body: Bytes,
    answer: Admitted,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_once_and_delivered_in_order_however_often_the_gateway_dies() {
    let place = Place::new();
    let mut gateway = place.gateway().await;
    let (lives, life) = watch::channel(Life::of(&place, &gateway, 0));
    let load = Load { life: life.clone(), answered: watch::Sender::new(0), interrupted: AtomicU64::new(0) };
    let load = Arc::new(load);
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(Arc::clone(&load).call())).collect();
    let centre = tokio::spawn(Centre::default().listen(life));

    let mut answered = load.answered.subscribe();
    for (number, after) in KILLS.into_iter().enumerate() {
        within("answers", answered.wait_for(|answered| *answered >= after)).await.unwrap();
        gateway.kill().await;
        // Nobody repairs anything in between, and yet the books are sound and hold whatever was answered.
        let (books, answered) = (place.fsck().await, *answered.borrow());
        assert!(books["events"].as_u64().unwrap() >= answered, "{answered} answered, and the books: {books}");
        gateway = place.gateway().await;
        lives.send_replace(Life::of(&place, &gateway, number + 1));
    }

    let mut answers = Vec::new();
    for caller in callers {
        answers.extend(within("the callers", caller).await.unwrap());
    }
    let delivered = within("the deliveries", centre).await.unwrap();
    assert!(load.interrupted.load(Ordering::Relaxed) >= KILLS.len() as u64, "a kill that nobody noticed");

    // Once more, at rest: under load the last thing written is seldom one that was answered.
    gateway.kill().await;
    let gateway = place.gateway().await;
    let life = Life::of(&place, &gateway, KILLS.len() + 1);
    life.repeats_every(&answers).await;
    life.has_exactly(&answers).await;
    assert_eq!(delivered.into_values().collect::<Vec<_>>(), [EVENTS as u32; DOSSIERS]);
    let asked = v1::BacklogRequest { parties: vec![CENTRE.into()], actor: "clerk-1".into() };
    let backlog = life.others.inbox().backlog(asked).await.unwrap().into_inner();
    assert_eq!((backlog.parties[0].waiting, backlog.parties[0].taken_over), (0, 0));

    gateway.stop().await;
    let books = place.fsck().await;
    assert_eq!((&books["dossiers"], &books["events"]), (&json!(DOSSIERS), &json!(DOSSIERS * EVENTS)));
}

impl Load {
    /// One caller: dossier after dossier, each handed in and worked on.
    async fn call(self: Arc<Self>) -> Vec<Answered> {
        let mut answers = Vec::new();
        for _ in 0..DOSSIERS_EACH {
            let submission = submission();
            let (key, body) = (submission.request_key.clone(), submission.encode_to_vec());
            let submitted = self.answer(true, key, body.into()).await;
            let code = submitted.answer.receipt.dossier_code.clone();
            answers.push(submitted);
            for what in work() {
                let entry = v1::Entry {
                    request_key: fresh_key(),
                    acting_party: AUTHORITY.into(),
                    actor: "clerk-an-1".into(),
                    dossier_code: code.clone(),
                    expected_sequence: 0,
                    occurred_at: Some(at(MORNING)),
                    what: Some(what),
                };
                let body = entry.encode_to_vec();
                answers.push(self.answer(false, entry.request_key, body.into()).await);
            }
        }
        answers
    }

    /// Sends the same bytes in one life after the other, until they are answered.
    async fn answer(&self, is_submission: bool, key: String, body: Bytes) -> Answered {
        let mut lives = self.life.clone();
        loop {
            let life = lives.borrow_and_update().clone();
            match life.send(is_submission, &body).await {
                Ok(answer) => {
                    self.answered.send_modify(|answered| *answered += 1);
                    assert_eq!(answer.proof, Proof::Verified);
                    return Answered { is_submission, key, body, answer };
                }
                Err(CallError::Unknown(_)) => {
                    self.interrupted.fetch_add(1, Ordering::Relaxed);
                    within("another life", lives.wait_for(|next| next.number > life.number)).await.unwrap();
                }
                Err(error) => panic!("{key}: {error}"),
            }
        }
    }
}

/// What the authority says about every dossier.
fn work() -> [What; EVENTS - 1] {
    let step = |step: &str| What::Progressed(v1::Progressed { step: step.into(), ..Default::default() });
    [
        What::Accepted(v1::Accepted::default()),
        What::ProcessingStarted(v1::ProcessingStarted::default()),
        step("Thẩm định"),
        step("Trình ký"),
    ]
}

impl Life {
    fn of(place: &Place, gateway: &Gateway, number: usize) -> Self {
        Self { number, desk: place.link("mot-cua-binh", gateway.bus), others: place.link("mot-cua", gateway.bus) }
    }

    async fn send(&self, is_submission: bool, body: &Bytes) -> Result<Admitted, CallError> {
        if is_submission {
            self.desk.submit(body.clone(), None).await
        } else {
            self.others.record(body.clone(), None).await
        }
    }

    /// Every key again: the receipt given then, to the letter.
    async fn repeats_every(&self, answers: &[Answered]) {
        for Answered { is_submission, key, body, answer } in answers {
            let again = self.send(*is_submission, body).await.unwrap_or_else(|error| panic!("{key}: {error}"));
            assert!(again.repeated, "{key} was admitted a second time");
            assert_eq!(again.signed, answer.signed, "{key}");
        }
    }

    /// Every dossier that was answered, none that was not, and of each the events in the order of their answers.
    async fn has_exactly(&self, answers: &[Answered]) {
        let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Answered { key, answer, .. } in answers {
            expected.entry(&answer.receipt.dossier_code).or_default().push(key);
        }
        let listed = self.list().await;
        assert_eq!(listed.len(), DOSSIERS);
        assert_eq!(listed.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected.keys().copied().collect());
        for (code, keys) in expected {
            let asked = v1::GetRequest {
                acting_party: DESK.into(),
                actor: "clerk-binh-1".into(),
                dossier_code: code.into(),
                ..Default::default()
            };
            let found = self.desk.dossiers().get(asked).await.unwrap().into_inner();
            let events: Vec<_> = found.events.into_iter().map(|recorded| recorded.event.unwrap()).collect();
            assert!(events.iter().map(|event| event.sequence).eq(1..=EVENTS as u32), "{code}");
            assert!(events.iter().map(|event| event.request_key.as_str()).eq(keys), "{code}");
        }
    }

    /// The codes of the desk's dossiers, page by page.
    async fn list(&self) -> Vec<String> {
        let (mut codes, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListRequest {
                acting_party: DESK.into(),
                actor: "clerk-binh-1".into(),
                filter: None,
                page_size: 20,
                page_token,
            };
            let page = self.desk.dossiers().list(request).await.unwrap().into_inner();
            codes.extend(page.dossiers.into_iter().map(|dossier| dossier.code));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return codes;
            }
        }
    }
}

/// The centre's side of its inbox. Its books outlive the gateway.
#[derive(Default)]
struct Centre {
    /// The last event of every dossier.
    last: BTreeMap<String, u32>,
    /// What the gateway must not deliver again: it has said that it knows we have it.
    certain: BTreeSet<(String, u32)>,
    /// What the gateway has said is done with.
    handed_over: BTreeSet<(String, u32)>,
}

impl Centre {
    /// Listens through all lives until everything has come and the gateway knows it; gives the last event of every dossier.
    async fn listen(mut self, mut lives: watch::Receiver<Life>) -> BTreeMap<String, u32> {
        loop {
            let life = lives.borrow_and_update().clone();
            // That the stream ended is all there is to know: the gateway died.
            let _ = self.stream(&life.others).await;
            if self.handed_over.len() == DOSSIERS * EVENTS {
                return self.last;
            }
            within("another life", lives.wait_for(|next| next.number > life.number)).await.unwrap();
        }
    }

    async fn stream(&mut self, link: &Link) -> Result<(), Status> {
        let (say, said) = mpsc::channel(1024);
        let say = async |request| {
            // A stream that is over says so where we listen.
            let _ = say.send(v1::InboxRequest { request: Some(request) }).await;
        };
        say(Say::Open(v1::OpenInbox { parties: vec![CENTRE.into()], credit: 16, ..v1::OpenInbox::default() })).await;
        let mut hear = link.inbox().open(ReceiverStream::new(said)).await?.into_inner();
        self.certain.extend(self.handed_over.iter().cloned());
        while let Some(heard) = hear.message().await? {
            match heard.response.unwrap() {
                Hear::Opened(_) => {
                    // Whether the gateway still knew of these when it died, nobody can tell.
                    let open = self.last.iter().flat_map(|(code, last)| (1..=*last).map(|one| (code.clone(), one)));
                    let open: Vec<_> = open.filter(|one| !self.handed_over.contains(one)).map(reference).collect();
                    if !open.is_empty() {
                        say(acknowledge(AcknowledgeStage::HandedOver, open)).await;
                    }
                }
                Hear::Delivery(delivery) => {
                    let named = delivery.r#ref.unwrap();
                    self.take(&named);
                    say(acknowledge(AcknowledgeStage::TakenOver, vec![named])).await;
                }
                Hear::Acknowledged(done) if done.stage() == AcknowledgeStage::TakenOver => {
                    self.certain.extend(done.deliveries.iter().map(name));
                    if !done.deliveries.is_empty() {
                        say(acknowledge(AcknowledgeStage::HandedOver, done.deliveries)).await;
                    }
                }
                Hear::Acknowledged(done) => {
                    self.handed_over.extend(done.deliveries.iter().map(name));
                    if self.handed_over.len() == DOSSIERS * EVENTS {
                        return Ok(());
                    }
                }
                Hear::Declined(_) => unreachable!("nothing is declined here"),
            }
        }
        Ok(())
    }

    /// The next event of its dossier, or the last one again because the gateway cannot know that we have it.
    fn take(&mut self, named: &v1::DeliveryRef) {
        let last = self.last.entry(named.dossier_code.clone()).or_default();
        if named.sequence == *last {
            assert!(!self.certain.contains(&name(named)), "acknowledged, and delivered again: {named:?}");
            return;
        }
        assert_eq!(named.sequence, *last + 1, "out of order: {named:?}");
        *last = named.sequence;
    }
}

fn name(named: &v1::DeliveryRef) -> (String, u32) {
    (named.dossier_code.clone(), named.sequence)
}

fn reference((dossier_code, sequence): (String, u32)) -> v1::DeliveryRef {
    v1::DeliveryRef { party: CENTRE.into(), dossier_code, sequence }
}

fn acknowledge(stage: AcknowledgeStage, deliveries: Vec<v1::DeliveryRef>) -> Say {
    Say::Acknowledge(v1::Acknowledge { stage: stage.into(), deliveries })
}
