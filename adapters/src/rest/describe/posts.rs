//! The posts of webhooks in the description: OpenAPI 3.1 `webhooks`, one for each type of event.
//!
//! Owns what is around a post: its headers, and what an answer to it means. The types are those that are posted
//! (`webhook::event_types`), the envelope and what it holds come from the types that are written.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::handover::OutcomeJson;
use crate::json::DeliveryJson;
use crate::webhook::{self, CloudEvent, TestJson};

/// What an agency's system that takes webhooks has to know at every post.
const ABOUT: &str = "\
Posted to `webhook.url`, or the party's own under `[webhook.parties]`, again and again until it is answered 2xx: store it first, then answer. \
It may come more than once, under the same `id`; posts about one dossier come one after the other, in the order of its events. \
Được gửi lại cho đến khi nhận được mã 2xx; cùng một `id` là cùng một thông báo.

Check `webhook-signature` before anything else (Standard Webhooks): HMAC-SHA-256 by the secret, decoded, over `webhook-id`, a full stop, \
`webhook-timestamp`, a full stop, and the body as it came; and take nothing that is older than five minutes.";

/// The answers by which a delivery is refused for good.
const REFUSED: [&str; 4] = ["400", "413", "415", "422"];

/// Where schemas are.
const SCHEMAS: &str = "#/components/schemas/";

/// What a schema is called that says how something looks in what we say, where another says how it has to be sent.
const TOLD: &str = "Told";

/// Writes the posts into a description, which has the schemas of the other ways already.
pub(super) fn apply(document: &mut Value) {
    let mut posts = Map::new();
    for kind in webhook::event_types() {
        let word = kind.strip_prefix(webhook::NAMESPACE).and_then(|word| word.strip_suffix(webhook::VERSION));
        let word = word.expect("every type is made of these three").to_owned();
        let data = data(&word, document);
        let event = json!({ "allOf": [
            reference(&<CloudEvent as ToSchema>::name()),
            { "type": "object", "properties": { "type": { "const": kind }, "data": data } },
        ] });
        posts.insert(kind, json!({ "post": post(&word, &event) }));
    }
    document["webhooks"] = posts.into();
}

/// What the post of a type holds.
fn data(word: &str, document: &mut Value) -> Value {
    match word.split_once('.') {
        Some(("dossier", "other")) => reference(&<DeliveryJson as ToSchema>::name()),
        Some(("dossier", event)) => {
            let body = body(event, document);
            let body = json!({ "properties": { "body": { "anyOf": [body, { "type": "null" }] } } });
            json!({ "allOf": [reference(&<DeliveryJson as ToSchema>::name()), body] })
        }
        Some(("webhook", _)) => reference(&<TestJson as ToSchema>::name()),
        _ => json!({ "allOf": [
            reference(&<OutcomeJson as ToSchema>::name()),
            { "properties": { "type": { "const": word } } },
        ] }),
    }
}

/// What was said in an event of this kind: as it is sent, but as a client that reads it must take it, which is less strictly.
fn body(event: &str, document: &mut Value) -> Value {
    if event != "submitted" {
        let schema = document["components"]["schemas"]["Entry"]["discriminator"]["mapping"][event].as_str();
        let name = schema.and_then(|path| path.strip_prefix(SCHEMAS));
        let name = name.expect("an entry has a schema for every kind but the first").to_owned();
        return told(&name, document);
    }
    let submission = told("Submission", document);
    let kind = json!({ "type": "object", "required": ["type"], "properties": { "type": { "const": event } } });
    json!({ "allOf": [submission, kind] })
}

/// The schema of that name and all that it names, without what only a sender has to keep to: fields of tomorrow may stand beside the
/// others, and forms that are refused today may have been taken in before.
fn told(name: &str, document: &mut Value) -> Value {
    let told = format!("{TOLD}{name}");
    if document["components"]["schemas"][&told].is_null() {
        let mut schema = document["components"]["schemas"][name].clone();
        // Already there for whoever names it on the way.
        document["components"]["schemas"][&told] = json!({});
        loosen(&mut schema, document);
        document["components"]["schemas"][&told] = schema;
    }
    reference(&told)
}

fn loosen(schema: &mut Value, document: &mut Value) {
    match schema {
        Value::Object(own) => {
            for strict in ["additionalProperties", "pattern", "minLength", "maxLength", "not"] {
                own.remove(strict);
            }
            if own.get("enum").and_then(Value::as_array).is_some_and(|words| words.len() > 1) {
                own.remove("enum");
            }
            let named = own.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(SCHEMAS));
            if let Some(name) = named.map(str::to_owned) {
                *schema = told(&name, document);
                return;
            }
            own.values_mut().for_each(|part| loosen(part, document));
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| loosen(part, document)),
        _ => {}
    }
}

fn post(word: &str, event: &Value) -> Value {
    json!({
        "tags": ["webhooks"],
        "operationId": format!("take_{}", word.replace('.', "_")),
        "summary": summary(word),
        "description": ABOUT,
        "security": [],
        "parameters": [
            header("webhook-id", true, "The event's `id`, with `%` written `%25` and `.` written `%2E`.", "H57%2E101/H57%2E12-250714-0001/3"),
            header("webhook-timestamp", true, "When this post was made: seconds since 1970.", "1752458400"),
            header(
                "webhook-signature",
                true,
                "`v1,` and the signature in Base64; while the secret is changed two, with a space between them. One that fits is enough.",
                "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
            ),
            header("traceparent", false, "W3C trace context: what led to this.", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ],
        "requestBody": { "required": true, "content": { webhook::CONTENT_TYPE: { "schema": event } } },
        "responses": answers(word),
    })
}

fn summary(word: &str) -> String {
    match word.split_once('.') {
        Some(("dossier", "other")) => {
            "Something of a kind that this adapter does not know yet happened to a dossier".to_owned()
        }
        Some(("dossier", event)) => format!("Said of a dossier: {event}"),
        Some(("request", outcome)) => format!("What became of a request of your own: {outcome}"),
        _ => "Somebody tries the webhook; there is nothing to do".to_owned(),
    }
}

/// What an answer means; its body does not matter. Only a delivery can be refused for good.
fn answers(word: &str) -> Value {
    let taken = json!({ "description": "The agency's system has it, durably. It does not come again." });
    let later = match word.split_once('.') {
        Some(("webhook", _)) => "It was no success, and is told as such. It is posted once.",
        Some(("request", _)) => "Not now: it comes again, at longer and longer intervals.",
        _ => {
            "Not now: it comes again, at longer and longer intervals. What speaks of this event (500, and a 4xx that is none of 401, 403, \
              404, 405, 408, 425, 429) is counted: after `webhook.attempts` of these it is refused for good."
        }
    };
    let mut answers = json!({ "2XX": taken, "default": { "description": later } });
    if word.starts_with("dossier.") {
        let refused = "Refused for good: it goes back to the gateway, with the later ones of its dossier, and is parked for a person.";
        for status in REFUSED {
            answers[status] = json!({ "description": refused });
        }
    }
    answers
}

fn header(name: &str, is_required: bool, what: &str, example: &str) -> Value {
    json!({
        "name": name, "in": "header", "required": is_required, "description": what,
        "schema": { "type": "string", "examples": [example] },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::handover::{Blame, NotTaken};

    fn described() -> Value {
        serde_json::from_slice(&super::super::super::description()).unwrap()
    }

    #[test]
    fn every_type_of_event_is_described_with_what_it_holds() {
        let document = described();
        let posts = document["webhooks"].as_object().unwrap();
        let mut types = webhook::event_types();
        types.sort();
        assert_eq!(posts.keys().cloned().collect::<Vec<_>>(), types);
        let data = |kind: &str| {
            let schema = &posts[kind]["post"]["requestBody"]["content"][webhook::CONTENT_TYPE]["schema"];
            assert_eq!(schema["allOf"][1]["properties"]["type"]["const"], kind);
            schema["allOf"][1]["properties"]["data"].clone()
        };
        let body = |kind| data(kind)["allOf"][1]["properties"]["body"]["anyOf"][0].clone();
        assert_eq!(body("vn.lgsp.dossier.fee_paid.v1")["$ref"], "#/components/schemas/ToldEntryFeePaid");
        assert_eq!(body("vn.lgsp.dossier.submitted.v1")["allOf"][0]["$ref"], "#/components/schemas/ToldSubmission");
        assert_eq!(data("vn.lgsp.request.refused.v1")["allOf"][1]["properties"]["type"]["const"], "request.refused");
        assert_eq!(data("vn.lgsp.webhook.test.v1")["$ref"], "#/components/schemas/WebhookTestEvent");
    }

    #[test]
    fn what_is_told_is_described_less_strictly_than_what_is_asked_for() {
        let document = described();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let told: Vec<_> = schemas.iter().filter(|(name, _)| name.starts_with(TOLD)).collect();
        assert!(told.len() > 20, "{}", told.len());
        for (name, schema) in told {
            assert!(schema["properties"].is_object(), "{name}");
            let text = schema.to_string();
            assert!(!text.contains("additionalProperties") && !text.contains("pattern"), "{name}: {text}");
            assert!(!text.contains(&format!("{SCHEMAS}Document\"")), "{name} leads back");
        }
        assert_eq!(schemas["Submission"]["additionalProperties"], false);
    }

    #[test]
    fn the_answers_that_are_said_to_be_for_good_are_and_no_others() {
        let document = described();
        let answers = &document["webhooks"]["vn.lgsp.dossier.accepted.v1"]["post"]["responses"];
        for status in 400..600 {
            let blame = NotTaken::Status(StatusCode::from_u16(status).unwrap()).blames();
            let is_named = answers[status.to_string()].is_object();
            assert_eq!(is_named, blame == Blame::ThisForGood, "{status}");
            let later = answers["default"]["description"].as_str().unwrap();
            if blame == Blame::Line && status < 500 {
                assert!(later.contains(&status.to_string()), "{status}");
            }
        }
    }
}
