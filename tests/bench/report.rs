//! What was found: on the terminal for people, as JSON for programs. Figures of several rounds are given as their median.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::callers::{CONNECTIONS, Latency, Measure, Run};
use crate::flood::{OTHERS, Round, SHARE, TIMES};
use crate::requests::BODY_BYTES;
use crate::{isolation, lookups};

/// The result of one benchmark.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) seconds_per_run: f64,
    pub(crate) rows: Vec<Row>,
    pub(crate) flood: FloodReport,
}

/// What a flood of one party costs the others, round by round.
pub(crate) struct FloodReport {
    pub(crate) rounds: Vec<Round>,
    pub(crate) seconds_per_run: f64,
}

impl FloodReport {
    /// How much longer the others wait, round by round.
    fn ratio(&self, of: fn(Latency) -> Duration) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| of(round.flooded).as_secs_f64() / of(round.alone).as_secs_f64()))
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> Option<f64> {
        Spread::of(self.rounds.iter().map(of)).map(|spread| spread.median)
    }

    fn print(&self) {
        println!(
            "\nFlood: {OTHERS} parties send {SHARE} dossiers a second each, their share, without and with one more that sends \
             {TIMES} times as many; {} rounds of {} s a run",
            self.rounds.len(),
            self.seconds_per_run
        );
        println!("{:>7} {:>12} {:>12}  ratio", "others", "alone µs", "flooded µs");
        for (name, of) in [("p50", (|latency| latency.p50) as fn(Latency) -> Duration), ("p99", |latency| latency.p99)]
        {
            let alone = whole(self.median(|round| micros(of(round.alone))));
            let flooded = whole(self.median(|round| micros(of(round.flooded))));
            let ratio = self
                .ratio(of)
                .map_or_else(String::new, |Spread { median, min, max }| format!("{median:.2} ({min:.2}–{max:.2})"));
            println!("{name:>7} {alone:>12} {flooded:>12}  {ratio}");
        }
        println!(
            "the flood, a second: {} sent, {} admitted, {} refused with QUOTA_EXCEEDED; of the others {} were refused in all",
            whole(self.median(|round| round.flood.sent)),
            whole(self.median(|round| round.flood.admitted)),
            whole(self.median(|round| round.flood.refused)),
            self.rounds.iter().map(|round| round.others_refused).sum::<usize>(),
        );
    }

    fn json(&self) -> Value {
        let ratio = |of| {
            let spread = self.ratio(of);
            spread.map(|spread| json!({ "median": spread.median, "min": spread.min, "max": spread.max }))
        };
        let latency = |latency: Latency| json!({ "p50_us": micros(latency.p50), "p99_us": micros(latency.p99) });
        let round = |round: &Round| {
            json!({
                "alone": latency(round.alone),
                "flooded": latency(round.flooded),
                "others_refused": round.others_refused,
                "flood": {
                    "sent_per_second": round.flood.sent,
                    "admitted_per_second": round.flood.admitted,
                    "refused_per_second": round.flood.refused,
                },
            })
        };
        json!({
            "others": OTHERS,
            "share_per_second": SHARE,
            "times": TIMES,
            "seconds_per_run": self.seconds_per_run,
            "p50_ratio": ratio(|latency| latency.p50),
            "p99_ratio": ratio(|latency| latency.p99),
            "rounds": self.rounds.iter().map(round).collect::<Vec<_>>(),
        })
    }
}

/// One measure with one number of callers, over all rounds.
pub(crate) struct Row {
    pub(crate) measure: Measure,
    pub(crate) callers: usize,
    pub(crate) pairs: Vec<Pair>,
}

/// A run of the limit and the run of the gateway right after it.
pub(crate) struct Pair {
    pub(crate) limit: Run,
    pub(crate) gateway: Run,
}

/// What the figures depend on.
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    /// The load average of the last minute when the benchmark began: what else was going on.
    load: String,
    /// Appending a body's length to a file and syncing it.
    sync: Duration,
}

impl Machine {
    /// Looks at the machine, and at the disk under `folder`.
    pub(crate) fn look(folder: &Path) -> anyhow::Result<Self> {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: processor.map_or("unknown", |(_, name)| name).to_owned(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            sync: sync_time(folder).context("the disk cannot be tried")?,
        })
    }
}

/// The median of a few hundred.
fn sync_time(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        file.write_all(&[b'.'; BODY_BYTES])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// A figure over all rounds.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_unstable_by(f64::total_cmp);
        Some(Self { median: *figures.get(figures.len() / 2)?, min: *figures.first()?, max: *figures.last()? })
    }
}

impl Row {
    pub(crate) fn new(measure: Measure, callers: usize) -> Self {
        Self { measure, callers, pairs: Vec::new() }
    }

    /// What the gateway gets through of what the limit gets through, pair by pair.
    fn ratio(&self) -> Option<Spread> {
        Spread::of(self.pairs.iter().map(|pair| pair.gateway.per_second / pair.limit.per_second))
    }

    fn figure(&self, of: impl Fn(&Pair) -> Option<f64>) -> Option<f64> {
        Spread::of(self.pairs.iter().filter_map(of)).map(|spread| spread.median)
    }

    fn line(&self) -> String {
        let ratio = self
            .ratio()
            .map_or_else(String::new, |Spread { median, min, max }| format!("{median:.2} ({min:.2}–{max:.2})"));
        let rate = |run: fn(&Pair) -> &Run| whole(self.figure(|pair| Some(run(pair).per_second)));
        let latency = |run: fn(&Pair) -> &Run, of: fn(&Run) -> Option<Latency>| {
            let part = |part: fn(Latency) -> Duration| {
                whole(self.figure(|pair| of(run(pair)).map(|latency| micros(part(latency)))))
            };
            format!("{} / {}", part(|latency| latency.p50), part(|latency| latency.p99))
        };
        let processor = |run: fn(&Pair) -> &Run| {
            whole(self.figure(|pair| run(pair).processor_per_1000.map(|time| time.as_secs_f64() * 1e3)))
        };
        let limit: fn(&Pair) -> &Run = |pair| &pair.limit;
        let gateway: fn(&Pair) -> &Run = |pair| &pair.gateway;
        let mut line = format!(
            "{:>7} {:>9} {:>9}  {ratio:<17} {:>17} {:>17} {:>7} {:>7}",
            self.callers,
            rate(limit),
            rate(gateway),
            latency(limit, |run| Some(run.whole)),
            latency(gateway, |run| Some(run.whole)),
            processor(limit),
            processor(gateway),
        );
        if self.measure == Measure::Exchange {
            let after = |run| latency(run, |run| run.after_admission);
            line += &format!(" {:>17} {:>17}", after(limit), after(gateway));
        }
        line
    }

    fn json(&self) -> Value {
        let ratio = self.ratio().map(|spread| json!({ "median": spread.median, "min": spread.min, "max": spread.max }));
        let both = |pair: &Pair| json!({ "limit": run_json(&pair.limit), "gateway": run_json(&pair.gateway) });
        let rounds: Vec<Value> = self.pairs.iter().map(both).collect();
        json!({
            "measure": match self.measure { Measure::Admission => "admission", Measure::Exchange => "exchange" },
            "callers": self.callers,
            "ratio": ratio,
            "rounds": rounds,
        })
    }
}

impl Machine {
    fn print(&self) {
        let Self { cores, processor, load, sync } = self;
        println!(
            "{cores} cores, {processor}; load average {load} before; 1 KiB appended and synced in {} µs",
            sync.as_micros()
        );
    }

    fn json(&self) -> Value {
        let Self { cores, processor, load, sync } = self;
        json!({ "cores": cores, "processor": processor, "load": load, "sync_us": micros(*sync) })
    }
}

impl Report {
    /// Prints the tables.
    pub(crate) fn print(&self) {
        self.machine.print();
        self.flood.print();
        if self.rows.is_empty() {
            return;
        }
        println!(
            "\n{} rounds of {} s a run; bodies of {BODY_BYTES} bytes, signed beforehand; mutual TLS on loopback, up to \
             {CONNECTIONS} connections; the callers use the same cores",
            self.rounds, self.seconds_per_run
        );
        println!(
            "medians of the rounds; ratio = gateway / limit (least–most); times are p50 / p99 in µs, admitted→ the part after \
             admission; CPU = the server's, ms per 1,000 dossiers"
        );
        for (measure, title) in [
            (Measure::Admission, "Admission: from sending a dossier to its admission, durable"),
            (Measure::Exchange, "Exchange: from sending a dossier to the authority's acknowledgement, durable"),
        ] {
            println!("\n{title}");
            print!("{:>7} {:>9} {:>9}  {:<17}", "callers", "limit/s", "gateway/s", "ratio");
            print!(" {:>17} {:>17} {:>7} {:>7}", "limit", "gateway", "CPU lim", "CPU gw");
            if measure == Measure::Exchange {
                print!(" {:>17} {:>17}", "admitted→ limit", "admitted→ gateway");
            }
            println!();
            for row in self.rows.iter().filter(|row| row.measure == measure) {
                println!("{}", row.line());
            }
        }
    }

    /// Writes everything, round by round, as JSON.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let report = json!({
            "machine": self.machine.json(),
            "rounds": self.rounds,
            "seconds_per_run": self.seconds_per_run,
            "body_bytes": BODY_BYTES,
            "connections": CONNECTIONS,
            "flood": self.flood.json(),
            "results": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        written(&report, file)
    }
}

fn written(report: &Value, file: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(file, text).with_context(|| file.display().to_string())
}

/// What asking a data service costs.
pub(crate) struct QueriesReport {
    pub(crate) machine: Machine,
    pub(crate) extent: lookups::Extent,
    pub(crate) lookups: Vec<lookups::Row>,
    pub(crate) isolation: Vec<isolation::Round>,
}

impl lookups::Row {
    fn median(&self, of: impl Fn(&(lookups::Run, lookups::Run)) -> f64) -> Option<f64> {
        Spread::of(self.pairs.iter().map(of)).map(|spread| spread.median)
    }

    /// What the gateway takes of the time of a whole look-up, pair by pair.
    fn share(&self) -> Option<Spread> {
        let p50 = |run: &lookups::Run| run.latency.p50.as_secs_f64();
        Spread::of(self.pairs.iter().map(|(echo, replica)| p50(echo) / p50(replica)))
    }
}

impl QueriesReport {
    /// How much longer the questions about procedures take, round by round.
    fn ratio(&self, of: fn(Latency) -> Duration) -> Option<Spread> {
        let ratio = |round: &isolation::Round| {
            of(round.slow.procedures).as_secs_f64() / of(round.normal.procedures).as_secs_f64()
        };
        Spread::of(self.isolation.iter().map(ratio))
    }

    fn print_isolation(&self) {
        let median = |of: &dyn Fn(&isolation::Round) -> f64| {
            whole(Spread::of(self.isolation.iter().map(of)).map(|it| it.median))
        };
        println!(
            "\nIsolation: {} questions a second about procedures, beside {} clerks who ask about citizens, while the population database \
             takes {} ms and while it takes {} times as long; {} rounds",
            isolation::PER_SECOND,
            isolation::CLERKS,
            isolation::TAKES_MS,
            isolation::TIMES,
            self.isolation.len()
        );
        println!("{:>10} {:>12} {:>12}  ratio", "procedures", "normal µs", "slow µs");
        for (name, of) in [("p50", (|latency| latency.p50) as fn(Latency) -> Duration), ("p99", |latency| latency.p99)]
        {
            let [normal, slow] = [
                median(&|round| micros(of(round.normal.procedures))),
                median(&|round| micros(of(round.slow.procedures))),
            ];
            let ratio = self
                .ratio(of)
                .map_or_else(String::new, |Spread { median, min, max }| format!("{median:.2} ({min:.2}–{max:.2})"));
            println!("{name:>10} {normal:>12} {slow:>12}  {ratio}");
        }
        println!(
            "citizens answered, a second: {} as usual, {} slow",
            median(&|round| round.normal.citizens_per_second),
            median(&|round| round.slow.citizens_per_second)
        );
    }

    fn isolation_json(&self) -> Value {
        let run = |run: &isolation::Run| {
            json!({
                "p50_us": micros(run.procedures.p50),
                "p99_us": micros(run.procedures.p99),
                "citizens_per_second": run.citizens_per_second,
            })
        };
        let ratio = |of| self.ratio(of).map(|it: Spread| json!({ "median": it.median, "min": it.min, "max": it.max }));
        let rounds: Vec<Value> = self
            .isolation
            .iter()
            .map(|round| json!({ "normal": run(&round.normal), "slow": run(&round.slow) }))
            .collect();
        json!({ "p50_ratio": ratio(|it| it.p50), "p99_ratio": ratio(|it| it.p99), "rounds": rounds })
    }

    /// Prints the tables.
    pub(crate) fn print(&self) {
        self.machine.print();
        println!(
            "\nLook-ups of one of {} citizens in PostgreSQL, each on record and synced before it is told; {} rounds of {} s a run; \
             callers, gateway, connector and PostgreSQL use the same cores",
            whole(Some(f64::from(self.extent.citizens))),
            self.extent.rounds,
            self.extent.time.as_secs_f64()
        );
        println!(
            "medians of the rounds; echo = a connector that answers at once; share = p50 of echo / p50 of replica (least–most)"
        );
        println!(
            "{:>7} {:>9} {:>9} {:>17} {:>17} {:>7}  share of the gateway",
            "callers", "echo/s", "replica/s", "echo µs", "replica µs", "CPU gw"
        );
        for row in &self.lookups {
            let latency = |of: fn(&(lookups::Run, lookups::Run)) -> Latency| {
                let [p50, p99] = [|it: Latency| it.p50, |it: Latency| it.p99]
                    .map(|part| whole(row.median(|pair| micros(part(of(pair))))));
                format!("{p50} / {p99}")
            };
            let share = row
                .share()
                .map_or_else(String::new, |Spread { median, min, max }| format!("{median:.2} ({min:.2}–{max:.2})"));
            let processor =
                row.median(|pair| pair.1.gateway_per_1000.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3));
            println!(
                "{:>7} {:>9} {:>9} {:>17} {:>17} {:>7}  {share}",
                row.callers,
                whole(row.median(|pair| pair.0.per_second)),
                whole(row.median(|pair| pair.1.per_second)),
                latency(|pair| pair.0.latency),
                latency(|pair| pair.1.latency),
                whole(processor),
            );
        }
        self.print_isolation();
    }

    /// Writes everything, round by round, as JSON.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let run = |run: &lookups::Run| {
            json!({
                "per_second": run.per_second,
                "p50_us": micros(run.latency.p50),
                "p99_us": micros(run.latency.p99),
                "gateway_ms_per_1000": run.gateway_per_1000.map(|time| time.as_secs_f64() * 1e3),
            })
        };
        let row = |row: &lookups::Row| {
            let share =
                row.share().map(|spread| json!({ "median": spread.median, "min": spread.min, "max": spread.max }));
            let rounds: Vec<Value> =
                row.pairs.iter().map(|(echo, replica)| json!({ "echo": run(echo), "replica": run(replica) })).collect();
            json!({ "callers": row.callers, "gateway_share": share, "rounds": rounds })
        };
        let report = json!({
            "machine": self.machine.json(),
            "citizens": self.extent.citizens,
            "seconds_per_run": self.extent.time.as_secs_f64(),
            "isolation": self.isolation_json(),
            "look_ups": self.lookups.iter().map(row).collect::<Vec<_>>(),
        });
        written(&report, file)
    }
}

fn run_json(run: &Run) -> Value {
    let latency = |latency: Latency| json!({ "p50_us": micros(latency.p50), "p99_us": micros(latency.p99) });
    json!({
        "per_second": run.per_second,
        "whole": latency(run.whole),
        "after_admission": run.after_admission.map(latency),
        "processor_ms_per_1000": run.processor_per_1000.map(|time| time.as_secs_f64() * 1e3),
    })
}

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round()
}

/// A whole number with its thousands apart; a dash where there is none.
fn whole(figure: Option<f64>) -> String {
    let Some(figure) = figure else { return "–".to_owned() };
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
