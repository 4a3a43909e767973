//! `lgsp query services`: what may be asked, and whether somebody answers.

use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_proto::v1::{ServiceStanding, ServiceState, ServicesRequest};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Lists the data services in force.
#[derive(Args, Debug)]
pub(super) struct Services {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Services {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let request =
            ServicesRequest { acting_party: profile.acting_party.to_string(), actor: profile.actor.to_string() };
        let answer = link.queries().services(link.request(request, None)).await.map_err(CallError::from_status);
        let services = answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner().services;
        let json = || json!({ "services": services.iter().map(json_of).collect::<Value>() });
        let none = || lang.pick("Chưa có dịch vụ nào\n", "There are no services\n").to_owned();
        self.output.print(json, || if services.is_empty() { none() } else { table(&services, lang).to_string() })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(services: &[ServiceStanding], lang: Lang) -> Table {
    let mut table = Table::new(match lang {
        Lang::Vi => ["Dịch vụ", "Chủ quản", "Tên", "Kết nối", "Tình trạng", "Được khai thác"],
        Lang::En => ["Service", "Owner", "Title", "Served by", "State", "Granted"],
    });
    for one in services {
        let service = one.service.clone().unwrap_or_default();
        let title = if lang == Lang::En && !one.title_en.is_empty() { &one.title_en } else { &one.title };
        let granted = one.grants.iter().map(|grant| format!("{}: {}", grant.purpose, grant.fields.join(", ")));
        table.row([
            format!("{}/{}", service.name, service.version),
            one.owner.clone(),
            title.clone(),
            one.connectors.to_string(),
            state(one.state(), lang).to_owned(),
            granted.collect::<Vec<_>>().join("; "),
        ]);
    }
    table
}

fn state(state: ServiceState, lang: Lang) -> &'static str {
    match state {
        ServiceState::Open | ServiceState::Unspecified => lang.pick("hoạt động", "open"),
        ServiceState::Suspended => lang.pick("tạm ngưng", "suspended"),
        ServiceState::Trying => lang.pick("đang thử lại", "trying"),
    }
}

fn json_of(one: &ServiceStanding) -> Value {
    let service = one.service.clone().unwrap_or_default();
    let schema = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
    let granted = one.grants.iter().map(|grant| json!({ "purpose": grant.purpose, "fields": grant.fields }));
    json!({
        "service": service.name,
        "version": service.version,
        "owner": one.owner,
        "title": one.title,
        "title_en": Some(&one.title_en).filter(|title| !title.is_empty()),
        "purposes": one.purposes,
        "needs": one.needs,
        "subject": one.subject,
        "timeout_ms": one.timeout_ms,
        "concurrency": one.concurrency,
        "cache_s": one.cache_s,
        "connectors": one.connectors,
        "under_way": one.under_way,
        "state": state(one.state(), Lang::En),
        "grants": granted.collect::<Value>(),
        "request_schema": schema(&one.request_schema),
        "reply_schema": schema(&one.reply_schema),
    })
}
