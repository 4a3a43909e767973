//! `lgsp demo`: a day of Hue, replayed through real processes and sockets, and checked against everybody's books.
//!
//! Read in the order of what happens: [`scenario`] plans the day from the registry ([`city`]), [`folder`] lays out what the
//! processes need, [`bus`] starts them ([`crate::staging::processes`]) and takes them from tick to tick ([`ticks`]). Behind each adapter an
//! [`agency`] keeps its own [`books`]; behind three of them stand [`national`] systems. At the end [`mod@reconcile`] compares the books with
//! the journal, [`portal`] what the portal has, [`figures`] counts what the journal holds, and [`summary`] and [`outcome`] tell it to people and to programs. The plan gives no figure.

pub(crate) mod agency;
mod books;
mod bus;
mod city;
mod figures;
mod folder;
mod national;
mod outcome;
mod portal;
mod progress;
mod random;
mod reconcile;
mod scenario;
mod summary;
mod ticks;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::value_parser;
use jiff::civil::Date;
use lgsp_domain::event::Event;
use lgsp_domain::registry::{PartyKind, Registry};
use lgsp_gateway::store::Fact;
use lgsp_gateway::store::read_only::ReadOnly;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use agency::Tamper;
use bus::{Bus, Store};
use figures::Figures;
use folder::{Folder, NEWCOMER};
use national::Made;
use outcome::{National, Outcome};
use portal::Portal;
use progress::Progress;
use reconcile::{Journal, Questioned, Recorded, reconcile};
use scenario::{Check, Scenario, Wish};
use ticks::{DAY, EVENING, START, Ticks};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::print;
use crate::staging::{hue, processes};

/// The books differ from the journal.
const BOOKS_DIFFER: u8 = 5;
/// Stopped by a signal, as shells count it for Ctrl-C.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  lgsp demo
  lgsp demo --dossiers 200 --until 2025-08-15 --report report.json
  lgsp demo --dossiers 200 --keep --dir hue

Exit codes: 0 the books of all parties and of the portal agree with the journal, 5 they differ.";

/// Replay Hue's 14 July 2025: dossiers, desks, authorities, and everybody's books against the journal.
///
/// Starts a gateway, an adapter for each system of the registry and behind each a stand-in for the agency's own software, all
/// of them processes of their own, and the rehearsal kit's population database, procedure database and portal behind three of the
/// adapters. The business clock runs on until long procedures have ended too. Citizens are invented.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How many dossiers are received on the day.
    #[arg(long, value_name = "N", default_value_t = 3425, value_parser = value_parser!(u32).range(20..=20_000))]
    dossiers: u32,
    /// The day on which the business clock stops.
    #[arg(long, value_name = "DATE", default_value = "2025-09-30")]
    until: Date,
    /// Another seed gives another day.
    #[arg(long, value_name = "N", default_value_t = 20_250_714)]
    seed: u64,
    /// Write figures and reconciliation as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep everything in this folder, which must be new or empty; otherwise a temporary one is removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave everything running at the end, to look around in; Ctrl-C ends it. The folder stays.
    #[arg(long)]
    keep: bool,
    /// Have one agency mistreat one delivery, to see that it does not go unnoticed.
    #[arg(long, value_enum, hide = true)]
    tamper: Option<Tamper>,
}

impl Args {
    fn made(&self) -> Made {
        Made { seed: self.seed, dossiers: self.dossiers }
    }
}

/// Runs the demo.
///
/// # Errors
/// It could not be run to its end. That the books differ is no error but an exit code.
pub(crate) fn run(args: Args, lang: Lang) -> anyhow::Result<ExitCode> {
    if args.until < DAY || args.until.year() > DAY.year() {
        return Err(Failure::usage(format!("--until lies between {DAY} and the end of that year")));
    }
    // The work is in the other processes; two threads here are plenty.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = CancellationToken::new();
        let replay = Box::pin(replay(args, lang, stop.clone()));
        let signalled = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stop.cancel();
            // The replay ends by itself now, in its own order.
            std::future::pending().await
        };
        tokio::select! {
            ended = replay => ended,
            never = signalled => never,
        }
    })
}

async fn replay(args: Args, lang: Lang, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new();
    progress.show(lang.pick("lập kế hoạch trong ngày", "planning the day"));
    let registry = hue::registry()?;
    let ticks = Ticks::new(args.until, registry.calendar_of(&city::party_of(PartyKind::Centre, &registry)?))?;
    let wish = Wish { dossiers: args.dossiers as usize, seed: args.seed };
    let scenario = Scenario::draw(wish, &registry, &ticks)?;
    let mut folder = Folder::make(args.dir.as_deref())?;
    folder.furnish(&registry, &scenario)?;
    drop(scenario);

    let day = Day { registry: &registry, ticks: &ticks, folder: &folder, lang };
    let ended = tokio::select! {
        ended = Box::pin(day.play(&args, progress)) => ended,
        // With the play go its processes.
        () = stop.cancelled() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let agrees = ended.as_ref().is_ok_and(|(outcome, _)| outcome.agrees());
    if args.keep || !agrees {
        folder.keep();
    }
    let place = folder.path().display();
    let (outcome, events) =
        ended.with_context(|| format!("the demo was not played to its end; its folder is {place}"))?;
    // The file first: whoever reads the page may leave before its end.
    if let Some(report) = &args.report {
        outcome.write_report(report)?;
    }
    print(summary::page(&outcome, &registry, lang))?;
    if !agrees {
        eprintln!("{} {place}", lang.pick("Giữ lại để xem:", "Kept to look at:"));
        return Ok(ExitCode::from(BOOKS_DIFFER));
    }
    if args.keep {
        Day { registry: &registry, ticks: &ticks, folder: &folder, lang }.stay(&events, args.made(), &stop).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that is settled before the first process starts.
struct Day<'a> {
    registry: &'a Registry,
    ticks: &'a Ticks,
    folder: &'a Folder,
    lang: Lang,
}

impl Day<'_> {
    /// Plays the day from beginning to end, and closes the books.
    async fn play(&self, args: &Args, mut progress: Progress) -> anyhow::Result<(Outcome, Vec<Event>)> {
        let Self { registry, ticks, folder, lang } = *self;
        progress.show(lang.pick("khởi động trục và các hệ thống", "starting the bus and the systems"));
        // Most is handed in there, so there is always something to mistreat.
        let desks = city::system_of(&city::party_of(PartyKind::Centre, registry)?, registry)?;
        let tampered = args.tamper.map(|tamper| (desks.as_str(), tamper));
        let mut bus = Bus::start(folder, registry, START, args.made(), tampered).await?;
        let operator = city::party_of(PartyKind::Operator, registry)?;
        let profile = folder.operator_profile();
        folder.configure_profile(&profile, &bus.address, &city::system_of(&operator, registry)?, &operator)?;
        let day = async {
            let mut not_done = 0;
            for tick in ticks.iter() {
                // A step that is stuck is counted again at every tick: the last count is what was never done.
                not_done = bus.tick(tick, |store| progress.show(&how_far(tick, store, lang))).await?;
            }
            anyhow::Ok((not_done, bus, progress))
        };
        // The operator fetches the catalogue while the desks are at work.
        let ((not_done, bus, mut progress), catalogue) = tokio::try_join!(day, national::catalogue(folder, &profile))?;
        progress.show(lang.pick("đối chiếu với cổng dịch vụ công", "comparing with the portal"));
        let (compared, book) = bus.portal(folder).await?;
        progress.end(lang.pick("dừng các tiến trình và đối chiếu sổ", "stopping the processes, reconciling the books"));
        let (mut memory, systems) = (bus.memory(), bus.systems());
        let complaints = bus.stop().await?;

        let (events, recorded) = journal(folder)?;
        let books = registry.systems().map(|system| books::read(&folder.books(&system.name)));
        let party = city::party_of(PartyKind::Portal, registry)?;
        let reconciliation = reconcile(&books.collect::<anyhow::Result<Vec<_>>>()?, &recorded, party.as_str());
        let portal = Portal::of(compared, &book, &events, &party);
        let figures = Figures::count(&events, EVENING, registry)?;
        memory.extend(processes::peak_memory("self").map(|bytes| ("demo".to_owned(), bytes)));
        let took = progress.elapsed();
        let national = National { catalogue, portal, complaints };
        let until = args.until;
        Ok((Outcome { until, figures, reconciliation, national, systems, not_done, took, memory }, events))
    }

    /// Starts everything once more where it stood, says what to try, and waits until it is told to stop.
    async fn stay(&self, events: &[Event], made: Made, stop: &CancellationToken) -> anyhow::Result<()> {
        let Self { registry, ticks, folder, lang } = *self;
        let now = ticks.iter().last().unwrap_or(START);
        let bus = Bus::start(folder, registry, now, made, None).await?;
        // The dossier with the longest story.
        let longest = events.iter().max_by_key(|event| event.sequence).context("nothing has happened")?;
        let code = &longest.code;
        let opening = events.iter().find(|event| event.code == *code).and_then(|event| event.opening.as_ref());
        let opening = opening.with_context(|| format!("{code} was never opened"))?;
        let desk = &opening.places.intake_desk;
        let operator = city::party_of(PartyKind::Operator, registry)?;
        for (file, party) in [(folder.profile(), desk), (folder.operator_profile(), &operator)] {
            folder.configure_profile(&file, &bus.address, &city::system_of(party, registry)?, party)?;
        }
        let (profile, data, key) = (folder.profile(), folder.data(), folder.node_key());
        let (profile, data, key) = (profile.display(), data.display(), key.display());
        let (procedure, locality) = (&opening.procedure, &opening.locality);
        print(format!(
            "\n{}\n  lgsp dossier show {code} --profile {profile}\n  lgsp dossier list --profile {profile}\n  \
             lgsp dossier route --procedure {procedure} --locality {locality} --profile {profile}\n\
             {} --received-at {now}+07:00\n\
             {}\n{}\
             {}\n  lgsp dossier show {code} --data {data} --node-key {key}\n  lgsp fsck {data} --node-key {key}\n",
            lang.pick("Đã chạy lại. Thử ở một cửa sổ khác:", "Everything is running again. Try in another window:"),
            lang.pick(
                "Đồng hồ nghiệp vụ đứng yên; khi nộp thêm hồ sơ bằng `lgsp dossier submit`, ghi",
                "The business clock stands still; to hand in one more with `lgsp dossier submit`, say",
            ),
            lang.pick(
                "Cho phần mềm của một cơ quan nữa tham gia: một mã, một lệnh, rồi chạy bộ kết nối của nó:",
                "Another agency's system joins: one token, one command; then its adapter runs:",
            ),
            self.join()?,
            lang.pick("Sau khi dừng bằng Ctrl-C:", "After you have ended it with Ctrl-C:"),
        ))?;
        stop.cancelled().await;
        bus.stop().await?;
        Ok(())
    }

    /// How another system joins, acting for a commune that has a system already.
    fn join(&self) -> anyhow::Result<String> {
        let party = city::party_of(PartyKind::Commune, self.registry)?;
        let (token, operator, newcomer) = (self.folder.token(), self.folder.operator_profile(), self.folder.newcomer());
        let (token, operator, newcomer) = (token.display(), operator.display(), newcomer.display());
        Ok(format!(
            "  lgsp certs token --system {NEWCOMER} --acts-for {party} --to {token} --profile {operator}\n  \
             lgsp adapter join {token} --dir {newcomer}\n  \
             lgsp adapter --config {newcomer}/adapter.toml\n"
        ))
    }
}

fn how_far(tick: jiff::civil::DateTime, store: Store, lang: Lang) -> String {
    let time = tick.strftime("%d/%m/%Y %H:%M");
    let Store { dossiers, events, deliveries_waiting, deliveries_taken_over } = store;
    let under_way = deliveries_waiting + deliveries_taken_over;
    lang.pick(
        format!("{time}  hồ sơ {dossiers}  sự kiện {events}  đang giao {under_way}"),
        format!("{time}  dossiers {dossiers}  events {events}  being delivered {under_way}"),
    )
}

/// What the journal holds, for the figures and for the reconciliation.
fn journal(folder: &Folder) -> anyhow::Result<(Vec<Event>, Journal)> {
    let data = ReadOnly::open(&folder.data(), &folder.node_key()).context("the journal cannot be opened")?;
    let (mut events, mut journal) = (Vec::new(), Journal::default());
    for record in data.records() {
        match record?.1 {
            Fact::Admitted(admitted) => {
                journal.events.push(Recorded::of(&admitted));
                events.push(admitted.event);
            }
            // The operator asks as well, about the catalogue.
            Fact::Queried(queried) if Check::ALL.iter().any(|check| check.service() == queried.service) => {
                journal.questions.push(Questioned::of(&queried));
            }
            _ => {}
        }
    }
    Ok((events, journal))
}
