//! What the books hold of certificates: tokens, what was issued or seen, and the keys that are out of force.
//!
//! A token is spent by the very record of the certificate it was spent on, so that no crash comes between the two. Keys are
//! revoked, not certificates: a key that is out of force stays so in whatever certificate it comes back.

use std::time::SystemTime;

use bytes::Bytes;
use lgsp_proto::types::{ActorId, PartyId, Sha256Digest};

/// By which name a join token is known; not secret.
pub type TokenId = [u8; 16];

/// A join token was issued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenIssued {
    /// Its name.
    pub id: TokenId,
    /// SHA-256 of its secret, which is kept nowhere.
    pub secret_sha256: Sha256Digest,
    /// The system that joins with it.
    pub for_system: String,
    /// Until when it is good, by the machine clock.
    pub expires_at: SystemTime,
    /// In whose name.
    pub party: PartyId,
    /// The operator.
    pub actor: ActorId,
    /// The operator's system.
    pub system: String,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// A join token was taken back before it was spent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenWithdrawn {
    /// Its name.
    pub id: TokenId,
    /// In whose name.
    pub party: PartyId,
    /// The operator.
    pub actor: ActorId,
    /// The operator's system.
    pub system: String,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// The bus's own CA signed a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateIssued {
    /// SHA-256 of the leaf.
    pub digest: Sha256Digest,
    /// The leaf.
    pub der: Bytes,
    /// Its intermediates, in the order of the chain.
    pub intermediates: Vec<Bytes>,
    /// The system it names.
    pub for_system: String,
    /// Over what.
    pub over: IssuedOver,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// What a certificate was issued over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IssuedOver {
    /// A token, which is spent with it.
    Token(TokenId),
    /// The certificate it renews, by its SHA-256.
    Renewal(Sha256Digest),
}

/// Keys are out of force for good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateRevoked {
    /// SHA-256 of each `SubjectPublicKeyInfo`; at most [`KEYS_MAX`].
    pub keys: Vec<Sha256Digest>,
    /// Those certificates of them that were known.
    pub certificates: Vec<Sha256Digest>,
    /// When everything of a system was meant.
    pub for_system: Option<String>,
    /// The ground, a word that names a decision and no person.
    pub ground: String,
    /// In whose name.
    pub party: PartyId,
    /// The operator.
    pub actor: ActorId,
    /// The operator's system.
    pub system: String,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// The most keys one record revokes, so that its changes stay within one batch of the index.
pub const KEYS_MAX: usize = 50;

/// A token as it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// SHA-256 of its secret.
    pub secret_sha256: Sha256Digest,
    /// The system that joins with it.
    pub for_system: String,
    /// Until when it is good, by the machine clock.
    pub expires_at: SystemTime,
    /// The epoch in which it is good. What was spent or withdrawn after the backup that began a later one is not known any
    /// more, so a token of an earlier epoch is good for nothing.
    pub epoch: u32,
    /// What became of it.
    pub state: TokenState,
}

/// What became of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenState {
    /// Nothing yet.
    Open,
    /// It was spent on this certificate.
    Spent(Box<CertificateIssued>),
    /// It was taken back, at this time.
    Withdrawn(SystemTime),
}

/// A certificate that was issued here or seen on the bus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownCertificate {
    /// SHA-256 of the DER.
    pub digest: Sha256Digest,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub key: Sha256Digest,
    /// The system it names; [`super::OWN_NAME`] for the gateway's own.
    pub system: String,
    /// Its issuer's distinguished name, as text.
    pub issuer: String,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
    /// By the bus's own CA, through the gateway.
    pub issued_here: bool,
    /// When it was first seen on the bus, as far as that is known.
    pub first_seen_at: Option<SystemTime>,
    /// When its key was revoked, and by which ground.
    pub revoked: Option<(SystemTime, String)>,
}

/// Which certificates are wanted.
#[derive(Clone, Debug, Default)]
pub struct CertificateQuery {
    /// Only this system's.
    pub system: Option<String>,
    /// Only those that expire at or after this.
    pub expiring_from: Option<SystemTime>,
    /// Only those that expire before this.
    pub expiring_before: Option<SystemTime>,
    /// Those whose key was revoked as well.
    pub with_revoked: bool,
    /// Not those of whose system one that ends later, and is not revoked, was seen in use.
    pub without_superseded: bool,
    /// At most this many.
    pub limit: usize,
    /// Where the previous page ended.
    pub after: Option<CertificateCursor>,
}

/// Where a page of certificates ended: they come in the order in which they expire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CertificateCursor {
    /// When the last one that was looked at expires, in Unix milliseconds.
    pub not_after_ms: i64,
    /// Its SHA-256.
    pub digest: Sha256Digest,
}

/// One page of certificates.
#[derive(Clone, Debug)]
pub struct CertificatePage {
    /// The certificates, the first to expire first.
    pub certificates: Vec<KnownCertificate>,
    /// Where to go on; `None` on the last page. A page may be short and not be the last.
    pub next: Option<CertificateCursor>,
}
