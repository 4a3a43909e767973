//! The papers that a delivery names, fetched from the gateway to lie beside it: for the folder and the tables alike.
//!
//! Owns how long one may take, going on where it broke off, and what it means that one does not come; where it is put is each
//! way's own. A paper that takes its time or never comes holds up its own delivery, and no other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use lgsp_proto::Reason;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::office::{Caller, Download, Office};
use crate::problem::{LocalReason, Problem};
use crate::trace::TraceParent;

/// The account in whose name the adapter itself asks.
const ACTOR: &str = "adapter";

/// Deliveries whose papers are fetched at one time: fewer than a way carries at once, so that those without papers get through.
const PLACES: usize = 3;

/// How long a delivery waits for such a place before others have their turn.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How often a paper may be the gateway's fault, with others coming meanwhile, before the delivery goes without it.
const TRIES: u32 = 5;

/// How long it may be so if no others come.
const LONGEST_FAULT: Duration = Duration::from_secs(24 * 3600);

/// The most faults remembered. Those of deliveries that went elsewhere are forgotten by this alone.
const MAX_FAULTS: usize = 4096;

/// As much of a delivery as names documents.
#[derive(Deserialize)]
struct DeliveryJson {
    body: Option<BodyJson>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BodyJson {
    components: Vec<PartJson>,
    results: Vec<PartJson>,
}

#[derive(Deserialize)]
struct PartJson {
    document: Option<NameJson>,
}

/// A document that a delivery names.
#[derive(Deserialize)]
pub(crate) struct NameJson {
    pub(crate) sha256: String,
    #[serde(default)]
    pub(crate) media_type: String,
}

/// Every document that a delivery names.
pub(crate) fn documents_named(delivery: &[u8]) -> Vec<NameJson> {
    let delivery: DeliveryJson = serde_json::from_slice(delivery).unwrap_or(DeliveryJson { body: None });
    let BodyJson { components, results } = delivery.body.unwrap_or_default();
    components.into_iter().chain(results).filter_map(|part| part.document).collect()
}

/// The adapter itself, asking for a party; `None` for one that is none.
pub(crate) fn caller(party: &str, trace: Option<&TraceParent>) -> Option<Caller> {
    let trace = trace.cloned().unwrap_or_else(TraceParent::begin);
    Some(Caller { party: party.parse().ok()?, actor: ACTOR.parse().ok()?, trace })
}

/// How it goes with the papers of one way out.
pub(crate) struct Papers {
    places: Semaphore,
    /// Whether somebody has waited for a place in vain, and nobody has got one since.
    all_are_slow: AtomicBool,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// How many have come, as a clock of the gateway's doing well.
    came: u64,
    /// By delivery and digest.
    faults: HashMap<(String, String), Fault>,
}

struct Fault {
    times: u32,
    /// What had come when it last counted.
    came: u64,
    since: Instant,
}

/// What is to be done about a paper that did not come.
pub(crate) enum Instead {
    /// It never will: this is put in its place.
    Put(Problem),
    /// Wait, for this one alone.
    WaitAlone,
    /// Wait: it is nothing about this paper.
    Wait,
}

impl Papers {
    pub(crate) fn new() -> Self {
        Self { places: Semaphore::new(PLACES), all_are_slow: AtomicBool::new(false), ledger: Mutex::default() }
    }

    /// A place to fetch papers in; `None` if all are taken by what takes its time.
    pub(crate) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        let place = if self.all_are_slow.load(Ordering::Relaxed) {
            self.places.try_acquire().ok()
        } else {
            tokio::time::timeout(LONGEST_WAIT, self.places.acquire()).await.ok().and_then(Result::ok)
        };
        self.all_are_slow.store(place.is_none(), Ordering::Relaxed);
        place
    }

    /// Notes that a paper has come.
    pub(crate) fn came(&self, delivery: &str, sha256: &str) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.came += 1;
        ledger.faults.remove(&(delivery.to_owned(), sha256.to_owned()));
    }

    /// What is to be done about a paper that did not come.
    pub(crate) fn judge(&self, delivery: &str, sha256: &str, problem: Problem) -> Instead {
        const FOR_GOOD: [Reason; 5] = [
            Reason::DocumentNotFound,
            Reason::DossierNotFound,
            Reason::ContentErased,
            Reason::DossierArchived,
            Reason::DocumentTooLarge,
        ];
        let for_good = FOR_GOOD.iter().any(|reason| reason.as_str() == problem.reason());
        // What else is said of who asks, or of the gateway as a whole, passes when a person has mended it.
        if !for_good && problem.reason() != Reason::Internal.as_str() {
            return Instead::Wait;
        }
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (delivery.to_owned(), sha256.to_owned());
        if for_good {
            ledger.faults.remove(&name);
            return Instead::Put(problem);
        }
        if ledger.faults.len() >= MAX_FAULTS {
            ledger.faults.clear();
        }
        let came = ledger.came;
        let fault = ledger.faults.entry(name.clone()).or_insert_with(|| {
            tracing::warn!(delivery, sha256, "the gateway cannot give a document that belongs beside a delivery");
            Fault { times: 0, came, since: Instant::now() }
        });
        if came > std::mem::replace(&mut fault.came, came) {
            fault.times += 1;
        }
        if fault.times < TRIES && fault.since.elapsed() < LONGEST_FAULT {
            return Instead::WaitAlone;
        }
        ledger.faults.remove(&name);
        tracing::error!(delivery, sha256, "a delivery goes on without a document that the gateway cannot give");
        Instead::Put(problem)
    }
}

/// How slow the gateway may be.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Nothing comes for so long.
    silence: Duration,
    /// A paper may take so long, and a second more for so many bytes.
    least: Duration,
    bytes_a_second: u64,
    /// Between two tries to go on.
    pause: Duration,
}

/// What the gateway gives an upload, given the other way.
pub(crate) const PACE: Pace = Pace {
    silence: Duration::from_secs(30),
    least: Duration::from_secs(60),
    bytes_a_second: 8 << 10,
    pause: Duration::from_secs(1),
};

/// Where a paper comes from.
pub(crate) trait Source: Send {
    /// Begins at a place in it; gives the length of the whole.
    fn begin(&mut self, offset: u64) -> impl Future<Output = Result<u64, Problem>> + Send;

    /// The next bytes from there on.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, Problem>> + Send;
}

/// A document of a dossier, at the gateway.
pub(crate) struct AtGateway<'a> {
    pub(crate) office: &'a Office,
    pub(crate) caller: &'a Caller,
    pub(crate) dossier: &'a str,
    pub(crate) sha256: &'a [u8; 32],
    pub(crate) download: Option<Download>,
}

impl Source for AtGateway<'_> {
    async fn begin(&mut self, offset: u64) -> Result<u64, Problem> {
        let (head, download) = self.office.fetch(self.caller, self.dossier, self.sha256, offset).await?;
        self.download = Some(download);
        Ok(head.size_bytes)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        match &mut self.download {
            Some(download) => download.chunk().await,
            None => Ok(None),
        }
    }
}

/// A paper on its way.
pub(crate) struct Paper<S> {
    source: S,
    pace: Pace,
    sha256: [u8; 32],
    digest: Context,
    size: u64,
    came: u64,
    /// How much had come when it was last gone on with.
    begun_at: u64,
    until: Instant,
}

impl<S: Source> Paper<S> {
    /// Begins to fetch.
    ///
    /// # Errors
    /// The gateway's refusal; `GATEWAY_UNREACHABLE`.
    pub(crate) async fn begin(mut source: S, sha256: &[u8; 32], pace: Pace) -> Result<Self, Problem> {
        let begun = Instant::now();
        let size = in_time(begun + pace.silence, source.begin(0)).await?;
        let until = begun + pace.least + Duration::from_secs(size / pace.bytes_a_second);
        let digest = Context::new(&SHA256);
        Ok(Self { source, pace, sha256: *sha256, digest, size, came: 0, begun_at: 0, until })
    }

    /// The length of the whole, as the gateway says.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes; `None` when all have come and are the document that was asked for.
    ///
    /// # Errors
    /// As [`Paper::begin`]; what came so far is of no use. `INTERNAL` too if it is another document.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        while self.came < self.size {
            match in_time(self.not_silent_until(), self.source.next()).await {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => {
                    self.came += chunk.len() as u64;
                    self.digest.update(&chunk);
                    return Ok(Some(chunk));
                }
                // It broke off.
                Ok(None) => self.go_on().await?,
                Err(problem) if is_of_the_line(&problem) => self.go_on().await?,
                Err(problem) => return Err(problem),
            }
        }
        let is_it = self.came == self.size && self.digest.clone().finish().as_ref() == self.sha256;
        if is_it { Ok(None) } else { Err(another()) }
    }

    /// Goes on where it broke off, if anything has come since it was last gone on with.
    async fn go_on(&mut self) -> Result<(), Problem> {
        if self.came == self.begun_at {
            return Err(LocalReason::GatewayUnreachable.into());
        }
        self.begun_at = self.came;
        let until = self.not_silent_until();
        loop {
            match in_time(until, self.source.begin(self.came)).await {
                Ok(size) if size == self.size => return Ok(()),
                Ok(_) => return Err(another()),
                Err(problem) if is_of_the_line(&problem) && Instant::now() + self.pace.pause < until => {
                    tokio::time::sleep(self.pace.pause).await;
                }
                Err(problem) => return Err(problem),
            }
        }
    }

    fn not_silent_until(&self) -> Instant {
        self.until.min(Instant::now() + self.pace.silence)
    }
}

/// What the gateway has is not what was asked for.
fn another() -> Problem {
    Problem::from(Reason::Internal).with_detail("what the gateway gives is not the document that was asked for")
}

fn is_of_the_line(problem: &Problem) -> bool {
    problem.may_pass() && problem.reason() != Reason::Internal.as_str()
}

async fn in_time<T>(until: Instant, what: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    // What never waits, as empty chunks one after the other, would never be timed out.
    if Instant::now() >= until {
        return Err(LocalReason::GatewayUnreachable.into());
    }
    let in_time = tokio::time::timeout_at(until.into(), what).await;
    in_time.unwrap_or_else(|_| Err(LocalReason::GatewayUnreachable.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"twenty bytes of it..";

    const PATIENT: Duration = Duration::from_secs(3600);

    const TEST: Pace = Pace {
        silence: Duration::from_millis(20),
        least: PATIENT,
        bytes_a_second: 8 << 10,
        pause: Duration::from_millis(1),
    };

    /// Gives so many bytes each time it is begun, then ends or falls silent.
    struct Breaks {
        bytes: usize,
        is_silent: bool,
        begun: Vec<u64>,
        has_given: bool,
    }

    impl Source for &mut Breaks {
        async fn begin(&mut self, offset: u64) -> Result<u64, Problem> {
            self.begun.push(offset);
            self.has_given = false;
            Ok(WHOLE.len() as u64)
        }

        async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
            if std::mem::replace(&mut self.has_given, true) {
                return if self.is_silent { std::future::pending().await } else { Ok(None) };
            }
            let from = usize::try_from(*self.begun.last().unwrap()).unwrap();
            Ok(Some(Bytes::from_static(&WHOLE[from..WHOLE.len().min(from + self.bytes)])))
        }
    }

    /// What comes, and from where it was begun.
    async fn fetched(bytes: usize, is_silent: bool, pace: Pace, sha256: &[u8]) -> (Result<Vec<u8>, String>, Vec<u64>) {
        let mut source = Breaks { bytes, is_silent, begun: Vec::new(), has_given: false };
        let fetching = async {
            let mut paper = Paper::begin(&mut source, sha256.try_into().unwrap(), pace).await?;
            let mut content = Vec::new();
            while let Some(chunk) = paper.chunk().await? {
                content.extend_from_slice(&chunk);
            }
            Ok(content)
        };
        let fetched: Result<_, Problem> = tokio::time::timeout(Duration::from_secs(20), fetching).await.unwrap();
        (fetched.map_err(|problem| problem.reason().to_owned()), source.begun)
    }

    #[tokio::test]
    async fn what_breaks_off_or_falls_silent_is_gone_on_with_and_whole_in_the_end() {
        let digest = aws_lc_rs::digest::digest(&SHA256, WHOLE);
        for is_silent in [false, true] {
            let (content, begun) = fetched(6, is_silent, TEST, digest.as_ref()).await;
            assert_eq!((content.as_deref(), &begun[..]), (Ok(WHOLE), &[0, 6, 12, 18][..]));
        }
    }

    #[tokio::test]
    async fn what_brings_nothing_is_given_up_and_what_is_another_document_is_not_taken() {
        let digest = aws_lc_rs::digest::digest(&SHA256, WHOLE);
        for is_silent in [false, true] {
            let (content, begun) = fetched(0, is_silent, TEST, digest.as_ref()).await;
            assert_eq!((content, &begun[..]), (Err("GATEWAY_UNREACHABLE".into()), &[0][..]));
        }
        let (content, _) = fetched(20, false, TEST, &[7; 32]).await;
        assert_eq!(content, Err("INTERNAL".into()));
    }

    #[tokio::test]
    async fn what_comes_slower_than_any_line_is_given_up() {
        let digest = aws_lc_rs::digest::digest(&SHA256, WHOLE);
        let pace = Pace { least: Duration::from_millis(50), ..TEST };
        let (content, begun) = fetched(1, true, pace, digest.as_ref()).await;
        assert_eq!(content, Err("GATEWAY_UNREACHABLE".into()));
        assert!((1..WHOLE.len()).contains(&begun.len()), "{begun:?}");
    }

    #[tokio::test]
    async fn where_all_places_are_slow_only_the_first_waits_for_one() {
        let papers = Papers::new();
        let mut places = Vec::new();
        for _ in 0..PLACES {
            places.push(papers.place().await.unwrap());
        }
        assert!(papers.place().await.is_none());
        let at_once = tokio::time::timeout(Duration::ZERO, papers.place()).await;
        assert!(at_once.expect("it does not wait").is_none());
        places.pop();
        assert!(papers.place().await.is_some());
    }

    #[test]
    fn a_fault_counts_against_a_paper_only_if_others_have_come_since_it_last_did() {
        let papers = Papers::new();
        let waits = || matches!(papers.judge("d/1", "ab", Reason::Internal.into()), Instead::WaitAlone);
        for _ in 0..3 * TRIES {
            assert!(waits(), "the gateway gives nothing at all");
        }
        for _ in 1..TRIES {
            papers.came("d/2", "cd");
            assert!(waits());
        }
        papers.came("d/2", "cd");
        assert!(matches!(papers.judge("d/1", "ab", Reason::Internal.into()), Instead::Put(_)));
        for reason in [Reason::SystemUnknown, Reason::ActsForMissing, Reason::Overloaded] {
            assert!(matches!(papers.judge("d/1", "ab", reason.into()), Instead::Wait), "{reason:?}");
        }
    }
}
