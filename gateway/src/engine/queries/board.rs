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
    pending: Mutex<HashMap<QueryId, oneshot::Sender<Answer>>>,
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
        let pending = Mutex::default();
        let line = Arc::new(Line { number, peer, system, party, services, at_once, questions, pending });
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
        line.pending().clear();
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

    /// Gives a question to the stream that has the least to do, if one may have it.
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
        if let Flow::Suspended(time) = state.breaker.flow(Instant::now()) {
            return Err(wait(refused(Reason::ServiceSuspended), time));
        }
        let busy = || wait(refused(Reason::ServiceBusy).detail("at_once", service.concurrency), TRY_AGAIN);
        if state.under_way >= service.concurrency {
            return Err(busy());
        }
        let free = |line: &&&Arc<Line>| line.pending().len() < line.at_once;
        let least = lines.iter().filter(free).min_by_key(|line| line.pending().len());
        let line = Arc::clone(least.ok_or_else(busy)?);
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
    fn pending(&self) -> MutexGuard<'_, HashMap<QueryId, oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, id: QueryId, asked: Asked) -> Option<oneshot::Receiver<Answer>> {
        let (tell, answer) = oneshot::channel();
        self.pending().insert(id, tell);
        // Full of what nobody waits for any more, or closed in this moment.
        if self.questions.try_send(asked).is_err() {
            self.pending().remove(&id);
            return None;
        }
        Some(answer)
    }

    /// Takes the answer to a question of this stream; `false` when nobody waits for it any more.
    pub(super) fn answered(&self, id: &QueryId, answer: Answer) -> bool {
        let waiting = self.pending().remove(id);
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }

    /// Whether somebody still waits for an answer.
    pub(super) fn is_waited_for(&self, id: &[u8]) -> bool {
        QueryId::try_from(id).is_ok_and(|id| self.pending().contains_key(&id))
    }
}

impl Slot {
    /// The answer; `None` when there is none in time, or the stream has ended.
    pub(super) async fn answer(&mut self, until: Instant) -> Option<Answer> {
        tokio::time::timeout_at(until, &mut self.answer).await.ok()?.ok()
    }

    /// The question has ended; answers whether the service is left alone from now on.
    pub(super) fn end(mut self, ended: Ended) -> bool {
        self.has_ended = true;
        self.desk.lock().breaker.end(self.is_trial, ended, Instant::now())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.line.pending().remove(&self.id);
        let mut state = self.desk.lock();
        state.under_way -= 1;
        if !self.has_ended {
            state.breaker.end(self.is_trial, Ended::Failed, Instant::now());
        }
    }
}
