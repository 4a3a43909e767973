//! Which refusals a kind of call can meet, as the description lists them: by HTTP status, each with its reasons.

use std::collections::BTreeMap;

use lgsp_proto::Reason;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

use crate::problem::{LocalReason, Problem};

/// No refusal: it is what the caller has.
pub(crate) struct Unchanged;
/// A call that needs no credentials.
pub(crate) struct Open;
/// Any call.
pub(crate) struct Always;
/// A list of what is on this machine.
pub(crate) struct Listed;
/// A question about a request or an exception that may not be here.
pub(crate) struct Waiting;
/// Something to be sent, or to be kept.
pub(crate) struct TakingIn;
/// An upload in pieces that is under way.
pub(crate) struct UploadedTo;
/// A document on its way in.
pub(crate) struct Uploading;
/// A document, or part of it, that the gateway is asked for.
pub(crate) struct Ranged;
/// What the gateway is asked at once.
pub(crate) struct FromGateway;
/// A trial of webhooks.
pub(crate) struct Tried;
/// About the national portal, if there is one.
pub(crate) struct OfPortal;
/// A question to a data service.
pub(crate) struct AskedOfService;
/// An earlier one, that the gateway has on record.
pub(crate) struct LookedAt;

/// Before anything is looked at.
const ALWAYS: [Refused; 5] = [
    Refused::Here(LocalReason::TokenInvalid),
    Refused::Here(LocalReason::ClientInvalid),
    Refused::Here(LocalReason::ClientPartyMissing),
    Refused::Here(LocalReason::TooManyFailures),
    Refused::Bus(Reason::Overloaded),
];
/// By what was asked.
const ASKED: [Refused; 3] =
    [Refused::Bus(Reason::Malformed), Refused::Bus(Reason::FieldInvalid), Refused::Bus(Reason::ActsForMissing)];
const KEPT: [Refused; 3] =
    [Refused::Here(LocalReason::SpoolDiskFull), Refused::Bus(Reason::ReadOnly), Refused::Bus(Reason::Internal)];

#[derive(Clone, Copy)]
enum Refused {
    Bus(Reason),
    Here(LocalReason),
}

impl IntoResponses for Unchanged {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response = ResponseBuilder::new().description("It is what the caller has");
        BTreeMap::from([("304".to_owned(), response.build().into())])
    }
}

impl IntoResponses for Open {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[&[Refused::Bus(Reason::Malformed)]])
    }
}

impl IntoResponses for Always {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[&ALWAYS])
    }
}

impl IntoResponses for Listed {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[&ALWAYS, &ASKED, &[Refused::Bus(Reason::PageTokenInvalid), Refused::Bus(Reason::Internal)]])
    }
}

impl IntoResponses for Waiting {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let unknown = [
            Refused::Here(LocalReason::RequestNotFound),
            Refused::Here(LocalReason::ExceptionNotFound),
            Refused::Here(LocalReason::ExceptionHandled),
            Refused::Bus(Reason::MessageTooLarge),
        ];
        described(&[&ALWAYS, &ASKED, &unknown, &KEPT[1..]])
    }
}

impl IntoResponses for TakingIn {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let more = [
            Refused::Bus(Reason::KeyReused),
            Refused::Bus(Reason::MessageTooLarge),
            Refused::Bus(Reason::DeliveryUnknown),
            Refused::Bus(Reason::EarlierEventsMissing),
        ];
        described(&[&ALWAYS, &ASKED, &more, &KEPT])
    }
}

impl IntoResponses for Uploading {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(&[&ALWAYS, &ASKED, &[Refused::Bus(Reason::DocumentTooLarge)], &KEPT])
    }
}

impl IntoResponses for UploadedTo {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let upload = [Refused::Here(LocalReason::UploadNotFound), Refused::Here(LocalReason::UploadOffsetWrong)];
        described(&[&ALWAYS, &ASKED, &upload, &KEPT])
    }
}

impl IntoResponses for Tried {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let trial = [Refused::Here(LocalReason::WebhookNotFound), Refused::Bus(Reason::MessageTooLarge)];
        described(&[&ALWAYS, &ASKED[..2], &trial])
    }
}

impl IntoResponses for OfPortal {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let portal = [Refused::Here(LocalReason::ResourceNotFound), Refused::Bus(Reason::MessageTooLarge)];
        described(&[&ALWAYS, &ASKED[..2], &portal])
    }
}

impl IntoResponses for FromGateway {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let gateway = [
            Refused::Here(LocalReason::GatewayUnreachable),
            Refused::Bus(Reason::DossierNotFound),
            Refused::Bus(Reason::DocumentNotFound),
            Refused::Bus(Reason::PageTokenInvalid),
            Refused::Bus(Reason::ProcedureUnknown),
            Refused::Bus(Reason::CaseUnknown),
            Refused::Bus(Reason::UnitUnknown),
            Refused::Bus(Reason::UnitCeased),
            Refused::Bus(Reason::GrantMissing),
            Refused::Bus(Reason::RoleMissing),
            Refused::Bus(Reason::SystemUnknown),
            Refused::Bus(Reason::QuotaExceeded),
            Refused::Bus(Reason::ShuttingDown),
            Refused::Bus(Reason::Internal),
        ];
        described(&[&ALWAYS, &ASKED, &gateway])
    }
}

impl IntoResponses for Ranged {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = FromGateway::responses();
        responses.extend(described(&[&[Refused::Here(LocalReason::RangeNotSatisfiable)]]));
        responses
    }
}

impl IntoResponses for LookedAt {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let gateway = [
            Refused::Here(LocalReason::GatewayUnreachable),
            Refused::Bus(Reason::QueryNotFound),
            Refused::Bus(Reason::SystemUnknown),
            Refused::Bus(Reason::QuotaExceeded),
            Refused::Bus(Reason::ShuttingDown),
            Refused::Bus(Reason::Internal),
        ];
        described(&[&ALWAYS, &ASKED, &gateway])
    }
}

impl IntoResponses for AskedOfService {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let asked = [
            Refused::Here(LocalReason::GatewayUnreachable),
            Refused::Bus(Reason::MessageTooLarge),
            Refused::Bus(Reason::ServiceUnknown),
            Refused::Bus(Reason::DossierNotFound),
            Refused::Bus(Reason::DossierArchived),
            Refused::Bus(Reason::ContentErased),
            Refused::Bus(Reason::ProcedureUnknown),
            Refused::Bus(Reason::ProcedureAbolished),
            Refused::Bus(Reason::ProcedureNotYetInForce),
            Refused::Bus(Reason::GrantMissing),
            Refused::Bus(Reason::RoleMissing),
            Refused::Bus(Reason::SystemUnknown),
            Refused::Bus(Reason::QuotaExceeded),
            Refused::Bus(Reason::ReadOnly),
            Refused::Bus(Reason::ShuttingDown),
            Refused::Bus(Reason::Internal),
            Refused::Bus(Reason::ServiceNotServed),
            Refused::Bus(Reason::ServiceBusy),
            Refused::Bus(Reason::ServiceSuspended),
            Refused::Bus(Reason::QueryOutcomeUnknown),
            Refused::Bus(Reason::SubjectNotFound),
            Refused::Bus(Reason::SubjectAmbiguous),
            Refused::Bus(Reason::SubjectMismatch),
            Refused::Bus(Reason::SubjectLocked),
            Refused::Bus(Reason::ClerkNotAuthorised),
            Refused::Bus(Reason::PurposeNotPermitted),
            Refused::Bus(Reason::ServiceQuotaExceeded),
            Refused::Bus(Reason::ServiceMaintenance),
            Refused::Bus(Reason::ServiceFailed),
        ];
        described(&[&ALWAYS, &ASKED, &asked])
    }
}

fn described(groups: &[&[Refused]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for refused in groups.iter().flat_map(|group| group.iter()) {
        let problem = match *refused {
            Refused::Bus(reason) => Problem::from(reason),
            Refused::Here(reason) => Problem::from(reason),
        };
        let (status, reason, title) = problem.as_described();
        by_status.entry(status).or_default().push(format!("`{reason}`: {title}"));
    }
    let response = |reasons: Vec<String>| {
        let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
        ResponseBuilder::new().description(reasons.join("\n\n")).content("application/problem+json", content).build()
    };
    by_status.into_iter().map(|(status, reasons)| (status.to_string(), response(reasons).into())).collect()
}
