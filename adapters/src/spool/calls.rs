//! Calls on their way to the gateway: what the agency's own system wants sent, until that system was told what became of it.
//!
//! A key of a party is one call: the same bytes again are the same call, others are refused. It is sent until the gateway has
//! answered for good, and its answer is kept for whoever asks.

use bytes::Bytes;
use lgsp_journal::Position;
use lgsp_journal::room::Shortage;
use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};
use lgsp_proto::v1;
use prost::Message;

use super::replay::RecordError;
use super::state::{Call, CallId, CallKind, Progress};
use super::writing::Broken;
use super::{Shared, Spool, now_ms};
use crate::digest::sha256;
use crate::lanes::Lanes;
use crate::trace::TraceParent;

/// The longest body of a call; with a form of 1 MiB and a thousand components there is still room.
const MAX_BODY_BYTES: usize = 2 << 20;

/// Why a call was not taken in. Nothing was promised.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum QueueError {
    /// Too many calls wait for the gateway.
    #[error("too many calls wait for the gateway")]
    Full,
    /// The disk is nearly full.
    #[error(transparent)]
    Disk(#[from] Shortage),
    /// The key was used with other content.
    #[error("the key was used with other content")]
    KeyReused,
    /// The body is longer than [`MAX_BODY_BYTES`].
    #[error("the body is longer than the limit")]
    TooLarge,
    /// The disk failed.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A call to be queued. No `Debug`: the body names the citizen.
#[derive(Clone)]
pub(crate) struct NewCall {
    pub(crate) id: CallId,
    pub(crate) kind: CallKind,
    /// The code or alias an entry is about.
    pub(crate) dossier: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) trace: TraceParent,
    /// What the citizen is told without a line.
    pub(crate) offline: Option<stored::OfflineIntake>,
}

/// A call as it was queued. No `Debug`, as above.
#[derive(Clone)]
pub(crate) struct QueuedCall {
    pub(crate) kind: CallKind,
    pub(crate) body: Bytes,
    pub(crate) trace: Option<TraceParent>,
    /// The receipt it got before the gateway's books were restored.
    pub(crate) earlier: Option<v1::SignedReceipt>,
}

/// The gateway's final answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Admitted(v1::SubmitResponse),
    /// A serialized `google.rpc.Status`.
    Refused(Bytes),
}

/// How a call stands.
#[derive(Clone, Debug)]
pub(crate) struct CallView {
    pub(crate) standing: Standing,
    pub(crate) attempts: u32,
    pub(crate) last_error: Option<Box<str>>,
    pub(crate) queued_at_ms: i64,
}

/// One of many calls: how it stands, without what was answered.
#[derive(Clone, Debug)]
pub(crate) struct CallOverview {
    pub(crate) id: CallId,
    pub(crate) kind: CallKind,
    pub(crate) view: CallView,
    /// Whether it was admitted; `None` as long as it has no outcome.
    pub(crate) admitted: Option<bool>,
    /// The dossier it is about or became, or the code that was given out for it.
    pub(crate) dossier: Option<Box<str>>,
}

/// How far a call has come, for whoever asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    Queued,
    Sending,
    /// Where the answer is kept.
    Answered(Position),
}

impl Spool {
    /// Takes a call in: durable when this returns. The same call again is the same call.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub(crate) async fn queue(&self, call: NewCall) -> Result<CallView, QueueError> {
        if call.body.len() > MAX_BODY_BYTES {
            return Err(QueueError::TooLarge);
        }
        let body_sha256 = sha256(&call.body);
        let mut changes = self.changes();
        let reservation = loop {
            changes.mark_unchanged();
            {
                let mut state = self.shared.state();
                match state.calls.get(&call.id) {
                    Some(known) if known.body_sha256 != body_sha256 => return Err(QueueError::KeyReused),
                    Some(known) => {
                        if let Some(view) = view(known) {
                            return Ok(view);
                        }
                        // The same call is being made durable for somebody else; wait for what becomes of it.
                    }
                    None if state.unanswered >= self.max_outgoing => return Err(QueueError::Full),
                    None => {
                        self.disk.for_more()?;
                        state.reserve_call(&call.id, call.kind, body_sha256);
                        break CallReservation { shared: &self.shared, id: &call.id };
                    }
                }
            }
            // The sender lives as long as the spool.
            let _ = changes.changed().await;
        };
        let queued_at_ms = now_ms();
        self.write(Kind::Queued(stored::Queued {
            call: match call.kind {
                CallKind::Submit => stored::CallKind::Submit,
                CallKind::Record => stored::CallKind::Record,
            } as i32,
            acting_party: call.id.party.to_string(),
            request_key: call.id.key.to_string(),
            body: call.body.to_vec(),
            traceparent: call.trace.as_str().to_owned(),
            queued_at_unix_ms: queued_at_ms,
            dossier_code: call.dossier.clone().unwrap_or_default(),
            offline: call.offline.clone(),
        }))
        .await?;
        drop(reservation);
        let view = {
            let state = self.shared.state();
            match state.calls.get(&call.id) {
                // Whoever asked first went away while its call was being made durable. That one counts, and not this.
                Some(first) if first.body_sha256 != body_sha256 => return Err(QueueError::KeyReused),
                known => known.and_then(view),
            }
        };
        Ok(view.unwrap_or(CallView { standing: Standing::Queued, attempts: 0, last_error: None, queued_at_ms }))
    }

    /// How a call stands; `None` if it is not known, or not any more.
    pub(crate) fn call(&self, id: &CallId) -> Option<CallView> {
        self.shared.state().calls.get(id).and_then(view)
    }

    /// A party's calls, the latest first, from the one after `after` on: when it was taken in, and its key. At most `limit`.
    pub(crate) fn calls(
        &self,
        party: &str,
        after: Option<(i64, &str)>,
        limit: usize,
        is_wanted: impl Fn(&CallOverview) -> bool,
    ) -> Vec<CallOverview> {
        let mut found: Vec<_> = {
            let state = self.shared.state();
            let of_party = state.calls.iter().filter(|(id, _)| &*id.party == party);
            let later = of_party.filter(|(id, call)| after.is_none_or(|after| (call.at_ms, &*id.key) < after));
            later.filter_map(|(id, call)| overview(id, call)).filter(is_wanted).collect()
        };
        let last_first = |one: &CallOverview, other: &CallOverview| {
            (other.view.queued_at_ms, &other.id.key).cmp(&(one.view.queued_at_ms, &one.id.key))
        };
        if found.len() > limit {
            found.select_nth_unstable_by(limit, last_first);
            found.truncate(limit);
        }
        found.sort_unstable_by(last_first);
        found
    }

    /// The answer kept at `position`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(crate) fn outcome(&self, position: Position) -> Result<Outcome, RecordError> {
        let Some(Kind::Answered(answered)) = self.read(position)?.kind else {
            return Err(RecordError::Unknown(position));
        };
        match answered.outcome {
            Some(stored::answered::Outcome::Admitted(response)) => v1::SubmitResponse::decode(&response[..])
                .map(Outcome::Admitted)
                .map_err(|_| RecordError::Unknown(position)),
            Some(stored::answered::Outcome::Refused(status)) => Ok(Outcome::Refused(status.into())),
            None => Err(RecordError::Unknown(position)),
        }
    }

    /// Looks at the calls to be sent, or changes their lanes.
    pub(crate) fn outgoing<R>(&self, with: impl FnOnce(&mut Lanes<CallId>) -> R) -> R {
        with(&mut self.shared.state().outgoing)
    }

    /// What is to be sent for a call, and notes that it is being sent.
    ///
    /// # Errors
    /// See [`RecordError`]. `Ok(None)` when it is not waiting.
    pub(crate) fn begin_sending(&self, id: &CallId) -> Result<Option<QueuedCall>, RecordError> {
        let (position, earlier) = {
            let mut state = self.shared.state();
            let Some(call) = state.calls.get_mut(id) else { return Ok(None) };
            let Progress::Waiting { sending, attempts, earlier, .. } = &mut call.progress else { return Ok(None) };
            *sending = true;
            *attempts = attempts.saturating_add(1);
            (call.position, *earlier)
        };
        self.shared.changed();
        let earlier = match earlier.map(|earlier| self.outcome(earlier.position)).transpose()? {
            Some(Outcome::Admitted(answer)) => answer.receipt,
            Some(Outcome::Refused(_)) | None => None,
        };
        let Some(Kind::Queued(queued)) = self.read(position)?.kind else { return Err(RecordError::Unknown(position)) };
        let kind = match queued.call() {
            stored::CallKind::Submit => CallKind::Submit,
            stored::CallKind::Record => CallKind::Record,
            stored::CallKind::Unspecified => return Err(RecordError::Unknown(position)),
        };
        let (trace, body) = (TraceParent::parse(&queued.traceparent), queued.body.into());
        Ok(Some(QueuedCall { kind, trace, body, earlier }))
    }

    /// Notes that sending came to nothing for now. Kept in memory only: it is for whoever asks.
    pub(crate) fn not_sent(&self, id: &CallId, error: &str) {
        {
            let mut state = self.shared.state();
            let Some(call) = state.calls.get_mut(id) else { return };
            if let Progress::Waiting { sending, last_error, .. } = &mut call.progress {
                *sending = false;
                *last_error = Some(error.into());
            }
        }
        self.shared.changed();
    }

    /// Keeps the gateway's final answer: durable when this returns.
    ///
    /// # Errors
    /// [`Broken`]; the call will be sent again after the restart, which is safe.
    pub(crate) async fn answered(&self, id: &CallId, outcome: &Outcome) -> Result<(), Broken> {
        let admitted = matches!(outcome, Outcome::Admitted(_));
        let outcome = match outcome {
            Outcome::Admitted(response) => stored::answered::Outcome::Admitted(response.encode_to_vec()),
            Outcome::Refused(status) => stored::answered::Outcome::Refused(status.to_vec()),
        };
        self.write(Kind::Answered(stored::Answered {
            acting_party: id.party.to_string(),
            request_key: id.key.to_string(),
            outcome: Some(outcome),
            answered_at_unix_ms: now_ms(),
        }))
        .await?;
        self.release_documents(id, admitted);
        Ok(())
    }

    /// The gateway has decided a call, so of the documents it names it has what it wants. Those of an admitted one are kept as
    /// long as there is room: a gateway that is restored may have lost them.
    fn release_documents(&self, id: &CallId, admitted: bool) {
        let documents = self.shared.state().calls.get(id).map(|call| call.documents.clone()).unwrap_or_default();
        for sha256 in documents.iter() {
            let named = self.shared.state().names_document(&id.party, sha256);
            if admitted {
                self.documents.retire(&id.party, sha256, named);
            } else if let Err(error) = self.documents.release(&id.party, sha256, named) {
                tracing::warn!(party.id = %id.party, %error, "a document stays in the spool until it expires");
            }
        }
    }

    /// Notes that the agency's own system was told of an outcome: durable when this returns.
    ///
    /// # Errors
    /// [`Broken`]; it will be told again.
    pub(crate) async fn told(&self, id: &CallId) -> Result<(), Broken> {
        let (acting_party, request_key) = (id.party.to_string(), id.key.to_string());
        self.write(Kind::Told(stored::Told { acting_party, request_key })).await.map(drop)
    }

    /// Whether it is noted that the agency's own system was told of a call's outcome.
    pub(crate) fn is_told(&self, id: &CallId) -> bool {
        let told = |call: &Call| matches!(call.progress, Progress::Answered { told: Some(_), .. });
        self.shared.state().calls.get(id).is_some_and(told)
    }

    /// The trace a call belongs to.
    pub(crate) fn trace_of(&self, id: &CallId) -> Option<TraceParent> {
        let position = self.shared.state().calls.get(id).map(|call| call.position)?;
        match self.read(position).ok()?.kind? {
            Kind::Queued(queued) => TraceParent::parse(&queued.traceparent),
            _ => None,
        }
    }
}

/// Gives a call's place back, unless it has become durable meanwhile.
struct CallReservation<'a> {
    shared: &'a Shared,
    id: &'a CallId,
}

impl Drop for CallReservation<'_> {
    fn drop(&mut self) {
        self.shared.state().release_call(self.id);
        self.shared.changed();
    }
}

/// `None` while nothing was promised.
fn overview(id: &CallId, call: &Call) -> Option<CallOverview> {
    let admitted = match &call.progress {
        Progress::Answered { admitted, .. } => Some(*admitted),
        // What is sent again was admitted.
        Progress::Waiting { earlier: Some(_), .. } => Some(true),
        Progress::Waiting { .. } | Progress::Reserved => None,
    };
    let given = || call.offline.as_ref().map(|offline| offline.intake().dossier_code).filter(|code| !code.is_empty());
    Some(CallOverview {
        id: id.clone(),
        kind: call.kind,
        view: view(call)?,
        admitted,
        dossier: call.dossier.as_deref().map(Into::into).or_else(|| given().map(Into::into)),
    })
}

fn view(call: &Call) -> Option<CallView> {
    let (standing, attempts, last_error) = match &call.progress {
        Progress::Reserved => return None,
        // It was admitted and is sent again all the same; whoever asks is told what holds.
        Progress::Waiting { earlier: Some(earlier), .. } => (Standing::Answered(earlier.position), 0, None),
        Progress::Waiting { sending: false, attempts, last_error, .. } => {
            (Standing::Queued, *attempts, last_error.clone())
        }
        Progress::Waiting { sending: true, attempts, last_error, .. } => {
            (Standing::Sending, *attempts, last_error.clone())
        }
        Progress::Answered { position, .. } => (Standing::Answered(*position), 0, None),
    };
    Some(CallView { standing, attempts, last_error, queued_at_ms: call.at_ms })
}
