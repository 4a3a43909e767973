//! Erasing the content of a dossier, by an operator who names the decision.
//!
//! What the law keeps of a closed dossier, its envelope, stays; what it tells to erase goes everywhere at once with the keys. An
//! open dossier is not erased: the authority still works with its content, and a decision about that comes first.

use lgsp_domain::registry::Right;
use lgsp_proto::types::{ActorId, DossierCode, PartyId};
use lgsp_proto::{Reason, Refusal};

use super::access::Peer;
use super::clock::machine_now;
use super::lanes::Lane;
use super::{Engine, commit_failed, read_failed};
use crate::store::{Erased, Erasure, ReadError};

/// Erased dossiers that are looked at together at the start.
const SLICE: usize = 1_000;

impl Engine {
    /// Erases the content of the dossier with this code or alias. Durable, and nothing of it can be opened, when it returns `Ok`.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], `GRANT_MISSING`, `DOSSIER_NOT_FOUND`, `DOSSIER_OPEN`, those of a commit. After
    /// `OUTCOME_UNKNOWN` it may be erased in part: ask again.
    pub async fn erase(
        &self,
        peer: &Peer,
        party: &PartyId,
        actor: &ActorId,
        dossier: &str,
        ground: String,
    ) -> Result<Erased, Refusal> {
        let authorized = self.authorize(peer, party)?;
        authorized.require(Right::Operate, None)?;
        let code = self.resolve(dossier).await?;
        let (party, actor, system) = (party.clone(), actor.clone(), authorized.system().to_owned());
        let erasure = Erasure { code, key_ids: Vec::new(), party, actor, system, ground, at: machine_now() };
        let engine = self.clone();
        self.to_the_end(async move { engine.erase_now(erasure).await }).await
    }

    async fn erase_now(&self, erasure: Erasure) -> Result<Erased, Refusal> {
        let (code, store) = (erasure.code.clone(), &self.inner.store);
        let _held = self.inner.lanes.hold([Lane::Dossier(code.as_str())]).await;
        let dossier = store.dossier(&code).await.map_err(read_failed)?;
        match &dossier {
            Some(dossier) if !dossier.status.is_terminal() => {
                return Err(Refusal::new(Reason::DossierOpen).detail("status", dossier.status.number()));
            }
            // Only closed ones are archived; its documents are in the archive, and its keys open them there.
            None if store.archived(&code).await.map_err(read_failed)?.is_none() => {
                return Err(Refusal::new(Reason::DossierNotFound));
            }
            _ => {}
        }
        let erased = store.erase(erasure).await.map_err(|error| commit_failed(&error))?;
        let documents = dossier.iter().flat_map(|dossier| &dossier.documents);
        let ids: Vec<u64> = documents.map(|document| document.document_id).collect();
        self.inner.documents.remove(ids).await?;
        tracing::info!(dossier.code = %code, repeated = erased.repeated, "dossier erased");
        Ok(erased)
    }

    /// Begins to remove the document files of erased dossiers that a crash has left. Their keys are gone already, so nothing
    /// waits for it: of a system that has erased for years, every dossier is looked at.
    pub(super) async fn begin_sweep(&self) -> Result<(), ReadError> {
        let first = self.inner.store.erased(None, SLICE).await?;
        if first.is_empty() {
            return Ok(());
        }
        let engine = self.clone();
        self.inner.tasks.spawn(async move {
            if let Err(error) = engine.sweep_erased(first).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "documents of erased dossiers were not all looked for"
                );
            }
        });
        Ok(())
    }

    async fn sweep_erased(&self, mut slice: Vec<DossierCode>) -> Result<(), ReadError> {
        let store = &self.inner.store;
        loop {
            for code in &slice {
                // Left off when the engine stops: the next start begins anew.
                if self.inner.tasks.is_closed() {
                    return Ok(());
                }
                let Some(dossier) = store.dossier(code).await? else { continue };
                let ids = dossier.documents.iter().map(|document| document.document_id).collect();
                if self.inner.documents.remove(ids).await.is_err() {
                    tracing::warn!(dossier.code = %code, "documents of an erased dossier could not be removed");
                }
            }
            if slice.len() < SLICE {
                return Ok(());
            }
            slice = store.erased(slice.last(), SLICE).await?;
        }
    }
}
