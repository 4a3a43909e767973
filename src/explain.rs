//! `lgsp explain`: what a word of the bus means: a reason, an event, a status or a warning. Asks nobody; it is all in the program.

use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::reference::{self, Entry, Kind, Language};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  lgsp explain
  lgsp explain UNIT_CEASED
  lgsp explain supplement_requested --lang vi
  lgsp explain vn.lgsp.dossier.accepted.v1
  lgsp explain GRANT_MISSING --json

An event and the status it leads to often share a word; both are shown. Exit code 2 for a word that is none.";

/// Explain a reason, an event, a status or a warning: what it means, how one comes to it, what to do.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// The word, as it stands in an answer, a webhook or a table; all of them if not given.
    word: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let Some(word) = &self.word else {
            let all = reference::all();
            self.output.print(|| all.iter().map(Entry::to_json).collect(), || list(&all, lang))?;
            return Ok(ExitCode::SUCCESS);
        };
        let found = reference::find(word);
        if found.is_empty() {
            return Err(unknown(word));
        }
        self.output
            .print(|| json!(found.iter().map(Entry::to_json).collect::<Vec<Value>>()), || pages(&found, lang))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn unknown(word: &str) -> anyhow::Error {
    let near = reference::like(word).join(", ");
    let [vi, en] = if near.is_empty() {
        ["Xem tất cả bằng `lgsp explain`.", "See them all with `lgsp explain`."].map(str::to_owned)
    } else {
        [format!("Có phải: {near}?"), format!("Did you mean: {near}?")]
    };
    Failure::usage_in(format!("Không có từ {word:?}. {vi}"), format!("There is no word {word:?}. {en}"))
}

/// Every word, by kind.
fn list(all: &[Entry], lang: Lang) -> String {
    let heading = |kind: Kind| match kind {
        Kind::Reason => lang.pick("Lý do từ chối", "Reasons of refusals"),
        Kind::Event => lang.pick("Sự kiện", "Events"),
        Kind::Status => lang.pick("Trạng thái", "Statuses"),
        Kind::Warning => lang.pick("Cảnh báo", "Warnings"),
    };
    let tables = [Kind::Reason, Kind::Event, Kind::Status, Kind::Warning].map(|kind| {
        let mut table = Table::new([lang.pick("Từ", "Word"), lang.pick("Ý nghĩa", "Meaning")]);
        for entry in all.iter().filter(|entry| entry.kind == kind) {
            table.row([entry.word.clone(), lang.sentence(entry.name).to_owned()]);
        }
        format!("{}\n{table}", heading(kind))
    });
    tables.join("\n")
}

fn pages(found: &[Entry], lang: Lang) -> String {
    let language = lang.pick(Language::Vietnamese, Language::English);
    let page = |entry: &Entry| {
        let kind = match entry.kind {
            Kind::Reason => lang.pick("lý do từ chối", "reason"),
            Kind::Event => lang.pick("sự kiện", "event"),
            Kind::Status => lang.pick("trạng thái", "status"),
            Kind::Warning => lang.pick("cảnh báo", "warning"),
        };
        let mut text = format!("{} ({kind})\n  {}\n", entry.word, lang.sentence(entry.name));
        for row in &entry.rows {
            let label = lang.sentence(row.label);
            match &row.lines(language)[..] {
                [] => {}
                [line] => text += &format!("  {label}: {line}\n"),
                lines => {
                    text += &format!("  {label}:\n");
                    lines.iter().for_each(|line| text += &format!("    {line}\n"));
                }
            }
        }
        text
    };
    found.iter().map(page).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_cause_and_remedy_in_the_language_asked_for() {
        let [en, vi] = [Lang::En, Lang::Vi].map(|lang| pages(&reference::find("UNIT_CEASED"), lang));
        assert!(en.contains("What to do: Use the successor named in the details."), "{en}");
        assert!(en.contains("HTTP status: 422") && en.contains("gRPC code: FAILED_PRECONDITION"), "{en}");
        assert!(vi.contains("Cần làm: Dùng đơn vị kế thừa nêu trong chi tiết."), "{vi}");
    }

    #[test]
    fn a_word_that_is_none_is_told_with_those_that_are_like_it() {
        let told = unknown("UNIT_CEASD").to_string();
        assert!(told.contains("UNIT_CEASED"), "{told}");
    }
}
