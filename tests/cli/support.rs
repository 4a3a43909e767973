//! A folder to work in, the binary to run in it, and a gateway started from a file written here.

#[path = "../support/output.rs"]
pub(crate) mod output;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) const LGSP: &str = env!("CARGO_BIN_EXE_lgsp");
/// The registry of the demo; with procedures, communes and systems as they are.
pub(crate) const HUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/registry/hue");

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// What it printed, when it went well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// What it printed as JSON, when it went well.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// What it said, when it ended with that code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        self.err
    }
}

/// A folder of its own for one test.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs `lgsp` in the folder, in English unless the words say otherwise, with nothing of our environment that could
    /// change what it does.
    pub(crate) fn lgsp(&self, words: &[&str]) -> Ended {
        ended(self.quiet(Command::new(LGSP)).args(words))
    }

    /// Runs a line of shell in the folder, with `lgsp` on its path.
    pub(crate) fn shell(&self, line: &str) -> Ended {
        let folder = Path::new(LGSP).parent().unwrap();
        let path = std::env::join_paths(
            std::iter::once(folder.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        ended(self.quiet(Command::new("sh")).env("PATH", path.unwrap()).args(["-c", line]))
    }

    fn quiet(&self, mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LGSP_") {
                command.env_remove(name);
            }
        }
        if output::folder().is_some() {
            command.env("LGSP_LOG", output::LEVELS);
        }
        command.env("LC_ALL", "C.UTF-8").current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// A CA, a gateway's certificate, and one for every system named, made by the command line itself.
    pub(crate) fn certificates(&self, systems: &[&str]) {
        self.lgsp(&["certs", "init", "ca", "--trust-domain", "lgsp.hue.test"]).ok();
        let server = ["certs", "issue", "--ca", "ca", "--server", "gw.lgsp.hue.test,127.0.0.1", "--out", "pki"];
        self.lgsp(&server).ok();
        for system in systems {
            self.lgsp(&["certs", "issue", "--ca", "ca", "--system", system, "--out", "pki"]).ok();
        }
    }

    /// A configuration for a gateway on ports of the system's choice, whose business clock stands at half past nine on 14
    /// July 2025.
    pub(crate) fn configuration(&self) -> PathBuf {
        let text = format!(
            "name = \"lgsp.hue.test\"\n\
             [listen]\nbus = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\n\
             [tls]\ncertificate = \"pki/gw.lgsp.hue.test.pem\"\nkey = \"pki/gw.lgsp.hue.test.key\"\n\
             client_bundle = \"ca/root.pem\"\n\
             [store]\ndir = \"data\"\nnode_key = \"node.key\"\n\
             [documents]\ndir = \"documents\"\n\
             [business_clock]\nkind = \"replay\"\nstart = \"2025-07-14T09:30:00+07:00\"\n\
             [registry]\nfirst = {HUE:?}\n"
        );
        self.write("gateway.toml", &text)
    }

    /// A connection profile.
    pub(crate) fn profile(&self, name: &str, bus: &str, system: &str, party: &str) {
        let text = format!(
            "gateway = \"https://{bus}\"\nserver_name = \"gw.lgsp.hue.test\"\n\
             certificate = \"pki/{system}.pem\"\nkey = \"pki/{system}.key\"\nbundle = \"ca/root.pem\"\n\
             party = \"{party}\"\nactor = \"cb.thu\"\n"
        );
        self.write(name, &text);
    }

    /// Where a node started here logs.
    pub(crate) fn log(&self, node: &str) -> PathBuf {
        self.path().join(format!("{node}.log"))
    }

    /// Starts a gateway in the folder and waits until it serves.
    pub(crate) fn gateway(&self) -> Running {
        self.configuration();
        self.start("gateway", "gateway.toml")
    }

    /// Starts a gateway or an adapter and waits until it serves.
    pub(crate) fn start(&self, node: &str, config: &str) -> Running {
        self.start_with(node, config, &[], Stdio::null())
    }

    /// The same with more words and somebody who holds its standard input.
    pub(crate) fn start_with(&self, node: &str, config: &str, more: &[&str], stdin: Stdio) -> Running {
        self.spawn(self.quiet(Command::new(LGSP)), node, config, more, stdin)
    }

    /// Starts the gateway in the folder; it dies at a point of `lgsp_journal::fault`.
    pub(crate) fn gateway_dying_at(&self, point: &str) -> Running {
        let mut command = self.quiet(Command::new(LGSP));
        command.env("LGSP_FAULT_AT", point);
        self.spawn(command, "gateway", "gateway.toml", &[], Stdio::null())
    }

    fn spawn(&self, mut command: Command, node: &str, config: &str, more: &[&str], stdin: Stdio) -> Running {
        let log = self.log(node);
        command
            .stdin(stdin)
            .args([node, "--config", config])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap());
        let mut running = Running { child: Some(command.spawn().unwrap()), listens: Value::Null };
        let mut out = BufReader::new(running.child.as_mut().unwrap().stdout.take().unwrap());
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            out.read_line(&mut line).map(|_| sender.send(line))
        });
        let line = said.recv_timeout(PATIENCE).unwrap_or_default();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            panic!("{error}; instead of being ready it said {line:?} and\n{}", fs::read_to_string(&log).unwrap())
        });
        running.listens = told["ready"].clone();
        running
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        output::keep("cli", self.path());
    }
}

/// Waits until something is so, by looking at it again and again, but not for ever.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came to be: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running gateway or adapter; killed when dropped.
pub(crate) struct Running {
    child: Option<Child>,
    listens: Value,
}

impl Running {
    /// Where the listener of that name is.
    pub(crate) fn at(&self, listener: &str) -> &str {
        self.listens[listener].as_str().unwrap_or_else(|| panic!("no {listener} in {}", self.listens))
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Asks it to stop.
    pub(crate) fn signal(&self) {
        self.tell("TERM");
    }

    /// Asks it to read its certificates again.
    pub(crate) fn hang_up(&self) {
        self.tell("HUP");
    }

    fn tell(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait()));
        ended.recv_timeout(PATIENCE).expect("it ends in good time").unwrap()
    }

    /// Asks it to stop and waits for the end.
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal();
        self.ended()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    output::said("cli", &output.stderr);
    output::tokens_in("cli", &output.stdout);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("everything printed is UTF-8");
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}
