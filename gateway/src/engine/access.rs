//! Who speaks, and in whose name.
//!
//! The certificate names a *system*; the registry says for which *parties* it may act and what each may do. Nothing is
//! allowed that is not written there. What a caller may not know exists is not found; what it knows but may not do names
//! the missing grant.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lgsp_certs::{Purpose, SystemName, TrustDomain, VerifiedLeaf};
use lgsp_domain::dossier::Dossier;
use lgsp_domain::registry::{Owner, Quota, Registry, Right};
use lgsp_domain::roles;
use lgsp_proto::types::{Date, PartyId, ProcedureCode, Sha256Digest};
use lgsp_proto::{Reason, Refusal};

use super::{Engine, commit_failed, read_failed};
use crate::store::Commit;

/// The system at the other end of a connection, as its verified certificate names it.
#[derive(Clone, Debug)]
pub struct Peer {
    system: SystemName,
    leaf: Arc<VerifiedLeaf>,
}

impl Peer {
    /// Takes the system's name out of a verified certificate of `ours`, the trust domain of this bus.
    ///
    /// # Errors
    /// `CERTIFICATE_WITHOUT_IDENTITY` when the certificate carries no SPIFFE id, or one of another trust domain: a bundle
    /// vouches for its own domain only.
    pub fn of(leaf: Arc<VerifiedLeaf>, ours: &TrustDomain) -> Result<Self, Refusal> {
        let without = || Refusal::new(Reason::CertificateWithoutIdentity).detail("trust_domain", ours);
        let id = leaf.spiffe_id().filter(|id| id.trust_domain() == ours).ok_or_else(without)?;
        Ok(Self { system: id.system().clone(), leaf })
    }

    /// The system's name.
    pub fn system(&self) -> &str {
        self.system.as_str()
    }

    /// SHA-256 of its certificate.
    pub fn certificate(&self) -> Sha256Digest {
        Sha256Digest::from(*self.leaf.digest().as_bytes())
    }

    /// Checks that this system's key signed `bytes` for `purpose`.
    ///
    /// # Errors
    /// `SIGNATURE_INVALID`.
    pub fn check_signature(&self, purpose: Purpose, bytes: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        let checked = self.leaf.verifying_key().verify(purpose, bytes, signature);
        checked.map_err(|_| Refusal::new(Reason::SignatureInvalid).detail("system", self.system()))
    }
}

/// Proof that a system may act for a party: made only by [`authorize`], asked for by everything that decides or tells.
#[derive(Clone, Debug)]
#[must_use]
pub struct Authorized {
    system: String,
    party: PartyId,
    registry: Arc<Registry>,
    today: Date,
}

impl Authorized {
    /// The system that acts, by the name the registry has it under.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The party in whose name the system acts.
    pub fn party(&self) -> &PartyId {
        &self.party
    }

    /// The registry it was checked against.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The business day it was checked on.
    pub fn today(&self) -> Date {
        self.today
    }

    /// Requires a grant beyond acting for the party.
    ///
    /// # Errors
    /// `GRANT_MISSING` with the right and the owner to ask.
    pub fn require(&self, right: Right, procedure: Option<&ProcedureCode>) -> Result<(), Refusal> {
        self.registry.grant(&self.party, right, procedure, self.today).map(drop).map_err(|missing| missing.refusal())
    }

    /// What the registry says about how much the party may admit.
    pub fn quota(&self) -> Quota {
        self.registry.party(&self.party).map(|party| party.quota).unwrap_or_default()
    }

    /// Whether the party may look at every dossier's envelope, without content: operators and auditors.
    pub fn oversees(&self) -> bool {
        [Right::Operate, Right::Audit].iter().any(|right| self.require(*right, None).is_ok())
    }

    /// Whether the party may know that the dossier exists: it concerns it, or one whose successor it is.
    pub fn may_know(&self, dossier: &Dossier) -> bool {
        roles::concerns(dossier, &self.party, &self.registry, self.today)
    }

    /// As [`Authorized::may_know`], of a dossier of which only this is left: whom it concerned.
    pub fn may_know_of(&self, told: &[PartyId]) -> bool {
        told.iter().any(|told| *told == self.party || self.registry.succeeds(&self.party, told, self.today))
    }
}

/// Lets `peer` act for `party`, if the registry says so today.
///
/// # Errors
/// `SYSTEM_UNKNOWN`, `ACTS_FOR_MISSING`.
pub fn authorize(registry: &Arc<Registry>, peer: &Peer, party: &PartyId, today: Date) -> Result<Authorized, Refusal> {
    let keeper = |refusal| Owner::named_in(registry.keeper(today).as_ref(), refusal);
    let system = registry
        .system(peer.system(), today)
        .ok_or_else(|| keeper(Refusal::new(Reason::SystemUnknown).detail("system", peer.system())))?;
    if !registry.acts_for(system, party, today) {
        // The same whether or not there is such a party.
        let refusal = Refusal::new(Reason::ActsForMissing).detail("system", &system.name).detail("party", party);
        return Err(keeper(refusal));
    }
    Ok(Authorized { system: system.name.clone(), party: party.clone(), registry: Arc::clone(registry), today })
}

/// Certificates already on record: each is written once, before the first thing it signed.
#[derive(Debug, Default)]
pub struct SeenCertificates(Mutex<HashSet<Sha256Digest>>);

impl Engine {
    /// Lets `peer` act for `party` under the registry in force.
    ///
    /// # Errors
    /// As [`authorize`], and `REGISTRY_MISSING`.
    pub fn authorize(&self, peer: &Peer, party: &PartyId) -> Result<Authorized, Refusal> {
        authorize(&self.registry()?, peer, party, self.clock().now().date())
    }

    /// What the registry in force says about how much a system may call.
    pub fn quota_of_system(&self, name: &str) -> Quota {
        let registry = self.inner.registry.load();
        let system = registry.as_ref().and_then(|registry| registry.system(name, self.clock().now().date()));
        system.map(|system| system.quota).unwrap_or_default()
    }

    /// Puts the peer's certificate on record, so that its signatures can be checked for as long as the journal lives.
    pub(super) async fn remember_certificate(&self, peer: &Peer) -> Result<(), Refusal> {
        let digest = peer.certificate();
        let seen = &self.inner.certificates.0;
        if seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
            return Ok(());
        }
        if !self.inner.store.knows_certificate(&digest).await.map_err(read_failed)? {
            let der = Bytes::copy_from_slice(peer.leaf.certificate());
            let system = peer.system().to_owned();
            let commit = Commit::Certificate { digest, der, system };
            self.inner.store.commit(commit).await.map_err(|error| commit_failed(&error))?;
        }
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        Ok(())
    }
}
