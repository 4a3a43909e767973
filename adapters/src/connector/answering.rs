//! One question: who answers it, within what time, and what of the reply may leave.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use lgsp_domain::query::cut;
use lgsp_proto::v1::service_answer::Outcome;
use lgsp_proto::v1::{Question, ServiceAnswer, ServiceRefusal};

use super::source::{Serving, failed};

/// What is kept back of the time that is left, so that an answer still comes in time.
const TO_ANSWER: Duration = Duration::from_millis(50);

/// The answer to a question; `None` when there is none in its time, which the gateway knows by itself.
pub(super) async fn answered(serving: &Serving, question: Question) -> Option<ServiceAnswer> {
    let time = Duration::from_millis(question.time_left_ms.into()).saturating_sub(TO_ANSWER);
    // A time-out looks at what it bounds once even so, and that may be enough to send it.
    if time.is_zero() {
        return None;
    }
    let Ok(outcome) = tokio::time::timeout(time, told(serving, &question)).await else {
        failed(&question, "there was no answer in the question's own time");
        return None;
    };
    let outcome = match outcome {
        Ok(reply) => Outcome::Reply(reply),
        Err(refusal) => Outcome::Refusal(refusal.into()),
    };
    Some(ServiceAnswer { query_id: question.query_id, outcome: Some(outcome) })
}

/// The reply, without what may not be told.
async fn told(serving: &Serving, question: &Question) -> Result<Bytes, ServiceRefusal> {
    let service = question.service.as_ref().map(|service| (service.name.clone(), service.version));
    let source = service.and_then(|service| serving.sources.get(&service));
    let source = source.ok_or_else(|| failed(question, "the service is not one of ours"))?;
    let reply = source.reply(question).await?;
    let fields: BTreeSet<String> = question.fields.iter().cloned().collect();
    match cut(&reply, &fields) {
        Ok(Cow::Borrowed(_)) => Ok(reply.clone()),
        Ok(Cow::Owned(told)) => Ok(told.into()),
        Err(_) => Err(failed(question, "the reply is no JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::routing::post;
    use lgsp_proto::v1::ServiceRef;

    use super::super::posted;
    use super::super::source::Source;
    use super::*;
    use crate::config;

    /// Software that answers `thua-dat/1` at once, and `rung/1` never.
    async fn software(reply: &'static str) -> Serving {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/land", post(move || async move { reply }))
            .route("/never", post(std::future::pending::<()>));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let url = |path: &str| format!("http://{address}{path}").parse().unwrap();
        let services = [(("thua-dat".to_owned(), 1), url("/land")), (("rung".to_owned(), 1), url("/never"))].into();
        let (party, at_once) = ("H57.12".parse().unwrap(), 4.try_into().unwrap());
        posted::serving(config::Connector { party, services, at_once })
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
        let software = software(r#"{"area_m2":120.50,"owner":"Trần Thị Thử"}"#).await;
        let answer = answered(&software, question("thua-dat", 20_000)).await.unwrap();
        assert_eq!(answer.query_id, [1; 16][..]);
        assert_eq!(answer.outcome, Some(Outcome::Reply(Bytes::from_static(br#"{"area_m2":120.50}"#))));
        let unknown = answered(&software, question("khac", 20_000)).await.unwrap();
        assert_eq!(unknown.outcome, Some(Outcome::Refusal(ServiceRefusal::Failed.into())));
    }

    #[tokio::test]
    async fn what_is_not_answered_in_its_time_is_not_answered_at_all() {
        let software = software("{}").await;
        assert_eq!(answered(&software, question("rung", 100)).await, None);
    }

    #[tokio::test]
    async fn a_question_without_time_is_put_to_nobody() {
        struct Counts(AtomicUsize);
        #[async_trait::async_trait]
        impl Source for Counts {
            async fn reply(&self, _: &Question) -> Result<Bytes, ServiceRefusal> {
                self.0.fetch_add(1, Ordering::Relaxed);
                Ok(Bytes::from_static(b"{}"))
            }
        }
        let asked = Arc::new(Counts(AtomicUsize::new(0)));
        let sources = [(("thua-dat".to_owned(), 1), asked.clone() as Arc<dyn Source>)].into();
        let (party, at_once) = ("H57.12".parse().unwrap(), 4.try_into().unwrap());
        let serving = Serving { party, at_once, sources };
        for (time_left_ms, answers) in [(0, false), (50, false), (20_000, true)] {
            let answer = answered(&serving, question("thua-dat", time_left_ms)).await;
            assert_eq!((answer.is_some(), asked.0.load(Ordering::Relaxed)), (answers, usize::from(answers)));
        }
    }
}
