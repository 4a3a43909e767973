//! Questions that the owner's own software answers: each is posted to a URL on this machine.
//!
//! The request's document is the body, as the gateway checked it; who asks what for is in the headers. A status of the 200s is a
//! reply. Others say why there is none, by the word in `reason` of their JSON body, or else by the status itself. Nothing of either is
//! logged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lgsp_proto::v1::{Question, ServiceRefusal};
use serde::Deserialize;

use super::source::{REPLY_BYTES_MAX, Serving, Source, failed};
use crate::config;
use crate::trace;
use crate::webhook::Connector;

/// One service, answered by what listens at a URL.
struct Posted {
    service: String,
    url: Uri,
    client: Client<Connector, Full<Bytes>>,
}

/// What is read of an answer that is no reply.
#[derive(Deserialize)]
struct Refused {
    reason: String,
}

/// The services that the owner's own software answers.
pub(crate) fn serving(config: config::Connector) -> Serving {
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(config.at_once.get())
        // It is on this machine, so there is no TLS.
        .build(Connector::plain());
    let mut sources: BTreeMap<_, Arc<dyn Source>> = BTreeMap::new();
    for ((name, version), url) in config.services {
        let service = format!("{name}/{version}");
        sources.insert((name, version), Arc::new(Posted { service, url: url.uri(), client: client.clone() }));
    }
    Serving { party: config.party, at_once: config.at_once, sources }
}

#[async_trait]
impl Source for Posted {
    async fn reply(&self, question: &Question) -> Result<Bytes, ServiceRefusal> {
        let request = self.request(question).ok_or_else(|| failed(question, "it cannot be put into headers"))?;
        let answer = self.client.request(request).await;
        let (head, body) = answer.map_err(|_| failed(question, "the service's URL does not answer"))?.into_parts();
        let body = Limited::new(body, REPLY_BYTES_MAX).collect().await;
        let body = body.map_err(|_| failed(question, "the answer is too long or broke off"))?.to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        Err(match refusal(head.status, &body) {
            ServiceRefusal::Failed => {
                let (query_id, status) = (HEXLOWER.encode(&question.query_id), head.status.as_u16());
                tracing::warn!(
                    query_id,
                    status,
                    why = "the service's software failed",
                    "a question could not be answered"
                );
                ServiceRefusal::Failed
            }
            word => word,
        })
    }
}

impl Posted {
    fn request(&self, question: &Question) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("lgsp-query-id", HEXLOWER.encode(&question.query_id))
            .header("lgsp-service", &self.service)
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
    use std::collections::BTreeSet;

    use super::*;

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
