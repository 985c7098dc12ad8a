use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage", min_wait = "5s", max_wait = 1)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
