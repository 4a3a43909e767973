//! The way to the gateway: one HTTP/2 connection under mutual TLS 1.3 that comes back by itself.
//!
//! Owns connecting, signing and checking receipts; knows nothing of the spool, so that the command line uses it as it is.
//! When a call has failed, [`CallError`] says whether the answer was final, and if not, sending the same bytes again is safe.

mod address;
mod calls;
mod connector;
mod documents;
mod generation;
mod joining;
mod queries;
mod turned_away;
mod watched;

use std::sync::Arc;
use std::time::SystemTime;

use lgsp_certs::tls::{BadServerName, TlsFileError};
use lgsp_certs::{CertificateDigest, Credentials, SigningKey, Usage, server_name};
use lgsp_proto::types::{ActorId, PartyId};
use lgsp_proto::v1::audit_client::AuditClient;
use lgsp_proto::v1::certificates_client::CertificatesClient;
use lgsp_proto::v1::documents_client::DocumentsClient;
use lgsp_proto::v1::dossiers_client::DossiersClient;
use lgsp_proto::v1::inbox_client::InboxClient;
use lgsp_proto::v1::numbers_client::NumbersClient;
use lgsp_proto::v1::operations_client::OperationsClient;
use lgsp_proto::v1::registry_client::RegistryClient;
use tokio::sync::watch;

pub use address::{Address, BadGatewayUrl, GatewayUrl, Timings};
pub use calls::{Admitted, CallError, Proof, ReceiptProblem, Refused};
pub(crate) use documents::documents_of;
pub use documents::{DocumentUpload, UploadError};
pub(crate) use joining::Joining;
pub use queries::Told;
pub use turned_away::TurnedAway;
pub use watched::Watched;

use crate::trace::TraceParent;
use connector::Peers;
use generation::{Generation, SetEnds, Way};

/// The largest answer taken from the gateway: a dossier with many events and their bodies, and no more, so that a broken
/// peer cannot fill the memory.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Everything a command needs to speak to a gateway in somebody's name.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where the gateway is, and by which certificate we are known.
    pub address: Address,
    /// The party in whose name calls are made.
    pub acting_party: PartyId,
    /// The clerk's account.
    pub actor: ActorId,
}

/// Why there is no link: something about the own files or names. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A certificate, key or bundle cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The gateway's host cannot be checked against a certificate.
    #[error(transparent)]
    Name(#[from] BadServerName),
}

/// Prepares the link to the profile's gateway; see [`Link::new`].
///
/// # Errors
/// As for [`Link::new`].
pub fn connect(profile: &Profile) -> Result<Link, ConnectError> {
    Link::new(&profile.address)
}

/// A link to one gateway. Clones share the connection.
///
/// The connection is made at the first call, and made again whenever it was lost; a call that finds no gateway fails at
/// once, it is the caller who waits and repeats. The credentials can be exchanged while it is used: [`Link::adopt`].
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    way: Way,
    /// The one that new calls take. Those under way hold on to theirs.
    generation: watch::Sender<Arc<Generation>>,
}

/// By which roots and revocation lists the other end was believed.
pub(crate) struct Belief {
    generations: watch::Receiver<Arc<Generation>>,
    believed: [u8; 32],
}

impl Belief {
    /// Until it is by others: whoever was let in by the former ones has to prove anew who it is.
    pub(crate) async fn changed(&mut self) {
        let believed = self.believed;
        if self.generations.wait_for(|present| present.believed != believed).await.is_err() {
            // The link is gone, and nothing will be adopted any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Connectivity {
    /// Since when, on the machine clock; `None` while there is none.
    pub connected_since: Option<SystemTime>,
    /// How many connections were made in this link's life.
    pub connections: u64,
    /// Whether the last call was not answered, or the last connection ended, and nothing was answered since. Not before the
    /// first call: until then nobody knows.
    pub down: bool,
    /// Why a handshake or the gateway turned somebody away, if nothing was answered since.
    pub turned_away: Option<TurnedAway>,
}

impl Link {
    /// Loads the files and prepares the link. Nothing is sent before the first call.
    ///
    /// Must be called inside a Tokio runtime, which will drive the connection.
    ///
    /// # Errors
    /// When the certificate files or the gateway's name cannot be used.
    pub fn new(address: &Address) -> Result<Self, ConnectError> {
        let credentials = address.tls.load(Usage::Client, SystemTime::now())?;
        Ok(Self::with(address, &credentials)?)
    }

    /// As [`Link::new`], with credentials that are loaded already.
    ///
    /// # Errors
    /// When the gateway's name cannot be used.
    pub fn with(address: &Address, credentials: &Credentials) -> Result<Self, BadServerName> {
        let name = server_name(address.server_name.as_deref().unwrap_or(address.gateway.host()))?;
        let (gateway, timings) = (address.gateway.clone(), address.timings.clone());
        Ok(Self::on(Way { gateway, name, timings, peers: Arc::default() }, credentials))
    }

    fn on(way: Way, credentials: &Credentials) -> Self {
        let generation = watch::Sender::new(Arc::new(Generation::new(credentials, &way)));
        Self { shared: Arc::new(Shared { way, generation }) }
    }

    /// Another link to the same gateway, to try credentials with before they are adopted. What happens there is not seen here.
    #[must_use]
    pub fn beside(&self, credentials: &Credentials) -> Self {
        let Way { gateway, name, timings, peers: _ } = &self.shared.way;
        let way = Way {
            gateway: gateway.clone(),
            name: name.clone(),
            timings: timings.clone(),
            peers: Arc::new(Peers::default()),
        };
        Self::on(way, credentials)
    }

    /// Uses these credentials from now on: calls that begin after this sign and connect with them. What is under way ends on
    /// the connection it began on, and an open stream stays until somebody ends it: who reads one for long looks at
    /// `Link::belief`. The gateway's certificates met so far go on counting for receipts.
    ///
    /// Must be called inside the runtime that drives the connection.
    pub fn adopt(&self, credentials: &Credentials) {
        self.shared.generation.send_replace(Arc::new(Generation::new(credentials, &self.shared.way)));
        // What the old ones met says nothing about the new ones.
        self.shared.way.peers.met(None);
    }

    /// Whom the link believes now, to be told when that is another. To be taken before what is begun by it.
    pub(crate) fn belief(&self) -> Belief {
        let generations = self.shared.generation.subscribe();
        let believed = generations.borrow().believed;
        Belief { generations, believed }
    }

    /// The generation for one call: its channel and its key belong together.
    fn generation(&self) -> Arc<Generation> {
        self.shared.generation.borrow().clone()
    }

    fn channel(&self) -> Watched {
        self.generation().channel.clone()
    }

    /// The service of dossiers. For writing, [`Link::submit`] and [`Link::record`] sign and check.
    pub fn dossiers(&self) -> DossiersClient<Watched> {
        DossiersClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The service of deliveries.
    pub fn inbox(&self) -> InboxClient<Watched> {
        InboxClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The service of documents. [`Link::upload`] resumes.
    pub fn documents(&self) -> DocumentsClient<Watched> {
        DocumentsClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What operators do to the books.
    pub fn operations(&self) -> OperationsClient<Watched> {
        OperationsClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Who administered what.
    pub fn audit(&self) -> AuditClient<Watched> {
        AuditClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Certificates: renewing, tokens, lists, revocation.
    pub fn certificates(&self) -> CertificatesClient<Watched> {
        CertificatesClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The registry's service.
    pub fn registry(&self) -> RegistryClient<Watched> {
        RegistryClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The service of numbers.
    pub fn numbers(&self) -> NumbersClient<Watched> {
        NumbersClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Whether nobody answers at the other end, as far as is known; see [`Connectivity::down`].
    pub fn is_down(&self) -> bool {
        self.connectivity().borrow().down
    }

    /// The gateway this link goes to.
    pub fn gateway(&self) -> &GatewayUrl {
        &self.shared.way.gateway
    }

    /// The key of the own certificate, for what is signed outside [`Link::submit`] and [`Link::record`]. What it signs must
    /// travel before other credentials are adopted.
    pub fn signing_key(&self) -> Arc<SigningKey> {
        self.generation().signing_key.clone()
    }

    /// SHA-256 of the own certificate.
    pub fn certificate(&self) -> CertificateDigest {
        self.generation().certificate
    }

    /// The last moment of the own certificate's validity, on the machine clock.
    pub fn not_after(&self) -> SystemTime {
        self.generation().not_after
    }

    /// When what came with the own certificate ends.
    pub(crate) fn ends(&self) -> SetEnds {
        self.generation().ends.clone()
    }

    /// Follows the connection's coming and going.
    pub fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.shared.way.peers.connectivity()
    }

    /// Wraps a message for one unary call: with the deadline of this link, and the trace it belongs to.
    pub fn request<T>(&self, message: T, trace: Option<&TraceParent>) -> tonic::Request<T> {
        let mut request = self.stream_request(message, trace);
        request.set_timeout(self.shared.way.timings.call_timeout);
        request
    }

    /// Wraps what opens a stream: it belongs to a trace, but has no deadline.
    pub fn stream_request<T>(&self, message: T, trace: Option<&TraceParent>) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(trace) = trace {
            let value = trace.as_str().parse().expect("a traceparent is ASCII without controls");
            request.metadata_mut().insert(crate::trace::HEADER, value);
        }
        request
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("gateway", &self.shared.way.gateway).finish_non_exhaustive()
    }
}
