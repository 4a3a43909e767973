//! Asking a data service, and checking what the gateway says about the answer.

use bytes::Bytes;
use lgsp_certs::Purpose;
use lgsp_proto::v1::queries_client::QueriesClient;
use lgsp_proto::v1::{AskRequest, QueryAnswer, SignedQueryAnswer};
use prost::Message as _;

use super::{CallError, Link, MAX_ANSWER_BYTES, Proof, ReceiptProblem, Watched};
use crate::digest::sha256;
use crate::trace::TraceParent;

/// What a data service answered, as far as it may be told.
pub struct Told {
    /// What the gateway says about it.
    pub answer: QueryAnswer,
    /// The same, as it was signed.
    pub signed: SignedQueryAnswer,
    /// Whether the gateway's signature was checked.
    pub proof: Proof,
    /// The reply, a JSON document.
    pub reply: Bytes,
}

impl Link {
    /// The service of queries.
    pub fn queries(&self) -> QueriesClient<Watched> {
        QueriesClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Asks a data service once. Unlike a submission, a question has no key: asked again, it is another question.
    ///
    /// # Errors
    /// The refusal, which with `query_id` among its details says that the service was asked; [`CallError::Receipt`] when what came back does
    /// not belong to the question or was not signed by the gateway.
    pub async fn ask(&self, question: AskRequest, trace: Option<&TraceParent>) -> Result<Told, CallError> {
        let (party, service, actor) = (question.acting_party.clone(), question.service.clone(), question.actor.clone());
        let told =
            self.queries().ask(self.request(question, trace)).await.map_err(CallError::from_status)?.into_inner();
        let signed = told.answer.ok_or(ReceiptProblem::Unreadable)?;
        let answer = QueryAnswer::decode(signed.answer.clone()).map_err(|_| ReceiptProblem::Unreadable)?;
        let is_ours = answer.acting_party == party && answer.service == service && answer.actor == actor;
        if !is_ours || answer.reply_sha256 != sha256(&told.reply)[..] {
            return Err(ReceiptProblem::OfAnotherRequest.into());
        }
        let certificate =
            <[u8; 32]>::try_from(&signed.certificate_sha256[..]).map_err(|_| ReceiptProblem::Unreadable)?;
        let proof = match self.shared.way.peers.key(&certificate) {
            Some(key) => {
                let checked = key.verify(Purpose::QueryAnswer, &signed.answer, &signed.signature);
                checked.map_err(|_| ReceiptProblem::Signature)?;
                Proof::Verified
            }
            None => Proof::CertificateNotMet,
        };
        Ok(Told { answer, signed, proof, reply: told.reply })
    }
}
