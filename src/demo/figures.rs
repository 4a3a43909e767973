//! What the journal says about the day, in figures.
//!
//! Everything is counted from the events as they were recorded; the plan is unknown here. Definitions follow those by which
//! provinces are measured (QĐ 766/QĐ-TTg and the reports behind it): a result is on time when it is there by the date promised,
//! pauses not counted, extensions not forgiven; where no limit is published there is nothing to be late for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use jiff::civil::DateTime;
use lgsp_domain::dossier::Opening;
use lgsp_domain::event::Event;
use lgsp_domain::registry::{PartyKind, Registry};
use lgsp_domain::transition::Act;
use lgsp_proto::types::{IntakeChannel, PartyId, ReturnChannel, Status};

use super::ticks::DAY;

/// The figures.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) submitted: u64,
    pub(super) online: u64,
    pub(super) direct: u64,
    pub(super) postal: u64,
    /// Taken in outside the competent authority's territory.
    pub(super) non_territorial: u64,
    /// Filed with the help of an agent point.
    pub(super) supported: u64,
    /// Results wanted at a desk other than the one of intake.
    pub(super) third_desk: u64,
    /// Results sent by post.
    pub(super) by_post: u64,
    /// On the evening of the day, and at the end.
    pub(super) evening: ByStatus,
    pub(super) end: ByStatus,
    /// Results that were there in time, and too late; dossiers whose result was recalled count by the last one.
    pub(super) on_time: u64,
    pub(super) late: u64,
    /// Dossiers to which this happened at least once.
    pub(super) supplemented: u64,
    pub(super) expired: u64,
    pub(super) fees: u64,
    pub(super) extended: u64,
    pub(super) recalled: u64,
    /// From reception to the authority's acceptance, in working time.
    pub(super) hand_over: HandOver,
    pub(super) hand_over_non_territorial: HandOver,
    /// Non-territorial dossiers by kind of intake desk and of authority.
    pub(super) matrix: BTreeMap<(Group, Group), u64>,
    /// Dossiers by intake desk, busiest first.
    pub(super) desks: Vec<(PartyId, u64)>,
    /// Dossiers by competent authority, busiest first.
    pub(super) authorities: Vec<(PartyId, u64)>,
    /// Organisations that recorded something, were told something, or helped to file.
    pub(super) parties: u64,
    pub(super) events: u64,
    pub(super) deliveries: u64,
}

/// Dossiers by status.
#[derive(Clone, Debug, Default)]
pub(super) struct ByStatus(BTreeMap<u8, u64>);

impl ByStatus {
    pub(super) fn count(&self, status: Status) -> u64 {
        self.0.get(&status.number()).copied().unwrap_or_default()
    }

    /// All, in the order of the national numbers, those without a dossier too.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Status, u64)> {
        (1..=10).filter_map(|number| Status::try_from(number).ok()).map(|status| (status, self.count(status)))
    }

    /// Dossiers with a result: 9 and 10.
    pub(super) fn decided(&self) -> u64 {
        self.count(Status::Resolved) + self.count(Status::Returned)
    }

    /// Dossiers that something will still happen to.
    pub(super) fn open(&self) -> u64 {
        self.iter().filter(|(status, _)| !status.is_terminal()).map(|(_, count)| count).sum()
    }

    fn add(&mut self, status: Status) {
        *self.0.entry(status.number()).or_default() += 1;
    }
}

/// How long hand-overs took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HandOver {
    pub(super) count: usize,
    pub(super) median: Duration,
    /// Nine of ten were quicker.
    pub(super) ninth_of_ten: Duration,
}

impl HandOver {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: f64| times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1)));
        Self {
            count: times.len(),
            median: at(0.5).copied().unwrap_or_default(),
            ninth_of_ten: at(0.9).copied().unwrap_or_default(),
        }
    }
}

/// Kinds of organisations, as an overview puts them together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Group {
    Centre,
    Ward,
    RuralCommune,
    CommunePolice,
    CityPolice,
    Department,
    LandOffice,
    Insurance,
    Portal,
    Other,
}

impl Group {
    /// The group of a party.
    pub(super) fn of(party: &PartyId, registry: &Registry) -> Self {
        let Some(party) = registry.party(party) else { return Self::Other };
        let unit = party.unit.as_ref().and_then(|unit| registry.unit(unit, DAY).ok());
        let has_parent = unit.is_some_and(|unit| unit.parent.is_some());
        match party.kind {
            PartyKind::Centre => Self::Centre,
            PartyKind::Commune if unit.is_some_and(|unit| unit.name.starts_with("Phường")) => Self::Ward,
            PartyKind::Commune => Self::RuralCommune,
            PartyKind::Police if has_parent => Self::CommunePolice,
            PartyKind::Police => Self::CityPolice,
            PartyKind::Department => Self::Department,
            PartyKind::LandOffice => Self::LandOffice,
            PartyKind::Insurance => Self::Insurance,
            PartyKind::Portal => Self::Portal,
            _ => Self::Other,
        }
    }
}

/// One dossier: how it was opened and everything that happened to it, in order.
struct Story<'a> {
    opening: &'a Opening,
    events: Vec<&'a Event>,
}

impl<'a> Story<'a> {
    fn has(&self, act: Act) -> bool {
        self.events.iter().any(|event| event.act == act)
    }

    fn first(&self, act: Act) -> Option<&'a Event> {
        self.events.iter().find(|event| event.act == act).copied()
    }

    /// Its status at that time.
    fn status_at(&self, at: DateTime) -> Option<Status> {
        self.events.iter().rev().find(|event| event.occurred_at.civil() <= at).map(|event| event.status)
    }

    /// Whether the result that stands came too late; none when there is none.
    fn is_late(&self) -> Option<bool> {
        let last = self.events.last()?;
        matches!(last.status, Status::Resolved | Status::Returned).then_some(())?;
        let resolved = self.events.iter().rev().find(|event| event.act == Act::Resolve)?;
        Some(resolved.outcome.clock.is_late(resolved.occurred_at.civil()))
    }
}

impl Figures {
    /// Counts. `events` are those of the journal, in its order; `evening` is the time of the first figures by status.
    ///
    /// # Errors
    /// An event of a dossier that was never opened, or a year that a calendar does not know.
    pub(super) fn count(events: &[Event], evening: DateTime, registry: &Registry) -> anyhow::Result<Self> {
        let mut figures = Self::default();
        let mut parties: BTreeSet<&PartyId> = BTreeSet::new();
        for event in events {
            figures.events += 1;
            figures.deliveries += event.recipients.len() as u64;
            parties.insert(&event.by);
            parties.extend(&event.recipients);
        }
        let stories = stories(events)?;
        let mut desks: BTreeMap<&PartyId, u64> = BTreeMap::new();
        let mut authorities: BTreeMap<&PartyId, u64> = BTreeMap::new();
        let (mut hand_overs, mut outside) = (Vec::new(), Vec::new());
        for story in &stories {
            figures.add(story, evening, registry);
            let places = &story.opening.places;
            parties.extend(&places.support_point);
            *desks.entry(&places.intake_desk).or_default() += 1;
            *authorities.entry(&places.competent_authority).or_default() += 1;
            if let Some(accepted) = story.first(Act::Accept) {
                let calendar = registry.calendar_of(&places.competent_authority);
                let taken = calendar.working_time(story.opening.received_at.civil(), accepted.occurred_at.civil())?;
                hand_overs.push(taken);
                if story.opening.non_territorial {
                    outside.push(taken);
                }
            }
        }
        figures.parties = parties.len() as u64;
        figures.hand_over = HandOver::of(hand_overs);
        figures.hand_over_non_territorial = HandOver::of(outside);
        figures.desks = busiest_first(desks);
        figures.authorities = busiest_first(authorities);
        Ok(figures)
    }

    fn add(&mut self, story: &Story<'_>, evening: DateTime, registry: &Registry) {
        let (opening, places) = (story.opening, &story.opening.places);
        self.submitted += 1;
        match opening.intake_channel {
            IntakeChannel::Online => self.online += 1,
            IntakeChannel::Direct => self.direct += 1,
            IntakeChannel::Postal => self.postal += 1,
        }
        if opening.non_territorial {
            self.non_territorial += 1;
            let pair = (Group::of(&places.intake_desk, registry), Group::of(&places.competent_authority, registry));
            *self.matrix.entry(pair).or_default() += 1;
        }
        self.supported += u64::from(places.support_point.is_some());
        self.third_desk += u64::from(places.return_desk != places.intake_desk);
        self.by_post += u64::from(opening.return_channel == ReturnChannel::Post);
        self.supplemented += u64::from(story.has(Act::RequestSupplement));
        self.expired += u64::from(story.has(Act::ExpireSupplement));
        self.fees += u64::from(story.has(Act::RequestFee));
        self.extended += u64::from(story.has(Act::Extend));
        self.recalled += u64::from(story.has(Act::RecallResult));
        match story.is_late() {
            Some(true) => self.late += 1,
            Some(false) => self.on_time += 1,
            None => {}
        }
        if let Some(status) = story.status_at(evening) {
            self.evening.add(status);
        }
        if let Some(last) = story.events.last() {
            self.end.add(last.status);
        }
    }
}

fn stories(events: &[Event]) -> anyhow::Result<Vec<Story<'_>>> {
    let mut by_code: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_code.entry(event.code.as_str()).or_default().push(event);
    }
    let mut stories = Vec::new();
    for (code, events) in by_code {
        let first = events.first().and_then(|event| event.opening.as_ref());
        let opening = first.with_context(|| format!("the journal's first event of {code} does not open it"))?;
        stories.push(Story { opening, events });
    }
    Ok(stories)
}

fn busiest_first(counts: BTreeMap<&PartyId, u64>) -> Vec<(PartyId, u64)> {
    let mut counts: Vec<_> = counts.into_iter().map(|(party, count)| (party.clone(), count)).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

#[cfg(test)]
pub(super) mod tests {
    use std::num::NonZeroU32;

    use jiff::civil::date;
    use lgsp_domain::apply::apply;
    use lgsp_domain::decide::{self, ComponentGiven, TimeBounds, What};
    use lgsp_proto::types::{BusinessTime, DossierCode};

    use super::*;
    use crate::demo::ticks::EVENING;
    use crate::staging::hue;

    pub(in crate::demo) const DESK: &str = "H57.102";
    pub(in crate::demo) const AUTHORITY: &str = "H57.101";

    /// One dossier of 1.004873 (three working days), filed at nine at another ward's desk, and these entries.
    pub(in crate::demo) fn events(registry: &Registry, number: u32, entries: &[(&str, DateTime, What)]) -> Vec<Event> {
        let received = DAY.at(9, 0, 0, 0).try_into().unwrap();
        let given = decide::Submission {
            acting_party: DESK.parse().unwrap(),
            actor: "cb01".parse().unwrap(),
            procedure: "1.004873".parse().unwrap(),
            case: None,
            locality: "19753".parse().unwrap(),
            intake_channel: IntakeChannel::Online,
            return_channel: ReturnChannel::Direct,
            support_point: Some("H57.BD.001".parse().unwrap()),
            return_desk: None,
            received_at: received,
            components: vec![ComponentGiven { code: Some("to-khai".into()), has_document: true }],
            documents: Vec::new(),
            aliases: Vec::new(),
            code: None,
        };
        let bounds = TimeBounds::default();
        let admissible = decide::submission(&given, registry, received, &bounds).unwrap();
        let code = DossierCode::issue(admissible.authority(), admissible.day(), number).unwrap();
        let mut events = vec![admissible.with_code(code).unwrap().event];
        let mut dossier = apply(None, &events[0]).unwrap();
        for (party, at, what) in entries {
            let occurred_at: BusinessTime = (*at).try_into().unwrap();
            let entry = decide::Entry {
                acting_party: party.parse().unwrap(),
                actor: "cb01".parse().unwrap(),
                expected_sequence: None,
                occurred_at,
                what: what.clone(),
            };
            let event = decide::entry(&dossier, &entry, registry, occurred_at, &bounds).unwrap().event;
            dossier = apply(Some(&dossier), &event).unwrap();
            events.push(event);
        }
        events
    }

    pub(in crate::demo) fn resolve() -> What {
        What::Resolve { results: NonZeroU32::MIN, documents: Vec::new() }
    }

    pub(in crate::demo) fn hand_out() -> What {
        What::ReturnResult { channel: ReturnChannel::Direct }
    }

    #[test]
    fn the_evening_and_the_end_are_counted_apart() {
        let registry = hue::registry().unwrap();
        let events = events(
            &registry,
            1,
            &[
                (AUTHORITY, DAY.at(14, 0, 0, 0), What::Accept),
                (AUTHORITY, date(2025, 7, 15).at(9, 0, 0, 0), resolve()),
                (DESK, date(2025, 7, 16).at(8, 0, 0, 0), hand_out()),
            ],
        );
        let figures = Figures::count(&events, EVENING, &registry).unwrap();
        assert_eq!((figures.evening.count(Status::Accepted), figures.end.count(Status::Returned)), (1, 1));
        assert_eq!((figures.evening.open(), figures.end.open(), figures.end.decided()), (1, 0, 1));
        assert_eq!((figures.submitted, figures.online, figures.non_territorial, figures.supported), (1, 1, 1, 1));
        assert_eq!((figures.on_time, figures.late), (1, 0));
        assert_eq!(figures.matrix, BTreeMap::from([((Group::Ward, Group::Ward), 1)]));
        // 09:00 to 11:30 and 13:30 to 14:00.
        assert_eq!(figures.hand_over.median, Duration::from_secs(3 * 3600));
        // Desk, authority, portal and the post office that helped.
        assert_eq!((figures.events, figures.parties), (4, 4));
    }

    #[test]
    fn an_extension_makes_nobody_punctual() {
        let registry = hue::registry().unwrap();
        let new_due = date(2025, 7, 25).at(9, 0, 0, 0);
        let events = events(
            &registry,
            1,
            &[
                (AUTHORITY, DAY.at(10, 0, 0, 0), What::Accept),
                (AUTHORITY, DAY.at(15, 0, 0, 0), What::Extend { new_due: new_due.try_into().unwrap() }),
                (AUTHORITY, date(2025, 7, 18).at(9, 0, 0, 0), resolve()),
            ],
        );
        let figures = Figures::count(&events, EVENING, &registry).unwrap();
        assert_eq!((figures.on_time, figures.late, figures.extended), (0, 1, 1));
    }

    #[test]
    fn a_recalled_result_counts_by_the_one_that_stands() {
        let registry = hue::registry().unwrap();
        let early = date(2025, 7, 15).at(9, 0, 0, 0);
        let mut entries = vec![
            (AUTHORITY, DAY.at(10, 0, 0, 0), What::Accept),
            (AUTHORITY, early, resolve()),
            (AUTHORITY, early, What::RecallResult),
        ];
        let recalled = Figures::count(&events(&registry, 1, &entries), EVENING, &registry).unwrap();
        assert_eq!((recalled.on_time, recalled.late, recalled.end.decided()), (0, 0, 0));
        entries.push((AUTHORITY, date(2025, 7, 21).at(9, 0, 0, 0), resolve()));
        let again = Figures::count(&events(&registry, 1, &entries), EVENING, &registry).unwrap();
        assert_eq!((again.on_time, again.late, again.end.decided()), (0, 1, 1));
    }

    #[test]
    fn half_and_nine_tenths_are_taken_from_the_sorted_times() {
        let times = (1..=100).rev().map(Duration::from_secs).collect();
        let hand_over = HandOver::of(times);
        assert_eq!((hand_over.median, hand_over.ninth_of_ten), (Duration::from_secs(51), Duration::from_secs(91)));
        assert_eq!(HandOver::of(Vec::new()).median, Duration::ZERO);
    }
}
