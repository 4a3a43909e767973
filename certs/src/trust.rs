//! Whom to believe about whom: several bundles of roots at once, each vouching for its own trust domain and the systems it
//! was given.
//!
//! A chain is verified by each bundle for itself, so no root says anything about names of another bundle. A revocation
//! counts wherever it comes from: listed by any bundle, or a revoked key, and the certificate is refused. The registry
//! is not known here: which system a certificate without a SPIFFE id belongs to is looked up elsewhere, and then asked
//! of the [`Vouch`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::ends::Ends;
use crate::identity::{NameError, SystemName, TrustDomain, sha256};
use crate::lists::{self, Layered};
use crate::tls::{TlsFileError, TlsProblem, certificates, provider, readable_lists, store};
use crate::verify::{Identity, LeafError};
use crate::x509;
use x509_parser::certificate::X509Certificate;

/// Which systems a bundle may vouch for: all, one, or those whose names begin alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SystemPattern {
    /// `*`
    Any,
    /// `one-stop-hue`
    Exactly(SystemName),
    /// `ward-*`: at least one character stands for the star.
    Beginning(Box<str>),
}

/// Roots, what they revoked, and what they may vouch for.
pub struct Bundle {
    name: Box<str>,
    trust_domain: TrustDomain,
    systems: Vec<SystemPattern>,
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<Anchor>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    ends: Ends,
    /// Lists that were set aside when it was made: of whom, and why.
    aside: Vec<(String, String)>,
    verifier: Layered<dyn ClientCertVerifier>,
}

/// What is needed of a root to tell whether it signed a certificate.
struct Anchor {
    subject: Vec<u8>,
    key: Vec<u8>,
    key_sha256: [u8; 32],
}

/// Where the files of a bundle are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BundleFiles {
    /// The roots, PEM.
    pub roots: PathBuf,
    /// Revocation lists, DER or PEM; each file may hold several in PEM.
    pub crls: Vec<PathBuf>,
}

/// Why a bundle, or all of them together, cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrustError {
    /// Nobody could get in.
    #[error("there is no bundle")]
    NoBundle,
    /// Two bundles of one name could not be told apart in a refusal.
    #[error("there are two bundles called {0:?}")]
    SameName(String),
    /// A bundle without a root.
    #[error("the bundle {0:?} has no root certificate")]
    NoRoot(String),
    /// A root that cannot be read.
    #[error("the bundle {0:?} has a root certificate that cannot be read")]
    BadRoot(String),
    /// A revocation list that cannot be read.
    #[error("the bundle {0:?} has a revocation list that cannot be read")]
    BadList(String),
}

/// All bundles of a listener.
pub struct Trust {
    bundles: Vec<Arc<Bundle>>,
    hints: Vec<DistinguishedName>,
}

/// That a chain holds now, and by whose word its leaf is who it says.
#[derive(Clone)]
pub struct Vouch {
    identity: Identity,
    /// At least one; the first is the one that is named.
    bundles: Vec<Arc<Bundle>>,
}

/// Why nobody vouches for a chain. Whoever shows it is nobody on the bus.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotVouched {
    /// The leaf breaks a rule of the bus.
    #[error("the certificate is not one for the bus")]
    Leaf(#[from] LeafError),
    /// It leads to no root of any bundle, or is expired, or was revoked.
    #[error("no bundle accepts the certificate: {0}")]
    Chain(rustls::Error),
    /// It leads to a root, but that root's bundle has another trust domain.
    #[error("the bundle {bundle:?} does not vouch for the trust domain of {id}")]
    TrustDomain {
        /// The bundle whose root it is.
        bundle: String,
        /// The SPIFFE id in the certificate.
        id: String,
    },
    /// The bundle was not given this system.
    #[error("the bundle {bundle:?} does not vouch for {id}")]
    System {
        /// The bundle whose root it is.
        bundle: String,
        /// The SPIFFE id in the certificate.
        id: String,
    },
}

/// Why no leaf of an issuing CA would be let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotBacked {
    /// No bundle of its trust domain has its root.
    #[error("no bundle has the root of the issuing CA")]
    NoRoot,
    /// Its root has it on a revocation list.
    #[error("the issuing CA is on a revocation list of its root")]
    Listed,
}

/// Whether a key, by the SHA-256 of its `SubjectPublicKeyInfo`, was revoked. Asked in every handshake, so it must be quick.
pub type RevokedKeys = Arc<dyn Fn(&[u8; 32]) -> bool + Send + Sync>;

impl SystemPattern {
    /// Whether it has `system`.
    pub fn covers(&self, system: &SystemName) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(name) => name == system,
            Self::Beginning(prefix) => system.as_str().strip_prefix(&**prefix).is_some_and(|rest| !rest.is_empty()),
        }
    }
}

impl FromStr for SystemPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Any),
            // What is before the star must be able to begin a name.
            Some(prefix) => prefix.parse::<SystemName>().map(|_| Self::Beginning(prefix.into())),
            None => text.parse().map(Self::Exactly),
        }
    }
}

impl fmt::Display for SystemPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exactly(name) => name.fmt(f),
            Self::Beginning(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Bundle {
    /// A bundle of these roots and lists (DER).
    ///
    /// A list counts for the certificates of its issuer, leafs and issuing CAs alike; of several that one issuer's key signed
    /// the newest does. Where there is none for an issuer, nothing is known to be revoked. One in the name of a root, or of
    /// an issuing CA whose certificates come, that did not sign it is set aside, alone
    /// ([`lists_set_aside`](Self::lists_set_aside)). A list past its `nextUpdate` still counts for what it names, and
    /// [`stale_list`](Self::stale_list) tells that it is old: a CA that is late with its list, or has renewed its key, must
    /// not stop a province, and whom the bus itself revokes is out without any list.
    ///
    /// # Errors
    /// When there is no root, or a root or a list cannot be read.
    pub fn new(
        name: &str,
        trust_domain: TrustDomain,
        systems: Vec<SystemPattern>,
        roots: Vec<CertificateDer<'static>>,
        crls: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Self, TrustError> {
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(|_| TrustError::BadRoot(name.to_owned()))?;
        }
        let anchors = roots.iter().map(Anchor::of).collect::<Result<_, _>>();
        let anchors = anchors.map_err(|_| TrustError::BadRoot(name.to_owned()))?;
        if store.is_empty() {
            return Err(TrustError::NoRoot(name.to_owned()));
        }
        let (forged, crls): (Vec<_>, Vec<_>) = crls.into_iter().partition(|list| lists::is_forged(list, &roots));
        let mut aside: Vec<_> = forged.iter().map(|list| (lists::issuer_name(list), NOT_SIGNED.to_owned())).collect();
        aside.sort_unstable();
        aside.dedup();
        let (store, crls) = (Arc::new(store), lists::newest(crls, &roots));
        let verifier = Layered::new(&crls, |lists| {
            let verifier = WebPkiClientVerifier::builder_with_provider(store.clone(), provider());
            verifier.with_crls(lists).allow_unknown_revocation_status().build()
        });
        let verifier = verifier.map_err(|_| TrustError::BadList(name.to_owned()))?;
        let ends = Ends::of(&roots, &crls);
        Ok(Self { name: name.into(), trust_domain, systems, roots, anchors, crls, ends, aside, verifier })
    }

    /// A bundle from files.
    ///
    /// # Errors
    /// Names the first file that cannot be used. The files are only read.
    pub fn load(
        name: &str,
        trust_domain: TrustDomain,
        systems: Vec<SystemPattern>,
        files: &BundleFiles,
    ) -> Result<Self, TlsFileError> {
        let at = |file: &PathBuf| {
            let file = file.clone();
            move |problem| TlsFileError { file, problem }
        };
        let roots = certificates(&files.roots).map_err(at(&files.roots))?;
        store(&roots).map_err(at(&files.roots))?;
        let mut crls = Vec::new();
        for file in &files.crls {
            crls.extend(readable_lists(file, &roots).map_err(at(file))?);
        }
        // Each was read by itself already.
        Self::new(name, trust_domain, systems, roots, crls).map_err(|error| match (error, files.crls.first()) {
            (TrustError::BadList(_), Some(file)) => TlsFileError { file: file.clone(), problem: TlsProblem::BadList },
            _ => TlsFileError { file: files.roots.clone(), problem: TlsProblem::BadCertificate },
        })
    }

    /// With more revocation lists, DER.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn and_lists(self, more: Vec<CertificateRevocationListDer<'static>>) -> Result<Self, TrustError> {
        let Self { name, trust_domain, systems, roots, mut crls, aside, .. } = self;
        crls.extend(more);
        let all = Self::new(&name, trust_domain, systems, roots, crls)?;
        Ok(all.noting_set_aside(aside))
    }

    /// Notes further lists as set aside: whose or from where, and why.
    #[must_use]
    pub fn noting_set_aside(mut self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        self.aside.extend(more);
        self.aside.sort_unstable();
        self.aside.dedup();
        self
    }

    /// Its lists that one of `roots` signed.
    pub fn lists_by(&self, roots: &[CertificateDer<'_>]) -> Vec<CertificateRevocationListDer<'static>> {
        self.crls.iter().filter(|list| roots.iter().any(|root| lists::is_by(list, root))).cloned().collect()
    }

    /// What the configuration calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one trust domain it vouches for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its root certificates.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// Its revocation lists that count, DER.
    pub fn crls(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.crls
    }

    /// When its roots end, and its lists are to be replaced.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Whether it may vouch for `system`.
    pub fn covers(&self, system: &SystemName) -> bool {
        self.systems.iter().any(|pattern| pattern.covers(system))
    }

    /// The earliest `nextUpdate` among its lists, when that is over. To be told to an operator.
    pub fn stale_list(&self, now: SystemTime) -> Option<SystemTime> {
        x509::stale(&self.crls, now)
    }

    /// Whether one of its lists is not by the CA it names, as far as that is known: a root, or one whose certificates came.
    pub fn sets_a_list_aside(&self) -> bool {
        self.lists_set_aside().next().is_some()
    }

    /// Those lists, for an operator: the CA they name, or the file, and why they do not count for it.
    pub fn lists_set_aside(&self) -> impl Iterator<Item = (&str, String)> {
        let at_first = self.aside.iter().map(|(whose, why)| (whose.as_str(), why.clone()));
        at_first.chain(self.verifier.set_aside().map(|(issuer, why)| (issuer, format!("{why:?}"))))
    }
}

/// What is told of a list in the name of a root that did not sign it.
const NOT_SIGNED: &str = "the root of this name did not sign it with its present key";

impl Anchor {
    fn of(root: &CertificateDer<'_>) -> Result<Self, x509::Malformed> {
        let root = x509::parse(root)?;
        let key = root.public_key();
        Ok(Self {
            subject: root.subject().as_raw().to_vec(),
            key: key.subject_public_key.data.to_vec(),
            key_sha256: sha256(key.raw),
        })
    }

    fn signed(&self, certificate: &X509Certificate<'_>) -> bool {
        let (told, signature) = (certificate.tbs_certificate.as_ref(), &certificate.signature_value.data);
        self.subject == certificate.issuer().as_raw() && lists::is_signed(&self.key, told, signature)
    }

    /// Whether this list is this root's, and has the certificate.
    fn lists(&self, list: &[u8], certificate: &X509Certificate<'_>) -> bool {
        let Ok((_, list)) = x509_parser::parse_x509_crl(list) else { return false };
        let (told, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
        self.subject == list.issuer().as_raw()
            && list.iter_revoked_certificates().any(|one| one.raw_serial() == certificate.raw_serial())
            && lists::is_signed(&self.key, told, signature)
    }
}

impl Trust {
    /// All of these bundles.
    ///
    /// # Errors
    /// When there is none, or two have one name.
    pub fn new(bundles: Vec<Bundle>) -> Result<Self, TrustError> {
        if bundles.is_empty() {
            return Err(TrustError::NoBundle);
        }
        for (index, bundle) in bundles.iter().enumerate() {
            if bundles[..index].iter().any(|other| other.name == bundle.name) {
                return Err(TrustError::SameName(bundle.name.to_string()));
            }
        }
        let hints = bundles.iter().flat_map(|bundle| bundle.verifier.any().root_hint_subjects().to_vec()).collect();
        Ok(Self { bundles: bundles.into_iter().map(Arc::new).collect(), hints })
    }

    /// The bundles, in the order they were given.
    pub fn bundles(&self) -> impl Iterator<Item = &Bundle> {
        self.bundles.iter().map(|bundle| &**bundle)
    }

    /// Every root of every bundle.
    pub fn roots(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.bundles().flat_map(Bundle::roots)
    }

    /// For a listener that lets in whoever shows a chain to a root of any bundle, with no key that `revoked` knows. Who that
    /// is, and whether it may be, is then asked of [`vouching`](Self::vouching).
    pub fn client_verifier(self: Arc<Self>, revoked: RevokedKeys) -> Arc<dyn ClientCertVerifier> {
        Arc::new(ByBundle { trust: self, revoked })
    }

    /// SHA-256 of the keys of the roots, of any bundle, that signed a certificate of `chain`. A root may be an agency's issuing
    /// CA, which its systems need not send.
    pub fn anchor_keys(&self, chain: &[CertificateDer<'_>]) -> Vec<[u8; 32]> {
        let chain: Vec<_> = chain.iter().filter_map(|certificate| x509::parse(certificate).ok()).collect();
        let anchors = self.bundles.iter().flat_map(|bundle| &bundle.anchors);
        let signed = anchors.filter(|anchor| chain.iter().any(|certificate| anchor.signed(certificate)));
        let mut keys: Vec<_> = signed.map(|anchor| anchor.key_sha256).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The names of the bundles that leafs of this issuing CA lead to, among those of `domain`: at least one. Nothing is asked
    /// of how long it lives, nor for which systems these bundles may vouch; revoked keys are not known here.
    ///
    /// # Errors
    /// Why none of its leafs would be let in.
    pub fn backing(&self, issuing: &CertificateDer<'_>, domain: &TrustDomain) -> Result<Vec<&str>, NotBacked> {
        let parsed = x509::parse(issuing).map_err(|_| NotBacked::NoRoot)?;
        let mut backing = Vec::new();
        for bundle in self.bundles() {
            let signers: Vec<_> = bundle.anchors.iter().filter(|anchor| anchor.signed(&parsed)).collect();
            // As in a handshake: listed by one bundle is listed for all.
            if signers.iter().any(|root| bundle.crls.iter().any(|list| root.lists(list, &parsed))) {
                return Err(NotBacked::Listed);
            }
            let has_it = !signers.is_empty() || bundle.roots.iter().any(|root| root == issuing);
            backing.extend((has_it && bundle.trust_domain == *domain).then(|| bundle.name()));
        }
        if backing.is_empty() { Err(NotBacked::NoRoot) } else { Ok(backing) }
    }

    /// Who vouches at `now` for the leaf of `chain` (the leaf first, then what the peer sent with it). Revoked keys are not
    /// known here.
    ///
    /// # Errors
    /// When nobody does, and why not.
    pub fn vouching(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Vouch, NotVouched> {
        let (leaf, others) = chain.split_first().ok_or(LeafError::NoCertificate)?;
        let identity = Identity::of(leaf)?;
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO));
        let accepting = self.accepting(leaf, others, now).map_err(NotVouched::Chain)?;
        let first = &accepting[0].name;
        let Some((id, domain)) = identity.spiffe_text() else {
            return Ok(Vouch { identity, bundles: accepting });
        };
        let of_domain: Vec<_> =
            accepting.iter().filter(|bundle| bundle.trust_domain.as_str() == domain).cloned().collect();
        let Some(of_that) = of_domain.first() else {
            return Err(NotVouched::TrustDomain { bundle: first.to_string(), id });
        };
        let bundles: Vec<_> = match &identity {
            Identity::Spiffe(spiffe) => {
                of_domain.iter().filter(|bundle| bundle.covers(spiffe.system())).cloned().collect()
            }
            _ => of_domain.clone(),
        };
        if bundles.is_empty() {
            return Err(NotVouched::System { bundle: of_that.name.to_string(), id });
        }
        Ok(Vouch { identity, bundles })
    }

    /// The bundles that accept the chain: at least one, or the most telling of their reasons.
    fn accepting(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<Arc<Bundle>>, rustls::Error> {
        let mut accepting = Vec::new();
        let mut refusal: Option<rustls::Error> = None;
        for bundle in &self.bundles {
            match bundle.verifier.ask(|one| one.verify_client_cert(leaf, others, now)) {
                Ok(_) => accepting.push(bundle.clone()),
                // Its own issuer says so: that another bundle has the same root without the list changes nothing.
                Err(error) if weight(&error) == REVOKED => return Err(error),
                Err(error) if refusal.as_ref().is_none_or(|known| weight(known) < weight(&error)) => {
                    refusal = Some(error);
                }
                Err(_) => {}
            }
        }
        match refusal {
            Some(error) if accepting.is_empty() => Err(error),
            _ => Ok(accepting),
        }
    }
}

const REVOKED: u8 = 2;

/// How much a refusal says: that the root is not known is what all other bundles say of a certificate.
fn weight(error: &rustls::Error) -> u8 {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Revoked) => REVOKED,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => 0,
        _ => 1,
    }
}

impl Vouch {
    /// The bundle that vouches.
    pub fn bundle(&self) -> &str {
        &self.bundles[0].name
    }

    /// Every bundle that vouches, by name.
    pub fn bundles(&self) -> impl Iterator<Item = &str> {
        self.bundles.iter().map(|bundle| bundle.name())
    }

    /// That bundle's trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.bundles[0].trust_domain
    }

    /// What the certificate says its holder is. A [`Identity::Spiffe`] is of this trust domain and covered.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the holder may be `system`, when the registry binds the certificate to it.
    pub fn covers(&self, system: &SystemName) -> bool {
        self.bundles.iter().any(|bundle| bundle.covers(system))
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("name", &self.name)
            .field("trust_domain", &self.trust_domain)
            .field("systems", &self.systems)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.bundles).finish()
    }
}

impl fmt::Debug for Vouch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vouch").field("bundle", &self.bundle()).field("identity", &self.identity).finish()
    }
}

/// The bundles as rustls asks them.
struct ByBundle {
    trust: Arc<Trust>,
    revoked: RevokedKeys,
}

impl fmt::Debug for ByBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByBundle").field(&self.trust).finish()
    }
}

impl ByBundle {
    fn one(&self) -> &dyn ClientCertVerifier {
        // Signatures are checked alike by all: they have one provider.
        self.trust.bundles[0].verifier.any()
    }
}

impl ClientCertVerifier for ByBundle {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.trust.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.trust.accepting(end_entity, intermediates, now)?;
        // After the chain, so that nobody can ask what is revoked without holding a certificate. An issuing CA whose key is
        // out takes its leafs with it, and so does a root.
        for certificate in std::iter::once(end_entity).chain(intermediates) {
            let parsed = x509::parse(certificate).map_err(|_| CertificateError::BadEncoding)?;
            if (self.revoked)(&sha256(parsed.public_key().raw)) {
                return Err(CertificateError::Revoked.into());
            }
        }
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        if self.trust.anchor_keys(&chain).iter().any(|key| (self.revoked)(key)) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.one().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.one().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.one().supported_verify_schemes()
    }
}
