//! What a circuit breaker is for, on real sockets: 50 workers use a small storage service, which
//! is killed for some seconds and started again. Once with `enabled = false` (retries alone), once
//! with `enabled = true`. It takes half a minute and ends with a table of both runs.
//!
//! ```text
//! cargo run --example quickstart
//! ```
//!
//! `save` and `run_task` below and the error type in `quickstart/store.rs` are all it takes to
//! guard a service. The rest is the service, the load and the figures.

#[path = "quickstart/load.rs"]
mod load;
#[path = "quickstart/report.rs"]
mod report;
#[path = "quickstart/server.rs"]
mod server;
#[path = "quickstart/store.rs"]
mod store;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use bindu_cb::{Settings, registry, retry_storage_operation, retry_worker_operation};
use tokio::time::Instant;

use load::Load;
use report::{Figures, Outage, Watch};
use store::{Store, StoreError};

impl Store {
    // The circuit is named after the function: `storage:save`. With `count = "attempt"` it opens
    // after three failed attempts in a row, whoever made them; by default a call that used up all
    // its attempts is one failure.
    #[retry_storage_operation(
        attempts = 5,
        min_wait = "100ms",
        max_wait = "1s",
        timeout = "500ms",
        count = "attempt",
        recovery_timeout = "800ms"
    )]
    async fn save(&self, key: &str, value: &str) -> Result<(), StoreError> {
        self.request(&format!("SET {key} {value}")).await?;
        Ok(())
    }
}

// `worker:run_task`, a circuit of its own.
#[retry_worker_operation(
    attempts = 5,
    min_wait = "100ms",
    max_wait = "1s",
    timeout = "500ms",
    count = "attempt",
    recovery_timeout = "800ms"
)]
async fn run_task(store: &Store, key: &str) -> Result<u64, StoreError> {
    let value = store.request(&format!("GET {key}")).await?;
    Ok(value.bytes().map(u64::from).sum())
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    // The storage service is this same program, started by `server::start`.
    let mut arguments = env::args().skip(1);
    if let (Some("serve"), Some(address)) = (arguments.next().as_deref(), arguments.next()) {
        server::serve(address.parse()?).await?;
        return Ok(ExitCode::SUCCESS);
    }

    let plain = run(false).await?;
    let guarded = run(true).await?;
    report::print_table(&plain, &guarded);

    let complaints = guarded.not_better_than(&plain);
    for complaint in &complaints {
        eprintln!("the guarded run did not do better: {complaint}");
    }
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Three seconds of service, six without, four with it again. Six seconds are seven and a half
/// times `recovery_timeout`: the return falls in the middle of a circuit's wait, no lucky moment.
async fn run(enabled: bool) -> anyhow::Result<Figures> {
    let mut settings = Settings::default();
    settings.all().enabled(enabled);
    registry().configure(settings);

    // Held to the end of the run, so that nobody else gets the port while the service is dead.
    let port = server::socket("127.0.0.1:0".parse()?)?;
    let address = port.local_addr()?;

    let mut service = server::start(address).await?;
    let store = Arc::new(Store::new(address));
    let mut load = Load::start(&store);
    let mut watch = Watch::start(enabled);

    watch.seconds(3, "up", &store, &mut load).await;

    service.kill().await?; // SIGKILL
    let killed = Instant::now();
    let attempts_before = store.attempts();
    watch.seconds(6, "dead", &store, &mut load).await;

    service = server::start(address).await?;
    let outage =
        Outage { killed, returned: Instant::now(), attempts: store.attempts() - attempts_before };
    watch.seconds(4, "up", &store, &mut load).await;

    let calls = load.stop().await;
    service.kill().await?;
    Figures::measure(&calls, &outage)
}
