//! A sandbox started for a test: what it prints, the commands in it, and its end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub(crate) const LGSP: &str = env!("CARGO_BIN_EXE_lgsp");
/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running sandbox, killed when dropped.
pub(crate) struct Sandbox {
    child: Child,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
    /// Where it keeps everything.
    pub(crate) folder: PathBuf,
    /// The commands it printed, in order, each with its heading.
    pub(crate) commands: Vec<(String, String)>,
    temporary: TempDir,
}

/// The command with nothing of our environment that could change what it does.
pub(crate) fn lgsp() -> Command {
    let mut command = Command::new(LGSP);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LGSP_")) {
        command.env_remove(name);
    }
    if crate::output::folder().is_some() {
        command.env("LGSP_LOG", crate::output::LEVELS);
    }
    command.env("LC_ALL", "C.UTF-8");
    command
}

impl Sandbox {
    /// Starts one at a quick pace, on ports of the system's choice, and waits until it has said all it says at the start.
    pub(crate) fn start(words: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = lgsp()
            .args(["sandbox", "--port", "0"])
            .args(if words.contains(&"--pace") { &[][..] } else { &["--pace", "20"] })
            .args(words)
            .env("LGSP_LANG", "en")
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                lines.0.lock().unwrap().push(line);
                lines.1.notify_all();
            }
        });
        let mut sandbox = Self { child, said, folder: PathBuf::new(), commands: Vec::new(), temporary };
        let page = sandbox.wait("it is ready", |lines| {
            let end = lines.iter().position(|line| {
                line.contains("từng hồ sơ hiện ở dưới đây") || line.contains("each dossier shows below")
            });
            let json = lines.first().filter(|line| line.starts_with('{'));
            end.map(|end| lines[..end].to_vec()).or_else(|| json.map(|line| vec![line.clone()]))
        });
        sandbox.folder = match serde_json::from_str::<Value>(&page[0]) {
            Ok(ready) => ready["folder"].as_str().unwrap().into(),
            Err(_) => {
                let line =
                    page.iter().find(|line| line.starts_with("- folder") || line.starts_with("- thư mục")).unwrap();
                line.split_whitespace().find(|word| word.starts_with('/')).unwrap().into()
            }
        };
        sandbox.commands = commands(&page);
        sandbox
    }

    /// Everything said so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.said.0.lock().unwrap().clone()
    }

    /// Waits until what was said holds something.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let (lines, news) = &*self.said;
        let until = Instant::now() + PATIENCE;
        let mut lines = lines.lock().unwrap();
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never came to be: {what}; said was\n{}", lines.join("\n"));
            // What is waited for may also be elsewhere than in a new line.
            lines = news.wait_timeout(lines, left.min(Duration::from_millis(50))).unwrap().0;
        }
    }

    /// Waits for a line that holds all of these.
    #[track_caller]
    pub(crate) fn sees(&self, parts: &[&str]) -> String {
        self.wait(&parts.join(" … "), |lines| {
            lines.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned()
        })
    }

    /// Waits until so many events of a dossier have shown, and gives what they are.
    #[track_caller]
    pub(crate) fn events(&self, code: &str, count: usize) -> Vec<String> {
        self.wait(&format!("{count} events of {code}"), |lines| {
            let events: Vec<String> = lines.iter().filter_map(|line| event(line, code)).collect();
            (events.len() >= count).then_some(events)
        })
    }

    /// Runs lines of shell as a developer would who copied them one after the other into one window.
    #[track_caller]
    pub(crate) fn shell(&self, lines: &str) -> String {
        let ran = Command::new("bash").args(["-euo", "pipefail", "-c", lines]).output().unwrap();
        crate::output::said("sandbox", &ran.stderr);
        assert!(ran.status.success(), "{lines}\n{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Hands in a dossier by the commands that are printed for it, and gives its code.
    #[track_caller]
    pub(crate) fn hand_in(&self) -> String {
        let printed: Vec<&str> =
            self.commands.iter().filter(|(title, _)| title.starts_with(['1', '2', '3'])).map(|(_, it)| &**it).collect();
        let code = self.commands.iter().find(|(title, _)| title.starts_with('4')).unwrap().1.lines();
        let code: Vec<&str> = code.take_while(|line| !line.starts_with("curl")).collect();
        // The printed key is new every second; a test is faster.
        let key = format!("KEY=thu-{}", jiff::Timestamp::now().as_nanosecond());
        let lines = format!("{}\n{}\necho; echo \"$CODE\"", printed.join("\n"), code.join("\n"));
        let out = self.shell(&lines.replace("KEY=ho-so-$(date +%s)", &key));
        out.lines().last().unwrap().to_owned()
    }

    /// Waits until it is the developer's turn, and does what is printed then.
    #[track_caller]
    pub(crate) fn take_turn(&self, code: &str, event: &str) -> String {
        let command = self.wait(&format!("our turn to say {event} of {code}"), |lines| {
            let at =
                lines.iter().position(|line| line.contains(code) && line.contains(&format!("your turn: {event} ")));
            lines.get(at? + 1).map(|line| line.trim().to_owned())
        });
        self.shell(&command)
    }

    /// Takes every turn that is ours, by the command that is printed for it, until the dossier has ended. Gives its events.
    #[track_caller]
    pub(crate) fn decide(&self, code: &str) -> Vec<String> {
        let mut taken = 0;
        loop {
            let command = self.wait(&format!("a turn or the end of {code}"), |lines| {
                let ours = |line: &&String| line.contains(code) && line.contains("your turn: ");
                let turns: Vec<_> = lines.iter().enumerate().filter(|(_, line)| ours(line)).collect();
                match turns.get(taken) {
                    Some((at, _)) => Some(Some(lines.get(at + 1)?.trim().to_owned())),
                    None => lines
                        .iter()
                        .filter(|line| event(line, code).is_some())
                        .any(|line| is_an_end(line))
                        .then_some(None),
                }
            });
            let Some(command) = command else { return self.events(code, 1) };
            let answer = self.shell(&command);
            assert!(answer.contains("request_key"), "{command}\n{answer}");
            taken += 1;
        }
    }

    /// Sets the scenario by the command that is printed for it.
    pub(crate) fn scenario(&self, name: &str) {
        let printed =
            self.commands.iter().flat_map(|(_, it)| it.lines()).find(|line| line.contains("/scenario/supplement"));
        self.shell(&printed.unwrap().replace("supplement", name));
    }

    /// Sends it a signal and waits for its end.
    pub(crate) fn end(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        self.ended()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        crate::output::keep("sandbox", &self.folder);
        crate::output::keep("sandbox", self.temporary.path());
    }
}

/// The blocks of lines that are indented by two blanks, each with the line before it.
fn commands(page: &[String]) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut title = "";
    for line in page {
        match line.strip_prefix("  ") {
            None => title = line,
            Some(command) => match commands.last_mut().filter(|(of, _)| of == title) {
                Some((_, lines)) => *lines = format!("{lines}\n{command}"),
                None => commands.push((title.to_owned(), command.to_owned())),
            },
        }
    }
    commands
}

/// What a live line says of a dossier: the third column.
fn event(line: &str, code: &str) -> Option<String> {
    let mut columns = line.split("  ");
    let (_, of, kind) = (columns.next()?, columns.next()?, columns.next()?);
    (of == code && !kind.starts_with("your turn") && line.contains(" → ")).then(|| kind.to_owned())
}

/// The dossiers that were handed in, in order.
pub(crate) fn opened(lines: &[String]) -> Vec<String> {
    let opened = lines.iter().filter(|line| line.contains("  Submitted  "));
    opened.filter_map(|line| line.split("  ").nth(1).map(str::to_owned)).collect()
}

/// Whether a live line tells of a status that is an end.
fn is_an_end(line: &str) -> bool {
    ["[3 ", "[7 ", "[8 ", "[10 "].iter().any(|end| line.contains(end))
}

/// Waits until no process is left that was started for what lies in `folder`.
pub(crate) fn nothing_runs_for(folder: &Path) {
    let until = Instant::now() + PATIENCE;
    let folder = folder.to_str().unwrap();
    let running = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes.filter(|process| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(folder)
        })
    };
    while running().next().is_some() {
        let left: Vec<_> = running().map(|process| process.path()).collect();
        assert!(Instant::now() < until, "they outlive the sandbox: {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether something runs for what lies in `folder`; so that the function above cannot pass by looking wrongly.
pub(crate) fn something_runs_for(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let folder = folder.to_str().unwrap();
    let mut lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(folder))
}

/// Sends a signal to the process that was started with this file of the folder.
pub(crate) fn signal_process_of(file: &str, folder: &Path, signal: &str) {
    let file = folder.join(file);
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut ours = processes.filter(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(file.to_str().unwrap())
    });
    let id = ours.next().unwrap().file_name();
    assert!(Command::new("kill").arg(format!("-{signal}")).arg(id).status().unwrap().success());
}
