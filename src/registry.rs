//! `lgsp registry`: the declared registry, checked in its folder, planned and applied through a gateway, looked up.

mod apply;
mod check;
mod files;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(crate) use files::{in_folder, of_gateway};

use crate::lang::Lang;

const EXAMPLES: &str = "\
Examples:
  lgsp registry check registry/hue
  lgsp registry plan registry/hue --profile operator.toml
  lgsp registry apply registry/hue --yes --profile operator.toml
  lgsp registry show --profile operator.toml
  lgsp registry show party H57.101 --profile operator.toml
  lgsp registry show procedure --registry registry/hue --json";

/// The registry: parties, units, procedures, routes, grants and systems.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a folder of registry files without a gateway: every problem with file, line and key.
    Check(check::Check),
    /// Show what applying a folder would change. Changes nothing.
    Plan(apply::Plan),
    /// Make a folder's files the registry in force.
    Apply(apply::Apply),
    /// Look something up.
    Show(show::Show),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Check(check) => check.run(lang),
            Action::Plan(plan) => crate::block_on(plan.run(lang)),
            Action::Apply(apply) => crate::block_on(apply.run(lang)),
            Action::Show(show) => crate::block_on(show.run(lang)),
        }
    }
}
