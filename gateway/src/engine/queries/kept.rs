//! Answers that may be given again, because their owner says so (`cache_s`), and for so long. In memory only, and bounded.
//!
//! An answer is given again for the same request and the same fields to whoever is granted those; that it was given is on record like any
//! other. Services about people are never kept: the registry refuses that.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_domain::registry::Service;
use lgsp_proto::types::Sha256Digest;
use tokio::time::Instant;

use crate::engine::intake::digest;

/// Answers kept at once, and their bytes: enough for what desks of a province ask again and again, and no way to fill the memory.
const MOST: usize = 4_096;
const BYTES_MOST: usize = 16 << 20;

/// An answer as it was given first.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The reply, cut.
    pub(super) reply: Bytes,
    /// The system that gave it.
    pub(super) connector: String,
    /// When.
    pub(super) answered_at: SystemTime,
}

#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<Sha256Digest, (Instant, Kept)>>);

/// What makes two questions one.
pub(super) fn name(service: &Service, payload: &[u8], fields: &BTreeSet<String>) -> Sha256Digest {
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let head = format!("{}\n{}\n", service.id(), fields.join(","));
    digest(&[head.as_bytes(), payload].concat())
}

impl Answers {
    pub(super) fn find(&self, name: &Sha256Digest) -> Option<Kept> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(name).filter(|(until, _)| Instant::now() < *until).map(|(_, kept)| kept.clone())
    }

    /// Keeps an answer while the service allows it, and if there is room.
    pub(super) fn keep(&self, name: Sha256Digest, service: &Service, kept: Kept) {
        if service.cache.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes =
            |answers: &HashMap<_, (Instant, Kept)>| answers.values().map(|(_, kept)| kept.reply.len()).sum::<usize>();
        let is_full = |answers: &HashMap<_, _>| answers.len() >= MOST || bytes(answers) + kept.reply.len() > BYTES_MOST;
        if is_full(&answers) {
            answers.retain(|_, (until, _)| now < *until);
        }
        if !is_full(&answers) {
            answers.insert(name, (now + service.cache, kept));
        }
    }
}
