//! The agencies' own software, all in one place: what they hand in, what they do about what they are told, and their books.
//!
//! They do what the adapter's REST interface asks of any client: send the same bytes with the same key until it says 202,
//! and know a delivery that comes again by its name. They may be told to behave badly for a while.

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::post;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::client::Caller;
use crate::draw::Draw;
use crate::history::{Arrival, Bearer, Books, Outcome, Sent};

/// The business time of everything that is said.
pub(crate) const NOW: &str = "2025-10-01T08:00:00+07:00";

/// How long an adapter waits for an answer to a webhook; see the configuration in `world`.
pub(crate) const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(4);

/// How often somebody who was not answered tries again.
const AGAIN_AFTER: Duration = Duration::from_millis(15);

/// The desk that is a web site.
const PORTAL: &str = "H57.CDV";

/// How an agency behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    Good,
    /// Says 503 to everything.
    Down,
    /// Says 500 and something that is no JSON, and books nothing.
    Wrong,
    /// Books it, and says 500: so it comes twice.
    Forgetful,
    /// Takes its time.
    Slow,
    /// Books it, and answers when nobody listens any more.
    Late,
}

/// All agencies.
#[derive(Clone)]
pub(crate) struct Agencies(Arc<Shared>);

struct Shared {
    caller: Caller,
    /// The port where the webhooks of all adapters go; the path says whose.
    hook: u16,
    systems: BTreeMap<String, System>,
    round: AtomicU32,
    next_key: AtomicU32,
    /// Requests that somebody is still bringing to its adapter.
    under_way: AtomicUsize,
    books: Mutex<Ledger>,
}

struct System {
    /// Its adapter.
    rest: SocketAddr,
    parties: Vec<String>,
    /// How often its adapter was started.
    lives: AtomicU32,
    manner: Mutex<(Manner, u32)>,
    /// Webhooks that met a manner other than good.
    misbehaved: AtomicU32,
}

#[derive(Default)]
struct Ledger {
    books: Books,
    /// Requests whose outcome is not known yet.
    open: HashSet<(String, String)>,
    /// Papers handed in: party, request key, SHA-256.
    papers: Vec<(String, String, String)>,
    /// Dossiers that an authority has begun to work on.
    begun: HashSet<String>,
}

/// One request, ready to be sent again and again.
struct Request {
    party: String,
    path: String,
    body: Bytes,
    key: String,
}

impl Agencies {
    /// Opens them all, to be reached at `listen`: the systems by name, with the address of their adapter and their parties.
    pub(crate) async fn open(
        listen: Ipv4Addr,
        systems: Vec<(String, SocketAddr, Vec<String>)>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((listen, 0)).await?;
        let system = |(name, rest, parties)| {
            let manner = Mutex::new((Manner::Good, 0));
            (name, System { rest, parties, lives: AtomicU32::new(0), manner, misbehaved: AtomicU32::new(0) })
        };
        let shared = Shared {
            caller: Caller::new(),
            hook: listener.local_addr()?.port(),
            systems: systems.into_iter().map(system).collect(),
            round: AtomicU32::new(0),
            next_key: AtomicU32::new(0),
            under_way: AtomicUsize::new(0),
            books: Mutex::default(),
        };
        let agencies = Self(Arc::new(shared));
        let routes = Router::new()
            .route("/{system}", post(take))
            .layer(DefaultBodyLimit::disable())
            .with_state(agencies.clone());
        // Ends with the campaign.
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(agencies)
    }

    /// Where the webhooks of a system go, whose adapter sees us at this address.
    pub(crate) fn hook(&self, system: &str, seen_at: Ipv4Addr) -> String {
        format!("http://{seen_at}:{}/{system}", self.0.hook)
    }

    pub(crate) fn begin_round(&self, round: u32) {
        self.0.round.store(round, Ordering::SeqCst);
    }

    /// The adapter of a system is started once more.
    pub(crate) fn new_life(&self, system: &str) {
        self.0.systems[system].lives.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on, for the next so many webhooks, a system behaves like this.
    pub(crate) fn behave(&self, system: &str, manner: Manner, webhooks: u32) {
        *lock(&self.0.systems[system].manner) = (manner, webhooks);
    }

    /// From now on a system is good again; gives how many webhooks it was not good to.
    pub(crate) fn behave_again(&self, system: &str) -> u32 {
        self.behave(system, Manner::Good, 0);
        self.0.systems[system].misbehaved.swap(0, Ordering::SeqCst)
    }

    /// The books as they are.
    pub(crate) fn books(&self) -> Books {
        lock(&self.0.books).books.clone()
    }

    /// What the agencies still wait for, if anything.
    pub(crate) fn waiting_for(&self) -> Option<String> {
        let under_way = self.0.under_way.load(Ordering::SeqCst);
        let open = lock(&self.0.books).open.len();
        (under_way + open > 0).then(|| format!("{under_way} requests are not answered, {open} outcomes not told"))
    }

    /// Somebody hands a dossier in, now; goes on until it is answered.
    pub(crate) fn hand_in(&self, draw: &mut Draw, large: bool) {
        let number = self.0.next_key.fetch_add(1, Ordering::SeqCst);
        let (party, submission) = submission(draw, large);
        let key = format!("loi-{number:06}-1");
        let request = Request { party, path: "/v1/dossiers".into(), body: submission.to_string().into(), key };
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        // Who files online has papers as documents only.
        let paper = (draw.once_in(4) || request.party == PORTAL).then(|| draw.next());
        // The same blank form with many of them.
        let paper = paper.map(|own| if draw.once_in(4) { 0 } else { own });
        let agencies = self.clone();
        tokio::spawn(async move {
            let request = match paper {
                Some(paper) => agencies.with_paper(request, submission, paper).await,
                None => request,
            };
            agencies.bring(request).await;
            agencies.0.under_way.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// Reads back the papers handed in since the last time; gives how many there were.
    pub(crate) async fn read_papers(&self) -> anyhow::Result<usize> {
        let (papers, outcomes) = {
            let mut ledger = lock(&self.0.books);
            (std::mem::take(&mut ledger.papers), ledger.books.outcomes.clone())
        };
        let mut codes = BTreeMap::new();
        for Outcome { party, key, became } in outcomes {
            codes.insert((party, key), became);
        }
        for (party, key, digest) in &papers {
            let became = codes.get(&(party.clone(), key.clone())).context("a paper without an outcome")?;
            let (code, _) = became.as_ref().map_err(|why| anyhow!("refused: {why}"))?;
            let path = format!("/v1/dossiers/{code}/documents/{digest}");
            let headers = [("lgsp-party", &**party), ("lgsp-actor", "cb01")];
            let rest = self.system_of(party).rest;
            let (status, body) = self.0.caller.send(rest, Method::GET, &path, &headers, Bytes::new()).await?;
            ensure!(status.is_success(), "the paper of {code} cannot be read: {status}");
            let read = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
            ensure!(data_encoding::HEXLOWER.encode(read.as_ref()) == *digest, "the paper of {code} is another one");
        }
        Ok(papers.len())
    }

    /// Uploads a paper, and names it in the submission.
    async fn with_paper(&self, request: Request, mut submission: Value, seed: u64) -> Request {
        let mut draw = Draw::new(seed, 0);
        let content: Bytes = (0..(1 + draw.below(8)) << 10).flat_map(|_| draw.next().to_le_bytes()).collect();
        let system = self.system_of(&request.party);
        let headers = [("lgsp-party", &*request.party), ("lgsp-actor", "cb01"), ("content-type", "application/pdf")];
        loop {
            let path = "/v1/documents?file_name=giay-to.pdf";
            let answer = self.0.caller.send(system.rest, Method::POST, path, &headers, content.clone()).await;
            if let Ok((StatusCode::CREATED | StatusCode::OK, body)) = answer
                && let Ok(document) = serde_json::from_slice::<Value>(&body)
            {
                let digest = document["sha256"].as_str().unwrap_or_default().to_owned();
                lock(&self.0.books).papers.push((request.party.clone(), request.key.clone(), digest));
                submission["components"][0]["document"] = document;
                return Request { body: submission.to_string().into(), ..request };
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Sends a request until it is answered 202.
    async fn bring(&self, request: Request) {
        let Request { party, path, body, key } = request;
        let id = (party.clone(), key.clone());
        lock(&self.0.books).open.insert(id);
        let system = self.system_of(&party);
        let headers = [("lgsp-party", &*party), ("lgsp-actor", "cb01"), ("idempotency-key", &*key)];
        loop {
            let answer = self.0.caller.send(system.rest, Method::POST, &path, &headers, body.clone()).await;
            match answer {
                Ok((StatusCode::ACCEPTED, _)) => break,
                Ok((status, body)) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                    // What a lawful client sends is not refused: an outcome for the judge.
                    let why = format!("{status} {}", String::from_utf8_lossy(&body));
                    let outcome = Outcome { party: party.clone(), key: key.clone(), became: Err(why) };
                    let mut ledger = lock(&self.0.books);
                    ledger.open.remove(&(party.clone(), key.clone()));
                    ledger.books.outcomes.push(outcome);
                    break;
                }
                _ => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
        lock(&self.0.books).books.sent.push(Sent { party, key });
    }

    fn system_of(&self, party: &str) -> &System {
        let found = self.0.systems.values().find(|system| system.parties.iter().any(|one| one == party));
        found.unwrap_or_else(|| panic!("no system acts for {party}"))
    }

    /// Books an event. What comes again by its name is known; what is new may be something to do.
    pub(crate) fn told(&self, hook: &Value, bearer: Bearer, confirmed: bool) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let event = &hook["event"];
        let arrival = Arrival {
            party: text(&hook["party"]),
            dossier: text(&hook["dossier_code"]),
            sequence: hook["sequence"].as_u64().unwrap_or_default() as u32,
            key: text(&event["request_key"]),
            digest: text(&event["body_sha256"]),
            round: self.0.round.load(Ordering::SeqCst),
            bearer,
            confirmed,
        };
        let (party, dossier, first) = (arrival.party.clone(), arrival.dossier.clone(), arrival.sequence == 1);
        let mut ledger = lock(&self.0.books);
        ledger.books.arrivals.push(arrival);
        let competent = hook["dossier"]["competent_authority"] == *party;
        if !(first && competent && ledger.begun.insert(dossier.clone())) {
            return;
        }
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        drop(ledger);
        let (agencies, number) = (self.clone(), text(&event["request_key"]));
        tokio::spawn(async move {
            let number = number.trim_end_matches("-1").to_owned();
            for (step, mut entry) in (2..).zip(work(&number)) {
                entry["occurred_at"] = NOW.into();
                let path = format!("/v1/dossiers/{dossier}/events");
                let (key, body) = (format!("{number}-{step}"), entry.to_string().into());
                agencies.bring(Request { party: party.clone(), path, body, key }).await;
            }
            agencies.0.under_way.fetch_sub(1, Ordering::SeqCst);
        });
    }

    fn outcome(&self, hook: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let became = match hook["type"].as_str() {
            Some("request.admitted") => {
                let sequence = hook["receipt"]["sequence"].as_u64().unwrap_or_default() as u32;
                Ok((text(&hook["dossier_code"]), sequence))
            }
            _ => Err(hook["problem"].to_string()),
        };
        let outcome = Outcome { party: text(&hook["party"]), key: text(&hook["request_key"]), became };
        let mut ledger = lock(&self.0.books);
        ledger.open.remove(&(outcome.party.clone(), outcome.key.clone()));
        ledger.books.outcomes.push(outcome);
    }
}

/// A webhook: in the books first, answered then; as far as the agency behaves.
async fn take(State(agencies): State<Agencies>, Path(name): Path<String>, body: Bytes) -> (StatusCode, &'static str) {
    const GARBAGE: &str = "<html>\u{0}500";
    let Some(system) = agencies.0.systems.get(&name) else { return (StatusCode::NOT_FOUND, "") };
    let Ok(mut event) = serde_json::from_slice::<Value>(&body) else { return (StatusCode::BAD_REQUEST, "") };
    let hook = event["data"].take();
    let manner = {
        let mut manner = lock(&system.manner);
        let (now, left) = *manner;
        *manner = if left > 1 { (now, left - 1) } else { (Manner::Good, 0) };
        now
    };
    if manner != Manner::Good {
        system.misbehaved.fetch_add(1, Ordering::SeqCst);
    }
    match manner {
        Manner::Down => return (StatusCode::SERVICE_UNAVAILABLE, ""),
        Manner::Wrong => return (StatusCode::INTERNAL_SERVER_ERROR, GARBAGE),
        Manner::Slow => tokio::time::sleep(Duration::from_millis(150)).await,
        Manner::Good | Manner::Forgetful | Manner::Late => {}
    }
    if hook["type"] == "dossier.event" {
        let bearer = Bearer { system: name, life: system.lives.load(Ordering::SeqCst) };
        agencies.told(&hook, bearer, matches!(manner, Manner::Good | Manner::Slow));
    } else {
        agencies.outcome(&hook);
    }
    match manner {
        Manner::Forgetful => (StatusCode::INTERNAL_SERVER_ERROR, GARBAGE),
        Manner::Late => {
            tokio::time::sleep(WEBHOOK_TIMEOUT + Duration::from_millis(300)).await;
            (StatusCode::NO_CONTENT, "")
        }
        _ => (StatusCode::NO_CONTENT, ""),
    }
}

/// What an authority says about a dossier; one in four it closes at once.
fn work(number: &str) -> Vec<Value> {
    let digits = number.trim_start_matches(|c: char| !c.is_ascii_digit());
    if digits.parse::<u32>().is_ok_and(|number| number.is_multiple_of(4)) {
        return vec![json!({ "type": "refused", "reason": "Không thuộc thẩm quyền" })];
    }
    vec![
        json!({ "type": "accepted" }),
        json!({ "type": "processing_started" }),
        json!({ "type": "progressed", "step": "Thẩm định" }),
        json!({ "type": "progressed", "step": "Trình ký" }),
    ]
}

/// The largest form the adapter takes, less what its JSON needs.
const LARGEST_FORM: usize = (1 << 20) - 64;

/// A matter of a commune or its police, taken in somewhere else. The person is synthetic.
fn submission(draw: &mut Draw, large: bool) -> (String, Value) {
    // Communes by number, with the unit each governs; the last two have a system of their own.
    const COMMUNES: [(&str, &str); 5] =
        [("101", "19753"), ("102", "19774"), ("103", "19777"), ("131", "20071"), ("132", "20101")];
    const DESKS: [&str; 4] = ["H57.TT", PORTAL, "H57.110", "H57.133"];
    // Births are the commune's, residence is the police's.
    let procedure = draw.pick(&["1.001193", "1.004222"]);
    let (_, locality) = draw.pick(&COMMUNES);
    let desk = draw.pick(&DESKS).to_owned();
    let filling = if large { LARGEST_FORM } else { 20 + draw.below(2_000) };
    let form: String = (0..filling).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let submission = json!({
        "procedure_code": procedure,
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": locality,
        "intake_channel": if desk == PORTAL { "online" } else { "direct" },
        "return_channel": "online",
        "received_at": NOW,
        "form": { "noi-dung": form },
        "components": [{ "code": "to-khai", "name": "Tờ khai", "originals": 1 }],
    });
    (desk, submission)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
