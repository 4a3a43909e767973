//! The messages of the bus as the agency's own system reads and writes them: JSON, snake_case, times in RFC 3339.
//!
//! Owns the translation both ways and the checks of form, every bad field named at once. What exists and what is allowed
//! is the gateway's to say. None of these types has a `Debug`: they hold citizens' data.

mod entry;
mod fields;
mod parts;
mod read;
mod submission;
mod time;
mod views;
mod whole;

pub(crate) use entry::EntryJson;
pub(crate) use fields::Fields;
pub(crate) use parts::{ComponentJson, DocumentJson};
pub(crate) use read::{NotJson, is_word, read};
pub(crate) use submission::SubmissionJson;
pub(crate) use time::{machine_time, print as print_time};
pub(crate) use views::{BodyJson, DeliveryJson};
pub use views::{DossierJson, EventJson, ReceiptJson, RouteJson, WarningJson};
pub(crate) use whole::whole;

#[cfg(test)]
mod tests {
    use super::*;
    use lgsp_proto::types::{ActorId, PartyId, RequestKey};
    use lgsp_proto::{Refusal, v1};
    use prost::Message;
    use serde_json::{Value, json};

    fn names() -> (RequestKey, PartyId, ActorId) {
        ("key-1".parse().unwrap(), "H57.101".parse().unwrap(), "mot.cua".parse().unwrap())
    }

    fn submission() -> Value {
        json!({
            "procedure_code": "1.001193",
            "applicant": {
                "kind": "citizen", "full_name": "Nguyễn Thử Nghiệm", "personal_number": "046085000001",
                "date_of_birth": "1985-02-03", "sex": "male", "phone": "0900000000"
            },
            "locality": "19753",
            "intake_channel": "online",
            "return_channel": "post",
            "received_at": "2025-07-14T09:00:00+07:00",
            "components": [{
                "code": "to-khai", "name": "Tờ khai", "originals": 1, "copies": 0,
                "document": {
                    "sha256": "ab".repeat(32), "size_bytes": 12, "media_type": "application/pdf", "file_name": "tờ khai.pdf"
                }
            }],
            "summary": "Đăng ký khai sinh",
            "form": {"amount": 1},
            "aliases": ["DVC-1"]
        })
    }

    fn parse(json: &Value) -> Result<v1::Submission, Refusal> {
        let (key, party, actor) = names();
        serde_json::from_value::<SubmissionJson>(json.clone()).unwrap().into_proto(&key, &party, &actor)
    }

    #[test]
    fn a_submission_reads_back_as_it_was_written() {
        let message = parse(&submission()).unwrap();
        assert_eq!(message.received_at.unwrap().seconds, 1_752_458_400);
        assert_eq!(message.return_channel, v1::ReturnChannel::Post as i32);
        let back = BodyJson::new(v1::EventKind::Submitted as i32, &message.encode_to_vec());
        let mut expected = submission();
        expected["type"] = "submitted".into();
        assert_eq!(serde_json::to_value(back).unwrap(), expected);
    }

    #[test]
    fn every_malformed_field_of_a_submission_is_named_at_once_and_no_content_repeated() {
        let mut json = submission();
        json["procedure_code"] = "x".into();
        json["applicant"]["personal_number"] = "12345".into();
        json["applicant"]["kind"] = "robot".into();
        json["applicant"]["date_of_birth"] = "1985-2-3".into();
        json["components"][0]["document"]["sha256"] = "12".into();
        json["received_at"] = "yesterday".into();
        json["return_channel"] = Value::Null;
        let refusal = parse(&json).unwrap_err();
        let mut fields: Vec<_> = refusal.violations().iter().map(|violation| violation.field.as_str()).collect();
        fields.sort_unstable();
        let expected = [
            "applicant.date_of_birth",
            "applicant.kind",
            "applicant.personal_number",
            "components[0].document.sha256",
            "procedure_code",
            "received_at",
            "return_channel",
        ];
        assert_eq!(fields, expected);
        assert!(!refusal.to_string().contains("12345"));
    }

    #[test]
    fn a_file_beside_a_request_is_a_watched_folders_and_nobody_elses() {
        let mut json = submission();
        json["components"][0]["document"]["file"] = "to-khai.pdf".into();
        let refusal = parse(&json).unwrap_err();
        let fields: Vec<_> = refusal.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["components[0].document.file"]);
    }

    #[test]
    fn a_form_keeps_its_bytes_whatever_it_is() {
        let (key, party, actor) = names();
        let form = r#"{ "so": 12345678901234567890.123456789, "so": 2 }"#;
        let mut text = submission().to_string();
        text = text.replace(r#"{"amount":1}"#, form);
        let message = serde_json::from_str::<SubmissionJson>(&text).unwrap().into_proto(&key, &party, &actor).unwrap();
        assert_eq!(message.form, form.as_bytes());
        let back =
            serde_json::to_string(&BodyJson::new(v1::EventKind::Submitted as i32, &message.encode_to_vec())).unwrap();
        assert!(back.contains(form));

        let mut json = submission();
        json["form"] = Value::Null;
        json["form_base64"] = "AAEC".into();
        let message = parse(&json).unwrap();
        assert_eq!(message.form[..], [0, 1, 2]);
        let back = serde_json::to_value(SubmissionJson::from_proto(message)).unwrap();
        assert_eq!(back["form_base64"], "AAEC");
    }

    #[test]
    fn every_kind_of_entry_reads_back_as_it_was_written() {
        let document = json!({"sha256": "cd".repeat(32), "size_bytes": 3, "media_type": "application/pdf"});
        let (key, party, actor) = names();
        for mut json in [
            json!({"type": "accepted", "note": "đủ"}),
            json!({"type": "refused", "reason": "thiếu"}),
            json!({"type": "supplement_requested", "reason": "thiếu", "items": ["a"], "until": "2025-07-20T17:00:00+07:00"}),
            json!({"type": "supplement_provided", "components": [{"code": "a", "originals": 0, "copies": 1}]}),
            json!({"type": "supplement_expired", "reason": "quá hạn"}),
            json!({"type": "withdrawn", "reason": "đổi ý"}),
            json!({"type": "processing_started"}),
            json!({"type": "fee_requested", "fees": [{"code": "LP", "name": "Lệ phí", "amount_vnd": 8000}]}),
            json!({"type": "fee_paid", "payment_reference": "TT-1", "amount_vnd": 8000}),
            json!({"type": "stopped", "reason": "trùng"}),
            json!({"type": "resolved", "results": [{"name": "Giấy khai sinh", "document": document}]}),
            json!({"type": "result_recalled", "reason": "sai sót"}),
            json!({"type": "returned", "channel": "direct"}),
            json!({"type": "extended", "reason": "phức tạp", "new_due_at": "2025-08-01T17:00:00+07:00"}),
            json!({"type": "paused", "cause": "expertise"}),
            json!({"type": "resumed", "cause": "expertise"}),
            json!({"type": "progressed", "step": "thẩm định", "unit": "H57.12"}),
        ] {
            json["occurred_at"] = "2025-07-14T10:00:00+07:00".into();
            let entry = EntryJson::read(json.to_string().as_bytes()).unwrap();
            let entry = entry.into_proto("H57.12-250714-0001", &key, &party, &actor).unwrap();
            assert_eq!(EntryJson::to_json(entry).unwrap(), json);
        }
    }

    #[test]
    fn what_the_law_wants_of_an_entry_is_asked_for() {
        let (key, party, actor) = names();
        for (json, missing) in [
            (json!({"type": "refused"}), "reason"),
            (json!({"type": "supplement_requested", "reason": "x"}), "until"),
            (json!({"type": "fee_requested"}), "fees"),
            (json!({"type": "resolved"}), "results"),
            (json!({"type": "returned"}), "channel"),
            (json!({"type": "paused", "cause": "lunch"}), "cause"),
        ] {
            let entry = EntryJson::read(json.to_string().as_bytes()).unwrap();
            let refusal = entry.into_proto("H57.12-250714-0001", &key, &party, &actor).unwrap_err();
            let fields: Vec<_> = refusal.violations().iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, ["occurred_at", missing]);
        }
        assert!(EntryJson::read(br#"{"type": "accepted", "reason": "of another entry"}"#).is_err());
        assert!(EntryJson::read(br#"{"type": "invented"}"#).is_err());
    }
}
