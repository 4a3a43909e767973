//! The issuing CA beside the gateway, and whether it may sign now.
//!
//! Its folder is looked at before every certificate, so that another CA in its place is taken up by itself, and nothing is
//! signed by a key that was taken away. Invariant: what is signed leads to a bundle in force, over keys that are in force.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lgsp_certs::reload::Files;
use lgsp_certs::{
    CaError, CertificateAuthority, CertificateFacts, NotBacked, SigningRequest, SystemName, Trust, TrustDomain,
};
use lgsp_proto::{Reason, Refusal};

use super::super::Engine;
use super::super::access::Peer;
use super::super::clock::machine_now;
use super::super::connections::KeyDigest;
use super::{Certifying, InForce, sha256};
use crate::store::{CertificateIssued, IssuedOver};

/// What a CA must have left to live: less is too little for a certificate.
const LAST_DAY: Duration = Duration::from_secs(24 * 3600);

/// An issuing CA in a folder.
pub struct Authority {
    held: Arc<Held>,
    leaf_life: Duration,
    token_valid: Duration,
}

/// The folder, and what it held when it was looked at last.
struct Held {
    dir: PathBuf,
    trust_domain: TrustDomain,
    seen: Mutex<(Files, Option<Arc<CertificateAuthority>>)>,
}

/// Why the gateway signs no certificate now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotSigning {
    /// It was given no CA.
    NotConfigured,
    /// A file of the CA's folder is gone or cannot be read, or they do not belong together.
    Files,
    /// The folder holds a CA of another trust domain.
    OtherDomain,
    /// The CA, or its root, was put out of force by its key.
    KeyRevoked,
    /// The CA is on a revocation list of its root.
    Listed,
    /// No bundle in force has its root.
    NoBundle,
    /// It has less than a day to live.
    Expires,
}

/// The CA that may sign now, and the bundles by whose word its certificates are good.
pub(super) struct Issuer {
    ca: Arc<CertificateAuthority>,
    /// Its own key and its root's.
    pub(super) keys: [KeyDigest; 2],
    /// Without bundles, e.g. in a simulation, every word is good.
    bundles: Option<(Arc<Trust>, Vec<String>)>,
}

impl NotSigning {
    /// The word for it in `/status`, and in the `cause` of a refusal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::Files => "ca_files",
            Self::OtherDomain => "ca_of_another_domain",
            Self::KeyRevoked => "ca_key_revoked",
            Self::Listed => "ca_on_revocation_list",
            Self::NoBundle => "ca_in_no_bundle",
            Self::Expires => "ca_expires",
        }
    }

    pub(super) fn refusal(self) -> Refusal {
        let refusal = Refusal::new(Reason::CaNotConfigured);
        if self == Self::NotConfigured { refusal } else { refusal.detail("cause", self.as_str()) }
    }
}

impl Authority {
    /// The CA in `dir`. Certificates live for `leaf_life`, tokens are good for `token_valid` unless they say otherwise.
    ///
    /// # Errors
    /// The folder holds no CA that can sign.
    pub fn open(dir: PathBuf, leaf_life: Duration, token_valid: Duration) -> Result<Self, CaError> {
        let files = Files::new(["ca.pem", "ca.key", "root.pem"].map(|file| dir.join(file)));
        let opened = CertificateAuthority::open(&dir)?;
        let trust_domain = opened.trust_domain().clone();
        let held = Held { dir, trust_domain, seen: Mutex::new((files, Some(Arc::new(opened)))) };
        Ok(Self { held: Arc::new(held), leaf_life, token_valid })
    }

    /// Whose names it signs.
    pub fn trust_domain(&self) -> TrustDomain {
        self.held.trust_domain.clone()
    }

    /// How long what it signs is good.
    pub(super) fn leaf_life(&self) -> Duration {
        self.leaf_life
    }

    pub(super) fn token_valid(&self) -> Duration {
        self.token_valid
    }

    /// Certifies a key as that of `system`. Nothing is recorded yet, and nothing given to anybody.
    pub(super) async fn sign(
        &self,
        issuer: &Issuer,
        request: SigningRequest,
        system: SystemName,
        over: IssuedOver,
    ) -> Result<CertificateIssued, Refusal> {
        let (ca, life) = (Arc::clone(&issuer.ca), self.leaf_life);
        let signed = tokio::task::spawn_blocking(move || {
            let now = machine_now();
            ca.sign_request(&request, &system, life, now).map(|certified| (certified, system, now))
        });
        let (certified, system, at) =
            signed.await.map_err(|panicked| failed(&panicked))?.map_err(|error| match error {
                CaError::OutlivesCa => NotSigning::Expires.refusal(),
                error => failed(&error),
            })?;
        let mut chain = certified.chain.iter().map(|der| Bytes::copy_from_slice(der));
        let der = chain.next().ok_or_else(|| Refusal::new(Reason::Internal))?;
        let intermediates = chain.collect();
        Ok(CertificateIssued { digest: sha256(&der), der, intermediates, for_system: system.to_string(), over, at })
    }
}

impl Held {
    /// The CA as it lies in the folder now. It is opened only when the files look otherwise than before, or held none.
    fn look(&self) -> Result<Arc<CertificateAuthority>, NotSigning> {
        // Nothing panics while it holds the lock.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, held) = &mut *seen;
        if let (false, Some(held)) = (files.changed(), &held) {
            return Ok(Arc::clone(held));
        }
        let was_there = held.take().is_some();
        let opened = CertificateAuthority::open(&self.dir).map_err(|error| {
            if was_there {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the CA's folder cannot be used");
            }
            NotSigning::Files
        })?;
        if *opened.trust_domain() != self.trust_domain {
            return Err(NotSigning::OtherDomain);
        }
        Ok(Arc::clone(held.insert(Arc::new(opened))))
    }
}

impl Issuer {
    /// Whether it renews a certificate: one by the word of a bundle by whose word its own are good. What another CA vouches for
    /// it must not put beyond that CA's reach.
    ///
    /// # Errors
    /// `RENEWED_ELSEWHERE`; `CERTIFICATE_NOT_VOUCHED` when no bundle vouches for it any more.
    pub(super) fn renews(&self, peer: &Peer) -> Result<(), Refusal> {
        let Some((trust, ours)) = &self.bundles else { return Ok(()) };
        let vouch = trust.vouching(peer.leaf().chain(), machine_now());
        let vouch = vouch.map_err(|_| Refusal::new(Reason::CertificateNotVouched))?;
        if vouch.bundles().any(|bundle| ours.iter().any(|ours| ours == bundle)) {
            return Ok(());
        }
        Err(Refusal::new(Reason::RenewedElsewhere).detail("bundle", vouch.bundle()))
    }
}

impl Engine {
    /// Whether the gateway signs certificates now. When that has changed, the log is told.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn signs_certificates(&self) -> Result<(), NotSigning> {
        self.certifying().map_err(|_| NotSigning::NotConfigured)?;
        self.look_for_issuer().await.map(drop)
    }

    /// The CA that may sign now.
    ///
    /// # Errors
    /// `CA_NOT_CONFIGURED`, with the cause.
    pub(super) async fn issuer(&self) -> Result<Issuer, Refusal> {
        self.look_for_issuer().await.map_err(NotSigning::refusal)
    }

    async fn look_for_issuer(&self) -> Result<Issuer, NotSigning> {
        let certifying = self.certifying().map_err(|_| NotSigning::NotConfigured)?;
        let held = Arc::clone(&certifying.authority.as_ref().ok_or(NotSigning::NotConfigured)?.held);
        // A disk may be slow, or a network's.
        let looked = tokio::task::spawn_blocking(move || held.look()).await;
        let found = looked.unwrap_or(Err(NotSigning::Files)).and_then(|ca| self.still_good(certifying, ca));
        certifying.tell(found.as_ref().err().copied());
        found
    }

    /// The CA, if what it signs would be let in.
    fn still_good(&self, certifying: &Certifying, ca: Arc<CertificateAuthority>) -> Result<Issuer, NotSigning> {
        let key = |der| CertificateFacts::read(der).map(|facts| facts.key_sha256).map_err(|_| NotSigning::Files);
        let keys = [key(ca.intermediate())?, key(ca.root())?];
        if keys.iter().any(|key| self.connections().is_revoked(key)) {
            return Err(NotSigning::KeyRevoked);
        }
        if ca.not_after() < machine_now() + LAST_DAY {
            return Err(NotSigning::Expires);
        }
        let bundles = certifying.in_force().map(|InForce { bundles: trust, .. }| {
            let backing = trust.backing(ca.intermediate(), ca.trust_domain()).map_err(|error| match error {
                NotBacked::NoRoot => NotSigning::NoBundle,
                NotBacked::Listed => NotSigning::Listed,
            })?;
            let backing = backing.into_iter().map(str::to_owned).collect();
            Ok((trust, backing))
        });
        Ok(Issuer { ca, keys, bundles: bundles.transpose()? })
    }
}

impl Certifying {
    /// Writes to the log that the gateway signs no more, or again, when that is news; whether it is.
    fn tell(&self, now: Option<NotSigning>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = std::mem::replace(&mut *told, now) != now;
        match now {
            Some(cause) if is_news => tracing::error!(cause = cause.as_str(), "the gateway signs no certificates"),
            None if is_news => tracing::info!("the gateway signs certificates again"),
            _ => {}
        }
        is_news
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(error, "a certificate could not be signed");
    Refusal::new(Reason::Internal)
}

#[cfg(test)]
mod tests {
    use super::super::{Doors, TrustFiles};
    use super::*;

    #[test]
    fn that_nothing_is_signed_is_told_once_and_again_when_it_has_another_cause() {
        let doors = Doors { enrolment_url: None, bus_url: "https://bus.test".to_owned(), server_name: None };
        let certifying = Certifying::new(None, doors, TrustFiles::new(|| None, None, None));
        let told = [None, Some(NotSigning::Files), Some(NotSigning::Files), Some(NotSigning::KeyRevoked), None, None];
        assert_eq!(told.map(|now| certifying.tell(now)), [false, true, false, true, true, false]);
    }
}
