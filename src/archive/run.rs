//! `lgsp archive run`: has a gateway archive what was closed long ago.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_proto::v1::{ArchiveRequest, ArchiveResponse};
use serde_json::{Value, json};

use crate::backup::hex;
use crate::failure::{Failure, NO_ANSWER};
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Has dossiers archived.
#[derive(Args, Debug)]
pub(super) struct Run {
    /// Only dossiers to which nothing has happened for so many days; as the gateway's configuration says if not given.
    #[arg(long, value_name = "N")]
    after_days: Option<u32>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Run {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let request = ArchiveRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            after_days: self.after_days,
        };
        // Asking again goes on where this ended, so no answer is answered by asking again.
        let failed = |status| Failure::of_link(CallError::from_status(status), &link, None);
        let answers = link.operations().archive(link.request(request, None)).await.map_err(failed)?;
        let mut answers = answers.into_inner();
        let watched = std::io::stderr().is_terminal();
        let (mut files, mut last) = (Vec::new(), ArchiveResponse::default());
        while let Some(answer) = answers.message().await.map_err(failed)? {
            if watched {
                eprint!("\r\x1b[K{}", in_words(&answer, lang));
                let _ = std::io::stderr().flush();
            }
            if !answer.archive.is_empty() {
                files.push(answer.clone());
            }
            last = answer;
        }
        if watched {
            eprint!("\r\x1b[K");
        }
        self.output.print(|| as_json(&files, &last), || text(&files, &last, lang))?;
        // A gateway that stops ends the run early; what was archived is, and the rest is for the next time.
        Ok(if last.done { ExitCode::SUCCESS } else { ExitCode::from(NO_ANSWER) })
    }
}

fn in_words(answer: &ArchiveResponse, lang: Lang) -> String {
    let ArchiveResponse { looked_at, written, archived, .. } = answer;
    lang.pick(
        format!("đã xem {looked_at} hồ sơ, đã ghi {written}, đã lưu trữ {archived}"),
        format!("{looked_at} dossiers looked at, {written} written, {archived} archived"),
    )
}

fn as_json(files: &[ArchiveResponse], last: &ArchiveResponse) -> Value {
    let file = |file: &ArchiveResponse| json!({ "archive": file.archive, "sha256": hex(&file.archive_sha256), "bytes": file.archive_bytes });
    json!({
        "looked_at": last.looked_at,
        "archived": last.archived,
        "archives": files.iter().map(file).collect::<Value>(),
        "done": last.done,
    })
}

fn text(files: &[ArchiveResponse], last: &ArchiveResponse, lang: Lang) -> String {
    let mut table = Table::new(match lang {
        Lang::Vi => ["Tệp lưu trữ", "Dung lượng", "SHA-256"],
        Lang::En => ["Archive", "Size", "SHA-256"],
    });
    for file in files {
        table.row([file.archive.clone(), format!("{:.1} MB", mega(file.archive_bytes)), hex(&file.archive_sha256)]);
    }
    let table = if table.is_empty() { String::new() } else { table.to_string() };
    let archived = last.archived;
    let foot = match (archived, last.done) {
        (0, true) => lang.pick("Không có hồ sơ nào cần lưu trữ".to_owned(), "Nothing to archive".to_owned()),
        (_, true) => lang.pick(format!("Đã lưu trữ {archived} hồ sơ"), format!("{archived} dossier(s) archived")),
        (_, false) => lang.pick(
            format!("Trục dừng giữa chừng; đã lưu trữ {archived} hồ sơ, phần còn lại để lần sau"),
            format!("The gateway ended it early; {archived} dossier(s) archived, the rest is for the next time"),
        ),
    };
    format!("{table}{foot}\n")
}

pub(super) fn mega(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
