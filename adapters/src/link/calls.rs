//! Submitting and recording: the body signed when it is sent, the receipt checked when it comes, the failures told apart.

use bytes::Bytes;
use lgsp_certs::Purpose;
use lgsp_proto::v1::dossiers_client::DossiersClient;
use lgsp_proto::v1::{
    Entry, Receipt, RecordRequest, RecordResponse, SignedReceipt, Submission, SubmitRequest, SubmitResponse, Warning,
};
use lgsp_proto::{ERROR_DOMAIN, Refusal};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::generation::Generation;
use super::{Link, MAX_ANSWER_BYTES, Watched};
use crate::digest::sha256;
use crate::trace::TraceParent;

/// What the gateway has admitted: durable there, whatever happens here.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The receipt, read.
    pub receipt: Receipt,
    /// The receipt as it was signed, to be kept as proof.
    pub signed: SignedReceipt,
    /// Whether the signature could be checked.
    pub proof: Proof,
    /// Whether this very request had been admitted before.
    pub repeated: bool,
    /// What a clerk should look at all the same.
    pub warnings: Vec<Warning>,
}

/// How far a receipt was checked. What it says about the request fits in either case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proof {
    /// Signed by a certificate whose key its gateway proved to hold on this link.
    Verified,
    /// Signed by a certificate not met on this link: of another replica, or of before a renewal. The certificate named in
    /// the signed receipt will be needed to check it.
    CertificateNotMet,
}

/// Why a call gave no receipt, in what the caller must do next.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Final: nothing was written, and sending the same again gives the same answer.
    #[error("{0}")]
    Refused(Refused),
    /// Refused for now, by the gateway itself: send the same bytes again, later.
    #[error("{0}")]
    NotNow(Refused),
    /// Nobody knows whether it was admitted: send the same bytes again.
    #[error("no answer from the gateway")]
    Unknown(#[source] Box<Status>),
    /// An answer came that proves nothing; the outcome is as unknown as without one.
    #[error("the gateway's receipt cannot be accepted")]
    Receipt(#[from] ReceiptProblem),
    /// The body is not a message of the kind to be sent. Nothing was sent.
    #[error("the body cannot be decoded")]
    Body(#[from] prost::DecodeError),
}

/// A refusal as it came.
#[derive(Clone, Debug)]
pub struct Refused {
    status: Box<Status>,
    refusal: Option<Refusal>,
}

/// What is wrong with a receipt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReceiptProblem {
    /// There is none, or it cannot be decoded.
    #[error("it cannot be read")]
    Unreadable,
    /// It is about another request.
    #[error("it is about another request")]
    OfAnotherRequest,
    /// The signature is not the gateway's.
    #[error("its signature is not the gateway's")]
    Signature,
}

impl CallError {
    /// Sorts a failed call by what its sender must do next.
    ///
    /// Only a status that carries our own `ErrorInfo` is an answer of the gateway; any other comes from the transport or from
    /// something in between, and then nobody knows what became of the call.
    pub fn from_status(status: Status) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
        if info.is_none() {
            return Self::Unknown(Box::new(status));
        }
        let refused = Refused { refusal: Refusal::from_status(&status), status: Box::new(status) };
        if refused.is_transient() { Self::NotNow(refused) } else { Self::Refused(refused) }
    }

    /// Whether sending the same again is of no use.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Body(_) => true,
            Self::NotNow(_) | Self::Unknown(_) | Self::Receipt(_) => false,
        }
    }
}

impl Refused {
    /// The refusal; `None` when the gateway is newer than we are and its reason is not known here.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// The status as it came.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// A reason that is not known here is judged by its code, whose promises are older than any reason.
    fn is_transient(&self) -> bool {
        match &self.refusal {
            Some(refusal) => refusal.reason().is_transient(),
            None => match self.status.code() {
                Code::Unavailable
                | Code::ResourceExhausted
                | Code::Unknown
                | Code::Internal
                | Code::DeadlineExceeded
                | Code::Cancelled => true,
                Code::Ok
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::DataLoss
                | Code::Unauthenticated => false,
            },
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.refusal {
            Some(refusal) => refusal.fmt(f),
            None => f.write_str(self.status.message()),
        }
    }
}

impl Link {
    /// Sends a serialized [`Submission`], signed now.
    ///
    /// # Errors
    /// See [`CallError`]: unless it [is final](CallError::is_final), send the very same bytes again.
    pub async fn submit(&self, body: Bytes, trace: Option<&TraceParent>) -> Result<Admitted, CallError> {
        self.submit_again(body, trace, None).await
    }

    /// As [`Link::submit`], with the receipt it got before the gateway's books were restored.
    ///
    /// # Errors
    /// As for [`Link::submit`].
    pub async fn submit_again(
        &self,
        body: Bytes,
        trace: Option<&TraceParent>,
        earlier: Option<SignedReceipt>,
    ) -> Result<Admitted, CallError> {
        let submission = Submission::decode(body.clone())?;
        let generation = self.generation();
        let signature = generation.signing_key.sign(Purpose::Submission, &body).into();
        let request = self.request(SubmitRequest { submission: body.clone(), signature, earlier }, trace);
        let answer = dossiers(&generation).submit(request).await.map_err(CallError::from_status)?.into_inner();
        Ok(self.admitted(answer, &submission.request_key, &submission.acting_party, &body)?)
    }

    /// Sends a serialized [`Entry`], signed now.
    ///
    /// # Errors
    /// As for [`Link::submit`].
    pub async fn record(&self, body: Bytes, trace: Option<&TraceParent>) -> Result<Admitted, CallError> {
        self.record_again(body, trace, None).await
    }

    /// As [`Link::record`], with the receipt it got before the gateway's books were restored.
    ///
    /// # Errors
    /// As for [`Link::submit`].
    pub async fn record_again(
        &self,
        body: Bytes,
        trace: Option<&TraceParent>,
        earlier: Option<SignedReceipt>,
    ) -> Result<Admitted, CallError> {
        let entry = Entry::decode(body.clone())?;
        let generation = self.generation();
        let signature = generation.signing_key.sign(Purpose::Entry, &body).into();
        let request = self.request(RecordRequest { entry: body.clone(), signature, earlier }, trace);
        let answer = dossiers(&generation).record(request).await.map_err(CallError::from_status)?.into_inner();
        let RecordResponse { receipt, repeated, warnings } = answer;
        let answer = SubmitResponse { receipt, repeated, warnings };
        Ok(self.admitted(answer, &entry.request_key, &entry.acting_party, &body)?)
    }

    /// Takes an answer for what it proves.
    fn admitted(
        &self,
        answer: SubmitResponse,
        key: &str,
        party: &str,
        body: &[u8],
    ) -> Result<Admitted, ReceiptProblem> {
        let signed = answer.receipt.ok_or(ReceiptProblem::Unreadable)?;
        let receipt = Receipt::decode(signed.receipt.clone()).map_err(|_| ReceiptProblem::Unreadable)?;
        if receipt.request_key != key || receipt.acting_party != party || receipt.body_sha256 != sha256(body)[..] {
            return Err(ReceiptProblem::OfAnotherRequest);
        }
        let certificate =
            <[u8; 32]>::try_from(&signed.certificate_sha256[..]).map_err(|_| ReceiptProblem::Unreadable)?;
        let proof = match self.shared.way.peers.key(&certificate) {
            Some(key) => {
                let checked = key.verify(Purpose::Receipt, &signed.receipt, &signed.signature);
                checked.map_err(|_| ReceiptProblem::Signature)?;
                Proof::Verified
            }
            None => Proof::CertificateNotMet,
        };
        Ok(Admitted { receipt, signed, proof, repeated: answer.repeated, warnings: answer.warnings })
    }
}

/// The connection whose certificate's key has signed.
fn dossiers(generation: &Generation) -> DossiersClient<Watched> {
    DossiersClient::new(generation.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lgsp_proto::Reason;
    use std::collections::HashMap;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_refusal_is_final_unless_its_reason_says_otherwise() {
        for reason in Reason::ALL {
            let error = CallError::from_status(Refusal::new(*reason).to_status());
            assert_eq!(error.is_final(), !reason.is_transient(), "{reason}");
            let (CallError::Refused(refused) | CallError::NotNow(refused)) = error else { panic!("{reason}") };
            assert_eq!(refused.refusal().unwrap().reason(), *reason);
        }
    }

    #[test]
    fn without_our_own_reason_the_outcome_is_unknown_whatever_the_code() {
        for code in [Code::Unavailable, Code::InvalidArgument, Code::PermissionDenied, Code::Unimplemented] {
            let error = CallError::from_status(Status::new(code, "somebody in between"));
            assert!(matches!(error, CallError::Unknown(_)), "{code}");
        }
        let stranger = ErrorDetails::with_error_info("KEY_REUSED", "googleapis.com", HashMap::new());
        let error = CallError::from_status(Status::with_error_details(Code::AlreadyExists, "", stranger));
        assert!(matches!(error, CallError::Unknown(_)));
    }

    #[test]
    fn a_reason_of_a_newer_gateway_is_judged_by_its_code() {
        for (code, is_final) in
            [(Code::Unavailable, false), (Code::ResourceExhausted, false), (Code::FailedPrecondition, true)]
        {
            let details = ErrorDetails::with_error_info("OF_TOMORROW", ERROR_DOMAIN, HashMap::new());
            let error = CallError::from_status(Status::with_error_details(code, "", details));
            assert_eq!(error.is_final(), is_final, "{code}");
        }
    }
}
