//! `lgsp query`: questions to data services: what may be asked, asking, and what was asked before, and how
//! often.

mod ask;
mod figures;
mod list;
mod services;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use lgsp_proto::v1::QueryOnRecord;
use serde_json::{Value, json};

use crate::lang::Lang;
use crate::moment;

const EXAMPLES: &str = "\
A question is bound to a purpose, a procedure and a dossier, or to the request key under which the dossier will be handed in. It is
asked once: to ask again is another question. Every one is on record, with the clerk of the profile.

Examples:
  lgsp query services --profile desk.toml
  lgsp query ask dan-cu --purpose doi-chieu --procedure 1.000009 --intake-key ho-so-1 citizen.json --profile desk.toml
  lgsp query ask dan-cu --purpose doi-chieu --dossier H57.101-250714-0001 --fields full_name citizen.json --profile desk.toml
  lgsp query list --dossier H57.101-250714-0001 --profile desk.toml
  lgsp query show 0f3a… --profile desk.toml
  lgsp query figures --by clerk --profile operator.toml";

/// Questions to data services: services, ask, list, show, figures.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The services that there are, what they take and give, and what of it is granted.
    Services(services::Services),
    /// Ask a service, and print its reply.
    Ask(ask::Ask),
    /// What was asked before, without content, newest first.
    List(list::List),
    /// One earlier question, with what was asked and told at the time.
    Show(show::Show),
    /// How often was asked, by clerk, party, procedure, service or day, and how many dossiers there were.
    Figures(figures::Figures),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Services(services) => crate::block_on(services.run(lang)),
            Action::Ask(ask) => crate::block_on(ask.run(lang)),
            Action::List(list) => crate::block_on(list.run(lang)),
            Action::Show(show) => crate::block_on(show.run(lang)),
            Action::Figures(figures) => crate::block_on(figures.run(lang)),
        }
    }
}

/// A query on record for programs.
pub(crate) fn json_of(query: &QueryOnRecord) -> Value {
    let service = query.service.clone().unwrap_or_default();
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let hex = |bytes: &[u8]| Some(HEXLOWER.encode(bytes)).filter(|text| !text.is_empty());
    json!({
        "query_id": HEXLOWER.encode(&query.query_id),
        "service": service.name,
        "version": service.version,
        "purpose": query.purpose,
        "procedure_code": some(&query.procedure_code),
        "dossier_code": some(&query.dossier_code),
        "party": query.acting_party,
        "actor": query.actor,
        "system": query.system,
        "connector": query.connector,
        "fields": query.fields,
        "outcome": outcome(query),
        "asked_at": moment::rfc3339(query.asked_at.as_ref()),
        "ended_at": moment::rfc3339(query.ended_at.as_ref()),
        "reply_sha256": hex(&query.reply_sha256),
        "subject_hash": hex(&query.subject_hash),
        "registry_version": query.registry_version,
    })
}

/// What became of it, in a word.
pub(crate) fn outcome(query: &QueryOnRecord) -> &str {
    if query.outcome.is_empty() { "ANSWERED" } else { &query.outcome }
}
