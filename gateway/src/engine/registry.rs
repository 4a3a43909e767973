//! The declared registry: planned, applied as a whole, kept by version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_domain::registry::{self, AuthorityChange, Change, ChangeKind, Problem, Registry, Right};
use lgsp_proto::types::{ActorId, Date, PartyId};
use lgsp_proto::{Reason, Refusal, Wrong, v1};

use super::access::{Authorized, Peer, authorize};
use super::clock::machine_now;
use super::lanes::Lane;
use super::receipt::machine_timestamp;
use super::{Engine, StartError, commit_failed, read_failed};
use crate::store::{CertificateQuery, Commit, RegistryRecord, Store};

/// Systems that would be gone and whose certificates are looked for; with more, nobody reads the warnings one by one.
const SYSTEMS_LOOKED_AT: usize = 1_000;

/// What is to become the registry in force.
#[derive(Debug)]
pub enum Proposal {
    /// These files.
    Files(Vec<v1::RegistryFile>),
    /// The files of this earlier version.
    RollBackTo(u64),
}

/// On what terms a proposal is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// The version it was planned against, which must still be in force; 0 for none.
    pub base_version: u64,
    /// Whether it is applied even if it locks somebody out.
    pub accept_lock_out: bool,
}

/// Who applies a registry.
#[derive(Debug)]
pub(super) struct By {
    pub(super) system: String,
    pub(super) actor: ActorId,
    /// The peer, and in whose name; `None` for the node itself.
    pub(super) caller: Option<(Peer, PartyId)>,
}

/// A right that would be out of reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockOut {
    /// Which.
    pub right: Right,
    /// Whether nobody at all could use it; else only the caller could not.
    pub for_everybody: bool,
}

/// What applying a proposal would change, or why it cannot be applied.
#[derive(Debug, Default)]
pub struct Plan {
    /// Every problem; empty when it can be applied.
    pub problems: Vec<Problem>,
    /// What would change against the version in force.
    pub changes: Vec<Change>,
    /// Who would gain or lose what, today.
    pub authority: Vec<AuthorityChange>,
    /// What would be out of reach.
    pub lock_outs: Vec<LockOut>,
    /// Systems that would be gone, and when the last of their certificates that are in force ends: a warning.
    pub still_certified: Vec<(String, SystemTime)>,
    /// That version; 0 when there is none.
    pub base_version: u64,
}

/// The registry in force at start.
pub(super) async fn in_force(store: &dyn Store) -> Result<Option<Registry>, StartError> {
    let Some(record) = store.registry(None).await? else { return Ok(None) };
    let version = record.version.number;
    let parsed = Registry::parse(&by_name(&record.files));
    let parsed = parsed.map_err(|problems| StartError::Registry {
        version,
        problems: problems.len(),
        first: problems.first().map_or_else(String::new, ToString::to_string),
    });
    Ok(Some(parsed?.with_version(version)))
}

impl Engine {
    /// The files of a version; `None` for the one in force. Who neither keeps the registry nor operates or audits is not told who
    /// applied it.
    ///
    /// # Errors
    /// `REGISTRY_VERSION_UNKNOWN`, `REGISTRY_MISSING`, and those of [`Engine::authorize`]; `GRANT_MISSING` for an earlier version
    /// than the one in force, unless one may know who applied it.
    pub async fn read_registry(
        &self,
        peer: &Peer,
        party: &PartyId,
        version: Option<u64>,
    ) -> Result<RegistryRecord, Refusal> {
        let authorized = self.authorize(peer, party)?;
        let keeps = if authorized.oversees() { Ok(()) } else { authorized.require(Right::Registry, None).map(drop) };
        if let Some(version) = version
            && version < authorized.registry().version()
        {
            keeps.clone()?;
        }
        let record = self.inner.store.registry(version).await.map_err(read_failed)?;
        let mut record = record.ok_or_else(|| match version {
            Some(number) => unknown(number),
            None => Refusal::new(Reason::RegistryMissing),
        })?;
        if keeps.is_err() {
            let version = &mut record.version;
            for who in [&mut version.applied_by_system, &mut version.actor, &mut version.acting_party] {
                who.clear();
            }
            version.accepted_lock_out.clear();
        }
        Ok(record)
    }

    /// The versions applied before `before`, newest first: at most `most`, and fewer where their files are large. With them the
    /// number before which the next ones are, if there are more.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `GRANT_MISSING` for who neither keeps the registry nor operates or audits: it names operators.
    pub async fn registry_versions(
        &self,
        peer: &Peer,
        party: &PartyId,
        before: Option<u64>,
        most: usize,
    ) -> Result<(Vec<v1::RegistryVersion>, Option<u64>), Refusal> {
        /// A version is read with its files; so many bytes of them for one answer.
        const BYTES_READ: usize = 32 << 20;
        let authorized = self.authorize(peer, party)?;
        if !authorized.oversees() {
            authorized.require(Right::Registry, None)?;
        }
        let newest = authorized.registry().version();
        let mut next = before.map_or(newest, |before| before.saturating_sub(1).min(newest));
        let (mut versions, mut bytes) = (Vec::new(), 0);
        while next > 0 && versions.len() < most && bytes < BYTES_READ {
            let record = self.inner.store.registry(Some(next)).await.map_err(read_failed)?;
            let record = record.ok_or_else(|| unknown(next))?;
            bytes += record.files.iter().map(|file| file.content.len()).sum::<usize>();
            versions.push(record.version);
            next -= 1;
        }
        Ok((versions, (next > 0).then_some(next + 1)))
    }

    /// What applying a proposal would change, for whom, or every problem it has. Changes nothing.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], `GRANT_MISSING`, `REGISTRY_VERSION_UNKNOWN`.
    pub async fn plan_registry(&self, peer: &Peer, party: &PartyId, proposal: Proposal) -> Result<Plan, Refusal> {
        let authorized = self.authorize(peer, party)?;
        authorized.require(Right::Registry, None)?;
        let (files, _) = self.files_of(proposal).await?;
        let (engine, comparing) = (self.clone(), authorized.clone());
        // Comparing all that everybody may do takes a while, and the threads of the runtime serve the others.
        let planned = tokio::task::spawn_blocking(move || engine.plan_of(&comparing, &files)).await;
        let (mut plan, planned) = planned.map_err(|panicked| {
            tracing::error!(%panicked, "a plan panicked");
            Refusal::new(Reason::Internal)
        })?;
        let Some(planned) = planned else { return Ok(plan) };
        let (current, today) = (authorized.registry(), authorized.today());
        let lock_outs = self.lock_outs(current, &planned, Some((peer, party)), today).await?;
        plan.lock_outs = lock_outs;
        let gone = plan.changes.iter().filter(|change| change.entity == "system" && change.kind == ChangeKind::Removed);
        for system in gone.take(SYSTEMS_LOOKED_AT) {
            if let Some(until) = self.certified_until(&system.id).await? {
                plan.still_certified.push((system.id.clone(), until));
            }
        }
        Ok(plan)
    }

    /// When the last certificate of `system` ends that is in force, if there is one.
    async fn certified_until(&self, system: &str) -> Result<Option<SystemTime>, Refusal> {
        let (mut until, mut after) = (None, None);
        loop {
            let query = CertificateQuery {
                system: Some(system.to_owned()),
                expiring_from: Some(machine_now()),
                expiring_before: None,
                with_revoked: false,
                without_superseded: false,
                limit: 100,
                after,
            };
            let page = self.inner.store.certificates(&query).await.map_err(read_failed)?;
            until = page.certificates.iter().map(|one| one.not_after).chain(until).max();
            if page.next.is_none() {
                return Ok(until);
            }
            after = page.next;
        }
    }

    /// The plan without its lock-outs, and what is planned if it could be read.
    fn plan_of(&self, authorized: &Authorized, files: &[v1::RegistryFile]) -> (Plan, Option<Arc<Registry>>) {
        let current = authorized.registry();
        let plan = Plan { base_version: current.version(), ..Plan::default() };
        let planned = match self.parse(&by_name(files)) {
            Err(problems) => return (Plan { problems, ..plan }, None),
            Ok(planned) => Arc::new(planned),
        };
        let changes = registry::diff(current, &planned);
        let authority = registry::gains_and_losses(current, &planned, authorized.today());
        (Plan { changes, authority, ..plan }, Some(planned))
    }

    /// Makes a proposal the version in force, if `base_version` still is. Durable when it returns `Ok`.
    ///
    /// # Errors
    /// `REGISTRY_INVALID`, `STALE_VERSION`, `REGISTRY_LOCKS_OUT`, those of [`Engine::plan_registry`] and of a commit.
    pub async fn apply_registry(
        &self,
        peer: &Peer,
        party: &PartyId,
        actor: &ActorId,
        proposal: Proposal,
        terms: Terms,
    ) -> Result<(v1::RegistryVersion, Vec<Change>), Refusal> {
        let authorized = self.authorize(peer, party)?;
        authorized.require(Right::Registry, None)?;
        let by = By {
            system: authorized.system().to_owned(),
            actor: actor.clone(),
            caller: Some((peer.clone(), party.clone())),
        };
        let engine = self.clone();
        self.to_the_end(async move { engine.apply_now(&by, proposal, terms).await }).await
    }

    /// Applies the very first registry, from files beside the node: before it nobody has a right to apply one.
    ///
    /// # Errors
    /// As [`Engine::apply_registry`]; `STALE_VERSION` when there is one already.
    pub async fn apply_first_registry(&self, files: Vec<v1::RegistryFile>) -> Result<v1::RegistryVersion, Refusal> {
        let actor: ActorId = "bootstrap".parse().expect("a valid account identifier");
        let by = By { system: "gateway".to_owned(), actor, caller: None };
        self.apply_now(&by, Proposal::Files(files), Terms::default()).await.map(|(version, _)| version)
    }

    /// As [`Engine::apply_registry`], for whoever has been found to have the right.
    pub(super) async fn apply_now(
        &self,
        by: &By,
        proposal: Proposal,
        Terms { base_version, accept_lock_out }: Terms,
    ) -> Result<(v1::RegistryVersion, Vec<Change>), Refusal> {
        let _held = self.inner.lanes.hold([Lane::Registry]).await;
        // Asked again: the registry that was applied while this one waited may have taken the right away.
        if let Some((peer, party)) = &by.caller {
            self.authorize(peer, party)?.require(Right::Registry, None)?;
        }
        let current = self.inner.registry.load_full();
        let in_force = current.as_ref().map_or(0, |registry| registry.version());
        if in_force != base_version {
            return Err(Refusal::new(Reason::StaleVersion).detail("version", in_force).detail("base", base_version));
        }
        let (files, rolled_back_to) = self.files_of(proposal).await?;
        let named = by_name(&files);
        let planned = Arc::new(self.parse(&named).map_err(|problems| invalid(&problems))?);
        let caller = by.caller.as_ref().map(|(peer, party)| (peer, party));
        let today = self.clock().now().date();
        let lock_outs = match &current {
            Some(current) => self.lock_outs(current, &planned, caller, today).await?,
            None => Vec::new(),
        };
        if !accept_lock_out {
            locks_nobody_out(&lock_outs)?;
        }
        let version = v1::RegistryVersion {
            number: in_force + 1,
            sha256: digest(&named),
            applied_at: Some(machine_timestamp(machine_now())),
            applied_by_system: by.system.clone(),
            actor: by.actor.to_string(),
            acting_party: by.caller.as_ref().map_or_else(String::new, |(_, party)| party.to_string()),
            rolled_back_to,
            accepted_lock_out: lock_outs.iter().map(|one| one.right.as_str()).collect::<Vec<_>>().join(","),
        };
        let changes = current.as_ref().map_or_else(Vec::new, |current| registry::diff(current, &planned));
        let record = RegistryRecord { version: version.clone(), files };
        self.inner.store.commit(Commit::Registry(record)).await.map_err(|error| commit_failed(&error))?;
        let planned = Arc::unwrap_or_clone(planned).with_version(version.number);
        self.inner.registry.store(Some(Arc::new(planned)));
        tracing::info!(version = version.number, rolled_back_to, changes = changes.len(), "registry applied");
        Ok((version, changes))
    }

    /// As [`Registry::parse`], for this bus: no binding may speak for a system that names itself.
    fn parse(&self, files: &BTreeMap<String, Vec<u8>>) -> Result<Registry, Vec<Problem>> {
        let registry = Registry::parse(files)?;
        let in_vain = registry.bound_in_vain(self.inner.signer.gateway());
        if in_vain.is_empty() { Ok(registry) } else { Err(in_vain) }
    }

    /// The files of a proposal, and the version that they were applied as before, or 0.
    async fn files_of(&self, proposal: Proposal) -> Result<(Vec<v1::RegistryFile>, u64), Refusal> {
        match proposal {
            Proposal::Files(files) => Ok((files, 0)),
            Proposal::RollBackTo(number) => {
                let record = self.inner.store.registry(Some(number)).await.map_err(read_failed)?;
                record.map(|record| (record.files, number)).ok_or_else(|| unknown(number))
            }
        }
    }
}

fn unknown(version: u64) -> Refusal {
    Refusal::new(Reason::RegistryVersionUnknown).detail("version", version)
}

impl Engine {
    /// What keeps the registry and the bus in order and would be out of reach: for everybody, or for the caller, who could not
    /// take back what it applies. Out of reach is also what is left to systems alone that have no key to come with, where one
    /// that has could use it before.
    async fn lock_outs(
        &self,
        current: &Registry,
        planned: &Arc<Registry>,
        caller: Option<(&Peer, &PartyId)>,
        today: Date,
    ) -> Result<Vec<LockOut>, Refusal> {
        let by_registry = registry::out_of_reach(current, planned, today);
        let able = self.keepers_with_a_key(&[current, planned], |_| true).await?;
        let [before, after] =
            [current, &**planned].map(|one| registry::kept_by(one, today, |name| able.contains(name)));
        let is_lost = |right: &Right| by_registry.contains(right) || before.contains(right) && !after.contains(right);
        let lost = registry::KEEPING.into_iter().filter(is_lost);
        let mut lock_outs: Vec<LockOut> = lost.map(|right| LockOut { right, for_everybody: true }).collect();
        let right = Right::Registry;
        let keeps_it = |(peer, party)| {
            let authorized = authorize(planned, peer, party, today);
            authorized.and_then(|authorized| authorized.require(right, None)).is_ok()
        };
        if !lock_outs.iter().any(|one| one.right == right) && !caller.is_none_or(keeps_it) {
            lock_outs.push(LockOut { right, for_everybody: false });
        }
        Ok(lock_outs)
    }
}

fn locks_nobody_out(lock_outs: &[LockOut]) -> Result<(), Refusal> {
    let rights = |for_everybody| -> String {
        let some = lock_outs.iter().filter(|one| one.for_everybody == for_everybody);
        some.map(|one| one.right.as_str()).collect::<Vec<_>>().join(",")
    };
    let (everybody, caller) = (rights(true), rights(false));
    if everybody.is_empty() && caller.is_empty() {
        return Ok(());
    }
    let told = [("nobody_could", everybody), ("you_could_not", caller)];
    let told = told.into_iter().filter(|(_, rights)| !rights.is_empty());
    Err(told.fold(Refusal::new(Reason::RegistryLocksOut), |refusal, (key, rights)| refusal.detail(key, rights)))
}

fn invalid(problems: &[Problem]) -> Refusal {
    /// As many as fit well below the limit of a status's size.
    const SHOWN: usize = 50;
    let refusal = Refusal::new(Reason::RegistryInvalid).detail("problems", problems.len());
    problems.iter().take(SHOWN).fold(refusal, |refusal, problem| {
        let wrong = Wrong::new(problem.vi.clone(), problem.en.clone());
        refusal.field(format!("{}:{}", problem.file, problem.path), wrong)
    })
}

/// The files of a version, as they are parsed.
pub(crate) fn by_name(files: &[v1::RegistryFile]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|file| (file.name.clone(), file.content.to_vec())).collect()
}

/// SHA-256 over every file's name and content, each preceded by its length, in the order of the names.
fn digest(files: &BTreeMap<String, Vec<u8>>) -> Bytes {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for (name, content) in files {
        for part in [name.as_bytes(), content.as_slice()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    Bytes::copy_from_slice(context.finish().as_ref())
}

#[cfg(all(test, feature = "test-util"))]
mod tests;
