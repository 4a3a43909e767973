//! What a flood costs the others: parties that each send at their share, without and with one that sends ten times its own.
//!
//! Everybody sends by the clock and not when the last answer came, so a slow answer does not slow its caller down. The share is
//! what the gateway is told to give each party (`limits.party_per_second`). The flood has a connection, a system and a thread
//! of its own, so that what is measured is the gateway and not who of the callers gets to run. The two kinds of run follow one
//! another, each against a fresh gateway, and ratios are taken within such a pair.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lgsp_adapters::link::Link;
use lgsp_proto::{Reason, Refusal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::callers::Latency;
use crate::requests::{self, Requests};
use crate::servers::{Kind, Server};
use crate::world::{AUTHORITY, SENDER, World};

/// Parties that keep to their share.
pub(crate) const OTHERS: usize = 12;

/// The share of each party, a second.
pub(crate) const SHARE: u32 = 100;

/// How many times its share the flood sends.
pub(crate) const TIMES: u32 = 10;

/// Calls of the flood without an answer; it does not wait for them, but its own memory is not what is measured either.
const FLOOD_OPEN: usize = 4096;

/// How long each run takes.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// One round: the same without and with the flood.
pub(crate) struct Round {
    pub(crate) alone: Latency,
    pub(crate) flooded: Latency,
    /// What became of the flood's calls, per second.
    pub(crate) flood: Flood,
    /// Calls of the others that were refused with `QUOTA_EXCEEDED` in both runs: it happens when the machine stands still for
    /// longer than the burst that a party is allowed, and says that the round is worth nothing.
    pub(crate) others_refused: usize,
}

/// What became of the flood's calls, per second of the time that counts.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flood {
    pub(crate) sent: f64,
    pub(crate) admitted: f64,
    pub(crate) refused: f64,
}

/// What is sent in every run.
struct Prepared {
    others: Vec<Requests>,
    flood: Requests,
}

/// Measures it, round by round.
///
/// # Errors
/// A gateway does not start, or refuses somebody who keeps to its share.
pub(crate) async fn measure(extent: &Extent, world: &World) -> anyhow::Result<Vec<Round>> {
    let seconds = (extent.warm_up + extent.time).as_secs_f64();
    let each = (seconds * f64::from(SHARE)).ceil() as usize + 1;
    let communes = world.communes.iter().take(OTHERS);
    let others = communes.map(|(party, _)| requests::prepare_for(each, world, AUTHORITY, party));
    let prepared = Arc::new(Prepared {
        others: others.collect::<anyhow::Result<_>>()?,
        flood: requests::prepare(each * TIMES as usize, world)?,
    });
    let mut rounds = Vec::new();
    for number in 1..=extent.rounds {
        eprintln!("flood: round {number} of {}", extent.rounds);
        // Every other round the other way round, so that what changes slowly touches both alike.
        let (alone, flooded);
        if number % 2 == 1 {
            alone = run(extent, world, &prepared, false).await?;
            flooded = run(extent, world, &prepared, true).await?;
        } else {
            flooded = run(extent, world, &prepared, true).await?;
            alone = run(extent, world, &prepared, false).await?;
        }
        rounds.push(Round {
            alone: alone.0,
            flooded: flooded.0,
            flood: flooded.1,
            others_refused: alone.2 + flooded.2,
        });
    }
    Ok(rounds)
}

async fn run(
    extent: &Extent,
    world: &World,
    prepared: &Arc<Prepared>,
    flooded: bool,
) -> anyhow::Result<(Latency, Flood, usize)> {
    let limits = format!("party_per_second = {SHARE}\n");
    let server = Server::start(Kind::Gateway, world, &limits)?;
    let links: Vec<Link> = (0..OTHERS).map(|_| world.link(AUTHORITY, &server.bus)).collect::<Result<_, _>>()?;
    // Connections are made by a call before the clock starts.
    for (link, requests) in links.iter().zip(&prepared.others) {
        let request = requests.first().context("something to send")?.clone();
        link.dossiers().submit(link.request(request, None)).await.context("the first call is refused")?;
    }
    let begin = Instant::now() + Duration::from_millis(100);
    let (from, to) = (begin + extent.warm_up, begin + extent.warm_up + extent.time);
    let flood = flooded.then(|| {
        let (link, prepared) = (world.link(SENDER, &server.bus), prepared.clone());
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let flooding = runtime.context("no runtime").and_then(|runtime| {
                let link = link?;
                Ok(runtime.block_on(flood(link, prepared, begin, from, to)))
            });
            let _ = tell.send(flooding);
        });
        told
    });
    let mut callers = JoinSet::new();
    for (number, link) in links.into_iter().enumerate() {
        callers.spawn(keep_to_share(link, prepared.others[number].clone(), number, begin, from, to));
    }
    let (mut times, mut refused) = (Vec::new(), 0);
    while let Some(caller) = callers.join_next().await {
        let (more, turned_away) = caller??;
        times.extend(more);
        refused += turned_away;
    }
    let latency = Latency::of(times).context("nothing came through in the time that counts")?;
    let flood = match flood {
        Some(told) => told.await.context("the flood panicked")??,
        None => Flood::default(),
    };
    Ok((latency, flood, refused))
}

/// Sends at the share's rate, whatever the answers do; gives the times of what was begun while it counts, and how many were
/// refused.
async fn keep_to_share(
    link: Link,
    requests: Requests,
    number: usize,
    begin: Instant,
    from: Instant,
    to: Instant,
) -> anyhow::Result<(Vec<Duration>, usize)> {
    let period = Duration::from_secs(1) / SHARE;
    // Not all at the same moment.
    let first = begin + period.mul_f64(number as f64 / OTHERS as f64);
    let mut calls = JoinSet::new();
    for (sent, request) in requests.iter().skip(1).enumerate() {
        let due = first + period * u32::try_from(sent).context("few enough")?;
        if due >= to {
            break;
        }
        sleep_until(due).await;
        let (link, request) = (link.clone(), request.clone());
        calls.spawn(async move {
            let begun = Instant::now();
            let answer = link.dossiers().submit(link.request(request, None)).await;
            let took = begun.elapsed();
            if let Err(status) = &answer
                && Refusal::from_status(status).is_some_and(|refusal| refusal.reason() == Reason::QuotaExceeded)
            {
                return Ok(None);
            }
            ensure!(!answer.context("a dossier was not admitted")?.into_inner().repeated, "a dossier was there before");
            Ok(Some((begun, took)))
        });
    }
    let (mut times, mut refused) = (Vec::new(), 0);
    while let Some(call) = calls.join_next().await {
        match call?? {
            Some((begun, took)) if begun >= from => times.push(took),
            Some(_) => {}
            None => refused += 1,
        }
    }
    Ok((times, refused))
}

/// Sends ten times the share, by the clock.
async fn flood(link: Link, prepared: Arc<Prepared>, begin: Instant, from: Instant, to: Instant) -> Flood {
    let counted: Arc<[AtomicU64; 3]> = Arc::default();
    let open = Arc::new(AtomicUsize::new(0));
    let period = Duration::from_secs(1) / (SHARE * TIMES);
    let mut calls = JoinSet::new();
    for (number, request) in (0..).zip(prepared.flood.iter()) {
        let due = begin + period * number;
        if due >= to {
            break;
        }
        // The clock of the runtime ticks in milliseconds: what is due within one goes together.
        if due > Instant::now() {
            sleep_until(due).await;
        }
        while calls.try_join_next().is_some() {}
        if open.load(Ordering::Relaxed) >= FLOOD_OPEN {
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (link, request, counted, open) = (link.clone(), request.clone(), counted.clone(), open.clone());
        calls.spawn(async move {
            let counts = Instant::now() >= from;
            let answer = link.dossiers().submit(link.request(request, None)).await;
            let reason = answer.as_ref().err().and_then(Refusal::from_status).map(|refusal| refusal.reason());
            open.fetch_sub(1, Ordering::Relaxed);
            if counts {
                counted[0].fetch_add(1, Ordering::Relaxed);
                match reason {
                    None if answer.is_ok() => _ = counted[1].fetch_add(1, Ordering::Relaxed),
                    Some(Reason::QuotaExceeded) => _ = counted[2].fetch_add(1, Ordering::Relaxed),
                    _ => {}
                }
            }
        });
    }
    // Not waited for to the last one: the gateway goes when the others are through.
    let seconds = (to - from).as_secs_f64();
    let [sent, admitted, refused] = [0, 1, 2].map(|at| counted[at].load(Ordering::Relaxed) as f64 / seconds);
    Flood { sent, admitted, refused }
}
