//! How webhooks do, for those who set them up: each URL, the last posts, and a trial. No content of any event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use lgsp_proto::types::PartyId;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use utoipa::{IntoParams, ToSchema};

use super::describe::{Always, Listed, Tried};
use super::pages::{self, List};
use super::{Api, bad_request, json, read_json};
use crate::json::{Fields, machine_time};
use crate::problem::{LocalReason, Problem};
use crate::spool::now_ms;
use crate::webhook::{Attempt, Health, Outcome, Webhook};

/// All webhooks.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
struct WebhooksJson {
    /// Each URL, once.
    webhooks: Vec<WebhookJson>,
    /// Why the file of secrets is not used as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_problem: Option<String>,
}

/// One URL.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
struct WebhookJson {
    /// Where it is posted to.
    url: String,
    /// Whose events.
    parties: Vec<String>,
    /// Whether citizens' data leave the machine readable for whoever is on the way.
    unencrypted: bool,
    /// Events and outcomes that it has still to take.
    waiting: usize,
    /// When it last took something.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<String>,
    /// The last post that it did not take.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureJson>,
    /// The first failure since anything was last taken; absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    /// When what failed is tried again; absent when nothing waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
}

/// Why a post was not taken.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookFailure)]
struct FailureJson {
    /// When.
    at: Option<String>,
    #[serde(flatten)]
    outcome: OutcomeJson,
    message_vi: &'static str,
    message_en: &'static str,
}

/// What became of a post.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookOutcome)]
struct OutcomeJson {
    /// A stable word: `taken`, `http_status`, `timed_out` and so on.
    outcome: &'static str,
    /// What it answered, where that is not 2xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
}

/// All that is set must hold.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AttemptsQuery {
    party: Option<String>,
    dossier_code: Option<String>,
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// One page of posts, the latest first.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAttempts)]
struct AttemptsJson {
    /// The posts of this page.
    attempts: Vec<AttemptJson>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// One post.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
struct AttemptJson {
    /// When.
    at: Option<String>,
    /// The event's id, the same however often it is posted.
    id: String,
    /// The event's type, such as `vn.lgsp.dossier.accepted.v1`.
    #[serde(rename = "type")]
    kind: String,
    /// Where it was posted to.
    url: Option<String>,
    party: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_code: Option<String>,
    /// Which try of this event, since the start.
    attempt: u32,
    #[serde(flatten)]
    outcome: OutcomeJson,
    /// How long it took.
    duration_ms: u64,
}

/// What to try; nothing for all webhooks.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = WebhookTest)]
#[serde(deny_unknown_fields, default)]
struct TestJson {
    /// One that is set up here: nothing else is ever posted to.
    url: Option<String>,
    /// The one of this party.
    party: Option<String>,
}

/// What became of the trials.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTested)]
struct TestedJson {
    /// Of each webhook that was tried.
    results: Vec<ResultJson>,
}

/// What became of a trial.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookResult)]
struct ResultJson {
    /// Where it was posted to.
    url: String,
    /// Whose events go there.
    parties: Vec<String>,
    /// Whether citizens' data leave the machine readable for whoever is on the way.
    unencrypted: bool,
    #[serde(flatten)]
    outcome: OutcomeJson,
    /// How long it took.
    duration_ms: u64,
    /// What is the matter, and what to mend, in Vietnamese.
    message_vi: &'static str,
    /// The same in English.
    message_en: &'static str,
}

/// `GET /v1/webhooks`: how each does.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    summary = "How each webhook does",
    description = "What waits, the last success and failure, since when it fails, and when it is tried again.",
    responses((status = 200, description = "How they do; none, if none is set up", body = WebhooksJson), Always),
)]
pub(super) async fn list(State(api): State<Arc<Api>>) -> Response {
    let webhooks = api.webhooks.all.iter().enumerate();
    let webhooks = webhooks.map(|(place, webhook)| WebhookJson::new(&api, place, webhook)).collect();
    let secret_problem = api.webhooks.secrets.as_ref().and_then(|secrets| secrets.problem());
    json(StatusCode::OK, &WebhooksJson { webhooks, secret_problem })
}

/// `GET /v1/webhooks/attempts`: the last posts.
#[utoipa::path(
    get, path = "/v1/webhooks/attempts", tag = "webhooks", operation_id = "list_webhook_attempts",
    summary = "The last posts",
    description = "The last 1,000 since the start, of all URLs together, the latest first. No content.",
    params(AttemptsQuery),
    responses((status = 200, description = "One page", body = AttemptsJson), Listed),
)]
pub(super) async fn attempts(
    State(api): State<Arc<Api>>,
    query: Result<Query<AttemptsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(AttemptsQuery { party, dossier_code, page_size, page_token }) = query.map_err(bad_request)?;
    let mut fields = Fields::default();
    let party = fields.optional::<PartyId>("party", party.as_deref());
    let party = fields.finish(party)?;
    let size = pages::size(page_size)?;
    let before = pages::number(List::Attempts, page_token.as_deref())?.unwrap_or(u64::MAX);
    let is_wanted = |attempt: &Attempt| {
        party.as_ref().is_none_or(|party| attempt.party == party.as_str())
            && dossier_code.as_ref().is_none_or(|code| attempt.dossier_code.as_ref() == Some(code))
    };
    let mut found = api.webhooks.attempts.page(before, size + 1, is_wanted);
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|last| pages::token(List::Attempts, &last.number.to_be_bytes()));
    let attempts = found.into_iter().map(|attempt| AttemptJson::new(&api, attempt)).collect();
    Ok(json(StatusCode::OK, &AttemptsJson { attempts, next_page_token: next }))
}

/// `POST /v1/webhooks/test`: posts something to try with, once, and says what became of it.
#[utoipa::path(
    post, path = "/v1/webhooks/test", tag = "webhooks", operation_id = "test_webhooks",
    summary = "Posts something to try with, once",
    description = "Signed as every event is, with the type `vn.lgsp.webhook.test.v1`, to all webhooks or to those that are named.",
    request_body = TestJson,
    responses((status = 200, description = "What became of each", body = TestedJson), Tried),
)]
pub(super) async fn test(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Problem> {
    let TestJson { url, party } = read_json(body).await?;
    let mut fields = Fields::default();
    let party = fields.optional::<PartyId>("party", party.as_deref());
    let party = fields.finish(party)?;
    let is_meant = |webhook: &Arc<Webhook>| {
        url.as_ref().is_none_or(|url| webhook.url.shown() == url || webhook.url.to_string() == *url)
            && party.as_ref().is_none_or(|party| webhook.parties.contains(party))
    };
    let mut under_way = JoinSet::new();
    for (place, webhook) in api.webhooks.all.iter().cloned().enumerate().filter(|(_, webhook)| is_meant(webhook)) {
        under_way.spawn(async move {
            let (outcome, duration) = webhook.test().await;
            (place, ResultJson::new(&webhook, outcome, duration))
        });
    }
    if under_way.is_empty() {
        return Err(LocalReason::WebhookNotFound.into());
    }
    let mut results = under_way.join_all().await;
    results.sort_unstable_by_key(|(place, _)| *place);
    Ok(json(StatusCode::OK, &TestedJson { results: results.into_iter().map(|(_, result)| result).collect() }))
}

impl WebhookJson {
    fn new(api: &Api, place: usize, webhook: &Webhook) -> Self {
        let now = Instant::now();
        let (waiting, due) = api.office.spool.parcels(place, |lanes| (lanes.len(), lanes.next_due(now)));
        let in_ms = |due: Instant| i64::try_from(due.saturating_duration_since(now).as_millis()).unwrap_or(i64::MAX);
        let Health { last_taken_ms, last_failure, failing_since_ms } = api.webhooks.attempts.health(place);
        Self {
            url: webhook.url.shown().to_owned(),
            parties: names(webhook),
            unencrypted: webhook.url.is_exposed(),
            waiting,
            last_success_at: last_taken_ms.and_then(machine_time),
            last_failure: last_failure.map(|(at_ms, outcome)| {
                let [message_vi, message_en] = outcome.texts();
                FailureJson { at: machine_time(at_ms), outcome: OutcomeJson::new(outcome), message_vi, message_en }
            }),
            failing_since: failing_since_ms.and_then(machine_time),
            next_attempt_at: due.and_then(|due| machine_time(now_ms().saturating_add(in_ms(due)))),
        }
    }
}

impl AttemptJson {
    fn new(api: &Api, attempt: Attempt) -> Self {
        Self {
            at: machine_time(attempt.at_ms),
            id: attempt.id,
            kind: attempt.kind,
            url: api.webhooks.all.get(attempt.place).map(|webhook| webhook.url.shown().to_owned()),
            party: attempt.party,
            dossier_code: attempt.dossier_code,
            attempt: attempt.attempt,
            outcome: OutcomeJson::new(attempt.outcome),
            duration_ms: millis(attempt.duration),
        }
    }
}

impl ResultJson {
    fn new(webhook: &Webhook, outcome: Outcome, duration: Duration) -> Self {
        let [message_vi, message_en] = outcome.texts();
        Self {
            url: webhook.url.shown().to_owned(),
            parties: names(webhook),
            unencrypted: webhook.url.is_exposed(),
            outcome: OutcomeJson::new(outcome),
            duration_ms: millis(duration),
            message_vi,
            message_en,
        }
    }
}

impl OutcomeJson {
    fn new(outcome: Outcome) -> Self {
        Self { outcome: outcome.word(), http_status: outcome.http_status() }
    }
}

fn names(webhook: &Webhook) -> Vec<String> {
    webhook.parties.iter().map(ToString::to_string).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(feature = "fuzz")]
pub(super) fn fuzz(body: &[u8]) -> Option<serde_json::Error> {
    serde_json::from_slice::<TestJson>(body).err()
}
