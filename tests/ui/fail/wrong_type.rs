use bindu_cb::retry_with_breaker;

#[retry_with_breaker(
    op = 5,
    enabled = "true",
    attempts = "five",
    failure_threshold = 2.5,
    multiplier = true,
    timeout = 'x',
    count = "calls",
    on_cancel = ignore,
    jitter = 1 + 1,
    crate = 3
)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
