//! What was asked to be sent: taken in, and how it stands.

use lgsp_proto::types::{PartyId, RequestKey};
use lgsp_proto::{Reason, v1};
use prost::Message;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Caller, Office, OfflineJson, not_queued, unreadable};
use crate::json::{ReceiptJson, WarningJson, machine_time};
use crate::problem::{LocalReason, Problem};
use crate::spool::{CallId, CallKind, CallOverview, CallView, NewCall, Outcome, Standing, call_id};

/// How a request stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Request)]
pub(crate) struct RequestJson {
    request_key: String,
    /// `queued`, `sending`, `admitted` or `refused`.
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dossier_code: Option<String>,
    /// What was given out instead of a code, without a line and without numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) provisional_number: Option<String>,
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

/// As `GET /v1/requests/{key}` tells it, with the party; before the gateway has answered also what the citizen can be told.
#[derive(Serialize)]
pub(crate) struct AnswerJson<'a> {
    pub(crate) party: &'a str,
    #[serde(flatten)]
    pub(crate) request: RequestJson,
    /// The line is down and no code could be given out: it follows with the gateway's answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) code_pending: bool,
    /// What the citizen is told without a line: code or provisional number, due date, slip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offline: Option<OfflineJson>,
}

/// One of a party's requests; what was answered is under its own path.
#[derive(Serialize, ToSchema)]
#[schema(as = RequestOverview)]
pub(crate) struct RequestOverviewJson {
    request_key: String,
    /// `submission` or `entry`.
    kind: &'static str,
    state: &'static str,
    /// The dossier it is about or became, or the code that was given out for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_code: Option<String>,
    queued_at: Option<String>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

/// What becomes of a request, as a caller asks for it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum RequestState {
    Queued,
    Sending,
    Admitted,
    Refused,
}

impl RequestState {
    pub(crate) const ALL: [Self; 4] = [Self::Queued, Self::Sending, Self::Admitted, Self::Refused];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Admitted => "admitted",
            Self::Refused => "refused",
        }
    }

    fn of(call: &CallOverview) -> Self {
        match (call.admitted, call.view.standing) {
            (Some(true), _) => Self::Admitted,
            (Some(false), _) => Self::Refused,
            (None, Standing::Sending) => Self::Sending,
            (None, _) => Self::Queued,
        }
    }
}

/// Where a list of requests stopped: when the last one was taken in, and its key.
pub(crate) type RequestPlace = (i64, String);

impl RequestJson {
    /// Whether it was refused because something else has its key.
    pub(crate) fn is_key_reused(&self) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem.reason() == Reason::KeyReused.as_str())
    }

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
    /// A party's requests in one of these states (in any, if there is none), the latest first, after `place`; and the place of
    /// the last one, if there are more.
    pub(crate) fn requests(
        &self,
        party: &PartyId,
        states: &[RequestState],
        place: Option<&RequestPlace>,
        limit: usize,
    ) -> (Vec<RequestOverviewJson>, Option<RequestPlace>) {
        let is_wanted = |call: &CallOverview| states.is_empty() || states.contains(&RequestState::of(call));
        let after = place.map(|(at_ms, key)| (*at_ms, key.as_str()));
        let mut found = self.spool.calls(party.as_str(), after, limit + 1, is_wanted);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| (last.view.queued_at_ms, last.id.key.to_string()));
        let overview = |call: CallOverview| RequestOverviewJson {
            request_key: call.id.key.to_string(),
            kind: match call.kind {
                CallKind::Submit => "submission",
                CallKind::Record => "entry",
            },
            state: RequestState::of(&call).as_str(),
            dossier_code: call.dossier.map(Into::into),
            queued_at: machine_time(call.view.queued_at_ms),
            attempts: call.view.attempts,
            last_error: call.view.last_error.map(Into::into),
        };
        (found.into_iter().map(overview).collect(), next)
    }

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
