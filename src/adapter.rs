//! `lgsp adapter`: runs the agency side of the bus.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use lgsp_adapters::{Config, Ready, RunError};
use lgsp_certs::Usage;
use tokio::sync::oneshot;
use toml::Value;

use crate::failure::{Failure, because};
use crate::lang::Lang;
use crate::node::{Node, announce, environment};
use crate::output::print;

const EXAMPLES: &str = "\
A first configuration, adapter.toml (paths are relative to the file):
  gateway = \"https://127.0.0.1:7443\"
  server_name = \"gw.lgsp.hue.test\"
  parties = [\"H57.101\", \"H57.102\"]
  [tls]
  certificate = \"pki/mot-cua-hue.pem\"
  key = \"pki/mot-cua-hue.key\"
  bundle = \"ca/ca.pem\"
  [spool]
  folder = \"spool\"
  [rest]
  listen = \"127.0.0.1:8480\"
  [webhook]
  url = \"http://127.0.0.1:9000/lgsp\"

The agency's own system then hands in a dossier and asks what became of it (a submission.json: `lgsp dossier --help`):
  curl http://127.0.0.1:8480/v1/dossiers -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01' \\
      -H 'Idempotency-Key: ho-so-1' -d @submission.json
  curl 'http://127.0.0.1:8480/v1/requests/ho-so-1?wait_ms=5000' -H 'LGSP-Party: H57.101'
Whatever else happens is posted to the webhook until it answers 2xx; without a webhook it waits at GET /v1/inbox.

Any key can be overridden: LGSP_ADAPTER__REST__LISTEN=127.0.0.1:8481

Examples:
  lgsp adapter --config adapter.toml --check
  lgsp adapter --config adapter.toml --print-config
  lgsp adapter --config adapter.toml

When it serves, it prints one line of JSON with its address. SIGTERM or SIGINT stops it in order, a second one at once.";

/// Run an adapter: the agency's own system speaks REST to it, it speaks to the gateway.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(flatten)]
    node: Node,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.node.config, environment());
        let config = config.map_err(|problems| Failure::usage(problems.to_string()))?;
        if self.node.print_config {
            print(effective(&config))?;
        } else if self.node.check {
            check(&config, lang)?;
        } else {
            // One thread: an adapter waits for others most of the time, and an agency's machine has other things to do.
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.serve(config))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(self, config: Config) -> anyhow::Result<()> {
        let shutdown = self.node.begin()?;
        let (ready, served) = oneshot::channel::<Ready>();
        let told = async {
            // A sender that is gone means that the adapter did not start; its own error says why.
            served.await.map_or(Ok(()), |ready| announce(&[("rest", ready.rest)]))
        };
        let (ended, told) = tokio::join!(Box::pin(lgsp_adapters::run(config, shutdown, ready)), told);
        ended.map_err(|error| match &error {
            RunError::Link(_) | RunError::Copy { .. } | RunError::Token { .. } | RunError::Listen { .. } => {
                Failure::usage(because(&error))
            }
            RunError::Spool(_) | RunError::SpoolBroken | RunError::PartEnded => error.into(),
        })?;
        Ok(told?)
    }
}

/// What can be known without starting: the files of the configuration are there and fit each other.
fn check(config: &Config, lang: Lang) -> anyhow::Result<()> {
    let loaded = config.address.tls.load(Usage::Client, SystemTime::now());
    loaded.map_err(|error| Failure::usage(because(&error)))?;
    print(lang.pick("Cấu hình hợp lệ\n", "The configuration is good\n"))?;
    Ok(())
}

/// The effective values, as a file that would give the same configuration. Secrets appear as paths only.
fn effective(config: &Config) -> String {
    const MIB: u64 = 1 << 20;
    let path = |path: &Path| Value::from(path.display().to_string());
    let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let count = |count: usize| number(count as u64);
    let millis = |duration: Duration| number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let Config { address, parties, spool, rest, webhook, exchange, offline, stop_grace } = config;
    let timings = &address.timings;
    let optional = |key, value: Option<Value>| value.map(|value| (key, value));

    let mut top = vec![("gateway", Value::from(address.gateway.to_string()))];
    top.extend(optional("server_name", address.server_name.clone().map(Value::from)));
    let parties: Vec<_> = parties.iter().map(|party| party.to_string().into()).collect();
    top.push(("parties", Value::Array(parties)));
    top.push(("stop_grace_seconds", number(stop_grace.as_secs())));

    let mut listening = vec![("listen", Value::from(rest.listen.to_string()))];
    listening.extend(optional("token_file", rest.token_file.as_deref().map(path)));
    listening.push(("max_requests", count(rest.max_requests.get())));

    let mut posting: Vec<_> =
        optional("url", webhook.url.as_ref().map(|url| url.to_string().into())).into_iter().collect();
    posting.extend([("timeout_ms", millis(webhook.timeout)), ("at_once", count(webhook.at_once.get()))]);
    let single: toml::Table =
        webhook.parties.iter().map(|(party, url)| (party.to_string(), url.to_string().into())).collect();
    posting.extend(optional("parties", (!single.is_empty()).then_some(Value::Table(single))));

    let sections = [
        ("", top),
        (
            "tls",
            vec![
                ("certificate", path(&address.tls.certificate)),
                ("key", path(&address.tls.key)),
                ("bundle", path(&address.tls.bundle)),
            ],
        ),
        (
            "timings",
            vec![
                ("connect_timeout_ms", millis(timings.connect_timeout)),
                ("call_timeout_ms", millis(timings.call_timeout)),
                ("keep_alive_interval_ms", millis(timings.keep_alive_interval)),
                ("keep_alive_timeout_ms", millis(timings.keep_alive_timeout)),
            ],
        ),
        (
            "spool",
            vec![
                ("folder", path(&spool.folder)),
                ("max_outgoing", count(spool.max_outgoing.get())),
                ("max_incoming", count(spool.max_incoming.get())),
                ("keep_outcomes_hours", number(spool.keep_outcomes.as_secs() / 3600)),
                ("max_document_mib", number(spool.max_document_bytes / MIB)),
                ("max_documents_mib", number(spool.max_documents_bytes / MIB)),
                ("min_free_mib", number(spool.min_free_bytes / MIB)),
            ],
        ),
        ("rest", listening),
        ("webhook", posting),
        (
            "exchange",
            vec![
                ("at_once", count(exchange.at_once.get())),
                ("credit", number(exchange.credit.into())),
                ("backoff_first_ms", millis(exchange.backoff.first)),
                ("backoff_limit_ms", millis(exchange.backoff.limit)),
            ],
        ),
        (
            "offline",
            vec![
                ("enabled", Value::from(offline.enabled)),
                ("block", number(offline.block.into())),
                ("days_ahead", number(offline.days_ahead.into())),
                ("authorities", Value::Array(offline.authorities.iter().map(|one| one.to_string().into()).collect())),
                ("refresh_seconds", number(offline.refresh.as_secs())),
                ("skew_tolerance_seconds", number(offline.skew_tolerance.as_secs())),
                ("ahead_seconds", number(offline.ahead.as_secs())),
                ("back_days", number(offline.back.as_secs() / (24 * 3600))),
            ],
        ),
    ];
    let mut text = String::new();
    for (name, entries) in sections {
        if !name.is_empty() {
            text += &format!("\n[{name}]\n");
        }
        for (key, value) in entries {
            text += &format!("{key} = {value}\n");
        }
    }
    text
}
