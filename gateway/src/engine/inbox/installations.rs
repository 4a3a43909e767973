//! Which installations are connected, and with which spool.
//!
//! An installation has one spool. Invariant: two spools of one installation are never served at the same time, so that what
//! is taken from the one is with nobody when the other gets it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lgsp_proto::{Reason, Refusal};

use super::lock;
use crate::store::Installation;

#[derive(Clone, Debug, Default)]
pub(super) struct Installations(Arc<Mutex<HashMap<Installation, Used>>>);

#[derive(Debug)]
struct Used {
    /// Empty as long as nobody has named one.
    spool: Bytes,
    /// Streams, and acknowledgements being written.
    times: usize,
    /// Whether nobody may come at all, with whatever spool or none.
    kept_out: bool,
}

impl Used {
    fn new(kept_out: bool) -> Self {
        Self { spool: Bytes::new(), times: 0, kept_out }
    }
}

/// Keeps an installation's spool the only one, as long as a stream is open or something it said is being written.
#[derive(Debug)]
pub(super) struct InUse {
    installations: Installations,
    installation: Installation,
}

impl Installations {
    /// Counts one more use of an installation.
    ///
    /// # Errors
    /// `INSTANCE_IN_USE` while it is used with another spool, or kept out.
    pub(super) fn enter(&self, installation: &Installation, spool: &Bytes) -> Result<InUse, Refusal> {
        let mut used = lock(&self.0);
        let entry = used.entry(installation.clone()).or_insert_with(|| Used::new(false));
        if entry.kept_out {
            return Err(in_use(installation));
        }
        if entry.spool.is_empty() {
            entry.spool = spool.clone();
        } else if !spool.is_empty() && entry.spool != *spool {
            return Err(in_use(installation));
        }
        entry.times += 1;
        Ok(InUse { installations: self.clone(), installation: installation.clone() })
    }

    /// Keeps every stream of an installation away, if there is none now.
    ///
    /// # Errors
    /// `INSTANCE_IN_USE` while it is used.
    pub(super) fn keep_out(&self, installation: &Installation) -> Result<InUse, Refusal> {
        let mut used = lock(&self.0);
        if used.contains_key(installation) {
            return Err(in_use(installation));
        }
        used.insert(installation.clone(), Used { times: 1, ..Used::new(true) });
        Ok(InUse { installations: self.clone(), installation: installation.clone() })
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut used = lock(&self.installations.0);
        if let Some(entry) = used.get_mut(&self.installation) {
            entry.times -= 1;
            if entry.times == 0 {
                used.remove(&self.installation);
            }
        }
    }
}

fn in_use(installation: &Installation) -> Refusal {
    let refusal = Refusal::new(Reason::InstanceInUse);
    refusal.detail("system", &installation.system).detail("instance", &installation.instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_has_one_spool_until_its_last_use_ends() {
        let installations = Installations::default();
        let main = Installation { system: "mot-cua".into(), instance: "main".into() };
        let other = Installation { instance: "other".into(), ..main.clone() };
        let (old, new) = (Bytes::from_static(b"an old spool...."), Bytes::from_static(b"a new spool....."));
        let stream = installations.enter(&main, &old).unwrap();
        let writing = installations.enter(&main, &old).unwrap();
        assert!(installations.enter(&other, &new).is_ok(), "another installation");
        assert!(installations.enter(&main, &Bytes::new()).is_ok(), "one that keeps nothing");
        drop(stream);
        assert_eq!(installations.enter(&main, &new).unwrap_err().reason(), Reason::InstanceInUse);
        assert_eq!(installations.keep_out(&main).unwrap_err().reason(), Reason::InstanceInUse);
        drop(writing);
        let released = installations.keep_out(&main).unwrap();
        for spool in [&new, &Bytes::new(), &Bytes::from_static(b"-")] {
            assert_eq!(installations.enter(&main, spool).unwrap_err().reason(), Reason::InstanceInUse, "{spool:?}");
        }
        assert_eq!(installations.keep_out(&main).unwrap_err().reason(), Reason::InstanceInUse);
        drop(released);
        assert!(installations.enter(&main, &new).is_ok());
    }
}
