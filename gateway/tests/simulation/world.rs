//! One run: a gateway, its agencies and what happens to them, each step drawn from the seed.
//!
//! Everything runs on one thread under a clock that stands still until nobody has anything to do. A step changes one thing,
//! lets everybody go on until they wait, and then everything is checked. The last steps are without faults: what is owed by
//! then has to be delivered.
//!
//! Where to add more: an [`Action`] with its weight in [`World::choose`], its effect in [`World::act`], and what it must
//! never break in `watch`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lgsp_domain::decide::TimeBounds;
use lgsp_domain::dossier::Dossier;
use lgsp_gateway::backup::{Beginning, Begun, days_at_risk};
use lgsp_gateway::engine::numbers::Wanted;
use lgsp_gateway::engine::parked::Decision;
use lgsp_gateway::store::sled::SteppedStore;
use lgsp_gateway::store::{Bodies, Installation, ListQuery, Parked, ParkedAction, Stage, Store};
use lgsp_journal::testing::{Disk, Fault};
use lgsp_proto::types::{DossierCode, Status};
use lgsp_proto::v1::DeclineKind;
use tokio::time::{Instant, sleep};

use crate::draw::Draw;
use crate::machine::{Arrived, Machine, OPERATOR, Shared, Stream, Way, decide, lock, print_of, release};
use crate::node::{Door, Running};
use crate::request::{Act, Matter, Request, time};
use crate::spool::{Held, Name, Print};
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

/// What may happen in a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    /// A clerk hands in a dossier.
    Submit,
    /// A clerk records what comes next in a dossier, or what may not.
    Record,
    /// A system that mixes up its keys uses one again, for something else.
    ReuseKey,
    /// A machine sends what it has not been answered, perhaps twice.
    Send,
    /// The gateway writes what waits, perhaps for the last time.
    Write,
    OpenStream,
    CloseStream,
    /// A machine looks at what has arrived.
    Receive,
    /// A machine hands a delivery to its agency's system.
    HandOver,
    /// A machine repeats that it has handed something over.
    SayAgain,
    TimePasses,
    CutLine,
    MendLine,
    Kill,
    PowerCut,
    Start,
    FailDisk,
    JumpClock,
    CrashMachine,
    /// A machine's disk is lost; the same installation goes on with an empty one.
    ReplaceSpool,
    /// A machine leases numbers for one of its desks.
    Lease,
    /// Somebody decides about a parked dossier.
    Decide,
    /// An operator takes from a machine what it holds.
    Release,
    BackUp,
    /// The gateway's disk is lost, and the backup takes its place.
    Restore,
}

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

    fn choose(&mut self) -> Action {
        use Action::*;
        let is_up = self.door.knock().is_some();
        self.draw.weighted(&[
            (Submit, 22),
            (Record, 48),
            (ReuseKey, 2),
            (Send, 70),
            (Write, 84),
            (OpenStream, 30),
            (CloseStream, 2),
            (Receive, 110),
            (HandOver, 60),
            (SayAgain, 8),
            (TimePasses, 16),
            (CutLine, 5),
            (MendLine, 8),
            (Kill, 2),
            (PowerCut, 2),
            (Start, if is_up { 0 } else { 120 }),
            (FailDisk, 2),
            (JumpClock, 2),
            (CrashMachine, 3),
            (ReplaceSpool, 1),
            (Lease, 26),
            (Decide, 24),
            (Release, 2),
            (BackUp, 2),
            (Restore, 2),
        ])
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Submit => self.submit(),
            Action::Record => self.record(),
            Action::ReuseKey => self.reuse_key(),
            Action::Send => {
                let machine = self.draw.below(self.machines.len());
                self.send(machine);
            }
            Action::Write => self.write(),
            Action::OpenStream => {
                let machine = self.draw.below(self.machines.len());
                self.open_stream(machine);
            }
            Action::CloseStream => {
                let machine = self.draw.below(self.machines.len());
                if let Some(stream) = self.machines[machine].streams.pop() {
                    self.let_go(stream);
                }
            }
            Action::Receive => {
                let machine = self.draw.below(self.machines.len());
                for _ in 0..self.draw.between(1, 4) {
                    self.receive(machine, true);
                }
            }
            Action::HandOver => {
                let machine = self.draw.below(self.machines.len());
                let ready = self.machines[machine].spool.next_to_hand_over();
                if !ready.is_empty() {
                    let name = self.draw.pick(&ready).clone();
                    self.hand_over(machine, name, true);
                }
            }
            Action::SayAgain => {
                let machine = self.draw.below(self.machines.len());
                self.say_again(machine);
            }
            Action::TimePasses => sleep(Duration::from_millis(self.draw.between(100, 90_000))).await,
            Action::CutLine => {
                let machine = self.draw.below(self.machines.len());
                let until = Instant::now() + Duration::from_secs(self.draw.between(5, 4 * 3_600));
                self.machines[machine].cut_line(Some(until));
                lock(&self.watch).tally.lines_cut += 1;
                for stream in std::mem::take(&mut self.machines[machine].streams) {
                    self.let_go(stream);
                }
            }
            Action::MendLine => {
                let machine = self.draw.below(self.machines.len());
                self.machines[machine].cut_line(None);
            }
            Action::Kill => {
                if self.door.knock().is_some() {
                    self.disk = self.disk.killed();
                    self.kill(false);
                }
            }
            Action::PowerCut => {
                if self.door.knock().is_some() {
                    self.kill(true);
                }
            }
            Action::Start => self.start().await,
            Action::FailDisk => {
                if self.door.knock().is_none() {
                    return;
                }
                let fault = *self.draw.pick(&[Fault::Error, Fault::Full]);
                self.disk.fail_after(self.draw.below(5), fault);
                lock(&self.watch).tally.disk_failures += 1;
            }
            Action::JumpClock => {
                let hours = *self.draw.pick(&[1, 1, 1, 5, 5, 24, 24, 16 * 24]);
                self.clock += hours * 3_600;
            }
            Action::CrashMachine => {
                let machine = self.draw.below(self.machines.len());
                let disk = self.machines[machine].spool.disk().killed();
                self.crash_machine(machine, disk);
            }
            Action::ReplaceSpool => {
                let machine = self.draw.below(self.machines.len());
                self.replace_spool(machine);
            }
            Action::Lease => self.lease(),
            Action::Decide => {
                let action = *self.draw.pick(&[ParkedAction::Retry, ParkedAction::Skip]);
                self.decide(action);
            }
            Action::Release => self.release(),
            Action::BackUp => {
                self.note("the gateway's disk is copied".to_owned());
                self.backup = Some(Backup { disk: self.disk.killed(), clock: self.clock });
            }
            Action::Restore => self.restore().await,
        }
    }

    // What clerks do.

    fn submit(&mut self) {
        let desk = *self.draw.pick(&[CENTRE, AN, BINH, PORTAL]);
        // Within bounds mostly, and beyond them now and then.
        let ago = *self.draw.pick(&[0, 0, 60, 3_600, 2 * 86_400, 16 * 86_400, -240, -1_000]);
        let alias = self.draw.percent(20).then(|| format!("G22-{}", self.draw.below(12)));
        let (locality, authority) = *self.draw.pick(&LOCALITIES);
        let received_at = self.clock - ago;
        let machine = self.machine_of(desk);
        // Without a line, and now and then with one, the desk gives the code itself, if it has one left.
        let by_itself = self.machines[machine].line.is_cut() || self.draw.percent(50);
        let like = DossierCode::issue(&authority.parse().unwrap(), time(received_at).date(), 1).unwrap();
        let code = self.machines[machine].spool.free_code(desk, &like).filter(|_| by_itself);
        let matter = Matter::Submit {
            procedure: (*self.draw.pick(&PROCEDURES)).to_owned(),
            locality: locality.to_owned(),
            return_desk: (*self.draw.pick(&[CENTRE, AN, BINH])).to_owned(),
            received_at,
            alias,
            code: code.clone(),
        };
        let request = self.name_request(desk, matter);
        let name = request.name();
        let before = self.machines[machine].spool.disk().operations();
        self.machines[machine].spool.request(request);
        let Some(code) = code else { return };
        if self.draw.percent(10) {
            // It dies before the citizen was told.
            return self.crash_machine_since(machine, before);
        }
        self.note(format!("{desk} gives out {code}"));
        let mut watch = lock(&self.watch);
        watch.tally.given_offline += 1;
        watch.gave(&code, &name);
    }

    fn lease(&mut self) {
        let machine = self.draw.below(self.machines.len());
        let desk = self.draw.pick(&self.machines[machine].parties).clone();
        let (_, authority) = *self.draw.pick(&LOCALITIES);
        let day = time(self.clock + i64::from(*self.draw.pick(&[0_i32, 0, 0, 1, 2])) * 86_400).date();
        let more = u32::try_from(self.draw.between(1, 4)).unwrap();
        let way = self.way();
        self.machines[machine].lease(&desk, Wanted { authority: authority.parse().unwrap(), day, more }, way);
    }

    /// What a clerk at the right place would record next, seldom something else.
    fn record(&mut self) {
        let codes = lock(&self.watch).codes();
        let Some(running) = self.door.knock().filter(|_| !codes.is_empty()) else { return };
        // A few at a time, so that dossiers grow old.
        let code = self.draw.pick(&codes[codes.len().saturating_sub(AT_WORK)..]).clone();
        if self.is_spoken_of(&code) && self.draw.percent(80) {
            return;
        }
        // Clerks see that something is missing, mostly.
        if lock(&self.watch).is_outstanding(&code) && self.draw.percent(95) {
            return;
        }
        let Ok(Some(dossier)) = now(running.store.dossier(&code.parse().unwrap())) else { return };
        let places = &dossier.opening.places;
        let (authority, desk) = (places.competent_authority.to_string(), places.intake_desk.to_string());
        let return_desk = places.return_desk.to_string();
        let next: &[(&str, Act, u64)] = match dossier.status {
            Status::Registered => &[
                ("a", Act::Accept, 8),
                ("a", Act::RequestSupplement, 2),
                ("a", Act::Refuse, 1),
                ("d", Act::Withdraw, 1),
            ],
            Status::Accepted => &[
                ("a", Act::StartProcessing, 6),
                ("a", Act::RequestSupplement, 2),
                ("a", Act::Progress, 1),
                ("a", Act::Resolve, 2),
                ("a", Act::Stop, 1),
            ],
            Status::Processing => &[("a", Act::Resolve, 4), ("a", Act::Progress, 4), ("a", Act::RequestSupplement, 1)],
            Status::SupplementRequested => {
                &[("d", Act::ProvideSupplement, 6), ("a", Act::ExpireSupplement, 1), ("d", Act::Withdraw, 1)]
            }
            Status::Resolved => &[("r", Act::ReturnResult, 3), ("a", Act::RecallResult, 1)],
            // An end, or what third parties have to do; somebody tries all the same.
            _ => &[("a", Act::Progress, 1), ("d", Act::Withdraw, 1)],
        };
        let choices: Vec<((&str, Act), u64)> = next.iter().map(|(who, act, weight)| ((*who, *act), *weight)).collect();
        let (who, act) = self.draw.weighted(&choices);
        let party = match who {
            "a" => authority,
            "d" => desk,
            _ => return_desk,
        };
        let occurred_at = self.clock + self.off - *self.draw.pick(&[0, 0, 0, 30, 600]);
        let expected = self.draw.percent(30).then_some(dossier.sequence);
        self.request(&party, Matter::Record { code, act, occurred_at, expected });
    }

    /// Whether a machine has something to say about the dossier already.
    fn is_spoken_of(&self, code: &str) -> bool {
        let about = |request: &Request| matches!(&request.matter, Matter::Record { code: named, .. } if named == code);
        self.machines.iter().any(|machine| machine.spool.pending.values().any(about))
    }

    fn reuse_key(&mut self) {
        let used: Vec<(String, String)> = lock(&self.watch).answered_keys().cloned().collect();
        if used.is_empty() {
            return;
        }
        let (party, key) = self.draw.pick(&used).clone();
        let matter = Matter::Submit {
            procedure: PROCEDURES[0].to_owned(),
            locality: LOCALITIES[0].0.to_owned(),
            return_desk: AN.to_owned(),
            received_at: self.clock - 1,
            alias: None,
            code: None,
        };
        self.spool(Request { party, key, matter });
    }

    fn request(&mut self, party: &str, matter: Matter) {
        let request = self.name_request(party, matter);
        self.spool(request);
    }

    fn name_request(&mut self, party: &str, matter: Matter) -> Request {
        self.named += 1;
        Request { party: party.to_owned(), key: format!("key-{}", self.named), matter }
    }

    fn spool(&mut self, request: Request) {
        let machine = self.machine_of(&request.party);
        self.machines[machine].spool.request(request);
    }

    /// One of the machines of a party.
    fn machine_of(&mut self, party: &str) -> usize {
        let of_party = |machine: &Machine| machine.parties.iter().any(|other| other == party);
        let machines: Vec<usize> = (0..self.machines.len()).filter(|at| of_party(&self.machines[*at])).collect();
        *self.draw.pick(&machines)
    }

    // What operators do.

    fn decide(&mut self, action: ParkedAction) {
        let Some(running) = self.door.knock() else { return };
        let Ok(parked) = now(running.store.parked(None, None, 20)) else { return };
        if parked.is_empty() {
            return;
        }
        let Parked { party, code, sequence, .. } = self.draw.pick(&parked).parked.clone();
        let machine = self.machine_of(party.as_str());
        let (system, asking) = if self.draw.percent(50) {
            ("van-hanh", OPERATOR.to_owned())
        } else {
            (self.machines[machine].system, party.to_string())
        };
        let (actor, why) = ("can-bo-03".parse().unwrap(), "tried".to_owned());
        let decision = Decision { actor, party, code, sequence, action, why };
        tokio::spawn(decide(running, Arc::clone(&self.watch), system, asking, decision));
    }

    fn release(&mut self) {
        let Some(running) = self.door.knock() else { return };
        let machine = &self.machines[self.draw.below(self.machines.len())];
        let installation = Installation { system: machine.system.to_owned(), instance: machine.name.to_owned() };
        let party = self.draw.pick(&machine.parties).clone();
        tokio::spawn(release(running, Arc::clone(&self.watch), party, installation));
    }

    async fn restore(&mut self) {
        let Some(Backup { disk, clock: taken }) = &self.backup else { return };
        let (disk, taken) = (disk.killed(), *taken);
        self.note("the gateway's disk is lost, and its backup restored".to_owned());
        self.door.kill();
        self.disk = disk;
        self.half_open.clear();
        self.machines.iter_mut().for_each(Machine::lose_connections);
        self.posted.clear();
        let (today, before) = (time(self.clock).date(), self.before.clone());
        let beginning = |store: &SteppedStore| {
            let days = days_at_risk(time(taken).date(), today, &TimeBounds::default());
            Beginning {
                number: None,
                backup: [1; 16],
                taken_at: SystemTime::UNIX_EPOCH,
                actor: "van-hanh-1".parse().unwrap(),
                now: SystemTime::UNIX_EPOCH,
                known: store.highest_number(&days).expect("restored books can be read"),
                days,
                numbers_from: None,
                before,
                parties: [CENTRE, AN, BINH, PORTAL].map(|party| party.parse().unwrap()).into(),
            }
        };
        match self.door.restore(&self.disk, beginning).await {
            Err(why) => lock(&self.watch).violated("SIM-9", format!("not restored: {why}")),
            Ok((started, store)) => {
                self.note(format!("epoch {}, numbers from {}", started.number, started.lost.from));
                self.before.note(&started);
                lock(&self.watch).restored(&store, |name, signed| has_receipt(&self.machines, name, signed));
                store.kill();
            }
        }
        self.disk = self.disk.killed();
    }

    // What machines do.

    fn send(&mut self, machine: usize) {
        let patience = Duration::from_secs(self.draw.between(0, 30));
        for number in self.machines[machine].due(patience) {
            let copies = if self.draw.percent(15) { 2 } else { 1 };
            let ways: Vec<Way> = (0..copies).map(|_| self.way()).collect();
            self.machines[machine].send(number, &ways);
        }
    }

    fn way(&mut self) -> Way {
        let mut leg = || {
            let lost = self.draw.percent(10);
            let millis =
                if self.draw.percent(10) { self.draw.between(1_000, 90_000) } else { self.draw.between(0, 400) };
            (!lost).then(|| Duration::from_millis(millis))
        };
        Way { there: leg(), back: leg() }
    }

    fn open_stream(&mut self, machine: usize) {
        self.machines[machine].streams.retain(|stream| !stream.has_ended());
        if self.machines[machine].streams.len() < 2 {
            self.streams += 1;
            let number = self.streams;
            let opened = self.machines[machine].open_stream(number);
            self.note(format!("stream {number} of {}: {opened}", self.machines[machine].name));
        }
    }

    /// Ends a stream at the machine; the gateway may notice only later.
    fn let_go(&mut self, stream: Stream) {
        if self.draw.percent(50) {
            self.half_open.push(stream);
        }
        if self.half_open.len() > 3 {
            self.half_open.remove(0);
        }
    }

    fn receive(&mut self, machine: usize, with_faults: bool) {
        let arrived = lock(&self.machines[machine].line.arrived).pop_front();
        let there = &mut self.machines[machine];
        match arrived {
            None => {}
            // Two copies of a request may both have been answered.
            Some(Arrived::Admitted(number, _)) if !there.spool.pending.contains_key(&number) => {}
            Some(Arrived::Admitted(number, receipt)) => there.spool.answered(number, Some(receipt)),
            Some(Arrived::Refused(number, reason, epoch)) => {
                let request = there.spool.pending.get(&number).cloned();
                if request.is_some_and(|request| there.is_final(&request, reason, epoch)) {
                    there.spool.answered(number, None);
                }
            }
            Some(Arrived::Leased(leased)) => leased.into_iter().for_each(|leased| there.spool.lease(leased)),
            Some(Arrived::Epoch(stream, epoch)) => {
                there.spool.epoch_seen(epoch);
                let stream = there.streams.iter_mut().find(|known| known.number == stream);
                stream.into_iter().for_each(|stream| stream.has_told = true);
            }
            Some(Arrived::Settled(name)) => there.spool.settle(name),
            Some(Arrived::Returned(name)) => there.spool.returned(name),
            Some(Arrived::Delivery(stream, name, print)) => self.take(machine, stream, (name, print), with_faults),
        }
    }

    fn take(&mut self, machine: usize, stream: u64, (name, print): (Name, Print), with_faults: bool) {
        let spool = &mut self.machines[machine].spool;
        if let Some((returning, kind)) = spool.returning.get(&(name.0.clone(), name.1.clone())) {
            let kind = if *returning == name { *kind } else { DeclineKind::Busy };
            return self.machines[machine].decline(stream, name, kind);
        }
        // After a restore another event may stand under the name.
        let held = spool.held.get(&name).filter(|(_, known)| *known == print).map(|(held, _)| *held);
        match held {
            None if with_faults && self.draw.percent(10) => {
                let kinds = [DeclineKind::Busy, DeclineKind::Transient, DeclineKind::Permanent];
                let kind = *self.draw.pick(&kinds);
                self.machines[machine].decline(stream, name, kind);
            }
            None => {
                let before = spool.disk().operations();
                spool.take_over(name.clone(), print);
                if with_faults && self.draw.percent(3) {
                    return self.crash_machine_since(machine, before);
                }
                self.machines[machine].acknowledge(Some(stream), Stage::TakenOver, name);
            }
            Some(Held::TakenOver) => drop(self.machines[machine].acknowledge(Some(stream), Stage::TakenOver, name)),
            Some(Held::HandedOver | Held::Settled) => {
                self.machines[machine].acknowledge(Some(stream), Stage::HandedOver, name);
            }
        }
    }

    fn say_again(&mut self, machine: usize) {
        let machine = &self.machines[machine];
        for name in machine.spool.to_settle() {
            machine.acknowledge(None, Stage::HandedOver, name);
        }
        for (name, kind) in machine.spool.returning.values() {
            machine.give_back(name.clone(), *kind);
        }
    }

    fn hand_over(&mut self, machine: usize, name: Name, with_faults: bool) {
        let (party, code, sequence) = name.clone();
        let who = self.machines[machine].name;
        if with_faults && self.draw.percent(8) {
            let kind = *self.draw.pick(&[DeclineKind::Transient, DeclineKind::Permanent]);
            self.note(format!("{party} refuses {code}/{sequence} of {who}: {kind:?}"));
            lock(&self.watch).tally.given_back += 1;
            self.machines[machine].spool.refuse(name.clone(), kind);
            return self.machines[machine].give_back(name, kind);
        }
        self.note(format!("{who} posts {code}/{sequence} to {party}"));
        let print = self.machines[machine].spool.held[&name].1.clone();
        let may_be_late = {
            let watch = lock(&self.watch);
            watch.is_excused(&code, sequence) || watch.may_be_skipped(&name)
        };
        let last = self.posted.insert((who, party.clone(), code.clone()), sequence);
        if let Some(last) = last.filter(|last| *last > sequence && !may_be_late) {
            lock(&self.watch).violated("SIM-4", format!("{who} posted {code}/{sequence} to {party} after {last}"));
        }
        // What two machines hold may be posted twice, also late; but the agency first hears of an event in its turn.
        let got = self.agencies.entry(party.clone()).or_default().got.entry(code.clone()).or_default();
        if !got.contains(&(sequence, print.clone())) {
            if let Some((last, _)) = got.last().filter(|(last, _)| *last > sequence && !may_be_late) {
                lock(&self.watch).violated("SIM-4", format!("{party} first hears of {code}/{sequence} after {last}"));
            }
            got.push((sequence, print));
        }
        let before = self.machines[machine].spool.disk().operations();
        self.machines[machine].spool.hand_over(name.clone());
        if with_faults && self.draw.percent(3) {
            return self.crash_machine_since(machine, before);
        }
        self.machines[machine].acknowledge(None, Stage::HandedOver, name);
    }

    fn replace_spool(&mut self, machine: usize) {
        for stream in std::mem::take(&mut self.machines[machine].streams) {
            self.let_go(stream);
        }
        let who = self.machines[machine].name;
        self.note(format!("the disk of {who} is lost"));
        self.machines[machine].replace_spool();
        self.posted.retain(|(machine, _, _), _| *machine != who);
        lock(&self.watch).lost(|name, signed| has_receipt(&self.machines, name, signed));
    }

    /// A machine dies after any of the writes since `before`, of which nobody has heard yet.
    fn crash_machine_since(&mut self, machine: usize, before: usize) {
        let disk = self.machines[machine].spool.disk();
        let at = self.draw.between(before as u64, disk.operations() as u64);
        let disk = disk.killed_after(usize::try_from(at).expect("an operation's number"));
        self.crash_machine(machine, disk);
    }

    fn crash_machine(&mut self, machine: usize, disk: Disk) {
        let disk = if self.draw.percent(50) { disk.power_cut(|options| self.draw.below(options)) } else { disk };
        for stream in std::mem::take(&mut self.machines[machine].streams) {
            self.let_go(stream);
        }
        self.note(format!("{} dies", self.machines[machine].name));
        self.machines[machine].restart(disk);
    }

    // What the gateway does, and what is done to it.

    fn write(&mut self) {
        let Some(Running { store, .. }) = self.door.knock() else { return };
        let before = self.disk.operations();
        store.write_batch();
        if self.draw.percent(4) {
            // Nobody has heard of it yet, so it may just as well have died anywhere on the way.
            let at = self.draw.between(before as u64, self.disk.operations() as u64);
            self.disk = self.disk.killed_after(usize::try_from(at).expect("an operation's number"));
            let power = self.draw.percent(50);
            self.kill(power);
        } else if store.figures().read_only && self.draw.percent(30) {
            self.disk = self.disk.killed();
            self.kill(false);
        }
    }

    fn kill(&mut self, power: bool) {
        if power {
            self.disk = self.disk.power_cut(|options| self.draw.below(options));
        }
        self.note(format!("the gateway dies{}", if power { " in the dark" } else { "" }));
        self.door.kill();
        let mut watch = lock(&self.watch);
        if power {
            watch.tally.power_cuts += 1;
        } else {
            watch.tally.kills += 1;
        }
    }

    async fn start(&mut self) {
        self.off = *self.draw.pick(&[0, 0, 0, -7_200, 180]);
        if let Err(why) = self.door.start(&self.disk, self.clock + self.off).await {
            return lock(&self.watch).violated("SIM-9", why);
        }
        if self.draw.percent(10) {
            // Dies again while it was starting.
            let at = self.draw.below(self.disk.operations() + 1);
            self.disk = self.disk.killed_after(at);
            let power = self.draw.percent(50);
            return self.kill(power);
        }
        self.check_all();
        if let Some(running) = self.door.knock() {
            lock(&self.watch).check_parked(&running);
        }
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
