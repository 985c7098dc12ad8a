//! Error types that work as they are.

use std::error::Error;
use std::{fmt, io};

use bindu_cb::{
    AttemptTimeoutError, CircuitBreakerOpenError, retry_with_breaker, with_circuit_breaker,
};

#[retry_with_breaker(op = "errors", timeout = 5)]
async fn io_error(text: &str) -> io::Result<u32> {
    text.parse().map_err(io::Error::other)
}

#[retry_with_breaker(op = "errors", timeout = 5)]
async fn boxed(text: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    if text.is_empty() {
        return Err("empty".into());
    }
    if text == "x" {
        return Err(Box::new(fmt::Error));
    }
    Ok(text.parse()?)
}

#[retry_with_breaker(op = "errors", timeout = 5)]
async fn locally_boxed(text: &str) -> Result<u32, Box<dyn Error>> {
    Ok(text.parse()?)
}

#[retry_with_breaker(op = "errors", timeout = 5)]
async fn with_anyhow(text: &str) -> anyhow::Result<u32> {
    anyhow::ensure!(!text.is_empty(), "empty");
    Ok(text.parse()?)
}

#[retry_with_breaker(op = "errors", timeout = 5)]
async fn with_eyre(text: &str) -> eyre::Result<u32> {
    Ok(text.parse()?)
}

#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    Open(#[from] CircuitBreakerOpenError),
    #[error("too slow")]
    Slow(#[from] AttemptTimeoutError),
    #[error("no number")]
    Parse(#[from] std::num::ParseIntError),
}

impl StoreError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Slow(_))
    }
}

#[retry_with_breaker(op = "errors", timeout = 5, retry_if = StoreError::is_transient)]
async fn with_thiserror(text: &str) -> Result<u32, StoreError> {
    Ok(text.parse()?)
}

#[retry_with_breaker(op = "errors", timeout = 5, retry_if = StoreError::is_transient, record_if = |e| !e.is_transient())]
async fn keys(text: &str) -> Result<u32, StoreError> {
    Ok(text.parse()?)
}

#[retry_with_breaker(op = "errors", timeout = 5, attempts = 3)]
async fn with_backoff(text: &str) -> Result<u32, backoff::Error<StoreError>> {
    text.parse().map_err(|e| backoff::Error::permanent(StoreError::from(e)))
}

type Answer = Result<u32, backoff::Error<io::Error>>;

#[with_circuit_breaker(timeout = 5)]
async fn with_backoff_once() -> Answer {
    Err(backoff::Error::transient(io::ErrorKind::TimedOut.into()))
}

#[derive(Debug)]
struct Opaque;

impl From<CircuitBreakerOpenError> for Opaque {
    fn from(_: CircuitBreakerOpenError) -> Self {
        Self
    }
}

#[retry_with_breaker(op = "errors", attempts = 1)]
async fn says_nothing() -> Result<u32, Opaque> {
    Err(Opaque)
}

#[retry_with_breaker(op = "errors", attempts = 1)]
async fn unbounded<E>(make: fn() -> E) -> Result<u32, E>
where
    E: From<CircuitBreakerOpenError>,
{
    Err(make())
}

#[retry_with_breaker(op = "errors", attempts = 1, on_open = |_| Err(()))]
async fn unit() -> Result<u32, ()> {
    Err(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let circuits = bindu_cb::testing::isolate();
    circuits.no_wait();
    assert_eq!(io_error("1").await.unwrap(), 1);
    assert_eq!(boxed("1").await.unwrap(), 1);
    assert!(boxed("x").await.unwrap_err().is::<fmt::Error>());
    assert!(boxed("").await.is_err());
    assert!(locally_boxed("y").await.is_err());
    assert!(with_anyhow("").await.is_err());
    assert!(with_eyre("y").await.is_err());
    assert!(with_thiserror("y").await.is_err());
    assert!(keys("y").await.is_err());
    assert!(matches!(with_backoff("y").await, Err(backoff::Error::Permanent(_))));
    assert!(matches!(with_backoff_once().await, Err(backoff::Error::Transient { .. })));
    assert!(says_nothing().await.is_err());
    assert!(unbounded(|| io::Error::other("no")).await.is_err());
    assert!(unit().await.is_err());
}
