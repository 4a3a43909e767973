//! One question, put to the owner's own software over HTTP, and what its answer means.
//!
//! The request's document is the body, as the gateway checked it; who asks what for is in the headers. A status of the 200s is a
//! reply. Others say why there is none, by the word in `reason` of their JSON body, or else by the status itself. Nothing of either is
//! logged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lgsp_domain::query::cut;
use lgsp_proto::v1::service_answer::Outcome;
use lgsp_proto::v1::{Question, ServiceAnswer, ServiceRef, ServiceRefusal};
use serde::Deserialize;

use crate::config;
use crate::trace;
use crate::webhook::Connector;

/// The longest reply, as the gateway takes it.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// What is kept back of the time that is left, so that an answer still comes in time.
const TO_ANSWER: Duration = Duration::from_millis(50);

/// The way to the owner's software.
pub(super) struct Exchange {
    urls: BTreeMap<(String, u32), Uri>,
    client: Client<Connector, Full<Bytes>>,
}

/// What is read of an answer that is no reply.
#[derive(Deserialize)]
struct Refused {
    reason: String,
}

impl Exchange {
    pub(super) fn new(config: &config::Connector) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(config.at_once.get())
            // It is on this machine, so there is no TLS.
            .build(Connector::plain());
        let urls = config.services.iter().map(|(service, url)| (service.clone(), url.uri())).collect();
        Self { urls, client }
    }

    /// The answer to a question; `None` when there is none in its time, which the gateway knows by itself.
    pub(super) async fn answer(&self, question: Question) -> Option<ServiceAnswer> {
        let time = Duration::from_millis(question.time_left_ms.into()).saturating_sub(TO_ANSWER);
        let answered = tokio::time::timeout(time, self.ask(&question)).await;
        let outcome = match answered.ok()? {
            Ok(reply) => Outcome::Reply(reply),
            Err(refusal) => Outcome::Refusal(refusal.into()),
        };
        Some(ServiceAnswer { query_id: question.query_id, outcome: Some(outcome) })
    }

    async fn ask(&self, question: &Question) -> Result<Bytes, ServiceRefusal> {
        let failed = |why: &'static str| {
            tracing::warn!(query_id = HEXLOWER.encode(&question.query_id), why, "a question could not be answered");
            ServiceRefusal::Failed
        };
        let request = self.request(question).ok_or_else(|| failed("the service is not one of ours"))?;
        let answer = self.client.request(request).await.map_err(|_| failed("its URL does not answer"))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, REPLY_BYTES_MAX).collect().await;
        let body = body.map_err(|_| failed("its answer is too long or broke off"))?.to_bytes();
        if !head.status.is_success() {
            return Err(refusal(head.status, &body));
        }
        let fields: BTreeSet<String> = question.fields.iter().cloned().collect();
        match cut(&body, &fields) {
            Ok(std::borrow::Cow::Borrowed(_)) => Ok(body.clone()),
            Ok(std::borrow::Cow::Owned(told)) => Ok(told.into()),
            Err(_) => Err(failed("its reply is no JSON object")),
        }
    }

    fn request(&self, question: &Question) -> Option<Request<Full<Bytes>>> {
        let ServiceRef { name, version } = question.service.clone()?;
        let service = format!("{name}/{version}");
        let url = self.urls.get(&(name, version))?;
        let mut request = Request::post(url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("lgsp-query-id", HEXLOWER.encode(&question.query_id))
            .header("lgsp-service", service)
            .header("lgsp-purpose", &question.purpose)
            .header("lgsp-party", &question.acting_party)
            .header("lgsp-actor", &question.actor)
            .header("lgsp-fields", question.fields.join(","))
            .header("lgsp-time-left-ms", question.time_left_ms);
        let facts = [
            ("lgsp-procedure-code", &question.procedure_code),
            ("lgsp-dossier-code", &question.dossier_code),
            (trace::HEADER, &question.traceparent),
        ];
        for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        request.body(Full::from(question.payload.clone())).ok()
    }
}

/// Why there is no reply: the word, where the body says one, else the status.
fn refusal(status: StatusCode, body: &[u8]) -> ServiceRefusal {
    let said = serde_json::from_slice::<Refused>(body).ok();
    let word = said.and_then(|said| ServiceRefusal::from_str_name(&format!("SERVICE_REFUSAL_{}", said.reason)));
    if let Some(word) = word.filter(|word| *word != ServiceRefusal::Unspecified) {
        return word;
    }
    match status.as_u16() {
        404 => ServiceRefusal::NotFound,
        409 => ServiceRefusal::Ambiguous,
        422 => ServiceRefusal::Mismatch,
        423 => ServiceRefusal::Locked,
        403 => ServiceRefusal::ClerkNotAuthorised,
        451 => ServiceRefusal::PurposeNotPermitted,
        429 => ServiceRefusal::Quota,
        503 => ServiceRefusal::Maintenance,
        _ => ServiceRefusal::Failed,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;

    use super::*;

    /// An exchange with software that answers `thua-dat/1` at once, and `rung/1` never.
    async fn exchange(reply: &'static str) -> Exchange {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/land", post(move || async move { reply }))
            .route("/never", post(std::future::pending::<()>));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let url = |path: &str| format!("http://{address}{path}").parse().unwrap();
        let services = [(("thua-dat".to_owned(), 1), url("/land")), (("rung".to_owned(), 1), url("/never"))].into();
        let (party, at_once) = ("H57.12".parse().unwrap(), 4.try_into().unwrap());
        Exchange::new(&config::Connector { party, services, at_once })
    }

    fn question(service: &str, time_left_ms: u32) -> Question {
        Question {
            query_id: Bytes::from_static(&[1; 16]),
            service: Some(ServiceRef { name: service.to_owned(), version: 1 }),
            fields: vec!["area_m2".to_owned()],
            payload: Bytes::from_static(b"{}"),
            time_left_ms,
            ..Question::default()
        }
    }

    #[tokio::test]
    async fn what_may_not_be_told_does_not_leave_the_owners_machine() {
        let exchange = exchange(r#"{"area_m2":120.50,"owner":"Trần Thị Thử"}"#).await;
        let answer = exchange.answer(question("thua-dat", 20_000)).await.unwrap();
        assert_eq!(answer.query_id, [1; 16][..]);
        assert_eq!(answer.outcome, Some(Outcome::Reply(Bytes::from_static(br#"{"area_m2":120.50}"#))));
        let unknown = exchange.answer(question("khac", 20_000)).await.unwrap();
        assert_eq!(unknown.outcome, Some(Outcome::Refusal(ServiceRefusal::Failed.into())));
    }

    #[tokio::test]
    async fn what_is_not_answered_in_its_time_is_not_answered_at_all() {
        let exchange = exchange("{}").await;
        assert_eq!(exchange.answer(question("rung", 100)).await, None);
        assert_eq!(exchange.answer(question("thua-dat", 10)).await, None, "there is no time left for anything");
    }

    #[test]
    fn a_word_in_the_body_goes_before_the_status_and_what_is_neither_is_a_failure() {
        let of = |status: u16, body: &str| refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        assert_eq!(of(404, ""), ServiceRefusal::NotFound);
        assert_eq!(of(400, r#"{"reason":"MISMATCH","more":1}"#), ServiceRefusal::Mismatch);
        assert_eq!(of(404, r#"{"reason":"LOCKED"}"#), ServiceRefusal::Locked);
        assert_eq!(of(404, r#"{"reason":"of tomorrow"}"#), ServiceRefusal::NotFound);
        assert_eq!(of(429, r#"{"reason":"UNSPECIFIED"}"#), ServiceRefusal::Quota);
        for other in [301, 400, 500, 502] {
            assert_eq!(of(other, "<html>"), ServiceRefusal::Failed, "{other}");
        }
        let all = [403, 404, 409, 422, 423, 429, 451, 503].map(|status| of(status, "") as i32);
        assert_eq!(BTreeSet::from(all).len(), all.len());
    }
}
