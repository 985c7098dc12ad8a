use bindu_cb::retry_with_breaker;

#[retry_with_breaker(
    op = "storage",
    timeout = "5 parsecs",
    deadline = "",
    min_wait = "1.5s",
    max_wait = "-1s",
    recovery_timeout = "1.2.3",
    probe_timeout = "soon"
)]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
