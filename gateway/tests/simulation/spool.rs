//! A machine's spool: what a real adapter's holds, as few words as possible, on the real journal over a simulated disk.
//!
//! When the gateway's books are restored it does as an adapter does: what was admitted is sent again with its receipt, and what
//! was taken over and not handed over is let go of, because all of it is owed again.

use std::collections::{BTreeMap, BTreeSet};

use lgsp_journal::testing::Disk;
use lgsp_journal::{Options, Position, Writer};
use lgsp_proto::types::DossierCode;
use lgsp_proto::v1::DeclineKind;
use serde::{Deserialize, Serialize};

use crate::request::{Matter, Request};

/// Names a delivery: party, dossier, event.
pub(crate) type Name = (String, String, u32);

/// Which event it is: party and key of its request. After a restore another one may stand under a name.
pub(crate) type Print = String;

#[derive(Deserialize, Serialize)]
enum Record {
    /// Taken in from a clerk, and answered to him.
    Requested(Request),
    /// The gateway's last word about the request with this number.
    Answered(u64, Option<Receipt>),
    Leased(Leased),
    EpochSeen(u32),
    TakenOver(Name, Print),
    HandedOver(Name),
    /// The gateway knows that it was handed over.
    Settled(Name),
    /// The agency's system does not take it: it goes back, with the later ones of its dossier.
    Refused(Name, bool),
    /// The gateway knows that it went back.
    Returned(Name),
}

/// What the gateway has signed, and the code it names.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Receipt {
    pub(crate) code: String,
    pub(crate) sequence: u32,
    /// A serialized `lgsp.v1.SignedReceipt`.
    pub(crate) signed: Vec<u8>,
}

/// Numbers of an authority's day.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Leased {
    pub(crate) desk: String,
    pub(crate) epoch: u32,
    pub(crate) codes: Vec<String>,
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
    requests: Vec<Request>,
    /// Requests without a last word, by number.
    pub(crate) pending: BTreeMap<u64, Request>,
    /// What was admitted, by number; kept while it is sent again.
    receipts: BTreeMap<u64, Receipt>,
    /// The gateway's epoch; 0 while it is not known.
    pub(crate) epoch: u32,
    /// The codes that may be given out, and all that ever were leased, with their epochs.
    free: BTreeSet<(String, String)>,
    leased: BTreeSet<(u32, String)>,
    leased_in: u32,
    pub(crate) held: BTreeMap<Name, (Held, Print)>,
    /// What goes back, by party and dossier, and how it was meant.
    pub(crate) returning: BTreeMap<(String, String), (Name, DeclineKind)>,
}

impl Spool {
    /// Opens the spool on what a crash has left of `disk`.
    pub(crate) fn open(disk: Disk) -> Self {
        let opened = lgsp_journal::open(disk.files(), Options::default()).expect("a spool opens after every crash");
        let mut spool = Self {
            disk,
            writer: opened.writer,
            requests: Vec::new(),
            pending: BTreeMap::new(),
            receipts: BTreeMap::new(),
            epoch: 0,
            free: BTreeSet::new(),
            leased: BTreeSet::new(),
            leased_in: 0,
            held: BTreeMap::new(),
            returning: BTreeMap::new(),
        };
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

    pub(crate) fn answered(&mut self, number: u64, receipt: Option<Receipt>) {
        self.write(Record::Answered(number, receipt));
    }

    /// Takes in numbers, as far as they are news.
    pub(crate) fn lease(&mut self, mut leased: Leased) {
        leased.codes.retain(|code| !self.leased.contains(&(leased.epoch, code.clone())));
        if !leased.codes.is_empty() {
            self.write(Record::Leased(leased));
        }
    }

    pub(crate) fn epoch_seen(&mut self, epoch: u32) {
        if epoch > self.epoch {
            self.write(Record::EpochSeen(epoch));
        }
    }

    pub(crate) fn take_over(&mut self, name: Name, print: Print) {
        self.write(Record::TakenOver(name, print));
    }

    pub(crate) fn hand_over(&mut self, name: Name) {
        self.write(Record::HandedOver(name));
    }

    pub(crate) fn settle(&mut self, name: Name) {
        self.write(Record::Settled(name));
    }

    pub(crate) fn refuse(&mut self, name: Name, kind: DeclineKind) {
        self.write(Record::Refused(name, kind == DeclineKind::Permanent));
    }

    pub(crate) fn returned(&mut self, name: Name) {
        self.write(Record::Returned(name));
    }

    /// A code of this authority and day that `desk` may give out now.
    pub(crate) fn free_code(&self, desk: &str, like: &DossierCode) -> Option<String> {
        let is_like = |code: &str| {
            let code: DossierCode = code.parse().unwrap();
            code.party() == like.party() && code.date() == like.date()
        };
        self.free.iter().find(|(of, code)| of == desk && is_like(code)).map(|(_, code)| code.clone())
    }

    /// The receipt of a request, if it was admitted.
    pub(crate) fn receipt(&self, number: u64) -> Option<&Receipt> {
        self.receipts.get(&number)
    }

    pub(crate) fn has_receipt(&self, (party, key): &(String, String), signed: &[u8]) -> bool {
        let of = |(number, receipt): (&u64, &Receipt)| {
            let request = &self.requests[usize::try_from(*number).unwrap() - 1];
            request.party == *party && request.key == *key && receipt.signed == signed
        };
        self.receipts.iter().any(of)
    }

    /// Whether it has to do with a dossier that the gateway had once admitted.
    pub(crate) fn knows(&self, code: &str) -> bool {
        self.held.keys().any(|name| name.1 == code) || self.receipts.values().any(|receipt| receipt.code == code)
    }

    /// What may be sent now: of a dossier of which something is sent again, only the first of that.
    pub(crate) fn sendable(&self) -> Vec<u64> {
        let again = self.receipts.iter().filter(|(number, _)| self.pending.contains_key(number));
        // In the order of their events: answers may have come in another one.
        let mut again: Vec<_> = again.map(|(number, receipt)| (receipt.sequence, &receipt.code, *number)).collect();
        again.sort_unstable();
        let mut lanes = BTreeSet::new();
        again.retain(|(_, code, _)| lanes.insert(*code));
        let mut sendable: Vec<u64> = again.into_iter().map(|(_, _, number)| number).collect();
        let waits = |request: &Request| match &request.matter {
            Matter::Submit { .. } => false,
            Matter::Record { code, .. } => lanes.contains(code),
        };
        let fresh =
            self.pending.iter().filter(|(number, request)| !self.receipts.contains_key(number) && !waits(request));
        sendable.extend(fresh.map(|(number, _)| *number));
        sendable
    }

    /// The first delivery of each dossier that the agency's system lacks.
    pub(crate) fn next_to_hand_over(&self) -> Vec<Name> {
        let mut begun = BTreeSet::new();
        let waiting = self.held.iter().filter(|(_, (held, _))| *held == Held::TakenOver);
        let first = waiting.filter(|((party, code, _), _)| begun.insert((party, code)));
        first.map(|(name, _)| name.clone()).collect()
    }

    /// What the gateway has not yet confirmed to know as handed over.
    pub(crate) fn to_settle(&self) -> Vec<Name> {
        let handed = self.held.iter().filter(|(_, (held, _))| *held == Held::HandedOver);
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
                if let Matter::Submit { code: Some(code), .. } = &request.matter {
                    self.free.remove(&(request.party.clone(), code.clone()));
                }
                self.requests.push(request.clone());
                self.pending.insert(self.requests.len() as u64, request);
            }
            Record::Answered(number, receipt) => {
                self.pending.remove(&number);
                match receipt {
                    Some(receipt) => drop(self.receipts.insert(number, receipt)),
                    None => drop(self.receipts.remove(&number)),
                }
            }
            Record::Leased(Leased { desk, epoch, codes }) => {
                self.void_before(epoch);
                for code in codes {
                    self.leased.insert((epoch, code.clone()));
                    if epoch == self.leased_in {
                        self.free.insert((desk.clone(), code));
                    }
                }
            }
            Record::EpochSeen(epoch) => {
                self.void_before(epoch);
                self.epoch = epoch;
                if epoch > 1 {
                    self.start_over();
                }
            }
            Record::TakenOver(name, print) => drop(self.held.insert(name, (Held::TakenOver, print))),
            Record::HandedOver(name) => self.set(&name, Held::HandedOver),
            Record::Settled(name) => self.set(&name, Held::Settled),
            Record::Refused(name, is_permanent) => {
                let (party, code, sequence) = name.clone();
                self.held.retain(|other, (held, _)| {
                    *held != Held::TakenOver || (&other.0, &other.1) != (&party, &code) || other.2 < sequence
                });
                let kind = if is_permanent { DeclineKind::Permanent } else { DeclineKind::Transient };
                self.returning.insert((party, code), (name, kind));
            }
            Record::Returned((party, code, _)) => drop(self.returning.remove(&(party, code))),
        }
    }

    fn set(&mut self, name: &Name, to: Held) {
        if let Some((held, _)) = self.held.get_mut(name) {
            *held = to;
        }
    }

    fn void_before(&mut self, epoch: u32) {
        if epoch > self.leased_in {
            self.leased_in = epoch;
            self.free.clear();
        }
    }

    /// The gateway was restored.
    fn start_over(&mut self) {
        for number in self.receipts.keys() {
            let request = &self.requests[usize::try_from(*number).unwrap() - 1];
            self.pending.insert(*number, request.clone());
        }
        self.held.retain(|_, (held, _)| *held != Held::TakenOver);
        self.held.values_mut().for_each(|(held, _)| *held = Held::Settled);
        self.returning.clear();
    }
}
