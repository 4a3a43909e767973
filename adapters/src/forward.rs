//! Sends what the agency's system wants sent: first the documents a body names, then the body itself.
//!
//! Different dossiers side by side, one dossier's entries one after the other. A call goes out until the gateway has
//! answered for good, always the same bytes under the same key, so that its effect is had once.

use std::sync::Arc;

use bytes::Bytes;
use lgsp_proto::v1;
use lgsp_proto::{Reason, Refusal};
use prost::Message;
use tokio::sync::watch;

use crate::lanes::{Job, Lanes};
use crate::link::{Admitted, CallError, DocumentUpload, Link, Refused, UploadError, documents_of};
use crate::pump::{Verdict, Work};
use crate::spool::{CallId, CallKind, Outcome, QueuedCall, Spool};

/// Sends the spool's calls over a link.
pub(crate) struct Forward {
    pub(crate) spool: Arc<Spool>,
    pub(crate) link: Link,
}

/// Why a call has no outcome yet.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error(transparent)]
    Call(#[from] CallError),
    /// A document of the call cannot be read on this machine.
    #[error("a document cannot be read from the spool")]
    Document(#[source] std::io::Error),
    /// The gateway was restarted, or somebody else brings the same document: it holds another part of it than it had said.
    #[error("the gateway wants a document from another place than it had said")]
    DocumentMoved,
}

impl Work for Forward {
    type Item = CallId;

    fn lanes<R>(&self, with: impl FnOnce(&mut Lanes<CallId>) -> R) -> R {
        self.spool.outgoing(with)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.spool.changes()
    }

    async fn perform(&self, job: Job<CallId>) -> Verdict {
        let id = job.item;
        let call = match self.spool.begin_sending(&id) {
            Ok(Some(call)) => call,
            Ok(None) => return Verdict::Done,
            Err(error) => {
                tracing::error!(party.id = %id.party, %error, "a queued call cannot be read");
                self.spool.not_sent(&id, "the call cannot be read from the spool");
                return Verdict::Again;
            }
        };
        let epoch = self.spool.epoch();
        let outcome = match self.send(&call, job.attempt).await {
            Ok(admitted) => Outcome::Admitted(v1::SubmitResponse {
                receipt: Some(admitted.signed),
                repeated: admitted.repeated,
                warnings: admitted.warnings,
            }),
            Err(NotYet::Call(CallError::Refused(refused))) => {
                if self.may_be_premature(&call, epoch, &refused) {
                    self.spool.not_sent(&id, "the gateway was restored, and not everything is back yet");
                    return Verdict::Again;
                }
                tracing::info!(party.id = %id.party, %refused, "the gateway refused a call");
                Outcome::Refused(status_bytes(&refused))
            }
            Err(error) => return self.not_yet(&id, job.attempt, &error),
        };
        if self.spool.answered(&id, &outcome).await.is_err() {
            return Verdict::Again;
        }
        Verdict::Done
    }
}

impl Forward {
    /// Whether a refusal may only come from a restore: the gateway's books are behind ours for a while, and what was recorded
    /// before must come back first. Until the inbox has told in which epoch the gateway is, nobody knows.
    fn may_be_premature(&self, call: &QueuedCall, epoch: u32, refused: &Refused) -> bool {
        if !self.spool.is_epoch_certain() || self.spool.epoch() != epoch {
            return true;
        }
        let not_found = refused.refusal().is_some_and(|refusal| refusal.reason() == Reason::DossierNotFound);
        let named =
            || v1::Entry::decode(call.body.clone()).is_ok_and(|entry| self.spool.may_come_back(&entry.dossier_code));
        not_found && call.kind == CallKind::Record && named()
    }

    async fn send(&self, call: &QueuedCall, attempt: u32) -> Result<Admitted, NotYet> {
        // An earlier attempt may have been admitted without our hearing of it. Then its documents belong to the dossier, and
        // bringing them once more would be for nothing.
        // The same holds for what was admitted before a restore.
        if attempt == 1 && call.earlier.is_none() {
            self.bring_documents(call).await?;
        }
        match self.call(call).await {
            Err(CallError::Refused(refused)) if lacks_documents(&refused) => {
                // They went to another dossier of this party, perhaps a moment ago, or were never brought.
                self.bring_documents(call).await?;
                Ok(self.call(call).await?)
            }
            answer => Ok(answer?),
        }
    }

    async fn call(&self, call: &QueuedCall) -> Result<Admitted, CallError> {
        match call.kind {
            CallKind::Submit => {
                self.link.submit_again(call.body.clone(), call.trace.as_ref(), call.earlier.clone()).await
            }
            CallKind::Record => {
                self.link.record_again(call.body.clone(), call.trace.as_ref(), call.earlier.clone()).await
            }
        }
    }

    async fn bring_documents(&self, call: &QueuedCall) -> Result<(), NotYet> {
        for document in documents_of(call.kind == CallKind::Submit, &call.body) {
            self.bring(document, call.trace.as_ref()).await?;
        }
        Ok(())
    }

    /// Sees to it that the gateway has a document, as far as we have it. One that nobody has, the gateway will name in its
    /// refusal.
    async fn bring(&self, document: DocumentUpload, trace: Option<&crate::trace::TraceParent>) -> Result<(), NotYet> {
        let documents = self.spool.documents();
        if !documents.holds(&document.acting_party, &document.sha256) {
            return Ok(());
        }
        let Some(offset) = self.link.missing_from(&document, trace).await? else { return Ok(()) };
        let content = documents.read(&document.acting_party, &document.sha256, offset).map_err(NotYet::Document)?;
        match self.link.upload(&document, offset, content, trace).await {
            Ok(()) => Ok(()),
            // Nobody's mistake, and no answer to the call: the next attempt asks anew where to go on.
            Err(UploadError::Call(CallError::Refused(refused))) if holds_another_part(&refused) => {
                Err(NotYet::DocumentMoved)
            }
            Err(UploadError::Call(error)) => Err(error.into()),
            Err(UploadError::Read(error)) => Err(NotYet::Document(error)),
        }
    }

    fn not_yet(&self, id: &CallId, attempt: u32, error: &NotYet) -> Verdict {
        let (verdict, reason) = match error {
            NotYet::Call(CallError::Unknown(_)) => (Verdict::LineDown, "no answer from the gateway".to_owned()),
            NotYet::Call(CallError::NotNow(refused)) => {
                let wait = refused.refusal().and_then(Refusal::retry_after);
                (wait.map_or(Verdict::Again, Verdict::Later), error.to_string())
            }
            error => (Verdict::Again, error.to_string()),
        };
        // The first failures of a line are everyday; what stays is worth a warning.
        if attempt.is_power_of_two() && attempt > 2 {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(party.id = %id.party, attempt, %error, cause, "a call is still waiting for the gateway");
        }
        self.spool.not_sent(id, &reason);
        verdict
    }
}

fn lacks_documents(refused: &Refused) -> bool {
    let reason = refused.refusal().map(Refusal::reason);
    matches!(reason, Some(Reason::DocumentUnknown | Reason::DocumentOfAnotherDossier))
}

fn holds_another_part(refused: &Refused) -> bool {
    refused.refusal().map(Refusal::reason) == Some(Reason::DocumentOffsetWrong)
}

/// A refusal as it is kept: the `google.rpc.Status` that came.
fn status_bytes(refused: &Refused) -> Bytes {
    Bytes::copy_from_slice(refused.status().details())
}
