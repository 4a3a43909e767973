//! `lgsp registry plan` and `apply`: what a folder would change, and making it so. What is applied is what was planned: the
//! gateway refuses when another version came in between.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use lgsp_adapters::link::{CallError, Link, Profile};
use lgsp_proto::v1::registry_change::Kind;
use lgsp_proto::v1::{
    ApplyRegistryRequest, PlanRegistryRequest, PlanRegistryResponse, RegistryChange, RegistryFile, RegistryProblem,
};
use serde_json::{Value, json};

use super::files;
use crate::failure::{Failure, REFUSED};
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Plans a folder.
#[derive(Args, Debug)]
pub(super) struct Plan {
    /// The folder of .toml files.
    dir: PathBuf,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// Applies a folder.
#[derive(Args, Debug)]
pub(super) struct Apply {
    /// The folder of .toml files.
    dir: PathBuf,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Plan {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let files = files::messages(files::read(&self.dir)?);
        let (profile, link) = self.connection.open()?;
        let plan = plan(&link, &profile, files).await?;
        self.output.print(|| plan_json(&plan), || plan_text(&plan, lang))?;
        Ok(if plan.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}

impl Apply {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let files = files::messages(files::read(&self.dir)?);
        let (profile, link) = self.connection.open()?;
        let plan = plan(&link, &profile, files.clone()).await?;
        let refused = !plan.problems.is_empty();
        if refused || plan.changes.is_empty() {
            self.output.print(|| plan_json(&plan), || plan_text(&plan, lang))?;
            return Ok(if refused { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS });
        }
        if !self.yes && !confirmed(&plan, lang)? {
            eprintln!("{}", lang.pick("Không áp dụng gì.", "Nothing was applied."));
            return Ok(ExitCode::SUCCESS);
        }
        let request = ApplyRegistryRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            files,
            base_version: plan.base_version,
            ..ApplyRegistryRequest::default()
        };
        let answer = link.registry().apply(link.request(request, None)).await.map_err(CallError::from_status);
        let answer = answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner();
        let version = answer.version.context("the gateway applied the registry without telling its version")?.number;
        let json = || json!({ "version": version, "changes": changes_json(&answer.changes) });
        self.output.print(json, || {
            let count = answer.changes.len();
            lang.pick(
                format!("Đã áp dụng phiên bản {version}: {count} thay đổi\n"),
                format!("Applied version {version}: {count} change(s)\n"),
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn plan(link: &Link, profile: &Profile, files: Vec<RegistryFile>) -> anyhow::Result<PlanRegistryResponse> {
    let request = PlanRegistryRequest {
        acting_party: profile.acting_party.to_string(),
        actor: profile.actor.to_string(),
        files,
        ..PlanRegistryRequest::default()
    };
    let answer = link.registry().plan(link.request(request, None)).await.map_err(CallError::from_status);
    Ok(answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner())
}

/// Shows the plan and asks, where there is somebody to ask.
fn confirmed(plan: &PlanRegistryResponse, lang: Lang) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(lang.pick(
            "Không có ai để hỏi (không phải thiết bị đầu cuối): thêm --yes để áp dụng.",
            "There is nobody to ask (not a terminal): add --yes to apply.",
        )));
    }
    eprint!("{}{}", plan_text(plan, lang), lang.pick("Áp dụng? [c/K] ", "Apply? [y/N] "));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes" | "c" | "có"))
}

fn plan_text(plan: &PlanRegistryResponse, lang: Lang) -> String {
    if !plan.problems.is_empty() {
        let lines = plan.problems.iter().map(|problem| problem_line(problem, lang)).collect::<String>();
        let count = plan.problems.len();
        return lines
            + &lang
                .pick(format!("{count} lỗi; chưa áp dụng được\n"), format!("{count} problem(s); cannot be applied\n"));
    }
    let base = plan.base_version;
    if plan.changes.is_empty() {
        return lang.pick(
            format!("Không có thay đổi so với phiên bản {base}\n"),
            format!("No changes against version {base}\n"),
        );
    }
    let heading = match lang {
        Lang::Vi => ["Thay đổi", "Loại", "Mã", "Nội dung"],
        Lang::En => ["Change", "Entity", "Id", "Summary"],
    };
    let mut table = Table::new(heading);
    for change in &plan.changes {
        let kind = match change.kind() {
            Kind::Unspecified => "?",
            Kind::Added => lang.pick("+ thêm", "+ added"),
            Kind::Changed => lang.pick("~ sửa", "~ changed"),
            Kind::Removed => lang.pick("- bỏ", "- removed"),
        };
        table.row([kind.to_owned(), change.entity.clone(), change.id.clone(), change.summary.clone()]);
    }
    let count = plan.changes.len();
    let foot = lang.pick(
        format!("{count} thay đổi so với phiên bản {base}\n"),
        format!("{count} change(s) against version {base}\n"),
    );
    format!("{table}{foot}")
}

fn problem_line(problem: &RegistryProblem, lang: Lang) -> String {
    let place = files::place(&problem.file, Some(problem.line).filter(|line| *line > 0), &problem.path);
    format!("{place}{}\n", lang.pick(&problem.message_vi, &problem.message_en))
}

fn plan_json(plan: &PlanRegistryResponse) -> Value {
    let problem = |problem: &RegistryProblem| {
        json!({
            "file": problem.file, "line": Some(problem.line).filter(|line| *line > 0), "path": problem.path,
            "message_vi": problem.message_vi, "message_en": problem.message_en,
        })
    };
    json!({
        "base_version": plan.base_version,
        "problems": plan.problems.iter().map(problem).collect::<Value>(),
        "changes": changes_json(&plan.changes),
    })
}

fn changes_json(changes: &[RegistryChange]) -> Value {
    let word = |kind| match kind {
        Kind::Unspecified => "unknown",
        Kind::Added => "added",
        Kind::Changed => "changed",
        Kind::Removed => "removed",
    };
    let one = |change: &RegistryChange| json!({ "kind": word(change.kind()), "entity": change.entity, "id": change.id, "summary": change.summary });
    changes.iter().map(one).collect()
}
