//! A PostgreSQL of a test's own: in a temporary folder, on a Unix socket and a loopback port, with nobody's data in it.
//!
//! It never skips: where there is none, the test fails with one line that says how to get it. It is stopped by its process when it
//! is dropped, and by the kernel when the test's thread dies without dropping it. Shared by path with the suites of the packages.
#![allow(dead_code, reason = "each suite uses its own part")]
#![allow(clippy::unwrap_used, reason = "a harness that cannot be set up fails its test")]

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The owner of everything in it.
pub(crate) const OWNER: &str = "postgres";

/// Longer than a start takes on a busy machine, recovery after a kill included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, or one that was killed.
pub(crate) struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Postgres {
    /// Makes one and starts it. Whoever comes over the socket is let in, over the port with a password.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).unwrap();
        let run = dir.path().join("run");
        fs::create_dir(&run).unwrap();
        own(&run);
        let mut initdb = as_nobody_special(&programs.join("initdb"), dir.path());
        initdb.arg("-D").arg(run.join("data")).args(["-U", OWNER, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut postgres = Self { dir, programs, port, process: None };
        postgres.start_again();
        postgres
    }

    /// Starts it after a kill: what was committed is there.
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let run = self.dir.path().join("run");
        let begun = Instant::now();
        loop {
            let log = File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
            let mut server = as_nobody_special(&self.programs.join("postgres"), self.dir.path());
            server.arg("-D").arg(run.join("data")).arg("-k").arg(&run);
            // A kill of the process is survived without it as well; only a power cut is not.
            server.args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-c",
                "fsync=off",
                "-c",
                "shared_buffers=16MB",
            ]);
            let mut process = server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
            loop {
                if self.try_sql(OWNER, "SELECT 1").is_ok() {
                    self.process = Some(process);
                    return;
                }
                assert!(begun.elapsed() < PATIENCE, "it does not start: {}", self.log());
                // The children of the one that was killed may hold its memory for a moment yet.
                if process.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// SIGKILL: nothing is finished, nothing flushed.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// The folder of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Its port on the loopback interface, and of its socket.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A file that its account may read, and nobody else.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.dir.path().join("run").join(name);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        own(&file);
        file
    }

    /// Runs statements as their owner, and gives the rows, a line each, with `|` between the columns.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.try_sql(OWNER, statements).unwrap_or_else(|said| panic!("{statements}\n{said}"))
    }

    /// Runs statements as somebody, in one transaction each call.
    ///
    /// # Errors
    /// What psql says.
    pub(crate) fn try_sql(&self, role: &str, statements: &str) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.env_clear().env("LC_ALL", "C.UTF-8").arg("-h").arg(self.socket()).args(["-p", &self.port.to_string()]);
        psql.args(["-U", role, "-d", OWNER, "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statements]);
        let ended = psql.stdin(Stdio::null()).output().unwrap();
        if !ended.status.success() {
            return Err(String::from_utf8_lossy(&ended.stderr).into_owned());
        }
        Ok(String::from_utf8(ended.stdout).unwrap().trim_end_matches('\n').to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- PostgreSQL\n{}", self.log());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Where its programs are.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut packaged: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    packaged.sort_unstable_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    folders.extend(packaged.into_iter().rev().map(|version| version.path().join("bin")));
    let has_all = |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file());
    folders.into_iter().find(has_all).expect("this test needs PostgreSQL: apt-get install postgresql")
}

/// A program as somebody who may run a database, which root may not; it ends with the thread that starts it.
fn as_nobody_special(program: &Path, home: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program).env_clear().env("LC_ALL", "C.UTF-8").env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"))).current_dir("/");
    command
}

fn is_root() -> bool {
    ask(&["-u"]) == 0
}

/// Gives a file to the account that the database runs as.
fn own(path: &Path) {
    if is_root() {
        chown(path, Some(ask(&["-u", OWNER])), Some(ask(&["-g", OWNER]))).unwrap();
    }
}

fn ask(words: &[&str]) -> u32 {
    let answer = Command::new("id").args(words).output().unwrap();
    String::from_utf8_lossy(&answer.stdout)
        .trim()
        .parse()
        .expect("the package postgresql makes an account of that name")
}
