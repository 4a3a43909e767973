//! A small HTTP client for what listens on this machine.

use std::net::SocketAddr;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// What adapters are shown, if they want to be shown anything.
pub(crate) const TOKEN: &str = "ma-truy-cap-cua-phan-mem-71c4e9";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body of an answer that had this status.
    #[track_caller]
    pub(crate) fn with(self, status: u16) -> Bytes {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.body
    }

    /// The same, as JSON.
    #[track_caller]
    pub(crate) fn json(self, status: u16) -> Value {
        serde_json::from_slice(&self.with(status)).unwrap()
    }
}

/// Sends one request, over a connection of its own: the other side may just have been killed.
pub(crate) async fn send(to: SocketAddr, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut request =
        Request::builder().method(method).uri(format!("http://{to}{path}")).body(Full::new(body)).unwrap();
    *request.headers_mut() = headers;
    let bearer = || HeaderValue::from_str(&format!("Bearer {TOKEN}")).unwrap();
    request.headers_mut().entry(AUTHORIZATION).or_insert_with(bearer);
    let exchange = async {
        let answer = client.request(request).await.unwrap();
        Answer { status: answer.status(), body: answer.into_body().collect().await.unwrap().to_bytes() }
    };
    let answer = crate::within(path, exchange).await;
    if !answer.status.is_success() {
        crate::support::output::said("journeys", &answer.body);
    }
    answer
}

/// Asks for JSON.
pub(crate) async fn get(from: SocketAddr, path: &str) -> Value {
    send(from, Method::GET, path, HeaderMap::new(), Bytes::new()).await.json(200)
}
