//! Connects to an agency's own system: TCP without Nagle's delay, and TLS where the URL says so.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::outcome::{NotConnected, Outcome};
use super::url::host;

/// See the module. Without a configuration there is no TLS; the adapter's configuration has seen to it that none is needed.
#[derive(Clone)]
pub(crate) struct Connector(pub(super) Option<Arc<ClientConfig>>);

/// A connection, with TLS or without.
pub(crate) struct Stream(Pin<Box<dyn Io>>);

trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

impl Connector {
    /// For what is on this machine, and needs no TLS.
    pub(crate) fn plain() -> Self {
        Self(None)
    }

    /// For what is reached over TLS, by these certificates.
    pub(crate) fn tls(config: Arc<ClientConfig>) -> Self {
        Self(Some(config))
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Stream>, NotConnected> {
        let is_https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let found = tokio::net::lookup_host((host(&uri), port)).await;
        let addresses: Vec<_> = found.map_err(|_| NotConnected(Outcome::NameUnknown))?.collect();
        let stream = TcpStream::connect(&addresses[..]).await;
        let stream = stream.map_err(|error| NotConnected(Outcome::of_connect(&error)))?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a webhook's connection keeps Nagle's delay");
        }
        if !is_https {
            return Ok(TokioIo::new(Stream(Box::pin(stream))));
        }
        let name = ServerName::try_from(host(&uri).to_owned());
        let (Ok(name), Some(tls)) = (name, self.0) else { return Err(NotConnected(Outcome::TlsFailed)) };
        let stream = TlsConnector::from(tls).connect(name, stream).await;
        let stream = stream.map_err(|error| NotConnected(Outcome::of_handshake(&error)))?;
        Ok(TokioIo::new(Stream(Box::pin(stream))))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = NotConnected;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, NotConnected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}
