//! What the campaign has found, and how it is told: a line per round, a file for programs, a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::catalogue::{KINDS, Kind};
use crate::history::Verdict;

/// The figures of the campaign.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) seed: u64,
    pub(crate) commit: String,
    pub(crate) rounds: u32,
    pub(crate) kills: u32,
    pub(crate) power_cuts: u32,
    pub(crate) fscks: u32,
    /// How often a spool wrote the unfinished again, so that the finished could go.
    pub(crate) spools_tidied: u32,
    pub(crate) restores: u32,
    /// Events that a restored gateway did not have until they were sent again.
    pub(crate) brought_back: u64,
    pub(crate) answered: u64,
    pub(crate) owed: u64,
    /// Documents read back after their round.
    pub(crate) papers: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) out_of_order: u64,
    pub(crate) differing: u64,
    /// Gateway starts.
    pub(crate) recoveries: Vec<Duration>,
    /// Adapter starts.
    pub(crate) adapter_recoveries: Vec<Duration>,
    pub(crate) kinds: BTreeMap<Kind, OfKind>,
    /// Kinds that this machine does not allow, and why.
    pub(crate) not_run: BTreeMap<Kind, String>,
    /// How lines are cut.
    pub(crate) lines: &'static str,
    pub(crate) base_events: u64,
    pub(crate) took: Duration,
}

/// What a kind of fault had.
#[derive(Default)]
pub(crate) struct OfKind {
    pub(crate) rounds: u32,
    /// Rounds in which the fault showed: the process died at its point, the disk was found full, the adapter missed its gateway,
    /// the disk came back without something that was on it.
    pub(crate) struck: u32,
    /// Of the gateway's starts.
    pub(crate) slowest: Duration,
}

impl Tally {
    /// Takes in the judgement of a chapter that is over.
    pub(crate) fn add(&mut self, verdict: &Verdict) {
        self.answered += verdict.answered;
        self.owed += verdict.owed;
        self.lost += verdict.lost;
        self.doubled += verdict.doubled;
        self.out_of_order += verdict.out_of_order;
        self.differing += verdict.differing;
    }

    pub(crate) fn slowest_recovery(&self) -> Duration {
        self.recoveries.iter().copied().max().unwrap_or_default()
    }

    /// For programs.
    pub(crate) fn report(&self) -> Value {
        let kinds = KINDS.iter().filter_map(|(kind, _, name)| {
            let OfKind { rounds, struck, slowest } = self.kinds.get(kind)?;
            let slowest = millis(*slowest);
            Some(json!({ "fault": name, "rounds": rounds, "struck": struck, "slowest_recovery_ms": slowest }))
        });
        let not_run = self.not_run.iter().map(|(kind, why)| json!({ "fault": kind.name(), "why": why }));
        let slowest_adapter = self.adapter_recoveries.iter().copied().max().unwrap_or_default();
        json!({
            "rounds": self.rounds,
            "kills": self.kills,
            "power_cuts": self.power_cuts,
            "answered": self.answered,
            "deliveries": self.owed,
            "documents_read_back": self.papers,
            "lost": self.lost,
            "doubled": self.doubled,
            "out_of_order": self.out_of_order,
            "differing": self.differing,
            "fscks": self.fscks,
            "spools_tidied": self.spools_tidied,
            "restores": self.restores,
            "brought_back": self.brought_back,
            "gateway_starts": self.recoveries.len(),
            "slowest_recovery_ms": millis(self.slowest_recovery()),
            "median_recovery_ms": millis(median(&self.recoveries)),
            "adapter_starts": self.adapter_recoveries.len(),
            "slowest_adapter_recovery_ms": millis(slowest_adapter),
            "events_before_the_first_round": self.base_events,
            "lines": self.lines,
            "faults": kinds.collect::<Value>(),
            "not_run": not_run.collect::<Value>(),
            "seed": self.seed,
            "commit": self.commit,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "build": if cfg!(debug_assertions) { "debug" } else { "release" },
            "took_seconds": self.took.as_secs(),
        })
    }

    /// For people, in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table =
            String::from("| fault | rounds | struck | slowest start of the gateway, ms |\n|---|---:|---:|---:|\n");
        for (kind, _, name) in KINDS {
            if let Some(OfKind { rounds, struck, slowest }) = self.kinds.get(&kind) {
                let slowest = if slowest.is_zero() { String::new() } else { millis(*slowest).to_string() };
                let _ = writeln!(table, "| {name} | {rounds} | {struck} | {slowest} |");
            } else if let Some(why) = self.not_run.get(&kind) {
                let _ = writeln!(table, "| {name} | not run: {why} | | |");
            }
        }
        let Self { rounds, kills, power_cuts, restores, brought_back, answered, owed, .. } = self;
        let Self { lost, doubled, out_of_order, spools_tidied, fscks, .. } = self;
        let slowest = millis(self.slowest_recovery());
        let _ = writeln!(
            table,
            "\n{rounds} rounds, {kills} kills, {power_cuts} power cuts, {restores} restores after which {brought_back} events were \
             sent again, {spools_tidied} spools tidied up, {fscks} checks by fsck; {answered} requests answered, {owed} deliveries owed: \
             **{lost} lost, {doubled} doubled, {out_of_order} out of order**; slowest start of the gateway {slowest} ms."
        );
        table
    }
}

fn median(all: &[Duration]) -> Duration {
    let mut all = all.to_vec();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
