//! The fault campaign: real processes under load, a fault in every round, everybody's books judged after each.
//!
//! `cargo test` runs a short one, every kind of fault once; `tests/faults/run --rounds N --report FILE` a long one, on an
//! optimised build and on the demo's data. A world serves for a chapter of some rounds; then it is stopped in order, checked
//! by `lgsp fsck` and judged from the first round to the last. The first broken promise ends the campaign with exit code 1
//! and keeps what was there.
//!
//! - [`catalogue`]: which faults there are; [`round`]: how each is done;
//! - [`world`], [`disk`], [`wire`]: processes, disks, lines; [`agency`], [`second`]: who uses them;
//! - [`history`]: what must be true; [`tally`]: what was found.

mod agency;
mod catalogue;
mod client;
mod disk;
mod draw;
mod history;
#[expect(clippy::unwrap_used, reason = "a line that cannot be laid fails the campaign")]
#[path = "../support/line.rs"]
mod line;
#[expect(clippy::unwrap_used, reason = "what cannot be kept cannot be searched")]
#[path = "../support/output.rs"]
mod output;
mod round;
mod second;
mod tally;
mod wire;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::catalogue::{ALL_KINDS, KINDS, Kind};
use crate::round::Campaign;
use crate::tally::{Tally, millis};
use crate::world::{Allows, World};

/// What the campaign is to be.
struct Wish {
    rounds: usize,
    seed: u64,
    /// Rounds in one world.
    chapter: usize,
    /// Dossiers handed in in each round.
    dossiers: usize,
    /// Of every so many ends of the gateway by one kind of fault, the first is followed by a check of what it left.
    fsck_every: u32,
    /// Whether every world begins with the demo's data.
    demo: bool,
    /// The slowest start of the gateway that is let pass.
    bar: Option<Duration>,
    report: Option<PathBuf>,
    /// Only this kind of fault, by a part of its name.
    only: Option<String>,
}

impl Wish {
    /// What the arguments say; `None` if they ask for other tests.
    fn read(mut words: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut wish = Self {
            rounds: ALL_KINDS,
            seed: 20_250_714,
            // Two worlds: every other one has its disks watched.
            chapter: ALL_KINDS.div_ceil(2),
            dossiers: 4,
            fsck_every: 4,
            demo: false,
            bar: None,
            report: None,
            only: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} takes a value"));
            match &*word {
                "--rounds" => wish.rounds = value()?.parse()?,
                "--seed" => wish.seed = value()?.parse()?,
                "--chapter" => wish.chapter = value()?.parse::<usize>()?.max(1),
                "--dossiers" => wish.dossiers = value()?.parse()?,
                "--fsck-every" => wish.fsck_every = value()?.parse::<u32>()?.max(1),
                "--bar-ms" => wish.bar = Some(Duration::from_millis(value()?.parse()?)),
                "--report" => wish.report = Some(value()?.into()),
                "--only" => wish.only = Some(value()?),
                "--demo" => wish.demo = true,
                // What cargo passes on to every test, and what means nothing here.
                "--nocapture" | "--show-output" | "-q" | "--quiet" | "--exact" => {}
                "--test-threads" | "--skip" => drop(value()?),
                "--list" => return Ok(None),
                other if other.starts_with('-') => bail!("{other} is not known; see tests/faults/run"),
                filter => {
                    if !"fault_campaign".contains(filter) {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(wish))
    }

    fn write_report(&self, tally: &Tally) -> anyhow::Result<()> {
        let Some(report) = &self.report else { return Ok(()) };
        std::fs::write(report, format!("{:#}\n", tally.report())).with_context(|| report.display().to_string())
    }
}

fn main() -> ExitCode {
    let wish = match Wish::read(std::env::args().skip(1)) {
        Ok(Some(wish)) => wish,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    if let Some(inside) = in_a_namespace() {
        return inside;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let held = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(campaign(&wish)));
    match held {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("THE CAMPAIGN FAILED (seed {}): {error:#}", wish.seed);
            ExitCode::FAILURE
        }
    }
}

/// Set where mounts are ours alone.
const OWN_MOUNTS: &str = "LGSP_FAULTS_OWN_MOUNTS";

/// Set where the network is ours alone, too.
pub(crate) const OWN_NETWORK: &str = "LGSP_FAULTS_OWN_NETWORK";

/// Runs this program once more where its mounts and its network are nobody else's and go with it, as far as the machine
/// allows that.
fn in_a_namespace() -> Option<ExitCode> {
    const MOUNTS: [&str; 3] = ["--mount", "--propagation", "private"];
    // Names of further networks are mounts below /run/netns; ours are to be nobody else's.
    const NETWORK: &str = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && exec \"$@\"";
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return None;
    }
    let unshare = |network: bool| {
        let mut command = Command::new("unshare");
        command.args(MOUNTS).env(OWN_MOUNTS, "1");
        if network {
            command.args(["--net", "sh", "-c", NETWORK, "sh"]).env(OWN_NETWORK, "1");
        }
        command
    };
    let allowed = |network| unshare(network).arg("true").output().is_ok_and(|ended| ended.status.success());
    let network = [true, false].into_iter().find(|network| allowed(*network))?;
    let itself = std::env::current_exe().ok()?;
    let ended = unshare(network).arg(itself).args(std::env::args_os().skip(1)).status().ok()?;
    Some(ended.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

async fn campaign(wish: &Wish) -> anyhow::Result<()> {
    let begun = Instant::now();
    let scratch = tempfile::Builder::new().prefix("lgsp-faults-").tempdir()?;
    let images = disk::images_possible(scratch.path());
    let mut tally = Tally { seed: wish.seed, commit: commit(), ..Tally::default() };
    if let Err(why) = &images {
        let missing = KINDS.iter().map(|(kind, ..)| *kind).filter(|kind| kind.needs_images());
        tally.not_run = missing.map(|kind| (kind, "no loop mounts here".to_owned())).collect();
        let names: Vec<_> = tally.not_run.keys().map(|kind| kind.name()).collect();
        println!("not run, since there are no loop mounts here ({why}): {}", names.join(", "));
    }
    let wires = wire::possible();
    match &wires {
        Ok(()) => println!("lines are wires between network namespaces"),
        Err(why) => println!("lines are proxies: {why}"),
    }
    tally.lines = if wires.is_ok() { "network namespaces" } else { "proxies" };
    let allows = Allows { images: images.is_ok(), namespaces: wires.is_ok() };
    let chosen = |kind: Kind| wish.only.as_ref().is_none_or(|part| kind.name().contains(part.as_str()));
    let plan = catalogue::plan(wish.seed, wish.rounds, |kind| chosen(kind) && !tally.not_run.contains_key(&kind));
    ensure!(!plan.is_empty(), "there is no fault of that name that can be done here");

    let base = scratch.path().join("demo");
    if wish.demo {
        println!("playing the demo's day, whose data every chapter begins with");
        World::play_demo(&base).await?;
    }
    let base = wish.demo.then_some(&*base);
    let mut campaign = Campaign::new(wish, tally, base)?;
    let mut round = 0;
    for (number, chapter) in plan.chunks(wish.chapter).enumerate() {
        let folder = scratch.path().join(format!("chapter-{number}"));
        let mut world = World::begin(folder, allows, number % 2 == 1, base).await?;
        let told = async {
            for kind in chapter {
                round += 1;
                campaign
                    .round(&mut world, round, *kind)
                    .await
                    .with_context(|| format!("round {round}, {}", kind.name()))?;
                println!("{}", campaign.line(round, wish.rounds, *kind));
            }
            campaign.end_of_chapter(&mut world).await
        };
        if let Err(error) = told.await {
            let evidence = keep(&world, scratch);
            let mut tally = campaign.into_tally();
            tally.took = begun.elapsed();
            wish.write_report(&tally)?;
            return Err(error.context(format!("what was there is kept in {}", evidence.display())));
        }
        let folder = world.folder().to_owned();
        // Keys are on the disks.
        output::keep("faults", &folder);
        drop(world);
        std::fs::remove_dir_all(folder)?;
    }
    let mut tally = campaign.into_tally();
    tally.took = begun.elapsed();
    println!("\n{}", tally.table());
    wish.write_report(&tally)?;
    // A fault that is drawn again and again and never shows would be a promise that nobody tried.
    for (kind, of_kind) in &tally.kinds {
        ensure!(of_kind.struck > 0 || of_kind.rounds < 5, "{}: never struck in {} rounds", kind.name(), of_kind.rounds);
    }
    if let Some(bar) = wish.bar {
        let slowest = tally.slowest_recovery();
        ensure!(slowest <= bar, "the slowest start of the gateway took {} ms", millis(slowest));
    }
    Ok(())
}

/// Leaves everything where it is, the disks' contents as plain folders.
fn keep(world: &World, scratch: tempfile::TempDir) -> PathBuf {
    let kept = scratch.keep();
    let evidence = kept.join("evidence");
    let copy = || -> anyhow::Result<()> {
        std::fs::create_dir_all(&evidence)?;
        for who in world.everybody() {
            disk::run("cp", ["-a"], &[world.disk(who).at(), &evidence])?;
        }
        Ok(())
    };
    if let Err(error) = copy() {
        println!("not everything could be kept: {error:#}");
    }
    kept
}

fn commit() -> String {
    let asked =
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).output();
    let told = asked.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned());
    told.ok().filter(|commit| !commit.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
