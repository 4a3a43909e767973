//! Processes of this very program that never outlive whoever starts them.
//!
//! A child stops when its standard input is closed, which the system does for us however we end; it is killed when it does
//! not. It has a process group of its own, so that Ctrl-C reaches us alone, who then stop everything in order. What a child
//! logs goes to a file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// How long a process may take to say that it is ready; a debug build on a busy machine takes its time.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// One process.
pub(crate) struct Process {
    /// What it is called in messages and in reports.
    pub(crate) name: String,
    child: tokio::process::Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

/// The first line of a gateway and of an adapter: where each of its listeners is.
#[derive(Deserialize)]
pub(crate) struct Ready {
    ready: BTreeMap<String, String>,
}

impl Ready {
    /// Where the listener of that name is.
    ///
    /// # Errors
    /// The process has none of that name.
    pub(crate) fn at(&self, listener: &str) -> anyhow::Result<&str> {
        self.ready.get(listener).map(String::as_str).with_context(|| format!("no listener {listener} is told of"))
    }
}

impl Process {
    /// Starts a gateway or an adapter (`node`) with this configuration, and waits until it serves.
    ///
    /// # Errors
    /// It does not start; its log tells why.
    pub(crate) async fn node(name: &str, node: &str, config: &Path, logs: &Path) -> anyhow::Result<(Self, Ready)> {
        let arguments = [node.into(), "--until-stdin-closes".into(), "--config".into(), config.as_os_str().to_owned()];
        let mut process = Self::start::<OsString>(name, arguments, logs)?;
        let ready = process.ready().await?;
        Ok((process, ready))
    }

    /// Starts `lgsp` with these arguments, logging to `<logs>/<name>.log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start<A: Into<OsString>>(
        name: &str,
        arguments: impl IntoIterator<Item = A>,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        Self::spawn(name, arguments, logs, |command| command)
    }

    /// Starts a command that answers and ends: nothing where we happen to be has a say in it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn command<A: Into<OsString>>(
        name: &str,
        arguments: impl IntoIterator<Item = A>,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let elsewhere = logs.canonicalize()?;
        Self::spawn(name, arguments, logs, |command| {
            command.current_dir(elsewhere).env_remove("LGSP_ADAPTER").env_remove("LGSP_ADAPTER_TOKEN_FILE")
        })
    }

    fn spawn<A: Into<OsString>>(
        name: &str,
        arguments: impl IntoIterator<Item = A>,
        logs: &Path,
        set: impl FnOnce(&mut Command) -> &mut Command,
    ) -> anyhow::Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let errors = File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
        let program = std::env::current_exe().context("this program's own file cannot be found")?;
        let mut command = Command::new(program);
        let mut child = set(&mut command)
            .args(arguments.into_iter().map(Into::into))
            .env("LGSP_LOG", std::env::var("LGSP_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("the process {name} cannot be started"))?;
        let answers = child.stdout.take().context("standard output was asked for")?;
        let orders = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, orders, answers: BufReader::new(answers).lines(), log })
    }

    /// Its first line: it is ready.
    ///
    /// # Errors
    /// It ended, says something else, or takes too long; its log tells why.
    pub(crate) async fn ready<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = tokio::time::timeout(START_PATIENCE, self.answer()).await;
        line.with_context(|| format!("{} does not start; see {}", self.name, self.log.display()))?
    }

    /// Writes one line to its standard input.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) async fn order(&mut self, order: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let Some(orders) = &mut self.orders else { bail!("{} is being stopped", self.name) };
        orders.write_all(&line).await.with_context(|| self.ended())
    }

    /// The next line of its standard output.
    ///
    /// # Errors
    /// It has ended, or says something else.
    pub(crate) async fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.answers.next_line().await?.with_context(|| self.ended())?;
        serde_json::from_str(&line).with_context(|| format!("{} says something unexpected: {line}", self.name))
    }

    fn ended(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        let last: String = last.into_iter().rev().map(|line| format!("\n  {line}")).collect();
        format!("{} has ended; the end of {}:{last}", self.name, self.log.display())
    }

    /// The most memory it has had so far, in bytes; nothing where the system does not tell.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        peak_memory(&self.child.id()?.to_string())
    }

    /// Waits until it has ended by itself, which nobody asked for; says what it had to say at last.
    pub(crate) async fn gone(&mut self) -> anyhow::Error {
        let _ = self.child.wait().await;
        anyhow::anyhow!(self.ended())
    }

    /// Kills it, as a power cut would: it is not asked, and finishes nothing.
    ///
    /// # Errors
    /// The system refuses to.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("{} cannot be killed", self.name))
    }

    /// Asks it to stop by closing its standard input; others may be asked before this one has.
    pub(crate) fn ask_to_stop(&mut self) {
        self.orders = None;
    }

    /// How it ended, if it has: what it had to say at last. Nobody asked it to.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|_| self.ended())
    }

    /// Waits until it has stopped, and kills it when it does not.
    ///
    /// # Errors
    /// It had to be killed, or ended badly.
    pub(crate) async fn stopped(mut self) -> anyhow::Result<()> {
        let (status, _) = self.end().await?;
        if status.success() { Ok(()) } else { bail!("{}", self.ended()) }
    }

    /// The same for one whose exit code is a judgement, and no failure of its own: its last line says which.
    ///
    /// # Errors
    /// It had to be killed, or was; or it says something else.
    pub(crate) async fn judged<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        let (status, last) = self.end().await?;
        ensure!(status.code().is_some(), "{}", self.ended());
        serde_json::from_str(&last).with_context(|| format!("{} says something unexpected: {last}", self.name))
    }

    /// Waits until it has done what it was started for, and reads what it says about it, JSON; `well` are the exit codes with which it does.
    ///
    /// # Errors
    /// It ended otherwise, or says something else.
    pub(crate) async fn done<T: DeserializeOwned>(mut self, well: &[i32]) -> anyhow::Result<T> {
        let mut said = String::new();
        while let Some(line) = self.answers.next_line().await? {
            said.push_str(&line);
            said.push('\n');
        }
        let status = self.child.wait().await?;
        if !status.code().is_some_and(|code| well.contains(&code)) {
            bail!("{} ({status})", self.ended());
        }
        serde_json::from_str(&said).with_context(|| format!("{} says something unexpected: {said}", self.name))
    }

    /// Asks it to stop, and waits for that. What it says on the way is read, so that it never waits for us to listen; the last line is told.
    async fn end(&mut self) -> anyhow::Result<(ExitStatus, String)> {
        self.ask_to_stop();
        let end = async {
            let mut last = String::new();
            while let Some(line) = self.answers.next_line().await? {
                last = line;
            }
            std::io::Result::Ok((self.child.wait().await?, last))
        };
        match tokio::time::timeout(STOP_PATIENCE, end).await {
            Ok(ended) => ended.with_context(|| self.ended()),
            Err(_) => {
                self.child.kill().await?;
                bail!("{} did not stop in time and was killed", self.name)
            }
        }
    }
}

/// The most memory that the process `id` (or `self`) has had so far, in bytes; nothing where the system does not tell.
pub(crate) fn peak_memory(id: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
