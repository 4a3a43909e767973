//! Answers whether somebody may do something, to those who may know it.

use lgsp_domain::can_i::{Act, Call, Question, Step, can_i};
use lgsp_domain::registry::Right;
use lgsp_proto::Refusal;
use lgsp_proto::types::{PartyId, ProcedureCode};

use super::Engine;
use super::access::Peer;

/// What is asked. What is left out is the caller's own.
#[derive(Debug, Default)]
pub struct Asked {
    /// Which system.
    pub system: Option<String>,
    /// In whose name.
    pub party: Option<PartyId>,
    /// Which right; `None` asks only whether the system acts for the party.
    pub right: Option<Right>,
    /// For which procedure.
    pub procedure: Option<ProcedureCode>,
    /// With which dossier, by code or alias.
    pub dossier: Option<String>,
    /// What of a data service.
    pub call: Option<AskedCall>,
}

/// What is asked of a data service.
#[derive(Debug)]
pub struct AskedCall {
    /// The service.
    pub service: String,
    /// Why.
    pub purpose: String,
    /// For which fields.
    pub fields: Vec<String>,
}

impl Engine {
    /// Every condition of what is asked, as it stands under the registry in force, and that registry's version.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], also for a party that the system does not act for, and `GRANT_MISSING` for another system:
    /// only who holds `registry`, `operate` or `audit` may ask about others. `DOSSIER_NOT_FOUND` for a dossier that the caller
    /// may not know; those of reading one.
    pub async fn can_i(&self, peer: &Peer, acting: &PartyId, asked: Asked) -> Result<(Vec<Step>, u64), Refusal> {
        let authorized = self.authorize(peer, acting)?;
        let system = asked.system.as_deref().unwrap_or(authorized.system());
        let party = asked.party.as_ref().unwrap_or(acting);
        if !(authorized.oversees() || authorized.require(Right::Registry, None).is_ok()) {
            if system != authorized.system() {
                authorized.require(Right::Operate, None)?;
            }
            let _ = self.authorize(peer, party)?;
        }
        let dossier = match &asked.dossier {
            Some(name) => Some(self.known_dossier(&authorized, name).await?),
            None => None,
        };
        let call = asked.call.as_ref().map(|AskedCall { service, purpose, fields }| Call { service, purpose, fields });
        let (procedure, dossier) = (asked.procedure.as_ref(), dossier.as_deref());
        let act = asked.right.map(|right| Act { right, procedure, dossier, call });
        let steps = can_i(authorized.registry(), &Question { system, party, act }, authorized.today());
        Ok((steps, authorized.registry().version()))
    }
}
