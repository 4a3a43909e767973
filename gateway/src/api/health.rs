//! Health over the bus itself: each service and the node as a whole, all serving or none.

use lgsp_proto::v1::documents_server::SERVICE_NAME as DOCUMENTS;
use lgsp_proto::v1::dossiers_server::SERVICE_NAME as DOSSIERS;
use lgsp_proto::v1::inbox_server::SERVICE_NAME as INBOX;
use lgsp_proto::v1::registry_server::SERVICE_NAME as REGISTRY;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The empty name is the node as a whole.
const NAMES: [&str; 5] = ["", DOSSIERS, INBOX, DOCUMENTS, REGISTRY];

/// Says whether the bus serves.
#[derive(Clone)]
pub(crate) struct Health(HealthReporter);

impl Health {
    /// Not serving yet; and the service that says so.
    pub(super) async fn new() -> (Self, HealthServer<HealthService>) {
        let reporter = HealthReporter::new();
        let health = Self(reporter.clone());
        health.set(false).await;
        (health, HealthServer::new(HealthService::from_health_reporter(reporter)))
    }

    /// Says that the bus serves, or that it does not.
    pub(crate) async fn set(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            self.0.set_service_status(name, status).await;
        }
    }
}
