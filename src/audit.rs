//! `lgsp audit`: who administered what. The gateway derives it from its journal; nothing here or there can change it.

mod list;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::lang::Lang;

const EXAMPLES: &str = "\
Every change of the registry, join token, certificate, revocation, parked dossier that a person decided about, release, erasure, run of
archiving, restore and backup is an entry, made by the gateway with the act itself. It needs the right \"audit\" or \"operate\".

Examples:
  lgsp audit list --profile operator.toml
  lgsp audit list --since 7d --kind registry-applied --kind dossier-erased --profile operator.toml
  lgsp audit list --about mot-cua-hue --details --profile operator.toml
  lgsp audit list --actor van.hanh.1 --since 2025-07-01 --until 2025-08-01 --all --json --profile operator.toml

The position is that of the record in the journal: in a backup, or in a copy of the data folder, the same act stands at the same one.
Times are those of the gateway's machine. A copy of the files that was not made by `lgsp backup` is no entry.";

/// Who administered what.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The entries, newest first.
    List(list::List),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(list) => crate::block_on(list.run(lang)),
        }
    }
}
