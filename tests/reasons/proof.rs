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
                // The ways in, and what they have done for them.
                let ways_in = ["rest", "folder", "tables", "office"].map(|way| format!("adapters/src/{way}"));
                for other in sources(&ways_in.each_ref().map(String::as_str)) {
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
                let body = body(&text, test).unwrap_or_else(|| panic!("{word}: no {test} in {file}"));
                let variant: String =
                    word.split('_').map(|part| part[..1].to_owned() + &part[1..].to_lowercase()).collect();
                let named = [format!("Reason::{variant}"), format!("\"{word}\""), "Reason::ALL".to_owned()];
                assert!(named.iter().any(|named| body.contains(named)), "{file}: {test} does not meet {word}");
            }
        }
    }
}

/// What stands in a function, up to the brace that closes it where its own line begins: in a module it is indented.
fn body<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (before, after) = text.split_once(&format!("fn {name}("))?;
    let line = before.rsplit('\n').next().unwrap();
    let indent = &line[..line.len() - line.trim_start().len()];
    after.split(&format!("\n{indent}}}\n")).next()
}

#[test]
fn a_function_in_a_module_ends_before_the_next_one() {
    let text = "mod tests {\n    async fn one() {\n        {\n            here\n        }\n    }\n\n    fn two() {\n        there\n    }\n}\n";
    let one = body(text, "one").unwrap();
    assert!(one.contains("here") && !one.contains("there"), "{one}");
    assert!(body(text, "two").unwrap().contains("there"));
    assert_eq!(body(text, "three"), None);
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
