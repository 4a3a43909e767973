//! What everybody's books must say, and what the journal must, after any fault.
//!
//! Pure: books and events in, a verdict out; it knows nothing of processes and takes nobody's word. Held to be true: every
//! request that was answered is one event; every event is with every party it was owed to, once and in the order of its
//! dossier; both sides have the same; nobody has what was never sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An event as the journal has it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Who said it.
    pub(crate) by: String,
    /// Under which request key.
    pub(crate) key: String,
    pub(crate) dossier: String,
    /// Its number within the dossier.
    pub(crate) sequence: u32,
    /// What it says, as a digest.
    pub(crate) digest: String,
    /// Who must be told.
    pub(crate) recipients: Vec<String>,
}

/// A request that an agency sent until it was answered 202.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) party: String,
    pub(crate) key: String,
}

/// What an agency was told about a request of its own.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) party: String,
    pub(crate) key: String,
    /// The event it became, or the reason of the refusal.
    pub(crate) became: Result<(String, u32), String>,
}

/// An event that an agency was told of, as often as it was told.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) party: String,
    pub(crate) dossier: String,
    pub(crate) sequence: u32,
    /// The request key the event carries.
    pub(crate) key: String,
    pub(crate) digest: String,
    /// The round of the campaign.
    pub(crate) round: u32,
    /// Which start of which adapter brought it.
    pub(crate) bearer: Bearer,
    /// Whether the agency said that it has it, so that the bearer could hear it.
    pub(crate) confirmed: bool,
}

/// One life of one adapter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bearer {
    pub(crate) system: String,
    pub(crate) life: u32,
}

/// The books of all agencies together, each list in the order in which things happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub(crate) sent: Vec<Sent>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) arrivals: Vec<Arrival>,
}

/// What was found. Everything but the first two must be nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Verdict {
    /// Requests that were answered.
    pub(crate) answered: u64,
    /// Events that were owed to a party.
    pub(crate) owed: u64,
    /// Answered and not recorded, or owed and never told.
    pub(crate) lost: u64,
    /// One request that became more than one event, or an event that had its effect more than once.
    pub(crate) doubled: u64,
    /// Told after a later event of the same dossier.
    pub(crate) out_of_order: u64,
    /// Told otherwise than recorded, refused for no reason, or had by somebody without having been sent.
    pub(crate) differing: u64,
    /// The first few of them in words.
    pub(crate) examples: Vec<String>,
}

/// Examples beyond this many help nobody.
const MAX_EXAMPLES: usize = 10;

impl Verdict {
    /// Whether every promise was kept.
    pub(crate) fn holds(&self) -> bool {
        self.lost + self.doubled + self.out_of_order + self.differing == 0
    }

    fn note(&mut self, count: fn(&mut Self) -> &mut u64, words: impl FnOnce() -> String) {
        *count(self) += 1;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(words());
        }
    }
}

fn lost(verdict: &mut Verdict) -> &mut u64 {
    &mut verdict.lost
}

fn doubled(verdict: &mut Verdict) -> &mut u64 {
    &mut verdict.doubled
}

fn out_of_order(verdict: &mut Verdict) -> &mut u64 {
    &mut verdict.out_of_order
}

fn differing(verdict: &mut Verdict) -> &mut u64 {
    &mut verdict.differing
}

/// Judges the books against the journal.
pub(crate) fn judge(books: &Books, journal: &[Recorded]) -> Verdict {
    let mut verdict = Verdict::default();
    requests(books, journal, &mut verdict);
    sequences(journal, &mut verdict);
    deliveries(books, journal, &mut verdict);
    effects(books, &mut verdict);
    verdict
}

/// Every answered request is one event, and that is what its sender was told.
fn requests(books: &Books, journal: &[Recorded], verdict: &mut Verdict) {
    let mut recorded: BTreeMap<(&str, &str), Vec<(&str, u32)>> = BTreeMap::new();
    for event in journal {
        recorded.entry((&event.by, &event.key)).or_default().push((&event.dossier, event.sequence));
    }
    let mut told: HashMap<(&str, &str), &Outcome> = HashMap::new();
    for outcome in &books.outcomes {
        let id = (&*outcome.party, &*outcome.key);
        if let Some(before) = told.insert(id, outcome)
            && before.became != outcome.became
        {
            verdict.note(differing, || format!("{id:?} was told {:?}, and then {:?}", before.became, outcome.became));
        }
    }
    let mut sent = BTreeSet::new();
    for Sent { party, key } in &books.sent {
        let id = (&**party, &**key);
        if !sent.insert(id) {
            continue;
        }
        verdict.answered += 1;
        let events = recorded.get(&id).map_or(&[][..], Vec::as_slice);
        match (events, told.get(&id).map(|outcome| &outcome.became)) {
            (_, Some(Err(reason))) => verdict.note(differing, || format!("{id:?} was refused: {reason}")),
            ([], _) => verdict.note(lost, || format!("{id:?} was answered and is not in the journal")),
            ([_, _, ..], _) => verdict.note(doubled, || format!("{id:?} became {events:?}")),
            ([_], None) => verdict.note(lost, || format!("what became of {id:?} was never told")),
            ([event], Some(Ok((dossier, sequence)))) if *event != (dossier, *sequence) => {
                verdict.note(differing, || format!("{id:?} is {event:?} and was told to be {sequence} of {dossier}"));
            }
            ([_], Some(Ok(_))) => {}
        }
    }
    for id in recorded.keys().filter(|id| !sent.contains(*id)) {
        verdict.note(differing, || format!("{id:?} was never sent and is in the journal"));
    }
}

/// The events of a dossier are numbered in the order in which they were recorded, without a gap.
fn sequences(journal: &[Recorded], verdict: &mut Verdict) {
    let mut last: HashMap<&str, u32> = HashMap::new();
    for Recorded { dossier, sequence, .. } in journal {
        let last = last.entry(dossier).or_default();
        if *sequence != *last + 1 {
            verdict.note(out_of_order, || format!("event {sequence} of {dossier} was recorded after event {last}"));
        }
        *last = *sequence;
    }
}

/// One party and one dossier.
type Lane<'a> = (&'a str, &'a str);

/// Every event is with every party it was owed to, in order; and comes again only if its bearer could not know that it had.
fn deliveries(books: &Books, journal: &[Recorded], verdict: &mut Verdict) {
    let mut owed: BTreeMap<Lane<'_>, BTreeMap<u32, &Recorded>> = BTreeMap::new();
    for event in journal {
        for party in &event.recipients {
            owed.entry((party, &event.dossier)).or_default().insert(event.sequence, event);
            verdict.owed += 1;
        }
    }
    let mut had: BTreeMap<Lane<'_>, Vec<&Arrival>> = BTreeMap::new();
    for arrival in &books.arrivals {
        had.entry((&arrival.party, &arrival.dossier)).or_default().push(arrival);
    }
    for (lane, arrivals) in &had {
        let mut seen: HashMap<u32, &Arrival> = HashMap::new();
        let mut latest = 0;
        for arrival in arrivals {
            let Arrival { sequence, .. } = arrival;
            if *sequence < latest {
                verdict.note(out_of_order, || format!("{lane:?} was told of event {sequence} after event {latest}"));
            }
            latest = latest.max(*sequence);
            match owed.get(lane).and_then(|owed| owed.get(sequence)) {
                None => verdict.note(differing, || format!("{lane:?} was told of event {sequence}, not owed to it")),
                Some(event) if (&event.key, &event.digest) != (&arrival.key, &arrival.digest) => {
                    verdict.note(differing, || format!("{lane:?} was told another event {sequence} than was recorded"));
                }
                Some(_) => {}
            }
            if let Some(before) = seen.insert(*sequence, arrival)
                && !may_come_again(before, arrival)
            {
                verdict.note(doubled, || format!("{lane:?} had said that it has event {sequence}, and got it again"));
            }
        }
    }
    for (lane, owed) in &owed {
        let arrivals: BTreeSet<u32> = had.get(lane).into_iter().flatten().map(|arrival| arrival.sequence).collect();
        for sequence in owed.keys().filter(|sequence| !arrivals.contains(sequence)) {
            verdict.note(lost, || format!("{lane:?} was never told of event {sequence}"));
        }
    }
}

/// A bearer that did not hear the confirmation must come again, and one that died may have heard it without being able to
/// note it: but only before the next rest, when everything is noted everywhere.
fn may_come_again(before: &Arrival, again: &Arrival) -> bool {
    !before.confirmed || (before.bearer != again.bearer && before.round == again.round)
}

/// One request has one effect at each party that is told of it, whatever the journal says.
fn effects(books: &Books, verdict: &mut Verdict) {
    let mut effects: BTreeMap<(&str, &str), BTreeSet<(&str, u32)>> = BTreeMap::new();
    for Arrival { party, key, dossier, sequence, .. } in &books.arrivals {
        effects.entry((party, key)).or_default().insert((dossier, *sequence));
    }
    for (at, had) in effects.iter().filter(|(_, had)| had.len() > 1) {
        verdict.note(doubled, || format!("{at:?} had more than one effect: {had:?}"));
    }
}
