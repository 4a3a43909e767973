//! What the agency's software sends to its adapter: steps of the plan as the REST API wants them.

use jiff::civil::DateTime;
use serde_json::{Value, json};

use crate::demo::scenario::{Act, Filing, Paper, Step};

/// The papers of a step, which have to be uploaded before it.
pub(super) fn papers(act: &Act) -> Vec<&Paper> {
    match act {
        Act::Submit(filing) => filing.papers.iter().collect(),
        Act::ProvideSupplement { paper } => vec![paper],
        Act::Resolve { result } => vec![result],
        _ => Vec::new(),
    }
}

/// The body of the step's request. `uploaded` is what the adapter said to each of its [`papers`].
pub(super) fn body(step: &Step, uploaded: Vec<Value>) -> Value {
    let mut body = match &step.act {
        Act::Submit(filing) => submission(filing, uploaded),
        act => entry(act, step, uploaded),
    };
    let time = if step.sequence == 1 { "received_at" } else { "occurred_at" };
    body[time] = rfc3339(step.at).into();
    if step.sequence > 1 {
        body["expected_sequence"] = (step.sequence - 1).into();
    }
    body
}

/// Where it goes.
pub(super) fn path(code: Option<&str>) -> String {
    code.map_or("/v1/dossiers".to_owned(), |code| format!("/v1/dossiers/{code}/events"))
}

fn submission(filing: &Filing, uploaded: Vec<Value>) -> Value {
    let citizen = &filing.citizen;
    let mut body = json!({
        "procedure_code": filing.procedure,
        "locality": filing.locality,
        "intake_channel": filing.intake_channel,
        "return_channel": filing.return_channel,
        "summary": filing.summary,
        "components": components(&filing.papers.iter().collect::<Vec<_>>(), uploaded),
        "applicant": {
            "kind": "citizen",
            "full_name": citizen.full_name,
            "personal_number": citizen.personal_number,
            "date_of_birth": citizen.date_of_birth,
            "sex": citizen.sex,
            "address": citizen.address,
        },
    });
    let optional = [
        ("case_code", &filing.case),
        ("support_point", &filing.support_point),
        ("return_desk", &filing.return_desk),
        ("return_address", &filing.return_address),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            body[field] = value.as_str().into();
        }
    }
    body
}

fn entry(act: &Act, step: &Step, uploaded: Vec<Value>) -> Value {
    match act {
        Act::Submit(_) => unreachable!("a dossier is opened by a submission"),
        Act::Accept => json!({"type": "accepted"}),
        Act::Refuse => json!({"type": "refused", "reason": "Hồ sơ không thuộc trường hợp được giải quyết (giả lập)"}),
        Act::RequestSupplement { until } => json!({
            "type": "supplement_requested",
            "reason": "Thiếu giấy tờ chứng minh (giả lập)",
            "items": ["Giấy tờ chứng minh nơi cư trú"],
            "until": rfc3339(*until),
        }),
        Act::ProvideSupplement { paper } => {
            json!({"type": "supplement_provided", "components": components(&[paper], uploaded)})
        }
        Act::ExpireSupplement => json!({"type": "supplement_expired", "reason": "Quá hạn bổ sung (giả lập)"}),
        Act::Withdraw => json!({"type": "withdrawn", "reason": "Công dân đề nghị rút hồ sơ (giả lập)"}),
        Act::StartProcessing => json!({"type": "processing_started"}),
        Act::RequestFee { name, amount_vnd } => json!({
            "type": "fee_requested", "fees": [{"name": name, "amount_vnd": amount_vnd}],
        }),
        Act::ConfirmPayment { amount_vnd } => json!({
            "type": "fee_paid", "payment_reference": format!("TT-{}", step.key()), "amount_vnd": amount_vnd,
        }),
        Act::Stop => json!({"type": "stopped", "reason": "Không đủ căn cứ giải quyết tiếp (giả lập)"}),
        Act::Resolve { result } => {
            let document = uploaded.into_iter().next();
            json!({"type": "resolved", "results": [{"name": result.name, "document": document}]})
        }
        Act::RecallResult => json!({"type": "result_recalled", "reason": "Phát hiện sai sót khi đóng dấu (giả lập)"}),
        Act::Return { channel } => json!({"type": "returned", "channel": channel}),
        Act::Extend { new_due } => json!({
            "type": "extended", "reason": "Cần xác minh thêm (giả lập)", "new_due_at": rfc3339(*new_due),
        }),
        Act::Progress { step } => json!({"type": "progressed", "step": step}),
    }
}

fn components(papers: &[&Paper], uploaded: Vec<Value>) -> Value {
    let component = |(paper, document): (&&Paper, Value)| {
        let mut component = json!({"name": paper.name, "document": document, "originals": 0, "copies": 1});
        if let Some(code) = &paper.code {
            component["code"] = code.as_str().into();
        }
        component
    };
    papers.iter().zip(uploaded).map(component).collect()
}

/// A business time as the wire has it, in Vietnam's legal time.
fn rfc3339(at: DateTime) -> String {
    format!("{at}+07:00")
}
