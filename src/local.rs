//! The local interface of an adapter, as commands reach it: its address, its token, its answers and refusals.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

use crate::failure::{Failure, REFUSED};
use crate::lang::Lang;
use crate::staging::http::Client;

/// How to reach the adapter.
#[derive(Args, Debug)]
pub(crate) struct Local {
    /// Where the adapter's local interface listens.
    #[arg(long, value_name = "HOST:PORT", env = "LGSP_ADAPTER", default_value = "127.0.0.1:8480")]
    adapter: String,
    /// The adapter's token file, if it has one.
    #[arg(long, value_name = "FILE", env = "LGSP_ADAPTER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

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
        if let Some(file) = &self.token_file {
            let token = std::fs::read_to_string(file);
            let token = token.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            let shown = HeaderValue::from_str(&format!("Bearer {}", token.trim())).context("a header")?;
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
}

/// Says what the adapter refused, and why.
pub(crate) fn refused(problem: &Value, lang: Lang) -> anyhow::Result<ExitCode> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = text(&problem[lang.pick("message_vi", "title")]);
    let remedy = text(&problem["remedy"][lang.pick("vi", "en")]);
    eprintln!("{}: {}\n  {what}", lang.pick("Bị từ chối", "Refused"), text(&problem["reason"]));
    for field in problem["fields"].as_array().into_iter().flatten() {
        eprintln!("  - {}: {}", text(&field["field"]), text(&field["problem"]));
    }
    eprintln!("  {}: {remedy}", lang.pick("Cần làm", "What to do"));
    eprintln!("  {}: {}", lang.explained_by(), text(&problem["explain"]));
    Ok(ExitCode::from(REFUSED))
}
