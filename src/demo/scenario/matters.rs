//! Which dossiers come in on the day: procedure, locality, desk, channel, hour, support point, place of return.
//!
//! Shares that the province has published are met exactly (95 % online, 32 % non-territorial, nine of ten through a support
//! point); everything else is drawn by weights, which are estimates of ours.

use anyhow::ensure;
use jiff::Span;
use jiff::civil::DateTime;
use lgsp_domain::registry::{PartyKind, Procedure, Registry, Right};
use lgsp_domain::routing::route;
use lgsp_proto::types::{CaseCode, IntakeChannel, PartyId, ProcedureCode, ReturnChannel, UnitCode};

use super::Wish;
use crate::demo::city::party_of;
use crate::demo::random::Draw;
use crate::demo::ticks::DAY;

/// One dossier as it comes in.
pub(super) struct Matter<'a> {
    pub(super) procedure: &'a Procedure,
    pub(super) case: Option<CaseCode>,
    pub(super) locality: UnitCode,
    pub(super) intake: PartyId,
    pub(super) authority: PartyId,
    pub(super) intake_channel: IntakeChannel,
    pub(super) return_channel: ReturnChannel,
    pub(super) return_desk: PartyId,
    pub(super) support_point: Option<PartyId>,
    pub(super) received: DateTime,
}

/// Of 100 dossiers of the day, filed online (press, July 2025).
const ONLINE: usize = 95;
/// Of 100, received outside the competent authority's territory (press: 32.16 % of 2025).
const NON_TERRITORIAL: usize = 32;
/// Of 100, filed with the help of a post office or a bank counter (press: more than 90 %).
const SUPPORTED: usize = 90;

/// How often a procedure is asked for, against the others; an estimate. What is not listed counts 1.
const WEIGHTS: &[(&str, u32)] = &[
    ("2.000815", 340), // certified copies
    ("2.000884", 90),  // certified signatures
    ("2.001035", 20),
    ("1.001193", 130), // births
    ("1.000656", 45),  // deaths
    ("1.000894", 60),  // marriages
    ("1.004873", 120), // marital status
    ("2.000635", 150), // extracts of the civil register
    ("1.004859", 25),
    ("2.002621", 40),  // birth, residence and insurance in one
    ("1.004222", 130), // permanent residence
    ("1.004194", 80),
    ("1.010041", 70),
    ("1.003197", 25),
    ("1.010039", 25),
    ("1.014061", 90), // identity cards
    ("1.014063", 60),
    ("1.014062", 35),
    ("3.000228", 30),
    ("1.013067", 45), // vehicles
    ("1.001612", 55), // household businesses
    ("2.000720", 20),
    ("1.001266", 15),
    ("2.001583", 12), // companies
    ("2.001199", 10),
    ("1.013831", 75), // land
    ("1.013833", 25),
    ("1.012784", 18),
    ("1.012783", 18),
    ("1.013978", 12),
    ("1.012789", 15),
    ("1.013225", 30), // building permits
    ("3.000333", 70), // criminal records
    ("3.000347", 70), // driving licences
    ("3.000346", 25),
    ("1.001456", 40), // passports
    ("1.001776", 35), // social assistance
    ("1.014027", 30),
    ("1.001731", 12),
    ("1.001699", 12),
    ("2.000639", 30), // health insurance
    ("1.004623", 6),
];

/// Half an hour of the day and how many file in it, at any hour online, in working hours otherwise. Peaks before ten.
const HOURS: &[((i8, i8), u32)] = &[
    ((5, 30), 2),
    ((6, 0), 4),
    ((6, 30), 8),
    ((7, 0), 40),
    ((7, 30), 75),
    ((8, 0), 110),
    ((8, 30), 125),
    ((9, 0), 120),
    ((9, 30), 100),
    ((10, 0), 80),
    ((10, 30), 60),
    ((11, 0), 45),
    ((11, 30), 15),
    ((12, 0), 12),
    ((12, 30), 12),
    ((13, 0), 20),
    ((13, 30), 55),
    ((14, 0), 70),
    ((14, 30), 70),
    ((15, 0), 55),
    ((15, 30), 45),
    ((16, 0), 35),
    ((16, 30), 20),
    ((17, 0), 12),
    ((17, 30), 10),
    ((18, 0), 8),
    ((18, 30), 8),
    ((19, 0), 10),
    ((19, 30), 12),
    ((20, 0), 12),
    ((20, 30), 10),
    ((21, 0), 8),
    ((21, 30), 5),
];

/// Draws the dossiers of the day, in the order in which they come in.
pub(super) fn draw<'a>(wish: Wish, registry: &'a Registry) -> anyhow::Result<Vec<Matter<'a>>> {
    let city = City::new(registry, wish.seed)?;
    let mut draw = Draw::new(wish.seed, 0);
    let all: Vec<usize> = (0..wish.dossiers).collect();
    let online = Marked::of(all.clone(), wish.dossiers, ONLINE, &mut draw);
    let non_territorial = Marked::of(all.clone(), wish.dossiers, NON_TERRITORIAL, &mut draw);
    let mut matters = Vec::with_capacity(wish.dossiers);
    for index in all {
        let channel = match online.has(index) {
            true => IntakeChannel::Online,
            false => *draw.weighted(&[(IntakeChannel::Direct, 4), (IntakeChannel::Postal, 1)]),
        };
        matters.push(city.matter(channel, non_territorial.has(index), &mut draw)?);
    }
    // Who comes to the desk needs no other counter to get there.
    let helped = (0..matters.len()).filter(|index| matters[*index].intake_channel != IntakeChannel::Direct).collect();
    for (turn, index) in Marked::of(helped, wish.dossiers, SUPPORTED, &mut draw).0.into_iter().enumerate() {
        matters[index].support_point = Some(city.support_points[turn % city.support_points.len()].clone());
    }
    matters.sort_by_key(|matter| matter.received);
    Ok(matters)
}

/// A share of all dossiers, chosen among some of them, to the dossier.
struct Marked(Vec<usize>);

impl Marked {
    fn of(mut among: Vec<usize>, all: usize, percent: usize, draw: &mut Draw) -> Self {
        let mut chosen = draw.take(&mut among, (all * percent + 50) / 100);
        chosen.sort_unstable();
        Self(chosen)
    }

    fn has(&self, index: usize) -> bool {
        self.0.binary_search(&index).is_ok()
    }
}

/// What the registry has to choose from.
struct City<'a> {
    registry: &'a Registry,
    procedures: Vec<(&'a Procedure, u32)>,
    communes: Vec<(Commune, u32)>,
    centre: PartyId,
    portal: PartyId,
    support_points: Vec<PartyId>,
}

/// A commune and its desk.
#[derive(Clone)]
struct Commune {
    unit: UnitCode,
    desk: PartyId,
}

impl<'a> City<'a> {
    fn new(registry: &'a Registry, seed: u64) -> anyhow::Result<Self> {
        let mut draw = Draw::new(seed, u64::MAX);
        let of_kind = |kind| registry.parties().filter(move |party| party.kind == kind && party.validity.contains(DAY));
        let mut communes = Vec::new();
        for party in of_kind(PartyKind::Commune) {
            let Some(unit) = party.unit.clone() else { continue };
            // Wards have more people than rural communes; beyond that, each its own.
            let ward = registry.unit(&unit, DAY).is_ok_and(|unit| unit.name.starts_with("Phường"));
            let weight = if ward { 6 } else { 3 } + draw.between(0, 4) as u32;
            communes.push((Commune { unit, desk: party.id.clone() }, weight));
        }
        let weight =
            |code: &ProcedureCode| WEIGHTS.iter().find(|(one, _)| *one == code.as_str()).map_or(1, |(_, w)| *w);
        let procedures = registry.procedures().filter(|procedure| procedure.validity.contains(DAY));
        let mut support_points: Vec<PartyId> = [PartyKind::PostOffice, PartyKind::Bank]
            .into_iter()
            .flat_map(of_kind)
            .map(|party| party.id.clone())
            .collect();
        // Any order but that of the list, so that a small run meets banks too.
        draw.shuffle(&mut support_points);
        ensure!(
            communes.len() > 1 && !support_points.is_empty(),
            "the registry has too few communes or support points"
        );
        Ok(Self {
            registry,
            procedures: procedures.map(|procedure| (procedure, weight(&procedure.code))).collect(),
            communes,
            centre: party_of(PartyKind::Centre, registry)?,
            portal: party_of(PartyKind::Portal, registry)?,
            support_points,
        })
    }

    /// One dossier of the channel, within the authority's territory or outside it.
    fn matter(&self, channel: IntakeChannel, non_territorial: bool, draw: &mut Draw) -> anyhow::Result<Matter<'a>> {
        // Some matters cannot be non-territorial (a department is competent everywhere), some have no route: then another
        // one is drawn. So the shares hold exactly, and the weights nearly.
        for _ in 0..1_000 {
            let procedure = *draw.weighted(&self.procedures);
            let commune = draw.weighted(&self.communes);
            let case = if procedure.cases.is_empty() || draw.chance(0.6) {
                None
            } else {
                Some(draw.pick(&procedure.cases).code.clone())
            };
            let Ok(found) = route(self.registry, &procedure.code, case.as_ref(), &commune.unit, DAY).outcome else {
                continue;
            };
            let Some(intake) = self.intake(commune, &found.authority, channel, non_territorial, procedure, draw) else {
                continue;
            };
            let (return_channel, return_desk) = self.way_back(&intake, commune, draw);
            return Ok(Matter {
                procedure,
                case,
                locality: commune.unit.clone(),
                received: received(channel, draw)?,
                intake,
                authority: found.authority,
                intake_channel: channel,
                return_channel,
                return_desk,
                support_point: None,
            });
        }
        anyhow::bail!("the registry's routes give no dossier that is non-territorial: {non_territorial}")
    }

    fn intake(
        &self,
        commune: &Commune,
        authority: &PartyId,
        channel: IntakeChannel,
        non_territorial: bool,
        procedure: &Procedure,
        draw: &mut Draw,
    ) -> Option<PartyId> {
        let desk = match (non_territorial, channel) {
            (true, _) if draw.chance(0.25) => self.centre.clone(),
            (true, _) => draw.weighted(&self.communes).desk.clone(),
            (false, IntakeChannel::Online) if draw.chance(0.3) => self.portal.clone(),
            (false, _) if draw.chance(0.2) => self.centre.clone(),
            (false, _) => commune.desk.clone(),
        };
        let fits = self.registry.is_non_territorial(&desk, authority, DAY) == non_territorial;
        let may = self.registry.grant(&desk, Right::Submit, Some(&procedure.code), DAY).is_ok();
        (fits && may).then_some(desk)
    }

    /// How and where the citizen wants the result; some at a third desk, on the way home.
    fn way_back(&self, intake: &PartyId, commune: &Commune, draw: &mut Draw) -> (ReturnChannel, PartyId) {
        let channel =
            *draw.weighted(&[(ReturnChannel::Online, 66), (ReturnChannel::Direct, 22), (ReturnChannel::Post, 12)]);
        let desk = match channel {
            ReturnChannel::Online => intake.clone(),
            _ if *intake == self.portal => commune.desk.clone(),
            ReturnChannel::Direct if draw.chance(0.3) => draw.weighted(&self.communes).desk.clone(),
            _ => intake.clone(),
        };
        (channel, desk)
    }
}

fn received(channel: IntakeChannel, draw: &mut Draw) -> anyhow::Result<DateTime> {
    loop {
        let (hour, minute) = *draw.weighted(HOURS);
        let at = DAY.at(hour, minute, 0, 0).checked_add(Span::new().seconds(draw.between(0, 1_799)))?;
        let open = (7..11).contains(&hour) || ((13, 30)..(17, 0)).contains(&(hour, minute));
        if open || channel == IntakeChannel::Online {
            return Ok(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::staging::hue::registry;

    fn share(count: usize, all: usize) -> usize {
        (count * 1000 + all / 2) / all
    }

    #[test]
    fn the_published_shares_are_met_to_the_dossier() {
        let registry = registry().unwrap();
        for dossiers in [60, 3425] {
            let matters = draw(Wish { dossiers, seed: 7 }, &registry).unwrap();
            let count = |what: &dyn Fn(&Matter<'_>) -> bool| matters.iter().filter(|matter| what(matter)).count();
            let outside = |matter: &Matter<'_>| registry.is_non_territorial(&matter.intake, &matter.authority, DAY);
            assert_eq!(matters.len(), dossiers);
            assert_eq!(count(&|matter| matter.intake_channel == IntakeChannel::Online), (dossiers * 95 + 50) / 100);
            assert_eq!(count(&outside), (dossiers * 32 + 50) / 100);
            assert_eq!(count(&|matter| matter.support_point.is_some()), (dossiers * 90 + 50) / 100);
        }
    }

    #[test]
    fn a_full_day_reaches_every_commune_and_support_point() {
        let registry = registry().unwrap();
        let matters = draw(Wish { dossiers: 3425, seed: 7 }, &registry).unwrap();
        let distinct = |of: &dyn Fn(&Matter<'_>) -> Option<String>| {
            matters.iter().filter_map(of).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(distinct(&|matter| Some(matter.locality.to_string())), 40);
        assert_eq!(distinct(&|matter| matter.support_point.as_ref().map(ToString::to_string)), 186);
        assert!(distinct(&|matter| Some(matter.procedure.code.to_string())) > 80);
        let before_noon = matters.iter().filter(|matter| matter.received.hour() < 12).count();
        assert!(share(before_noon, matters.len()) > 550, "{before_noon}");
    }

    #[test]
    fn nobody_comes_to_a_desk_that_is_closed() {
        let registry = registry().unwrap();
        let matters = draw(Wish { dossiers: 2000, seed: 3 }, &registry).unwrap();
        for matter in matters.iter().filter(|matter| matter.intake_channel != IntakeChannel::Online) {
            assert!(registry.calendar_of(&matter.intake).is_working_time(matter.received).unwrap());
        }
    }
}
