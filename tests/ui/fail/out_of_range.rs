use bindu_cb::retry_with_breaker;

#[retry_with_breaker(
    op = "storage",
    attempts = 0,
    failure_threshold = 65_536,
    success_threshold = -1,
    half_open_permits = 129,
    probe_attempts = 4_294_967_296,
    multiplier = 0.5,
    recovery_multiplier = 1e999,
    jitter = 1.5,
    recovery_jitter = -0.1,
    min_wait = -5,
    timeout = 1e30
)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
