//! Erasing: first the record, then the keys.
//!
//! The record names the keys, so a crash between the two leaves a list of what is still to be destroyed, and opening the store
//! works it off. From the record on nothing more is admitted about the dossier, so no body is sealed with a key that goes.

use lgsp_journal::Position;
use lgsp_journal::seal::{KeyError, KeyId, KeyRing};
use lgsp_proto::types::DossierCode;

use super::super::claims::Claim;
use super::super::codec::{Fact, Unreadable};
use super::super::follower::Follow;
use super::super::index::fetch;
use super::super::keys::{self, Key as _};
use super::super::overlay::Base as _;
use super::super::records::unreadable;
use super::super::*;
use super::committing::{Inner, cannot_read};
use super::opening::Progress;

/// Erased dossiers that are looked at together when the store is opened.
const SLICE: usize = 1_000;

impl<F: Follow> Inner<F> {
    pub(super) async fn erase(&self, erasure: Erasure) -> Result<Erased, CommitError> {
        self.check_writable()?;
        let claimed = vec![keys::Dossier(&erasure.code).encode()];
        let claim = self.claims.claim(claimed).await;
        let before = self.erasure(&erasure.code).map_err(|error| cannot_read(&error))?;
        let erased = match before {
            Some(erasure) => Erased { erasure, repeated: true },
            None => Erased { erasure: self.record_erasure(erasure, claim).await?, repeated: false },
        };
        let (keys, ids) = (Arc::clone(&self.keys), erased.erasure.key_ids.clone());
        let destroyed =
            tokio::task::spawn_blocking(move || ids.iter().try_for_each(|id| destroy(&keys, *id, true))).await;
        let failure = match destroyed {
            Ok(Ok(())) => return Ok(erased),
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        tracing::error!(dossier.code = %erased.erasure.code, failure, "a key of an erased dossier could not be destroyed");
        Err(CommitError::Unknown)
    }

    async fn record_erasure(&self, mut erasure: Erasure, claim: Claim) -> Result<Erasure, CommitError> {
        self.room.for_the_end()?;
        let Some(held) = self.held(&erasure.code).map_err(|error| cannot_read(&error))? else {
            // Its keys open what is in the archive, wherever that was carried.
            let keys = self.keys_of_archived(&erasure.code).map_err(|error| cannot_read(&error))?;
            erasure.key_ids = keys.ok_or(CommitError::Conflict)?;
            self.write(Fact::DossierErased(erasure.clone()), Vec::new(), Some(claim)).await?;
            return Ok(erasure);
        };
        erasure.key_ids = vec![held.key_id];
        for document in &held.dossier.documents {
            let meta = self.document_by_id(document.document_id).map_err(|error| cannot_read(&error))?;
            erasure.key_ids.extend(meta.map(|meta| meta.key_id));
        }
        self.write(Fact::DossierErased(erasure.clone()), Vec::new(), Some(claim)).await?;
        Ok(erasure)
    }

    pub(super) fn erasure(&self, code: &DossierCode) -> Result<Option<Erasure>, ReadError> {
        let Some(at) = fetch(&self.view(), &keys::Erased(code))? else { return Ok(None) };
        match self.fact(Position(at.position))? {
            Fact::DossierErased(erasure) => Ok(Some(erasure)),
            _ => Err(unreadable(Position(at.position), Unreadable("dossier_erased"))),
        }
    }

    pub(super) fn erased(&self, after: Option<&DossierCode>, limit: usize) -> Result<Vec<DossierCode>, ReadError> {
        let first = keys::Erased::first();
        let from = after.map_or(first.clone(), |code| keys::after(keys::Erased(code).encode()));
        let entries = self.view().range(&from, &keys::behind(&first), limit)?;
        let code = |(key, _): (Bytes, Bytes)| {
            keys::Erased::code_of(&key).ok_or_else(|| ReadError::Damaged(keys::describe(&key)))
        };
        entries.into_iter().map(code).collect()
    }

    /// Destroys the keys that a crash has left after their dossier's erasure was recorded, and those that came back with a
    /// block of keys from a backup.
    ///
    /// A key that is damaged opens nothing. That it cannot be said to be destroyed is logged, and no reason not to start.
    pub(super) fn finish_erasures(&self, progress: &dyn Fn(Progress)) -> Result<(), ReadError> {
        let (mut after, mut dossiers): (Option<DossierCode>, u64) = (None, 0);
        loop {
            let slice = self.erased(after.as_ref(), SLICE)?;
            for code in &slice {
                for id in self.erasure(code)?.into_iter().flat_map(|erasure| erasure.key_ids) {
                    match destroy(&self.keys, id, false) {
                        Err(KeyError::Damaged { .. }) => {
                            tracing::error!(dossier.code = %code, key = id, "a key of an erased dossier is damaged");
                        }
                        destroyed => destroyed.map_err(|error| ReadError::Engine(error.into()))?,
                    }
                }
            }
            dossiers += slice.len() as u64;
            if slice.len() < SLICE {
                return Ok(());
            }
            progress(Progress::ErasuresChecked { dossiers });
            after = slice.last().cloned();
        }
    }
}

/// Destroys a key. A key that is not there, e.g. after a restore, needs no destroying. Of one that is destroyed already, the next
/// start would see if a power cut brought it back; `for_certain` it is made durable all the same.
pub(super) fn destroy(keys: &KeyRing, id: u64, for_certain: bool) -> Result<(), KeyError> {
    match keys.get(KeyId(id)) {
        Err(KeyError::Unknown { .. }) => Ok(()),
        Err(KeyError::Destroyed { .. }) if !for_certain => Ok(()),
        _ => keys.destroy(KeyId(id)),
    }
}
