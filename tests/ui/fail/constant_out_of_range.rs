use bindu_cb::retry_with_breaker;

const NONE: u32 = 0;

#[retry_with_breaker(op = "storage", min_wait = 1, attempts = NONE)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
