//! What a dossier was opened with, what an event set, and how the dossier stands.

use lgsp_domain::dossier::{AttachedDocument, Dossier, Opening, Places};
use lgsp_domain::event::Outcome;
use lgsp_proto::store_v1;
use lgsp_proto::types::{Alias, BusinessTime, DossierCode, PartyId, Status};

use super::values::{
    business, business_some, hand_over, hand_over_number, intake_channel, intake_channel_number, number_source,
    number_source_number, parse, parse_some, return_channel, return_channel_number,
};
use super::{Unreadable, clock, digest, status};

/// A dossier as the index keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Held {
    pub(in super::super) dossier: Dossier,
    /// The data key that seals the bodies of its events.
    pub(in super::super) key_id: u64,
}

pub(in super::super) fn state_of(held: &Held) -> store_v1::DossierState {
    let dossier = &held.dossier;
    store_v1::DossierState {
        opening: Some(opening_record(&dossier.opening)),
        status: dossier.status.number().into(),
        resume_to: status_number(dossier.resume_to),
        hand_over: hand_over_number(dossier.hand_over),
        sequence: dossier.sequence,
        clock: Some(clock::clock_record(&dossier.clock)),
        supplement_until: dossier.supplement_until.map(BusinessTime::unix_seconds),
        resolved_at: dossier.resolved_at.map(BusinessTime::unix_seconds),
        returned_at: dossier.returned_at.map(BusinessTime::unix_seconds),
        updated_at: dossier.updated_at.unix_seconds(),
        registry_version: dossier.registry_version,
        documents: dossier.documents.iter().map(document_record).collect(),
        informed: dossier.informed.iter().map(PartyId::to_string).collect(),
        key_id: held.key_id,
    }
}

pub(in super::super) fn held(code: &DossierCode, stored: &store_v1::DossierState) -> Result<Held, Unreadable> {
    let dossier = Dossier {
        code: code.clone(),
        opening: opening(stored.opening.as_ref().ok_or(Unreadable("opening"))?)?,
        status: status("status", stored.status)?,
        resume_to: status_some("resume_to", stored.resume_to)?,
        hand_over: hand_over("hand_over", stored.hand_over)?,
        sequence: stored.sequence,
        clock: clock::clock(stored.clock.as_ref().ok_or(Unreadable("clock"))?)?,
        supplement_until: business_some("supplement_until", stored.supplement_until)?,
        resolved_at: business_some("resolved_at", stored.resolved_at)?,
        returned_at: business_some("returned_at", stored.returned_at)?,
        updated_at: business("updated_at", stored.updated_at)?,
        registry_version: stored.registry_version,
        documents: documents(&stored.documents)?,
        informed: stored.informed.iter().map(|party| parse("informed", party)).collect::<Result<_, _>>()?,
    };
    Ok(Held { dossier, key_id: stored.key_id })
}

pub(super) fn opening_record(opening: &Opening) -> store_v1::Opening {
    let places = &opening.places;
    store_v1::Opening {
        aliases: opening.aliases.iter().map(Alias::to_string).collect(),
        procedure_code: opening.procedure.to_string(),
        case_code: opening.case.as_ref().map(ToString::to_string).unwrap_or_default(),
        locality: opening.locality.to_string(),
        intake_channel: intake_channel_number(opening.intake_channel),
        return_channel: return_channel_number(opening.return_channel),
        support_point: places.support_point.as_ref().map(PartyId::to_string).unwrap_or_default(),
        intake_desk: places.intake_desk.to_string(),
        competent_authority: places.competent_authority.to_string(),
        return_desk: places.return_desk.to_string(),
        non_territorial: opening.non_territorial,
        received_at: opening.received_at.unix_seconds(),
        acceptance_due: opening.acceptance_due.map(BusinessTime::unix_seconds),
        route_rule: opening.route_rule.clone(),
        number_source: number_source_number(opening.number_source),
    }
}

pub(super) fn opening(stored: &store_v1::Opening) -> Result<Opening, Unreadable> {
    Ok(Opening {
        aliases: stored.aliases.iter().map(|alias| parse("aliases", alias)).collect::<Result<_, _>>()?,
        procedure: parse("procedure_code", &stored.procedure_code)?,
        case: parse_some("case_code", &stored.case_code)?,
        locality: parse("locality", &stored.locality)?,
        intake_channel: intake_channel("intake_channel", stored.intake_channel)?,
        return_channel: return_channel("return_channel", stored.return_channel)?,
        places: Places {
            support_point: parse_some("support_point", &stored.support_point)?,
            intake_desk: parse("intake_desk", &stored.intake_desk)?,
            competent_authority: parse("competent_authority", &stored.competent_authority)?,
            return_desk: parse("return_desk", &stored.return_desk)?,
        },
        non_territorial: stored.non_territorial,
        received_at: business("received_at", stored.received_at)?,
        acceptance_due: business_some("acceptance_due", stored.acceptance_due)?,
        route_rule: stored.route_rule.clone(),
        number_source: number_source("number_source", stored.number_source)?,
    })
}

pub(super) fn outcome_record(outcome: &Outcome) -> store_v1::Outcome {
    store_v1::Outcome {
        clock: Some(clock::clock_record(&outcome.clock)),
        supplement_until: outcome.supplement_until.map(BusinessTime::unix_seconds),
        resolved_at: outcome.resolved_at.map(BusinessTime::unix_seconds),
        returned_at: outcome.returned_at.map(BusinessTime::unix_seconds),
        resume_to: status_number(outcome.resume_to),
        documents: outcome.documents.iter().map(document_record).collect(),
    }
}

pub(super) fn outcome(stored: &store_v1::Outcome) -> Result<Outcome, Unreadable> {
    Ok(Outcome {
        clock: clock::clock(stored.clock.as_ref().ok_or(Unreadable("clock"))?)?,
        resume_to: status_some("resume_to", stored.resume_to)?,
        supplement_until: business_some("supplement_until", stored.supplement_until)?,
        resolved_at: business_some("resolved_at", stored.resolved_at)?,
        returned_at: business_some("returned_at", stored.returned_at)?,
        documents: documents(&stored.documents)?,
    })
}

fn document_record(document: &AttachedDocument) -> store_v1::DocumentAttached {
    store_v1::DocumentAttached {
        sha256: document.sha256.as_bytes().to_vec(),
        size_bytes: document.size_bytes,
        media_type: document.media_type.to_string(),
        document_id: document.document_id,
    }
}

fn documents(stored: &[store_v1::DocumentAttached]) -> Result<Vec<AttachedDocument>, Unreadable> {
    let document = |stored: &store_v1::DocumentAttached| {
        Ok(AttachedDocument {
            sha256: digest("sha256", &stored.sha256)?,
            size_bytes: stored.size_bytes,
            media_type: parse("media_type", &stored.media_type)?,
            document_id: stored.document_id,
        })
    };
    stored.iter().map(document).collect()
}

fn status_number(status: Option<Status>) -> i32 {
    status.map_or(0, |status| status.number().into())
}

fn status_some(field: &'static str, number: i32) -> Result<Option<Status>, Unreadable> {
    if number == 0 { Ok(None) } else { status(field, number).map(Some) }
}
