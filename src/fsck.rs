//! `lgsp fsck`: checks a stopped gateway's data folder. It reads everything and repairs nothing.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use lgsp_gateway::store::data_folder::{CannotRead, FolderError};
use lgsp_gateway::store::fsck::{Problem, Progress, Report, fsck_with};
use serde_json::{Value, json};

use crate::failure::{NO_ANSWER, REFUSED, because};
use crate::lang::Lang;
use crate::output::Output;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  lgsp fsck /var/lib/lgsp/data --node-key /etc/lgsp/node.key
  lgsp fsck /var/lib/lgsp/data --node-key /etc/lgsp/node.key --json

Ends with 0 when all is well, 3 when problems were found, 4 when it could not check (for example because a gateway has the
folder open).";

/// Check a data folder: is what is on disk what was answered, and is what is shown what is on disk?
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// The data folder of a gateway that is not running (store.dir in its configuration).
    dir: PathBuf,
    #[command(flatten)]
    node_key: NodeKeyFile,
    /// Where archives are (retention.archive_dir in its configuration); archives in the data folder if not given.
    #[arg(long, value_name = "DIR")]
    archives: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// The key that opens a data folder.
#[derive(Args, Debug)]
pub(crate) struct NodeKeyFile {
    /// The node's key (store.node_key in its configuration); node.key beside the data folder if not given.
    #[arg(long, value_name = "FILE")]
    node_key: Option<PathBuf>,
}

impl NodeKeyFile {
    /// The key's file for that data folder.
    pub(crate) fn of(&self, dir: &Path) -> PathBuf {
        self.node_key.clone().unwrap_or_else(|| dir.join("..").join("node.key"))
    }
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        // A line that is written over and over, for somebody who watches; logs and pipes get none.
        let watched = std::io::stderr().is_terminal();
        let told = |progress| {
            if watched {
                eprint!("\r\x1b[K{}", in_words(progress, lang));
                let _ = std::io::stderr().flush();
            }
        };
        let archives = self.archives.clone().unwrap_or_else(|| self.dir.join("archives"));
        let checked = fsck_with(&self.dir, &self.node_key.of(&self.dir), &archives, told);
        if watched {
            eprint!("\r\x1b[K");
        }
        let report = match checked {
            Ok(report) => report,
            Err(error) => {
                let why = because(&error) + what_to_do(&error, lang);
                eprintln!("{}: {why}", lang.pick("Không kiểm tra được", "Cannot check"));
                return Ok(ExitCode::from(NO_ANSWER));
            }
        };
        self.output.print(|| report_json(&report), || report_text(&report, lang))?;
        Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}

/// What to do about a folder that cannot be looked at, as a line of its own; nothing when the cause says it already.
pub(crate) fn what_to_do(error: &CannotRead, lang: Lang) -> &'static str {
    match error {
        CannotRead::Folder(FolderError::InUse { .. }) => lang.pick(
            "\n  Dừng trục đang dùng thư mục này; khi trục đang chạy, các lệnh nhận --profile hỏi được trục.",
            "\n  Stop the gateway that has it open; while it runs, commands that take --profile can ask it.",
        ),
        CannotRead::Folder(FolderError::Missing { .. }) => lang.pick(
            "\n  Thư mục cần nêu là store.dir trong cấu hình của trục.",
            "\n  The folder to name is store.dir of the gateway's configuration.",
        ),
        _ => "",
    }
}

fn in_words(progress: Progress, lang: Lang) -> String {
    match progress {
        Progress::JournalRead { last } => {
            lang.pick(format!("đã đọc nhật ký, {last} bản ghi"), format!("journal read, {last} records"))
        }
        Progress::Replayed { position, last } => {
            lang.pick(format!("phát lại {position}/{last}"), format!("replayed {position} of {last}"))
        }
        Progress::Comparing => lang.pick("so sánh chỉ mục", "comparing the index").to_owned(),
        Progress::Archive { number, of } => {
            lang.pick(format!("đọc tệp lưu trữ {number}/{of}"), format!("reading archive {number} of {of}"))
        }
    }
}

fn report_json(report: &Report) -> Value {
    let problem = |problem: &Problem| {
        json!({
            "invariant": problem.invariant.id(), "meaning": problem.invariant.meaning(),
            "position": problem.position, "what": problem.what,
        })
    };
    json!({
        "sound": report.is_sound(),
        "records": report.records,
        "dossiers": report.dossiers,
        "events": report.events,
        "owed": report.owed,
        "documents": report.documents,
        "bodies_checked": report.bodies,
        "erased": report.erased,
        "erased_dossiers": report.erased_dossiers,
        "archived_dossiers": report.archived_dossiers,
        "archives": report.archives,
        "archives_elsewhere": report.archives_elsewhere,
        "keys_to_destroy": report.keys_to_destroy,
        "index_compared_at": report.compared,
        "index_unusable": report.index_unusable,
        "snapshots_compared": report.snapshots,
        "snapshots_unusable": report.snapshots_unusable,
        "problems": report.problems.iter().map(problem).collect::<Value>(),
        "more_problems": report.more,
    })
}

fn report_text(report: &Report, lang: Lang) -> String {
    let index = match (report.compared, &report.index_unusable) {
        (Some(position), _) => {
            lang.pick(format!("khớp đến bản ghi {position}"), format!("compared at record {position}"))
        }
        (None, Some(why)) => lang.pick(
            format!("không dùng được, lần khởi động tới sẽ dựng lại ({why})"),
            format!("of no use, the next start makes it again ({why})"),
        ),
        (None, None) => lang.pick("không có", "there is none").to_owned(),
    };
    let snapshots = match (report.snapshots, report.snapshots_unusable) {
        (0, 0) => lang.pick("không có", "there are none").to_owned(),
        (compared, 0) => lang.pick(format!("{compared} khớp"), format!("{compared} compared")),
        (compared, unusable) => lang.pick(
            format!("{compared} khớp, {unusable} không dùng được"),
            format!("{compared} compared, {unusable} of no use"),
        ),
    };
    let archives = match (report.archives, report.archives_elsewhere) {
        (0, 0) => String::new(),
        (read, elsewhere) => lang
            .pick(format!("{read} đã kiểm, {elsewhere} ở nơi khác"), format!("{read} checked, {elsewhere} elsewhere")),
    };
    let figures = Table::of_pairs([
        (lang.pick("Bản ghi", "Records"), report.records.to_string()),
        (lang.pick("Hồ sơ", "Dossiers"), report.dossiers.to_string()),
        (lang.pick("Sự kiện", "Events"), report.events.to_string()),
        (lang.pick("Chưa giao xong", "Deliveries owed"), report.owed.to_string()),
        (lang.pick("Tài liệu", "Documents"), report.documents.to_string()),
        (lang.pick("Nội dung đã kiểm", "Bodies checked"), report.bodies.to_string()),
        (lang.pick("Nội dung đã xoá", "Bodies erased"), report.erased.to_string()),
        (lang.pick("Hồ sơ đã xoá", "Dossiers erased"), report.erased_dossiers.to_string()),
        (lang.pick("Hồ sơ đã lưu trữ", "Dossiers archived"), report.archived_dossiers.to_string()),
        (lang.pick("Tệp lưu trữ", "Archives"), archives),
        (lang.pick("Chỉ mục", "Index"), index),
        (lang.pick("Ảnh chụp chỉ mục", "Snapshots of it"), snapshots),
    ]);
    if report.is_sound() {
        return format!("{figures}{}\n", lang.pick("Không có lỗi", "All is well"));
    }
    let mut problems = Table::new(match lang {
        Lang::Vi => ["Bất biến", "Bản ghi", "Phát hiện"],
        Lang::En => ["Invariant", "Record", "Found"],
    });
    for problem in &report.problems {
        let position = problem.position.map_or_else(String::new, |position| position.to_string());
        problems.row([problem.invariant.id().to_owned(), position, problem.what.clone()]);
    }
    let count = report.problems.len() as u64 + report.more;
    let foot = lang.pick(format!("{count} lỗi"), format!("{count} problem(s)"));
    format!("{figures}\n{problems}{foot}\n")
}
