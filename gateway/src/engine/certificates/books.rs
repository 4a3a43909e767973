//! Looking at certificates and tokens, and putting keys out of force.

use std::collections::BTreeSet;
use std::time::SystemTime;

use lgsp_certs::Identity;
use lgsp_domain::registry::Right;
use lgsp_proto::types::{ActorId, PartyId, Sha256Digest};
use lgsp_proto::{Reason, Refusal};
use rustls::pki_types::CertificateDer;

use super::super::access::Peer;
use super::super::clock::machine_now;
use super::super::{Engine, commit_failed, read_failed};
use super::TOKENS_SHOWN;
use super::lockout::Asker;
use crate::store::{
    CertificateCursor, CertificateQuery, CertificateRevoked, Commit, KEYS_MAX, KnownCertificate, OWN_NAME, ReadError,
    TokenIssued, TokenWithdrawn,
};

/// How many entries are read at a time.
const SLICE: usize = 500;

/// What is asked of the books.
#[derive(Clone, Debug)]
pub struct CertificatesAsked {
    /// Only this system's.
    pub system: Option<String>,
    /// Only those that expire before this.
    pub expiring_before: Option<SystemTime>,
    /// Expired and revoked ones as well.
    pub with_past: bool,
    /// At most so many.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<CertificateCursor>,
}

/// A page of certificates, and on the first one the tokens that are open.
#[derive(Clone, Debug)]
pub struct CertificatesPage {
    /// The certificates, the first to expire first.
    pub certificates: Vec<KnownCertificate>,
    /// The tokens, likewise.
    pub tokens: Vec<TokenIssued>,
    /// Where to go on.
    pub next: Option<CertificateCursor>,
}

/// What is to be put out of force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToRevoke {
    /// A certificate, and with it its key.
    Certificate(Sha256Digest),
    /// A key, seen or not.
    Key(Sha256Digest),
    /// Everything a system was known by so far: issued, seen, connected now, or bound in the registry.
    System(String),
}

/// What was put out of force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// The certificates that were known of the keys.
    pub certificates: Vec<Sha256Digest>,
    /// When.
    pub at: SystemTime,
    /// Open connections that were cut.
    pub connections_cut: u32,
    /// Open tokens of the system that were taken back.
    pub tokens_withdrawn: u32,
    /// Whether it had all been out of force before.
    pub repeated: bool,
}

/// Keys and their known certificates.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) keys: BTreeSet<Sha256Digest>,
    certificates: BTreeSet<Sha256Digest>,
}

impl Engine {
    /// Lists certificates, and tokens that are open.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `GRANT_MISSING` when somebody asks who may not certify, operate or audit, and not about its
    /// own system.
    pub async fn list_certificates(
        &self,
        peer: &Peer,
        party: &PartyId,
        asked: CertificatesAsked,
    ) -> Result<CertificatesPage, Refusal> {
        let authorized = self.authorize(peer, party)?;
        let oversees = authorized.require(Right::Certify, None);
        if !authorized.oversees() && asked.system != Some(self.caller(peer)?) {
            oversees?;
        }
        let now = machine_now();
        let CertificatesAsked { system, expiring_before, with_past, limit, after } = asked;
        let tokens = if after.is_none() {
            let open = self.inner.store.open_tokens(now, TOKENS_SHOWN).await.map_err(read_failed)?;
            let is_asked = |token: &TokenIssued| system.as_ref().is_none_or(|system| token.for_system == *system);
            open.into_iter().filter(is_asked).collect()
        } else {
            Vec::new()
        };
        let expiring_from = (!with_past).then_some(now);
        // Whoever asks what ends soon wants to know what nobody has renewed.
        let without_superseded = expiring_before.is_some() && !with_past;
        let query = CertificateQuery {
            system,
            expiring_from,
            expiring_before,
            with_revoked: with_past,
            without_superseded,
            limit,
            after,
        };
        let page = self.inner.store.certificates(&query).await.map_err(read_failed)?;
        Ok(CertificatesPage { certificates: page.certificates, tokens, next: page.next })
    }

    /// Puts keys out of force, and takes back the open tokens when a system is meant. Durable, and every connection of theirs on
    /// this node told to end, when it returns `Ok`. Who is known is cut before anything is written. What would cost the bus its CA,
    /// its own key or the last of those who keep it in order is done `despite_lockout` only.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], `GRANT_MISSING`, `CERTIFICATE_NOT_FOUND`; `REVOCATION_LOCKS_OUT`, after which no key is
    /// out of force; those of reading and of a commit, with `out_of_force` and `connections_cut`: what was found by then is out of
    /// force until the next start at least. Say it again. The tokens may be taken back in part.
    pub async fn revoke(
        &self,
        peer: &Peer,
        party: &PartyId,
        actor: &ActorId,
        what: ToRevoke,
        ground: String,
        despite_lockout: bool,
    ) -> Result<Revoked, Refusal> {
        self.authorize(peer, party)?.require(Right::Certify, None)?;
        let draft = CertificateRevoked {
            keys: Vec::new(),
            certificates: Vec::new(),
            for_system: match &what {
                ToRevoke::System(system) => Some(system.clone()),
                ToRevoke::Certificate(_) | ToRevoke::Key(_) => None,
            },
            ground,
            party: party.clone(),
            actor: actor.clone(),
            system: self.caller(peer)?,
            at: machine_now(),
        };
        let (engine, asker) = (self.clone(), self.asker(peer, despite_lockout));
        self.to_the_end(async move { engine.revoke_now(&what, draft, &asker).await }).await
    }

    async fn revoke_now(&self, what: &ToRevoke, draft: CertificateRevoked, asker: &Asker) -> Result<Revoked, Refusal> {
        let (known, mut cut) = self.cut_at_once(what, asker).await?;
        let recorded = self.revoke_on_record(what, known, &draft, &mut cut).await;
        recorded.map_err(|refusal| {
            if refusal.reason() == Reason::CertificateNotFound {
                return refusal;
            }
            tracing::error!(%refusal, connections_cut = cut, "a revocation is not, or not wholly, on record");
            // Its own words say that nothing was done.
            refusal.detail("connections_cut", cut).detail("out_of_force", "until_restart")
        })
    }

    /// Puts out of force what is known of those meant, whatever the disk takes and whoever is writing: each may be a thief's, and
    /// nothing takes it back. The keys, and how many connections of theirs were told to end.
    async fn cut_at_once(&self, what: &ToRevoke, asker: &Asker) -> Result<(BTreeSet<Sha256Digest>, u32), Refusal> {
        // Of two who take each other out at once, the second finds itself to be the last.
        let _alone = self.inner.cutting.lock().await;
        let mut keys = self.known_in_memory(what)?;
        // A record that cannot be read keeps nobody in.
        if let Ok(found) = self.meant(what, keys.clone()).await {
            keys = found.keys;
        }
        match self.locks_nobody_out(&keys, asker).await {
            Err(refusal) if refusal.reason() == Reason::RevocationLocksOut => return Err(refusal),
            Ok(()) | Err(_) => {}
        }
        let cut = self.connections().revoke(keys.iter().map(|key| *key.as_bytes()));
        Ok((keys, cut))
    }

    async fn revoke_on_record(
        &self,
        what: &ToRevoke,
        known: BTreeSet<Sha256Digest>,
        draft: &CertificateRevoked,
        cut: &mut u32,
    ) -> Result<Revoked, Refusal> {
        // Before it is looked who came in by one: that has its certificate on record by then. A token that cannot be taken back
        // keeps no key in force.
        let withdrawn = match what {
            ToRevoke::System(system) => self.withdraw_tokens_of(system, draft).await,
            ToRevoke::Certificate(_) | ToRevoke::Key(_) => Ok(0),
        };
        // One at a time, so that what is said twice at once is recorded once; and no certificate is issued meanwhile, or a key
        // that is being taken away could leave another behind that nobody looked for.
        let _alone = self.inner.revoking.write().await;
        let Keys { keys, certificates } = match self.meant(what, known).await {
            // One that never came onto the bus has nothing but its tokens.
            Err(refusal)
                if refusal.reason() == Reason::CertificateNotFound && withdrawn.as_ref().is_ok_and(|n| *n > 0) =>
            {
                Keys::default()
            }
            found => found?,
        };
        *cut += self.connections().revoke(keys.iter().map(|key| *key.as_bytes()));
        let (mut fresh, mut earliest) = (Vec::new(), draft.at);
        for key in keys {
            match self.inner.store.revocation(&key).await.map_err(read_failed)? {
                Some(before) => earliest = earliest.min(before.at),
                None => fresh.push(key),
            }
        }
        for keys in fresh.chunks(KEYS_MAX) {
            let of_these = self.known_of(keys).await.map_err(read_failed)?;
            let record = CertificateRevoked { keys: keys.to_vec(), certificates: of_these, ..draft.clone() };
            let committed = self.inner.store.commit(Commit::CertificateRevoked(record)).await;
            committed.map_err(|error| commit_failed(&error))?;
        }
        let (tokens_withdrawn, connections_cut) = (withdrawn?, *cut);
        let certificates: Vec<_> = certificates.into_iter().collect();
        if fresh.is_empty() {
            let repeated = tokens_withdrawn == 0;
            return Ok(Revoked { certificates, at: earliest, connections_cut, tokens_withdrawn, repeated });
        }
        tracing::warn!(keys = fresh.len(), connections_cut, tokens_withdrawn, ground = draft.ground, "keys revoked");
        Ok(Revoked { certificates, at: draft.at, connections_cut, tokens_withdrawn, repeated: false })
    }

    /// The keys that are meant as far as no record has to be read for it.
    fn known_in_memory(&self, what: &ToRevoke) -> Result<BTreeSet<Sha256Digest>, Refusal> {
        match what {
            ToRevoke::Key(key) => Ok(BTreeSet::from([*key])),
            ToRevoke::System(system) => self.connected_and_bound(system),
            ToRevoke::Certificate(digest) => {
                let peers = self.connections().peers();
                let its = peers.iter().filter(|(_, peer)| peer.certificate() == *digest);
                Ok(its.map(|(key, _)| Sha256Digest::from(*key)).collect())
            }
        }
    }

    /// Takes back the tokens of a system that are open; how many there were.
    async fn withdraw_tokens_of(&self, system: &str, draft: &CertificateRevoked) -> Result<u32, Refusal> {
        let mut limit = TOKENS_SHOWN;
        let open = loop {
            let open = self.inner.store.open_tokens(draft.at, limit).await.map_err(read_failed)?;
            if open.len() < limit {
                break open;
            }
            limit *= 2;
        };
        let mut count = 0;
        for token in open.iter().filter(|token| token.for_system == system) {
            let CertificateRevoked { party, actor, system, at, .. } = draft.clone();
            match self.withdraw_now(TokenWithdrawn { id: token.id, party, actor, system, at }).await {
                Ok((_, repeated)) => count += u32::from(!repeated),
                // Spent a moment ago: the certificate it was spent on is among those revoked next.
                Err(refusal) if refusal.reason() == Reason::TokenSpent => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(count)
    }

    /// The keys that are meant, with those that are `known` already: their connections, by which they were, may be gone by now.
    pub(super) async fn meant(&self, what: &ToRevoke, known: BTreeSet<Sha256Digest>) -> Result<Keys, Refusal> {
        let not_found = || Refusal::new(Reason::CertificateNotFound);
        let store = &self.inner.store;
        let (mut found, now) = (Keys { keys: known, ..Keys::default() }, machine_now());
        match what {
            ToRevoke::Certificate(digest) => {
                let known = store.known_certificate(digest).await.map_err(read_failed)?;
                found.keys.extend(known.map(|known| known.key));
                if found.keys.is_empty() {
                    return Err(not_found());
                }
            }
            ToRevoke::Key(_) => {}
            ToRevoke::System(system) => {
                let mut after = None;
                loop {
                    let slice = store.certificates_of_system(system, after.as_ref(), SLICE).await;
                    let slice = slice.map_err(read_failed)?;
                    let is_last = slice.len() < SLICE;
                    after = slice.last().map(|(digest, _)| *digest);
                    for (digest, key) in slice {
                        let known = store.known_certificate(&digest).await.map_err(read_failed)?;
                        // What has expired opens nothing any more, and there may be years of it. Another CA may certify the
                        // same key again.
                        let is_over = known.is_some_and(|known| known.issued_here && known.not_after < now);
                        found.keys.extend((!is_over).then_some(key));
                    }
                    if is_last {
                        break;
                    }
                }
                found.keys.extend(self.connected_and_bound(system)?);
                found.keys.extend(self.bound_by_id(system, now).await?);
                if found.keys.is_empty() {
                    return Err(not_found().detail("system", system));
                }
            }
        }
        let keys: Vec<_> = found.keys.iter().copied().collect();
        found.certificates.extend(self.known_of(&keys).await.map_err(read_failed)?);
        Ok(found)
    }

    /// Keys of a system that need not be on record: those of its connections, whose certificates may be on their way there or were
    /// first seen as another's, and those that the registry binds to it.
    fn connected_and_bound(&self, name: &str) -> Result<BTreeSet<Sha256Digest>, Refusal> {
        let (registry, today) = (self.registry()?, self.clock().now().date());
        let is_its = |peer: &Peer| peer.system(&registry, today).is_ok_and(|system| system.name == name);
        let peers = self.connections().peers();
        let connected = peers.iter().filter(|(_, peer)| is_its(peer)).map(|(key, _)| Sha256Digest::from(*key));
        let systems = registry.systems().filter(|system| system.name == name);
        let bound = systems.flat_map(|system| &system.certificates).map(|bound| Sha256Digest::from(bound.key_sha256.0));
        Ok(connected.chain(bound).collect())
    }

    /// Keys in certificates on record, not expired, whose SPIFFE id the registry binds to a system now: they may have been first
    /// seen when it bound them to another.
    async fn bound_by_id(&self, name: &str, now: SystemTime) -> Result<BTreeSet<Sha256Digest>, Refusal> {
        let registry = self.registry()?;
        let systems = registry.systems().filter(|system| system.name == name);
        let ids: BTreeSet<&str> = systems.flat_map(|system| &system.spiffe_ids).map(String::as_str).collect();
        let (mut keys, store) = (BTreeSet::new(), &self.inner.store);
        let mut query = CertificateQuery {
            expiring_from: Some(now),
            with_revoked: true,
            limit: SLICE,
            ..CertificateQuery::default()
        };
        while !ids.is_empty() {
            let page = store.certificates(&query).await.map_err(read_failed)?;
            for known in page.certificates.into_iter().filter(|known| !known.issued_here) {
                let der = store.certificate(&known.digest).await.map_err(read_failed)?;
                let identity = der.and_then(|der| Identity::of(&CertificateDer::from(&*der)).ok());
                let is_its = match identity {
                    Some(Identity::Spiffe(id)) => ids.contains(id.to_string().as_str()),
                    Some(Identity::ForeignSpiffe(id)) => ids.contains(id.as_str()),
                    Some(Identity::NoSpiffeId(_)) | None => false,
                };
                keys.extend(is_its.then_some(known.key));
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        Ok(keys)
    }

    /// Has its turn as a revocation does that looks whom it would lock out, until it is dropped.
    #[cfg(feature = "test-util")]
    pub async fn as_if_cutting(&self) -> impl Drop + '_ {
        self.inner.cutting.lock().await
    }

    /// Waits as a revocation does, and keeps certificates from being recorded until it is dropped.
    #[cfg(feature = "test-util")]
    pub async fn as_if_revoking(&self) -> impl Drop + '_ {
        self.inner.revoking.write().await
    }

    async fn known_of(&self, keys: &[Sha256Digest]) -> Result<Vec<Sha256Digest>, ReadError> {
        let mut known = Vec::new();
        for key in keys {
            known.extend(self.inner.store.certificates_of_key(key, SLICE).await?);
        }
        Ok(known)
    }

    /// Puts every key out of force that is revoked on record. Asked before the first connection is accepted.
    pub(in crate::engine) async fn recall_revoked(&self) -> Result<(), ReadError> {
        let mut after = None;
        loop {
            let slice = self.inner.store.revoked_keys(after.as_ref(), SLICE).await?;
            self.connections().revoke(slice.iter().map(|key| *key.as_bytes()));
            if slice.len() < SLICE {
                return Ok(());
            }
            after = slice.last().copied();
        }
    }
}

impl KnownCertificate {
    /// The system's name as callers see it: none for the gateway's own.
    pub fn system_told(&self) -> &str {
        if self.system == OWN_NAME { "" } else { &self.system }
    }
}
