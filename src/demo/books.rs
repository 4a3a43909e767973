//! The books an agency keeps for itself: what it sent, what it was answered, what it was told, in the order it happened.
//!
//! One file per system, JSON lines, only ever appended to. They are the other side of the reconciliation, so nothing of the
//! bus writes them; and they are written before the adapter gets its 2xx, so that what was acknowledged is in them.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub(super) enum Entry {
    /// Handed to the adapter under this key. Written before it is tried, so that nothing is ever sent off the books.
    Sent { party: String, key: String },
    /// The bus has admitted it.
    Admitted { party: String, key: String, dossier: String, sequence: u32 },
    /// The bus has refused it.
    Refused { party: String, key: String, reason: String },
    /// A data service was asked before a dossier was handed in under this key, and is on record as asked.
    Asked {
        party: String,
        key: String,
        service: String,
        /// The question's name.
        query: String,
        /// [`Entry::ANSWERED`], or the reason why it was not.
        outcome: String,
        /// SHA-256 of the reply, hexadecimal; empty where there was none.
        reply: String,
    },
    /// An event came in for one of our parties.
    Received { party: String, dossier: String, sequence: u32, event: Told },
}

impl Entry {
    /// The outcome of a question that was answered.
    pub(super) const ANSWERED: &'static str = "ANSWERED";
}

/// What an event says, as far as two sets of books can be compared by it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Told {
    /// The kind of the event, e.g. `accepted`.
    pub(super) kind: String,
    /// The status of the dossier after it, e.g. `processing`.
    pub(super) status: String,
    /// The party that recorded it.
    pub(super) by: String,
    /// SHA-256 of the signed body, hexadecimal.
    pub(super) body: String,
}

/// A system's books, open at their end.
pub(super) struct Writer(File);

impl Writer {
    /// Opens the books at `path`, which is made if need be.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| format!("the books {}", path.display()))?))
    }

    /// Writes one line, whole.
    ///
    /// # Errors
    /// The file cannot be written; the line may be there in part.
    pub(super) fn write(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.0.write_all(&line).context("the books cannot be written")
    }
}

/// Reads the books at `path`, in order.
///
/// # Errors
/// The file cannot be read, or holds a line that is no entry.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let file = File::open(path).with_context(|| format!("the books {}", path.display()))?;
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let entry = serde_json::from_str(&line?);
        entries.push(entry.with_context(|| format!("line {number} of the books {}", path.display()))?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back_in_order_after_another_opening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.jsonl");
        let sent = Entry::Sent { party: "H57.101".into(), key: "k".into() };
        let told = Told { kind: "accepted".into(), status: "accepted".into(), by: "H57.102".into(), body: "ab".into() };
        let received = Entry::Received { party: "H57.101".into(), dossier: "d".into(), sequence: 2, event: told };
        Writer::open(&path).unwrap().write(&sent).unwrap();
        Writer::open(&path).unwrap().write(&received).unwrap();
        assert_eq!(read(&path).unwrap(), [sent, received]);
    }
}
