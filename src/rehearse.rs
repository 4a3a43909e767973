//! `lgsp rehearse`: a counterpart to try a connector with before it meets the real one; the work is in `lgsp-rehearsal`.
//!
//! To add a counterpart: a variant of [`Which`] with its own arguments, and its arm in [`Command::run`] that makes it and plays it.

mod credentials;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, value_parser};
use lgsp_rehearsal::behaviour::Script;
use lgsp_rehearsal::population::citizens::{CITIZENS_MAX, Population};
use lgsp_rehearsal::population::{PATH, PopulationDatabase, replica};
use lgsp_rehearsal::portal::Portal;
use lgsp_rehearsal::procedures::{PASSWORD, Procedures, USER};
use lgsp_rehearsal::rehearsal::{Bounds, Counterpart, Rehearsal};
use lgsp_rehearsal::report::Verdict;
use lgsp_rehearsal::server::{Files, Server};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, UNEXPECTED, because};
use crate::lang::Lang;
use crate::node::stop_with_stdin;
use crate::output::print;

const EXAMPLES: &str = "\
Examples:
  lgsp rehearse population --dir rehearsal
  lgsp rehearse population --behave 'normal:20,slow(50x):20,flaky:20,wrong-schema:5,duplicate:5,maintenance:5' --report report.json
  lgsp rehearse procedures --behave 'normal:200,flaky:50,expired-session:20,normal'
  lgsp rehearse portal --behave 'normal:40,duplicate:10,expired-session:10,normal'
  curl --cacert rehearsal/ca.pem -X PUT -d maintenance https://localhost:8443/_rehearsal/behaviour
  curl --cacert rehearsal/ca.pem -X PUT -d 2026-09-01 https://localhost:8443/_rehearsal/day

Ctrl-C ends it, with the report. Exit codes: 0 the connector is ready, 1 it is not.";

/// A counterpart to rehearse a connector with: the real wire, scripted behaviour, and a verdict at the end.
///
/// It listens on this machine only, over HTTPS by a certificate made on the spot. The people in it are invented.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// The national population database: services 037, 033 and 034 over SOAP, about invented citizens.
    Population {
        #[command(flatten)]
        common: Common,
        /// How many citizens there are.
        #[arg(long, value_name = "N", default_value_t = CITIZENS_MAX, value_parser = value_parser!(u32).range(1..=i64::from(CITIZENS_MAX)))]
        citizens: u32,
        /// The seed that they are made from: the same seed, the same citizens.
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// How many questions are answered before the quota is exceeded; no quota if not given.
        #[arg(long, value_name = "N")]
        quota: Option<u64>,
        /// Print this many citizens as JSON, one a line, and end: whom a connector may be asked about.
        #[arg(long, value_name = "N")]
        sample: Option<u32>,
        /// Write the citizens into a replica instead, and end: postgresql://USER:PASSWORD@HOST:PORT/DATABASE. `lgsp adapter population
        /// schema` has made its tables; what is there stays, so it goes on where it broke off.
        #[arg(long, value_name = "URL", conflicts_with = "sample")]
        postgres: Option<String>,
        /// The replica's schema.
        #[arg(long, value_name = "NAME", default_value = "dan_cu", requires = "postgres")]
        schema: String,
        /// Roots that the database's certificate chains to, PEM; without them the connection is not encrypted.
        #[arg(long, value_name = "FILE", requires = "postgres")]
        postgres_bundle: Option<PathBuf>,
    },
    /// The national procedure database: log-in, the list, each procedure; its catalogue changes on 2026-09-01.
    Procedures {
        #[command(flatten)]
        common: Common,
        /// The seed that the catalogue is made from.
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// Procedures in it; never fewer than the registry of Hue has.
        #[arg(long, value_name = "N", default_value_t = 5_600)]
        count: usize,
        /// The day that it is there, YYYY-MM-DD.
        #[arg(long, value_name = "DATE", default_value = "2026-08-15")]
        day: jiff::civil::Date,
    },
    /// The national portal: log-in, dossiers and their progress, and asking for what it has.
    Portal {
        #[command(flatten)]
        common: Common,
        /// A procedure that it does not know and refuses; may be given several times.
        #[arg(long, value_name = "CODE")]
        refuse: Vec<String>,
    },
}

/// What every counterpart is told.
#[derive(Args, Debug)]
#[command(next_help_heading = "Rehearsal")]
struct Common {
    /// Port on 127.0.0.1; 0 for a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    port: u16,
    /// Where ca.pem and whatever else a connector is given lie, kept for the next time.
    #[arg(long, value_name = "DIR", default_value = "rehearsal")]
    dir: PathBuf,
    /// A certificate of your own for the server, PEM, instead of the one in DIR.
    #[arg(long, value_name = "FILE", requires_all = ["key", "root"])]
    certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The root that it chains to, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    root: Option<PathBuf>,
    /// Ask for a client certificate; one is made in DIR: client.pem, client.key.
    #[arg(long, conflicts_with = "certificate")]
    mutual_tls: bool,
    /// The script: behaviours with a number of requests each, the last one for ever if it has none. There are normal, slow(50x),
    /// slow(200ms), flaky, wrong-schema, duplicate, maintenance, expired-session, clock-skew(10m).
    #[arg(long, value_name = "SCRIPT", default_value = "normal")]
    behave: String,
    /// What an answer takes when the behaviour is normal, in milliseconds; each counterpart has its own usual.
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(..=60_000))]
    takes: Option<u64>,
    /// How many requests a connector may have under way at one time.
    #[arg(long, value_name = "N", default_value_t = 16)]
    at_once: usize,
    /// How many requests it may send in ten seconds of maintenance.
    #[arg(long, value_name = "N", default_value_t = 30)]
    trickle: usize,
    /// Write the report to this file as well, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON, for programs: a line when it is ready, a line with the report.
    #[arg(long)]
    json: bool,
    /// Stop when standard input is closed: a child that does not outlive its parent.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

impl Command {
    /// Plays a counterpart until a signal or the end of its script.
    ///
    /// # Errors
    /// It could not begin, or its report could not be written.
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.which {
            Which::Population { common, citizens, seed, quota, sample, postgres, schema, postgres_bundle } => {
                let population = Population::new(seed, citizens);
                if let Some(url) = postgres {
                    return filled(population, &url, &schema, postgres_bundle.as_deref(), lang);
                }
                if let Some(sample) = sample {
                    return shown(population, sample);
                }
                std::fs::create_dir_all(&common.dir).map_err(|error| Failure::of_file(&common.dir, &error))?;
                let (given, facts) = credentials::in_folder(&common.dir)?;
                let database = PopulationDatabase::new(population, given, quota);
                let facts: Vec<_> = facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
                common.play(database, Duration::from_millis(5), &[&[("path", PATH)], &*facts].concat(), lang)
            }
            Which::Procedures { common, seed, count, day } => {
                let day = day.strftime("%Y%m%d").to_string().parse()?;
                let procedures = Procedures::new(seed, count, day, common.at_once);
                common.play(procedures, Procedures::TAKES, &[("user", USER), ("password", PASSWORD)], lang)
            }
            Which::Portal { common, refuse } => {
                let facts = [
                    ("login", Portal::LOGIN),
                    ("service", Portal::SERVICE),
                    ("user", Portal::USER),
                    ("password", Portal::PASSWORD),
                ];
                common.play(Portal::new(Portal::USER, Portal::PASSWORD, refuse), Portal::TAKES, &facts, lang)
            }
        }
    }
}

/// Prints citizens from the first on.
fn shown(population: Population, sample: u32) -> anyhow::Result<ExitCode> {
    for place in 0..sample.min(population.citizens()) {
        print(format!("{}\n", population.citizen(place).as_json()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Fills a replica, and shows how far it is.
fn filled(
    population: Population,
    url: &str,
    schema: &str,
    bundle: Option<&Path>,
    lang: Lang,
) -> anyhow::Result<ExitCode> {
    let all = population.citizens();
    let mut shown = 0;
    let told = |done: u32| {
        // A line for every tenth of it.
        let tenth = u64::from(done) * 10 / u64::from(all);
        if tenth > shown {
            shown = tenth;
            eprintln!("{done} / {all} {}", lang.pick("công dân", "citizens"));
        }
    };
    let filling = replica::fill(population, url, schema, bundle, told);
    crate::block_on(async { filling.await.map_err(|error| Failure::usage(because(&error))) })?;
    Ok(ExitCode::SUCCESS)
}

impl Common {
    /// Serves until a signal or the end of the script, and tells the verdict. `more` is what a connector is given beyond the URL and the
    /// root.
    fn play(
        self,
        counterpart: impl Counterpart,
        takes: Duration,
        more: &[(&str, &str)],
        lang: Lang,
    ) -> anyhow::Result<ExitCode> {
        let script: Script = self.behave.parse().map_err(|error: lgsp_rehearsal::behaviour::BadScript| {
            Failure::usage_in(format!("--behave không phải kịch bản hợp lệ: {error}"), format!("--behave: {error}"))
        })?;
        let takes = self.takes.map_or(takes, Duration::from_millis);
        let files = self.files()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            // Before it says that it is ready: whoever reads that may stop it at once.
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            let server = Server::bind(self.port, &files).await;
            let server = server.map_err(|error| Failure::usage(because(&error)))?;
            let bounds = Bounds { at_once: self.at_once, trickle: self.trickle };
            let rehearsal = Rehearsal::within(&counterpart, script, takes, bounds);
            let mut facts = vec![("url", server.url()), ("ca", files.root.display().to_string())];
            if files.clients.is_some() {
                let made = ["client.pem", "client.key"].map(|name| self.dir.join(name).display().to_string());
                facts.extend(["client_certificate", "client_key"].into_iter().zip(made));
            }
            facts.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
            self.say_ready(facts, lang)?;
            let (stop, parent_gone) = (CancellationToken::new(), CancellationToken::new());
            if self.until_stdin_closes {
                stop_with_stdin(parent_gone.clone())?;
            }
            let serving = tokio::spawn(server.serve(rehearsal.routes(Arc::new(counterpart)), stop.clone()));
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = rehearsal.over() => {}
                () = parent_gone.cancelled() => {}
            }
            stop.cancel();
            serving.await?;
            let report = rehearsal.report();
            if let Some(file) = &self.report {
                let text = format!("{:#}\n", serde_json::to_value(&report)?);
                std::fs::write(file, text).map_err(|error| Failure::of_file(file, &error))?;
            }
            if self.json {
                print(format!("{}\n", json!({ "report": report })))?;
            } else {
                print(format!("\n{}", report.text(lang == Lang::Vi)))?;
            }
            Ok(if report.verdict == Verdict::Ready { ExitCode::SUCCESS } else { ExitCode::from(UNEXPECTED) })
        })
    }

    fn files(&self) -> anyhow::Result<Files> {
        if let (Some(certificate), Some(key), Some(root)) = (&self.certificate, &self.key, &self.root) {
            let [certificate, key, root] = [certificate, key, root].map(Clone::clone);
            return Ok(Files { certificate, key, root, clients: None });
        }
        std::fs::create_dir_all(&self.dir).map_err(|error| Failure::of_file(&self.dir, &error))?;
        let files = Files::in_folder(&self.dir);
        let files = if self.mutual_tls { files.and_then(|files| files.with_client(&self.dir)) } else { files };
        files.map_err(|error| Failure::usage(because(&error)))
    }

    fn say_ready(&self, facts: Vec<(&str, String)>, lang: Lang) -> std::io::Result<()> {
        if self.json {
            let facts: serde_json::Map<_, _> =
                facts.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            return print(format!("{}\n", json!({ "ready": facts })));
        }
        let lines: String = facts.iter().map(|(name, value)| format!("{name:<18} {value}\n")).collect();
        print(lines + lang.pick("Ctrl-C để kết thúc và xem báo cáo.\n", "Ctrl-C ends it, with the report.\n"))
    }
}
