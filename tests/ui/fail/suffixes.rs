use bindu_cb::retry_with_breaker;

#[retry_with_breaker(op = "storage", timeout = 30s, attempts = 5u8, jitter = 0.5_f32)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
