//! Whose keys are at the other ends of open connections, and which keys may not be there any more.
//!
//! One lock guards both, so that no connection slips in while its key is being revoked. Nothing here is durable: the records
//! of revocations are, and the keys in them are put out of force again at every start.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::access::Peer;

/// SHA-256 of a key's `SubjectPublicKeyInfo` in DER: the key itself, whatever certificate it comes in.
pub type KeyDigest = [u8; 32];

/// The open connections by key, and the keys out of force.
#[derive(Default)]
pub struct Connections(Mutex<State>);

#[derive(Default)]
struct State {
    revoked: HashSet<KeyDigest>,
    open: HashMap<KeyDigest, HashMap<u64, CancellationToken>>,
    ends: BTreeSet<(SystemTime, u64)>,
    /// Who is at the other end, and by which key, where the certificate could be read.
    peers: HashMap<u64, (KeyDigest, Peer)>,
    opened: u64,
    count: usize,
}

/// The key is out of force.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key was revoked")]
pub struct Revoked;

/// An open connection; dropping it takes it off the table.
pub struct Open {
    table: Arc<Connections>,
    keys: Vec<KeyDigest>,
    number: u64,
    end: Option<SystemTime>,
    cut: CancellationToken,
}

impl Connections {
    /// Enters a connection whose peer has proved to hold `key`.
    ///
    /// # Errors
    /// [`Revoked`] when the key is out of force: the connection must be closed.
    pub fn open(self: &Arc<Self>, key: KeyDigest) -> Result<Open, Revoked> {
        self.open_under(vec![key], None)
    }

    /// The same with the keys of the issuing CAs behind it, and the moment when its certificate ends: it is cut when any of the
    /// keys is revoked.
    ///
    /// # Errors
    /// [`Revoked`] when one of the keys is out of force.
    pub fn open_under(self: &Arc<Self>, keys: Vec<KeyDigest>, end: Option<SystemTime>) -> Result<Open, Revoked> {
        self.open_of(keys, end, None)
    }

    /// The same, telling who is at the other end: the holder of the first of the keys.
    ///
    /// # Errors
    /// [`Revoked`] when one of the keys is out of force.
    pub fn open_of(
        self: &Arc<Self>,
        keys: Vec<KeyDigest>,
        end: Option<SystemTime>,
        peer: Option<Peer>,
    ) -> Result<Open, Revoked> {
        let mut state = self.state();
        if keys.iter().any(|key| state.revoked.contains(key)) {
            return Err(Revoked);
        }
        state.opened += 1;
        state.count += 1;
        let (number, cut) = (state.opened, CancellationToken::new());
        for key in &keys {
            state.open.entry(*key).or_default().insert(number, cut.clone());
        }
        state.ends.extend(end.map(|end| (end, number)));
        state.peers.extend(keys.first().zip(peer).map(|(key, peer)| (number, (*key, peer))));
        Ok(Open { table: Arc::clone(self), keys, number, end, cut })
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
                // Of two keys behind one connection the first cuts it.
                cut += u32::from(!connection.is_cancelled());
                connection.cancel();
            }
        }
        cut
    }

    /// Who is at the other ends, and by which keys.
    pub fn peers(&self) -> Vec<(KeyDigest, Peer)> {
        self.state().peers.values().cloned().collect()
    }

    /// Whether the key is out of force.
    pub fn is_revoked(&self, key: &KeyDigest) -> bool {
        self.state().revoked.contains(key)
    }

    /// How many keys are out of force.
    pub fn revoked(&self) -> usize {
        self.state().revoked.len()
    }

    /// How many connections are open.
    pub fn count(&self) -> usize {
        self.state().count
    }

    /// The earliest end among the certificates of open connections.
    pub fn soonest_end(&self) -> Option<SystemTime> {
        self.state().ends.first().map(|(end, _)| *end)
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
        state.count -= 1;
        if let Some(end) = self.end {
            state.ends.remove(&(end, self.number));
        }
        state.peers.remove(&self.number);
        for key in &self.keys {
            if let Some(of_key) = state.open.get_mut(key) {
                of_key.remove(&self.number);
                if of_key.is_empty() {
                    state.open.remove(key);
                }
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
    use std::time::Duration;

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
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn a_connection_is_cut_once_whichever_of_the_keys_behind_it_is_revoked() {
        let table = Arc::new(Connections::default());
        let open = table.open_under(vec![KEY, OTHER], None).unwrap();
        assert_eq!(table.revoke([OTHER]), 1);
        assert!(open.cut().is_cancelled());
        assert_eq!(table.revoke([KEY]), 0);
        assert_eq!(table.open_under(vec![[3; 32], OTHER], None).unwrap_err(), Revoked);
    }

    #[test]
    fn the_soonest_end_is_that_of_what_is_open() {
        let table = Arc::new(Connections::default());
        let [soon, later] = [1, 2].map(|hours| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600));
        assert_eq!(table.soonest_end(), None);
        let open = |key, end| table.open_under(vec![key], Some(end)).unwrap();
        let (first, _second) = (open(KEY, soon), open(OTHER, later));
        assert_eq!((table.soonest_end(), table.count()), (Some(soon), 2));
        drop(first);
        assert_eq!((table.soonest_end(), table.count()), (Some(later), 1));
    }
}
