//! Posting JSON to the agency's own system, over plain HTTP on its own network.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::handover::{Carrier, Message, NotTaken};
use crate::trace;

/// The most that is read of an answer, to use the connection again; what it says does not matter.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// `http://host[:port]/path` of the agency's own system.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WebhookUrl(String);

/// What is wrong with a webhook's URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadWebhookUrl {
    /// Not a URL.
    #[error("is not a URL of the form http://host:port/path")]
    Form,
    /// `https`, or something else.
    #[error("is not http://; a system on another machine is reached through a local proxy for now")]
    Scheme,
}

/// A webhook of one URL.
pub(crate) struct Webhook {
    uri: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

impl FromStr for WebhookUrl {
    type Err = BadWebhookUrl;

    fn from_str(text: &str) -> Result<Self, BadWebhookUrl> {
        let uri: Uri = text.parse().map_err(|_| BadWebhookUrl::Form)?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(host)) if !host.is_empty() => Ok(Self(text.to_owned())),
            (Some("http") | None, _) => Err(BadWebhookUrl::Form),
            (Some(_), _) => Err(BadWebhookUrl::Scheme),
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Webhook {
    /// A webhook whose every post may take `timeout`, connecting included.
    pub(crate) fn new(url: &WebhookUrl, timeout: Duration, at_once: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(at_once)
            .build(connector);
        let uri = url.0.parse().expect("a webhook URL was parsed before");
        Self { uri, client, timeout }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(), NotTaken> {
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| if error.is_connect() { NotTaken::Unreachable } else { NotTaken::BrokenOff })?;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            // The status was the answer; the rest is read only to use the connection again.
            let _ = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            Ok(())
        } else {
            Err(NotTaken::Status(head.status))
        }
    }
}

impl Carrier for Webhook {
    /// Posts it: taken when the agency's system has answered 2xx.
    async fn carry(&self, message: &Message) -> Result<(), NotTaken> {
        let mut request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("lgsp-delivery-id", &message.id);
        if let Some(trace) = &message.trace {
            request = request.header(trace::HEADER, trace.as_str());
        }
        let request = request.body(Full::from(message.body.clone())).map_err(|_| NotTaken::BrokenOff)?;
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(NotTaken::TimedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_plain_http_to_some_host() {
        assert!("http://127.0.0.1:9000/lgsp?x=1".parse::<WebhookUrl>().is_ok());
        assert_eq!("https://agency/lgsp".parse::<WebhookUrl>(), Err(BadWebhookUrl::Scheme));
        for text in ["", "/lgsp", "127.0.0.1:9000/lgsp", "http://"] {
            assert_eq!(text.parse::<WebhookUrl>(), Err(BadWebhookUrl::Form), "{text}");
        }
    }
}
