//! A folder with a CA, and the processes that run in it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, Method, header};
use lgsp_adapters::link::{Address, Link, Timings};
use lgsp_certs::{CertificateAuthority, TlsFiles, TrustDomain, server_name};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::support::MORNING;
use crate::{http, within};

const LGSP: &str = env!("CARGO_BIN_EXE_lgsp");
const HUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/registry/hue");
const REGISTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/domain/tests/fixtures/registry");

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A folder of its own for one journey. What the processes logged is shown when the journey fails.
pub(crate) struct Place {
    dir: TempDir,
    ca: CertificateAuthority,
}

/// A process that has said that it is ready. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Closed when we die, whichever way; the process ends then.
    _stdin: ChildStdin,
    ready: Value,
}

/// A running gateway.
pub(crate) struct Gateway {
    process: Process,
    /// Where the bus is.
    pub(crate) bus: SocketAddr,
    local: SocketAddr,
}

/// A running adapter.
pub(crate) struct Adapter {
    process: Process,
    /// Where its local interface is.
    pub(crate) rest: SocketAddr,
}

impl Place {
    /// A CA, and a gateway's certificate and configuration. The gateway's business clock begins at [`MORNING`].
    pub(crate) fn new() -> Self {
        Self::with(Path::new(REGISTRY), &format!("kind = \"replay\"\nstart = \"{MORNING}\""))
    }

    /// The same with the registry of Hue, and today's time: desks that go on without a line live by the machine's clock.
    pub(crate) fn of_hue() -> Self {
        let place = Self::with(Path::new("registry"), "kind = \"system\"");
        fs::create_dir(place.path("registry")).unwrap();
        for file in fs::read_dir(HUE).unwrap().map(Result::unwrap) {
            let text = fs::read_to_string(file.path()).unwrap();
            // Whatever year it is, its days count; which of them are holidays does not matter here.
            let this_year = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
            let years: Vec<i16> = (2025..=this_year.max(2026) + 1).collect();
            let text = text.replace("years = [2025, 2026]", &format!("years = {years:?}"));
            fs::write(place.path("registry").join(file.file_name()), text).unwrap();
        }
        place
    }

    fn with(registry: &Path, clock: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let domain: TrustDomain = "bus.test".parse().unwrap();
        let ca = CertificateAuthority::create(&dir.path().join("ca"), &domain, SystemTime::now()).unwrap();
        let place = Self { dir, ca };
        place.issue_the_gateways_certificate();
        place.write(
            "gateway.toml",
            &format!(
                "name = \"bus.test\"\n\
                 [listen]\nbus = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\n\
                 [tls]\ncertificate = \"tls/gateway.pem\"\nkey = \"tls/gateway.key\"\nclient_bundle = \"ca/root.pem\"\n\
                 [store]\ndir = \"data\"\nnode_key = \"node.key\"\n\
                 [documents]\ndir = \"documents\"\n\
                 [business_clock]\n{clock}\n\
                 [registry]\nfirst = {registry:?}\n"
            ),
        );
        place
    }

    /// A fresh key and certificate for the gateway, for its next start.
    pub(crate) fn issue_the_gateways_certificate(&self) {
        let issued = self.ca.issue_server(&[server_name("127.0.0.1").unwrap()], DAY, SystemTime::now()).unwrap();
        for ending in ["pem", "key"] {
            // There is none the first time.
            let _ = fs::remove_file(self.path("tls").join(format!("gateway.{ending}")));
        }
        issued.write_to(&self.path("tls"), "gateway").unwrap();
    }

    /// Starts the gateway, on the same folder each time and on any port.
    pub(crate) async fn gateway(&self) -> Gateway {
        let process = self.start("gateway", "gateway.toml").await;
        Gateway { bus: process.listener("bus"), local: process.listener("local"), process }
    }

    /// Starts the adapter of a system, on its own folder each time and on any port.
    pub(crate) async fn adapter(&self, system: &str, party: &str, gateway: SocketAddr, webhook: SocketAddr) -> Adapter {
        self.adapter_in(system, system, party, (gateway, webhook), "").await
    }

    /// Starts one of several adapters of a system: the one that speaks for this party, with `more` in its configuration.
    pub(crate) async fn installation(
        &self,
        system: &str,
        party: &str,
        gateway: SocketAddr,
        webhook: SocketAddr,
        more: &str,
    ) -> Adapter {
        let more = format!("instance = \"{party}\"\n{more}");
        self.adapter_in(party, system, party, (gateway, webhook), &more).await
    }

    async fn adapter_in(
        &self,
        name: &str,
        system: &str,
        party: &str,
        (gateway, webhook): (SocketAddr, SocketAddr),
        more: &str,
    ) -> Adapter {
        let TlsFiles { certificate, key, bundle } = self.certificate(system);
        // Impatient, so that what comes back is noticed soon.
        let config = format!(
            "gateway = \"https://{gateway}\"\nparties = [\"{party}\"]\n\
             [tls]\ncertificate = {certificate:?}\nkey = {key:?}\nbundle = {bundle:?}\n\
             [spool]\nfolder = \"spool-{name}\"\n\
             [rest]\nlisten = \"127.0.0.1:0\"\n\
             [webhook]\nurl = \"http://{webhook}/lgsp\"\n\
             [exchange]\nbackoff_first_ms = 20\nbackoff_limit_ms = 200\n{more}"
        );
        let file = format!("{name}.toml");
        self.write(&file, &config);
        let process = self.start("adapter", &file).await;
        Adapter { rest: process.listener("rest"), process }
    }

    /// A link of a system's own to a gateway, past any adapter.
    pub(crate) fn link(&self, system: &str, gateway: SocketAddr) -> Link {
        let tls = self.certificate(system);
        let gateway = format!("https://{gateway}").parse().unwrap();
        Link::new(&Address { gateway, server_name: None, tls, timings: Timings::default() }).unwrap()
    }

    /// From now on the gateway listens where it listens now.
    pub(crate) fn keep_address(&self, gateway: &Gateway) {
        let config = fs::read_to_string(self.path("gateway.toml")).unwrap();
        self.write("gateway.toml", &config.replace("bus = \"127.0.0.1:0\"", &format!("bus = \"{}\"", gateway.bus)));
    }

    /// What a power surge leaves of the gateway's disk.
    pub(crate) fn lose_the_gateways_disk(&self) {
        for folder in ["data", "documents"] {
            fs::remove_dir_all(self.path(folder)).unwrap();
        }
    }

    /// Runs a command in this folder and gives what it says, as JSON.
    pub(crate) async fn run(&self, words: &[&str]) -> Value {
        let ended = within(words[0], self.lgsp(words).arg("--json").output()).await.unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{}: {said}{}", ended.status, String::from_utf8_lossy(&ended.stderr));
        serde_json::from_str(&said).unwrap()
    }

    /// Checks the books of the gateway, which must not be running, and gives the report.
    pub(crate) async fn fsck(&self) -> Value {
        let mut command = self.lgsp(&["fsck", "data", "--node-key", "node.key", "--json"]);
        let ended = within("fsck", command.output()).await.unwrap();
        let report = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{}: {report}{}", ended.status, String::from_utf8_lossy(&ended.stderr));
        serde_json::from_str(&report).unwrap()
    }

    /// Writes a connection profile, and gives its name.
    pub(crate) fn profile(&self, name: &str, system: &str, party: &str, gateway: SocketAddr) -> String {
        let TlsFiles { certificate, key, bundle } = self.certificate(system);
        let profile = format!(
            "gateway = \"https://{gateway}\"\ncertificate = {certificate:?}\nkey = {key:?}\nbundle = {bundle:?}\n\
             party = \"{party}\"\nactor = \"clerk-1\"\n"
        );
        self.write(name, &profile);
        name.to_owned()
    }

    /// What a command answers in JSON.
    pub(crate) async fn ask(&self, words: &[&str]) -> Value {
        let ended = within("a command", self.lgsp(words).output()).await.unwrap();
        assert!(ended.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ended.stderr));
        serde_json::from_slice(&ended.stdout).unwrap()
    }

    /// What a command answers in JSON, unless it is refused.
    pub(crate) async fn tried(&self, words: &[&str]) -> Option<Value> {
        let ended = within("a command", self.lgsp(words).output()).await.unwrap();
        ended.status.success().then(|| serde_json::from_slice(&ended.stdout).unwrap())
    }

    /// What a command says that must be refused.
    pub(crate) async fn refused(&self, words: &[&str]) -> String {
        let ended = within("a command", self.lgsp(words).output()).await.unwrap();
        assert_eq!(ended.status.code(), Some(3), "{words:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stderr).unwrap()
    }

    /// The disk of a system's adapter is gone, with all that was on it.
    pub(crate) fn lose_spool(&self, system: &str) {
        fs::remove_dir_all(self.path(&format!("spool-{system}"))).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A system's certificate, issued when it is first asked for.
    fn certificate(&self, system: &str) -> TlsFiles {
        let folder = self.path("tls");
        let file = |ending| folder.join(format!("{system}.{ending}"));
        let (certificate, key) = (file("pem"), file("key"));
        if !certificate.exists() {
            let issued = self.ca.issue_system(&system.parse().unwrap(), DAY, SystemTime::now()).unwrap();
            issued.write_to(&folder, system).unwrap();
        }
        TlsFiles { certificate, key, bundle: self.path("ca/root.pem") }
    }

    /// The binary in this folder, with nothing of our environment that could change what it does.
    fn lgsp(&self, words: &[&str]) -> Command {
        let mut command = Command::new(LGSP);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LGSP_")) {
            command.env_remove(name);
        }
        command.args(words).current_dir(self.dir.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn start(&self, role: &str, config: &str) -> Process {
        let log = self.path(config).with_extension("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.lgsp(&[role, "--config", config, "--until-stdin-closes"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within(config, lines.next_line()).await.unwrap();
        let told = line.as_deref().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let told = told.unwrap_or_else(|| panic!("{config}: instead of being ready it said {line:?}"));
        Process { child, _stdin: stdin, ready: told["ready"].clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(self.dir.path());
        }
    }
}

fn show_logs(folder: &Path) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    for log in files.filter(|file| file.extension().is_some_and(|extension| extension == "log")) {
        println!("--- {}\n{}", log.display(), fs::read_to_string(&log).unwrap_or_default());
    }
}

impl Process {
    fn listener(&self, name: &str) -> SocketAddr {
        self.ready[name].as_str().unwrap().parse().unwrap()
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and waits for the end.
    async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let ended: ExitStatus = within("an orderly end", self.child.wait()).await.unwrap();
        assert!(ended.success(), "{ended}");
    }
}

impl Gateway {
    pub(crate) async fn kill(self) {
        self.process.kill().await;
    }

    pub(crate) async fn stop(self) {
        self.process.stop().await;
    }

    /// Moves the business clock on.
    pub(crate) async fn set_clock(&self, now: &str) {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().unwrap())]);
        let body = json!({ "now": now }).to_string().into();
        http::send(self.local, Method::PUT, "/business-clock", headers, body).await.with(200);
    }

    /// A figure of the store, as operators see it.
    pub(crate) async fn figure(&self, name: &str) -> u64 {
        http::get(self.local, "/status").await["store"][name].as_u64().unwrap()
    }
}

impl Adapter {
    pub(crate) async fn kill(self) {
        self.process.kill().await;
    }

    pub(crate) async fn stop(self) {
        self.process.stop().await;
    }

    /// How it is, as operators see it.
    pub(crate) async fn status(&self) -> Value {
        http::get(self.rest, "/status").await
    }

    /// Waits until nothing is on its way any more, in either direction.
    pub(crate) async fn settled(&self) {
        crate::until("an adapter without anything under way", async || {
            let status = self.status().await;
            let under_way = ["/outgoing/waiting", "/incoming/not_handed_over", "/incoming/unconfirmed"];
            under_way.iter().all(|figure| status.pointer(figure) == Some(&json!(0))).then_some(())
        })
        .await;
    }
}
