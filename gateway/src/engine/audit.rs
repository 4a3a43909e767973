//! Who administered what: told to auditors and operators, changed by nobody.
//!
//! The entries follow from the journal's records, so there is nothing here that writes one but the acts themselves, and the
//! note that the books were copied out beside the bus.

use lgsp_domain::registry::Right;
use lgsp_proto::Refusal;
use lgsp_proto::types::PartyId;

use super::access::Peer;
use super::{Engine, commit_failed, read_failed};
use crate::store::{AuditPage, AuditQuery, Commit, Exported};

impl Engine {
    /// A page of the audit, newest first.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `GRANT_MISSING` for who has neither the right to audit nor to operate.
    pub async fn audit(&self, peer: &Peer, asking: &PartyId, query: &AuditQuery) -> Result<AuditPage, Refusal> {
        let authorized = self.authorize(peer, asking)?;
        if !authorized.oversees() {
            authorized.require(Right::Audit, None)?;
        }
        self.inner.store.audit(query).await.map_err(read_failed)
    }

    /// Puts on record that the books were copied out. Durable when it returns `Ok`; said again, it changes nothing.
    ///
    /// # Errors
    /// Those of a commit.
    pub(crate) async fn note_export(&self, exported: Exported) -> Result<(), Refusal> {
        let committed = self.inner.store.commit(Commit::Exported(exported)).await;
        committed.map_err(|error| commit_failed(&error))
    }
}
