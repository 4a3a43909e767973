//! What a look-up of a citizen costs: questions to `dan-cu-tra-cuu` of a million invented citizens, over the whole way and over the
//! gateway's part of it alone.
//!
//! Callers put one question after the other, each about another citizen and for another dossier to come, so that each is admitted, asked, cut,
//! signed, put on record and synced. The *replica* answers from PostgreSQL through a population connector in a process of its own, as it is shipped;
//! the *echo* answers at once, from a stream that this program serves: what is left is the gateway. The two follow one another, each
//! against a fresh gateway, and ratios are taken within such a pair. Every answer is looked at: it must be of the citizen asked
//! about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use lgsp_adapters::link::Link;
use lgsp_proto::v1;
use lgsp_proto::v1::ask_request::Matter;
use lgsp_proto::v1::serve_request::Request as Up;
use lgsp_proto::v1::serve_response::Response as Down;
use lgsp_proto::v1::service_answer::Outcome;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use crate::callers::{CONNECTIONS, Latency};
use crate::connectors::{Adapter, served};
use crate::postgres::Postgres;
use crate::servers::{Kind, Server};
use crate::world::{AUTHORITY, POPULATION, World};

/// How many callers there are at once.
pub(crate) const CALLERS: [usize; 3] = [1, 16, 128];

/// Connections of the connector to its PostgreSQL.
const REPLICA_CONNECTIONS: usize = 4;

/// Nobody's share is what is measured.
const UNBOUNDED: &str = "party_per_second = 1000000\nsystem_per_second = 1000000\n";

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) citizens: u32,
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What one run found.
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) latency: Latency,
    pub(crate) gateway_per_1000: Option<Duration>,
}

/// A number of callers, over all rounds.
pub(crate) struct Row {
    pub(crate) callers: usize,
    /// The echo, and the replica right after it.
    pub(crate) pairs: Vec<(Run, Run)>,
}

/// Measures it, round by round.
///
/// # Errors
/// Something does not start, or a question is not answered, or with another citizen: there is no result then.
pub(crate) async fn measure(extent: &Extent, world: &World) -> anyhow::Result<Vec<Row>> {
    eprintln!("look-ups: {} citizens into PostgreSQL", extent.citizens);
    // On this thread, which is the program's own: the server ends with the thread that started it.
    let postgres = filled(extent.citizens);
    let mut rows: Vec<Row> = CALLERS.map(|callers| Row { callers, pairs: Vec::new() }).into();
    for round in 1..=extent.rounds {
        eprintln!("look-ups: round {round} of {}", extent.rounds);
        for row in &mut rows {
            let echo = run(extent, world, row.callers, None).await?;
            let replica = run(extent, world, row.callers, Some(&postgres)).await?;
            row.pairs.push((echo, replica));
        }
    }
    Ok(rows)
}

async fn run(extent: &Extent, world: &World, callers: usize, replica: Option<&Postgres>) -> anyhow::Result<Run> {
    let server = Server::start(Kind::Gateway, world, UNBOUNDED)?;
    let _connector = match replica {
        Some(postgres) => {
            Connector::Shipped { _adapter: Adapter::start(world, &server, POPULATION, "G01", &section(postgres))? }
        }
        None => Connector::Echo { _served: echo(world, &server).await? },
    };
    let links = (0..callers.min(CONNECTIONS)).map(|_| world.link(AUTHORITY, &server.bus));
    let links: Vec<Link> = links.collect::<Result<_, _>>()?;
    served(&links[0], &world.communes[0].0, &["dan-cu-tra-cuu"]).await?;
    let from = Instant::now() + extent.warm_up;
    let to = from + extent.time;
    let next = Arc::new(AtomicU32::new(0));
    let mut asking = JoinSet::new();
    for number in 0..callers {
        let party = world.communes[number % world.communes.len()].0.clone();
        let caller = Caller { link: links[number % links.len()].clone(), party, citizens: extent.citizens };
        asking.spawn(caller.ask_until(next.clone(), to));
    }
    sleep_until(from).await;
    let before = server.processor_time();
    sleep_until(to).await;
    let used = server.processor_time().zip(before).map(|(after, before)| after - before);
    let mut answered = Vec::new();
    while let Some(caller) = asking.join_next().await {
        answered.extend(caller??);
    }
    answered.retain(|(_, done): &(Instant, Instant)| (from..=to).contains(done));
    let latency = Latency::of(answered.iter().map(|(begun, done)| *done - *begun).collect());
    Ok(Run {
        per_second: answered.len() as f64 / extent.time.as_secs_f64(),
        latency: latency.context("nothing was answered in the time that counts")?,
        gateway_per_1000: used.map(|used| used.mul_f64(1000.0 / answered.len() as f64)),
    })
}

/// What answers the questions, for as long as it is held.
enum Connector {
    Shipped { _adapter: Adapter },
    Echo { _served: AbortOnDropHandle<anyhow::Result<()>> },
}

/// Asks about one citizen after the other.
struct Caller {
    link: Link,
    party: String,
    citizens: u32,
}

impl Caller {
    async fn ask_until(self, next: Arc<AtomicU32>, end: Instant) -> anyhow::Result<Vec<(Instant, Instant)>> {
        let mut answered = Vec::new();
        while Instant::now() < end {
            let number = next.fetch_add(1, Ordering::Relaxed);
            // Spread over the whole population, and nobody twice before everybody was.
            let place = u32::try_from(u64::from(number) * 381_937 % u64::from(self.citizens))?;
            let question = question(&self.party, place, number);
            let begun = Instant::now();
            let told = self.link.ask(question, None).await.context("a question is not answered")?;
            let done = Instant::now();
            let reply: Value = serde_json::from_slice(&told.reply)?;
            ensure!(reply["full_name"] == full_name(place), "the answer is about somebody else");
            answered.push((begun, done));
        }
        Ok(answered)
    }
}

fn question(party: &str, place: u32, number: u32) -> v1::AskRequest {
    let keys = json!({
        "personal_number": personal_number(place), "full_name": full_name(place), "date_of_birth": "1990-05-06",
    });
    v1::AskRequest {
        acting_party: party.to_owned(),
        actor: "cb.thu".to_owned(),
        service: "dan-cu-tra-cuu".to_owned(),
        purpose: "xac-nhan-danh-tinh".to_owned(),
        procedure_code: "1.001193".to_owned(),
        matter: Some(Matter::IntakeKey(format!("tra-cuu-{number}"))),
        payload: keys.to_string().into(),
        ..v1::AskRequest::default()
    }
}

/// Men of Huế, born in 1990: invented, told apart by the last six digits.
fn personal_number(place: u32) -> String {
    format!("046090{place:06}")
}

fn full_name(place: u32) -> String {
    format!("Nguyễn Văn Thử {place}")
}

/// A PostgreSQL with the citizens.
fn filled(citizens: u32) -> Postgres {
    let postgres = Postgres::start();
    postgres.sql("CREATE ROLE connector LOGIN");
    let schema = "dan_cu".parse().expect("a schema's name");
    postgres.sql(&lgsp_adapters::population::script(&schema, "connector"));
    postgres.sql(&format!(
        "INSERT INTO dan_cu.citizen (number, full_name, date_of_birth, sex, nationality, residence_province, residence_commune, \
         residence_detail, residence_country, household) \
         SELECT '046090' || lpad(place::text, 6, '0'), 'Nguyễn Văn Thử ' || place, '1990-05-06', 'male', 'VN', '46', '19774', \
         'Số ' || place % 900 || ' đường Diễn Tập', 'VN', lpad((place / 4)::text, 12, '0') \
         FROM generate_series(0, {}) AS place",
        citizens - 1
    ));
    postgres.sql("ANALYZE dan_cu.citizen");
    postgres
}

/// The connector's section: the replica.
fn section(postgres: &Postgres) -> String {
    format!(
        "[population]\nparty = \"G01\"\nat_once = 512\n\
         [population.replica]\nhost = {:?}\nport = {}\ndatabase = \"postgres\"\nuser = \"connector\"\nschema = \"dan_cu\"\n\
         connections = {REPLICA_CONNECTIONS}\n",
        postgres.socket(),
        postgres.port(),
    )
}

/// Serves the look-ups, and answers each at once with the name that was asked about.
async fn echo(world: &World, server: &Server) -> anyhow::Result<AbortOnDropHandle<anyhow::Result<()>>> {
    let link = world.link(POPULATION, &server.bus)?;
    let (opened, is_open) = oneshot::channel();
    let echo = AbortOnDropHandle::new(tokio::spawn(answer(link, opened)));
    match is_open.await {
        Ok(()) => Ok(echo),
        Err(_) => {
            echo.await??;
            anyhow::bail!("the look-ups cannot be served")
        }
    }
}

async fn answer(link: Link, opened: oneshot::Sender<()>) -> anyhow::Result<()> {
    let (sender, requests) = mpsc::channel(1024);
    let open = v1::OpenServing {
        party: "G01".to_owned(),
        actor: "echo".to_owned(),
        services: vec![v1::ServiceRef { name: "dan-cu-tra-cuu".to_owned(), version: 1 }],
        at_once: 1024,
    };
    sender.send(v1::ServeRequest { request: Some(Up::Open(open)) }).await?;
    let request = link.stream_request(ReceiverStream::new(requests), None);
    let mut questions = link.queries().serve(request).await?.into_inner();
    let mut opened = Some(opened);
    while let Some(message) = questions.message().await? {
        match message.response {
            Some(Down::Question(question)) => {
                let asked: Value = serde_json::from_slice(&question.payload)?;
                let reply =
                    json!({ "full_name": asked["full_name"], "date_of_birth": asked["date_of_birth"], "sex": "male" });
                let outcome = Some(Outcome::Reply(Bytes::from(reply.to_string())));
                let answer = v1::ServiceAnswer { query_id: question.query_id, outcome };
                sender.send(v1::ServeRequest { request: Some(Up::Answer(answer)) }).await?;
            }
            _ => _ = opened.take().map(|opened| opened.send(())),
        }
    }
    Ok(())
}
