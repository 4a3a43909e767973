//! Certificates: who may join, what is issued and renewed, what is out of force, and whom to trust.
//!
//! `authority` signs, `tokens` issues and takes back join tokens, `joining` spends them and renews, `books` lists and revokes,
//! `lockout` asks first whether somebody would be left to keep the bus in order, `trust` says by which roots the gateway is known. What a system may do is not decided here: a certificate names it, the
//! registry says what it may. Times are the machine clock's; business time has nothing to do with certificates.

mod authority;
mod books;
mod joining;
mod lockout;
mod system_entry;
mod tokens;
mod trust;
pub(crate) use trust::revocation_lists;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use lgsp_certs::Trust;
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::{Reason, Refusal};
use tokio::time::Instant;

pub use self::authority::{Authority, NotSigning};
pub use self::books::{CertificatesAsked, CertificatesPage, Revoked, ToRevoke};
pub use self::joining::{JoinAttempt, Joined};
pub use self::tokens::{NewToken, TokenWanted};
pub use self::trust::{TrustFiles, TrustSet};
use super::Engine;
use super::access::Peer;
use super::connections::KeyDigest;
use super::shares::Rates;
use crate::store::CertificateIssued;

/// Joins of everybody together, a second: each costs two signatures, and nobody joins in a hurry.
const JOINS_PER_SECOND: u32 = 20;

/// Attempts a second that share the last byte of a token's name, known or not: a token is not worth guessing, and trying to
/// shall be cheap for us.
const ATTEMPTS_PER_SECOND: u32 = 2;

/// Renewals that one system may make at once, and how soon at the latest it has one more. Each is a record for ever, and a key to
/// look for when the system is revoked.
const RENEWALS: u32 = 10;
const RENEWAL_EVERY: Duration = Duration::from_secs(600);

/// How many it may make in the life of one certificate: two installations renew each theirs at two thirds of it.
const RENEWALS_IN_A_LIFE: u32 = 4;

/// What the listener of the bus goes by now.
pub struct InForce {
    /// The bundles.
    pub bundles: Arc<Trust>,
    /// The key of the gateway's own certificate.
    pub own_key: KeyDigest,
}

type Shown = Box<dyn Fn() -> InForce + Send + Sync>;

/// What the gateway certifies with, and what a system that joins is told.
pub struct Certifying {
    authority: Option<Authority>,
    shown: Option<Shown>,
    /// Why it does not sign, as the log was told last.
    told: Mutex<Option<NotSigning>>,
    doors: Doors,
    trust: TrustFiles,
    joins: Rates<()>,
    attempts: Rates<u8>,
    renewals: Renewals,
    counted: Mutex<Counted>,
}

/// Where the gateway is found from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Doors {
    /// Where to join; `None` when nobody can.
    pub enrolment_url: Option<String>,
    /// Where the bus is.
    pub bus_url: String,
    /// The name that the gateway's certificate carries, when that is not the URLs' host.
    pub server_name: Option<String>,
}

/// How often systems renew. Only systems of the registry are here.
struct Renewals {
    /// How soon one more is had.
    every: Duration,
    /// When each will have used up what it renewed, had it come evenly spread.
    used: Mutex<HashMap<String, Instant>>,
}

impl Renewals {
    fn of_certificates_that_live_for(life: Duration) -> Self {
        Self { every: RENEWAL_EVERY.min(life / RENEWALS_IN_A_LIFE), used: Mutex::default() }
    }

    fn take(&self, system: &str, now: Instant) -> Result<(), Refusal> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let until = used.get(system).map_or(now, |until| (*until).max(now)) + self.every;
        let ahead = (until - now).saturating_sub(self.every * RENEWALS);
        if !ahead.is_zero() {
            let refusal = Refusal::new(Reason::QuotaExceeded).detail("system", system);
            return Err(refusal.detail(lgsp_proto::RETRY_AFTER_MS, ahead.as_millis().max(1)));
        }
        used.insert(system.to_owned(), until);
        Ok(())
    }

    /// What was taken came to nothing.
    fn give_back(&self, system: &str) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = used.get_mut(system) {
            *until -= self.every;
        }
    }
}

#[derive(Default)]
struct Counted {
    issued: u64,
    renewed: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// What came of certifying since the start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CertificateFigures {
    /// Certificates issued over tokens.
    pub issued: u64,
    /// Certificates renewed.
    pub renewed: u64,
    /// Joins refused, by reason.
    pub joins_refused: BTreeMap<&'static str, u64>,
    /// Tokens that are good now, as far as they were counted.
    pub tokens_open: usize,
}

/// Open tokens that are counted and listed; each is issued by a person and lapses within a week.
const TOKENS_SHOWN: usize = 1_000;

impl Certifying {
    /// Certifies with `authority`, if there is one.
    pub fn new(authority: Option<Authority>, doors: Doors, trust: TrustFiles) -> Self {
        let life = authority.as_ref().map_or(Duration::MAX, Authority::leaf_life);
        Self {
            authority,
            shown: None,
            told: Mutex::default(),
            doors,
            trust,
            joins: Rates::new(JOINS_PER_SECOND),
            attempts: Rates::new(ATTEMPTS_PER_SECOND),
            renewals: Renewals::of_certificates_that_live_for(life),
            counted: Mutex::default(),
        }
    }

    /// The same, certifying only what the listener would let in by what is in force when it is asked.
    #[must_use]
    pub fn under(self, in_force: impl Fn() -> InForce + Send + Sync + 'static) -> Self {
        Self { shown: Some(Box::new(in_force)), ..self }
    }

    /// Nothing where there is no listener, e.g. in a simulation: there every word is good.
    fn in_force(&self) -> Option<InForce> {
        self.shown.as_ref().map(|shown| shown())
    }

    fn authority(&self) -> Result<&Authority, Refusal> {
        self.authority.as_ref().ok_or_else(|| NotSigning::NotConfigured.refusal())
    }

    fn count_refused(&self, reason: Reason) {
        self.count(|counted| *counted.refused.entry(reason.as_str()).or_default() += 1);
        tracing::info!(reason = reason.as_str(), "a join was refused");
    }

    fn count(&self, change: impl FnOnce(&mut Counted)) {
        change(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Engine {
    /// Certifies with these from now on. To be said once, before anybody is served.
    pub fn certify_with(&self, certifying: Certifying) {
        if self.inner.certifying.set(certifying).is_err() {
            tracing::warn!("what to certify with was said twice; the first counts");
        }
    }

    /// Figures for the local listener.
    ///
    /// # Errors
    /// `INTERNAL` when the store cannot be read.
    pub async fn certificate_figures(&self) -> Result<CertificateFigures, Refusal> {
        let open = self.inner.store.open_tokens(super::clock::machine_now(), TOKENS_SHOWN).await;
        let tokens_open = open.map_err(super::read_failed)?.len();
        let Ok(certifying) = self.certifying() else { return Ok(CertificateFigures::default()) };
        let counted = certifying.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { issued, renewed, ref refused } = *counted;
        Ok(CertificateFigures { issued, renewed, joins_refused: refused.clone(), tokens_open })
    }

    /// The system that asks, by the registry in force.
    fn caller(&self, peer: &Peer) -> Result<String, Refusal> {
        Ok(peer.system(&*self.registry()?, self.clock().now().date())?.name.clone())
    }

    fn certifying(&self) -> Result<&Certifying, Refusal> {
        self.inner.certifying.get().ok_or_else(|| Refusal::new(Reason::CaNotConfigured))
    }
}

fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::try_from(digest(&SHA256, bytes).as_ref()).expect("SHA-256 has 32 bytes")
}

/// A certificate as whoever asked for it gets it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuedChain {
    /// As it is on record.
    pub issued: CertificateIssued,
    /// From when on it is valid.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
    /// From when on it should be renewed.
    pub renew_from: SystemTime,
}

impl IssuedChain {
    fn of(issued: CertificateIssued) -> Result<Self, Refusal> {
        let facts = lgsp_certs::CertificateFacts::read(&issued.der).map_err(|malformed| {
            tracing::error!(%malformed, certificate = %issued.digest, "a certificate on record cannot be read");
            Refusal::new(Reason::Internal)
        })?;
        let renew_from = lgsp_certs::renew_from(facts.not_before, facts.not_after);
        Ok(Self { issued, not_before: facts.not_before, not_after: facts.not_after, renew_from })
    }
}

/// The longest a token may be good: as long as a letter takes, and no longer than a restored backup is likely to be old.
pub const TOKEN_VALID_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_system_renews_a_few_times_an_hour_and_the_others_as_well() {
        let renewals = Renewals::of_certificates_that_live_for(Duration::from_secs(30 * 24 * 3600));
        for _ in 0..RENEWALS {
            renewals.take("mot-cua", Instant::now()).unwrap();
        }
        let refused = renewals.take("mot-cua", Instant::now()).unwrap_err();
        assert_eq!((refused.reason(), refused.retry_after()), (Reason::QuotaExceeded, Some(RENEWAL_EVERY)));
        renewals.take("so-nganh", Instant::now()).unwrap();
        tokio::time::advance(RENEWAL_EVERY).await;
        renewals.take("mot-cua", Instant::now()).unwrap();
        assert!(renewals.take("mot-cua", Instant::now()).is_err());
        renewals.give_back("mot-cua");
        renewals.take("mot-cua", Instant::now()).unwrap();
        assert!(renewals.take("mot-cua", Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_that_live_for_minutes_are_renewed_as_often_as_they_must_be() {
        for life in [300, 60, 3600].map(Duration::from_secs) {
            let renewals = Renewals::of_certificates_that_live_for(life);
            for _ in 0..200 {
                for _installation in 0..2 {
                    renewals.take("mot-cua", Instant::now()).unwrap_or_else(|refused| panic!("{life:?}: {refused}"));
                }
                tokio::time::advance(life * 2 / 3).await;
            }
        }
    }
}
