//! The local interface of an adapter, as commands reach it: its address, its token, its answers and refusals.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use lgsp_adapters::Config;
use lgsp_adapters::access::current_token;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::failure::{Failure, REFUSED};
use crate::lang::Lang;
use crate::node::environment;
use crate::staging::http::Client;

/// How to reach the adapter.
#[derive(Args, Debug)]
pub(crate) struct Local {
    /// Where the adapter's local interface listens.
    #[arg(long, value_name = "HOST:PORT", env = "LGSP_ADAPTER", default_value = "127.0.0.1:8480")]
    adapter: String,
    /// The adapter's token file; otherwise the one that adapter.toml in this folder names, if it is there.
    #[arg(long, value_name = "FILE", env = "LGSP_ADAPTER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// A configuration that is looked for where the command is given.
const CONFIG: &str = "adapter.toml";

impl Local {
    /// The adapter's answer, or its refusal.
    ///
    /// # Errors
    /// There was no answer, or the token file cannot be read.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Value,
    ) -> anyhow::Result<Result<Value, Value>> {
        if let Some(token) = self.token()? {
            let mut shown = HeaderValue::from_str(&format!("Bearer {}", *token)).context("a header")?;
            shown.set_sensitive(true);
            headers.insert(http::header::AUTHORIZATION, shown);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answered = Client::new(&self.adapter).send(method, path, headers, body).await;
        let (status, answer) = answered.map_err(|error| {
            let (adapter, cause) = (self.adapter.clone(), error.root_cause().to_string());
            anyhow::Error::new(Failure::NoAdapter { adapter, cause })
        })?;
        let json = serde_json::from_slice(&answer).context("the adapter answered something unexpected")?;
        Ok(if status == StatusCode::OK { Ok(json) } else { Err(json) })
    }

    fn token(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let read = |file: &Path| {
            let token = current_token(file);
            token.map(Some).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
        };
        match &self.token_file {
            Some(file) if file.exists() => read(file),
            Some(file) => Err(Failure::of_file(file, &std::io::ErrorKind::NotFound.into())),
            // Whoever has another adapter in mind names its file; a refusal says so.
            None => match Config::load(Path::new(CONFIG), environment()) {
                Ok(config) => config.rest.token_file.filter(|file| file.exists()).map_or(Ok(None), |file| read(&file)),
                Err(_) => Ok(None),
            },
        }
    }
}

/// Says what the adapter refused, and why.
pub(crate) fn refused(problem: &Value, lang: Lang) -> anyhow::Result<ExitCode> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = text(&problem[lang.pick("message_vi", "title")]);
    let remedy = text(&problem["remedy"][lang.pick("vi", "en")]);
    eprintln!("{}: {}\n  {what}", lang.pick("Bị từ chối", "Refused"), text(&problem["reason"]));
    for field in problem["fields"].as_array().into_iter().flatten() {
        eprintln!("  - {}: {}", text(&field["field"]), text(&field[lang.pick("problem_vi", "problem")]));
    }
    eprintln!("  {}: {remedy}", lang.pick("Cần làm", "What to do"));
    eprintln!("  {}: {}", lang.explained_by(), text(&problem["explain"]));
    Ok(ExitCode::from(REFUSED))
}
