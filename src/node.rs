//! What `lgsp gateway` and `lgsp adapter` have in common as processes: a configuration that is shown, checked or run; logs to
//! standard error, one line on standard output when they are ready, and an orderly stop at the first signal.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::failure::{Failure, UNEXPECTED};
use crate::lang::Lang;
use crate::output::print;

/// A configuration that a process can be run with.
pub(crate) trait Runnable: Sized {
    /// The effective values, as a file. Secrets appear as paths only.
    fn to_toml(&self) -> String;

    /// What can be known without starting: the files of the configuration are there and fit each other.
    fn check(&self, lang: Lang) -> anyhow::Result<()>;

    /// What it runs on.
    fn runtime() -> runtime::Builder;

    /// Runs until `shutdown`, and announces when it serves.
    async fn serve(self, shutdown: CancellationToken, lang: Lang) -> anyhow::Result<()>;
}

/// How a node is run.
#[derive(Args, Debug)]
pub(crate) struct Node {
    /// Configuration file, TOML.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Print the effective configuration, file and environment together, and end. Secrets are shown as paths.
    #[arg(long, conflicts_with = "check")]
    print_config: bool,
    /// Check the configuration and the files it names, and end.
    #[arg(long)]
    check: bool,
    /// How logs are written to standard error. What is logged: LGSP_LOG, e.g. info,lgsp_gateway=debug.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Stop when standard input is closed: a child that does not outlive its parent.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Node {
    /// Does what was asked for with the configuration as it was read, or says what is wrong with it.
    pub(crate) fn run<C: Runnable>(self, config: Result<C, impl Display>, lang: Lang) -> anyhow::Result<ExitCode> {
        std::fs::File::open(&self.config).map_err(|error| Failure::of_file(&self.config, &error))?;
        let config = config.map_err(|problems| Failure::usage(problems.to_string()))?;
        if self.print_config {
            print(config.to_toml())?;
        } else if self.check {
            config.check(lang)?;
            print(lang.pick("Cấu hình hợp lệ\n", "The configuration is good\n"))?;
        } else {
            C::runtime().enable_all().build()?.block_on(async { config.serve(self.begin()?, lang).await })?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Starts logging and listening for signals: the token is cancelled at the first SIGTERM or SIGINT; the second ends the
    /// process at once.
    fn begin(&self) -> anyhow::Result<CancellationToken> {
        let filter = std::env::var("LGSP_LOG").unwrap_or_else(|_| "info".to_owned());
        let logs = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
        let logs = match self.log_format {
            LogFormat::Text => logs.boxed(),
            LogFormat::Json => logs.json().boxed(),
        };
        tracing_subscriber::registry().with(logs).with(EnvFilter::try_new(filter)?).with(filter_fn(is_discreet)).init();

        let (shutdown, first) = (CancellationToken::new(), CancellationToken::new());
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // Ends with the process.
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                    if first.is_cancelled() {
                        tracing::warn!("second signal, ending at once");
                        std::process::exit(i32::from(UNEXPECTED));
                    }
                    tracing::info!("signal, stopping; another one ends at once");
                    first.cancel();
                    shutdown.cancel();
                }
            }
        });
        if self.until_stdin_closes {
            stop_with_stdin(shutdown.clone())?;
        }
        Ok(shutdown)
    }
}

/// Cancels `stop` when standard input is closed: for a child that does not outlive its parent.
pub(crate) fn stop_with_stdin(stop: CancellationToken) -> std::io::Result<()> {
    // A thread of its own: a read from a pipe cannot be cancelled, and must not hold up the runtime's end.
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut ignored = [0; 256];
        while matches!(std::io::stdin().read(&mut ignored), Ok(1..)) {}
        stop.cancel();
    })?;
    Ok(())
}

/// The environment, as far as it is text; nothing else can override a key.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Tells whoever started the process that it serves, and where: `{"ready":{"bus":"127.0.0.1:7443",…}}`, one line.
pub(crate) fn announce(listeners: &[(&str, SocketAddr)]) -> std::io::Result<()> {
    let listeners: BTreeMap<_, _> = listeners.iter().map(|(name, address)| (*name, address.to_string())).collect();
    print(format!("{}\n", serde_json::json!({ "ready": listeners })))
}

/// Whether something may be logged whatever `LGSP_LOG` says. The driver of PostgreSQL tells the parameters of its statements, which are
/// people's numbers and documents, and what the server says about them.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN || !metadata.target().starts_with("tokio_postgres")
}
