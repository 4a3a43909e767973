//! The adapter's configuration: one checked struct per part, every problem of a file reported at once.
//!
//! `raw` knows keys and how they are read; this module knows what they mean; `written` has it all as a file again. Paths are
//! relative to the file's folder. A key may be overridden by an environment variable: `LGSP_ADAPTER__REST__LISTEN` is `listen`
//! in `[rest]`.

mod population;
mod raw;
mod starter;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lgsp_certs::{TlsFiles, server_name};
use lgsp_proto::types::PartyId;

use crate::backoff::Backoff;
use crate::identity;
use crate::link::{Address, GatewayUrl, Timings};
pub use crate::webhook::WebhookUrl;
pub use population::{Ministry, Population, PopulationBackend, Replica};
use raw::Raw;
pub use starter::{IDENTITY, Wishes, starter, write_starter};

/// What environment variables that override a key begin with.
pub const ENVIRONMENT_PREFIX: &str = "LGSP_ADAPTER__";

/// A configuration file with every key and its default, to begin with.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The most parties one inbox stream serves.
const MAX_PARTIES: usize = 256;

/// The most deliveries under way on one stream.
const MAX_CREDIT: u64 = 1024;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateway, and the certificate shown to it.
    pub address: Address,
    /// How that certificate is kept in force.
    pub identity: Identity,
    /// The parties acted for; never empty, none twice.
    pub parties: Vec<PartyId>,
    /// The durable queue.
    pub spool: Spool,
    /// The local interface.
    pub rest: Rest,
    /// The same for other machines, if there are any.
    pub remote: Option<Remote>,
    /// Where things are carried.
    pub webhook: Webhook,
    /// The folder watched instead, if there is one.
    pub folder: Option<Folder>,
    /// The tables used instead, if there are any.
    pub tables: Option<Tables>,
    /// The data services answered here, if there are any.
    pub connector: Option<Connector>,
    /// The connector to the national population database, if it is here.
    pub population: Option<Population>,
    /// What goes to the gateway and comes from it.
    pub exchange: Exchange,
    /// Work without a line.
    pub offline: Offline,
    /// How long what is under way may take when the adapter stops.
    pub stop_grace: Duration,
}

/// How the own certificate is kept in force, in `[tls]`.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The folder that `lgsp adapter join` writes to. Without one there are three files, which somebody else renews.
    pub folder: Option<PathBuf>,
    /// How often the files are looked at, and whether it is time to renew.
    pub poll: Duration,
    /// How often the gateway is asked whom to trust.
    pub trust_every: Duration,
    /// Revocation lists about gateways, beside the three files; a folder has its own.
    pub revocation_lists: Vec<PathBuf>,
}

/// The durable queue, `[spool]`.
#[derive(Clone, Debug)]
pub struct Spool {
    /// Its folder; made if need be.
    pub folder: PathBuf,
    /// Calls that may wait for the gateway.
    pub max_outgoing: NonZeroUsize,
    /// Deliveries that may wait for the agency's own system.
    pub max_incoming: NonZeroUsize,
    /// How long outcomes can be asked for, and documents that nobody names are kept.
    pub keep_outcomes: Duration,
    /// The largest document.
    pub max_document_bytes: u64,
    /// All documents together.
    pub max_documents_bytes: u64,
    /// What must stay free of the disk; with less, nothing new is taken in.
    pub min_free_bytes: u64,
}

/// The local interface, `[rest]`.
#[derive(Clone, Debug)]
pub struct Rest {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file with the token that callers show, made if it is not there; without one, whoever reaches the port is let in.
    pub token_file: Option<PathBuf>,
    /// The file with the clients that have a name of their own, each for its parties.
    pub clients_file: PathBuf,
    /// Requests under way at one time.
    pub max_requests: NonZeroUsize,
}

/// The same for other machines, `[remote]`: over TLS, and for clients only.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The server's certificate, PEM, with what stands between it and its root.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The CA certificates that clients' certificates must chain to, PEM. Without it clients have secrets.
    pub client_bundle: Option<PathBuf>,
}

/// Where deliveries and outcomes are carried, `[webhook]`; a party without a URL fetches them.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// For parties that have none of their own.
    pub url: Option<WebhookUrl>,
    /// For single parties, `[webhook.parties]`.
    pub parties: BTreeMap<PartyId, WebhookUrl>,
    /// The secrets that every post is signed with; the file is made if it is not there.
    pub secret_file: PathBuf,
    /// The CA certificates that `https` webhooks must chain to, PEM; no others are trusted.
    pub bundle: Option<PathBuf>,
    /// For one post.
    pub timeout: Duration,
    /// Posts to one URL at one time.
    pub at_once: NonZeroUsize,
    /// After so many answers that blame a delivery, and not the line, it goes back to the gateway.
    pub attempts: NonZeroU32,
}

/// A folder that is watched for requests and gets deliveries and outcomes, `[folder]`; in place of REST and webhooks.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder itself. It has to be there; what is in it is made.
    pub dir: PathBuf,
    /// Those that it speaks for; each of them has no webhook.
    pub parties: Vec<PartyId>,
    /// How often it is looked at.
    pub poll: Duration,
    /// How long nothing of a request may have changed before it is read.
    pub settle: Duration,
    /// Whether a delivery's documents are fetched and put beside it.
    pub documents: bool,
    /// How long what is done, and its answers, are kept.
    pub keep: Duration,
    /// The most deliveries that lie in it and were not taken.
    pub max_inbox: NonZeroUsize,
}

/// Tables in the agency's own PostgreSQL for requests, deliveries and outcomes, `[tables]`; in place of REST and webhooks.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The server: a name, an address, or the folder of its Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The adapter's role there.
    pub user: String,
    /// The file with its password; without one the server asks for none, or goes by the operating system's account.
    pub password_file: Option<PathBuf>,
    /// The CA certificates that the server's must chain to, PEM; then the connection is TLS or none.
    pub bundle: Option<PathBuf>,
    /// Whether it may be without TLS to another machine.
    pub plain: bool,
    /// The schema that the tables are in.
    pub schema: SchemaName,
    /// Those that they speak for; each of them has no webhook and no folder.
    pub parties: Vec<PartyId>,
    /// How often they are looked at, if nothing wakes the adapter before.
    pub poll: Duration,
    /// For a connection, and for one statement.
    pub timeout: Duration,
    /// Whether a delivery's documents are fetched and put beside it.
    pub documents: bool,
    /// When a delivery counts as handed over.
    pub acknowledge: Acknowledge,
    /// The most deliveries that lie in the inbox and were not handled.
    pub max_inbox: NonZeroUsize,
}

/// When a delivery in the agency's tables counts as handed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acknowledge {
    /// Once its row is committed.
    Stored,
    /// Once the agency's software has marked the row as handled; until then it may refuse it, and the dossier's next waits.
    Handled,
}

/// The name of a schema: an identifier of PostgreSQL that needs no quotes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SchemaName(Box<str>);

impl SchemaName {
    /// The name as it is written in SQL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for SchemaName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if begins && text.len() <= 48 && text.chars().all(is_plain) {
            Ok(Self(text.into()))
        } else {
            Err("is not a name of 1 to 48 of a-z 0-9 _ that begins with a letter")
        }
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The data services of one owner that its own software on this machine answers, `[connector]`.
#[derive(Clone, Debug)]
pub struct Connector {
    /// The owner; one of the parties acted for.
    pub party: PartyId,
    /// Where questions to a service and version go, `[connector.services]`.
    pub services: BTreeMap<(String, u32), WebhookUrl>,
    /// Questions under way at one time.
    pub at_once: NonZeroUsize,
}

/// What goes to the gateway and comes from it, `[exchange]`.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Which of the system's installations this is. Each has a spool of its own, so each needs a name of its own; "main" for
    /// the only one.
    pub instance: String,
    /// Calls under way at one time.
    pub at_once: NonZeroUsize,
    /// Deliveries under way at one time.
    pub credit: u32,
    /// How long to wait before trying again, everywhere.
    pub backoff: Backoff,
}

/// Work without a line, `[offline]`. Nothing of it concerns a party that may not take dossiers in.
#[derive(Clone, Debug)]
pub struct Offline {
    /// Whether dossiers are validated and numbered here while the line is down. Otherwise they wait in the spool without a code.
    pub enabled: bool,
    /// Unused numbers to have at least, for each desk, authority and day.
    pub block: u32,
    /// For how many days after today.
    pub days_ahead: u32,
    /// Authorities to have numbers of beside the desk itself and those it sends to.
    pub authorities: Vec<PartyId>,
    /// How often registry and numbers are looked after, beside at every connect.
    pub refresh: Duration,
    /// By how much the clock may differ from the gateway's before that is flagged.
    pub skew_tolerance: Duration,
    /// How far ahead of this machine's clock a reception may lie.
    pub ahead: Duration,
    /// How far back it may lie.
    pub back: Duration,
}

/// One problem of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The key, e.g. `rest.listen`; empty when the file as a whole is at fault.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Every problem of a configuration; never empty.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the adapter's configuration has {} problem(s)", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Config {
    /// Reads a file and the environment.
    ///
    /// # Errors
    /// Every problem there is. The TLS files are looked at when the adapter starts, not here.
    pub fn load(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what = format!("{} cannot be read: {error}", path.display());
            Problems(vec![Problem { key: String::new(), what, remedy: "check path and permissions".to_owned() }])
        })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")), environment)
    }

    /// Checks the text of a file whose paths are relative to `base`.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn parse(
        text: &str,
        base: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let mut raw = Raw::parse(text)?;
        raw.override_with(environment);
        // Each part is read whatever became of the others, so that everything wrong is seen at once.
        let mut top = raw.section("");
        let gateway =
            top.required("gateway", "the gateway's URL, https://host:port", |text: String| text.parse::<GatewayUrl>());
        let name = top.optional("server_name", |text: String| match server_name(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(error.to_string()),
        });
        let parties = top.required("parties", "the identifiers of the parties acted for", parties);
        let stop_grace = top.or("stop_grace_seconds", Duration::from_secs(10), seconds);
        raw.finish(top);

        let tls = tls(&mut raw, base);
        let timings = timings(&mut raw);
        let spool = spool(&mut raw, base);
        let rest = rest(&mut raw, base, spool.as_ref());
        let remote = remote(&mut raw, base);
        let webhook = webhook(&mut raw, base, spool.as_ref(), parties.as_deref());
        let folder = folder(&mut raw, base, parties.as_deref(), webhook.as_ref());
        let tables = tables(&mut raw, base, parties.as_deref(), webhook.as_ref(), folder.as_ref());
        let connector = connector(&mut raw, parties.as_deref());
        let population = population::population(&mut raw, base, parties.as_deref());
        let exchange = exchange(&mut raw);
        let offline = offline(&mut raw);
        let problems = raw.problems();
        let config = || {
            let (tls, identity) = tls?;
            let address = Address { gateway: gateway?, server_name: name?, tls, timings: timings? };
            Some(Self {
                address,
                identity,
                parties: parties?,
                spool: spool?,
                rest: rest?,
                remote: remote?,
                webhook: webhook?,
                folder: folder?,
                tables: tables?,
                connector: connector?,
                population: population?,
                exchange: exchange?,
                offline: offline?,
                stop_grace: stop_grace?,
            })
        };
        match config() {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems(problems)),
        }
    }
}

fn tls(raw: &mut Raw, base: &Path) -> Option<(TlsFiles, Identity)> {
    let mut section = raw.section("tls");
    let path = |text: String| Ok::<_, String>(base.join(text));
    let folder = section.optional("identity", path);
    let poll = section.or("poll_ms", Duration::from_secs(5), millis);
    let trust_every = section.or("trust_every_seconds", Duration::from_secs(3600), seconds);
    let revocation_lists = match &folder {
        Some(Some(_)) => Some(Vec::new()),
        _ => section.or("crl", Vec::new(), |files: Vec<String>| {
            Ok::<_, String>(files.into_iter().map(|file| base.join(file)).collect())
        }),
    };
    let files = match &folder {
        Some(Some(folder)) => {
            for key in ["certificate", "key", "bundle", "crl"] {
                if let Some(Some(())) = section.optional(key, |_: toml::Value| Ok::<_, String>(())) {
                    section.problem(key, "is set beside identity, which has its own", "remove the one or the other");
                }
            }
            Some(identity::Folder::at(folder).files())
        }
        _ => {
            let mut file = |key, what| section.required(key, what, path);
            let certificate = file("certificate", "the adapter's certificate, PEM; or identity instead of all three");
            let key = file("key", "its private key, PEM");
            let bundle = file("bundle", "the CA certificates that gateways must chain to, PEM");
            certificate.zip(key).zip(bundle).map(|((certificate, key), bundle)| TlsFiles { certificate, key, bundle })
        }
    };
    raw.finish(section);
    let identity =
        Identity { folder: folder?, poll: poll?, trust_every: trust_every?, revocation_lists: revocation_lists? };
    Some((files?, identity))
}

fn timings(raw: &mut Raw) -> Option<Timings> {
    let defaults = Timings::default();
    let mut section = raw.section("timings");
    let connect_timeout = section.or("connect_timeout_ms", defaults.connect_timeout, millis);
    let call_timeout = section.or("call_timeout_ms", defaults.call_timeout, millis);
    let keep_alive_interval = section.or("keep_alive_interval_ms", defaults.keep_alive_interval, millis);
    let keep_alive_timeout = section.or("keep_alive_timeout_ms", defaults.keep_alive_timeout, millis);
    raw.finish(section);
    Some(Timings {
        connect_timeout: connect_timeout?,
        call_timeout: call_timeout?,
        keep_alive_interval: keep_alive_interval?,
        keep_alive_timeout: keep_alive_timeout?,
    })
}

fn spool(raw: &mut Raw, base: &Path) -> Option<Spool> {
    const MIB: u64 = 1 << 20;
    let mut section = raw.section("spool");
    let folder = section
        .required("folder", "a folder of its own on a local disk", |text: String| Ok::<_, String>(base.join(text)));
    let max_outgoing = section.or("max_outgoing", count_of(10_000), count);
    let max_incoming = section.or("max_incoming", count_of(10_000), count);
    let hours = |hours: u64| seconds(hours.saturating_mul(3600));
    let keep_outcomes = section.or("keep_outcomes_hours", Duration::from_secs(7 * 24 * 3600), hours);
    let mib = |number: u64| positive(number).map(|number| number.saturating_mul(MIB));
    let max_document_bytes = section.or("max_document_mib", 100 * MIB, mib);
    let max_documents_bytes = section.or("max_documents_mib", 4096 * MIB, mib);
    let or_none = |number: u64| Ok::<_, String>(number.saturating_mul(MIB));
    let min_free_bytes = section.or("min_free_mib", 256 * MIB, or_none);
    if let (Some(one), Some(all)) = (max_document_bytes, max_documents_bytes)
        && one > all
    {
        section.problem("max_document_mib", "is more than max_documents_mib", "raise the one or lower the other");
    }
    raw.finish(section);
    Some(Spool {
        folder: folder?,
        max_outgoing: max_outgoing?,
        max_incoming: max_incoming?,
        keep_outcomes: keep_outcomes?,
        max_document_bytes: max_document_bytes?,
        max_documents_bytes: max_documents_bytes?,
        min_free_bytes: min_free_bytes?,
    })
}

fn rest(raw: &mut Raw, base: &Path, spool: Option<&Spool>) -> Option<Rest> {
    let mut section = raw.section("rest");
    let listen =
        section.or("listen", SocketAddr::from(([127, 0, 0, 1], 8480)), |text: String| text.parse::<SocketAddr>());
    let asks = section.or("token", true, |text: String| match &*text {
        "file" => Ok(true),
        "none" => Ok(false),
        _ => Err("is neither \"file\" nor \"none\""),
    });
    let token_file = section.optional("token_file", |text: String| Ok::<_, String>(base.join(text)));
    if let (Some(false), Some(Some(_))) = (asks, &token_file) {
        section.problem("token", "is \"none\" beside a token_file", "remove the one or the other");
    }
    // In a folder of its own anyway, so that two adapters with one base don't share it by accident.
    let in_spool = |name| spool.map_or(base, |spool| &spool.folder).join(name);
    let clients_file =
        section.or("clients_file", in_spool("clients.toml"), |text: String| Ok::<_, String>(base.join(text)));
    let max_requests = section.or("max_requests", count_of(256), count);
    if listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        let what = "is not a loopback address: who listens on the way would read the token, and citizens' data";
        section.problem(
            "listen",
            what,
            "listen on 127.0.0.1; for systems on other machines there is [remote], with TLS and clients",
        );
    }
    raw.finish(section);
    let token_file = token_file?.unwrap_or_else(|| in_spool("rest.token"));
    Some(Rest {
        listen: listen?,
        token_file: asks?.then_some(token_file),
        clients_file: clients_file?,
        max_requests: max_requests?,
    })
}

fn remote(raw: &mut Raw, base: &Path) -> Option<Option<Remote>> {
    let mut section = raw.section("remote");
    if section.is_empty() {
        raw.finish(section);
        return Some(None);
    }
    let path = |text: String| Ok::<_, String>(base.join(text));
    let listen =
        section.or("listen", SocketAddr::from(([0, 0, 0, 0], 8443)), |text: String| text.parse::<SocketAddr>());
    let certificate = section.required("certificate", "the certificate of this machine's name, PEM", path);
    let key = section.required("key", "its private key, PEM", path);
    let client_bundle = section.optional("client_bundle", path);
    raw.finish(section);
    Some(Some(Remote { listen: listen?, certificate: certificate?, key: key?, client_bundle: client_bundle? }))
}

fn webhook(raw: &mut Raw, base: &Path, spool: Option<&Spool>, acted_for: Option<&[PartyId]>) -> Option<Webhook> {
    let mut section = raw.section("webhook");
    // In a folder of its own anyway, so that two adapters with one base don't share it by accident.
    let in_spool = spool.map_or(base, |spool| &spool.folder).join("webhook.secret");
    let secret_file = section.or("secret_file", in_spool, |text: String| Ok::<_, String>(base.join(text)));
    let bundle = section.optional("bundle", |text: String| Ok::<_, String>(base.join(text)));
    let url = section.optional("url", |text: String| text.parse::<WebhookUrl>());
    let timeout = section.or("timeout_ms", Duration::from_secs(10), millis);
    let at_once = section.or("at_once", count_of(16), count);
    let single = section.optional("parties", |texts: BTreeMap<String, String>| Ok::<_, String>(texts));
    let mut parties = BTreeMap::new();
    for (party, url) in single.flatten().unwrap_or_default() {
        let key = format!("parties.{party}");
        let remedy = "write \"H57.101\" = \"https://host:port/path\" with one of the parties above";
        match (party.parse::<PartyId>(), url.parse::<WebhookUrl>()) {
            (Ok(party), _) if acted_for.is_some_and(|acted_for| !acted_for.contains(&party)) => {
                section.problem(&key, "is not one of the parties", remedy);
            }
            (Ok(party), Ok(url)) => {
                parties.insert(party, url);
            }
            (Err(error), _) => section.problem(&key, error, remedy),
            (_, Err(error)) => section.problem(&key, error, remedy),
        }
    }
    let attempts = section.or("attempts", NonZeroU32::new(20).expect("it is not zero"), |number: u64| {
        let attempts = u32::try_from(number).ok().and_then(NonZeroU32::new);
        attempts.filter(|attempts| attempts.get() <= 10_000).ok_or("is not between 1 and 10000")
    });
    let mut urls = url.iter().flatten().chain(parties.values());
    if let Some(None) = bundle
        && urls.any(WebhookUrl::is_https)
    {
        let remedy = "set it to a PEM file with the CA certificates of the agency's system; what this machine trusts is not used";
        section.problem("bundle", "is missing, and a webhook is https", remedy);
    }
    raw.finish(section);
    Some(Webhook {
        url: url?,
        parties,
        secret_file: secret_file?,
        bundle: bundle?,
        timeout: timeout?,
        at_once: at_once?,
        attempts: attempts?,
    })
}

fn folder(
    raw: &mut Raw,
    base: &Path,
    acted_for: Option<&[PartyId]>,
    webhook: Option<&Webhook>,
) -> Option<Option<Folder>> {
    let mut section = raw.section("folder");
    let dir = section.optional("dir", |text: String| Ok::<_, String>(base.join(text)));
    let spoken_for = section.optional("parties", parties);
    let poll = section.or("poll_ms", Duration::from_millis(1000), millis);
    let settle = section.or("settle_ms", Duration::from_millis(2000), millis);
    let documents = section.or("documents", false, yes_or_no);
    let keep =
        section.or("keep_hours", Duration::from_secs(7 * DAY), |hours| seconds(u64::saturating_mul(hours, 3600)));
    let max_inbox = section.or("max_inbox", count_of(10_000), count);
    for party in spoken_for.iter().flatten().flatten() {
        if acted_for.is_some_and(|acted_for| !acted_for.contains(party)) {
            let what = format!("names {party}, which is not one of the parties");
            section.problem("parties", what, "write some of the parties above");
        }
        if webhook.is_some_and(|webhook| webhook.parties.contains_key(party)) {
            let what = format!("names {party}, which has a webhook of its own");
            section.problem("parties", what, "a party has one way out: remove it here or from [webhook.parties]");
        }
    }
    match (&dir, &spoken_for) {
        (Some(Some(_)), Some(None)) => {
            section.problem("parties", "is missing", "write the parties whose things go there")
        }
        (Some(None), Some(Some(_))) => section.problem("dir", "is missing", "write the folder that is watched"),
        _ => {}
    }
    raw.finish(section);
    let (dir, parties) = (dir?, spoken_for?);
    let (poll, settle, documents, keep, max_inbox) = (poll?, settle?, documents?, keep?, max_inbox?);
    Some(dir.zip(parties).map(|(dir, parties)| Folder { dir, parties, poll, settle, documents, keep, max_inbox }))
}

fn tables(
    raw: &mut Raw,
    base: &Path,
    acted_for: Option<&[PartyId]>,
    webhook: Option<&Webhook>,
    folder: Option<&Option<Folder>>,
) -> Option<Option<Tables>> {
    let word = |text: String| if text.is_empty() { Err("is empty") } else { Ok(text) };
    let mut section = raw.section("tables");
    let host = section.optional("host", word);
    let port = section.or("port", 5432, |number: u64| match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("is not a port"),
    });
    let database = section.optional("database", word);
    let user = section.or("user", "lgsp_adapter".to_owned(), word);
    let password_file = section.optional("password_file", |text: String| Ok::<_, String>(base.join(text)));
    let bundle = section.optional("bundle", |text: String| Ok::<_, String>(base.join(text)));
    let plain = section.or("plain", false, yes_or_no);
    let schema = section.or("schema", SchemaName("lgsp".into()), |text: String| text.parse::<SchemaName>());
    let spoken_for = section.optional("parties", parties);
    let poll = section.or("poll_ms", Duration::from_millis(5000), millis);
    let timeout = section.or("timeout_ms", Duration::from_millis(10_000), millis);
    let documents = section.or("documents", false, yes_or_no);
    let acknowledge = section.or("acknowledge", Acknowledge::Stored, |text: String| match &*text {
        "stored" => Ok(Acknowledge::Stored),
        "handled" => Ok(Acknowledge::Handled),
        _ => Err("is neither stored nor handled"),
    });
    let max_inbox = section.or("max_inbox", count_of(10_000), count);
    for party in spoken_for.iter().flatten().flatten() {
        if acted_for.is_some_and(|acted_for| !acted_for.contains(party)) {
            let what = format!("names {party}, which is not one of the parties");
            section.problem("parties", what, "write some of the parties above");
        }
        let has_webhook = webhook.is_some_and(|webhook| webhook.parties.contains_key(party));
        let has_folder = folder.is_some_and(|folder| folder.as_ref().is_some_and(|one| one.parties.contains(party)));
        for (has, what, where_) in [
            (has_webhook, "a webhook of its own", "[webhook.parties]"),
            (has_folder, "the watched folder", "folder.parties"),
        ] {
            if has {
                let what = format!("names {party}, which has {what}");
                section.problem("parties", what, format!("a party has one way out: remove it here or from {where_}"));
            }
        }
    }
    if let Some(Some(host)) = &host {
        for (key, is_missing, remedy) in [
            ("database", matches!(database, Some(None)), "write the name of the agency's database"),
            ("parties", matches!(spoken_for, Some(None)), "write the parties whose things go there"),
        ] {
            if is_missing {
                section.problem(key, "is missing", remedy);
            }
        }
        if matches!((&bundle, plain), (Some(None), Some(false))) && !is_this_machine(host) {
            let remedy = "set it to a PEM file with the CA certificates of the database; citizens' data would travel readable \
                          (plain = true says that another layer protects it)";
            section.problem("bundle", "is missing, and the database is on another machine", remedy);
        }
    } else if let (Some(None), true) = (&host, matches!(spoken_for, Some(Some(_))) || matches!(database, Some(Some(_))))
    {
        section.problem("host", "is missing", "write the database server, or the folder of its socket");
    }
    raw.finish(section);
    let (host, port, database, user, password_file) = (host?, port?, database?, user?, password_file?);
    let (bundle, plain, schema, parties) = (bundle?, plain?, schema?, spoken_for?);
    let (poll, timeout, documents, acknowledge, max_inbox) = (poll?, timeout?, documents?, acknowledge?, max_inbox?);
    let tables = |((host, database), parties)| Tables {
        host,
        port,
        database,
        user,
        password_file,
        bundle,
        plain,
        schema,
        parties,
        poll,
        timeout,
        documents,
        acknowledge,
        max_inbox,
    };
    Some(host.zip(database).zip(parties).map(tables))
}

/// Whether what is said to a database there stays on this machine: over its socket, or the loopback interface.
fn is_this_machine(host: &str) -> bool {
    host.starts_with('/') || host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn connector(raw: &mut Raw, acted_for: Option<&[PartyId]>) -> Option<Option<Connector>> {
    let mut section = raw.section("connector");
    let party = section.optional("party", |text: String| text.parse::<PartyId>());
    let at_once = section.or("at_once", count_of(16), |number: u64| match count(number) {
        Ok(count) if number <= MAX_CREDIT => Ok(count),
        _ => Err(format!("is not between 1 and {MAX_CREDIT}")),
    });
    let given = section.optional("services", |texts: BTreeMap<String, String>| Ok::<_, String>(texts));
    let mut services = BTreeMap::new();
    for (service, url) in given.flatten().unwrap_or_default() {
        let key = format!("services.{service}");
        let remedy = "write \"name/version\" = \"http://127.0.0.1:port/path\", e.g. \"thua-dat/1\"";
        let named = service.rsplit_once('/').and_then(|(name, version)| Some((name.to_owned(), version.parse().ok()?)));
        match (named.filter(|(name, version)| !name.is_empty() && *version > 0), url.parse::<WebhookUrl>()) {
            (None, _) => section.problem(&key, "is not the name and the version of a service", remedy),
            (_, Err(error)) => section.problem(&key, error, remedy),
            (_, Ok(url)) if url.is_https() || !url.is_on_this_machine() => {
                section.problem(&key, "is not http on this machine", remedy);
            }
            (Some(service), Ok(url)) => _ = services.insert(service, url),
        }
    }
    if let Some(Some(party)) = &party {
        if acted_for.is_some_and(|acted_for| !acted_for.contains(party)) {
            section.problem(
                "party",
                format!("is {party}, which is not one of the parties"),
                "write one of the parties above",
            );
        }
        if services.is_empty() {
            section.problem("services", "is empty", "write the services that are answered here");
        }
    } else if !services.is_empty() {
        section.problem("party", "is missing", "write the party that owns the services");
    }
    raw.finish(section);
    let (party, at_once) = (party?, at_once?);
    Some(party.map(|party| Connector { party, services, at_once }))
}

fn exchange(raw: &mut Raw) -> Option<Exchange> {
    let defaults = Backoff::default();
    let mut section = raw.section("exchange");
    let at_once = section.or("at_once", count_of(64), count);
    let credit = section.or("credit", 256, |number: u64| match u32::try_from(number) {
        Ok(credit) if (1..=MAX_CREDIT).contains(&number) => Ok(credit),
        _ => Err(format!("is not between 1 and {MAX_CREDIT}")),
    });
    let first = section.or("backoff_first_ms", defaults.first, millis);
    let limit = section.or("backoff_limit_ms", defaults.limit, millis);
    let instance = section.or("instance", "main".to_owned(), |name: String| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let is_name = (1..=64).contains(&name.len()) && name.chars().all(is_word);
        if is_name { Ok(name) } else { Err("is not a name of 1 to 64 of A-Z a-z 0-9 _ - .") }
    });
    raw.finish(section);
    Some(Exchange {
        at_once: at_once?,
        credit: credit?,
        instance: instance?,
        backoff: Backoff { first: first?, limit: limit? },
    })
}

fn offline(raw: &mut Raw) -> Option<Offline> {
    let mut section = raw.section("offline");
    let enabled = section.or("enabled", true, yes_or_no);
    let block = section.or("block", 50, |number: u64| within(number, 1, 1000));
    let days_ahead = section.or("days_ahead", 3, |number: u64| within(number, 0, 7));
    let authorities = section.or("authorities", Vec::new(), |texts: Vec<String>| match &texts[..] {
        [] => Ok(Vec::new()),
        _ => parties(texts),
    });
    let refresh = section.or("refresh_seconds", Duration::from_secs(300), seconds);
    let skew_tolerance = section.or("skew_tolerance_seconds", Duration::from_secs(120), seconds);
    let ahead = section.or("ahead_seconds", Duration::from_secs(300), seconds);
    let back = section.or("back_days", Duration::from_secs(15 * DAY), |number: u64| {
        within(number, 1, 30).map(|days| Duration::from_secs(u64::from(days) * DAY))
    });
    raw.finish(section);
    Some(Offline {
        enabled: enabled?,
        block: block?,
        days_ahead: days_ahead?,
        authorities: authorities?,
        refresh: refresh?,
        skew_tolerance: skew_tolerance?,
        ahead: ahead?,
        back: back?,
    })
}

const DAY: u64 = 24 * 3600;

/// Text too, because environment variables are text.
fn yes_or_no(value: toml::Value) -> Result<bool, &'static str> {
    match (value.as_bool(), value.as_str()) {
        (Some(yes), _) => Ok(yes),
        (_, Some("true")) => Ok(true),
        (_, Some("false")) => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

fn within(number: u64, least: u32, most: u32) -> Result<u32, String> {
    let number = u32::try_from(number).ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("is not between {least} and {most}"))
}

fn parties(texts: Vec<String>) -> Result<Vec<PartyId>, String> {
    if texts.is_empty() || texts.len() > MAX_PARTIES {
        return Err(format!("names {} parties; 1 to {MAX_PARTIES} are allowed", texts.len()));
    }
    let mut seen = BTreeSet::new();
    let party = |text: &String| {
        let party: PartyId = text.parse().map_err(|malformed| format!("names {text:?}, which {malformed}"))?;
        if seen.insert(party.clone()) { Ok(party) } else { Err(format!("names {text} twice")) }
    };
    texts.iter().map(party).collect()
}

fn positive(number: u64) -> Result<u64, String> {
    if number == 0 { Err("is 0".to_owned()) } else { Ok(number) }
}

fn count(number: u64) -> Result<NonZeroUsize, String> {
    usize::try_from(number)
        .ok()
        .and_then(NonZeroUsize::new)
        .filter(|count| count.get() <= 1_000_000)
        .ok_or_else(|| "is not between 1 and a million".to_owned())
}

fn count_of(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("the defaults are not 0")
}

fn millis(number: u64) -> Result<Duration, String> {
    Ok(Duration::from_millis(positive(number)?.min(u64::from(u32::MAX))))
}

fn seconds(number: u64) -> Result<Duration, String> {
    Ok(Duration::from_secs(positive(number)?.min(u64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = r#"
        gateway = "https://gw.lgsp.hue.test:7443"
        parties = ["H57.101", "H57.12"]
        [tls]
        certificate = "adapter.pem"
        key = "adapter.key"
        bundle = "/etc/lgsp/ca.pem"
        [spool]
        folder = "spool"
    "#;

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::parse(text, Path::new("/srv/adapter"), environment)
    }

    fn keys(problems: Problems) -> Vec<String> {
        let mut keys: Vec<_> = problems.0.into_iter().map(|problem| problem.key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_is_not_said_has_a_default_and_paths_start_at_the_file() {
        let config = parse(SMALLEST, &[]).unwrap();
        assert_eq!(config.address.tls.certificate, Path::new("/srv/adapter/adapter.pem"));
        assert_eq!(config.address.tls.bundle, Path::new("/etc/lgsp/ca.pem"));
        assert_eq!(config.spool.folder, Path::new("/srv/adapter/spool"));
        assert_eq!(config.exchange.at_once.get(), 64);
        assert!(config.rest.listen.ip().is_loopback());
        assert!(config.webhook.url.is_none());
    }

    #[test]
    fn the_example_is_valid_and_shows_the_defaults() {
        let shown = parse(EXAMPLE, &[]).unwrap();
        // A default is a comment that becomes a key when it is uncommented, and then changes nothing.
        let is_key = |line: &str| line.strip_prefix("# ").is_some_and(|key| key.split_once(" = ").is_some());
        let (mut spelled_out, mut keys) = (String::new(), 0);
        for line in EXAMPLE.lines() {
            let needs_more = [
                "server_name",
                "identity",
                "0.0.0.0",
                "\"rest.pem",
                "\"rest.key",
                "bundle",
                "url",
                "\"H57.12\"",
                "dir",
                "parties",
                "host",
                "database",
                "password_file",
                "\"thua-dat/1\"",
                "dancu",
                "VN/GOV",
                "\"hue\"",
                "clerks.toml",
                "dan_cu",
                "connections",
                "timeout_ms = 5000",
            ]
            .iter()
            .any(|key| line.contains(key));
            let uncommented = is_key(line) && !needs_more;
            keys += usize::from(uncommented);
            spelled_out += if uncommented { &line[2..] } else { line };
            spelled_out.push('\n');
        }
        assert_eq!(format!("{:?}", parse(&spelled_out, &[]).unwrap()), format!("{shown:?}"));
        assert_eq!(keys, 52);
    }

    #[test]
    fn an_identity_takes_the_place_of_the_three_files() {
        let [head, files] = ["[tls]", "[spool]"].map(|part| SMALLEST.find(part).unwrap());
        let text = format!("{}[tls]\nidentity = \"identity\"\n{}", &SMALLEST[..head], &SMALLEST[files..]);
        let config = parse(&text, &[]).unwrap();
        assert_eq!(config.identity.folder.as_deref(), Some(Path::new("/srv/adapter/identity")));
        assert_eq!(config.address.tls.certificate, Path::new("/srv/adapter/identity/current/chain.pem"));
        let both = text.replace("[tls]", "[tls]\nkey = \"adapter.key\"");
        assert_eq!(keys(parse(&both, &[]).unwrap_err()), ["tls.key"]);
    }

    #[test]
    fn every_problem_is_reported_at_once_with_its_key() {
        let text = r#"
            gateway = "http://gw:7443"
            parties = ["H57.101", "H57.101"]
            colour = "blue"
            [tls]
            certificate = 7
            key = "adapter.key"
            [spool]
            folder = "spool"
            max_outgoing = 0
            max_document_mib = 9000
            [rest]
            listen = "0.0.0.0:8480"
            [webhook]
            url = "ftp://agency"
            [webhook.parties]
            "h57" = "http://agency/"
            [exchange]
            credit = 5000
            [exhange]
            credit = 5
        "#;
        let expected = [
            "colour",
            "exchange.credit",
            "exhange",
            "gateway",
            "parties",
            "rest.listen",
            "spool.max_document_mib",
            "spool.max_outgoing",
            "tls.bundle",
            "tls.certificate",
            "webhook.parties.h57",
            "webhook.url",
        ];
        let problems = parse(text, &[]).unwrap_err();
        assert!(problems.0.iter().all(|problem| !problem.what.is_empty() && !problem.remedy.is_empty()));
        assert_eq!(keys(problems), expected);
    }

    #[test]
    fn a_token_is_asked_for_unless_it_is_said_otherwise_and_nothing_is_served_beyond_this_machine_in_the_clear() {
        let with = |text: &str| parse(&format!("{SMALLEST}\n[rest]\n{text}"), &[]);
        let file = with("").unwrap().rest.token_file.unwrap();
        assert_eq!(file, Path::new("/srv/adapter/spool/rest.token"));
        assert_eq!(with("token = \"none\"").unwrap().rest.token_file, None);
        assert_eq!(keys(with("token = \"no\"").unwrap_err()), ["rest.token"]);
        assert_eq!(keys(with("token = \"none\"\ntoken_file = \"token\"").unwrap_err()), ["rest.token"]);
        for everywhere in ["0.0.0.0:8480", "[::]:8480", "192.0.2.1:8480"] {
            let problems = with(&format!("listen = \"{everywhere}\"\ntoken_file = \"token\"")).unwrap_err();
            assert_eq!(keys(problems), ["rest.listen"], "{everywhere}");
        }
    }

    #[test]
    fn other_machines_are_served_over_tls_or_not_at_all() {
        let with = |text: &str| parse(&format!("{SMALLEST}\n[remote]\n{text}"), &[]);
        assert!(with("").unwrap().remote.is_none());
        assert_eq!(keys(with("listen = \"0.0.0.0:8443\"").unwrap_err()), ["remote.certificate", "remote.key"]);
        let remote = with("certificate = \"rest.pem\"\nkey = \"rest.key\"").unwrap().remote.unwrap();
        assert_eq!((remote.listen.port(), &*remote.key), (8443, Path::new("/srv/adapter/rest.key")));
        assert_eq!(remote.client_bundle, None);
    }

    #[test]
    fn a_webhook_belongs_to_a_party_that_is_acted_for() {
        let with = |party: &str| format!("{SMALLEST}\n[webhook.parties]\n\"{party}\" = \"http://127.0.0.1:9000/\"");
        assert_eq!(parse(&with("H57.12"), &[]).unwrap().webhook.parties.len(), 1);
        assert_eq!(keys(parse(&with("H57.13"), &[]).unwrap_err()), ["webhook.parties.H57.13"]);
    }

    #[test]
    fn a_webhook_over_https_needs_to_be_told_whom_to_trust() {
        let with = |more: &str| format!("{SMALLEST}\n[webhook]\nurl = \"https://agency.test/lgsp\"\n{more}");
        let problems = parse(&with(""), &[]).unwrap_err();
        assert!(problems.to_string().contains("CA certificates of the agency's system"), "{problems}");
        assert_eq!(keys(problems), ["webhook.bundle"]);
        let config = parse(&with("bundle = \"agency-ca.pem\""), &[]).unwrap();
        assert_eq!(config.webhook.bundle.as_deref(), Some(Path::new("/srv/adapter/agency-ca.pem")));
        assert_eq!(config.webhook.secret_file, Path::new("/srv/adapter/spool/webhook.secret"));
    }

    #[test]
    fn a_connector_answers_for_one_party_from_this_machine() {
        let with = |text: &str| format!("{SMALLEST}\n[connector]\n{text}");
        let services = "[connector.services]\n\"thua-dat/1\" = \"http://127.0.0.1:9002/\"";
        let good = parse(&with(&format!("party = \"H57.12\"\n{services}")), &[]).unwrap().connector.unwrap();
        assert_eq!(good.services.keys().cloned().collect::<Vec<_>>(), [("thua-dat".to_owned(), 1)]);
        assert!(parse(&with("at_once = 3"), &[]).unwrap().connector.is_none());
        let wrong = |text: &str| keys(parse(&with(text), &[]).unwrap_err());
        assert_eq!(wrong(services), ["connector.party"]);
        assert_eq!(wrong("party = \"H57.12\""), ["connector.services"]);
        assert_eq!(wrong(&format!("party = \"H57.99\"\n{services}")), ["connector.party"]);
        for bad in [
            "\"thua-dat\" = \"http://127.0.0.1:1/\"",
            "\"t/0\" = \"http://127.0.0.1:1/\"",
            "\"t/1\" = \"http://10.0.0.1/\"",
        ] {
            let found = wrong(&format!("party = \"H57.12\"\n{services}\n{bad}"));
            assert!(found.len() == 1 && found[0].starts_with("connector.services."), "{found:?}");
        }
    }

    #[test]
    fn a_folder_speaks_for_parties_that_have_no_other_way_out() {
        let with = |text: &str| format!("{SMALLEST}\n[folder]\n{text}");
        let config = parse(&with("dir = \"lgsp\"\nparties = [\"H57.12\"]"), &[]).unwrap().folder.unwrap();
        assert_eq!((&*config.dir, config.parties.len()), (Path::new("/srv/adapter/lgsp"), 1));
        assert!(parse(&with("documents = true"), &[]).unwrap().folder.is_none());
        let stranger = with("dir = \"lgsp\"\nparties = [\"H57.13\"]");
        let twice =
            with("dir = \"lgsp\"\nparties = [\"H57.12\"]\n[webhook.parties]\n\"H57.12\" = \"http://127.0.0.1:9/\"");
        let nobodys = with("dir = \"lgsp\"");
        for text in [&stranger, &twice, &nobodys] {
            assert_eq!(keys(parse(text, &[]).unwrap_err()), ["folder.parties"], "{text}");
        }
        assert_eq!(keys(parse(&with("parties = [\"H57.12\"]"), &[]).unwrap_err()), ["folder.dir"]);
    }

    #[test]
    fn tables_speak_for_parties_that_have_no_other_way_out() {
        let with = |text: &str| format!("{SMALLEST}\n[tables]\n{text}");
        let whole = "host = \"/run/postgresql\"\ndatabase = \"mot_cua\"\nparties = [\"H57.12\"]\n";
        let tables = parse(&with(whole), &[]).unwrap().tables.unwrap();
        assert_eq!((tables.port, &*tables.user, tables.schema.as_str()), (5432, "lgsp_adapter", "lgsp"));
        assert_eq!(tables.acknowledge, Acknowledge::Stored);
        assert!(parse(&with("documents = true"), &[]).unwrap().tables.is_none());
        let folder = format!("{}[folder]\ndir = \"lgsp\"\nparties = [\"H57.12\"]", with(whole));
        let webhook = format!("{}[webhook.parties]\n\"H57.12\" = \"http://127.0.0.1:9/\"", with(whole));
        for (text, key) in [
            (with(&whole.replace("H57.12", "H57.13")), "tables.parties"),
            (folder, "tables.parties"),
            (webhook, "tables.parties"),
            (with("host = \"/run\"\ndatabase = \"mot_cua\""), "tables.parties"),
            (with("host = \"/run\"\nparties = [\"H57.12\"]"), "tables.database"),
            (with("parties = [\"H57.12\"]"), "tables.host"),
            (with(&format!("{whole}schema = \"a; drop\"")), "tables.schema"),
            (with(&format!("{whole}acknowledge = \"never\"")), "tables.acknowledge"),
            (with(&format!("{whole}port = 0")), "tables.port"),
        ] {
            assert_eq!(keys(parse(&text, &[]).unwrap_err()), [key], "{text}");
        }
    }

    #[test]
    fn a_database_on_another_machine_needs_to_be_told_whom_to_trust_or_that_it_may_be_plain() {
        let with = |host: &str, more: &str| {
            let tables = format!("host = \"{host}\"\ndatabase = \"mot_cua\"\nparties = [\"H57.12\"]\n{more}");
            parse(&format!("{SMALLEST}\n[tables]\n{tables}"), &[])
        };
        for host in ["/run/postgresql", "127.0.0.1", "::1", "localhost"] {
            assert!(with(host, "").is_ok(), "{host}");
        }
        for host in ["db.agency.test", "10.0.0.7", "localhost.agency.test"] {
            assert_eq!(keys(with(host, "").unwrap_err()), ["tables.bundle"], "{host}");
            assert!(with(host, "plain = true").is_ok() && with(host, "bundle = \"ca.pem\"").is_ok(), "{host}");
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let environment = [
            ("LGSP_ADAPTER__REST__LISTEN", "127.0.0.1:0"),
            ("LGSP_ADAPTER__EXCHANGE__CREDIT", "7"),
            ("LGSP_ADAPTER__GATEWAY", "https://other:7443"),
            ("HOME", "/root"),
        ];
        let config = parse(SMALLEST, &environment).unwrap();
        assert_eq!((config.rest.listen.port(), config.exchange.credit), (0, 7));
        assert_eq!(config.address.gateway.host(), "other");
        assert_eq!(keys(parse(SMALLEST, &[("LGSP_ADAPTER__A__B__C", "1")]).unwrap_err()), ["LGSP_ADAPTER__A__B__C"]);
    }

    #[test]
    fn what_is_not_toml_is_said_with_its_line() {
        let problems = parse("gateway = \"https://gw\"\nparties = [", &[]).unwrap_err();
        assert!(problems.to_string().contains("line 2"), "{problems}");
    }
}
