//! What the agency knows and does: its share of the plan, what it has been told, what it waits for.
//!
//! Invariant: everything is in the books before it is answered or sent.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::civil::DateTime;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::control::Answer;
use super::webhook::Hook;
use super::{Tamper, request};
use crate::demo::books::{Entry, Writer};
use crate::demo::scenario::{Act, Share, Step};
use crate::staging::http::Client;

/// Requests under way at one time; an office has only so many hands.
pub(super) const HANDS: usize = 24;
/// Questions to the population database under way at one time. Four systems ask, and its connector takes sixteen.
const QUESTIONS: usize = 4;
/// How long outcomes may take. The bus answers in milliseconds; this is for a machine that is very busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// An agency.
pub(super) struct Desk {
    adapter: OnceLock<Client>,
    inner: Mutex<Inner>,
    /// How many requests have no outcome yet.
    unanswered: watch::Sender<usize>,
    pub(super) questions: Semaphore,
    /// Whether nobody posts to it: then it asks what it would have been told.
    asks: bool,
    tamper: Option<Tamper>,
}

struct Inner {
    books: Writer,
    /// Still to be done, the latest first.
    steps: Vec<Step>,
    /// The last event of a dossier of the plan that a party knows of, and the dossier's code.
    known: HashMap<(String, u32), (u32, String)>,
    waiting: HashSet<(String, String)>,
    /// The delivery that is being mistreated, or what is left of it.
    mistreated: Option<Entry>,
    /// Whether it has been booked after the next one.
    swapped: bool,
}

impl Desk {
    pub(super) fn open(plan: Share, books: &Path, asks: bool, tamper: Option<Tamper>) -> anyhow::Result<Self> {
        let mut steps = plan.steps;
        steps.reverse();
        Ok(Self {
            adapter: OnceLock::new(),
            inner: Mutex::new(Inner {
                books: Writer::open(books)?,
                steps,
                known: HashMap::new(),
                waiting: HashSet::new(),
                mistreated: None,
                swapped: false,
            }),
            unanswered: watch::Sender::new(0),
            questions: Semaphore::new(QUESTIONS),
            asks,
            tamper,
        })
    }

    /// Where the adapter is; the first time counts.
    pub(super) fn connect(&self, address: &str) {
        self.adapter.get_or_init(|| Client::new(address));
    }

    /// Does everything due by `until`, and waits for the outcome of all of it.
    pub(super) async fn act(self: &Arc<Self>, until: DateTime) -> anyhow::Result<Answer> {
        if self.asks {
            self.catch_up(until).await?;
        }
        let (due, stuck) = self.due(until);
        let hands = Arc::new(Semaphore::new(HANDS));
        let mut doing = JoinSet::new();
        for (step, code) in due {
            let (desk, hands) = (Arc::clone(self), Arc::clone(&hands));
            doing.spawn(async move {
                let _hand = hands.acquire().await?;
                desk.perform(&step, code.as_deref()).await.with_context(|| format!("request {}", step.key()))
            });
        }
        while let Some(done) = doing.join_next().await {
            done??;
        }
        let mut unanswered = self.unanswered.subscribe();
        let answered = tokio::time::timeout(PATIENCE, unanswered.wait_for(|count| *count == 0)).await;
        if answered.is_err() {
            let waiting = self.inner().waiting.iter().map(|(_, key)| key.clone()).min();
            bail!("{} requests have no outcome, {} among them", *self.unanswered.borrow(), waiting.unwrap_or_default());
        }
        Ok(Answer::Done { stuck })
    }

    /// The steps due by `until` whose dossier has come so far, with its code; and how many have to wait for it.
    fn due(&self, until: DateTime) -> (Vec<(Step, Option<String>)>, u64) {
        let mut inner = self.inner();
        let mut due = Vec::new();
        let mut stuck = Vec::new();
        while inner.steps.last().is_some_and(|step| step.at <= until) {
            let Some(step) = inner.steps.pop() else { break };
            match inner.known.get(&(step.party.clone(), step.dossier)) {
                _ if step.sequence == 1 => due.push((step, None)),
                Some((known, code)) if *known + 1 == step.sequence => due.push((step.clone(), Some(code.clone()))),
                _ => stuck.push(step),
            }
        }
        let count = stuck.len() as u64;
        inner.steps.extend(stuck.into_iter().rev());
        (due, count)
    }

    async fn perform(&self, step: &Step, code: Option<&str>) -> anyhow::Result<()> {
        if let Act::Submit(filing) = &step.act {
            self.confirm(step, filing).await?;
        }
        let adapter = self.adapter()?;
        let mut uploaded = Vec::new();
        for paper in request::papers(&step.act) {
            let mut headers = self.headers(step)?;
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            let path = format!("/v1/documents?file_name={}", paper.file_name);
            let (status, answer) = adapter.send(Method::POST, &path, headers, paper.text.clone()).await?;
            if status != StatusCode::CREATED {
                bail!("the adapter did not take a document: {status} {}", String::from_utf8_lossy(&answer));
            }
            uploaded.push(serde_json::from_slice(&answer)?);
        }
        let body = serde_json::to_vec(&request::body(step, uploaded))?;
        let mut headers = self.headers(step)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", step.key().parse()?);
        self.sending(step)?;
        let (status, answer) = adapter.send(Method::POST, &request::path(code), headers, body).await?;
        match status {
            StatusCode::ACCEPTED if self.asks => self.fetch_outcome(step).await,
            StatusCode::ACCEPTED => Ok(()),
            status if status.is_client_error() => {
                let problem: Value = serde_json::from_slice(&answer)?;
                let reason = problem["reason"].as_str().unwrap_or("NONE_GIVEN").to_owned();
                self.answered(Entry::Refused { party: step.party.clone(), key: step.key(), reason })
            }
            status => bail!("the adapter answered {status} {}", String::from_utf8_lossy(&answer)),
        }
    }

    pub(super) fn adapter(&self) -> anyhow::Result<&Client> {
        self.adapter.get().context("the agency has no adapter yet")
    }

    /// The steps due by `until` that follow on an event, and their dossiers' codes; not those whose dossier is not known yet.
    pub(super) fn followed(&self, until: DateTime) -> Vec<(Step, String)> {
        let inner = self.inner();
        let due = inner.steps.iter().rev().take_while(|step| step.at <= until).filter(|step| step.sequence > 1);
        let known = due.filter_map(|step| {
            let (_, code) = inner.known.get(&(step.party.clone(), step.dossier))?;
            Some((step.clone(), code.clone()))
        });
        known.collect()
    }

    /// The dossier of a step has come so far.
    pub(super) fn learn(&self, step: &Step, sequence: u32, code: &str) {
        self.inner().knows(&step.party, step.dossier, sequence, code);
    }

    pub(super) fn write(&self, entry: &Entry) -> anyhow::Result<()> {
        self.inner().books.write(entry)
    }

    pub(super) fn headers(&self, step: &Step) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert("lgsp-party", step.party.parse()?);
        headers.insert("lgsp-actor", step.actor.parse()?);
        Ok(headers)
    }

    fn sending(&self, step: &Step) -> anyhow::Result<()> {
        let (party, key) = (step.party.clone(), step.key());
        let mut inner = self.inner();
        inner.books.write(&Entry::Sent { party: party.clone(), key: key.clone() })?;
        inner.waiting.insert((party, key));
        self.unanswered.send_replace(inner.waiting.len());
        Ok(())
    }

    /// Takes a webhook. It is in the books when this returns.
    pub(super) fn told(&self, hook: Hook) -> anyhow::Result<()> {
        let number = hook.plan_number();
        match hook.into_entry() {
            received @ Entry::Received { .. } => self.received(received, number),
            outcome => self.answered(outcome),
        }
    }

    fn received(&self, entry: Entry, number: Option<u32>) -> anyhow::Result<()> {
        let mut inner = self.inner();
        if let (Entry::Received { party, dossier, sequence, .. }, Some(number)) = (&entry, number) {
            inner.knows(party, number, *sequence, dossier);
        }
        match self.tamper {
            None => inner.books.write(&entry),
            Some(tamper) => inner.mistreat(tamper, entry),
        }
    }

    /// The outcome of a request. The same outcome may be told twice: the first time counts.
    pub(super) fn answered(&self, outcome: Entry) -> anyhow::Result<()> {
        let mut inner = self.inner();
        let (Entry::Admitted { party, key, .. } | Entry::Refused { party, key, .. }) = &outcome else {
            return Err(anyhow!("no outcome of a request"));
        };
        if !inner.waiting.remove(&(party.clone(), key.clone())) {
            return Ok(());
        }
        if let (Entry::Admitted { party, dossier, sequence, .. }, Some(number)) = (&outcome, Step::dossier_of(key)) {
            inner.knows(party, number, *sequence, dossier);
        }
        inner.books.write(&outcome)?;
        self.unanswered.send_replace(inner.waiting.len());
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("whoever held it has not panicked")
    }
}

impl Inner {
    fn knows(&mut self, party: &str, number: u32, sequence: u32, code: &str) {
        let known = self.known.entry((party.to_owned(), number)).or_insert_with(|| (0, code.to_owned()));
        known.0 = known.0.max(sequence);
    }

    /// Books everything as it should, except the first acceptance, which other events follow.
    fn mistreat(&mut self, tamper: Tamper, entry: Entry) -> anyhow::Result<()> {
        let Some(victim) = self.mistreated.clone() else {
            if !matches!(&entry, Entry::Received { event, .. } if event.kind == "accepted") {
                return self.books.write(&entry);
            }
            self.mistreated = Some(entry.clone());
            return match tamper {
                Tamper::Drop | Tamper::Swap => Ok(()),
                Tamper::Double => {
                    self.books.write(&entry)?;
                    self.books.write(&entry)
                }
            };
        };
        self.books.write(&entry)?;
        if tamper == Tamper::Swap && !self.swapped && is_next(&victim, &entry) {
            self.swapped = true;
            self.books.write(&victim)?;
        }
        Ok(())
    }
}

/// Whether both are told to one party of one dossier.
fn is_next(one: &Entry, other: &Entry) -> bool {
    match (one, other) {
        (Entry::Received { party, dossier, .. }, Entry::Received { party: same_party, dossier: same_dossier, .. }) => {
            party == same_party && dossier == same_dossier
        }
        _ => false,
    }
}
