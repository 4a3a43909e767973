//! Joining with a token, and renewing over a certificate.
//!
//! A token that is unknown, expired, withdrawn, of an earlier epoch or told with a wrong secret is one and the same to whoever
//! tries it. The record that issues a certificate is the one that spends the token: whoever got no answer asks again with the
//! same key, and gets what was issued.

use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use lgsp_certs::{CertificateFacts, SigningRequest, SystemName};
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::{Reason, Refusal, Wrong};
use tokio::time::Instant;

use super::super::access::Peer;
use super::super::clock::machine_now;
use super::super::lanes::Lane;
use super::super::{Engine, commit_failed, read_failed};
use super::{Doors, IssuedChain, NotSigning, TrustSet, sha256};
use crate::store::{Commit, CommitError, IssuedOver, Token, TokenId, TokenState};

/// What a secret is compared with when there is no token; no secret is known to have it.
const NO_TOKEN: [u8; 32] = [0; 32];

/// Somebody wants to join.
pub struct JoinAttempt {
    /// The token's name.
    pub id: TokenId,
    /// What its holder says the secret is.
    pub secret: zeroize::Zeroizing<Vec<u8>>,
    /// PKCS #10, DER.
    pub signing_request: bytes::Bytes,
}

/// Somebody has joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The certificate.
    pub chain: IssuedChain,
    /// Whom to trust.
    pub trust: TrustSet,
    /// Where the bus is.
    pub doors: Doors,
    /// For which parties the system acts, as the registry has it.
    pub acts_for: Vec<String>,
}

impl Engine {
    /// Spends a token on a certificate; with the same key again, tells the same certificate.
    ///
    /// # Errors
    /// `CA_NOT_CONFIGURED`, `QUOTA_EXCEEDED`, `SIGNING_REQUEST_INVALID`, `TOKEN_INVALID`, `TOKEN_SPENT`, `CERTIFICATE_REVOKED`,
    /// `SYSTEM_UNKNOWN`, those of a commit. After the latter the token may be spent: ask again with the same key.
    pub async fn join(&self, attempt: JoinAttempt) -> Result<Joined, Refusal> {
        let joined = self.try_join(attempt).await;
        if let (Err(refusal), Ok(certifying)) = (&joined, self.certifying()) {
            certifying.count_refused(refusal.reason());
        }
        joined
    }

    /// Counts a join that was refused before it came this far.
    pub fn join_refused_at_the_door(&self, reason: Reason) {
        if let Ok(certifying) = self.certifying() {
            certifying.count_refused(reason);
        }
    }

    async fn try_join(&self, attempt: JoinAttempt) -> Result<Joined, Refusal> {
        let certifying = self.certifying()?;
        let _ = self.issuer().await?;
        // By the last byte alone, so that nobody fills our memory with names. One that guesses shares it with few.
        certifying.attempts.take(&attempt.id[15], None)?;
        // What everybody shares is for those who have a token: strangers without one must not use it up.
        self.good_token(&attempt).await?;
        certifying.joins.take(&(), None)?;
        let request = SigningRequest::parse(&attempt.signing_request).map_err(|error| bad_request(&error))?;
        let engine = self.clone();
        self.to_the_end(async move { engine.join_now(&attempt, request).await }).await
    }

    async fn good_token(&self, attempt: &JoinAttempt) -> Result<Token, Refusal> {
        let token = self.inner.store.token(&attempt.id).await.map_err(read_failed)?;
        let epoch = self.inner.store.epoch().await.map_err(read_failed)?;
        good(token, &attempt.secret, epoch, machine_now())
    }

    async fn join_now(&self, attempt: &JoinAttempt, request: SigningRequest) -> Result<Joined, Refusal> {
        let certifying = self.certifying()?;
        let _held = self.inner.lanes.hold([Lane::Token(&attempt.id)]).await;
        let token = self.good_token(attempt).await?;
        self.refuse_revoked(&request.key_sha256())?;
        let registry = self.registry()?;
        let system = registry.system(&token.for_system, self.clock().now().date());
        let unknown = || Refusal::new(Reason::SystemUnknown).detail("system", &token.for_system);
        let system = system.ok_or_else(unknown)?;
        let acts_for = system.acts_for.iter().map(ToString::to_string).collect();
        let trust = certifying.trust.read().await?;
        let chain = match token.state {
            TokenState::Spent(issued) => {
                let facts = CertificateFacts::read(&issued.der);
                if facts.map(|facts| facts.key_sha256) != Ok(request.key_sha256()) {
                    tracing::warn!(for_system = token.for_system, "a spent join token was tried with another key");
                    return Err(Refusal::new(Reason::TokenSpent).detail("system", &token.for_system));
                }
                IssuedChain::of(*issued)?
            }
            _ => {
                let chain = self.certify(request, &token.for_system, Over::Token(token.id)).await?;
                certifying.count(|counted| counted.issued += 1);
                chain
            }
        };
        Ok(Joined { chain, trust, doors: certifying.doors.clone(), acts_for })
    }

    /// A new certificate for the system that asks, over the one it shows.
    ///
    /// # Errors
    /// `CA_NOT_CONFIGURED`, `RENEWED_ELSEWHERE`, `SYSTEM_UNKNOWN`, `SIGNING_REQUEST_INVALID`, `CERTIFICATE_REVOKED`,
    /// `CERTIFICATE_NOT_VOUCHED`, `QUOTA_EXCEEDED`, those of a commit.
    pub async fn renew(&self, peer: &Peer, signing_request: &[u8]) -> Result<IssuedChain, Refusal> {
        let certifying = self.certifying()?;
        let issuer = self.issuer().await?;
        let system = self.caller(peer)?;
        // One of another CA is renewed by that CA, whether it names the system in that CA's way or in ours.
        if peer.own_name().is_none_or(|name| name.as_str() != system) {
            return Err(Refusal::new(Reason::RenewedElsewhere).detail("system", system));
        }
        issuer.renews(peer)?;
        let request = SigningRequest::parse(signing_request).map_err(|error| bad_request(&error))?;
        self.refuse_revoked(&request.key_sha256())?;
        certifying.renewals.take(&system, Instant::now())?;
        let (engine, peer) = (self.clone(), peer.clone());
        let renewed = self.to_the_end(async move {
            let chain = engine.certify(request, &system, Over::Certificate(&peer)).await;
            let certifying = engine.certifying()?;
            match &chain {
                Ok(_) => certifying.count(|counted| counted.renewed += 1),
                // What was not issued must not count: the next try is the one that keeps the system on the bus.
                Err(_) => certifying.renewals.give_back(&system),
            }
            chain
        });
        renewed.await
    }

    /// Signs and records. Nobody has the certificate before it is on record.
    async fn certify(&self, request: SigningRequest, system: &str, over: Over<'_>) -> Result<IssuedChain, Refusal> {
        let name: SystemName = system.parse().map_err(|_| Refusal::new(Reason::Internal))?;
        let key = request.key_sha256();
        let (over, shown) = match over {
            Over::Token(id) => (IssuedOver::Token(id), &[][..]),
            Over::Certificate(peer) => (IssuedOver::Renewal(peer.certificate()), peer.leaf().chain_keys()),
        };
        let issuer = self.issuer().await?;
        let issued = self.certifying()?.authority()?.sign(&issuer, request, name, over).await?;
        // A revocation comes before this, and is seen here, or after it, and sees what is recorded.
        let _recording = self.inner.revoking.read().await;
        if issuer.keys.iter().any(|key| self.connections().is_revoked(key)) {
            return Err(NotSigning::KeyRevoked.refusal());
        }
        for key in shown.iter().chain([&key]) {
            self.refuse_revoked(key)?;
        }
        let committed = self.inner.store.commit(Commit::CertificateIssued(issued.clone())).await;
        committed.map_err(|error| match (&error, over) {
            // It was good a moment ago, and another node has closed it.
            (CommitError::Conflict, IssuedOver::Token(_)) => Refusal::new(Reason::TokenInvalid),
            _ => commit_failed(&error),
        })?;
        tracing::info!(for_system = system, certificate = %issued.digest, "certificate issued");
        IssuedChain::of(issued)
    }

    fn refuse_revoked(&self, key: &[u8; 32]) -> Result<(), Refusal> {
        let is_revoked = self.connections().is_revoked(key);
        if is_revoked { Err(Refusal::new(Reason::CertificateRevoked)) } else { Ok(()) }
    }
}

/// What a certificate is issued over.
enum Over<'a> {
    Token(TokenId),
    /// Whose keys must still be in force, its own and those of its issuing CAs.
    Certificate(&'a Peer),
}

/// The token, if it is good. What is wrong with it is nobody's business, and takes the same time whatever it is.
fn good(token: Option<Token>, secret: &[u8], epoch: u32, now: SystemTime) -> Result<Token, Refusal> {
    let expected = token.as_ref().map_or(Sha256Digest::from(NO_TOKEN), |token| token.secret_sha256);
    let is_told = verify_slices_are_equal(sha256(secret).as_bytes(), expected.as_bytes()).is_ok();
    let is_standing = token.as_ref().is_some_and(|token| {
        let is_withdrawn = matches!(token.state, TokenState::Withdrawn(_));
        !is_withdrawn & (token.epoch == epoch) & (token.expires_at > now)
    });
    token.filter(|_| is_told & is_standing).ok_or_else(|| Refusal::new(Reason::TokenInvalid))
}

fn bad_request(error: &lgsp_certs::BadRequest) -> Refusal {
    Refusal::new(Reason::SigningRequestInvalid)
        .field("signing_request", Wrong::new(error.vietnamese(), error.to_string()))
}
