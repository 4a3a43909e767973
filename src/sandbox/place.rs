//! Who is where in the sandbox: the registry of Hue with its systems dealt anew.
//!
//! The developer's system acts for one commune, the simulated one for everybody else who has a part in dossiers; so whichever
//! authority is competent, somebody answers. Procedures, routes and grants are Hue's as they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use lgsp_domain::registry::{PartyKind, Registry};
use lgsp_proto::types::PartyId;

use crate::moment;
use crate::staging::hue;

/// The developer's party: a commune, desk and authority.
pub(super) const DEVELOPER: &str = "H57.101";
/// The authority that the printed commands lead to, and the desk that hands in for a developer who decides.
pub(super) const NEIGHBOUR: &str = "H57.102";
/// Where the printed commands want the result: the city's centre, so that its return is told to the developer, too.
pub(super) const CENTRE: &str = "H57.TT";
/// The portal, which is told of everything.
pub(super) const PORTAL: &str = "H57.CDV";
/// Who confirms payments.
pub(super) const PAYMENT: &str = "H57.TTO";
/// Who keeps the bus.
pub(super) const THE_OPERATOR: &str = "H57.VH";

/// The units of the two communes.
pub(super) const DEVELOPERS_UNIT: &str = "19753";
pub(super) const NEIGHBOURS_UNIT: &str = "19774";

/// The developer's system, the simulated one, and the operator's, by the names in their certificates.
pub(super) const SYSTEMS: [&str; 3] = [SYSTEM, SIMULATED, OPERATOR];
pub(super) const SYSTEM: &str = "phan-mem-thu";
pub(super) const SIMULATED: &str = "mo-phong";
pub(super) const OPERATOR: &str = "van-hanh";

/// The registry's files and what they say.
pub(super) struct Place {
    pub(super) files: BTreeMap<String, String>,
    pub(super) registry: Registry,
    /// Everybody who is simulated.
    pub(super) simulated: Vec<PartyId>,
}

/// Lays the place out for this year.
///
/// # Errors
/// The registry that came with the program does not fit the sandbox.
pub(super) fn lay_out() -> anyhow::Result<Place> {
    let hue = hue::registry()?;
    let simulated: Vec<PartyId> =
        hue.parties().filter(|party| is_simulated(party.kind)).map(|p| p.id.clone()).collect();
    let simulated: Vec<PartyId> = simulated.into_iter().filter(|id| id.as_str() != DEVELOPER).collect();
    let mut files: BTreeMap<String, String> =
        hue::FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let mut systems = String::from("# The systems of a sandbox.\n");
    for (name, description, parties) in [
        (SYSTEM, "Phần mềm đang thử / the software on trial", quoted([DEVELOPER])),
        (SIMULATED, "Mọi cơ quan giả lập / everybody simulated", quoted(simulated.iter().map(PartyId::as_str))),
        (OPERATOR, "Đơn vị vận hành / the operator", quoted([THE_OPERATOR])),
    ] {
        writeln!(
            systems,
            "
[[system]]
name = \"{name}\"
description = \"{description}\"
acts_for = [{parties}]"
        )?;
    }
    files.insert("systems.toml".to_owned(), systems);
    let calendars = files.get_mut("calendars.toml").context("Hue has no calendars")?;
    *calendars = until_next_year(calendars, moment::now()?.date().year())?;
    Ok(Place { registry: hue::parse(files.clone())?, files, simulated })
}

/// Whoever takes in, decides, hands out, is paid or carries. Support points only help to file, and the operator has no part.
fn is_simulated(kind: PartyKind) -> bool {
    !matches!(kind, PartyKind::PostOffice | PartyKind::Bank | PartyKind::Operator)
}

pub(super) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// Declares the years up to the next one, whose holidays nobody knows yet: good for trying, not for promising.
fn until_next_year(calendars: &str, this: i16) -> anyhow::Result<String> {
    const YEARS: &str = "years = [";
    let mut text = String::new();
    for line in calendars.lines() {
        match line.strip_prefix(YEARS).and_then(|rest| rest.split_once(']')) {
            None => text.push_str(line),
            Some((years, rest)) => {
                let years: Vec<i16> = years.split(',').map(|year| year.trim().parse()).collect::<Result<_, _>>()?;
                let (first, last) = (years.iter().min().context("no year")?, years.iter().max().context("no year")?);
                let all: Vec<String> = (*first..=(*last).max(this + 1)).map(|year| year.to_string()).collect();
                write!(text, "{YEARS}{}]{rest}", all.join(", "))?;
            }
        }
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_has_a_part_in_dossiers_is_somebodys_to_play() {
        let place = lay_out().unwrap();
        let today = moment::now().unwrap().date();
        for id in [NEIGHBOUR, CENTRE, PORTAL, PAYMENT, "H57.01", "H57.CA"] {
            assert!(place.simulated.iter().any(|party| party.as_str() == id), "{id}");
        }
        let of = |name| place.registry.system(name, today).unwrap();
        assert!(place.registry.acts_for(of(SYSTEM), &DEVELOPER.parse().unwrap(), today));
        assert!(!place.registry.acts_for(of(SIMULATED), &DEVELOPER.parse().unwrap(), today));
        // As many as one adapter takes.
        assert!(place.simulated.len() <= 256, "{}", place.simulated.len());
        for (party, unit) in [(DEVELOPER, DEVELOPERS_UNIT), (NEIGHBOUR, NEIGHBOURS_UNIT)] {
            let party = place.registry.party(&party.parse().unwrap()).unwrap();
            assert_eq!(party.unit.as_ref().map(|unit| unit.as_str()), Some(unit));
        }
    }

    #[test]
    fn the_calendars_reach_into_next_year_whatever_year_it_is() {
        for this in [2025, 2026, 2031] {
            let mut files: BTreeMap<String, String> =
                hue::FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            let calendars = until_next_year(&files["calendars.toml"], this).unwrap();
            files.insert("calendars.toml".to_owned(), calendars);
            let registry = hue::parse(files).unwrap();
            assert!(registry.calendars().all(|calendar| *calendar.calendar.years().end() > this), "{this}");
        }
    }
}
