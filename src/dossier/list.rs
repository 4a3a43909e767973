//! `lgsp dossier list`: the dossiers a party has to do with.

use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_proto::types::{BusinessTime, PartyId, ProcedureCode, Status};
use lgsp_proto::v1::{Dossier, Filter, ListRequest};
use serde_json::{Value, json};

use super::views;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::paging::{Paging, tell_of_more};
use crate::profile::Connection;
use crate::table::Table;

/// Lists dossiers. All filters given must hold.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only these statuses: a name such as processing, or a number from 1 to 10. May be given several times.
    #[arg(long, value_name = "STATUS")]
    status: Vec<Status>,
    /// Only this procedure.
    #[arg(long, value_name = "CODE")]
    procedure: Option<ProcedureCode>,
    /// Only those this authority decides.
    #[arg(long, value_name = "PARTY")]
    authority: Option<PartyId>,
    /// Only those taken in by this desk.
    #[arg(long, value_name = "PARTY")]
    desk: Option<PartyId>,
    /// Received at or after: a day or a moment.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    from: Option<BusinessTime>,
    /// Received before: a day or a moment.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    to: Option<BusinessTime>,
    /// Only non-territorial ones.
    #[arg(long)]
    non_territorial: bool,
    /// Only those past their due date and not resolved.
    #[arg(long)]
    late: bool,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl List {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (dossiers, next) = self.dossiers().await?;
        let json = || {
            json!({
                "dossiers": dossiers.iter().map(views::dossier).collect::<Value>(),
                "next_page_token": Some(&next).filter(|token| !token.is_empty()),
            })
        };
        self.output.print(json, || text(&dossiers, lang))?;
        if !self.output.json {
            tell_of_more(&next, lang);
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn dossiers(&self) -> anyhow::Result<(Vec<Dossier>, String)> {
        let (profile, link) = self.connection.open()?;
        let ask = async |page_size, page_token| {
            let request = ListRequest {
                acting_party: profile.acting_party.to_string(),
                actor: profile.actor.to_string(),
                filter: Some(self.filter()),
                page_size,
                page_token,
            };
            let answer = link.dossiers().list(link.request(request, None)).await.map_err(CallError::from_status);
            let answer = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
            Ok((answer.dossiers, answer.next_page_token))
        };
        self.paging.collect(ask).await
    }

    fn filter(&self) -> Filter {
        let text = |party: &Option<PartyId>| party.as_ref().map(ToString::to_string).unwrap_or_default();
        Filter {
            statuses: self.status.iter().map(|status| i32::from(status.number())).collect(),
            procedure_code: self.procedure.as_ref().map(ToString::to_string).unwrap_or_default(),
            competent_authority: text(&self.authority),
            intake_desk: text(&self.desk),
            received_from: self.from.map(moment::wire),
            received_to: self.to.map(moment::wire),
            only_non_territorial: self.non_territorial,
            only_late: self.late,
        }
    }
}

fn text(dossiers: &[Dossier], lang: Lang) -> String {
    if dossiers.is_empty() {
        return lang.pick("Không có hồ sơ nào\n", "No dossiers\n").to_owned();
    }
    let mut table = Table::new(match lang {
        Lang::Vi => ["Mã hồ sơ", "Thủ tục", "Nơi tiếp nhận", "Cơ quan", "Nhận lúc", "Ngày hẹn trả", "Trạng thái", ""],
        Lang::En => ["Dossier", "Procedure", "Desk", "Authority", "Received", "Due", "Status", ""],
    });
    for dossier in dossiers {
        let clock = dossier.clock.as_ref();
        let remarks = [
            (dossier.non_territorial, lang.pick("phi địa giới", "non-territorial")),
            (clock.is_some_and(|clock| clock.extended), lang.pick("đã gia hạn", "extended")),
            (clock.is_some_and(|clock| clock.late), lang.pick("QUÁ HẠN", "LATE")),
        ];
        let remarks: Vec<_> = remarks.iter().filter(|(holds, _)| *holds).map(|(_, remark)| *remark).collect();
        table.row([
            dossier.code.clone(),
            dossier.procedure_code.clone(),
            dossier.intake_desk.clone(),
            dossier.competent_authority.clone(),
            moment::short(dossier.received_at.as_ref(), lang),
            moment::short(clock.and_then(|clock| clock.due_at.as_ref()), lang),
            lang.status(dossier.status),
            remarks.join(", "),
        ]);
    }
    table.to_string()
}
