//! `lgsp registry plan`, `apply` and `rollback`: what a folder or an earlier version would change and for whom, and making it
//! so. What is applied is what was planned: the gateway refuses when another version came in between.

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

use super::{authority, files};
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
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// Goes back to an earlier version.
#[derive(Args, Debug)]
pub(super) struct Rollback {
    /// The version whose files become the next one.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    version: u64,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// What is agreed to beforehand.
#[derive(Args, Clone, Copy, Debug)]
struct Consent {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Apply even if nobody, or not even you, could then use one of the rights registry, operate and certify.
    #[arg(long)]
    yes_lock_out: bool,
}

/// What is to become the registry in force.
#[derive(Clone, Debug, Default)]
struct Proposal {
    files: Vec<RegistryFile>,
    roll_back_to: u64,
}

impl Plan {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let proposal = Proposal { files: files::messages(files::read(&self.dir)?), ..Proposal::default() };
        let (profile, link) = self.connection.open()?;
        let plan = plan(&link, &profile, proposal).await?;
        self.output.print(|| plan_json(&plan), || plan_text(&plan, lang))?;
        Ok(if plan.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}

impl Apply {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let proposal = Proposal { files: files::messages(files::read(&self.dir)?), ..Proposal::default() };
        let (profile, link) = self.connection.open()?;
        apply(&link, &profile, proposal, self.consent, self.output, lang).await
    }
}

impl Rollback {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let proposal = Proposal { roll_back_to: self.version, ..Proposal::default() };
        let (profile, link) = self.connection.open()?;
        apply(&link, &profile, proposal, self.consent, self.output, lang).await
    }
}

async fn apply(
    link: &Link,
    profile: &Profile,
    proposal: Proposal,
    consent: Consent,
    output: Output,
    lang: Lang,
) -> anyhow::Result<ExitCode> {
    let plan = plan(link, profile, proposal.clone()).await?;
    let refused = !plan.problems.is_empty();
    if refused || plan.changes.is_empty() {
        output.print(|| plan_json(&plan), || plan_text(&plan, lang))?;
        return Ok(if refused { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS });
    }
    if !consent.yes && !confirmed(&plan, lang)? {
        eprintln!("{}", lang.pick("Không áp dụng gì.", "Nothing was applied."));
        return Ok(ExitCode::SUCCESS);
    }
    let request = ApplyRegistryRequest {
        acting_party: profile.acting_party.to_string(),
        actor: profile.actor.to_string(),
        files: proposal.files,
        roll_back_to: proposal.roll_back_to,
        base_version: plan.base_version,
        accept_lock_out: consent.yes_lock_out,
    };
    let answer = link.registry().apply(link.request(request, None)).await.map_err(CallError::from_status);
    let answer = answer.map_err(|error| Failure::of_link(error, link, None))?.into_inner();
    let version = answer.version.context("the gateway applied the registry without telling its version")?;
    let (number, rolled_back_to) = (version.number, version.rolled_back_to);
    let json = || {
        json!({
            "version": number, "rolled_back_to": Some(rolled_back_to).filter(|version| *version > 0),
            "changes": changes_json(&answer.changes),
        })
    };
    output.print(json, || {
        let count = answer.changes.len();
        let back = match rolled_back_to {
            0 => String::new(),
            version => lang.pick(format!(" (như phiên bản {version})"), format!(" (as version {version})")),
        };
        lang.pick(
            format!("Đã áp dụng phiên bản {number}{back}: {count} thay đổi\n"),
            format!("Applied version {number}{back}: {count} change(s)\n"),
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn plan(link: &Link, profile: &Profile, proposal: Proposal) -> anyhow::Result<PlanRegistryResponse> {
    let request = PlanRegistryRequest {
        acting_party: profile.acting_party.to_string(),
        actor: profile.actor.to_string(),
        files: proposal.files,
        roll_back_to: proposal.roll_back_to,
    };
    let answer = link.registry().plan(link.request(request, None)).await.map_err(CallError::from_status);
    Ok(answer.map_err(|error| Failure::of_link(error, link, None))?.into_inner())
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
    let warnings =
        authority::still_certified(&plan.still_certified, lang) + &authority::lock_outs(&plan.lock_outs, lang);
    format!("{}{table}{foot}{warnings}", authority::text(&plan.authority, lang))
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
        "authority": authority::json(&plan.authority),
        "lock_outs": authority::lock_outs_json(&plan.lock_outs),
        "still_certified": authority::still_certified_json(&plan.still_certified),
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
