//! `lgsp adapter token`: what callers on this machine show, and changing it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::Config;
use lgsp_adapters::access::{begin_token_change, current_token, finish_token_change};

use crate::failure::{Failure, because};
use crate::lang::Lang;
use crate::node::environment;
use crate::output::print;

const EXAMPLES: &str = "\
The token is in a file that only its owner may read (rest.token_file), made when it is first needed. To change it: --begin writes a
new one above the old one and both are good; when every caller has the new one, --finish takes the old one out of force. The running
adapter takes up both by itself.

Examples:
  lgsp adapter token --config adapter.toml
  lgsp adapter token --config adapter.toml --begin
  lgsp adapter token --config adapter.toml --finish";

/// Print the token that callers on this machine show to the local interface, or change it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Token {
    /// The adapter's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Add a new token above the old one, and print the new one.
    #[arg(long, conflicts_with = "finish")]
    begin: bool,
    /// Take the old one out of force.
    #[arg(long)]
    finish: bool,
}

impl Token {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.config, environment());
        let config = config.map_err(|problems| Failure::usage(problems.to_string()))?;
        let Some(file) = config.rest.token_file else {
            let (vi, en) = ("Bộ kết nối này không yêu cầu mã truy cập", "This adapter asks for no token");
            return Err(Failure::usage(format!("{}: rest.token = \"none\"", lang.pick(vi, en))));
        };
        // Before the first start there is no folder yet; the adapter takes it as it is.
        let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let changed = folder.map_err(Into::into).and_then(|()| match (self.begin, self.finish) {
            (true, _) => begin_token_change(&file),
            (_, true) => finish_token_change(&file),
            _ => Ok(()),
        });
        let token = changed.and_then(|()| Ok(current_token(&file)?));
        let token = token.map_err(|error| Failure::usage(format!("{}: {}", file.display(), because(&error))))?;
        if self.finish {
            let text = lang.pick("Đã bỏ mã cũ.", "The old token is out of force.");
            print(format!("{text}\n"))?;
        } else {
            print(format!("{}\n", *token))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
