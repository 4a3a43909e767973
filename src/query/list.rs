//! `lgsp query list`: what was asked before.

use std::process::ExitCode;

use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::CallError;
use lgsp_proto::v1::{ListQueriesRequest, QueryOnRecord};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::paging::{Paging, tell_of_more};
use crate::profile::Connection;
use crate::table::Table;

/// Lists earlier questions: those of the profile's party, or for operators and auditors all.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only those for this dossier, by code or alias.
    #[arg(long, value_name = "CODE")]
    dossier: Option<String>,
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
            let request = ListQueriesRequest {
                acting_party: profile.acting_party.to_string(),
                actor: profile.actor.to_string(),
                dossier_code: self.dossier.clone().unwrap_or_default(),
                page_size,
                page_token,
            };
            let answer = link.queries().list(link.request(request, None)).await.map_err(CallError::from_status);
            let page = answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner();
            Ok((page.queries, page.next_page_token))
        };
        let (queries, next) = self.paging.collect(ask).await?;
        let json = || {
            let next = Some(&next).filter(|token| !token.is_empty());
            json!({ "queries": queries.iter().map(super::json_of).collect::<Value>(), "next_page_token": next })
        };
        let none = || lang.pick("Chưa khai thác lần nào\n", "Nothing was asked\n").to_owned();
        self.output.print(json, || if queries.is_empty() { none() } else { table(&queries, lang).to_string() })?;
        if !self.output.json {
            tell_of_more(&next, lang);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(queries: &[QueryOnRecord], lang: Lang) -> Table {
    let mut table = Table::new(match lang {
        Lang::Vi => ["Lúc", "Dịch vụ", "Mục đích", "Cơ quan", "Cán bộ", "Hồ sơ", "Kết quả", "Mã lượt khai thác"],
        Lang::En => ["Asked", "Service", "Purpose", "Party", "Clerk", "Dossier", "Outcome", "Query"],
    });
    for query in queries {
        let service = query.service.clone().unwrap_or_default();
        table.row([
            moment::short(query.asked_at.as_ref(), lang),
            format!("{}/{}", service.name, service.version),
            query.purpose.clone(),
            query.acting_party.clone(),
            query.actor.clone(),
            query.dossier_code.clone(),
            super::outcome(query).to_owned(),
            HEXLOWER.encode(&query.query_id),
        ]);
    }
    table
}
