//! The reasons: those of the bus and the adapter's own, each with its page.

use lgsp_proto::Reason;
use lgsp_proto::page::{Again, Page};
use lgsp_proto::reason::Bilingual;

use super::{Entry, Kind, Row, Says, row, said};
use crate::problem::{LocalReason, Problem, explain};

/// Every reason: those of the bus, then those that only an adapter gives.
pub fn reasons() -> Vec<Entry> {
    let of_bus = Reason::ALL.iter().map(|reason| {
        let texts = reason.texts();
        let code = format!("{:?}", reason.code());
        entry(reason.as_str(), texts.what, texts.remedy, reason.page(), &Problem::from(*reason), Some(&code))
    });
    let local = LocalReason::ALL.into_iter().map(|reason| {
        let [en, vi, remedy_en, remedy_vi] = reason.texts();
        let (what, remedy) = (Bilingual { en, vi }, Bilingual { en: remedy_en, vi: remedy_vi });
        entry(reason.word(), what, remedy, reason.page(), &Problem::from(reason), None)
    });
    of_bus.chain(local).collect()
}

/// `code` is that of gRPC; an adapter's own reason has none.
fn entry(word: &str, what: Bilingual, remedy: Bilingual, page: Page, problem: &Problem, code: Option<&str>) -> Entry {
    let (status, ..) = problem.as_described();
    let by = match code {
        Some(_) => ["the gateway, or an adapter in its place", "trục, hoặc bộ kết nối thay trục"],
        None => ["an adapter only", "chỉ bộ kết nối"],
    };
    let mut rows: Vec<Row> = vec![
        row("cause", "Cause", "Nguyên nhân", said(page.cause)),
        row("remedy", "What to do", "Cần làm", said(remedy)),
        row("send_again", "Send it again?", "Gửi lại được không?", said(page.again.sentence())),
        row("transient", "Passes by itself", "Tự hết", Says::Flag(page.again == Again::Unchanged)),
        row("given_by", "Given by", "Nơi trả lời", Says::Text(by.map(str::to_owned))),
        row("http_status", "HTTP status", "Mã HTTP", Says::Number(status.into())),
    ];
    rows.extend(code.map(|code| row("grpc_code", "gRPC code", "Mã gRPC", Says::Code(upper_snake(code)))));
    let details = page.details.iter().map(|name| (*name).to_owned()).collect();
    rows.push(row("details", "Details it may carry", "Chi tiết có thể kèm theo", Says::Codes(details)));
    let command = explain::command(word, &std::collections::BTreeMap::new());
    rows.push(row("explain", "Look at the case", "Lệnh xem trường hợp", Says::Code(command)));
    Entry { kind: Kind::Reason, word: word.to_owned(), name: what, rows, also: Vec::new() }
}

/// `FailedPrecondition` as gRPC writes it: `FAILED_PRECONDITION`.
fn upper_snake(code: &str) -> String {
    let mut word = String::new();
    for letter in code.chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(letter.to_ascii_uppercase());
    }
    word
}
