//! Circuits in all kinds of states.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bindu_cb::testing::Isolated;
use bindu_cb::{CircuitBreaker, CircuitBreakerOpenError, Settings, get_circuit_breaker, registry};
use bindu_cb::{Operation, retry_with_breaker};

/// A registry of the thread's own in which everything is enabled, and opens at the first failure.
pub fn isolate() -> Isolated {
    let isolated = bindu_cb::testing::isolate();
    configure(Duration::from_mins(5));
    isolated
}

pub fn configure(recovery_timeout: Duration) {
    let mut settings = Settings::default();
    settings.all().enabled(true).failure_threshold(1).recovery_timeout(recovery_timeout);
    registry().configure(settings);
}

pub fn closed(name: &str) -> Arc<CircuitBreaker> {
    let circuit = get_circuit_breaker(name);
    circuit.try_acquire().unwrap().success();
    circuit
}

pub fn open(name: &str) -> Arc<CircuitBreaker> {
    let circuit = get_circuit_breaker(name);
    circuit.try_acquire().unwrap().failure();
    circuit
}

/// A circuit for each of these keys; those of `bad` are open.
pub async fn keyed(name: &str, good: &[String], bad: &[String]) -> Operation {
    let operation = Operation::builder(name).attempts(1).build().unwrap();
    for key in good {
        operation.keyed(key).call(|| async { Ok::<_, Failure>(()) }).await.unwrap();
    }
    for key in bad {
        let text = "refused".to_owned();
        operation
            .keyed(key)
            .call(|| async { Err::<(), _>(Failure(text.clone())) })
            .await
            .unwrap_err();
    }
    operation
}

/// A guarded function, whose circuit shows what it fails with.
#[retry_with_breaker(op = "storage:save", attempts = 1, failure_threshold = 7)]
pub async fn save(result: Result<(), Failure>) -> Result<(), Failure> {
    match &result {
        Ok(()) => Ok(()),
        Err(Failure(text)) => Err(Failure(text.clone())),
    }
}

pub async fn fail_with(text: &str) {
    save(Err(Failure(text.to_owned()))).await.unwrap_err();
}

#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<CircuitBreakerOpenError> for Failure {
    fn from(open: CircuitBreakerOpenError) -> Self {
        Self(open.to_string())
    }
}
