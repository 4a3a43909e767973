//! The one command line of the gateway: reads what is asked, has it done, says how it ended.
//!
//! A file per subcommand, thin: the work is in the packages. Errors become exit codes here and nowhere else.

mod adapter;
mod archive;
mod audit;
mod backup;
mod can_i;
mod certs;
mod demo;
mod desk;
mod dossier;
mod explain;
mod failure;
mod fsck;
mod gateway;
mod inbox;
mod lang;
mod local;
mod moment;
mod node;
mod output;
mod paging;
mod profile;
mod query;
mod registry;
mod rehearse;
mod restore;
mod sandbox;
mod staging;
mod table;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::lang::Lang;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  an unexpected failure; or the connector is not ready (rehearse)
  2  the command line, a configuration or a file given is at fault; nothing was sent
  3  refused by the bus, nothing was written; or problems were found (registry check, registry plan, fsck); or no (can-i)
  4  no answer, the outcome is unknown: send the same again with the same key; or fsck could not check
  5  the books differ (demo)

Every client command takes a connection profile: --profile FILE or LGSP_PROFILE, single values by flag or environment.
Begin with `lgsp sandbox` or `lgsp demo`, or with `lgsp certs --help` and `lgsp gateway --help`.";

/// The data-interchange gateway of a province: any desk takes a dossier, the competent authority decides it, any desk hands
/// back the result.
#[derive(Debug, Parser)]
#[command(name = "lgsp", version, after_help = EXIT_CODES)]
struct Cli {
    /// Language of results and refusals; by the terminal's (LC_ALL, LC_MESSAGES, LANG) if not given.
    #[arg(long, global = true, value_enum, env = "LGSP_LANG")]
    lang: Option<Lang>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sandbox(sandbox::Args),
    Demo(demo::Args),
    Gateway(gateway::Command),
    Adapter(adapter::Command),
    Certs(certs::Command),
    Registry(registry::Command),
    CanI(can_i::Command),
    Dossier(dossier::Command),
    Inbox(inbox::Command),
    Query(query::Command),
    Rehearse(rehearse::Command),
    Desk(desk::Command),
    Webhook(webhook::Command),
    Explain(explain::Command),
    Fsck(fsck::Command),
    Backup(backup::Command),
    Archive(archive::Command),
    Audit(audit::Command),
    Restore(restore::Command),
    /// Prints the description of the adapter's local interface (OpenAPI 3.1), for generators of clients.
    Openapi,
    /// The stand-in for an agency's own software in the demo.
    #[command(hide = true)]
    DemoAgency(demo::agency::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let lang = cli.lang.unwrap_or_else(Lang::of_the_terminal);
    let done = match cli.command {
        Command::Sandbox(args) => sandbox::run(args, lang),
        Command::Demo(args) => demo::run(args, lang),
        Command::Gateway(command) => command.run(lang),
        Command::Adapter(command) => command.run(lang),
        Command::Certs(command) => command.run(lang),
        Command::Registry(command) => command.run(lang),
        Command::CanI(command) => command.run(lang),
        Command::Dossier(command) => command.run(lang),
        Command::Inbox(command) => command.run(lang),
        Command::Query(command) => command.run(lang),
        Command::Rehearse(command) => command.run(lang),
        Command::Desk(command) => command.run(lang),
        Command::Webhook(command) => command.run(lang),
        Command::Explain(command) => command.run(lang),
        Command::Fsck(command) => command.run(lang),
        Command::Backup(command) => command.run(lang),
        Command::Archive(command) => command.run(lang),
        Command::Audit(command) => command.run(lang),
        Command::Restore(command) => command.run(lang),
        Command::Openapi => openapi(),
        Command::DemoAgency(args) => demo::agency::run(args),
    };
    done.unwrap_or_else(|error| ended_badly(&error, lang))
}

/// The same as every adapter of this version answers at `GET /v1/openapi.json`.
fn openapi() -> anyhow::Result<ExitCode> {
    output::print(String::from_utf8_lossy(&lgsp_adapters::description()))?;
    Ok(ExitCode::SUCCESS)
}

/// Says what went wrong, and gives the exit code that means it.
fn ended_badly(error: &anyhow::Error, lang: Lang) -> ExitCode {
    if output::reader_left(error) {
        return ExitCode::from(failure::OK);
    }
    match error.downcast_ref::<Failure>() {
        Some(failure) => {
            eprintln!("{}", failure.explain(lang));
            ExitCode::from(failure.code())
        }
        None => {
            eprintln!("{}: {error:#}", lang.pick("Lỗi ngoài dự kiến", "Unexpected failure"));
            ExitCode::from(failure::UNEXPECTED)
        }
    }
}

/// Runs a client command: a few calls, one after the other.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
