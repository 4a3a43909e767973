//! `lgsp inbox show`: one dossier, for whom it is parked and why, and what was done about it before.

use std::process::ExitCode;

use clap::Args;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::{ParkedAction, ParkedActionKind, ParkedRequest, ParkedResponse};
use serde_json::{Value, json};

use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Shows for whom a dossier is parked, and what was done about it.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The dossier's code, or one of its aliases.
    code: String,
    /// Only as far as it concerns this party.
    #[arg(id = "inbox", long = "party", value_name = "PARTY")]
    party: Vec<PartyId>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Show {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let question = super::question(&profile, &self.party);
        let answer = super::ask(&link, ParkedRequest { dossier_code: self.code.clone(), ..question }).await?;
        let json = || {
            json!({
                "parked": answer.dossiers.iter().map(super::json_of).collect::<Value>(),
                "history": answer.history.iter().map(action).collect::<Value>(),
            })
        };
        self.output.print(json, || text(&answer, lang))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(answer: &ParkedResponse, lang: Lang) -> String {
    let mut text = if answer.dossiers.is_empty() {
        lang.pick("Hồ sơ không bị dừng giao\n", "The dossier is not parked\n").to_owned()
    } else {
        super::table(&answer.dossiers, lang).to_string()
    };
    if answer.history.is_empty() {
        return text;
    }
    let mut table = Table::new(match lang {
        Lang::Vi => ["Lúc", "Việc đã làm", "Cơ quan", "#", "Người làm", "Lý do"],
        Lang::En => ["When", "Done", "Party", "#", "By", "Why"],
    });
    for done in &answer.history {
        let named = done.r#ref.clone().unwrap_or_default();
        let what = match done.action() {
            ParkedActionKind::Retry => lang.pick("giao lại", "retried"),
            ParkedActionKind::Skip => lang.pick("bỏ qua", "skipped"),
            ParkedActionKind::Unspecified => "?",
        };
        table.row([
            moment::short(done.at.as_ref(), lang),
            what.to_owned(),
            named.party,
            named.sequence.to_string(),
            format!("{} ({}, {})", done.actor, done.acting_party, done.system),
            done.why.clone(),
        ]);
    }
    text.push('\n');
    text + &table.to_string()
}

fn action(done: &ParkedAction) -> Value {
    let named = done.r#ref.clone().unwrap_or_default();
    json!({
        "party": named.party,
        "dossier_code": named.dossier_code,
        "sequence": named.sequence,
        "action": super::word(ParkedActionKind::as_str_name(&done.action()), "PARKED_ACTION_KIND_"),
        "acting_party": done.acting_party,
        "actor": done.actor,
        "system": done.system,
        "at": moment::rfc3339(done.at.as_ref()),
        "why": done.why,
    })
}
