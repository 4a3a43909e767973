//! Who is who in the registry of Hue on the day that is replayed.

use anyhow::Context as _;
use lgsp_domain::registry::{PartyKind, Registry};
use lgsp_proto::types::PartyId;

use super::ticks::DAY;

/// The first party of a kind, of which the registry has one.
///
/// # Errors
/// It has none.
pub(super) fn party_of(kind: PartyKind, registry: &Registry) -> anyhow::Result<PartyId> {
    let found = registry.parties().find(|party| party.kind == kind && party.validity.contains(DAY));
    Ok(found.with_context(|| format!("the registry has no {kind}"))?.id.clone())
}

/// The name of the system that acts for a party.
///
/// # Errors
/// None does.
pub(super) fn system_of(party: &PartyId, registry: &Registry) -> anyhow::Result<String> {
    let found = registry.systems().find(|system| registry.acts_for(system, party, DAY));
    Ok(found.with_context(|| format!("no system of the registry acts for {party}"))?.name.clone())
}
