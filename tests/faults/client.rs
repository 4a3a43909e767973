//! A small HTTP client for processes that may be dead by now: every failure is an answer, too.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Longer than any answer takes; who is silent longer is dead or cut off.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the adapters want to be shown.
pub(crate) const TOKEN: &str = "campaign";

/// Calls from one place to all others. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Caller(Client<HttpConnector, Full<Bytes>>);

impl Caller {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // No connection is kept: the other side may just have been killed.
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
    }

    /// Sends one request.
    pub(crate) async fn send(
        &self,
        to: SocketAddr,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(format!("http://{to}{path}")).body(Full::new(body))?;
        let mut all = HeaderMap::new();
        all.insert(AUTHORIZATION, format!("Bearer {TOKEN}").parse()?);
        for (name, value) in headers {
            all.insert(name.parse::<HeaderName>()?, value.parse()?);
        }
        *request.headers_mut() = all;
        let exchange = async {
            let answer = self.0.request(request).await?;
            let status = answer.status();
            Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, exchange).await.context("no answer in time")?
    }

    /// Asks for JSON.
    pub(crate) async fn get(&self, from: SocketAddr, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.send(from, Method::GET, path, &[], Bytes::new()).await?;
        ensure!(status.is_success(), "{path}: {status}");
        Ok(serde_json::from_slice(&body)?)
    }

    /// Whether somebody there says these words.
    pub(crate) async fn says(&self, at: SocketAddr, path: &str, words: &str) -> bool {
        let said = self.send(at, Method::GET, path, &[], Bytes::new()).await;
        said.is_ok_and(|(_, body)| String::from_utf8_lossy(&body).contains(words))
    }

    /// Whether somebody there says 2xx.
    pub(crate) async fn says_yes(&self, at: SocketAddr, path: &str) -> bool {
        self.send(at, Method::GET, path, &[], Bytes::new()).await.is_ok_and(|(status, _)| status.is_success())
    }
}
