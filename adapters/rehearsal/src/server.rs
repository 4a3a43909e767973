//! HTTPS on this machine: a certificate of a CA that is made on the spot or given, HTTP/1.1 as the ministries' servers speak it, and
//! lines that can be cut in the middle.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use http::StatusCode;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lgsp_certs::ca::{CaError, CertificateAuthority};
use lgsp_certs::tls::{TlsFileError, https_server_config};
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// How long the certificate of a rehearsal is good for.
const GOOD_FOR: Duration = Duration::from_secs(30 * 86_400);

/// One that is over sooner is made anew: it should last for a day of rehearsing.
const NEVER_LESS_THAN: Duration = Duration::from_secs(86_400);

/// For what is under way at the end. The last answer of a script may be long.
const TO_ANSWER: Duration = Duration::from_secs(3);

/// For one handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The certificate that a counterpart shows, and the clients it knows.
#[derive(Clone, Debug)]
pub struct Files {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The root that clients should trust, PEM.
    pub root: PathBuf,
    /// Roots of clients' certificates; with these a client has to show one, or is answered 403.
    pub clients: Option<PathBuf>,
}

/// A counterpart cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The CA could not be made, or read.
    #[error("the rehearsal's certificates cannot be made in {}", dir.display())]
    Certificates {
        /// Where.
        dir: PathBuf,
        /// Why.
        #[source]
        source: CaError,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The port cannot be listened on.
    #[error("port {port} of this machine cannot be listened on; choose another with --port")]
    Port {
        /// Which.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A counterpart that listens.
pub struct Server {
    listener: TcpListener,
    tls: TlsAcceptor,
    needs_certificate: bool,
    address: SocketAddr,
}

/// The connection a request came over, among its extensions.
#[derive(Clone, Debug)]
pub struct Line {
    cut: CancellationToken,
    is_used: Arc<AtomicBool>,
}

impl Line {
    /// Breaks it off where it stands, without a goodbye of TLS or HTTP; never returns.
    pub(crate) async fn cut(&self) {
        self.cut.cancel();
        std::future::pending().await
    }

    /// Whether nobody has asked this before on this connection.
    pub(crate) fn is_first_request(&self) -> bool {
        !self.is_used.swap(true, Ordering::Relaxed)
    }
}

impl Files {
    /// Those of the folder `dir`, made there if there are none: `ca.pem` is for the clients, and stays when the certificate is made anew
    /// because it would soon be over.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn in_folder(dir: &Path) -> Result<Self, ServerError> {
        Self::in_folder_at(dir, SystemTime::now())
    }

    fn in_folder_at(dir: &Path, now: SystemTime) -> Result<Self, ServerError> {
        let file = |name: &str| dir.join(name);
        let files =
            Self { certificate: file("server.pem"), key: file("server.key"), root: file("ca.pem"), clients: None };
        let failed = |source| ServerError::Certificates { dir: dir.to_owned(), source };
        let ca = if files.root.exists() {
            if https_server_config(&files.certificate, &files.key, None, now + NEVER_LESS_THAN).is_ok() {
                return Ok(files);
            }
            let ca = CertificateAuthority::open(&dir.join("ca")).map_err(failed)?;
            // The clients' certificate is no older, and made anew when it is asked for.
            for old in ["server.pem", "server.key", "client.pem", "client.key"].map(file) {
                match std::fs::remove_file(&old) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(ServerError::File { file: old, source });
                    }
                    _ => {}
                }
            }
            ca
        } else {
            let domain = "rehearsal.lgsp.test".parse().expect("a trust domain");
            let ca = CertificateAuthority::create(&dir.join("ca"), &domain, now).map_err(failed)?;
            let written = std::fs::write(&files.root, ca.root_pem());
            written.map_err(|source| ServerError::File { file: files.root.clone(), source })?;
            ca
        };
        let names = ["localhost", "127.0.0.1"].map(|name| ServerName::try_from(name).expect("a name"));
        ca.issue_server(&names, GOOD_FOR, now).and_then(|issued| issued.write_to(dir, "server")).map_err(failed)?;
        Ok(files)
    }
}

impl Files {
    /// The same, and clients have to show a certificate: that of `client.pem` and `client.key`, made in `dir` if need be by the CA of the
    /// rehearsal.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn with_client(mut self, dir: &Path) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Certificates { dir: dir.to_owned(), source };
        if !dir.join("client.pem").exists() {
            let ca = CertificateAuthority::open(&dir.join("ca")).map_err(failed)?;
            let name = "connector".parse().expect("a name of a system");
            let issued = ca.issue_system(&name, GOOD_FOR, SystemTime::now());
            issued.and_then(|issued| issued.write_to(dir, "client")).map_err(failed)?;
        }
        self.clients = Some(dir.join("ca.pem"));
        Ok(self)
    }
}

impl Server {
    /// Listens on `port` of this machine; 0 is one of the system's choice.
    ///
    /// # Errors
    /// The files cannot be used, or the port is taken.
    pub async fn bind(port: u16, files: &Files) -> Result<Self, ServerError> {
        let mut config =
            https_server_config(&files.certificate, &files.key, files.clients.as_deref(), SystemTime::now())?;
        let failed = |source| ServerError::Port { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            listener,
            tls: TlsAcceptor::from(Arc::new(config)),
            needs_certificate: files.clients.is_some(),
            address,
        })
    }

    /// Where it is reached, without a path: `https://localhost:8443`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Serves until `stop`; what is under way then has a moment to be answered.
    pub async fn serve(self, routes: Router, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (tls, routes, stop) = (self.tls.clone(), routes.clone(), stop.clone());
                    connections.spawn(connection(stream, tls, self.needs_certificate, routes, stop));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let answered = async { while connections.join_next().await.is_some() {} };
        // What takes longer is cut off.
        let _ = tokio::time::timeout(TO_ANSWER, answered).await;
    }
}

/// One connection, until it ends or is cut; after `stop`, until the request that is under way on it is answered.
async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    needs_certificate: bool,
    routes: Router,
    stop: CancellationToken,
) {
    let nodelay = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(?nodelay, %error, "a handshake failed"),
        Err(_) => return,
    };
    let cut = CancellationToken::new();
    let line = Line { cut: cut.clone(), is_used: Arc::default() };
    let is_known = !needs_certificate || stream.get_ref().1.peer_certificates().is_some();
    let stranger = || Router::new().fallback(async || (StatusCode::FORBIDDEN, "a client certificate is needed\n"));
    let routes = if is_known { routes } else { stranger() };
    let service = routes.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(line.clone());
        request.map(axum::body::Body::new)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(serving);
    let ended = tokio::select! {
        () = cut.cancelled() => return,
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                () = cut.cancelled() => return,
                ended = serving => ended,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_used_again_after_a_month_has_a_good_certificate_of_the_same_root() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, now) = (folder.path(), SystemTime::now());
        let first = Files::in_folder_at(dir, now - GOOD_FOR).unwrap().with_client(dir).unwrap();
        let read = |file: &Path| std::fs::read(file).unwrap();
        let (root, certificate, client) = (read(&first.root), read(&first.certificate), read(&dir.join("client.pem")));
        assert!(https_server_config(&first.certificate, &first.key, None, now + NEVER_LESS_THAN).is_err());
        for _ in 0..2 {
            let again = Files::in_folder_at(dir, now).unwrap().with_client(dir).unwrap();
            assert!(https_server_config(&again.certificate, &again.key, None, now + NEVER_LESS_THAN).is_ok());
            assert!(read(&again.root) == root && read(&again.certificate) != certificate);
            assert_ne!(read(&dir.join("client.pem")), client);
        }
    }
}
