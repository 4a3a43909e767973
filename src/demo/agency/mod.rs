//! The stand-in for an agency's own software, a process of its own behind each adapter.
//!
//! It knows the bus only as an agency's developer would: the adapter's REST API outwards, webhooks inwards, or where there are none
//! what the REST API tells it when it asks. What it does is
//! its share of the plan; when it does it, the demo says over standard input, which is theirs alone and no part of any
//! interface. It keeps its own books ([`super::books`]).

mod asking;
mod control;
mod desk;
mod request;
mod webhook;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) use control::{Answer, Order};
use desk::Desk;

/// The stand-in for an agency's own software; started by `lgsp demo`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Its share of the plan.
    #[arg(long)]
    plan: PathBuf,
    /// Its books.
    #[arg(long)]
    books: PathBuf,
    /// Nobody posts to it: it asks what became of its requests and its dossiers.
    #[arg(long)]
    asks: bool,
    /// Mistreat one delivery after having taken it.
    #[arg(long, value_enum)]
    tamper: Option<Tamper>,
}

/// How an agency mistreats one delivery, so that one can see that it does not go unnoticed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Tamper {
    /// Loses it.
    Drop,
    /// Books it twice.
    Double,
    /// Books it after the dossier's next one.
    Swap,
}

impl Tamper {
    /// As it is written on the command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Double => "double",
            Self::Swap => "swap",
        }
    }
}

/// Runs until standard input is closed.
///
/// # Errors
/// The plan or the books cannot be used, or the demo cannot be answered.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plan = std::fs::read(&args.plan).with_context(|| args.plan.display().to_string())?;
    let plan = serde_json::from_slice(&plan).with_context(|| args.plan.display().to_string())?;
    let desk = Arc::new(Desk::open(plan, &args.books, args.asks, args.tamper)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(desk))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(desk: Arc<Desk>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    answer(&Answer::Listening { webhooks: listener.local_addr()?.to_string() })?;
    // Ends with the process: an agency that stops has nothing to finish, its books are written.
    let webhooks = tokio::spawn(webhook::serve(listener, Arc::clone(&desk)));
    let (orders, gone) = orders()?;
    let obeyed = tokio::select! {
        obeyed = obey(&desk, orders) => obeyed,
        // What is being done is done for nobody: whoever is gone has taken the adapter along, which it would wait for.
        () = gone.cancelled() => Ok(()),
    };
    webhooks.abort();
    obeyed
}

/// Carries out one order after the other.
async fn obey(desk: &Arc<Desk>, mut orders: mpsc::Receiver<std::io::Result<String>>) -> anyhow::Result<()> {
    while let Some(order) = orders.recv().await {
        match serde_json::from_str(&order?).context("an order that is none")? {
            Order::Connect { adapter } => desk.connect(&adapter),
            Order::Act { until } => {
                let done = desk.act(until).await;
                answer(&done.unwrap_or_else(|error| Answer::Failed { why: format!("{error:#}") }))?;
            }
        }
    }
    Ok(())
}

/// The lines of standard input, read by a thread of their own: a read from a pipe cannot be cancelled. The token is cancelled
/// when there will be no more; the demo closes it only when nothing is under way, or when it is gone.
fn orders() -> std::io::Result<(mpsc::Receiver<std::io::Result<String>>, CancellationToken)> {
    let (sender, receiver) = mpsc::channel(1);
    let gone = CancellationToken::new();
    let cancelled_at_the_end = gone.clone().drop_guard();
    std::thread::Builder::new().name("orders".to_owned()).spawn(move || {
        let _cancelled_at_the_end = cancelled_at_the_end;
        for line in std::io::stdin().lines() {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    })?;
    Ok((receiver, gone))
}

fn answer(answer: &Answer) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
