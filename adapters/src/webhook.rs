//! Posting JSON to the agency's own system, over plain HTTP on its own network.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::trace::{self, TraceParent};

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

/// Why the agency's system does not have it, as far as we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Nobody listens there.
    #[error("the agency's system cannot be reached")]
    Unreachable,
    /// The connection broke, or what came back is not HTTP.
    #[error("the agency's system broke off")]
    BrokenOff,
    /// It does not answer.
    #[error("the agency's system did not answer in time")]
    TimedOut,
    /// It says no.
    #[error("the agency's system answered {0}")]
    Status(StatusCode),
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Blame {
    /// The line, the agency's system as a whole, or how it is set up: nothing is wrong with the message.
    Line,
    /// This message, if others were taken meanwhile: it may be what makes the agency's system hang or crash. Else the line.
    ThisIfOthersPass,
    /// This message, as far as we know; it may be taken later.
    This,
    /// This message, and it will never be taken as it is.
    ThisForGood,
}

impl NotTaken {
    /// What it is about. Answers of proxies, of logins and of an address that leads nowhere say nothing of the message (RFC
    /// 9110, section 15; RFC 6585; RFC 8470).
    pub(crate) fn blames(self) -> Blame {
        let status = match self {
            NotTaken::Status(status) => status,
            NotTaken::Unreachable => return Blame::Line,
            NotTaken::BrokenOff | NotTaken::TimedOut => return Blame::ThisIfOthersPass,
        };
        match status.as_u16() {
            400 | 413 | 415 | 422 => Blame::ThisForGood,
            401 | 403 | 404 | 405 | 408 | 425 | 429 | 502 | 503 | 504 => Blame::Line,
            400..=599 => Blame::This,
            _ => Blame::Line,
        }
    }
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

    /// Posts one message. When this returns `Ok`, the agency's system has answered 2xx.
    ///
    /// # Errors
    /// See [`NotTaken`]; the agency's system may have it all the same, and knows by `id` when it comes again.
    pub(crate) async fn post(&self, id: &str, trace: Option<&TraceParent>, body: Vec<u8>) -> Result<(), NotTaken> {
        let mut request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("lgsp-delivery-id", id);
        if let Some(trace) = trace {
            request = request.header(trace::HEADER, trace.as_str());
        }
        let request = request.body(Full::from(body)).map_err(|_| NotTaken::BrokenOff)?;
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(NotTaken::TimedOut),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_about_the_message_is_held_against_it() {
        let blames = |status| NotTaken::Status(StatusCode::from_u16(status).unwrap()).blames();
        for status in [400, 413, 415, 422] {
            assert_eq!(blames(status), Blame::ThisForGood, "{status}");
        }
        for status in [301, 401, 403, 404, 405, 408, 425, 429, 502, 503, 504] {
            assert_eq!(blames(status), Blame::Line, "{status}");
        }
        for status in [402, 409, 410, 423, 500, 501, 507] {
            assert_eq!(blames(status), Blame::This, "{status}");
        }
        assert_eq!(NotTaken::Unreachable.blames(), Blame::Line);
        for error in [NotTaken::BrokenOff, NotTaken::TimedOut] {
            assert_eq!(error.blames(), Blame::ThisIfOthersPass);
        }
    }

    #[test]
    fn a_webhook_is_plain_http_to_some_host() {
        assert!("http://127.0.0.1:9000/lgsp?x=1".parse::<WebhookUrl>().is_ok());
        assert_eq!("https://agency/lgsp".parse::<WebhookUrl>(), Err(BadWebhookUrl::Scheme));
        for text in ["", "/lgsp", "127.0.0.1:9000/lgsp", "http://"] {
            assert_eq!(text.parse::<WebhookUrl>(), Err(BadWebhookUrl::Form), "{text}");
        }
    }
}
