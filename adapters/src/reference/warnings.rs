//! The warnings: what is odd about something that was admitted all the same.

use lgsp_domain::decide::Warning;

use super::{Entry, Kind, Says, row};

/// Every warning.
pub fn warnings() -> Vec<Entry> {
    Warning::ALL.iter().map(|warning| entry(*warning)).collect()
}

fn entry(warning: Warning) -> Entry {
    let where_told =
        ["warnings of the answer, and of the outcome of a request", "warnings của câu trả lời và của kết quả yêu cầu"];
    let rows = vec![
        row("admitted", "Admitted all the same", "Vẫn được ghi nhận", Says::Flag(true)),
        row("told_in", "Told in", "Nằm ở", Says::Text(where_told.map(str::to_owned))),
    ];
    Entry { kind: Kind::Warning, word: warning.as_str().to_owned(), name: warning.text(), rows, also: Vec::new() }
}
