//! What the bus answers, as JSON for programs, in the words of the adapters' REST interface.

use data_encoding::{BASE64, HEXLOWER};
use lgsp_adapters::link::{Admitted, Proof};
use lgsp_proto::types::{IntakeChannel, ReturnChannel, Status};
use lgsp_proto::v1;
use serde_json::{Value, json};

use crate::moment::rfc3339;

/// How a dossier stands.
pub(super) fn dossier(dossier: &v1::Dossier) -> Value {
    let clock = dossier.clock.as_ref();
    json!({
        "code": dossier.code,
        "aliases": dossier.aliases,
        "procedure_code": dossier.procedure_code,
        "case_code": text(&dossier.case_code),
        "locality": dossier.locality,
        "intake_channel": intake(dossier.intake_channel),
        "return_channel": hand_back(dossier.return_channel),
        "support_point": text(&dossier.support_point),
        "intake_desk": dossier.intake_desk,
        "competent_authority": dossier.competent_authority,
        "return_desk": dossier.return_desk,
        "non_territorial": dossier.non_territorial,
        "hand_over": hand_over(dossier.hand_over),
        "status": status(dossier.status).map(Status::as_str),
        "status_number": dossier.status,
        "status_vi": status(dossier.status).map(Status::vietnamese),
        "sequence": dossier.sequence,
        "received_at": rfc3339(dossier.received_at.as_ref()),
        "clock": clock.map(|clock| json!({
            "original_due_at": rfc3339(clock.original_due_at.as_ref()),
            "promised_at": rfc3339(clock.promised_at.as_ref()),
            "due_at": rfc3339(clock.due_at.as_ref()),
            "extended": clock.extended,
            "pauses": clock.pauses.iter().map(pause).collect::<Value>(),
            "acceptance_due_at": rfc3339(clock.acceptance_due_at.as_ref()),
            "late": clock.late,
        })),
        "supplement_until": rfc3339(dossier.supplement_until.as_ref()),
        "resolved_at": rfc3339(dossier.resolved_at.as_ref()),
        "returned_at": rfc3339(dossier.returned_at.as_ref()),
        "registry_version": dossier.registry_version,
        "documents": dossier.documents.iter().map(|document| json!({
            "sha256": HEXLOWER.encode(&document.sha256),
            "size_bytes": document.size_bytes,
            "media_type": document.media_type,
        })).collect::<Value>(),
        "route_rule": dossier.route_rule,
        "updated_at": rfc3339(dossier.updated_at.as_ref()),
    })
}

/// One admitted fact about a dossier.
pub(super) fn event(event: &v1::Event) -> Value {
    json!({
        "dossier_code": event.dossier_code,
        "sequence": event.sequence,
        "type": kind(event.kind),
        "status": status(event.status).map(Status::as_str),
        "hand_over": hand_over(event.hand_over),
        "party": event.party,
        "role": v1::Role::try_from(event.role).ok().map(|role| word(role.as_str_name(), "ROLE_")),
        "actor": event.actor,
        "occurred_at": rfc3339(event.occurred_at.as_ref()),
        "admitted_at": rfc3339(event.admitted_at.as_ref()),
        "due_at": rfc3339(event.due_at.as_ref()),
        "system": event.system,
        "request_key": event.request_key,
        "body_sha256": HEXLOWER.encode(&event.body_sha256),
    })
}

/// A receipt with its proof.
pub(super) fn admitted(admitted: &Admitted) -> Value {
    let (receipt, signed) = (&admitted.receipt, &admitted.signed);
    let warning = |warning: &v1::Warning| {
        json!({
            "reason": warning.reason, "field": text(&warning.field),
            "message_vi": warning.message_vi, "message_en": warning.message_en,
        })
    };
    json!({
        "dossier_code": receipt.dossier_code,
        "sequence": receipt.sequence,
        "type": kind(receipt.kind),
        "status": status(receipt.status).map(Status::as_str),
        "request_key": receipt.request_key,
        "acting_party": receipt.acting_party,
        "body_sha256": HEXLOWER.encode(&receipt.body_sha256),
        "admitted_at": rfc3339(receipt.admitted_at.as_ref()),
        "occurred_at": rfc3339(receipt.occurred_at.as_ref()),
        "competent_authority": receipt.competent_authority,
        "due_at": rfc3339(receipt.due_at.as_ref()),
        "acceptance_due_at": rfc3339(receipt.acceptance_due_at.as_ref()),
        "registry_version": receipt.registry_version,
        "non_territorial": receipt.non_territorial,
        "gateway": receipt.gateway,
        "signed_base64": BASE64.encode(&signed.receipt),
        "signature_base64": BASE64.encode(&signed.signature),
        "certificate_sha256": HEXLOWER.encode(&signed.certificate_sha256),
        "signature_checked": admitted.proof == Proof::Verified,
        "repeated": admitted.repeated,
        "warnings": admitted.warnings.iter().map(warning).collect::<Value>(),
    })
}

/// Which authority is competent, and why.
pub(super) fn route(route: &v1::ExplainRouteResponse) -> Value {
    let step = |step: &v1::RouteStep| json!({ "rule": step.rule, "matched": step.matched, "why_vi": step.why_vi, "why_en": step.why_en });
    json!({
        "competent_authority": text(&route.competent_authority),
        "competent_authority_name": text(&route.competent_authority_name),
        "rule": text(&route.rule),
        "steps": route.steps.iter().map(step).collect::<Value>(),
        "no_route": route.no_route.as_ref().map(|none| json!({
            "reason": none.reason, "message_vi": none.message_vi, "message_en": none.message_en,
        })),
        "registry_version": Some(route.registry_version).filter(|version| *version > 0),
    })
}

fn pause(pause: &v1::Pause) -> Value {
    let cause = v1::PauseCause::try_from(pause.cause).ok();
    json!({
        "cause": cause.map(|cause| word(cause.as_str_name(), "PAUSE_CAUSE_")),
        "from": rfc3339(pause.from.as_ref()),
        "to": rfc3339(pause.to.as_ref()),
    })
}

fn kind(number: i32) -> Option<String> {
    v1::EventKind::try_from(number).ok().map(|kind| word(kind.as_str_name(), "EVENT_KIND_"))
}

fn status(number: i32) -> Option<Status> {
    u32::try_from(number).ok().and_then(|number| Status::try_from(number).ok())
}

fn intake(number: i32) -> Option<&'static str> {
    u32::try_from(number).ok().and_then(|number| IntakeChannel::try_from(number).ok()).map(IntakeChannel::as_str)
}

/// The message's numbers are one more than the portal's.
fn hand_back(number: i32) -> Option<&'static str> {
    let portal = number.checked_sub(1).and_then(|number| u32::try_from(number).ok())?;
    ReturnChannel::try_from(portal).ok().map(ReturnChannel::as_str)
}

fn hand_over(number: i32) -> Option<String> {
    let state = v1::HandOver::try_from(number).ok().filter(|state| *state != v1::HandOver::Unspecified)?;
    Some(word(state.as_str_name(), "HAND_OVER_"))
}

/// `EVENT_KIND_FEE_PAID` is `fee_paid`.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
