//! From the socket to a connection whose peer is known: accept, handshake, name.
//!
//! Owns its accept loop, because the TLS configuration must be swappable while it runs and because handshakes are where
//! strangers can make us work: each runs in a task of its own, for a bounded time, and only so many at once. The loop ends
//! when nobody takes its connections any more, and for no other reason.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use lgsp_certs::{TrustDomain, VerifiedLeaf};
use lgsp_proto::{Reason, Refusal};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::engine::access::Peer;

/// Handshakes under way at once. Each costs a signature and a few kilobytes; a flood of them waits in the kernel's queue
/// instead of in our memory.
const HANDSHAKES: usize = 256;

/// How long a handshake may take. Longer than a bad line needs, shorter than what makes hoarding worth while.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// The rest after an accept that failed, e.g. because no file descriptor is free: trying again at once would only burn
/// a core until one is.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is read from the socket at a time. rustls itself asks for 4 KiB, which makes sixteen calls of a large body.
const READ_AHEAD: usize = 32 * 1024;

/// The TLS configuration that new connections get; swap it to change certificates.
pub type SharedTls = Arc<ArcSwap<ServerConfig>>;

/// Who is at the other end of a connection: a system, or the refusal that its first call gets.
///
/// A certificate that chains to the bundle but names no system opens a connection all the same, so that its owner is told
/// why instead of looking at a dead socket.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Result<Peer, Refusal>>);

impl Caller {
    /// The system.
    ///
    /// # Errors
    /// `CERTIFICATE_WITHOUT_IDENTITY`.
    pub(crate) fn peer(&self) -> Result<Peer, Refusal> {
        (*self.0).clone()
    }
}

/// Accepts connections of `tcp` until the stream is dropped; at most `connections` are open at once.
pub(crate) fn accept(
    tcp: TcpListener,
    tls: SharedTls,
    ours: TrustDomain,
    connections: usize,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, accepted) = mpsc::channel(HANDSHAKES);
    // Ends with the receiver. Should it panic, the stream ends and with it the server, which stops the node.
    tokio::spawn(accept_all(tcp, tls, Arc::new(ours), Arc::new(Semaphore::new(connections)), ready));
    ReceiverStream::new(accepted)
}

async fn accept_all(
    tcp: TcpListener,
    tls: SharedTls,
    ours: Arc<TrustDomain>,
    connections: Arc<Semaphore>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let next = async {
            let open = Arc::clone(&connections).acquire_owned().await.expect("never closed");
            let handshake = Arc::clone(&handshakes).acquire_owned().await.expect("never closed");
            (tcp.accept().await, open, handshake)
        };
        let (accepted, open, handshake) = tokio::select! {
            () = ready.closed() => return,
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, ours, ready) = (TlsAcceptor::from(tls.load_full()), Arc::clone(&ours), ready.clone());
        // Ends within its time; a panic costs this one connection.
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIME, shake_hands(stream, acceptor, &ours, open)).await {
                Ok(Ok(connection)) => _ = ready.send(Ok(connection)).await,
                // Scanners and wrong certificates are everyday; who is turned away sees the alert.
                Ok(Err(error)) => tracing::info!(%error, "a handshake failed"),
                Err(_) => tracing::info!("a handshake took too long"),
            }
            drop(handshake);
        });
    }
}

async fn shake_hands(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    ours: &TrustDomain,
    open: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    // Small answers must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(BufReader::with_capacity(READ_AHEAD, stream)).await?;
    let without = |_| Refusal::new(Reason::CertificateWithoutIdentity).detail("trust_domain", ours);
    let leaf = VerifiedLeaf::of_client(stream.get_ref().1).map_err(without);
    let peer = leaf.and_then(|leaf| Peer::of(Arc::new(leaf), ours));
    Ok(Connection { stream, caller: Caller(Arc::new(peer)), _open: open })
}

/// A connection after its handshake.
pub(crate) struct Connection {
    stream: TlsStream<BufReader<TcpStream>>,
    caller: Caller,
    _open: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
