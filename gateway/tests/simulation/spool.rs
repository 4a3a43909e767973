//! A machine's spool: what a real adapter's holds, as few words as possible, on the real journal over a simulated disk.

use std::collections::{BTreeMap, BTreeSet};

use lgsp_journal::testing::Disk;
use lgsp_journal::{Options, Position, Writer};
use serde::{Deserialize, Serialize};

use crate::request::Request;

/// Names a delivery: party, dossier, event.
pub(crate) type Name = (String, String, u32);

#[derive(Deserialize, Serialize)]
enum Record {
    /// Taken in from a clerk, and answered to him.
    Requested(Request),
    /// The gateway's last word about the request with this number.
    Answered(u64),
    TakenOver(Name),
    HandedOver(Name),
    /// The gateway knows that it was handed over.
    Settled(Name),
}

/// How far a delivery has come here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Held {
    TakenOver,
    HandedOver,
    Settled,
}

pub(crate) struct Spool {
    disk: Disk,
    writer: Writer,
    requested: u64,
    /// Requests without a last word, by number.
    pub(crate) pending: BTreeMap<u64, Request>,
    pub(crate) held: BTreeMap<Name, Held>,
}

impl Spool {
    /// Opens the spool on what a crash has left of `disk`.
    pub(crate) fn open(disk: Disk) -> Self {
        let opened = lgsp_journal::open(disk.files(), Options::default()).expect("a spool opens after every crash");
        let (pending, held) = (BTreeMap::new(), BTreeMap::new());
        let mut spool = Self { disk, writer: opened.writer, requested: 0, pending, held };
        for record in opened.reader.replay(Position::FIRST) {
            let (_, bytes) = record.expect("what is durable can be read");
            spool.apply(serde_json::from_slice(&bytes).unwrap());
        }
        spool
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.write(Record::Requested(request));
    }

    pub(crate) fn answered(&mut self, number: u64) {
        self.write(Record::Answered(number));
    }

    pub(crate) fn take_over(&mut self, name: Name) {
        self.write(Record::TakenOver(name));
    }

    pub(crate) fn hand_over(&mut self, name: Name) {
        self.write(Record::HandedOver(name));
    }

    pub(crate) fn settle(&mut self, name: Name) {
        self.write(Record::Settled(name));
    }

    /// The first delivery of each dossier that the agency's system lacks.
    pub(crate) fn next_to_hand_over(&self) -> Vec<Name> {
        let mut begun = BTreeSet::new();
        let waiting = self.held.iter().filter(|(_, held)| **held == Held::TakenOver);
        let first = waiting.filter(|((party, code, _), _)| begun.insert((party, code)));
        first.map(|(name, _)| name.clone()).collect()
    }

    /// What the gateway has not yet confirmed to know as handed over.
    pub(crate) fn to_settle(&self) -> Vec<Name> {
        let handed = self.held.iter().filter(|(_, held)| **held == Held::HandedOver);
        handed.map(|(name, _)| name.clone()).collect()
    }

    /// Durable when it returns.
    fn write(&mut self, record: Record) {
        self.writer.append(&[serde_json::to_vec(&record).unwrap()]).expect("the spools' disks do not fail");
        self.apply(record);
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Requested(request) => {
                self.requested += 1;
                self.pending.insert(self.requested, request);
            }
            Record::Answered(number) => drop(self.pending.remove(&number)),
            Record::TakenOver(name) => drop(self.held.insert(name, Held::TakenOver)),
            Record::HandedOver(name) => drop(self.held.insert(name, Held::HandedOver)),
            Record::Settled(name) => drop(self.held.insert(name, Held::Settled)),
        }
    }
}
