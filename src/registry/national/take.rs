//! `lgsp registry national take`: what `diff` shows, written into the registry's folder. Never applies.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use lgsp_domain::registry::Registry;
use serde_json::{Value, json};

use super::diff::What;
use super::folder;
use crate::failure::{Failure, REFUSED};
use crate::lang::Lang;
use crate::output::Output;
use crate::registry::files;

const PROCEDURES: &str = "procedures.toml";
const ROUTES: &str = "routes.toml";

/// Writes the changes.
#[derive(Args, Debug)]
pub(super) struct Take {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    output: Output,
}

impl Take {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let planned = self.what.plan(lang)?;
        let text = |name: &str| -> anyhow::Result<String> {
            let bytes = planned.files.get(name).cloned().unwrap_or_default();
            String::from_utf8(bytes).with_context(|| format!("{name} is not text"))
        };
        let before = text(PROCEDURES)?;
        let procedures = planned.plan.carried(&before).map_err(|error| Failure::usage(error.to_string()))?;
        let routes_before = text(ROUTES)?;
        let routes = planned.plan.routed(&routes_before).map_err(|error| Failure::usage(error.to_string()))?;
        let changed = [(PROCEDURES, before, procedures), (ROUTES, routes_before, routes)];
        let changed: Vec<_> = changed.into_iter().filter(|(_, old, new)| old != new).collect();
        let mut files = planned.files.clone();
        files.extend(changed.iter().map(|(name, _, new)| ((*name).to_owned(), new.clone().into_bytes())));
        // Before anything is written: what would be no registry stays out of the folder.
        let problems = Registry::parse(&files).err().unwrap_or_default();
        let mut written = Vec::new();
        for (name, _, new) in changed.iter().filter(|_| problems.is_empty()) {
            // One after the other: if it ends here in between, taking again adds what is missing.
            folder::write(&planned.dir.join(name), new.as_bytes())?;
            written.push(*name);
        }
        let json = || {
            let mut told = planned.json();
            told["written"] = written.iter().map(|name| Value::from(*name)).collect();
            told["problems"] = problems
                .iter()
                .map(|one| json!({ "file": one.file, "line": one.line, "message_vi": one.vi, "message_en": one.en }))
                .collect();
            told
        };
        self.output.print(json, || {
            let dir = planned.dir.display();
            let lines: String = problems.iter().map(|problem| files::line(problem, lang) + "\n").collect();
            let wrote = match written.as_slice() {
                [] if !problems.is_empty() => lang.pick("Chưa ghi gì\n".to_owned(), "Nothing was written\n".to_owned()),
                [] => lang.pick("Không có gì để ghi\n".to_owned(), "Nothing to write\n".to_owned()),
                names => {
                    let names = names.join(", ");
                    lang.pick(format!("Đã ghi {names} trong {dir}\n"), format!("Wrote {names} in {dir}\n"))
                }
            };
            let next = if problems.is_empty() {
                lang.pick(
                    format!("Chưa áp dụng gì: lgsp registry plan {dir}, rồi lgsp registry apply {dir}\n"),
                    format!("Nothing is applied yet: lgsp registry plan {dir}, then lgsp registry apply {dir}\n"),
                )
            } else {
                lang.pick(
                    format!("Ghi vào thì sổ đăng ký có {} lỗi; sửa lớp phủ hoặc sổ đăng ký, rồi đưa vào lại\n", problems.len()),
                    format!(
                        "With it the registry would have {} problem(s); mend the overlay or the registry, then take again\n",
                        problems.len()
                    ),
                )
            };
            format!("{}{wrote}{lines}{next}", planned.text(lang))
        })?;
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}
