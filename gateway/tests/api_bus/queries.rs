//! A live question to a data service: who may ask what for what, who answers, what becomes of it, and what is left of it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use lgsp_certs::{Purpose, VerifyingKey};
use lgsp_proto::v1::ask_request::Matter;
use lgsp_proto::v1::queries_client::QueriesClient;
use lgsp_proto::v1::serve_request::Request as Say;
use lgsp_proto::v1::serve_response::Response as Hear;
use lgsp_proto::v1::service_answer::Outcome;
use lgsp_proto::{Reason, Refusal, v1};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::delivery::Inbox;
use super::erasing::{OPERATOR, erase};
use super::world::*;

/// The police, who own the service `dan-cu`, and the department of land, who own `thua-dat`.
pub(crate) const POLICE: (&str, &str) = ("cong-an", "H99.CA");
const LAND: (&str, &str) = ("so-nganh", "H99.01");

const CENTRE: &str = "H99.TT";

/// Puts the services of the invented province in force.
pub(crate) async fn with_services(world: &World) {
    let mut registry = world.system("van-hanh").await.registry();
    let asking = || (OPERATOR.to_owned(), "van.hanh.1".to_owned());
    let (acting_party, actor) = asking();
    let read = v1::ReadRegistryRequest { acting_party, actor, ..Default::default() };
    let read = within(registry.read(read)).await.unwrap().into_inner();
    let (mut files, base_version) = (read.files, read.version.unwrap().number);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("domain/tests/fixtures/services");
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let (name, content) = (path.file_name().unwrap().to_str().unwrap(), std::fs::read(&path).unwrap());
        match files.iter_mut().find(|file| file.name == name) {
            Some(grants) => grants.content = [&grants.content[..], &content[..]].concat().into(),
            None => files.push(v1::RegistryFile { name: name.to_owned(), content: content.into() }),
        }
    }
    let (acting_party, actor) = asking();
    let apply = v1::ApplyRegistryRequest { acting_party, actor, files, base_version, ..Default::default() };
    within(registry.apply(apply)).await.unwrap();
}

pub(crate) async fn start() -> World {
    let world = World::start().await;
    with_services(&world).await;
    world
}

/// One connector's stream. Dropped, it is gone without a word.
pub(crate) struct Connector {
    say: mpsc::Sender<v1::ServeRequest>,
    hear: Streaming<v1::ServeResponse>,
}

pub(crate) fn open_serving(party: &str, service: &str, at_once: u32) -> v1::OpenServing {
    let services = vec![v1::ServiceRef { name: service.into(), version: 1 }];
    v1::OpenServing { party: party.into(), actor: "ket.noi".into(), services, at_once }
}

impl Connector {
    /// Opens a stream; the first word may be a refusal.
    async fn try_open(system: &System, open: v1::OpenServing) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(16);
        say.send(v1::ServeRequest { request: Some(Say::Open(open)) }).await.unwrap();
        let mut hear = within(queries(system).serve(ReceiverStream::new(said))).await?.into_inner();
        match within(hear.message()).await?.unwrap().response.unwrap() {
            Hear::Opened(_) => Ok(Self { say, hear }),
            other => panic!("opened, not {other:?}"),
        }
    }

    pub(crate) async fn open(world: &World, (system, party): (&str, &str), service: &str, at_once: u32) -> Self {
        let system = world.system(system).await;
        Self::try_open(&system, open_serving(party, service, at_once)).await.unwrap()
    }

    async fn question(&mut self) -> v1::Question {
        match within(self.hear.message()).await.unwrap().expect("the stream goes on").response.unwrap() {
            Hear::Question(question) => question,
            other => panic!("a question, not {other:?}"),
        }
    }

    async fn answer(&self, question: &v1::Question, outcome: Outcome) {
        let answer = v1::ServiceAnswer { query_id: question.query_id.clone(), outcome: Some(outcome) };
        self.say.send(v1::ServeRequest { request: Some(Say::Answer(answer)) }).await.unwrap();
    }

    pub(crate) async fn reply(&mut self, reply: &str) -> v1::Question {
        let question = self.question().await;
        self.answer(&question, Outcome::Reply(Bytes::copy_from_slice(reply.as_bytes()))).await;
        question
    }

    async fn refuse(&mut self, refusal: v1::ServiceRefusal) {
        let question = self.question().await;
        self.answer(&question, Outcome::Refusal(refusal.into())).await;
    }
}

pub(crate) fn queries(system: &System) -> QueriesClient<Channel> {
    QueriesClient::new(system.channel.clone())
}

pub(crate) fn citizen() -> Bytes {
    json!({ "personal_number": "046190000001", "full_name": "TRẦN THỊ THỬ" }).to_string().into()
}

/// What the population database knows, with fields in it that no commune is granted.
const KNOWN: &str = r#"{ "full_name": "TRẦN THỊ THỬ", "personal_number": "046190000001", "date_of_birth": "1990-02-03",
  "residence": {"commune_code": "99001", "detail": "Thôn 1"}, "children": [{"full_name": "A"}], "blood_group": "O" }"#;

/// A clerk of An confirms a citizen for a dossier that will come in under this key.
pub(crate) fn confirming(key: &str) -> v1::AskRequest {
    v1::AskRequest {
        acting_party: AN.into(),
        actor: "can.bo.1".into(),
        service: "dan-cu".into(),
        version: 0,
        purpose: "doi-chieu".into(),
        procedure_code: AID.into(),
        matter: Some(Matter::IntakeKey(key.into())),
        fields: Vec::new(),
        payload: citizen(),
    }
}

/// A clerk of An asks about a parcel, for nothing in particular.
fn parcel() -> v1::AskRequest {
    v1::AskRequest {
        service: "thua-dat".into(),
        purpose: "tham-dinh".into(),
        procedure_code: String::new(),
        matter: None,
        payload: Bytes::from_static(br#"{"parcel":"17/4"}"#),
        ..confirming("")
    }
}

async fn ask(system: &System, request: v1::AskRequest) -> Result<v1::AskResponse, Status> {
    Ok(within(queries(system).ask(request)).await?.into_inner())
}

/// Asks in the background.
fn asking(system: &System, request: v1::AskRequest) -> JoinHandle<Result<v1::AskResponse, Status>> {
    let mut client = queries(system);
    tokio::spawn(async move { Ok(within(client.ask(request)).await?.into_inner()) })
}

fn read(world: &World, answer: &v1::AskResponse) -> v1::QueryAnswer {
    let signed = answer.answer.as_ref().unwrap();
    let gateway = world.gateway();
    assert_eq!(signed.certificate_sha256, gateway.digest().as_bytes()[..]);
    let key = VerifyingKey::from_certificate(gateway.certificate()).unwrap();
    key.verify(Purpose::QueryAnswer, &signed.answer, &signed.signature).unwrap();
    v1::QueryAnswer::decode(signed.answer.clone()).unwrap()
}

fn json_of(reply: &[u8]) -> Value {
    serde_json::from_slice(reply).unwrap()
}

fn id_in(refusal: &Refusal) -> Bytes {
    data_encoding::HEXLOWER.decode(refusal.details()["query_id"].as_bytes()).unwrap().into()
}

async fn look(system: &System, party: &str, query_id: &Bytes) -> Result<v1::LookResponse, Status> {
    let request = v1::LookRequest { acting_party: party.into(), actor: "can.bo.2".into(), query_id: query_id.clone() };
    Ok(within(queries(system).look(request)).await?.into_inner())
}

async fn list(system: &System, party: &str, dossier: &str) -> Result<Vec<v1::QueryOnRecord>, Status> {
    let request = v1::ListQueriesRequest {
        acting_party: party.into(),
        actor: "can.bo.2".into(),
        dossier_code: dossier.into(),
        ..Default::default()
    };
    Ok(within(queries(system).list(request)).await?.into_inner().queries)
}

#[tokio::test]
async fn a_question_is_answered_with_what_is_granted_and_the_gateways_word() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let asked = asking(&desk, confirming("k-1"));
    let question = connector.reply(KNOWN).await;
    let answer = asked.await.unwrap().unwrap();

    let expected = json!({ "full_name": "TRẦN THỊ THỬ", "residence": { "commune_code": "99001" },
        "children": [{ "full_name": "A" }] });
    assert_eq!(json_of(&answer.reply), expected);
    let word = read(&world, &answer);
    assert_eq!(word.reply_sha256, super::documents::sha256(&answer.reply));
    assert_eq!(word.query_id, question.query_id);
    let named = (word.service.as_str(), word.version, word.purpose.as_str(), word.procedure_code.as_str());
    assert_eq!(named, ("dan-cu", 1, "doi-chieu", AID));
    assert_eq!((word.connector.as_str(), word.actor.as_str()), (POLICE.0, "can.bo.1"));
    assert_eq!(word.fields, ["children.full_name", "full_name", "residence.commune_code"]);
    // The connector was told the same, and for how long.
    assert_eq!((question.fields, question.payload), (word.fields, citizen()));
    assert!(question.time_left_ms > 0 && question.time_left_ms <= 20_000);

    // Whoever asks for less is told less.
    let less = v1::AskRequest { fields: vec!["residence.commune_code".into()], ..confirming("k-1") };
    let asked = asking(&desk, less);
    connector.reply(KNOWN).await;
    let reply = asked.await.unwrap().unwrap().reply;
    assert_eq!(json_of(&reply), json!({ "residence": { "commune_code": "99001" } }));
}

#[tokio::test]
async fn a_reply_that_is_granted_whole_passes_byte_by_byte() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let asked = asking(&desk, v1::AskRequest { acting_party: CENTRE.into(), ..confirming("k-1") });
    let reply = "{ \"date_of_birth\" :\"1990-02-03\",\n \"full_name\":\"TR\\u1ea6N\" }";
    connector.reply(reply).await;
    assert_eq!(asked.await.unwrap().unwrap().reply, reply.as_bytes());
}

#[tokio::test]
async fn what_lacks_its_ground_or_its_grant_is_refused_and_nobody_is_asked() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let _connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let refused = async |request: v1::AskRequest| {
        let refusal = refusal(ask(&desk, request).await);
        let fields = refusal.violations().iter().map(|violation| violation.field.clone()).collect::<Vec<_>>();
        (refusal.reason(), fields.join(" "), refusal)
    };
    let good = || confirming("k-1");
    let invalid = async |request, field: &str| {
        let (reason, fields, refusal) = refused(request).await;
        assert_eq!((reason, fields.as_str()), (Reason::FieldInvalid, field), "{refusal:?}");
    };
    invalid(v1::AskRequest { matter: None, ..good() }, "matter").await;
    invalid(v1::AskRequest { procedure_code: String::new(), ..good() }, "procedure_code").await;
    invalid(v1::AskRequest { purpose: String::new(), ..good() }, "purpose").await;
    invalid(v1::AskRequest { purpose: "to-mo".into(), ..good() }, "purpose").await;
    invalid(v1::AskRequest { actor: String::new(), ..good() }, "actor").await;
    invalid(v1::AskRequest { fields: vec!["residence".into()], ..good() }, "fields[0]").await;
    invalid(
        v1::AskRequest { payload: Bytes::from_static(b"{}"), ..good() },
        "payload.full_name payload.personal_number",
    )
    .await;
    invalid(v1::AskRequest { payload: Bytes::from_static(b"no"), ..good() }, "payload").await;
    let long = Bytes::from(vec![b' '; (64 << 10) + 1]);
    assert_eq!(refused(v1::AskRequest { payload: long, ..good() }).await.0, Reason::MessageTooLarge);
    let (reason, _, told) = refused(v1::AskRequest { fields: vec!["date_of_birth".into()], ..good() }).await;
    assert_eq!((reason, told.details()["fields"].as_str()), (Reason::GrantMissing, "date_of_birth"));
    assert_eq!(told.details()["owner"], POLICE.1);
    assert!(told.details()["can_i"].starts_with("lgsp can-i call --party H99.101 --service dan-cu"), "{told:?}");
    let other = v1::AskRequest { procedure_code: "1.000002".into(), ..good() };
    assert_eq!(refused(other).await.0, Reason::GrantMissing);
    assert_eq!(refused(v1::AskRequest { purpose: "lap-ho-so".into(), ..good() }).await.0, Reason::GrantMissing);
    assert_eq!(refused(v1::AskRequest { service: "rung".into(), ..good() }).await.0, Reason::ServiceUnknown);
    assert_eq!(refused(v1::AskRequest { version: 2, ..good() }).await.0, Reason::ServiceUnknown);
    assert_eq!(refused(v1::AskRequest { acting_party: BINH.into(), ..good() }).await.0, Reason::ActsForMissing);
    let unknown = Some(Matter::DossierCode("H99.101-250714-9999".into()));
    assert_eq!(refused(v1::AskRequest { matter: unknown, ..good() }).await.0, Reason::DossierNotFound);
    // Told of a dossier, and no business of its own with the citizen.
    let code = desk.admitted(&aid_elsewhere("k-2")).await;
    let mine = v1::AskRequest { matter: Some(Matter::DossierCode(code.clone())), ..good() };
    let wrong = v1::AskRequest { procedure_code: "1.000002".into(), ..mine.clone() };
    invalid(wrong, "procedure_code").await;
    let foreign = v1::AskRequest { acting_party: "H99.104".into(), ..mine };
    assert_eq!(refused(foreign).await.0, Reason::DossierNotFound);
    assert!(list(&desk, AN, "").await.unwrap().is_empty(), "what was never asked is not on record");
}

#[tokio::test]
async fn the_refusals_of_a_service_are_told_apart_and_each_is_on_record() {
    use v1::ServiceRefusal as Says;
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let cases = [
        (Says::NotFound, Reason::SubjectNotFound),
        (Says::Ambiguous, Reason::SubjectAmbiguous),
        (Says::Mismatch, Reason::SubjectMismatch),
        (Says::Locked, Reason::SubjectLocked),
        (Says::ClerkNotAuthorised, Reason::ClerkNotAuthorised),
        (Says::PurposeNotPermitted, Reason::PurposeNotPermitted),
        (Says::Quota, Reason::ServiceQuotaExceeded),
        (Says::Maintenance, Reason::ServiceMaintenance),
        (Says::Failed, Reason::ServiceFailed),
    ];
    for (says, reason) in cases {
        let asked = asking(&desk, confirming("k-1"));
        connector.refuse(says).await;
        let refused = refusal(asked.await.unwrap());
        assert_eq!((refused.reason(), refused.details()["owner"].as_str()), (reason, POLICE.1));
        let record = look(&desk, AN, &id_in(&refused)).await.unwrap();
        assert_eq!((record.query.unwrap().outcome.as_str(), record.payload), (reason.as_str(), citizen()));
        assert!(record.reply.is_empty() && record.answer.is_none());
    }
    for wrong in [r#"{"full_name":7}"#, "[]", "not json", r#"{"full_name":"A","full_name":"B"}"#] {
        let asked = asking(&desk, confirming("k-1"));
        connector.reply(wrong).await;
        assert_eq!(reason(asked.await.unwrap()), Reason::ServiceFailed, "{wrong}");
    }
    let listed = list(&desk, AN, "").await.unwrap();
    assert_eq!(listed.len(), cases.len() + 4);
    assert_eq!(listed.last().unwrap().outcome, "SUBJECT_NOT_FOUND");
    let (_, page) = world.local("GET", "/metrics", "").await;
    assert!(page.contains("lgsp_gateway_queries_total{outcome=\"refused\"} 7"), "{page}");
    assert!(page.contains("lgsp_gateway_queries_total{outcome=\"failed\"} 6"), "{page}");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_dropped_and_the_outcome_is_unknown() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let mut client = queries(&desk);
    let asked = tokio::spawn(async move {
        let mut request = Request::new(confirming("k-1"));
        request.set_timeout(Duration::from_millis(700));
        within(client.ask(request)).await
    });
    let question = connector.question().await;
    assert!(question.time_left_ms <= 500, "the caller's deadline goes before the service's");
    let refused = refusal(asked.await.unwrap());
    assert_eq!(refused.reason(), Reason::QueryOutcomeUnknown);
    connector.answer(&question, Outcome::Reply(Bytes::from_static(KNOWN.as_bytes()))).await;
    // What comes after it is answered as ever, by the same stream.
    let asked = asking(&desk, confirming("k-1"));
    connector.reply(KNOWN).await;
    asked.await.unwrap().unwrap();
    let record = look(&desk, AN, &id_in(&refused)).await.unwrap();
    assert_eq!((record.query.unwrap().outcome.as_str(), record.reply.len()), ("QUERY_OUTCOME_UNKNOWN", 0));
    let (_, page) = world.local("GET", "/metrics", "").await;
    assert!(page.contains("lgsp_gateway_queries_total{outcome=\"late\"} 1"), "{page}");
}

#[tokio::test]
async fn a_question_is_asked_once_also_when_the_stream_dies_that_has_it() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut first = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let asked = asking(&desk, confirming("k-1"));
    let question = first.question().await;
    let mut second = Connector::open(&world, POLICE, "dan-cu", 4).await;
    drop(first);
    let refused = refusal(asked.await.unwrap());
    assert_eq!((refused.reason(), id_in(&refused)), (Reason::QueryOutcomeUnknown, question.query_id));
    // At once, and not when the service's time is over.
    let query = look(&desk, AN, &id_in(&refused)).await.unwrap().query.unwrap();
    let (asked_at, ended_at) = (query.asked_at.unwrap(), query.ended_at.unwrap());
    assert!(ended_at.seconds - asked_at.seconds < 15, "{asked_at} to {ended_at}");
    // The other stream is asked what comes next, and nothing else.
    let asked = asking(&desk, v1::AskRequest { actor: "can.bo.9".into(), ..confirming("k-1") });
    assert_eq!(second.reply(KNOWN).await.actor, "can.bo.9");
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn connectors_of_one_service_share_its_questions() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut one = Connector::open(&world, POLICE, "dan-cu", 2).await;
    let mut other = Connector::open(&world, POLICE, "dan-cu", 1).await;
    let asked: Vec<_> = (0..3).map(|_| asking(&desk, confirming("k-1"))).collect();
    // Each has some of them, up to what it takes at once.
    let (first, second) = (one.question().await, other.question().await);
    let third = one.question().await;
    for (connector, question) in [(&one, first), (&other, second), (&one, third)] {
        connector.answer(&question, Outcome::Reply(Bytes::from_static(KNOWN.as_bytes()))).await;
    }
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_connector_that_hangs_does_not_take_every_question_while_another_one_is_well() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut hanging = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let mut well = Connector::open(&world, POLICE, "dan-cu", 4).await;
    // Both have nothing to do, and the first of them is asked.
    let mut request = Request::new(confirming("k-1"));
    request.set_timeout(Duration::from_millis(500));
    assert_eq!(reason(within(queries(&desk).ask(request)).await.map(drop)), Reason::QueryOutcomeUnknown);
    let missed = hanging.question().await;
    for _ in 0..3 {
        let asked = asking(&desk, confirming("k-1"));
        well.reply(KNOWN).await;
        asked.await.unwrap().unwrap();
    }
    // It was only slow: what it says, too late, brings it back to its place.
    hanging.answer(&missed, Outcome::Reply(Bytes::from_static(KNOWN.as_bytes()))).await;
    let late = "lgsp_gateway_queries_total{outcome=\"late\"} 1";
    within(async { while !world.local("GET", "/metrics", "").await.1.contains(late) {} }).await;
    let asked = asking(&desk, confirming("k-1"));
    hanging.reply(KNOWN).await;
    asked.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_service_that_hangs_is_full_at_its_limit_and_delays_no_other() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut people = Connector::open(&world, POLICE, "dan-cu", 64).await;
    let mut land = Connector::open(&world, LAND, "thua-dat", 4).await;
    let mut hanging = Vec::new();
    for _ in 0..4 {
        hanging.push(asking(&desk, confirming("k-1")));
        people.question().await;
    }
    let refused = refusal(ask(&desk, confirming("k-1")).await);
    assert_eq!((refused.reason(), refused.details()["at_once"].as_str()), (Reason::ServiceBusy, "4"));
    assert!(refused.retry_after().is_some());
    let asked = asking(&desk, parcel());
    land.reply(r#"{"area_m2":120.50}"#).await;
    assert_eq!(asked.await.unwrap().unwrap().reply, r#"{"area_m2":120.50}"#.as_bytes());
    let standing = services(&desk).await;
    let state = |name: &str| {
        let one = standing.iter().find(|one| one.service.as_ref().unwrap().name == name).unwrap();
        (one.connectors, one.under_way, one.state())
    };
    assert_eq!(state("dan-cu"), (1, 4, v1::ServiceState::Open));
    assert_eq!(state("thua-dat"), (1, 0, v1::ServiceState::Open));
    drop(people);
    for asked in hanging {
        assert_eq!(reason(asked.await.unwrap()), Reason::QueryOutcomeUnknown);
    }
}

async fn services(system: &System) -> Vec<v1::ServiceStanding> {
    let request = v1::ServicesRequest { acting_party: AN.into(), actor: "can.bo.1".into() };
    within(queries(system).services(request)).await.unwrap().into_inner().services
}

#[tokio::test]
async fn a_service_that_fails_too_often_is_left_alone_and_the_others_are_not() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut people = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let mut land = Connector::open(&world, LAND, "thua-dat", 4).await;
    for _ in 0..5 {
        let asked = asking(&desk, confirming("k-1"));
        people.refuse(v1::ServiceRefusal::Failed).await;
        assert_eq!(reason(asked.await.unwrap()), Reason::ServiceFailed);
    }
    let refused = refusal(ask(&desk, confirming("k-1")).await);
    assert_eq!(refused.reason(), Reason::ServiceSuspended);
    assert!(refused.retry_after().is_some_and(|wait| wait <= Duration::from_secs(5)));
    let asked = asking(&desk, parcel());
    land.reply("{}").await;
    asked.await.unwrap().unwrap();
    let suspended = services(&desk).await.into_iter().find(|one| one.owner == POLICE.1).unwrap();
    assert_eq!(suspended.state(), v1::ServiceState::Suspended);
}

#[tokio::test]
async fn only_an_owners_system_serves_and_only_as_long_as_it_acts_for_it() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    assert_eq!(reason(ask(&desk, confirming("k-1")).await), Reason::ServiceNotServed);
    let open = async |system: &str, party: &str, service: &str| {
        let system = world.system(system).await;
        reason(Connector::try_open(&system, open_serving(party, service, 1)).await.map(drop))
    };
    assert_eq!(open("so-nganh", LAND.1, "dan-cu").await, Reason::ActsForMissing);
    assert_eq!(open("so-nganh", POLICE.1, "dan-cu").await, Reason::ActsForMissing);
    assert_eq!(open("cong-an", POLICE.1, "rung").await, Reason::ServiceUnknown);
    assert_eq!(open("cong-an", POLICE.1, "").await, Reason::FieldInvalid);
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let asked = asking(&desk, confirming("k-1"));
    let question = connector.question().await;
    world.change("systems.toml", "acts_for = [\"H99.CA\", \"H99.CA.*\"]", "acts_for = [\"H99.CA.102\"]").await;
    assert_eq!(reason(ask(&desk, confirming("k-1")).await), Reason::ServiceNotServed);
    connector.answer(&question, Outcome::Reply(Bytes::from_static(KNOWN.as_bytes()))).await;
    assert_eq!(reason(asked.await.unwrap()), Reason::QueryOutcomeUnknown, "its word counts no more");
}

#[tokio::test]
async fn a_party_that_asks_too_fast_is_told_to_wait_before_anybody_is_asked() {
    let world = World::start_with("party_per_second = 1").await;
    with_services(&world).await;
    let desk = world.system("mot-cua").await;
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(reason(ask(&desk, confirming("k-1")).await));
    }
    assert!(told.contains(&Reason::QuotaExceeded) && told[0] == Reason::ServiceNotServed, "{told:?}");
}

#[tokio::test]
async fn a_look_up_made_before_the_dossier_belongs_to_it_and_is_erased_with_it() {
    let mut world = start().await;
    let desk = world.system("mot-cua").await;
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let asked = asking(&desk, confirming("k-1"));
    connector.reply(KNOWN).await;
    let answer = asked.await.unwrap().unwrap();
    let id = read(&world, &answer).query_id;
    let code = desk.admitted(&aid_elsewhere("k-1")).await;
    world.restart().await;

    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    // The authority sees what the desk was told, byte by byte.
    let seen = look(&binh, BINH, &id).await.unwrap();
    assert_eq!((seen.payload, &seen.reply, &seen.answer), (citizen(), &answer.reply, &answer.answer));
    let query = seen.query.unwrap();
    assert_eq!((query.dossier_code.as_str(), query.acting_party.as_str(), query.outcome.as_str()), (&*code, AN, ""));
    assert!(query.subject_hash.is_empty());
    assert_eq!(list(&binh, BINH, &code).await.unwrap()[0].query_id, id);
    assert_eq!(list(&desk, AN, &code).await.unwrap().len(), 1);
    assert_eq!(reason(look(&desk, "H99.104", &id).await), Reason::QueryNotFound);
    assert_eq!(reason(look(&binh, BINH, &Bytes::from_static(&[7; 16])).await), Reason::QueryNotFound);
    assert_eq!(reason(list(&world.system("cong-an").await, "H99.CA.102", &code).await), Reason::DossierNotFound);
    // Who oversees the bus sees that it was asked, about one and the same, and nothing of what.
    let operator = world.system("van-hanh").await;
    let overseen = look(&operator, OPERATOR, &id).await.unwrap();
    assert!(overseen.payload.is_empty() && overseen.reply.is_empty());
    assert_eq!(overseen.query.unwrap().subject_hash.len(), 32);

    let refusing = v1::entry::What::Refused(v1::Refused { reason: "thiếu giấy tờ".into() });
    binh.record(&entry("k-2", BINH, &code, refusing)).await.unwrap();
    erase(&operator, OPERATOR, &code, "QD-1/2026").await.unwrap();
    let left = look(&binh, BINH, &id).await.unwrap();
    assert!(left.erased && left.payload.is_empty() && left.reply.is_empty() && left.answer.is_some());
    let again = v1::AskRequest { matter: Some(Matter::DossierCode(code)), ..confirming("") };
    assert_eq!(reason(ask(&desk, again).await), Reason::ContentErased);
}

#[tokio::test]
async fn what_was_asked_for_a_dossier_that_never_comes_is_erased_and_what_one_came_for_is_not() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let mut ids = Vec::new();
    for key in ["k-1", "k-2"] {
        let asked = asking(&desk, confirming(key));
        connector.reply(KNOWN).await;
        ids.push(read(&world, &asked.await.unwrap().unwrap()).query_id);
    }
    let _ = desk.admitted(&aid("k-1")).await;
    assert_eq!(world.engine().lapse_matters(Duration::from_secs(3600)).await.unwrap(), 0, "nobody waits that long yet");
    assert_eq!(world.engine().lapse_matters(Duration::ZERO).await.unwrap(), 1);
    let [kept, erased] = [look(&desk, AN, &ids[0]).await.unwrap(), look(&desk, AN, &ids[1]).await.unwrap()];
    assert!(!kept.erased && kept.payload == citizen());
    assert!(erased.erased && erased.payload.is_empty() && erased.query.is_some());
    // It is handed in after all.
    let code = desk.admitted(&aid("k-2")).await;
    assert!(list(&desk, AN, &code).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_is_given_again_only_as_long_as_its_owner_says_and_is_on_record_each_time() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut land = Connector::open(&world, LAND, "thua-dat", 4).await;
    let asked = asking(&desk, parcel());
    land.reply(r#"{"area_m2":120.50,"use":"ODT"}"#).await;
    let first = asked.await.unwrap().unwrap();
    // Whoever asks for the same is answered without the service; and everybody else with it.
    let again = ask(&desk, v1::AskRequest { actor: "can.bo.9".into(), ..parcel() }).await.unwrap();
    assert_eq!(again.reply, first.reply);
    let (first, again) = (read(&world, &first), read(&world, &again));
    assert_ne!(first.query_id, again.query_id);
    let moment = |at: Option<prost_types::Timestamp>| at.map(|at| (at.seconds, at.nanos)).unwrap();
    assert!(moment(again.answered_at) <= moment(again.asked_at), "it says when the owner answered");
    let other = v1::AskRequest { payload: Bytes::from_static(br#"{"parcel":"18/4"}"#), ..parcel() };
    for different in [other, v1::AskRequest { fields: vec!["use".into()], ..parcel() }] {
        let asked = asking(&desk, different);
        land.reply(r#"{"use":"LUC"}"#).await;
        assert_eq!(asked.await.unwrap().unwrap().reply, r#"{"use":"LUC"}"#.as_bytes());
    }
    let listed = list(&desk, AN, "").await.unwrap();
    assert_eq!(listed.len(), 4);
    assert_eq!((&*listed[2].actor, listed[2].query_id.clone()), ("can.bo.9", again.query_id));
}

async fn figures(system: &System, party: &str, change: impl FnOnce(&mut v1::FiguresRequest)) -> Vec<v1::FigureLine> {
    let mut request = v1::FiguresRequest { acting_party: party.into(), actor: "can.bo.2".into(), ..Default::default() };
    change(&mut request);
    within(queries(system).figures(request)).await.unwrap().into_inner().lines
}

#[tokio::test]
async fn how_often_was_asked_is_told_to_who_oversees_to_the_party_itself_and_to_the_owner() {
    let world = start().await;
    let (desk, police) = (world.system("mot-cua").await, world.system(POLICE.0).await);
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    for key in ["k-1", "k-2"] {
        let asked = asking(&desk, confirming(key));
        connector.reply(KNOWN).await;
        asked.await.unwrap().unwrap();
    }
    let asked = asking(&desk, confirming("k-2"));
    connector.refuse(v1::ServiceRefusal::NotFound).await;
    asked.await.unwrap().unwrap_err();
    desk.admitted(&aid("k-1")).await;

    let by_clerk = |_: &mut v1::FiguresRequest| ();
    let clerk = v1::FigureLine {
        party: AN.into(),
        clerk: "can.bo.1".into(),
        answered: 2,
        refused: 1,
        dossiers: Some(0),
        ..Default::default()
    };
    let own = figures(&desk, AN, by_clerk).await;
    assert!(own.contains(&clerk) || own.contains(&v1::FigureLine { dossiers: Some(1), ..clerk.clone() }), "{own:?}");
    assert_eq!(own.iter().filter_map(|line| line.dossiers).sum::<u64>(), 1);
    let operator = world.system("van-hanh").await;
    assert_eq!(figures(&operator, OPERATOR, by_clerk).await, own);
    // An owner is told of its own services only, and of nobody's dossiers; others are told nothing.
    let of_services = |request: &mut v1::FiguresRequest| request.of_own_services = true;
    let owned = figures(&police, POLICE.1, of_services).await;
    assert_eq!(owned, [v1::FigureLine { dossiers: None, ..clerk }]);
    assert!(figures(&police, POLICE.1, by_clerk).await.is_empty());
    let land = world.system(LAND.0).await;
    assert!(figures(&land, LAND.1, of_services).await.is_empty());
    assert!(figures(&desk, AN, of_services).await.is_empty());

    let by_procedure = figures(&desk, AN, |request| request.set_by(v1::FiguresBy::Procedure)).await;
    let [line] = &by_procedure[..] else { panic!("{by_procedure:?}") };
    assert_eq!((line.procedure_code.as_str(), line.answered, line.refused, line.dossiers), (AID, 2, 1, Some(1)));
    let by_service = figures(&desk, AN, |request| request.set_by(v1::FiguresBy::Service)).await;
    assert_eq!((by_service[0].service.as_str(), by_service[0].dossiers), ("dan-cu", None));

    for (from, to, field) in [
        ("2025-07-14", "", "to_day"),
        ("2025-07-14", "2025-07-13", "to_day"),
        ("2025-01-01", "2025-04-11", "from_day"),
        ("14/07/2025", "2025-07-14", "from_day"),
    ] {
        let request = v1::FiguresRequest {
            acting_party: AN.into(),
            actor: "can.bo.2".into(),
            from_day: from.into(),
            to_day: to.into(),
            ..Default::default()
        };
        let refusal = refusal(within(queries(&desk).figures(request)).await);
        assert_eq!((refusal.reason(), refusal.violations()[0].field.as_str()), (Reason::FieldInvalid, field), "{from}");
    }
}

#[tokio::test]
async fn an_authority_is_told_with_its_delivery_what_was_looked_up_and_nobody_else_is() {
    let world = start().await;
    let (desk, binh) = (world.system("mot-cua").await, world.system("mot-cua-binh").await);
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 4).await;
    let (id, answer) = confirmed(&world, &desk, &mut connector, confirming("k-1")).await;
    let code = desk.admitted(&aid_elsewhere("k-1")).await;
    let mut inbox = Inbox::open(&binh, &[BINH], 9).await;
    let delivery = inbox.delivery().await;
    let [look_up] = &delivery.look_ups[..] else { panic!("{:?}", delivery.look_ups) };
    assert_eq!((&look_up.query_id, look_up.service.as_str(), look_up.version), (&id, "dan-cu", 1));
    assert_eq!(look_up.reply_sha256, super::documents::sha256(&answer.reply));
    assert!(!delivery.more_look_ups);
    assert_eq!(look(&binh, BINH, &look_up.query_id).await.unwrap().reply, answer.reply);
    inbox.take_over(&delivery).await;

    // The desk hears of the next event, and of no look-up, its own included.
    let matter = Some(Matter::DossierCode(code.clone()));
    confirmed(&world, &desk, &mut connector, v1::AskRequest { matter, ..confirming("") }).await;
    binh.record(&entry("k-2", BINH, &code, accepted())).await.unwrap();
    let told = Inbox::open(&desk, &[AN], 9).await.delivery().await;
    assert_eq!((told.r#ref.as_ref().unwrap().sequence, told.look_ups.len()), (2, 0));
}

/// Asks, and is answered. Gives the query's name as well.
pub(crate) async fn confirmed(
    world: &World,
    desk: &System,
    connector: &mut Connector,
    question: v1::AskRequest,
) -> (Bytes, v1::AskResponse) {
    let asked = asking(desk, question);
    connector.reply(KNOWN).await;
    let answer = asked.await.unwrap().unwrap();
    (read(world, &answer).query_id, answer)
}

#[tokio::test]
async fn callers_that_wait_too_short_put_no_service_out_for_the_others() {
    let world = start().await;
    let desk = world.system("mot-cua").await;
    let mut connector = Connector::open(&world, POLICE, "dan-cu", 9).await;
    for _ in 0..6 {
        let mut request = Request::new(confirming("k-1"));
        request.set_timeout(Duration::from_millis(250));
        let mut client = queries(&desk);
        let asked = tokio::spawn(async move { within(client.ask(request)).await });
        connector.question().await;
        asked.await.unwrap().unwrap_err();
    }
    confirmed(&world, &desk, &mut connector, confirming("k-1")).await;
}
