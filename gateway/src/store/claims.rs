//! What commits under way will write, so that of two that exclude each other only one is begun.
//!
//! A commit claims its keys before it looks whether they are free, and keeps them until its changes are visible. Between
//! the two there is no moment in which a second one could find them free. The second waits: what is visible already, to whoever
//! acts on it at once, may be claimed for a moment longer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The keys that are claimed now.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    claimed: Mutex<HashSet<Vec<u8>>>,
    /// Told whenever keys are let go of.
    freed: Notify,
}

/// Keys held by one commit. Dropping it lets go of them.
#[derive(Debug)]
#[must_use]
pub(super) struct Claim {
    claims: Claims,
    keys: Vec<Vec<u8>>,
}

impl Claims {
    /// Claims all of `keys`, once no other commit has one of them. Until then it holds none, so nobody waits for it.
    pub(super) async fn claim(&self, keys: Vec<Vec<u8>>) -> Claim {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            // Before it is looked, so that nothing that is let go of between the two is missed.
            freed.as_mut().enable();
            match self.claim_now(&keys) {
                Some(claim) => return claim,
                None => freed.await,
            }
        }
    }

    fn claim_now(&self, keys: &[Vec<u8>]) -> Option<Claim> {
        let mut claimed = self.0.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.iter().any(|key| claimed.contains(key)) {
            return None;
        }
        claimed.extend(keys.iter().cloned());
        Some(Claim { claims: self.clone(), keys: keys.to_vec() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Shared { claimed, freed } = &*self.claims.0;
        let mut claimed = claimed.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            claimed.remove(key);
        }
        drop(claimed);
        freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_key_is_claimed_by_one_commit_at_a_time_and_who_waits_holds_nothing() {
        let (claims, mut later) = (Claims::default(), Context::from_waker(Waker::noop()));
        let first = claims.claim(vec![b"a".to_vec(), b"b".to_vec()]).await;
        let mut second = Box::pin(claims.claim(vec![b"c".to_vec(), b"b".to_vec()]));
        assert!(second.as_mut().poll(&mut later).is_pending());
        let other = claims.claim(vec![b"c".to_vec()]).await;
        drop(first);
        assert!(second.as_mut().poll(&mut later).is_pending(), "c is another's now");
        drop(other);
        let second = second.await;
        assert!(claims.claim_now(&[b"b".to_vec()]).is_none());
        drop(second);
        assert!(claims.claim_now(&[b"b".to_vec()]).is_some());
    }
}
