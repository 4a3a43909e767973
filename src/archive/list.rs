//! `lgsp archive list`: the archives of a folder. Only their heads and indexes are read, and no key is needed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lgsp_gateway::archive::{Archive, ArchiveError, list};
use serde_json::{Value, json};

use super::run::mega;
use super::{name, unreadable};
use crate::backup::hex;
use crate::failure::REFUSED;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::table::Table;

/// Lists archives.
#[derive(Args, Debug)]
pub(super) struct List {
    /// The folder of archives (retention.archive_dir in the gateway's configuration).
    dir: PathBuf,
    /// Name the dossiers too.
    #[arg(long)]
    dossiers: bool,
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        if !self.dir.is_dir() {
            return Err(unreadable(&self.dir, lang.pick("không có thư mục này", "there is no such folder"), lang));
        }
        let paths = list(&self.dir).map_err(|error| unreadable(&self.dir, error, lang))?;
        let read: Vec<_> = paths.iter().map(|path| (name(path), Archive::open(path))).collect();
        let is_whole = read.iter().all(|(_, archive)| archive.is_ok());
        let json = || {
            let one = |(name, archive): &(String, Result<Archive, ArchiveError>)| match archive {
                Ok(archive) => archive_json(name, archive, self.dossiers),
                Err(error) => json!({ "archive": name, "problem": error.to_string() }),
            };
            json!({ "archives": read.iter().map(one).collect::<Value>() })
        };
        self.output.print(json, || text(&read, self.dossiers, lang))?;
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}

pub(super) fn archive_json(name: &str, archive: &Archive, with_dossiers: bool) -> Value {
    let at = jiff::Timestamp::from_millisecond(archive.index.at_unix_ms).ok();
    let mut json = json!({
        "archive": name,
        "written_at": at.map(|at| at.to_string()),
        "epoch": archive.head.epoch,
        "journal": hex(&archive.head.journal),
        "dossiers": archive.index.dossiers.len(),
        "documents": archive.index.dossiers.iter().map(|dossier| dossier.documents.len()).sum::<usize>(),
        "bytes": archive.bytes(),
        "sha256": archive.sha256.to_string(),
    });
    if with_dossiers {
        json["codes"] = archive.index.dossiers.iter().map(|dossier| dossier.dossier_code.as_str()).collect();
    }
    json
}

fn text(read: &[(String, Result<Archive, ArchiveError>)], with_dossiers: bool, lang: Lang) -> String {
    let mut table = Table::new(match lang {
        Lang::Vi => ["Tệp lưu trữ", "Ghi lúc", "Hồ sơ", "Tài liệu", "Dung lượng", "SHA-256"],
        Lang::En => ["Archive", "Written at", "Dossiers", "Documents", "Size", "SHA-256"],
    });
    let mut below = String::new();
    for (name, archive) in read {
        let archive = match archive {
            Ok(archive) => archive,
            Err(error) => {
                table.row([name.clone(), error.to_string()]);
                continue;
            }
        };
        let dossiers = &archive.index.dossiers;
        let seconds = archive.index.at_unix_ms.div_euclid(1000);
        table.row([
            name.clone(),
            moment::short(Some(&prost_types::Timestamp { seconds, nanos: 0 }), lang),
            dossiers.len().to_string(),
            dossiers.iter().map(|dossier| dossier.documents.len()).sum::<usize>().to_string(),
            format!("{:.1} MB", mega(archive.bytes())),
            archive.sha256.to_string(),
        ]);
        if with_dossiers {
            below += &format!("\n{name}\n");
            below.extend(dossiers.iter().map(|dossier| format!("  {}\n", dossier.dossier_code)));
        }
    }
    if table.is_empty() {
        return lang.pick("Không có tệp lưu trữ\n", "No archives\n").to_owned();
    }
    format!("{table}{below}")
}
