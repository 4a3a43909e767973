//! What was asked to be sent: taken in, and how it stands.

use lgsp_proto::types::RequestKey;
use lgsp_proto::v1;
use prost::Message;
use serde::Serialize;

use super::{Caller, Office, not_queued, unreadable};
use crate::json::{ReceiptJson, WarningJson, machine_time};
use crate::problem::{LocalReason, Problem};
use crate::spool::{CallId, CallKind, CallView, NewCall, Outcome, Standing, call_id};

/// How a request stands.
#[derive(Serialize)]
pub(crate) struct RequestJson {
    request_key: String,
    /// `queued`, `sending`, `admitted` or `refused`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_code: Option<String>,
    /// What was given out instead of a code, without a line and without numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    provisional_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptJson>,
    /// Whether the gateway had admitted this very request before.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_at: Option<String>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl RequestJson {
    /// The same as it is at rest, for who is told once and not asked again: what has no outcome is queued, however often it is
    /// being sent just now.
    pub(crate) fn at_rest(mut self) -> Self {
        if self.state == "sending" {
            self.state = "queued";
        }
        (self.attempts, self.last_error) = (0, None);
        self
    }
}

impl Office {
    /// Takes in what is said about a dossier.
    ///
    /// # Errors
    /// `ACTS_FOR_MISSING`; the key was used for something else; there is no room. Nothing was taken in.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        key: &RequestKey,
        code: String,
        entry: &v1::Entry,
    ) -> Result<CallView, Problem> {
        self.acts_for(&caller.party)?;
        let call = NewCall {
            id: call_id(caller.party.as_str(), key.as_str()),
            kind: CallKind::Record,
            dossier: Some(code),
            body: entry.encode_to_vec().into(),
            trace: caller.trace.clone(),
            offline: None,
        };
        self.spool.queue(call).await.map_err(not_queued)
    }

    /// How a request stands.
    ///
    /// # Errors
    /// `REQUEST_NOT_FOUND`; or its outcome cannot be read back.
    pub(crate) fn request(&self, id: &CallId) -> Result<RequestJson, Problem> {
        let call = self.spool.call(id).ok_or(LocalReason::RequestNotFound)?;
        let intake = match self.spool.submission(id) {
            Ok(kept) => kept.and_then(|(_, intake)| intake),
            // How it stands is known all the same.
            Err(error) => {
                tracing::error!(%error, "a request cannot be read from the spool");
                self.spool.known_intake(id)
            }
        };
        let (code, provisional) = match intake {
            Some(intake) => (intake.dossier_code, intake.provisional_number),
            None => (String::new(), String::new()),
        };
        let mut answer = RequestJson {
            request_key: id.key.to_string(),
            state: "queued",
            dossier_code: Some(code).filter(|code| !code.is_empty()),
            provisional_number: Some(provisional).filter(|number| !number.is_empty()),
            receipt: None,
            repeated: None,
            warnings: Vec::new(),
            problem: None,
            queued_at: machine_time(call.queued_at_ms),
            attempts: call.attempts,
            last_error: call.last_error.as_deref().map(str::to_owned),
        };
        match call.standing {
            Standing::Queued => {}
            Standing::Sending => answer.state = "sending",
            Standing::Answered(position) => match self.spool.outcome(position).map_err(|error| unreadable(&error))? {
                Outcome::Admitted(response) => {
                    answer.state = "admitted";
                    answer.receipt = response.receipt.as_ref().and_then(ReceiptJson::new);
                    if let Some(receipt) = &answer.receipt {
                        answer.dossier_code = Some(receipt.dossier_code.clone());
                    }
                    answer.repeated = Some(response.repeated);
                    answer.warnings = response.warnings.into_iter().map(WarningJson::new).collect();
                }
                Outcome::Refused(status) => {
                    answer.state = "refused";
                    answer.problem = Some(Problem::of_kept(&status));
                }
            },
        }
        Ok(answer)
    }
}
