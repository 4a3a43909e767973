//! The one connection that is made without a certificate of one's own: to join.

use std::sync::Arc;

use lgsp_certs::server_name;
use lgsp_certs::tls::BadServerName;
use rustls::ClientConfig;
use tonic::transport::{Channel, Endpoint};

use super::connector::{Connector, Peers};
use super::{GatewayUrl, Timings, TurnedAway};

/// A connection to where systems join.
pub(crate) struct Joining {
    channel: Channel,
    peers: Arc<Peers>,
}

impl Joining {
    /// Prepares it; it is made at the first call. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the host, or the name instead of it, can be in no certificate.
    pub(crate) fn new(
        gateway: &GatewayUrl,
        name: Option<&str>,
        tls: ClientConfig,
        timings: Timings,
    ) -> Result<Self, BadServerName> {
        let peers = Arc::<Peers>::default();
        let connector = Connector {
            host: gateway.host().into(),
            port: gateway.port(),
            name: server_name(name.unwrap_or(gateway.host()))?,
            tls: Arc::new(tls),
            within: timings.connect_timeout,
            peers: peers.clone(),
        };
        Ok(Self { channel: Endpoint::from(gateway.uri().clone()).connect_with_connector_lazy(connector), peers })
    }

    /// The connection.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Why the server's certificate was turned away, if it was.
    pub(crate) fn turned_away(&self) -> Option<TurnedAway> {
        self.peers.connectivity().borrow().turned_away
    }
}
