//! One thing a party says about an existing dossier.

use lgsp_proto::types::{ActorId, Alias, DossierCode, PartyId, RequestKey, ReturnChannel};
use lgsp_proto::v1::entry::What;
use lgsp_proto::{Refusal, v1};
use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::parts::{self, ComponentJson, DocumentJson, FeeJson, ResultJson, compulsory, each, long, short, text};
use super::submission::return_number;
use super::time;

/// The body of `POST /v1/dossiers/{code}/events`, and of every event but `submitted`.
pub(crate) struct EntryJson {
    /// What happened, with its own fields.
    what: WhatJson,
    /// When it happened. Compulsory.
    occurred_at: Option<String>,
    /// The last event the sender has seen; left out, whatever came in between.
    expected_sequence: Option<u32>,
}

/// `type` says which, and its fields stand beside it.
#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WhatJson {
    Accepted(NoteJson),
    Refused(ReasonJson),
    SupplementRequested(SupplementJson),
    SupplementProvided(ProvidedJson),
    SupplementExpired(ReasonJson),
    Withdrawn(ReasonJson),
    ProcessingStarted(NoteJson),
    FeeRequested(FeesJson),
    FeePaid(PaidJson),
    Stopped(ReasonJson),
    Resolved(ResolvedJson),
    ResultRecalled(ReasonJson),
    Returned(ReturnedJson),
    Extended(ExtendedJson),
    Paused(PausedJson),
    Resumed(ResumedJson),
    Progressed(ProgressJson),
}

/// A note that may be left out.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct NoteJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// A reason; the law wants it wherever a dossier is refused, stopped or taken back.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ReasonJson {
    reason: Option<String>,
}

/// Form 02: what is missing, and until when. Both compulsory.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct SupplementJson {
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<String>,
    until: Option<String>,
}

/// What the citizen brought.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ProvidedJson {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<ComponentJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// At least one fee.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct FeesJson {
    fees: Vec<FeeJson>,
}

/// The payment's reference is compulsory.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct PaidJson {
    payment_reference: Option<String>,
    amount_vnd: u64,
}

/// At least one result.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ResolvedJson {
    results: Vec<ResultJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// How it was handed out; compulsory.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ReturnedJson {
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Form 04: why, and the new date. Both compulsory.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ExtendedJson {
    reason: Option<String>,
    new_due_at: Option<String>,
}

/// Why the clock stops; the cause is compulsory.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct PausedJson {
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The cause that has ended; compulsory.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ResumedJson {
    cause: Option<String>,
}

/// A step inside the authority; its name is compulsory.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ProgressJson {
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl EntryJson {
    /// Reads an entry from the text of a request.
    ///
    /// # Errors
    /// When it is not JSON, the type is unknown, or a field does not belong to the type.
    pub(crate) fn read(body: &[u8]) -> serde_json::Result<Self> {
        let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)?;
        let occurred_at = object.remove("occurred_at").map(serde_json::from_value).transpose()?.flatten();
        let expected_sequence = object.remove("expected_sequence").map(serde_json::from_value).transpose()?.flatten();
        Ok(Self { what: serde_json::from_value(object.into())?, occurred_at, expected_sequence })
    }

    /// The documents it names, each with its path.
    pub(crate) fn documents_mut(&mut self) -> Vec<(String, &mut DocumentJson)> {
        match &mut self.what {
            WhatJson::SupplementProvided(provided) => parts::documents_of(&mut provided.components),
            WhatJson::Resolved(resolved) => {
                let numbered = resolved.results.iter_mut().enumerate();
                numbered
                    .filter_map(|(number, result)| {
                        Some((format!("results[{number}].document"), result.document.as_mut()?))
                    })
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The entry to be signed.
    ///
    /// # Errors
    /// A refusal that names every malformed field.
    pub(crate) fn into_proto(
        self,
        dossier: &str,
        key: &RequestKey,
        party: &PartyId,
        actor: &ActorId,
    ) -> Result<v1::Entry, Refusal> {
        let mut fields = Fields::default();
        if dossier.parse::<DossierCode>().is_err() {
            fields.required::<Alias>("dossier_code", Some(dossier));
        }
        let entry = v1::Entry {
            request_key: key.as_str().to_owned(),
            acting_party: party.as_str().to_owned(),
            actor: actor.as_str().to_owned(),
            dossier_code: dossier.to_owned(),
            expected_sequence: self.expected_sequence.unwrap_or_default(),
            occurred_at: fields.time("occurred_at", self.occurred_at.as_deref()),
            what: Some(self.what.into_proto(&mut fields)),
        };
        fields.finish(entry)
    }

    /// An entry that arrived with a delivery, as JSON; `None` for a kind of entry this version does not know.
    pub(crate) fn to_json(entry: v1::Entry) -> Option<serde_json::Value> {
        let mut json = serde_json::to_value(WhatJson::from_proto(entry.what?)).ok()?;
        let object = json.as_object_mut()?;
        if let Some(at) = entry.occurred_at.as_ref().and_then(time::print) {
            object.insert("occurred_at".to_owned(), at.into());
        }
        Some(json)
    }
}

impl WhatJson {
    fn into_proto(self, f: &mut Fields) -> What {
        match self {
            Self::Accepted(NoteJson { note }) => What::Accepted(v1::Accepted { note: long(f, "note", note) }),
            Self::Refused(json) => What::Refused(v1::Refused { reason: json.into_proto(f) }),
            Self::SupplementRequested(json) => What::SupplementRequested(v1::SupplementRequested {
                reason: compulsory(f, "reason", json.reason),
                items: each("items", json.items, f, |item, path, f| compulsory(f, path, Some(item))),
                until: f.time("until", json.until.as_deref()),
            }),
            Self::SupplementProvided(json) => What::SupplementProvided(v1::SupplementProvided {
                components: each("components", json.components, f, |component, path, f| component.into_proto(path, f)),
                note: long(f, "note", json.note),
            }),
            Self::SupplementExpired(json) => {
                // The deadline that passed is reason enough; words may be added.
                What::SupplementExpired(v1::SupplementExpired { reason: long(f, "reason", json.reason) })
            }
            Self::Withdrawn(json) => What::Withdrawn(v1::Withdrawn { reason: long(f, "reason", json.reason) }),
            Self::ProcessingStarted(NoteJson { note }) => {
                What::ProcessingStarted(v1::ProcessingStarted { note: long(f, "note", note) })
            }
            Self::FeeRequested(FeesJson { fees }) => {
                if fees.is_empty() {
                    f.problem("fees", "is empty; at least one fee");
                }
                What::FeeRequested(v1::FeeRequested {
                    fees: each("fees", fees, f, |fee, path, f| fee.into_proto(path, f)),
                })
            }
            Self::FeePaid(json) => What::FeePaid(v1::FeePaid {
                payment_reference: compulsory(f, "payment_reference", json.payment_reference),
                amount_vnd: json.amount_vnd,
            }),
            Self::Stopped(json) => What::Stopped(v1::Stopped { reason: json.into_proto(f) }),
            Self::Resolved(ResolvedJson { results, note }) => {
                if results.is_empty() {
                    f.problem("results", "is empty; at least one result");
                }
                What::Resolved(v1::Resolved {
                    results: each("results", results, f, |result, path, f| result.into_proto(path, f)),
                    note: long(f, "note", note),
                })
            }
            Self::ResultRecalled(json) => What::ResultRecalled(v1::ResultRecalled { reason: json.into_proto(f) }),
            Self::Returned(json) => What::Returned(v1::Returned {
                channel: {
                    let channel = f.required::<ReturnChannel>("channel", json.channel.as_deref());
                    channel.map_or(0, |channel| return_number(channel) as i32)
                },
                note: long(f, "note", json.note),
            }),
            Self::Extended(json) => What::Extended(v1::Extended {
                reason: compulsory(f, "reason", json.reason),
                new_due_at: f.time("new_due_at", json.new_due_at.as_deref()),
            }),
            Self::Paused(json) => What::Paused(v1::Paused {
                cause: cause_number(f, json.cause.as_deref()),
                reason: long(f, "reason", json.reason),
            }),
            Self::Resumed(json) => What::Resumed(v1::Resumed { cause: cause_number(f, json.cause.as_deref()) }),
            Self::Progressed(json) => What::Progressed(v1::Progressed {
                step: compulsory(f, "step", json.step),
                unit: short(f, "unit", json.unit),
                note: long(f, "note", json.note),
            }),
        }
    }

    fn from_proto(what: What) -> Self {
        let reason = |reason| ReasonJson { reason: text(reason) };
        let note = |note| NoteJson { note: text(note) };
        match what {
            What::Accepted(what) => Self::Accepted(note(what.note)),
            What::Refused(what) => Self::Refused(reason(what.reason)),
            What::SupplementRequested(what) => Self::SupplementRequested(SupplementJson {
                reason: text(what.reason),
                items: what.items,
                until: what.until.as_ref().and_then(time::print),
            }),
            What::SupplementProvided(what) => Self::SupplementProvided(ProvidedJson {
                components: what.components.into_iter().map(ComponentJson::from_proto).collect(),
                note: text(what.note),
            }),
            What::SupplementExpired(what) => Self::SupplementExpired(reason(what.reason)),
            What::Withdrawn(what) => Self::Withdrawn(reason(what.reason)),
            What::ProcessingStarted(what) => Self::ProcessingStarted(note(what.note)),
            What::FeeRequested(what) => {
                Self::FeeRequested(FeesJson { fees: what.fees.into_iter().map(FeeJson::from_proto).collect() })
            }
            What::FeePaid(what) => {
                Self::FeePaid(PaidJson { payment_reference: text(what.payment_reference), amount_vnd: what.amount_vnd })
            }
            What::Stopped(what) => Self::Stopped(reason(what.reason)),
            What::Resolved(what) => Self::Resolved(ResolvedJson {
                results: what.results.into_iter().map(ResultJson::from_proto).collect(),
                note: text(what.note),
            }),
            What::ResultRecalled(what) => Self::ResultRecalled(reason(what.reason)),
            What::Returned(what) => {
                let channel = ReturnChannel::ALL.into_iter().find(|c| return_number(*c) as i32 == what.channel);
                Self::Returned(ReturnedJson { channel: channel.map(|c| c.as_str().to_owned()), note: text(what.note) })
            }
            What::Extended(what) => Self::Extended(ExtendedJson {
                reason: text(what.reason),
                new_due_at: what.new_due_at.as_ref().and_then(time::print),
            }),
            What::Paused(what) => Self::Paused(PausedJson { cause: cause_word(what.cause), reason: text(what.reason) }),
            What::Resumed(what) => Self::Resumed(ResumedJson { cause: cause_word(what.cause) }),
            What::Progressed(what) => {
                Self::Progressed(ProgressJson { step: text(what.step), unit: text(what.unit), note: text(what.note) })
            }
        }
    }
}

impl ReasonJson {
    fn into_proto(self, f: &mut Fields) -> String {
        compulsory(f, "reason", self.reason)
    }
}

/// The words of JSON for the causes of a pause.
const CAUSES: [(&str, v1::PauseCause); 6] = [
    ("supplement", v1::PauseCause::Supplement),
    ("financial_obligation", v1::PauseCause::FinancialObligation),
    ("paper_transit", v1::PauseCause::PaperTransit),
    ("expertise", v1::PauseCause::Expertise),
    ("public_notice", v1::PauseCause::PublicNotice),
    ("other_agency", v1::PauseCause::OtherAgency),
];

fn cause_number(f: &mut Fields, word: Option<&str>) -> i32 {
    match word.and_then(|word| CAUSES.iter().find(|(name, _)| *name == word)) {
        Some((_, cause)) => *cause as i32,
        None => {
            let words: Vec<_> = CAUSES.iter().map(|(name, _)| *name).collect();
            f.problem("cause", format!("is not one of {}", words.join(", ")));
            0
        }
    }
}

pub(super) fn cause_word(number: i32) -> Option<String> {
    CAUSES.iter().find(|(_, cause)| *cause as i32 == number).map(|(word, _)| (*word).to_owned())
}
