//! What the gateway measures: [`names`] says what there is, `counts` counts what happens, `look` asks the parts how they stand.
//!
//! Nothing here decides anything, and no part waits for it. What a label says comes from the registry, the configuration or this code;
//! what a caller sent never becomes one.

pub(crate) mod counts;
mod look;
pub mod names;

use std::sync::{Arc, OnceLock};

use lgsp_telemetry::{Figures, Format, Page, Telemetry};
use tokio::sync::watch;

use crate::api::local::Node;
use crate::tls::Generation;

/// The gateway's instruments.
#[derive(Debug)]
pub(crate) struct Metrics {
    telemetry: Telemetry,
    /// What is in force, once the node serves.
    generations: OnceLock<watch::Receiver<Arc<Generation>>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let telemetry = Telemetry::new("lgsp-gateway", env!("CARGO_PKG_VERSION"), names::ALL);
        Self { telemetry, generations: OnceLock::new() }
    }

    /// Tells of the bundles in force from now on. To be said once.
    pub(crate) fn follow(&self, generations: watch::Receiver<Arc<Generation>>) {
        // Said twice, the first goes on counting.
        let _ = self.generations.set(generations);
    }

    /// How `node` stands, for who reads metrics. What cannot be read just now is not on the page.
    pub(crate) async fn page(&self, node: &Node, format: Format) -> Page {
        let mut figures = Figures::default();
        look::at_the_node(node, &mut figures);
        if let Some(generations) = self.generations.get() {
            look::at_the_bundles(&generations.borrow(), &mut figures);
        }
        let engine = node.stage.borrow().engine().cloned();
        if let Some(engine) = engine {
            look::at_the_engine(&engine, &mut figures).await;
        }
        self.telemetry.page(figures, format)
    }
}
