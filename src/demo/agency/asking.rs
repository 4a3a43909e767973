//! What the agency asks of its adapter, and is answered at once: who a citizen is, and where nobody tells it, what became of its requests and
//! of its dossiers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use jiff::civil::DateTime;
use lgsp_proto::Reason;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::desk::{Desk, HANDS, PATIENCE};
use super::webhook::{Problem, Receipt};
use crate::demo::books::Entry;
use crate::demo::scenario::{Check, Filing, Step};

/// So often a question is put before it counts as unanswered.
const TRIES: u32 = 8;
/// The first wait before another try, where the gateway names none; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// How long one question for the outcome of a request may be held open, in milliseconds.
const WAIT_MS: u64 = 20_000;

/// What the adapter says to a question: the answer, or why there is none.
#[derive(Deserialize)]
struct Told {
    query_id: Option<String>,
    reply_sha256: Option<String>,
    reply: Option<Value>,
    reason: Option<String>,
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    query_id: Option<String>,
    retry_after_ms: Option<String>,
}

/// How a request stands.
#[derive(Deserialize)]
struct Standing {
    state: String,
    receipt: Option<Receipt>,
    problem: Option<Problem>,
}

#[derive(Deserialize)]
struct Known {
    dossier: Latest,
}

#[derive(Deserialize)]
struct Latest {
    sequence: u32,
}

impl Desk {
    /// Confirms the identity of whoever files, before anything is handed in. Every question that came to the service is in the books.
    ///
    /// # Errors
    /// There is no answer, or it is not the citizen's. Nothing of the citizen is in the error.
    pub(super) async fn confirm(&self, step: &Step, filing: &Filing) -> anyhow::Result<()> {
        let (adapter, check) = (self.adapter()?, filing.check);
        let body = Bytes::from(serde_json::to_vec(&json!({
            "service": check.service(), "purpose": Check::PURPOSE, "procedure_code": filing.procedure,
            "intake_key": step.key(), "payload": check.payload(&filing.citizen),
        }))?);
        let mut headers = self.headers(step)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let _turn = self.questions.acquire().await?;
        let (mut wait, mut tries) = (FIRST_WAIT, 0);
        loop {
            tries += 1;
            let (status, answer) = adapter.send(Method::POST, "/v1/queries", headers.clone(), body.clone()).await?;
            let told: Told = serde_json::from_slice(&answer).context("an answer that is none")?;
            let reason = told.reason.unwrap_or_else(|| "NONE_GIVEN".to_owned());
            let is_answered = status == StatusCode::OK;
            if let Some(query) = told.query_id.or(told.details.query_id) {
                self.write(&Entry::Asked {
                    party: step.party.clone(),
                    key: step.key(),
                    service: check.service().to_owned(),
                    query,
                    outcome: if is_answered { Entry::ANSWERED.to_owned() } else { reason.clone() },
                    reply: told.reply_sha256.unwrap_or_default(),
                })?;
            }
            if is_answered {
                let reply = told.reply.context("an answer without a reply")?;
                if !check.confirms(&filing.citizen, &reply) {
                    bail!("{} does not confirm who hands it in", check.service());
                }
                return Ok(());
            }
            if tries == TRIES || !may_pass(&reason) {
                bail!("{} does not answer, {tries} questions: {reason}", check.service());
            }
            // A question changes nothing: the service is left alone for as long as the gateway says, and asked again.
            let named = told.details.retry_after_ms.and_then(|wait| wait.parse().ok());
            tokio::time::sleep(named.map_or(wait, Duration::from_millis)).await;
            wait *= 2;
        }
    }

    /// Waits for the outcome of a request that nobody will tell of.
    ///
    /// # Errors
    /// There is none in time.
    pub(super) async fn fetch_outcome(&self, step: &Step) -> anyhow::Result<()> {
        let (key, party, until) = (step.key(), step.party.clone(), Instant::now() + PATIENCE);
        let path = format!("/v1/requests/{key}?wait_ms={WAIT_MS}");
        loop {
            let standing: Standing = self.fetch(step, &path).await?;
            match (standing.state.as_str(), standing.receipt, standing.problem) {
                ("admitted", Some(receipt), _) => return self.answered(receipt.into_entry(party, key)),
                ("refused", _, Some(problem)) => return self.answered(problem.into_entry(party, key)),
                (state, ..) if Instant::now() > until => bail!("it has no outcome, and is {state}"),
                _ => {}
            }
        }
    }

    /// Looks how the dossiers stand whose next step is due by `until`.
    ///
    /// # Errors
    /// The adapter does not say.
    pub(super) async fn catch_up(self: &Arc<Self>, until: DateTime) -> anyhow::Result<()> {
        let hands = Arc::new(Semaphore::new(HANDS));
        let mut looking = JoinSet::new();
        for (step, code) in self.followed(until) {
            let (desk, hands) = (Arc::clone(self), Arc::clone(&hands));
            looking.spawn(async move {
                let _hand = hands.acquire().await?;
                let Known { dossier } = desk.fetch(&step, &format!("/v1/dossiers/{code}")).await?;
                desk.learn(&step, dossier.sequence, &code);
                anyhow::Ok(())
            });
        }
        while let Some(looked) = looking.join_next().await {
            looked??;
        }
        Ok(())
    }

    async fn fetch<T: DeserializeOwned>(&self, step: &Step, path: &str) -> anyhow::Result<T> {
        let (status, answer) = self.adapter()?.send(Method::GET, path, self.headers(step)?, Bytes::new()).await?;
        if status != StatusCode::OK {
            bail!("the adapter answered {path} with {status} {}", String::from_utf8_lossy(&answer));
        }
        serde_json::from_slice(&answer).with_context(|| format!("the adapter answered {path} with something else"))
    }
}

/// Whether the same question may be answered later.
fn may_pass(word: &str) -> bool {
    Reason::parse(word).map_or(word == "GATEWAY_UNREACHABLE", |reason| {
        reason.is_transient() || matches!(reason, Reason::ServiceFailed | Reason::QueryOutcomeUnknown)
    })
}
