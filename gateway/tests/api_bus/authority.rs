//! Authority is data: planned, applied, taken back, limited, and able to explain itself.

use std::path::Path;

use lgsp_proto::{Reason, v1};

use super::joining::speaks;
use super::world::*;

const OPERATOR: &str = "H99.VH";

/// The files of the invented province.
fn files() -> Vec<v1::RegistryFile> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("domain/tests/fixtures/registry");
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let toml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let file = |path: std::path::PathBuf| v1::RegistryFile {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        content: std::fs::read(&path).unwrap().into(),
    };
    toml.map(file).collect()
}

/// The same with one passage of one file replaced.
fn edited(file: &str, from: &str, to: &str) -> Vec<v1::RegistryFile> {
    let mut files = files();
    let file = files.iter_mut().find(|one| one.name == file).unwrap();
    let text = String::from_utf8(file.content.to_vec()).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    file.content = text.replace(from, to).into();
    files
}

fn plan(files: Vec<v1::RegistryFile>) -> v1::PlanRegistryRequest {
    v1::PlanRegistryRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        files,
        ..v1::PlanRegistryRequest::default()
    }
}

fn apply(base_version: u64, files: Vec<v1::RegistryFile>) -> v1::ApplyRegistryRequest {
    v1::ApplyRegistryRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        base_version,
        files,
        ..v1::ApplyRegistryRequest::default()
    }
}

async fn planned(operator: &System, request: v1::PlanRegistryRequest) -> v1::PlanRegistryResponse {
    within(operator.registry().plan(request)).await.unwrap().into_inner()
}

async fn applied(operator: &System, request: v1::ApplyRegistryRequest) -> v1::RegistryVersion {
    within(operator.registry().apply(request)).await.unwrap().into_inner().version.unwrap()
}

fn gains(plan: &v1::PlanRegistryResponse) -> Vec<String> {
    let one = |change: &v1::AuthorityChange| {
        let v1::AuthorityChange { gained, holder_kind, holder, right, scope } = change;
        format!("{} {holder_kind} {holder} {right}: {scope}", if *gained { '+' } else { '-' })
    };
    plan.authority.iter().map(one).collect()
}

#[tokio::test]
async fn a_plan_tells_who_gains_and_who_loses_what() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let more = edited("systems.toml", "acts_for = [\"H99.102\"]", "acts_for = [\"H99.102\", \"H99.09\"]");
    let plan_of = planned(&operator, plan(more)).await;
    assert_eq!(gains(&plan_of), ["+ system mot-cua-binh acts-for: H99.09"]);
    assert_eq!((plan_of.changes.len(), plan_of.lock_outs.len()), (1, 0));
    let less =
        edited("grants.toml", "party = \"H99.TT\"\nright = \"hand-out\"", "party = \"H99.CDV\"\nright = \"hand-out\"");
    let plan_of = planned(&operator, plan(less)).await;
    assert_eq!(gains(&plan_of), ["+ party H99.CDV hand-out: any", "- party H99.TT hand-out: any"]);
}

#[tokio::test]
async fn nobody_is_locked_out_unless_it_is_meant_so() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let out = |plan: &v1::PlanRegistryResponse| -> Vec<(String, bool)> {
        plan.lock_outs.iter().map(|one| (one.right.clone(), one.for_everybody)).collect()
    };
    // No system acts for the commune's neighbour without grants, so nobody could.
    let gone =
        edited("grants.toml", "party = \"H99.VH\"\nright = \"registry\"", "party = \"H99.09\"\nright = \"registry\"");
    assert_eq!(out(&planned(&operator, plan(gone.clone())).await), [("registry".to_owned(), true)]);
    let refused = refusal(within(operator.registry().apply(apply(1, gone))).await);
    assert_eq!((refused.reason(), refused.details()["nobody_could"].as_str()), (Reason::RegistryLocksOut, "registry"));

    // Handed on to somebody who is on the bus, it is out of the caller's reach only.
    let departments = world.system("so-nganh").await;
    assert!(speaks(&departments).await);
    let handed_on =
        edited("grants.toml", "party = \"H99.VH\"\nright = \"registry\"", "party = \"H99.01\"\nright = \"registry\"");
    assert_eq!(out(&planned(&operator, plan(handed_on.clone())).await), [("registry".to_owned(), false)]);
    let refused = refusal(within(operator.registry().apply(apply(1, handed_on.clone()))).await);
    assert_eq!((refused.reason(), refused.details()["you_could_not"].as_str()), (Reason::RegistryLocksOut, "registry"));
    let meant = v1::ApplyRegistryRequest { accept_lock_out: true, ..apply(1, handed_on) };
    let version = applied(&operator, meant).await;
    assert_eq!((version.number, version.accepted_lock_out.as_str()), (2, "registry"));
    assert_eq!(reason(within(operator.registry().plan(plan(files()))).await), Reason::GrantMissing);
}

#[tokio::test]
async fn an_earlier_version_comes_back_as_the_next_and_who_applied_what_is_kept() {
    let mut world = World::start().await;
    let operator = world.system("van-hanh").await;
    let more = edited("systems.toml", "acts_for = [\"H99.102\"]", "acts_for = [\"H99.102\", \"H99.09\"]");
    assert_eq!(applied(&operator, apply(1, more)).await.number, 2);
    let back = v1::PlanRegistryRequest { roll_back_to: 1, ..plan(Vec::new()) };
    assert_eq!(gains(&planned(&operator, back).await), ["- system mot-cua-binh acts-for: H99.09"]);
    let back = v1::ApplyRegistryRequest { roll_back_to: 1, ..apply(2, Vec::new()) };
    let version = applied(&operator, back).await;
    assert_eq!((version.number, version.rolled_back_to, version.acting_party.as_str()), (3, 1, OPERATOR));
    let unknown = v1::ApplyRegistryRequest { roll_back_to: 9, ..apply(3, Vec::new()) };
    assert_eq!(reason(within(operator.registry().apply(unknown)).await), Reason::RegistryVersionUnknown);

    world.restart().await;
    let (desk, operator) = (world.system("mot-cua").await, world.system("van-hanh").await);
    let ask = |page_size, page_token| v1::RegistryVersionsRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        page_size,
        page_token,
    };
    let page = within(operator.registry().versions(ask(2, String::new()))).await.unwrap().into_inner();
    let rest = within(operator.registry().versions(ask(2, page.next_page_token))).await.unwrap().into_inner();
    // A desk is not told who the operators are.
    let by_a_desk = v1::RegistryVersionsRequest { acting_party: AN.into(), ..ask(2, String::new()) };
    let refused = refusal(within(desk.registry().versions(by_a_desk)).await);
    assert_eq!((refused.reason(), refused.details()["right"].as_str()), (Reason::GrantMissing, "registry"));
    assert_eq!(rest.next_page_token, "");
    let told = page.versions.iter().chain(&rest.versions).map(|version| {
        let v1::RegistryVersion { number, applied_by_system, actor, acting_party, rolled_back_to, .. } = version;
        (*number, applied_by_system.as_str(), actor.as_str(), acting_party.as_str(), *rolled_back_to)
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            (3, "van-hanh", "van.hanh.1", OPERATOR, 1),
            (2, "van-hanh", "van.hanh.1", OPERATOR, 0),
            (1, "gateway", "bootstrap", "", 0),
        ]
    );
    assert_eq!(page.versions[0].sha256, rest.versions[0].sha256, "the same files");
}

#[tokio::test]
async fn an_id_that_names_a_system_of_this_bus_is_bound_to_none() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let binding = |domain: &str| {
        let ids = format!("acts_for = [\"H99.102\"], spiffe_ids = [\"spiffe://{domain}/system/mot-cua\"]");
        edited("systems.toml", "acts_for = [\"H99.102\"]", &ids)
    };
    let problems = planned(&operator, plan(binding(DOMAIN))).await.problems;
    assert_eq!((problems.len(), problems[0].file.as_str()), (1, "systems.toml"));
    let refused = within(operator.registry().apply(apply(1, binding(DOMAIN)))).await;
    assert_eq!(reason(refused), Reason::RegistryInvalid);
    // A system of another bus may be known here by another name.
    assert_eq!(applied(&operator, apply(1, binding(NEIGHBOUR))).await.number, 2);
}

fn question(party: &str) -> v1::CanIRequest {
    v1::CanIRequest { acting_party: party.into(), actor: "can.bo.1".into(), ..v1::CanIRequest::default() }
}

/// Whether it is allowed, and of each condition what meets it, or the reason and whom to ask.
async fn can_i(system: &System, request: v1::CanIRequest) -> (bool, Vec<String>) {
    let answer = within(system.registry().can_i(request)).await.unwrap().into_inner();
    assert!(answer.steps.iter().all(|step| !step.message_vi.is_empty() && !step.message_en.is_empty()));
    let one = |step: v1::CanIStep| match step.met {
        true => format!("{}: {}", step.condition, step.by),
        false => format!("{}: {} {} {}", step.condition, step.reason, step.owner, step.owner_name),
    };
    (answer.allowed, answer.steps.into_iter().map(one).collect())
}

#[tokio::test]
async fn who_asks_learns_by_what_it_is_allowed_or_what_is_missing_and_whom_to_ask() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let decide = |code: &str| v1::CanIRequest { right: "decide".into(), procedure_code: code.into(), ..question(AN) };
    let (allowed, steps) = can_i(&desk, decide(AID)).await;
    assert!(allowed);
    assert_eq!(steps[3], "grant: grants.toml: xa-giai-quyet");
    let (allowed, steps) = can_i(&desk, decide("1.000002")).await;
    assert!(!allowed);
    assert_eq!(steps[3], "grant: GRANT_MISSING H99.CA Công an tỉnh");

    let code = desk.admitted(&aid("k-1")).await;
    let of_dossier =
        |asker, right: &str| v1::CanIRequest { right: right.into(), dossier_code: code.clone(), ..question(asker) };
    assert!(can_i(&desk, of_dossier(AN, "decide")).await.0);
    // What the refusal of the call itself says is what can-i says.
    let refused = refusal(
        within(desk.registry().plan(v1::PlanRegistryRequest { acting_party: AN.into(), ..plan(files()) })).await,
    );
    let told = |key: &str| refused.details()[key].as_str();
    assert_eq!((told("right"), told("owner"), told("owner_name")), ("registry", OPERATOR, "Đơn vị vận hành"));
    // To whomever it is passed on: it names the system that was refused.
    assert_eq!(told("can_i"), "lgsp can-i registry --party H99.101 --system mot-cua");
    let (_, steps) = can_i(&desk, v1::CanIRequest { right: "registry".into(), ..question(AN) }).await;
    assert_eq!(steps[3], "grant: GRANT_MISSING H99.VH Đơn vị vận hành");

    // A dossier that one may not know is not found, whatever is asked about it.
    let binh = world.system("mot-cua-binh").await;
    for name in [code.as_str(), "H99.101-250714-9999"] {
        let asked = v1::CanIRequest { dossier_code: name.into(), ..of_dossier(BINH, "decide") };
        assert_eq!(reason(within(binh.registry().can_i(asked)).await), Reason::DossierNotFound, "{name}");
    }
}

#[tokio::test]
async fn only_who_keeps_the_registry_operates_or_audits_asks_about_others() {
    let world = World::start().await;
    let (desk, operator) = (world.system("mot-cua").await, world.system("van-hanh").await);
    let own = v1::CanIRequest { system: "mot-cua".into(), party: "H99.104".into(), ..question(AN) };
    assert!(can_i(&desk, own).await.0);
    let of_party = v1::CanIRequest { party: BINH.into(), ..question(AN) };
    let refused = refusal(within(desk.registry().can_i(of_party)).await);
    assert_eq!((refused.reason(), refused.details()["owner"].as_str()), (Reason::ActsForMissing, OPERATOR));
    let of_system = |asker, system: &str, party: &str| v1::CanIRequest {
        system: system.into(),
        party: party.into(),
        right: "submit".into(),
        ..question(asker)
    };
    let refused = within(desk.registry().can_i(of_system(AN, "mot-cua-binh", AN))).await;
    assert_eq!(reason(refused), Reason::GrantMissing);
    assert!(can_i(&operator, of_system(OPERATOR, "mot-cua-binh", BINH)).await.0);
    let (allowed, steps) = can_i(&operator, of_system(OPERATOR, "mot-cua-binh", AN)).await;
    assert!(!allowed);
    assert_eq!(steps[1], "acts-for: ACTS_FOR_MISSING H99.VH Đơn vị vận hành");
    let unknown = v1::CanIRequest { right: "fly".into(), ..question(AN) };
    assert_eq!(fields(&refusal(within(desk.registry().can_i(unknown)).await)), ["right"]);
}

#[tokio::test]
async fn a_quota_of_the_registry_counts_from_the_next_call_on() {
    let world = World::start().await;
    let (desk, operator) = (world.system("mot-cua").await, world.system("van-hanh").await);
    for number in 0..4 {
        desk.admitted(&aid(&format!("k-{number}"))).await;
    }
    let from = "unit = \"99001\", desk = true }";
    let slow = edited("parties.toml", from, "unit = \"99001\", desk = true, quota = { per_second = 1 } }");
    applied(&operator, apply(1, slow)).await;
    let mut refused = None;
    for number in 4..20 {
        if let Err(status) = desk.submit(&aid(&format!("k-{number}"))).await {
            refused = Some(status);
            break;
        }
    }
    let refused = refusal(Err::<(), _>(refused.expect("sixteen in a moment are more than one a second")));
    let told = |key: &str| refused.details()[key].as_str();
    assert_eq!((told("party"), told("per_second"), told("set_by")), (AN, "1", "registry"));
    assert!(refused.retry_after().is_some());
    // Taken back, it counts no more.
    applied(&operator, v1::ApplyRegistryRequest { roll_back_to: 1, ..apply(2, Vec::new()) }).await;
    for number in 20..24 {
        desk.admitted(&aid(&format!("k-{number}"))).await;
    }
}
