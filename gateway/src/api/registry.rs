//! The declared registry over the wire.

use std::collections::HashSet;

use lgsp_domain::registry::{Change, ChangeKind, Problem};
use lgsp_proto::v1::{self, registry_change::Kind};
use lgsp_proto::{FieldViolation, Refusal};
use tonic::{Request, Response, Status};

use super::convert::reading;
use super::wire;
use crate::engine::Engine;

/// Files of one registry: there are about eight kinds, and provinces may split the large ones.
const FILES_MAX: usize = 64;

/// Problems in one answer; an editor mends them in rounds anyway, and the answer has to fit a message.
const PROBLEMS_SHOWN: usize = 2000;

pub(super) struct Registry {
    pub(super) engine: Engine,
}

#[tonic::async_trait]
impl v1::registry_server::Registry for Registry {
    async fn read(
        &self,
        request: Request<v1::ReadRegistryRequest>,
    ) -> Result<Response<v1::ReadRegistryResponse>, Status> {
        let peer = wire::peer(&request)?;
        let request = request.into_inner();
        let asking = reading::only_asking(&request.acting_party, &request.actor)?;
        let version = (request.version != 0).then_some(request.version);
        let record = self.engine.read_registry(&peer, &asking.party, version).await?;
        let is_known = record.version.number == request.known_version;
        let files = if is_known { Vec::new() } else { record.files };
        Ok(Response::new(v1::ReadRegistryResponse { version: Some(record.version), files }))
    }

    async fn plan(
        &self,
        request: Request<v1::PlanRegistryRequest>,
    ) -> Result<Response<v1::PlanRegistryResponse>, Status> {
        let peer = wire::peer(&request)?;
        let request = request.into_inner();
        let asking = reading::only_asking(&request.acting_party, &request.actor)?;
        check_files(&request.files)?;
        let plan = self.engine.plan_registry(&peer, &asking.party, &request.files)?;
        Ok(Response::new(v1::PlanRegistryResponse {
            problems: plan.problems.into_iter().take(PROBLEMS_SHOWN).map(problem).collect(),
            changes: plan.changes.into_iter().map(change).collect(),
            base_version: plan.base_version,
            authority: Vec::new(),
        }))
    }

    async fn apply(
        &self,
        request: Request<v1::ApplyRegistryRequest>,
    ) -> Result<Response<v1::ApplyRegistryResponse>, Status> {
        let peer = wire::peer(&request)?;
        let v1::ApplyRegistryRequest { acting_party, actor, files, base_version, .. } = request.into_inner();
        let asking = reading::only_asking(&acting_party, &actor)?;
        check_files(&files)?;
        let applied = self.engine.apply_registry(&peer, &asking.party, &asking.actor, files, base_version).await?;
        let (version, changes) = applied;
        Ok(Response::new(v1::ApplyRegistryResponse {
            version: Some(version),
            changes: changes.into_iter().map(change).collect(),
            warnings: Vec::new(),
        }))
    }
}

/// Looks at names and numbers only; what the files say is the registry's to judge.
fn check_files(files: &[v1::RegistryFile]) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    let mut problem = |field: String, problem: String| problems.push(FieldViolation { field, problem });
    if files.is_empty() || files.len() > FILES_MAX {
        problem("files".into(), format!("has {} files; 1 to {FILES_MAX} make a registry", files.len()));
    } else {
        let mut seen = HashSet::new();
        for (at, file) in files.iter().enumerate() {
            if !is_file_name(&file.name) {
                problem(format!("files[{at}].name"), "is not a name like \"parties.toml\"".into());
            } else if !seen.insert(&file.name) {
                problem(format!("files[{at}].name"), "is given twice".into());
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::fields(problems)) }
}

/// Names end up in problems, in the journal and, on an operator's machine, in a folder.
fn is_file_name(name: &str) -> bool {
    let plain =
        |stem: &str| stem.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    name.len() <= 64 && name.strip_suffix(".toml").is_some_and(|stem| !stem.is_empty() && plain(stem))
}

fn problem(problem: Problem) -> v1::RegistryProblem {
    v1::RegistryProblem {
        file: problem.file,
        path: problem.path,
        line: problem.line.unwrap_or(0),
        message_vi: problem.vi,
        message_en: problem.en,
    }
}

fn change(change: Change) -> v1::RegistryChange {
    let kind = match change.kind {
        ChangeKind::Added => Kind::Added,
        ChangeKind::Changed => Kind::Changed,
        ChangeKind::Removed => Kind::Removed,
    };
    v1::RegistryChange { kind: kind.into(), entity: change.entity.to_owned(), id: change.id, summary: change.summary }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_file_has_a_plain_name_and_only_one_of_each() {
        let files = |names: &[&str]| {
            let file = |name: &&str| v1::RegistryFile { name: (*name).to_owned(), content: bytes::Bytes::new() };
            check_files(&names.iter().map(file).collect::<Vec<_>>())
        };
        assert_eq!(files(&["parties.toml", "routes-2.toml"]), Ok(()));
        for bad in ["", ".toml", "parties", "../parties.toml", "Parties.toml", "a b.toml"] {
            assert_eq!(files(&[bad]).unwrap_err().violations()[0].field, "files[0].name", "{bad:?}");
        }
        assert_eq!(files(&["a.toml", "a.toml"]).unwrap_err().violations()[0].field, "files[1].name");
        assert!(files(&[]).is_err());
    }
}
