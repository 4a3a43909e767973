//! One thing a party says about an existing dossier.

use std::borrow::Cow;

use lgsp_proto::types::{ActorId, Alias, DossierCode, PartyId, RequestKey, ReturnChannel};
use lgsp_proto::v1::entry::What;
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{Discriminator, OneOfBuilder};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::fields::Fields;
use super::parts::{self, ComponentJson, DocumentJson, FeeJson, ResultJson, compulsory, each, long, short, text};
use super::read::{self, NotJson};
use super::submission::return_number;
use super::time;
use super::whole::{whole, whole_or_null};

/// The body of `POST /v1/dossiers/{code}/events`, and of every event but `submitted`.
pub(crate) struct EntryJson {
    /// What happened, with its own fields.
    what: WhatJson,
    common: CommonJson,
}

/// What every entry has beside the fields of its type.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct CommonJson {
    /// When it happened. Compulsory.
    #[schema(required, nullable = false)]
    occurred_at: Option<String>,
    /// The last event the sender has seen; left out, whatever came in between.
    #[serde(deserialize_with = "whole_or_null")]
    expected_sequence: Option<u32>,
}

/// `type` says which, and its fields stand beside it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WhatJson {
    Accepted(NoteJson),
    Refused(ReasonJson),
    SupplementRequested(SupplementJson),
    SupplementProvided(ProvidedJson),
    SupplementExpired(WhyJson),
    Withdrawn(WhyJson),
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

impl WhatJson {
    /// Reads the fields of a type. By hand: what serde makes of `type` beside the fields forgets which of them is wrong.
    ///
    /// # Errors
    /// The type is none, or a field does not belong to it.
    fn read(kind: Option<&Value>, fields: Map<String, Value>) -> Result<Self, NotJson> {
        fn own<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, NotJson> {
            read::read_value(fields)
        }
        match kind.and_then(Value::as_str) {
            Some("accepted") => own(fields).map(Self::Accepted),
            Some("refused") => own(fields).map(Self::Refused),
            Some("supplement_requested") => own(fields).map(Self::SupplementRequested),
            Some("supplement_provided") => own(fields).map(Self::SupplementProvided),
            Some("supplement_expired") => own(fields).map(Self::SupplementExpired),
            Some("withdrawn") => own(fields).map(Self::Withdrawn),
            Some("processing_started") => own(fields).map(Self::ProcessingStarted),
            Some("fee_requested") => own(fields).map(Self::FeeRequested),
            Some("fee_paid") => own(fields).map(Self::FeePaid),
            Some("stopped") => own(fields).map(Self::Stopped),
            Some("resolved") => own(fields).map(Self::Resolved),
            Some("result_recalled") => own(fields).map(Self::ResultRecalled),
            Some("returned") => own(fields).map(Self::Returned),
            Some("extended") => own(fields).map(Self::Extended),
            Some("paused") => own(fields).map(Self::Paused),
            Some("resumed") => own(fields).map(Self::Resumed),
            Some("progressed") => own(fields).map(Self::Progressed),
            _ => Err(NotJson { field: "type".to_owned(), error: serde::de::Error::custom("no type of event") }),
        }
    }
}

/// A note that may be left out.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Note)]
#[serde(deny_unknown_fields, default)]
struct NoteJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// A reason; the law wants it wherever a dossier is refused, stopped or taken back.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Reason)]
#[serde(deny_unknown_fields, default)]
struct ReasonJson {
    #[schema(required, nullable = false)]
    reason: Option<String>,
}

/// A reason that may be left out.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Why)]
#[serde(deny_unknown_fields, default)]
struct WhyJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Form 02: what is missing, and until when. Both compulsory.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Supplement)]
#[serde(deny_unknown_fields, default)]
struct SupplementJson {
    #[schema(required, nullable = false)]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<String>,
    #[schema(required, nullable = false)]
    until: Option<String>,
}

/// What the citizen brought.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Provided)]
#[serde(deny_unknown_fields, default)]
struct ProvidedJson {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<ComponentJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// At least one fee.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Fees)]
#[serde(deny_unknown_fields, default)]
struct FeesJson {
    #[schema(required, nullable = false)]
    fees: Vec<FeeJson>,
}

/// The payment's reference is compulsory.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Paid)]
#[serde(deny_unknown_fields, default)]
struct PaidJson {
    #[schema(required, nullable = false)]
    payment_reference: Option<String>,
    #[serde(deserialize_with = "whole")]
    amount_vnd: u64,
}

/// At least one result.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Resolved)]
#[serde(deny_unknown_fields, default)]
struct ResolvedJson {
    #[schema(required, nullable = false)]
    results: Vec<ResultJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// How it was handed out; compulsory.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Returned)]
#[serde(deny_unknown_fields, default)]
struct ReturnedJson {
    #[schema(required, nullable = false)]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Form 04: why, and the new date. Both compulsory.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Extended)]
#[serde(deny_unknown_fields, default)]
struct ExtendedJson {
    #[schema(required, nullable = false)]
    reason: Option<String>,
    #[schema(required, nullable = false)]
    new_due_at: Option<String>,
}

/// Why the clock stops; the cause is compulsory.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Paused)]
#[serde(deny_unknown_fields, default)]
struct PausedJson {
    #[schema(required, nullable = false)]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The cause that has ended; compulsory.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Resumed)]
#[serde(deny_unknown_fields, default)]
struct ResumedJson {
    #[schema(required, nullable = false)]
    cause: Option<String>,
}

/// A step inside the authority; its name is compulsory.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Progress)]
#[serde(deny_unknown_fields, default)]
struct ProgressJson {
    #[schema(required, nullable = false)]
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
    pub(crate) fn read(body: &[u8]) -> Result<Self, NotJson> {
        let mut object: Map<String, Value> = read::read(body)?;
        let common = ["occurred_at", "expected_sequence"].into_iter().filter_map(|name| object.remove_entry(name));
        let common: Map<String, Value> = common.collect();
        let kind = object.remove("type");
        Ok(Self { common: read::read_value(common)?, what: WhatJson::read(kind.as_ref(), object)? })
    }

    /// Notes the last event the sender has seen, as a header told it.
    ///
    /// # Errors
    /// The body says another.
    pub(crate) fn expect(&mut self, sequence: u32) -> Result<(), Refusal> {
        let said = self.common.expected_sequence.filter(|said| *said > 0);
        if said.is_some_and(|said| said != sequence) {
            return Err(Refusal::new(Reason::FieldInvalid)
                .field("expected_sequence", Wrong::new("khác với If-Match", "is not what If-Match says")));
        }
        self.common.expected_sequence = Some(sequence);
        Ok(())
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
            expected_sequence: self.common.expected_sequence.unwrap_or_default(),
            occurred_at: fields.time("occurred_at", self.common.occurred_at.as_deref()),
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
                    f.problem(
                        "fees",
                        Wrong::new("đang để trống; cần ít nhất một khoản phí", "is empty; at least one fee"),
                    );
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
                    f.problem(
                        "results",
                        Wrong::new("đang để trống; cần ít nhất một kết quả", "is empty; at least one result"),
                    );
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
            What::SupplementExpired(what) => Self::SupplementExpired(WhyJson { reason: text(what.reason) }),
            What::Withdrawn(what) => Self::Withdrawn(WhyJson { reason: text(what.reason) }),
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

impl PartialSchema for EntryJson {
    fn schema() -> RefOr<Schema> {
        let kinds = kinds();
        let mut either = OneOfBuilder::new().description(Some(
            "One thing said about a dossier: `type` says which, and the fields of that type stand beside it.",
        ));
        let mut by_type = Discriminator::new("type");
        for (kind, _) in kinds {
            let named = Ref::from_schema_name(kind_name(kind));
            by_type.mapping.insert(kind.to_owned(), named.ref_location.clone());
            either = either.item(named);
        }
        either.discriminator(Some(by_type)).into()
    }
}

impl ToSchema for EntryJson {
    fn name() -> Cow<'static, str> {
        "Entry".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (kind, own) in kinds() {
            let (RefOr::T(Schema::Object(mut object)), RefOr::T(Schema::Object(common))) = (own, CommonJson::schema())
            else {
                unreachable!("the fields of an entry are those of a struct")
            };
            object.properties.insert("type".to_owned(), kind_schema(kind));
            object.properties.extend(common.properties);
            object.required.push("type".to_owned());
            object.required.extend(common.required);
            schemas.push((kind_name(kind), object.into()));
        }
        ComponentJson::schemas(schemas);
        schemas.extend([
            (ComponentJson::name().into_owned(), ComponentJson::schema()),
            (ResultJson::name().into_owned(), ResultJson::schema()),
            (FeeJson::name().into_owned(), FeeJson::schema()),
        ]);
    }
}

/// Every type of entry, with its own fields as [`WhatJson`] has them.
fn kinds() -> [(&'static str, RefOr<Schema>); 17] {
    [
        ("accepted", NoteJson::schema()),
        ("refused", ReasonJson::schema()),
        ("supplement_requested", SupplementJson::schema()),
        ("supplement_provided", ProvidedJson::schema()),
        ("supplement_expired", WhyJson::schema()),
        ("withdrawn", WhyJson::schema()),
        ("processing_started", NoteJson::schema()),
        ("fee_requested", FeesJson::schema()),
        ("fee_paid", PaidJson::schema()),
        ("stopped", ReasonJson::schema()),
        ("resolved", ResolvedJson::schema()),
        ("result_recalled", ReasonJson::schema()),
        ("returned", ReturnedJson::schema()),
        ("extended", ExtendedJson::schema()),
        ("paused", PausedJson::schema()),
        ("resumed", ResumedJson::schema()),
        ("progressed", ProgressJson::schema()),
    ]
}

fn kind_schema(kind: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([kind])).into()
}

/// `fee_paid` is described as `EntryFeePaid`.
fn kind_name(kind: &str) -> String {
    let mut name = "Entry".to_owned();
    for word in kind.split('_') {
        let (first, rest) = word.split_at(1);
        name.extend([first.to_ascii_uppercase().as_str(), rest]);
    }
    name
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
            let words = words.join(", ");
            f.problem("cause", Wrong::new(format!("không thuộc: {words}"), format!("is not one of {words}")));
            0
        }
    }
}

pub(super) fn cause_word(number: i32) -> Option<String> {
    CAUSES.iter().find(|(_, cause)| *cause as i32 == number).map(|(word, _)| (*word).to_owned())
}
