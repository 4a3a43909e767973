//! The wire: everything that comes from outside passes here, and nothing behind it parses again.
//!
//! `listener` turns sockets into connections with a known peer, `layers` is what every call passes, one file per
//! service holds its handlers, `convert` is the border between messages and types. `local` is the other listener, for
//! this machine's probes. What a call may do is asked of the engine; only health and reflection need no more than a valid
//! client certificate.

mod audit;
mod certificates;
mod convert;
mod documents;
mod dossiers;
pub(crate) mod enrolment;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod health;
mod inbox;
mod layers;
mod listener;
pub(crate) mod local;
mod numbers;
mod operations;
mod queries;
mod registry;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use lgsp_proto::v1;
use lgsp_proto::v1::audit_server::AuditServer;
use lgsp_proto::v1::certificates_server::CertificatesServer;
use lgsp_proto::v1::documents_server::DocumentsServer;
use lgsp_proto::v1::dossiers_server::DossiersServer;
use lgsp_proto::v1::inbox_server::InboxServer;
use lgsp_proto::v1::numbers_server::NumbersServer;
use lgsp_proto::v1::operations_server::OperationsServer;
use lgsp_proto::v1::queries_server::QueriesServer;
use lgsp_proto::v1::registry_server::RegistryServer;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;

pub use self::convert::queries::on_record as query_message;
pub use self::convert::standing::dossier as dossier_message;
pub(crate) use self::health::Health;
use self::listener::Doors;
use crate::config;
use crate::engine::Engine;
use crate::engine::shares::Tally;
use crate::tls::Generation;

/// The longest message. Answers a sender that would fill our memory; the 64 KiB below what gRPC libraries take by default
/// leave room for the envelope that a delivery puts around a body of this length.
pub const MESSAGE_BYTES_MAX: usize = (4 << 20) - (64 << 10);

/// The longest message of an upload: chunks are waited for by a file, so that a few of them must not be many megabytes.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Tags and lengths around a chunk.
const CHUNK_FRAME: usize = 64;

/// The longest request headers. Ours are a few hundred bytes; more would be an attempt on memory.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Calls open at once on one connection; bounds what a single peer may have us hold, and leaves the busiest adapter room.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// What may be on its way to us unread, per call and per connection: enough for an upload over a long line at full speed.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A connection that has been silent is asked whether it is there; without an answer it is closed. Firewalls forget
/// connections without telling either end.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(10);

/// The bus, ready to serve.
pub(crate) struct Bus {
    services: Router,
    health: Health,
}

impl Bus {
    /// Puts the services of `engine` together. Once `stopping` is cancelled no call is begun and inbox streams end.
    pub(crate) async fn new(engine: &Engine, limits: &config::Limits, stopping: &CancellationToken) -> Self {
        let (health, health_service) = Health::new().await;
        let (engine, stopping) = (engine.clone(), stopping.clone());
        let own = {
            let engine = engine.clone();
            move |system: &str| engine.quota_of_system(system)
        };
        let calls = layers::Calls::new(limits, stopping.clone()).unless(own).counting(engine.counts());
        let dossiers = DossiersServer::new(dossiers::Dossiers { engine: engine.clone() });
        let documents = DocumentsServer::new(documents::Documents { engine: engine.clone() });
        let registry = RegistryServer::new(registry::Registry { engine: engine.clone() });
        let operations =
            OperationsServer::new(operations::Operations { engine: engine.clone(), stopping: stopping.clone() });
        let audit = AuditServer::new(audit::Audit { engine: engine.clone() });
        let certificates = CertificatesServer::new(certificates::Certificates { engine: engine.clone() });
        let numbers = NumbersServer::new(numbers::Numbers { engine: engine.clone() });
        let queries = QueriesServer::new(queries::Queries {
            engine: engine.clone(),
            stopping: stopping.clone(),
            streams: Tally::new(limits.system.streams),
        });
        let inbox = InboxServer::new(inbox::Inbox { engine, stopping, streams: Tally::new(limits.system.streams) });
        let services = Routes::new(dossiers.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(documents.max_decoding_message_size(CHUNK_BYTES_MAX + CHUNK_FRAME))
            .add_service(registry.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(operations.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(inbox.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(numbers.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(audit.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(certificates.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(queries.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(health_service)
            .add_service(reflected().build_v1().expect("the descriptors were made by the build"))
            .add_service(reflected().build_v1alpha().expect("the descriptors were made by the build"));
        Self { services: layers::around(services.into_axum_router(), &calls), health }
    }

    /// Says to those who probe over the bus whether it serves.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves connections of `tcp` until `stop` is cancelled and the calls under way have ended.
    pub(crate) async fn serve(
        self,
        tcp: TcpListener,
        engine: Engine,
        generations: watch::Receiver<Arc<Generation>>,
        limits: &config::Limits,
        stop: CancellationToken,
    ) {
        let of_systems = Tally::new(limits.system.connections);
        let doors = Doors { engine, generations, of_systems, connections: limits.connections };
        listener::serve(tcp, doors, self.services, stop).await;
    }
}

/// The longest message that the service behind `path` takes.
fn limit_of(path: &str) -> usize {
    match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some((service, _)) if service == documents_name() => CHUNK_BYTES_MAX,
        Some((v1::enrolment_server::SERVICE_NAME, _)) => enrolment::MESSAGE_BYTES_MAX,
        _ => MESSAGE_BYTES_MAX,
    }
}

fn documents_name() -> &'static str {
    <DocumentsServer<documents::Documents> as NamedService>::NAME
}

/// What reflection tells: the language of the bus, and neither the formats we store nor what is served elsewhere.
fn reflected() -> tonic_reflection::server::Builder<'static> {
    let mut ours = FileDescriptorSet::decode(lgsp_proto::DESCRIPTORS).expect("the descriptors were made by the build");
    ours.file.retain(|file| matches!(file.package(), "lgsp.v1" | "google.protobuf"));
    // Joining has a door of its own.
    ours.file.iter_mut().for_each(|file| file.service.retain(|service| service.name() != "Enrolment"));
    tonic_reflection::server::Builder::configure()
        .register_file_descriptor_set(ours)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
