//! `lgsp registry national`: the province's catalogue follows the national one: fetched, compared, taken into the registry's folder.
//!
//! The rules are `lgsp_domain::registry::national`'s. Nothing here applies anything: what `take` has written goes through `lgsp registry
//! check` and `lgsp registry apply` like every other change.

mod diff;
mod folder;
mod pull;
mod take;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::lang::Lang;

const EXAMPLES: &str = "\
Examples:
  lgsp registry national pull --out national --profile operator.toml
  lgsp registry national diff national registry/hue
  lgsp registry national take national registry/hue
  lgsp registry check registry/hue";

/// The national procedure catalogue: fetch it, see what it changes, take it into a registry's folder.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Ask for the whole national catalogue over the bus and write a snapshot; asks only for what changed since the last one.
    Pull(pull::Pull),
    /// Show what following the snapshot would change of a registry. Changes nothing.
    Diff(diff::Diff),
    /// Write those changes into the registry's folder, for check and apply.
    Take(take::Take),
}

impl Command {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Pull(pull) => crate::block_on(pull.run(lang)),
            Action::Diff(diff) => diff.run(lang),
            Action::Take(take) => take.run(lang),
        }
    }
}
