//! The reader's windows: one to type commands into, and one for each program that goes on running.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const LGSP: &str = env!("CARGO_BIN_EXE_lgsp");

/// How long any one thing may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What is printed after a command, with how it ended.
const DONE: &str = "--the-command-has-ended--";

/// The ports as they stand in the page, each with the one taken for it here. The sandbox has two, one after the other.
pub(crate) fn free_ports() -> [(&'static str, String); 4] {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let first = std::iter::repeat_with(free).find(|port| *port < 65_000 && is_free(port + 1)).unwrap();
    let other = std::iter::repeat_with(free).find(|port| ![first, first + 1].contains(port)).unwrap();
    let second = first + 1;
    [
        (":8480", format!(":{first}")),
        (":8481", format!(":{second}")),
        (":9000", format!(":{other}")),
        (" 9000 ", format!(" {other} ")),
    ]
}

/// Two more.
pub(crate) fn two_free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A shell in a folder, with `lgsp` on its path and nothing of our environment that could change what it does.
fn shell(folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LGSP_")) {
        shell.env_remove(name);
    }
    let binaries = std::iter::once(Path::new(LGSP).parent().unwrap().to_owned());
    let path = std::env::join_paths(binaries.chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
    shell.env("PATH", path.unwrap()).env("LC_ALL", "C.UTF-8").current_dir(folder).stdout(Stdio::piped());
    shell
}

/// The window for commands; what they set stays set.
pub(crate) struct Shell {
    child: Child,
    types: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    pub(crate) fn open(folder: &Path) -> Self {
        let mut shell = shell(folder);
        let mut child = shell.args(["-c", "exec 2>&1; exec sh"]).stdin(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { types: child.stdin.take().unwrap(), child, lines }
    }

    /// Types a command and gives all that it printed.
    pub(crate) fn run(&mut self, command: &str) -> String {
        write!(self.types, "{command}\nprintf '\\n%s %s\\n' {DONE} $?\n").unwrap();
        self.types.flush().unwrap();
        let mut said = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|why| panic!("{why}\n{command}\n{said}"));
            match line.strip_prefix(DONE) {
                Some(ended) if ended.trim() == "0" => return said,
                Some(ended) => panic!("{command}\nended with{ended}\n{said}"),
                None => said += &(line + "\n"),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in a window of its own; dropping it is Ctrl-C.
pub(crate) struct Program {
    pub(crate) window: String,
    child: Child,
    said: Arc<(Mutex<String>, Condvar)>,
}

impl Program {
    pub(crate) fn start(window: String, command: &str, folder: &Path) -> Self {
        // The shell becomes the program, so that it is the program that is told to end.
        let words = ["-c", &format!("exec 2>&1; exec {command}")];
        let mut child = shell(folder).args(words).stdin(Stdio::null()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let said = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let heard = said.clone();
        std::thread::spawn(move || {
            let (mut part, mut bytes) = ([0; 4096], Vec::new());
            while let Ok(length @ 1..) = out.read(&mut part) {
                bytes.extend_from_slice(&part[..length]);
                *heard.0.lock().unwrap() = String::from_utf8_lossy(&bytes).into_owned();
                heard.1.notify_all();
            }
        });
        Self { window, child, said }
    }

    /// All that it has shown.
    pub(crate) fn said(&self) -> String {
        self.said.0.lock().unwrap().clone()
    }

    /// Waits until the window shows something.
    pub(crate) fn shows(&self, what: impl Fn(&str) -> bool) {
        let said = self.said.0.lock().unwrap();
        let (said, waited) = self.said.1.wait_timeout_while(said, PATIENCE, |said| !what(said)).unwrap();
        assert!(!waited.timed_out(), "the window {} shows\n{said}", self.window);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let interrupt = format!("kill -INT {}", self.child.id());
        let told = Command::new("sh").args(["-c", &interrupt]).status();
        if !told.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
