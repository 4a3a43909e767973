//! The token of this machine: what a caller on the loopback interface shows, in a file for its owner alone.
//!
//! One token, or two while the agency's systems change from the one to the other: then either is good. The file is looked at again
//! while the adapter runs; one that cannot be used changes nothing, and is complained about. Only digests are kept in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use crate::digest::{random, sha256};
use crate::private_file;

/// What a token that is made here begins with, so that one that went astray is recognised.
const PREFIX: &str = "lgspt_";

/// The longest token, and the longest file.
const MAX_TOKEN_BYTES: usize = 512;
const MAX_FILE_BYTES: u64 = 4096;

/// How soon a changed file counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is wrong with a file of tokens. Nothing of it is repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum BadTokens {
    /// None, or more than two.
    #[error("it holds {0} tokens; one or two are allowed, a line each")]
    Count(usize),
    /// A line that no header can carry.
    #[error("line {0} is no token: visible ASCII without spaces, at most {MAX_TOKEN_BYTES} bytes")]
    Line(usize),
}

/// Why the token was not changed. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TokenChangeError {
    /// The file cannot be read or written, or does not hold tokens.
    #[error(transparent)]
    File(#[from] io::Error),
    /// There are two tokens already.
    #[error("a change is under way; finish it first")]
    UnderWay,
    /// There is one token only.
    #[error("no change is under way; begin one first")]
    NotUnderWay,
}

/// See the module.
pub(crate) struct Tokens {
    file: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    digests: Vec<[u8; 32]>,
    looked: Instant,
    /// What was said last about a file that cannot be used.
    problem: Option<String>,
}

impl Tokens {
    /// The tokens in a file; it is made, with one token, if it is not there.
    ///
    /// # Errors
    /// It cannot be read or made, or does not hold tokens.
    pub(crate) fn open(file: &Path) -> io::Result<Self> {
        current_token(file)?;
        let held = Held { digests: digests(file)?, looked: Instant::now(), problem: None };
        Ok(Self { file: file.to_owned(), held: Mutex::new(held) })
    }

    /// Whether what was shown is one of the tokens; takes as long for one that is nearly right as for any other.
    pub(crate) fn has(&self, shown: &[u8]) -> bool {
        let shown = sha256(shown);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK_EVERY {
            held.look(&self.file);
        }
        held.digests.iter().any(|token| verify_slices_are_equal(token, &shown).is_ok())
    }
}

impl Held {
    fn look(&mut self, file: &Path) {
        self.looked = Instant::now();
        match digests(file) {
            Ok(digests) => (self.digests, self.problem) = (digests, None),
            Err(error) => {
                let problem = error.to_string();
                if self.problem.as_ref() != Some(&problem) {
                    tracing::error!(file = %file.display(), %error, "the token file cannot be used; what was good goes on");
                }
                self.problem = Some(problem);
            }
        }
    }
}

/// The token to show, the newer one of two. The file is made if it is not there.
///
/// # Errors
/// It cannot be read or made, or does not hold tokens.
pub fn current_token(file: &Path) -> io::Result<Zeroizing<String>> {
    let text = match private_file::read(file, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private_file::create(file, &Zeroizing::new(format!("{}\n", *generate())))?;
            private_file::read(file, MAX_FILE_BYTES)?
        }
        text => text?,
    };
    Ok(Zeroizing::new(lines(&text).map_err(invalid)?[0].to_owned()))
}

/// Puts a new token above the one in the file, which is made if it is not there: from now on both are good.
///
/// # Errors
/// See [`TokenChangeError`].
pub fn begin_token_change(file: &Path) -> Result<(), TokenChangeError> {
    current_token(file)?;
    let text = private_file::read(file, MAX_FILE_BYTES)?;
    match lines(&text).map_err(invalid)?[..] {
        [old] => Ok(private_file::write(file, &Zeroizing::new(format!("{}\n{old}\n", *generate())))?),
        _ => Err(TokenChangeError::UnderWay),
    }
}

/// Removes the older one of two tokens.
///
/// # Errors
/// See [`TokenChangeError`].
pub fn finish_token_change(file: &Path) -> Result<(), TokenChangeError> {
    let text = private_file::read(file, MAX_FILE_BYTES)?;
    match lines(&text).map_err(invalid)?[..] {
        [new, _] => Ok(private_file::write(file, &Zeroizing::new(format!("{new}\n")))?),
        _ => Err(TokenChangeError::NotUnderWay),
    }
}

fn generate() -> Zeroizing<String> {
    super::secret(PREFIX, &random::<32>())
}

fn digests(file: &Path) -> io::Result<Vec<[u8; 32]>> {
    let text = private_file::read(file, MAX_FILE_BYTES)?;
    Ok(lines(&text).map_err(invalid)?.into_iter().map(|token| sha256(token.as_bytes())).collect())
}

/// The tokens of a text, in their order.
fn lines(text: &str) -> Result<Vec<&str>, BadTokens> {
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.len() > MAX_TOKEN_BYTES || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadTokens::Line(number));
        }
        tokens.push(line);
    }
    if (1..=2).contains(&tokens.len()) { Ok(tokens) } else { Err(BadTokens::Count(tokens.len())) }
}

fn invalid(problem: BadTokens) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// As if the time to look again had come.
    fn look(tokens: &Tokens) {
        tokens.held.lock().unwrap().look(&tokens.file);
    }

    #[test]
    fn the_file_is_made_for_its_owner_alone_and_its_token_is_good() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rest.token");
        let tokens = Tokens::open(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let token = current_token(&file).unwrap();
        assert!(token.starts_with(PREFIX) && token.len() > 40);
        assert!(tokens.has(token.as_bytes()));
        for wrong in ["", &token[..token.len() - 1], "another"] {
            assert!(!tokens.has(wrong.as_bytes()));
        }
    }

    #[test]
    fn during_a_change_both_are_good_and_afterwards_only_the_new_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rest.token");
        fs::write(&file, "# the agency's own\nold-one\n").unwrap();
        let tokens = Tokens::open(&file).unwrap();
        assert!(matches!(finish_token_change(&file), Err(TokenChangeError::NotUnderWay)));
        begin_token_change(&file).unwrap();
        let new = current_token(&file).unwrap();
        look(&tokens);
        assert!(tokens.has(b"old-one") && tokens.has(new.as_bytes()));
        assert!(matches!(begin_token_change(&file), Err(TokenChangeError::UnderWay)));
        finish_token_change(&file).unwrap();
        look(&tokens);
        assert!(!tokens.has(b"old-one") && tokens.has(new.as_bytes()));
    }

    #[test]
    fn a_file_that_cannot_be_used_lets_nobody_else_in_and_what_was_good_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rest.token");
        fs::write(&file, "good\n").unwrap();
        let tokens = Tokens::open(&file).unwrap();
        for bad in ["", "a\nb\nc\n", "two words\n", "mã-bí-mật\n"] {
            fs::write(&file, bad).unwrap();
            look(&tokens);
            assert!(tokens.has(b"good") && !tokens.has(b"a") && !tokens.has(b""), "{bad:?}");
            let told = tokens.held.lock().unwrap().problem.clone().unwrap();
            assert!(!told.contains("words"), "{told}");
            assert!(Tokens::open(&file).is_err(), "{bad:?}");
        }
    }
}
