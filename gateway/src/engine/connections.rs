//! Whose keys are at the other ends of open connections, and which keys may not be there any more.
//!
//! One lock guards both, so that no connection slips in while its key is being revoked. Nothing here is durable: the records
//! of revocations are, and the keys in them are put out of force again at every start.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// SHA-256 of a key's `SubjectPublicKeyInfo` in DER: the key itself, whatever certificate it comes in.
pub type KeyDigest = [u8; 32];

/// The open connections by key, and the keys out of force.
#[derive(Default)]
pub struct Connections(Mutex<State>);

#[derive(Default)]
struct State {
    revoked: HashSet<KeyDigest>,
    open: HashMap<KeyDigest, HashMap<u64, CancellationToken>>,
    opened: u64,
}

/// The key is out of force.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key was revoked")]
pub struct Revoked;

/// An open connection; dropping it takes it off the table.
pub struct Open {
    table: Arc<Connections>,
    key: KeyDigest,
    number: u64,
    cut: CancellationToken,
}

impl Connections {
    /// Enters a connection whose peer has proved to hold `key`.
    ///
    /// # Errors
    /// [`Revoked`] when the key is out of force: the connection must be closed.
    pub fn open(self: &Arc<Self>, key: KeyDigest) -> Result<Open, Revoked> {
        let mut state = self.state();
        if state.revoked.contains(&key) {
            return Err(Revoked);
        }
        state.opened += 1;
        let (number, cut) = (state.opened, CancellationToken::new());
        state.open.entry(key).or_default().insert(number, cut.clone());
        Ok(Open { table: Arc::clone(self), key, number, cut })
    }

    /// Puts keys out of force and tells their open connections to end; gives how many of these there were.
    ///
    /// When it returns, [`Connections::open`] refuses the keys and every connection of theirs has been told.
    pub fn revoke(&self, keys: impl IntoIterator<Item = KeyDigest>) -> u32 {
        let mut state = self.state();
        let mut cut = 0;
        for key in keys {
            state.revoked.insert(key);
            for connection in state.open.get(&key).into_iter().flat_map(HashMap::values) {
                connection.cancel();
                cut += 1;
            }
        }
        cut
    }

    /// Whether the key is out of force.
    pub fn is_revoked(&self, key: &KeyDigest) -> bool {
        self.state().revoked.contains(key)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Cancelled when the connection must end at once.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.table.state();
        if let Some(of_key) = state.open.get_mut(&self.key) {
            of_key.remove(&self.number);
            if of_key.is_empty() {
                state.open.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Connections")
            .field("keys", &state.open.len())
            .field("revoked", &state.revoked.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("cut", &self.cut.is_cancelled()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyDigest = [1; 32];
    const OTHER: KeyDigest = [2; 32];

    #[test]
    fn revoking_a_key_cuts_its_connections_and_no_others() {
        let table = Arc::new(Connections::default());
        let (first, second) = (table.open(KEY).unwrap(), table.open(KEY).unwrap());
        let other = table.open(OTHER).unwrap();
        assert_eq!(table.revoke([KEY]), 2);
        assert!(first.cut().is_cancelled() && second.cut().is_cancelled());
        assert!(!other.cut().is_cancelled());
    }

    #[test]
    fn a_revoked_key_opens_nothing_any_more() {
        let table = Arc::new(Connections::default());
        table.revoke([KEY]);
        assert_eq!(table.open(KEY).unwrap_err(), Revoked);
        assert!(table.is_revoked(&KEY) && !table.is_revoked(&OTHER));
    }

    #[test]
    fn a_connection_that_ended_is_not_counted() {
        let table = Arc::new(Connections::default());
        drop(table.open(KEY).unwrap());
        assert_eq!(table.revoke([KEY]), 0);
    }
}
