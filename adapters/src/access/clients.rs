//! The systems that may call the local interface under a name of their own, each for its parties only: a file that `lgsp adapter
//! client` writes and that people may write as well.
//!
//! A client is known by a certificate or by a secret, of which only the digest is kept. The file is looked at again while the adapter
//! runs: what is removed counts from the next call on; one that cannot be used changes nothing, and is complained about.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use data_encoding::HEXLOWER;
use lgsp_proto::types::PartyId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Certificate;
use crate::digest::{random, sha256};
use crate::private_file;

/// What a secret that is made here begins with, so that one that went astray is recognised.
const PREFIX: &str = "lgsps_";

/// An agency has a handful.
const MAX_CLIENTS: usize = 256;
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The longest name of a client, and the longest name in a certificate.
const MAX_NAME_BYTES: usize = 64;
const MAX_CERTIFICATE_NAME_BYTES: usize = 253;

/// How soon a changed file counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the file begins with when it is written here.
const HEAD: &str =
    "# Who may call the adapter's local interface, and for which parties: `lgsp adapter client --help`.\n";

/// A system that may call.
#[derive(Clone, Eq, PartialEq)]
pub struct Client {
    /// What it is called here.
    pub name: Box<str>,
    /// For whom it may act; never empty.
    pub parties: Vec<PartyId>,
    /// What it is known by.
    pub proof: Proof,
}

/// What a client is known by.
#[derive(Clone, Eq, PartialEq)]
pub enum Proof {
    /// A secret with this SHA-256.
    Secret([u8; 32]),
    /// A certificate of `remote.client_bundle` for the key whose `SubjectPublicKeyInfo` has this SHA-256.
    Key([u8; 32]),
    /// A certificate of `remote.client_bundle` with this DNS name or URI.
    Name(Box<str>),
}

/// Why the file of clients was not changed, or is not used. It is as it was; nothing secret is repeated.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Form(String),
    /// There is one of this name.
    #[error("there is a client {0} already")]
    Taken(String),
    /// There is none of this name.
    #[error("there is no client {0}")]
    Unknown(String),
}

/// See the module.
pub(crate) struct Clients {
    file: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    clients: Vec<Arc<Client>>,
    looked: Instant,
    /// What was said last about a file that cannot be used.
    problem: Option<String>,
}

/// The file.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct FileToml {
    client: Vec<ClientToml>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ClientToml {
    name: String,
    parties: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
}

impl Clients {
    /// The clients in a file; none if it is not there.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be.
    pub(crate) fn open(file: &Path) -> Result<Self, ClientsError> {
        let clients = shared(file)?;
        Ok(Self { file: file.to_owned(), held: Mutex::new(Held { clients, looked: Instant::now(), problem: None }) })
    }

    /// The one of this name.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Client>> {
        self.current(|clients| clients.iter().find(|client| &*client.name == name).cloned())
    }

    /// The one that a certificate is of.
    pub(super) fn with_certificate(&self, shown: &Certificate) -> Option<Arc<Client>> {
        let is_of = |client: &&Arc<Client>| match &client.proof {
            Proof::Secret(_) => false,
            Proof::Key(key) => *key == shown.key_sha256,
            Proof::Name(name) => shown.names.contains(name),
        };
        self.current(|clients| clients.iter().find(is_of).cloned())
    }

    /// The one with this name and secret. Takes as long whether there is one of the name or not.
    pub(super) fn with_secret(&self, name: &str, secret: &[u8]) -> Option<Arc<Client>> {
        let client = self.named(name);
        let digest = client.as_deref().and_then(Client::secret_sha256);
        let is_right = verify_slices_are_equal(&digest.unwrap_or_default(), &sha256(secret)).is_ok();
        client.filter(|_| digest.is_some() && is_right)
    }

    fn current<T>(&self, find: impl FnOnce(&[Arc<Client>]) -> T) -> T {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK_EVERY {
            held.look(&self.file);
        }
        find(&held.clients)
    }
}

impl Held {
    fn look(&mut self, file: &Path) {
        self.looked = Instant::now();
        match shared(file) {
            Ok(clients) => (self.clients, self.problem) = (clients, None),
            Err(error) => {
                let problem = error.to_string();
                if self.problem.as_ref() != Some(&problem) {
                    tracing::error!(file = %file.display(), %error, "the file of clients cannot be used; what was good goes on");
                }
                self.problem = Some(problem);
            }
        }
    }
}

impl Client {
    /// The digest of its secret, if it has one.
    pub(super) fn secret_sha256(&self) -> Option<[u8; 32]> {
        match self.proof {
            Proof::Secret(digest) => Some(digest),
            Proof::Key(_) | Proof::Name(_) => None,
        }
    }

    /// Whether it may act for a party.
    pub(crate) fn may_act_for(&self, party: &PartyId) -> bool {
        self.parties.contains(party)
    }

    fn read(toml: ClientToml) -> Result<Self, String> {
        let ClientToml { name, parties, secret_sha256, key_sha256, certificate } = toml;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err(format!("a client's name is 1 to {MAX_NAME_BYTES} of a-z 0-9 . _ -"));
        }
        let parties: Result<Vec<PartyId>, _> = parties.iter().map(|party| party.parse()).collect();
        let parties = parties.ok().filter(|parties| !parties.is_empty());
        let parties = parties.ok_or_else(|| format!("{name}: parties names none, or what is no party"))?;
        let digest = |text: &str, key: &str| {
            let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or_else(|| format!("{name}: {key} is not SHA-256 in 64 hexadecimal digits"))
        };
        let proof = match (secret_sha256, key_sha256, certificate) {
            (Some(text), None, None) => Proof::Secret(digest(&text, "secret_sha256")?),
            (None, Some(text), None) => Proof::Key(digest(&text, "key_sha256")?),
            (None, None, Some(named))
                if (1..=MAX_CERTIFICATE_NAME_BYTES).contains(&named.len())
                    && named.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Proof::Name(named.into())
            }
            _ => return Err(format!("{name}: needs one of secret_sha256, key_sha256 and certificate, and no other")),
        };
        Ok(Self { name: name.into(), parties, proof })
    }

    fn to_toml(&self) -> ClientToml {
        let mut toml = ClientToml {
            name: self.name.to_string(),
            parties: self.parties.iter().map(ToString::to_string).collect(),
            secret_sha256: None,
            key_sha256: None,
            certificate: None,
        };
        match &self.proof {
            Proof::Secret(digest) => toml.secret_sha256 = Some(HEXLOWER.encode(digest)),
            Proof::Key(digest) => toml.key_sha256 = Some(HEXLOWER.encode(digest)),
            Proof::Name(name) => toml.certificate = Some(name.to_string()),
        }
        toml
    }
}

/// A fresh secret for a client, and what it is known by. The secret is kept nowhere.
pub fn new_secret() -> (Zeroizing<String>, Proof) {
    let secret = super::secret(PREFIX, &random::<32>());
    let digest = sha256(secret.as_bytes());
    (secret, Proof::Secret(digest))
}

/// The clients in a file, by name; none if it is not there.
///
/// # Errors
/// See [`ClientsError`].
pub fn list_clients(file: &Path) -> Result<Vec<Client>, ClientsError> {
    let text = match private_file::read(file, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    parse(&text)
}

/// The clients of a text, by name.
pub(super) fn parse(text: &str) -> Result<Vec<Client>, ClientsError> {
    let parsed: FileToml = toml::from_str(text).map_err(|error| {
        // What is wrong with a value is not repeated: it may be a secret in the wrong place.
        let upto = error.span().map_or("", |span| text.get(..span.start).unwrap_or(text));
        ClientsError::Form(format!("line {} is not what belongs there", upto.matches('\n').count() + 1))
    })?;
    if parsed.client.len() > MAX_CLIENTS {
        return Err(ClientsError::Form(format!("more than {MAX_CLIENTS} clients")));
    }
    let clients: Result<Vec<_>, _> = parsed.client.into_iter().map(Client::read).collect();
    let mut clients = clients.map_err(ClientsError::Form)?;
    clients.sort_by(|one, other| one.name.cmp(&other.name));
    match clients.windows(2).find(|two| two[0].name == two[1].name) {
        Some(twice) => Err(ClientsError::Form(format!("{} is there twice", twice[0].name))),
        None => Ok(clients),
    }
}

/// Adds a client to a file, which is made if it is not there: durably, whole or not at all.
///
/// # Errors
/// See [`ClientsError`].
pub fn add_client(file: &Path, client: Client) -> Result<(), ClientsError> {
    let mut clients = list_clients(file)?;
    if clients.iter().any(|other| other.name == client.name) {
        return Err(ClientsError::Taken(client.name.into()));
    }
    if clients.len() == MAX_CLIENTS {
        return Err(ClientsError::Form(format!("there are {MAX_CLIENTS} clients, which is the most")));
    }
    // By the same rules as what is read.
    clients.push(Client::read(client.to_toml()).map_err(ClientsError::Form)?);
    write(file, &clients)
}

/// Removes a client. What it has been given is good for nothing from its next call on.
///
/// # Errors
/// See [`ClientsError`].
pub fn remove_client(file: &Path, name: &str) -> Result<(), ClientsError> {
    let mut clients = list_clients(file)?;
    let before = clients.len();
    clients.retain(|client| &*client.name != name);
    if clients.len() == before { Err(ClientsError::Unknown(name.to_owned())) } else { write(file, &clients) }
}

fn write(file: &Path, clients: &[Client]) -> Result<(), ClientsError> {
    let toml = FileToml { client: clients.iter().map(Client::to_toml).collect() };
    let text = toml::to_string(&toml).map_err(|error| ClientsError::Form(error.to_string()))?;
    Ok(private_file::write(file, &format!("{HEAD}\n{text}"))?)
}

fn shared(file: &Path) -> Result<Vec<Arc<Client>>, ClientsError> {
    Ok(list_clients(file)?.into_iter().map(Arc::new).collect())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("name", &self.name).field("parties", &self.parties).finish_non_exhaustive()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn client(name: &str, proof: Proof) -> Client {
        Client { name: name.into(), parties: vec!["H57.101".parse().unwrap()], proof }
    }

    #[test]
    fn a_client_is_added_once_found_by_its_own_secret_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.toml");
        let clients = Clients::open(&file).unwrap();
        let (secret, proof) = new_secret();
        add_client(&file, client("mot-cua", proof.clone())).unwrap();
        assert!(matches!(add_client(&file, client("mot-cua", proof)), Err(ClientsError::Taken(_))));
        let (other, proof) = new_secret();
        add_client(&file, client("ho-tich", proof)).unwrap();
        clients.held.lock().unwrap().look(&file);
        assert_eq!(clients.with_secret("mot-cua", secret.as_bytes()).unwrap().name, "mot-cua".into());
        for (name, wrong) in [("mot-cua", other.as_str()), ("mot-cua", ""), ("nobody", &secret), ("", "")] {
            assert!(clients.with_secret(name, wrong.as_bytes()).is_none(), "{name}");
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&**secret) && text.starts_with(HEAD));
        remove_client(&file, "mot-cua").unwrap();
        assert!(matches!(remove_client(&file, "mot-cua"), Err(ClientsError::Unknown(_))));
        clients.held.lock().unwrap().look(&file);
        assert!(clients.with_secret("mot-cua", secret.as_bytes()).is_none());
        assert!(clients.with_secret("ho-tich", other.as_bytes()).is_some());
    }

    #[test]
    fn a_client_with_a_certificate_has_no_secret_and_the_empty_digest_is_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.toml");
        add_client(&file, client("by-key", Proof::Key([7; 32]))).unwrap();
        add_client(&file, client("by-name", Proof::Name("ho-tich.agency.test".into()))).unwrap();
        let clients = Clients::open(&file).unwrap();
        let shown = |key, names: &[&str]| Certificate {
            names: names.iter().map(|name| (*name).into()).collect(),
            key_sha256: [key; 32],
            not_after_ms: i64::MAX,
        };
        let found = |shown: &Certificate| clients.with_certificate(shown).map(|client| client.name.to_string());
        assert_eq!(found(&shown(7, &[])).as_deref(), Some("by-key"));
        assert_eq!(found(&shown(1, &["a.test", "ho-tich.agency.test"])).as_deref(), Some("by-name"));
        assert_eq!(found(&shown(1, &["xho-tich.agency.test"])), None);
        assert!(clients.with_secret("by-key", b"").is_none() && clients.with_secret("by-name", &[7; 32]).is_none());
    }

    #[test]
    fn a_file_with_a_mistake_is_refused_as_a_whole_and_says_where_without_saying_what() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.toml");
        let good = "[[client]]\nname = \"a\"\nparties = [\"H57.101\"]\ncertificate = \"a.test\"\n";
        let bad = [
            "[[client]]\nname = \"A b\"\nparties = [\"H57.101\"]\ncertificate = \"a.test\"",
            "[[client]]\nname = \"b\"\nparties = []\ncertificate = \"a.test\"",
            "[[client]]\nname = \"b\"\nparties = [\"h\"]\ncertificate = \"a.test\"",
            "[[client]]\nname = \"b\"\nparties = [\"H57.101\"]",
            "[[client]]\nname = \"b\"\nparties = [\"H57.101\"]\nsecret_sha256 = \"lgsps_hush\"",
            "[[client]]\nname = \"b\"\nparties = [\"H57.101\"]\nsecret = \"lgsps_hush\"",
            "[[client]]\nname = \"b\"\nparties = [\"H57.101\"]\ncertificate = \"a\"\nkey_sha256 = \"00\"",
            good,
            "lgsps_hush",
        ];
        fs::write(&file, good).unwrap();
        let clients = Clients::open(&file).unwrap();
        for bad in bad {
            fs::write(&file, format!("{good}{bad}")).unwrap();
            let error = Clients::open(&file).err().unwrap().to_string();
            assert!(!error.contains("hush"), "{error}");
            clients.held.lock().unwrap().look(&file);
            assert!(clients.named("a").is_some(), "what was good goes on");
        }
    }
}
