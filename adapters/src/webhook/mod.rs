//! Webhooks: CloudEvents posted to the agency's own system, signed, over HTTPS or on its own machine over HTTP.
//!
//! Owns what goes over the wire and what is remembered of it. That everything comes in order per dossier, and again until it is
//! taken, is the hand-over's. One URL is one place, whatever parties it is for.
//!
//! | module | owns |
//! |---|---|
//! | `cloud_event` | the body: envelope and types |
//! | `secrets` | the signature, and the secrets it is made with |
//! | `connector`, `url` | the way there |
//! | `outcome`, `attempts` | what became of a post, in a word, and the last ones of them |

mod attempts;
mod cloud_event;
mod connector;
mod outcome;
mod secrets;
mod url;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lgsp_proto::types::PartyId;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::config;
use crate::digest::random;
use crate::handover::{About, Carrier, Message, NotTaken};
use crate::json::machine_time;
use crate::spool::now_ms;
use crate::trace;

pub(crate) use attempts::{Attempt, Attempts, Health};
pub(crate) use cloud_event::event_type;
pub use cloud_event::event_types;
pub(crate) use cloud_event::{CONTENT_TYPE, CloudEvent, NAMESPACE, VERSION, type_of_event};
pub(crate) use connector::Connector;
pub(crate) use outcome::Outcome;
use secrets::Secrets;
pub use secrets::{ChangeError, begin_change, finish_change};
pub use url::{BadWebhookUrl, WebhookUrl};

/// The most that is read of an answer after its head, and for how long, to use the connection again; what it says does not matter.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const REST_OF_ANSWER: Duration = Duration::from_secs(1);

/// The webhooks of an adapter, by the number of their place.
pub(crate) struct Webhooks {
    pub(crate) all: Vec<Arc<Webhook>>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) secrets: Option<Arc<Secrets>>,
}

/// A webhook of one URL.
pub(crate) struct Webhook {
    place: usize,
    pub(crate) url: WebhookUrl,
    /// For whom it is; never empty.
    pub(crate) parties: Vec<PartyId>,
    uri: Uri,
    source: Arc<str>,
    client: Client<Connector, Full<Bytes>>,
    timeout: Duration,
    secrets: Arc<Secrets>,
    attempts: Arc<Attempts>,
}

/// Why the webhooks of a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file of secrets.
    #[error("the webhook secrets")]
    Secrets(#[source] io::Error),
    /// The CA certificates.
    #[error(transparent)]
    Bundle(#[from] lgsp_certs::tls::TlsFileError),
}

/// What an event to try with holds.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTestEvent)]
pub(crate) struct TestJson<'a> {
    party: &'a str,
    message_en: &'static str,
    message_vi: &'static str,
}

impl Webhooks {
    /// Those of these URLs, one place each, for the parties with the number of that place. `source` names the adapter's system.
    ///
    /// # Errors
    /// The file of secrets cannot be used or made, or the bundle cannot be read.
    pub(crate) fn open(
        config: &config::Webhook,
        urls: &[WebhookUrl],
        places: &HashMap<PartyId, usize>,
        source: &str,
    ) -> Result<Self, OpenError> {
        let attempts = Arc::new(Attempts::new(urls.len()));
        if urls.is_empty() {
            return Ok(Self { all: Vec::new(), attempts, secrets: None });
        }
        let secrets = Arc::new(Secrets::open(&config.secret_file).map_err(OpenError::Secrets)?);
        let tls = config.bundle.as_deref().map(tls).transpose()?;
        let source: Arc<str> = source.into();
        let webhook = |(place, url): (usize, &WebhookUrl)| {
            if url.is_exposed() {
                tracing::warn!(
                    url = url.shown(),
                    "this webhook leaves the machine unencrypted; use https and webhook.bundle"
                );
            }
            let mut parties: Vec<_> = places.iter().filter(|(_, of)| **of == place).map(|(party, _)| party).collect();
            parties.sort_unstable();
            let client = Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(Duration::from_secs(30))
                .pool_max_idle_per_host(config.at_once.get())
                .build(Connector(tls.clone()));
            Arc::new(Webhook {
                place,
                url: url.clone(),
                parties: parties.into_iter().cloned().collect(),
                uri: url.uri(),
                source: source.clone(),
                client,
                timeout: config.timeout,
                secrets: secrets.clone(),
                attempts: attempts.clone(),
            })
        };
        let all = urls.iter().enumerate().map(webhook).collect();
        Ok(Self { all, attempts, secrets: Some(secrets) })
    }
}

impl Webhook {
    /// Posts an event to try with, once, and says what became of it and how long that took.
    pub(crate) async fn test(&self) -> (Outcome, Duration) {
        let id = format!("test/{}", HEXLOWER.encode(&random::<8>()));
        let party = self.parties.first().map_or("", PartyId::as_str);
        let data = TestJson {
            party,
            message_en: "A test of the webhook; there is nothing to do.",
            message_vi: "Thông báo thử webhook; không cần xử lý.",
        };
        let data = serde_json::value::to_raw_value(&data).expect("our own types have text keys");
        let mut event = CloudEvent::new(&id, &self.source, cloud_event::TEST, &data);
        event.time = machine_time(now_ms());
        let (at_ms, outcome, duration) = self.post(&id, event.to_bytes(), None).await;
        let (kind, party) = (cloud_event::TEST.to_owned(), party.to_owned());
        let attempt = Attempt {
            number: 0,
            at_ms,
            place: self.place,
            id,
            kind,
            party,
            dossier_code: None,
            attempt: 1,
            outcome,
            duration,
        };
        self.attempts.note(attempt, false);
        (outcome, duration)
    }

    /// Posts a body under the name of its event. Taken when the agency's system has answered 2xx.
    async fn post(&self, id: &str, body: Vec<u8>, trace: Option<&str>) -> (i64, Outcome, Duration) {
        let (at_ms, began) = (now_ms(), Instant::now());
        let (id, timestamp) = (header_id(id), at_ms.div_euclid(1000));
        let mut request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, cloud_event::CONTENT_TYPE)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.secrets.sign(&id, timestamp, &body))
            .header("webhook-id", id);
        if let Some(trace) = trace {
            request = request.header(trace::HEADER, trace);
        }
        let outcome = match request.body(Full::from(body)) {
            Ok(request) => self.exchange(request).await,
            // Names of ours are fit for a header.
            Err(_) => Outcome::BrokenOff,
        };
        (at_ms, outcome, began.elapsed())
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Outcome {
        let answer = match tokio::time::timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Outcome::of_exchange(&error),
            Err(_) => return Outcome::TimedOut,
        };
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            // The status was the answer; one whose rest does not come was given all the same.
            let rest = Limited::new(body, MAX_ANSWER_BYTES).collect();
            let _ = tokio::time::timeout(REST_OF_ANSWER, rest).await;
            Outcome::Taken
        } else {
            Outcome::Status(head.status)
        }
    }
}

impl Carrier for Arc<Webhook> {
    async fn carry(&self, message: &Message) -> Result<(), NotTaken> {
        let kind = cloud_event::event_type(message.what);
        let data: &RawValue = serde_json::from_slice(&message.body).expect("a message is a JSON document");
        let event = CloudEvent::of(message, &self.source, &kind, data);
        let dossier_code = event.subject.map(str::to_owned);
        let trace = message.trace.as_ref().map(trace::TraceParent::as_str);
        let (at_ms, outcome, duration) = self.post(&message.id, event.to_bytes(), trace).await;
        let party = match &message.about {
            About::Delivery(id) => id.party.to_string(),
            About::Outcome(id) => id.party.to_string(),
        };
        let attempt = Attempt {
            number: 0,
            at_ms,
            place: self.place,
            id: message.id.clone(),
            kind,
            party,
            dossier_code,
            attempt: message.attempt,
            outcome,
            duration,
        };
        self.attempts.note(attempt, true);
        outcome.taken()
    }
}

/// Whether the files of a configuration can be used. A file of secrets that is not there will be made.
///
/// # Errors
/// See [`OpenError`].
pub fn check(config: &config::Webhook) -> Result<(), OpenError> {
    secrets::check(&config.secret_file).map_err(OpenError::Secrets)?;
    config.bundle.as_deref().map(tls).transpose()?;
    Ok(())
}

/// How `webhook-id` writes the id of an event. The signature's parts are separated by full stops, and a request's key, which is
/// in the id of its outcome, may hold any; so here there is none.
fn header_id(id: &str) -> String {
    id.replace('%', "%25").replace('.', "%2E")
}

/// Trusts the CAs of a bundle and no others: what this machine happens to trust is not what an agency has chosen.
fn tls(bundle: &Path) -> Result<Arc<rustls::ClientConfig>, lgsp_certs::tls::TlsFileError> {
    lgsp_certs::tls::https_client_config(bundle).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_a_header_holds_no_full_stop_and_no_two_are_the_same() {
        assert_eq!(header_id("H57.101/request/a.1.b"), "H57%2E101/request/a%2E1%2Eb");
        assert_ne!(header_id("a%2Eb"), header_id("a.b"));
    }
}
