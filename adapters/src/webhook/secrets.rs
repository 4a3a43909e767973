//! The secrets that webhooks are signed with, and the signature: Standard Webhooks 1.0.0, symmetric (`v1`).
//!
//! One secret, or two while the agency's system changes from the one to the other: then every post carries both signatures. The
//! file is looked at again while the adapter runs; one that cannot be used changes nothing, and is complained about.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::digest::random;
use crate::private_file;

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// How long a secret is, decoded (the specification's table of signature schemes).
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// More than two secrets and a few words about them need.
const MAX_FILE_BYTES: u64 = 4096;

/// How soon a changed file counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is wrong with a file of secrets. Nothing of it is repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum BadSecrets {
    /// None, or more than two.
    #[error("it holds {0} secrets; one or two are allowed, a line each")]
    Count(usize),
    /// A line that is no secret.
    #[error("line {0} is not whsec_ and 24 to 64 bytes in Base64")]
    Line(usize),
}

/// Why a secret was not changed. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The file cannot be read or written, or does not hold secrets.
    #[error(transparent)]
    File(#[from] io::Error),
    /// There are two secrets already.
    #[error("a change is under way; finish it first")]
    UnderWay,
    /// There is one secret only.
    #[error("no change is under way; begin one first")]
    NotUnderWay,
}

/// See the module.
pub(crate) struct Secrets {
    file: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    keys: Arc<[hmac::Key]>,
    looked: Instant,
    /// Why what is in the file now is not used.
    problem: Option<String>,
}

impl Secrets {
    /// The secrets in a file; it is made, with one secret, if it is not there.
    ///
    /// # Errors
    /// It cannot be read or made, or does not hold secrets.
    pub(crate) fn open(file: &Path) -> io::Result<Self> {
        let keys = match read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write(file, &[generate()])?;
                read(file)
            }
            keys => keys,
        };
        let held = Held { keys: keys?, looked: Instant::now(), problem: None };
        Ok(Self { file: file.to_owned(), held: Mutex::new(held) })
    }

    /// `webhook-signature` of a post: one for each secret, separated by a space.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let keys = self.current();
        let signatures: Vec<_> = keys.iter().map(|key| signature(key, id, timestamp, body)).collect();
        signatures.join(" ")
    }

    /// Why the file is not used as it is now, if so.
    pub(crate) fn problem(&self) -> Option<String> {
        self.current();
        self.held.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    fn current(&self) -> Arc<[hmac::Key]> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK_EVERY {
            held.looked = Instant::now();
            match read(&self.file) {
                Ok(keys) => (held.keys, held.problem) = (keys, None),
                Err(error) => {
                    let problem = error.to_string();
                    if held.problem.as_ref() != Some(&problem) {
                        let file = self.file.display();
                        tracing::error!(%file, %error, "the webhook secrets cannot be used; those of before go on");
                    }
                    held.problem = Some(problem);
                }
            }
        }
        held.keys.clone()
    }
}

/// Whether a file of secrets can be used, if it is there.
pub(super) fn check(file: &Path) -> io::Result<()> {
    match read(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a new secret above the one in the file, which is made if it is not there: from now on posts carry both signatures.
///
/// # Errors
/// See [`ChangeError`].
pub fn begin_change(file: &Path) -> Result<(), ChangeError> {
    let text = match text_of(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => generate(),
        text => text?,
    };
    match lines(&text).map_err(invalid)?[..] {
        [old] => Ok(write(file, &[generate(), Zeroizing::new(old.to_owned())])?),
        _ => Err(ChangeError::UnderWay),
    }
}

/// Removes the older one of two secrets.
///
/// # Errors
/// See [`ChangeError`].
pub fn finish_change(file: &Path) -> Result<(), ChangeError> {
    match lines(&text_of(file)?).map_err(invalid)?[..] {
        [new, _] => Ok(write(file, &[Zeroizing::new(new.to_owned())])?),
        _ => Err(ChangeError::NotUnderWay),
    }
}

/// A new secret, as text.
fn generate() -> Zeroizing<String> {
    let bytes = Zeroizing::new(random::<32>());
    Zeroizing::new(format!("{PREFIX}{}", BASE64.encode(&*bytes)))
}

/// The secrets of a text, in their order, as text.
fn lines(text: &str) -> Result<Vec<&str>, BadSecrets> {
    let is_secret = |line: &&str| {
        let decoded = line.strip_prefix(PREFIX).and_then(|encoded| BASE64.decode(encoded.as_bytes()).ok());
        decoded.map(Zeroizing::new).is_some_and(|bytes| LENGTHS.contains(&bytes.len()))
    };
    let mut secrets = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !is_secret(&line) {
            return Err(BadSecrets::Line(number));
        }
        secrets.push(line);
    }
    if (1..=2).contains(&secrets.len()) { Ok(secrets) } else { Err(BadSecrets::Count(secrets.len())) }
}

/// The text of a file of secrets.
fn text_of(file: &Path) -> io::Result<Zeroizing<String>> {
    private_file::read(file, MAX_FILE_BYTES)
}

/// Puts a file of secrets in the place of the one that is there, if any.
fn write(file: &Path, secrets: &[Zeroizing<String>]) -> io::Result<()> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
    for secret in secrets {
        text.push_str(secret);
        text.push('\n');
    }
    private_file::write(file, &text)
}

fn invalid(problem: BadSecrets) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn read(file: &Path) -> io::Result<Arc<[hmac::Key]>> {
    let text = text_of(file)?;
    let key = |secret: &str| {
        let bytes = BASE64.decode(&secret.as_bytes()[PREFIX.len()..]).map(Zeroizing::new).unwrap_or_default();
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    };
    Ok(lines(&text).map_err(invalid)?.into_iter().map(key).collect())
}

/// Over `{id}.{timestamp}.{body}`; the id must hold no full stop, so that nothing reads as two things.
fn signature(key: &hmac::Key, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64.encode(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &Secrets) -> String {
        secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#)
    }

    /// As if the time to look again had come.
    fn look(secrets: &Secrets) {
        let mut held = secrets.held.lock().unwrap();
        held.looked = held.looked.checked_sub(LOOK_EVERY).unwrap();
    }

    #[test]
    fn the_specifications_own_example_is_signed_as_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("webhook.secret");
        fs::write(&file, format!("# from the agency\n{SECRET}\n")).unwrap();
        assert_eq!(sign(&Secrets::open(&file).unwrap()), SIGNED);
    }

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("webhook.secret");
        let first = sign(&Secrets::open(&file).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(sign(&Secrets::open(&file).unwrap()), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn with_two_secrets_there_are_two_signatures_and_a_change_counts_without_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("webhook.secret");
        let secrets = Secrets::open(&file).unwrap();
        let (old, old_text) = (sign(&secrets), fs::read_to_string(&file).unwrap());
        fs::write(&file, format!("{SECRET}\n{old_text}")).unwrap();
        look(&secrets);
        assert_eq!(sign(&secrets), format!("{SIGNED} {old}"));
        fs::write(&file, SECRET).unwrap();
        look(&secrets);
        assert_eq!((sign(&secrets).as_str(), secrets.problem()), (SIGNED, None));
        // What cannot be used changes nothing, and is said without what it is.
        fs::write(&file, format!("{SECRET}\nwhsec_dG9vIHNob3J0")).unwrap();
        look(&secrets);
        assert_eq!(sign(&secrets), SIGNED);
        let problem = secrets.problem().unwrap();
        assert!(problem.contains("line 2") && !problem.contains("dG9v"), "{problem}");
    }

    #[test]
    fn a_change_of_the_secret_begins_above_the_old_one_and_ends_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("webhook.secret");
        fs::write(&file, SECRET).unwrap();
        assert!(matches!(finish_change(&file), Err(ChangeError::NotUnderWay)));
        begin_change(&file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let [new, old] = lines(&text).unwrap()[..] else { panic!() };
        assert!(old == SECRET && new != SECRET);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(begin_change(&file), Err(ChangeError::UnderWay)));
        finish_change(&file).unwrap();
        assert_eq!(lines(&fs::read_to_string(&file).unwrap()).unwrap(), [new]);
    }

    #[test]
    fn what_is_not_one_or_two_secrets_is_no_file_of_secrets() {
        assert_eq!(lines(""), Err(BadSecrets::Count(0)));
        assert_eq!(lines(&format!("{SECRET}\n{SECRET}\n{SECRET}")), Err(BadSecrets::Count(3)));
        for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa", "whsec_====", "whsec_é"]
        {
            assert_eq!(lines(bad), Err(BadSecrets::Line(1)), "{bad}");
        }
        assert_eq!(lines(generate().as_str()).map(|secrets| secrets.len()), Ok(1));
    }
}
