use bindu_cb::{CircuitBreakerOpenError, retry_with_breaker, with_circuit_breaker};

#[derive(Debug)]
pub struct StoreError;

impl From<CircuitBreakerOpenError> for StoreError {
    fn from(_: CircuitBreakerOpenError) -> Self {
        Self
    }
}

#[retry_with_breaker(op = "storage")]
async fn retried() -> Result<u32, StoreError> {
    Ok("1".parse()?)
}

#[with_circuit_breaker]
async fn once() -> Result<u32, StoreError> {
    let parsed: u32 = "1".parse()?;
    Ok(parsed)
}

fn main() {}
