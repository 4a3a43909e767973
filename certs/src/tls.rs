//! From certificate files to TLS configurations: 1.3 only, both sides authenticated, ALPN `h2`, never resumed.
//!
//! Everything that can be wrong with a file is found on loading and told with the file's name, not by the first peer
//! that is turned away. Configurations are plain values: to change a certificate, load again and swap.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::aws_lc_rs::digest::{Context, SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme, WantsVerifier,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use zeroize::{Zeroize, Zeroizing};

use crate::ends::Ends;
use crate::identity::CertificateDigest;
use crate::lists::{self, Layered};
use crate::sign::{KeyError, SigningKey};
use crate::x509;

/// The only protocol spoken inside: gRPC's.
const ALPN: &[u8] = b"h2";

/// Where a process finds its certificate, its key, and whom it trusts. All PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// Its own certificate, followed by intermediates if there are any.
    pub certificate: PathBuf,
    /// The private key, ECDSA P-256, PKCS#8 or SEC 1.
    pub key: PathBuf,
    /// The root certificates that peers must chain to.
    pub bundle: PathBuf,
}

/// What a certificate is about to be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Usage {
    /// To answer connections.
    Server,
    /// To open them.
    Client,
}

/// Loaded and checked [`TlsFiles`].
pub struct Credentials {
    certified: Arc<CertifiedKey>,
    root_certificates: Vec<CertificateDer<'static>>,
    more_roots: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    signing_key: Arc<SigningKey>,
    digest: CertificateDigest,
    not_after: SystemTime,
}

/// A file that cannot be used. The source says why.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", file.display())]
pub struct TlsFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: TlsProblem,
}

/// What can be wrong with a TLS file.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The system would not give it.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// There is no certificate block, e.g. because the file is DER.
    #[error("it holds no PEM certificate")]
    NoCertificate,
    /// A block is damaged.
    #[error("its PEM is damaged")]
    BrokenPem,
    /// A certificate is damaged or breaks X.509.
    #[error("it holds a certificate that cannot be read")]
    BadCertificate,
    /// A revocation list is damaged, or the file is none.
    #[error("it holds no revocation list that can be read")]
    BadList,
    /// A revocation list in the name of a CA whose key did not sign it: of another CA, or from before its key was changed.
    #[error("it holds a revocation list that the CA it names did not sign with its present key")]
    ForgedList,
    /// The validity is over.
    #[error("the certificate expired on {0}")]
    Expired(String),
    /// The validity lies ahead, or this machine's clock is behind.
    #[error("the certificate is valid only from {0}, or this machine's clock is wrong")]
    NotYetValid(String),
    /// The extended key usage does not allow it.
    #[error("the certificate is not meant for a {0}")]
    WrongUsage(Usage),
    /// The private key is missing or of another kind.
    #[error(transparent)]
    Key(KeyError),
    /// The private key is missing, or of a kind that no server uses.
    #[error("it holds no private key that can be used")]
    BadKey,
    /// Key and certificate are two different ones.
    #[error("the key does not belong to the certificate {}", .0.display())]
    KeyMismatch(PathBuf),
}

/// A listener for systems that join needs its root at hand, to send it with its chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the root of the own certificate is neither in its file nor in the bundle")]
pub struct NoOwnRoot;

/// A host that is neither a DNS name nor an IP address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is neither a DNS name nor an IP address")]
pub struct BadServerName(pub String);

/// Parses the name a client expects the server's certificate to carry: a DNS name, or an IP address.
///
/// # Errors
/// When it is neither; a port, for example, does not belong in it.
pub fn server_name(host: &str) -> Result<ServerName<'static>, BadServerName> {
    ServerName::try_from(host.to_owned()).map_err(|_| BadServerName(host.to_owned()))
}

impl TlsFiles {
    /// Loads the files and checks that they fit each other, the usage and the time.
    ///
    /// # Errors
    /// Names the first file that cannot be used. The files are only read.
    pub fn load(&self, usage: Usage, now: SystemTime) -> Result<Credentials, TlsFileError> {
        let at = |file: &Path| {
            let file = file.to_owned();
            move |problem| TlsFileError { file, problem }
        };
        let chain = certificates(&self.certificate).map_err(at(&self.certificate))?;
        let not_after = check_leaf(&chain[0], usage, now).map_err(at(&self.certificate))?;
        let root_certificates = certificates(&self.bundle).map_err(at(&self.bundle))?;
        let roots = store(&root_certificates).map_err(at(&self.bundle))?;
        let digest = CertificateDigest::of(&chain[0]);
        let (certified, signing_key) = self.certify(chain).map_err(at(&self.key))?;
        Ok(Credentials {
            certified: Arc::new(certified),
            root_certificates,
            more_roots: Vec::new(),
            roots: Arc::new(roots),
            crls: Vec::new(),
            signing_key: Arc::new(signing_key),
            digest,
            not_after,
        })
    }

    /// Reads the key for its two uses, handshakes and messages, and wipes the text.
    fn certify(&self, chain: Vec<CertificateDer<'static>>) -> Result<(CertifiedKey, SigningKey), TlsProblem> {
        let pem = Zeroizing::new(std::fs::read(&self.key).map_err(TlsProblem::Unreadable)?);
        let mut der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsProblem::Key(KeyError::NoKey))?;
        let for_messages = SigningKey::from_der(&der);
        let for_handshakes = aws_lc_rs::sign::any_ecdsa_type(&der);
        der.zeroize();

        let for_messages = for_messages.map_err(TlsProblem::Key)?;
        let for_handshakes = for_handshakes.map_err(|_| TlsProblem::Key(KeyError::NotP256))?;
        let certified = CertifiedKey::new(chain, for_handshakes);
        match certified.keys_match() {
            Ok(()) => Ok((certified, for_messages)),
            Err(_) => Err(TlsProblem::KeyMismatch(self.certificate.clone())),
        }
    }
}

impl Credentials {
    /// With revocation lists about those this process connects to (DER or PEM; a file may hold several in PEM).
    ///
    /// A list counts as in [`Bundle::new`](crate::trust::Bundle::new): for its issuer's certificates, and past its end as well.
    ///
    /// # Errors
    /// Names the first file that cannot be used.
    pub fn with_revocation_lists(mut self, files: &[PathBuf]) -> Result<Self, TlsFileError> {
        for file in files {
            let lists = revocation_lists(file, &self.root_certificates);
            let lists = lists.map_err(|problem| TlsFileError { file: file.clone(), problem })?;
            self.crls.extend(lists);
        }
        self.crls = lists::newest(self.crls, &self.root_certificates);
        Ok(self)
    }

    /// With more certificates among which [`own_root`](Self::own_root) looks. No peer is believed for them.
    #[must_use]
    pub fn knowing(mut self, roots: Vec<CertificateDer<'static>>) -> Self {
        self.more_roots = roots;
        self
    }

    /// The earliest `nextUpdate` among its revocation lists, when that is over. To be told to an operator.
    pub fn stale_list(&self, now: SystemTime) -> Option<SystemTime> {
        x509::stale(&self.crls, now)
    }

    /// What tells whom is believed here from whom others believe: SHA-256 over the roots of the bundle and the revocation lists.
    pub fn believed(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let lists = self.crls.iter().map(AsRef::<[u8]>::as_ref);
        for (tag, der) in self.root_certificates.iter().map(|root| (0, &root[..])).chain(lists.map(|list| (1, list))) {
            context.update(&[tag]);
            context.update(&der.len().to_be_bytes());
            context.update(der);
        }
        context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// When the roots of its bundle end, and its revocation lists are to be replaced.
    pub fn ends(&self) -> Ends {
        Ends::of(&self.root_certificates, &self.crls)
    }

    /// The configuration of a listener that admits only clients with a certificate from the bundle.
    pub fn server_config(&self) -> ServerConfig {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .expect("the bundle was loaded with at least one root");
        self.server_config_for(verifier)
    }

    /// The configuration of a listener that admits whom `verifier` admits, e.g. that of several bundles
    /// ([`Trust::client_verifier`](crate::trust::Trust::client_verifier)).
    pub fn server_config_for(&self, verifier: Arc<dyn ClientCertVerifier>) -> ServerConfig {
        server(verifier, self.certified.clone())
    }

    /// The configuration of a listener that admits anybody and sends its root with its chain, so that a system that has
    /// nothing but the root's fingerprint can check it ([`joining_config`](crate::joining::joining_config)).
    ///
    /// # Errors
    /// When neither the certificate's file nor the bundle has the root.
    pub fn server_config_with_root(&self, now: SystemTime) -> Result<ServerConfig, NoOwnRoot> {
        let root = self.own_root(now).ok_or(NoOwnRoot)?;
        let mut certified = CertifiedKey::clone(&self.certified);
        if certified.cert.last() != Some(root) {
            certified.cert.push(root.clone());
        }
        Ok(server(WebPkiClientVerifier::no_client_auth(), Arc::new(certified)))
    }

    /// The root behind the own (server's) certificate: the last of its file, one of the bundle, or one it was made
    /// to know.
    pub fn own_root(&self, now: SystemTime) -> Option<&CertificateDer<'static>> {
        let (leaf, others) = self.certified.cert.split_first()?;
        let leaf = ParsedCertificate::try_from(leaf).ok()?;
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).ok()?);
        let algorithms = provider().signature_verification_algorithms.all;
        let leads_to = |root: &CertificateDer<'static>| {
            let Ok(store) = store(std::slice::from_ref(root)) else { return false };
            verify_server_cert_signed_by_trust_anchor(&leaf, &store, others, now, algorithms).is_ok()
        };
        // An issuing CA that is sent along anyway is no root, however well it verifies the leaf.
        let is_root = |candidate: &&CertificateDer<'static>| {
            x509::parse(candidate).is_ok_and(|parsed| parsed.issuer().as_raw() == parsed.subject().as_raw())
        };
        let mut candidates = others.iter().rev().chain(&self.root_certificates).chain(&self.more_roots).filter(is_root);
        candidates.find(|candidate| leads_to(candidate))
    }

    /// The configuration of a client that shows its certificate and accepts only servers from the bundle, under the
    /// [`server_name`] it asked for, that are on none of its revocation lists.
    pub fn client_config(&self) -> ClientConfig {
        let verifier = Layered::new(&self.crls, |lists| {
            WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider())
                .with_crls(lists)
                .allow_unknown_revocation_status()
                .build()
        });
        let verifier = verifier.expect("the bundle was loaded with at least one root, and lists that can be read");
        let resolver = Arc::new(SingleCertAndKey::from(self.certified.clone()));
        client(|config| {
            let config = config.dangerous().with_custom_certificate_verifier(Arc::new(ByLists(verifier)));
            config.with_client_cert_resolver(resolver)
        })
    }

    /// The root certificates of the bundle.
    pub fn root_certificates(&self) -> &[CertificateDer<'static>] {
        &self.root_certificates
    }

    /// The own certificate and what is sent behind it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The certificate's key, to sign messages with.
    pub fn signing_key(&self) -> &Arc<SigningKey> {
        &self.signing_key
    }

    /// The own certificate in DER, for those who check our signatures later.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        // Loading refuses a file without one.
        &self.certified.cert[0]
    }

    /// SHA-256 of the own certificate.
    pub fn digest(&self) -> CertificateDigest {
        self.digest
    }

    /// The last moment of the own certificate's validity, on the machine clock.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("digest", &self.digest)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// Passed explicitly everywhere, so that no process-wide default decides what the bus is encrypted with.
///
/// Key exchange: the hybrid of X25519 and ML-KEM-768 first, so that what is recorded today stays closed to a quantum
/// computer of tomorrow; X25519 and P-256 for those who do not know it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    })
}

/// What all listeners have in common.
///
/// Never resumed, and no early data. A resumed connection would skip the certificate check, and with it what has been
/// revoked or expired since the first one; what it would save is one signature in connections that live for hours. Early
/// data can be replayed, and everything said on the bus counts.
fn server(verifier: Arc<dyn ClientCertVerifier>, certified: Arc<CertifiedKey>) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider speaks TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.ignore_client_order = true;
    config
}

/// What all clients have in common; as for [`server`].
pub(crate) fn client(finish: impl FnOnce(ConfigBuilder<ClientConfig, WantsVerifier>) -> ClientConfig) -> ClientConfig {
    let mut config = finish(
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("the provider speaks TLS 1.3"),
    );
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config
}

/// The configuration of a client of an ordinary HTTPS server: no certificate of its own, HTTP/1.1, and trust in the CAs of the
/// PEM file `bundle` only. Connections may be resumed: nothing hangs on a revocation here.
///
/// # Errors
/// When the file cannot be read, has no certificate, or a damaged one.
pub fn https_client_config(bundle: &Path) -> Result<ClientConfig, TlsFileError> {
    https_client_config_as(bundle, None)
}

/// The same with a certificate to show and its key, of any usual kind, PEM, where the server asks for one.
///
/// # Errors
/// Names the first file that cannot be used.
pub fn https_client_config_as(bundle: &Path, shown: Option<(&Path, &Path)>) -> Result<ClientConfig, TlsFileError> {
    let at = |file: &Path| {
        let file = file.to_owned();
        move |problem| TlsFileError { file, problem }
    };
    let roots = certificates(bundle).and_then(|certificates| store(&certificates)).map_err(at(bundle))?;
    let shown = shown.map(|(certificate, key)| {
        let chain = certificates(certificate).map_err(at(certificate))?;
        certified_by(chain, certificate, key)
    });
    let certified = shown.transpose()?;
    let mut config = client(|config| {
        let config = config.with_root_certificates(roots);
        match certified {
            Some(certified) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))),
            None => config.with_no_client_auth(),
        }
    });
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::default();
    Ok(config)
}

/// The chain that was read from `certificate`, with its key.
fn certified_by(
    chain: Vec<CertificateDer<'static>>,
    certificate: &Path,
    key: &Path,
) -> Result<CertifiedKey, TlsFileError> {
    let at = |file: &Path| {
        let file = file.to_owned();
        move |problem| TlsFileError { file, problem }
    };
    let pem = Zeroizing::new(std::fs::read(key).map_err(|error| at(key)(TlsProblem::Unreadable(error)))?);
    let mut der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| at(key)(TlsProblem::BadKey))?;
    let usable = aws_lc_rs::sign::any_supported_type(&der);
    der.zeroize();
    let certified = CertifiedKey::new(chain, usable.map_err(|_| at(key)(TlsProblem::BadKey))?);
    certified.keys_match().map_err(|_| at(key)(TlsProblem::KeyMismatch(certificate.to_owned())))?;
    Ok(certified)
}

/// The configuration of an ordinary HTTPS server for programs: HTTP/2 and HTTP/1.1, a certificate with any usual key. With `clients`,
/// the roots of a PEM file, a client may show a certificate, which then must chain to one of them; who shows none is known otherwise.
///
/// # Errors
/// Names the first file that cannot be used: it is read here, and checked for its use and the time.
pub fn https_server_config(
    certificate: &Path,
    key: &Path,
    clients: Option<&Path>,
    now: SystemTime,
) -> Result<ServerConfig, TlsFileError> {
    let at = |file: &Path| {
        let file = file.to_owned();
        move |problem| TlsFileError { file, problem }
    };
    let chain = certificates(certificate).map_err(at(certificate))?;
    check_leaf(&chain[0], Usage::Server, now).map_err(at(certificate))?;
    let certified = certified_by(chain, certificate, key)?;
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(bundle) => {
            let roots = certificates(bundle).and_then(|certificates| store(&certificates)).map_err(at(bundle))?;
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .allow_unauthenticated()
                .build()
                .expect("the bundle was loaded with at least one root")
        }
    };
    let mut config = server(verifier, Arc::new(certified));
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

/// The certificates in a PEM file; at least one.
///
/// # Errors
/// When it cannot be read, has none, or a damaged one.
pub fn certificates_in(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    certificates(file).map_err(|problem| TlsFileError { file: file.to_owned(), problem })
}

pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let pem = std::fs::read(file).map_err(TlsProblem::Unreadable)?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| TlsProblem::BrokenPem)?;
    if certificates.is_empty() {
        return Err(TlsProblem::NoCertificate);
    }
    Ok(certificates)
}

pub(crate) fn store(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsProblem> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone()).map_err(|_| TlsProblem::BadCertificate)?;
    }
    Ok(store)
}

/// The newest revocation lists in `files` (DER or PEM, as for a bundle), as far as they can be checked against the CAs
/// `issuers`: each can be read, and none is in the name of one of these without being signed by it.
///
/// # Errors
/// Names the first file that cannot be used.
pub fn lists_in(
    files: &[PathBuf],
    issuers: &[CertificateDer<'static>],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    let mut all = Vec::new();
    for file in files {
        let lists = revocation_lists(file, issuers);
        all.extend(lists.map_err(|problem| TlsFileError { file: file.clone(), problem })?);
    }
    Ok(lists::newest(all, issuers))
}

/// Of the lists that one of `issuers` signed the newest, whatever files they came from. All others as they are, each once.
pub fn newest_lists(
    lists: Vec<CertificateRevocationListDer<'static>>,
    issuers: &[CertificateDer<'_>],
) -> Vec<CertificateRevocationListDer<'static>> {
    lists::newest(lists, issuers)
}

/// The revocation lists in `file` (DER or PEM) that the CA `issuer` signed. Others' are left out.
///
/// # Errors
/// When the file cannot be read, or holds what is no list.
pub fn lists_by(
    file: &Path,
    issuer: &CertificateDer<'static>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    let lists = readable_lists(file, std::slice::from_ref(issuer));
    let mut lists = lists.map_err(|problem| TlsFileError { file: file.to_owned(), problem })?;
    lists.retain(|list| lists::is_by(list, issuer));
    Ok(lists)
}

/// The revocation lists in a file, none of them in the name of one of `issuers` without being signed by it.
pub(crate) fn revocation_lists(
    file: &Path,
    issuers: &[CertificateDer<'static>],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsProblem> {
    let lists = readable_lists(file, issuers)?;
    if lists.iter().any(|list| lists::is_forged(list, issuers)) {
        return Err(TlsProblem::ForgedList);
    }
    Ok(lists)
}

/// The revocation lists in a file, whoever signed them: one in DER (RFC 2585 §4), or some in PEM.
///
/// What the TLS library cannot read it refuses for all lists at once, so each is tried by itself, beside any roots.
pub(crate) fn readable_lists(
    file: &Path,
    roots: &[CertificateDer<'static>],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsProblem> {
    let bytes = std::fs::read(file).map_err(TlsProblem::Unreadable)?;
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsProblem::BrokenPem)?;
    let lists = if lists.is_empty() { vec![CertificateRevocationListDer::from(bytes)] } else { lists };
    let roots = Arc::new(store(roots)?);
    let is_read = |list: &CertificateRevocationListDer<'static>| {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider());
        verifier.with_crls([list.clone()]).build().is_ok()
    };
    if lists.iter().all(is_read) { Ok(lists) } else { Err(TlsProblem::BadList) }
}

/// A server's chain, asked of all lists.
struct ByLists(Layered<WebPkiServerVerifier>);

impl fmt::Debug for ByLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByLists").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ByLists {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.ask(|one| one.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.any().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.any().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.any().supported_verify_schemes()
    }
}

/// Checks what a peer would check of our certificate, and gives the end of its validity.
fn check_leaf(leaf: &CertificateDer<'_>, usage: Usage, now: SystemTime) -> Result<SystemTime, TlsProblem> {
    let parsed = x509::parse(leaf).map_err(|_| TlsProblem::BadCertificate)?;
    let validity = parsed.validity();
    if now > x509::time(validity.not_after) {
        return Err(TlsProblem::Expired(validity.not_after.to_string()));
    }
    if now < x509::time(validity.not_before) {
        return Err(TlsProblem::NotYetValid(validity.not_before.to_string()));
    }
    // RFC 5280 §4.2.1.12: without the extension, every use is allowed.
    let allowed =
        parsed.extended_key_usage().map_err(|_| TlsProblem::BadCertificate)?.is_none_or(|extension| match usage {
            Usage::Server => extension.value.server_auth,
            Usage::Client => extension.value.client_auth,
        });
    if !allowed {
        return Err(TlsProblem::WrongUsage(usage));
    }
    Ok(x509::time(validity.not_after))
}
