//! What the bus says, as JSON: dossiers, events, deliveries, receipts, routes. Only ever written, never read.

use data_encoding::HEXLOWER;
use lgsp_proto::types::{IntakeChannel, ReturnChannel, Status};
use lgsp_proto::v1;
use prost::Message;
use serde::Serialize;
use utoipa::ToSchema;

use super::entry::{EntryJson, cause_word};
use super::parts::{DocumentJson, text};
use super::submission::{SubmissionJson, intake_number, return_number};
use super::time;

/// One admitted fact about a dossier. No personal data; that is in `body`, where it is asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventJson {
    dossier_code: String,
    sequence: u32,
    #[serde(rename = "type")]
    kind: Option<String>,
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hand_over: Option<String>,
    party: String,
    role: Option<String>,
    actor: String,
    occurred_at: Option<String>,
    admitted_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    system: String,
    request_key: String,
    body_sha256: String,
}

/// How a dossier stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Dossier)]
pub struct DossierJson {
    code: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    procedure_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    case_code: Option<String>,
    locality: String,
    intake_channel: Option<&'static str>,
    return_channel: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    support_point: Option<String>,
    intake_desk: String,
    competent_authority: String,
    return_desk: String,
    non_territorial: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hand_over: Option<String>,
    status: Option<&'static str>,
    /// The national number of the status, 1 to 10.
    status_number: i32,
    status_vi: Option<&'static str>,
    sequence: u32,
    received_at: Option<String>,
    clock: Option<ClockJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplement_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    returned_at: Option<String>,
    registry_version: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    documents: Vec<DocumentJson>,
    route_rule: String,
    updated_at: Option<String>,
}

/// The deadline of a dossier.
#[derive(Serialize, ToSchema)]
#[schema(as = Deadline)]
struct ClockJson {
    original_due_at: Option<String>,
    promised_at: Option<String>,
    due_at: Option<String>,
    extended: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pauses: Vec<PauseJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acceptance_due_at: Option<String>,
    late: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Pause)]
struct PauseJson {
    cause: Option<String>,
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

/// What the gateway signed, and where the proof of it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptJson {
    pub(crate) dossier_code: String,
    sequence: u32,
    #[serde(rename = "type")]
    kind: Option<String>,
    status: Option<&'static str>,
    request_key: String,
    acting_party: String,
    body_sha256: String,
    pub(crate) admitted_at: Option<String>,
    occurred_at: Option<String>,
    competent_authority: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acceptance_due_at: Option<String>,
    registry_version: u64,
    non_territorial: bool,
    gateway: String,
    /// The receipt's bytes as they were signed, in Base64.
    signed_base64: String,
    /// The signature over them (ECDSA P-256 with SHA-256 over `lgsp.v1.receipt`, a line feed and the bytes), in Base64.
    signature_base64: String,
    /// The gateway certificate whose key signed.
    certificate_sha256: String,
}

/// Something odd that is no ground for refusal.
#[derive(Serialize, ToSchema)]
#[schema(as = Warning)]
pub struct WarningJson {
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    message_vi: String,
    message_en: String,
}

/// One event for one party: the body of a webhook, and an element of `GET /v1/inbox`.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct DeliveryJson {
    #[serde(rename = "type")]
    kind: &'static str,
    /// Names this delivery and no other, ever; whoever has seen it has seen this event.
    delivery_id: String,
    party: String,
    dossier_code: String,
    sequence: u32,
    event: Option<EventJson>,
    dossier: Option<DossierJson>,
    /// What was said, as the sender signed it; `null` when the content was erased, or is of a kind not known here.
    #[schema(value_type = Option<Object>, required)]
    body: BodyJson,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    erased: bool,
    /// 1 at the first try to hand it over; at a pull, how often the gateway has delivered it.
    attempt: u32,
    /// For the competent authority: what was looked up for the dossier since the event before this one, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    look_ups: Vec<LookUpJson>,
    /// There were more: `GET /v1/dossiers/{code}/queries` has all of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more_look_ups: bool,
}

/// That a data service was asked for the dossier: what it told is kept with it.
#[derive(Serialize, ToSchema)]
#[schema(as = LookUp)]
struct LookUpJson {
    /// Names the question, in hexadecimal digits: `GET /v1/queries/{query_id}` has what was told then.
    query_id: String,
    /// The service.
    service: String,
    /// Its version.
    version: u32,
    /// SHA-256 of the reply's bytes as it was told, in hexadecimal digits; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_sha256: Option<String>,
}

impl LookUpJson {
    fn new(look_up: v1::LookUp) -> Self {
        Self {
            query_id: HEXLOWER.encode(&look_up.query_id),
            service: look_up.service,
            version: look_up.version,
            reply_sha256: text(HEXLOWER.encode(&look_up.reply_sha256)),
        }
    }
}

/// Which authority would be competent, and why.
#[derive(Serialize, ToSchema)]
#[schema(as = Route)]
pub struct RouteJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    competent_authority: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    competent_authority_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    steps: Vec<StepJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_route: Option<WarningJson>,
    /// The command that explains why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<String>,
    registry_version: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RouteStep)]
struct StepJson {
    rule: String,
    matched: bool,
    why_vi: String,
    why_en: String,
}

impl EventJson {
    /// Writes an event.
    pub fn new(event: v1::Event) -> Self {
        let kind = v1::EventKind::try_from(event.kind).ok();
        let role = v1::Role::try_from(event.role).ok();
        Self {
            dossier_code: event.dossier_code,
            sequence: event.sequence,
            kind: kind.map(|kind| word(kind.as_str_name(), "EVENT_KIND_")),
            status: status(event.status).map(Status::as_str),
            hand_over: hand_over(event.hand_over),
            party: event.party,
            role: role.map(|role| word(role.as_str_name(), "ROLE_")),
            actor: event.actor,
            occurred_at: event.occurred_at.as_ref().and_then(time::print),
            admitted_at: event.admitted_at.as_ref().and_then(time::print),
            due_at: event.due_at.as_ref().and_then(time::print),
            system: event.system,
            request_key: event.request_key,
            body_sha256: HEXLOWER.encode(&event.body_sha256),
        }
    }
}

impl DossierJson {
    /// Writes a dossier.
    pub fn new(dossier: v1::Dossier) -> Self {
        let intake = IntakeChannel::ALL.into_iter().find(|c| intake_number(*c) as i32 == dossier.intake_channel);
        let back = ReturnChannel::ALL.into_iter().find(|c| return_number(*c) as i32 == dossier.return_channel);
        Self {
            code: dossier.code,
            aliases: dossier.aliases,
            procedure_code: dossier.procedure_code,
            case_code: text(dossier.case_code),
            locality: dossier.locality,
            intake_channel: intake.map(IntakeChannel::as_str),
            return_channel: back.map(ReturnChannel::as_str),
            support_point: text(dossier.support_point),
            intake_desk: dossier.intake_desk,
            competent_authority: dossier.competent_authority,
            return_desk: dossier.return_desk,
            non_territorial: dossier.non_territorial,
            hand_over: hand_over(dossier.hand_over),
            status: status(dossier.status).map(Status::as_str),
            status_number: dossier.status,
            status_vi: status(dossier.status).map(Status::vietnamese),
            sequence: dossier.sequence,
            received_at: dossier.received_at.as_ref().and_then(time::print),
            clock: dossier.clock.map(ClockJson::new),
            supplement_until: dossier.supplement_until.as_ref().and_then(time::print),
            resolved_at: dossier.resolved_at.as_ref().and_then(time::print),
            returned_at: dossier.returned_at.as_ref().and_then(time::print),
            registry_version: dossier.registry_version,
            documents: dossier.documents.into_iter().map(DocumentJson::from_proto).collect(),
            route_rule: dossier.route_rule,
            updated_at: dossier.updated_at.as_ref().and_then(time::print),
        }
    }
}

impl ClockJson {
    fn new(clock: v1::Clock) -> Self {
        let pause = |pause: v1::Pause| PauseJson {
            cause: cause_word(pause.cause),
            from: pause.from.as_ref().and_then(time::print),
            to: pause.to.as_ref().and_then(time::print),
        };
        Self {
            original_due_at: clock.original_due_at.as_ref().and_then(time::print),
            promised_at: clock.promised_at.as_ref().and_then(time::print),
            due_at: clock.due_at.as_ref().and_then(time::print),
            extended: clock.extended,
            pauses: clock.pauses.into_iter().map(pause).collect(),
            acceptance_due_at: clock.acceptance_due_at.as_ref().and_then(time::print),
            late: clock.late,
        }
    }
}

impl ReceiptJson {
    /// `None` when the receipt cannot be decoded; the link accepts no such receipt.
    pub fn new(signed: &v1::SignedReceipt) -> Option<Self> {
        let receipt = v1::Receipt::decode(signed.receipt.clone()).ok()?;
        let kind = v1::EventKind::try_from(receipt.kind).ok();
        Some(Self {
            dossier_code: receipt.dossier_code,
            sequence: receipt.sequence,
            kind: kind.map(|kind| word(kind.as_str_name(), "EVENT_KIND_")),
            status: status(receipt.status).map(Status::as_str),
            request_key: receipt.request_key,
            acting_party: receipt.acting_party,
            body_sha256: HEXLOWER.encode(&receipt.body_sha256),
            admitted_at: receipt.admitted_at.as_ref().and_then(time::print),
            occurred_at: receipt.occurred_at.as_ref().and_then(time::print),
            competent_authority: receipt.competent_authority,
            due_at: receipt.due_at.as_ref().and_then(time::print),
            acceptance_due_at: receipt.acceptance_due_at.as_ref().and_then(time::print),
            registry_version: receipt.registry_version,
            non_territorial: receipt.non_territorial,
            gateway: receipt.gateway,
            signed_base64: data_encoding::BASE64.encode(&signed.receipt),
            signature_base64: data_encoding::BASE64.encode(&signed.signature),
            certificate_sha256: HEXLOWER.encode(&signed.certificate_sha256),
        })
    }
}

impl WarningJson {
    /// Writes a warning.
    pub fn new(warning: v1::Warning) -> Self {
        Self {
            reason: warning.reason,
            field: text(warning.field),
            message_vi: warning.message_vi,
            message_en: warning.message_en,
        }
    }
}

impl DeliveryJson {
    /// By what it goes, and its type.
    pub(crate) fn name(&self) -> (&str, &str) {
        (&self.delivery_id, self.kind)
    }

    pub(crate) fn new(delivery: v1::Delivery, delivery_id: String, attempt: Option<u32>) -> Self {
        let reference = delivery.r#ref.unwrap_or_default();
        let recorded = delivery.event.unwrap_or_default();
        let kind = recorded.event.as_ref().map_or(0, |event| event.kind);
        Self {
            kind: "dossier.event",
            delivery_id,
            party: reference.party,
            dossier_code: reference.dossier_code,
            sequence: reference.sequence,
            body: BodyJson::new(kind, &recorded.body),
            event: recorded.event.map(EventJson::new),
            erased: recorded.erased,
            dossier: delivery.dossier.map(DossierJson::new),
            attempt: attempt.unwrap_or(delivery.attempt),
            look_ups: delivery.look_ups.into_iter().map(LookUpJson::new).collect(),
            more_look_ups: delivery.more_look_ups,
        }
    }
}

impl RouteJson {
    /// Writes a route, or why there is none.
    pub fn new(route: v1::ExplainRouteResponse) -> Self {
        let step = |step: v1::RouteStep| StepJson {
            rule: step.rule,
            matched: step.matched,
            why_vi: step.why_vi,
            why_en: step.why_en,
        };
        Self {
            competent_authority: text(route.competent_authority),
            competent_authority_name: text(route.competent_authority_name),
            rule: text(route.rule),
            steps: route.steps.into_iter().map(step).collect(),
            explain: route.no_route.as_ref().map(|none| lgsp_proto::explain::page(&none.reason)),
            no_route: route.no_route.map(WarningJson::new),
            registry_version: route.registry_version,
        }
    }
}

/// The signed body of an event.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum BodyJson {
    /// Written without a detour, so that a form that is JSON keeps its numbers to the last digit.
    Submission {
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(flatten)]
        submission: Box<SubmissionJson>,
    },
    Entry(serde_json::Value),
    /// `null`: absent, or of a kind not known here.
    Nothing(()),
}

impl BodyJson {
    pub(crate) fn new(kind: i32, body: &[u8]) -> Self {
        if kind == v1::EventKind::Submitted as i32 && !body.is_empty() {
            return v1::Submission::decode(body).map_or(Self::Nothing(()), |submission| Self::Submission {
                kind: "submitted",
                submission: Box::new(SubmissionJson::from_proto(submission)),
            });
        }
        let entry = v1::Entry::decode(body).ok().and_then(EntryJson::to_json);
        entry.map_or(Self::Nothing(()), Self::Entry)
    }
}

fn status(number: i32) -> Option<Status> {
    u32::try_from(number).ok().and_then(|number| Status::try_from(number).ok())
}

fn hand_over(number: i32) -> Option<String> {
    let state = v1::HandOver::try_from(number).ok().filter(|state| *state != v1::HandOver::Unspecified)?;
    Some(word(state.as_str_name(), "HAND_OVER_"))
}

/// `EVENT_KIND_FEE_PAID` is `fee_paid` in JSON.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}
