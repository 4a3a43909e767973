//! `lgsp sandbox`: a gateway, the developer's adapter and simulated agencies, in a minute and on one machine.
//!
//! Read in the order of what happens: [`place`] deals the registry of Hue to the developer and to the simulated [`people`],
//! [`folder`] lays out what the processes need, [`start`] starts them, [`guide`] says what to try. Each dossier follows the
//! [`scenario`] it was handed in under; its [`story`] is written down, and shown [`live`]. The [`director`] cuts the [`mod@line`] and
//! has the [`gateway`] killed where a scenario says so; [`refusals`] of the developer's requests show, too; [`hooks`] and [`control`]
//! are what is listened on here; whatever an adapter must answer is [asked](asking) until it does.

mod asking;
mod control;
mod director;
mod folder;
mod gateway;
mod guide;
mod hooks;
mod line;
mod live;
mod people;
mod place;
mod refusals;
mod scenario;
mod story;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::ValueEnum as _;
use clap::value_parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use director::Director;
use folder::Folder;
use gateway::Orders;
use guide::Guide;
use hooks::Target;
use line::Line;
use live::Live;
use people::{Ahead, People, Role};
use place::Place;
use scenario::Scenario;
use story::Chronicle;

use crate::failure::{Failure, UNEXPECTED};
use crate::lang::Lang;
use crate::output::print;
use crate::staging::http::Client;
use crate::staging::processes::Process;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  lgsp sandbox --list
  lgsp sandbox
  lgsp sandbox --scenario supplement --webhook http://127.0.0.1:9000/lgsp
  lgsp sandbox --role authority --dir sandbox

It prints the commands to try. Ctrl-C ends it, and all its processes; a second one does so at once.";

/// A bus to try your software with: a gateway, your adapter, simulated agencies, and what happens to each dossier.
///
/// Certificates are made on the spot, the registry is that of Hue with illustrative identifiers, everybody but you is
/// simulated. Nothing leaves this machine.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where your adapter's REST API listens, on 127.0.0.1; the sandbox's own port is the next one. 0 for free ports.
    #[arg(long, value_name = "PORT", default_value_t = 8480, value_parser = value_parser!(u16).range(..=65_534))]
    port: u16,
    /// What happens to the dossiers handed in. It can be changed while the sandbox runs.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Scenario::Normal, hide_possible_values = true)]
    scenario: Scenario,
    /// Explain every scenario in a line, and end.
    #[arg(long)]
    list: bool,
    /// Whether you hand dossiers in, or decide what a simulated desk hands in.
    #[arg(long, value_enum, default_value_t = Role::Desk)]
    role: Role,
    /// Keep everything in this folder and go on from it next time; otherwise a temporary one is removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Have what comes in posted to your software instead of waiting in the inbox.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// How long the simulated people take for each step, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = value_parser!(u64).range(..=600_000))]
    pace: u64,
    /// How long line and gateway stay away in the scenario outage, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = value_parser!(u64).range(..=3_600))]
    outage: u64,
    /// A JSON document a line instead of text, for programs.
    #[arg(long)]
    json: bool,
}

/// Runs the sandbox until it is told to stop.
///
/// # Errors
/// It cannot be started, one of its processes has ended by itself, or something in it is broken.
pub(crate) fn run(args: Args, lang: Lang) -> anyhow::Result<ExitCode> {
    if args.list {
        print(list(lang))?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = CancellationToken::new();
        let played = Box::pin(play(args, lang, stop.clone()));
        let signalled = async {
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                // At the first it ends by itself, in its own order.
                stop.cancel();
            }
        };
        tokio::select! {
            ended = played => ended.map(|()| ExitCode::SUCCESS),
            // What runs is killed as it is dropped, and a temporary folder removed.
            () = signalled => Ok(ExitCode::from(UNEXPECTED)),
        }
    })
}

fn list(lang: Lang) -> Table {
    let mut table = Table::new([lang.pick("kịch bản", "scenario"), lang.pick("chuyện gì xảy ra", "what happens")]);
    for scenario in Scenario::value_variants() {
        table.row([scenario.word().to_owned(), lang.sentence(scenario.text()).to_owned()]);
    }
    table
}

async fn play(args: Args, lang: Lang, stop: CancellationToken) -> anyhow::Result<()> {
    let target = args.webhook.as_deref().map(Target::parse).transpose()?;
    // What is taken is told before anything is made.
    let control = listen(if args.port == 0 { 0 } else { args.port + 1 }).await?;
    drop(listen(args.port).await?);
    let folder = Arc::new(Folder::open(args.dir.as_deref())?);
    eprintln!("{}", lang.pick("Đang khởi động trục và các bộ kết nối …", "Starting the gateway and the adapters …"));
    let (broken, mut breaks) = mpsc::channel(1);
    let started = tokio::select! {
        started = Box::pin(start(&args, lang, &folder, target, control, (stop.clone(), broken))) => started,
        // With the start go its processes.
        () = stop.cancelled() => return Ok(()),
    };
    let Stage { mut adapters, mut keeper, orders, tasks } = started?;
    let [developers, simulated] = &mut adapters;
    let mut kept = None;
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(()),
        why = developers.gone() => Err(why),
        why = simulated.gone() => Err(why),
        Some(why) = breaks.recv() => Err(why),
        done = &mut keeper => { kept = Some(()); done? }
    };
    for task in tasks {
        task.abort();
        // Whoever may still order the gateway about is gone with it.
        let _ = task.await;
    }
    drop(orders);
    adapters.iter_mut().for_each(Process::ask_to_stop);
    let mut ended = ended;
    for adapter in adapters {
        ended = ended.and(adapter.stopped().await);
    }
    if kept.is_none() {
        ended = ended.and(keeper.await?);
    }
    ended
}

/// Everything that runs.
struct Stage {
    adapters: [Process; 2],
    keeper: JoinHandle<anyhow::Result<()>>,
    orders: Orders,
    tasks: Vec<JoinHandle<()>>,
}

async fn start(
    args: &Args,
    lang: Lang,
    folder: &Arc<Folder>,
    target: Option<Target>,
    control: TcpListener,
    (stop, broken): (CancellationToken, mpsc::Sender<anyhow::Error>),
) -> anyhow::Result<Stage> {
    let Place { files, registry, simulated } = place::lay_out()?;
    folder.furnish(&files)?;
    let hooks = TcpListener::bind(("127.0.0.1", 0)).await?;
    let hook = |path: &str| anyhow::Ok(format!("http://{}/{path}", hooks.local_addr()?));
    let chronicle = Chronicle::open(&folder.chronicle())?;
    let far_ahead = args.scenario == Scenario::Late;
    let (process, bus) = gateway::start(folder, far_ahead).await?;
    let lines = Arc::new([Line::to(bus).await?, Line::to(bus).await?]);
    let webhook = target.as_ref().map(|_| hook("developer")).transpose()?;
    folder.configure_adapter(lines[0].near(), args.port, webhook.as_deref())?;
    folder.configure_simulated(lines[1].near(), &simulated, &hook("simulated")?)?;
    folder.configure_profiles(lines[1].near())?;
    let (orders, keeper) = gateway::keeper(process, Arc::clone(folder), Arc::clone(&lines));

    let (developers, ready) = Process::node("adapter", "adapter", &folder.adapter_config(), &folder.logs()).await?;
    let rest = ready.at("rest")?.to_owned();
    let (others, ready) = Process::node("simulated", "adapter", &folder.simulated_config(), &folder.logs()).await?;
    let guide = Guide {
        lang,
        role: args.role,
        api: format!("http://{rest}"),
        control: format!("http://{}", control.local_addr()?),
        gateway: lines[1].near().to_string(),
        webhook: args.webhook.clone(),
        secret: folder.webhook_secret().display().to_string(),
        folder: folder.path().display().to_string(),
        goes_with_us: folder.is_temporary(),
        program: program(),
        profile: folder.profile().display().to_string(),
    };
    let people = Arc::new(People {
        role: args.role,
        pace: Duration::from_millis(args.pace),
        registry,
        live: Live::new(lang, args.json, stop),
        guide: guide.clone(),
        developers: Client::new(&rest),
        simulated: Client::new(ready.at("rest")?),
        scenario: watch::Sender::new(args.scenario),
        ahead: watch::Sender::new(if far_ahead { Ahead::Taken } else { Ahead::Refused }),
        chronicle: Mutex::new(chronicle),
        news: Notify::new(),
        started: jiff::Timestamp::now().as_second(),
    });
    people.live.ready(&guide.page(args.scenario.word()), guide.facts(args.scenario.word()));
    let outage = Duration::from_secs(args.outage);
    let director = Director { people: Arc::clone(&people), gateway: orders.clone(), lines, outage };
    people.resume();
    let hooks = hooks::serve(hooks, Arc::clone(&people), target);
    let control = control::serve(control, Arc::clone(&people));
    let tasks = vec![
        watched(&broken, async { Ok(hooks.await?) }),
        watched(&broken, async { Ok(control.await?) }),
        watched(&broken, director.direct()),
        watched(&broken, refusals::tell(Arc::clone(&people))),
    ];
    Ok(Stage { adapters: [developers, others], keeper: tokio::spawn(keeper), orders, tasks })
}

/// Has something done beside. None of it ends before the sandbox; what fails takes the sandbox along with its error, because
/// without it there is nothing to play with.
fn watched(
    broken: &mpsc::Sender<anyhow::Error>,
    work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> JoinHandle<()> {
    let broken = broken.clone();
    tokio::spawn(async move {
        if let Err(error) = work.await {
            // The first to fail is the reason; it may have done so while everything ends.
            let _ = broken.try_send(error.context("the sandbox is broken"));
        }
    })
}

/// Listens on a port of this machine, and on no other interface.
///
/// # Errors
/// It is taken, with what to do.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            let other = port.checked_add(100).unwrap_or(0);
            Failure::usage_in(
                format!(
                    "Cổng {port} của máy này đang được tiến trình khác dùng, có thể là một sandbox khác.\n  Dừng nó, hoặc chọn cổng \
                     khác: lgsp sandbox --port {other}"
                ),
                format!(
                    "Another process listens on port {port} of this machine, perhaps another sandbox.\n  Stop it, or choose \
                     another port: lgsp sandbox --port {other}"
                ),
            )
        }
        _ => Failure::usage_in(format!("Cổng {port}: {error}"), format!("port {port}: {error}")),
    })
}

/// How this program is called: by its name where that was enough, else by its path.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let path = std::env::current_exe().map(|path| path.display().to_string());
    if called.contains('/') { path.unwrap_or(called) } else { called }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fails_beside_is_the_error_the_sandbox_ends_with() {
        let (broken, mut breaks) = mpsc::channel(1);
        watched(&broken, async { anyhow::bail!("no list of requests") }).await.unwrap();
        watched(&broken, async { anyhow::bail!("a consequence") }).await.unwrap();
        let why = format!("{:#}", breaks.recv().await.unwrap());
        assert_eq!(why, "the sandbox is broken: no list of requests");
        assert!(breaks.try_recv().is_err(), "one reason is enough");
    }
}
