//! Who serves which service now, and what is under way there.
//!
//! Every service has a desk of its own with a lock of its own, held for a moment and never over an await: a slow one delays no
//! other. A question is given to one stream, once; whatever ends it (an answer, the time limit, the stream) ends it for good, and
//! what comes after that is too late.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lgsp_domain::registry::Service;
use lgsp_proto::types::PartyId;
use lgsp_proto::{RETRY_AFTER_MS, Reason, Refusal, v1};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::breaker::{Breaker, Ended, Flow};
use crate::engine::access::Peer;
use crate::store::QueryId;

/// When whoever finds all places taken may ask again: nobody knows when one is free, and most answers take less.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// For how long a stream that let a question go by comes after the others: a connector that hangs must not take every question with it
/// while another one of the service is well.
const LAST_FOR: Duration = Duration::from_secs(5);

/// A service and its version.
pub type ServiceName = (String, u32);

/// What a connector answers.
#[derive(Debug)]
pub enum Answer {
    /// A document.
    Reply(Bytes),
    /// None, and why.
    Refused(v1::ServiceRefusal),
}

/// A question on its way to a connector.
pub struct Asked {
    /// As it is sent, but for the time that is left.
    pub question: v1::Question,
    /// Until when an answer is waited for.
    pub until: Instant,
}

/// All desks.
#[derive(Debug, Default)]
pub(super) struct Board {
    desks: Mutex<HashMap<ServiceName, Arc<Desk>>>,
    lines: AtomicU64,
}

/// One service.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<DeskState>);

#[derive(Debug, Default)]
struct DeskState {
    under_way: usize,
    breaker: Breaker,
    lines: Vec<Arc<Line>>,
}

/// How a service stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Streams that serve it.
    pub connectors: usize,
    /// Questions under way.
    pub under_way: usize,
    /// Whether questions are passed on.
    pub flow: Flow,
}

/// One stream of a connector.
#[derive(Debug)]
pub struct Line {
    number: u64,
    pub(super) peer: Peer,
    /// The system it was when it opened the stream.
    pub(super) system: String,
    /// For which owner it serves.
    pub(super) party: PartyId,
    services: Vec<ServiceName>,
    at_once: usize,
    questions: mpsc::Sender<Asked>,
    state: Mutex<LineState>,
}

#[derive(Debug, Default)]
struct LineState {
    pending: HashMap<QueryId, oneshot::Sender<Answer>>,
    /// Until when it comes last, because it was silent.
    last_until: Option<Instant>,
}

/// A question that a line has. Dropped without an end it counts as a failure of the service.
pub(super) struct Slot {
    desk: Arc<Desk>,
    pub(super) line: Arc<Line>,
    id: QueryId,
    answer: oneshot::Receiver<Answer>,
    is_trial: bool,
    has_ended: bool,
}

impl Board {
    /// A stream that serves these; questions come out of the receiver.
    pub(super) fn open(
        &self,
        (peer, system, party): (Peer, String, PartyId),
        services: Vec<ServiceName>,
        at_once: usize,
    ) -> (Arc<Line>, mpsc::Receiver<Asked>) {
        let (questions, asked) = mpsc::channel(at_once);
        let number = self.lines.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::default();
        let line = Arc::new(Line { number, peer, system, party, services, at_once, questions, state });
        for service in &line.services {
            self.desk(service).lock().lines.push(Arc::clone(&line));
        }
        (line, asked)
    }

    /// The stream has ended: of what it was asked nobody knows what became.
    pub(super) fn close(&self, line: &Line) {
        for service in &line.services {
            self.desk(service).lock().lines.retain(|other| other.number != line.number);
        }
        line.lock().pending.clear();
    }

    /// Only services of the registry have a desk, so there are no more of them than it declares.
    fn desk(&self, name: &ServiceName) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(desks.entry(name.clone()).or_default())
    }

    pub(super) fn standing(&self, service: &Service, may_serve: impl Fn(&Line) -> bool) -> Standing {
        let desk = self.desk(&(service.name.clone(), service.version));
        let state = desk.lock();
        let connectors = state.lines.iter().filter(|line| may_serve(line)).count();
        Standing { connectors, under_way: state.under_way, flow: state.breaker.flow(Instant::now()) }
    }

    /// Gives a question to the stream that has the least to do, if one may have it; one that was silent of late comes last.
    ///
    /// # Errors
    /// `SERVICE_NOT_SERVED`, `SERVICE_SUSPENDED`, `SERVICE_BUSY`: nothing was asked.
    pub(super) fn ask(
        &self,
        service: &Service,
        id: QueryId,
        asked: Asked,
        may_serve: impl Fn(&Line) -> bool,
    ) -> Result<Slot, Refusal> {
        let desk = self.desk(&(service.name.clone(), service.version));
        let refused = |reason| Refusal::new(reason).detail("service", service.id());
        let wait = |refusal: Refusal, time: Duration| refusal.detail(RETRY_AFTER_MS, time.as_millis().max(1));
        let mut state = desk.lock();
        let lines: Vec<&Arc<Line>> = state.lines.iter().filter(|line| may_serve(line)).collect();
        if lines.is_empty() {
            return Err(refused(Reason::ServiceNotServed));
        }
        let now = Instant::now();
        if let Flow::Suspended(time) = state.breaker.flow(now) {
            return Err(wait(refused(Reason::ServiceSuspended), time));
        }
        let busy = || wait(refused(Reason::ServiceBusy).detail("at_once", service.concurrency), TRY_AGAIN);
        if state.under_way >= service.concurrency {
            return Err(busy());
        }
        let loads = lines.into_iter().map(|line| (line.load(now), line));
        let least = loads.filter(|((_, load), line)| *load < line.at_once).min_by_key(|(load, _)| *load);
        let line = Arc::clone(least.ok_or_else(busy)?.1);
        let answer = line.give(id, asked).ok_or_else(busy)?;
        state.under_way += 1;
        let is_trial = state.breaker.begin();
        drop(state);
        Ok(Slot { desk, line, id, answer, is_trial, has_ended: false })
    }
}

impl Desk {
    // Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, DeskState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it comes after the others, and how much it has to do. What it has not even taken counts also when nobody waits for it any
    /// more: a connector that takes nothing would look as if it had nothing to do.
    fn load(&self, now: Instant) -> (bool, usize) {
        let state = self.lock();
        let not_taken = self.questions.max_capacity() - self.questions.capacity();
        (state.last_until.is_some_and(|until| now < until), state.pending.len().max(not_taken))
    }

    fn give(&self, id: QueryId, asked: Asked) -> Option<oneshot::Receiver<Answer>> {
        let (tell, answer) = oneshot::channel();
        self.lock().pending.insert(id, tell);
        // Closed in this moment.
        if self.questions.try_send(asked).is_err() {
            self.lock().pending.remove(&id);
            return None;
        }
        Some(answer)
    }

    /// Takes the answer to a question of this stream; `false` when nobody waits for it any more.
    pub(super) fn answered(&self, id: &QueryId, answer: Answer) -> bool {
        let mut state = self.lock();
        // Whatever it says, it is there.
        state.last_until = None;
        let waiting = state.pending.remove(id);
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }

    /// Whether somebody still waits for an answer.
    pub(super) fn is_waited_for(&self, id: &[u8]) -> bool {
        QueryId::try_from(id).is_ok_and(|id| self.lock().pending.contains_key(&id))
    }
}

impl Slot {
    /// The answer; `None` when there is none in time, or the stream has ended.
    pub(super) async fn answer(&mut self, until: Instant) -> Option<Answer> {
        let Ok(answer) = tokio::time::timeout_at(until, &mut self.answer).await else {
            self.line.lock().last_until = Some(Instant::now() + LAST_FOR);
            return None;
        };
        answer.ok()
    }

    /// The question has ended; answers whether the service is left alone from now on.
    pub(super) fn end(mut self, ended: Ended) -> bool {
        self.has_ended = true;
        self.desk.lock().breaker.end(self.is_trial, ended, Instant::now())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.line.lock().pending.remove(&self.id);
        let mut state = self.desk.lock();
        state.under_way -= 1;
        if !self.has_ended {
            state.breaker.end(self.is_trial, Ended::Failed, Instant::now());
        }
    }
}

#[cfg(all(test, feature = "test-util"))]
#[expect(clippy::unwrap_used, reason = "clippy takes a module with a feature for no test")]
mod tests {
    use lgsp_domain::query::Schema;

    use super::*;
    use crate::engine::testing::{AN, House};

    fn service() -> Service {
        let schema = || Schema::parse(br#"{ "type": "object", "properties": { "a": { "type": "string" } } }"#).unwrap();
        Service {
            name: "thua-dat".to_owned(),
            version: 1,
            owner: AN.parse().unwrap(),
            title: String::new(),
            title_en: None,
            request_file: String::new(),
            reply_file: String::new(),
            request: schema(),
            reply: schema(),
            purposes: Default::default(),
            timeout: Duration::from_secs(1),
            concurrency: 9,
            cache: Duration::ZERO,
            needs: Default::default(),
            subject: Vec::new(),
            validity: Default::default(),
        }
    }

    #[tokio::test]
    async fn a_stream_that_takes_nothing_is_not_given_what_another_one_can_take() {
        let (peer, board, service) = (House::open().await.peer("mot-cua"), Board::default(), service());
        let open = || {
            let of = (peer.clone(), "mot-cua".to_owned(), AN.parse().unwrap());
            board.open(of, vec![("thua-dat".to_owned(), 1)], 1)
        };
        let ((stuck, _untaken), (other, mut taken)) = (open(), open());
        let ask = |number: u8| {
            let asked = Asked { question: v1::Question::default(), until: Instant::now() + service.timeout };
            board.ask(&service, [number; 16], asked, |_| true)
        };
        let slot = ask(1).unwrap();
        assert_eq!(slot.line.number, stuck.number);
        // Nobody waits any more, and it still lies there.
        assert!(!slot.end(Ended::Unsaid));
        for number in 2..5 {
            let slot = ask(number).unwrap();
            assert_eq!(slot.line.number, other.number);
            taken.recv().await.unwrap();
            assert!(!slot.end(Ended::Well));
        }
        let _under_way = ask(5).unwrap();
        assert_eq!(ask(6).err().unwrap().reason(), Reason::ServiceBusy);
    }
}
