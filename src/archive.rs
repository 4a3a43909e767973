//! `lgsp archive`: dossiers that were closed long ago, moved to files: have it done, see what there is, read one again.

mod list;
mod run;
mod show;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::lang::Lang;

const EXAMPLES: &str = "\
Examples:
  lgsp archive run --after-days 365 --profile operator.toml
  lgsp archive list /var/lib/lgsp/data/archives
  lgsp archive verify /var/lib/lgsp/data/archives/archive-2026-11-0001.lgsp
  lgsp archive show H57.101-250714-0001 --data /var/lib/lgsp/data --node-key /etc/lgsp/node.key
  lgsp archive show H57.101-250714-0001 --data /var/lib/lgsp/data --document SHA256 --out paper.pdf

Only dossiers are archived that are closed, to which nothing has happened for so many days by the business clock, and of which
nothing is owed to anybody. The gateway does it by itself when retention.archive_after_days is set. Their codes stay taken, a
request that is sent again gets its receipt, and who asks for one is told in which file it is.

Archives are sealed: without the gateway's keys they open for nobody, and a dossier that is erased is erased in them too. So keep
the keys (the data folder's, and the node's key) for as long as the archives. `list` and `verify` need the files only.";

/// Archives: run, list, show, verify.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Have a gateway archive now what was closed long ago, by an operator; shows how far it is.
    Run(Box<run::Run>),
    /// The archives of a folder, and how much is in each.
    List(list::List),
    /// A dossier out of an archive, with everything that happened to it; or one of its documents.
    Show(show::Show),
    /// Read archives whole: is each what was written?
    Verify(verify::Verify),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Run(run) => crate::block_on(run.run(lang)),
            Action::List(list) => list.run(lang),
            Action::Show(show) => show.run(lang),
            Action::Verify(verify) => verify.run(lang),
        }
    }
}

/// The name of a file, for people.
fn name(path: &std::path::Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Something that cannot be read, as a usage failure.
fn unreadable(path: &std::path::Path, why: impl std::fmt::Display, lang: Lang) -> anyhow::Error {
    let path = path.display();
    crate::failure::Failure::usage(
        lang.pick(format!("Không đọc được {path}: {why}"), format!("{path} cannot be read: {why}")),
    )
}

/// Where archives are: a folder, or the data folder's own.
fn folder_of(archives: Option<&PathBuf>, data: &std::path::Path) -> PathBuf {
    archives.cloned().unwrap_or_else(|| data.join("archives"))
}
