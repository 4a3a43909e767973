//! The whole bus under one seed: the real engine, checks, records and journal, with simulated agencies, lines and disks.
//!
//! The same seed is the same run. `cargo test` runs a fixed number of them; `tests/simulation/run --seeds N` runs as many as
//! wanted, and `--seed S` one of them again.
//!
//! | module | owns |
//! |---|---|
//! | `world` | what there is, and what happens in it, step by step |
//! | `watch` | what must not have happened |
//! | `node` | the gateway: started, killed, started again |
//! | `machine`, `spool`, `request` | the agencies' side |
//! | `keys` | how keys come onto the bus and out of force |
//! | `scenario` | what runs have found, told step by step |
//! | `house`, `draw` | what all runs share; chance |
#![cfg(feature = "test-util")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod draw;
mod house;
mod keys;
mod machine;
mod node;
#[path = "../../../tests/support/output.rs"]
mod output;
mod request;
mod scenario;
mod spool;
mod watch;
mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use crate::machine::lock;
use crate::watch::{Tally, Violation};
use crate::world::World;

/// Seeds of a plain `cargo test`.
const SEEDS: u64 = 32;

/// Steps of one run, before everything settles.
const STEPS: u64 = 450;

/// How many of the last lines are shown of a run that went wrong; the file has them all.
const SHOWN: usize = 40;

/// What a run came to.
struct Run {
    log: Vec<String>,
    violation: Option<Violation>,
    tally: Tally,
}

fn run(seed: u64, steps: u64) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut world = World::new(seed);
    // An engine that panics has broken something, and its seed is wanted as much.
    if catch_unwind(AssertUnwindSafe(|| runtime.block_on(world.run(steps)))).is_err() {
        lock(&world.watch).violated("SIM-9", "a panic, see above");
    }
    let watch = std::mem::take(&mut *lock(&world.watch));
    output::said("simulation", watch.log.join("\n"));
    Run { log: watch.log, violation: watch.violation, tally: watch.tally }
}

/// A number from the environment, which is how `tests/simulation/run` speaks to us.
fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[test]
fn no_seed_breaks_an_invariant() {
    let one = setting("LGSP_SIMULATION_SEED");
    let from = one.or_else(|| setting("LGSP_SIMULATION_FROM")).unwrap_or(1);
    let seeds = one.map(|_| 1).or_else(|| setting("LGSP_SIMULATION_SEEDS")).unwrap_or(SEEDS);
    let steps = setting("LGSP_SIMULATION_STEPS").unwrap_or(STEPS);
    let begun = Instant::now();
    let mut total = Tally::default();
    for seed in from..from + seeds {
        let run = run(seed, steps);
        total.add(&run.tally);
        if one.is_some() || run.violation.is_some() {
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-seed-{seed}.log"));
            std::fs::write(&file, run.log.join("\n")).unwrap();
            println!("events of seed {seed}: {}", file.display());
        }
        if let Some(Violation { id, what }) = run.violation {
            println!("{}", run.log[run.log.len().saturating_sub(SHOWN)..].join("\n"));
            panic!("seed {seed} broke {id}: {what}\nagain: tests/simulation/run --seed {seed}");
        }
        if (seed - from + 1).is_multiple_of(100) {
            println!("{} seeds, {} s: {total:?}", seed - from + 1, begun.elapsed().as_secs());
        }
    }
    println!("{seeds} seeds from {from}, {} ms: {total:?}", begun.elapsed().as_millis());
    // A run in which nothing happens breaks nothing either.
    if seeds >= SEEDS {
        assert!(total.is_rich(), "too little happened: {total:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [7, 1_001] {
        let (first, second) = (run(seed, STEPS), run(seed, STEPS));
        let differs = first.log.iter().zip(&second.log).position(|(first, second)| first != second);
        if let Some(at) = differs {
            panic!("seed {seed} differs at line {at}:\n{}\n{}", first.log[at], second.log[at]);
        }
        assert_eq!(first.log.len(), second.log.len());
    }
}
