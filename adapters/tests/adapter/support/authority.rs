//! Who issues certificates in a test: over tokens, where nobody needs one, and over certificates, at the gateway.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use lgsp_certs::{Bundle, CertificateAuthority, Certified, SigningRequest, SystemName, TlsFiles, Trust, Usage};
use lgsp_proto::types::JoinToken;
use lgsp_proto::v1::enrolment_server::{Enrolment, EnrolmentServer};
use lgsp_proto::v1::{self, IssuedCertificate, JoinRequest, JoinResponse, TrustResponse};
use lgsp_proto::{Reason, Refusal};
use rustls::server::danger::ClientCertVerifier;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::gateway::{Connection, sha256};
use super::{Certificates, DAY, OTHER_PARTY, PARTY, output};

/// See the module. Clones are one.
#[derive(Clone)]
pub struct Authority(Arc<Shared>);

struct Shared {
    ca: CertificateAuthority,
    books: Mutex<Books>,
    stop: CancellationToken,
}

struct Books {
    /// How long a certificate lives, and after what part of that it should be renewed.
    life: Duration,
    bus_url: String,
    trust: TrustResponse,
    /// By token: whose it is, and what its secret is.
    tokens: HashMap<Vec<u8>, ([u8; 32], String)>,
    /// By token: the key it was spent with, and what that gave.
    spent: HashMap<Vec<u8>, ([u8; 32], JoinResponse)>,
    /// Keys that are out of force.
    revoked: HashSet<[u8; 32]>,
    renewals: usize,
    refuses: VecDeque<Reason>,
    /// Why nobody is told whom to trust.
    tells_no_roots: Option<Reason>,
    /// By how much its clock is ahead.
    ahead: Duration,
}

impl Authority {
    /// Issues by the CA of these certificates.
    pub fn new(certificates: &Certificates) -> Self {
        let ca = CertificateAuthority::open(certificates.folder()).unwrap();
        let books = Books {
            life: DAY,
            bus_url: String::new(),
            trust: TrustResponse::default(),
            tokens: HashMap::new(),
            spent: HashMap::new(),
            revoked: HashSet::new(),
            renewals: 0,
            refuses: VecDeque::new(),
            tells_no_roots: None,
            ahead: Duration::ZERO,
        };
        let root = Bytes::copy_from_slice(ca.root());
        let authority = Self(Arc::new(Shared { ca, books: Mutex::new(books), stop: CancellationToken::new() }));
        authority.trust([root]);
        authority
    }

    /// Whoever joins is told that the bus is there.
    pub fn bus_is_at(&self, bus: SocketAddr) {
        self.books().bus_url = format!("https://{bus}");
    }

    /// From now on its clock is ahead.
    pub fn set_clock_ahead(&self, ahead: Duration) {
        self.books().ahead = ahead;
    }

    /// For a listener that lets in whom this CA knows, unless the key is out of force.
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let root = self.0.ca.root().clone();
        let domain = self.0.ca.trust_domain().clone();
        let bundle = Bundle::new("bus", domain, vec!["*".parse().unwrap()], vec![root], Vec::new()).unwrap();
        let authority = self.clone();
        let revoked = Arc::new(move |key: &[u8; 32]| authority.books().revoked.contains(key));
        Arc::new(Trust::new(vec![bundle]).unwrap()).client_verifier(revoked)
    }

    /// From now on certificates live so long.
    pub fn certify_for(&self, life: Duration) {
        self.books().life = life;
    }

    /// From now on these are the roots.
    pub fn trust(&self, roots: impl IntoIterator<Item = Bytes>) {
        let roots: Vec<_> = roots.into_iter().collect();
        let mut digested = Vec::new();
        for root in &roots {
            digested.extend_from_slice(&(root.len() as u64).to_be_bytes());
            digested.extend_from_slice(root);
        }
        let sha256 = sha256(&digested);
        self.books().trust = TrustResponse { roots, revocation_lists: Vec::new(), sha256 };
    }

    /// Requests for renewal are refused for these reasons, one after the other.
    pub fn refuse_next(&self, reasons: impl IntoIterator<Item = Reason>) {
        self.books().refuses.extend(reasons);
    }

    /// From now on whoever asks whom to trust is refused for this reason, or no longer.
    pub fn tell_no_roots(&self, reason: Option<Reason>) {
        self.books().tells_no_roots = reason;
    }

    pub fn renewals(&self) -> usize {
        self.books().renewals
    }

    pub fn revoke(&self, key: [u8; 32]) {
        self.books().revoked.insert(key);
    }

    /// A token for `system` to be spent at `enrolment`.
    pub fn token(&self, enrolment: SocketAddr, system: &str, expires_at: Timestamp) -> JoinToken {
        let mut books = self.books();
        let number = u8::try_from(books.tokens.len()).unwrap();
        let (id, secret) = ([number; 16], [number ^ 0x55; 32]);
        books.tokens.insert(id.to_vec(), (secret, system.to_owned()));
        let roots = vec![sha256(self.0.ca.root())[..].try_into().unwrap()];
        let url = format!("https://{enrolment}");
        let token = JoinToken::new(&url, None, roots, id, Zeroizing::new(secret), system, expires_at).unwrap();
        output::tokens_in("adapter", token.to_text().as_bytes());
        token
    }

    /// Serves whoever joins.
    pub async fn serve(&self, files: &TlsFiles) -> SocketAddr {
        let credentials = files.load(Usage::Server, SystemTime::now()).unwrap();
        let config = credentials.server_config_with_root(SystemTime::now()).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpListenerStream::new(listener)
            .then(move |stream| {
                let acceptor = acceptor.clone();
                async move {
                    let stream = acceptor.accept(stream?).await?;
                    let ends = Box::pin(tokio::time::sleep(DAY));
                    io::Result::Ok(Connection { stream, peer: (), ends })
                }
            })
            .filter(|accepted| accepted.is_ok());
        let server = tonic::transport::Server::builder().add_service(EnrolmentServer::new(self.clone()));
        let stop = self.0.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                served = server.serve_with_incoming(incoming) => served.unwrap(),
            }
        });
        address
    }

    fn certify(&self, request: &[u8], system: &str) -> Result<(Certified, IssuedCertificate), Status> {
        let request =
            SigningRequest::parse(request).map_err(|_| Refusal::new(Reason::SigningRequestInvalid).to_status())?;
        let (life, now) = {
            let books = self.books();
            (books.life, SystemTime::now() + books.ahead)
        };
        let name: SystemName = system.parse().unwrap();
        let certified = self.0.ca.sign_request(&request, &name, life, now).unwrap();
        let issued = IssuedCertificate {
            system: system.to_owned(),
            chain: certified.chain.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
            not_before: Some(certified.not_before.into()),
            not_after: Some(certified.not_after.into()),
            renew_from: Some((now + life * 2 / 3).into()),
        };
        Ok((certified, issued))
    }

    /// As the gateway does it over a certificate.
    pub fn renew(&self, request: &v1::RenewRequest, system: &str) -> Result<v1::RenewResponse, Status> {
        if let Some(reason) = self.books().refuses.pop_front() {
            return Err(Refusal::new(reason).to_status());
        }
        let (_, issued) = self.certify(&request.signing_request, system)?;
        self.books().renewals += 1;
        Ok(v1::RenewResponse { certificate: Some(issued) })
    }

    pub fn whom_to_trust(&self, known: &[u8]) -> Result<TrustResponse, Status> {
        let books = self.books();
        if let Some(reason) = books.tells_no_roots {
            return Err(Refusal::new(reason).to_status());
        }
        let trust = books.trust.clone();
        Ok(if trust.sha256 == known {
            TrustResponse { sha256: trust.sha256, ..TrustResponse::default() }
        } else {
            trust
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tonic::async_trait]
impl Enrolment for Authority {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let request = request.into_inner();
        let id = request.token_id.to_vec();
        let system = match self.books().tokens.get(&id) {
            Some((secret, system)) if secret[..] == request.token_secret[..] => system.clone(),
            _ => return Err(Refusal::new(Reason::TokenInvalid).to_status()),
        };
        let (certified, issued) = self.certify(&request.signing_request, &system)?;
        let mut books = self.books();
        if let Some((key, before)) = books.spent.get(&id) {
            return match *key == certified.key_sha256 {
                true => Ok(Response::new(before.clone())),
                false => Err(Refusal::new(Reason::TokenSpent).to_status()),
            };
        }
        let answer = JoinResponse {
            certificate: Some(issued),
            trust: Some(books.trust.clone()),
            bus_url: books.bus_url.clone(),
            server_name: String::new(),
            acts_for: vec![PARTY.to_owned(), OTHER_PARTY.to_owned()],
        };
        books.spent.insert(id, (certified.key_sha256, answer.clone()));
        Ok(Response::new(answer))
    }
}
