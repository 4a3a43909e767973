//! `Debug` for the messages of [`PRIVATE`](crate::private::PRIVATE), as their names.

use std::fmt;

use crate::{spool_v1, store_v1, v1};

macro_rules! masked {
    ($($module:ident::$($type:ident)::+),* $(,)?) => {
        $(impl fmt::Debug for $module::$($type)::+ {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($($type)::+), "(..)"))
            }
        })*
    };
}

masked![
    v1::Submission,
    v1::Applicant,
    v1::Component,
    v1::DocumentRef,
    v1::Accepted,
    v1::Refused,
    v1::SupplementRequested,
    v1::SupplementProvided,
    v1::SupplementExpired,
    v1::Withdrawn,
    v1::ProcessingStarted,
    v1::FeePaid,
    v1::Stopped,
    v1::Resolved,
    v1::Result,
    v1::ResultRecalled,
    v1::Returned,
    v1::Extended,
    v1::Paused,
    v1::Progressed,
    v1::SubmitRequest,
    v1::RecordRequest,
    v1::RecordedEvent,
    v1::HandleParkedRequest,
    v1::ParkedAction,
    v1::UploadRequest,
    v1::upload_request::Request,
    v1::DownloadResponse,
    v1::download_response::Response,
    v1::JoinToken,
    v1::JoinRequest,
    v1::IssueTokenResponse,
    v1::AskRequest,
    v1::AskResponse,
    v1::Question,
    v1::ServiceAnswer,
    v1::LookResponse,
    v1::service_answer::Outcome,
    store_v1::QueryContent,
    spool_v1::Queued,
    spool_v1::ExceptionHandled,
];

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use prost_types::field_descriptor_proto::Type;

    use super::*;
    use crate::private::PRIVATE;

    /// Fields by whose names one knows that people wrote into them, that they hold a body whole, or a secret.
    const TELLING: [&str; 26] = [
        "full_name",
        "personal_number",
        "date_of_birth",
        "phone",
        "email",
        "address",
        "return_address",
        "organisation_number",
        "summary",
        "form",
        "file_name",
        "note",
        "reason",
        "why",
        "items",
        "step",
        "payment_reference",
        "submission",
        "entry",
        "body",
        "chunk",
        "token",
        "secret",
        "token_secret",
        "payload",
        "reply",
    ];

    /// Where such a name means something else: a stable word, a sentence of the bus, a position.
    const HARMLESS: [&str; 7] = [
        "lgsp.v1.Decline.reason",
        "lgsp.v1.ParkedDossier.reason",
        "lgsp.v1.ReleaseRequest.why",
        "lgsp.v1.Warning.reason",
        "lgsp.v1.CanIStep.reason",
        "lgsp.spool.v1.Returned.reason",
        "lgsp.v1.RegistryChange.summary",
    ];

    #[test]
    fn no_message_that_people_write_into_or_that_holds_a_secret_is_printed() {
        let described = FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap();
        let mut found = 0;
        for file in described.file.iter().filter(|file| matches!(file.package(), "lgsp.v1" | "lgsp.spool.v1")) {
            for message in &file.message_type {
                let name = format!("{}.{}", file.package(), message.name());
                for field in &message.field {
                    let is_text = matches!(field.r#type(), Type::String | Type::Bytes);
                    let path = format!("{name}.{}", field.name());
                    if is_text && TELLING.contains(&field.name()) && !HARMLESS.contains(&path.as_str()) {
                        assert!(PRIVATE.contains(&name.as_str()), "{path} would be printed");
                        found += 1;
                    }
                }
            }
        }
        assert!(found >= 30, "{found} fields");
    }

    #[test]
    fn a_request_is_printed_without_what_is_in_it() {
        let applicant = v1::Applicant { full_name: "Nguyễn Thị Thử".into(), ..v1::Applicant::default() };
        let submission = v1::Submission { applicant: Some(applicant.clone()), ..v1::Submission::default() };
        let bytes = submission.encode_to_vec();
        let what = v1::entry::What::Refused(v1::Refused { reason: "bà Nguyễn Thị Thử vắng mặt".into() });
        let upload = v1::upload_request::Request::Chunk(bytes.clone().into());
        let printed = format!(
            "{applicant:?} {submission:?} {:?} {:?} {:?} {:?}",
            v1::SubmitRequest { submission: bytes.clone().into(), ..v1::SubmitRequest::default() },
            v1::Entry { what: Some(what), ..v1::Entry::default() },
            v1::UploadRequest { request: Some(upload) },
            v1::Delivery {
                event: Some(v1::RecordedEvent { body: bytes.into(), ..v1::RecordedEvent::default() }),
                ..v1::Delivery::default()
            },
        );
        assert!(!printed.contains("Thử") && !printed.contains("Th\\x"), "{printed}");
        assert!(printed.starts_with("Applicant(..) Submission(..) SubmitRequest(..)"), "{printed}");
        assert!(printed.contains("Refused(Refused(..))"), "{printed}");
    }
}
