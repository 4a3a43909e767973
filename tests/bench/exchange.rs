//! What the bus costs, against the limit.
//!
//! Two servers are measured by the same callers with the same signed requests over mutual TLS on loopback, each in a process
//! of its own: the *limit*, a server of the gateway's shape that only appends and syncs ([`limit`]), and `lgsp gateway` as it
//! is shipped. Every measurement begins with a fresh process and an empty folder, and one of the limit is followed at once by
//! its like of the gateway, so that whatever else the machine does touches both; ratios are taken within such a pair.
//!
//! Two things are measured, with 1, 16 and 256 callers that each send their next dossier when the last one is through:
//! *admission*, until the answer to `Dossiers.Submit` is there; and *exchange*, until the authority, over an inbox stream that
//! takes over at once, has been told that its acknowledgement is durable. In the clock: gRPC, HTTP/2 and TLS of both sides,
//! and the callers' share of the cores. Not in it: making and signing the bodies, handshakes, the first moments of each run.
//!
//! And a third: what a flood of one party costs the others ([`flood`]). With `--queries`, instead of all this: what a look-up of a
//! citizen costs ([`lookups`]), and what a slow database costs the others ([`isolation`]).
//!
//! Nothing is asserted about speed; a call that fails ends the benchmark.

mod callers;
mod connectors;
mod flood;
mod isolation;
mod limit;
mod lookups;
mod report;
mod requests;
mod servers;
mod world;

#[path = "../support/postgres.rs"]
mod postgres;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use self::callers::{Measure, Plan};
use self::report::{Pair, Report, Row};
use self::servers::Kind;
use self::world::World;

/// How many callers there are at once.
const CALLERS: [usize; 3] = [1, 16, 256];

/// Measures admission and exchange of the gateway against the limit.
#[derive(Parser)]
#[command(name = "tests/bench/run")]
struct Cli {
    /// Under a minute, for a first look: fewer and shorter runs, so a wider spread.
    #[arg(long)]
    short: bool,
    /// Only what a flood of one party costs the others.
    #[arg(long)]
    flood: bool,
    /// Only what asking a data service costs; wants PostgreSQL.
    #[arg(long, conflicts_with = "flood")]
    queries: bool,
    /// Write the result as JSON too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
    /// The role of the limit, with a gateway's configuration.
    #[arg(long, hide = true, value_name = "CONFIG")]
    serve_limit: Option<PathBuf>,
}

/// How much is measured.
struct Extent {
    rounds: usize,
    warm_up: Duration,
    time: Duration,
    /// Prepared requests: more than any run uses, or it ends early.
    requests: usize,
    flood: flood::Extent,
    lookups: lookups::Extent,
    isolation: isolation::Extent,
}

impl Extent {
    const SHORT: Self = Self {
        rounds: 3,
        warm_up: Duration::from_millis(300),
        time: Duration::from_millis(700),
        requests: 50_000,
        flood: flood::Extent { rounds: 3, warm_up: Duration::from_millis(500), time: Duration::from_secs(2) },
        lookups: lookups::Extent {
            citizens: 50_000,
            rounds: 2,
            warm_up: Duration::from_millis(500),
            time: Duration::from_secs(2),
        },
        isolation: isolation::Extent { rounds: 2, warm_up: Duration::from_secs(2), time: Duration::from_secs(3) },
    };
    const FULL: Self = Self {
        rounds: 5,
        warm_up: Duration::from_millis(500),
        time: Duration::from_millis(2_500),
        requests: 100_000,
        flood: flood::Extent { rounds: 11, warm_up: Duration::from_secs(1), time: Duration::from_secs(5) },
        lookups: lookups::Extent {
            citizens: 1_000_000,
            rounds: 5,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(5),
        },
        isolation: isolation::Extent { rounds: 8, warm_up: Duration::from_secs(2), time: Duration::from_secs(8) },
    };
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.serve_limit {
        Some(config) => runtime.block_on(limit::serve(&config)),
        None => {
            let extent = if cli.short { &Extent::SHORT } else { &Extent::FULL };
            if cli.queries {
                let report = runtime.block_on(ask(extent))?;
                report.print();
                return cli.report.map_or(Ok(()), |file| report.write(&file));
            }
            let report = runtime.block_on(measure(extent, cli.flood))?;
            report.print();
            cli.report.map_or(Ok(()), |file| report.write(&file))
        }
    }
}

async fn measure(extent: &Extent, only_flood: bool) -> anyhow::Result<Report> {
    let world = World::new()?;
    let machine = report::Machine::look(world.folder())?;
    let flood = flood::measure(&extent.flood, &world).await?;
    let flood = report::FloodReport { rounds: flood, seconds_per_run: extent.flood.time.as_secs_f64() };
    if only_flood {
        return Ok(Report { machine, rounds: 0, seconds_per_run: 0.0, rows: Vec::new(), flood });
    }
    let requests = requests::prepare(extent.requests, &world)?;
    let scenarios = CALLERS.iter().flat_map(|&callers| Measure::ALL.map(|measure| (measure, callers)));
    let mut rows: Vec<Row> = scenarios.map(|(measure, callers)| Row::new(measure, callers)).collect();
    for round in 1..=extent.rounds {
        eprintln!("round {round} of {}", extent.rounds);
        for row in &mut rows {
            let plan = Plan {
                measure: row.measure,
                callers: row.callers,
                requests: requests.clone(),
                warm_up: extent.warm_up,
                time: extent.time,
            };
            let limit = callers::run(&plan, Kind::Limit, &world).await?;
            let gateway = callers::run(&plan, Kind::Gateway, &world).await?;
            row.pairs.push(Pair { limit, gateway });
        }
    }
    Ok(Report { machine, rounds: extent.rounds, seconds_per_run: extent.time.as_secs_f64(), rows, flood })
}

async fn ask(extent: &Extent) -> anyhow::Result<report::QueriesReport> {
    let world = World::new()?;
    let machine = report::Machine::look(world.folder())?;
    let lookups = lookups::measure(&extent.lookups, &world).await?;
    let isolation = isolation::measure(&extent.isolation, &world).await?;
    Ok(report::QueriesReport { machine, extent: extent.lookups, lookups, isolation })
}
