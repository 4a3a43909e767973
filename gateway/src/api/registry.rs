//! The declared registry over the wire.

use std::collections::HashSet;
use std::time::SystemTime;

use lgsp_domain::can_i::Step;
use lgsp_domain::registry::{AuthorityChange, Change, ChangeKind, Holder, Problem, SCHEMA_SUFFIX};
use lgsp_proto::v1::{self, registry_change::Kind};
use lgsp_proto::{FieldViolation, Refusal, Wrong};
use tonic::{Request, Response, Status};

use super::convert::{can_i, reading};
use super::wire;
use crate::engine::Engine;
use crate::engine::receipt::machine_timestamp;
use crate::engine::registry::{LockOut, Proposal, Terms};

/// Files of one registry: there are about eight kinds, and provinces may split the large ones.
const FILES_MAX: usize = 64;

/// Problems in one answer; an editor mends them in rounds anyway, and the answer has to fit a message.
const PROBLEMS_SHOWN: usize = 2000;

/// Gains and losses in one answer: nobody reads more of them, and the answer has to fit a message.
const AUTHORITY_SHOWN: usize = 5000;

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
        let proposal = proposal(request.files, request.roll_back_to)?;
        let plan = self.engine.plan_registry(&peer, &asking.party, proposal).await?;
        Ok(Response::new(v1::PlanRegistryResponse {
            problems: plan.problems.into_iter().take(PROBLEMS_SHOWN).map(problem).collect(),
            changes: plan.changes.into_iter().map(change).collect(),
            base_version: plan.base_version,
            authority: plan.authority.into_iter().take(AUTHORITY_SHOWN).map(authority).collect(),
            lock_outs: plan.lock_outs.into_iter().map(lock_out).collect(),
            still_certified: plan.still_certified.into_iter().map(still_certified).collect(),
        }))
    }

    async fn apply(
        &self,
        request: Request<v1::ApplyRegistryRequest>,
    ) -> Result<Response<v1::ApplyRegistryResponse>, Status> {
        let peer = wire::peer(&request)?;
        let request = request.into_inner();
        let asking = reading::only_asking(&request.acting_party, &request.actor)?;
        let proposal = proposal(request.files, request.roll_back_to)?;
        let terms = Terms { base_version: request.base_version, accept_lock_out: request.accept_lock_out };
        let applied = self.engine.apply_registry(&peer, &asking.party, &asking.actor, proposal, terms).await?;
        let (version, changes) = applied;
        Ok(Response::new(v1::ApplyRegistryResponse {
            version: Some(version),
            changes: changes.into_iter().map(change).collect(),
            warnings: Vec::new(),
        }))
    }

    async fn versions(
        &self,
        request: Request<v1::RegistryVersionsRequest>,
    ) -> Result<Response<v1::RegistryVersionsResponse>, Status> {
        let peer = wire::peer(&request)?;
        let asked = can_i::versions(&request.into_inner())?;
        let found = self.engine.registry_versions(&peer, &asked.asking.party, asked.before, asked.most).await?;
        let (versions, next) = found;
        let next_page_token = next.map_or_else(String::new, can_i::version_token);
        Ok(Response::new(v1::RegistryVersionsResponse { versions, next_page_token }))
    }

    async fn can_i(&self, request: Request<v1::CanIRequest>) -> Result<Response<v1::CanIResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, asked) = can_i::asked(request.into_inner())?;
        let (steps, registry_version) = self.engine.can_i(&peer, &asking.party, asked).await?;
        Ok(Response::new(v1::CanIResponse {
            allowed: steps.iter().all(Step::is_met),
            steps: steps.into_iter().map(can_i::step).collect(),
            registry_version,
        }))
    }
}

/// Files, or an earlier version's; never both, lest one of them be left out without a word.
fn proposal(files: Vec<v1::RegistryFile>, roll_back_to: u64) -> Result<Proposal, Refusal> {
    match (files.is_empty(), roll_back_to) {
        (_, 0) => check_files(&files).map(|()| Proposal::Files(files)),
        (true, version) => Ok(Proposal::RollBackTo(version)),
        (false, _) => Err(Refusal::fields(vec![FieldViolation {
            field: "roll_back_to".into(),
            problem: Wrong::new("được gửi cùng tệp; hãy gửi một trong hai", "is given beside files; send one of them"),
        }])),
    }
}

/// Looks at names and numbers only; what the files say is the registry's to judge.
fn check_files(files: &[v1::RegistryFile]) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    let mut problem = |field: String, problem: Wrong| problems.push(FieldViolation { field, problem });
    if files.is_empty() || files.len() > FILES_MAX {
        let wrong = Wrong::new(
            format!("có {} tệp; một sổ đăng ký gồm 1 đến {FILES_MAX} tệp", files.len()),
            format!("has {} files; 1 to {FILES_MAX} make a registry", files.len()),
        );
        problem("files".into(), wrong);
    } else {
        let mut seen = HashSet::new();
        for (at, file) in files.iter().enumerate() {
            if !is_file_name(&file.name) {
                let wrong = Wrong::new("không phải tên dạng \"parties.toml\"", "is not a name like \"parties.toml\"");
                problem(format!("files[{at}].name"), wrong);
            } else if !seen.insert(&file.name) {
                problem(format!("files[{at}].name"), Wrong::new("được gửi hai lần", "is given twice"));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::fields(problems)) }
}

/// Names end up in problems, in the journal and, on an operator's machine, in a folder.
fn is_file_name(name: &str) -> bool {
    let plain = |part: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        !part.is_empty() && part.bytes().all(allowed)
    };
    // A schema says before its ending which of its service's it is: "dan-cu.reply.schema.json".
    let is_schema = name.strip_suffix(SCHEMA_SUFFIX).is_some_and(|stem| stem.split('.').all(plain));
    name.len() <= 64 && (is_schema || name.strip_suffix(".toml").is_some_and(plain))
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

fn authority(change: AuthorityChange) -> v1::AuthorityChange {
    let (holder_kind, holder) = match change.holder {
        Holder::System(name) => ("system", name),
        Holder::Party(id) => ("party", id.to_string()),
    };
    v1::AuthorityChange {
        gained: change.gained,
        holder_kind: holder_kind.to_owned(),
        holder,
        right: change.right.map_or("acts-for", |right| right.as_str()).to_owned(),
        scope: change.scope,
    }
}

fn still_certified((system, until): (String, SystemTime)) -> v1::StillCertified {
    v1::StillCertified { system, not_after: Some(machine_timestamp(until)) }
}

fn lock_out(LockOut { right, for_everybody }: LockOut) -> v1::LockOut {
    v1::LockOut { right: right.as_str().to_owned(), for_everybody }
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

    #[test]
    fn files_and_a_version_to_go_back_to_are_not_proposed_at_once() {
        let file = v1::RegistryFile { name: "parties.toml".to_owned(), content: bytes::Bytes::new() };
        assert!(matches!(proposal(vec![file.clone()], 0), Ok(Proposal::Files(_))));
        assert!(matches!(proposal(Vec::new(), 3), Ok(Proposal::RollBackTo(3))));
        assert_eq!(proposal(vec![file], 3).unwrap_err().violations()[0].field, "roll_back_to");
        assert_eq!(proposal(Vec::new(), 0).unwrap_err().violations()[0].field, "files");
    }
}
