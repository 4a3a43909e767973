//! The registry of Hue, carried inside the program so that the demo runs anywhere.

use std::collections::BTreeMap;

use anyhow::Context as _;
use lgsp_domain::registry::{PartyKind, Registry};
use lgsp_proto::types::PartyId;

use super::ticks::DAY;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/registry/hue/", $name)))),*]
    };
}

/// The files of the registry, by name.
pub(super) const FILES: &[(&str, &str)] = files![
    "calendars.toml",
    "grants.toml",
    "parties.toml",
    "procedures.toml",
    "routes.toml",
    "systems.toml",
    "units.toml",
];

/// The registry, parsed.
///
/// # Errors
/// Its problems, one a line: the program was built from a broken registry.
pub(super) fn registry() -> anyhow::Result<Registry> {
    let files: BTreeMap<String, Vec<u8>> =
        FILES.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    Registry::parse(&files).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the registry that came with this program has problems:\n{}", lines.join("\n"))
    })
}

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
