//! The way in for other machines: TLS 1.3, HTTP/2 and HTTP/1.1, with a certificate of the client's if it has one.
//!
//! Owns connections until they are secured: how many there may be, how long a handshake may take, and the files of TLS, which are
//! read again when they change. Who a client is, `access` knows. A connection keeps what it began with.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use lgsp_certs::reload::Files;
use lgsp_certs::tls::{TlsFileError, TlsProblem, https_server_config};
use lgsp_proto::reason::Bilingual;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::access::{Certificate, Origin, network};
use crate::config;

/// Connections at one time, and of one address (IPv6: network): whoever says nothing keeps a few places, and not all.
const MAX_CONNECTIONS: usize = 512;
const MAX_OF_ADDRESS: usize = 64;

/// For one handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// After an accept that failed, for want of file handles mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// The files of TLS, as they were when they could last be used, if they ever could.
pub(crate) struct Tls {
    files: config::Remote,
    seen: Mutex<Files>,
    current: Mutex<Result<Arc<ServerConfig>, Closed>>,
}

/// Why nobody gets in from other machines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Closed {
    /// The certificate has expired.
    Expired,
    /// It is not valid yet, by this machine's clock.
    NotYetValid,
    /// The files that came in its place are not what they should be.
    Unusable,
}

impl Closed {
    fn of(problem: &TlsProblem) -> Self {
        match problem {
            TlsProblem::Expired(_) => Self::Expired,
            TlsProblem::NotYetValid(_) => Self::NotYetValid,
            _ => Self::Unusable,
        }
    }

    /// What is the matter, and what to do.
    pub(crate) const fn texts(self) -> Bilingual {
        match self {
            Self::Expired => Bilingual {
                vi: "Chứng thư trong [remote] đã hết hạn nên máy khác chưa vào được; hãy đặt chứng thư mới vào đúng tệp đó, không cần khởi động lại.",
                en: "The certificate in [remote] has expired, so nobody gets in from other machines; put a new one in its place. No restart is needed.",
            },
            Self::NotYetValid => Bilingual {
                vi: "Chứng thư trong [remote] chưa có hiệu lực theo đồng hồ máy này nên máy khác chưa vào được; hãy kiểm tra đồng hồ hoặc thay chứng thư.",
                en: "The certificate in [remote] is not valid yet by this machine's clock, so nobody gets in from other machines; check the clock, or put another in its place.",
            },
            Self::Unusable => Bilingual {
                vi: "Các tệp trong [remote] không dùng được nên máy khác chưa vào được; nhật ký cho biết tệp nào và vì sao.",
                en: "The files in [remote] cannot be used, so nobody gets in from other machines; the log says which one and why.",
            },
        }
    }
}

/// Connections that are secured.
pub(crate) struct Remote {
    secured: mpsc::Receiver<(Secured, SocketAddr)>,
    address: SocketAddr,
}

/// One of them.
pub(crate) struct Secured {
    stream: TlsStream<TcpStream>,
    origin: Origin,
    _place: Place,
}

/// A place among the connections, and among those of its address, or its network.
struct Place {
    address: IpAddr,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

struct Places {
    all: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Tls {
    /// Loads the files. With a certificate whose time is over, or to come, nobody gets in until there is another: the desk must not stand
    /// still for that.
    ///
    /// # Errors
    /// Names the first that cannot be used at any time.
    pub(crate) fn load(files: &config::Remote) -> Result<Arc<Self>, TlsFileError> {
        let paths = [Some(&files.certificate), Some(&files.key), files.client_bundle.as_ref()];
        // Looked at before they are read, so that a change in between is seen.
        let seen = Mutex::new(Files::new(paths.into_iter().flatten().map(PathBuf::clone)));
        let current = match read(files) {
            Ok(config) => Ok(Arc::new(config)),
            Err(error) => match Closed::of(&error.problem) {
                Closed::Unusable => return Err(error),
                closed => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "nobody gets in from other machines until there is another certificate");
                    Err(closed)
                }
            },
        };
        Ok(Arc::new(Self { files: files.clone(), seen, current: Mutex::new(current) }))
    }

    /// Reads the files again whenever they have changed. A set that cannot be used is told, and the one before stays.
    pub(crate) async fn watch(self: Arc<Self>, poll: Duration, stop: CancellationToken) {
        let mut every = tokio::time::interval(poll);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            let changed = self.seen.lock().unwrap_or_else(PoisonError::into_inner).changed();
            let closed = self.closed();
            // A certificate whose time is to come, or a clock that is set, needs no change of a file.
            if !changed && closed.is_none() {
                continue;
            }
            match (read(&self.files), closed) {
                (Ok(config), _) => {
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Ok(Arc::new(config));
                    tracing::info!("the certificates of the way in from other machines were read again");
                }
                (Err(error), None) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the certificates in [remote] cannot be used; those of before go on");
                }
                (Err(error), Some(before)) => {
                    let closed = Closed::of(&error.problem);
                    if closed != before {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "the certificates in [remote] still cannot be used");
                        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Err(closed);
                    }
                }
            }
        }
    }

    /// Why nobody gets in, if it is so.
    pub(crate) fn closed(&self) -> Option<Closed> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref().err().copied()
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref().ok().cloned().map(TlsAcceptor::from)
    }
}

/// Whether the files can be used.
///
/// # Errors
/// Names the first that cannot.
pub(crate) fn check(files: &config::Remote) -> Result<(), TlsFileError> {
    read(files).map(drop)
}

fn read(files: &config::Remote) -> Result<ServerConfig, TlsFileError> {
    https_server_config(&files.certificate, &files.key, files.client_bundle.as_deref(), SystemTime::now())
}

impl Remote {
    /// Begins to accept; the future does so until `stop`, and must be run.
    ///
    /// # Errors
    /// The listener has no address.
    pub(crate) fn begin(
        listener: TcpListener,
        tls: Arc<Tls>,
        stop: CancellationToken,
    ) -> io::Result<(Self, impl Future<Output = ()> + Send)> {
        let address = listener.local_addr()?;
        let (sender, secured) = mpsc::channel(1);
        Ok((Self { secured, address }, accept(listener, tls, sender, stop)))
    }
}

async fn accept(
    listener: TcpListener,
    tls: Arc<Tls>,
    secured: mpsc::Sender<(Secured, SocketAddr)>,
    stop: CancellationToken,
) {
    let places = Arc::new(Places { all: Arc::new(Semaphore::new(MAX_CONNECTIONS)), by_address: Mutex::default() });
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let accepted = async {
            // Whoever finds no place waits in the kernel.
            let permit = Arc::clone(&places.all).acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            Some(accepted) = accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(place) = Place::take(&places, address.ip(), permit) else { continue };
                let Some(tls) = tls.acceptor() else { continue };
                let secured = secured.clone();
                handshakes.spawn(async move {
                    if let Ok(Some(connection)) = tokio::time::timeout(HANDSHAKE, secure(tls, stream, place)).await {
                        // Nobody listens any more: the adapter stops.
                        let _ = secured.send((connection, address)).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection from another machine cannot be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn secure(tls: TlsAcceptor, stream: TcpStream, place: Place) -> Option<Secured> {
    // Small answers must not wait for the acknowledgement of the one before.
    let nodelay = stream.set_nodelay(true);
    let stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(address = %place.address, ?nodelay, %error, "a handshake with another machine failed");
            return None;
        }
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    // One that says nothing we can read is as good as none.
    let certificate = leaf.and_then(Certificate::read).map(Arc::new);
    let origin = Origin::Elsewhere { address: place.address, certificate };
    Some(Secured { stream, origin, _place: place })
}

impl Place {
    fn take(places: &Arc<Places>, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Self> {
        let address = address.to_canonical();
        let mut by_address = places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = by_address.entry(network(address)).or_default();
        if *taken == MAX_OF_ADDRESS {
            return None;
        }
        *taken += 1;
        Some(Self { address, places: places.clone(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.places.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = by_address.get_mut(&network(self.address)) {
            *taken -= 1;
            if *taken == 0 {
                by_address.remove(&network(self.address));
            }
        }
    }
}

impl Listener for Remote {
    type Io = Secured;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Secured, SocketAddr) {
        match self.secured.recv().await {
            Some(connection) => connection,
            // Nothing more comes; whoever asks is stopped otherwise.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, Remote>> for Origin {
    fn connect_info(stream: IncomingStream<'_, Remote>) -> Self {
        stream.io().origin.clone()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_places_and_gives_back_what_it_had() {
        let places = Arc::new(Places { all: Arc::new(Semaphore::new(MAX_CONNECTIONS)), by_address: Mutex::default() });
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let take = |address| Place::take(&places, address, Arc::clone(&places.all).try_acquire_owned().unwrap());
        let held: Vec<_> = (0..MAX_OF_ADDRESS).map(|_| take(one).unwrap()).collect();
        assert!(take(one).is_none());
        assert!(take(other).is_some());
        drop(held);
        assert!(take(one).is_some());
        // Whoever has one IPv6 address has its whole network.
        let take = |number: usize| take(format!("2001:db8::{number:x}").parse().unwrap());
        let held: Vec<_> = (0..MAX_OF_ADDRESS).map(|number| take(number).unwrap()).collect();
        assert!(take(MAX_OF_ADDRESS).is_none());
        drop(held);
        assert_eq!((places.by_address.lock().unwrap().len(), places.all.available_permits()), (0, MAX_CONNECTIONS));
    }
}
