//! The records of the spool: from a stored message to the [`Change`] it is, and back.

use std::sync::Arc;

use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};
use lgsp_proto::v1;
use prost::Message;

use super::offline::Offline;
use super::state::{Answered, CallId, CallKind, Change, DeliveryId, Known, Queued};
use crate::digest::sha256;
use crate::link::documents_of;

/// A record that does not say what it should. It was sealed by us, so this program is older than the one that wrote it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the record is of a kind this program does not know")]
pub(crate) struct Unknown;

/// What a record means for the state.
pub(crate) fn change(record: &stored::SpoolRecord) -> Result<Change, Unknown> {
    Ok(match record.kind.as_ref().ok_or(Unknown)? {
        Kind::Queued(queued) => Change::Queued(Queued {
            id: call_id(&queued.acting_party, &queued.request_key),
            kind: match queued.call() {
                stored::CallKind::Submit => CallKind::Submit,
                stored::CallKind::Record => CallKind::Record,
                stored::CallKind::Unspecified => return Err(Unknown),
            },
            dossier: (!queued.dossier_code.is_empty()).then(|| queued.dossier_code.as_str().into()),
            body_sha256: sha256(&queued.body),
            documents: documents_of(queued.call() == stored::CallKind::Submit, &queued.body)
                .into_iter()
                .map(|document| document.sha256)
                .collect(),
            at_ms: queued.queued_at_unix_ms,
            offline: queued.offline.as_ref().map(|offline| Arc::new(Offline::read(offline, &queued.body))),
        }),
        Kind::Answered(answered) => {
            use stored::answered::Outcome;
            let receipt = match answered.outcome.as_ref().ok_or(Unknown)? {
                Outcome::Admitted(response) => Some(receipt_of(response).ok_or(Unknown)?),
                Outcome::Refused(_) => None,
            };
            let authority = receipt.as_ref().map(|receipt| receipt.competent_authority.as_str());
            Change::Answered(Answered {
                id: call_id(&answered.acting_party, &answered.request_key),
                admitted: receipt.is_some(),
                sequence: receipt.as_ref().map_or(0, |receipt| receipt.sequence),
                authority: authority.filter(|authority| !authority.is_empty()).map(Into::into),
                dossier: receipt.map(|receipt| receipt.dossier_code.into()),
                at_ms: answered.answered_at_unix_ms,
            })
        }
        Kind::TakenOver(taken_over) => {
            let delivery = v1::Delivery::decode(&taken_over.delivery[..]).map_err(|_| Unknown)?;
            let reference = delivery.r#ref.ok_or(Unknown)?;
            Change::TakenOver {
                id: DeliveryId::from(&reference),
                at_ms: taken_over.taken_over_at_unix_ms,
                known: Known { fingerprint: fingerprint(delivery.event.as_ref()), renamed: taken_over.renamed },
            }
        }
        Kind::HandedOver(handed_over) => Change::HandedOver {
            id: delivery_id(&handed_over.party, &handed_over.dossier_code, handed_over.sequence),
            at_ms: handed_over.handed_over_at_unix_ms,
            known: Known { fingerprint: handed_over.fingerprint, renamed: handed_over.renamed },
            untold: handed_over.untold,
        },
        Kind::Told(told) => Change::Told { id: call_id(&told.acting_party, &told.request_key) },
        Kind::Confirmed(confirmed) => {
            Change::Confirmed { id: delivery_id(&confirmed.party, &confirmed.dossier_code, confirmed.sequence) }
        }
        Kind::ServedAnew(served) => {
            Change::ServedAnew { id: delivery_id(&served.party, &served.dossier_code, served.sequence) }
        }
        Kind::Restated(_) => Change::Restated,
        Kind::Returned(returned) => Change::Returned {
            id: delivery_id(&returned.party, &returned.dossier_code, returned.sequence),
            reason: returned.reason.as_str().into(),
            permanent: returned.permanent,
            given_back: returned.given_back,
        },
        Kind::BlockLeased(leased) => Change::BlockLeased(leased.clone()),
        Kind::EpochSeen(seen) => Change::EpochSeen { epoch: seen.epoch },
        Kind::ExceptionHandled(handled) => Change::ExceptionHandled {
            id: call_id(&handled.acting_party, &handled.request_key),
            at_ms: handled.at_unix_ms,
        },
    })
}

/// Tells an event from another one of the same name: the beginning of its body's digest; 0 when it has none.
pub(crate) fn fingerprint(event: Option<&v1::RecordedEvent>) -> u64 {
    let event = event.and_then(|recorded| recorded.event.as_ref());
    event.and_then(|event| event.body_sha256.first_chunk::<8>()).map_or(0, |first| u64::from_be_bytes(*first))
}

/// What the gateway signed about what it admitted.
fn receipt_of(response: &[u8]) -> Option<v1::Receipt> {
    let signed = v1::SubmitResponse::decode(response).ok()?.receipt?;
    v1::Receipt::decode(signed.receipt).ok()
}

pub(crate) fn call_id(party: &str, key: &str) -> CallId {
    CallId { party: party.into(), key: key.into() }
}

fn delivery_id(party: &str, dossier: &str, sequence: u32) -> DeliveryId {
    DeliveryId { party: party.into(), dossier: dossier.into(), sequence }
}

impl From<&v1::DeliveryRef> for DeliveryId {
    fn from(reference: &v1::DeliveryRef) -> Self {
        delivery_id(&reference.party, &reference.dossier_code, reference.sequence)
    }
}

impl From<&DeliveryId> for v1::DeliveryRef {
    fn from(id: &DeliveryId) -> Self {
        Self { party: id.party.to_string(), dossier_code: id.dossier.to_string(), sequence: id.sequence }
    }
}
