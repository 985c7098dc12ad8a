use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage", atempts = 5)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

#[retry_with_breaker(op = "storage", name = "load")]
async fn save() -> std::io::Result<u32> {
    load().await
}

fn main() {
    drop(save());
}
