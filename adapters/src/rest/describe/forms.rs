//! The forms of codes and texts in the description: their patterns, lengths, words and examples, by the name of the field.
//!
//! One word means one thing in this interface, so a name is enough; the few that mean several stand with their schema. What is
//! accepted is the validated types' to say (`lgsp_proto::types`), and the tests hold the patterns against them.

use lgsp_proto::types::Status;
use serde_json::{Value, json};

use super::super::pages;
use super::{fields, parameters};

/// How a text has to look.
struct Form {
    /// `field`; or `Schema.field`, `query.parameter`, `path.parameter` where the name alone means several things.
    names: &'static [&'static str],
    look: Look,
    example: &'static str,
}

enum Look {
    /// A regular expression for the whole, and the most characters. Where the field may be left out, an empty text is as good.
    Pattern(&'static str, u64),
    /// The same, and an empty text is none.
    Strict(&'static str, u64),
    Words(&'static [&'static str]),
    /// One or more of the ten statuses, with commas between them.
    Statuses,
    /// One or more of these words.
    Lists(&'static [&'static str]),
    Any,
}

const PARTY: &str = r"[A-Z][0-9]{2}(?:\.[0-9A-Z]{1,4}){0,6}";
const KEY: &str = "[A-Za-z0-9._:-]+";
const ACTOR: &str = "[A-Za-z0-9._@-]+";
const ALIAS: &str = "[!-~]+";
const DIGEST: &str = "[0-9a-fA-F]{64}";
const PROCEDURE: &str =
    r"[1-6]\.[0-9]{6}(?:\.[A-Z][0-9]{2}(?:\.[0-9A-Z]{1,4}){0,6}|\.[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.[A-Z][0-9]{2})?";
/// Without 29 February, which a pattern cannot know.
const CODE: &str = r"(?:[A-Z][0-9]{2}(?:\.[0-9A-Z]{1,4}){0,6}|[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.[A-Z][0-9]{2})-[0-9]{2}(?:(?:0[13578]|1[02])(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)(?:0[1-9]|[12][0-9]|30)|02(?:0[1-9]|1[0-9]|2[0-8]))-(?:[0-9]{0,1}[0-9]{3}[1-9]|[1-9][0-9]{2}0)";
const DATE: &str = r"[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))";
/// The years are those that are in range in every zone.
const TIME: &str = r"(?:190[1-9]|19[1-9][0-9]|2[0-8][0-9]{2}|29[0-8][0-9]|299[0-8])-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
/// No control characters but line feed and tab, and not blank throughout.
const TEXT: &str = r"(?:[^\u0000-\u0008\u000b-\u001f\u007f-\u009f])*[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000](?:[^\u0000-\u0008\u000b-\u001f\u007f-\u009f])*";
const FILE_NAME: &str = r"[^\u0000-\u0020/\\.\u007f-\u00a0\u1680\u2000-\u200a\u2028-\u202f\u205f\u2066-\u2069\u3000](?:[^\u0000-\u001f/\\\u007f-\u009f\u2028-\u202e\u2066-\u2069]*[^\u0000-\u0020/\\\u007f-\u00a0\u1680\u2000-\u200a\u2028-\u202f\u205f\u2066-\u2069\u3000])?";
const BASE64: &str = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?";

const FORMS: &[Form] = &[
    form(&["LGSP-Party", "party", "authority", "intake_desk", "return_desk", "support_point"], PARTY, 35, "H57.101"),
    form(&["LGSP-Actor", "actor"], ACTOR, 64, "mot.cua"),
    form(&["Idempotency-Key", "path.key", "replaced_by_request_key", "intake_key"], KEY, 64, "2025-000123"),
    form(&["path.code", "aliases"], ALIAS, 64, "H57.12-250714-0001"),
    form(&["sha256"], DIGEST, 64, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    form(&["procedure", "procedure_code"], PROCEDURE, 44, "1.001193"),
    form(&["case_code"], "[a-z0-9-]+", 40, "truong-hop-1"),
    form(&["dossier_code"], CODE, 48, "H57.12-250714-0001"),
    form(&["locality"], "(?:[0-9]{2}|[0-9]{5})", 5, "19753"),
    form(
        &["occurred_at", "until", "new_due_at", "received_at", "received_from", "received_to", "at"],
        TIME,
        35,
        "2025-07-14T09:00:00+07:00",
    ),
    form(
        &["Content-Type", "media_type"],
        "[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*",
        100,
        "application/pdf",
    ),
    form(&["file_name"], FILE_NAME, 255, "to-khai.pdf"),
    form(&["full_name"], TEXT, 200, "Nguyễn Thử Nghiệm"),
    form(&["personal_number"], "(?:[0-9]{9}|[0-9]{12})", 12, "046085000001"),
    Form { names: &["date_of_birth"], look: Look::Strict(DATE, 10), example: "1985-02-03" },
    form(&["email"], TEXT, 254, "nguoi.nop@example.vn"),
    form(&["phone", "organisation_number"], TEXT, 100, "0900000000"),
    form(&["unit", "Component.code", "ResultPaper.code", "Fee.code"], TEXT, 100, "to-khai"),
    form(&["summary", "Handle.note"], TEXT, 1000, "Đăng ký khai sinh"),
    form(&["reason", "note", "items"], TEXT, 2000, "Thiếu bản sao giấy khai sinh"),
    form(&["name", "payment_reference", "step", "return_address", "address"], TEXT, 2000, "Tờ khai"),
    form(&["service", "purpose", "Ask.fields"], "[A-Za-z0-9_.-]+", 64, "dan-cu"),
    form(&["Refuse.reason"], "[A-Za-z0-9_.-]+", 64, "NO_SUCH_CASE"),
    form(&["form_base64"], BASE64, 1_398_104, "AAEC"),
    words(&["Applicant.kind"], &["citizen", "enterprise", "state_agency", "other_organisation"]),
    words(&["sex"], &["male", "female"]),
    words(&["intake_channel"], &["direct", "online", "postal", "1", "2", "3"]),
    words(&["return_channel", "channel"], &["direct", "post", "online", "0", "1", "2"]),
    words(
        &["cause"],
        &["supplement", "financial_obligation", "paper_transit", "expertise", "public_notice", "other_agency"],
    ),
    words(&["LGSP-Offline"], &["allowed", "never"]),
    Form { names: &["query.status"], look: Look::Statuses, example: "processing,resolved" },
    form(&["If-Match"], r#"\*|"[1-9][0-9]{0,8}(?:-[0-9a-f]{16})?""#, 28, "\"3\""),
    any(&["Range"], "bytes=0-9"),
    any(&["If-Range"], ""),
    form(&["path.query_id"], "[0-9a-fA-F]{32}", 32, "0f3ad2a9c1b04e6f8a7d5c3b2e1f0a94"),
    form(&["path.upload"], "[0-9a-f]{32}", 32, "4bf92f3577b34da6a3ce929d0e0e4736"),
    any(&["If-None-Match"], "\"3-00ab00ab00ab00ab\""),
    any(&["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    Form {
        names: &["query.state"],
        look: Look::Lists(&["queued", "sending", "admitted", "refused"]),
        example: "queued,sending",
    },
    any(&["query.page_token"], ""),
    any(&["query.case"], "truong-hop-1"),
    any(&["query.locality"], "19753"),
    any(&["DeliveryName.dossier_code", "query.dossier_code"], "H57.12-250714-0001"),
    any(&["WebhookTest.url"], "http://127.0.0.1:9090/lgsp"),
    any(&["delivery_id"], "H57.101/H57.12-250714-0001/3"),
];

const fn form(names: &'static [&'static str], pattern: &'static str, most: u64, example: &'static str) -> Form {
    Form { names, look: Look::Pattern(pattern, most), example }
}

const fn words(names: &'static [&'static str], words: &'static [&'static str]) -> Form {
    Form { names, look: Look::Words(words), example: words[0] }
}

const fn any(names: &'static [&'static str], example: &'static str) -> Form {
    Form { names, look: Look::Any, example }
}

/// Writes the forms into a description: into every parameter, and into every schema that is read (which knows all its fields).
pub(super) fn apply(document: &mut Value) {
    for (name, schema) in fields(document.pointer_mut("/components/schemas")) {
        count(schema);
        if schema["additionalProperties"] != false {
            continue;
        }
        let required = schema["required"].clone();
        for (field, own) in fields(schema.get_mut("properties")) {
            // Left out and null are the same; saying so for every field helps nobody.
            if own["default"].is_null() {
                own.as_object_mut().map(|own| own.remove("default"));
            }
            let is_required = required.as_array().is_some_and(|names| names.iter().any(|name| name == field));
            let own = if own["items"].is_object() { (&mut own["items"], true) } else { (own, is_required) };
            write(own.0, name, field, own.1);
        }
    }
    for parameter in parameters(document) {
        let [place, name] = ["in", "name"].map(|key| parameter[key].as_str().unwrap_or_default().to_owned());
        let is_required = parameter["required"] == true;
        let schema = &mut parameter["schema"];
        if name == "page_size" {
            (schema["minimum"], schema["maximum"]) = (1.into(), pages::MOST.into());
        }
        count(schema);
        // A parameter is there or is not; there is no null in a query.
        if let Some(kinds) = schema["type"].as_array() {
            schema["type"] = kinds.iter().find(|kind| *kind != "null").cloned().unwrap_or_default();
        }
        write(schema, &place, &name, is_required);
    }
    // An empty one of the two is there all the same.
    document["components"]["schemas"]["Submission"]["not"] = json!({
        "required": ["form", "form_base64"],
        "properties": { "form": { "not": { "type": "null" } }, "form_base64": { "type": "string" } },
    });
    // A question is for one of the two.
    let given = json!({ "type": "string", "minLength": 1 });
    document["components"]["schemas"]["Ask"]["not"] = json!({
        "required": ["dossier_code", "intake_key"], "properties": { "dossier_code": given, "intake_key": given },
    });
}

/// The form of a field, by the most particular name.
fn of(place: &str, name: &str) -> Option<&'static Form> {
    let called = |wanted: &str| FORMS.iter().find(|form| form.names.contains(&wanted));
    called(&format!("{place}.{name}")).or_else(|| called(name))
}

fn write(schema: &mut Value, place: &str, name: &str, is_required: bool) {
    let is_text = |kind: &Value| {
        kind == "string" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "string"))
    };
    let Some(form) = of(place, name).filter(|_| is_text(&schema["type"]) && schema["enum"].is_null()) else { return };
    match form.look {
        Look::Pattern(pattern, most) => {
            let nothing = if is_required { "" } else { "|" };
            schema["pattern"] = format!("^(?:{pattern}{nothing})$").into();
            schema["maxLength"] = most.into();
        }
        Look::Strict(pattern, most) => {
            schema["pattern"] = format!("^(?:{pattern})$").into();
            schema["maxLength"] = most.into();
        }
        Look::Words(words) => {
            let mut words: Vec<Value> = words.iter().map(|word| (*word).into()).collect();
            if schema["type"].is_array() {
                words.push(Value::Null);
            }
            schema["enum"] = words.into();
        }
        Look::Lists(words) => schema["pattern"] = listed(&words.join("|")),
        Look::Statuses => {
            let words: Vec<_> =
                Status::ALL.into_iter().map(|status| format!("{}|{}", status.as_str(), status.number())).collect();
            schema["pattern"] = listed(&words.join("|"));
        }
        Look::Any => {}
    }
    if !form.example.is_empty() {
        schema["examples"] = json!([form.example]);
    }
}

/// One or more of the words, or nothing.
fn listed(words: &str) -> Value {
    format!("^(?:(?:{words})(?:,(?:{words}))*|)$").into()
}

/// Whole numbers without a sign have the bounds of their type; that of 32 bits has no name among the formats.
fn count(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("format").is_some_and(|format| format == "int32") && fields.contains_key("maximum") {
                fields.remove("format");
            }
            if fields.get("minimum").is_some_and(|least| *least == 0) && !fields.contains_key("maximum") {
                let most = match fields.remove("format").as_ref().and_then(Value::as_str) {
                    Some("int32") => u64::from(u32::MAX),
                    _ => u64::MAX,
                };
                fields.insert("maximum".to_owned(), most.into());
            }
            fields.values_mut().for_each(count);
        }
        Value::Array(elements) => elements.iter_mut().for_each(count),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::str::FromStr;

    use lgsp_proto::types::{
        ActorId, Alias, BusinessTime, CaseCode, Date, DossierCode, FileName, Malformed, MediaType, PartyId,
        PersonalNumber, ProcedureCode, RequestKey, Sha256Digest, Text, UnitCode,
    };
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    fn described() -> Value {
        serde_json::from_slice(&super::super::super::description()).unwrap()
    }

    /// Every text that is read, as `place.name`: of the schemas that know all their fields, and of the parameters.
    fn texts(document: &Value) -> Vec<(String, String, Value)> {
        let mut texts = Vec::new();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            for (field, own) in schema["properties"].as_object().into_iter().flatten() {
                if schema["additionalProperties"] == false {
                    let own = if own["items"].is_object() { &own["items"] } else { own };
                    texts.push((name.clone(), field.clone(), own.clone()));
                }
            }
        }
        for (_, path) in document["paths"].as_object().unwrap() {
            for (_, operation) in path.as_object().unwrap() {
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let [place, name] = ["in", "name"].map(|key| parameter[key].as_str().unwrap().to_owned());
                    texts.push((place, name, parameter["schema"].clone()));
                }
            }
        }
        texts.retain(|(_, _, schema)| schema["type"].to_string().contains("string"));
        texts
    }

    #[test]
    fn every_text_that_is_read_has_a_form_and_every_form_a_text() {
        let document = described();
        let mut used = BTreeSet::new();
        for (place, name, schema) in texts(&document) {
            // What says which entry it is.
            if schema["enum"].as_array().is_some_and(|words| words.len() == 1) {
                continue;
            }
            assert!(of(&place, &name).is_some(), "{place}.{name} has no form");
            used.extend([format!("{place}.{name}"), name]);
        }
        for name in FORMS.iter().flat_map(|form| form.names) {
            assert!(used.contains(*name), "there is no {name}");
        }
    }

    #[test]
    fn every_field_and_parameter_says_what_it_is() {
        let document = described();
        let mut silent = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (_, operation) in operations.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{operation}");
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                silent.extend(
                    parameters
                        .filter(|parameter| !parameter["description"].is_string())
                        .map(|parameter| format!("{} of {path}", parameter["name"])),
                );
            }
        }
        let parts = |schema: &Value| {
            let more = schema["allOf"].as_array().cloned().unwrap_or_default();
            std::iter::once(schema.clone()).chain(more).collect::<Vec<_>>()
        };
        let schemas = document["components"]["schemas"].as_object().unwrap().iter();
        for (name, schema) in schemas.flat_map(|(name, schema)| parts(schema).into_iter().map(move |part| (name, part)))
        {
            for (field, own) in schema["properties"].as_object().into_iter().flatten() {
                let is_named = own["description"].is_string() || own["$ref"].is_string() || own["oneOf"].is_array();
                if !is_named && !own["enum"].is_array() {
                    silent.push(format!("{name}.{field}"));
                }
            }
        }
        assert!(silent.is_empty(), "not described: {silent:#?}");
    }

    /// What a text of the form must be read as.
    fn reads<T: FromStr<Err = Malformed>>(text: &str) -> bool {
        text.parse::<T>().is_ok()
    }

    type Known = (&'static str, u64, fn(&str) -> bool);

    const TYPES: [Known; 15] = [
        (PARTY, 35, reads::<PartyId>),
        (KEY, 64, reads::<RequestKey>),
        (ACTOR, 64, reads::<ActorId>),
        (ALIAS, 64, reads::<Alias>),
        (DIGEST, 64, reads::<Sha256Digest>),
        (PROCEDURE, 44, reads::<ProcedureCode>),
        ("[a-z0-9-]+", 40, reads::<CaseCode>),
        (CODE, 48, reads::<DossierCode>),
        ("(?:[0-9]{2}|[0-9]{5})", 5, reads::<UnitCode>),
        (TIME, 35, reads::<BusinessTime>),
        (DATE, 10, |text| text.parse::<Date>().is_ok_and(|date| date.to_string() == text)),
        ("(?:[0-9]{9}|[0-9]{12})", 12, reads::<PersonalNumber>),
        ("[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*", 100, reads::<MediaType>),
        (TEXT, 2000, reads::<Text<2000>>),
        (FILE_NAME, 60, reads::<FileName>),
    ];

    #[test]
    fn what_a_pattern_lets_through_its_type_reads() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for (pattern, most, reads) in TYPES {
            let texts = string_regex(pattern).unwrap();
            let short = texts.prop_filter("too long", |text| text.chars().count() as u64 <= most);
            let tried = runner.run(&short, |text| {
                prop_assert!(reads(&text), "{text:?} matches {pattern}");
                Ok(())
            });
            tried.unwrap();
        }
        for form in FORMS {
            if let Look::Pattern(pattern, most) | Look::Strict(pattern, most) = form.look {
                let known = TYPES.iter().find(|(known, _, _)| *known == pattern);
                assert!(known.is_none_or(|(_, _, reads)| reads(form.example)), "{}", form.example);
                assert!(form.example.chars().count() as u64 <= most, "{}", form.example);
            }
        }
    }
}
