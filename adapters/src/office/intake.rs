//! A dossier taken in: with a line spooled as it is, without one decided, numbered and described for the citizen first.

use std::sync::Arc;

use lgsp_domain::registry::Registry;
use lgsp_proto::reason::Bilingual;
use lgsp_proto::spool_v1::OfflineIntake;
use lgsp_proto::types::{BusinessTime, PartyId, ProcedureCode, RequestKey};
use lgsp_proto::{Reason, v1};
use prost::Message;
use prost_types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Caller, Office, not_queued, unreadable};
use crate::json::{ComponentJson, SubmissionJson, WarningJson, print_time};
use crate::offline::{as_before, refuse_own_number, wall_clock};
use crate::problem::Problem;
use crate::spool::{CallKind, CallView, NewCall, QueueError, call_id, now_ms};

const PROVISIONAL: Bilingual = Bilingual {
    en: "No number was left for this authority and day: this number is provisional, and the code follows with the gateway's answer.",
    vi: "Không còn số cho cơ quan này trong ngày: đây là số tạm, mã số hồ sơ sẽ có khi trục trả lời.",
};

/// What the citizen can be told at once, though the gateway has not answered.
#[derive(Serialize, ToSchema)]
#[schema(as = OfflineIntake)]
pub(crate) struct OfflineJson {
    /// Always true.
    offline: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_code: Option<String>,
    /// Instead of a code, when there was none to give out.
    #[serde(skip_serializing_if = "Option::is_none")]
    provisional_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_vi: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_en: Option<&'static str>,
    competent_authority: String,
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    registry_version: u64,
    /// How long ago that version was last known to be in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry_age_seconds: Option<u64>,
    slip: SlipJson,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningJson>,
}

/// What the receipt says beside the above (form 01, Giấy tiếp nhận hồ sơ và hẹn trả kết quả, TT 03/2025/TT-VPCP); the applicant
/// the caller knows.
#[derive(Serialize, ToSchema)]
#[schema(as = Slip)]
struct SlipJson {
    form: &'static str,
    desk: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    desk_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    competent_authority_name: Option<String>,
    procedure_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    procedure_name: Option<String>,
    components: Vec<ComponentJson>,
    return_desk: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_desk_name: Option<String>,
    return_channel: Option<String>,
}

/// A submission that is in the spool now.
pub(crate) struct TakenIn {
    pub(crate) view: CallView,
    pub(crate) offline: Option<OfflineJson>,
    /// Without a line, and without a code either.
    pub(crate) code_pending: bool,
}

impl Office {
    /// Takes a submission in. `allowed` says whether it may be decided here while the line is down.
    ///
    /// # Errors
    /// What the gateway would refuse, without a line the adapter refuses; else as for any call.
    pub(crate) async fn take_in(
        self: &Arc<Self>,
        caller: Caller,
        key: RequestKey,
        submission: v1::Submission,
        allowed: bool,
    ) -> Result<TakenIn, Problem> {
        self.take_in_written(caller, key, submission, allowed, None).await
    }

    /// The same for what was written down, and may be read again by another adapter or out of a new spool: left out, the time of
    /// reception is when it was written, in seconds since 1970, so that it is the same submission each time.
    ///
    /// # Errors
    /// As for [`Office::take_in`].
    pub(crate) async fn take_in_written(
        self: &Arc<Self>,
        caller: Caller,
        key: RequestKey,
        submission: v1::Submission,
        allowed: bool,
        written_at: Option<i64>,
    ) -> Result<TakenIn, Problem> {
        self.acts_for(&caller.party)?;
        let office = Arc::clone(self);
        let written_at = written_at.and_then(|seconds| BusinessTime::from_unix_seconds(seconds).ok());
        // Once a number is given out nobody's leaving may come between it and the disk.
        tokio::spawn(async move { office.take_in_to_the_end(&caller, &key, submission, allowed, written_at).await })
            .await
            .map_err(|_| Reason::Internal)?
    }

    async fn take_in_to_the_end(
        &self,
        caller: &Caller,
        key: &RequestKey,
        submission: v1::Submission,
        allowed: bool,
        written_at: Option<BusinessTime>,
    ) -> Result<TakenIn, Problem> {
        let down = self.desk.config.enabled && self.link.is_down();
        let _one_at_a_time = if down { Some(self.desk.intakes.lock().await) } else { None };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut submission = submission.clone();
            let id = call_id(caller.party.as_str(), key.as_str());
            let stored = self.spool.submission(&id).map_err(|error| unreadable(&error))?;
            let mut warnings = Vec::new();
            let offline = match &stored {
                Some((stored, intake)) => {
                    as_before(&mut submission, stored, intake.as_ref());
                    intake.clone()
                }
                None => {
                    refuse_own_number(&submission, &self.spool)?;
                    submission.received_at.get_or_insert_with(|| timestamp(written_at.unwrap_or_else(wall_clock)));
                    let registry =
                        self.desk.copy.registry().filter(|_| down && allowed && self.desk.may_date(&self.spool));
                    match registry {
                        Some(registry) => {
                            let (intake, odd) = self.desk.take_in(&mut submission, &registry, &self.spool)?;
                            warnings = odd;
                            Some(intake)
                        }
                        None => None,
                    }
                }
            };
            let call = NewCall {
                id: id.clone(),
                kind: CallKind::Submit,
                dossier: None,
                body: submission.encode_to_vec().into(),
                trace: caller.trace.clone(),
                offline,
            };
            match self.spool.queue(call).await {
                // The same request came in beside this one; what it became is known now.
                Err(QueueError::KeyReused) if stored.is_none() && attempts == 1 => {}
                Err(error) => return Err(not_queued(error)),
                Ok(view) => {
                    // What stands in the spool is what counts.
                    let kept = self.spool.submission(&id).map_err(|error| unreadable(&error))?;
                    let offline = kept.and_then(|(submission, intake)| Some((submission, intake?)));
                    let code_pending = down && offline.is_none();
                    let offline =
                        offline.map(|(submission, intake)| OfflineJson::new(self, submission, intake, warnings));
                    return Ok(TakenIn { view, offline, code_pending });
                }
            }
        }
    }
}

impl OfflineJson {
    fn new(office: &Office, submission: v1::Submission, intake: OfflineIntake, warnings: Vec<v1::Warning>) -> Self {
        let registry = office.desk.copy.registry();
        let registry = registry.as_deref();
        let synced_at_ms = office.desk.copy.view().synced_at_ms;
        let age = synced_at_ms.and_then(|at| u64::try_from(now_ms().saturating_sub(at) / 1000).ok());
        let provisional = !intake.provisional_number.is_empty();
        Self {
            offline: true,
            message_vi: provisional.then_some(PROVISIONAL.vi),
            message_en: provisional.then_some(PROVISIONAL.en),
            dossier_code: Some(intake.dossier_code).filter(|code| !code.is_empty()),
            provisional_number: Some(intake.provisional_number).filter(|number| !number.is_empty()),
            received_at: submission.received_at.as_ref().and_then(print_time),
            due_at: intake.due_at.and_then(|seconds| print_time(&Timestamp { seconds, nanos: 0 })),
            registry_version: intake.registry_version,
            registry_age_seconds: age,
            slip: SlipJson::new(registry, &intake.competent_authority, submission),
            competent_authority: intake.competent_authority,
            warnings: warnings.into_iter().map(WarningJson::new).collect(),
        }
    }
}

impl SlipJson {
    fn new(registry: Option<&Registry>, authority: &str, submission: v1::Submission) -> Self {
        let party_name = |id: &str| {
            let party = registry?.party(&id.parse::<PartyId>().ok()?)?;
            Some(party.name.clone())
        };
        let day = submission.received_at.and_then(|at| BusinessTime::from_unix_seconds(at.seconds).ok());
        let procedure_name = || {
            let code = submission.procedure_code.parse::<ProcedureCode>().ok()?;
            Some(registry?.procedure(&code, day?.date()).ok()?.name.clone())
        };
        let desk = submission.acting_party.clone();
        let return_desk = Some(submission.return_desk.clone()).filter(|desk| !desk.is_empty());
        let return_desk = return_desk.unwrap_or_else(|| desk.clone());
        let procedure_name = procedure_name();
        let SubmissionJson { procedure_code, components, return_channel, .. } = SubmissionJson::from_proto(submission);
        Self {
            form: "01",
            desk_name: party_name(&desk),
            desk,
            competent_authority_name: party_name(authority),
            procedure_code: procedure_code.unwrap_or_default(),
            procedure_name,
            components,
            return_desk_name: party_name(&return_desk),
            return_desk,
            return_channel,
        }
    }
}

fn timestamp(time: BusinessTime) -> Timestamp {
    Timestamp { seconds: time.unix_seconds(), nanos: 0 }
}
