//! A server under measurement: a process with a folder of its own, ended and cleared away when dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tempfile::TempDir;

use crate::world::World;

/// The clock of `/proc/<pid>/stat`, in ticks a second: the same on every Linux.
const TICKS: u64 = 100;

/// Which server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// This very program, in the role of [`crate::limit`].
    Limit,
    /// The gateway as it is shipped, with its own way of logging.
    Gateway,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Where it takes calls.
    pub(crate) bus: String,
    _folder: TempDir,
}

#[derive(Deserialize)]
struct Ready {
    ready: Listeners,
}

#[derive(Deserialize)]
struct Listeners {
    bus: String,
}

impl Server {
    /// Starts one on an empty folder, with these lines in `[limits]`, and waits until it serves.
    pub(crate) fn start(kind: Kind, world: &World, limits: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(world.folder())?;
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, world.configuration(folder.path(), limits))?;
        let mut command = match kind {
            Kind::Limit => Command::new(std::env::current_exe()?),
            Kind::Gateway => Command::new(env!("CARGO_BIN_EXE_lgsp")),
        };
        match kind {
            Kind::Limit => command.arg("--serve-limit"),
            Kind::Gateway => command.args(["gateway", "--until-stdin-closes", "--config"]),
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LGSP_")) {
            command.env_remove(name);
        }
        let log = folder.path().join("log");
        // A pipe that nobody writes to: it closes when this process ends, and the server ends with it.
        command.arg(&config).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut server = Self {
            child: command.spawn().context("the server cannot be started")?,
            bus: String::new(),
            _folder: folder,
        };
        server.bus = server.first_line().with_context(|| {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            format!("the server ({kind:?}) does not start:\n{log}")
        })?;
        Ok(server)
    }

    fn first_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().context("it was piped")?).read_line(&mut line)?;
        Ok(serde_json::from_str::<Ready>(&line)?.ready.bus)
    }

    /// The processor time it has used so far; nothing where the system does not tell.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(Path::new("/proc").join(self.child.id().to_string()).join("stat")).ok()?;
        // After the name, which may hold anything: state is the third field, user and system time the 14th and 15th.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
        let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 1000 / TICKS))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its books are thrown away: there is nothing to be put in order first.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
