//! What several groups need.

use std::time::Duration;

use bindu_cb::{CircuitBreaker, CircuitBreakerSettings};

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A circuit of the test's own that opens at the `failures`-th failure.
pub fn circuit(failures: u32) -> CircuitBreaker {
    CircuitBreaker::new(
        "test",
        CircuitBreakerSettings::default().failure_threshold(failures),
    )
}

/// Fails as often as the circuit lets through, which opens it.
pub fn trip(circuit: &CircuitBreaker) {
    while let Ok(permit) = circuit.try_acquire() {
        permit.failure();
    }
}
