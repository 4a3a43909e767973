//! `lgsp registry check`: a folder's files, without a gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lgsp_domain::registry::Registry;
use serde_json::{Value, json};

use super::files;
use crate::failure::REFUSED;
use crate::lang::Lang;
use crate::output::Output;

/// Checks a folder.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// The folder of .toml files.
    dir: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Check {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let problems = Registry::parse(&files::read(&self.dir)?).err().unwrap_or_default();
        let count = problems.len();
        let json = || {
            let one = |problem: &lgsp_domain::registry::Problem| {
                json!({
                    "file": problem.file, "line": problem.line, "path": problem.path,
                    "message_vi": problem.vi, "message_en": problem.en,
                })
            };
            json!({ "problems": problems.iter().map(one).collect::<Value>() })
        };
        let text = || {
            let dir = self.dir.display();
            if count == 0 {
                return lang.pick(format!("{dir}: không có lỗi\n"), format!("{dir}: no problems\n"));
            }
            let lines = problems.iter().map(|problem| files::line(problem, lang) + "\n").collect::<String>();
            lines + &lang.pick(format!("{dir}: {count} lỗi\n"), format!("{dir}: {count} problem(s)\n"))
        };
        self.output.print(json, text)?;
        Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}
