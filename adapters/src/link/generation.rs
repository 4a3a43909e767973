//! One set of credentials at work: the connection made with it, and the key that signs for it.
//!
//! The gateway checks a signature against the certificate of the connection on which it comes. So the two are exchanged
//! together, and a call takes both from the same generation. Calls under way end on the one they began on, and so does an open
//! stream, unless others are believed meanwhile than were when it began.

use std::sync::Arc;
use std::time::SystemTime;

use lgsp_certs::{CertificateDigest, CertificateFacts, Credentials, Ends, SigningKey};
use rustls_pki_types::ServerName;
use tonic::transport::Endpoint;

use super::connector::{Connector, Peers};
use super::watched::Watched;
use super::{GatewayUrl, Timings};

/// See the module.
pub(super) struct Generation {
    pub(super) channel: Watched,
    pub(super) signing_key: Arc<SigningKey>,
    pub(super) certificate: CertificateDigest,
    /// The last moment of the certificate's validity.
    pub(super) not_after: SystemTime,
    /// When the rest of the set ends.
    pub(super) ends: SetEnds,
    /// Which roots and revocation lists it goes by.
    pub(super) believed: [u8; 32],
}

/// When what came with a certificate ends.
#[derive(Clone, Debug)]
pub(crate) struct SetEnds {
    /// The issuing CAs that are sent along.
    pub(crate) issuing: Vec<SystemTime>,
    /// What the gateway is known by.
    pub(crate) bundle: Ends,
    /// Since when this set is in force.
    pub(crate) loaded_at: SystemTime,
}

impl SetEnds {
    fn of(credentials: &Credentials) -> Self {
        let issuing = credentials.chain().iter().skip(1).filter_map(|der| CertificateFacts::read(der).ok());
        let issuing = issuing.map(|facts| facts.not_after).collect();
        Self { issuing, bundle: credentials.ends(), loaded_at: SystemTime::now() }
    }
}

/// Where the connections of all generations go, and what is known of the other end.
pub(super) struct Way {
    pub(super) gateway: GatewayUrl,
    /// What the gateway's certificate must carry.
    pub(super) name: ServerName<'static>,
    pub(super) timings: Timings,
    pub(super) peers: Arc<Peers>,
}

impl Generation {
    /// Prepares a connection; it is made at the first call. Must be called inside a Tokio runtime, which will drive it.
    pub(super) fn new(credentials: &Credentials, way: &Way) -> Self {
        let Way { gateway, name, timings, peers } = way;
        let connector = Connector {
            host: gateway.host().into(),
            port: gateway.port(),
            name: name.clone(),
            tls: Arc::new(credentials.client_config()),
            within: timings.connect_timeout,
            peers: peers.clone(),
        };
        // Without keep-alive a connection through a healed partition is never noticed to be dead. It also runs while idle:
        // an inbox stream may be silent for hours.
        let channel = Endpoint::from(gateway.uri().clone())
            .user_agent(concat!("lgsp/", env!("CARGO_PKG_VERSION")))
            .expect("a package version is a header value")
            .http2_keep_alive_interval(timings.keep_alive_interval)
            .keep_alive_timeout(timings.keep_alive_timeout)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector);
        Self {
            channel: Watched::new(channel, peers.clone()),
            signing_key: credentials.signing_key().clone(),
            certificate: credentials.digest(),
            not_after: credentials.not_after(),
            ends: SetEnds::of(credentials),
            believed: credentials.believed(),
        }
    }
}
