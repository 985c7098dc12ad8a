//! By OTLP: real bytes, over gRPC, to a receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use bindu_cb::get_circuit_breaker;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::{MetricExporter, WithExportConfig};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric::Data};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

struct Receiver(mpsc::UnboundedSender<ExportMetricsServiceRequest>);

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let _ = self.0.send(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// Returns where it listens, and what it will have received.
async fn receiver() -> (String, mpsc::UnboundedReceiver<ExportMetricsServiceRequest>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    let service = MetricsServiceServer::new(Receiver(sender));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (url, received)
}

fn attributes(of: &[KeyValue]) -> String {
    let text = |of: &KeyValue| match of.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(value)) => format!("{}={value}", of.key),
        other => panic!("{}: {other:?}", of.key),
    };
    let mut all: Vec<_> = of.iter().map(text).collect();
    all.sort();
    all.join(",")
}

fn points(of: &[NumberDataPoint]) -> BTreeMap<String, i64> {
    let value = |point: &NumberDataPoint| match point.value {
        Some(Number::AsInt(value)) => value,
        other => panic!("{other:?}"),
    };
    of.iter().map(|point| (attributes(&point.attributes), value(point))).collect()
}

fn values(of: &Metric) -> BTreeMap<String, i64> {
    match &of.data {
        Some(Data::Gauge(gauge)) => points(&gauge.data_points),
        Some(Data::Sum(sum)) => {
            assert!(sum.is_monotonic);
            points(&sum.data_points)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_receives_is_what_happened() {
    let registry = bindu_cb::testing::isolate();
    registry.enabled(true);
    let (url, mut received) = receiver().await;
    let exporter = MetricExporter::builder()
        .with_tonic()
        .with_endpoint(url)
        .with_timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_hours(24)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let _telemetry = bindu_cb::telemetry::install(&provider.meter("bindu-cb"));

    let circuit = get_circuit_breaker("storage");
    circuit.try_acquire().unwrap().success();
    for _ in 0..3 {
        circuit.try_acquire().unwrap().failure();
    }
    circuit.try_acquire().unwrap_err();
    let flushed = tokio::task::spawn_blocking(move || provider.force_flush()).await.unwrap();
    flushed.unwrap();
    let request = received.recv().await.unwrap();
    let scopes = request.resource_metrics.iter().flat_map(|of| &of.scope_metrics);
    let metrics: BTreeMap<&str, &Metric> = scopes
        .inspect(|scope| assert_eq!(scope.scope.as_ref().unwrap().name, "bindu-cb"))
        .flat_map(|scope| &scope.metrics)
        .map(|metric| (metric.name.as_str(), metric))
        .collect();

    let state = metrics["circuit_breaker.state"];
    assert_eq!(state.unit, "");
    let state = values(state);
    let of = |state: &str| {
        let name = "circuit_breaker.name=storage";
        format!("{name},circuit_breaker.scope=local,circuit_breaker.state={state}")
    };
    let states = ["closed", "open", "half_open", "forced_open", "forced_closed"];
    assert_eq!(states.map(|name| state[&of(name)]), [0, 1, 0, 0, 0]);
    let calls = metrics["circuit_breaker.calls"];
    assert_eq!(calls.unit, "{call}");
    let calls = values(calls);
    let of =
        |outcome: &str| format!("circuit_breaker.name=storage,circuit_breaker.outcome={outcome}");
    let outcomes = ["success", "failure", "ignored", "cancelled", "rejected", "stale"];
    assert_eq!(outcomes.map(|name| calls[&of(name)]), [1, 3, 0, 0, 1, 0]);
    let transitions = values(metrics["circuit_breaker.transitions"]);
    let opened = "cause=local,circuit_breaker.name=storage,from=closed,to=open";
    assert_eq!((transitions[opened], transitions.values().sum::<i64>()), (1, 1));
}
