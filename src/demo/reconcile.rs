//! Every party's books against the journal, dossier by dossier, event by event.
//!
//! Pure: entries and events in, differences out. It takes neither side's word: what one has and the other has not is named,
//! whichever way round.

use std::collections::{BTreeMap, HashMap, HashSet};

use data_encoding::HEXLOWER;
use lgsp_gateway::store::{Admitted, Queried};

use super::books::{Entry, Told};

/// An event as the journal has it.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// The dossier's code.
    pub(super) dossier: String,
    /// Its number within the dossier.
    pub(super) sequence: u32,
    /// The request key it was recorded under.
    pub(super) key: String,
    /// What it says.
    pub(super) told: Told,
    /// Who had to be told.
    pub(super) recipients: Vec<String>,
}

impl Recorded {
    /// The event of an admission.
    pub(super) fn of(admitted: &Admitted) -> Self {
        let event = &admitted.event;
        Self {
            dossier: event.code.to_string(),
            sequence: event.sequence,
            key: admitted.request_key.to_string(),
            told: Told {
                kind: event.act.as_str().to_owned(),
                status: event.status.as_str().to_owned(),
                by: event.by.to_string(),
                body: admitted.body_sha256.to_string(),
            },
            recipients: event.recipients.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A question as the journal has it.
#[derive(Clone, Debug)]
pub(super) struct Questioned {
    /// Its name.
    pub(super) query: String,
    /// What was asked.
    pub(super) service: String,
    /// In whose name.
    pub(super) party: String,
    /// What became of it, as books have it.
    pub(super) outcome: String,
    /// SHA-256 of the reply; empty where there was none.
    pub(super) reply: String,
}

impl Questioned {
    /// The question of a record.
    pub(super) fn of(queried: &Queried) -> Self {
        Self {
            query: HEXLOWER.encode(&queried.id),
            service: queried.service.clone(),
            party: queried.party.to_string(),
            outcome: queried.refused.clone().unwrap_or_else(|| Entry::ANSWERED.to_owned()),
            reply: queried.reply_sha256.map(|digest| digest.to_string()).unwrap_or_default(),
        }
    }
}

/// What the journal holds of both.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Every event.
    pub(super) events: Vec<Recorded>,
    /// Every question that a desk asked.
    pub(super) questions: Vec<Questioned>,
}

/// How books and journal differ.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Difference {
    /// The journal owes an event to a party that does not have it; or a sender was told that something is admitted which the
    /// journal does not have.
    Lost,
    /// A party has an event more than once; or one key of a sender became more than one event.
    Duplicated,
    /// A party was told of a later event of a dossier first.
    OutOfOrder,
    /// Something was sent and never answered.
    Unanswered,
    /// Somebody has something that nobody sent.
    Unexplained,
    /// Both have it, and it does not say the same.
    Altered,
}

impl Difference {
    pub(super) const ALL: [Self; 6] =
        [Self::Lost, Self::Duplicated, Self::OutOfOrder, Self::Unanswered, Self::Unexplained, Self::Altered];
}

/// The outcome: how many differences of each kind, and the first few of them in words.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    counts: BTreeMap<Difference, u64>,
    /// Deliveries that were compared.
    pub(super) deliveries: u64,
    /// Requests that were compared.
    pub(super) requests: u64,
    /// Identities that were confirmed: questions that were answered, on record here and there.
    pub(super) identity_checks: u64,
    /// Questions that were put again because there was no answer.
    pub(super) asked_again: u64,
    /// Requests that the bus refused: no difference, but nothing a plan should hold.
    pub(super) refused: u64,
    /// What was found first.
    pub(super) examples: Vec<String>,
}

/// Examples beyond this many help nobody.
pub(super) const MAX_EXAMPLES: usize = 10;

impl Reconciliation {
    /// How many differences of a kind there are.
    pub(super) fn count(&self, of: Difference) -> u64 {
        self.counts.get(&of).copied().unwrap_or_default()
    }

    /// Whether books and journal agree.
    pub(super) fn agrees(&self) -> bool {
        self.counts.is_empty()
    }

    fn note(&mut self, what: Difference, times: u64, words: impl FnOnce() -> String) {
        if times == 0 {
            return;
        }
        *self.counts.entry(what).or_default() += times;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(format!("{what:?}: {}", words()));
        }
    }
}

/// Compares the books of all systems, each in its own order, with the journal. `portal` keeps none of what it is told: its copies are
/// compared by themselves.
pub(super) fn reconcile(books: &[Vec<Entry>], journal: &Journal, portal: &str) -> Reconciliation {
    let mut outcome = Reconciliation::default();
    requests(books, &journal.events, &mut outcome);
    deliveries(books, &journal.events, portal, &mut outcome);
    questions(books, journal, &mut outcome);
    outcome
}

/// What was sent and answered, against what was recorded.
fn requests(books: &[Vec<Entry>], journal: &[Recorded], outcome: &mut Reconciliation) {
    let mut recorded: HashMap<(&str, &str), Vec<(&str, u32)>> = HashMap::new();
    for event in journal {
        let by = recorded.entry((&event.told.by, &event.key)).or_default();
        by.push((&event.dossier, event.sequence));
    }
    let mut sent: Vec<(&str, &str)> = Vec::new();
    let mut answered: HashSet<(&str, &str)> = HashSet::new();
    for entry in books.iter().flatten() {
        match entry {
            Entry::Sent { party, key } => sent.push((party, key)),
            Entry::Admitted { party, key, dossier, sequence } => {
                answered.insert((party, key));
                let there = recorded.get(&(party.as_str(), key.as_str()));
                if !there.is_some_and(|events| events.contains(&(dossier.as_str(), *sequence))) {
                    outcome.note(Difference::Lost, 1, || {
                        format!("{party} was told that {key} is event {sequence} of {dossier}; the journal has no such event")
                    });
                }
            }
            Entry::Refused { party, key, reason } => {
                answered.insert((party, key));
                outcome.refused += 1;
                if recorded.contains_key(&(party.as_str(), key.as_str())) {
                    outcome.note(Difference::Unexplained, 1, || {
                        format!("{key} of {party} was refused ({reason}) and recorded")
                    });
                }
            }
            Entry::Received { .. } | Entry::Asked { .. } => {}
        }
    }
    outcome.requests = sent.len() as u64;
    for (party, key) in sent.iter().filter(|one| !answered.contains(*one)) {
        outcome.note(Difference::Unanswered, 1, || format!("{key} of {party} was never answered"));
    }
    let sent: HashSet<(&str, &str)> = sent.into_iter().collect();
    // In an order of their own, so that the same books give the same examples.
    let mut recorded: Vec<_> = recorded.into_iter().collect();
    recorded.sort_unstable();
    for ((party, key), events) in recorded {
        if !sent.contains(&(party, key)) {
            outcome
                .note(Difference::Unexplained, 1, || format!("{party} has never sent {key}, which is in the journal"));
        }
        outcome.note(Difference::Duplicated, events.len() as u64 - 1, || {
            format!("{key} of {party} became {} events", events.len())
        });
    }
}

/// One party and one dossier.
type Lane<'a> = (&'a str, &'a str);

/// What was received, against what was owed.
fn deliveries(books: &[Vec<Entry>], journal: &[Recorded], portal: &str, outcome: &mut Reconciliation) {
    let mut received: BTreeMap<Lane<'_>, Vec<(u32, &Told)>> = BTreeMap::new();
    for entry in books.iter().flatten() {
        if let Entry::Received { party, dossier, sequence, event } = entry {
            received.entry((party, dossier)).or_default().push((*sequence, event));
        }
    }
    let mut owed: BTreeMap<Lane<'_>, BTreeMap<u32, &Told>> = BTreeMap::new();
    for event in journal {
        for party in event.recipients.iter().filter(|party| *party != portal) {
            owed.entry((party, &event.dossier)).or_default().insert(event.sequence, &event.told);
            outcome.deliveries += 1;
        }
    }
    let nothing = BTreeMap::new();
    for (lane, told) in &received {
        compare(*lane, told, owed.get(lane).unwrap_or(&nothing), outcome);
    }
    for (lane, owed) in owed.iter().filter(|(lane, _)| !received.contains_key(*lane)) {
        compare(*lane, &[], owed, outcome);
    }
}

/// What was asked and answered, against what is on record; and nothing handed in by somebody whose identity nobody confirmed.
fn questions(books: &[Vec<Entry>], journal: &Journal, outcome: &mut Reconciliation) {
    let mut recorded: BTreeMap<&str, &Questioned> = BTreeMap::new();
    for question in &journal.questions {
        recorded.insert(&question.query, question);
    }
    let mut confirmed: HashSet<(&str, &str)> = HashSet::new();
    for entry in books.iter().flatten() {
        let Entry::Asked { party, key, service, query, outcome: told, reply } = entry else { continue };
        let Some(question) = recorded.remove(query.as_str()) else {
            outcome
                .note(Difference::Lost, 1, || format!("{party} asked {service} for {key}, and that is not on record"));
            continue;
        };
        let is_same =
            (&question.service, &question.party, &question.outcome, &question.reply) == (service, party, told, reply);
        outcome.note(Difference::Altered, u64::from(!is_same), || {
            format!("what {party} asked {service} for {key} is on record as something else")
        });
        match told == Entry::ANSWERED {
            true => {
                outcome.identity_checks += 1;
                confirmed.insert((party, key));
            }
            false => outcome.asked_again += 1,
        }
    }
    for question in recorded.into_values() {
        let Questioned { service, party, query, .. } = question;
        outcome.note(Difference::Unexplained, 1, || format!("{party} has never asked {service}, on record as {query}"));
    }
    let openings = journal.events.iter().filter(|event| event.sequence == 1);
    for Recorded { key, told: Told { by, .. }, dossier, .. } in openings {
        let is_confirmed = confirmed.contains(&(by.as_str(), key.as_str()));
        outcome.note(Difference::Unexplained, u64::from(!is_confirmed), || {
            format!("{by} handed in {dossier} without knowing whose it is")
        });
    }
}

fn compare(lane: Lane<'_>, told: &[(u32, &Told)], owed: &BTreeMap<u32, &Told>, outcome: &mut Reconciliation) {
    let (party, dossier) = lane;
    let mut seen: HashSet<u32> = HashSet::new();
    let mut latest = 0;
    for (sequence, event) in told {
        if !seen.insert(*sequence) {
            outcome.note(Difference::Duplicated, 1, || {
                format!("{party} has event {sequence} of {dossier} more than once")
            });
            continue;
        }
        if *sequence < latest {
            outcome.note(Difference::OutOfOrder, 1, || {
                format!("{party} was told of event {sequence} of {dossier} after event {latest}")
            });
        }
        latest = latest.max(*sequence);
        match owed.get(sequence) {
            None => outcome.note(Difference::Unexplained, 1, || {
                format!("{party} has event {sequence} of {dossier}, which was not owed to it")
            }),
            Some(recorded) => outcome.note(Difference::Altered, u64::from(recorded != event), || {
                format!("event {sequence} of {dossier} is another one in the books of {party}")
            }),
        }
    }
    for sequence in owed.keys().filter(|sequence| !seen.contains(sequence)) {
        outcome.note(Difference::Lost, 1, || format!("{party} never got event {sequence} of {dossier}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESK: &str = "H57.101";
    const AUTHORITY: &str = "H57.102";

    fn told(sequence: u32, by: &str) -> Told {
        Told {
            kind: format!("kind-{sequence}"),
            status: "registered".into(),
            by: by.into(),
            body: format!("{sequence:02x}"),
        }
    }

    fn event(dossier: &str, sequence: u32, by: &str, to: &str) -> Recorded {
        Recorded {
            dossier: dossier.into(),
            sequence,
            key: format!("{dossier}-{sequence}"),
            told: told(sequence, by),
            recipients: vec![to.into()],
        }
    }

    /// Two dossiers that the desk hands in and the authority moves on twice.
    fn events() -> Vec<Recorded> {
        let of = |dossier| {
            [event(dossier, 1, DESK, AUTHORITY), event(dossier, 2, AUTHORITY, DESK), event(dossier, 3, AUTHORITY, DESK)]
        };
        [of("a"), of("b")].concat()
    }

    fn question(dossier: &str) -> Questioned {
        Questioned {
            query: format!("query-{dossier}"),
            service: "dan-cu-doi-chieu".into(),
            party: DESK.into(),
            outcome: Entry::ANSWERED.into(),
            reply: format!("reply-{dossier}"),
        }
    }

    /// With what the desk asked before it handed them in.
    fn journal() -> Journal {
        Journal { events: events(), questions: ["a", "b"].map(question).into() }
    }

    /// The books that agree with it.
    fn books() -> Vec<Vec<Entry>> {
        let mut desk = Vec::new();
        let mut authority = Vec::new();
        for dossier in ["a", "b"] {
            let Questioned { query, service, party, outcome, reply } = question(dossier);
            desk.push(Entry::Asked { party, key: format!("{dossier}-1"), service, query, outcome, reply });
        }
        for event in events() {
            let (senders, receivers) = match event.told.by == DESK {
                true => (&mut desk, &mut authority),
                false => (&mut authority, &mut desk),
            };
            let (party, key) = (event.told.by.clone(), event.key.clone());
            senders.push(Entry::Sent { party: party.clone(), key: key.clone() });
            senders.push(Entry::Admitted { party, key, dossier: event.dossier.clone(), sequence: event.sequence });
            receivers.push(Entry::Received {
                party: event.recipients[0].clone(),
                dossier: event.dossier,
                sequence: event.sequence,
                event: event.told,
            });
        }
        vec![desk, authority]
    }

    fn received(entry: &Entry) -> bool {
        matches!(entry, Entry::Received { .. })
    }

    /// The only kind of difference, and how many there are.
    fn only(outcome: &Reconciliation) -> (Difference, u64) {
        let found: Vec<_> = Difference::ALL
            .into_iter()
            .map(|kind| (kind, outcome.count(kind)))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(found.len(), 1, "{outcome:?}");
        assert!(!outcome.agrees() && !outcome.examples.is_empty());
        found[0]
    }

    #[test]
    fn books_that_agree_have_no_difference() {
        let outcome = reconcile(&books(), &journal(), "H57.CDV");
        assert!(outcome.agrees(), "{outcome:?}");
        assert_eq!((outcome.deliveries, outcome.requests), (6, 6));
        assert_eq!((outcome.identity_checks, outcome.asked_again), (2, 0));
    }

    #[test]
    fn every_dropped_delivery_is_missed() {
        for at in 0..books()[0].len() {
            let mut books = books();
            if received(&books[0][at]) {
                books[0].remove(at);
                assert_eq!(only(&reconcile(&books, &journal(), "H57.CDV")), (Difference::Lost, 1));
            }
        }
    }

    #[test]
    fn a_party_that_got_nothing_at_all_is_missed() {
        let mut books = books();
        books[0].retain(|entry| !received(entry));
        assert_eq!(only(&reconcile(&books, &journal(), "H57.CDV")), (Difference::Lost, 4));
    }

    #[test]
    fn every_doubled_delivery_is_seen() {
        for at in 0..books()[0].len() {
            let mut books = books();
            if received(&books[0][at]) {
                let again = books[0][at].clone();
                books[0].push(again);
                assert_eq!(only(&reconcile(&books, &journal(), "H57.CDV")), (Difference::Duplicated, 1));
            }
        }
    }

    #[test]
    fn swapped_deliveries_of_one_dossier_are_seen_and_those_of_two_may_be() {
        let at: Vec<usize> = (0..books()[0].len()).filter(|at| received(&books()[0][*at])).collect();
        let mut swapped = books();
        swapped[0].swap(at[0], at[1]);
        assert_eq!(only(&reconcile(&swapped, &journal(), "H57.CDV")), (Difference::OutOfOrder, 1));
        let mut swapped = books();
        swapped[0].swap(at[1], at[2]);
        assert!(reconcile(&swapped, &journal(), "H57.CDV").agrees());
    }

    #[test]
    fn what_was_answered_must_be_in_the_journal() {
        let mut journal = journal();
        let last = journal.events.pop().unwrap();
        let mut books = books();
        books[0]
            .retain(|entry| !matches!(entry, Entry::Received { dossier, sequence: 3, .. } if *dossier == last.dossier));
        assert_eq!(only(&reconcile(&books, &journal, "H57.CDV")), (Difference::Lost, 1));
    }

    #[test]
    fn one_key_that_became_two_events_is_seen() {
        let mut journal = journal();
        let mut books = books();
        // A third dossier that nobody asked for, under the key of the second.
        let mut twice = event("c", 1, DESK, AUTHORITY);
        twice.key = "b-1".into();
        books[1].push(Entry::Received {
            party: AUTHORITY.into(),
            dossier: "c".into(),
            sequence: 1,
            event: twice.told.clone(),
        });
        journal.events.push(twice);
        assert_eq!(only(&reconcile(&books, &journal, "H57.CDV")), (Difference::Duplicated, 1));
    }

    #[test]
    fn what_nobody_sent_and_what_nobody_answered_is_named() {
        let unsent = |entry: &Entry| matches!(entry, Entry::Sent { key, .. } if key == "a-2");
        let mut without = books();
        without[1].retain(|entry| !unsent(entry));
        assert_eq!(only(&reconcile(&without, &journal(), "H57.CDV")), (Difference::Unexplained, 1));
        let unanswered = |entry: &Entry| matches!(entry, Entry::Admitted { key, .. } if key == "a-2");
        let mut without = books();
        without[1].retain(|entry| !unanswered(entry));
        assert_eq!(only(&reconcile(&without, &journal(), "H57.CDV")), (Difference::Unanswered, 1));
    }

    #[test]
    fn a_delivery_to_the_wrong_party_is_lost_there_and_unexplained_here() {
        let mut books = books();
        for entry in books[0].iter_mut() {
            if let Entry::Received { party, sequence: 2, dossier, .. } = entry
                && dossier == "a"
            {
                *party = AUTHORITY.into();
            }
        }
        let outcome = reconcile(&books, &journal(), "H57.CDV");
        assert_eq!((outcome.count(Difference::Lost), outcome.count(Difference::Unexplained)), (1, 1));
    }

    #[test]
    fn an_event_that_says_something_else_is_seen() {
        let mut books = books();
        for entry in books[0].iter_mut() {
            if let Entry::Received { event, sequence: 3, dossier, .. } = entry
                && dossier == "b"
            {
                event.status = "not_accepted".into();
            }
        }
        assert_eq!(only(&reconcile(&books, &journal(), "H57.CDV")), (Difference::Altered, 1));
    }

    #[test]
    fn a_question_that_is_only_on_one_side_or_says_something_else_is_seen() {
        let asked = |entry: &Entry| matches!(entry, Entry::Asked { .. });
        let at = books()[0].iter().position(asked).unwrap();
        // Forgotten by the bus: and then nobody has confirmed anything, as far as can be proven.
        let mut forgotten = journal();
        forgotten.questions.remove(0);
        let outcome = reconcile(&books(), &forgotten, "H57.CDV");
        assert_eq!((outcome.count(Difference::Lost), outcome.identity_checks), (1, 1));
        // Never asked, and on record; so it was handed in unseen.
        let mut unasked = books();
        unasked[0].remove(at);
        assert_eq!(only(&reconcile(&unasked, &journal(), "H57.CDV")), (Difference::Unexplained, 2));
        let mut altered = journal();
        altered.questions[0].reply = "another".into();
        assert_eq!(only(&reconcile(&books(), &altered, "H57.CDV")), (Difference::Altered, 1));
        // Asked twice, because the first had no answer.
        let (mut twice, mut known) = (books(), journal());
        let Entry::Asked { query, outcome, .. } = &mut twice[0][at] else { panic!() };
        (*query, *outcome) = ("query-0".into(), "SERVICE_FAILED".into());
        twice[0].push(books()[0][at].clone());
        let failed = Questioned { query: "query-0".into(), outcome: "SERVICE_FAILED".into(), ..question("a") };
        known.questions.push(failed);
        let outcome = reconcile(&twice, &known, "H57.CDV");
        assert!(outcome.agrees(), "{outcome:?}");
        assert_eq!((outcome.identity_checks, outcome.asked_again), (2, 1));
    }

    #[test]
    fn what_the_portal_is_told_is_in_nobodys_books() {
        let mut journal = journal();
        journal.events[1].recipients.push("H57.CDV".into());
        assert!(reconcile(&books(), &journal, "H57.CDV").agrees());
        assert_eq!(only(&reconcile(&books(), &journal, "H57.other")), (Difference::Lost, 1));
    }
}
