//! One question over HTTPS to a server of ours on this machine, by the one root that it goes by: what a counterpart of the rehearsal has.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lgsp_certs::server_name;
use lgsp_certs::tls::https_client_config;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// No answer here takes longer than this in good health.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks for the JSON document at `url`, whose server goes by a root in `bundle`.
///
/// # Errors
/// There was no answer, or none that says what was asked for.
pub(crate) async fn get<T: DeserializeOwned>(url: &str, bundle: &Path) -> anyhow::Result<T> {
    let body = tokio::time::timeout(PATIENCE, asked(url, bundle)).await.context("no answer in time").flatten();
    let body = body.with_context(|| url.to_owned())?;
    serde_json::from_slice(&body).with_context(|| format!("{url} answered something unexpected"))
}

async fn asked(url: &str, bundle: &Path) -> anyhow::Result<Bytes> {
    let uri: Uri = url.parse()?;
    let host = uri.host().context("the address has no host")?;
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
    let tls = TlsConnector::from(Arc::new(https_client_config(bundle)?));
    let stream = tls.connect(server_name(host)?, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("answered {status}");
        }
        Ok(body)
    };
    let mut exchange = std::pin::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    // The connection moves the bytes; it ends when both sides are done with it.
    tokio::select! {
        body = &mut exchange => body,
        ended = &mut connection => {
            ended?;
            exchange.await
        }
    }
}
