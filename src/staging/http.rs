//! A small HTTP client for JSON on this machine: connections are kept and reused, small requests are not held back.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

/// No answer here takes longer than this in good health.
const PATIENCE: Duration = Duration::from_secs(30);

/// The client. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Client {
    /// A client of the server at `address`.
    pub(crate) fn new(address: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { pool: Pool::builder(TokioExecutor::new()).build(connector), base: format!("http://{address}") }
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// There was none: the outcome is unknown.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}", self.base)).body(Full::new(body.into()))?;
        *request.headers_mut() = headers;
        let exchange = async {
            let answer = self.pool.request(request).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        let answered = tokio::time::timeout(PATIENCE, exchange).await.context("no answer in time").flatten();
        answered.with_context(|| format!("{}{path}", self.base))
    }

    /// Asks for a JSON document.
    ///
    /// # Errors
    /// There was no answer, or none that says what was asked for.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let (status, body) = self.send(Method::GET, path, HeaderMap::new(), Bytes::new()).await?;
        if !status.is_success() {
            bail!("{}{path} answered {status}: {}", self.base, String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).with_context(|| format!("{}{path} answered something unexpected", self.base))
    }
}
