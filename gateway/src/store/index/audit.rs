//! The audit: which records are administration, and what of them an entry shows.
//!
//! Every kind of record is decided about here, so that one that is added cannot be forgotten. An entry is derived and never
//! stored by itself: nothing can be added to the audit, changed in it or taken out of it but by a record of the journal.

use data_encoding::HEXLOWER;
use lgsp_proto::store_v1::{Audited, AuditedFact};
use lgsp_proto::types::{PartyId, Sha256Digest};
use lgsp_proto::v1::{AuditKind, RegistryVersion};

use super::super::codec::{EpochStarted, Fact, unix_ms};
use super::super::{
    CertificateIssued, CertificateRevoked, DossiersArchived, Erasure, Exported, GivenBack, GivenBackWhy, Handled,
    IssuedOver, OWN_NAME, ParkedAction, TokenIssued, TokenWithdrawn,
};

/// The entry that a record makes; `None` for the business of the bus, which is told with its dossiers and deliveries.
pub(super) fn entry(fact: &Fact) -> Option<Audited> {
    match fact {
        Fact::Admitted(_)
        | Fact::Acknowledged(_)
        | Fact::DocumentStored(_)
        | Fact::NumbersLeased(_)
        // Listed and counted by itself: there are far more of them than of acts.
        | Fact::Queried(_)
        | Fact::MatterLapsed(_)
        | Fact::DossierParked(_) => None,
        Fact::RegistryApplied(record) => Some(registry(&record.version)),
        Fact::CertificateSeen { digest, system, at, .. } => Some(Audited {
            at_unix_ms: at.map_or(0, unix_ms),
            subject: system.clone(),
            system: system.clone(),
            facts: facts([("sha256", digest.to_string())]),
            ..of(AuditKind::CertificateSeen)
        }),
        Fact::TokenIssued(issued) => Some(token_issued(issued)),
        Fact::TokenWithdrawn(withdrawn) => Some(token_withdrawn(withdrawn)),
        Fact::CertificateIssued(issued) => Some(issued_certificate(issued)),
        Fact::CertificateRevoked(revoked) => Some(revoked_keys(revoked)),
        Fact::DossierErased(erasure) => Some(erased(erasure)),
        Fact::GivenBack(given_back) => released(given_back),
        Fact::ParkedHandled(handled) => Some(decided(handled)),
        Fact::EpochStarted(started) => Some(epoch(started)),
        Fact::DossiersArchived(archived) => Some(archive(archived)),
        Fact::Exported(exported) => Some(export(exported)),
    }
}

fn of(kind: AuditKind) -> Audited {
    Audited { kind: kind.into(), ..Audited::default() }
}

/// Facts that say something, in the order given.
fn facts<'a>(named: impl IntoIterator<Item = (&'a str, String)>) -> Vec<AuditedFact> {
    let named = named.into_iter().filter(|(_, value)| !value.is_empty());
    named.map(|(name, value)| AuditedFact { name: name.to_owned(), value }).collect()
}

fn registry(version: &RegistryVersion) -> Audited {
    let at = version.applied_at.unwrap_or_default();
    let again = (version.rolled_back_to != 0).then(|| version.rolled_back_to.to_string());
    Audited {
        at_unix_ms: at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos / 1_000_000)),
        acting_party: version.acting_party.clone(),
        actor: version.actor.clone(),
        system: version.applied_by_system.clone(),
        subject: "registry".to_owned(),
        facts: facts([
            ("version", version.number.to_string()),
            ("rolled_back_to", again.unwrap_or_default()),
            ("accepted_lock_out", version.accepted_lock_out.clone()),
            ("sha256", HEXLOWER.encode(&version.sha256)),
        ]),
        ..of(AuditKind::RegistryApplied)
    }
}

fn token_issued(issued: &TokenIssued) -> Audited {
    Audited {
        at_unix_ms: unix_ms(issued.at),
        acting_party: issued.party.to_string(),
        actor: issued.actor.to_string(),
        system: issued.system.clone(),
        subject: issued.for_system.clone(),
        facts: facts([
            ("token_id", HEXLOWER.encode(&issued.id)),
            ("expires_at_unix_ms", unix_ms(issued.expires_at).to_string()),
        ]),
        ..of(AuditKind::TokenIssued)
    }
}

fn token_withdrawn(withdrawn: &TokenWithdrawn) -> Audited {
    Audited {
        at_unix_ms: unix_ms(withdrawn.at),
        acting_party: withdrawn.party.to_string(),
        actor: withdrawn.actor.to_string(),
        system: withdrawn.system.clone(),
        subject: HEXLOWER.encode(&withdrawn.id),
        ..of(AuditKind::TokenWithdrawn)
    }
}

/// The system did it itself, by a token that somebody gave it or by the certificate it had.
fn issued_certificate(issued: &CertificateIssued) -> Audited {
    let over = match &issued.over {
        IssuedOver::Token(id) => ("token_id", HEXLOWER.encode(id)),
        IssuedOver::Renewal(certificate) => ("renews_sha256", certificate.to_string()),
    };
    Audited {
        at_unix_ms: unix_ms(issued.at),
        system: issued.for_system.clone(),
        subject: issued.for_system.clone(),
        facts: facts([("sha256", issued.digest.to_string()), over]),
        ..of(AuditKind::CertificateIssued)
    }
}

fn revoked_keys(revoked: &CertificateRevoked) -> Audited {
    let joined = |digests: &[Sha256Digest]| digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let keys = joined(&revoked.keys);
    Audited {
        at_unix_ms: unix_ms(revoked.at),
        acting_party: revoked.party.to_string(),
        actor: revoked.actor.to_string(),
        system: revoked.system.clone(),
        // A key that was never seen has no other name.
        subject: revoked.for_system.clone().unwrap_or_else(|| keys.clone()),
        ground: revoked.ground.clone(),
        facts: facts([("key_sha256", keys), ("certificate_sha256", joined(&revoked.certificates))]),
        ..of(AuditKind::CertificateRevoked)
    }
}

fn erased(erasure: &Erasure) -> Audited {
    Audited {
        at_unix_ms: unix_ms(erasure.at),
        acting_party: erasure.party.to_string(),
        actor: erasure.actor.to_string(),
        system: erasure.system.clone(),
        subject: erasure.code.to_string(),
        ground: erasure.ground.clone(),
        facts: facts([("keys", erasure.key_ids.len().to_string())]),
        ..of(AuditKind::DossierErased)
    }
}

/// Only what a person took from an installation: what systems give back by themselves is the ordinary course of deliveries.
fn released(given_back: &GivenBack) -> Option<Audited> {
    let GivenBackWhy::Released { acting_party, actor, system, ground } = &given_back.why else { return None };
    let holder = &given_back.holder.installation;
    Some(Audited {
        at_unix_ms: unix_ms(given_back.at),
        acting_party: acting_party.to_string(),
        actor: actor.to_string(),
        system: system.clone(),
        subject: given_back.party.to_string(),
        ground: ground.clone(),
        facts: facts([
            ("from_system", holder.system.clone()),
            ("from_instance", holder.instance.clone()),
            ("deliveries", given_back.deliveries.len().to_string()),
        ]),
        ..of(AuditKind::DeliveriesReleased)
    })
}

/// The ground stays sealed with the dossier: a clerk wrote it in words.
fn decided(handled: &Handled) -> Audited {
    let action = match handled.action {
        ParkedAction::Retry => "retry",
        ParkedAction::Skip => "skip",
    };
    Audited {
        at_unix_ms: unix_ms(handled.at),
        acting_party: handled.acting_party.to_string(),
        actor: handled.actor.to_string(),
        system: handled.system.clone(),
        subject: handled.code.to_string(),
        facts: facts([
            ("action", action.to_owned()),
            ("inbox", handled.party.to_string()),
            ("sequence", handled.sequence.to_string()),
        ]),
        ..of(AuditKind::DeliveryHandled)
    }
}

fn epoch(started: &EpochStarted) -> Audited {
    let days = &started.lost.days;
    Audited {
        at_unix_ms: unix_ms(started.at),
        actor: started.actor.to_string(),
        system: OWN_NAME.to_owned(),
        subject: "books".to_owned(),
        facts: facts([
            ("epoch", started.number.to_string()),
            ("backup", HEXLOWER.encode(&started.backup)),
            ("numbers_from", started.lost.from.to_string()),
            ("numbers_days", format!("{} {}", days.start(), days.end())),
        ]),
        ..of(AuditKind::EpochStarted)
    }
}

fn archive(archived: &DossiersArchived) -> Audited {
    let codes: Vec<&str> = archived.codes.iter().map(|code| code.as_str()).collect();
    Audited {
        at_unix_ms: unix_ms(archived.at),
        acting_party: archived.party.as_ref().map(PartyId::to_string).unwrap_or_default(),
        actor: archived.actor.to_string(),
        system: archived.system.clone(),
        subject: archived.archive.clone(),
        facts: facts([
            ("dossiers", codes.join(" ")),
            ("after_days", archived.after_days.to_string()),
            ("sha256", archived.sha256.to_string()),
        ]),
        ..of(AuditKind::DossiersArchived)
    }
}

fn export(exported: &Exported) -> Audited {
    Audited {
        at_unix_ms: unix_ms(exported.at),
        acting_party: exported.party.as_ref().map(PartyId::to_string).unwrap_or_default(),
        actor: exported.actor.to_string(),
        system: exported.system.clone(),
        subject: exported.what.clone(),
        facts: facts([("identity", HEXLOWER.encode(&exported.identity))]),
        ..of(AuditKind::Exported)
    }
}
