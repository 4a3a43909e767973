//! One run: a gateway, its agencies and what happens to them, each step drawn from the seed.
//!
//! Everything runs on one thread under a clock that stands still until nobody has anything to do. A step changes one thing,
//! lets everybody go on until they wait, and then everything is checked. The last steps are without faults: what is owed by
//! then has to be delivered.
//!
//! Here is what the world consists of, how a step goes, and the end. `happening` says what may happen, and what clerks do;
//! `machines` and `gateway` what those do and what is done to them.

mod gateway;
mod happening;
mod machines;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lgsp_domain::dossier::Dossier;
use lgsp_gateway::backup::Begun;
use lgsp_gateway::store::{Bodies, ListQuery, ParkedAction, Store};
use lgsp_journal::testing::Disk;
use tokio::time::sleep;

use crate::draw::Draw;
use crate::keys::Keys;
use crate::machine::{Arrived, Machine, Shared, Stream, Way, lock, print_of};
use crate::node::{Door, Running};
use crate::request::{Matter, Request};
use crate::spool::Print;
use crate::watch::{Watch, now};

const CENTRE: &str = "H99.TT";
const AN: &str = "H99.101";
const BINH: &str = "H99.102";
const PORTAL: &str = "H99.CDV";

/// The units of the two communes, and who decides there.
const LOCALITIES: [(&str, &str); 2] = [("99001", AN), ("99002", BINH)];

/// Social aid, and a confirmation without a published limit: both decided by the commune.
const PROCEDURES: [&str; 2] = ["1.000009", "1.000008"];

/// Monday, 14 July 2025, 09:00.
const MORNING: i64 = 1_752_458_400;

/// Dossiers that clerks work on at a time.
const AT_WORK: usize = 5;

/// How long the last part may take, in rounds.
const SETTLE_ROUNDS: usize = 400;

/// Steps between two looks of `fsck`.
const FSCK_EVERY: u64 = 50;

/// An agency's own system: it never fails, and knows a delivery it has seen.
#[derive(Default)]
struct Agency {
    got: BTreeMap<String, Vec<(u32, Print)>>,
}

/// The gateway's disk as it was, and when.
struct Backup {
    disk: Disk,
    clock: i64,
}

pub(crate) struct World {
    draw: Draw,
    door: Door,
    disk: Disk,
    backup: Option<Backup>,
    /// What was begun on backups before; an operator's note.
    before: Begun,
    machines: Vec<Machine>,
    agencies: BTreeMap<String, Agency>,
    /// What each machine posted last of a dossier to a party's system.
    posted: BTreeMap<(&'static str, String, String), u32>,
    /// Streams whose machine is gone without the gateway having noticed.
    half_open: Vec<Stream>,
    pub(crate) watch: Shared<Watch>,
    /// The right business time, and by how much the gateway's clock is off.
    clock: i64,
    off: i64,
    named: u64,
    streams: u64,
    keys: Keys,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let (door, watch) = (Door::default(), Shared::<Watch>::default());
        let machine = |name, system, parties: &[&str]| Machine::new(name, system, parties, door.clone(), watch.clone());
        let machines = vec![
            machine("centre", "mot-cua", &[CENTRE, AN]),
            // Two machines of one agency share its inbox, each with a spool of its own.
            machine("binh-1", "mot-cua-binh", &[BINH]),
            machine("binh-2", "mot-cua-binh", &[BINH]),
            machine("portal", "cong-dich-vu", &[PORTAL]),
        ];
        Self {
            draw: Draw::new(seed),
            disk: Disk::new(),
            backup: None,
            before: Begun::default(),
            machines,
            agencies: BTreeMap::new(),
            posted: BTreeMap::new(),
            half_open: Vec::new(),
            watch,
            door,
            clock: MORNING,
            off: 0,
            named: 0,
            streams: 0,
            keys: Keys::default(),
        }
    }

    /// Lives through `steps`, then lets everything settle; ends early at the first violation.
    pub(crate) async fn run(&mut self, steps: u64) {
        for step in 0..steps {
            let action = self.choose();
            self.note(format!("step {step}: {action:?}"));
            self.act(action).await;
            self.clock += i64::try_from(self.draw.between(0, 90)).unwrap_or(0);
            self.rest().await;
            self.check(step % FSCK_EVERY == 0);
            lock(&self.watch).tally.steps += 1;
            if self.is_over() {
                return;
            }
        }
        self.note("faults stop".to_owned());
        self.settle().await;
    }

    // Between the steps.

    /// Lets everybody go on until they wait for something.
    async fn rest(&mut self) {
        if let Some(running) = self.door.knock() {
            running.engine.clock().advance(crate::request::time(self.clock + self.off));
        }
        sleep(Duration::from_millis(1)).await;
    }

    fn check(&mut self, with_fsck: bool) {
        let Some(running) = self.door.knock() else { return };
        let mut watch = lock(&self.watch);
        watch.check_answers(&running, false);
        if with_fsck {
            watch.check_store(&running);
        }
    }

    fn check_all(&mut self) {
        let Some(running) = self.door.knock() else { return };
        let mut watch = lock(&self.watch);
        watch.check_answers(&running, true);
        watch.check_store(&running);
    }

    fn is_over(&self) -> bool {
        lock(&self.watch).violation.is_some()
    }

    fn note(&self, line: String) {
        lock(&self.watch).note(line);
    }

    // The end.

    /// No more faults: everything that is owed has to arrive.
    async fn settle(&mut self) {
        self.half_open.clear();
        self.door.kill();
        self.disk = self.disk.killed();
        self.off = 0;
        if let Err(why) = self.door.start(&self.disk, self.clock).await {
            return lock(&self.watch).violated("SIM-9", why);
        }
        let mut round = 0;
        for _ in 0..SETTLE_ROUNDS {
            self.settle_round().await;
            self.check(false);
            if self.is_over() {
                return;
            }
            if round >= 3 && self.has_settled() {
                let parked = self.door.knock().map_or(0, |running| running.store.figures().parked);
                if parked == 0 {
                    self.check_all();
                    lock(&self.watch).check_nothing_is_missing();
                    if let Some(running) = self.door.knock() {
                        self.keys.check(&running, &mut lock(&self.watch));
                    }
                    return self.compare();
                }
                // Nothing else is held up by what is parked.
                let action = *self.draw.pick(&[ParkedAction::Retry, ParkedAction::Retry, ParkedAction::Skip]);
                self.decide(action);
                round = 0;
            }
            round += 1;
        }
        let figures = self.door.knock().map(|running| running.store.figures());
        let pending: Vec<&Request> = self.machines.iter().flat_map(|machine| machine.spool.pending.values()).collect();
        let to_settle: Vec<usize> = self.machines.iter().map(|machine| machine.spool.to_settle().len()).collect();
        let what = format!("nothing more happens: {figures:?}, pending {pending:?}, unconfirmed {to_settle:?}");
        lock(&self.watch).violated("SIM-10", what);
    }

    async fn settle_round(&mut self) {
        let at_once = Way { there: Some(Duration::ZERO), back: Some(Duration::ZERO) };
        for machine in 0..self.machines.len() {
            self.machines[machine].cut_line(None);
            self.open_stream(machine);
            for number in self.machines[machine].due(Duration::from_secs(1)) {
                self.machines[machine].send(number, &[at_once]);
            }
            while !lock(&self.machines[machine].line.arrived).is_empty() {
                self.receive(machine, false);
            }
            for name in self.machines[machine].spool.next_to_hand_over() {
                self.hand_over(machine, name, false);
            }
            self.say_again(machine);
        }
        self.rest().await;
        while self.door.knock().is_some_and(|running| running.store.write_batch()) {
            self.rest().await;
        }
        // Long enough for leases and pauses to end before the rounds do.
        sleep(Duration::from_secs(1)).await;
    }

    fn has_settled(&self) -> bool {
        let watch = lock(&self.watch);
        // What builds on an event that is lost waits for ever.
        let has_to_wait = |request: &Request| match &request.matter {
            Matter::Submit { .. } => false,
            Matter::Record { code, .. } => watch.is_excused(code, u32::MAX),
        };
        let is_quiet = |machine: &Machine| {
            machine.spool.pending.values().all(has_to_wait)
                && machine.spool.returning.is_empty()
                && machine.spool.next_to_hand_over().is_empty()
                && machine.spool.to_settle().is_empty()
                && lock(&machine.line.arrived).iter().all(|arrived| matches!(arrived, Arrived::Refused(..)))
        };
        let figures = self.door.knock().map(|running| running.store.figures()).unwrap_or_default();
        self.machines.iter().all(is_quiet) && figures.waiting + figures.taken_over == 0
    }

    /// Both sides hold the same: every party whose business it is has every event, in order, and nothing else.
    fn compare(&mut self) {
        let Some(running) = self.door.knock() else { return };
        let mut expected: BTreeMap<String, BTreeMap<String, Vec<(u32, Print)>>> = BTreeMap::new();
        for dossier in every_dossier(&running) {
            let code = dossier.code.to_string();
            let places = &dossier.opening.places;
            let mut told = vec![places.intake_desk.as_str(), places.competent_authority.as_str()];
            told.extend([places.return_desk.as_str(), PORTAL]);
            told.sort_unstable();
            told.dedup();
            for event in
                now(running.store.events(&dossier.code, 0, usize::MAX, Bodies::Without)).expect("events are read")
            {
                for party in told.iter().filter(|party| **party != event.event.party) {
                    let of_party = expected.entry((*party).to_owned()).or_default();
                    of_party.entry(code.clone()).or_default().push((event.event.sequence, print_of(&event.event)));
                }
            }
        }
        let mut watch = lock(&self.watch);
        for (party, dossiers) in &expected {
            for (code, events) in dossiers {
                let got = self.agencies.get(party).and_then(|agency| agency.got.get(code));
                let held = got.cloned().unwrap_or_default();
                let may_lack = |sequence| watch.may_be_skipped(&(party.clone(), code.clone(), sequence));
                let lacks = events.iter().any(|event| !held.contains(event) && !may_lack(event.0));
                let has_others = held.iter().any(|event| !events.contains(event) && !watch.is_excused(code, event.0));
                if lacks || has_others {
                    watch.violated("SIM-10", format!("{party} holds {held:?} of {code}, the gateway {events:?}"));
                }
            }
        }
        for (party, agency) in &self.agencies {
            for (code, held) in &agency.got {
                let is_expected = expected.get(party).is_some_and(|dossiers| dossiers.contains_key(code));
                if !is_expected && !held.iter().all(|(sequence, _)| watch.is_excused(code, *sequence)) {
                    watch.violated("SIM-7", format!("{party} holds {code}, which is none of its business"));
                }
            }
        }
    }
}

/// Whether a machine has this receipt.
fn has_receipt(machines: &[Machine], name: &(String, String), signed: &[u8]) -> bool {
    machines.iter().any(|machine| machine.spool.has_receipt(name, signed))
}

/// All dossiers there are, whether or not anybody was answered for them.
fn every_dossier(running: &Running) -> Vec<Arc<Dossier>> {
    let mut query = ListQuery {
        party: None,
        statuses: Vec::new(),
        procedure: None,
        competent_authority: None,
        intake_desk: None,
        received_from: None,
        received_to: None,
        only_non_territorial: false,
        only_late_at: None,
        limit: 200,
        cursor: None,
    };
    let mut dossiers = Vec::new();
    loop {
        let page = now(running.store.list(&query)).expect("dossiers are listed");
        dossiers.extend(page.dossiers);
        if page.next.is_none() {
            return dossiers;
        }
        query.cursor = page.next;
    }
}
