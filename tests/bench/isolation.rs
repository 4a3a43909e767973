//! What a slow database costs the others: questions to the national procedure database, while the population database answers as it
//! usually does, and while it takes fifty times as long.
//!
//! Both are counterparts of `lgsp rehearse`, in processes of their own and over HTTPS, each behind its connector as it is shipped and before one
//! gateway. The procedures are asked about by the clock, so that a slow answer slows down no later question; the clerks who ask about citizens
//! wait for each answer, as clerks do. Normal and slow follow one another on the same processes, each round in the other order, and
//! ratios are taken within a round.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::civil::{Date, date};
use lgsp_adapters::link::Link;
use lgsp_proto::types::ProcedureCode;
use lgsp_proto::v1;
use lgsp_proto::v1::ask_request::Matter;
use lgsp_rehearsal::population::citizens::Population;
use lgsp_rehearsal::procedures::catalogue::Catalogue;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::callers::Latency;
use crate::connectors::{Adapter, served};
use crate::servers::{Kind, Server};
use crate::world::{AUTHORITY, OPERATOR, POPULATION, PROCEDURES, World};

/// Questions about procedures a second.
pub(crate) const PER_SECOND: u32 = 100;

/// Clerks who ask about citizens, each with one question at a time.
pub(crate) const CLERKS: usize = 48;

/// What the population database usually takes; fifty times that is a second.
pub(crate) const TAKES_MS: u32 = 20;

/// How much slower it becomes.
pub(crate) const TIMES: u32 = 50;

/// Citizens of the one counterpart, procedures of the other on a day, and the seed that both are made from.
const CITIZENS: u32 = 20_000;
const PUBLISHED: usize = 500;
const DAY: Date = date(2026, 1, 2);
const SEED: u64 = 1;

/// Nobody's share is what is measured.
const UNBOUNDED: &str = "party_per_second = 1000000\nsystem_per_second = 1000000\n";

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// One round: the same with the population database as usual, and slow.
pub(crate) struct Round {
    pub(crate) normal: Run,
    pub(crate) slow: Run,
}

/// What one run found.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Of the questions about procedures.
    pub(crate) procedures: Latency,
    /// Questions about citizens that were answered, a second.
    pub(crate) citizens_per_second: f64,
}

/// Measures it, round by round.
///
/// # Errors
/// Something does not start, or a question is not answered: there is no result then.
pub(crate) async fn measure(extent: &Extent, world: &World) -> anyhow::Result<Vec<Round>> {
    let server = Server::start(Kind::Gateway, world, UNBOUNDED)?;
    let takes = TAKES_MS.to_string();
    let (citizens, seed) = (CITIZENS.to_string(), SEED.to_string());
    let more = ["--citizens", &citizens, "--seed", &seed, "--at-once", "64", "--takes", &takes];
    let population = Counterpart::start(world, "population", &more)?;
    let (count, day) = (PUBLISHED.to_string(), DAY.to_string());
    let more = ["--count", &count, "--seed", &seed, "--day", &day, "--at-once", "64"];
    let procedures = Counterpart::start(world, "procedures", &more)?;
    let _connectors = [
        Adapter::start(world, &server, POPULATION, "G01", &population.ministry(world)?)?,
        Adapter::start(world, &server, PROCEDURES, "G22", &procedures.national()?)?,
    ];
    let operator = world.link(OPERATOR, &server.bus)?;
    served(&operator, "H57.VH", &["dan-cu-doi-chieu", "thu-tuc-chi-tiet"]).await?;
    let codes: Arc<[String]> = codes()?.into();
    let asking = Asking { links: links(world, &server)?, operator, citizens: Counterpart::citizens().into(), codes };
    let mut rounds = Vec::new();
    for number in 1..=extent.rounds {
        eprintln!("isolation: round {number} of {}", extent.rounds);
        let (normal, slow);
        if number % 2 == 1 {
            normal = run(extent, world, &population, &asking, false).await?;
            slow = run(extent, world, &population, &asking, true).await?;
        } else {
            slow = run(extent, world, &population, &asking, true).await?;
            normal = run(extent, world, &population, &asking, false).await?;
        }
        rounds.push(Round { normal, slow });
    }
    Ok(rounds)
}

/// Who asks about what.
struct Asking {
    links: Vec<Link>,
    operator: Link,
    citizens: Arc<[Value]>,
    codes: Arc<[String]>,
}

fn links(world: &World, server: &Server) -> anyhow::Result<Vec<Link>> {
    (0..8).map(|_| world.link(AUTHORITY, &server.bus)).collect()
}

/// The codes that the counterpart publishes, but for the slips in it, which nobody can ask about.
fn codes() -> anyhow::Result<Vec<String>> {
    let published = Catalogue::new(SEED, PUBLISHED).on(DAY.strftime("%Y%m%d").to_string().parse()?);
    let codes = published.iter().filter_map(|entry| entry["MATTHC"].as_str());
    let codes: Vec<String> = codes.filter(|code| code.parse::<ProcedureCode>().is_ok()).map(str::to_owned).collect();
    ensure!(!codes.is_empty(), "the counterpart publishes procedures");
    Ok(codes)
}

async fn run(
    extent: &Extent,
    world: &World,
    population: &Counterpart,
    asking: &Asking,
    slow: bool,
) -> anyhow::Result<Run> {
    let script = if slow { format!("slow({TIMES}x)") } else { "normal".to_owned() };
    population.behave(&script)?;
    let begin = Instant::now();
    let (from, to) = (begin + extent.warm_up, begin + extent.warm_up + extent.time);
    let over = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicU32::new(0));
    let mut clerks = JoinSet::new();
    for number in 0..CLERKS {
        let party = world.communes[number % world.communes.len()].0.clone();
        let link = asking.links[number % asking.links.len()].clone();
        let (citizens, next, over) = (asking.citizens.clone(), next.clone(), over.clone());
        clerks.spawn(async move {
            let mut done = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let citizen = &citizens[number as usize % citizens.len()];
                let question = about_a_citizen(&party, citizen, number);
                link.ask(question, None).await.context("a question about a citizen is not answered")?;
                done.push(Instant::now());
            }
            anyhow::Ok(done)
        });
    }
    let mut waiting = JoinSet::new();
    for number in 0.. {
        let at = begin + Duration::from_secs(1) * number / PER_SECOND;
        if at >= to {
            break;
        }
        sleep_until(at).await;
        let (link, code) = (asking.operator.clone(), asking.codes[number as usize % asking.codes.len()].clone());
        waiting.spawn(async move {
            let told = link.ask(about_a_procedure(&code), None).await;
            let told = told.context("a question about a procedure is not answered")?;
            let reply: Value = serde_json::from_slice(&told.reply)?;
            ensure!(reply["MATTHC"] == code, "the answer is about another procedure");
            anyhow::Ok((at, Instant::now()))
        });
    }
    over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    while let Some(one) = waiting.join_next().await {
        let (at, done) = one??;
        times.extend((at >= from).then(|| done - at));
    }
    let mut citizens = 0;
    while let Some(clerk) = clerks.join_next().await {
        citizens += clerk??.into_iter().filter(|done| (from..=to).contains(done)).count();
    }
    Ok(Run {
        procedures: Latency::of(times).context("nobody asked about a procedure")?,
        citizens_per_second: citizens as f64 / extent.time.as_secs_f64(),
    })
}

fn about_a_citizen(party: &str, citizen: &Value, number: u32) -> v1::AskRequest {
    v1::AskRequest {
        acting_party: party.to_owned(),
        actor: "cb.thu".to_owned(),
        service: "dan-cu-doi-chieu".to_owned(),
        purpose: "xac-nhan-danh-tinh".to_owned(),
        procedure_code: "1.001193".to_owned(),
        matter: Some(Matter::IntakeKey(format!("doi-chieu-{number}"))),
        payload: citizen.to_string().into(),
        ..v1::AskRequest::default()
    }
}

fn about_a_procedure(code: &str) -> v1::AskRequest {
    v1::AskRequest {
        acting_party: "H57.VH".to_owned(),
        actor: "van.hanh".to_owned(),
        service: "thu-tuc-chi-tiet".to_owned(),
        purpose: "dong-bo-danh-muc".to_owned(),
        payload: json!({ "code": code }).to_string().into(),
        ..v1::AskRequest::default()
    }
}

/// A counterpart in a process of its own, ended when dropped.
struct Counterpart {
    process: Child,
    folder: TempDir,
    ready: Value,
}

impl Counterpart {
    fn start(world: &World, which: &str, more: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("counterpart-").tempdir_in(world.folder())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_lgsp"));
        command.args(["rehearse", which, "--json", "--port", "0", "--dir"]).arg(folder.path()).args(more);
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("it was piped")?).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line).with_context(|| format!("rehearse {which} does not start"))?;
        Ok(Self { process, folder, ready: told["ready"].clone() })
    }

    fn fact(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_default()
    }

    /// Plays another script from here on, with a stock tool.
    fn behave(&self, script: &str) -> anyhow::Result<()> {
        let url = format!("{}/_rehearsal/behaviour", self.fact("url"));
        let mut curl = Command::new("curl");
        curl.args(["-sf", "--cacert", self.fact("ca"), "-X", "PUT", "-d", script, &url]);
        let told = curl.status().context("curl cannot be started")?;
        ensure!(told.success(), "the counterpart cannot be told to be {script}");
        Ok(())
    }

    /// Citizens who are registered, with what a clerk asks about them.
    fn citizens() -> Vec<Value> {
        let population = Population::new(SEED, CITIZENS);
        let all = (0..population.citizens()).map(|place| population.citizen(place).as_json());
        let current = all.filter(|citizen| citizen["state"] == "current").map(|citizen| {
            let of = |name: &str| citizen[name].clone();
            json!({
                "personal_number": of("personal_number"), "full_name": of("full_name"), "date_of_birth": of("date_of_birth"),
                "sex": of("sex"),
            })
        });
        current.collect()
    }

    /// The connector's section for the population database.
    fn ministry(&self, world: &World) -> anyhow::Result<String> {
        let mut clerks = String::new();
        for (party, _) in &world.communes {
            clerks += &format!(
                "[[clerk]]\nparty = \"{party}\"\nactor = \"cb.thu\"\nstaff = \"CB-{party}\"\nunit = \"DV-{party}\"\naccount = \"thu\"\n\
                 phone = \"0234000000\"\n"
            );
        }
        let file = self.folder.path().join("clerks.toml");
        private(&file, &clerks)?;
        Ok(format!(
            "[population]\nparty = \"G01\"\nat_once = 64\n[population.ministry]\nurl = \"{}{}\"\nbundle = {:?}\nclient = {:?}\n\
             api_key_file = {:?}\nuser = {:?}\nsecret_file = {:?}\nclerks_file = {file:?}\n",
            self.fact("url"),
            self.fact("path"),
            self.fact("ca"),
            self.fact("client"),
            self.fact("api_key_file"),
            self.fact("user"),
            self.fact("secret_file"),
        ))
    }

    /// The connector's section for the procedure database.
    fn national(&self) -> anyhow::Result<String> {
        let file = self.folder.path().join("tthc.password");
        private(&file, self.fact("password"))?;
        Ok(format!(
            "[procedures]\nparty = \"G22\"\nurl = \"{}\"\nbundle = {:?}\nuser = {:?}\npassword_file = {file:?}\nunit = \"H57\"\nat_once = 32\n",
            self.fact("url"),
            self.fact("ca"),
            self.fact("user"),
        ))
    }
}

impl Drop for Counterpart {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes what others must not read.
fn private(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut made = std::fs::File::options();
    let mut made = made.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    std::io::Write::write_all(&mut made, text.as_bytes())?;
    Ok(())
}
