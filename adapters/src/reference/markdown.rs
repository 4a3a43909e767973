//! The reference as pages of Markdown, one per kind and language: `docs/reference`.

use std::fmt::Write as _;

use super::{Entry, Kind, Language, events, reasons, statuses, warnings};

/// Every page there is: the file's name and what it holds.
pub fn pages() -> Vec<(String, String)> {
    let kinds = [Kind::Reason, Kind::Event, Kind::Status, Kind::Warning];
    let languages = [Language::English, Language::Vietnamese];
    let each = kinds.into_iter().flat_map(|kind| languages.map(|language| (kind, language)));
    each.map(|(kind, language)| (file(kind, language), page(kind, language))).collect()
}

fn file(kind: Kind, language: Language) -> String {
    let name = match kind {
        Kind::Reason => "reasons",
        Kind::Event => "events",
        Kind::Status => "statuses",
        Kind::Warning => "warnings",
    };
    format!("{name}{}.md", language.pick("", ".vi"))
}

/// One page: what it is about, every word at a glance, and each in full.
pub fn page(kind: Kind, language: Language) -> String {
    let (title, about, entries) = match kind {
        Kind::Reason => (
            language.pick("Reasons", "Lý do từ chối"),
            language.pick(
                "Every refusal carries one of these words. Programs branch on the word; it never changes its meaning.",
                "Mỗi lần từ chối kèm một trong các từ sau. Chương trình rẽ nhánh theo từ này; ý nghĩa không bao giờ đổi.",
            ),
            reasons(),
        ),
        Kind::Event => (
            language.pick("Events", "Sự kiện"),
            language.pick(
                "What may be recorded about a dossier: by whom, in which status, and what it does to the clock.",
                "Những việc được ghi nhận vào hồ sơ: ai ghi, ở trạng thái nào, ảnh hưởng thời hạn ra sao.",
            ),
            events(),
        ),
        Kind::Status => (
            language.pick("Statuses", "Trạng thái"),
            language.pick(
                "Where a dossier stands: the ten statuses of the national list, and what may follow each.",
                "Tình trạng của hồ sơ: mười trạng thái của danh mục quốc gia và việc có thể tiếp theo.",
            ),
            statuses(),
        ),
        Kind::Warning => (
            language.pick("Warnings", "Cảnh báo"),
            language.pick(
                "What is odd about something that was admitted all the same. Show it to the clerk; nothing has to be sent again.",
                "Điều bất thường ở việc vẫn được ghi nhận. Hãy cho cán bộ biết; không phải gửi lại gì.",
            ),
            warnings(),
        ),
    };
    let made = language.pick(
        "Made from the code by `LGSP_WRITE_REFERENCE=1 cargo test --test docs reference`; a test compares. `lgsp explain WORD` prints the same.",
        "Sinh từ mã nguồn bằng `LGSP_WRITE_REFERENCE=1 cargo test --test docs reference`; có kiểm thử so khớp. `lgsp explain TỪ` in cùng nội dung.",
    );
    let mut text = format!("# {title}\n\n{about}\n\n{made}\n\n");
    at_a_glance(&mut text, &entries, language);
    for entry in &entries {
        in_full(&mut text, entry, language);
    }
    text
}

fn at_a_glance(text: &mut String, entries: &[Entry], language: Language) {
    let _ =
        writeln!(text, "| {} | {} |\n|---|---|", language.pick("word", "từ"), language.pick("what it says", "ý nghĩa"));
    for entry in entries {
        let _ = writeln!(
            text,
            "| [`{0}`](#{1}) | {2} |",
            entry.word,
            entry.word.to_lowercase(),
            cell(language.say(entry.name))
        );
    }
}

fn in_full(text: &mut String, entry: &Entry, language: Language) {
    let _ = writeln!(text, "\n## `{}`\n\n{}\n", entry.word, cell(language.say(entry.name)));
    for row in &entry.rows {
        let label = language.say(row.label);
        let code = matches!(row.says, super::Says::Code(_) | super::Says::Codes(_)) && row.key != "source";
        let dressed = |line: &String| {
            if code {
                line.split(", ").map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            } else {
                cell(line)
            }
        };
        match &row.lines(language)[..] {
            [] => {}
            [line] => {
                let _ = writeln!(text, "- **{label}**: {}", dressed(line));
            }
            lines => {
                let _ = writeln!(text, "- **{label}**:");
                for line in lines {
                    let _ = writeln!(text, "  - {}", dressed(line));
                }
            }
        }
    }
}

/// What Markdown would read as something else.
fn cell(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|")
}
