//! The certificates in force: what the gateway shows, whose certificates it accepts, and by what it signs.
//!
//! They come in *generations*: certificate, key, bundles and revocation lists are loaded and checked as one set, and replaced as
//! one. A connection keeps the generation it began with, so that what is signed on it verifies by the certificate that was shown
//! on it. [`keeper`] looks for the next one, [`standing`] tells how long this one lasts, `kept` outlives them.

pub mod keeper;
mod kept;
pub mod standing;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::SHA256;
use lgsp_certs::tls::{TlsFileError, TlsProblem, certificates_in, lists_in};
use lgsp_certs::trust::{Bundle, BundleFiles, NotVouched, Trust};
use lgsp_certs::{Credentials, TlsFiles, TrustDomain, Usage, VerifiedLeaf};
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::{Reason, Refusal};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::ParsedCertificate;
use rustls::{ServerConfig, ServerConnection};

use self::kept::Kept;
use crate::config::{Tls, TrustFiles};
use crate::engine::Engine;
use crate::engine::access::{Named, Peer};
use crate::engine::certificates::{InForce, revocation_lists};
use crate::engine::connections::{Connections, KeyDigest};
use crate::engine::receipt::ReceiptSigner;

/// How long a connection stays whose certificate cannot be read: long enough for its owner to be told so.
const UNREADABLE_LIFE: Duration = Duration::from_secs(600);

/// The files as they were read, checked, and fitting each other.
pub struct Loaded {
    credentials: Credentials,
    trust: Arc<Trust>,
    /// The certificate of the CA beside the gateway.
    issuing: Option<CertificateDer<'static>>,
    kept: Kept,
}

/// One set of certificate, key, bundles and revocation lists, ready to serve. Never changed.
pub struct Generation {
    loaded: Loaded,
    ours: TrustDomain,
    server: Arc<ServerConfig>,
    signer: Arc<ReceiptSigner>,
    own_key: KeyDigest,
}

/// What a handshake has told about the other end.
pub(crate) struct Identified {
    /// Its key, those of the issuing CAs it showed, then those of the roots that signed one of these: none of them may be revoked.
    pub(crate) keys: Vec<KeyDigest>,
    /// When its certificate ends.
    pub(crate) not_after: SystemTime,
    /// Who it is, or the refusal that its calls get.
    pub(crate) peer: Result<Peer, Refusal>,
}

impl Loaded {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// Names the first file that cannot be used. The files are only read.
    pub fn load(tls: &Tls, now: SystemTime) -> Result<Self, TlsFileError> {
        let kept = tls.kept.as_deref().map(Kept::read).transpose()?;
        Self::load_with(kept.unwrap_or_default(), None, tls, now)
    }

    /// The files as they are now. Lists of our own CAs that counted in this set and are not among them any more count on; a
    /// list of another root does while that root's name is on one that it did not sign.
    pub(crate) fn next(&self, tls: &Tls, now: SystemTime) -> Result<Self, TlsFileError> {
        Self::load_with(self.kept.clone(), Some(&self.trust), tls, now)
    }

    fn load_with(mut kept: Kept, before: Option<&Trust>, tls: &Tls, now: SystemTime) -> Result<Self, TlsFileError> {
        let Tls { certificate, key, trust, ca, kept: _ } = tls;
        let own = trust.first().expect("a configuration has at least one bundle").bundle.clone();
        let files = TlsFiles { certificate: certificate.clone(), key: key.clone(), bundle: own };
        let credentials = files.load(Usage::Server, now)?;
        let ca = ca.as_deref().map(OwnCa::read).transpose()?;
        if let Some(OwnCa { folder, certificate, roots, .. }) = &ca {
            kept.take_in(folder, certificate, roots);
        }
        kept.look(now);
        let bundle = |TrustFiles { name, bundle, crls, trust_domain, systems }: &TrustFiles| {
            let files = BundleFiles { roots: bundle.clone(), crls: crls.clone() };
            let loaded = Bundle::load(name, trust_domain.clone(), systems.clone(), &files)?;
            let mut lists = kept.lists_under(loaded.roots());
            let of_ca = ca.as_ref().filter(|ca| ca.is_in(loaded.roots()));
            lists.extend(of_ca.iter().flat_map(|ca| ca.lists.iter().cloned()));
            if loaded.sets_a_list_aside() {
                let before = before.and_then(|trust| trust.bundles().find(|bundle| bundle.name() == name));
                lists.extend(before.map(|bundle| bundle.lists_by(loaded.roots())).unwrap_or_default());
            }
            // Each was looked at when it was taken in.
            let unusable = |_| TlsFileError { file: bundle.clone(), problem: TlsProblem::BadList };
            let loaded = loaded.and_lists(lists).map_err(unusable)?;
            Ok(loaded.noting_set_aside(of_ca.iter().flat_map(|ca| ca.unusable.iter().cloned())))
        };
        let bundles = trust.iter().map(bundle).collect::<Result<_, _>>()?;
        let trust = Trust::new(bundles).expect("a configuration has at least one bundle, and each a name of its own");
        // Our own root may be in any of them, or only with the CA.
        let roots = trust.roots().chain(ca.iter().flat_map(|ca| &ca.roots)).cloned().collect();
        let issuing = ca.map(|ca| ca.certificate);
        Ok(Self { credentials: credentials.knowing(roots), trust: Arc::new(trust), issuing, kept })
    }

    /// The certificate and key of the gateway.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The certificate of the CA by which the gateway certifies others, if it does.
    pub fn issuing(&self) -> Option<&CertificateDer<'static>> {
        self.issuing.as_ref()
    }

    /// The revocation lists of our own CAs, past and present, that were used under one of these roots.
    pub(crate) fn lists_under(&self, roots: &[CertificateDer<'_>]) -> Vec<CertificateRevocationListDer<'static>> {
        self.kept.lists_under(roots)
    }

    /// Writes down, beside the store, what must outlive the files. Whether that went well; the log says if not.
    pub(crate) fn keep(&self, tls: &Tls) -> bool {
        let kept = tls.kept.as_deref().map_or(Ok(()), |dir| self.kept.write(dir));
        if let Err(error) = &kept {
            tracing::error!(%error, "the revocation lists of the bus's CAs cannot be written down; they count until the next start");
        }
        kept.is_ok()
    }

    /// Signs by the gateway's key, under the name of the bus.
    pub fn signer(&self, ours: &TrustDomain) -> ReceiptSigner {
        let certificate = Sha256Digest::from(*self.credentials.digest().as_bytes());
        ReceiptSigner::new(Arc::clone(self.credentials.signing_key()), certificate, ours.to_string())
    }

    /// The bundles.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }
}

/// The folder of our own CA, as far as it says whom not to believe.
struct OwnCa {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
    roots: Vec<CertificateDer<'static>>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    /// Files among its lists that cannot be used, and why.
    unusable: Vec<(String, String)>,
}

impl OwnCa {
    fn read(dir: &Path) -> Result<Self, TlsFileError> {
        let file = dir.join("root.pem");
        let roots = certificates_in(&file)?;
        let files = revocation_lists(dir).map_err(|error| TlsFileError {
            file: dir.to_owned(),
            problem: TlsProblem::Unreadable(io::Error::other(error)),
        })?;
        let certificate = certificates_in(&dir.join("ca.pem"))?.swap_remove(0);
        let (mut lists, mut unusable) = (Vec::new(), Vec::new());
        for file in files {
            // What counted before is kept, and one file that is none must not stop a gateway from starting.
            match lists_in(std::slice::from_ref(&file), &roots) {
                Ok(found) => lists.extend(found),
                Err(error) => unusable.push((file.display().to_string(), error.problem.to_string())),
            }
        }
        Ok(Self { folder: dir.to_owned(), certificate, roots, lists, unusable })
    }

    /// Whether its root is one of these.
    fn is_in(&self, bundle: &[CertificateDer<'_>]) -> bool {
        self.roots.iter().any(|root| bundle.contains(root))
    }
}

impl Generation {
    /// Makes what was loaded ready to serve the bus `ours`; keys that `connections` knows as revoked get no handshake.
    pub fn new(loaded: Loaded, ours: TrustDomain, connections: &Arc<Connections>) -> Self {
        let revoked = Arc::clone(connections);
        let verifier = Arc::clone(&loaded.trust).client_verifier(Arc::new(move |key| revoked.is_revoked(key)));
        let server = Arc::new(loaded.credentials.server_config_for(verifier));
        let signer = Arc::new(loaded.signer(&ours));
        let parsed = ParsedCertificate::try_from(loaded.credentials.certificate());
        let own_key = parsed.map(|parsed| sha256(&parsed.subject_public_key_info()));
        let own_key = own_key.expect("what was loaded can be read");
        Self { loaded, ours, server, signer, own_key }
    }

    /// What new connections get.
    pub fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    /// What was loaded.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// What decides about certificates while this generation is the newest.
    pub(crate) fn in_force(&self) -> InForce {
        InForce { bundles: Arc::clone(&self.loaded.trust), own_key: self.own_key }
    }

    /// What signs receipts on the connections of this generation.
    pub fn signer(&self) -> &Arc<ReceiptSigner> {
        &self.signer
    }

    /// Who is at the other end of a connection of this generation, as of now.
    ///
    /// # Errors
    /// When no bundle accepts the certificate any more, so that the connection should not be there.
    pub(crate) fn identify(&self, connection: &ServerConnection, now: SystemTime) -> io::Result<Identified> {
        let chain = connection.peer_certificates().unwrap_or_default();
        let keys: Result<Vec<_>, _> = chain
            .iter()
            .map(|der| ParsedCertificate::try_from(der).map(|parsed| sha256(&parsed.subject_public_key_info())))
            .collect();
        let mut keys = keys.map_err(io::Error::other)?;
        keys.extend(self.loaded.trust.anchor_keys(chain));
        let Ok(leaf) = VerifiedLeaf::of_client(connection) else {
            let refusal = Refusal::new(Reason::CertificateWithoutIdentity).detail("trust_domain", &self.ours);
            return Ok(Identified { keys, not_after: now + UNREADABLE_LIFE, peer: Err(refusal) });
        };
        let (not_after, leaf) = (leaf.not_after(), Arc::new(leaf));
        let peer = match self.loaded.trust.vouching(leaf.chain(), now) {
            Ok(vouch) => Ok(Peer::of(leaf, &self.ours).over(vouch, Arc::clone(&self.signer))),
            Err(NotVouched::TrustDomain { bundle, id } | NotVouched::System { bundle, id }) => {
                let refusal = Refusal::new(Reason::CertificateNotVouched);
                Err(refusal.detail("bundle", bundle).detail("spiffe_id", id))
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        Ok(Identified { keys, not_after, peer })
    }

    /// Whether a connection that began under another generation may go on under this one.
    ///
    /// Who was refused may not: a new connection tells it how it stands now.
    pub(crate) fn still_accepts(&self, peer: &Result<Peer, Refusal>, engine: &Engine, now: SystemTime) -> bool {
        let Ok(peer) = peer else { return false };
        let Ok(vouch) = self.loaded.trust.vouching(peer.leaf().chain(), now) else { return false };
        match peer.named() {
            Named::System(_) => true,
            // Bound by the registry: the bundle may have been given fewer systems.
            _ => engine.system_of(peer).and_then(|name| name.parse().ok()).is_some_and(|name| vouch.covers(&name)),
        }
    }
}

fn sha256(bytes: &[u8]) -> KeyDigest {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref());
    digest
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("certificate", &self.loaded.credentials.digest())
            .field("trust", &self.loaded.trust)
            .finish_non_exhaustive()
    }
}
