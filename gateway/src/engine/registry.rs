//! The declared registry: planned, applied as a whole, kept by version.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lgsp_domain::registry::{self, Change, Problem, Registry, Right};
use lgsp_proto::types::{ActorId, PartyId};
use lgsp_proto::{Reason, Refusal, v1};

use super::access::Peer;
use super::clock::machine_now;
use super::lanes::Lane;
use super::receipt::machine_timestamp;
use super::{Engine, StartError, commit_failed, read_failed};
use crate::store::{Commit, RegistryRecord, Store};

/// What applying files would change, or why they cannot be applied.
#[derive(Debug)]
pub struct Plan {
    /// Every problem; empty when they can be applied.
    pub problems: Vec<Problem>,
    /// What would change against the version in force.
    pub changes: Vec<Change>,
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
    /// The files of a version; `None` for the one in force.
    ///
    /// # Errors
    /// `REGISTRY_VERSION_UNKNOWN`, `REGISTRY_MISSING`, and those of [`Engine::authorize`].
    pub async fn read_registry(
        &self,
        peer: &Peer,
        party: &PartyId,
        version: Option<u64>,
    ) -> Result<RegistryRecord, Refusal> {
        let _ = self.authorize(peer, party)?;
        let record = self.inner.store.registry(version).await.map_err(read_failed)?;
        record.ok_or_else(|| match version {
            Some(number) => Refusal::new(Reason::RegistryVersionUnknown).detail("version", number),
            None => Refusal::new(Reason::RegistryMissing),
        })
    }

    /// What applying `files` would change, or every problem they have. Changes nothing.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], `GRANT_MISSING`.
    pub fn plan_registry(&self, peer: &Peer, party: &PartyId, files: &[v1::RegistryFile]) -> Result<Plan, Refusal> {
        self.authorize(peer, party)?.require(Right::Registry, None)?;
        let current = self.registry()?;
        Ok(match Registry::parse(&by_name(files)) {
            Err(problems) => Plan { problems, changes: Vec::new(), base_version: current.version() },
            Ok(planned) => {
                let changes = registry::diff(&current, &planned);
                Plan { problems: Vec::new(), changes, base_version: current.version() }
            }
        })
    }

    /// Makes `files` the version in force, if `base_version` still is. Durable when it returns `Ok`.
    ///
    /// # Errors
    /// `REGISTRY_INVALID`, `STALE_VERSION`, those of [`Engine::plan_registry`] and of a commit.
    pub async fn apply_registry(
        &self,
        peer: &Peer,
        party: &PartyId,
        actor: &ActorId,
        files: Vec<v1::RegistryFile>,
        base_version: u64,
    ) -> Result<(v1::RegistryVersion, Vec<Change>), Refusal> {
        self.authorize(peer, party)?.require(Right::Registry, None)?;
        let (engine, system, actor) = (self.clone(), peer.system().to_owned(), actor.clone());
        self.to_the_end(async move { engine.apply_now(&system, &actor, files, base_version).await }).await
    }

    /// Applies the very first registry, from files beside the node: before it nobody has a right to apply one.
    ///
    /// # Errors
    /// As [`Engine::apply_registry`]; `STALE_VERSION` when there is one already.
    pub async fn apply_first_registry(&self, files: Vec<v1::RegistryFile>) -> Result<v1::RegistryVersion, Refusal> {
        let actor: ActorId = "bootstrap".parse().expect("a valid account identifier");
        self.apply_now("gateway", &actor, files, 0).await.map(|(version, _)| version)
    }

    pub(super) async fn apply_now(
        &self,
        system: &str,
        actor: &ActorId,
        files: Vec<v1::RegistryFile>,
        base_version: u64,
    ) -> Result<(v1::RegistryVersion, Vec<Change>), Refusal> {
        let _held = self.inner.lanes.hold([Lane::Registry]).await;
        let current = self.inner.registry.load_full();
        let in_force = current.as_ref().map_or(0, |registry| registry.version());
        if in_force != base_version {
            return Err(Refusal::new(Reason::StaleVersion).detail("version", in_force).detail("base", base_version));
        }
        let named = by_name(&files);
        let planned = Registry::parse(&named).map_err(|problems| invalid(&problems))?;
        let version = v1::RegistryVersion {
            number: in_force + 1,
            sha256: digest(&named),
            applied_at: Some(machine_timestamp(machine_now())),
            applied_by_system: system.to_owned(),
            actor: actor.to_string(),
            ..v1::RegistryVersion::default()
        };
        let changes = current.as_ref().map_or_else(Vec::new, |current| registry::diff(current, &planned));
        let record = RegistryRecord { version: version.clone(), files };
        self.inner.store.commit(Commit::Registry(record)).await.map_err(|error| commit_failed(&error))?;
        self.inner.registry.store(Some(Arc::new(planned.with_version(version.number))));
        tracing::info!(version = version.number, changes = changes.len(), "registry applied");
        Ok((version, changes))
    }
}

fn invalid(problems: &[Problem]) -> Refusal {
    /// As many as fit well below the limit of a status's size.
    const SHOWN: usize = 50;
    let refusal = Refusal::new(Reason::RegistryInvalid).detail("problems", problems.len());
    problems.iter().take(SHOWN).fold(refusal, |refusal, problem| {
        refusal.field(format!("{}:{}", problem.file, problem.path), problem.en.clone())
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
