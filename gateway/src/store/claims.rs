//! What commits under way will write, so that of two that exclude each other only one is begun.
//!
//! A commit claims its keys before it looks whether they are free, and keeps them until its changes are visible. Between
//! the two there is no moment in which a second one could find them free.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The keys that are claimed now.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Mutex<HashSet<Vec<u8>>>>);

/// Keys held by one commit. Dropping it lets go of them.
#[derive(Debug)]
#[must_use]
pub(super) struct Claim {
    claims: Claims,
    keys: Vec<Vec<u8>>,
}

impl Claims {
    /// Claims all of `keys`, or nothing if another commit has one of them.
    pub(super) fn claim(&self, keys: Vec<Vec<u8>>) -> Option<Claim> {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.iter().any(|key| claimed.contains(key)) {
            return None;
        }
        claimed.extend(keys.iter().cloned());
        Some(Claim { claims: self.clone(), keys })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            claimed.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_claimed_by_one_commit_at_a_time_and_a_failed_claim_holds_nothing() {
        let claims = Claims::default();
        let first = claims.claim(vec![b"a".to_vec(), b"b".to_vec()]).unwrap();
        assert!(claims.claim(vec![b"c".to_vec(), b"b".to_vec()]).is_none());
        let other = claims.claim(vec![b"c".to_vec()]);
        assert!(other.is_some());
        drop(first);
        assert!(claims.claim(vec![b"b".to_vec()]).is_some());
    }
}
