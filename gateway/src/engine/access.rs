//! Who speaks, and in whose name.
//!
//! The certificate names a *system*; the registry says for which *parties* it may act and what each may do. Nothing is
//! allowed that is not written there. What a caller may not know exists is not found; what it knows but may not do names
//! the missing grant.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use lgsp_certs::verify::IssuerAndKey;
use lgsp_certs::{Identity, Purpose, SystemName, TrustDomain, VerifiedLeaf, Vouch};
use lgsp_domain::dossier::Dossier;
use lgsp_domain::registry::{Owner, Quota, Registry, Right, System};
use lgsp_domain::roles;
use lgsp_proto::types::{Date, PartyId, ProcedureCode, Sha256Digest};
use lgsp_proto::{Reason, Refusal};

use super::clock::machine_now;
use super::receipt::ReceiptSigner;
use super::{Engine, commit_failed, read_failed};
use crate::store::Commit;

/// Who is at the other end of a connection: what its verified certificate says, under a bundle that may say so.
///
/// Which system that is, is asked of the registry at every call, so that a binding that was entered or taken out counts at once.
#[derive(Clone, Debug)]
pub struct Peer {
    named: Named,
    leaf: Arc<VerifiedLeaf>,
    /// By whose word; without one, e.g. in a simulation, every word is good.
    vouch: Option<Vouch>,
    signer: Option<Arc<ReceiptSigner>>,
}

/// What a certificate names its holder by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Named {
    /// A system of this bus, by its name. No binding of the registry can say otherwise.
    System(SystemName),
    /// Some other SPIFFE id, in full; the registry says whose it is.
    Spiffe(String),
    /// No SPIFFE id: who issued it, for which key; the registry says whose it is.
    Key(IssuerAndKey),
}

impl Peer {
    /// The holder of a verified certificate that a bundle vouches for; `ours` is the trust domain of this bus.
    pub fn of(leaf: Arc<VerifiedLeaf>, ours: &TrustDomain) -> Self {
        let named = match leaf.identity() {
            Identity::Spiffe(id) if id.trust_domain() == ours => Named::System(id.system().clone()),
            Identity::Spiffe(id) => Named::Spiffe(id.to_string()),
            Identity::ForeignSpiffe(id) => Named::Spiffe(id.clone()),
            Identity::NoSpiffeId(binding) => Named::Key(binding.clone()),
        };
        Self { named, leaf, vouch: None, signer: None }
    }

    /// The same by the word of `vouch`, on a connection on which the gateway is known by the certificate that `signer` signs
    /// by.
    #[must_use]
    pub fn over(self, vouch: Vouch, signer: Arc<ReceiptSigner>) -> Self {
        Self { vouch: Some(vouch), signer: Some(signer), ..self }
    }

    /// What its certificate names it by.
    pub fn named(&self) -> &Named {
        &self.named
    }

    /// The system it is, by a registry and on a day.
    ///
    /// # Errors
    /// `SYSTEM_UNKNOWN`, with what an operator would bind to a system; `CERTIFICATE_NOT_VOUCHED` when the registry binds it to
    /// one that the bundle behind it may not speak for.
    pub fn system<'r>(&self, registry: &'r Registry, today: Date) -> Result<&'r System, Refusal> {
        let found = match &self.named {
            Named::System(name) => registry.system(name.as_str(), today),
            Named::Spiffe(id) => registry.system_by_spiffe(id, today),
            Named::Key(IssuerAndKey { issuer, key }) => registry.system_by_certificate(issuer, key, today),
        };
        let keeper = |refusal| Owner::named_in(registry.keeper(today).as_ref(), refusal);
        let system = found.ok_or_else(|| keeper(self.told(Refusal::new(Reason::SystemUnknown))))?;
        match &self.vouch {
            Some(vouch) if !system.name.parse().is_ok_and(|name| vouch.covers(&name)) => {
                let refusal = Refusal::new(Reason::CertificateNotVouched).detail("bundle", vouch.bundle());
                Err(self.told(refusal.detail("system", &system.name)))
            }
            _ => Ok(system),
        }
    }

    /// Adds what the certificate names its holder by, in the words in which the registry binds it.
    fn told(&self, refusal: Refusal) -> Refusal {
        match &self.named {
            Named::System(name) => refusal.detail("system", name),
            Named::Spiffe(id) => refusal.detail("spiffe_id", id),
            Named::Key(IssuerAndKey { issuer, key }) => {
                refusal.detail("issuer", issuer).detail("key_sha256", HEXLOWER.encode(key))
            }
        }
    }

    /// Its name, when it is a system of this bus by its certificate alone.
    pub fn own_name(&self) -> Option<&SystemName> {
        match &self.named {
            Named::System(name) => Some(name),
            Named::Spiffe(_) | Named::Key(_) => None,
        }
    }

    /// SHA-256 of its certificate.
    pub fn certificate(&self) -> Sha256Digest {
        Sha256Digest::from(*self.leaf.digest().as_bytes())
    }

    /// The certificate.
    pub fn leaf(&self) -> &VerifiedLeaf {
        &self.leaf
    }

    /// What signs receipts on this peer's connection: the key of the certificate that it knows the gateway by.
    pub(super) fn signer(&self) -> Option<&ReceiptSigner> {
        self.signer.as_deref()
    }

    /// Checks that this system's key signed `bytes` for `purpose`.
    ///
    /// # Errors
    /// `SIGNATURE_INVALID`.
    pub fn check_signature(&self, purpose: Purpose, bytes: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        let checked = self.leaf.verifying_key().verify(purpose, bytes, signature);
        checked.map_err(|_| self.told(Refusal::new(Reason::SignatureInvalid)))
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
        let held = self.registry.grant(&self.party, right, procedure, self.today);
        held.map(drop).map_err(|missing| self.explained(missing.refusal()))
    }

    /// The refusal with this system in the command that explains it, so that it says the same to whom it is passed on.
    pub(super) fn explained(&self, refusal: Refusal) -> Refusal {
        let Some(can_i) = refusal.details().get("can_i").map(|can_i| format!("{can_i} --system {}", self.system))
        else {
            return refusal;
        };
        refusal.detail("can_i", can_i)
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
/// Those of [`Peer::system`], `ACTS_FOR_MISSING`.
pub fn authorize(registry: &Arc<Registry>, peer: &Peer, party: &PartyId, today: Date) -> Result<Authorized, Refusal> {
    let keeper = |refusal| Owner::named_in(registry.keeper(today).as_ref(), refusal);
    let system = peer.system(registry, today).map_err(keeper)?;
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

    /// The name of the system that a peer is, for counting and for the log: a system of this bus by its certificate alone, another
    /// by the registry in force; `None` when nobody knows.
    pub fn system_of(&self, peer: &Peer) -> Option<String> {
        if let Named::System(name) = peer.named() {
            return Some(name.to_string());
        }
        self.system_in_force(peer)
    }

    /// Puts the certificate of a peer on record that the registry knows as a system, in the background: what a system was known
    /// by must be known when it is revoked, also of one that only reads. One that nothing knows yet is not written down: then
    /// this says `false`.
    pub(crate) fn note_certificate(&self, peer: &Peer) -> bool {
        let Some(system) = self.system_in_force(peer) else { return false };
        let (engine, peer) = (self.clone(), peer.clone());
        // Nobody waits for it; stopping does.
        drop(self.to_the_end(async move {
            let noted = engine.remember_certificate(&peer, &system).await;
            noted
                .inspect_err(|refusal| tracing::warn!(system, %refusal, "a certificate that was seen is not on record"))
        }));
        true
    }

    fn system_in_force(&self, peer: &Peer) -> Option<String> {
        let registry = self.registry().ok()?;
        peer.system(&registry, self.clock().now().date()).ok().map(|system| system.name.clone())
    }

    /// Whether the certificate is on record, as far as that is known without asking the store.
    pub(crate) fn has_seen(&self, peer: &Peer) -> bool {
        self.inner.certificates.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer.certificate())
    }

    /// Puts the certificate of a system on record, so that its signatures can be checked for as long as the journal lives.
    pub(super) async fn remember_certificate(&self, peer: &Peer, system: &str) -> Result<(), Refusal> {
        let digest = peer.certificate();
        if self.has_seen(peer) {
            return Ok(());
        }
        if !self.inner.store.knows_certificate(&digest).await.map_err(read_failed)? {
            let der = Bytes::copy_from_slice(peer.leaf.certificate());
            let system = system.to_owned();
            let commit = Commit::Certificate { digest, der, system, at: machine_now() };
            self.inner.store.commit(commit).await.map_err(|error| commit_failed(&error))?;
        }
        self.inner.certificates.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        Ok(())
    }
}
