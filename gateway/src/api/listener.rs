//! From the socket to a connection whose peer is known, and from there to its end: accept, handshake, name, serve, let go.
//!
//! Owns its accept loop, because the certificates must be swappable while it runs and because handshakes are where strangers
//! can make us work: each runs in a task of its own, for a bounded time, and only so many at once. It serves the connections
//! itself too, because each has an end of its own: it is asked to leave some time before its certificate expires and is shut
//! at that moment, and it is shut at once when its key is revoked or the certificates in force no longer accept it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lgsp_proto::{Reason, Refusal};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::{
    CONNECTION_WINDOW, HEADER_BYTES_MAX, KEEP_ALIVE, KEEP_ALIVE_ANSWER, STREAM_WINDOW, STREAMS_PER_CONNECTION,
};
use crate::engine::Engine;
use crate::engine::access::Peer;
use crate::engine::clock::machine_now;
use crate::engine::connections::Open;
use crate::engine::shares::{Counted, Tally};
use crate::telemetry::counts::TooMany;
use crate::tls::{Generation, Identified};

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

/// How long after an attempt to put a certificate on record the next call of its connection makes another one.
const NOTE_AGAIN: Duration = Duration::from_secs(10);

/// How long before a certificate's end its connection is asked to leave: whoever has renewed comes back with the new one and
/// loses nothing. If less than four times as much is left to begin with, a quarter of that.
const LEAVE_BEFORE: Duration = Duration::from_secs(300);

/// What must be left of a certificate for its connection to be asked to leave before it is shut: who comes again and again
/// with the old one is not sent away every moment.
const LEAVE_WORTH_IT: Duration = Duration::from_secs(4);

/// Who is at the other end of a connection: a peer, or the refusal that its calls get.
///
/// A certificate that chains to a bundle but may not name its system opens a connection all the same, so that its owner is
/// told why instead of looking at a dead socket.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Called>);

struct Called {
    peer: Result<Peer, Refusal>,
    engine: Engine,
    /// When the certificate was last tried to be put on record.
    noted: Mutex<Option<Instant>>,
    cut: CancellationToken,
    leaving: CancellationToken,
}

impl Caller {
    /// The peer.
    ///
    /// # Errors
    /// `CERTIFICATE_WITHOUT_IDENTITY`, `CERTIFICATE_NOT_VOUCHED`; `CERTIFICATE_REVOKED` for a call that began in the instant
    /// in which its key was revoked.
    pub(crate) fn peer(&self) -> Result<Peer, Refusal> {
        if self.0.cut.is_cancelled() {
            return Err(Refusal::new(Reason::CertificateRevoked));
        }
        let peer = self.0.peer.clone()?;
        self.note(&peer);
        Ok(peer)
    }

    /// Sees to it that the certificate is on record: at the handshake its system may not have been in the registry yet, or the
    /// disk may have been full.
    fn note(&self, peer: &Peer) {
        if self.0.engine.has_seen(peer) {
            return;
        }
        let mut noted = self.0.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = noted.is_none_or(|last| last.elapsed() >= NOTE_AGAIN);
        if is_due && self.0.engine.note_certificate(peer) {
            *noted = Some(Instant::now());
        }
    }

    /// The system's name, for counting and for the log. Who has none shares the empty one with all others without.
    pub(crate) fn system(&self) -> String {
        self.0.peer.as_ref().ok().and_then(|peer| self.0.engine.system_of(peer)).unwrap_or_default()
    }

    /// Cancelled when the connection is asked to leave: what lasts as long as it ends then, and is begun again on another.
    pub(crate) fn leaving(&self) -> &CancellationToken {
        &self.0.leaving
    }
}

impl std::fmt::Debug for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Called").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Who may have a connection, and how many.
pub(crate) struct Doors {
    /// What is asked about keys and names.
    pub(crate) engine: Engine,
    /// The certificates in force.
    pub(crate) generations: watch::Receiver<Arc<Generation>>,
    /// How many connections one system may have open.
    pub(crate) of_systems: Tally<String>,
    /// How many all together.
    pub(crate) connections: usize,
}

/// Serves connections of `tcp` until `stop` is cancelled and the calls under way have ended. Dropped, it shuts what is open.
pub(crate) async fn serve(tcp: TcpListener, doors: Doors, services: Router, stop: CancellationToken) {
    let (handshakes, open) = (Arc::new(Semaphore::new(HANDSHAKES)), Arc::new(Semaphore::new(doors.connections)));
    let (doors, tasks, given_up) = (Arc::new(doors), TaskTracker::new(), CancellationToken::new());
    let _shut_with_us = given_up.clone().drop_guard();
    loop {
        let next = async {
            let open = Arc::clone(&open).acquire_owned().await.expect("never closed");
            let handshake = Arc::clone(&handshakes).acquire_owned().await.expect("never closed");
            (tcp.accept().await, open, handshake)
        };
        let (accepted, open, handshake) = tokio::select! {
            () = stop.cancelled() => break,
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
        let (doors, services) = (Arc::clone(&doors), services.clone());
        let (stop, given_up) = (stop.clone(), given_up.clone());
        // Ends with the connection; a panic costs this one.
        tasks.spawn(async move {
            let connection = tokio::select! {
                () = given_up.cancelled() => return,
                shaken = tokio::time::timeout(HANDSHAKE_TIME, shake_hands(stream, &doors, open)) => match shaken {
                    Ok(Ok(connection)) => connection,
                    // Scanners and wrong certificates are everyday; who is turned away sees the alert.
                    Ok(Err(error)) => {
                        doors.engine.counts().handshake_failed(&error);
                        return tracing::info!(%error, "a handshake failed");
                    }
                    Err(_) => {
                        doors.engine.counts().handshake_late();
                        return tracing::info!("a handshake took too long");
                    }
                }
            };
            drop(handshake);
            tokio::select! {
                () = given_up.cancelled() => {}
                () = connection.serve(services, &stop) => {}
            }
        });
    }
    drop(tcp);
    tasks.close();
    tasks.wait().await;
}

/// A connection after its handshake.
struct Connection {
    stream: Silent,
    caller: Caller,
    /// When its certificate ends, or ours that it was shown.
    not_after: SystemTime,
    /// When it is to be asked to leave before.
    leave: Option<SystemTime>,
    generations: watch::Receiver<Arc<Generation>>,
    open: Open,
    _counted: Counted<String>,
    _place: OwnedSemaphorePermit,
}

async fn shake_hands(stream: TcpStream, doors: &Doors, place: OwnedSemaphorePermit) -> io::Result<Connection> {
    let mut generations = doors.generations.clone();
    let generation = Arc::clone(&generations.borrow_and_update());
    // Small answers must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::clone(generation.server_config()));
    let stream = acceptor.accept(BufReader::with_capacity(READ_AHEAD, stream)).await?;
    let now = machine_now();
    let Identified { keys, not_after, peer } = generation.identify(stream.get_ref().1, now)?;
    // From here on a revocation reaches it.
    let open = doors.engine.connections().open_of(keys, Some(not_after), peer.as_ref().ok().cloned());
    let open = open.map_err(io::Error::other)?;
    let caller = Caller(Arc::new(Called {
        peer,
        engine: doors.engine.clone(),
        noted: Mutex::new(None),
        cut: open.cut().clone(),
        leaving: CancellationToken::new(),
    }));
    if let Ok(peer) = &caller.0.peer {
        caller.note(peer);
    }
    let system = caller.system();
    let counted = doors.of_systems.count(&system);
    let counted = counted.map_err(|_| io::Error::other(TooMany(system)))?;
    let stream = Silent { stream, first_word: Some(Box::pin(tokio::time::sleep(FIRST_WORD))) };
    // The certificate that it was shown ends as well: whoever stays is told to come back and see the next one.
    let not_after = not_after.min(generation.loaded().credentials().not_after());
    let leave = leave_at(not_after, now);
    Ok(Connection { stream, caller, not_after, leave, generations, open, _counted: counted, _place: place })
}

/// When a connection is asked to leave that is to be shut at `not_after`; never when that is too near to be worth it.
fn leave_at(not_after: SystemTime, now: SystemTime) -> Option<SystemTime> {
    let left = not_after.duration_since(now).ok().filter(|left| *left >= LEAVE_WORTH_IT)?;
    not_after.checked_sub(LEAVE_BEFORE.min(left / 4))
}

impl Connection {
    /// Serves it until the peer goes, or has to.
    async fn serve(self, services: Router, stop: &CancellationToken) {
        let Self { stream, caller, not_after, leave, mut generations, open, _counted, _place } = self;
        let called = caller.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(called.clone());
            services.clone().oneshot(request)
        });
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .max_header_list_size(HEADER_BYTES_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(Some(KEEP_ALIVE))
            .keep_alive_timeout(KEEP_ALIVE_ANSWER);
        let mut served = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        let (mut expired, mut leaving) = (std::pin::pin!(at(Some(not_after))), std::pin::pin!(at(leave)));
        let mut asked = false;
        loop {
            // Whatever ends it here drops the socket with all that is on it; what the engine has begun ends as always.
            tokio::select! {
                biased;
                () = open.cut().cancelled() => return tracing::info!("a connection was cut: its key was revoked"),
                () = &mut expired => return tracing::info!("a connection was cut: its certificate expired"),
                ended = served.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke");
                    }
                    return;
                }
                () = &mut leaving, if !asked => tracing::info!("a connection was asked to leave: its certificate expires"),
                () = stop.cancelled(), if !asked => {}
                Ok(()) = generations.changed() => {
                    let generation = Arc::clone(&generations.borrow_and_update());
                    if generation.still_accepts(&caller.0.peer, &caller.0.engine, machine_now()) {
                        continue;
                    }
                    return tracing::info!("a connection was cut: the certificates in force do not accept it any more");
                }
            }
            asked = true;
            if !stop.is_cancelled() {
                caller.leaving().cancel();
            }
            served.as_mut().graceful_shutdown();
        }
    }
}

/// Waits for a moment of the machine's clock; for ever when there is none.
async fn at(moment: Option<SystemTime>) {
    let Some(moment) = moment else { return std::future::pending().await };
    // Looked at again now and then: a clock that is set right while we wait moves the moment.
    while let Ok(left) = moment.duration_since(machine_now()) {
        tokio::time::sleep((left + Duration::from_millis(1)).min(Duration::from_secs(60))).await;
    }
}

/// A socket whose peer must say something soon.
struct Silent {
    stream: TlsStream<BufReader<TcpStream>>,
    /// Until the peer has said something.
    first_word: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Silent {
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

impl AsyncWrite for Silent {
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
