use bindu_cb::retry_with_breaker;

#[derive(Debug)]
pub struct StoreError;

#[retry_with_breaker(op = "storage")]
async fn load() -> Result<u32, StoreError> {
    Ok(1)
}

type Answer<T> = Result<T, StoreError>;

#[retry_with_breaker(op = "storage")]
async fn save() -> Answer<u32> {
    load().await
}

fn main() {
    drop(save());
}
