//! Who may call the local interface, and for whom.
//!
//! From this machine, over loopback: whoever shows its token. From elsewhere, over TLS: a *client*, known by a certificate or by an access
//! token that it gets for its secret (OAuth 2.0 client credentials, RFC 6749 §4.4), each for its parties only. What they may do then is
//! `office`'s and the gateway's. Nothing that is shown here, and no digest of it, is logged or repeated.

mod bearer;
mod clients;
mod failures;
mod tokens;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use lgsp_certs::tls::TlsFileError;
use lgsp_proto::types::PartyId;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

pub use clients::{Client, ClientsError, Proof, add_client, list_clients, new_secret, remove_client};
pub use tokens::{TokenChangeError, begin_token_change, current_token, finish_token_change};

pub(crate) use bearer::LIFE_SECONDS;
pub(crate) use failures::network;

use crate::config;
use crate::problem::{LocalReason, Problem};
use crate::spool::now_ms;
use bearer::{Minting, NotGood};
use clients::Clients;
use failures::Failures;
use tokens::Tokens;

/// See the module.
pub(crate) struct Access {
    /// `None` where whoever is on this machine gets in.
    tokens: Option<Tokens>,
    clients: Clients,
    minting: Minting,
    failures: Failures,
}

/// A file that says who may call, and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used", file.display())]
pub struct AccessFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    #[source]
    pub source: ClientsError,
}

/// Where a call comes from, by its connection.
#[derive(Clone)]
pub(crate) enum Origin {
    /// This machine: the loopback interface.
    Here,
    /// Another machine, over TLS.
    Elsewhere { address: IpAddr, certificate: Option<Arc<Certificate>> },
}

/// What a client's certificate says. The handshake has proved its chain and its key.
pub(crate) struct Certificate {
    /// Its DNS names and URIs.
    names: Vec<Box<str>>,
    key_sha256: [u8; 32],
    /// A connection may outlive it.
    not_after_ms: i64,
}

/// Who calls, once that is known.
#[derive(Clone)]
pub(crate) enum Who {
    /// Whoever has this machine's token: acts for every party of the adapter.
    Here,
    /// A client: for its own.
    Client(Arc<Client>),
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Denied {
    /// There is no token, or it is not good.
    Token,
    /// There is no such client: by certificate, or by name and secret.
    Client,
    /// Wrong too often; nothing was looked at.
    TooOften(Duration),
}

impl Access {
    /// By the files of the configuration, in a spool's folder that is there.
    ///
    /// # Errors
    /// Names the one that cannot be used.
    pub(crate) fn open(rest: &config::Rest, spool: &Path) -> Result<Self, AccessFileError> {
        let at = |file: &Path| {
            let file = file.to_owned();
            move |source| AccessFileError { file, source }
        };
        let tokens = rest.token_file.as_deref().map(|file| Tokens::open(file).map_err(io_error(at(file))));
        let key = spool.join("tokens.key");
        Ok(Self {
            tokens: tokens.transpose()?,
            clients: Clients::open(&rest.clients_file).map_err(at(&rest.clients_file))?,
            minting: Minting::open(&key).map_err(io_error(at(&key)))?,
            failures: Failures::default(),
        })
    }

    /// Who calls, by the connection and the header `Authorization`.
    ///
    /// # Errors
    /// See [`Denied`].
    pub(crate) fn admit(&self, origin: &Origin, authorization: Option<&[u8]>) -> Result<Who, Denied> {
        let shown = authorization.and_then(bearer_of);
        match origin {
            Origin::Here => match (shown, &self.tokens) {
                (Some(shown), _) if shown.starts_with(bearer::PREFIX.as_bytes()) => {
                    self.minting.whose(shown, &self.clients, now_ms()).map(Who::Client).or(Err(Denied::Token))
                }
                (Some(shown), Some(tokens)) if tokens.has(shown) => Ok(Who::Here),
                (_, None) => Ok(Who::Here),
                _ => Err(Denied::Token),
            },
            Origin::Elsewhere { address, certificate } => {
                let is_in_force = |certificate: &&Arc<Certificate>| now_ms() <= certificate.not_after_ms;
                let certificate = certificate.as_ref().filter(is_in_force);
                let certified = certificate.and_then(|certificate| self.clients.with_certificate(certificate));
                let Some(shown) = shown else {
                    let otherwise = if certificate.is_some() { Denied::Client } else { Denied::Token };
                    return certified.map(Who::Client).ok_or(otherwise);
                };
                // Who shows both is one.
                let is_the_same = |client: &Client| certified.as_ref().is_none_or(|other| other.name == client.name);
                match self.minting.whose(shown, &self.clients, now_ms()) {
                    Ok(client) if is_the_same(&client) => Ok(Who::Client(client)),
                    // Minted here, so nobody has guessed it.
                    Ok(_) | Err(NotGood::Over) => Err(Denied::Token),
                    Err(NotGood::Never) => {
                        // Nothing happens between looking and noting, so that many at once are no way around.
                        self.may_try(*address)?;
                        self.failed(*address, "an access token was refused");
                        Err(Denied::Token)
                    }
                }
            }
        }
    }

    /// An access token for a client that says its name and secret.
    ///
    /// # Errors
    /// See [`Denied`]; whether there is a client of the name is not told.
    pub(crate) fn exchange(
        &self,
        origin: &Origin,
        name: &str,
        secret: &[u8],
    ) -> Result<(Arc<Client>, Zeroizing<String>), Denied> {
        // Here everybody has one address, and one who is wrong must not keep the others out: a secret is 256 random bits.
        if let Origin::Elsewhere { address, .. } = origin {
            self.may_try(*address)?;
        }
        let client = self.clients.with_secret(name, secret);
        let minted = client.and_then(|client| self.minting.mint(&client, now_ms()).map(|token| (client, token)));
        match (&minted, origin) {
            (Some((client, _)), _) => tracing::info!(client = %client.name, "access token issued"),
            (None, Origin::Here) => tracing::warn!("no access token issued: no such client, or not its secret"),
            (None, Origin::Elsewhere { address, .. }) => {
                self.failed(*address, "no access token issued: no such client, or not its secret");
            }
        }
        minted.ok_or(Denied::Client)
    }

    fn may_try(&self, address: IpAddr) -> Result<(), Denied> {
        self.failures.wait(address, Instant::now()).map_or(Ok(()), |wait| Err(Denied::TooOften(wait)))
    }

    /// What was said is not told: it may be a secret in the wrong place.
    fn failed(&self, address: IpAddr, what: &'static str) {
        self.failures.note(address, Instant::now());
        tracing::warn!(%address, "{what}");
    }
}

impl Who {
    /// Whether whoever calls may act for a party, as far as the adapter's own word goes.
    ///
    /// # Errors
    /// `CLIENT_PARTY_MISSING`, also for a party that the adapter knows nothing of.
    pub(crate) fn may_act_for(&self, party: &PartyId) -> Result<(), Problem> {
        match self {
            Self::Client(client) if !client.may_act_for(party) => {
                Err(Problem::from(LocalReason::ClientPartyMissing).with_value("party", party))
            }
            Self::Here | Self::Client(_) => Ok(()),
        }
    }
}

impl Certificate {
    /// What a certificate says. Nothing is proved by reading it.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        let names = parsed.subject_alternative_name().ok()?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let text = |name: &GeneralName<'_>| match *name {
            GeneralName::DNSName(text) | GeneralName::URI(text) => Some(text.into()),
            _ => None,
        };
        rest.is_empty().then(|| Self {
            names: names.filter_map(text).collect(),
            key_sha256: crate::digest::sha256(parsed.public_key().raw),
            not_after_ms: parsed.validity().not_after.timestamp().saturating_mul(1000),
        })
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Token => LocalReason::TokenInvalid.into(),
            Denied::Client => LocalReason::ClientInvalid.into(),
            Denied::TooOften(wait) => Self::from(LocalReason::TooManyFailures).with_retry_after(wait),
        }
    }
}

/// Whether the files that say who may call can be used, as far as they are there.
///
/// # Errors
/// Names the first that cannot.
pub fn check(config: &config::Config) -> Result<(), AccessFileError> {
    let file = &config.rest.clients_file;
    list_clients(file).map_err(|source| AccessFileError { file: file.clone(), source })?;
    match config.rest.token_file.as_deref().filter(|file| file.exists()) {
        Some(file) => match current_token(file) {
            Ok(_) => Ok(()),
            Err(error) => Err(AccessFileError { file: file.to_owned(), source: error.into() }),
        },
        None => Ok(()),
    }
}

/// Whether the certificates for other machines can be used, if there are any.
///
/// # Errors
/// Names the first file that cannot.
pub fn check_remote(config: &config::Config) -> Result<(), TlsFileError> {
    config.remote.as_ref().map_or(Ok(()), crate::rest::remote::check)
}

/// What a client with the certificate in a PEM file is known by: its key, whatever certificate it has next.
///
/// # Errors
/// The file cannot be used.
pub fn proof_of_certificate(file: &Path) -> Result<Proof, TlsFileError> {
    let chain = lgsp_certs::tls::certificates_in(file)?;
    let read = Certificate::read(&chain[0]);
    let unreadable = || TlsFileError { file: file.to_owned(), problem: lgsp_certs::tls::TlsProblem::BadCertificate };
    read.map(|certificate| Proof::Key(certificate.key_sha256)).ok_or_else(unreadable)
}

/// Reads what callers show, and the file of clients; what comes of it does not matter.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(bytes: &[u8]) {
    static ACCESS: std::sync::LazyLock<(Minting, Clients)> = std::sync::LazyLock::new(|| {
        (Minting::with_key(&[7; 32]), Clients::open(Path::new("")).expect("a file that is not there has none"))
    });
    let (minting, clients) = &*ACCESS;
    assert!(minting.whose(bytes, clients, 0).is_err(), "there is no client");
    drop(Certificate::read(&CertificateDer::from(bytes)));
    if let Ok(text) = str::from_utf8(bytes) {
        drop(clients::parse(text));
    }
}

/// What stands behind `Bearer` (RFC 6750 §2.1; the scheme's letters may be of either case).
fn bearer_of(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, shown) = authorization.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(shown)
}

fn io_error(named: impl FnOnce(ClientsError) -> AccessFileError) -> impl FnOnce(io::Error) -> AccessFileError {
    move |error| named(error.into())
}

/// A fresh secret as text that any header, form or shell takes as it is.
fn secret(prefix: &str, bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(format!("{prefix}{}", BASE64URL_NOPAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_right_gets_in_whoever_guesses_beside_and_a_token_that_is_over_is_no_guess() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.toml");
        let (secret, proof) = new_secret();
        add_client(&file, Client { name: "mot-cua".into(), parties: vec!["H57.101".parse().unwrap()], proof }).unwrap();
        let access = Access {
            tokens: None,
            clients: Clients::open(&file).unwrap(),
            minting: Minting::with_key(&[7; 32]),
            failures: Failures::default(),
        };
        let stranger = "192.0.2.1".parse().unwrap();
        let elsewhere = Origin::Elsewhere { address: stranger, certificate: None };
        let admitted = |token: &str| {
            let admitted = access.admit(&elsewhere, Some(format!("Bearer {token}").as_bytes()));
            admitted.map(|who| matches!(who, Who::Client(_)))
        };
        let client = access.clients.named("mot-cua").unwrap();
        let over = access.minting.mint(&client, now_ms() - LIFE_SECONDS * 1000).unwrap();
        for _ in 0..100 {
            assert_eq!(admitted(&over), Err(Denied::Token), "it says: get another");
        }
        let (_, token) = access.exchange(&elsewhere, "mot-cua", secret.as_bytes()).unwrap();
        let guesses: Vec<_> = (0..100).map(|_| admitted("lgspa_guess")).collect();
        assert!(guesses.last().is_some_and(|last| matches!(last, Err(Denied::TooOften(_)))));
        assert_eq!(admitted(&token), Ok(true), "who is right does not wait for the others");
    }
}
