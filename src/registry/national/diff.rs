//! `lgsp registry national diff`: what following the newest snapshot would change.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::civil::Date;
use lgsp_domain::registry::national::{
    Catalogue, CatalogueChange, CatalogueChangeKind, OVERLAY, Overlay, Plan, RouteChange,
};
use serde_json::{Value, json};

use super::folder;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::registry::files;

/// Shows what would change.
#[derive(Args, Debug)]
pub(super) struct Diff {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    output: Output,
}

/// A snapshot beside a registry.
#[derive(Args, Debug)]
pub(super) struct What {
    /// The folder of snapshots.
    national: PathBuf,
    /// The folder of the registry.
    registry: PathBuf,
    /// What the province adds; overlay.toml in the folder of snapshots if it is there.
    #[arg(long, value_name = "FILE")]
    overlay: Option<PathBuf>,
    /// The first day for changes that name none of their own, YYYY-MM-DD; today if not given.
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
}

/// Everything that a plan is made of, and the plan.
pub(super) struct Planned {
    pub(super) dir: PathBuf,
    pub(super) files: std::collections::BTreeMap<String, Vec<u8>>,
    pub(super) snapshot: String,
    pub(super) plan: Plan,
}

impl What {
    pub(super) fn plan(self, lang: Lang) -> anyhow::Result<Planned> {
        let (current, snapshot) = folder::existing(&self.national)?;
        let registry = files::in_folder(&self.registry, lang)?;
        let files = files::read(&self.registry)?;
        let overlay = match &self.overlay {
            Some(file) => Some(file.clone()),
            None => Some(self.national.join(OVERLAY)).filter(|file| file.exists()),
        };
        let overlay = match overlay {
            None => Overlay::default(),
            Some(file) => {
                let text = std::fs::read_to_string(&file).map_err(|error| Failure::of_file(&file, &error))?;
                Overlay::parse(&text).map_err(|problems| {
                    let lines: Vec<String> = problems.iter().map(|problem| files::line(problem, lang)).collect();
                    Failure::usage(format!("{}:\n{}", file.display(), lines.join("\n")))
                })?
            }
        };
        let from = self.from.unwrap_or_else(crate::moment::today);
        let plan = Catalogue { registry: &registry, overlay: &overlay, snapshot: &snapshot, from }.plan();
        Ok(Planned { dir: self.registry, files, snapshot: current.file, plan })
    }
}

impl Diff {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let planned = self.what.plan(lang)?;
        self.output.print(|| planned.json(), || planned.text(lang))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Planned {
    pub(super) fn json(&self) -> Value {
        let change = |one: &CatalogueChange| {
            let fields = one.fields.iter().map(|(key, old, new)| json!({ "key": key, "before": old, "after": new }));
            json!({
                "code": one.code.as_str(),
                "name": one.name,
                "change": word(one.kind, Lang::En),
                "day": one.day.to_string(),
                "successor": one.successor.as_ref().map(|code| code.as_str()),
                "fields": fields.collect::<Value>(),
            })
        };
        let route = |one: &RouteChange| {
            json!({
                "id": one.id,
                "code": one.code.as_str(),
                "before": one.before.as_ref().map(|(_, party)| party.as_str()),
                "after": one.authority.as_str(),
                "day": one.day.to_string(),
            })
        };
        let left_out = self.plan.left_out.iter();
        let left_out = left_out.map(|one| json!({ "code": one.code, "why_vi": one.vi, "why_en": one.en }));
        json!({
            "snapshot": self.snapshot,
            "changes": self.plan.changes.iter().map(change).collect::<Value>(),
            "routes": self.plan.routes.iter().map(route).collect::<Value>(),
            "left_out": left_out.collect::<Value>(),
            "unchanged": self.plan.unchanged,
            "not_followed": self.plan.not_followed,
            "not_listed": self.plan.not_listed.iter().map(ToString::to_string).collect::<Value>(),
        })
    }

    pub(super) fn text(&self, lang: Lang) -> String {
        let mut text = String::new();
        for change in &self.plan.changes {
            let day = match change.kind {
                CatalogueChangeKind::New | CatalogueChangeKind::Changed => {
                    lang.pick(format!("từ {}", change.day), format!("from {}", change.day))
                }
                CatalogueChangeKind::Abolished | CatalogueChangeKind::Replaced => {
                    lang.pick(format!("hết {}", change.day), format!("until {}", change.day))
                }
            };
            let by = change.successor.as_ref().map(|code| format!(" → {code}")).unwrap_or_default();
            text += &format!("{} {}{by}, {day}: {}\n", word(change.kind, lang), change.code, change.name);
            if change.kind == CatalogueChangeKind::Changed {
                for (key, old, new) in &change.fields {
                    let shown = |value: &str| if value.is_empty() { "–".to_owned() } else { value.to_owned() };
                    text += &format!("    {key}: {} → {}\n", shown(old), shown(new));
                }
            }
        }
        for RouteChange { code, authority, day, before, .. } in &self.plan.routes {
            let before = before.as_ref().map_or("–", |(_, party)| party.as_str());
            text += &lang.pick(
                format!("tuyến {code}: {before} → {authority}, từ {day}\n"),
                format!("route {code}: {before} → {authority}, from {day}\n"),
            );
        }
        if !self.plan.left_out.is_empty() {
            text += lang.pick("Để ngoài, giữ như cũ:\n", "Left out, and as they were:\n");
        }
        for one in &self.plan.left_out {
            text += &format!("    {}: {}\n", one.code, lang.pick(&one.vi, &one.en));
        }
        if !self.plan.not_listed.is_empty() {
            let codes: Vec<_> = self.plan.not_listed.iter().map(ToString::to_string).collect();
            let what = lang.pick("Có trong sổ đăng ký, không có trong danh mục", "In the registry and not in the list");
            text += &format!("{what}: {}\n", codes.join(", "));
        }
        let Plan { changes, unchanged, not_followed, left_out, .. } = &self.plan;
        let (changes, left_out) = (changes.len(), left_out.len());
        text + &lang.pick(
            format!("{changes} thay đổi, {unchanged} như cũ, {left_out} để ngoài, {not_followed} không theo dõi\n"),
            format!("{changes} change(s), {unchanged} the same, {left_out} left out, {not_followed} not followed\n"),
        )
    }
}

fn word(kind: CatalogueChangeKind, lang: Lang) -> &'static str {
    match kind {
        CatalogueChangeKind::New => lang.pick("mới", "new"),
        CatalogueChangeKind::Changed => lang.pick("thay đổi", "changed"),
        CatalogueChangeKind::Abolished => lang.pick("bãi bỏ", "abolished"),
        CatalogueChangeKind::Replaced => lang.pick("thay thế", "replaced"),
    }
}
