//! The door for those who have no certificate yet: one call, `Enrolment.Join`, and nothing else.
//!
//! Anybody may knock here, so everything is small and short: few connections, few of one address, a message of 64 KiB, and a
//! connection ends after half a minute whatever it is doing. The bus has a listener of its own and knows nothing of this one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use lgsp_certs::tls::NoOwnRoot;
use lgsp_proto::v1::enrolment_server::EnrolmentServer;
use lgsp_proto::{Reason, Refusal, v1};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

use super::convert::certificates;
use super::layers;
use crate::config::Limits;
use crate::engine::Engine;
use crate::engine::clock::machine_now;
use crate::engine::shares::{Counted, Tally};
use crate::tls::Generation;

/// The longest message: a request for a certificate has a few hundred bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Connections at once, and of one address: whoever joins needs one, for a second.
const CONNECTIONS: usize = 64;
const OF_ADDRESS: usize = 8;

/// How long a handshake may take, and a connection be open, whatever happens on it.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// Calls on a connection at once.
const STREAMS: u32 = 4;

/// Attempts that one address may make at once, and how soon it has one more.
const ATTEMPTS: u32 = 10;
const ATTEMPT_EVERY: Duration = Duration::from_secs(1);

/// Addresses that are remembered; beyond them nobody new is let try until one is forgotten.
const ADDRESSES: usize = 4096;

/// The rest after an accept that failed, as on the bus.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What strangers meet: the gateway's certificate with its root, as it is in force.
struct Door {
    generations: watch::Receiver<Arc<Generation>>,
    tls: Arc<ServerConfig>,
}

impl Door {
    /// Nobody can join when the root behind the certificate is not at hand: who comes could not know us by it.
    fn new(mut generations: watch::Receiver<Arc<Generation>>) -> Result<Self, NoOwnRoot> {
        let tls = of_generation(&generations.borrow_and_update())?;
        Ok(Self { generations, tls })
    }

    /// What the next handshake shows.
    fn current(&mut self) -> TlsAcceptor {
        if self.generations.has_changed().unwrap_or(false) {
            match of_generation(&self.generations.borrow_and_update()) {
                Ok(tls) => self.tls = tls,
                Err(error) => tracing::error!(%error, "the enrolment listener goes on with the certificate of before"),
            }
        }
        TlsAcceptor::from(Arc::clone(&self.tls))
    }
}

fn of_generation(generation: &Generation) -> Result<Arc<ServerConfig>, NoOwnRoot> {
    generation.loaded().credentials().server_config_with_root(machine_now()).map(Arc::new)
}

/// Serves joins on `tcp` until `stop` is cancelled and the calls under way have ended.
pub(crate) async fn serve(
    tcp: TcpListener,
    generations: watch::Receiver<Arc<Generation>>,
    engine: Engine,
    limits: &Limits,
    stop: CancellationToken,
) {
    let door = match Door::new(generations) {
        Ok(door) => door,
        Err(error) => return tracing::error!(%error, "nobody can join"),
    };
    let calls = layers::Calls::new(&Limits { calls: CONNECTIONS, ..limits.clone() }, stop.clone());
    let joins = Joins { engine, attempts: Attempts::default() };
    let service = EnrolmentServer::new(joins).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let services = layers::around(Routes::new(service).into_axum_router(), &calls);
    let (ready, accepted) = mpsc::channel(1);
    // Ends with the receiver.
    tokio::spawn(accept(tcp, door, ready));
    let served = Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(8 << 10)
        .initial_stream_window_size(64 << 10)
        .initial_connection_window_size(256 << 10)
        .add_routes(Routes::from(services).prepare())
        .serve_with_incoming_shutdown(ReceiverStream::new(accepted), stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(error = &error as &dyn std::error::Error, "the enrolment listener ended; the bus goes on");
    }
}

async fn accept(tcp: TcpListener, mut door: Door, ready: mpsc::Sender<io::Result<Connection>>) {
    let (connections, of_addresses) = (Arc::new(Semaphore::new(CONNECTIONS)), Tally::new(OF_ADDRESS));
    loop {
        let next = async {
            let open = Arc::clone(&connections).acquire_owned().await.expect("never closed");
            (tcp.accept().await, open)
        };
        let (accepted, open) = tokio::select! {
            () = ready.closed() => return,
            next = next => next,
        };
        let (stream, from) = match accepted {
            Ok((stream, address)) => (stream, From(whose(address.ip()))),
            Err(error) => {
                tracing::warn!(%error, "a connection to the enrolment listener could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One address must not keep all the others out.
        let Ok(counted) = of_addresses.count(&from.0) else { continue };
        let acceptor = door.current();
        let ready = ready.clone();
        // Ends within its time; a panic costs this one connection.
        tokio::spawn(async move {
            let handshake = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream));
            match handshake.await {
                Ok(Ok(stream)) => {
                    let until = Box::pin(tokio::time::sleep(CONNECTION_TIME));
                    let connection = Connection { stream, from, until, _counted: counted, _open: open };
                    let _ = ready.send(Ok(connection)).await;
                }
                Ok(Err(error)) => tracing::info!(%error, "an enrolment handshake failed"),
                Err(_) => tracing::info!("an enrolment handshake took too long"),
            }
        });
    }
}

/// Whose an address is: of an IPv6 address the network, for its owner has as many as he likes.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 64))),
    }
}

/// Where a call comes from.
#[derive(Clone, Copy, Debug)]
struct From(IpAddr);

struct Joins {
    engine: Engine,
    attempts: Attempts,
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for Joins {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let From(address) = *request.extensions().get().expect("every connection comes with its address");
        let allowed = self.attempts.take(address, Instant::now());
        let attempt = allowed.and_then(|()| certificates::join(request.into_inner()));
        let attempt = attempt.inspect_err(|refusal| self.engine.join_refused_at_the_door(refusal.reason()))?;
        Ok(Response::new(certificates::joined(self.engine.join(attempt).await?)))
    }
}

/// When each address will have used up what it began, had it come evenly spread. Forgotten when that is past.
#[derive(Default)]
struct Attempts(Mutex<HashMap<IpAddr, Instant>>);

impl Attempts {
    fn take(&self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= ADDRESSES && !used.contains_key(&address) {
            used.retain(|_, until| *until > now);
        }
        let until = used.get(&address).map_or(now, |until| (*until).max(now)) + ATTEMPT_EVERY;
        let ahead = (until - now).saturating_sub(ATTEMPT_EVERY * ATTEMPTS);
        let is_full = used.len() >= ADDRESSES && !used.contains_key(&address);
        if is_full || !ahead.is_zero() {
            let wait = if is_full { ATTEMPT_EVERY } else { ahead };
            let refusal = Refusal::new(Reason::QuotaExceeded);
            return Err(refusal.detail(lgsp_proto::RETRY_AFTER_MS, wait.as_millis().max(1)));
        }
        used.insert(address, until);
        Ok(())
    }
}

/// A connection after its handshake, until its time is over: then neither reading nor writing goes on, whoever waits for which.
struct Connection<S = TlsStream<TcpStream>> {
    stream: S,
    from: From,
    until: Pin<Box<Sleep>>,
    _counted: Counted<IpAddr>,
    _open: OwnedSemaphorePermit,
}

impl<S> Connection<S> {
    /// Asked before everything: a peer that never reads keeps us from reading as well.
    fn check_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let is_over = self.until.as_mut().poll(cx).is_ready();
        if is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Connected for Connection {
    type ConnectInfo = From;

    fn connect_info(&self) -> From {
        self.from
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_time(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_time(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_time(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_time(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_guesses_is_slowed_down_and_the_others_are_not() {
        let attempts = Attempts::default();
        let [guesser, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse::<IpAddr>().unwrap());
        for _ in 0..ATTEMPTS {
            attempts.take(guesser, Instant::now()).unwrap();
        }
        let refused = attempts.take(guesser, Instant::now()).unwrap_err();
        assert_eq!((refused.reason(), refused.retry_after()), (Reason::QuotaExceeded, Some(ATTEMPT_EVERY)));
        attempts.take(other, Instant::now()).unwrap();
        tokio::time::advance(ATTEMPT_EVERY).await;
        attempts.take(guesser, Instant::now()).unwrap();
        assert!(attempts.take(guesser, Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_addresses_are_remembered_and_no_more() {
        let attempts = Attempts::default();
        let address = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        for number in 0..ADDRESSES {
            attempts.take(address(number), Instant::now()).unwrap();
        }
        assert!(attempts.take(address(ADDRESSES), Instant::now()).is_err());
        tokio::time::advance(ATTEMPT_EVERY).await;
        attempts.take(address(ADDRESSES), Instant::now()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_in_time_although_its_peer_reads_nothing() {
        use tokio::io::AsyncWriteExt as _;
        let (stream, _silent) = tokio::io::duplex(16);
        let (from, tally, places) = (From([192, 0, 2, 1].into()), Tally::new(1), Arc::new(Semaphore::new(1)));
        let mut connection = Connection {
            stream,
            from,
            until: Box::pin(tokio::time::sleep(CONNECTION_TIME)),
            _counted: tally.count(&from.0).unwrap(),
            _open: places.acquire_owned().await.unwrap(),
        };
        let written = tokio::time::timeout(CONNECTION_TIME * 2, connection.write_all(&[0; 64])).await;
        assert_eq!(written.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn whoever_has_a_network_counts_once() {
        let of = |text: &str| whose(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
