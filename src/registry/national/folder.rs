//! The folder of national snapshots: one file for each, named by its newest decision and its digest; `current.toml` says which is the
//! newest; `pull.jsonl` holds what an unfinished pull has fetched.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use lgsp_domain::registry::national::{Detail, Snapshot};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

const CURRENT: &str = "current.toml";
const UNFINISHED: &str = "pull.jsonl";

/// What `current.toml` says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Current {
    /// The file of the newest snapshot, beside it.
    pub(super) file: String,
    /// SHA-256 of that file.
    pub(super) sha256: String,
    /// The newest decision in it.
    pub(super) decision: String,
    /// The day of that decision; empty if no entry names one.
    pub(super) date: String,
    /// Procedures in it.
    pub(super) procedures: usize,
}

/// The newest snapshot of a folder; `None` if there is none yet.
///
/// # Errors
/// It cannot be read, or is not the file that `current.toml` means.
pub(super) fn newest(dir: &Path) -> anyhow::Result<Option<(Current, Snapshot)>> {
    let file = dir.join(CURRENT);
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| Failure::of_file(&file, &error))?,
    };
    let damaged = |file: &Path| {
        Failure::usage_in(
            format!("{}: không đọc được hoặc không khớp với {CURRENT}; hãy tải lại", file.display()),
            format!("{}: cannot be read, or is not what {CURRENT} says; pull again", file.display()),
        )
    };
    let current: Current = toml::from_str(&text).map_err(|_| damaged(&file))?;
    let file = dir.join(&current.file);
    let bytes = fs::read(&file).map_err(|error| Failure::of_file(&file, &error))?;
    if sha256(&bytes) != current.sha256 {
        return Err(damaged(&file));
    }
    let snapshot: Snapshot = serde_json::from_slice(&bytes).map_err(|_| damaged(&file))?;
    if snapshot.format != Snapshot::FORMAT {
        return Err(damaged(&file));
    }
    Ok(Some((current, snapshot)))
}

/// The same, where there has to be one.
pub(super) fn existing(dir: &Path) -> anyhow::Result<(Current, Snapshot)> {
    newest(dir)?.ok_or_else(|| {
        let dir = dir.display();
        Failure::usage_in(
            format!("{dir}: chưa có bản chụp nào; chạy lgsp registry national pull --out {dir}"),
            format!("{dir}: there is no snapshot yet; run lgsp registry national pull --out {dir}"),
        )
    })
}

/// Writes a snapshot and makes it the newest. An equal one is the same file.
pub(super) fn keep(dir: &Path, snapshot: &Snapshot) -> anyhow::Result<Current> {
    let bytes = serde_json::to_vec_pretty(snapshot)?;
    let sha256 = sha256(&bytes);
    let date = snapshot.date.map(|date| date.to_string()).unwrap_or_default();
    let decision = snapshot.decision.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let name: String = format!("{date}-{}-{}", decision.collect::<String>(), &sha256[..8]);
    let file = format!("{}.json", name.trim_matches('-'));
    let procedures = snapshot.procedures.len();
    let current = Current { file, sha256, decision: snapshot.decision.clone(), date, procedures };
    write(&dir.join(&current.file), &bytes)?;
    write(&dir.join(CURRENT), toml::to_string(&current)?.as_bytes())?;
    Ok(current)
}

/// Puts a file in the place of the one that is there, whole or not at all. A new one has the usual mode, so that whoever may read the
/// folder may read it.
pub(super) fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = |error: std::io::Error| Failure::of_file(file, &error);
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let usual = fs::Permissions::from_mode(0o666);
    let mut new = tempfile::Builder::new().permissions(usual).tempfile_in(dir).map_err(failed)?;
    new.write_all(bytes).and_then(|()| new.as_file().sync_all()).map_err(failed)?;
    if let Ok(there) = fs::metadata(file) {
        fs::set_permissions(new.path(), there.permissions()).map_err(failed)?;
    }
    new.persist(file).map_err(|error| failed(error.error))?;
    // Its name as well as its bytes.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

/// What an unfinished pull has fetched, a line each.
pub(super) struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    /// Opens it, with what is in it already; a line that broke off is as if it had never been.
    pub(super) fn open(dir: &Path) -> anyhow::Result<(Self, BTreeMap<String, Detail>)> {
        let path = dir.join(UNFINISHED);
        let failed = |error: std::io::Error| Failure::of_file(&path, &error);
        let mut there = BTreeMap::new();
        if let Ok(file) = File::open(&path) {
            // As bytes: what broke off may have done so in the middle of a letter.
            for line in BufReader::new(file).split(b'\n') {
                let detail = serde_json::from_slice::<Detail>(&line.map_err(failed)?);
                there.extend(detail.ok().map(|detail| (detail.code.clone(), detail)));
            }
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        file.write_all(b"\n").map_err(failed)?;
        Ok((Self { path, file }, there))
    }

    /// Adds one.
    pub(super) fn add(&mut self, detail: &Detail) -> anyhow::Result<()> {
        let line = format!("{}\n", serde_json::to_string(detail)?);
        self.file.write_all(line.as_bytes()).map_err(|error| Failure::of_file(&self.path, &error))
    }

    /// Forgets it: the snapshot holds it all.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        fs::remove_file(&self.path).map_err(|error| Failure::of_file(&self.path, &error))
    }
}
