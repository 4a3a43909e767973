//! The invariants, kept in books of their own: nothing here knows how the index is made.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::civil::Date;
use lgsp_certs::sign::{Purpose, VerifyingKey};
use lgsp_domain::numbering::{Lease, NumberZone};
use lgsp_journal::Position;
use lgsp_journal::seal::{KeyError, KeyId, KeyRing};
use lgsp_proto::store_v1::Record;
use lgsp_proto::store_v1::record::Kind;
use lgsp_proto::types::{DossierCode, PartyId, Sha256Digest};
use lgsp_proto::v1;
use prost::Message;

use super::super::codec::{self, Admitted, Fact, NumbersLeased};
use super::super::index::{counter, fetch};
use super::super::keys::{self, Owed};
use super::super::overlay::Memory;
use super::super::{Acknowledgement, Stage};
use super::{Invariant, Report};

/// What has been seen so far.
#[derive(Default)]
pub(super) struct Books {
    /// The last event of every dossier.
    sequences: HashMap<DossierCode, u32>,
    aliases: HashSet<String>,
    /// Where each request key was used.
    requests: HashMap<(PartyId, String), Position>,
    /// Where each event was recorded.
    events: HashMap<(DossierCode, u32), Position>,
    /// What has been told to whom and not been handed over.
    owed: BTreeMap<(PartyId, Position), Owed>,
    days: HashMap<(PartyId, Date), Day>,
    /// The numbers that were lost with every epoch before this one.
    lost: Vec<NumberZone>,
    documents: HashSet<u64>,
    certificates: HashMap<Sha256Digest, Option<VerifyingKey>>,
}

/// The numbers of one authority's day.
#[derive(Default)]
struct Day {
    highest: u32,
    leases: Vec<Lease>,
}

impl Books {
    /// Enters one record and says what is wrong with it.
    pub(super) fn enter(
        &mut self,
        position: Position,
        record: &Record,
        fact: &Fact,
        keys: &KeyRing,
        report: &mut Report,
    ) {
        match fact {
            Fact::Admitted(admitted) => {
                report.events += 1;
                self.enter_event(position, admitted, report);
                if let Some(Kind::Admission(stored)) = &record.kind {
                    self.check_proof(position, admitted, &stored.sealed_body, keys, report);
                }
            }
            Fact::Acknowledged(acknowledgement) => self.enter_acknowledgement(acknowledgement),
            Fact::DocumentStored(meta) => {
                report.documents += 1;
                self.documents.insert(meta.id);
            }
            Fact::RegistryApplied(_) => {}
            Fact::CertificateSeen { digest: named, der, .. } => {
                if digest(&SHA256, der).as_ref() != named.as_bytes() {
                    report.found(Invariant::Certificate, position, format!("the certificate is not {named}"));
                }
                let key = VerifyingKey::from_certificate(der);
                if let Err(error) = &key {
                    report.found(Invariant::Certificate, position, format!("certificate {named}: {error}"));
                }
                self.certificates.insert(*named, key.ok());
            }
            Fact::NumbersLeased(lease) => self.enter_lease(position, lease, report),
            Fact::EpochStarted(started) => {
                if started.number as usize != self.lost.len() + 2 {
                    let what = format!("epoch {} does not follow epoch {}", started.number, self.lost.len() + 1);
                    report.found(Invariant::Number, position, what);
                }
                self.lost.push(started.lost.clone());
                // A block of an earlier epoch is nobody's any more.
                self.days.values_mut().for_each(|day| day.leases.clear());
            }
        }
    }

    fn enter_event(&mut self, position: Position, admitted: &Admitted, report: &mut Report) {
        let event = &admitted.event;
        let last = self.sequences.insert(event.code.clone(), event.sequence).unwrap_or(0);
        if event.opening.is_some() && last > 0 {
            report.found(Invariant::Code, position, format!("{} is opened a second time", event.code));
        } else if event.sequence != last + 1 {
            let what = format!("event {} of {} follows event {last}", event.sequence, event.code);
            report.found(Invariant::Sequence, position, what);
        }
        let request = (event.by.clone(), admitted.request_key.to_string());
        if let Some(before) = self.requests.insert(request, position) {
            let what = format!("key {} of {} was used at record {before}", admitted.request_key, event.by);
            report.found(Invariant::Key, position, what);
        }
        self.events.insert((event.code.clone(), event.sequence), position);
        for party in &event.recipients {
            self.owed.insert((party.clone(), position), Owed::Waiting);
        }
        for document in &event.outcome.documents {
            if !self.documents.contains(&document.document_id) {
                let what = format!("{} attaches document {}", event.code, document.document_id);
                report.found(Invariant::Document, position, what);
            }
        }
        let Some(opening) = &event.opening else { return };
        report.dossiers += 1;
        if self.aliases.contains(event.code.as_str()) {
            report.found(Invariant::Code, position, format!("{} is the alias of another dossier", event.code));
        }
        for alias in &opening.aliases {
            let is_code = alias.as_str().parse().is_ok_and(|code: DossierCode| self.sequences.contains_key(&code));
            if !self.aliases.insert(alias.to_string()) || is_code {
                report.found(Invariant::Code, position, format!("alias {alias} is given a second time"));
            }
        }
        let day = self.days.entry((event.code.party().clone(), event.code.date())).or_default();
        let number = event.code.number();
        let leased = day.leases.iter().find(|lease| lease.numbers.contains(&number));
        if let Some(lease) = leased
            && lease.desk != opening.places.intake_desk
        {
            let what = format!("number {number} was leased to {}, not to {}", lease.desk, opening.places.intake_desk);
            report.found(Invariant::Number, position, what);
        }
        day.highest = day.highest.max(number);
        let floor = lost_upto(&self.lost, event.code.date());
        if number <= floor && admitted.first_admitted_at.is_none() {
            let what = format!("number {number} is given out anew, though one up to {floor} may have been lost");
            report.found(Invariant::Number, position, what);
        }
    }

    fn enter_acknowledgement(&mut self, acknowledgement: &Acknowledgement) {
        for (code, sequence) in &acknowledgement.deliveries {
            let Some(position) = self.events.get(&(code.clone(), *sequence)) else { continue };
            let delivery = (acknowledgement.party.clone(), *position);
            match acknowledgement.stage {
                Stage::TakenOver => {
                    self.owed.entry(delivery).and_modify(|stage| *stage = Owed::TakenOver);
                }
                Stage::HandedOver => {
                    self.owed.remove(&delivery);
                }
            }
        }
    }

    fn enter_lease(&mut self, position: Position, lease: &NumbersLeased, report: &mut Report) {
        let day = self.days.entry((lease.authority.clone(), lease.day)).or_default();
        let numbers = &lease.numbers;
        let floor = lost_upto(&self.lost, lease.day);
        if numbers.start <= floor {
            let what = format!(
                "numbers {numbers:?} of {} are leased, though one up to {floor} may have been lost",
                lease.authority
            );
            report.found(Invariant::Number, position, what);
        }
        let overlaps = |other: &Lease| numbers.start < other.numbers.end && other.numbers.start < numbers.end;
        if let Some(other) = day.leases.iter().find(|other| overlaps(other)) {
            let what = format!("numbers {numbers:?} of {} were leased to {} before", lease.authority, other.desk);
            report.found(Invariant::Number, position, what);
        }
        day.highest = day.highest.max(numbers.end.saturating_sub(1));
        day.leases.push(Lease { desk: lease.desk.clone(), numbers: numbers.clone() });
    }

    /// Checks body, receipt and both signatures of an admission against one another.
    fn check_proof(&self, position: Position, admitted: &Admitted, sealed: &[u8], keys: &KeyRing, report: &mut Report) {
        let event = &admitted.event;
        let answer = &admitted.answer;
        match v1::Receipt::decode(&answer.receipt[..]) {
            Ok(receipt) => {
                if receipt.body_sha256 != admitted.body_sha256.as_bytes()[..] {
                    report.found(Invariant::Body, position, "the receipt names another body");
                }
                if receipt.dossier_code != event.code.as_str() || receipt.sequence != event.sequence {
                    report.found(Invariant::Body, position, "the receipt names another event");
                }
            }
            Err(_) => report.found(Invariant::Body, position, "the receipt cannot be read"),
        }
        self.check_signature(
            position,
            (&answer.certificate, Purpose::Receipt, &answer.receipt, &answer.signature),
            report,
        );
        let body = match keys.get(KeyId(admitted.key_id)) {
            Ok(key) => key.open(codec::body_context(event.code.as_str(), event.sequence).as_bytes(), sealed),
            Err(KeyError::Destroyed { .. }) => {
                report.erased += 1;
                return;
            }
            Err(error) => return report.found(Invariant::Body, position, error.to_string()),
        };
        let Ok(body) = body else {
            return report.found(Invariant::Body, position, "the body does not open with the dossier's key");
        };
        report.bodies += 1;
        if digest(&SHA256, &body).as_ref() != admitted.body_sha256.as_bytes() {
            report.found(Invariant::Body, position, "the body is not the one that was received");
        }
        let purpose = if event.opening.is_some() { Purpose::Submission } else { Purpose::Entry };
        self.check_signature(position, (&admitted.certificate, purpose, &body, &admitted.signature), report);
    }

    fn check_signature(
        &self,
        position: Position,
        (certificate, purpose, bytes, signature): (&Sha256Digest, Purpose, &[u8], &[u8]),
        report: &mut Report,
    ) {
        match self.certificates.get(certificate) {
            None => {
                let what = format!("certificate {certificate} is not on record");
                report.found(Invariant::Certificate, position, what);
            }
            // Said when the certificate was read.
            Some(None) => {}
            Some(Some(key)) => {
                if key.verify(purpose, bytes, signature).is_err() {
                    let what = format!("the signature ({purpose}) was not made by {certificate}");
                    report.found(Invariant::Signature, position, what);
                }
            }
        }
    }

    /// Compares the books with what the projection made of the same journal.
    pub(super) fn close(self, index: &Memory, report: &mut Report) {
        report.owed = self.owed.len() as u64;
        self.close_deliveries(index, report);
        for ((party, request), position) in &self.requests {
            let leads_to = request.parse().ok().and_then(|key| fetch(index, &keys::Request(party, &key)).ok()?);
            if leads_to.is_none_or(|at| at.position != position.0) {
                let what = format!("key {request} of {party} does not lead to its event");
                report.found(Invariant::Key, *position, what);
            }
        }
        for ((authority, day), used) in &self.days {
            let known = counter(index, authority, *day).map_or(0, |counter| counter.highest());
            if known < used.highest {
                let what = format!("{authority} has used {} on {day}, but its counter is at {known}", used.highest);
                report.found(Invariant::Number, None, what);
            }
        }
    }

    fn close_deliveries(&self, index: &Memory, report: &mut Report) {
        let mut counts: BTreeMap<&PartyId, (u64, u64)> = BTreeMap::new();
        for ((party, position), stage) in &self.owed {
            let count = counts.entry(party).or_default();
            let (here, elsewhere) = match stage {
                Owed::Waiting => {
                    count.0 += 1;
                    (Owed::Waiting, Owed::TakenOver)
                }
                Owed::TakenOver => {
                    count.1 += 1;
                    (Owed::TakenOver, Owed::Waiting)
                }
            };
            let is = |stage| {
                let key = keys::Delivery { stage, party, position: position.0 };
                fetch(index, &key).is_ok_and(|owed| owed.is_some())
            };
            if !is(here) || is(elsewhere) {
                let what = format!("the delivery to {party} is not where it should be");
                report.found(Invariant::Delivery, *position, what);
            }
        }
        let parties: BTreeSet<&PartyId> = counts.keys().copied().collect();
        for party in parties {
            let counted = fetch(index, &keys::Backlog(party)).ok().flatten().unwrap_or_default();
            let (waiting, taken_over) = counts[party];
            if (counted.waiting, counted.taken_over) != (waiting, taken_over) {
                let what = format!(
                    "{party} is owed {waiting} and {taken_over}, but {} and {} are counted",
                    counted.waiting, counted.taken_over
                );
                report.found(Invariant::Delivery, None, what);
            }
        }
        let totals = fetch(index, &keys::Totals).ok().flatten().unwrap_or_default();
        if totals.waiting + totals.taken_over != self.owed.len() as u64 {
            let what =
                format!("{} deliveries are owed, {} are counted", self.owed.len(), totals.waiting + totals.taken_over);
            report.found(Invariant::Delivery, None, what);
        }
    }
}

/// The highest number of a day that may have been given out and lost.
fn lost_upto(lost: &[NumberZone], day: Date) -> u32 {
    lost.iter().map(|zone| zone.floor(day)).max().unwrap_or(0)
}
