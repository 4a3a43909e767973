//! Lanes: one commit at a time per dossier, per request key and per alias; everything else side by side.
//!
//! A lane is held from before the state is read until the commit is visible to every reader, so that a decision is never
//! made on a state that is about to change. That is a sync or two: different names share a lane by chance, so nobody may hold one
//! for as long as somebody else's line is slow.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Many enough that two of the few hundred calls under way at once seldom share one by chance.
const LANES: usize = 4096;

/// Those for tokens, apart from the others: strangers name tokens, and nobody's dossier waits for one of them.
const LANES_OF_TOKENS: usize = 256;

/// The lanes of one process.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Arc<Mutex<()>>>,
    /// How many of them, at the end, are for tokens.
    of_tokens: usize,
    /// Goes into every name's hash, so that nobody can choose names that share the lanes of another.
    secret: u64,
}

/// Holds lanes until dropped.
#[must_use]
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held for its drop")] Vec<OwnedMutexGuard<()>>);

impl Lanes {
    /// Free lanes.
    pub fn new() -> Self {
        Self::with_secret(RandomState::new().hash_one(()))
    }

    /// Free lanes, the same names on the same ones in every process that knows the secret.
    pub(super) fn with_secret(secret: u64) -> Self {
        let lanes = (0..LANES + LANES_OF_TOKENS).map(|_| Arc::default()).collect();
        Self { lanes, of_tokens: LANES_OF_TOKENS, secret }
    }

    /// A pool of one, in which everything shares a lane.
    #[cfg(all(test, feature = "test-util"))]
    pub(super) fn one() -> Self {
        Self { lanes: vec![Arc::default()], of_tokens: 0, secret: 0 }
    }

    /// Waits for the lanes of all `names`.
    ///
    /// They are always taken in the order of their numbers, so that two calls never wait for each other.
    pub async fn hold<'a>(&self, names: impl IntoIterator<Item = Lane<'a>>) -> Held {
        let numbers: BTreeSet<usize> = names.into_iter().map(|name| self.number(name)).collect();
        let mut held = Vec::with_capacity(numbers.len());
        for number in numbers {
            held.push(Arc::clone(&self.lanes[number]).lock_owned().await);
        }
        Held(held)
    }

    fn number(&self, lane: Lane<'_>) -> usize {
        let mut hasher = DefaultHasher::new();
        (self.secret, lane).hash(&mut hasher);
        let others = self.lanes.len() - self.of_tokens;
        let is_of_tokens = matches!(lane, Lane::Token(_)) && self.of_tokens > 0;
        let (first, count) = if is_of_tokens { (others, self.of_tokens) } else { (0, others) };
        first + usize::try_from(hasher.finish() % count as u64).expect("smaller than the number of lanes")
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

/// What only one commit at a time may touch.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Lane<'a> {
    /// A dossier, by its code or by a name that may become an alias: codes and aliases share one space.
    Dossier(&'a str),
    /// A request key of a party.
    Key(&'a str, &'a str),
    /// What a party has uploaded, by digest, so that one dossier gets it. Uploads have locks of their own: they last too long.
    Document(&'a str, &'a [u8; 32]),
    /// A join token.
    Token(&'a [u8; 16]),
    /// The registry as a whole.
    Registry,
    /// The numbers that a desk holds.
    Numbers(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_lane_waits_and_another_does_not() {
        let lanes = Lanes::new();
        let held = lanes.hold([Lane::Dossier("H57.101-250714-0001"), Lane::Key("H57.101", "k")]).await;
        let same = lanes.hold([Lane::Dossier("H57.101-250714-0001")]);
        tokio::pin!(same);
        assert!(futures_poll_once(&mut same).await.is_none());
        drop(held);
        let _ = same.await;
    }

    #[tokio::test]
    async fn naming_a_lane_twice_does_not_lock_it_twice() {
        let lanes = Lanes::new();
        let _ = lanes.hold([Lane::Registry, Lane::Registry]).await;
    }

    async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
