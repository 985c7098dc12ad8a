//! Metrics of circuits for Prometheus: a service, two guarded functions that use it, and an endpoint
//! that Prometheus collects from.
//!
//! ```text
//! cargo run --example metrics
//! curl http://127.0.0.1:9464/metrics
//! curl -X POST http://127.0.0.1:9464/service/kill        # and /service/restore
//! ```
//!
//! With `BINDU_CB_SHARED_URL=redis://…` its circuits are shared, and there are metrics of that, too.
//!
//! `install` in `endpoint` is all that a service needs. The rest is something to be measured.

#[path = "metrics/service.rs"]
mod service;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bindu_cb::telemetry::Telemetry;
use bindu_cb::{Classify, Verdict, retry_api_call, retry_storage_operation};
use clap::Parser;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use service::Service;

/// `storage:save`. The circuit opens after three failed calls and lets a probe through after two
/// seconds.
#[retry_storage_operation(
    attempts = 2,
    min_wait = "50ms",
    max_wait = "100ms",
    timeout = "1s",
    recovery_timeout = "2s",
    enabled = true
)]
async fn save(service: &Service) -> io::Result<()> {
    service.ask().await
}

/// `api:quote`. Its circuit hardly ever opens, so that it is the retry budget that is spent.
#[retry_api_call(
    attempts = 2,
    min_wait = "10ms",
    max_wait = "20ms",
    failure_threshold = 1000,
    retry_budget = 0.01,
    retry_budget_reserve = 3,
    enabled = true
)]
async fn quote(service: &Service) -> io::Result<()> {
    service.ask().await
}

/// A service whose circuits Prometheus can collect from.
#[derive(Parser)]
#[command(name = "metrics")]
struct Arguments {
    /// Where to listen; port 0 is any that is free
    #[arg(long, default_value = "127.0.0.1:9464")]
    address: SocketAddr,
    /// Make no calls but those that are asked for, by POST /save and POST /quote
    #[arg(long)]
    quiet: bool,
}

type Shared = State<Arc<Service>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { address, quiet } = Arguments::parse();
    let service = Arc::new(Service::start().await?);
    // The metrics end with it.
    let (metrics, _telemetry) = endpoint()?;
    let by_hand = Router::new()
        .route("/save", post(async |State(s): Shared| answer(save(&s).await)))
        .route("/quote", post(async |State(s): Shared| answer(quote(&s).await)))
        .route("/service/kill", post(async |State(s): Shared| s.kill().await))
        .route("/service/restore", post(async |State(s): Shared| answer(s.restore().await)))
        .with_state(Arc::clone(&service));
    if !quiet {
        tokio::spawn(load(service));
    }
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/metrics", listener.local_addr()?);
    axum::serve(listener, metrics.merge(by_hand)).await?;
    Ok(())
}

/// The metrics of all circuits, for as long as the guard is kept.
fn endpoint() -> anyhow::Result<(Router, Telemetry)> {
    let registry = Registry::new();
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
    let provider = SdkMeterProvider::builder().with_reader(exporter).build();
    let builder = Telemetry::builder().attempt_durations(true);
    let telemetry = builder.install(&provider.meter("bindu-cb"));
    let metrics = move || {
        // It ends with the provider that is collected from.
        let _ = &provider;
        let text = TextEncoder::new().encode_to_string(&registry.gather());
        std::future::ready(match text {
            Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        })
    };
    Ok((Router::new().route("/metrics", get(metrics)), telemetry))
}

/// What has become of a call that was asked for.
fn answer(result: io::Result<()>) -> (StatusCode, String) {
    match result {
        Ok(()) => (StatusCode::OK, "done\n".to_owned()),
        // A rejection, which says when to come back.
        Err(error) if error.classify() == Verdict::Ignored => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n")),
    }
}

/// Ten calls of each a second.
async fn load(service: Arc<Service>) {
    let mut tick = interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (saves, quotes) = (Arc::clone(&service), Arc::clone(&service));
        tokio::spawn(async move { save(&saves).await });
        tokio::spawn(async move { quote(&quotes).await });
    }
}
