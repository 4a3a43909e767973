//! Programs in Python, each in a virtual environment of its own.
//!
//! The packages come from the package index Python is set up with, once, into the target folder.
#![expect(clippy::unwrap_used, reason = "a harness that cannot be set up fails its test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The interpreter of the virtual environment `name`, which has what the file `requirements` of the repository lists; made
/// when it is not there yet.
///
/// # Errors
/// One line that says what is missing and how to get it.
pub(crate) fn python(name: &str, requirements: &str) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = folder.join(name);
    let (python, installed) = (environment.join("bin/python"), environment.join("installed.txt"));
    // Two runs at once must not install into each other's feet. Given back when the file is closed.
    let lock = File::create(folder.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();

    let listed = Path::new(env!("CARGO_MANIFEST_DIR")).join(requirements);
    let wanted = fs::read_to_string(&listed).unwrap();
    let works = || Command::new(&python).arg("--version").output().is_ok_and(|ended| ended.status.success());
    if fs::read_to_string(&installed).is_ok_and(|have| have == wanted) && works() {
        return Ok(python);
    }
    if environment.exists() {
        fs::remove_dir_all(&environment).unwrap();
    }
    succeed(requirements, Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    // Nothing is compiled but what the list itself says comes as source.
    succeed(requirements, pip.args(["--only-binary", ":all:", "--requirement"]).arg(listed))?;
    // Last, so that an installation that broke off does not count.
    fs::write(&installed, wanted).unwrap();
    Ok(python)
}

fn succeed(requirements: &str, command: &mut Command) -> Result<(), String> {
    let said = match command.stdin(Stdio::null()).output() {
        Ok(Output { status, .. }) if status.success() => return Ok(()),
        Ok(ended) => [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat(),
        Err(error) => error.to_string(),
    };
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why").trim();
    Err(format!(
        "this test needs python3 (3.10 or later) with venv and pip, and a package index (or PIP_FIND_LINKS=FOLDER) with what \
         {requirements} lists: {line}"
    ))
}
