//! `lgsp inbox list`: which dossiers are parked.

use std::process::ExitCode;

use clap::Args;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::ParkedRequest;
use serde_json::{Value, json};

use crate::lang::Lang;
use crate::output::Output;
use crate::paging::{Paging, tell_of_more};
use crate::profile::Connection;

/// Lists parked dossiers.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only those parked for this party; all that may be seen if not given. May be given several times.
    #[arg(id = "inbox", long = "party", value_name = "PARTY")]
    party: Vec<PartyId>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl List {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let ask = async |page_size, page_token| {
            let request = ParkedRequest { page_size, page_token, ..super::question(&profile, &self.party) };
            let answer = super::ask(&link, request).await?;
            Ok((answer.dossiers, answer.next_page_token))
        };
        let (parked, next) = self.paging.collect(ask).await?;
        let json = || {
            let next = Some(&next).filter(|token| !token.is_empty());
            json!({ "parked": parked.iter().map(super::json_of).collect::<Value>(), "next_page_token": next })
        };
        let none = || lang.pick("Không có hồ sơ nào bị dừng giao\n", "No dossier is parked\n").to_owned();
        self.output.print(json, || if parked.is_empty() { none() } else { super::table(&parked, lang).to_string() })?;
        if !self.output.json {
            tell_of_more(&next, lang);
        }
        Ok(ExitCode::SUCCESS)
    }
}
