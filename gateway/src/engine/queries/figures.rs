//! Who may be told how often was asked: who oversees the bus of everybody, a party of its own clerks, an owner of its own services.

use lgsp_proto::Refusal;
use lgsp_proto::types::PartyId;

use super::super::access::{Authorized, Peer};
use super::super::clock::machine_now;
use super::super::{Engine, read_failed};
use crate::store::{CountBy, CountsOf, CountsSum, CountsWanted, day_of};

/// Days that are added up when nobody says which.
const DAYS_DEFAULT: u32 = 30;

/// What somebody wants to be told.
pub struct FiguresWanted {
    /// In whose name.
    pub party: PartyId,
    /// Added up how.
    pub by: CountBy,
    /// The first day; so many before the last if there is none.
    pub from: Option<u32>,
    /// The last day; today if there is none.
    pub to: Option<u32>,
    /// Of the party's own services, whoever asked.
    pub of_own_services: bool,
}

/// What was added up.
pub struct Figures {
    /// The sum.
    pub sum: CountsSum,
    /// Whether dossiers belong beside it.
    pub with_dossiers: bool,
    /// The days.
    pub days: (u32, u32),
}

impl Engine {
    /// How often was asked, and how many dossiers were taken in.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`].
    pub async fn query_figures(&self, peer: &Peer, wanted: FiguresWanted) -> Result<Figures, Refusal> {
        let authorized = self.authorize(peer, &wanted.party)?;
        let of = match wanted.of_own_services {
            true => own_services(&authorized),
            false if authorized.oversees() => CountsOf::All,
            false => CountsOf::Party(wanted.party),
        };
        let with_dossiers = !wanted.of_own_services && wanted.by != CountBy::Service;
        let to = wanted.to.unwrap_or_else(|| day_of(machine_now()));
        let days = (wanted.from.unwrap_or(to.saturating_sub(DAYS_DEFAULT - 1)), to);
        let sum = self.inner.store.counts(&CountsWanted { of, by: wanted.by, days }).await.map_err(read_failed)?;
        Ok(Figures { sum, with_dossiers, days })
    }
}

/// The services that the party owns, or has taken over; one that was abolished is still its owner's to account for.
fn own_services(authorized: &Authorized) -> CountsOf {
    let (registry, today) = (authorized.registry(), authorized.today());
    let own =
        registry.services().iter().filter(|service| registry.current_of(&service.owner, today) == *authorized.party());
    CountsOf::Services(own.map(|service| service.name.clone()).collect())
}
