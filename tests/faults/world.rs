//! The processes, the disks they write to and the lines between them, all real; and everything that can be done to them.
//!
//! Everybody keeps one address for good, on the loopback network and away from the port range that outgoing connections
//! use, so that whoever is started again is where the others look for it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail, ensure};
use http::Method;
use lgsp_adapters::link::{Address, Link, Timings};
use lgsp_certs::{CertificateAuthority, TlsFiles, TrustDomain, server_name};
use serde_json::Value;
use tokio::process::{Child, ChildStdin, Command};

use crate::agency::{Agencies, NOW, WEBHOOK_TIMEOUT};
use crate::client::{Caller, TOKEN};
use crate::disk::{Disk, run};
use crate::output;
use crate::wire::{self, Wire};

const LGSP: &str = env!("CARGO_BIN_EXE_lgsp");
const REGISTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/registry/hue");

/// The port where whoever has a token knocks.
const ENROL: u16 = 7444;

/// The bus's name in the registry's home; `.test` is nobody's.
const NAME: &str = "lgsp.hue.test";

/// How long a certificate lives that the gateway issues. It counts as issued some minutes ago, so an adapter renews at each of its starts;
/// one that goes on running does after two thirds of this.
const LEAF_LIFE_S: u32 = 120;

/// A gateway lets a system renew ten times at once and then every ten minutes; after so many starts of one adapter it is started
/// again itself, since it keeps no books of that.
const STARTS_OF_ONE: u32 = 5;

/// Whose the operators' commands are.
const OPERATOR: &str = "van-hanh";
const OPERATOR_PARTY: &str = "H57.VH";

const DAYS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Nothing takes longer, on a machine that has other things to do as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a state that nobody announces is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The systems that take part, and for whom each speaks.
const SYSTEMS: [(&str, &[&str]); 4] = [
    ("mot-cua-hue", &["H57.TT", "H57.101", "H57.102", "H57.103", "H57.110"]),
    ("mot-cua-phong", &["H57.131", "H57.132", "H57.133"]),
    ("cong-an", &["H57.CA.101", "H57.CA.102", "H57.CA.103", "H57.CA.131", "H57.CA.132"]),
    // It is told everything.
    ("cong-dich-vu", &["H57.CDV"]),
];

/// How many adapters there are.
pub(crate) const ADAPTERS: usize = SYSTEMS.len();

/// The one that is told everything.
pub(crate) const PORTAL: usize = ADAPTERS - 1;

/// What stays free of the gateway's disk where that is watched, and of an adapter's.
const GATEWAY_KEEPS_FREE_MIB: u64 = 64;
const ADAPTER_KEEPS_FREE_MIB: u64 = 16;

/// How long the portal's adapter, from start to start, keeps what is over, so that its spool is tidied up on the way; and after how many records.
const PORTAL_KEEPS: Duration = Duration::from_secs(2);
const PORTAL_TIDIES_AFTER: u64 = 64;

/// How long a start may take until it tidies up, on a busy machine: what it is to keep is reckoned from its begin.
const START_AT_MOST: Duration = Duration::from_secs(10);

/// A process of ours: the gateway, or the adapter of that number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Who {
    Gateway,
    Adapter(usize),
}

/// A world of its own for some rounds.
pub(crate) struct World {
    folder: PathBuf,
    ca: CertificateAuthority,
    network: [u8; 2],
    namespaces: bool,
    /// Whether everybody watches how full his disk is.
    watched: bool,
    /// The portal's adapter keeps all that was said since then, if a backup may not have it.
    keep_since: Option<Instant>,
    gateway: Node,
    adapters: Vec<Node>,
    lines: Vec<Wire>,
    pub(crate) agencies: Agencies,
    caller: Caller,
}

/// A process that may be running, and its disk.
struct Node {
    config: &'static str,
    role: &'static str,
    /// Where it says that it is ready.
    ready_at: (SocketAddr, &'static str),
    disk: Disk,
    running: Option<(Child, ChildStdin)>,
    /// How it ended before it was ready.
    ended: Option<ExitStatus>,
    /// How often it was started since the gateway was.
    starts: u32,
}

/// What the machine allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allows {
    /// File systems of our own.
    pub(crate) images: bool,
    /// Networks of our own.
    pub(crate) namespaces: bool,
}

/// How a start ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Started {
    /// Ready, after this long.
    Ready(Duration),
    /// It ended before.
    Ended(ExitStatus),
}

impl World {
    /// Makes folders, disks and certificates, and starts everything. `watched` says whether the disks are to be; `base` is the data
    /// of a demo that went before.
    pub(crate) async fn begin(
        folder: PathBuf,
        allows: Allows,
        watched: bool,
        base: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let Allows { images, namespaces } = allows;
        fs::create_dir_all(folder.join("pki"))?;
        let domain: TrustDomain = NAME.parse()?;
        let ca = CertificateAuthority::create(&folder.join("ca"), &domain, SystemTime::now())?;
        let id = std::process::id();
        let network = [64 + (id >> 8 & 63) as u8, (id & 255) as u8];
        let at = |last, port| SocketAddr::from((Ipv4Addr::new(127, network[0], network[1], last), port));
        let rest = |number: usize| match namespaces {
            true => SocketAddr::from((wire::adapter_end(number as u8), wire::REST)),
            false => at(10 + number as u8, 8480),
        };

        let systems = SYSTEMS.iter().enumerate();
        let systems = systems.map(|(number, (name, parties))| {
            ((*name).to_owned(), rest(number), parties.iter().map(|party| (*party).to_owned()).collect())
        });
        // In namespaces every wire has an address of its own, and nobody else is there.
        let listen = if namespaces { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let agencies = Agencies::open(listen, systems.collect()).await?;
        let node = |role, config: &'static str, ready_at, mib| {
            let disk = Disk::make(&folder, config.trim_end_matches(".toml"), mib, images)?;
            anyhow::Ok(Node { config, role, ready_at, disk, running: None, ended: None, starts: 0 })
        };
        let gateway = node("gateway", "gateway.toml", (at(1, 7480), "/readyz"), 1024)?;
        let mut adapters = Vec::new();
        let mut lines = Vec::new();
        for (number, (name, _)) in SYSTEMS.iter().enumerate() {
            let config: &'static str = match number {
                0 => "mot-cua-hue.toml",
                1 => "mot-cua-phong.toml",
                2 => "cong-an.toml",
                _ => "cong-dich-vu.toml",
            };
            debug_assert!(config.starts_with(name));
            adapters.push(node("adapter", config, (rest(number), "/healthz"), 192)?);
            lines.push(Wire::lay(number as u8, at(1, 7443), namespaces).await?);
        }
        let caller = Caller::new();
        let keep_since = None;
        let mut world =
            Self { folder, ca, network, namespaces, watched, keep_since, gateway, adapters, lines, agencies, caller };
        world.configure(base)?;
        world.start(Who::Gateway).await?;
        for adapter in 0..ADAPTERS {
            world.token(adapter).await?;
            let joined = world.join(adapter, None).await?;
            ensure!(joined.success(), "the adapter of {} cannot join: {joined}; see its log", world.system(adapter));
            world.start(Who::Adapter(adapter)).await?;
        }
        Ok(world)
    }

    fn at(&self, last: u8, port: u16) -> SocketAddr {
        (Ipv4Addr::new(127, self.network[0], self.network[1], last), port).into()
    }

    fn configure(&self, base: Option<&Path>) -> anyhow::Result<()> {
        let address = self.at(1, 7443);
        // By a proxy they come to the loopback address, by wires each to its own end.
        let mut names = vec![server_name(&address.ip().to_string())?, server_name("127.0.0.1")?];
        for number in 0..ADAPTERS {
            names.push(server_name(&wire::gateway_end(number as u8).to_string())?);
        }
        self.ca.issue_server(&names, DAYS, SystemTime::now())?.write_to(&self.folder.join("pki"), "gateway")?;
        if let Some(base) = base {
            for part in ["data", "documents", "node.key"] {
                run("cp", ["-a"], &[base.join(part), self.gateway.disk.at().join(part)])?;
            }
        }
        let (local, keeps_free) = (self.gateway.ready_at.0, self.keeps_free(Who::Gateway));
        let enrol = self.at(1, ENROL);
        let listen = if self.namespaces { SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())) } else { address };
        fs::write(self.folder.join("token"), TOKEN)?;
        fs::write(
            self.folder.join("gateway.toml"),
            format!(
                "name = \"{NAME}\"\n[listen]\nbus = \"{listen}\"\nlocal = \"{local}\"\nenrol = \"{enrol}\"\n\
                 [ca]\ndir = \"ca\"\nleaf_life_s = {LEAF_LIFE_S}\nbus_url = \"https://{address}\"\n\
                 [tls]\ncertificate = \"pki/gateway.pem\"\nkey = \"pki/gateway.key\"\nclient_bundle = \"ca/root.pem\"\n\
                 [store]\ndir = \"gateway/data\"\nmin_free_bytes = {keeps_free}\nnode_key = \"gateway/node.key\"\n\
                 [documents]\ndir = \"gateway/documents\"\n\
                 [business_clock]\nkind = \"replay\"\nstart = \"{NOW}\"\n\
                 [limits]\nlease_s = 5\ndecline_pause_s = 1\n[registry]\nfirst = {REGISTRY:?}\n"
            ),
        )?;
        let adapters = self.adapters.iter().zip(&self.lines);
        for (number, ((system, parties), (node, line))) in SYSTEMS.iter().zip(adapters).enumerate() {
            let seen_at = if self.namespaces { wire::agency_end(number as u8) } else { Ipv4Addr::LOCALHOST };
            let rest = if self.namespaces { (Ipv4Addr::LOCALHOST, wire::REST).into() } else { node.ready_at.0 };
            let (near, hook) = (line.near(), self.agencies.hook(system, seen_at));
            let timeout = WEBHOOK_TIMEOUT.as_millis();
            let keeps_free = self.keeps_free(Who::Adapter(number)) >> 20;
            // Impatient, so that what comes back is noticed soon.
            let text = format!(
                "gateway = \"https://{near}\"\nparties = {parties:?}\n\
                 [tls]\nidentity = \"{system}/identity\"\npoll_ms = 100\ntrust_every_seconds = 2\n\
                 [timings]\nconnect_timeout_ms = 1000\ncall_timeout_ms = 3000\n\
                 keep_alive_interval_ms = 1000\nkeep_alive_timeout_ms = 1000\n\
                 [spool]\nfolder = \"{system}/spool\"\nmin_free_mib = {keeps_free}\n[rest]\nlisten = \"{rest}\"\ntoken_file = \"token\"\n\
                 [webhook]\nurl = \"{hook}\"\ntimeout_ms = {timeout}\n\
                 [exchange]\nbackoff_first_ms = 20\nbackoff_limit_ms = 200\n"
            );
            fs::write(self.folder.join(node.config), text)?;
        }
        let TlsFiles { certificate, key, bundle } = self.certificate(OPERATOR)?;
        let profile = format!(
            "gateway = \"https://{address}\"\ncertificate = {certificate:?}\nkey = {key:?}\nbundle = {bundle:?}\n\
             party = \"{OPERATOR_PARTY}\"\nactor = \"van.hanh.1\"\n"
        );
        fs::write(self.folder.join("operator.toml"), profile)?;
        Ok(())
    }

    /// A fresh token for the system behind an adapter, in the file that [`World::join`] reads.
    pub(crate) async fn token(&self, adapter: usize) -> anyhow::Result<()> {
        let system = self.system(adapter);
        let told = self.told(&["certs", "token", "--system", system, "--profile", "operator.toml"]).await?;
        let token = told["token"].as_str().context("a token")?;
        output::tokens_in("faults", token);
        fs::write(self.token_file(adapter), token)?;
        // A first configuration is written anew, so that this can be died at as well. Nobody reads it: ours is another one.
        let first = self.disk(Who::Adapter(adapter)).at().join("adapter.toml");
        if first.exists() {
            fs::remove_file(first)?;
        }
        Ok(())
    }

    /// Joins with the last token for this system, at a desk that has a line of its own; says how that ended.
    pub(crate) async fn join(&self, adapter: usize, fault: Option<&str>) -> anyhow::Result<ExitStatus> {
        let system = self.system(adapter);
        let log = self.folder.join(self.adapters[adapter].config).with_extension("log");
        let mut command = clean_command(&self.folder, &[]);
        command.args(["adapter", "join"]).arg(self.token_file(adapter)).args(["--dir", system]);
        if let Some(fault) = fault {
            command.env("LGSP_FAULT_AT", fault);
        }
        let log = File::options().create(true).append(true).open(log)?;
        Ok(tokio::time::timeout(PATIENCE, command.stdout(Stdio::null()).stderr(log).status()).await??)
    }

    fn token_file(&self, adapter: usize) -> PathBuf {
        self.folder.join(self.system(adapter)).with_extension("token")
    }

    /// Whether the gateway would soon put a renewal off.
    pub(crate) fn has_renewed_enough(&self) -> bool {
        self.adapters.iter().any(|adapter| adapter.starts >= STARTS_OF_ONE)
    }

    /// How often an adapter has renewed its certificate since it was started.
    pub(crate) async fn renewals(&self, adapter: usize) -> u64 {
        let status = self.caller.get(self.adapters[adapter].ready_at.0, "/status").await;
        status.ok().and_then(|status| status["certificate"]["renewals"].as_u64()).unwrap_or_default()
    }

    /// Has the gateway's business clock say this, until it is started again.
    pub(crate) async fn set_clock(&self, now: &str) -> anyhow::Result<()> {
        let (local, body) = (self.gateway.ready_at.0, format!("{{\"now\":\"{now}\"}}"));
        let headers = [("content-type", "application/json")];
        let answer = self.caller.send(local, Method::PUT, "/business-clock", &headers, body.into()).await?;
        ensure!(answer.0.is_success(), "the clock cannot be set: {}", answer.0);
        Ok(())
    }

    /// Has the gateway archive what was closed long ago by its clock, which the first time is most of the demo; how the command ended.
    pub(crate) async fn archive(&self) -> anyhow::Result<ExitStatus> {
        let words = ["archive", "run", "--after-days", "365", "--profile", "operator.toml", "--json"];
        let mut command = clean_command(&self.folder, &[]);
        command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(tokio::time::timeout(5 * PATIENCE, command.status()).await.context("an archive run without end")??)
    }

    fn certificate(&self, system: &str) -> anyhow::Result<TlsFiles> {
        let folder = self.folder.join("pki");
        let file = |ending| folder.join(format!("{system}.{ending}"));
        let (certificate, key) = (file("pem"), file("key"));
        if !certificate.exists() {
            self.ca.issue_system(&system.parse()?, DAYS, SystemTime::now())?.write_to(&folder, system)?;
        }
        Ok(TlsFiles { certificate, key, bundle: self.folder.join("ca/root.pem") })
    }

    /// A second connection of the portal's, past its adapter.
    pub(crate) fn portal_link(&self) -> anyhow::Result<Link> {
        let tls = self.certificate(SYSTEMS[PORTAL].0)?;
        let gateway = format!("https://{}", self.at(1, 7443)).parse()?;
        Ok(Link::new(&Address { gateway, server_name: None, tls, timings: Timings::default() })?)
    }

    /// What somebody leaves free of his disk, in bytes; 0 where nobody watches.
    pub(crate) fn keeps_free(&self, who: Who) -> u64 {
        match (self.watched, who) {
            (false, _) => 0,
            (true, Who::Gateway) => GATEWAY_KEEPS_FREE_MIB << 20,
            (true, Who::Adapter(_)) => ADAPTER_KEEPS_FREE_MIB << 20,
        }
    }

    /// From its next start on the portal's adapter keeps what was said since then; soon it forgets again, if that is `None`.
    pub(crate) fn keep_since(&mut self, since: Option<Instant>) {
        self.keep_since = since;
    }

    /// The folder of this world; what everybody logged is in it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How often somebody has logged these words.
    pub(crate) fn logged(&self, who: Who, words: &str) -> anyhow::Result<usize> {
        let log = fs::read(self.folder.join(self.node(who).config).with_extension("log"))?;
        Ok(String::from_utf8_lossy(&log).matches(words).count())
    }

    /// The gateway's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.gateway.disk.at().join("data")
    }

    /// The gateway's key.
    pub(crate) fn node_key(&self) -> PathBuf {
        self.gateway.disk.at().join("node.key")
    }

    /// What a disk takes with it that cannot be read any more; its key as well, if the backup has that.
    pub(crate) fn lose_the_gateways_folders(&self, with_key: bool) -> anyhow::Result<()> {
        ensure!(self.gateway.running.is_none(), "the gateway runs");
        fs::remove_dir_all(self.data())?;
        fs::remove_dir_all(self.gateway.disk.at().join("documents"))?;
        if with_key {
            fs::remove_file(self.node_key())?;
        }
        Ok(())
    }

    pub(crate) fn everybody(&self) -> impl Iterator<Item = Who> + use<> {
        std::iter::once(Who::Gateway).chain((0..ADAPTERS).map(Who::Adapter))
    }

    /// The name of the system behind an adapter.
    pub(crate) fn system(&self, adapter: usize) -> &'static str {
        SYSTEMS[adapter].0
    }

    pub(crate) fn disk(&self, who: Who) -> &Disk {
        &self.node(who).disk
    }

    pub(crate) fn line(&self, adapter: usize) -> &Wire {
        &self.lines[adapter]
    }

    fn node(&self, who: Who) -> &Node {
        match who {
            Who::Gateway => &self.gateway,
            Who::Adapter(number) => &self.adapters[number],
        }
    }

    fn node_mut(&mut self, who: Who) -> &mut Node {
        match who {
            Who::Gateway => &mut self.gateway,
            Who::Adapter(number) => &mut self.adapters[number],
        }
    }

    /// Starts a process and waits until it is ready; gives how long that took.
    pub(crate) async fn start(&mut self, who: Who) -> anyhow::Result<Duration> {
        match self.start_armed(who, None).await? {
            Started::Ready(took) => Ok(took),
            Started::Ended(status) => bail!("{who:?} does not start: {status}; see its log"),
        }
    }

    /// Starts a process that is to die, or to see its disk fail, at a point of its own.
    pub(crate) async fn start_armed(&mut self, who: Who, fault: Option<&str>) -> anyhow::Result<Started> {
        let caller = self.caller.clone();
        self.start_until(who, fault, async |(address, path)| caller.says_yes(address, path).await).await
    }

    /// Starts a process whose disk is full: it is there, and says that it is not ready.
    pub(crate) async fn start_on_a_full_disk(&mut self, who: Who) -> anyhow::Result<()> {
        let caller = self.caller.clone();
        let nearly_full = async |(address, path)| caller.says(address, path, "nearly full").await;
        match self.start_until(who, None, nearly_full).await? {
            Started::Ready(_) => Ok(()),
            Started::Ended(status) => bail!("{who:?} does not start on a full disk: {status}; see its log"),
        }
    }

    async fn start_until(
        &mut self,
        who: Who,
        fault: Option<&str>,
        is_there: impl AsyncFn((SocketAddr, &'static str)) -> bool,
    ) -> anyhow::Result<Started> {
        match who {
            Who::Adapter(number) => self.agencies.new_life(SYSTEMS[number].0),
            Who::Gateway => self.adapters.iter_mut().for_each(|adapter| adapter.starts = 0),
        }
        let folder = self.folder.clone();
        let keeps = self.keep_since.map_or(PORTAL_KEEPS, |since| since.elapsed() + START_AT_MOST);
        let prefix = match who {
            Who::Gateway => Vec::new(),
            Who::Adapter(number) => self.lines[number].prefix(),
        };
        let node = self.node_mut(who);
        ensure!(node.running.is_none(), "{who:?} runs already");
        node.starts += 1;
        let log = folder.join(node.config).with_extension("log");
        let mut command = clean_command(&folder, &prefix);
        command.args([node.role, "--config", node.config, "--until-stdin-closes"]);
        // Beside what is wrong, that an index is made again and that a spool was tidied up.
        command.env("LGSP_LOG", "warn,lgsp_gateway::app=info,lgsp_adapters::spool=info");
        if who == Who::Adapter(PORTAL) {
            command.env("LGSP_SPOOL_KEEPS", format!("{}:{PORTAL_TIDIES_AFTER}", keeps.as_millis()));
        }
        if let Some(fault) = fault {
            command.env("LGSP_FAULT_AT", fault);
        }
        if fault.is_some_and(|fault| fault.starts_with("snapshot.")) {
            // The next one would be due in thousands of records.
            command.env("LGSP_SNAPSHOT_EVERY", "1");
        }
        let log = File::options().create(true).append(true).open(log)?;
        let begun = Instant::now();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn()?;
        let stdin = child.stdin.take().context("standard input was asked for")?;
        loop {
            if is_there(node.ready_at).await {
                let took = begun.elapsed();
                node.running = Some((child, stdin));
                return Ok(Started::Ready(took));
            }
            if let Some(status) = child.try_wait()? {
                node.ended = Some(status);
                return Ok(Started::Ended(status));
            }
            ensure!(begun.elapsed() < PATIENCE, "{who:?} is not ready after {PATIENCE:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// SIGKILL: nothing is finished, nothing is flushed. Whether it was still there to be killed.
    pub(crate) async fn kill(&mut self, who: Who) -> anyhow::Result<bool> {
        let Some((mut child, _)) = self.node_mut(who).running.take() else { return Ok(false) };
        let alive = child.try_wait()?.is_none();
        child.kill().await?;
        Ok(alive)
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(&mut self, who: Who) -> anyhow::Result<ExitStatus> {
        let (mut child, _stdin) = self.node_mut(who).running.take().context("it does not run")?;
        let id = child.id().context("it has ended")?.to_string();
        run("kill", ["-TERM"], &[id])?;
        Ok(tokio::time::timeout(PATIENCE, child.wait()).await.context("no orderly end in time")??)
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self, who: Who) -> anyhow::Result<bool> {
        Ok(self.ended(who)?.is_some())
    }

    /// Whether it died at the point it was told to; to have ended in any other way is wrong.
    pub(crate) fn has_died_at_its_point(&mut self, who: Who) -> anyhow::Result<bool> {
        let Some(status) = self.ended(who)? else { return Ok(false) };
        ensure!(is_death_at_a_point(status), "{who:?} has ended otherwise than at its point: {status}");
        Ok(true)
    }

    fn ended(&mut self, who: Who) -> anyhow::Result<Option<ExitStatus>> {
        let node = self.node_mut(who);
        match &mut node.running {
            Some((child, _)) => Ok(child.try_wait()?),
            None => Ok(node.ended),
        }
    }

    /// SIGSTOP, and waits until every thread stands still: one that was in the kernel comes out of it first.
    pub(crate) async fn freeze(&self, who: Who) -> anyhow::Result<()> {
        let (child, _) = self.node(who).running.as_ref().context("it does not run")?;
        let id = child.id().context("it has ended")?;
        run("kill", ["-STOP"], &[id.to_string()])?;
        let begun = Instant::now();
        loop {
            let mut moving = false;
            for thread in fs::read_dir(format!("/proc/{id}/task"))? {
                let state = fs::read_to_string(thread?.path().join("stat"))?;
                // "4711 (name) T …": the name may hold anything but ends at the last bracket.
                moving |= !state.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['T', 't']));
            }
            if !moving {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "{who:?} does not stand still");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether it says that it can keep its promises.
    pub(crate) async fn is_ready(&self, who: Who) -> bool {
        let (address, path) = self.node(who).ready_at;
        self.caller.says_yes(address, path).await
    }

    /// Whether an adapter knows that it does not reach the gateway.
    pub(crate) async fn misses_its_gateway(&self, adapter: usize) -> bool {
        let status = self.caller.get(self.adapters[adapter].ready_at.0, "/status").await;
        status.is_ok_and(|status| status["connected"] == false)
    }

    /// What keeps the world from being at rest, if anything: a level, not an edge. The agencies do nothing unasked.
    pub(crate) async fn busy(&self) -> anyhow::Result<Option<String>> {
        if let Some(waiting) = self.agencies.waiting_for() {
            return Ok(Some(waiting));
        }
        let figure = |status: &Value, path: &str| {
            status.pointer(path).and_then(Value::as_u64).with_context(|| format!("no figure {path}"))
        };
        let status = self.caller.get(self.gateway.ready_at.0, "/status").await?;
        for name in ["/store/deliveries_waiting", "/store/deliveries_taken_over"] {
            if figure(&status, name)? > 0 {
                return Ok(Some(format!("the gateway: {name} = {}", figure(&status, name)?)));
            }
        }
        for (node, (system, _)) in self.adapters.iter().zip(SYSTEMS) {
            let status = self.caller.get(node.ready_at.0, "/status").await?;
            for name in ["/outgoing/waiting", "/incoming/not_handed_over", "/incoming/unconfirmed"] {
                if figure(&status, name)? > 0 {
                    return Ok(Some(format!("the adapter of {system}: {name} = {}", figure(&status, name)?)));
                }
            }
        }
        // Whatever came in while we went round.
        Ok(self.agencies.waiting_for())
    }

    /// Waits until nothing is on its way any more.
    pub(crate) async fn rest(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let busy = self.busy().await.unwrap_or_else(|error| Some(format!("{error:#}")));
            let Some(busy) = busy else { return Ok(()) };
            ensure!(begun.elapsed() < PATIENCE, "the bus does not come to rest: {busy}");
            tokio::time::sleep(4 * LOOK_EVERY).await;
        }
    }

    /// `lgsp fsck` of a data folder that nobody has open: its exit code and its report.
    pub(crate) async fn fsck(&self, data: &Path) -> anyhow::Result<(Option<i32>, Value)> {
        let mut command = clean_command(&self.folder, &[]);
        command.arg("fsck").arg(data).arg("--node-key").arg(self.node_key()).arg("--json");
        let ended = command.output().await?;
        let report = serde_json::from_slice(&ended.stdout)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&ended.stderr).into_owned()));
        Ok((ended.status.code(), report))
    }

    /// Runs one of the gateway's commands; gives what it says in JSON.
    pub(crate) async fn told(&self, words: &[&str]) -> anyhow::Result<Value> {
        let ended = clean_command(&self.folder, &[]).args(words).arg("--json").output().await?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "lgsp {}: {}: {said}", words.join(" "), ended.status);
        Ok(serde_json::from_slice(&ended.stdout)?)
    }

    /// Runs the demo's whole day into `folder`: the data that restarts are measured on.
    pub(crate) async fn play_demo(folder: &Path) -> anyhow::Result<()> {
        let mut command = clean_command(Path::new("."), &[]);
        let ended = command.args(["demo", "--dir"]).arg(folder).output().await?;
        ensure!(ended.status.success(), "the demo: {}", String::from_utf8_lossy(&ended.stderr));
        Ok(())
    }
}

/// Whether this is how a process ends that is told to die at a point: nothing else aborts.
pub(crate) fn is_death_at_a_point(status: ExitStatus) -> bool {
    status.signal() == Some(6)
}

/// The binary in this folder, with nothing of our environment that could change what it does; `prefix` runs it elsewhere.
fn clean_command(folder: &Path, prefix: &[String]) -> Command {
    let mut command = match prefix {
        [] => Command::new(LGSP),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(LGSP);
            command
        }
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LGSP_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}
