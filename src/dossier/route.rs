//! `lgsp dossier route`: which authority is competent, every rule that was looked at, or the reason there is none.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_domain::routing;
use lgsp_proto::types::{BusinessTime, CaseCode, ProcedureCode, UnitCode};
use lgsp_proto::v1::{ExplainRouteRequest, ExplainRouteResponse, RouteStep, Warning};

use super::views;
use crate::failure::{Failure, REFUSED};
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Finds the competent authority.
#[derive(Args, Debug)]
pub(super) struct Route {
    /// National procedure code, e.g. 1.001193.
    #[arg(long, value_name = "CODE")]
    procedure: ProcedureCode,
    /// The unit the matter belongs to: five digits of a commune, or two of a province.
    #[arg(long, value_name = "UNIT")]
    locality: UnitCode,
    /// The case of the procedure, where it has several.
    #[arg(long, value_name = "CASE")]
    case: Option<CaseCode>,
    /// When it was received: a day or a moment; now if not given.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<BusinessTime>,
    /// Read a folder of registry files instead of asking a gateway.
    #[arg(long, value_name = "DIR")]
    registry: Option<PathBuf>,
    /// Show also the rules that are for something else.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Route {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let route = match &self.registry {
            Some(dir) => self.look_in_folder(dir, lang)?,
            None => self.ask_gateway().await?,
        };
        self.output.print(|| views::route(&route), || self.text(&route, lang))?;
        Ok(if route.no_route.is_none() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }

    async fn ask_gateway(&self) -> anyhow::Result<ExplainRouteResponse> {
        let (profile, link) = self.connection.open()?;
        let request = ExplainRouteRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            procedure_code: self.procedure.to_string(),
            case_code: self.case.as_ref().map(ToString::to_string).unwrap_or_default(),
            locality: self.locality.to_string(),
            at: self.at.map(moment::wire),
        };
        let answer = link.dossiers().explain_route(link.request(request, None)).await.map_err(CallError::from_status);
        Ok(answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner())
    }

    /// The same answer as a gateway with these files would give.
    fn look_in_folder(&self, dir: &std::path::Path, lang: Lang) -> anyhow::Result<ExplainRouteResponse> {
        let registry = crate::registry::in_folder(dir, lang)?;
        let at = self.at.map_or_else(moment::now, Ok)?;
        let explained = routing::route(&registry, &self.procedure, self.case.as_ref(), &self.locality, at.date());
        let steps = explained.steps.into_iter().map(|step| RouteStep {
            rule: step.rule,
            matched: step.matched,
            why_vi: step.why_vi,
            why_en: step.why_en,
        });
        let mut answer = ExplainRouteResponse { steps: steps.collect(), ..ExplainRouteResponse::default() };
        match explained.outcome {
            Ok(route) => {
                let party = registry.party(&route.authority);
                answer.competent_authority_name = party.map(|party| party.name.clone()).unwrap_or_default();
                answer.competent_authority = route.authority.to_string();
                answer.rule = route.rule;
            }
            Err(none) => {
                let reason = none.reason.as_str().to_owned();
                answer.no_route =
                    Some(Warning { reason, field: String::new(), message_vi: none.vi, message_en: none.en });
            }
        }
        Ok(answer)
    }

    fn text(&self, route: &ExplainRouteResponse, lang: Lang) -> String {
        let head = match &route.no_route {
            Some(none) => {
                let why = lang.pick(&none.message_vi, &none.message_en);
                let head = lang.pick("Không xác định được cơ quan", "No authority");
                let explained = lgsp_proto::explain::page(&none.reason);
                format!("{head}: {} ({why})\n{}: {explained}\n", none.reason, lang.explained_by())
            }
            None => Table::of_pairs([
                (
                    lang.pick("Cơ quan có thẩm quyền", "Competent authority"),
                    format!("{} {}", route.competent_authority, route.competent_authority_name),
                ),
                (lang.pick("Theo quy tắc", "By the rule"), route.rule.clone()),
            ])
            .to_string(),
        };
        let shown: Vec<_> = route.steps.iter().filter(|step| self.all || step.matched).collect();
        let mut table = Table::new([lang.pick("Quy tắc", "Rule"), lang.pick("Giải thích", "Why")]);
        for step in &shown {
            table.row([step.rule.clone(), lang.pick(&step.why_vi, &step.why_en).clone()]);
        }
        let others = route.steps.len() - shown.len();
        let others = match others {
            0 => String::new(),
            _ => lang.pick(
                format!("{others} quy tắc khác không áp dụng (xem bằng --all)\n"),
                format!("{others} other rule(s) do not apply (see them with --all)\n"),
            ),
        };
        if table.is_empty() { format!("{head}{others}") } else { format!("{head}\n{table}{others}") }
    }
}
