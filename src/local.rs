//! The local interface of an adapter, as commands reach it: its address, its token, its answers and refusals.
//!
//! The token goes to the adapter that its configuration names, or to the one that was named, and never over a network: who
//! listens on the way would have it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use http::uri::Authority;
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
    /// Where the adapter's local interface listens, on this machine; otherwise where adapter.toml in this folder says, or at
    /// 127.0.0.1:8480.
    #[arg(long, value_name = "HOST:PORT", env = "LGSP_ADAPTER", value_parser = address)]
    adapter: Option<String>,
    /// The adapter's token file; otherwise the one that adapter.toml in this folder names, if it is there.
    #[arg(long, value_name = "FILE", env = "LGSP_ADAPTER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// A configuration that is looked for where the command is given.
const CONFIG: &str = "adapter.toml";
/// Where an adapter listens unless its configuration says otherwise.
const USUAL: &str = "127.0.0.1:8480";

impl Local {
    /// The adapter's answer, or its refusal.
    ///
    /// # Errors
    /// There was no answer; or, before anything is sent: configuration or token file cannot be read, or the token would leave
    /// this machine.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: Value,
    ) -> anyhow::Result<Result<Value, Value>> {
        let config = self.config()?;
        let adapter = match (&self.adapter, &config) {
            (Some(named), _) => named.clone(),
            (None, Some(config)) => config.rest.listen.to_string(),
            (None, None) => USUAL.to_owned(),
        };
        if let Some(token) = self.token(config)? {
            if !is_here(&adapter) {
                return Err(elsewhere(&adapter));
            }
            let mut shown = HeaderValue::from_str(&format!("Bearer {}", *token)).context("a header")?;
            shown.set_sensitive(true);
            headers.insert(http::header::AUTHORIZATION, shown);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answered = Client::new(&adapter).send(method, path, headers, body).await;
        let (status, answer) = answered.map_err(|error| {
            let cause = error.root_cause().to_string();
            anyhow::Error::new(Failure::NoAdapter { adapter, cause })
        })?;
        let json = serde_json::from_slice(&answer).context("the adapter answered something unexpected")?;
        Ok(if status == StatusCode::OK { Ok(json) } else { Err(json) })
    }

    /// The configuration in this folder, where it has something to say that was not said with the command.
    fn config(&self) -> anyhow::Result<Option<Config>> {
        let all_said = self.adapter.is_some() && self.token_file.is_some();
        if all_said || !Path::new(CONFIG).exists() {
            return Ok(None);
        }
        let config = Config::load(Path::new(CONFIG), environment());
        config.map(Some).map_err(|problems| Failure::usage(format!("{CONFIG}: {problems}")))
    }

    fn token(&self, config: Option<Config>) -> anyhow::Result<Option<Zeroizing<String>>> {
        let read = |file: &Path| {
            let token = current_token(file);
            token.map(Some).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
        };
        match &self.token_file {
            Some(file) if file.exists() => read(file),
            Some(file) => Err(Failure::of_file(file, &std::io::ErrorKind::NotFound.into())),
            // Whoever has another adapter in mind names its file; a refusal says so.
            None => {
                let file = config.and_then(|config| config.rest.token_file).filter(|file| file.exists());
                file.map_or(Ok(None), |file| read(&file))
            }
        }
    }
}

/// Reads `HOST:PORT`, also as it stands at the beginning of a URL. The local interface has no TLS, so that of an `https` one is refused.
fn address(text: &str) -> Result<String, String> {
    let plain = text.strip_prefix("http://").unwrap_or(text);
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    match plain.parse::<Authority>() {
        Ok(authority) if authority.port_u16().is_some() => Ok(plain.to_owned()),
        _ => Err("is not HOST:PORT, such as 127.0.0.1:8480".to_owned()),
    }
}

/// Whether what is sent in the clear to this `HOST:PORT` stays on this machine.
pub(crate) fn is_here(address: &str) -> bool {
    address.parse::<Authority>().is_ok_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

fn elsewhere(adapter: &str) -> anyhow::Error {
    Failure::usage_in(
        format!(
            "{adapter} không phải địa chỉ của chính máy này: mã truy cập sẽ đi qua mạng không mã hoá; chưa gửi gì.\n  \
             Chạy lệnh trên máy của bộ kết nối, hoặc qua đường hầm ssh tới cổng của nó."
        ),
        format!(
            "{adapter} is no address of this machine itself: the token would go over the network in the clear; nothing was sent.\n  \
             Run the command on the adapter's machine, or through an ssh tunnel to its port."
        ),
    )
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
