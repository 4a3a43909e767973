//! `lgsp backup`: copies what a gateway has on disk, while it runs.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use lgsp_gateway::backup::{Care, Manifest, Progress, Sources, TakeError, Taken, VerifyError, take, verify};
use lgsp_gateway::config::Config;
use serde_json::{Value, json};

use crate::failure::{Failure, NO_ANSWER, REFUSED, because};
use crate::lang::Lang;
use crate::node::environment;
use crate::output::Output;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  lgsp backup --config gateway.toml --to /mnt/backup/lgsp
  lgsp backup verify /mnt/backup/lgsp
  lgsp backup --config gateway.toml --to /mnt/backup/lgsp --thorough

The gateway may be running or stopped. The same folder can be used again and again: only what is new is copied, and a key that
was destroyed is destroyed in the backup as well. Whatever interrupts a backup, the one before it stays whole.

A disk forgets. Of what is in the folder already a backup reads only beginning and end; `lgsp backup verify` reads all of it and finds
what has rotted, and a backup with --thorough reads all of it and copies that again, as long as the gateway still has it.

The node's key (store.node_key) is not copied unless --with-node-key is given: whoever has a backup with it can read everything.
Keep a copy of the key elsewhere; a backup without it cannot be restored.

Ends with 0 when the backup is whole, 3 when a backup that is verified is not, 4 when none could be taken.";

/// Back up a gateway, or check a backup.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub(crate) struct Command {
    /// Configuration file of the gateway.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// The folder of the backup; made if it is missing.
    #[arg(long, value_name = "DIR", required = true)]
    to: Option<PathBuf>,
    /// Copy the node's key too, so that the backup alone opens everything.
    #[arg(long)]
    with_node_key: bool,
    /// Read all that the folder holds already, and copy again what is not as it was copied.
    #[arg(long)]
    thorough: bool,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    about: Option<About>,
}

#[derive(Debug, Subcommand)]
enum About {
    /// Read a whole backup and compare it with its manifest.
    Verify {
        /// The folder of the backup.
        dir: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        if let Some(About::Verify { dir, output }) = self.about {
            return verify_backup(&dir, output, lang);
        }
        let (Some(config), Some(to)) = (self.config, self.to) else {
            return Err(Failure::usage("--config and --to are needed"));
        };
        let config = Config::load(&config, environment()).map_err(|problems| Failure::usage(problems.to_string()))?;
        let elsewhere =
            Some(config.retention.archive_dir).filter(|dir| *dir != config.store.dir.join("archives") && dir.is_dir());
        let sources = Sources {
            data: config.store.dir,
            documents: config.documents.dir,
            node_key: self.with_node_key.then_some(config.store.node_key),
        };
        let watch = Watch::new(lang);
        let care = if self.thorough { Care::Thorough } else { Care::Ordinary };
        let taken = take(&sources, &to, care, SystemTime::now(), &|progress| watch.tell(progress));
        watch.end();
        match taken {
            Ok(taken) => {
                let with_key = self.with_node_key;
                let json = || {
                    let mut json = taken_json(&taken, with_key);
                    json["archives_not_included"] = json!(elsewhere.as_deref());
                    json
                };
                let text = || taken_text(&taken, with_key, lang) + &not_included(elsewhere.as_deref(), lang);
                self.output.print(json, text)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error @ TakeError::Inside { .. }) => Err(Failure::usage(because(&error))),
            Err(error) => {
                eprintln!("{}: {}", lang.pick("Chưa sao lưu được", "No backup was taken"), because(&error));
                Ok(ExitCode::from(NO_ANSWER))
            }
        }
    }
}

fn verify_backup(dir: &std::path::Path, output: Output, lang: Lang) -> anyhow::Result<ExitCode> {
    let watch = Watch::new(lang);
    let verified = verify(dir, &|progress| watch.tell(progress));
    watch.end();
    match verified {
        Ok(manifest) => {
            let whole = lang.pick("Bản sao lưu nguyên vẹn", "The backup is whole");
            output.print(|| manifest_json(&manifest), || format!("{}{whole}\n", manifest_table(&manifest, lang)))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{}: {}", lang.pick("Bản sao lưu không dùng được", "The backup cannot be used"), because(&error));
            if let VerifyError::Content { .. } = error {
                let again = lang.pick(
                    "Sao lưu lại với --thorough khi trục còn giữ bản gốc: phần hỏng sẽ được chép lại.",
                    "Back up again with --thorough while the gateway has the original: what is damaged is copied again.",
                );
                eprintln!("{again}");
            }
            Ok(ExitCode::from(match error {
                VerifyError::Content { .. } => REFUSED,
                VerifyError::Manifest(_) => NO_ANSWER,
            }))
        }
    }
}

/// A line that is written over and over, for somebody who watches; logs and pipes get none.
pub(crate) struct Watch {
    watched: bool,
    lang: Lang,
}

impl Watch {
    pub(crate) fn new(lang: Lang) -> Self {
        Self { watched: std::io::stderr().is_terminal(), lang }
    }

    pub(crate) fn tell(&self, progress: Progress) {
        if !self.watched {
            return;
        }
        let lang = self.lang;
        let words = match progress {
            Progress::Copied { files, bytes } => {
                let mb = bytes >> 20;
                lang.pick(format!("{files} tệp, đã chép {mb} MB"), format!("{files} files, {mb} MB copied"))
            }
            Progress::Verified { files, of } => {
                lang.pick(format!("đã kiểm {files}/{of} tệp"), format!("{files} of {of} files verified"))
            }
            Progress::Indexing => lang.pick("đang dựng chỉ mục", "making the indexes").to_owned(),
            Progress::Checking => lang.pick("đang kiểm sổ", "checking the books").to_owned(),
        };
        eprint!("\r\x1b[K{words}");
        let _ = std::io::stderr().flush();
    }

    pub(crate) fn end(&self) {
        if self.watched {
            eprint!("\r\x1b[K");
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn manifest_json(manifest: &Manifest) -> Value {
    json!({
        "identity": hex(&manifest.identity),
        "taken_at": humantime(manifest),
        "journal": hex(&manifest.journal),
        "last_position": manifest.last_position,
        "epoch": manifest.epoch,
        "files": manifest.files.len(),
        "bytes": manifest.files.iter().map(|entry| entry.size).sum::<u64>(),
    })
}

fn humantime(manifest: &Manifest) -> String {
    jiff::Timestamp::try_from(manifest.taken_at).map_or_else(|_| String::new(), |at| at.to_string())
}

pub(crate) fn manifest_table(manifest: &Manifest, lang: Lang) -> Table {
    let bytes: u64 = manifest.files.iter().map(|entry| entry.size).sum();
    Table::of_pairs([
        (lang.pick("Bản sao lưu", "Backup"), hex(&manifest.identity)),
        (lang.pick("Thời điểm", "Taken at"), humantime(manifest)),
        (lang.pick("Bản ghi cuối", "Last record"), manifest.last_position.to_string()),
        (lang.pick("Kỷ nguyên sổ", "Epoch"), manifest.epoch.to_string()),
        (lang.pick("Tệp", "Files"), manifest.files.len().to_string()),
        (lang.pick("Dung lượng", "Size"), format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))),
    ])
}

/// Archives that an operator keeps elsewhere are an operator's to copy: they never change.
fn not_included(elsewhere: Option<&std::path::Path>, lang: Lang) -> String {
    let Some(dir) = elsewhere else { return String::new() };
    let dir = dir.display();
    lang.pick(
        format!("Tệp lưu trữ ở {dir} KHÔNG nằm trong bản sao lưu: hãy chép riêng; tệp đã có tên không bao giờ đổi.\n"),
        format!(
            "The archives in {dir} are NOT in the backup: copy them as well; one that has its name never changes.\n"
        ),
    )
}

fn taken_json(taken: &Taken, with_key: bool) -> Value {
    let mut json = manifest_json(&taken.manifest);
    json["copied_files"] = taken.copied.into();
    json["copied_bytes"] = taken.copied_bytes.into();
    json["with_node_key"] = with_key.into();
    json
}

fn taken_text(taken: &Taken, with_key: bool, lang: Lang) -> String {
    let table = manifest_table(&taken.manifest, lang);
    let copied = lang.pick(
        format!("Đã chép {} tệp mới hoặc đã đổi.", taken.copied),
        format!("{} new or changed files were copied.", taken.copied),
    );
    let key = if with_key {
        lang.pick(
            "Bản sao lưu có khoá của nút: ai có nó đọc được tất cả. Bảo quản như chính khoá.",
            "The node's key is in the backup: whoever has it can read everything. Keep it as you keep the key.",
        )
    } else {
        lang.pick(
            "Khoá của nút không nằm trong bản sao lưu: giữ một bản ở nơi khác, thiếu nó không khôi phục được.",
            "The node's key is not in the backup: keep a copy elsewhere, nothing can be restored without it.",
        )
    };
    format!("{table}{copied}\n{key}\n")
}
