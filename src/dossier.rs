//! `lgsp dossier`: what a clerk's system does, from a terminal: submit, look, record, ask for the competent authority.

mod documents;
mod erase;
mod list;
mod record;
mod route;
mod send;
pub(crate) mod show;
mod stored;
mod submission;
mod submit;
pub(crate) mod views;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::lang::Lang;

const EXAMPLES: &str = "\
A profile, desk.toml (paths are relative to the file):
  gateway = \"https://127.0.0.1:7443\"
  server_name = \"gw.lgsp.hue.test\"
  certificate = \"pki/mot-cua-hue.pem\"
  key = \"pki/mot-cua-hue.key\"
  bundle = \"ca/root.pem\"
  party = \"H57.102\"
  actor = \"cb01\"

A dossier, submission.json (received_at may not lie ahead of the gateway's clock, nor more than 15 days back):
  {
    \"procedure_code\": \"1.001193\", \"locality\": \"19753\",
    \"applicant\": { \"kind\": \"citizen\", \"full_name\": \"Nguyễn Thị Thử\", \"personal_number\": \"046190000001\" },
    \"intake_channel\": \"direct\", \"return_channel\": \"direct\",
    \"received_at\": \"2025-07-14T09:00:00+07:00\",
    \"components\": [{ \"code\": \"to-khai\", \"originals\": 1 }]
  }
The codes of a procedure's components: lgsp registry show procedure 1.001193 --registry registry/hue

Examples:
  lgsp dossier route --procedure 1.001193 --locality 19753 --registry registry/hue
  lgsp dossier submit --file submission.json --document to-khai=to-khai.pdf --profile desk.toml
  lgsp dossier submit --procedure 1.001193 --locality 19753 --applicant 'Nguyễn Thị Thử' \\
      --number 046190000001 --document to-khai=to-khai.pdf \\
      --received-at 2025-07-14T09:00:00+07:00 --profile desk.toml
  lgsp dossier list --status registered --late --profile authority.toml
  lgsp dossier show H57.101-250714-0001 --profile desk.toml
  lgsp dossier record H57.101-250714-0001 --type accepted \\
      --at 2025-07-14T09:20:00+07:00 --profile authority.toml
  lgsp dossier erase H57.101-250714-0001 --ground QD-123/2026 --profile operator.toml
  lgsp dossier show H57.101-250714-0001 --data /var/lib/lgsp/data --node-key /etc/lgsp/node.key";

/// Dossiers: submit, list, show, record, route, erase.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Hand in a dossier; prints the receipt.
    Submit(Box<submit::Submit>),
    /// The dossiers the party has to do with, newest change first.
    List(Box<list::List>),
    /// How one dossier stands, with everything that happened to it.
    Show(Box<show::Show>),
    /// Record that something happened to a dossier; prints the receipt.
    Record(Box<record::Record>),
    /// Erase a closed dossier's content for good, by an operator; prints what is on record.
    Erase(Box<erase::Erase>),
    /// Which authority is competent, and which rule says so.
    Route(Box<route::Route>),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Submit(submit) => crate::block_on(submit.run(lang)),
            Action::List(list) => crate::block_on(list.run(lang)),
            Action::Show(show) => show.run(lang),
            Action::Record(record) => crate::block_on(record.run(lang)),
            Action::Erase(erase) => crate::block_on(erase.run(lang)),
            Action::Route(route) => crate::block_on(route.run(lang)),
        }
    }
}
