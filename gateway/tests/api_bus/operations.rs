//! What operators do and see: the registry, health, reflection, the local listener, and an orderly end.

use std::path::Path;
use std::time::Duration;

use lgsp_gateway::app::{App, RunError};
use lgsp_gateway::config::{Config, Listen, Store};
use lgsp_proto::v1::upload_request::Request as Say;
use lgsp_proto::{Reason, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::documents::{content, message, start};
use super::world::*;

const OPERATOR: &str = "H99.VH";

/// The registry of the invented province, with one party more.
fn files() -> Vec<v1::RegistryFile> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("domain/tests/fixtures/registry");
    let mut files: Vec<v1::RegistryFile> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| v1::RegistryFile {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            content: std::fs::read(&path).unwrap().into(),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let parties = files.iter_mut().find(|file| file.name == "parties.toml").unwrap();
    let more = "{ id = \"H99.10\", name = \"Sở Mới\", kind = \"department\", unit = \"99\" },\n]";
    let text = String::from_utf8(parties.content.to_vec()).unwrap();
    parties.content = format!("{}{more}\n", text.trim_end().strip_suffix(']').unwrap()).into();
    files
}

fn plan(party: &str, files: Vec<v1::RegistryFile>) -> v1::PlanRegistryRequest {
    v1::PlanRegistryRequest { acting_party: party.into(), actor: "van.hanh.1".into(), files, ..Default::default() }
}

fn apply(party: &str, base_version: u64) -> v1::ApplyRegistryRequest {
    v1::ApplyRegistryRequest {
        acting_party: party.into(),
        actor: "van.hanh.1".into(),
        files: files(),
        base_version,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_registry_is_planned_applied_and_read_and_survives_a_restart() {
    let mut world = World::start().await;
    let operator = world.system("van-hanh").await;
    let planned = within(operator.registry().plan(plan(OPERATOR, files()))).await.unwrap().into_inner();
    assert_eq!((planned.problems.len(), planned.base_version), (0, 1));
    let [change] = planned.changes.as_slice() else { panic!("one change: {:?}", planned.changes) };
    assert_eq!((change.kind(), change.id.as_str()), (v1::registry_change::Kind::Added, "H99.10"));

    let applied = within(operator.registry().apply(apply(OPERATOR, 1))).await.unwrap().into_inner();
    let version = applied.version.unwrap();
    assert_eq!((version.number, version.applied_by_system.as_str()), (2, "van-hanh"));
    assert_eq!(reason(within(operator.registry().apply(apply(OPERATOR, 1))).await), Reason::StaleVersion);

    world.restart().await;
    let operator = world.system("van-hanh").await;
    for (asked, number) in [(0, 2), (1, 1), (2, 2)] {
        let read = v1::ReadRegistryRequest {
            acting_party: OPERATOR.into(),
            actor: "van.hanh.1".into(),
            version: asked,
            ..v1::ReadRegistryRequest::default()
        };
        let read = within(operator.registry().read(read)).await.unwrap().into_inner();
        assert_eq!(read.version.unwrap().number, number);
        assert_eq!(read.files.len(), files().len());
    }
    let unknown = v1::ReadRegistryRequest {
        acting_party: OPERATOR.into(),
        actor: "van.hanh.1".into(),
        version: 3,
        ..v1::ReadRegistryRequest::default()
    };
    assert_eq!(reason(within(operator.registry().read(unknown)).await), Reason::RegistryVersionUnknown);

    // A desk reads by what it decides, and not who the operators are.
    let desk = world.system("mot-cua").await;
    let read = |version| v1::ReadRegistryRequest {
        acting_party: AN.into(),
        actor: "can.bo.1".into(),
        version,
        ..v1::ReadRegistryRequest::default()
    };
    let told = within(desk.registry().read(read(0))).await.unwrap().into_inner();
    let version = told.version.unwrap();
    assert_eq!((version.number, version.sha256.len(), told.files.len()), (2, 32, files().len()));
    assert_eq!((&*version.actor, &*version.acting_party, &*version.applied_by_system), ("", "", ""));
    assert_eq!(reason(within(desk.registry().read(read(1))).await), Reason::GrantMissing);
}

#[tokio::test]
async fn a_registry_with_problems_is_not_applied_and_a_plan_names_them_all() {
    let world = World::start().await;
    let operator = world.system("van-hanh").await;
    let broken = |files: &mut Vec<v1::RegistryFile>| {
        let file = files.iter_mut().find(|file| file.name == "systems.toml").unwrap();
        file.content = "[[system]]\nname = \"x\"\ncolour = 1\n[[system]]\nname = \"Y Y\"\n".into();
    };
    let mut planned = plan(OPERATOR, files());
    broken(&mut planned.files);
    let problems = within(operator.registry().plan(planned)).await.unwrap().into_inner().problems;
    assert!(problems.len() >= 2, "{problems:?}");
    assert!(problems.iter().all(|problem| !problem.message_en.is_empty() && !problem.message_vi.is_empty()));
    let mut wanted = apply(OPERATOR, 1);
    broken(&mut wanted.files);
    assert_eq!(reason(within(operator.registry().apply(wanted)).await), Reason::RegistryInvalid);
}

#[tokio::test]
async fn only_who_has_the_grant_plans_or_applies_a_registry() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let refused = refusal(within(desk.registry().apply(apply(AN, 1))).await);
    assert_eq!(refused.reason(), Reason::GrantMissing);
    assert_eq!(reason(within(desk.registry().plan(plan(AN, files()))).await), Reason::GrantMissing);
}

pub(crate) async fn assert_serving(channel: &Channel) {
    for service in ["", "lgsp.v1.Dossiers", "lgsp.v1.Inbox", "lgsp.v1.Documents", "lgsp.v1.Registry"] {
        let request = HealthCheckRequest { service: service.into() };
        let health = within(HealthClient::new(channel.clone()).check(request)).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service:?}");
    }
    assert!(reflected(channel).await.contains(&"lgsp.v1.Dossiers".to_owned()));
}

/// The services that reflection lists.
async fn reflected(channel: &Channel) -> Vec<String> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers = within(client.server_reflection_info(tokio_stream::once(request))).await.unwrap().into_inner();
    match within(answers.message()).await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|one| one.name).collect(),
        other => panic!("a list, not {other:?}"),
    }
}

#[tokio::test]
async fn health_and_reflection_tell_of_every_service_and_of_no_stored_format() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    assert_serving(&desk.channel).await;
    let mut services = reflected(&desk.channel).await;
    services.retain(|service| service.starts_with("lgsp."));
    services.sort_unstable();
    let ours =
        ["Audit", "Certificates", "Documents", "Dossiers", "Inbox", "Numbers", "Operations", "Queries", "Registry"];
    assert_eq!(services, ours.map(|name| format!("lgsp.v1.{name}")));

    let file = "lgsp/store/v1/record.proto".to_owned();
    let request =
        ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::FileByFilename(file)) };
    let mut client = ServerReflectionClient::new(desk.channel.clone());
    let answer = within(client.server_reflection_info(tokio_stream::once(request))).await;
    let answer = match answer {
        Ok(answers) => within(answers.into_inner().message()).await,
        Err(status) => Err(status),
    };
    assert!(!matches!(
        answer,
        Ok(Some(ref answer)) if matches!(answer.message_response, Some(MessageResponse::FileDescriptorResponse(_)))
    ));
}

#[tokio::test]
async fn the_older_reflection_is_there_too() {
    use tonic_reflection::pb::v1alpha as old;
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let mut client = old::server_reflection_client::ServerReflectionClient::new(desk.channel.clone());
    let request = old::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(old::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut answers = within(client.server_reflection_info(tokio_stream::once(request))).await.unwrap().into_inner();
    let answer = within(answers.message()).await.unwrap().unwrap().message_response;
    assert!(matches!(answer, Some(old::server_reflection_response::MessageResponse::ListServicesResponse(_))));
}

#[tokio::test]
async fn this_machine_sees_how_the_node_stands() {
    let world = World::start().await;
    assert_eq!(world.local("GET", "/livez", "").await, (200, "alive\n".into()));
    assert_eq!(world.local("GET", "/readyz", "").await, (200, "ready\n".into()));
    let _ = world.system("mot-cua").await.admitted(&aid("k-1")).await;
    let (code, body) = world.local("GET", "/status", "").await;
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(code, 200);
    assert_eq!((&status["gateway"], &status["ready"]), (&DOMAIN.into(), &true.into()));
    assert_eq!((&status["store"]["dossiers"], &status["registry_version"]), (&1.into(), &1.into()));
    assert_eq!(status["business_time"], "2025-07-14T09:00:00+07:00");
}

#[tokio::test]
async fn a_replays_clock_goes_forward_and_never_back() {
    let world = World::start().await;
    let set = async |to: &str| world.local("PUT", "/business-clock", &format!("{{\"now\":\"{to}\"}}")).await;
    let noon = (200, "{\"now\":\"2025-07-14T12:00:00+07:00\"}".to_owned());
    assert_eq!(set("2025-07-14T12:00:00+07:00").await, noon);
    assert_eq!(set("2025-07-14T11:00:00+07:00").await, noon);
    assert_eq!(set("noon").await.0, 400);
    let later = v1::Submission { received_at: at("2025-07-14T11:59:00+07:00"), ..aid("k-1") };
    let _ = world.system("mot-cua").await.admitted(&later).await;
}

#[tokio::test]
async fn a_stopping_gateway_begins_nothing_and_finishes_what_is_under_way() {
    let mut world = World::start().await;
    let desk = world.system("mot-cua").await;
    let content = content(300_000);
    let (say, said) = mpsc::channel(1);
    let under_way = tokio::spawn({
        let mut documents = desk.documents();
        async move { documents.upload(ReceiverStream::new(said)).await }
    });
    say.send(message(Say::Start(start(&content, 0)))).await.unwrap();
    say.send(message(Say::Chunk(content.slice(..150_000)))).await.unwrap();
    // A call that ends after it began shows that the upload has begun too: both are on one connection, in order.
    let _ = desk.admitted(&aid("k-1")).await;

    world.tell_to_stop();
    let (code, why) = loop {
        let probed = world.local("GET", "/readyz", "").await;
        if probed.0 != 200 {
            break probed;
        }
    };
    assert_eq!((code, why.as_str()), (503, "stopping\n"));
    // There is a reason, or no connection any more; never an admission.
    let refused = desk.submit(&aid("k-2")).await.unwrap_err();
    let codes = [tonic::Code::Unavailable, tonic::Code::Cancelled];
    assert!(codes.contains(&refused.code()), "{refused:?}");

    say.send(message(Say::Chunk(content.slice(150_000..)))).await.unwrap();
    drop(say);
    let response = within(under_way).await.unwrap().unwrap().into_inner();
    assert_eq!(response.size_bytes, 300_000);
    world.ended().await.unwrap();
}

#[tokio::test]
async fn an_upload_that_never_ends_does_not_keep_a_gateway_from_stopping() {
    let mut world = World::start_with("grace_s = 1").await;
    let desk = world.system("mot-cua").await;
    let content = content(300_000);
    let (say, said) = mpsc::channel(4);
    let under_way = tokio::spawn({
        let mut documents = desk.documents();
        async move { documents.upload(ReceiverStream::new(said)).await }
    });
    say.send(message(Say::Start(start(&content, 0)))).await.unwrap();
    let _ = desk.admitted(&aid("k-1")).await;
    world.tell_to_stop();
    // Well before the silent upload is given up for its silence.
    let ended = tokio::time::timeout(Duration::from_secs(15), world.ended()).await;
    ended.expect("the grace period is a second").unwrap();
    under_way.abort();
}

#[tokio::test]
async fn what_an_operator_gets_wrong_is_told_with_the_place_to_look() {
    let world = World::start().await;
    let taken = Config { listen: Listen { bus: world.bus(), ..world.config().listen }, ..world.config() };
    assert!(matches!(App::build(taken).await, Err(RunError::Listen { key: "listen.bus", .. })));

    let mut no_key = world.config();
    no_key.tls.key = "/nowhere/gateway.key".into();
    let Err(RunError::Tls(error)) = App::build(no_key).await else { panic!("a key from nowhere") };
    assert!(error.to_string().contains("/nowhere/gateway.key"));

    // Its folder belongs to the gateway that runs.
    assert!(matches!(run(world.config()).await, Err(RunError::Store { .. })));

    let elsewhere = tempfile::tempdir().unwrap();
    let config = |registry: &str| Config {
        store: Store {
            dir: elsewhere.path().join("store"),
            node_key: elsewhere.path().join("node.key"),
            min_free_bytes: 0,
        },
        first_registry: Some(elsewhere.path().join(registry)),
        ..world.config()
    };
    assert!(matches!(run(config("none")).await, Err(RunError::FirstRegistry { .. })));
    std::fs::create_dir(elsewhere.path().join("broken")).unwrap();
    std::fs::write(elsewhere.path().join("broken/parties.toml"), "colour = 1").unwrap();
    let Err(RunError::RegistryRefused(refused)) = run(config("broken")).await else { panic!("a broken registry") };
    assert_eq!(refused.reason(), Reason::RegistryInvalid);
    assert!(refused.violations().iter().any(|violation| violation.field.starts_with("parties.toml")), "{refused}");
}

/// Runs a gateway that is not expected to come up.
async fn run(config: Config) -> Result<(), RunError> {
    let (ready, _) = tokio::sync::oneshot::channel();
    within(App::build(config).await?.run(tokio_util::sync::CancellationToken::new(), ready)).await
}
