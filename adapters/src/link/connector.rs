//! Makes one connection: TCP without Nagle's delay, mutual TLS, the gateway's certificate remembered for its receipts.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::Uri;
use hyper_util::rt::TokioIo;
use lgsp_certs::{VerifiedLeaf, VerifyingKey};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;

use super::{Connectivity, TurnedAway};

/// How many gateway certificates are remembered: enough for replicas that change theirs by the hour. Of more, those met last.
const MAX_PEERS: usize = 64;

/// Connects to one gateway, whatever URI it is called with.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) name: ServerName<'static>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) within: Duration,
    pub(super) peers: Arc<Peers>,
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<Tracked>> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        let connected = tokio_rustls::TlsConnector::from(self.tls).connect(self.name, stream).await;
        let stream = connected.inspect_err(|error| self.peers.failed(error))?;
        let leaf = VerifiedLeaf::of_server(stream.get_ref().1).map_err(io::Error::other)?;
        self.peers.arrived(&leaf);
        Ok(TokioIo::new(Tracked { stream, peers: self.peers }))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Tracked>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let within = connector.within;
            match tokio::time::timeout(within, connector.connect()).await {
                Ok(connected) => connected,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within the time allowed")),
            }
        })
    }
}

/// Keys by certificate, in the order in which they were last met.
#[derive(Default)]
struct Keys(VecDeque<([u8; 32], VerifyingKey)>);

impl Keys {
    fn get(&self, certificate: &[u8; 32]) -> Option<VerifyingKey> {
        self.0.iter().find(|(known, _)| known == certificate).map(|(_, key)| key.clone())
    }

    /// Receipts of the gateway that was met just now must be checkable, so the one met longest ago makes room.
    fn insert(&mut self, certificate: [u8; 32], key: VerifyingKey) {
        self.0.retain(|(known, _)| *known != certificate);
        if self.0.len() == MAX_PEERS {
            self.0.pop_front();
        }
        self.0.push_back((certificate, key));
    }
}

/// The gateways met on this link: how many are connected now, and the keys that check their receipts.
#[derive(Default)]
pub(super) struct Peers {
    keys: Mutex<Keys>,
    open: Mutex<usize>,
    connectivity: watch::Sender<Connectivity>,
}

impl Peers {
    /// The key of a certificate that a gateway proved to hold on this link.
    pub(super) fn key(&self, certificate: &[u8; 32]) -> Option<VerifyingKey> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(certificate)
    }

    pub(super) fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.connectivity.subscribe()
    }

    /// Takes note of a call that was answered, or was not.
    pub(super) fn answered(&self, answered: bool) {
        let down = !answered;
        self.connectivity.send_if_modified(|state| std::mem::replace(&mut state.down, down) != down);
    }

    /// Takes note of why the one side turned the other away, or that this is over.
    pub(super) fn met(&self, turned_away: Option<TurnedAway>) {
        self.connectivity
            .send_if_modified(|state| std::mem::replace(&mut state.turned_away, turned_away) != turned_away);
    }

    fn failed(&self, error: &io::Error) {
        if let Some(turned_away) = TurnedAway::of_handshake(error) {
            self.met(Some(turned_away));
        }
    }

    fn arrived(&self, leaf: &VerifiedLeaf) {
        let digest = *leaf.digest().as_bytes();
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, leaf.verifying_key().clone());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open += 1;
        self.connectivity.send_modify(|state| {
            state.connections += 1;
            state.connected_since.get_or_insert_with(SystemTime::now);
        });
    }

    fn left(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open -= 1;
        if *open == 0 {
            self.connectivity.send_modify(|state| {
                state.connected_since = None;
                state.down = true;
            });
        }
    }
}

/// A connection that says when it ends.
pub(super) struct Tracked {
    stream: TlsStream<TcpStream>,
    peers: Arc<Peers>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.peers.left();
    }
}

impl AsyncRead for Tracked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        // In TLS 1.3 the client is done with the handshake before the server has looked at its certificate: if that is turned
        // away, the first thing to read is the alert that says so (RFC 8446 §4.4.2.4).
        if let Poll::Ready(Err(error)) = &read {
            self.peers.failed(error);
        }
        read
    }
}

impl Tracked {
    /// If something that was written did not get through, that may be because our certificate was turned away. The alert that says so
    /// has come then, and nobody would read it: whoever is told of a failed write is done with the connection.
    fn written<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(written, Poll::Ready(Err(_)))
            && let Some(said) = self.last_words()
        {
            self.peers.failed(&said);
        }
        written
    }

    /// What has come over a connection that is broken, if that ends in an error. The runtime has not looked at the socket since, so it
    /// is asked itself; it does not block.
    fn last_words(&mut self) -> Option<io::Error> {
        let (socket, tls) = self.stream.get_mut();
        let mut socket = std::net::TcpStream::from(socket.as_fd().try_clone_to_owned().ok()?);
        while tls.read_tls(&mut socket).ok()? > 0 {
            if let Err(error) = tls.process_new_packets() {
                return Some(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        None
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lgsp_certs::{PrivateKey, SigningKey};

    #[test]
    fn the_gateways_met_last_are_remembered_however_often_they_change_their_certificates() {
        let pem = PrivateKey::generate().unwrap().to_pem().unwrap();
        let key = SigningKey::from_pem(pem.as_bytes()).unwrap().verifying_key();
        let certificate = |number: usize| [u8::try_from(number).unwrap(); 32];
        let mut keys = Keys::default();
        for number in 0..MAX_PEERS {
            keys.insert(certificate(number), key.clone());
        }
        // One that is met again is not an old one.
        keys.insert(certificate(0), key.clone());
        for number in MAX_PEERS..MAX_PEERS + 2 {
            keys.insert(certificate(number), key.clone());
        }
        let known: Vec<_> = (0..MAX_PEERS + 2).filter(|number| keys.get(&certificate(*number)).is_some()).collect();
        let expected: Vec<_> = [0].into_iter().chain(3..MAX_PEERS + 2).collect();
        assert_eq!(known, expected);
    }
}
