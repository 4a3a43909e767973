//! What machines do: send, receive, hand over, and die.

use std::time::Duration;

use lgsp_gateway::store::Stage;
use lgsp_journal::testing::Disk;
use lgsp_proto::v1::DeclineKind;

use super::{World, has_receipt};
use crate::machine::{Arrived, Stream, Way, lock};
use crate::spool::{Held, Name, Print};

impl World {
    pub(super) fn send(&mut self, machine: usize) {
        let patience = Duration::from_secs(self.draw.between(0, 30));
        for number in self.machines[machine].due(patience) {
            let copies = if self.draw.percent(15) { 2 } else { 1 };
            let ways: Vec<Way> = (0..copies).map(|_| self.way()).collect();
            self.machines[machine].send(number, &ways);
        }
    }

    pub(super) fn way(&mut self) -> Way {
        let mut leg = || {
            let lost = self.draw.percent(10);
            let millis =
                if self.draw.percent(10) { self.draw.between(1_000, 90_000) } else { self.draw.between(0, 400) };
            (!lost).then(|| Duration::from_millis(millis))
        };
        Way { there: leg(), back: leg() }
    }

    pub(super) fn open_stream(&mut self, machine: usize) {
        self.machines[machine].streams.retain(|stream| !stream.has_ended());
        if self.machines[machine].streams.len() < 2 {
            self.streams += 1;
            let number = self.streams;
            let opened = self.machines[machine].open_stream(number);
            self.note(format!("stream {number} of {}: {opened}", self.machines[machine].name));
        }
    }

    /// Ends a stream at the machine; the gateway may notice only later.
    pub(super) fn let_go(&mut self, stream: Stream) {
        if self.draw.percent(50) {
            self.half_open.push(stream);
        }
        if self.half_open.len() > 3 {
            self.half_open.remove(0);
        }
    }

    pub(super) fn receive(&mut self, machine: usize, with_faults: bool) {
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

    pub(super) fn take(&mut self, machine: usize, stream: u64, (name, print): (Name, Print), with_faults: bool) {
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

    pub(super) fn say_again(&mut self, machine: usize) {
        let machine = &self.machines[machine];
        for name in machine.spool.to_settle() {
            machine.acknowledge(None, Stage::HandedOver, name);
        }
        for (name, kind) in machine.spool.returning.values() {
            machine.give_back(name.clone(), *kind);
        }
    }

    pub(super) fn hand_over(&mut self, machine: usize, name: Name, with_faults: bool) {
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

    pub(super) fn replace_spool(&mut self, machine: usize) {
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
    pub(super) fn crash_machine_since(&mut self, machine: usize, before: usize) {
        let disk = self.machines[machine].spool.disk();
        let at = self.draw.between(before as u64, disk.operations() as u64);
        let disk = disk.killed_after(usize::try_from(at).expect("an operation's number"));
        self.crash_machine(machine, disk);
    }

    pub(super) fn crash_machine(&mut self, machine: usize, disk: Disk) {
        let disk = if self.draw.percent(50) { disk.power_cut(|options| self.draw.below(options)) } else { disk };
        for stream in std::mem::take(&mut self.machines[machine].streams) {
            self.let_go(stream);
        }
        self.note(format!("{} dies", self.machines[machine].name));
        self.machines[machine].restart(disk);
    }
}
