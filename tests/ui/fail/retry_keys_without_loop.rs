use bindu_cb::with_circuit_breaker;

#[with_circuit_breaker(
    attempts = 3,
    min_wait = "1s",
    max_wait = "2s",
    multiplier = 2.0,
    jitter = 0.5,
    deadline = "10s",
    retry_if = |_| true,
    retry_after = |_| None,
    clone(key)
)]
async fn load(key: String) -> std::io::Result<String> {
    Ok(key)
}

fn main() {
    drop(load(String::new()));
}
