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
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::engine::access::Peer;
use crate::engine::shares::{Counted, Tally};

/// Handshakes under way at once. Each costs a signature and a few kilobytes; a flood of them waits in the kernel's queue
/// instead of in our memory.
const HANDSHAKES: usize = 256;

/// How long a handshake may take. Longer than a bad line needs, shorter than what makes hoarding worth while.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long a connection may be silent after its handshake. From its first word on HTTP/2 keeps it alive, or ends it.
const FIRST_WORD: Duration = Duration::from_secs(10);

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

/// Accepts connections of `tcp` until the stream is dropped; at most `connections` are open at once, and of one system
/// `of_system`.
pub(crate) fn accept(
    tcp: TcpListener,
    tls: SharedTls,
    ours: TrustDomain,
    connections: usize,
    of_system: usize,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, accepted) = mpsc::channel(HANDSHAKES);
    // Ends with the receiver. Should it panic, the stream ends and with it the server, which stops the node.
    let doorman = Arc::new(Doorman { ours, of_systems: Tally::new(of_system) });
    tokio::spawn(accept_all(tcp, tls, doorman, Arc::new(Semaphore::new(connections)), ready));
    ReceiverStream::new(accepted)
}

/// Who may have a connection.
struct Doorman {
    ours: TrustDomain,
    of_systems: Tally<String>,
}

async fn accept_all(
    tcp: TcpListener,
    tls: SharedTls,
    doorman: Arc<Doorman>,
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
        let (acceptor, doorman, ready) = (TlsAcceptor::from(tls.load_full()), Arc::clone(&doorman), ready.clone());
        // Ends within its time; a panic costs this one connection.
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIME, shake_hands(stream, acceptor, &doorman, open)).await {
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
    doorman: &Doorman,
    open: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    // Small answers must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(BufReader::with_capacity(READ_AHEAD, stream)).await?;
    let ours = &doorman.ours;
    let without = |_| Refusal::new(Reason::CertificateWithoutIdentity).detail("trust_domain", ours);
    let leaf = VerifiedLeaf::of_client(stream.get_ref().1).map_err(without);
    let peer = leaf.and_then(|leaf| Peer::of(Arc::new(leaf), ours));
    let system = peer.as_ref().map_or_else(|_| String::new(), |peer| peer.system().to_owned());
    let counted = doorman.of_systems.count(&system);
    let counted = counted.map_err(|_| io::Error::other(format!("{system:?} has too many connections open")))?;
    let first_word = Some(Box::pin(tokio::time::sleep(FIRST_WORD)));
    Ok(Connection { stream, caller: Caller(Arc::new(peer)), first_word, _counted: counted, _open: open })
}

/// A connection after its handshake.
pub(crate) struct Connection {
    stream: TlsStream<BufReader<TcpStream>>,
    caller: Caller,
    /// Until the peer has said something.
    first_word: Option<Pin<Box<Sleep>>>,
    _counted: Counted<String>,
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
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.first_word = None;
        } else if let Some(late) = &mut self.first_word
            && late.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
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
