//! The spool's own key: everything in the spool that could name a citizen is sealed with it.
//!
//! The node key's file seals a ring with one key in it. One is enough: a spool forgets in days, and AES-GCM with random
//! nonces is good for 2³² records.

use std::io;
use std::path::Path;
use std::sync::Arc;

use lgsp_journal::RealFiles;
use lgsp_journal::seal::{DataKey, KEYS_PER_BLOCK, KeyError, KeyId, KeyRing, KeyRingError, NodeKey, NodeKeyError};

/// The first key a ring ever hands out.
const FIRST: KeyId = KeyId(KEYS_PER_BLOCK);

/// Ties a sealed record to its use.
const RECORD: &[u8] = b"lgsp spool record v1";

/// Why the spool has no key.
#[derive(Debug, thiserror::Error)]
pub enum SpoolKeyError {
    /// The node key's file.
    #[error(transparent)]
    Node(#[from] NodeKeyError),
    /// The key ring as a whole.
    #[error(transparent)]
    Ring(#[from] KeyRingError),
    /// The key in it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The ring's folder.
    #[error("the key ring's folder cannot be used")]
    Folder(#[from] io::Error),
}

/// Seals and opens. Clones share the key.
#[derive(Clone)]
pub(super) struct SpoolKey(Arc<DataKey>);

impl SpoolKey {
    /// The key of the spool in `folder`, made at the first time.
    pub(super) fn open(folder: &Path) -> Result<Self, SpoolKeyError> {
        let node = NodeKey::load_or_create(&folder.join("spool.key"))?;
        let ring = KeyRing::open(Arc::new(RealFiles::open(folder.join("keys"))?), &node)?;
        let key = match ring.get(FIRST) {
            Err(KeyError::Unknown { .. }) => ring.next()?.1,
            found => found?,
        };
        Ok(Self(Arc::new(key)))
    }

    pub(super) fn seal_record(&self, plain: &[u8]) -> Vec<u8> {
        self.0.seal(RECORD, plain)
    }

    /// `None` when it was not sealed here.
    pub(super) fn open_record(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(RECORD, sealed).ok()
    }

    pub(super) fn data_key(&self) -> &DataKey {
        &self.0
    }
}
