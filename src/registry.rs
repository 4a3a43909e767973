//! `lgsp registry`: the declared registry, checked in its folder, planned, applied and taken back through a gateway, looked up.

mod apply;
mod authority;
mod check;
mod files;
mod national;
mod show;
mod versions;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub(crate) use files::{in_folder, of_gateway};

use crate::lang::Lang;

const EXAMPLES: &str = "\
Examples:
  lgsp registry check registry/hue
  lgsp registry plan registry/hue --profile operator.toml
  lgsp registry apply registry/hue --yes --profile operator.toml
  lgsp registry versions --profile operator.toml
  lgsp registry read --version 1 --out registry-1 --profile operator.toml
  lgsp registry rollback 1 --yes --profile operator.toml
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
    /// Show what applying a folder would change, and who would gain or lose what. Changes nothing.
    Plan(apply::Plan),
    /// Make a folder's files the registry in force.
    Apply(apply::Apply),
    /// List the versions applied so far: when, by whom.
    Versions(versions::Versions),
    /// Fetch the files of a version.
    Read(versions::Read),
    /// Make the files of an earlier version the next one.
    Rollback(apply::Rollback),
    National(national::Command),
    /// Look something up.
    Show(show::Show),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Check(check) => check.run(lang),
            Action::Plan(plan) => crate::block_on(plan.run(lang)),
            Action::Apply(apply) => crate::block_on(apply.run(lang)),
            Action::Versions(versions) => crate::block_on(versions.run(lang)),
            Action::Read(read) => crate::block_on(read.run(lang)),
            Action::Rollback(rollback) => crate::block_on(rollback.run(lang)),
            Action::National(national) => national.run(lang),
            Action::Show(show) => crate::block_on(show.run(lang)),
        }
    }
}
