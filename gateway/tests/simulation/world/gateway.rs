//! What operators and the gateway do, and what is done to it.

use std::sync::Arc;
use std::time::SystemTime;

use lgsp_domain::decide::TimeBounds;
use lgsp_gateway::backup::{Beginning, days_at_risk};
use lgsp_gateway::engine::parked::Decision;
use lgsp_gateway::store::sled::SteppedStore;
use lgsp_gateway::store::{Installation, Parked, ParkedAction, Store};

use super::{AN, BINH, Backup, CENTRE, PORTAL, World, has_receipt};
use crate::machine::{Machine, OPERATOR, decide, lock, release};
use crate::node::Running;
use crate::request::time;
use crate::watch::now;

impl World {
    pub(super) fn decide(&mut self, action: ParkedAction) {
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

    pub(super) fn release(&mut self) {
        let Some(running) = self.door.knock() else { return };
        let machine = &self.machines[self.draw.below(self.machines.len())];
        let installation = Installation { system: machine.system.to_owned(), instance: machine.name.to_owned() };
        let party = self.draw.pick(&machine.parties).clone();
        tokio::spawn(release(running, Arc::clone(&self.watch), party, installation));
    }

    pub(super) async fn restore(&mut self) {
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
                self.keys.restored(&store);
                lock(&self.watch).restored(&store, |name, signed| has_receipt(&self.machines, name, signed));
                store.kill();
            }
        }
        self.disk = self.disk.killed();
    }

    pub(super) fn write(&mut self) {
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

    pub(super) fn kill(&mut self, power: bool) {
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

    pub(super) async fn start(&mut self) {
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
            let mut watch = lock(&self.watch);
            watch.check_parked(&running);
            self.keys.check(&running, &mut watch);
        }
    }
}
