//! Between the domain's values and the stored messages of `lgsp.store.v1`.
//!
//! Owns what a record of the journal means: a [`Fact`]. Writing loses nothing and computes nothing; reading checks form
//! only, and says [`Unreadable`] of anything that no version of this program has written. Bodies stay sealed here.

mod certificates;
mod clock;
pub(super) mod deliveries;
mod dossier;
pub(super) mod queries;
mod values;

use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use jiff::civil::Date;
use lgsp_domain::event::Event;
use lgsp_domain::numbering::{NumberZone, SpoolId};
use lgsp_domain::transition::{Act, Role};
use lgsp_proto::store_v1::record::Kind;
use lgsp_proto::store_v1::{self, Record};
use lgsp_proto::types::{ActorId, PartyId, RequestKey, Sha256Digest, Status};
use lgsp_proto::v1;

use super::archived::DossiersArchived;
use super::audit::Exported;
use super::certificates::{CertificateIssued, CertificateRevoked, TokenIssued, TokenWithdrawn};
use super::deliveries::{GivenBack, Handled, Parked};
use super::queries::{MatterLapsed, Queried};
use super::{Acknowledgement, Admission, Answer, Commit, DocumentMeta, Erasure, Recorded, RegistryRecord, Stage};
pub(super) use dossier::{Held, held, state_of};
use values::{date, parse, parse_some, timestamp};
pub(super) use values::{day_number, digest, spool, spool_bytes, system_time, unix_ms};

/// The form of the index: its keys, its messages, and what the projection makes of a record. An index of another form is
/// thrown away and made again from the journal.
pub(super) const FORMAT: u32 = 6;

/// One record of the journal, in the domain's words.
#[derive(Clone, Debug)]
pub enum Fact {
    /// An event was admitted.
    Admitted(Box<Admitted>),
    /// A party said what it has.
    Acknowledged(Acknowledgement),
    /// A document is complete. Its `dossier` is always `None` here.
    DocumentStored(DocumentMeta),
    /// A registry version is in force.
    RegistryApplied(RegistryRecord),
    /// A certificate was seen for the first time.
    CertificateSeen {
        /// SHA-256 of the DER.
        digest: Sha256Digest,
        /// The certificate.
        der: Bytes,
        /// The system it names.
        system: String,
        /// When, by the machine clock; `None` from before this was kept.
        at: Option<SystemTime>,
    },
    /// A join token was issued.
    TokenIssued(TokenIssued),
    /// A join token was taken back.
    TokenWithdrawn(TokenWithdrawn),
    /// The bus's own CA signed a certificate.
    CertificateIssued(CertificateIssued),
    /// Keys are out of force.
    CertificateRevoked(CertificateRevoked),
    /// A desk may give out these numbers.
    NumbersLeased(NumbersLeased),
    /// A dossier's content was erased.
    DossierErased(Erasure),
    /// Deliveries that were taken over are owed again.
    GivenBack(GivenBack),
    /// A dossier's deliveries to a party wait for a person.
    DossierParked(Parked),
    /// What a person did about that. Its `why` is always empty here: it stays sealed in the record.
    ParkedHandled(Handled),
    /// The books were restored from a backup.
    EpochStarted(EpochStarted),
    /// Closed dossiers left the indexes for an archive file.
    DossiersArchived(DossiersArchived),
    /// The books were copied out of the node.
    Exported(Exported),
    /// A question was sent to a connector, and this became of it; what was asked and told stays in the record.
    Queried(Box<Queried>),
    /// No dossier came in under an intake key.
    MatterLapsed(MatterLapsed),
}

/// An admitted event with its proof and its answer; the body stays in the record.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// What was decided.
    pub event: Event,
    /// The key the sender gave.
    pub request_key: RequestKey,
    /// SHA-256 of the body as received.
    pub body_sha256: Sha256Digest,
    /// The sender's signature over the body.
    pub signature: Bytes,
    /// SHA-256 of the certificate whose key signed.
    pub certificate: Sha256Digest,
    /// The system whose certificate it is.
    pub system: String,
    /// W3C traceparent of the call, if it had one.
    pub traceparent: Option<String>,
    /// When it was admitted, by the machine clock.
    pub admitted_at: SystemTime,
    /// What the caller was answered.
    pub answer: Answer,
    /// The data key that seals the body.
    pub key_id: u64,
    /// When it was first admitted, if it came back after a restore.
    pub first_admitted_at: Option<SystemTime>,
}

/// The books were restored from a backup and begin a new epoch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EpochStarted {
    /// Its number; the first epoch is 1 and was never started.
    pub number: u32,
    /// The backup's identity.
    pub backup: [u8; 16],
    /// When the backup was taken, by the machine clock.
    pub backup_taken_at: SystemTime,
    /// Who restored it.
    pub actor: ActorId,
    /// When, by the machine clock.
    pub at: SystemTime,
    /// The numbers that may have been given out and are not known any more.
    pub lost: NumberZone,
}

/// A block of an authority's numbers of one day, leased to a desk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NumbersLeased {
    /// In whose name the numbers are.
    pub authority: PartyId,
    /// On which business day.
    pub day: Date,
    /// Who may give them out.
    pub desk: PartyId,
    /// The spool that gives them out; `None` on a block from before this was kept.
    pub spool: Option<SpoolId>,
    /// The epoch in which they are good.
    pub epoch: u32,
    /// Which.
    pub numbers: Range<u32>,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// What is stored cannot be read: it is damaged, or a later version wrote it. The text names the field, never its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` cannot be read")]
pub struct Unreadable(pub(super) &'static str);

/// The data that a sealed body is bound to, so that it opens nowhere else.
pub(super) fn body_context(code: &str, sequence: u32) -> String {
    format!("{code}/{sequence}")
}

impl Fact {
    /// The fact that a commit states. What is sealed, a body or a person's ground, is not part of it.
    pub(super) fn of(commit: Commit, key_id: u64) -> Self {
        match commit {
            Commit::Admission(admission) => {
                let Admission { event, request_key, body: _, body_sha256, signature, certificate, .. } = *admission;
                let Admission { system, traceparent, admitted_at, answer, first_admitted_at, .. } = *admission;
                Fact::Admitted(Box::new(Admitted {
                    event,
                    request_key,
                    body_sha256,
                    signature,
                    certificate,
                    system,
                    traceparent,
                    admitted_at,
                    answer,
                    key_id,
                    first_admitted_at,
                }))
            }
            Commit::Acknowledgement(acknowledgement) => Fact::Acknowledged(acknowledgement),
            Commit::Document(meta) => Fact::DocumentStored(DocumentMeta { dossier: None, ..meta }),
            Commit::Registry(record) => Fact::RegistryApplied(record),
            Commit::Certificate { digest, der, system, at } => {
                Fact::CertificateSeen { digest, der, system, at: Some(at) }
            }
            Commit::TokenIssued(issued) => Fact::TokenIssued(issued),
            Commit::TokenWithdrawn(withdrawn) => Fact::TokenWithdrawn(withdrawn),
            Commit::CertificateIssued(issued) => Fact::CertificateIssued(issued),
            Commit::CertificateRevoked(revoked) => Fact::CertificateRevoked(revoked),
            Commit::GivenBack(given_back) => Fact::GivenBack(given_back),
            Commit::Parked(parked) => Fact::DossierParked(parked),
            Commit::Handled(handled) => Fact::ParkedHandled(Handled { why: String::new(), ..handled }),
            Commit::Epoch(started) => Fact::EpochStarted(started),
            Commit::Archived(archiving) => Fact::DossiersArchived(archiving.archived),
            Commit::Exported(exported) => Fact::Exported(exported),
            Commit::Query(ended) => Fact::Queried(Box::new(Queried { key_id, ..ended.envelope })),
        }
    }

    /// The record that states it. `sealed` is the body of an admission, the ground of what was done about a parked dossier or
    /// the content of a query, and empty for everything else.
    pub(super) fn record(&self, sealed: Vec<u8>) -> Record {
        let kind = match self {
            Fact::Admitted(admitted) => Kind::Admission(admission_record(admitted, sealed)),
            Fact::Acknowledged(acknowledgement) => Kind::Acknowledgement(store_v1::Acknowledgement {
                party: acknowledgement.party.to_string(),
                stage: match acknowledgement.stage {
                    Stage::TakenOver => v1::AcknowledgeStage::TakenOver.into(),
                    Stage::HandedOver => v1::AcknowledgeStage::HandedOver.into(),
                },
                deliveries: deliveries::acked(&acknowledgement.deliveries),
                system: acknowledgement.holder.installation.system.clone(),
                at_unix_ms: unix_ms(acknowledgement.at),
                instance: acknowledgement.holder.installation.instance.clone(),
                spool: acknowledgement.holder.spool.to_vec(),
            }),
            Fact::DocumentStored(meta) => Kind::DocumentStored(store_v1::DocumentStored {
                document_id: meta.id,
                party: meta.party.to_string(),
                actor: meta.actor.to_string(),
                system: meta.system.clone(),
                sha256: meta.sha256.as_bytes().to_vec(),
                size_bytes: meta.size_bytes,
                media_type: meta.media_type.to_string(),
                key_id: meta.key_id,
                at_unix_ms: unix_ms(meta.stored_at),
            }),
            Fact::RegistryApplied(record) => Kind::RegistryApplied(store_v1::RegistryApplied {
                version: Some(record.version.clone()),
                files: record.files.clone(),
            }),
            Fact::CertificateSeen { digest, der, system, at } => Kind::CertificateSeen(store_v1::CertificateSeen {
                sha256: digest.as_bytes().to_vec(),
                der: der.to_vec(),
                system: system.clone(),
                at_unix_ms: at.map_or(0, unix_ms),
            }),
            Fact::TokenIssued(issued) => Kind::TokenIssued(certificates::token_issued_record(issued)),
            Fact::TokenWithdrawn(withdrawn) => Kind::TokenWithdrawn(certificates::token_withdrawn_record(withdrawn)),
            Fact::CertificateIssued(issued) => Kind::CertificateIssued(certificates::issued_record(issued)),
            Fact::CertificateRevoked(revoked) => Kind::CertificateRevoked(certificates::revoked_record(revoked)),
            Fact::NumbersLeased(lease) => Kind::NumbersLeased(store_v1::NumbersLeased {
                authority: lease.authority.to_string(),
                day: day_number(lease.day),
                desk: lease.desk.to_string(),
                first: lease.numbers.start,
                count: lease.numbers.end - lease.numbers.start,
                at_unix_ms: unix_ms(lease.at),
                spool: values::spool_bytes(lease.spool),
                epoch: lease.epoch,
            }),
            Fact::DossierErased(erasure) => Kind::DossierErased(store_v1::DossierErased {
                dossier_code: erasure.code.to_string(),
                key_ids: erasure.key_ids.clone(),
                acting_party: erasure.party.to_string(),
                actor: erasure.actor.to_string(),
                system: erasure.system.clone(),
                ground: erasure.ground.clone(),
                at_unix_ms: unix_ms(erasure.at),
            }),
            Fact::GivenBack(given_back) => Kind::GivenBack(deliveries::given_back_record(given_back)),
            Fact::DossierParked(parked) => Kind::DossierParked(deliveries::parked_record(parked)),
            Fact::ParkedHandled(handled) => Kind::ParkedHandled(deliveries::handled_record(handled, sealed)),
            Fact::EpochStarted(started) => Kind::EpochStarted(store_v1::EpochStarted {
                number: started.number,
                backup: started.backup.to_vec(),
                backup_taken_at_unix_ms: unix_ms(started.backup_taken_at),
                actor: started.actor.to_string(),
                at_unix_ms: unix_ms(started.at),
                numbers_from_day: day_number(*started.lost.days.start()),
                numbers_to_day: day_number(*started.lost.days.end()),
                numbers_from: started.lost.from,
            }),
            Fact::DossiersArchived(archived) => Kind::DossiersArchived(store_v1::DossiersArchived {
                dossier_codes: archived.codes.iter().map(ToString::to_string).collect(),
                archive: archived.archive.clone(),
                archive_sha256: archived.sha256.as_bytes().to_vec(),
                actor: archived.actor.to_string(),
                system: archived.system.clone(),
                at_unix_ms: unix_ms(archived.at),
                acting_party: archived.party.as_ref().map(PartyId::to_string).unwrap_or_default(),
                after_days: archived.after_days,
            }),
            Fact::Exported(exported) => Kind::Exported(store_v1::Exported {
                what: exported.what.clone(),
                identity: exported.identity.to_vec(),
                acting_party: exported.party.as_ref().map(PartyId::to_string).unwrap_or_default(),
                actor: exported.actor.to_string(),
                system: exported.system.clone(),
                at_unix_ms: unix_ms(exported.at),
            }),
            Fact::Queried(queried) => Kind::Queried(queries::record(queried, sealed)),
            Fact::MatterLapsed(lapsed) => Kind::MatterLapsed(queries::lapsed_record(lapsed)),
        };
        Record { kind: Some(kind) }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Unreadable`] names the field that has no meaning.
    pub(super) fn read(record: &Record) -> Result<Self, Unreadable> {
        let kind = record.kind.as_ref().ok_or(Unreadable("kind"))?;
        Ok(match kind {
            Kind::Admission(admission) => Fact::Admitted(Box::new(admitted(admission)?)),
            Kind::Acknowledgement(stored) => Fact::Acknowledged(Acknowledgement {
                party: parse("party", &stored.party)?,
                stage: match v1::AcknowledgeStage::try_from(stored.stage) {
                    Ok(v1::AcknowledgeStage::TakenOver) => Stage::TakenOver,
                    Ok(v1::AcknowledgeStage::HandedOver) => Stage::HandedOver,
                    Ok(v1::AcknowledgeStage::Unspecified) | Err(_) => return Err(Unreadable("stage")),
                },
                deliveries: deliveries::deliveries(&stored.deliveries)?,
                holder: deliveries::holder(&stored.system, &stored.instance, &stored.spool),
                at: system_time(stored.at_unix_ms),
            }),
            Kind::DocumentStored(stored) => Fact::DocumentStored(DocumentMeta {
                id: stored.document_id,
                party: parse("party", &stored.party)?,
                actor: parse("actor", &stored.actor)?,
                system: stored.system.clone(),
                sha256: digest("sha256", &stored.sha256)?,
                size_bytes: stored.size_bytes,
                media_type: parse("media_type", &stored.media_type)?,
                key_id: stored.key_id,
                stored_at: system_time(stored.at_unix_ms),
                dossier: None,
            }),
            Kind::RegistryApplied(stored) => Fact::RegistryApplied(RegistryRecord {
                version: stored.version.clone().ok_or(Unreadable("version"))?,
                files: stored.files.clone(),
            }),
            Kind::CertificateSeen(stored) => Fact::CertificateSeen {
                digest: digest("sha256", &stored.sha256)?,
                der: Bytes::copy_from_slice(&stored.der),
                system: stored.system.clone(),
                at: (stored.at_unix_ms != 0).then(|| system_time(stored.at_unix_ms)),
            },
            Kind::TokenIssued(stored) => Fact::TokenIssued(certificates::token_issued(stored)?),
            Kind::TokenWithdrawn(stored) => Fact::TokenWithdrawn(certificates::token_withdrawn(stored)?),
            Kind::CertificateIssued(stored) => Fact::CertificateIssued(certificates::issued(stored)?),
            Kind::CertificateRevoked(stored) => Fact::CertificateRevoked(certificates::revoked(stored)?),
            Kind::NumbersLeased(stored) => Fact::NumbersLeased(NumbersLeased {
                authority: parse("authority", &stored.authority)?,
                day: date("day", stored.day)?,
                desk: parse("desk", &stored.desk)?,
                spool: values::spool("spool", &stored.spool)?,
                // Before it was kept there was one epoch only.
                epoch: stored.epoch.max(1),
                numbers: stored.first..stored.first.checked_add(stored.count).ok_or(Unreadable("count"))?,
                at: system_time(stored.at_unix_ms),
            }),
            Kind::DossierErased(stored) => Fact::DossierErased(Erasure {
                code: parse("dossier_code", &stored.dossier_code)?,
                key_ids: stored.key_ids.clone(),
                party: parse("acting_party", &stored.acting_party)?,
                actor: parse("actor", &stored.actor)?,
                system: stored.system.clone(),
                ground: stored.ground.clone(),
                at: system_time(stored.at_unix_ms),
            }),
            Kind::GivenBack(stored) => Fact::GivenBack(deliveries::given_back(stored)?),
            Kind::DossierParked(stored) => Fact::DossierParked(deliveries::parked(stored)?),
            Kind::ParkedHandled(stored) => Fact::ParkedHandled(deliveries::handled(stored)?),
            Kind::EpochStarted(stored) => Fact::EpochStarted(EpochStarted {
                number: stored.number,
                backup: stored.backup.as_slice().try_into().map_err(|_| Unreadable("backup"))?,
                backup_taken_at: system_time(stored.backup_taken_at_unix_ms),
                actor: parse("actor", &stored.actor)?,
                at: system_time(stored.at_unix_ms),
                lost: lost_numbers(stored.numbers_from_day, stored.numbers_to_day, stored.numbers_from)?,
            }),
            Kind::DossiersArchived(stored) => Fact::DossiersArchived(DossiersArchived {
                codes: stored
                    .dossier_codes
                    .iter()
                    .map(|code| parse("dossier_codes", code))
                    .collect::<Result<_, _>>()?,
                archive: stored.archive.clone(),
                sha256: digest("archive_sha256", &stored.archive_sha256)?,
                party: parse_some("acting_party", &stored.acting_party)?,
                actor: parse("actor", &stored.actor)?,
                system: stored.system.clone(),
                after_days: stored.after_days,
                at: system_time(stored.at_unix_ms),
            }),
            Kind::Exported(stored) => Fact::Exported(Exported {
                what: stored.what.clone(),
                identity: stored.identity.as_slice().try_into().map_err(|_| Unreadable("identity"))?,
                party: parse_some("acting_party", &stored.acting_party)?,
                actor: parse("actor", &stored.actor)?,
                system: stored.system.clone(),
                at: system_time(stored.at_unix_ms),
            }),
            Kind::Queried(stored) => Fact::Queried(Box::new(queries::queried(stored)?)),
            Kind::MatterLapsed(stored) => Fact::MatterLapsed(queries::lapsed(stored)?),
        })
    }
}

/// The numbers that were lost with an epoch.
pub(super) fn lost_numbers(from_day: i32, to_day: i32, from: u32) -> Result<NumberZone, Unreadable> {
    Ok(NumberZone { days: date("numbers_from_day", from_day)?..=date("numbers_to_day", to_day)?, from })
}

fn admission_record(admitted: &Admitted, sealed_body: Vec<u8>) -> store_v1::Admission {
    let event = &admitted.event;
    let answer = &admitted.answer;
    store_v1::Admission {
        event: Some(envelope(admitted)),
        outcome: Some(dossier::outcome_record(&event.outcome)),
        opening: event.opening.as_ref().map(dossier::opening_record),
        recipients: event.recipients.iter().map(PartyId::to_string).collect(),
        registry_version: event.registry_version,
        certificate_sha256: admitted.certificate.as_bytes().to_vec(),
        signature: admitted.signature.to_vec(),
        receipt: answer.receipt.to_vec(),
        receipt_signature: answer.signature.to_vec(),
        gateway_certificate_sha256: answer.certificate.as_bytes().to_vec(),
        key_id: admitted.key_id,
        sealed_body,
        warnings: answer
            .warnings
            .iter()
            .map(|(reason, field)| store_v1::StoredWarning { reason: reason.clone(), field: field.clone() })
            .collect(),
        first_admitted_at_unix_ms: admitted.first_admitted_at.map(unix_ms),
    }
}

/// The clear envelope of an event, as every party that may know of the dossier sees it.
fn envelope(admitted: &Admitted) -> v1::Event {
    let event = &admitted.event;
    v1::Event {
        dossier_code: event.code.to_string(),
        sequence: event.sequence,
        kind: event.act.number(),
        status: event.status.number().into(),
        hand_over: values::hand_over_number(event.hand_over),
        party: event.by.to_string(),
        role: event.role.number(),
        actor: event.actor.to_string(),
        occurred_at: Some(timestamp(event.occurred_at)),
        admitted_at: Some(values::machine_timestamp(admitted.admitted_at)),
        due_at: event.outcome.clock.due().map(values::timestamp_of_civil),
        system: admitted.system.clone(),
        request_key: admitted.request_key.to_string(),
        body_sha256: Bytes::copy_from_slice(admitted.body_sha256.as_bytes()),
        traceparent: admitted.traceparent.clone().unwrap_or_default(),
    }
}

fn admitted(stored: &store_v1::Admission) -> Result<Admitted, Unreadable> {
    let envelope = stored.event.as_ref().ok_or(Unreadable("event"))?;
    let outcome = stored.outcome.as_ref().ok_or(Unreadable("outcome"))?;
    let event = Event {
        code: parse("dossier_code", &envelope.dossier_code)?,
        sequence: envelope.sequence,
        act: Act::from_number(envelope.kind).ok_or(Unreadable("kind"))?,
        by: parse("party", &envelope.party)?,
        role: Role::from_number(envelope.role).ok_or(Unreadable("role"))?,
        actor: parse("actor", &envelope.actor)?,
        occurred_at: values::business_of("occurred_at", envelope.occurred_at.as_ref())?,
        status: status("status", envelope.status)?,
        hand_over: values::hand_over("hand_over", envelope.hand_over)?,
        opening: stored.opening.as_ref().map(dossier::opening).transpose()?,
        outcome: dossier::outcome(outcome)?,
        recipients: stored.recipients.iter().map(|party| parse("recipients", party)).collect::<Result<_, _>>()?,
        registry_version: stored.registry_version,
    };
    let admitted_at = envelope.admitted_at.ok_or(Unreadable("admitted_at"))?;
    Ok(Admitted {
        event,
        request_key: parse("request_key", &envelope.request_key)?,
        body_sha256: digest("body_sha256", &envelope.body_sha256)?,
        signature: Bytes::copy_from_slice(&stored.signature),
        certificate: digest("certificate_sha256", &stored.certificate_sha256)?,
        system: envelope.system.clone(),
        traceparent: parse_some("traceparent", &envelope.traceparent)?,
        admitted_at: SystemTime::try_from(admitted_at).map_err(|_| Unreadable("admitted_at"))?,
        answer: answer(stored)?,
        key_id: stored.key_id,
        first_admitted_at: stored.first_admitted_at_unix_ms.map(system_time),
    })
}

/// The answer that was given with an admission.
pub(super) fn answer(stored: &store_v1::Admission) -> Result<Answer, Unreadable> {
    Ok(Answer {
        receipt: Bytes::copy_from_slice(&stored.receipt),
        signature: Bytes::copy_from_slice(&stored.receipt_signature),
        certificate: digest("gateway_certificate_sha256", &stored.gateway_certificate_sha256)?,
        warnings: stored.warnings.iter().map(|warning| (warning.reason.clone(), warning.field.clone())).collect(),
    })
}

/// An admission as its readers get it, with a body or without.
pub(super) fn recorded(stored: store_v1::Admission, body: Option<Bytes>, erased: bool) -> Result<Recorded, Unreadable> {
    Ok(Recorded {
        event: stored.event.ok_or(Unreadable("event"))?,
        body,
        erased,
        signature: stored.signature.into(),
        certificate: digest("certificate_sha256", &stored.certificate_sha256)?,
    })
}

/// A status by its number.
fn status(field: &'static str, number: i32) -> Result<Status, Unreadable> {
    u32::try_from(number).ok().and_then(|number| Status::try_from(number).ok()).ok_or(Unreadable(field))
}

#[cfg(test)]
mod tests;
