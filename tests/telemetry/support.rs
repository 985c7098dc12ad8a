//! What is collected, as tests look at it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bindu_cb::telemetry::{Telemetry, TelemetryBuilder};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Metric, MetricData, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
};

/// Attributes as text: `circuit_breaker.name=storage,from=closed`, in the order of their names.
pub(crate) type Attributes = String;

/// An SDK that collects when a test asks for it, on the test's own thread: by its clock.
pub(crate) struct Sdk {
    reader: Reader,
    provider: SdkMeterProvider,
}

/// For the provider and the test.
#[derive(Clone, Debug)]
struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// One metric of one collection.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Collected {
    pub(crate) unit: String,
    pub(crate) kind: &'static str,
    pub(crate) values: BTreeMap<Attributes, u64>,
    /// Of a histogram: how many, how long in all, and the boundaries.
    pub(crate) durations: BTreeMap<Attributes, (u64, f64, Vec<f64>)>,
}

impl Sdk {
    pub(crate) fn new() -> Self {
        Self::with(ManualReader::builder().build())
    }

    /// One whose counters tell what has come to them since the last time.
    pub(crate) fn of_deltas() -> Self {
        Self::with(ManualReader::builder().with_temporality(Temporality::Delta).build())
    }

    fn with(reader: ManualReader) -> Self {
        let reader = Reader(Arc::new(reader));
        let provider = SdkMeterProvider::builder().with_reader(reader.clone()).build();
        Self { reader, provider }
    }

    pub(crate) fn meter(&self) -> Meter {
        self.provider.meter("bindu-cb")
    }

    pub(crate) fn install(&self) -> Telemetry {
        bindu_cb::telemetry::install(&self.meter())
    }

    pub(crate) fn install_with(&self, builder: TelemetryBuilder) -> Telemetry {
        builder.install(&self.meter())
    }

    /// All that is observed now, by name.
    pub(crate) fn collect(&self) -> BTreeMap<String, Collected> {
        let mut collected = ResourceMetrics::default();
        self.reader.collect(&mut collected).unwrap();
        let metrics = collected.scope_metrics().flat_map(ScopeMetrics::metrics);
        metrics.map(|metric| (metric.name().to_owned(), looked_at(metric))).collect()
    }

    pub(crate) fn metric(&self, name: &str) -> Collected {
        self.collect().remove(name).unwrap_or_default()
    }

    /// The values of a metric that are not zero.
    pub(crate) fn counted(&self, name: &str) -> Vec<(Attributes, u64)> {
        self.metric(name).values.into_iter().filter(|(_, value)| *value != 0).collect()
    }
}

fn looked_at(metric: &Metric) -> Collected {
    let mut collected = Collected { unit: metric.unit().to_owned(), ..Collected::default() };
    match metric.data() {
        AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
            collected.kind = "gauge";
            for point in gauge.data_points() {
                collected.add(text(point.attributes()), point.value());
            }
        }
        AggregatedMetrics::U64(MetricData::Sum(sum)) => {
            assert!(sum.is_monotonic());
            collected.kind = "counter";
            for point in sum.data_points() {
                collected.add(text(point.attributes()), point.value());
            }
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            collected.kind = "histogram";
            for point in histogram.data_points() {
                let what = (point.count(), point.sum(), point.bounds().collect());
                collected.durations.insert(text(point.attributes()), what);
            }
        }
        other => panic!("no such metric was asked for: {other:?}"),
    }
    collected
}

impl Collected {
    fn add(&mut self, attributes: Attributes, value: u64) {
        assert!(!self.values.contains_key(&attributes), "{attributes} twice");
        self.values.insert(attributes, value);
    }

    /// The sum of the values whose attributes hold all of these.
    pub(crate) fn sum(&self, of: &[&str]) -> u64 {
        let fits = |attributes: &str| {
            of.iter().all(|of| attributes.split(',').any(|attribute| attribute == *of))
        };
        self.values.iter().filter(|(attributes, _)| fits(attributes)).map(|(_, value)| value).sum()
    }
}

fn text<'a>(attributes: impl Iterator<Item = &'a opentelemetry::KeyValue>) -> Attributes {
    let mut all: Vec<_> = attributes.map(|of| format!("{}={}", of.key, of.value)).collect();
    all.sort();
    all.join(",")
}

pub(crate) fn refused() -> std::io::Error {
    std::io::ErrorKind::ConnectionRefused.into()
}
