//! One run: the script as it is played, the checks and what became of them.
//!
//! This is the border that a counterpart is written to. Each request that is for it passes through here: it is counted, slowed down or cut
//! off by the script, and comes to the counterpart with its [`Behaviour`] among its extensions. What the counterpart sees it tells by [`Rehearsal::check`].
//! Under `/_rehearsal/` the run itself is reached: `PUT behaviour` with a script plays another from here on, `GET report` answers the
//! report so far.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
        let state =
            Run { script, played: 0, flaky: 0, requests: 0, behaviours: BTreeMap::new(), tallies: BTreeMap::new() };
        let (name, checks) = (counterpart.name(), counterpart.checks());
        Arc::new(Self { name, checks, takes, state: Mutex::new(state), over: CancellationToken::new() })
    }

    /// Notes whether a check held. `example` says what was wrong; it must name no content of anybody's.
    ///
    /// # Panics
    /// The counterpart has no check of this name: a mistake in its code.
    pub fn check<E: Display>(&self, id: &'static str, held: Result<(), E>) {
        assert!(self.checks.iter().any(|check| check.id == id), "{id} is no check of {}", self.name);
        let mut state = self.state();
        let tally = state.tallies.entry(id).or_default();
        match held {
            Ok(()) => tally.passed += 1,
            Err(example) => {
                tally.failed += 1;
                tally.example.get_or_insert_with(|| example.to_string());
            }
        }
    }

    /// Plays another script from the next request on.
    pub fn play(&self, script: Script) {
        let mut state = self.state();
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
        let checks = self.checks.iter().map(|check| {
            let tally = state.tallies.get(check.id);
            let (passed, failed) = tally.map_or((0, 0), |tally| (tally.passed, tally.failed));
            let example = tally.and_then(|tally| tally.example.clone());
            Checked { id: check.id, vi: check.vi, en: check.en, passed, failed, example }
        });
        Report::new(self.name, state.requests, state.behaviours.clone(), checks.collect())
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
    fn next(&self) -> (Behaviour, Turn, bool) {
        let mut state = self.state();
        // After its end it is as it should be: what was begun may be brought to an end.
        let behaviour = state.script.at(state.played).unwrap_or(Behaviour::Normal);
        state.played += 1;
        state.requests += 1;
        *state.behaviours.entry(behaviour.name()).or_default() += 1;
        let is_last = state.script.requests() == Some(state.played);
        let turn = if behaviour == Behaviour::Flaky {
            state.flaky += 1;
            match state.flaky % 4 {
                1 => Turn::BreaksAfter,
                2 => Turn::BadGateway,
                3 => Turn::BreaksBefore,
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

/// Plays the script over one request.
async fn played(State(run): State<Arc<Rehearsal>>, mut request: Request, next: Next) -> Response {
    let (behaviour, turn, is_last) = run.next();
    // Whatever way it ends, and also when whoever asked has left.
    let _over = is_last.then(|| run.over.clone().drop_guard());
    let line = request.extensions().get::<Line>().cloned();
    let takes = match behaviour {
        Behaviour::Slow(Slowness::Times(times)) => run.takes * times,
        Behaviour::Slow(Slowness::By(by)) => run.takes + by,
        _ => run.takes,
    };
    // What a slow system does is the passing of time, not a signal.
    tokio::time::sleep(takes).await;
    request.extensions_mut().insert(behaviour);
    match turn {
        Turn::BreaksBefore => broken(line).await,
        Turn::BadGateway => StatusCode::BAD_GATEWAY.into_response(),
        Turn::BreaksAfter => {
            let answer = next.run(request).await;
            drop(answer);
            broken(line).await
        }
        Turn::Holds => next.run(request).await,
    }
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
