//! One run: the script as it is played, the checks and what became of them.
//!
//! This is the border that a counterpart is written to. Each request that is for it passes through here: it is counted, slowed down or cut
//! off by the script, and comes to the counterpart with its [`Behaviour`] among its extensions. What the counterpart sees it tells by [`Rehearsal::check`].
//! Under `/_rehearsal/` the run itself is reached: `PUT behaviour` with a script plays another from here on, `GET report` answers the
//! report so far.
//!
//! What is asked of every connector alike is seen here: a counterpart that lists [`AT_ONCE`], [`CONNECTION_KEPT`] or [`MAINTENANCE_TRICKLE`]
//! among its checks has it noted. Every behaviour of the scripts but the normal one has to be met; that is a check of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::behaviour::{Behaviour, Script, Slowness};
use crate::report::{Check, Checked, Report};
use crate::server::Line;

/// Checked for whoever lists it: a connector has no more requests under way than [`Bounds::at_once`].
pub const AT_ONCE: Check = Check {
    id: "at-once",
    vi: "Không gửi cùng lúc nhiều yêu cầu hơn mức cho phép",
    en: "No more requests are under way at one time than agreed",
};

/// Checked for whoever lists it: a connection is used again.
pub const CONNECTION_KEPT: Check = Check {
    id: "connection-kept",
    vi: "Giữ kết nối để dùng lại, không mở mới cho từng yêu cầu",
    en: "Connections are kept and used again, not opened for each request",
};

/// Checked for whoever lists it: during maintenance there come no more than [`Bounds::trickle`] requests in ten seconds.
pub const MAINTENANCE_TRICKLE: Check = Check {
    id: "maintenance-trickle",
    vi: "Khi hệ thống bảo trì, chỉ hỏi thăm chừng chứ không hỏi dồn dập",
    en: "No more than a trickle is asked during maintenance",
};

/// That a behaviour of the scripts was met.
const MET: [Check; 7] = [
    Check { id: "met-slow", vi: "Đã gặp: trả lời chậm", en: "Met: slow answers" },
    Check { id: "met-flaky", vi: "Đã gặp: đường truyền chập chờn", en: "Met: a flaky line" },
    Check { id: "met-wrong-schema", vi: "Đã gặp: trả lời sai cấu trúc", en: "Met: answers of a wrong form" },
    Check { id: "met-duplicate", vi: "Đã gặp: trả lời trùng lặp", en: "Met: answers that are repeated" },
    Check { id: "met-maintenance", vi: "Đã gặp: bảo trì", en: "Met: maintenance" },
    Check { id: "met-expired-session", vi: "Đã gặp: phiên hết hạn", en: "Met: sessions that expire" },
    Check { id: "met-clock-skew", vi: "Đã gặp: đồng hồ lệch", en: "Met: a clock that is off" },
];

/// In which time a trickle is counted.
const TRICKLE_WITHIN: Duration = Duration::from_secs(10);
/// From how many requests on it is judged whether connections are kept.
const REQUESTS_TO_JUDGE: u64 = 5;
/// Connections that nobody is blamed for, beside one in ten requests.
const LINES_TO_SPARE: u64 = 2;

/// What a connector is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Requests under way at one time.
    pub at_once: usize,
    /// Requests in ten seconds of maintenance.
    pub trickle: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { at_once: 16, trickle: 30 }
    }
}

/// A national system as its connectors meet it.
pub trait Counterpart: Send + Sync + 'static {
    /// A word for it, e.g. `population`.
    fn name(&self) -> &'static str;

    /// What a connector has to do right towards it.
    fn checks(&self) -> &'static [Check];

    /// What it answers. A request carries its [`Behaviour`] among its extensions; slowness and broken lines are seen to already.
    fn routes(self: Arc<Self>, rehearsal: Arc<Rehearsal>) -> Router;
}

/// One run.
pub struct Rehearsal {
    name: &'static str,
    checks: &'static [Check],
    /// What the counterpart usually takes for a request.
    takes: Duration,
    bounds: Bounds,
    state: Mutex<Run>,
    over: CancellationToken,
}

struct Run {
    script: Script,
    /// Requests since this script began.
    played: u64,
    /// Requests in turns of being flaky.
    flaky: u64,
    requests: u64,
    behaviours: BTreeMap<&'static str, u64>,
    tallies: BTreeMap<&'static str, Tally>,
    /// Behaviours that a script named.
    scripted: BTreeSet<&'static str>,
    under_way: usize,
    /// The most of them that there ever were.
    under_way_most: usize,
    /// Connections that brought a request.
    lines: u64,
    /// Of those, the ones that ended before an answer: the script broke them, or whoever asked waited no longer.
    lost: u64,
    /// When requests came under maintenance, of the last ten seconds.
    maintenance: VecDeque<Instant>,
}

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    example: Option<String>,
}

/// What happens to the line of a request under [`Behaviour::Flaky`].
enum Turn {
    BreaksBefore,
    BreaksAfter,
    BadGateway,
    Holds,
}

impl Rehearsal {
    /// A run of `counterpart` by `script`, where a request usually takes `takes`.
    pub fn new(counterpart: &impl Counterpart, script: Script, takes: Duration) -> Arc<Self> {
        Self::within(counterpart, script, takes, Bounds::default())
    }

    /// The same with bounds of its own.
    pub fn within(counterpart: &impl Counterpart, script: Script, takes: Duration, bounds: Bounds) -> Arc<Self> {
        let state = Run {
            scripted: script.behaviours().into_iter().collect(),
            script,
            played: 0,
            flaky: 0,
            requests: 0,
            behaviours: BTreeMap::new(),
            tallies: BTreeMap::new(),
            under_way: 0,
            under_way_most: 0,
            lines: 0,
            lost: 0,
            maintenance: VecDeque::new(),
        };
        let (name, checks) = (counterpart.name(), counterpart.checks());
        Arc::new(Self { name, checks, takes, bounds, state: Mutex::new(state), over: CancellationToken::new() })
    }

    /// Notes whether a check held. `example` says what was wrong; it must name no content of anybody's.
    ///
    /// # Panics
    /// The counterpart has no check of this name: a mistake in its code.
    pub fn check<E: Display>(&self, id: &'static str, held: Result<(), E>) {
        assert!(self.checks.iter().any(|check| check.id == id), "{id} is no check of {}", self.name);
        self.state().note(id, held);
    }

    /// Plays another script from the next request on.
    pub fn play(&self, script: Script) {
        let mut state = self.state();
        state.scripted.extend(script.behaviours());
        state.script = script;
        state.played = 0;
    }

    /// Ends when the script has been played to its end and its last request was answered.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// What it has shown so far.
    pub fn report(&self) -> Report {
        let state = self.state();
        let checked = |check: &Check| {
            let tally = state.tallies.get(check.id);
            let (passed, failed) = tally.map_or((0, 0), |tally| (tally.passed, tally.failed));
            let example = tally.and_then(|tally| tally.example.clone());
            Checked { id: check.id, vi: check.vi, en: check.en, passed, failed, example }
        };
        let is_maintained = state.scripted.contains("maintenance");
        // Where no script has maintenance, nothing is to be seen of it.
        let to_show = |check: &&Check| is_maintained || check.id != MAINTENANCE_TRICKLE.id;
        let mut checks: Vec<Checked> = self.checks.iter().filter(to_show).map(checked).collect();
        if let Some(kept) = checks.iter_mut().find(|check| check.id == CONNECTION_KEPT.id) {
            state.judge_lines(kept);
        }
        let is_scripted =
            |check: &&Check| check.id.strip_prefix("met-").is_some_and(|name| state.scripted.contains(name));
        checks.extend(MET.iter().filter(is_scripted).map(|check| {
            let met = check.id.strip_prefix("met-").and_then(|name| state.behaviours.get(name));
            Checked { passed: met.copied().unwrap_or_default(), ..checked(check) }
        }));
        Report::new(self.name, state.requests, state.behaviours.clone(), checks)
    }

    /// The counterpart's routes with the script before them, and the run's own.
    pub fn routes(self: &Arc<Self>, counterpart: Arc<impl Counterpart>) -> Router {
        let own = Router::new()
            .route("/_rehearsal/behaviour", put(told))
            .route("/_rehearsal/report", get(reported))
            .with_state(Arc::clone(self));
        counterpart.routes(Arc::clone(self)).layer(from_fn_with_state(Arc::clone(self), played)).merge(own)
    }

    /// How the next request is treated, and whether the script is over with it.
    fn next(&self, is_first_on_its_line: bool) -> (Behaviour, Turn, bool) {
        let mut state = self.state();
        state.lines += u64::from(is_first_on_its_line);
        // After its end it is as it should be: what was begun may be brought to an end.
        let behaviour = state.script.at(state.played).unwrap_or(Behaviour::Normal);
        state.played += 1;
        state.requests += 1;
        *state.behaviours.entry(behaviour.name()).or_default() += 1;
        state.under_way += 1;
        state.under_way_most = state.under_way_most.max(state.under_way);
        if self.checks.contains(&AT_ONCE) {
            let held = if state.under_way <= self.bounds.at_once { Ok(()) } else { Err("more under way than agreed") };
            state.note(AT_ONCE.id, held);
        }
        if behaviour == Behaviour::Maintenance && self.checks.contains(&MAINTENANCE_TRICKLE) {
            let now = Instant::now();
            state.maintenance.retain(|came| now.duration_since(*came) < TRICKLE_WITHIN);
            state.maintenance.push_back(now);
            let held = state.maintenance.len() <= self.bounds.trickle;
            state.note(MAINTENANCE_TRICKLE.id, if held { Ok(()) } else { Err("more in ten seconds than agreed") });
        }
        let is_last = state.script.requests() == Some(state.played);
        let turn = if behaviour == Behaviour::Flaky {
            state.flaky += 1;
            // Every other round goes another way, so that after each of them there is once a turn in which an answer is seen: whoever asks
            // the same again is found out whatever it does that after.
            match state.flaky % 8 {
                1 | 5 => Turn::BreaksAfter,
                2 | 7 => Turn::BadGateway,
                3 | 6 => Turn::BreaksBefore,
                _ => Turn::Holds,
            }
        } else {
            Turn::Holds
        };
        (behaviour, turn, is_last)
    }

    fn state(&self) -> MutexGuard<'_, Run> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    fn note<E: Display>(&mut self, id: &'static str, held: Result<(), E>) {
        let tally = self.tallies.entry(id).or_default();
        match held {
            Ok(()) => tally.passed += 1,
            Err(example) => {
                tally.failed += 1;
                tally.example.get_or_insert_with(|| example.to_string());
            }
        }
    }

    /// As many connections are in order as requests were under way at one time, and one more for each that was lost; and some, for
    /// those that idle too long or are opened in a race.
    fn judge_lines(&self, kept: &mut Checked) {
        if self.requests < REQUESTS_TO_JUDGE {
            return;
        }
        let in_order = self.under_way_most as u64 + self.lost + LINES_TO_SPARE + self.requests / 10;
        if self.lines <= in_order {
            kept.passed = 1;
        } else {
            kept.failed = 1;
            kept.example = Some(format!("{} connections for {} requests", self.lines, self.requests));
        }
    }
}

/// Counts a request as under way until it is dropped, whichever way it ends.
struct UnderWay {
    run: Arc<Rehearsal>,
    is_answered: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.run.state();
        state.under_way -= 1;
        state.lost += u64::from(!self.is_answered);
    }
}

/// Plays the script over one request.
async fn played(State(run): State<Arc<Rehearsal>>, mut request: Request, next: Next) -> Response {
    // What a counterpart adds to the run itself is no part of the wire.
    if request.uri().path().starts_with("/_rehearsal/") {
        return next.run(request).await;
    }
    let line = request.extensions().get::<Line>().cloned();
    let is_first = line.as_ref().is_none_or(Line::is_first_request);
    let (behaviour, turn, is_last) = run.next(is_first);
    // Whatever way it ends, and also when whoever asked has left; and last, when all of it has been counted.
    let _over = is_last.then(|| run.over.clone().drop_guard());
    let mut under_way = UnderWay { run: Arc::clone(&run), is_answered: false };
    let takes = match behaviour {
        Behaviour::Slow(Slowness::Times(times)) => run.takes * times,
        Behaviour::Slow(Slowness::By(by)) => run.takes + by,
        _ => run.takes,
    };
    // What a slow system does is the passing of time, not a signal.
    tokio::time::sleep(takes).await;
    request.extensions_mut().insert(behaviour);
    let answer = match turn {
        Turn::BreaksBefore => broken(line).await,
        // Behind it the work was done, as behind a gateway that lost patience.
        Turn::BadGateway => {
            drop(next.run(request).await);
            StatusCode::BAD_GATEWAY.into_response()
        }
        Turn::BreaksAfter => {
            drop(next.run(request).await);
            broken(line).await
        }
        Turn::Holds => next.run(request).await,
    };
    under_way.is_answered = true;
    answer
}

/// Breaks the line. Where there is none to break, a gateway before the system would say this.
async fn broken(line: Option<Line>) -> Response {
    if let Some(line) = line {
        line.cut().await;
    }
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

async fn told(State(run): State<Arc<Rehearsal>>, script: String) -> Response {
    match script.trim().parse::<Script>() {
        Ok(script) => {
            run.play(script);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Body::from(format!("{error}\n"))).into_response(),
    }
}

async fn reported(State(run): State<Arc<Rehearsal>>) -> Json<Report> {
    Json(run.report())
}
