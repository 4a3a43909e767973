//! `lgsp adapter`: joins the bus, and runs the agency side of it.

mod client;
mod join;
mod population;
mod tables;
mod token;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use lgsp_adapters::access;
use lgsp_adapters::{Config, Ready, RunError, SpoolOpenError};
use lgsp_certs::Usage;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, because};
use crate::lang::Lang;
use crate::node::{Node, Runnable, announce, environment};

const EXAMPLES: &str = "\
With a join token of the operator's, one command makes the key, gets the certificate and writes a configuration:
  lgsp adapter join lgsp-join-1.… --dir adapter
  lgsp adapter --config adapter/adapter.toml

A first configuration with certificates from elsewhere, adapter.toml (paths are relative to the file):
  gateway = \"https://127.0.0.1:7443\"
  server_name = \"gw.lgsp.hue.test\"
  parties = [\"H57.101\", \"H57.102\"]
  [tls]
  certificate = \"pki/mot-cua-hue.pem\"
  key = \"pki/mot-cua-hue.key\"
  bundle = \"ca/root.pem\"
  [spool]
  folder = \"spool\"
  [rest]
  listen = \"127.0.0.1:8480\"
  [webhook]
  url = \"http://127.0.0.1:9000/lgsp\"

The agency's own system then hands in a dossier and asks what became of it (a submission.json: `lgsp dossier --help`):
  TOKEN=$(lgsp adapter token --config adapter.toml)
  curl http://127.0.0.1:8480/v1/dossiers -H \"Authorization: Bearer $TOKEN\" -H 'LGSP-Party: H57.101' -H 'LGSP-Actor: cb01' \\
      -H 'Idempotency-Key: ho-so-1' -d @submission.json
  curl 'http://127.0.0.1:8480/v1/requests/ho-so-1?wait_ms=5000' -H \"Authorization: Bearer $TOKEN\" -H 'LGSP-Party: H57.101'
Whatever else happens is posted to the webhook, signed, until it answers 2xx (try it: lgsp webhook test); without a webhook it waits at
GET /v1/inbox. Software that cannot call REST uses a folder ([folder]) or tables in its own PostgreSQL (lgsp adapter tables --help).

Any key can be overridden: LGSP_ADAPTER__REST__LISTEN=127.0.0.1:8481

Examples:
  lgsp adapter --config adapter.toml --check
  lgsp adapter --config adapter.toml --print-config
  lgsp adapter --config adapter.toml

When it serves, it prints one line of JSON with its address. SIGTERM or SIGINT stops it in order, a second one at once.";

/// Run an adapter: the agency's own system speaks REST to it, it speaks to the gateway.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    node: Option<Node>,
}

#[derive(Debug, Subcommand)]
enum Action {
    Join(join::Join),
    Token(token::Token),
    Client(client::Command),
    Tables(tables::Tables),
    Population(population::Population),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match (self.action, self.node) {
            (Some(Action::Join(join)), _) => join.run(lang),
            (Some(Action::Token(token)), _) => token.run(lang),
            (Some(Action::Client(client)), _) => client.run(lang),
            (Some(Action::Tables(tables)), _) => tables.run(lang),
            (Some(Action::Population(population)), _) => population.run(),
            (None, Some(node)) => {
                let config = Config::load(&node.config, environment());
                node.run(config, lang)
            }
            (None, None) => Err(Failure::usage("give --config FILE, or join first: lgsp adapter join --help")),
        }
    }
}

impl Runnable for Config {
    fn to_toml(&self) -> String {
        self.to_toml()
    }

    fn check(&self, _: Lang) -> anyhow::Result<()> {
        let loaded = self.address.tls.load(Usage::Client, SystemTime::now());
        loaded.map(drop).map_err(|error| Failure::of_tls_file(&error))?;
        access::check_remote(self).map_err(|error| Failure::of_tls_file(&error))?;
        access::check(self).map_err(|error| Failure::usage(because(&error)))?;
        lgsp_adapters::webhook::check(&self.webhook).map_err(|error| Failure::usage(because(&error)))?;
        let tables = self.tables.as_ref().map(lgsp_adapters::tables::check).transpose();
        tables.map(drop).map_err(|error| Failure::usage(because(&error)))?;
        let population = self.population.as_ref().map(lgsp_adapters::population::check).transpose();
        population.map(drop).map_err(|error| Failure::usage(because(&error)))
    }

    /// One thread: an adapter waits for others most of the time, and an agency's machine has other things to do.
    fn runtime() -> Builder {
        Builder::new_current_thread()
    }

    async fn serve(self, shutdown: CancellationToken, lang: Lang) -> anyhow::Result<()> {
        let (ready, served) = oneshot::channel::<Ready>();
        let told = async {
            // A sender that is gone means that the adapter did not start; its own error says why.
            let Ok(Ready { rest, remote }) = served.await else { return Ok(()) };
            let remote = remote.map(|remote| ("remote", remote));
            announce(&[("rest", rest)].into_iter().chain(remote).collect::<Vec<_>>())
        };
        let (ended, told) = tokio::join!(Box::pin(lgsp_adapters::run(self, shutdown, ready)), told);
        ended.map_err(|error| match &error {
            RunError::Link(_)
            | RunError::NotJoined { .. }
            | RunError::Copy { .. }
            | RunError::Access(_)
            | RunError::Remote(_)
            | RunError::Population(_)
            | RunError::WebhookSecrets { .. }
            | RunError::WebhookBundle(_) => Failure::usage(because(&error)),
            RunError::Spool(SpoolOpenError::InUse { folder, process }) => {
                Failure::usage(in_use(folder, *process, lang))
            }
            RunError::Listen { address, source } if source.kind() == ErrorKind::AddrInUse => {
                Failure::usage(taken(*address, lang))
            }
            RunError::Listen { .. } => Failure::usage(because(&error)),
            RunError::Spool(_) | RunError::SpoolBroken | RunError::PartEnded => error.into(),
        })?;
        Ok(told?)
    }
}

fn taken(address: SocketAddr, lang: Lang) -> String {
    lang.pick(
        format!(
            "Địa chỉ {address} đang được tiến trình khác dùng, có thể là một bộ kết nối khác trên máy này.\n  Đặt rest.listen riêng \
             trong tệp cấu hình của bộ kết nối này, ví dụ 127.0.0.1:{}.",
            address.port().wrapping_add(1)
        ),
        format!(
            "Another process listens on {address} already, perhaps another adapter of this machine.\n  Give this one a rest.listen of \
             its own in its configuration, such as 127.0.0.1:{}.",
            address.port().wrapping_add(1)
        ),
    )
}

fn in_use(folder: &Path, process: Option<u32>, lang: Lang) -> String {
    let folder = folder.display();
    let (vi, en) = match process {
        Some(id) => (format!("tiến trình {id}"), format!("process {id}")),
        None => ("một tiến trình khác".to_owned(), "another process".to_owned()),
    };
    lang.pick(
        format!(
            "Hàng đợi {folder} đang được {vi} dùng; mỗi hàng đợi chỉ một bộ kết nối.\n  Nếu là bộ kết nối cũ, dừng nó trước; nếu \
             cần chạy thêm một bộ, đặt spool.folder riêng."
        ),
        format!(
            "The spool {folder} is in use by {en}; a spool has one adapter.\n  If that is the adapter from before, stop it first; \
             one that shall run beside it needs a spool.folder of its own."
        ),
    )
}
