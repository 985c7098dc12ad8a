use bindu_cb::{CircuitBreakerOpenError, with_circuit_breaker};

#[derive(Debug)]
pub struct StoreError;

impl From<CircuitBreakerOpenError> for StoreError {
    fn from(_: CircuitBreakerOpenError) -> Self {
        Self
    }
}

#[with_circuit_breaker(timeout = "1s")]
async fn load() -> Result<u32, StoreError> {
    Ok(1)
}

fn main() {
    drop(load());
}
