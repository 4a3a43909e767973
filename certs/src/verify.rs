//! The peer's certificate, once a handshake has proved that the peer holds its key.
//!
//! [`VerifiedLeaf`] can be had only from a finished rustls handshake whose configuration checks the peer's chain, as
//! those of [`crate::tls`] and [`crate::trust`] do. Which names a CA may vouch for is [`crate::trust`]'s to say, what a
//! name may do the registry's.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::{ClientConnection, CommonState, ServerConnection};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use crate::identity::{CertificateDigest, SpiffeId, SpiffeIdError, foreign_id, sha256};
use crate::sign::VerifyingKey;
use crate::x509::{self, Malformed};

/// The certificate of a peer that has proved, in this connection, to hold its private key, under a chain that was valid
/// when the connection began.
///
/// There is no constructor from bytes, so code that takes a `VerifiedLeaf` cannot be handed an unproved one.
#[derive(Clone)]
pub struct VerifiedLeaf {
    /// The leaf and what the peer sent behind it.
    chain: Arc<[CertificateDer<'static>]>,
    digest: CertificateDigest,
    identity: Identity,
    issuer: Box<str>,
    serial: Box<[u8]>,
    spki: Box<[u8]>,
    /// One for each of the chain.
    keys: Box<[[u8; 32]]>,
    verifying_key: VerifyingKey,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// What a certificate says its holder is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Identity {
    /// A system of a bus, by name.
    Spiffe(SpiffeId),
    /// A SPIFFE id with another kind of path, e.g. `spiffe://hue.gov.test/ns/mot-cua/sa/adapter` as SPIRE gives it: known
    /// only to a registry that binds this very text to a system.
    ForeignSpiffe(String),
    /// A certificate without a SPIFFE id, from an agency's own CA or a server's: known only by who issued it for which key.
    NoSpiffeId(IssuerAndKey),
}

/// What a certificate without a SPIFFE id can be bound to a system by.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IssuerAndKey {
    /// The issuer's name as text, e.g. `CN=Sở TTTT CA, C=VN`.
    pub issuer: String,
    /// SHA-256 of the public key (`SubjectPublicKeyInfo`, DER), the same as long as the key is.
    pub key: [u8; 32],
}

/// Why a connection gives no [`VerifiedLeaf`]. The connection should be closed; nothing is known about the peer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LeafError {
    /// The handshake is still going on, so the peer has proved nothing yet.
    #[error("the TLS handshake is not finished")]
    Unfinished,
    /// The peer showed no certificate.
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// The certificate cannot be read in full.
    #[error("the peer's certificate cannot be read")]
    Malformed(#[from] Malformed),
    /// A SPIFFE id beside another URI: X509-SVID §2 wants exactly one, or two readers see two systems.
    #[error("the peer's certificate has a SPIFFE id and {others} more URI names")]
    SeveralUris {
        /// How many URI names there are beside the first.
        others: usize,
    },
    /// The SPIFFE id is malformed, or nearly that of a system.
    #[error("the SPIFFE id in the peer's certificate is not usable")]
    SpiffeId(#[from] SpiffeIdError),
    /// Its key cannot sign messages on the bus.
    #[error("the peer's key is not ECDSA P-256")]
    NotP256,
}

impl VerifiedLeaf {
    /// The client at the other end of `connection`, seen by the server.
    ///
    /// # Errors
    /// When the handshake is not finished, or the certificate breaks a rule of the bus that TLS does not check.
    pub fn of_client(connection: &ServerConnection) -> Result<Self, LeafError> {
        Self::of_peer(connection)
    }

    /// The server at the other end of `connection`, seen by the client.
    ///
    /// # Errors
    /// As for [`VerifiedLeaf::of_client`].
    pub fn of_server(connection: &ClientConnection) -> Result<Self, LeafError> {
        Self::of_peer(connection)
    }

    fn of_peer(state: &CommonState) -> Result<Self, LeafError> {
        // Before the end, rustls may already know a chain whose key has not been proved.
        if state.is_handshaking() {
            return Err(LeafError::Unfinished);
        }
        Self::read(state.peer_certificates().unwrap_or_default())
    }

    pub(crate) fn read(chain: &[CertificateDer<'_>]) -> Result<Self, LeafError> {
        let leaf = chain.first().ok_or(LeafError::NoCertificate)?;
        let parsed = x509::parse(leaf)?;
        let spki = parsed.public_key().raw;
        Ok(Self {
            digest: CertificateDigest::of(leaf),
            identity: Identity::read(&parsed)?,
            issuer: parsed.issuer().to_string().into(),
            serial: parsed.raw_serial().into(),
            spki: spki.into(),
            keys: chain.iter().map(key_sha256).collect::<Result<_, _>>()?,
            verifying_key: VerifyingKey::from_spki(spki).map_err(|_| LeafError::NotP256)?,
            not_before: x509::time(parsed.validity().not_before),
            not_after: x509::time(parsed.validity().not_after),
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        })
    }

    /// What the certificate says its holder is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The SPIFFE id of a system, when there is one.
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        match &self.identity {
            Identity::Spiffe(id) => Some(id),
            Identity::ForeignSpiffe(_) | Identity::NoSpiffeId(_) => None,
        }
    }

    /// SHA-256 of the certificate.
    pub fn digest(&self) -> CertificateDigest {
        self.digest
    }

    /// The key that checks what this peer signs.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// The public key as `SubjectPublicKeyInfo` in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The certificate in DER, to be kept beside signatures that are to be checked years later.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        // Reading refuses an empty chain.
        &self.chain[0]
    }

    /// The leaf and what the peer sent behind it, to ask who vouches for it ([`crate::trust`]).
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// SHA-256 of [`spki`](Self::spki): what is revoked, and what a certificate without a SPIFFE id is bound by.
    pub fn key_sha256(&self) -> [u8; 32] {
        self.keys[0]
    }

    /// SHA-256 of every key in the chain, the leaf's first: when any of them is revoked, so is this.
    pub fn chain_keys(&self) -> &[[u8; 32]] {
        &self.keys
    }

    /// The issuer's name as text.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The serial number, big-endian, unique for the issuer.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The first moment of the certificate's validity, on the machine clock.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The last moment of the certificate's validity, on the machine clock. A connection may outlive it.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

impl Identity {
    /// What this certificate says. Nothing is proved by reading it.
    ///
    /// # Errors
    /// The certificate breaks a rule of the bus that TLS does not check.
    pub fn of(leaf: &CertificateDer<'_>) -> Result<Self, LeafError> {
        Self::read(&x509::parse(leaf)?)
    }

    fn read(parsed: &X509Certificate<'_>) -> Result<Self, LeafError> {
        match x509::uris(parsed)?.as_slice() {
            uris if !uris.iter().any(|uri| is_spiffe(uri)) => Ok(Self::NoSpiffeId(IssuerAndKey {
                issuer: parsed.issuer().to_string(),
                key: sha256(parsed.public_key().raw),
            })),
            [uri] => match uri.parse() {
                Ok(id) => Ok(Self::Spiffe(id)),
                Err(error) => foreign_id(uri).map(|id| Self::ForeignSpiffe(id.to_owned())).ok_or(error.into()),
            },
            uris => Err(LeafError::SeveralUris { others: uris.len() - 1 }),
        }
    }

    /// The SPIFFE id as text and the trust domain in it, if there is one.
    pub(crate) fn spiffe_text(&self) -> Option<(String, &str)> {
        match self {
            Self::Spiffe(id) => Some((id.to_string(), id.trust_domain().as_str())),
            Self::ForeignSpiffe(id) => {
                let domain = id.strip_prefix("spiffe://")?.split('/').next()?;
                Some((id.clone(), domain))
            }
            Self::NoSpiffeId(_) => None,
        }
    }
}

fn key_sha256(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Malformed> {
    Ok(sha256(x509::parse(certificate)?.public_key().raw))
}

/// Leaves out the certificate's subject: it may name a person.
impl fmt::Debug for VerifiedLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedLeaf")
            .field("identity", &self.identity)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Generous about case on purpose: what looks like a SPIFFE id to anybody is then parsed strictly.
fn is_spiffe(uri: &str) -> bool {
    uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType, SignatureAlgorithm};

    const SYSTEM: &str = "spiffe://lgsp.hue.test/system/one-stop";

    fn read(uris: &[&str], algorithm: &'static SignatureAlgorithm) -> Result<VerifiedLeaf, LeafError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        let key = KeyPair::generate_for(algorithm).unwrap();
        VerifiedLeaf::read(&[params.self_signed(&key).unwrap().der().clone()])
    }

    fn read_p256(uris: &[&str]) -> Result<VerifiedLeaf, LeafError> {
        read(uris, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    #[test]
    fn one_spiffe_uri_is_the_identity() {
        assert_eq!(read_p256(&[SYSTEM]).unwrap().spiffe_id().unwrap().to_string(), SYSTEM);
    }

    #[test]
    fn a_spiffe_id_beside_another_uri_is_refused() {
        for uris in [[SYSTEM, "https://hue.test"], ["https://hue.test", SYSTEM], [SYSTEM, SYSTEM]] {
            assert_eq!(read_p256(&uris).unwrap_err(), LeafError::SeveralUris { others: 1 });
        }
    }

    #[test]
    fn a_crooked_spiffe_id_is_refused_and_not_treated_as_none() {
        for uri in ["spiffe://lgsp.hue.test/system/a/b", "SPIFFE://lgsp.hue.test/system/a", "spiffe:", "spiffe://a"] {
            assert!(matches!(read_p256(&[uri]).unwrap_err(), LeafError::SpiffeId(_)), "{uri}");
        }
    }

    #[test]
    fn a_spiffe_id_with_another_path_is_an_identity_of_its_own_kind() {
        let id = "spiffe://hue.gov.test/ns/mot-cua/sa/adapter";
        let leaf = read_p256(&[id]).unwrap();
        assert_eq!(leaf.identity(), &Identity::ForeignSpiffe(id.to_owned()));
        assert_eq!(leaf.spiffe_id(), None);
    }

    #[test]
    fn without_a_spiffe_id_issuer_and_key_are_known() {
        for uris in [&[][..], &["https://hue.test"], &["https://hue.test", "https://hue.example"]] {
            let leaf = read_p256(uris).unwrap();
            let Identity::NoSpiffeId(binding) = leaf.identity() else { panic!("{leaf:?}") };
            assert_eq!(binding.issuer, "CN=rcgen self signed cert");
            assert_eq!(binding.key, sha256(leaf.spki()));
        }
    }

    #[test]
    fn a_key_that_cannot_sign_on_the_bus_is_refused() {
        assert_eq!(read(&[SYSTEM], &rcgen::PKCS_ECDSA_P384_SHA384).unwrap_err(), LeafError::NotP256);
        assert_eq!(read(&[SYSTEM], &rcgen::PKCS_ED25519).unwrap_err(), LeafError::NotP256);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        let whole = read_p256(&[SYSTEM]).unwrap().certificate().to_vec();
        for cut in [&whole[..0], &whole[..whole.len() - 1], &[whole.as_slice(), b"x"].concat()] {
            assert_eq!(VerifiedLeaf::read(&[cut.into()]).unwrap_err(), LeafError::Malformed(Malformed));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(VerifiedLeaf::read(&[bytes.into()]).is_err());
        }

        #[test]
        fn no_changed_byte_makes_it_panic_or_another_key(at in any::<proptest::sample::Index>(), with in 1..=255_u8) {
            let leaf = read_p256(&[SYSTEM]).unwrap();
            let mut changed = leaf.certificate().to_vec();
            let at = at.index(changed.len());
            changed[at] ^= with;
            if let Ok(read) = VerifiedLeaf::read(&[changed.into()]) {
                prop_assert_eq!(read.key_sha256() == leaf.key_sha256(), read.spki() == leaf.spki());
            }
        }
    }
}
