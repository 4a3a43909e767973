//! Figures of a process: named once, measured by the OpenTelemetry SDK, read by Prometheus.
//!
//! [`metric`] says what a figure is and collects what it is now, [`tally`] counts what happens between two looks, [`certificates`]
//! names what gateway and adapters have in common, `page` writes what the SDK has read. Which figures there are is the
//! business of each process. Invariant: a label has a value out of a set that an operator or this code has written down, never what a
//! caller sent, and nothing here is about a citizen.

pub mod certificates;
pub mod metric;
mod page;
pub mod tally;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
};

pub use metric::{Figures, Kind, Metric};
pub use page::{Format, Page};
pub use tally::Tally;

/// How many series one figure may have; beyond it the SDK adds up what is left over. Labels of a kind that grows with the registry
/// get the larger one: a province has some hundred systems, and the room is set aside at the start.
const SERIES_MAX: usize = 512;
const SERIES_OF_SYSTEMS_MAX: usize = 16_384;

/// The label of which there are as many values as the registry has systems.
pub const SYSTEM: &str = "system";

/// The instruments of a process and their reader.
pub struct Telemetry {
    reader: Arc<ManualReader>,
    /// What the instruments tell when they are asked.
    board: Arc<Board>,
    /// One look at a time: what one puts on the board, another must not read.
    looking: Mutex<()>,
    /// Owns the instruments: without it there is nothing to read.
    _provider: SdkMeterProvider,
}

type Board = Mutex<Figures>;

impl Telemetry {
    /// Instruments for `metrics` of the process called `service`, e.g. `lgsp-gateway`.
    pub fn new(service: &'static str, version: &'static str, metrics: &'static [&'static [&'static Metric]]) -> Self {
        let (reader, board) = (Arc::new(ManualReader::default()), Arc::new(Board::default()));
        let resource = Resource::builder_empty().with_service_name(service);
        let resource = resource.with_attribute(KeyValue::new("service.version", version)).build();
        let limited = move |instrument: &Instrument| {
            let metric = metrics.iter().copied().flatten().find(|metric| metric.name == instrument.name())?;
            let most = if metric.labels.contains(&SYSTEM) { SERIES_OF_SYSTEMS_MAX } else { SERIES_MAX };
            Stream::builder().with_cardinality_limit(most).build().ok()
        };
        let provider = SdkMeterProvider::builder().with_resource(resource).with_view(limited);
        let provider = provider.with_reader(Read(Arc::clone(&reader))).build();
        let meter = provider.meter("lgsp");
        for metric in metrics.iter().copied().flatten() {
            observe(&meter, metric, &board);
        }
        Self { reader, board, looking: Mutex::default(), _provider: provider }
    }

    /// What `figures` say, in the form that was asked for.
    pub fn page(&self, figures: Figures, format: Format) -> Page {
        let _alone = lock(&self.looking);
        *lock(&self.board) = figures;
        let mut read = ResourceMetrics::default();
        self.reader.collect(&mut read).expect("the reader is registered, and is not shut down while we are here");
        page::written(&read, format)
    }
}

/// Every instrument is asked when somebody looks, so that a figure that is gone (a root that was exchanged, a system that left) is gone
/// from the page too, and one that never happened yet is there as 0.
fn observe(meter: &Meter, metric: &'static Metric, board: &Arc<Board>) {
    let told = Arc::clone(board);
    let unit = if metric.unit.is_empty() { "1" } else { metric.unit };
    match metric.kind {
        Kind::Gauge => {
            let builder = meter.f64_observable_gauge(metric.name).with_description(metric.help).with_unit(unit);
            let _ = builder
                .with_callback(move |observer| {
                    lock(&told).each(metric, |value, labels| observer.observe(value, labels));
                })
                .build();
        }
        Kind::Counter => {
            let builder = meter.f64_observable_counter(metric.name).with_description(metric.help).with_unit(unit);
            let _ = builder
                .with_callback(move |observer| {
                    lock(&told).each(metric, |value, labels| observer.observe(value, labels));
                })
                .build();
        }
    }
}

// Nothing panics while it holds one of the locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// The reader, shared between the SDK, which owns one, and whoever looks.
#[derive(Debug)]
struct Read(Arc<ManualReader>);

impl MetricReader for Read {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, into: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(into)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    /// Prometheus takes differences itself.
    fn temporality(&self, _kind: InstrumentKind) -> Temporality {
        Temporality::Cumulative
    }
}
