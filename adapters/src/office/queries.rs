//! Questions to data services, passed on to the gateway at once: a citizen stands there, and nothing is kept here.

use lgsp_proto::types::{DossierCode, ProcedureCode, RequestKey};
use lgsp_proto::v1::AskRequest;
use lgsp_proto::v1::ask_request::Matter;

use super::{Caller, Office};
use crate::link::Told;
use crate::problem::Problem;

/// What somebody asks.
pub(crate) struct Asked {
    pub(crate) service: String,
    /// `None` for the newest in force.
    pub(crate) version: Option<u32>,
    pub(crate) purpose: String,
    pub(crate) procedure: Option<ProcedureCode>,
    pub(crate) dossier: Option<DossierCode>,
    /// The request key under which the dossier will be handed in.
    pub(crate) intake: Option<RequestKey>,
    pub(crate) fields: Vec<String>,
    /// The request as it was written.
    pub(crate) payload: Vec<u8>,
}

impl Office {
    /// Asks once; see [`crate::link::Link::ask`].
    ///
    /// # Errors
    /// The refusal; with `query_id` among its details the service was asked. `GATEWAY_UNREACHABLE` when nobody knows.
    pub(crate) async fn ask(&self, caller: &Caller, asked: Asked) -> Result<Told, Problem> {
        let dossier = asked.dossier.map(|code| Matter::DossierCode(code.to_string()));
        let question = AskRequest {
            acting_party: caller.party.to_string(),
            actor: caller.actor.to_string(),
            service: asked.service,
            version: asked.version.unwrap_or_default(),
            purpose: asked.purpose,
            procedure_code: asked.procedure.map(|code| code.to_string()).unwrap_or_default(),
            matter: dossier.or(asked.intake.map(|key| Matter::IntakeKey(key.to_string()))),
            fields: asked.fields,
            payload: asked.payload.into(),
        };
        self.link.ask(question, Some(&caller.trace)).await.map_err(Problem::of_call)
    }
}
