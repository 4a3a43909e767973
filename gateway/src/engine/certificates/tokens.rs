//! Join tokens: issued by those who may let systems onto the bus, and taken back by them.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use jiff::Timestamp;
use lgsp_certs::SystemName;
use lgsp_domain::registry::{PartyPattern, Registry, Right};
use lgsp_proto::types::{ActorId, JoinToken, PartyId};
use lgsp_proto::{Reason, Refusal, Wrong};
use zeroize::Zeroizing;

use super::super::access::{Authorized, Peer};
use super::super::clock::machine_now;
use super::super::lanes::Lane;
use super::super::registry::{By, Proposal, Terms};
use super::super::{Engine, commit_failed, read_failed};
use super::{sha256, system_entry};
use crate::store::{Commit, TokenId, TokenIssued, TokenState, TokenWithdrawn};

/// How often a system is entered anew when somebody else applies a registry at the same time.
const ATTEMPTS: usize = 5;

/// A token that is asked for.
#[derive(Clone, Debug)]
pub struct TokenWanted {
    /// The system that will join.
    pub system: SystemName,
    /// For which parties it shall act; for a new one.
    pub acts_for: Vec<PartyPattern>,
    /// What it is, for people; for a new one.
    pub description: String,
    /// How long the token is good, if not for the usual time.
    pub valid: Option<Duration>,
}

/// A token, told once.
#[derive(Debug)]
pub struct NewToken {
    /// The token.
    pub token: JoinToken,
    /// Until when it is good.
    pub expires_at: SystemTime,
    /// The registry version that entered the system; 0 when it was there.
    pub registry_version: u64,
}

/// Who orders.
struct Order {
    peer: Peer,
    system: String,
    party: PartyId,
    actor: ActorId,
}

impl Engine {
    /// Issues a token. An unknown system is in the registry before the token exists.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], `GRANT_MISSING`, `CA_NOT_CONFIGURED`, `FIELD_INVALID`, those of applying a registry and of
    /// a commit. After one of the latter the system may be in the registry, and there is no token.
    pub async fn issue_token(
        &self,
        peer: &Peer,
        party: &PartyId,
        actor: &ActorId,
        wanted: TokenWanted,
    ) -> Result<NewToken, Refusal> {
        let authorized = self.authorize(peer, party)?;
        authorized.require(Right::Certify, None)?;
        let (system, party, actor) = (authorized.system().to_owned(), party.clone(), actor.clone());
        let order = Order { peer: peer.clone(), system, party, actor };
        let engine = self.clone();
        self.to_the_end(async move { engine.issue_token_now(order, wanted).await }).await
    }

    async fn issue_token_now(&self, order: Order, wanted: TokenWanted) -> Result<NewToken, Refusal> {
        let certifying = self.certifying()?;
        let authority = certifying.authority()?;
        // A token that nobody can join with is none.
        let _ = self.issuer().await?;
        let no_door = || Refusal::new(Reason::CaNotConfigured).detail("key", "listen.enrol");
        let url = certifying.doors.enrolment_url.as_deref().ok_or_else(no_door)?;
        let trust = certifying.trust.read().await?;
        let registry_version = self.enter_system(&order, &wanted).await?;

        let at = machine_now();
        let expires_at = at + wanted.valid.unwrap_or_else(|| authority.token_valid());
        let (mut id, mut secret) = (TokenId::default(), Zeroizing::new([0; 32]));
        let drawn = rand::fill(&mut id).and_then(|()| rand::fill(&mut *secret));
        drawn.map_err(|_| internal("the system gives no random bytes"))?;
        let secret_sha256 = sha256(&*secret);
        let roots = trust.roots.iter().map(|root| *sha256(root).as_bytes()).collect();
        let told_until = Timestamp::try_from(expires_at).map_err(|_| internal("the clock is out of this world"))?;
        let server_name = certifying.doors.server_name.as_deref();
        let token = JoinToken::new(url, server_name, roots, id, secret, wanted.system.as_str(), told_until);
        let token = token.map_err(|malformed| internal(&malformed.to_string()))?;

        let Order { system, party, actor, .. } = order;
        let for_system = wanted.system.to_string();
        let issued = TokenIssued { id, secret_sha256, for_system, expires_at, party, actor, system, at };
        self.inner.store.commit(Commit::TokenIssued(issued)).await.map_err(|error| commit_failed(&error))?;
        tracing::info!(for_system = %wanted.system, "join token issued");
        Ok(NewToken { token, expires_at, registry_version })
    }

    /// Sees to it that the system is in the registry; the version that entered it, or 0.
    async fn enter_system(&self, order: &Order, wanted: &TokenWanted) -> Result<u64, Refusal> {
        let name = wanted.system.as_str();
        let mut entered = 0;
        for _ in 0..=ATTEMPTS {
            // Each time anew: a right that was taken away meanwhile enters nobody.
            let authorized = self.authorize(&order.peer, &order.party)?;
            authorized.require(Right::Certify, None)?;
            let registry = authorized.registry();
            if let Some(system) = registry.system(name, self.clock().now().date()) {
                let texts =
                    |patterns: &[PartyPattern]| patterns.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
                if !wanted.acts_for.is_empty() && texts(&wanted.acts_for) != texts(&system.acts_for) {
                    let what = Wrong::new(
                        "khác với sổ đăng ký về hệ thống này; bỏ trống, hoặc sửa systems.toml trước",
                        "is not what the registry has for this system; leave it out, or change systems.toml first",
                    );
                    return Err(Refusal::new(Reason::FieldInvalid).field("acts_for", what));
                }
                require_what_they_may(&authorized, |party| registry.acts_for(system, party, authorized.today()))?;
                return Ok(entered);
            }
            authorized.require(Right::Registry, None)?;
            if wanted.acts_for.is_empty() {
                let what = Wrong::new(
                    "bị thiếu: hệ thống chưa có trong sổ đăng ký và phải thay mặt một cơ quan",
                    "is missing: the system is not in the registry, and has to act for somebody",
                );
                return Err(Refusal::new(Reason::FieldInvalid).field("acts_for", what));
            }
            are_parties(registry, &wanted.acts_for)?;
            require_what_they_may(&authorized, |party| wanted.acts_for.iter().any(|pattern| pattern.matches(party)))?;
            let record = self.inner.store.registry(None).await.map_err(read_failed)?;
            let record = record.ok_or_else(|| Refusal::new(Reason::RegistryMissing))?;
            let base = record.version.number;
            let description = if wanted.description.is_empty() { name } else { &wanted.description };
            let files = system_entry::enter(record.files, name, description, &wanted.acts_for);
            match self.enter_files(order, files, base).await {
                // What it may now is asked once more, of the registry that has it.
                Ok(version) => entered = version,
                // Somebody else has applied one meanwhile, perhaps with this very system.
                Err(refusal) if refusal.reason() == Reason::StaleVersion => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::new(Reason::StaleVersion))
    }

    async fn enter_files(
        &self,
        order: &Order,
        files: Vec<lgsp_proto::v1::RegistryFile>,
        base: u64,
    ) -> Result<u64, Refusal> {
        let Order { peer, system, party, actor } = order;
        let caller = Some((peer.clone(), party.clone()));
        let by = By { system: system.clone(), actor: actor.clone(), caller };
        let terms = Terms { base_version: base, accept_lock_out: false };
        let (version, _) = self.apply_now(&by, Proposal::Files(files), terms).await?;
        Ok(version.number)
    }

    /// Takes a token back; when it was, and whether it had been before.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], `GRANT_MISSING`, `TOKEN_NOT_FOUND`, `TOKEN_SPENT`, those of a commit.
    pub async fn withdraw_token(
        &self,
        peer: &Peer,
        party: &PartyId,
        actor: &ActorId,
        id: TokenId,
    ) -> Result<(SystemTime, bool), Refusal> {
        self.authorize(peer, party)?.require(Right::Certify, None)?;
        let (party, actor, system) = (party.clone(), actor.clone(), self.caller(peer)?);
        let withdrawn = TokenWithdrawn { id, party, actor, system, at: machine_now() };
        let engine = self.clone();
        self.to_the_end(async move { engine.withdraw_now(withdrawn).await }).await
    }

    pub(super) async fn withdraw_now(&self, withdrawn: TokenWithdrawn) -> Result<(SystemTime, bool), Refusal> {
        let _held = self.inner.lanes.hold([Lane::Token(&withdrawn.id)]).await;
        let token = self.inner.store.token(&withdrawn.id).await.map_err(read_failed)?;
        match token.ok_or_else(|| Refusal::new(Reason::TokenNotFound))?.state {
            TokenState::Withdrawn(at) => Ok((at, true)),
            TokenState::Spent(issued) => {
                let refusal = Refusal::new(Reason::TokenSpent).detail("system", &issued.for_system);
                Err(refusal.detail("certificate_sha256", issued.digest))
            }
            TokenState::Open => {
                let at = withdrawn.at;
                let commit = Commit::TokenWithdrawn(withdrawn);
                self.inner.store.commit(commit).await.map_err(|error| commit_failed(&error))?;
                tracing::info!("join token withdrawn");
                Ok((at, false))
            }
        }
    }
}

/// Sees to it that every pattern means somebody, before the registry's files would be said to be at fault for it.
///
/// # Errors
/// `PARTY_UNKNOWN`, with each that does not.
fn are_parties(registry: &Registry, patterns: &[PartyPattern]) -> Result<(), Refusal> {
    let is_nobody = |pattern: &PartyPattern| !registry.parties().any(|party| pattern.matches(&party.id));
    let nobody = patterns.iter().enumerate().filter(|(_, pattern)| is_nobody(pattern));
    let refused = nobody.fold(None, |refused: Option<Refusal>, (at, pattern)| {
        let refusal = refused.unwrap_or_else(|| Refusal::new(Reason::PartyUnknown));
        let wrong = Wrong::new(
            format!("{pattern} không ứng với cơ quan nào trong sổ đăng ký; xem `lgsp registry show party`"),
            format!("{pattern} is no party of the registry; see `lgsp registry show party`"),
        );
        Some(refusal.field(format!("acts_for[{at}]"), wrong))
    });
    refused.map_or(Ok(()), Err)
}

/// Whoever hands out a token could use it: of what administers the bus, a token gives nothing that its issuer has not. `is_acted_for`
/// says whom the token's system will act for.
fn require_what_they_may(authorized: &Authorized, is_acted_for: impl Fn(&PartyId) -> bool) -> Result<(), Refusal> {
    for right in [Right::Registry, Right::Operate, Right::Audit, Right::Certify] {
        if authorized.registry().parties_with(right, authorized.today()).any(&is_acted_for) {
            authorized.require(right, None)?;
        }
    }
    Ok(())
}

fn internal(why: &str) -> Refusal {
    tracing::error!(why, "a join token could not be made");
    Refusal::new(Reason::Internal)
}
