//! `lgsp rehearse`: a counterpart to try a connector with before it meets the real one; the work is in `lgsp-rehearsal`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use lgsp_rehearsal::behaviour::Script;
use lgsp_rehearsal::procedures::{PASSWORD, Procedures, USER};
use lgsp_rehearsal::rehearsal::{Counterpart, Rehearsal};
use lgsp_rehearsal::report::Verdict;
use lgsp_rehearsal::server::{Files, Server};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, UNEXPECTED, because};
use crate::lang::Lang;
use crate::output::print;

const EXAMPLES: &str = "\
Examples:
  lgsp rehearse procedures --dir rehearsal
  lgsp rehearse procedures --behave 'normal:200,flaky:50,expired-session:20,normal' --report report.json
  curl --cacert rehearsal/ca.pem -X PUT -d 2026-09-01 https://localhost:8443/_rehearsal/day

Ctrl-C ends it, with the report. Exit codes: 0 the connector is ready, 1 it is not.";

/// A counterpart to rehearse a connector with: the real wire, scripted behaviour, and a verdict at the end.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
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
    /// The script: behaviours with a number of requests each, the last one for ever if it has none.
    #[arg(long, value_name = "SCRIPT", default_value = "normal")]
    behave: String,
    /// How many requests a connector may have under way at one time.
    #[arg(long, value_name = "N", default_value_t = 16)]
    at_once: usize,
    /// Write the report to this file as well, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON, for programs: a line when it is ready, a line with the report.
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.which {
            Which::Procedures { common, seed, count, day } => {
                let day = day.strftime("%Y%m%d").to_string().parse()?;
                let procedures = Procedures::new(seed, count, day, common.at_once);
                common.play(procedures, Procedures::TAKES, &[("user", USER), ("password", PASSWORD)], lang)
            }
        }
    }
}

impl Common {
    /// Serves until a signal or the end of the script, and tells the verdict.
    fn play(
        self,
        counterpart: impl Counterpart,
        takes: std::time::Duration,
        more: &[(&str, &str)],
        lang: Lang,
    ) -> anyhow::Result<ExitCode> {
        let script: Script = self.behave.parse().map_err(|error| Failure::usage(format!("--behave: {error}")))?;
        std::fs::create_dir_all(&self.dir).map_err(|error| Failure::of_file(&self.dir, &error))?;
        let files = Files::in_folder(&self.dir).map_err(|error| Failure::usage(because(&error)))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            // Before it says that it is ready: whoever reads that may stop it at once.
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            let server = Server::bind(self.port, &files).await;
            let server = server.map_err(|error| Failure::usage(because(&error)))?;
            let rehearsal = Rehearsal::new(&counterpart, script, takes);
            let url = server.url();
            let mut facts = vec![("url", url), ("ca", files.root.display().to_string())];
            facts.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
            if self.json {
                let facts: serde_json::Map<_, _> =
                    facts.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
                print(format!("{}\n", json!({ "ready": facts })))?;
            } else {
                let lines: String = facts.iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect();
                print(lines + lang.pick("Ctrl-C để kết thúc và xem báo cáo.\n", "Ctrl-C ends it, with the report.\n"))?;
            }
            let stop = CancellationToken::new();
            let serving = tokio::spawn(server.serve(rehearsal.routes(Arc::new(counterpart)), stop.clone()));
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = rehearsal.over() => {}
            }
            stop.cancel();
            serving.await?;
            let report = rehearsal.report();
            if let Some(file) = &self.report {
                let text = format!("{:#}\n", serde_json::to_value(&report)?);
                std::fs::write(file, text).map_err(|error| Failure::of_file(file, &error))?;
            }
            match self.json {
                true => print(format!("{}\n", json!({ "report": report })))?,
                false => print(format!("\n{}", report.text(lang == Lang::Vi)))?,
            }
            Ok(if report.verdict == Verdict::Ready { ExitCode::SUCCESS } else { ExitCode::from(UNEXPECTED) })
        })
    }
}
