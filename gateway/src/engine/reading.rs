//! How a dossier stands, for those who may know.

use std::sync::Arc;

use lgsp_domain::dossier::Dossier;
use lgsp_domain::routing::{self, Explanation};
use lgsp_proto::types::{BusinessTime, CaseCode, PartyId, ProcedureCode, UnitCode};
use lgsp_proto::{Reason, Refusal};

use super::access::{Authorized, Peer};
use super::{Engine, read_failed};
use crate::store::{Bodies, ListQuery, Page, Recorded};

/// How many events one answer holds; the caller goes on after the last one.
const EVENTS_MAX: usize = 500;

/// A dossier and its events.
#[derive(Clone, Debug)]
pub struct View {
    /// How it stands.
    pub dossier: Arc<Dossier>,
    /// What happened.
    pub events: Vec<Recorded>,
}

impl Engine {
    /// One dossier, by code or alias. Bodies only for parties to it; operators and auditors see envelopes.
    ///
    /// # Errors
    /// `DOSSIER_NOT_FOUND` when there is none, and just so when the party may not know that there is.
    pub async fn view(
        &self,
        peer: &Peer,
        party: &PartyId,
        dossier: &str,
        after: u32,
        bodies: Bodies,
    ) -> Result<View, Refusal> {
        let authorized = self.authorize(peer, party)?;
        let dossier = self.known_dossier(&authorized, dossier).await?;
        let bodies = if authorized.may_know(&dossier) { bodies } else { Bodies::Without };
        self.events_of(&authorized, dossier, after, bodies).await
    }

    /// A dossier, by code or alias, of which the party may know that it exists: as one of its parties, as operator or auditor.
    pub(super) async fn known_dossier(&self, authorized: &Authorized, name: &str) -> Result<Arc<Dossier>, Refusal> {
        let code = self.resolve(name).await?;
        let Some(dossier) = self.inner.store.dossier(&code).await.map_err(read_failed)? else {
            return Err(self.not_here(authorized, &code).await);
        };
        if authorized.may_know(&dossier) || authorized.oversees() {
            Ok(dossier)
        } else {
            Err(Refusal::new(Reason::DossierNotFound))
        }
    }

    /// The events of a dossier that was here a moment ago. If it was archived since, fewer are found than it has: that is no view.
    pub(super) async fn events_of(
        &self,
        authorized: &Authorized,
        dossier: Arc<Dossier>,
        after: u32,
        bodies: Bodies,
    ) -> Result<View, Refusal> {
        let code = &dossier.code;
        let events = self.inner.store.events(code, after, EVENTS_MAX, bodies).await.map_err(read_failed)?;
        let expected = (dossier.sequence.saturating_sub(after) as usize).min(EVENTS_MAX);
        if events.len() < expected && self.was_archived(code).await? {
            return Err(self.not_here(authorized, code).await);
        }
        Ok(View { dossier, events })
    }

    /// The dossiers that concern a party; all of them for operators and auditors who ask for none in particular.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`].
    pub async fn list(&self, peer: &Peer, party: &PartyId, mut query: ListQuery) -> Result<Page, Refusal> {
        let authorized = self.authorize(peer, party)?;
        query.party = (!authorized.oversees()).then(|| party.clone());
        self.inner.store.list(&query).await.map_err(read_failed)
    }

    /// Which authority would be competent, and why.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; that there is no route is an explanation, not an error.
    pub fn explain_route(&self, peer: &Peer, party: &PartyId, matter: &Matter) -> Result<(Explanation, u64), Refusal> {
        let authorized = self.authorize(peer, party)?;
        let registry = authorized.registry();
        let day = matter.at.unwrap_or_else(|| self.clock().now()).date();
        let explanation = routing::route(registry, &matter.procedure, matter.case.as_ref(), &matter.locality, day);
        Ok((explanation, registry.version()))
    }
}

/// What is to be routed.
#[derive(Clone, Debug)]
pub struct Matter {
    /// The procedure.
    pub procedure: ProcedureCode,
    /// The case, if not the ordinary one.
    pub case: Option<CaseCode>,
    /// The unit it belongs to.
    pub locality: UnitCode,
    /// When; `None` for now.
    pub at: Option<BusinessTime>,
}
