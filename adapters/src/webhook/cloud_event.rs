//! The body of a webhook: a CloudEvent 1.0 in structured mode, with the extensions for traces and for the order
//! (`traceparent`, `partitionkey`). Owns the envelope and the closed list of types; `data` is each message's own.

use lgsp_proto::v1;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::handover::{About, Message, What};
use crate::trace::TraceParent;

/// The content type of a webhook.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What the types have in common; the version grows only when a reader of the one before would be misled.
const NAMESPACE: &str = "vn.lgsp.";
const VERSION: &str = ".v1";

/// Something to try an agency's system with, about no dossier.
pub(super) const TEST: &str = "vn.lgsp.webhook.test.v1";

/// Every type of event that a webhook can hold.
pub fn event_types() -> Vec<String> {
    let kinds = (0..).map_while(|number| v1::EventKind::try_from(number).ok());
    let told = kinds.map(|kind| What::Event(kind as i32)).chain([What::Admitted, What::Refused]);
    told.map(event_type).chain([TEST.to_owned()]).collect()
}

/// The type of a kind of event, by its number.
pub(crate) fn type_of_event(number: i32) -> String {
    event_type(What::Event(number))
}

/// The type of a message. A kind of event that this adapter does not know has one too: its number is unknown, not its dossier.
pub(super) fn event_type(what: What) -> String {
    let word = match what {
        What::Admitted => "request.admitted".to_owned(),
        What::Refused => "request.refused".to_owned(),
        What::Event(number) => match v1::EventKind::try_from(number).ok() {
            None | Some(v1::EventKind::Unspecified) => "dossier.other".to_owned(),
            Some(kind) => {
                let name = kind.as_str_name();
                format!("dossier.{}", name.strip_prefix("EVENT_KIND_").unwrap_or(name).to_ascii_lowercase())
            }
        },
    };
    format!("{NAMESPACE}{word}{VERSION}")
}

/// The attributes in the order in which a person reads them.
#[derive(Serialize)]
pub(super) struct CloudEvent<'a> {
    specversion: &'static str,
    pub(super) id: &'a str,
    pub(super) source: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<&'a str>,
    pub(super) data: &'a RawValue,
}

impl<'a> CloudEvent<'a> {
    /// An event of this type with this data, about nothing in particular.
    pub(super) fn new(id: &'a str, source: &'a str, kind: &'a str, data: &'a RawValue) -> Self {
        Self {
            specversion: "1.0",
            id,
            source,
            kind,
            subject: None,
            time: None,
            datacontenttype: "application/json",
            traceparent: None,
            partitionkey: None,
            data,
        }
    }

    /// What a message holds.
    pub(super) fn of(message: &'a Message, source: &'a str, kind: &'a str, data: &'a RawValue) -> Self {
        let dossier = match &message.about {
            About::Delivery(id) => Some(&*id.dossier),
            About::Outcome(_) => message.dossier_code.as_deref(),
        };
        Self {
            subject: dossier,
            time: message.time.clone(),
            traceparent: message.trace.as_ref().map(TraceParent::as_str),
            partitionkey: dossier,
            ..Self::new(&message.id, source, kind, data)
        }
    }

    /// The bytes that are signed and sent.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("our own types have text keys and finite numbers only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_type_for_every_kind_of_event_also_for_one_of_tomorrow() {
        let types = event_types();
        assert_eq!(types.len(), 19 + 3);
        assert_eq!(types[0], "vn.lgsp.dossier.other.v1");
        for kind in ["dossier.submitted", "dossier.supplement_requested", "request.refused", "webhook.test"] {
            assert!(types.contains(&format!("vn.lgsp.{kind}.v1")), "{kind}");
        }
        assert_eq!(event_type(What::Event(9999)), types[0]);
    }
}
