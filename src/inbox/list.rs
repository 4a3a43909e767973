//! `lgsp inbox list`: which dossiers are parked.

use std::process::ExitCode;

use clap::Args;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::ParkedRequest;
use serde_json::{Value, json};

use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;

/// The most dossiers in one answer.
const PAGE: u32 = 200;

/// Lists parked dossiers.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only those parked for this party; all that may be seen if not given. May be given several times.
    #[arg(id = "inbox", long = "party", value_name = "PARTY")]
    party: Vec<PartyId>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on where a list ended.
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl List {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let (mut parked, mut next) = (Vec::new(), self.page_token.clone().unwrap_or_default());
        loop {
            let missing = self.limit.saturating_sub(u32::try_from(parked.len())?);
            let question = super::question(&profile, &self.party);
            let request = ParkedRequest { page_size: missing.min(PAGE), page_token: next, ..question };
            let answer = super::ask(&link, request).await?;
            parked.extend(answer.dossiers);
            next = answer.next_page_token;
            if next.is_empty() || parked.len() >= self.limit as usize {
                break;
            }
        }
        let json = || {
            let next = Some(&next).filter(|token| !token.is_empty());
            json!({ "parked": parked.iter().map(super::json_of).collect::<Value>(), "next_page_token": next })
        };
        let none = || lang.pick("Không có hồ sơ nào bị dừng giao\n", "No dossier is parked\n").to_owned();
        self.output.print(json, || if parked.is_empty() { none() } else { super::table(&parked, lang).to_string() })?;
        if !next.is_empty() && !self.output.json {
            eprintln!("{}", lang.pick("Còn nữa: thêm", "There are more: add").to_owned() + " --page-token " + &next);
        }
        Ok(ExitCode::SUCCESS)
    }
}
