//! What an operator writes, checked as a whole before anything starts.
//!
//! `raw` is the file as it was written, a tree of keys; this module turns it into one checked struct per part. Every
//! problem is reported at once, with the key, what is wrong and what to do. Secrets are paths here, never values, so the
//! whole of a [`Config`] may be printed.

mod raw;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lgsp_certs::TrustDomain;
use lgsp_domain::decide::TimeBounds;
use lgsp_domain::numbering::LeaseLimits;
use lgsp_proto::types::BusinessTime;

use self::raw::{Raw, Section};
pub use self::tls::{Tls, TrustFiles};
use crate::engine::certificates::TOKEN_VALID_MAX;
use crate::engine::inbox::Policy;
use crate::engine::shares::Quota;
use crate::store::data_folder::{ARCHIVES, LISTS};

/// What begins the name of every environment variable that overrides a key: `LGSP_GATEWAY__LISTEN__BUS` is `listen.bus`.
pub const ENVIRONMENT_PREFIX: &str = "LGSP_GATEWAY__";

/// Everything about one gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The trust domain: it signs receipts under this name, and knows systems of this domain only.
    pub name: TrustDomain,
    /// Where it listens.
    pub listen: Listen,
    /// Its certificate, and whose certificates it accepts.
    pub tls: Tls,
    /// The CA that certifies systems; without one nobody joins or renews here.
    pub ca: Option<Ca>,
    /// Where the journal and the indexes are.
    pub store: Store,
    /// Where documents are.
    pub documents: Documents,
    /// When closed dossiers are archived, and where.
    pub retention: Retention,
    /// What becomes of queries for dossiers that never come in.
    pub queries: Queries,
    /// What the business clock runs by.
    pub business_clock: BusinessClock,
    /// How much of everything.
    pub limits: Limits,
    /// A folder of registry files, applied when the store holds no registry yet.
    pub first_registry: Option<PathBuf>,
}

/// Where it listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// The bus: gRPC with mutual TLS.
    pub bus: SocketAddr,
    /// Probes and status for this machine: HTTP without TLS, on a loopback address only.
    pub local: SocketAddr,
    /// Where systems join: gRPC with TLS and without a client certificate. Nowhere if absent.
    pub enrol: Option<SocketAddr>,
}

/// The CA that certifies systems, and what those are told that join.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ca {
    /// The folder of an issuing CA, as `lgsp certs init` makes it; its root's key does not belong there.
    pub dir: PathBuf,
    /// How long the certificates live that it signs.
    pub leaf_life: Duration,
    /// How long a join token is good, unless it is asked for otherwise.
    pub token_valid: Duration,
    /// More roots to know the gateway by, e.g. the next one; PEM.
    pub more_roots: Option<PathBuf>,
    /// Where systems find the enrolment listener; by the gateway's certificate and the port if absent.
    pub enrol_url: Option<String>,
    /// Where systems find the bus, likewise.
    pub bus_url: Option<String>,
    /// The name that the gateway's certificate carries, when that is not the host of these.
    pub server_name: Option<String>,
}

/// Where the journal and the indexes are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    /// The data folder; made when missing.
    pub dir: PathBuf,
    /// The file with the key that wraps all others; made when missing. Keep a copy elsewhere: without it nothing opens.
    pub node_key: PathBuf,
    /// What must stay free of the disks of the data folder and of the documents; with less, nothing new is taken in.
    pub min_free_bytes: u64,
}

/// Where documents are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Documents {
    /// The folder; made when missing.
    pub dir: PathBuf,
    /// The largest document, in bytes.
    pub max_bytes: u64,
}

/// When closed dossiers are archived, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retention {
    /// When nothing has happened to a closed dossier for so many days; never by itself if absent.
    pub archive_after_days: Option<u32>,
    /// The folder; made when missing. Beside the journal in the data folder unless the file says otherwise.
    pub archive_dir: PathBuf,
    /// How often it is looked whether something is due.
    pub archive_every: Duration,
}

/// What becomes of queries for dossiers that never come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Queries {
    /// After so many days what was asked and told is erased.
    pub unattached_days: u32,
}

/// What the business clock runs by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BusinessClock {
    /// The machine's clock.
    System,
    /// A replay: it stands at this time until it is set, over the local listener.
    Replay {
        /// Where it stands first.
        start: BusinessTime,
    },
}

/// How much of everything, where an operator may want it different.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How far business time may lie ahead and back.
    pub time_bounds: TimeBounds,
    /// How long deliveries may be under way, and what happens when they fail.
    pub deliveries: Policy,
    /// How long calls under way may take to finish when the gateway stops.
    pub grace: Duration,
    /// How many calls are worked on at once.
    pub calls: usize,
    /// How many uploads are taken at once.
    pub uploads: usize,
    /// How many connections are open at once.
    pub connections: usize,
    /// How many admissions are worked on at once; when they are more, the parties take turns.
    pub admissions: usize,
    /// What of them one party may take.
    pub party: Quota,
    /// What one system may have and do.
    pub system: SystemLimits,
    /// How many numbers are leased, and how far ahead.
    pub leases: LeaseLimits,
}

/// What one system may have and do. It may act for many parties, so these are wider than a party's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SystemLimits {
    /// Calls a second, over time.
    pub per_second: u32,
    /// Calls under way.
    pub calls: usize,
    /// Connections open.
    pub connections: usize,
    /// Inbox streams open.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time_bounds: TimeBounds::default(),
            deliveries: Policy::default(),
            grace: Duration::from_secs(20),
            calls: 1024,
            uploads: 64,
            connections: 4096,
            admissions: 512,
            party: Quota { per_second: 500, at_once: 256 },
            system: SystemLimits { per_second: 5_000, calls: 512, connections: 256, streams: 256 },
            leases: LeaseLimits::default(),
        }
    }
}

/// What stays free unless the file says otherwise: enough to end what is under way many times over, little enough for a
/// machine to try things on.
const MIN_FREE_BYTES_DEFAULT: u64 = 512 << 20;

/// How often it is looked what is to be archived, unless the file says otherwise: nobody waits for it.
const ARCHIVE_EVERY_DEFAULT: Duration = Duration::from_secs(3600);

/// How long what was asked waits for its dossier unless the file says otherwise: a citizen who does not come back within a month
/// is asked about anew.
const UNATTACHED_DAYS_DEFAULT: u32 = 30;

/// How long a certificate lives unless the file says otherwise: renewed by itself after twenty days, it leaves ten for whatever
/// keeps an adapter from it.
const LEAF_LIFE_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a join token is good unless the file says otherwise: whoever asked for it uses it the same day.
const TOKEN_VALID_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// The largest document unless the file says otherwise: what a scanner makes of a thick file.
const DOCUMENT_BYTES_DEFAULT: u64 = 50 << 20;

impl Config {
    /// Reads the file at `path` and overrides it with `environment`; relative paths in it start at its folder.
    ///
    /// # Errors
    /// Every problem of the file and of the environment.
    pub fn load(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![Problem::new(
                "",
                format!("{} cannot be read: {error}", path.display()),
                "name a file that this account may read",
            )])
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, base, environment)
    }

    /// Parses the text of a configuration file. `base` is where relative paths start.
    ///
    /// # Errors
    /// Every problem of the text and of the environment.
    pub fn parse(
        text: &str,
        base: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let mut raw = Raw::parse(text)?;
        raw.override_with(environment);
        let ca = ca(&mut raw.section("ca"), base);
        let listen = listen(&mut raw.section("listen"), matches!(ca, Some(None)));
        let tls = tls::read(&mut raw.section("tls"), base);
        let store = store(&mut raw.section("store"), base);
        let documents = documents(&mut raw.section("documents"), base);
        let retention = retention(&mut raw.section("retention"), base, store.as_ref());
        let queries = queries(&mut raw.section("queries"));
        let business_clock = business_clock(&mut raw.section("business_clock"));
        let limits = limits(&mut raw.section("limits"));
        let first_registry = raw.section("registry").optional("first", |dir: String| path(base, dir));
        let name = raw.rest().required("name", "the trust domain of the bus, e.g. lgsp.hue.gov.vn", trust_domain);

        let config = (|| {
            let name = name?;
            Some(Self {
                tls: {
                    let ca = ca.as_ref()?.as_ref().map(|ca| ca.dir.clone());
                    tls?.of_bus(&name, ca, store.as_ref()?.dir.join(LISTS))
                },
                name,
                listen: listen?,
                ca: ca?,
                store: store?,
                documents: documents?,
                retention: retention?,
                queries: queries?,
                business_clock: business_clock?,
                limits: limits?,
                first_registry: first_registry?,
            })
        })();
        raw.finish(config)
    }

    /// The effective values, as a file that would give the same configuration. Secrets appear as paths only.
    pub fn to_toml(&self) -> String {
        let text = |path: &Path| toml::Value::from(path.display().to_string());
        let seconds = |duration: Duration| integer(duration.as_secs());
        let bounds = &self.limits.time_bounds;
        let (tls, bundles) = self.tls.written();
        let mut sections = vec![
            (
                "listen",
                [("bus", Some(self.listen.bus)), ("local", Some(self.listen.local)), ("enrol", self.listen.enrol)]
                    .into_iter()
                    .filter_map(|(key, address)| Some((key, address?.to_string().into())))
                    .collect(),
            ),
            ("tls", tls),
            (
                "store",
                vec![
                    ("dir", text(&self.store.dir)),
                    ("node_key", text(&self.store.node_key)),
                    ("min_free_bytes", integer(self.store.min_free_bytes)),
                ],
            ),
            ("documents", vec![("dir", text(&self.documents.dir)), ("max_bytes", integer(self.documents.max_bytes))]),
            (
                "retention",
                self.retention
                    .archive_after_days
                    .map(|days| ("archive_after_days", integer(days.into())))
                    .into_iter()
                    .chain([
                        ("archive_dir", text(&self.retention.archive_dir)),
                        ("archive_every_s", seconds(self.retention.archive_every)),
                    ])
                    .collect(),
            ),
            ("queries", vec![("unattached_days", integer(self.queries.unattached_days.into()))]),
            (
                "business_clock",
                match self.business_clock {
                    BusinessClock::System => vec![("kind", "system".into())],
                    BusinessClock::Replay { start } => {
                        vec![("kind", "replay".into()), ("start", start.to_string().into())]
                    }
                },
            ),
            (
                "limits",
                vec![
                    ("business_ahead_s", seconds(bounds.ahead)),
                    ("business_back_s", seconds(bounds.back)),
                    ("received_late_s", seconds(bounds.late)),
                    ("lease_s", seconds(self.limits.deliveries.lease)),
                    ("decline_pause_s", seconds(self.limits.deliveries.pause)),
                    ("decline_pause_max_s", seconds(self.limits.deliveries.pause_max)),
                    ("delivery_attempts", integer(self.limits.deliveries.attempts.into())),
                    ("grace_s", seconds(self.limits.grace)),
                    ("calls", integer(self.limits.calls as u64)),
                    ("uploads", integer(self.limits.uploads as u64)),
                    ("connections", integer(self.limits.connections as u64)),
                    ("admissions", integer(self.limits.admissions as u64)),
                    ("party_per_second", integer(self.limits.party.per_second.into())),
                    ("party_admissions", integer(self.limits.party.at_once as u64)),
                    ("system_per_second", integer(self.limits.system.per_second.into())),
                    ("system_calls", integer(self.limits.system.calls as u64)),
                    ("system_connections", integer(self.limits.system.connections as u64)),
                    ("system_streams", integer(self.limits.system.streams as u64)),
                    ("lease_days", integer(self.limits.leases.days.into())),
                    ("lease_block", integer(self.limits.leases.block.into())),
                    ("lease_hold", integer(self.limits.leases.hold.into())),
                ],
            ),
        ];
        if let Some(first) = &self.first_registry {
            sections.push(("registry", vec![("first", text(first))]));
        }
        if let Some(ca) = &self.ca {
            let some = |key, value: &Option<String>| value.clone().map(|value| (key, value.into()));
            let entries = [
                Some(("dir", text(&ca.dir))),
                Some(("leaf_life_s", seconds(ca.leaf_life))),
                Some(("token_valid_s", seconds(ca.token_valid))),
                ca.more_roots.as_deref().map(|file| ("more_roots", text(file))),
                some("enrol_url", &ca.enrol_url),
                some("bus_url", &ca.bus_url),
                some("server_name", &ca.server_name),
            ];
            sections.push(("ca", entries.into_iter().flatten().collect()));
        }
        // Written out here, because a table of the library would come out in alphabetic order, unlike the manual.
        let mut out = format!("name = {}\n", toml::Value::from(self.name.to_string()));
        let write = |out: &mut String, heading: &str, entries: Vec<(&str, toml::Value)>| {
            *out += &format!("\n{heading}\n");
            for (key, value) in entries {
                *out += &format!("{key} = {value}\n");
            }
        };
        for (section, entries) in sections {
            write(&mut out, &format!("[{section}]"), entries);
            if section == "tls" {
                bundles.iter().for_each(|entries| write(&mut out, "[[tls.trust]]", entries.clone()));
            }
        }
        out
    }
}

fn integer(value: u64) -> toml::Value {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}

fn listen(section: &mut Section<'_>, without_ca: bool) -> Option<Listen> {
    let bus = section.or_default("bus", || SocketAddr::from(([0, 0, 0, 0], 7443)), socket);
    let local = section.or_default(
        "local",
        || SocketAddr::from(([127, 0, 0, 1], 7480)),
        |text: String| {
            let local = socket(text)?;
            // It has neither TLS nor access control: whoever reaches it reads figures, and sets a replay's clock.
            if local.ip().is_loopback() {
                Ok(local)
            } else {
                Err(("is not a loopback address", "use 127.0.0.1 or [::1]"))
            }
        },
    );
    let enrol = section.optional("enrol", socket);
    if without_ca && matches!(enrol, Some(Some(_))) {
        section.problem("enrol", "has no CA to issue certificates with", "set ca.dir, or leave it out");
        return None;
    }
    Some(Listen { bus: bus?, local: local?, enrol: enrol? })
}

/// The outer `None` is a problem.
fn ca(section: &mut Section<'_>, base: &Path) -> Option<Option<Ca>> {
    if section.is_empty() {
        return Some(None);
    }
    let dir = section
        .required("dir", "the folder of an issuing CA; `lgsp certs init` makes one", |dir: String| path(base, dir));
    let leaf_life = section.or_default("leaf_life_s", || LEAF_LIFE_DEFAULT, seconds);
    let token_valid = section.or_default("token_valid_s", || TOKEN_VALID_DEFAULT, token_life);
    let more_roots = section.optional("more_roots", |file: String| path(base, file));
    let enrol_url = section.optional("enrol_url", url);
    let bus_url = section.optional("bus_url", url);
    let server_name = section.optional("server_name", |name: String| match lgsp_certs::server_name(&name) {
        Ok(_) => Ok(name),
        Err(_) => Err(("is neither a DNS name nor an IP address", "write a name that the gateway's certificate has")),
    });
    Some(Some(Ca {
        dir: dir?,
        leaf_life: leaf_life?,
        token_valid: token_valid?,
        more_roots: more_roots?,
        enrol_url: enrol_url?,
        bus_url: bus_url?,
        server_name: server_name?,
    }))
}

fn store(section: &mut Section<'_>, base: &Path) -> Option<Store> {
    let dir = section.required("dir", "the data folder", |dir: String| path(base, dir));
    let node_key = section.required("node_key", "the file of the node's key", |file: String| path(base, file));
    let min_free_bytes = section.or_default("min_free_bytes", || MIN_FREE_BYTES_DEFAULT, bytes);
    if let (Some(dir), Some(node_key)) = (&dir, &node_key)
        && node_key.starts_with(dir)
    {
        // A backup of the folder would carry the key to what is sealed in it.
        section.problem("node_key", "lies inside the data folder", "keep the key apart from what it seals");
        return None;
    }
    Some(Store { dir: dir?, node_key: node_key?, min_free_bytes: min_free_bytes? })
}

fn documents(section: &mut Section<'_>, base: &Path) -> Option<Documents> {
    let dir = section.required("dir", "the folder for documents", |dir: String| path(base, dir));
    let max_bytes = section.or_default("max_bytes", || DOCUMENT_BYTES_DEFAULT, at_least_one);
    Some(Documents { dir: dir?, max_bytes: max_bytes? })
}

fn retention(section: &mut Section<'_>, base: &Path, store: Option<&Store>) -> Option<Retention> {
    let after_days = section.optional("archive_after_days", days);
    let dir = section.optional("archive_dir", |dir: String| path(base, dir));
    let every = section.or_default("archive_every_s", || ARCHIVE_EVERY_DEFAULT, seconds);
    let dir = match dir? {
        Some(dir) => dir,
        None => store?.dir.join(ARCHIVES),
    };
    Some(Retention { archive_after_days: after_days?, archive_dir: dir, archive_every: every? })
}

fn queries(section: &mut Section<'_>) -> Option<Queries> {
    let unattached_days = section.or_default("unattached_days", || UNATTACHED_DAYS_DEFAULT, days);
    Some(Queries { unattached_days: unattached_days? })
}

fn business_clock(section: &mut Section<'_>) -> Option<BusinessClock> {
    let kind = section.or_default(
        "kind",
        || "system",
        |kind: String| match kind.as_str() {
            "system" => Ok("system"),
            "replay" => Ok("replay"),
            _ => Err(("is neither \"system\" nor \"replay\"", "use \"system\" outside of demonstrations and tests")),
        },
    );
    if kind? == "system" {
        return Some(BusinessClock::System);
    }
    let start =
        section.required("start", "where the replay begins, e.g. \"2025-07-14T07:00:00+07:00\"", |text: String| {
            text.parse().map_err(|_| ("is not a time as in RFC 3339", "write it like \"2025-07-14T07:00:00+07:00\""))
        });
    Some(BusinessClock::Replay { start: start? })
}

fn limits(section: &mut Section<'_>) -> Option<Limits> {
    let Limits { time_bounds, deliveries, grace, calls, uploads, connections, admissions, party, system, leases } =
        Limits::default();
    let ahead = section.or_default("business_ahead_s", || time_bounds.ahead, seconds);
    let back = section.or_default("business_back_s", || time_bounds.back, seconds);
    let late = section.or_default("received_late_s", || time_bounds.late, seconds);
    let lease = section.or_default("lease_s", || deliveries.lease, seconds);
    let pause = section.or_default("decline_pause_s", || deliveries.pause, seconds);
    let pause_max = section.or_default("decline_pause_max_s", || deliveries.pause_max, seconds);
    let attempts = section.or_default("delivery_attempts", || deliveries.attempts, times);
    let grace = section.or_default("grace_s", || grace, seconds);
    let calls = section.or_default("calls", || calls, count);
    let uploads = section.or_default("uploads", || uploads, count);
    let connections = section.or_default("connections", || connections, count);
    let admissions = section.or_default("admissions", || admissions, count);
    let per_second = section.or_default("party_per_second", || party.per_second, rate);
    let at_once = section.or_default("party_admissions", || party.at_once, count);
    let party = (|| Some(Quota { per_second: per_second?, at_once: at_once? }))();
    let per_second = section.or_default("system_per_second", || system.per_second, rate);
    let of_system = [
        section.or_default("system_calls", || system.calls, count),
        section.or_default("system_connections", || system.connections, count),
        section.or_default("system_streams", || system.streams, count),
    ];
    let system = (|| {
        let [calls, connections, streams] = of_system;
        Some(SystemLimits { per_second: per_second?, calls: calls?, connections: connections?, streams: streams? })
    })();
    let days = section.or_default("lease_days", || leases.days, lease_days);
    let block = section.or_default("lease_block", || leases.block, lease_numbers);
    let hold = section.or_default("lease_hold", || leases.hold, lease_numbers);
    Some(Limits {
        time_bounds: TimeBounds { ahead: ahead?, back: back?, late: late? },
        deliveries: Policy { lease: lease?, pause: pause?, pause_max: pause_max?, attempts: attempts? },
        grace: grace?,
        calls: calls?,
        uploads: uploads?,
        connections: connections?,
        admissions: admissions?,
        party: party?,
        system: system?,
        leases: LeaseLimits { days: days?, block: block?, hold: hold? },
    })
}

/// What is wrong with a value, and what to do about it.
type Wrong = (&'static str, &'static str);

fn trust_domain(text: String) -> Result<TrustDomain, Wrong> {
    text.parse().map_err(|_| ("is not a trust domain", "use lower-case letters, digits, dots and dashes"))
}

fn socket(text: String) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| ("is not an address with a port", "write it like \"0.0.0.0:7443\" or \"[::]:7443\""))
}

fn path(base: &Path, text: String) -> Result<PathBuf, Wrong> {
    if text.is_empty() { Err(("is empty", "name a file or folder")) } else { Ok(base.join(text)) }
}

fn url(text: String) -> Result<String, Wrong> {
    let host = text.strip_prefix("https://").unwrap_or_default();
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(("is not https:// with a host and a port", "write it like \"https://gw.lgsp.hue.gov.vn:7444\""));
    }
    Ok(text)
}

fn token_life(number: u64) -> Result<Duration, Wrong> {
    let life = seconds(number)?;
    if life > TOKEN_VALID_MAX { Err(("is more than seven days", "give seconds, at most 604800")) } else { Ok(life) }
}

fn at_least_one(number: u64) -> Result<u64, Wrong> {
    if number == 0 { Err(("is 0", "allow at least 1")) } else { Ok(number) }
}

fn bytes(number: u64) -> Result<u64, Wrong> {
    // 0 is allowed: as much as there is. A thousand terabytes are a slip of the pen.
    if number > 1 << 50 { Err(("is more than any disk has", "give bytes")) } else { Ok(number) }
}

fn count(number: u64) -> Result<usize, Wrong> {
    // Semaphores count to about 2^61; nothing sensible comes near a million.
    let count = usize::try_from(at_least_one(number)?).ok().filter(|count| *count <= 1_000_000);
    count.ok_or(("is more than a million", "use a number that this machine can bear"))
}

fn times(number: u64) -> Result<u32, Wrong> {
    let times = u32::try_from(at_least_one(number)?).ok().filter(|times| *times <= 10_000);
    times.ok_or(("is more than ten thousand", "use a number after which a person should look"))
}

fn rate(number: u64) -> Result<u32, Wrong> {
    count(number).map(|count| u32::try_from(count).expect("a million at most"))
}

fn days(number: u64) -> Result<u32, Wrong> {
    let days = u32::try_from(at_least_one(number)?).ok().filter(|days| *days <= 36_600);
    days.ok_or(("is more than a hundred years", "give days"))
}

/// Further ahead a desk would hold numbers of days on which nobody knows yet which authorities there are.
fn lease_days(number: u64) -> Result<u32, Wrong> {
    let days = u32::try_from(number).ok().filter(|days| *days <= 31);
    days.ok_or(("is more than 31", "lease for as long as a line may be cut, in calendar days"))
}

/// An authority's day has 99,999 numbers in all.
fn lease_numbers(number: u64) -> Result<u32, Wrong> {
    let count = u32::try_from(at_least_one(number)?).ok().filter(|count| *count <= 10_000);
    count.ok_or(("is more than 10000", "leave numbers to the other desks"))
}

fn seconds(number: u64) -> Result<Duration, Wrong> {
    const TEN_YEARS: u64 = 10 * 366 * 24 * 3600;
    if number > TEN_YEARS {
        Err(("is more than ten years", "give seconds"))
    } else {
        Ok(Duration::from_secs(at_least_one(number)?))
    }
}

/// One problem of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The key, e.g. `listen.bus`; empty when the file as a whole is at fault.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    fn new(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

/// Every problem of a configuration; never empty.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} problem(s)", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

#[cfg(test)]
mod tests;
