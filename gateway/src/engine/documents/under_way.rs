//! One upload of a content at a time: two would write into one file.
//!
//! An upload lasts as long as its line is slow, many minutes. So it is not held in one of the lanes, which all kinds of work
//! share by chance: its lock has exactly its name, and only another upload of the same content ever waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lgsp_proto::types::{PartyId, Sha256Digest};
use tokio::sync::OwnedMutexGuard;

/// A party's upload of one content.
type Name = (PartyId, Sha256Digest);

/// The uploads under way, and whoever waits for one of them to end.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>>);

/// Keeps the file of one upload until dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct Held {
    /// Goes first: it knows the lock as well, and `_wanted` counts who does.
    _guard: OwnedMutexGuard<()>,
    _wanted: Wanted,
}

/// Somebody has a lock, or waits for it. The last one to drop this removes it, so that only what is under way costs memory.
#[derive(Debug)]
struct Wanted {
    under_way: UnderWay,
    name: Name,
    /// There until dropped.
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl UnderWay {
    /// Waits until nobody else has the file of this upload.
    pub(super) async fn hold(&self, party: &PartyId, sha256: &Sha256Digest) -> Held {
        let name = (party.clone(), *sha256);
        let lock = Arc::clone(self.locks().entry(name.clone()).or_default());
        let wanted = Wanted { under_way: self.clone(), name, lock: Some(Arc::clone(&lock)) };
        Held { _guard: lock.lock_owned().await, _wanted: wanted }
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<Name, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut locks = self.under_way.locks();
        drop(self.lock.take());
        // Whoever wants it has taken it from here, so nobody can come to know it while this is looked at.
        if locks.get(&self.name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(byte: u8) -> Sha256Digest {
        Sha256Digest::from([byte; 32])
    }

    #[tokio::test]
    async fn the_same_content_of_a_party_waits_and_nothing_else_does() {
        let under_way = UnderWay::default();
        let (one, other): (PartyId, PartyId) = ("H57.101".parse().unwrap(), "H57.102".parse().unwrap());
        let held = under_way.hold(&one, &sha256(1)).await;
        let elsewhere = [under_way.hold(&one, &sha256(2)).await, under_way.hold(&other, &sha256(1)).await];
        let again = tokio::spawn({
            let (under_way, one) = (under_way.clone(), one.clone());
            async move { under_way.hold(&one, &sha256(1)).await }
        });
        tokio::task::yield_now().await;
        assert!(!again.is_finished());
        drop(held);
        let held = again.await.unwrap();
        drop((elsewhere, held));
        assert!(under_way.locks().is_empty(), "only what is under way is kept");
    }

    #[tokio::test]
    async fn whoever_gives_up_waiting_leaves_nothing_behind() {
        let under_way = UnderWay::default();
        let party: PartyId = "H57.101".parse().unwrap();
        let held = under_way.hold(&party, &sha256(1)).await;
        let waiting = tokio::spawn({
            let (under_way, party) = (under_way.clone(), party.clone());
            async move { under_way.hold(&party, &sha256(1)).await }
        });
        tokio::task::yield_now().await;
        drop(held);
        // It has been given the lock, and goes away before it has heard of it.
        waiting.abort();
        let _ = waiting.await;
        assert!(under_way.locks().is_empty());
        let _ = under_way.hold(&party, &sha256(1)).await;
    }
}
