//! What every call passes on its way in, listed once, outermost first.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use http::HeaderMap;
use lgsp_domain::registry::Quota;
use lgsp_proto::{Reason, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use super::listener::Caller;
use super::{limit_of, wire};
use crate::config::Limits;
use crate::engine::shares::{Counted, Rates, Tally};
use crate::telemetry::counts::Counts;

/// The longest a call may take until its answer begins. Answers "forget me not": a caller that sets no deadline of its own
/// must not hold a place for ever.
const CALL_TIME: Duration = Duration::from_secs(30);

/// A call that lasts as long as its content does; it has a time limit per message instead.
const UPLOAD: &str = "/lgsp.v1.Documents/Upload";

/// Probes are answered whatever the load and also while the node stops: they are how others learn of both.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// What the calls of one node share.
#[derive(Clone)]
pub(super) struct Calls {
    stopping: CancellationToken,
    calls: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    of_systems: Arc<OfSystems>,
    /// What the registry in force says about a system.
    own: Arc<dyn Fn(&str) -> Quota + Send + Sync>,
    counts: Arc<Counts>,
}

/// What each system has taken of it.
struct OfSystems {
    rates: Rates<String>,
    calls: Tally<String>,
    uploads: Tally<String>,
}

/// What a call holds while it is worked on.
struct Place {
    _counted: Counted<String>,
    _place: OwnedSemaphorePermit,
}

impl Calls {
    /// So many calls are worked on at once, and uploads beside them: slow lines must not use up the places of short calls.
    /// Of both, one system gets a part. After `stopping` none is taken any more.
    pub(super) fn new(limits: &Limits, stopping: CancellationToken) -> Self {
        Self {
            stopping,
            calls: Arc::new(Semaphore::new(limits.calls)),
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            of_systems: Arc::new(OfSystems {
                rates: Rates::new(limits.system.per_second),
                calls: Tally::new(limits.system.calls),
                uploads: Tally::new(limits.uploads.div_ceil(4)),
            }),
            own: Arc::new(|_| Quota::default()),
            counts: Arc::default(),
        }
    }

    /// Asks `own` at every call what a system may take that differs from the others.
    #[must_use]
    pub(super) fn unless(self, own: impl Fn(&str) -> Quota + Send + Sync + 'static) -> Self {
        Self { own: Arc::new(own), ..self }
    }

    /// Counts what is refused among the figures of the node.
    #[must_use]
    pub(super) fn counting(self, counts: &Arc<Counts>) -> Self {
        Self { counts: Arc::clone(counts), ..self }
    }

    /// Decided by the headers alone: what is turned away here costs no message, no signature and no memory.
    fn place_for(&self, path: &str, system: &String) -> Result<Place, Refusal> {
        let OfSystems { rates, calls, uploads } = &*self.of_systems;
        let (places, tally) = if path == UPLOAD { (&self.uploads, uploads) } else { (&self.calls, calls) };
        let whose = |refusal: Refusal| refusal.detail("system", system);
        let own = (self.own)(system);
        // Its part of the places for uploads is the same for every system.
        let counted = tally.count_up_to(system, own.at_once.filter(|_| path != UPLOAD)).map_err(whose)?;
        rates.take(system, own.per_second).map_err(whose)?;
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| Refusal::new(Reason::Overloaded))?;
        Ok(Place { _counted: counted, _place: place })
    }
}

/// Puts the layers around the services.
pub(super) fn around(services: Router, calls: &Calls) -> Router {
    services.layer(
        ServiceBuilder::new()
            // Outermost, so that whatever is refused is counted, wherever that was.
            .layer(from_fn_with_state(calls.clone(), counted))
            // A bug costs one call, not the connection with all the calls of an agency on it.
            .layer(CatchPanicLayer::custom(panicked))
            // Everything below is logged inside the call's span.
            .layer(from_fn(in_a_span))
            // While stopping, nothing new is begun; said with our reason, it means "not processed, go elsewhere".
            .layer(from_fn_with_state(calls.clone(), while_open))
            // More calls than places, or than the system's part of them, are turned away at once: a queue here would only make
            // every caller late.
            .layer(from_fn_with_state(calls.clone(), within_places))
            // Counts from here, so that it covers everything that works for the call.
            .layer(from_fn(within_time))
            // Innermost, next to the library that finds messages too long or broken: it says so in its own words.
            .layer(from_fn(in_our_words)),
    )
}

/// Counts the refusals that come instead of an answer. One that ends a stream comes after it, and is not seen here.
async fn counted(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(refusal) = Status::from_header_map(response.headers()).as_ref().and_then(Refusal::from_status) {
        calls.counts.refused(&refusal);
    }
    response
}

/// Nobody knows how far a call that panicked had come.
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let what = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = what, "a call panicked");
    refused(&Refusal::new(Reason::OutcomeUnknown))
}

async fn in_a_span(request: Request, next: Next) -> Response {
    let system = request.extensions().get::<Caller>().map(Caller::system).filter(|system| !system.is_empty());
    let span = tracing::info_span!(
        "call",
        rpc = request.uri().path(),
        system,
        traceparent = wire::traceparent_of(request.headers()),
    );
    async move {
        let begun = Instant::now();
        let response = next.run(request).await;
        let status = Status::from_header_map(response.headers()).map(|status| status.code());
        tracing::debug!(?status, elapsed_us = begun.elapsed().as_micros(), "answered");
        response
    }
    .instrument(span)
    .await
}

async fn while_open(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    if calls.stopping.is_cancelled() && !request.uri().path().starts_with(HEALTH) {
        return refused(&Refusal::new(Reason::ShuttingDown));
    }
    next.run(request).await
}

async fn within_places(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with(HEALTH) {
        return next.run(request).await;
    }
    // Who has no name is told so by every handler; until then they share what one system may have.
    let system = request.extensions().get::<Caller>().map(Caller::system).unwrap_or_default();
    match calls.place_for(path, &system) {
        Ok(_place) => next.run(request).await,
        Err(refusal) => refused(&refusal),
    }
}

async fn within_time(request: Request, next: Next) -> Response {
    // The caller's own deadline bounds an upload too.
    let ours = (request.uri().path() != UPLOAD).then_some(CALL_TIME);
    let Some(time) = ours.into_iter().chain(callers_time(request.headers())).min() else {
        return next.run(request).await;
    };
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        // What was begun goes on to its end; only the answer is late.
        Err(_) => refused(&Refusal::new(Reason::OutcomeUnknown).detail("deadline_ms", time.as_millis())),
    }
}

async fn in_our_words(request: Request, next: Next) -> Response {
    let limit_bytes = limit_of(request.uri().path());
    let response = next.run(request).await;
    // A failure before the first message of the answer has its status in the headers; later ones are the handlers'.
    let fault =
        Status::from_header_map(response.headers()).as_ref().and_then(|status| wire::fault(status, limit_bytes));
    fault.map_or(response, |refusal| refused(&refusal))
}

/// The time of `grpc-timeout`: at most eight digits and a unit. One that cannot be read is as none.
fn callers_time(headers: &HeaderMap) -> Option<Duration> {
    read_time(headers.get("grpc-timeout")?.to_str().ok()?)
}

/// How long a call of such a `grpc-timeout` may take until its answer begins.
pub(super) fn time_of_call(timeout: Option<&str>) -> Duration {
    timeout.and_then(read_time).map_or(CALL_TIME, |time| time.min(CALL_TIME))
}

fn read_time(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

fn refused(refusal: &Refusal) -> Response {
    refusal.to_status().into_http::<Body>()
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use http::HeaderValue;
    use tower::ServiceExt as _;

    use super::*;

    async fn call(services: Router, calls: &Calls, path: &str, timeout: Option<&'static str>) -> Option<Refusal> {
        let mut request = Request::post(path).body(Body::empty()).unwrap();
        if let Some(timeout) = timeout {
            request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
        }
        let response = around(services, calls).oneshot(request).await.unwrap();
        Status::from_header_map(response.headers()).as_ref().and_then(Refusal::from_status)
    }

    fn open(places: usize) -> Calls {
        Calls::new(&Limits { calls: places, uploads: places, ..Limits::default() }, CancellationToken::new())
    }

    #[tokio::test]
    async fn a_panic_is_an_unknown_outcome() {
        async fn broken() -> Response {
            panic!("boom")
        }
        let refusal = call(Router::new().route("/x", post(broken)), &open(1), "/x", None).await;
        assert_eq!(refusal, Some(Refusal::new(Reason::OutcomeUnknown)));
    }

    #[tokio::test]
    async fn without_a_place_a_call_is_turned_away_and_a_probe_is_not() {
        let services = Router::new().route("/{*any}", post(async || Response::new(Body::empty())));
        let calls = open(1);
        assert_eq!(call(services.clone(), &calls, "/x", None).await, None);
        let _taken = Arc::clone(&calls.calls).try_acquire_owned().unwrap();
        assert_eq!(call(services.clone(), &calls, "/x", None).await, Some(Refusal::new(Reason::Overloaded)));
        assert_eq!(call(services.clone(), &calls, UPLOAD, None).await, None);
        assert_eq!(call(services, &calls, "/grpc.health.v1.Health/Check", None).await, None);
    }

    #[tokio::test]
    async fn a_system_beyond_its_part_is_turned_away_and_the_others_are_not() {
        let mut limits = Limits { calls: 4, uploads: 4, ..Limits::default() };
        limits.system.calls = 2;
        let calls = Calls::new(&limits, CancellationToken::new());
        let [flood, other] = ["mot-cua", "cong"].map(str::to_owned);
        let reason = |place: Result<Place, Refusal>| place.err().map(|refusal| refusal.reason());
        let held = [calls.place_for("/x", &flood).unwrap(), calls.place_for("/x", &flood).unwrap()];
        assert_eq!(reason(calls.place_for("/x", &flood)), Some(Reason::QuotaExceeded));
        assert_eq!(reason(calls.place_for("/x", &other)), None);
        // Of the places for uploads it is a quarter.
        let upload = calls.place_for(UPLOAD, &flood).unwrap();
        assert_eq!(reason(calls.place_for(UPLOAD, &flood)), Some(Reason::QuotaExceeded));
        drop((held, upload));
        assert_eq!(reason(calls.place_for("/x", &flood)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_system_that_calls_too_fast_is_told_how_long_to_wait() {
        let mut limits = Limits::default();
        limits.system.per_second = 10;
        let calls = Calls::new(&limits, CancellationToken::new());
        let system = "mot-cua".to_owned();
        let refused = (0..).find_map(|_| calls.place_for("/x", &system).err()).unwrap();
        assert_eq!(
            (refused.reason(), refused.retry_after()),
            (Reason::QuotaExceeded, Some(Duration::from_millis(100)))
        );
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(calls.place_for("/x", &system).is_ok());
    }

    #[tokio::test]
    async fn what_the_registry_says_about_a_system_goes_before_what_every_system_may() {
        let calls = Calls::new(&Limits::default(), CancellationToken::new());
        let own = |system: &str| Quota { at_once: (system == "nho").then_some(1), per_second: None };
        let calls = calls.unless(own);
        let [small, other] = ["nho", "mot-cua"].map(str::to_owned);
        let _held = [calls.place_for("/x", &small).unwrap(), calls.place_for("/x", &other).unwrap()];
        let refused = calls.place_for("/x", &small).err().unwrap();
        let told = |key: &str| refused.details()[key].as_str();
        assert_eq!((told("system"), told("at_once"), told("set_by")), ("nho", "1", "registry"));
        assert!(refused.retry_after().is_some());
        assert!(calls.place_for("/x", &other).is_ok());
        assert!(calls.place_for(UPLOAD, &small).is_ok());
    }

    #[tokio::test]
    async fn while_stopping_only_probes_are_answered() {
        let services = Router::new().route("/{*any}", post(async || Response::new(Body::empty())));
        let calls = open(1);
        calls.stopping.cancel();
        assert_eq!(call(services.clone(), &calls, "/x", None).await, Some(Refusal::new(Reason::ShuttingDown)));
        assert_eq!(call(services, &calls, "/grpc.health.v1.Health/Check", None).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_smaller_deadline_holds_and_an_upload_has_only_the_callers() {
        let services = Router::new().route("/{*any}", post(std::future::pending::<Response>));
        let late = |refusal: Option<Refusal>| refusal.unwrap().details()["deadline_ms"].clone();
        assert_eq!(late(call(services.clone(), &open(1), "/x", None).await), "30000");
        assert_eq!(late(call(services.clone(), &open(1), "/x", Some("2S")).await), "2000");
        assert_eq!(late(call(services.clone(), &open(1), "/x", Some("2H")).await), "30000");
        assert_eq!(late(call(services, &open(1), UPLOAD, Some("2M")).await), "120000");
    }

    #[test]
    fn a_timeout_has_at_most_eight_digits_and_a_unit() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            callers_time(&headers)
        };
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "1", "1x", "-1S", "100000000S", "1.5S"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
