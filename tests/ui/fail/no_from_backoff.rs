use bindu_cb::retry_with_breaker;

#[derive(Debug)]
pub struct StoreError;

#[retry_with_breaker(op = "storage", timeout = 1)]
async fn load() -> Result<u32, backoff::Error<StoreError>> {
    Ok(1)
}

fn main() {
    drop(load());
}
