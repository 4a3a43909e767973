//! How a reason is met, or why it cannot be on this way: a fact that the test looks at again each time.

use std::fs;
use std::path::{Path, PathBuf};

/// How a reason is met.
pub(crate) enum Way<P> {
    /// This provokes it.
    Here(P),
    /// It cannot be met on this way.
    Cannot {
        /// Why not.
        why: &'static str,
        /// What shows it.
        proof: Proof,
    },
}

/// What shows that a reason cannot be met on a way, or is met by another suite only.
pub(crate) enum Proof {
    /// The adapter never makes the call that is refused for it: what it would send stands nowhere in its code.
    AdapterNeverSends(&'static str),
    /// The adapter's call that is refused for it is its own, made in this file; what came of it is in `/status` or stays inside, and no
    /// answer to the agency's system holds it.
    AdaptersOwnCall {
        /// Where the adapter makes it.
        file: &'static str,
        /// What it is there.
        call: &'static str,
    },
    /// The gateway's code does not know the word.
    GatewayNeverSays,
    /// It takes a crash, a full disk or a race to meet it; this test of another suite makes one.
    MetBy {
        /// Where that test is.
        file: &'static str,
        /// Its name.
        test: &'static str,
    },
}

impl Proof {
    /// Looks at it again.
    pub(crate) fn holds(&self, word: &str, why: &str) {
        assert!(!why.is_empty(), "{word}: why not?");
        match self {
            Self::AdapterNeverSends(request) => {
                for file in sources(&["adapters/src"]) {
                    let text = fs::read_to_string(&file).unwrap();
                    assert!(!text.contains(request), "{word} can be met by REST after all: {}", file.display());
                }
            }
            Self::AdaptersOwnCall { file, call } => {
                assert!(read(file).contains(call), "{word}: {file} makes no call {call}");
                for other in sources(&["adapters/src/rest", "adapters/src/folder"]) {
                    let text = fs::read_to_string(&other).unwrap();
                    assert!(!text.contains(call), "{word} can be met by REST after all: {}", other.display());
                }
            }
            Self::GatewayNeverSays => {
                let variant: String =
                    word.split('_').map(|part| part[..1].to_owned() + &part[1..].to_lowercase()).collect();
                for file in sources(&["gateway/src", "gateway/domain/src"]) {
                    let text = fs::read_to_string(&file).unwrap();
                    assert!(
                        !text.contains(&format!("Reason::{variant}")),
                        "{word} can be met by gRPC after all: {}",
                        file.display()
                    );
                }
            }
            Self::MetBy { file, test } => {
                let text = read(file);
                let body =
                    text.split(&format!("fn {test}(")).nth(1).unwrap_or_else(|| panic!("{word}: no {test} in {file}"));
                let body = body.split("\n}\n").next().unwrap();
                let variant: String =
                    word.split('_').map(|part| part[..1].to_owned() + &part[1..].to_lowercase()).collect();
                let named = [format!("Reason::{variant}"), format!("\"{word}\""), "Reason::ALL".to_owned()];
                assert!(named.iter().any(|named| body.contains(named)), "{file}: {test} does not meet {word}");
            }
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every source file under these folders.
fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.extension().is_some_and(|ending| ending == "rs") {
                files.push(entry);
            }
        }
    }
    files
}
