//! What the gateway signs when it has admitted something.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use jiff::civil;
use lgsp_certs::{Purpose, SigningKey, VerifyingKey};
use lgsp_domain::dossier::Opening;
use lgsp_domain::event::Event;
use lgsp_proto::types::{BusinessTime, RequestKey, Sha256Digest};
use lgsp_proto::v1;
use prost::Message as _;

use crate::engine::clock::{unix_millis, unix_seconds};
use crate::store::{Answer, QueryProof};

/// Signs receipts with the gateway's own key.
#[derive(Clone, Debug)]
pub struct ReceiptSigner {
    key: Arc<SigningKey>,
    certificate: Sha256Digest,
    gateway: String,
}

impl ReceiptSigner {
    /// A signer for the gateway `gateway`, whose certificate has the digest `certificate`.
    pub fn new(key: Arc<SigningKey>, certificate: Sha256Digest, gateway: String) -> Self {
        Self { key, certificate, gateway }
    }

    /// The gateway's name, which is the trust domain of its bus.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The certificate that this signer's signatures verify against, by its digest, and its key.
    pub fn certificate(&self) -> (Sha256Digest, VerifyingKey) {
        (self.certificate, self.key.verifying_key())
    }

    /// Writes and signs the receipt of `event`. The caller hands it out only once the event is durable.
    pub fn answer(
        &self,
        event: &Event,
        opening: &Opening,
        request_key: &RequestKey,
        body_sha256: &Sha256Digest,
        admitted_at: SystemTime,
        warnings: Vec<(String, String)>,
    ) -> Answer {
        let clock = &event.outcome.clock;
        let receipt = v1::Receipt {
            dossier_code: event.code.to_string(),
            sequence: event.sequence,
            kind: event.act.number(),
            status: i32::from(event.status.number()),
            request_key: request_key.to_string(),
            acting_party: event.by.to_string(),
            body_sha256: Bytes::copy_from_slice(body_sha256.as_bytes()),
            admitted_at: Some(machine_timestamp(admitted_at)),
            occurred_at: Some(business_timestamp(event.occurred_at)),
            competent_authority: opening.places.competent_authority.to_string(),
            due_at: clock.due().and_then(civil_timestamp),
            acceptance_due_at: opening.acceptance_due.map(business_timestamp),
            registry_version: event.registry_version,
            non_territorial: opening.non_territorial,
            gateway: self.gateway.clone(),
        };
        let receipt = Bytes::from(receipt.encode_to_vec());
        let signature = Bytes::from(self.key.sign(Purpose::Receipt, &receipt));
        Answer { receipt, signature, certificate: self.certificate, warnings }
    }

    /// Writes and signs the word about an answer. The caller hands it out only once the query is on record.
    pub fn query_answer(&self, answer: &v1::QueryAnswer) -> QueryProof {
        let answer = Bytes::from(answer.encode_to_vec());
        let signature = Bytes::from(self.key.sign(Purpose::QueryAnswer, &answer));
        QueryProof { answer, signature, certificate: self.certificate }
    }
}

/// A business time on the wire.
pub fn business_timestamp(at: BusinessTime) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.unix_seconds(), nanos: 0 }
}

/// A date of the deadline engine on the wire; `None` beyond the years business time covers.
pub fn civil_timestamp(at: civil::DateTime) -> Option<prost_types::Timestamp> {
    BusinessTime::try_from(at).ok().map(business_timestamp)
}

/// A machine time on the wire, to the millisecond.
pub fn machine_timestamp(at: SystemTime) -> prost_types::Timestamp {
    let nanos = i32::try_from(unix_millis(at) % 1000).expect("less than a thousand") * 1_000_000;
    prost_types::Timestamp { seconds: unix_seconds(at), nanos }
}
