//! The running bus: one gateway, for each system an adapter with its agency behind it, and the national systems that some of the adapters
//! reach; every one a process.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{HeaderMap, Method, header};
use jiff::civil::DateTime;
use lgsp_domain::registry::Registry;
use serde::Deserialize;
use tokio::time::Instant;

use super::agency::{Answer, Order, Tamper};
use super::folder::Folder;
use super::national::{Compared, Counterpart, Filed, Made, Which};
use crate::staging::http::Client;
use crate::staging::processes::Process;

/// How long the bus may take to come to rest after a tick.
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);
/// How soon it is looked at again: at first, and at most. Looking costs those who are looked at, and each look waits longer than the last.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(3), Duration::from_millis(25));

/// While an agency is waited for, how often it is looked whether somebody has ended.
const LOOK_FOR_GONE: Duration = Duration::from_millis(500);

/// All processes of the demo.
pub(super) struct Bus {
    gateway: Process,
    /// Where the gateway takes calls.
    pub(super) address: String,
    control: Client,
    national: Vec<Counterpart>,
    systems: Vec<System>,
}

struct System {
    name: String,
    adapter: Process,
    rest: Client,
    /// Where `rest` is.
    address: String,
    agency: Process,
}

/// What the gateway says about itself.
#[derive(Deserialize)]
struct Status {
    store: Store,
}

/// Its figures, as far as they are looked at.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Store {
    pub(super) dossiers: u64,
    pub(super) events: u64,
    pub(super) deliveries_waiting: u64,
    pub(super) deliveries_taken_over: u64,
}

/// What an adapter says about itself.
#[derive(Deserialize)]
struct AdapterStatus {
    outgoing: Outgoing,
    incoming: Incoming,
}

#[derive(Deserialize)]
struct Outgoing {
    waiting: u64,
}

#[derive(Deserialize)]
struct Incoming {
    not_handed_over: u64,
}

impl Bus {
    /// Starts everything, the business clock standing at `clock`. The agency of the system `tampered` mistreats a delivery.
    ///
    /// # Errors
    /// A process does not start; what was started is stopped.
    pub(super) async fn start(
        folder: &Folder,
        registry: &Registry,
        clock: DateTime,
        made: Made,
        tampered: Option<(&str, Tamper)>,
    ) -> anyhow::Result<Self> {
        folder.configure_gateway(clock)?;
        let (gateway, ready) = Process::node("gateway", "gateway", &folder.gateway_config(), &folder.logs()).await?;
        let (address, control) = (ready.at("bus")?.to_owned(), Client::new(ready.at("local")?));
        let mut national = Vec::new();
        for which in Which::ALL {
            national.push(Counterpart::start(which, made, folder, registry).await?);
        }
        let mut systems = Vec::new();
        for system in registry.systems() {
            let tamper = tampered.filter(|(name, _)| *name == system.name).map(|(_, tamper)| tamper);
            let reached = national.iter().find(|one: &&Counterpart| one.system == system.name);
            systems.push(System::start(folder, registry, system, &address, reached, tamper).await?);
        }
        Ok(Self { gateway, address, control, national, systems })
    }

    /// How many systems there are.
    pub(super) fn systems(&self) -> u64 {
        self.systems.len() as u64
    }

    /// Moves the business clock on to `tick`, has everybody do what is due by then, and waits until all of it has arrived
    /// wherever it must. Returns how many steps are due and cannot be done, because what comes before them has not come.
    ///
    /// # Errors
    /// Somebody failed, or the bus does not come to rest; says who and what.
    pub(super) async fn tick(&mut self, tick: DateTime, mut seen: impl FnMut(Store)) -> anyhow::Result<u64> {
        let played = self.play(tick, &mut seen).await;
        // Whoever has ended explains what others say.
        played.map_err(|error| match self.gone() {
            Some(gone) if !format!("{error:#}").contains(&gone) => error.context(gone),
            _ => error,
        })
    }

    async fn play(&mut self, tick: DateTime, seen: &mut impl FnMut(Store)) -> anyhow::Result<u64> {
        self.move_clock(tick).await?;
        for system in &mut self.systems {
            system.agency.order(&Order::Act { until: tick }).await?;
        }
        let mut stuck = 0;
        for at in 0..self.systems.len() {
            let answer = loop {
                let answer = tokio::time::timeout(LOOK_FOR_GONE, self.systems[at].agency.answer()).await;
                match (answer, self.gone()) {
                    (Ok(answer), _) => break answer?,
                    // It may be what an agency waits for.
                    (Err(_), Some(gone)) => bail!("{gone}"),
                    (Err(_), None) => {}
                }
            };
            let name = &self.systems[at].name;
            match answer {
                Answer::Done { stuck: here } => stuck += here,
                Answer::Failed { why } => bail!("{name} at {tick}: {why}"),
                Answer::Listening { .. } => bail!("{name} answers something else than it was asked"),
            }
        }
        self.settle(seen).await.with_context(|| format!("after {tick}"))?;
        Ok(stuck)
    }

    /// A process that has ended, which nobody asked for, and what it had to say.
    fn gone(&mut self) -> Option<String> {
        let of_systems = self.systems.iter_mut().flat_map(|system| [&mut system.adapter, &mut system.agency]);
        let national = self.national.iter_mut().map(|one| &mut one.process);
        std::iter::once(&mut self.gateway).chain(national).chain(of_systems).find_map(Process::has_ended)
    }

    /// Has both sides compared once everything has been told: what the portal's adapter finds, and the portal's own book.
    ///
    /// # Errors
    /// A side does not answer.
    pub(super) async fn portal(&self, folder: &Folder) -> anyhow::Result<(Compared, Vec<Filed>)> {
        let portal = self.national.iter().find(|one| one.is(Which::Portal)).context("there is no portal")?;
        let adapter = self.systems.iter().find(|system| system.name == portal.system);
        portal.both_sides(folder, &adapter.context("nobody reaches the portal")?.address).await
    }

    async fn move_clock(&self, to: DateTime) -> anyhow::Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        let body = serde_json::json!({ "now": format!("{to}+07:00") }).to_string();
        let (status, answer) = self.control.send(Method::PUT, "/business-clock", headers, body).await?;
        if !status.is_success() {
            bail!("the business clock cannot be moved: {status} {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }

    /// Waits for a level, not for an edge: nothing waits in the gateway, and nothing in any adapter. The agencies have said
    /// before that they have the outcome of all they sent, and do nothing unasked; so what rests stays at rest.
    async fn settle(&mut self, seen: &mut impl FnMut(Store)) -> anyhow::Result<()> {
        let until = Instant::now() + SETTLE_PATIENCE;
        let (mut wait, most) = LOOK_AGAIN;
        loop {
            let Status { store } = self.control.get("/status").await?;
            seen(store);
            let busy = match store.deliveries_waiting + store.deliveries_taken_over {
                0 => self.busy_adapter().await?,
                count => Some(format!("{count} deliveries are not handed over")),
            };
            let Some(busy) = busy else { return Ok(()) };
            if let Some(gone) = self.gone() {
                bail!("{gone}");
            }
            if Instant::now() > until {
                bail!("the bus does not come to rest: {busy}");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 3 / 2).min(most);
        }
    }

    async fn busy_adapter(&self) -> anyhow::Result<Option<String>> {
        for System { name, rest, .. } in &self.systems {
            let AdapterStatus { outgoing, incoming } = rest.get("/status").await?;
            if outgoing.waiting + incoming.not_handed_over > 0 {
                let (out, into) = (outgoing.waiting, incoming.not_handed_over);
                return Ok(Some(format!("{out} requests and {into} deliveries wait in the adapter of {name}")));
            }
        }
        Ok(None)
    }

    /// The most memory that each process has had so far.
    pub(super) fn memory(&self) -> BTreeMap<String, u64> {
        let of_systems = self.systems.iter().flat_map(|system| [&system.adapter, &system.agency]);
        let national = self.national.iter().map(|one| &one.process);
        let all = std::iter::once(&self.gateway).chain(national).chain(of_systems);
        all.filter_map(|process| Some((process.name.clone(), process.peak_memory()?))).collect()
    }

    /// Stops everything in order: agencies, adapters, the national systems, the gateway. Answers what the national systems complain of.
    ///
    /// # Errors
    /// Something did not stop as it should. All of it has stopped.
    pub(super) async fn stop(self) -> anyhow::Result<Vec<String>> {
        let (mut agencies, mut adapters) = (Vec::new(), Vec::new());
        for system in self.systems {
            agencies.push(system.agency);
            adapters.push(system.adapter);
        }
        let mut ended = Ok(());
        for mut group in [agencies, adapters] {
            group.iter_mut().for_each(Process::ask_to_stop);
            for process in group {
                ended = ended.and(process.stopped().await);
            }
        }
        let mut complaints = Vec::new();
        for counterpart in self.national {
            match counterpart.stop().await {
                Ok(found) => complaints.extend(found),
                Err(error) => ended = ended.and(Err(error)),
            }
        }
        ended.and(self.gateway.stopped().await).map(|()| complaints)
    }
}

impl System {
    async fn start(
        folder: &Folder,
        registry: &Registry,
        system: &lgsp_domain::registry::System,
        gateway: &str,
        reached: Option<&Counterpart>,
        tamper: Option<Tamper>,
    ) -> anyhow::Result<Self> {
        let is_told = reached.is_none_or(Counterpart::leaves_webhooks);
        let name = system.name.clone();
        let mut arguments = vec![
            "demo-agency".into(),
            "--plan".into(),
            folder.plan(&name).into_os_string(),
            "--books".into(),
            folder.books(&name).into_os_string(),
        ];
        if !is_told {
            arguments.push("--asks".into());
        }
        if let Some(tamper) = tamper {
            arguments.extend(["--tamper".into(), tamper.word().into()]);
        }
        let mut agency = Process::start(&format!("agency-{name}"), arguments, &folder.logs())?;
        let Answer::Listening { webhooks } = agency.ready().await? else {
            bail!("the agency of {name} does not say where it takes webhooks");
        };
        let section = reached.map(|one| one.section(folder)).transpose()?.unwrap_or_default();
        folder.configure_adapter(system, registry, gateway, is_told.then_some(&webhooks), &section)?;
        let (log, config) = (format!("adapter-{name}"), folder.adapter_config(&name));
        let (adapter, ready) = Process::node(&log, "adapter", &config, &folder.logs()).await?;
        let rest = ready.at("rest")?;
        agency.order(&Order::Connect { adapter: rest.to_owned() }).await?;
        Ok(Self { name, rest: Client::new(rest), address: rest.to_owned(), adapter, agency })
    }
}
