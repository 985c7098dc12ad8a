//! The page of the feature `dashboard`, with something to see: services that fail from time to time,
//! and guarded functions that call them. It runs until it is ended by Ctrl-C.
//!
//! ```text
//! cargo run --example dashboard
//! cargo run --example dashboard -- --port 8080
//! ```
//!
//! The page is two lines in `main`. The rest is the services, the functions and the load.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use bindu_cb::{Settings, registry, with_circuit_breaker};
use bindu_cb::{retry_api_call, retry_storage_operation, retry_worker_operation};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// Shows circuits that open and close.
#[derive(Parser)]
#[command(name = "dashboard")]
struct Arguments {
    /// The port of 127.0.0.1 to listen on; 0 is any that is free
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

#[retry_storage_operation(min_wait = "100ms", max_wait = "1s", recovery_timeout = "10s")]
async fn save(store: &Service) -> std::io::Result<()> {
    store.answer().await
}

#[retry_api_call(
    op = "api:quote",
    attempts = 2,
    min_wait = "100ms",
    window = "20s",
    failure_rate = 30,
    slow_call = "80ms",
    recovery_timeout = "5s",
    ramp_up = "15s",
    retry_budget = 0.2
)]
async fn quote(exchange: &Service) -> std::io::Result<()> {
    exchange.answer().await
}

/// Each tenant has a circuit of its own.
#[retry_api_call(op = "api:webhook", key = tenant, attempts = 1, recovery_timeout = "20s")]
async fn notify(tenant: &str, hook: &Service) -> std::io::Result<()> {
    hook.answer().await
}

#[retry_worker_operation(
    op = "worker:thumbnail",
    attempts = 2,
    window = "100 calls",
    adaptive = true
)]
async fn thumbnail(images: &Service) -> std::io::Result<()> {
    images.answer().await
}

#[with_circuit_breaker(op = "search")]
async fn search(index: &Service) -> std::io::Result<()> {
    index.answer().await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { port } = Arguments::parse();
    let mut settings = Settings::default();
    settings.all().enabled(true);
    registry().configure(settings);

    let app = Router::new()
        .nest_service("/circuits", bindu_cb::dashboard::router())
        .route("/", get(async || Redirect::temporary("/circuits")));
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    let listener = listener.with_context(|| format!("port {port}: give another by --port"))?;
    println!("http://{}/circuits", listener.local_addr()?);

    tokio::select! {
        served = axum::serve(listener, app) => served?,
        () = load() => {}
    }
    Ok(())
}

/// A service that is well for some time, and then is not.
struct Service {
    began: Instant,
    /// Seconds.
    well: u64,
    ill: u64,
    /// One in so many calls fails while it is well.
    mishap: u64,
    says: &'static str,
}

impl Service {
    fn new(well: u64, ill: u64, mishap: u64, says: &'static str) -> Self {
        Self { began: Instant::now(), well, ill, mishap, says }
    }

    async fn answer(&self) -> std::io::Result<()> {
        let chance = u64::from(self.began.elapsed().subsec_micros());
        sleep(Duration::from_millis(10 + chance % 40)).await;
        let in_period = self.began.elapsed().as_secs() % (self.well + self.ill);
        if in_period >= self.well || chance.is_multiple_of(self.mishap) {
            return Err(Error::new(ErrorKind::ConnectionRefused, self.says));
        }
        Ok(())
    }
}

async fn load() {
    let store = Service::new(25, 20, 40, "connection refused: db-1.internal:5432");
    let exchange = Service::new(40, 12, 15, "HTTP 503 from quotes.example: upstream overloaded");
    let images = Service::new(3_600, 1, 9, "image is truncated after 4096 bytes");
    let index = Service::new(3_600, 1, 30, "index is being rebuilt");
    tokio::join!(
        every(40, async || drop(save(&store).await)),
        every(60, async || drop(quote(&exchange).await)),
        every(150, async || drop(thumbnail(&images).await)),
        every(25, async || drop(search(&index).await)),
        of_tenant("acme", 0),
        of_tenant("globex", 600),
        of_tenant("initech", 0),
        of_tenant("umbrella", 0),
    );
}

async fn of_tenant(tenant: &str, ill: u64) {
    let hook = Service::new(15, ill, 50, "TLS handshake with hooks.example timed out");
    every(300, async || drop(notify(tenant, &hook).await)).await;
}

/// Calls, one after the other, with a pause between.
async fn every(millis: u64, call: impl AsyncFn()) {
    loop {
        call().await;
        sleep(Duration::from_millis(millis)).await;
    }
}
