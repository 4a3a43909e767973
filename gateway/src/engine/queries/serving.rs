//! A connector's stream: what it is asked, and what it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, Refusal, v1};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::board::{Answer, Asked, Line, ServiceName};
use super::outcome;
use crate::engine::Engine;
use crate::engine::access::Peer;
use crate::store::QueryId;

/// What a connector wants to serve.
#[derive(Debug)]
pub struct Offer {
    /// For which owner.
    pub party: PartyId,
    /// What.
    pub services: Vec<ServiceName>,
    /// How many questions at once.
    pub at_once: usize,
}

/// One stream. Dropped, it is asked nothing more, and the outcome of what it was asked is unknown.
pub struct Serving {
    engine: Engine,
    line: Arc<Line>,
    asked: Mutex<mpsc::Receiver<Asked>>,
    late: AtomicU64,
}

impl Engine {
    /// Opens a connector's stream.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `SERVICE_UNKNOWN`; `ACTS_FOR_MISSING` with the owner when a service is another party's.
    pub fn open_serving(&self, peer: &Peer, offer: Offer) -> Result<Serving, Refusal> {
        let authorized = self.authorize(peer, &offer.party)?;
        let (registry, today) = (authorized.registry(), authorized.today());
        for (name, version) in &offer.services {
            let service = registry.service(name, Some(*version), today).map_err(|none| none.refusal())?;
            let owner = registry.current_of(&service.owner, today);
            if owner != offer.party {
                // Only its owner, or whoever acts for it, says what is in its data.
                let refusal = Refusal::new(Reason::ActsForMissing).detail("system", authorized.system());
                return Err(refusal.detail("party", owner).detail("service", service.id()));
            }
        }
        let of = (peer.clone(), authorized.system().to_owned(), offer.party);
        let (line, asked) = self.inner.queries.board.open(of, offer.services, offer.at_once);
        Ok(Serving { engine: self.clone(), line, asked: Mutex::new(asked), late: AtomicU64::new(0) })
    }
}

impl Serving {
    /// Waits for the next question that somebody still waits for. Dropping the future loses nothing.
    pub async fn next(&self) -> v1::Question {
        let mut asked = self.asked.lock().await;
        loop {
            let Some(Asked { mut question, until }) = asked.recv().await else {
                // The line itself holds the other end.
                return std::future::pending().await;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.line.is_waited_for(&question.query_id) {
                continue;
            }
            question.time_left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            return question;
        }
    }

    /// Takes an answer. One that comes too late, or to nothing that this stream was asked, is dropped and counted.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`] when the system may not act for the owner any more; then nothing of it counts.
    pub fn answer(&self, id: &QueryId, answer: Answer) -> Result<(), Refusal> {
        let _ = self.engine.authorize(&self.line.peer, &self.line.party)?;
        if !self.line.answered(id, answer) {
            self.late.fetch_add(1, Ordering::Relaxed);
            self.engine.counts().queries.count(outcome::LATE);
        }
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.engine.inner.queries.board.close(&self.line);
        let late = *self.late.get_mut();
        tracing::info!(system = self.line.system, party.id = %self.line.party, late, "a connector has gone");
    }
}
