//! Every key, and the forms of its values.

use std::io;
use std::time::Duration;

use bindu_cb::{
    retry_api_call, retry_scheduler_operation, retry_storage_operation, retry_with_breaker,
    retry_worker_operation, with_circuit_breaker,
};

const OP: &str = "settings";
static STATIC_OP: &str = "settings:static";
const ATTEMPTS: u32 = 4;
const MULTIPLIER: f64 = 1.5;

mod config {
    pub const WAIT: std::time::Duration = std::time::Duration::from_millis(20);
}

trait Named {
    const OP: &'static str;
}

struct Store;

impl Named for Store {
    const OP: &'static str = "settings:store";
}

#[retry_with_breaker(
    op = "settings:all",
    enabled = true,
    dry_run = false,
    failure_threshold = 5,
    recovery_timeout = "30s",
    success_threshold = 2,
    half_open_permits = 128,
    probe_attempts = 1,
    probe_timeout = "1m 30s",
    recovery_multiplier = 2,
    max_recovery_timeout = "10min",
    recovery_jitter = 0.25,
    count = "attempt",
    on_cancel = "failure",
    attempts = 5,
    min_wait = "10ms",
    max_wait = 0.5,
    multiplier = 2.5,
    jitter = 1,
    deadline = "20",
    timeout = 5,
    retry_if = |_| true,
    record_if = |e| e.kind() != io::ErrorKind::NotFound,
    fail_if = |n| *n == 0,
    retry_after = |_| None,
    on_open = |_| Ok(1),
    on_timeout = |_| io::ErrorKind::TimedOut.into(),
    clone(text),
    crate = ::bindu_cb,
)]
async fn all(text: String) -> io::Result<usize> {
    let text: String = text;
    Ok(text.len())
}

#[with_circuit_breaker(
    enabled = true,
    failure_threshold = 65535,
    timeout = config::WAIT,
    record_if = |e| e.kind() != io::ErrorKind::NotFound,
    fail_if = is_zero,
    crate = "bindu_cb"
)]
async fn once(n: usize) -> io::Result<usize> {
    Ok(n)
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

#[retry_with_breaker(
    op = OP,
    attempts = ATTEMPTS,
    min_wait = config::WAIT,
    max_wait = Duration::MAX,
    multiplier = MULTIPLIER,
    jitter = self::JITTER,
)]
async fn constants() -> io::Result<()> {
    Ok(())
}

const JITTER: f64 = 0.0;

#[retry_with_breaker(op = STATIC_OP)]
async fn from_static() -> io::Result<()> {
    Ok(())
}

#[retry_with_breaker(op = <Store as Named>::OP)]
async fn associated() -> io::Result<()> {
    Ok(())
}

#[retry_worker_operation]
async fn worker() -> io::Result<()> {
    Ok(())
}

#[retry_storage_operation()]
async fn storage() -> io::Result<()> {
    Ok(())
}

#[retry_scheduler_operation(op = "settings:scheduler", attempts = 1)]
async fn scheduler() -> io::Result<()> {
    Ok(())
}

#[retry_api_call(timeout = "2s")]
async fn api() -> io::Result<()> {
    Ok(())
}

#[retry_with_breaker(op = "settings:values", fail_if = |n| *n == 3, attempts = 2)]
async fn last_value(n: u32) -> io::Result<u32> {
    Ok(n)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let circuits = bindu_cb::testing::isolate();
    circuits.no_wait();
    assert_eq!(all("a".into()).await?, 1);
    assert_eq!(once(2).await?, 2);
    assert_eq!(last_value(3).await?, 3);
    constants().await?;
    from_static().await?;
    associated().await?;
    worker().await?;
    storage().await?;
    scheduler().await?;
    api().await
}
