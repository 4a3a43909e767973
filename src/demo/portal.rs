//! What the national portal has in the end, against the journal: each dossier there once, with the status, the times and the steps that were
//! recorded here.
//!
//! The adapter that keeps them in step has compared both sides before, and has sent again what was behind; it is not taken at its word. That
//! may only be what the portal's own desk recorded last, of which nobody tells the portal.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::DateTime;
use lgsp_domain::event::Event;
use lgsp_proto::types::{PartyId, Status};

use super::national::{Compared, Filed};

/// The outcome.
#[derive(Debug)]
pub(super) struct Portal {
    /// Dossiers that it has.
    pub(super) dossiers: u64,
    /// Of those, sent again when both sides were compared.
    pub(super) sent_again: u64,
    /// What is not as it is here, in words, by dossier.
    pub(super) differences: BTreeMap<String, String>,
}

/// The dossiers that the portal follows, each with its events.
type Dossiers<'a> = BTreeMap<String, Vec<&'a Event>>;

impl Portal {
    /// Judges what its adapter found and what it has.
    pub(super) fn of(compared: Compared, book: &[Filed], events: &[Event], portal: &PartyId) -> Self {
        let dossiers = followed(events, portal);
        let mut differences = compared.differences;
        for code in &compared.sent_again {
            let last = dossiers.get(code).and_then(|events| events.last());
            if last.is_none_or(|event| event.by != *portal) {
                differences.insert(code.clone(), "was behind there, and had been told".to_owned());
            }
        }
        differences.extend(of_book(book, dossiers));
        Self { dossiers: book.len() as u64, sent_again: compared.sent_again.len() as u64, differences }
    }
}

fn followed<'a>(events: &'a [Event], portal: &PartyId) -> Dossiers<'a> {
    let mut dossiers = Dossiers::new();
    for event in events {
        dossiers.entry(event.code.to_string()).or_default().push(event);
    }
    dossiers.retain(|_, events| events.iter().any(|event| event.by == *portal || event.recipients.contains(portal)));
    dossiers
}

/// Every dossier that is not the same on both sides, and what about it.
fn of_book(book: &[Filed], dossiers: Dossiers<'_>) -> BTreeMap<String, String> {
    let mut differences = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for filed in book {
        let code = filed.code.clone();
        if !seen.insert(&filed.code) {
            differences.insert(code, "is there more than once".to_owned());
            continue;
        }
        let Some(events) = dossiers.get(&filed.code) else {
            differences.insert(code, "is there, and nobody handed it in".to_owned());
            continue;
        };
        if let Some(what) = difference(events, filed) {
            differences.insert(code, what);
        }
    }
    for code in dossiers.into_keys().filter(|code| !seen.contains(code)) {
        differences.insert(code, "is not there".to_owned());
    }
    differences
}

fn difference(events: &[&Event], filed: &Filed) -> Option<String> {
    let opening = events.first()?.opening.as_ref()?;
    let status = events.last()?.status;
    let taken_up = events.iter().skip_while(|event| event.status != Status::Accepted);
    let steps: BTreeSet<_> = taken_up.map(|event| (stamp(event.occurred_at.civil()), number(event.status))).collect();
    let told: BTreeSet<_> = filed.steps.iter().cloned().collect();
    [
        ("procedure", filed.procedure != opening.procedure.to_string()),
        ("time of reception", filed.received != stamp(opening.received_at.civil())),
        ("status", filed.status != number(status)),
        ("steps", told != steps),
    ]
    .into_iter()
    .find_map(|(what, differs)| differs.then(|| format!("has another {what} there")))
}

fn number(status: Status) -> String {
    status.number().to_string()
}

/// A time as the portal has it: Vietnam's, without a zone.
fn stamp(time: DateTime) -> String {
    time.strftime("%Y%m%d%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use lgsp_domain::decide::What;

    use super::super::figures::tests::{AUTHORITY, DESK, events, hand_out, resolve};
    use super::super::ticks::DAY;
    use super::*;
    use crate::staging::hue;

    fn portal() -> PartyId {
        "H57.CDV".parse().unwrap()
    }

    /// Two dossiers that an authority has taken up, and decided, and a desk has handed out.
    fn told() -> Vec<Event> {
        let registry = hue::registry().unwrap();
        let entries = [
            (AUTHORITY, DAY.at(14, 0, 0, 0), What::Accept),
            (AUTHORITY, DAY.at(15, 0, 0, 0), resolve()),
            (DESK, DAY.at(16, 0, 0, 0), hand_out()),
        ];
        [1, 2].map(|number| events(&registry, number, &entries)).concat()
    }

    /// The portal that has them.
    fn book(events: &[Event]) -> Vec<Filed> {
        let of = |(code, events): (String, Vec<&Event>)| {
            let step = |event: &&Event| (stamp(event.occurred_at.civil()), number(event.status));
            let opening = events[0].opening.as_ref().unwrap();
            Filed {
                code,
                procedure: opening.procedure.to_string(),
                status: number(events.last().unwrap().status),
                received: stamp(opening.received_at.civil()),
                steps: events[1..].iter().map(step).collect(),
            }
        };
        followed(events, &portal()).into_iter().map(of).collect()
    }

    fn differences(book: &[Filed], events: &[Event]) -> usize {
        Portal::of(Compared::default(), book, events, &portal()).differences.len()
    }

    #[test]
    fn a_portal_that_has_what_was_recorded_has_no_difference() {
        let events = told();
        let there = Portal::of(Compared::default(), &book(&events), &events, &portal());
        assert_eq!((there.dossiers, there.differences), (2, BTreeMap::new()));
        assert_eq!(book(&events)[0].received.len(), 14);
    }

    #[test]
    fn whatever_is_missing_there_or_invented_or_another_is_named() {
        let events = told();
        let changed = |change: fn(&mut Vec<Filed>)| {
            let mut book = book(&events);
            change(&mut book);
            differences(&book, &events)
        };
        assert_eq!(changed(|book| _ = book.pop()), 1);
        assert_eq!(changed(|book| book.push(book[0].clone())), 1);
        assert_eq!(changed(|book| book[0].code = "H57.01-250714-9999".into()), 2);
        assert_eq!(changed(|book| book[0].status = "9".into()), 1);
        assert_eq!(changed(|book| book[1].procedure = "1.000001".into()), 1);
        assert_eq!(changed(|book| book[1].received = "20250714000000".into()), 1);
        assert_eq!(changed(|book| _ = book[0].steps.pop()), 1);
        assert_eq!(changed(|book| _ = book[0].steps.remove(0)), 1);
    }

    #[test]
    fn only_what_its_own_desk_did_last_may_have_to_be_sent_again() {
        let mut events = told();
        let (code, others) = (events[0].code.to_string(), events[7].code.to_string());
        let compared = |code: &String| Compared { sent_again: [code.clone()].into(), ..Compared::default() };
        // Handed out by the portal itself, which nobody tells it.
        events[3].by = portal();
        let there = Portal::of(compared(&code), &book(&events), &events, &portal());
        assert_eq!((there.sent_again, there.differences.len()), (1, 0));
        let there = Portal::of(compared(&others), &book(&events), &events, &portal());
        assert_eq!(there.differences.into_keys().collect::<Vec<_>>(), [others]);
    }
}
