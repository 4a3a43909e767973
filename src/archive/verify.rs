//! `lgsp archive verify`: reads archives whole and checks them against the digests at their ends. No key is needed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lgsp_gateway::archive::{Archive, ArchiveError, list};
use serde_json::{Value, json};

use super::list::archive_json;
use super::{name, unreadable};
use crate::failure::REFUSED;
use crate::lang::Lang;
use crate::output::Output;

/// Verifies archives.
#[derive(Args, Debug)]
pub(super) struct Verify {
    /// The files; of a folder, all its archives.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Verify {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let mut files = Vec::new();
        for given in self.files {
            if given.is_dir() {
                let found = list(&given).map_err(|error| unreadable(&given, error, lang))?;
                if found.is_empty() {
                    // Nothing that was looked at must not pass for all being well.
                    return Err(unreadable(
                        &given,
                        lang.pick("không có tệp lưu trữ nào", "it holds no archives"),
                        lang,
                    ));
                }
                files.extend(found);
            } else {
                files.push(given);
            }
        }
        let checked: Vec<_> = files.iter().map(|file| (name(file), verify(file))).collect();
        let is_whole = checked.iter().all(|(_, checked)| checked.is_ok());
        let json = || {
            let one = |(name, checked): &(String, Result<Archive, ArchiveError>)| match checked {
                Ok(archive) => archive_json(name, archive, false),
                Err(error) => json!({ "archive": name, "problem": error.to_string() }),
            };
            json!({ "whole": is_whole, "archives": checked.iter().map(one).collect::<Value>() })
        };
        let text = || {
            let line = |(name, checked): &(String, Result<Archive, ArchiveError>)| match checked {
                Ok(archive) => {
                    let (dossiers, sha256) = (archive.index.dossiers.len(), archive.sha256);
                    let whole = lang.pick(
                        format!("nguyên vẹn, {dossiers} hồ sơ, SHA-256 {sha256}"),
                        format!("whole, {dossiers} dossier(s), SHA-256 {sha256}"),
                    );
                    format!("{name}: {whole}\n")
                }
                Err(error) => format!("{name}: {}: {error}\n", lang.pick("không dùng được", "cannot be used")),
            };
            checked.iter().map(line).collect::<String>()
        };
        self.output.print(json, text)?;
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}

fn verify(file: &std::path::Path) -> Result<Archive, ArchiveError> {
    let archive = Archive::open(file)?;
    archive.verify()?;
    Ok(archive)
}
