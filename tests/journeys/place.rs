//! A folder with a CA, and the processes that run in it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, Method, header};
use data_encoding::BASE64;
use lgsp_adapters::link::{Address, Link, Timings};
use lgsp_certs::{CertificateAuthority, CertificateDigest, SigningRequest, TlsFiles, TrustDomain, Usage, server_name};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio_rustls::TlsConnector;

use crate::postgres::Postgres;
use crate::support::{MORNING, output};
use crate::{http, within};

const LGSP: &str = env!("CARGO_BIN_EXE_lgsp");
const HUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/registry/hue");
const REGISTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/domain/tests/fixtures/registry");

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A folder of its own for one journey. What the processes logged is shown when the journey fails.
pub(crate) struct Place {
    dir: TempDir,
    ca: CertificateAuthority,
    /// Whether everything is logged.
    talkative: bool,
    /// Whether adapters want to be shown a token.
    guarded: bool,
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
        let place = Self { dir, ca, talkative: output::folder().is_some(), guarded: false };
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

    /// The same, and everything is logged.
    pub(crate) fn talkative(mut self) -> Self {
        self.talkative = true;
        self
    }

    /// The same, and adapters answer only those who show the token.
    pub(crate) fn guarded(mut self) -> Self {
        self.guarded = true;
        self.write("rest.token", crate::http::TOKEN);
        self
    }

    /// The same, and systems join here: the gateway issues certificates that live for so many seconds, by the CA that the link
    /// `issuing` leads to. `bundle.pem` holds the roots of the bus.
    pub(crate) fn issuing(self, leaf_life_s: u32) -> Self {
        self.issue_by("ca");
        self.trust_in(&["ca"]);
        let config = fs::read_to_string(self.path("gateway.toml")).unwrap();
        let config = config
            .replace("[listen]\n", "[listen]\nenrol = \"127.0.0.1:0\"\n")
            .replace("client_bundle = \"ca/root.pem\"", "client_bundle = \"bundle.pem\"");
        let ca = format!("[ca]\ndir = \"issuing\"\nmore_roots = \"bundle.pem\"\nleaf_life_s = {leaf_life_s}\n");
        self.write("gateway.toml", &(config + &ca));
        self
    }

    /// From now on the CA in this folder signs for who joins or renews.
    pub(crate) fn issue_by(&self, ca: &str) {
        let next = self.path("issuing.next");
        symlink(ca, &next).unwrap();
        fs::rename(next, self.path("issuing")).unwrap();
    }

    /// From now on the roots of the CAs in these folders are those of the bus.
    pub(crate) fn trust_in(&self, cas: &[&str]) {
        let roots: String = cas.iter().map(|ca| fs::read_to_string(self.path(ca).join("root.pem")).unwrap()).collect();
        self.write("bundle.next", &roots);
        fs::rename(self.path("bundle.next"), self.path("bundle.pem")).unwrap();
    }

    /// The CA in a folder.
    pub(crate) fn authority(&self, ca: &str) -> CertificateAuthority {
        CertificateAuthority::open(&self.path(ca)).unwrap()
    }

    /// A token for a system that the registry knows, and the command that spends it: the adapter's folder is named after the
    /// system. Said again for the same system, it joins again.
    pub(crate) async fn join(&self, system: &str, party: &str, gateway: &Gateway, webhook: SocketAddr) -> Value {
        let operator = self.profile("operator.toml", "van-hanh", "H99.VH", gateway.bus);
        let token = self.run(&["certs", "token", "--system", system, "--profile", &operator]).await;
        let (token, hook) = (token["token"].as_str().unwrap(), format!("http://{webhook}/lgsp"));
        let wishes = ["--listen-rest", "127.0.0.1:0", "--parties", party, "--webhook", &hook];
        self.run(&[&["adapter", "join", token, "--dir", system], &wishes[..]].concat()).await
    }

    /// Starts the adapter of a system that has joined, and that looks at its certificate more often than others.
    pub(crate) async fn joined_adapter(&self, system: &str) -> Adapter {
        let config = format!("{system}/adapter.toml");
        let hurried = fs::read_to_string(self.path(&config))
            .unwrap()
            .replace("[tls]\n", "[tls]\npoll_ms = 200\ntrust_every_seconds = 1\n")
            .replace("[rest]\n", "[rest]\ntoken_file = \"rest.token\"\n");
        assert!(hurried.contains("token_file"), "it asks for the token that the agency shows");
        self.write(&format!("{system}/rest.token"), crate::http::TOKEN);
        self.write(&config, &(hurried + "[exchange]\nbackoff_first_ms = 20\nbackoff_limit_ms = 200\n"));
        let process = self.start("adapter", &config).await;
        Adapter { rest: process.listener("rest"), process }
    }

    /// Where it all is.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves a file there.
    pub(crate) fn leave(&self, name: &str, text: &str) {
        self.write(name, text);
    }

    /// What a command says that must not go well.
    pub(crate) async fn failed(&self, words: &[&str]) -> String {
        let ended = within("a command", self.lgsp(words).output()).await.unwrap();
        assert!(!ended.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ended.stdout));
        String::from_utf8(ended.stderr).unwrap()
    }

    /// A fresh key and certificate for the gateway, for its next start, or as soon as it looks.
    pub(crate) fn issue_the_gateways_certificate(&self) {
        self.issue_the_gateways_certificate_by(&self.ca);
    }

    /// The same by another CA. Gives the certificate's digest.
    pub(crate) fn issue_the_gateways_certificate_by(&self, ca: &CertificateAuthority) -> CertificateDigest {
        let issued = ca.issue_server(&[server_name("127.0.0.1").unwrap()], DAY, SystemTime::now()).unwrap();
        for ending in ["pem", "key"] {
            // There is none the first time.
            let _ = fs::remove_file(self.path("tls").join(format!("gateway.{ending}")));
        }
        issued.write_to(&self.path("tls"), "gateway").unwrap();
        issued.digest
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

    /// Starts the adapter of a system that the agency's software meets in a folder of this name, and nowhere else. At `fault`, a
    /// point and its how-manieth time, the process ends as if killed.
    pub(crate) async fn adapter_by_folder(
        &self,
        system: &str,
        party: &str,
        gateway: SocketAddr,
        folder: &str,
        fault: Option<&str>,
    ) -> Adapter {
        let more = format!(
            "[folder]\ndir = \"{folder}\"\nparties = [\"{party}\"]\npoll_ms = 20\nsettle_ms = 40\ndocuments = true\n"
        );
        // Nobody listens at the webhook: a party of the folder has no other way out.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        self.adapter_with(system, system, party, (gateway, nobody), &more, fault).await
    }

    /// Starts the adapter of a system that the agency's software meets in tables of this schema, and nowhere else. `fault` is as for
    /// [`Place::adapter_by_folder`].
    pub(crate) async fn adapter_by_tables(
        &self,
        system: &str,
        party: &str,
        gateway: SocketAddr,
        postgres: &Postgres,
        schema: &str,
        fault: Option<&str>,
    ) -> Adapter {
        let (host, port) = (postgres.socket(), postgres.port());
        // It is not looked at while nothing wakes the adapter.
        let more = format!(
            "[tables]\nhost = {host:?}\nport = {port}\ndatabase = \"postgres\"\nschema = \"{schema}\"\n\
             parties = [\"{party}\"]\npoll_ms = 60000\ndocuments = true\nacknowledge = \"handled\"\n"
        );
        // Nobody listens at the webhook: a party of the tables has no other way out.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        self.adapter_with(system, system, party, (gateway, nobody), &more, fault).await
    }

    /// Starts the adapter of a system that keeps a portal at this address in step, with the password `mật khẩu` of the account `hue`.
    /// `portal/ca.pem` is the portal's root. `fault` is as for [`Place::adapter_by_folder`].
    pub(crate) async fn adapter_by_portal(
        &self,
        system: &str,
        party: &str,
        gateway: SocketAddr,
        portal: &str,
        fault: Option<&str>,
    ) -> Adapter {
        self.write("portal.password", "mật khẩu\n");
        let more = format!(
            "[portal]\nservice_url = \"{portal}/service\"\nlogin_url = \"{portal}/login\"\nusername = \"hue\"\n\
             password_file = \"portal.password\"\nbundle = \"portal/ca.pem\"\ndestination = \"G22\"\nunit = \"H99\"\n\
             parties = [\"{party}\"]\ntimeout_ms = 20000\n"
        );
        // Nobody listens at the webhook: the portal's party has no other way out.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        self.adapter_with(system, system, party, (gateway, nobody), &more, fault).await
    }

    async fn adapter_in(
        &self,
        name: &str,
        system: &str,
        party: &str,
        addresses: (SocketAddr, SocketAddr),
        more: &str,
    ) -> Adapter {
        self.adapter_with(name, system, party, addresses, more, None).await
    }

    async fn adapter_with(
        &self,
        name: &str,
        system: &str,
        party: &str,
        (gateway, webhook): (SocketAddr, SocketAddr),
        more: &str,
        fault: Option<&str>,
    ) -> Adapter {
        let TlsFiles { certificate, key, bundle } = self.certificate(system);
        let token = if self.guarded { "token_file = \"rest.token\"\n" } else { "token = \"none\"\n" };
        // Impatient, so that what comes back is noticed soon.
        let config = format!(
            "gateway = \"https://{gateway}\"\nparties = [\"{party}\"]\n\
             [tls]\ncertificate = {certificate:?}\nkey = {key:?}\nbundle = {bundle:?}\n\
             [spool]\nfolder = \"spool-{name}\"\n\
             [rest]\nlisten = \"127.0.0.1:0\"\n{token}\
             [webhook]\nurl = \"http://{webhook}/lgsp\"\n\
             [exchange]\nbackoff_first_ms = 20\nbackoff_limit_ms = 200\n{more}"
        );
        let file = format!("{name}.toml");
        self.write(&file, &config);
        let process = self.start_with("adapter", &file, fault).await;
        Adapter { rest: process.listener("rest"), process }
    }

    /// A link of a system's own to a gateway, past any adapter.
    pub(crate) fn link(&self, system: &str, gateway: SocketAddr) -> Link {
        self.link_with(self.certificate(system), gateway)
    }

    /// A certificate for a system by this CA, in files of this name, of somebody who trusts whom the bus trusts now.
    pub(crate) fn issued_by(&self, ca: &CertificateAuthority, stem: &str, system: &str) -> TlsFiles {
        let issued = ca.issue_system(&system.parse().unwrap(), DAY, SystemTime::now()).unwrap();
        let folder = self.path("tls");
        issued.write_to(&folder, stem).unwrap();
        let file = |ending| folder.join(format!("{stem}.{ending}"));
        TlsFiles { certificate: file("pem"), key: file("key"), bundle: self.path("bundle.pem") }
    }

    /// A certificate for a system's key by the bus's own CA, and what is sent behind it; PEM.
    pub(crate) fn certified(&self, request: &SigningRequest, system: &str) -> String {
        let certified = self.ca.sign_request(request, &system.parse().unwrap(), DAY, SystemTime::now()).unwrap();
        let pem = |der| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(der));
        certified.chain.iter().map(|der| pem(der)).collect()
    }

    /// A link to a gateway with these files, as they are now.
    pub(crate) fn link_with(&self, tls: TlsFiles, gateway: SocketAddr) -> Link {
        let gateway = format!("https://{gateway}").parse().unwrap();
        Link::new(&Address { gateway, server_name: None, tls, timings: Timings::default() }).unwrap()
    }

    /// The certificate that the gateway shows to whoever connects now.
    pub(crate) async fn shown_by(&self, gateway: &Gateway) -> CertificateDigest {
        let TlsFiles { certificate, key, .. } = self.certificate("van-hanh");
        let files = TlsFiles { certificate, key, bundle: self.path("bundle.pem") };
        let config = files.load(Usage::Client, SystemTime::now()).unwrap().client_config();
        let stream = TcpStream::connect(gateway.bus).await.unwrap();
        let name = server_name("127.0.0.1").unwrap();
        let stream = within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap();
        CertificateDigest::of(&stream.get_ref().1.peer_certificates().unwrap()[0])
    }

    /// From now on the gateway listens where it listens now.
    pub(crate) fn keep_address(&self, gateway: &Gateway) {
        let config = fs::read_to_string(self.path("gateway.toml")).unwrap();
        self.write("gateway.toml", &config.replace("bus = \"127.0.0.1:0\"", &format!("bus = \"{}\"", gateway.bus)));
    }

    /// Changes a file of the registry folder made by [`Place::of_hue`]; the gateway hears of it when somebody applies it.
    pub(crate) fn change_registry(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.path("registry").join(file);
        let before = fs::read_to_string(&path).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "{file} is as it was");
        fs::write(path, after).unwrap();
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
        output::tokens_in("journeys", said.as_bytes());
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

    /// What a command answers in JSON, and the status that it ends with.
    pub(crate) async fn answered(&self, words: &[&str]) -> Value {
        let ended = within("a command", self.lgsp(words).output()).await.unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        let said: Value = serde_json::from_str(&said)
            .unwrap_or_else(|_| panic!("{words:?}: {said}{}", String::from_utf8_lossy(&ended.stderr)));
        json!({ "code": ended.status.code(), "said": said })
    }

    /// What a command says to people.
    pub(crate) async fn ask_text(&self, words: &[&str]) -> String {
        let ended = within("a command", self.lgsp(words).output()).await.unwrap();
        assert!(ended.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    /// What a command says that must be refused.
    pub(crate) async fn refused(&self, words: &[&str]) -> String {
        let ended = within("a command", self.lgsp(words).output()).await.unwrap();
        assert_eq!(ended.status.code(), Some(3), "{words:?}: {}", String::from_utf8_lossy(&ended.stderr));
        output::said("journeys", &ended.stderr);
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
        if self.talkative {
            command.env("LGSP_LOG", output::LEVELS);
        }
        command.args(words).current_dir(self.dir.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn start(&self, role: &str, config: &str) -> Process {
        self.start_with(role, config, None).await
    }

    async fn start_with(&self, role: &str, config: &str, fault: Option<&str>) -> Process {
        let log = self.path(config).with_extension("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.lgsp(&[role, "--config", config, "--until-stdin-closes"]);
        command.envs(fault.map(|point| ("LGSP_FAULT_AT", point)));
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
        output::keep("journeys", self.dir.path());
        if std::thread::panicking() && !self.talkative {
            show_logs(self.dir.path());
        }
    }
}

fn show_logs(folder: &Path) {
    let within = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    // An adapter that has joined has a folder of its own.
    let files = within(folder).flat_map(|path| if path.is_dir() { within(&path).collect() } else { vec![path] });
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

    /// Where this machine asks how it is.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
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
    /// Waits until it has died by itself.
    pub(crate) async fn died(mut self) {
        let ended: ExitStatus = within("a death", self.process.child.wait()).await.unwrap();
        assert!(!ended.success());
    }

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
