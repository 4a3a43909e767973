//! What may happen in a step and how often, and what clerks do.
//!
//! Where to add more: an [`Action`] with its weight in [`World::choose`], its effect in [`World::act`], and what it must
//! never break in `watch`.

use std::time::Duration;

use lgsp_gateway::engine::numbers::Wanted;
use lgsp_gateway::store::{ParkedAction, Store};
use lgsp_journal::testing::Fault;
use lgsp_proto::types::{DossierCode, Status};
use tokio::time::{Instant, sleep};

use super::{AN, AT_WORK, BINH, Backup, CENTRE, LOCALITIES, PORTAL, PROCEDURES, World};
use crate::keys::Deed;
use crate::machine::{Machine, lock};
use crate::request::{Act, Matter, Request, time};
use crate::watch::now;

/// What may happen in a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
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
    /// Something is done about tokens, certificates or keys.
    Certify(Deed),
    BackUp,
    /// The gateway's disk is lost, and the backup takes its place.
    Restore,
}

impl World {
    pub(super) fn choose(&mut self) -> Action {
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
            (Certify(Deed::IssueToken), 5),
            (Certify(Deed::WithdrawToken), 2),
            (Certify(Deed::Join), 10),
            (Certify(Deed::Renew), 4),
            (Certify(Deed::Revoke), 2),
            (BackUp, 2),
            (Restore, 2),
        ])
    }

    pub(super) async fn act(&mut self, action: Action) {
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
            Action::Certify(deed) => self.keys.begin(deed, &mut self.draw, self.door.knock(), &self.watch).await,
            Action::BackUp => {
                self.note("the gateway's disk is copied".to_owned());
                self.backup = Some(Backup { disk: self.disk.killed(), clock: self.clock });
            }
            Action::Restore => self.restore().await,
        }
    }

    // What clerks do.

    pub(super) fn submit(&mut self) {
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

    pub(super) fn lease(&mut self) {
        let machine = self.draw.below(self.machines.len());
        let desk = self.draw.pick(&self.machines[machine].parties).clone();
        let (_, authority) = *self.draw.pick(&LOCALITIES);
        let day = time(self.clock + i64::from(*self.draw.pick(&[0_i32, 0, 0, 1, 2])) * 86_400).date();
        let more = u32::try_from(self.draw.between(1, 4)).unwrap();
        let way = self.way();
        self.machines[machine].lease(&desk, Wanted { authority: authority.parse().unwrap(), day, more }, way);
    }

    /// What a clerk at the right place would record next, seldom something else.
    pub(super) fn record(&mut self) {
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
    pub(super) fn is_spoken_of(&self, code: &str) -> bool {
        let about = |request: &Request| matches!(&request.matter, Matter::Record { code: named, .. } if named == code);
        self.machines.iter().any(|machine| machine.spool.pending.values().any(about))
    }

    pub(super) fn reuse_key(&mut self) {
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

    pub(super) fn request(&mut self, party: &str, matter: Matter) {
        let request = self.name_request(party, matter);
        self.spool(request);
    }

    pub(super) fn name_request(&mut self, party: &str, matter: Matter) -> Request {
        self.named += 1;
        Request { party: party.to_owned(), key: format!("key-{}", self.named), matter }
    }

    pub(super) fn spool(&mut self, request: Request) {
        let machine = self.machine_of(&request.party);
        self.machines[machine].spool.request(request);
    }

    /// One of the machines of a party.
    pub(super) fn machine_of(&mut self, party: &str) -> usize {
        let of_party = |machine: &Machine| machine.parties.iter().any(|other| other == party);
        let machines: Vec<usize> = (0..self.machines.len()).filter(|at| of_party(&self.machines[*at])).collect();
        *self.draw.pick(&machines)
    }
}
