//! A real disk of a test's own, small enough to be filled.
//!
//! The test is run once more, in a process that sees a file system of 64 MiB in memory where its temporary files go, and nobody
//! else does: its own user and mount namespaces, which most Linux machines give to anybody.

use std::path::Path;
use std::process::Command;

/// Says to a test that it runs on the small disk.
const HERE: &str = "LGSP_TEST_SMALL_DISK";

/// Runs `story` on a disk of 64 MiB: the temporary folder of the process that it runs in. Where no such disk can be had, it says so
/// in one line and runs nothing.
///
/// `test` is the name of the test that calls this, as the test's own program knows it; `place` an empty folder to mount the disk on.
///
/// # Panics
/// When the test fails there.
pub fn on_a_small_disk(test: &str, place: &Path, story: impl FnOnce()) {
    if std::env::var_os(HERE).is_some() {
        return story();
    }
    let there = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        unshare.arg(format!("mount -t tmpfs -o size=64m small \"$1\" && {command}")).arg("sh").arg(place);
        unshare
    };
    if !there("true").output().is_ok_and(|tried| tried.status.success()) {
        eprintln!("not tried: no disk of its own can be had here (`unshare --user --map-root-user --mount`)");
        return;
    }
    let mut again = there("exec \"$2\" --exact \"$3\" --nocapture");
    again.arg(std::env::current_exe().expect("a test knows its program")).arg(test);
    let output = again.env("TMPDIR", place).env(HERE, "1").output().expect("it could be run a moment ago");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    // A name that no test has would pass as well, with none run.
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}
