//! The invariants, kept in books of their own: nothing here knows how the index is made.

mod counts;
mod queries;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use jiff::civil::Date;
use lgsp_certs::sign::{Purpose, VerifyingKey};
use lgsp_domain::event::Event;
use lgsp_domain::numbering::{NumberSource, NumberZone};
use lgsp_journal::Position;
use lgsp_journal::seal::{KeyError, KeyId, KeyRing};
use lgsp_proto::store_v1::record::Kind;
use lgsp_proto::store_v1::{Audited, CountsState, Record};
use lgsp_proto::types::{DossierCode, PartyId, Sha256Digest};
use lgsp_proto::v1::{self, AuditKind};
use prost::Message;

use super::super::codec::{self, Admitted, Fact, NumbersLeased};
use super::super::index::{counter, fetch};
use super::super::keys::{self, Owed};
use super::super::overlay::Memory;
use super::super::{
    Acknowledgement, DossiersArchived, GivenBack, Handled, IssuedOver, Parked, ParkedAction, Stage, TokenId,
};
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
    /// To how many parties each event is owed; none that is owed to nobody.
    owed_to: HashMap<Position, u32>,
    /// What has ever been taken over, handed over or skipped. What was decided about a delivery in that very moment by somebody
    /// else comes too late, and is recorded all the same.
    moved_on: HashSet<(PartyId, Position)>,
    /// From which event on a dossier is parked for a party.
    parked: BTreeMap<(PartyId, DossierCode), u32>,
    days: HashMap<(PartyId, Date), Day>,
    /// The epoch; 0 while there was no record of one.
    epoch: u32,
    /// The numbers that were lost with every epoch before this one.
    lost: Vec<NumberZone>,
    documents: HashSet<u64>,
    erased: HashSet<DossierCode>,
    /// The dossiers that are closed.
    closed: HashSet<DossierCode>,
    archived: HashSet<DossierCode>,
    certificates: HashMap<Sha256Digest, Option<VerifyingKey>>,
    /// What was administered, by the records that say so.
    acts: BTreeMap<u64, AuditKind>,
    exports: HashSet<[u8; 16]>,
    /// The epoch in which each join token was issued, while it is neither spent nor withdrawn.
    tokens: HashMap<TokenId, u32>,
    asked: queries::Asked,
    counted: counts::Counted,
}

/// The numbers of one authority's day.
#[derive(Default)]
struct Day {
    /// The highest one taken or leased.
    highest: u32,
    leases: Vec<NumbersLeased>,
    /// Those that the authority chose itself.
    own: BTreeSet<u32>,
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
        self.acts.extend(self.act(record).map(|kind| (position.0, kind)));
        match fact {
            Fact::Admitted(admitted) => {
                report.events += 1;
                self.enter_event(position, admitted, report);
                self.enter_matter(position, admitted, report);
                self.counted.event(admitted);
                if let Some(Kind::Admission(stored)) = &record.kind {
                    self.enter_number(position, &admitted.event, stored.first_admitted_at_unix_ms.is_some(), report);
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
            Fact::TokenIssued(issued) => {
                if self.tokens.insert(issued.id, self.epoch.max(1)).is_some() {
                    report.found(Invariant::Token, position, "a join token is issued a second time".to_owned());
                }
            }
            Fact::TokenWithdrawn(withdrawn) => self.close_token(position, &withdrawn.id, report),
            Fact::CertificateIssued(issued) => {
                let named = &issued.digest;
                if digest(&SHA256, &issued.der).as_ref() != named.as_bytes() {
                    report.found(Invariant::Certificate, position, format!("the certificate is not {named}"));
                }
                if let IssuedOver::Token(id) = &issued.over {
                    let is_good = self.tokens.get(id).is_none_or(|epoch| *epoch == self.epoch.max(1));
                    if !is_good {
                        let what = "a join token of an earlier epoch is spent";
                        report.found(Invariant::Token, position, what.to_owned());
                    }
                    self.close_token(position, id, report);
                }
            }
            // Said of any key, known or not, as often as one likes.
            Fact::CertificateRevoked(_) => {}
            Fact::NumbersLeased(lease) => self.enter_lease(position, lease, report),
            Fact::DossierErased(erasure) => {
                report.erased_dossiers += 1;
                if !self.sequences.contains_key(&erasure.code) {
                    report.found(Invariant::Sequence, position, format!("{} was never opened", erasure.code));
                }
                if !self.erased.insert(erasure.code.clone()) {
                    report.found(Invariant::Body, position, format!("{} is erased a second time", erasure.code));
                }
                let is_there = |id: &&u64| !matches!(keys.get(KeyId(**id)), Err(KeyError::Destroyed { .. }));
                report.keys_to_destroy += erasure.key_ids.iter().filter(is_there).count() as u64;
            }
            Fact::GivenBack(given_back) => self.enter_given_back(position, given_back, report),
            Fact::DossierParked(parked) => self.enter_parked(position, parked, report),
            Fact::ParkedHandled(handled) => self.enter_handled(position, handled, report),
            Fact::DossiersArchived(archived) => self.enter_archived(position, archived, report),
            Fact::EpochStarted(started) => {
                // The first epoch is 1 and was never started.
                let before = self.epoch.max(1);
                if started.number <= before {
                    let what = format!("epoch {} is no later than epoch {before}", started.number);
                    report.found(Invariant::Number, position, what);
                }
                self.epoch = started.number;
                self.lost.push(started.lost.clone());
                // A block of an earlier epoch is nobody's any more.
                self.days.values_mut().for_each(|day| day.leases.clear());
            }
            Fact::Queried(queried) => {
                self.counted.question(queried);
                if let Some(Kind::Queried(stored)) = &record.kind {
                    self.enter_query(position, queried, &stored.sealed_content, keys, report);
                }
            }
            Fact::MatterLapsed(lapsed) => self.enter_lapsed(position, lapsed, keys, report),
            Fact::Exported(exported) => {
                if !self.exports.insert(exported.identity) {
                    report.found(Invariant::Audit, position, "a copy of the books is noted a second time");
                }
            }
        }
    }

    /// What a record says was administered. Read from the record itself, so that nobody's idea of an entry is taken over.
    fn act(&self, record: &Record) -> Option<AuditKind> {
        match record.kind.as_ref()? {
            Kind::Admission(_)
            | Kind::Acknowledgement(_)
            | Kind::DocumentStored(_)
            | Kind::NumbersLeased(_)
            | Kind::Queried(_)
            | Kind::MatterLapsed(_)
            | Kind::DossierParked(_) => None,
            Kind::RegistryApplied(_) => Some(AuditKind::RegistryApplied),
            // Two calls may bring the same certificate at once; the first record of it counts.
            Kind::CertificateSeen(seen) => {
                let known = codec::digest("sha256", &seen.sha256).is_ok_and(|it| self.certificates.contains_key(&it));
                (!known).then_some(AuditKind::CertificateSeen)
            }
            Kind::GivenBack(given_back) => {
                let released = !given_back.actor.is_empty();
                released.then_some(AuditKind::DeliveriesReleased)
            }
            Kind::ParkedHandled(_) => Some(AuditKind::DeliveryHandled),
            Kind::EpochStarted(_) => Some(AuditKind::EpochStarted),
            Kind::DossiersArchived(_) => Some(AuditKind::DossiersArchived),
            Kind::DossierErased(_) => Some(AuditKind::DossierErased),
            Kind::TokenIssued(_) => Some(AuditKind::TokenIssued),
            Kind::TokenWithdrawn(_) => Some(AuditKind::TokenWithdrawn),
            Kind::CertificateIssued(_) => Some(AuditKind::CertificateIssued),
            Kind::CertificateRevoked(_) => Some(AuditKind::CertificateRevoked),
            Kind::Exported(_) => Some(AuditKind::Exported),
        }
    }

    /// A token is spent or withdrawn once.
    fn close_token(&mut self, position: Position, id: &TokenId, report: &mut Report) {
        if self.tokens.remove(id).is_none() {
            let what = "a join token is spent or withdrawn that is not open";
            report.found(Invariant::Token, position, what.to_owned());
        }
    }

    /// Only what is closed, and owed to nobody, is archived, and once.
    fn enter_archived(&mut self, position: Position, archived: &DossiersArchived, report: &mut Report) {
        for code in &archived.codes {
            report.archived_dossiers += 1;
            let mut found = |what: &str| report.found(Invariant::Archive, position, format!("{code} {what}"));
            if !self.archived.insert(code.clone()) {
                found("is archived a second time");
            }
            if !self.closed.contains(code) {
                found("is archived, and was not closed");
            }
            let last = self.sequences.get(code).copied().unwrap_or(0);
            let mut events = (1..=last).filter_map(|sequence| self.events.get(&(code.clone(), sequence)));
            if events.any(|at| self.owed_to.contains_key(at)) {
                found("is archived, and something of it is owed");
            }
        }
    }

    fn enter_event(&mut self, position: Position, admitted: &Admitted, report: &mut Report) {
        let event = &admitted.event;
        if self.erased.contains(&event.code) {
            report.found(Invariant::Body, position, format!("an event of {}, which was erased before", event.code));
        }
        if self.archived.contains(&event.code) {
            report.found(
                Invariant::Archive,
                position,
                format!("an event of {}, which was archived before", event.code),
            );
        }
        if event.status.is_terminal() {
            self.closed.insert(event.code.clone());
        } else {
            self.closed.remove(&event.code);
        }
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
            let stage = self.free_stage(party, &event.code, event.sequence);
            if self.owed.insert((party.clone(), position), stage).is_none() {
                *self.owed_to.entry(position).or_default() += 1;
            }
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
            let of_another = |code: DossierCode| code != event.code && self.sequences.contains_key(&code);
            let is_code = alias.as_str().parse().is_ok_and(of_another);
            if !self.aliases.insert(alias.to_string()) || is_code {
                report.found(Invariant::Code, position, format!("alias {alias} is given a second time"));
            }
        }
    }

    /// Checks whose number a new dossier has by what was recorded with it; what the registry says today does not matter. One that
    /// was `sent_again` after a restore may have a number of a lease that was lost.
    fn enter_number(&mut self, position: Position, event: &Event, sent_again: bool, report: &mut Report) {
        let Some(opening) = &event.opening else { return };
        let desk = &opening.places.intake_desk;
        let day = self.days.entry((event.code.party().clone(), event.code.date())).or_default();
        let number = event.code.number();
        let lease = day.leases.iter().find(|lease| lease.numbers.contains(&number));
        let wrong = match (opening.number_source, lease) {
            (NumberSource::Leased | NumberSource::Unrecorded, Some(lease)) if lease.desk == *desk => None,
            (source @ (NumberSource::Taken | NumberSource::Own), Some(lease)) => {
                Some(format!("number {number} was leased to {}, but its source is said to be {source:?}", lease.desk))
            }
            (_, Some(lease)) => Some(format!("number {number} was leased to {}, not to {desk}", lease.desk)),
            (NumberSource::Leased, None) if !sent_again => Some(format!("number {number} was leased to nobody")),
            (NumberSource::Own, None) if *desk != opening.places.competent_authority => {
                Some(format!("number {number} of the authority's own was given by {desk}"))
            }
            (NumberSource::Own, None) if number <= day.highest => {
                Some(format!("number {number} of the authority's own lies below its counter"))
            }
            (_, None) => None,
        };
        if let Some(wrong) = wrong {
            report.found(Invariant::Number, position, wrong);
        }
        if opening.number_source == NumberSource::Own {
            day.own.insert(number);
        } else {
            day.highest = day.highest.max(number);
        }
        let floor = lost_upto(&self.lost, event.code.date());
        if number <= floor && !sent_again && opening.number_source != NumberSource::Own {
            let what = format!("number {number} is given out anew, though one up to {floor} may have been lost");
            report.found(Invariant::Number, position, what);
        }
    }

    fn enter_acknowledgement(&mut self, acknowledgement: &Acknowledgement) {
        for (code, sequence) in &acknowledgement.deliveries {
            let Some(position) = self.events.get(&(code.clone(), *sequence)) else { continue };
            let delivery = (acknowledgement.party.clone(), *position);
            if self.owed.contains_key(&delivery) {
                self.moved_on.insert(delivery.clone());
            }
            match acknowledgement.stage {
                Stage::TakenOver => {
                    self.owed.entry(delivery).and_modify(|stage| {
                        if *stage == Owed::Waiting {
                            *stage = Owed::TakenOver;
                        }
                    });
                }
                Stage::HandedOver => {
                    self.is_owed_no_more(&delivery);
                    if self.parked.get(&(acknowledgement.party.clone(), code.clone())) == Some(sequence) {
                        self.unpark(&acknowledgement.party, code);
                    }
                }
            }
        }
    }

    /// Where a delivery is that nobody has.
    fn free_stage(&self, party: &PartyId, code: &DossierCode, sequence: u32) -> Owed {
        match self.parked.get(&(party.clone(), code.clone())) {
            Some(from) if sequence >= *from => Owed::Parked,
            _ => Owed::Waiting,
        }
    }

    fn is_owed_no_more(&mut self, delivery: &(PartyId, Position)) {
        if self.owed.remove(delivery).is_none() {
            return;
        }
        if let Entry::Occupied(mut parties) = self.owed_to.entry(delivery.1) {
            *parties.get_mut() -= 1;
            if *parties.get() == 0 {
                parties.remove();
            }
        }
    }

    fn enter_given_back(&mut self, position: Position, given_back: &GivenBack, report: &mut Report) {
        for (code, sequence) in &given_back.deliveries {
            let free = self.free_stage(&given_back.party, code, *sequence);
            let delivery = self.events.get(&(code.clone(), *sequence)).map(|at| (given_back.party.clone(), *at));
            let stage = delivery.as_ref().and_then(|delivery| self.owed.get_mut(delivery));
            match (stage, delivery) {
                (Some(stage), _) if *stage == Owed::TakenOver => *stage = free,
                (_, Some(delivery)) if self.moved_on.contains(&delivery) => {}
                _ => {
                    let what = format!("{code}/{sequence} is given back, and {} did not have it", given_back.party);
                    report.found(Invariant::Delivery, position, what);
                }
            }
        }
    }

    fn enter_parked(&mut self, position: Position, parked: &Parked, report: &mut Report) {
        let Parked { party, code, sequence, .. } = parked;
        let delivery = self.events.get(&(code.clone(), *sequence)).map(|at| (party.clone(), *at));
        if !delivery.as_ref().is_some_and(|delivery| self.owed.contains_key(delivery)) {
            if delivery.is_some_and(|delivery| self.moved_on.contains(&delivery)) {
                return;
            }
            let what = format!("{code} is parked for {party} at event {sequence}, which it is not owed");
            report.found(Invariant::Delivery, position, what);
            return;
        }
        let from = self.parked.entry((party.clone(), code.clone())).or_insert(*sequence);
        *from = (*from).min(*sequence);
        self.restage(party, code, Owed::Waiting, Owed::Parked);
    }

    fn enter_handled(&mut self, position: Position, handled: &Handled, report: &mut Report) {
        let Handled { party, code, sequence, .. } = handled;
        let delivery = self.events.get(&(code.clone(), *sequence)).map(|at| (party.clone(), *at));
        if self.parked.get(&(party.clone(), code.clone())) != Some(sequence) {
            if delivery.is_some_and(|delivery| self.moved_on.contains(&delivery)) {
                return;
            }
            let what = format!("{code} is not parked for {party} at event {sequence}");
            report.found(Invariant::Delivery, position, what);
            return;
        }
        if handled.action == ParkedAction::Skip
            && let Some(delivery) = delivery
        {
            self.is_owed_no_more(&delivery);
            self.moved_on.insert(delivery);
        }
        self.unpark(party, code);
    }

    fn unpark(&mut self, party: &PartyId, code: &DossierCode) {
        self.restage(party, code, Owed::Parked, Owed::Waiting);
        self.parked.remove(&(party.clone(), code.clone()));
    }

    /// Puts the deliveries of a parked dossier from one place to another, from the failed one on.
    fn restage(&mut self, party: &PartyId, code: &DossierCode, from: Owed, to: Owed) {
        let Some(first) = self.parked.get(&(party.clone(), code.clone())) else { return };
        for sequence in *first..=self.sequences.get(code).copied().unwrap_or(0) {
            let Some(at) = self.events.get(&(code.clone(), sequence)) else { continue };
            if let Some(stage) = self.owed.get_mut(&(party.clone(), *at))
                && *stage == from
            {
                *stage = to;
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
        let overlaps = |other: &NumbersLeased| numbers.start < other.numbers.end && other.numbers.start < numbers.end;
        if let Some(other) = day.leases.iter().find(|other| overlaps(other)) {
            let what = format!("numbers {numbers:?} of {} were leased to {} before", lease.authority, other.desk);
            report.found(Invariant::Number, position, what);
        }
        if let Some(own) = day.own.range(numbers.clone()).next() {
            let what =
                format!("number {own} of {} is leased to {}, but the authority chose it", lease.authority, lease.desk);
            report.found(Invariant::Number, position, what);
        }
        day.highest = day.highest.max(numbers.end.saturating_sub(1));
        day.leases.push(lease.clone());
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
        self.close_audit(index, report);
        self.counted.close(index, report);
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

    /// Every act has its entry, and no entry is of anything else.
    fn close_audit(&self, index: &Memory, report: &mut Report) {
        let mut entries = BTreeMap::new();
        for (key, value) in
            index.0.range(Bytes::from(keys::Audited::first())..keys::behind(&keys::Audited::first()).into())
        {
            let Some(position) = keys::Audited::position_of(key) else { continue };
            entries.insert(position, Audited::decode(value.clone()).ok().map(|entry| entry.kind));
        }
        for (position, kind) in &self.acts {
            let entry = entries.remove(position).flatten();
            if entry != Some(i32::from(*kind)) {
                let what = format!("{} has no entry in the audit that says so", kind.as_str_name());
                report.found(Invariant::Audit, Position(*position), what);
            }
        }
        for position in entries.into_keys() {
            report.found(Invariant::Audit, Position(position), "an entry of the audit is about no act");
        }
    }

    fn close_deliveries(&self, index: &Memory, report: &mut Report) {
        /// Deliveries of a party by stage, and its parked dossiers.
        #[derive(Default, PartialEq)]
        struct Count([u64; 3], u64);
        const STAGES: [Owed; 3] = [Owed::Waiting, Owed::TakenOver, Owed::Parked];
        let mut counts: BTreeMap<&PartyId, Count> = BTreeMap::new();
        for ((party, position), stage) in &self.owed {
            let is_there = STAGES.map(|stage| {
                let key = keys::Delivery { stage, party, position: position.0 };
                fetch(index, &key).is_ok_and(|owed| owed.is_some())
            });
            if is_there != STAGES.map(|one| one == *stage) {
                let what = format!("the delivery to {party} is not where it should be");
                report.found(Invariant::Delivery, *position, what);
            }
            let count = counts.entry(party).or_default();
            for (counted, one) in count.0.iter_mut().zip(STAGES) {
                *counted += u64::from(one == *stage);
            }
        }
        for ((party, code), from) in &self.parked {
            counts.entry(party).or_default().1 += 1;
            let lane = fetch(index, &keys::Lane(party, code)).ok().flatten().unwrap_or_default();
            if lane.parked_position == 0 || lane.parked_sequence != *from {
                let what = format!("{code} is parked for {party} at event {from}, but not shown so");
                report.found(Invariant::Delivery, None, what);
            }
        }
        for (party, count) in counts {
            let counted = fetch(index, &keys::Backlog(party)).ok().flatten().unwrap_or_default();
            let stages = [counted.waiting, counted.taken_over, counted.parked_deliveries];
            if Count(stages, counted.parked_dossiers) != count {
                let Count([waiting, taken_over, parked], dossiers) = count;
                let what = format!(
                    "{party} is owed {waiting}, {taken_over} and {parked} of {dossiers} dossiers, but {stages:?} of {} are \
                     counted",
                    counted.parked_dossiers
                );
                report.found(Invariant::Delivery, None, what);
            }
        }
        let totals = fetch(index, &keys::Totals).ok().flatten().unwrap_or_default();
        let counted = totals.waiting + totals.taken_over + totals.parked_deliveries;
        if counted != self.owed.len() as u64 {
            let what = format!("{} deliveries are owed, {counted} are counted", self.owed.len());
            report.found(Invariant::Delivery, None, what);
        }
    }
}

/// The highest number of a day that may have been given out and lost.
fn lost_upto(lost: &[NumberZone], day: Date) -> u32 {
    lost.iter().map(|zone| zone.floor(day)).max().unwrap_or(0)
}
