//! One run: a fresh server, its callers, and for an exchange the authority at the other end.
//!
//! The same code measures both servers; it knows nothing of them but where they listen.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use lgsp_adapters::link::Link;
use lgsp_proto::v1;
use lgsp_proto::v1::inbox_request::Request as Say;
use lgsp_proto::v1::inbox_response::Response as Hear;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use crate::requests::{Requests, number_of};
use crate::servers::{Kind, Server};
use crate::world::{AUTHORITY, SENDER, World};

/// Connections that the callers share: about as many as there are agency systems in a province.
pub(crate) const CONNECTIONS: usize = 16;

/// Deliveries under way on the authority's stream: more than there are callers, so that credit is not what is measured.
const CREDIT: u32 = 1024;

/// One party and one system send everything here, and are not what is measured.
const UNBOUNDED: &str = "party_per_second = 1000000\nsystem_per_second = 1000000\n";

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Measure {
    /// Until the answer to `Submit`. Nobody fetches the deliveries.
    Admission,
    /// Until the authority knows its acknowledgement to be durable.
    Exchange,
}

impl Measure {
    pub(crate) const ALL: [Self; 2] = [Self::Admission, Self::Exchange];
}

/// What one run does.
pub(crate) struct Plan {
    pub(crate) measure: Measure,
    pub(crate) callers: usize,
    pub(crate) requests: Requests,
    /// Before anything counts: connections are made, caches filled.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What one run found.
pub(crate) struct Run {
    /// Dossiers that came through in the time that counts, per second of it.
    pub(crate) per_second: f64,
    /// From sending to the end of the measure.
    pub(crate) whole: Latency,
    /// Of an exchange, from the answer to `Submit` to the end.
    pub(crate) after_admission: Option<Latency>,
    /// The server's processor time per thousand dossiers, where the system tells.
    pub(crate) processor_per_1000: Option<Duration>,
}

/// How long it took.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Latency {
    pub(crate) fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100).copied();
        Some(Self { p50: at(50)?, p99: at(99)? })
    }
}

/// One dossier that came through.
struct Through {
    begun: Instant,
    admitted: Instant,
    done: Instant,
}

/// Runs `plan` against a fresh server.
///
/// # Errors
/// The server did not start, or a call failed: there is no result then.
pub(crate) async fn run(plan: &Plan, kind: Kind, world: &World) -> anyhow::Result<Run> {
    let server = Server::start(kind, world, UNBOUNDED)?;
    let waiting = Arc::new(Waiting::default());
    let mut authority = match plan.measure {
        Measure::Admission => None,
        Measure::Exchange => Some(open_inbox(world, &server, &waiting).await?),
    };
    let links = (0..plan.callers.min(CONNECTIONS)).map(|_| world.link(SENDER, &server.bus));
    let links: Vec<Link> = links.collect::<Result<_, _>>()?;
    let from = Instant::now() + plan.warm_up;
    let to = from + plan.time;
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for number in 0..plan.callers {
        let caller = Caller {
            link: links[number % links.len()].clone(),
            requests: plan.requests.clone(),
            next: next.clone(),
            acknowledged: authority.is_some().then(|| waiting.clone()),
        };
        callers.spawn(caller.call_until(to));
    }

    sleep_until(from).await;
    let used_before = server.processor_time();
    let mut through = Vec::new();
    let collected = {
        let collect = collect(&mut callers, authority.as_mut(), &mut through);
        timeout_at(to, collect).await
    };
    let used = server.processor_time().zip(used_before).map(|(after, before)| after - before);
    match collected {
        Ok(early) => early?,
        Err(_) => collect(&mut callers, authority.as_mut(), &mut through).await?,
    }

    through.retain(|one| (from..=to).contains(&one.done));
    let last = through.iter().map(|one| one.done).max().context("nothing came through in the time that counts")?;
    // Who ran out of requests ended early.
    let end = if next.load(Ordering::Relaxed) >= plan.requests.len() { last } else { to };
    let latency = |time: fn(&Through) -> Duration| Latency::of(through.iter().map(time).collect());
    Ok(Run {
        per_second: through.len() as f64 / (end - from).as_secs_f64(),
        whole: latency(|one| one.done - one.begun).context("something came through")?,
        // The authority may be told before the sender is: then there was nothing left to wait for.
        after_admission: authority.and_then(|_| latency(|one| one.done.saturating_duration_since(one.admitted))),
        processor_per_1000: used.map(|used| used.mul_f64(1000.0 / through.len() as f64)),
    })
}

/// Waits for all callers. Losing the authority, or a call, is the end. May be dropped and called again.
async fn collect(
    callers: &mut JoinSet<anyhow::Result<Vec<Through>>>,
    mut authority: Option<&mut AbortOnDropHandle<anyhow::Result<()>>>,
    through: &mut Vec<Through>,
) -> anyhow::Result<()> {
    loop {
        let lost = async {
            match &mut authority {
                Some(authority) => authority.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            caller = callers.join_next() => match caller {
                Some(done) => through.extend(done??),
                None => return Ok(()),
            },
            lost = lost => {
                lost??;
                bail!("the inbox stream has ended");
            }
        }
    }
}

/// Sends one dossier after the other.
struct Caller {
    link: Link,
    requests: Requests,
    /// The next request that nobody has sent.
    next: Arc<AtomicUsize>,
    /// Where to wait for the authority; nowhere when only admission is measured.
    acknowledged: Option<Arc<Waiting>>,
}

impl Caller {
    async fn call_until(self, end: Instant) -> anyhow::Result<Vec<Through>> {
        let mut through = Vec::new();
        while Instant::now() < end {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = self.requests.get(number) else { break };
            let acknowledged = self.acknowledged.as_ref().map(|waiting| waiting.for_one(number));
            let begun = Instant::now();
            let answer = self.link.dossiers().submit(self.link.request(request.clone(), None)).await;
            let admitted = Instant::now();
            ensure!(!answer.context("a dossier was not admitted")?.into_inner().repeated, "a dossier was there before");
            let done = match acknowledged {
                Some(acknowledged) => acknowledged.await.context("the authority is gone")?,
                None => admitted,
            };
            through.push(Through { begun, admitted, done });
        }
        Ok(through)
    }
}

/// The callers that wait for the authority, by the number of their request.
#[derive(Default)]
struct Waiting(Mutex<HashMap<usize, oneshot::Sender<Instant>>>);

impl Waiting {
    fn for_one(&self, number: usize) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        receiver
    }

    fn tell(&self, number: usize, when: Instant) {
        if let Some(waiting) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&number) {
            // A caller that has failed no longer waits.
            let _ = waiting.send(when);
        }
    }
}

/// Opens the authority's inbox, and returns once it is open.
async fn open_inbox(
    world: &World,
    server: &Server,
    waiting: &Arc<Waiting>,
) -> anyhow::Result<AbortOnDropHandle<anyhow::Result<()>>> {
    let link = world.link(AUTHORITY, &server.bus)?;
    let parties = world.communes.iter().map(|(party, _)| party.clone()).collect();
    let (opened, is_open) = oneshot::channel();
    let authority = AbortOnDropHandle::new(tokio::spawn(take_over(link, parties, opened, waiting.clone())));
    match is_open.await {
        Ok(()) => Ok(authority),
        Err(_) => {
            authority.await??;
            bail!("the inbox stream was not opened")
        }
    }
}

/// Takes over what comes, at once; what has come meanwhile goes into one acknowledgement, as an adapter does it.
async fn take_over(
    link: Link,
    parties: Vec<String>,
    opened: oneshot::Sender<()>,
    waiting: Arc<Waiting>,
) -> anyhow::Result<()> {
    let (sender, requests) = mpsc::channel(1);
    let say = |request| v1::InboxRequest { request: Some(request) };
    sender.send(say(Say::Open(v1::OpenInbox { parties, credit: CREDIT, ..v1::OpenInbox::default() }))).await?;
    let request = link.stream_request(ReceiverStream::new(requests), None);
    let mut inbox = link.inbox().open(request).await.context("the inbox does not open")?.into_inner();
    let mut opened = Some(opened);
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut arrived: Vec<v1::DeliveryRef> = Vec::new();
    loop {
        tokio::select! {
            biased;
            heard = inbox.message() => match heard?.and_then(|message| message.response) {
                Some(Hear::Delivery(delivery)) => {
                    let name = delivery.r#ref.context("a delivery has a name")?;
                    let body = delivery.event.context("a delivery has an event")?.body;
                    ensure!(numbers.insert(name.dossier_code.clone(), number_of(&body)?).is_none(), "delivered twice");
                    arrived.push(name);
                }
                Some(Hear::Acknowledged(acknowledged)) => {
                    let now = Instant::now();
                    for name in &acknowledged.deliveries {
                        let number = numbers.get(&name.dossier_code).context("acknowledged but not delivered")?;
                        waiting.tell(*number, now);
                    }
                }
                Some(Hear::Opened(_)) => _ = opened.take().map(|opened| opened.send(())),
                Some(Hear::Declined(_)) => bail!("nothing was declined"),
                None => bail!("the inbox stream has ended"),
            },
            room = sender.reserve(), if !arrived.is_empty() => {
                let stage = v1::AcknowledgeStage::TakenOver.into();
                let deliveries = std::mem::take(&mut arrived);
                room?.send(say(Say::Acknowledge(v1::Acknowledge { stage, deliveries })));
            }
        }
    }
}
