//! What a field means where its type says nothing of its own: one word, one meaning, wherever it stands.

use serde_json::Value;

use super::{fields, parameters};

/// `field`, or `Schema.field` where it means something else there.
const WORDS: &[(&str, &str)] = &[
    ("acceptance_due_at", "Until when the competent authority has to accept or refuse it."),
    ("Acknowledged.acknowledged", "Those that were named."),
    ("acting_party", "The party in whose name it was said."),
    ("actor", "The clerk's account (cán bộ)."),
    ("admitted", "Those the gateway has admitted, as long as the outcome is kept."),
    ("admitted_at", "When the gateway admitted it."),
    ("aliases", "Codes it carries elsewhere."),
    ("amount_vnd", "Whole đồng."),
    ("at", "When it was noted."),
    ("attempts", "How often it was sent to the gateway."),
    ("authority", "The competent authority."),
    ("body_sha256", "SHA-256 of what was said, as the sender signed it."),
    ("case_code", "The case of the procedure, where it has several."),
    ("cause", "Why the clock stood still."),
    ("channel", "How the citizen got the result."),
    ("code", "The dossier's code (mã số hồ sơ)."),
    ("competent_authority", "The party that decides the dossier (cơ quan có thẩm quyền)."),
    ("competent_authority_name", "Its name."),
    ("components", "Papers and data items (thành phần hồ sơ)."),
    ("connected", "Whether there is a connection to the gateway."),
    ("connected_seconds", "For how long."),
    ("day", "The day they are for."),
    ("deliveries", "Deliveries, in order per dossier."),
    ("desk", "The intake desk."),
    ("desk_name", "Its name."),
    ("documents", "Every paper of the dossier."),
    ("dossier_code", "The dossier's code (mã số hồ sơ)."),
    ("dossiers", "The dossiers of this page."),
    ("due_at", "The legal deadline (ngày hẹn trả)."),
    ("en", "In English."),
    ("enabled", "Whether it is configured."),
    ("erased", "Whether the content was erased."),
    ("events", "Its events, in order."),
    ("exceeded", "Whether it is more than is tolerated; then nothing is dated here."),
    ("exceptions", "The exceptions of this page."),
    ("extended", "Whether it was extended (once, form 04)."),
    ("fees", "At least one."),
    ("field", "Which field it is about."),
    ("file_name", "What people call it."),
    ("form", "Which form of the regulation it is."),
    ("free_bytes", "What is free on the spool's disk."),
    ("from", "Since when."),
    ("gateway", "The gateway."),
    ("hand_over", "Whether the competent authority has it: how far the handing over is."),
    ("intake_channel", "How it came in (kênh tiếp nhận)."),
    ("intake_desk", "Where it was handed in (nơi tiếp nhận)."),
    ("items", "What is missing, paper by paper."),
    ("last_error", "Why the last attempt led nowhere."),
    ("late", "Whether it is past its due date, or was resolved after it."),
    ("left", "How many are left."),
    ("body", "What was said, with its `type`; null when it was erased, or is of a kind not known here."),
    ("location", "Where to ask what became of it."),
    ("state", "`queued`, `sending`, `admitted` or `refused`."),
    ("locality", "The commune or province the matter belongs to."),
    ("matched", "Whether it applied."),
    ("media_type", "What it is, such as `application/pdf`."),
    ("message_en", "In English."),
    ("message_vi", "In Vietnamese."),
    ("needed_bytes", "What has to be free."),
    ("new_due_at", "The new date."),
    ("non_territorial", "Whether the intake desk is outside the authority's territory (không phụ thuộc địa giới)."),
    ("not_after", "Until when it is valid."),
    ("not_handed_over", "Those the agency's system does not have yet."),
    ("note", "In words."),
    ("numbers", "By desk, authority and day."),
    ("occurred_at", "When it happened."),
    ("offline", "Always true."),
    ("oldest_seconds", "How long the oldest has waited."),
    ("original_due_at", "The deadline without pauses and extensions."),
    ("page_size", "1 to 200; left out, 50."),
    ("page_token", "From the page before, as it came."),
    ("parties", "The parties acted for."),
    ("party", "The party (cơ quan)."),
    ("pauses", "When the clock stood still."),
    ("payment_reference", "The payment's number."),
    ("problem_vi", "The same in Vietnamese."),
    ("procedure", "The procedure's code, such as `1.001193`."),
    ("procedure_code", "The procedure's code (mã TTHC), such as `1.001193`."),
    ("procedure_name", "The procedure's name."),
    ("promised_at", "The date on the citizen's receipt."),
    ("provisional_number", "What was given out instead of a code."),
    ("queued_at", "When it was taken in."),
    ("reason", "Why."),
    ("Warning.reason", "The stable word."),
    ("received_at", "When the desk received it."),
    ("received_from", "Received then or later."),
    ("refused", "Those the gateway has refused, as long as the outcome is kept."),
    ("Refused.refused", "Those that were named."),
    ("refused_at", "When the gateway refused it."),
    ("registry_version", "By which version of the registry."),
    ("replaced_by_request_key", "The request that took its place."),
    ("request_key", "The request's key."),
    ("resolved_at", "When the authority resolved it."),
    ("results", "At least one."),
    ("return_channel", "How the citizen wants the result."),
    ("return_desk", "Where the citizen wants the result (nơi trả kết quả)."),
    ("return_desk_name", "Its name."),
    ("returned_at", "When the citizen got the result."),
    ("role", "As what the party said it."),
    ("route_rule", "The rule by which the authority is competent."),
    ("rule", "The rule's name."),
    ("sequence", "The event's number in its dossier, from 1 on."),
    ("Dossier.sequence", "The number of its last event."),
    ("sha256", "SHA-256, in hexadecimal digits."),
    ("size_bytes", "The length of the content."),
    ("status", "The dossier's status after it."),
    ("Dossier.status", "How it stands: one of the ten statuses of the law."),
    ("Health.status", "`ok`, or what is the matter."),
    ("status_vi", "The same in Vietnamese."),
    ("step", "The step's name."),
    ("steps", "The rules, in the order they were looked at."),
    ("supplement_until", "Until when the citizen may supplement it."),
    ("support_point", "The agent point that helped to file (điểm đại lý)."),
    ("system", "The system that said it; its certificate names it."),
    ("Certificate.system", "The system it names."),
    ("taken_in_at", "When it was taken in."),
    ("to", "Until when."),
    ("tolerance_seconds", "What is tolerated."),
    ("type", "What happened."),
    ("Delivery.type", "Always `dossier.event`."),
    ("unit", "The unit it is with."),
    ("until", "Until when."),
    ("updated_at", "When it last changed."),
    ("uptime_seconds", "Since the adapter's start."),
    ("version", "Which one; absent while there is none."),
    ("vi", "In Vietnamese."),
    ("waiting", "Those the gateway has not answered."),
    ("warnings", "What is odd, and no ground for refusal."),
    ("why_en", "Why, in English."),
    ("why_vi", "Why, in Vietnamese."),
];

/// Gives every field and parameter without a meaning that of its word.
pub(super) fn apply(document: &mut Value) {
    for (name, schema) in fields(document.pointer_mut("/components/schemas")) {
        describe(schema, name);
    }
    for parameter in parameters(document) {
        if let Some(meaning) = parameter["name"].as_str().and_then(|name| meaning("", name)) {
            say(parameter, meaning);
        }
    }
}

/// A schema's own fields, and those of what it is put together from.
fn describe(schema: &mut Value, name: &str) {
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        describe(part, name);
    }
    for (field, own) in fields(schema.get_mut("properties")) {
        if let Some(meaning) = meaning(name, field).filter(|_| own["$ref"].is_null()) {
            say(own, meaning);
        }
    }
}

fn say(what: &mut Value, meaning: &str) {
    if what["description"].is_null() {
        what["description"] = meaning.into();
    }
}

fn meaning(schema: &str, field: &str) -> Option<&'static str> {
    let of = |wanted: &str| WORDS.iter().find(|(word, _)| *word == wanted).map(|(_, meaning)| *meaning);
    of(&format!("{schema}.{field}")).or_else(|| of(field))
}
