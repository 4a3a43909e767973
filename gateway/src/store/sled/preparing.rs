//! Making the next block of keys ahead of need, where it holds up nobody.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use lgsp_journal::seal::KeyRing;

/// Keys handed out between two looks whether the next block should be made, so that nobody has to wait for that.
const EVERY: u64 = 64;

/// What prepares. Once it is dropped nothing of it holds the keys any more, so that whoever comes next can have the folder.
#[derive(Debug, Default)]
pub(super) struct Preparing {
    is_over: Arc<Mutex<bool>>,
}

impl Preparing {
    /// Looks, in the background, whether a block should be made now that the key `given` was handed out.
    pub(super) fn after(&self, given: u64, keys: &Arc<KeyRing>) {
        if !given.is_multiple_of(EVERY) {
            return;
        }
        let is_over = Arc::clone(&self.is_over);
        let keys = Arc::downgrade(keys);
        tokio::task::spawn_blocking(move || {
            let is_over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
            // If it fails, whoever needs the block makes it, or says why not.
            if !*is_over && let Some(keys) = Weak::upgrade(&keys) {
                let _ = keys.prepare();
            }
        });
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        // Waits for the block that is being made, at most one file and its sync.
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}
