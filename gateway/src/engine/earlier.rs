//! What was admitted in an earlier epoch and comes back: the books were restored from a backup, and its sender has the receipt.
//!
//! A receipt is the gateway's own word, so it is taken for what it says: which code, which number of the event, when. Everything
//! else is decided anew by the registry in force. Invariant: what comes back takes exactly the place its receipt names, or none.

use std::time::SystemTime;

use lgsp_certs::{Purpose, VerifyingKey};
use lgsp_domain::decide::Decision;
use lgsp_domain::dossier::Dossier;
use lgsp_proto::types::{DossierCode, PartyId, RequestKey, Sha256Digest};
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use prost::Message as _;

use super::{Engine, read_failed};
use crate::store::{Answer, OWN_NAME};

/// A receipt that this gateway gave for the request that brings it.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    /// The code it names.
    pub(super) code: DossierCode,
    /// The number of the event.
    pub(super) sequence: u32,
    /// When it was first admitted.
    pub(super) admitted_at: SystemTime,
    receipt: v1::Receipt,
    signed: v1::SignedReceipt,
}

impl Earlier {
    /// The code that a receipt claims, before anything was checked: only good for holding lanes.
    pub(super) fn claimed_code(signed: &v1::SignedReceipt) -> Option<String> {
        v1::Receipt::decode(signed.receipt.clone()).ok().map(|receipt| receipt.dossier_code)
    }

    /// What `fresh` would say, in the words of the earlier receipt if they say the same: then both are in force.
    pub(super) fn answer(&self, fresh: Answer) -> Answer {
        let same = v1::Receipt::decode(&fresh.receipt[..])
            .is_ok_and(|receipt| timeless(receipt) == timeless(self.receipt.clone()));
        match Sha256Digest::try_from(&self.signed.certificate_sha256[..]) {
            Ok(certificate) if same => Answer {
                receipt: self.signed.receipt.clone(),
                signature: self.signed.signature.clone(),
                certificate,
                warnings: fresh.warnings,
            },
            _ => fresh,
        }
    }

    /// Whether an entry may take its place after what the dossier now holds.
    ///
    /// # Errors
    /// `EARLIER_EVENTS_MISSING` when others must come back first, `EPOCH_CONFLICT` when its place is taken.
    pub(super) fn fits(&self, dossier: &Dossier) -> Result<(), Refusal> {
        let next = dossier.sequence + 1;
        if self.sequence > next {
            return Err(self.missing().detail("next_sequence", next));
        }
        if self.sequence < next {
            Err(self.conflict(Wrong::new("trùng số của sự kiện khác", "another event has this number")))
        } else {
            Ok(())
        }
    }

    /// The refusal while what this builds on is not back.
    pub(super) fn missing(&self) -> Refusal {
        Refusal::new(Reason::EarlierEventsMissing).detail("dossier_code", &self.code).detail("sequence", self.sequence)
    }

    /// The refusal when its place is taken.
    pub(super) fn conflict(&self, problem: Wrong) -> Refusal {
        Refusal::new(Reason::EpochConflict)
            .field("earlier", problem)
            .detail("dossier_code", &self.code)
            .detail("sequence", self.sequence)
    }

    /// Sees to it that a decision takes the place the receipt names.
    ///
    /// # Errors
    /// `EPOCH_CONFLICT`.
    pub(super) fn confirm(&self, decision: Decision) -> Result<Decision, Refusal> {
        let event = &decision.event;
        if event.code == self.code && event.sequence == self.sequence && event.act.number() == self.receipt.kind {
            Ok(decision)
        } else {
            Err(self.conflict(Wrong::new("nêu sự kiện khác", "names another event")))
        }
    }
}

/// A receipt without what differs between two admissions of the same.
fn timeless(receipt: v1::Receipt) -> v1::Receipt {
    v1::Receipt { admitted_at: None, registry_version: 0, ..receipt }
}

impl Engine {
    /// Reads the earlier receipt that a request brings.
    ///
    /// # Errors
    /// `EARLIER_RECEIPT_INVALID` unless this gateway signed it, for this party, key and body.
    pub(super) async fn earlier(
        &self,
        signed: Option<&v1::SignedReceipt>,
        party: &PartyId,
        key: &RequestKey,
        body_sha256: &Sha256Digest,
    ) -> Result<Option<Earlier>, Refusal> {
        let Some(signed) = signed else { return Ok(None) };
        let invalid = |problem: Wrong| Refusal::new(Reason::EarlierReceiptInvalid).field("earlier", problem);
        let unreadable = || invalid(Wrong::new("không đọc được", "cannot be read"));
        let receipt = v1::Receipt::decode(signed.receipt.clone()).map_err(|_| unreadable())?;
        let code = receipt.dossier_code.parse().map_err(|_| unreadable())?;
        let certificate = Sha256Digest::try_from(&signed.certificate_sha256[..]).map_err(|_| unreadable())?;
        let admitted_at = receipt.admitted_at.and_then(|at| SystemTime::try_from(at).ok()).ok_or_else(unreadable)?;
        let of_this = receipt.acting_party == party.as_str()
            && receipt.request_key == key.as_str()
            && receipt.body_sha256 == body_sha256.as_bytes()[..];
        if !of_this {
            return Err(invalid(Wrong::new("được cấp cho yêu cầu khác", "was given for another request")));
        }
        let verifying = self
            .own_key(&certificate)
            .await?
            .ok_or_else(|| invalid(Wrong::new("không do trục này ký", "was not signed by this gateway")))?;
        let checked = verifying.verify(Purpose::Receipt, &signed.receipt, &signed.signature);
        checked.map_err(|_| invalid(Wrong::new("không do trục này ký", "was not signed by this gateway")))?;
        Ok(Some(Earlier { code, sequence: receipt.sequence, admitted_at, receipt, signed: signed.clone() }))
    }

    /// The key of a certificate that is, or was, this gateway's own.
    async fn own_key(&self, certificate: &Sha256Digest) -> Result<Option<VerifyingKey>, Refusal> {
        let (present, key) = self.inner.signer.certificate();
        if present == *certificate {
            return Ok(Some(key));
        }
        let store = &self.inner.store;
        // A system's certificate signs receipts as well as anything; only whose it is tells.
        if store.certificate_holder(certificate).await.map_err(read_failed)?.as_deref() != Some(OWN_NAME) {
            return Ok(None);
        }
        let der = store.certificate(certificate).await.map_err(read_failed)?;
        Ok(der.and_then(|der| VerifyingKey::from_certificate(&der).ok()))
    }
}
