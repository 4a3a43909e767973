//! Queries, as records and back.

use bytes::Bytes;
use lgsp_proto::store_v1;
use lgsp_proto::types::{PartyId, Sha256Digest};

use super::super::queries::{MatterLapsed, Queried, QueryId, QueryProof};
use super::{Unreadable, digest, parse, parse_some, system_time, unix_ms};

/// The data that a query's sealed content is bound to.
pub(in crate::store) fn content_context(id: &QueryId) -> Vec<u8> {
    [b"query/", &id[..]].concat()
}

pub(super) fn record(queried: &Queried, sealed: Vec<u8>) -> store_v1::Queried {
    let bytes = |digest: &Sha256Digest| digest.as_bytes().to_vec();
    let proof = queried.proof.as_ref();
    store_v1::Queried {
        query_id: queried.id.to_vec(),
        service: queried.service.clone(),
        version: queried.version,
        purpose: queried.purpose.clone(),
        procedure_code: queried.procedure.as_ref().map(ToString::to_string).unwrap_or_default(),
        dossier_code: queried.dossier.as_ref().map(ToString::to_string).unwrap_or_default(),
        intake_key_sha256: queried.intake.as_ref().map(bytes).unwrap_or_default(),
        acting_party: queried.party.to_string(),
        actor: queried.actor.to_string(),
        system: queried.system.clone(),
        connector: queried.connector.clone(),
        fields: queried.fields.clone(),
        reason: queried.refused.clone().unwrap_or_default(),
        asked_at_unix_ms: unix_ms(queried.asked_at),
        ended_at_unix_ms: unix_ms(queried.ended_at),
        reply_sha256: queried.reply_sha256.as_ref().map(bytes).unwrap_or_default(),
        subject_hash: queried.subject.map(Vec::from).unwrap_or_default(),
        registry_version: queried.registry_version,
        traceparent: queried.traceparent.clone().unwrap_or_default(),
        answer: proof.map(|proof| proof.answer.to_vec()).unwrap_or_default(),
        answer_signature: proof.map(|proof| proof.signature.to_vec()).unwrap_or_default(),
        gateway_certificate_sha256: proof.map(|proof| bytes(&proof.certificate)).unwrap_or_default(),
        key_id: queried.key_id,
        sealed_content: sealed,
    }
}

pub(in crate::store) fn queried(stored: &store_v1::Queried) -> Result<Queried, Unreadable> {
    let some_digest = |name, bytes: &Vec<u8>| (!bytes.is_empty()).then(|| digest(name, bytes)).transpose();
    let subject = match stored.subject_hash.as_slice() {
        [] => None,
        hash => Some(hash.try_into().map_err(|_| Unreadable("subject_hash"))?),
    };
    let certificate = some_digest("gateway_certificate_sha256", &stored.gateway_certificate_sha256)?;
    Ok(Queried {
        id: stored.query_id.as_slice().try_into().map_err(|_| Unreadable("query_id"))?,
        service: stored.service.clone(),
        version: stored.version,
        purpose: stored.purpose.clone(),
        procedure: parse_some("procedure_code", &stored.procedure_code)?,
        dossier: parse_some("dossier_code", &stored.dossier_code)?,
        intake: some_digest("intake_key_sha256", &stored.intake_key_sha256)?,
        party: parse("acting_party", &stored.acting_party)?,
        actor: parse("actor", &stored.actor)?,
        system: stored.system.clone(),
        connector: stored.connector.clone(),
        fields: stored.fields.clone(),
        refused: (!stored.reason.is_empty()).then(|| stored.reason.clone()),
        asked_at: system_time(stored.asked_at_unix_ms),
        ended_at: system_time(stored.ended_at_unix_ms),
        reply_sha256: some_digest("reply_sha256", &stored.reply_sha256)?,
        subject,
        registry_version: stored.registry_version,
        traceparent: (!stored.traceparent.is_empty()).then(|| stored.traceparent.clone()),
        proof: certificate.map(|certificate| QueryProof {
            answer: Bytes::copy_from_slice(&stored.answer),
            signature: Bytes::copy_from_slice(&stored.answer_signature),
            certificate,
        }),
        key_id: stored.key_id,
    })
}

pub(super) fn lapsed_record(lapsed: &MatterLapsed) -> store_v1::MatterLapsed {
    store_v1::MatterLapsed {
        party: lapsed.party.to_string(),
        intake_key_sha256: lapsed.intake.as_bytes().to_vec(),
        key_id: lapsed.key_id,
        at_unix_ms: unix_ms(lapsed.at),
    }
}

pub(super) fn lapsed(stored: &store_v1::MatterLapsed) -> Result<MatterLapsed, Unreadable> {
    Ok(MatterLapsed {
        party: parse::<PartyId>("party", &stored.party)?,
        intake: digest("intake_key_sha256", &stored.intake_key_sha256)?,
        key_id: stored.key_id,
        at: system_time(stored.at_unix_ms),
    })
}
