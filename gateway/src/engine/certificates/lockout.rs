//! Who could still keep the bus in order: asked before keys are put out of force, and before a registry takes the place of another.
//!
//! A system counts by what the books know: a certificate that has not expired, a connection that is open, or a key that the
//! registry binds, and none of it revoked. Whether a bundle would still let it in is not asked.

use std::collections::BTreeSet;

use lgsp_domain::registry::{Registry, keepers, kept_by};
use lgsp_proto::types::Sha256Digest;
use lgsp_proto::{Reason, Refusal};

use super::super::Engine;
use super::super::access::Peer;
use super::ToRevoke;

/// What becomes of it, in English and Vietnamese, when these keys go.
const ISSUING_CA: &str = "every certificate under it is out at once, and none is issued or renewed until [ca] dir holds another CA / \
                          mọi chứng thư thuộc CA này hết hiệu lực ngay, không cấp và không gia hạn cho tới khi [ca] dir có CA khác";
const YOUR_CA: &str = "every certificate under it is out at once, your own as well / \
                       mọi chứng thư thuộc CA này hết hiệu lực ngay, kể cả chứng thư đang dùng để gọi lệnh này";
const OWN_KEY: &str = "the gateway shows it until its certificate is replaced, and systems learn of it by a revocation list only / \
                       trục vẫn dùng khoá này cho tới khi thay chứng thư, các hệ thống chỉ biết qua danh sách thu hồi";

/// Who asks for a revocation, as far as it could shut itself out.
#[derive(Clone, Debug, Default)]
pub(super) struct Asker {
    /// The keys of the CAs behind its certificate, root included.
    behind: Vec<Sha256Digest>,
    /// Whether it means that as well.
    pub(super) despite_lockout: bool,
}

impl Engine {
    pub(super) fn asker(&self, peer: &Peer, despite_lockout: bool) -> Asker {
        let mut behind: Vec<_> = peer.leaf().chain_keys().iter().skip(1).copied().collect();
        let in_force = self.certifying().ok().and_then(super::Certifying::in_force);
        behind.extend(in_force.iter().flat_map(|in_force| in_force.bundles.anchor_keys(peer.leaf().chain())));
        Asker { behind: behind.into_iter().map(Sha256Digest::from).collect(), despite_lockout }
    }

    /// Refuses to put keys out of force without which the bus, or those who keep it in order, could not go on.
    ///
    /// # Errors
    /// `REVOCATION_LOCKS_OUT`, with what would happen; unless it is meant so.
    pub(super) async fn locks_nobody_out(&self, keys: &BTreeSet<Sha256Digest>, asker: &Asker) -> Result<(), Refusal> {
        let keys: BTreeSet<_> = keys.iter().filter(|key| !self.connections().is_revoked(key.as_bytes())).collect();
        if asker.despite_lockout || keys.is_empty() {
            return Ok(());
        }
        let issuer = self.issuer().await.ok();
        let own = self.certifying().ok().and_then(super::Certifying::in_force).map(|in_force| in_force.own_key);
        let goes = |key: [u8; 32]| keys.contains(&Sha256Digest::from(key));
        let mut told = Vec::new();
        if issuer.is_some_and(|issuer| issuer.keys.into_iter().any(goes)) {
            told.push(("issuing_ca", ISSUING_CA.to_owned()));
        } else if asker.behind.iter().any(|key| keys.contains(key)) {
            told.push(("your_ca", YOUR_CA.to_owned()));
        }
        if own.is_some_and(goes) {
            told.push(("own_key", OWN_KEY.to_owned()));
        }
        let (registry, today) = (self.registry()?, self.clock().now().date());
        let before = self.keepers_with_a_key(&[&registry], |_| true).await?;
        let after = self.keepers_with_a_key(&[&registry], |key| !keys.contains(key)).await?;
        let after = kept_by(&registry, today, |system| after.contains(system));
        let lost = kept_by(&registry, today, |system| before.contains(system));
        let lost: Vec<_> =
            lost.into_iter().filter(|right| !after.contains(right)).map(|right| right.as_str()).collect();
        if !lost.is_empty() {
            told.push(("nobody_could", lost.join(",")));
        }
        if told.is_empty() {
            return Ok(());
        }
        let refusal = Refusal::new(Reason::RevocationLocksOut);
        Err(told.into_iter().fold(refusal, |refusal, (key, what)| refusal.detail(key, what)))
    }

    /// Of the systems that may keep the bus in order by any of these registries, those with a key in force that `counts`.
    pub(in crate::engine) async fn keepers_with_a_key(
        &self,
        registries: &[&Registry],
        counts: impl Fn(&Sha256Digest) -> bool,
    ) -> Result<BTreeSet<String>, Refusal> {
        let today = self.clock().now().date();
        let names: BTreeSet<&str> = registries.iter().flat_map(|registry| keepers(registry, today)).collect();
        let mut able = BTreeSet::new();
        for name in names {
            let known = match self.meant(&ToRevoke::System(name.to_owned()), BTreeSet::new()).await {
                Ok(known) => known.keys,
                Err(refusal) if refusal.reason() == Reason::CertificateNotFound => BTreeSet::new(),
                Err(refusal) => return Err(refusal),
            };
            let systems =
                registries.iter().flat_map(|registry| registry.systems()).filter(|system| system.name == name);
            let bound = systems.flat_map(|system| &system.certificates);
            let mut keys = known.into_iter().chain(bound.map(|bound| Sha256Digest::from(bound.key_sha256.0)));
            if keys.any(|key| counts(&key) && !self.connections().is_revoked(key.as_bytes())) {
                able.insert(name.to_owned());
            }
        }
        Ok(able)
    }
}
