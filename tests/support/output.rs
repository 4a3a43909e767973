//! What a test run says, kept so that it can be searched: with `LGSP_TEST_OUTPUT` naming a folder, the suites leave their logs, traces
//! and error texts in it, and the keys, tokens and webhook secrets they made under `secrets`. Without it nothing is kept, and nobody logs more than usual.
//!
//! Shared by path with the suites of the packages; `scan` searches.
#![allow(dead_code, reason = "each suite uses its own part")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// What is logged while output is kept: of ours everything, of others what they say at `debug`, which is each request and handshake.
pub(crate) const LEVELS: &str =
    "debug,lgsp=trace,lgsp_gateway=trace,lgsp_adapters=trace,lgsp_journal=trace,lgsp_certs=trace,sled=info";

/// What a join token begins with, how much of one follows at least, and the largest file in which one is looked for.
const TOKEN: &str = "lgsp-join-1.";
const TOKEN_REST: usize = 40;
const TOKEN_FILE: u64 = 4096;

/// How files with the secrets of webhooks end, and those with the token of an adapter's REST API, which may be called just `token`.
pub(crate) const WEBHOOK_SECRET: &str = ".secret";
pub(crate) const REST_TOKEN: &str = ".token";

/// The folder, when output is kept.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os("LGSP_TEST_OUTPUT").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// A name that nobody else in the run uses.
fn name_of(suite: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{suite}-{}-{:04}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Keeps a text that somebody was told.
pub(crate) fn said(suite: &str, text: impl AsRef<[u8]>) {
    let Some(folder) = folder() else { return };
    if text.as_ref().is_empty() {
        return;
    }
    fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(name_of(suite) + ".txt"), text)).unwrap();
}

/// Keeps the join tokens in a text that somebody was told who may know them.
pub(crate) fn tokens_in(suite: &str, text: impl AsRef<[u8]>) {
    if let Some(folder) = folder() {
        keep_tokens(&folder.join("secrets"), suite, text.as_ref());
    }
}

fn keep_tokens(secrets: &Path, suite: &str, text: &[u8]) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let text = String::from_utf8_lossy(text);
    for (at, _) in text.match_indices(TOKEN) {
        let rest = &text[at + TOKEN.len()..];
        let rest = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        if rest.len() >= TOKEN_REST {
            fs::create_dir_all(secrets).unwrap();
            fs::write(secrets.join(name_of(suite) + "-token"), format!("{TOKEN}{rest}")).unwrap();
        }
    }
}

/// Keeps a key that a test has in this file: once, however often it comes by.
pub(crate) fn key(suite: &str, file: &Path) {
    static KEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let Some(secrets) = folder().map(|folder| folder.join("secrets")) else { return };
    if KEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned()) {
        fs::create_dir_all(&secrets).unwrap();
        let _ = fs::copy(file, secrets.join(name_of(suite) + "-key"));
    }
}

/// Keeps what the processes of a test have logged in its folder, and the keys and join tokens that are in it.
pub(crate) fn keep(suite: &str, place: &Path) {
    if let Some(folder) = folder() {
        keep_in(&folder, suite, place);
    }
}

/// The same, into this folder. Webhook secrets and tokens of REST APIs are those that the adapters of the test were given or made.
pub(crate) fn keep_in(folder: &Path, suite: &str, place: &Path) {
    let secrets = folder.join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    visit(place, &mut |path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".log") {
            let _ = fs::copy(path, folder.join(name_of(suite) + "-" + name));
        } else if name.ends_with(".key") || name == "key.pem" {
            let _ = fs::copy(path, secrets.join(name_of(suite) + "-" + name));
        } else if name.ends_with(WEBHOOK_SECRET) {
            let _ = fs::copy(path, secrets.join(name_of(suite) + WEBHOOK_SECRET));
        } else if (name == "token" || name.ends_with(REST_TOKEN)) && !is_join_token(path) {
            let _ = fs::copy(path, secrets.join(name_of(suite) + REST_TOKEN));
        } else if fs::metadata(path).is_ok_and(|file| file.len() <= TOKEN_FILE)
            && let Ok(text) = fs::read(path)
        {
            keep_tokens(&secrets, suite, &text);
        }
    });
}

/// A join token may stand in a file called so as well.
fn is_join_token(path: &Path) -> bool {
    fs::read(path).is_ok_and(|text| text.starts_with(TOKEN.as_bytes()))
}

/// Every file in a folder; what goes away meanwhile is passed over.
fn visit(folder: &Path, file: &mut impl FnMut(&Path)) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let Ok(kind) = fs::symlink_metadata(&path) else { continue };
        if kind.is_dir() {
            visit(&path, file);
        } else if kind.is_file() {
            file(&path);
        }
    }
}

/// Keeps what this process traces, from now on to its end.
pub(crate) fn trace(suite: &str) {
    static ONCE: Once = Once::new();
    let Some(folder) = folder() else { return };
    ONCE.call_once(|| {
        fs::create_dir_all(&folder).unwrap();
        let file = File::create(folder.join(name_of(suite) + "-traces.log")).unwrap();
        // The driver of PostgreSQL tells the parameters of its statements; `lgsp` itself keeps it from that (src/node.rs).
        let levels = tracing_subscriber::EnvFilter::new(format!("{LEVELS},tokio_postgres=warn"));
        let traces = tracing_subscriber::fmt().with_env_filter(levels).with_ansi(false);
        // Somebody else may have set one up; then his is kept by whoever reads it.
        let _ = traces.with_writer(std::sync::Mutex::new(file)).try_init();
    });
}

/// A line for whoever wonders what a file is.
pub(crate) fn headed(what: &str, text: &[u8]) -> Vec<u8> {
    let mut headed = Vec::new();
    let _ = writeln!(headed, "# {what}");
    headed.extend_from_slice(text);
    headed
}
