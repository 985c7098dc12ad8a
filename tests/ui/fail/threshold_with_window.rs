use bindu_cb::with_circuit_breaker;

#[with_circuit_breaker(failure_threshold = 3, window = "30s")]
async fn load() -> std::io::Result<u32> {
    Ok(1)
}

fn main() {
    drop(load());
}
